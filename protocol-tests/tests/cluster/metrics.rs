//! `Consumer::metrics`: what a watchdog sees of a consumer that works, waits, or is stuck.

use crate::groups::{SECOND, TOPIC, client, cluster, config, poll_all, produce};
use milena::consumer::{Consumer, PartitionMetrics};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
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
