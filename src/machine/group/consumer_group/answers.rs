//! What answers do to a membership: the table in [`consumer_group`](super) in code.

use super::{Beat, ConsumerMembership, State};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{GenerationId, TopicId};
use crate::machine::coordinator::Coordinator;
use crate::machine::group::membership::Membership;
use crate::machine::group::refusal::refused;
use crate::machine::group::{GroupEvent, GroupResponse, Out, mismatched};
use crate::wire::messages::ConsumerGroupHeartbeatResponse;
use crate::wire::messages::consumer_group_heartbeat_response::Assignment;
use std::time::{Duration, Instant};

const API: &str = "ConsumerGroupHeartbeat";

impl ConsumerMembership {
    /// The answer to the heartbeat that was under way.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        beat: &Beat,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        out: &mut Out,
    ) {
        if beat.leaves
            && let State::Leaving { then, .. } = self.state
        {
            return self.left(then); // whatever it says, we are out
        }
        if beat.incarnation != self.incarnation || matches!(self.state, State::Leaving { .. } | State::Left) {
            return; // we have begun anew since, or say no more than farewell
        }
        self.next_heartbeat = now + self.heartbeat_interval;
        let (code, answer) = match answer {
            Ok(GroupResponse::ConsumerGroupHeartbeat(answer)) => (ErrorCode::from_wire(answer.error_code), answer),
            Ok(_) => return self.fail(mismatched(), out),
            Err(error) => {
                self.sent = None;
                match error.is_retriable() {
                    // Says nothing about the membership: the next heartbeat asks, as soon as there is someone to ask.
                    true => {
                        self.next_heartbeat = now;
                        coordinator.lost(now, beat.node);
                    }
                    false => self.fail(hinted(error.api(API)), out),
                }
                return;
            }
        };
        let Some(code) = code else {
            coordinator.works();
            return self.accepted(now, answer, out);
        };
        self.sent = None;
        match (&self.state, code) {
            (_, code) if code.moves_coordinator() => {
                self.next_heartbeat = now;
                coordinator.lost(now, beat.node);
            }
            // Of a topic that it may not read the member has nothing, and keeps the others. The application is told by whoever asks.
            (_, ErrorCode::TopicAuthorizationFailed) => self.next_heartbeat = now + self.backoff.next_wait(),
            (_, code) if code.is_retriable() => self.next_heartbeat = now + self.backoff.next_wait(),
            // There is nothing to leave any more.
            (State::PrepareLeaving { .. }, _) => (self.entered, self.epoch) = (false, GenerationId::NONE),
            (
                State::Joining | State::Reconciling(_) | State::Acknowledging | State::Stable,
                ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId,
            ) => self.fenced(now, code, out),
            (State::Joining | State::Reconciling(_) | State::Acknowledging | State::Stable, code) => {
                let message = answer.error_message.map(|message| message.to_string());
                self.fail(hinted(refused(API, Some(beat.node), code, message)), out);
            }
            (state, code) => {
                let what = format!("{code} in answer to a heartbeat in {state:?}");
                self.fail(mismatched().message(what), out);
            }
        }
    }

    fn accepted(&mut self, now: Instant, answer: ConsumerGroupHeartbeatResponse, out: &mut Out) {
        self.backoff.reset();
        if answer.member_epoch <= 0 {
            let what = format!("an answer to a member with the epoch {}", answer.member_epoch);
            return self.fail(Error::with_message(ErrorKind::Malformed, what).api(API), out);
        }
        if let Ok(interval @ 1..) = u64::try_from(answer.heartbeat_interval_ms) {
            self.heartbeat_interval = Duration::from_millis(interval);
        }
        self.next_heartbeat = now + self.heartbeat_interval;
        let resubscribed = self.topics.is_some() && self.sent.as_ref().map(|sent| &sent.topics) != self.topics.as_ref();
        // Assigned while this heartbeat was under way: it did not say so, and others may wait for that.
        if resubscribed || matches!(self.state, State::Acknowledging) {
            self.next_heartbeat = now;
        }
        let epoch = GenerationId(answer.member_epoch);
        if epoch != self.epoch {
            self.epoch = epoch;
            out.tell(GroupEvent::Generation { generation: epoch, member_id: self.member_id.clone() });
        }
        match (&self.state, answer.assignment) {
            (State::Joining, assignment) => {
                self.target_is(assignment.unwrap_or_default());
                self.state = State::Reconciling(None);
            }
            (State::Stable, Some(assignment)) => {
                self.target_is(assignment);
                self.state = State::Reconciling(None);
            }
            // What is being reconciled is finished first.
            (State::Reconciling(_) | State::Acknowledging, Some(assignment)) => self.target_is(assignment),
            _ => {}
        }
    }

    fn target_is(&mut self, assignment: Assignment) {
        let pairs = assignment.topic_partitions.into_iter().flat_map(|topic| {
            let id = TopicId::from(topic.topic_id);
            topic.partitions.into_iter().map(move |number| (id, number))
        });
        self.target = pairs.collect();
    }
}

/// A broker may lack the API, or have it switched off (`group.version`).
fn hinted(error: Error) -> Error {
    let is_lacking =
        error.kind() == ErrorKind::UnsupportedVersion || error.code() == Some(ErrorCode::UnsupportedVersion);
    match is_lacking {
        true => error.hint(
            "the broker has no consumer groups as of KIP-848, or not of this version: set group.protocol=classic, or use a \
             newer broker (Apache Kafka from 4.0)",
        ),
        false => error,
    }
}
