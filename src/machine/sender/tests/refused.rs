//! What a broker refuses: a batch that is too large, records that are wrong, a leader that has moved.

use super::*;
use crate::machine::batch::Callback;
use crate::record::DEFAULT_DECOMPRESSED_LIMIT;
use crate::record::compression::Decompressor;
use crate::record::decode::open;
use crate::wire::messages::BrokerId;
use crate::wire::messages::produce_response::{BatchIndexAndErrorMessage, LeaderIdAndEpoch};

impl Rig {
    pub(super) fn answer_with(
        &mut self,
        request: &Produced,
        change: impl Fn(PartitionProduceResponse) -> PartitionProduceResponse,
    ) {
        let partition = |(partition, ..): &(u32, i32, Vec<u8>)| {
            change(PartitionProduceResponse::default().with_index(*partition as i32).with_base_offset(-1))
        };
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("clicks")))
            .with_partition_responses(request.batches.iter().map(partition).collect());
        let response = ProduceResponse::default().with_responses(vec![topic]);
        self.sender.handle_response(self.clock.now(), request.id, Ok(SenderResponse::Produced(response)));
    }

    /// A record whose value says its number.
    fn append_number(&self, number: u8, callback: &mut Option<Callback>) -> Ticket {
        let record = [number; 50];
        let target = Target::Partition(0);
        self.accumulator.try_append(&self.topic, target, &value(&record), None, callback).unwrap().unwrap()
    }

    /// Answers every request until there is none: batches of more than `limit` records are too large. What was written, with
    /// sequences.
    fn written_below(&mut self, limit: usize, first: Vec<Produced>) -> Vec<(i32, Vec<u8>)> {
        let (mut written, mut under_way) = (Vec::new(), VecDeque::from(first));
        while let Some(request) = under_way.pop_front() {
            let (_, sequence, bytes) = request.batches[0].clone();
            let mut scratch = Decompressor::default();
            let records: Vec<u8> = open(&bytes, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT)
                .unwrap()
                .map(|record| record.unwrap().value.unwrap()[0])
                .collect();
            if records.len() > limit {
                self.answer(&request, Some(ErrorCode::MessageTooLarge));
            } else if written
                .last()
                .is_some_and(|(last, records): &(i32, Vec<u8>)| last + records.len() as i32 != sequence)
            {
                self.answer(&request, Some(ErrorCode::OutOfOrderSequenceNumber));
            } else {
                let offset = written.iter().map(|(_, records)| records.len() as i64).sum();
                self.answer_with(&request, |answer| answer.with_base_offset(offset));
                written.push((sequence, records));
            }
            under_way.extend(self.within(300));
        }
        written
    }
}

/// KIP-126. The halves have the batch's numbers between them, nothing overtakes, each record gets its own offset, and
/// nothing is left behind.
#[test]
fn a_batch_that_is_too_large_is_split_until_it_fits_and_the_order_holds() {
    let mut rig = Rig::new(&[1]);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let tickets: Vec<Ticket> = (0..22)
        .map(|number| {
            let calls = calls.clone();
            let callback: Callback = Box::new(move |ticket| calls.lock().unwrap().push((number, ticket.result())));
            rig.append_number(number, &mut Some(callback))
        })
        .collect();
    let first = rig.flush();
    assert!(first.len() >= 2, "a second batch is behind the first");
    let written = rig.written_below(3, first);
    let order: Vec<u8> = written.iter().flat_map(|(_, records)| records.clone()).collect();
    assert_eq!(order, (0..22).collect::<Vec<u8>>());
    let mut next = 0;
    for (sequence, records) in &written {
        assert_eq!(*sequence, next, "{written:?}");
        next += records.len() as i32;
    }
    for (number, ticket) in (0i64..).zip(&tickets) {
        assert_eq!(ticket.result().unwrap().unwrap().0, Some(number));
    }
    let mut called: Vec<i64> =
        calls.lock().unwrap().iter().map(|(_, result)| result.clone().unwrap().unwrap().0.unwrap()).collect();
    called.sort_unstable();
    assert_eq!(called, (0..22).collect::<Vec<i64>>(), "each callback once");
    assert_eq!(rig.identities, 1, "no new epoch is needed");
    assert_eq!(rig.accumulator.free_memory(), 10_000);
    assert_eq!(rig.accumulator.unfinished_records(u64::MAX), 0);
}

