//! Tokens that nobody has signed, for brokers that take anybody's word (Kafka's default validator).

use super::{Fetching, Token, TokenProvider};
use crate::sasl::SaslPeer;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use std::fmt::Write;
use std::time::Duration;

/// Unsecured JWTs (RFC 7515, `alg` `none`): for development and tests, as a broker with Kafka's
/// `OAuthBearerUnsecuredValidatorCallbackHandler` believes whoever comes. librdkafka's `enable.sasl.oauthbearer.unsecure.jwt`
/// with `sasl.oauthbearer.config`, Java's `OAuthBearerLoginModule` with `unsecuredLogin…`.
#[derive(Debug, Clone)]
pub struct UnsecuredJwt {
    principal: String,
    principal_claim: String,
    scope: Vec<String>,
    scope_claim: String,
    lifetime: Duration,
    claims: Vec<(String, Claim)>,
    extensions: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Claim {
    Text(String),
    Number(f64),
    List(Vec<String>),
}

impl UnsecuredJwt {
    /// Who we say we are: `principal`, Java's `unsecuredLoginStringClaim_sub`.
    pub fn new(principal: impl Into<String>) -> Self {
        Self {
            principal: principal.into(),
            principal_claim: "sub".to_owned(),
            scope: Vec::new(),
            scope_claim: "scope".to_owned(),
            lifetime: Duration::from_secs(3600),
            claims: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// `principalClaimName`: the claim that says who we are. Default: `sub`.
    pub fn principal_claim(mut self, name: impl Into<String>) -> Self {
        self.principal_claim = name.into();
        self
    }

    /// `scope`: what we say we may do. Default: nothing.
    pub fn scope<S: Into<String>>(mut self, scope: impl IntoIterator<Item = S>) -> Self {
        self.scope = scope.into_iter().map(Into::into).collect();
        self
    }

    /// `scopeClaimName`: the claim that says so. Default: `scope`.
    pub fn scope_claim(mut self, name: impl Into<String>) -> Self {
        self.scope_claim = name.into();
        self
    }

    /// `lifeSeconds`, `unsecuredLoginLifetimeSeconds`: how long a token is good. Default: 3,600 s.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// `unsecuredLoginStringClaim_NAME`: one claim more.
    pub fn string_claim(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.claim(name, Claim::Text(value.into()))
    }

    /// `unsecuredLoginNumberClaim_NAME`: one claim more; what JSON has no number for is `null`.
    pub fn number_claim(self, name: impl Into<String>, value: f64) -> Self {
        self.claim(name, Claim::Number(value))
    }

    /// `unsecuredLoginListClaim_NAME`: one claim more.
    pub fn list_claim<S: Into<String>>(self, name: impl Into<String>, value: impl IntoIterator<Item = S>) -> Self {
        self.claim(name, Claim::List(value.into_iter().map(Into::into).collect()))
    }

    /// `extension_NAME`, `unsecuredLoginExtension_NAME`: see [`Token::extension`].
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    fn claim(mut self, name: impl Into<String>, value: Claim) -> Self {
        self.claims.push((name.into(), value));
        self
    }

    fn issue(&self, unix_millis: i64) -> Token {
        let issued = unix_millis as f64 / 1000.0;
        let own = [
            (&self.principal_claim, Claim::Text(self.principal.clone())),
            (&"iat".to_owned(), Claim::Number(issued)),
            (&"exp".to_owned(), Claim::Number(issued + self.lifetime.as_secs_f64())),
        ]
        .map(|(name, claim)| (name.clone(), claim));
        let scope = (!self.scope.is_empty()).then(|| (self.scope_claim.clone(), Claim::List(self.scope.clone())));
        let mut claims = String::new();
        for (name, claim) in own.iter().chain(&scope).chain(&self.claims) {
            claims.push(if claims.is_empty() { '{' } else { ',' });
            string(&mut claims, name);
            claims.push(':');
            match claim {
                Claim::Text(text) => string(&mut claims, text),
                Claim::Number(number) if number.is_finite() => _ = write!(claims, "{number}"), // into memory: can't fail
                Claim::Number(_) => claims.push_str("null"),
                Claim::List(texts) => {
                    for (i, text) in texts.iter().enumerate() {
                        claims.push(if i == 0 { '[' } else { ',' });
                        string(&mut claims, text);
                    }
                    claims.push_str(if texts.is_empty() { "[]" } else { "]" });
                }
            }
        }
        claims.push('}');
        let value = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims));
        let token = Token::new(value).valid_for(self.lifetime);
        self.extensions.iter().fold(token, |token, (name, value)| token.extension(name, value))
    }
}

impl TokenProvider for UnsecuredJwt {
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a> {
        Box::pin(async move { Ok(self.issue(peer.unix_millis)) })
    }
}

/// As JSON has it.
fn string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => _ = write!(json, "\\u{:04x}", u32::from(c)), // into memory: can't fail
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_says_who_until_when_and_what_else() {
        let jwt = UnsecuredJwt::new("al\"ice\n")
            .principal_claim("azp")
            .scope_claim("roles")
            .scope(["read", "write"])
            .lifetime(Duration::from_secs(60))
            .number_claim("level", 3.0)
            .list_claim("none", [""; 0])
            .extension("trace", "7");
        let token = jwt.issue(1_700_000_000_500);
        let parts: Vec<_> = token.value().expose().split('.').map(|part| BASE64.decode(part).unwrap()).collect();
        let expected = [
            r#"{"alg":"none"}"#,
            r#"{"azp":"al\"ice\u000a","iat":1700000000.5,"exp":1700000060.5,"roles":["read","write"],"level":3,"none":[]}"#,
            "",
        ];
        assert_eq!(parts, expected.map(|part| part.as_bytes().to_vec()));
        assert_eq!(
            token,
            Token::new(token.value().expose()).valid_for(Duration::from_secs(60)).extension("trace", "7")
        );
    }
}
