//! A member of a classic group alone: the lines of protocol-rules 8 that `group/tests.rs` leaves.

use crate::error::{ErrorCode, ErrorKind};
use crate::ids::{GenerationId, LeaderEpoch, NodeId, OffsetAndMetadata, TopicPartition};
use crate::machine::RequestId;
use crate::machine::group::assignor::{Assignment, Assignor, GroupMember, Joining};
use crate::machine::group::group_topics::GroupTopics;
use crate::machine::group::range::RangeAssignor;
use crate::machine::group::sticky::CooperativeStickyAssignor;
use crate::machine::group::tests::{
    BEAT, NODE, POLL, Play, Told, cluster, config, names, offsets_answer, subscription,
};
use crate::machine::group::{GroupCall, GroupConfig, GroupRequest, GroupResponse, To};
use crate::machine::metadata::{Cluster, Node, PartitionMetadata, TopicMetadata};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use crate::wire::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupResponse};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

fn cooperative() -> GroupConfig {
    config(vec![Arc::new(CooperativeStickyAssignor)])
}

/// The leader's JoinGroup is answered: these are the members, all of whom subscribe as it does.
fn lead(play: &mut Play, id: RequestId, join: &JoinGroupRequest, members: &[&str], skip: bool) -> RequestId {
    let member = |id: &&str| {
        let member = JoinGroupResponseMember::default().with_member_id(str_bytes(id));
        member.with_metadata(join.protocols[0].metadata.clone())
    };
    let answer = JoinGroupResponse::default()
        .with_generation_id(1)
        .with_member_id(str_bytes(members[0]))
        .with_leader(str_bytes(members[0]))
        .with_protocol_name(Some(join.protocols[0].name.clone()))
        .with_skip_assignment(skip)
        .with_members(members.iter().map(member).collect());
    play.answer(id, GroupResponse::JoinGroup(answer));
    match play.next() {
        Some((id, GroupCall { to: To::Metadata, request: GroupRequest::Topics(_), .. })) => id,
        call => panic!("not asked for topics: {call:?}"),
    }
}

/// As heartbeats do (`group/tests.rs`).
#[test]
fn an_illegal_generation_keeps_the_member_id_whatever_request_was_told_so() {
    for (code, kept) in [(ErrorCode::IllegalGeneration, "m"), (ErrorCode::UnknownMemberId, "")] {
        let mut play = Play::cooperative().stable(&[0]);
        play.commit(0, 5, None);
        let (id, _) = play.commit_sent();
        play.commit_answer(id, 0, Some(code));
        assert_eq!((play.event(), play.join().1.member_id.as_str()), ("lost [0]".into(), kept), "OffsetCommit");

        let mut play = Play::cooperative().stable(&[0]);
        play.beat_answered(Some(ErrorCode::RebalanceInProgress));
        let (id, _) = play.join();
        play.joined(id, 2, "m");
        let (id, _) = play.sync();
        play.answer(id, GroupResponse::SyncGroup(SyncGroupResponse::default().with_error_code(code.to_wire())));
        assert_eq!(play.event(), "lost [0]");
        play.wait(Duration::from_millis(200));
        assert_eq!(play.join().1.member_id.as_str(), kept, "SyncGroup");
    }
}

#[test]
fn a_join_may_take_as_long_as_the_rebalance_and_has_a_connection_of_its_own() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (_, call) = play.next().unwrap();
    assert_eq!(call.to, To::Join(NODE));
    assert!(
        call.timeout > POLL,
        "the coordinator answers after max.poll.interval.ms at the latest: {:?}",
        call.timeout
    );
}

/// librdkafka 1.8.
#[test]
fn no_second_join_nor_sync_goes_out_while_one_is_under_way() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (join, _) = play.join();
    let disturb = |play: &mut Play| {
        play.machine.subscribe(play.now, names(&["t", "u"]));
        play.machine.metadata(play.now, &cluster(9));
        play.beat_answered(Some(ErrorCode::RebalanceInProgress));
        play.wait(Duration::from_millis(1));
        play.quiet();
    };
    disturb(&mut play);
    play.joined(join, 2, "m");
    let (sync, _) = play.sync();
    disturb(&mut play);
    play.sync_answer(sync, "t", &[0]);
    assert_eq!(subscription(&play.join().1).topics, ["t".into(), "u".into()], "only then");
}

#[test]
fn heartbeats_begin_before_offsets_are_read() {
    let mut play = Play::cooperative().stable(&[0]);
    play.machine.fetch_offsets(play.now, vec![("t", 0).into()], play.now + POLL, Box::new(drop));
    let (id, call) = play.next().unwrap();
    assert!(matches!(call.request, GroupRequest::OffsetFetch(_)));
    play.beat_answered(None);
    play.beat_answered(None);
    play.answer(id, offsets_answer(None, &[(0, 7, 0)]));
}

