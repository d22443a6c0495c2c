//! The producer over its public API against the test broker, on virtual time: what is promised of order, duplicates,
//! waits and ends.

use milena::broker::{ApiKey, StoredRecord, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::error::{Certainty, ErrorCode, ErrorKind};
use milena::ids::NodeId;
use milena::producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord};
use milena::record::compression::Compression;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn cluster(brokers: usize, partitions: i32) -> (TestCluster, Client) {
    let cluster =
        TestCluster::builder().brokers(brokers).topic("clicks", partitions).in_memory().start().await.unwrap();
    let client = client(&cluster);
    (cluster, client)
}

pub(super) fn client(cluster: &TestCluster) -> Client {
    Client::new(ClientConfig::new([cluster.bootstrap()]).connect(cluster.connector()).virtual_time().seed(7)).unwrap()
}

/// The values of a partition, in the order of its log.
pub(super) fn log(cluster: &TestCluster, partition: i32) -> Vec<u32> {
    let mut records: Vec<StoredRecord> = cluster.records("clicks").unwrap();
    records.retain(|record| record.partition == partition);
    records.sort_by_key(|record| record.offset);
    records.iter().map(|record| number(record.value.as_deref().unwrap())).collect()
}

fn number(value: &[u8]) -> u32 {
    u32::from_be_bytes(value[..4].try_into().unwrap())
}

/// A value of 100 bytes that begins with a number.
pub(super) fn value(i: u32) -> Vec<u8> {
    let mut value = vec![b'x'; 100];
    value[..4].copy_from_slice(&i.to_be_bytes());
    value
}

/// `n` records, spread over the partitions by their number, and what became of them.
pub(super) async fn send(producer: &Producer, n: u32, partitions: u32) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for i in 0..n {
        let value = value(i);
        let record = ProducerRecord::new("clicks").value(&value).partition((i % partitions) as i32);
        deliveries.push(producer.send(record).await.unwrap());
    }
    deliveries
}

/// Each acknowledged record once, in order, at the offset that its delivery says.
async fn check(cluster: &TestCluster, deliveries: Vec<Delivery>, partitions: u32) {
    let mut at = HashMap::new();
    for record in cluster.records("clicks").unwrap() {
        at.insert((record.partition, record.offset), number(record.value.as_deref().unwrap()));
    }
    for (i, delivery) in (0..).zip(deliveries) {
        let written = delivery.await.unwrap();
        if let Some(offset) = written.offset() {
            assert_eq!(at[&(written.partition(), offset)], i);
        }
    }
    for partition in 0..partitions {
        let log = log(cluster, partition as i32);
        assert!(log.is_sorted_by(|a, b| a < b), "partition {partition} is out of order, or doubled: {log:?}");
    }
}

pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(super) async fn close(client: Client, producer: Producer) {
    producer.close(SECOND).await.unwrap();
    drop(producer);
    client.close().await;
    assert_eq!(client.live_tasks(), 0, "a task is left");
}

