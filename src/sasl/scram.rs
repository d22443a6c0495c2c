//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677, KIP-84), as Kafka has them.
//!
//! - The server's nonce must begin with ours and is sent back as it is: ours is not put before it again.
//! - No SASLprep: Kafka takes the UTF-8 bytes. In a name, `=` is `=3D` and `,` is `=2C`.
//! - The password is hashed as often as the server wants, within bounds: at least 4,096 times, or whoever plays the server could
//!   guess it, and at most `MAX_ITERATIONS` times, or it could keep us busy. The result is kept for the next connection.
//! - The server must show that it knows the password as well.

use super::{SaslMechanism, SaslMessage, SaslPeer, SaslSession, Starting};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a server may ask for at most. Kafka's own limit is 16,384; a tenth of a second of one core.
const MAX_ITERATIONS: u32 = 1 << 17;
const MIN_ITERATIONS: u32 = 4096;

/// Without channel binding, as Kafka has none.
const GS2_HEADER: &str = "n,,";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

pub(crate) type Key = Zeroizing<Vec<u8>>;

/// SCRAM with SHA-256 or SHA-512: the password itself is never sent, and the broker shows that it knows it.
#[derive(Debug, Clone)]
pub struct Scram {
    hash: Hash,
    credentials: Arc<Credentials>,
}

struct Credentials {
    username: String,
    password: Secret,
    is_token: bool,
    /// By salt and iterations: all brokers of a cluster have the same.
    salted: Mutex<Option<Salted>>,
}

/// A password, hashed with this salt so many times.
struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    key: Arc<Key>,
}

/// What all of it is written for.
trait Sha: EagerHash + sha2::Digest {}
impl<D: EagerHash + sha2::Digest> Sha for D {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Scram {
    /// `SCRAM-SHA-256`.
    pub fn sha256(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::new(Hash::Sha256, username.into(), password.into(), false)
    }

    /// `SCRAM-SHA-512`.
    pub fn sha512(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::new(Hash::Sha512, username.into(), password.into(), false)
    }

    /// By a delegation token (KIP-48): its id is the name and its HMAC, in base64, the password. Java's `tokenauth=true`.
    pub fn delegation_token(self) -> Self {
        Self::new(self.hash, self.credentials.username.clone(), self.credentials.password.clone(), true)
    }

    /// What a broker is to keep for this user and password to log in (KIP-554): a new salt, and the password hashed with it so
    /// many times. Takes some milliseconds.
    ///
    /// # Errors
    /// `State` if the system has no random numbers.
    pub(crate) fn new_credential(&self, iterations: u32) -> Result<(Vec<u8>, Arc<Key>)> {
        let salt = random()?.to_vec();
        let salted = match self.hash {
            Hash::Sha256 => self.credentials.salted::<Sha256>(&salt, iterations),
            Hash::Sha512 => self.credentials.salted::<Sha512>(&salt, iterations),
        };
        Ok((salt, salted))
    }

    fn new(hash: Hash, username: String, password: Secret, is_token: bool) -> Self {
        Self { hash, credentials: Arc::new(Credentials { username, password, is_token, salted: Mutex::new(None) }) }
    }

