//! The README's program is that of the crate's front page, which is compiled with the doctests: who pastes it has one that builds.

use super::read;

/// The first program in a text.
fn first(text: &str) -> String {
    let (_, program) = text.split_once("```rust\n").or_else(|| text.split_once("```no_run\n")).expect("a program");
    program.split("```").next().unwrap_or_default().to_owned()
}

#[test]
fn the_readme_has_the_program_of_the_front_page() {
    let page = read("src/lib.rs");
    let lines = page.lines().map_while(|line| line.strip_prefix("//!"));
    let page: String = lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    let program = first(&page);
    assert!(program.contains("#[tokio::main]") && !program.contains("\n# "), "it is not whole: {program}");
    assert_eq!(first(&read("README.md")), program);
}