#[test]
fn a_commit_carries_position_epoch_metadata_and_the_member() {
    let mut play = Play::new(GroupConfig { instance_id: Some("one".into()), ..cooperative() }).stable(&[0]);
    let offset = OffsetAndMetadata { offset: 7, leader_epoch: Some(LeaderEpoch(3)), metadata: "x".into() };
    play.machine.commit_known(play.now, HashMap::from([(("t", 0).into(), offset)]), play.now + POLL, None);
    let (id, commit) = play.commit_sent();
    assert_eq!((commit.generation_id_or_member_epoch, commit.member_id.as_str()), (1, "m"));
    assert_eq!(commit.group_instance_id.as_deref(), Some("one"));
    let sent = &commit.topics[0].partitions[0];
    let expected = OffsetCommitRequestPartition::default().with_committed_offset(7).with_committed_leader_epoch(3);
    assert_eq!(*sent, expected.with_committed_metadata(Some(str_bytes("x"))));
    let told = Told::default();
    play.commit(0, 8, told.reply());
    play.commit_answer(id, 0, None);
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::OffsetMetadataTooLarge));
    assert_eq!(told.all(), [Some(ErrorKind::Broker(ErrorCode::OffsetMetadataTooLarge))]);
    assert_eq!(play.event(), "none", "that is no trouble of the membership's");
}

/// librdkafka 2.3 (4442): it was dropped against the one with an epoch that stood there.
#[test]
fn an_offset_without_an_epoch_takes_the_place_of_one_with() {
    let mut play = Play::cooperative().stable(&[0]);
    play.commit(0, 1, None);
    let (id, _) = play.commit_sent();
    let with = OffsetAndMetadata { leader_epoch: Some(LeaderEpoch(3)), ..OffsetAndMetadata::new(5) };
    play.machine.commit_known(play.now, HashMap::from([(("t", 0).into(), with)]), play.now + POLL, None);
    play.commit(0, 6, None);
    play.commit_answer(id, 0, None);
    let (_, commit) = play.commit_sent();
    let sent = &commit.topics[0].partitions[0];
    assert_eq!((sent.committed_offset, sent.committed_leader_epoch), (6, -1));
}

/// librdkafka 2933: a commit that failed over and over in a rebalance held up everything for ever.
#[test]
fn a_commit_that_never_succeeds_holds_a_revocation_up_no_longer_than_its_deadline() {
    let mut play = Play::eager().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (revocation, _) = play.revoking();
    let told = Told::default();
    play.commit(0, 5, told.reply()); // sixty seconds
    let deadline = play.now + Duration::from_secs(60);
    play.machine.revoked(play.now, revocation);
    let rejoined = loop {
        match play.next() {
            Some((id, GroupCall { request: GroupRequest::OffsetCommit(_), .. })) => {
                play.commit_answer(id, 0, Some(ErrorCode::CoordinatorLoadInProgress));
            }
            Some((id, GroupCall { request: GroupRequest::Heartbeat(_), .. })) => {
                play.beat_answer(id, Some(ErrorCode::RebalanceInProgress));
            }
            Some((_, GroupCall { request: GroupRequest::JoinGroup(_), .. })) => break play.now,
            None => play.wait(Duration::from_millis(500)),
            call => panic!("not asked for: {call:?}"),
        }
    };
    assert!(rejoined >= deadline && rejoined < deadline + Duration::from_secs(1));
    assert_eq!(told.all(), [Some(ErrorKind::Timeout)]);
}

/// The two-bounce upgrade: while a member has both, it is eager, whichever the group takes.
#[test]
fn one_eager_assignor_makes_the_member_eager() {
    let eager: Arc<dyn Assignor> = Arc::new(RangeAssignor);
    let sticky: Arc<dyn Assignor> = Arc::new(CooperativeStickyAssignor);
    for assignors in [vec![eager.clone(), sticky.clone()], vec![sticky.clone(), eager]] {
        let mut play = Play::new(config(assignors)).stable(&[0, 1]);
        play.beat_answered(Some(ErrorCode::RebalanceInProgress));
        assert_eq!(play.revoking().1, [0, 1]);
    }
}

/// KIP-814: the coordinator keeps the assignment of a static leader that is back, which still has to watch the metadata.
#[test]
fn a_static_leader_that_is_back_assigns_nothing_and_watches_on() {
    let mut play = Play::new(GroupConfig { instance_id: Some("one".into()), ..cooperative() });
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    let asked = lead(&mut play, id, &join, &["a", "b"], true);
    play.answer(asked, GroupResponse::Topics(GroupTopics::of(&cluster(4), &["t".into()])));
    let (id, sync) = play.sync();
    assert_eq!(sync.assignments, [], "the others' stays as it is");
    play.sync_answer(id, "t", &[0, 1]);
    assert_eq!(play.event(), "assigned [0, 1]");
    play.machine.metadata(play.now, &cluster(5));
    play.join();
}

#[test]
fn a_static_member_whose_application_is_silent_leaves_by_its_session_alone() {
    let mut play = Play::new(GroupConfig { instance_id: Some("one".into()), ..cooperative() }).stable(&[0]);
    play.wait(POLL);
    assert_eq!(play.event(), "lost [0]");
    play.quiet(); // no LeaveGroup, and no heartbeat
    play.wait(BEAT * 5);
    play.quiet();
    play.machine.polled(play.now);
    assert_eq!(play.join().1.group_instance_id.as_deref(), Some("one"));
}

