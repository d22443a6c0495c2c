//! `cooperative-sticky` (KIP-429): as balanced as subscriptions allow, moving as little as possible, and never giving a
//! partition to a second member before the first has let go of it.
//!
//! One algorithm for equal and for mixed subscriptions:
//! 1. *Claims*: what members say they own. The highest generation wins; two claims of the same generation can't both be
//!    true, and neither is believed (KIP-792).
//! 2. *Placing*: what nobody claims goes to the least loaded member that subscribes to it.
//! 3. *Balancing*: while a member has two more than another that could take one of its partitions, directly or by
//!    passing one on over others, one moves. Each move lowers the sum of the squared loads, so this ends; it ends where
//!    no member can be relieved, which is as balanced as can be.
//! 4. *Letting go* (cooperative): a partition that someone else still holds is left out; its holder sees that it is no
//!    longer its own, gives it up and rejoins, and the next round hands it on.

use super::assignor::{Assignment, Assignor, GroupMember, PartitionCounts, RebalanceProtocol, all_partitions, all_topics};
use crate::ids::{GenerationId, TopicPartition};
use bytes::{Buf, Bytes};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Java's and librdkafka's `cooperative-sticky`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CooperativeStickyAssignor;

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    /// The generation, for leaders from before it had a field of its own (Java below 3.5).
    fn user_data(&self, _topics: &[Arc<str>], generation: GenerationId) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&generation.0.to_be_bytes()))
    }

    fn assign(&self, partitions: &PartitionCounts, members: &[GroupMember]) -> Assignment {
        let mut plan = Plan::new(partitions, members);
        plan.keep_claims();
        plan.place_unassigned();
        plan.balance();
        plan.into_assignment()
    }
}

/// The generation that a member's claims are from: its own field, or the user data of members too old to have it.
fn claimed_in(member: &GroupMember) -> GenerationId {
    match &member.user_data {
        _ if member.generation != GenerationId::NONE => member.generation,
        Some(data) => data.clone().try_get_i32().map_or(GenerationId::NONE, GenerationId),
        None => GenerationId::NONE,
    }
}

