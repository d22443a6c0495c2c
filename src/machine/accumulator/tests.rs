//! The accumulator by itself: what is ready when, what memory does, where records go. Time is moved by hand.

#[cfg(not(shuttle))]
mod sharing;

use super::*;
use crate::machine::batch::{Acknowledged, Settled, Ticket};
use crate::machine::partitioner::{Partitioner, RecordToPlace, murmur2};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

/// A clock that the test moves.
pub(crate) struct ManualClock {
    start: Instant,
    elapsed: std::sync::Mutex<Duration>, // not of those that are counted
}

impl ManualClock {
    #[allow(clippy::disallowed_methods, reason = "a test's start of time")]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), elapsed: Default::default() })
    }

    pub(crate) fn advance(&self, millis: u64) {
        *self.elapsed.lock().unwrap() += Duration::from_millis(millis);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + *self.elapsed.lock().unwrap()
    }

    fn unix_millis(&self) -> i64 {
        1_700_000_000_000 + self.elapsed.lock().unwrap().as_millis() as i64
    }
}

pub(crate) fn config() -> AccumulatorConfig {
    AccumulatorConfig {
        batch_size: 1000,
        buffer_memory: 10_000,
        linger: Duration::from_millis(5),
        prompt: false,
        delivery_timeout: Duration::from_secs(120),
        max_request_size: 1 << 20,
        compression: Compression::None,
        level: None,
        partitioning: Partitioning::default(),
        adaptive: true,
        availability_timeout: Duration::ZERO,
    }
}

pub(crate) fn value(bytes: &[u8]) -> NewRecord<'_> {
    NewRecord { key: None, value: Some(bytes), headers: &[], timestamp: None, sent_at: None }
}

/// Detaches a full batch as `try_append` does it; what is returned is the other half, compression.
pub(crate) fn detach<'a>(
    accumulator: &'a RecordAccumulator,
    topic: &'a Arc<TopicQueues>,
    partition: u32,
) -> impl FnOnce() + use<'a> {
    let detached = lock(&topic.partition(partition).unwrap().state).detach(|| accumulator.clock.now());
    move || accumulator.seal(topic, partition, detached)
}

/// Does what it is given when the test says so, two of it at a time at most.
#[derive(Default)]
pub(crate) struct Later(Mutex<VecDeque<Box<dyn FnOnce() + Send>>>);

impl Later {
    fn given(&self) -> usize {
        lock(&self.0).len()
    }

    fn run_one(&self) {
        let work = lock(&self.0).pop_front().expect("there is work");
        work();
    }
}

impl Offload for Later {
    fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        lock(&self.0).push_back(work);
    }

    fn threads(&self) -> usize {
        2
    }
}

struct Rig {
    clock: Arc<ManualClock>,
    accumulator: Arc<RecordAccumulator>,
    topic: Arc<TopicQueues>,
}

impl Rig {
    fn new(config: AccumulatorConfig, partitions: usize) -> Self {
        let clock = ManualClock::new();
        Self::of(Arc::new(RecordAccumulator::new(config, clock.clone())), clock, partitions)
    }

    /// With somebody else to compress what takes long.
    fn with_offload(config: AccumulatorConfig, partitions: usize) -> (Self, Arc<Later>) {
        let (clock, later) = (ManualClock::new(), Arc::new(Later::default()));
        let accumulator = RecordAccumulator::with_offload(config, clock.clone(), later.clone());
        (Self::of(accumulator, clock, partitions), later)
    }

    fn of(accumulator: Arc<RecordAccumulator>, clock: Arc<ManualClock>, partitions: usize) -> Self {
        let topic = accumulator.add_topic("clicks", partitions);
        Self { clock, accumulator, topic }
    }

    fn append(&self, partition: u32, bytes: usize) -> Option<Ticket> {
        self.append_with(Target::Partition(partition), bytes)
    }

    fn append_with(&self, target: Target<'_>, bytes: usize) -> Option<Ticket> {
        self.accumulator.try_append(&self.topic, target, &value(&vec![7; bytes]), None, &mut None).unwrap()
    }

