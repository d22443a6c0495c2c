//! Header and body of a request or response at a version. No byte reaches the schema crate's decoder before the
//! [guard](super::guard) has walked it, and bytes left over are an error.

use super::api_versions::api_name;
use super::guard::{self, Direction};
use crate::error::{Error, ErrorKind, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};

/// A request as one frame, its length included.
///
/// # Errors
/// `UnsupportedVersion` if a field that is set does not exist in `version`.
pub fn encode_request<R: Request>(request: &R, version: i16, correlation_id: i32, client_id: &str) -> Result<Bytes> {
    let body = request.compute_size(version).map_err(|error| unencodable(R::KEY, version, &error))?;
    let mut out = BytesMut::with_capacity(body.saturating_add(client_id.len()).saturating_add(16));
    out.put_i32(0);
    put_request_header(&mut out, R::KEY, version, correlation_id, client_id, R::header_version(version) >= 2);
    request.encode(&mut out, version).map_err(|error| unencodable(R::KEY, version, &error))?;
    finish_frame(out)
}

/// The header that opens every request. `flexible` is that of the request's version.
pub fn put_request_header(
    out: &mut BytesMut,
    api_key: i16,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    flexible: bool,
) {
    out.put_i16(api_key);
    out.put_i16(version);
    out.put_i32(correlation_id);
    let client_id = client_id.as_bytes().get(..i16::MAX as usize).unwrap_or(client_id.as_bytes());
    out.put_i16(client_id.len() as i16); // keeps its old form in flexible versions too
    out.put_slice(client_id);
    if flexible {
        out.put_u8(0); // no tagged fields
    }
}

/// A response as one frame, its length included.
pub fn encode_response<R: Request>(response: &R::Response, version: i16, correlation_id: i32) -> Result<Bytes> {
    let body = response.compute_size(version).map_err(|error| unencodable(R::KEY, version, &error))?;
    let mut out = response_header::<R>(version, correlation_id, body);
    response.encode(&mut out, version).map_err(|error| unencodable(R::KEY, version, &error))?;
    finish_frame(out)
}

/// The same of a body that is encoded already.
pub fn frame_response<R: Request>(body: &[u8], version: i16, correlation_id: i32) -> Result<Bytes> {
    let mut out = response_header::<R>(version, correlation_id, body.len());
    out.put_slice(body);
    finish_frame(out)
}

/// Room for a length, and the header, with room for `body` bytes behind it.
fn response_header<R: Request>(version: i16, correlation_id: i32, body: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(body.saturating_add(16));
    out.put_i32(0);
    out.put_i32(correlation_id);
    if <R::Response as HeaderVersion>::header_version(version) >= 1 {
        out.put_u8(0);
    }
    out
}

fn finish_frame(mut out: BytesMut) -> Result<Bytes> {
    let length = i32::try_from(out.len().saturating_sub(4))
        .map_err(|_| Error::with_message(ErrorKind::InvalidArgument, "a request of more than 2 GiB"))?;
    if let Some(prefix) = out.first_chunk_mut::<4>() {
        *prefix = length.to_be_bytes();
    }
    Ok(out.freeze())
}

/// The correlation id of a response frame (without its length).
pub fn correlation_id(frame: &[u8]) -> Result<i32> {
    let id = frame
        .first_chunk::<4>()
        .ok_or_else(|| Error::with_message(ErrorKind::Malformed, "a frame without a header"))?;
    Ok(i32::from_be_bytes(*id))
}

/// The body of a response frame (without its length) to a request of `R` at `version`.
pub fn decode_response<R: Request>(version: i16, mut frame: Bytes) -> Result<R::Response> {
    check(R::KEY, version, Direction::Response, &frame)?;
    frame.advance(4);
    if <R::Response as HeaderVersion>::header_version(version) >= 1 {
        skip_tags(&mut frame).ok_or_else(|| malformed(R::KEY, version, "header"))?;
    }
    decode_body(R::KEY, version, frame)
}

/// What a broker must know of a request before it can read the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// In which version.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Who asks.
    pub client_id: Option<String>,
}

/// The first eight bytes of a request frame (without its length): key, version and correlation id. They are there in
/// every version of every request, so that a broker can say which versions it has.
pub fn peek_request(frame: &[u8]) -> Result<(i16, i16, i32)> {
    let mut rest = frame;
    match (rest.try_get_i16(), rest.try_get_i16(), rest.try_get_i32()) {
        (Ok(key), Ok(version), Ok(correlation_id)) => Ok((key, version, correlation_id)),
        _ => Err(Error::with_message(ErrorKind::Malformed, "a frame without a request header")),
    }
}

/// A whole request frame (without its length), header and body.
pub fn decode_request<R: Request>(frame: Bytes) -> Result<(RequestHeader, R)> {
    let (_, api_version, _) = peek_request(&frame)?;
    check(R::KEY, api_version, Direction::Request, &frame)?;
    decode_request_prefix(frame).map(|(header, request, _)| (header, request))
}