/// Members and topics by index, so that the loops below compare numbers.
struct Plan<'a> {
    members: &'a [GroupMember],
    partitions: Vec<TopicPartition>,
    topic_of: Vec<usize>,
    /// By topic: who subscribes to it.
    subscribers: Vec<Vec<usize>>,
    /// By partition: who claims it, and whether that is believed.
    claims: Vec<Vec<(usize, GenerationId)>>,
    believed: Vec<Option<usize>>,
    /// By partition: who gets it.
    owner: Vec<Option<usize>>,
    /// By member: what it gets of each topic.
    held: Vec<BTreeMap<usize, Vec<usize>>>,
    load: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(counts: &PartitionCounts, members: &'a [GroupMember]) -> Self {
        let wanted = all_topics(members);
        let counts: PartitionCounts =
            counts.iter().filter(|(topic, _)| wanted.contains(*topic)).map(|(topic, count)| (topic.clone(), *count)).collect();
        let topics: HashMap<_, _> = counts.keys().enumerate().map(|(index, topic)| (topic.clone(), index)).collect();
        let partitions: Vec<_> = all_partitions(&counts).collect();
        let topic_of = partitions.iter().map(|partition| topics[&partition.topic]).collect();
        let index: HashMap<_, _> = partitions.iter().enumerate().map(|(index, partition)| (partition, index)).collect();
        let mut subscribers = vec![vec![]; topics.len()];
        let mut claims = vec![vec![]; partitions.len()];
        for (m, member) in members.iter().enumerate() {
            for topic in member.topics.iter().collect::<BTreeSet<_>>() {
                if let Some(topic) = topics.get(topic) {
                    subscribers[*topic].push(m);
                }
            }
            for owned in member.owned.iter().collect::<BTreeSet<_>>() {
                if let Some(partition) = index.get(owned) {
                    claims[*partition].push((m, claimed_in(member)));
                }
            }
        }
        Self {
            members,
            topic_of,
            subscribers,
            claims,
            believed: vec![None; partitions.len()],
            owner: vec![None; partitions.len()],
            held: vec![BTreeMap::new(); members.len()],
            load: vec![0; members.len()],
            partitions,
        }
    }

    fn keep_claims(&mut self) {
        for partition in 0..self.partitions.len() {
            let Some(newest) = self.claims[partition].iter().map(|(_, generation)| *generation).max() else { continue };
            let mut newest = self.claims[partition].iter().filter(|(_, generation)| *generation == newest);
            if let (Some((member, _)), None) = (newest.next(), newest.next()) {
                let member = *member;
                if self.subscribers[self.topic_of[partition]].contains(&member) {
                    self.believed[partition] = Some(member);
                    self.give(partition, member);
                }
            }
        }
    }

    fn place_unassigned(&mut self) {
        // Those with the fewest takers first, while the takers still have room.
        let mut left: Vec<_> = (0..self.partitions.len()).filter(|partition| self.owner[*partition].is_none()).collect();
        left.sort_by_key(|partition| self.subscribers[self.topic_of[*partition]].len());
        for partition in left {
            let takers = self.subscribers[self.topic_of[partition]].iter().copied();
            if let Some(member) = takers.min_by_key(|member| self.load[*member]) {
                self.give(partition, member);
            }
        }
    }

    fn balance(&mut self) {
        let mut settled = vec![false; self.members.len()];
        // The most loaded first. One that can't be relieved now may be later only if someone who could not take before
        // has handed on, which starts the search anew.
        while let Some(from) =
            (0..self.members.len()).filter(|member| !settled[*member]).max_by_key(|member| self.load[*member])
        {
            match self.relief(from) {
                Some(path) => {
                    for (partition, to) in path {
                        self.give(partition, to);
                    }
                    settled.fill(false);
                }
                None => settled[from] = true,
            }
        }
    }

    /// The shortest chain of hand-overs from `from` to a member with at least two less, as moves to make.
    fn relief(&self, from: usize) -> Option<Vec<(usize, usize)>> {
        let mut came_by: Vec<Option<(usize, usize)>> = vec![None; self.members.len()]; // (from whom, topic)
        let mut reached = vec![false; self.members.len()];
        reached[from] = true;
        let mut frontier = vec![from];
        while !frontier.is_empty() {
            let mut next = vec![];
            for member in frontier {
                for topic in self.held[member].keys() {
                    for taker in &self.subscribers[*topic] {
                        if !reached[*taker] {
                            reached[*taker] = true;
                            came_by[*taker] = Some((member, *topic));
                            next.push(*taker);
                        }
                    }
                }
            }
            if let Some(end) = next.iter().copied().min_by_key(|member| self.load[*member])
                && self.load[end] + 2 <= self.load[from]
            {
                let mut moves = vec![];
                let mut taker = end;
                while let Some((giver, topic)) = came_by[taker] {
                    moves.push((self.cheapest(giver, topic, taker)?, taker));
                    taker = giver;
                }
                return Some(moves);
            }
            frontier = next;
        }
        None
    }

    /// Which partition of a topic to move: one that comes home, else one that its holder did not have before, else any.
    fn cheapest(&self, giver: usize, topic: usize, taker: usize) -> Option<usize> {
        let held = self.held[giver].get(&topic)?;
        held.iter().copied().min_by_key(|partition| {
            let home = self.believed[*partition];
            (home != Some(taker), home == Some(giver), std::cmp::Reverse(*partition))
        })
    }

    fn give(&mut self, partition: usize, to: usize) {
        let topic = self.topic_of[partition];
        if let Some(from) = self.owner[partition].replace(to) {
            self.load[from] -= 1;
            if let Some(held) = self.held[from].get_mut(&topic) {
                held.retain(|other| *other != partition);
                if held.is_empty() {
                    self.held[from].remove(&topic);
                }
            }
        }
        self.load[to] += 1;
        self.held[to].entry(topic).or_default().push(partition);
    }

    fn into_assignment(self) -> Assignment {
        let mut assignment: Assignment =
            self.members.iter().map(|member| (member.member_id.clone(), vec![])).collect();
        for (partition, owner) in self.owner.iter().enumerate() {
            let Some(owner) = *owner else { continue };
            let held_by_another = self.claims[partition].iter().any(|(claimer, _)| *claimer != owner);
            if held_by_another && self.believed[partition] != Some(owner) {
                continue;
            }
            if let Some(assigned) = assignment.get_mut(&self.members[owner].member_id) {
                assigned.push(self.partitions[partition].clone());
            }
        }
        assignment
    }
}

