//! The aggregator's shell: it reads `T`, asks [`PartitionWindows`], writes `T.windows`, `T.late` and `T.dlq`, and commits.
//!
//! State is kept per input partition; the commit carries the real position and, as metadata, all that a new owner needs.
//! The effect comes before the commit: a crash in between writes the same rows again (merge counts them once), an orderly
//! stop neither loses nor doubles anything.
#![allow(clippy::disallowed_methods, reason = "a shell's clock")]

use crate::{
    consumer::{Consumer, ConsumerRecord, Event},
    ids::{OffsetAndMetadata, TopicPartition},
    pipeline::{
        board::{Board, PartitionLine},
        config::Topics,
        context::{Context, wall_micros},
        counts::Counts,
        dead_letter::{SetAside, Stage},
        error::{PipelineError, Result},
        outbox::Outbox,
        receipt::Receipt,
        rows, topics,
        window::{Emission, JobSpec, Judged, Metadata, PartitionWindows},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Late and dead records that may wait for a commit, in bytes.
const ASIDE_LIMIT: usize = 1 << 20;
/// How long a look for records may take: pauses, idle partitions and the wish to stop are seen at least this often.
const LOOK: Duration = Duration::from_millis(100);
/// How often a member without partitions asks whether the group has ended.
const ASK: Duration = Duration::from_secs(1);

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
    /// `commit.interval.ms`: commits at least this often.
    pub commit_interval: Duration,
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
            board: Arc::default(),
        }
    }
}

/// One input partition that is ours.
struct Part {
    windows: PartitionWindows,
    position: i64,
    /// Records below are read again.
    live_from: i64,
    /// `--until-end`: where the input ends.
    end: Option<i64>,
    /// Nothing more to do: ended, or stopped at `--stop-at`.
    done: bool,
    late: Vec<SetAside>,
    dead: Vec<SetAside>,
    aside_bytes: usize,
    committed: Option<(i64, Option<i64>)>,
    last_commit: Instant,
}

/// Aggregates until the wish to stop, the end (`--until-end`), or the edge (`--stop-at`).
///
/// # Errors
/// What the group's offsets, the log or the brokers don't allow; nothing is committed then whose effect isn't written.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let admin = context.client.admin();
    let all = topics::partitions(&admin, &options.topics.input).await?;
    refuse_compacted(&admin, &options.topics.input).await?;
    topics::ensure_aggregates(&admin, &options.topics).await?;
    let windows = topics::partitions(&admin, &options.topics.windows).await?;
    if windows != 1 {
        return Err(PipelineError::Config(format!(
            "{} has {windows} partitions and must have one: rows and watermarks are read in one order",
            options.topics.windows
        )));
    }
    let mut consumer = context.member(&options.spec.job, options.instance.as_deref())?;
    // As of the start, of every partition, before anything is read.
    let names: Vec<_> = (0..all).map(|p| TopicPartition::new(options.topics.input.as_str(), p)).collect();
    let ends = if options.until_end { admin.end_offsets(names).await? } else { HashMap::new() };
    consumer.subscribe([options.topics.input.as_str()]).await?;
    let mut job = Aggregator {
        counts: Counts::new(&options.spec),
        spec: Arc::new(options.spec.clone()),
        outbox: Outbox::new(context.producer()?),
        parts: BTreeMap::new(),
        ends: ends.into_iter().map(|(name, end)| (name.partition, end)).collect(),
        options,
    };
    let done = job.work(context, &mut consumer).await;
    let left = consumer.close(Context::FAREWELL).await;
    let closed = job.outbox.close().await;
    job.options.board.counts(&job.counts);
    done?;
    left?;
    closed?;
    let mut receipt = Receipt::new("aggregate");
    job.counts.fill(&mut receipt, false);
    Ok(receipt.close())
}

struct Aggregator {
    options: Options,
    spec: Arc<JobSpec>,
    outbox: Outbox,
    parts: BTreeMap<i32, Part>,
    /// `--until-end`, by partition.
    ends: HashMap<i32, i64>,
    counts: Counts,
}

impl Aggregator {
    async fn work(&mut self, context: &Context, consumer: &mut Consumer) -> Result<()> {
        let mut asked = Instant::now();
        loop {
            let event = tokio::select! {
                event = consumer.next(LOOK) => event?,
                () = context.stop.stopped() => break,
            };
            match event {
                Some(Event::Assigned(partitions)) => self.assigned(consumer, partitions).await?,
                Some(Event::Revoking(revoking)) => {
                    let partitions: Vec<i32> = revoking.partitions().iter().map(|name| name.partition).collect();
                    self.emit(consumer, &partitions).await?;
                    self.forget(&partitions);
                    revoking.done();
                }
                Some(Event::Lost(lost)) => {
                    let partitions: Vec<i32> = lost.iter().map(|name| name.partition).collect();
                    tracing::warn!(?partitions, "partitions were lost; their new owner reads on from the last commit");
                    self.forget(&partitions);
                }
                Some(Event::Records(records)) => {
                    for record in &records {
                        self.record(&record);
                    }
                }
                Some(_) | None => {}
            }
            self.look(consumer);
            let due = self.due();
            self.emit(consumer, &due).await?;
            if !self.parts.is_empty() && self.parts.values().all(|part| part.done) {
                return Ok(());
            }
            if self.parts.is_empty() && asked.elapsed() >= ASK {
                if self.others_ended(consumer).await? {
                    return Ok(());
                }
                asked = Instant::now();
            }
        }
        let all: Vec<i32> = self.parts.keys().copied().collect();
        self.emit(consumer, &all).await
    }

