//! A cluster with something in it, and `milena` run as others run it.

use milena::broker::TestCluster;
use milena::ids::{OffsetAndMetadata, TopicPartition};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// Three brokers; `clicks` with three partitions and a record in each of two, `orders` with one and ten records; the group
/// `billing` has committed offset 4 of `orders`. Everybody may do everything, and there are ACLs to be made.
pub async fn cluster() -> TestCluster {
    let builder = TestCluster::builder().listen("127.0.0.1:0").brokers(3).topic("clicks", 3).topic("orders", 1);
    let cluster = builder.authorizer(&["User:ANONYMOUS"]).start().await.unwrap();
    cluster.produce("orders", (0..10).map(|n| n.to_string())).await.unwrap();
    cluster.produce("clicks", ["a", "b"]).await.unwrap();
    let client = cluster.client().await.unwrap();
    let at = (TopicPartition::new("orders", 0), OffsetAndMetadata::new(4));
    client.admin().set_group_offsets("billing", [at]).await.unwrap();
    client.close().await;
    cluster
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// Its command line, for messages.
    pub line: String,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// It ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}{}", self.line, self.out, self.err);
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Each word of each line, the head's too.
    pub fn rows(&self) -> Vec<Vec<&str>> {
        self.out.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    /// Each line as a JSON object.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let objects: Vec<_> = self.out.lines().map(parse).collect();
        assert!(objects.iter().all(Value::is_object), "{}", self.out);
        objects
    }

    /// The names of an object's fields.
    #[track_caller]
    pub fn fields(&self) -> Vec<String> {
        self.json()[0].as_object().unwrap().keys().cloned().collect()
    }
}

/// A `milena` that knows where this is.
pub fn command(bootstrap: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
    command.env("KAFKA_BOOTSTRAP_SERVERS", bootstrap).env_remove("RUST_LOG");
    for variable in ["MILENA_USER_PASSWORD", "MILENA_SINK_TO", "PGPASSWORD", "PGPASSFILE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs `milena` with these words, and nothing on stdin.
pub fn milena(cluster: &TestCluster, words: &str) -> Ran {
    milena_with(cluster, words, "")
}

/// The same, with this on stdin.
pub fn milena_with(cluster: &TestCluster, words: &str, stdin: &str) -> Ran {
    let mut command = command(&cluster.bootstrap());
    command.args(words.split_whitespace());
    run(command, words, stdin)
}

/// Runs it to its end. The test's other threads go on: the brokers are among them.
pub fn run(mut command: Command, line: &str, stdin: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let done = tokio::task::block_in_place(|| {
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes()); // it may not want it
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { line: format!("milena {line}"), code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

/// Committed offsets of a group, by topic and partition.
pub async fn committed(cluster: &TestCluster, group: &str) -> HashMap<(String, i32), i64> {
    let client = cluster.client().await.unwrap();
    let offsets = client.admin().list_group_offsets(group).await.unwrap();
    client.close().await;
    offsets.into_iter().map(|(at, offset)| ((at.topic.to_string(), at.partition), offset.committed.offset)).collect()
}
