//! A member of a group, of either protocol, whose application does anything at any time and whose coordinator answers
//! anything: every code, members and assignments that make no sense, nothing at all. Answers of one connection come in the order
//! of its requests, as they do over the wire.
//!
//! What must hold: nothing spins and no deadline is left undone; a partition is assigned only to who has not got it, revoked
//! or lost only from who has; one heartbeat at a time; the generation never goes back; when the coordinator comes to its senses
//! the member gets everything; a close ends by its deadline, and by then everything asked has had one answer.

use super::Choices;
use bytes::Bytes;
use milena::error::{Error, ErrorKind};
use milena::ids::{NodeId, OffsetAndMetadata, TopicId, TopicPartition};
use milena::machine::group::assignor::{Assignor, RoundRobinAssignor};
use milena::machine::group::group_topics::GroupTopics;
use milena::machine::group::membership::{SubscribedTopics, Tenure};
use milena::machine::group::range::RangeAssignor;
use milena::machine::group::sticky::{CooperativeStickyAssignor, StickyAssignor};
use milena::machine::group::{
    ConsumerCoordinator, GroupConfig, GroupEvent, GroupProtocol, GroupRequest, GroupResponse, RevocationId, To,
};
use milena::machine::offset_commit::Commit;
use milena::machine::{Machine, RequestId};
use milena::wire::group_protocol::{Subscription, encode_assignment, str_bytes};
use milena::wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use milena::wire::messages::join_group_response::JoinGroupResponseMember;
use milena::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena::wire::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse,
    OffsetCommitResponse, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What there is: name, id, number of partitions.
const TOPICS: [(&str, TopicId, i32); 2] = [("a", TopicId([1; 16]), 2), ("b", TopicId([2; 16]), 1)];
const NAMELESS: TopicId = TopicId([3; 16]);
/// Codes that a coordinator has reasons to answer; any other is tried more seldom.
const CODES: [i16; 18] = [14, 15, 16, 22, 23, 25, 26, 27, 30, 79, 81, 82, 110, 111, 112, 113, 88, 35];

/// Plays what the bytes say, to its end.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&mut choices);
    while let Some(operation) = choices.next_byte() {
        world.operate(operation, &mut choices);
        world.settle();
    }
    world.recovers();
    world.closes();
}

struct Pending {
    id: RequestId,
    to: To,
    request: GroupRequest,
    deadline: Instant,
    /// How often the coordinator had moved when it was asked.
    stint: u32,
    /// How often the coordinator had been looked for.
    lookups: u32,
}

