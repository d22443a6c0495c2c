//! `milena merge`: one final row per window and key.

use crate::args::{Failure, Global, Result, finish, listen, serve, stage};
use crate::progress;
use milena::pipeline::{
    config::{self, Topics},
    knobs::Knobs,
    merge::{self, Options},
    metrics::Role,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The input topic; its T.windows is read
    #[arg(short, long, default_value = Topics::DEFAULT_INPUT)]
    topic: String,
    /// Consumer group [default: T.merge]
    #[arg(long)]
    group: Option<String>,
    /// Static member: a restart takes its partition back at once
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Ends at the high watermark as of the start
    #[arg(long)]
    until_end: bool,
    /// Metrics, health and dashboard, such as 127.0.0.1:9100
    #[arg(long, default_value = "off", value_name = "ADDR|off")]
    http: String,
}

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let table = global.toml()?;
    let windows = config::windows_from_toml(&table).map_err(Failure::config)?;
    let mut options = Options::new(&args.topic, windows);
    options.commit_interval = Knobs::from_toml(&table).map_err(Failure::config)?.commit_interval;
    if let Some(group) = args.group {
        options.group = group;
    }
    options.instance = args.instance;
    options.until_end = args.until_end;
    let listener = listen(&args.http).await?;
    let context = stage(global, &format!("the windows of {}", args.topic))?;
    let board = options.board.clone();
    let _pages = serve(listener, &context, &board, Role::Merge);
    let receipt = progress::beside(board, progress::merge, merge::run(&context, options)).await;
    finish(&context, receipt).await
}
