//! Other brokers' versions and habits, request by request.

use super::transactions::transactional;
use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::MetadataResponsePartition;
use crate::wire::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, ApiVersionsResponse, EndTxnRequest, InitProducerIdRequest,
    MetadataRequest, ProducerId, TransactionalId,
};

async fn cluster(emulation: Emulation) -> TestCluster {
    let builder = TestCluster::builder().brokers(3).topic_with("t", 1, [("min.insync.replicas", "1")]);
    builder.emulate(emulation).in_memory().start().await.expect("in memory nothing can fail")
}

/// What it lists, in its own newest version.
async fn listing(peer: &mut Peer, emulation: Emulation) -> ApiVersionsResponse {
    let (_, version) = emulation.versions(ApiKey::ApiVersions).expect("all of them have it");
    let name = || "peer".into();
    let request = ApiVersionsRequest::default().with_client_software_name(name()).with_client_software_version(name());
    peer.call(version, &request).await
}

/// A connection over which a request was sent that is nothing but its head.
async fn asked(cluster: &TestCluster, key: i16, version: i16) -> Peer {
    let mut peer = Peer::connect(cluster, 1).await;
    let mut frame = vec![0, 0, 0, 10];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0xff, 0xff]);
    peer.stream.write_all(&frame).await.unwrap();
    peer
}

#[tokio::test(start_paused = true)]
async fn each_lists_what_it_serves_and_closes_the_connection_on_anything_else() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation).await;
        let listing = listing(&mut Peer::connect(&cluster, 1).await, emulation).await;
        for api in ApiKey::ALL {
            let listed = listing.api_keys.iter().find(|listed| listed.api_key == api.to_wire());
            let listed = listed.map(|listed| (listed.min_version, listed.max_version));
            let served = emulation.versions(*api);
            assert_eq!(listed.map(|range| range.1), served.map(|range| range.1), "{emulation} {api:?}");
            let (_, max) = served.unwrap_or((0, -1));
            if *api != ApiKey::ApiVersions {
                let mut peer = asked(&cluster, api.to_wire(), max + 1).await;
                assert!(peer.receive::<MetadataRequest>(0).await.is_none(), "{emulation} {api:?} v{}", max + 1);
            }
        }
        assert!(listing.api_keys.iter().any(|listed| (listed.api_key, listed.min_version) == (0, 0)), "{emulation}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_versions_too_new_lists_one_api_or_all_or_ends_the_connection() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation).await;
        let answer = asked(&cluster, 18, 99).await.receive::<ApiVersionsRequest>(0).await;
        let answer = answer.map(|answer| (answer.error_code, answer.api_keys.len()));
        let all = ApiKey::ALL.iter().filter(|api| emulation.versions(**api).is_some()).count();
        let expected = match emulation {
            Emulation::Redpanda => Some((35, all)),
            Emulation::EventHubs => None,
            _ => Some((35, 1)),
        };
        assert_eq!(answer, expected, "{emulation}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_kafka_4_has_the_features_of_groups_and_transactions() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation).await;
        let listing = listing(&mut Peer::connect(&cluster, 1).await, emulation).await;
        let levels: Vec<_> = listing.finalized_features.iter().map(|feature| feature.max_version_level).collect();
        let expected: &[i16] = if emulation == Emulation::Kafka43 { &[1, 2] } else { &[] };
        assert_eq!(levels, expected, "{emulation}");
    }
}

async fn described(peer: &mut Peer, topic: &str) -> (Option<ErrorCode>, Vec<MetadataResponsePartition>) {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
    let topic = peer.call(5, &request).await.topics.remove(0);
    (ErrorCode::from_wire(topic.error_code), topic.partitions)
}

/// Seen: 2.4.1 and 2.8.2 answer LEADER_NOT_AVAILABLE, 3.9.2 and 4.3.1 UNKNOWN_TOPIC_OR_PARTITION, all for some milliseconds.
#[tokio::test(start_paused = true)]
async fn a_topic_is_created_by_the_first_look_at_it_and_each_says_so_in_its_own_way() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation).await;
        let mut peer = Peer::connect(&cluster, 1).await;
        let (code, partitions) = described(&mut peer, "new").await;
        match emulation {
            Emulation::Kafka24 | Emulation::Kafka28 => assert_eq!(code, Some(ErrorCode::LeaderNotAvailable)),
            Emulation::Redpanda | Emulation::EventHubs => assert_eq!((code, partitions.len()), (None, 1)),
            _ => assert_eq!(code, Some(ErrorCode::UnknownTopicOrPartition)),
        }
        let (code, partitions) = described(&mut peer, "new").await;
        assert_eq!((code, partitions.len()), (None, 1), "{emulation}");
    }
}

