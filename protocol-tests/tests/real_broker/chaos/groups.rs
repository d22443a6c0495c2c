//! A chain of two groups on a cluster that suffers, whose members are processes: they are killed, stopped past their
//! session, asked to leave, and started again. Each tells on its standard output what it sees, and
//! [`protocol_tests::history`] judges it.

use super::nodes::Nodes;
use super::proxy::Proxy;
use super::{all_in_sync, number, read_all};
use crate::{PATIENCE, client_config, connect, fresh, topic};
use milena::client::Client;
use milena::ids::TopicPartition;
use protocol_tests::etl::{self, Chain, Journal, MEMBERS, Member, PARTITIONS, Variant};
use protocol_tests::history::{History, Log, check_chain};
use protocol_tests::ledger::RecordId;
use protocol_tests::random::Random;
use std::collections::{BTreeMap, HashSet};
use std::env;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// From the end of the faults on, whatever is owned must move again within this time.
const STALL: Duration = Duration::from_secs(30);
/// What the child is told, in its environment.
const CHILD: &str = "MILENA_TEST_MEMBER";
/// How a line begins that is for the parent.
const TELLS: &str = "@ ";

struct Scene {
    seed: u64,
    chain: Chain,
    histories: [Mutex<History>; 2],
    calm: AtomicBool,
    done: AtomicBool,
    lives: AtomicU64,
    /// What members ended by, and how often.
    failures: Mutex<BTreeMap<String, usize>>,
}

