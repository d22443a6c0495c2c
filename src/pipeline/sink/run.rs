//! The sink's shell: from the consumer to the writer.
//!
//! ```text
//! Assigned --> paused, claimed in the database --> seek to its position, resumed --> records --> pending --> writer
//! ```
//! One job of the writer is under way at a time, and the consumer is polled beside it: while the database is away the
//! partitions are paused, and the group keeps its member. Letting go of a partition is always safe: what was not written
//! is read again by the next owner, from the position in the database.
#![allow(clippy::disallowed_methods, reason = "a shell of the pipeline has a clock")]

use crate::consumer::{Consumer, ConsumerConfig, Event, IsolationLevel, OwnedRecord, Records};
use crate::error::{Error, ErrorKind};
use crate::ids::{OffsetAndMetadata, TopicPartition};
use crate::pipeline::context::{Context, soon};
use crate::pipeline::error::{PipelineError, Result};
use crate::pipeline::event::{EventFormat, EventReader, Need, Reading};
use crate::pipeline::metrics::{Role, StageMetrics};
use crate::pipeline::receipt::Receipt;
use crate::pipeline::sink::batch::{Counts, Pending, judge};
use crate::pipeline::sink::seen::Gauges;
use crate::pipeline::sink::waiting::{self, Waiting};
use crate::pipeline::sink::writer::{Writer, Written};
use crate::pipeline::sink::{Claim, SinkConfig, Store, What};
use crate::pipeline::stop::Stop;
use crate::pipeline::topics;
use crate::pipeline::trouble::Trouble;
use crate::producer::Acks;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often the loop looks around when nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// How long a revocation may wait for what is in hand; the rest is read again by the next owner.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long the end of a run may take, leaving the group included.
const FINISH: Duration = Duration::from_secs(8);
/// Kafka's committed offset, for lag tools only, is written this often.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a sink until it is asked to stop, or with [`SinkConfig::until_end`] until it is there. Dead letters are always
/// sent with `acks=all`.
///
/// Dropping the future is a crash: nothing is lost or doubled, the group notices by its session timeout.
///
/// # Errors
/// `Database` for what a person must mend there; `Kafka` or `Log` for brokers and topics; never for what passes by
/// itself.
pub async fn run<S: Store + 'static>(context: &Context, store: S, config: SinkConfig) -> Result<Receipt> {
    let metrics = context.metrics.stage(Role::Sink, &config.group);
    let Some(partitions) = wait_for_topic(context, &config, &metrics).await? else {
        return Ok(receipt(&config, &Counts::default()));
    };
    let admin = context.client.admin();
    topics::ensure_aside(&admin, &config.topics, &config.topics.dlq).await?;
    let lookup = ConsumerConfig::default().isolation_level(IsolationLevel::ReadUncommitted);
    let lookup = context.client.consumer(lookup)?;
    let ends = match config.until_end {
        true => Some(ends(&lookup, config.topic(), partitions).await?),
        false => None,
    };
    let mut consumer = context.member(&config.group, config.instance.as_deref())?;
    consumer.subscribe([config.topic()]).await?;
    let largest = topics::largest_aside(&admin, config.topic()).await?;
    let dead_letters = context.client.producer(context.producer.clone().acks(Acks::All).max_request_size(largest))?;
    let (database, database_state) = (config.database.clone(), config.database());
    let writer =
        Writer::new(store, dead_letters, config.topics.dlq.clone(), config.most_dead, database, metrics.clone());
    let mut shell = Shell {
        pending: Pending::new(config.what),
        config,
        events: context.events.clone(),
        consumer,
        lookup,
        ends,
        claims: HashMap::new(),
        waiting: Waiting::default(),
        read: HashMap::new(),
        fresh: BTreeSet::new(),
        fenced: BTreeMap::new(),
        since: None,
        held: false,
        job: Job::Idle(Box::new(writer)),
        writing: false,
        counts: Counts::default(),
        lag: HashMap::new(),
        lag_written: Instant::now(),
        gauges: Gauges::new(metrics, database_state),
        trouble: Trouble::new("reading"),
    };
    let done = shell.work(&context.stop).await;
    shell.finish(done).await
}

