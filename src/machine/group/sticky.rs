//! `cooperative-sticky` (KIP-429) and `sticky` (KIP-54): as balanced as subscriptions allow, moving as little as
//! possible. The cooperative one never gives a partition to a second member before the first has let go of it; with the
//! other everybody lets go of everything first, and remembers.
//!
//! One algorithm for equal and for mixed subscriptions:
//! 1. *Claims*: what members say they own. The highest generation wins; two claims of the same generation can't both be
//!    true, and neither is believed (KIP-792).
//! 2. *Placing*: what nobody claims goes to the least loaded member that subscribes to it.
//! 3. *Balancing*: while a member has two more than another that could take one of its partitions, directly or by
//!    passing one on over others, one moves. Each move lowers the sum of the squared loads, so this ends; it ends where
//!    no member can be relieved, which is as balanced as can be.
//! 4. *Nearness* (KIP-881): where racks are known, what would be far from its member goes to one that is near, if that
//!    costs no balance. What is held stays where it is, near or far: unlike Java's, for which nearness comes first.
//! 5. *Letting go* (cooperative): a partition that someone else still holds is left out; its holder sees that it is no
//!    longer its own, gives it up and rejoins, and the next round hands it on.

mod plan;

use super::assignor::{Assignment, Assignor, GroupMember, Joining, RebalanceProtocol};
use super::group_topics::GroupTopics;
use crate::ids::{GenerationId, TopicPartition};
use crate::wire::group_protocol::{decode_sticky, encode_sticky};
use bytes::{Buf, Bytes};
use plan::Plan;

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
    fn user_data(&self, member: &Joining<'_>) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&member.generation.0.to_be_bytes()))
    }

    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
        let mut plan = Plan::new(topics, members, true, |member| (member.owned.clone(), claimed_in(member)));
        plan.settle();
        plan.into_assignment()
    }
}

/// Java's and librdkafka's `sticky`, which is eager: what members had they say in their user data.
#[derive(Debug, Clone, Copy, Default)]
pub struct StickyAssignor;

impl Assignor for StickyAssignor {
    fn name(&self) -> &str {
        "sticky"
    }

    fn user_data(&self, member: &Joining<'_>) -> Option<Bytes> {
        encode_sticky(member.assigned, member.generation).ok()
    }

    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
        let mut plan = Plan::new(topics, members, false, remembered);
        plan.settle();
        plan.into_assignment()
    }
}

fn remembered(member: &GroupMember) -> (Vec<TopicPartition>, GenerationId) {
    let Some(data) = &member.user_data else { return (vec![], GenerationId::NONE) };
    decode_sticky(data.clone()).unwrap_or_else(|error| {
        tracing::warn!(member = %member.member_id, %error, "what it had is not known");
        (vec![], GenerationId::NONE)
    })
}

