//! Consumer groups (KIP-848) as members see them. What is asserted here was seen of a Kafka 4.3.1, request by request.

use super::*;
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest,
};
use std::time::Duration;

const REBALANCE: Duration = Duration::from_secs(20);
/// As long as a target lasts at least.
const INTERVAL: Duration = Duration::from_secs(1);

fn group() -> GroupId {
    GroupId("g".into())
}

/// A member with a connection of its own, which answers for what it is told.
struct Member {
    peer: Peer,
    topic: Uuid,
    id: &'static str,
    instance: Option<&'static str>,
    epoch: i32,
    /// What it was told last.
    assigned: Vec<i32>,
}

impl Member {
    async fn new(cluster: &TestCluster, id: &'static str) -> Self {
        let (peer, topic) = (Peer::connect(cluster, 1).await, cluster.topic_id("t"));
        Self { peer, topic, id, instance: None, epoch: 0, assigned: Vec::new() }
    }

    fn beat(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.into())
            .with_instance_id(self.instance.map(StrBytes::from_static_str))
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    /// All that there is to say, with epoch 0.
    fn join(&mut self) -> ConsumerGroupHeartbeatRequest {
        self.epoch = 0;
        self.beat()
            .with_rebalance_timeout_ms(REBALANCE.as_millis() as i32)
            .with_subscribed_topic_names(Some(vec![name("t")]))
            .with_topic_partitions(Some(vec![]))
    }

    fn owning(&self, partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
        Some(vec![TopicPartitions::default().with_topic_id(self.topic).with_partitions(partitions.to_vec())])
    }

    async fn ask(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let answer = self.peer.call(1, request).await;
        if answer.error_code == 0 {
            self.epoch = answer.member_epoch;
        }
        if let Some(assignment) = &answer.assignment {
            let told = assignment.topic_partitions.iter().filter(|topic| topic.topic_id == self.topic);
            self.assigned = told.flat_map(|topic| &topic.partitions).copied().collect();
        }
        answer
    }

