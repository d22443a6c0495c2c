//! librdkafka at its best: its own thread polls, messages are copied once into its queue, delivery is reported by callback
//! and counted.

use crate::job::{BUFFER_MEMORY, Job, LINGER_MS};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::ffi::{CStr, c_char, c_int};
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
    let mut config: ClientConfig = job.connection().into_iter().collect();
    config
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

/// The cryptography that it is linked with.
pub fn openssl() -> String {
    unsafe extern "C" {
        fn OpenSSL_version(what: c_int) -> *const c_char;
    }
    // SAFETY: it takes any number and gives text that lives as long as the program.
    unsafe { CStr::from_ptr(OpenSSL_version(0)) }.to_string_lossy().into_owned()
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