#[cfg(test)]
mod tests {
    use super::super::assignor::tests::{counts, member, shown};
    use super::*;

    /// Runs rounds of a group until nothing moves: what a member is given it owns in the next generation; what it is
    /// not given it gives up.
    fn settle(partitions: &PartitionCounts, members: &mut [GroupMember], generation: &mut i32) -> Assignment {
        for _ in 0..3 {
            let assignment = CooperativeStickyAssignor.assign(partitions, members);
            *generation += 1;
            let mut moved = false;
            for member in members.iter_mut() {
                moved |= member.owned != assignment[&member.member_id];
                member.owned.clone_from(&assignment[&member.member_id]);
                member.generation = GenerationId(*generation);
            }
            if !moved {
                return assignment;
            }
        }
        panic!("does not settle in three rounds: {members:?}");
    }

    #[test]
    fn a_member_that_joins_gets_its_share_only_after_the_others_have_let_go() {
        let (partitions, mut generation) = (counts(&[("t", 6)]), 0);
        let mut members = vec![member("a", &["t"]), member("b", &["t"])];
        settle(&partitions, &mut members, &mut generation);
        members.push(member("c", &["t"]));
        let first = CooperativeStickyAssignor.assign(&partitions, &members);
        assert_eq!(first["c"], vec![], "still held by a and b");
        assert_eq!((first["a"].len(), first["b"].len()), (2, 2));
        let last = settle(&partitions, &mut members, &mut generation);
        assert!(last.values().all(|assigned| assigned.len() == 2), "{last:?}");
    }

    #[test]
    fn the_highest_generation_wins_a_double_claim() {
        let mut members = [member("stale", &["t"]), member("owner", &["t"])];
        members[0].owned = vec![("t", 0).into(), ("t", 1).into()];
        members[0].generation = GenerationId(3);
        members[1].owned = vec![("t", 0).into()];
        members[1].generation = GenerationId(4);
        let assignment = CooperativeStickyAssignor.assign(&counts(&[("t", 2)]), &members);
        assert_eq!((shown(&assignment, "owner"), shown(&assignment, "stale")), ("t[0]".into(), "t[1]".into()));
    }

    /// librdkafka 2.2: two members that both claim a partition of the same generation must both let go.
    #[test]
    fn two_claims_of_one_generation_are_both_void() {
        let mut members = [member("a", &["t"]), member("b", &["t"])];
        for member in &mut members {
            member.owned = vec![("t", 0).into()];
            member.generation = GenerationId(5);
        }
        let assignment = CooperativeStickyAssignor.assign(&counts(&[("t", 1)]), &members);
        assert!(assignment.values().all(Vec::is_empty), "{assignment:?}");
    }

    #[test]
    fn members_too_old_for_the_generation_field_say_it_in_their_user_data() {
        let mut members = [member("old", &["t"]), member("new", &["t"])];
        members[0].owned = vec![("t", 0).into()];
        members[0].user_data = CooperativeStickyAssignor.user_data(&[], GenerationId(9));
        members[1].owned = vec![("t", 0).into()];
        members[1].generation = GenerationId(8);
        let assignment = CooperativeStickyAssignor.assign(&counts(&[("t", 1)]), &members);
        assert_eq!(shown(&assignment, "old"), "t[0]");
    }

