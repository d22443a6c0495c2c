//! Who is in a transaction, and the end of a hanging one (KIP-664).

use super::*;
use crate::wire::messages::describe_producers_request::TopicRequest;
use crate::wire::messages::describe_producers_response::PartitionResponse;
use crate::wire::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::wire::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, WriteTxnMarkersRequest,
};

impl Peer {
    async fn producers(&mut self, topic: &str, partition: i32) -> PartitionResponse {
        let topic = TopicRequest::default().with_name(name(topic)).with_partition_indexes(vec![partition]);
        let mut answer = self.call(0, &DescribeProducersRequest::default().with_topics(vec![topic])).await;
        answer.topics.remove(0).partitions.remove(0)
    }

    async fn list(&mut self, version: i16, request: ListTransactionsRequest) -> Vec<(String, i64, String)> {
        let answer = self.call(version, &request).await;
        assert_eq!(answer.error_code, 0);
        let each = answer.transaction_states.into_iter();
        each.map(|one| (one.transactional_id.to_string(), one.producer_id.0, one.transaction_state.to_string()))
            .collect()
    }

    async fn abort(&mut self, topic: &str, producer: ProducerIdAndEpoch, coordinator_epoch: i32) -> Option<ErrorCode> {
        let topic = WritableTxnMarkerTopic::default().with_name(name(topic)).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_coordinator_epoch(coordinator_epoch)
            .with_topics(vec![topic]);
        let answer = self.call(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker])).await;
        assert_eq!(answer.markers[0].producer_id.0, producer.id);
        ErrorCode::from_wire(answer.markers[0].topics[0].partitions[0].error_code)
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_by_state_producer_duration_and_pattern() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let all = ListTransactionsRequest::default;
    let producer = peer.init().await.unwrap();
    assert_eq!(peer.list(0, all()).await, [("tx".into(), producer.id, "Empty".into())]);
    peer.add(producer, 0).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let open = [("tx".to_owned(), producer.id, "Ongoing".to_owned())];
    let in_state = |state: &str| all().with_state_filters(vec![state.to_owned().into()]);
    assert_eq!(peer.list(0, in_state("Ongoing")).await, open);
    assert!(peer.list(0, in_state("PrepareCommit")).await.is_empty());
    let unknown = peer.call(0, &in_state("ongoing")).await;
    assert_eq!((unknown.unknown_state_filters.len(), unknown.transaction_states.len()), (1, 0), "names are exact");
    assert_eq!(peer.list(0, all().with_producer_id_filters(vec![ProducerId(producer.id)])).await, open);
    assert!(peer.list(0, all().with_producer_id_filters(vec![ProducerId(7)])).await.is_empty());
    assert_eq!(peer.list(1, all().with_duration_filter(999)).await, open);
    assert!(peer.list(1, all().with_duration_filter(1000)).await.is_empty(), "not longer than that");
    let like =
        |pattern: &'static str| all().with_duration_filter(-1).with_transactional_id_pattern(Some(pattern.into()));
    assert_eq!(peer.list(2, like("t.")).await, open);
    assert!(peer.list(2, like("t")).await.is_empty(), "the whole id has to match");
    assert_eq!(peer.call(2, &like("(")).await.error_code, ErrorCode::InvalidRegularExpression.to_wire());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_described_with_its_partitions_and_its_beginning() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    let ids = ["tx", "other", ""].map(|id| TransactionalId(id.into())).to_vec();
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    let described = peer.call(0, &request).await.transaction_states;
    let codes: Vec<_> = described.iter().map(|one| ErrorCode::from_wire(one.error_code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::TransactionalIdNotFound), Some(ErrorCode::InvalidRequest)]);
    assert_eq!((&*described[0].transaction_state, described[0].transaction_start_time_ms), ("Empty", -1));
    peer.add(producer, 1).await;
    let began = cluster.clock().unix_millis();
    let described = peer.call(0, &request).await.transaction_states.remove(0);
    assert_eq!((described.transaction_timeout_ms, described.transaction_start_time_ms), (10_000, began));
    assert_eq!((described.producer_id.0, described.producer_epoch), (producer.id, producer.epoch));
    assert_eq!((described.topics[0].topic.clone(), &described.topics[0].partitions[..]), (name("t"), &[1][..]));
    peer.end(4, producer, true).await.unwrap();
    let described = peer.call(0, &request).await.transaction_states.remove(0);
    assert_eq!((&*described.transaction_state, described.topics.len()), ("CompleteCommit", 0));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_transaction_holds_readers_back_until_a_marker_is_written_for_it() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    peer.add(producer, 0).await;
    peer.write(9, 0, transactional(producer, 0, &["a", "b"])).await;
    cluster.forget_transaction("tx");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let committed = fetch("t", 0, 0, 0).with_isolation_level(1);
    assert_eq!(peer.fetch(&committed).await.last_stable_offset, 0, "nobody ends it");
    assert!(peer.list(0, ListTransactionsRequest::default()).await.is_empty());
    let known = peer.producers("t", 0).await.active_producers.remove(0);
    assert_eq!((known.producer_id.0, known.producer_epoch), (producer.id, 0));
    assert_eq!((known.last_sequence, known.last_timestamp, known.coordinator_epoch), (1, 1, -1));
    assert_eq!(known.current_txn_start_offset, 0);

    assert_eq!(peer.abort("t", producer, 3).await, None);
    let read = peer.fetch(&committed).await;
    assert_eq!((read.last_stable_offset, read.aborted_transactions.unwrap().len()), (3, 1));
    let known = peer.producers("t", 0).await.active_producers.remove(0);
    assert_eq!((known.coordinator_epoch, known.current_txn_start_offset), (3, -1));
    assert_eq!(known.last_timestamp, cluster.clock().unix_millis());
    assert_eq!(peer.abort("t", producer, 2).await, Some(ErrorCode::TransactionCoordinatorFenced));
    let raised = ProducerIdAndEpoch { epoch: 1, ..producer };
    assert_eq!(peer.abort("t", raised, 3).await, None, "an end without a beginning is a marker all the same");
    assert_eq!(peer.abort("t", producer, 3).await, Some(ErrorCode::InvalidProducerEpoch));
    assert_eq!(peer.abort("u", producer, 3).await, Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(cluster.offsets("t", 0), Some((0, 4)));
}

