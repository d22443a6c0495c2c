//! What a consumer and the brokers say to each other: sessions, epochs, replicas, and how much memory and how many bytes
//! it takes. Virtual time.

use crate::consumer::{SECOND, Seen, assigned, client, cluster, earliest, fill, tp};
use milena::broker::{ApiKey, TestCluster};
use milena::consumer::{Consumer, ConsumerConfig, IsolationLevel, OffsetReset, OffsetSpec};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::NodeId;
use milena::producer::{ProducerConfig, ProducerRecord};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MILLISECOND: Duration = Duration::from_millis(1);

fn open_sessions(cluster: &TestCluster, brokers: i32) -> Vec<(usize, usize, u64)> {
    let count = |node| cluster.fetch_sessions(NodeId(node));
    (1..=brokers).map(count).map(|count| (count.open, count.partitions, count.opened)).collect()
}

async fn read(consumer: &mut Consumer, seen: &mut Seen, count: u64) {
    for _ in 0..10_000 {
        if seen.count >= count {
            return;
        }
        seen.take(&consumer.poll(5 * SECOND).await.unwrap());
    }
    panic!("{} of {count} came", seen.count);
}

// ---- sessions (KIP-227)

/// sarama 1644, platformatic 315: a session per poll.
#[tokio::test(start_paused = true)]
async fn a_consumer_has_one_session_per_broker_for_its_life_and_ends_it() {
    let (cluster, client) = cluster(3, 6).await;
    for close in [true, false] {
        let opened = open_sessions(&cluster, 3)[0].2 + 1;
        let mut consumer = assigned(&client, ConsumerConfig::default().max_poll_records(7), 6).await;
        for _ in 0..5 {
            fill(&client, 600, 100, 6).await;
            let mut count = 0;
            while count < 600 {
                count += consumer.poll(SECOND).await.unwrap().len();
            }
            consumer.pause(&[tp(0), tp(1)]).unwrap();
            assert!(consumer.poll(2 * SECOND).await.unwrap().is_empty());
            consumer.resume(&[tp(0), tp(1)]).unwrap();
            assert!(consumer.poll(SECOND).await.unwrap().is_empty());
        }
        assert_eq!(open_sessions(&cluster, 3), [(1, 2, opened); 3]);
        if close {
            consumer.close(SECOND).await.unwrap();
        } else {
            drop(consumer);
        }
        sleep(SECOND).await;
        assert_eq!(open_sessions(&cluster, 3), [(0, 0, opened); 3], "closed: {close}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_of_a_thousand_partitions_asks_each_broker_twice_a_second_and_says_nothing_again() {
    let (cluster, client) = cluster(2, 1000).await;
    let mut consumer = assigned(&client, earliest(), 1000).await;
    consumer.poll(3 * SECOND).await.unwrap();
    cluster.reset_requests();
    assert!(consumer.poll(10 * SECOND).await.unwrap().is_empty());
    let fetches = cluster.requests(ApiKey::Fetch);
    assert!((38..=42).contains(&fetches.count), "{} in 10 s, of two brokers", fetches.count);
    assert!(fetches.bytes_in < 100 * fetches.count, "{} bytes for {}", fetches.bytes_in, fetches.count);
    assert!(fetches.bytes_out < 100 * fetches.count, "{} bytes for {}", fetches.bytes_out, fetches.count);
    assert_eq!(cluster.requests(ApiKey::ListOffsets).count, 0);
    fill(&client, 5, 100, 1).await;
    read(&mut consumer, &mut Seen::default(), 5).await;
}

#[tokio::test(start_paused = true)]
async fn brokers_without_room_for_sessions_serve_as_well() {
    for slots in [0, 1] {
        let cluster =
            TestCluster::builder().topic("t", 4).fetch_session_slots(slots).in_memory().start().await.unwrap();
        let client = client(&cluster);
        fill(&client, 4000, 100, 4).await;
        let (mut one, mut two) = (assigned(&client, earliest(), 4).await, assigned(&client, earliest(), 4).await);
        read(&mut one, &mut Seen::default(), 4000).await;
        read(&mut two, &mut Seen::default(), 4000).await;
        assert!(one.poll(SECOND).await.unwrap().is_empty() && two.poll(SECOND).await.unwrap().is_empty());
        assert_eq!(cluster.fetch_sessions(NodeId(1)).open, slots);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_a_session_it_begins_anew_and_nothing_is_lost_or_doubled() {
    let (cluster, client) = cluster(1, 3).await;
    let mut consumer = assigned(&client, earliest(), 3).await;
    let mut seen = Seen::default();
    let codes = [
        ErrorCode::FetchSessionIdNotFound,
        ErrorCode::InvalidFetchSessionEpoch,
        ErrorCode::FetchSessionTopicIdError,
        ErrorCode::UnknownTopicId,
        ErrorCode::InconsistentTopicId,
    ];
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for number in 0..60 {
        match codes.get(number % 6) {
            Some(code) => cluster.fault(ApiKey::Fetch).times(1 + number % 3).error(*code),
            None => cluster.fault(ApiKey::Fetch).once().apply_then_disconnect(),
        }
        let value = (number as u64 / 3).to_be_bytes();
        let record = ProducerRecord::new("t").value(&value).partition(number as i32 % 3);
        producer.send(record).await.unwrap().await.unwrap();
        read(&mut consumer, &mut seen, number as u64 + 1).await;
    }
    assert!(consumer.poll(2 * SECOND).await.unwrap().is_empty());
    assert_eq!(cluster.fetch_sessions(NodeId(1)).open, 1);
}

// ---- leader epochs (KIP-320)

/// One record per batch, so that a log can be cut anywhere; the values say which writing they are of.
async fn write(client: &milena::client::Client, count: usize, which: &str) {
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for _ in 0..count {
        let record = ProducerRecord::new("t").value(which).partition(0);
        producer.send(record).await.unwrap().await.unwrap();
    }
}

async fn values(consumer: &mut Consumer, count: usize) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    while values.len() < count {
        let records = consumer.poll(5 * SECOND).await.unwrap();
        assert!(!records.is_empty(), "only {values:?}");
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap()).into_owned();
        values.extend((&records).into_iter().map(|record| (record.offset(), text(record.value()))));
    }
    values
}

/// Without the epochs, the position would seem to be good as soon as the new log is longer, and what was written between
/// would never be seen.
#[tokio::test(start_paused = true)]
async fn after_an_unclean_election_reading_goes_on_where_the_logs_part_ways() {
    for longer in [false, true] {
        let (cluster, client) = cluster(1, 1).await;
        write(&client, 10, "old").await;
        let mut consumer = assigned(&client, earliest(), 1).await;
        values(&mut consumer, 10).await;
        cluster.lose("t", 0, 6);
        let count = if longer { 8 } else { 2 };
        write(&client, count, "new").await;
        let expected: Vec<_> = (6..6 + count as i64).map(|offset| (offset, "new".to_owned())).collect();
        assert_eq!(values(&mut consumer, count).await, expected);
        assert!(consumer.poll(2 * SECOND).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_reset_policy_a_truncation_is_told_with_its_offset() {
    let (cluster, client) = cluster(1, 1).await;
    write(&client, 10, "old").await;
    let none = ConsumerConfig::default().auto_offset_reset(OffsetReset::None);
    let mut consumer = client.consumer(none).unwrap();
    consumer.assign([tp(0)]).await.unwrap();
    consumer.seek(&tp(0), 0).unwrap();
    values(&mut consumer, 10).await;
    cluster.lose("t", 0, 6);
    write(&client, 8, "new").await;
    let error = consumer.poll(5 * SECOND).await.unwrap_err();
    assert_eq!((error.kind(), error.diverging_offset()), (ErrorKind::LogTruncation, Some(6)), "{error}");
    consumer.seek(&tp(0), 6).unwrap();
    assert_eq!(values(&mut consumer, 8).await[0], (6, "new".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_committed_offset_of_a_truncated_log_is_not_gone_on_from() {
    let (cluster, client) = cluster(1, 1).await;
    write(&client, 10, "old").await;
    let config = || ConsumerConfig::group("g").auto_offset_reset(OffsetReset::Latest);
    let mut first = client.consumer(config().auto_offset_reset(OffsetReset::Earliest)).unwrap();
    first.assign([tp(0)]).await.unwrap();
    values(&mut first, 10).await;
    first.close(5 * SECOND).await.unwrap();
    cluster.lose("t", 0, 6);
    write(&client, 8, "new").await;
    let mut second = client.consumer(config()).unwrap();
    second.assign([tp(0)]).await.unwrap();
    assert_eq!(values(&mut second, 8).await[0], (6, "new".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn clean_moves_of_the_leader_cost_one_question_and_no_byte_twice() {
    let (cluster, writer) = cluster(3, 1).await;
    fill(&writer, 2_000, 1_000, 1).await;
    let client = client(&cluster);
    let mut consumer = assigned(&client, earliest().max_poll_records(1), 1).await;
    let mut seen = Seen::default();
    read(&mut consumer, &mut seen, 100).await;
    cluster.reset_requests();
    for round in 0..6 {
        cluster.move_leader("t", 0, NodeId(1 + round % 3));
        let wanted = seen.count + 200;
        read(&mut consumer, &mut seen, wanted).await;
    }
    read(&mut consumer, &mut seen, 2_000).await;
    assert!(cluster.requests(ApiKey::OffsetForLeaderEpoch).count <= 6);
    let (read, stored) = (client.traffic().1 as f64, cluster.stored_bytes("t") as f64);
    assert!(read <= stored * 1.05, "{} read over the wire", read / stored);
}

/// KIP-951; librdkafka 2.10 took 1.5 s of waits out of it.
#[tokio::test(start_paused = true)]
async fn a_leader_switch_waits_for_no_metadata_and_no_backoff_also_to_a_broker_not_known_yet() {
    for is_known in [true, false] {
        let (cluster, writer) = cluster(3, 1).await;
        let moves: [i32; 2] = [2, 3];
        if !is_known {
            moves.iter().for_each(|node| cluster.kill(NodeId(*node)));
        }
        cluster.move_leader("t", 0, NodeId(1));
        fill(&writer, 1_000, 1_000, 1).await;
        let client = client(&cluster);
        let config = earliest().max_poll_records(1).prefetch_bytes(60_000).max_partition_fetch_bytes(20_000);
        let mut consumer = assigned(&client, config, 1).await;
        let mut seen = Seen::default();
        read(&mut consumer, &mut seen, 100).await;
        for node in moves {
            cluster.restart(NodeId(node)).await.unwrap();
        }
        cluster.fault(ApiKey::Metadata).error(ErrorCode::LeaderNotAvailable);
        for node in moves {
            sleep(SECOND).await;
            cluster.move_leader("t", 0, NodeId(node));
            let (started, wanted) = (Instant::now(), seen.count + 200);
            read(&mut consumer, &mut seen, wanted).await;
            assert!(started.elapsed() < 10 * MILLISECOND, "known: {is_known}, to {node}: {:?}", started.elapsed());
        }
    }
}

// ---- replicas nearby (KIP-392)

/// Three brokers in racks a, b and c; the first leads.
async fn racks() -> TestCluster {
    let builder = TestCluster::builder().brokers(3).racks(["a", "b", "c"]).topic("t", 1);
    let cluster = builder.in_memory().start().await.unwrap();
    assert_eq!(cluster.leader("t", 0), Some(NodeId(1)));
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_consumer_reads_from_the_replica_in_its_rack_and_asks_the_leader_again_when_the_lease_ends() {
    let cluster = racks().await;
    let client = client(&cluster);
    fill(&client, 2_000, 1_000, 1).await;
    for (rack, node, leaders) in [("b", 2, 1), ("a", 1, 1), ("nowhere", 1, 1)] {
        let opened = |node| cluster.fetch_sessions(NodeId(node)).opened;
        let before = [1, 2, 3].map(opened);
        let mut consumer = assigned(&client, earliest().client_rack(rack).max_poll_records(1), 1).await;
        let mut seen = Seen::default();
        read(&mut consumer, &mut seen, 2_000).await;
        let now = [1, 2, 3].map(opened);
        let count = |node: usize| now[node - 1] - before[node - 1];
        assert_eq!((count(node), count(3)), (1, 0), "rack {rack}");
        assert_eq!(count(1), leaders, "rack {rack}: everybody begins there");
        fill(&client, 10, 100, 1).await;
        let count = consumer.poll(SECOND).await.unwrap().len() as u64;
        assert!(count > 0, "rack {rack}");
        consumer.close(SECOND).await.unwrap();
    }
    let mut consumer = assigned(&client, earliest().client_rack("b"), 1).await;
    while !consumer.poll(SECOND).await.unwrap().is_empty() {}
    // The replica goes while nobody looks at the metadata; then another one is in the rack.
    cluster.move_leader("t", 0, NodeId(3));
    fill(&client, 10, 100, 1).await;
    assert!(!consumer.poll(5 * SECOND).await.unwrap().is_empty(), "a new leader");
    assert!(consumer.poll(400 * SECOND).await.unwrap().is_empty());
    fill(&client, 10, 100, 1).await;
    assert!(!consumer.poll(5 * SECOND).await.unwrap().is_empty(), "a new lease");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_or_is_behind_is_left_for_the_leader_and_no_position_is_reset() {
    let cluster = racks().await;
    let client = client(&cluster);
    write(&client, 5, "early").await;
    let mut consumer = assigned(&client, earliest().client_rack("b"), 1).await;
    values(&mut consumer, 5).await;
    assert_eq!(cluster.fetch_sessions(NodeId(2)).open, 1);
    cluster.set_in_sync("t", 0, &[NodeId(3)]);
    write(&client, 5, "late").await;
    consumer.seek(&tp(0), 8).unwrap();
    let late = |offset| (offset, "late".to_owned());
    assert_eq!(values(&mut consumer, 2).await, [late(8), late(9)], "OFFSET_OUT_OF_RANGE at the replica is not the end");

    cluster.set_in_sync("t", 0, &[NodeId(2), NodeId(3)]);
    consumer.seek(&tp(0), 0).unwrap();
    values(&mut consumer, 10).await;
    cluster.kill(NodeId(2));
    write(&client, 1, "late").await;
    assert_eq!(values(&mut consumer, 1).await, [late(10)]);
    cluster.restart(NodeId(2)).await.unwrap();
    cluster.pause(NodeId(2));
    write(&client, 1, "late").await;
    sleep(31 * SECOND).await; // request.timeout.ms
    assert_eq!(values(&mut consumer, 1).await, [late(11)]);
}

// ---- ListOffsets

#[tokio::test(start_paused = true)]
async fn every_place_in_a_log_can_be_asked_for() {
    let (cluster, client) = cluster(1, 2).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for timestamp in [1000, 9000, 2000] {
        let record = ProducerRecord::new("t").value("x").partition(0).timestamp(timestamp);
        producer.send(record).await.unwrap().await.unwrap();
    }
    let consumer = client.consumer(earliest()).unwrap();
    for (spec, expected) in [
        (OffsetSpec::Earliest, Some((0, -1))),
        (OffsetSpec::Latest, Some((3, -1))),
        (OffsetSpec::Timestamp(1500), Some((1, 9000))),
        (OffsetSpec::Timestamp(9001), None),
        (OffsetSpec::MaxTimestamp, Some((1, 9000))),
        (OffsetSpec::EarliestLocal, Some((0, -1))),
        (OffsetSpec::LatestTiered, None),
    ] {
        let found = consumer.list_offsets([(tp(0), spec)].into()).await.unwrap()[&tp(0)];
        assert_eq!(found.map(|at| (at.offset, at.timestamp)), expected, "{spec:?}");
    }
    let empty = consumer.list_offsets([(tp(1), OffsetSpec::MaxTimestamp)].into()).await.unwrap();
    assert_eq!(empty[&tp(1)], None);
    drop(cluster);
}

/// librdkafka 1.8 (3423).
#[tokio::test(start_paused = true)]
async fn the_end_for_read_committed_is_the_last_stable_offset() {
    let (_cluster, client) = cluster(1, 1).await;
    write(&client, 3, "plain").await;
    let mut producer = client.transactional_producer("x", ProducerConfig::default()).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(ProducerRecord::new("t").value("open").partition(0)).await.unwrap().await.unwrap();
    for (isolation, end) in [(IsolationLevel::ReadUncommitted, 4), (IsolationLevel::ReadCommitted, 3)] {
        let mut consumer = assigned(&client, earliest().isolation_level(isolation), 1).await;
        assert_eq!(consumer.end_offsets(&[tp(0)]).await.unwrap()[&tp(0)], end);
        assert_eq!(values(&mut consumer, end as usize).await.len(), end as usize);
        assert_eq!(consumer.lag(&tp(0)), Some(0), "and its lag is of that");
        consumer.seek_to_end(&[tp(0)]).unwrap();
        assert!(consumer.poll(SECOND).await.unwrap().is_empty());
        assert_eq!(consumer.position(&tp(0)), Some(end));
    }
    transaction.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_known_from_the_answers_and_costs_no_request() {
    let (cluster, client) = cluster(1, 2).await;
    fill(&client, 1_000, 100, 2).await;
    let mut consumer = assigned(&client, earliest().max_poll_records(1), 2).await;
    assert_eq!(consumer.lag(&tp(0)), None, "nothing is known yet");
    consumer.poll(SECOND).await.unwrap();
    cluster.reset_requests();
    for _ in 0..1_000 {
        consumer.poll(SECOND).await.unwrap();
        for partition in [tp(0), tp(1)] {
            let position = consumer.position(&partition).unwrap();
            assert_eq!(consumer.lag(&partition), Some(500 - position));
        }
        if (0..2).all(|partition| consumer.lag(&tp(partition)) == Some(0)) {
            break;
        }
    }
    assert_eq!(consumer.lag(&tp(1)), Some(0));
    assert_eq!(cluster.requests(ApiKey::ListOffsets).count, 0);
    fill(&client, 10, 100, 1).await;
    sleep(SECOND).await;
    assert_eq!(consumer.lag(&tp(0)), Some(10), "also while nobody polls");
}

// ---- memory and fairness

#[tokio::test(start_paused = true)]
async fn what_is_prefetched_stays_within_its_budget_at_ten_times_the_lag() {
    const BUDGET: usize = 1 << 20;
    let (cluster, writer) = cluster(2, 20).await;
    fill(&writer, 12_000, 1_000, 20).await;
    assert!(cluster.stored_bytes("t") > 10 * BUDGET);
    let client = client(&cluster);
    let mut consumer = assigned(&client, earliest().prefetch_bytes(BUDGET).max_poll_records(1), 20).await;
    let (mut seen, mut most) = (Seen::default(), 0);
    while seen.count < 12_000 {
        seen.take(&consumer.poll(SECOND).await.unwrap());
        sleep(MILLISECOND).await; // an application slower than the brokers
        most = most.max(consumer.prefetched_bytes());
    }
    assert!(most <= BUDGET + (20 << 10), "{most} bytes, which is more than the budget and a batch");
    assert!(most > BUDGET / 3, "{most} bytes: the budget is there to be used");
}

/// librdkafka 2853, 1976.
#[tokio::test(start_paused = true)]
async fn a_hot_partition_does_not_starve_others_in_a_session_either() {
    let (cluster, writer) = cluster(1, 10).await;
    fill(&writer, 5_000, 1_000, 1).await;
    let client = client(&cluster);
    let config = earliest().prefetch_bytes(400_000).fetch_max_bytes(100_000).max_partition_fetch_bytes(50_000);
    let mut consumer = assigned(&client, config.max_poll_records(20), 10).await;
    let producer = writer.producer(ProducerConfig::default()).unwrap();
    let (mut written, mut read, mut hot) = (0, 0, 0);
    let mut since = [None::<usize>; 10];
    for poll in 0..200 {
        if poll % 10 == 0 {
            for partition in 1..10 {
                let record = ProducerRecord::new("t").value("x").partition(partition);
                producer.send(record).await.unwrap().await.unwrap();
                since[partition as usize].get_or_insert(poll);
                written += 1;
            }
        }
        for record in &consumer.poll(SECOND).await.unwrap() {
            match record.partition() {
                0 => hot += 1,
                partition => {
                    let began = since[partition as usize].take().unwrap_or(poll);
                    assert!(poll - began <= 40, "partition {partition} has waited for {} polls", poll - began);
                    read += 1;
                }
            }
        }
    }
    assert!(hot > 1_000, "{hot}: and the hot one is not starved by them");
    assert!(read > written / 2, "{read} of {written}");
}
