//! One suite against any real broker, with other people's clients on the other side. Run by `protocol-tests/matrix`, which
//! starts Apache Kafka, asks `plan.rs` what a cluster is for, and knows every variable; against a cluster that runs already
//! by `protocol-tests/matrix at HOST:PORT`; or by hand, some tests of it:
//!
//! ```sh
//! KAFKA_BOOTSTRAP=host:port KAFKA_JARS=folder PEER_PYTHON=$(protocol-tests/venv) \
//!   cargo test -p protocol-tests --test real_broker -- --include-ignored codecs::
//! ```
//! `KAFKA_JARS` holds the jars of the Java client (`protocol-tests/kafka resolve 4.3.1` gets them), `KAFKA_VERSION` is the
//! release, if it is Apache's, `KAFKA_PROPERTIES` and `KAFKA_JAVA_PROPERTIES` are files with what security takes by
//! librdkafka's and by Java's names. `chaos`, `limits` and `oauthbearer` have scripts of their own, `chaos.sh`, `limits.sh` and
//! `oauthbearer.sh`.

mod admin;
mod admin_access;
mod admin_cluster;
mod admin_groups;
mod admin_topics;
mod chaos;
mod codecs;
mod commits;
mod consumer_groups;
mod emulation;
mod failover;
mod fetching;
mod groups;
mod large_group;
mod leader;
mod limits;
mod metrics;
mod mixed_groups;
mod oauthbearer;
mod offsets;
mod patterns;
mod peer;
mod plan;
mod purge;
mod refused_retry;
mod rejected;
mod sample;
mod security;
mod too_large;
mod transactions;
mod wiretap;

use milena::admin::NewTopic;
use milena::client::{Client, ClientConfig};
use milena::error::Result;
use milena::ids::TopicPartition;
use milena::properties::Properties;
use std::env;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a JVM to start and a group to settle on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn bootstrap() -> String {
    env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP=host:port says where the broker is")
}

/// How every client of ours gets there: `KAFKA_BOOTSTRAP`, and what the file `KAFKA_PROPERTIES` says of security, if there
/// is one.
fn client_config() -> ClientConfig {
    let properties = env::var("KAFKA_PROPERTIES").map_or_else(
        |_| String::new(),
        |path| fs::read_to_string(&path).unwrap_or_else(|error| panic!("KAFKA_PROPERTIES={path}: {error}")),
    );
    let config = Properties::parse(&properties).and_then(|properties| properties.client());
    config.expect("the properties are sound").bootstrap_servers(bootstrap().split(','))
}

async fn connect() -> Client {
    connect_with(client_config()).await
}

async fn connect_with(config: ClientConfig) -> Client {
    Client::connect(config).await.expect("the broker of KAFKA_BOOTSTRAP answers")
}

/// Whether it is known, by `KAFKA_VERSION`, that this is an Apache Kafka before `release`.
fn is_before(release: [u32; 3]) -> bool {
    let version = env::var("KAFKA_VERSION").unwrap_or_default();
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    parts.len() == 3 && parts < release.to_vec()
}

/// What a call came to, on brokers that have it; `None` if this one is of before and says that it is too old.
fn since<T: std::fmt::Debug>(release: [u32; 3], outcome: Result<T>) -> Option<T> {
    match outcome {
        Err(error) if is_before(release) => {
            assert_eq!(error.kind(), milena::error::ErrorKind::UnsupportedVersion, "{error}");
            None
        }
        outcome => Some(outcome.expect("the broker is new enough for this, and answers")),
    }
}

/// A name that no earlier run has used.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("milena-{what}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic that keeps its records however old their timestamps are.
async fn topic(client: &Client, what: &str, partitions: i32, replication: i16) -> String {
    let topic = match replication {
        1 => of_one_replica(fresh(what), partitions),
        _ => NewTopic::new(fresh(what), partitions, replication),
    };
    create(client, topic).await.expect("the topic is created")
}

/// As [`topic`], of one replica, with these properties; not every broker has all of them. Its leaders know that they are:
/// a batch of which one that is only about to become it has said NOT_LEADER_OR_FOLLOWER may have been written, for all
/// that its producer knows.
async fn topic_with(client: &Client, what: &str, partitions: i32, properties: &[(&str, &str)]) -> Result<String> {
    let topic = of_one_replica(fresh(what), partitions);
    let name = create(client, properties.iter().fold(topic, |topic, (key, value)| topic.config(*key, *value))).await?;
    assert_eq!(ends(client, &name, partitions).await, vec![0; partitions as usize]);
    Ok(name)
}

/// One replica is enough for it: on a cluster of three nodes, old releases would want two.
fn of_one_replica(name: String, partitions: i32) -> NewTopic {
    NewTopic::new(name, partitions, 1).config("min.insync.replicas", "1")
}

async fn create(client: &Client, topic: NewTopic) -> Result<String> {
    let outcomes = client.admin().create_topics([topic.config("retention.ms", "-1")]).await?;
    let (name, outcome) = outcomes.into_iter().next().expect("one was asked for");
    outcome.map(|_| name)
}

/// How many records each partition has been given. Waits until the leader of each knows that it is one.
async fn ends(client: &Client, topic: &str, partitions: i32) -> Vec<i64> {
    let partition = |number| TopicPartition::new(topic, number);
    let start = Instant::now();
    loop {
        let ends = client.admin().end_offsets((0..partitions).map(partition)).await.expect("the broker answers");
        if let Some(ends) = (0..partitions).map(|number| ends.get(&partition(number)).copied()).collect() {
            return ends;
        }
        assert!(start.elapsed() < PATIENCE, "{topic} is not known after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
