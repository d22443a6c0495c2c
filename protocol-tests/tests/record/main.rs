//! The record-batch codec, judged by others: batches that real clients wrote and a real Kafka stored, the schema crate's own
//! codec in both directions, and bytes that nobody should write.

mod differential;
mod hostile;
mod round_trip;
mod samples;
mod vectors;

use bytes::Bytes;
use milena::{
    error::Result,
    record::{
        DEFAULT_DECOMPRESSED_LIMIT, Header,
        batch::batches,
        compression::Decompressor,
        decode::{RecordView, open},
        encode::RecordEncoder,
    },
};

/// A record with everything in it owned, to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<RecordView<'_>> for Sample {
    fn from(record: RecordView<'_>) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|h| (h.name.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

impl Sample {
    fn append_to(&self, encoder: &mut RecordEncoder) -> Option<u32> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        encoder.append(self.timestamp, self.key.as_deref(), self.value.as_deref(), &headers)
    }
}

/// Offsets and records of all whole batches, control batches left out.
fn decode(bytes: &Bytes, limit: usize) -> Result<Vec<(i64, Sample)>> {
    let (mut scratch, mut out) = (Decompressor::default(), Vec::new());
    for batch in batches(bytes) {
        let batch = batch?;
        let records = open(batch.bytes(), &mut scratch, limit)?;
        if records.control()?.is_some() {
            continue;
        }
        for record in records {
            let record = record?;
            out.push((record.offset, record.into()));
        }
    }
    Ok(out)
}

/// As [`decode`], where all is well.
fn decoded(bytes: &Bytes) -> Vec<(i64, Sample)> {
    decode(bytes, DEFAULT_DECOMPRESSED_LIMIT).expect("a good batch")
}