    /// What came of it: the epoch and what it is told to have, or the code.
    async fn told(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<(i32, Option<Vec<i32>>), ErrorCode> {
        let answer = self.ask(request).await;
        let assigned = answer.assignment.is_some().then(|| self.assigned.clone());
        ErrorCode::from_wire(answer.error_code).map_or(Ok((answer.member_epoch, assigned)), Err)
    }

    async fn joins(&mut self) -> Result<(i32, Option<Vec<i32>>), ErrorCode> {
        let join = self.join();
        self.told(&join).await
    }

    async fn beats(&mut self) -> Result<(i32, Option<Vec<i32>>), ErrorCode> {
        let beat = self.beat();
        self.told(&beat).await
    }

    async fn owns(&mut self, partitions: &[i32]) -> Result<(i32, Option<Vec<i32>>), ErrorCode> {
        let beat = self.beat().with_topic_partitions(self.owning(partitions));
        self.told(&beat).await
    }

    async fn leaves(&mut self, epoch: i32) -> Option<ErrorCode> {
        let leave = self.beat().with_member_epoch(epoch);
        self.told(&leave).await.err()
    }

    async fn commit(&mut self, version: i16, epoch: i32, partitions: &[i32]) -> Option<ErrorCode> {
        let one =
            OffsetCommitRequestPartition::default().with_committed_offset(1).with_committed_metadata(Some("".into()));
        let partitions = partitions.iter().map(|partition| one.clone().with_partition_index(*partition));
        let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(partitions.collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(epoch)
            .with_member_id(self.id.into())
            .with_topics(vec![topic]);
        ErrorCode::from_wire(self.peer.call(version, &request).await.topics[0].partitions[0].error_code)
    }

    async fn committed(&mut self, member: Option<&'static str>, epoch: i32) -> Option<ErrorCode> {
        let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_member_id(member.map(StrBytes::from_static_str))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let answer = self.peer.call(9, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
        ErrorCode::from_wire(answer.groups[0].error_code)
    }
}

async fn cluster() -> TestCluster {
    TestCluster::builder().topic("t", 4).in_memory().start().await.expect("in memory nothing can fail")
}

/// Two members with two partitions each, in epoch 3.
async fn pair(cluster: &TestCluster) -> (Member, Member) {
    let (mut a, mut b) = (Member::new(cluster, "a").await, Member::new(cluster, "b").await);
    a.joins().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    b.joins().await.unwrap();
    a.beats().await.unwrap();
    a.owns(&[0, 1]).await.unwrap();
    b.beats().await.unwrap();
    assert_eq!((a.assigned.as_slice(), b.assigned.as_slice()), (&[0, 1][..], &[2, 3][..]));
    assert_eq!((a.epoch, b.epoch, cluster.group("g")), (3, 3, Some(("Stable", 3, 2))));
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn a_partition_goes_to_the_new_owner_when_the_old_one_says_that_it_has_given_it_up() {
    let cluster = cluster().await;
    let (mut a, mut b) = (Member::new(&cluster, "a").await, Member::new(&cluster, "b").await);
    assert_eq!(a.joins().await, Ok((2, Some(vec![0, 1, 2, 3]))));
    assert_eq!(a.owns(&[0, 1, 2, 3]).await, Ok((2, None)));
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(b.joins().await, Ok((3, Some(vec![]))), "all is taken");
    assert_eq!(cluster.group("g"), Some(("Reconciling", 3, 2)));
    assert_eq!(a.beats().await, Ok((2, Some(vec![0, 1]))), "it stays in its epoch until it has given up the rest");
    assert_eq!(a.owns(&[0, 1, 2, 3]).await, Ok((2, None)));
    assert_eq!(a.beats().await, Ok((2, None)), "saying nothing is not giving up");
    assert_eq!(b.beats().await, Ok((3, None)));
    let [one, two] = &cluster.consumer_group_members("g")[..] else { panic!("two members") };
    assert_eq!((one.assigned.len(), one.revoking.len(), two.assigned.len(), two.target.len()), (2, 2, 0, 2));
    assert_eq!(a.owns(&[0, 1]).await, Ok((3, None)));
    assert_eq!(b.beats().await, Ok((3, Some(vec![2, 3]))));
    assert_eq!(b.beats().await, Ok((3, None)), "only what is new is told");
    assert_eq!(cluster.group("g"), Some(("Stable", 3, 2)));
    let full = b.join().with_member_epoch(3).with_topic_partitions(b.owning(&[2, 3]));
    assert_eq!(b.told(&full).await, Ok((3, Some(vec![2, 3]))), "who says everything is told everything");
}

#[tokio::test(start_paused = true)]
async fn a_target_lasts_a_second_and_until_then_a_newcomer_has_nothing() {
    let cluster = cluster().await;
    let (mut a, mut b) = (Member::new(&cluster, "a").await, Member::new(&cluster, "b").await);
    a.joins().await.unwrap();
    assert_eq!(b.joins().await, Ok((2, Some(vec![]))));
    assert_eq!((a.beats().await, cluster.group("g")), (Ok((2, None)), Some(("Assigning", 3, 2))));
    tokio::time::sleep(INTERVAL).await;
    assert_eq!((b.beats().await, b.epoch), (Ok((3, None)), 3));
    assert_eq!(a.beats().await, Ok((2, Some(vec![0, 1]))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_may_be_asked_for_again_and_who_knows_better_or_too_little_is_fenced() {
    let cluster = cluster().await;
    let (mut a, mut b) = pair(&cluster).await;
    a.epoch = 2;
    assert_eq!(a.owns(&[0, 1]).await, Ok((3, None)), "the same request once more");
    a.epoch = 2;
    assert_eq!(a.beats().await, Err(ErrorCode::FencedMemberEpoch), "it may have more than it is to have");
    assert_eq!(a.owns(&[0, 1, 2]).await, Err(ErrorCode::FencedMemberEpoch));
    (a.epoch, b.epoch) = (1, 9);
    assert_eq!(a.owns(&[]).await, Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(b.beats().await, Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(b.joins().await, Ok((3, Some(vec![2, 3]))), "as who it was");
    b.id = "stranger";
    assert_eq!(b.beats().await, Err(ErrorCode::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_missed_and_what_it_had_is_dealt_out() {
    let cluster = cluster().await;
    let (mut a, mut b) = pair(&cluster).await;
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(b.leaves(-1).await, None);
    assert_eq!(cluster.group("g"), Some(("Assigning", 4, 1)));
    assert_eq!(a.beats().await, Ok((4, Some(vec![0, 1, 2, 3]))));
    (b.id, b.epoch) = ("b", 3);
    assert_eq!(b.beats().await, Err(ErrorCode::UnknownMemberId));
    assert_eq!(b.leaves(-1).await, Some(ErrorCode::UnknownMemberId));
    assert_eq!(a.leaves(-1).await, None);
    assert_eq!(cluster.group("g"), Some(("Empty", 5, 0)));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_membership_after_the_session_and_stubbornness_after_the_rebalance_timeout() {
    let cluster = cluster().await;
    let (mut a, mut b) = pair(&cluster).await;
    let silent_since = cluster.clock().now();
    drop(b);
    while a.beats().await == Ok((3, None)) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let waited = silent_since.elapsed();
    assert!((45_000..=45_500).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(a.assigned, [0, 1, 2, 3]);
    b = Member::new(&cluster, "c").await;
    tokio::time::sleep(INTERVAL).await;
    b.joins().await.unwrap();
    let told_at = cluster.clock().now();
    while a.owns(&[0, 1, 2, 3]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let waited = told_at.elapsed();
    assert!((REBALANCE..=REBALANCE + Duration::from_millis(500)).contains(&waited), "{waited:?}");
    assert_eq!(b.beats().await.map(|told| told.1), Ok(Some(vec![0, 1, 2, 3])));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_keeps_its_place_while_it_is_away_and_nobody_takes_it_while_it_is_there() {
    let cluster = cluster().await;
    let new = async |id| Member { instance: Some("shelf"), ..Member::new(&cluster, id).await };
    let (mut one, mut two) = (new("one").await, new("two").await);
    one.joins().await.unwrap();
    assert_eq!(two.joins().await, Err(ErrorCode::UnreleasedInstanceId));
    assert_eq!(one.joins().await, Err(ErrorCode::UnreleasedInstanceId), "nor itself");
    (one.epoch, two.epoch) = (2, 2);
    assert_eq!(two.beats().await, Err(ErrorCode::FencedInstanceId));
    assert_eq!(one.leaves(-2).await, None);
    one.epoch = 2;
    assert_eq!(one.beats().await, Err(ErrorCode::FencedMemberEpoch), "it has said that it goes");
    assert_eq!(two.joins().await, Ok((2, Some(vec![0, 1, 2, 3]))), "no rebalance");
    assert_eq!(one.beats().await, Err(ErrorCode::FencedInstanceId));
    assert_eq!(cluster.consumer_group_members("g")[0].member_id, "two");
    assert_eq!(two.leaves(-2).await, None);
    tokio::time::sleep(Duration::from_secs(46)).await;
    assert_eq!(cluster.group("g"), Some(("Empty", 3, 0)), "it was away for too long");
    two.instance = Some("other");
    two.epoch = 2;
    assert_eq!(two.beats().await, Err(ErrorCode::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn a_commit_counts_in_the_members_epoch_or_in_one_in_which_it_had_the_partition_already() {
    let cluster = cluster().await;
    let (mut a, mut b) = pair(&cluster).await;
    assert_eq!(a.commit(9, 3, &[0, 1]).await, None);
    assert_eq!(a.commit(9, 2, &[0, 1]).await, None, "it had them in epoch 2 (KIP-1251)");
    assert_eq!(a.commit(9, 2, &[0, 2]).await, Some(ErrorCode::StaleMemberEpoch), "this one it has no more");
    assert_eq!(b.commit(9, 2, &[2]).await, Some(ErrorCode::StaleMemberEpoch), "it had nothing then");
    assert_eq!(a.commit(9, 1, &[0]).await, Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(a.commit(9, 4, &[0]).await, Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(a.commit(8, 3, &[0]).await, Some(ErrorCode::UnsupportedVersion));
    assert_eq!(a.committed(Some("a"), 3).await, None);
    assert_eq!(a.committed(Some("a"), 2).await, Some(ErrorCode::StaleMemberEpoch));
    assert_eq!(a.committed(Some("stranger"), 3).await, Some(ErrorCode::UnknownMemberId));
    assert_eq!(a.committed(None, -1).await, None, "who is no member may look");
    a.id = "";
    assert_eq!(a.commit(9, -1, &[0]).await, Some(ErrorCode::UnknownMemberId), "but not write");
    assert_eq!(b.commit(9, 3, &[2]).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_or_a_topic_that_changes_is_a_new_epoch_and_what_is_not_subscribed_to_is_taken_at_once() {
    let cluster = cluster().await;
    cluster.create_topic("u", 1).unwrap();
    let mut a = Member::new(&cluster, "a").await;
    a.joins().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    let grow = crate::wire::messages::create_partitions_request::CreatePartitionsTopic::default();
    let grow = CreatePartitionsRequest::default()
        .with_topics(vec![grow.with_name(name("t")).with_count(5).with_assignments(None)]);
    a.peer.call(2, &grow).await;
    assert_eq!(a.beats().await, Ok((3, Some(vec![0, 1, 2, 3, 4]))));
    // The next target is still to come, the old one is good for nothing.
    let other = a.beat().with_subscribed_topic_names(Some(vec![name("u"), name("none")]));
    assert_eq!(a.told(&other).await, Ok((3, Some(vec![]))));
    tokio::time::sleep(INTERVAL).await;
    a.beats().await.unwrap();
    assert_eq!(cluster.consumer_group_members("g")[0].assigned, [], "it has not said that it gave up the rest");
    let answer = a.ask(&a.beat().with_topic_partitions(Some(vec![]))).await;
    assert_eq!(answer.assignment.unwrap().topic_partitions[0].topic_id, cluster.topic_id("u"));
    assert_eq!(a.epoch, 4);
}

#[tokio::test(start_paused = true)]
async fn a_regular_expression_is_worked_out_after_the_heartbeat_and_again_for_new_topics() {
    let cluster = cluster().await;
    cluster.create_topic("tt", 1).unwrap();
    let mut a = Member::new(&cluster, "a").await;
    let by = |regex: &'static str, request: ConsumerGroupHeartbeatRequest| {
        request.with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(regex.into()))
    };
    let bad = by("t)(", a.join());
    assert_eq!(a.told(&bad).await, Err(ErrorCode::InvalidRegularExpression));
    assert_eq!(cluster.group("g"), None);
    let join = by("t.?", a.join());
    assert_eq!(a.told(&join).await, Ok((1, Some(vec![]))));
    assert_eq!(a.ask(&a.beat()).await.assignment.unwrap().topic_partitions.len(), 2);
    assert_eq!(a.epoch, 2);
    for topic in ["t2", "t23", "xt"] {
        cluster.create_topic(topic, 1).unwrap();
    }
    assert_eq!(a.beats().await, Ok((2, None)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(a.beats().await, Ok((2, None)), "this one has it worked out");
    assert_eq!(a.ask(&a.beat()).await.assignment.unwrap().topic_partitions.len(), 3, "the whole name has to match");
    assert_eq!(a.epoch, 3);
}

#[tokio::test(start_paused = true)]
async fn range_is_taken_where_most_want_it_and_other_assignors_are_not_known() {
    let cluster = TestCluster::builder().topic("t", 3).topic("u", 3).in_memory().start().await.unwrap();
    let mut a = Member::new(&cluster, "a").await;
    let join = a.join().with_server_assignor(Some("sticky".into()));
    assert_eq!(a.told(&join).await, Err(ErrorCode::UnsupportedAssignor));
    let mut b = Member::new(&cluster, "b").await;
    for member in [&mut a, &mut b] {
        let both = Some(vec![name("t"), name("u")]);
        let join = member.join().with_subscribed_topic_names(both).with_server_assignor(Some("range".into()));
        member.told(&join).await.unwrap();
        tokio::time::sleep(INTERVAL).await;
    }
    a.beats().await.unwrap();
    b.beats().await.unwrap();
    let targets: Vec<Vec<_>> = cluster
        .consumer_group_members("g")
        .iter()
        .map(|member| member.target.iter().map(|one| format!("{}{}", one.topic, one.partition)).collect())
        .collect();
    assert_eq!(targets, [vec!["t0", "t1", "u0", "u1"], vec!["t2", "u2"]]);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_said_is_refused_with_the_reason() {
    let cluster = cluster().await;
    let mut a = Member::new(&cluster, "a").await;
    a.epoch = 3;
    assert_eq!(a.beats().await, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(a.leaves(-1).await, Some(ErrorCode::GroupIdNotFound));
    assert_eq!(a.commit(9, 3, &[0]).await, Some(ErrorCode::GroupIdNotFound));
    assert_eq!(a.commit(8, 3, &[0]).await, Some(ErrorCode::IllegalGeneration));
    let join = a.join();
    for (request, why) in [
        (join.clone().with_member_id("".into()), "MemberId can't be empty."),
        (join.clone().with_rebalance_timeout_ms(-1), "RebalanceTimeoutMs must be provided in first request."),
        (join.clone().with_topic_partitions(None), "TopicPartitions must be empty when (re-)joining."),
        (
            join.clone().with_subscribed_topic_names(None),
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (join.clone().with_member_epoch(-3), "MemberEpoch is invalid."),
        (join.clone().with_member_epoch(-2), "InstanceId can't be null."),
        (join.clone().with_instance_id(Some("".into())), "InstanceId can't be empty."),
        (join.clone().with_group_id(GroupId("".into())), "GroupId can't be empty."),
    ] {
        let answer = a.ask(&request).await;
        let expected = (ErrorCode::InvalidRequest.to_wire(), Some(why));
        assert_eq!((answer.error_code, answer.error_message.as_deref()), expected);
    }
    let answer = a.peer.call(0, &join.with_member_id("".into())).await;
    assert!(answer.member_id.is_some_and(|id| id.len() == 36), "v0 gives an id to who has none");
    assert_eq!(answer.heartbeat_interval_ms, 5000);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_of_one_protocol_and_an_empty_one_becomes_what_comes_next_and_keeps_its_offsets() {
    let cluster = cluster().await;
    let mut a = Member::new(&cluster, "a").await;
    a.joins().await.unwrap();
    a.commit(9, 2, &[0]).await;
    let range = JoinGroupRequestProtocol::default().with_name("range".into());
    let classic = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type("consumer".into())
        .with_protocols(vec![range]);
    assert_eq!(a.peer.call(3, &classic).await.error_code, ErrorCode::InconsistentGroupProtocol.to_wire());
    let beat = HeartbeatRequest::default().with_group_id(group()).with_member_id("a".into()).with_generation_id(2);
    assert_eq!(a.peer.call(4, &beat).await.error_code, ErrorCode::UnknownMemberId.to_wire());
    let described = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let described = a.peer.call(6, &described).await.groups.remove(0);
    assert_eq!((described.error_code, &*described.group_state), (ErrorCode::GroupIdNotFound.to_wire(), "Dead"));
    let described = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    let answer = a.peer.call(1, &described).await.groups.remove(0);
    assert_eq!((&*answer.group_state, answer.group_epoch, &*answer.assignor_name), ("Stable", 2, "uniform"));
    let member = &answer.members[0];
    assert_eq!((member.member_epoch, member.member_type, &*member.client_id), (2, 1, "peer"));
    assert_eq!(&**member.assignment.topic_partitions[0].topic_name, "t");
    assert_eq!(member.assignment.topic_partitions[0].partitions, [0, 1, 2, 3]);
    let listed = async |peer: &mut Peer| {
        let group = peer.call(5, &ListGroupsRequest::default()).await.groups.remove(0);
        [group.protocol_type, group.group_state, group.group_type].map(|text| text.to_string())
    };
    assert_eq!(listed(&mut a.peer).await, ["consumer", "Stable", "consumer"]);
    a.leaves(-1).await;
    assert_eq!(a.peer.call(3, &classic).await.generation_id, 1, "it begins anew");
    assert_eq!(listed(&mut a.peer).await[2], "classic");
    assert!(cluster.committed("g", &("t", 0).into()).is_some());
    let answer = a.peer.call(1, &described).await.groups.remove(0);
    assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.to_wire());
    assert_eq!(a.joins().await, Err(ErrorCode::GroupIdNotFound), "somebody is in it");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(a.joins().await, Ok((2, Some(vec![0, 1, 2, 3]))));
    assert!(cluster.committed("g", &("t", 0).into()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_full_group_takes_no_more_members() {
    let cluster = TestCluster::builder().topic("t", 4).group_max_size(1).in_memory().start().await.unwrap();
    let (mut a, mut b) = (Member::new(&cluster, "a").await, Member::new(&cluster, "b").await);
    a.joins().await.unwrap();
    assert_eq!(b.joins().await, Err(ErrorCode::GroupMaxSizeReached));
    a.beats().await.unwrap();
}
