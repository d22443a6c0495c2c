//! The accumulator by itself: what is ready when, and what a flush waits for. Time is moved by hand.

mod choice;
mod memory;
mod sealing;
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
        let topic = accumulator.add_topic("clicks", TopicId::ZERO, partitions);
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
fn a_topic_may_grow_and_what_is_queued_stays() {
    let rig = Rig::new(config(), 1);
    rig.append(0, 10).unwrap();
    let same = rig.accumulator.add_topic("clicks", TopicId::ZERO, 1000);
    assert!(Arc::ptr_eq(&same, &rig.topic));
    assert_eq!(rig.topic.partition_count(), 1000);
    rig.append(999, 10).unwrap();
    let indexes: std::collections::HashSet<usize> =
        (0..1000).map(|partition| rig.topic.partition(partition).unwrap().index).collect();
    assert_eq!(indexes.len(), 1000);
    rig.accumulator.flush();
    assert_eq!(rig.take().iter().map(|batch| batch.partition).collect::<Vec<_>>(), [0, 999]);
}

/// A look at each of 10,000 partitions for every batch would cost a hundred times as much CPU, whatever else the machine does.
#[test]
fn ten_busy_partitions_of_ten_thousand_cost_what_ten_of_ten_do() {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let round = |partitions: usize| {
        let rig = Rig::new(AccumulatorConfig { buffer_memory: 1 << 20, ..config() }, partitions);
        rig.accumulator.set_leaders(&rig.topic, (0..partitions).map(|_| Some(NodeId(1))));
        let sticky = Sticky::new(3);
        let start = cpu();
        for i in 0..3000 {
            rig.append((i % 10 * (partitions / 10)) as u32, 300).unwrap();
            if i % 10 == 0 {
                rig.accumulator.choose(&rig.topic, &sticky);
                rig.take().into_iter().for_each(|batch| rig.finish(batch));
            }
        }
        cpu() - start
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
