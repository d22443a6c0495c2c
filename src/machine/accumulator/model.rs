//! The accumulator under every order of threads that shuttle comes up with: append, detach, seal, drain, expire, flush and
//! wake. Virtual time sees no data race, and a stress test sees one in a million runs.
//!
//! Checked: nobody sleeps for ever (shuttle reports a deadlock), each record is in exactly one batch, the order of a
//! partition is that of its appends, every ticket has the answer of its batch, and all memory comes back.

use super::tests::{ManualClock, config, value};
use super::*;
use crate::ids::ProducerIdAndEpoch;
use crate::machine::batch::{Acknowledged, Settled, Ticket};
use crate::record::DEFAULT_DECOMPRESSED_LIMIT;
use crate::record::compression::Decompressor;
use crate::record::decode::open;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use std::future::poll_fn;
use std::task::Poll;

const RUNS: usize = 2000;
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    accumulator: Arc<RecordAccumulator>,
    topic: Arc<TopicQueues>,
    clock: Arc<ManualClock>,
    /// What the sender has taken, in its order: partition, who wrote it and as which one.
    taken: Mutex<Vec<(u32, u8, u8)>>,
    /// Whether the sender drops now and then what it has not taken.
    purges: bool,
}

struct Threads;

impl Offload for Threads {
    fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        drop(thread::spawn(work));
    }

    fn threads(&self) -> usize {
        2
    }
}

impl World {
    fn new(config: AccumulatorConfig) -> Arc<Self> {
        Self::with(config, false)
    }

    /// In every other run a batch of 100 bytes takes long to compress, and helpers do it.
    fn with(config: AccumulatorConfig, purges: bool) -> Arc<Self> {
        let clock = ManualClock::new();
        let long = if thread_rng().gen_bool(0.5) { 100 } else { usize::MAX };
        let accumulator = RecordAccumulator::with_helpers(config, clock.clone(), Arc::new(Threads), long);
        let topic = accumulator.add_topic("clicks", TopicId::ZERO, 2);
        Arc::new(Self { accumulator, topic, clock, taken: Mutex::default(), purges })
    }

    /// Appends as `Producer::send` does.
    fn append(&self, target: Target<'_>, bytes: &[u8]) -> Ticket {
        let record = value(bytes);
        let mut paid = None;
        loop {
            match self.accumulator.try_append(&self.topic, target, &record, paid.take(), &mut None).unwrap() {
                Some(ticket) => return ticket,
                None => {
                    let need = self.accumulator.needs(&record).unwrap();
                    paid = Some(block_on(self.accumulator.reserve(need)).unwrap());
                }
            }
        }
    }

    /// A writer of `n` records: two at a partition of their own choice, then two wherever.
    fn write(self: &Arc<Self>, who: u8, n: u8) -> thread::JoinHandle<Vec<Ticket>> {
        let world = self.clone();
        thread::spawn(move || {
            let sticky = Sticky::new(who.into());
            let target = |i: u8| match i % 4 {
                0 | 1 => Target::Partition(u32::from(who) % 2),
                _ => Target::Partitioner(&sticky),
            };
            (0..n).map(|i| world.append(target(i), &[&[who, i], &[0; 60][..]].concat())).collect()
        })
    }

    /// A sender with the manners of the real one: without room it asks again by itself, partitions that linger are looked
    /// at again when readiness has widened, and what is late fails.
    fn send(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            let (mut linger, mut before) = (Vec::new(), None);
            block_on(poll_fn(move |cx| {
                loop {
                    if world.purges && thread_rng().gen_bool(0.2) {
                        world.purge();
                    }
                    let (mut ready, room) = (Vec::new(), thread_rng().gen_bool(0.7));
                    let accumulator = &world.accumulator;
                    let collected = accumulator.collect(world.clock.now(), cx.waker(), room, &mut ready);
                    if collected.readiness.is_wider(before) {
                        ready.append(&mut linger);
                    }
                    before = Some(collected.readiness);
                    let mut any = false;
                    for (topic, partition) in ready {
                        any |= world.take(&topic, partition, collected.readiness, &mut linger);
                    }
                    match any {
                        true => {}
                        false if collected.abandoned => return Poll::Ready(()),
                        false if room => return Poll::Pending,
                        false => thread::yield_now(),
                    }
                }
            }));
        })
    }

    fn take(
        &self,
        topic: &Arc<TopicQueues>,
        partition: u32,
        readiness: Readiness,
        linger: &mut Vec<(Arc<TopicQueues>, u32)>,
    ) -> bool {
        let mut any = false;
        loop {
            let late = thread_rng().gen_bool(0.1);
            let expired =
                if late { self.accumulator.take_expired(topic, partition, readiness.now() + 2 * HOUR) } else { None };
            let batch = match expired {
                Some(batch) => batch,
                None => match self.accumulator.drain(topic, partition, readiness) {
                    Drained::Batch(batch) => batch,
                    Drained::Lingers(_) => {
                        linger.push((topic.clone(), partition));
                        return any;
                    }
                    Drained::Nothing => return any,
                },
            };
            any = true;
            self.finish(batch);
        }
    }

    fn finish(&self, mut batch: ProducerBatch) {
        let bytes = batch.body().to_batch(ProducerIdAndEpoch::NONE, -1, false);
        let mut scratch = Decompressor::default();
        let mut taken = lock(&self.taken);
        for record in open(&bytes, &mut scratch, DEFAULT_DECOMPRESSED_LIMIT).unwrap() {
            let written = record.unwrap().value.unwrap();
            taken.push((batch.partition, written[0], written[1]));
        }
        drop(taken);
        batch.settle(Settled::Written(Acknowledged { base_offset: Some(0), log_append_time: None }));
        self.accumulator.on_settled(batch.id);
        self.accumulator.release(batch);
    }

    fn purge(&self) {
        let purged = Error::new(ErrorKind::Purged);
        for mut batch in self.accumulator.take_all(&purged).0 {
            batch.settle(Settled::Failed(purged.clone()));
            self.accumulator.on_settled(batch.id);
            self.accumulator.release(batch);
        }
    }

    /// Each of the records once, those of a writer to a partition in their order.
    fn check(&self, writers: u8, n: u8) {
        let taken = lock(&self.taken);
        let mut all: Vec<(u8, u8)> = taken.iter().map(|(_, who, i)| (*who, *i)).collect();
        all.sort_unstable();
        let expected: Vec<_> = (0..writers).flat_map(|who| (0..n).map(move |i| (who, i))).collect();
        assert_eq!(all, expected, "lost or doubled");
        drop(taken);
        self.check_order();
    }

    fn check_order(&self) {
        let taken = lock(&self.taken);
        for (partition, who) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let own = taken.iter().filter(|taken| (taken.0, taken.1) == (partition, who)).map(|taken| taken.2);
            assert!(own.is_sorted(), "partition {partition} is out of order: {taken:?}");
        }
    }
}

