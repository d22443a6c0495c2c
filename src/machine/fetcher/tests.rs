//! The Fetcher against a model of a broker's log, in plain tests: no socket, no task, time moved by hand. The odd data
//! is the matrix of the protocol rules: whatever has once stopped, spun or misled some client.
#![allow(clippy::disallowed_methods, reason = "a test's start of time")]

use super::*;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, ProducerIdAndEpoch};
use crate::machine::metadata::{Node, PartitionMetadata, TopicMetadata};
use crate::record::batch::{BatchHeader, RawBatch};
use crate::record::compression::{Compression, Compressor, Decompressor};
use crate::record::decode;
use crate::record::encode::{RecordEncoder, transaction_marker};
use crate::wire::fetch::{FetchResponse, FetchedPartition, FetchedTopic};
use bytes::Bytes;
use std::collections::HashMap;

const NODE: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn patched(batch: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    bytes.into()
}

/// One partition's log, as a broker keeps it.
#[derive(Default, Clone)]
struct Log {
    batches: Vec<Bytes>,
    next: i64,
    /// Producer, first offset, offset of the marker.
    aborted: Vec<(i64, i64, i64)>,
    last_stable: Option<i64>,
    start: i64,
}

impl Log {
    fn put(&mut self, batch: &Bytes) -> i64 {
        let mut batch = RawBatch::parse(batch).unwrap();
        let base = self.next;
        batch.set_base_offset(base);
        batch.set_partition_leader_epoch(5);
        self.next = batch.header().next_offset();
        self.batches.push(batch.into_bytes());
        base
    }

    fn write(&mut self, records: usize, value: usize, producer: i64, transactional: bool) -> i64 {
        let mut encoder = RecordEncoder::new(Vec::new(), 1 << 20);
        let value = vec![b'v'; value];
        (0..records).for_each(|_| assert!(encoder.append(1000, None, Some(&value), &[]).is_some()));
        let body = encoder.seal(Compression::None, None, &mut Compressor::default()).unwrap().0;
        self.put(&body.to_batch(ProducerIdAndEpoch { id: producer, epoch: 0 }, 0, transactional))
    }

    fn records(&mut self, records: usize) -> i64 {
        self.write(records, 10, -1, false)
    }

    fn marker(&mut self, producer: i64, commit: bool) -> i64 {
        self.put(&transaction_marker(ProducerIdAndEpoch { id: producer, epoch: 0 }, commit, 0, 1000))
    }

    fn abort(&mut self, producer: i64, first: i64) {
        let marker = self.marker(producer, false);
        self.aborted.push((producer, first, marker));
    }

    fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }

    /// As a broker answers: from the batch that holds `offset`, cut at `max` bytes, the first batch whole if `whole`.
    fn read(&self, offset: i64, max: usize, whole: bool) -> FetchedPartition {
        let end = self.last_stable.unwrap_or(self.next);
        let header = |batch: &Bytes| BatchHeader::parse(batch).unwrap().unwrap();
        let mut records = Vec::new();
        for batch in self.batches.iter().filter(|batch| header(batch).last_offset() >= offset) {
            if header(batch).base_offset >= end || records.len() >= max && !(whole && records.is_empty()) {
                break;
            }
            let room = if whole && records.is_empty() { usize::MAX } else { max - records.len() };
            records.extend_from_slice(&batch[..batch.len().min(room)]);
        }
        let out_of_range = offset < self.start || offset > self.next;
        FetchedPartition {
            topic: FetchedTopic::Name(Bytes::from_static(b"t")),
            partition: 0,
            error: out_of_range.then_some(ErrorCode::OffsetOutOfRange),
            high_watermark: self.next,
            last_stable_offset: end,
            log_start_offset: self.start,
            diverging: None,
            current_leader: None,
            aborted: self.aborted.iter().filter(|(.., m)| *m >= offset).map(|(p, first, _)| (*p, *first)).collect(),
            preferred_replica: None,
            records: if out_of_range { Bytes::new() } else { records.into() },
        }
    }
}

struct Rig {
    fetcher: Fetcher,
    now: Instant,
    logs: HashMap<i32, Log>,
    fetches: usize,
    served: usize,
}

fn config() -> FetcherConfig {
    FetcherConfig {
        budget: 64 << 20,
        max_bytes: 50 << 20,
        max_partition_bytes: 1 << 20,
        min_bytes: 1,
        max_wait: Duration::from_millis(500),
        isolation: IsolationLevel::ReadUncommitted,
        reset: OffsetReset::Earliest,
        partition_end: false,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
    }
}

fn committed() -> FetcherConfig {
    FetcherConfig { isolation: IsolationLevel::ReadCommitted, ..config() }
}

