//! `metrics()`: what a watchdog sees of a consumer that works, waits, or is stuck; what producers and connections count.

use crate::groups::{SECOND, TOPIC, client, cluster, config, poll_all, produce};
use milena::broker::ApiKey;
use milena::consumer::{Consumer, PartitionMetrics};
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use milena::metrics::{Metrics, Value};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn of(consumer: &Consumer, partition: i32) -> PartitionMetrics {
    let name: TopicPartition = (TOPIC, partition).into();
    consumer.metrics().partitions.get(&name).cloned().expect("it is assigned")
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_stuck_shows_in_lag_progress_and_age() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..20).await;
    let mut one = client(&cluster).consumer(config().max_poll_records(1)).unwrap();
    assert_eq!((one.metrics().partitions.len(), one.metrics().last_poll), (0, None));
    one.subscribe([TOPIC]).await.unwrap();
    assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await.len(), 20);
    let metrics = one.metrics();
    assert_eq!((metrics.rebalances, metrics.partitions.len(), metrics.bytes_buffered), (1, 2, 0));
    let read = of(&one, 0);
    assert_eq!((read.position, read.lag, read.bytes_buffered, read.oldest_buffered), (Some(10), Some(0), 0, None));
    let progress = read.last_progress.expect("it has been read");

    one.pause(&[(TOPIC, 0).into()]).unwrap();
    produce(&cluster, 2, 20..40).await;
    poll_all(&mut [&mut one], 3 * SECOND).await;
    let polled = Instant::now();
    sleep(7 * SECOND).await;
    let (stuck, other) = (of(&one, 0), of(&one, 1));
    assert_eq!((stuck.position, stuck.last_progress), (Some(10), Some(progress)));
    assert!(other.position == Some(20) && other.lag == Some(0) && other.last_progress > Some(progress), "{other:?}");
    let metrics = one.metrics();
    let silent = polled.into_std().duration_since(metrics.last_poll.expect("it has polled"));
    assert!(silent <= Duration::from_millis(50), "the last look was the last poll's: {silent:?} before its end");
    let beat = Instant::now().into_std().duration_since(metrics.last_heartbeat.expect("it is in a group"));
    assert!(beat <= 2 * SECOND, "heartbeats go on without polls: {beat:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_application_is_counted_and_its_age_is_that_of_the_oldest() {
    let cluster = cluster(1).await;
    let producer = client(&cluster).producer(ProducerConfig::default()).unwrap();
    let mut one = client(&cluster).consumer(config().max_poll_records(1)).unwrap();
    one.assign([(TOPIC, 0)]).await.unwrap();
    for _ in 0..3 {
        drop(producer.send(ProducerRecord::new(TOPIC).partition(0).value(&[7; 1000])).await.unwrap());
        producer.flush(SECOND).await.unwrap();
        sleep(10 * SECOND).await;
    }
    while one.poll(SECOND).await.unwrap().is_empty() {}
    sleep(SECOND).await;
    let waits = of(&one, 0);
    assert_eq!((waits.position, waits.lag), (Some(1), Some(2)));
    assert!((2000..2400).contains(&waits.bytes_buffered), "{}", waits.bytes_buffered);
    assert!(one.metrics().bytes_buffered >= waits.bytes_buffered);
    let age = waits.oldest_buffered.expect("two wait");
    assert!((20 * SECOND..24 * SECOND).contains(&age), "{age:?}: the second was made ten seconds after the first");
    assert_eq!((one.metrics().rebalances, one.metrics().last_heartbeat), (0, None), "assigned by hand");
    while one.poll(SECOND).await.unwrap().count() > 0 {}
    assert_eq!((of(&one, 0).bytes_buffered, of(&one, 0).oldest_buffered), (0, None));
}

const MILLI: Duration = Duration::from_millis(1);

