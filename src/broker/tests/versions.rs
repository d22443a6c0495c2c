//! What ApiVersions lists is what works.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::{
    self as schema, ApiVersionsRequest, MetadataRequest, metadata_request::MetadataRequestTopic,
};

/// Asks in every version of `R`, in which `shape` can leave out what the version has not got.
async fn sweep<R: Request>(cluster: &TestCluster, api: ApiKey, shape: impl Fn(i16) -> R, frames: &mut Vec<Bytes>) {
    let (min, max) = api.versions();
    for version in min..=max {
        frames.push(encode_request(&shape(version), version, 1, "peer").expect("what the version can say").slice(4..));
        let mut peer = Peer::connect(cluster, 1).await;
        peer.send(version, &shape(version)).await;
        let answer = peer.receive::<R>(version).await;
        assert!(answer.is_some(), "{api:?} v{version} closes the connection");
        // And the refusal on command has to be one that the version can say.
        cluster.fault(api).once().error(ErrorCode::UnknownServerError);
        peer.send(version, &shape(version)).await;
        assert!(peer.receive::<R>(version).await.is_some(), "a refused {api:?} v{version} closes the connection");
    }
}

macro_rules! sweep_all {
    ($cluster:expr, $covered:expr, $frames:expr, $($api:ident, $request:ident, $shape:expr;)*) => {
        $(
            sweep::<schema::$request>(&$cluster, ApiKey::$api, $shape, &mut $frames).await;
            $covered.push(ApiKey::$api);
        )*
    };
}

#[tokio::test(start_paused = true)]
async fn every_api_listed_works_in_every_version_listed() {
    let (mut covered, _) = sweep_everything().await;
    covered.sort();
    let mut all = ApiKey::ALL.to_vec();
    all.sort();
    assert_eq!(covered, all, "an API is listed and not tried here");
}