    /// KAFKA-2950 and friends: relief may need a chain. `a` can only be relieved over `b`.
    #[test]
    fn balance_is_found_over_a_chain_of_hand_overs() {
        let mut members = [member("a", &["x"]), member("b", &["x", "y"]), member("c", &["y"])];
        members[0].owned = (0..3).map(|p| ("x", p).into()).collect();
        members[1].owned = (0..2).map(|p| ("y", p).into()).collect();
        members.iter_mut().for_each(|member| member.generation = GenerationId(1));
        let mut generation = 1;
        let partitions = counts(&[("x", 3), ("y", 2)]);
        let assignment = settle(&partitions, &mut members, &mut generation);
        let mut loads: Vec<_> = assignment.values().map(Vec::len).collect();
        loads.sort_unstable();
        assert_eq!(loads, [1, 2, 2], "{assignment:?}");
    }

    /// Random groups that gain and lose members, topics and partitions: every partition is assigned once, to someone
    /// who wants it, as balanced as can be; with equal subscriptions within one, and nobody gives up more than needed.
    #[test]
    fn random_groups_stay_complete_balanced_and_sticky() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut generation, equal) = (0, seed % 2 == 0);
            let topics = ["t0", "t1", "t2", "t3"];
            let mut partitions = counts(&[]);
            let mut members: Vec<GroupMember> = vec![];
            for step in 0..12 {
                match random.u8(..4) {
                    0 if members.len() > 1 => drop(members.swap_remove(random.usize(..members.len()))),
                    1 => {
                        let topic = topics[random.usize(..topics.len())];
                        *partitions.entry(topic.into()).or_default() += random.i32(1..9);
                    }
                    _ => {
                        let mut wanted = topics.to_vec();
                        if !equal {
                            random.shuffle(&mut wanted);
                            wanted.truncate(random.usize(1..=topics.len()));
                        }
                        members.push(member(&format!("m{step}"), &wanted));
                    }
                }
                let before = members.clone();
                let assignment = settle(&partitions, &mut members, &mut generation);
                check(&partitions, &before, &assignment, equal, seed);
            }
        }
    }

    fn check(partitions: &PartitionCounts, members: &[GroupMember], assignment: &Assignment, equal: bool, seed: u64) {
        let mut seen = BTreeMap::new();
        for member in members {
            for partition in &assignment[&member.member_id] {
                assert!(member.topics.contains(&partition.topic), "seed {seed}: not subscribed");
                assert!(seen.insert(partition, &member.member_id).is_none(), "seed {seed}: {partition} twice");
            }
        }
        for partition in all_partitions(partitions) {
            let wanted = members.iter().any(|member| member.topics.contains(&partition.topic));
            assert_eq!(seen.contains_key(&partition), wanted, "seed {seed}: {partition}");
        }
        let load = |member: &GroupMember| assignment[&member.member_id].len();
        for (a, b) in members.iter().flat_map(|a| members.iter().map(move |b| (a, b))) {
            let can_give = assignment[&a.member_id].iter().any(|partition| b.topics.contains(&partition.topic));
            assert!(!can_give || load(a) <= load(b) + 1, "seed {seed}: {} could relieve {}", b.member_id, a.member_id);
        }
        if equal && !members.is_empty() {
            let total = seen.len();
            let most = total.div_ceil(members.len());
            for member in members {
                let kept = member.owned.iter().filter(|owned| assignment[&member.member_id].contains(owned)).count();
                let least_kept = member.owned.len().min(total / members.len());
                assert!(kept >= least_kept && load(member) <= most, "seed {seed}: moved more than it had to");
            }
        }
    }

    /// Issue 5: a group of 50 members over 500 partitions; one more moves only what it must.
    #[test]
    fn one_more_member_moves_only_its_share() {
        let (partitions, mut generation) = (counts(&[("a", 250), ("b", 250)]), 0);
        let mut members: Vec<_> = (0..49).map(|n| member(&format!("m{n:02}"), &["a", "b"])).collect();
        settle(&partitions, &mut members, &mut generation);
        members.push(member("m49", &["a", "b"]));
        let before = members.clone();
        let assignment = settle(&partitions, &mut members, &mut generation);
        let moved: usize = before
            .iter()
            .map(|member| member.owned.iter().filter(|p| !assignment[&member.member_id].contains(p)).count())
            .sum();
        assert_eq!((moved, assignment["m49"].len()), (10, 10));
    }
}
