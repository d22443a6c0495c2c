//! `milena aggregate`: windows of a topic, by each partition's own watermark.

use crate::args::{self, Failure, Global, Result, duration, finish, instant, listen, serve, stage};
use crate::{events, progress};
use milena::pipeline::{
    aggregate::{self, Options},
    config::{self, Topics},
    context::Context,
    flink::FlinkJob,
    knobs::{Knobs, ValueFormat},
    metrics::Role,
    timestamp,
    window::{JobSpec, MAX_WINDOWS},
};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Topic to read
    #[arg(short, long, default_value = Topics::DEFAULT_INPUT)]
    topic: String,
    /// Which windows, of the built-in ones and the --config file's
    #[arg(long, default_value = "gmv_1m,views_1m")]
    windows: String,
    /// How far events may be out of order without being late
    #[arg(long, value_parser = duration, default_value = "5s")]
    bound: Duration,
    /// Event time goes on without a partition that had nothing new for this long, or off
    #[arg(long, default_value = "off", value_name = "D|off")]
    idle_timeout: String,
    /// The job's name and consumer group [default: T.aggregate]
    #[arg(long)]
    group: Option<String>,
    /// Static member: a restart takes its partitions back at once
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Skips events before this; for a new group only
    #[arg(long, value_parser = instant, value_name = "RFC3339")]
    from_timestamp: Option<i64>,
    /// Stops at this edge of every window
    #[arg(long, value_parser = instant, value_name = "RFC3339")]
    stop_at: Option<i64>,
    /// Ends at the high watermark as of the start, and closes everything
    #[arg(long)]
    until_end: bool,
    /// Goes on where records that the windows need are gone
    #[arg(long)]
    accept_gap: bool,
    /// Metrics, health and dashboard, such as 127.0.0.1:9100
    #[arg(long, default_value = "off", value_name = "ADDR|off")]
    http: String,
    /// Prints Flink SQL for the same windows of an input with so many partitions, and exits
    #[arg(long, value_name = "PARTITIONS", num_args = 0..=1, require_equals = true, default_missing_value = "6",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    flink_sql: Option<u32>,
    #[command(flatten)]
    events: events::Events,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let table = global.toml()?;
    let all = config::windows_from_toml(&table).map_err(Failure::config)?;
    let windows = config::select_windows(&all, &args.windows).map_err(Failure::config)?;
    if windows.len() > MAX_WINDOWS {
        return Err(Failure::config(format!("at most {MAX_WINDOWS} windows a job")));
    }
    if let Some(stop) = args.stop_at
        && let Some(window) = windows.iter().find(|window| stop.rem_euclid(window.advance) != 0)
    {
        let edge = timestamp::format(window.newest_start(stop));
        return Err(Failure::config(format!("--stop-at is not on an edge of {}; {edge} is", window.name)));
    }
    let idle = match args.idle_timeout.as_str() {
        "off" => None,
        text => Some(duration(text).map_err(Failure::config)?),
    };
    let job = args.group.unwrap_or_else(|| format!("{}.aggregate", args.topic));
    let mut spec = JobSpec::new(job, windows, i64::try_from(args.bound.as_micros()).unwrap_or(i64::MAX / 4));
    let knobs = Knobs::from_toml(&table).map_err(Failure::config)?;
    (spec.max_future, spec.max_jump, spec.dedup) = (knobs.max_future, knobs.max_jump, knobs.dedup);
    (spec.from, spec.stop_at) = (args.from_timestamp, args.stop_at);
    if let Some(partitions) = args.flink_sql {
        if args.events.value_format(&knobs) != ValueFormat::Json {
            return Err(Failure::config("--flink-sql is for events in JSON: write the table of others by hand"));
        }
        let topics = Topics::of(&args.topic);
        let settings = global.settings(args::Role::Client)?;
        let mut job = FlinkJob::new(&topics, &spec);
        job.bootstrap = settings
            .iter()
            .find(|setting| setting.key == "bootstrap.servers")
            .map_or(job.bootstrap, |found| &found.value);
        (job.partitions, job.idle, job.until_end) = (partitions, idle, args.until_end);
        crate::output::text(&job.sql().map_err(Failure::config)?)?;
        return Ok(());
    }
    let mut options = Options::new(&args.topic, spec);
    options.instance = args.instance;
    options.idle = idle;
    options.until_end = args.until_end;
    options.accept_gap = args.accept_gap;
    (options.commit_interval, options.planned_outage) = (knobs.commit_interval, knobs.planned_outage);
    let listener = listen(&args.http).await?;
    let events = args.events.format(&knobs, global)?;
    let context = Context { events, ..stage(global, &format!("records of {}", args.topic))? };
    let board = options.board.clone();
    let _pages = serve(listener, &context, &board, Role::Aggregate);
    let receipt = progress::beside(board, progress::aggregate, aggregate::run(&context, options)).await;
    finish(&context, receipt).await
}
