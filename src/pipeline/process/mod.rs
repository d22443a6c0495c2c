//! Read, process, write, exactly once: the shell that `aggregate` and `merge` share.
//!
//! ```text
//!             records, positions                        rows, set aside, offset with metadata
//!  member ----------------------> task per partition ----------------------------------------> one Kafka transaction
//!    ^   <----------------------    Process + transactional producer
//!    |      seek here, paused
//!  consumer
//! ```
//! The state of a partition lives in its input topic: what a [`Process`] has not emitted yet is read again by whoever owns
//! the partition next, from where the committed metadata says. So every way to lose a partition, or to fail, is the same
//! one: forget everything, and begin as after an assignment.
//!
//! On assignment, in this order: a producer under the partition's `transactional.id` (that aborts what a dead owner left
//! open, and fences a zombie), what the group has committed (waiting for transactions that are about to move it), the
//! [`Stage`] makes a process of it, and only then the consumer seeks and goes on.
#![allow(clippy::disallowed_methods, reason = "a shell has a clock and tasks")]

mod member;
mod task;
mod transaction;
mod visible;

use crate::{
    consumer::{ConsumerRecord, Records},
    ids::{OffsetAndMetadata, TopicPartition},
    pipeline::{context::Context, dead_letter::SetAside, error::Result, event::Reading, metrics::StageMetrics},
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A job over one input topic.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Consumer group, and the beginning of each `transactional.id`.
    pub(super) group: String,
    /// `group.instance.id`.
    pub(super) instance: Option<String>,
    /// What is read.
    pub(super) input: String,
    /// What is written: the end waits until readers can see it.
    pub(super) outputs: Vec<String>,
    /// Ends at the high watermarks as of the start.
    pub(super) until_end: bool,
    /// Whether records may be missing that retention has deleted; `None` if they never may.
    pub(super) accept_gap: Option<bool>,
    /// Has an end: that, or an edge at which its processes are done.
    pub(super) has_end: bool,
    /// Commits at least this often, if there is something new.
    pub(super) commit_interval: Duration,
    /// Where the stage is counted.
    pub(super) metrics: StageMetrics,
}

/// Makes a [`Process`] of what is committed for a partition. Shared by all tasks.
pub(super) trait Stage: Send + Sync + 'static {
    /// What it makes.
    type Process: Process;

    /// The process of a partition, and where it has to read from.
    ///
    /// # Errors
    /// Why what is committed, or the log, can't be continued: ends the job.
    fn begin(self: &Arc<Self>, start: &Start) -> Result<Begun<Self::Process>>;

    /// Whether this commit says that nothing is left to do for its partition; `end` as in [`Start`].
    fn is_over(&self, committed: &OffsetAndMetadata, end: Option<i64>) -> bool;

    /// The partition is another member's, or may be: what was counted for it here is not to be continued.
    fn forget(&self, partition: i32);
}

/// What a partition begins with.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Which.
    pub(super) name: TopicPartition,
    /// What the group has committed.
    pub(super) committed: Option<OffsetAndMetadata>,
    /// The log's first offset.
    pub(super) log_start: i64,
    /// The log's end, open transactions included.
    pub(super) log_end: i64,
    /// `--until-end`: where the input ends.
    pub(super) end: Option<i64>,
}

/// A process that can go on.
#[derive(Debug)]
pub(super) struct Begun<P> {
    /// It.
    pub(super) process: P,
    /// Where it has to be read from.
    pub(super) seek: i64,
}

/// What a stage makes of one input partition. A value that its task asks; only [`emission`](Self::emission) may wait.
pub(super) trait Process: Send + Sync + 'static {
    /// What its records are read by: it has whatever a look at them needs.
    type Reader: Send;

    /// What reads these records: at hand, or to be waited for beside everything else. An error ends the job.
    fn reading(&self, records: &Records) -> Reading<Self::Reader>;

    /// Takes in a record, in the order of the log.
    ///
    /// # Errors
    /// What no restart can cure: ends the job.
    fn record(&mut self, record: &ConsumerRecord<'_>, reader: &Self::Reader) -> Result<()>;

    /// The consumer's position, which passes markers and gaps too, and what else is known of the partition.
    fn progress(&mut self, progress: &Progress);

    /// Whether there is something that should be written now, and not at the next commit interval.
    fn is_due(&self) -> bool;

    /// Whether nothing is left to do but to commit.
    fn is_done(&self) -> bool;

    /// What to write and to commit; `None` if that would change nothing, or if records are still being read again. Asked
    /// again after a transaction that was aborted.
    ///
    /// # Errors
    /// Those of whom it asks.
    fn emission(&mut self) -> impl Future<Output = Result<Option<Emission>>> + Send;

    /// Records that were set aside since the last commit: the topics and what goes there with the emission.
    fn aside(&self) -> [(&str, &[SetAside]); 2];

    /// The emission that was asked for last is committed.
    fn committed(&mut self);
}

/// How far a partition is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The next offset to be read.
    pub(super) position: i64,
    /// Records behind the end, if known.
    pub(super) lag: Option<i64>,
    /// Since when answers say that the position is the log's end, and when the last of them came.
    pub(super) caught_up: Option<(Instant, Instant)>,
}

/// What one transaction carries besides the records that were set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Emission {
    /// Topic, and key and value of each record, in order.
    pub(super) topic: Arc<str>,
    /// The records' keys and values.
    pub(super) records: Vec<(String, Vec<u8>)>,
    /// The offset to commit, with its metadata.
    pub(super) offset: OffsetAndMetadata,
}

/// Runs the job until the wish to stop, or until its end.
///
/// Dropping the future is a crash: what is open is aborted, and the next owner reads on from the last commit.
///
/// # Errors
/// What the group's offsets, the log or the brokers don't allow. What passes by itself is waited for.
pub(super) async fn run<S: Stage>(context: &Context, job: Job, stage: Arc<S>) -> Result<()> {
    member::run(context, Arc::new(job), stage).await
}
