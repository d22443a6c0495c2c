//! `milena clickstream`: events by seed, or lines of a file, into a topic.

use crate::args::{Failure, Global, Result, duration, instant, share, stage};
use crate::{events, say};
use milena::pipeline::{
    clickstream::{self, Options},
    config::Topics,
    context::{Context, wall_micros},
    knobs::Knobs,
};
use std::{path::PathBuf, time::Duration};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topic to write to; created if it is missing
    #[arg(short, long, default_value = Topics::DEFAULT_INPUT)]
    topic: String,
    /// Events per second of event time, and of sending; without it, and with --count, as fast as possible at 1000 per
    /// second of event time
    #[arg(long)]
    rate: Option<f64>,
    /// Ends after this many records
    #[arg(long)]
    count: Option<u64>,
    /// Ends after this long
    #[arg(long = "for", value_parser = duration, value_name = "D")]
    run_for: Option<Duration>,
    /// The same seed and --start give the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many users, from 1000 on
    #[arg(long, default_value_t = 9_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    users: u64,
    /// Exponent of the users' activity; 0: all alike
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// How far events may be out of order
    #[arg(long, value_parser = duration, default_value = "0", value_name = "D")]
    disorder: Duration,
    /// Share of events that come far too late
    #[arg(long, value_parser = share, default_value = "0", value_name = "FRACTION")]
    late: f64,
    /// Share of events that are written twice
    #[arg(long, value_parser = share, default_value = "0", value_name = "FRACTION")]
    dup: f64,
    /// Share of records that are no events
    #[arg(long, value_parser = share, default_value = "0", value_name = "FRACTION")]
    poison: f64,
    /// Event time of the first event [default: now]
    #[arg(long, value_parser = instant, value_name = "RFC3339", allow_negative_numbers = true)]
    start: Option<i64>,
    /// Partitions of a topic that it creates
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Sends a file's lines as they are, one record a line (those that are events as Avro, if that is the format); - is stdin
    #[arg(long, value_name = "F.ndjson")]
    file: Option<PathBuf>,
    #[command(flatten)]
    events: events::Events,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let rate = args.rate.unwrap_or(1_000.0);
    if !(rate > 0.0 && rate.is_finite()) {
        return Err(Failure::config("--rate must be greater than 0"));
    }
    let mut options = Options::new(&args.topic);
    options.paced = args.rate.is_some() || args.count.is_none();
    options.count = args.count;
    options.run_for = args.run_for;
    options.partitions = args.partitions;
    options.file = args.file;
    let knobs = &mut options.knobs;
    // As fast as possible and without a start: the events end now, so that none is ahead of its record's time.
    let spread = if options.paced { 0.0 } else { args.count.unwrap_or(0) as f64 / rate * 1e6 };
    knobs.start = args.start.unwrap_or_else(|| wall_micros() - spread as i64);
    knobs.seed = args.seed;
    knobs.rate = rate;
    knobs.users = args.users;
    knobs.zipf = args.zipf;
    knobs.disorder = i64::try_from(args.disorder.as_micros()).unwrap_or(i64::MAX / 4);
    (knobs.late, knobs.dup, knobs.poison) = (args.late, args.dup, args.poison);
    let events = args.events.format(&Knobs::from_toml(&global.toml()?).map_err(Failure::config)?, global)?;
    let context = Context { events, ..stage(global, "acknowledgements")? };
    let receipt = clickstream::run(&context, options).await;
    context.client.close().await;
    say!("{}", receipt?.to_json());
    Ok(())
}
