//! `range`: each topic by itself, in contiguous ranges; near replicas if members and brokers say where they are (KIP-881).

use super::assignor::{Assignment, Assignor, GroupMember, in_java_order, is_near, racks_matter};
use super::group_topics::{GroupTopics, Racks};
use crate::ids::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Java's `RangeAssignor`: each topic by itself, in contiguous ranges, the first members one more if it does not come
/// out even. Topics with as many partitions are thereby co-partitioned, and they stay it where racks are looked at, too:
/// a member gets a partition of all of them, or of none.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
        let members = in_java_order(members);
        let shares = topics.iter().map(|(topic, racks)| Share::new(topic, racks, &members));
        let mut shares: Vec<_> = shares.filter(|share| !share.takers.is_empty()).collect();
        if shares.iter().any(|share| share.racks_matter) {
            let mut alike: BTreeMap<_, Vec<&mut Share<'_>>> = BTreeMap::new();
            for share in &mut shares {
                let takers: Vec<_> = share.takers.iter().map(|taker| &*taker.member_id).collect();
                alike.entry((takers, share.racks.len())).or_default().push(share);
            }
            for mut alike in alike.into_values() {
                match &mut alike[..] {
                    [share] if share.racks_matter => share.fill(Share::is_near),
                    [_] => {}
                    together => fill_together(together),
                }
            }
        }
        let mut assignment = Assignment::new();
        for mut share in shares {
            share.fill(|_, _, _| true);
            share.give(&mut assignment);
        }
        assignment
    }
}

/// One topic and those who want it.
struct Share<'a> {
    topic: &'a Arc<str>,
    racks: &'a [Racks],
    racks_matter: bool,
    takers: Vec<&'a GroupMember>,
    /// By taker.
    taken: Vec<BTreeSet<usize>>,
    left: BTreeSet<usize>,
    /// What everybody gets, and how many may have one more.
    each: usize,
    more: usize,
}

impl<'a> Share<'a> {
    fn new(topic: &'a Arc<str>, racks: &'a [Racks], members: &[&'a GroupMember]) -> Self {
        let takers: Vec<_> = members.iter().copied().filter(|member| member.topics.contains(topic)).collect();
        let each = racks.len().checked_div(takers.len()).unwrap_or(0);
        Self {
            topic,
            racks,
            racks_matter: racks_matter(racks.iter(), takers.iter().copied()),
            taken: vec![BTreeSet::new(); takers.len()],
            left: (0..racks.len()).collect(),
            each,
            more: racks.len() - each * takers.len(),
            takers,
        }
    }

    /// How many this one may still take.
    fn room(&self, taker: usize) -> usize {
        (self.each + usize::from(self.more > 0)).saturating_sub(self.taken[taker].len())
    }

    fn take(&mut self, taker: usize, partition: usize) {
        if self.left.remove(&partition) {
            self.taken[taker].insert(partition);
            self.more -= usize::from(self.taken[taker].len() == self.each + 1);
        }
    }

    /// Gives each in turn the first that it may have.
    fn fill(&mut self, may: impl Fn(&Self, usize, usize) -> bool) {
        for taker in 0..self.takers.len() {
            let room = self.room(taker);
            let first: Vec<_> =
                self.left.iter().copied().filter(|number| may(self, taker, *number)).take(room).collect();
            first.into_iter().for_each(|number| self.take(taker, number));
        }
    }

    fn is_near(&self, taker: usize, partition: usize) -> bool {
        is_near(self.takers[taker], self.racks.get(partition))
    }

    fn give(self, assignment: &mut Assignment) {
        for (taker, numbers) in self.takers.into_iter().zip(self.taken) {
            // Few enough to be counted in an i32: they were counted so on the wire.
            let partitions = numbers.into_iter().map(|number| TopicPartition::new(self.topic.clone(), number as i32));
            assignment.entry(taker.member_id.clone()).or_default().extend(partitions);
        }
    }
}

/// Topics with the same takers and as many partitions: a partition goes to someone who is near in all of them.
fn fill_together(shares: &mut [&mut Share<'_>]) {
    let Some((partitions, takers)) = shares.first().map(|share| (share.racks.len(), share.takers.len())) else {
        return;
    };
    for number in 0..partitions {
        let suits = |taker: &usize| shares.iter().all(|share| share.is_near(*taker, number) && share.room(*taker) > 0);
        if let Some(taker) = (0..takers).find(suits) {
            shares.iter_mut().for_each(|share| share.take(taker, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::assignor::tests::{at, counts, member, racked, shown};
    use super::*;

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
        assert_eq!(
            [shown(&assignment, "z"), shown(&assignment, "y"), shown(&assignment, "a")],
            ["t[0]", "t[1]", "t[2]"]
        );
        members[1].member_id = "b-after-its-restart".into();
        let restarted = RangeAssignor.assign(&counts(&[("t", 3)]), &members);
        assert_eq!(shown(&restarted, "b-after-its-restart"), "t[0]");
    }

    /// KIP-881: within what is balanced, a partition goes where a replica is.
    #[test]
    fn a_member_gets_partitions_of_its_rack_as_far_as_the_balance_allows() {
        let members = [at("m1", "a", &["t"]), at("m2", "b", &["t"]), at("m3", "c", &["t"])];
        let topics = racked(&[("t", &["c", "b", "a", "c", "b", "a"])]);
        let assignment = RangeAssignor.assign(&topics, &members);
        assert_eq!(["m1", "m2", "m3"].map(|m| shown(&assignment, m)), ["t[2] t[5]", "t[1] t[4]", "t[0] t[3]"]);
        let topics = racked(&[("t", &["a", "a", "a", "a", "b", "b"])]);
        let assignment = RangeAssignor.assign(&topics, &members);
        assert_eq!(["m1", "m2", "m3"].map(|m| shown(&assignment, m)), ["t[0] t[1]", "t[4] t[5]", "t[2] t[3]"]);
    }

    #[test]
    fn topics_stay_co_partitioned_where_racks_are_looked_at() {
        let members = [at("m1", "a", &["t", "u"]), at("m2", "b", &["t", "u"])];
        let topics = racked(&[("t", &["b", "a", "a", "b"]), ("u", &["b", "a", "b", "a"])]);
        let assignment = RangeAssignor.assign(&topics, &members);
        assert_eq!(shown(&assignment, "m1"), "t[1] t[2] u[1] u[2]", "0 and 1 are near in both topics");
        assert_eq!(shown(&assignment, "m2"), "t[0] t[3] u[0] u[3]");
    }

    #[test]
    fn racks_are_not_looked_at_if_they_make_no_difference() {
        let same = "t[0] t[1]";
        let everywhere = {
            let mut topics = GroupTopics::default();
            topics.insert("t", vec![["a".into(), "b".into()].into(); 4]);
            topics
        };
        let members = [at("m1", "b", &["t"]), at("m2", "a", &["t"])];
        assert_eq!(shown(&RangeAssignor.assign(&everywhere, &members), "m1"), same, "each partition in each rack");
        let elsewhere = racked(&[("t", &["x", "y", "x", "y"])]);
        assert_eq!(shown(&RangeAssignor.assign(&elsewhere, &members), "m1"), same, "no member in these racks");
        let nowhere = [member("m1", &["t"]), member("m2", &["t"])];
        assert_eq!(shown(&RangeAssignor.assign(&racked(&[("t", &["b", "a", "b", "a"])]), &nowhere), "m1"), same);
    }
}
