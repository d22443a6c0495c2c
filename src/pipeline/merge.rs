//! Merge: one final row per window and key, from the partial rows of all input partitions.
//!
//! It reads `T.windows`, which has one partition, asks [`MergeState`], writes `T.final`, and commits. The effect comes
//! before the commit, and the state is read again from `replay_from` on, as the aggregator's is.
#![allow(clippy::disallowed_methods, reason = "a shell's clock")]

pub mod state;

use crate::{
    consumer::{Consumer, Event},
    ids::{OffsetAndMetadata, TopicPartition},
    pipeline::{
        board::Board,
        config::{Topics, WindowSpec},
        context::Context,
        dead_letter::{SetAside, Stage},
        error::{PipelineError, Result},
        event::{Reason, Rejected},
        outbox::Outbox,
        receipt::Receipt,
        topics,
    },
};
use state::{Applied, Finals, MergeState, Metadata};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a look for records may take.
const LOOK: Duration = Duration::from_millis(100);

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

/// Merges until the wish to stop or the end (`--until-end`).
///
/// # Errors
/// What the group's offsets, the topics or the brokers don't allow.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let admin = context.client.admin();
    let names = &options.topics;
    topics::ensure_finals(&admin, names).await?;
    for topic in [&names.windows, &names.finals] {
        let partitions = topics::partitions(&admin, topic).await?;
        if partitions != 1 {
            return Err(PipelineError::Config(format!(
                "{topic} has {partitions} partitions and must have one: rows and watermarks are read in one order"
            )));
        }
    }
    let source = TopicPartition::new(names.windows.as_str(), 0);
    let end = match options.until_end {
        true => admin.end_offsets([source.clone()]).await?.remove(&source),
        false => None,
    };
    let mut consumer = context.member(&options.group, options.instance.as_deref())?;
    consumer.subscribe([names.windows.as_str()]).await?;
    let mut merge = Merge {
        outbox: Outbox::new(context.producer()?),
        state: None,
        counts: [0; 3],
        windows: 0,
        last_commit: Instant::now(),
        end,
        source,
        options,
    };
    let done = merge.work(context, &mut consumer).await;
    let left = consumer.close(Context::FAREWELL).await;
    let closed = merge.outbox.close().await;
    done?;
    left?;
    closed?;
    let mut receipt = Receipt::new("merge");
    let [kept, late, dead] = merge.counts;
    receipt.read = Some(kept + late + dead);
    (receipt.kept, receipt.late, receipt.dead_lettered) = (Some(kept), Some(late), Some(dead));
    receipt.windows_closed = Some(merge.windows);
    Ok(receipt.close())
}

struct Owned {
    state: MergeState,
    position: i64,
    /// Records below are read again.
    live_from: i64,
    committed: i64,
    late: Vec<SetAside>,
    dead: Vec<SetAside>,
}

struct Merge {
    options: Options,
    outbox: Outbox,
    source: TopicPartition,
    end: Option<i64>,
    /// While the partition is ours.
    state: Option<Owned>,
    /// Kept, late, dead.
    counts: [u64; 3],
    windows: u64,
    last_commit: Instant,
}

impl Merge {
    async fn work(&mut self, context: &Context, consumer: &mut Consumer) -> Result<()> {
        loop {
            let event = tokio::select! {
                event = consumer.next(LOOK) => event?,
                () = context.stop.stopped() => break,
            };
            match event {
                Some(Event::Assigned(partitions)) if !partitions.is_empty() => self.assigned(consumer).await?,
                Some(Event::Revoking(revoking)) => {
                    if !revoking.partitions().is_empty() {
                        self.commit(context, consumer).await?;
                        self.state = None;
                    }
                    revoking.done();
                }
                Some(Event::Lost(_)) => self.state = None,
                Some(Event::Records(records)) => {
                    for record in &records {
                        self.record(&record)?;
                    }
                }
                Some(_) | None => {}
            }
            let Some(owned) = &mut self.state else { continue };
            if let Some(position) = consumer.position(&self.source) {
                owned.position = owned.position.max(self.end.map_or(position, |end| position.min(end)));
            }
            self.options.board.merged(owned.position, self.end);
            let ended = self.end.is_some_and(|end| owned.position >= end);
            if ended || owned.state.may_be_ready() || self.last_commit.elapsed() >= self.options.commit_interval {
                self.commit(context, consumer).await?;
            }
            if ended {
                return Ok(());
            }
        }
        self.commit(context, consumer).await
    }

