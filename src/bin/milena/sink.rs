//! `milena sink`: purchases or window results into PostgreSQL or an embedded file.

use crate::args::{Failure, Global, Result, duration, listen, serve, stage};
use crate::target::To;
use crate::{events, say};
use milena::pipeline::board::Board;
use milena::pipeline::context::Context;
use milena::pipeline::error::PipelineError;
use milena::pipeline::knobs::Knobs;
use milena::pipeline::metrics::Role;
use milena::pipeline::sink::embedded::EmbeddedStore;
use milena::pipeline::sink::postgres::PostgresStore;
use milena::pipeline::sink::{self, SinkConfig, Store, Target, What};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The input topic T; with `--what windows` its T.final is read
    #[arg(short, long, default_value = "user-behavior-events")]
    topic: String,
    /// postgres://USER@HOST/DATABASE?sslmode=verify-full or embedded:PATH
    ///
    /// A password in it, USER:PASSWORD@HOST, is in the process list for all to see, unless the whole is in the variable.
    /// Without one PGPASSWORD has it, or the password file: passfile=PATH in the URL, PGPASSFILE, ~/.pgpass.
    #[arg(long, value_name = "TARGET", env = To::VARIABLE, hide_env_values = true)]
    to: To,
    /// Which rows
    #[arg(long, value_enum, default_value = "purchases")]
    what: Rows,
    /// The group, to which the positions in the database belong [default: T.sink, or T.sink.windows]
    #[arg(long)]
    group: Option<String>,
    /// Static member: a restart takes its partitions back at once
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Commits every so many records
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Commits at least this often
    #[arg(long, value_name = "D", default_value = "500ms", value_parser = duration)]
    every: Duration,
    /// Ends at the high watermarks as of now
    #[arg(long)]
    until_end: bool,
    /// Metrics, health and dashboard, such as 127.0.0.1:9100
    #[arg(long, value_name = "ADDR|off", default_value = "off")]
    http: String,
    #[command(flatten)]
    events: events::Events,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Rows {
    Purchases,
    Windows,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let target = args.to.target()?;
    let what = match args.what {
        Rows::Purchases => What::Purchases,
        Rows::Windows => What::Windows,
    };
    let mut config = SinkConfig::new(&args.topic, what).batch(args.batch).every(args.every).until_end(args.until_end);
    let knobs = Knobs::from_toml(&global.toml()?).map_err(Failure::config)?;
    config = config.max_future(Duration::from_micros(knobs.max_future.unsigned_abs()));
    if let Some(group) = args.group {
        config = config.group(group);
    }
    if let Some(instance) = args.instance {
        config = config.instance(instance);
    }
    let listener = listen(&args.http).await?;
    let events = args.events.format(&knobs, global)?;
    let context = Context { events, ..stage(global, &format!("records of {}", args.topic))? };
    let board = Arc::new(Board::default());
    board.watch_sink(config.rows());
    let _pages = serve(listener, &context, &board, Role::Sink);
    match target {
        Target::Embedded(path) => {
            let store = EmbeddedStore::open(&path, config.scope()).map_err(database)?;
            drain(&context, store, config).await
        }
        Target::Postgres(url) => {
            let store =
                PostgresStore::new(url.expose(), config.scope()).map_err(|error| Failure::config(error.to_string()))?;
            drain(&context, store, config).await
        }
        other => Err(Failure::config(format!("--to {other:?} is not supported"))),
    }
}

async fn drain<S: Store + 'static>(context: &Context, store: S, config: SinkConfig) -> Result<()> {
    let receipt = sink::run(context, store, config).await.map_err(failure)?;
    context.client.close().await;
    say!("{}", receipt.to_json());
    if receipt.balanced { Ok(()) } else { Err(Failure::mismatch("the receipt does not balance")) }
}

fn database(error: sink::StoreError) -> Failure {
    Failure::database(error.to_string())
}

fn failure(error: PipelineError) -> Failure {
    match (error.exit_code(), &error) {
        (_, PipelineError::Kafka(kafka)) => kafka.clone().into(),
        (1, _) => Failure::config(error.to_string()),
        (3, _) => Failure::database(error.to_string()),
        (4, _) => Failure::mismatch(error.to_string()),
        _ => Failure::broker(error.to_string()),
    }
}
