//! The machine alone, with a `now` that the test moves and a coordinator that the test plays. Each line of
//! protocol-rules 8 has its test.
#![allow(clippy::disallowed_methods, reason = "a test begins somewhere, and moves on by itself")]

mod commits;

use super::range::RangeAssignor;
use super::sticky::CooperativeStickyAssignor;
use super::*;
use crate::error::ErrorCode;
use crate::ids::{OffsetAndMetadata, TopicId};
use crate::machine::metadata::{PartitionMetadata, TopicMetadata};
use crate::wire::group_protocol::{Subscription, encode_assignment, str_bytes};
use crate::wire::messages::TopicName;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use std::collections::HashMap;
use std::sync::Mutex;

pub(super) const BEAT: Duration = Duration::from_secs(3);
pub(super) const POLL: Duration = Duration::from_secs(300);
pub(super) const NODE: NodeId = NodeId(1);

pub(super) fn config(assignors: Vec<Arc<dyn Assignor>>) -> GroupConfig {
    GroupConfig {
        group_id: "g".into(),
        instance_id: None,
        rack: None,
        protocol: GroupProtocol::Classic,
        remote_assignor: None,
        session_timeout: Duration::from_secs(45),
        heartbeat_interval: BEAT,
        max_poll_interval: POLL,
        request_timeout: Duration::from_secs(30),
        backoff: (Duration::from_millis(100), Duration::from_secs(1)),
        assignors,
        seed: 7,
    }
}

/// One machine and the coordinator's part, played by hand.
pub(super) struct Play {
    pub(super) machine: ConsumerCoordinator,
    pub(super) now: Instant,
}

/// What replies were given, in order.
#[derive(Clone, Default)]
pub(super) struct Told(pub(super) Arc<Mutex<Vec<Result<(), Error>>>>);

impl Told {
    pub(super) fn reply(&self) -> Option<Reply<()>> {
        let told = self.clone();
        Some(Box::new(move |outcome| told.0.lock().unwrap().push(outcome)))
    }

    pub(super) fn all(&self) -> Vec<Option<ErrorKind>> {
        self.0.lock().unwrap().iter().map(|outcome| outcome.as_ref().err().map(Error::kind)).collect()
    }
}

impl Play {
    pub(super) fn new(config: GroupConfig) -> Self {
        let now = Instant::now();
        Self { machine: ConsumerCoordinator::new(now, config), now }
    }

    pub(super) fn cooperative() -> Self {
        Self::new(config(vec![Arc::new(CooperativeStickyAssignor)]))
    }

