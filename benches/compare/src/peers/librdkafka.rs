//! librdkafka at its best: its own thread polls, messages are copied once into its queue, delivery is reported by callback
//! and counted; consuming takes batches of messages off one queue.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, PARTITIONS};
use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `batch.size` unless told otherwise.
pub const DEFAULT_BATCH: usize = 1_000_000;

#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("delivery failed: {error}");
        }
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// As asked for, idempotent.
pub fn config(job: &Job, linger_ms: u64) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &job.bootstrap)
        .set("compression.type", &job.codec)
        .set("linger.ms", linger_ms.to_string())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.kbytes", (BUFFER_MEMORY >> 10).to_string())
        .set("queue.buffering.max.messages", "10000000");
    if let Some(bytes) = job.batch_size {
        config.set("batch.size", bytes.to_string());
    }
    config
}

pub fn produce(job: &Job) {
    let (values, count) = (job.values(), Count::default());
    let producer: BaseProducer<Count> =
        BaseProducer::from_config_and_context(&config(job, LINGER_MS), count.clone()).expect("a producer");
    for (n, value) in (0..job.records).zip(values.iter().cycle()) {
        let mut record = BaseRecord::<(), [u8]>::to(&job.topic).payload(value);
        while let Err((error, unsent)) = producer.send(record) {
            let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = error else { panic!("{error}") };
            record = unsent;
            producer.poll(Duration::from_millis(1));
        }
        if n % 1024 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all are delivered");
    assert_eq!(count.0.load(Ordering::Relaxed), job.records);
}

pub fn consume(job: &Job) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &job.bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(&job.topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&partitions).expect("assigned");
    let (mut seen, mut bytes) = (0, 0);
    let mut messages = vec![std::ptr::null_mut(); 10_000];
    // SAFETY: the queue belongs to a client that outlives the loop; librdkafka fills as many pointers as it says, each to
    // a message that is ours until it is destroyed.
    unsafe {
        let queue = c::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        while seen < job.records {
            let got = c::rd_kafka_consume_batch_queue(queue, 30_000, messages.as_mut_ptr(), messages.len());
            assert!(got > 0, "only {seen} of {} records", job.records);
            for message in &messages[..got as usize] {
                let view = &**message;
                if view.err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    seen += 1;
                    bytes += view.len;
                }
                c::rd_kafka_message_destroy(*message);
            }
        }
        c::rd_kafka_queue_destroy(queue);
    }
    println!("{seen} records, {bytes} bytes");
}