    fn begin(&self, nonce: String) -> (SaslMessage, Session) {
        let name = self.credentials.username.replace('=', "=3D").replace(',', "=2C");
        let token = if self.credentials.is_token { ",tokenauth=true" } else { "" };
        let bare = format!("n={name},r={nonce}{token}");
        let message = format!("{GS2_HEADER}{bare}").into_bytes();
        let session =
            Session { hash: self.hash, credentials: self.credentials.clone(), state: State::First { nonce, bare } };
        (SaslMessage::new(message), session)
    }
}

impl SaslMechanism for Scram {
    fn name(&self) -> &str {
        match self.hash {
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn start<'a>(&'a self, _: &'a SaslPeer) -> Starting<'a> {
        Box::pin(async move {
            let (message, session) = self.begin(BASE64.encode(random()?));
            Ok((message, Box::new(session) as _))
        })
    }
}

struct Session {
    hash: Hash,
    credentials: Arc<Credentials>,
    state: State,
}

enum State {
    /// We have named ourselves.
    First {
        nonce: String,
        bare: String,
    },
    /// We have proved who we are; the server is to do the same, by this signature.
    Final {
        server_signature: Key,
    },
    Done,
}

impl SaslSession for Session {
    fn challenge(&mut self, message: &[u8]) -> Result<Option<SaslMessage>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::First { nonce, bare } => {
                let first = ServerFirst::parse(message, &nonce)?;
                let (proof, server_signature) = match self.hash {
                    Hash::Sha256 => self.credentials.proof::<Sha256>(&bare, &first),
                    Hash::Sha512 => self.credentials.proof::<Sha512>(&bare, &first),
                };
                self.state = State::Final { server_signature };
                let without_proof = client_final_without_proof(&first);
                Ok(Some(SaslMessage::new(format!("{without_proof},p={}", BASE64.encode(&*proof)).into_bytes())))
            }
            State::Final { server_signature } => {
                check_server_final(message, &server_signature)?;
                Ok(None)
            }
            State::Done => Err(malformed("a message after the last one")),
        }
    }

    fn refused(&mut self, error: Error) -> Error {
        error.hint("see sasl.username and sasl.password (Java: sasl.jaas.config); a user has a password for each of SCRAM's mechanisms")
    }
}

impl Credentials {
    /// The client's proof, and what the server must sign with.
    fn proof<D: Sha>(&self, bare: &str, first: &ServerFirst<'_>) -> (Key, Key) {
        let salted = self.salted::<D>(&first.salt, first.iterations);
        let client_key = mac::<D>(&salted, b"Client Key");
        let stored_key = D::digest(&*client_key);
        let auth_message = format!("{bare},{},{}", first.text, client_final_without_proof(first));
        let mut proof = mac::<D>(&stored_key, auth_message.as_bytes());
        for (byte, key) in proof.iter_mut().zip(client_key.iter()) {
            *byte ^= key;
        }
        let server_key = mac::<D>(&salted, b"Server Key");
        (proof, mac::<D>(&server_key, auth_message.as_bytes()))
    }

    fn salted<D: Sha>(&self, salt: &[u8], iterations: u32) -> Arc<Key> {
        let kept = || self.salted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |kept: &&Salted| kept.salt == salt && kept.iterations == iterations;
        if let Some(kept) = kept().as_ref().filter(is_it) {
            return kept.key.clone();
        }
        let mut key = Zeroizing::new(vec![0; <D as sha2::Digest>::output_size()]);
        pbkdf2::pbkdf2_hmac::<D>(self.password.expose().as_bytes(), salt, iterations, &mut key);
        let key = Arc::new(key);
        *kept() = Some(Salted { salt: salt.to_vec(), iterations, key: key.clone() });
        key
    }
}

fn random() -> Result<[u8; 24]> {
    let mut random = [0; 24];
    getrandom::fill(&mut random)
        .map_err(|error| Error::with_message(ErrorKind::State, "no random numbers from the system").caused_by(error))?;
    Ok(random)
}

fn mac<D: Sha>(key: &[u8], message: &[u8]) -> Key {
    let mut mac = match <Hmac<D> as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

/// `r=nonce,s=salt,i=iterations`.
struct ServerFirst<'a> {
    text: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a [u8], client_nonce: &str) -> Result<Self> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("no UTF-8 in the server's first message"))?;
        if text.starts_with("m=") {
            return Err(malformed("the server wants an extension that nobody knows"));
        }
        let mut parts = text.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(iterations)) = (part("r="), part("s="), part("i=")) else {
            return Err(malformed("the server's first message is not r=…,s=…,i=…"));
        };
        if !nonce.starts_with(client_nonce) || nonce.len() == client_nonce.len() {
            return Err(malformed("the server's nonce does not go on from ours"));
        }
        let salt = BASE64.decode(salt).map_err(|_| malformed("the salt is no base64"))?;
        let iterations = iterations.parse().map_err(|_| malformed("the iterations are no number"))?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            let message = format!(
                "SCRAM: the broker wants {iterations} iterations; we take {MIN_ITERATIONS} to {MAX_ITERATIONS}"
            );
            return Err(Error::with_message(ErrorKind::Denied, message)
                .hint("fewer are unsafe and more a burden: create the credential anew"));
        }
        Ok(Self { text, nonce, salt, iterations })
    }
}

