//! Clients of a cluster whose network is cut between a broker and the others.
#![allow(clippy::disallowed_methods, reason = "tests wait on virtual time")]

use milena::broker::{Link, TestCluster};
use milena::client::Client;
use milena::ids::NodeId;
use milena::producer::{Acks, ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::Instant;

/// The leader goes on as if nothing were wrong, and takes what `acks=1` brings; `acks=all` is not taken in.
#[tokio::test(start_paused = true)]
async fn acks_all_loses_nothing_to_a_leader_that_is_cut_off_from_the_others() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 1).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let safe = client.producer(ProducerConfig::default()).unwrap();
    let config = ProducerConfig::default().acks(Acks::Leader).idempotence(false);
    // A client of its own: a broker answers a connection in order, and the other's requests wait.
    let careless = cluster.client().await.unwrap().producer(config).unwrap();
    let mut kept = Vec::new();
    for i in 0..40 {
        match i {
            10 => cluster.cut(Link::Brokers(NodeId(1))),
            30 => cluster.heal(),
            _ => {}
        }
        kept.push(safe.send(ProducerRecord::new("t").value(&format!("safe {i}"))).await.unwrap());
        careless.send(ProducerRecord::new("t").value(&format!("careless {i}"))).await.unwrap().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for delivery in kept {
        delivery.await.unwrap();
    }
    let values = cluster.records("t").unwrap().into_iter().filter_map(|record| record.value);
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
    let of = |who: &str| -> Vec<i32> {
        values.iter().filter_map(|value| value.strip_prefix(who)?.trim().parse().ok()).collect()
    };
    assert_eq!(of("safe"), (0..40).collect::<Vec<_>>(), "each once, in order");
    let careless = of("careless");
    assert!(
        careless.starts_with(&Vec::from_iter(0..10)) && careless.ends_with(&Vec::from_iter(30..40)),
        "{careless:?}"
    );
    assert!(careless.len() < 35, "acknowledged by the leader alone, and gone: {careless:?}");
}

/// What a leader can't have replicated may have another leader by now, whom only the metadata name: Java's client and
/// librdkafka send it to the old one until their metadata are five minutes old.
#[tokio::test(start_paused = true)]
async fn a_leader_that_times_out_is_looked_for_anew() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 1).in_memory().start().await.unwrap();
    let client = Client::connect(cluster.client_config().bootstrap_servers(["broker-2:9092"])).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send(ProducerRecord::new("t").value("before")).await.unwrap().await.unwrap();
    cluster.cut(Link::Brokers(NodeId(1)));
    let start = Instant::now();
    producer.send(ProducerRecord::new("t").value("behind")).await.unwrap().await.unwrap();
    assert_eq!(cluster.records("t").unwrap().len(), 2);
    assert!(start.elapsed() < Duration::from_secs(35), "one request timeout, and a little: {:?}", start.elapsed());
}