    /// `--until-end` of a member that has no partition, as there are more members than partitions: whether the others
    /// have ended all of them.
    async fn others_ended(&self, consumer: &Consumer) -> Result<bool> {
        if self.ends.is_empty() {
            return Ok(false);
        }
        let input = self.options.topics.input.as_str();
        let ends: Vec<_> =
            self.ends.iter().map(|(partition, end)| (TopicPartition::new(input, *partition), *end)).collect();
        let names: Vec<_> = ends.iter().map(|(name, _)| name.clone()).collect();
        let committed = consumer.committed(&names).await?;
        Ok(ends.iter().all(|(name, end)| {
            committed.get(name).is_some_and(|found| {
                let metadata = Metadata::parse(&found.metadata);
                found.offset >= *end && metadata.is_ok_and(|metadata| metadata.is_ended())
            })
        }))
    }

    /// Recovery: committed offset and metadata, then the position that its windows need.
    async fn assigned(&mut self, consumer: &Consumer, partitions: Vec<TopicPartition>) -> Result<()> {
        let committed = consumer.committed(&partitions).await?;
        let begins = consumer.beginning_offsets(&partitions).await?;
        for name in partitions {
            let begin = begins.get(&name).copied().unwrap_or(0);
            let (windows, position, seek, known) = match committed.get(&name) {
                None => (PartitionWindows::new(self.spec.clone(), name.partition), begin, begin, None),
                Some(offset) => self.restore(consumer, &name, offset, begin).await?,
            };
            consumer.seek(&name, seek)?;
            let ended = known.as_ref().is_some_and(Metadata::is_ended);
            let end = self.options.until_end.then(|| self.ends.get(&name.partition).copied().unwrap_or(position));
            let now = Instant::now();
            let part = Part {
                windows,
                position: seek,
                live_from: position,
                end,
                done: ended && end.is_some(),
                late: Vec::new(),
                dead: Vec::new(),
                aside_bytes: 0,
                committed: known.map(|metadata| (position, metadata.wm)),
                last_commit: now,
            };
            self.parts.insert(name.partition, part);
        }
        Ok(())
    }

    async fn restore(
        &self,
        consumer: &Consumer,
        name: &TopicPartition,
        offset: &OffsetAndMetadata,
        begin: i64,
    ) -> Result<(PartitionWindows, i64, i64, Option<Metadata>)> {
        let group = &self.spec.job;
        let refuse = |why: &str| PipelineError::Config(format!("{name}: {why} (group {group})"));
        let metadata = Metadata::parse(&offset.metadata).map_err(|error| refuse(&error.to_string()))?;
        if self.spec.from.is_some() && self.spec.from != metadata.from {
            return Err(refuse("--from-timestamp is for a new group, and this one has offsets"));
        }
        let end = consumer.end_offsets(std::slice::from_ref(name)).await?.get(name).copied().unwrap_or(0);
        if metadata.is_ended() && end > offset.offset {
            let new = end - offset.offset;
            return Err(refuse(&format!(
                "this group was ended by --until-end, and there are {new} new records; use another --group, or a new topic"
            )));
        }
        if metadata.replay_from < begin && !self.options.accept_gap {
            return Err(PipelineError::Log(format!(
                "{name}: group {group} must read on from offset {}, but the log begins at {begin}: records are gone \
                 (retention, or the topic was made anew); --accept-gap goes on without them",
                metadata.replay_from
            )));
        }
        let windows = PartitionWindows::restore(self.spec.clone(), name.partition, offset.offset, &metadata)
            .map_err(|error| refuse(&error.to_string()))?;
        Ok((windows, offset.offset, metadata.replay_from.max(begin), Some(metadata)))
    }

    fn record(&mut self, record: &ConsumerRecord<'_>) {
        let Some(part) = self.parts.get_mut(&record.partition()) else { return };
        if part.done || part.end.is_some_and(|end| record.offset() >= end) {
            return;
        }
        let judged = part.windows.record(record.offset(), record.timestamp(), record.value());
        match &judged {
            Judged::Dead(rejected) => part.set_aside(SetAside::dead(record, Stage::Aggregate, rejected), false),
            Judged::Event { late, .. } if *late != 0 => {
                let names = self.spec.windows.iter().enumerate().filter(|(i, _)| late & (1 << i) != 0);
                part.set_aside(SetAside::late(record, names.map(|(_, window)| window.name.as_str())), true);
            }
            _ => {}
        }
        self.counts.judged(&self.spec, &judged);
        part.position = record.offset() + 1;
        if part.windows.is_stopped() {
            part.done = true;
        }
    }

