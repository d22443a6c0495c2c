//! The matrix of the protocol rules: whatever has once stopped, spun or misled some client.

use super::*;

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
fn transactions_that_overlap_end_each_by_its_own_marker() {
    let mut log = Log::default();
    let bad = log.write(2, 10, 7, true);
    let good = log.write(2, 10, 8, true);
    log.write(1, 10, 7, true);
    let plain = log.records(1);
    log.marker(8, true);
    log.write(1, 10, 7, true);
    log.abort(7, bad);
    let next = log.write(1, 10, 7, true);
    log.marker(7, true);
    let expected = [good, good + 1, plain, next];
    assert_eq!(Rig::new(committed(), vec![log.clone()]).read_to_end(1), expected);
    // From wherever it is begun.
    for from in 0..log.next {
        let mut rig = Rig::new(committed(), vec![log.clone()]);
        rig.fetcher.seek(&tp(0), Position { offset: from, leader_epoch: None }).unwrap();
        let expected: Vec<_> = expected.into_iter().filter(|offset| *offset >= from).collect();
        assert_eq!(rig.read_to_end(1), expected, "from {from}");
    }
}

/// In any number of fetches and polls, and with a pause in the middle, the same records are seen.
#[test]
fn aborted_transactions_are_left_out_however_the_log_is_cut_into_fetches() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut log, mut expected) = (Log::default(), Vec::new());
        let mut open: HashMap<i64, Vec<i64>> = HashMap::new();
        for _ in 0..60 {
            let (producer, count) = (random.i64(7..10), random.usize(1..4));
            if random.u8(0..3) > 0 {
                let first = log.write(count, 30, producer, true);
                open.entry(producer).or_default().extend(first..first + count as i64);
            } else if let Some(written) = open.remove(&producer) {
                match random.bool() {
                    true => {
                        log.marker(producer, true);
                        expected.extend(written);
                    }
                    false => log.abort(producer, written[0]),
                }
            } else {
                let first = log.records(count);
                expected.extend(first..first + count as i64);
            }
        }
        for (producer, written) in open {
            log.abort(producer, written[0]);
        }
        random.shuffle(&mut log.aborted);
        expected.sort_unstable();
        let config = FetcherConfig { max_partition_bytes: random.usize(150..3000), ..committed() };
        let end = log.next;
        let (mut rig, mut read) = (Rig::new(config, vec![log]), Vec::new());
        while rig.position(0) < end {
            rig.try_fetch();
            if random.u8(0..4) == 0 {
                rig.fetcher.pause(&tp(0)).unwrap();
                rig.fetcher.resume(&tp(0)).unwrap();
            }
            read.extend(rig.poll(random.usize(1..10)).into_iter().map(|(_, offset)| offset));
        }
        assert_eq!(read, expected, "seed {seed}");
    }
}

#[test]
fn control_batches_of_unknown_types_and_emptied_ones_are_passed() {
    let mut log = Log::default();
    let good = log.records(1);
    let bad = log.write(1, 10, 7, true);
    log.marker(7, false);
    // A type of a later version in the place of the abort: it ends nothing.
    let marker = log.batches.pop().unwrap();
    let key = 61 + 5; // behind the head, and five varints of a byte
    assert_eq!(&marker[key..key + 4], [0, 0, 0, 0], "version 0, type 0");
    log.batches.push(patched(&marker, |bytes| bytes[key + 3] = 9));
    log.write(1, 10, 7, true);
    log.marker(7, false);
    let marker = log.batches.pop().unwrap();
    // What compaction leaves of a marker: a head.
    log.batches.push(patched(&marker.slice(..61), |bytes| {
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    }));
    log.abort(7, bad);
    let after = log.records(1);
    assert_eq!(Rig::new(committed(), vec![log.clone()]).read_to_end(1), [good, after]);
    assert_eq!(Rig::new(config(), vec![log.clone()]).read_to_end(1).len(), 4);
    // Whoever asks for markers gets them, but for the one that is only a head.
    let showing = |config| FetcherConfig { control_records: true, ..config };
    assert_eq!(Rig::new(showing(config()), vec![log.clone()]).read_to_end(1).len(), 6);
    assert_eq!(Rig::new(showing(committed()), vec![log]).read_to_end(1).len(), 4);
}

#[test]
fn what_compaction_leaves_of_transactions_is_read_as_if_it_were_whole() {
    let mut log = Log::default();
    // Of an aborted transaction only the marker, of a committed one a batch with holes and an empty one.
    let first = log.write(3, 10, 7, true);
    log.abort(7, first);
    log.batches.remove(0);
    let kept = log.write(2, 10, 7, true);
    let batch = log.batches.pop().unwrap();
    log.batches.push(patched(&batch, |bytes| bytes[23..27].copy_from_slice(&5_i32.to_be_bytes())));
    log.next = kept + 6;
    log.write(1, 10, 7, true);
    let batch = log.batches.pop().unwrap();
    log.batches.push(patched(&batch.slice(..61), |bytes| {
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    }));
    log.marker(7, true);
    let end = log.next;
    let mut rig = Rig::new(committed(), vec![log]);
    assert_eq!(rig.read_to_end(1), [kept, kept + 1]);
    assert_eq!(rig.position(0), end);
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

#[test]
fn what_follows_on_a_marker_that_can_not_be_read_is_not_skipped() {
    let mut log = Log::default();
    log.write(2, 10, 7, true);
    log.marker(7, true);
    log.records(3);
    let marker = &log.batches[1];
    log.batches[1] = {
        let mut bytes = marker.to_vec();
        *bytes.last_mut().unwrap() ^= 1; // its checksum is wrong now
        bytes.into()
    };
    let mut rig = Rig::new(committed(), vec![log]);
    rig.fetch();
    let mut read = Vec::new();
    let mut errors = 0;
    for _ in 0..4 {
        match rig.fetcher.poll(rig.now, 500) {
            Polled::Records(records) => read.extend(records.iter().map(|part| part.from)),
            Polled::Failed(_) => errors += 1,
            _ => {}
        }
    }
    assert_eq!((read.len(), errors), (1, 1));
    assert_eq!(rig.position(0), 2, "where the marker is, until somebody seeks past it");
}
