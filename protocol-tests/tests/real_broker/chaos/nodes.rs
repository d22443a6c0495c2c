//! The three nodes that `protocol-tests/kafka` has started, killed, stopped and started again as their process ids in
//! `KFM_DIR` say.

use crate::peer::Peer;
use protocol_tests::random::Random;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const NODES: u64 = 3;

pub(super) struct Nodes {
    folder: PathBuf,
    /// How each is started, and its process if it was started here.
    known: BTreeMap<u64, (Vec<String>, Option<Child>)>,
    /// What was done, for the report.
    pub(super) kills: u32,
    pub(super) stops: u32,
    pub(super) moves: u32,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let folder = PathBuf::from(std::env::var("KFM_DIR").expect("KFM_DIR is where the nodes' process ids are"));
        let mut nodes = Self { folder, known: BTreeMap::new(), kills: 0, stops: 0, moves: 0 };
        for node in 0..NODES {
            let line = fs::read(format!("/proc/{}/cmdline", nodes.pid(node))).expect("the node runs");
            let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            nodes.known.insert(node, (words, None));
        }
        nodes
    }

    fn file(&self, node: u64, kind: &str) -> PathBuf {
        self.folder.join(format!("node{node}.{kind}"))
    }

    fn pid(&self, node: u64) -> String {
        fs::read_to_string(self.file(node, "pid")).expect("three nodes run").trim().to_owned()
    }

    fn signal(&self, node: u64, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid(node)]).status().expect("kill is there");
        assert!(status.success(), "kill {signal} of node {}", node + 1);
    }

    /// Of nodes 0 to 2, whose ids are one more.
    pub(super) fn kill(&mut self, node: u64) {
        self.signal(node, "-KILL");
        if let Some((_, Some(child))) = self.known.get_mut(&node) {
            child.wait().expect("it can be waited for");
        }
    }

    pub(super) fn start(&mut self, node: u64) {
        let log =
            File::options().append(true).create(true).open(self.file(node, "log")).expect("its log can be written");
        let (line, child) = self.known.get_mut(&node).expect("there are three");
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let started = command.spawn().expect("java is there");
        let pid = started.id().to_string();
        *child = Some(started);
        fs::write(self.file(node, "pid"), pid).expect("its process id can be written");
    }

    /// Kills, stops and starts nodes and moves leaders, one after the other, until `done`. Then all run.
    pub(super) async fn suffer(&mut self, topics: &[&str], partitions: i32, random: &mut Random, done: &AtomicBool) {
        let mut moves = JoinSet::new();
        let rest = async |seconds: u64| {
            for _ in 0..seconds * 10 {
                if !done.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        };
        while !done.load(Ordering::Relaxed) {
            let node = random.below(NODES);
            match random.below(5) {
                0 | 1 => {
                    self.kills += 1;
                    self.kill(node);
                    rest(random.below(10)).await;
                    self.start(node);
                    rest(10).await; // a JVM takes that long
                }
                2 => {
                    self.stops += 1;
                    self.signal(node, "-STOP");
                    rest(20).await;
                    self.signal(node, "-CONT");
                }
                3 => {
                    self.stops += 1;
                    self.signal(node, "-STOP");
                    sleep(Duration::from_millis(500 + random.below(3_000))).await;
                    self.signal(node, "-CONT");
                }
                _ => {
                    for _ in 0..3 {
                        let (topic, partition) =
                            (random.pick(topics).to_owned(), random.below(partitions as u64) as i32);
                        moves.spawn(async move { Peer::try_move_leader(&topic, partition).await });
                    }
                }
            }
            rest(random.below(4)).await;
        }
        while let Ok(Some(moved)) = timeout(Duration::from_secs(30), moves.join_next()).await {
            self.moves += u32::from(moved.expect("no panic"));
        }
    }
}
