//! A certificate's subject as Java's `X500Principal.getName()` writes it (RFC 2253, and where that leaves room, as Java has it):
//! the last part first, `CN=alice,O=acme`.

use pkcs8::der::asn1::{AnyRef, ObjectIdentifier};
use pkcs8::der::{Decode, Encode, Reader, Result, SliceReader, Tag, Tagged};
use std::fmt::Write;

/// The attributes that are written by name.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate in DER.
pub(super) fn subject(certificate: &[u8]) -> Result<String> {
    let mut outer = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
    let mut body = SliceReader::new(AnyRef::decode(&mut outer)?.value())?;
    let first = AnyRef::decode(&mut body)?;
    if first.tag() != Tag::Integer {
        AnyRef::decode(&mut body)?; // the first was the version, this is the serial number
    }
    for _ in ["signature", "issuer", "validity"] {
        AnyRef::decode(&mut body)?;
    }
    let mut names = SliceReader::new(AnyRef::decode(&mut body)?.value())?;
    let mut written = Vec::new();
    while !names.is_finished() {
        let mut set = SliceReader::new(AnyRef::decode(&mut names)?.value())?;
        let mut together = Vec::new();
        while !set.is_finished() {
            together.push(attribute(AnyRef::decode(&mut set)?.value())?);
        }
        written.push(together.join("+"));
    }
    written.reverse();
    Ok(written.join(","))
}

fn attribute(bytes: &[u8]) -> Result<String> {
    let mut reader = SliceReader::new(bytes)?;
    let oid: ObjectIdentifier = Decode::decode(&mut reader)?;
    let oid = oid.to_string();
    let value = AnyRef::decode(&mut reader)?;
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| *keyword);
    let is_text = matches!(
        value.tag(),
        Tag::PrintableString
            | Tag::Utf8String
            | Tag::TeletexString
            | Tag::Ia5String
            | Tag::GeneralString
            | Tag::BmpString
    );
    match keyword {
        Some(keyword) if is_text => Ok(format!("{keyword}={}", escaped(&String::from_utf8_lossy(value.value())))),
        _ => {
            let mut hex = String::new();
            for byte in value.to_der()? {
                let _ = write!(hex, "{byte:02x}"); // into a string: it does not fail
            }
            Ok(format!("{}=#{hex}", keyword.unwrap_or(&oid)))
        }
    }
}

fn escaped(text: &str) -> String {
    let is_space = |c| matches!(c, ' ' | '\r');
    let inner = text.trim_start_matches(is_space);
    let lead = text.len() - inner.len();
    let trail = lead + inner.trim_end_matches(is_space).len();
    let mut out = String::new();
    for (at, c) in text.char_indices() {
        match c {
            '\0' => out.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => out.extend(['\\', c]),
            _ if at < lead || at >= trail => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// Made by OpenSSL 3.0; what is expected is what Java 17 says of it.
    const CERTIFICATE: &str = "MIICwzCCAmmgAwIBAgIUSyUaPzfHB/LErVoCOXydGqaP2SIwCgYIKoZIzj0EAwIwgbUxCzAJBgNVBAYTAkRFMREwDwYDVQQHDAhNw7xuY2hlbj\
         EdMBsGA1UECgwUYWMsbWUgPCs+OyAieCIgIzE9MlwxIDAIBgNVBAsMAWIwFAYDVQQLDA0gdHdvICBzcGFjZXMgMRQwEgYJKoZIhvcNAQkBFgVh\
         QGIuYzESMBAGCgmSJomT8ixkAQEMAnUxMRcwFQYKCZImiZPyLGQBGRYHZXhhbXBsZTEPMA0GA1UEAwwGI2FsaWNlMCAXDTI2MTEyNjExMTE1MF\
         oYDzIxMjYxMTAyMTExMTUwWjCBtTELMAkGA1UEBhMCREUxETAPBgNVBAcMCE3DvG5jaGVuMR0wGwYDVQQKDBRhYyxtZSA8Kz47ICJ4IiAjMT0y\
         XDEgMAgGA1UECwwBYjAUBgNVBAsMDSB0d28gIHNwYWNlcyAxFDASBgkqhkiG9w0BCQEWBWFAYi5jMRIwEAYKCZImiZPyLGQBAQwCdTExFzAVBg\
         oJkiaJk/IsZAEZFgdleGFtcGxlMQ8wDQYDVQQDDAYjYWxpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQzsJzcJUUl6bM00GQ8awCaO3is\
         5eb8mGBeCtVUIzc4j9uRnOn4VRMFC50tHcOtdr4zbE+Rz8v/8JvqThAg+cwno1MwUTAdBgNVHQ4EFgQU6Z8KohhUidRGPxRHlkAnGOoZFwwwHw\
         YDVR0jBBgwFoAU6Z8KohhUidRGPxRHlkAnGOoZFwwwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAwdPeNlJuzhdEhEjLFJ0p\
         FCbcBHYDVnLCRJV1BEUJnS0CIBiWJAZvtbEK1uMasPWHBDKVMqlXKbm7RiZL/nkkZ4zt";

    #[test]
    fn a_subject_is_written_as_java_does() {
        let certificate = STANDARD.decode(CERTIFICATE).unwrap();
        let expected = r##"CN=\#alice,DC=example,UID=u1,1.2.840.113549.1.9.1=#16056140622e63,OU=b+OU=\ two  spaces\ ,O=ac\,me \<\+\>\; \"x\" \#1\=2\\,L=München,C=DE"##;
        assert_eq!(subject(&certificate).unwrap(), expected);
        for end in 0..certificate.len() {
            assert!(subject(&certificate[..end]).is_err(), "a part of one is none: {end}");
        }
        for at in 0..certificate.len() {
            for bit in 0..8 {
                let mut bent = certificate.clone();
                bent[at] ^= 1 << bit;
                let _ = subject(&bent);
            }
        }
    }
}