    pub(super) fn eager() -> Self {
        Self::new(config(vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)]))
    }

    /// A member of generation 1 that holds partitions of topic "t".
    pub(super) fn stable(mut self, partitions: &[i32]) -> Self {
        self.machine.subscribe(self.now, names(&["t"]));
        self.found(NODE);
        let (id, _) = self.join();
        self.joined(id, 1, "m");
        self.synced(partitions);
        assert_eq!(self.event(), format!("assigned {partitions:?}"));
        self
    }

    pub(super) fn next(&mut self) -> Option<(RequestId, GroupCall)> {
        self.machine.poll_request()
    }

    pub(super) fn quiet(&mut self) {
        if let Some((_, call)) = self.next() {
            panic!("not asked for: {call:?}");
        }
    }

    pub(super) fn event(&mut self) -> String {
        let numbers = |partitions: &[TopicPartition]| partitions.iter().map(|p| p.partition).collect::<Vec<_>>();
        match self.machine.poll_event().map(|(_, event)| event) {
            None => "none".into(),
            Some(GroupEvent::Assigned { partitions, .. }) => format!("assigned {:?}", numbers(&partitions)),
            Some(GroupEvent::Revoking { partitions, .. }) => format!("revoking {:?}", numbers(&partitions)),
            Some(GroupEvent::Generation { generation, .. }) => format!("generation {}", generation.0),
            Some(GroupEvent::Lost(partitions)) => format!("lost {:?}", numbers(&partitions)),
            Some(GroupEvent::Failed(error)) => format!("failed {:?}", error.kind()),
        }
    }

    pub(super) fn revoking(&mut self) -> (RevocationId, Vec<i32>) {
        match self.machine.poll_event() {
            Some((_, GroupEvent::Revoking { id, partitions, .. })) => {
                (id, partitions.iter().map(|p| p.partition).collect())
            }
            event => panic!("not a revocation: {event:?}"),
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, response: GroupResponse) {
        self.machine.handle_response(self.now, id, Ok(response));
    }

    pub(super) fn lose(&mut self, id: RequestId) {
        self.machine.handle_response(self.now, id, Err(Error::new(ErrorKind::Connection)));
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        self.now += wait;
        self.machine.handle_timeout(self.now);
        assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now), "a deadline that nothing was done about");
    }

    pub(super) fn found(&mut self, node: NodeId) {
        match self.next() {
            Some((id, GroupCall { to: To::Any, request: GroupRequest::FindCoordinator(_), .. })) => {
                self.answer(id, GroupResponse::FindCoordinator(node));
            }
            call => panic!("not a lookup: {call:?}"),
        }
    }

    pub(super) fn join(&mut self) -> (RequestId, JoinGroupRequest) {
        match self.next() {
            Some((id, GroupCall { to: To::Join(_), request: GroupRequest::JoinGroup(join), .. })) => (id, join),
            call => panic!("not JoinGroup: {call:?}"),
        }
    }

    pub(super) fn beat(&mut self) -> RequestId {
        self.wait(BEAT);
        match self.next() {
            Some((id, GroupCall { to: To::Group(_), request: GroupRequest::Heartbeat(_), .. })) => id,
            call => panic!("not a heartbeat: {call:?}"),
        }
    }

    pub(super) fn beat_answered(&mut self, code: Option<ErrorCode>) {
        let id = self.beat();
        self.beat_answer(id, code);
    }

    pub(super) fn beat_answer(&mut self, id: RequestId, code: Option<ErrorCode>) {
        let code = code.map_or(0, ErrorCode::to_wire);
        self.answer(id, GroupResponse::Heartbeat(HeartbeatResponse::default().with_error_code(code)));
    }

    pub(super) fn joined(&mut self, id: RequestId, generation: i32, member: &str) {
        let answer = JoinGroupResponse::default()
            .with_generation_id(generation)
            .with_member_id(str_bytes(member))
            .with_leader(str_bytes("another"))
            .with_protocol_name(Some(str_bytes("cooperative-sticky")));
        self.answer(id, GroupResponse::JoinGroup(answer));
    }

    pub(super) fn join_refused(&mut self, id: RequestId, code: ErrorCode, member: &str) {
        let answer = JoinGroupResponse::default().with_error_code(code.to_wire()).with_member_id(str_bytes(member));
        self.answer(id, GroupResponse::JoinGroup(answer));
    }

    pub(super) fn sync(&mut self) -> (RequestId, SyncGroupRequest) {
        match self.next() {
            Some((id, GroupCall { request: GroupRequest::SyncGroup(sync), .. })) => (id, sync),
            call => panic!("not SyncGroup: {call:?}"),
        }
    }

    pub(super) fn synced(&mut self, partitions: &[i32]) {
        let (id, _) = self.sync();
        self.sync_answer(id, "t", partitions);
    }

    pub(super) fn sync_answer(&mut self, id: RequestId, topic: &str, partitions: &[i32]) {
        let partitions: Vec<_> = partitions.iter().map(|number| TopicPartition::new(topic, *number)).collect();
        let answer = SyncGroupResponse::default().with_assignment(encode_assignment(&partitions).unwrap());
        self.answer(id, GroupResponse::SyncGroup(answer));
    }

    pub(super) fn commit(&mut self, partition: i32, offset: i64, reply: Option<Reply<()>>) {
        let offsets = HashMap::from([(("t", partition).into(), OffsetAndMetadata::new(offset))]);
        self.machine.commit_known(self.now, offsets, self.now + Duration::from_secs(60), reply);
    }

    pub(super) fn commit_sent(&mut self) -> (RequestId, OffsetCommitRequest) {
        match self.next() {
            Some((id, GroupCall { to: To::Group(_), request: GroupRequest::OffsetCommit(commit), .. })) => (id, commit),
            call => panic!("not OffsetCommit: {call:?}"),
        }
    }

    pub(super) fn commit_answer(&mut self, id: RequestId, partition: i32, code: Option<ErrorCode>) {
        let partition = OffsetCommitResponsePartition::default()
            .with_partition_index(partition)
            .with_error_code(code.map_or(0, ErrorCode::to_wire));
        let topic = OffsetCommitResponseTopic::default().with_name(TopicName(str_bytes("t")));
        let answer = OffsetCommitResponse::default().with_topics(vec![topic.with_partitions(vec![partition])]);
        self.answer(id, GroupResponse::OffsetCommit(answer));
    }
}

