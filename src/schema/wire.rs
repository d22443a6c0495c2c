//! Confluent's wire format: what stands before the data of a record, or in a header of it.
//!
//! ```text
//! 00 iiiiiiii data              the schema's id, big-endian
//! 00 iiiiiiii n m1 … mn data    Protobuf: which message of the file, as a path of zigzag varints; [0] is the one byte 00
//!                               map<…> entries don't count, as for Java; whose schema is a descriptor (Python) counts them
//! 01 gggg… (16)                 the schema's globally unique id; in a header only
//! ```

use super::subject::Side;
use crate::consumer::ConsumerRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::record::varint::{MAX_VARINT_LEN, get_varint, put_varint, zigzag};
use std::fmt;
use uuid::Uuid;

/// The headers that carry what else stands before the data.
const KEY_HEADER: &str = "__key_schema_id";
const VALUE_HEADER: &str = "__value_schema_id";

/// No message is nested deeper.
const DEEPEST: usize = 64;

/// What a record says of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaId {
    /// The registry's number.
    Id(u32),
    /// The same in all registries.
    Guid(Uuid),
}

impl SchemaId {
    /// Which schema a record's value is of, by its first bytes or by its header, and the data behind that; `None` for a tombstone. Of
    /// Protobuf the message indexes are still before the data, unless a header has them.
    ///
    /// # Errors
    /// `Malformed` for what is not in Confluent's wire format.
    pub fn of_value<'a>(record: &ConsumerRecord<'a>) -> Result<Option<(Self, &'a [u8])>> {
        Ok(framed(record, Side::Value)?.map(|framed| (framed.id, framed.data)))
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Guid(guid) => guid.fmt(f),
        }
    }
}

/// A record's half, taken apart.
#[derive(Debug)]
pub(super) struct Framed<'a> {
    pub(super) id: SchemaId,
    /// Protobuf's, if a header has them.
    pub(super) indexes: Option<Vec<usize>>,
    pub(super) data: &'a [u8],
}

/// What a record says of its schema, in a header or before the data; `None` where there is nothing.
///
/// # Errors
/// `Malformed` for what is not in this format.
pub(super) fn framed<'a>(record: &ConsumerRecord<'a>, side: Side) -> Result<Option<Framed<'a>>> {
    let (bytes, header) = match side {
        Side::Key => (record.key(), KEY_HEADER),
        Side::Value => (record.value(), VALUE_HEADER),
    };
    let Some(data) = bytes else { return Ok(None) };
    let header = record.headers().filter(|known| known.name == header.as_bytes()).last().and_then(|h| h.value);
    let framed = match header {
        Some(header) => with_header(header, data)?,
        None => before_data(data)?,
    };
    Ok(Some(framed))
}

/// Data with the id before them: a number.
///
/// # Errors
/// `Malformed` for what is not in this format, with a guid there too.
pub(super) fn before_data(bytes: &[u8]) -> Result<Framed<'_>> {
    match split(bytes)? {
        (id @ SchemaId::Id(_), data) => Ok(Framed { id, indexes: None, data }),
        (SchemaId::Guid(_), _) => Err(foreign("it begins with the byte 0x01 and not with 0x00".to_owned())),
    }
}

/// Data whose header says what their schema is.
///
/// # Errors
/// `Malformed` for a header that is not in this format.
pub(super) fn with_header<'a>(header: &[u8], data: &'a [u8]) -> Result<Framed<'a>> {
    let (id, rest) = split(header)?;
    let indexes = if rest.is_empty() { None } else { Some(message_indexes(rest)?.0) };
    Ok(Framed { id, indexes, data })
}

/// What stands before the data.
pub(super) fn prefix(id: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes
}

