//! What went wrong, in words.

use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::net::IpAddr;

/// The TLS error behind this one, which an I/O error may wrap.
pub(crate) fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if tls.is_some() {
            return tls;
        }
        next = error.source();
    }
    None
}

/// What a person must do about it; `None` where trying again may help.
pub(crate) fn advice(error: &rustls::Error) -> Option<&'static str> {
    use CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer};
    Some(match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "the CA that signed the server's certificate is not among the trusted ones"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "connect by a name that is in the certificate's subjectAltName"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "renew the server's certificate",
        rustls::Error::InvalidCertificate(_) => "the server's certificate can't be used",
        rustls::Error::AlertReceived(alert) if is_of_our_certificate(*alert) => {
            "the server does not take our certificate"
        }
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name that we connect by"
        }
        rustls::Error::AlertReceived(AlertDescription::DecryptError) => {
            "the server can't verify what we sign or send: a certificate of ours with another's key, or somebody in between"
        }
        rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::ProtocolVersion,
        )
        | rustls::Error::PeerIncompatible(_) => "the server has no version or cipher of TLS 1.2 or 1.3 that we have",
        _ => return None,
    })
}

/// Whether a server says by it that it wants another certificate of ours, or any.
fn is_of_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

/// A broker's no to our certificate, or to our having none, in a sentence and with a hint. In TLS 1.3 it comes behind the
/// handshake.
pub(crate) fn refused(error: &rustls::Error, shows_one: bool) -> Option<(String, &'static str)> {
    let rustls::Error::AlertReceived(alert) = error else { return None };
    match (is_of_our_certificate(*alert), shows_one) {
        (true, true) => Some((
            format!("the broker does not take our certificate ({alert:?})"),
            "is it of a CA that the broker trusts, with its chain, and not expired (ssl.certificate.location, Java: \
             ssl.keystore.location)? The broker's log says more",
        )),
        (true, false) => Some((
            format!("the broker wants to see a certificate, and we have none ({alert:?})"),
            "name it and its key by ssl.certificate.location and ssl.key.location (Java: ssl.keystore.location)",
        )),
        // OpenSSL's way in TLS 1.2; it may be something else.
        (false, false) if *alert == AlertDescription::HandshakeFailure => Some((
            "the broker broke the TLS handshake off (HandshakeFailure)".to_owned(),
            "it wants to see a certificate of ours, and we have none (ssl.certificate.location and ssl.key.location), or has \
             no version or cipher in common with us",
        )),
        _ => None,
    }
}

/// What a failed handshake is, in a sentence and with a hint; `None` where the connection just broke and another may not.
pub(crate) fn explain(error: &rustls::Error, host: &str) -> Option<(String, &'static str)> {
    use CertificateError as Bad;
    if let rustls::Error::PeerMisbehaved(rustls::PeerMisbehaved::SignedKxWithWrongAlgorithm) = error {
        let sentence =
            "the broker has a kind of key that can't be used in TLS 1.2 here: Ed25519, or one of a rare curve";
        return Some((sentence.to_owned(), "have it speak TLS 1.3, or give it another key"));
    }
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return advice(error)
            .map(|advice| (format!("{advice} ({error})"), "look at the broker's log, which says more"));
    };
    Some(match certificate {
        Bad::UnknownIssuer => (
            "the broker's certificate is of a CA that is not trusted".to_owned(),
            "name the CA's file by ssl.ca.location (Java: ssl.truststore.location)",
        ),
        Bad::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            format!("the broker's certificate is not for `{host}`: it has no subjectAltName, and a CN does not count"),
            "have the broker show one with its names in subjectAltName",
        ),
        Bad::NotValidForNameContext { presented, .. } => (
            format!("the broker's certificate is not for `{host}`, but for {}", names(presented)),
            "connect by a name that is in it (bootstrap.servers, the brokers' advertised.listeners), or give up \
             knowing whom you talk to: ssl.endpoint.identification.algorithm=none",
        ),
        Bad::ExpiredContext { time, not_after } => (
            format!(
                "the broker's certificate expired {} ago",
                span(time.as_secs().saturating_sub(not_after.as_secs()))
            ),
            "renew it, or set the clock of this machine right",
        ),
        Bad::NotValidYetContext { time, not_before } => (
            format!(
                "the broker's certificate begins to be valid in {}, by the clock of this machine",
                span(not_before.as_secs().saturating_sub(time.as_secs()))
            ),
            "one of the two clocks is wrong",
        ),
        other if is_an_authoritys_own(other) => (
            "the broker shows a CA's own certificate, a self-signed one perhaps, which is not itself among the trusted ones"
                .to_owned(),
            "name that very certificate's file by ssl.ca.location (Java: ssl.truststore.location)",
        ),
        other => (format!("the broker's certificate is no good: {other}"), "have the broker show another one"),
    })
}

