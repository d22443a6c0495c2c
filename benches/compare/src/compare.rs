//! Interleaved rounds of all cells with all clients, and their tables.

use crate::child::{self, Cost};
use crate::job::{BUFFER_MEMORY, Job, LINGER_MS, PARTITIONS};
use crate::payloads::payloads;
use crate::peers::{Peer, Task, Tools, openssl};
use crate::seen::Seen;
use crate::table::{self, Spread};
use clap::ValueEnum;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is measured
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Cell {
    /// Produce 100 B, lz4, batches of 16 KB
    #[value(name = "100-lz4")]
    Lz4,
    /// Produce 100 B, uncompressed, batches of 16 KB
    #[value(name = "100-none")]
    Plain,
    /// Produce 100 B, uncompressed, batches of 1 MB
    #[value(name = "100-none-1m")]
    PlainLarge,
    /// Produce 1,000 B, lz4, batches of 16 KB
    #[value(name = "1000-lz4")]
    Lz4Values,
    /// Produce 1,000 B, uncompressed, batches of 16 KB
    #[value(name = "1000-none")]
    PlainValues,
    /// One record awaited at a time, without linger
    Latency,
    /// Consume 100 B, lz4, in batches of 16 KB that librdkafka wrote
    #[value(name = "consume-lz4")]
    ConsumeLz4,
    /// Consume 100 B, uncompressed, in batches of 16 KB that librdkafka wrote
    #[value(name = "consume-none")]
    ConsumePlain,
    /// Consume 1,000 B, lz4, in batches of 16 KB that librdkafka wrote
    #[value(name = "consume-1000-lz4")]
    ConsumeLz4Values,
    /// Consume 1,000 B, uncompressed, in batches of 16 KB that librdkafka wrote
    #[value(name = "consume-1000-none")]
    ConsumePlainValues,
}

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Address of a broker, of a cluster that has nothing else to do
    #[arg(long)]
    bootstrap: String,
    /// Its TLS listener, if the clients that can are to use that
    #[arg(long, requires = "tls_ca")]
    tls_bootstrap: Option<String>,
    /// PEM file with the CA of its certificate
    #[arg(long)]
    tls_ca: Option<String>,
    #[command(flatten)]
    tools: Tools,
    /// Only these cells
    #[arg(long, value_delimiter = ',', overrides_with = "cells")]
    cells: Vec<Cell>,
    /// Only these clients
    #[arg(long, value_delimiter = ',', overrides_with = "peers")]
    peers: Vec<Peer>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of 100 bytes; a fifth of it of 1,000 bytes, and a five-hundredth where each is awaited
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
}

impl Cell {
    fn task(self) -> Task {
        match self {
            Self::Lz4 | Self::Plain | Self::PlainLarge | Self::Lz4Values | Self::PlainValues => Task::Produce,
            Self::Latency => Task::Latency,
            Self::ConsumeLz4 | Self::ConsumePlain | Self::ConsumeLz4Values | Self::ConsumePlainValues => Task::Consume,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Lz4Values | Self::PlainValues | Self::ConsumeLz4Values | Self::ConsumePlainValues => 1000,
            _ => 100,
        }
    }

    fn codec(self) -> &'static str {
        match self {
            Self::Lz4 | Self::Lz4Values | Self::ConsumeLz4 | Self::ConsumeLz4Values => "lz4",
            _ => "none",
        }
    }

    fn batch_size(self) -> usize {
        if self == Self::PlainLarge { 1_000_000 } else { 16_384 }
    }

    fn records(self, of_100_bytes: u64) -> u64 {
        let part = match self {
            Self::Latency => 500,
            _ if self.size() == 1000 => 5,
            _ => 1,
        };
        (of_100_bytes / part).max(1)
    }

    /// What a consumer of the whole topic sees.
    fn seen(self, records: u64) -> Seen {
        Seen { records, bytes: records * self.size() as u64 }
    }

    fn title(self, records: u64) -> String {
        let (size, codec) = (self.size(), if self.codec() == "none" { "uncompressed" } else { self.codec() });
        match self.task() {
            Task::Produce => {
                let batch = if self == Self::PlainLarge { "1 MB" } else { "16 KB" };
                format!("Produce {size} B, {codec}, batches of {batch}: {records} records, CPU in ns a record")
            }
            Task::Latency => format!("Latency, one record awaited at a time, linger 0: {records} records, ms"),
            Task::Consume => {
                format!(
                    "Consume {size} B, {codec}, batches of 16 KB by librdkafka: {records} records, CPU in ns a record"
                )
            }
        }
    }
}

