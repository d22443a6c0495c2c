//! Bytes as the records of a fetch. Length and checksum of the first batch are put right, else the fuzzer would get no
//! further than that.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena::record::{
    batch::{HEADER_LEN, batches},
    compression::Decompressor,
    decode::{SharedBatch, open},
};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    if bytes.len() >= HEADER_LEN {
        let length = bytes.len() as u32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let mut scratch = Decompressor::default();
    for batch in batches(&Bytes::from(bytes)) {
        let Ok(batch) = batch else { return };
        assert!(batch.header().next_offset() > batch.header().base_offset);
        let Ok(records) = open(batch.bytes(), &mut scratch, LIMIT) else { return };
        let _ = records.control();
        let mut views = Vec::new();
        for record in records {
            let Ok(record) = record else { return };
            assert_eq!(record.headers.count(), record.headers.len());
            views.push((record.offset, record.value.map(<[u8]>::to_vec)));
        }
        let shared = SharedBatch::open(&batch, &mut scratch, LIMIT).expect("opened before");
        let again = shared.records().map(|record| record.expect("read before"));
        assert!(again.map(|record| (record.offset, record.value.map(<[u8]>::to_vec))).eq(views));
    }
});