#[tokio::test(start_paused = true)]
async fn every_codec_carries_key_value_headers_and_timestamp() {
    let (cluster, client) = cluster(1, 1).await;
    for codec in Compression::ALL {
        let producer = client.producer(ProducerConfig::default().compression(codec)).unwrap();
        let record = ProducerRecord::new("clicks").key("k").value(codec.name()).timestamp(1_700_000_000_123);
        let record = record.header("a", "1").null_header("b").header("a", "");
        let written = producer.send(record).await.unwrap().await.unwrap();
        assert_eq!(written.timestamp(), 1_700_000_000_123);
        let tombstone = producer.send(ProducerRecord::new("clicks").key("")).await.unwrap().await.unwrap();
        let records = cluster.records("clicks").unwrap();
        let stored = records.iter().find(|record| Some(record.offset) == written.offset()).unwrap();
        assert_eq!(stored.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(stored.value.as_deref(), Some(codec.name().as_bytes()));
        assert_eq!(stored.timestamp, 1_700_000_000_123);
        let headers: Vec<_> = stored.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(headers, [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&b""[..]))]);
        let stored = records.iter().find(|record| Some(record.offset) == tombstone.offset()).unwrap();
        assert_eq!((stored.key.as_deref(), stored.value.as_deref()), (Some(&b""[..]), None));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_record_of_a_topic_asks_for_metadata_at_once_and_lingers_no_longer_than_linger() {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_millis(5))).unwrap();
    let start = Instant::now();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(7), "{:?}", start.elapsed());
    let start = Instant::now();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    assert!((Duration::from_millis(5)..Duration::from_millis(7)).contains(&start.elapsed()), "{:?}", start.elapsed());
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn flush_does_not_wait_out_the_linger() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_secs(600))).unwrap();
    let deliveries = send(&producer, 100, 4).await;
    let start = Instant::now();
    assert_eq!(producer.flush(SECOND).await.unwrap(), 0);
    assert!(start.elapsed() < Duration::from_millis(100));
    check(&cluster, deliveries, 4).await;
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn flush_says_how_many_are_left() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let deliveries = send(&producer, 300, 1).await;
    assert_eq!(producer.flush(SECOND).await.unwrap(), 300);
    cluster.clear_faults();
    assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0, "the request times out and is sent again");
    check(&cluster, deliveries, 1).await;
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn order_holds_and_nothing_doubles_when_leaders_move_and_brokers_refuse() {
    let (cluster, client) = cluster(3, 4).await;
    let producer = client.producer(ProducerConfig::default().batch_size(1000)).unwrap();
    let mut deliveries = send(&producer, 50, 4).await;
    let codes = [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::RequestTimedOut,
        ErrorCode::KafkaStorageError,
        ErrorCode::LeaderNotAvailable,
    ];
    for (i, code) in (1..).zip(codes) {
        cluster.fault(ApiKey::Produce).times(2).error(code);
        cluster.move_leader("clicks", i % 4, NodeId(1 + i % 3));
        for n in 0..200 {
            let value = value(i as u32 * 1000 + n);
            let record = ProducerRecord::new("clicks").value(&value).partition((n % 4) as i32);
            deliveries.push(producer.send(record).await.unwrap());
        }
        tokio::time::advance(Duration::from_millis(3)).await;
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let logs: Vec<Vec<u32>> = (0..4).map(|partition| log(&cluster, partition)).collect();
    assert_eq!(logs.iter().map(Vec::len).sum::<usize>(), 50 + 5 * 200);
    for log in logs {
        assert!(log.is_sorted_by(|a, b| a < b), "{log:?}");
    }
    close(client, producer).await;
}

/// The answer is lost after the write: a producer that isn't idempotent doubles here.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_doubles_nothing() {
    let (cluster, client) = cluster(1, 2).await;
    let producer = client.producer(ProducerConfig::default().batch_size(2000)).unwrap();
    let mut deliveries = Vec::new();
    for i in 0..400u32 {
        if i % 100 == 50 {
            cluster.fault(ApiKey::Produce).once().apply_then_disconnect();
        }
        if i % 100 == 80 {
            cluster.fault(ApiKey::Produce).once().disconnect();
        }
        let value = value(i);
        deliveries
            .push(producer.send(ProducerRecord::new("clicks").value(&value).partition((i % 2) as i32)).await.unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(log(&cluster, 0), (0..400).step_by(2).collect::<Vec<_>>());
    assert_eq!(log(&cluster, 1), (1..400).step_by(2).collect::<Vec<_>>());
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_dies_and_comes_back_costs_nothing_but_time() {
    let (cluster, client) = cluster(2, 2).await;
    let producer = client.producer(ProducerConfig::default().batch_size(2000)).unwrap();
    let mut deliveries = send(&producer, 100, 2).await;
    cluster.kill(NodeId(1));
    for i in 100..300 {
        let value = value(i);
        deliveries
            .push(producer.send(ProducerRecord::new("clicks").value(&value).partition((i % 2) as i32)).await.unwrap());
    }
    tokio::time::sleep(20 * SECOND).await;
    cluster.restart(NodeId(1)).await.unwrap();
    assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0);
    check(&cluster, deliveries, 2).await;
    assert_eq!(log(&cluster, 0).len() + log(&cluster, 1).len(), 300);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_fails_at_its_delivery_timeout_and_says_whether_it_may_be_written() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().delivery_timeout(40 * SECOND)).unwrap();
    producer.send(ProducerRecord::new("clicks").value(&value(0))).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let start = Instant::now();
    let deliveries = send(&producer, 10, 1).await;
    for delivery in deliveries {
        let error = delivery.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent));
    }
    assert_eq!(start.elapsed().as_secs(), 40);
    cluster.clear_faults();
    let written = producer.send(ProducerRecord::new("clicks").value(&value(9))).await.unwrap().await.unwrap();
    assert_eq!(written.offset(), Some(1), "the producer goes on, in a new epoch");
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_memory_up_to_max_block_and_try_send_does_not_wait() {
    let (cluster, client) = cluster(1, 1).await;
    let config = ProducerConfig::default().buffer_memory(40_000).max_block(3 * SECOND);
    let producer = client.producer(config).unwrap();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let large = vec![0; 15_000];
    let mut deliveries = Vec::new();
    let full = loop {
        match producer.try_send(ProducerRecord::new("clicks").value(&large)) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!((full.kind(), full.delivery_certainty()), (ErrorKind::BufferFull, Some(Certainty::NotSent)));
    assert_eq!(deliveries.len(), 2);
    let start = Instant::now();
    let error = producer.send(ProducerRecord::new("clicks").value(&large)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::BufferFull, 3));
    cluster.clear_faults();
    assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0);
    assert_eq!(producer.free_memory(), 40_000);
    close(client, producer).await;
}

