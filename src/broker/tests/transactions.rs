//! Transactions of both versions, request by request.

mod admin;

use super::*;
use crate::error::ErrorCode;
use crate::record::batch::RawBatch;
use crate::wire::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::wire::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use crate::wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    OffsetFetchRequest, ProducerId, TransactionalId, TxnOffsetCommitRequest,
};
use std::time::Duration;

fn id() -> TransactionalId {
    TransactionalId("tx".into())
}

async fn cluster() -> TestCluster {
    TestCluster::builder().topic("t", 2).in_memory().start().await.expect("in memory nothing can fail")
}

pub(super) fn transactional(producer: ProducerIdAndEpoch, sequence: i32, values: &[&str]) -> Bytes {
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
    for value in values {
        encoder.append(1, None, Some(value.as_bytes()), &[]);
    }
    let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
    body.to_batch(producer, sequence, true)
}

impl Peer {
    async fn init(&mut self) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(10_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.call(4, &request).await;
        let producer = ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch };
        ErrorCode::check(answer.error_code).map(|()| producer)
    }

    async fn add(&mut self, producer: ProducerIdAndEpoch, partition: i32) -> Option<ErrorCode> {
        let topic = AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(ProducerId(producer.id))
            .with_v3_and_below_producer_epoch(producer.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let answer = self.call(3, &request).await;
        let result = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        ErrorCode::from_wire(result.partition_error_code)
    }

    async fn write(&mut self, version: i16, partition: i32, batch: Bytes) -> Option<ErrorCode> {
        let request = produce("t", partition, batch).with_transactional_id(Some(id()));
        let answer = self.call(version, &request).await;
        ErrorCode::from_wire(answer.responses[0].partition_responses[0].error_code)
    }

    /// The version 5 gives the producer's next epoch.
    async fn end(
        &mut self,
        version: i16,
        producer: ProducerIdAndEpoch,
        commit: bool,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_committed(commit);
        let answer = self.call(version, &request).await;
        let next = ProducerIdAndEpoch { id: answer.producer_id.0, epoch: answer.producer_epoch };
        ErrorCode::check(answer.error_code).map(|()| next)
    }

    async fn committed(&mut self, require_stable: bool) -> (i64, Option<ErrorCode>) {
        let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
        let group =
            OffsetFetchRequestGroup::default().with_group_id(GroupId("g".into())).with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(require_stable);
        let answer = self.call(8, &request).await;
        let partition = &answer.groups[0].topics[0].partitions[0];
        (partition.committed_offset, ErrorCode::from_wire(partition.error_code))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_committed_records_sees_them_with_the_marker_and_not_before() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    assert_eq!(peer.write(9, 0, transactional(producer, 0, &["a"])).await, Some(ErrorCode::InvalidTxnState));
    assert_eq!(peer.add(producer, 0).await, None);
    assert_eq!(peer.write(9, 0, transactional(producer, 0, &["a", "b"])).await, None);
    let committed = fetch("t", 0, 0, 0).with_isolation_level(1);
    let before = peer.fetch(&committed).await;
    assert_eq!((before.high_watermark, before.last_stable_offset), (2, 0));
    assert!(before.records.unwrap().is_empty());

    let mut reader = Peer::connect(&cluster, 1).await;
    let parked = fetch("t", 0, 0, 10_000).with_isolation_level(1);
    let (after, ended) = tokio::join!(reader.fetch(&parked), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.end(4, producer, true).await
    });
    ended.unwrap();
    assert_eq!((after.high_watermark, after.last_stable_offset), (3, 3), "the marker takes an offset");
    assert_eq!(after.aborted_transactions, Some(vec![]));
    let batches: Vec<RawBatch> = crate::record::batch::batches(&after.records.unwrap()).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.header().attributes.is_control()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(cluster.records("t").unwrap().len(), 2, "markers are no records");
    assert_eq!(peer.end(4, producer, true).await.map(drop), Ok(()), "asked again because the answer was lost");
    assert_eq!(peer.end(4, producer, false).await, Err(ErrorCode::InvalidTxnState));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_transaction_is_listed_for_whoever_reads_its_records() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    peer.produce("t", 0, batch(&[(1, "plain")])).await;
    peer.add(producer, 0).await;
    peer.write(9, 0, transactional(producer, 0, &["a"])).await;
    peer.end(4, producer, false).await.unwrap();
    peer.produce("t", 0, batch(&[(1, "plain")])).await;
    let read = peer.fetch(&fetch("t", 0, 0, 0).with_isolation_level(1)).await;
    let aborted = read.aborted_transactions.unwrap();
    assert_eq!(aborted.iter().map(|one| (one.producer_id.0, one.first_offset)).collect::<Vec<_>>(), [(producer.id, 1)]);
    let later = peer.fetch(&fetch("t", 0, 3, 0).with_isolation_level(1)).await;
    assert_eq!(later.aborted_transactions, Some(vec![]), "not for who begins after it");

    // The test sees the same without a reader.
    peer.add(producer, 0).await;
    peer.write(9, 0, transactional(producer, 1, &["open"])).await;
    peer.produce("t", 0, batch(&[(1, "plain")])).await;
    assert_eq!(cluster.records("t").unwrap().len(), 5);
    let committed = cluster.committed_records("t").unwrap();
    assert_eq!(committed.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_second_producer_fences_the_first_and_aborts_what_it_had_open() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let zombie = peer.init().await.unwrap();
    peer.add(zombie, 0).await;
    peer.write(9, 0, transactional(zombie, 0, &["a"])).await;
    assert_eq!(peer.init().await, Err(ErrorCode::ConcurrentTransactions), "the abort comes first");
    let heir = peer.init().await.unwrap();
    assert_eq!((heir.id, heir.epoch > zombie.epoch), (zombie.id, true));
    assert_eq!(peer.write(9, 0, transactional(zombie, 1, &["b"])).await, Some(ErrorCode::InvalidProducerEpoch));
    assert_eq!(peer.add(zombie, 1).await, Some(ErrorCode::ProducerFenced));
    assert_eq!(peer.end(4, zombie, true).await, Err(ErrorCode::ProducerFenced));
    let read = peer.fetch(&fetch("t", 0, 0, 0).with_isolation_level(1)).await;
    assert_eq!((read.last_stable_offset, read.aborted_transactions.unwrap().len()), (2, 1));
    peer.add(heir, 0).await;
    assert_eq!(peer.write(9, 0, transactional(heir, 0, &["c"])).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_never_ended_is_aborted_when_its_time_is_up() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    peer.add(producer, 0).await;
    peer.write(9, 0, transactional(producer, 0, &["a"])).await;
    let start = cluster.clock().now();
    cluster.wait_until("the abort marker is there", |cluster| cluster.offsets("t", 0) == Some((0, 2))).await;
    let waited = start.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_010)).contains(&waited), "{waited:?}");
    assert_eq!(peer.end(4, producer, true).await, Err(ErrorCode::ProducerFenced));
}

