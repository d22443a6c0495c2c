//! What a token endpoint has answered (RFC 6749, sections 5.1 and 5.2): a token, or why not and whether to ask again.

use super::jwt;
use crate::error::{Error, ErrorKind, Result, shown};
use crate::net::http::Answer;
use crate::sasl::Token;
use crate::secret::Secret;
use serde::Deserialize;
use std::time::Duration;

/// Of a token that does not say for how long it is good.
const UNKNOWN: Duration = Duration::from_secs(300);
/// No token is kept for longer, whatever is said of it.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// No more than this of a server's words goes into an error.
const WORDS: usize = 300;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// A number, or, of some servers, its digits.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

#[derive(Deserialize, Default)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

/// The token, with its lifetime from now on.
///
/// # Errors
/// Why there is none: [retriable](Error::is_retriable) if asking again may help.
pub fn judge(answer: &Answer, unix_millis: i64) -> Result<Token> {
    let status = hyper::StatusCode::from_u16(answer.status).ok();
    let named = status.and_then(|status| status.canonical_reason()).unwrap_or("no known status");
    let refused = |kind, hint| {
        let said: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut message = format!("{} {named}", answer.status);
        for words in [said.error, said.error_description].into_iter().flatten() {
            message = format!("{message}: {}", shown(&words, WORDS));
        }
        Error::with_message(kind, message).hint(hint)
    };
    match answer.status {
        200 => granted(&answer.body, unix_millis),
        408 | 429 | 500.. => Err(refused(ErrorKind::Connection, "the token endpoint is asked again")),
        300..400 => Err(refused(ErrorKind::Config, "redirects are not followed: give the address that it names")),
        400 | 401 | 403 => Err(refused(
            ErrorKind::Denied,
            "the client's id, secret or scope is not what the token endpoint expects; if they have characters other than \
             letters and digits, see sasl.oauthbearer.header.urlencode",
        )),
        _ => Err(refused(ErrorKind::Config, "is this the token endpoint's address?")),
    }
}

fn granted(body: &[u8], unix_millis: i64) -> Result<Token> {
    let malformed =
        |why: String| Error::with_message(ErrorKind::Malformed, why).hint("is this the token endpoint's address?");
    // The error's own words could show a piece of the token.
    let Granted { access_token, token_type, expires_in } = serde_json::from_slice(body).map_err(|error| {
        malformed(format!("no JSON with an access_token (line {}, column {})", error.line(), error.column()))
    })?;
    let token = Secret::from(access_token);
    if let Some(other) = token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(malformed(format!("a token of the type {}, and not Bearer", shown(&other, WORDS))));
    }
    if token.is_empty() {
        return Err(malformed("an access_token that is empty".to_owned()));
    }
    let lifetime = lifetime(expires_in.as_ref(), jwt::times(token.expose()), unix_millis as f64 / 1000.0)?;
    Ok(Token::new(token).valid_for(lifetime))
}

