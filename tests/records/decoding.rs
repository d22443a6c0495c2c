//! `consume --decode`: what a Schema Registry's serializers have written, as JSON.

use crate::support::{cluster, milena};
use milena::broker::TestCluster;
use milena::client::Client;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::schema::{Registry, Schema, Serializer, TestRegistry};
use std::time::Duration;

const CLICK: &str = r#"{"type":"record","name":"Click","fields":[
    {"name":"visitor","type":"string"},{"name":"at","type":"long"},{"name":"page","type":["null","string"],"default":null}]}"#;

#[derive(serde::Serialize)]
struct Click {
    visitor: &'static str,
    at: u64,
}

/// An Avro value with a JSON key, a tombstone, and what no serializer has written.
async fn written(cluster: &TestCluster, registry: &TestRegistry) {
    let registry = Registry::new(registry.config()).unwrap();
    let keys = Serializer::<u32>::json(&registry, Schema::json(r#"{"type":"integer"}"#)).key();
    let values = Serializer::<Click>::avro(&registry, Schema::avro(CLICK));
    let key = keys.serialize("t", &7).await.unwrap();
    let value = values.serialize("t", &Click { visitor: "v ß", at: 5 }).await.unwrap();
    let client = Client::connect(cluster.client_config()).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).unwrap();
    for record in [
        ProducerRecord::new("t").key(&key).value(&value),
        ProducerRecord::new("t").key(&key),
        ProducerRecord::new("t").value("plain"),
        ProducerRecord::new("t").value(&b"\0\0\0\0\x63?"[..]),
    ] {
        producer.send(record).await.unwrap().await.unwrap();
    }
    producer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_are_printed_as_json() {
    let (cluster, registry) = (cluster([("t", 1)]).await, TestRegistry::listen("127.0.0.1:0").await.unwrap());
    written(&cluster, &registry).await;
    let url = format!("schema.registry.url={}", registry.url());
    let consume = |more: &[&str]| milena(&cluster, &[&["consume", "t", "-X", &url][..], more].concat(), "");
    let click = r#"{"visitor":"v ß","at":5,"page":null}"#;
    assert_eq!(consume(&["--decode", "-o", ":2"]).text(), format!("{click}\n\n"));
    assert_eq!(consume(&["--decode=both", "-o", ":2", "-f", r"%k %s\n", "-Z"]).text(), format!("7 {click}\n7 NULL\n"));
    let line = consume(&["--decode=both", "-o", ":1", "--json"]).text().to_owned();
    assert!(line.ends_with(&format!(r#""key":7,"payload":{click}}}{}"#, '\n')), "{line}");
    assert!(consume(&["--decode=key", "-o", ":1"]).stdout.starts_with(&[0, 0, 0, 0]), "the value as it is");
    consume(&["--decode", "-o", "2:3"]).fails(2, &["t[0]: the value at offset 2: not written by a Schema Registry's"]);
    let unknown = consume(&["--decode", "-o", "3:4"]);
    unknown
        .fails(1, &["t[0]: the value at offset 3: schema registry: GET http://127.0.0.1:", "/schemas/ids/99: 404: "]);
    assert_eq!(unknown.stderr.matches("Schema not found").count(), 1, "{}", unknown.stderr);
    registry.require_basic_auth("me", "hush");
    consume(&["--decode", "-o", ":1"]).fails(2, &["401: Unauthorized", "basic.auth.user.info"]);
    let named = consume(&["--decode", "-o", ":1", "-X", "basic.auth.user.info=me:hush"]);
    assert_eq!(named.text(), format!("{click}\n"));
    let without = milena(&cluster, &["consume", "t", "--decode", "-o", ":1"], "");
    without.fails(1, &["schema.registry.url: not set; -X schema.registry.url=http://HOST:8081"]);
}
