//! What a token says of its own lifetime, if it is a JWT (RFC 7519). Nobody's signature is checked: that is the broker's to do.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet::URL_SAFE, engine::DecodePaddingMode};
use serde::Deserialize;

/// Without padding; who pads all the same is understood.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Times {
    /// When it was issued.
    pub iat: Option<f64>,
    /// When it ends.
    pub exp: Option<f64>,
}

/// The times of a token; none of one that is no JWT.
pub fn times(token: &str) -> Times {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Times::default();
    };
    let claims = BASE64.decode(claims).ok();
    claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_ends_and_another_token_says_nothing() {
        let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64.encode(claims));
        assert_eq!(
            times(&jwt(r#"{"exp":1700000000.5,"iat":1699999000,"sub":"x"}"#)),
            Times { iat: Some(1_699_999_000.0), exp: Some(1_700_000_000.5) }
        );
        for token in ["", "opaque", "a.b", "a.b.c.d", "a.!.c", &jwt("[]"), &jwt(r#"{"exp":"soon"}"#), &jwt("{}")] {
            assert_eq!(times(token), Times::default(), "{token}");
        }
    }
}
