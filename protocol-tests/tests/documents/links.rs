//! Every relative link in every Markdown file leads to a file that is there and to a heading that is there, without asking the
//! network. Links to elsewhere are listed: `cargo test -p protocol-tests --test documents external -- --ignored --nocapture`.

use super::{files_of_the_repository, read, root};
use std::collections::{BTreeMap, BTreeSet};

/// The page without its blocks of code, line by line.
fn prose(page: &str) -> Vec<&str> {
    let mut fence = None;
    page.lines()
        .filter(|line| {
            let text = line.trim_start().trim_start_matches("> ");
            let ticks = text.len() - text.trim_start_matches('`').len();
            match fence {
                None if ticks >= 3 => fence = Some(ticks),
                Some(opened) if ticks >= opened && text.trim_start_matches('`').is_empty() => {
                    fence = None;
                    return false;
                }
                _ => {}
            }
            fence.is_none()
        })
        .collect()
}

/// Targets of `[…](…)`, and of `[…]: …`, and `<http…>`; what stands in backticks is none.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let mut text = String::new();
        for (at, part) in line.split('`').enumerate() {
            text.push_str(if at % 2 == 0 { part } else { "code" });
        }
        for rest in text.split("](").skip(1) {
            found.push(rest.split([')', ' ']).next().unwrap_or_default().to_owned());
        }
        if let Some((name, target)) = text.split_once("]: ")
            && name.starts_with('[')
        {
            found.push(target.trim().to_owned());
        }
        for rest in text.split("<http").skip(1) {
            found.push(format!("http{}", rest.split('>').next().unwrap_or_default()));
        }
    }
    found
}

/// The names of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    let names = headings.map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        text.chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    });
    names
        .map(|name: String| {
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            if *times == 1 { name } else { format!("{name}-{}", *times - 1) }
        })
        .collect()
}

fn is_external(link: &str) -> bool {
    link.starts_with("http://") || link.starts_with("https://") || link.starts_with("mailto:")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = files_of_the_repository("*.md");
    assert!(pages.len() > 20, "{pages:?}");
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in &pages {
        let text = read(page);
        for link in links(&text) {
            // rustdoc resolves the paths of the guide's pages.
            let is_path = page.starts_with("src/") && (link.contains("::") || link.starts_with("crate"));
            if is_external(&link) || is_path {
                continue;
            }
            checked += 1;
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, name)| (file, Some(name)));
            let folder = root().join(page).parent().expect("in a folder").to_owned();
            let target = if file.is_empty() { root().join(page) } else { folder.join(file) };
            if !target.exists() {
                wrong.push(format!("{page}: there is no {file}"));
                continue;
            }
            let Some(anchor) = anchor.filter(|_| target.extension().is_some_and(|kind| kind == "md")) else { continue };
            if !anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor) {
                wrong.push(format!("{page}: {link}: no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 15, "links are not found any more: {checked}");
}

/// The pages on docs.rs that show a file of the package: the file must be there, and in the package.
#[test]
fn links_to_the_source_on_docs_rs_name_files_that_are_there() {
    const SOURCE: &str = "https://docs.rs/crate/milena/latest/source/";
    let packaged: BTreeSet<String> = super::package::files().into_iter().collect();
    let pages = files_of_the_repository("*.md");
    let named: Vec<_> =
        pages.iter().flat_map(|page| links(&read(page)).into_iter().map(move |link| (page, link))).collect();
    let files = named.iter().filter_map(|(page, link)| Some((page, link.strip_prefix(SOURCE)?)));
    let missing: Vec<_> = files.filter(|(_, file)| !packaged.contains(*file)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
#[ignore = "a list for a person: the network is not asked"]
#[allow(clippy::print_stdout, reason = "it is asked for to be read")]
fn external_links() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in files_of_the_repository("*.md") {
        for link in links(&read(&page)).into_iter().filter(|link| is_external(link)) {
            found.entry(link).or_default().push(page.clone());
        }
    }
    for (link, pages) in found {
        println!("{link}  ({})", pages.join(", "));
    }
}

#[test]
fn what_is_a_link_and_what_is_a_heading() {
    let page = "# A `b`: c, d\n[x](y.md#z) `[no](no)`\n```\n[no](no)\n```\n## A `b`: c, d\n[r]: q.md\n<https://e>";
    assert_eq!(links(page), ["y.md#z", "q.md", "https://e"]);
    assert_eq!(anchors(page).into_iter().collect::<Vec<_>>(), ["a-b-c-d", "a-b-c-d-1"]);
}
