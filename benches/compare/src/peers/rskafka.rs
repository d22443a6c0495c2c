//! rskafka, which writes the batches that it is given: they are filled by hand, one partition after the other, and up to
//! five of a partition are under way. It has no idempotence. Consuming is a task for each partition, which fetches and
//! looks at what came, in turn.

use crate::job::{Job, PARTITIONS};
use crate::seen::Seen;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, UnknownTopicHandling};
use rskafka::record::Record;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What a record takes besides its value.
const OVERHEAD: usize = 8;

pub async fn produce(job: Job) {
    let values = job.values();
    let client = ClientBuilder::new(vec![job.bootstrap.clone()]).build().await.expect("connected");
    let mut partitions = Vec::new();
    for partition in 0..PARTITIONS {
        let client = client.partition_client(&job.topic, partition, UnknownTopicHandling::Retry).await;
        partitions.push((Arc::new(client.expect("a partition")), Arc::new(Semaphore::new(5))));
    }
    let compression = if job.codec == "lz4" { Compression::Lz4 } else { Compression::NoCompression };
    let size = job.batch_size.unwrap_or(16_384);
    let mut values = (0..job.records).zip(values.iter().cycle()).peekable();
    let mut under_way = JoinSet::new();
    for (client, permits) in partitions.iter().cycle() {
        let (mut batch, mut bytes, timestamp) = (Vec::new(), 61, chrono::Utc::now());
        while let Some((_, value)) = values.next_if(|(_, value)| bytes + value.len() + OVERHEAD <= size) {
            bytes += value.len() + OVERHEAD;
            batch.push(Record { key: None, value: Some(value.to_vec()), headers: BTreeMap::new(), timestamp });
        }
        if batch.is_empty() {
            break;
        }
        let (client, permit) = (client.clone(), permits.clone().acquire_owned().await.expect("it is not closed"));
        under_way.spawn(async move {
            let offsets = client.produce(batch, compression).await.expect("acknowledged");
            drop(permit);
            offsets.len() as u64
        });
    }
    let mut acknowledged = 0;
    while let Some(count) = under_way.join_next().await {
        acknowledged += count.expect("it does not panic");
    }
    assert_eq!(acknowledged, job.records);
}

/// As its own `StreamConsumer` asks, unless told otherwise: bytes of a fetch, and how long it may wait for the first.
const FETCH_BYTES: std::ops::Range<i32> = 1..52_428_800;
const FETCH_WAIT_MS: i32 = 500;

pub async fn consume(job: Job) {
    let client = ClientBuilder::new(vec![job.bootstrap.clone()]).build().await.expect("connected");
    let mut reading = JoinSet::new();
    for partition in 0..PARTITIONS {
        let client = client.partition_client(&job.topic, partition, UnknownTopicHandling::Retry).await;
        let client = client.expect("a partition");
        reading.spawn(async move {
            let end = client.get_offset(OffsetAt::Latest).await.expect("an end");
            let (mut seen, mut offset) = (Seen::default(), 0);
            while offset < end {
                let fetched = client.fetch_records(offset, FETCH_BYTES, FETCH_WAIT_MS).await;
                let (records, _) = fetched.expect("records");
                offset = records.last().expect("there are some before the end").offset + 1;
                for record in &records {
                    seen.add(record.record.value.as_deref());
                }
            }
            seen
        });
    }
    let mut seen = Seen::default();
    while let Some(part) = reading.join_next().await {
        let part = part.expect("it does not panic");
        seen.records += part.records;
        seen.bytes += part.bytes;
    }
    seen.done(&job);
}
