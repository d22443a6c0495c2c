//! A real cluster of three nodes that are killed (-9), stopped (SIGSTOP) and started again while leaders move and connections
//! break in the middle of requests and answers. Run by `protocol-tests/chaos.sh`, which starts the cluster and says what the
//! variables are.

mod groups;
mod nodes;
mod producer;
mod proxy;
mod truncation;

use crate::{PATIENCE, bootstrap};
use milena::client::Client;
use protocol_tests::ledger::{Found, RecordId};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Waits until every replica of every partition has everything.
async fn all_in_sync(admin: &Client, topic: &str) {
    let start = Instant::now();
    loop {
        let described = admin.admin().describe_topics([topic]).await;
        let described = described.ok().and_then(|topics| topics.into_values().next()?.ok());
        if described.is_some_and(|topic| topic.partitions.iter().all(|partition| partition.isr.len() == 3)) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "not all replicas are in sync after {PATIENCE:?}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// What kcat, which is librdkafka, reads of the whole topic. It ends with an error whenever it has no connection at all for a
/// moment, as on a machine that is busy: then it reads again.
async fn read_all(topic: &str) -> Vec<Found> {
    for _ in 0..5 {
        if let Some(found) = try_read_all(topic).await {
            return found;
        }
        sleep(Duration::from_secs(5)).await;
    }
    panic!("kcat cannot read {topic}");
}

async fn try_read_all(topic: &str) -> Option<Vec<Found>> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &bootstrap(), "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %o %s\n"]);
    let mut kcat = kcat.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("kcat is there");
    let mut lines = BufReader::new(kcat.stdout.take().expect("it is piped")).lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().await.expect("kcat writes text") {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("partition, offset and value");
        let (partition, offset) = (word().parse().expect("a partition"), word().parse().expect("an offset"));
        let id = RecordId::from_text(word()).expect("an id");
        found.push(Found { partition, offset, id });
    }
    kcat.wait().await.expect("kcat ends").success().then_some(found)
}
