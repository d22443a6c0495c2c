//! How a partition begins, and how it goes to another member.

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
use tokio::time::sleep;

const T: &str = "clicks";

/// Five minutes of events in three partitions.
async fn clicked() -> (TestCluster, Context) {
    let cluster = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    let mut clicks = clickstream::Options::new(T);
    (clicks.count, clicks.partitions, clicks.knobs.rate) = (Some(3_000), 3, 10.0);
    clicks.knobs.start = timestamp::parse("2024-01-15T14:30:00Z").unwrap();
    clickstream::run(&context, clicks).await.unwrap();
    (cluster, context)
}

/// A member that stopped in the middle of its transaction: the partitions of the others go on.
#[tokio::test(start_paused = true)]
async fn a_neighbours_open_transaction_does_not_hold_up_a_beginning() {
    let (_cluster, context) = clicked().await;
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
        sleep(Duration::from_secs(5)).await;
        stop.stop();
    });
    receipt.unwrap();
    transaction.abort().await.unwrap();

    let committed = context.client.admin().list_group_offsets("job").await.unwrap();
    let of: Vec<i32> = committed.keys().map(|name| name.partition).collect();
    assert_eq!(of, [0, 1], "partition 2 waits for its transaction, the others don't");
}

/// What a member has in hand is committed in the name of the new generation, before the partition goes to another.
#[tokio::test(start_paused = true)]
async fn a_partition_that_moves_in_order_is_committed_first() {
    let (_cluster, context) = clicked().await;
    let windows = select_windows(&built_in_windows(), "users_30m").unwrap();
    let mut options = aggregate::Options::new(T, JobSpec::new("job", windows, 5_000_000));
    options.commit_interval = Duration::from_secs(3_600); // and no window closes
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let second = async {
        sleep(Duration::from_secs(5)).await;
        aggregate::run(&stopping, options.clone()).await
    };
    let admin = context.client.admin();
    let look = async {
        sleep(Duration::from_secs(4)).await;
        assert_eq!(admin.list_group_offsets("job").await.unwrap().len(), 0);
        sleep(Duration::from_secs(6)).await;
        let committed = admin.list_group_offsets("job").await.unwrap();
        stop.stop();
        committed
    };
    let (first, second, committed) = tokio::join!(aggregate::run(&stopping, options.clone()), second, look);
    assert_eq!(committed.len(), 1, "of three partitions one moves");
    for found in committed.values() {
        assert_eq!(Some(found.committed.offset), found.end_offset);
    }
    assert_eq!((first.unwrap().read, second.unwrap().read), (Some(3_000), Some(0)));
}
