//! Every codec both ways with the Java client and librdkafka: what one writes the other reads, byte for byte.

use crate::peer::Peer;
use crate::sample::{Sample, by_partition, samples};
use crate::{PATIENCE, connect, topic};
use milena::client::Client;
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::ids::TopicPartition;
use milena::producer::ProducerConfig;
use milena::record::compression::Compression;
use std::time::Duration;

macro_rules! codecs {
    ($($codec:ident)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
            async fn $codec() {
                both_ways(stringify!($codec)).await;
            }
        )*
    };
}

codecs! { none gzip snappy lz4 zstd }

async fn both_ways(codec: &str) {
    let client = connect().await;
    let samples = samples();

    let ours = topic(&client, &format!("ours-{codec}"), 2, 1).await;
    produce(&client, &ours, codec.parse().expect("a codec"), &samples).await;
    assert_same(&consume(&client, &ours, samples.len()).await, &samples, "milena reads what milena wrote");
    for peer in Peer::ALL {
        assert_same(&peer.consume(&ours, samples.len()).await, &samples, &format!("{peer:?} reads what milena wrote"));

        let theirs = topic(&client, &format!("theirs-{codec}"), 2, 1).await;
        peer.produce(&theirs, codec, &samples).await;
        let read = consume(&client, &theirs, samples.len()).await;
        assert_same(&read, &samples, &format!("milena reads what {peer:?} wrote"));
    }
    client.close().await;
}

/// Writes them to an empty topic of two partitions: each gets the offset that is its place in its partition.
pub(crate) async fn produce(client: &Client, topic: &str, codec: Compression, samples: &[Sample]) {
    let config = ProducerConfig::default().compression(codec).linger(Duration::from_millis(50));
    let producer = client.producer(config).expect("the configuration is sound");
    let mut deliveries = vec![];
    for sample in samples {
        deliveries.push(producer.send(sample.record(topic)).await.expect("there is room"));
    }
    let mut next = [0, 0];
    for (sample, delivery) in samples.iter().zip(deliveries) {
        let written = delivery.await.expect("the broker takes it");
        let at = &mut next[sample.partition as usize];
        assert_eq!((written.partition(), written.offset()), (sample.partition, Some(*at)));
        *at += 1;
    }
    producer.close(PATIENCE).await.expect("the producer closes");
}

async fn consume(client: &Client, topic: &str, count: usize) -> Vec<Sample> {
    let config = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.assign([0, 1].map(|partition| TopicPartition::new(topic, partition))).await.expect("assigned");
    let mut read = vec![];
    while read.len() < count {
        let records = consumer.poll(PATIENCE).await.expect("records can be read");
        assert!(!records.is_empty(), "only {} of {count} records", read.len());
        read.extend((&records).into_iter().map(Sample::from));
    }
    consumer.close(PATIENCE).await.expect("the consumer closes");
    read
}

/// Compared one by one, since a page of bytes says nothing.
pub(crate) fn assert_same(read: &[Sample], written: &[Sample], what: &str) {
    let (read, written) = (by_partition(read.to_vec()), by_partition(written.to_vec()));
    assert_eq!(read.len(), written.len(), "{what}");
    for (at, (read, written)) in read.iter().zip(&written).enumerate() {
        assert_eq!(read.headers, written.headers, "{what}: headers of record {at}");
        assert_eq!((read.partition, read.timestamp), (written.partition, written.timestamp), "{what}: record {at}");
        assert_eq!(read.key, written.key, "{what}: key of record {at}");
        assert!(read.value == written.value, "{what}: value of record {at}");
    }
}