/// The id of the schema, and what is behind it.
///
/// # Errors
/// `Malformed` for what is not in this format.
pub(super) fn split(bytes: &[u8]) -> Result<(SchemaId, &[u8])> {
    match bytes.split_first() {
        Some((0, rest)) => match rest.split_first_chunk() {
            Some((id, rest)) => Ok((SchemaId::Id(u32::from_be_bytes(*id)), rest)),
            None => Err(foreign(format!("{} bytes, where a schema's id has four behind the first", bytes.len()))),
        },
        Some((1, rest)) => match rest.split_first_chunk() {
            Some((guid, rest)) => Ok((SchemaId::Guid(Uuid::from_bytes(*guid)), rest)),
            None => Err(foreign(format!("{} bytes, where a schema's guid has 16 behind the first", bytes.len()))),
        },
        Some((first, _)) => Err(foreign(format!("it begins with the byte {first:#04x} and not with 0x00"))),
        None => Err(foreign("no bytes at all".to_owned())),
    }
}

fn foreign(why: String) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("not written by a Schema Registry's serializer: {why}"))
}

/// Which message of a `.proto` file, from the outermost in.
pub(super) fn put_message_indexes(bytes: &mut Vec<u8>, indexes: &[usize]) {
    if indexes == [0] {
        return bytes.push(0);
    }
    for number in std::iter::once(indexes.len()).chain(indexes.iter().copied()) {
        let (mut varint, mut end) = ([0; MAX_VARINT_LEN], 0);
        put_varint(&mut varint, &mut end, zigzag(number as i64));
        bytes.extend_from_slice(&varint[..end]);
    }
}

/// The reverse, and what is behind it.
///
/// # Errors
/// `Malformed` for what can't be.
pub(super) fn message_indexes(mut bytes: &[u8]) -> Result<(Vec<usize>, &[u8])> {
    let wrong = || Error::with_message(ErrorKind::Malformed, "no message indexes where Protobuf has them");
    let mut next = || get_varint(&mut bytes).and_then(|number| usize::try_from(number).ok()).ok_or_else(wrong);
    let count = next()?;
    if count == 0 {
        return Ok((vec![0], bytes));
    }
    if count > DEEPEST {
        return Err(wrong());
    }
    let indexes = (0..count).map(|_| next()).collect::<Result<_>>()?;
    Ok((indexes, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_again_and_what_is_none_is_told() {
        let mut bytes = prefix(0x0102_0304);
        bytes.push(9);
        assert_eq!(bytes, [0, 1, 2, 3, 4, 9]);
        assert_eq!(split(&bytes).unwrap(), (SchemaId::Id(0x0102_0304), &[9][..]));
        let guid = [&[1][..], &[7; 16], b"x"].concat();
        assert_eq!(split(&guid).unwrap(), (SchemaId::Guid(Uuid::from_bytes([7; 16])), &b"x"[..]));
        for (bytes, expected) in [
            (&b""[..], "no bytes at all"),
            (b"{\"a\":1}", "begins with the byte 0x7b"),
            (&[0, 1, 2], "3 bytes"),
            (&[1; 16], "16 bytes"),
        ] {
            let error = split(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// As Confluent's documentation of the wire format gives them: `[0]` is `0`, and `[1, 0]` is `2, 1, 0`, in zigzag.
    #[test]
    fn message_indexes_are_confluents() {
        for (indexes, expected) in [
            (&[0][..], &[0][..]),
            (&[1, 0], &[4, 2, 0]),
            (&[1], &[2, 2]),
            (&[0, 0], &[4, 0, 0]),
            (&[200], &[2, 0x90, 0x03]),
        ] {
            let mut bytes = Vec::new();
            put_message_indexes(&mut bytes, indexes);
            assert_eq!(bytes, expected);
            bytes.push(7);
            assert_eq!(message_indexes(&bytes).unwrap(), (indexes.to_vec(), &[7][..]));
        }
        assert_eq!(message_indexes(&[2, 0, 7]).unwrap(), (vec![0], &[7][..]), "the long form of [0]");
    }

    #[test]
    fn message_indexes_that_can_not_be_cost_nothing() {
        for bytes in [&[][..], &[4, 0], &[1, 0], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0x80; 9], &[0x80; 11], &[2, 1]] {
            assert!(message_indexes(bytes).is_err(), "{bytes:?}");
        }
    }
}
