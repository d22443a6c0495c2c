//! A partition's leader moves while records are written and read. Needs a cluster of three nodes.

use crate::peer::Peer;
use crate::wiretap::{Moment, Say, Wiretap};
use crate::{PATIENCE, connect, ends, topic};
use milena::broker::ApiKey;
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn a_leader_move_loses_and_doubles_nothing() {
    const COUNT: i64 = 3_000;
    let client = connect().await;
    let topic = topic(&client, "leader", 1, 3).await;
    let partition = TopicPartition::new(&*topic, 0);
    let mut consumer =
        client.consumer(ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest)).expect("a consumer");
    consumer.assign([partition]).await.expect("assigned");

    let moves = tokio::spawn({
        let topic = topic.clone();
        async move { (Peer::move_leader(&topic, 0).await, Peer::move_leader(&topic, 0).await) }
    });
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let (mut written, mut read) = (0, 0);
    // Goes on until the leader has moved twice, and then some.
    while written < COUNT || !moves.is_finished() || read < written {
        if written < COUNT || !moves.is_finished() {
            let value = written.to_string();
            let delivery = producer.send(ProducerRecord::new(&topic).value(&value)).await.expect("there is room");
            delivery.await.expect("a move is no reason to fail");
            written += 1;
        }
        let wait = if written < COUNT { std::time::Duration::ZERO } else { std::time::Duration::from_millis(5) };
        for record in &consumer.poll(wait).await.expect("a move is no reason to fail") {
            assert_eq!(record.value(), Some(read.to_string().as_bytes()), "in order, once, at {}", record.offset());
            read += 1;
        }
    }
    let (first, second) = moves.await.expect("the leader moves");
    assert_ne!(first, second);
    producer.close(PATIENCE).await.expect("the producer closes");
    consumer.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}

/// KIP-951, Kafka 3.7: the answer to Produce says who leads now. No Metadata request gets through from before the leader
/// moves, so that the client can have it from nowhere else.
#[tokio::test]
#[ignore = "needs a Kafka of three nodes: KAFKA_BOOTSTRAP=host:port"]
async fn a_leader_that_an_answer_names_is_followed_without_metadata() {
    let is_deaf = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let wiretap = Wiretap::new({
        let (is_deaf, asked) = (is_deaf.clone(), asked.clone());
        move |at, api| {
            if api != ApiKey::Metadata || !is_deaf.load(Ordering::SeqCst) {
                return Say::GoOn;
            }
            asked.fetch_add(u32::from(at == Moment::Sending), Ordering::SeqCst);
            Say::Cut
        }
    });
    let (admin, client) = (connect().await, wiretap.client().await);
    let topic = topic(&admin, "hint", 1, 3).await;
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let written = async |from: u64, until: &dyn Fn(u64) -> bool| {
        let mut n = from;
        while !until(n) {
            let value = n.to_string();
            let delivery = producer.send(ProducerRecord::new(&topic).value(&value)).await.expect("there is room");
            assert_eq!(delivery.await.expect("a move is no reason to fail").offset(), Some(n as i64));
            n += 1;
        }
        n
    };
    let first = written(0, &|n| n == 10).await;
    is_deaf.store(true, Ordering::SeqCst);
    let moves = tokio::spawn({
        let topic = topic.clone();
        async move { (Peer::move_leader(&topic, 0).await, Peer::move_leader(&topic, 0).await) }
    });
    let last = written(first, &|_| moves.is_finished()).await;
    let last = written(last, &|n| n == last + 10).await;
    let (one, two) = moves.await.expect("the leader moves");
    assert_ne!(one, two);
    assert!(asked.load(Ordering::SeqCst) > 0, "a leader that has moved is a reason to ask");
    producer.close(PATIENCE).await.expect("the producer closes");
    client.close().await;

    for peer in Peer::ALL {
        let read = peer.consume(&topic, last as usize).await;
        let in_order = read.iter().enumerate().all(|(n, record)| record.value == Some(n.to_string().into_bytes()));
        assert!(in_order, "{peer:?} reads each once and in order");
    }
    assert_eq!(ends(&admin, &topic, 1).await, [last as i64]);
    admin.close().await;
}
