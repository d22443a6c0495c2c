//! The aggregator: it reads `T`, asks [`PartitionWindows`], and writes rows and
//! watermarks to `T.windows`, late records to `T.late`, dead ones to `T.dlq`, all in one transaction with the offset.
//!
//! There is no state store: what a new owner needs beside the log is in the offset's metadata. `process` has the order of
//! things, `window` the rules.

mod checks;
mod partition;

use crate::{
    admin::Admin,
    ids::OffsetAndMetadata,
    pipeline::{
        board::Board,
        config::Topics,
        context::Context,
        counts::Counts,
        error::{PipelineError, Result},
        event::EventFormat,
        metrics::{Role, StageMetrics},
        process::{self, Begun, Job, Stage, Start},
        receipt::Receipt,
        topics,
        window::{JobSpec, Metadata, PartitionWindows},
    },
};
use partition::Partition;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What `milena aggregate` was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it reads and writes.
    pub topics: Topics,
    /// The job; its name is the group.
    pub spec: JobSpec,
    /// `group.instance.id`: a restart takes its partitions back at once.
    pub instance: Option<String>,
    /// Event time goes on without a partition that had nothing new for this long.
    pub idle: Option<Duration>,
    /// Ends at the high watermark as of the start, and closes everything.
    pub until_end: bool,
    /// Goes on where records between the committed position and the log's start are gone.
    pub accept_gap: bool,
    /// `commit.interval.ms`: commits at least this often; by default a second.
    pub commit_interval: Duration,
    /// The longest outage that is planned for, by default a day: the topic's retention must be longer by the longest window
    /// and the bound, or a warning says so.
    pub planned_outage: Duration,
    /// Where screens look.
    pub board: Arc<Board>,
}

impl Options {
    /// This job over this input, without an end.
    pub fn new(input: &str, spec: JobSpec) -> Self {
        Self {
            topics: Topics::of(input),
            spec,
            instance: None,
            idle: None,
            until_end: false,
            accept_gap: false,
            commit_interval: Duration::from_secs(1),
            planned_outage: Duration::from_secs(86_400),
            board: Arc::default(),
        }
    }
}

/// Aggregates until the wish to stop, the end (`--until-end`), or the edge (`--stop-at`). At an end it returns when readers
/// of what is committed can see everything.
///
/// Dropping the future is a crash: nothing is lost or doubled, the group notices within a second or by its session timeout.
///
/// # Errors
/// What the group's offsets, the log or the brokers don't allow. What passes by itself is waited for.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let admin = context.client.admin();
    checks::before_start(&admin, &options).await?;
    topics::ensure_aggregates(&admin, &options.topics).await?;
    topics::require_one_partition(&admin, &options.topics.windows).await?;
    if options.until_end {
        checks::refuse_ended(&admin, &options).await?;
    }
    let names = &options.topics;
    let metrics = context.metrics.stage(Role::Aggregate, &options.spec.job);
    let job = Job {
        group: options.spec.job.clone(),
        instance: options.instance.clone(),
        input: names.input.clone(),
        outputs: vec![names.windows.clone(), names.late.clone(), names.dlq.clone()],
        until_end: options.until_end,
        accept_gap: Some(options.accept_gap),
        has_end: options.until_end || options.spec.stop_at.is_some(),
        commit_interval: options.commit_interval,
        metrics: metrics.clone(),
    };
    let aggregator = Arc::new(Aggregator {
        spec: Arc::new(options.spec.clone()),
        windows: names.windows.as_str().into(),
        run: Mutex::new(Run { counts: Counts::new(&options.spec), totals: BTreeMap::new() }),
        metrics,
        events: context.events.clone(),
        options,
    });
    let largest = topics::largest_aside(&admin, &aggregator.options.topics.input).await?;
    process::run(&context.with_largest_request(largest), job, aggregator.clone()).await?;
    let mut receipt = Receipt::new("aggregate");
    aggregator.run().counts.fill(&mut receipt, aggregator.spec.dedup);
    Ok(receipt.close())
}

/// What all records of a job have come to since its group began, whoever read them, as far as it is committed.
///
/// # Errors
/// The brokers'.
pub async fn totals(admin: &Admin, spec: &JobSpec, input: &str) -> Result<Counts> {
    let mut sum = Counts::new(spec);
    for (name, found) in admin.list_group_offsets(&spec.job).await? {
        if let Ok(metadata) = Metadata::parse(&found.committed.metadata)
            && &*name.topic == input
        {
            sum.add(&metadata.counts);
        }
    }
    Ok(sum)
}

