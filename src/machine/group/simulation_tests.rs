//! Random operations on a whole group: members that come, go, fall silent, change their minds and lose answers, against
//! a coordinator written anew from Kafka's rules. What must hold at every step: nothing panics, no deadline is left
//! undone, and a partition's committed offset never goes backwards, whoever commits. And once the trouble is over:
//! every partition has one reader, and all are in one generation. A failure prints its seed.
#![allow(clippy::disallowed_methods, reason = "a test begins somewhere, and moves on by itself")]

mod consumer_coordinator;

use super::sticky::CooperativeStickyAssignor;
use super::tests::T;
use super::*;
use crate::error::ErrorCode;
use crate::ids::OffsetAndMetadata;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::TopicName;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use consumer_coordinator::ConsumerGroup;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 7;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Empty,
    Preparing(Instant),
    Completing,
    Stable,
}

#[derive(Default)]
struct Member {
    protocols: Vec<(String, bytes::Bytes)>,
    last_seen: Option<Instant>,
    /// Who waits for the answer to its JoinGroup or SyncGroup.
    parked: Option<(usize, RequestId)>,
    has_joined: bool,
    assignment: bytes::Bytes,
}

/// One coordinator, after Kafka's GroupCoordinator.
struct Broker {
    phase: Phase,
    generation: i32,
    leader: String,
    members: BTreeMap<String, Member>,
    pending: BTreeSet<String>,
    committed: BTreeMap<i32, i64>,
    /// Of the other protocol.
    consumers: Option<ConsumerGroup>,
    next_id: u32,
    answers: Vec<(usize, RequestId, GroupResponse)>,
}

