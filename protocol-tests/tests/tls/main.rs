//! TLS with other people's stacks, and what a client is told that a broker will not have: OpenSSL's `s_server` (needs
//! openssl), and a real Kafka's listeners. `protocol-tests/tls.sh VERSION` starts an Apache Kafka with what `java` and
//! `unwelcome` ask for and runs everything here.

#![allow(clippy::print_stdout, reason = "the cells, and what a person is told, for --nocapture")]

mod java;
mod openssl;
mod unwelcome;

use milena::tls::TlsConfig;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The kinds of keys that both ends may have.
const KINDS: [&str; 4] = ["rsa", "p256", "p384", "ed25519"];

/// One of the files that `protocol-tests/certificates` makes; of the folder that a Kafka has them of, if there is one.
fn certificate(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("TLS_CERTIFICATES") {
            return folder.into();
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
        let made = Command::new(script).arg(&folder).status().expect("the script runs");
        assert!(made.success(), "the certificates were made");
        folder
    });
    folder.join(name)
}

/// Trusts the authority of these files.
fn trusting() -> TlsConfig {
    TlsConfig::default().ca_file(certificate("ca.pem"))
}

/// And shows the client's certificate of this kind.
fn showing(kind: &str) -> TlsConfig {
    let (chain, key) = (certificate(&format!("client-{kind}.pem")), certificate(&format!("client-{kind}.key")));
    trusting().client_certificate_files(chain, key)
}

/// With a version of TLS.
fn speaking(tls: TlsConfig, version: &str) -> TlsConfig {
    if version == "1.2" { tls.only_tls12() } else { tls.only_tls13() }
}