/// Everything measured: of each cell and client what each round gave.
type Results = BTreeMap<(Cell, Peer), Vec<Result<Cost, String>>>;

/// Runs all and prints the tables; whether nothing failed.
pub fn run(options: &Options) -> bool {
    let cells = if options.cells.is_empty() { Cell::value_variants() } else { &options.cells[..] };
    let peers = if options.peers.is_empty() { Peer::value_variants() } else { &options.peers[..] };
    let payloads = Payloads::write();
    let mut results = Results::new();
    for round in 0..options.rounds {
        for &cell in cells {
            let topic = |peer: Peer| format!("compare-{}-{round}-{cell:?}-{peer:?}", std::process::id());
            let job = |topic: String| Job {
                bootstrap: options.tls_bootstrap.as_ref().unwrap_or(&options.bootstrap).clone(),
                ca: options.tls_ca.clone(),
                topic,
                records: cell.records(options.records),
                payloads: payloads.of(cell.size()),
                codec: cell.codec().to_owned(),
                batch_size: Some(cell.batch_size()),
            };
            // What is to be read stands in one topic for all.
            let shared = (cell.task() == Task::Consume).then(|| job(topic(Peer::Librdkafka)));
            if let Some(job) = &shared {
                Topic::create(job, options).filled(job, options);
            }
            for at in 0..peers.len() {
                let peer = peers[(at + round) % peers.len()];
                let job = shared.clone().unwrap_or_else(|| job(topic(peer)));
                let Some(command) = peer.command(cell.task(), &job, &options.tools) else { continue };
                let topic = shared.is_none().then(|| Topic::create(&job, options));
                let result = command.and_then(|command| child::run(&command, || {})).and_then(|cost| {
                    let there = written(&job.topic, options)?;
                    if there != job.records {
                        return Err(format!("{there} of {} records are there", job.records));
                    }
                    if cell.task() == Task::Consume {
                        let (seen, all) = (Seen::said(&cost.output)?, cell.seen(job.records));
                        if !seen.is(all) {
                            return Err(format!("{seen:?}, not {all:?}"));
                        }
                    }
                    Ok(cost)
                });
                if let Some(topic) = topic {
                    topic.delete(options);
                }
                if let Err(error) = &result {
                    eprintln!("{}: {error}", peer.name(cell.task()));
                }
                results.entry((cell, peer)).or_default().push(result);
            }
            if let Some(job) = &shared {
                Topic(job.topic.clone()).delete(options);
            }
            let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            eprintln!("round {} of {}, {cell:?}; load {}", round + 1, options.rounds, load.trim());
        }
    }
    print(cells, peers, options, &results)
}

/// The files with the values, gone with this.
struct Payloads(PathBuf);

impl Payloads {
    fn write() -> Self {
        let folder = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the payloads");
        for size in [100, 1000] {
            fs::write(folder.join(size.to_string()), payloads(size)).expect("the payloads can be written");
        }
        Self(folder)
    }

    fn of(&self, size: usize) -> String {
        self.0.join(size.to_string()).to_string_lossy().into_owned()
    }
}

impl Drop for Payloads {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // only a few files too many
    }
}

/// A topic of the measurement. What is deleted goes off the disk at once.
struct Topic(String);

impl Topic {
    fn create(job: &Job, options: &Options) -> Self {
        let partitions = PARTITIONS.to_string();
        let words = ["topics", "create", &job.topic, "--replication", "1", "--partitions", &partitions];
        let configs = ["--topic-config", "file.delete.delay.ms=100", "--topic-config", "retention.ms=-1"];
        milena(options, &[&words[..], &configs[..]].concat());
        // Leaders know of it a moment later, and not everyone here waits for that.
        let start = Instant::now();
        while let Err(error) = written(&job.topic, options) {
            assert!(start.elapsed() < Duration::from_secs(30), "{}: {error}", job.topic);
        }
        Self(job.topic.clone())
    }

    fn filled(&self, job: &Job, options: &Options) {
        let job = Job { bootstrap: options.bootstrap.clone(), ca: None, ..job.clone() };
        let command = Peer::Librdkafka.command(Task::Produce, &job, &options.tools).expect("librdkafka produces");
        command.and_then(|command| child::run(&command, || {})).expect("the topic is filled");
    }

