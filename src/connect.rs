//! How a byte stream to a broker is made: over TCP, or in memory for tests. The only thing that the client and the
//! test broker both know of a connection.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// Both directions of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A stream of any kind.
pub type BoxStream = Box<dyn Stream>;

/// What [`Connect::connect`] gives.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send>>;

/// Makes connections. Implement it to reach brokers through a proxy, or over something that is not TCP.
pub trait Connect: Send + Sync + fmt::Debug + 'static {
    /// Opens a stream to `host:port`. Dropping the future gives the attempt up.
    fn connect(&self, host: &str, port: u16) -> Connecting;
}

impl<T: Connect + ?Sized> Connect for Arc<T> {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        (**self).connect(host, port)
    }
}
