//! What an answer means: for a batch, for its partition's order, for its number.

use super::{Identity, InFlight, Place, Sender, SenderEvent, Sent};
use crate::error::{Certainty, Error, ErrorCode, ErrorKind};
use crate::ids::{LeaderEpoch, NodeId, TopicPartition};
use crate::machine::batch::{Acknowledged, ProducerBatch, RecordErrors, Settled};
use crate::wire::messages::ProduceResponse;
use crate::wire::messages::produce_response::{BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse};
use std::time::{Duration, Instant};

impl Sender {
    pub(super) fn on_produced(&mut self, now: Instant, request: InFlight, response: &ProduceResponse) {
        self.counts.request_latency.record_duration(now.saturating_duration_since(request.sent));
        let mut batches = request.batches;
        if let Some(node) = self.nodes.get_mut(&request.node) {
            node.backoff.reset();
        }
        if self.config.acks == 0 {
            for Sent { index, batch } in batches {
                if let Some(batch) = batch {
                    self.on_written(now, index, batch, Acknowledged { base_offset: None, log_append_time: None });
                }
            }
            return;
        }
        if let Some(node) = self.nodes.get_mut(&request.node) {
            let throttle = Duration::from_millis(response.throttle_time_ms.max(0) as u64);
            if !throttle.is_zero() {
                self.counts.throttle_time.record_duration(throttle);
                node.muted_until = Some(now + throttle);
            }
        }
        let mut expected = 0; // answers mostly come in the order of the request
        for topic in &response.responses {
            for answer in &topic.partition_responses {
                let is_it = |sent: &Sent| {
                    sent.batch.as_ref().is_some_and(|batch| {
                        batch.partition as i32 == answer.index && **batch.topic.name() == *topic.name.as_str()
                    })
                };
                let at = match batches.get(expected).is_some_and(is_it) {
                    true => Some(expected),
                    false => batches.iter().position(is_it),
                };
                let Some(at) = at else { continue };
                expected = at + 1;
                if let Some(batch) = batches[at].batch.take() {
                    self.on_answer(now, batches[at].index, batch, answer, (request.node, request.generation));
                }
            }
        }
        for Sent { index, batch } in batches {
            let error = Error::with_message(ErrorKind::Malformed, "the answer leaves the partition out")
                .certainty(Certainty::PossiblySent);
            if let Some(batch) = batch {
                let error = error.api("Produce").node(request.node);
                self.on_unanswered(now, index, batch, error, request.generation);
            }
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        index: usize,
        mut batch: ProducerBatch,
        answer: &PartitionProduceResponse,
        (node, generation): (NodeId, u64),
    ) {
        let Some(code) = ErrorCode::from_wire(answer.error_code) else {
            // Its records count from there.
            if answer.base_offset.checked_add(i64::from(batch.record_count()) - 1).is_none() {
                let error = Error::with_message(ErrorKind::Malformed, "an offset that no batch can be at");
                let error = error.api("Produce").node(node).certainty(Certainty::PossiblySent);
                return self.on_unanswered(now, index, batch, error, generation);
            }
            let written = Acknowledged {
                base_offset: Some(answer.base_offset).filter(|offset| *offset >= 0),
                log_append_time: Some(answer.log_append_time_ms).filter(|time| *time >= 0),
            };
            return self.on_written(now, index, batch, written);
        };
        let certainty = if is_refusal(code) { Certainty::NotSent } else { Certainty::PossiblySent };
        batch.possibly_sent |= certainty == Certainty::PossiblySent;
        batch.possibly_appended |= certainty == Certainty::PossiblySent && !is_turned_away(code, answer.base_offset);
        let error = Error::broker(code).api("Produce").node(node).certainty(certainty);
        let error = match &answer.error_message {
            Some(message) => error.message(message.to_string()),
            None => error,
        };
        let is_open = !batch.is_settled() && self.is_in_time(now, &batch);
        match code {
            // Where it can't know the log's start it has only just become leader.
            ErrorCode::UnknownProducerId if answer.log_start_offset < 0 && is_open => {
                self.landed(index, batch.order);
                self.again_later(now, index, batch, &error);
            }
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge if is_open => {
                self.on_too_large(now, index, batch, error);
            }
            _ if !answer.record_errors.is_empty() && !code.is_retriable() && is_open => {
                let culprit = |record: &BatchIndexAndErrorMessage| {
                    let why = record.batch_index_error_message.as_ref().map(|why| why.to_string());
                    Some((u32::try_from(record.batch_index).ok()?, why))
                };
                let culprits = answer.record_errors.iter().filter_map(culprit).collect();
                self.on_rejected_records(now, index, batch, error, culprits);
            }
            _ => {
                self.on_error(now, index, batch, error, generation);
                self.follow_leader(now, index, code, &answer.current_leader);
            }
        }
    }

    /// The broker says which records are to blame (KIP-467): the others' failure is another, which a retry cures.
    fn on_rejected_records(
        &mut self,
        now: Instant,
        index: usize,
        batch: ProducerBatch,
        error: Error,
        culprits: Vec<(u32, Option<String>)>,
    ) {
        self.landed(index, batch.order);
        let error = failure(&batch, error);
        self.give_up(batch.numbered, &error);
        self.finish(batch, Settled::Rejected(RecordErrors { error, culprits }));
        self.look_again(now, index);
    }

    /// Two halves go instead (KIP-126), with the same numbers between them, unless it is one record, or may have been written
    /// by an attempt before: then a half would be taken for new. That a broker did not lead the partition is no such attempt.
    fn on_too_large(&mut self, now: Instant, index: usize, batch: ProducerBatch, error: Error) {
        if batch.record_count() < 2 || batch.possibly_appended || self.is_doomed() {
            let size = batch.body().size();
            let error = match error.text() {
                Some(_) => error,
                None => error.message(format!("a batch of {size} bytes is more than the topic's max.message.bytes")),
            };
            return self.on_error(now, index, batch, error, 0);
        }
        self.landed(index, batch.order);
        match self.accumulator.split(batch, self.transaction.is_some()) {
            Ok(halves) => {
                self.counts.batches_split.add(1);
                tracing::debug!(topic = %halves[0].topic.name(), size = halves[0].body().size(), "a batch was too large and is split");
                for half in halves.into_iter().rev() {
                    self.requeue(now, index, half);
                }
            }
            Err(failed) => {
                let (batch, why) = *failed;
                self.fail(batch, error.caused_by(why));
                self.look_again(now, index);
            }
        }
    }

    /// The answer says who leads now (KIP-951): no need to wait for metadata, unless that is a node we have no address of.
    fn follow_leader(&mut self, now: Instant, index: usize, code: ErrorCode, leader: &LeaderIdAndEpoch) {
        let moved = matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        let (node, epoch) = (NodeId(leader.leader_id.0), LeaderEpoch::from_wire(leader.leader_epoch));
        let Some(partition) = self.partitions.get(index).and_then(Option::as_ref) else { return };
        if moved && epoch > partition.leader_epoch && self.cluster.nodes.contains_key(&node) {
            self.on_leader(now, index, Some(node), epoch);
        }
    }

    pub(super) fn on_written(&mut self, now: Instant, index: usize, batch: ProducerBatch, written: Acknowledged) {
        if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
            partition.backoff.reset();
            let producer = batch.numbered.map(|numbered| numbered.producer.id).filter(|_| self.config.idempotence);
            partition.proven = partition.in_flight_to.map(|node| (node, producer));
        }
        self.landed(index, batch.order);
        self.finish(batch, Settled::Written(written));
        self.look_again(now, index);
    }

