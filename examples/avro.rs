//! Writes and reads Avro by a Schema Registry. Runs by itself: `cargo run --example avro --features schema-registry,test-broker`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::schema::{Decoder, Deserializer, Registry, RegistryConfig, Schema, Serializer, TestRegistry};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize)]
struct Click {
    visitor: String,
    at: u64,
    page: Option<String>,
}

const CLICK: &str = r#"{"type": "record", "name": "Click", "namespace": "shop", "fields": [
    {"name": "visitor", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": ["null", "string"], "default": null}]}"#;

#[tokio::main]
async fn main() -> Result<(), milena::error::Error> {
    // In their place: your cluster, and RegistryConfig::new(["http://localhost:8081"]).
    let cluster = TestCluster::builder().topic("clicks", 1).listen("127.0.0.1:0").start().await?;
    let test = TestRegistry::listen("127.0.0.1:0").await?;
    let registry = Registry::new(RegistryConfig::new([test.url()])?)?;
    let client = Client::connect(ClientConfig::new([cluster.bootstrap()])).await?;

    let producer = client.producer(ProducerConfig::default())?;
    let clicks = Serializer::<Click>::avro(&registry, Schema::avro(CLICK));
    for at in 0..3 {
        let click = Click { visitor: format!("visitor-{at}"), at, page: (at > 0).then(|| "/home".to_owned()) };
        let value = clicks.serialize("clicks", &click).await?;
        producer.send(ProducerRecord::new("clicks").value(&value)).await?.await?;
    }

    let mut consumer = client.consumer(ConsumerConfig::group("shop").auto_offset_reset(OffsetReset::Earliest))?;
    consumer.subscribe(["clicks"]).await?;
    let (clicks, decoder) = (Deserializer::<Click>::avro(&registry), Decoder::new(&registry));
    let mut seen = 0;
    while seen < 3 {
        let records = consumer.poll(Duration::from_secs(1)).await?;
        for record in &records {
            let click = clicks.value(&record).await?;
            println!("{click:?}, or as JSON {:?}", decoder.value(&record).await?);
            seen += 1;
        }
    }
    println!("the registry was asked {} times", test.requests().len());
    consumer.close(Duration::from_secs(10)).await?;
    producer.close(Duration::from_secs(10)).await?;
    client.close().await;
    Ok(())
}
