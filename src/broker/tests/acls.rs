//! ACLs over the wire, and what they make of the other APIs.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::create_acls_request::AclCreation;
use crate::wire::messages::delete_acls_request::DeleteAclsFilter;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::wire::messages::{self as schema, GroupId, MetadataRequest, TransactionalId};

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONAL_ID: i8 = 5;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;
const ALL: i8 = 2;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const ALTER: i8 = 7;
const DESCRIBE: i8 = 8;
const IDEMPOTENT_WRITE: i8 = 12;

/// Alice may do this.
fn alice(resource: (i8, &str), operation: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource.0)
        .with_resource_name(resource.1.to_owned().into())
        .with_resource_pattern_type(LITERAL)
        .with_principal("User:alice".into())
        .with_host("*".into())
        .with_operation(operation)
        .with_permission_type(ALLOW)
}

/// Everything with this pattern and name.
fn filter(pattern: i8, name: Option<&str>) -> DeleteAclsFilter {
    DeleteAclsFilter::default()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(pattern)
        .with_resource_name_filter(name.map(|name| name.to_owned().into()))
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

impl Peer {
    async fn create_acls(&mut self, acls: impl IntoIterator<Item = AclCreation>) -> Vec<i16> {
        let request = schema::CreateAclsRequest::default().with_creations(acls.into_iter().collect());
        self.call(3, &request).await.results.iter().map(|result| result.error_code).collect()
    }

    /// Resource names, patterns and how many ACLs each has.
    async fn describe_acls(&mut self, filter: DeleteAclsFilter) -> Vec<(String, i8, usize)> {
        let request = schema::DescribeAclsRequest::default()
            .with_resource_type_filter(filter.resource_type_filter)
            .with_pattern_type_filter(filter.pattern_type_filter)
            .with_resource_name_filter(filter.resource_name_filter)
            .with_principal_filter(filter.principal_filter)
            .with_host_filter(filter.host_filter)
            .with_operation(filter.operation)
            .with_permission_type(filter.permission_type);
        let resources = self.call(3, &request).await.resources.into_iter();
        resources.map(|found| (found.resource_name.to_string(), found.pattern_type, found.acls.len())).collect()
    }
}

/// A cluster that only `User:admin` may do everything in, admin's connection and alice's.
async fn guarded() -> (TestCluster, Peer, Peer) {
    let builder = TestCluster::builder().topic("t", 1).topic("other", 1).authorizer(&["User:admin"]);
    let cluster = builder.in_memory().start().await.expect("in memory nothing can fail");
    let admin = Peer::connect_as(&cluster, "User:admin").await;
    let alice = Peer::connect_as(&cluster, "User:alice").await;
    (cluster, admin, alice)
}

fn code(code: ErrorCode) -> i16 {
    code.to_wire()
}

#[tokio::test(start_paused = true)]
async fn without_an_authorizer_nothing_is_checked_and_there_are_no_acls() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    assert_eq!(peer.create_acls([alice((TOPIC, "t"), READ)]).await, [code(ErrorCode::SecurityDisabled)]);
    let described = schema::DescribeAclsRequest::default().with_pattern_type_filter(1).with_resource_type_filter(1);
    assert_eq!(peer.call(2, &described).await.error_code, code(ErrorCode::SecurityDisabled));
    let delete = schema::DeleteAclsRequest::default().with_filters(vec![filter(1, None)]);
    assert_eq!(peer.call(2, &delete).await.filter_results[0].error_code, code(ErrorCode::SecurityDisabled));
    assert_eq!(peer.produce("t", 0, batch(&[(1, "a")])).await.error_code, 0);
    let cluster = schema::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    assert_eq!(peer.call(0, &cluster).await.cluster_authorized_operations, 8096, "every operation there is");
}