/// Where every partition must be before the sink may end: (log start, high watermark).
async fn ends(lookup: &Consumer, topic: &str, partitions: usize) -> Result<BTreeMap<i32, (i64, i64)>> {
    let names: Vec<_> = (0..partitions).map(|at| TopicPartition::new(topic, at as i32)).collect();
    let starts = lookup.beginning_offsets(&names).await?;
    let ends = lookup.end_offsets(&names).await?;
    let both = names.iter().filter_map(|name| Some((name.partition, (*starts.get(name)?, *ends.get(name)?))));
    Ok(both.collect())
}

/// How many partitions the topic has, once it is there; a sink may be started before those who write it. `None` if it
/// was asked to stop meanwhile.
async fn wait_for_topic(context: &Context, config: &SinkConfig, metrics: &StageMetrics) -> Result<Option<usize>> {
    let (topic, admin) = (config.topic(), context.client.admin());
    let mut told = false;
    while !context.stop.is_stopped() {
        metrics.alive(Instant::now());
        if let Some(found) = topics::describe(&admin, topic).await? {
            return Ok(Some(found.partitions.len()));
        }
        if config.until_end {
            return Err(PipelineError::Log(format!("the topic {topic} does not exist: there is no end to reach")));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(topic, "the topic does not exist yet; the sink waits for it");
        }
        let _ = timeout(Duration::from_secs(1), context.stop.stopped()).await;
    }
    Ok(None)
}

fn receipt(config: &SinkConfig, counts: &Counts) -> Receipt {
    let mut receipt = Receipt::new("sink");
    receipt.read = Some(counts.read);
    receipt.kept = Some(counts.kept);
    receipt.duplicate = (config.what == What::Purchases).then_some(counts.duplicate);
    receipt.dead_lettered = Some(counts.dead_lettered);
    receipt.skipped = Some(counts.skipped.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect());
    receipt.close()
}

/// The writer, or what it is doing.
enum Job<S> {
    Idle(Box<Writer<S>>),
    Running(Work<S>),
    /// Only while one becomes the other, and after a failure.
    Gone,
}

type Work<S> = Pin<Box<dyn Future<Output = (Box<Writer<S>>, Result<Done>)> + Send>>;

enum Done {
    Claimed(Vec<Claim>),
    Written(Written),
    Positions(Vec<(i32, i64)>),
}

struct Shell<S> {
    config: SinkConfig,
    events: EventFormat,
    consumer: Consumer,
    /// Reads nothing: asks for offsets.
    lookup: Consumer,
    /// Log start and high watermark as of the start, for `--until-end`.
    ends: Option<BTreeMap<i32, (i64, i64)>>,
    /// What is ours, with the positions that are written.
    claims: HashMap<i32, Claim>,
    /// Partitions whose next records can't be read yet; paused.
    waiting: Waiting,
    /// What was taken into `pending`, or is written: the next record to take.
    read: HashMap<i32, i64>,
    /// Assigned and not claimed yet.
    fresh: BTreeSet<i32>,
    /// Somebody else has claimed these although we are assigned: our old position, and when to ask the group again.
    fenced: BTreeMap<i32, (i64, Instant)>,
    pending: Pending<OwnedRecord>,
    /// Since when something is pending.
    since: Option<Instant>,
    /// All partitions are paused, until what is pending is on its way.
    held: bool,
    job: Job<S>,
    /// The job under way is a write: worth waiting for at the end.
    writing: bool,
    counts: Counts,
    /// For lag tools: written in the database and not yet committed to Kafka.
    lag: HashMap<TopicPartition, OffsetAndMetadata>,
    lag_written: Instant,
    gauges: Gauges,
    trouble: Trouble,
}

