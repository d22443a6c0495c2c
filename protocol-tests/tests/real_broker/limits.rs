//! What a consumer may take: memory with a large lag, CPU and requests while there is nothing to read. Run by
//! `protocol-tests/limits.sh`, as the process that is measured is the command line's, built as it is shipped.
#![allow(clippy::disallowed_methods, reason = "a process is measured on the real clock")]
#![allow(clippy::print_stdout, reason = "figures for who asks with --nocapture")]

use crate::wiretap::{Moment, Say, Wiretap};
use crate::{bootstrap, connect, ends, topic};
use milena::broker::ApiKey;
use milena::consumer::ConsumerConfig;
use milena::ids::TopicPartition;
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// `prefetch.bytes` by default, and the 20 MB (19.07 MiB) that all else may take.
const MEMORY_KIB: u64 = (64 << 10) + 20_000_000 / 1024;

fn milena(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var("MILENA").expect("MILENA is the command line, built for release"));
    command.args(["-b", &bootstrap()]).args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn json(arguments: &[&str]) -> Value {
    let output = milena(arguments).output().await.expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

fn process(child: &Child, file: &str) -> String {
    let pid = child.id().expect("it runs");
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs")
}

/// The largest resident memory that the process has had, in KiB.
fn peak(child: &Child) -> u64 {
    let status = process(child, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// CPU time of each thread of the process so far, user and system, in nanoseconds.
fn cpu(child: &Child) -> BTreeMap<String, u64> {
    let folder = format!("/proc/{}/task", child.id().expect("it runs"));
    let threads =
        fs::read_dir(&folder).expect("it runs").filter_map(|thread| thread.ok()?.file_name().into_string().ok());
    let nanos = |thread: String| {
        let stat = fs::read_to_string(format!("{folder}/{thread}/schedstat")).ok()?; // it may have ended
        Some((thread, stat.split_whitespace().next()?.parse().expect("nanoseconds")))
    };
    threads.filter_map(nanos).collect()
}

/// What has been used between the two looks, but for threads that have ended since.
fn used(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Duration {
    let since = |(thread, nanos): (&String, &u64)| nanos - before.get(thread).copied().unwrap_or(0);
    Duration::from_nanos(after.iter().map(since).sum())
}

/// An application that reads as fast as it can, and one that stands still for good: `milena consume`, of whose output
/// nobody takes anything.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and MILENA"]
async fn memory_stays_within_the_budget_with_ten_million_records_of_lag_on_a_hundred_partitions() {
    let records = env::var("RECORDS").unwrap_or_else(|_| "10000000".to_owned());
    let client = connect().await;
    for codec in ["none", "lz4"] {
        let topic = topic(&client, "lag", 100, 1).await;
        let write = ["perf", "produce", "--many", "1000", "--size", "100", "--json", "--compression", codec];
        json(&[&write[..], &["-t", &topic, "--records", &records]].concat()).await;
        let ends = ends(&client, &topic, 100).await;
        assert_eq!(ends.iter().sum::<i64>().to_string(), records);
        assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
        let mut still = milena(&["consume", "-t", &topic, "--from-beginning"]).spawn().expect("it runs");
        let fast = json(&["perf", "consume", "--json", "-t", &topic, "--records", &records]).await;
        sleep(Duration::from_secs(5)).await;
        let (still_peak, fast_peak) = (peak(&still), fast["peak_rss_mib"].as_u64().expect("a number"));
        still.kill().await.expect("it runs");
        println!("{codec}: standing still {} MiB, reading {fast_peak} MiB: {fast}", still_peak / 1024);
        assert!(still_peak > 32 << 10, "{still_peak} KiB: it has not fetched ahead");
        assert!(still_peak <= MEMORY_KIB, "{still_peak} KiB with nobody who reads");
        assert!((fast_peak + 1) << 10 <= MEMORY_KIB, "{fast_peak} MiB while reading");
        client.admin().delete_topics([topic]).await.expect("deleted");
    }
    client.close().await;
}

/// Its requests are counted in this process, its CPU time is taken of one that does the same.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and MILENA"]
async fn an_idle_consumer_of_a_thousand_partitions_costs_next_to_nothing() {
    const SECONDS: u64 = 30;
    let client = connect().await;
    let topic = topic(&client, "idle", 1000, 1).await;
    ends(&client, &topic, 1000).await;
    let idle = milena(&["consume", "-t", &topic]).spawn().expect("it runs");
    let fetches = Arc::new(AtomicU64::new(0));
    let counter = fetches.clone();
    let tapped = Wiretap::new(move |moment, api| {
        if (moment, api) == (Moment::Sent, ApiKey::Fetch) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Say::GoOn
    });
    let tapped = tapped.client().await;
    let mut consumer = tapped.consumer(ConsumerConfig::default()).expect("the configuration is sound");
    consumer.assign((0..1000).map(|number| TopicPartition::new(&*topic, number))).await.expect("assigned");
    assert!(consumer.poll(Duration::from_secs(10)).await.expect("nothing fails").is_empty());
    let (cpu_before, fetches_before) = (cpu(&idle), fetches.load(Ordering::Relaxed));
    assert!(consumer.poll(Duration::from_secs(SECONDS)).await.expect("nothing fails").is_empty());
    let (cpu, fetches) = (used(&cpu_before, &cpu(&idle)), fetches.load(Ordering::Relaxed) - fetches_before);
    println!("idle for {SECONDS} s: {cpu:?} of CPU, {fetches} Fetches");
    assert!(fetches <= 2 * SECONDS + 1, "{fetches} in {SECONDS} s");
    assert!(cpu < Duration::from_secs(SECONDS) / 500, "{cpu:?} in {SECONDS} s");
    for client in [tapped, client] {
        client.close().await;
    }
}
