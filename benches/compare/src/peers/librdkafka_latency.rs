//! librdkafka, one record at a time, over its C interface: rdkafka's `poll` stays for as long as it may, C's comes back with
//! the first event.

use super::librdkafka::config;
use crate::job::Job;
use rdkafka::bindings as c;
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn delivered(_: *mut c::rd_kafka_t, message: *const c::rd_kafka_message_t, _: *mut c_void) {
    // SAFETY: librdkafka calls this with a message that lives until it returns.
    let error = unsafe { (*message).err };
    assert!(error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "delivery failed: {error:?}");
    ACKNOWLEDGED.fetch_add(1, Ordering::Relaxed);
}

/// Prints the latencies as milena does.
pub fn latency(job: &Job) {
    let (values, topic) = (job.values(), CString::new(job.topic.as_str()).expect("a name without zeros"));
    let mut config = config(job, 0);
    config.set("socket.nagle.disable", "true");
    let config = config.create_native_config().expect("a configuration");
    let mut latencies = Vec::new();
    // SAFETY: the configuration is the client's once that is made, and is forgotten here; client and topic are destroyed at
    // the end and not used after it; a value is copied by `rd_kafka_produce` before it returns.
    unsafe {
        c::rd_kafka_conf_set_dr_msg_cb(config.ptr(), Some(delivered));
        let mut error = [0; 256];
        let client =
            c::rd_kafka_new(c::rd_kafka_type_t::RD_KAFKA_PRODUCER, config.ptr(), error.as_mut_ptr(), error.len());
        assert!(!client.is_null(), "{:?}", CStr::from_ptr(error.as_ptr()));
        std::mem::forget(config);
        let topic = c::rd_kafka_topic_new(client, topic.as_ptr(), std::ptr::null_mut());
        for (n, value) in (0..job.records).zip(values.iter().cycle()) {
            let start = Instant::now();
            let (bytes, len) = (value.as_ptr().cast_mut().cast::<c_void>(), value.len());
            let (any, copy, none) = (-1, c::RD_KAFKA_MSG_F_COPY as c_int, std::ptr::null_mut::<c_void>());
            let refused = c::rd_kafka_produce(topic, any, copy, bytes, len, none, 0, none);
            assert_eq!(refused, 0, "not taken");
            while ACKNOWLEDGED.load(Ordering::Relaxed) == n {
                c::rd_kafka_poll(client, 1000);
            }
            latencies.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        c::rd_kafka_topic_destroy(topic);
        c::rd_kafka_destroy(client);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
    println!("{}", serde_json::json!({ "latency_ms": { "p50": at(0.5), "p99": at(0.99) } }));
}
