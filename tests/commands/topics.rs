//! `milena topics`.

use crate::harness::{cluster, milena};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_listed_with_partitions_and_replicas() {
    let cluster = cluster().await;
    milena(&cluster, "topics create wide -p 4 -r 2").ok();
    let ran = milena(&cluster, "topics list").ok();
    assert_eq!(
        ran.rows(),
        [["TOPIC", "PARTITIONS", "REPLICAS"], ["clicks", "3", "3"], ["orders", "1", "3"], ["wide", "4", "2"]]
    );
    assert_eq!(milena(&cluster, "topics list -r c.* .*d.*").ok().rows().len(), 4);
    assert_eq!(milena(&cluster, "topics list wide").ok().rows().len(), 2);
    assert_eq!(
        milena(&cluster, "topics list --internal").ok().rows().len(),
        4,
        "the test broker has none of Kafka's own"
    );
    let ran = milena(&cluster, "topics list --json").ok();
    assert_eq!(ran.fields(), ["partitions", "replicas", "topic"]);
    assert_eq!((&ran.json()[2]["partitions"], &ran.json()[2]["replicas"]), (&4.into(), &2.into()));
    milena(&cluster, "topics list -r [").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_several_at_once_and_each_has_its_outcome() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "topics create a clicks b --partitions 2 --replication 2 -c retention.ms=1000").exits(2);
    assert_eq!(ran.rows()[1..], [vec!["a", "OK"], vec!["clicks", "TOPIC_ALREADY_EXISTS"], vec!["b", "OK"]]);
    assert!(ran.err.starts_with("milena: clicks: "), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1);
    milena(&cluster, "topics create a c --if-not-exists").ok();
    let ran = milena(&cluster, "topics create clicks d --json").exits(2);
    assert_eq!(ran.json()[0]["status"], "TOPIC_ALREADY_EXISTS");
    assert!(ran.json()[0]["error"].as_str().unwrap().contains("clicks"));
    assert_eq!(ran.json()[1], serde_json::json!({"topic": "d", "status": "OK"}));
    milena(&cluster, "topics create e -r 9").exits(2);
    milena(&cluster, "topics create").exits(1);
    milena(&cluster, "topics create e -c retention.ms").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing_and_an_assignment_is_kept() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "topics create e -p 2 --dry-run").ok();
    assert!(ran.err.contains("nothing was created"));
    milena(&cluster, "topics describe e").exits(2);
    milena(&cluster, "topics create clicks --dry-run").exits(2);
    milena(&cluster, "topics create e --assignment 2:1,3:2").ok();
    let ran = milena(&cluster, "topics describe e -p").ok();
    assert_eq!(ran.rows()[1..], [["e", "0", "2", "2,1", "2,1"], ["e", "1", "3", "3,2", "3,2"]]);
    milena(&cluster, "topics create f --assignment 1:x").exits(1);
    milena(&cluster, "topics create f --assignment 1 -p 2").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_described_with_partitions_configs_and_watermarks() {
    let cluster = cluster().await;
    milena(&cluster, "topics alter-config orders --set retention.ms=-1").ok();
    let ran = milena(&cluster, "topics describe orders --watermarks").ok();
    let rows = ran.rows();
    assert_eq!(rows[0], ["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "LOG-START-OFFSET", "HIGH-WATERMARK"]);
    assert_eq!((rows[1][0], rows[1][1], &rows[1][5..]), ("orders", "0", &["0", "10"][..]));
    assert_eq!(rows[2..], [["CONFIG", "VALUE", "SOURCE"], ["retention.ms", "-1", "DYNAMIC_TOPIC_CONFIG"]]);

    assert!(milena(&cluster, "topics describe orders -c").ok().out.contains("cleanup.policy"));
    assert!(milena(&cluster, "topics describe orders -s").ok().out.starts_with("TOPIC   PARTITIONS  REPLICAS"));
    let ran = milena(&cluster, "topics describe -r .* --json").ok();
    let json = ran.json();
    assert_eq!(json.len(), 2);
    assert_eq!((&json[0]["topic"], &json[0]["partitions"][2]["partition"]), (&"clicks".into(), &2.into()));
    assert_eq!(json[1]["topic_id"].as_str().unwrap().len(), 22, "as Kafka's tools write it");
    assert!(json[1]["configs"].as_array().unwrap().iter().any(|config| config["config"] == "retention.ms"));
    assert_eq!(milena(&cluster, "topics describe clicks --under-replicated-partitions -p").ok().rows().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expression_matches_is_deleted_only_with_a_yes() {
    let cluster = cluster().await;
    milena(&cluster, "topics create tmp-1 tmp-2 tmp-3").ok();
    let ran = milena(&cluster, "topics delete -r tmp-.*").exits(1);
    assert_eq!(ran.rows()[1..], [["tmp-1", "1"], ["tmp-2", "1"], ["tmp-3", "1"]]);
    assert!(ran.err.contains("--yes"));
    milena(&cluster, "topics delete -r tmp-.* --dry-run").ok();
    assert_eq!(milena(&cluster, "topics list -r tmp-.*").ok().rows().len(), 4);
    let ran = milena(&cluster, "topics delete tmp-1 nothing").exits(2);
    assert_eq!(ran.rows()[1..], [["tmp-1", "OK"], ["nothing", "UNKNOWN_TOPIC_OR_PARTITION"]]);
    assert_eq!(milena(&cluster, "topics rm -r tmp-.* --yes").ok().rows().len(), 3);
    milena(&cluster, "topics delete -r tmp-.* --yes").exits(2);
    milena(&cluster, "topics delete").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_are_set_extended_and_taken_back() {
    let cluster = cluster().await;
    let value = |name: &str| {
        let ran = milena(&cluster, "topics describe orders -c --json").ok();
        let configs = ran.json()[0]["configs"].as_array().unwrap().clone();
        configs.into_iter().find(|config| config["config"] == name).unwrap()["value"].clone()
    };
    milena(&cluster, "topics alter-config orders --set retention.ms=5000 --append cleanup.policy=compact").ok();
    assert_eq!((value("retention.ms"), value("cleanup.policy")), ("5000".into(), "delete,compact".into()));
    milena(&cluster, "topics alter-config orders --delete retention.ms --subtract cleanup.policy=delete").ok();
    assert_eq!((value("retention.ms"), value("cleanup.policy")), ("604800000".into(), "compact".into()));
    milena(&cluster, "topics alter-config orders --set retention.ms=7 --dry-run").ok();
    assert_eq!(value("retention.ms"), "604800000");
    let ran = milena(&cluster, "topics alter-config orders --set retention.ms=soon").exits(2);
    assert_eq!(ran.rows()[1], ["orders", "INVALID_CONFIG"]);
    milena(&cluster, "topics alter-config orders").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "topics add-partitions clicks orders -n 2").ok();
    assert_eq!(ran.rows()[1..], [["clicks", "3", "5", "OK"], ["orders", "1", "3", "OK"]]);
    milena(&cluster, "topics add-partitions clicks --total 6 --dry-run").ok();
    assert_eq!(milena(&cluster, "topics describe clicks -p").ok().rows().len(), 6);
    milena(&cluster, "topics add-partitions clicks --total 2").exits(2);
    milena(&cluster, "topics add-partitions clicks").exits(1);
    milena(&cluster, "topics add-partitions clicks -n 1 --assignment 3:1:2").ok();
    assert_eq!(milena(&cluster, "topics describe clicks -p").ok().rows()[6], ["clicks", "5", "3", "3,1,2", "3,1,2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_before_an_offset_and_only_with_a_yes() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "topics delete-records orders --offset 6").exits(1);
    assert_eq!(ran.rows()[1], ["orders", "0", "0", "6", "10", "OK"]);
    milena(&cluster, "topics delete-records orders --offset 6 --dry-run").ok();
    let ran = milena(&cluster, "topics trim-prefix orders --offset 6 --yes").ok();
    assert_eq!(ran.rows()[1], ["orders", "0", "6", "OK"]);
    let ran = milena(&cluster, "topics delete-records orders --offset 2 --yes").ok();
    assert_eq!(ran.rows()[1], ["orders", "0", "6", "OK"], "nothing is left to delete before 2");
    milena(&cluster, "topics delete-records orders --offset @2001-01-01 --yes").ok();
    milena(&cluster, "topics delete-records orders --offset 99 --yes").exits(2);
    let ran = milena(&cluster, "topics delete-records orders --offset @2999-01-01 --yes --json").ok();
    assert_eq!(ran.json()[0]["new_start_offset"], 10, "every record is older");
    milena(&cluster, "topics delete-records orders --offset 1 -p 4").exits(2);
}

/// A dry run that says OK of what the brokers will refuse is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_refuses_what_the_run_would() {
    let cluster = cluster().await;
    for more in ["", "--dry-run", "--yes"] {
        let ran = milena(&cluster, &format!("topics delete-records orders -o 500 {more}")).exits(2);
        assert_eq!(ran.rows()[1].last(), Some(&"OFFSET_OUT_OF_RANGE"), "{more}: {}", ran.out);
    }
    for more in ["", "--execute"] {
        let ran = milena(&cluster, &format!("cluster partitions reassign orders:0=2,9 {more}")).exits(2);
        assert_eq!(ran.rows()[1].last(), Some(&"INVALID_REPLICA_ASSIGNMENT"), "{more}: {}", ran.out);
    }
}

/// What is not there does not hide what is.
#[tokio::test(flavor = "multi_thread")]
async fn topics_beside_a_missing_one_are_shown() {
    let cluster = cluster().await;
    for (words, says) in [
        ("topics describe ordres clicks", "topic ordres does not exist; is it orders?"),
        ("offsets list ordres clicks", "topic ordres does not exist; is it orders?"),
        ("offsets list orders clicks -p 2", "topic orders has no partition 2"),
    ] {
        let ran = milena(&cluster, words).exits(2);
        assert!(ran.out.contains("clicks") && ran.err.contains(says), "{words}: {ran:?}");
        let ran = milena(&cluster, &format!("{words} --json")).exits(2);
        assert!(!ran.json().is_empty(), "{words}");
    }
    let ran = milena(&cluster, "cluster log-dirs -t ordres").exits(2);
    assert!(ran.err.contains("topic ordres does not exist; is it orders?"), "{}", ran.err);
}
