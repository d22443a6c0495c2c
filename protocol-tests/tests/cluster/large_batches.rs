//! Batches that take long to compress, which is done beside the tasks: on real threads, under virtual time.

use super::producer::{close, cluster, log, value};
use milena::error::Certainty;
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord};
use milena::record::compression::Compression;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> ProducerConfig {
    // Requests of two batches, as they are before compression.
    ProducerConfig::default().compression(Compression::Gzip).batch_size(1 << 20).max_request_size(2 << 20)
}

async fn send(producer: &Producer, numbers: std::ops::Range<u32>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for i in numbers {
        let mut value = value(i);
        value.resize(1000, b'x');
        let record = ProducerRecord::new("clicks").value(&value).partition((i % 2) as i32);
        deliveries.push(producer.send(record).await.unwrap());
    }
    deliveries
}

#[tokio::test(start_paused = true)]
async fn what_is_compressed_beside_the_tasks_is_written_once_and_in_order() {
    let (cluster, client) = cluster(1, 2).await;
    let producer = client.producer(config()).unwrap();
    let mut deliveries = Vec::new();
    for round in 0..4 {
        deliveries.extend(send(&producer, round * 2000..(round + 1) * 2000).await);
        assert_eq!(producer.flush(SECOND).await.unwrap(), 0);
    }
    for (i, delivery) in deliveries.iter().enumerate() {
        assert!(matches!(delivery.try_outcome(), Some(Ok(()))));
        assert_eq!(delivery.try_get().unwrap().unwrap().offset(), Some(i as i64 / 2));
    }
    for partition in 0..2 {
        assert!(log(&cluster, partition).into_iter().eq((partition as u32..8000).step_by(2)));
    }
    assert_eq!(producer.free_memory(), 32 << 20);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_answered_if_the_producer_is_dropped_while_it_is_compressed() {
    let (_cluster, client) = cluster(1, 2).await;
    let producer = client.producer(config()).unwrap();
    let deliveries = send(&producer, 0..3000).await;
    drop(producer);
    for delivery in deliveries {
        if let Err(error) = delivery.await {
            assert!(error.is_closed() && error.delivery_certainty() == Some(Certainty::NotSent), "{error}");
        }
    }
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}
