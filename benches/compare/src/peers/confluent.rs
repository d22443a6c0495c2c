//! confluent-kafka, the Java client translated: each record is sent as a slice, and the acknowledgement of each awaited, a
//! window behind. Consuming polls, with values that are slices of the answer; only KIP-848 groups are implemented, so a
//! consumer must ask for those even if it is in none.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, PARTITIONS};
use crate::seen::Seen;
use bytes::Bytes;
use confluent_kafka::common::serialization::{ByteArraySerializer, BytesDeserializer};
use confluent_kafka::common::{KafkaFuture, TopicPartition};
use confluent_kafka::consumer::{Consumer, ConsumerConfig, KafkaConsumer};
use confluent_kafka::producer::{KafkaProducer, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

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

pub async fn consume(job: Job) {
    let pairs = [
        ("bootstrap.servers", job.bootstrap.as_str()),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let properties: HashMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = ConsumerConfig::new(&properties).expect("a configuration");
    let deserializer = BytesDeserializer::default;
    let mut consumer: KafkaConsumer<Bytes, Bytes> =
        KafkaConsumer::new(config, deserializer(), deserializer()).expect("a consumer");
    let partitions = (0..PARTITIONS).map(|partition| TopicPartition::new(job.topic.as_str(), partition)).collect();
    consumer.assign(partitions).await.expect("assigned");
    let mut seen = Seen::default();
    while seen.records < job.records {
        let records = consumer.poll(Duration::from_secs(30)).await.expect("records");
        assert!(!records.is_empty(), "only {} of {} records", seen.records, job.records);
        for record in &records {
            seen.add(record.value().map(|value| &value[..]));
        }
    }
    seen.done(&job);
    consumer.close().await.expect("closed");
}
