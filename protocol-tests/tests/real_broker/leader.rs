//! A partition's leader moves while records are written and read. Needs a cluster of three nodes.

use crate::peer::Peer;
use crate::{PATIENCE, connect, topic};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};

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