/// The generation that a member's claims are from: its own field, or the user data of members too old to have it.
fn claimed_in(member: &GroupMember) -> GenerationId {
    match &member.user_data {
        _ if member.generation != GenerationId::NONE => member.generation,
        Some(data) => data.clone().try_get_i32().map_or(GenerationId::NONE, GenerationId),
        None => GenerationId::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::assignor::tests::{at, counts, member, racked, shown};
    use super::*;
    use std::collections::BTreeMap;

    /// Runs rounds of a group until nothing moves: what a member is given it owns in the next generation; what it is
    /// not given it gives up. Two rounds hand over, the third confirms; with mixed subscriptions a fourth may find better.
    fn settle(partitions: &GroupTopics, members: &mut [GroupMember], generation: &mut i32) -> Assignment {
        for _ in 0..5 {
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
        panic!("does not settle in five rounds: {members:?}");
    }

    fn joining(assigned: &[TopicPartition], generation: i32) -> Joining<'_> {
        Joining { topics: &[], generation: GenerationId(generation), assigned }
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
        members[0].user_data = CooperativeStickyAssignor.user_data(&joining(&[], 9));
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
                        partitions.add(topic, partitions.partition_count(topic) + random.usize(1..9));
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

    fn check(partitions: &GroupTopics, members: &[GroupMember], assignment: &Assignment, equal: bool, seed: u64) {
        let mut seen = BTreeMap::new();
        for member in members {
            for partition in &assignment[&member.member_id] {
                assert!(member.topics.contains(&partition.topic), "seed {seed}: not subscribed");
                assert!(seen.insert(partition, &member.member_id).is_none(), "seed {seed}: {partition} twice");
            }
        }
        for partition in partitions.partitions() {
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

    /// Everybody has let go of everything, and gets back what it had.
    #[test]
    fn members_of_the_eager_one_get_back_what_they_remember() {
        let topics = counts(&[("t", 6)]);
        let mut members = [member("a", &["t"]), member("b", &["t"]), member("c", &["t"])];
        let remember = |member: &mut GroupMember, numbers: &[i32], generation| {
            let assigned: Vec<TopicPartition> = numbers.iter().map(|number| ("t", *number).into()).collect();
            member.user_data = StickyAssignor.user_data(&joining(&assigned, generation));
        };
        remember(&mut members[0], &[1, 3, 5], 7);
        remember(&mut members[1], &[0, 2, 4], 7);
        let assignment = StickyAssignor.assign(&topics, &members);
        let all: Vec<_> = assignment.values().map(Vec::len).collect();
        assert_eq!(all, [2, 2, 2], "at once, there is nobody to wait for");
        assert!(assignment["a"].iter().all(|kept| kept.partition % 2 == 1), "{assignment:?}");
        assert!(assignment["b"].iter().all(|kept| kept.partition % 2 == 0), "{assignment:?}");
        remember(&mut members[2], &[1, 3], 6);
        let stale = StickyAssignor.assign(&topics, &members);
        assert_eq!(stale["a"], assignment["a"], "an older generation has no say");
        members[1].user_data = Some(Bytes::from_static(b"\x7f\xff\xff\xff"));
        assert!(StickyAssignor.assign(&topics, &members).values().all(|assigned| assigned.len() == 2));
    }

    fn near(topics: &GroupTopics, member: &GroupMember, assignment: &Assignment) -> usize {
        let racks = assignment[&member.member_id].iter().filter_map(|partition| topics.racks(partition));
        racks.filter(|racks| member.rack.as_ref().is_some_and(|rack| racks.contains(rack))).count()
    }

    /// KIP-881: no balance is given up for it, and what is held does not move for it.
    #[test]
    fn what_is_free_goes_to_members_near_its_replicas() {
        let topics = racked(&[("t", &["a", "a", "b", "b", "c", "c"]), ("u", &["a", "b", "c"])]);
        let mut members = vec![at("m1", "c", &["t", "u"]), at("m2", "a", &["t", "u"])];
        let mut generation = 1;
        let settled = settle(&topics, &mut members, &mut generation);
        assert_eq!(members.iter().map(|member| near(&topics, member, &settled)).sum::<usize>(), 6, "{settled:?}");
        members[1].rack = Some("b".into());
        assert_eq!(settle(&topics, &mut members, &mut generation), settled, "held is held");
        members.push(at("m3", "a", &["t", "u"]));
        let three = settle(&topics, &mut members, &mut generation);
        assert_eq!((three["m3"].len(), near(&topics, &members[2], &three)), (3, 1), "{three:?}");
        let eager = settled_eagerly(&topics, &mut members);
        assert_eq!(members.iter().map(|member| near(&topics, member, &eager)).sum::<usize>(), 9, "{eager:?}");
    }

    fn settled_eagerly(topics: &GroupTopics, members: &mut [GroupMember]) -> Assignment {
        let first = StickyAssignor.assign(topics, members);
        for member in members.iter_mut() {
            member.user_data = StickyAssignor.user_data(&joining(&first[&member.member_id], 1));
        }
        assert_eq!(StickyAssignor.assign(topics, members), first, "it stays");
        first
    }

    #[test]
    fn random_groups_with_racks_settle_balanced() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let rack = |random: &mut fastrand::Rng| ["a", "b", "c"][random.usize(..3)];
            let (mut topics, mut generation) = (GroupTopics::default(), 0);
            for topic in ["t0", "t1", "t2"] {
                let racks =
                    (0..random.usize(1..9)).map(|_| [rack(&mut random).into(), rack(&mut random).into()].into());
                topics.insert(topic, racks.collect());
            }
            let mut members = vec![];
            for number in 0..random.usize(1..6) {
                let mut wanted = vec!["t0", "t1", "t2"];
                wanted.truncate(random.usize(1..=3));
                members.push(at(&format!("m{number}"), rack(&mut random), &wanted));
                let before = members.clone();
                let assignment = settle(&topics, &mut members, &mut generation);
                check(&topics, &before, &assignment, false, seed);
                let eager = settled_eagerly(&topics, &mut members);
                check(&topics, &members, &eager, false, seed);
                members.iter_mut().for_each(|member| member.user_data = None);
            }
        }
    }
}
