//! Batches into requests: which batch of which partition may go to a node now, and in whose name.

use super::{BATCH_OVERHEAD, Identity, InFlight, Link, Place, REMEMBERED_BATCHES, Sender, Sent, earliest, failure};
use crate::error::Error;
use crate::ids::{NodeId, ProducerIdAndEpoch};
use crate::machine::RequestId;
use crate::machine::accumulator::Drained;
use crate::machine::batch::{ProducerBatch, Settled};
use crate::machine::transaction::Admission;
use std::time::Instant;

#[allow(clippy::large_enum_variant, reason = "it is moved; a box would be an allocation per batch")]
enum Next {
    Batch(ProducerBatch),
    /// It goes down with its transaction.
    Refused(ProducerBatch, Error),
    /// It doesn't fit into this request any more.
    Later,
    Nothing,
}

impl Sender {
    /// One request to `node`, of what its partitions have; `None` if there is nothing or no room.
    pub(super) fn build(&mut self, now: Instant, id: NodeId) -> Option<RequestId> {
        let node = self.nodes.get_mut(&id)?;
        let may_send = node.link == Link::Up
            && node.in_flight < self.config.max_in_flight
            && node.muted_until.is_none_or(|until| until <= now);
        if !may_send {
            return None;
        }
        node.muted_until = None;
        let mut batches: Vec<Sent> = Vec::with_capacity(node.ready.len());
        let mut size = 0;
        for _ in 0..node.ready.len() {
            let Some(index) = self.nodes.get_mut(&id).and_then(|node| node.ready.pop_front()) else { break };
            let room = if batches.is_empty() { usize::MAX } else { self.config.max_request_size.saturating_sub(size) };
            match self.next_batch(now, index, id, room) {
                Next::Batch(batch) => {
                    size += batch.body().size() + batch.topic.name().len() + BATCH_OVERHEAD;
                    batches.push(Sent { index, batch: Some(batch) });
                    // It may have more: it is looked at again for the next request.
                    self.nodes.get_mut(&id)?.ready.push_back(index);
                }
                Next::Later => {
                    self.nodes.get_mut(&id)?.ready.push_front(index);
                    break;
                }
                Next::Refused(batch, error) => {
                    let error = failure(&batch, error);
                    self.finish(batch, Settled::Failed(error));
                    self.activate(now, index);
                }
                Next::Nothing => {}
            }
        }
        if batches.is_empty() {
            return None;
        }
        batches.sort_by(|a, b| topic_of(a).cmp(&topic_of(b)));
        let request = RequestId(self.next_id);
        self.next_id += 1;
        let node = self.nodes.get_mut(&id)?;
        node.in_flight += 1;
        let (connection, generation) = (node.connections, self.cluster.generation);
        self.counts.on_request(now, self.accumulator.delivery_timeout(), &batches);
        self.in_flight.insert(request, InFlight { node: id, connection, generation, sent: now, batches });
        Some(request)
    }

    /// The next batch of a partition that may go to `node` now. If there is none the partition has found another place.
    fn next_batch(&mut self, now: Instant, index: usize, node: NodeId, room: usize) -> Next {
        let Some(readiness) = self.readiness else { return Next::Nothing };
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return Next::Nothing };
        partition.place = Place::Idle;
        // Nothing overtakes what is sent again, or is under way to the leader before.
        if partition.alone
            || partition.in_flight_to.is_some_and(|to| to != node)
            || (!partition.in_flight.is_empty()
                && partition.proven != Some((node, partition.producer.map(|producer| producer.id))))
            || partition.in_flight.len() >= REMEMBERED_BATCHES
        {
            partition.waits = true;
            return Next::Nothing;
        }
        if partition.queue.is_empty() {
            match self.accumulator.drain(&partition.topic, partition.partition, readiness) {
                Drained::Batch(batch) => partition.queue.push_back(batch),
                Drained::Lingers(at) => {
                    if at > now {
                        partition.place = Place::Delayed;
                    }
                    self.timers.insert((at, index));
                    return Next::Nothing;
                }
                Drained::Nothing => return Next::Nothing,
            }
        }
        let Some(front) = partition.queue.front() else { return Next::Nothing };
        if front.body().size() + front.topic.name().len() + BATCH_OVERHEAD > room {
            partition.place = Place::Ready(node);
            return Next::Later;
        }
        let again = front.numbered.is_some();
        if let (Some(transaction), false) = (&mut self.transaction, again) {
            match transaction.admit(index, partition.topic.name(), partition.partition) {
                Admission::Yes => {}
                Admission::Wait => {
                    partition.place = Place::Unadmitted;
                    return Next::Nothing;
                }
                Admission::No(error) => {
                    let refused = partition.queue.pop_front();
                    return refused.map_or(Next::Nothing, |batch| Next::Refused(batch, error));
                }
            }
        }
        match front.numbered {
            // Again: alone, and the oldest first.
            Some(_) if partition.in_flight.front().is_some_and(|oldest| *oldest < front.order) => {
                partition.waits = true;
                return Next::Nothing;
            }
            Some(_) => {}
            None => match self.identity {
                Identity::None => {
                    if let Some(front) = partition.queue.front_mut() {
                        front.number(ProducerIdAndEpoch::NONE, -1, false);
                    }
                }
                Identity::Known(producer) => {
                    if partition.producer != Some(producer) {
                        if !partition.in_flight.is_empty() {
                            partition.waits = true;
                            return Next::Nothing;
                        }
                        partition.producer = Some(producer);
                        partition.next_sequence = 0;
                    }
                    let sequence = partition.next_sequence;
                    if let Some(front) = partition.queue.front_mut() {
                        front.number(producer, sequence, self.transaction.is_some());
                        partition.next_sequence = sequence.wrapping_add_unsigned(front.record_count()) & i32::MAX;
                    }
                }
                Identity::Unknown { .. } | Identity::Asking(_) | Identity::Failed => {
                    partition.place = Place::Unadmitted;
                    return Next::Nothing;
                }
            },
        }
        let Some(mut batch) = partition.queue.pop_front() else { return Next::Nothing };
        partition.alone = again;
        batch.attempts += 1;
        let at = partition.in_flight.partition_point(|order| *order < batch.order);
        partition.in_flight.insert(at, batch.order);
        partition.in_flight_to = Some(node);
        partition.place = Place::Ready(node); // the caller puts it there
        self.next_expiry = earliest(self.next_expiry, Some(batch.deadline));
        Next::Batch(batch)
    }
}

fn topic_of(sent: &Sent) -> Option<&str> {
    sent.batch.as_ref().map(|batch| &**batch.topic.name())
}
