//! What handles share: their CPU per record must not grow with their number. Time says that badly on a busy machine; the locks
//! that are taken, and that travel from hand to hand, say it exactly. Handles take turns by the record here, which no
//! scheduler does: the worst case. What only a clock shows is in `cargo bench --bench accumulator`.

use super::*;
use crate::machine::sync::counted::{Counts, become_hand, take_counts};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

const RECORDS: usize = 20_000;
const PARTITIONS: usize = 64;
const SENDER: u32 = 0;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Cost {
    batches: usize,
    woken: usize,
    locks: Counts,
}

/// So many handles append in turns, and a sender takes what is ready.
fn side_by_side(handles: u32) -> Cost {
    let config = AccumulatorConfig { batch_size: 16_384, buffer_memory: 32 << 20, prompt: true, ..config() };
    let rig = Rig::new(AccumulatorConfig { linger: Duration::from_secs(60), ..config }, PARTITIONS);
    rig.lead([Some(1); PARTITIONS]);
    let stickies: Vec<Sticky> = (0..handles).map(|seed| Sticky::new(seed.into())).collect();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let (mut batches, mut seen, mut ready) = (0, usize::MAX, Vec::new());
    take_counts();
    for i in 0..RECORDS {
        let hand = i as u32 % handles;
        become_hand(hand + 1);
        let sticky = &stickies[hand as usize];
        rig.append_with(Target::Partitioner(sticky), 100).unwrap();
        if woken.0.load(Ordering::Relaxed) == seen && i > 0 {
            continue;
        }
        seen = woken.0.load(Ordering::Relaxed);
        become_hand(SENDER);
        let collected = rig.accumulator.collect(rig.clock.now(), &waker, true, &mut ready);
        for (topic, partition) in ready.drain(..) {
            while let Drained::Batch(batch) = rig.accumulator.drain(&topic, partition, collected.readiness) {
                rig.finish(batch);
                batches += 1;
            }
        }
    }
    Cost { batches, woken: woken.0.load(Ordering::Relaxed), locks: take_counts() }
}

#[test]
fn a_record_takes_one_lock_and_that_of_a_partition_which_hardly_another_handle_has_chosen() {
    for handles in [1, 4, 16] {
        let Cost { batches, woken, locks: Counts { taken, travelled } } = side_by_side(handles);
        let counts =
            format!("{handles} handles: {batches} batches, {woken} times woken, {taken} locks, {travelled} travelled");
        assert!(taken <= RECORDS + 18 * batches, "a lock a record, and some a batch: {counts}");
        let met = RECORDS * (handles as usize - 1) / PARTITIONS;
        assert!(travelled <= 10 * batches + met * 3 / 2, "as often as two meet by chance: {counts}");
        assert!(woken <= batches + 1, "the sender is woken by the batch: {counts}");
    }
}
