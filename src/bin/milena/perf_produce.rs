//! `milena perf produce`: writes records, waits for every acknowledgement, and says what that cost this process.

use crate::args::{Failure, Global, Result, Role, stop_on_signal};
use crate::limit::{self, waiting_for};
use crate::perf::{peak_rss_mib, usage};
use crate::say;
use milena::client::{Client, ClientConfig};
use milena::pipeline::stop::Stop;
use milena::producer::{Deliveries, Delivery, ProducerConfig, TopicProducer};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Writes records as fast as it can and waits until all are acknowledged
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Topic to write to; the broker may create it
    #[arg(short, long, allow_hyphen_values = true)]
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
    /// So many records a second at most, of all tasks together; -1 is no limit
    #[arg(long, value_name = "N", default_value_t = -1.0, allow_negative_numbers = true)]
    throughput: f64,
    /// Each task sends a record only when the one before is acknowledged, and the latency of each is measured
    #[arg(long)]
    await_each: bool,
    /// Hands so many records at a time to `send_many`
    #[arg(long, conflicts_with = "await_each", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    many: Option<u64>,
    /// Prints one line of JSON instead of kafka-producer-perf-test's
    #[arg(long)]
    json: bool,
}

impl Args {
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

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let (client, config) = args.configs(global)?;
    let payloads = Arc::new(args.payloads()?);
    waiting_for(limit::brokers(global)?);
    let client = Client::connect(client).await?;
    let stop = stop_on_signal(None);
    limit::ends_in_order(&stop);
    waiting_for(format!("acknowledgements of {} records", args.records));
    let producer = client.producer(config)?;
    let before = usage();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..args.tasks {
        let records = args.records / args.tasks + u64::from(task < args.records % args.tasks);
        let (topic, payloads) = (producer.topic(args.topic.as_str()), payloads.clone());
        let (await_each, many) = (args.await_each, args.many);
        let pace = Pace::new(stop.clone(), args.throughput / args.tasks as f64);
        // On the runtime's workers, not in `block_on`'s thread: from there every wake-up would cross threads.
        tasks.push(tokio::spawn(async move {
            match (await_each, many) {
                (true, _) => send_one_by_one(&topic, &payloads, records, &pace).await,
                (false, Some(many)) => send_many(&topic, &payloads, records, many, &pace).await,
                (false, None) => send(&topic, &payloads, records, &pace).await,
            }
        }));
    }
    let mut written = Written::default();
    for task in tasks {
        written.add(task.await.map_err(|error| Failure::broker(error.to_string()))??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = usage() - before;
    producer.close(Duration::from_secs(60)).await?;
    let (wire_bytes, requests) = (client.traffic().0, client.produce_requests());
    client.close().await;
    let acknowledged = written.records;
    report(args.json, written, seconds, cpu, (wire_bytes, requests))?;
    if acknowledged != args.records {
        return Err(Failure::broker(format!("{acknowledged} of {} records were acknowledged", args.records)));
    }
    Ok(())
}

/// When each record of a task may be sent.
struct Pace {
    began: Instant,
    /// Not for the fastest.
    per_second: Option<f64>,
    stop: Stop,
}

impl Pace {
    fn new(stop: Stop, per_second: f64) -> Self {
        Self { began: Instant::now(), per_second: Some(per_second).filter(|rate| *rate > 0.0), stop }
    }

    /// Whether it has to be asked about each record, and not only now and then.
    fn is_limited(&self) -> bool {
        self.per_second.is_some()
    }

    /// Waits until this many records may have been sent before; false if no more are to be sent.
    async fn turn(&self, sent: u64) -> bool {
        let due = self.per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(sent as f64 / rate));
        let ahead = due.saturating_sub(self.began.elapsed());
        if ahead >= Duration::from_millis(1) {
            tokio::select! {
                () = tokio::time::sleep(ahead) => {}
                () = self.stop.stopped() => {}
            }
        }
        !self.stop.is_stopped()
    }
}

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

/// Each record is acknowledged before the next one is sent.
async fn send_one_by_one(topic: &TopicProducer, payloads: &[Vec<u8>], records: u64, pace: &Pace) -> Result<Written> {
    let mut written = Written::default();
    for (i, value) in (0..records).zip(payloads.iter().cycle()) {
        if !pace.turn(i).await {
            break;
        }
        let start = Instant::now();
        topic.send(topic.record().value(value)).await?.await?;
        written.latencies.push(start.elapsed());
        written.bytes += value.len() as u64;
        written.records += 1;
    }
    Ok(written)
}

/// Every how many records is looked which are acknowledged, and the latency of one is measured; of each, where there are only
/// [`FEW`].
const SAMPLE: u64 = 1024;
const FEW: u64 = 8 * SAMPLE;

/// As many as 32 MB of `buffer.memory` have room for at 100 bytes: then it is not what limits, and takes less than 8 MB.
const WINDOW: usize = 320_000;

/// Sends as fast as there is room, and sees to the acknowledgement of each record.
async fn send(topic: &TopicProducer, payloads: &[Vec<u8>], records: u64, pace: &Pace) -> Result<Written> {
    let mut under_way = UnderWay { deliveries: VecDeque::with_capacity(WINDOW), ..UnderWay::default() };
    let sample = if records <= FEW { 1 } else { SAMPLE };
    for (i, value) in (0..records).zip(payloads.iter().cycle()) {
        let is_sample = i % sample == 0;
        if (is_sample || pace.is_limited()) && !pace.turn(i).await {
            break;
        }
        let start = is_sample.then(Instant::now);
        if is_sample {
            under_way.look()?;
        }
        if under_way.deliveries.len() == WINDOW {
            under_way.wait().await?;
        }
        let delivery = topic.send(topic.record().value(value)).await?;
        if let Some(start) = start {
            let sample = delivery.clone();
            under_way.samples.spawn(async move { sample.await.is_ok().then(|| start.elapsed()) });
        }
        under_way.deliveries.push_back(delivery);
        under_way.written.bytes += value.len() as u64;
    }
    while !under_way.deliveries.is_empty() {
        under_way.wait().await?;
        under_way.look()?;
    }
    while let Some(sample) = under_way.samples.join_next().await {
        under_way.written.latencies.extend(sample.ok().flatten());
    }
    Ok(under_way.written)
}

/// As [`send`], `many` records at a time; the latency is that of the last of them.
async fn send_many(
    topic: &TopicProducer,
    payloads: &[Vec<u8>],
    records: u64,
    many: u64,
    pace: &Pace,
) -> Result<Written> {
    let mut written = Written::default();
    let mut under_way: VecDeque<(Instant, Deliveries)> = VecDeque::new();
    let mut values = payloads.iter().cycle();
    let mut left = records;
    while left > 0 || !under_way.is_empty() {
        let is_full = under_way.len() as u64 * many >= WINDOW as u64;
        if left == 0 || is_full {
            let Some((start, deliveries)) = under_way.pop_front() else { break };
            deliveries.all().await?;
            written.latencies.push(start.elapsed());
            written.records += deliveries.len() as u64;
            continue;
        }
        if !pace.turn(records - left).await {
            left = 0;
            continue;
        }
        let chunk: Vec<&[u8]> = values.by_ref().take(many.min(left) as usize).map(Vec::as_slice).collect();
        written.bytes += chunk.iter().map(|value| value.len() as u64).sum::<u64>();
        let start = Instant::now();
        under_way.push_back((start, topic.send_many(chunk.into_iter().map(|value| topic.record().value(value))).await));
        left -= many.min(left);
    }
    Ok(written)
}

/// What was sent and is not known to be acknowledged.
#[derive(Default)]
struct UnderWay {
    deliveries: VecDeque<Delivery>,
    /// How long some of them took; each is waited for by itself, since nobody here looks at the right moment.
    samples: JoinSet<Option<Duration>>,
    written: Written,
}

impl UnderWay {
    /// Counts what has been acknowledged meanwhile.
    fn look(&mut self) -> Result<()> {
        while let Some(result) = self.deliveries.front().and_then(Delivery::try_outcome) {
            result?;
            self.deliveries.pop_front();
            self.written.records += 1;
        }
        Ok(())
    }