pub(super) fn names(names: &[&str]) -> SubscribedTopics {
    SubscribedTopics::names(names.iter().map(|name| Arc::from(*name)).collect())
}

/// The id of topic "t".
pub(super) const T: TopicId = TopicId([7; 16]);

/// Topic "t" with this many partitions.
pub(super) fn cluster(partitions: usize) -> Arc<Cluster> {
    let topic = TopicMetadata {
        name: "t".into(),
        id: T,
        internal: false,
        partitions: vec![PartitionMetadata::default(); partitions],
    };
    Arc::new(Cluster { topics: [("t".into(), Arc::new(topic))].into(), ..Cluster::default() })
}

pub(super) fn offsets_answer(code: Option<ErrorCode>, partitions: &[(i32, i64, i16)]) -> GroupResponse {
    let partitions = partitions.iter().map(|(partition, offset, code)| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_error_code(*code)
    });
    let topic = OffsetFetchResponseTopics::default().with_name(TopicName(str_bytes("t")));
    let group = OffsetFetchResponseGroup::default().with_error_code(code.map_or(0, ErrorCode::to_wire));
    let group = group.with_topics(vec![topic.with_partitions(partitions.collect())]);
    GroupResponse::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]))
}

pub(super) fn offset_of(commit: &OffsetCommitRequest) -> i64 {
    commit.topics[0].partitions[0].committed_offset
}

pub(super) fn subscription(join: &JoinGroupRequest) -> Subscription {
    Subscription::decode(join.protocols[0].metadata.clone()).unwrap()
}

#[test]
fn the_first_join_is_repeated_at_once_with_the_id_that_the_coordinator_gives() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    assert_eq!(join.member_id.as_str(), "");
    play.join_refused(id, ErrorCode::MemberIdRequired, "given");
    assert_eq!(play.join().1.member_id.as_str(), "given");
}

#[test]
fn an_illegal_generation_keeps_the_member_id_and_an_unknown_member_gets_a_new_one() {
    for (code, member_id) in [(ErrorCode::IllegalGeneration, "m"), (ErrorCode::UnknownMemberId, "")] {
        let mut play = Play::cooperative().stable(&[0, 1]);
        play.beat_answered(Some(code));
        assert_eq!(play.event(), "lost [0, 1]", "lost is not revoked: nothing can be committed");
        let (_, join) = play.join();
        assert_eq!((join.member_id.as_str(), subscription(&join).owned), (member_id, vec![]));
    }
}

