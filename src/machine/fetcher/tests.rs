//! The Fetcher against a model of a broker's log, in plain tests: no socket, no task, time moved by hand.
#![allow(clippy::disallowed_methods, reason = "a test's start of time")]

mod errors;
mod moves;
mod odd_data;
mod replicas;
mod sessions;
mod validation;

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
        control_records: false,
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
        assert_eq!(fetcher.start_nodes(now), [NODE]);
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
