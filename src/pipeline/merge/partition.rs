//! The one partition of `T.windows`: its state, and what waits for the next transaction.

use super::{
    Merger,
    state::{Applied, Counts, Finals, MergeState, Metadata},
};
use crate::{
    consumer::{ConsumerRecord, Records},
    ids::OffsetAndMetadata,
    pipeline::{
        dead_letter::{SetAside, Stage},
        error::{PipelineError, Result},
        event::{Reading, Reason, Rejected},
        metrics::{Look, PartitionMetrics},
        process::{Emission, Process, Progress, Start},
        topics,
    },
};
use std::sync::Arc;

pub(super) struct Merge {
    job: Arc<Merger>,
    state: MergeState,
    position: i64,
    /// Records below are read again.
    live_from: i64,
    /// `--until-end`: where the input ends.
    end: Option<i64>,
    /// The position of the last commit.
    committed: Option<i64>,
    late: Vec<SetAside>,
    dead: Vec<SetAside>,
    /// What is committed, and what came since.
    total: Counts,
    since: Counts,
    /// A window may have become final since it was last asked how many partitions there are.
    is_new: bool,
    /// Of the input, as last asked.
    partitions: i32,
    emitting: Option<(Finals, i64, Counts)>,
    metrics: PartitionMetrics,
    last_ms: Option<i64>,
    /// Records read again and not told yet.
    replayed: u64,
}

impl Merge {
    pub(super) fn new(
        job: Arc<Merger>,
        start: &Start,
        state: MergeState,
        position: i64,
        seek: i64,
        total: Counts,
    ) -> Self {
        Self {
            metrics: job.metrics.partition(&start.name.topic, start.name.partition),
            last_ms: None,
            replayed: 0,
            partitions: job.partitions,
            job,
            state,
            position: seek,
            live_from: position,
            end: start.end,
            committed: start.committed.as_ref().map(|_| position),
            late: Vec::new(),
            dead: Vec::new(),
            total,
            since: Counts::default(),
            is_new: true,
            emitting: None,
        }
    }

    /// What is committed, for those who look at metrics.
    pub(super) fn count(&self, new: Counts) {
        self.metrics.records(new.kept + new.late + new.dead);
        self.job.metrics.dead(Reason::BadField.name(), new.dead);
        self.job.metrics.skipped(Reason::LateRow.name(), new.late);
    }

    fn is_replaying(&self) -> bool {
        self.position < self.live_from
    }
}

impl Process for Merge {
    type Reader = ();

    fn reading(&self, _: &Records) -> Reading<()> {
        Reading::Now(())
    }

    fn record(&mut self, record: &ConsumerRecord<'_>, (): &()) -> Result<()> {
        if self.end.is_some_and(|end| record.offset() >= end) {
            return Ok(());
        }
        let applied = self.state.apply(record.offset(), record.value()).map_err(PipelineError::Config)?;
        self.position = record.offset() + 1;
        self.is_new = true;
        self.last_ms = Some(record.timestamp());
        if record.offset() < self.live_from {
            self.replayed += 1;
            return Ok(());
        }
        match applied {
            Applied::Counted => self.since.kept += 1,
            Applied::Late => {
                let why = Rejected::new(Reason::LateRow, "the window of this partial row is final already");
                self.late.push(SetAside::dead(record, Stage::Merge, &why));
                self.since.late += 1;
            }
            Applied::Malformed => {
                let why = Rejected::new(Reason::BadField, "neither a window's row nor a watermark");
                self.dead.push(SetAside::dead(record, Stage::Merge, &why));
                self.since.dead += 1;
            }
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        let position = self.end.map_or(progress.position, |end| progress.position.min(end));
        self.position = self.position.max(position);
        self.job.options.board.merged(self.position, self.end);
        let open_windows = Some(self.state.open_windows());
        self.metrics.look(Look { lag: progress.lag, last_ms: self.last_ms, open_windows, watermark: None });
        self.job.metrics.replayed(std::mem::take(&mut self.replayed));
    }

    fn is_due(&self) -> bool {
        self.is_new && !self.is_replaying() && self.state.may_be_ready(self.partitions)
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    async fn emission(&mut self) -> Result<Option<Emission>> {
        if self.is_replaying() {
            return Ok(None);
        }
        let finals = if self.state.may_be_ready(self.partitions) {
            self.is_new = false;
            // Asked now: a partition added since would be missing from an older answer.
            self.partitions = topics::partitions(&self.job.admin, &self.job.options.topics.input).await?;
            self.state.ready(self.partitions)
        } else {
            Finals::default()
        };
        if finals.records.is_empty() && self.committed == Some(self.position) {
            return Ok(None);
        }
        let mut total = self.total + self.since;
        total.windows += finals.windows;
        let mut metadata = self.state.metadata(self.position, &finals);
        metadata.counts = total;
        let metadata = metadata.to_json();
        if metadata.len() > Metadata::LIMIT {
            return Err(PipelineError::Config(format!(
                "the watermarks of {} jobs and {} input partitions take {} bytes of metadata with merge's offset, and a broker takes \
                 {} (offset.metadata.max.bytes): let some jobs write to another topic",
                self.state.jobs(),
                self.partitions,
                metadata.len(),
                Metadata::LIMIT
            )));
        }
        let offset = OffsetAndMetadata { metadata, ..OffsetAndMetadata::new(self.position) };
        let records = finals.records.clone();
        self.emitting = Some((finals, self.position, total));
        Ok(Some(Emission { topic: self.job.finals.clone(), records, offset }))
    }

    fn aside(&self) -> [(&str, &[SetAside]); 2] {
        let topics = &self.job.options.topics;
        [(&topics.late, &self.late), (&topics.dlq, &self.dead)]
    }

    fn committed(&mut self) {
        let Some((finals, position, total)) = self.emitting.take() else { return };
        self.state.committed(&finals);
        self.committed = Some(position);
        self.count(self.job.counted(total));
        (self.total, self.since) = (total, Counts::default());
        (self.late, self.dead) = (Vec::new(), Vec::new());
        self.job.options.board.finals(&finals.rows, &finals.tops, finals.windows);
    }
}