fn cluster(generation: u64, leaders: &[(NodeId, i32)]) -> Arc<Cluster> {
    let partition = |(leader, epoch): &(NodeId, i32)| PartitionMetadata {
        leader: Some(*leader),
        leader_epoch: Some(LeaderEpoch(*epoch)),
        ..PartitionMetadata::default()
    };
    let partitions = leaders.iter().map(partition).collect();
    let topic = TopicMetadata { name: "t".into(), id: TopicId::ZERO, internal: false, partitions };
    let node = || Node { host: "h".into(), port: 1, rack: None };
    Arc::new(Cluster {
        generation,
        nodes: [(NODE, node()), (OTHER, node())].into(),
        topics: [("t".into(), Arc::new(topic))].into(),
        ..Cluster::default()
    })
}

impl Rig {
    /// Partition i is `logs[i]`, all led by `NODE`, read from offset 0.
    fn new(config: FetcherConfig, logs: Vec<Log>) -> Self {
        let (mut fetcher, now) = (Fetcher::new(config), Instant::now());
        fetcher.set_cluster(now, cluster(1, &vec![(NODE, 5); logs.len()]));
        let start = |at| (tp(at as i32), Start::At(crate::ids::OffsetAndMetadata::new(0)));
        fetcher.change_assignment(now, [], (0..logs.len()).map(start));
        assert_eq!(fetcher.start_nodes(), [NODE]);
        let logs = logs.into_iter().enumerate().map(|(at, log)| (at as i32, log)).collect();
        Self { fetcher, now, logs, fetches: 0, served: 0 }
    }

    fn plan(&mut self) -> FetchPlan {
        match self.fetcher.step(self.now, NODE) {
            Step::Fetch(plan) => plan,
            step => panic!("{step:?}"),
        }
    }

    /// What the broker says to it, partitions in order until `max_bytes` are full.
    fn serve(&mut self, plan: &FetchPlan) -> (FetchResponse, usize) {
        self.fetches += 1;
        let mut left = plan.parameters.max_bytes as usize;
        let mut whole = true;
        let serve = |planned: &PlannedPartition| {
            let log = &self.logs[&planned.name.partition];
            let mut answer = log.read(planned.offset, left.min(planned.max_bytes as usize), whole);
            answer.partition = planned.name.partition;
            whole &= answer.records.is_empty();
            left = left.saturating_sub(answer.records.len());
            answer
        };
        let partitions: Vec<_> = plan.partitions.iter().map(serve).collect();
        let length = partitions.iter().map(|partition| partition.records.len()).sum::<usize>();
        self.served += length;
        (FetchResponse { partitions, ..FetchResponse::default() }, length + 100)
    }

    /// One Fetch and its answer, unless there is a reason to wait.
    fn try_fetch(&mut self) -> Option<Answered> {
        let Step::Fetch(plan) = self.fetcher.step(self.now, NODE) else { return None };
        let answer = self.serve(&plan);
        Some(self.fetcher.answer(self.now, &plan, Ok(answer)))
    }

    fn fetch(&mut self) -> Answered {
        self.try_fetch().expect("nothing to wait for")
    }

    fn fail(&mut self, code: ErrorCode, leader: Option<(NodeId, LeaderEpoch)>) -> Answered {
        let plan = self.plan();
        let (mut response, length) = self.serve(&plan);
        for partition in &mut response.partitions {
            (partition.error, partition.current_leader) = (Some(code), leader);
            partition.records = Bytes::new();
        }
        self.fetcher.answer(self.now, &plan, Ok((response, length)))
    }

    /// Partition and offset of each record that the next poll hands out.
    fn poll(&mut self, most: usize) -> Vec<(i32, i64)> {
        let Polled::Records(records) = self.fetcher.poll(self.now, most) else { return Vec::new() };
        let offsets: Vec<_> = records.iter().flat_map(offsets).collect();
        assert_eq!(offsets.len(), records.iter().map(|records| records.announced).sum::<usize>());
        offsets
    }

