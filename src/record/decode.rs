//! A batch opened: its checksum tested, its records decompressed, and each record a view into those bytes. Nothing is
//! copied and nothing is allocated per record.

use super::{
    Header,
    batch::{BatchHeader, HEADER_LEN, RawBatch, verify_crc},
    compression::{Compression, Decompressor},
    malformed,
    varint::get_varint,
};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;

/// Opens one whole batch. Records that aren't compressed are read where they lie, compressed ones in `scratch`: use the
/// same one for batch after batch. At most `limit` bytes are decompressed (see
/// [`DEFAULT_DECOMPRESSED_LIMIT`](super::DEFAULT_DECOMPRESSED_LIMIT)).
pub fn open<'a>(batch: &'a [u8], scratch: &'a mut Decompressor, limit: usize) -> Result<RecordBatch<'a>> {
    let (header, body) = check(batch)?;
    let records = match header.attributes.compression()? {
        Compression::None => body,
        _ if body.is_empty() => body, // what is left of a batch that compaction has emptied
        compression => scratch.decompress(compression, body, limit).map_err(|error| at_offset(&header, error))?,
    };
    Ok(RecordBatch::new(header, records))
}

/// Head and body of one whole batch with the right checksum.
fn check(batch: &[u8]) -> Result<(BatchHeader, &[u8])> {
    let header = BatchHeader::parse(batch)?.filter(|header| header.size() == batch.len());
    let header = header.ok_or_else(|| malformed("not one whole record batch"))?;
    verify_crc(&header, batch)?;
    Ok((header, batch.get(HEADER_LEN..).unwrap_or_default()))
}

#[cold]
fn at_offset(header: &BatchHeader, error: Error) -> Error {
    let message = format!("the batch at offset {} can't be decompressed: {error}", header.base_offset);
    Error::with_message(error.kind(), message).caused_by(error)
}

/// The records of one batch, opened: an iterator of views. It ends at the first error.
#[derive(Debug, Clone)]
pub struct RecordBatch<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    left: u32,
    /// Records before this offset are not given out.
    from: i64,
    log_append_time: Option<i64>,
}

impl<'a> RecordBatch<'a> {
    fn new(header: BatchHeader, records: &'a [u8]) -> Self {
        let log_append_time = header.attributes.is_log_append_time().then_some(header.max_timestamp);
        Self { header, rest: records, left: header.record_count.max(0) as u32, from: i64::MIN, log_append_time }
    }

    /// Leaves out the records before `offset`: a broker gives batches whole, also when asked for their middle.
    pub fn starting_at(mut self, offset: i64) -> Self {
        self.from = offset;
        self
    }

    /// The batch's head.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// What a control batch says; `None` for one with an application's records, and for a control batch without any.
    pub fn control(&self) -> Result<Option<ControlRecord>> {
        if !self.header.attributes.is_control() {
            return Ok(None);
        }
        match self.clone().starting_at(i64::MIN).next() {
            Some(record) => ControlRecord::parse(record?.key.unwrap_or_default()).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn decode(&mut self) -> Option<RecordView<'a>> {
        let length = usize::try_from(get_varint(&mut self.rest)?).ok()?;
        let (record, rest) = self.rest.split_at_checked(length)?;
        let (_attributes, mut record) = record.split_first()?;
        let timestamp_delta = get_varint(&mut record)?;
        let offset_delta = get_varint(&mut record)?;
        let key = nullable_bytes(&mut record)?;
        let value = nullable_bytes(&mut record)?;
        let headers = Headers::check(record)?;
        self.rest = rest;
        let offset = self.header.base_offset.wrapping_add(offset_delta);
        let timestamp = match self.log_append_time {
            Some(time) => time,
            None => self.header.base_timestamp.wrapping_add(timestamp_delta),
        };
        Some(RecordView { offset, timestamp, key, value, headers })
    }

    #[cold]
    fn corrupt(&mut self, what: &str) -> Error {
        self.left = 0;
        self.rest = &[];
        let offset = self.header.base_offset;
        Error::with_message(ErrorKind::Malformed, format!("the batch at offset {offset} is corrupt: {what}"))
    }
}

impl<'a> Iterator for RecordBatch<'a> {
    type Item = Result<RecordView<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            self.left -= 1;
            match self.decode() {
                Some(record) if record.offset < self.from => {}
                Some(record) => return Some(Ok(record)),
                None => return Some(Err(self.corrupt("a record doesn't fit into it"))),
            }
        }
        if self.rest.is_empty() { None } else { Some(Err(self.corrupt("bytes behind the last record"))) }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A record takes 7 bytes at least: the count alone is not to be trusted.
        (0, Some((self.left as usize).min(self.rest.len() / 7) + 1))
    }
}