#[test]
fn an_eager_member_waits_for_the_application_before_it_rejoins_and_heartbeats_meanwhile() {
    let mut play = Play::eager().stable(&[0, 1]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (id, revoked) = play.revoking();
    assert_eq!(revoked, [0, 1]);
    play.quiet();
    for _ in 0..10 {
        play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    }
    play.machine.revoked(play.now, id);
    let (_, join) = play.join();
    assert_eq!((join.member_id.as_str(), subscription(&join).owned), ("m", vec![]));
}

#[test]
fn a_cooperative_member_keeps_what_it_has_and_says_so() {
    let mut play = Play::cooperative().stable(&[0, 1]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    assert_eq!(play.event(), "none");
    let (_, join) = play.join();
    let subscription = subscription(&join);
    assert_eq!(subscription.owned, [("t", 0).into(), ("t", 1).into()]);
    assert_eq!(subscription.generation, GenerationId(1), "KIP-792");
}

#[test]
fn a_cooperative_member_gives_up_first_and_joins_again_only_then() {
    let mut play = Play::cooperative().stable(&[0, 1]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (id, _) = play.join();
    play.joined(id, 2, "m");
    play.synced(&[0, 2]);
    let (id, revoked) = play.revoking();
    assert_eq!(revoked, [1]);
    assert_eq!(play.event(), "assigned [2]", "only what is new");
    play.quiet();
    play.machine.revoked(play.now, id);
    let (_, join) = play.join();
    assert_eq!(subscription(&join).owned, [("t", 0).into(), ("t", 2).into()]);
}

#[test]
fn nothing_new_is_still_told() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (id, _) = play.join();
    play.joined(id, 2, "m");
    play.synced(&[0]);
    assert_eq!(play.event(), "assigned []");
    play.quiet();
}

#[test]
fn an_application_that_never_finishes_is_overruled_by_the_deadline() {
    let mut play = Play::eager().stable(&[0, 1]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (late, _) = play.revoking();
    play.now += POLL - BEAT * 2;
    play.machine.polled(play.now); // polling, but not acknowledging
    play.next(); // a heartbeat
    play.wait(BEAT);
    assert_eq!(play.event(), "lost [0, 1]");
    let (id, _) = play.join();
    play.joined(id, 2, "m");
    play.synced(&[0, 1]);
    play.machine.revoked(play.now, late);
    assert_eq!(play.event(), "assigned [0, 1]", "an acknowledgement that is too late concerns nothing");
    play.commit(0, 5, None);
}

/// Only a member that was fenced is out; what else is wrong, the session and the next JoinGroup will say.
#[test]
fn a_refused_heartbeat_ends_no_membership() {
    for code in [ErrorCode::UnknownServerError, ErrorCode::GroupAuthorizationFailed] {
        let mut play = Play::cooperative().stable(&[0]);
        for _ in 0..3 {
            play.beat_answered(Some(code));
            assert_eq!(play.event(), "none");
        }
        play.beat_answered(None);
    }
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::FencedInstanceId));
    assert_eq!((play.event(), play.event()), ("lost [0]".into(), "failed Broker(FencedInstanceId)".into()));
}

#[test]
fn heartbeats_go_on_beside_a_parked_join() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (parked, _) = play.join();
    for _ in 0..5 {
        play.beat_answered(Some(ErrorCode::RebalanceInProgress));
        assert_eq!(play.event(), "none");
    }
    play.joined(parked, 2, "m");
    play.sync();
}

#[test]
fn a_late_heartbeat_answer_concerns_its_own_generation_only() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (join, _) = play.join();
    let late = play.beat();
    play.joined(join, 2, "m");
    play.synced(&[0]);
    assert_eq!(play.event(), "assigned []");
    play.beat_answer(late, Some(ErrorCode::IllegalGeneration));
    assert_eq!(play.event(), "none");
    play.quiet();
}

