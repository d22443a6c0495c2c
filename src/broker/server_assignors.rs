//! The coordinator's assignors (KIP-848): who is to read what. Values in, values out.
//!
//! - `uniform` deals all partitions out evenly and lets members keep what they have.
//! - `range` gives each member a run of each topic's partitions, the same number of every topic, so that equal keys of two
//!   topics meet; it remembers nothing.
//!
//! Apache's uniform assignor has an algorithm of its own where members subscribe to different topics; here one does both.

use crate::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Partitions by their topic's id, as consumer groups name them.
pub(super) type Partitions = BTreeSet<(TopicId, i32)>;

/// The topics that there are: id and number of partitions.
pub(super) type Topics = BTreeMap<Arc<str>, (TopicId, i32)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Assignor {
    #[default]
    Uniform,
    Range,
}

/// What an assignor knows of a member.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriber {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// The topics that it wants and that there are, with their numbers of partitions.
    pub topics: BTreeMap<TopicId, i32>,
    /// What it was to have before.
    pub had: Partitions,
}

impl Assignor {
    /// By Kafka's name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each is to have, in the order of `members`.
    pub(super) fn assign(self, members: &[Subscriber]) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform(members),
            Self::Range => range(members),
        }
    }
}

/// Every partition of every topic wanted.
fn all(members: &[Subscriber]) -> Partitions {
    let topics = members.iter().flat_map(|member| &member.topics);
    topics.flat_map(|(topic, count)| (0..*count).map(|partition| (*topic, partition))).collect()
}

fn uniform(members: &[Subscriber]) -> Vec<Partitions> {
    let wants = |member: usize, topic: &TopicId| members[member].topics.contains_key(topic);
    let mut open = all(members);
    let mut assigned: Vec<Partitions> = Vec::with_capacity(members.len());
    for (at, member) in members.iter().enumerate() {
        // A partition that two had by mistake stays with the first.
        let kept = member.had.iter().filter(|(topic, _)| wants(at, topic)).filter(|partition| open.remove(partition));
        assigned.push(kept.copied().collect());
    }
    for partition in open {
        let takers = (0..members.len()).filter(|at| wants(*at, &partition.0));
        if let Some(taker) = takers.min_by_key(|at| assigned[*at].len()) {
            assigned[taker].insert(partition);
        }
    }
    // Each round makes the sum of squares smaller: it ends.
    while let Some((from, to, partition)) = unfair(&assigned, wants) {
        assigned[from].remove(&partition);
        assigned[to].insert(partition);
    }
    assigned
}

/// A partition that had better be moved: the last one of the member with the most (of equals the last), to one that has less
/// by two or more.
fn unfair(assigned: &[Partitions], wants: impl Fn(usize, &TopicId) -> bool) -> Option<(usize, usize, (TopicId, i32))> {
    let mut givers: Vec<_> = (0..assigned.len()).collect();
    givers.sort_by_key(|at| std::cmp::Reverse((assigned[*at].len(), *at)));
    givers.into_iter().find_map(|from| {
        assigned[from].iter().rev().find_map(|partition| {
            let takers = (0..assigned.len()).filter(|at| wants(*at, &partition.0));
            let to = takers.min_by_key(|at| assigned[*at].len())?;
            (assigned[to].len() + 1 < assigned[from].len()).then_some((from, to, *partition))
        })
    })
}

fn range(members: &[Subscriber]) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::new(); members.len()];
    // Static members first and by their names, so that a restart changes nothing.
    let mut order: Vec<_> = (0..members.len()).collect();
    order.sort_by_key(|at| {
        let member = &members[*at];
        (member.instance_id.is_none(), member.instance_id.as_ref(), &member.member_id)
    });
    let topics: BTreeMap<_, _> = members.iter().flat_map(|member| &member.topics).collect();
    for (topic, count) in topics {
        let takers: Vec<_> = order.iter().filter(|at| members[**at].topics.contains_key(topic)).collect();
        let number = takers.len() as i32;
        let mut next = 0;
        for (nth, at) in takers.into_iter().enumerate() {
            let end = next + count / number + i32::from((nth as i32) < count % number);
            assigned[*at].extend((next..end).map(|partition| (*topic, partition)));
            next = end;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicId = TopicId([1; 16]);
    const B: TopicId = TopicId([2; 16]);

    fn member(id: &str, topics: &[(TopicId, i32)]) -> Subscriber {
        Subscriber { member_id: id.into(), topics: topics.iter().copied().collect(), ..Subscriber::default() }
    }

    fn sizes(assigned: &[Partitions]) -> Vec<usize> {
        assigned.iter().map(Partitions::len).collect()
    }

    fn partitions(assigned: &Partitions, of: TopicId) -> Vec<i32> {
        assigned.iter().filter(|(topic, _)| *topic == of).map(|(_, partition)| *partition).collect()
    }

    #[test]
    fn uniform_is_even_over_all_topics_and_a_newcomer_takes_no_more_than_its_share() {
        let topics = [(A, 5), (B, 2)];
        let mut members = vec![member("a", &topics), member("b", &topics)];
        let two = Assignor::Uniform.assign(&members);
        assert_eq!(sizes(&two), [4, 3]);
        members.iter_mut().zip(&two).for_each(|(member, had)| member.had = had.clone());
        members.push(member("c", &topics));
        let three = Assignor::Uniform.assign(&members);
        assert_eq!(sizes(&three), [3, 2, 2]);
        assert!(three[0].is_subset(&two[0]) && three[1].is_subset(&two[1]), "nobody swaps");
        members[1].topics = BTreeMap::from([(B, 2)]);
        members.iter_mut().zip(three).for_each(|(member, had)| member.had = had);
        let mixed = Assignor::Uniform.assign(&members);
        assert_eq!(partitions(&mixed[1], A), [] as [i32; 0]);
        assert_eq!(mixed.iter().map(Partitions::len).sum::<usize>(), 7);
        assert!(sizes(&mixed).iter().all(|size| (2..=3).contains(size)), "{mixed:?}");
    }

    #[test]
    fn range_gives_the_same_run_of_every_topic_and_static_members_their_place() {
        let topics = [(A, 5), (B, 5)];
        let mut members = vec![member("z", &topics), member("a", &topics), member("m", &topics[..1])];
        members[0].instance_id = Some("first".into());
        let assigned = Assignor::Range.assign(&members);
        assert_eq!([0, 1, 2].map(|at| partitions(&assigned[at], A)), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!([0, 1, 2].map(|at| partitions(&assigned[at], B)), [vec![0, 1, 2], vec![3, 4], vec![]]);
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let members: Vec<_> = ["a", "b", "c"].map(|id| member(id, &[(A, 2)])).into();
            assert_eq!(sizes(&assignor.assign(&members)), [1, 1, 0]);
            assert_eq!(sizes(&assignor.assign(&[member("a", &[])])), [0]);
        }
    }
}