/// More memory is asked for than there is, from many partitions at once: everyone gets on.
#[tokio::test(start_paused = true)]
async fn many_partitions_with_little_memory_do_not_deadlock() {
    let (cluster, client) = cluster(1, 50).await;
    let config = ProducerConfig::default().buffer_memory(3 * 16_384).linger(Duration::from_secs(3600));
    let producer = client.producer(config.delivery_timeout(Duration::from_secs(7200))).unwrap();
    let deliveries = tokio::time::timeout(60 * SECOND, send(&producer, 500, 50)).await.expect("a deadlock");
    producer.flush(SECOND).await.unwrap();
    check(&cluster, deliveries, 50).await;
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_has_appended_nothing() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().buffer_memory(16_384)).unwrap();
    {
        // Waiting for metadata.
        let mut send = Box::pin(producer.send(ProducerRecord::new("clicks").value("dropped")));
        assert!(poll_once(send.as_mut()).is_pending());
    }
    cluster.fault(ApiKey::Produce).delay(SECOND);
    let large = vec![0; 16_000];
    let first = producer.send(ProducerRecord::new("clicks").value(&large)).await.unwrap();
    {
        // Waiting for memory.
        let mut send = Box::pin(producer.send(ProducerRecord::new("clicks").value(&large)));
        assert!(poll_once(send.as_mut()).is_pending());
    }
    cluster.clear_faults();
    first.await.unwrap();
    assert_eq!(producer.flush(60 * SECOND).await.unwrap(), 0);
    assert_eq!(cluster.records("clicks").unwrap().len(), 1);
    assert_eq!(producer.free_memory(), 16_384);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn without_acks_nothing_is_waited_for_and_the_connection_serves_on() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().acks(Acks::None)).unwrap();
    for delivery in send(&producer, 1000, 1).await {
        assert_eq!(delivery.await.unwrap().offset(), None);
    }
    let acked = client.producer(ProducerConfig::default().acks(Acks::Leader)).unwrap();
    let written = acked.send(ProducerRecord::new("clicks").value(&value(1000))).await.unwrap().await.unwrap();
    assert_eq!(written.offset(), Some(1000), "behind the others on the same connection");
    assert_eq!(log(&cluster, 0).len(), 1001);
    drop(acked);
    close(client, producer).await;
}