    /// Tells the leaders of the partitions, by node id.
    fn lead<const N: usize>(&self, leaders: [Option<i32>; N]) {
        self.accumulator.set_leaders(&self.topic, leaders.into_iter().map(|leader| leader.map(NodeId)));
    }

    fn append_key(&self, key: &[u8]) -> Ticket {
        let (sticky, record) = (Sticky::new(3), NewRecord { key: Some(key), ..value(b"") });
        let target = Target::Partitioner(&sticky);
        self.accumulator.try_append(&self.topic, target, &record, None, &mut None).unwrap().unwrap()
    }

    /// What the sender would find: everything ready, taken.
    fn take(&self) -> Vec<ProducerBatch> {
        let mut ready = Vec::new();
        let collected = self.accumulator.collect(self.clock.now(), Waker::noop(), true, &mut ready);
        let mut batches = Vec::new();
        for (topic, partition) in ready {
            while let Drained::Batch(batch) = self.accumulator.drain(&topic, partition, collected.readiness) {
                batches.push(batch);
            }
        }
        batches
    }

    fn finish(&self, mut batch: ProducerBatch) {
        batch.settle(Settled::Failed(Error::new(ErrorKind::Closed)));
        self.accumulator.on_settled(batch.id);
        self.accumulator.release(batch);
    }
}

