//! Who gets which partition: the trait, and `roundrobin`. The others have files of their own: [`range`](super::range),
//! [`sticky`](super::sticky).
//!
//! The leader of a classic group runs the assignor that all members have in common. Any client may be the leader, so
//! the names, the order of members and the outcome are those of the Java client.

use super::group_topics::{GroupTopics, Racks};
use crate::ids::{GenerationId, TopicPartition};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What members do with their partitions before they join a rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// Give everything up, then join.
    Eager,
    /// Keep what they have, give up what the leader wants moved, and join once more (KIP-429).
    Cooperative,
}

/// A member as its group's leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub member_id: Arc<str>,
    /// The name that a static member keeps over restarts (`group.instance.id`).
    pub instance_id: Option<Arc<str>>,
    /// The topics that it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// What it holds while it joins; nothing under an eager protocol.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got what it holds; `NONE` if it does not say.
    pub generation: GenerationId,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// What its assignor added to the subscription.
    pub user_data: Option<Bytes>,
}

impl GroupMember {
    /// Java's order of members: static ones first, by their instance ids, so that a restart with another member id
    /// changes nothing; then the others by member id.
    fn java_order(&self, other: &Self) -> Ordering {
        match (&self.instance_id, &other.instance_id) {
            (Some(mine), Some(theirs)) => mine.cmp(theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.member_id.cmp(&other.member_id),
        }
    }
}

/// The outcome: partitions by member id. A member that is not in it gets nothing.
pub type Assignment = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// What a member that is about to join knows of itself.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Joining<'a> {
    /// The topics that it subscribes to.
    pub topics: &'a [Arc<str>],
    /// The generation of the last assignment, `NONE` if there was none or it is lost.
    pub generation: GenerationId,
    /// The last assignment, whether it was given up since or not.
    pub assigned: &'a [TopicPartition],
}

/// Decides who reads what in a classic group: the leader's decides for all. All members must have one by the same name
/// in common; those of other clients, too. See
/// [`ConsumerConfig::assignor`](crate::consumer::ConsumerConfig::assignor).
///
/// ```
/// use milena::consumer::{Assignment, Assignor, ConsumerConfig, GroupMember, GroupTopics};
///
/// /// Everything to the member with the lowest id; the others stand by.
/// #[derive(Debug)]
/// struct FailoverAssignor;
///
/// impl Assignor for FailoverAssignor {
///     fn name(&self) -> &str {
///         "failover"
///     }
///
///     fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
///         let Some(first) = members.iter().min_by_key(|member| &member.member_id) else { return Assignment::new() };
///         let wanted = topics.partitions().filter(|partition| first.topics.contains(&partition.topic));
///         Assignment::from([(first.member_id.clone(), wanted.collect())])
///     }
/// }
///
/// let config = ConsumerConfig::group("reports").assignor(FailoverAssignor).partition_assignment_strategy(["failover"]);
/// # let _ = config;
/// ```
pub trait Assignor: Send + Sync + fmt::Debug {
    /// The name under which it is known to the other members; `range`, `cooperative-sticky`.
    fn name(&self) -> &str;

    /// What members do before they join. One eager assignor among several makes the member eager.
    ///
    /// A cooperative one must not give a partition to a member while another's [`GroupMember::owned`] has it: it leaves
    /// it out, its holder lets go and joins anew, and the next round hands it on.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What to add to this member's subscription, for the leader's assignor to find as [`GroupMember::user_data`].
    fn user_data(&self, _member: &Joining<'_>) -> Option<Bytes> {
        None
    }

    /// Assigns every partition of `topics` to one of the `members` that subscribe to its topic; called on the leader, in
    /// the consumer's task, so it should take no more than milliseconds. What members say of themselves comes from other
    /// processes, and perhaps other clients.
    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment;
}

/// Java's `RoundRobinAssignor`: all partitions of all topics dealt out in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
        let members = in_java_order(members);
        let mut assignment = Assignment::new();
        let mut next = 0;
        for partition in topics.partitions() {
            // From the next in turn on, the first one that subscribes to the topic.
            let turn = (next..next + members.len()).find(|turn| {
                members.get(turn % members.len()).is_some_and(|member| member.topics.contains(&partition.topic))
            });
            if let Some(turn) = turn {
                next = (turn + 1) % members.len();
                let member_id = members[turn % members.len()].member_id.clone();
                assignment.entry(member_id).or_default().push(partition);
            }
        }
        assignment
    }
}

