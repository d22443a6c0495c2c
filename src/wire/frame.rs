//! Frames: a length of four bytes, then that many bytes.

use crate::error::{Error, ErrorKind, Result};
use bytes::{Buf, Bytes, BytesMut};

/// No frame that a client reads or a broker takes is larger, whatever is configured: the wire's own limit is 2 GiB.
pub const MAX_FRAME: usize = 1 << 30;

/// The length that the first four bytes announce; `None` while there are not four.
pub fn frame_length(buffer: &[u8], limit: usize) -> Result<Option<usize>> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(Some(length)),
        Ok(length) => Err(refuse(format!("a frame of {length} bytes, the limit is {limit}"), *prefix)),
        Err(_) => Err(refuse(format!("a frame of {length} bytes"), *prefix)),
    }
}

/// Takes the first whole frame out of `buffer`, without its length; `None` while it has not arrived whole.
pub fn take_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>> {
    let Some(length) = frame_length(buffer, limit)? else { return Ok(None) };
    if buffer.len().saturating_sub(4) < length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

fn refuse(message: String, prefix: [u8; 4]) -> Error {
    let error = Error::with_message(ErrorKind::Malformed, message);
    match prefix {
        [0x15 | 0x16, 3, ..] => error.hint("this looks like TLS: is the listener an SSL one, spoken to in plaintext?"),
        [b'H', b'T', b'T', b'P'] => error.hint("this is an HTTP server, not a Kafka broker"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7][..]);
        assert_eq!(take_frame(&mut buffer, 10).unwrap(), None);
        buffer.extend_from_slice(&[8, 0, 0]);
        assert_eq!(take_frame(&mut buffer, 10).unwrap().as_deref(), Some(&[7, 8][..]));
        assert_eq!(&buffer[..], [0, 0]);
    }

    #[test]
    fn a_negative_or_huge_length_is_refused_before_anything_is_reserved() {
        for prefix in [[0x80, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff], [0xff; 4]] {
            assert_eq!(frame_length(&prefix, MAX_FRAME).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn a_tls_alert_is_named() {
        let error = frame_length(&[0x15, 3, 3, 0], 100).unwrap_err();
        assert!(error.to_string().contains("TLS"), "{error}");
    }
}
