//! What a partition's beginning may wait for: the transactions of its own, not its neighbours'.

use milena::broker::TestCluster;
use milena::consumer::ConsumerGroupMetadata;
use milena::ids::{OffsetAndMetadata, TopicPartition};
use milena::pipeline::{
    aggregate, clickstream,
    config::{built_in_windows, select_windows},
    context::Context,
    stop::Stop,
    timestamp,
    window::JobSpec,
};
use milena::producer::ProducerConfig;
use std::{collections::HashMap, time::Duration};

const T: &str = "clicks";

/// A member that stopped in the middle of its transaction: the partitions of the others go on.
#[tokio::test(start_paused = true)]
async fn a_neighbours_open_transaction_does_not_hold_up_a_beginning() {
    let cluster = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    let mut clicks = clickstream::Options::new(T);
    (clicks.count, clicks.partitions, clicks.knobs.rate) = (Some(3_000), 3, 10.0);
    clicks.knobs.start = timestamp::parse("2024-01-15T14:30:00Z").unwrap();
    clickstream::run(&context, clicks).await.unwrap();

    let config = ProducerConfig::default().transaction_timeout(Duration::from_secs(600));
    let mut stopped = context.client.transactional_producer("stopped", config).await.unwrap();
    let transaction = stopped.begin().await.unwrap();
    let offsets = HashMap::from([(TopicPartition::new(T, 2), OffsetAndMetadata::new(1))]);
    transaction.send_offsets(offsets, ConsumerGroupMetadata::standalone("job")).await.unwrap();

    let windows = select_windows(&built_in_windows(), "gmv_1m").unwrap();
    let options = aggregate::Options::new(T, JobSpec::new("job", windows, 5_000_000));
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let (receipt, ()) = tokio::join!(aggregate::run(&stopping, options), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.stop();
    });
    receipt.unwrap();
    transaction.abort().await.unwrap();

    let committed = context.client.admin().list_group_offsets("job").await.unwrap();
    let of: Vec<i32> = committed.keys().map(|name| name.partition).collect();
    assert_eq!(of, [0, 1], "partition 2 waits for its transaction, the others don't");
}