    async fn assigned(&mut self, consumer: &Consumer) -> Result<()> {
        let source = std::slice::from_ref(&self.source);
        let begin = consumer.beginning_offsets(source).await?.remove(&self.source).unwrap_or(0);
        let windows = &self.options.windows;
        let (state, position, seek) = match consumer.committed(source).await?.get(&self.source) {
            None => (MergeState::new(windows), begin, begin),
            Some(offset) => {
                let metadata = Metadata::parse(&offset.metadata).ok_or_else(|| {
                    let group = &self.options.group;
                    PipelineError::Config(format!(
                        "the offset of group {group} was not committed by merge; use another --group"
                    ))
                })?;
                if metadata.replay_from < begin {
                    return Err(PipelineError::Log(format!(
                        "{}: merge must read on from offset {}, but the log begins at {begin}: rows are gone",
                        self.source, metadata.replay_from
                    )));
                }
                (MergeState::restore(windows, offset.offset, &metadata), offset.offset, metadata.replay_from)
            }
        };
        consumer.seek(&self.source, seek)?;
        let (late, dead) = (Vec::new(), Vec::new());
        self.state = Some(Owned { state, position: seek, live_from: position, committed: position, late, dead });
        Ok(())
    }

    fn record(&mut self, record: &crate::consumer::ConsumerRecord<'_>) -> Result<()> {
        let Some(owned) = &mut self.state else { return Ok(()) };
        if self.end.is_some_and(|end| record.offset() >= end) {
            return Ok(());
        }
        let again = record.offset() < owned.live_from;
        let applied = owned.state.apply(record.offset(), record.value()).map_err(PipelineError::Config)?;
        owned.position = record.offset() + 1;
        let fate = match applied {
            Applied::Counted => 0,
            Applied::Late => {
                let why = Rejected::new(Reason::LateRow, "the window of this partial row is final already");
                owned.late.push(SetAside::dead(record, Stage::Merge, &why));
                1
            }
            Applied::Malformed => {
                let why = Rejected::new(Reason::BadField, "neither a window's row nor a watermark");
                owned.dead.push(SetAside::dead(record, Stage::Merge, &why));
                2
            }
        };
        if !again {
            self.counts[fate] += 1;
        }
        Ok(())
    }

    /// Writes what is final, and then commits how far that was.
    async fn commit(&mut self, context: &Context, consumer: &Consumer) -> Result<()> {
        self.last_commit = Instant::now();
        let Some(owned) = &mut self.state else { return Ok(()) };
        if owned.position < owned.live_from {
            return Ok(());
        }
        let finals = if owned.state.may_be_ready() {
            // Asked now: a partition added since would be missing from an older answer.
            owned.state.ready(topics::partitions(&context.client.admin(), &self.options.topics.input).await?)
        } else {
            Finals::default()
        };
        if finals.records.is_empty() && owned.position == owned.committed {
            return Ok(());
        }
        let names = &self.options.topics;
        for (key, value) in &finals.records {
            self.outbox.send(&names.finals, key.as_bytes(), value).await?;
        }
        self.outbox.set_aside(&names.late, &owned.late).await?;
        self.outbox.set_aside(&names.dlq, &owned.dead).await?;
        self.outbox.acknowledged().await?;
        let metadata = owned.state.metadata(owned.position, &finals).to_json();
        let offset = OffsetAndMetadata { metadata, ..OffsetAndMetadata::new(owned.position) };
        consumer.commit_offsets(HashMap::from([(self.source.clone(), offset)])).await?;
        owned.state.committed(&finals);
        owned.committed = owned.position;
        (owned.late, owned.dead) = (Vec::new(), Vec::new());
        self.windows += finals.windows;
        self.options.board.finals(&finals.rows, &finals.tops, finals.windows);
        Ok(())
    }
}