    fn delete(&self, options: &Options) {
        milena(options, &["topics", "delete", &self.0]);
    }
}

fn milena(options: &Options, words: &[&str]) {
    let mut command = vec![options.tools.milena.clone()];
    command.extend(words.iter().copied().map(str::to_owned));
    command.extend(["--bootstrap".to_owned(), options.bootstrap.clone()]);
    child::run(&command, || {}).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// How many records the topic holds, asked by a client that is not ours.
fn written(topic: &str, options: &Options) -> Result<u64, String> {
    let consumer: Result<BaseConsumer, _> =
        ClientConfig::new().set("bootstrap.servers", &options.bootstrap).set("group.id", "unused").create();
    let consumer = consumer.map_err(|error| error.to_string())?;
    let count = |partition| {
        let marks = consumer.fetch_watermarks(topic, partition, Duration::from_secs(30));
        marks.map(|(low, high)| (high - low) as u64).map_err(|error| error.to_string())
    };
    (0..PARTITIONS).map(count).sum()
}

fn print(cells: &[Cell], peers: &[Peer], options: &Options, results: &Results) -> bool {
    println!(
        "Medians of {} interleaved rounds (lowest to highest); {} processors; CPU is the client's whole process, user \
         and system. acks=all, idempotent, linger {LINGER_MS} ms, buffer {} MB, {PARTITIONS} partitions, no keys; \
         consumers with their defaults.",
        options.rounds,
        std::thread::available_parallelism().map_or(0, usize::from),
        BUFFER_MEMORY >> 20,
    );
    if options.tls_bootstrap.is_some() {
        println!("Over TLS; librdkafka has {}.", openssl());
    }
    let mut failures = Vec::new();
    for &cell in cells {
        let (records, task) = (cell.records(options.records), cell.task());
        let title = cell.title(records);
        match task {
            Task::Latency => table::head(&title, &["client", "p50", "p99", "p50 beside milena's"]),
            _ => table::head(&title, &["client", "CPU", "beside milena", "thousand records/s", "peak MiB"]),
        }
        let measure = |cost: &Cost| match task {
            Task::Latency => latency(cost, "p50"),
            _ => cost.cpu.as_nanos() as f64 / records as f64,
        };
        let good =
            |peer: Peer| results.get(&(cell, peer)).into_iter().flatten().filter_map(|result| result.as_ref().ok());
        let ours = Spread::of(good(Peer::Milena).map(measure)).map(|spread| spread.median);
        for &peer in peers {
            let Some(rounds) = results.get(&(cell, peer)) else { continue };
            let name = peer.name(task);
            for error in rounds.iter().filter_map(|result| result.as_ref().err()) {
                failures.push(format!("{name}, {cell:?}: {error}"));
            }
            let failed = rounds.iter().filter(|result| result.is_err()).count();
            let name = if failed > 0 { format!("{name} (failed {failed} of {})", rounds.len()) } else { name };
            let Some(spread) = Spread::of(good(peer).map(measure)) else {
                table::row([name, "failed".to_owned()]);
                continue;
            };
            let beside = ours.map_or(String::new(), |ours| format!("{:.2}", spread.median / ours));
            let of = |measure: &dyn Fn(&Cost) -> f64| Spread::of(good(peer).map(measure)).expect("as above");
            match task {
                Task::Latency => {
                    let p99 = of(&|cost| latency(cost, "p99"));
                    table::row([name, spread.text(3), p99.text(3), beside]);
                }
                _ => {
                    let speed = of(&|cost| records as f64 / cost.wall.as_secs_f64() / 1000.0);
                    let peak = of(&|cost| cost.peak_rss_mib);
                    table::row([
                        name,
                        spread.text(0),
                        beside,
                        format!("{:.0}", speed.median),
                        format!("{:.0}", peak.median),
                    ]);
                }
            }
        }
    }
    if !failures.is_empty() {
        println!("\nFailed:\n");
        failures.iter().for_each(|failure| println!("- {failure}"));
    }
    failures.is_empty()
}

/// Milliseconds, from the line of JSON that the child printed.
fn latency(cost: &Cost, what: &str) -> f64 {
    let line: serde_json::Value = serde_json::from_str(cost.output.trim()).expect("a line of JSON");
    line["latency_ms"][what].as_f64().expect("a latency")
}
