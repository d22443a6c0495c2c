//! The sender against a scripted broker: order, retries, numbers, expiry. No socket, no clock; the test moves time.

mod made_anew;
mod purge;
mod refused;
mod transaction;

use super::*;
use crate::error::{Certainty, ErrorCode};
use crate::machine::Clock;
use crate::machine::accumulator::tests::{ManualClock, config, detach, value};
use crate::machine::accumulator::{AccumulatorConfig, Target};
use crate::machine::batch::Ticket;
use crate::machine::metadata::{Node, PartitionMetadata, TopicMetadata};
use crate::wire::StrBytes;
use crate::wire::messages::produce_response::TopicProduceResponse;
use crate::wire::messages::{ProducerId, TopicName};
use std::sync::Mutex;
use std::task::Context;

/// A Produce request as it would go over the wire: (partition, base sequence, head and body) of each batch.
#[derive(Debug, Clone)]
struct Produced {
    id: RequestId,
    node: i32,
    batches: Vec<(u32, i32, Vec<u8>)>,
}

struct Rig {
    clock: Arc<ManualClock>,
    accumulator: Arc<RecordAccumulator>,
    topic: Arc<TopicQueues>,
    sender: Sender,
    identities: usize,
    /// Generations of metadata that were found wrong.
    stale: Vec<u64>,
}

fn sender_config() -> SenderConfig {
    SenderConfig {
        acks: -1,
        idempotence: true,
        max_request_size: 1 << 20,
        max_in_flight: 5,
        retries: i32::MAX as u32,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        transaction: None,
        seed: 7,
    }
}

impl Rig {
    fn new(leaders: &[i32]) -> Self {
        Self::with(leaders, sender_config(), config())
    }

    fn with(leaders: &[i32], sender: SenderConfig, config: AccumulatorConfig) -> Self {
        let clock = ManualClock::new();
        let accumulator = Arc::new(RecordAccumulator::new(config, clock.clone()));
        let topic = accumulator.add_topic("clicks", TopicId::ZERO, leaders.len());
        let sender = Sender::new(sender, accumulator.clone());
        let mut rig = Self { clock, accumulator, topic, sender, identities: 0, stale: Vec::new() };
        rig.leaders(leaders);
        for (partition, leader) in (0..).zip(leaders).filter(|(_, leader)| **leader >= 0) {
            rig.prove(partition, *leader);
        }
        rig
    }

    /// The leader has written for this producer already.
    fn prove(&mut self, partition: u32, leader: i32) {
        let topic = self.topic.clone();
        let index = self.sender.index_of(&topic, partition).unwrap();
        let producer = self.sender.config.idempotence.then_some(42);
        self.sender.partitions[index].as_mut().unwrap().proven = Some((NodeId(leader), producer));
    }

    /// New metadata; a negative leader is none.
    fn leaders(&mut self, leaders: &[i32]) {
        let partition = |leader: &i32| PartitionMetadata {
            leader: (*leader >= 0).then_some(NodeId(*leader)),
            leader_epoch: Some(LeaderEpoch(0)),
            ..PartitionMetadata::default()
        };
        let topic = TopicMetadata {
            name: "clicks".into(),
            id: TopicId([9; 16]),
            internal: false,
            partitions: leaders.iter().map(partition).collect(),
        };
        let mut cluster = Cluster::clone(&self.sender.cluster);
        cluster.generation += 1;
        cluster.topics.insert("clicks".into(), Arc::new(topic));
        let node = |id: &i32| {
            let node = Node { host: "host".into(), port: 9092, rack: None };
            (*id >= 0).then_some((NodeId(*id), node))
        };
        cluster.nodes = leaders.iter().filter_map(node).collect();
        self.sender.handle_cluster(self.clock.now(), Arc::new(cluster));
    }

    /// A record that fills most of a batch, so that the next one starts another.
    fn append(&self, partition: u32) -> Ticket {
        self.append_bytes(partition, 700)
    }

