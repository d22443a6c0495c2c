//! `RULES.md` says which test holds which rule: a test that it names must be there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_rules_name_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(here.join("RULES.md")).unwrap();
    let named: Vec<_> = rules.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(named.len() > 60, "RULES.md is not read any more: {} tests", named.len());
    for (file, test) in named.into_iter().filter(|(file, _)| *file != "file") {
        let source = ["../src", "tests"].map(|root| here.join(root).join(file));
        let source = source.iter().find_map(|path| fs::read_to_string(path).ok());
        let source = source.unwrap_or_else(|| panic!("there is no {file}"));
        let test_in = |source: &str| {
            let (before, _) = source.split_once(&format!("fn {test}("))?;
            let attributes = before.rsplit("\n\n").next()?;
            Some(attributes.contains("#[test]") || attributes.contains("#[tokio::test"))
        };
        assert_eq!(test_in(&source), Some(true), "{file} has no test {test}");
    }
}

#[test]
fn every_rule_has_a_test_or_says_why_not() {
    let rules = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("RULES.md")).unwrap();
    for line in rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let held_by = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let held = ["`", "*lead*", "*open*: ", "held by"].iter().any(|begin| held_by.starts_with(begin));
        assert!(held, "nothing holds: {line}");
    }
}
