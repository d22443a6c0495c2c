//! Certificates and keys out of PEM: files, or text as it stands in a property.

use super::roots;
use crate::secret::Secret;
use pkcs8::der;
use pkcs8::pkcs5::Error as Unsupported;
use pkcs8::pkcs5::pbes2::{Kdf, Pbkdf2Prf};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Why there is no private key, in a sentence that names the file, and nothing of the key.
#[derive(Debug)]
pub(crate) enum NoKey {
    /// Another password may open it.
    Password(String),
    /// It can't be used as it is.
    Key(String),
}

impl From<NoKey> for String {
    fn from(why: NoKey) -> Self {
        match why {
            NoKey::Password(why) | NoKey::Key(why) => why,
        }
    }
}

/// Where PEM comes from.
#[derive(Debug, Clone)]
pub(crate) enum Pem {
    /// Read anew for each configuration.
    File(PathBuf),
    /// As it is. All on one line, with blanks for line ends, is what Java's property files have.
    Text(Secret),
}

impl Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("the text given"),
        }
    }
}

impl Pem {
    /// What changes when the file does.
    pub(crate) fn stamp(&self) -> Option<(SystemTime, u64)> {
        let Self::File(path) = self else { return None };
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|error| format!("{self}: {error}"))?;
                let text = String::from_utf8(bytes).map(Zeroizing::new);
                let text = text.map_err(|error| {
                    drop(Zeroizing::new(error.into_bytes()));
                    format!("{self}: no PEM, but binary (DER, JKS or PKCS#12?)")
                });
                Ok(in_lines(&text?))
            }
            Self::Text(text) => Ok(in_lines(text.expose())),
        }
    }

    /// Its certificates, at least one, in their order.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match found {
            Ok(found) if found.is_empty() => Err(format!("{self}: no certificate in PEM")),
            Ok(found) => Ok(found),
            Err(error) => Err(format!("{self}: {}", no_pem(&error))),
        }
    }

    /// Whom it names as to be trusted: [`Self::certificates`], or those of all files if it is a directory.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        match self {
            Self::File(path) if path.is_dir() => roots::of_directory(path),
            _ => self.certificates(),
        }
    }

    /// Its private key: PKCS#8, PKCS#1 or SEC1, or PKCS#8 encrypted with a password by PBES2.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn private_key(&self, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, NoKey> {
        let wrong = |why: &str| NoKey::Key(format!("{self}: {why}"));
        let text = self.read().map_err(NoKey::Key)?;
        if let Some(encrypted) = section(&text, "ENCRYPTED PRIVATE KEY") {
            let password = password.ok_or_else(|| wrong("the key is encrypted, and there is no password"))?;
            return decrypted(encrypted, password).map_err(|why| match why {
                NoKey::Password(why) => NoKey::Password(format!("{self}: {why}")),
                NoKey::Key(why) => wrong(&why),
            });
        }
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(wrong("the key is encrypted in OpenSSL's old way; `openssl pkcs8 -topk8` makes PKCS#8 of it"));
        }
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| wrong("no private key in PEM"))
    }
}

/// Without what it is that can't be read: a key may stand in the same file.
fn no_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section of PEM without its END",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN that begins no section of PEM",
        pem::Error::Base64Decode(_) => "no base64 between BEGIN and END",
        _ => "no PEM",
    }
}

/// What opening a key may take: a file can ask for hours and for all of the memory.
const MAX_ITERATIONS: u32 = 5_000_000;
const MAX_SCRYPT: u64 = 128 << 20;

fn is_within_reason(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(params) => params.iteration_count <= MAX_ITERATIONS,
        Kdf::Scrypt(params) => {
            let memory = u64::from(params.block_size).saturating_mul(128).saturating_mul(params.cost_parameter);
            memory.saturating_mul(params.parallelization.into()) <= MAX_SCRYPT
        }
        _ => false,
    }
}

