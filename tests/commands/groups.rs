//! `milena groups`.

use crate::harness::{cluster, committed, milena};
use milena::broker::{Link, TestCluster};
use milena::consumer::{Consumer, ConsumerConfig, OffsetReset};
use milena::ids::{OffsetAndMetadata, TopicPartition};
use std::time::Duration;

/// A member of a group that reads `clicks`, and has an assignment.
async fn member(cluster: &TestCluster, config: ConsumerConfig) -> Consumer {
    let client = cluster.client().await.unwrap();
    let config = config.auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config).unwrap();
    consumer.subscribe(["clicks"]).await.unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(50)).await.unwrap();
    }
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_by_state_and_type() {
    let cluster = cluster().await;
    let reader = member(&cluster, ConsumerConfig::group("readers")).await;
    let ran = milena(&cluster, "groups list").ok();
    assert_eq!(ran.rows()[0], ["GROUP", "STATE", "TYPE", "GROUP-TYPE"]);
    assert_eq!(ran.rows()[1], ["billing", "Empty", "-", "classic"]);
    assert_eq!(ran.rows()[2], ["readers", "Stable", "consumer", "classic"]);
    let ran = milena(&cluster, "groups list --state Stable --json").ok();
    assert_eq!((ran.json().len(), ran.json()[0]["group"].clone()), (1, "readers".into()));
    assert_eq!(milena(&cluster, "groups ls --type consumer").ok().rows().len(), 1);
    reader.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_described_in_kafkas_columns_with_its_total_lag() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "groups describe billing").ok();
    let head = "TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID";
    assert_eq!(ran.rows()[0].join(" "), head);
    assert_eq!(ran.rows()[1], ["orders", "0", "4", "10", "6", "-", "-", "-"]);
    assert!(ran.err.contains("group billing: total lag 6 in 1 partition"), "{}", ran.err);
    let ran = milena(&cluster, "groups describe billing --json").ok();
    let json = &ran.json()[0];
    assert_eq!((&json["total_lag"], &json["partitions"][0]["lag"]), (&6.into(), &6.into()));
    assert_eq!((&json["state"], ran.err.as_str()), (&"Empty".into(), ""));
    let ran = milena(&cluster, "groups describe billing nobody").exits(2);
    assert!(ran.out.contains("orders"), "the one that is there is shown all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_shown_in_groups_of_both_kinds() {
    let cluster = cluster().await;
    let classic = member(&cluster, ConsumerConfig::group("old")).await;
    let config = ConsumerConfig::group("new").group_protocol(milena::consumer::GroupProtocol::Consumer);
    let modern = member(&cluster, config).await;
    let ran = milena(&cluster, "groups describe old new").ok();
    assert_eq!(ran.rows()[0][..3], ["GROUP", "TOPIC", "PARTITION"]);
    assert_eq!(ran.rows().len(), 1 + 3 + 3);
    assert!(ran.rows()[1..].iter().all(|row| row.len() == 9 && row[6] != "-"), "{}", ran.out);
    let ran = milena(&cluster, "groups describe new --members").ok();
    assert_eq!((ran.rows().len(), ran.rows()[1].last()), (2, Some(&"clicks[0],clicks[1],clicks[2]")));
    let ran = milena(&cluster, "groups describe old new --summary").ok();
    assert_eq!(ran.rows()[1][..3], ["new", "Stable", "consumer"]);
    assert_eq!(ran.rows()[2][..3], ["old", "Stable", "classic"]);
    assert!(milena(&cluster, "groups describe --all --json").ok().json().len() >= 3);
    classic.close(Duration::from_secs(5)).await.unwrap();
    modern.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_moved_only_with_execute() {
    let cluster = cluster().await;
    let at = || async { committed(&cluster, "billing").await[&("orders".to_owned(), 0)] };
    let ran = milena(&cluster, "groups seek billing --to end").ok();
    assert_eq!(ran.rows()[1], ["orders", "0", "4", "10", "0", "10", "OK"]);
    assert!(ran.err.contains("dry run"), "{}", ran.err);
    assert_eq!(at().await, 4, "nothing has moved");
    for (to, expected) in [
        ("--to end", 10),
        ("--to start", 0),
        ("--to-offset 7", 7),
        ("--shift-by -3", 4),
        ("--shift-by 100", 10),
        ("--to 2001-01-01", 0),
        ("--to @2999-01-01", 10),
        ("--to -1h", 0),
    ] {
        milena(&cluster, &format!("groups seek billing {to} --execute")).ok();
        assert_eq!(at().await, expected, "{to}");
    }
    milena(&cluster, "groups seek billing").exits(1);
    milena(&cluster, "groups seek billing --to start --shift-by 1").exits(1);
    milena(&cluster, "groups seek billing --to soon").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_moved_to_topics_to_another_group_and_to_a_file() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "groups seek fresh --to start -t clicks:0,2 -t orders --execute").ok();
    assert_eq!(ran.rows().len(), 4);
    assert_eq!(committed(&cluster, "fresh").await.len(), 3);
    milena(&cluster, "groups seek other --to-group billing").ok();
    assert!(committed(&cluster, "other").await.is_empty());
    milena(&cluster, "groups seek other --to-group billing --execute").ok();
    assert_eq!(committed(&cluster, "other").await[&("orders".to_owned(), 0)], 4);
    let file = std::env::temp_dir().join(format!("milena-seek-{}", std::process::id()));
    std::fs::write(&file, "orders 0 9\n").unwrap();
    milena(&cluster, &format!("groups seek other --to-file {} --execute", file.display())).ok();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(committed(&cluster, "other").await[&("orders".to_owned(), 0)], 9);
    milena(&cluster, "groups seek other --to-file /nowhere").exits(1);
    milena(&cluster, "groups seek other --to start -t clikcs").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_members_is_neither_moved_nor_deleted_until_they_are_removed() {
    let cluster = cluster().await;
    let reader = member(&cluster, ConsumerConfig::group("readers")).await;
    let ran = milena(&cluster, "groups seek readers --to end -t clicks --execute").exits(2);
    assert!(ran.err.contains("has members"), "{}", ran.err);
    let ran = milena(&cluster, "groups delete readers").exits(2);
    assert_eq!(ran.rows()[1], ["readers", "NON_EMPTY_GROUP"]);
    assert!(ran.err.contains("remove-members"), "{}", ran.err);
    milena(&cluster, "groups remove-members readers").exits(1);
    milena(&cluster, "groups remove-members readers --member nobody").exits(2);
    let ran = milena(&cluster, "groups remove-members readers --all").ok();
    assert_eq!(ran.rows().len(), 2);
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_their_offsets_are_deleted() {
    let cluster = cluster().await;
    milena(&cluster, "groups seek billing --to start -t clicks --execute").ok();
    let ran = milena(&cluster, "groups delete-offsets billing -t clicks:0,1").ok();
    assert_eq!(ran.rows()[1..], [["clicks", "0", "OK"], ["clicks", "1", "OK"]]);
    assert_eq!(committed(&cluster, "billing").await.len(), 2);
    milena(&cluster, "groups delete-offsets billing -t clicks:0").exits(2);
    milena(&cluster, "groups delete-offsets biling -t clicks").exits(2);
    let ran = milena(&cluster, "groups delete billing nobody").exits(2);
    assert_eq!(ran.rows()[1..], [["billing", "OK"], ["nobody", "GROUP_ID_NOT_FOUND"]]);
    milena(&cluster, "groups describe billing").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_takes_no_more_than_its_own_lines() {
    let cluster = cluster().await;
    let admin = cluster.client().await.unwrap().admin();
    let lost = cluster.leader("clicks", 0).unwrap();
    let mut group = String::new();
    for name in (0..20).map(|number| format!("far{number}")) {
        let at = |partition| (TopicPartition::new("clicks", partition), OffsetAndMetadata::new(0));
        admin.set_group_offsets(&name, (0..3).map(at)).await.unwrap();
        if cluster.coordinator(&name) != Some(lost) {
            group = name;
        }
    }
    cluster.cut(Link::Clients(lost));
    let words = format!("groups describe {group} --timeout 5s -X socket.connection.setup.timeout.ms=300");
    let ran = milena(&cluster, &words).exits(2);
    assert_eq!(ran.rows().iter().filter(|row| row[0] == "clicks").count(), 3, "{}", ran.out);
    assert!(ran.err.contains("clicks[0]: ListOffsets to node"), "{}", ran.err);
    assert!(
        ran.err.contains(&format!("to node {lost} at 127.0.0.1:")) && ran.err.contains("not connected"),
        "{}",
        ran.err
    );
}

/// A partition without a commit has all to read, or nothing, or what `auto.offset.reset` says: "total lag 0" was a lie.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_that_is_not_known_makes_no_total_of_zero() {
    let cluster = cluster().await;
    let admin = cluster.client().await.unwrap().admin();
    admin.set_group_offsets("half", [(TopicPartition::new("clicks", 0), OffsetAndMetadata::new(0))]).await.unwrap();
    let reader = member(&cluster, ConsumerConfig::group("half").enable_auto_commit(false)).await;
    let ran = milena(&cluster, "groups describe half").ok();
    let (_, end) = cluster.offsets("clicks", 0).unwrap();
    assert!(
        ran.err.contains(&format!(
            "group half: total lag unknown: {end} in 1 partition, and 2 without a committed offset"
        )),
        "{}",
        ran.err
    );
    let ran = milena(&cluster, "groups describe half --json").ok();
    assert_eq!(ran.json()[0]["total_lag"], serde_json::Value::Null);
    let ran = milena(&cluster, "groups describe half --summary").ok();
    assert_eq!(ran.rows()[1].last(), Some(&"-"), "{}", ran.out);
    reader.close(Duration::from_secs(5)).await.unwrap();
}

/// The topic was made anew, or its log cut off: a lag of 0 looked as if all were read.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_beyond_the_end_has_a_negative_lag() {
    let cluster = cluster().await;
    let admin = cluster.client().await.unwrap().admin();
    let at = |offset| (TopicPartition::new("orders", 0), OffsetAndMetadata::new(offset));
    admin.set_group_offsets("billing", [at(501)]).await.unwrap();
    let ran = milena(&cluster, "groups describe billing").ok();
    assert_eq!(ran.rows()[1][..5], ["orders", "0", "501", "10", "-491"]);
    assert!(ran.err.contains("orders[0]: 501 was committed, and the log ends at 10"), "{}", ran.err);
    assert!(ran.err.contains("total lag 0 in 1 partition"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_moved_to_any_offset_that_there_can_be() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "groups seek billing --to-offset 5000000000").ok();
    assert_eq!(ran.rows()[1], ["orders", "0", "4", "10", "0", "10", "OK"]);
    assert!(ran.err.contains("orders[0]: the log is from 0 to 10: 10 is the nearest"), "{}", ran.err);
    milena(&cluster, "groups seek billing --to-offset -5").exits(1);
}

/// What a file or another group says was taken as it was, and the dry run promised what the brokers would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_another_group_are_checked_as_every_other_place() {
    let cluster = cluster().await;
    let file = std::env::temp_dir().join(format!("milena-seek-checked-{}", std::process::id()));
    let seek = |group: &str, text: &str, more: &str| {
        std::fs::write(&file, text).unwrap();
        milena(&cluster, &format!("groups seek {group} --to-file {} {more}", file.display()))
    };
    for more in ["", "--execute"] {
        let ran = seek("billing", "orders 0 99\n", more).ok();
        let head =
            ["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET", "LOG-START-OFFSET", "LOG-END-OFFSET", "STATUS"];
        assert_eq!(ran.rows()[0], head);
        assert_eq!(ran.rows()[1], ["orders", "0", "4", "10", "0", "10", "OK"]);
        assert!(ran.err.contains("orders[0]: the log is from 0 to 10: 10 is the nearest"), "{}", ran.err);
        let ran = seek("billing", "orders 0 9\nordres 0 1\n", more).exits(2);
        assert!(ran.err.contains("topic ordres does not exist; is it orders?"), "{}", ran.err);
        let ran = seek("billing", "orders 0 9\norders 7 1\n", more).exits(2);
        assert!(ran.err.contains("topic orders has no partition 7"), "{}", ran.err);
        let ran = seek("billing", "orders 0 9\norders 0 -1\n", more).exits(1);
        assert!(ran.err.contains("line 2"), "{}", ran.err);
        let ran = seek("billing", "\n", more).exits(1);
        assert!(ran.err.contains("names no offset"), "{}", ran.err);
        let ran = milena(&cluster, &format!("groups seek other --to-group billing -t clicks {more}")).exits(2);
        assert!(ran.err.contains("group billing has committed nothing of clicks"), "{}", ran.err);
        assert_eq!(
            committed(&cluster, "billing").await[&("orders".to_owned(), 0)],
            if more.is_empty() { 4 } else { 10 }
        );
    }
    let reader = member(&cluster, ConsumerConfig::group("readers")).await;
    let ran = seek("readers", "clicks 0 0\n", "").exits(2);
    assert!(ran.err.contains("has members"), "{}", ran.err);
    reader.close(Duration::from_secs(5)).await.unwrap();
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_or_a_type_that_no_group_can_have_is_told() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "groups list --state Stabel").exits(1);
    assert!(ran.err.contains("is it Stable?"), "{}", ran.err);
    let ran = milena(&cluster, "groups list --type clasic").exits(1);
    assert!(ran.err.contains("is it classic?"), "{}", ran.err);
    assert_eq!(milena(&cluster, "groups list --state empty,stable --type Classic").ok().rows().len(), 2);
}

/// A program that reads columns can't count how many groups there are first.
#[tokio::test(flavor = "multi_thread")]
async fn all_groups_have_a_column_for_the_group_and_json_is_of_what_was_asked_for() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "groups describe --all").ok();
    assert_eq!(ran.rows()[0][..2], ["GROUP", "TOPIC"]);
    let reader = member(&cluster, ConsumerConfig::group("readers")).await;
    let ran = milena(&cluster, "groups describe readers --members --json").ok();
    let member = &ran.json()[0];
    assert_eq!((&member["group"], &member["partitions"]), (&"readers".into(), &3.into()), "{}", ran.out);
    let ran = milena(&cluster, "groups describe billing --summary --json").ok();
    assert_eq!((&ran.json()[0]["total_lag"], &ran.json()[0]["partitions"]), (&6.into(), &1.into()), "{}", ran.out);
    let ran = milena(&cluster, "groups describe readers --watch 1s --timeout 5s").exits(2);
    assert!(ran.err.contains("--watch=1s"), "{}", ran.err);
    reader.close(Duration::from_secs(5)).await.unwrap();
}
