//! What is in the log, though its answer was lost, and is refused when it is sent again: a broker looks at sizes and
//! timestamps before it looks whether it has the batch already. Nobody may be told that it was not written.

use crate::codecs::assert_same;
use crate::failover::until;
use crate::peer::Peer;
use crate::rejected::{HOUR, aged};
use crate::sample::{Sample, one_batch, write_together};
use crate::wiretap::{Moment, Say, Wiretap};
use crate::{PATIENCE, connect, ends, topic_with};
use milena::broker::ApiKey;
use milena::client::Client;
use milena::error::{Certainty, Error, ErrorCode, ErrorKind};
use milena::producer::ProducerConfig;
use milena::record::compression::Compression;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets the first of these properties that the broker has, and waits until it refuses `probe` for it. How often it took it.
async fn forbid(client: &Client, topic: &str, properties: &[(&str, i64)], probe: &Sample) -> usize {
    let mut refused = None;
    for (property, value) in properties {
        match client.admin().alter_configs(topic, [(property, Some(value.to_string()))]).await {
            Ok(()) => break,
            Err(error) => refused = Some(error),
        }
    }
    let producer = client.producer(ProducerConfig::default()).expect("the configuration is sound");
    for taken in 0..1_000 {
        if producer.send(probe.record(topic)).await.expect("there is room").await.is_err() {
            producer.close(PATIENCE).await.expect("the producer closes");
            return taken;
        }
    }
    panic!("{properties:?} is not heeded: {refused:?}");
}

/// Both of a batch's records are written and then refused, with these properties of the topic; what is told of each.
async fn refused_again(properties: &[(&str, i64)], samples: [Sample; 2]) -> Vec<Error> {
    let other = connect().await;
    let topic = topic_with(&other, "again", 1, &[]).await.expect("the topic is created");
    let [is_written, may_go_on] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let wiretap = Wiretap::new({
        let (is_written, may_go_on) = (is_written.clone(), may_go_on.clone());
        move |at, api| match (at, api) {
            (Moment::Answered, ApiKey::Produce) if !is_written.swap(true, Ordering::SeqCst) => Say::Cut,
            (Moment::Sending, ApiKey::Produce) if is_written.load(Ordering::SeqCst) => {
                if may_go_on.load(Ordering::SeqCst) { Say::GoOn } else { Say::Cut }
            }
            _ => Say::GoOn,
        }
    });
    let client = wiretap.client().await;
    let producer = client.producer(one_batch(Compression::None)).expect("the configuration is sound");
    let change = async {
        until("the batch is written", || is_written.load(Ordering::SeqCst)).await;
        let taken = forbid(&other, &topic, properties, &samples[0]).await;
        may_go_on.store(true, Ordering::SeqCst);
        taken
    };
    let (outcomes, probes) = tokio::join!(write_together(&producer, &topic, &samples), change);
    let there = [&samples[..], &vec![samples[0].clone(); probes]].concat();
    assert_eq!(ends(&other, &topic, 1).await, [there.len() as i64], "it is there once");
    assert_same(&Peer::Java.consume(&topic, there.len()).await, &there, "it is there, and the probes behind it");
    let next = write_together(&producer, &topic, &aged(&[0])).await.remove(0);
    assert_eq!(next.expect("the producer goes on").offset(), Some(there.len() as i64));
    producer.close(PATIENCE).await.expect("the producer closes");
    client.close().await;
    other.close().await;
    outcomes.into_iter().map(|outcome| outcome.expect_err("it is refused")).collect()
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn a_retry_that_is_too_large_by_now_is_neither_split_nor_called_unsent() {
    let mut samples: [Sample; 2] = aged(&[0, 0]).try_into().expect("two");
    samples[0].value = Some(vec![b'='; 300]);
    for error in refused_again(&[("max.message.bytes", 300)], samples).await {
        assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
        assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port, and its peers"]
async fn a_retry_with_a_record_that_is_too_old_by_now_is_not_called_unsent() {
    let names = ["message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"];
    let samples = aged(&[HOUR, 0]).try_into().expect("two");
    let errors = refused_again(&names.map(|name| (name, HOUR / 2)), samples).await;
    assert_eq!(errors[0].code(), Some(ErrorCode::InvalidTimestamp), "{}", errors[0]);
    assert_eq!(errors[1].kind(), ErrorKind::BatchRejected, "{}", errors[1]);
    for error in errors {
        assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent), "{error}");
    }
}
