//! Unsecured tokens, as Apache's `OAuthBearerUnsecuredValidatorCallbackHandler` takes them: a JWS of three parts with
//! `"alg":"none"` and no signature. Anybody can make one.
//!
//! It has a `sub` that names the principal, and an `exp` that lies ahead and after `iat`, if there is one; that lies behind. `nbf`
//! is ignored. The scope is a string, which is one scope whatever spaces are in it, or a list.

use crate::broker::security::{BearerToken, InvalidBearerToken};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What has to be in a token besides.
#[derive(Debug, Clone, Default)]
pub(in crate::broker) struct UnsecuredJws {
    pub(in crate::broker) required_scope: Vec<String>,
}

impl UnsecuredJws {
    pub(super) fn validate(&self, token: &str, unix_millis: i64) -> Result<BearerToken, InvalidBearerToken> {
        let valid = claims(token).and_then(|claims| {
            let token = BearerToken {
                principal: claims.get("sub")?.as_str().filter(|name| !name.trim().is_empty())?.to_owned(),
                expires_at_ms: millis(claims.get("exp")?)?,
            };
            let issued = claims.get("iat").map_or(Some(i64::MIN), millis)?;
            let lasts = issued <= unix_millis && unix_millis < token.expires_at_ms && issued < token.expires_at_ms;
            lasts.then_some((token, scopes(&claims)?))
        });
        let (token, scopes) = valid.ok_or_else(|| InvalidBearerToken::new("invalid_token"))?;
        if self.required_scope.iter().all(|required| scopes.contains(required)) {
            return Ok(token);
        }
        let scope = Some(format!("[{}]", self.required_scope.join(", ")));
        Err(InvalidBearerToken { scope, ..InvalidBearerToken::new("insufficient_scope") })
    }
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, claims, ""] = parts[..] else { return None };
    let is_unsecured = object(header)?.get("alg")?.as_str()? == "none";
    is_unsecured.then(|| object(claims)).flatten()
}

/// Both alphabets, as there are clients that use the wrong one.
fn object(part: &str) -> Option<Map<String, Value>> {
    let decoded = BASE64.decode(part.replace('+', "-").replace('/', "_")).ok()?;
    match serde_json::from_slice(&decoded).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Seconds, which may be fractional.
fn millis(seconds: &Value) -> Option<i64> {
    Some((seconds.as_f64()? * 1000.0).round() as i64)
}

fn scopes(claims: &Map<String, Value>) -> Option<Vec<String>> {
    let trimmed = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    match claims.get("scope") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(trimmed(one).into_iter().collect()),
        Some(Value::Array(many)) => Some(many.iter().filter_map(|one| trimmed(one.as_str()?)).collect()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn unsecured_tokens_are_looked_at_as_apache_does() {
        let validate = |claims: &str| {
            let valid = UnsecuredJws::default().validate(&token(r#"{"alg":"none"}"#, claims), 10_000);
            valid.map(|token| (token.principal, token.expires_at_ms)).map_err(|invalid| invalid.status)
        };
        let alice = |expires| Ok(("alice".to_owned(), expires));
        assert_eq!(validate(r#"{"sub":"alice","exp":10.5}"#), alice(10_500));
        assert_eq!(validate(r#"{"sub":"alice","exp":20,"iat":10,"nbf":15,"scope":["x"]}"#), alice(20_000));
        let refused = [
            r#"{"sub":"alice"}"#,
            r#"{"exp":20}"#,
            r#"{"sub":" ","exp":20}"#,
            r#"{"sub":7,"exp":20}"#,
            r#"{"sub":"alice","exp":"20"}"#,
            r#"{"sub":"alice","exp":10}"#,              // over
            r#"{"sub":"alice","exp":20,"iat":10.001}"#, // not yet
            r#"{"sub":"alice","exp":20,"scope":7}"#,
            "[]",
            "{",
        ];
        for claims in refused {
            assert_eq!(validate(claims), Err("invalid_token".to_owned()), "{claims}");
        }
    }

    #[test]
    fn a_token_that_is_signed_or_of_other_parts_is_refused() {
        let claims = r#"{"sub":"alice","exp":20}"#;
        let sound = token(r#"{"alg":"none"}"#, claims);
        let padded = format!("{}.{}.", STANDARD.encode(r#"{"alg":"none"}"#), STANDARD.encode(claims));
        let validate = |token: &str| UnsecuredJws::default().validate(token, 0).is_ok();
        assert!(validate(&sound) && validate(&padded));
        let signed = token(r#"{"alg":"HS256"}"#, claims);
        for token in [&signed, &format!("{sound}c2ln"), &format!("{sound}."), "", ".", "..", "a.b.", &sound[1..]] {
            assert!(!validate(token), "{token}");
        }
    }

    #[test]
    fn the_scope_asked_for_has_to_be_there() {
        let asked = UnsecuredJws { required_scope: vec!["a".into(), "b".into()] };
        let validate = |scope: &str| {
            let claims = format!(r#"{{"sub":"alice","exp":20,"scope":{scope}}}"#);
            asked.validate(&token(r#"{"alg":"none"}"#, &claims), 0).map_err(|invalid| (invalid.status, invalid.scope))
        };
        assert!(validate(r#"["b ","c","a"]"#).is_ok());
        for scope in [r#"["a"]"#, r#""a b""#, "null"] {
            let refused = ("insufficient_scope".to_owned(), Some("[a, b]".to_owned()));
            assert_eq!(validate(scope), Err(refused), "{scope}");
        }
    }
}
