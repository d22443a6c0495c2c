//! Connections that break: each at a byte drawn from a seed, in one direction or the other. What comes before that byte
//! arrives, what comes after it doesn't, and both sides find the connection closed.

use milena::connect::{BoxStream, Connect, Connecting};
use protocol_tests::random::Random;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TCP whose connections break.
#[derive(Debug, Clone)]
pub(super) struct Breaking {
    random: Arc<Mutex<Random>>,
    broken: Arc<AtomicU64>,
}

impl Breaking {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(Random::new(seed))), broken: Arc::default() }
    }

    /// How many connections were cut.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Connect for Breaking {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (address, broken) = (format!("{host}:{port}"), self.broken.clone());
        let mut random = self.random.lock().expect("no holder panics");
        // Some in the first requests, some after a while, some never; much is written and little read.
        let far = |random: &mut Random| random.pick(&[2_000, 50_000, 500_000, 5_000_000, u64::MAX - 1]);
        let (read, write) = (far(&mut random) / 10, far(&mut random));
        let left = [random.below(read) + 1, random.below(write) + 1];
        drop(random);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(Cut { stream: Some(stream), left, broken }) as BoxStream)
        })
    }
}

const READ: usize = 0;
const WRITE: usize = 1;

struct Cut {
    stream: Option<TcpStream>,
    /// Bytes until the end, in each direction.
    left: [u64; 2],
    broken: Arc<AtomicU64>,
}

impl Cut {
    /// The stream, and how many bytes may pass; none any more once the end was reached.
    fn open(&mut self, direction: usize) -> io::Result<(Pin<&mut TcpStream>, usize)> {
        if self.left[direction] == 0 && self.stream.take().is_some() {
            self.broken.fetch_add(1, Ordering::Relaxed);
        }
        let left = usize::try_from(self.left[direction]).unwrap_or(usize::MAX);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::ConnectionReset)?;
        Ok((Pin::new(stream), left))
    }
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (stream, left) = self.open(READ)?;
        let mut part = buf.take(left.min(buf.remaining()));
        ready!(stream.poll_read(cx, &mut part))?;
        let read = part.filled().to_vec();
        buf.put_slice(&read);
        self.left[READ] -= read.len() as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (stream, left) = self.open(WRITE)?;
        let written = ready!(stream.poll_write(cx, &buf[..buf.len().min(left)]))?;
        self.left[WRITE] -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open(WRITE)?.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open(WRITE)?.0.poll_shutdown(cx)
    }
}
