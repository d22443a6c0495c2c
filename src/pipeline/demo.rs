//! The demo: all of it in one process. An embedded broker, a clickstream with disorder and late events, aggregator, merge
//! and sink; at the end each stage is drained, everything is computed again as a batch, and the receipt must balance.
//!
//! ```text
//!  clickstream stops -> aggregate --until-end -> merge --until-end -> sink --until-end -> verify -> receipt
//! ```
//!
//! While it runs, the dashboard's buttons kill the aggregator's task and take the sink's database away: neither changes a
//! number. At the end the database is given back.
#![allow(clippy::disallowed_methods, reason = "a shell that runs the other shells")]

mod outage;

use crate::{
    broker::TestCluster,
    pipeline::{
        aggregate,
        board::Board,
        clickstream,
        config::{Topics, WindowSpec, select_windows, windows_from_toml},
        context::{Context, wall_micros},
        dashboard::Controls,
        error::{PipelineError, Result},
        http::{Listener, Pages},
        merge,
        metrics::{Metrics, Role},
        receipt::{Gmv, Receipt},
        sink::{self, SinkConfig, Store, StoreError, What, embedded::EmbeddedStore},
        stop::Stop,
        timestamp::SECOND,
        topics, verify,
        window::JobSpec,
    },
    secret::Secret,
};
use outage::Switched;
use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// What `milena demo` was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Ends after this long; without it at the wish to stop.
    pub run_for: Option<Duration>,
    /// Events per second.
    pub rate: f64,
    /// Everything random comes from here.
    pub seed: u64,
    /// PostgreSQL's URL, for the sink instead of a file in a temporary directory.
    pub postgres: Option<Secret>,
    /// Where screens look.
    pub board: Arc<Board>,
    /// The buttons.
    pub controls: Controls,
    /// What the stages count.
    pub metrics: Metrics,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            run_for: None,
            rate: 2_000.0,
            seed: 1,
            postgres: None,
            board: Arc::default(),
            controls: Controls::default(),
            metrics: Metrics::new(),
        }
    }
}

/// Windows of the demo: the minute, and ten seconds for people who wait.
const WINDOWS: &str = "gmv_1m,gmv_10s,views_1m,views_10s,users_10s";
/// Those that aren't built in.
const DESCRIBED: &str = r#"
[[window]]
name = "views_10s"
size = "10s"
filter = "view"
key = "product_id"
top = 3

[[window]]
name = "users_10s"
size = "10s"
key = "user_id"
top = 10
"#;
const PARTITIONS: i32 = 6;
/// Events are out of order by up to this, within [`BOUND`].
const DISORDER: i64 = 3 * SECOND;
const BOUND: i64 = 5 * SECOND;

/// Runs the demo; the clickstream ends after `run_for` or at the wish to stop. The dashboard is served at `http` until the
/// receipt is made.
///
/// # Errors
/// What stopped a stage. Numbers that don't add up are no error: `balanced` is false.
pub async fn run(stop: &Stop, options: Options, http: Option<Listener>) -> Result<Receipt> {
    let cluster = TestCluster::builder().listen("127.0.0.1:0").initial_rebalance_delay(Duration::ZERO).start().await?;
    options.controls.listens(cluster.bootstrap());
    let client = cluster.client().await?;
    let scratch = Scratch::new()?;
    let described = DESCRIBED.parse().map_err(|error| PipelineError::Config(format!("{error}")))?;
    let windows = windows_from_toml(&described).and_then(|all| select_windows(&all, WINDOWS));
    let windows = windows.map_err(PipelineError::Config)?;
    let mut context = Context { metrics: options.metrics.clone(), ..Context::new(client) };
    // A killed stage's partitions are somebody else's soon.
    let session = Duration::from_secs(3);
    context.consumer = context.consumer.session_timeout(session).heartbeat_interval(session / 3);
    let demo = Demo { context, windows, options, scratch };
    let pages = http.map(|listener| listener.serve(demo.pages()));
    let done = demo.run(stop).await;
    if let Some(pages) = pages {
        pages.stop().await;
    }
    demo.context.client.close().await;
    cluster.stop().await;
    done
}

struct Demo {
    context: Context,
    windows: Vec<WindowSpec>,
    options: Options,
    scratch: Scratch,
}

/// A stage that runs until it is told to stop.
struct Running {
    stop: Stop,
    task: JoinHandle<Result<Receipt>>,
}