#[test]
fn linger_counts_from_the_first_record_and_later_ones_do_not_restart_it() {
    let rig = Rig::new(config(), 1);
    for _ in 0..5 {
        rig.append(0, 10).unwrap();
        assert!(rig.take().is_empty());
        rig.clock.advance(1);
    }
    let batches = rig.take();
    assert_eq!(batches.iter().map(ProducerBatch::record_count).collect::<Vec<_>>(), [5]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let rig = Rig::new(config(), 1);
    for _ in 0..10 {
        rig.append(0, 120).unwrap();
    }
    let batches = rig.take();
    assert_eq!(batches.len(), 1, "and the record that did not fit lingers");
    assert!(batches[0].body().size() <= 1000 && batches[0].record_count() == 7);
}

#[test]
fn flush_overrides_linger_for_what_was_appended_before_it() {
    let rig = Rig::new(config(), 2);
    rig.append(0, 10).unwrap();
    let until = rig.accumulator.flush();
    rig.append(1, 10).unwrap();
    let batches = rig.take();
    assert_eq!(batches.iter().map(|batch| batch.partition).collect::<Vec<_>>(), [0]);
    assert_eq!(rig.accumulator.unfinished_records(until), 1);
    let mut flushed = pin!(rig.accumulator.flushed(until));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(flushed.as_mut().poll(&mut cx).is_pending());
    batches.into_iter().for_each(|batch| rig.finish(batch));
    assert!(flushed.as_mut().poll(&mut cx).is_ready());
    assert_eq!(rig.accumulator.unfinished_records(until), 0);
}

#[test]
fn the_sole_unfinished_record_does_not_linger_once_it_is_awaited() {
    let rig = Rig::new(AccumulatorConfig { prompt: true, ..config() }, 2);
    let cx = Context::from_waker(Waker::noop());
    let first = rig.append(0, 10).unwrap();
    assert!(rig.take().is_empty(), "nobody waits");
    assert!(first.poll(&cx).is_pending());
    assert_eq!(rig.take().len(), 1);
    let second = rig.append(0, 10).unwrap();
    let third = rig.append(1, 10).unwrap();
    assert!(second.poll(&cx).is_pending() && third.poll(&cx).is_pending());
    assert!(rig.take().is_empty(), "the first has no outcome yet, and there are two");
    rig.clock.advance(5);
    assert_eq!(rig.take().len(), 2);
}

#[test]
fn an_awaited_record_that_becomes_the_sole_one_or_gets_company_is_noticed() {
    let rig = Rig::new(AccumulatorConfig { prompt: true, ..config() }, 2);
    let cx = Context::from_waker(Waker::noop());
    rig.append(0, 900).unwrap();
    rig.append(0, 900).unwrap(); // the first is full
    let mut full = rig.take();
    let last = rig.append(1, 10).unwrap();
    rig.finish(full.remove(0));
    rig.clock.advance(5);
    let mut lingered = rig.take();
    assert_eq!(lingered.len(), 2);
    let again = rig.append(1, 10).unwrap();
    assert!(again.poll(&cx).is_pending());
    lingered.drain(..).for_each(|batch| rig.finish(batch));
    assert!(last.poll(&cx).is_ready());
    let company = rig.append(1, 10).unwrap();
    assert!(rig.take().is_empty(), "by now it is not alone");
    rig.clock.advance(5);
    rig.take().into_iter().for_each(|batch| rig.finish(batch));
    assert!(again.poll(&cx).is_ready() && company.poll(&cx).is_ready());
    rig.append(0, 900).unwrap();
    rig.append(0, 900).unwrap();
    let waits = rig.append(0, 900).unwrap();
    let mut batches = rig.take();
    assert!(waits.poll(&cx).is_pending() && rig.take().is_empty());
    batches.drain(..).for_each(|batch| rig.finish(batch));
    assert_eq!(rig.take().len(), 1, "it has become the sole one");
}

#[test]
fn memory_comes_back_to_the_byte_whatever_the_batch_was() {
    for (compression, size) in
        [(Compression::None, 10), (Compression::None, 300), (Compression::None, 5000), (Compression::Lz4, 300)]
    {
        let rig = Rig::new(AccumulatorConfig { compression, ..config() }, 3);
        for partition in [0, 1, 2, 0, 1, 2, 0] {
            let _ = rig.append(partition, size);
        }
        let held = 10_000 - rig.accumulator.free_memory();
        assert!(held > 0);
        rig.accumulator.flush();
        let batches = rig.take();
        let sealed: usize = batches.iter().map(ProducerBatch::held).sum();
        assert_eq!(10_000 - rig.accumulator.free_memory(), sealed, "{compression:?} {size}");
        assert!(batches.iter().all(|batch| batch.held() >= batch.body().size()), "what it holds is counted");
        batches.into_iter().for_each(|batch| rig.finish(batch));
        assert_eq!(rig.accumulator.free_memory(), 10_000, "{compression:?} {size}");
    }
}

/// 1.2 KB of compressed bytes in buffers of 16 KB is how memory that is bounded on paper grows to five times its bound.
#[test]
fn memory_is_counted_by_capacity_so_a_nearly_empty_batch_is_copied() {
    let rig = Rig::new(config(), 1);
    rig.append(0, 10).unwrap();
    assert_eq!(rig.accumulator.free_memory(), 9000, "an open batch holds a whole one");
    rig.accumulator.flush();
    let batch = rig.take().remove(0);
    assert!(batch.held() < 100, "{}", batch.held());
}

#[test]
fn try_append_says_that_memory_is_full_and_takes_nothing() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 2000, ..config() }, 3);
    assert!(rig.append(0, 10).is_some() && rig.append(1, 10).is_some());
    assert!(rig.append(2, 10).is_none());
    assert!(rig.append(0, 10).is_some(), "an open batch has room");
    assert_eq!(rig.accumulator.unfinished_records(u64::MAX), 3);
}

#[test]
fn those_who_wait_for_memory_are_served_in_order_and_not_overtaken() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 2000, ..config() }, 3);
    rig.append(0, 10).unwrap();
    rig.append(1, 10).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (Box::pin(rig.accumulator.reserve(1500)), Box::pin(rig.accumulator.reserve(1000)));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    let mut batches = rig.take();
    rig.finish(batches.remove(0));
    assert!(second.as_mut().poll(&mut cx).is_pending(), "there would be room, but it is not its turn");
    assert!(rig.append(2, 10).is_none(), "nor that of someone who has just come");
    rig.finish(batches.remove(0));
    let Poll::Ready(Ok(permit)) = first.as_mut().poll(&mut cx) else { panic!("it is first's turn") };
    assert!(second.as_mut().poll(&mut cx).is_pending());
    drop(permit);
    assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

