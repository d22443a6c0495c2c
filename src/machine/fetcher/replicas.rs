//! Reading from a replica nearby instead of the leader (KIP-392). The leader chooses it by `client.rack` and answers with
//! its id and no records; its word holds for a while, then it is asked again. A replica that fails is left at once.

use super::{Answered, FetchPlan, Fetcher, PlannedPartition};
use crate::ids::NodeId;
use std::time::{Duration, Instant};

/// How long a leader's word holds: as long as metadata does by default.
const LEASE: Duration = Duration::from_secs(300);

impl Fetcher {
    /// The leader sends us to `replica`. Not in a circle at full speed: a partition whose replica has just failed waits.
    pub(super) fn prefer(
        &mut self,
        now: Instant,
        plan: &FetchPlan,
        planned: &PlannedPartition,
        replica: NodeId,
        answered: &mut Answered,
    ) {
        let is_one = replica != plan.node && self.cluster.nodes.contains_key(&replica);
        let Some(partition) = self.subscription.partitions.get_mut(&planned.name) else { return };
        if !is_one {
            answered.refresh = true;
            partition.retry_later(now, &self.config);
            return;
        }
        tracing::debug!(partition = %planned.name, %replica, leader = %plan.node, "reading from a replica");
        partition.preferred_replica = Some((replica, now + LEASE));
        if let Some(before) = partition.failures.checked_sub(1) {
            partition.not_before = Some(now + self.config.retry_wait(before));
        }
    }

    /// Goes back to the leaders whose word has held long enough. What a replica still brings is not in vain.
    pub(super) fn end_leases(&mut self, now: Instant) {
        let mut back = Vec::new();
        for (name, partition) in &mut self.subscription.partitions {
            if partition.preferred_replica.take_if(|(_, until)| *until <= now).is_some() {
                back.push(name.clone());
            }
        }
        back.iter().for_each(|name| self.wake_source(name));
    }

    /// When the next of them has.
    pub(super) fn next_lease(&self) -> Option<Instant> {
        self.subscription.partitions.values().filter_map(|partition| Some(partition.preferred_replica?.1)).min()
    }
}
