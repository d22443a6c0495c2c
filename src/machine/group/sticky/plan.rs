//! How a sticky assignment is found: the steps of [`sticky`](super), on numbers.

use crate::ids::{GenerationId, TopicPartition};
use crate::machine::group::assignor::{Assignment, GroupMember, all_topics, is_near, racks_matter};
use crate::machine::group::group_topics::{GroupTopics, Racks};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Members and topics by index, so that the loops below compare numbers.
pub(super) struct Plan<'a> {
    members: &'a [GroupMember],
    hands_over: bool,
    partitions: Vec<TopicPartition>,
    /// By partition: where its replicas are, if that makes a difference.
    racks: Option<Vec<Racks>>,
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
    /// `hands_over`: who has something must let go of it before another gets it. `claim`: what a member says it has, and
    /// of which generation.
    pub(super) fn new(
        topics: &GroupTopics,
        members: &'a [GroupMember],
        hands_over: bool,
        claim: impl Fn(&GroupMember) -> (Vec<TopicPartition>, GenerationId),
    ) -> Self {
        let wanted = all_topics(members);
        let (mut partitions, mut racks, mut topic_of, mut by_name) = (vec![], vec![], vec![], HashMap::new());
        for partition in topics.partitions().filter(|partition| wanted.contains(&partition.topic)) {
            let next = by_name.len();
            topic_of.push(*by_name.entry(partition.topic.clone()).or_insert(next));
            racks.push(topics.racks(&partition).cloned().unwrap_or_default());
            partitions.push(partition);
        }
        let index: HashMap<_, _> = partitions.iter().enumerate().map(|(index, partition)| (partition, index)).collect();
        let mut subscribers = vec![vec![]; by_name.len()];
        let mut claims = vec![vec![]; partitions.len()];
        for (m, member) in members.iter().enumerate() {
            for topic in member.topics.iter().collect::<BTreeSet<_>>() {
                if let Some(topic) = by_name.get(topic) {
                    subscribers[*topic].push(m);
                }
            }
            let (claimed, generation) = claim(member);
            for claimed in claimed.iter().collect::<BTreeSet<_>>() {
                if let Some(partition) = index.get(claimed) {
                    claims[*partition].push((m, generation));
                }
            }
        }
        Self {
            racks: racks_matter(racks.iter(), members.iter()).then_some(racks),
            members,
            hands_over,
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

    /// Makes the plan.
    pub(super) fn settle(&mut self) {
        self.keep_claims();
        self.place_unassigned();
        // Balancing lowers the sum of the squared loads; nearness keeps that and brings more near. So this ends.
        loop {
            self.balance();
            if !self.bring_near() {
                return;
            }
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
        let mut left: Vec<_> =
            (0..self.partitions.len()).filter(|partition| self.owner[*partition].is_none()).collect();
        left.sort_by_key(|partition| self.subscribers[self.topic_of[*partition]].len());
        for partition in left {
            let takers = self.subscribers[self.topic_of[partition]].iter().copied();
            if let Some(member) = takers.min_by_key(|member| (self.load[*member], !self.is_near(partition, *member))) {
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

    /// Which partition of a topic to move: one that comes home, else one that its holder did not have before, else
    /// one that comes near, else one that is far where it is, else any.
    fn cheapest(&self, giver: usize, topic: usize, taker: usize) -> Option<usize> {
        let held = self.held[giver].get(&topic)?;
        held.iter().copied().min_by_key(|partition| {
            let home = self.believed[*partition];
            let far = (!self.is_near(*partition, taker), self.is_near(*partition, giver));
            (home != Some(taker), home == Some(giver), far, std::cmp::Reverse(*partition))
        })
    }

    fn is_near(&self, partition: usize, member: usize) -> bool {
        self.racks.as_ref().is_none_or(|racks| is_near(&self.members[member], racks.get(partition)))
    }

    /// Gives partitions to members that are near a replica (KIP-881), where that costs no balance: to one that has less,
    /// or in exchange for one that is no nearer where it is. Whether any moved.
    fn bring_near(&mut self) -> bool {
        let mut moved = false;
        for partition in 0..self.partitions.len() {
            let Some(from) = self.owner[partition].filter(|owner| !self.is_near(partition, *owner)) else { continue };
            if self.may_move(partition)
                && let Some((to, back)) = self.nearer(partition, from)
            {
                self.give(partition, to);
                back.into_iter().for_each(|other| self.give(other, from));
                moved = true;
            }
        }
        moved
    }

    fn nearer(&self, partition: usize, from: usize) -> Option<(usize, Option<usize>)> {
        let takers = &self.subscribers[self.topic_of[partition]];
        let near = || takers.iter().copied().filter(|taker| self.is_near(partition, *taker));
        if let Some(to) = near().filter(|to| self.load[*to] < self.load[from]).min_by_key(|to| self.load[*to]) {
            return Some((to, None));
        }
        let back = |to: usize| {
            let topics = self.held[to].iter().filter(|(topic, _)| self.subscribers[**topic].contains(&from));
            let mut held = topics.flat_map(|(_, held)| held.iter().copied()).filter(|other| self.may_move(*other));
            held.find(|other| self.is_near(*other, from) || !self.is_near(*other, to))
        };
        near().find_map(|to| Some((to, Some(back(to)?))))
    }

    /// What is held moves for the sake of balance alone. With one round to let go and one to hand on, in which the plan
    /// is made anew, a search for the nearest might never come to an end.
    fn may_move(&self, partition: usize) -> bool {
        !self.hands_over || self.believed[partition].is_none()
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

    /// The plan, as of now: what another still holds is left out, until it has let go.
    pub(super) fn into_assignment(self) -> Assignment {
        let mut assignment: Assignment = self.members.iter().map(|member| (member.member_id.clone(), vec![])).collect();
        for (partition, owner) in self.owner.iter().enumerate() {
            let Some(owner) = *owner else { continue };
            let held_by_another = self.claims[partition].iter().any(|(claimer, _)| *claimer != owner);
            if self.hands_over && held_by_another && self.believed[partition] != Some(owner) {
                continue;
            }
            if let Some(assigned) = assignment.get_mut(&self.members[owner].member_id) {
                assigned.push(self.partitions[partition].clone());
            }
        }
        assignment
    }
}
