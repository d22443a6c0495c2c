//! `send_many`: what is written where, what is refused, and what a drop or a full buffer in the middle leaves.

use super::producer::{cluster, log, poll_once, value};
use milena::broker::{ApiKey, TestCluster};
use milena::error::{Certainty, ErrorKind};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::pin::pin;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn values(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(value).collect()
}

#[tokio::test(start_paused = true)]
async fn records_without_a_key_fill_batches_and_each_delivery_says_where_its_record_is() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let (topic, values) = (producer.topic("clicks"), values(10_000));
    let deliveries = topic.send_many(values.iter().map(|value| topic.record().value(value))).await;
    assert_eq!((deliveries.len(), deliveries.refused()), (10_000, 0));
    deliveries.all().await.unwrap();
    let logs = [0, 1, 2, 3].map(|partition| log(&cluster, partition));
    for (i, delivery) in deliveries.iter().enumerate() {
        let written = delivery.await.unwrap();
        assert_eq!(logs[written.partition() as usize][written.offset().unwrap() as usize], i as u32);
        assert_eq!(deliveries.get(i).unwrap().await.unwrap(), written);
    }
    assert!(deliveries.iter().count() == 10_000 && deliveries.get(10_000).is_none());
    let full = 10_000 * 107 / 16_384;
    let requests = cluster.requests(ApiKey::Produce);
    assert!(requests.count <= full + 10, "{requests:?} for {full} batches");
    assert!(logs.iter().all(|log| log.len() > 1000));
}

#[tokio::test(start_paused = true)]
async fn keys_go_where_send_puts_them_and_keep_their_order() {
    let (cluster, client) = cluster(1, 7).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let (values, keys): (_, Vec<_>) = (values(3000), (0..3000_u32).map(|i| (i * 7919 % 101).to_string()).collect());
    let record = |i: usize| {
        let record = ProducerRecord::new("clicks").value(&values[i]).timestamp(1_700_000_000_000 + i as i64 % 3);
        match i % 5 {
            0 => record,
            1 => record.partition(i as i32 % 7),
            _ => record.key(&keys[i]),
        }
    };
    let deliveries = producer.send_many("clicks", (0..3000).map(record)).await;
    deliveries.all().await.unwrap();
    let logs: Vec<Vec<u32>> = (0..7).map(|partition| log(&cluster, partition)).collect();
    for (i, delivery) in deliveries.iter().enumerate() {
        let written = delivery.await.unwrap();
        assert_eq!(logs[written.partition() as usize][written.offset().unwrap() as usize], i as u32);
        assert_eq!(written.timestamp(), 1_700_000_000_000 + i as i64 % 3);
        if i % 5 == 1 {
            assert_eq!(written.partition(), i as i32 % 7);
        }
        if i % 200 == 2 {
            let alone = producer.send(record(i)).await.unwrap();
            assert_eq!(alone.partition(), written.partition(), "as `send`");
        }
    }
    for (partition, log) in logs.iter().enumerate() {
        let (open, placed): (Vec<u32>, Vec<u32>) = log.iter().partition(|i| *i % 5 == 0);
        assert!(placed.is_sorted_by(|a, b| a < b), "partition {partition}: {placed:?}");
        assert!(open.is_sorted_by(|a, b| a < b), "partition {partition}: {open:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_sent_is_refused_alone() {
    let (cluster, client) = cluster(1, 2).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let (values, large) = (values(6), vec![0; 2 << 20]);
    let records = [
        ProducerRecord::new("clicks").value(&values[0]),
        ProducerRecord::new("views").value(&values[1]),
        ProducerRecord::new("clicks").value(&large),
        ProducerRecord::new("clicks").value(&values[3]).partition(2),
        ProducerRecord::new("clicks").value(&values[4]).partition(-1),
        ProducerRecord::new("clicks").value(&values[5]).key("k"),
    ];
    let deliveries = producer.send_many("clicks", records).await;
    assert_eq!((deliveries.len(), deliveries.refused()), (6, 4));
    let mut kinds = Vec::new();
    for delivery in deliveries.iter() {
        kinds.push(delivery.await.err().map(|error| {
            assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent));
            error.kind()
        }));
    }
    let (other, large) = (Some(ErrorKind::InvalidArgument), Some(ErrorKind::RecordTooLarge));
    assert_eq!(kinds, [None, other, large, other, other, None]);
    assert_eq!(deliveries.all().await.unwrap_err().kind(), ErrorKind::InvalidArgument, "the first");
    let mut written = [log(&cluster, 0), log(&cluster, 1)].concat();
    written.sort_unstable();
    assert_eq!(written, [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_memory_as_often_as_need_be() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default().buffer_memory(40_000)).unwrap();
    let values = values(5000);
    let keyed = |(i, value)| ProducerRecord::new("clicks").value(value).key(["a", "b", "c", "d", "e"][i % 5]);
    let deliveries = producer.send_many("clicks", values.iter().enumerate().map(keyed)).await;
    deliveries.all().await.unwrap();
    let written: usize = (0..4).map(|partition| log(&cluster, partition).len()).sum();
    assert_eq!((written, deliveries.refused()), (5000, 0));
    assert_eq!(producer.free_memory(), 40_000);
}

#[tokio::test(start_paused = true)]
async fn with_no_room_in_time_the_rest_is_refused_and_what_was_taken_is_written() {
    let (cluster, client) = cluster(1, 3).await;
    let config = ProducerConfig::default().buffer_memory(100_000).max_block(SECOND);
    let producer = client.producer(config).unwrap();
    producer.send(ProducerRecord::new("clicks").value(&value(0)).partition(0)).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).delay(5 * SECOND);
    let (values, keys): (_, Vec<_>) = (values(3000), (0..3000_u32).map(|i| (i % 31).to_string()).collect());
    let records = values.iter().zip(&keys).map(|(value, key)| ProducerRecord::new("clicks").value(value).key(key));
    let deliveries = producer.send_many("clicks", records).await;
    let refused = deliveries.refused();
    assert!((1500..2500).contains(&refused), "{refused} of 100 bytes each didn't fit");
    let (mut taken, mut full) = (Vec::new(), 0);
    for (i, delivery) in (0..).zip(deliveries.iter()) {
        match delivery.await {
            Ok(_) => taken.push(i),
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.delivery_certainty()),
                    (ErrorKind::BufferFull, Some(Certainty::NotSent))
                );
                full += 1;
            }
        }
    }
    assert_eq!(full, refused);
    let mut written: Vec<u32> = (0..3).flat_map(|partition| log(&cluster, partition)).collect();
    written.sort_unstable();
    written.remove(0); // the one before
    assert_eq!(written, taken);
}