fn decrypted(pem: &str, password: &Secret) -> Result<PrivateKeyDer<'static>, NoKey> {
    let wrong = |why: &str| NoKey::Key(why.to_owned());
    let not_read = |way: &dyn Display| {
        wrong(&format!(
            "the key is encrypted in a way that is not read here ({way}); `openssl pkcs8 -topk8 -v2 aes-256-cbc` writes it anew"
        ))
    };
    let (_, document) = SecretDocument::from_pem(pem).map_err(|error| wrong(&error.to_string()))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| match &error {
        pkcs8::Error::Asn1(asn1) => match asn1.kind() {
            der::ErrorKind::OidUnknown { oid } => not_read(&oid),
            _ => wrong(&error.to_string()),
        },
        _ => wrong(&error.to_string()),
    })?;
    let Some(scheme) = encrypted.encryption_algorithm.pbes2() else {
        return Err(wrong("the key is encrypted by PBES1; `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes PBES2 of it"));
    };
    if !is_within_reason(&scheme.kdf) {
        return Err(wrong(
            "the key is encrypted so that it takes too long to open: too many iterations, too much memory",
        ));
    }
    if scheme.kdf.pbkdf2().is_some_and(|params| params.prf == Pbkdf2Prf::HmacWithSha1) {
        return Err(not_read(&"hmacWithSHA1"));
    }
    let key = encrypted.decrypt(password.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            Unsupported::UnsupportedAlgorithm { oid } | Unsupported::AlgorithmParametersInvalid { oid },
        ) => not_read(&oid),
        _ => NoKey::Password("the password does not open the key".to_owned()),
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// The first section of this label, its lines of dashes included.
fn section<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let end = format!("-----END {label}-----");
    let start = text.find(&format!("-----BEGIN {label}-----"))?;
    let length = text.get(start..)?.find(&end)? + end.len();
    text.get(start..start + length)
}

/// Dashes and base64 on lines of their own, as PEM has it, and what stands between sections left out. What begins a section and
/// doesn't end it stays as it is.
fn in_lines(text: &str) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::with_capacity(text.len() + text.len() / 32 + 64));
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        rest = &rest[start..];
        let Some((head, body, foot, after)) = first_section(rest) else {
            lines.push_str(rest);
            break;
        };
        for line in std::iter::once(head).chain(wrapped(body)).chain(std::iter::once(foot)) {
            lines.push_str(line);
            lines.push('\n');
        }
        rest = after;
    }
    lines
}

/// `-----BEGIN …-----`, what follows, `-----END …-----`, and what is behind that.
fn first_section(text: &str) -> Option<(&str, &str, &str, &str)> {
    let dashes = |from: &str| from.get(5..)?.find("-----").map(|at| at + 10);
    let (head, rest) = text.split_at_checked(dashes(text)?)?;
    let (body, rest) = rest.split_at_checked(rest.find("-----END ")?)?;
    let (foot, rest) = rest.split_at_checked(dashes(rest)?)?;
    Some((head, body, foot, rest))
}

/// Headers (`Proc-Type: …`) stay on their lines; base64 has neither blanks nor more than 64 characters on a line.
fn wrapped(body: &str) -> impl Iterator<Item = &str> {
    body.lines().flat_map(|line| match line.contains(": ") {
        true => vec![line],
        false => line.split_whitespace().flat_map(chunks).collect(),
    })
}

