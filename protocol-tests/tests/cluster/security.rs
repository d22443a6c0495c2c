//! A client and the test broker over TLS and SASL, which are written twice: what one of them misreads, the other refuses.

use milena::broker::{ApiKey, ClientAuth, TestCluster, Tls};
use milena::client::{Client, ClientConfig};
use milena::connect::{Connect, Connecting};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{Error, ErrorCode, ErrorKind};
use milena::ids::NodeId;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::sasl::{Plain, SaslMechanism, SaslPeer, Scram, Starting};
use milena::testing::next_records;
use milena::tls::TlsConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn secured() -> milena::broker::Builder {
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    TestCluster::builder().brokers(3).topic("clicks", 3).in_memory().sasl(&mechanisms).user("alice", "pass,=word")
}

async fn there_and_back(config: ClientConfig, count: usize, pause: Duration) {
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for i in 0..count {
        let value = i.to_string();
        let record = ProducerRecord::new("clicks").value(&value);
        producer.send(record).await.unwrap().await.unwrap();
        sleep(pause).await;
    }
    let config = ConsumerConfig::group("readers").auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config).unwrap();
    consumer.subscribe(["clicks"]).await.unwrap();
    let mut values: Vec<usize> = Vec::new();
    for record in next_records(&mut consumer, count).await.unwrap() {
        values.push(std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap());
    }
    values.sort_unstable();
    assert_eq!(values, (0..count).collect::<Vec<_>>());
    consumer.close(SECOND).await.unwrap();
    producer.close(SECOND).await.unwrap();
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_works_over_tls_and_without() {
    for tls in [None, Some(Tls::default())] {
        let builder = secured();
        let cluster = match tls {
            Some(tls) => builder.tls(tls).start().await.unwrap(),
            None => builder.start().await.unwrap(),
        };
        let config = || cluster.client_config();
        there_and_back(config().sasl(Plain::new("alice", "pass,=word")), 5, Duration::ZERO).await;
    }
    let cluster = secured().tls(Tls::default()).start().await.unwrap();
    for scram in [Scram::sha256("alice", "pass,=word"), Scram::sha512("alice", "pass,=word")] {
        let client = Client::connect(cluster.client_config().sasl(scram)).await.unwrap();
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn connections_outlive_their_authentication_and_nobody_notices() {
    let cluster = secured().connections_max_reauth(10 * SECOND).start().await.unwrap();
    there_and_back(cluster.client_config().sasl(Scram::sha512("alice", "pass,=word")), 100, SECOND).await;
    let counts = cluster.authentications();
    assert!(counts.reauthenticated >= 10, "{counts:?}");
    assert_eq!((counts.failed, counts.reauthentications_failed, counts.expired), (0, 0, 0));
    let connections = counts.succeeded;
    assert!(connections <= 20, "connections were made anew: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_told_at_once_and_by_every_call() {
    let cluster = secured().start().await.unwrap();
    let begin = Instant::now();
    let config = cluster.client_config().sasl(Scram::sha256("alice", "wrong"));
    let error = Client::connect(config.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, Some(ErrorCode::SaslAuthenticationFailed)));
    assert!(error.to_string().contains("invalid credentials") && !error.to_string().contains("wrong"), "{error}");
    let client = Client::new(config).unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let error = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = client.admin().list_topics().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let mut consumer = client.consumer(ConsumerConfig::group("g")).unwrap();
    consumer.subscribe(["clicks"]).await.unwrap();
    let error = loop {
        if let Err(error) = consumer.poll(SECOND).await {
            break error;
        }
        assert!(begin.elapsed() < 30 * SECOND, "nobody says that the password is wrong");
    };
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(begin.elapsed() < 30 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_refuses_is_not_asked_for_ever() {
    let cluster = secured().start().await.unwrap();
    let client = Client::new(cluster.client_config().sasl(Plain::new("alice", "wrong"))).unwrap();
    sleep(300 * SECOND).await;
    let failed = cluster.authentications().failed;
    assert!(failed <= 40, "{failed} attempts within five minutes by a client that nobody uses");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_who_a_client_is_and_acls_hold_it() {
    let tls = Tls::default().client_auth(ClientAuth::Required);
    let builder = TestCluster::builder().topic("clicks", 1).in_memory().tls(tls).authorizer(&["User:CN=root"]);
    let cluster = builder.start().await.unwrap();
    let config = |name: &str| {
        let (chain, key) = cluster.client_certificate(name);
        let tls = TlsConfig::default().ca_pem(cluster.ca_pem()).client_certificate_pem(chain, key);
        cluster.client_config().tls(tls)
    };
    there_and_back(config("root"), 3, Duration::ZERO).await;
    let client = Client::connect(config("mallory")).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let error = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed), "{error}");
    let begin = Instant::now();
    let error = Client::connect(cluster.client_config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_dies_is_found_again_over_tls() {
    let cluster = secured().tls(Tls::default()).start().await.unwrap();
    let config = cluster.client_config().sasl(Scram::sha512("alice", "pass,=word"));
    let client = Client::connect(config.clone()).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for round in 1..=3 {
        cluster.kill(NodeId(round));
        let record = ProducerRecord::new("clicks").value("x").partition(round - 1);
        let delivery = producer.send(record).await.unwrap();
        cluster.restart(NodeId(round)).await.unwrap();
        delivery.await.unwrap();
    }
    cluster.fault(ApiKey::SaslAuthenticate).once().disconnect();
    let again = Client::connect(config).await.unwrap();
    assert_eq!(again.admin().list_topics().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn certificates_that_change_serve_the_next_connection() {
    let tls = Tls::default().client_auth(ClientAuth::Required);
    let cluster = TestCluster::builder().topic("clicks", 1).in_memory().tls(tls).start().await.unwrap();
    let folder = std::env::temp_dir().join(format!("milena-rotation-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [ca, chain, key] = ["ca.pem", "chain.pem", "key.pem"].map(|name| folder.join(name));
    let write = |name: &str| {
        let (chain_pem, key_pem) = cluster.client_certificate(name);
        std::fs::write(&chain, chain_pem).unwrap();
        std::fs::write(&key, key_pem).unwrap();
    };
    std::fs::write(&ca, cluster.ca_pem()).unwrap();
    write("first");
    let tls = TlsConfig::default().ca_file(&ca).client_certificate_files(&chain, &key);
    let client = Client::connect(cluster.client_config().tls(tls)).await.unwrap();
    let reconnected = async || {
        cluster.kill(NodeId(1));
        cluster.restart(NodeId(1)).await.unwrap();
        client.admin().list_topics().await
    };
    std::fs::write(&key, "half written").unwrap();
    reconnected().await.unwrap();
    write("a second one with another length");
    reconnected().await.unwrap();
    std::fs::write(&ca, cluster.client_certificate("nobody's CA").0).unwrap();
    assert_eq!(reconnected().await.unwrap_err().kind(), ErrorKind::Tls);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_asks_who_we_are_is_told_from_one_that_is_away() {
    let cluster = secured().start().await.unwrap();
    let error = Client::connect(cluster.client_config().default_api_timeout(5 * SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    let said = error.to_string();
    assert!(said.contains("security.protocol is PLAINTEXT, and may have to be SASL_PLAINTEXT"), "{said}");
    assert!(!said.contains("may have been written"), "{said}");
}

/// Reaches the cluster by the name `front`, and no broker by its own.
#[derive(Debug)]
struct OnlyTheFront<C> {
    connect: C,
    behind: String,
}

impl<C: Connect> Connect for OnlyTheFront<C> {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        match host {
            "front" => self.connect.connect(&self.behind, port),
            _ => Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_never_reached_where_it_says_that_it_is_gets_a_hint() {
    let cluster = TestCluster::builder().brokers(1).topic("clicks", 1).in_memory().start().await.unwrap();
    let bootstrap = cluster.bootstrap();
    let (host, port) = bootstrap.rsplit_once(':').unwrap();
    let front = OnlyTheFront { connect: cluster.connector(), behind: host.to_owned() };
    let config = cluster.client_config().bootstrap_servers([format!("front:{port}")]).connect(front);
    let client = Client::connect(config).await.unwrap();
    let producer = client.producer(ProducerConfig::default().delivery_timeout(40 * SECOND)).unwrap();
    let error = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("connection refused") && said.contains("advertised.listeners"), "{said}");
    // One that was reached and is away now is where it says.
    let client = Client::connect(cluster.client_config()).await.unwrap();
    let producer = client.producer(ProducerConfig::default().delivery_timeout(40 * SECOND)).unwrap();
    producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
    cluster.kill(NodeId(1));
    let error = producer.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap_err();
    assert!(!error.to_string().contains("advertised.listeners"), "{error}");
}

/// Alice, who has lost her password, or has a token endpoint that says 404, for a while.
#[derive(Debug, Clone)]
struct Forgetful {
    has_forgotten: Arc<AtomicBool>,
    right: Plain,
    wrong: Option<Plain>,
}

impl SaslMechanism for Forgetful {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a> {
        match (self.has_forgotten.load(Ordering::Relaxed), &self.wrong) {
            (false, _) => self.right.start(peer),
            (true, Some(wrong)) => wrong.start(peer),
            (true, None) => Box::pin(async { Err(Error::with_message(ErrorKind::Config, "404 Not Found")) }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_refused_for_a_while_says_so_and_goes_on_when_it_is_welcome_again() {
    for (protocol, wrong) in [
        ("classic", None),
        ("classic", Some(Plain::new("alice", "no"))),
        ("consumer", None),
        ("consumer", Some(Plain::new("alice", "no"))),
    ] {
        let builder = TestCluster::builder().topic("clicks", 1).in_memory().sasl(&["PLAIN"]).user("alice", "yes");
        let cluster = builder.start().await.unwrap();
        let right = Plain::new("alice", "yes");
        let feeder = Client::connect(cluster.client_config().sasl(right.clone())).await.unwrap();
        let feeder = feeder.producer(ProducerConfig::default()).unwrap();
        let feed = async || feeder.send(ProducerRecord::new("clicks").value("x")).await.unwrap().await.unwrap();
        let alice = Forgetful { has_forgotten: Arc::default(), right, wrong };
        let client = Client::connect(cluster.client_config().sasl(alice.clone())).await.unwrap();
        let mut config = ConsumerConfig::group("g").auto_offset_reset(OffsetReset::Earliest);
        config.set("group.protocol", protocol).unwrap();
        let mut consumer = client.consumer(config).unwrap();
        consumer.subscribe(["clicks"]).await.unwrap();
        feed().await;
        next_records(&mut consumer, 1).await.unwrap();

        alice.has_forgotten.store(true, Ordering::Relaxed);
        cluster.kill(NodeId(1));
        cluster.restart(NodeId(1)).await.unwrap();
        let (begin, mut errors) = (Instant::now(), 0);
        while begin.elapsed() < 60 * SECOND {
            match consumer.poll(SECOND).await {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => {
                    let expected = if alice.wrong.is_some() { ErrorKind::Denied } else { ErrorKind::Config };
                    assert_eq!(error.kind(), expected, "{protocol}: {error}");
                    errors += 1;
                }
            }
        }
        assert!((1..=300).contains(&errors), "{protocol}: {errors} errors within a minute");

        alice.has_forgotten.store(false, Ordering::Relaxed);
        feed().await;
        let begin = Instant::now();
        let mut found = 0;
        while found == 0 {
            found += consumer.poll(SECOND).await.map_or(0, |records| records.len());
            assert!(begin.elapsed() < 60 * SECOND, "{protocol}: the member stays dead");
        }
    }
}
