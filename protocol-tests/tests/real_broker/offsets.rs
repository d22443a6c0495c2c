//! Offsets by time, and the two ends.

use crate::sample::{START, read_numbers, write_numbers};
use crate::{PATIENCE, connect, topic};
use milena::consumer::{ConsumerConfig, OffsetSpec};
use milena::error::ErrorKind;
use milena::ids::TopicPartition;
use std::collections::HashMap;

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn a_time_leads_to_the_first_record_at_or_after_it() {
    let client = connect().await;
    let topic = topic(&client, "times", 2, 1).await;
    write_numbers(&client, &topic, 0..50).await;
    let (written, empty) = (TopicPartition::new(&*topic, 0), TopicPartition::new(&*topic, 1));
    let mut consumer = client.consumer(ConsumerConfig::default()).expect("the configuration is sound");

    for (time, offset) in [(START - 1, Some(0)), (START, Some(0)), (START + 20_001, Some(21)), (START + 49_001, None)] {
        let asked = HashMap::from([(written.clone(), time), (empty.clone(), time)]);
        let found = consumer.offsets_for_times(asked).await.expect("the broker answers");
        let offset_found = found[&written].as_ref().map(|found| found.offset);
        assert_eq!(offset_found, offset, "{} ms after the first", time - START);
        assert!(found[&empty].is_none(), "an empty partition has nothing at any time");
    }
    let both = [written.clone(), empty.clone()];
    let ends = consumer.end_offsets(&both).await.expect("the broker answers");
    assert_eq!((ends[&written], ends[&empty]), (50, 0));
    let beginnings = consumer.beginning_offsets(&both).await.expect("the broker answers");
    assert_eq!((beginnings[&written], beginnings[&empty]), (0, 0));

    consumer.assign([written.clone()]).await.expect("assigned");
    consumer.seek(&written, 21).expect("it is assigned");
    assert_eq!(read_numbers(&mut consumer, 29).await, (21..50).collect::<Vec<_>>());
    consumer.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}

/// Brokers before Kafka 3.0, 3.4 and 3.9 don't know the last three: that is an error then, and no guess.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn every_place_in_a_log_that_the_broker_knows_can_be_asked_for() {
    let client = connect().await;
    let topic = topic(&client, "places", 1, 1).await;
    write_numbers(&client, &topic, 0..50).await;
    let partition = TopicPartition::new(&*topic, 0);
    let consumer = client.consumer(ConsumerConfig::default()).expect("the configuration is sound");
    for (spec, offset) in [
        (OffsetSpec::Earliest, Some(0)),
        (OffsetSpec::Latest, Some(50)),
        (OffsetSpec::Timestamp(START + 7_000), Some(7)),
        (OffsetSpec::MaxTimestamp, Some(49)),
        (OffsetSpec::EarliestLocal, Some(0)),
        (OffsetSpec::LatestTiered, None),
    ] {
        let is_old = !matches!(spec, OffsetSpec::MaxTimestamp | OffsetSpec::EarliestLocal | OffsetSpec::LatestTiered);
        match consumer.list_offsets(HashMap::from([(partition.clone(), spec)])).await {
            Ok(found) => assert_eq!(found[&partition].map(|found| found.offset), offset, "{spec:?}"),
            Err(error) => {
                assert_eq!((error.kind(), is_old), (ErrorKind::UnsupportedVersion, false), "{spec:?}: {error}");
            }
        }
    }
    consumer.close(PATIENCE).await.expect("the consumer closes");
    client.close().await;
}
