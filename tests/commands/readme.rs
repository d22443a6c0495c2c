//! README, "Your own cluster": its commands are at most five, and run as they stand.

use milena::broker::TestCluster;
use std::path::Path;
use std::process::{Command, Stdio};

/// The commands of the nth block of shell under that heading.
fn commands(nth: usize) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let part = text.split("## Your own cluster\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let block = part.split("```sh\n").nth(nth + 1).unwrap().split("```").next().unwrap();
    block.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_commands_lead_to_the_first_record() {
    let (program, library) = (commands(0), commands(1));
    assert!(program.len() <= 5 && library.len() <= 5, "{program:?} {library:?}");
    let [install, export, rest @ ..] = &program[..] else { panic!("{program:?}") };
    assert!(install.starts_with("cargo install ") && export.starts_with("export "), "{program:?}");

    let cluster = TestCluster::builder().listen("127.0.0.1:0").start().await.unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_milena")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let export = export.replace("localhost:9092", &cluster.bootstrap());
    assert!(export.contains(&cluster.bootstrap()), "{export}");
    let script = format!("set -e\n{export}\n{}", rest.join("\n"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("PATH", path).env_remove("RUST_LOG").stdin(Stdio::null());
    let done = tokio::task::block_in_place(|| shell.output().unwrap());
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success(), "{script}\n{out}{err}");
    assert!(out.ends_with("\nvisitor-7:{}\n"), "{out}{err}");
}