#[test]
fn a_dropped_wait_for_memory_has_taken_none() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 1500, ..config() }, 3);
    rig.append(0, 10).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(rig.accumulator.reserve(1000));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(waiting);
    assert_eq!(rig.accumulator.free_memory(), 500);
    assert!(rig.take().is_empty(), "and nobody waits any more");
}

/// Else batches on many partitions hold all memory, linger, and wait for records that can't come.
#[test]
fn while_someone_waits_for_memory_every_open_batch_is_ready() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 3000, linger: Duration::from_secs(3600), ..config() }, 4);
    for partition in 0..3 {
        rig.append(partition, 10).unwrap();
    }
    assert!(rig.take().is_empty());
    let mut waiting = Box::pin(rig.accumulator.reserve(1000));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(rig.take().len(), 3);
}

#[test]
fn a_record_larger_than_a_batch_goes_alone() {
    let rig = Rig::new(config(), 1);
    for size in [10, 3000, 10] {
        rig.append(0, size).unwrap();
    }
    rig.accumulator.flush();
    assert_eq!(rig.take().iter().map(ProducerBatch::record_count).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_record_that_could_never_be_sent_is_refused_at_once() {
    let rig = Rig::new(config(), 1);
    let record = vec![0; 20_000];
    let result = rig.accumulator.try_append(&rig.topic, Target::Partition(0), &value(&record), None, &mut None);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::RecordTooLarge, Some(Certainty::NotSent)));
}

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
            accumulator.add_topic(record.topic, 8);
            Some(record.partitions - 1)
        }
    }
    let grows = Arc::new(Grows::default());
    let config = AccumulatorConfig { partitioning: grows.clone().into(), ..config() };
    let accumulator = Arc::new(RecordAccumulator::new(config, ManualClock::new()));
    let topic = accumulator.add_topic("clicks", 4);
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

#[test]
fn a_topic_may_grow_and_what_is_queued_stays() {
    let rig = Rig::new(config(), 1);
    rig.append(0, 10).unwrap();
    let same = rig.accumulator.add_topic("clicks", 1000);
    assert!(Arc::ptr_eq(&same, &rig.topic));
    assert_eq!(rig.topic.partition_count(), 1000);
    rig.append(999, 10).unwrap();
    let indexes: std::collections::HashSet<usize> =
        (0..1000).map(|partition| rig.topic.partition(partition).unwrap().index).collect();
    assert_eq!(indexes.len(), 1000);
    rig.accumulator.flush();
    assert_eq!(rig.take().iter().map(|batch| batch.partition).collect::<Vec<_>>(), [0, 999]);
}

#[test]
fn a_batch_that_is_being_compressed_keeps_its_place() {
    let rig = Rig::new(AccumulatorConfig { compression: Compression::Lz4, ..config() }, 1);
    rig.append(0, 10).unwrap();
    let first = detach(&rig.accumulator, &rig.topic, 0);
    rig.append(0, 10).unwrap();
    let second = detach(&rig.accumulator, &rig.topic, 0);
    second();
    assert!(rig.take().is_empty(), "nothing overtakes");
    first();
    assert_eq!(rig.take().iter().map(|batch| batch.id).collect::<Vec<_>>(), [0, 1]);
}

fn large(compression: Compression) -> AccumulatorConfig {
    AccumulatorConfig { compression, batch_size: 1 << 20, buffer_memory: 32 << 20, ..config() }
}