#[tokio::test(start_paused = true)]
async fn offsets_sent_to_a_transaction_count_when_it_commits_and_are_unstable_until_then() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    let send = |offset| {
        let one = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![one]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(GroupId("g".into()))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic])
    };
    let add = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_group_id(GroupId("g".into()));
    for (offset, commit, after) in [(5, true, 5), (9, false, 5)] {
        assert_eq!(peer.call(3, &add).await.error_code, 0);
        assert_eq!(peer.call(3, &send(offset)).await.topics[0].partitions[0].error_code, 0);
        assert_eq!(peer.committed(true).await.1, Some(ErrorCode::UnstableOffsetCommit));
        assert_eq!(peer.committed(false).await, (if commit { -1 } else { 5 }, None));
        peer.end(4, producer, commit).await.unwrap();
        assert_eq!(peer.committed(true).await, (after, None));
    }
}

/// KIP-890: nothing is added by hand, and the epoch tells one transaction from the next.
#[tokio::test(start_paused = true)]
async fn in_version_2_the_first_write_begins_and_each_end_raises_the_epoch() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let first = peer.init().await.unwrap();
    assert_eq!(peer.write(12, 0, transactional(first, 0, &["a"])).await, None);
    assert_eq!(peer.write(12, 1, transactional(first, 0, &["b"])).await, None);
    let second = peer.end(5, first, true).await.unwrap();
    assert_eq!((second.id, second.epoch), (first.id, first.epoch + 1));
    assert_eq!(peer.end(5, first, true).await, Ok(second), "asked again because the answer was lost");
    assert_eq!(cluster.offsets("t", 1), Some((0, 2)), "and no second marker");
    let late = peer.write(12, 0, transactional(first, 1, &["late"])).await;
    assert_eq!(late, Some(ErrorCode::InvalidProducerEpoch), "what comes late can't slip into the next one");
    assert_eq!(peer.write(12, 0, transactional(second, 0, &["c"])).await, None);
    let third = peer.end(5, second, false).await.unwrap();
    assert_eq!(third.epoch, second.epoch + 1);
    assert_eq!(peer.end(5, third, true).await, Err(ErrorCode::InvalidTxnState), "nothing to commit");
    assert_eq!(peer.end(5, third, false).await.map(|next| next.epoch), Ok(third.epoch + 1), "an empty abort is one");
}

