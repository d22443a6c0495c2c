//! Records by a Schema Registry: its client, Confluent's wire format, and Avro, JSON and Protobuf in it.
//!
//! ```no_run
//! use milena::schema::{Deserializer, Registry, RegistryConfig, Schema, Serializer};
//! use milena::producer::ProducerRecord;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Click {
//!     visitor: String,
//!     at: i64,
//! }
//!
//! # async fn example(producer: milena::producer::Producer, records: milena::consumer::Records) -> milena::error::Result<()> {
//! let registry = Registry::new(RegistryConfig::new(["http://localhost:8081"])?)?;
//! let schema = Schema::avro(r#"{"type": "record", "name": "Click", "fields": [
//!     {"name": "visitor", "type": "string"}, {"name": "at", "type": "long"}]}"#);
//!
//! let clicks = Serializer::<Click>::avro(&registry, schema);
//! let value = clicks.serialize("clicks", &Click { visitor: "v7".to_owned(), at: 1_700_000_000_000 }).await?;
//! producer.send(ProducerRecord::new("clicks").value(&value)).await?.await?;
//!
//! let clicks = Deserializer::<Click>::avro(&registry);
//! for record in &records {
//!     if let Some(click) = clicks.value(&record).await? {
//!         println!("{} at {}", click.visitor, click.at);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whoever has types of no kind uses [`avro::Value`](apache_avro::types::Value), [`prost_reflect::DynamicMessage`] or
//! [`serde_json::Value`] in their place; a [`Decoder`] makes JSON of all three formats.
//!
//! Whoever wants to try it without a registry has `TestRegistry` (feature `test-broker`), and `milena consume --decode` shows what is in a
//! topic.
//!
//! JSON Schemas are registered and named by records, but records are not validated: a validator in Rust brings the tables of
//! internationalised names and a crypto library or two with it, and what serde reads has the types of its struct.
//!
//! | file | what it is |
//! | --- | --- |
//! | `config`, `properties` | the settings; by Confluent's names |
//! | `registry`, `answer`, `cache` | the questions; what is answered; what is asked once |
//! | `types` | schemas and what a registry says of them |
//! | `wire`, `subject` | the bytes before the data; the names of schemas |
//! | `formats`, `avro`, `protobuf` | a schema that is ready for use |
//! | `avro/decode`, `avro/resolve`, `avro/json`, `avro/inline` | bytes into values; values brought to a schema; as JSON; references |
//! | `protobuf/limits` | what a `.proto` file or a message may not do |
//! | `serializer`, `deserializer`, `decoder`, `avro_reader` | what applications hold |
//! | `test_registry` | a registry in this process, for tests (feature `test-broker`) |

mod answer;
mod avro;
mod avro_reader;
mod cache;
mod config;
mod decoder;
mod deserializer;
mod formats;
mod properties;
mod protobuf;
mod registry;
mod serializer;
mod subject;
#[cfg(feature = "test-broker")]
mod test_registry;
#[cfg(all(test, feature = "test-broker"))]
mod tests;
mod types;
mod wire;

pub use answer::RegistryError;
pub use apache_avro;
pub use avro_reader::AvroReader;
pub use config::RegistryConfig;
pub use decoder::Decoder;
pub use deserializer::Deserializer;
pub use prost_reflect;
pub use registry::Registry;
pub use serializer::Serializer;
pub use subject::{Side, SubjectNameStrategy};
#[cfg(feature = "test-broker")]
pub use test_registry::TestRegistry;
pub use types::{Compatibility, Reference, Registered, Schema, SchemaType, Version};
pub use wire::SchemaId;
