//! `milena cluster`.

use crate::harness::{cluster, milena};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_says_who_is_in_it() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "cluster info").ok();
    assert_eq!((ran.rows()[0].as_slice(), ran.rows().len()), (&["CLUSTER-ID", "CONTROLLER", "BROKERS"][..], 2 + 1 + 3));
    let ran = milena(&cluster, "cluster describe --json").ok();
    let json = &ran.json()[0];
    assert_eq!(json["brokers"].as_array().unwrap().len(), 3);
    assert!(json["cluster_id"].is_string() && json["controller"].is_i64(), "{json}");
    let ran = milena(&cluster, "cluster features --json").ok();
    assert!(ran.json().iter().any(|feature| feature["feature"] == "transaction.version" && feature["level"].is_i64()));
    milena(&cluster, "cluster features --set transaction.version=1 --dry-run").ok();
    let ran = milena(&cluster, "cluster features --set transaction.version=1").ok();
    assert_eq!(ran.rows()[1], ["transaction.version", "2", "1", "OK"]);
    milena(&cluster, "cluster features --set no.such=1").exits(2);
    milena(&cluster, "cluster features --set transaction.version").exits(1);
    let ran = milena(&cluster, "cluster quorum --json").ok();
    assert!(ran.json()[0]["replicas"].as_array().unwrap().iter().any(|replica| replica["role"] == "leader"));
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_of_brokers_are_described_and_altered() {
    let cluster = cluster().await;
    milena(&cluster, "cluster configs alter broker:1 --set message.max.bytes=2000000").ok();
    let ran = milena(&cluster, "cluster configs describe broker:1 --key message.max.bytes").ok();
    assert_eq!(ran.rows()[1], ["message.max.bytes", "2000000", "DYNAMIC_BROKER_CONFIG"]);
    milena(&cluster, "cluster configs alter broker:1 --delete message.max.bytes").ok();
    milena(&cluster, "cluster configs alter brokers --set message.max.bytes=3000000").ok();
    let ran = milena(&cluster, "cluster configs describe brokers --json").ok();
    let configs = ran.json()[0]["configs"].as_array().unwrap().clone();
    assert!(configs.iter().any(|config| config["value"] == "3000000"), "{configs:?}");
    let ran = milena(&cluster, "cluster configs describe").ok();
    assert!(ran.out.contains("broker:1\n") && ran.out.contains("broker:3\n"), "{}", ran.out);
    milena(&cluster, "cluster configs describe broker:9").exits(2);
    milena(&cluster, "cluster configs describe nonsense").exits(1);
    milena(&cluster, "cluster configs alter broker:1").exits(1);
    let ran = milena(&cluster, "cluster configs describe topic:clikcs").exits(2);
    assert!(ran.err.contains("is it clicks?"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_dirs_are_summed_up_as_asked_for() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "cluster log-dirs --json").ok();
    assert!(ran.json().iter().any(|line| line["topic"] == "orders" && line["size"].as_i64() > Some(0)), "{}", ran.out);
    assert_eq!(milena(&cluster, "cluster log-dirs --by broker").ok().rows().len(), 4);
    assert_eq!(milena(&cluster, "cluster logdirs --by broker --brokers 2").ok().rows().len(), 2);
    let ran = milena(&cluster, "cluster log-dirs --by topic -t orders").ok();
    assert_eq!((ran.rows().len(), ran.rows()[1][0]), (2, "orders"));
    milena(&cluster, "cluster log-dirs --by dir").ok();
    milena(&cluster, "cluster log-dirs --brokers 9").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_and_removed() {
    let cluster = cluster().await;
    milena(&cluster, "cluster quotas alter --name user=alice --default client-id --add consumer_byte_rate=1000").ok();
    milena(&cluster, "cluster quotas alter --default user --add producer_byte_rate=2000").ok();
    milena(&cluster, "cluster quotas alter --name user=bob --add producer_byte_rate=1 --dry-run").ok();
    let ran = milena(&cluster, "cluster quotas describe --json").ok();
    assert_eq!(ran.json().len(), 2, "{}", ran.out);
    let ran = milena(&cluster, "cluster quotas describe --name user=alice --json").ok();
    assert_eq!(
        (ran.json()[0]["quota"].clone(), ran.json()[0]["value"].as_f64()),
        ("consumer_byte_rate".into(), Some(1000.0))
    );
    assert_eq!(milena(&cluster, "cluster quotas describe --any user --strict").ok().rows().len(), 2);
    milena(&cluster, "cluster quotas alter --name user=alice --default client-id --delete consumer_byte_rate").ok();
    assert_eq!(milena(&cluster, "cluster quotas describe").ok().rows().len(), 2);
    milena(&cluster, "cluster quotas alter --name user=alice --add no_such_quota=1").exits(2);
    milena(&cluster, "cluster quotas alter --add consumer_byte_rate=1").exits(1);
    milena(&cluster, "cluster quotas alter --name user=alice").exits(1);
    milena(&cluster, "cluster quotas alter --name user=alice --add consumer_byte_rate=x").exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_moved_and_leaders_elected() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "cluster partitions reassign orders:0=2,3").ok();
    assert_eq!((ran.rows()[1].len(), ran.rows()[1][3]), (5, "2,3"));
    assert!(ran.err.contains("--execute"), "{}", ran.err);
    milena(&cluster, "cluster partitions reassign orders:0=2,3 --execute").ok();
    milena(&cluster, "cluster partitions list").ok();
    let ran = milena(&cluster, "cluster partitions elect --all --json").ok();
    assert!(ran.json().iter().all(|line| line["status"] == "OK"), "{}", ran.out);
    milena(&cluster, "cluster partitions elect orders:0").ok();
    milena(&cluster, "cluster partitions cancel").exits(2);
    milena(&cluster, "cluster partitions reassign orders:0=9 --execute").exits(2);
    milena(&cluster, "cluster partitions reassign orders:7=1").exits(2);
    milena(&cluster, "cluster partitions reassign orders=1").exits(1);
    milena(&cluster, "cluster partitions elect").exits(1);
}
