//! SCRAM (RFC 5802, 7677) without channel binding, as Apache's `ScramSaslServer` has it.
//!
//! - Names are ASCII; `=2C` and `=3D` stand for a comma and an equals sign, and nothing else does.
//! - Extensions are ignored, but `tokenauth=true`: there are no delegation tokens, and so nobody has that name.
//! - The client's last nonce has to be the server's, as Kafka 4.3 wants it; older ones took one that ends in it, because librdkafka
//!   before 2.6.1 puts its own before it twice. An extension of the last message is not proved, and so does not fit.
//! - Unlike Apache's, its `c=` has to be the header that it began with, as the RFC wants.

use super::{Failure, Step, is_saslname};
use crate::broker::Shared;
use crate::broker::scram::{Credential, Mechanism};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

impl Mechanism {
    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Result<Vec<u8>, Failure> {
        let mac = match self {
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()),
            Self::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()),
        };
        mac.map_err(|_| Failure::Untold)
    }
}

/// One exchange.
#[derive(Debug)]
pub(super) struct Scram {
    mechanism: Mechanism,
    challenged: Option<Challenged>,
}

/// What the client's proof has to fit.
#[derive(Debug)]
struct Challenged {
    user: String,
    credential: Credential,
    gs2_header: String,
    nonce: String,
    /// Client's first message without its header, a comma, and the server's first.
    so_far: String,
}

impl Scram {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, challenged: None }
    }

    pub(super) fn step(&mut self, shared: &Shared, token: &[u8]) -> Result<Step, Failure> {
        let text = std::str::from_utf8(token).ok().filter(|text| text.is_ascii()).ok_or(Failure::Untold)?;
        match self.challenged.take() {
            None => {
                let first = ClientFirst::parse(text).ok_or(Failure::Untold)?;
                let user = unescaped(first.name);
                let credential = || shared.state().scram.get(&user)?.get(&self.mechanism).cloned();
                let found = if first.is_token { None } else { credential() };
                let mut random = [0; 24];
                getrandom::fill(&mut random).map_err(|_| Failure::Untold)?;
                let (answer, challenged) = challenge(&first, user, found, &STANDARD.encode(random))?;
                self.challenged = Some(challenged);
                Ok(Step::Challenge(answer.into_bytes()))
            }
            Some(challenged) => challenged.verify(self.mechanism, text),
        }
    }
}

fn challenge(
    first: &ClientFirst<'_>,
    user: String,
    credential: Option<Credential>,
    random: &str,
) -> Result<(String, Challenged), Failure> {
    let credential = credential.ok_or(Failure::Untold)?;
    if first.authzid.is_some_and(|authzid| authzid != user) {
        let why = "Authentication failed: Client requested an authorization id that is different from username";
        return Err(Failure::told(why));
    }
    let nonce = format!("{}{random}", first.nonce);
    let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&credential.salt), credential.iterations);
    let (so_far, gs2_header) = (format!("{},{answer}", first.bare), first.gs2_header.to_owned());
    Ok((answer, Challenged { user, credential, gs2_header, nonce, so_far }))
}

impl Challenged {
    fn verify(self, mechanism: Mechanism, text: &str) -> Result<Step, Failure> {
        let last = ClientFinal::parse(text).ok_or(Failure::Untold)?;
        if last.nonce != self.nonce || last.channel != self.gs2_header.as_bytes() {
            return Err(Failure::Untold);
        }
        let auth_message = format!("{},{}", self.so_far, last.proved);
        let salted = &self.credential.salted_password;
        let stored_key = mechanism.hash(&mechanism.hmac(salted, b"Client Key")?);
        let mut client_key = mechanism.hmac(&stored_key, auth_message.as_bytes())?;
        if client_key.len() != last.proof.len() {
            return Err(Failure::Untold);
        }
        client_key.iter_mut().zip(&last.proof).for_each(|(byte, proof)| *byte ^= proof);
        if !bool::from(mechanism.hash(&client_key).ct_eq(&stored_key)) {
            return Err(Failure::Untold);
        }
        let server_key = mechanism.hmac(salted, b"Server Key")?;
        let signature = mechanism.hmac(&server_key, auth_message.as_bytes())?;
        let answer = format!("v={}", STANDARD.encode(signature)).into_bytes();
        Ok(Step::Done { answer, user: self.user, expires_at_ms: None })
    }
}

/// `n,[a=authzid],n=name,r=nonce[,extensions]`.
#[derive(Debug, PartialEq, Eq)]
struct ClientFirst<'a> {
    gs2_header: &'a str,
    authzid: Option<&'a str>,
    bare: &'a str,
    name: &'a str,
    nonce: &'a str,
    is_token: bool,
}

