//! One input partition of the aggregator: its windows, and what waits for the next transaction.
#![allow(clippy::disallowed_methods, reason = "a shell's clock")]

use super::{Aggregator, ended};
use crate::{
    consumer::{ConsumerRecord, Records},
    ids::OffsetAndMetadata,
    pipeline::{
        board::PartitionLine,
        context::wall_micros,
        counts::Counts,
        dead_letter::{SetAside, Stage},
        error::{PipelineError, Result},
        event::{Event, EventReader, Need, Reading, Reason, Rejected},
        metrics::{Look, PartitionMetrics},
        process::{Emission, Process, Progress, Start},
        rows,
        window::{Judged, Metadata, PartitionWindows, UnknownSchema},
    },
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Late and dead records that may wait for a commit, in bytes.
const ASIDE_LIMIT: usize = 1 << 20;
/// So many schemas that the registry does not have are remembered with a commit.
const UNKNOWN_LIMIT: usize = 32;
/// How often screens are told.
const SHOW: Duration = Duration::from_millis(100);

pub(super) struct Partition {
    job: Arc<Aggregator>,
    partition: i32,
    windows: PartitionWindows,
    position: i64,
    /// Records below are read again.
    live_from: i64,
    /// `--until-end`: where the input ends.
    end: Option<i64>,
    /// The group was ended before: there must be no record.
    was_ended: bool,
    /// Schemas that the registry did not have, and for which records.
    unknown: Vec<UnknownSchema>,
    /// Of those, whose newest record is a dead letter: no other has come since.
    growing: BTreeSet<String>,
    /// Nothing more to read: ended, or stopped at `--stop-at`.
    is_done: bool,
    late: Vec<SetAside>,
    dead: Vec<SetAside>,
    aside_bytes: usize,
    /// Position and watermark of the last commit.
    committed: Option<(i64, Option<i64>)>,
    /// What is committed, and what came since.
    total: Counts,
    since: Counts,
    /// What was asked for last: the windows' emission, and the counts with it.
    emitting: Option<(crate::pipeline::window::Emission, Counts)>,
    progress: Progress,
    shown: Option<Instant>,
    metrics: PartitionMetrics,
    /// Timestamp of the last record.
    last_ms: Option<i64>,
    /// Records read again and not told yet.
    replayed: u64,
    /// Since when a window waits for its emission.
    closed: Option<Instant>,
}

impl Partition {
    pub(super) fn new(
        job: Arc<Aggregator>,
        start: &Start,
        windows: PartitionWindows,
        metadata: Option<Metadata>,
        position: i64,
    ) -> Self {
        let was_ended = metadata.as_ref().is_some_and(Metadata::is_ended);
        let has_stopped =
            metadata.as_ref().is_some_and(|found| job.spec.stop_at.is_some_and(|stop| found.wm >= Some(stop)));
        Self {
            partition: start.name.partition,
            windows,
            position: metadata.as_ref().map_or(position, |found| found.replay_from),
            live_from: position,
            // Another member may have begun later, and got further.
            end: start.end.map(|end| end.max(position)),
            was_ended,
            unknown: metadata.as_ref().map(|found| found.unknown.clone()).unwrap_or_default(),
            growing: BTreeSet::new(),
            is_done: (was_ended && start.end.is_some()) || has_stopped,
            late: Vec::new(),
            dead: Vec::new(),
            aside_bytes: 0,
            committed: metadata.as_ref().map(|found| (position, found.wm)),
            total: metadata.map_or_else(|| Counts::new(&job.spec), |found| found.counts),
            since: Counts::new(&job.spec),
            emitting: None,
            progress: Progress::default(),
            shown: None,
            metrics: job.metrics.partition(&start.name.topic, start.name.partition),
            last_ms: None,
            replayed: 0,
            closed: None,
            job,
        }
    }

    /// What is committed, for those who look at metrics.
    pub(super) fn count(&self, total: &Counts) {
        self.metrics.total(total);
    }

    /// What a record that is read again was the first time it has to be again, whatever has become of its schema: those that the registry
    /// did not have are committed, as long as their records may be read again.
    fn event<'a>(
        &mut self,
        record: &ConsumerRecord<'a>,
        reader: &EventReader,
    ) -> Result<std::result::Result<Event<'a>, Rejected>> {
        let offset = record.offset();
        if offset < self.live_from {
            let schema = if self.unknown.is_empty() { None } else { reader.schema(record) };
            let was_unknown = schema.filter(|schema| self.was_unknown(schema, offset));
            let dead = |schema: String| Err(Rejected::new(Reason::BadAvro, schema));
            return Ok(was_unknown.map_or_else(|| reader.event(record), dead));
        }
        let event = reader.event(record);
        match event.as_ref().err().and_then(|_| reader.unknown(record)) {
            Some(schema) => self.is_unknown(schema, record)?,
            None if self.growing.is_empty() => {}
            None => {
                reader.schema(record).map(|schema| self.growing.remove(&schema));
            }
        }
        Ok(event)
    }

    fn was_unknown(&self, schema: &str, offset: i64) -> bool {
        self.unknown.iter().any(|known| known.schema == schema && (known.first..=known.last).contains(&offset))
    }

    fn is_unknown(&mut self, schema: String, record: &ConsumerRecord<'_>) -> Result<()> {
        let offset = record.offset();
        if !self.growing.insert(schema.clone())
            && let Some(known) = self.unknown.iter_mut().rfind(|known| known.schema == schema)
        {
            known.last = offset;
            return Ok(());
        }
        self.unknown.push(UnknownSchema { schema, first: offset, last: offset });
        if self.unknown.len() <= UNKNOWN_LIMIT {
            return Ok(());
        }
        let names: Vec<&str> = self.unknown.iter().map(|known| known.schema.as_str()).collect();
        Err(PipelineError::Log(format!(
            "{}[{}]@{offset}: the registry does not have {} schemas that records of open windows name ({}): it may not be the registry of \
             this topic's writers",
            record.topic(),
            self.partition,
            names.len(),
            names.join(", ")
        )))
    }

    fn set_aside(&mut self, record: SetAside, late: bool) {
        self.aside_bytes += record.size();
        if late { self.late.push(record) } else { self.dead.push(record) }
    }

    /// Event time goes on without a partition that has nothing new, up to the last answer only: an unreachable broker or a
    /// paused partition is not idle.
    fn idle(&mut self) {
        let (Some(idle), Some((since, at))) = (self.job.options.idle, self.progress.caught_up) else { return };
        if at.duration_since(since) >= idle && !self.windows.is_replaying() {
            let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
            let ago = Instant::now().saturating_duration_since(at);
            self.windows.idle(wall_micros().saturating_sub(micros(ago)), micros(idle));
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        if self.shown.is_some_and(|shown| now.duration_since(shown) < SHOW) {
            return;
        }
        self.shown = Some(now);
        let (position, live_from, watermark) = (self.position, self.live_from, self.windows.watermark());
        let line = PartitionLine { position, live_from, until: self.end, lag: self.progress.lag, watermark };
        self.job.options.board.partition(self.partition, line, self.windows.open_sums());
        let is_time = |mark: &i64| *mark > i64::MIN && *mark < i64::MAX;
        self.metrics.look(Look {
            lag: self.progress.lag,
            last_ms: self.last_ms,
            watermark: Some(watermark).filter(is_time),
            open_windows: Some(self.windows.open_windows()),
        });
        self.job.metrics.replayed(std::mem::take(&mut self.replayed));
    }
}

