//! `--timeout` ends a stream as Ctrl-C does: what is under way is closed, and the exit code says that it was not done.

use crate::support::{cluster, command, milena};
use std::io::Write;
use std::process::Child;

/// Waits for its end, with its input still open.
async fn ended(mut child: Child) -> (Option<i32>, String) {
    let done = tokio::task::spawn_blocking(move || {
        let stdin = child.stdin.take(); // the input has not ended
        let done = child.wait_with_output().unwrap();
        drop(stdin);
        done
    });
    let done = done.await.unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_out_of_time_has_committed_what_it_printed_and_leaves() {
    let cluster = cluster([("t", 1)]).await;
    milena(&cluster, &["produce", "-t", "t", "-q"], "0\n1\n2\n").text();
    let done = milena(&cluster, &["consume", "t", "-g", "g", "-o", "start", "--timeout", "6s"], "");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "0\n1\n2\n");
    done.fails(2, &["not done within 6s (--timeout): waited for records of t, behind the 3 that were printed"]);
    assert_eq!(milena(&cluster, &["consume", "t", "-g", "g", "-e"], "").words(), "", "they are committed");
    assert_eq!(
        cluster.group("g").map(|(state, _, members)| (state, members)),
        Some(("Empty", 0)),
        "and nobody is left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_out_of_time_says_what_is_written_and_leaves_no_transaction_open() {
    let cluster = cluster([("t", 1)]).await;
    for (how, said, left) in [
        (&["-t", "t"][..], "3 records written", 3),
        (
            &["-t", "t", "--transactional-id", "x"],
            "3 records not written: interrupted, and the open transaction was aborted",
            3,
        ),
    ] {
        let mut child = command(&cluster, &[&["produce", "--timeout", "4s"], how].concat()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"1\n2\n3\n").unwrap();
        let (code, stderr) = ended(child).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(stderr.contains("not done within 4s (--timeout): waited for input on stdin"), "{stderr}");
        assert_eq!(cluster.committed_records("t").unwrap().len(), left, "{how:?}");
    }
    // An open transaction holds up whoever reads what is committed.
    assert_eq!(milena(&cluster, &["consume", "t", "-e", "--read-committed"], "").words(), "1 2 3");
    assert_eq!(cluster.offsets("t", 0), Some((0, 7)), "with the marker of the abort");
}