/// A write that the leader did not take had no deadline: nothing went to the next leader as long as the socket hung.
#[tokio::test(start_paused = true)]
async fn without_acks_a_leader_that_takes_no_more_bytes_is_given_up_for_the_next_one() {
    let (cluster, client) = cluster(2, 1).await;
    let producer = client.producer(ProducerConfig::default().acks(Acks::None)).unwrap();
    for delivery in send(&producer, 1, 1).await {
        delivery.await.unwrap();
    }
    cluster.pause(cluster.leader("clicks", 0).unwrap());
    let stuck = send(&producer, 10_000, 1).await; // 1 MB, of which the socket takes a quarter
    tokio::time::sleep(60 * SECOND).await;
    let last = value(77_777);
    let last = producer.send(ProducerRecord::new("clicks").value(&last)).await.unwrap();
    tokio::time::timeout(10 * SECOND, last).await.expect("it does not wait for the old one").unwrap();
    for delivery in stuck {
        delivery.await.unwrap();
    }
    assert_eq!(log(&cluster, 0).last(), Some(&77_777));
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_called_exactly_once() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let calls = Arc::new(Mutex::new(Vec::<(u32, Option<i64>)>::new()));
    for i in 0..200 {
        if i == 100 {
            cluster.fault(ApiKey::Produce).times(3).error(ErrorCode::NotEnoughReplicas);
        }
        let calls = calls.clone();
        let value = value(i);
        let callback = move |result: milena::error::Result<milena::producer::RecordMetadata>| {
            calls.lock().unwrap().push((i, result.unwrap().offset()));
        };
        producer.send_with(ProducerRecord::new("clicks").value(&value), callback).await.unwrap();
    }
    producer.flush(60 * SECOND).await.unwrap();
    let expected: Vec<_> = (0..200).map(|i| (i, Some(i64::from(i)))).collect();
    assert_eq!(*calls.lock().unwrap(), expected);

    let closed = producer.clone();
    closed.close(SECOND).await.unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let refused = producer
        .send_with(ProducerRecord::new("clicks").value("x"), move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    assert!(refused.unwrap_err().is_closed());
    assert_eq!(called.load(Ordering::Relaxed), 0, "the error said it");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_takes_nobody_along() {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send_with(ProducerRecord::new("clicks").value("x"), |_| panic!("on purpose")).await.unwrap();
    producer.send(ProducerRecord::new("clicks").value("y")).await.unwrap().await.unwrap();
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_fails_what_is_unsent_and_leaves_no_task() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_secs(60))).unwrap();
    let mut deliveries = send(&producer, 10, 1).await;
    drop(producer.clone());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(deliveries[0].try_get().is_none(), "another handle is there");
    drop(producer);
    let error = deliveries.remove(0).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Closed, Some(Certainty::NotSent)));
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
    assert!(cluster.records("clicks").unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_producer_dropped_with_requests_under_way_waits_a_second_at_most() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let delivery = producer.send(ProducerRecord::new("clicks").value("y")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let start = Instant::now();
    drop(producer);
    let error = delivery.await.unwrap_err();
    assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Closed, Some(Certainty::PossiblySent)));
    assert!(start.elapsed() <= SECOND + Duration::from_millis(10));
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_what_was_taken_and_then_nothing_is_taken() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_secs(60))).unwrap();
    let deliveries = send(&producer, 1000, 4).await;
    producer.close(SECOND).await.unwrap();
    check(&cluster, deliveries, 4).await;
    assert!(producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap_err().is_closed());
    assert!(producer.try_send(ProducerRecord::new("clicks").value("x")).unwrap_err().is_closed());
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn close_says_what_it_could_not_wait_for() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    cluster.fault(ApiKey::Produce).silence();
    let deliveries = send(&producer, 10, 1).await;
    let error = producer.close(SECOND).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    for delivery in deliveries {
        assert!(delivery.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_waited_for_within_max_block() {
    let cluster = TestCluster::builder().auto_create_topics(false).in_memory().start().await.unwrap();
    let client = client(&cluster);
    let producer = client.producer(ProducerConfig::default().max_block(2 * SECOND)).unwrap();
    let start = Instant::now();
    let error = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap_err();
    assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent));
    assert!((2..4).contains(&start.elapsed().as_secs()), "{:?} {error}", start.elapsed());
    let waiting = producer.send(ProducerRecord::new("clicks").value("x"));
    let create = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.create_topic("clicks", 1).unwrap();
    };
    let (sent, ()) = tokio::join!(waiting, create);
    sent.unwrap().await.unwrap();
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_created_by_its_first_record_where_the_broker_does_that() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let client = client(&cluster);
    let producer = client.producer(ProducerConfig::default()).unwrap();
    producer.send(ProducerRecord::new("new").value("x")).await.unwrap().await.unwrap();
    assert_eq!(cluster.records("new").unwrap().len(), 1);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_there_is_refused_after_one_look() {
    let (_cluster, client) = cluster(1, 2).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for partition in [2, -1, i32::MAX] {
        let error = producer.send(ProducerRecord::new("clicks").value("x").partition(partition)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::InvalidArgument, Some(Certainty::NotSent)));
    }
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_broker_finds_too_large_fails_as_not_sent_and_the_next_one_is_written() {
    let cluster = TestCluster::builder().topic("clicks", 1).message_max_bytes(2000).in_memory().start().await.unwrap();
    let client = client(&cluster);
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let error = producer.send(ProducerRecord::new("clicks").value(&[0; 5000])).await.unwrap().await.unwrap_err();
    assert_eq!(
        (error.code(), error.delivery_certainty()),
        (Some(ErrorCode::MessageTooLarge), Some(Certainty::NotSent))
    );
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    let error = producer.send(ProducerRecord::new("clicks").value(&vec![0; 2 << 20])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn records_without_a_key_use_all_partitions_and_full_batches() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let topic = producer.topic("clicks");
    let mut deliveries = Vec::new();
    for i in 0..10_000 {
        deliveries.push(topic.send(topic.record().value(&value(i))).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    for partition in 0..4 {
        assert!(log(&cluster, partition).len() > 1000);
    }
    let full = 10_000 * 107 / 16_384;
    let requests = cluster.requests(ApiKey::Produce);
    assert!(requests.count <= full + 10, "{requests:?} for {full} batches");
    drop(topic);
    close(client, producer).await;
}

/// How long twenty records take, `at_once` of them awaited together.
async fn awaited(config: ProducerConfig, at_once: usize) -> Duration {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(config).unwrap();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    let start = Instant::now();
    for _ in 0..20 / at_once {
        let mut deliveries = Vec::new();
        for _ in 0..at_once {
            deliveries.push(producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_record_awaited_alone_lingers_only_if_linger_was_asked_for() {
    let millis = Duration::from_millis;
    assert!(awaited(ProducerConfig::default(), 1).await < millis(20));
    assert!(awaited(ProducerConfig::default().linger(millis(5)), 1).await >= millis(100));
    assert!(awaited(ProducerConfig::default(), 2).await >= millis(50), "two of them could be more");
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_one_topic_refuses_records_of_another() {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let topic = producer.topic("clicks");
    let error = topic.send(ProducerRecord::new("views").value("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    topic.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    drop(topic);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_ends_its_producers_and_nobody_hangs() {
    let (_cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default().linger(Duration::from_secs(60))).unwrap();
    let delivery = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap();
    client.close().await;
    assert_eq!(delivery.await.unwrap_err().delivery_certainty(), Some(Certainty::NotSent));
    assert!(producer.send(ProducerRecord::new("clicks").value("x")).await.is_err());
    assert_eq!(producer.flush(SECOND).await.unwrap(), 0);
    assert_eq!(client.live_tasks(), 0);
}