#[test]
fn a_flush_waits_for_both_halves() {
    let mut rig = Rig::new(&[1]);
    let tickets = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::MessageTooLarge));
    let half = rig.within(1);
    rig.answer(&half[0], None);
    assert!(tickets[0].result().is_some() && tickets[1].result().is_none());
    assert!(!rig.accumulator.is_flushed(1));
    let other = rig.within(1);
    rig.answer(&other[0], None);
    assert!(rig.accumulator.is_flushed(1) && tickets[1].result().is_some());
}

#[test]
fn a_delivery_that_waits_is_woken_by_its_half() {
    let mut rig = Rig::new(&[1]);
    let [_, ticket] = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    assert!(ticket.poll(&Context::from_waker(&waker)).is_pending());
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::MessageTooLarge));
    assert_eq!(woken.take(), 1, "to look where its outcome is now");
    assert!(ticket.poll(&Context::from_waker(&waker)).is_pending());
    let half = rig.within(1);
    rig.answer(&half[0], None);
    assert_eq!(woken.take(), 0, "the other half is not it");
    let other = rig.within(1);
    rig.answer(&other[0], None);
    assert_eq!(woken.take(), 1);
    assert!(ticket.poll(&Context::from_waker(&waker)).is_ready());
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl Woken {
    fn take(&self) -> usize {
        self.0.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn one_record_that_is_too_large_fails_with_the_sizes_and_the_next_one_is_written() {
    let mut rig = Rig::new(&[1]);
    let tickets = [rig.append(0), rig.append(0)];
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::MessageTooLarge));
    let error = tickets[0].result().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.delivery_certainty()),
        (Some(ErrorCode::MessageTooLarge), Some(Certainty::NotSent))
    );
    assert!(error.to_string().contains(&first[0].batches[0].2.len().to_string()), "{error}");
    rig.answer(&first[1], Some(ErrorCode::OutOfOrderSequenceNumber));
    let again = rig.within(300);
    rig.answer(&again[0], None);
    assert!(tickets[1].result().unwrap().is_ok());
}

/// An attempt before it may have been written: a half would not be known as its duplicate.
#[test]
fn what_may_have_been_written_is_not_split() {
    let mut rig = Rig::new(&[1]);
    let [_, ticket] = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
    let first = rig.flush();
    rig.fail(&first[0], lost());
    let again = rig.within(300);
    rig.answer(&again[0], Some(ErrorCode::MessageTooLarge));
    assert_eq!(certainty(&ticket), (ErrorKind::Broker(ErrorCode::MessageTooLarge), Certainty::PossiblySent));
}

/// Java splits it as well: the client's picture of the cluster was old, and the right leader finds it too large.
#[test]
fn what_a_broker_that_did_not_lead_has_turned_away_is_split() {
    for base_offset in [-1, 100] {
        let mut rig = Rig::new(&[1]);
        let tickets = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
        let first = rig.flush();
        rig.answer_with(&first[0], |answer| {
            answer.with_error_code(ErrorCode::NotLeaderOrFollower.to_wire()).with_base_offset(base_offset)
        });
        let again = rig.within(300);
        rig.answer(&again[0], Some(ErrorCode::MessageTooLarge));
        if base_offset >= 0 {
            let expected = (ErrorKind::Broker(ErrorCode::MessageTooLarge), Certainty::PossiblySent);
            assert_eq!(certainty(&tickets[0]), expected, "it was appended, and the leader deposed");
            continue;
        }
        let half = rig.within(1);
        assert_eq!(sequences(&half), [0]);
        rig.answer(&half[0], None);
        assert!(tickets[0].result().unwrap().is_ok());
        let other = rig.within(1);
        assert_eq!(sequences(&other), [1]);
        rig.answer(&other[0], Some(ErrorCode::TopicAuthorizationFailed));
        assert_eq!(certainty(&tickets[1]).1, Certainty::PossiblySent, "nobody promises what a broker only hints at");
    }
}

#[test]
fn what_is_left_of_such_a_batch_when_the_sender_is_gone_is_possibly_sent() {
    let mut rig = Rig::new(&[1]);
    let [_, ticket] = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::NotLeaderOrFollower));
    let again = rig.within(300);
    rig.answer(&again[0], Some(ErrorCode::MessageTooLarge));
    drop(rig);
    assert_eq!(certainty(&ticket), (ErrorKind::Closed, Certainty::PossiblySent), "though this half was never sent");
}

fn blames_the_second(answer: PartitionProduceResponse) -> PartitionProduceResponse {
    let blame = BatchIndexAndErrorMessage::default()
        .with_batch_index(1)
        .with_batch_index_error_message(Some(StrBytes::from_static_str("no key")));
    answer.with_error_code(ErrorCode::InvalidRecord.to_wire()).with_record_errors(vec![blame])
}

