//! What `cargo package` would send: what the build and its documentation need, and no more.

use super::root;
use std::process::Command;

/// The files of the package.
pub(super) fn files() -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let listed = Command::new(cargo)
        .args(["package", "--list", "--allow-dirty", "--offline", "--package", "milena"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_package_has_what_it_needs_and_nothing_else() {
    let files = files();
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "SECURITY.md",
        "docs/test-broker.md",
        "docs/properties.md",
        "docs/migration/before.rs",
        "docs/migration/after.rs",
        "src/lib.rs",
        "src/guide/mod.rs",
        "src/guide/first_steps.md",
        "src/pipeline/dashboard/page.html",
        "examples/test_your_app.rs",
    ] {
        assert!(files.iter().any(|file| file == needed), "{needed} is not in the package");
    }
    // cargo's own two, and those that the root has.
    let top = [
        "Cargo.toml.orig",
        ".cargo_vcs_info.json",
        "Cargo.toml",
        "Cargo.lock",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
        "compose.yaml",
    ];
    let folders = ["src/", "docs/", "examples/", "benches/", "tests/", "deploy/", "grafana/"];
    let junk: Vec<_> = files
        .iter()
        .filter(|file| {
            let known = top.contains(&file.as_str())
                || folders.iter().any(|folder| file.starts_with(folder))
                || (!file.contains('/') && (file.ends_with(".md") || file.starts_with("LICENSE-")));
            !known || file.ends_with(".pyc") || file.contains("target/")
        })
        .collect();
    assert!(junk.is_empty(), "what is that in the package? {junk:?}");
}

/// Whatever the crate includes by name when it is built must be in the package, too.
#[test]
fn what_is_included_by_name_is_in_the_package() {
    let files = files();
    let mut found = 0;
    for source in files.iter().filter(|file| file.starts_with("src/") && file.ends_with(".rs")) {
        let text = super::read(source);
        for rest in ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|begin| text.split(begin).skip(1)) {
            let name = rest.split('"').next().unwrap_or_default();
            let mut path: Vec<&str> = source.split('/').collect();
            path.pop();
            for part in name.split('/') {
                match part {
                    ".." => drop(path.pop()),
                    part => path.push(part),
                }
            }
            let path = path.join("/");
            assert!(files.contains(&path), "{source} includes {path}, which is not in the package");
            found += 1;
        }
    }
    assert!(found > 3, "{found}");
}