/// Kafka's state is `Empty` then: there is nothing to be asked for again.
#[tokio::test(start_paused = true)]
async fn after_an_initialization_there_is_nothing_to_end() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let first = peer.init().await.unwrap();
    peer.add(first, 0).await;
    peer.end(4, first, true).await.unwrap();
    let second = peer.init().await.unwrap();
    assert_eq!(peer.end(4, second, true).await, Err(ErrorCode::InvalidTxnState));
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_a_marker_began_begins_at_sequence_zero() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let first = peer.init().await.unwrap();
    assert_eq!(peer.write(12, 0, transactional(first, 0, &["a"])).await, None);
    let second = peer.end(5, first, true).await.unwrap();
    assert_eq!(peer.write(12, 0, transactional(second, 1, &["b"])).await, Some(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(peer.write(12, 0, transactional(second, 0, &["b"])).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_asks_about_a_partition_is_told_that_it_is_not_in_the_transaction() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = peer.init().await.unwrap();
    peer.add(producer, 1).await;
    for version in [4, 5] {
        let topic = AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(vec![0, 1]);
        let asked = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(id())
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_verify_only(true)
            .with_topics(vec![topic]);
        let answer = peer.call(version, &AddPartitionsToTxnRequest::default().with_transactions(vec![asked])).await;
        let codes = answer.results_by_transaction[0].topic_results[0].results_by_partition.iter();
        let codes: Vec<_> = codes.map(|one| one.partition_error_code).collect();
        assert_eq!(codes, [ErrorCode::TransactionAbortable.to_wire(), 0], "v{version}");
    }
}

/// A decision stands, but its markers wait for somebody who can take them and have them replicated; until then nothing new begins.
#[tokio::test(start_paused = true)]
async fn markers_wait_for_a_leader_and_its_followers() {
    for leaderless in [false, true] {
        let cluster = TestCluster::builder().brokers(3).topic("t", 2).in_memory().start().await.unwrap();
        cluster.move_transaction_coordinator("tx", NodeId(2));
        let (mut coordinator, mut leader) = (Peer::connect(&cluster, 2).await, Peer::connect(&cluster, 1).await);
        let producer = coordinator.init().await.unwrap();
        coordinator.add(producer, 0).await;
        assert_eq!(leader.write(9, 0, transactional(producer, 0, &["a"])).await, None);
        if leaderless {
            cluster.set_in_sync("t", 0, &[]);
            cluster.cut(Link::Brokers(NodeId(1)));
            cluster.clock().advance(Duration::from_millis(9500)).await; // less than the transaction may take
            assert_eq!(cluster.leader("t", 0), None);
        } else {
            cluster.cut(Link::Brokers(NodeId(3)));
        }
        coordinator.end(4, producer, true).await.unwrap();
        assert!(cluster.committed_records("t").unwrap().is_empty());
        assert_eq!(coordinator.add(producer, 0).await, Some(ErrorCode::ConcurrentTransactions));
        cluster.heal();
        cluster.wait_until("the marker is there", |cluster| cluster.committed_records("t").unwrap().len() == 1).await;
        assert_eq!(coordinator.add(producer, 0).await, None);
    }
}