#[tokio::test(start_paused = true)]
async fn acls_are_found_by_name_pattern_and_match_and_deleted_by_the_same_filters() {
    let (_cluster, mut admin, _) = guarded().await;
    let prefixed = alice((TOPIC, "cli"), READ).with_resource_pattern_type(PREFIXED);
    let (clicks, any) = (alice((TOPIC, "clicks"), READ), alice((TOPIC, "*"), READ));
    let all = [clicks.clone(), clicks.clone().with_operation(WRITE), prefixed, any, alice((GROUP, "clicks"), READ)];
    assert_eq!(admin.create_acls(all).await, [0; 5]);
    assert_eq!(admin.create_acls([clicks]).await, [0], "it is there already");
    let topics = |pattern, name| filter(pattern, name).with_resource_type_filter(TOPIC);
    let found = |name: &str, pattern, acls| (name.to_owned(), pattern, acls);
    assert_eq!(admin.describe_acls(topics(LITERAL, Some("clicks"))).await, [found("clicks", LITERAL, 2)]);
    assert_eq!(admin.describe_acls(topics(PREFIXED, Some("clicks"))).await, []);
    assert_eq!(admin.describe_acls(topics(1, Some("cli"))).await, [found("cli", PREFIXED, 1)]);
    let matching = [found("*", LITERAL, 1), found("cli", PREFIXED, 1), found("clicks", LITERAL, 2)];
    assert_eq!(admin.describe_acls(topics(2, Some("clicks"))).await, matching);
    assert_eq!(admin.describe_acls(filter(1, None)).await.len(), 4);
    let bobs = filter(1, None).with_principal_filter(Some("User:bob".into()));
    assert_eq!(admin.describe_acls(bobs).await, []);

    let twice = vec![topics(2, Some("clicks")), topics(LITERAL, None), topics(9, None)];
    let results = admin.call(1, &schema::DeleteAclsRequest::default().with_filters(twice)).await.filter_results;
    assert_eq!(results.iter().map(|result| result.matching_acls.len()).collect::<Vec<_>>(), [4, 3, 0]);
    assert_eq!(results[2].error_code, code(ErrorCode::InvalidRequest));
    assert_eq!(admin.describe_acls(filter(1, None)).await, [found("clicks", LITERAL, 1)], "the group's");
}

#[tokio::test(start_paused = true)]
async fn an_acl_that_can_not_be_is_refused_and_the_others_of_its_request_are_made() {
    let (_cluster, mut admin, mut stranger) = guarded().await;
    let sound = alice((TOPIC, "t"), READ);
    let wrong = [
        alice((CLUSTER, "some-cluster"), ALTER),
        alice((TOPIC, ""), READ),
        alice((99, "t"), READ),
        sound.clone().with_resource_pattern_type(9),
        sound.clone().with_operation(99),
        sound.clone().with_permission_type(9),
        sound.clone().with_principal("alice".into()),
    ];
    assert_eq!(admin.create_acls(wrong).await, [code(ErrorCode::InvalidRequest); 7]);
    for any in [alice((1, "t"), READ), alice((TOPIC, "t"), 1), sound.clone().with_resource_pattern_type(2)] {
        assert_eq!(admin.create_acls([sound.clone(), any]).await, [code(ErrorCode::UnknownServerError); 2]);
    }
    let half = [alice((CLUSTER, "kafka-cluster"), ALTER), sound.clone().with_operation(99)];
    assert_eq!(admin.create_acls(half).await, [0, code(ErrorCode::InvalidRequest)]);
    assert_eq!(admin.describe_acls(filter(1, None)).await.len(), 1);
    assert_eq!(stranger.create_acls([sound.clone()]).await, [0], "alice may alter the cluster now");
    let mut bob = Peer::connect_as(&_cluster, "User:bob").await;
    assert_eq!(bob.create_acls([sound.clone(), sound]).await, [code(ErrorCode::ClusterAuthorizationFailed); 2]);
}

