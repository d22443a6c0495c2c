//! Kerberos as a mechanism of your own: the shape of GSSAPI (RFC 4752) over `SaslMechanism`, for whoever brings a GSS library.
//! `cargo run --example kerberos`.
//!
//! There is no Kerberos in here, nor a KDC behind it: `Toy` stands for the library (`libgssapi` links MIT's or Heimdal's C, so it
//! is no dependency of milena's), and a scripted peer for the broker. What is shown is real: who says what when, the service name
//! that a ticket is for, and the four bytes that settle that there is no security layer, which Kafka has none of.
//!
//! ```text
//! client  token (AP-REQ) ──────────────────► broker          until the library says that the context is established
//!         ◄─────────────────── token (AP-REP)
//!         empty ─────────────────────────────►
//!         ◄── wrapped: layers it has, longest message
//!         wrapped: layer 1 (none), 0, who we are ─►          then the broker is content
//! ```
#![allow(clippy::print_stdout, reason = "a program of its own")]

use milena::client::ClientConfig;
use milena::error::{Error, ErrorKind, Result};
use milena::sasl::{SaslMechanism, SaslMessage, SaslPeer, SaslSession, Starting};
use std::fmt;
use std::sync::Arc;

/// A GSS context of the library that is brought along.
trait GssContext: Send + 'static {
    /// `gss_init_sec_context` with mutual authentication: the peer's token in (none at first), ours out if there is one.
    fn step(&mut self, token: Option<&[u8]>) -> Result<Option<Vec<u8>>>;
    /// Whether both sides know each other.
    fn is_established(&self) -> bool;
    /// `gss_wrap`, without confidentiality.
    fn wrap(&self, message: &[u8]) -> Result<Vec<u8>>;
    /// `gss_unwrap`.
    fn unwrap(&self, message: &[u8]) -> Result<Vec<u8>>;
}

/// Begins a context for a service: `kafka@broker1.example.com`.
type Begin = dyn Fn(&str) -> Result<Box<dyn GssContext>> + Send + Sync;

/// The mechanism: one value for all connections of a client.
#[derive(Clone)]
struct Kerberos {
    /// `sasl.kerberos.service.name`.
    service: String,
    begin: Arc<Begin>,
}

impl fmt::Debug for Kerberos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kerberos").field("service", &self.service).finish_non_exhaustive()
    }
}

impl SaslMechanism for Kerberos {
    fn name(&self) -> &str {
        "GSSAPI"
    }

    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a> {
        Box::pin(async move {
            // A ticket is for a host by the name that the KDC knows: what the broker advertises has to be that. A library that
            // blocks while it asks the KDC belongs into `tokio::task::spawn_blocking`.
            let mut context = (self.begin)(&format!("{}@{}", self.service, peer.host))?;
            let token = context.step(None)?.ok_or_else(|| broken("no token to begin with"))?;
            Ok((SaslMessage::new(token), Box::new(Session { context, state: State::Tokens }) as _))
        })
    }
}

struct Session {
    context: Box<dyn GssContext>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Tokens go to and fro.
    Tokens,
    /// The broker says which security layers it has.
    Layers,
    /// It has nothing more to say.
    Done,
}

impl SaslSession for Session {
    fn challenge(&mut self, message: &[u8]) -> Result<Option<SaslMessage>> {
        match self.state {
            State::Tokens => {
                let token = self.context.step(Some(message))?;
                if self.context.is_established() {
                    self.state = State::Layers;
                }
                Ok(Some(SaslMessage::new(token.unwrap_or_default())))
            }
            State::Layers => {
                let layers = self.context.unwrap(message)?;
                let [layers, _, _, _] = layers[..] else { return Err(broken("the layers are four bytes")) };
                if layers & 1 == 0 {
                    return Err(broken("the broker insists on a security layer"));
                }
                self.state = State::Done;
                // No layer, so no message of it; and nobody but who the ticket is for.
                Ok(Some(SaslMessage::new(self.context.wrap(&[1, 0, 0, 0])?)))
            }
            State::Done if message.is_empty() => Ok(None),
            State::Done => Err(broken("a message after the last one")),
        }
    }
}

fn broken(why: &'static str) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("GSSAPI: {why}"))
}

/// Stands for a library: its tokens are words, and nothing about it is secret.
struct Toy {
    service: String,
    established: bool,
}

impl GssContext for Toy {
    fn step(&mut self, token: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        match token {
            None => Ok(Some(format!("AP-REQ for {}", self.service).into_bytes())),
            Some(b"AP-REP") => {
                self.established = true;
                Ok(None)
            }
            Some(_) => Err(Error::with_message(ErrorKind::Denied, "GSSAPI: the broker could not show who it is")),
        }
    }

    fn is_established(&self) -> bool {
        self.established
    }

    fn wrap(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok([b"wrapped:", message].concat())
    }

    fn unwrap(&self, message: &[u8]) -> Result<Vec<u8>> {
        message.strip_prefix(b"wrapped:").map(<[u8]>::to_vec).ok_or_else(|| broken("not wrapped"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let begin = |service: &str| Ok(Box::new(Toy { service: service.to_owned(), established: false }) as _);
    let kerberos = Kerberos { service: "kafka".to_owned(), begin: Arc::new(begin) };
    // This is how a client gets it; nobody listens here, so it is not made.
    let _config = ClientConfig::new(["broker1.example.com:9093"]).sasl(kerberos.clone());

    let peer = SaslPeer::new("broker1.example.com", 9093, 0);
    let (mut message, mut session) = kerberos.start(&peer).await?;
    // What a broker answers to each message, and what it has to hear.
    let script: [(&[u8], &[u8]); 3] = [
        (b"AP-REQ for kafka@broker1.example.com", b"AP-REP"),
        (b"", b"wrapped:\x01\x00\xff\xff"),
        (b"wrapped:\x01\x00\x00\x00", b""),
    ];
    for (heard, answer) in script {
        println!("client: {:?}\nbroker: {:?}", String::from_utf8_lossy(&message), String::from_utf8_lossy(answer));
        assert_eq!(&message[..], heard);
        match session.challenge(answer)? {
            Some(next) => message = next,
            None => {
                println!("authenticated");
                break;
            }
        }
    }
    assert!(session.challenge(b"more").is_err(), "nothing comes after the end");
    Ok(())
}