/// By name and labels; of a histogram how many values.
fn told(metrics: &dyn Metrics) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    metrics.visit(&mut |metric| {
        let labels: String = metric.labels.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let value = match metric.value {
            Value::Counter(count) => count as f64,
            Value::Gauge(value) => value,
            Value::Histogram(histogram) => histogram.count() as f64,
            _ => panic!("{} is something new", metric.name),
        };
        assert!(!metric.help.is_empty());
        assert_eq!(found.insert(format!("{}{labels}", metric.name), value), None, "{} is told once", metric.name);
    });
    found
}

#[tokio::test(start_paused = true)]
async fn a_producer_counts_what_it_sends_again_waits_for_and_fails_with() {
    let cluster = cluster(1).await;
    let client = client(&cluster);
    let config = ProducerConfig::default().linger(100 * MILLI).buffer_memory(1 << 20).batch_size(16_000);
    let producer = client.producer(config).unwrap();
    let record = || ProducerRecord::new(TOPIC).value(&[7; 1000]);
    cluster.fault(ApiKey::Produce).once().delay(300 * MILLI).error(ErrorCode::NotEnoughReplicas);
    cluster
        .fault(ApiKey::Produce)
        .once()
        .throttle(2 * SECOND)
        .delay(40 * MILLI)
        .apply_then_error(ErrorCode::NotEnoughReplicasAfterAppend);
    let deliveries = [producer.send(record()).await.unwrap(), producer.send(record()).await.unwrap()];
    let metrics = producer.metrics();
    assert_eq!((metrics.records_sent, metrics.requests_in_flight, metrics.buffer_total_bytes), (0, 0, 1 << 20));
    assert!(metrics.buffer_available_bytes < (1 << 20) - 2000);
    sleep(200 * MILLI).await;
    assert_eq!(producer.metrics().requests_in_flight, 1);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    cluster.fault(ApiKey::Produce).once().error(ErrorCode::InvalidTopicException);
    producer.send(record()).await.unwrap().await.unwrap_err();

    let metrics = producer.metrics();
    assert_eq!(
        (metrics.records_sent, metrics.records_retried),
        (2 + 2 + 2 + 1, 2 + 2),
        "thrice, and the last one once"
    );
    assert_eq!((metrics.records_acknowledged, metrics.records_failed), (2, 1));
    assert_eq!((metrics.batches_sent, metrics.batches_split, metrics.requests_in_flight), (4, 0, 0));
    assert_eq!((metrics.batch_size.count(), metrics.batch_size.sum()), (4, metrics.bytes_sent));
    assert!((7000..7600).contains(&metrics.bytes_sent), "{}", metrics.bytes_sent);
    assert_eq!((metrics.records_per_request.count(), metrics.records_per_request.sum()), (4, 7));
    let (queued, asked) = (&metrics.queue_time, &metrics.request_latency);
    assert_eq!(queued.count(), 2, "a batch has waited once, however often it is sent");
    assert!(queued.mean().is_some_and(|mean| (100_000.0..110_000.0).contains(&mean)), "{queued:?}: linger.ms");
    assert!(asked.count() == 4 && (300_000..375_000).contains(&asked.max().unwrap()), "{asked:?}");
    assert_eq!((metrics.throttle_time.count(), metrics.throttle_time.sum()), (1, 2_000_000));
    assert_eq!((metrics.buffer_available_bytes, metrics.waiting_senders), (1 << 20, 0));

    let told = told(&metrics);
    assert_eq!(told["producer-metrics/record-send-total"], 7.0);
    assert_eq!(told["producer-metrics/record-error-total"], 1.0);
    assert_eq!(told["producer-metrics/request-latency-us"], 4.0);
}