    fn append_bytes(&self, partition: u32, bytes: usize) -> Ticket {
        let record = vec![partition as u8; bytes];
        let target = Target::Partition(partition);
        self.accumulator.try_append(&self.topic, target, &value(&record), None, &mut None).unwrap().unwrap()
    }

    /// One wake-up; connections and producer ids come at once.
    fn turn(&mut self) -> Vec<Produced> {
        let mut produced = Vec::new();
        loop {
            let now = self.clock.now();
            self.sender.handle_ready(now, Waker::noop());
            if self.sender.poll_timeout().is_some_and(|at| at <= now) {
                self.sender.handle_timeout(now);
            }
            let Some((id, request)) = self.sender.poll_request() else { break };
            match request {
                SenderRequest::Connect(_) => self.sender.handle_response(now, id, Ok(SenderResponse::Connected)),
                SenderRequest::InitProducerId(_) => {
                    self.identities += 1;
                    let answer = InitProducerIdResponse::default()
                        .with_producer_id(ProducerId(41 + self.identities as i64))
                        .with_producer_epoch(0);
                    self.sender.handle_response(now, id, Ok(SenderResponse::ProducerId(answer)));
                }
                SenderRequest::Transaction(call) => panic!("{call:?}"),
                SenderRequest::Produce(node) => {
                    let batch = |batch: &ProducerBatch| {
                        let numbered = batch.numbered.unwrap();
                        let bytes = [&numbered.head[..], batch.body().bytes()].concat();
                        (batch.partition, numbered.base_sequence, bytes)
                    };
                    let batches = self.sender.batches(id).map(batch).collect();
                    produced.push(Produced { id, node: node.0, batches });
                }
            }
        }
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::StaleMetadata(generation) => self.stale.push(generation),
                other => panic!("{other:?}"),
            }
        }
        produced
    }

    /// What is sent within the next `millis`.
    fn within(&mut self, millis: u64) -> Vec<Produced> {
        let mut produced = self.turn();
        for _ in 0..millis {
            self.clock.advance(1);
            produced.extend(self.turn());
        }
        produced
    }

    fn flush(&mut self) -> Vec<Produced> {
        self.accumulator.flush();
        self.turn()
    }

    fn answer(&mut self, request: &Produced, code: Option<ErrorCode>) {
        let partition = |(partition, ..): &(u32, i32, Vec<u8>)| {
            PartitionProduceResponse::default()
                .with_index(*partition as i32)
                .with_error_code(code.map_or(0, ErrorCode::to_wire))
                .with_base_offset(if code.is_none() { 100 } else { -1 })
        };
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("clicks")))
            .with_partition_responses(request.batches.iter().map(partition).collect());
        let response = ProduceResponse::default().with_responses(vec![topic]);
        self.sender.handle_response(self.clock.now(), request.id, Ok(SenderResponse::Produced(response)));
    }

    fn fail(&mut self, request: &Produced, error: Error) {
        self.sender.handle_response(self.clock.now(), request.id, Err(error));
    }
}

use crate::wire::messages::produce_response::PartitionProduceResponse;

fn sequences(requests: &[Produced]) -> Vec<i32> {
    requests.iter().flat_map(|request| &request.batches).map(|(_, sequence, _)| *sequence).collect()
}

fn lost() -> Error {
    Error::new(ErrorKind::Connection).certainty(Certainty::PossiblySent)
}

fn certainty(ticket: &Ticket) -> (ErrorKind, Certainty) {
    let error = ticket.result().expect("settled").unwrap_err();
    (error.kind(), error.delivery_certainty().expect("every failed delivery says it"))
}

fn epoch(batch: &(u32, i32, Vec<u8>)) -> i16 {
    i16::from_be_bytes([batch.2[51], batch.2[52]])
}

