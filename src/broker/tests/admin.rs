//! What is asked about topics, offsets and configs, and refused as Apache Kafka refuses it: each of these was answered
//! otherwise until other people's clients asked (`protocol-tests/foreign/`).

use super::*;
use crate::broker::api::Answer;
use crate::error::ErrorCode;
use crate::wire::group_protocol::Subscription;
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::wire::messages::describe_configs_request::DescribeConfigsResource;
use crate::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::{
    ApiVersionsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DescribeConfigsRequest, GroupId, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    ListConfigResourcesRequest, ListOffsetsRequest, OffsetDeleteRequest, ProducerId, TransactionalId,
};

/// What comes of listing the offsets of a topic's partitions, all at this timestamp.
async fn listed(peer: &mut Peer, version: i16, timestamp: i64, partitions: &[i32]) -> Vec<i16> {
    let wanted = partitions.iter().map(|index| {
        ListOffsetsPartition::default()
            .with_partition_index(*index)
            .with_timestamp(timestamp)
            .with_current_leader_epoch(-1)
    });
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(wanted.collect());
    let answer = peer.call(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
    answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
}

#[tokio::test(start_paused = true)]
async fn a_special_timestamp_needs_its_version_and_a_partition_comes_once() {
    let cluster = TestCluster::builder().topic("t", 2).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let (unsupported, invalid) = (ErrorCode::UnsupportedVersion.to_wire(), ErrorCode::InvalidRequest.to_wire());
    for (timestamp, first) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (0, 1)] {
        for version in 1..=9 {
            let want = if version < first { unsupported } else { 0 };
            assert_eq!(listed(&mut peer, version, timestamp, &[0]).await, [want], "{timestamp} in v{version}");
        }
    }
    assert_eq!(listed(&mut peer, 9, -7, &[0]).await, [unsupported]);
    assert_eq!(listed(&mut peer, 9, -1, &[0, 1, 0]).await, [invalid, 0, invalid]);
    let wanted = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted]);
    let answer = peer.call(9, &ListOffsetsRequest::default().with_topics(vec![topic; 2])).await;
    assert!(answer.topics.iter().all(|topic| topic.partitions[0].error_code == invalid), "in two entries of its topic");
}

#[tokio::test(start_paused = true)]
async fn only_a_topic_that_deletes_lets_its_records_be_deleted() {
    let builder = TestCluster::builder().topic_with("kept", 1, [("cleanup.policy", "compact")]);
    let cluster =
        builder.topic_with("both", 1, [("cleanup.policy", "compact,delete")]).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    for (topic, want) in [("kept", ErrorCode::PolicyViolation.to_wire()), ("both", 0)] {
        let wanted = vec![DeleteRecordsPartition::default().with_offset(0)];
        let topics = vec![DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(wanted)];
        let answer = peer.call(2, &DeleteRecordsRequest::default().with_topics(topics)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, want, "{topic}");
    }
}

/// A topic with replicas by hand, as the controller is asked for it.
async fn created(peer: &mut Peer, topic: &str, replicas: &[&[i32]]) -> i16 {
    let ids = |nodes: &[i32]| nodes.iter().copied().map(BrokerId).collect();
    let by_hand = replicas.iter().zip(0..).map(|(nodes, index)| {
        CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(ids(nodes))
    });
    let counted = if replicas.is_empty() { 1 } else { -1 };
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(counted)
        .with_replication_factor(counted as i16)
        .with_assignments(by_hand.collect());
    peer.call(7, &CreateTopicsRequest::default().with_topics(vec![topic])).await.topics[0].error_code
}

async fn grown(peer: &mut Peer, count: i32, replicas: &[&[i32]]) -> i16 {
    let by_hand = replicas.iter().map(|nodes| {
        CreatePartitionsAssignment::default().with_broker_ids(nodes.iter().copied().map(BrokerId).collect())
    });
    let topic = CreatePartitionsTopic::default()
        .with_name(name("t"))
        .with_count(count)
        .with_assignments(Some(by_hand.collect()).filter(|all: &Vec<_>| !all.is_empty()));
    peer.call(3, &CreatePartitionsRequest::default().with_topics(vec![topic])).await.results[0].error_code
}