impl Process for Partition {
    type Reader = EventReader;

    fn reading(&self, records: &Records) -> Reading<EventReader> {
        self.job.events.reading(records, |offset, schema| match () {
            () if self.is_done || self.end.is_some_and(|end| offset >= end) => Need::None,
            () if offset >= self.live_from => Need::Asked,
            () if !self.unknown.is_empty() && self.was_unknown(&schema(), offset) => Need::None,
            () => Need::Found,
        })
    }

    fn record(&mut self, record: &ConsumerRecord<'_>, reader: &EventReader) -> Result<()> {
        if self.is_done || self.end.is_some_and(|end| record.offset() >= end) {
            return Ok(());
        }
        if self.was_ended && record.offset() >= self.live_from {
            return Err(PipelineError::Config(format!("{}[{}]: {}", record.topic(), self.partition, ended(1))));
        }
        let event = self.event(record, reader)?;
        let judged = self.windows.event(record.offset(), record.timestamp(), event);
        match &judged {
            Judged::Dead(rejected) => {
                let aside = SetAside::dead(record, Stage::Aggregate, rejected);
                self.since.judged(&self.job.spec, &judged);
                self.set_aside(aside, false);
            }
            Judged::Event { late, .. } if *late != 0 => {
                let names = self.job.spec.windows.iter().enumerate().filter(|(i, _)| late & (1 << i) != 0);
                let aside = SetAside::late(record, names.map(|(_, window)| window.name.as_str()));
                self.since.judged(&self.job.spec, &judged);
                self.set_aside(aside, true);
            }
            Judged::Replayed => self.replayed += 1,
            _ => self.since.judged(&self.job.spec, &judged),
        }
        self.last_ms = Some(record.timestamp());
        self.position = record.offset() + 1;
        self.is_done = self.windows.is_stopped();
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        self.progress = *progress;
        let was_done = self.is_done;
        if !self.is_done {
            let position = self.end.map_or(progress.position, |end| progress.position.min(end));
            self.position = self.position.max(position);
            self.windows.reached(self.position);
            if self.end.is_some_and(|end| self.position >= end) {
                self.windows.end();
                self.is_done = true;
            }
            self.idle();
        }
        if self.is_done && !was_done {
            self.shown = None; // the last word is not left out
        }
        if self.closed.is_none() && self.windows.has_closed() {
            self.closed = Some(Instant::now());
        }
        self.show();
    }

