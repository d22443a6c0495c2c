//! Who gets which partition: the trait, and the two eager assignors that need no memory. The third, which does, has a
//! file of its own: [`sticky`](super::sticky).
//!
//! The leader of a classic group runs the assignor that all members have in common. Any client may be the leader, so
//! the names, the order of members and the outcome are those of the Java client.

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

/// How many partitions each topic has. A topic that is not in it does not exist (yet).
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// Decides who reads what. All members of a group must have one by the same name in common.
pub trait Assignor: Send + Sync + fmt::Debug {
    /// The name under which it is known to the other members; `range`, `cooperative-sticky`.
    fn name(&self) -> &str;

    /// What members do before they join. One eager assignor among several makes the member eager.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What to add to this member's subscription for the leader's assignor. `generation` is the one of the assignment
    /// that the member holds.
    fn user_data(&self, _topics: &[Arc<str>], _generation: GenerationId) -> Option<Bytes> {
        None
    }

    /// Assigns every partition of `partitions` to one of the `members` that subscribe to its topic.
    fn assign(&self, partitions: &PartitionCounts, members: &[GroupMember]) -> Assignment;
}

/// Java's `RangeAssignor`: each topic by itself, in contiguous ranges, the first members one more if it does not come
/// out even. Topics with as many partitions are thereby co-partitioned.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(&self, partitions: &PartitionCounts, members: &[GroupMember]) -> Assignment {
        let members = in_java_order(members);
        let mut assignment = Assignment::new();
        for (topic, count) in partitions {
            let subscribed: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
            if subscribed.is_empty() {
                continue;
            }
            let (each, more) = (*count as usize / subscribed.len(), *count as usize % subscribed.len());
            let mut numbers = 0..*count;
            for (index, member) in subscribed.into_iter().enumerate() {
                let range = numbers.by_ref().take(each + usize::from(index < more));
                let range = range.map(|partition| TopicPartition::new(topic.clone(), partition));
                assignment.entry(member.member_id.clone()).or_default().extend(range);
            }
        }
        assignment
    }
}

/// Java's `RoundRobinAssignor`: all partitions of all topics dealt out in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(&self, partitions: &PartitionCounts, members: &[GroupMember]) -> Assignment {
        let members = in_java_order(members);
        let mut assignment = Assignment::new();
        let mut next = 0;
        for partition in all_partitions(partitions) {
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

fn in_java_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|a, b| a.java_order(b));
    sorted
}

/// Every partition there is, by topic, then number.
pub(super) fn all_partitions(partitions: &PartitionCounts) -> impl Iterator<Item = TopicPartition> {
    partitions
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|partition| TopicPartition::new(topic.clone(), partition)))
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

    pub(in crate::machine::group) fn counts(counts: &[(&str, i32)]) -> PartitionCounts {
        counts.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
    }

    pub(in crate::machine::group) fn shown(assignment: &Assignment, member: &str) -> String {
        let assigned = assignment.get(member).map_or(&[][..], |assigned| assigned);
        assigned.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The example in the doc of Java's `RangeAssignor`.
    #[test]
    fn range_gives_each_topic_in_ranges_and_the_first_members_more() {
        let members = [member("C1", &["t0", "t1"]), member("C0", &["t0", "t1"])];
        let assignment = RangeAssignor.assign(&counts(&[("t0", 3), ("t1", 3)]), &members);
        assert_eq!(shown(&assignment, "C0"), "t0[0] t0[1] t1[0] t1[1]");
        assert_eq!(shown(&assignment, "C1"), "t0[2] t1[2]");
    }

    #[test]
    fn static_members_come_first_and_are_ordered_by_their_instance_ids() {
        let mut members = [member("a", &["t"]), member("z", &["t"]), member("y", &["t"])];
        members[1].instance_id = Some("one".into());
        members[2].instance_id = Some("two".into());
        let assignment = RangeAssignor.assign(&counts(&[("t", 3)]), &members);
        assert_eq!([shown(&assignment, "z"), shown(&assignment, "y"), shown(&assignment, "a")], ["t[0]", "t[1]", "t[2]"]);
        members[1].member_id = "b-after-its-restart".into();
        let restarted = RangeAssignor.assign(&counts(&[("t", 3)]), &members);
        assert_eq!(shown(&restarted, "b-after-its-restart"), "t[0]");
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
        for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
            assert!(assignor.assign(&counts(&[("t", 3)]), &[member("m", &["other"])]).values().all(Vec::is_empty));
            assert!(assignor.assign(&counts(&[]), &[member("m", &["t"])]).values().all(Vec::is_empty));
            assert!(assignor.assign(&counts(&[("t", 3)]), &[]).is_empty());
        }
    }
}
