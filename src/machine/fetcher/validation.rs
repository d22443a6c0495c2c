//! Whether a new leader's log has what was read from the old one (KIP-320): asked when the leader epoch changes, of the
//! new leader, by the epoch of the last record read. Without an unclean election it always has.

use super::{Answered, Fetcher};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::ids::{LeaderEpoch, NodeId, TopicPartition};
use crate::machine::subscription::{FetchState, OffsetReset, Position};
use std::time::Instant;

/// How often a leader that knows less than the position is not believed.
const DOUBTS: u32 = 5;

/// A position to validate.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Of which partition.
    pub name: TopicPartition,
    /// Who leads it.
    pub leader: NodeId,
    /// Since when.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record before the position: where does it end?
    pub epoch: LeaderEpoch,
    /// The position.
    pub offset: i64,
    generation: u64,
    id: u64,
}

impl Fetcher {
    /// The positions to validate now, each once until its answer ([`Fetcher::validated`]) is there.
    pub fn validations(&mut self, now: Instant) -> Vec<Validation> {
        let mut validations = Vec::new();
        for (name, partition) in &mut self.subscription.partitions {
            let (FetchState::AwaitValidation, Some(leader), Some(epoch), None) =
                (partition.state, partition.leader, partition.fetch_epoch, partition.in_flight)
            else {
                continue;
            };
            if partition.not_before.is_some_and(|at| at > now) {
                continue;
            }
            self.next_id += 1;
            partition.in_flight = Some(self.next_id);
            validations.push(Validation {
                name: name.clone(),
                leader,
                leader_epoch: partition.leader_epoch,
                epoch,
                offset: partition.next_fetch,
                generation: partition.generation,
                id: self.next_id,
            });
        }
        validations
    }

    /// Where the leader's log leaves the epoch that was asked about, which is that epoch or the one before it, and the
    /// offset behind its last record; `None` if the log knows nothing of it. Or why there is no answer.
    pub fn validated(
        &mut self,
        now: Instant,
        validation: &Validation,
        answer: Result<Option<(LeaderEpoch, i64)>, Error>,
    ) -> Answered {
        let name = &validation.name;
        let has_policy = self.config.reset != OffsetReset::None;
        let generation = self.subscription.next_generation();
        let Some(partition) = self.waiting_for(name, validation.generation, validation.id) else {
            return Answered::default(); // moved meanwhile
        };
        let mut answered = Answered { supervise: true, ..Answered::default() };
        match answer {
            Err(error) if error.kind() != ErrorKind::UnsupportedVersion => {
                self.not_looked_up(now, name, error, &mut answered);
                return answered;
            }
            Ok(Some((_, end))) if end >= partition.next_fetch => partition.state = FetchState::Fetching,
            // A leader of an epoch before the position's has been deposed and does not know it. Not for ever: a committed
            // epoch may be of a topic that was made anew since.
            Ok(_) if Some(validation.epoch) > validation.leader_epoch && partition.failures < DOUBTS => {
                let error = Error::broker(ErrorCode::UnknownLeaderEpoch).api("OffsetForLeaderEpoch");
                self.not_looked_up(now, name, error, &mut answered);
                return answered;
            }
            Err(_) => partition.state = FetchState::Fetching, // a broker that can't say: as if there were no epochs
            Ok(_) if !partition.buffer.is_empty() => {
                // What waits for the application is gone from the log, perhaps only that: look from the position.
                self.drop_buffer(name);
                let Some(partition) = self.subscription.partitions.get_mut(name) else { return answered };
                partition.fetch_from(partition.position);
                partition.check_epoch();
            }
            Ok(Some((epoch, end))) if has_policy => {
                tracing::warn!(partition = %name, position = partition.position.offset, end, "the log was truncated");
                partition.move_to(Position { offset: end, leader_epoch: Some(epoch) }, generation);
            }
            Ok(None) if has_policy => self.reset(now, name, "the leader does not know the epoch of the position"),
            Ok(end) => {
                self.truncated(now, validation, end.map(|(_, end)| end));
                answered.data = true;
            }
        }
        answered.data |= self.subscription.get(name).is_some_and(|partition| !partition.buffer.is_empty());
        self.enqueue(name);
        self.wake_source(name);
        answered
    }

    /// A partition has another leader: what has arrived from the old one may be handed out, or waits for a validation. That may
    /// take long, and must not hold up the others that the old leader is read for.
    pub(super) fn keep_or_hand_out(&mut self, name: &TopicPartition) {
        if self.subscription.get(name).is_some_and(|partition| partition.state == FetchState::AwaitValidation) {
            self.park(name);
        }
        self.enqueue(name);
    }

    /// There is no rule for where to go on: the application must say.
    fn truncated(&mut self, now: Instant, validation: &Validation, diverging: Option<i64>) {
        let generation = self.subscription.next_generation();
        let Some(partition) = self.subscription.partitions.get_mut(&validation.name) else { return };
        partition.start_over(generation);
        partition.state = FetchState::NoOffset;
        let Validation { offset, epoch: LeaderEpoch(epoch), .. } = validation;
        let message = match diverging {
            Some(end) => format!("position {offset}, read under epoch {epoch}: the leader's log parts ways at {end}"),
            None => format!("position {offset}, read under epoch {epoch}: the leader's log does not know that epoch"),
        };
        let error = Error::with_message(ErrorKind::LogTruncation, message);
        let error = diverging.into_iter().fold(error, Error::diverging_at);
        let error = error.node(validation.leader).partition(validation.name.clone());
        self.complain(now, &validation.name, error.hint("seek to where reading should go on"));
    }
}