    fn error(&mut self) -> Error {
        match self.fetcher.poll(self.now, 500) {
            Polled::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn position(&self, partition: i32) -> i64 {
        self.fetcher.subscription().get(&tp(partition)).unwrap().position().unwrap().offset
    }

    /// Whether there is a reason to wait. If not, the Fetch that it made is given up.
    fn waits(&mut self) -> bool {
        match self.fetcher.step(self.now, NODE) {
            Step::Fetch(plan) => {
                self.fetcher.answer(self.now, &plan, Err(Error::new(ErrorKind::Connection)));
                false
            }
            Step::Wait(_) => true,
            Step::Gone => panic!("nothing to lead"),
        }
    }

    /// Fetches and polls until the end of partition 0, at most so often.
    fn read_to_end(&mut self, fetches: usize) -> Vec<i64> {
        let mut offsets = Vec::new();
        for fetch in 0..=fetches {
            if self.position(0) >= self.logs[&0].last_stable.unwrap_or(self.logs[&0].next) {
                return offsets;
            }
            if fetch < fetches {
                self.fetch();
            }
            loop {
                let polled = self.poll(500);
                if polled.is_empty() {
                    break;
                }
                offsets.extend(polled.into_iter().map(|(_, offset)| offset));
            }
        }
        panic!("stuck at {} after {fetches} fetches", self.position(0));
    }
}

fn offsets(records: &FetchedRecords) -> Vec<(i32, i64)> {
    let (mut rest, mut offsets) = (records.batches.clone(), Vec::new());
    while !rest.is_empty() {
        let batch = rest.split_to(BatchHeader::parse(&rest).unwrap().unwrap().size());
        let mut scratch = Decompressor::default();
        let opened = decode::open(&batch, &mut scratch, 1 << 20).unwrap().starting_at(records.from);
        offsets.extend(opened.map(|record| (records.name.partition, record.unwrap().offset)));
    }
    offsets
}

// ---- odd data

/// rskafka 0.6 can't read a topic with a marker in it.
#[test]
fn a_fetch_with_only_markers_brings_nothing_and_moves_the_position() {
    for config in [config(), committed()] {
        let mut log = Log::default();
        (0..3).for_each(|producer| {
            log.marker(producer, producer == 1);
        });
        let mut rig = Rig::new(config, vec![log]);
        assert!(rig.read_to_end(1).is_empty());
        assert_eq!(rig.position(0), 3, "so that a commit is past them");
    }
}

/// kacrab 0.4 stops for ever.
#[test]
fn an_aborted_transaction_larger_than_a_fetch_is_skipped_whole() {
    let mut log = Log::default();
    log.records(2);
    let first = log.write(5, 10, 7, true);
    (0..40).for_each(|_| {
        log.write(5, 10, 7, true);
    });
    log.abort(7, first);
    let after = log.records(1);
    let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 1000, ..committed() }, vec![log]);
    assert_eq!(rig.read_to_end(30), [0, 1, after]);
    assert!(rig.fetches > 3);
}

/// kacrab 0.4 spins.
#[test]
fn a_position_on_a_marker_or_behind_the_last_one_does_not_spin() {
    let mut log = Log::default();
    let first = log.write(2, 10, 7, true);
    log.abort(7, first);
    let after = log.records(1);
    log.marker(9, true);
    let mut rig = Rig::new(committed(), vec![log]);
    rig.fetcher.seek(&tp(0), Position { offset: 2, leader_epoch: None }).unwrap();
    assert_eq!(rig.read_to_end(1), [after]);
    assert_eq!(rig.position(0), 5);
    assert!(!rig.fetch().data, "nothing more: the broker parks the next Fetch");
}

/// kafka-protocol drops `lastOffsetDelta`, so that the position stays in front of the tail for ever.
#[test]
fn a_compacted_tail_is_passed_by_the_head_of_its_batch() {
    let mut log = Log::default();
    log.records(3);
    let batch = log.batches.pop().unwrap();
    log.batches.push(patched(&batch, |bytes| bytes[23..27].copy_from_slice(&9_i32.to_be_bytes())));
    log.next = 10;
    let after = log.records(1);
    let mut rig = Rig::new(config(), vec![log]);
    assert_eq!(rig.read_to_end(1), [0, 1, 2, after]);
    assert_eq!(rig.position(0), 11);
}

#[test]
fn an_empty_batch_is_passed() {
    let mut log = Log::default();
    log.records(1);
    let batch = log.batches.pop().unwrap();
    log.batches.push(patched(&batch.slice(..61), |bytes| {
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[23..27].copy_from_slice(&4_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    }));
    log.next = 5;
    let mut rig = Rig::new(config(), vec![log.clone()]);
    assert!(rig.read_to_end(1).is_empty());
    assert_eq!(rig.position(0), 5);
    log.records(1);
    assert_eq!(Rig::new(committed(), vec![log]).read_to_end(1), [5]);
}

#[test]
fn a_truncated_last_batch_is_normal_and_comes_again_whole() {
    let mut log = Log::default();
    (0..10).for_each(|_| {
        log.records(3);
    });
    let size = log.batches[0].len();
    let mut rig = Rig::new(FetcherConfig { max_partition_bytes: size * 5 / 2, ..config() }, vec![log]);
    assert_eq!(rig.read_to_end(5), (0..30).collect::<Vec<_>>());
    assert_eq!(rig.fetches, 5, "two whole batches each, without a pause between");
}

/// Before KIP-74 a broker cut the first batch too.
#[test]
fn a_batch_that_never_fits_is_asked_for_by_its_size() {
    let mut log = Log::default();
    log.write(1, 5000, -1, false);
    let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 1000, budget: 3000, ..config() }, vec![log.clone()]);
    let plan = rig.plan();
    let cut = FetchedPartition { records: log.batches[0].slice(..1000), ..log.read(0, 0, false) };
    rig.fetcher.answer(rig.now, &plan, Ok((FetchResponse { partitions: vec![cut], ..Default::default() }, 1100)));
    let plan = rig.plan();
    assert_eq!(plan.partitions[0].max_bytes as usize, log.batches[0].len());
    assert!(plan.parameters.max_bytes as usize >= log.batches[0].len());
}