/// KIP-467.
#[test]
fn the_records_to_blame_are_named_and_the_others_can_be_sent_again() {
    let mut rig = Rig::new(&[1]);
    let tickets: Vec<Ticket> = (0..3).map(|number| rig.append_number(number, &mut None)).collect();
    let first = rig.flush();
    rig.answer_with(&first[0], blames_the_second);
    let errors: Vec<Error> = tickets.iter().map(|ticket| ticket.result().unwrap().unwrap_err()).collect();
    assert_eq!(errors[1].code(), Some(ErrorCode::InvalidRecord));
    assert!(errors[1].to_string().contains("no key") && !errors[1].is_retriable(), "{}", errors[1]);
    for error in [&errors[0], &errors[2]] {
        assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::BatchRejected, Some(Certainty::NotSent)));
        assert!(error.is_retriable(), "{error}");
        assert_eq!(
            error.to_string(),
            "clicks[0]: Produce to node 1: INVALID_RECORD of another record of the same batch"
        );
    }
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

/// Kafka looks at the records of a retry before it looks whether it has them: those who send the others again, for they
/// are called unsent, would have them twice.
#[test]
fn the_others_of_a_batch_that_may_have_been_written_are_not_called_unsent() {
    let mut rig = Rig::new(&[1]);
    let tickets = [rig.append_number(0, &mut None), rig.append_number(1, &mut None)];
    let first = rig.flush();
    rig.fail(&first[0], lost());
    let again = rig.within(300);
    rig.answer_with(&again[0], blames_the_second);
    assert_eq!(certainty(&tickets[0]), (ErrorKind::BatchRejected, Certainty::PossiblySent));
    assert_eq!(certainty(&tickets[1]), (ErrorKind::Broker(ErrorCode::InvalidRecord), Certainty::PossiblySent));
    let error = tickets[0].result().unwrap().unwrap_err();
    assert_eq!(error.to_string().matches("it may have been written").count(), 1, "{error}");
}

fn moved_to(node: i32, epoch: i32) -> impl Fn(PartitionProduceResponse) -> PartitionProduceResponse {
    move |answer| {
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(node)).with_leader_epoch(epoch);
        answer.with_error_code(ErrorCode::NotLeaderOrFollower.to_wire()).with_current_leader(leader)
    }
}

/// KIP-951: no metadata, no backoff.
#[test]
fn a_leader_that_an_answer_names_is_followed_at_once() {
    let mut rig = Rig::new(&[1, 2]);
    rig.append(0);
    let first = rig.flush();
    rig.answer_with(&first[0], moved_to(2, 5));
    let again = rig.turn();
    assert_eq!(again.iter().map(|request| request.node).collect::<Vec<_>>(), [2]);
    assert_eq!(again[0].batches, first[0].batches, "the same bytes");
    rig.leaders(&[1, 2]);
    rig.append(0);
    rig.answer(&again[0], None);
    rig.accumulator.flush();
    assert_eq!(rig.turn()[0].node, 2, "metadata that is older than what the broker said does not count");
}

#[test]
fn a_leader_whose_address_is_not_known_is_looked_for_in_the_metadata() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.answer_with(&first[0], moved_to(9, 5));
    assert!(rig.turn().is_empty());
    assert_eq!(rig.stale, [1]);
}

#[test]
fn a_batch_that_expires_says_why_its_leader_was_not_reached() {
    for (cause, kind, said) in [
        (Error::with_message(ErrorKind::Connection, "connection refused"), ErrorKind::Timeout, "connection refused"),
        (Error::denied(ErrorCode::SaslAuthenticationFailed, "no more"), ErrorKind::Denied, "no more"),
    ] {
        let mut rig = Rig::new(&[1]);
        let ticket = rig.append(0);
        rig.accumulator.flush();
        let mut now = rig.clock.now();
        rig.sender.handle_ready(now, Waker::noop());
        while ticket.result().is_none() {
            while let Some((id, request)) = rig.sender.poll_request() {
                match request {
                    SenderRequest::Connect(_) => rig.sender.handle_response(now, id, Err(cause.clone())),
                    SenderRequest::InitProducerId(_) => {
                        let given = InitProducerIdResponse::default().with_producer_id(7.into());
                        rig.sender.handle_response(now, id, Ok(SenderResponse::ProducerId(given)));
                    }
                    SenderRequest::Produce(_) | SenderRequest::Transaction(_) => panic!("there is no connection"),
                }
            }
            now = rig.sender.poll_timeout().expect("it goes on trying");
            rig.sender.handle_timeout(now);
        }
        assert_eq!(certainty(&ticket), (kind, Certainty::NotSent));
        let error = ticket.result().unwrap().unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
