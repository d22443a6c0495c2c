//! The dependency rule of `src/`: which module may name which. Read it as the figure in ARCHITECTURE.md.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const MAY_USE: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("error", &["ids"]),
    ("connect", &["error"]),
    ("metrics", &[]),
    ("settings", &["error"]),
    ("topic_regex", &[]),
    ("secret", &[]),
    ("tls", &["error", "secret"]),
    ("sasl", &["error", "secret"]),
    ("wire", &["error", "ids"]),
    ("record", &["error", "ids"]),
    ("machine", &["error", "ids", "metrics", "record", "topic_regex", "wire"]), // sans-IO: no socket, clock or task
    ("net", &["connect", "error", "ids", "machine", "metrics", "sasl", "secret", "tls", "wire"]),
    ("oidc", &["connect", "error", "machine", "net", "sasl", "secret", "tls"]),
    (
        "client",
        &["connect", "error", "ids", "machine", "metrics", "net", "oidc", "sasl", "secret", "settings", "tls", "wire"],
    ),
    ("producer", &["client", "error", "ids", "machine", "metrics", "net", "record", "settings", "wire"]),
    ("consumer", &["client", "error", "ids", "machine", "metrics", "net", "record", "settings", "wire"]),
    ("trace", &["consumer", "error", "producer"]),
    (
        "schema",
        &["client", "connect", "consumer", "error", "machine", "net", "record", "sasl", "secret", "settings", "tls"],
    ),
    ("properties", &["client", "consumer", "error", "producer", "schema", "secret"]),
    ("admin", &["client", "error", "ids", "net", "sasl", "secret", "wire"]), // sasl: it hashes the passwords of users
    ("broker", &["connect", "error", "ids", "record", "tls", "topic_regex", "wire"]), // shares bytes with the client, never logic
    ("testing", &["admin", "broker", "client", "connect", "consumer", "error", "ids", "producer", "record", "tls"]),
    ("guide", &[]), // words
    (
        "pipeline",
        &[
            "admin",
            "broker",
            "client",
            "consumer",
            "error",
            "ids",
            "producer",
            "properties",
            "record",
            "schema",
            "secret",
            "testing",
            "tls",
        ],
    ), // public API only, and the TLS that a database shares
];

#[test]
fn modules_name_only_what_they_may_use() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (row, (module, uses)) in MAY_USE.iter().enumerate() {
        for name in *uses {
            let above = MAY_USE[..row].iter().any(|(above, _)| above == name);
            assert!(above, "`{module}` may use `{name}` only if `{name}` stands above it");
        }
    }
    let modules = modules(&src);
    for (module, _) in MAY_USE {
        assert!(modules.contains_key(*module), "there is no `{module}` any more: its row would let a new one in");
    }
    for (module, files) in modules {
        let Some(allowed) = table.get(module.as_str()) else {
            wrong.push(format!("`{module}` has no place in MAY_USE"));
            continue;
        };
        for file in files.into_iter().filter(|file| !is_test(&file.to_string_lossy())) {
            let source = fs::read_to_string(&file).unwrap();
            for name in named(&source) {
                if name != module && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{} names `crate::{name}`", file.display()));
                }
            }
            let is_root = file.file_stem().is_some_and(|stem| stem == "mod" || *stem == *module);
            let climbs = if is_root { "super::" } else { "super::super" };
            if code(&source).contains(climbs) {
                wrong.push(format!("{}: write `crate::`, not `{climbs}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `clippy.toml` forbids clocks, tasks and sockets; whoever is excused from it is listed here, so that an `allow` can't
/// spread one convenient file at a time.
#[test]
fn only_the_shells_touch_clocks_tasks_and_sockets() {
    const EXCUSED: &[&str] = &["net/", "broker/connection.rs", "broker/clock.rs", "pipeline/", "bin/"];
    // Sans-IO within the pipeline.
    const NOT_EXCUSED: &[&str] = &[
        "pipeline/window.rs",
        "pipeline/window/dedup.rs",
        "pipeline/merge/state.rs",
        "pipeline/counts.rs",
        "pipeline/event.rs",
        "pipeline/timestamp.rs",
        "pipeline/rows.rs",
        "pipeline/receipt.rs",
        "pipeline/knobs.rs",
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    for file in files(&src) {
        let name = file.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let excused = EXCUSED.iter().any(|prefix| name.starts_with(prefix)) && !NOT_EXCUSED.contains(&name.as_str());
        let code = code(&fs::read_to_string(&file).unwrap());
        if !excused && !is_test(&name) {
            assert!(!code.contains("clippy::disallowed_"), "{name} allows itself what clippy.toml forbids");
        }
    }
}

/// One idea per file: a longer one says in its head why (`//! Long because …`), or that it is generated.
#[test]
fn a_long_file_says_why() {
    const LONG: usize = 700;
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    for file in files(&src).into_iter().filter(|file| !is_test(&file.to_string_lossy())) {
        let source = fs::read_to_string(&file).unwrap();
        let library = source.split("\n#[cfg(test)]").next().unwrap_or_default();
        let head: String = source.lines().take(40).collect();
        let reason = head.contains("Long because") || head.contains("Do not edit");
        let lines = library.lines().count();
        assert!(lines <= LONG || reason, "{} has {lines} lines and doesn't say why: split it", file.display());
    }
}

/// What the file names directly under `crate::`, tests and comments left out. A re-export at the root
/// (`crate::Error`) has no row in the table, so a module is always named where it is defined.
fn named(source: &str) -> Vec<String> {
    let code = code(source);
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.push(ident(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    names.push(ident(&group[start..i]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    names.push(ident(&group[start..i]));
                    start = i + 1;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty()); // behind a trailing comma
    names
}

/// The source without its comments and its trailing test module.
fn code(source: &str) -> String {
    let library = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    library.lines().map(|line| line.split("//").next().unwrap_or_default()).collect()
}

fn ident(s: &str) -> String {
    s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Every file below the top of `src`, by its top-level module; `lib.rs` and the binary are not layers.
fn modules(src: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files(src) {
        let top = path.strip_prefix(src).unwrap().iter().next().unwrap().to_string_lossy().replace(".rs", "");
        if top != "bin" && top != "lib" {
            found.entry(top).or_default().push(path);
        }
    }
    found
}

fn files(src: &Path) -> Vec<PathBuf> {
    let (mut found, mut stack) = (vec![], vec![src.to_path_buf()]);
    while let Some(dir) = stack.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "not the source tree");
    found
}

/// Test modules in files of their own.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}
