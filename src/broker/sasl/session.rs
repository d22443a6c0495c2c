//! How far one connection has come in saying who it is, and what it may ask meanwhile.
//!
//! - First ApiVersions, if the client likes, then SaslHandshake, then tokens. Another ApiVersions or any other request ends the
//!   connection; in the middle of the tokens it is answered `ILLEGAL_SASL_STATE` before, after the delay.
//! - A session that ends (KIP-368) can begin anew by a SaslHandshake, be it too late, but not within a second after the last time:
//!   then it is out of place. Mechanism and principal have to be the same; one that is not enabled is not even answered. A request behind the end that is no SaslHandshake ends
//!   the connection.

use super::{Exchange, Failure, Mechanism, Step};
use crate::broker::security::AuthenticationCount;
use crate::broker::state::Refusal;
use crate::broker::{ANONYMOUS, ApiKey, Context};
use crate::error::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// `sasl.server.max.receive.size`: the largest frame of who has not said who it is.
const MAX_UNAUTHENTICATED: usize = 512 << 10;

/// A connection authenticates itself not more often than this.
const MIN_REAUTHENTICATION_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Phase {
    /// Nothing has been said.
    Start,
    /// The client knows what there is.
    VersionsTold,
    /// A session is to begin anew.
    Again,
    /// Tokens come, as requests or bare.
    Tokens { mechanism: Mechanism, exchange: Exchange, framed: bool },
    /// The handshake was for another mechanism than before: what comes next ends the connection.
    OtherMechanism,
    /// Everything may be asked.
    Done,
    /// The connection ends with the next answer.
    Failed,
    /// It ends without.
    Gone,
}

/// What becomes of a request, by what has been before it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::broker) enum Admission {
    Serve,
    /// Answered with this, later; then the connection ends.
    Refuse(ErrorCode),
    /// Not answered: the connection ends later.
    Fail,
    /// The connection ends.
    Close,
}

/// What a token is answered with.
#[derive(Debug)]
pub(in crate::broker) struct Answered {
    pub(super) token: Vec<u8>,
    /// How long the session lasts; 0 as long as it is none, or for ever.
    pub(super) lifetime_ms: i64,
}

/// Of one connection.
#[derive(Debug)]
pub(in crate::broker) struct Session {
    phase: Phase,
    /// `User:name`.
    principal: Arc<str>,
    /// By which it has authenticated itself.
    mechanism: Option<Mechanism>,
    expires: Option<Instant>,
    began_again: Option<Instant>,
}

impl Session {
    /// Of who is asked nothing.
    pub(in crate::broker) fn open(principal: Arc<str>) -> Self {
        Self { phase: Phase::Done, principal, mechanism: None, expires: None, began_again: None }
    }

    pub(in crate::broker) fn unauthenticated() -> Self {
        Self { phase: Phase::Start, ..Self::open(ANONYMOUS.into()) }
    }

    /// `User:name`; nobody in particular before it has said.
    pub(in crate::broker) fn principal(&self) -> Arc<str> {
        Arc::clone(&self.principal)
    }

    /// The largest frame that it may send now.
    pub(in crate::broker) fn frame_limit(&self, authenticated: usize) -> usize {
        if matches!(self.phase, Phase::Done) { authenticated } else { MAX_UNAUTHENTICATED }
    }

    /// Whether the next frame is a bare token.
    pub(in crate::broker) fn awaits_bare_token(&self) -> bool {
        matches!(self.phase, Phase::Tokens { framed: false, .. })
    }

    /// Whether the connection ends, and whether by an answer.
    pub(in crate::broker) fn ends(&self) -> Option<bool> {
        match self.phase {
            Phase::Failed => Some(true),
            Phase::Gone => Some(false),
            _ => None,
        }
    }

    /// Looks at a request before it is served.
    pub(in crate::broker) fn admit(
        &mut self,
        api: ApiKey,
        now: Instant,
        counts: &mut AuthenticationCount,
    ) -> Admission {
        let admission = match (&self.phase, api) {
            (Phase::Start | Phase::VersionsTold | Phase::Again, ApiKey::SaslHandshake) => Admission::Serve,
            (Phase::Start, ApiKey::ApiVersions) => Admission::Serve,
            (Phase::Tokens { .. }, ApiKey::SaslAuthenticate) => Admission::Serve,
            (Phase::Tokens { .. }, _) => Admission::Refuse(ErrorCode::IllegalSaslState),
            (Phase::Done, ApiKey::SaslHandshake) if self.may_begin_again(now) => {
                self.began_again = Some(now);
                self.phase = Phase::Again;
                Admission::Serve
            }
            (Phase::Done, _) if self.expires.is_some_and(|expires| now > expires) => {
                counts.expired += 1;
                Admission::Close
            }
            (Phase::Done, _) => Admission::Serve,
            (Phase::OtherMechanism, _) => Admission::Fail,
            (Phase::Start | Phase::VersionsTold | Phase::Again | Phase::Failed | Phase::Gone, _) => Admission::Close,
        };
        if matches!(admission, Admission::Refuse(_) | Admission::Fail) {
            self.fail(counts);
        }
        admission
    }

