//! Records with everything in them that a codec or a client could get wrong.

use crate::PATIENCE;
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerRecord};
use milena::error::Result;
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
use milena::record::compression::Compression;
use protocol_tests::random::Random;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Nulls and empties in key, value and headers, a header twice, times that go back, sizes from nothing to 100 kB, and
/// bytes that compress and that don't; on two partitions.
pub(crate) fn samples() -> Vec<Sample> {
    let mut random = Random::new(7);
    let mut noise = |len: usize| (0..len).map(|_| random.below(256) as u8).collect::<Vec<_>>();
    let text = "the same words again and again, ".repeat(400).into_bytes();
    let headers = |pairs: &[(&str, Option<&[u8]>)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect::<Vec<_>>()
    };
    let mut kinds = vec![
        (Some(b"key".to_vec()), Some(b"value".to_vec()), vec![]),
        (None, Some(b"no key".to_vec()), vec![]),
        (Some(vec![0, 255, 10, 13]), None, vec![]),
        (Some(vec![]), Some(vec![]), headers(&[("", Some(b"no name")), ("empty", Some(b""))])),
        (None, None, headers(&[("twice", Some(b"1")), ("null", None), ("twice", Some(b"2"))])),
        (Some("Schlüssel ☃".into()), Some(text.clone()), headers(&[("größe", Some(&text[..300]))])),
        (Some(noise(300)), Some(noise(100_000)), vec![]),
    ];
    kinds.extend((0..200).map(|n| (Some(format!("user-{n}").into_bytes()), Some(text[..n].to_vec()), vec![])));
    let records = kinds.into_iter().enumerate().map(|(n, (key, value, headers))| Sample {
        partition: (n % 2) as i32,
        timestamp: 1_700_000_000_000 + [0, 5_000_000_000, -86_400_000][n % 3] + n as i64,
        key,
        value,
        headers,
    });
    records.collect()
}

impl Sample {
    pub(crate) fn record<'a>(&'a self, topic: &'a str) -> ProducerRecord<'a> {
        let mut record = ProducerRecord::new(topic).partition(self.partition).timestamp(self.timestamp);
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(value) = &self.value {
            record = record.value(value);
        }
        self.headers.iter().fold(record, |record, (name, value)| match value {
            Some(value) => record.header(name, value),
            None => record.null_header(name),
        })
    }
}

impl From<ConsumerRecord<'_>> for Sample {
    fn from(record: ConsumerRecord<'_>) -> Self {
        let headers = record.headers().map(|header| {
            let name = String::from_utf8(header.name.to_vec()).expect("the names of the samples are text");
            (name, header.value.map(<[u8]>::to_vec))
        });
        Self {
            partition: record.partition(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }
}

/// In the order of their partitions, since there is none between partitions.
pub(crate) fn by_partition(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by_key(|sample| sample.partition);
    samples
}

/// The time of number 0.
pub(crate) const START: i64 = 1_600_000_000_000;

/// Writes numbers as text, a second apart, to partition 0.
pub(crate) async fn write_numbers(client: &Client, topic: &str, numbers: std::ops::Range<i64>) {
    let producer = client.producer(ProducerConfig::default()).expect("the configuration is sound");
    for n in numbers {
        let value = n.to_string();
        let record = ProducerRecord::new(topic).partition(0).value(&value).timestamp(START + n * 1_000);
        producer.send(record).await.expect("there is room").await.expect("the broker takes it");
    }
    producer.close(PATIENCE).await.expect("the producer closes");
}

/// The next `count` numbers, or more.
pub(crate) async fn read_numbers(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut read = vec![];
    while read.len() < count {
        let records = consumer.poll(PATIENCE).await.expect("records can be read");
        assert!(!records.is_empty(), "only {read:?}");
        for record in &records {
            let text = std::str::from_utf8(record.value().expect("a value")).expect("text");
            read.push(text.parse().expect("a number"));
        }
    }
    read
}

/// For [`write_together`].
pub(crate) fn one_batch(codec: Compression) -> ProducerConfig {
    ProducerConfig::default().compression(codec).batch_size(1 << 20).linger(PATIENCE / 4)
}

/// Writes them as one batch, with a producer that was made with [`one_batch`]; what became of each.
pub(crate) async fn write_together(
    producer: &Producer,
    topic: &str,
    samples: &[Sample],
) -> Vec<Result<RecordMetadata>> {
    let mut deliveries = vec![];
    for sample in samples {
        deliveries.push(producer.send(sample.record(topic)).await.expect("there is room"));
    }
    assert_eq!(producer.flush(PATIENCE).await.expect("it is not closed"), 0, "all have their outcome");
    let outcome = |delivery: Delivery| delivery.try_get().expect("it has its outcome");
    deliveries.into_iter().map(outcome).collect()
}
