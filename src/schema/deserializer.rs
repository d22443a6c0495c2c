//! [`Deserializer`]: the bytes of a record into values.

use super::avro::Avro;
use super::formats::{Compiled, json};
use super::protobuf::decode_typed;
use super::registry::Registry;
use super::subject::Side;
use super::types::{Schema, SchemaType};
use super::wire::{self, Framed};
use crate::consumer::ConsumerRecord;
use crate::error::{Error, ErrorKind, Result};
use apache_avro::types::Value as AvroValue;
use prost::Message;
use prost_reflect::DynamicMessage;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A value out of the data behind the id: by its schema, the reader's, and Protobuf's message indexes if they are not there.
type Decode<T> = fn(&Compiled, Option<&Avro>, &[u8], Option<&[usize]>) -> Result<T>;

/// Reads keys or values in Confluent's wire format, by the schema that each record names, in its bytes or in a header. To be shared;
/// what is asked of the registry is asked once for each schema.
pub struct Deserializer<T> {
    registry: Registry,
    reader: Option<Schema>,
    resolved: OnceCell<Arc<Compiled>>,
    decode: Decode<T>,
}

impl<T> fmt::Debug for Deserializer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deserializer").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Deserializer<T> {
    /// Avro, into anything that serde deserializes.
    pub fn avro(registry: &Registry) -> Self {
        Self::new(registry, |compiled, reader, data, _| compiled.avro()?.decode_serde(data, reader))
    }

    /// JSON, into anything that serde deserializes.
    pub fn json(registry: &Registry) -> Self {
        Self::new(registry, |compiled, _, data, _| match compiled {
            Compiled::Json(_) => json(data),
            other => Err(other.other(SchemaType::Json)),
        })
    }

    /// Whatever the record's schema says, by way of JSON: into [`serde_json::Value`], or anything that serde deserializes. Bytes,
    /// decimals and the like are the text that they are in JSON.
    pub fn any(registry: &Registry) -> Self {
        Self::new(registry, |compiled, _, data, indexes| {
            let text = compiled.to_json(data, indexes)?;
            serde_json::from_str(&text).map_err(|error| {
                Error::with_message(ErrorKind::Malformed, format!("the schema does not fit the type: {error}"))
            })
        })
    }
}

impl Deserializer<String> {
    /// Whatever the record's schema says, as the text of JSON.
    pub(super) fn text(registry: &Registry) -> Self {
        Self::new(registry, |compiled, _, data, indexes| compiled.to_json(data, indexes))
    }
}

impl Deserializer<AvroValue> {
    /// Avro, into values without a type.
    pub fn avro_values(registry: &Registry) -> Self {
        Self::new(registry, |compiled, reader, data, _| compiled.avro()?.decode(data, reader))
    }
}

impl<T: Message + Default> Deserializer<T> {
    /// Protobuf, into a type that prost has generated. Which message it is is not looked at: Protobuf has no names.
    pub fn protobuf(registry: &Registry) -> Self {
        Self::new(registry, |compiled, _, data, indexes| {
            compiled.protobuf()?;
            decode_typed(data, indexes)
        })
    }
}

impl Deserializer<DynamicMessage> {
    /// Protobuf, into messages without a type of their own, by the registry's schema.
    pub fn dynamic(registry: &Registry) -> Self {
        Self::new(registry, |compiled, _, data, indexes| compiled.protobuf()?.decode(data, indexes))
    }
}

impl<T> Deserializer<T> {
    fn new(registry: &Registry, decode: Decode<T>) -> Self {
        Self { registry: registry.clone(), reader: None, resolved: OnceCell::new(), decode }
    }

    /// The schema that Avro's data is brought to, as Avro's schema resolution has it: fields that are new have their defaults, those
    /// that are gone are left out. Default: the writer's, and serde takes what it finds.
    pub fn reader_schema(mut self, schema: Schema) -> Self {
        self.reader = Some(schema);
        self
    }

    /// The value of a record; `None` for a tombstone. A drop loses nothing.
    ///
    /// # Errors
    /// `Malformed`, with topic, partition and offset, for what is not in this format or not of its schema; those of
    /// [`Registry::schema`].
    pub async fn value(&self, record: &ConsumerRecord<'_>) -> Result<Option<T>> {
        self.half(record, Side::Value).await
    }

    /// The key of a record, if it has one.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub async fn key(&self, record: &ConsumerRecord<'_>) -> Result<Option<T>> {
        self.half(record, Side::Key).await
    }

    async fn half(&self, record: &ConsumerRecord<'_>, side: Side) -> Result<Option<T>> {
        let outcome = match wire::framed(record, side) {
            Ok(None) => return Ok(None),
            Ok(Some(framed)) => self.framed(framed).await,
            Err(error) => Err(error),
        };
        outcome.map(Some).map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            let what = format!("the {} at offset {}: {why}", side.name(), record.offset());
            error.message(what).partition(record.topic_partition().clone())
        })
    }

    /// The value of these bytes.
    ///
    /// # Errors
    /// As [`value`](Self::value), without where it is.
    pub async fn deserialize(&self, bytes: &[u8]) -> Result<T> {
        self.framed(wire::before_data(bytes)?).await
    }

    /// The value of these bytes, whose schema a header names: `__key_schema_id` or `__value_schema_id`.
    ///
    /// # Errors
    /// As [`deserialize`](Self::deserialize).
    pub async fn deserialize_with_header(&self, header: &[u8], data: &[u8]) -> Result<T> {
        self.framed(wire::with_header(header, data)?).await
    }

    async fn framed(&self, framed: Framed<'_>) -> Result<T> {
        let Framed { id, indexes, data } = framed;
        let compiled = self.registry.compiled(id).await?;
        let reader = match &self.reader {
            Some(schema) => {
                let compile = || self.registry.compile(schema, self.registry.end());
                Some(&**self.resolved.get_or_try_init(compile).await?.avro()?)
            }
            None => None,
        };
        (self.decode)(&compiled, reader, data, indexes.as_deref()).map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            error.message(format!("schema {id}: {why}"))
        })
    }
}