    /// The batch is no longer under way.
    pub(super) fn landed(&mut self, index: usize, order: (u64, u32)) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        partition.in_flight.retain(|in_flight| *in_flight != order);
        if partition.in_flight.is_empty() {
            partition.in_flight_to = None;
            partition.alone = false;
        }
    }

    pub(super) fn look_again(&mut self, now: Instant, index: usize) {
        let Some(partition) = self.partitions.get(index).and_then(Option::as_ref) else { return };
        if partition.waits || !partition.queue.is_empty() {
            self.activate(now, index);
        }
    }

    pub(super) fn finish(&self, mut batch: ProducerBatch, settled: Settled) {
        if !batch.is_settled() {
            self.counts.on_settled(&batch, &settled);
            if batch.settle(settled) {
                self.accumulator.on_settled(batch.id);
            }
        }
        self.accumulator.release(batch);
    }

    /// There is no answer for it.
    pub(super) fn on_unanswered(
        &mut self,
        now: Instant,
        index: usize,
        mut batch: ProducerBatch,
        error: Error,
        generation: u64,
    ) {
        match error.delivery_certainty() {
            Some(Certainty::NotSent) => batch.attempts -= 1,
            _ => (batch.possibly_sent, batch.possibly_appended) = (true, true),
        }
        self.on_error(now, index, batch, error, generation);
    }

    fn on_error(&mut self, now: Instant, index: usize, batch: ProducerBatch, error: Error, generation: u64) {
        self.landed(index, batch.order);
        let code = error.code();
        // Who can't have it replicated in time may have been deposed without hearing of it.
        let is_late = error.kind() == ErrorKind::Timeout || code == Some(ErrorCode::RequestTimedOut);
        let is_gone = error.kind() == ErrorKind::Connection;
        if is_late || is_gone || code.is_some_and(ErrorCode::invalidates_metadata) {
            self.events.push_back(SenderEvent::StaleMetadata(generation));
        }
        if batch.is_settled() {
            self.accumulator.release(batch); // it had expired, its number was given up then
            return self.look_again(now, index);
        }
        if code == Some(ErrorCode::DuplicateSequenceNumber) {
            return self.on_written(now, index, batch, Acknowledged { base_offset: None, log_append_time: None });
        }
        let in_time = self.is_in_time(now, &batch);
        if let (Some(code), true, true) = (code, self.config.idempotence, in_time) {
            match code {
                ErrorCode::OutOfOrderSequenceNumber if self.is_oldest(index, &batch) && self.transaction.is_some() => {}
                ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch if self.transaction.is_some() => {}
                ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => {
                    return self.on_out_of_order(now, index, batch, error);
                }
                ErrorCode::InvalidProducerEpoch => {
                    let known = batch.numbered.map(|numbered| numbered.producer);
                    if matches!(self.identity, Identity::Known(producer) if Some(producer) == known) {
                        self.ask_for_identity();
                    }
                    return self.renumber(now, index, batch, error);
                }
                _ => {}
            }
        }
        let again = error.is_retriable() || error.kind() == ErrorKind::Malformed;
        // What goes down with its transaction is sent again only to learn that it can't arrive any more.
        let again = again && (batch.possibly_sent || !self.is_doomed());
        if again && in_time && batch.attempts <= self.config.retries {
            return match is_gone && error.delivery_certainty() == Some(Certainty::NotSent) {
                true => self.requeue(now, index, batch), // it waits for the connection
                false => self.again_later(now, index, batch, &error),
            };
        }
        self.fail(batch, error);
        self.look_again(now, index);
    }

    fn is_in_time(&self, now: Instant, batch: &ProducerBatch) -> bool {
        batch.deadline > now && self.closing.is_none()
    }

    /// Sends it again, after a while.
    fn again_later(&mut self, now: Instant, index: usize, batch: ProducerBatch, error: &Error) {
        if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
            // One wait for all that fail together.
            if partition.not_before.is_none_or(|at| at <= now) {
                partition.not_before = Some(now + partition.backoff.next_wait());
            }
        }
        tracing::debug!(topic = %batch.topic.name(), partition = batch.partition, %error, "a batch is sent again");
        self.requeue(now, index, batch);
    }

    /// The broker has not got the batch before. If that is because of one whose outcome is open, it will have; if not,
    /// there is a gap, which only a new epoch can close.
    pub(super) fn on_out_of_order(&mut self, now: Instant, index: usize, batch: ProducerBatch, error: Error) {
        let current = matches!(self.identity, Identity::Known(producer)
            if batch.numbered.is_some_and(|numbered| numbered.producer == producer));
        if !current {
            return self.renumber(now, index, batch, error); // the gap is known, it starts anew when its turn comes
        }
        if self.transaction.is_some() || !self.is_oldest(index, &batch) {
            return self.requeue(now, index, batch);
        }
        self.bump_epoch(batch.numbered);
        self.renumber(now, index, batch, error);
    }

    /// Whether no older batch of the partition has an open outcome.
    fn is_oldest(&self, index: usize, batch: &ProducerBatch) -> bool {
        let Some(partition) = self.partitions.get(index).and_then(Option::as_ref) else { return true };
        let open =
            partition.in_flight.front().copied().into_iter().chain(partition.queue.front().map(|queued| queued.order));
        open.min().is_none_or(|oldest| oldest > batch.order)
    }

    /// A batch that certainly was not written gets a new number, and so do those behind it that weren't either. One that
    /// may have been fails: a copy of it may still be on its way over a connection that was given up, and only the number
    /// that it has would tell the broker that the two are one.
    pub(super) fn renumber(&mut self, now: Instant, index: usize, mut batch: ProducerBatch, error: Error) {
        if batch.possibly_sent {
            self.fail(batch, error);
            return self.look_again(now, index);
        }
        if let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) {
            for later in partition.queue.iter_mut().filter(|later| later.order > batch.order && !later.possibly_sent) {
                later.numbered = None;
            }
        }
        batch.numbered = None;
        self.requeue(now, index, batch);
    }

    pub(super) fn requeue(&mut self, now: Instant, index: usize, batch: ProducerBatch) {
        let Some(partition) = self.partitions.get_mut(index).and_then(Option::as_mut) else { return };
        let at = partition.queue.partition_point(|queued| queued.order < batch.order);
        partition.queue.insert(at, batch);
        if let (Place::Ready(node), Some(_)) = (partition.place, partition.not_before) {
            partition.place = Place::Idle;
            if let Some(node) = self.nodes.get_mut(&node) {
                node.ready.retain(|ready| *ready != index);
            }
        }
        self.activate(now, index);
    }

    /// Fails a batch for good.
    pub(super) fn fail(&mut self, batch: ProducerBatch, error: Error) {
        let error = failure(&batch, error);
        self.give_up(batch.numbered, &error);
        self.finish(batch, Settled::Failed(error));
    }
}