#[test]
fn one_request_holds_a_batch_of_each_partition_of_its_node() {
    let mut rig = Rig::new(&[1, 1, 2]);
    for partition in [0, 1, 2] {
        rig.append(partition);
    }
    let mut requests = rig.flush();
    requests.sort_by_key(|request| request.node);
    assert_eq!(
        requests.iter().map(|request| (request.node, request.batches.len())).collect::<Vec<_>>(),
        [(1, 2), (2, 1)]
    );
}

#[test]
fn offsets_count_from_the_batchs_base_and_memory_comes_back() {
    let mut rig = Rig::new(&[1]);
    let tickets = [rig.append_bytes(0, 10), rig.append_bytes(0, 10)];
    let requests = rig.flush();
    rig.answer(&requests[0], None);
    let offsets = tickets.map(|ticket| ticket.result().unwrap().unwrap().0);
    assert_eq!(offsets, [Some(100), Some(101)]);
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

/// The offset of the second record was computed with an overflow, in the task that awaited it.
#[test]
fn an_offset_that_leaves_no_room_for_the_batch_is_no_answer() {
    let mut rig = Rig::new(&[1]);
    let tickets = [rig.append_bytes(0, 10), rig.append_bytes(0, 10)];
    let first = rig.flush();
    rig.answer_with(&first[0], |answer| answer.with_base_offset(i64::MAX));
    assert!(tickets.iter().all(|ticket| ticket.result().is_none()));
    let again = rig.within(200);
    assert_eq!(again[0].batches, first[0].batches);
    rig.answer_with(&again[0], |answer| answer.with_base_offset(i64::MAX - 1));
    assert_eq!(tickets.map(|ticket| ticket.result().unwrap().unwrap().0), [Some(i64::MAX - 1), Some(i64::MAX)]);
}

#[test]
fn log_append_time_replaces_the_records_timestamp() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    let requests = rig.flush();
    let partition = PartitionProduceResponse::default().with_index(0).with_base_offset(5).with_log_append_time_ms(1234);
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str("clicks")))
        .with_partition_responses(vec![partition]);
    let response = ProduceResponse::default().with_responses(vec![topic]);
    rig.sender.handle_response(rig.clock.now(), requests[0].id, Ok(SenderResponse::Produced(response)));
    assert_eq!(ticket.result().unwrap().unwrap(), (Some(5), 1234));
}

#[test]
fn sequences_follow_on_and_five_batches_at_most_are_under_way() {
    let mut rig = Rig::new(&[1]);
    for _ in 0..8 {
        rig.append(0);
    }
    let requests = rig.flush();
    assert_eq!(sequences(&requests), [0, 1, 2, 3, 4]);
    rig.answer(&requests[0], None);
    assert_eq!(sequences(&rig.turn()), [5]);
}

/// A broker takes any number for the first of a producer: the second batch must not be there before the first is.
#[test]
fn until_a_leader_has_written_one_batch_it_gets_one_at_a_time() {
    let mut rig = Rig::new(&[1]);
    rig.sender.partitions[0].as_mut().unwrap().proven = None;
    for _ in 0..4 {
        rig.append(0);
    }
    let first = rig.flush();
    assert_eq!(sequences(&first), [0]);
    rig.answer(&first[0], Some(ErrorCode::NotEnoughReplicas));
    let again = rig.within(200);
    assert_eq!(sequences(&again), [0]);
    rig.answer(&again[0], None);
    assert_eq!(sequences(&rig.turn()), [1, 2, 3]);
}

/// librdkafka rebuilt batches from messages ("Unable to reconstruct MessageSet"); ours are kept as they were sent.
#[test]
fn a_retry_sends_identical_bytes() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.fail(&first[0], lost());
    let again = rig.within(200);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].batches, first[0].batches);
}

