//! How much a client holds while its broker is stopped and the application goes on sending: it should be what
//! `buffer.memory` says, and little more.

use crate::child;
use crate::job::{BUFFER_MEMORY, Job};
use crate::payloads::payloads;
use crate::peers::{Peer, Task, Tools};
use crate::table;
use std::thread::sleep;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Address of the broker
    #[arg(long)]
    bootstrap: String,
    /// Its process, to be stopped and continued
    #[arg(long)]
    broker_pid: libc::pid_t,
    #[command(flatten)]
    tools: Tools,
    /// Only these clients
    #[arg(long, value_delimiter = ',', default_values = ["milena", "librdkafka"])]
    peers: Vec<Peer>,
    /// How many, of 100 bytes: more than are sent before the broker is stopped
    #[arg(long, default_value_t = 20_000_000)]
    records: u64,
    /// How long the broker is stopped
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The most that milena may hold beside `buffer.memory`, in MiB
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Prints the table; whether milena stayed below the limit, and nothing failed.
pub fn run(options: &Options) -> bool {
    let file = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
    std::fs::write(&file, payloads(100)).expect("the payloads can be written");
    let title = format!(
        "Peak resident memory while the broker is stopped for {} s: {} records of 100 B, buffer.memory {} MiB",
        options.seconds,
        options.records,
        BUFFER_MEMORY >> 20
    );
    table::head(&title, &["client", "codec", "peak MiB", "CPU in ns a record"]);
    let mut good = true;
    for codec in ["none", "lz4"] {
        for &peer in &options.peers {
            let job = Job {
                bootstrap: options.bootstrap.clone(),
                ca: None,
                topic: format!("memory-{}-{codec}-{peer:?}", std::process::id()),
                records: options.records,
                payloads: file.to_string_lossy().into_owned(),
                codec: codec.to_owned(),
                batch_size: Some(16_384),
            };
            let Some(command) = peer.command(Task::Produce, &job, &options.tools) else { continue };
            let stopped = || {
                sleep(Duration::from_secs(1));
                signal(options.broker_pid, libc::SIGSTOP);
                sleep(Duration::from_secs(options.seconds));
                signal(options.broker_pid, libc::SIGCONT);
            };
            match command.and_then(|command| child::run(&command, stopped)) {
                Ok(cost) => {
                    assert!(
                        cost.wall > Duration::from_secs(options.seconds + 1),
                        "it had ended before: more --records"
                    );
                    let below = cost.peak_rss_mib <= ((BUFFER_MEMORY >> 20) + options.limit) as f64;
                    good &= below || peer != Peer::Milena;
                    let cpu = cost.cpu.as_nanos() as f64 / options.records as f64;
                    table::row([
                        &peer.name(Task::Produce),
                        codec,
                        &format!("{:.1}", cost.peak_rss_mib),
                        &format!("{cpu:.0}"),
                    ]);
                }
                Err(error) => {
                    good = false;
                    table::row([&peer.name(Task::Produce), codec, &format!("failed: {error}"), ""]);
                }
            }
        }
    }
    let _ = std::fs::remove_file(file); // only a file too many
    good
}

fn signal(pid: libc::pid_t, signal: i32) {
    // SAFETY: a signal to the process that the caller named.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the broker is not there");
}
