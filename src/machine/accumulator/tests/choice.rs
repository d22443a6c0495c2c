//! Where records go: keys, those without, partitioners of the application, partitions that are full, slow or without a leader.

use super::*;

#[test]
fn records_without_a_key_stick_to_a_partition_until_its_batch_is_complete() {
    let rig = Rig::new(config(), 8);
    let sticky = Sticky::new(3);
    for _ in 0..70 {
        rig.append_with(Target::Partitioner(&sticky), 120).unwrap();
    }
    let batches = rig.take();
    assert_eq!(batches.len(), 9, "7 of 120 bytes fill one, the last is open");
    assert!(batches.iter().all(|batch| batch.record_count() == 7), "no batch is cut short by moving on");
    let partitions: std::collections::HashSet<u32> = batches.iter().map(|batch| batch.partition).collect();
    assert!(partitions.len() > 3);
}

/// What linger sends is no full batch; moving on then would leave a fraction of one on every partition (KIP-794).
#[test]
fn a_batch_that_linger_has_ended_does_not_move_records_on_before_a_whole_one_was_sent() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, ..config() }, 8);
    let sticky = Sticky::new(3);
    let mut partitions = Vec::new();
    for _ in 0..40 {
        // 600 bytes and then nothing for a while, time and again.
        for _ in 0..5 {
            rig.append_with(Target::Partitioner(&sticky), 107).unwrap();
        }
        rig.clock.advance(5);
        let batches = rig.take();
        assert_eq!(batches.iter().map(ProducerBatch::record_count).collect::<Vec<_>>(), [5], "no fractions");
        partitions.push(batches[0].partition);
    }
    assert!(
        partitions.chunks(2).all(|two| two[0] == two[1]),
        "a second one is begun before 1000 bytes: {partitions:?}"
    );
    assert!(partitions.windows(2).any(|two| two[0] != two[1]), "and then it moves on: {partitions:?}");
}

/// A keyed record that opens a batch in the middle would otherwise put the end off for ever.
#[test]
fn records_without_a_key_move_on_after_two_batches_even_if_theirs_is_not_complete() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, linger: Duration::from_secs(9), ..config() }, 4);
    let sticky = Sticky::new(3);
    let first = rig.append_with(Target::Partitioner(&sticky), 10).unwrap().partition();
    let mut sent = 17;
    while sticky.get().unwrap().0 == first as u32 {
        // Someone else's record fills the batch, and this handle's goes into the next one, which then is open.
        rig.append(first as u32, 990).unwrap();
        rig.append(first as u32, 10).unwrap();
        sent += 77;
        assert!(sent < 3000, "it stays for ever");
        rig.append_with(Target::Partitioner(&sticky), 70).unwrap();
    }
    assert!(sent > 2000, "{sent}");
}

#[test]
fn records_without_a_key_avoid_queues_that_are_long_unless_told_not_to() {
    for adaptive in [true, false] {
        let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, adaptive, ..config() }, 3);
        rig.lead([Some(1); 3]);
        for partition in [1, 1, 1, 1, 1, 1, 1, 1] {
            rig.append(partition, 900).unwrap();
        }
        let mut chosen = [0; 3];
        let sticky = Sticky::new(5);
        for _ in 0..3000 {
            chosen[rig.accumulator.choose(&rig.topic, &sticky) as usize] += 1;
        }
        match adaptive {
            true => assert!((100..250).contains(&chosen[1]), "1 of 19: {chosen:?}"),
            false => assert!((900..1100).contains(&chosen[1]), "{chosen:?}"),
        }
        drop(rig.take());
        chosen = [0; 3];
        rig.accumulator.flush();
        drop(rig.take());
        for _ in 0..3000 {
            chosen[rig.accumulator.choose(&rig.topic, &sticky) as usize] += 1;
        }
        assert!(chosen.iter().all(|times| (900..1100).contains(times)), "what was taken counts no more: {chosen:?}");
    }
}

