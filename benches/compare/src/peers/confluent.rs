//! confluent-kafka, the Java client translated: each record is sent as a slice, and the acknowledgement of each awaited, a
//! window behind.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS};
use confluent_kafka::common::KafkaFuture;
use confluent_kafka::common::serialization::ByteArraySerializer;
use confluent_kafka::producer::{KafkaProducer, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
use std::collections::{HashMap, VecDeque};

pub async fn produce(job: Job) {
    let values = job.values();
    let mut properties: HashMap<String, String> = HashMap::new();
    let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
    set("bootstrap.servers", job.bootstrap.clone());
    set("acks", "all".to_owned());
    set("enable.idempotence", "true".to_owned());
    set("linger.ms", LINGER_MS.to_string());
    set("buffer.memory", BUFFER_MEMORY.to_string());
    set("compression.type", job.codec.clone());
    if let Some(bytes) = job.batch_size {
        set("batch.size", bytes.to_string());
        set("max.request.size", (bytes * 5).max(1 << 20).to_string());
    }
    let config = ProducerConfig::new(&properties).expect("a configuration");
    let serializer = ByteArraySerializer::default;
    let producer: KafkaProducer<Vec<u8>, Vec<u8>> =
        KafkaProducer::new(config, serializer(), serializer()).expect("a producer");
    let (mut acknowledged, mut window) = (0, VecDeque::new());
    let most = job.window(&values);
    for (_, value) in (0..job.records).zip(values.iter().cycle()) {
        if window.len() == most {
            oldest(&mut window).await;
            acknowledged += 1;
        }
        let record = ProducerRecord::<&[u8], &[u8]>::new(job.topic.clone(), Some(value));
        window.push_back(KafkaProducer::send(&producer, record, None).await.expect("sent"));
    }
    while !window.is_empty() {
        oldest(&mut window).await;
        acknowledged += 1;
    }
    assert_eq!(acknowledged, job.records);
    producer.close().await.expect("closed");
}

async fn oldest(window: &mut VecDeque<KafkaFuture<RecordMetadata>>) {
    let delivery = window.pop_front().expect("it is not empty");
    delivery.get().await.expect("acknowledged");
}
