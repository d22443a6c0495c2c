//! What followers have, and brokers that are paused or [cut off](super::Link::Brokers).
//!
//! A partition has one log, its leader's; a follower's is that up to the high watermark, or up to where it was when it
//! [fell out of sync](super::TestCluster::set_in_sync). With a [lag](super::Builder::replication_lag) what is written is on its way to
//! the followers for so long; then the high watermark passes it. While an in-sync replica is paused or cut off nothing gets
//! there, until it is fenced and the others go on without it. `acks=all` waits for the high watermark, as Apache's delayed
//! produce does: it may end in `REQUEST_TIMED_OUT`, `NOT_LEADER_OR_FOLLOWER` or `NOT_ENOUGH_REPLICAS_AFTER_APPEND` with
//! the records in the log.

use super::Context;
use super::state::{Node, Partition, State};
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
    /// One of them is out of the leader's reach, or stands still.
    held: bool,
}

impl Followers {
    pub(super) fn new(lag: Duration) -> Self {
        Self { lag, on_its_way: VecDeque::new(), behind: BTreeMap::new(), held: false }
    }

    /// Those of a leader that they have left alone.
    pub(super) fn held() -> Self {
        Self { held: true, ..Self::new(Duration::ZERO) }
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

    /// Whether enough replicas are in sync; more than there are, nobody asks for.
    pub(super) fn has_in_sync(&self, least: usize) -> bool {
        self.isr.len() >= least.min(self.replicas.len())
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
        } else if !self.is_held() {
            self.log.replicated_to(end);
            self.wake();
        }
        late
    }

    /// Whether the leader waits for a follower in vain.
    pub(super) fn is_held(&self) -> bool {
        self.followers.held && self.isr.len() > 1
    }

    /// Whether something is between the leader and its followers. What could not get there meanwhile does so at once.
    pub(super) fn hold(&mut self, held: bool) {
        let released = std::mem::replace(&mut self.followers.held, held) && !held;
        if released && self.followers.lag.is_zero() {
            self.log.replicated_to(self.log.end_offset());
            self.wake();
        }
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
        Some(if self.has_in_sync(min_insync_replicas) { Ok(()) } else { Err(ErrorCode::NotEnoughReplicasAfterAppend) })
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
            let least = state.topics.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?.config.min_insync_replicas();
            let partition = state.known_partition(on.node, topic, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
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

impl Node {
    /// Since when the others have had no sign of life from it.
    pub(super) fn absent_since(&self) -> Option<Instant> {
        self.paused.into_iter().chain(self.cut_off).min()
    }
}

impl State {
    /// The partitions whose leader and followers all run.
    fn replicating(&mut self) -> impl Iterator<Item = &mut Partition> {
        let nodes = &self.nodes;
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        let runs = |node: &NodeId| nodes.get(node).is_some_and(|node| node.absent_since().is_none());
        partitions.filter(move |partition| partition.leader.is_some() && partition.isr.iter().all(runs))
    }

    pub(super) fn replicate(&mut self, now: Instant) {
        if !self.settings.replication_lag.is_zero() {
            self.replicating().for_each(|partition| partition.replicate(now));
        }
    }

    /// When [`Self::replicate`] or [`Self::fence_absent`] has something to do.
    pub(super) fn next_replication(&mut self) -> Option<Instant> {
        let waiting = self.nodes.values().filter(|node| node.alive && !node.fenced).filter_map(Node::absent_since);
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
        self.find_held();
        true
    }

    /// Goes on without the brokers that have been paused or cut off for too long.
    pub(super) fn fence_absent(&mut self, now: Instant) {
        let due = self.nodes.iter_mut().filter(|(_, node)| {
            node.alive && !node.fenced && node.absent_since().is_some_and(|since| since + SESSION_TIMEOUT <= now)
        });
        let due = due.map(|(id, node)| {
            node.fenced = true;
            *id
        });
        let due: Vec<_> = due.collect();
        // Nobody learns from beyond a cut who leads now.
        due.iter().for_each(|id| self.keep_what_it_knows(*id));
        due.iter().for_each(|id| self.go_on_without(*id));
    }

    pub(super) fn resume_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused = None;
        }
        self.come_back(id);
        self.find_held();
    }

    /// After a pause or a cut, if neither holds any more.
    pub(super) fn come_back(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.absent_since().is_none()) else { return };
        if std::mem::take(&mut node.fenced) && node.alive {
            self.node_started(id);
        }
    }
}
