//! What went wrong, in words.

use rustls::{AlertDescription, CertificateError};
use std::error::Error;

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
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => "the server does not take our certificate",
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => "the server has no version or cipher of TLS 1.2 or 1.3 that we have",
        _ => return None,
    })
}

/// What a failed handshake is, in a sentence and with a hint; `None` where the connection just broke and another may not.
pub(crate) fn explain(error: &rustls::Error, host: &str) -> Option<(String, &'static str)> {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return advice(error)
            .map(|advice| (format!("{advice} ({error})"), "look at the broker's log, which says more"));
    };
    Some(match certificate {
        Bad::UnknownIssuer => (
            "the broker's certificate is of a CA that is not trusted".to_owned(),
            "name the CA's file by ssl.ca.location (Java: ssl.truststore.location)",
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
        other => (format!("the broker's certificate is no good: {other}"), "have the broker show another one"),
    })
}

/// rustls shows a name as `DnsName("localhost")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        name.split_once('(').map_or(name.as_str(), |(_, rest)| rest).trim_matches(['"', ')']).to_owned()
    };
    if presented.is_empty() { "nothing".to_owned() } else { presented.iter().map(bare).collect::<Vec<_>>().join(", ") }
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
}
