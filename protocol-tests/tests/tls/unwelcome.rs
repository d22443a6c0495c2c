//! What a person is told whose configuration a real Kafka does not take: each has its own sentence, address and protocol, and
//! what to do about it.

use crate::{certificate, showing};
use milena::client::{Client, ClientConfig};
use milena::connect::{Connect, Connecting};
use milena::consumer::ConsumerConfig;
use milena::error::{Error, ErrorKind};
use milena::ids::TopicPartition;
use milena::net::tcp::Tcp;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::sasl::{Plain, SaslMechanism, SaslPeer, Scram, Starting};
use milena::tls::TlsConfig;
use std::time::{Duration, Instant, SystemTime};

const PLAINTEXT: u16 = 0;
const SSL: u16 = 1;
const SASL_PLAINTEXT: u16 = 2;
const SASL_SSL: u16 = 3;
/// Wants to see a certificate of the authority of `certificates`.
const MTLS_12: u16 = 21;
const MTLS_13: u16 = 24;
/// Advertises an address where nobody listens.
const GONE: u16 = 27;

/// `host:port` of the listener at this distance from the first port.
pub(crate) fn listener(distance: u16) -> String {
    let first = std::env::var("KAFKA_LISTENERS").expect("KAFKA_LISTENERS=host:port of the first listener");
    let (host, port) = first.split_once(':').expect("host:port");
    format!("{host}:{}", port.parse::<u16>().expect("a port") + distance)
}

/// The authority of Kafka's usual listeners.
fn tls() -> TlsConfig {
    TlsConfig::default().ca_file(std::env::var("KAFKA_CA").expect("KAFKA_CA=file of the authority"))
}

fn at(distance: u16) -> ClientConfig {
    ClientConfig::new([listener(distance)])
}

/// A no that is final comes at once; what may pass is tried for a while.
async fn told(config: ClientConfig, kind: ErrorKind, expected: &[&str]) -> String {
    let start = Instant::now();
    let error = Client::connect(config.default_api_timeout(Duration::from_secs(6))).await.unwrap_err();
    let took = start.elapsed();
    says(&error, kind, expected);
    if error.is_fatal() {
        assert!(took < Duration::from_secs(5), "{error} came after {took:?}");
        assert!(!error.is_retriable());
    }
    error.to_string()
}

