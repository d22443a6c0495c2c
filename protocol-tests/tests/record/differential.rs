//! Against kafka-protocol's record codec, an independent one, in both directions: what it writes we read, what we write it
//! reads. It keeps one header per name, so that names here are unique.

use crate::decoded;
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{self, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use milena::{
    ids::ProducerIdAndEpoch,
    record::{
        compression::{Compression, Compressor},
        encode::RecordEncoder,
    },
};
use proptest::{collection, option, prelude::*};
use protocol_tests::samples::Sample;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![collection::vec(any::<u8>(), 0..40), collection::vec(0..4u8, 0..2000)]
}

fn sample() -> impl Strategy<Value = Sample> {
    let headers = collection::btree_map("[a-z]{0,9}", option::of(bytes()), 0..4);
    (0..4_000_000_000_000i64, option::of(bytes()), option::of(bytes()), headers).prop_map(
        |(timestamp, key, value, headers)| {
            let headers = headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            Sample { timestamp, key, value, headers }
        },
    )
}

fn codecs() -> impl Strategy<Value = (Compression, records::Compression)> {
    prop_oneof![
        Just((Compression::None, records::Compression::None)),
        Just((Compression::Gzip, records::Compression::Gzip)),
        Just((Compression::Snappy, records::Compression::Snappy)),
    ]
}

const PRODUCER: ProducerIdAndEpoch = ProducerIdAndEpoch { id: 7, epoch: 3 };
const SEQUENCE: i32 = 50;

fn to_theirs(offset: i64, sample: &Sample) -> Record {
    let name = |name: &Vec<u8>| StrBytes::from_string(String::from_utf8(name.clone()).expect("a-z"));
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: PRODUCER.id,
        producer_epoch: PRODUCER.epoch,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: SEQUENCE + offset as i32,
        timestamp: sample.timestamp,
        key: sample.key.clone().map(Bytes::from),
        value: sample.value.clone().map(Bytes::from),
        headers: sample.headers.iter().map(|(n, value)| (name(n), value.clone().map(Bytes::from))).collect(),
    }
}

fn from_theirs(record: &Record) -> Sample {
    let headers: &IndexMap<StrBytes, Option<Bytes>> = &record.headers;
    let owned = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
    Sample {
        timestamp: record.timestamp,
        key: owned(&record.key),
        value: owned(&record.value),
        headers: headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), owned(value))).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_they_write_we_read(samples in collection::vec(sample(), 1..30), (codec, theirs) in codecs()) {
        let records: Vec<_> = (0..).zip(&samples).map(|(offset, sample)| to_theirs(offset, sample)).collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: theirs };
        RecordBatchEncoder::encode(&mut out, &records, &options).expect("they can");
        let found = decoded(&out.freeze());
        prop_assert!(found.iter().map(|(offset, _)| *offset).eq(0..samples.len() as i64), "{codec}");
        prop_assert_eq!(found.into_iter().map(|(_, sample)| sample).collect::<Vec<_>>(), samples);
    }

    #[test]
    fn what_we_write_they_read(samples in collection::vec(sample(), 1..30), (codec, _) in codecs()) {
        let mut encoder = RecordEncoder::new(Vec::new(), usize::MAX);
        for sample in &samples {
            prop_assert!(sample.append_to(&mut encoder).is_some());
        }
        let (body, _) = encoder.seal(codec, None, &mut Compressor::default()).expect("we can");
        let mut batch = body.to_batch(PRODUCER, SEQUENCE, false);
        let sets = RecordBatchDecoder::decode_all(&mut batch).expect("they can");
        let records: Vec<_> = sets.iter().flat_map(|set| &set.records).collect();
        for (index, record) in records.iter().enumerate() {
            prop_assert_eq!((record.offset, record.sequence), (index as i64, SEQUENCE + index as i32));
            prop_assert_eq!((record.producer_id, record.producer_epoch), (PRODUCER.id, PRODUCER.epoch));
        }
        prop_assert_eq!(records.into_iter().map(from_theirs).collect::<Vec<_>>(), samples);
    }
}
