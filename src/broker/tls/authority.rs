//! A CA that makes certificates (X.509 v3) for brokers and clients: P-256 keys, signed with ECDSA and SHA-256.
//!
//! The structures are few and fixed, and so are written by hand: a crate that makes certificates would be there for every user
//! of the library, and bring cryptography of its own.

use pkcs8::der::asn1::{GeneralizedTime, UtcTime};
use pkcs8::der::pem::{LineEnding, encode_string};
use pkcs8::der::{DateTime, Encode};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use rustls::{Error, SignatureScheme};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

// Identifiers of objects.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// What stands before the 32 bytes of a P-256 key in PKCS#8, without its public half.
const PKCS8_PREFIX: &[u8] = &[
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3,
    1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
];

// Tags.
const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const OID: u8 = 6;
const UTF8_STRING: u8 = 12;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Whom a certificate is for.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    Authority,
    /// By host names and addresses.
    Server(&'a [String]),
    /// By common name.
    Client(&'a str),
}

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivatePkcs8KeyDer<'static>,
}

impl Issued {
    /// Chain and key.
    pub(super) fn pem(&self) -> Result<(String, String), Error> {
        Ok((pem("CERTIFICATE", &self.certificate)?, pem("PRIVATE KEY", self.key.secret_pkcs8_der())?))
    }
}

pub(super) struct Authority {
    provider: Arc<CryptoProvider>,
    key: Arc<dyn SigningKey>,
    certificate: CertificateDer<'static>,
}

/// Long enough for everybody: 2000 to 2049.
pub(super) const VALIDITY: (u64, u64) = (946_684_800, 2_524_607_999);

impl Authority {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let key = generate()?;
        let loaded = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key))?;
        let certificate = certificate(&*loaded, &*loaded, &Kind::Authority, VALIDITY)?;
        Ok(Self { provider, key: loaded, certificate })
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(super) fn pem(&self) -> Result<String, Error> {
        pem("CERTIFICATE", &self.certificate)
    }

    /// `validity` is in seconds since 1970.
    pub(super) fn issue(&self, kind: &Kind<'_>, validity: (u64, u64)) -> Result<Issued, Error> {
        let key = generate()?;
        let loaded = self.provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.clone_key()))?;
        let certificate = certificate(&*self.key, &*loaded, kind, validity)?;
        Ok(Issued { certificate, key })
    }
}

fn pem(label: &'static str, der: &[u8]) -> Result<String, Error> {
    encode_string(label, LineEnding::LF, der).map_err(|why| Error::General(format!("no PEM: {why}")))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::FailedToGetRandomBytes)?;
    // Positive, and below the curve's order.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(bytes)
}

fn generate() -> Result<PrivatePkcs8KeyDer<'static>, Error> {
    Ok([PKCS8_PREFIX, &random::<32>()?].concat().into())
}

fn certificate(
    issuer: &dyn SigningKey,
    subject: &dyn SigningKey,
    kind: &Kind<'_>,
    validity: (u64, u64),
) -> Result<CertificateDer<'static>, Error> {
    let unknown = || Error::General("a key without its public half".to_owned());
    let spki = subject.public_key().ok_or_else(unknown)?;
    let issuer_spki = issuer.public_key().ok_or_else(unknown)?;
    // A name of its own: who trusts another cluster's CA is to find this one unknown, not its signature wrong.
    let [a, b, c, ..] = key_identifier(&issuer_spki);
    let authority = format!("milena test cluster {a:02x}{b:02x}{c:02x}");
    let common_name = match kind {
        Kind::Authority => &authority,
        Kind::Server(names) => names.first().map_or("broker", |name| name),
        Kind::Client(name) => name,
    };
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[ECDSA_WITH_SHA256])]);
    let body = tlv(
        SEQUENCE,
        &[
            &tlv(0xa0, &[&tlv(INTEGER, &[&[2]])]), // v3
            &tlv(INTEGER, &[&random::<16>()?]),
            &algorithm,
            &named(&authority),
            &tlv(SEQUENCE, &[&time(validity.0)?, &time(validity.1)?]),
            &named(common_name),
            &spki,
            &tlv(0xa3, &[&tlv(SEQUENCE, &[&extensions(kind, &spki, &issuer_spki)])]),
        ],
    );
    let signer = issuer.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).ok_or_else(unknown)?;
    let signature = signer.sign(&body)?;
    Ok(tlv(SEQUENCE, &[&body, &algorithm, &tlv(BIT_STRING, &[&[0], &signature])]).into())
}

fn extensions(kind: &Kind<'_>, spki: &[u8], issuer_spki: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |oid: &[u8], critical: bool, value: Vec<u8>| {
        let critical = if critical { tlv(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
        all.extend(tlv(SEQUENCE, &[&tlv(OID, &[oid]), &critical, &tlv(OCTET_STRING, &[&value])]));
    };
    add(SUBJECT_KEY_IDENTIFIER, false, tlv(OCTET_STRING, &[&key_identifier(spki)]));
    add(AUTHORITY_KEY_IDENTIFIER, false, tlv(SEQUENCE, &[&tlv(0x80, &[&key_identifier(issuer_spki)])]));
    let uses = match kind {
        Kind::Authority => {
            add(BASIC_CONSTRAINTS, true, tlv(SEQUENCE, &[&tlv(BOOLEAN, &[&[0xff]])]));
            add(KEY_USAGE, true, tlv(BIT_STRING, &[&[1, 0b0000_0110]])); // signs certificates and lists of revoked ones
            return all;
        }
        Kind::Server(names) => {
            let name = |name: &String| match name.parse() {
                Ok(IpAddr::V4(address)) => tlv(0x87, &[&address.octets()]),
                Ok(IpAddr::V6(address)) => tlv(0x87, &[&address.octets()]),
                Err(_) => tlv(0x82, &[name.as_bytes()]),
            };
            let names: Vec<u8> = names.iter().flat_map(name).collect();
            add(SUBJECT_ALT_NAME, false, tlv(SEQUENCE, &[&names]));
            SERVER_AUTH
        }
        Kind::Client(_) => CLIENT_AUTH,
    };
    add(KEY_USAGE, true, tlv(BIT_STRING, &[&[7, 0b1000_0000]])); // signs
    add(EXTENDED_KEY_USAGE, false, tlv(SEQUENCE, &[&tlv(OID, &[uses])]));
    all
}

fn key_identifier(spki: &[u8]) -> [u8; 20] {
    let mut identifier = [0; 20];
    identifier.copy_from_slice(&Sha256::digest(spki)[..20]);
    identifier
}

/// `CN=name`.
fn named(name: &str) -> Vec<u8> {
    let attribute = tlv(SEQUENCE, &[&tlv(OID, &[COMMON_NAME]), &tlv(UTF8_STRING, &[name.as_bytes()])]);
    tlv(SEQUENCE, &[&tlv(SET, &[&attribute])])
}

/// UTCTime up to 2049, GeneralizedTime from then on, as RFC 5280 wants it.
fn time(seconds: u64) -> Result<Vec<u8>, Error> {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds));
    let time = time.and_then(|time| match UtcTime::from_date_time(time) {
        Ok(short) => short.to_der(),
        Err(_) => GeneralizedTime::from_date_time(time).to_der(),
    });
    time.map_err(|why| Error::General(format!("no time for a certificate: {why}")))
}

/// Tag, length, and the parts one after the other.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}
