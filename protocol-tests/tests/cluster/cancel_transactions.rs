//! Cancel safety of transactions: every future of a transactional producer is polled n times and then dropped, n = 0, 1, 2, …
//! to its end. What a dropped future was about happens whole or not at all, the next transaction works, nothing stays
//! open, and no task is left.

use crate::cancel::{Cut, cut_everywhere, on_paused_time};
use crate::transactions::{ID, SECOND, VERSIONS, client, commit, committed, config, offsets, send, written};
use milena::broker::TestCluster;
use milena::client::Client;
use milena::ids::ConsumerGroupMetadata;
use milena::producer::{ProducerConfig, Purge, TransactionalProducer};
use std::future::Future;
use std::pin::Pin;

/// What of the transaction that was cut a reader may see.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Nothing,
    Everything,
    /// All or nothing.
    Either,
}

type Cutting<'a> = Pin<Box<dyn Future<Output = (bool, Seen)> + 'a>>;

/// Does something with a producer, cut somewhere: whether it came to its end, and what may be seen of values 10 to 13.
type Row = fn(&mut TransactionalProducer, Cut) -> Cutting<'_>;

const ROWS: &[(&str, Row)] = &[
    ("begin", |producer, cut| Box::pin(async move { (cut.off(producer.begin()).await.is_some(), Seen::Nothing) })),
    ("begin behind an abort that is under way", |producer, cut| {
        Box::pin(async move {
            let transaction = written(producer, 10).await;
            drop(transaction);
            (cut.off(producer.begin()).await.is_some(), Seen::Nothing)
        })
    }),
    ("Transaction::send_offsets", |producer, cut| {
        Box::pin(async move {
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 10).await.into_iter().for_each(drop);
            let group = ConsumerGroupMetadata::standalone("g");
            let ended = cut.off(transaction.send_offsets(offsets(5), group)).await.is_some();
            transaction.commit().await.unwrap();
            (ended, Seen::Everything)
        })
    }),
    ("Transaction::purge", |producer, cut| {
        Box::pin(async move {
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 10).await.into_iter().for_each(drop);
            let ended = cut.off(transaction.purge(Purge::All)).await.is_some();
            // What has lost records must not be committed; never polled, nothing was purged.
            let committed = transaction.commit().await.is_ok();
            assert_eq!(committed, cut.polls == 0);
            (ended, if committed { Seen::Everything } else { Seen::Nothing })
        })
    }),
    ("Transaction::flush", |producer, cut| {
        Box::pin(async move {
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 10).await.into_iter().for_each(drop);
            let ended = cut.off(transaction.flush(SECOND)).await.is_some();
            transaction.commit().await.unwrap();
            (ended, Seen::Everything)
        })
    }),
    ("Transaction::commit", |producer, cut| {
        Box::pin(async move {
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 10).await.into_iter().for_each(drop);
            // Never polled it is a transaction that is dropped; from then on the task commits.
            let seen = if cut.polls == 0 { Seen::Nothing } else { Seen::Everything };
            let ended = cut.off(transaction.commit()).await;
            (ended.inspect(|outcome| assert!(outcome.is_ok(), "{outcome:?}")).is_some(), seen)
        })
    }),
    ("Transaction::abort", |producer, cut| {
        Box::pin(async move {
            let transaction = written(producer, 10).await;
            let ended = cut.off(transaction.abort()).await;
            (ended.inspect(|outcome| assert!(outcome.is_ok(), "{outcome:?}")).is_some(), Seen::Nothing)
        })
    }),
];

async fn stage(version: i16) -> (TestCluster, Client) {
    let builder = TestCluster::builder().topic("clicks", 4).transaction_version(version);
    let cluster = builder.in_memory().start().await.unwrap();
    let client = client(&cluster);
    (cluster, client)
}

/// The producer goes on, and nothing is left.
async fn ends_well(cluster: &TestCluster, client: Client, mut producer: TransactionalProducer, seen: Seen) {
    commit(&mut producer, 20).await;
    let all = committed(cluster).await;
    let whole = all.starts_with(&[10, 11, 12, 13]);
    let rest = if whole { &all[4..] } else { &all[..] };
    assert_eq!(rest, [20, 21, 22, 23], "all of a transaction or nothing: {all:?}");
    assert!(seen == Seen::Either || whole == (seen == Seen::Everything), "{seen:?}: {all:?}");
    assert_eq!(producer.free_memory(), 32 << 20);
    producer.close(5 * SECOND).await.unwrap();
    client.close().await;
    assert_eq!(client.live_tasks(), 0);
}

#[test]
fn a_transactional_future_that_is_dropped_after_any_poll_leaves_all_or_nothing_and_nobody_stuck() {
    for version in VERSIONS {
        for (name, row) in ROWS {
            cut_everywhere(&format!("{name} in version {version}"), |cut| {
                on_paused_time(async {
                    let (cluster, client) = stage(version).await;
                    let mut producer = client.transactional_producer(ID, config()).await.unwrap();
                    let (ended, seen) = row(&mut producer, cut).await;
                    ends_well(&cluster, client, producer, seen).await;
                    ended
                })
            });
        }
    }
}

#[test]
fn the_making_of_a_transactional_producer_can_be_dropped_after_any_poll() {
    for version in VERSIONS {
        cut_everywhere("Client::transactional_producer", |cut| {
            on_paused_time(async {
                let (cluster, client) = stage(version).await;
                let made = cut.off(client.transactional_producer(ID, ProducerConfig::default())).await;
                let ended = made.is_some();
                drop(made);
                let producer = client.transactional_producer(ID, config()).await.unwrap();
                ends_well(&cluster, client, producer, Seen::Nothing).await;
                ended
            })
        });
    }
}

#[test]
fn the_close_of_a_transactional_producer_can_be_dropped_after_any_poll() {
    for version in VERSIONS {
        cut_everywhere("TransactionalProducer::close", |cut| {
            on_paused_time(async {
                let (cluster, client) = stage(version).await;
                let mut producer = client.transactional_producer(ID, config()).await.unwrap();
                let transaction = written(&mut producer, 10).await;
                drop(transaction);
                let ended = cut.off(producer.close(5 * SECOND)).await;
                let ended = ended.inspect(|outcome| assert!(outcome.is_ok(), "{outcome:?}")).is_some();
                let producer = client.transactional_producer(ID, config()).await.unwrap();
                ends_well(&cluster, client, producer, Seen::Nothing).await;
                ended
            })
        });
    }
}