/// webpki's `CaUsedAsEndEntity`, for which rustls has no name. Not those who are to be trusted: our verifier takes them before.
fn is_an_authoritys_own(certificate: &CertificateError) -> bool {
    matches!(certificate, CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity")
}

/// rustls shows a name as `DnsName("localhost")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let bare = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest).trim_matches(['"', ')']);
        // rustls shows `::1` as `0::1`.
        bare.parse().map_or_else(|_| bare.to_owned(), |address: IpAddr| address.to_string())
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_tls_error_is_found_inside_of_an_io_error() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, unknown());
        assert!(advice(cause(&wrapped).unwrap()).unwrap().contains("CA"));
        assert!(advice(cause(&unknown()).unwrap()).is_some());
        assert!(cause(&io::Error::from(io::ErrorKind::ConnectionReset)).is_none());
        assert!(advice(&rustls::Error::HandshakeNotComplete).is_none(), "a connection that broke is tried again");
    }

    #[test]
    fn a_name_that_is_not_in_the_certificate_comes_with_those_that_are() {
        let presented = vec!["DnsName(\"localhost\")".to_owned(), "IpAddress(0::1)".to_owned()];
        let expected = rustls::pki_types::ServerName::try_from("b1").unwrap().to_owned();
        let wrong = CertificateError::NotValidForNameContext { expected, presented };
        let (sentence, hint) = explain(&rustls::Error::InvalidCertificate(wrong), "b1").unwrap();
        assert_eq!(sentence, "the broker's certificate is not for `b1`, but for localhost, ::1");
        assert!(hint.contains("advertised.listeners"));
        let expected = rustls::pki_types::ServerName::try_from("b1").unwrap().to_owned();
        let wrong = CertificateError::NotValidForNameContext { expected, presented: Vec::new() };
        let (sentence, _) = explain(&rustls::Error::InvalidCertificate(wrong), "b1").unwrap();
        assert!(sentence.contains("not for `b1`: it has no subjectAltName"), "{sentence}");
    }

    #[test]
    fn a_no_to_our_certificate_is_told_from_one_to_our_having_none() {
        let alert = |alert| rustls::Error::AlertReceived(alert);
        let (required, failure) = (AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure);
        assert!(refused(&alert(required), true).unwrap().0.contains("does not take our certificate"));
        assert!(refused(&alert(required), false).unwrap().0.contains("we have none"));
        assert!(refused(&alert(failure), false).unwrap().1.contains("certificate of ours"));
        assert!(refused(&alert(failure), true).is_none());
        assert!(refused(&alert(AlertDescription::InternalError), false).is_none());
        for (told, why) in [
            (AlertDescription::UnrecognisedName, "the name that we connect by"),
            (AlertDescription::InsufficientSecurity, "no version or cipher"),
            (AlertDescription::DecryptError, "what we sign"),
        ] {
            assert!(explain(&alert(told), "b").unwrap().0.contains(why), "{told:?}");
        }
    }
}
