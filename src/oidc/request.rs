//! What the token endpoint is asked (RFC 6749, sections 2.3.1 and 4.4.2).

use crate::net::http::{Message, Method};
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

/// A client's id and secret go into the header, as Kafka's and librdkafka's clients do it and every server has to take it.
pub(super) fn message(id: &str, secret: &Secret, scope: Option<&str>, encode: bool) -> Message {
    let credentials = Zeroizing::new(match encode {
        true => format!("{}:{}", *form(id), *form(secret.expose())),
        false => format!("{id}:{}", secret.expose()),
    });
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = scope {
        body.push_str("&scope=");
        body.push_str(&form(scope));
    }
    let authorization = Zeroizing::new(BASE64.encode(&*credentials));
    Message {
        method: Method::POST,
        authorization: Some(format!("Basic {}", *authorization).into()),
        headers: &[
            ("accept", "application/json"),
            ("cache-control", "no-cache"),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        body: body.into(),
    }
}

/// `application/x-www-form-urlencoded`.
fn form(text: &str) -> Zeroizing<String> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => encoded.push(byte.into()),
            _ => {
                let digit = |of: u8| char::from(HEX[usize::from(of & 15)]);
                encoded.extend(['%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_in_the_header_and_encoded_if_that_is_wanted() {
        let secret = Secret::from("p@ss: wörd");
        for (encode, expected) in [(false, "orders/eu:p@ss: wörd"), (true, "orders%2Feu:p%40ss%3A+w%C3%B6rd")] {
            let message = message("orders/eu", &secret, Some("read write&x"), encode);
            assert_eq!(message.body.expose(), "grant_type=client_credentials&scope=read+write%26x");
            assert_eq!(message.authorization.unwrap().expose(), format!("Basic {}", BASE64.encode(expected)));
        }
        assert_eq!(super::message("a", &secret, None, false).body.expose(), "grant_type=client_credentials");
    }
}
