//! A full batch becomes an immutable one, outside of its partition's lock: on the task of whoever found it full, since its
//! bytes are in that core's cache, or elsewhere if it takes so long that the others on that thread would notice.

use super::schedule::{Progress, wake_sender};
use super::topic::Slot;
use super::{RecordAccumulator, TopicQueues, capacity_for, lock};
use crate::machine::Offload;
use crate::machine::batch::{OpenBatch, ProducerBatch, Settled};
use crate::machine::sync::Mutex;
use crate::record::compression::Compression;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The bytes that take a quarter of a millisecond or so, by what `cargo bench --bench record_batch` says of a batch.
pub(super) fn long(codec: Compression, level: Option<i32>) -> usize {
    let (bytes, default) = match codec {
        Compression::None => return usize::MAX, // a checksum
        Compression::Gzip => (32 << 10, 6),
        Compression::Zstd => (128 << 10, 3),
        Compression::Snappy | Compression::Lz4 => return 256 << 10, // their levels make no difference
    };
    if level.is_some_and(|level| level > default) { bytes / 4 } else { bytes }
}

/// Those who seal what takes long: as many at a time as there are threads for it, since each has a compressor.
pub(super) struct Helpers {
    accumulator: Weak<RecordAccumulator>,
    offload: Arc<dyn Offload>,
    /// The bytes from which on a batch is theirs.
    long: usize,
    jobs: Mutex<Jobs>,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(Arc<TopicQueues>, u32, OpenBatch)>,
    helpers: usize,
}

impl Helpers {
    pub(super) fn new(accumulator: Weak<RecordAccumulator>, offload: Arc<dyn Offload>, long: usize) -> Self {
        Self { accumulator, offload, long, jobs: Mutex::default() }
    }

    fn seal(&self, topic: Arc<TopicQueues>, partition: u32, open: OpenBatch) {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back((topic, partition, open));
        if jobs.helpers < self.offload.threads().max(1)
            && let Some(accumulator) = self.accumulator.upgrade()
        {
            jobs.helpers += 1;
            drop(jobs);
            // It holds the accumulator: those who wait for the batch are answered even if the producer is gone by then.
            self.offload.offload(Box::new(move || accumulator.help()));
        }
    }
}

impl RecordAccumulator {
    /// Whether compressing it is better done elsewhere.
    pub(super) fn is_long(&self, open: &OpenBatch) -> bool {
        self.helpers.as_ref().is_some_and(|helpers| open.encoder.size() >= helpers.long)
    }

    /// Compresses and freezes a batch that has its place in the queue already, sooner or later.
    pub(super) fn seal(&self, topic: &Arc<TopicQueues>, partition: u32, detached: Option<OpenBatch>) {
        let Some(open) = detached else { return };
        match &self.helpers {
            Some(helpers) if self.is_long(&open) => {
                // It is no open batch any more, for those who count.
                lock(&self.schedule).unfinished.set(open.id, Progress::Sealed(open.encoder.record_count()));
                helpers.seal(topic.clone(), partition, open);
            }
            _ => self.seal_now(topic, partition, open),
        }
    }

    /// A helper's work: until nothing waits.
    fn help(&self) {
        let Some(helpers) = &self.helpers else { return };
        loop {
            let mut jobs = lock(&helpers.jobs);
            let Some((topic, partition, open)) = jobs.waiting.pop_front() else {
                jobs.helpers -= 1; // under the lock that a job is added under, or it could be left
                return;
            };
            drop(jobs);
            self.seal_now(&topic, partition, open);
        }
    }

    fn seal_now(&self, topic: &Arc<TopicQueues>, partition: u32, open: OpenBatch) {
        let Some(queue) = topic.partition(partition) else { return };
        let (id, deadline) = (open.id, open.deadline);
        let sealed = self.compress(topic, partition, open, self.config.compression);
        let mut state = lock(&queue.state);
        let is_it = |slot: &Slot| matches!(slot, Slot::Sealing(place) if place.id == id);
        let Some(at) = state.full.iter().rposition(is_it) else { return };
        let failed = match &mut state.full[at] {
            Slot::Sealing(place) => place.failed.take(),
            Slot::Sealed(_) => None,
        };
        let unwanted = match (sealed, failed) {
            (Some(batch), None) => {
                state.full[at] = Slot::Sealed(batch);
                None
            }
            (sealed, failed) => {
                state.full.remove(at);
                queue.recount(&state);
                state.leader.iter().for_each(|leader| leader.on_gone(1));
                sealed.zip(failed)
            }
        };
        if !std::mem::replace(&mut state.announced, true) {
            let mut schedule = lock(&self.schedule);
            drop(state);
            // If its time has come meanwhile nobody has looked at it.
            schedule.earliest_deadline = schedule.earliest_deadline.into_iter().chain([deadline]).min();
            schedule.ready.push((topic.clone(), partition));
            if schedule.wants_ready {
                wake_sender(schedule);
            }
        } else {
            drop(state);
        }
        if let Some((mut batch, error)) = unwanted {
            batch.settle(Settled::Failed(error));
            self.release(batch); // whoever flushes finds the memory free
            self.on_settled(id);
            self.wake(); // only now all of a transaction may have its outcome
        }
    }

    /// `None` if that fails; then the batch has failed with it.
    pub(super) fn compress(
        &self,
        topic: &Arc<TopicQueues>,
        partition: u32,
        open: OpenBatch,
        codec: Compression,
    ) -> Option<ProducerBatch> {
        let (id, records) = (open.id, open.encoder.record_count());
        let mut compressor = lock(&self.compressors).pop().unwrap_or_default();
        let codec = (codec, self.config.level);
        let (sealed, buffer) =
            open.seal(topic.clone(), partition, codec, &mut compressor, |len| self.buffer(capacity_for(len)));
        lock(&self.compressors).push(compressor);
        self.recycle(buffer);
        match sealed {
            Ok(batch) => {
                lock(&self.schedule).unfinished.set(id, Progress::Sealed(records));
                Some(batch)
            }
            Err((id, error)) => {
                lock(&self.schedule).seal_error.get_or_insert(error);
                self.unsealed.add(u64::from(records));
                self.on_settled(id);
                self.wake(); // its transaction is lost, and the end of that may wait for this batch alone
                None
            }
        }
    }
}