fn chunks(word: &str) -> Vec<&str> {
    let mut rest = word;
    let mut chunks = Vec::new();
    while let Some((chunk, more)) = rest.split_at_checked(64).filter(|(_, more)| !more.is_empty()) {
        chunks.push(chunk);
        rest = more;
    }
    chunks.push(rest);
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm ed25519`, and the same by `openssl pkcs8 -topk8 -passout pass:open`.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDRO0zuvMJRLMyi31YwyyakdqaKmo36GK/xbxT/03hFG\n-----END PRIVATE KEY-----\n";
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhaNiTM48qzPwICCAAw\nDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDMqwOSaGuzTS8zXjg4bc/kEQMYE\nsGtUEbtl6SAmSQsyKmXNH64pZuE+0AQ4K9wduZW6fckfEKQoXhpBMYZJsmZJ7l1+\nWhcT+gJnQUx+H7Ak9Oo=\n-----END ENCRYPTED PRIVATE KEY-----\n";

    fn text(pem: &str) -> Pem {
        Pem::Text(pem.into())
    }

    #[test]
    fn files_that_are_none_are_named() {
        let here = Pem::File("Cargo.toml".into());
        assert!(here.certificates().unwrap_err().contains("Cargo.toml: no certificate"));
        assert!(String::from(here.private_key(None).unwrap_err()).contains("Cargo.toml: no private key"));
        assert!(Pem::File("no/such.pem".into()).certificates().unwrap_err().contains("no/such.pem"));
    }

    #[test]
    fn a_key_is_opened_by_its_password_and_by_no_other() {
        let plain = text(KEY).private_key(None).unwrap();
        let opened = text(ENCRYPTED).private_key(Some(&"open".into())).unwrap();
        assert_eq!(plain.secret_der(), opened.secret_der());
        let wrong = text(ENCRYPTED).private_key(Some(&"sesame".into())).unwrap_err();
        assert!(matches!(&wrong, NoKey::Password(why) if why.contains("does not open")), "{wrong:?}");
        let locked = text(ENCRYPTED).private_key(None).unwrap_err();
        assert!(matches!(&locked, NoKey::Key(why) if why.contains("no password")), "{locked:?}");
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert!(String::from(text(old).private_key(None).unwrap_err()).contains("topk8"));
    }

    /// `openssl pkcs8 -topk8 -v2 des3 -passout pass:open`.
    const DES3: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGKME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAhHbmQQ8RCgBwICCAAw\nDAYIKoZIhvcNAgkFADAUBggqhkiG9w0DBwQI19h/ORFWwVMEOHYmnM68izrDwruO\nsd7tQ6VpKS1PD50GtYf4jnSLSMnPr0Fe6SpgdbiRnDiYVIExxBoqBX9jXNL6\n-----END ENCRYPTED PRIVATE KEY-----\n";

    /// `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -passout pass:open`, as OpenSSL before 1.1.0 did it.
    const SHA1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGNMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAjS0EAsizVqRgICCAAw\nHQYJYIZIAWUDBAEqBBA/FAQurIrPVKxT+m01B7PABEBIoynCygh2vyrLeh3/rwWT\nMqoE2GZQLOy/Bo6MVuAn5RAJtoqcdYAtMCIxewlrwZgEvbjxzSs0LHSd0/jD5ya9\n-----END ENCRYPTED PRIVATE KEY-----\n";

    #[test]
    fn a_cipher_that_is_not_read_is_told_from_a_wrong_password() {
        for (pem, what) in [(DES3, "1.2.840.113549.3.7"), (SHA1, "hmacWithSHA1")] {
            let error = text(pem).private_key(Some(&"open".into())).unwrap_err();
            let expected = format!("not read here ({what})");
            assert!(matches!(&error, NoKey::Key(why) if why.contains(&expected)), "{error:?}");
        }
    }

    #[test]
    fn a_section_that_is_broken_is_said_so_and_never_left_out() {
        let whole = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (broken, why) in [
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "without its END"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERT", "without its END"),
            ("-----BEGIN CERTIFICATE\nhush\n", "begins no section"),
            ("-----BEGIN CERTIFICATE-----\nhush!\n-----END CERTIFICATE-----\n", "no base64"),
        ] {
            let error = text(&format!("{whole}{broken}")).certificates().unwrap_err();
            assert!(error.contains(why) && !error.contains("hush"), "{error}");
        }
        assert_eq!(text(&format!("junk\n{whole}between{whole}behind")).certificates().unwrap().len(), 2);
    }

    #[test]
    fn pem_on_one_line_is_read_as_java_reads_it() {
        let one_line = ENCRYPTED.replace('\n', " ");
        let opened = text(&one_line).private_key(Some(&"open".into())).unwrap();
        assert_eq!(opened.secret_der(), text(KEY).private_key(None).unwrap().secret_der());
    }
}
