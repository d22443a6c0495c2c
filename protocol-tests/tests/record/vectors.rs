//! What the Java client, librdkafka and kafka-python wrote, as Apache Kafka stored it: see the head of each vector.

use crate::decoded;
use bytes::Bytes;
use milena::record::{
    DEFAULT_DECOMPRESSED_LIMIT,
    batch::{RawBatch, batches},
    compression::{Compression, Decompressor},
    decode::{SharedBatch, open},
};
use protocol_tests::samples::{self, Sample};
use std::{collections::BTreeSet, fs, path::PathBuf};

const CLIENTS: [&str; 3] = ["java", "librdkafka", "kafka-python"];
const SPECIAL: [&str; 3] = ["record-java-append-time", "record-java-compacted", "record-java-transactions"];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

pub(crate) fn vector(name: &str) -> Bytes {
    let text = fs::read_to_string(directory().join(format!("{name}.hex"))).expect(name);
    let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// Client, codec, name of the vector, and the records that it must hold.
pub(crate) fn plain_vectors() -> Vec<(&'static str, Compression, String, Vec<Sample>)> {
    let mut all = Vec::new();
    for client in CLIENTS {
        for codec in Compression::ALL {
            let mut odd = samples::odd();
            if client == "kafka-python" {
                odd[4].headers.retain(|(_, value)| value.is_some()); // it takes no null header
            }
            all.push((client, codec, format!("record-{client}-odd-{codec}"), odd));
            if codec != Compression::None {
                all.push((client, codec, format!("record-{client}-many-{codec}"), samples::many()));
            }
        }
    }
    all
}

fn raw_batches(bytes: &Bytes) -> Vec<RawBatch> {
    batches(bytes).map(|batch| batch.expect("a good batch")).collect()
}

#[test]
fn every_client_is_there_in_every_codec() {
    let expected: BTreeSet<_> =
        plain_vectors().into_iter().map(|(_, _, name, _)| name).chain(SPECIAL.map(String::from)).collect();
    let found: BTreeSet<_> = fs::read_dir(directory())
        .expect("protocol-tests/vectors")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".hex").map(String::from))
        .filter(|name| name.starts_with("record-"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_vector_holds_the_records_that_its_client_sent() {
    for (client, codec, name, expected) in plain_vectors() {
        let bytes = vector(&name);
        for batch in raw_batches(&bytes) {
            assert_eq!(batch.header().attributes.compression().expect("known"), codec, "{name}");
            assert!(!batch.header().attributes.is_log_append_time());
            assert_eq!(batch.header().producer_id >= 0, client == "java", "{name}: idempotent is Java's default");
        }
        let found = decoded(&bytes);
        assert!(found.iter().map(|(offset, _)| *offset).eq(0..expected.len() as i64), "{name}: offsets");
        for (found, expected) in found.iter().map(|(_, sample)| sample).zip(&expected) {
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn records_shared_out_of_a_batch_are_the_same_bytes_and_no_copies() {
    let mut scratch = Decompressor::default();
    for (_, codec, name, expected) in plain_vectors().into_iter().filter(|(_, _, name, _)| name.contains("odd")) {
        let bytes = vector(&name);
        let batch = RawBatch::parse(&bytes).expect("a good batch");
        let shared = SharedBatch::open(&batch, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).expect("opens");
        for (record, expected) in shared.records().zip(expected) {
            let value = record.expect("a good record").value;
            let owned = value.map(|value| shared.share(value));
            assert_eq!(owned.as_deref(), expected.value.as_deref());
            if let (Some(value), Some(owned)) = (value, &owned) {
                assert!(value.is_empty() || value.as_ptr() == owned.as_ptr(), "{name}: not a copy");
                let in_fetched = bytes.as_ptr_range().contains(&value.as_ptr());
                assert!(value.is_empty() || in_fetched == (codec == Compression::None));
            }
        }
    }
}

#[test]
fn with_log_append_time_every_record_has_the_time_of_its_batch() {
    let bytes = vector("record-java-append-time");
    let [batch] = &raw_batches(&bytes)[..] else { panic!("one batch") };
    assert!(batch.header().attributes.is_log_append_time());
    let time = batch.header().max_timestamp;
    assert!(time > samples::T + 60_000, "later than what the client said");
    let mut expected = samples::odd();
    expected.iter_mut().for_each(|sample| sample.timestamp = time);
    assert_eq!(decoded(&bytes).into_iter().map(|(_, sample)| sample).collect::<Vec<_>>(), expected);
}

#[test]
fn transactions_end_with_markers_that_say_how_and_whose() {
    let bytes = vector("record-java-transactions");
    let mut scratch = Decompressor::default();
    let (mut story, mut producers) = (Vec::new(), BTreeSet::new());
    for batch in raw_batches(&bytes) {
        let records = open(batch.bytes(), &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).expect("opens");
        let attributes = batch.header().attributes;
        if attributes.is_transactional() {
            producers.insert(batch.header().producer_id);
        }
        story.push(match records.control().expect("a good marker") {
            Some(control) => format!("{control:?}"),
            None => {
                let key = records.clone().next().expect("one").expect("good").key.expect("has a key");
                let kind = if attributes.is_transactional() { "transactional" } else { "not" };
                format!("{} {kind} x{}", String::from_utf8_lossy(key), records.count())
            }
        });
    }
    assert_eq!(
        story,
        [
            "committed-1 transactional x2",
            "plain not x1",
            "Commit",
            "aborted transactional x2",
            "plain not x1",
            "Abort",
            "committed-2 transactional x2",
            "plain not x1",
            "Commit",
        ]
    );
    assert_eq!(producers.len(), 1, "data and markers of one producer");
    assert_eq!(raw_batches(&bytes).last().expect("some").header().next_offset(), 12, "the log end offset");
}

#[test]
fn compaction_keeps_the_last_offset_of_a_batch_and_may_leave_an_empty_one() {
    let bytes = vector("record-java-compacted");
    let batches = raw_batches(&bytes);
    let spans: Vec<_> = batches
        .iter()
        .map(|batch| (batch.header().base_offset, batch.header().last_offset(), batch.header().record_count))
        .collect();
    assert_eq!(spans, [(0, 2, 1), (3, 3, 0), (5, 5, 1), (6, 6, 1)]);
    let found = decoded(&bytes);
    let keys: Vec<_> = found.iter().map(|(offset, sample)| (*offset, sample.key.clone().expect("a key"))).collect();
    assert_eq!(keys, [(0, b"stays".to_vec()), (5, b"goes".to_vec()), (6, b"open".to_vec())]);
}

#[test]
fn records_before_the_fetch_position_are_left_out() {
    let bytes = vector("record-java-many-lz4");
    let mut scratch = Decompressor::default();
    let records = open(&bytes, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).expect("opens").starting_at(1990);
    assert_eq!(
        records.map(|record| record.expect("good").offset).collect::<Vec<_>>(),
        (1990..2000).collect::<Vec<_>>()
    );
}

#[test]
fn a_batch_cut_off_at_any_byte_is_not_there_and_not_an_error() {
    for codec in Compression::ALL {
        let whole = vector(&format!("record-java-odd-{codec}"));
        for cut in 0..whole.len() {
            assert_eq!(batches(&whole.slice(..cut)).count(), 0, "{codec} cut at {cut}");
        }
    }
}
