//! Offsets that go with time or on demand, who may commit, and how many a group takes.

use super::*;
use crate::ids::TopicPartition;
use crate::wire::group_protocol::Subscription;
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use crate::wire::messages::{
    AddOffsetsToTxnRequest, InitProducerIdRequest, OffsetDeleteRequest, ProducerId, TransactionalId,
    TxnOffsetCommitRequest,
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

async fn cluster() -> TestCluster {
    let builder = TestCluster::builder().topic("t", 1).topic("u", 1).offsets_retention(HOUR);
    builder.in_memory().start().await.unwrap()
}

/// One whose subscription can be read.
async fn subscriber(cluster: &TestCluster, topic: &str) -> Member {
    let subscription = Subscription { topics: vec![topic.into()], ..Subscription::default() };
    Member { metadata: subscription.encode().unwrap(), ..Member::new(cluster).await }
}

impl Member {
    async fn joins_alone(&mut self) {
        assert_eq!(self.join().await.error_code, 0);
        let id = self.id.clone();
        assert_eq!(self.sync(&[(&id, "")]).await.error_code, 0);
    }

    async fn stays_for(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / 5 {
            assert_eq!(self.heartbeat().await, None);
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// The code of the partition, or of all.
    async fn deletes(&mut self, topic: &str) -> Option<ErrorCode> {
        let topic = OffsetDeleteRequestTopic::default().with_name(name(topic));
        let topic = topic.with_partitions(vec![OffsetDeleteRequestPartition::default()]);
        let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]);
        let answer = self.peer.call(0, &request).await;
        match answer.topics.first() {
            Some(topic) => ErrorCode::from_wire(topic.partitions[0].error_code),
            None => ErrorCode::from_wire(answer.error_code),
        }
    }
}

fn committed(cluster: &TestCluster) -> Option<i64> {
    cluster.committed("g", &TopicPartition::new("t", 0)).map(|committed| committed.offset)
}

#[tokio::test(start_paused = true)]
async fn the_offsets_of_an_empty_group_go_an_hour_after_the_last_member_and_the_group_with_them() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    member.joins_alone().await;
    assert_eq!(member.commit(7).await, None);
    member.stays_for(3 * HOUR).await;
    assert_eq!(committed(&cluster), Some(7), "what it subscribes to nobody can read: it may be all");
    member.leave().await;
    tokio::time::sleep(HOUR - MINUTE).await;
    assert_eq!(committed(&cluster), Some(7));
    tokio::time::sleep(12 * MINUTE).await;
    assert_eq!((committed(&cluster), cluster.group("g")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn offsets_without_a_group_go_an_hour_after_each_commit() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    assert_eq!(member.commit(7).await, None);
    tokio::time::sleep(HOUR - MINUTE).await;
    assert_eq!(member.commit(8).await, None);
    tokio::time::sleep(HOUR - MINUTE).await;
    assert_eq!(committed(&cluster), Some(8));
    tokio::time::sleep(12 * MINUTE).await;
    assert_eq!((committed(&cluster), cluster.group("g")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn offsets_can_be_kept_for_ever() {
    let builder = TestCluster::builder().topic("t", 1).offsets_retention(Duration::MAX);
    let cluster = builder.in_memory().start().await.unwrap();
    assert_eq!(Member::new(&cluster).await.commit(7).await, None);
    tokio::time::sleep(100 * HOUR).await;
    assert_eq!(committed(&cluster), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_the_old_kind_says_itself_how_long_it_is_kept() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let topic = OffsetCommitRequestTopic::default().with_name(name("t"));
    let topic = topic.with_partitions(vec![OffsetCommitRequestPartition::default().with_committed_offset(7)]);
    let request = OffsetCommitRequest::default().with_group_id(group()).with_generation_id_or_member_epoch(-1);
    let request = request.with_topics(vec![topic]).with_retention_time_ms(5 * 3_600_000);
    peer.call(4, &request).await;
    tokio::time::sleep(5 * HOUR - MINUTE).await;
    assert_eq!(committed(&cluster), Some(7));
    tokio::time::sleep(12 * MINUTE).await;
    assert_eq!(committed(&cluster), None);
}

#[tokio::test(start_paused = true)]
async fn a_group_with_members_loses_what_it_does_not_subscribe_to() {
    for (topic, left) in [("t", Some(7)), ("u", None)] {
        let cluster = cluster().await;
        let mut member = subscriber(&cluster, topic).await;
        member.joins_alone().await;
        member.commit(7).await;
        member.stays_for(HOUR + 12 * MINUTE).await;
        assert_eq!(committed(&cluster), left, "subscribed to {topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_can_be_deleted_that_no_member_subscribes_to() {
    let cluster = cluster().await;
    let mut member = subscriber(&cluster, "t").await;
    assert_eq!(member.deletes("t").await, Some(ErrorCode::GroupIdNotFound));
    member.joins_alone().await;
    member.commit(7).await;
    assert_eq!(member.deletes("t").await, Some(ErrorCode::GroupSubscribedToTopic));
    assert_eq!(member.deletes("u").await, None);
    assert_eq!(member.deletes("none").await, Some(ErrorCode::UnknownTopicOrPartition));
    member.leave().await;
    assert_eq!((committed(&cluster), member.deletes("t").await, committed(&cluster)), (Some(7), None, None));

    let other = GroupId("c".into());
    let request = member.request().with_protocol_type("connect".into()).with_group_id(other).with_member_id("".into());
    let request = request.with_group_instance_id(None);
    let joined = member.peer.call(5, &request).await;
    let joined = member.peer.call(5, &request.with_member_id(joined.member_id)).await;
    assert_eq!(joined.error_code, 0);
    let request = OffsetDeleteRequest::default().with_group_id(GroupId("c".into()));
    assert_eq!(member.peer.call(0, &request).await.error_code, ErrorCode::NonEmptyGroup.to_wire());
}

/// An empty group takes offsets from whoever names no generation; one with members only from them.
#[tokio::test(start_paused = true)]
async fn who_may_commit_depends_on_who_is_in_the_group() {
    let cluster = cluster().await;
    let (mut member, mut other) = (Member::new(&cluster).await, Member::new(&cluster).await);
    other.id = "somebody".into();
    assert_eq!(other.commit(1).await, None);
    member.joins_alone().await;
    assert_eq!(other.commit(1).await, Some(ErrorCode::UnknownMemberId));
    other.id = "".into();
    assert_eq!(other.commit(1).await, Some(ErrorCode::UnknownMemberId));
    member.leave().await;
    assert_eq!(member.commit(2).await, Some(ErrorCode::UnknownMemberId), "it has left");
    assert_eq!(other.commit(2).await, None);
}

/// Kafka asks for the state of the group only where offsets are committed without a transaction.
#[tokio::test(start_paused = true)]
async fn offsets_of_a_transaction_are_taken_between_join_and_sync() {
    let cluster = cluster().await;
    let mut member = Member::new(&cluster).await;
    let id = || TransactionalId("tx".into());
    let init = InitProducerIdRequest::default().with_transactional_id(Some(id())).with_transaction_timeout_ms(10_000);
    let producer = member.peer.call(4, &init.with_producer_id(ProducerId(-1)).with_producer_epoch(-1)).await;
    let add = AddOffsetsToTxnRequest::default().with_transactional_id(id()).with_group_id(group());
    let add = add.with_producer_id(producer.producer_id).with_producer_epoch(producer.producer_epoch);
    assert_eq!(member.peer.call(3, &add).await.error_code, 0);
    member.join().await;
    assert_eq!(member.commit(1).await, Some(ErrorCode::RebalanceInProgress));
    let send = |member: &Member, generation| {
        let one = TxnOffsetCommitRequestPartition::default().with_committed_offset(5);
        let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![one]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(group())
            .with_producer_id(producer.producer_id)
            .with_producer_epoch(producer.producer_epoch)
            .with_member_id(member.id.clone())
            .with_generation_id(generation)
            .with_topics(vec![topic])
    };
    for (generation, code) in [(member.generation, None), (member.generation + 1, Some(ErrorCode::IllegalGeneration))] {
        let answer = member.peer.call(3, &send(&member, generation)).await;
        assert_eq!(ErrorCode::from_wire(answer.topics[0].partitions[0].error_code), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_group_takes_no_more_members_and_whoever_is_in_it_stays() {
    let cluster = TestCluster::builder().topic("t", 1).group_max_size(1).in_memory().start().await.unwrap();
    let (mut first, mut second) = (Member::new(&cluster).await, Member::new(&cluster).await);
    first.joins_alone().await;
    let refused = second.join().await;
    assert_eq!((refused.error_code, &*refused.member_id), (ErrorCode::GroupMaxSizeReached.to_wire(), ""));
    assert_eq!(first.join().await.error_code, 0);
    first.leave().await;
    second.joins_alone().await;
}
