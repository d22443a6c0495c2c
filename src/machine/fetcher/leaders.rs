//! Who leads what, and positions that a broker has to say.

use super::{Answered, Fetcher, ResetLookup};
use crate::error::{Error, ErrorKind};
use crate::ids::{NodeId, TopicPartition};
use crate::machine::metadata::Cluster;
use crate::machine::subscription::{FetchState, OffsetReset, OffsetSpec, Partition, Position};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Fetcher {
    /// Applies `auto.offset.reset`.
    pub(super) fn reset(&mut self, now: Instant, name: &TopicPartition, why: &str) {
        let generation = self.subscription.next_generation();
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        partition.start_over(generation);
        if self.config.reset == OffsetReset::None {
            partition.state = FetchState::NoOffset;
            let message = format!("{why}, and auto.offset.reset is none");
            let error = Error::with_message(ErrorKind::NoOffset, message).hint("seek to where reading should go on");
            self.complain(now, name, error.partition(name.clone()));
        } else {
            partition.state = FetchState::AwaitReset(self.config.reset);
            tracing::info!(partition = %name, reset = ?self.config.reset, "{why}: the position is reset");
        }
    }

    /// The offsets to look up now, each once until its answer ([`Fetcher::reset_answer`]) is there.
    pub fn resets(&mut self, now: Instant, unix_millis: i64) -> Vec<ResetLookup> {
        let mut lookups = Vec::new();
        for (name, partition) in &mut self.subscription.partitions {
            let (FetchState::AwaitReset(to), Some(leader), None) =
                (partition.state, partition.leader, partition.in_flight)
            else {
                continue;
            };
            if partition.not_before.is_some_and(|at| at > now) {
                continue;
            }
            let spec = match to {
                OffsetReset::Earliest => OffsetSpec::Earliest,
                OffsetReset::Latest | OffsetReset::None => OffsetSpec::Latest,
                OffsetReset::ByDuration(age) => {
                    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                    OffsetSpec::Timestamp(unix_millis.saturating_sub(age).max(0))
                }
            };
            self.next_id += 1;
            partition.in_flight = Some(self.next_id);
            lookups.push(ResetLookup {
                name: name.clone(),
                leader,
                leader_epoch: partition.leader_epoch,
                spec,
                generation: partition.generation,
                id: self.next_id,
            });
        }
        lookups
    }

    /// When [`Fetcher::resets`] or [`Fetcher::validations`] have something to do, or
    /// [`Fetcher::start_nodes`], if nothing else happens.
    pub fn next_lookup(&self) -> Option<Instant> {
        let waits = |partition: &&Partition| {
            matches!(partition.state, FetchState::AwaitReset(_) | FetchState::AwaitValidation)
                && partition.leader.is_some()
                && partition.in_flight.is_none()
        };
        let lookups = self.subscription.partitions.values().filter(waits).filter_map(|partition| partition.not_before);
        lookups.chain(self.next_lease()).min()
    }

    /// What a broker said about an offset (`None`: there is no such record), or why it didn't. True if the metadata
    /// is to be refreshed.
    pub fn reset_answer(
        &mut self,
        now: Instant,
        lookup: &ResetLookup,
        answer: Result<Option<Position>, Error>,
    ) -> Answered {
        let generation = self.subscription.next_generation();
        let Some(partition) = self.waiting_for(&lookup.name, lookup.generation, lookup.id) else {
            return Answered::default(); // moved meanwhile: a seek is not undone by a late answer
        };
        let mut answered = Answered { supervise: true, ..Answered::default() };
        match answer {
            Ok(Some(position)) => {
                partition.move_to(position, generation);
                self.wake_source(&lookup.name);
            }
            // No record is that young: the end it is.
            Ok(None) => partition.state = FetchState::AwaitReset(OffsetReset::Latest),
            Err(error) => self.not_looked_up(now, &lookup.name, error, &mut answered),
        }
        answered
    }

    /// The partition, if it still waits for the answer to just this question; it waits no longer.
    pub(super) fn waiting_for(&mut self, name: &TopicPartition, generation: u64, id: u64) -> Option<&mut Partition> {
        let partition = self.subscription.partitions.get_mut(name)?;
        if partition.generation != generation || partition.in_flight != Some(id) {
            return None;
        }
        partition.in_flight = None;
        Some(partition)
    }

    /// A question about a partition has no answer: it is asked again later.
    pub(super) fn not_looked_up(&mut self, now: Instant, name: &TopicPartition, error: Error, answered: &mut Answered) {
        let Some(partition) = self.subscription.partitions.get_mut(name) else { return };
        partition.retry_later(now, &self.config);
        answered.refresh = true;
        if !error.is_retriable() {
            self.complain(now, name, error.partition(name.clone()));
            answered.data = true;
        }
    }

    /// A newer picture of the cluster. A partition whose leader has moved is fetched from the new one at once; a
    /// picture older than what a broker has told us of a partition doesn't count for it.
    pub fn set_cluster(&mut self, now: Instant, cluster: Arc<Cluster>) {
        self.cluster = cluster;
        self.look_up_leaders(now);
        self.wake_all();
    }

    pub(super) fn look_up_leaders(&mut self, now: Instant) {
        let (mut hopeless, mut anew, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (name, partition) in &mut self.subscription.partitions {
            let Some(topic) = self.cluster.topics.get(&name.topic) else {
                let code = self.cluster.errors.get(&name.topic).filter(|code| !code.is_retriable());
                hopeless.extend(code.map(|code| (name.clone(), *code)));
                continue;
            };
            let at = usize::try_from(name.partition).ok();
            let Some(metadata) = at.and_then(|at| topic.partitions.get(at)) else { continue };
            let recreated = partition.topic_id != topic.id;
            if !recreated && metadata.leader_epoch.is_some() && metadata.leader_epoch < partition.leader_epoch {
                continue;
            }
            if let Some((replica, _)) = partition.preferred_replica
                && (metadata.offline.contains(&replica) || !self.cluster.nodes.contains_key(&replica))
            {
                partition.preferred_replica = None;
            }
            if recreated || (metadata.leader, metadata.leader_epoch) != (partition.leader, partition.leader_epoch) {
                if recreated && !partition.topic_id.is_zero() && !topic.id.is_zero() && partition.position().is_some() {
                    anew.push(name.clone());
                }
                partition.topic_id = topic.id;
                partition.leader = metadata.leader;
                partition.preferred_replica = None; // the new leader will say
                partition.leader_epoch = metadata.leader_epoch;
                partition.in_flight = None;
                partition.not_before = None;
                partition.check_epoch();
                changed.push(name.clone());
            }
        }
        changed.iter().for_each(|name| self.keep_or_hand_out(name));
        for name in anew {
            self.drop_buffer(&name);
            self.reset(now, &name, "the topic was made anew");
        }
        for (name, code) in hopeless {
            let error = Error::broker(code).api("Metadata").partition(name.clone());
            self.complain(now, &name, error);
        }
    }

    /// Whether a partition is assigned that the metadata's picture of its topic has not got yet: whoever assigned it knows more.
    pub fn lacks_partitions(&self) -> bool {
        let is_lacking = |name: &TopicPartition| {
            let topic = self.cluster.topics.get(&name.topic);
            topic.is_some_and(|topic| usize::try_from(name.partition).is_ok_and(|at| at >= topic.partitions.len()))
        };
        self.subscription.partitions.keys().any(is_lacking)
    }

    /// The nodes that something is to be read from and that have no fetch task. It is taken that they get one.
    pub fn start_nodes(&mut self, now: Instant) -> Vec<NodeId> {
        self.end_leases(now);
        let sources: BTreeSet<_> =
            self.subscription.partitions.values().filter_map(|partition| partition.read_from()).collect();
        let starts = |node: &NodeId| !std::mem::replace(&mut self.nodes.entry(*node).or_default().running, true);
        sources.into_iter().filter(starts).collect()
    }
}
