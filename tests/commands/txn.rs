//! `milena txn`.

use crate::harness::{cluster, milena};
use milena::producer::{ProducerConfig, ProducerRecord};

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_listed_described_and_fenced() {
    let cluster = cluster().await;
    let client = cluster.client().await.unwrap();
    let mut producer = client.transactional_producer("payments", ProducerConfig::default()).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(ProducerRecord::new("orders").value("x")).await.unwrap().await.unwrap();

    let ran = milena(&cluster, "txn list").ok();
    assert_eq!((ran.rows()[1][0], ran.rows()[1][2]), ("payments", "Ongoing"));
    assert_eq!(milena(&cluster, "txn list --state Empty").ok().rows().len(), 1);
    let ran = milena(&cluster, "txn describe payments --json").ok();
    assert_eq!((&ran.json()[0]["state"], &ran.json()[0]["partitions"][0]), (&"Ongoing".into(), &"orders[0]".into()));
    let ran = milena(&cluster, "txn describe paymnets").exits(2);
    assert!(ran.err.contains("is it payments?"), "{}", ran.err);
    let ran = milena(&cluster, "txn producers orders:0 --json").ok();
    let open = ran.json().into_iter().find(|line| line["txn_start_offset"].is_i64()).unwrap();
    assert_eq!(open["txn_start_offset"], 10);

    // Its coordinator knows it: it does not hang.
    assert_eq!(milena(&cluster, "txn find-hanging orders --longer-than 0").ok().rows().len(), 1);
    let ran = milena(&cluster, "txn abort orders:0 --start-offset 10").exits(1);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    milena(&cluster, "txn abort orders:0 --producer-id 999999").exits(2);
    milena(&cluster, "txn abort orders --start-offset 10").exits(1);
    milena(&cluster, "txn abort orders:0 --start-offset 10 --yes").ok();
    let ran = milena(&cluster, "txn fence payments").ok();
    assert_eq!(ran.rows()[1][3], "OK");
    assert!(transaction.commit().await.is_err(), "fenced");
}
