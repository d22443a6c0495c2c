//! Classic groups as members see them, request by request, in virtual time.

mod offsets;

use super::*;
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use std::time::Duration;

const SESSION: i32 = 10_000;
const REBALANCE: i32 = 60_000;

fn group() -> GroupId {
    GroupId("g".into())
}

/// A member with a connection of its own.
struct Member {
    peer: Peer,
    id: StrBytes,
    instance: Option<StrBytes>,
    generation: i32,
    /// What it says to the others.
    metadata: Bytes,
    /// Session and rebalance, in milliseconds.
    timeouts: (i32, i32),
}

impl Member {
    async fn new(cluster: &TestCluster) -> Self {
        let (peer, metadata) = (Peer::connect(cluster, 1).await, Bytes::from_static(b"topics"));
        Self { peer, id: StrBytes::default(), instance: None, generation: -1, metadata, timeouts: (SESSION, REBALANCE) }
    }

    async fn fixed(cluster: &TestCluster, instance: &'static str) -> Self {
        Self { instance: Some(instance.into()), ..Self::new(cluster).await }
    }

    fn request(&self) -> JoinGroupRequest {
        let range = JoinGroupRequestProtocol::default().with_name("range".into());
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(self.timeouts.0)
            .with_rebalance_timeout_ms(self.timeouts.1)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type("consumer".into())
            .with_protocols(vec![range.with_metadata(self.metadata.clone())])
    }

    /// Joins, with the id that it is given first if it has none.
    async fn join(&mut self) -> JoinGroupResponse {
        let mut joined = self.peer.call(9, &self.request()).await;
        self.id = joined.member_id.clone();
        if joined.error_code == ErrorCode::MemberIdRequired.to_wire() {
            joined = self.peer.call(9, &self.request()).await;
        }
        self.generation = joined.generation_id;
        joined
    }

    async fn sync(&mut self, assignments: &[(&StrBytes, &'static str)]) -> SyncGroupResponse {
        let assigned = assignments.iter().map(|(id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*id).clone())
                .with_assignment(assignment.as_bytes().into())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(Some("consumer".into()))
            .with_protocol_name(Some("range".into()))
            .with_assignments(assigned.collect());
        self.peer.call(5, &request).await
    }

    async fn heartbeat(&mut self) -> Option<ErrorCode> {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        ErrorCode::from_wire(self.peer.call(4, &request).await.error_code)
    }

    async fn commit(&mut self, offset: i64) -> Option<ErrorCode> {
        let one = OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some("why".into()));
        let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![one]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        ErrorCode::from_wire(self.peer.call(8, &request).await.topics[0].partitions[0].error_code)
    }

    async fn leave(&mut self) -> i16 {
        let member =
            MemberIdentity::default().with_member_id(self.id.clone()).with_group_instance_id(self.instance.clone());
        let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]);
        self.peer.call(5, &request).await.members[0].error_code
    }
}

async fn cluster() -> TestCluster {
    TestCluster::builder().topic("t", 1).in_memory().start().await.expect("in memory nothing can fail")
}