/// By the least of what the endpoint says and what the token says; by our own clock only if nobody else says anything, since a
/// clock that is wrong would make every token a bad one.
fn lifetime(expires_in: Option<&Seconds>, times: jwt::Times, now: f64) -> Result<Duration> {
    let expires_in = match expires_in {
        Some(Seconds::Number(seconds)) => Some(*seconds),
        Some(Seconds::Text(text)) => text.trim().parse().ok(),
        None => None,
    };
    let own = times.exp.zip(times.iat).map(|(exp, iat)| exp - iat);
    let by_our_clock = times.exp.map(|exp| exp - now.max(times.iat.unwrap_or(now)));
    let seconds = match (expires_in, own) {
        (Some(said), Some(own)) => said.min(own),
        (Some(said), None) => said,
        (None, _) => by_our_clock.unwrap_or(UNKNOWN.as_secs_f64()),
    };
    if seconds >= 1.0 {
        return Ok(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST));
    }
    let message = match expires_in {
        Some(_) => "the token has expired when it comes".to_owned(),
        None => format!("the token expired {:.0} s ago by the clock of this machine", -seconds),
    };
    Err(Error::with_message(ErrorKind::Denied, message).hint("one of the two clocks is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use zeroize::Zeroizing;

    const NOW: i64 = 1_700_000_000_000;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: Zeroizing::new(body.as_bytes().to_vec()), ..Answer::default() }
    }

    fn jwt(claims: &str) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn lives(body: &str) -> u64 {
        judge(&answer(200, body), NOW).unwrap().lifetime().unwrap().as_secs()
    }

    #[test]
    fn a_token_lives_as_long_as_endpoint_and_token_say() {
        let of = |claims: &str, rest: &str| lives(&format!(r#"{{"access_token":"{}"{rest}}}"#, jwt(claims)));
        assert_eq!(lives(r#"{"access_token":"abc","token_type":"bearer","expires_in":300,"x":[1]}"#), 300);
        assert_eq!(lives(r#"{"access_token":"abc","expires_in":"3599"}"#), 3599);
        assert_eq!(lives(r#"{"access_token":"abc"}"#), 300);
        assert_eq!(lives(r#"{"access_token":"abc","expires_in":1e300}"#), 30 * 24 * 3600);
        assert_eq!(of(r#"{"exp":1700000060}"#, ""), 60);
        // Our clock is a day ahead, or behind: that is no reason to do without a token.
        assert_eq!(of(r#"{"exp":1699900060,"iat":1699900000}"#, r#","expires_in":90"#), 60);
        assert_eq!(of(r#"{"exp":1700900060,"iat":1700900000}"#, ""), 60);
        // The same token once more, half of it gone.
        assert_eq!(of(r#"{"exp":1700000060,"iat":1699999940}"#, r#","expires_in":60"#), 60);
    }

    #[test]
    fn what_is_no_token_is_an_error_that_does_not_show_one() {
        for (body, why) in [
            ("", "no JSON"),
            ("<html>", "no JSON"),
            (r#"{"token":"hush"}"#, "no JSON with an access_token"),
            (r#"{"access_token":""}"#, "empty"),
            (r#"{"access_token":["hush"]}"#, "no JSON with an access_token"),
            (r#"{"access_token":"hush","token_type":"DPoP"}"#, "of the type DPoP"),
            (r#"{"access_token":"hush","expires_in":0}"#, "has expired"),
            (r#"{"access_token":"hush","expires_in":-5}"#, "has expired"),
        ] {
            let error = judge(&answer(200, body), NOW).unwrap_err();
            assert!(error.to_string().contains(why) && !error.is_retriable(), "{body}: {error}");
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
        let expired = format!(r#"{{"access_token":"{}"}}"#, jwt(r#"{"exp":1699999000}"#));
        let error = judge(&answer(200, &expired), NOW).unwrap_err().to_string();
        assert!(error.contains("expired 1000 s ago by the clock of this machine; one of the two clocks"), "{error}");
    }

    #[test]
    fn whether_to_ask_again_and_what_the_server_says() {
        let body = r#"{"error":"invalid_client","error_description":"no\nsuch client"}"#;
        let error = judge(&answer(401, body), NOW).unwrap_err();
        assert!(
            error.to_string().starts_with("401 Unauthorized: invalid_client: nosuch client; the client's"),
            "{error}"
        );
        for (status, kind) in [
            (400, ErrorKind::Denied),
            (403, ErrorKind::Denied),
            (404, ErrorKind::Config),
            (201, ErrorKind::Config),
            (302, ErrorKind::Config),
            (408, ErrorKind::Connection),
            (429, ErrorKind::Connection),
            (500, ErrorKind::Connection),
            (599, ErrorKind::Connection),
        ] {
            assert_eq!(judge(&answer(status, "?"), NOW).unwrap_err().kind(), kind, "{status}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(100_000));
        assert!(judge(&answer(400, &long), NOW).unwrap_err().to_string().len() < 1_000);
    }
}