impl Running {
    fn start<F>(context: &Context, stage: impl FnOnce(Context) -> F) -> Self
    where
        F: Future<Output = Result<Receipt>> + Send + 'static,
    {
        let stop = Stop::new();
        let task = tokio::spawn(stage(Context { stop: stop.clone(), ..context.clone() }));
        Self { stop, task }
    }

    /// Ends it as a crash would: nothing is committed, nobody is told.
    async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn finish(mut self) -> Result<Receipt> {
        self.stop.stop();
        joined((&mut self.task).await)
    }
}

impl Drop for Running {
    /// When one stage has failed the others don't go on by themselves.
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn joined(outcome: Result<Result<Receipt>, tokio::task::JoinError>) -> Result<Receipt> {
    outcome.unwrap_or_else(|error| Err(PipelineError::Log(format!("a stage of the demo died: {error}"))))
}

impl Demo {
    async fn run(&self, stop: &Stop) -> Result<Receipt> {
        let names = Topics::of(Topics::DEFAULT_INPUT);
        let admin = self.context.client.admin();
        topics::ensure_input(&admin, &names, PARTITIONS, false).await?;
        topics::ensure_aggregates(&admin, &names).await?;
        topics::ensure_finals(&admin, &names).await?;
        let rows_before = self.sink_rows().await?;

        let board = &self.options.board;
        board.phase("running");
        let mut clicks = Running::start(&self.context, |context| {
            let options = self.clickstream();
            async move { clickstream::run(&context, options).await }
        });
        let mut aggregator = Running::start(&self.context, |context| count_windows(context, self.aggregate(false)));
        let mut merger = Running::start(&self.context, |context| merge_rows(context, self.merge(false)));
        let mut sinker = Running::start(&self.context, |context| self.sink(context, false));

        // A stage that ends before its time has failed.
        let early = loop {
            break tokio::select! {
                produced = &mut clicks.task => Ok(joined(produced)?),
                () = stop.stopped() => Err(None),
                ended = &mut aggregator.task => Err(Some(ended)),
                ended = &mut merger.task => Err(Some(ended)),
                ended = &mut sinker.task => Err(Some(ended)),
                () = self.options.controls.killed() => {
                    aggregator.kill().await;
                    self.options.controls.was_killed();
                    tracing::info!("the aggregator was killed; a new one begins");
                    aggregator = Running::start(&self.context, |context| count_windows(context, self.aggregate(false)));
                    continue;
                }
            };
        };
        let produced = match early {
            Ok(receipt) => receipt,
            Err(None) => clicks.finish().await?,
            Err(Some(ended)) => {
                joined(ended)?;
                return Err(PipelineError::Log("a stage of the demo ended by itself".to_owned()));
            }
        };
        self.options.controls.end();
        board.phase("draining aggregate");
        aggregator.finish().await?;
        count_windows(self.context.clone(), self.aggregate(true)).await?;
        board.phase("draining merge");
        let mut merged = merger.finish().await?;
        merged.add(&merge_rows(self.context.clone(), self.merge(true)).await?);
        board.phase("draining sink");
        sinker.finish().await?;
        self.sink(self.context.clone(), true).await?;

        board.phase("computing it all again");
        let verified = verify::Options::new(&names.input, self.windows.clone());
        let report = verify::run(&self.context, &verified).await?;
        board.phase("done");
        let mut receipt = Receipt::new("demo");
        // What was committed, by whoever was killed since, too.
        let spec = self.aggregate(true).spec;
        aggregate::totals(&admin, &spec, &names.input).await?.fill(&mut receipt, spec.dedup);
        (receipt.windows_closed, receipt.produced) = (merged.windows_closed, produced.produced);
        let gmv: &mut BTreeMap<String, Gmv> = receipt.gmv.get_or_insert_default();
        for (name, cents) in gmv {
            cents.batch_cents = report.windows.get(name).map(|window| window.cents[0]);
        }
        receipt.db_rows = Some(self.sink_rows().await?.saturating_sub(rows_before));
        receipt.distinct_purchases = Some(report.purchases.len() as u64);
        let mut receipt = receipt.close();
        for difference in report.windows.values().flat_map(|window| &window.differences) {
            tracing::error!("{difference}");
        }
        receipt.balanced &= report.is_equal();
        Ok(receipt)
    }