#[test]
fn what_fails_is_sent_again_one_by_one_in_order_and_nothing_overtakes() {
    let mut rig = Rig::new(&[1]);
    for _ in 0..4 {
        rig.append(0);
    }
    let first = rig.flush();
    assert_eq!(sequences(&first), [0, 1, 2, 3]);
    for request in &first[..3] {
        rig.answer(request, Some(ErrorCode::NotLeaderOrFollower));
    }
    rig.append(0);
    rig.accumulator.flush();
    let again = rig.within(500);
    assert_eq!(sequences(&again), [0], "3 is under way, and 0 is older: it goes alone");
    rig.answer(&first[3], Some(ErrorCode::OutOfOrderSequenceNumber));
    let mut order = sequences(&again);
    let mut under_way = again;
    while let Some(request) = under_way.pop() {
        rig.answer(&request, None);
        let next = rig.within(1500);
        order.extend(sequences(&next));
        under_way.extend(next);
    }
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

#[test]
fn the_order_holds_when_the_leader_moves() {
    let mut rig = Rig::new(&[1]);
    for _ in 0..3 {
        rig.append(0);
    }
    let first = rig.flush();
    rig.leaders(&[2]);
    rig.append(0);
    rig.accumulator.flush();
    assert!(rig.within(50).is_empty(), "nothing goes to the new leader while the old one has some");
    rig.answer(&first[0], None);
    rig.answer(&first[1], Some(ErrorCode::NotLeaderOrFollower));
    assert!(rig.within(500).is_empty());
    rig.answer(&first[2], Some(ErrorCode::NotLeaderOrFollower));
    let mut order = Vec::new();
    let mut next = rig.within(1500);
    while let Some(request) = next.pop() {
        assert_eq!(request.node, 2);
        order.extend(sequences(std::slice::from_ref(&request)));
        rig.answer(&request, None);
        next = rig.turn();
    }
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn a_stale_leader_asks_for_metadata_of_the_generation_it_was_seen_in() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.leaders(&[1]);
    rig.answer(&first[0], Some(ErrorCode::NotLeaderOrFollower));
    rig.turn();
    assert_eq!(rig.stale, [1]);
}

#[test]
fn a_partition_without_a_leader_waits_for_one() {
    let mut rig = Rig::new(&[-1]);
    rig.append(0);
    assert!(rig.within(50).is_empty());
    assert_eq!(rig.stale, [1]);
    rig.leaders(&[3]);
    assert_eq!(rig.turn().len(), 1);
}

#[test]
fn a_duplicate_is_success_without_an_offset() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::DuplicateSequenceNumber));
    assert_eq!(ticket.result().unwrap().unwrap().0, None);
}

/// A batch refused for good leaves a gap in the numbers. The ones behind it are refused for that, and go again in a new
/// epoch, from 0, in order.
#[test]
fn a_gap_is_closed_by_a_new_epoch_and_the_order_holds() {
    let mut rig = Rig::new(&[1]);
    let tickets: Vec<Ticket> = (0..3).map(|_| rig.append(0)).collect();
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::InvalidRecord));
    assert_eq!(certainty(&tickets[0]), (ErrorKind::Broker(ErrorCode::InvalidRecord), Certainty::NotSent));
    rig.answer(&first[1], Some(ErrorCode::OutOfOrderSequenceNumber));
    rig.answer(&first[2], Some(ErrorCode::OutOfOrderSequenceNumber));
    let again = rig.within(500);
    assert_eq!(sequences(&again), [0, 1]);
    assert!(again.iter().flat_map(|request| &request.batches).all(|batch| epoch(batch) == 1));
    assert_eq!(again[0].batches[0].2[61..], first[1].batches[0].2[61..], "the same records");
    again.iter().for_each(|request| rig.answer(request, None));
    assert!(tickets[1..].iter().all(|ticket| ticket.result().unwrap().is_ok()));
    assert_eq!(rig.identities, 1, "the epoch is bumped here, the broker is not asked");
}