/// The base64 of the GS2 header stands for the channel binding that there is not.
fn client_final_without_proof(first: &ServerFirst<'_>) -> String {
    format!("c={},r={}", BASE64.encode(GS2_HEADER), first.nonce)
}

fn check_server_final(message: &[u8], expected: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(message).map_err(|_| malformed("no UTF-8 in the server's last message"))?;
    if let Some(error) = text.strip_prefix("e=") {
        let refused = Error::broker(ErrorCode::SaslAuthenticationFailed);
        return Err(refused.message(format!("the broker refused the proof: {}", error.escape_debug())));
    }
    let signature = text.split(',').next().and_then(|part| part.strip_prefix("v="));
    let signature = signature.and_then(|base64| BASE64.decode(base64).ok());
    let signature = signature.ok_or_else(|| malformed("the server's last message is not v=…"))?;
    if bool::from(signature.ct_eq(expected)) {
        return Ok(());
    }
    Err(Error::with_message(ErrorKind::Denied, "SCRAM: the broker does not know the password that we have")
        .hint("somebody else may listen at this address"))
}

fn malformed(why: &'static str) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("SCRAM: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun(scram: &Scram) -> (String, Session) {
        let (message, session) = scram.begin(NONCE.into());
        (String::from_utf8(message.to_vec()).unwrap(), session)
    }

    fn text(message: Option<SaslMessage>) -> String {
        String::from_utf8(message.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_exchange_of_the_rfc_comes_out_to_the_letter() {
        let scram = Scram::sha256("user", "pencil");
        for _ in 0..2 {
            let (first, mut session) = begun(&scram); // the second time from the salted password that was kept
            assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
            assert_eq!(text(session.challenge(FIRST.as_bytes()).unwrap()), PROOF);
            assert!(session.challenge(FINAL.as_bytes()).unwrap().is_none());
            assert!(session.challenge(b"").is_err(), "nothing comes after the end");
        }
        assert!(scram.credentials.salted.lock().unwrap().is_some());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (_, mut session) = begun(&Scram::sha256("user", "pencil"));
        session.challenge(FIRST.as_bytes()).unwrap();
        let error = session.challenge(b"v=AAriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap_err();
        assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("does not know"), "{error}");
    }

    #[test]
    fn a_name_is_escaped_and_not_prepared_and_a_token_says_so() {
        let (first, _) = begun(&Scram::sha512("a=b,ﬁ", "x"));
        assert_eq!(first, format!("n,,n=a=3Db=2Cﬁ,r={NONCE}"));
        let (first, _) = begun(&Scram::sha512("id", "x").delegation_token());
        assert_eq!(first, format!("n,,n=id,r={NONCE},tokenauth=true"));
    }

    #[test]
    fn what_a_server_may_not_say_is_refused_before_any_work() {
        for (first, why) in [
            ("r=rOprNGfwEbeRWgbNEkqO,s=QQ==,i=4096", "nonce"),
            ("r=somebodyElses,s=QQ==,i=4096", "nonce"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=4095", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=131073", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=99999999999", "number"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096", "base64"),
            ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=QQ==,i=4096", "extension"),
            ("", "r="),
        ] {
            let (_, mut session) = begun(&Scram::sha256("user", "pencil"));
            let error = session.challenge(first.as_bytes()).err().unwrap();
            assert!(error.to_string().contains(why), "{first}: {error}");
        }
    }
}
