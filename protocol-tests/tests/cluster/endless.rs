//! `Duration::MAX` is a wait without end, wherever an application may say how long: no clock overflows.

use milena::admin::{IsolationLevel, OffsetSpec};
use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{ErrorCode, Result};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::testing::next_record;
use std::time::Duration;

const MAX: Duration = Duration::MAX;
/// More of virtual time than any of it needs, and less than a wait without end.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Every call that takes a time, with all there is of it.
async fn used(client: ClientConfig, producer: ProducerConfig, consumer: ConsumerConfig) -> Result<()> {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await?;
    let client = client.bootstrap_servers([cluster.bootstrap()]).connect(cluster.connector()).virtual_time();
    let client = Client::connect(client).await?;
    let writer = client.producer(producer)?;
    let sent = writer.send(ProducerRecord::new("t").value("1")).await?;
    assert_eq!(writer.flush(MAX).await?, 0);
    sent.await?;

    let mut reader = client.consumer(consumer.group_id("g").auto_offset_reset(OffsetReset::Earliest))?;
    reader.subscribe(["t"]).await?;
    next_record(&mut reader).await?;
    let (polled, sent) = tokio::join!(reader.poll(MAX), async {
        let sent = writer.send(ProducerRecord::new("t").value("2")).await?;
        writer.flush(MAX).await?;
        sent.await
    });
    sent?;
    assert_eq!(polled?.len(), 1);
    let sent = writer.send(ProducerRecord::new("t").value("3")).await?;
    writer.flush(MAX).await?;
    sent.await?;
    assert!(reader.next(MAX).await?.is_some());
    reader.commit().await?;
    reader.close(MAX).await?;
    writer.close(MAX).await?;

    let mut writer = client.transactional_producer("w", ProducerConfig::default()).await?;
    let transaction = writer.begin().await?;
    let sent = transaction.send(ProducerRecord::new("t").value("4")).await?;
    assert_eq!(transaction.flush(MAX).await?, 0);
    sent.await?;
    transaction.commit().await?;
    writer.close(MAX).await?;

    let admin = client.admin().with_timeout(MAX);
    let place = [(TopicPartition::new("t", 0), OffsetSpec::Latest)];
    assert_eq!(admin.list_offsets(place, IsolationLevel::ReadUncommitted).await?.len(), 1);
    client.close().await;
    Ok(())
}

type Change<C> = (&'static str, fn(C) -> C);

#[tokio::test(start_paused = true)]
async fn every_call_takes_a_wait_without_end() {
    used(ClientConfig::default(), ProducerConfig::default(), ConsumerConfig::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_setting_of_a_client_can_be_a_wait_without_end() {
    let settings: [Change<ClientConfig>; 6] = [
        ("request.timeout.ms", |config| config.request_timeout(MAX)),
        ("default.api.timeout.ms", |config| config.default_api_timeout(MAX)),
        ("metadata.max.age.ms", |config| config.metadata_max_age(MAX)),
        ("retry.backoff.ms", |config| config.retry_backoff(Duration::from_millis(1), MAX)),
        ("reconnect.backoff.ms", |config| config.reconnect_backoff(MAX, MAX)),
        ("socket.connection.setup.timeout.ms", |config| config.connection_setup_timeout(MAX)),
    ];
    for (name, change) in settings {
        let using = used(change(ClientConfig::default()), ProducerConfig::default(), ConsumerConfig::default());
        tokio::time::timeout(YEAR, using).await.expect(name).expect(name);
    }
}

#[tokio::test(start_paused = true)]
async fn every_setting_of_a_producer_can_be_a_wait_without_end() {
    let settings: [Change<ProducerConfig>; 5] = [
        ("delivery.timeout.ms", |config| config.delivery_timeout(MAX)),
        ("linger.ms", |config| config.linger(MAX)),
        ("max.block.ms", |config| config.max_block(MAX)),
        ("partitioner.availability.timeout.ms", |config| config.partitioner_availability_timeout(MAX)),
        ("transaction.timeout.ms", |config| config.transaction_timeout(MAX)),
    ];
    for (name, change) in settings {
        let using = used(ClientConfig::default(), change(ProducerConfig::default()), ConsumerConfig::default());
        tokio::time::timeout(YEAR, using).await.expect(name).expect(name);
    }
}

#[tokio::test(start_paused = true)]
async fn every_setting_of_a_consumer_can_be_a_wait_without_end() {
    let settings: [Change<ConsumerConfig>; 3] = [
        ("fetch.max.wait.ms", |config| config.fetch_max_wait(MAX)),
        ("max.poll.interval.ms", |config| config.max_poll_interval(MAX)),
        ("auto.commit.interval.ms", |config| config.auto_commit_interval(MAX)),
    ];
    for (name, change) in settings {
        let using = used(ClientConfig::default(), ProducerConfig::default(), change(ConsumerConfig::default()));
        tokio::time::timeout(YEAR, using).await.expect(name).expect(name);
    }
    // A group does not wait for ever for a silent member: that is the broker's to say.
    let silent = ConsumerConfig::default().session_timeout(MAX);
    let using = used(ClientConfig::default(), ProducerConfig::default(), silent);
    let error = tokio::time::timeout(YEAR, using).await.expect("in time").unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidSessionTimeout), "{error}");
    let silent = ConsumerConfig::default().session_timeout(MAX).heartbeat_interval(MAX);
    let error = used(ClientConfig::default(), ProducerConfig::default(), silent).await.unwrap_err();
    assert!(error.to_string().contains("heartbeat.interval.ms must be below"), "{error}");
}
