//! What to ask a node for next, and what its answer changes.

use super::{Answered, FetchPlan, Fetcher, Lease, PlannedPartition, REMIND, Step, WAITING};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, TopicPartition};
use crate::machine::completed_fetch::CompletedFetch;
use crate::machine::subscription::{FetchState, OffsetReset, Partition, Position};
use crate::record::batch::BatchHeader;
use crate::wire::fetch::{FetchParameters, FetchResponse, FetchedPartition, FetchedTopic, IsolationLevel};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

impl Fetcher {
    /// What `node`'s fetch task is to do next. It must come back with the answer ([`Fetcher::answer`]) first.
    pub fn step(&mut self, now: Instant, node: NodeId) -> Step {
        let running = self.nodes.values().filter(|node| node.running).count().max(1);
        let share = self.config.budget.saturating_sub(self.parked) / running;
        let id = self.next_id + 1;
        let state = self.nodes.entry(node).or_default();
        state.waits = false;
        let (mut serves, mut held_up, mut wake_at) = (false, false, None::<Instant>);
        let mut planned = Vec::new();
        for (name, partition) in &mut self.subscription.partitions {
            if partition.read_from() != Some(node) {
                continue;
            }
            serves = true;
            if partition.paused || partition.state != FetchState::Fetching || partition.in_flight.is_some() {
                continue;
            }
            if let Some(at) = partition.not_before.filter(|at| *at > now) {
                wake_at = Some(wake_at.map_or(at, |earliest| earliest.min(at)));
                continue;
            }
            held_up |= partition.buffered >= self.config.max_partition_bytes || partition.buffer.len() >= WAITING;
            planned.push((name, partition));
        }
        if !serves {
            state.running = false;
            return Step::Gone;
        }
        if held_up || planned.is_empty() || state.used > share / 2 {
            state.waits = true;
            return Step::Wait(wake_at);
        }
        planned.sort_by_key(|(_, partition)| partition.served);
        let mut least = 1;
        let mut sum = 0usize;
        let mut partitions = Vec::with_capacity(planned.len());
        for (name, partition) in planned {
            partition.in_flight = Some(id);
            let max_bytes = self.config.max_partition_bytes.max(partition.least_bytes);
            least = least.max(partition.least_bytes);
            sum = sum.saturating_add(max_bytes);
            partitions.push(PlannedPartition {
                topic_id: partition.topic_id,
                leader_epoch: partition.leader_epoch,
                offset: partition.next_fetch,
                max_bytes: to_i32(max_bytes),
                is_news: true,
                is_end_unknown: partition.high_watermark.is_none(),
                generation: partition.generation,
                name: name.clone(),
            });
        }
        // A little less than half, so that with its frame around it an answer still leaves room for a second one.
        let max_bytes = self.config.max_bytes.min(share / 2 - share / 32).min(sum).max(least);
        let state = self.nodes.entry(node).or_default();
        state.reserved = max_bytes;
        let session = state.session.request(id, &mut partitions);
        self.next_id = id;
        let parameters = FetchParameters {
            max_wait_ms: i32::try_from(self.config.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.config.min_bytes,
            max_bytes: to_i32(max_bytes),
            isolation: self.config.isolation,
            session_id: session.id,
            session_epoch: session.epoch,
        };
        Step::Fetch(FetchPlan { id, node, cluster: self.cluster.generation, parameters, session, partitions })
    }

    /// The answer to a Fetch, and how long its frame was; or why there is none. No answer changes no position.
    pub fn answer(
        &mut self,
        now: Instant,
        plan: &FetchPlan,
        response: Result<(FetchResponse, usize), Error>,
    ) -> Answered {
        let mut answered = Answered::default();
        let state = self.nodes.entry(plan.node).or_default();
        state.reserved = 0;
        // What an answer leaves out of a session is as it was, if there is an answer.
        let mut unchanged = false;
        match response {
            Err(error) => {
                state.session.lost();
                answered.refresh = error.is_retriable();
                for planned in &plan.partitions {
                    let Some(partition) = self.current(plan, planned) else { continue };
                    partition.caught_up = None;
                    partition.preferred_replica = None; // if this was it; the leader never is
                    if !error.is_retriable() {
                        // Not allowed, no common version, bytes that are not Kafka's: the application should know.
                        self.complain(now, &planned.name, error.clone().partition(planned.name.clone()));
                        answered.data = true;
                    }
                }
            }
            Ok((response, length)) => {
                let is_about_partitions = state.session.answered(plan.id, &plan.session, &plan.partitions, &response);
                match response.error {
                    None => {
                        // A throttled Fetch is answered with nothing at all.
                        let is_withheld = response.throttle_ms > 0 && response.partitions.is_empty();
                        unchanged = !plan.session.is_full() && !is_withheld;
                        self.take_in(now, plan, response, length, &mut answered);
                    }
                    Some(code) if is_about_partitions => {
                        plan.partitions.iter().for_each(|p| self.failed(now, plan, p, code, None, &mut answered));
                    }
                    Some(code) => {
                        tracing::debug!(%code, node = %plan.node, "the fetch session begins anew");
                        answered.refresh = code == ErrorCode::FetchSessionTopicIdError;
                    }
                }
            }
        }
        for planned in &plan.partitions {
            let Some(partition) = self.subscription.partitions.get_mut(&planned.name) else { continue };
            let is_left_out = partition.in_flight.take_if(|id| *id == plan.id).is_some();
            if partition.read_from() != Some(plan.node) {
                answered.supervise = true; // whom else it is read from may have no fetch task yet
                self.wake_source(&planned.name);
            } else if is_left_out && unchanged && partition.generation == planned.generation {
                partition.failures = 0;
                partition.problem = None;
                partition.note_end(now, self.config.isolation, true);
                // Of a thousand idle partitions there is nothing else to do.
                if self.config.partition_end || partition.paused || !partition.buffer.is_empty() {
                    self.reached(&planned.name, &mut answered);
                }
            }
        }
        answered
    }

    fn take_in(
        &mut self,
        now: Instant,
        plan: &FetchPlan,
        response: FetchResponse,
        length: usize,
        answered: &mut Answered,
    ) {
        let lease = Arc::new(Lease::Node(plan.node, length));
        if let Some(state) = self.nodes.get_mut(&plan.node) {
            state.used += length;
        }
        let (mut expected, mut is_ours) = (0, true);
        for fetched in response.partitions {
            let Some(at) = find(plan, &fetched, expected) else {
                // Not asked for, so the broker's session is another than ours.
                if std::mem::replace(&mut is_ours, false)
                    && let Some(state) = self.nodes.get_mut(&plan.node)
                {
                    state.session.refused();
                }
                continue;
            };
            expected = at + 1;
            let planned = &plan.partitions[at];
            match fetched.error {
                None => self.fetched(now, plan, planned, &fetched, &lease, answered),
                Some(code) => {
                    // Only a leader that can be found (KIP-951).
                    let is_known = |node: NodeId| {
                        self.cluster.nodes.contains_key(&node) || response.endpoints.iter().any(|known| known.0 == node)
                    };
                    let successor = fetched.current_leader.filter(|(node, _)| is_known(*node));
                    self.failed(now, plan, planned, code, successor, answered);
                }
            }
        }
        self.give_back(lease); // unless something of the answer waits for the application
    }

    /// The partition, if it still waits for just this.
    fn current(&mut self, plan: &FetchPlan, planned: &PlannedPartition) -> Option<&mut Partition> {
        self.subscription.partitions.get_mut(&planned.name).filter(|partition| planned.is_awaited(plan, partition))
    }

    fn fetched(
        &mut self,
        now: Instant,
        plan: &FetchPlan,
        planned: &PlannedPartition,
        fetched: &FetchedPartition,
        lease: &Arc<Lease>,
        answered: &mut Answered,
    ) {
        self.served += 1;
        let (served, isolation) = (self.served, self.config.isolation);
        let Some(partition) = self.current(plan, planned) else { return };
        partition.in_flight = None;
        let known = |offset: i64| (offset >= 0).then_some(offset);
        partition.high_watermark = known(fetched.high_watermark);
        partition.last_stable_offset = known(fetched.last_stable_offset);
        partition.log_start_offset = known(fetched.log_start_offset);
        if !partition.untold {
            partition.problem = None;
        }
        if let Some(replica) = fetched.preferred_replica.filter(|_| fetched.records.is_empty()) {
            self.prefer(now, plan, planned, replica, answered);
            return;
        }
        partition.failures = 0;
        let Whole { length, next, epoch, cut, error } = whole_batches(&fetched.records);
        let next = next.filter(|next| *next > partition.next_fetch);
        let mut error = error;
        if let Some(next) = next {
            let batches = fetched.records.slice(..length);
            let from = Position { offset: partition.next_fetch, leader_epoch: partition.fetch_epoch };
            let fetch = CompletedFetch::new(from, batches, &fetched.aborted, lease.clone());
            partition.buffered += fetch.len();
            partition.buffer.push_back(fetch);
            partition.fetch_from(Position { offset: next, leader_epoch: epoch });
            partition.least_bytes = 0;
            partition.served = served;
            answered.data = true;
        } else if length > 0 && error.is_none() {
            let message = format!("the broker was asked for offset {} and gave what is before it", planned.offset);
            error = Some(Error::with_message(ErrorKind::Malformed, message));
        } else if cut > planned.max_bytes as usize {
            partition.least_bytes = cut; // brokers without KIP-74 cut the first batch too
        }
        partition.note_end(now, isolation, error.is_none());
        if let (Some(error), None) = (error, next) {
            partition.not_before = Some(now + REMIND);
            let error = error.partition(planned.name.clone()).node(plan.node);
            self.complain(now, &planned.name, error);
            answered.data = true;
        }
        self.reached(&planned.name, answered);
    }

    /// An answer got this far in a partition ([`Partition::note_end`]).
    fn reached(&mut self, name: &TopicPartition, answered: &mut Answered) {
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        let (paused, tells) = (partition.paused, partition.end.is_some());
        // The end of a partition that was told of once is not looked at again for each answer.
        if tells && self.config.partition_end && partition.end_told != partition.end {
            self.tell.insert(name.clone());
            answered.data = true;
        }
        if paused {
            self.park(name);
        } else {
            self.enqueue(name);
        }
    }

    fn failed(
        &mut self,
        now: Instant,
        plan: &FetchPlan,
        planned: &PlannedPartition,
        code: ErrorCode,
        successor: Option<(NodeId, LeaderEpoch)>,
        answered: &mut Answered,
    ) {
        let reset = self.config.reset;
        let partition = self.subscription.partitions.get_mut(&planned.name);
        let Some(partition) = partition.filter(|partition| planned.is_awaited(plan, partition)) else { return };
        partition.in_flight = None;
        partition.caught_up = None;
        partition.retry_later(now, &self.config);
        tracing::debug!(partition = %planned.name, %code, node = %plan.node, "Fetch failed");
        // By who has answered: the lease may have ended meanwhile.
        let is_replica = Some(plan.node) != partition.leader;
        if partition.preferred_replica.take().is_some() || is_replica {
            // A replica that is behind, or none any more: its leader knows. At once, unless that was the answer before.
            if partition.failures == 1 {
                partition.not_before = None;
            }
            answered.refresh = true;
            return;
        }
        match code {
            ErrorCode::OffsetOutOfRange if !partition.buffer.is_empty() => {
                // What has arrived is good and comes first; ask again when it has been handed out.
            }
            ErrorCode::OffsetOutOfRange => {
                let out_of_range = format!("offset {} is out of range", planned.offset);
                self.reset(now, &planned.name, &out_of_range);
                answered.data |= reset == OffsetReset::None;
                answered.supervise = true;
            }
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError => {
                answered.refresh = true;
                if let Some((leader, epoch)) = successor.filter(|(_, epoch)| Some(*epoch) > partition.leader_epoch) {
                    (partition.leader, partition.leader_epoch) = (Some(leader), Some(epoch));
                    partition.not_before = None;
                    partition.check_epoch();
                    self.keep_or_hand_out(&planned.name);
                    answered.supervise = true;
                }
            }
            // The broker is behind, or busy: it will come round.
            ErrorCode::UnknownLeaderEpoch | ErrorCode::OffsetNotAvailable | ErrorCode::ThrottlingQuotaExceeded => {}
            code => {
                let error = Error::broker(code).api("Fetch").node(plan.node).partition(planned.name.clone());
                self.complain(now, &planned.name, error);
                answered.data = true;
            }
        }
    }
}

impl Partition {
    /// An answer got this far: perhaps to its end, which may be known from an answer before.
    fn note_end(&mut self, now: Instant, isolation: IsolationLevel, whole: bool) {
        let end = match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark,
            IsolationLevel::ReadCommitted => self.last_stable_offset.or(self.high_watermark),
        };
        self.end = end.filter(|end| self.next_fetch >= *end);
        // The log's end, not the last stable offset: what an open transaction holds back is still to come.
        let is_end = self.high_watermark.is_some_and(|end| self.next_fetch >= end);
        let is_caught_up = is_end && whole && self.buffer.is_empty() && !self.paused;
        let since = self.caught_up.map_or(now, |(since, _)| since);
        self.caught_up = is_caught_up.then_some((since, now));
    }
}