fn everywhere(model: fn()) {
    shuttle::check_random(model, RUNS);
    shuttle::check_pct(model, RUNS, 3);
}

fn tight() -> AccumulatorConfig {
    // Two records fill a batch, and there is memory for three.
    AccumulatorConfig { batch_size: 200, buffer_memory: 600, linger: HOUR, delivery_timeout: HOUR, ..config() }
}

#[test]
fn nothing_is_lost_doubled_or_reordered_and_nobody_sleeps_for_ever() {
    everywhere(|| {
        let world = World::new(tight());
        let sender = world.send();
        let writers = [world.write(0, 6), world.write(1, 6)];
        let tickets: Vec<Ticket> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        let until = world.accumulator.flush();
        block_on(world.accumulator.flushed(until));
        assert!(tickets.iter().all(|ticket| matches!(ticket.result(), Some(Ok(_)))));
        world.check(2, 6);
        world.accumulator.abandon();
        sender.join().unwrap();
        assert_eq!(world.accumulator.free_memory(), 600);
    });
}

#[test]
fn what_is_purged_in_the_middle_is_told_so_and_the_rest_is_written_once_and_in_order() {
    everywhere(|| {
        let world = World::with(tight(), true);
        let sender = world.send();
        let writers = [world.write(0, 6), world.write(1, 6)];
        let tickets: Vec<Ticket> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        block_on(world.accumulator.flushed(world.accumulator.flush()));
        let told: Vec<_> = tickets.iter().map(|ticket| ticket.result().expect("answered")).collect();
        assert!(told.iter().flatten().count() == lock(&world.taken).len(), "written, and told so");
        assert!(told.iter().filter_map(|told| told.as_ref().err()).all(|error| error.kind() == ErrorKind::Purged));
        world.check_order();
        world.accumulator.abandon();
        sender.join().unwrap();
        assert_eq!(world.accumulator.free_memory(), 600);
    });
}

#[test]
fn a_close_in_the_middle_answers_every_record_that_was_taken() {
    everywhere(|| {
        let world = World::new(tight());
        let sender = world.send();
        let closer = {
            let world = world.clone();
            thread::spawn(move || world.accumulator.close())
        };
        let mut tickets = Vec::new();
        for i in 0..6 {
            let record = [[0, i], [0; 2]].concat();
            let target = Target::Partition(u32::from(i % 2));
            match world.accumulator.try_append(&world.topic, target, &value(&record), None, &mut None) {
                Ok(ticket) => tickets.extend(ticket),
                Err(error) => assert!(error.is_closed()),
            }
        }
        closer.join().unwrap();
        block_on(world.accumulator.flushed(world.accumulator.flush()));
        assert!(tickets.iter().all(|ticket| matches!(ticket.result(), Some(Ok(_)))));
        assert_eq!(lock(&world.taken).len(), tickets.len());
        world.accumulator.abandon();
        sender.join().unwrap();
        assert_eq!(world.accumulator.free_memory(), 600);
    });
}

#[test]
fn a_record_awaited_alone_is_sent_without_a_flush() {
    everywhere(|| {
        let world = World::new(AccumulatorConfig { prompt: true, ..tight() });
        let sender = world.send();
        for i in 0..3 {
            let ticket = world.append(Target::Partition(i % 2), &[0, i as u8]);
            block_on(poll_fn(|cx| ticket.poll(cx))).unwrap();
        }
        world.check(1, 3);
        world.accumulator.abandon();
        sender.join().unwrap();
    });
}