/// Redpanda, by franz-go 1.21.4.
#[test]
fn an_unsorted_list_of_aborted_transactions_is_sorted() {
    let mut log = Log::default();
    let first = log.write(1, 10, 7, true);
    let second = log.write(1, 10, 8, true);
    let kept = log.records(1);
    log.abort(8, second);
    log.abort(7, first);
    log.aborted.sort_by_key(|(producer, ..)| -producer);
    assert_eq!(Rig::new(committed(), vec![log]).read_to_end(1), [kept]);
}

#[test]
fn two_abort_markers_for_one_producer_and_two_transactions_of_it_do_no_harm() {
    let mut log = Log::default();
    let first = log.write(1, 10, 7, true);
    log.abort(7, first);
    log.marker(7, false);
    let good = log.write(1, 10, 7, true);
    log.marker(7, true);
    let bad = log.write(1, 10, 7, true);
    log.abort(7, bad);
    assert_eq!(Rig::new(committed(), vec![log.clone()]).read_to_end(1), [good]);
    assert_eq!(Rig::new(config(), vec![log]).read_to_end(1), [first, good, bad], "uncommitted sees all but markers");
}

#[test]
fn what_an_aborted_producer_wrote_outside_of_its_transaction_stays() {
    let mut log = Log::default();
    let bad = log.write(1, 10, 7, true);
    let good = log.write(1, 10, 7, false);
    log.abort(7, bad);
    assert_eq!(Rig::new(committed(), vec![log]).read_to_end(1), [good]);
}

#[test]
fn a_read_committed_position_and_lag_end_at_the_last_stable_offset() {
    let mut log = Log::default();
    log.records(2);
    log.last_stable = Some(2);
    log.write(3, 10, 7, true);
    let mut rig = Rig::new(FetcherConfig { partition_end: true, ..committed() }, vec![log]);
    rig.fetch();
    assert_eq!(rig.fetcher.lag(&tp(0)), Some(2));
    assert_eq!(rig.poll(500).len(), 2);
    assert_eq!((rig.fetcher.lag(&tp(0)), rig.position(0)), (Some(0), 2));
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::PartitionEnd(_, 2)));
}

#[test]
fn records_below_the_position_are_not_handed_out() {
    let mut log = Log::default();
    log.records(10);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetcher.seek(&tp(0), Position { offset: 7, leader_epoch: None }).unwrap();
    assert_eq!(rig.read_to_end(1), [7, 8, 9]);
}

#[test]
fn a_broker_that_gives_what_is_before_the_position_is_an_error_and_no_loop() {
    let mut log = Log::default();
    log.records(2);
    let stale = log.read(0, 1000, true);
    log.records(2);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetcher.seek(&tp(0), Position { offset: 3, leader_epoch: None }).unwrap();
    let plan = rig.plan();
    rig.fetcher.answer(rig.now, &plan, Ok((FetchResponse { partitions: vec![stale], ..Default::default() }, 100)));
    assert_eq!(rig.error().kind(), ErrorKind::Malformed);
    assert!(rig.waits(), "and not at once again");
    rig.now += REMIND;
    assert_eq!(rig.read_to_end(1), [3]);
}

#[test]
fn the_epoch_of_the_last_batch_goes_into_the_position_markers_included() {
    let mut log = Log::default();
    log.marker(7, true);
    let mut rig = Rig::new(config(), vec![log]);
    rig.read_to_end(1);
    let positions: HashMap<_, _> = rig.fetcher.subscription().positions().collect();
    assert_eq!((positions[&tp(0)].offset, positions[&tp(0)].leader_epoch), (1, Some(LeaderEpoch(5))));
}

// ---- moves, pauses, fairness, memory

#[test]
fn a_seek_while_a_fetch_is_under_way_drops_what_it_brings() {
    let mut log = Log::default();
    (0..3).for_each(|_| {
        log.records(5);
    });
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(5).len(), 5);
    let plan = rig.plan();
    rig.fetcher.seek(&tp(0), Position { offset: 12, leader_epoch: None }).unwrap();
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data);
    assert!(rig.poll(500).is_empty(), "neither what was under way nor what was buffered");
    assert_eq!(rig.fetcher.memory(), (0, 0), "and its room is free again");
    assert_eq!(rig.read_to_end(1), [12, 13, 14]);
}

