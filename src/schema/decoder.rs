//! [`Decoder`]: records as JSON, for people.

use super::deserializer::Deserializer;
use super::registry::Registry;
use crate::consumer::ConsumerRecord;
use crate::error::Result;

/// Makes JSON text of keys and values, whichever of the three formats they are in.
///
/// Avro: unions without the name of their branch, bytes and fixed as text of a letter a byte, decimals and UUIDs as text, dates and times
/// as the numbers that they are. Protobuf: fields by the names of the `.proto` file, those that have their default as well, 64-bit
/// numbers as text, as Protobuf's JSON has them. JSON: as it is, on one line.
#[derive(Debug)]
pub struct Decoder(Deserializer<String>);

impl Decoder {
    /// By this registry.
    pub fn new(registry: &Registry) -> Self {
        Self(Deserializer::text(registry))
    }

    /// The value of a record; `None` for a tombstone.
    ///
    /// # Errors
    /// As [`Deserializer::value`].
    pub async fn value(&self, record: &ConsumerRecord<'_>) -> Result<Option<String>> {
        self.0.value(record).await
    }

    /// The key of a record, if it has one.
    ///
    /// # Errors
    /// As [`Deserializer::value`].
    pub async fn key(&self, record: &ConsumerRecord<'_>) -> Result<Option<String>> {
        self.0.key(record).await
    }

    /// The text of these bytes.
    ///
    /// # Errors
    /// As [`Deserializer::deserialize`].
    pub async fn decode(&self, bytes: &[u8]) -> Result<String> {
        self.0.deserialize(bytes).await
    }
}
