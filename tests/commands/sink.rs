//! Where `sink`, `verify`, `dlq replay` and `demo` have a database's password from, and that they tell nobody.

use crate::harness::{Ran, cluster, command, run};
use milena::broker::TestCluster;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn ran(cluster: &TestCluster, words: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = command(&cluster.bootstrap());
    command.args(words.split_whitespace()).envs(variables.iter().copied());
    run(command, words, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_the_environment_is_never_shown() {
    let cluster = cluster().await;
    for words in ["sink -t clicks", "verify -t clicks", "dlq replay -t clicks.dlq"] {
        for wrong in ["postgres+ssl://u:hidden@h/d", "postgres://u:p@ss?hidden=1@h/d", "postgres://u:hidden@h:port/d"] {
            let ran = ran(&cluster, words, &[("MILENA_SINK_TO", wrong)]);
            assert!(!format!("{}{}", ran.out, ran.err).contains("hidden"), "{wrong}: {ran:?}");
            if !words.starts_with("dlq") {
                assert!(ran.err.contains("--to"), "{wrong}: {ran:?}");
                ran.exits(1); // a replay without dead letters of the sink's needs no database
            }
        }
        let help = ran(&cluster, &format!("{words} --help"), &[("MILENA_SINK_TO", "postgres://u:hidden@h/d")]).ok();
        assert!(help.out.contains("[env: MILENA_SINK_TO]") && !help.out.contains("hidden"), "{}", help.out);
    }
    ran(&cluster, "sink -t clicks", &[("MILENA_SINK_TO", "")]).exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variable_is_the_target() {
    let cluster = cluster().await;
    let file = std::env::temp_dir().join(format!("milena-commands-sink-{}.redb", std::process::id()));
    let target = format!("embedded:{}", file.display());
    let of = |words: &str, target: &str| ran(&cluster, words, &[("MILENA_SINK_TO", target)]);
    of("sink -t clicks --until-end", &target).ok();
    assert!(file.exists());
    // What verify looks at is the file, and without a variable or with an empty one it is not.
    let err = of("verify -t clicks", "embedded:/no/such.redb").exits(1).err;
    assert!(err.contains("/no/such.redb: there is no such file"), "{err}");
    let without = of("verify -t clicks", "").err;
    assert!(!without.contains("--to") && !without.contains("no such file"), "{without}");
    std::fs::remove_file(file).unwrap();
}

/// A database that asks one client for its password in the clear, says that it is wrong, and tells what it was.
fn asks_for_password() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asking = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let message = |client: &mut TcpStream| {
            let mut length = [0; 4];
            client.read_exact(&mut length).unwrap();
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            client.read_exact(&mut rest).unwrap();
            rest
        };
        message(&mut client); // who it is
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        let mut kind = [0];
        client.read_exact(&mut kind).unwrap();
        assert_eq!(kind, *b"p");
        let password = message(&mut client);
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0";
        client.write_all(&[b"E", &(fields.len() as u32 + 4).to_be_bytes()[..], fields].concat()).unwrap();
        String::from_utf8(password).unwrap().trim_end_matches('\0').to_owned()
    });
    (address, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_the_environment_or_a_file() {
    let cluster = cluster().await;
    let file = std::env::temp_dir().join(format!("milena-commands-pgpass-{}", std::process::id()));
    std::fs::write(&file, "*:*:d:u:hidden-in-file\n").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = file.to_str().unwrap();
    for (words, variables, expected) in [
        ("verify -t clicks --to", [("PGPASSWORD", "hidden")], "hidden"),
        ("sink -t clicks --to", [("PGPASSWORD", "hidden")], "hidden"),
        ("demo --json --for 1s --rate 1 --http off --pg", [("PGPASSWORD", "hidden")], "hidden"),
        ("sink -t clicks --to", [("PGPASSFILE", path)], "hidden-in-file"),
    ] {
        let (address, asking) = asks_for_password();
        let ran = ran(&cluster, &format!("{words} postgres://u@{address}/d?sslmode=disable"), &variables).exits(3);
        assert_eq!(asking.join().unwrap(), expected, "{words}");
        assert!(ran.err.contains("28P01") && ran.err.contains("PGPASSWORD"), "{}", ran.err);
        assert!(!format!("{}{}", ran.out, ran.err).contains("hidden"), "{ran:?}");
    }
    std::fs::remove_file(file).unwrap();
}