#[test]
fn a_late_answer_to_a_reset_does_not_undo_a_seek() {
    let mut rig = Rig::new(config(), vec![Log::default()]);
    rig.fetcher.seek_to(&tp(0), OffsetReset::Latest).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 0).remove(0);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 0, "asked once");
    rig.fetcher.seek(&tp(0), Position { offset: 4, leader_epoch: None }).unwrap();
    rig.fetcher.reset_answer(rig.now, &lookup, Ok(Some(Position { offset: 9, leader_epoch: None })));
    assert_eq!(rig.position(0), 4);
}

#[test]
fn a_pause_keeps_what_has_arrived_without_keeping_the_answer_it_came_in() {
    let logs = (0..2).map(|_| {
        let mut log = Log::default();
        (0..4).for_each(|_| {
            log.records(10);
        });
        log
    });
    let mut rig = Rig::new(config(), logs.collect());
    let stored = rig.logs[&0].bytes();
    rig.fetch();
    rig.fetcher.pause(&tp(0)).unwrap();
    assert!(rig.poll(500).iter().all(|(partition, _)| *partition == 1));
    assert_eq!(rig.fetcher.memory(), (stored, 0), "only the paused partition's bytes are left");
    rig.fetcher.resume(&tp(0)).unwrap();
    rig.fetcher.resume(&tp(1)).unwrap(); // was not paused: nothing happens
    assert_eq!(rig.poll(500).len(), 40);
    assert_eq!(rig.fetches, 1, "nothing was fetched again");
    assert_eq!(rig.fetcher.memory(), (0, 0));
}

#[test]
fn paused_data_beyond_half_the_budget_is_fetched_again_and_none_is_lost() {
    let mut log = Log::default();
    (0..30).for_each(|_| {
        log.write(1, 500, -1, false);
    });
    let config = FetcherConfig { budget: 8000, max_partition_bytes: 3000, ..config() };
    let mut rig = Rig::new(config, vec![log]);
    let mut read = Vec::new();
    while read.len() < 30 {
        while rig.try_fetch().is_some_and(|answered| answered.data) {}
        rig.fetcher.pause(&tp(0)).unwrap();
        assert!(rig.fetcher.memory().0 <= 4000 + 600, "{:?}", rig.fetcher.memory());
        assert!(rig.poll(1).is_empty());
        rig.fetcher.resume(&tp(0)).unwrap();
        read.extend(rig.poll(2).into_iter().map(|(_, offset)| offset));
    }
    assert_eq!(read, (0..30).collect::<Vec<_>>());
    assert!(rig.served > rig.logs[&0].bytes(), "some came twice");
}

#[test]
fn with_all_partitions_paused_nothing_is_asked_for_and_nobody_spins() {
    let mut log = Log::default();
    log.records(1);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    (0..2).for_each(|partition| rig.fetcher.pause(&tp(partition)).unwrap());
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Wait(None)));
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
    rig.fetcher.resume(&tp(1)).unwrap();
    assert_eq!(rig.fetcher.poll_wake(), Some(NODE), "the fetch task hears of it");
    assert_eq!(rig.poll(500), [(1, 0)]);
}

/// librdkafka 2853, 1976.
#[test]
fn one_hot_partition_does_not_starve_others() {
    let mut hot = Log::default();
    (0..2000).for_each(|_| {
        hot.write(1, 1000, -1, false);
    });
    let mut logs = vec![hot];
    logs.extend((0..9).map(|_| {
        let mut log = Log::default();
        (0..20).for_each(|_| {
            log.write(1, 1000, -1, false);
        });
        log
    }));
    // Room for two partitions' worth in an answer: the hot one would fill it each time.
    let config = FetcherConfig { max_partition_bytes: 10_000, max_bytes: 20_000, budget: 80_000, ..config() };
    let mut rig = Rig::new(config, logs);
    let mut read = HashMap::<i32, usize>::new();
    for _ in 0..25 {
        rig.try_fetch();
        rig.poll(20).iter().for_each(|(partition, _)| *read.entry(*partition).or_default() += 1);
    }
    for cold in 1..10 {
        assert!(read.get(&cold).is_some_and(|records| *records >= 10), "partition {cold} starves: {read:?}");
    }
}

#[test]
fn a_full_partition_holds_up_the_fetch_instead_of_being_left_out_of_it() {
    let mut logs = vec![Log::default(), Log::default()];
    (0..50).for_each(|_| {
        logs[0].write(1, 1000, -1, false);
    });
    let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 2000, ..config() }, logs);
    rig.fetch();
    rig.fetch();
    assert!(rig.waits(), "else the broker would park the Fetch for partition 1, and 0 with it");
    assert_eq!(rig.poll(1).len(), 1);
    assert_eq!(rig.fetcher.poll_wake(), Some(NODE));
    assert!(!rig.waits());
}