impl<'a> ClientFirst<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (authzid, bare) = text.strip_prefix("n,")?.split_once(',')?;
        let gs2_header = text.get(..text.len() - bare.len())?;
        let authzid = match authzid {
            "" => None,
            given => Some(given.strip_prefix("a=").filter(|name| is_saslname(name))?),
        };
        let mut attributes = bare.split(',');
        let name = attributes.next()?.strip_prefix("n=").filter(|name| is_saslname(name))?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_printable(nonce))?;
        let extensions = attributes.map(extension).collect::<Option<Vec<_>>>()?;
        let is_token = extensions.iter().any(|(key, value)| *key == "tokenauth" && value.eq_ignore_ascii_case("true"));
        Some(Self { gs2_header, authzid, bare, name, nonce, is_token })
    }
}

/// `c=channel,r=nonce[,extensions],p=proof`.
#[derive(Debug, PartialEq, Eq)]
struct ClientFinal<'a> {
    /// `c=` and `r=`.
    proved: &'a str,
    channel: Vec<u8>,
    nonce: &'a str,
    proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel = STANDARD.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_printable(nonce))?;
        let mut end = without_proof.len();
        for attribute in attributes {
            extension(attribute)?;
            end -= attribute.len() + 1;
        }
        Some(Self { proved: &without_proof[..end], channel, nonce, proof: STANDARD.decode(proof).ok()? })
    }
}

fn unescaped(name: &str) -> String {
    name.replace("=2C", ",").replace("=3D", "=")
}

fn is_printable(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic())
}

fn extension(attribute: &str) -> Option<(&str, &str)> {
    let (key, value) = attribute.split_once('=')?;
    let sound = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic());
    (sound && !value.is_empty() && !value.contains('\0')).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pbkdf2::pbkdf2_hmac_array;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc_is_verified() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted_password = pbkdf2_hmac_array::<Sha256, 32>(b"pencil", &salt, 4096).to_vec().into();
        let credential = Credential { iterations: 4096, salt: salt.into(), salted_password };
        let first = ClientFirst::parse("n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let random = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = || challenge(&first, "user".into(), Some(credential.clone()), random).unwrap();
        let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(challenge().0, expected);
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let answer = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        let done = Step::Done { answer, user: "user".into(), expires_at_ms: None };
        assert_eq!(challenge().1.verify(Mechanism::Sha256, last), Ok(done));
        let wrong = [
            ("c=biws", "c=eSws"),                             // a header that it did not begin with
            ("hNlF$k0", "hNlF$k1"),                           // another nonce
            ("p=dHzb", "p=eHzb"),                             // another proof
            ("p=dHzb", "p="),                                 // one that is too short
            ("c=biws,r=r", "c=biws,r=rOprNGfwEbeRWgbNEkqOr"), // the client's twice
        ];
        let extended = last.replacen(",p=", ",x=y,z=1,p=", 1);
        assert!(challenge().1.verify(Mechanism::Sha256, &extended).is_ok(), "where the proof leaves it out");
        for (right, wrong) in wrong {
            let last = last.replacen(right, wrong, 1);
            assert_eq!(challenge().1.verify(Mechanism::Sha256, &last), Err(Failure::Untold), "{last}");
        }
    }

    #[test]
    fn first_messages_are_read_as_apache_does() {
        let name = |text| ClientFirst::parse(text).map(|first| (unescaped(first.name), first.authzid.map(unescaped)));
        assert_eq!(name("n,,n=a,r=1"), Some(("a".into(), None)));
        assert_eq!(name("n,a=b=2Cc,n=b=2Cc,r=1,x=y"), Some(("b,c".into(), Some("b,c".into()))));
        assert_eq!(name("n,,n=a=3D2C,r=1"), Some(("a=2C".into(), None)), "unescaped once");
        let refused = [
            "",
            "n",
            "n,,",
            "n,,n=a",
            "n,,r=1,n=a",
            "n,,n=,r=1",
            "n,,n=a,r=",
            "n,,n=a=,r=1",
            "n,,n=a=2c,r=1",
            "y,,n=a,r=1",
            "p=tls-unique,,n=a,r=1",
            "n,b,n=a,r=1",
            "n,,m=x,n=a,r=1",
            "n,,n=a,r=1,",
            "n,,n=a,r=1,1=x",
            "n,,n=a,r=1 2",
        ];
        for text in refused {
            assert_eq!(ClientFirst::parse(text), None, "{text}");
        }
        let token = |text| ClientFirst::parse(text).map(|first| first.is_token);
        assert_eq!((token("n,,n=a,r=1,tokenauth=TRUE"), token("n,,n=a,r=1,tokenauth=no")), (Some(true), Some(false)));
    }
}