#[test]
fn a_lost_connection_keeps_the_membership_and_looks_the_coordinator_up() {
    let mut play = Play::cooperative().stable(&[0]);
    let id = play.beat();
    play.lose(id);
    play.wait(Duration::from_millis(200));
    play.found(NodeId(2));
    let (_, call) = play.next().unwrap();
    assert_eq!(call.to, To::Group(NodeId(2)));
    assert!(matches!(call.request, GroupRequest::Heartbeat(beat) if beat.generation_id == 1));
    assert_eq!(play.event(), "none");
}

#[test]
fn a_join_parked_at_a_former_coordinator_is_not_waited_for() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (parked, _) = play.join();
    play.beat_answered(Some(ErrorCode::NotCoordinator));
    play.wait(Duration::from_millis(200));
    play.found(NodeId(2));
    let (id, call) = play.next().unwrap();
    assert_eq!(call.to, To::Join(NodeId(2)));
    play.next(); // the heartbeat
    play.joined(parked, 9, "m");
    play.quiet();
    play.joined(id, 2, "m");
    play.sync();
}

#[test]
fn a_loading_coordinator_is_given_time_and_not_looked_up_again() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, _) = play.join();
    play.join_refused(id, ErrorCode::CoordinatorLoadInProgress, "");
    play.quiet();
    play.wait(Duration::from_millis(150));
    play.join();
}

#[test]
fn the_leader_assigns_what_its_metadata_says_and_rejoins_when_that_changes() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    let member =
        |id: &str, metadata| JoinGroupResponseMember::default().with_member_id(str_bytes(id)).with_metadata(metadata);
    let broken = bytes::Bytes::from_static(&[0, 3, 0x7f, 0xff, 0xff, 0xff]);
    let mine = join.protocols[0].metadata.clone();
    let answer = JoinGroupResponse::default()
        .with_generation_id(1)
        .with_member_id(str_bytes("a"))
        .with_leader(str_bytes("a"))
        .with_protocol_name(Some(str_bytes("cooperative-sticky")))
        .with_members(vec![member("a", mine.clone()), member("b", mine), member("broken", broken)]);
    play.answer(id, GroupResponse::JoinGroup(answer));
    let (id, call) = play.next().unwrap();
    assert!(matches!(&call.request, GroupRequest::Topics(topics) if topics == &["t".into()]), "{call:?}");
    play.beat_answered(None);
    play.answer(id, GroupResponse::Topics(GroupTopics::of(&cluster(4), &["t".into()])));
    let (id, sync) = play.sync();
    let assigned = |member: &str| {
        let given = sync.assignments.iter().find(|given| given.member_id.as_str() == member).unwrap();
        crate::wire::group_protocol::decode_assignment(given.assignment.clone()).unwrap().len()
    };
    assert_eq!((assigned("a"), assigned("b"), assigned("broken")), (2, 2, 0), "broken metadata harms only its member");
    play.sync_answer(id, "t", &[0, 1]);
    assert_eq!(play.event(), "assigned [0, 1]");
    play.machine.metadata(play.now, &cluster(4));
    play.quiet();
    play.machine.metadata(play.now, &cluster(5));
    play.join();
}

#[test]
fn an_assignment_that_does_not_match_the_subscription_is_refused_by_joining_again() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, _) = play.join();
    play.machine.subscribe(play.now, names(&["u"]));
    play.joined(id, 1, "m");
    play.synced(&[0, 1]);
    assert_eq!(play.event(), "none");
    play.wait(Duration::from_millis(200));
    assert_eq!(subscription(&play.join().1).topics, ["u".into()]);
}

#[test]
fn a_changed_subscription_revokes_only_what_is_no_longer_in_it() {
    let mut play = Play::cooperative().stable(&[0]);
    play.machine.subscribe(play.now, names(&["t", "u"]));
    let (id, _) = play.join();
    play.joined(id, 2, "m");
    let (id, _) = play.sync();
    play.sync_answer(id, "t", &[0]);
    play.event();
    play.machine.subscribe(play.now, names(&["u"]));
    assert_eq!(play.revoking().1, [0]);
}