#[test]
fn what_is_prefetched_stays_within_the_budget_by_one_batch_at_most() {
    for (nodes, budget) in [(1, 50_000), (2, 50_000), (1, 3_000)] {
        let mut log = Log::default();
        (0..500).for_each(|_| {
            log.write(1, 1000, -1, false);
        });
        let mut rig = Rig::new(FetcherConfig { budget, max_partition_bytes: 20_000, ..config() }, vec![log; 10]);
        if nodes == 2 {
            rig.fetcher.change_assignment(rig.now, [], [(tp(10), Start::Later)]);
            let mut leaders = vec![(NODE, 5); 10];
            leaders.push((OTHER, 5));
            rig.fetcher.set_cluster(rig.now, cluster(2, &leaders));
            assert_eq!(rig.fetcher.start_nodes(), [OTHER]);
        }
        let mut most = 0;
        for round in 0..300 {
            let Step::Fetch(plan) = rig.fetcher.step(rig.now, NODE) else {
                rig.poll(1);
                continue;
            };
            let (used, reserved) = rig.fetcher.memory();
            most = most.max(used + reserved);
            assert!(used + reserved <= budget / nodes + 1_200, "{used} + {reserved} in round {round}");
            let answer = rig.serve(&plan);
            rig.fetcher.answer(rig.now, &plan, Ok(answer));
        }
        assert!(budget < 10_000 || most > budget / nodes / 2, "the budget is made use of: {most}");
    }
}

#[test]
fn a_kept_answer_counts_whole_until_its_last_part_is_handed_out() {
    let mut log = Log::default();
    log.records(10);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    let before = rig.fetcher.memory();
    assert_eq!(rig.poll(10).len(), 10);
    assert_eq!(rig.fetcher.memory(), before);
    assert_eq!(rig.poll(10).len(), 10);
    assert_eq!(rig.fetcher.memory(), (0, 0));
}

/// krafka 0.28 reads a log 49 times over the wire: what doesn't fit a poll is thrown away and fetched again.
#[test]
fn small_polls_hand_out_every_record_once_and_fetch_none_twice() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut logs = vec![Log::default(); 4];
        for log in &mut logs {
            (0..random.usize(20..60)).for_each(|_| {
                log.write(random.usize(1..40), 50, -1, false);
            });
        }
        let ends: Vec<_> = logs.iter().map(|log| log.next).collect();
        let stored: usize = logs.iter().map(Log::bytes).sum();
        let mut rig = Rig::new(FetcherConfig { max_partition_bytes: 50_000, ..config() }, logs);
        let mut next = vec![0; 4];
        while next != ends {
            match random.u8(0..10) {
                0 => rig.fetcher.pause(&tp(random.i32(0..4))).unwrap(),
                1..=3 => (0..4).for_each(|partition| rig.fetcher.resume(&tp(partition)).unwrap()),
                4..=5 => drop(rig.try_fetch()),
                _ => {
                    for (partition, offset) in rig.poll(random.usize(1..30)) {
                        let next = &mut next[partition as usize];
                        assert_eq!(offset, *next, "seed {seed}: none lost, none twice, in order");
                        *next += 1;
                    }
                    (0..4).for_each(|p| assert_eq!(rig.position(p), next[p as usize], "seed {seed}"));
                }
            }
        }
        assert!(rig.served <= stored * 110 / 100, "seed {seed}: {} bytes read of {stored}", rig.served);
    }
}

// ---- errors

#[test]
fn no_answer_and_no_error_of_the_transport_ever_resets_a_position() {
    let mut rig = Rig::new(config(), vec![Log::default()]);
    rig.fetcher.seek(&tp(0), Position { offset: 77, leader_epoch: None }).unwrap();
    for kind in [ErrorKind::Connection, ErrorKind::Timeout, ErrorKind::Malformed, ErrorKind::Denied] {
        let plan = rig.plan();
        rig.fetcher.answer(rig.now, &plan, Err(Error::new(kind)));
        assert_eq!(rig.position(0), 77, "{kind:?}");
    }
    let codes = [ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownTopicOrPartition, ErrorCode::KafkaStorageError];
    for code in codes.into_iter().chain([ErrorCode::UnknownLeaderEpoch, ErrorCode::UnknownServerError]) {
        rig.fail(code, None);
        assert_eq!(rig.position(0), 77, "{code}");
        rig.now += Duration::from_secs(2);
    }
    rig.fetcher.seek_to(&tp(0), OffsetReset::Latest).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 0).remove(0);
    let answered = rig.fetcher.reset_answer(rig.now, &lookup, Err(Error::new(ErrorKind::Timeout)));
    assert!(answered.refresh && rig.fetcher.subscription().get(&tp(0)).unwrap().position().is_none());
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 0, "after the backoff");
    rig.now = rig.fetcher.next_reset().unwrap();
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1);
}