#[tokio::test(start_paused = true)]
async fn redpanda_does_not_tell_who_is_away() {
    for (emulation, in_sync, offline) in [(Emulation::Kafka28, 2, 1), (Emulation::Redpanda, 3, 0)] {
        let cluster = cluster(emulation).await;
        cluster.kill(NodeId(3));
        let (_, partitions) = described(&mut Peer::connect(&cluster, 1).await, "t").await;
        let [partition] = &partitions[..] else { panic!("{partitions:?}") };
        assert_eq!((partition.isr_nodes.len(), partition.offline_replicas.len()), (in_sync, offline), "{emulation}");
    }
}

/// Seen: 2.4.1 answers UNKNOWN_PRODUCER_ID, the others take the batch (KIP-360).
#[tokio::test(start_paused = true)]
async fn a_producer_that_is_not_known_begins_at_0_in_kafka_2_4_and_anywhere_else_since() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation).await;
        let mut peer = Peer::connect(&cluster, cluster.leader("t", 0).unwrap().0).await;
        let producer = ProducerIdAndEpoch { id: 7, epoch: 0 };
        let answer = peer.call(7, &produce("t", 0, sequenced(&[(1, "x")], producer, 5))).await;
        let answer = &answer.responses[0].partition_responses[0];
        let code = ErrorCode::from_wire(answer.error_code);
        let refused = (emulation == Emulation::Kafka24).then_some(ErrorCode::UnknownProducerId);
        assert_eq!((code, answer.log_start_offset), (refused, 0), "{emulation}");
    }
}

/// Seen: 2.4.1 and 2.8.2 take it, 3.9.2 and 4.3.1 do not (KIP-890). It stands before every reader of what is committed.
#[tokio::test(start_paused = true)]
async fn a_batch_for_a_partition_that_was_not_added_is_taken_before_kafka_3_6_and_never_ended() {
    for emulation in [Emulation::Kafka28, Emulation::Kafka39] {
        let cluster = cluster(emulation).await;
        let mut peer = Peer::connect(&cluster, cluster.leader("t", 0).unwrap().0).await;
        let batch = transactional(ProducerIdAndEpoch { id: 7, epoch: 0 }, 0, &["x"]);
        let request = produce("t", 0, batch).with_transactional_id(Some(TransactionalId("tx".into())));
        let code = peer.call(9, &request).await.responses[0].partition_responses[0].error_code;
        let read = peer.fetch(&fetch("t", 0, 0, 0).with_isolation_level(1)).await;
        let taken = (code == 0, read.high_watermark, read.last_stable_offset);
        assert_eq!(taken, if emulation == Emulation::Kafka28 { (true, 1, 0) } else { (false, 0, 0) }, "{emulation}");
    }
}

/// One producer's aborted transactions: Redpanda has the newest before the others (franz-go 1.21.4).
#[tokio::test(start_paused = true)]
async fn aborted_transactions_come_in_the_brokers_order() {
    for (emulation, offsets) in [(Emulation::Kafka28, [0, 2]), (Emulation::Redpanda, [2, 0])] {
        let cluster = cluster(emulation).await;
        let leader = cluster.leader("t", 0).unwrap();
        cluster.move_transaction_coordinator("tx", leader);
        let mut peer = Peer::connect(&cluster, leader.0).await;
        let id = || TransactionalId("tx".into());
        let init = InitProducerIdRequest::default().with_transactional_id(Some(id())).with_transaction_timeout_ms(9000);
        let answer = peer.call(1, &init).await;
        let producer = ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch };
        for sequence in 0..2 {
            let topic = AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(vec![0]);
            let add = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_producer_id(ProducerId(producer.id))
                .with_v3_and_below_producer_epoch(producer.epoch)
                .with_v3_and_below_topics(vec![topic]);
            peer.call(1, &add).await;
            let batch = transactional(producer, sequence, &["doomed"]);
            peer.call(7, &produce("t", 0, batch).with_transactional_id(Some(id()))).await;
            let end = EndTxnRequest::default()
                .with_transactional_id(id())
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch);
            assert_eq!(peer.call(1, &end).await.error_code, 0);
        }
        let read = peer.call(11, &fetch("t", 0, 0, 0).with_isolation_level(1)).await;
        let aborted = read.responses[0].partitions[0].aborted_transactions.clone().unwrap();
        assert_eq!(aborted.iter().map(|one| one.first_offset).collect::<Vec<_>>(), offsets, "{emulation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_there_is_not_is_told_by_the_start() {
    let error = TestCluster::builder().emulate("kafka").start().await.unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Config);
    assert!(TestCluster::builder().emulate(Emulation::Kafka39).start().await.is_ok());
}
