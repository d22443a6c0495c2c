//! What `milena broker` asks of its clients: TLS, certificates, SASL.

use crate::args::Result;
use crate::say;
use milena::broker::{Builder, ClientAuth, TestCluster, Tls};
use milena::error::{Error, ErrorKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
pub struct SecurityArgs {
    /// Speaks TLS (SSL, and SASL_SSL with --sasl), by default with certificates of a CA that it makes for itself
    #[arg(long)]
    tls: bool,
    /// ssl.client.auth: none, requested or required
    #[arg(long, value_name = "WHEN", default_value = "none", requires = "tls")]
    tls_client_auth: ClientAuth,
    /// Writes there ca.pem, the CA that it has made, and for each --tls-client NAME.pem
    #[arg(long, value_name = "DIR", requires = "tls")]
    tls_dir: Option<PathBuf>,
    /// A client to make a certificate for, with its key in the same file; it is User:CN=NAME. Repeatable
    #[arg(long = "tls-client", value_name = "NAME", requires = "tls_dir")]
    tls_clients: Vec<String>,
    /// The brokers' certificate, in PEM, instead of one of its own
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key, in PEM without passphrase
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Who signs for clients, in PEM, instead of its own CA
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_client_ca: Option<PathBuf>,
    /// sasl.enabled.mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (unsecured tokens). Repeatable
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',')]
    sasl: Vec<String>,
    /// A user with its password. Repeatable
    #[arg(long = "user", value_name = "NAME:PASSWORD", requires = "sasl")]
    users: Vec<String>,
    /// connections.max.reauth.ms: for how long a connection is good, until it has authenticated itself anew; 0 is for ever
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "sasl")]
    max_reauth_ms: u64,
}

impl SecurityArgs {
    pub fn apply(&self, mut builder: Builder) -> Result<Builder> {
        if self.tls {
            let mut tls = Tls::default().client_auth(self.tls_client_auth);
            if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
                tls = tls.certificate(read(certificate)?, read(key)?);
            }
            if let Some(ca) = &self.tls_client_ca {
                tls = tls.client_ca(read(ca)?);
            }
            builder = builder.tls(tls);
        }
        let mechanisms: Vec<_> = self.sasl.iter().map(String::as_str).collect();
        builder = builder.sasl(&mechanisms).connections_max_reauth(Duration::from_millis(self.max_reauth_ms));
        for user in &self.users {
            // Not what was given: a password does not belong in an error.
            let wrong = || Error::with_message(ErrorKind::Config, "--user is not NAME:PASSWORD");
            let (name, password) = user.split_once(':').ok_or_else(wrong)?;
            builder = builder.user(name, password);
        }
        Ok(builder)
    }

    pub fn print_counts(&self, cluster: &TestCluster) -> Result<()> {
        let count = cluster.authentications();
        if !self.sasl.is_empty() {
            say!(
                "AUTHENTICATED={} FAILED={} REAUTHENTICATED={} EXPIRED={}",
                count.succeeded,
                count.failed + count.reauthentications_failed,
                count.reauthenticated,
                count.expired
            );
        }
        Ok(())
    }

    /// Writes the certificates that clients need.
    pub fn write_certificates(&self, cluster: &TestCluster) -> Result<()> {
        let Some(dir) = &self.tls_dir else { return Ok(()) };
        fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        write(&dir.join("ca.pem"), &cluster.ca_pem())?;
        for name in &self.tls_clients {
            let (chain, key) = cluster.client_certificate(name);
            write(&dir.join(format!("{name}.pem")), &format!("{key}{chain}"))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| failed(path, error))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::with_message(ErrorKind::Config, format!("{}: {error}", path.display()))
}
