//! kacrab: each record is sent, and the acknowledgement of each awaited, a window behind. Consuming polls, with values that
//! are slices of the answer.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, PARTITIONS};
use crate::seen::Seen;
use kacrab::common::TopicPartition;
use kacrab::consumer::Consumer;
use kacrab::producer::{Producer, ProducerError, ProducerRecord, SendFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub async fn produce(job: Job) {
    let values = job.values();
    let mut config = Producer::builder()
        .set("bootstrap.servers", &*job.bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", LINGER_MS.to_string())
        .set("buffer.memory", BUFFER_MEMORY.to_string())
        .set("compression.type", &*job.codec);
    if let Some(bytes) = job.batch_size {
        config = config.set("batch.size", bytes.to_string());
        config = config.set("max.request.size", (bytes * 5).max(1 << 20).to_string());
    }
    let producer = config.build().await.expect("a producer");
    let topic: Arc<str> = job.topic.as_str().into();
    let (mut acknowledged, mut window) = (0, VecDeque::<SendFuture>::new());
    let most = job.window(&values);
    for (_, value) in (0..job.records).zip(values.iter().cycle()) {
        let delivery = loop {
            let full = window.len() == most;
            let sent = (!full).then(|| producer.send(ProducerRecord::topic_value(topic.clone(), value.clone())));
            match sent {
                Some(Ok(delivery)) => break delivery,
                // There is no room: `send` does not wait for it.
                Some(Err(ProducerError::Backpressure { .. })) | None => {
                    window.pop_front().expect("it is not empty").await.expect("acknowledged");
                    acknowledged += 1;
                }
                Some(Err(error)) => panic!("{error}"),
            }
        };
        window.push_back(delivery);
    }
    for delivery in window {
        delivery.await.expect("acknowledged");
        acknowledged += 1;
    }
    assert_eq!(acknowledged, job.records);
    producer.close().await.expect("closed");
}

pub async fn consume(job: Job) {
    let pairs = [
        ("bootstrap.servers", job.bootstrap.as_str()),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let mut consumer = Consumer::from_map(pairs).await.expect("a consumer");
    let partitions = (0..PARTITIONS).map(|partition| TopicPartition::new(job.topic.as_str(), partition));
    consumer.assign(partitions).expect("assigned");
    let mut seen = Seen::default();
    while seen.records < job.records {
        let records = consumer.poll(Duration::from_secs(30)).await.expect("records");
        assert!(!records.is_empty(), "only {} of {} records", seen.records, job.records);
        for record in &records {
            seen.add(record.value.as_deref());
        }
    }
    seen.done(&job);
    consumer.close().await;
}
