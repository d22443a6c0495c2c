//! A Kafka client in pure Rust, without librdkafka and without a line of C; an in-process Kafka for tests; and a
//! clickstream pipeline on top of them.
//!
//! ```no_run
//! use milena::client::{Client, ClientConfig};
//! use milena::consumer::{ConsumerConfig, OffsetReset};
//! use milena::producer::{ProducerConfig, ProducerRecord};
//! use std::time::Duration;
//!
//! #[tokio::main]
//! async fn main() -> milena::error::Result<()> {
//!     let client = Client::connect(ClientConfig::new(["localhost:9092"])).await?;
//!
//!     let producer = client.producer(ProducerConfig::default())?;
//!     let delivery = producer.send(ProducerRecord::new("clicks").key("visitor-7").value("{}")).await?; // room in the buffer
//!     let written = delivery.await?; // acknowledged
//!     println!("{}[{}] at {:?}", written.topic(), written.partition(), written.offset()); // acks=0 brings no offset
//!
//!     let config = ConsumerConfig::group("dashboards").auto_offset_reset(OffsetReset::Earliest); // Kafka's default: latest
//!     let mut consumer = client.consumer(config)?;
//!     consumer.subscribe(["clicks"]).await?;
//!     let mut seen = 0;
//!     while seen == 0 {
//!         let records = consumer.poll(Duration::from_secs(1)).await?; // empty until the group has let us in
//!         for record in &records {
//!             println!("{:?} at {}", record.value().map(String::from_utf8_lossy), record.offset());
//!         }
//!         seen += records.len();
//!     }
//!     consumer.commit().await?;
//!     consumer.close(Duration::from_secs(10)).await
//! }
//! ```
//!
//! # Layout
//!
//! - [`client`]: [`Client`](client::Client), of which everything else is made; it shares connections and metadata.
//! - [`producer`], [`consumer`], [`admin`]: the handles that applications hold.
//! - [`record`]: record batches, for those who have some in their hands.
//! - [`metrics`]: what they count, under Kafka's names.
//! - [`trace`]: spans, and traces in record headers.
//! - [`properties`]: settings by Kafka's and librdkafka's names.
//! - [`error`], [`ids`], [`connect`]: one error for everything, names for things, how streams to brokers are made.
//! - [`sasl`], `oidc` (feature `oidc`): who we are, to brokers.
//! - `schema` (feature `schema-registry`): Avro, JSON and Protobuf by a Schema Registry.
//! - `broker`, `testing` (feature `test-broker`): `TestCluster`, a Kafka in this process, over TCP or in memory.
//! - `pipeline` (feature `pipeline`): clickstream, windows, merge, sinks.
#![cfg_attr(feature = "test-broker", doc = "- [`guide`]: chapters to read, whose programs run.")]
//!
//! # Features
//!
//! - On by default: `gzip`, `snappy`, `lz4`, `zstd`, one codec each, all in Rust; `tls`, TLS to brokers.
//! - `oidc`: tokens for OAUTHBEARER from a token endpoint. `schema-registry`: its client and the formats. `metrics`: what is counted, for
//!   the `metrics` facade.
//! - `test-broker`: the cluster in this process, and `testing`. `pipeline`, `postgres` (a sink).
//! - `cli`: the `milena` binary, everything.
//!
//! `unstable-internals` opens private modules to this repository's own tests and is not covered by semver.
//!
//! # Guarantees
//!
//! - Bytes from outside can't panic, and no count on the wire reserves memory that its bytes don't bear out.
//! - Memory is bounded: `buffer.memory` on the way out, `prefetch.bytes` on the way in.
//! - Every failed delivery says whether the record was [`NotSent`](error::Certainty::NotSent) or
//!   [`PossiblySent`](error::Certainty::PossiblySent). Dropping a future never loses records nor breaks a connection.
//! - Tasks run on the caller's tokio runtime; when the handles are gone, so are tasks and sockets.
//! - No `unsafe` in this crate, and no C in its dependencies.
//!
//! # Versions
//!
//! Semver; while the major version is 0, a minor version may break, and a patch does not. Rust 1.95 or newer; a minor version may raise
//! that. Apache Kafka 2.4 to 4.3. `docs/versions.md` says what is covered and what is not.
#![forbid(unsafe_code)]
// On docs.rs each item says which feature it needs; what the internals are re-exported from is none.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(feature = "unstable-internals"))))]
#![cfg_attr(not(feature = "unstable-internals"), warn(missing_docs))]
#![cfg_attr(
    not(all(feature = "cli", feature = "unstable-internals")),
    allow(dead_code, unreachable_pub, reason = "smaller feature sets leave parts unused")
)]

/// Private modules that `unstable-internals` opens to protocol-tests, benches and fuzz targets.
macro_rules! internal {
    ($(mod $name:ident;)*) => {
        $(
            #[cfg(feature = "unstable-internals")]
            #[doc(hidden)]
            pub mod $name;
            #[cfg(not(feature = "unstable-internals"))]
            mod $name;
        )*
    };
}

pub mod admin;
#[cfg(feature = "test-broker")]
pub mod broker;
pub mod client;
pub mod connect;
pub mod consumer;
pub mod error;
#[cfg(all(doc, feature = "test-broker"))]
pub mod guide;
pub mod ids;
pub mod metrics;
#[cfg(feature = "oidc")]
pub mod oidc;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod producer;
pub mod properties;
pub mod record;
pub mod sasl;
#[cfg(feature = "schema-registry")]
pub mod schema;
pub mod secret;
#[cfg(feature = "test-broker")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod topic_regex;
pub mod trace;
internal! {
    mod machine;
    mod net;
    mod settings;
    mod wire;
}
