//! The end of what was not acknowledged: `delivery.timeout.ms`, a purge, and the close of the producer.

use super::{Place, Sender, answer::failure, earliest};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind};
use crate::machine::accumulator::TopicQueues;
use crate::machine::batch::{ProducerBatch, Settled};
use std::sync::Arc;
use std::time::Instant;

/// Which records [`Producer::purge`](crate::producer::Producer::purge) drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// Those that are not under way: that linger, wait for their turn or a leader, or wait to be sent again.
    Queued,
    /// Those that were sent and have no answer yet.
    InFlight,
    /// All that have no outcome.
    All,
}

impl Sender {
    /// Fails what is past its `delivery.timeout.ms`, oldest first.
    pub(super) fn expire(&mut self, now: Instant) {
        self.fail_in_flight(&timed_out(), |batch| batch.deadline <= now);
        for (topic, partition) in self.accumulator.take_overdue(now) {
            if let Some(index) = self.index_of(&topic, partition) {
                self.activate(now, index);
            }
        }
        let under_way = self.in_flight.values().flat_map(|request| &request.batches);
        let open = under_way.filter_map(|sent| sent.batch.as_ref()).filter(|batch| !batch.is_settled());
        let mut next = earliest(self.accumulator.open_deadline(), open.map(|batch| batch.deadline).min());
        for index in 0..self.partitions.len() {
            while let Some(batch) = self.take_expired(now, index) {
                let error = self.why_unsent(index);
                self.fail(batch, error);
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

    /// What a batch fails with whose time is up: where its leader can't be reached, or refuses us, that is the reason.
    fn why_unsent(&self, index: usize) -> Error {
        let leader = self.partitions[index].as_ref().and_then(|partition| partition.leader);
        let trouble = leader.and_then(|id| self.nodes.get(&id)?.trouble.clone());
        match trouble {
            Some(error) if error.is_fatal() => error.certainty(Certainty::NotSent),
            Some(error) => timed_out().message(format!("{TIMED_OUT}: {error}")).caused_by(error),
            None => timed_out(),
        }
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

    /// Drops what the application does not want any more; how many records that is. What has a number gives it up as on its
    /// expiry, and in a transaction the transaction is lost.
    pub fn purge(&mut self, now: Instant, what: Purge) -> usize {
        let error = Error::new(ErrorKind::Purged).certainty(Certainty::NotSent);
        let mut records = 0;
        if what != Purge::Queued {
            records += self.fail_in_flight(&error, |_| true);
        }
        if what != Purge::InFlight {
            let unsent = self.take_unsent(&error);
            records += self.fail_all(unsent, &error);
        }
        self.follow_transaction(now);
        records
    }

    /// Fails these, and knows of so many records more that fail with them by themselves; how many that is together.
    fn fail_all(&mut self, (batches, sealing): (Vec<ProducerBatch>, usize), error: &Error) -> usize {
        let mut records = sealing;
        if sealing > 0 {
            self.counts.records_failed.add(sealing as u64);
            self.give_up(None, error);
        }
        for batch in batches {
            records += batch.record_count() as usize;
            self.fail(batch, error.clone());
        }
        records
    }

    /// Fails what waits for partitions that the topic has not got any more. What is under way to them is refused, and comes here
    /// with the metadata that this asks for.
    pub(super) fn fail_vanished(&mut self, topic: &Arc<TopicQueues>) {
        let error =
            Error::broker(ErrorCode::UnknownTopicOrPartition).message("the topic was made anew with fewer partitions");
        for partition in topic.vanished() {
            let Some(queue) = topic.partition(partition) else { continue };
            let mut unsent = self.accumulator.take_partition(topic, partition, &error);
            if let Some(known) = self.partitions.get_mut(queue.index).and_then(Option::as_mut) {
                unsent.0.extend(known.queue.drain(..));
                unsent.0.sort_unstable_by_key(|batch| batch.order);
            }
            self.fail_all(unsent, &error);
        }
    }

    /// Fails those under way that it is over with, oldest first; how many records that is. They keep their memory and their
    /// buffers until the answer or the end of the connection (KAFKA-19012); only those who wait are told.
    fn fail_in_flight(&mut self, error: &Error, is_over: impl Fn(&ProducerBatch) -> bool) -> usize {
        let batches = self.in_flight.values_mut().flat_map(|request| &mut request.batches);
        let mut over: Vec<&mut ProducerBatch> = batches
            .filter_map(|sent| sent.batch.as_mut())
            .filter(|batch| !batch.is_settled() && is_over(batch))
            .collect();
        over.sort_unstable_by_key(|batch| batch.order);
        let (mut records, mut gone) = (0, Vec::new());
        for batch in over {
            records += batch.record_count() as usize;
            batch.possibly_sent = true;
            let error = failure(batch, error.clone());
            gone.push((batch.numbered, error.clone()));
            self.counts.on_settled(batch, &Settled::Failed(error.clone()));
            if batch.settle(Settled::Failed(error)) {
                self.accumulator.on_settled(batch.id);
            }
        }
        gone.into_iter().for_each(|(numbered, error)| self.give_up(numbered, &error));
        records
    }

    /// Fails everything that is not under way, for the end of the producer; how many records that are.
    pub(super) fn fail_unsent(&mut self, error: &Error) -> usize {
        let (batches, mut records) = self.take_unsent(error);
        self.counts.records_failed.add(records as u64);
        for batch in batches {
            records += batch.record_count() as usize;
            let error = failure(&batch, error.clone());
            self.finish(batch, Settled::Failed(error));
        }
        records
    }

    /// Everything that is not under way, to be failed with `error`, oldest first; and how many records fail with it by
    /// themselves.
    fn take_unsent(&mut self, error: &Error) -> (Vec<ProducerBatch>, usize) {
        let (mut batches, sealing) = self.accumulator.take_all(error);
        batches.extend(self.partitions.iter_mut().flatten().flat_map(|partition| partition.queue.drain(..)));
        batches.sort_unstable_by_key(|batch| batch.order);
        (batches, sealing)
    }
}

const TIMED_OUT: &str = "not acknowledged within delivery.timeout.ms";

fn timed_out() -> Error {
    Error::with_message(ErrorKind::Timeout, TIMED_OUT).certainty(Certainty::NotSent)
}