#[test]
fn out_of_range_resets_by_the_policy_and_only_what_still_is_where_it_was() {
    for (reset, spec) in [
        (OffsetReset::Earliest, OffsetSpec::Earliest),
        (OffsetReset::Latest, OffsetSpec::Latest),
        (OffsetReset::ByDuration(Duration::from_secs(1)), OffsetSpec::Timestamp(9000)),
    ] {
        let mut rig = Rig::new(FetcherConfig { reset, ..config() }, vec![Log::default()]);
        rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
        let plan = rig.plan();
        let answer = rig.serve(&plan);
        rig.fetcher.seek(&tp(0), Position { offset: 0, leader_epoch: None }).unwrap();
        rig.fetcher.answer(rig.now, &plan, Ok(answer));
        assert_eq!(rig.position(0), 0, "moved since: the answer is stale");
        rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
        assert!(rig.fetch().supervise);
        let lookups = rig.fetcher.resets(rig.now, 10_000);
        assert_eq!((lookups.len(), lookups[0].spec, lookups[0].leader), (1, spec, NODE));
        rig.fetcher.reset_answer(rig.now, &lookups[0], Ok(Some(Position { offset: 0, leader_epoch: None })));
        assert_eq!(rig.position(0), 0);
    }
}

#[test]
fn a_reset_by_duration_without_a_record_that_young_goes_to_the_end() {
    let reset = OffsetReset::ByDuration(Duration::from_secs(1));
    let mut rig = Rig::new(FetcherConfig { reset, ..config() }, vec![Log::default()]);
    rig.fetcher.seek_to(&tp(0), reset).unwrap();
    let lookup = rig.fetcher.resets(rig.now, 10_000).remove(0);
    rig.fetcher.reset_answer(rig.now, &lookup, Ok(None));
    assert_eq!(rig.fetcher.resets(rig.now, 10_000)[0].spec, OffsetSpec::Latest);
}

#[test]
fn without_a_policy_the_application_is_told_once_a_second_until_it_seeks() {
    let mut rig = Rig::new(FetcherConfig { reset: OffsetReset::None, ..config() }, vec![Log::default()]);
    rig.fetcher.seek(&tp(0), Position { offset: 5, leader_epoch: None }).unwrap();
    assert!(rig.fetch().data);
    for _ in 0..3 {
        let error = rig.error();
        assert_eq!((error.kind(), error.topic_partition()), (ErrorKind::NoOffset, Some(&tp(0))));
        let Polled::Nothing(Some(at)) = rig.fetcher.poll(rig.now, 500) else { panic!("told once") };
        rig.now = at;
    }
    assert!(rig.waits() && rig.fetcher.resets(rig.now, 0).is_empty());
    rig.fetcher.seek(&tp(0), Position { offset: 0, leader_epoch: None }).unwrap();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
    rig.fetch();
}

#[test]
fn what_has_arrived_is_handed_out_before_a_position_behind_it_is_reset() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    rig.fail(ErrorCode::OffsetOutOfRange, None);
    assert_eq!(rig.poll(500).len(), 5);
    assert_eq!(rig.position(0), 5, "not reset");
    rig.now += Duration::from_secs(1);
    rig.fail(ErrorCode::OffsetOutOfRange, None);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1);
}

#[test]
fn a_leader_that_has_moved_is_followed_without_a_wait() {
    let mut log = Log::default();
    log.records(1);
    // By the old leader's word (KIP-951) ...
    let mut rig = Rig::new(config(), vec![log.clone()]);
    let answered = rig.fail(ErrorCode::NotLeaderOrFollower, Some((OTHER, LeaderEpoch(6))));
    assert!(answered.supervise && answered.refresh);
    assert_eq!(rig.fetcher.start_nodes(), [OTHER]);
    assert!(
        matches!(rig.fetcher.step(rig.now, OTHER), Step::Fetch(plan) if plan.partitions[0].leader_epoch == Some(LeaderEpoch(6)))
    );
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone));
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(NODE, 5)]));
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone), "older metadata doesn't move it back");
    // ... and by metadata, while the old leader's answer is still under way.
    let mut rig = Rig::new(config(), vec![log]);
    let plan = rig.plan();
    rig.fetcher.set_cluster(rig.now, cluster(2, &[(OTHER, 6)]));
    assert_eq!(rig.fetcher.start_nodes(), [OTHER]);
    assert!(matches!(rig.fetcher.step(rig.now, OTHER), Step::Fetch(_)));
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data, "asked for elsewhere already");
}

