//! The accumulator and its sender against brokers that keep a log as Kafka does, with everything that can go wrong between
//! them: refusals, lost answers, copies that arrive late, leaders that move, time that is up, purges.
//!
//! What must hold: every record has exactly one outcome, and a true one (what is `Ok` is in the log, what is `NotSent` is
//! not); with idempotence each is there once at most, in the order of the appends; a number is never sent with two contents
//! that could both arrive; no more is under way than promised, and that of one partition to one node; no deadline is left
//! undone; what is flushed ends; memory comes back to the byte.

use super::Choices;
use milena::error::{Certainty, Error, ErrorCode, ErrorKind};
use milena::ids::{LeaderEpoch, NodeId, TopicId};
use milena::machine::accumulator::{AccumulatorConfig, NewRecord, RecordAccumulator, Target, TopicQueues};
use milena::machine::batch::{Callback, Ticket};
use milena::machine::metadata::{Cluster, Node, PartitionMetadata, TopicMetadata};
use milena::machine::partitioner::{Partitioning, Sticky};
use milena::machine::sender::{Purge, Sender, SenderConfig, SenderRequest, SenderResponse};
use milena::machine::{Clock, Machine, RequestId};
use milena::record::compression::{Compression, Decompressor};
use milena::record::decode::open;
use milena::wire::StrBytes;
use milena::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use milena::wire::messages::{InitProducerIdResponse, ProduceResponse, ProducerId, TopicName};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

const PARTITIONS: usize = 3;
const TOPIC: &str = "clicks";
/// What an abandoned sender waits for answers, and more.
const FAREWELL: u64 = 2_000;

/// Plays what the bytes say, to its end.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&mut choices);
    while let Some(operation) = choices.next_byte() {
        world.operate(operation, &mut choices);
        world.turn(&mut choices);
    }
    world.finish();
}

/// Time, moved by hand.
#[derive(Debug)]
struct HandClock {
    start: Instant,
    elapsed: Mutex<Duration>,
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        self.start + *self.elapsed.lock().unwrap()
    }

    fn unix_millis(&self) -> i64 {
        1_700_000_000_000 + self.elapsed.lock().unwrap().as_millis() as i64
    }
}

/// A batch as it goes over the wire.
#[derive(Debug, Clone)]
struct Batch {
    partition: usize,
    producer: (i64, i16),
    sequence: i32,
    bytes: Vec<u8>,
    records: Vec<u32>,
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    node: i32,
    batches: Vec<Batch>,
}

/// One partition, as Kafka keeps it.
#[derive(Debug, Default)]
struct Log {
    records: Vec<u32>,
    producers: HashMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// The last five: first and last number, and where they are.
    batches: VecDeque<(i32, i32, i64)>,
}

