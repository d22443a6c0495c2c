//! Merge: one final row per window and key, from the partial rows of all input partitions.
//!
//! It reads `T.windows`, which has one partition, asks [`MergeState`], and writes `T.final` in one transaction with the
//! offset; its state is read again from `replay_from` on, as the aggregator's is.

mod partition;
pub mod state;

use crate::{
    admin::Admin,
    ids::OffsetAndMetadata,
    pipeline::{
        board::Board,
        config::{Topics, WindowSpec},
        context::Context,
        error::{PipelineError, Result},
        metrics::{Role, StageMetrics},
        process::{self, Begun, Job, Stage, Start},
        receipt::Receipt,
        topics,
    },
};
use partition::Merge;
use state::{Counts, MergeState, Metadata};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What `milena merge` was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it reads and writes.
    pub topics: Topics,
    /// The group.
    pub group: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// All windows that there are: which have a list of greatest counts.
    pub windows: Vec<WindowSpec>,
    /// Ends at the high watermark as of the start.
    pub until_end: bool,
    /// `commit.interval.ms`.
    pub commit_interval: Duration,
    /// Where screens look.
    pub board: Arc<Board>,
}

impl Options {
    /// Merges the rows of this input, without an end.
    pub fn new(input: &str, windows: Vec<WindowSpec>) -> Self {
        let topics = Topics::of(input);
        Self {
            group: format!("{input}.merge"),
            topics,
            instance: None,
            windows,
            until_end: false,
            commit_interval: Duration::from_secs(1),
            board: Arc::default(),
        }
    }
}

/// Merges until the wish to stop or the end (`--until-end`); then it returns when readers of what is committed can see
/// everything.
///
/// Dropping the future is a crash: nothing is lost or doubled.
///
/// # Errors
/// What the group's offsets, the topics or the brokers don't allow.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let admin = context.client.admin();
    let names = &options.topics;
    topics::ensure_finals(&admin, names).await?;
    topics::require_one_partition(&admin, &names.windows).await?;
    topics::require_one_partition(&admin, &names.finals).await?;
    let partitions = topics::partitions(&admin, &names.input).await?;
    Metadata::check_size(partitions).map_err(PipelineError::Config)?;
    let metrics = context.metrics.stage(Role::Merge, &options.group);
    let job = Job {
        group: options.group.clone(),
        instance: options.instance.clone(),
        input: names.windows.clone(),
        outputs: vec![names.finals.clone(), names.late.clone(), names.dlq.clone()],
        until_end: options.until_end,
        accept_gap: None,
        has_end: options.until_end,
        commit_interval: options.commit_interval,
        metrics: metrics.clone(),
    };
    let finals = names.finals.as_str().into();
    let merger = Arc::new(Merger { finals, partitions, admin: admin.clone(), metrics, run: Mutex::default(), options });
    process::run(context, job, merger.clone()).await?;
    let Counts { kept, late, dead, windows } = merger.run().counts;
    let mut receipt = Receipt::new("merge");
    receipt.read = Some(kept + late + dead);
    (receipt.kept, receipt.late, receipt.dead_lettered) = (Some(kept), Some(late), Some(dead));
    receipt.windows_closed = Some(windows);
    Ok(receipt.close())
}

/// What the partition's task shares with the run.
struct Merger {
    options: Options,
    /// `T.final`.
    finals: Arc<str>,
    /// Of the input, as of the start.
    partitions: i32,
    admin: Admin,
    metrics: StageMetrics,
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    /// Committed by this run.
    counts: Counts,
    /// What the metadata said last, while the partition is ours without a break.
    total: Option<Counts>,
}

impl Merger {
    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is committed up to here; what of it is new.
    fn counted(&self, total: Counts) -> Counts {
        let mut run = self.run();
        let new = run.total.replace(total).map_or_else(Counts::default, |before| total - before);
        run.counts += new;
        new
    }
}

impl Stage for Merger {
    type Process = Merge;
    fn begin(self: &Arc<Self>, start: &Start) -> Result<Begun<Merge>> {
        let windows = &self.options.windows;
        let (state, position, seek, total) = match &start.committed {
            None => (MergeState::new(windows), start.log_start, start.log_start, Counts::default()),
            Some(offset) => {
                let name = &start.name;
                let metadata = Metadata::parse(&offset.metadata).ok_or_else(|| {
                    let group = &self.options.group;
                    PipelineError::Config(format!(
                        "the offset of group {group} was not committed by merge; use another --group"
                    ))
                })?;
                if metadata.replay_from < start.log_start || offset.offset > start.log_end {
                    return Err(PipelineError::Log(format!(
                        "{name}: merge must read on from offset {}, its position is {}, and the log holds {} to {}: rows are \
                         gone; a new --group, with a T.final of its own, begins anew",
                        metadata.replay_from, offset.offset, start.log_start, start.log_end
                    )));
                }
                let state = MergeState::restore(windows, offset.offset, &metadata);
                (state, offset.offset, metadata.replay_from, metadata.counts)
            }
        };
        let new = self.counted(total);
        let process = Merge::new(self.clone(), start, state, position, seek, total);
        process.count(new);
        Ok(Begun { process, seek })
    }

    fn is_over(&self, committed: &OffsetAndMetadata, end: Option<i64>) -> bool {
        end.is_some_and(|end| committed.offset >= end)
    }

    fn forget(&self, _partition: i32) {
        self.run().total = None;
    }
}
