//! `purge`, over whole clients in virtual time: what each record is told, what is written all the same, and that the producer
//! goes on.

use super::producer::{close, cluster, log, send, value};
use super::transactions;
use milena::broker::ApiKey;
use milena::error::{Certainty, Error, ErrorCode, ErrorKind};
use milena::ids::NodeId;
use milena::producer::{Delivery, Producer, ProducerConfig, ProducerRecord, Purge};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MEMORY: usize = 32 << 20;

/// What those dropped were told: all of them at once, the same.
fn told(deliveries: &[Delivery]) -> (ErrorKind, Certainty) {
    let facts = |error: Error| {
        assert!(!error.is_fatal() && error.topic_partition().is_some(), "{error}");
        (error.kind(), error.delivery_certainty().unwrap())
    };
    let mut all: Vec<_> =
        deliveries.iter().map(|delivery| facts(delivery.try_get().expect("answered").unwrap_err())).collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// One more record of partition 0 is written, and nothing is left of what was.
async fn goes_on(producer: &Producer) {
    let after = producer.send(ProducerRecord::new("clicks").value(&value(7000)).partition(0)).await.unwrap();
    assert_eq!(producer.flush(10 * SECOND).await.unwrap(), 0);
    after.await.unwrap();
    assert_eq!(producer.free_memory(), MEMORY);
}

#[tokio::test(start_paused = true)]
async fn purge_fails_what_is_queued_as_not_sent_and_what_is_under_way_is_written() {
    let (cluster, client) = cluster(1, 4).await;
    let producer = client.producer(ProducerConfig::default().linger(60 * SECOND)).unwrap();
    assert_eq!(producer.purge(Purge::All).await, 0);
    cluster.fault(ApiKey::Produce).delay(SECOND);
    let under_way = producer.send(ProducerRecord::new("clicks").value(&value(0)).partition(0)).await.unwrap();
    let flushing = producer.flush(10 * SECOND);
    let purging = async {
        sleep(SECOND / 10).await;
        let queued = send(&producer, 1000, 4).await;
        assert_eq!(producer.purge(Purge::Queued).await, 1000);
        assert_eq!(told(&queued), (ErrorKind::Purged, Certainty::NotSent));
    };
    assert_eq!(tokio::join!(flushing, purging).0.unwrap(), 0);
    under_way.await.unwrap();
    goes_on(&producer).await;
    assert_eq!(cluster.records("clicks").unwrap().len(), 2);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_under_way_is_possibly_sent_and_a_flush_does_not_wait_for_its_answer() {
    let (cluster, client) = cluster(1, 2).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    goes_on(&producer).await;
    cluster.fault(ApiKey::Produce).times(2).delay_answer(SECOND);
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let record = value(1);
    let with_callback = ProducerRecord::new("clicks").value(&record).partition(1);
    producer
        .send_with(with_callback, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .await
        .unwrap();
    let under_way = send(&producer, 100, 2).await;
    sleep(SECOND / 2).await;
    let start = Instant::now();
    assert_eq!(producer.purge(Purge::All).await, 101);
    assert_eq!(told(&under_way), (ErrorKind::Purged, Certainty::PossiblySent));
    assert_eq!((producer.flush(10 * SECOND).await.unwrap(), start.elapsed()), (0, Duration::ZERO));
    assert!(producer.free_memory() < MEMORY, "what may still be read keeps its memory");
    // They are in the log, as it happens; what comes after them stands behind them.
    goes_on(&producer).await;
    assert!(start.elapsed() >= SECOND / 4, "it waits for what is under way to its partition");
    assert_eq!(called.load(Ordering::Relaxed), 1, "and nobody is told twice");
    assert_eq!(told(&under_way), (ErrorKind::Purged, Certainty::PossiblySent));
    let expected: Vec<u32> = [7000].into_iter().chain((0..100).step_by(2)).chain([7000]).collect();
    assert_eq!(log(&cluster, 0), expected);
    close(client, producer).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_again_is_not_sent_again() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    goes_on(&producer).await;
    for (refused, certainty) in [(true, Certainty::NotSent), (false, Certainty::PossiblySent)] {
        match refused {
            true => cluster.fault(ApiKey::Produce).error(ErrorCode::NotEnoughReplicas),
            false => cluster.fault(ApiKey::Produce).apply_then_error(ErrorCode::NotEnoughReplicasAfterAppend),
        }
        let waiting = send(&producer, 3, 1).await;
        sleep(SECOND / 20).await; // it has lingered, was sent and answered, and goes again in 50 ms
        assert_eq!((producer.purge(Purge::InFlight).await, producer.purge(Purge::Queued).await), (0, 3));
        assert_eq!(told(&waiting), (ErrorKind::Purged, certainty));
        cluster.clear_faults();
        goes_on(&producer).await;
    }
    assert_eq!(log(&cluster, 0), [7000, 7000, 0, 1, 2, 7000]);
    close(client, producer).await;
}

/// The first attempt may have been written by a broker that is gone, and the next is under way to nobody.
#[tokio::test(start_paused = true)]
async fn a_purge_lets_go_of_a_broker_that_does_not_answer() {
    let (cluster, client) = cluster(1, 1).await;
    let producer = client.producer(ProducerConfig::default()).unwrap();
    goes_on(&producer).await;
    cluster.pause(NodeId(1));
    let stuck = send(&producer, 10, 1).await;
    sleep(SECOND).await;
    assert_eq!(producer.purge(Purge::All).await, 10);
    assert_eq!(told(&stuck), (ErrorKind::Purged, Certainty::PossiblySent));
    let start = Instant::now();
    let _ = producer.close(SECOND).await;
    assert!(start.elapsed() <= SECOND, "a second for the answers");
    assert_eq!(producer.free_memory(), MEMORY);
}

#[tokio::test(start_paused = true)]
async fn a_purge_in_a_transaction_leaves_nothing_but_to_abort_it() {
    for (version, under_way) in [(1, false), (1, true), (2, false), (2, true)] {
        let (cluster, client) = transactions::cluster(version).await;
        let mut producer = transactions::producer(&client).await;
        transactions::commit(&mut producer, 0).await;
        let transaction = transactions::written(&mut producer, 10).await;
        assert_eq!(transaction.purge(Purge::All).await, 0, "there is nothing to drop");
        let dropped = match under_way {
            true => {
                cluster.fault(ApiKey::Produce).delay_answer(SECOND);
                let dropped = transactions::send(&transaction, 20).await;
                assert_eq!(transaction.flush(SECOND / 2).await.unwrap(), 4);
                dropped
            }
            false => transactions::send(&transaction, 20).await,
        };
        assert_eq!(transaction.purge(Purge::All).await, 4);
        let certainty = if under_way { Certainty::PossiblySent } else { Certainty::NotSent };
        assert_eq!(told(&dropped), (ErrorKind::Purged, certainty));
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_abortable() && error.kind() == ErrorKind::Purged, "{error}");
        cluster.clear_faults();
        transactions::commit(&mut producer, 30).await;
        assert_eq!(transactions::committed(&cluster).await, [0, 1, 2, 3, 30, 31, 32, 33], "version {version}");
        assert_eq!(producer.free_memory(), MEMORY);
    }
}