#[tokio::test(start_paused = true)]
async fn markers_go_to_leaders_and_producers_are_known_to_every_replica() {
    let cluster = TestCluster::builder().brokers(3).default_replication(2).topic("t", 1).in_memory().start().await;
    let cluster = cluster.unwrap();
    let producer = ProducerIdAndEpoch { id: 7, epoch: 0 };
    let (mut leader, mut follower) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 2).await);
    let mut stranger = Peer::connect(&cluster, 3).await;
    leader.produce("t", 0, sequenced(&[(5, "x")], producer, 0)).await;
    assert_eq!(follower.abort("t", producer, 0).await, Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(stranger.abort("t", producer, 0).await, Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(follower.producers("t", 0).await.active_producers.len(), 1);
    assert_eq!(stranger.producers("t", 0).await.error_code, ErrorCode::NotLeaderOrFollower.to_wire());
    assert_eq!(leader.producers("t", 1).await.error_code, ErrorCode::UnknownTopicOrPartition.to_wire());
}

/// What a leader knows of a producer is in its log, markers included.
#[tokio::test(start_paused = true)]
async fn a_new_leader_knows_of_the_markers_that_are_left() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = ProducerIdAndEpoch { id: 7, epoch: 0 };
    peer.produce("t", 0, sequenced(&[(5, "x")], producer, 0)).await;
    peer.abort("t", producer, 4).await;
    peer.produce("t", 0, sequenced(&[(6, "y")], producer, 1)).await;
    cluster.lose("t", 0, 2);
    let known = peer.producers("t", 0).await.active_producers.remove(0);
    assert_eq!((known.last_sequence, known.coordinator_epoch), (0, 4));
}
