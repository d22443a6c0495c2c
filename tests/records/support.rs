//! A cluster on TCP, and the command as a process on it.

use milena::broker::{ApiKey, StoredRecord, TestCluster};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a process has left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    /// What it printed, after it has succeeded.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.stderr);
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Its lines with spaces between them.
    #[track_caller]
    pub(crate) fn words(&self) -> String {
        self.text().lines().collect::<Vec<_>>().join(" ")
    }

    /// Fails if it has not ended with this code and said this.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, with: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        for part in with {
            assert!(self.stderr.contains(part), "{part:?} is not in: {}", self.stderr);
        }
    }
}

pub(crate) async fn cluster<const N: usize>(topics: [(&str, i32); N]) -> TestCluster {
    let mut builder = TestCluster::builder().listen("127.0.0.1:0");
    for (name, partitions) in topics {
        builder = builder.topic(name, partitions);
    }
    builder.start().await.unwrap()
}

/// The command, with the cluster's address in its environment.
pub(crate) fn command(cluster: &TestCluster, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
    command.args(args).env("KAFKA_BOOTSTRAP_SERVERS", cluster.bootstrap());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end with this on stdin.
pub(crate) fn milena(cluster: &TestCluster, args: &[&str], input: impl AsRef<[u8]>) -> Done {
    let mut child = command(cluster, args).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref().to_vec());
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // it may have ended before
    });
    let done = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    Done { code: done.status.code().unwrap(), stdout: done.stdout, stderr }
}

/// Keys and values of a topic's records, as text; `-` is null.
pub(crate) fn stored(cluster: &TestCluster, topic: &str) -> Vec<(String, String)> {
    let text = |bytes: Option<bytes::Bytes>| match bytes {
        None => "-".to_owned(),
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let pair = |record: StoredRecord| (text(record.key), text(record.value));
    cluster.records(topic).unwrap().into_iter().map(pair).collect()
}

/// The values alone.
pub(crate) fn values(cluster: &TestCluster, topic: &str) -> Vec<String> {
    stored(cluster, topic).into_iter().map(|(_, value)| value).collect()
}

/// Returns when somebody has asked this of the cluster.
pub(crate) async fn asked(cluster: &TestCluster, api: ApiKey) {
    while cluster.requests(api).count == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
