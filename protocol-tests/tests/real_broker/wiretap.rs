//! TCP with a listener on it that knows the frames of Kafka's protocol: says which request is about to be sent, was sent
//! and was answered, and cuts the connection, or the process, where it is told to.

use crate::{client_config, connect_with};
use milena::broker::ApiKey;
use milena::client::Client;
use milena::connect::{BoxStream, Connect, Connecting};
use milena::net::tcp::Tcp;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing of it was written yet.
    Sending,
    /// The last byte is in the socket.
    Sent,
    /// The last byte of the answer is here; the client has not seen it.
    Answered,
}

/// What the listener says to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    GoOn,
    /// The connection is at its end, before anything else happens.
    Cut,
}

type Listener = Arc<dyn Fn(Moment, ApiKey) -> Say + Send + Sync>;

/// Makes the connections.
#[derive(Clone)]
pub(crate) struct Wiretap(Listener);

impl Wiretap {
    pub(crate) fn new(listener: impl Fn(Moment, ApiKey) -> Say + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// A client all of whose connections are listened to.
    pub(crate) async fn client(self) -> Client {
        connect_with(client_config().connect(self)).await
    }
}

impl fmt::Debug for Wiretap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiretap")
    }
}

impl Connect for Wiretap {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (stream, listener) = (Tcp.connect(host, port), self.0.clone());
        Box::pin(async move {
            let tapped = Tapped {
                stream: stream.await?,
                listener,
                out: Frames::new(12),
                back: Frames::new(8),
                asked: HashMap::new(),
                is_cut: false,
            };
            Ok(Box::new(tapped) as BoxStream)
        })
    }
}

struct Tapped {
    stream: BoxStream,
    listener: Listener,
    out: Frames,
    back: Frames,
    asked: HashMap<i32, ApiKey>,
    is_cut: bool,
}

impl Tapped {
    fn say(&mut self, moment: Moment, api: Option<ApiKey>) -> io::Result<()> {
        self.is_cut |= api.is_some_and(|api| (self.listener)(moment, api) == Say::Cut);
        if self.is_cut { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        for head in self.out.clone().take(bytes).begun {
            self.say(Moment::Sending, api(&head))?;
        }
        self.say(Moment::Sending, None)?; // of those cut before
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        for head in self.out.take(&bytes[..written]).ended {
            let correlation_id = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            if let Some(api) = api(&head) {
                self.asked.insert(correlation_id, api);
                self.say(Moment::Sent, Some(api))?;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.say(Moment::Answered, None)?;
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        for head in self.back.take(&into.filled()[before..]).ended {
            let correlation_id = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            let api = self.asked.remove(&correlation_id);
            self.say(Moment::Answered, api)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn api(head: &[u8]) -> Option<ApiKey> {
    let key = i16::from_be_bytes([head[4], head[5]]);
    ApiKey::from_wire(key)
}

/// Finds the frames in one direction of a stream.
#[derive(Debug, Clone)]
struct Frames {
    /// The first bytes of the frame under way, length included.
    head: Vec<u8>,
    /// How many of them are wanted.
    wanted: usize,
    /// Bytes of the frame that are still to come, once its head is there.
    left: usize,
}

/// Heads of the frames whose head, and whose last byte, was among the bytes.
#[derive(Debug, Default)]
struct Found {
    begun: Vec<Vec<u8>>,
    ended: Vec<Vec<u8>>,
}

impl Frames {
    fn new(wanted: usize) -> Self {
        Self { head: Vec::new(), wanted, left: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Found {
        let mut found = Found::default();
        while !bytes.is_empty() {
            if self.head.len() < self.wanted {
                let (head, rest) = bytes.split_at(bytes.len().min(self.wanted - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if self.head.len() < self.wanted {
                    break;
                }
                let length = u32::from_be_bytes([self.head[0], self.head[1], self.head[2], self.head[3]]);
                self.left = length as usize + 4 - self.wanted;
                found.begun.push(self.head.clone());
            }
            let here = bytes.len().min(self.left);
            bytes = &bytes[here..];
            self.left -= here;
            if self.left == 0 {
                found.ended.push(std::mem::take(&mut self.head));
            }
        }
        found
    }
}

#[test]
fn frames_are_found_however_the_bytes_are_cut() {
    let frame = |key: i16, correlation_id: i32, rest: usize| {
        let length = 8 + rest as i32;
        let head = [&length.to_be_bytes()[..], &key.to_be_bytes(), &[0, 0], &correlation_id.to_be_bytes()].concat();
        [head, vec![9; rest]].concat()
    };
    let bytes = [frame(26, 1, 0), frame(0, 2, 40), frame(28, 3, 5)].concat();
    for cut in 1..bytes.len() {
        let mut frames = Frames::new(12);
        let found: Vec<Found> = bytes.chunks(cut).map(|bytes| frames.take(bytes)).collect();
        let apis = |heads: fn(&Found) -> &Vec<Vec<u8>>| {
            found.iter().flat_map(heads).filter_map(|head| api(head)).collect::<Vec<_>>()
        };
        let all = [ApiKey::EndTxn, ApiKey::Produce, ApiKey::TxnOffsetCommit];
        assert_eq!(
            (apis(|found| &found.begun), apis(|found| &found.ended)),
            (all.to_vec(), all.to_vec()),
            "cut at {cut}"
        );
    }
}