#[test]
fn out_of_order_behind_an_open_batch_only_waits_for_it() {
    let mut rig = Rig::new(&[1]);
    for _ in 0..2 {
        rig.append(0);
    }
    let first = rig.flush();
    rig.fail(&first[0], lost());
    rig.answer(&first[1], Some(ErrorCode::OutOfOrderSequenceNumber));
    let again = rig.within(200);
    assert_eq!(sequences(&again), [0]);
    rig.answer(&again[0], None);
    let last = rig.turn();
    assert_eq!((sequences(&last), epoch(&last[0].batches[0])), (vec![1], 0));
}

#[test]
fn sequences_wrap_to_zero() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.answer(&first[0], None);
    rig.sender.partitions[0].as_mut().unwrap().next_sequence = i32::MAX;
    rig.append(0);
    rig.append(0);
    assert_eq!(sequences(&rig.flush()), [i32::MAX, 0]);
}

#[test]
fn expiry_is_in_order_and_says_what_may_have_been_written() {
    let mut rig = Rig::new(&[1, -1]);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tickets = Vec::new();
    for i in 0..8 {
        let order = order.clone();
        let mut callback: Option<crate::machine::batch::Callback> =
            Some(Box::new(move |_| order.lock().unwrap().push(i)));
        let (target, record) = (Target::Partition(i % 2), vec![0; 700]);
        let ticket = rig.accumulator.try_append(&rig.topic, target, &value(&record), None, &mut callback).unwrap();
        tickets.push(ticket.unwrap());
        rig.clock.advance(1000);
        rig.turn();
    }
    rig.clock.advance(112_500);
    rig.turn();
    assert_eq!(*order.lock().unwrap(), [0], "delivery.timeout.ms after its own send");
    rig.clock.advance(60_000);
    rig.turn();
    let order = order.lock().unwrap().clone();
    for parity in [0, 1] {
        let of_partition: Vec<u32> = order.iter().copied().filter(|i| i % 2 == parity).collect();
        assert_eq!(of_partition.len(), 4);
        assert!(of_partition.is_sorted(), "{order:?}");
    }
    assert_eq!(certainty(&tickets[0]), (ErrorKind::Timeout, Certainty::PossiblySent));
    assert_eq!(certainty(&tickets[1]), (ErrorKind::Timeout, Certainty::NotSent));
}

/// Its deadline was looked for while it had none, and nobody looked again.
#[test]
fn a_batch_that_is_compressed_while_the_one_before_it_expires_expires_too() {
    let mut rig = Rig::new(&[-1]);
    rig.append(0);
    rig.clock.advance(1_000);
    let second = rig.append(0);
    rig.turn();
    rig.clock.advance(10);
    rig.turn();
    let (accumulator, topic) = (rig.accumulator.clone(), rig.topic.clone());
    let compress = detach(&accumulator, &topic, 0);
    rig.clock.advance(120_000 - 1_010);
    rig.turn();
    assert_eq!(rig.accumulator.unfinished_records(2), 1, "the first has expired");
    compress();
    rig.clock.advance(5_000);
    rig.turn();
    assert_eq!(certainty(&second), (ErrorKind::Timeout, Certainty::NotSent));
}

/// KAFKA-19012: who waits is told, the buffer stays until nothing refers to it.
#[test]
fn what_expires_under_way_keeps_its_memory_until_the_answer() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    let first = rig.flush();
    rig.clock.advance(120_000);
    rig.turn();
    assert!(ticket.result().is_some());
    assert!(rig.accumulator.free_memory() < 10_000);
    rig.answer(&first[0], None);
    assert_eq!(rig.accumulator.free_memory(), 10_000);
    rig.append(0);
    let next = rig.flush();
    assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], 1), "its number was given up");
}

