//! `milena demo`: the whole pipeline in one process, with a view of it on the terminal.

use crate::args::{Failure, Global, Result, duration, stop_on_signal};
use milena::pipeline::{
    board::{Board, Numbers},
    demo::{self, Options},
    rows::FinalRow,
    timestamp,
};
use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends after this long; else with Ctrl-C
    #[arg(long = "for", value_parser = duration, value_name = "D")]
    run_for: Option<Duration>,
    /// Events per second
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Everything random comes from here
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// PostgreSQL for the sink, instead of a file in a temporary directory
    #[arg(long, value_name = "URL")]
    pg: Option<String>,
    /// The dashboard's address; there is no dashboard yet
    #[arg(long, value_name = "ADDR|off")]
    http: Option<String>,
    /// The receipt as the last line on stdout, and nothing else there
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, _global: &Global) -> Result<()> {
    if !(args.rate > 0.0 && args.rate.is_finite()) {
        return Err(Failure::config("--rate must be greater than 0"));
    }
    if args.http.as_deref().is_some_and(|http| http != "off") {
        eprintln!("milena: the dashboard is not there yet; look at the terminal");
    }
    let mut options = Options::default();
    options.run_for = args.run_for;
    options.rate = args.rate;
    options.seed = args.seed;
    options.postgres = args.pg;
    let board: Arc<Board> = options.board.clone();
    let stop = stop_on_signal();
    let view = tokio::spawn(watch(board, args.json));
    let receipt = demo::run(&stop, options).await;
    view.abort();
    let receipt = receipt?;
    println!("{}", receipt.to_json());
    if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
}

/// A line a second, and one for each window that becomes final. On stderr if stdout is for the receipt.
async fn watch(board: Arc<Board>, json: bool) {
    let say = |line: String| if json { eprintln!("{line}") } else { println!("{line}") };
    say("embedded broker, 6 partitions; events up to 3 s out of order, some late, doubled or broken; bound 5 s"
        .to_owned());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    let (mut read, mut seen) = (0, 0);
    loop {
        tick.tick().await;
        let numbers = board.numbers();
        let fresh = usize::try_from(numbers.finals_seen - seen).unwrap_or(usize::MAX).min(numbers.finals.len());
        for row in &numbers.finals[numbers.finals.len() - fresh..] {
            say(window_line(row));
        }
        seen = numbers.finals_seen;
        // At the end each stage is drained by a fresh one, whose counts begin anew.
        say(status_line(&numbers, numbers.counts.read.saturating_sub(read)));
        read = numbers.counts.read;
    }
}

fn window_line(row: &FinalRow) -> String {
    format!(
        "  final {} {} GMV {}.{:02} of {} purchases",
        row.window,
        &timestamp::format(row.start_ms * 1_000)[11..19],
        row.sum_cents / 100,
        row.sum_cents % 100,
        row.count
    )
}

fn status_line(numbers: &Numbers, rate: u64) -> String {
    let lag: i64 = numbers.partitions.values().filter_map(|line| line.lag).sum();
    let watermark =
        numbers.partitions.values().map(|line| line.watermark).min().filter(|mark| *mark > 0 && *mark < i64::MAX);
    let watermark = watermark.map_or("-".to_owned(), |mark| timestamp::format(mark)[11..19].to_owned());
    let counts = &numbers.counts;
    let money: i64 = counts.gmv.get("gmv_10s").map_or(0, |(stream, _)| *stream);
    let top = numbers.top.as_ref().map_or(String::new(), |top| {
        let places: Vec<_> = top.top.iter().map(|entry| format!("{} {}", entry.key, entry.count)).collect();
        format!("  top {}", places.join(", "))
    });
    format!(
        "{rate}/s  read {}  lag {lag}  watermark {watermark}  late {}  dlq {}  final windows {}  GMV {}.{:02}  sink rows {}{top}",
        counts.read,
        counts.late,
        counts.dead.values().sum::<u64>(),
        numbers.windows_final,
        money / 100,
        money % 100,
        numbers.sink_rows.load(Ordering::Relaxed),
    )
}
