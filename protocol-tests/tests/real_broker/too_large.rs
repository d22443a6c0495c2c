//! What a real broker finds too large is split until it fits (KIP-126): each record is written once, in order, and a
//! record that is too large by itself fails alone.

use crate::codecs::{assert_same, produce};
use crate::peer::Peer;
use crate::sample::{START, Sample, one_batch, write_together};
use crate::{PATIENCE, connect, ends, fresh, topic, topic_with};
use milena::client::Client;
use milena::error::{Certainty, Error, ErrorCode};
use milena::producer::Transaction;
use milena::record::compression::Compression;
use protocol_tests::random::Random;

/// `max.message.bytes`, of a batch as it is written; `batch.size` is four times as much.
const LIMIT: &str = "4000";

/// Records of these lengths, on one partition after the other. A quarter of each compresses well, the rest doesn't.
fn samples(lengths: &[usize], partitions: usize) -> Vec<Sample> {
    let mut random = Random::new(126);
    let mut value = |len: usize| (0..len).map(|at| if at < len / 4 { b'=' } else { random.below(256) as u8 }).collect();
    let sample = |(n, len): (usize, &usize)| Sample {
        partition: (n % partitions) as i32,
        timestamp: START + n as i64,
        key: Some(n.to_string().into_bytes()),
        value: Some(value(*len)),
        headers: vec![(format!("header {n}"), Some(vec![7; n % 3]))],
    };
    lengths.iter().enumerate().map(sample).collect()
}

async fn small_topic(client: &Client, partitions: i32) -> String {
    topic_with(client, "small", partitions, &[("max.message.bytes", LIMIT)]).await.expect("the topic is created")
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn batches_are_split_until_they_fit() {
    until_they_fit("none").await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn compressed_batches_are_split_until_they_fit() {
    until_they_fit("lz4").await;
}

/// Many batches, so that others are under way behind each one that is refused; also records that only fit alone.
async fn until_they_fit(codec: &str) {
    let client = connect().await;
    let mut random = Random::new(1);
    let lengths = (0..1_500).map(|n| if n % 100 == 77 { 3_500 } else { random.below(800) as usize });
    let samples = samples(&lengths.collect::<Vec<_>>(), 2);
    let mut requests = vec![];
    for topic in [topic(&client, "large", 2, 1).await, small_topic(&client, 2).await] {
        let before = client.produce_requests();
        produce(&client, &topic, codec.parse().expect("a codec"), &samples).await;
        requests.push(client.produce_requests() - before);
        for peer in Peer::ALL {
            let read = peer.consume(&topic, samples.len()).await;
            assert_same(&read, &samples, &format!("{peer:?} reads {topic} in {codec}"));
        }
        assert_eq!(ends(&client, &topic, 2).await, [750, 750], "nothing twice");
    }
    assert!(requests[1] > 2 * requests[0], "that few are refused: {requests:?} requests");
    client.close().await;
}

/// It fails as certainly not written, and says how large it is.
fn assert_too_large(error: &Error, size: usize) {
    assert_eq!(
        (error.code(), error.delivery_certainty()),
        (Some(ErrorCode::MessageTooLarge), Some(Certainty::NotSent))
    );
    assert!(!error.is_retriable(), "{error}");
    let text = error.to_string();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
    assert!(numbers.any(|number| (size..size + 200).contains(&number)), "{size} bytes of records: {error}");
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn a_record_that_is_too_large_fails_alone() {
    let client = connect().await;
    let mut lengths = [700; 12];
    [3, 11].iter().for_each(|n| lengths[*n] = 5_600);
    let mut samples = samples(&lengths, 1);
    samples[7].value = Some(vec![b'='; 6_000]); // the largest, but not when it is compressed
    let cases = [
        (Compression::None, vec![(3, 5_600), (7, 6_000), (11, 5_600)]),
        (Compression::Lz4, vec![(3, 4_200), (11, 4_200)]),
    ];
    for (codec, refused) in cases {
        let topic = small_topic(&client, 1).await;
        let producer = client.producer(one_batch(codec)).expect("the configuration is sound");
        let mut written = vec![];
        for (n, outcome) in write_together(&producer, &topic, &samples).await.into_iter().enumerate() {
            match (outcome, refused.iter().find(|(refused, _)| *refused == n)) {
                (Err(error), Some((_, size))) => assert_too_large(&error, *size),
                (Ok(metadata), None) => {
                    assert_eq!(metadata.offset(), Some(written.len() as i64), "{codec:?}, record {n}");
                    written.push(samples[n].clone());
                }
                (outcome, _) => panic!("{codec:?}, record {n}: {outcome:?}"),
            }
        }
        for outcome in write_together(&producer, &topic, &samples[..3]).await {
            outcome.expect("the producer goes on");
        }
        written.extend_from_slice(&samples[..3]);
        producer.close(PATIENCE).await.expect("the producer closes");
        for peer in Peer::ALL {
            let read = peer.consume(&topic, written.len()).await;
            assert_same(&read, &written, &format!("{peer:?} reads what fits, {codec:?}"));
        }
        assert_eq!(ends(&client, &topic, 1).await, [written.len() as i64], "nothing twice");
    }
    client.close().await;
}

async fn send_all(transaction: &Transaction<'_>, topic: &str, samples: &[Sample]) {
    for sample in samples {
        drop(transaction.send(sample.record(topic)).await.expect("there is room"));
    }
}

/// The halves are numbered and marked as the batch was; a record that does not fit takes its transaction along.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn a_transaction_is_split_too() {
    let client = connect().await;
    let topic = small_topic(&client, 2).await;
    let samples = samples(&[[600; 60].as_slice(), &[5_000], &[600; 59]].concat(), 2);
    let (fit, fit_too) = (&samples[..60], &samples[61..]);
    let producer = client.transactional_producer(fresh("id"), one_batch(Compression::None)).await;
    let mut producer = producer.expect("the coordinator gives an epoch");

    let transaction = producer.begin().await.expect("begun");
    send_all(&transaction, &topic, fit).await;
    transaction.commit().await.expect("committed");
    let transaction = producer.begin().await.expect("begun");
    send_all(&transaction, &topic, &samples).await;
    let error = transaction.commit().await.expect_err("a record was not written");
    assert!(error.is_abortable(), "{error}");
    assert_eq!(
        (error.code(), error.delivery_certainty()),
        (Some(ErrorCode::MessageTooLarge), Some(Certainty::NotSent))
    );
    let transaction = producer.begin().await.expect("begun");
    send_all(&transaction, &topic, fit_too).await;
    transaction.commit().await.expect("committed");
    producer.close(PATIENCE).await.expect("nothing is left to be done");

    let (read, _) = Peer::settled(&topic, &fresh("group")).await;
    assert_same(&read, &[fit, fit_too].concat(), "what is committed");
    client.close().await;
}