#[test]
fn request_timed_out_and_not_enough_replicas_after_append_may_have_been_written() {
    for (code, certain) in [
        (ErrorCode::RequestTimedOut, Certainty::PossiblySent),
        (ErrorCode::NotEnoughReplicasAfterAppend, Certainty::PossiblySent),
        (ErrorCode::NotLeaderOrFollower, Certainty::PossiblySent),
        (ErrorCode::NotEnoughReplicas, Certainty::NotSent),
        (ErrorCode::MessageTooLarge, Certainty::NotSent),
        (ErrorCode::TopicAuthorizationFailed, Certainty::NotSent),
    ] {
        let mut rig = Rig::with(&[1], SenderConfig { retries: 0, idempotence: false, ..sender_config() }, config());
        let ticket = rig.append(0);
        let first = rig.flush();
        rig.answer(&first[0], Some(code));
        assert_eq!(certainty(&ticket).1, certain, "{code}");
    }
}

#[test]
fn one_attempt_that_may_have_been_written_marks_the_batch_for_good() {
    let mut rig = Rig::with(&[1], SenderConfig { retries: 1, idempotence: false, ..sender_config() }, config());
    let ticket = rig.append(0);
    let first = rig.flush();
    rig.fail(&first[0], lost());
    let again = rig.within(200);
    rig.answer(&again[0], Some(ErrorCode::NotEnoughReplicas));
    assert_eq!(certainty(&ticket).1, Certainty::PossiblySent);
}

/// A broker closes connections that are idle. It was counted as a try that was never made, and `retries=0` allows one.
#[test]
fn what_never_left_is_no_try_and_goes_again_at_once() {
    let mut rig = Rig::with(&[1], SenderConfig { retries: 0, idempotence: false, ..sender_config() }, config());
    let tickets = [rig.append(0), rig.append(0)];
    let unsent = || Error::new(ErrorKind::Connection).certainty(Certainty::NotSent);
    let mut first = rig.flush();
    assert_eq!(first.len(), 2);
    first.drain(..).for_each(|request| rig.fail(&request, unsent()));
    let mut again = rig.turn();
    assert!(!again.is_empty(), "a new connection, and no other wait");
    again.extend(rig.turn());
    again.iter().for_each(|request| rig.answer(request, None));
    rig.turn().iter().for_each(|request| rig.answer(request, None));
    assert!(tickets.iter().all(|ticket| ticket.result().is_some_and(|result| result.is_ok())));
}

/// A peer that takes connections and closes them.
#[test]
fn what_never_leaves_over_one_connection_after_the_other_waits_between_them() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let (mut under_way, mut tries) = (rig.flush(), 0);
    for _ in 0..10_000 {
        for request in std::mem::take(&mut under_way) {
            tries += 1;
            rig.fail(&request, Error::new(ErrorKind::Connection).certainty(Certainty::NotSent));
        }
        rig.clock.advance(1);
        under_way = rig.turn();
    }
    assert!((10..20).contains(&tries), "{tries} tries in 10 s");
}

