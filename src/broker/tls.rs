//! TLS at the listeners, with a CA of the cluster's own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> milena::error::Result<()> {
//! use milena::broker::{ClientAuth, TestCluster, Tls};
//!
//! let cluster = TestCluster::builder().tls(Tls::default().client_auth(ClientAuth::Required)).start().await?;
//! let ca = cluster.ca_pem(); // for `ssl.ca.location`, or `ssl.truststore.certificates`
//! let (chain, key) = cluster.client_certificate("alice"); // who is then `User:CN=alice`
//! # drop((ca, chain, key)); Ok(()) }
//! ```
//!
//! TLS 1.2 and 1.3, over TCP and in memory alike. Keys are P-256; others can be given.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `authority` | makes certificates |
//! | `name` | whom a certificate is for, as Java writes it |

mod authority;
mod name;

use super::{Builder, TestCluster};
use crate::connect::BoxStream;
use crate::error::{Error, ErrorKind, Result};
use crate::tls::provider;
use authority::{Authority, Kind, VALIDITY};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// `ssl.client.auth`: whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// `none`: they are not asked, and are `User:ANONYMOUS`. The default.
    #[default]
    None,
    /// `requested`: who shows one is whom it is for.
    Requested,
    /// `required`: who shows none is sent away.
    Required,
}

impl FromStr for ClientAuth {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "requested" => Ok(Self::Requested),
            "required" => Ok(Self::Required),
            _ => Err(Error::with_message(
                ErrorKind::Config,
                format!("ssl.client.auth: `{name}` is not none, requested or required"),
            )),
        }
    }
}

/// How the listeners of a [`TestCluster`] speak TLS. By default: a certificate for every name by which the brokers can be
/// reached from this machine, of a CA that the cluster makes for itself, and nothing asked of clients.
#[derive(Debug, Clone)]
pub struct Tls {
    client_auth: ClientAuth,
    /// Chain and key.
    certificate: Option<(String, String)>,
    client_ca: Option<String>,
    names: Option<Vec<String>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// In seconds since 1970.
    validity: (u64, u64),
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            client_auth: ClientAuth::None,
            certificate: None,
            client_ca: None,
            names: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            validity: VALIDITY,
        }
    }
}

impl Tls {
    /// `ssl.client.auth`. Default: none.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// `ssl.keystore.certificate.chain` and `ssl.keystore.key` in PEM: the brokers' certificate and its key (PKCS#8, or older
    /// forms; without passphrase). Default: made at the start.
    pub fn certificate(mut self, chain_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        self.certificate = Some((chain_pem.into(), key_pem.into()));
        self
    }

    /// `ssl.truststore.certificates` in PEM: who signs for clients. Default: the cluster's [own CA](TestCluster::ca_pem).
    pub fn client_ca(mut self, pem: impl Into<String>) -> Self {
        self.client_ca = Some(pem.into());
        self
    }

    /// The host names and addresses that the brokers' certificate is for. Default: those that they advertise, `localhost`,
    /// `127.0.0.1` and `::1`.
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Since when and until when the brokers' certificate is good, in seconds since 1970: for one that has expired. Default: from
    /// 2000 to 2049. Clients look at the wall clock.
    pub fn validity(mut self, from: u64, until: u64) -> Self {
        self.validity = (from, until);
        self
    }

