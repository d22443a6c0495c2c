//! Rules that cost other clients data or years, one test each; `protocol-tests/RULES.md` says which rule is held where.

use super::*;

fn records(sizes: &[usize]) -> Rig {
    let rig = Rig::new(&[1]);
    sizes.iter().for_each(|size| drop(rig.append_bytes(0, *size)));
    rig
}

/// librdkafka 1.9: a topic that left the metadata for a moment took its numbers along. What came then was taken for
/// a duplicate, and lost as a success.
#[test]
fn a_topic_that_leaves_the_metadata_for_a_moment_keeps_its_numbers() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.append(0);
    let mut without = Cluster::clone(&rig.sender.cluster);
    without.generation += 1;
    without.topics.clear();
    rig.sender.handle_cluster(rig.clock.now(), Arc::new(without));
    let second = rig.flush();
    rig.leaders(&[1]);
    rig.answer(&first[0], None);
    second.iter().for_each(|request| rig.answer(request, None));
    rig.append(0);
    let third = rig.flush();
    let all: Vec<_> = [first, second, third].concat();
    assert_eq!(sequences(&all), [0, 1, 2]);
    assert!(all.iter().flat_map(|request| &request.batches).all(|batch| epoch(batch) == 0));
}

/// franz-go 1217: what timed out at the broker was taken for not written, and new records got its numbers.
#[test]
fn after_request_timed_out_the_same_bytes_go_again_and_new_records_get_new_numbers() {
    for code in [ErrorCode::RequestTimedOut, ErrorCode::NotEnoughReplicasAfterAppend] {
        let mut rig = records(&[700]);
        let first = rig.flush();
        rig.append(0);
        rig.answer(&first[0], Some(code));
        let again = rig.within(200);
        assert_eq!(again.iter().map(|request| &request.batches).collect::<Vec<_>>(), [&first[0].batches]);
        rig.answer(&again[0], None);
        assert_eq!(sequences(&rig.flush()), [1]);
    }
}

/// The same, when its time is up: the number is never used again.
#[test]
fn what_may_have_been_written_and_expires_takes_its_number_along() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    let mut under_way = rig.flush();
    for _ in 0..120 {
        for request in std::mem::take(&mut under_way) {
            rig.answer(&request, Some(ErrorCode::RequestTimedOut));
        }
        under_way = rig.within(1_000);
    }
    under_way.iter().for_each(|request| rig.answer(request, Some(ErrorCode::RequestTimedOut)));
    assert_eq!(certainty(&ticket).1, Certainty::PossiblySent);
    rig.append(0);
    let next = rig.flush();
    assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], 1));
}

/// KAFKA-19012: a buffer was used again while a request that referred to it was under way.
#[test]
fn what_is_under_way_keeps_its_bytes_when_it_expires_and_others_come() {
    let mut rig = Rig::new(&[1, 1]);
    rig.append_bytes(0, 700);
    let first = rig.flush();
    rig.clock.advance(120_000);
    rig.turn();
    for _ in 0..10 {
        rig.append_bytes(1, 700);
        rig.flush().iter().for_each(|request| rig.answer(request, None));
    }
    let batch = rig.sender.batches(first[0].id).next().expect("it is under way still");
    assert_eq!([&batch.numbered.unwrap().head[..], batch.body().bytes()].concat(), first[0].batches[0].2);
}

#[test]
fn sequences_wrap_inside_of_a_batch() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.answer(&first[0], None);
    rig.sender.partitions[0].as_mut().unwrap().next_sequence = i32::MAX - 1;
    (0..4).for_each(|_| drop(rig.append_bytes(0, 10)));
    let wrapping = rig.flush();
    rig.answer(&wrapping[0], None);
    rig.append(0);
    // MAX-1, MAX, 0 and 1 are in the first.
    assert_eq!([sequences(&wrapping), sequences(&rig.flush())].concat(), [i32::MAX - 1, 2]);
}

