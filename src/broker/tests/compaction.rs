//! What compaction leaves in a log, batch by batch.

use super::*;
use crate::error::ErrorCode;
use crate::record::batch::BatchHeader;
use crate::record::decode::open;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn cluster<const N: usize>(configs: [(&str, &str); N]) -> TestCluster {
    let cluster = TestCluster::builder().topic_with("t", 1, configs).in_memory().start().await.unwrap();
    assert_eq!(cluster.offsets("t", 0), Some((0, 0)));
    cluster
}

const COMPACTED: (&str, &str) = ("cleanup.policy", "compact");

/// A batch of keys and values, the records a millisecond apart from `timestamp` on.
fn keyed(timestamp: i64, records: &[(&str, Option<&str>)], producer: ProducerIdAndEpoch, sequence: i32) -> Bytes {
    let mut encoder = RecordEncoder::new(Vec::new(), 1 << 14);
    for (i, (key, value)) in records.iter().enumerate() {
        encoder.append(timestamp + i as i64, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    let body = encoder.seal(Compression::None, None, &mut Compressor::default()).expect("no codec to fail").0;
    body.to_batch(producer, sequence, false)
}

/// Every batch that is left: its offsets, and the records' offsets.
fn left(cluster: &TestCluster) -> Vec<(i64, i64, Vec<i64>)> {
    headers(cluster).into_iter().map(|(header, offsets)| (header.base_offset, header.last_offset(), offsets)).collect()
}

fn headers(cluster: &TestCluster) -> Vec<(BatchHeader, Vec<i64>)> {
    let state = cluster.shared.state();
    let batches = state.topics["t"].partitions[0].log.batches();
    let opened = batches.map(|batch| {
        let mut scratch = Default::default();
        let batch = open(&batch.bytes, &mut scratch, 1 << 20).unwrap();
        (*batch.header(), batch.map(|record| record.unwrap().offset).collect())
    });
    opened.collect()
}

#[tokio::test(start_paused = true)]
async fn of_each_key_the_newest_record_stays_at_its_offset_and_the_end_can_be_found() {
    let cluster = cluster([COMPACTED]).await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let none = ProducerIdAndEpoch::NONE;
    peer.produce("t", 0, keyed(10, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))], none, -1)).await;
    peer.produce("t", 0, keyed(20, &[("c", Some("1"))], none, -1)).await;
    peer.produce("t", 0, keyed(30, &[("c", Some("2")), ("d", Some("1"))], none, -1)).await;
    peer.produce("t", 0, keyed(40, &[("d", Some("2"))], none, -1)).await;
    let before = cluster.stored_bytes("t");
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster), [(0, 2, vec![1, 2]), (4, 5, vec![4]), (6, 6, vec![6])], "and offset 3 is in no batch");
    assert!(cluster.stored_bytes("t") < before);
    assert_eq!(cluster.offsets("t", 0), Some((0, 7)));
    let read = peer.fetch(&fetch("t", 0, 3, 0)).await;
    assert_eq!(BatchHeader::parse(&read.records.unwrap()).unwrap().unwrap().base_offset, 4, "the next there is");
    // A record is deleted by its last batch: of that the head stays until there is another one.
    peer.produce("t", 0, keyed(50, &[("d", None)], none, -1)).await;
    cluster.compact("t").unwrap();
    tokio::time::sleep(24 * HOUR).await;
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster), [(0, 2, vec![1, 2]), (4, 5, vec![4]), (7, 7, vec![])]);
    assert_eq!(peer.fetch(&fetch("t", 0, 7, 0)).await.records.unwrap().len(), 61);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_goes_when_its_horizon_has_passed() {
    let cluster = cluster([COMPACTED, ("delete.retention.ms", "3600000")]).await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let none = ProducerIdAndEpoch::NONE;
    peer.produce("t", 0, keyed(10, &[("a", Some("1")), ("b", Some("1")), ("a", None)], none, -1)).await;
    peer.produce("t", 0, keyed(20, &[("c", Some("1"))], none, -1)).await;
    cluster.compact("t").unwrap();
    let horizon = cluster.clock().unix_millis() + 3_600_000;
    let (header, offsets) = headers(&cluster).remove(0);
    assert_eq!((header.attributes.has_delete_horizon(), header.base_timestamp), (true, horizon));
    assert_eq!((offsets, header.max_timestamp), (vec![1, 2], 12));
    assert_eq!(cluster.records("t").unwrap().iter().map(|one| one.timestamp).collect::<Vec<_>>(), [11, 12, 20]);
    tokio::time::sleep(HOUR - Duration::from_millis(1)).await;
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster)[0], (0, 2, vec![1, 2]), "and the horizon is that of the first time");
    tokio::time::sleep(Duration::from_millis(1)).await;
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster)[0], (0, 2, vec![1]));
}

