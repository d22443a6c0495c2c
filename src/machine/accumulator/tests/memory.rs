//! What `buffer.memory` counts, who waits for it, and what is too large for it.

use super::*;

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