impl Broker {
    fn ask(&mut self, now: Instant, from: usize, id: RequestId, request: GroupRequest) {
        let code = |code: Option<ErrorCode>| code.map_or(0, ErrorCode::to_wire);
        let answer = match request {
            GroupRequest::FindCoordinator(_) => GroupResponse::FindCoordinator(NodeId(1)),
            GroupRequest::Topics(topics) => {
                let mut found = GroupTopics::default();
                topics.into_iter().for_each(|topic| found.add(topic, PARTITIONS as usize));
                GroupResponse::Topics(found)
            }
            GroupRequest::TopicNames(_) => GroupResponse::TopicNames(match self.answers.len() % 2 {
                0 => vec![(T, "t".into())],
                _ => vec![],
            }),
            GroupRequest::ConsumerGroupHeartbeat(beat) => {
                let group = self.consumers.as_mut().expect("the group is of this protocol");
                GroupResponse::ConsumerGroupHeartbeat(group.heartbeat(now, &beat))
            }
            GroupRequest::JoinGroup(join) => match self.join(now, from, id, join) {
                Ok(()) => return,
                Err((refused, member_id)) => GroupResponse::JoinGroup(
                    JoinGroupResponse::default()
                        .with_error_code(refused.to_wire())
                        .with_member_id(str_bytes(&member_id)),
                ),
            },
            GroupRequest::SyncGroup(sync) => match self.sync(now, from, id, &sync) {
                Ok(()) => return,
                Err(refused) => {
                    GroupResponse::SyncGroup(SyncGroupResponse::default().with_error_code(refused.to_wire()))
                }
            },
            GroupRequest::Heartbeat(beat) => {
                let refused = self.check(now, beat.member_id.as_str(), beat.generation_id).err();
                let refused = refused.or(match self.phase {
                    Phase::Preparing(_) => Some(ErrorCode::RebalanceInProgress),
                    _ => None,
                });
                GroupResponse::Heartbeat(HeartbeatResponse::default().with_error_code(code(refused)))
            }
            GroupRequest::LeaveGroup(leave) => {
                for member in leave.members {
                    self.remove(now, member.member_id.as_str());
                }
                GroupResponse::LeaveGroup(LeaveGroupResponse::default())
            }
            GroupRequest::OffsetCommit(commit) => {
                let mut refused =
                    self.check(now, commit.member_id.as_str(), commit.generation_id_or_member_epoch).err();
                if refused.is_none() && self.phase == Phase::Completing {
                    refused = Some(ErrorCode::RebalanceInProgress);
                }
                let mut partitions = vec![];
                for partition in &commit.topics[0].partitions {
                    if refused.is_none() {
                        let (number, offset) = (partition.partition_index, partition.committed_offset);
                        let before = self.committed.insert(number, offset).unwrap_or(0);
                        assert!(before <= offset, "partition {number} went back from {before} to {offset}");
                    }
                    let answered =
                        OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
                    partitions.push(answered.with_error_code(code(refused)));
                }
                let topic = OffsetCommitResponseTopic::default().with_name(TopicName(str_bytes("t")));
                let topics = vec![topic.with_partitions(partitions)];
                GroupResponse::OffsetCommit(OffsetCommitResponse::default().with_topics(topics))
            }
            GroupRequest::OffsetFetch(fetch) => {
                let asker = &fetch.groups[0];
                let refused = match (&self.consumers, &asker.member_id) {
                    (Some(group), Some(member)) => group.check(member.as_str(), asker.member_epoch).err(),
                    _ => None,
                };
                let numbers = fetch.groups[0].topics.as_ref().unwrap()[0].partition_indexes.iter();
                let partitions = numbers.map(|number| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*number)
                        .with_committed_offset(self.committed.get(number).copied().unwrap_or(-1))
                });
                let topic = OffsetFetchResponseTopics::default().with_name(TopicName(str_bytes("t")));
                let topics = vec![topic.with_partitions(partitions.collect())];
                let group = OffsetFetchResponseGroup::default().with_topics(topics).with_error_code(code(refused));
                GroupResponse::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]))
            }
        };
        self.answers.push((from, id, answer));
    }

    fn check(&mut self, now: Instant, member: &str, generation: i32) -> Result<(), ErrorCode> {
        if let Some(group) = &self.consumers {
            return group.check(member, generation);
        }
        let member = self.members.get_mut(member).ok_or(ErrorCode::UnknownMemberId)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        member.last_seen = Some(now);
        Ok(())
    }

    fn join(
        &mut self,
        now: Instant,
        from: usize,
        id: RequestId,
        join: JoinGroupRequest,
    ) -> Result<(), (ErrorCode, String)> {
        let mut member_id = join.member_id.to_string();
        if member_id.is_empty() {
            self.next_id += 1;
            member_id = format!("member-{}", self.next_id);
            self.pending.insert(member_id.clone());
            return Err((ErrorCode::MemberIdRequired, member_id));
        }
        if !self.members.contains_key(&member_id) && !self.pending.remove(&member_id) {
            return Err((ErrorCode::UnknownMemberId, member_id));
        }
        let member = self.members.entry(member_id).or_default();
        member.protocols = join.protocols.iter().map(|p| (p.name.to_string(), p.metadata.clone())).collect();
        member.parked = Some((from, id));
        member.has_joined = true;
        member.last_seen = Some(now);
        self.prepare(now);
        self.complete(now);
        Ok(())
    }

    fn prepare(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Preparing(_)) {
            return;
        }
        for member in self.members.values_mut().filter(|_| self.phase == Phase::Completing) {
            // Whoever waits for SyncGroup has to join again; the one whose JoinGroup began this still waits for that.
            if let Some((from, id)) = member.parked.filter(|_| !member.has_joined) {
                member.parked = None;
                let answer = SyncGroupResponse::default().with_error_code(ErrorCode::RebalanceInProgress.to_wire());
                self.answers.push((from, id, GroupResponse::SyncGroup(answer)));
            }
        }
        self.phase = Phase::Preparing(now + REBALANCE);
    }

    fn complete(&mut self, now: Instant) {
        let Phase::Preparing(deadline) = self.phase else { return };
        if now >= deadline {
            self.members.retain(|_, member| member.has_joined);
        }
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            return;
        }
        if !self.members.values().all(|member| member.has_joined) {
            return;
        }
        self.generation += 1;
        self.phase = Phase::Completing;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().unwrap().clone();
        }
        let protocol = &self.members[&self.leader].protocols[0].0;
        let answer = JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_name(Some(str_bytes(protocol)))
            .with_leader(str_bytes(&self.leader));
        let all = self.members.iter().map(|(id, member)| {
            JoinGroupResponseMember::default()
                .with_member_id(str_bytes(id))
                .with_metadata(member.protocols[0].1.clone())
        });
        let all: Vec<_> = all.collect();
        for (member_id, member) in &mut self.members {
            member.has_joined = false;
            member.last_seen = Some(now);
            member.assignment = bytes::Bytes::new();
            if let Some((from, id)) = member.parked.take() {
                let members = if *member_id == self.leader { all.clone() } else { vec![] };
                let answer = answer.clone().with_member_id(str_bytes(member_id)).with_members(members);
                self.answers.push((from, id, GroupResponse::JoinGroup(answer)));
            }
        }
    }

    fn sync(&mut self, now: Instant, from: usize, id: RequestId, sync: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check(now, sync.member_id.as_str(), sync.generation_id)?;
        match self.phase {
            Phase::Preparing(_) => return Err(ErrorCode::RebalanceInProgress),
            Phase::Completing if sync.member_id.as_str() == self.leader => {
                for given in &sync.assignments {
                    if let Some(member) = self.members.get_mut(given.member_id.as_str()) {
                        member.assignment = given.assignment.clone();
                    }
                }
                self.phase = Phase::Stable;
            }
            _ => {}
        }
        self.members.get_mut(sync.member_id.as_str()).unwrap().parked = Some((from, id));
        if self.phase == Phase::Stable {
            for member in self.members.values_mut() {
                if let Some((from, id)) = member.parked.take() {
                    let answer = SyncGroupResponse::default().with_assignment(member.assignment.clone());
                    self.answers.push((from, id, GroupResponse::SyncGroup(answer)));
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, now: Instant, member: &str) {
        if self.members.remove(member).is_some() {
            self.prepare(now);
            self.complete(now);
        }
    }

    fn tick(&mut self, now: Instant) {
        let silent =
            |member: &Member| member.parked.is_none() && member.last_seen.is_some_and(|at| now >= at + SESSION);
        let silent: Vec<_> = self.members.iter().filter(|(_, m)| silent(m)).map(|(id, _)| id.clone()).collect();
        silent.iter().for_each(|id| self.remove(now, id));
        self.complete(now);
        self.consumers.iter_mut().for_each(|group| group.tick(now));
    }

    /// Whether all is as it should be in a group of so many members.
    fn is_settled(&self, members: usize) -> bool {
        match &self.consumers {
            Some(group) => group.is_settled(members),
            None => self.phase == Phase::Stable && self.members.len() == members,
        }
    }
}

type Started = Arc<Mutex<Vec<(u64, BTreeMap<i32, i64>)>>>;

/// An application: reads on from what is committed, commits what it has read.
struct App {
    machine: ConsumerCoordinator,
    /// What it reads, and from which assignment.
    positions: BTreeMap<i32, (u64, Option<i64>)>,
    revoking: Option<(RevocationId, Vec<i32>, Instant)>,
    rounds: u64,
    started: Started,
    /// Not driven before this: the process hangs.
    frozen: Option<Instant>,
}

struct World {
    now: Instant,
    random: fastrand::Rng,
    broker: Broker,
    apps: BTreeMap<usize, App>,
    next_app: usize,
    /// On their way: to the broker, and back.
    calls: Vec<(Instant, usize, RequestId, GroupRequest)>,
    answers: Vec<(Instant, usize, RequestId, Result<GroupResponse, Error>)>,
    trouble: bool,
}

impl World {
    fn new(seed: u64, protocol: GroupProtocol) -> Self {
        let broker = Broker {
            consumers: (protocol == GroupProtocol::Consumer).then(ConsumerGroup::default),
            phase: Phase::Empty,
            generation: 0,
            leader: String::new(),
            members: BTreeMap::new(),
            pending: BTreeSet::new(),
            committed: BTreeMap::new(),
            next_id: 0,
            answers: vec![],
        };
        Self {
            now: Instant::now(),
            random: fastrand::Rng::with_seed(seed),
            broker,
            apps: BTreeMap::new(),
            next_app: 0,
            calls: vec![],
            answers: vec![],
            trouble: true,
        }
    }

    fn start_member(&mut self, assignor: Option<Arc<dyn Assignor>>) {
        let config = GroupConfig {
            group_id: "g".into(),
            instance_id: None,
            rack: None,
            protocol: if assignor.is_some() { GroupProtocol::Classic } else { GroupProtocol::Consumer },
            remote_assignor: None,
            session_timeout: SESSION,
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: REBALANCE,
            request_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            assignors: assignor.into_iter().collect(),
            seed: self.random.u64(..),
        };
        let mut machine = ConsumerCoordinator::new(self.now, config);
        machine.subscribe(self.now, SubscribedTopics::names(vec!["t".into()]));
        let app = App {
            machine,
            positions: BTreeMap::new(),
            revoking: None,
            rounds: 0,
            started: Started::default(),
            frozen: None,
        };
        self.apps.insert(self.next_app, app);
        self.next_app += 1;
    }

    fn run(&mut self, wait: Duration) {
        let end = self.now + wait;
        while self.now < end {
            self.now += Duration::from_millis(self.random.u64(5..60));
            self.deliver();
            for number in self.apps.keys().copied().collect::<Vec<_>>() {
                self.step(number);
            }
            self.broker.tick(self.now);
            for (to, id, answer) in std::mem::take(&mut self.broker.answers) {
                let lost = self.trouble && self.random.u8(..) < 4;
                let answer = if lost { Err(Error::new(ErrorKind::Connection)) } else { Ok(answer) };
                let delay = Duration::from_millis(self.random.u64(1..40));
                self.answers.push((self.now + delay, to, id, answer));
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, _) = std::mem::take(&mut self.calls).into_iter().partition(|call| call.0 <= now);
        self.calls = later;
        for (_, from, id, request) in due {
            self.broker.ask(now, from, id, request);
        }
        let (due, later): (Vec<_>, _) =
            std::mem::take(&mut self.answers).into_iter().partition(|answer| answer.0 <= now);
        self.answers = later;
        for (_, to, id, answer) in due {
            match self.apps.get_mut(&to) {
                Some(app) if app.frozen.is_none() => app.machine.handle_response(now, id, answer),
                Some(app) => self.answers.push((app.frozen.unwrap_or(now), to, id, answer)),
                None => {}
            }
        }
    }

    fn step(&mut self, number: usize) {
        let (now, random) = (self.now, &mut self.random);
        let Some(app) = self.apps.get_mut(&number) else { return };
        if app.frozen.is_some_and(|until| now < until) {
            return;
        }
        app.frozen = None;
        if app.machine.poll_timeout().is_some_and(|at| at <= now) {
            app.machine.handle_timeout(now);
            assert!(
                app.machine.poll_timeout().is_none_or(|at| at > now),
                "a deadline is left undone: {:?}",
                app.machine
            );
        }
        if random.u8(..) < 30 {
            app.poll(now);
        }
        if app.revoking.as_ref().is_some_and(|revoking| now >= revoking.2)
            && let Some((id, partitions, _)) = app.revoking.take()
        {
            app.commit(now, &partitions);
            app.positions.retain(|partition, _| !partitions.contains(partition));
            app.machine.revoked(now, id);
        }
        app.events(now, random);
        while let Some((id, call)) = app.machine.poll_request() {
            let delay = Duration::from_millis(random.u64(1..40));
            if self.trouble && random.u8(..) < 4 {
                self.answers.push((now + delay, number, id, Err(Error::new(ErrorKind::Timeout))));
            } else {
                self.calls.push((now + delay, number, id, call.request));
            }
        }
        if app.machine.is_closed() {
            self.apps.remove(&number);
        }
    }
}

impl App {
    /// Reads a few records, commits now and then.
    fn poll(&mut self, now: Instant) {
        self.machine.polled(now);
        for (round, offsets) in std::mem::take(&mut *self.started.lock().unwrap()) {
            for (partition, offset) in offsets {
                if let Some(position) = self.positions.get_mut(&partition).filter(|position| position.0 == round) {
                    position.1 = Some(offset);
                }
            }
        }
        self.positions.values_mut().for_each(|position| position.1 = position.1.map(|offset| offset + 1));
        let all: Vec<_> = self.positions.keys().copied().collect();
        self.commit(now, &all);
    }

    fn commit(&mut self, now: Instant, partitions: &[i32]) {
        let offsets = partitions.iter().filter_map(|partition| {
            let offset = self.positions.get(partition)?.1?;
            Some((("t", *partition).into(), OffsetAndMetadata::new(offset)))
        });
        let offsets: HashMap<_, _> = offsets.collect();
        if !offsets.is_empty() {
            self.machine.commit_known(now, offsets, now + Duration::from_secs(20), None);
        }
    }

    fn events(&mut self, now: Instant, random: &mut fastrand::Rng) {
        let numbers = |partitions: Vec<TopicPartition>| partitions.iter().map(|p| p.partition).collect::<Vec<_>>();
        while let Some((_, event)) = self.machine.poll_event() {
            match event {
                GroupEvent::Assigned { partitions, .. } => {
                    self.rounds += 1;
                    let (round, started) = (self.rounds, self.started.clone());
                    for partition in &partitions {
                        let before = self.positions.insert(partition.partition, (round, None));
                        assert!(before.is_none(), "{partition} assigned twice");
                    }
                    if partitions.is_empty() {
                        continue;
                    }
                    let all = numbers(partitions.clone());
                    let reply: Reply<Committed> = Box::new(move |outcome| {
                        let Ok(committed) = outcome else { return };
                        let at = |number: i32| match committed.get(&("t", number).into()) {
                            Some(Ok(offset)) => offset.offset,
                            _ => 0,
                        };
                        let offsets = all.iter().map(|number| (*number, at(*number))).collect();
                        started.lock().unwrap().push((round, offsets));
                    });
                    self.machine.fetch_offsets(now, partitions, now + Duration::from_secs(3600), reply);
                }
                GroupEvent::Generation { .. } => {}
                GroupEvent::Revoking { id, partitions, .. } => {
                    let takes = Duration::from_millis(random.u64(0..3000));
                    self.revoking = Some((id, numbers(partitions), now + takes));
                }
                GroupEvent::Lost(partitions) => {
                    let lost = numbers(partitions);
                    self.positions.retain(|number, _| !lost.contains(number));
                    self.revoking = None;
                }
                GroupEvent::Failed(error) => panic!("failed: {error}"),
            }
        }
    }
}

/// Without an assignor the coordinator assigns.
fn play(seed: u64, assignor: impl Fn() -> Option<Arc<dyn Assignor>>) {
    let protocol = if assignor().is_some() { GroupProtocol::Classic } else { GroupProtocol::Consumer };
    let mut world = World::new(seed, protocol);
    world.start_member(assignor());
    for _ in 0..25 {
        let numbers: Vec<_> = world.apps.keys().copied().collect();
        let some = numbers.get(world.random.usize(..numbers.len().max(1))).copied();
        match (world.random.u8(..10), some) {
            (0..3, _) if numbers.len() < 5 => world.start_member(assignor()),
            (3, Some(some)) => {
                let app = world.apps.get_mut(&some).unwrap();
                app.machine.close(world.now, world.now + Duration::from_secs(2));
            }
            // kill -9
            (4, Some(some)) => drop(world.apps.remove(&some)),
            // SIGSTOP, at times past the session timeout
            (5, Some(some)) => {
                let wait = Duration::from_millis(world.random.u64(500..25_000));
                world.apps.get_mut(&some).unwrap().frozen = Some(world.now + wait);
            }
            _ => {}
        }
        let wait = Duration::from_millis(world.random.u64(100..8000));
        world.run(wait);
    }
    world.trouble = false;
    world.start_member(assignor());
    world.run(Duration::from_secs(120));
    let mut readers = BTreeMap::new();
    for (number, app) in &world.apps {
        for partition in app.positions.keys() {
            assert_eq!(readers.insert(*partition, *number), None, "partition {partition} has two readers");
        }
    }
    assert_eq!(readers.len(), PARTITIONS as usize, "partitions without a reader: {readers:?}");
    assert!(world.broker.is_settled(world.apps.len()), "not settled in two minutes");
    let before = world.broker.committed.clone();
    world.run(Duration::from_secs(20));
    assert!(before.iter().all(|(p, offset)| world.broker.committed[p] > *offset), "a partition stands still");
}

/// `SEEDS=1000` plays more, `SEED=7` that one.
fn each_seed(scenario: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(15),
    };
    for seed in seeds {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(seed)));
        assert!(played.is_ok(), "failed with SEED={seed}");
    }
}

#[test]
fn a_cooperative_group_survives_random_trouble() {
    each_seed(|seed| play(seed, || Some(Arc::new(CooperativeStickyAssignor))));
}

#[test]
fn an_eager_group_survives_random_trouble() {
    each_seed(|seed| play(seed, || Some(Arc::new(range::RangeAssignor))));
}

#[test]
fn a_consumer_group_survives_random_trouble() {
    each_seed(|seed| play(seed, || None));
}