impl<S: Store + 'static> Shell<S> {
    async fn work(&mut self, stop: &Stop) -> Result<()> {
        let mut asked = Instant::now();
        loop {
            if stop.is_stopped() || self.is_there() {
                return Ok(());
            }
            self.start_job(&mut asked).await?;
            self.gauges.look(&self.consumer, self.config.topic());
            let now = Instant::now();
            self.trouble.listen(now, || self.consumer.metrics().last_heartbeat);
            self.trouble.is_over(now);
            // Here, since nothing may come after the last batch.
            if !self.lag.is_empty() && self.lag_written.elapsed() >= LAG_INTERVAL {
                self.write_lag().await;
            }
            tokio::select! {
                biased;
                () = stop.stopped() => {}
                (writer, done) = job(&mut self.job) => self.on_done(writer, done?).await?,
                read = self.waiting.next() => self.on_reader(read)?,
                event = self.consumer.next(TICK) => match event {
                    Ok(event) => self.on_event(event).await?,
                    Err(error) => self.on_read_error(error)?,
                },
            }
        }
    }

    /// Writes what is in hand, tells lag tools, leaves the group.
    async fn finish(mut self, done: Result<()>) -> Result<Receipt> {
        let deadline = Instant::now() + FINISH;
        let settled = match done {
            Ok(()) => self.settle(deadline).await,
            failed => failed,
        };
        self.write_lag().await;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        if let Err(error) = self.consumer.close(left).await {
            tracing::warn!(%error, "leaving the group");
        }
        settled?;
        Ok(receipt(&self.config, &self.counts))
    }

    async fn on_event(&mut self, event: Option<Event>) -> Result<()> {
        match event {
            Some(Event::Records(records)) => self.read(records.by_partition().into()),
            Some(Event::Assigned(partitions)) => {
                let _ = self.consumer.pause(&partitions); // until they are claimed
                for name in &partitions {
                    self.drop_partition(name.partition);
                    self.fresh.insert(name.partition);
                }
                self.gauges.assigned(&partitions);
            }
            Some(Event::Revoking(revoked)) => {
                self.settle(Instant::now() + HAND_OVER).await?;
                self.write_lag().await;
                self.forget(revoked.partitions());
                revoked.done();
            }
            Some(Event::Lost(partitions)) => {
                if !partitions.is_empty() {
                    let partitions: Vec<_> = partitions.iter().map(|name| name.partition).collect();
                    tracing::warn!(
                        ?partitions,
                        "the group has given these partitions to others: what is not written is dropped"
                    );
                }
                self.forget(&partitions);
                self.gauges.lost();
            }
            Some(Event::PartitionEnd(_)) | None => {}
        }
        self.advance();
        Ok(())
    }

    /// What passes when its cause does comes once a second, and others are read meanwhile.
    fn on_read_error(&mut self, error: Error) -> Result<()> {
        match (error.kind(), error.topic_partition()) {
            // Nothing is committed for a partition that is about to be claimed; its position comes from the database.
            (ErrorKind::NoOffset, Some(name)) if !self.claims.contains_key(&name.partition) => Ok(()),
            (ErrorKind::NoOffset, Some(name)) => Err(PipelineError::Log(format!(
                "{name}: the record at {} was deleted by retention before the sink had read it ({error}); to go on \
                 without what is missing, use another --group, or raise next_offset in kafka_sink_offsets",
                self.read.get(&name.partition).copied().unwrap_or_default()
            ))),
            _ if error.is_retriable() => {
                self.trouble.failed(Instant::now(), &error);
                Ok(())
            }
            _ => Err(Context::refused(error, &self.config.group, self.config.instance.as_deref())),
        }
    }

    /// Takes in what can be read; a partition whose next records can't be yet is paused, and waits beside the others.
    fn read(&mut self, mut records: VecDeque<Records>) {
        while let Some(next) = records.pop_front() {
            let Some(name) = next.partitions().pop() else { continue };
            if self.waiting.holds(name.partition) {
                self.waiting.push(name.partition, next);
                continue;
            }
            match self.reading(&next) {
                Reading::Now(reader) => self.take(&next, &reader),
                Reading::Later(reader) => {
                    let _ = self.consumer.pause(std::slice::from_ref(&name));
                    self.waiting.wait(name.partition, [next].into(), reader);
                }
            }
        }
    }

    /// Rows of windows are JSON, whatever events are.
    fn reading(&self, records: &Records) -> Reading<EventReader> {
        let is_event = self.config.what == What::Purchases;
        self.events.reading(records, |_, _| if is_event { Need::Asked } else { Need::None })
    }

    /// What was waited for is there.
    fn on_reader(&mut self, (partition, reader): waiting::Read) -> Result<()> {
        let reader = reader?;
        let mut records = self.waiting.take(partition);
        if let Some(first) = records.pop_front() {
            self.take(&first, &reader);
        }
        self.read(records);
        if !self.held && !self.waiting.holds(partition) {
            let _ = self.consumer.resume(&[TopicPartition::new(self.config.topic(), partition)]);
        }
        self.advance();
        Ok(())
    }

    fn take(&mut self, records: &Records, reader: &EventReader) {
        let mut last = None;
        for record in records {
            let (partition, offset) = (record.partition(), record.offset());
            // Records from before the seek to the claim's position are not ours to count.
            let Some(next) = self.read.get_mut(&partition).filter(|next| offset >= **next) else { continue };
            *next = offset + 1;
            if let Some((before, timestamp)) = last.replace((partition, record.timestamp()))
                && before != partition
            {
                self.gauges.read(before, timestamp);
            }
            let verdict = judge(self.config.what, &record, reader, offset, self.config.max_future);
            self.pending.push(partition, offset, verdict, || record.to_owned());
            self.since.get_or_insert_with(Instant::now);
        }
        if let Some((partition, timestamp)) = last {
            self.gauges.read(partition, timestamp);
        }
    }

    /// Follows the consumer over markers and gaps at the end of what it has handed out.
    fn advance(&mut self) {
        for (partition, next) in self.read.iter_mut().filter(|(partition, _)| !self.waiting.holds(**partition)) {
            let name = TopicPartition::new(self.config.topic(), *partition);
            if let Some(position) = self.consumer.position(&name).filter(|position| *position > *next) {
                *next = position;
                self.pending.advance(*partition, position);
                self.since.get_or_insert_with(Instant::now);
            }
        }
        if !self.held && self.pending.records() >= 2 * self.config.batch {
            self.held = true;
            let _ = self.consumer.pause(&self.ours());
        }
    }

    fn ours(&self) -> Vec<TopicPartition> {
        self.claims.keys().map(|partition| TopicPartition::new(self.config.topic(), *partition)).collect()
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for name in partitions {
            self.drop_partition(name.partition);
            self.fresh.remove(&name.partition);
            self.fenced.remove(&name.partition);
            self.lag.remove(name);
            self.gauges.forget(name.partition);
        }
    }

    fn drop_partition(&mut self, partition: i32) {
        self.claims.remove(&partition);
        self.read.remove(&partition);
        self.waiting.take(partition);
        self.pending.forget(partition);
    }

    /// Gives the writer its next job, if it has none and there is one.
    async fn start_job(&mut self, asked: &mut Instant) -> Result<()> {
        if !matches!(self.job, Job::Idle(_)) {
            return Ok(());
        }
        self.ask_the_group().await;
        if !self.fresh.is_empty() {
            return self.start_claim().await;
        }
        let is_due = self.since.is_some_and(|since| {
            self.pending.records() >= self.config.batch || since.elapsed() >= self.config.every || self.is_all_read()
        });
        if is_due {
            self.start_write();
        } else if self.ends.is_some() && self.is_all_read() && asked.elapsed() >= Duration::from_secs(1) {
            // Ours are done: how far are the others' partitions?
            *asked = Instant::now();
            self.start(|mut writer| async move {
                let positions = writer.positions().await;
                (writer, positions.map(Done::Positions))
            });
        }
        Ok(())
    }

    fn start<F>(&mut self, work: impl FnOnce(Box<Writer<S>>) -> F)
    where
        F: Future<Output = (Box<Writer<S>>, Result<Done>)> + Send + 'static,
    {
        match std::mem::replace(&mut self.job, Job::Gone) {
            Job::Idle(writer) => self.job = Job::Running(Box::pin(work(writer))),
            busy => self.job = busy,
        }
    }

    fn start_write(&mut self) {
        let sealed = self.pending.seal(&self.claims);
        self.since = None;
        self.writing = true;
        self.start(|mut writer| async move {
            let written = writer.write(sealed).await;
            (writer, written.map(Done::Written))
        });
        if std::mem::replace(&mut self.held, false) {
            let names: Vec<_> = self.ours().into_iter().filter(|name| !self.waiting.holds(name.partition)).collect();
            let _ = self.consumer.resume(&names);
        }
    }

    async fn start_claim(&mut self) -> Result<()> {
        let names: Vec<_> =
            self.fresh.iter().map(|partition| TopicPartition::new(self.config.topic(), *partition)).collect();
        let starts = match soon(self.lookup.beginning_offsets(&names)).await {
            Ok(starts) => starts,
            Err(error) if error.is_retriable() => {
                self.trouble.failed(Instant::now(), &error);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let starts: Vec<_> = names.iter().filter_map(|name| Some((name.partition, *starts.get(name)?))).collect();
        self.fresh.clear();
        self.start(|mut writer| async move {
            let claims = writer.claim(&starts).await;
            (writer, claims.map(Done::Claimed))
        });
        Ok(())
    }

    /// A fenced partition may be ours all the same (we claimed it twice), or the group has moved it on and we haven't
    /// heard. A commit that the coordinator accepts after the fence says that we are its member still, of this generation:
    /// claim again. A heartbeat would say the same, later: its answer may be to one that was sent before.
    async fn ask_the_group(&mut self) {
        let now = Instant::now();
        let Some((&partition, &(offset, _))) = self.fenced.iter().find(|(_, (_, at))| *at <= now) else { return };
        let name = TopicPartition::new(self.config.topic(), partition);
        let commit = self.consumer.commit_offsets(HashMap::from([(name, OffsetAndMetadata::new(offset))]));
        if let Ok(Ok(())) = timeout(Duration::from_secs(2), commit).await {
            self.fenced.remove(&partition);
            self.fresh.insert(partition);
        } else {
            self.fenced.insert(partition, (offset, Instant::now() + Duration::from_secs(1)));
        }
    }

    async fn on_done(&mut self, writer: Box<Writer<S>>, done: Done) -> Result<()> {
        self.job = Job::Idle(writer);
        self.writing = false;
        match done {
            Done::Claimed(claims) => self.on_claimed(claims).await?,
            Done::Written(written) => self.on_written(written),
            Done::Positions(positions) => {
                for (partition, next) in positions {
                    if let Some((_, end)) = self.ends.as_ref().and_then(|ends| ends.get(&partition))
                        && next >= *end
                        && let Some(ends) = &mut self.ends
                        && !self.claims.contains_key(&partition)
                    {
                        ends.remove(&partition);
                    }
                }
            }
        }
        Ok(())
    }

    async fn on_claimed(&mut self, claims: Vec<Claim>) -> Result<()> {
        self.gauges.asked();
        let assigned: BTreeSet<_> = self.consumer.assignment().into_iter().map(|name| name.partition).collect();
        let names: Vec<_> =
            claims.iter().map(|claim| TopicPartition::new(self.config.topic(), claim.partition)).collect();
        let ends = match soon(self.lookup.end_offsets(&names)).await {
            Ok(ends) => ends,
            // The brokers are away: reading will tell, too, what is out of range.
            Err(error) if error.is_retriable() => HashMap::new(),
            Err(error) => return Err(error.into()),
        };
        for (claim, name) in claims.into_iter().zip(names) {
            if !assigned.contains(&claim.partition) {
                continue; // it went on while the database was away
            }
            let Claim { next_offset, .. } = claim;
            if ends.get(&name).is_some_and(|end| next_offset > *end) {
                return Err(PipelineError::Log(format!(
                    "{name}: the database says that the next record is {next_offset}, and the log ends at {}: the topic \
                     was made anew or has lost records; use another --group, or delete its rows of kafka_sink_offsets",
                    ends[&name]
                )));
            }
            if self.consumer.seek(&name, next_offset).is_err() {
                continue; // on its way to another member
            }
            self.claims.insert(claim.partition, claim);
            self.read.insert(claim.partition, next_offset);
            if !self.held {
                let _ = self.consumer.resume(&[name]);
            }
        }
        Ok(())
    }

    fn on_written(&mut self, written: Written) {
        self.counts.add(&written.counts);
        self.gauges.written(&written.records);
        self.config.rows.fetch_add(written.counts.kept, Ordering::Relaxed);
        for step in &written.moves {
            if let Some(claim) = self.claims.get_mut(&step.partition).filter(|claim| claim.owner == step.owner) {
                claim.next_offset = step.new;
                let name = TopicPartition::new(self.config.topic(), step.partition);
                self.lag.insert(name, OffsetAndMetadata::new(step.new));
            }
        }
        for partition in written.fenced {
            let Some(claim) = self.claims.get(&partition).copied() else { continue };
            self.drop_partition(partition);
            let _ = self.consumer.pause(&[TopicPartition::new(self.config.topic(), partition)]);
            self.fenced.insert(partition, (claim.next_offset, Instant::now()));
        }
    }

    /// Commits to Kafka what is written, for lag tools; nobody waits long for it.
    async fn write_lag(&mut self) {
        if self.lag.is_empty() {
            return;
        }
        self.lag_written = Instant::now();
        let offsets = std::mem::take(&mut self.lag);
        match timeout(Duration::from_secs(2), self.consumer.commit_offsets(offsets)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the offsets for lag tools are not committed"),
            Err(_) => tracing::debug!("the offsets for lag tools are not committed in time"),
        }
    }

    /// Writes what is in hand until the deadline; what is left then is read again by the next owner.
    async fn settle(&mut self, deadline: Instant) -> Result<()> {
        while self.writing || !self.pending.is_empty() {
            if matches!(self.job, Job::Idle(_)) {
                self.start_write();
            }
            match tokio::time::timeout_at(deadline, job(&mut self.job)).await {
                Ok((writer, done)) => self.on_done(writer, done?).await?,
                Err(_) => {
                    tracing::warn!("what is in hand could not be written in time; it will be read again");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether everything of ours up to the end is in hand or written.
    fn is_all_read(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        self.claims.keys().all(|partition| {
            ends.get(partition).is_none_or(|(_, end)| self.read.get(partition).is_some_and(|next| next >= end))
        })
    }

    /// Whether everything up to the end is written, by us or others. A partition that was empty needs no owner.
    fn is_there(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        let settled = matches!(self.job, Job::Idle(_)) && self.fresh.is_empty() && self.fenced.is_empty();
        settled
            && self.pending.is_empty()
            && ends.iter().all(|(partition, (start, end))| {
                start == end || self.claims.get(partition).is_some_and(|claim| claim.next_offset >= *end)
            })
    }
}

/// The job's end; never, while there is none.
async fn job<S>(job: &mut Job<S>) -> (Box<Writer<S>>, Result<Done>) {
    match job {
        Job::Running(work) => work.await,
        Job::Idle(_) | Job::Gone => std::future::pending().await,
    }
}
