//! OAUTHBEARER (RFC 7628, KIP-255): the client shows a token that somebody else has issued.
//!
//! ```text
//! client   n,,\x01auth=Bearer TOKEN\x01[name=value\x01]…\x01     extensions: KIP-342
//! broker   nothing: it is good        or: JSON that says why not
//! client                                  \x01, and the broker ends it with SASL_AUTHENTICATION_FAILED
//! ```

mod token;
mod unsecured;

pub use token::{Fetching, Token, TokenProvider};
pub use unsecured::UnsecuredJwt;

use crate::error::{Error, Result, shown};
use crate::sasl::{SaslMechanism, SaslMessage, SaslPeer, SaslSession, Starting};
use std::sync::Arc;

/// What a client says to a refusal, so that the server may end the exchange.
const ACKNOWLEDGEMENT: &[u8] = b"\x01";

/// No more than this of a broker's reasons goes into an error.
const REASONS: usize = 1_000;

/// OAUTHBEARER, with the tokens of a provider. Whoever reads a token can use it, so over TLS only.
///
/// ```
/// use milena::sasl::{OAuthBearer, UnsecuredJwt};
///
/// let me = OAuthBearer::new(UnsecuredJwt::new("alice"));
/// ```
#[derive(Debug, Clone)]
pub struct OAuthBearer(Arc<dyn TokenProvider>);

impl OAuthBearer {
    /// Asks this one for a token whenever a connection is made or its authentication has to be renewed.
    pub fn new(provider: impl TokenProvider) -> Self {
        Self(Arc::new(provider))
    }
}

impl SaslMechanism for OAuthBearer {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a> {
        Box::pin(async move {
            let token = self.0.token(peer).await?;
            let message = token.first_message()?;
            Ok((message, Box::new(Session { provider: self.0.clone(), token, reasons: None }) as _))
        })
    }
}

struct Session {
    provider: Arc<dyn TokenProvider>,
    token: Token,
    /// What the broker has against the token.
    reasons: Option<String>,
}

impl SaslSession for Session {
    fn challenge(&mut self, message: &[u8]) -> Result<Option<SaslMessage>> {
        if message.is_empty() {
            return Ok(None);
        }
        // The JSON as it came: `status`, perhaps `scope` and `openid-configuration`.
        let reasons = shown(&String::from_utf8_lossy(message), REASONS);
        if self.reasons.is_some() {
            // A server may do nothing but end it now.
            return Err(refusal(&reasons));
        }
        self.reasons = Some(reasons);
        Ok(Some(SaslMessage::new(ACKNOWLEDGEMENT.to_vec())))
    }

    fn refused(&mut self, error: Error) -> Error {
        self.provider.refused(&self.token);
        let Some(reasons) = &self.reasons else { return error };
        // Kafka says the JSON once more as its sentence; others have words of their own.
        let words = error.text().filter(|words| !reasons.contains(words) && !words.contains(reasons.as_str()));
        let message = match words {
            Some(words) => format!("the broker refused the token: {words} {reasons}"),
            None => format!("the broker refused the token: {reasons}"),
        };
        error.message(message).hint(HINT)
    }
}

const HINT: &str = "its issuer, audience, scope, signature or lifetime is not what the broker expects (sasl.oauthbearer.expected.* \
     there); the broker's log says more";

fn refusal(reasons: &str) -> Error {
    Error::broker(crate::error::ErrorCode::SaslAuthenticationFailed)
        .message(format!("the broker refused the token: {reasons}"))
        .hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorCode, ErrorKind};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug, Default)]
    struct Fixed(AtomicU32);

    impl TokenProvider for Arc<Fixed> {
        fn token<'a>(&'a self, _: &'a SaslPeer) -> Fetching<'a> {
            Box::pin(async { Ok(Token::new("abc.def.ghi").extension("traceId", "7 of 9")) })
        }

        fn refused(&self, token: &Token) {
            assert_eq!(token.value().expose(), "abc.def.ghi");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn started(provider: &Arc<Fixed>) -> (String, Box<dyn SaslSession>) {
        let (message, session) = OAuthBearer::new(provider.clone()).start(&SaslPeer::new("b", 9092, 0)).await.unwrap();
        (String::from_utf8(message.to_vec()).unwrap(), session)
    }

    #[tokio::test]
    async fn a_token_and_its_extensions_are_said_as_the_rfc_has_it_and_silence_is_consent() {
        let (message, mut session) = started(&Arc::default()).await;
        assert_eq!(message, "n,,\x01auth=Bearer abc.def.ghi\x01traceId=7 of 9\x01\x01");
        assert!(session.challenge(b"").unwrap().is_none());
    }

    #[tokio::test]
    async fn a_refusal_is_acknowledged_and_its_reasons_reach_the_user_with_the_brokers_words() {
        const JSON: &str = r#"{"status":"invalid_token","scope":"kafka","openid-configuration":"https://idp/x"}"#;
        let failed = |words: &'static str| Error::denied(ErrorCode::SaslAuthenticationFailed, words);
        for (words, expected) in [
            (JSON, format!("the broker refused the token: {JSON}; its issuer")),
            ("expired by the broker's clock", format!("refused the token: expired by the broker's clock {JSON}; its")),
        ] {
            let provider = Arc::default();
            let (_, mut session) = started(&provider).await;
            let answer = session.challenge(JSON.as_bytes()).unwrap().unwrap();
            assert_eq!(answer.as_slice(), b"\x01");
            let error = session.refused(failed(words));
            assert!(error.to_string().contains(&expected), "{error}");
            assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, Some(ErrorCode::SaslAuthenticationFailed)));
            assert_eq!(provider.0.load(Ordering::Relaxed), 1, "the provider hears of it");
        }
    }

    #[tokio::test]
    async fn a_broker_that_goes_on_refusing_is_not_answered_for_ever_and_says_no_more_than_fits() {
        let (_, mut session) = started(&Arc::default()).await;
        session.challenge(b"{}").unwrap();
        let error = session.challenge(&[b'x'; 100_000]).unwrap_err();
        assert!(error.to_string().len() < 1_500 && error.kind() == ErrorKind::Denied, "{error}");
    }
}