/// The broker has forgotten the producer, for retention has taken all it wrote, or it lost its log: the batch goes
/// again in a new epoch, and nobody is told of an error. A leader that has only just become it does not know where its log
/// begins (-1): there no number is missing, and the same batch goes again.
#[test]
fn an_unknown_producer_id_is_no_error_whatever_the_log_start_offset() {
    for (log_start_offset, expected) in [(-1, (vec![1], 0)), (1_000, (vec![0], 1))] {
        let mut rig = Rig::new(&[1]);
        rig.append(0);
        let first = rig.flush();
        rig.answer(&first[0], None);
        let ticket = rig.append(0);
        let second = rig.flush();
        let partition = PartitionProduceResponse::default()
            .with_error_code(ErrorCode::UnknownProducerId.to_wire())
            .with_log_start_offset(log_start_offset);
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("clicks")))
            .with_partition_responses(vec![partition]);
        let response = ProduceResponse::default().with_responses(vec![topic]);
        rig.sender.handle_response(rig.clock.now(), second[0].id, Ok(SenderResponse::Produced(response)));
        let again = rig.within(500);
        assert_eq!((sequences(&again), epoch(&again[0].batches[0])), expected);
        assert_eq!(again[0].batches[0].2[61..], second[0].batches[0].2[61..], "the same records");
        rig.answer(&again[0], None);
        assert!(ticket.result().unwrap().is_ok());
    }
}

#[test]
fn an_invalid_producer_epoch_asks_for_a_new_id_and_the_batch_goes_again() {
    let mut rig = Rig::new(&[1]);
    let ticket = rig.append(0);
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::InvalidProducerEpoch));
    let again = rig.within(500);
    assert_eq!(rig.identities, 2);
    let producer = |request: &Produced| i64::from_be_bytes(request.batches[0].2[43..51].try_into().unwrap());
    assert_eq!((producer(&first[0]), producer(&again[0]), sequences(&again)), (42, 43, vec![0]));
    rig.answer(&again[0], None);
    assert!(ticket.result().unwrap().is_ok());
}

/// A bump concerns all partitions, but none may have batches of both epochs under way.
#[test]
fn a_new_epoch_waits_in_each_partition_for_what_is_under_way_in_the_old_one() {
    let mut rig = Rig::new(&[1, 1]);
    rig.append(0);
    let first = rig.flush();
    rig.append(1);
    let other = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::InvalidRecord)); // a number is missing: a bump
    rig.append(1);
    assert!(rig.flush().is_empty(), "0 of the old epoch is under way");
    rig.fail(&other[0], lost());
    let again = rig.within(200);
    assert_eq!((sequences(&again), epoch(&again[0].batches[0])), (vec![0], 0), "what has a number keeps it");
    rig.answer(&again[0], None);
    let next = rig.turn();
    assert_eq!((sequences(&next), epoch(&next[0].batches[0])), (vec![0], 1));
}

#[test]
fn when_the_epochs_are_used_up_a_new_id_is_asked_for() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    let first = rig.flush();
    rig.answer(&first[0], None);
    rig.sender.identity = Identity::Known(ProducerIdAndEpoch { id: 42, epoch: i16::MAX });
    rig.append(0);
    let last = rig.flush();
    assert_eq!((sequences(&last), epoch(&last[0].batches[0])), (vec![0], i16::MAX));
    rig.answer(&last[0], Some(ErrorCode::InvalidRecord));
    rig.append(0);
    let next = rig.flush();
    assert_eq!((sequences(&next), epoch(&next[0].batches[0]), rig.identities), (vec![0], 0, 2));
}

#[test]
fn a_broker_that_has_no_producer_ids_yet_is_asked_again_after_a_wait() {
    let mut rig = Rig::new(&[1]);
    rig.append(0);
    rig.accumulator.flush();
    let now = rig.clock.now();
    rig.sender.handle_ready(now, Waker::noop());
    let mut asked = 0;
    while let Some((id, request)) = rig.sender.poll_request() {
        match request {
            SenderRequest::Connect(_) => rig.sender.handle_response(now, id, Ok(SenderResponse::Connected)),
            SenderRequest::InitProducerId(_) => {
                asked += 1;
                let code = ErrorCode::CoordinatorLoadInProgress.to_wire();
                let loading = InitProducerIdResponse::default().with_error_code(code);
                rig.sender.handle_response(now, id, Ok(SenderResponse::ProducerId(loading)));
            }
            SenderRequest::Produce(_) | SenderRequest::Transaction(_) => panic!("nothing may be sent without an id"),
        }
    }
    assert_eq!((asked, rig.identities), (1, 0), "not in a hot loop");
    assert_eq!(sequences(&rig.within(200)), [0]);
    assert_eq!(rig.identities, 1);
}

