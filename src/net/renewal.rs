//! Saying again who we are, before the broker's patience ends (KIP-368).
//!
//! What is under way is answered first, since a broker answers in order; from the first SASL request to the last answer nothing
//! else is sent. While the mechanism is still getting its token, requests go on, and if it gets none they go on as well, for as
//! long as the session lasts.

use super::clock::NetClock;
use super::connection::{Connection, Outgoing};
use super::security::authenticate;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::Clock;
use crate::machine::sasl::Authentication;
use crate::sasl::{SaslMechanism, SaslPeer};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Who we are, to whom.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub mechanism: Arc<dyn SaslMechanism>,
    pub host: Arc<str>,
    pub port: u16,
    pub clock: NetClock,
    /// How long it may take.
    pub timeout: Duration,
    /// For the time of the next one.
    pub random: fastrand::Rng,
}

impl Identity {
    /// To whom, now.
    pub(super) fn peer(&self) -> SaslPeer {
        SaslPeer::new(self.host.clone(), self.port, self.clock.unix_millis())
    }
}

/// When a connection says again who it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    /// With the first request from here on.
    pub due: Instant,
    /// From here on the broker takes no other request before.
    pub expires: Instant,
}

impl Renewal {
    /// From now on; `None` if the broker does not ask for it. The broker counts from when it answered, so a little is taken off.
    pub(super) fn new(authentication: &Authentication, random: f64) -> Option<Self> {
        let (now, wait) = (Instant::now(), authentication.again_after(random)?);
        Some(Self { due: now + wait, expires: now + authentication.lifetime()?.mul_f64(0.97).max(wait) })
    }

    /// A moment later.
    pub(super) fn postponed(self) -> Self {
        Self { due: Instant::now() + Duration::from_secs(1), ..self }
    }
}

/// One that is under way.
pub(super) struct Renewing {
    authentication: Pin<Box<dyn Future<Output = Result<Authentication>> + Send>>,
    /// Its own requests, past everybody else's.
    requests: mpsc::UnboundedReceiver<Outgoing>,
    has_begun: bool,
}

impl Renewing {
    /// `connection` is the same but for its queue, whose other end is `requests`. What was sent before has until `behind`.
    pub(super) fn new(
        identity: &Identity,
        connection: Connection,
        requests: mpsc::UnboundedReceiver<Outgoing>,
        behind: Option<Instant>,
    ) -> Self {
        let (peer, Identity { mechanism, timeout, .. }) = (identity.peer(), identity.clone());
        let authentication = Box::pin(async move {
            let now = Instant::now();
            let deadline = behind.unwrap_or(now).max(now) + timeout;
            let failed = |error: Error| {
                // Another connection says for good whether we are still welcome; what is in flight here only lost its own.
                let message = format!("could not authenticate again: {error}");
                Error::with_message(ErrorKind::Connection, message).caused_by(error)
            };
            match timeout_at(deadline, authenticate(&connection, &*mechanism, &peer, deadline)).await {
                Ok(done) => done.map_err(failed),
                Err(_) => Err(failed(Error::new(ErrorKind::Timeout))),
            }
        });
        Self { authentication, requests, has_begun: false }
    }

    /// Hands its requests to `take`. Ready when it has been done.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Outgoing),
    ) -> Poll<Result<Authentication>> {
        if let Poll::Ready(done) = self.authentication.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            self.has_begun = true;
            take(request);
        }
        Poll::Pending
    }

    /// Whether the broker has been asked, so that nothing else may be sent.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}
