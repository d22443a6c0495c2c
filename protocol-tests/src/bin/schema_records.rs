//! Our half of `protocol-tests/schema_registry.sh`: a broker and a registry for it, and what is written and read there.
//!
//! Usage: `schema_records serve` prints where both listen and ends with its standard input;
//! `schema_records write|read BOOTSTRAP REGISTRY`: `rust-*` is written, `python-*` is read and compared.

#![allow(clippy::print_stdout, reason = "says what it has done")]

use milena::broker::TestCluster;
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::schema::prost_reflect::DynamicMessage;
use milena::schema::{Decoder, Deserializer, Registry, RegistryConfig, Schema, Serializer, TestRegistry};
use milena::testing::next_records;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::time::Duration;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USER: &str = include_str!("../../schema_registry/user.avsc");
const ORDER: &str = include_str!("../../schema_registry/order.avsc");
const JSON: &str = include_str!("../../schema_registry/order.json");
const USER_PROTO: &str = include_str!("../../schema_registry/user.proto");
const PROTO: &str = include_str!("../../schema_registry/order.proto");
const KINDS: [&str; 3] = ["avro", "json", "protobuf"];
const COUNT: i64 = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["write", bootstrap, registry] => write(bootstrap, registry).await,
        ["read", bootstrap, registry] => read(bootstrap, registry).await,
        _ => Err("usage: schema_records serve | write|read BOOTSTRAP REGISTRY".into()),
    }
}

async fn serve() -> Result<()> {
    let mut builder = TestCluster::builder().listen("127.0.0.1:0");
    for kind in KINDS {
        builder = builder.topic(format!("rust-{kind}"), 1).topic(format!("python-{kind}"), 1);
    }
    let cluster = builder.start().await?;
    let registry = TestRegistry::listen("127.0.0.1:0").await?;
    println!("{} {}", cluster.bootstrap(), registry.url());
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    cluster.stop().await;
    Ok(())
}

/// The record of this number, as JSON has it; Protobuf has no nulls, and writes 64 bits as text.
fn order(number: i64, kind: &str) -> Value {
    let note = if number % 2 == 0 { Value::Null } else { json!(format!("note {number} ß")) };
    match kind {
        "protobuf" => json!({
            "id": (number << 33).to_string(), "by": {"name": format!("user {number}")}, "note": note.as_str().unwrap_or(""),
            "lines": [{"item": "a", "count": 1}, {"item": "b", "count": number}],
            "at": format!("2026-11-26T00:{:02}:{:02}Z", number / 60, number % 60),
        }),
        _ => json!({
            "id": number << 33, "by": {"name": format!("user {number}")}, "note": note,
            "lines": [{"item": "a", "count": 1}, {"item": "b", "count": number}],
            "price": 0.5 * number as f64, "kind": if number % 3 == 0 { "GIFT" } else { "SALE" },
        }),
    }
}

async fn write(bootstrap: &str, registry: &str) -> Result<()> {
    let registry = Registry::new(RegistryConfig::new([registry])?)?;
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    let producer = client.producer(ProducerConfig::default())?;
    let user = registry.register("rust-users", &Schema::avro(USER)).await?;
    let user_proto = registry.register("rust-users-proto", &Schema::protobuf(USER_PROTO)).await?;
    println!("users have the ids {user} and {user_proto}");
    let avro = Schema::avro(ORDER).reference("shop.User", "rust-users", 1);
    let avro = Serializer::<Value>::avro(&registry, avro);
    let json = Serializer::<Value>::json(&registry, Schema::json(JSON));
    let protobuf = Schema::protobuf(PROTO).reference("user.proto", "rust-users-proto", 1);
    let protobuf = Serializer::<DynamicMessage>::dynamic(&registry, protobuf);
    let message = protobuf.message("shop.Shop.Order").await?;
    for number in 0..COUNT {
        let message = DynamicMessage::deserialize(message.clone(), order(number, "protobuf"))?;
        for (topic, value) in [
            ("rust-avro", avro.serialize("rust-avro", &order(number, "avro")).await?),
            ("rust-json", json.serialize("rust-json", &order(number, "json")).await?),
            ("rust-protobuf", protobuf.serialize("rust-protobuf", &message).await?),
        ] {
            drop(producer.send(ProducerRecord::new(topic).value(&value)).await?);
        }
    }
    producer.close(Duration::from_secs(30)).await?;
    client.close().await;
    println!("{COUNT} records each of {} are written", KINDS.join(", "));
    Ok(())
}

async fn read(bootstrap: &str, registry: &str) -> Result<()> {
    let registry = Registry::new(RegistryConfig::new([registry])?)?;
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    let (decoder, avro) = (Decoder::new(&registry), Deserializer::<Value>::avro(&registry));
    for kind in KINDS {
        let config = ConsumerConfig::group(format!("rust-{kind}")).auto_offset_reset(OffsetReset::Earliest);
        let mut consumer = client.consumer(config)?;
        consumer.subscribe([format!("python-{kind}")]).await?;
        let records = next_records(&mut consumer, usize::try_from(COUNT)?).await?;
        for (number, record) in (0..).zip(&records) {
            let value = record.value.as_deref().ok_or("a null")?;
            let text: Value = serde_json::from_str(&decoder.decode(value).await?)?;
            let expected = order(number, kind);
            if text != expected {
                return Err(format!("python-{kind} {number}: {text} and not {expected}").into());
            }
            if kind == "avro" && avro.deserialize(value).await? != expected {
                return Err(format!("python-{kind} {number}: serde has it otherwise").into());
            }
        }
        println!("python-{kind}: {} records are what they should be", records.len());
        consumer.close(Duration::from_secs(10)).await?;
    }
    client.close().await;
    Ok(())
}
