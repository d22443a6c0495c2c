//! The record-batch codec, judged by others: batches that real clients wrote and a real Kafka stored, the schema crate's own
//! codec in both directions, and bytes that nobody should write.

mod differential;
mod hostile;
mod round_trip;
mod vectors;

use bytes::Bytes;
use milena::{
    error::Result,
    record::{DEFAULT_DECOMPRESSED_LIMIT, batch::batches, compression::Decompressor, decode::open},
};
use protocol_tests::samples::Sample;

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