    fn may_begin_again(&self, now: Instant) -> bool {
        let soon = |began: Instant| now.saturating_duration_since(began) < MIN_REAUTHENTICATION_INTERVAL;
        self.expires.is_some() && !self.began_again.is_some_and(soon)
    }

    fn fail(&mut self, counts: &mut AuthenticationCount) {
        let count = if self.mechanism.is_some() { &mut counts.reauthentications_failed } else { &mut counts.failed };
        *count += 1;
        self.phase = Phase::Failed;
    }

    /// ApiVersions has been answered.
    pub(in crate::broker) fn versions_told(&mut self) {
        if matches!(self.phase, Phase::Start) {
            self.phase = Phase::VersionsTold;
        }
    }

    /// Agrees to the mechanism asked for.
    pub(super) fn handshake(
        &mut self,
        asked: &str,
        framed: bool,
        enabled: &[Mechanism],
        counts: &mut AuthenticationCount,
    ) -> Result<(), ErrorCode> {
        if !matches!(self.phase, Phase::Start | Phase::VersionsTold | Phase::Again) {
            return Err(ErrorCode::IllegalSaslState);
        }
        let Some(mechanism) = enabled.iter().copied().find(|mechanism| mechanism.name() == asked) else {
            self.fail(counts);
            if self.mechanism.is_some() {
                self.phase = Phase::Gone; // so Kafka 4.3.1, which has an answer and does not send it
            }
            return Err(ErrorCode::UnsupportedSaslMechanism);
        };
        self.phase = if self.mechanism.is_some_and(|before| before != mechanism) {
            Phase::OtherMechanism
        } else {
            Phase::Tokens { mechanism, exchange: mechanism.exchange(), framed }
        };
        Ok(())
    }

    /// Takes a token.
    pub(in crate::broker) fn authenticate(&mut self, on: &Context, token: &[u8]) -> Result<Answered, Refusal> {
        let Phase::Tokens { mechanism, exchange, .. } = &mut self.phase else {
            let why = "SaslAuthenticate request received after successful authentication";
            return Err((ErrorCode::IllegalSaslState, why.to_owned()));
        };
        let mechanism = *mechanism;
        let stepped = exchange.step(on, token);
        let mut counts = on.shared.security.counts();
        let failure = match stepped {
            Ok(Step::Challenge(token)) => return Ok(Answered { token, lifetime_ms: 0 }),
            Ok(Step::Done { answer, user, expires_at_ms }) => {
                let principal = format!("User:{user}");
                if self.mechanism.is_none() || *self.principal == *principal {
                    let lifetime = self.begin(on, mechanism, principal, expires_at_ms, &mut counts);
                    return Ok(Answered { token: answer, lifetime_ms: lifetime });
                }
                let (before, now) = (self.principal.replacen(':', ".", 1), principal.replacen(':', ".", 1));
                Failure::Told(format!("Cannot change principals during re-authentication from {before}: {now}"))
            }
            Err(failure) => failure,
        };
        let why = match failure {
            Failure::Told(why) => why,
            Failure::Untold => {
                let again = if self.mechanism.is_some() { "re-authentication" } else { "authentication" };
                let name = mechanism.name();
                format!("Authentication failed during {again} due to invalid credentials with SASL mechanism {name}")
            }
        };
        self.fail(&mut counts);
        Err((ErrorCode::SaslAuthenticationFailed, why))
    }

    /// Lets the session begin; gives how long it lasts.
    fn begin(
        &mut self,
        on: &Context,
        mechanism: Mechanism,
        principal: String,
        expires_at_ms: Option<i64>,
        counts: &mut AuthenticationCount,
    ) -> i64 {
        let count = if self.mechanism.is_some() { &mut counts.reauthenticated } else { &mut counts.succeeded };
        *count += 1;
        let limit = on.shared.security.sasl.max_reauth;
        let limit = (!limit.is_zero()).then(|| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        let left = expires_at_ms.map(|at| at.saturating_sub(on.unix_millis()).max(0));
        let lifetime = limit.into_iter().chain(left).min();
        self.expires = lifetime.and_then(|ms| on.now().checked_add(Duration::from_millis(ms.unsigned_abs())));
        self.mechanism = Some(mechanism);
        self.principal = principal.into();
        self.phase = Phase::Done;
        lifetime.unwrap_or(0)
    }
}
