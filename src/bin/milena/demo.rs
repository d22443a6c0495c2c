//! `milena demo`: the whole pipeline in one process, with a view of it on the terminal.

use crate::args::{Failure, Global, Result, announced, duration, listen, stop_on_signal};
use crate::limit;
use crate::say;
use crate::view;
use milena::pipeline::{
    context::wall_micros,
    demo::{self, Options},
    http::Listener,
    stop::Stop,
};
use milena::secret::Secret;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends after this long; else with Ctrl-C
    #[arg(long = "for", value_parser = duration, value_name = "D")]
    run_for: Option<Duration>,
    /// Events per second
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Everything random in the events comes from here [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// PostgreSQL for the sink, instead of a file in a temporary directory; a password as for `sink`, but not MILENA_SINK_TO,
    /// whose database is no place for a demo's rows
    #[arg(long, value_name = "URL")]
    pg: Option<String>,
    /// The dashboard's address [default: 127.0.0.1:8080, or the next free port]
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
    let http = match args.http.as_deref() {
        Some(http) => listen(http).await?,
        None => Some(announced(Listener::bind_demo().await?)),
    };
    let mut options = Options::default();
    options.run_for = args.run_for;
    options.rate = args.rate;
    // Another one each time: a PostgreSQL that remembers the last demo has its event ids already.
    options.seed = args.seed.unwrap_or_else(|| wall_micros().unsigned_abs());
    options.postgres = args.pg.map(Secret::from);
    let stop = stop_on_signal(None);
    limit::waiting_for("Ctrl-C, or --for");
    limit::ends_in_order(&stop);
    let over = Stop::new();
    let view = tokio::spawn(view::watch(options.board.clone(), options.metrics.clone(), args.json, over.clone()));
    let receipt = demo::run(&stop, options, http).await;
    over.stop();
    let _ = view.await;
    let receipt = receipt?;
    say!("{}", receipt.to_json());
    if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
}
