//! A full batch becomes an immutable one, outside of its partition's lock.

use super::schedule::{Progress, wake_sender};
use super::topic::Slot;
use super::{RecordAccumulator, TopicQueues, capacity_for, lock};
use crate::machine::batch::{OpenBatch, ProducerBatch, Settled};
use crate::record::compression::Compression;
use std::sync::Arc;

impl RecordAccumulator {
    /// Compresses and freezes a batch that has its place in the queue already, on the task of whoever found it full: its
    /// bytes are in that core's cache.
    pub(super) fn seal(&self, topic: &Arc<TopicQueues>, partition: u32, detached: Option<OpenBatch>) {
        let (Some(open), Some(queue)) = (detached, topic.partition(partition)) else { return };
        let id = open.id;
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
            schedule.ready.push((topic.clone(), partition));
            if schedule.wants_ready {
                wake_sender(schedule);
            }
        } else {
            drop(state);
        }
        if let Some((mut batch, error)) = unwanted {
            batch.settle(Settled::Failed(error));
            self.on_settled(batch.id);
            self.release(batch);
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
            Err(id) => {
                self.on_settled(id);
                None
            }
        }
    }
}