impl Scene {
    fn history(&self, stage: usize) -> MutexGuard<'_, History> {
        self.histories[stage].lock().expect("no holder panics")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka of three nodes that it may kill: protocol-tests/chaos.sh"]
async fn a_chain_of_groups_loses_skips_and_rereads_nothing_and_does_not_stall() {
    let (seed, seconds) = (number("SEED", 0), number("LASTS", 60));
    let mut random = Random::scenario(seed);
    let variant = Variant::of_seed(seed);
    let admin = connect().await;
    let mut topics: [String; 3] = Default::default();
    for name in &mut topics {
        *name = topic(&admin, "etl", PARTITIONS, 3).await;
    }
    let chain = Chain { topics, groups: [fresh("cleaners"), fresh("finishers")] };
    let scene = Arc::new(Scene {
        seed,
        chain: chain.clone(),
        histories: Default::default(),
        calm: AtomicBool::new(false),
        done: AtomicBool::new(false),
        lives: AtomicU64::new(0),
        failures: Mutex::default(),
    });
    let mut places = JoinSet::new();
    for stage in 0..2 {
        for slot in 0..MEMBERS {
            let random = Random::new(random.below(u64::MAX));
            places.spawn(Place { scene: scene.clone(), stage, slot, random }.fill());
        }
    }
    let source = tokio::spawn(write(chain.topics[0].clone(), seconds, Random::new(random.below(u64::MAX))));
    let watching = variant.exactly_once.then(|| tokio::spawn(watch_commits(scene.clone())));
    let enough = Arc::new(AtomicBool::new(false));
    let alarm = tokio::spawn({
        let enough = enough.clone();
        async move {
            sleep(Duration::from_secs(seconds)).await;
            enough.store(true, Ordering::Relaxed);
        }
    });
    let mut nodes = Nodes::new();
    let names: Vec<&str> = chain.topics.iter().map(String::as_str).collect();
    nodes.suffer(&names, PARTITIONS, &mut random, &enough).await;
    alarm.await.expect("no panic");
    for name in names {
        all_in_sync(&admin, name).await;
    }
    let acknowledged = source.await.expect("no panic");
    scene.calm.store(true, Ordering::Relaxed);
    let calm_since = Instant::now();
    let missing = drain(&chain.topics[2], &acknowledged).await;
    let took = calm_since.elapsed();
    scene.done.store(true, Ordering::Relaxed);
    timeout(PATIENCE, places.join_all()).await.expect("the members end");
    if let Some(watching) = watching {
        watching.await.expect("no panic");
    }
    admin.close().await;

    let failures = std::mem::take(&mut *scene.failures.lock().expect("no holder panics"));
    let what = format!("seed {seed}, {variant:?}, members ended by {failures:#?}");
    let mut logs = Vec::new();
    for name in &chain.topics {
        let mut log = Log::new();
        for found in read_all(name).await {
            let partition = TopicPartition::new(name.as_str(), found.partition);
            log.entry(partition).or_default().push((found.offset, found.id));
        }
        logs.push(log);
    }
    let chained = check_chain(&acknowledged, &logs[0], &logs[2], variant.exactly_once);
    chained.unwrap_or_else(|wrong| panic!("{what}: the chain:{wrong}"));
    let mut sizes = [(0, 0); 2];
    for (stage, size) in sizes.iter_mut().enumerate() {
        let history = std::mem::take(&mut *scene.history(stage));
        *size = history.size();
        history.check(&logs[stage]).unwrap_or_else(|wrong| panic!("{what}: group {stage}:{wrong}"));
    }
    assert!(missing == 0 && took < STALL, "{what}: stalled: {missing} records missing after {took:?}");
    let Nodes { kills, stops, moves, .. } = nodes;
    writeln!(
        std::io::stdout(),
        "{what}: {} records through; (tenures, records read) {sizes:?} of {} members; {kills} kills, {stops} stops, \
         {moves} leaders moved; all out {took:?} after",
        acknowledged.len(),
        scene.lives.load(Ordering::Relaxed),
    )
    .expect("stdout is there");
}

/// The first topic's records, and which were acknowledged.
async fn write(topic: String, seconds: u64, random: Random) -> HashSet<RecordId> {
    let (client, start) = (connect().await, Instant::now());
    let is_over = |_| start.elapsed() > Duration::from_secs(seconds);
    let acknowledged = etl::write(&client, &topic, SECOND / 100, random, is_over).await;
    client.close().await;
    acknowledged
}

/// How many of these have not come out when there was time enough.
async fn drain(topic: &str, acknowledged: &HashSet<RecordId>) -> usize {
    let client = connect().await;
    let missing = etl::missing(&client, topic, acknowledged, 6 * STALL).await.expect("the cluster is well");
    client.close().await;
    missing
}

/// Only where transactions keep a late commit from undoing a later one: a broker that is stopped may carry it out when
/// its member has long sent it again, to the same broker.
async fn watch_commits(scene: Arc<Scene>) {
    let client = connect().await;
    while !scene.done.load(Ordering::Relaxed) {
        for stage in 0..2 {
            let Ok(offsets) = client.admin().list_group_offsets(&scene.chain.groups[stage]).await else { continue };
            for (partition, offset) in &offsets {
                scene.history(stage).committed(partition, Some(&offset.committed));
            }
        }
        sleep(SECOND / 4).await;
    }
    client.close().await;
}

/// Where one process follows on another.
struct Place {
    scene: Arc<Scene>,
    stage: usize,
    slot: usize,
    random: Random,
}

impl Place {
    async fn fill(mut self) {
        let scene = self.scene.clone();
        for life in 0.. {
            if scene.done.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("{}-{}.{life}", scene.chain.groups[self.stage], self.slot);
            let mut child = self.start();
            let output = child.stdout.take().expect("it is piped");
            let listening = tokio::spawn(listen(scene.clone(), self.stage, name.clone(), output));
            self.one_life(&mut child).await;
            timeout(PATIENCE, child.wait()).await.expect("it ends").expect("it can be waited for");
            listening.await.expect("no panic");
            scene.history(self.stage).ended(&name);
            scene.lives.fetch_add(1, Ordering::Relaxed);
            if !scene.calm.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(self.random.below(5_000))).await;
            }
        }
    }

    fn start(&mut self) -> Child {
        let Chain { topics, groups } = &self.scene.chain;
        let names: Vec<&str> = topics.iter().chain(groups).map(String::as_str).collect();
        let numbers = [self.scene.seed, self.stage as u64, self.slot as u64, self.random.below(1 << 32)];
        let mut child = Command::new(env::current_exe().expect("this binary has a path"));
        child.args(["--exact", "chaos::groups::a_member_of_a_group", "--ignored", "--nocapture"]);
        child.env(CHILD, format!("{} {}", names.join(" "), numbers.map(|n| n.to_string()).join(" ")));
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        child.spawn().expect("it can be started")
    }

    async fn one_life(&mut self, child: &mut Child) {
        let lasts = Duration::from_millis(self.random.pick(&[5_000, 10_000, 20_000, 60_000]));
        let (start, scene) = (Instant::now(), self.scene.clone());
        let (done, calm) = (|| scene.done.load(Ordering::Relaxed), || scene.calm.load(Ordering::Relaxed));
        let mut told_of_calm = false;
        while !done() && (calm() || start.elapsed() < lasts) {
            if calm() && !told_of_calm {
                told_of_calm = true;
                tell(child, "calm\n").await;
            }
            sleep(SECOND / 5).await;
            // Not by `wait`, which closes its standard input.
            if child.try_wait().expect("it can be asked").is_some() {
                return; // it has come to its end by itself
            }
            if self.random.one_in(100) && !calm() {
                signal(child, "-STOP").await;
                sleep(Duration::from_millis(self.random.pick(&[1_000, 9_000, 15_000]))).await;
                signal(child, "-CONT").await;
            }
        }
        match self.random.below(3) {
            _ if done() => tell(child, "close\n").await,
            0 => tell(child, "close\n").await,
            1 => tell(child, "drop\n").await,
            _ => signal(child, "-KILL").await,
        }
    }
}

