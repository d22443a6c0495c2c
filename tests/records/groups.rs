//! `consume` in a group: what is committed is what was printed.

use crate::support::{asked, cluster, command, milena};
use milena::broker::{ApiKey, TestCluster};
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

fn committed(cluster: &TestCluster, group: &str, topic: &str) -> Option<i64> {
    cluster.committed(group, &TopicPartition::new(topic, 0)).map(|committed| committed.offset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_off_is_read_next_time() {
    let cluster = cluster([("t", 1)]).await;
    let run = |args: &[&str]| milena(&cluster, &[&["consume", "t"], args].concat(), "");
    milena(&cluster, &["produce", "-t", "t", "-q"], "0\n1\n2\n3\n4\n5\n").text();
    assert_eq!(run(&["-g", "g", "-c", "2", "-o", "start"]).words(), "0 1");
    assert_eq!(committed(&cluster, "g", "t"), Some(2), "and not what had been fetched");
    assert_eq!(run(&["-G", "g", "-c", "1"]).words(), "2");
    assert_eq!(run(&["-X", "group.id=g", "-e", "-o", "stored"]).words(), "3 4 5");
    assert_eq!(committed(&cluster, "g", "t"), Some(6));
    assert_eq!(run(&["-g", "g", "-e"]).words(), "");
    // Without a commit the start is where -o says, and with -e it is the beginning.
    assert_eq!(run(&["-g", "h", "-e", "-o", "end"]).words(), "");
    assert_eq!(run(&["-g", "i", "-e", "-f", "%s,"]).words(), "0,1,2,3,4,5,");
    assert_eq!(run(&["-g", "j", "-e", "-X", "enable.auto.commit=false"]).words(), "0 1 2 3 4 5");
    assert_eq!(committed(&cluster, "j", "t"), None);
    run(&["-g", "g", "-o", "3"]).fails(1, &["can't be combined with group.id"]);
    run(&["-g", "g", "-o", ":end"]).fails(1, &["can't be combined with group.id"]);
    // By its commits alone, without joining it.
    assert_eq!(run(&["-g", "k", "-p", "0", "-o", "start", "-c", "4"]).words(), "0 1 2 3");
    assert_eq!(run(&["-g", "k", "-p", "0", "-e", "-o", "stored"]).words(), "4 5");
    assert_eq!(run(&["-g", "k", "-p", "0", "-e", "-o", "1:3"]).words(), "1 2");
    assert_eq!(committed(&cluster, "k", "t"), Some(3), "not what came in the same batch behind the end");
    assert_eq!(run(&["-g", "k", "-p", "0", "-e"]).words(), "3 4 5", "from where it has committed");
    assert_eq!(run(&["-g", "l", "-p", "0", "-e"]).words(), "0 1 2 3 4 5", "or from the beginning, if it has not");
    assert_eq!(run(&["-g", "k", "-p", "0", "-o", "6:end"]).words(), "", "nothing to read is an end too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_reads_by_expression_and_commits_behind_what_it_filters() {
    let cluster = cluster([("a1", 1), ("a2", 1), ("b", 1)]).await;
    for topic in ["a1", "a2", "b"] {
        milena(&cluster, &["produce", "-t", topic, "-q", "-K:"], "k:0\nx:1\nk:2\nx:3\n").text();
    }
    let done = milena(&cluster, &["consume", "-r", "a.", "-g", "g", "-e", "--key", "k"], "");
    assert_eq!(done.text().lines().count(), 4);
    assert_eq!(["a1", "a2", "b"].map(|topic| committed(&cluster, "g", topic)), [Some(4), Some(4), None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_commits_behind_markers() {
    let cluster = cluster([("t", 1)]).await;
    milena(&cluster, &["produce", "-t", "t", "-q", "--transactional-id", "x"], "0\n1\n").text();
    assert_eq!(milena(&cluster, &["consume", "t", "-g", "g", "-e"], "").words(), "0 1");
    assert_eq!(committed(&cluster, "g", "t"), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_does_not_commit_what_came_after_the_end_that_it_reads_to() {
    let cluster = cluster([("t", 1)]).await;
    milena(&cluster, &["produce", "-t", "t", "-q"], "0\n1\n").text();
    // The end is known before the group is joined: by then there is more.
    cluster.fault(ApiKey::JoinGroup).once().delay(Duration::from_secs(2));
    let child = command(&cluster, &["consume", "t", "-g", "g", "-e"]).spawn().unwrap();
    asked(&cluster, ApiKey::JoinGroup).await;
    milena(&cluster, &["produce", "-t", "t", "-q"], "2\n3\n").text();
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), &*done.stdout), (Some(0), &b"0\n1\n"[..]));
    assert_eq!(committed(&cluster, "g", "t"), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_of_a_range_is_gone_by_retention_is_said_and_the_rest_is_read() {
    let cluster = cluster([("t", 1)]).await;
    milena(&cluster, &["produce", "-t", "t", "-q"], "0\n1\n2\n3\n4\n5\n").text();
    let admin = cluster.client().await.unwrap().admin();
    cluster.fault(ApiKey::Fetch).error(ErrorCode::NotLeaderOrFollower); // it is asked again until it is gone
    let child = command(&cluster, &["consume", "t", "-o", "1:5"]).spawn().unwrap();
    asked(&cluster, ApiKey::Fetch).await;
    admin.delete_records([(TopicPartition::new("t", 0), 3)]).await.unwrap();
    cluster.clear_faults();
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), &*done.stdout), (Some(0), &b"3\n4\n"[..]));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("t[0]: what was wanted before offset 3 is not in the log any more"), "{said}");
    // A start behind the end is no start of all that is there.
    assert_eq!(milena(&cluster, &["consume", "t", "-o", "90:95", "-e"], "").words(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_told_why_it_waits_and_one_that_has_nothing_to_read_ends() {
    let cluster = cluster([("t", 1)]).await;
    let mut waiting = command(&cluster, &["consume", "-r", "clicks", "-g", "g", "-c", "1"]).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(waiting.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "milena: no topic matches clicks; the whole name has to, as with clicks-.*; waiting for one\n");
    waiting.kill().unwrap(); // ours
    waiting.wait().unwrap();

    milena(&cluster, &["produce", "-t", "t", "-q"], "0\n").text();
    let first = ["consume", "t", "-g", "h", "-u", "-o", "start"];
    let mut first = command(&cluster, &first).spawn().unwrap();
    let mut record = [0; 2];
    first.stdout.as_mut().unwrap().read_exact(&mut record).unwrap(); // it has the only partition
    let second = milena(&cluster, &["consume", "t", "-g", "h", "-e"], "");
    first.kill().unwrap(); // ours
    first.wait().unwrap();
    assert_eq!((second.text(), &record), ("", b"0\n"));
    assert!(second.stderr.contains("other members have all partitions"), "{}", second.stderr);
}

/// A mistyped name was a member that waits for ever without a word; and where brokers make topics, it made one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_told_of_a_topic_that_is_not_there_and_makes_none() {
    let cluster = cluster([("clicks", 1)]).await;
    let mut waiting = command(&cluster, &["consume", "clikcs", "-g", "g", "-u", "-o", "start"]).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(waiting.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "milena: waiting: topic clikcs does not exist; is it clicks?\n");
    cluster.wait_until("it has joined", |cluster| cluster.group("g").is_some_and(|group| group.0 == "Stable")).await;
    assert_eq!(cluster.topics(), ["clicks"], "and makes none");
    waiting.kill().unwrap(); // ours
    waiting.wait().unwrap();
    // Who asks for it gets it.
    let args = ["consume", "made", "-g", "h", "-X", "allow.auto.create.topics=true"];
    let mut waiting = command(&cluster, &args).spawn().unwrap();
    cluster.wait_until("it is made", |cluster| cluster.topics().contains(&"made".to_owned())).await;
    waiting.kill().unwrap(); // ours
    waiting.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_dead_cluster_gives_up_as_every_other_reader() {
    let cluster = cluster([("t", 1)]).await;
    let args =
        ["consume", "t", "-g", "g", "-b", "127.0.0.1:1", "-X", "default.api.timeout.ms=1000", "--timeout", "30s"];
    let done = milena(&cluster, &args, "");
    done.fails(2, &["127.0.0.1:1"]);
    assert!(!done.stderr.contains("--timeout"), "by itself: {}", done.stderr);
}