#[test]
fn what_takes_long_to_compress_is_compressed_elsewhere_and_nothing_overtakes_it() {
    let (rig, later) = Rig::with_offload(large(Compression::Gzip), 1);
    let first = rig.append(0, 1_000_000).unwrap();
    rig.append(0, 100_000).unwrap(); // the first is full
    assert_eq!(later.given(), 1);
    let until = rig.accumulator.flush();
    assert!(rig.take().is_empty(), "nothing of the partition goes before it");
    assert_eq!((later.given(), rig.accumulator.unfinished_records(until)), (1, 2));
    later.run_one();
    let mut batches = rig.take();
    assert_eq!((batches.len(), later.given()), (1, 1), "and now the second, which lingers no more");
    rig.append(0, 10).unwrap();
    rig.clock.advance(5);
    assert!(rig.take().is_empty(), "not even what is sealed at once");
    later.run_one();
    batches.extend(rig.take());
    assert_eq!(batches.iter().map(|batch| batch.id).collect::<Vec<_>>(), [0, 1, 2]);
    batches.into_iter().for_each(|batch| rig.finish(batch));
    assert!(first.result().is_some());
    assert_eq!(rig.accumulator.free_memory(), 32 << 20);
}

#[test]
fn there_are_as_many_who_compress_as_threads_and_none_comes_when_nothing_takes_long() {
    let (rig, later) = Rig::with_offload(large(Compression::Zstd), 5);
    for partition in 0..5 {
        rig.append(partition, 900_000).unwrap();
    }
    rig.accumulator.flush();
    assert!(rig.take().is_empty());
    assert_eq!(later.given(), 2);
    later.run_one();
    let batches = rig.take();
    assert_eq!(batches.len(), 5, "until nothing waits");
    batches.into_iter().for_each(|batch| rig.finish(batch));
    rig.append(0, 900_000).unwrap();
    rig.accumulator.flush();
    rig.take();
    assert_eq!(later.given(), 2, "one is done, one has not begun, and one has come");
    for (compression, bytes) in [(Compression::None, 900_000), (Compression::Lz4, 100_000), (Compression::Gzip, 16_000)]
    {
        let (rig, later) = Rig::with_offload(large(compression), 1);
        rig.append(0, bytes).unwrap();
        rig.accumulator.flush();
        assert_eq!((rig.take().len(), later.given()), (1, 0), "{compression:?}");
    }
}

/// A transaction's end waits until each of its batches has an outcome: nobody told the sender of the last one's.
#[test]
fn a_batch_that_failed_while_it_was_compressed_wakes_the_sender_when_it_has_its_outcome() {
    /// Whether all had their outcome when it was woken last.
    struct Sender(Arc<RecordAccumulator>, std::sync::atomic::AtomicBool);
    impl std::task::Wake for Sender {
        fn wake(self: Arc<Self>) {
            let done = self.0.unfinished_records(2) == 0;
            self.1.store(done, std::sync::atomic::Ordering::Relaxed);
            // As a sender does: it looks, and waits again.
            #[allow(clippy::disallowed_methods, reason = "whenever that is")]
            self.0.collect(Instant::now(), &self.clone().into(), true, &mut Vec::new());
        }
    }
    let (rig, later) = Rig::with_offload(large(Compression::Gzip), 1);
    let sender = Arc::new(Sender(rig.accumulator.clone(), false.into()));
    rig.append(0, 1_000_000).unwrap();
    rig.append(0, 100_000).unwrap(); // the first is full
    let (failed, sealing) = rig.accumulator.take_all(&Error::new(ErrorKind::Aborted));
    assert_eq!((failed.len(), sealing), (1, 1));
    failed.into_iter().for_each(|batch| rig.finish(batch));
    rig.accumulator.collect(rig.clock.now(), &sender.clone().into(), true, &mut Vec::new());
    later.run_one();
    assert!(sender.1.load(std::sync::atomic::Ordering::Relaxed));
}

