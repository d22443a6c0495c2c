//! TLS over any stream.

use super::clock::NetClock;
use crate::connect::BoxStream;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::Clock;
use crate::tls::TlsConfig;
use crate::tls::failure::{cause, explain, refused};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection};
use std::io;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::TlsConnector;

/// What is read at once. rustls asks for 4 to 16 KB at a time, and a fetch is many records of 16 KB.
const READ_AHEAD: usize = 512 << 10;
/// What may be encrypted and not yet written.
const WRITE_AHEAD: usize = 256 << 10;

/// A client's TLS: its settings, and what they came to when the files were last read.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    clock: NetClock,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    stamps: Vec<Option<(SystemTime, u64)>>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Config`, naming the property.
    pub fn new(config: TlsConfig, clock: NetClock) -> Result<Self> {
        // Before they are read: what is changed in between is read again.
        let stamps = config.stamps();
        let built = Arc::new(config.build(Arc::new(Time(clock)))?);
        Ok(Self { config, clock, current: Mutex::new(Current { stamps, config: built }) })
    }

    /// The configuration, made anew if a file has changed. Certificates are replaced file by file, so one that does not go
    /// with the others yet is no reason to stop.
    fn current(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.config.stamps();
        if stamps != current.stamps {
            match self.config.build(Arc::new(Time(self.clock))) {
                Ok(config) => {
                    tracing::info!("certificates were read again");
                    *current = Current { stamps, config: Arc::new(config) };
                }
                Err(error) => tracing::warn!(%error, "changed certificates can't be used yet, the old ones serve on"),
            }
        }
        current.config.clone()
    }

    /// TLS on this stream, with who is called `host`.
    ///
    /// # Errors
    /// `Tls`, or `Connection` where another attempt may help.
    pub async fn handshake(self: &Arc<Self>, stream: BoxStream, host: &str) -> Result<BoxStream> {
        let tls = self.clone();
        let config = tokio::task::spawn_blocking(move || tls.current()).await;
        let config = config.map_err(|error| Error::new(ErrorKind::State).caused_by(error))?;
        // A name's last dot is the resolver's; no certificate has it.
        let name = host.strip_suffix('.').unwrap_or(host);
        // And a zone (`fe80::1%eth0`) is this machine's.
        let name = name
            .split_once('%')
            .filter(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
            .map_or(name, |(address, _)| address);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::with_message(ErrorKind::Config, format!("`{host}` can't be in a certificate")))?;
        let shows_one = config.client_auth_cert_resolver.has_certs();
        let stream = BufReader::with_capacity(READ_AHEAD, stream);
        let sized = |session: &mut ClientConnection| session.set_buffer_limit(Some(WRITE_AHEAD));
        match TlsConnector::from(config).connect_with(name, stream, sized).await {
            Ok(stream) => Ok(Box::new(Lenient { stream, shows_one })),
            Err(error) => Err(failed(error, host, shows_one)),
        }
    }
}

fn failed(error: io::Error, host: &str, shows_one: bool) -> Error {
    let told = match cause(&error) {
        Some(rustls::Error::InvalidMessage(_)) => Error::with_message(ErrorKind::Tls, "the peer does not speak TLS")
            .hint("a plaintext listener, or no Kafka at all: see security.protocol and the port"),
        Some(tls) => match refused(tls, shows_one).or_else(|| explain(tls, host)) {
            Some((sentence, hint)) => Error::with_message(ErrorKind::Tls, sentence).hint(hint),
            None => Error::with_message(ErrorKind::Connection, format!("TLS: {tls}")),
        },
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            let message = "the peer closed the connection in the TLS handshake";
            Error::with_message(ErrorKind::Connection, message)
                .hint("a plaintext listener spoken to in TLS does this: see security.protocol and the port")
        }
        None => Error::with_message(ErrorKind::Connection, format!("TLS: {error}")),
    };
    told.caused_by(error)
}

/// A peer that goes without a close_notify has gone all the same: frames say themselves whether they are whole. And one that
/// refuses our certificate says so behind the handshake, in TLS 1.3.
struct Lenient<S> {
    stream: S,
    shows_one: bool,
}

impl<S> Lenient<S> {
    fn explained(&self, error: io::Error) -> io::Error {
        match cause(&error).and_then(|tls| refused(tls, self.shows_one)) {
            Some((sentence, hint)) => {
                let told = Error::with_message(ErrorKind::Tls, sentence).hint(hint);
                io::Error::new(error.kind(), told.caused_by(error))
            }
            None => error,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer).map(|read| match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            read => read.map_err(|error| self.explained(error)),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The client's clock, for the dates in certificates.
#[derive(Debug)]
struct Time(NetClock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.unix_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
