//! Java's TLS: listeners of a real Kafka, one for each version and key. Each wants to see a certificate.

use crate::unwelcome::listener;
use crate::{showing, speaking};
use milena::client::{Client, ClientConfig};
use milena::error::{Error, ErrorKind};
use milena::tls::TlsConfig;
use std::time::Duration;

/// As `tls.sh` has them: version, server's key, distance from the first port.
const LISTENERS: [(&str, &str, u16); 7] = [
    ("1.2", "rsa", 20),
    ("1.2", "p256", 21),
    ("1.2", "p384", 22),
    ("1.3", "rsa", 23),
    ("1.3", "p256", 24),
    ("1.3", "p384", 25),
    ("1.3", "ed25519", 26),
];

async fn topics(tls: TlsConfig, distance: u16) -> Result<(), Error> {
    let config = ClientConfig::new([listener(distance)]).tls(tls).default_api_timeout(Duration::from_secs(15));
    let client = Client::connect(config).await?;
    let listed = client.admin().list_topics().await.map(|_| ());
    client.close().await;
    listed
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn every_version_server_key_and_client_key_that_java_has() {
    let mut failed = Vec::new();
    for (version, server, distance) in LISTENERS {
        for kind in crate::KINDS {
            // Whatever both have is agreed on, and what the listener has alone.
            for (asked, tls) in [("any", showing(kind)), (version, speaking(showing(kind), version))] {
                let done = topics(tls, distance).await;
                println!("TLS {version} (asked for {asked}), server {server}, client {kind}: {done:?}");
                if let Err(error) = done {
                    failed.push(format!("TLS {version}, {server}, {kind}: {error}"));
                }
            }
        }
        let other = if version == "1.2" { "1.3" } else { "1.2" };
        let error = topics(speaking(showing("p256"), other), distance).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("no version or cipher"), "{error}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