impl PlannedPartition {
    /// Whether the partition still waits for the answer to just this.
    fn is_awaited(&self, plan: &FetchPlan, partition: &Partition) -> bool {
        partition.generation == self.generation && partition.in_flight == Some(plan.id)
    }
}

/// Where in the plan a partition of an answer stands: usually where it is expected, or not far behind it.
fn find(plan: &FetchPlan, fetched: &FetchedPartition, expected: usize) -> Option<usize> {
    let is = |planned: &PlannedPartition| {
        planned.name.partition == fetched.partition
            && match &fetched.topic {
                FetchedTopic::Name(name) => planned.name.topic.as_bytes() == &name[..],
                FetchedTopic::Id(id) => planned.topic_id == *id,
            }
    };
    let (before, behind) = plan.partitions.split_at_checked(expected)?;
    let found = behind.iter().position(is).map(|at| expected + at);
    found.or_else(|| before.iter().position(is))
}

/// What can be said of a record set by its heads.
struct Whole {
    /// Bytes of whole batches.
    length: usize,
    /// The offset behind the last of them, by its head: its last records may be compacted away.
    next: Option<i64>,
    /// The leader epoch of that one.
    epoch: Option<LeaderEpoch>,
    /// The size of the batch that was cut off, if its head says.
    cut: usize,
    error: Option<Error>,
}

fn whole_batches(records: &Bytes) -> Whole {
    let mut whole = Whole { length: 0, next: None, epoch: None, cut: 0, error: None };
    loop {
        match BatchHeader::parse(&records[whole.length..]) {
            Ok(Some(header)) if header.size() <= records.len() - whole.length => {
                whole.length += header.size();
                whole.next = Some(header.next_offset().max(whole.next.unwrap_or(0)));
                whole.epoch = LeaderEpoch::from_wire(header.partition_leader_epoch);
            }
            Ok(Some(header)) => {
                whole.cut = header.size();
                return whole;
            }
            Ok(None) => return whole,
            Err(error) => {
                whole.error = Some(error);
                return whole;
            }
        }
    }
}

fn to_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
