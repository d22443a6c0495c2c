//! What followers have, and brokers that are paused.
//!
//! A partition has one log, its leader's; a follower's is that up to the high watermark, or up to where it was when it
//! [fell out of sync](super::TestCluster::set_in_sync). With a [lag](super::Builder::replication_lag) what is written is on its way to
//! the followers for so long; then the high watermark passes it. While an in-sync replica is paused nothing gets there,
//! until it is fenced and the others go on without it. `acks=all` waits for the high watermark, as Apache's delayed
//! produce does: it may end in `REQUEST_TIMED_OUT`, `NOT_LEADER_OR_FOLLOWER` or `NOT_ENOUGH_REPLICAS_AFTER_APPEND` with
//! the records in the log.

use super::Context;
use super::state::{Partition, State};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// `broker.session.timeout.ms`: after so long without a sign of life a broker is fenced.
const SESSION_TIMEOUT: Duration = Duration::from_secs(9);

/// What of a log the followers don't have yet.
#[derive(Debug)]
pub(super) struct Followers {
    lag: Duration,
    /// When they will have what lies below which offset, in order.
    on_its_way: VecDeque<(Instant, i64)>,
    /// Where the logs of those end that are not in sync.
    behind: BTreeMap<NodeId, i64>,
}

impl Followers {
    pub(super) fn new(lag: Duration) -> Self {
        Self { lag, on_its_way: VecDeque::new(), behind: BTreeMap::new() }
    }

    /// This one has caught up.
    pub(super) fn in_sync(&mut self, node: NodeId) {
        self.behind.remove(&node);
    }
}

impl Partition {
    /// The log is cut off at `end`, and what was on its way does not arrive.
    pub(super) fn truncate(&mut self, end: i64) {
        self.log.truncate(end);
        self.followers.on_its_way.clear();
        self.followers.behind.values_mut().for_each(|has| *has = end.min(*has));
    }

    /// Where the log ends at one of the replicas.
    pub(super) fn end_at(&self, node: NodeId) -> i64 {
        if self.leader == Some(node) {
            return self.log.end_offset();
        }
        self.followers.behind.get(&node).copied().unwrap_or(self.log.high_watermark())
    }

    /// Sends what was appended on its way to the followers. Whether it takes time.
    pub(super) fn send_to_followers(&mut self, now: Instant) -> bool {
        let end = self.log.end_offset();
        let late = !self.followers.lag.is_zero();
        if late {
            self.followers.on_its_way.push_back((now + self.followers.lag, end));
        } else {
            self.log.replicated_to(end);
            self.wake();
        }
        late
    }

    /// When [`Self::replicate`] has something to do: a leader alone in sync waits for nobody.
    fn next_replication(&self) -> Option<Instant> {
        let (at, _) = self.followers.on_its_way.front()?;
        Some(if self.isr.len() > 1 { *at } else { *at - self.followers.lag })
    }

    fn replicate(&mut self, now: Instant) {
        let mut moved = false;
        while self.next_replication().is_some_and(|at| at <= now)
            && let Some((_, offset)) = self.followers.on_its_way.pop_front()
        {
            moved |= self.log.replicated_to(offset);
        }
        if moved {
            self.wake();
        }
    }

    /// Whether a request for `acks=all` that ends at `offset` can be answered, as the leader of `epoch`.
    fn acknowledges(&self, epoch: i32, offset: i64, min_insync_replicas: usize) -> Option<Result<(), ErrorCode>> {
        if self.leader_epoch != epoch {
            return Some(Err(ErrorCode::NotLeaderOrFollower));
        }
        if self.log.high_watermark() < offset {
            return None;
        }
        let enough = self.isr.len() >= min_insync_replicas;
        Some(if enough { Ok(()) } else { Err(ErrorCode::NotEnoughReplicasAfterAppend) })
    }
}

/// Until every in-sync replica has what lies below `offset`, or that can't be waited for any more.
pub(super) async fn replicated(
    on: &Context,
    (topic, index, epoch): (&Arc<str>, i32, i32),
    offset: i64,
    deadline: Instant,
) -> Result<(), ErrorCode> {
    let woken = Arc::new(Notify::new());
    loop {
        {
            let mut state = on.state();
            let topic = state.topics.get_mut(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            let least = topic.config.min_insync_replicas();
            let partition = topic.partitions.get_mut(index as usize).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            if let Some(answer) = partition.acknowledges(epoch, offset, least) {
                return answer;
            }
            partition.park(&woken);
        }
        tokio::select! {
            () = woken.notified() => {}
            () = on.shared.clock.wait_until(Some(deadline)) => return Err(ErrorCode::RequestTimedOut),
        }
    }
}

impl State {
    /// The partitions whose leader and followers all run.
    fn replicating(&mut self) -> impl Iterator<Item = &mut Partition> {
        let nodes = &self.nodes;
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        let runs = |node: &NodeId| nodes.get(node).is_some_and(|node| node.paused.is_none());
        partitions.filter(move |partition| partition.leader.is_some() && partition.isr.iter().all(runs))
    }

    pub(super) fn replicate(&mut self, now: Instant) {
        if !self.settings.replication_lag.is_zero() {
            self.replicating().for_each(|partition| partition.replicate(now));
        }
    }

    /// When [`Self::replicate`] or [`Self::fence_paused`] has something to do.
    pub(super) fn next_replication(&mut self) -> Option<Instant> {
        let waiting = self.nodes.values().filter(|node| !node.fenced).filter_map(|node| node.paused);
        let fence = waiting.min().map(|since| since + SESSION_TIMEOUT);
        if self.settings.replication_lag.is_zero() {
            return fence;
        }
        self.replicating().filter_map(|partition| partition.next_replication()).chain(fence).min()
    }

    /// Whether there is such a partition.
    pub(super) fn set_in_sync(&mut self, topic: &str, partition: i32, replicas: &[NodeId]) -> bool {
        let up: Vec<_> = replicas.iter().copied().filter(|node| self.is_alive(*node)).collect();
        let Some(partition) = self.partition_mut(topic, partition) else { return false };
        if let Some(leader) = partition.leader {
            let followers = partition.replicas.iter().filter(|node| up.contains(node) && **node != leader);
            partition.isr = std::iter::once(leader).chain(followers.copied()).collect();
            let has = partition.log.high_watermark();
            for node in &partition.replicas {
                match partition.isr.contains(node) {
                    true => partition.followers.in_sync(*node),
                    false => drop(partition.followers.behind.entry(*node).or_insert(has)),
                }
            }
        }
        true
    }

    /// Goes on without the brokers that have been paused for too long.
    pub(super) fn fence_paused(&mut self, now: Instant) {
        let due = self.nodes.iter_mut().filter(|(_, node)| {
            node.alive && !node.fenced && node.paused.is_some_and(|since| since + SESSION_TIMEOUT <= now)
        });
        let due = due.map(|(id, node)| {
            node.fenced = true;
            *id
        });
        for id in due.collect::<Vec<_>>() {
            self.go_on_without(id);
        }
    }

    pub(super) fn resume_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.paused = None;
        if std::mem::take(&mut node.fenced) && node.alive {
            self.node_started(id);
        }
    }
}

impl super::Shared {
    /// Returns when the broker is not paused.
    pub(super) async fn runs(&self, node: NodeId) {
        loop {
            let resumed = self.resumed.notified();
            if self.state().nodes.get(&node).is_none_or(|node| node.paused.is_none()) {
                return;
            }
            resumed.await;
        }
    }
}
