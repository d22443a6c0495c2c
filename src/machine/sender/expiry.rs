//! The end of what was not acknowledged: `delivery.timeout.ms`, and the close of the producer.

use super::{Place, Sender, answer::failure, earliest};
use crate::error::{Certainty, Error, ErrorKind};
use crate::machine::batch::{ProducerBatch, Settled};
use std::time::Instant;

impl Sender {
    /// Fails what is past its `delivery.timeout.ms`, oldest first. What is under way keeps its memory and its buffer
    /// until the answer or the end of the connection (KAFKA-19012); only those who wait are told.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut next = self.accumulator.open_deadline();
        let mut late: Vec<(u64, u32)> = Vec::new();
        let mut gone = Vec::new();
        for request in self.in_flight.values_mut() {
            for batch in request.batches.iter_mut().filter_map(|sent| sent.batch.as_mut()) {
                if batch.is_settled() {
                } else if batch.deadline <= now {
                    late.push(batch.order);
                } else {
                    next = earliest(next, Some(batch.deadline));
                }
            }
        }
        late.sort_unstable();
        for order in late {
            let batches = self.in_flight.values_mut().flat_map(|request| &mut request.batches);
            let Some(batch) = batches.filter_map(|sent| sent.batch.as_mut()).find(|batch| batch.order == order) else { continue };
            batch.possibly_sent = true;
            let error = failure(batch, timed_out());
            gone.push((batch.numbered, error.clone()));
            if batch.settle(Settled::Failed(error)) {
                self.accumulator.on_settled(batch.id);
            }
        }
        gone.into_iter().for_each(|(numbered, error)| self.give_up(numbered, &error));
        for index in 0..self.partitions.len() {
            while let Some(batch) = self.take_expired(now, index) {
                self.fail(batch, timed_out());
            }
            let Some(partition) = self.partitions[index].as_ref() else { continue };
            next = match partition.queue.front() {
                Some(front) => earliest(next, Some(front.deadline)),
                None if partition.place == Place::Idle && !partition.waits => next,
                None => earliest(next, self.accumulator.oldest_deadline(&partition.topic, partition.partition)),
            };
        }
        self.next_expiry = next;
    }

    pub(super) fn take_expired(&mut self, now: Instant, index: usize) -> Option<ProducerBatch> {
        let partition = self.partitions[index].as_mut()?;
        match partition.queue.front() {
            Some(front) if front.deadline <= now => partition.queue.pop_front(),
            Some(_) => None,
            None if partition.place == Place::Idle && !partition.waits => None,
            None => self.accumulator.take_expired(&partition.topic, partition.partition, now),
        }
    }

    /// Fails everything that is not under way; how many records that are.
    pub(super) fn fail_unsent(&mut self, error: &Error) -> usize {
        let mut records = 0;
        let queued: Vec<ProducerBatch> =
            self.partitions.iter_mut().flatten().flat_map(|partition| partition.queue.drain(..)).collect();
        for batch in queued.into_iter().chain(self.accumulator.take_all()) {
            records += batch.record_count() as usize;
            let error = failure(&batch, error.clone().certainty(Certainty::NotSent));
            self.finish(batch, Settled::Failed(error));
        }
        records
    }
}

fn timed_out() -> Error {
    Error::with_message(ErrorKind::Timeout, "not acknowledged within delivery.timeout.ms").certainty(Certainty::NotSent)
}
