//! Records for `T.late` and `T.dlq`: the original key, value, headers and timestamp, and headers that say where it was
//! and why it is here.
//!
//! A dead letter is unique by its stage and coordinates.

use crate::consumer::{ConsumerRecord, OwnedRecord};
use crate::{ids::TopicPartition, pipeline::event::Rejected, producer::ProducerRecord, record::Header};
use bytes::Bytes;

/// Where a record was set aside, in `__connect.errors.stage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The aggregator: it is no event.
    Aggregate,
    /// The aggregator: its windows had closed.
    Late,
    /// Merge: a partial row of a window that is final already, or no row at all.
    Merge,
    /// The sink: it is no event, or the database refused the row.
    Sink,
}

impl Stage {
    /// From the name in a header.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Aggregate, Self::Late, Self::Merge, Self::Sink].into_iter().find(|stage| stage.name() == name)
    }

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aggregate => "aggregate",
            Self::Late => "late",
            Self::Merge => "merge",
            Self::Sink => "sink",
        }
    }
}

/// The header that lists the windows an event was late for.
pub const LATE_WINDOWS: &str = "milena.late.windows";

/// The headers that are added, in this order, with Kafka Connect's names: the topic that the record stands on,
pub const TOPIC: &str = "__connect.errors.topic";
/// its partition,
pub const PARTITION: &str = "__connect.errors.partition";
/// its offset,
pub const OFFSET: &str = "__connect.errors.offset";
/// the name of the [`Stage`],
pub const STAGE: &str = "__connect.errors.stage";
/// the reason's name,
pub const REASON: &str = "__connect.errors.exception.class.name";
/// and the sentence.
pub const MESSAGE: &str = "__connect.errors.exception.message";

/// A record on its way to `T.late` or `T.dlq`, copied out of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl SetAside {
    /// A record that is dead for `stage`, for this reason.
    pub fn dead(record: &ConsumerRecord<'_>, stage: Stage, rejected: &Rejected) -> Self {
        let mut aside = Self::copy(record);
        aside.coordinates(record, stage);
        aside.why(rejected);
        aside
    }

    /// As [`dead`](Self::dead), of a record that was kept.
    pub fn dead_owned(record: &OwnedRecord, stage: Stage, rejected: &Rejected) -> Self {
        let header =
            |(name, value): &(Bytes, Option<Bytes>)| (name.to_vec(), value.as_ref().map(|value| value.to_vec()));
        let mut aside = Self {
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            timestamp: record.timestamp,
            headers: record.headers.iter().map(header).collect(),
        };
        let TopicPartition { topic, partition } = &record.topic_partition;
        aside.place(topic, *partition, record.offset, stage);
        aside.why(rejected);
        aside
    }

    /// An event that came after these windows had closed: names in configured order.
    pub fn late<'w>(record: &ConsumerRecord<'_>, windows: impl IntoIterator<Item = &'w str>) -> Self {
        let windows: Vec<_> = windows.into_iter().collect();
        let windows = windows.join(",");
        let mut aside = Self::copy(record);
        aside.coordinates(record, Stage::Late);
        aside.add(REASON, "late");
        aside.add(MESSAGE, &format!("came after the watermark had closed {windows}"));
        aside.add(LATE_WINDOWS, &windows);
        aside
    }

    /// The record for this topic.
    pub fn record<'a>(&'a self, topic: &'a str) -> ProducerRecord<'a> {
        let mut record = ProducerRecord::new(topic);
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(value) = &self.value {
            record = record.value(value);
        }
        if self.timestamp >= 0 {
            record = record.timestamp(self.timestamp);
        }
        for (name, value) in &self.headers {
            record = record.raw_header(Header { name, value: value.as_deref() });
        }
        record
    }

    /// About how many bytes it is.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
        headers + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }

    fn copy(record: &ConsumerRecord<'_>) -> Self {
        let headers = record.headers().map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)));
        Self {
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            timestamp: record.timestamp(),
            headers: headers.collect(),
        }
    }

    fn coordinates(&mut self, record: &ConsumerRecord<'_>, stage: Stage) {
        self.place(record.topic(), record.partition(), record.offset(), stage);
    }

    fn place(&mut self, topic: &str, partition: i32, offset: i64, stage: Stage) {
        self.add(TOPIC, topic);
        self.add(PARTITION, &partition.to_string());
        self.add(OFFSET, &offset.to_string());
        self.add(STAGE, stage.name());
    }

    fn why(&mut self, rejected: &Rejected) {
        self.add(REASON, rejected.reason.name());
        self.add(MESSAGE, &rejected.message);
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())));
    }
}