/// Polled n times and then dropped, for n until it ends by itself.
#[tokio::test(start_paused = true)]
async fn a_drop_in_the_middle_leaves_the_first_records_of_each_partition() {
    let values = values(2000);
    let mut ends = 0;
    for polls in 1..60 {
        let (cluster, client) = cluster(1, 3).await;
        let producer = client.producer(ProducerConfig::default().buffer_memory(50_000)).unwrap();
        let keyed = |(i, value)| ProducerRecord::new("clicks").value(value).partition(i as i32 % 3);
        let ended = {
            let mut sending = pin!(producer.send_many("clicks", values.iter().enumerate().map(keyed)));
            let mut ended = false;
            for _ in 0..polls {
                ended = poll_once(sending.as_mut()).is_ready();
                if ended {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            ended
        };
        assert_eq!(producer.flush(10 * SECOND).await.unwrap(), 0);
        for partition in 0..3 {
            let log = log(&cluster, partition);
            let first: Vec<u32> = (partition as u32..2000).step_by(3).take(log.len()).collect();
            assert_eq!(log, first, "after {polls} polls");
        }
        ends += u32::from(ended);
        drop(producer);
        client.close().await;
        assert_eq!(client.live_tasks(), 0);
    }
    assert!((1..59).contains(&ends), "both ends were seen: {ends}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_producer_refuses_all_and_nothing_is_nothing() {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let none = producer.send_many("clicks", []).await;
    assert!(none.is_empty() && none.iter().next().is_none());
    none.all().await.unwrap();
    producer.close(SECOND).await.unwrap();
    let values = values(300);
    let deliveries = producer.send_many("clicks", values.iter().map(|v| ProducerRecord::new("clicks").value(v))).await;
    assert_eq!((deliveries.len(), deliveries.refused()), (300, 300));
    assert!(deliveries.all().await.unwrap_err().is_closed());
}

/// An `async fn` that borrows what a closure gives is not `Send` to the compiler ("implementation of `FnOnce` is not general
/// enough"): nobody could have called it from a task.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the spawned task is the point")]
async fn it_can_be_called_from_a_task_with_records_that_a_closure_makes() {
    let cluster = TestCluster::builder().topic("clicks", 1).in_memory().start().await.unwrap();
    let producer = cluster.client().await.unwrap().producer(ProducerConfig::default()).unwrap();
    let sent = tokio::spawn(async move {
        let values = values(10);
        let topic = producer.topic("clicks");
        topic.send_many(values.iter().map(|value| topic.record().value(value))).await.all().await.unwrap();
        let records = values.iter().map(|value| ProducerRecord::new("clicks").value(value));
        producer.send_many("clicks", records).await.all().await
    });
    sent.await.unwrap().unwrap();
    assert_eq!(cluster.records("clicks").unwrap().len(), 20);
}