impl Log {
    fn append(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        let (offset, last) = (self.records.len() as i64, batch.sequence + batch.records.len() as i32 - 1);
        let (id, epoch) = batch.producer;
        if id >= 0 {
            let known = self.producers.entry(id).or_insert_with(|| Producer { epoch, batches: VecDeque::new() });
            if epoch < known.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch > known.epoch {
                if batch.sequence != 0 {
                    return Err(ErrorCode::OutOfOrderSequenceNumber);
                }
                (known.epoch, known.batches) = (epoch, VecDeque::new());
            }
            if let Some(found) = known.batches.iter().find(|found| (found.0, found.1) == (batch.sequence, last)) {
                return Ok(found.2);
            }
            // One that knows nothing of the producer takes any number.
            if known.batches.back().is_some_and(|newest| newest.1 + 1 != batch.sequence) {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.batches.push_back((batch.sequence, last, offset));
            if known.batches.len() > 5 {
                known.batches.pop_front();
            }
        }
        self.records.extend(&batch.records);
        Ok(offset)
    }
}

struct Record {
    partition: usize,
    ticket: Ticket,
    told: Arc<AtomicUsize>,
}

struct World {
    clock: Arc<HandClock>,
    config: AccumulatorConfig,
    acks: i16,
    idempotence: bool,
    max_in_flight: usize,
    accumulator: Arc<RecordAccumulator>,
    topic: Arc<TopicQueues>,
    sticky: Sticky,
    sender: Sender,
    generation: u64,
    leaders: [Option<i32>; PARTITIONS],
    logs: [Log; PARTITIONS],
    /// In the order in which they were sent.
    under_way: Vec<Request>,
    /// Given up by the client, and still in some broker's socket.
    strays: Vec<Batch>,
    /// What went out under each number last.
    numbers: HashMap<(usize, (i64, i16), i32), Batch>,
    records: Vec<Record>,
    producer_ids: i64,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let clock = Arc::new(HandClock { start: Instant::now(), elapsed: Mutex::default() });
        let config = AccumulatorConfig {
            batch_size: choices.pick(&[1000, 200, 4000]),
            buffer_memory: choices.pick(&[10_000, 4_000, 1 << 20]),
            linger: Duration::from_millis(choices.pick(&[5, 0, 300])),
            prompt: choices.one_in(2),
            delivery_timeout: Duration::from_millis(choices.pick(&[120_000, 2_000, 400])),
            max_request_size: choices.pick(&[1 << 20, 2_500]),
            compression: choices.pick(&[Compression::None, Compression::Lz4]),
            level: None,
            partitioning: Partitioning::default(),
            adaptive: choices.one_in(2),
            availability_timeout: Duration::from_millis(choices.pick(&[0, 100])),
        };
        let (idempotence, acks, max_in_flight) =
            choices.pick(&[(true, -1, 5), (true, -1, 5), (true, -1, 1), (false, -1, 1), (false, 1, 5), (false, 0, 3)]);
        let sender = SenderConfig {
            acks,
            idempotence,
            max_request_size: config.max_request_size,
            max_in_flight,
            retries: choices.pick(&[i32::MAX as u32, i32::MAX as u32, 2, 0]),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            transaction: None,
            seed: 7,
        };
        let accumulator = Arc::new(RecordAccumulator::new(config.clone(), clock.clone()));
        let topic = accumulator.add_topic(TOPIC, TopicId::ZERO, PARTITIONS);
        let sender = Sender::new(sender, accumulator.clone());
        let mut world = Self {
            clock,
            config,
            acks,
            idempotence,
            max_in_flight,
            accumulator,
            topic,
            sticky: Sticky::new(3),
            sender,
            generation: 0,
            leaders: [Some(1), Some(1), Some(2)],
            logs: Default::default(),
            under_way: Vec::new(),
            strays: Vec::new(),
            numbers: HashMap::new(),
            records: Vec::new(),
            producer_ids: 0,
        };
        world.tell_leaders();
        world
    }

    fn operate(&mut self, operation: u8, choices: &mut Choices<'_>) {
        match operation % 16 {
            0..6 => self.append(choices),
            6 => self.advance(choices.pick(&[1, 5, 20, 100, 500, 2_000])),
            7 => drop(self.accumulator.flush()),
            8 if choices.one_in(3) => {
                let what = choices.pick(&[Purge::Queued, Purge::InFlight, Purge::All]);
                self.sender.purge(self.clock.now(), what);
            }
            9 => {
                let partition = usize::from(choices.below(PARTITIONS as u8));
                self.leaders[partition] = choices.pick(&[Some(1), Some(2), None]);
                self.tell_leaders();
            }
            10 => self.lose_connection(choices),
            11 if !self.strays.is_empty() => {
                let late = self.strays.remove(usize::from(choices.below(250)) % self.strays.len());
                let _ = self.logs[late.partition].append(&late); // nobody hears what came of it
            }
            _ => self.answer_one(choices),
        }
    }