#[tokio::test(start_paused = true)]
async fn names_that_collide_and_replicas_that_can_not_be_are_refused() {
    let cluster = TestCluster::builder().brokers(3).topic("a.b", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let invalid = ErrorCode::InvalidReplicaAssignment.to_wire();
    assert_eq!(created(&mut peer, "a_b", &[]).await, ErrorCode::InvalidTopicException.to_wire());
    assert_eq!(created(&mut peer, "a-b", &[]).await, 0);
    for wrong in [&[&[1, 1][..]][..], &[&[1, 9]], &[&[]], &[&[1, 2], &[3]]] {
        assert_eq!(created(&mut peer, "t", wrong).await, invalid, "{wrong:?}");
    }
    assert_eq!(created(&mut peer, "t", &[&[2, 1]]).await, 0);
    for wrong in [&[&[1, 1][..]][..], &[&[1, 9]], &[&[3]], &[&[1, 2], &[2, 3]]] {
        assert_eq!(grown(&mut peer, 2, wrong).await, invalid, "{wrong:?}");
    }
    assert_eq!(grown(&mut peer, 2, &[&[3, 2]]).await, 0);
    let replicas: Vec<_> =
        cluster.shared.state().topics["t"].partitions.iter().map(|one| one.replicas.clone()).collect();
    assert_eq!(replicas, [[NodeId(2), NodeId(1)], [NodeId(3), NodeId(2)]]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_to_grow_twice_at_once_does_not_grow() {
    let cluster = TestCluster::builder().topic("t", 1).topic("u", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let grow =
        |topic, count| CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None);
    let topics = vec![grow("t", 2), grow("u", 2), grow("t", 3)];
    let results = peer.call(3, &CreatePartitionsRequest::default().with_topics(topics)).await.results;
    let told = results.iter().map(|result| (&**result.name, result.error_code, result.error_message.as_deref()));
    let twice = ("t", ErrorCode::InvalidRequest.to_wire(), Some("Duplicate topic name."));
    assert_eq!(told.collect::<Vec<_>>(), [twice, ("u", 0, None)]);
    assert_eq!((cluster.offsets("t", 1), cluster.offsets("u", 1)), (None, Some((0, 0))));
}

#[tokio::test(start_paused = true)]
async fn configs_have_bounds_and_come_once() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let (config, request) = (ErrorCode::InvalidConfig.to_wire(), ErrorCode::InvalidRequest.to_wire());
    for (changes, want) in [
        (&[("retention.ms", Some("-1"))][..], 0),
        (&[("retention.ms", Some("-2"))], config),
        (&[("max.message.bytes", Some("-1"))], config),
        (&[("segment.ms", Some("0"))], config),
        (&[("min.cleanable.dirty.ratio", Some("1.5"))], config),
        (&[("retention.ms", None)], request),
        (&[("retention.ms", Some("1")), ("retention.ms", Some("2"))], request),
    ] {
        let configs = changes
            .iter()
            .map(|(key, value)| AlterableConfig::default().with_name((*key).into()).with_value(value.map(Into::into)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name("t".into())
            .with_configs(configs.collect());
        let answer = peer.call(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await;
        assert_eq!(answer.responses[0].error_code, want, "{changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_and_brokers_are_what_has_configs() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let unsupported = ErrorCode::UnsupportedVersion.to_wire();
    for (version, kinds, code, want) in [
        (0, &[][..], 0, &[][..]),
        (1, &[], 0, &[("t", 2), ("1", 4), ("2", 4), ("1", 8), ("2", 8)]),
        (1, &[4, 16], 0, &[("1", 4), ("2", 4)]),
        (1, &[4, 4, 16, 4], 0, &[("1", 4), ("2", 4)]),
        (1, &[7], unsupported, &[]),
    ] {
        let answer = peer.call(version, &ListConfigResourcesRequest::default().with_resource_types(kinds.into())).await;
        let found: Vec<_> =
            answer.config_resources.iter().map(|one| (&*one.resource_name, one.resource_type)).collect();
        assert_eq!((answer.error_code, &found[..]), (code, want), "{kinds:?} in v{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn configs_are_those_of_what_there_is() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 2).await;
    for (kind, resource, want) in [
        (2, "t", 0),
        (2, "none", ErrorCode::UnknownTopicOrPartition.to_wire()),
        (2, "a/b", ErrorCode::InvalidTopicException.to_wire()),
        (4, "2", 0),
        (4, "1", ErrorCode::InvalidRequest.to_wire()), // another broker's
        (4, "two", ErrorCode::InvalidRequest.to_wire()),
    ] {
        let wanted = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(resource.into())
            .with_configuration_keys(None);
        let mut answer = peer.call(4, &DescribeConfigsRequest::default().with_resources(vec![wanted])).await;
        let result = answer.results.remove(0);
        assert_eq!(result.error_code, want, "{resource}");
        assert!(result.configs.iter().all(|config| config.documentation.is_none()), "nobody has asked");
        if kind == 4 && want == 0 {
            let id = result.configs.iter().find(|config| &*config.name == "node.id").and_then(|id| id.value.clone());
            assert_eq!(id.as_deref(), Some("2"));
            let listener = result.configs.iter().find(|config| &*config.name == "advertised.listeners");
            let listener = listener.and_then(|listener| listener.value.clone());
            assert_eq!(listener.as_deref(), Some("PLAINTEXT://broker-2:9092"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_of_topics_that_no_member_reads_can_be_deleted() {
    let cluster = TestCluster::builder().topic("read", 1).topic("left", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let reads = |topic: &str| Subscription { topics: vec![topic.into()], ..Subscription::default() };
    for (group, kind, metadata, want) in [
        ("consumers", "consumer", reads("read").encode().unwrap(), [ErrorCode::GroupSubscribedToTopic.to_wire(), 0]),
        ("unreadable", "consumer", Bytes::new(), [ErrorCode::GroupSubscribedToTopic.to_wire(); 2]),
    ] {
        let protocol = JoinGroupRequestProtocol::default().with_name("range".into()).with_metadata(metadata);
        let join = JoinGroupRequest::default()
            .with_group_id(GroupId(group.into()))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(kind.into())
            .with_protocols(vec![protocol]);
        assert_eq!(peer.call(3, &join).await.error_code, 0);
        let topics = ["read", "left"].map(|topic| {
            let partitions = vec![OffsetDeleteRequestPartition::default()];
            OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(partitions)
        });
        let delete = OffsetDeleteRequest::default().with_group_id(GroupId(group.into())).with_topics(topics.into());
        let answer = peer.call(0, &delete).await;
        assert_eq!(
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect::<Vec<_>>(),
            want,
            "{group}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_asked_for_by_a_name_and_all_or_nothing_of_its_past() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    for (transactional, id, epoch, want) in [("", -1, -1, 42), ("t", 1000, -1, 42), ("t", -1, 0, 42), ("t", -1, -1, 0)]
    {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(transactional.into())))
            .with_transaction_timeout_ms(1000)
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch);
        assert_eq!(peer.call(5, &request).await.error_code, want, "{transactional} {id} {epoch}");
    }
}

#[tokio::test(start_paused = true)]
async fn features_are_named_and_a_version_too_new_is_told_of_this_api_only() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let ours =
        ApiVersionsRequest::default().with_client_software_name("test".into()).with_client_software_version("1".into());
    let answer = peer.call(4, &ours).await;
    let features: Vec<_> =
        answer.finalized_features.iter().map(|one| (one.name.to_string(), one.max_version_level)).collect();
    assert_eq!(features, [("group.version".to_owned(), 1), ("transaction.version".to_owned(), 2)]);
    let Answer::Frame(frame) = crate::broker::api_versions::too_new(Emulation::default(), 7).unwrap() else { panic!() };
    let answer = decode_response::<ApiVersionsRequest>(0, frame.slice(4..)).unwrap();
    let listed: Vec<_> = answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!((answer.error_code, listed), (ErrorCode::UnsupportedVersion.to_wire(), vec![(18, 0, 4)]));
}