/// The last sequence of a producer stands in its last batch, which stays as a head: whoever leads next reads it there.
#[tokio::test(start_paused = true)]
async fn a_producer_goes_on_where_it_was_also_at_the_next_leader() {
    let cluster = cluster([COMPACTED]).await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = ProducerIdAndEpoch { id: 7, epoch: 3 };
    peer.produce("t", 0, keyed(10, &[("a", Some("1")), ("a", Some("2"))], producer, 0)).await;
    peer.produce("t", 0, keyed(20, &[("a", Some("3")), ("b", Some("3"))], producer, 2)).await;
    peer.produce("t", 0, keyed(30, &[("a", Some("4")), ("b", Some("4"))], ProducerIdAndEpoch::NONE, -1)).await;
    peer.produce("t", 0, keyed(40, &[("c", Some("5"))], producer, 4)).await;
    cluster.compact("t").unwrap();
    cluster.lose("t", 0, 6);
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster), [(4, 5, vec![4, 5])], "its last batch was lost, and with it all that named it");
    assert_eq!(peer.produce("t", 0, keyed(50, &[("c", Some("6"))], producer, 4)).await.error_code, 0);
    peer.produce("t", 0, keyed(60, &[("c", Some("7"))], ProducerIdAndEpoch::NONE, -1)).await;
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster), [(4, 5, vec![4, 5]), (6, 6, vec![]), (7, 7, vec![7])]);
    // Batch 7 is lost, and the state of nobody but its writer with it; a leader that reads all of the log knows the same.
    let recalled = {
        let mut state = cluster.shared.state();
        let log = &mut state.topics.get_mut("t").unwrap().partitions[0].log;
        crate::broker::producers::recall(log, &[7]);
        log.producers[&7].last_sequence()
    };
    assert_eq!(recalled, Some(4));
    let again = peer.produce("t", 0, keyed(70, &[("c", Some("8"))], producer, 9)).await;
    assert_eq!(again.error_code, ErrorCode::OutOfOrderSequenceNumber.to_wire());
    assert_eq!(peer.produce("t", 0, keyed(70, &[("c", Some("8"))], producer, 5)).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_young_or_of_an_open_transaction_or_behind_it_is_left_alone() {
    let cluster = cluster([COMPACTED, ("min.compaction.lag.ms", "60000")]).await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let now = cluster.clock().unix_millis();
    let none = ProducerIdAndEpoch::NONE;
    for _ in 0..3 {
        peer.produce("t", 0, keyed(now, &[("a", Some("1"))], none, -1)).await;
    }
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster).len(), 3);
    tokio::time::sleep(Duration::from_secs(60)).await;
    cluster.shared.state().topics.get_mut("t").unwrap().partitions[0].log.open_transaction(9, 2);
    cluster.compact("t").unwrap();
    assert_eq!(left(&cluster), [(1, 1, vec![1]), (2, 2, vec![2])]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_the_time_of_its_append_keeps_it() {
    let cluster = cluster([COMPACTED, ("message.timestamp.type", "LogAppendTime")]).await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let now = cluster.clock().unix_millis();
    let records = [("a", Some("1")), ("a", None), ("b", Some("1"))];
    peer.produce("t", 0, keyed(10, &records, ProducerIdAndEpoch::NONE, -1)).await;
    tokio::time::sleep(HOUR).await;
    cluster.compact("t").unwrap();
    let told: Vec<_> = cluster.records("t").unwrap().iter().map(|one| (one.offset, one.timestamp)).collect();
    assert_eq!(told, [(1, now), (2, now)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_compacted_is_not_deleted_on_demand() {
    use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    for (policy, code) in [("compact", Some(ErrorCode::PolicyViolation)), ("compact,delete", None)] {
        let cluster = cluster([("cleanup.policy", policy)]).await;
        let topic = DeleteRecordsTopic::default().with_name(name("t"));
        let topic = topic.with_partitions(vec![DeleteRecordsPartition::default()]);
        let request = crate::wire::messages::DeleteRecordsRequest::default().with_topics(vec![topic]);
        let answer = Peer::connect(&cluster, 1).await.call(2, &request).await;
        assert_eq!(ErrorCode::from_wire(answer.topics[0].partitions[0].error_code), code);
    }
}
