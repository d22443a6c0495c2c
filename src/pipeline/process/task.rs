//! One input partition: its process, its transactional producer, and the order in which it begins.

use super::{Begun, Job, Process, Progress, Stage, Start, transaction};
use crate::{
    consumer::{Consumer, ConsumerGroupMetadata, Records},
    error::Error,
    ids::TopicPartition,
    pipeline::{
        context::Context,
        error::{PipelineError, Result},
        event::Reading,
    },
    producer::TransactionalProducer,
};
use futures_util::future::BoxFuture;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use transaction::Outcome;

/// `transaction.timeout.ms`: a transaction is open only while an emission is written.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two transactions of a partition, while it catches up: windows close many times a second then.
const GAP: Duration = Duration::from_millis(50);
/// Between two attempts at the same.
const RETRY: Duration = Duration::from_millis(200);
/// Attempts that fail for a reason that doesn't pass by itself.
const ATTEMPTS: u32 = 5;

/// What the member tells a task.
#[derive(Debug)]
pub(super) enum Command {
    /// Records, read since this beginning.
    Records(u64, Records, Progress),
    /// The position passed something that is no record, or something else is new.
    Progress(u64, Progress),
    /// The group has said that the partition is still ours.
    Again,
    /// Records that were to be read are gone: begin anew.
    Gone,
    /// Commit what there is, and answer.
    Finish(oneshot::Sender<()>),
}

/// What a task tells the member.
#[derive(Debug)]
pub(super) enum Report {
    /// Read from this offset on, and name the records by this number.
    Begun(u64, i64),
    /// Nothing read so far is of use; begins anew when it is told that the partition is still ours.
    Lost,
    /// Nothing left to do.
    Done,
    /// The job must end.
    Failed(PipelineError),
}

/// What all tasks share.
pub(super) struct Shared<S> {
    pub(super) context: Context,
    pub(super) job: Arc<Job>,
    pub(super) stage: Arc<S>,
    /// Reads nothing: asks for offsets, of one partition at a time, for the transactions of its neighbours are waited for
    /// as well.
    pub(super) lookup: Consumer,
    pub(super) member: watch::Receiver<ConsumerGroupMetadata>,
    /// Whether a broker has been seen to keep an offset's metadata.
    pub(super) keeps_metadata: tokio::sync::OnceCell<()>,
}

pub(super) struct Task<S: Stage> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) name: TopicPartition,
    pub(super) end: Option<i64>,
    /// Distinguishes this task's reports from those of one before it.
    pub(super) life: u64,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) reports: mpsc::UnboundedSender<(i32, u64, Report)>,
    /// What came while something else was waited for; before what comes.
    pub(super) held: VecDeque<Command>,
    /// Bytes of records that wait here.
    pub(super) queued: Arc<AtomicUsize>,
}

/// Why a beginning is over.
enum Over {
    /// The member has let go of the partition.
    Finished(Option<oneshot::Sender<()>>),
    /// Begin anew, once the group has said that the partition is still ours.
    Lost { fenced: bool, why: String },
}

/// How an attempt to commit went.
enum Attempt {
    Done,
    Later,
    Lost { fenced: bool, why: String },
}

impl<S: Stage> Task<S> {
    /// Works until the member lets go.
    pub(super) async fn run(mut self) {
        for beginning in 1.. {
            match self.begin_and_work(beginning).await {
                Ok(Over::Finished(reply)) => {
                    if let Some(reply) = reply {
                        let _ = reply.send(());
                    }
                    return;
                }
                Ok(Over::Lost { fenced, why }) => {
                    if fenced {
                        self.shared.stage.forget(self.name.partition);
                    }
                    let what = if fenced {
                        "another member has taken the partition over"
                    } else {
                        "what was read is of no use"
                    };
                    tracing::warn!(
                        partition = %self.name, why,
                        "{what}: nothing more is committed here; it begins anew if the group says that it is still ours"
                    );
                    self.report(Report::Lost);
                    if let Some(reply) = self.until_told().await {
                        let _ = reply.send(());
                        return;
                    }
                }
                Err(error) => {
                    self.report(Report::Failed(error));
                    return;
                }
            }
        }
    }

    async fn begin_and_work(&mut self, beginning: u64) -> Result<Over> {
        let shared = self.shared.clone();
        let name = self.name.clone();
        let begin = begin(&shared, &name, self.end);
        let (producer, Begun { process, seek }) = tokio::select! {
            begun = begin => begun?,
            reply = self.until_finish() => return Ok(Over::Finished(reply)),
        };
        self.report(Report::Begun(beginning, seek));
        let mut work =
            Work { producer, process, committed_at: Instant::now(), attempt_at: None, attempts: 0, told: false };
        let over = self.work(&mut work, beginning).await;
        let _ = work.producer.close(Context::FAREWELL / 4).await;
        over
    }

