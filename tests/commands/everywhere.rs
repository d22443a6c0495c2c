//! What holds for every verb: time limits, exit codes, hints, pipes, completions, colours.

use crate::harness::{cluster, command, milena, run};
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A port that takes connections and never says anything: the worst kind of broker.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_waits_longer_than_its_timeout_and_all_say_for_what() {
    let (_listener, silent) = silent();
    let verbs = [
        "topics list",
        "topics create t",
        "topics describe t --watermarks",
        "groups list",
        "groups describe g",
        "groups seek g --to start",
        "offsets list t",
        "cluster info",
        "cluster log-dirs",
        "acls list",
        "users list",
        "txn list",
        "consume -t t -e",
    ];
    for verb in verbs {
        let mut command = command(&silent);
        command.args(verb.split_whitespace()).args(["--timeout", "700ms"]);
        let begun = Instant::now();
        let ran = run(command, verb, "").exits(2);
        assert!(begun.elapsed() < Duration::from_secs(5), "{verb}: {:?}", begun.elapsed());
        assert!(ran.err.contains(&silent) || ran.err.contains("waited for"), "{verb}: {}", ran.err);
        assert_eq!(ran.out, "", "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_never_comes_is_waited_for_no_longer_than_the_timeout() {
    let cluster = cluster().await;
    let mut command = command(&cluster.bootstrap());
    command.args(["users", "create", "alice", "--timeout", "500ms"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let done = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
    drop(stdin);
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{err}");
    assert!(err.contains("not done within 500ms (--timeout): waited for a password on stdin"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_of_the_hand_is_told_what_was_meant() {
    let cluster = cluster().await;
    let says = |words: &str, code, hint: &str| {
        let ran = milena(&cluster, words).exits(code);
        assert!(ran.err.contains(hint), "{words}: {}", ran.err);
    };
    says("topcis list", 1, "'topics'");
    says("topics lst", 1, "'list'");
    says("topics list --jsno", 1, "'--json'");
    says("topics list -X linger.sm=5", 1, "`linger.ms`");
    says("-L", 1, "`milena cluster info`");
    says("-C -t orders", 1, "`milena consume`");
    says("topics --list", 1, "`milena topics list`");
    says("topics create --topic a", 1, "`milena topics describe orders`");
    says("groups describe --group billing", 1, "`milena groups describe billing`");
    says("consume --decode value orders", 1, "--decode=value");
    says("topics describe clikcs", 2, "topic clikcs does not exist; is it clicks?");
    says("topics list clikcs", 2, "is it clicks?");
    says("topics delete ordres", 2, "is it orders?");
    says("topics alter-config ordres --set retention.ms=1", 2, "is it orders?");
    says("topics add-partitions ordres -n 1", 2, "is it orders?");
    says("topics delete-records ordres --offset end", 2, "is it orders?");
    says("offsets list ordres", 2, "is it orders?");
    says("consume ordres -e", 2, "topic ordres does not exist; is it orders?");
    says("perf consume -t ordres --records 1", 2, "is it orders?");
    says("groups describe biling", 2, "group biling does not exist; is it billing?");
    says("groups seek biling --to start", 2, "is it billing?");
    says("groups delete biling", 2, "is it billing?");
    says("topics describe nothing-like-it", 2, "`milena topics list` shows what there is");
}

/// As `-F <(…)` gives them, which is how a password comes from a vault. A pipe that is read twice is empty the second time.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_properties_may_be_pipes() {
    let cluster = cluster().await;
    let bootstrap = cluster.bootstrap();
    for (option, text) in [
        ("-F", format!("bootstrap.servers={bootstrap}\n")),
        ("--config", format!("[kafka]\n\"bootstrap.servers\" = \"{bootstrap}\"\n")),
    ] {
        for verb in ["topics list", "consume orders -e"] {
            let words = format!("{verb} {option} /dev/stdin --timeout 5s");
            let mut command = command(&bootstrap);
            command.args(words.split_whitespace()).env_remove("KAFKA_BOOTSTRAP_SERVERS");
            assert!(run(command, &words, &text).ok().out.lines().count() > 2, "{words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_is_json_lines_with_snake_case_fields() {
    let cluster = cluster().await;
    milena(&cluster, "acls create --allow-principal alice --operation read --topic clicks").ok();
    for words in [
        "topics list",
        "topics describe clicks orders",
        "topics describe orders -a --watermarks",
        "groups list",
        "groups describe billing",
        "offsets list clicks",
        "cluster info",
        "cluster features",
        "cluster log-dirs",
        "cluster configs describe broker:1 --all",
        "acls list",
        "topics create one two",
        "groups seek billing --to start",
    ] {
        let ran = milena(&cluster, &format!("{words} --json")).ok();
        let objects = ran.json();
        assert!(!objects.is_empty(), "{words}");
        for object in objects {
            let mut left = vec![object];
            while let Some(value) = left.pop() {
                match value {
                    serde_json::Value::Object(fields) => {
                        for (name, value) in fields {
                            let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                            assert!(name.chars().all(snake), "{words}: {name}");
                            left.push(value);
                        }
                    }
                    serde_json::Value::Array(values) => left.extend(values),
                    _ => {}
                }
            }
        }
    }
}

/// `| head -1` closes the pipe early; nobody wants to read about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipe_ends_a_verb_without_a_word() {
    let cluster = cluster().await;
    for words in [
        "topics list",
        "groups describe billing --watch=20ms",
        "completions bash",
        "config show",
        "perf produce -t clicks --records 1 --size 1",
        "perf produce -t clicks --records 1 --size 1 --json",
        "perf consume -t orders --records 1",
        "demo --for 2s --rate 10 --http off",
    ] {
        let mut command = command(&cluster.bootstrap());
        command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        let code = tokio::task::block_in_place(|| {
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            child.wait().unwrap().code()
        });
        assert_eq!(code, Some(0), "{words}: {err}");
        assert!(!err.contains("ipe") && !err.contains("panic"), "{words}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_get_scripts_that_know_every_verb() {
    let cluster = cluster().await;
    for shell in ["bash", "zsh", "fish"] {
        let ran = milena(&cluster, &format!("completions {shell}")).ok();
        for verb in ["topics", "groups", "offsets", "cluster", "acls", "users", "txn", "consume", "--bootstrap"] {
            let verb = if shell == "fish" { verb.trim_start_matches('-') } else { verb };
            assert!(ran.out.contains(verb), "{shell}: {verb}");
        }
    }
    milena(&cluster, "completions tcsh").exits(1);
}

/// "It to be done" is not what was waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_streams_measures_and_verifies_says_what_it_waited_for_too() {
    let (_listener, silent) = silent();
    for verb in [
        "produce -t t",
        "produce -t t --transactional-id x",
        "consume t -e",
        "consume t -g g",
        "perf produce -t t --records 1",
        "perf consume -t t --records 1",
        "dlq list -t t.dlq",
        "verify -t t",
    ] {
        let mut command = command(&silent);
        command.args(verb.split_whitespace()).args(["--timeout", "700ms"]);
        let begun = Instant::now();
        let ran = run(command, verb, "").exits(2);
        assert!(begun.elapsed() < Duration::from_secs(5), "{verb}: {:?}", begun.elapsed());
        assert!(
            ran.err.starts_with("milena: not done within 700ms (--timeout): waited for ")
                && ran.err.contains(&format!("the brokers at {silent}\n")),
            "{verb}: {}",
            ran.err
        );
    }
}

/// What is piped has no colours, whatever the terminal is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_piped_has_no_colours() {
    let cluster = cluster().await;
    let mut command = command(&cluster.bootstrap());
    command.args(["topics", "list"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let ran = run(command, "topics list", "").ok();
    assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_stand_before_or_after_the_verb() {
    let cluster = cluster().await;
    let bootstrap = cluster.bootstrap();
    for words in [
        format!("-b {bootstrap} --timeout 20s topics --json list"),
        format!("topics list --json -b {bootstrap} --timeout 20s"),
        format!("topic ls -b {bootstrap} --json"),
        format!("topics list --json --bootstrap-server {bootstrap}"),
        format!("topics list --json --bootstrap-servers {bootstrap} --command-config /dev/null"),
    ] {
        let mut command = command("127.0.0.1:1");
        command.args(words.split_whitespace());
        assert_eq!(run(command, &words, "").ok().json().len(), 2);
    }
    milena(&cluster, "topics list --timeout 0").exits(1);
    milena(&cluster, "topics list --timeout soon").exits(1);
}

/// As a shell or a manifest leaves it that has no value for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_names_no_brokers() {
    let cluster = cluster().await;
    let mut command = command("");
    command.args(["topics", "list", "-F", "/dev/stdin", "--timeout", "10s"]);
    run(command, "topics list", &format!("bootstrap.servers={}\n", cluster.bootstrap())).ok();
}

/// There were 30 seconds of silence, and no figures.
#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_that_ends_early_says_what_it_has_measured() {
    let cluster = cluster().await;
    let words = "perf consume -t orders --records 11 --patience 3s --json";
    let ran = milena(&cluster, words).exits(2);
    assert_eq!(ran.json()[0]["records"], 10);
    assert!(ran.err.contains("only 10 of 11 records"), "{}", ran.err);
    let ran = milena(&cluster, "perf consume -t orders --records 11 --timeout 5s --json").exits(2);
    assert_eq!(ran.json()[0]["records"], 10);
    assert!(ran.err.contains("waited for records of orders"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn producing_is_measured_at_a_rate_and_latencies_say_of_how_many_records_they_are() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "perf produce -t orders --records 100 --size 1 --throughput 200 --json").ok();
    let (rate, of) = (ran.json()[0]["records_per_s"].as_f64().unwrap(), ran.json()[0]["latency_samples"].clone());
    assert!(rate > 20.0 && rate < 220.0, "{rate}");
    assert_eq!(of, 100);
    assert!(
        milena(&cluster, "perf produce -t orders --records 10 --size 1 --throughput -1")
            .ok()
            .out
            .contains("(10 samples)")
    );
    let none = milena(&cluster, "perf produce -t orders --records 0").ok();
    assert!(!none.out.contains("-0") && none.out.starts_with("0 records sent, 0.000000 records/sec"), "{}", none.out);
}
