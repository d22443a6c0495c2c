//! Frames out of a byte stream. A small one is cut from the common buffer; a large one (a Fetch answer) is read into a
//! buffer of its own length, which is used again once nobody looks at it any more: no page faults, no zeroing.

use crate::error::{Error, ErrorKind, Result};
use crate::wire::frame::frame_length;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::{future::Future, io};
use tokio::io::{AsyncRead, AsyncReadExt};

const READ: usize = 4 << 10;
const LARGE: usize = 16 << 10;
const LENT_BUFFERS: usize = 8;

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    input: BytesMut,
    /// A large frame that has not arrived whole, and its length.
    large: Option<(BytesMut, usize)>,
    /// One reference to each large buffer given out: the last one, when it comes back.
    lent: VecDeque<Bytes>,
    received: u64,
}

impl FrameReader {
    /// Refuses frames longer than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, input: BytesMut::new(), large: None, lent: VecDeque::new(), received: 0 }
    }

    /// Refuses frames longer than this from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Bytes read so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What has arrived and is no frame yet.
    pub fn buffered(&self) -> &[u8] {
        &self.input
    }

    /// The next frame without its length; `None` at the end of the stream between two frames.
    pub fn poll_frame<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<Option<Bytes>>> {
        loop {
            if let Some((buffer, length)) = &mut self.large {
                if buffer.len() == *length {
                    let Some((buffer, _)) = self.large.take() else { continue };
                    let frame = buffer.freeze();
                    self.lent.push_back(frame.clone());
                    return Poll::Ready(Ok(Some(frame)));
                }
                let missing = *length - buffer.len();
                let read = ready!(poll_read(stream, cx, &mut buffer.limit(missing)))?;
                if read == 0 {
                    return Poll::Ready(Err(cut_off()));
                }
                self.received += read as u64;
                continue;
            }
            let length = match frame_length(&self.input, self.limit) {
                Ok(length) => length,
                Err(error) => return Poll::Ready(Err(error)),
            };
            match length {
                Some(length) if self.input.len() - 4 >= length => {
                    self.input.advance(4);
                    return Poll::Ready(Ok(Some(self.input.split_to(length).freeze())));
                }
                Some(length) if length > LARGE => {
                    self.input.advance(4);
                    let mut buffer = self.buffer(length);
                    buffer.put_slice(&self.input);
                    self.input.clear();
                    self.large = Some((buffer, length));
                    continue;
                }
                _ => {}
            }
            self.input.reserve(length.map_or(READ, |length| length + 4).max(READ));
            let room = READ.max(length.map_or(0, |length| length + 4 - self.input.len()));
            let read = ready!(poll_read(stream, cx, &mut (&mut self.input).limit(room)))?;
            if read == 0 {
                return Poll::Ready(if self.input.is_empty() { Ok(None) } else { Err(cut_off()) });
            }
            self.received += read as u64;
        }
    }

    /// A buffer that nobody looks at any more, or a new one. A length off the wire sizes this allocation, but it is
    /// below the limit, and the pages are touched only as bytes arrive.
    fn buffer(&mut self, length: usize) -> BytesMut {
        for _ in 0..self.lent.len() {
            match self.lent.pop_front().map(Bytes::try_into_mut) {
                Some(Ok(mut buffer)) => {
                    buffer.clear();
                    if buffer.capacity() >= length {
                        return buffer;
                    }
                }
                Some(Err(lent)) => self.lent.push_back(lent),
                None => break,
            }
        }
        self.lent.truncate(LENT_BUFFERS); // an application that keeps slices keeps them; we need not remember
        BytesMut::with_capacity(length.next_power_of_two())
    }
}

fn cut_off() -> Error {
    Error::with_message(ErrorKind::Connection, "the peer closed the connection in the middle of an answer")
}

/// `read_buf` holds nothing between polls, so a future made anew for each poll will do: reads into spare capacity,
/// unzeroed, without unsafe code.
fn poll_read<S: AsyncRead + Unpin, B: BufMut>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut B,
) -> Poll<Result<usize>> {
    pin!(stream.read_buf(buffer)).poll(cx).map_err(|error| broken(&error))
}

/// What an I/O error says about a connection. A stream that knows better (TLS) has put an error of ours into it.
pub fn broken(error: &io::Error) -> Error {
    if let Some(known) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return known.clone();
    }
    let what = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the peer closed the connection",
        _ => return Error::with_message(ErrorKind::Connection, error.to_string()),
    };
    Error::with_message(ErrorKind::Connection, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.extend((0..length).map(|i| i as u8));
        frame
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_back_whole_however_the_stream_is_cut() {
        for chunk in [1, 3, 4096, 1 << 20] {
            let lengths = [0, 1, 4092, 4096, LARGE, LARGE + 1, 100_000, 5, 300_000, 0];
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
            let (mut peer, mut stream) = tokio::io::duplex(chunk);
            let writer = tokio::spawn(async move { peer.write_all(&bytes).await });
            let mut reader = FrameReader::new(1 << 20);
            for length in lengths {
                let got = poll_fn(|cx| reader.poll_frame(cx, &mut stream)).await.unwrap().unwrap();
                assert_eq!(got, frame(length)[4..], "{length} in chunks of {chunk}");
            }
            writer.await.unwrap().unwrap();
            assert!(poll_fn(|cx| reader.poll_frame(cx, &mut stream)).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_large_buffer_is_used_again_once_it_is_given_back_and_not_before() {
        let (mut peer, mut stream) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(1 << 20);
        let mut next = async |reader: &mut FrameReader| {
            peer.write_all(&frame(50_000)).await.unwrap();
            poll_fn(|cx| reader.poll_frame(cx, &mut stream)).await.unwrap().unwrap()
        };
        let first = next(&mut reader).await;
        let second = next(&mut reader).await;
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert_eq!(first, frame(50_000)[4..], "a buffer that is looked at is never written");
        let at = first.as_ptr();
        drop(first);
        assert_eq!(next(&mut reader).await.as_ptr(), at);
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_frame_is_an_error_and_between_frames_it_is_the_end() {
        let (mut peer, mut stream) = tokio::io::duplex(1 << 20);
        peer.write_all(&frame(20_000)[..10_000]).await.unwrap();
        drop(peer);
        let mut reader = FrameReader::new(1 << 20);
        assert!(poll_fn(|cx| reader.poll_frame(cx, &mut stream)).await.is_err());
    }
}