    async fn work(&mut self, work: &mut Work<S::Process>, beginning: u64) -> Result<Over> {
        let mut waiting = None;
        loop {
            let due = work.next_commit(self.shared.job.commit_interval);
            let is_waiting = waiting.is_some();
            let command = tokio::select! {
                biased;
                reader = reader(&mut waiting) => {
                    let Some(Waiting { records, progress, .. }) = waiting.take() else { continue };
                    if let Err(error) = work.read(&reader?, records, &progress)? {
                        // The member is told as well, and says what to do about it.
                        return Ok(Over::Lost { fenced: false, why: error.to_string() });
                    }
                    None
                }
                command = self.next(is_waiting) => match command {
                    Some(command) => Some(command),
                    None => return Ok(Over::Finished(None)),
                },
                () = sleep_until(due) => None,
            };
            match command {
                Some(command @ (Command::Records(..) | Command::Progress(..))) if is_waiting => self.hold(command),
                Some(Command::Records(of, records, progress)) => {
                    self.queued.fetch_sub(records.size_in_bytes(), Ordering::Relaxed);
                    if of == beginning {
                        match work.process.reading(&records) {
                            Reading::Now(reader) => {
                                if let Err(error) = work.read(&reader, records, &progress)? {
                                    return Ok(Over::Lost { fenced: false, why: error.to_string() });
                                }
                            }
                            Reading::Later(reader) => waiting = Some(Waiting { records, progress, reader }),
                        }
                    }
                }
                Some(Command::Progress(of, progress)) if of == beginning => work.process.progress(&progress),
                Some(Command::Progress(..) | Command::Again) | None => {}
                Some(Command::Gone) => {
                    return Ok(Over::Lost {
                        fenced: false,
                        why: "records were deleted before they were read".to_owned(),
                    });
                }
                Some(Command::Finish(reply)) => {
                    self.held.clear(); // and what waits is not read here
                    for _ in 0..ATTEMPTS {
                        match self.commit(work).await? {
                            Attempt::Done => break,
                            Attempt::Later => sleep(RETRY).await,
                            Attempt::Lost { fenced, why } => {
                                tracing::warn!(partition = %self.name, fenced, why, "the last commit of this member failed; the next owner reads on from the one before");
                                break;
                            }
                        }
                    }
                    return Ok(Over::Finished(Some(reply)));
                }
            }
            if work.next_commit(self.shared.job.commit_interval) <= Instant::now()
                && let Attempt::Lost { fenced, why } = self.commit(work).await?
            {
                return Ok(Over::Lost { fenced, why });
            }
        }
    }

    /// What was told next. What is held comes first, once nothing is waited for any more.
    async fn next(&mut self, is_waiting: bool) -> Option<Command> {
        match self.held.pop_front_if(|_| !is_waiting) {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    /// Of progress in one place only the last counts.
    fn hold(&mut self, command: Command) {
        if let (Command::Progress(of, _), Some(Command::Progress(before, _))) = (&command, self.held.back())
            && of == before
        {
            self.held.pop_back();
        }
        self.held.push_back(command);
    }

    /// One attempt to write and commit what the process has.
    async fn commit(&self, work: &mut Work<S::Process>) -> Result<Attempt> {
        let now = Instant::now();
        (work.committed_at, work.attempt_at) = (now, None);
        let emission = match work.process.emission().await {
            Ok(Some(emission)) => emission,
            Ok(None) => {
                self.tell_if_done(work);
                return Ok(Attempt::Done);
            }
            Err(PipelineError::Kafka(error)) if error.is_retriable() => {
                tracing::debug!(partition = %self.name, %error, "what an emission needs is not known yet");
                work.attempt_at = Some(now + RETRY);
                return Ok(Attempt::Later);
            }
            Err(error) => return Err(error),
        };
        let member = self.shared.member.borrow().clone();
        let outcome = transaction::commit(&mut work.producer, &self.name, &work.process, &emission, member).await;
        match outcome {
            Outcome::Committed => {
                self.shared.job.metrics.txn(now.elapsed());
                work.process.committed();
                work.attempts = 0;
                self.tell_if_done(work);
                self.check_metadata(&emission.offset.metadata).await?;
                Ok(Attempt::Done)
            }
            Outcome::Aborted(error) => {
                work.attempts += 1;
                let passes = error.is_retriable() || transaction::is_of_the_group(&error);
                if work.attempts >= ATTEMPTS && !passes {
                    return Err(error.into());
                }
                tracing::debug!(partition = %self.name, %error, "a transaction was aborted; it is tried again");
                work.attempt_at = Some(now + RETRY);
                Ok(Attempt::Later)
            }
            Outcome::Lost { fenced, error } => Ok(Attempt::Lost { fenced, why: error.to_string() }),
            Outcome::Failed(error) => Err(error.into()),
        }
    }

    /// Some brokers take an offset's metadata and drop it: then there would be no recovery. Read back once.
    async fn check_metadata(&self, written: &str) -> Result<()> {
        let check = async {
            let committed = self.shared.lookup.committed(std::slice::from_ref(&self.name)).await?;
            match committed.get(&self.name) {
                Some(found) if found.metadata.is_empty() && !written.is_empty() => Err(PipelineError::Config(
                    "this broker drops the metadata of committed offsets: there would be no way to continue after a crash"
                        .to_owned(),
                )),
                _ => Ok(()),
            }
        };
        match self.shared.keeps_metadata.get_or_try_init(|| check).await {
            // Asked again at the next commit.
            Err(PipelineError::Kafka(error)) if error.is_retriable() => Ok(()),
            kept => kept.copied(),
        }
    }

    fn tell_if_done(&self, work: &mut Work<S::Process>) {
        if work.process.is_done() && !std::mem::replace(&mut work.told, true) {
            self.report(Report::Done);
        }
    }

    /// Everything that arrives is of no use, until the partition is confirmed, or to be given up.
    async fn until_told(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            match self.next(false).await {
                Some(Command::Again) => return None,
                Some(Command::Finish(reply)) => return Some(reply),
                Some(Command::Records(_, records, _)) => {
                    self.queued.fetch_sub(records.size_in_bytes(), Ordering::Relaxed);
                }
                Some(Command::Progress(..) | Command::Gone) => {}
                // The member is gone: so is this task, at its next wait.
                None => std::future::pending().await,
            }
        }
    }

    async fn until_finish(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            if let Some(reply) = self.until_told().await {
                return Some(reply);
            }
        }
    }