    fn append(&mut self, choices: &mut Choices<'_>) {
        let id = self.records.len() as u32;
        let mut value = id.to_be_bytes().to_vec();
        value.resize(4 + choices.pick(&[6, 100, 300, 700, 1_500, 3_000]), id as u8);
        let record = NewRecord { key: None, value: Some(&value), headers: &[], timestamp: None, sent_at: None };
        let target = match choices.below(4) {
            3 => Target::Partitioner(&self.sticky),
            partition => Target::Partition(partition.into()),
        };
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let mut callback: Option<Callback> = Some(Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        match self.accumulator.try_append(&self.topic, target, &record, None, &mut callback) {
            Ok(Some(ticket)) => {
                assert!(callback.is_none(), "whoever took the record has its callback");
                self.records.push(Record { partition: ticket.partition() as usize, ticket, told });
            }
            Ok(None) => assert!(callback.is_some(), "nothing has happened, to the callback neither"),
            Err(error) => assert!(error.kind() == ErrorKind::RecordTooLarge || error.is_closed(), "{error}"),
        }
    }

    fn advance(&self, millis: u64) {
        *self.clock.elapsed.lock().unwrap() += Duration::from_millis(millis);
    }

    fn tell_leaders(&mut self) {
        self.generation += 1;
        let epoch = LeaderEpoch(self.generation as i32);
        let partition = |leader: &Option<i32>| PartitionMetadata {
            leader: leader.map(NodeId),
            leader_epoch: Some(epoch),
            ..PartitionMetadata::default()
        };
        let topic = TopicMetadata {
            name: TOPIC.into(),
            id: Default::default(),
            internal: false,
            partitions: self.leaders.iter().map(partition).collect(),
        };
        let node = |id| (NodeId(id), Node { host: "host".into(), port: 9092, rack: None });
        let cluster = Cluster {
            generation: self.generation,
            nodes: [1, 2].map(node).into(),
            topics: [(topic.name.clone(), Arc::new(topic))].into(),
            ..Cluster::default()
        };
        self.sender.handle_cluster(self.clock.now(), Arc::new(cluster));
    }

    /// One wake-up, with all that can be answered at once.
    fn turn(&mut self, choices: &mut Choices<'_>) {
        let now = self.clock.now();
        for round in 0.. {
            assert!(round < 1_000, "the sender spins");
            self.sender.handle_ready(now, Waker::noop());
            if self.sender.poll_timeout().is_some_and(|at| at <= now) {
                self.sender.handle_timeout(now);
            }
            let Some((id, request)) = self.sender.poll_request() else { break };
            match request {
                SenderRequest::Connect(_) => {
                    let error = || Error::new(ErrorKind::Connection).certainty(Certainty::NotSent);
                    let answer = if choices.one_in(12) { Err(error()) } else { Ok(SenderResponse::Connected) };
                    self.sender.handle_response(now, id, answer);
                }
                SenderRequest::InitProducerId(_) => {
                    let answer = InitProducerIdResponse::default();
                    let answer = match choices.one_in(12) {
                        true => answer.with_error_code(ErrorCode::CoordinatorLoadInProgress.to_wire()),
                        false => {
                            self.producer_ids += 1;
                            answer.with_producer_id(ProducerId(self.producer_ids))
                        }
                    };
                    self.sender.handle_response(now, id, Ok(SenderResponse::ProducerId(answer)));
                }
                SenderRequest::Transaction(call) => panic!("{call:?} of a producer without transactions"),
                SenderRequest::Produce(node) => self.take(id, node.0),
            }
        }
        while self.sender.poll_event().is_some() {}
        let undone = self.sender.poll_timeout().filter(|at| *at <= now && !self.sender.is_closed());
        assert_eq!(undone, None, "a deadline is left undone: {:?}", self.sender);
    }

    fn take(&mut self, id: RequestId, node: i32) {
        let mut batches = Vec::new();
        let mut scratch = Decompressor::default();
        for batch in self.sender.batches(id) {
            let numbered = batch.numbered.expect("what is sent has its number");
            let bytes = [&numbered.head[..], batch.body().bytes()].concat();
            let records = open(&bytes, &mut scratch, 1 << 20).expect("a sound batch");
            let value = |value: &[u8]| u32::from_be_bytes(value[..4].try_into().expect("it begins with its id"));
            let records =
                records.map(|record| value(record.expect("a sound record").value.expect("a value"))).collect();
            let producer = (numbered.producer.id, numbered.producer.epoch);
            let (partition, sequence) = (batch.partition as usize, numbered.base_sequence);
            batches.push(Batch { partition, producer, sequence, bytes, records });
        }
        assert!(!batches.is_empty(), "a request of nothing");
        let in_flight = self.under_way.iter().filter(|request| request.node == node).count();
        assert!(in_flight < self.max_in_flight, "{in_flight} under way already");
        let size: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        assert!(size <= self.config.max_request_size || batches.len() == 1, "a request of {size} bytes");
        for batch in &batches {
            let same = batches.iter().filter(|other| other.partition == batch.partition).count();
            assert_eq!(same, 1, "two batches of a partition in one request");
            let elsewhere = |request: &&Request| {
                request.node != node && request.batches.iter().any(|other| other.partition == batch.partition)
            };
            assert!(
                self.under_way.iter().find(elsewhere).is_none(),
                "a partition's batches are under way to two nodes"
            );
            self.check_number(batch);
        }
        self.under_way.push(Request { id, node, batches });
    }

    /// What has this number already either is the same, or can't arrive any more.
    fn check_number(&mut self, batch: &Batch) {
        if batch.producer.0 < 0 {
            assert!(!self.idempotence);
            return;
        }
        let number = (batch.partition, batch.producer, batch.sequence);
        let before = self.numbers.insert(number, batch.clone());
        let Some(before) = before.filter(|before| before.bytes != batch.bytes) else { return };
        let under_way = self.under_way.iter().flat_map(|request| &request.batches);
        let is_alive = under_way.chain(&self.strays).any(|other| other.bytes == before.bytes);
        let is_written = before.records.iter().any(|id| self.logs[batch.partition].records.contains(id));
        assert!(
            !is_alive && !is_written,
            "{number:?} goes out again with other records: {before:?} was it, then {batch:?}"
        );
    }

    /// The oldest request of a node is answered, in one way or another.
    fn answer_one(&mut self, choices: &mut Choices<'_>) {
        let node = choices.pick(&[1, 1, 2]);
        let Some(at) = self.under_way.iter().position(|request| request.node == node) else { return };
        let request = self.under_way.remove(at);
        self.answer(request, choices);
    }

    fn answer(&mut self, request: Request, choices: &mut Choices<'_>) {
        let mut answers = Vec::new();
        for batch in &request.batches {
            let answer = PartitionProduceResponse::default().with_index(batch.partition as i32).with_base_offset(-1);
            // Leadership is looked at first, then what is in the batch, then the numbers: Kafka's order.
            let leads = self.leaders[batch.partition] == Some(request.node);
            let refusal = match choices.below(16) {
                _ if !leads => Some(ErrorCode::NotLeaderOrFollower),
                10 => Some(ErrorCode::NotEnoughReplicas),
                11 => Some(ErrorCode::MessageTooLarge),
                12 => Some(ErrorCode::InvalidRecord),
                13 => Some(ErrorCode::NotLeaderOrFollower),
                _ => None,
            };
            let answer = match refusal {
                Some(ErrorCode::InvalidRecord) if choices.one_in(2) => {
                    let culprit = BatchIndexAndErrorMessage::default().with_batch_index(0);
                    answer.with_error_code(ErrorCode::InvalidRecord.to_wire()).with_record_errors(vec![culprit])
                }
                Some(code) => answer.with_error_code(code.to_wire()),
                None => match self.logs[batch.partition].append(batch) {
                    // Written, and then its followers or its time were short, or it was deposed.
                    Ok(offset) => match choices.below(16) {
                        12 => answer.with_error_code(ErrorCode::NotEnoughReplicasAfterAppend.to_wire()),
                        13 => answer.with_error_code(ErrorCode::RequestTimedOut.to_wire()),
                        14 => answer.with_error_code(ErrorCode::NotLeaderOrFollower.to_wire()).with_base_offset(offset),
                        15 => continue, // left out of the answer
                        _ => answer.with_base_offset(offset),
                    },
                    Err(code) => answer.with_error_code(code.to_wire()),
                },
            };
            answers.push(answer);
        }
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
            .with_partition_responses(answers);
        let throttle = if choices.one_in(16) { 50 } else { 0 };
        let response = ProduceResponse::default().with_responses(vec![topic]).with_throttle_time_ms(throttle);
        self.sender.handle_response(self.clock.now(), request.id, Ok(SenderResponse::Produced(response)));
    }

    /// All that is under way to a node fails; some of it has been served, some will be, some never.
    fn lose_connection(&mut self, choices: &mut Choices<'_>) {
        let node = choices.pick(&[1, 2]);
        let (lost, left) = std::mem::take(&mut self.under_way).into_iter().partition(|request| request.node == node);
        self.under_way = left;
        let mut fate = choices.below(4);
        for request in lost {
            // In order: what stands behind one that was not served was not served either.
            fate = fate.max(choices.below(4));
            let served = |batch: &Batch| self.leaders[batch.partition] == Some(node);
            let error = match fate {
                0 => {
                    for batch in request.batches.iter().filter(|batch| served(batch)) {
                        let _ = self.logs[batch.partition].append(batch);
                    }
                    Error::new(ErrorKind::Timeout).certainty(Certainty::PossiblySent)
                }
                1 => {
                    self.strays.extend(request.batches);
                    Error::new(ErrorKind::Connection).certainty(Certainty::PossiblySent)
                }
                2 => Error::new(ErrorKind::Connection).certainty(Certainty::PossiblySent),
                _ => Error::new(ErrorKind::Connection).certainty(Certainty::NotSent),
            };
            self.sender.handle_response(self.clock.now(), request.id, Err(error));
        }
    }

    /// The trouble is over: everything ends, and then it must all be true.
    fn finish(&mut self) {
        let mut calm = Choices::new(&[]);
        self.leaders = [Some(1); PARTITIONS];
        self.tell_leaders();
        let until = self.accumulator.flush();
        for round in 0.. {
            self.turn(&mut calm);
            if self.accumulator.is_flushed(until) && self.under_way.is_empty() {
                break;
            }
            assert!(round < 10_000, "a flush does not end: {:?}", self.sender);
            for request in std::mem::take(&mut self.under_way) {
                self.answer(request, &mut calm);
            }
            self.turn(&mut calm);
            self.advance(20);
        }
        assert_eq!(self.accumulator.free_memory(), self.config.buffer_memory, "memory is not given back");
        assert_eq!(self.accumulator.unfinished_records(until), 0);
        self.check();
        // The last copies arrive, and nothing that was told becomes untrue.
        for late in std::mem::take(&mut self.strays) {
            let _ = self.logs[late.partition].append(&late);
        }
        self.check();
        self.accumulator.abandon();
        self.sender.handle_abandoned(self.clock.now());
        self.turn(&mut calm);
        self.advance(FAREWELL);
        self.turn(&mut calm);
        assert!(self.sender.is_closed(), "it does not close: {:?}", self.sender);
    }

    fn check(&self) {
        let mut written: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (partition, log) in self.logs.iter().enumerate() {
            for id in &log.records {
                let place = written.entry(*id).or_insert((partition, 0));
                assert_eq!(place.0, partition, "record {id} is in two partitions");
                place.1 += 1;
            }
            if self.idempotence {
                assert!(log.records.is_sorted(), "partition {partition} is out of order: {:?}", log.records);
            }
        }
        for (id, record) in (0..).zip(&self.records) {
            let told = record.told.load(Ordering::Relaxed);
            assert_eq!(told, 1, "record {id} was told {told} outcomes");
            let times = written.get(&id).map_or(0, |(partition, times)| {
                assert_eq!(*partition, record.partition);
                *times
            });
            assert!(times <= 1 || !self.idempotence, "record {id} is in the log {times} times");
            match record.ticket.result().expect("told") {
                Ok((offset, _)) => {
                    assert!(times > 0 || self.acks == 0, "record {id} is said to be written");
                    let at = |offset: i64| self.logs[record.partition].records.get(offset as usize);
                    assert!(offset.is_none_or(|offset| at(offset) == Some(&id)), "record {id} is not at {offset:?}");
                }
                Err(error) => match error.delivery_certainty().expect("every failed delivery says it") {
                    Certainty::NotSent => assert_eq!(times, 0, "record {id} is said not to be sent: {error}"),
                    Certainty::PossiblySent => {}
                },
            }
        }
    }
}
