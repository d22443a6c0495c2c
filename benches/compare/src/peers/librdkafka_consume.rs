//! librdkafka consuming, over its C interface: rdkafka's `poll` makes an event of each message first. At its best it fills
//! an array of messages from one queue; most applications take one message a call.

use crate::job::{Job, PARTITIONS};
use crate::seen::Seen;
use rdkafka::bindings as c;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Messages of one array.
const BATCH: usize = 10_000;
/// Without a message for so long, there are not as many as asked for.
const PATIENCE_MS: i32 = 30_000;

pub fn batches(job: &Job) {
    let (consumer, mut seen) = (assigned(job), Seen::default());
    let mut messages = vec![std::ptr::null_mut(); BATCH];
    // SAFETY: the queue belongs to a client that outlives the loop; librdkafka fills as many pointers as it says, each to
    // a message that is ours until it is destroyed, which `take` does.
    unsafe {
        let queue = c::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        while seen.records < job.records {
            let got = c::rd_kafka_consume_batch_queue(queue, PATIENCE_MS, messages.as_mut_ptr(), messages.len());
            assert!(got > 0, "only {} of {} records", seen.records, job.records);
            for message in &messages[..got as usize] {
                take(*message, &mut seen);
            }
        }
        c::rd_kafka_queue_destroy(queue);
    }
    seen.done(job);
}

pub fn single(job: &Job) {
    let (consumer, mut seen) = (assigned(job), Seen::default());
    while seen.records < job.records {
        // SAFETY: the client lives; a message is ours until it is destroyed, which `take` does.
        unsafe {
            let message = c::rd_kafka_consumer_poll(consumer.client().native_ptr(), PATIENCE_MS);
            assert!(!message.is_null(), "only {} of {} records", seen.records, job.records);
            take(message, &mut seen);
        }
    }
    seen.done(job);
}

fn assigned(job: &Job) -> BaseConsumer {
    let mut config: ClientConfig = job.connection().into_iter().collect();
    config.set("group.id", "unused").set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(&job.topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&partitions).expect("assigned");
    consumer
}

/// Counts a message and gives it back.
///
/// # Safety
/// It is one of librdkafka's, and not used afterwards.
unsafe fn take(message: *mut c::rd_kafka_message_t, seen: &mut Seen) {
    // SAFETY: as above; its value is as long as it says.
    unsafe {
        let view = &*message;
        assert!(view.err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "consuming: {:?}", view.err);
        let there = !view.payload.is_null();
        seen.add(there.then(|| std::slice::from_raw_parts(view.payload.cast::<u8>(), view.len)));
        c::rd_kafka_message_destroy(message);
    }
}
