//! Groups of this crate's consumers over the test broker.

use milena::broker::TestCluster;
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::testing::next_records;
use std::collections::BTreeSet;
use std::time::Duration;

fn from_the_start(config: ConsumerConfig) -> ConsumerConfig {
    config.auto_offset_reset(OffsetReset::Earliest)
}

#[tokio::test(start_paused = true)]
async fn two_members_share_and_the_survivor_takes_over() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 4).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    let member = || {
        let client = client.clone();
        async move {
            let mut consumer = client.consumer(from_the_start(ConsumerConfig::group("g"))).unwrap();
            consumer.subscribe(["t"]).await.unwrap();
            consumer
        }
    };
    let (mut first, mut second) = (member().await, member().await);
    let start = cluster.clock().now();
    while first.assignment().len() != 2 || second.assignment().len() != 2 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "they don't share: {:?} {:?}",
            first.assignment(),
            second.assignment()
        );
        let (one, two) = tokio::join!(first.poll(Duration::from_millis(50)), second.poll(Duration::from_millis(50)));
        one.unwrap();
        two.unwrap();
    }
    let both: BTreeSet<TopicPartition> = first.assignment().into_iter().chain(second.assignment()).collect();
    assert_eq!(both.len(), 4);
    assert_eq!(cluster.group("g").map(|(state, _, members)| (state, members)), Some(("Stable", 2)));
    second.close(Duration::from_secs(5)).await.unwrap();
    cluster.produce("t", (0..40).map(|i| i.to_string())).await.unwrap();
    let records = next_records(&mut first, 40).await.unwrap();
    let values: BTreeSet<_> = records.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(values.len(), 40);
    // The records may all lie in partitions that the survivor had before.
    while first.assignment().len() != 4 {
        assert!(start.elapsed() < Duration::from_secs(60), "it has not taken over: {:?}", first.assignment());
        assert!(first.poll(Duration::from_millis(50)).await.unwrap().is_empty());
    }
    first.commit().await.unwrap();
    let committed: i64 =
        (0..4).filter_map(|p| cluster.committed("g", &("t", p).into())).map(|found| found.offset).sum();
    assert_eq!(committed, 40);
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_leaves_no_connection_at_the_broker() {
    let cluster = TestCluster::builder().brokers(3).topic("t", 3).in_memory().start().await.unwrap();
    cluster.produce("t", ["x", "y", "z"]).await.unwrap();
    let client = cluster.client().await.unwrap();
    let mut consumer = client.consumer(from_the_start(ConsumerConfig::group("g"))).unwrap();
    consumer.subscribe(["t"]).await.unwrap();
    next_records(&mut consumer, 3).await.unwrap();
    assert!(cluster.connections() > 0);
    consumer.close(Duration::from_secs(5)).await.unwrap();
    client.close().await;
    cluster.wait_until("no connection is left", |cluster| cluster.connections() == 0).await;
}
