//! At least once, with one worker per partition: what a worker has not finished is not committed, so whoever gets the
//! partition reads it again. Runs by itself: `cargo run --example workers --features test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{Consumer, ConsumerConfig, Event, OffsetReset, Records};
use milena::error::Error;
use milena::ids::{OffsetAndMetadata, TopicPartition};
use milena::producer::{ProducerConfig, ProducerRecord};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const RECORDS: usize = 400;
/// Records processed, by all members.
static PROCESSED: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let cluster = TestCluster::builder().topic("clicks", 4).listen("127.0.0.1:0").start().await?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;
    let producer = client.producer(ProducerConfig::default())?;
    for i in 0..RECORDS {
        let (key, value) = (format!("visitor-{i}"), i.to_string());
        drop(producer.send(ProducerRecord::new("clicks").key(&key).value(&value)).await?);
    }
    producer.close(Duration::from_secs(10)).await?;

    // Two members, of whom one leaves in the middle of it.
    tokio::try_join!(member(&client, RECORDS / 4), member(&client, RECORDS))?;
    println!("processed {} of {RECORDS} records", PROCESSED.load(Ordering::Relaxed));
    client.close().await;
    Ok(())
}

/// A member of the group, until so many are processed.
async fn member(client: &Client, enough: usize) -> Result<(), Error> {
    let config = ConsumerConfig::group("dashboards").auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config.enable_auto_commit(false))?;
    consumer.subscribe(["clicks"]).await?;
    let mut workers = Workers::new();
    while PROCESSED.load(Ordering::Relaxed) < enough {
        match consumer.next(Duration::from_millis(100)).await? {
            Some(Event::Records(records)) => records.by_partition().into_iter().for_each(|part| workers.hand_out(part)),
            Some(Event::Revoking(revoked)) => {
                // The group waits, and heartbeats go on: what is in hand is finished and committed first.
                workers.finish(&revoked).await;
                workers.commit(&consumer).await?;
                revoked.done();
            }
            Some(Event::Lost(partitions)) => workers.abort(&partitions), // too late to commit anything
            _ => {}
        }
        workers.commit(&consumer).await?;
    }
    workers.finish(&consumer.assignment()).await;
    workers.commit(&consumer).await?;
    consumer.close(Duration::from_secs(10)).await
}

/// Where to go on behind what was processed.
type Behind = HashMap<TopicPartition, OffsetAndMetadata>;

/// A task for each partition, with a queue of its own, and what they have processed.
struct Workers {
    tasks: HashMap<TopicPartition, (mpsc::UnboundedSender<Records>, JoinHandle<()>)>,
    done: mpsc::UnboundedSender<Behind>,
    to_commit: mpsc::UnboundedReceiver<Behind>,
}

impl Workers {
    fn new() -> Self {
        let (done, to_commit) = mpsc::unbounded_channel();
        Self { tasks: HashMap::new(), done, to_commit }
    }

    /// Records of one partition.
    fn hand_out(&mut self, records: Records) {
        let Some(partition) = records.partitions().pop() else { return };
        let (queue, _) = self.tasks.entry(partition).or_insert_with(|| {
            let (queue, inbox) = mpsc::unbounded_channel();
            (queue, tokio::spawn(work(inbox, self.done.clone())))
        });
        let _ = queue.send(records); // a worker that has panicked commits nothing: its records are read again
    }

    /// Lets the workers of these partitions come to the end of what they have.
    async fn finish(&mut self, partitions: &[TopicPartition]) {
        for (queue, task) in partitions.iter().filter_map(|partition| self.tasks.remove(partition)).collect::<Vec<_>>()
        {
            drop(queue);
            let _ = task.await;
        }
    }

    /// Ends them where they are.
    fn abort(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().filter_map(|partition| self.tasks.remove(partition)).for_each(|(_, task)| task.abort());
    }

    /// Commits what was processed, of what is still ours.
    async fn commit(&mut self, consumer: &Consumer) -> Result<(), Error> {
        let mut offsets = Behind::new();
        while let Ok(behind) = self.to_commit.try_recv() {
            offsets.extend(behind);
        }
        let assignment = consumer.assignment();
        offsets.retain(|partition, _| assignment.contains(partition));
        match consumer.commit_offsets(offsets).await {
            Err(error) if error.is_retriable() => Ok(()), // a rebalance: they are read again
            committed => committed,
        }
    }
}

async fn work(mut inbox: mpsc::UnboundedReceiver<Records>, done: mpsc::UnboundedSender<Behind>) {
    while let Some(records) = inbox.recv().await {
        for _record in &records {
            tokio::time::sleep(Duration::from_millis(1)).await; // the work
            PROCESSED.fetch_add(1, Ordering::Relaxed);
        }
        let _ = done.send(records.next_offsets());
    }
}
