//! One request over HTTP/1.1, plain or over TLS: for token endpoints and Schema Registries. No proxy, no redirect, no connection
//! that is kept: of tokens there is one an hour, and what a registry says is asked once.

mod endpoint;
mod explained;

pub use endpoint::Endpoint;
pub use explained::explained;
#[cfg(feature = "schema-registry")]
pub use explained::without;
pub use hyper::Method;

use super::clock::{NetClock, deadline};
use super::tcp::Tcp;
use super::tls::Tls;
use crate::connect::{BoxStream, Connect};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::tls::TlsConfig;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::sync::OnceCell;
use tokio::time::timeout_at;
use zeroize::Zeroizing;

/// No answer is longer, unless [`Http::max_body`] says so.
pub const MAX_BODY: usize = 1 << 20;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// GET, POST, ….
    pub method: Method,
    /// `Authorization`, if any.
    pub authorization: Option<Secret>,
    /// Other headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body; empty for none.
    pub body: Secret,
}

/// What comes back.
#[derive(Clone, Default)]
pub struct Answer {
    /// 200, if it went well.
    pub status: u16,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// At most [`Http::max_body`].
    pub body: Zeroizing<Vec<u8>>,
}

/// No server is left alone for longer, whatever it asks for.
const LATEST: Duration = Duration::from_secs(300);

/// For how long not to ask again, as the server wants it: seconds, or a date (RFC 9110, section 10.2.3).
pub fn retry_after(value: &str, unix_millis: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds).min(LATEST));
    }
    let then = httpdate::parse_http_date(value.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(unix_millis).ok()?);
    Some(then.saturating_sub(now).min(LATEST))
}

/// Its body is a secret, if it went well.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// How endpoints are reached.
#[derive(Debug)]
pub struct Http {
    /// Makes the streams.
    pub connect: Arc<dyn Connect>,
    /// For `https:`. Files are read when the first such endpoint is asked, and again when they have changed.
    pub tls: TlsConfig,
    /// Of one attempt: to be connected, TLS included.
    pub connect_timeout: Duration,
    /// Of one attempt: to have the whole answer, from then on.
    pub read_timeout: Duration,
    /// The longest answer.
    pub max_body: usize,
    ready: OnceCell<Arc<Tls>>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connect: Arc::new(Tcp),
            tls: TlsConfig::default(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            max_body: MAX_BODY,
            ready: OnceCell::new(),
        }
    }
}

impl Http {
    /// Asks, and waits for all of the answer; not beyond `end`. A drop closes the connection.
    ///
    /// # Errors
    /// `Connection` or `Timeout` where another attempt may help; `Tls`, `Config`; `Malformed` for what is no HTTP. What has no connection
    /// is `NotSent`.
    pub async fn ask(&self, endpoint: &Endpoint, message: &Message, end: Instant) -> Result<Answer> {
        let late = |what| move |_| Error::with_message(ErrorKind::Timeout, what);
        let connected = timeout_at(deadline(self.connect_timeout).min(end).into(), self.open(endpoint)).await;
        let connected = connected.map_err(late("no connection in time")).flatten();
        let stream = connected.map_err(|error| error.certainty(Certainty::NotSent))?;
        let answered =
            timeout_at(deadline(self.read_timeout).min(end).into(), exchange(stream, endpoint, message, self.max_body))
                .await;
        answered.map_err(late("no answer in time"))?
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<BoxStream> {
        let host = endpoint.host.trim_matches(['[', ']']);
        let stream = self.connect.connect(host, endpoint.port).await.map_err(|error| {
            Error::with_message(ErrorKind::Connection, format!("can't connect: {error}")).caused_by(error)
        })?;
        if !endpoint.tls {
            return Ok(stream);
        }
        let tls = self.ready.get_or_try_init(|| async {
            let config = self.tls.clone();
            let built = tokio::task::spawn_blocking(move || Tls::new(config, NetClock::System)).await;
            built.map_err(|error| Error::new(ErrorKind::State).caused_by(error))?.map(Arc::new)
        });
        tls.await?.handshake(stream, host).await
    }
}

async fn exchange(stream: BoxStream, endpoint: &Endpoint, message: &Message, max_body: usize) -> Result<Answer> {
    let request = request(endpoint, message)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok().map(str::to_owned));
        let body = Limited::new(response.into_body(), max_body).collect().await;
        let body = body.map_err(|error| cut_off(error, max_body))?;
        Ok(Answer { status, retry_after, body: Zeroizing::new(body.to_bytes().to_vec()) })
    });
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = &mut connection => {} // what went wrong with it is told to the request as well
    }
    answer.await
}

fn request(endpoint: &Endpoint, message: &Message) -> Result<Request<Full<Bytes>>> {
    let mut builder = Request::builder().method(&message.method).uri(&endpoint.path).header(HOST, &endpoint.authority);
    for (name, value) in message.headers {
        builder = builder.header(*name, *value);
    }
    let wrong = |error: &dyn StdError| Error::with_message(ErrorKind::Config, format!("can't be sent: {error}"));
    if let Some(authorization) = &message.authorization {
        let mut value = HeaderValue::from_str(authorization.expose()).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    builder.body(Full::new(Bytes::copy_from_slice(message.body.expose().as_bytes()))).map_err(|error| wrong(&error))
}

fn failed(error: hyper::Error) -> Error {
    if error.is_parse() {
        return Error::with_message(ErrorKind::Malformed, "what answers there does not speak HTTP/1.1")
            .caused_by(error);
    }
    Error::with_message(ErrorKind::Connection, format!("the connection broke: {error}")).caused_by(error)
}

fn cut_off(error: Box<dyn StdError + Send + Sync>, max_body: usize) -> Error {
    match error.downcast::<hyper::Error>() {
        Ok(error) => failed(*error),
        Err(_) => {
            Error::with_message(ErrorKind::Malformed, format!("the answer is longer than {} MiB", max_body >> 20))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn a_server_says_when_to_come_back_in_seconds_or_by_a_date() {
        for (value, expected) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("99999999999999", Some(300)),
            ("Wed, 13 Nov 2024 22:14:20 GMT", Some(300)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
            ("Tue, 14 Nov 2023 22:13:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(value, NOW), expected.map(Duration::from_secs), "{value}");
        }
    }
}
