//! `produce` in transactions: all of one, or nothing.

use crate::support::{asked, cluster, command, milena, values};
use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use std::io::Write;
use std::time::{Duration, Instant};

fn committed(cluster: &TestCluster) -> Vec<String> {
    let text = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    cluster.committed_records("t").unwrap().into_iter().map(|record| text(record.value)).collect()
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|at| format!("{at}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_or_one_for_each_few_records() {
    let cluster = cluster([("t", 1)]).await;
    let run = |args: &[&str], input: &str| milena(&cluster, &[&["produce", "-t", "t"], args].concat(), input);
    assert_eq!(run(&["--transactional-id", "x"], &lines(0..5)).stderr, "milena: 5 records written to t\n");
    assert_eq!(cluster.offsets("t", 0), Some((0, 6)), "one marker");
    run(&["-X", "transactional.id=x", "--transaction-size", "2"], &lines(5..10)).text();
    assert_eq!(cluster.offsets("t", 0), Some((0, 14)), "three more");
    run(&["--transactional-id", "x", "--transaction-size", "2"], &lines(10..12)).text();
    assert_eq!(cluster.offsets("t", 0), Some((0, 17)), "and none for nothing");
    run(&["--transactional-id", "x"], "").text();
    assert_eq!(cluster.offsets("t", 0), Some((0, 17)));
    assert_eq!(committed(&cluster).len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_aborts_the_open_one_and_keeps_those_before() {
    let cluster = cluster([("t", 1)]).await;
    let args =
        ["produce", "-t", "t", "--transactional-id", "x", "--transaction-size", "2", "-X", "max.request.size=2000"];
    let long = "x".repeat(3_000);
    let done = milena(&cluster, &args, format!("1\n2\n3\n{long}\n5\n6\n"));
    done.fails(2, &["line 4: ", "2 records written", "2 records not written: the transaction was aborted"]);
    assert_eq!(committed(&cluster), ["1", "2"]);
    assert_eq!(values(&cluster, "t"), ["1", "2", "3"], "which was in the aborted one");

    let envelopes = "{\"payload\":\"7\"}\n{\"payload\":\"8\"}\n{\"payload\":\"9\"}\nnonsense\n";
    let done = milena(&cluster, &[&args[..], &["--json"]].concat(), envelopes);
    done.fails(
        1,
        &["2 records written", "1 record not written: line 4: not an envelope", "the transaction was aborted"],
    );
    assert_eq!(committed(&cluster), ["1", "2", "7", "8"]);

    cluster.fault(ApiKey::EndTxn).once().error(ErrorCode::InvalidProducerEpoch);
    let done = milena(&cluster, &["produce", "-t", "t", "--transactional-id", "x"], "lost\n");
    done.fails(2, &["0 records written", "1 record not written: the transaction: "]);
    assert_eq!(committed(&cluster).len(), 4);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_transaction_is_aborted_and_an_interrupted_stream_is_written() {
    let cluster = cluster([("t", 1)]).await;
    for (how, code, said) in [
        (
            &["--transactional-id", "x"][..],
            2,
            "3 records not written: interrupted, and the open transaction was aborted",
        ),
        (&[], 0, "3 records written"),
    ] {
        let known = cluster.records("t").unwrap().len();
        let mut child = command(&cluster, &[&["produce", "-t", "t"], how].concat()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"1\n2\n3\n").unwrap();
        cluster.wait_until("they are in the log", |cluster| cluster.records("t").unwrap().len() == known + 3).await;
        let (ended, stderr, _) = interrupted(child).await;
        assert!(ended == Some(code) && stderr.contains(said), "{stderr}");
    }
    assert_eq!(committed(&cluster), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_written_is_not_told_as_what_is_not() {
    let cluster = cluster([("t", 1)]).await;
    cluster.fault(ApiKey::EndTxn).once().apply_then_disconnect();
    cluster.fault(ApiKey::EndTxn).once().error(ErrorCode::InvalidProducerEpoch);
    let done = milena(&cluster, &["produce", "-t", "t", "--transactional-id", "x"], "a\nb\n");
    done.fails(2, &["0 records written", "2 records may have been written: the transaction: "]);
    assert!(!done.stderr.contains("not written"), "{}", done.stderr);
    assert_eq!(committed(&cluster), ["a", "b"], "they were");

    cluster.fault(ApiKey::Produce).apply_then_disconnect();
    let limits = ["-X", "delivery.timeout.ms=1000", "-X", "request.timeout.ms=900", "-X", "linger.ms=0"];
    let done = milena(&cluster, &[&["produce", "-t", "t"], &limits[..]].concat(), "c\n");
    done.fails(2, &["0 records written", "1 record may have been written: nothing more was sent"]);
    assert!(!done.stderr.contains("not written"), "{}", done.stderr);
    // Of a transaction that is aborted nothing is, whatever became of a record of it.
    let args = [&["produce", "-t", "t", "--transactional-id", "y"], &limits[..]].concat();
    let done = milena(&cluster, &args, "d\n");
    done.fails(2, &["1 record not written: the transaction was aborted"]);
}

/// Ends it as Ctrl-C does, and waits for that, with its input still open.
#[cfg(unix)]
async fn interrupted(mut child: std::process::Child) -> (Option<i32>, String, Duration) {
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let begun = Instant::now();
    let done = tokio::task::spawn_blocking(move || {
        let stdin = child.stdin.take(); // open: the input has not ended
        let done = child.wait_with_output().unwrap();
        drop(stdin);
        done
    });
    let done = done.await.unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned(), begun.elapsed())
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_is_seen_while_brokers_are_silent() {
    let cluster = cluster([("t", 1)]).await;
    let cut = |api, silent| if silent { cluster.fault(api).silence() } else { cluster.clear_faults() };
    for (how, api, said) in [
        (&["-t", "t"][..], ApiKey::Produce, "3 records may have been written"),
        (&["-t", "t", "--transactional-id", "x"], ApiKey::Produce, "3 records not written: interrupted, and"),
        (&["-t", "t", "--transactional-id", "x"], ApiKey::InitProducerId, "interrupted before there was an answer"),
    ] {
        cut(api, true);
        cluster.reset_requests();
        let mut child = command(&cluster, &[&["produce"], how].concat()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"1\n2\n3\n").unwrap();
        asked(&cluster, api).await;
        let (code, stderr, took) = interrupted(child).await;
        assert!(code == Some(2) && stderr.contains(said) && took < Duration::from_secs(25), "{took:?}: {stderr}");
        cut(api, false);
    }
    // A topic that nobody knows anything of: there the record is not even taken.
    cluster.fault(ApiKey::Metadata).for_topic("t").error(ErrorCode::LeaderNotAvailable);
    cluster.reset_requests();
    let mut child = command(&cluster, &["produce", "-t", "t"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    cluster.wait_until("it is asked for again", |cluster| cluster.requests(ApiKey::Metadata).count > 4).await;
    let (code, stderr, took) = interrupted(child).await;
    assert!(code == Some(0) && stderr.contains("0 records written"), "{code:?} {stderr}");
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_not_left_open_while_input_is_awaited() {
    let cluster = cluster([("t", 1)]).await;
    let args = ["produce", "-t", "t", "--transactional-id", "x", "--transaction-size", "100"];
    let mut child = command(&cluster, &[&args[..], &["-X", "transaction.timeout.ms=6000"]].concat()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n").unwrap();
    cluster.wait_until("both are committed", |cluster| committed(cluster).len() == 2).await;
    stdin.write_all(b"3\n").unwrap();
    drop(stdin);
    let done = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("3 records written"), "{said}");
    assert_eq!(committed(&cluster), ["1", "2", "3"]);
}