    /// Waits for the oldest.
    async fn wait(&mut self) -> Result<()> {
        if let Some(delivery) = self.deliveries.pop_front() {
            delivery.await?;
            self.written.records += 1;
        }
        Ok(())
    }
}

fn report(json: bool, written: Written, seconds: f64, cpu: Duration, (wire_bytes, requests): (u64, u64)) -> Result<()> {
    let Written { records, bytes, mut latencies } = written;
    let per_second = records as f64 / seconds;
    let mb_per_second = bytes as f64 / seconds / 1_048_576.0;
    latencies.sort_unstable();
    let millis = |latency: Duration| latency.as_secs_f64() * 1000.0;
    let at = |part: f64| {
        let index = ((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().map_or(0.0, millis)
    };
    let samples = latencies.len();
    let [p50, p95, p99, p999, max] = [0.5, 0.95, 0.99, 0.999, 1.0].map(at);
    if json {
        let line = serde_json::json!({
            "records": records, "seconds": seconds, "records_per_s": per_second, "mb_per_s": mb_per_second,
            "cpu_ns_per_record": cpu.as_nanos() as f64 / records.max(1) as f64, "peak_rss_mib": peak_rss_mib(),
            "wire_bytes": wire_bytes, "requests": requests, "latency_ms": {"p50": p50, "p99": p99, "p99.9": p999},
            "latency_samples": samples,
        });
        say!("{line}");
    } else {
        // The sum of nothing is -0.
        let average = (latencies.iter().copied().map(millis).sum::<f64>() + 0.0) / samples.max(1) as f64;
        say!(
            "{records} records sent, {per_second:.6} records/sec ({mb_per_second:.2} MB/sec), {average:.2} ms avg latency, \
             {max:.2} ms max latency, {p50:.0} ms 50th, {p95:.0} ms 95th, {p99:.0} ms 99th, {p999:.0} ms 99.9th. ({samples} samples)"
        );
    }
    Ok(())
}