    /// Where the consumer is: markers and gaps count, and the end is an offset, not a record.
    fn look(&mut self, consumer: &Consumer) {
        let now = Instant::now();
        for (partition, part) in &mut self.parts {
            let name = TopicPartition::new(self.options.topics.input.as_str(), *partition);
            let Some(position) = consumer.position(&name) else { continue };
            if part.done {
                continue;
            }
            part.position = part.position.max(part.end.map_or(position, |end| position.min(end)));
            part.windows.reached(part.position);
            if part.end.is_some_and(|end| part.position >= end) {
                part.windows.end();
                part.done = true;
            }
            let lag = consumer.lag(&name);
            if let Some(idle) = self.options.idle {
                // Up to the last answer only: an unreachable broker or a paused partition is not idle.
                let quiet = consumer.caught_up(&name).filter(|(since, at)| at.duration_since(*since) >= idle);
                if let Some((_, at)) = quiet.filter(|_| !part.windows.is_replaying()) {
                    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                    let ago = now.saturating_duration_since(at.into());
                    part.windows.idle(wall_micros().saturating_sub(micros(ago)), micros(idle));
                }
            }
            let (position, live_from, watermark) = (part.position, part.live_from, part.windows.watermark());
            let line = PartitionLine { position, live_from, until: part.end, lag, watermark };
            self.options.board.partition(*partition, line, part.windows.open_sums());
        }
        self.options.board.counts(&self.counts);
    }

    /// The partitions with something to commit now.
    fn due(&self) -> Vec<i32> {
        let due = |part: &Part| {
            part.windows.has_closed()
                || part.done
                || part.aside_bytes >= ASIDE_LIMIT
                || part.last_commit.elapsed() >= self.options.commit_interval
        };
        self.parts.iter().filter(|(_, part)| due(part)).map(|(partition, _)| *partition).collect()
    }

    /// Rows, watermarks, late and dead records; when all are acknowledged, the offsets with their metadata.
    async fn emit(&mut self, consumer: &Consumer, partitions: &[i32]) -> Result<()> {
        let mut emissions: Vec<(i32, Emission)> = Vec::new();
        for partition in partitions {
            let Some(part) = self.parts.get_mut(partition) else { continue };
            part.last_commit = Instant::now();
            // A replay commits nothing: the committed position is ahead of it.
            if part.windows.is_replaying() || part.position < part.live_from {
                continue;
            }
            let emission = part.windows.emission(part.position);
            let same = part.committed == Some((emission.position, emission.metadata.wm));
            if same && emission.rows.is_empty() && part.late.is_empty() && part.dead.is_empty() {
                continue;
            }
            emissions.push((*partition, emission));
        }
        if emissions.is_empty() {
            return Ok(());
        }
        let topics = &self.options.topics;
        let mut offsets = HashMap::new();
        for (partition, emission) in &emissions {
            for row in &emission.rows {
                self.outbox.send(&topics.windows, row.record_key().as_bytes(), &rows::to_json(row)).await?;
            }
            let watermark = &emission.watermark;
            self.outbox.send(&topics.windows, watermark.record_key().as_bytes(), &rows::to_json(watermark)).await?;
            if let Some(part) = self.parts.get(partition) {
                self.outbox.set_aside(&topics.late, &part.late).await?;
                self.outbox.set_aside(&topics.dlq, &part.dead).await?;
            }
            let metadata = serde_json::to_string(&emission.metadata).unwrap_or_default();
            let offset = OffsetAndMetadata { metadata, ..OffsetAndMetadata::new(emission.position) };
            offsets.insert(TopicPartition::new(topics.input.as_str(), *partition), offset);
        }
        self.outbox.acknowledged().await?;
        consumer.commit_offsets(offsets).await?;
        for (partition, emission) in &emissions {
            self.counts.emitted(&emission.rows, emission.windows_closed);
            let Some(part) = self.parts.get_mut(partition) else { continue };
            part.windows.committed(emission);
            part.committed = Some((emission.position, emission.metadata.wm));
            (part.aside_bytes, part.late, part.dead) = (0, Vec::new(), Vec::new());
        }
        Ok(())
    }

    fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.parts.remove(partition);
            self.options.board.gone(*partition);
        }
    }
}

impl Part {
    fn set_aside(&mut self, record: SetAside, late: bool) {
        self.aside_bytes += record.size();
        if late { self.late.push(record) } else { self.dead.push(record) }
    }
}

async fn refuse_compacted(admin: &crate::admin::Admin, topic: &str) -> Result<()> {
    let configs = admin.describe_configs(topic).await?;
    let policy = configs.into_iter().find(|config| config.name == "cleanup.policy").and_then(|config| config.value);
    if policy.is_some_and(|policy| policy.contains("compact")) {
        return Err(PipelineError::Config(format!(
            "{topic} is compacted: records that the windows need disappear from it; set cleanup.policy=delete"
        )));
    }
    Ok(())
}
