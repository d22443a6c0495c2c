//! [`AvroReader`]: Avro's data without a wait, once the registry has brought the schema.

use super::avro::Avro;
use crate::error::Result;
use apache_avro::schema::Name;
use apache_avro::types::Value;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A registered Avro schema that data is read by, for loops that may not wait: [`Registry::avro_reader`](super::Registry::avro_reader)
/// brings it, and [`SchemaId::of_value`](super::SchemaId::of_value) says which one a record needs. It asks nobody. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AvroReader(pub(super) Arc<Avro>);

impl AvroReader {
    /// The value of the data behind the schema's id.
    ///
    /// # Errors
    /// `Malformed` if they are not of this schema.
    pub fn value(&self, data: &[u8]) -> Result<Value> {
        self.0.decode(data, None)
    }

    /// The same, as serde has it.
    ///
    /// # Errors
    /// As [`value`](Self::value), and if the type does not fit the schema.
    pub fn read<T: DeserializeOwned>(&self, data: &[u8]) -> Result<T> {
        self.0.decode_serde(data, None)
    }

    /// The schema that the data are written by.
    pub fn schema(&self) -> &apache_avro::Schema {
        self.0.schema()
    }

    /// The type that has this name in the schema: what a [`Schema::Ref`](apache_avro::Schema::Ref) stands for.
    pub fn named(&self, name: &Name) -> Option<&apache_avro::Schema> {
        self.0.named(name)
    }
}
