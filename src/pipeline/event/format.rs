//! How events stand in records: JSON, or with a Schema Registry Avro.
//!
//! Reading waits in one place only, [`EventFormat::reader`], which asks for the schemas that a poll's records name. What comes of it
//! judges each record without a wait, so that the rules about events stay values without a task.

use super::{Event, Rejected};
use crate::consumer::{ConsumerRecord, Records};
use crate::error::Result;
use std::borrow::Cow;

#[cfg(feature = "schema-registry")]
use super::avro;

/// `value.format`: what `clickstream` writes and the other stages read. Cheap to clone; clones share what they know.
///
/// Of Avro, records are in Confluent's wire format. A value that begins with a brace is read as JSON in either format, so that a topic can
/// go over from one to the other. Rows and watermarks are JSON always.
#[derive(Debug, Clone, Default)]
pub struct EventFormat {
    #[cfg(feature = "schema-registry")]
    avro: Option<std::sync::Arc<avro::Avro>>,
}

impl EventFormat {
    /// JSON.
    pub fn json() -> Self {
        Self::default()
    }

    /// Avro, by this registry.
    #[cfg(feature = "schema-registry")]
    pub fn avro(registry: &crate::schema::Registry) -> Self {
        Self { avro: Some(std::sync::Arc::new(avro::Avro::new(registry))) }
    }

    /// Whether it is JSON.
    pub fn is_json(&self) -> bool {
        #[cfg(feature = "schema-registry")]
        return self.avro.is_none();
        #[cfg(not(feature = "schema-registry"))]
        true
    }

    /// What reads these records. Asks the registry for schemas that are new; one that it does not have makes its records dead letters.
    /// A drop loses nothing.
    ///
    /// # Errors
    /// The registry's; retriable if it may pass.
    pub async fn reader(&self, records: &Records) -> Result<EventReader> {
        #[cfg(feature = "schema-registry")]
        if let Some(avro) = &self.avro {
            return Ok(EventReader { avro: Some(avro.schemas(records).await?) });
        }
        let _ = records;
        Ok(EventReader::default())
    }

    /// A JSON event as a record's value in this format. What is no event stays as it is.
    ///
    /// # Errors
    /// The registry's.
    pub async fn encode<'a>(&self, topic: &str, json: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        #[cfg(feature = "schema-registry")]
        if let Some(avro) = &self.avro
            && let Ok(event) = super::parse(Some(json))
            && let Some(bytes) = avro.encode(topic, &event).await?
        {
            return Ok(Cow::Owned(bytes));
        }
        let _ = topic;
        Ok(Cow::Borrowed(json))
    }
}

/// Reads events, with every schema at hand that the records it was made for need.
#[derive(Debug, Clone, Default)]
pub struct EventReader {
    #[cfg(feature = "schema-registry")]
    avro: Option<avro::Schemas>,
}

impl EventReader {
    /// The event in a record.
    ///
    /// # Errors
    /// Why the record belongs into the dead letter queue.
    pub fn event<'a>(&self, record: &ConsumerRecord<'a>) -> Result<Event<'a>, Rejected> {
        #[cfg(feature = "schema-registry")]
        if let Some(schemas) = &self.avro
            && let Some(event) = schemas.event(record)
        {
            return event;
        }
        super::parse(record.value())
    }
}
