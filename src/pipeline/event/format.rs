//! How events stand in records: JSON, or with a Schema Registry Avro.
//!
//! What waits is [`Reading::Later`], which is for the schemas that some records name. What comes of it judges each of them without a
//! wait, so that the rules about events stay values without a task.

use super::{Event, Rejected};
use crate::consumer::{ConsumerRecord, Records};
use crate::error::Result;
use futures_util::future::BoxFuture;
use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "schema-registry")]
use super::avro;

/// `value.format`: what `clickstream` writes and the other stages read. Cheap to clone; clones share what they know.
///
/// Of Avro, records are in Confluent's wire format. A value that begins with a brace, and has no header that names a schema, is read as
/// JSON in either format, so that a topic can go over from one to the other. Rows and watermarks are JSON always.
#[derive(Debug, Clone, Default)]
pub struct EventFormat {
    #[cfg(feature = "schema-registry")]
    avro: Option<std::sync::Arc<avro::Avro>>,
}

/// What reads some records.
pub enum Reading<R> {
    /// It is at hand.
    Now(R),
    /// Once the registry has brought what is needed. Waits, with a word in the log, for what passes by itself; an error is what doesn't. A
    /// drop loses nothing.
    Later(BoxFuture<'static, Result<R>>),
}

impl<R> fmt::Debug for Reading<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Now(_)) { "Now" } else { "Later" })
    }
}

/// How much the schema of a record is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a record is not read, read for the first time, or once more")]
pub enum Need {
    /// Not at all: the record is not read.
    None,
    /// If the registry has it: if not, the record is a dead letter.
    Asked,
    /// The record was read before. If the registry does not have the schema any more, that is waited for: another judgement than the
    /// first would change numbers that are committed.
    Found,
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

    /// What reads these records, of each of which `need` says, by its offset and the name of its schema, how much that is needed. A schema
    /// that the registry does not have is asked for again for a while, since its nodes may not all know it yet; then its records are dead
    /// letters.
    pub fn reading(&self, records: &Records, need: impl Fn(i64, &dyn Fn() -> String) -> Need) -> Reading<EventReader> {
        #[cfg(feature = "schema-registry")]
        if let Some(avro) = &self.avro {
            return avro::Avro::reading(avro, records, need);
        }
        let _ = (records, need);
        Reading::Now(EventReader::default())
    }

    /// What reads these records, for who does not wait: a schema that the registry does not have makes dead letters at once.
    ///
    /// # Errors
    /// The registry's; retriable if it may pass.
    pub async fn reader(&self, records: &Records) -> Result<EventReader> {
        #[cfg(feature = "schema-registry")]
        if let Some(avro) = &self.avro {
            return avro.reader(records).await;
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
    pub(super) avro: Option<avro::Schemas>,
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

    /// The name of the schema that a record needs, if the format has schemas.
    pub fn schema(&self, record: &ConsumerRecord<'_>) -> Option<String> {
        #[cfg(feature = "schema-registry")]
        if self.avro.is_some() {
            return avro::named(record).map(|(id, _)| id.to_string());
        }
        let _ = record;
        None
    }

    /// The same, if the registry does not have it.
    pub fn unknown(&self, record: &ConsumerRecord<'_>) -> Option<String> {
        #[cfg(feature = "schema-registry")]
        if let Some(schemas) = &self.avro {
            return schemas.unknown(record).map(|id| id.to_string());
        }
        let _ = record;
        None
    }
}