    fn is_due(&self) -> bool {
        self.windows.has_closed() || self.aside_bytes >= ASIDE_LIMIT
    }

    fn is_done(&self) -> bool {
        self.is_done
    }

    async fn emission(&mut self) -> Result<Option<Emission>> {
        // A replay commits nothing: the committed position is ahead of it.
        if self.windows.is_replaying() || self.position < self.live_from {
            return Ok(None);
        }
        let mut emission = self.windows.emission(self.position);
        let watermark = emission.metadata.wm;
        let is_same = self.committed == Some((emission.position, watermark));
        if is_same && emission.rows.is_empty() && self.late.is_empty() && self.dead.is_empty() {
            return Ok(None);
        }
        let mut records: Vec<_> = emission.rows.iter().map(|row| (row.record_key(), rows::to_json(row))).collect();
        let has_moved = self.committed.is_none_or(|(_, before)| before != watermark);
        if watermark.is_some() && (has_moved || !records.is_empty()) {
            records.push((emission.watermark.record_key(), rows::to_json(&emission.watermark)));
        }
        let mut total = self.total.clone();
        total.add(&self.since);
        total.emitted(&emission.rows, emission.windows_closed);
        self.unknown.retain(|known| known.last >= emission.metadata.replay_from);
        emission.metadata.unknown.clone_from(&self.unknown);
        emission.metadata.counts = total.clone();
        emission.metadata.at = Some(wall_micros() / 1_000);
        let metadata = serde_json::to_string(&emission.metadata).unwrap_or_default();
        let offset = OffsetAndMetadata { metadata, ..OffsetAndMetadata::new(emission.position) };
        self.emitting = Some((emission, total));
        Ok(Some(Emission { topic: self.job.windows.clone(), records, offset }))
    }

    fn aside(&self) -> [(&str, &[SetAside]); 2] {
        let topics = &self.job.options.topics;
        [(&topics.late, &self.late), (&topics.dlq, &self.dead)]
    }

    fn committed(&mut self) {
        let Some((emission, total)) = self.emitting.take() else { return };
        self.windows.committed(&emission);
        self.committed = Some((emission.position, emission.metadata.wm));
        self.job.counted(self.partition, &total);
        self.count(&total);
        if let Some(closed) = self.closed.take().filter(|_| emission.windows_closed > 0) {
            self.job.metrics.emitted(emission.windows_closed, closed.elapsed());
        }
        (self.total, self.since) = (total, Counts::new(&self.job.spec));
        (self.aside_bytes, self.late, self.dead) = (0, Vec::new(), Vec::new());
    }
}
