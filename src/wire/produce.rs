//! The Produce request, encoded by hand: the schema crate would copy every batch into the frame. Here the batches' bodies
//! go out as they are, and only what stands between them is written.
//!
//! ```text
//! header | acks, timeout | topic | partition, length, head (61 bytes) | body | partition, length, head | body | end
//! \________________________ one piece ______________________________/ \uncopied/
//! ```
//! v3 to v12; from v9 on in the flexible form. The answer is decoded by the schema crate, behind the guard.

use super::messages::ProduceRequest;
use super::request::put_request_header;
use crate::error::{Error, ErrorKind, Result};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Request;

/// The first version whose lengths are varints and which has tagged fields.
const FLEXIBLE: i16 = 9;

/// The first version that takes zstd (KIP-110).
pub const FIRST_WITH_ZSTD: i16 = 7;

/// The first version that adds its partitions to the transaction by itself (KIP-890).
pub const FIRST_OF_TRANSACTION_2: i16 = 12;

/// What stands in front of the batches.
#[derive(Debug, Clone, Copy)]
pub struct ProduceHead<'a> {
    /// 3 to 12.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// `client.id`.
    pub client_id: &'a str,
    /// Of the transaction that the batches belong to.
    pub transactional_id: Option<&'a str>,
    /// 0, 1, or -1 for all.
    pub acks: i16,
    /// How long the broker may wait for other replicas.
    pub timeout_ms: i32,
}

/// One batch of one partition. A request holds at most one of each.
#[derive(Debug, Clone, Copy)]
pub struct BatchToSend<'a> {
    /// Its topic. Batches of one topic stand together.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The first 61 bytes.
    pub head: &'a [u8],
    /// The rest.
    pub body: &'a Bytes,
}

/// The frame, its length included, in pieces to be written one after the other.
///
/// # Errors
/// `InvalidArgument` if it is larger than 2 GiB.
pub fn encode_produce<'a>(
    request: ProduceHead<'_>,
    batches: impl Iterator<Item = BatchToSend<'a>> + Clone,
) -> Result<Vec<Bytes>> {
    let flexible = request.version >= FLEXIBLE;
    let count = batches.clone().count();
    let names: usize = batches.clone().map(|batch| batch.topic.len() + 96).sum();
    let mut out = BytesMut::with_capacity(64 + request.client_id.len() + names);
    let mut bodies: Vec<(usize, &Bytes)> = Vec::with_capacity(count);
    out.put_i32(0);
    put_request_header(
        &mut out,
        ProduceRequest::KEY,
        request.version,
        request.correlation_id,
        request.client_id,
        flexible,
    );
    match request.transactional_id {
        None if flexible => out.put_u8(0),
        None => out.put_i16(-1),
        Some(id) => put_string(&mut out, id, flexible),
    }
    out.put_i16(request.acks);
    out.put_i32(request.timeout_ms);
    put_count(&mut out, topics(batches.clone()), flexible);
    let mut rest = batches.peekable();
    while let Some(first) = rest.peek().copied() {
        let of_topic = |batch: &BatchToSend<'a>| batch.topic == first.topic;
        put_string(&mut out, first.topic, flexible);
        put_count(&mut out, rest.clone().take_while(of_topic).count(), flexible);
        while let Some(batch) = rest.next_if(of_topic) {
            out.put_i32(batch.partition);
            let size = batch.head.len().saturating_add(batch.body.len());
            if flexible {
                put_varint(&mut out, size.saturating_add(1));
            } else {
                out.put_i32(i32::try_from(size).unwrap_or(i32::MAX));
            }
            out.put_slice(batch.head);
            bodies.push((out.len(), batch.body));
            put_no_tags(&mut out, flexible);
        }
        put_no_tags(&mut out, flexible);
    }
    put_no_tags(&mut out, flexible);
    let length = bodies.iter().fold(out.len().saturating_sub(4), |sum, (_, body)| sum.saturating_add(body.len()));
    let length = i32::try_from(length)
        .map_err(|_| Error::with_message(ErrorKind::InvalidArgument, "a request of more than 2 GiB"))?;
    if let Some(prefix) = out.first_chunk_mut::<4>() {
        *prefix = length.to_be_bytes();
    }
    let between = out.freeze();
    let mut pieces = Vec::with_capacity(2 * bodies.len() + 1);
    let mut from = 0;
    for (to, body) in bodies {
        pieces.push(between.slice(from..to));
        pieces.push(body.clone());
        from = to;
    }
    if from < between.len() {
        pieces.push(between.slice(from..));
    }
    Ok(pieces)
}

fn topics<'a>(batches: impl Iterator<Item = BatchToSend<'a>>) -> usize {
    let mut last = None;
    batches.filter(|batch| last.replace(batch.topic) != Some(batch.topic)).count()
}

fn put_string(out: &mut BytesMut, text: &str, flexible: bool) {
    if flexible {
        put_varint(out, text.len().saturating_add(1));
    } else {
        out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    }
    out.put_slice(text.as_bytes());
}

fn put_count(out: &mut BytesMut, count: usize, flexible: bool) {
    if flexible {
        put_varint(out, count.saturating_add(1));
    } else {
        out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

fn put_no_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}

/// An unsigned varint, as lengths of the flexible versions are written.
fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::wire::request::{decode_request, encode_request};
    use bytes::Buf;

    fn batches(body: &Bytes) -> Vec<BatchToSend<'_>> {
        let batch = |topic, partition| BatchToSend { topic, partition, head: &[7; 61], body };
        vec![batch("clicks", 0), batch("clicks", 3), batch("views", 1)]
    }

    /// The schema crate is the judge: what it reads is what was meant, and what it writes of that is the same bytes.
    #[test]
    fn in_every_version_the_frame_is_what_the_schema_says() {
        let body = Bytes::from(vec![1; 300]);
        for version in 3..=12 {
            for transactional_id in [None, Some("t-0")] {
                let head = ProduceHead {
                    version,
                    correlation_id: 9,
                    client_id: "me",
                    transactional_id,
                    acks: -1,
                    timeout_ms: 30_000,
                };
                let pieces = encode_produce(head, batches(&body).into_iter()).unwrap();
                let frame = Bytes::from(pieces.concat());
                let mut rest = frame.clone();
                assert_eq!(rest.get_i32() as usize, rest.len(), "v{version}");
                let (header, request) = decode_request::<ProduceRequest>(rest).unwrap();
                assert_eq!((header.api_key, header.api_version, header.correlation_id), (0, version, 9));
                assert_eq!(request.transactional_id.as_ref().map(|id| id.as_str()), transactional_id);
                assert_eq!(request.topic_data[0].partition_data[1].index, 3);
                assert_eq!(request.topic_data[1].partition_data[0].records.as_ref().map(Bytes::len), Some(361));
                assert_eq!(encode_request(&request, version, 9, "me").unwrap(), frame, "v{version}");
            }
        }
    }

    #[test]
    fn bodies_are_not_copied() {
        let body = Bytes::from(vec![1; 300]);
        let head = ProduceHead {
            version: 9,
            correlation_id: 9,
            client_id: "me",
            transactional_id: None,
            acks: 1,
            timeout_ms: 1,
        };
        let pieces = encode_produce(head, batches(&body).into_iter()).unwrap();
        assert_eq!(pieces.iter().filter(|piece| piece.as_ptr() == body.as_ptr()).count(), 3);
    }
}
