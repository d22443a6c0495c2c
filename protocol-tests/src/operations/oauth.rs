//! What a token endpoint, a token and a broker may say to OAUTHBEARER, and what an application may give it to say.
//!
//! What must hold: a token lives between a second and thirty days or is none; errors are short and can be shown; a message to the
//! broker has exactly the parts that it should have.

use futures_util::FutureExt;
use milena::error::Error;
use milena::net::http::{Answer, Endpoint, retry_after};
use milena::oidc::{answer, jwt};
use milena::sasl::{Fetching, OAuthBearer, SaslMechanism, SaslMessage, SaslPeer, SaslSession, Token, TokenProvider};
use std::time::Duration;

const NOW: i64 = 1_700_000_000_000;
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The first byte says who speaks, the rest is what is said.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let Some((who, said)) = bytes.split_first() else { return };
    match who % 5 {
        0 => the_endpoint_answers(said),
        1 => the_endpoint_says_when(said),
        2 => a_token_is_looked_at(said),
        3 => the_broker_challenges(said),
        _ => the_application_says(said),
    }
}

/// A status in two bytes, then the body.
fn the_endpoint_answers(said: &[u8]) {
    let Some((status, body)) = said.split_first_chunk() else { return };
    let mut heard = Answer { status: u16::from_be_bytes(*status) % 1_000, ..Answer::default() };
    heard.body.extend_from_slice(body);
    match answer::judge(&heard, NOW) {
        Ok(token) => {
            let lifetime = token.lifetime().expect("it is said, or assumed");
            assert!(heard.status == 200 && (Duration::from_secs(1)..=LONGEST).contains(&lifetime), "{lifetime:?}");
            assert!(!token.value().is_empty());
        }
        Err(error) => can_be_shown(&error),
    }
}

fn the_endpoint_says_when(said: &[u8]) {
    let Ok(text) = std::str::from_utf8(said) else { return };
    assert!(retry_after(text, NOW).is_none_or(|wait| wait <= LONGEST));
    if let Ok(endpoint) = Endpoint::parse(text) {
        assert!(!endpoint.host.is_empty() && endpoint.path.starts_with('/'));
        // A path may have the sign too.
        assert!(!endpoint.authority.contains('@') && !endpoint.to_string().contains('?'));
    }
}

fn a_token_is_looked_at(said: &[u8]) {
    let text = String::from_utf8_lossy(said);
    let times = jwt::times(&text);
    assert_eq!(times, jwt::times(&text));
    // As claims of a token that is well-formed otherwise.
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(said));
    let body = format!(r#"{{"access_token":"{token}"}}"#);
    the_endpoint_answers(&[&200_u16.to_be_bytes(), body.as_bytes()].concat());
}

fn the_broker_challenges(said: &[u8]) {
    let (_, mut session) = begun(Token::new("abc")).expect("a token");
    match session.challenge(said).expect("the first is answered") {
        Some(answer) => {
            assert!(!said.is_empty() && answer[..] == [1]);
            can_be_shown(&session.refused(Error::broker(milena::error::ErrorCode::SaslAuthenticationFailed)));
            can_be_shown(&session.challenge(said).expect_err("there is no second"));
        }
        None => assert!(said.is_empty()),
    }
}

/// A token, and the name and the value of an extension, a line each.
fn the_application_says(said: &[u8]) {
    let text = String::from_utf8_lossy(said);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (token, name, value) = (line(), line(), line());
    match begun(Token::new(token).extension(name, value)) {
        Ok((message, _)) => {
            let expected = format!("n,,\x01auth=Bearer {token}\x01{name}={value}\x01\x01");
            assert_eq!(&message[..], expected.as_bytes());
            assert_eq!(message.iter().filter(|byte| **byte == 1).count(), 4);
        }
        Err(error) => can_be_shown(&error),
    }
}

fn begun(token: Token) -> Result<(SaslMessage, Box<dyn SaslSession>), Error> {
    let mechanism = OAuthBearer::new(Fixed(token));
    mechanism.start(&SaslPeer::new("b", 9092, NOW)).now_or_never().expect("nothing is waited for")
}

#[derive(Debug)]
struct Fixed(Token);

impl TokenProvider for Fixed {
    fn token<'a>(&'a self, _: &'a SaslPeer) -> Fetching<'a> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

fn can_be_shown(error: &Error) {
    let text = error.to_string();
    assert!(text.chars().count() < 2_000 && !text.contains(char::is_control), "{text:?}");
}
