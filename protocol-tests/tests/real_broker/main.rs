//! One suite against any real broker, with other people's clients on the other side. Run by
//! `protocol-tests/real_broker.sh VERSION [NODES]`, which starts an Apache Kafka, or by hand:
//!
//! ```sh
//! KAFKA_BOOTSTRAP=host:port KAFKA_JARS=folder PEER_PYTHON=$(protocol-tests/venv) \
//!   cargo test -p protocol-tests --test real_broker -- --include-ignored
//! ```
//! `KAFKA_JARS` holds the jars of the Java client (`protocol-tests/kafka resolve 4.3.1` gets them). On a cluster of one
//! node add `--skip leader`. `--skip chaos` leaves the nodes alive: that one has a script of its own, `chaos.sh`.

mod chaos;
mod codecs;
mod commits;
mod failover;
mod groups;
mod leader;
mod offsets;
mod peer;
mod sample;
mod transactions;
mod wiretap;

use milena::admin::NewTopic;
use milena::client::{Client, ClientConfig};
use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Long enough for a JVM to start and a group to settle on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn bootstrap() -> String {
    env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP=host:port says where the broker is")
}

async fn connect() -> Client {
    Client::connect(ClientConfig::new(bootstrap().split(','))).await.expect("the broker of KAFKA_BOOTSTRAP answers")
}

/// A name that no earlier run has used.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("milena-{what}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic that keeps its records however old their timestamps are.
async fn topic(client: &Client, what: &str, partitions: i32, replication: i16) -> String {
    let name = fresh(what);
    let topic = NewTopic::new(&name, partitions, replication).config("retention.ms", "-1");
    client.admin().create_topics([topic]).await.expect("the topic is created");
    name
}
