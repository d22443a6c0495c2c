//! Records in and out: what is stored, what is refused, who is woken when.

use super::*;
use crate::error::ErrorCode;
use crate::record::batch::BatchHeader;
use crate::record::decode::open;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::{ListOffsetsRequest, MetadataRequest};
use std::time::Duration;

async fn cluster() -> TestCluster {
    TestCluster::builder().topic("t", 1).in_memory().start().await.expect("in memory nothing can fail")
}

fn values(batches: &Bytes) -> Vec<(i64, i64, String)> {
    let mut found = Vec::new();
    for raw in crate::record::batch::batches(batches) {
        let mut scratch = Default::default();
        for record in open(raw.expect("a batch").bytes(), &mut scratch, 1 << 20).expect("readable") {
            let record = record.expect("a record");
            found.push((
                record.offset,
                record.timestamp,
                String::from_utf8_lossy(record.value.unwrap_or_default()).into(),
            ));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_batch_comes_back_with_its_offset_and_epoch_and_else_as_it_was_sent() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    let mut first = Peer::connect(&cluster, 1).await;
    let sent = batch(&[(10, "a"), (20, "b")]);
    assert_eq!(first.produce("t", 0, sent.clone()).await.base_offset, 0);
    cluster.move_leader("t", 0, NodeId(2));
    assert_eq!(first.produce("t", 0, sent.clone()).await.error_code, ErrorCode::NotLeaderOrFollower.to_wire());
    let mut second = Peer::connect(&cluster, 2).await;
    assert_eq!(second.produce("t", 0, sent.clone()).await.base_offset, 2);

    let got = second.fetch(&fetch("t", 0, 1, 0)).await;
    assert_eq!((got.high_watermark, got.last_stable_offset, got.log_start_offset), (4, 4, 0));
    let bytes = got.records.unwrap();
    let (one, two) = bytes.split_at(sent.len());
    assert_eq!((&one[16..], &two[16..]), (&sent[16..], &sent[16..]), "all but offset, length and epoch");
    let header = |bytes| BatchHeader::parse(bytes).unwrap().unwrap();
    assert_eq!((header(one).base_offset, header(one).partition_leader_epoch), (0, 0));
    assert_eq!((header(two).base_offset, header(two).partition_leader_epoch), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_the_append_and_not_a_moment_longer() {
    let cluster = cluster().await;
    let (mut reader, mut writer) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 1).await);
    let start = cluster.clock().now();
    let read = async { (reader.fetch(&fetch("t", 0, 0, 10_000)).await, cluster.clock().now() - start) };
    let write = async {
        tokio::time::sleep(Duration::from_millis(1234)).await;
        writer.produce("t", 0, batch(&[(1, "x")])).await
    };
    let ((got, waited), _) = tokio::join!(read, write);
    assert_eq!(values(&got.records.unwrap()), [(0, 1, "x".into())]);
    assert_eq!(waited, Duration::from_millis(1234));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_without_enough_bytes_ends_at_max_wait_with_what_there_is() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.produce("t", 0, batch(&[(1, "x")])).await;
    let start = cluster.clock().now();
    let got = peer.fetch(&fetch("t", 0, 0, 500).with_min_bytes(1000)).await;
    assert_eq!(values(&got.records.unwrap()).len(), 1);
    assert_eq!(cluster.clock().now() - start, Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_parked_fetch_learns_at_once_that_its_leader_moved() {
    let cluster = TestCluster::builder().brokers(2).topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let start = cluster.clock().now();
    let mut request = fetch("t", 0, 0, 10_000);
    request.topics[0].topic_id = cluster.topic_id("t");
    request.topics[0].topic = name("");
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let (got, ()) = tokio::join!(peer.call(16, &request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.move_leader("t", 0, NodeId(2));
    });
    let (endpoint, got) = (&got.node_endpoints[0], &got.responses[0].partitions[0]);
    assert_eq!(got.error_code, ErrorCode::FencedLeaderEpoch.to_wire());
    assert_eq!((endpoint.node_id.0, &*endpoint.host, endpoint.port), (2, "broker-2", 9092));
    assert_eq!((got.current_leader.leader_id.0, got.current_leader.leader_epoch), (2, 1));
    assert_eq!(cluster.clock().now() - start, Duration::from_millis(100));
}

impl Peer {
    async fn fetch_from(&mut self, topic: &str, offset: i64, max_wait_ms: i32) -> PartitionData {
        self.fetch(&fetch(topic, 0, offset, max_wait_ms)).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_outside_of_the_log_is_out_of_range_and_its_end_is_not() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.produce("t", 0, batch(&[(1, "x")])).await;
    assert_eq!(peer.fetch_from("t", 1, 0).await.error_code, 0);
    assert_eq!(peer.fetch_from("t", 2, 10_000).await.error_code, ErrorCode::OffsetOutOfRange.to_wire());
    assert_eq!(peer.fetch_from("t", -1, 10_000).await.error_code, ErrorCode::OffsetOutOfRange.to_wire());
}

#[tokio::test(start_paused = true)]
async fn what_is_corrupt_or_too_large_or_not_one_batch_is_not_stored() {
    let cluster =
        TestCluster::builder().topic_with("t", 1, [("max.message.bytes", "100")]).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let good = batch(&[(1, "x")]);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let large = batch(&[(1, &"x".repeat(100))]);
    let two = Bytes::from([&good[..], &good[..]].concat());
    let mut old = good.to_vec();
    old[16] = 1;
    for (bytes, code) in [
        (flipped.into(), ErrorCode::CorruptMessage),
        (good.slice(..good.len() - 1), ErrorCode::CorruptMessage),
        (large, ErrorCode::MessageTooLarge),
        (two, ErrorCode::InvalidRecord),
        (old.into(), ErrorCode::InvalidRecord),
        (Bytes::new(), ErrorCode::CorruptMessage),
    ] {
        let answer = peer.produce("t", 0, bytes).await;
        assert_eq!((answer.error_code, answer.base_offset), (code.to_wire(), -1), "{code:?}");
        // Of this one Apache says no more than the code.
        assert_eq!(answer.error_message.is_none(), code == ErrorCode::MessageTooLarge, "{code:?}");
    }
    assert_eq!(cluster.offsets("t", 0), Some((0, 0)));
    assert_eq!(peer.produce("t", 0, good).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_the_bytes_do_not_bear_out_is_refused() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    for count in [0, 2, 1000, i32::MAX] {
        let mut bytes = batch(&[(1, "x")]).to_vec();
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes[23..27].copy_from_slice(&count.saturating_sub(1).max(0).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let answer = peer.produce("t", 0, bytes.into()).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidRecord.to_wire(), "{count} records");
    }
    assert_eq!(cluster.offsets("t", 0), Some((0, 0)));
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_in_sync_refuse_acks_all_and_nothing_else() {
    let builder = TestCluster::builder().brokers(2).topic_with("t", 1, [("min.insync.replicas", "2")]);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    assert_eq!(peer.produce("t", 0, batch(&[(1, "x")])).await.error_code, 0);
    cluster.kill(NodeId(2));
    assert_eq!(peer.produce("t", 0, batch(&[(1, "x")])).await.error_code, ErrorCode::NotEnoughReplicas.to_wire());
    let one = produce("t", 0, batch(&[(1, "x")])).with_acks(1);
    assert_eq!(peer.call(9, &one).await.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn log_append_time_is_the_brokers_clock_for_every_record() {
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let builder = TestCluster::builder().topic_with("t", 1, configs).unix_millis(5_000_000);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    tokio::time::sleep(Duration::from_millis(7)).await;
    assert_eq!(peer.produce("t", 0, batch(&[(1, "a"), (2, "b")])).await.log_append_time_ms, 5_000_007);
    let got = peer.fetch_from("t", 0, 0).await.records.unwrap();
    assert_eq!(values(&got), [(0, 5_000_007, "a".into()), (1, 5_000_007, "b".into())]);
}

#[tokio::test(start_paused = true)]
async fn replicas_in_sync_are_not_asked_for_beyond_those_that_there_are() {
    let builder = TestCluster::builder().topic_with("t", 1, [("min.insync.replicas", "2")]);
    let cluster = builder.in_memory().start().await.unwrap();
    assert_eq!(Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "x")])).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_too_old_or_too_new_are_named() {
    let configs = [("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")];
    let builder = TestCluster::builder().topic_with("t", 1, configs).unix_millis(10_000);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    assert_eq!(peer.produce("t", 0, batch(&[(9_000, "a"), (11_000, "b"), (-1, "c")])).await.error_code, 0);
    // The newest of them is fine, so the batch's head tells nothing of the first.
    for (bytes, blamed) in [(batch(&[(8_000, "a"), (10_000, "b")]), 0), (batch(&[(10_000, "a"), (12_000, "b")]), 1)] {
        let answer = peer.produce("t", 0, bytes).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidTimestamp.to_wire());
        assert_eq!(answer.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [blamed]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_keyless_record_in_a_compacted_topic_is_named() {
    let cluster =
        TestCluster::builder().topic_with("t", 1, [("cleanup.policy", "compact")]).in_memory().start().await.unwrap();
    let answer = Peer::connect(&cluster, 1).await.produce("t", 0, batch(&[(1, "a"), (1, "b")])).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord.to_wire());
    assert_eq!(answer.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_a_thousand_bad_records_and_counts_them_all() {
    let cluster =
        TestCluster::builder().topic_with("t", 1, [("cleanup.policy", "compact")]).in_memory().start().await.unwrap();
    let mut request = produce("t", 0, batch(&[(1, "a"); 700]));
    let again = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data.push(again);
    let answer = Peer::connect(&cluster, 1).await.call(9, &request).await;
    let told = |partition: &PartitionProduceResponse| {
        (partition.record_errors.len(), partition.error_message.as_ref().unwrap().to_string())
    };
    let all = "700 of 700 records were rejected.".to_owned();
    let told: Vec<_> = answer.responses[0].partition_responses.iter().map(told).collect();
    assert_eq!(told, [(700, all.clone()), (300, all)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_five_batches_of_a_producer_are_known_again_and_a_gap_is_refused() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = ProducerIdAndEpoch { id: 1000, epoch: 1 };
    let nth = |n: i32| sequenced(&[(1, "x"), (2, "y")], producer, n * 2);
    for n in 0..7 {
        assert_eq!(peer.produce("t", 0, nth(n)).await.base_offset, i64::from(n) * 2);
    }
    for n in 2..7 {
        let again = peer.produce("t", 0, nth(n)).await;
        assert_eq!(
            (again.error_code, again.base_offset),
            (0, i64::from(n) * 2),
            "a duplicate has the first one's offset"
        );
    }
    for n in [1, 8] {
        assert_eq!(peer.produce("t", 0, nth(n)).await.error_code, ErrorCode::OutOfOrderSequenceNumber.to_wire());
    }
    let zombie = sequenced(&[(1, "z")], ProducerIdAndEpoch { id: 1000, epoch: 0 }, 14);
    assert_eq!(peer.produce("t", 0, zombie).await.error_code, ErrorCode::InvalidProducerEpoch.to_wire());
    let late = sequenced(&[(1, "z")], ProducerIdAndEpoch { id: 1000, epoch: 2 }, 14);
    assert_eq!(peer.produce("t", 0, late).await.error_code, ErrorCode::OutOfOrderSequenceNumber.to_wire());
    let next = sequenced(&[(1, "z")], ProducerIdAndEpoch { id: 1000, epoch: 2 }, 0);
    assert_eq!(peer.produce("t", 0, next).await.base_offset, 14);
    assert_eq!(cluster.offsets("t", 0), Some((0, 15)));
}

#[tokio::test(start_paused = true)]
async fn sequences_go_on_at_zero_after_the_largest() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let producer = ProducerIdAndEpoch { id: 1000, epoch: 0 };
    for (sequence, offset) in [(i32::MAX - 1, 0), (1, 3)] {
        let answer = peer.produce("t", 0, sequenced(&[(1, "a"), (1, "b"), (1, "c")], producer, sequence)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_are_looked_up_by_time_on_the_exact_record() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    // Timestamps need not grow.
    peer.produce("t", 0, batch(&[(10, "0"), (30, "1"), (20, "2")])).await;
    peer.produce("t", 0, batch(&[(15, "3"), (40, "4")])).await;
    for (time, offset, timestamp) in [
        (0, 0, 10),
        (10, 0, 10),
        (11, 1, 30),
        (30, 1, 30),
        (31, 4, 40),
        (41, -1, -1),
        (-1, 5, -1),
        (-2, 0, -1),
        (-3, 4, 40),
    ] {
        let wanted = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(time);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted]);
        let response = peer.call(7, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.error_code, found.offset, found.timestamp), (0, offset, timestamp), "at {time}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_produce_without_acks_closes_the_connection_and_a_good_one_is_not_answered() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(9, &produce("t", 0, batch(&[(1, "x")])).with_acks(0)).await;
    assert_eq!(peer.fetch_from("t", 0, 0).await.high_watermark, 1, "the next answer is that of the next request");
    peer.send(9, &produce("none", 0, batch(&[(1, "x")])).with_acks(0)).await;
    assert!(peer.receive::<ProduceRequest>(9).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_auto_created_topic_is_unknown_first_and_there_the_next_time() {
    let cluster = TestCluster::builder().default_partitions(4).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let ask = |create| {
        let topic = MetadataRequestTopic::default().with_name(Some(name("new")));
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create)
    };
    for (create, code, partitions) in [(false, 3, 0), (true, 3, 0), (false, 0, 4)] {
        let topic = peer.call(9, &ask(create)).await.topics.remove(0);
        assert_eq!((topic.error_code, topic.partitions.len()), (code, partitions));
    }
}

/// The Java client 4.3.1 asks so for what it is assigned by a pattern; it took the topic to be called "".
#[tokio::test(start_paused = true)]
async fn metadata_is_asked_for_by_id_whether_the_name_is_null_or_empty() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    for called in [None, Some(name(""))] {
        let topic = MetadataRequestTopic::default().with_name(called).with_topic_id(cluster.topic_id("t"));
        let topic = peer.call(12, &MetadataRequest::default().with_topics(Some(vec![topic]))).await.topics.remove(0);
        assert_eq!((topic.error_code, topic.name, topic.topic_id), (0, Some(name("t")), cluster.topic_id("t")));
    }
}

/// The place for an id is there since v10; Apache 2.8.2, 3.9.2 and 4.3.1 take none before v12.
#[tokio::test(start_paused = true)]
async fn metadata_tells_of_a_topic_once_however_often_it_is_named() {
    let cluster = TestCluster::builder().topic("t", 1).topic("u", 1).in_memory().start().await.unwrap();
    let by_name = |topic| MetadataRequestTopic::default().with_name(Some(name(topic)));
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(cluster.topic_id("t"));
    let mut peer = Peer::connect(&cluster, 1).await;
    for (asked, told) in
        [(vec![by_name("u"), by_name("t"), by_name("u")], &["u", "t"][..]), (vec![by_id.clone(), by_id], &["t"])]
    {
        let answer = peer.call(12, &MetadataRequest::default().with_topics(Some(asked))).await;
        assert_eq!(answer.topics.iter().map(|topic| &***topic.name.as_ref().unwrap()).collect::<Vec<_>>(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_by_id_is_an_invalid_request_before_v12() {
    let cluster = cluster().await;
    let mut peer = Peer::connect(&cluster, 1).await;
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(cluster.topic_id("t"));
    let response = peer.call(11, &MetadataRequest::default().with_topics(Some(vec![topic]))).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::InvalidRequest.to_wire());
    assert!(response.brokers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn limits_hold_but_for_the_first_batch_of_an_answer() {
    let cluster = TestCluster::builder().topic("t", 2).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let one = batch(&[(1, &"x".repeat(1000))]);
    for partition in [0, 0, 1] {
        peer.produce("t", partition, one.clone()).await;
    }
    let mut both = fetch("t", 0, 0, 0);
    let other = both.topics[0].partitions[0].clone().with_partition(1);
    both.topics[0].partitions.push(other);
    let mut sizes = async |request: &FetchRequest| {
        let partitions = peer.call(12, request).await.responses.remove(0).partitions;
        partitions.iter().map(|partition| partition.records.as_ref().unwrap().len() / one.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&both).await, [2, 1]);
    assert_eq!(sizes(&both.clone().with_max_bytes(10)).await, [1, 0]);
    both.topics[0].partitions[0].partition_max_bytes = 10;
    both.topics[0].partitions[1].partition_max_bytes = 10;
    assert_eq!(sizes(&both).await, [1, 0], "the exception is one per answer, not one per partition");
}

#[tokio::test(start_paused = true)]
async fn retention_deletes_old_dated_records_when_it_is_asked_to_and_not_before() {
    let builder = TestCluster::builder().topic("t", 1).topic_with("kept", 1, [("retention.ms", "-1")]);
    let cluster = builder.in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let now = cluster.clock().unix_millis();
    for topic in ["t", "kept"] {
        peer.produce(topic, 0, batch(&[(1, "old")])).await;
        peer.produce(topic, 0, batch(&[(now, "new")])).await;
    }
    assert_eq!(cluster.offsets("t", 0), Some((0, 2)));
    cluster.apply_retention();
    assert_eq!((cluster.offsets("t", 0), cluster.offsets("kept", 0)), (Some((1, 2)), Some((0, 2))));
    assert_eq!(peer.fetch_from("t", 0, 0).await.error_code, ErrorCode::OffsetOutOfRange.to_wire());
}

#[tokio::test(start_paused = true)]
async fn a_parked_fetch_learns_at_once_that_retention_has_deleted_what_it_asks_for() {
    let cluster = cluster().await;
    let (mut reader, mut writer) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 1).await);
    for timestamp in [1, cluster.clock().unix_millis()] {
        writer.produce("t", 0, batch(&[(timestamp, "x")])).await;
    }
    let start = cluster.clock().now();
    let request = fetch("t", 0, 0, 10_000).with_min_bytes(1_000);
    let (read, ()) = tokio::join!(reader.fetch(&request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.apply_retention();
    });
    assert_eq!(read.error_code, ErrorCode::OffsetOutOfRange.to_wire());
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_parked_fetch_learns_at_once_that_its_topic_is_gone() {
    use crate::wire::messages::DeleteTopicsRequest;
    let cluster = cluster().await;
    let (mut reader, mut admin) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 1).await);
    let start = cluster.clock().now();
    let (read, _) = tokio::join!(reader.fetch_from("t", 0, 10_000), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        admin.call(5, &DeleteTopicsRequest::default().with_topic_names(vec![name("t")])).await
    });
    assert_eq!(read.error_code, ErrorCode::UnknownTopicOrPartition.to_wire());
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}
