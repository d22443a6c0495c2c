//! The network between one client and the cluster, which can be broken.

use milena::connect::{BoxStream, Connect, Connecting};
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const WORKS: u8 = 0;
/// What is written vanishes, nothing arrives: as when a cable is pulled.
const SILENT: u8 = 1;
/// Every connection is closed, and none is made: as when the process has died.
const CUT: u8 = 2;

/// Connects by way of another, for as long as it works.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    inner: Arc<dyn Connect>,
    state: Arc<AtomicU8>,
}

impl Network {
    pub(crate) fn new(inner: Arc<dyn Connect>) -> Self {
        Self { inner, state: Arc::default() }
    }

    pub(crate) fn fall_silent(&self) {
        self.state.store(SILENT, Ordering::Relaxed);
    }

    pub(crate) fn mend(&self) {
        self.state.store(WORKS, Ordering::Relaxed);
    }

    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::Relaxed);
    }
}

impl Connect for Network {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (connecting, state) = (self.inner.connect(host, port), self.state.clone());
        Box::pin(async move {
            match state.load(Ordering::Relaxed) {
                CUT => return Err(io::ErrorKind::ConnectionRefused.into()),
                SILENT => pending().await,
                _ => {}
            }
            Ok(Box::new(Wire { stream: connecting.await?, state }) as BoxStream)
        })
    }
}

struct Wire {
    stream: BoxStream,
    state: Arc<AtomicU8>,
}

impl Wire {
    /// The stream, if it works; `None` in silence.
    fn stream(&mut self) -> io::Result<Option<Pin<&mut BoxStream>>> {
        match self.state.load(Ordering::Relaxed) {
            CUT => Err(io::ErrorKind::ConnectionReset.into()),
            SILENT => Ok(None),
            _ => Ok(Some(Pin::new(&mut self.stream))),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.stream()? {
            None => Poll::Pending,
            Some(stream) => stream.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.stream()? {
            None => Poll::Ready(Ok(buf.len())),
            Some(stream) => stream.poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream()? {
            None => Poll::Ready(Ok(())),
            Some(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
