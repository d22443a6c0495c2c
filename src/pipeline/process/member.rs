//! The member of the group: hands records to the tasks of its partitions, and partitions to tasks.

use super::{
    Job, Progress, Stage,
    task::{Command, Report, Shared, Task},
    visible,
};
use crate::{
    consumer::{Consumer, ConsumerConfig, Event, Records},
    error::{Error, ErrorKind},
    ids::TopicPartition,
    pipeline::{
        context::{Context, soon},
        error::{PipelineError, Result},
        topics,
        trouble::Trouble,
    },
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OnceCell, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

/// How long a look for records may take: idle partitions and the wish to stop are seen at least this often.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at positions without records.
const TEND: Duration = Duration::from_millis(50);
/// A partition with more bytes of records than this waiting is paused, and goes on when few are left.
const FULL: usize = 4 << 20;
const EMPTY: usize = 512 << 10;
/// How long partitions may take to commit what they have before they go to another member, or at the end.
const HAND_OVER: Duration = Duration::from_secs(8);
/// How long a member is without a partition before it says so: a rebalance may be under way.
const SPARE: Duration = Duration::from_secs(10);
/// How often a member whose partitions are done asks whether the others' are.
const ASK: Duration = Duration::from_millis(500);
/// Heartbeats that the coordinator must have taken after a partition was lost, before it is begun anew: the first may have
/// been under way.
const CONFIRMATIONS: u32 = 2;

pub(super) async fn run<S: Stage>(context: &Context, job: Arc<Job>, stage: Arc<S>) -> Result<()> {
    let admin = context.client.admin();
    let partitions = topics::partitions(&admin, &job.input).await?;
    // As of the start, of every partition, before anything is read.
    let names: Vec<_> = (0..partitions).map(|p| TopicPartition::new(job.input.as_str(), p)).collect();
    let ends = if job.until_end { admin.end_offsets(names).await? } else { HashMap::new() };
    let mut consumer = context.member(&job.group, job.instance.as_deref())?;
    consumer.subscribe([job.input.as_str()]).await?;
    let (metadata, member) = watch::channel(consumer.group_metadata());
    let (reports, told) = mpsc::unbounded_channel();
    let lookup = context.client.consumer(ConsumerConfig::default().group_id(&job.group).enable_auto_commit(false))?;
    let shared =
        Shared { context: context.clone(), job: job.clone(), stage, lookup, member, keeps_metadata: OnceCell::new() };
    let mut member = Member {
        shared: Arc::new(shared),
        partitions,
        ends: ends.into_iter().map(|(name, end)| (name.partition, end)).collect(),
        parts: BTreeMap::new(),
        lives: 0,
        metadata,
        reports,
        told,
        tended: Instant::now(),
        asked: None,
        spare: None,
        trouble: Trouble::new("reading"),
        is_over: false,
    };
    let mut done = member.work(context, &mut consumer).await;
    if done.is_ok() {
        let all: Vec<i32> = member.parts.keys().copied().collect();
        member.let_go(&all).await;
        done = member.failure();
    }
    member.parts.clear();
    let left = consumer.close(Context::FAREWELL).await;
    done?;
    if let Err(error) = left {
        tracing::warn!(%error, "leaving the group");
    }
    if member.is_over { visible::wait(context, &job.outputs).await } else { Ok(()) }
}

/// A partition that is ours. Dropping it ends its task as a crash would.
struct Part {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
    life: u64,
    queued: Arc<AtomicUsize>,
    /// The task's beginning, once it has said where to read.
    beginning: Option<u64>,
    /// What it was told last.
    progress: Progress,
    /// Paused, since too much waits.
    held: bool,
    /// Lost: heartbeats seen since, and the last of them.
    unconfirmed: Option<(u32, Option<std::time::Instant>)>,
    done: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Member<S: Stage> {
    shared: Arc<Shared<S>>,
    /// As of the start.
    partitions: i32,
    /// `--until-end`, by partition.
    ends: BTreeMap<i32, i64>,
    parts: BTreeMap<i32, Part>,
    lives: u64,
    metadata: watch::Sender<crate::consumer::ConsumerGroupMetadata>,
    reports: mpsc::UnboundedSender<(i32, u64, Report)>,
    told: mpsc::UnboundedReceiver<(i32, u64, Report)>,
    tended: Instant,
    asked: Option<Instant>,
    /// Since when there is no partition for this member, and whether that was said.
    spare: Option<(Instant, bool)>,
    trouble: Trouble,
    /// The job has come to its end.
    is_over: bool,
}

impl<S: Stage> Member<S> {
    async fn work(&mut self, context: &Context, consumer: &mut Consumer) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                () = context.stop.stopped() => return Ok(()),
                Some((partition, life, report)) = self.told.recv() => self.on_report(consumer, partition, life, report)?,
                event = consumer.next(LOOK) => {
                    self.know_generation(consumer);
                    match event {
                        Ok(event) => self.on_event(consumer, event).await?,
                        Err(error) => self.on_read_error(consumer, error)?,
                    }
                }
            }
            if self.tended.elapsed() >= TEND {
                self.tended = Instant::now();
                self.shared.job.metrics.alive(self.tended);
                self.trouble.listen(self.tended, || consumer.metrics().last_heartbeat);
                self.trouble.is_over(self.tended);
                self.tend(consumer);
                self.say_if_spare();
            }
            if self.has_ended(consumer).await? {
                self.is_over = true;
                return Ok(());
            }
        }
    }

    async fn on_event(&mut self, consumer: &Consumer, event: Option<Event>) -> Result<()> {
        match event {
            Some(Event::Records(records)) => {
                for records in records.by_partition() {
                    self.hand_over(consumer, records);
                }
            }
            Some(Event::Assigned(partitions)) => {
                let _ = consumer.pause(&partitions); // until they have begun
                self.shared.job.metrics.joined(true);
                self.spare = (partitions.is_empty() && self.parts.is_empty()).then(|| (Instant::now(), false));
                for name in partitions {
                    if name.partition >= self.partitions {
                        self.partitions = name.partition + 1;
                        tracing::warn!(
                            topic = %name.topic, partitions = self.partitions,
                            "the topic has more partitions than at the start: keys map to other partitions now, so the rows \
                             of one key may come from two of them"
                        );
                    }
                    self.start(name);
                }
            }
            Some(Event::Revoking(revoking)) => {
                let partitions: Vec<i32> = revoking.partitions().iter().map(|name| name.partition).collect();
                self.let_go(&partitions).await;
                self.forget(&partitions);
                revoking.done();
                return self.failure();
            }
            Some(Event::Lost(lost)) => {
                let partitions: Vec<i32> = lost.iter().map(|name| name.partition).collect();
                if !partitions.is_empty() {
                    tracing::warn!(
                        ?partitions,
                        "the group has given these partitions to others: what is not committed is dropped"
                    );
                }
                self.shared.job.metrics.joined(false);
                self.forget(&partitions);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// In whose name tasks commit. A rebalance that leaves us what we have is no event, and one that takes a partition away
    /// has made the new generation already: the last commit before it goes is made in the new one's name.
    fn know_generation(&self, consumer: &Consumer) {
        self.metadata.send_if_modified(|known| {
            let now = consumer.group_metadata();
            let is_new = *known != now;
            *known = now;
            is_new
        });
    }

    fn start(&mut self, name: TopicPartition) {
        self.lives += 1;
        let (commands, received) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let partition = name.partition;
        let end = self.shared.job.until_end.then(|| self.ends.get(&partition).copied().unwrap_or(0));
        let task = Task {
            shared: self.shared.clone(),
            name,
            end,
            life: self.lives,
            commands: received,
            reports: self.reports.clone(),
            held: VecDeque::new(),
            queued: queued.clone(),
        };
        let part = Part {
            commands,
            task: tokio::spawn(task.run()),
            life: self.lives,
            queued,
            beginning: None,
            progress: Progress::default(),
            held: false,
            unconfirmed: None,
            done: false,
        };
        self.parts.insert(partition, part);
    }

    fn on_report(&mut self, consumer: &Consumer, partition: i32, life: u64, report: Report) -> Result<()> {
        if let Report::Failed(error) = report {
            return Err(error);
        }
        let name = self.name(partition);
        let Some(part) = self.parts.get_mut(&partition).filter(|part| part.life == life) else { return Ok(()) };
        match report {
            Report::Begun(beginning, offset) => {
                if consumer.seek(&name, offset).is_ok() {
                    part.beginning = Some(beginning);
                    part.progress = Progress { position: offset, ..Progress::default() };
                    let _ = consumer.resume(std::slice::from_ref(&name));
                }
            }
            Report::Lost => {
                part.beginning = None;
                part.unconfirmed = Some((0, consumer.metrics().last_heartbeat));
                let _ = consumer.pause(std::slice::from_ref(&name));
            }
            Report::Done => part.done = true,
            Report::Failed(_) => {}
        }
        Ok(())
    }

    fn hand_over(&mut self, consumer: &Consumer, records: Records) {
        let Some(name) = records.partitions().pop() else { return };
        let Some(part) = self.parts.get_mut(&name.partition) else { return };
        let Some(beginning) = part.beginning else { return };
        let progress = look(consumer, &name, part.progress.position);
        part.progress = progress;
        if part.queued.fetch_add(records.size_in_bytes(), Ordering::Relaxed) >= FULL && !part.held {
            part.held = consumer.pause(std::slice::from_ref(&name)).is_ok();
        }
        // A task that has ended has said why.
        let _ = part.commands.send(Command::Records(beginning, records, progress));
    }

    /// More members than partitions: the surplus waits for one of the others to go.
    fn say_if_spare(&mut self) {
        let Some((since, said)) = &mut self.spare else { return };
        if !*said && since.elapsed() >= SPARE {
            *said = true;
            tracing::info!(
                topic = self.shared.job.input,
                partitions = self.partitions,
                "no partition is left for this member, the others have them all: it takes over when one of them goes"
            );
        }
    }

    /// Positions that pass markers and gaps, partitions that have room again, and lost ones that the group confirms.
    fn tend(&mut self, consumer: &Consumer) {
        let mut heartbeat = None;
        for (partition, part) in &mut self.parts {
            let name = TopicPartition::new(self.shared.job.input.as_str(), *partition);
            if part.held && part.queued.load(Ordering::Relaxed) <= EMPTY {
                part.held = consumer.resume(std::slice::from_ref(&name)).is_err();
            }
            if let Some((confirmations, last)) = &mut part.unconfirmed {
                let now = *heartbeat.get_or_insert_with(|| consumer.metrics().last_heartbeat);
                if now > *last {
                    (*confirmations, *last) = (*confirmations + 1, now);
                }
                if *confirmations >= CONFIRMATIONS {
                    part.unconfirmed = None;
                    let _ = part.commands.send(Command::Again);
                }
            }
            let Some(beginning) = part.beginning else { continue };
            let progress = look(consumer, &name, part.progress.position);
            if progress != part.progress {
                part.progress = progress;
                let _ = part.commands.send(Command::Progress(beginning, progress));
            }
        }
    }

    /// Has these partitions commit what they have, and waits for it a while.
    async fn let_go(&self, partitions: &[i32]) {
        let finished = partitions.iter().filter_map(|partition| {
            let (reply, finished) = oneshot::channel();
            self.parts.get(partition)?.commands.send(Command::Finish(reply)).ok()?;
            Some(finished)
        });
        let finished: Vec<_> = finished.collect();
        if timeout(HAND_OVER, join_all(finished)).await.is_err() {
            tracing::warn!("not everything could be committed in time; the next owner reads on from the last commit");
        }
    }

    fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.parts.remove(partition);
            self.shared.stage.forget(*partition);
        }
    }

    /// What a task has failed with, if one has.
    fn failure(&mut self) -> Result<()> {
        while let Ok((_, _, report)) = self.told.try_recv() {
            if let Report::Failed(error) = report {
                return Err(error);
            }
        }
        Ok(())
    }

    /// What passes by itself comes once a second, and others are read meanwhile.
    fn on_read_error(&mut self, consumer: &Consumer, error: Error) -> Result<()> {
        match (error.kind(), error.topic_partition()) {
            // Its position comes from its task.
            (ErrorKind::NoOffset, Some(name))
                if self.parts.get(&name.partition).is_none_or(|p| p.beginning.is_none()) =>
            {
                Ok(())
            }
            (ErrorKind::NoOffset, Some(name)) => self.on_gap(consumer, name, &error),
            _ if error.is_retriable() => {
                self.trouble.failed(Instant::now(), &error);
                Ok(())
            }
            _ => Err(Context::refused(error, &self.shared.job.group, self.shared.job.instance.as_deref())),
        }
    }

    /// Retention has overtaken the reader: the task begins anew where the log does, or the job ends.
    fn on_gap(&mut self, consumer: &Consumer, name: &TopicPartition, error: &Error) -> Result<()> {
        let Some(part) = self.parts.get_mut(&name.partition) else { return Ok(()) };
        let may_go_on = self.shared.job.accept_gap;
        if may_go_on == Some(true) {
            let _ = consumer.pause(std::slice::from_ref(name));
            part.beginning = None;
            let _ = part.commands.send(Command::Gone);
            return Ok(());
        }
        let position = part.progress.position;
        let hint = if may_go_on.is_some() { "; start again with --accept-gap to go on without them" } else { "" };
        Err(PipelineError::Log(format!(
            "{name}: the records at offset {position} were deleted by retention before they were read ({error}){hint}"
        )))
    }

    /// Whether every partition is done, here or at another member. Ours alone are not enough: a dead member's may be on
    /// their way to us.
    async fn has_ended(&mut self, consumer: &Consumer) -> Result<bool> {
        if !self.shared.job.has_end || self.parts.values().any(|part| !part.done) {
            return Ok(false);
        }
        if self.parts.len() == usize::try_from(self.partitions).unwrap_or(usize::MAX) {
            return Ok(true);
        }
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK) {
            return Ok(false);
        }
        self.asked = Some(Instant::now());
        let names: Vec<_> = (0..self.partitions).map(|partition| self.name(partition)).collect();
        let committed = match soon(consumer.committed(&names)).await {
            Ok(committed) => committed,
            Err(error) if error.is_retriable() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let until_end = self.shared.job.until_end;
        Ok(names.iter().all(|name| {
            let end = until_end.then(|| self.ends.get(&name.partition).copied().unwrap_or(0));
            committed.get(name).is_some_and(|committed| self.shared.stage.is_over(committed, end))
        }))
    }

    fn name(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.shared.job.input.as_str(), partition)
    }
}

/// How far the consumer is; it knows no position while it looks one up.
fn look(consumer: &Consumer, name: &TopicPartition, last: i64) -> Progress {
    let caught_up = consumer.caught_up(name).map(|(since, at)| (Instant::from_std(since), Instant::from_std(at)));
    Progress { position: consumer.position(name).unwrap_or(last), lag: consumer.lag(name), caught_up }
}