    fn pages(&self) -> Pages {
        let (metrics, board) = (self.context.metrics.clone(), self.options.board.clone());
        let mut pages =
            Pages::new(metrics, board, self.context.client.clone(), [Role::Aggregate, Role::Merge, Role::Sink]);
        pages.controls = Some(self.options.controls.clone());
        pages
    }

    fn clickstream(&self) -> clickstream::Options {
        let mut options = clickstream::Options::new(Topics::DEFAULT_INPUT);
        options.paced = true;
        options.run_for = self.options.run_for;
        options.partitions = PARTITIONS;
        options.knobs.start = wall_micros();
        options.knobs.rate = self.options.rate;
        options.knobs.seed = self.options.seed;
        options.knobs.zipf = 0.8;
        options.knobs.disorder = DISORDER;
        (options.knobs.late, options.knobs.dup, options.knobs.poison) = (0.002, 0.001, 0.000_5);
        options
    }

    fn aggregate(&self, until_end: bool) -> aggregate::Options {
        let spec = JobSpec::new(format!("{}.aggregate", Topics::DEFAULT_INPUT), self.windows.clone(), BOUND);
        let mut options = aggregate::Options::new(Topics::DEFAULT_INPUT, spec);
        options.idle = Some(Duration::from_secs(5));
        options.until_end = until_end;
        options.board = self.options.board.clone();
        options
    }

    fn merge(&self, until_end: bool) -> merge::Options {
        let mut options = merge::Options::new(Topics::DEFAULT_INPUT, self.windows.clone());
        options.until_end = until_end;
        options.board = self.options.board.clone();
        options
    }

    fn sink(&self, context: Context, until_end: bool) -> impl Future<Output = Result<Receipt>> + Send + 'static {
        let config = SinkConfig::new(Topics::DEFAULT_INPUT, What::Purchases).group(self.group()).until_end(until_end);
        self.options.board.watch_sink(config.rows());
        let (postgres, path) = (self.options.postgres.clone(), self.scratch.file());
        let controls = self.options.controls.clone();
        async move {
            match postgres {
                #[cfg(feature = "postgres")]
                Some(url) => {
                    let store = sink::postgres::PostgresStore::new(url.expose(), config.scope()).map_err(database)?;
                    sink::run(&context, Switched::new(store, controls), config).await
                }
                #[cfg(not(feature = "postgres"))]
                Some(_) => Err(PipelineError::Config("built without PostgreSQL".to_owned())),
                None => {
                    let store = EmbeddedStore::open(&path, config.scope()).map_err(database)?;
                    sink::run(&context, Switched::new(store, controls), config).await
                }
            }
        }
    }

    /// Rows in the sink's table; a PostgreSQL may have had some before.
    async fn sink_rows(&self) -> Result<u64> {
        let scope = SinkConfig::new(Topics::DEFAULT_INPUT, What::Purchases).group(self.group()).scope();
        match &self.options.postgres {
            #[cfg(feature = "postgres")]
            Some(url) => {
                let mut store = sink::postgres::PostgresStore::new(url.expose(), scope).map_err(database)?;
                store.count().await.map_err(database)
            }
            #[cfg(not(feature = "postgres"))]
            Some(_) => Err(PipelineError::Config("built without PostgreSQL".to_owned())),
            None => {
                let mut store = EmbeddedStore::open(&self.scratch.file(), scope).map_err(database)?;
                store.count().await.map_err(database)
            }
        }
    }

    /// A database keeps positions by group, and the embedded broker's offsets begin anew each time.
    fn group(&self) -> String {
        format!("demo.sink.{}", self.scratch.name)
    }
}

async fn count_windows(context: Context, options: aggregate::Options) -> Result<Receipt> {
    aggregate::run(&context, options).await
}

async fn merge_rows(context: Context, options: merge::Options) -> Result<Receipt> {
    merge::run(&context, options).await
}

fn database(error: StoreError) -> PipelineError {
    PipelineError::Database(error.to_string())
}

/// A directory that goes with the demo.
struct Scratch {
    path: PathBuf,
    name: String,
}

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("{}-{:x}", std::process::id(), wall_micros());
        let path = std::env::temp_dir().join(format!("milena-demo-{name}"));
        std::fs::create_dir_all(&path)
            .map_err(|error| PipelineError::Config(format!("{}: {error}", path.display())))?;
        Ok(Self { path, name })
    }

    fn file(&self) -> PathBuf {
        self.path.join("sink.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