/// The same as a broker reads it, which ignores bytes behind the message, as Apache Kafka does: librdkafka 2.16 leaves
/// three behind its Metadata v13 for all topics. Gives their number too.
pub fn decode_request_prefix<R: Request>(mut frame: Bytes) -> Result<(RequestHeader, R, usize)> {
    let header = take_request_header::<R>(&mut frame)?;
    let (api_key, api_version) = (header.api_key, header.api_version);
    let left = guard::check_prefix(R::KEY, api_version, Direction::Request, &frame)
        .map_err(|why| malformed(api_key, api_version, "body").caused_by(why))?;
    let request = decode_body(api_key, api_version, frame.slice(..frame.len().saturating_sub(left)))?;
    Ok((header, request, left))
}

/// Takes the header off a request frame (without its length); what is left is the body.
pub fn take_request_header<R: Request>(frame: &mut Bytes) -> Result<RequestHeader> {
    let (api_key, api_version, correlation_id) = peek_request(frame)?;
    frame.advance(8);
    let client_id = match frame.try_get_i16().map_err(|_| malformed(api_key, api_version, "header"))? {
        length if length >= 0 && frame.len() >= length as usize => {
            Some(String::from_utf8_lossy(&frame.split_to(length as usize)).into_owned())
        }
        _ => None,
    };
    if R::header_version(api_version) >= 2 {
        skip_tags(frame).ok_or_else(|| malformed(api_key, api_version, "header"))?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// Refuses a frame that its bytes do not bear out.
pub fn check(api_key: i16, version: i16, direction: Direction, frame: &[u8]) -> Result<()> {
    guard::check_frame(api_key, version, direction, frame)
        .map_err(|why| malformed(api_key, version, "frame").caused_by(why))
}

fn decode_body<T: Decodable>(api_key: i16, version: i16, mut body: Bytes) -> Result<T> {
    let decoded =
        T::decode(&mut body, version).map_err(|error| malformed(api_key, version, &format!("body: {error:#}")))?;
    if body.has_remaining() {
        return Err(malformed(api_key, version, "bytes after the message"));
    }
    Ok(decoded)
}

/// Skips tagged fields whose sizes the guard has checked.
fn skip_tags(frame: &mut Bytes) -> Option<()> {
    for _ in 0..varint(frame)? {
        varint(frame)?;
        let size = varint(frame)? as usize;
        if size > frame.len() {
            return None;
        }
        frame.advance(size);
    }
    Some(())
}

fn varint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = frame.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn malformed(api_key: i16, version: i16, what: &str) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("malformed {what} (v{version})")).api(api_name(api_key))
}

fn unencodable(api_key: i16, version: i16, error: &dyn std::fmt::Display) -> Error {
    Error::with_message(ErrorKind::UnsupportedVersion, format!("v{version} can't say this: {error:#}"))
        .api(api_name(api_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse};

    #[test]
    fn a_request_comes_back_with_its_header() {
        for version in [0, 8, 12] {
            let request = MetadataRequest::default().with_topics(Some(vec![]));
            let mut frame = encode_request(&request, version, 7, "me").unwrap();
            assert_eq!(frame.get_i32() as usize, frame.len());
            let (header, decoded) = decode_request::<MetadataRequest>(frame).unwrap();
            assert_eq!((header.api_key, header.api_version, header.correlation_id), (3, version, 7));
            assert_eq!(header.client_id.as_deref(), Some("me"));
            assert_eq!(decoded, request);
        }
    }

    #[test]
    fn the_response_header_of_api_versions_is_the_old_one_in_every_version() {
        let response = ApiVersionsResponse::default();
        for version in 0..=4 {
            let mut frame = encode_response::<ApiVersionsRequest>(&response, version, 9).unwrap();
            frame.advance(4);
            assert_eq!(correlation_id(&frame).unwrap(), 9);
            assert_eq!(frame.get(4..6), Some(&[0, 0][..]), "the error code follows at once");
            decode_response::<ApiVersionsRequest>(version, frame).unwrap();
        }
    }

    #[test]
    fn a_broker_ignores_bytes_behind_a_request_and_nothing_else() {
        let mut frame = BytesMut::from(&encode_request(&MetadataRequest::default(), 12, 7, "me").unwrap()[4..]);
        frame.extend_from_slice(&[1, 0, 0]);
        let (_, decoded, left) = decode_request_prefix::<MetadataRequest>(frame.clone().freeze()).unwrap();
        assert_eq!((decoded, left), (MetadataRequest::default(), 3));
        assert!(decode_request::<MetadataRequest>(frame.clone().freeze()).is_err());
        frame.truncate(frame.len() - 4);
        assert!(decode_request_prefix::<MetadataRequest>(frame.freeze()).is_err());
    }

    /// kafka-protocol 0.18 reserves 64 GiB for this and aborts the process.
    #[test]
    fn the_eight_hostile_bytes_are_a_clean_error() {
        let frame = [&[0, 0, 0, 1][..], &[0, 0], &i32::MAX.to_be_bytes()].concat();
        let error = decode_response::<ApiVersionsRequest>(0, frame.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let frame = encode_response::<MetadataRequest>(&MetadataResponse::default(), 9, 1).unwrap();
        let mut frame = BytesMut::from(&frame[4..]);
        decode_response::<MetadataRequest>(9, frame.clone().freeze()).unwrap();
        frame.put_u8(0);
        assert!(decode_response::<MetadataRequest>(9, frame.freeze()).is_err());
    }
}
