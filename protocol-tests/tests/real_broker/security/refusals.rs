//! What is refused to somebody whom ACLs leave out.

use super::{LITERAL, PREFIXED, Script, acl, creating, filter, text};
use bytes::Bytes;
use kafka_protocol::messages::{self as schema, GroupId, TopicName, TransactionalId};
use milena::ids::ProducerIdAndEpoch;
use milena::record::compression::{Compression, Compressor};
use milena::record::encode::RecordEncoder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One record, as a batch.
fn one_record(transactional: bool) -> Bytes {
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 10);
    encoder.append(
        SystemTime::now().duration_since(UNIX_EPOCH).expect("past 1970").as_millis() as i64,
        None,
        Some(b"x"),
        &[],
    );
    let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
    let producer = if transactional { ProducerIdAndEpoch { id: 1, epoch: 0 } } else { ProducerIdAndEpoch::NONE };
    body.to_batch(producer, if transactional { 0 } else { -1 }, transactional)
}

/// What is refused to somebody whom ACLs leave out: topics, groups and transactional ids that are another's, or half of it.
pub(super) async fn refusals(script: &mut Script, mark: &str) {
    use schema::{
        add_partitions_to_txn_request as add, fetch_request as fetch, list_offsets_request as list,
        metadata_request as metadata, offset_commit_request as commit, offset_fetch_request as committed,
        produce_request as produce,
    };
    const READ: i8 = 3;
    const WRITE: i8 = 4;
    const DESCRIBE: i8 = 8;
    let (nobody, anonymous) = ("User:alice", "User:ANONYMOUS");
    let named = |name: &str| format!("{mark}-{name}");
    let topic = |name: &str| TopicName(text(&named(name)));
    let group = |name: &str| GroupId(text(&named(name)));
    let transaction = |name: &str| TransactionalId(text(&named(name)));
    let new = |name: &str| {
        schema::create_topics_request::CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let topics = ["no", "see", "read", "write"].map(new).to_vec();
    let answer = script.call(7, schema::CreateTopicsRequest::default().with_topics(topics)).await;
    let id = answer.topics.iter().find(|one| *one.name == *topic("no")).map(|one| one.topic_id).unwrap_or_default();
    let acls = vec![
        acl(2, &named("no"), nobody, READ),
        acl(2, &named("none"), nobody, READ),
        acl(2, &named("see"), anonymous, DESCRIBE),
        acl(2, &named("read"), anonymous, READ),
        acl(2, &named("write"), anonymous, WRITE),
        acl(3, &named("no"), nobody, READ),
        acl(3, &named("see"), anonymous, DESCRIBE),
        acl(5, &named("no"), nobody, WRITE),
        acl(5, &named("see"), anonymous, DESCRIBE),
    ];
    ask!(script, "acls", 3, creating(acls), |a| a.results.iter().map(|one| one.error_code).collect::<Vec<_>>());
    // A real cluster makes the coordinators' topics when they are first asked for.
    for kind in [0, 1] {
        for _ in 0..40 {
            let request = schema::FindCoordinatorRequest::default().with_key_type(kind);
            let answer = script.call(4, request.with_coordinator_keys(vec![text(&named("free"))])).await;
            if answer.coordinators.iter().all(|one| one.error_code == 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;

    let of = |name: &str| metadata::MetadataRequestTopic::default().with_name(Some(topic(name)));
    let by_id = metadata::MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let asked = |topics: Option<Vec<metadata::MetadataRequestTopic>>| {
        let request = schema::MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true);
        request.with_include_topic_authorized_operations(true)
    };
    for topics in [Some(["no", "none", "see", "read", "write"].map(of).to_vec()), Some(vec![by_id]), None] {
        let answer = script.call(12, asked(topics)).await;
        let name = |one: &schema::metadata_response::MetadataResponseTopic| {
            one.name.as_ref().map(|name| name.replace(mark, ""))
        };
        let mut told: Vec<_> = answer
            .topics
            .iter()
            .filter(|one| one.name.as_ref().is_none_or(|name| name.contains(&format!("{mark}-"))))
            .map(|one| (name(one), one.topic_id.is_nil(), one.error_code, one.topic_authorized_operations))
            .filter(|one| !["-clicks", "-odd"].iter().any(|other| one.0.as_deref() == Some(other)))
            .collect();
        told.sort();
        script.note("metadata", told);
    }
    let describe = schema::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    ask!(script, "cluster", 0, describe, |a| a.cluster_authorized_operations);

    for name in ["no", "none", "see", "read", "write"] {
        let data = produce::PartitionProduceData::default().with_records(Some(one_record(false)));
        let data = produce::TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
        let request = schema::ProduceRequest::default().with_acks(-1).with_timeout_ms(5000);
        let answer = script.call(9, request.with_topic_data(vec![data])).await;
        script.note(&format!("produce {name}"), answer.responses[0].partition_responses[0].error_code);
        let wanted = fetch::FetchPartition::default().with_current_leader_epoch(-1).with_last_fetched_epoch(-1);
        let wanted = wanted.with_partition_max_bytes(1000);
        let wanted = fetch::FetchTopic::default().with_topic(topic(name)).with_partitions(vec![wanted]);
        let request = schema::FetchRequest::default().with_max_bytes(1000).with_session_epoch(-1);
        let answer = script.call(12, request.with_topics(vec![wanted])).await;
        script.note(&format!("fetch {name}"), (answer.error_code, answer.responses[0].partitions[0].error_code));
        let end = list::ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-1);
        let end = list::ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![end]);
        let answer = script.call(7, schema::ListOffsetsRequest::default().with_topics(vec![end])).await;
        script.note(&format!("offsets {name}"), answer.topics[0].partitions[0].error_code);
        let delete = schema::delete_records_request::DeleteRecordsTopic::default().with_name(topic(name));
        let delete = delete.with_partitions(vec![Default::default()]);
        let request = schema::DeleteRecordsRequest::default().with_timeout_ms(5000).with_topics(vec![delete]);
        let answer = script.call(2, request).await;
        script.note(&format!("delete {name}"), answer.topics[0].partitions[0].error_code);
        let grow =
            schema::create_partitions_request::CreatePartitionsTopic::default().with_name(topic(name)).with_count(2);
        let request = schema::CreatePartitionsRequest::default()
            .with_timeout_ms(5000)
            .with_topics(vec![grow.with_assignments(None)]);
        let answer = script.call(2, request).await;
        script.note(&format!("grow {name}"), answer.results[0].error_code);
        for kind in [2, 32] {
            let one = schema::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(&named(name)))
                .with_configuration_keys(None);
            let request = schema::DescribeConfigsRequest::default().with_resources(vec![one]);
            ask!(script, &format!("configs {kind} {name}"), 4, request, |a| a.results[0].error_code);
            let one = schema::alter_configs_request::AlterConfigsResource::default();
            let one = one.with_resource_type(kind).with_resource_name(text(&named(name)));
            let request = schema::AlterConfigsRequest::default().with_resources(vec![one]).with_validate_only(true);
            ask!(script, &format!("alter {kind} {name}"), 2, request, |a| a.responses[0].error_code);
        }
    }

    for name in ["no", "see", "free"] {
        let what = |what: &str| format!("{what} {name}");
        for kind in [0, 1] {
            let request = schema::FindCoordinatorRequest::default().with_key_type(kind);
            let request = request.with_coordinator_keys(vec![text(&named(name))]);
            ask!(script, &what("coordinator"), 4, request, |a| a.coordinators[0].error_code);
        }
        let request = schema::HeartbeatRequest::default().with_group_id(group(name)).with_member_id(text("m"));
        ask!(script, &what("heartbeat"), 3, request, |a| a.error_code);
        let request = schema::SyncGroupRequest::default().with_group_id(group(name)).with_member_id(text("m"));
        ask!(script, &what("sync"), 3, request, |a| a.error_code);
        let range = schema::join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        let request = schema::JoinGroupRequest::default()
            .with_group_id(group(name))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![range]);
        ask!(script, &what("join"), 5, request, |a| a.error_code);
        let request = schema::LeaveGroupRequest::default().with_group_id(group(name)).with_member_id(text("m"));
        ask!(script, &what("leave"), 2, request, |a| a.error_code);
        let offset = |name: &str| {
            let offset = commit::OffsetCommitRequestPartition::default();
            commit::OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![offset])
        };
        let request = schema::OffsetCommitRequest::default()
            .with_group_id(group(name))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(["no", "none", "see", "read"].map(offset).to_vec());
        let answer = script.call(8, request).await;
        let mut codes: Vec<_> =
            answer.topics.iter().map(|one| (one.name.replace(mark, ""), one.partitions[0].error_code)).collect();
        codes.sort();
        script.note(&what("commit"), codes);
        let offset = |name: &str| {
            committed::OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0])
        };
        for topics in [Some(["no", "see", "read"].map(offset).to_vec()), None] {
            let asked = committed::OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(topics);
            let answer = script.call(8, schema::OffsetFetchRequest::default().with_groups(vec![asked])).await;
            let mut codes: Vec<_> = answer.groups[0]
                .topics
                .iter()
                .map(|one| {
                    (one.name.replace(mark, ""), one.partitions[0].error_code, one.partitions[0].committed_offset)
                })
                .collect();
            codes.sort();
            script.note(&what("committed"), (answer.groups[0].error_code, codes));
        }
        let request = schema::DescribeGroupsRequest::default().with_groups(vec![group(name)]);
        let request = request.with_include_authorized_operations(true);
        ask!(script, &what("group"), 5, request, |a| (a.groups[0].error_code, a.groups[0].authorized_operations));
        let request = schema::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(name)]);
        ask!(script, &what("consumer group"), 0, request, |a| a.groups[0].error_code);
        for read in ["no", "read"] {
            let request = schema::ConsumerGroupHeartbeatRequest::default()
                .with_group_id(GroupId(text(&format!("{}-{read}", named(name)))))
                .with_rebalance_timeout_ms(10_000)
                .with_subscribed_topic_names(Some(vec![topic(read), topic("read")]))
                .with_topic_partitions(Some(vec![]));
            ask!(script, &what(&format!("consumer of {read}")), 0, request, |a| a.error_code);
        }
        let request = schema::OffsetDeleteRequest::default().with_group_id(group(name));
        ask!(script, &what("forget"), 0, request, |a| a.error_code);
        let request = schema::DeleteGroupsRequest::default().with_groups_names(vec![group(name)]);
        ask!(script, &what("delete"), 2, request, |a| a.results[0].error_code);

        let init = schema::InitProducerIdRequest::default()
            .with_transactional_id(Some(transaction(name)))
            .with_transaction_timeout_ms(10_000)
            .with_producer_id(schema::ProducerId(-1))
            .with_producer_epoch(-1);
        let mut answer = script.call(4, init.clone()).await;
        for _ in 0..40 {
            // A real coordinator has to read what it knows first.
            if ![14, 15, 16].contains(&answer.error_code) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            answer = script.call(4, init.clone()).await;
        }
        script.note(&what("init"), answer.error_code);
        let producer = (answer.producer_id, answer.producer_epoch);
        for partitions in [["write", "no"], ["write", "none"], ["write", "write"]] {
            let mut partitions = partitions.to_vec();
            partitions.dedup();
            let each =
                |name: &&str| add::AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(vec![0]);
            let request = schema::AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(transaction(name))
                .with_v3_and_below_producer_id(producer.0)
                .with_v3_and_below_producer_epoch(producer.1)
                .with_v3_and_below_topics(partitions.iter().map(each).collect());
            let answer = script.call(3, request).await;
            let mut codes: Vec<_> = answer
                .results_by_topic_v3_and_below
                .iter()
                .map(|one| (one.name.replace(mark, ""), one.results_by_partition[0].partition_error_code))
                .collect();
            codes.sort();
            script.note(&what("add"), codes);
        }
        for of in ["no", "free"] {
            let request = schema::AddOffsetsToTxnRequest::default()
                .with_transactional_id(transaction(name))
                .with_producer_id(producer.0)
                .with_producer_epoch(producer.1)
                .with_group_id(group(of));
            ask!(script, &what(&format!("add offsets of {of}")), 3, request, |a| a.error_code);
        }
        let data = produce::PartitionProduceData::default().with_records(Some(one_record(true)));
        let data = produce::TopicProduceData::default().with_name(topic("write")).with_partition_data(vec![data]);
        let request = schema::ProduceRequest::default().with_acks(-1).with_timeout_ms(5000);
        let request = request.with_topic_data(vec![data]);
        if name != "free" {
            let answer = script.call(9, request.clone().with_transactional_id(Some(transaction(name)))).await;
            script.note(&what("produce in transaction"), answer.responses[0].partition_responses[0].error_code);
        }
        let answer = script.call(9, request).await;
        script.note(&what("produce in none"), answer.responses[0].partition_responses[0].error_code);
        let request = schema::EndTxnRequest::default()
            .with_transactional_id(transaction(name))
            .with_producer_id(producer.0)
            .with_producer_epoch(producer.1);
        ask!(script, &what("end"), 3, request, |a| a.error_code);
    }
    let filters = vec![filter(1, PREFIXED, None), filter(1, LITERAL, None)];
    script.call(3, schema::DeleteAclsRequest::default().with_filters(filters)).await;
}