#[test]
fn a_silent_application_is_out_of_the_group_until_it_polls_again() {
    let mut play = Play::cooperative().stable(&[0]);
    play.now += POLL / 2;
    play.machine.polled(play.now);
    play.next(); // heartbeat
    play.wait(POLL / 2);
    assert_eq!(play.event(), "none", "half an interval after the last poll");
    play.wait(POLL / 2);
    assert_eq!(play.event(), "lost [0]");
    let (_, leave) = play.next().unwrap();
    assert!(matches!(&leave.request, GroupRequest::LeaveGroup(leave) if leave.members[0].member_id.as_str() == "m"));
    play.wait(POLL);
    play.quiet();
    play.machine.polled(play.now);
    assert_eq!(play.join().1.member_id.as_str(), "");
}

#[test]
fn a_static_member_that_is_fenced_stops_and_says_so() {
    let mut config = config(vec![Arc::new(CooperativeStickyAssignor)]);
    config.instance_id = Some("one".into());
    let mut play = Play::new(config).stable(&[0]);
    play.beat_answered(Some(ErrorCode::FencedInstanceId));
    assert_eq!(play.event(), "lost [0]");
    assert_eq!(play.event(), format!("failed {:?}", ErrorKind::Broker(ErrorCode::FencedInstanceId)));
    let told = Told::default();
    play.commit(0, 5, told.reply());
    assert_eq!(told.all().len(), 1, "a fenced member is not nobody, whose commits an empty group would take");
    play.wait(POLL * 2);
    play.quiet();
}

#[test]
fn a_static_member_does_not_leave_on_close_and_a_dynamic_one_does() {
    let mut config = config(vec![Arc::new(CooperativeStickyAssignor)]);
    config.instance_id = Some("one".into());
    let mut play = Play::new(config).stable(&[0]);
    play.machine.close(play.now, play.now + BEAT);
    play.quiet();
    assert!(play.machine.is_closed());

    let mut play = Play::cooperative().stable(&[0]);
    let late = play.beat();
    play.machine.close(play.now, play.now + BEAT);
    let (id, _) = play.next().unwrap();
    play.beat_answer(late, None);
    assert!(!play.machine.is_closed(), "a late heartbeat answer is not the answer to LeaveGroup");
    play.answer(id, GroupResponse::LeaveGroup(LeaveGroupResponse::default()));
    assert!(play.machine.is_closed());
}

#[test]
fn close_does_not_wait_for_a_parked_join_nor_for_a_coordinator_that_is_down() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    play.join();
    play.machine.close(play.now, play.now + BEAT);
    assert!(matches!(play.next().unwrap().1.request, GroupRequest::LeaveGroup(_)));
    play.wait(BEAT);
    assert!(play.machine.is_closed());

    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.machine.handle_abandoned(play.now);
    assert!(play.machine.is_closed(), "never in the group: nothing to leave");
}

/// It asked again at once, for ever: a client that is closed while its consumer leaves would spin.
#[test]
fn close_ends_when_no_lookup_of_the_coordinator_can_be_answered() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::NotCoordinator));
    play.machine.close(play.now, play.now + BEAT);
    play.wait(Duration::from_secs(1));
    let (id, call) = play.next().unwrap();
    assert!(matches!(call.request, GroupRequest::FindCoordinator(_)));
    play.machine.handle_response(play.now, id, Err(Error::new(ErrorKind::Closed)));
    play.quiet();
    assert!(play.machine.is_closed());
}

#[test]
fn close_commits_before_it_leaves() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    play.machine.close(play.now, play.now + BEAT);
    let (id, _) = play.commit_sent();
    play.quiet();
    play.commit_answer(id, 0, None);
    assert_eq!(told.all(), [None]);
    assert!(matches!(play.next().unwrap().1.request, GroupRequest::LeaveGroup(_)));
}