/// KIP-800.
#[test]
fn joins_and_farewells_say_why() {
    let mut play = Play::cooperative();
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    let reason = |join: &JoinGroupRequest| join.reason.clone().unwrap().to_string();
    assert_eq!(reason(&join), "the subscription has changed");
    play.joined(id, 1, "m");
    play.synced(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    assert_eq!(reason(&play.join().1), "the group is rebalancing");
    play.machine.close(play.now, play.now + BEAT);
    match play.next().unwrap().1.request {
        GroupRequest::LeaveGroup(leave) => {
            assert_eq!(leave.members[0].reason.as_deref(), Some("the consumer is being closed"));
        }
        request => panic!("not LeaveGroup: {request:?}"),
    }
}

/// KIP-881.
#[test]
fn members_say_where_they_are_and_the_leader_knows_where_replicas_are() {
    let mut play = Play::new(GroupConfig { rack: Some("b".into()), ..config(vec![Arc::new(RangeAssignor)]) });
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    assert_eq!(subscription(&join).rack.as_deref(), Some("b"));
    let asked = lead(&mut play, id, &join, &["m"], false);
    let racks = |racks: [&str; 2], partitions: [i32; 2]| {
        let mut cluster = Cluster::default();
        for (id, rack) in (1..).zip(racks) {
            let node =
                Node { host: String::new(), port: 1, rack: Some(rack.to_owned()).filter(|rack| !rack.is_empty()) };
            cluster.nodes.insert(NodeId(id), node);
        }
        let partition = |node| PartitionMetadata { replicas: vec![NodeId(node)], ..PartitionMetadata::default() };
        let partitions = partitions.into_iter().map(partition).collect();
        let topic = TopicMetadata { name: "t".into(), id: crate::ids::TopicId([7; 16]), internal: false, partitions };
        cluster.topics.insert("t".into(), Arc::new(topic));
        Arc::new(cluster)
    };
    let found = GroupTopics::of(&racks(["a", "b"], [1, 2]), &["t".into()]);
    assert_eq!(found.racks(&("t", 1).into()).unwrap().iter().map(|rack| &**rack).collect::<Vec<_>>(), ["b"]);
    play.answer(asked, GroupResponse::Topics(found));
    play.synced(&[0, 1]);
    play.machine.metadata(play.now, &racks(["", "b"], [1, 2]));
    play.quiet(); // a broker that is down has not moved
    play.machine.metadata(play.now, &racks(["a", "b"], [2, 2]));
    assert_eq!(play.event(), "assigned [0, 1]");
    assert_eq!(play.revoking().1, [0, 1], "partition 0 is elsewhere now: everything is assigned anew");
}

/// One that an application brings along.
#[derive(Debug)]
struct LastAssignor;

impl Assignor for LastAssignor {
    fn name(&self) -> &str {
        "last"
    }

    fn user_data(&self, member: &Joining<'_>) -> Option<Bytes> {
        Some(format!("{:?} of {}", member.assigned.len(), member.generation.0).into_bytes().into())
    }

    fn assign(&self, topics: &GroupTopics, members: &[GroupMember]) -> Assignment {
        let last = members.iter().max_by_key(|member| member.member_id.clone()).unwrap();
        assert_eq!(last.user_data.as_deref(), Some(&b"0 of -1"[..]));
        // A member that does not exist is no trouble.
        Assignment::from([(last.member_id.clone(), topics.partitions().collect()), ("nobody".into(), vec![])])
    }
}

#[test]
fn an_assignor_of_the_applications_own_is_asked_and_remembers() {
    let mut play = Play::new(config(vec![Arc::new(LastAssignor)]));
    play.machine.subscribe(play.now, names(&["t"]));
    play.found(NODE);
    let (id, join) = play.join();
    assert_eq!(join.protocols[0].name.as_str(), "last");
    let asked = lead(&mut play, id, &join, &["a", "z"], false);
    play.answer(asked, GroupResponse::Topics(GroupTopics::of(&cluster(3), &["t".into()])));
    let (id, sync) = play.sync();
    let given = |member: usize| -> Vec<TopicPartition> {
        crate::wire::group_protocol::decode_assignment(sync.assignments[member].assignment.clone()).unwrap()
    };
    assert_eq!((given(0).len(), given(1).len(), sync.assignments.len()), (0, 3, 2));
    play.sync_answer(id, "t", &[0, 1]);
    assert_eq!(play.event(), "assigned [0, 1]");
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (revocation, _) = play.revoking();
    play.machine.revoked(play.now, revocation);
    let (_, join) = play.join();
    let subscription = subscription(&join);
    assert_eq!(subscription.user_data.as_deref(), Some(&b"2 of 1"[..]), "given up, and remembered");
    assert_eq!((subscription.owned, subscription.generation), (vec![], GenerationId(1)));
}
