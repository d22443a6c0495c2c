//! Whatever is appended comes back, in every codec and at every level, also over several batches.

use crate::decoded;
use bytes::Bytes;
use milena::{
    ids::ProducerIdAndEpoch,
    record::{
        batch::RawBatch,
        compression::{Compression, Compressor},
        encode::RecordEncoder,
    },
};
use proptest::{collection, option, prelude::*, sample::select};
use protocol_tests::samples::Sample;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => collection::vec(any::<u8>(), 0..40),
        4 => collection::vec(0..4u8, 0..3000),
        1 => (any::<u8>(), 60_000..300_000usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    let headers = collection::vec((collection::vec(any::<u8>(), 0..9), option::of(bytes())), 0..4);
    (any::<i64>(), option::of(bytes()), option::of(bytes()), headers)
        .prop_map(|(timestamp, key, value, headers)| Sample { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = (Compression, Option<i32>)> {
    prop_oneof![
        Just((Compression::None, None)),
        Just((Compression::Snappy, None)),
        option::of(1..=17i32).prop_map(|level| (Compression::Lz4, level)),
        option::of(1..=9i32).prop_map(|level| (Compression::Gzip, level)),
        option::of(-7..=12i32).prop_map(|level| (Compression::Zstd, level)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_appended_comes_back(
        samples in collection::vec(sample(), 1..20),
        (codec, level) in codec(),
        batch_size in select(&[100, 1000, 16_384, 1_000_000][..]),
        base_offset in 0..i64::MAX / 2,
    ) {
        let mut compressor = Compressor::default();
        let (mut bytes, mut offset) = (Vec::new(), base_offset);
        let mut finish = |encoder: RecordEncoder| {
            let (size, count) = (encoder.size(), encoder.record_count());
            assert!(size <= batch_size || count == 1, "{size} bytes in {count} records");
            let (body, _) = encoder.seal(codec, level, &mut compressor).expect("compresses");
            let mut batch = RawBatch::parse(&body.to_batch(ProducerIdAndEpoch::NONE, -1, false)).expect("a batch");
            batch.set_base_offset(offset);
            batch.set_partition_leader_epoch(5);
            offset = batch.header().next_offset();
            bytes.extend_from_slice(batch.bytes());
        };
        let mut encoder = RecordEncoder::new(Vec::new(), batch_size);
        for sample in &samples {
            if sample.append_to(&mut encoder).is_none() {
                finish(std::mem::replace(&mut encoder, RecordEncoder::new(Vec::new(), batch_size)));
                prop_assert!(sample.append_to(&mut encoder).is_some(), "the first one always fits");
            }
        }
        finish(encoder);
        let found = decoded(&Bytes::from(bytes));
        prop_assert!(found.iter().map(|(offset, _)| *offset - base_offset).eq(0..samples.len() as i64));
        prop_assert!(found.into_iter().map(|(_, sample)| sample).eq(samples), "{codec} at level {level:?}");
    }
}