#[tokio::test(start_paused = true)]
async fn one_deny_outweighs_and_prefixes_hosts_and_implied_operations_hold() {
    let (cluster, mut admin, mut stranger) = guarded().await;
    let refused = code(ErrorCode::TopicAuthorizationFailed);
    macro_rules! writes {
        () => {
            stranger.produce("t", 0, batch(&[(1, "a")])).await.error_code
        };
    }
    assert_eq!(writes!(), refused);
    admin.create_acls([alice((TOPIC, "t"), WRITE).with_host("10.0.0.1".into())]).await;
    assert_eq!(writes!(), refused, "from elsewhere");
    admin.create_acls([alice((TOPIC, "t"), WRITE).with_host("127.0.0.1".into())]).await;
    assert_eq!(writes!(), 0);
    let offsets = list_offsets();
    assert_eq!(stranger.call(9, &offsets).await.topics[0].partitions[0].error_code, 0, "WRITE implies DESCRIBE");
    assert_eq!(stranger.fetch(&fetch("t", 0, 0, 0)).await.error_code, refused, "and not READ");

    let no_reading = alice((TOPIC, "*"), READ).with_permission_type(DENY).with_principal("User:*".into());
    admin.create_acls([no_reading, alice((TOPIC, "t"), ALL)]).await;
    assert_eq!(stranger.fetch(&fetch("t", 0, 0, 0)).await.error_code, refused, "though all is allowed");
    assert_eq!(stranger.call(9, &offsets).await.topics[0].partitions[0].error_code, 0, "a DENY implies nothing");
    let prefix = alice((TOPIC, "t"), WRITE).with_permission_type(DENY).with_resource_pattern_type(PREFIXED);
    admin.create_acls([prefix]).await;
    assert_eq!(writes!(), refused);

    let mut anybody = Peer::connect(&cluster, 1).await;
    assert_eq!(anybody.produce("t", 0, batch(&[(1, "a")])).await.error_code, refused, "nobody has said otherwise");
}