/// The APIs tried, and the request frames (without their lengths) that they were tried with.
pub(super) async fn sweep_everything() -> (Vec<ApiKey>, Vec<Bytes>) {
    let cluster =
        TestCluster::builder().topic("t", 2).authorizer(&["User:ANONYMOUS"]).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let id = peer.call(12, &MetadataRequest::default().with_topics(None)).await.topics[0].topic_id;
    peer.produce("t", 0, batch(&[(1, "a"), (2, "b")])).await;
    let group = || schema::GroupId("g".into());
    let (mut covered, mut frames) = (Vec::new(), Vec::new());
    sweep_all! { cluster, covered, frames,
        Produce, ProduceRequest, |version| {
            let mut request = produce("t", 1, batch(&[(5, "x")]));
            if version >= 13 { request.topic_data[0].name = TopicName::default(); request.topic_data[0].topic_id = id; }
            request
        };
        Fetch, FetchRequest, |version| {
            let mut request = fetch("t", 0, 0, 0);
            if version >= 13 { request.topics[0].topic = TopicName::default(); request.topics[0].topic_id = id; }
            request.with_isolation_level(1)
        };
        ListOffsets, ListOffsetsRequest, |_| {
            use schema::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
            let at = |timestamp| ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions([-1, -2, 2, 9].map(at).to_vec());
            schema::ListOffsetsRequest::default().with_topics(vec![topic])
        };
        Metadata, MetadataRequest, |version| {
            let named = |topic: &str| MetadataRequestTopic::default().with_name(Some(name(topic)));
            let mut topics = vec![named("t"), named("..")];
            let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
            if version >= 12 { topics.extend([by_id(id), by_id(uuid::Uuid::from_bytes([9; 16]))]); }
            MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true)
        };
        OffsetCommit, OffsetCommitRequest, |_| {
            use schema::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
            let one = OffsetCommitRequestPartition::default().with_committed_offset(1).with_committed_metadata(Some("m".into()));
            let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![one]);
            schema::OffsetCommitRequest::default().with_group_id(group()).with_generation_id_or_member_epoch(-1).with_topics(vec![topic])
        };
        OffsetFetch, OffsetFetchRequest, |version| {
            use schema::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
            if version >= 8 {
                let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
                return schema::OffsetFetchRequest::default().with_groups(vec![all]);
            }
            let topic = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
            schema::OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]))
        };
        FindCoordinator, FindCoordinatorRequest, |version| {
            let request = schema::FindCoordinatorRequest::default();
            if version >= 4 { request.with_coordinator_keys(vec!["g".into(), "h".into()]) } else { request.with_key("g".into()) }
        };
        JoinGroup, JoinGroupRequest, |version| {
            use schema::join_group_request::JoinGroupRequestProtocol;
            let range = JoinGroupRequestProtocol::default().with_name("range".into()).with_metadata(Bytes::from_static(b"m"));
            schema::JoinGroupRequest::default()
                .with_group_id(schema::GroupId(format!("join-{version}").into()))
                .with_session_timeout_ms(10_000)
                .with_protocol_type("consumer".into())
                .with_protocols(vec![range])
        };
        Heartbeat, HeartbeatRequest, |_| schema::HeartbeatRequest::default().with_group_id(group());
        LeaveGroup, LeaveGroupRequest, |version| {
            let request = schema::LeaveGroupRequest::default().with_group_id(group());
            let member = schema::leave_group_request::MemberIdentity::default().with_member_id("nobody".into());
            if version >= 3 { request.with_members(vec![member]) } else { request.with_member_id("nobody".into()) }
        };
        SyncGroup, SyncGroupRequest, |_| schema::SyncGroupRequest::default().with_group_id(group());
        DescribeGroups, DescribeGroupsRequest, |_| schema::DescribeGroupsRequest::default()
            .with_groups(vec![group(), schema::GroupId("none".into()), schema::GroupId("join-9".into())]);
        ListGroups, ListGroupsRequest, |_| schema::ListGroupsRequest::default();
        ApiVersions, ApiVersionsRequest, |version| {
            let request = ApiVersionsRequest::default();
            if version < 3 { return request; }
            request.with_client_software_name("peer".into()).with_client_software_version("1".into())
        };
        SaslHandshake, SaslHandshakeRequest, |_| schema::SaslHandshakeRequest::default().with_mechanism("PLAIN".into());
        SaslAuthenticate, SaslAuthenticateRequest, |_| schema::SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0a\0b"));
        CreateTopics, CreateTopicsRequest, |version| {
            use schema::create_topics_request::CreatableTopic;
            let topic = |name: String| CreatableTopic::default().with_name(TopicName(name.into())).with_num_partitions(2).with_replication_factor(1);
            schema::CreateTopicsRequest::default().with_topics(vec![topic(format!("new-{version}")), topic("t".into())])
        };
        DeleteTopics, DeleteTopicsRequest, |version| {
            use schema::delete_topics_request::DeleteTopicState;
            let request = schema::DeleteTopicsRequest::default();
            if version < 6 { return request.with_topic_names(vec![name("new-2"), name("none")]); }
            let unknown = DeleteTopicState::default().with_name(None).with_topic_id(uuid::Uuid::from_bytes([9; 16]));
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(name("new-3"))), unknown])
        };
        DeleteRecords, DeleteRecordsRequest, |_| {
            use schema::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
            let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![DeleteRecordsPartition::default()]);
            schema::DeleteRecordsRequest::default().with_topics(vec![topic])
        };
        InitProducerId, InitProducerIdRequest, |_| schema::InitProducerIdRequest::default().with_transactional_id(None);
        OffsetForLeaderEpoch, OffsetForLeaderEpochRequest, |_| {
            use schema::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
            let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![OffsetForLeaderPartition::default()]);
            schema::OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
        };
        AddPartitionsToTxn, AddPartitionsToTxnRequest, |version| {
            use schema::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
            let topics = vec![AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(vec![0])];
            let request = schema::AddPartitionsToTxnRequest::default();
            if version < 4 { return request.with_v3_and_below_topics(topics); }
            request.with_transactions(vec![AddPartitionsToTxnTransaction::default().with_topics(topics)])
        };
        AddOffsetsToTxn, AddOffsetsToTxnRequest, |_| schema::AddOffsetsToTxnRequest::default().with_group_id(group());
        EndTxn, EndTxnRequest, |_| schema::EndTxnRequest::default();
        WriteTxnMarkers, WriteTxnMarkersRequest, |_| {
            use schema::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
            let topic = WritableTxnMarkerTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
            schema::WriteTxnMarkersRequest::default().with_markers(vec![WritableTxnMarker::default().with_topics(vec![topic])])
        };
        TxnOffsetCommit, TxnOffsetCommitRequest, |_| {
            use schema::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
            let partitions = vec![TxnOffsetCommitRequestPartition::default()];
            let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(partitions);
            schema::TxnOffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic])
        };
        DescribeAcls, DescribeAclsRequest, |_| schema::DescribeAclsRequest::default()
            .with_resource_type_filter(2).with_resource_name_filter(None).with_pattern_type_filter(1)
            .with_principal_filter(None).with_host_filter(None).with_operation(1).with_permission_type(1);
        CreateAcls, CreateAclsRequest, |_| {
            use schema::create_acls_request::AclCreation;
            let acl = AclCreation::default().with_resource_type(2).with_resource_name("t".into()).with_resource_pattern_type(3)
                .with_principal("User:a".into()).with_host("*".into()).with_operation(3).with_permission_type(3);
            schema::CreateAclsRequest::default().with_creations(vec![acl.clone().with_operation(99), acl])
        };
        DeleteAcls, DeleteAclsRequest, |_| {
            use schema::delete_acls_request::DeleteAclsFilter;
            let filter = DeleteAclsFilter::default()
                .with_resource_type_filter(2).with_pattern_type_filter(1).with_operation(3).with_permission_type(1);
            schema::DeleteAclsRequest::default().with_filters(vec![filter.clone().with_operation(99), filter])
        };
        DescribeConfigs, DescribeConfigsRequest, |_| {
            use schema::describe_configs_request::DescribeConfigsResource;
            let resource = |kind, name: &'static str| DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(name.into()).with_configuration_keys(None);
            schema::DescribeConfigsRequest::default().with_include_synonyms(true).with_resources(vec![resource(2, "t"), resource(4, "1"), resource(2, "none"), resource(9, "")])
        };
        DescribeLogDirs, DescribeLogDirsRequest, |_| schema::DescribeLogDirsRequest::default().with_topics(None);
        AlterConfigs, AlterConfigsRequest, |_| {
            use schema::alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config = AlterableConfig::default().with_name("retention.ms".into()).with_value(Some("5".into()));
            let topic = AlterConfigsResource::default().with_resource_type(2).with_resource_name("t".into());
            schema::AlterConfigsRequest::default()
                .with_validate_only(true)
                .with_resources(vec![topic.with_configs(vec![config]), AlterConfigsResource::default()])
        };
        CreatePartitions, CreatePartitionsRequest, |version| {
            use schema::create_partitions_request::CreatePartitionsTopic;
            let topic = CreatePartitionsTopic::default().with_name(name("t")).with_count(4 + i32::from(version)).with_assignments(None);
            schema::CreatePartitionsRequest::default().with_topics(vec![topic])
        };
        DeleteGroups, DeleteGroupsRequest, |_| schema::DeleteGroupsRequest::default().with_groups_names(vec![group()]);
        IncrementalAlterConfigs, IncrementalAlterConfigsRequest, |_| {
            use schema::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config = AlterableConfig::default().with_name("retention.ms".into()).with_value(Some("5".into()));
            let topic = AlterConfigsResource::default().with_resource_type(2).with_resource_name("t".into()).with_configs(vec![config]);
            schema::IncrementalAlterConfigsRequest::default().with_resources(vec![topic])
        };
        ElectLeaders, ElectLeadersRequest, |_| {
            use schema::elect_leaders_request::TopicPartitions;
            let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 9]);
            schema::ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]))
        };
        AlterPartitionReassignments, AlterPartitionReassignmentsRequest, |_| {
            use schema::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
            let to = |index, replicas| ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
            let partitions = vec![to(0, Some(vec![schema::BrokerId(1)])), to(1, None), to(9, None)];
            let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(partitions);
            schema::AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
        };
        ListPartitionReassignments, ListPartitionReassignmentsRequest, |_| schema::ListPartitionReassignmentsRequest::default().with_topics(None);
        OffsetDelete, OffsetDeleteRequest, |_| schema::OffsetDeleteRequest::default().with_group_id(group());
        DescribeQuorum, DescribeQuorumRequest, |_| {
            use schema::describe_quorum_request::{PartitionData, TopicData};
            let topic = |topic| TopicData::default().with_topic_name(name(topic)).with_partitions(vec![PartitionData::default()]);
            schema::DescribeQuorumRequest::default().with_topics(vec![topic("__cluster_metadata"), topic("t")])
        };
        ConsumerGroupHeartbeat, ConsumerGroupHeartbeatRequest, |version| {
            let request = schema::ConsumerGroupHeartbeatRequest::default()
                .with_group_id(schema::GroupId(format!("new-{version}").into()))
                .with_member_id("m".into())
                .with_rebalance_timeout_ms(1000)
                .with_subscribed_topic_names(Some(vec![name("t")]))
                .with_topic_partitions(Some(vec![]));
            if version >= 1 { request.with_subscribed_topic_regex(Some("t.*".into())) } else { request }
        };
        ConsumerGroupDescribe, ConsumerGroupDescribeRequest, |_| schema::ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![group(), schema::GroupId("none".into()), schema::GroupId("new-1".into())]);
        DescribeClientQuotas, DescribeClientQuotasRequest, |_| {
            use schema::describe_client_quotas_request::ComponentData;
            let users = ComponentData::default().with_entity_type("user".into()).with_match_type(2).with_match(None);
            schema::DescribeClientQuotasRequest::default().with_components(vec![users])
        };
        AlterClientQuotas, AlterClientQuotasRequest, |_| {
            use schema::alter_client_quotas_request::{EntityData, EntryData, OpData};
            let entity = EntityData::default().with_entity_type("user".into()).with_entity_name(None);
            let op = OpData::default().with_key("producer_byte_rate".into()).with_value(1e9);
            let entry = |op| EntryData::default().with_entity(vec![entity.clone()]).with_ops(vec![op]);
            schema::AlterClientQuotasRequest::default().with_entries(vec![entry(op.clone()), entry(op.with_value(0.5))])
        };
        DescribeUserScramCredentials, DescribeUserScramCredentialsRequest, |_| {
            let user = schema::describe_user_scram_credentials_request::UserName::default().with_name("a".into());
            schema::DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user.clone(), user]))
        };
        AlterUserScramCredentials, AlterUserScramCredentialsRequest, |_| {
            use schema::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
            let upsertion = ScramCredentialUpsertion::default().with_name("a".into()).with_mechanism(1).with_iterations(4096);
            schema::AlterUserScramCredentialsRequest::default()
                .with_deletions(vec![ScramCredentialDeletion::default().with_name("b".into()).with_mechanism(2)])
                .with_upsertions(vec![upsertion])
        };
        ListConfigResources, ListConfigResourcesRequest, |version| {
            let request = schema::ListConfigResourcesRequest::default();
            if version >= 1 { request.with_resource_types(vec![2, 4]) } else { request }
        };
        DescribeTopicPartitions, DescribeTopicPartitionsRequest, |_| {
            let topics = ["t", "none", ".."].map(|topic| schema::describe_topic_partitions_request::TopicRequest::default().with_name(name(topic)));
            schema::DescribeTopicPartitionsRequest::default().with_topics(topics.to_vec()).with_response_partition_limit(1)
        };
        UpdateFeatures, UpdateFeaturesRequest, |_| {
            use schema::update_features_request::FeatureUpdateKey;
            let update = FeatureUpdateKey::default().with_feature("transaction.version".into()).with_max_version_level(2);
            schema::UpdateFeaturesRequest::default().with_feature_updates(vec![update])
        };
        DescribeCluster, DescribeClusterRequest, |version| {
            let request = schema::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
            if version >= 1 { request.with_endpoint_type(1) } else { request }
        };
        DescribeProducers, DescribeProducersRequest, |_| {
            use schema::describe_producers_request::TopicRequest;
            let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
            schema::DescribeProducersRequest::default().with_topics(vec![topic])
        };
        DescribeTransactions, DescribeTransactionsRequest, |_| schema::DescribeTransactionsRequest::default()
            .with_transactional_ids(vec![schema::TransactionalId("none".into())]);
        ListTransactions, ListTransactionsRequest, |version| {
            let request = schema::ListTransactionsRequest::default().with_state_filters(vec!["Empty".into()]);
            if version >= 2 { request.with_transactional_id_pattern(Some("t.*".into())) } else { request }
        };
    }
    (covered, frames)
}

/// KIP-511: a client that is too new learns what there is from an answer in the oldest layout.
#[tokio::test(start_paused = true)]
async fn api_versions_too_new_is_answered_in_v0_with_error_35() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 0, 0xff, 0xff]).await.unwrap();
    let response = peer.receive::<ApiVersionsRequest>(0).await.expect("an answer");
    assert_eq!(response.error_code, 35);
    let listed: Vec<_> = response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(listed, [(18, 0, 4)], "Apache lists nothing else there");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_api_or_version_and_bytes_that_are_not_kafka_close_the_connection_and_only_that() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let hostile: [&[u8]; 5] = [
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], // an API that there is not
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 0, 0xff, 0xff],   // Metadata v99
        &[0xff, 0xff, 0xff, 0xff],                             // a negative length
        &[0, 0, 0, 1, 7],                                      // a frame without a header
        &[0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff], // a count of two milliards
    ];
    for bytes in hostile {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.stream.write_all(bytes).await.unwrap();
        assert!(peer.receive::<MetadataRequest>(1).await.is_none(), "{bytes:?}");
    }
    assert!(!Peer::connect(&cluster, 1).await.call(1, &MetadataRequest::default()).await.brokers.is_empty());
}
