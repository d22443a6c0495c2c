//! krafka: each record is enqueued, and the acknowledgement of each awaited, a window behind. Consuming polls, with values
//! that are slices of the answer.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, PARTITIONS};
use crate::seen::Seen;
use krafka::consumer::AutoOffsetReset;
use krafka::producer::{Acks, DeliveryHandle};
use krafka::{Compression, Kafka, Record};
use std::collections::VecDeque;
use std::time::Duration;

pub async fn produce(job: Job) {
    let values = job.values();
    let kafka = Kafka::builder(&*job.bootstrap).connect().await.expect("connected");
    let mut config = kafka.producer().acks(Acks::All).idempotent(true).buffer_memory(BUFFER_MEMORY);
    config = config.linger(Duration::from_millis(LINGER_MS));
    config = config.compression(if job.codec == "lz4" { Compression::Lz4 } else { Compression::None });
    if let Some(bytes) = job.batch_size {
        config = config.batch_size(bytes);
    }
    let producer = config.build().await.expect("a producer");
    let (mut acknowledged, mut window) = (0, VecDeque::<DeliveryHandle>::new());
    let most = job.window(&values);
    for (_, value) in (0..job.records).zip(values.iter().cycle()) {
        if window.len() == most {
            drop(window.pop_front().expect("it is full").await.expect("acknowledged"));
            acknowledged += 1;
        }
        window.push_back(producer.enqueue(Record::new(&*job.topic, value.clone())).await.expect("enqueued"));
    }
    for delivery in window {
        drop(delivery.await.expect("acknowledged"));
        acknowledged += 1;
    }
    assert_eq!(acknowledged, job.records);
    producer.close().await.expect("closed");
}

pub async fn consume(job: Job) {
    let kafka = Kafka::builder(&*job.bootstrap).connect().await.expect("connected");
    let config = kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest);
    let consumer = config.build().await.expect("a consumer");
    consumer.assign(&job.topic, (0..PARTITIONS).collect()).await.expect("assigned");
    let mut seen = Seen::default();
    while seen.records < job.records {
        let records = consumer.poll(Duration::from_secs(30)).await.expect("records");
        assert!(!records.is_empty(), "only {} of {} records", seen.records, job.records);
        for record in &records {
            seen.add(record.value.as_deref());
        }
    }
    seen.done(&job);
    consumer.close().await.expect("closed");
}
