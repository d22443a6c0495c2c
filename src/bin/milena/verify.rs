//! `milena verify`: everything computed again as a batch, and compared; with `--to` the sink's table too.

use crate::args::{Failure, Global, Result, context, instant};
use crate::target::To;
use crate::{events, progress, say};
use milena::pipeline::{
    config::{self, Topics},
    context::Context,
    knobs::Knobs,
    receipt::{Gmv, Receipt},
    sink::{SinkConfig, Target, What, compare::Compared, embedded::EmbeddedStore, postgres::PostgresStore},
    verify,
};
use std::collections::{HashMap, HashSet};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The input topic
    #[arg(short, long, default_value = Topics::DEFAULT_INPUT)]
    topic: String,
    /// Which windows, as the aggregator's
    #[arg(long, default_value = "gmv_1m,views_1m")]
    windows: String,
    /// The aggregator's --from-timestamp, if it had one
    #[arg(long, value_parser = instant, value_name = "RFC3339")]
    from_timestamp: Option<i64>,
    /// Compares the sink's purchases too: postgres://… or embedded:PATH, which no sink may have open; a password as for `sink`
    #[arg(long, value_name = "TARGET", env = To::VARIABLE, hide_env_values = true)]
    to: Option<To>,
    #[command(flatten)]
    events: events::Events,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let to = To::optional(args.to.as_ref())?;
    let table = global.toml()?;
    let all = config::windows_from_toml(&table).map_err(Failure::config)?;
    let windows = config::select_windows(&all, &args.windows).map_err(Failure::config)?;
    let knobs = Knobs::from_toml(&table).map_err(Failure::config)?;
    let events = args.events.format(&knobs, global)?;
    let context = Context { events, ..context(global, &format!("records of {} and its windows", args.topic))? };
    let mut options = verify::Options::new(&args.topic, windows.clone());
    (options.max_future, options.max_jump) = (knobs.max_future, knobs.max_jump);
    (options.from, options.dedup) = (args.from_timestamp, knobs.dedup);
    // Read first: what a running sink writes meanwhile is in the input then.
    let table = match &to {
        Some(target) => Some(table_of(target, &args.topic).await?),
        None => None,
    };
    let mut receipt = Receipt::new("verify");
    let report = progress::beside_scan(options.progress.clone(), verify::run(&context, &options)).await?;
    let refused = match &to {
        Some(Target::Postgres(_)) => verify::refused(&context, &options).await?,
        _ => HashSet::new(),
    };
    context.client.close().await;
    say!("{}: {} records, {} of them no events", args.topic, report.records, report.dead);
    for (name, found) in &report.windows {
        let sum = |[batch, stream, late, duplicate]: [i64; 4], what: &str| {
            let duplicate = if options.dedup { format!(" + {duplicate} duplicate") } else { String::new() };
            format!("{batch} {what} = {stream} + {late} late{duplicate}")
        };
        say!(
            "{name}: {} windows, {} rows, {} different; {}; {}; {} windows not final yet",
            found.windows,
            found.rows,
            found.different,
            sum(found.counts, "events"),
            sum(found.cents, "cents"),
            found.open
        );
        if found.incomplete > 0 {
            say!("  {} windows are marked as incomplete, and left out", found.incomplete);
        }
        for difference in &found.differences {
            say!("  {difference}");
        }
    }
    let sums = windows.iter().filter(|spec| spec.sums() && spec.advance == spec.size);
    let cents = sums.filter_map(|spec| Some((spec.name.clone(), gmv(report.windows.get(&spec.name)?, options.dedup))));
    receipt.gmv = Some(cents.collect());
    receipt.distinct_purchases = Some(report.purchases.len() as u64);
    let found = table.map(|table| report.purchases.compare(&table, &refused));
    if let Some(found) = &found {
        tell(found)?;
        (receipt.db_rows, receipt.distinct_purchases) = (Some(found.rows), Some(found.expected));
    }
    let mut receipt = receipt.close();
    let sink = found.map_or(Vec::new(), |found| found.differences);
    receipt.balanced &= report.is_equal() && sink.is_empty();
    say!("{}", receipt.to_json());
    if !report.is_equal() {
        return Err(Failure::mismatch("the stream is not equal to the batch"));
    }
    if !sink.is_empty() {
        let why = sink.join("; ");
        return Err(Failure::mismatch(format!("the sink's purchases are not those of {}: {why}", args.topic)));
    }
    if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
}

fn gmv(window: &verify::Compared, dedup: bool) -> Gmv {
    let [batch, stream, late, duplicate] = window.cents;
    let mut gmv = Gmv::default();
    gmv.duplicate_cents = dedup.then_some(duplicate);
    (gmv.stream_cents, gmv.late_cents, gmv.batch_cents) = (Some(stream), Some(late), Some(batch));
    gmv
}

fn tell(found: &Compared) -> Result<()> {
    say!(
        "purchase_orders: {} rows, {} cents; in the topic {} distinct purchases, {} cents, and {} that the database refused",
        found.rows,
        found.cents[1],
        found.expected,
        found.cents[0],
        found.refused
    );
    for difference in &found.differences {
        say!("  {difference}");
    }
    Ok(())
}

async fn table_of(target: &Target, topic: &str) -> Result<HashMap<String, Option<i64>>> {
    let scope = SinkConfig::new(topic, What::Purchases).scope();
    let found = match target {
        Target::Embedded(path) if !path.is_file() => {
            return Err(Failure::config(format!("{}: there is no such file", path.display())));
        }
        Target::Embedded(path) => match EmbeddedStore::open(path, scope) {
            Ok(mut store) => store.purchases().await,
            Err(error) => Err(error),
        },
        Target::Postgres(url) => match PostgresStore::new(url.expose(), scope) {
            Ok(mut store) => store.purchases().await,
            Err(error) => return Err(Failure::config(error.to_string())),
        },
        other => return Err(Failure::config(format!("--to {other:?} is not supported"))),
    };
    found.map_err(|error| Failure::database(error.to_string()))
}