/// The commit was tried again to the end of close's time, and the group was not left: its partitions lay idle for a session.
#[test]
fn close_leaves_in_time_although_the_last_commit_is_refused_again_and_again() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let closed_at = play.now;
    play.machine.close(closed_at, closed_at + BEAT);
    play.commit(0, 6, told.reply()); // of a guard that is dropped meanwhile
    let mut refused = 0;
    let id = loop {
        match play.next() {
            Some((id, call)) if matches!(call.request, GroupRequest::OffsetCommit(_)) => {
                refused += 1;
                play.commit_answer(id, 0, Some(ErrorCode::CoordinatorLoadInProgress));
            }
            Some((id, call)) => {
                assert!(matches!(call.request, GroupRequest::LeaveGroup(_)));
                break id;
            }
            None => play.wait(Duration::from_millis(10)),
        }
    };
    assert!(refused > 1, "it is tried again");
    assert_eq!(told.all(), [Some(ErrorKind::Timeout); 2]);
    assert!(play.now < closed_at + BEAT, "there is time for the answer");
    play.answer(id, GroupResponse::LeaveGroup(LeaveGroupResponse::default()));
    assert!(play.machine.is_closed());
}

#[test]
fn unsubscribing_leaves_and_another_subscription_begins_anew() {
    let mut play = Play::cooperative().stable(&[0]);
    play.machine.unsubscribe(play.now);
    assert!(matches!(play.next().unwrap().1.request, GroupRequest::LeaveGroup(_)));
    play.wait(POLL * 2);
    play.quiet();
    assert_eq!(play.event(), "none");
    play.machine.subscribe(play.now, names(&["t"]));
    assert_eq!(play.join().1.member_id.as_str(), "");
}

/// The leader of a group was closed before it had assigned: nobody else ends the rebalance, and its last commit was refused
/// until its session was over.
#[test]
fn a_leader_that_is_closed_before_it_has_assigned_leaves_within_a_heartbeats_time() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    let closed_at = play.now;
    play.commit(0, 5, told.reply());
    play.machine.close(closed_at, closed_at + POLL);
    loop {
        match play.next() {
            Some((id, call)) if matches!(call.request, GroupRequest::OffsetCommit(_)) => {
                play.commit_answer(id, 0, Some(ErrorCode::RebalanceInProgress));
            }
            Some((_, call)) => {
                assert!(matches!(call.request, GroupRequest::LeaveGroup(_)));
                break;
            }
            None => play.wait(Duration::from_millis(10)),
        }
    }
    assert_eq!(told.all(), [Some(ErrorKind::Broker(ErrorCode::RebalanceInProgress))]);
    assert!(
        (BEAT / 2..BEAT * 2).contains(&(play.now - closed_at)),
        "{:?}: others may end it meanwhile",
        play.now - closed_at
    );
}

/// The consumer was closed at once, and the request that nobody waited for was dropped unsent.
#[test]
fn close_waits_for_the_farewell_of_an_unsubscription() {
    for answered in [true, false] {
        let mut play = Play::cooperative().stable(&[0]);
        play.machine.unsubscribe(play.now);
        let (id, call) = play.next().unwrap();
        assert!(matches!(call.request, GroupRequest::LeaveGroup(_)));
        play.machine.close(play.now, play.now + BEAT);
        play.quiet();
        assert!(!play.machine.is_closed());
        match answered {
            true => play.answer(id, GroupResponse::LeaveGroup(LeaveGroupResponse::default())),
            false => play.wait(BEAT),
        }
        play.quiet();
        assert!(play.machine.is_closed());
    }
}

#[test]
fn what_no_retry_cures_reaches_the_application_as_itself() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, _) = play.join();
    play.join_refused(id, ErrorCode::GroupAuthorizationFailed, "");
    assert_eq!(play.event(), "failed Denied");
    play.wait(POLL);
    play.quiet();
    play.machine.subscribe(play.now, names(&["t"]));
    play.join();
}