#[tokio::test(start_paused = true)]
async fn records_that_expire_and_are_purged_have_failed_and_who_waits_for_memory_is_counted() {
    let cluster = cluster(1).await;
    let config = ProducerConfig::default().buffer_memory(40_000).batch_size(16_000).delivery_timeout(40 * SECOND);
    let producer = client(&cluster).producer(config).unwrap();
    let record = || ProducerRecord::new(TOPIC).value(&[7; 10_000]);
    producer.send(record()).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let expires = producer.send(record()).await.unwrap();
    let mut taken = vec![expires.clone()];
    let full = async {
        loop {
            taken.push(producer.send(record()).await.unwrap());
        }
    };
    assert!(tokio::time::timeout(SECOND, full).await.is_err(), "in the end it waits");
    let waits = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(ProducerRecord::new(TOPIC).value(&[7; 30_000])).await.map(drop) }
    });
    sleep(SECOND).await;
    assert_eq!(producer.metrics().waiting_senders, 1);
    expires.await.unwrap_err();
    producer.purge(milena::producer::Purge::All).await;
    waits.await.unwrap().unwrap(); // there is room now
    producer.purge(milena::producer::Purge::All).await;
    let metrics = producer.metrics();
    assert_eq!((metrics.records_acknowledged, metrics.waiting_senders), (1, 0));
    assert_eq!(metrics.records_failed, taken.len() as u64 + 1, "{metrics:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_node_with_what_crossed_them() {
    let cluster = cluster(1).await;
    let client = client(&cluster);
    client.admin().list_topics().await.unwrap();
    cluster.fault(ApiKey::Produce).once().delay_answer(5 * SECOND).disconnect();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send(ProducerRecord::new(TOPIC).value("1")).await.unwrap().await.unwrap();
    let metrics = client.metrics();
    let (id, node) = metrics.nodes.iter().find(|(_, node)| node.produce_requests_sent > 0).expect("one took it");
    assert_eq!(
        (node.produce_requests_sent, client.produce_requests()),
        (2, 2),
        "the first connection was closed on it"
    );
    assert!(node.connections_opened > node.connections_closed && node.connections_closed == 1, "{node:?}");
    assert_eq!((node.requests_in_flight, node.connections_failed, node.authentications_failed), (0, 0, 0));
    assert!(node.request_latency.count() < node.requests_sent, "one was not answered");
    let sum = |of: fn(&milena::client::NodeMetrics) -> u64| metrics.nodes.values().map(of).sum::<u64>();
    assert_eq!((sum(|node| node.bytes_sent), sum(|node| node.bytes_received)), client.traffic());

    (1..=3).for_each(|node| cluster.kill(milena::ids::NodeId(node)));
    assert!(client.admin().list_topics().await.is_err());
    let (told, id) = (told(&client.metrics()), id.expect("a node"));
    assert!(told[&format!("node-metrics/connection-failed-total node-id={id}")] > 0.0, "{told:?}");
    assert_eq!(told[&format!("node-metrics/connection-count node-id={id}")], 0.0, "{told:?}");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_counts_records_bytes_fetches_and_commits() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..20).await;
    cluster.fault(ApiKey::Fetch).once().throttle(SECOND);
    let mut one = client(&cluster).consumer(config()).unwrap();
    one.subscribe([TOPIC]).await.unwrap();
    assert_eq!(poll_all(&mut [&mut one], 3 * SECOND).await.len(), 20);
    assert_eq!(one.metrics().throttle_time.sum(), 1_000_000);
    cluster.fault(ApiKey::OffsetCommit).once().delay(50 * MILLI).error(ErrorCode::CoordinatorLoadInProgress);
    let commits = one.metrics().commit_latency.count();
    one.commit().await.unwrap();
    let metrics = one.metrics();
    assert_eq!(
        (metrics.records_consumed, metrics.commit_latency.count() - commits, metrics.commits_failed),
        (20, 1, 1)
    );
    assert!(metrics.bytes_consumed > 20 && metrics.bytes_fetched > metrics.bytes_consumed, "{metrics:?}");
    let parked = metrics.fetch_latency.max().unwrap();
    assert!((500_000..640_000).contains(&parked), "{parked}: the longest was parked for fetch.max.wait.ms");
    let told = told(&metrics);
    assert_eq!(told["consumer-fetch-manager-metrics/records-lag topic=clicks partition=1"], 0.0);
    assert_eq!(told["consumer-coordinator-metrics/rebalance-total"], 1.0);
}
