//! Brokers that don't answer for longer than any call may take: the stages wait for them.

use milena::admin::NewTopic;
use milena::broker::{ApiKey, TestCluster};
use milena::ids::NodeId;
use milena::pipeline::{
    aggregate, clickstream,
    config::{built_in_windows, select_windows},
    context::Context,
    merge,
    stop::Stop,
    timestamp,
    window::JobSpec,
};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::sleep;

const T: &str = "clicks";
/// Longer than `default.api.timeout.ms`.
const LONG: Duration = Duration::from_secs(150);

async fn start() -> (TestCluster, Context) {
    let cluster = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    (cluster, context)
}

/// Merge asks how many partitions the input has when a window could be final.
#[tokio::test(start_paused = true)]
async fn merge_waits_until_it_can_ask_how_many_partitions_there_are() {
    let (cluster, context) = start().await;
    let topics = [NewTopic::new(T, 1, 1), NewTopic::new("clicks.windows", 1, 1)];
    context.client.admin().create_topics(topics).await.unwrap();
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let outage = async {
        sleep(Duration::from_secs(5)).await;
        cluster.fault(ApiKey::Metadata).for_topic(T).disconnect();
        let producer = context.client.producer(ProducerConfig::default()).unwrap();
        for value in [
            r#"{"job":"j","window":"gmv_1m","start_ms":0,"end_ms":60000,"key":null,"partition":0,"count":1,"sum_cents":5}"#,
            r#"{"job":"j","partition":0,"watermark_ms":60000}"#,
        ] {
            let sent = producer.send(ProducerRecord::new("clicks.windows").value(value)).await.unwrap();
            sent.await.unwrap();
        }
        sleep(LONG).await;
        assert_eq!(cluster.records("clicks.final").unwrap().len(), 0);
        cluster.clear_faults();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(cluster.records("clicks.final").unwrap().len(), 1);
        stop.stop();
    };
    let (merged, ()) = tokio::join!(merge::run(&stopping, merge::Options::new(T, built_in_windows())), outage);
    assert_eq!(merged.unwrap().windows_closed, Some(1));
}

#[tokio::test(start_paused = true)]
async fn aggregator_and_merge_go_on_after_a_broker_that_stood_still() {
    let (cluster, context) = start().await;
    let mut clicks = clickstream::Options::new(T);
    (clicks.count, clicks.partitions, clicks.knobs.rate) = (Some(6_000), 3, 10.0);
    clicks.knobs.start = timestamp::parse("2024-01-15T14:30:00Z").unwrap();
    clickstream::run(&context, clicks).await.unwrap();
    let windows = select_windows(&built_in_windows(), "gmv_1m").unwrap();
    let options = aggregate::Options::new(T, JobSpec::new("clicks.aggregate", windows, 0));
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let outages = async {
        sleep(Duration::from_millis(140)).await;
        cluster.pause(NodeId(1));
        sleep(LONG).await;
        cluster.resume(NodeId(1));
        sleep(Duration::from_secs(30)).await;
        stop.stop();
    };
    let merging = async {
        sleep(Duration::from_millis(30)).await; // the aggregator makes the topic
        merge::run(&stopping, merge::Options::new(T, built_in_windows())).await
    };
    let (aggregated, merged, ()) = tokio::join!(aggregate::run(&stopping, options), merging, outages);
    assert_eq!(aggregated.unwrap().read, Some(6_000));
    assert_eq!(merged.unwrap().windows_closed, Some(9));
}
