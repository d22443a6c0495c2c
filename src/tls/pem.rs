//! Certificates and keys out of PEM.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(wrong(&"no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(&error)),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// A sentence that names the file; a key with a passphrase is not read.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{}: no private key in PEM without passphrase: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_none_are_named() {
        let here = Path::new("Cargo.toml");
        assert!(certificates(here).unwrap_err().contains("Cargo.toml: no certificate"));
        assert!(private_key(here).unwrap_err().contains("without passphrase"));
        assert!(certificates(Path::new("no/such.pem")).unwrap_err().contains("no/such.pem"));
    }
}