/// `partitioner.availability.timeout.ms`: of all the partitions of a broker, not only of those where something waits.
#[test]
fn a_broker_that_takes_nothing_for_too_long_is_left_out_until_it_takes_something() {
    let timeout = Duration::from_millis(100);
    let rig = Rig::new(AccumulatorConfig { availability_timeout: timeout, adaptive: false, ..config() }, 4);
    rig.lead([Some(1), Some(2), Some(1), Some(2)]);
    let sticky = Sticky::new(5);
    let chosen = || {
        let mut chosen: Vec<u32> = (0..100).map(|_| rig.accumulator.choose(&rig.topic, &sticky)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    };
    rig.append(0, 900).unwrap();
    rig.append(0, 900).unwrap(); // the first is full
    rig.clock.advance(100);
    assert_eq!(chosen(), [0, 1, 2, 3]);
    rig.clock.advance(1);
    assert_eq!(chosen(), [1, 3]);
    rig.lead([Some(3), Some(2), Some(1), Some(2)]);
    assert_eq!(chosen(), [0, 1, 2, 3], "it waits for another now, and that has not been given its time");
    rig.clock.advance(101);
    assert_eq!(chosen(), [1, 2, 3]);
    rig.accumulator.flush();
    assert_eq!(rig.take().len(), 2);
    assert_eq!(chosen(), [0, 1, 2, 3]);
}

#[test]
fn records_without_a_key_avoid_partitions_without_a_leader_and_keys_never_move() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, ..config() }, 4);
    rig.lead([None, Some(1), None, Some(1)]);
    let sticky = Sticky::new(3);
    for _ in 0..70 {
        rig.append_with(Target::Partitioner(&sticky), 120).unwrap();
    }
    rig.accumulator.flush();
    assert!(rig.take().iter().all(|batch| [1, 3].contains(&batch.partition)));
    for key in [&b""[..], b"a", b"b", b"visitor-7", b"x"] {
        assert_eq!(rig.append_key(key).partition() as u32, (murmur2(key) & 0x7fff_ffff) % 4);
    }
}

/// A partition that was hashed over the old number must not be used once the new one is known.
#[test]
fn a_key_follows_the_number_of_partitions_that_is_known_when_it_is_appended() {
    /// Grows the topic when it is asked for the first time, between the hash and the lock.
    #[derive(Debug, Default)]
    struct Grows(std::sync::OnceLock<(Arc<RecordAccumulator>, Mutex<Vec<u32>>)>);
    impl Partitioner for Arc<Grows> {
        fn partition(&self, record: &RecordToPlace<'_>) -> Option<u32> {
            let (accumulator, asked) = self.0.get().unwrap();
            lock(asked).push(record.partitions);
            accumulator.add_topic(record.topic, TopicId::ZERO, 8);
            Some(record.partitions - 1)
        }
    }
    let grows = Arc::new(Grows::default());
    let config = AccumulatorConfig { partitioning: grows.clone().into(), ..config() };
    let accumulator = Arc::new(RecordAccumulator::new(config, ManualClock::new()));
    let topic = accumulator.add_topic("clicks", TopicId::ZERO, 4);
    grows.0.set((accumulator.clone(), Mutex::default())).unwrap();
    let (sticky, record) = (Sticky::new(3), value(b"x"));
    let target = Target::Partitioner(&sticky);
    let ticket = accumulator.try_append(&topic, target, &record, None, &mut None).unwrap().unwrap();
    assert_eq!((ticket.partition(), &*lock(&grows.0.get().unwrap().1)), (7, &vec![4, 8]));
}

#[test]
fn a_partitioner_of_the_applications_sees_the_record_and_may_leave_it_open_or_be_wrong() {
    #[derive(Debug)]
    struct ByValue;
    impl Partitioner for ByValue {
        fn partition(&self, record: &RecordToPlace<'_>) -> Option<u32> {
            assert_eq!((record.topic, record.partitions, record.available), ("clicks", 4, &[1, 3][..]));
            match (record.key, record.value?) {
                (None, []) => None,
                (_, value) => Some(value.len() as u32),
            }
        }
    }
    let rig = Rig::new(AccumulatorConfig { partitioning: ByValue.into(), ..config() }, 4);
    rig.lead([None, Some(1), None, Some(1)]);
    let sticky = Sticky::new(3);
    let target = Target::Partitioner(&sticky);
    assert_eq!(rig.append_with(target, 2).unwrap().partition(), 2, "whether it has a leader or not");
    assert!([1, 3].contains(&rig.append_with(target, 0).unwrap().partition()));
    assert_eq!(rig.append_with(Target::Partition(0), 2).unwrap().partition(), 0, "nobody asks");
    let refused = rig.accumulator.try_append(&rig.topic, target, &value(b"four"), None, &mut None).unwrap_err();
    assert_eq!((refused.kind(), refused.delivery_certainty()), (ErrorKind::InvalidArgument, Some(Certainty::NotSent)));
}