/// Two members, stable; the first leads.
async fn pair(cluster: &TestCluster) -> (Member, Member) {
    let (mut first, mut second) = (Member::new(cluster).await, Member::new(cluster).await);
    first.join().await;
    first.sync(&[]).await;
    let again = async {
        while first.heartbeat().await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        first.join().await;
    };
    tokio::join!(again, second.join());
    let ids = [first.id.clone(), second.id.clone()];
    let assignments = [(&ids[0], "one"), (&ids[1], "two")];
    let (one, two) = tokio::join!(first.sync(&assignments), second.sync(&[]));
    assert_eq!((&one.assignment[..], &two.assignment[..]), (&b"one"[..], &b"two"[..]));
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn a_member_gets_its_id_first_and_leads_once_it_has_joined_with_it() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    let first = member.peer.call(9, &member.request()).await;
    assert_eq!((first.error_code, first.generation_id), (ErrorCode::MemberIdRequired.to_wire(), -1));
    assert_eq!(cluster.group("g"), Some(("Empty", 0, 0)));
    member.id = first.member_id;
    let joined = member.join().await;
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 1, &joined.member_id));
    assert_eq!(&joined.members[0].metadata[..], b"topics");
    assert_eq!(member.sync(&[(&member.id.clone(), "all")]).await.assignment, "all");
    assert_eq!(cluster.group("g"), Some(("Stable", 1, 1)));
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_is_told_of_the_others_and_each_gets_its_own_assignment() {
    let cluster = cluster().await;
    let (mut first, mut second) = pair(&cluster).await;
    assert_eq!((first.generation, second.generation), (2, 2));
    assert_eq!((first.heartbeat().await, second.heartbeat().await), (None, None));
    assert!(second.join().await.members.is_empty(), "a follower that joins anew with the same topics changes nothing");
    assert_eq!(cluster.group("g"), Some(("Stable", 2, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_out_when_its_session_ends_and_the_others_learn_of_it() {
    let cluster = cluster().await;
    let (mut first, second) = pair(&cluster).await;
    drop(second);
    let silent_since = cluster.clock().now();
    let told = loop {
        if let Some(code) = first.heartbeat().await {
            break code;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(told, ErrorCode::RebalanceInProgress);
    let waited = cluster.clock().now() - silent_since;
    let session = Duration::from_millis(SESSION as u64);
    assert!(waited >= session && waited <= session + Duration::from_millis(10), "{waited:?}");
    assert_eq!(first.join().await.members.len(), 1);
    assert_eq!(first.generation, 3);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_member_in_for_as_long_as_they_come() {
    let cluster = cluster().await;
    let (mut first, mut second) = pair(&cluster).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(SESSION as u64 - 1)).await;
        assert_eq!((first.heartbeat().await, second.heartbeat().await), (None, None));
    }
    assert_eq!(cluster.group("g"), Some(("Stable", 2, 2)));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_join_again_within_the_rebalance_timeout_is_out_although_it_heartbeats() {
    let cluster = cluster().await;
    let (mut first, mut second) = pair(&cluster).await;
    let mut third = Member::new(&cluster).await;
    let start = cluster.clock().now();
    let stubborn = async {
        // Heartbeats are answered, and say what to do; it doesn't.
        while second.heartbeat().await == Some(ErrorCode::RebalanceInProgress) || cluster.clock().now() == start {
            tokio::time::sleep(Duration::from_millis(1000)).await;
        }
    };
    let (_, _, ()) = tokio::join!(first.rejoin_when_told(), third.join(), stubborn);
    assert!(cluster.clock().now() - start >= Duration::from_millis(REBALANCE as u64));
    assert_eq!(cluster.group("g").map(|group| group.2), Some(2));
    assert_eq!(second.heartbeat().await, Some(ErrorCode::UnknownMemberId));
}

impl Member {
    async fn rejoin_when_told(&mut self) {
        while self.heartbeat().await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.join().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_joined_and_never_syncs_is_out_after_the_rebalance_timeout() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    member.join().await;
    let start = cluster.clock().now();
    while member.heartbeat().await.is_none() {
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    let waited = cluster.clock().now() - start;
    assert!(waited >= Duration::from_millis(REBALANCE as u64), "{waited:?}");
    assert_eq!(cluster.group("g"), Some(("Empty", 2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_is_missed_at_once() {
    let cluster = cluster().await;
    let (mut first, mut second) = pair(&cluster).await;
    assert_eq!(second.leave().await, 0);
    assert_eq!(first.heartbeat().await, Some(ErrorCode::RebalanceInProgress));
    assert_eq!(second.leave().await, ErrorCode::UnknownMemberId.to_wire());
    assert_eq!(first.join().await.members.len(), 1);
}

/// Before v3 one member leaves alone.
#[tokio::test(start_paused = true)]
async fn who_is_left_behind_is_waited_for_as_long_as_it_asked_for_in_every_version() {
    for version in [1, 5] {
        let cluster = cluster().await;
        let (mut first, mut second) = pair(&cluster).await;
        for member in [&mut first, &mut second] {
            member.timeouts = (60_000, 5_000);
        }
        tokio::join!(first.join(), second.rejoin_when_told());
        let (mine, others) = (first.id.clone(), second.id.clone());
        let both = [(&mine, "a"), (&others, "b")];
        tokio::join!(first.sync(&both), second.sync(&[]));
        tokio::time::sleep(Duration::from_secs(20)).await;
        let leave = LeaveGroupRequest::default().with_group_id(group());
        let leave = match version {
            1 => leave.with_member_id(others),
            _ => leave.with_members(vec![MemberIdentity::default().with_member_id(others)]),
        };
        assert_eq!(second.peer.call(version, &leave).await.error_code, 0);
        assert_eq!(cluster.group("g").map(|group| group.2), Some(1));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(cluster.group("g").map(|group| group.2), Some(0), "v{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_static_member_comes_back_without_a_rebalance_and_its_older_self_is_fenced() {
    let cluster = cluster().await;
    let mut one = Member::fixed(&cluster, "shelf").await;
    assert_eq!(one.join().await.error_code, 0, "no id is asked of a static member");
    one.sync(&[(&one.id.clone(), "all")]).await;
    let mut two = Member::fixed(&cluster, "shelf").await;
    let joined = two.join().await;
    assert_eq!((joined.error_code, joined.generation_id, joined.skip_assignment), (0, 1, true));
    assert_ne!(two.id, one.id);
    assert_eq!(two.sync(&[]).await.assignment, "all", "it has what it had");
    assert_eq!(one.heartbeat().await, Some(ErrorCode::FencedInstanceId));
    assert_eq!(cluster.group("g"), Some(("Stable", 1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_commit_counts_in_its_generation_only_and_not_between_join_and_sync() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    assert_eq!(member.commit(1).await, None, "outside of a group everybody may");
    member.join().await;
    assert_eq!(member.commit(2).await, Some(ErrorCode::RebalanceInProgress));
    member.sync(&[]).await;
    assert_eq!(member.commit(3).await, None);
    member.generation = 0;
    assert_eq!(member.commit(4).await, Some(ErrorCode::IllegalGeneration));
    let mut stranger = Member::new(&cluster).await;
    assert_eq!(stranger.commit(5).await, Some(ErrorCode::UnknownMemberId), "not past a group that is alive");
    let committed = cluster.committed("g", &("t", 0).into()).unwrap();
    assert_eq!((committed.offset, &*committed.metadata), (3, "why"));
}

#[tokio::test(start_paused = true)]
async fn the_initial_delay_gathers_members_into_one_generation() {
    let builder = TestCluster::builder().topic("t", 1).initial_rebalance_delay(Duration::from_secs(3));
    let cluster = builder.in_memory().start().await.unwrap();
    let (mut first, mut second) = (Member::new(&cluster).await, Member::new(&cluster).await);
    let start = cluster.clock().now();
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        second.join().await
    };
    let (one, two) = tokio::join!(first.join(), late);
    assert_eq!((one.generation_id, two.generation_id), (1, 1));
    assert_eq!(cluster.clock().now() - start, Duration::from_secs(6), "a newcomer makes it wait once more");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_shares_no_assignor_is_refused() {
    let cluster = cluster().await;
    let mut first = Member::new(&cluster).await;
    first.join().await;
    let stranger = Member::new(&cluster).await;
    let mut request = stranger.request();
    request.protocols[0].name = "roundrobin".into();
    let refused = Peer::connect(&cluster, 1).await.call(9, &request).await;
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.to_wire());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_rebalance_is_sent_to_the_new_coordinator_at_once_and_goes_on_there() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    cluster.move_coordinator("g", NodeId(1));
    let (mut first, second) = pair(&cluster).await;
    let again = first.request().with_session_timeout_ms(SESSION + 1);
    let leads_anew = first.peer.call(9, &again);
    let (parked, ()) = tokio::join!(leads_anew, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.move_coordinator("g", NodeId(2));
    });
    assert_eq!(parked.error_code, ErrorCode::NotCoordinator.to_wire());
    let mut moved = [first, second];
    for member in &mut moved {
        member.peer = Peer::connect(&cluster, 2).await;
    }
    let [mut first, mut second] = moved;
    let (one, two) = tokio::join!(first.join(), second.join());
    assert_eq!((one.error_code, two.error_code, one.generation_id), (0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn reasons_are_kept_for_who_looks() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    member.join().await;
    let again = member.request().with_reason(Some("the topics have changed".into()));
    member.peer.call(9, &again).await;
    let leaving = MemberIdentity::default().with_member_id(member.id.clone()).with_reason(Some("the end".into()));
    let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![leaving]);
    member.peer.call(5, &request).await;
    assert_eq!(cluster.group_reasons("g"), ["the topics have changed", "the end"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_coordinator_answers_for_a_group() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    cluster.move_coordinator("g", NodeId(2));
    let mut member = Member::new(&cluster).await;
    assert_eq!(member.join().await.error_code, ErrorCode::NotCoordinator.to_wire());
    assert_eq!(cluster.coordinator("g"), Some(NodeId(2)));
    cluster.kill(NodeId(2));
    assert_eq!(cluster.coordinator("g"), Some(NodeId(1)));
    assert_eq!(member.join().await.error_code, 0);
}
