//! Batches that are compressed outside of their partition's lock, by whoever found them full or by others.

use super::*;

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
    /// Whether these had their outcome when it was woken last.
    struct Sender(Arc<RecordAccumulator>, u64, std::sync::atomic::AtomicBool);
    impl std::task::Wake for Sender {
        fn wake(self: Arc<Self>) {
            let done = self.0.unfinished_records(self.1) == 0;
            self.2.store(done, std::sync::atomic::Ordering::Relaxed);
            // As a sender does: it looks, and waits again.
            #[allow(clippy::disallowed_methods, reason = "whenever that is")]
            self.0.collect(Instant::now(), &self.clone().into(), true, &mut Vec::new());
        }
    }
    // By the transaction's end, or since it can't be compressed; the sender knows of the partition.
    for (is_dropped, level, batches) in [(true, None, 2), (false, Some(10), 1)] {
        let (rig, later) = Rig::with_offload(AccumulatorConfig { level, ..large(Compression::Gzip) }, 1);
        let sender = Arc::new(Sender(rig.accumulator.clone(), batches, false.into()));
        rig.append(0, 1_000_000).unwrap();
        rig.append(0, 100_000).unwrap(); // the first is full
        if is_dropped {
            let (failed, sealing) = rig.accumulator.take_all(&Error::new(ErrorKind::Aborted));
            assert_eq!((failed.len(), sealing), (1, 1));
            failed.into_iter().for_each(|batch| rig.finish(batch));
        }
        lock(&rig.topic.partition(0).unwrap().state).announced |= !is_dropped;
        rig.accumulator.collect(rig.clock.now(), &sender.clone().into(), true, &mut Vec::new());
        later.run_one();
        assert!(sender.2.load(std::sync::atomic::Ordering::Relaxed), "{level:?}");
    }
}
