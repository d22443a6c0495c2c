//! Other people's clients as child processes that speak JSON lines: `java/Peer.java` and `peer.py`.

use crate::sample::Sample;
use crate::{PATIENCE, bootstrap};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Java,
    Librdkafka,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::Java, Self::Librdkafka];

    fn command(self, arguments: &[&str]) -> Command {
        let here = env!("CARGO_MANIFEST_DIR");
        let mut command = match self {
            Self::Java => {
                let jars = env::var("KAFKA_JARS").expect("KAFKA_JARS is a folder with the Java client's jars");
                let mut command = Command::new("java");
                let classes = compiled(&jars);
                // A short life: little to gain from the second compiler.
                command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
                command.args(["-cp", &format!("{jars}/*:{classes}"), "Peer"]);
                command
            }
            Self::Librdkafka => {
                let python = env::var("PEER_PYTHON").expect("PEER_PYTHON is a Python with confluent-kafka");
                let mut command = Command::new(python);
                command.arg(format!("{here}/peer.py"));
                command
            }
        };
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(self, arguments: &[&str], input: String) -> Vec<Value> {
        let mut child = self.command(arguments).spawn().expect("the peer starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let feed = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the peer ends in time");
        let Output { status, stdout, stderr } = output.expect("the peer can be waited for");
        assert!(status.success(), "{self:?} {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        feed.await.expect("no panic").expect("the peer reads what it is given");
        let lines = String::from_utf8(stdout).expect("JSON is text");
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Has the peer write these, in batches compressed with `codec`.
    pub(crate) async fn produce(self, topic: &str, codec: &str, samples: &[Sample]) {
        let lines: String = samples.iter().map(|sample| format!("{}\n", to_json(sample))).collect();
        let written = self.run(&["produce", &bootstrap(), topic, codec], lines).await;
        assert_eq!(written.len(), samples.len());
    }

    /// What the peer reads of a topic that holds `count` records.
    pub(crate) async fn consume(self, topic: &str, count: usize) -> Vec<Sample> {
        let lines = self.run(&["consume", &bootstrap(), topic, &count.to_string()], String::new()).await;
        lines.iter().map(from_json).collect()
    }

    /// What a read_committed Java consumer reads of a topic once no transaction is open there, and what the group has
    /// committed for its partitions.
    pub(crate) async fn settled(topic: &str, group: &str) -> (Vec<Sample>, BTreeMap<i32, i64>) {
        let mut lines = Self::Java.run(&["settled", &bootstrap(), topic, group], String::new()).await;
        let committed = lines.pop().expect("a line with the offsets");
        let committed = committed["committed"].as_object().expect("an object").iter();
        let offset = |(partition, offset): (&String, &Value)| Some((partition.parse().ok()?, offset.as_i64()?));
        (lines.iter().map(from_json).collect(), committed.filter_map(offset).collect())
    }

    /// Has the Java client's admin move a partition's leader to another replica; gives the new leader.
    pub(crate) async fn move_leader(topic: &str, partition: i32) -> i64 {
        let lines = Self::Java.run(&["move", &bootstrap(), topic, &partition.to_string()], String::new()).await;
        lines.first().and_then(|line| line["leader"].as_i64()).expect("it says the new leader")
    }

    /// As [`Self::move_leader`] on a cluster that may not be able to; whether it moved.
    pub(crate) async fn try_move_leader(topic: &str, partition: i32) -> bool {
        let mut command = Self::Java.command(&["move", &bootstrap(), topic, &partition.to_string()]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        matches!(timeout(PATIENCE, status).await, Ok(Ok(status)) if status.success())
    }

    /// Has the peer join a group. `assignor`: `range`, `roundrobin`, `cooperative-sticky` or `default`.
    pub(crate) fn join(self, topic: &str, group: &str, assignor: &str) -> Member {
        let mut child =
            self.command(&["member", &bootstrap(), topic, group, assignor]).spawn().expect("the peer starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reader = tokio::spawn({
            let (seen, mut lines) = (seen.clone(), lines.lines());
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    // The Java client writes what it calls an error to the same place.
                    let Some(line) = json_of(&line) else { continue };
                    let mut seen = seen.lock().expect("no reader panics");
                    match line.get("assigned").and_then(Value::as_array) {
                        Some(list) => seen.assigned = list.iter().filter_map(Value::as_i64).map(|n| n as i32).collect(),
                        None => seen.values.push(from_json(&line).value.unwrap_or_default()),
                    }
                }
            }
        });
        Member { child, seen, reader }
    }
}

/// `Peer.java` as classes, compiled once for all tests, or before, into `PEER_CLASSES`: `java Peer.java` would do it at each
/// start.
fn compiled(jars: &str) -> &'static str {
    static CLASSES: OnceLock<String> = OnceLock::new();
    CLASSES.get_or_init(|| {
        if let Ok(classes) = env::var("PEER_CLASSES") {
            return classes;
        }
        let classes = format!("{}/peer-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let source = format!("{}/java/Peer.java", env!("CARGO_MANIFEST_DIR"));
        let mut javac = std::process::Command::new("javac");
        let status = javac.args(["-d", &classes, "-cp", &format!("{jars}/*"), &source]).status();
        assert!(status.expect("javac is there").success(), "Peer.java compiles");
        classes
    })
}

#[derive(Debug, Default)]
struct Seen {
    assigned: BTreeSet<i32>,
    values: Vec<Vec<u8>>,
}

/// A peer in a group.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

impl Member {
    /// The partitions that it was given last.
    pub(crate) fn assigned(&self) -> BTreeSet<i32> {
        self.seen.lock().expect("no reader panics").assigned.clone()
    }

    /// The values that it has read.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        self.seen.lock().expect("no reader panics").values.clone()
    }

    /// Asks it to commit and leave, and waits until it has.
    pub(crate) async fn leave(mut self) -> Vec<Vec<u8>> {
        let mut stdin = self.child.stdin.take().expect("it is piped");
        stdin.write_all(b"leave\n").await.expect("the peer listens");
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let end = async { tokio::join!(self.child.wait(), stderr.read_to_string(&mut errors)).0 };
        let status = timeout(PATIENCE, end).await.expect("the peer leaves in time").expect("it can be waited for");
        assert!(status.success(), "{status}: {errors}");
        self.reader.await.expect("its lines are JSON");
        self.seen.lock().expect("no reader panics").values.clone()
    }
}

fn to_json(sample: &Sample) -> Value {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    json!({
        "partition": sample.partition,
        "timestamp": sample.timestamp,
        "key": text(&sample.key),
        "value": text(&sample.value),
        "headers": sample.headers.iter().map(|(name, value)| json!([name, text(value)])).collect::<Vec<_>>(),
    })
}

fn from_json(line: &Value) -> Sample {
    let bytes = |text: &Value| text.as_str().map(|text| STANDARD.decode(text).expect("base64"));
    let headers = line["headers"].as_array().expect("headers").iter();
    Sample {
        partition: line["partition"].as_i64().expect("a partition") as i32,
        timestamp: line["timestamp"].as_i64().expect("a timestamp"),
        key: bytes(&line["key"]),
        value: bytes(&line["value"]),
        headers: headers.map(|pair| (pair[0].as_str().expect("a name").to_owned(), bytes(&pair[1]))).collect(),
    }
}

/// What a peer says; what its client logs besides is shown.
#[allow(clippy::print_stderr, reason = "for who reads why a test failed")]
fn json_of(line: &str) -> Option<Value> {
    if !line.starts_with('{') {
        eprintln!("a peer: {line}");
        return None;
    }
    Some(serde_json::from_str(line).expect("a line of JSON"))
}