/// A look at each of 10,000 partitions for every batch would cost a hundred times as much.
#[test]
fn ten_busy_partitions_of_ten_thousand_cost_what_ten_of_ten_do() {
    #[allow(clippy::disallowed_methods, reason = "a figure, not a deadline")]
    let round = |partitions: usize| {
        let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, ..config() }, partitions);
        rig.accumulator.set_leaders(&rig.topic, (0..partitions).map(|_| Some(NodeId(1))));
        let sticky = Sticky::new(3);
        let start = Instant::now();
        for i in 0..3000 {
            rig.append((i % 10 * (partitions / 10)) as u32, 300).unwrap();
            if i % 10 == 0 {
                rig.accumulator.choose(&rig.topic, &sticky);
                rig.take().into_iter().for_each(|batch| rig.finish(batch));
            }
        }
        start.elapsed()
    };
    let best = |partitions| (0..7).map(|_| round(partitions)).min().unwrap();
    let (few, many) = (best(10), best(10_000));
    assert!(many < 5 * few, "{many:?} against {few:?}");
}

/// What `append_many` is given here: a key or not, and a value.
impl ToAppend for (Option<&[u8]>, &[u8]) {
    fn is_for(&self, _topic: &str) -> bool {
        true
    }

    fn partition(&self) -> Option<u32> {
        None
    }

    fn record(&self) -> NewRecord<'_> {
        NewRecord { key: self.0, ..value(self.1) }
    }
}

#[test]
fn many_records_go_where_one_after_another_would_and_every_ticket_is_its_own() {
    let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, ..config() }, 5);
    let sticky = Sticky::new(3);
    let (mut order, mut tickets) = (Order::default(), Tickets::default());
    let keys: Vec<Vec<u8>> = (0..600_u32).map(|i| (i * 7919 % 37).to_be_bytes().to_vec()).collect();
    let mut given = 0;
    for chunk in keys.chunks(50) {
        let chunk: Vec<(Option<&[u8]>, &[u8])> =
            chunk.iter().map(|key| ((key[3] % 3 > 0).then_some(&key[..]), &key[..])).collect();
        order.begin(chunk.len());
        assert_eq!(rig.accumulator.append_many(&rig.topic, &sticky, &chunk, &mut order, &mut tickets), None);
        given += chunk.len();
        assert_eq!(tickets.count(), given);
    }
    assert_eq!(tickets.refused(), 0);
    for (i, key) in keys.iter().enumerate() {
        if key[3] % 3 > 0 {
            assert_eq!(tickets.get(i).unwrap().partition() as u32, (murmur2(key) & 0x7fff_ffff) % 5);
        }
    }
    assert!(tickets.get(600).is_none());
    rig.accumulator.flush();
    let mut taken = rig.take();
    assert_eq!(taken.iter().map(ProducerBatch::record_count).sum::<u32>(), 600);
    for (at, batch) in taken.iter_mut().enumerate() {
        let written = Acknowledged { base_offset: Some(1000 * at as i64), log_append_time: None };
        batch.settle(Settled::Written(written));
    }
    // Offsets tell batch and index: each is somebody's, once.
    let offset = |i: usize| tickets.get(i).unwrap().result().unwrap().unwrap().0.unwrap();
    let mut offsets: Vec<i64> = (0..600).map(offset).collect();
    offsets.sort_unstable();
    let records = |(at, batch): (usize, &ProducerBatch)| {
        (0..batch.record_count()).map(move |i| 1000 * at as i64 + i64::from(i)).collect::<Vec<_>>()
    };
    assert_eq!(offsets, taken.iter().enumerate().flat_map(records).collect::<Vec<_>>());
    let mut cursor = tickets.cursor();
    for i in 0..600 {
        assert_eq!(cursor.ticket().unwrap().result().unwrap().unwrap().0, Some(offset(i)));
        cursor.advance();
    }
    assert!(cursor.ticket().is_none());
}

#[test]
fn closed_means_that_nothing_is_taken_and_what_was_is_ready() {
    let rig = Rig::new(config(), 1);
    rig.append(0, 10).unwrap();
    rig.accumulator.close();
    let result = rig.accumulator.try_append(&rig.topic, Target::Partition(0), &value(b""), None, &mut None);
    assert!(result.unwrap_err().is_closed());
    assert_eq!(rig.take().len(), 1);
    let mut waiting = Box::pin(rig.accumulator.reserve(10));
    assert!(matches!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_))));
}