    fn report(&self, report: Report) {
        let _ = self.reports.send((self.name.partition, self.life, report));
    }
}

/// A process at work.
struct Work<P> {
    producer: TransactionalProducer,
    process: P,
    committed_at: Instant,
    /// When an aborted transaction is to be tried again.
    attempt_at: Option<Instant>,
    attempts: u32,
    /// The member knows that it is done.
    told: bool,
}

impl<P: Process> Work<P> {
    /// The inner error is of a record that can't be read.
    fn read(&mut self, reader: &P::Reader, mut records: Records, progress: &Progress) -> Result<Result<(), Error>> {
        loop {
            match records.next_batch() {
                Ok(Some(batch)) => {
                    for record in batch {
                        match record {
                            Ok(record) => self.process.record(&record, reader)?,
                            Err(error) => return Ok(Err(error)),
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        self.process.progress(progress);
        Ok(Ok(()))
    }

    fn next_commit(&self, interval: Duration) -> Instant {
        match self.attempt_at {
            Some(at) => at,
            None if self.told => self.committed_at + interval,
            None if self.process.is_done() => self.committed_at,
            None if self.process.is_due() => self.committed_at + GAP.min(interval),
            None => self.committed_at + interval,
        }
    }
}

/// Records that wait for what reads them, beside everything else: commits go on, and so does the end.
struct Waiting<R> {
    records: Records,
    progress: Progress,
    reader: BoxFuture<'static, Result<R, Error>>,
}

/// What is waited for; never, while nothing is.
async fn reader<R>(waiting: &mut Option<Waiting<R>>) -> Result<R, Error> {
    match waiting {
        Some(waiting) => (&mut waiting.reader).await,
        None => std::future::pending().await,
    }
}

/// Fences whoever had the partition, and then asks how far the group is: in this order, or a dead owner's transaction
/// could still move it.
async fn begin<S: Stage>(
    shared: &Shared<S>,
    name: &TopicPartition,
    end: Option<i64>,
) -> Result<(TransactionalProducer, Begun<S::Process>)> {
    let mut told = false;
    loop {
        match try_to_begin(shared, name, end).await {
            Err(PipelineError::Kafka(error)) if error.is_retriable() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(partition = %name, %error, "can't begin yet");
                }
                sleep(RETRY).await;
            }
            begun => {
                if told && begun.is_ok() {
                    tracing::info!(partition = %name, "begins");
                }
                return begun;
            }
        }
    }
}

async fn try_to_begin<S: Stage>(
    shared: &Shared<S>,
    name: &TopicPartition,
    end: Option<i64>,
) -> Result<(TransactionalProducer, Begun<S::Process>)> {
    let Shared { context, job, stage, lookup, .. } = shared;
    let admin = context.client.admin();
    let id = format!("{}.{}.{}", job.group, name.topic, name.partition);
    let config = context.producer.clone().transaction_timeout(TRANSACTION_TIMEOUT);
    let producer = context.client.transactional_producer(id, config).await?;
    let only = std::slice::from_ref(name);
    let committed = lookup.committed(only).await?.remove(name);
    let log_start = lookup.beginning_offsets(only).await?.get(name).copied().unwrap_or(0);
    let log_end = admin.end_offsets([name.clone()]).await?.get(name).copied().unwrap_or(log_start);
    let start = Start { name: name.clone(), committed, log_start, log_end, end };
    Ok((producer, stage.begin(&start)?))
}
