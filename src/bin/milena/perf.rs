//! `milena perf`: how fast, and at which price.

use crate::args::{Failure, Global, Result, Role};
use crate::perf_consume;
use milena::client::{Client, ClientConfig};
use milena::producer::{Delivery, ProducerConfig, TopicProducer};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Measures producing or consuming.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Writes records as fast as it can and waits until all are acknowledged
    Produce(Produce),
    /// Reads a topic from its beginning, batch by batch
    Consume(perf_consume::Args),
}

#[derive(Debug, Clone, clap::Args)]
struct Produce {
    /// Topic to write to; the broker may create it
    #[arg(short, long, default_value = "user-behavior-events")]
    topic: String,
    /// How many records
    #[arg(long)]
    records: u64,
    /// Bytes of each record's value; a label only beside --payload-file
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// One payload a line, used in turn, wrapping
    #[arg(long)]
    payload_file: Option<PathBuf>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long)]
    compression: Option<String>,
    /// Bytes of a batch
    #[arg(long)]
    batch_size: Option<usize>,
    /// Milliseconds that a batch waits for more
    #[arg(long)]
    linger_ms: Option<u64>,
    /// all, 1 or 0
    #[arg(long)]
    acks: Option<String>,
    /// Whether retries neither double nor reorder
    #[arg(long)]
    idempotence: Option<bool>,
    /// Tasks that send, each with a handle of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    tasks: u64,
    /// Prints one line of JSON instead of kafka-producer-perf-test's
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    match args.what {
        What::Produce(args) => produce(args, global).await,
        What::Consume(args) => perf_consume::run(args, global).await,
    }
}

impl Produce {
    fn configs(&self, global: &Global) -> Result<(ClientConfig, ProducerConfig)> {
        let mut properties = global.properties(Role::Producer)?;
        let options = [
            ("compression.type", self.compression.clone()),
            ("batch.size", self.batch_size.map(|bytes| bytes.to_string())),
            ("linger.ms", self.linger_ms.map(|millis| millis.to_string())),
            ("acks", self.acks.clone()),
            ("enable.idempotence", self.idempotence.map(|on| on.to_string())),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                properties.insert(key, &value)?;
            }
        }
        Ok((properties.client()?, properties.producer()?))
    }

    fn payloads(&self) -> Result<Vec<Vec<u8>>> {
        let Some(path) = &self.payload_file else { return Ok(payloads(self.size)) };
        let text = std::fs::read(path).map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        let lines: Vec<Vec<u8>> =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return Err(Failure::config(format!("{}: no lines", path.display())));
        }
        Ok(lines)
    }
}

/// A few thousand different payloads of clickstream-like text.
fn payloads(size: usize) -> Vec<Vec<u8>> {
    let payload = |i: u64| {
        let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let kind = ["view", "add_to_cart", "purchase"][(id >> 60) as usize % 3];
        let product = id >> 40 & 0x3ff;
        let event = format!(
            r#"{{"event_id":"{id:016x}","user_id":{},"event_type":"{kind}","product_id":"P{product}""#,
            i % 5000
        );
        event.bytes().cycle().take(size).collect()
    };
    (0..4096).map(payload).collect()
}

async fn produce(args: Produce, global: &Global) -> Result<()> {
    let (client, config) = args.configs(global)?;
    let payloads = std::sync::Arc::new(args.payloads()?);
    let client = Client::connect(client).await?;
    let producer = client.producer(config)?;
    let before = usage();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..args.tasks {
        let records = args.records / args.tasks + u64::from(task < args.records % args.tasks);
        let (topic, payloads) = (producer.topic(args.topic.as_str()), payloads.clone());
        // On the runtime's workers, not in `block_on`'s thread: from there every wake-up would cross threads.
        tasks.push(tokio::spawn(async move { send(&topic, &payloads, records).await }));
    }
    let mut written = Written::default();
    for task in tasks {
        written.add(task.await.map_err(|error| Failure::broker(error.to_string()))??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = usage() - before;
    producer.close(Duration::from_secs(60)).await?;
    let wire_bytes = client.traffic().0;
    client.close().await;
    let Written { records, bytes, latencies } = written;
    if records != args.records {
        return Err(Failure::broker(format!("{records} of {} records were acknowledged", args.records)));
    }
    let per_second = records as f64 / seconds;
    let mb_per_second = bytes as f64 / seconds / 1_048_576.0;
    let cpu_ns_per_record = cpu.as_nanos() as f64 / records.max(1) as f64;
    let [p50, p99, p999] = percentiles(latencies);
    if args.json {
        let line = serde_json::json!({
            "records": records, "seconds": seconds, "records_per_s": per_second, "mb_per_s": mb_per_second,
            "cpu_ns_per_record": cpu_ns_per_record, "peak_rss_mib": peak_rss_mib(), "wire_bytes": wire_bytes,
            "latency_ms": {"p50": p50, "p99": p99, "p99.9": p999},
        });
        println!("{line}");
    } else {
        println!(
            "{records} records sent, {per_second:.1} records/sec ({mb_per_second:.2} MB/sec), \
             {p50:.1} ms 50th, {p99:.1} ms 99th, {p999:.1} ms 99.9th, {cpu_ns_per_record:.0} ns CPU a record."
        );
    }
    Ok(())
}

/// Every how many records the latency is looked at.
const SAMPLE: u64 = 1024;

#[derive(Default)]
struct Written {
    records: u64,
    bytes: u64,
    latencies: Vec<Duration>,
}

impl Written {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
    }
}

/// Sends, and awaits every delivery: a window of them, so that memory is the producer's and not ours.
async fn send(topic: &TopicProducer, payloads: &[Vec<u8>], records: u64) -> Result<Written> {
    let mut written = Written::default();
    let mut window = VecDeque::with_capacity(WINDOW);
    let mut samples = VecDeque::new();
    for (i, value) in (0..records).zip(payloads.iter().cycle()) {
        if i % SAMPLE == 0 {
            samples.push_back((i, Instant::now()));
        }
        if window.len() == WINDOW {
            acknowledged(&mut written, &mut window, &mut samples).await?;
        }
        window.push_back(topic.send(topic.record().value(value)).await?);
        written.bytes += value.len() as u64;
    }
    while !window.is_empty() {
        acknowledged(&mut written, &mut window, &mut samples).await?;
    }
    Ok(written)
}

/// More than `buffer.memory` has room for at 100 bytes, so that it is not what limits.
const WINDOW: usize = 400_000;

async fn acknowledged(
    written: &mut Written,
    window: &mut VecDeque<Delivery>,
    samples: &mut VecDeque<(u64, Instant)>,
) -> Result<()> {
    let Some(delivery) = window.pop_front() else { return Ok(()) };
    delivery.await?;
    if let Some((i, at)) = samples.front()
        && *i == written.records
    {
        written.latencies.push(at.elapsed());
        samples.pop_front();
    }
    written.records += 1;
    Ok(())
}

fn percentiles(mut latencies: Vec<Duration>) -> [f64; 3] {
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = ((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    [at(0.5), at(0.99), at(0.999)]
}

/// CPU time of this process so far, user and system.
pub fn usage() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(clock.tv_sec as u64, clock.tv_nsec as u32)
}

pub fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}