/// What those who wait for a batch are told: whose it is, and whether it may have been written, by any attempt.
pub(super) fn failure(batch: &ProducerBatch, error: Error) -> Error {
    let certainty = if batch.possibly_sent { Certainty::PossiblySent } else { Certainty::NotSent };
    error.partition(TopicPartition::new(batch.topic.name().clone(), batch.partition as i32)).certainty(certainty)
}

/// Whether it was not the leader of the partition when it got the batch: one that was deposed later has appended it, and says
/// where.
fn is_turned_away(code: ErrorCode, base_offset: i64) -> bool {
    let not_leader = [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    ];
    not_leader.contains(&code) && base_offset < 0
}

/// Whether a broker answers this only before it writes anything. Others can come when it has written: a leader that is
/// deposed while it waits for its followers says NOT_LEADER_OR_FOLLOWER of what it has in its log.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::InvalidTopicException
            | ErrorCode::InvalidRequest
            | ErrorCode::PolicyViolation
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::ProducerFenced
            | ErrorCode::InvalidTxnState
            | ErrorCode::UnknownProducerId
            | ErrorCode::ThrottlingQuotaExceeded
            | ErrorCode::ConcurrentTransactions
            | ErrorCode::TransactionAbortable
            | ErrorCode::InvalidProducerIdMapping
    )
}
