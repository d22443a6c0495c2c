//! `milena perf`: how fast, and at which price.

use crate::args::{Global, Result};
use crate::{perf_consume, perf_produce};
use std::time::Duration;

/// Measures producing or consuming.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Writes records as fast as it can and waits until all are acknowledged
    Produce(perf_produce::Args),
    /// Reads a topic from its beginning, batch by batch
    Consume(perf_consume::Args),
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    match args.what {
        What::Produce(args) => perf_produce::run(args, global).await,
        What::Consume(args) => perf_consume::run(args, global).await,
    }
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
