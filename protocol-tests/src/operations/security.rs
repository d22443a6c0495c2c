//! What a user may write into properties, certificates and keys, and what a broker may say while a client authenticates.
//!
//! What must hold: nothing panics, takes long or much memory; what can't be is an error of kind `Config` that shows nothing of a
//! secret; a broker that does not know the password is never believed.

use bytes::Bytes;
use milena::client::Client;
use milena::error::{Error, ErrorKind};
use milena::machine::sasl::Authentication;
use milena::net::clock::NetClock;
use milena::net::tls::Tls;
use milena::properties::{Properties, is_secret};
use milena::sasl::{SaslMechanism, SaslPeer, SaslSession, Scram};
use milena::tls::TlsConfig;
use milena::wire::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use milena::wire::request::decode_response;
use std::time::Duration;
use tokio::runtime::Builder;

const CERTIFICATE: &str = include_str!("../../vectors/tls/cert.pem");
const KEY: &str = include_str!("../../vectors/tls/key.pem");
const ENCRYPTED: &str = include_str!("../../vectors/tls/key-aes.pem");
/// In secrets.
const HUSH: &str = "hushhush";

/// The first byte says what, the rest is what is said.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let Some((what, said)) = bytes.split_first() else { return };
    match what % 5 {
        0 => a_file_of_properties(said),
        1 => jaas_behind_a_password(said),
        2 => certificates_and_keys(said),
        3 => a_broker_says_scram(said),
        _ => a_broker_answers(said),
    }
}

/// The byte 2 stands for the secret.
fn a_file_of_properties(said: &[u8]) {
    let Ok(text) = std::str::from_utf8(said) else { return };
    let text = text.replace('\x02', HUSH);
    let Ok(properties) = Properties::parse(&text) else { return };
    // No file of this machine; JAAS has names and classes, too, which may be shown.
    let is_path = |(key, value): (&str, &str)| key.ends_with(".location") && !["system", "bundled"].contains(&value);
    if properties.iter().any(is_path) {
        return;
    }
    let may_show = |(key, value): (&str, &str)| {
        (!is_secret(key) || key.contains("jaas") || key == "sasl.oauthbearer.config") && value.contains(HUSH)
    };
    let hidden = !properties.iter().any(may_show);
    if let Err(error) = made(&properties) {
        assert!(!hidden || !all(&error).contains(HUSH), "{error:?}");
    }
    assert!(!hidden || !format!("{properties:?}").contains(HUSH));
}

fn made(properties: &Properties) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    let config = properties.client()?.bootstrap_servers(["b1"]);
    Client::new(config).map(drop).inspect_err(|error| assert_eq!(error.kind(), ErrorKind::Config, "{error:?}"))
}

fn all(error: &Error) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        shown.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    shown
}

/// Whatever stands behind a password, the password itself is not shown; nor a word behind it.
fn jaas_behind_a_password(said: &[u8]) {
    let Some((quote, tail)) = said.split_first() else { return };
    let Ok(tail) = std::str::from_utf8(tail) else { return };
    if tail.contains(HUSH) {
        return; // a name that has it may be shown
    }
    let quote = ["", "\"", "'", "\"\\\""][usize::from(quote % 4)];
    let jaas = format!("a.PlainLoginModule required username=\"alice\" password={quote}{HUSH}{tail}");
    let mut properties = Properties::default();
    for (key, value) in
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", &jaas)]
    {
        properties.insert(key, value).expect("a property that there is");
    }
    if let Err(error) = made(&properties) {
        assert!(error.to_string().starts_with("sasl.jaas.config: "), "{error}");
        assert!(!all(&error).contains(HUSH), "{error:?}");
    }
}

/// CA, chain, key and password, with a NUL between. The bytes 1 to 3 stand for a certificate, its key, and that encrypted by
/// `open`.
fn certificates_and_keys(said: &[u8]) {
    let mut parts = said.split(|byte| *byte == 0).map(|part| {
        let text = String::from_utf8_lossy(part);
        text.replace('\x01', CERTIFICATE).replace('\x02', KEY).replace('\x03', ENCRYPTED)
    });
    let mut next = || parts.next().unwrap_or_default();
    let (ca, chain, key, password) = (next(), next(), next(), next());
    let mut tls = TlsConfig::default();
    tls = if ca.is_empty() { tls.bundled_roots() } else { tls.ca_pem(ca) };
    if !chain.is_empty() {
        tls = tls.client_certificate_pem(chain, key).key_password(if password.is_empty() { "open" } else { &password });
    }
    if let Err(error) = Tls::new(tls, NetClock::System) {
        assert!(error.kind() == ErrorKind::Config && error.to_string().starts_with("ssl."), "{error}");
        let body = |pem: &'static str| pem.lines().filter(|line| !line.starts_with('-'));
        let shown = all(&error);
        assert!(!body(KEY).chain(body(ENCRYPTED)).any(|line| shown.contains(line)), "{shown}");
    }
}

/// Messages with a NUL between; the byte 1 stands for our nonce.
fn a_broker_says_scram(said: &[u8]) {
    let Some((which, said)) = said.split_first() else { return };
    let scram = if which % 2 == 0 { Scram::sha256("alice", HUSH) } else { Scram::sha512("alice", HUSH) };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let begun = runtime.block_on(async { scram.start(&SaslPeer::new("b1", 9092, 0)).await });
    let (first, mut session): (_, Box<dyn SaslSession>) = begun.expect("SCRAM begins by itself");
    let first = String::from_utf8(first.to_vec()).expect("text");
    let nonce = first.split_once(",r=").expect("a nonce").1.as_bytes();
    for message in said.split(|byte| *byte == 0) {
        let message: Vec<u8> =
            message.iter().flat_map(|byte| if *byte == 1 { nonce.to_vec() } else { vec![*byte] }).collect();
        match session.challenge(&message) {
            Ok(answer) => {
                let answer = answer.expect("nobody can have signed as the one who knows the password");
                assert!(answer.starts_with(b"c=biws,r="), "{:?}", String::from_utf8_lossy(&answer));
            }
            Err(error) => {
                assert!(!error.is_retriable() && !all(&error).contains(HUSH), "{error:?}");
                return;
            }
        }
    }
}

/// A version, then an answer to SaslHandshake, or to SaslAuthenticate.
fn a_broker_answers(said: &[u8]) {
    let Some((how, frame)) = said.split_first() else { return };
    let (frame, version) = (Bytes::copy_from_slice(frame), i16::from(how >> 1));
    let mut authentication = Authentication::default();
    if how % 2 == 0 {
        let Ok(answer) = decode_response::<SaslHandshakeRequest>(version % 2, frame) else { return };
        let no = authentication.handle_handshake("PLAIN", &answer);
        assert_eq!(no.is_ok(), answer.error_code == 0);
    } else {
        let Ok(answer) = decode_response::<SaslAuthenticateRequest>(version % 3, frame) else { return };
        let lifetime = answer.session_lifetime_ms;
        let code = answer.error_code;
        let taken = authentication.handle_response(answer);
        assert_eq!(taken.is_ok(), code == 0);
        let again = authentication.again_after(0.5);
        assert_eq!(again.is_some(), taken.is_ok() && lifetime > 0);
        assert!(again.is_none_or(|again| again >= Duration::from_millis(1_100)));
    }
}