/// The job, shared by the tasks of its partitions.
struct Aggregator {
    options: Options,
    events: EventFormat,
    spec: Arc<JobSpec>,
    /// `T.windows`.
    windows: Arc<str>,
    metrics: StageMetrics,
    run: Mutex<Run>,
}

/// What this run has committed.
struct Run {
    counts: Counts,
    /// Per partition that has been ours without a break: what its metadata said last.
    totals: BTreeMap<i32, Counts>,
}

impl Aggregator {
    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition's counts are committed up to here: at a commit, or found so after one whose answer was lost.
    fn counted(&self, partition: i32, total: &Counts) {
        let mut run = self.run();
        if let Some(before) = run.totals.insert(partition, total.clone()) {
            let mut new = total.clone();
            new.subtract(&before);
            run.counts.add(&new);
        }
        drop(run);
        self.options.board.counts(partition, total);
    }

    fn restore(&self, start: &Start, offset: &OffsetAndMetadata) -> Result<(PartitionWindows, Metadata, i64)> {
        let Start { name, log_start, log_end, .. } = start;
        let group = &self.spec.job;
        let refuse = |why: &str| PipelineError::Config(format!("{name}: {why} (group {group})"));
        let metadata = Metadata::parse(&offset.metadata).map_err(|error| refuse(&error.to_string()))?;
        if self.spec.from.is_some() && self.spec.from != metadata.from {
            return Err(refuse("--from-timestamp is for a new group, and this one has offsets"));
        }
        // With --until-end it is done, whatever has come since: if all were, the start was refused.
        if metadata.is_ended() && *log_end > offset.offset && start.end.is_none() {
            return Err(refuse(&ended(*log_end - offset.offset)));
        }
        let (begin, position, from) = (*log_start, offset.offset, metadata.replay_from);
        let is_gone = from < begin || position > *log_end;
        if is_gone && !self.options.accept_gap {
            return Err(PipelineError::Log(format!(
                "{name}: group {group} must read on from offset {from}, its position is {position}, and the log holds \
                 {begin} to {log_end}: records are gone (retention, or the topic was made anew); --accept-gap goes on without \
                 them and marks the windows that miss some"
            )));
        }
        // A topic that was made anew begins at its beginning.
        let position = if position > *log_end { begin } else { position.max(begin) };
        let seek = from.max(begin).min(position);
        let metadata = Metadata { replay_from: seek, ..metadata };
        // A group that began at --from-timestamp goes on from there, whether told so again or not.
        let spec = match metadata.from == self.spec.from {
            true => self.spec.clone(),
            false => Arc::new(JobSpec { from: metadata.from, ..(*self.spec).clone() }),
        };
        let mut windows = PartitionWindows::restore(spec, name.partition, position, &metadata)
            .map_err(|error| refuse(&error.to_string()))?;
        if is_gone {
            tracing::warn!(partition = %name, from, begin, "records are gone; windows that may miss some are marked incomplete");
            windows.accept_gap();
        }
        checks::warn_if_nearly_forgotten(name, &metadata);
        Ok((windows, metadata, position))
    }
}

impl Stage for Aggregator {
    type Process = Partition;
    fn begin(self: &Arc<Self>, start: &Start) -> Result<Begun<Partition>> {
        let partition = start.name.partition;
        let (windows, metadata, position) = match &start.committed {
            Some(offset) => {
                let (windows, metadata, position) = self.restore(start, offset)?;
                (windows, Some(metadata), position)
            }
            None => (PartitionWindows::new(self.spec.clone(), partition), None, start.log_start),
        };
        let seek = metadata.as_ref().map_or(position, |metadata| metadata.replay_from);
        let total = metadata.as_ref().map_or_else(|| Counts::new(&self.spec), |found| found.counts.clone());
        self.counted(partition, &total);
        let process = Partition::new(self.clone(), start, windows, metadata, position);
        process.count(&total);
        Ok(Begun { process, seek })
    }

    fn is_over(&self, committed: &OffsetAndMetadata, end: Option<i64>) -> bool {
        let Ok(metadata) = Metadata::parse(&committed.metadata) else { return false };
        (end.is_some() && metadata.is_ended()) || self.spec.stop_at.is_some_and(|stop| metadata.wm >= Some(stop))
    }

    fn forget(&self, partition: i32) {
        self.run().totals.remove(&partition);
        self.metrics.moved(&self.options.topics.input, partition);
        self.options.board.gone(partition);
    }
}

fn ended(new: i64) -> String {
    format!(
        "this group was ended by --until-end, and there are {new} new records; write them to a new topic, or count all of it again \
         under another --group with window names of its own"
    )
}
