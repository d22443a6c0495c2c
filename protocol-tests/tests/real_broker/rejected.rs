//! A real broker refuses some records of a batch (KIP-467): they are named with its words, the others can be sent again,
//! and nothing of the batch is in the log.

use crate::codecs::assert_same;
use crate::peer::Peer;
use crate::sample::{Sample, one_batch, write_together};
use crate::{PATIENCE, connect, ends, is_before, topic_with};
use milena::client::Client;
use milena::error::{Certainty, ErrorCode, ErrorKind};
use milena::producer::ProducerConfig;
use milena::record::compression::Compression;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const HOUR: i64 = 3_600_000;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_millis() as i64
}

/// Records that are `ages` milliseconds old.
pub(crate) fn aged(ages: &[i64]) -> Vec<Sample> {
    let now = now();
    let sample = |(n, age): (usize, &i64)| Sample {
        partition: 0,
        timestamp: now - age,
        key: Some(format!("key {n}").into_bytes()),
        value: Some(format!("value {n}").into_bytes()),
        headers: vec![],
    };
    ages.iter().enumerate().map(sample).collect()
}

/// A topic that takes nothing older than `age`, nor newer; what Kafka calls the property has changed with 3.6.
async fn strict_topic(client: &Client, age: i64, compacted: bool) -> String {
    let (age, policy) = (age.to_string(), if compacted { "compact" } else { "delete" });
    let policy = ("cleanup.policy", policy);
    let (before, after) = ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms");
    match topic_with(client, "strict", 1, &[policy, (before, &age), (after, &age)]).await {
        Err(error) if error.code() == Some(ErrorCode::InvalidConfig) => {
            let both = ("message.timestamp.difference.max.ms", &*age);
            topic_with(client, "strict", 1, &[policy, both]).await.expect("the topic is created")
        }
        created => created.expect("the topic is created"),
    }
}

/// Writes them as one batch, of which `culprits` are refused with `code` and these words; then the others again. Kafka 2.4
/// looks no further than the first culprit, and says what is wrong with it: there it takes a batch for each.
async fn all_but(topic: &str, samples: &[Sample], code: ErrorCode, culprits: &[(usize, String)]) {
    let client = connect().await;
    // Of a batch that found its leader new to it nobody can say for certain that it was not written.
    let (_, good) =
        samples.iter().enumerate().find(|(n, _)| culprits.iter().all(|(culprit, _)| culprit != n)).expect("one");
    let producer = client.producer(ProducerConfig::default()).expect("the configuration is sound");
    for outcome in write_together(&producer, topic, std::slice::from_ref(good)).await {
        outcome.expect("there is nothing wrong with it");
    }
    let (first, mut end) = (good.clone(), 1);
    for codec in [Compression::None, Compression::Lz4] {
        let producer = client.producer(one_batch(codec)).expect("the configuration is sound");
        let (mut left, mut named): (Vec<usize>, usize) = ((0..samples.len()).collect(), 0);
        while named < culprits.len() {
            let batch: Vec<Sample> = left.iter().map(|n| samples[*n].clone()).collect();
            let (mut others, mut codes) = (vec![], vec![]);
            for (n, outcome) in left.into_iter().zip(write_together(&producer, topic, &batch).await) {
                let error = outcome.expect_err("nothing of the batch is written");
                assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent), "{error}");
                let partition = error.topic_partition().expect("it says where");
                assert_eq!((&*partition.topic, partition.partition), (topic, 0));
                if error.kind() == ErrorKind::BatchRejected {
                    assert!(error.is_retriable(), "record {n}: {error}");
                    others.push(n);
                    continue;
                }
                let culprit = culprits.iter().find(|(culprit, _)| *culprit == n);
                let (_, words) = culprit.unwrap_or_else(|| panic!("there is nothing wrong with record {n}: {error}"));
                assert!(error.to_string().contains(words) && !error.is_retriable(), "record {n}, {words:?}: {error}");
                codes.push(error.code());
                named += 1;
            }
            let one_by_one = is_before([2, 5, 0]) && codes.len() == 1;
            assert!(one_by_one || codes == vec![Some(code); culprits.len()], "{codes:?}, and {code:?} is for all");
            left = others;
        }
        assert_eq!(left.len() + culprits.len(), samples.len());
        assert_eq!(ends(&client, topic, 1).await, [end], "nothing of it is in the log");
        let others: Vec<Sample> = left.into_iter().map(|n| samples[n].clone()).collect();
        for outcome in write_together(&producer, topic, &others).await {
            assert_eq!(outcome.expect("there is nothing wrong with these").offset(), Some(end));
            end += 1;
        }
        producer.close(PATIENCE).await.expect("the producer closes");
    }
    let good = |(n, _): &(usize, &Sample)| culprits.iter().all(|(culprit, _)| culprit != n);
    let good: Vec<Sample> = samples.iter().enumerate().filter(good).map(|(_, sample)| sample.clone()).collect();
    for peer in Peer::ALL {
        let read = peer.consume(topic, end as usize).await;
        assert_same(
            &read,
            &[std::slice::from_ref(&first), &*good, &good].concat(),
            &format!("{peer:?} reads the good ones"),
        );
    }
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn records_too_old_or_too_new_are_named_and_the_others_can_be_sent_again() {
    let client = connect().await;
    let topic = strict_topic(&client, HOUR, false).await;
    let samples = aged(&[0, 24 * HOUR, 1_000, -24 * HOUR, HOUR / 2, 25 * HOUR]);
    let culprits = [1, 3, 5].map(|n| (n, samples[n].timestamp.to_string()));
    all_but(&topic, &samples, ErrorCode::InvalidTimestamp, &culprits).await;
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn records_without_a_key_are_named_on_a_compacted_topic() {
    let client = connect().await;
    let topic = topic_with(&client, "compacted", 1, &[("cleanup.policy", "compact")]).await;
    let mut samples = aged(&[0; 5]);
    samples[0].key = None;
    samples[3].key = None;
    let words = "Compacted topic cannot accept message without key";
    let culprits = [0, 3].map(|n| (n, words.to_owned()));
    all_but(&topic.expect("the topic is created"), &samples, ErrorCode::InvalidRecord, &culprits).await;
    client.close().await;
}

/// A broker answers with one code for all; each record has its own words.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn of_two_faults_in_one_batch_each_record_is_told_its_own() {
    let client = connect().await;
    let topic = strict_topic(&client, HOUR, true).await;
    let mut samples = aged(&[0, 0, 24 * HOUR, 0]);
    samples[1].key = None;
    let culprits = [(1, "without key".to_owned()), (2, samples[2].timestamp.to_string())];
    all_but(&topic, &samples, ErrorCode::InvalidTimestamp, &culprits).await;
    client.close().await;
}