fn says(error: &Error, kind: ErrorKind, expected: &[&str]) {
    println!("{error}");
    assert_eq!(error.kind(), kind, "{error}");
    for part in expected {
        assert!(error.to_string().contains(part), "`{part}` is missing: {error}");
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn plaintext_spoken_to_a_tls_listener() {
    for distance in [SSL, SASL_SSL] {
        let address = format!("{} (PLAINTEXT): ", listener(distance));
        let expected = [&address, "a TLS listener spoken to in plaintext", "set security.protocol to SSL or SASL_SSL"];
        told(at(distance), ErrorKind::Tls, &expected).await;
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn tls_spoken_to_a_plaintext_listener() {
    for distance in [PLAINTEXT, SASL_PLAINTEXT] {
        let address = format!("{} (SSL): ", listener(distance));
        let expected =
            [&address, "closed the connection in the TLS handshake", "a plaintext listener spoken to in TLS"];
        // A broker that goes down does the same, so it is tried again.
        told(at(distance).tls(tls()), ErrorKind::Connection, &expected).await;
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn sasl_spoken_to_a_listener_that_takes_none() {
    let alice = || Plain::new("alice", "alice-secret");
    for (config, protocol, distance) in
        [(at(PLAINTEXT), "SASL_PLAINTEXT", PLAINTEXT), (at(SSL).tls(tls()), "SASL_SSL", SSL)]
    {
        let address = format!("{} ({protocol}): ", listener(distance));
        let expected = [&address, "this listener takes no SASL", "security.protocol is PLAINTEXT or SSL here"];
        told(config.sasl(alice()), ErrorKind::Denied, &expected).await;
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_sasl_listener_that_is_not_told_who_we_are() {
    for (config, distance, should_be) in
        [(at(SASL_PLAINTEXT), SASL_PLAINTEXT, "SASL_PLAINTEXT"), (at(SASL_SSL).tls(tls()), SASL_SSL, "SASL_SSL")]
    {
        let should_be = format!("may have to be {should_be}");
        let expected = [listener(distance), "closed the connection".to_owned(), should_be];
        let expected = expected.each_ref().map(String::as_str);
        let told = told(config, ErrorKind::Connection, &expected).await;
        assert!(!told.contains("may have been written"), "{told}");
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_certificate_of_an_unknown_authority() {
    let trusts_another = TlsConfig::default().ca_file(certificate("stranger-ca.pem"));
    let address = format!("{} (SSL): ", listener(SSL));
    let expected = [&address, "of a CA that is not trusted", "name the CA's file by ssl.ca.location"];
    told(at(SSL).tls(trusts_another), ErrorKind::Tls, &expected).await;
}

/// Whatever the host is called, it is this machine.
#[derive(Debug)]
struct Here;

impl Connect for Here {
    fn connect(&self, _: &str, port: u16) -> Connecting {
        Tcp.connect("127.0.0.1", port)
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_certificate_for_another_host() {
    let port = listener(SSL).split_once(':').expect("host:port").1.to_owned();
    for host in ["broker.example", "10.1.2.3"] {
        let address = format!("{host}:{port} (SSL): ");
        let sentence = format!("the broker's certificate is not for `{host}`, but for localhost, 127.0.0.1, ::1");
        let expected = [&address, &sentence, "advertised.listeners", "ssl.endpoint.identification.algorithm=none"];
        let config = ClientConfig::new([format!("{host}:{port}")]).connect(Here);
        told(config.clone().tls(tls()), ErrorKind::Tls, &expected).await;
        Client::connect(config.tls(tls().verify_hostname(false))).await.expect("the name need not be there");
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_clock_on_either_side_of_a_certificates_time() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let day = 86_400_000;
    let address = format!("{} (SSL): ", listener(SSL));
    let later = at(SSL).tls(tls()).virtual_time_from(now + 4_000 * day);
    let expected = [&address, "the broker's certificate expired 3", " days ago", "renew it, or set the clock"];
    told(later, ErrorKind::Tls, &expected).await;
    let earlier = at(SSL).tls(tls()).virtual_time_from(now - 4_000 * day);
    let expected = [&address, "begins to be valid in 3999 days, by the clock of this machine", "clocks is wrong"];
    told(earlier, ErrorKind::Tls, &expected).await;
}

/// Not built in, and the broker has not enabled it either.
#[derive(Debug)]
struct Kerberos(Plain);

impl SaslMechanism for Kerberos {
    fn name(&self) -> &str {
        "GSSAPI"
    }

    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a> {
        self.0.start(peer)
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_mechanism_that_is_not_enabled() {
    let address = format!("SaslHandshake at {} (SASL_PLAINTEXT): ", listener(SASL_PLAINTEXT));
    let expected =
        [&address, "the mechanism GSSAPI is not enabled on this listener, which has ", "set sasl.mechanism to"];
    let told = told(at(SASL_PLAINTEXT).sasl(Kerberos(Plain::new("a", "b"))), ErrorKind::Denied, &expected).await;
    for enabled in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        assert!(told.contains(enabled), "{told}");
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_wrong_password_and_a_user_that_is_not_there() {
    let hint = "see sasl.username and sasl.password (Java: sasl.jaas.config)";
    for name in ["alice", "nobody"] {
        let plain = at(SASL_PLAINTEXT).sasl(Plain::new(name, "guess"));
        told(plain, ErrorKind::Denied, &["SaslAuthenticate at ", "Invalid username or password", hint]).await;
        for (scram, mechanism) in
            [(Scram::sha256(name, "guess"), "SCRAM-SHA-256"), (Scram::sha512(name, "guess"), "SCRAM-SHA-512")]
        {
            let address = format!("SaslAuthenticate at {} (SASL_SSL): ", listener(SASL_SSL));
            let theirs = format!("invalid credentials with SASL mechanism {mechanism}");
            let told = told(at(SASL_SSL).tls(tls()).sasl(scram), ErrorKind::Denied, &[&address, &theirs, hint]).await;
            assert!(!told.contains("guess"), "{told}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn a_listener_that_wants_a_certificate() {
    for distance in [MTLS_12, MTLS_13] {
        let address = format!("{} (SSL): ", listener(distance));
        let expected = [&address, "wants to see a certificate, and we have none", "ssl.certificate.location"];
        told(at(distance).tls(crate::trusting()), ErrorKind::Tls, &expected).await;
        let stranger = crate::trusting();
        let stranger = stranger.client_certificate_files(certificate("stranger.pem"), certificate("stranger.key"));
        let expected = [&address, "the broker does not take our certificate", "of a CA that the broker trusts"];
        told(at(distance).tls(stranger), ErrorKind::Tls, &expected).await;
        Client::connect(at(distance).tls(showing("p256"))).await.expect("this one is taken");
    }
}

#[tokio::test]
#[ignore = "needs the listeners of tls.sh"]
async fn an_advertised_listener_that_cannot_be_reached() {
    let client =
        Client::connect(at(GONE).request_timeout(Duration::from_secs(4))).await.expect("the bootstrap address answers");
    let hint = "this address is of the broker's advertised.listeners: it has to be one that can be reached from here";
    let gone = listener(GONE + 1);
    let config = ProducerConfig::default().delivery_timeout(Duration::from_secs(8)).linger(Duration::ZERO);
    let producer = client.producer(config).expect("a sound configuration");
    let name = format!("unwelcome-{}", std::process::id());
    let delivery = producer.send(ProducerRecord::new(&name).value("x")).await.expect("the topic is made");
    let error = delivery.await.unwrap_err();
    says(&error, error.kind(), &[&gone, hint]);
    let config = ConsumerConfig::default();
    let consumer = client.consumer(config).expect("a sound configuration");
    let start = Instant::now();
    let error = loop {
        let asked = consumer.end_offsets(&[TopicPartition::new(&*name, 0)]).await;
        match asked {
            Err(error) => break error,
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(60), "nobody can have answered"),
        }
    };
    says(&error, error.kind(), &[&gone, hint]);
}