struct World {
    now: Instant,
    protocol: GroupProtocol,
    machine: ConsumerCoordinator,
    /// In the order in which they were asked.
    pending: Vec<Pending>,
    stint: u32,
    lookups: u32,
    coordinator: i32,
    /// The newest that the coordinator has said.
    generation: i32,
    /// Once it is well: the one that it goes by.
    well: Option<i32>,
    /// The newest that the application was told.
    seen: i32,
    round: u64,
    subscribed: BTreeSet<&'static str>,
    failed: bool,
    owned: BTreeSet<TopicPartition>,
    tenures: BTreeMap<TopicPartition, Tenure>,
    revoking: Option<(RevocationId, Vec<TopicPartition>)>,
    /// Acknowledged; the machine may still have to wait for commits.
    let_go: BTreeSet<TopicPartition>,
    replies: Vec<Arc<AtomicUsize>>,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let now = Instant::now();
        let protocol = choices.pick(&[GroupProtocol::Classic, GroupProtocol::Consumer]);
        let assignors: Vec<Arc<dyn Assignor>> = match choices.below(4) {
            0 => vec![Arc::new(CooperativeStickyAssignor)],
            1 => vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)],
            2 => vec![Arc::new(StickyAssignor)],
            _ => vec![Arc::new(RoundRobinAssignor)],
        };
        let config = GroupConfig {
            group_id: "g".into(),
            instance_id: choices.one_in(4).then(|| "static".into()),
            rack: None,
            protocol,
            remote_assignor: None,
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(choices.pick(&[60, 300])),
            request_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            assignors,
            seed: 7,
        };
        Self {
            now,
            protocol,
            machine: ConsumerCoordinator::new(now, config),
            pending: Vec::new(),
            stint: 0,
            lookups: 0,
            coordinator: -1,
            generation: 0,
            well: None,
            seen: -1,
            round: 0,
            subscribed: BTreeSet::new(),
            failed: false,
            owned: BTreeSet::new(),
            tenures: BTreeMap::new(),
            revoking: None,
            let_go: BTreeSet::new(),
            replies: Vec::new(),
        }
    }

    fn operate(&mut self, operation: u8, choices: &mut Choices<'_>) {
        let now = self.now;
        match operation % 16 {
            0 => self.subscribe(choices.pick(&[&["a"][..], &["a", "b"], &["b"]])),
            1 if choices.one_in(3) => {
                self.machine.unsubscribe(now);
                self.round += 1;
                (self.revoking, self.failed) = (None, false);
                (self.subscribed, self.owned, self.let_go) = Default::default();
            }
            2 => self.machine.polled(now),
            3 => self.acknowledge(),
            4 => {
                // A late one, or nonsense.
                let id = RevocationId(choices.below(6).into());
                if self.revoking.as_ref().is_none_or(|revoking| revoking.0 != id) {
                    self.machine.revoked(now, id);
                }
            }
            5 => {
                let meant = self.some_partitions(choices).into_iter().map(|one| {
                    let tenure = self.tenures.get(&one).filter(|_| self.owned.contains(&one)).copied();
                    (one, (OffsetAndMetadata::new(7), tenure))
                });
                let commit =
                    Commit::new(meant.collect::<Vec<_>>(), now + Duration::from_secs(20)).awaited(self.reply());
                self.machine.commit(now, if choices.one_in(2) { commit.whole() } else { commit });
            }
            6 => {
                let (partitions, reply) = (self.some_partitions(choices), self.reply());
                self.machine.fetch_offsets(now, partitions, now + Duration::from_secs(20), reply);
            }
            7 => self.pass(choices.pick(&[50, 500, 3_000, 10_000, 70_000])),
            8 => self.pass(20),
            _ => self.answer_one(choices),
        }
    }

    fn subscribe(&mut self, topics: &[&'static str]) {
        self.subscribed = topics.iter().copied().collect();
        self.failed = false;
        let names = topics.iter().map(|topic| Arc::from(*topic)).collect();
        self.machine.subscribe(self.now, SubscribedTopics::names(names));
    }

    fn acknowledge(&mut self) {
        if let Some((id, partitions)) = self.revoking.take() {
            self.owned.retain(|partition| !partitions.contains(partition));
            self.let_go.extend(partitions);
            self.machine.revoked(self.now, id);
        }
    }

    fn reply<T: 'static>(&mut self) -> Box<dyn FnOnce(Result<T, Error>) + Send> {
        let told = Arc::new(AtomicUsize::new(0));
        self.replies.push(told.clone());
        Box::new(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn some_partitions(&self, choices: &mut Choices<'_>) -> Vec<TopicPartition> {
        let which = choices.below(8);
        let all =
            TOPICS.iter().flat_map(|(name, _, count)| (0..*count).map(|number| TopicPartition::from((*name, number))));
        all.enumerate().filter(|(at, _)| which >> at & 1 == 1).map(|(_, partition)| partition).collect()
    }

    /// Time passes, and what has had no answer until then gets none.
    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let now = self.now;
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= now) {
            let late = self.pending.remove(at);
            self.machine.handle_response(now, late.id, Err(Error::new(ErrorKind::Timeout)));
            self.settle();
        }
        self.settle();
    }

    /// Takes what comes out, and sees to deadlines as the driver does.
    fn settle(&mut self) {
        for round in 0.. {
            // Each question of the application is a request of its own.
            assert!(round < 100 + self.replies.len(), "it spins: {:?}", self.machine);
            if let Some((id, call)) = self.machine.poll_request() {
                self.check_request(&call.to, &call.request);
                self.lookups += u32::from(matches!(call.request, GroupRequest::FindCoordinator(_)));
                let (deadline, stint, lookups) = (self.now + call.timeout, self.stint, self.lookups);
                self.pending.push(Pending { id, to: call.to, request: call.request, deadline, stint, lookups });
            } else if let Some((of, event)) = self.machine.poll_event() {
                assert_eq!(of, self.round, "an event of another subscription");
                self.hear(event);
            } else if self.machine.poll_timeout().is_some_and(|at| at <= self.now) && !self.machine.is_closed() {
                self.machine.handle_timeout(self.now);
            } else {
                break;
            }
        }
    }

    fn check_request(&self, to: &To, request: &GroupRequest) {
        let leaves = |request: &GroupRequest| match request {
            GroupRequest::ConsumerGroupHeartbeat(beat) => beat.member_epoch < 0,
            _ => false,
        };
        let before = self.pending.iter().filter(|pending| pending.stint == self.stint && pending.to == *to);
        let alike = before.filter(|pending| match (request, &pending.request) {
            (GroupRequest::Heartbeat(_), GroupRequest::Heartbeat(_)) => true,
            (GroupRequest::ConsumerGroupHeartbeat(_), GroupRequest::ConsumerGroupHeartbeat(_)) => {
                leaves(request) == leaves(&pending.request)
            }
            // One that is out of time is given up, and its coordinator with it; it may be carried out yet.
            (GroupRequest::OffsetCommit(_), GroupRequest::OffsetCommit(_)) => pending.lookups == self.lookups,
            _ => false,
        });
        assert_eq!(alike.count(), 0, "{request:?} beside another: {:?}", self.machine);
    }

    fn hear(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Assigned { partitions, tenure, generation, .. } => {
                self.tenures.extend(partitions.iter().map(|partition| (partition.clone(), tenure)));
                self.moves_on(generation.0);
                for partition in partitions {
                    self.let_go.remove(&partition);
                    assert!(self.owned.insert(partition.clone()), "{partition} is assigned twice: {:?}", self.machine);
                }
            }
            GroupEvent::Generation { generation, .. } => self.moves_on(generation.0),
            GroupEvent::Revoking { id, partitions, .. } => {
                let stray = partitions.iter().find(|partition| !self.owned.contains(*partition));
                assert_eq!(stray, None, "revoked, and not owned: {:?}", self.machine);
                self.revoking = Some((id, partitions));
            }
            GroupEvent::Lost(partitions) => {
                for partition in &partitions {
                    let had = self.owned.remove(partition) || self.let_go.remove(partition);
                    assert!(had, "{partition} is lost, and was not owned: {:?}", self.machine);
                }
                self.revoking = None;
            }
            GroupEvent::Failed(_) => {
                assert!(self.owned.is_empty(), "the group has failed, and the application still has {:?}", self.owned);
                self.failed = true;
            }
        }
    }

    fn moves_on(&mut self, generation: i32) {
        assert!(generation >= self.seen, "generation {generation} after {}", self.seen);
        self.seen = generation;
    }

    /// The first request of a connection is answered, in whatever way.
    fn answer_one(&mut self, choices: &mut Choices<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let any = usize::from(choices.below(8)) % self.pending.len();
        let at = self.pending.iter().position(|pending| pending.to == self.pending[any].to).unwrap_or(any);
        let Pending { id, request, .. } = self.pending.remove(at);
        let answer = match choices.below(16) {
            0 | 1 => Err(Error::new(ErrorKind::Connection)),
            2 => Err(Error::new(ErrorKind::Timeout)),
            3 if choices.one_in(8) => Err(Error::new(ErrorKind::Denied)),
            4 if choices.one_in(8) => Ok(GroupResponse::TopicNames(vec![])),
            5..8 => {
                let code = if choices.one_in(4) { i16::from(choices.below(135)) - 1 } else { choices.pick(&CODES) };
                Ok(self.odd_answer(&request, code, choices))
            }
            8..11 => Ok(self.odd_answer(&request, 0, choices)),
            _ => Ok(self.good_answer(&request)),
        };
        if let Ok(GroupResponse::FindCoordinator(node)) = &answer
            && node.0 != self.coordinator
        {
            (self.coordinator, self.stint) = (node.0, self.stint + 1);
        }
        self.machine.handle_response(self.now, id, answer);
    }

    /// An answer with this code, or one that makes no sense.
    fn odd_answer(&mut self, request: &GroupRequest, code: i16, choices: &mut Choices<'_>) -> GroupResponse {
        self.generation += i32::from(choices.below(2));
        match request {
            GroupRequest::FindCoordinator(_) => GroupResponse::FindCoordinator(NodeId(choices.pick(&[2, 1, -1]))),
            GroupRequest::Topics(_) => {
                let mut found = GroupTopics::default();
                found.add("a", choices.pick(&[0, 5, 1]));
                GroupResponse::Topics(found)
            }
            GroupRequest::TopicNames(ids) => {
                // An id's name does not change; a topic that was made anew has another id and the old name.
                let names =
                    ids.iter().map(|id| (*id, TOPICS.iter().find(|known| known.1 == *id).map_or("a", |known| known.0)));
                let names = names.filter(|_| choices.one_in(2)).map(|(id, name)| (id, Arc::from(name)));
                GroupResponse::TopicNames(names.collect())
            }
            GroupRequest::JoinGroup(join) => {
                let me = choices.pick(&["m1", "m2", "", join.member_id.as_str()]).to_owned();
                let metadata = match choices.below(3) {
                    0 => Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 0]),
                    1 => Subscription {
                        topics: vec!["a".into(), "z".into()],
                        owned: vec![("a", -1).into(), ("a", 0).into(), ("z", i32::MAX).into()],
                        user_data: Some(Bytes::from_static(&[0, 0, 0, 9, 0, 1])),
                        ..Subscription::default()
                    }
                    .encode()
                    .expect("a small subscription"),
                    _ => join.protocols[0].metadata.clone(),
                };
                let members = ["m1", "m3", "m1"].map(|id| {
                    JoinGroupResponseMember::default().with_member_id(str_bytes(id)).with_metadata(metadata.clone())
                });
                let protocol = choices.pick(&[join.protocols[0].name.as_str(), "range", "nonsense"]).to_owned();
                let answer = JoinGroupResponse::default()
                    .with_error_code(code)
                    .with_generation_id(self.generation)
                    .with_protocol_name(choices.one_in(5).then_some(str_bytes("")).or(Some(str_bytes(&protocol))))
                    .with_leader(str_bytes(choices.pick(&["m1", "m2", ""])))
                    .with_skip_assignment(choices.one_in(4))
                    .with_member_id(str_bytes(&me));
                GroupResponse::JoinGroup(answer.with_members(members[..usize::from(choices.below(4))].to_vec()))
            }
            GroupRequest::SyncGroup(_) => {
                let mut partitions = self.some_partitions(choices);
                match choices.below(4) {
                    0 => partitions.extend(partitions.clone()),
                    1 => partitions.push(("a", -7).into()),
                    2 => partitions.push(("z", 1).into()),
                    _ => {}
                }
                let assignment = match choices.one_in(4) {
                    true => Bytes::from_static(&[0, 0, 0x7f]),
                    false => encode_assignment(&partitions).expect("a small assignment"),
                };
                GroupResponse::SyncGroup(SyncGroupResponse::default().with_error_code(code).with_assignment(assignment))
            }
            GroupRequest::ConsumerGroupHeartbeat(_) => {
                let mut topics = vec![];
                for (id, partitions) in [(TOPICS[0].1, vec![0, 1]), (TOPICS[1].1, vec![0]), (NAMELESS, vec![0, 0, -3])]
                {
                    if choices.one_in(2) {
                        topics.push(TopicPartitions::default().with_topic_id(id.into()).with_partitions(partitions));
                    }
                }
                if choices.one_in(4) {
                    topics.extend(topics.clone());
                }
                let assignment = choices.one_in(2).then(|| Assignment::default().with_topic_partitions(topics));
                let epoch = choices.pick(&[self.generation, self.generation, 0, -1]);
                let answer = ConsumerGroupHeartbeatResponse::default()
                    .with_error_code(code)
                    .with_member_epoch(epoch)
                    .with_heartbeat_interval_ms(choices.pick(&[3_000, 1, 0, -1, 20_000]))
                    .with_assignment(assignment);
                GroupResponse::ConsumerGroupHeartbeat(answer)
            }
            GroupRequest::Heartbeat(_) => GroupResponse::Heartbeat(HeartbeatResponse::default().with_error_code(code)),
            GroupRequest::LeaveGroup(_) => {
                GroupResponse::LeaveGroup(LeaveGroupResponse::default().with_error_code(code))
            }
            GroupRequest::OffsetCommit(commit) if choices.one_in(2) => committed(commit, code),
            GroupRequest::OffsetCommit(_) => GroupResponse::OffsetCommit(OffsetCommitResponse::default()),
            GroupRequest::OffsetFetch(fetch) if choices.one_in(2) => read(fetch, code),
            GroupRequest::OffsetFetch(_) => GroupResponse::OffsetFetch(OffsetFetchResponse::default()),
        }
    }

    /// As a coordinator answers whose only member this is.
    fn good_answer(&mut self, request: &GroupRequest) -> GroupResponse {
        match request {
            GroupRequest::FindCoordinator(_) => GroupResponse::FindCoordinator(NodeId(1)),
            GroupRequest::Topics(_) => {
                let mut found = GroupTopics::default();
                TOPICS.iter().for_each(|(name, _, count)| found.add(*name, *count as usize));
                GroupResponse::Topics(found)
            }
            GroupRequest::TopicNames(ids) => {
                let known = TOPICS.iter().filter(|(_, id, _)| ids.contains(id));
                GroupResponse::TopicNames(known.map(|(name, id, _)| (*id, Arc::from(*name))).collect())
            }
            GroupRequest::JoinGroup(join) => GroupResponse::JoinGroup(self.good_join(join)),
            GroupRequest::SyncGroup(sync) => {
                let code = self.knows(sync.generation_id);
                GroupResponse::SyncGroup(good_sync(sync).with_error_code(code))
            }
            GroupRequest::ConsumerGroupHeartbeat(beat) => {
                let topics = TOPICS.iter().filter(|(name, ..)| self.subscribed.contains(name));
                let topics = topics.map(|(_, id, count)| {
                    TopicPartitions::default().with_topic_id((*id).into()).with_partitions((0..*count).collect())
                });
                let assignment = Assignment::default().with_topic_partitions(topics.collect());
                self.generation = self.generation.max(1);
                let epoch = if beat.member_epoch < 0 { beat.member_epoch } else { self.generation };
                let answer = ConsumerGroupHeartbeatResponse::default()
                    .with_member_epoch(epoch)
                    .with_heartbeat_interval_ms(3_000)
                    .with_assignment(Some(assignment));
                GroupResponse::ConsumerGroupHeartbeat(answer)
            }
            GroupRequest::Heartbeat(beat) => {
                let code = self.knows(beat.generation_id);
                GroupResponse::Heartbeat(HeartbeatResponse::default().with_error_code(code))
            }
            GroupRequest::LeaveGroup(_) => GroupResponse::LeaveGroup(LeaveGroupResponse::default()),
            GroupRequest::OffsetCommit(commit) => committed(commit, 0),
            GroupRequest::OffsetFetch(fetch) => read(fetch, 0),
        }
    }

    fn good_join(&mut self, join: &JoinGroupRequest) -> JoinGroupResponse {
        let answer = JoinGroupResponse::default();
        if join.member_id.is_empty() && join.group_instance_id.is_none() {
            return answer.with_error_code(79).with_member_id(str_bytes("m1"));
        }
        self.generation += 1;
        self.well = self.well.map(|_| self.generation);
        let me = if join.member_id.is_empty() { str_bytes("m1") } else { join.member_id.clone() };
        let protocol = &join.protocols[0];
        let member = JoinGroupResponseMember::default()
            .with_member_id(me.clone())
            .with_group_instance_id(join.group_instance_id.clone())
            .with_metadata(protocol.metadata.clone());
        answer
            .with_generation_id(self.generation)
            .with_protocol_name(Some(protocol.name.clone()))
            .with_leader(me.clone())
            .with_member_id(me)
            .with_members(vec![member])
    }

    /// What it has said in its fever it does not know any more.
    fn knows(&self, generation: i32) -> i16 {
        if self.well.is_none_or(|well| well == generation) { 0 } else { 22 }
    }

    /// The coordinator is well again, and the application is willing.
    fn recovers(&mut self) {
        self.well = Some(-1);
        if self.subscribed.is_empty() || self.failed {
            self.subscribe(&["a", "b"]);
            self.settle();
        }
        let mut settled = 0;
        for _ in 0..1_200 {
            // For two heartbeats.
            settled = if self.owned == self.all() { settled + 1 } else { 0 };
            if settled > 120 {
                break;
            }
            self.machine.polled(self.now);
            self.settle();
            self.acknowledge();
            self.settle();
            if !self.pending.is_empty() {
                let Pending { id, request, .. } = self.pending.remove(0);
                let answer = self.good_answer(&request);
                if let GroupResponse::FindCoordinator(NodeId(node)) = answer
                    && node != self.coordinator
                {
                    (self.coordinator, self.stint) = (node, self.stint + 1);
                }
                self.machine.handle_response(self.now, id, Ok(answer));
                self.settle();
            }
            self.pass(50);
            if self.failed {
                // An answer of before, perhaps: another subscription begins anew.
                self.subscribe(&["a", "b"]);
                self.settle();
            }
        }
        assert_eq!(self.owned, self.all(), "not settled in a minute of {:?}: {:?}", self.protocol, self.machine);
    }

    /// What there is of what it has subscribed to.
    fn all(&self) -> BTreeSet<TopicPartition> {
        let all = TOPICS.iter().filter(|(name, ..)| self.subscribed.contains(name));
        all.flat_map(|(name, _, count)| (0..*count).map(|number| TopicPartition::from((*name, number)))).collect()
    }

    fn closes(&mut self) {
        let deadline = self.now + Duration::from_secs(5);
        self.machine.close(self.now, deadline);
        self.settle();
        while self.now < deadline {
            self.pass(100);
        }
        assert!(self.machine.is_closed(), "not closed by the deadline: {:?}", self.machine);
        let told: Vec<_> = self.replies.iter().map(|told| told.load(Ordering::Relaxed)).collect();
        assert!(told.iter().all(|told| *told == 1), "each question has one answer: {told:?}");
    }
}

/// What the member itself has decided, as the leader of one.
fn good_sync(sync: &SyncGroupRequest) -> SyncGroupResponse {
    let own = sync.assignments.iter().find(|given| given.member_id == sync.member_id);
    SyncGroupResponse::default().with_assignment(own.map(|given| given.assignment.clone()).unwrap_or_default())
}

fn committed(commit: &milena::wire::messages::OffsetCommitRequest, code: i16) -> GroupResponse {
    let topics = commit.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    GroupResponse::OffsetCommit(OffsetCommitResponse::default().with_topics(topics.collect()))
}

fn read(fetch: &milena::wire::messages::OffsetFetchRequest, code: i16) -> GroupResponse {
    let group = &fetch.groups[0];
    let topics: HashMap<TopicName, Vec<i32>> =
        group.topics.iter().flatten().map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect();
    let topics = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|number| {
            OffsetFetchResponsePartitions::default().with_partition_index(number).with_committed_offset(3)
        });
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
    });
    let group = OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_error_code(code);
    GroupResponse::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]))
}
