//! TLS at the listeners, in memory and over TCP.

use super::*;
use crate::wire::messages::{MetadataRequest, SaslHandshakeRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// A client's side.
#[derive(Clone)]
struct Trust {
    ca: String,
    certificate: Option<(String, String)>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Trust {
    fn of(cluster: &TestCluster) -> Self {
        Self { ca: cluster.ca_pem(), certificate: None, versions: rustls::ALL_VERSIONS.to_vec() }
    }

    fn showing(self, certificate: (String, String)) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    async fn shake_hands(&self, stream: BoxStream, host: &str) -> io::Result<BoxStream> {
        let certificates =
            |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
        let mut roots = RootCertStore::empty();
        for ca in certificates(&self.ca) {
            roots.add(ca).unwrap();
        }
        let config = ClientConfig::builder_with_provider(crate::tls::provider().unwrap())
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.certificate {
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(certificates(chain), key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await?;
        Ok(Box::new(stream))
    }

    /// Broker 1 in memory.
    async fn connect(&self, cluster: &TestCluster) -> io::Result<Peer> {
        let stream = cluster.connector().connect("broker-1", 9092).await?;
        let stream = self.shake_hands(stream, "broker-1").await?;
        Ok(Peer { stream, buffer: BytesMut::new(), sent: 0 })
    }
}

impl Peer {
    /// Whether it may write to topic `t`; `None` if the connection ends.
    async fn may_write(&mut self) -> Option<bool> {
        let frame = encode_request(&produce("t", 0, batch(&[(1, "a")])), 9, 1, "peer").unwrap();
        self.stream.write_all(&frame).await.ok()?;
        self.sent = 1;
        let answer = self.receive::<ProduceRequest>(9).await?;
        Some(answer.responses[0].partition_responses[0].error_code == 0)
    }
}

fn cluster(tls: Tls) -> Builder {
    TestCluster::builder().tls(tls).topic("t", 1).in_memory()
}

#[tokio::test(start_paused = true)]
async fn both_versions_of_tls_are_spoken_unless_one_is_not() {
    for versions in [vec![&TLS12], vec![&TLS13], vec![&TLS12, &TLS13]] {
        let cluster = cluster(Tls::default().versions(&versions)).start().await.unwrap();
        for version in [&TLS12, &TLS13] {
            let trust = Trust { versions: vec![version], ..Trust::of(&cluster) };
            let spoken = trust.connect(&cluster).await;
            assert_eq!(spoken.is_ok(), versions.contains(&version), "{version:?} of {versions:?}");
            if let Ok(mut peer) = spoken {
                assert_eq!(peer.may_write().await, Some(true));
                assert_eq!(
                    peer.call(9, &produce("t", 0, batch(&[(1, &"x".repeat(900_000))]))).await.responses.len(),
                    1
                );
                assert!(
                    peer.fetch(&fetch("t", 0, 1, 0)).await.records.unwrap().len() > 900_000,
                    "more than a pipe holds"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_whom_its_certificate_is_for() {
    let builder = |client_auth| cluster(Tls::default().client_auth(client_auth)).authorizer(&["User:CN=alice"]);
    let other = cluster(Tls::default()).start().await.unwrap();
    let versions = [&TLS12, &TLS13];
    for (client_auth, alice, bob, nobody, strange) in [
        (ClientAuth::None, Some(false), Some(false), Some(false), Some(false)),
        (ClientAuth::Requested, Some(true), Some(false), Some(false), None),
        (ClientAuth::Required, Some(true), Some(false), None, None),
    ] {
        let cluster = builder(client_auth).start().await.unwrap();
        for version in versions {
            let trust = Trust { versions: vec![version], ..Trust::of(&cluster) };
            let cases = [
                ("alice", Some(cluster.client_certificate("alice")), alice),
                ("bob", Some(cluster.client_certificate("bob")), bob),
                ("nobody", None, nobody),
                ("strange", Some(other.client_certificate("alice")), strange),
            ];
            for (who, certificate, expected) in cases {
                let trust = Trust { certificate, ..trust.clone() };
                let may = match trust.connect(&cluster).await {
                    Ok(mut peer) => peer.may_write().await,
                    Err(_) => None,
                };
                assert_eq!(may, expected, "{who}, {client_auth:?}, {version:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_speaks_for_the_brokers_is_checked() {
    let sound = cluster(Tls::default()).start().await.unwrap();
    let expired = cluster(Tls::default().validity(1_000_000_000, 1_500_000_000)).start().await.unwrap();
    let renamed = cluster(Tls::default().names(&["kafka.example"])).start().await.unwrap();
    let why = async |trust: Trust, cluster: &TestCluster| match trust.connect(cluster).await {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(why(Trust::of(&sound), &sound).await, "nothing");
    assert!(why(Trust::of(&expired), &sound).await.contains("UnknownIssuer"));
    assert!(why(Trust::of(&expired), &expired).await.contains("expired"));
    assert!(why(Trust::of(&renamed), &renamed).await.contains("kafka.example"));
}

#[tokio::test(start_paused = true)]
async fn certificates_can_be_given() {
    let maker = cluster(Tls::default()).start().await.unwrap();
    let tls = Tls::default().client_auth(ClientAuth::Required).client_ca(maker.ca_pem());
    let (chain, key) = maker.server_certificate(&["broker-1"]);
    let given = cluster(tls.clone().certificate(chain, key.clone())).start().await.unwrap();
    let trust = Trust::of(&maker).showing(maker.client_certificate("alice"));
    assert_eq!(trust.connect(&given).await.unwrap().may_write().await, Some(true));
    let wrong = [
        (tls.clone().certificate("nothing", key.clone()), "ssl.keystore.certificate.chain"),
        (tls.clone().certificate(maker.ca_pem(), "nothing"), "ssl.keystore.key"),
        (tls.clone().certificate(maker.ca_pem(), key), "ssl.keystore.key"), // another's
        (tls.client_ca("nothing"), "ssl.truststore.certificates"),
    ];
    for (tls, property) in wrong {
        let error = cluster(tls).start().await.unwrap_err();
        assert!(error.to_string().contains(property), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn sasl_goes_over_tls_and_its_principal_counts() {
    let builder = cluster(Tls::default().client_auth(ClientAuth::Required)).authorizer(&["User:alice"]);
    let cluster = builder.sasl(&["PLAIN"]).user("alice", "secret").start().await.unwrap();
    let trust = Trust::of(&cluster).showing(cluster.client_certificate("bob"));
    let mut peer = trust.connect(&cluster).await.unwrap();
    let handshake = SaslHandshakeRequest::default().with_mechanism("PLAIN".into());
    assert_eq!(peer.call(1, &handshake).await.error_code, 0);
    let token = crate::wire::messages::SaslAuthenticateRequest::default();
    let answer = peer.call(2, &token.with_auth_bytes(Bytes::from_static(b"\0alice\0secret"))).await;
    assert_eq!(answer.error_code, 0);
    assert_eq!(peer.may_write().await, Some(true));
    // And an answer before the end arrives.
    let mut peer = trust.connect(&cluster).await.unwrap();
    let unknown = SaslHandshakeRequest::default().with_mechanism("GSSAPI".into());
    assert_eq!(peer.call(1, &unknown).await.error_code, 33);
    assert!(peer.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_tls_ends_the_connection_and_who_is_known_is_asked_nothing() {
    let cluster = cluster(Tls::default().client_auth(ClientAuth::Required)).start().await.unwrap();
    let mut plain = Peer::connect(&cluster, 1).await;
    plain.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() <= 7, "an alert at most: {answer:?}");
    assert_eq!(Peer::connect_as(&cluster, "User:root").await.may_write().await, Some(true));
    // And the other way round.
    let open = TestCluster::builder().in_memory().start().await.unwrap();
    let error = Trust::of(&cluster).connect(&open).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn connections_break_and_stall_as_without_tls() {
    let cluster = cluster(Tls::default()).start().await.unwrap();
    let trust = Trust::of(&cluster);
    let soon = |cluster: &TestCluster| cluster.clock().now() + Duration::from_secs(5);
    for stalls in [true, false] {
        let mut peer = trust.connect(&cluster).await.unwrap();
        if stalls {
            cluster.pause(NodeId(1));
        } else {
            cluster.cut(Link::Clients(NodeId(1)));
        }
        assert!(tokio::time::timeout_at(soon(&cluster), peer.may_write()).await.is_err());
        assert!(tokio::time::timeout_at(soon(&cluster), trust.connect(&cluster)).await.is_err(), "no hand is shaken");
        if stalls {
            cluster.resume(NodeId(1));
        } else {
            cluster.heal();
        }
        assert!(peer.receive::<ProduceRequest>(9).await.is_some());
    }
    let mut peer = trust.connect(&cluster).await.unwrap();
    cluster.kill(NodeId(1));
    assert!(peer.frame().await.is_none());
    assert!(trust.connect(&cluster).await.is_err());
    cluster.restart(NodeId(1)).await.unwrap();
    assert_eq!(trust.connect(&cluster).await.unwrap().may_write().await, Some(true));
    assert!(cluster.connections() <= 2);
}

#[tokio::test]
#[allow(clippy::disallowed_types, reason = "a client's socket")]
async fn tls_is_spoken_over_tcp_too() {
    let tls = Tls::default().client_auth(ClientAuth::Required);
    let cluster = TestCluster::builder().tls(tls).listen("127.0.0.1:0").brokers(2).start().await.unwrap();
    let trust = Trust::of(&cluster).showing(cluster.client_certificate("alice"));
    for address in cluster.bootstrap().split(',') {
        for host in ["localhost", "127.0.0.1"] {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let stream = trust.shake_hands(Box::new(stream), host).await.unwrap();
            let mut peer = Peer { stream, buffer: BytesMut::new(), sent: 0 };
            assert_eq!(peer.call(12, &MetadataRequest::default()).await.brokers.len(), 2);
        }
    }
    cluster.stop().await;
}
