//! One member of a consumer group (KIP-848): what it wants, what it has, and how it gets from there to its target.
//!
//! ```text
//!            nothing to give up                       gave up what it had to
//!   Stable -----------------------> (next epoch) <----------------------------- UnrevokedPartitions
//!     ^ |                            |        |                                        ^
//!     | |     has what it is to have |        | waits for what others still have       |
//!     +-|----------------------------+        +----------> UnreleasedPartitions -------+
//!       |                                                                   a newer target |
//!       +-- has to give something up: stays in its epoch ------------------------------+
//! ```
//! A partition is given to nobody while anybody has it or is still to give it up.

use super::server_assignors::Partitions;
use super::state::Refusal;
use crate::error::ErrorCode;
use crate::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The epoch of a member that leaves.
pub(super) const LEAVES: i32 = -1;
/// The epoch of a static member that will be back.
pub(super) const LEAVES_FOR_A_WHILE: i32 = -2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MemberState {
    #[default]
    Stable,
    UnrevokedPartitions,
    UnreleasedPartitions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsumerMember {
    pub id: String,
    pub instance_id: Option<String>,
    pub rack: Option<String>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout: Duration,
    pub topics: BTreeSet<Arc<str>>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub state: MemberState,
    pub epoch: i32,
    /// The one before: an answer may have been lost.
    pub previous_epoch: i32,
    /// What it has, or is told to have.
    pub assigned: Partitions,
    /// What it is told to give up.
    pub revoking: Partitions,
    /// The epoch in which it got each of these.
    since: BTreeMap<(TopicId, i32), i32>,
    /// When it is out unless it says something.
    pub session_deadline: Instant,
    /// When it is out unless it has given up what it is told to.
    pub rebalance_deadline: Option<Instant>,
}

impl ConsumerMember {
    /// Somebody of whom nothing is known but the id.
    pub(super) fn new(id: String, now: Instant) -> Self {
        Self {
            id,
            instance_id: None,
            rack: None,
            client_id: "".into(),
            client_host: "".into(),
            rebalance_timeout: Duration::ZERO,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            state: MemberState::Stable,
            epoch: 0,
            previous_epoch: 0,
            assigned: Partitions::new(),
            revoking: Partitions::new(),
            since: BTreeMap::new(),
            session_deadline: now,
            rebalance_deadline: None,
        }
    }

    /// Whether a request of this epoch is the member's, which says what it `owned` then. One epoch late is let pass if it
    /// owns nothing more: the answer with the newer epoch may have been lost. Who joins again, as who it was, is let pass too.
    pub(super) fn check_epoch(&self, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
        let how = match epoch {
            epoch if epoch > self.epoch => "greater",
            epoch if epoch == 0 || epoch == self.epoch => return Ok(()),
            epoch if epoch == self.previous_epoch && owned.is_some_and(|owned| owned.is_subset(&self.assigned)) => {
                return Ok(());
            }
            _ => "smaller",
        };
        let why = format!(
            "The consumer group member has a {how} member epoch ({epoch}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            self.epoch
        );
        Err((ErrorCode::FencedMemberEpoch, why))
    }

    /// Whether it has what it is to have in this epoch.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Whether it may commit for these partitions in `epoch`: its own, or an older one in which it had all of them already
    /// (KIP-1251), for it may not have heard of the newer one.
    pub(super) fn may_commit(&self, epoch: i32, partitions: &[(TopicId, i32)]) -> bool {
        let had = |partition| self.since.get(partition).is_some_and(|since| *since <= epoch);
        epoch == self.epoch || (0..self.epoch).contains(&epoch) && partitions.iter().all(had)
    }

    /// Goes on towards `target`, as far as it can: `owned` is what it says that it has, `is_free` what nobody has.
    pub(super) fn reconcile(
        &mut self,
        now: Instant,
        (target_epoch, target): (i32, &Partitions),
        owned: Option<&Partitions>,
        is_free: impl Fn(&(TopicId, i32)) -> bool,
    ) {
        // It may have given up a subscription since the target was made.
        if self.is_reconciled_to(target_epoch) && self.assigned.is_subset(target) {
            return;
        }
        let has_any = |of: &Partitions| owned.is_none_or(|owned| !owned.is_disjoint(of));
        if self.state == MemberState::UnrevokedPartitions && has_any(&self.revoking) {
            return;
        }
        // Who has given up what it had to has earned the next epoch, and may not have come to the newest target.
        let reached = self.epoch + i32::from(self.state == MemberState::UnrevokedPartitions);
        let revoking: Partitions = self.assigned.difference(target).copied().collect();
        let (free, taken): (Partitions, Partitions) = target.difference(&self.assigned).partition(|one| is_free(one));
        self.assigned.retain(|partition| target.contains(partition));
        self.previous_epoch = self.epoch;
        if !revoking.is_empty() && has_any(&revoking) {
            if self.state != MemberState::UnrevokedPartitions || self.epoch != reached || self.revoking != revoking {
                self.rebalance_deadline = Some(now + self.rebalance_timeout);
            }
            self.state = MemberState::UnrevokedPartitions;
            self.epoch = reached;
            self.revoking = revoking;
            return;
        }
        self.state = if taken.is_empty() { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        self.epoch = target_epoch;
        self.revoking.clear();
        self.assigned.extend(free);
        self.rebalance_deadline = None;
        self.since.retain(|partition, _| self.assigned.contains(partition));
        for partition in &self.assigned {
            self.since.entry(*partition).or_insert(target_epoch);
        }
    }
}
