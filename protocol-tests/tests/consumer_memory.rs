//! What consuming allocates: nothing per record, and at most three times per batch for all that a poll does. Its own
//! binary, as the allocator counts for the whole process.

use milena::broker::TestCluster;
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::record::compression::Compression;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{alloc::System, time::Duration};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RECORDS: usize = 60_000;
const SECOND: Duration = Duration::from_secs(1);

/// One test for all ways: the allocator counts what runs beside it.
#[tokio::test(start_paused = true)]
async fn no_record_costs_an_allocation_and_a_batch_at_most_three() {
    for compression in [Compression::None, Compression::Lz4] {
        let cluster = TestCluster::builder().topic("t", 4).in_memory().start().await.unwrap();
        let client = cluster.client().await.unwrap();
        let producer = client.producer(ProducerConfig::default().compression(compression)).unwrap();
        for i in 0..RECORDS {
            let value = [b'x'; 100];
            let record = ProducerRecord::new("t").value(&value).partition((i % 4) as i32);
            drop(producer.send(record).await.unwrap()); // closing waits for it
        }
        producer.close(60 * SECOND).await.unwrap();
        // Twice: by batches on loan, and by iteration that keeps what it decompresses.
        for lent in [true, false] {
            let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest);
            let mut consumer = client.consumer(config).unwrap();
            consumer.assign((0..4).map(|partition| TopicPartition::new("t", partition))).await.unwrap();
            let (mut records, mut batches, mut polling, mut reading) = (0, 0, 0, 0);
            while records < RECORDS {
                // So that all has arrived that will, and a poll doesn't wait: then nothing runs beside it.
                tokio::time::sleep(SECOND).await;
                for _ in 0..10 {
                    let region = Region::new(ALLOCATOR);
                    let mut polled = consumer.poll(Duration::ZERO).await.unwrap();
                    polling += region.change().allocations;
                    let before = records;
                    let mut bytes = 0;
                    let region = Region::new(ALLOCATOR);
                    if lent {
                        while let Some(batch) = polled.next_batch().unwrap() {
                            batches += 1;
                            for record in batch {
                                bytes += record.unwrap().value().map_or(0, <[u8]>::len);
                                records += 1;
                            }
                        }
                    } else {
                        for record in &polled {
                            bytes += record.value().map_or(0, <[u8]>::len);
                            records += 1;
                        }
                    }
                    reading += region.change().allocations;
                    assert_eq!(bytes, (records - before) * 100);
                }
            }
            consumer.close(SECOND).await.unwrap();
            if lent {
                assert!(batches < records / 50, "{batches} batches are not what is usual");
                assert!(reading <= 10, "{reading} allocations while reading {records} records");
                assert!(polling <= 3 * batches, "{polling} allocations for {batches} batches");
            } else {
                assert!(polling + reading <= records / 20, "{polling} + {reading} allocations for {records} records");
            }
        }
        client.close().await;
        cluster.stop().await;
    }
}
