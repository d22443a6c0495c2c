//! `milena verify`: everything computed again as a batch, and compared.

use crate::aggregate::table_micros;
use crate::args::{Failure, Global, Result, context};
use milena::pipeline::{
    config::{self, Topics},
    verify,
    window::JobSpec,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The input topic
    #[arg(short, long, default_value = Topics::DEFAULT_INPUT)]
    topic: String,
    /// Which windows, as the aggregator's
    #[arg(long, default_value = "gmv_1m,views_1m")]
    windows: String,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let table = global.toml()?;
    let all = config::windows_from_toml(&table).map_err(Failure::config)?;
    let windows = config::select_windows(&all, &args.windows).map_err(Failure::config)?;
    let max_future = table_micros(&table, "max.future.ms")?.unwrap_or(JobSpec::MAX_FUTURE);
    let context = context(global)?;
    let report = verify::run(&context, &Topics::of(&args.topic), &windows, max_future).await;
    context.client.close().await;
    let report = report?;
    println!("{}: {} records, {} of them no events", args.topic, report.records, report.dead);
    for (name, found) in &report.windows {
        let ([batch, stream, late], [batch_cents, stream_cents, late_cents]) = (found.counts, found.cents);
        println!(
            "{name}: {} windows, {} rows, {} different; {batch} events = {stream} + {late} late; {batch_cents} cents = \
             {stream_cents} + {late_cents} late; {} windows not final yet",
            found.windows, found.rows, found.different, found.open
        );
        for difference in &found.differences {
            println!("  {difference}");
        }
    }
    if report.is_equal() { Ok(()) } else { Err(Failure::mismatch("the stream is not equal to the batch")) }
}