#[test]
fn without_acks_a_batch_is_done_when_it_is_written() {
    let mut rig = Rig::with(&[1], SenderConfig { acks: 0, idempotence: false, ..sender_config() }, config());
    let ticket = rig.append(0);
    let first = rig.flush();
    let answer = Ok(SenderResponse::Produced(ProduceResponse::default()));
    rig.sender.handle_response(rig.clock.now(), first[0].id, answer);
    assert_eq!(ticket.result().unwrap().unwrap().0, None);
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

#[test]
fn a_request_stays_below_max_request_size_unless_one_batch_is_larger() {
    let sender = SenderConfig { max_request_size: 1700, ..sender_config() };
    let mut rig = Rig::with(&[1, 1, 1], sender, AccumulatorConfig { max_request_size: 1700, ..config() });
    for partition in [0, 1, 2] {
        rig.append(partition);
    }
    let requests = rig.flush();
    assert_eq!(requests.iter().map(|request| request.batches.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_throttled_node_is_left_alone_for_as_long() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    let partition = PartitionProduceResponse::default().with_index(0);
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str("clicks")))
        .with_partition_responses(vec![partition]);
    let response = ProduceResponse::default().with_responses(vec![topic]).with_throttle_time_ms(300);
    rig.sender.handle_response(rig.clock.now(), first[0].id, Ok(SenderResponse::Produced(response)));
    rig.append(0);
    rig.accumulator.flush();
    assert!(rig.within(299).is_empty());
    assert_eq!(rig.within(1).len(), 1);
}

#[test]
fn one_wait_for_all_that_fail_together() {
    let mut rig = Rig::new(&[1]);
    for _ in 0..5 {
        rig.append(0);
    }
    for request in rig.flush() {
        rig.fail(&request, lost());
    }
    assert_eq!(sequences(&rig.within(121)), [0], "100 ms and the jitter, not five times as long");
}

#[test]
fn a_node_that_can_not_be_reached_is_tried_again_and_metadata_asked_for() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    rig.accumulator.flush();
    let now = rig.clock.now();
    rig.sender.handle_ready(now, Waker::noop());
    let (mut id, mut request) = rig.sender.poll_request().unwrap();
    while !matches!(request, SenderRequest::Connect(_)) {
        (id, request) = rig.sender.poll_request().unwrap();
    }
    rig.sender.handle_response(now, id, Err(Error::new(ErrorKind::Connection).certainty(Certainty::NotSent)));
    assert!(matches!(rig.sender.poll_event(), Some(SenderEvent::StaleMetadata(1))));
    assert!(rig.sender.poll_request().is_none(), "not at once");
    let at = rig.sender.poll_timeout().unwrap();
    assert!(at > now && at <= now + Duration::from_millis(125));
}

#[test]
fn an_abandoned_sender_fails_what_is_not_under_way_and_waits_a_second_for_the_rest() {
    let mut rig = Rig::new(&[1, -1]);
    let (sent, unsent) = (rig.append(0), rig.append(1));
    rig.flush();
    rig.accumulator.abandon();
    rig.sender.handle_abandoned(rig.clock.now());
    assert_eq!(certainty(&unsent), (ErrorKind::Closed, Certainty::NotSent));
    assert!(sent.result().is_none() && !rig.sender.is_closed());
    rig.clock.advance(1000);
    rig.turn();
    assert_eq!(certainty(&sent), (ErrorKind::Closed, Certainty::PossiblySent));
    assert!(rig.sender.is_closed());
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

#[test]
fn batches_of_many_partitions_do_not_cost_a_look_at_the_idle_ones() {
    let mut rig = Rig::new(&[1; 1000]);
    for partition in [3, 999] {
        rig.append(partition);
    }
    let requests = rig.flush();
    assert_eq!(requests[0].batches.len(), 2);
    let queued: usize = rig.sender.nodes.values().map(|node| node.ready.len()).sum();
    assert_eq!(queued, 0, "and nothing is looked at again");
}

#[test]
fn a_record_waits_for_the_producer_id_and_a_refused_one_ends_the_producer() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    rig.accumulator.flush();
    let now = rig.clock.now();
    rig.sender.handle_ready(now, Waker::noop());
    while let Some((id, request)) = rig.sender.poll_request() {
        match request {
            SenderRequest::Connect(_) => rig.sender.handle_response(now, id, Ok(SenderResponse::Connected)),
            SenderRequest::InitProducerId(_) => {
                let refused =
                    InitProducerIdResponse::default().with_error_code(ErrorCode::ClusterAuthorizationFailed.to_wire());
                rig.sender.handle_response(now, id, Ok(SenderResponse::ProducerId(refused)));
            }
            SenderRequest::Produce(_) | SenderRequest::Transaction(_) => panic!("nothing may be sent without an id"),
        }
    }
    assert_eq!(certainty(&ticket), (ErrorKind::Denied, Certainty::NotSent));
}

mod rules;
