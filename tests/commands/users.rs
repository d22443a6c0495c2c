//! `milena users`: and a password is shown nowhere.

use crate::harness::{cluster, command, milena, milena_with, run};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_created_listed_and_deleted() {
    let cluster = cluster().await;
    milena_with(&cluster, "users create alice", "open sesame\n").ok();
    let file = std::env::temp_dir().join(format!("milena-password-{}", std::process::id()));
    std::fs::write(&file, "hush\r\n").unwrap();
    let words = format!("users create alice -m SCRAM-SHA-256 -i 8192 --password-file {}", file.display());
    milena(&cluster, &words).ok();
    std::fs::remove_file(&file).unwrap();
    let mut from_environment = command(&cluster.bootstrap());
    from_environment.args(["users", "create", "bob"]).env("MILENA_USER_PASSWORD", "secret");
    run(from_environment, "users create bob", "").ok();

    let ran = milena(&cluster, "users list").ok();
    assert_eq!(
        ran.rows(),
        [
            ["USER", "MECHANISM", "ITERATIONS"],
            ["alice", "SCRAM-SHA-256", "8192"],
            ["alice", "SCRAM-SHA-512", "4096"],
            ["bob", "SCRAM-SHA-512", "4096"]
        ]
    );
    assert_eq!(milena(&cluster, "users list bob --json").ok().json()[0]["iterations"], 4096);
    let ran = milena(&cluster, "users list bbo").exits(2);
    assert!(ran.err.contains("user bbo does not exist; is it bob?"), "{}", ran.err);

    milena(&cluster, "users delete alice -m SCRAM-SHA-512").ok();
    milena(&cluster, "users delete alice -m SCRAM-SHA-512").exits(2);
    let ran = milena(&cluster, "users delete alice bob nobody").exits(2);
    assert_eq!(ran.rows()[1..].iter().filter(|row| row.last() == Some(&"OK")).count(), 2, "{}", ran.out);
    assert_eq!(milena(&cluster, "users list").ok().rows().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_stands_on_no_command_line_and_is_never_shown() {
    let cluster = cluster().await;
    let ran = milena_with(&cluster, "users create alice --json", "open sesame\n").ok();
    assert!(!ran.out.contains("sesame") && !ran.err.contains("sesame"));
    milena(&cluster, "users create alice").exits(1); // nothing on stdin
    milena(&cluster, "users create alice --password sesame").exits(1);
    milena(&cluster, "users create alice --password-file /nowhere").exits(1);
    milena_with(&cluster, "users create alice -m SCRAM-MD5", "x").exits(1);
    milena_with(&cluster, "users create alice -i 1", "x").exits(1);
}