#[tokio::test(start_paused = true)]
async fn what_no_acl_is_about_is_free_where_the_builder_says_so() {
    let builder = TestCluster::builder().topic("t", 1).topic("other", 1).allow_everyone_if_no_acl_found(true);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut anybody = Peer::connect(&cluster, 1).await;
    assert_eq!(anybody.create_acls([alice((TOPIC, "t"), WRITE)]).await, [0]);
    let refused = code(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(anybody.produce("t", 0, batch(&[(1, "a")])).await.error_code, refused, "it has one, for alice");
    assert_eq!(anybody.produce("other", 0, batch(&[(1, "a")])).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_regular_expression_stands_for_topics_that_its_member_may_describe() {
    let builder = TestCluster::builder().topic("t", 1).topic("tt", 1).authorizer(&["User:admin"]);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut admin = Peer::connect_as(&cluster, "User:admin").await;
    assert_eq!(admin.create_acls([alice((GROUP, "g"), READ), alice((TOPIC, "t"), DESCRIBE)]).await, [0, 0]);
    let mut member = Peer::connect_as(&cluster, "User:alice").await;
    let beat = schema::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId("g".into()))
        .with_member_id("m".into())
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(Some("t+".into()))
        .with_topic_partitions(Some(vec![]));
    let joined = member.call(1, &beat).await;
    let told = member.call(1, &beat.with_member_epoch(joined.member_epoch)).await;
    assert_eq!((told.error_code, told.member_epoch), (0, joined.member_epoch + 1));
    let topics: Vec<_> = told.assignment.unwrap().topic_partitions.iter().map(|topic| topic.topic_id).collect();
    assert_eq!(topics, [cluster.topic_id("t")]);
}

fn list_offsets() -> schema::ListOffsetsRequest {
    use schema::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let end = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![end]);
    schema::ListOffsetsRequest::default().with_topics(vec![topic])
}

#[tokio::test(start_paused = true)]
async fn metadata_leaves_out_what_may_not_be_seen_and_creates_nothing_for_who_may_not() {
    let (cluster, mut admin, mut stranger) = guarded().await;
    let named = |topic: &str| MetadataRequestTopic::default().with_name(Some(name(topic)));
    let asked = |topics: Option<Vec<MetadataRequestTopic>>| {
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true);
        request.with_include_topic_authorized_operations(true)
    };
    assert!(stranger.call(12, &asked(None)).await.topics.is_empty());
    let refused = stranger.call(12, &asked(Some(vec![named("t"), named("none")]))).await.topics;
    let codes: Vec<_> = refused.iter().map(|topic| (topic.error_code, topic.topic_id)).collect();
    assert_eq!(codes, [(code(ErrorCode::TopicAuthorizationFailed), Uuid::nil()); 2], "one is there, one is not");
    let id = cluster.topic_id("t");
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let refused = stranger.call(12, &asked(Some(vec![by_id]))).await.topics.remove(0);
    assert_eq!((refused.name, refused.topic_id), (None, id), "whoever knows the id learns no name");

    admin.create_acls([alice((TOPIC, "t"), READ), alice((TOPIC, "none"), DESCRIBE)]).await;
    let seen = stranger.call(12, &asked(None)).await.topics;
    assert_eq!(seen.iter().map(|topic| topic.name.clone().unwrap()).collect::<Vec<_>>(), [name("t")]);
    assert_eq!(seen[0].topic_authorized_operations, 1 << READ | 1 << DESCRIBE);
    let uncreated = || asked(Some(vec![named("none")]));
    let refused = code(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(stranger.call(12, &uncreated()).await.topics[0].error_code, refused, "it may not create it");
    admin.create_acls([alice((TOPIC, "none"), CREATE)]).await;
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(stranger.call(12, &uncreated()).await.topics[0].error_code, unknown);
    assert_eq!(stranger.call(12, &uncreated()).await.topics[0].error_code, 0);

    let describe = schema::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    assert_eq!(stranger.call(0, &describe).await.cluster_authorized_operations, 0);
    admin.create_acls([alice((CLUSTER, "kafka-cluster"), ALTER)]).await;
    assert_eq!(stranger.call(0, &describe).await.cluster_authorized_operations, 1 << ALTER | 1 << DESCRIBE);
}

#[tokio::test(start_paused = true)]
async fn a_group_needs_leave_to_read_it_and_each_topic_in_it_too() {
    let (_cluster, mut admin, mut stranger) = guarded().await;
    let group = || GroupId("g".into());
    let topic = |topic: &str| {
        let offset = OffsetCommitRequestPartition::default().with_committed_offset(1);
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![offset])
    };
    let commit = schema::OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic("t"), topic("other")]);
    let codes = |response: schema::OffsetCommitResponse| -> Vec<i16> {
        response.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
    };
    let group_refused = code(ErrorCode::GroupAuthorizationFailed);
    let topic_refused = code(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(codes(stranger.call(8, &commit).await), [group_refused; 2]);
    admin.create_acls([alice((GROUP, "g"), READ), alice((TOPIC, "t"), READ)]).await;
    assert_eq!(codes(stranger.call(8, &commit).await), [0, topic_refused]);
    admin.call(8, &commit).await;

    let wanted = |name: &str| {
        OffsetFetchRequestTopics::default().with_name(TopicName(name.to_owned().into())).with_partition_indexes(vec![0])
    };
    let asked = |topics: Option<Vec<OffsetFetchRequestTopics>>| {
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(topics);
        schema::OffsetFetchRequest::default().with_groups(vec![asked])
    };
    let fetched = stranger.call(8, &asked(Some(vec![wanted("t"), wanted("other")]))).await.groups.remove(0).topics;
    let fetched: Vec<_> =
        fetched.iter().map(|topic| &topic.partitions[0]).map(|p| (p.error_code, p.committed_offset)).collect();
    assert_eq!(fetched, [(0, 1), (topic_refused, -1)]);
    assert_eq!(stranger.call(8, &asked(None)).await.groups[0].topics.len(), 1, "of all, what may be seen");
    assert_eq!(admin.call(8, &asked(None)).await.groups[0].topics.len(), 2);
    let mut bob = Peer::connect_as(&_cluster, "User:bob").await;
    assert_eq!(bob.call(8, &asked(None)).await.groups[0].error_code, group_refused);

    let list = schema::ListGroupsRequest::default();
    assert_eq!(stranger.call(4, &list).await.groups.len(), 1);
    assert_eq!(bob.call(4, &list).await.groups.len(), 0);
    let describe = schema::DescribeGroupsRequest::default().with_groups(vec![group()]);
    let describe = describe.with_include_authorized_operations(true);
    let described = stranger.call(5, &describe).await.groups.remove(0);
    assert_eq!(described.authorized_operations, 1 << READ | 1 << DESCRIBE);
    assert_eq!(bob.call(5, &describe).await.groups[0].error_code, group_refused);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_refused_everywhere_by_the_code_of_what_it_asks_about() {
    let (cluster, _, mut stranger) = guarded().await;
    let (topic, group) = (code(ErrorCode::TopicAuthorizationFailed), code(ErrorCode::GroupAuthorizationFailed));
    let (transaction, all) =
        (code(ErrorCode::TransactionalIdAuthorizationFailed), code(ErrorCode::ClusterAuthorizationFailed));
    macro_rules! refused {
        ($version:expr, $request:ident { $($with:ident: $value:expr),* }, |$answer:ident| $path:expr, $code:expr) => {
            let request = schema::$request::default()$(.$with($value))*;
            let $answer = stranger.call($version, &request).await;
            assert_eq!($path, $code, stringify!($request));
        };
    }
    let g = || GroupId("g".into());
    let x = || TransactionalId("x".into());
    refused!(0, HeartbeatRequest { with_group_id: g() }, |a| a.error_code, group);
    refused!(0, SyncGroupRequest { with_group_id: g() }, |a| a.error_code, group);
    refused!(0, JoinGroupRequest { with_group_id: g() }, |a| a.error_code, group);
    refused!(0, LeaveGroupRequest { with_group_id: g() }, |a| a.error_code, group);
    refused!(0, DeleteGroupsRequest { with_groups_names: vec![g()] }, |a| a.results[0].error_code, group);
    refused!(0, OffsetDeleteRequest { with_group_id: g() }, |a| a.error_code, group);
    refused!(
        4,
        FindCoordinatorRequest { with_coordinator_keys: vec!["g".into()] },
        |a| a.coordinators[0].error_code,
        group
    );
    refused!(1, FindCoordinatorRequest { with_key: "x".into(), with_key_type: 1 }, |a| a.error_code, transaction);
    let beat = (vec![name("t")], vec![]);
    refused!(
        0,
        ConsumerGroupHeartbeatRequest {
            with_group_id: g(),
            with_rebalance_timeout_ms: 9,
            with_subscribed_topic_names: Some(beat.0),
            with_topic_partitions: Some(beat.1)
        },
        |a| a.error_code,
        group
    );
    refused!(0, ConsumerGroupDescribeRequest { with_group_ids: vec![g()] }, |a| a.groups[0].error_code, group);

    refused!(4, InitProducerIdRequest { with_transactional_id: None }, |a| a.error_code, all);
    refused!(4, InitProducerIdRequest { with_transactional_id: Some(x()) }, |a| a.error_code, transaction);
    refused!(3, EndTxnRequest { with_transactional_id: x() }, |a| a.error_code, transaction);
    refused!(
        3,
        AddOffsetsToTxnRequest { with_transactional_id: x(), with_group_id: g() },
        |a| a.error_code,
        transaction
    );
    refused!(4, AddPartitionsToTxnRequest { with_transactions: vec![] }, |a| a.error_code, all);

    refused!(
        9,
        ListOffsetsRequest { with_topics: list_offsets().topics },
        |a| a.topics[0].partitions[0].error_code,
        topic
    );
    refused!(
        4,
        DeleteTopicsRequest { with_topic_names: vec![name("t"), name("none")] },
        |a| a.responses.iter().map(|topic| topic.error_code).collect::<Vec<_>>(),
        [topic; 2]
    );
    let create = schema::create_topics_request::CreatableTopic::default().with_name(name("new")).with_num_partitions(1);
    refused!(
        5,
        CreateTopicsRequest { with_topics: vec![create.with_replication_factor(1)] },
        |a| a.topics[0].error_code,
        topic
    );
    let grow = schema::create_partitions_request::CreatePartitionsTopic::default().with_name(name("t")).with_count(2);
    refused!(2, CreatePartitionsRequest { with_topics: vec![grow] }, |a| a.results[0].error_code, topic);
    let records = schema::delete_records_request::DeleteRecordsTopic::default().with_name(name("t"));
    let records = records.with_partitions(vec![Default::default()]);
    refused!(1, DeleteRecordsRequest { with_topics: vec![records] }, |a| a.topics[0].partitions[0].error_code, topic);
    let epoch = schema::offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(name("t"));
    let epoch = epoch.with_partitions(vec![Default::default()]);
    refused!(
        3,
        OffsetForLeaderEpochRequest { with_topics: vec![epoch] },
        |a| a.topics[0].partitions[0].error_code,
        topic
    );
    assert_eq!(cluster.offsets("new", 0), None);

    refused!(2, ElectLeadersRequest { with_topic_partitions: None }, |a| a.error_code, all);
    refused!(0, AlterPartitionReassignmentsRequest { with_topics: vec![] }, |a| a.error_code, all);
    refused!(0, ListPartitionReassignmentsRequest { with_topics: None }, |a| a.error_code, all);
    refused!(4, DescribeLogDirsRequest { with_topics: None }, |a| a.error_code, all);
    refused!(1, ListConfigResourcesRequest { with_resource_types: vec![] }, |a| a.error_code, all);
    refused!(2, DescribeQuorumRequest { with_topics: vec![] }, |a| a.error_code, all);
    let topics = ["t", "none"]
        .map(|topic| schema::describe_topic_partitions_request::TopicRequest::default().with_name(name(topic)));
    refused!(
        0,
        DescribeTopicPartitionsRequest { with_topics: topics.into(), with_response_partition_limit: 9 },
        |a| a.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(),
        [topic; 2]
    );
    refused!(
        0,
        DescribeTransactionsRequest { with_transactional_ids: vec![x()] },
        |a| a.transaction_states[0].error_code,
        transaction
    );
    let producers = schema::describe_producers_request::TopicRequest::default().with_name(name("t"));
    refused!(
        0,
        DescribeProducersRequest { with_topics: vec![producers.with_partition_indexes(vec![0])] },
        |a| a.topics[0].partitions[0].error_code,
        topic
    );
    let marker = schema::write_txn_markers_request::WritableTxnMarkerTopic::default().with_name(name("t"));
    let marker = schema::write_txn_markers_request::WritableTxnMarker::default()
        .with_topics(vec![marker.with_partition_indexes(vec![0])]);
    refused!(
        1,
        WriteTxnMarkersRequest { with_markers: vec![marker] },
        |a| a.markers[0].topics[0].partitions[0].error_code,
        all
    );
}

/// KIP-360's way without a transactional id: leave to write to any topic is leave to have a producer id.
#[tokio::test(start_paused = true)]
async fn whoever_may_write_somewhere_gets_a_producer_id_unless_a_deny_covers_it() {
    let (_cluster, mut admin, mut stranger) = guarded().await;
    let init = schema::InitProducerIdRequest::default().with_transactional_id(None);
    let refused = code(ErrorCode::ClusterAuthorizationFailed);
    macro_rules! outcome {
        () => {
            stranger.call(4, &init).await.error_code
        };
    }
    admin.create_acls([alice((TOPIC, "clicks"), WRITE)]).await;
    assert_eq!(outcome!(), 0);
    let deny =
        |name, pattern| alice((TOPIC, name), WRITE).with_permission_type(DENY).with_resource_pattern_type(pattern);
    admin.create_acls([deny("click", PREFIXED)]).await;
    assert_eq!(outcome!(), refused);
    admin.create_acls([alice((TOPIC, "c"), WRITE).with_resource_pattern_type(PREFIXED)]).await;
    assert_eq!(outcome!(), 0, "most of what begins with c is left");
    admin.create_acls([deny("*", LITERAL)]).await;
    assert_eq!(outcome!(), refused);
    admin.create_acls([alice((CLUSTER, "kafka-cluster"), IDEMPOTENT_WRITE)]).await;
    assert_eq!(outcome!(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_needs_leave_for_its_id_whatever_topic_it_is_about() {
    let (_cluster, mut admin, mut stranger) = guarded().await;
    admin.create_acls([alice((TOPIC, "t"), WRITE)]).await;
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
    encoder.append(1, None, Some(b"a"), &[]);
    let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
    let batch = body.to_batch(ProducerIdAndEpoch { id: 1, epoch: 0 }, 0, true);
    let request = produce("t", 0, batch).with_transactional_id(Some(TransactionalId("x".into())));
    let refused = code(ErrorCode::TransactionalIdAuthorizationFailed);
    let answer = stranger.call(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, refused);
    admin.create_acls([alice((TRANSACTIONAL_ID, "x"), WRITE)]).await;
    let answer = stranger.call(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, code(ErrorCode::InvalidProducerIdMapping));
    // Partitions of a topic that may not be written to hold up the others.
    use schema::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    let topic = |topic: &str| AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(vec![0]);
    let add = schema::AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId("x".into()))
        .with_v3_and_below_topics(vec![topic("t"), topic("other")]);
    let results = stranger.call(3, &add).await.results_by_topic_v3_and_below;
    let codes: Vec<_> = results.iter().map(|topic| topic.results_by_partition[0].partition_error_code).collect();
    assert_eq!(codes, [code(ErrorCode::OperationNotAttempted), code(ErrorCode::TopicAuthorizationFailed)]);
}
