//! milena beside librdkafka, in one run, on a real Kafka: client CPU (user + system) per record, as the kernel counts it
//! for a whole child process, so that nobody judges himself. Rounds are interleaved, since a machine's mood lasts; the
//! table has medians. `benches/compare/run` builds everything, starts a Kafka, and calls this.
//!
//! The work: values of 100 bytes of clickstream text without key, 4 partitions, `acks=all`, batches of 16 KB, 5 ms of
//! linger, 32 MB of buffer, no idempotence; consuming reads the topic that milena wrote in that round, batch by batch in
//! both clients, with default fetch sizes.
//!
//! Usage: `compare BOOTSTRAP MILENA [ROUNDS [RECORDS]]`, MILENA being the release binary.

mod librdkafka;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

const SIZE: usize = 100;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match text[..] {
        ["librdkafka", "produce", bootstrap, topic, codec, records, payloads] => {
            librdkafka::produce(bootstrap, topic, codec, number(records), &lines(payloads));
        }
        ["librdkafka", "consume", bootstrap, topic, records] => {
            librdkafka::consume(bootstrap, topic, number(records));
        }
        [bootstrap, milena] => compare(bootstrap, milena, 5, 5_000_000),
        [bootstrap, milena, rounds] => compare(bootstrap, milena, number(rounds), 5_000_000),
        [bootstrap, milena, rounds, records] => compare(bootstrap, milena, number(rounds), number(records)),
        _ => panic!("usage: compare BOOTSTRAP MILENA [ROUNDS [RECORDS]]"),
    }
}

fn compare(bootstrap: &str, milena: &str, rounds: u64, records: u64) {
    let this = env::current_exe().expect("this program has a path").to_string_lossy().into_owned();
    let file = env::temp_dir().join(format!("compare-payloads-{}", std::process::id()));
    fs::write(&file, payloads()).expect("the payloads can be written");
    let (payloads, count) = (file.to_string_lossy().into_owned(), records.to_string());
    let mut cells: BTreeMap<(String, &str), Vec<Cost>> = BTreeMap::new();
    for round in 0..rounds {
        for codec in ["lz4", "none"] {
            let topic = |client: &str| format!("compare-{}-{round}-{codec}-{client}", std::process::id());
            let (ours, theirs) = (topic("milena"), topic("librdkafka"));
            for topic in [&ours, &theirs] {
                run(&[milena, "topics", "create", topic, "--partitions", "4", "--bootstrap", bootstrap]);
            }
            let produce_ours = [
                milena,
                "perf",
                "produce",
                "--bootstrap",
                bootstrap,
                "--topic",
                &ours,
                "--records",
                &count,
                "--payload-file",
                &payloads,
                "--compression",
                codec,
                "--batch-size",
                "16384",
                "--linger-ms",
                "5",
                "--acks",
                "all",
                "--idempotence",
                "false",
                "-X",
                "buffer.memory=33554432",
            ];
            let produce_theirs = [&this, "librdkafka", "produce", bootstrap, &theirs, codec, &count, &payloads];
            let consume_ours =
                [milena, "perf", "consume", "--bootstrap", bootstrap, "--topic", &ours, "--records", &count];
            let consume_theirs = [&this, "librdkafka", "consume", bootstrap, &ours, &count];
            let work = [
                ("produce", "milena", &produce_ours[..]),
                ("produce", "librdkafka", &produce_theirs[..]),
                ("consume", "milena", &consume_ours[..]),
                ("consume", "librdkafka", &consume_theirs[..]),
            ];
            for (what, client, command) in work {
                let cost = run(command);
                cells.entry((format!("{what} {SIZE} B {codec}"), client)).or_default().push(cost);
            }
            for topic in [&ours, &theirs] {
                run(&[milena, "topics", "delete", topic, "--bootstrap", bootstrap]);
            }
            eprintln!("round {} of {rounds}, {codec}", round + 1);
        }
    }
    let _ = fs::remove_file(file);
    print_table(cells, records);
}

#[derive(Clone, Copy)]
struct Cost {
    cpu_ns: u64,
    wall_ns: u64,
}

/// Runs a child to its end.
fn run(command: &[&str]) -> Cost {
    let (before, start) = (children_cpu_ns(), Instant::now());
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output().expect("the client starts");
    if !output.status.success() {
        let _ = std::io::stderr().write_all(&output.stderr);
        panic!("{command:?} failed");
    }
    Cost { cpu_ns: children_cpu_ns() - before, wall_ns: start.elapsed().as_nanos() as u64 }
}

/// User and system time of all children that have ended.
fn children_cpu_ns() -> u64 {
    // SAFETY: an all-zero rusage is a value of it, and getrusage writes to nothing else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000)
        .sum()
}

fn print_table(cells: BTreeMap<(String, &str), Vec<Cost>>, records: u64) {
    println!("| CPU ns a record (thousand records/s) | milena | librdkafka | ratio |");
    println!("| --- | --- | --- | --- |");
    let rows: std::collections::BTreeSet<_> = cells.keys().map(|(row, _)| row.clone()).collect();
    for row in rows.iter().rev() {
        let median = |client: &'static str| {
            let mut costs = cells[&(row.clone(), client)].clone();
            costs.sort_by_key(|cost| cost.cpu_ns);
            let middle = costs[costs.len() / 2];
            let spread = (costs[0].cpu_ns / records, costs[costs.len() - 1].cpu_ns / records);
            (middle.cpu_ns as f64 / records as f64, records as f64 / middle.wall_ns as f64 * 1e6, spread)
        };
        let (ours, theirs) = (median("milena"), median("librdkafka"));
        println!(
            "| {row} | {:.0}, {}-{} ({:.0}) | {:.0}, {}-{} ({:.0}) | {:.2} |",
            ours.0,
            ours.2.0,
            ours.2.1,
            ours.1,
            theirs.0,
            theirs.2.0,
            theirs.2.1,
            theirs.1,
            theirs.0 / ours.0
        );
    }
}

/// A few thousand different lines of text like the pipeline's events.
fn payloads() -> String {
    let line = |i: u64| {
        let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let kind = ["view", "add_to_cart", "purchase"][(id >> 60) as usize % 3];
        let user = i % 5000;
        let product = id >> 40 & 0x3ff;
        let event =
            format!(r#"{{"event_id":"{id:016x}","user_id":{user},"event_type":"{kind}","product_id":"P{product}""#);
        event.chars().cycle().take(SIZE).chain(['\n']).collect::<String>()
    };
    (0..4096).map(line).collect()
}

fn lines(path: &str) -> Vec<Vec<u8>> {
    let text = fs::read(path).expect("the payloads can be read");
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}