/// Three fail together, in their order, at their own times.
#[test]
fn what_waits_behind_a_lost_leader_expires_oldest_first_each_at_its_time() {
    let mut rig = Rig::new(&[-1]);
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(rig.append(0));
        rig.clock.advance(1_000);
        rig.turn();
    }
    rig.clock.advance(117_000);
    for expired in 1..=3 {
        rig.turn();
        assert_eq!(tickets.iter().filter(|ticket| ticket.result().is_some()).count(), expired);
        rig.clock.advance(1_000);
    }
    assert!(tickets.iter().all(|ticket| certainty(ticket) == (ErrorKind::Timeout, Certainty::NotSent)));
}

/// Its copy may still be on its way over the connection that was lost; the next one, which never was, goes on.
#[test]
fn out_of_order_fails_what_may_have_been_written_and_numbers_the_rest_anew() {
    let mut rig = Rig::new(&[1]);
    let tickets: Vec<Ticket> = (0..3).map(|_| rig.append(0)).collect();
    let first = rig.flush();
    rig.answer(&first[0], Some(ErrorCode::InvalidRecord)); // 0 will be missing
    rig.fail(&first[1], lost());
    rig.answer(&first[2], Some(ErrorCode::OutOfOrderSequenceNumber));
    let again = rig.within(500);
    assert_eq!((sequences(&again), epoch(&again[0].batches[0])), (vec![1], 0));
    rig.answer(&again[0], Some(ErrorCode::OutOfOrderSequenceNumber));
    let out_of_order = ErrorKind::Broker(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(certainty(&tickets[1]), (out_of_order, Certainty::PossiblySent));
    let last = rig.within(500);
    assert_eq!((sequences(&last), epoch(&last[0].batches[0])), (vec![0], 1));
    rig.answer(&last[0], None);
    assert!(tickets[2].result().unwrap().is_ok());
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

/// The sender's task asked for the time of its end again and again: a busy loop for as long as the batch lingered.
#[test]
fn what_has_waited_for_metadata_until_its_time_is_up_fails_then_however_long_it_would_linger() {
    let mut rig = Rig::new(&[1]);
    rig.clock.advance(200_000);
    let sent_at = Some(rig.clock.now() - Duration::from_millis(119_998));
    let record = crate::machine::accumulator::NewRecord { sent_at, ..value(b"x") };
    let ticket =
        rig.accumulator.try_append(&rig.topic, Target::Partition(0), &record, None, &mut None).unwrap().unwrap();
    assert!(rig.within(1).is_empty() && ticket.result().is_none());
    rig.clock.advance(1);
    assert!(rig.turn().is_empty());
    assert_eq!(certainty(&ticket), (ErrorKind::Timeout, Certainty::NotSent));
    assert!(rig.sender.poll_timeout().is_none_or(|at| at > rig.clock.now()));
    assert_eq!(rig.accumulator.free_memory(), 10_000);
}

/// Nobody looks at the deadline of what is in another's hands: it has to be told when it comes back.
#[test]
fn what_is_still_being_compressed_when_its_time_is_up_fails_as_soon_as_it_is_done() {
    let mut rig = Rig::new(&[-1]);
    let ticket = rig.append(0);
    let (accumulator, topic) = (rig.accumulator.clone(), rig.topic.clone());
    let compress = crate::machine::accumulator::tests::detach(&accumulator, &topic, 0);
    rig.flush();
    rig.clock.advance(120_000);
    rig.turn();
    assert!(ticket.result().is_none() && rig.sender.poll_timeout().is_none_or(|at| at > rig.clock.now()));
    compress();
    rig.turn();
    assert_eq!(certainty(&ticket), (ErrorKind::Timeout, Certainty::NotSent));
}