    /// `ssl.enabled.protocols`. Default: TLS 1.2 and 1.3.
    pub fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Makes what is not given. `hosts` are those that the brokers advertise.
    pub(super) fn start(self, hosts: BTreeSet<String>) -> Result<Listener> {
        let wrong = |property: &str| {
            let property = property.to_owned();
            move |why: &dyn Display| Error::with_message(ErrorKind::Config, format!("{property}: {why}"))
        };
        let provider = provider().map_err(|why| Error::with_message(ErrorKind::Config, why))?;
        let made = wrong("the test cluster's certificates");
        let authority = Authority::new(Arc::clone(&provider)).map_err(|why| made(&why))?;
        let (chain, key) = match self.certificate {
            Some((chain, key)) => {
                let no_chain = wrong("ssl.keystore.certificate.chain");
                let chain = certificates(&chain).map_err(|why| no_chain(&why))?;
                let no_key = wrong("ssl.keystore.key");
                (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|why| no_key(&why))?)
            }
            None => {
                let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
                let names = self.names.unwrap_or_else(|| hosts.into_iter().chain(local).collect());
                let issued = authority.issue(&Kind::Server(&names), self.validity).map_err(|why| made(&why))?;
                (vec![issued.certificate], issued.key.into())
            }
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .map_err(|why| wrong("ssl.enabled.protocols")(&why))?;
        let config = if self.client_auth == ClientAuth::None {
            config.with_no_client_auth()
        } else {
            let no_ca = wrong("ssl.truststore.certificates");
            let trusted = match &self.client_ca {
                Some(pem) => certificates(pem).map_err(|why| no_ca(&why))?,
                None => vec![authority.certificate()],
            };
            let mut roots = RootCertStore::empty();
            for certificate in trusted {
                roots.add(certificate).map_err(|why| no_ca(&why))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier =
                if self.client_auth == ClientAuth::Requested { verifier.allow_unauthenticated() } else { verifier };
            config.with_client_cert_verifier(verifier.build().map_err(|why| no_ca(&why))?)
        };
        let config = config.with_single_cert(chain, key).map_err(|why| wrong("ssl.keystore.key")(&why))?;
        Ok(Listener { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("no certificate in PEM".to_owned()) } else { Ok(found) }
}

/// TLS as the brokers speak it.
pub(super) struct Listener {
    acceptor: TlsAcceptor,
    authority: Authority,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// Shakes hands; gives the stream within, and the principal that the client has a certificate for.
    pub(super) async fn accept(&self, stream: BoxStream) -> io::Result<(BoxStream, Option<Arc<str>>)> {
        let stream = self.acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let principal = match shown {
            Some(certificate) => {
                let subject = name::subject(certificate).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("a subject that can't be read: {error}"))
                })?;
                Some(format!("User:{subject}").into())
            }
            None => None,
        };
        Ok((Box::new(stream), principal))
    }
}

impl Builder {
    /// Has every listener speak TLS; with [`Self::sasl`] that is SASL_SSL, else SSL. [`TestCluster::connector`] gives plain streams,
    /// over which a client has to shake hands. Default: no TLS.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl TestCluster {
    /// The CA that the cluster has made for itself, in PEM.
    ///
    /// # Panics
    /// If it does not speak TLS: the test is wrong.
    pub fn ca_pem(&self) -> String {
        self.authority().pem().expect("a certificate can be written")
    }

    /// A certificate of that CA for a client, with the subject `CN=name`: the chain and the key (PKCS#8), in PEM. Where
    /// clients are [asked](Tls::client_auth) for one and not for SASL, it is `User:CN=name`.
    ///
    /// # Panics
    /// If the cluster does not speak TLS: the test is wrong. If there are no random numbers.
    pub fn client_certificate(&self, name: &str) -> (String, String) {
        self.issued(&Kind::Client(name))
    }

    /// A certificate of that CA for a server of the test's own, by host names and addresses: the chain and the key, in PEM.
    ///
    /// # Panics
    /// As [`Self::client_certificate`].
    pub fn server_certificate(&self, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issued(&Kind::Server(&names))
    }

    fn issued(&self, kind: &Kind<'_>) -> (String, String) {
        let issued = self.authority().issue(kind, VALIDITY).and_then(|issued| issued.pem());
        issued.expect("there is randomness for a key")
    }

    /// Whether its listeners speak TLS.
    pub fn has_tls(&self) -> bool {
        self.shared.security.tls.is_some()
    }

    fn authority(&self) -> &Authority {
        let tls = self.shared.security.tls.as_ref();
        &tls.expect("a test cluster that speaks TLS").authority
    }
}
