//! What stands between a byte stream and the first request: TLS, and who we are.

use super::clock::NetClock;
use super::connection::Connection;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::connect::BoxStream;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::sasl::Authentication;
use crate::sasl::{SaslMechanism, SaslPeer};
use crate::wire::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use std::sync::Arc;
use tokio::time::Instant;

/// How connections are secured; the default is not at all.
#[derive(Debug, Clone, Default)]
pub struct Security {
    #[cfg(feature = "tls")]
    tls: Option<Arc<Tls>>,
    /// Who we are; `None`: nobody asks.
    pub sasl: Option<Arc<dyn SaslMechanism>>,
    /// For what is signed or has a lifetime.
    pub clock: NetClock,
}

impl Security {
    /// Without TLS.
    pub fn new(sasl: Option<Arc<dyn SaslMechanism>>, clock: NetClock) -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: None,
            sasl,
            clock,
        }
    }

    /// Reads what TLS needs from files.
    ///
    /// # Errors
    /// `Config`, naming the property.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, config: crate::tls::TlsConfig) -> Result<Self> {
        self.tls = Some(Arc::new(Tls::new(config, self.clock)?));
        Ok(self)
    }

    /// `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (self.has_tls(), self.sasl.is_some()) {
            (false, false) => "PLAINTEXT",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (true, true) => "SASL_SSL",
        }
    }

    fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// The stream, encrypted if that is wanted.
    ///
    /// # Errors
    /// `Tls`, or `Connection` where another attempt may help. Dropping the future gives the handshake up.
    pub async fn secure(&self, stream: BoxStream, host: &str) -> Result<BoxStream> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.handshake(stream, host).await;
        }
        let _ = host;
        Ok(stream)
    }
}

/// Says who we are, on a connection that nobody else uses meanwhile.
///
/// # Errors
/// `Denied` in the broker's words, or the mechanism's own.
pub async fn authenticate(
    connection: &Connection,
    mechanism: &dyn SaslMechanism,
    peer: &SaslPeer,
    deadline: Instant,
) -> Result<Authentication> {
    exchange(connection, mechanism, peer, deadline).await.map_err(|error| connection.place(error))
}

async fn exchange(
    connection: &Connection,
    mechanism: &dyn SaslMechanism,
    peer: &SaslPeer,
    deadline: Instant,
) -> Result<Authentication> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut authentication = Authentication::default();
    let (mut message, mut session) = mechanism.start(peer).await?;
    let versions = connection.versions();
    let handshake = authentication.handshake(mechanism.name());
    // v0 would be followed by bare tokens instead of SaslAuthenticate: brokers before 1.0.
    let version = versions.pick_in::<SaslHandshakeRequest>(1..=1)?;
    let answer = connection.call(&handshake, version, left()).await?;
    authentication.handle_handshake(mechanism.name(), &answer)?;
    let version = versions.pick::<SaslAuthenticateRequest>()?;
    loop {
        let answer = connection.call(&authentication.request(&message)?, version, left()).await?;
        let challenge = authentication.handle_response(answer).map_err(|error| session.refused(error))?;
        let answering = tokio::task::spawn_blocking(move || {
            let next = session.challenge(&challenge);
            (session, next)
        });
        let (back, next) = answering
            .await
            .map_err(|error| Error::with_message(ErrorKind::State, "the SASL mechanism panicked").caused_by(error))?;
        session = back;
        match next? {
            Some(next) => message = next,
            None => return Ok(authentication),
        }
    }
}