#[inline]
fn nullable_bytes<'a>(record: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = get_varint(record)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let (field, rest) = record.split_at_checked(usize::try_from(length).ok()?)?;
    *record = rest;
    Some(Some(field))
}

/// One record, a view into its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: when it was made, or when the broker stored it, as the topic has it.
    pub timestamp: i64,
    /// The key; null is not empty.
    pub key: Option<&'a [u8]>,
    /// The value; null is not empty, it is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, decoded when iterated over.
    pub headers: Headers<'a>,
}

/// The headers of one record in their order, duplicates included. They have been checked, so that iterating can't fail.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    raw: &'a [u8],
    left: u32,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Headers<'static> = Headers { raw: &[], left: 0 };

    #[inline]
    fn check(raw: &'a [u8]) -> Option<Self> {
        if let [0] = raw { Some(Headers::EMPTY) } else { Self::walk(raw) }
    }

    fn walk(mut raw: &'a [u8]) -> Option<Self> {
        let count = u32::try_from(get_varint(&mut raw)?).ok()?;
        let mut rest = raw;
        for _ in 0..count {
            next_header(&mut rest)?; // a header takes two bytes: a hostile count ends with the bytes
        }
        rest.is_empty().then_some(Self { raw, left: count })
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The value of the last header with this name, as Java's `lastHeader` finds it. `Some(None)` is a null value.
    pub fn last(self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.filter(|header| header.name == name).last().map(|header| header.value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        next_header(&mut self.raw)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Headers<'_> {}

#[inline]
fn next_header<'a>(raw: &mut &'a [u8]) -> Option<Header<'a>> {
    let name = nullable_bytes(raw)??; // names are never null
    let value = nullable_bytes(raw)?;
    Some(Header { name, value })
}

/// What a broker says in a control batch. Applications never see these records, but their offsets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The producer's open transaction in this partition is to be forgotten.
    Abort,
    /// It counts.
    Commit,
    /// Something between brokers, or of a later version: to be ignored.
    Unknown(i16),
}

impl ControlRecord {
    /// Reads the key of a control record: a version, then a type. Later versions may have more behind it.
    pub fn parse(key: &[u8]) -> Result<Self> {
        match *key {
            [_, _, a, b, ..] => Ok(match i16::from_be_bytes([a, b]) {
                0 => Self::Abort,
                1 => Self::Commit,
                other => Self::Unknown(other),
            }),
            _ => Err(malformed("a control record with a key shorter than 4 bytes")),
        }
    }
}

/// A batch opened to be kept: its records lie in shared bytes, of which slices can be taken without a copy. A slice keeps
/// the whole batch in memory.
#[derive(Debug, Clone)]
pub struct SharedBatch {
    header: BatchHeader,
    records: Bytes,
}

impl SharedBatch {
    /// Opens `batch` as [`open`] does, but copies what was compressed out of `scratch`, into memory of exactly its size.
    pub fn open(batch: &RawBatch, scratch: &mut Decompressor, limit: usize) -> Result<Self> {
        let (header, body) = check(batch.bytes())?;
        let records = match header.attributes.compression()? {
            Compression::None => batch.bytes().slice_ref(body),
            _ if body.is_empty() => Bytes::new(),
            compression => {
                let records = scratch.decompress(compression, body, limit);
                Bytes::copy_from_slice(records.map_err(|error| at_offset(&header, error))?)
            }
        };
        Ok(Self { header, records })
    }

    /// Its records, from the first on.
    pub fn records(&self) -> RecordBatch<'_> {
        RecordBatch::new(self.header, &self.records)
    }

    /// Shares `part`, a field of one of its records. Bytes from elsewhere are copied.
    pub fn share(&self, part: &[u8]) -> Bytes {
        let (all, part_range) = (self.records.as_ptr_range(), part.as_ptr_range());
        if all.start <= part_range.start && part_range.end <= all.end {
            self.records.slice_ref(part)
        } else {
            Bytes::copy_from_slice(part)
        }
    }
}