#[test]
fn a_partition_that_fails_is_asked_for_with_backoff_and_the_others_go_on() {
    let mut log = Log::default();
    log.records(1);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    let plan = rig.plan();
    let (mut response, length) = rig.serve(&plan);
    response.partitions[0].error = Some(ErrorCode::TopicAuthorizationFailed);
    rig.fetcher.answer(rig.now, &plan, Ok((response, length)));
    assert_eq!(rig.error().kind(), ErrorKind::Denied);
    assert_eq!(rig.poll(500), [(1, 0)]);
    let plan = rig.plan();
    assert_eq!(plan.partitions.len(), 1, "not the one that failed");
    let answer = rig.serve(&plan);
    rig.fetcher.answer(rig.now, &plan, Ok(answer));
    rig.now += Duration::from_millis(100);
    assert_eq!(rig.plan().partitions.len(), 2);
}

#[test]
fn an_unreadable_batch_takes_the_position_back_unless_it_was_moved() {
    let mut log = Log::default();
    (0..2).for_each(|_| {
        log.records(5);
    });
    let mut rig = Rig::new(config(), vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 10);
    let generation = rig.fetcher.subscription().get(&tp(0)).unwrap().generation;
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 5, Error::new(ErrorKind::Malformed));
    assert_eq!(rig.position(0), 5, "a commit now is not past it");
    assert_eq!(rig.error().kind(), ErrorKind::Malformed);
    rig.fetcher.unreadable(rig.now, &tp(0), generation, 3, Error::new(ErrorKind::Malformed));
    assert_eq!(rig.position(0), 5, "of an older generation");
    rig.fetcher.seek(&tp(0), Position { offset: 10, leader_epoch: None }).unwrap();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(None)));
}

#[test]
fn the_end_of_a_partition_is_told_once_and_again_after_more() {
    let mut log = Log::default();
    log.records(2);
    let mut rig = Rig::new(FetcherConfig { partition_end: true, ..config() }, vec![log]);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 2, "records first");
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::PartitionEnd(name, 2) if name == tp(0)));
    rig.fetch();
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::Nothing(_)));
    rig.logs.get_mut(&0).unwrap().records(1);
    rig.fetch();
    assert_eq!(rig.poll(500).len(), 1);
    assert!(matches!(rig.fetcher.poll(rig.now, 500), Polled::PartitionEnd(_, 3)));
}

#[test]
fn caught_up_is_what_answers_in_a_row_say_and_nothing_else() {
    let mut log = Log::default();
    log.records(2);
    let mut rig = Rig::new(config(), vec![log]);
    let start = rig.now;
    let caught_up = |rig: &Rig| rig.fetcher.subscription().get(&tp(0)).unwrap().caught_up();
    let seconds = |n| Duration::from_secs(n);
    rig.fetch();
    assert_eq!(caught_up(&rig), None, "records wait");
    assert_eq!(rig.poll(500).len(), 2);
    for second in [1, 4] {
        rig.now = start + seconds(second);
        rig.fetch();
    }
    assert_eq!(caught_up(&rig), Some((start + seconds(1), start + seconds(4))));
    rig.now = start + seconds(9);
    assert_eq!(caught_up(&rig), Some((start + seconds(1), start + seconds(4))), "no answer says nothing");

    let plan = rig.plan();
    rig.fetcher.answer(rig.now, &plan, Err(Error::new(ErrorKind::Connection)));
    assert_eq!(caught_up(&rig), None);
    rig.fetch();
    assert_eq!(caught_up(&rig), Some((rig.now, rig.now)), "counted anew");
    rig.fail(ErrorCode::NotLeaderOrFollower, None);
    assert_eq!(caught_up(&rig), None);
    rig.now += seconds(9);
    rig.fetch();
    assert!(caught_up(&rig).is_some());
    rig.fetcher.pause(&tp(0)).unwrap();
    assert_eq!(caught_up(&rig), None);
    rig.fetcher.resume(&tp(0)).unwrap();
    rig.fetch();
    assert!(caught_up(&rig).is_some());
    rig.fetcher.seek(&tp(0), Position { offset: 1, leader_epoch: None }).unwrap();
    assert_eq!(caught_up(&rig), None);
}

#[test]
fn a_partition_taken_away_leaves_nothing_behind() {
    let mut log = Log::default();
    log.records(5);
    let mut rig = Rig::new(config(), vec![log.clone(), log]);
    rig.fetch();
    let plan = rig.plan();
    rig.fetcher.change_assignment(rig.now, [tp(0), tp(1)], []);
    let answer = rig.serve(&plan);
    assert!(!rig.fetcher.answer(rig.now, &plan, Ok(answer)).data);
    assert_eq!((rig.poll(500).len(), rig.fetcher.memory()), (0, (0, 0)));
    assert!(matches!(rig.fetcher.step(rig.now, NODE), Step::Gone));
    rig.fetcher.change_assignment(rig.now, [], [(tp(0), Start::Reset)]);
    assert_eq!(rig.fetcher.resets(rig.now, 0).len(), 1, "it begins anew when it comes back");
}