async fn tell(child: &mut Child, what: &str) {
    if let Some(input) = &mut child.stdin {
        let _ = input.write_all(what.as_bytes()).await; // it may have ended
    }
}

async fn signal(child: &Child, signal: &str) {
    if let Some(pid) = child.id() {
        let _ = Command::new("kill").args([signal, &pid.to_string()]).status().await;
    }
}

/// What a member tells until it ends. A line that it did not end it has not told.
async fn listen(scene: Arc<Scene>, stage: usize, name: String, output: tokio::process::ChildStdout) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).await.is_ok_and(|read| read > 0) && line.ends_with('\n') {
        if let Some(told) = line.trim_end().strip_prefix(TELLS) {
            let words: Vec<&str> = told.split(' ').collect();
            let number = |at: usize| words[at].parse::<i64>().expect("a number");
            let partition = |at: usize| TopicPartition::new(&*scene.chain.topics[stage], number(at) as i32);
            let partitions = |from: usize| (from..words.len()).map(partition).collect::<Vec<_>>();
            match words[0] {
                "assigned" => scene.history(stage).assigned(&name, number(1) as i32, &partitions(2)),
                "gone" => scene.history(stage).gone(&name, &partitions(1)),
                "read" => scene.history(stage).read(&name, &partition(1), number(2)),
                "failed" => *scene.failures.lock().expect("no holder panics").entry(told.to_owned()).or_default() += 1,
                other => panic!("{name} tells {other}"),
            }
        }
        line.clear();
    }
}

/// Tells on standard output.
struct Telling {
    calm: Arc<AtomicBool>,
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{TELLS}{what}").and_then(|()| out.flush()); // without a parent nobody listens
}

fn numbers(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(|partition| format!(" {}", partition.partition)).collect()
}

impl Journal for Telling {
    fn assigned(&self, generation: i32, partitions: &[TopicPartition]) {
        say(&format!("assigned {generation}{}", numbers(partitions)));
    }

    fn gone(&self, partitions: &[TopicPartition]) {
        say(&format!("gone{}", numbers(partitions)));
    }

    fn read(&self, partition: &TopicPartition, offset: i64) {
        say(&format!("read {} {offset}", partition.partition));
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }
}

/// The child of the test above. Alone it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child process of another test"]
async fn a_member_of_a_group() {
    let Ok(told) = env::var(CHILD) else { return };
    let words: Vec<String> = told.split(' ').map(str::to_owned).collect();
    let [a, b, c, cleaners, finishers, seed, stage, slot, own] = &words[..] else { panic!("{CHILD}={told}") };
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let mut member = Member {
        chain: Chain { topics: [a.clone(), b.clone(), c.clone()], groups: [cleaners.clone(), finishers.clone()] },
        stage: number(stage) as usize,
        slot: number(slot) as usize,
        variant: Variant::of_seed(number(seed)),
        random: Random::new(number(own)),
    };
    let (calm, over, close) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false), AtomicBool::new(false));
    let journal = Telling { calm: calm.clone() };
    let config = client_config().connect(Proxy::new(number(own))).request_timeout(5 * SECOND);
    let client = Client::new(config).expect("the settings are sound");
    let listening = async {
        let mut input = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = input.next_line().await {
            match line.as_str() {
                "calm" => calm.store(true, Ordering::Relaxed),
                "close" => {
                    close.store(true, Ordering::Relaxed);
                    over.store(true, Ordering::Relaxed);
                }
                _ => over.store(true, Ordering::Relaxed),
            }
        }
        std::process::abort(); // the parent has gone
    };
    let working = async {
        let (consumer, worked) = match member.work(&client, &journal, || over.load(Ordering::Relaxed)).await {
            Ok(worked) => worked,
            Err(error) => return say(&format!("failed {error}")),
        };
        if let Err(error) = &worked {
            say(&format!("failed {error}"));
        }
        if worked.is_ok() && close.load(Ordering::Relaxed) {
            let _ = consumer.close(10 * SECOND).await; // its error is about what will be read again
        } else {
            drop(consumer);
            sleep(SECOND).await; // its farewell
        }
    };
    tokio::select! {
        () = working => {}
        () = listening => {}
    }
    client.close().await;
    std::process::exit(0); // not by way of a runtime that waits for standard input
}
