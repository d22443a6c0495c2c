//! SaslHandshake, then SaslAuthenticate as often as the mechanism has something to say, on a new connection and again on an old
//! one (KIP-43, KIP-152, KIP-368).

use crate::error::{Error, ErrorCode, ErrorKind, Result, shown};
use crate::wire::StrBytes;
use crate::wire::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use bytes::Bytes;
use std::time::Duration;

/// No mechanism has so many messages: a broker that goes on would keep us for ever.
const MAX_ROUNDS: u32 = 100;

/// No more than this of a broker's words goes into an error.
const WORDS: usize = 1_000;

/// A broker takes no second authentication within a second of the first.
const SOONEST: Duration = Duration::from_millis(1100);

/// One authentication.
#[derive(Debug, Default)]
pub struct Authentication {
    rounds: u32,
    lifetime: Option<Duration>,
}

impl Authentication {
    /// The first request.
    pub fn handshake(&self, mechanism: &str) -> SaslHandshakeRequest {
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_string(mechanism.to_owned()))
    }

    /// Whether the broker has the mechanism.
    ///
    /// # Errors
    /// `Denied`, with the mechanisms that there are; or what else the broker said.
    pub fn handle_handshake(&self, mechanism: &str, response: &SaslHandshakeResponse) -> Result<()> {
        let Err(code) = ErrorCode::check(response.error_code) else { return Ok(()) };
        match code {
            ErrorCode::UnsupportedSaslMechanism => {
                let theirs: Vec<&str> = response.mechanisms.iter().map(|name| &**name).collect();
                let message = format!(
                    "the mechanism {mechanism} is not enabled on this listener, which has {}",
                    if theirs.is_empty() { "none".to_owned() } else { shown(&theirs.join(", "), WORDS) }
                );
                Err(Error::denied(code, message).hint("set sasl.mechanism to one of those"))
            }
            ErrorCode::IllegalSaslState => {
                let message = "this listener takes no SASL";
                Err(Error::denied(code, message).hint("security.protocol is PLAINTEXT or SSL here"))
            }
            code => Err(Error::broker(code)),
        }
        .map_err(|error| error.api("SaslHandshake"))
    }

    /// The mechanism's next message.
    ///
    /// # Errors
    /// `Malformed` if there is no end to it.
    pub fn request(&mut self, message: &[u8]) -> Result<SaslAuthenticateRequest> {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return Err(Error::with_message(ErrorKind::Malformed, "the authentication has no end"));
        }
        Ok(SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message)))
    }

    /// What the broker has to say to the mechanism.
    ///
    /// # Errors
    /// `Denied`, in the broker's words.
    pub fn handle_response(&mut self, response: SaslAuthenticateResponse) -> Result<Bytes> {
        if let Err(code) = ErrorCode::check(response.error_code) {
            let theirs = response.error_message.map(|message| shown(&message, WORDS)).unwrap_or_default();
            let error = match theirs.is_empty() {
                true => Error::denied(code, "the broker refused the authentication"),
                false => Error::denied(code, theirs),
            };
            return Err(error.api("SaslAuthenticate"));
        }
        let lifetime = u64::try_from(response.session_lifetime_ms).unwrap_or(0);
        self.lifetime = (lifetime > 0).then(|| Duration::from_millis(lifetime));
        Ok(response.auth_bytes)
    }

    /// How long the broker takes requests after it; `None`: for ever.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// After how long to do it again: at 85 to 95 % of what the broker grants, as the Java client. `None`: never.
    pub fn again_after(&self, random: f64) -> Option<Duration> {
        self.lifetime.map(|lifetime| lifetime.mul_f64(0.85 + 0.1 * random.clamp(0.0, 1.0)).max(SOONEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_that_is_not_enabled_is_answered_with_those_that_are() {
        let response = SaslHandshakeResponse::default()
            .with_error_code(33)
            .with_mechanisms(vec![StrBytes::from_static_str("PLAIN"), StrBytes::from_static_str("SCRAM-SHA-256")]);
        let error = Authentication::default().handle_handshake("GSSAPI", &response).unwrap_err();
        assert!(error.to_string().contains("GSSAPI is not enabled on this listener, which has PLAIN, SCRAM-SHA-256"));
        assert!(error.is_fatal() && !error.is_retriable());
    }

    #[test]
    fn the_brokers_words_reach_the_user() {
        let response = SaslAuthenticateResponse::default()
            .with_error_code(58)
            .with_error_message(Some(StrBytes::from_static_str("Authentication failed: Invalid username or password")));
        let error = Authentication::default().handle_response(response).unwrap_err();
        assert!(error.to_string().contains("Invalid username or password"), "{error}");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, Some(ErrorCode::SaslAuthenticationFailed)));
    }

    #[test]
    fn a_brokers_words_are_shown_so_far_as_they_can_be_and_no_more_than_fits() {
        let wild = StrBytes::from_string(format!("\x1b[2Ja\nb\u{202e}{}", "x".repeat(100_000)));
        let response = SaslAuthenticateResponse::default().with_error_code(58).with_error_message(Some(wild.clone()));
        let refusal = Authentication::default().handle_response(response).unwrap_err();
        let response = SaslHandshakeResponse::default().with_error_code(33).with_mechanisms(vec![wild; 3]);
        let handshake = Authentication::default().handle_handshake("PLAIN", &response).unwrap_err();
        for error in [refusal.to_string(), handshake.to_string()] {
            assert!(error.contains("[2Jabx") && error.len() < 1_500, "{error}");
            assert!(!error.contains(char::is_control) && !error.contains('\u{202e}'), "{error:?}");
        }
    }

    #[test]
    fn it_is_done_again_at_85_to_95_percent_of_the_lifetime_and_never_within_a_second() {
        let mut authentication = Authentication::default();
        assert_eq!(authentication.again_after(0.5), None);
        for (lifetime, random, expected) in [(100_000, 0.0, 85_000), (100_000, 1.0, 95_000), (500, 1.0, 1_100)] {
            let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime);
            authentication.handle_response(response).unwrap();
            assert_eq!(authentication.again_after(random), Some(Duration::from_millis(expected)));
        }
    }

    #[test]
    fn a_broker_that_never_ends_is_left() {
        let mut authentication = Authentication::default();
        assert!((0..1000).any(|_| authentication.request(b"").is_err()));
    }
}
