//! Records on their way from the input to the producer: many together, their bytes side by side.

use crate::records::envelope::Span;
use milena::producer::ProducerRecord;
use milena::record::Header;
use std::sync::Arc;

/// What one look at the input brought.
#[derive(Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub entries: Vec<Entry>,
    pub headers: Vec<(Span, Option<Span>)>,
    /// How many bytes of input it was.
    pub size: usize,
    /// The file that it is from.
    pub file: Option<Arc<str>>,
}

/// One record, as places in its batch's bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which line of the input it is, or record where there are no lines, from 1; all files count together.
    pub number: u64,
    pub topic: Option<Span>,
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
    pub key: Option<Span>,
    pub value: Option<Span>,
    /// In the batch's list.
    pub headers: Span,
}

/// What records get that have none of their own, and what is not taken over.
#[derive(Debug, Default)]
pub struct Defaults {
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// Added to each.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// An empty key or value is null.
    pub empty_is_null: bool,
}

impl Batch {
    fn get(&self, span: &Span) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    /// The topic that a record names, or the default.
    ///
    /// # Errors
    /// It is not text, or there is none.
    pub fn topic<'a>(&'a self, entry: &Entry, defaults: &'a Defaults) -> Result<&'a str, String> {
        match &entry.topic {
            None => defaults.topic.as_deref().ok_or_else(|| "it names no topic, and -t none for such".to_owned()),
            Some(topic) => std::str::from_utf8(self.get(topic)).map_err(|_| "its topic is not text".to_owned()),
        }
    }

    /// A record as the producer takes it.
    pub fn record<'a>(&'a self, entry: &Entry, topic: &'a str, defaults: &'a Defaults) -> ProducerRecord<'a> {
        let present = |span: &Option<Span>| {
            let bytes = span.as_ref().map(|span| self.get(span));
            bytes.filter(|bytes| !(bytes.is_empty() && defaults.empty_is_null))
        };
        let mut record = ProducerRecord::new(topic);
        if let Some(key) = present(&entry.key).or(defaults.key.as_deref()) {
            record = record.key(key);
        }
        if let Some(value) = present(&entry.value) {
            record = record.value(value);
        }
        for (name, value) in self.headers.get(entry.headers.clone()).unwrap_or_default() {
            record =
                record.raw_header(Header { name: self.get(name), value: value.as_ref().map(|value| self.get(value)) });
        }
        for (name, value) in &defaults.headers {
            record = record.raw_header(Header { name, value: value.as_deref() });
        }
        if let Some(partition) = entry.partition.or(defaults.partition) {
            record = record.partition(partition);
        }
        match entry.timestamp {
            Some(timestamp) => record.timestamp(timestamp),
            None => record,
        }
    }
}
