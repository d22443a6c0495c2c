//! `ProducerRecord`: what is to be written, borrowed until it is copied into its batch.

use crate::record::Header;

/// A record to write. It borrows key, value and header values: `send` copies them into the batch in wire form, so that
/// nothing is allocated for it.
///
/// A record without [`key`](Self::key) or [`partition`](Self::partition) goes to any partition that has a leader; one
/// with a key always to the key's, which is the Java client's choice (murmur2) unless
/// [`partitioner`](super::ProducerConfig::partitioner) says otherwise. An empty key is a key.
#[derive(Debug, Clone)]
pub struct ProducerRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<Header<'a>>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
}

impl<'a> ProducerRecord<'a> {
    /// A record for `topic`, without key, value (a tombstone) or headers.
    pub fn new(topic: &'a str) -> Self {
        Self { topic, key: None, value: None, headers: Vec::new(), partition: None, timestamp: None }
    }

    /// Sets the key.
    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'a K) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Sets the value. Without one the record is a tombstone, which is not the same as an empty value.
    #[must_use]
    pub fn value<V: AsRef<[u8]> + ?Sized>(mut self, value: &'a V) -> Self {
        self.value = Some(value.as_ref());
        self
    }

    /// Adds a header. Names may repeat; the order is kept.
    #[must_use]
    pub fn header<V: AsRef<[u8]> + ?Sized>(mut self, name: &'a str, value: &'a V) -> Self {
        self.headers.push(Header { name: name.as_bytes(), value: Some(value.as_ref()) });
        self
    }

    /// Adds a header without a value, which is not the same as an empty value.
    #[must_use]
    pub fn null_header(mut self, name: &'a str) -> Self {
        self.headers.push(Header { name: name.as_bytes(), value: None });
        self
    }

    /// Adds a header whose name need not be UTF-8: for what other clients wrote.
    #[must_use]
    pub fn raw_header(mut self, header: Header<'a>) -> Self {
        self.headers.push(header);
        self
    }

    /// Sends it to this partition, whatever its key.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp, in milliseconds since 1970; without one it is the time of `send`. A topic of
    /// `message.timestamp.type=LogAppendTime` ignores it.
    #[must_use]
    pub fn timestamp(mut self, unix_millis: i64) -> Self {
        self.timestamp = Some(unix_millis);
        self
    }
}