pub(super) fn in_java_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|a, b| a.java_order(b));
    sorted
}

/// Whether looking at racks can bring members nearer to replicas (KIP-881): some member is where some partition is, and
/// not every partition is everywhere.
pub(super) fn racks_matter<'a>(
    partitions: impl Iterator<Item = &'a Racks> + Clone,
    mut members: impl Iterator<Item = &'a GroupMember>,
) -> bool {
    let all: Racks = partitions.clone().flatten().cloned().collect();
    members.any(|member| member.rack.as_ref().is_some_and(|rack| all.contains(rack)))
        && partitions.into_iter().any(|racks| *racks != all)
}

/// Whether a member is where the partition has a replica. One that does not say where it is is as near as any.
pub(super) fn is_near(member: &GroupMember, racks: Option<&Racks>) -> bool {
    member.rack.as_ref().is_none_or(|mine| racks.is_some_and(|racks| racks.contains(mine)))
}

/// The topics that anyone subscribes to.
pub(super) fn all_topics(members: &[GroupMember]) -> BTreeSet<Arc<str>> {
    members.iter().flat_map(|member| member.topics.iter().cloned()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::machine::group) fn member(id: &str, topics: &[&str]) -> GroupMember {
        GroupMember {
            member_id: id.into(),
            instance_id: None,
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            owned: vec![],
            generation: GenerationId::NONE,
            rack: None,
            user_data: None,
        }
    }

    /// A member that says where it is.
    pub(in crate::machine::group) fn at(id: &str, rack: &str, topics: &[&str]) -> GroupMember {
        GroupMember { rack: Some(rack.into()), ..member(id, topics) }
    }

    pub(in crate::machine::group) fn counts(counts: &[(&str, usize)]) -> GroupTopics {
        let mut topics = GroupTopics::default();
        counts.iter().for_each(|(topic, count)| topics.add(*topic, *count));
        topics
    }

    /// Topics by the rack of each partition's only replica.
    pub(in crate::machine::group) fn racked(racked: &[(&str, &[&str])]) -> GroupTopics {
        let mut topics = GroupTopics::default();
        for (topic, racks) in racked {
            topics.insert(*topic, racks.iter().map(|rack| Racks::from([Arc::from(*rack)])).collect());
        }
        topics
    }

    pub(in crate::machine::group) fn shown(assignment: &Assignment, member: &str) -> String {
        let assigned = assignment.get(member).map_or(&[][..], |assigned| assigned);
        assigned.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Both examples in the doc of Java's `RoundRobinAssignor`.
    #[test]
    fn roundrobin_deals_all_topics_out_in_turn_past_those_who_do_not_subscribe() {
        let members = [member("C0", &["t0", "t1"]), member("C1", &["t0", "t1"])];
        let assignment = RoundRobinAssignor.assign(&counts(&[("t0", 3), ("t1", 3)]), &members);
        assert_eq!(shown(&assignment, "C0"), "t0[0] t0[2] t1[1]");
        assert_eq!(shown(&assignment, "C1"), "t0[1] t1[0] t1[2]");
        let members = [member("C0", &["t0"]), member("C1", &["t0", "t1"]), member("C2", &["t0", "t1", "t2"])];
        let assignment = RoundRobinAssignor.assign(&counts(&[("t0", 1), ("t1", 2), ("t2", 3)]), &members);
        assert_eq!(shown(&assignment, "C0"), "t0[0]");
        assert_eq!(shown(&assignment, "C1"), "t1[0]");
        assert_eq!(shown(&assignment, "C2"), "t1[1] t2[0] t2[1] t2[2]");
    }

    #[test]
    fn a_topic_without_partitions_or_subscribers_is_no_trouble() {
        for assignor in [&crate::machine::group::range::RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
            assert!(assignor.assign(&counts(&[("t", 3)]), &[member("m", &["other"])]).values().all(Vec::is_empty));
            assert!(assignor.assign(&counts(&[]), &[member("m", &["t"])]).values().all(Vec::is_empty));
            assert!(assignor.assign(&counts(&[("t", 3)]), &[]).is_empty());
        }
    }
}
