//! [`Serializer`]: values into the bytes of a record.

use super::avro::Avro;
use super::formats::Compiled;
use super::registry::Registry;
use super::subject::{Side, SubjectNameStrategy};
use super::types::{Schema, SchemaType, Version};
use super::wire::{self, SchemaId};
use crate::error::{Error, ErrorKind, Result};
use apache_avro::types::Value as AvroValue;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The ids of more topics are left to the registry's cache.
const MOST_TOPICS: usize = 1000;

/// Appends a value, by a schema, to what stands before it.
type Encode<T> = fn(&Compiled, Option<&str>, &T, &mut Vec<u8>) -> Result<()>;

/// Makes the bytes of keys or values, in Confluent's wire format. Its schema is registered when the first record of a topic needs its
/// id, unless [`auto.register.schemas`](super::RegistryConfig::auto_register_schemas) or
/// [`use.latest.version`](super::RegistryConfig::use_latest_version) say otherwise. To be shared: nothing in it changes from record
/// to record.
pub struct Serializer<T> {
    registry: Registry,
    schema: Schema,
    wanted: SchemaType,
    side: Side,
    strategy: Option<SubjectNameStrategy>,
    auto_register: bool,
    use_latest: bool,
    /// Protobuf's, by its full name.
    message: Option<String>,
    encode: Encode<T>,
    own: OnceCell<Arc<Compiled>>,
    /// By topic, unless it is the latest that counts: an id does not change.
    ids: Mutex<HashMap<String, u32>>,
}

impl<T> fmt::Debug for Serializer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serializer").field("schema", &self.schema).field("side", &self.side).finish_non_exhaustive()
    }
}

impl<T: Serialize> Serializer<T> {
    /// Avro, of anything that serde serializes. Numbers are widened to what the schema has, fields that the type has not get their
    /// defaults, an `Option` is a union with null. Fields and symbols that the schema has not are refused. Of a schema that is `"bytes"`
    /// alone, bytes are written as they are, as Java does it.
    pub fn avro(registry: &Registry, schema: Schema) -> Self {
        Self::new(registry, schema, SchemaType::Avro, |compiled, _, value, bytes| {
            bytes.extend(compiled.avro()?.encode_serde(value)?);
            Ok(())
        })
    }

    /// JSON, of anything that serde serializes. It is not validated by the schema.
    pub fn json(registry: &Registry, schema: Schema) -> Self {
        Self::new(registry, schema, SchemaType::Json, |_, _, value, bytes| {
            serde_json::to_writer(bytes, value).map_err(|error| {
                Error::with_message(ErrorKind::InvalidArgument, format!("no JSON can be made of it: {error}"))
            })
        })
    }
}

impl Serializer<AvroValue> {
    /// Avro, of values without a type. One that names a branch of a union has to be of it.
    pub fn avro_values(registry: &Registry, schema: Schema) -> Self {
        Self::new(registry, schema, SchemaType::Avro, |compiled, _, value, bytes| {
            bytes.extend(Avro::encode(compiled.avro()?, value.clone())?);
            Ok(())
        })
    }
}

impl<T: Message> Serializer<T> {
    /// Protobuf, of a type that prost has generated: `message` is its full name in the schema, `com.example.Click`.
    pub fn protobuf(registry: &Registry, schema: Schema, message: impl Into<String>) -> Self {
        let encode: Encode<T> = |compiled, message, value, bytes| {
            let indexes = compiled.protobuf()?.indexes(message.unwrap_or_default())?;
            wire::put_message_indexes(bytes, &indexes);
            value.encode(bytes).map_err(|error| Error::with_message(ErrorKind::InvalidArgument, error.to_string()))
        };
        Self { message: Some(message.into()), ..Self::new(registry, schema, SchemaType::Protobuf, encode) }
    }
}

impl Serializer<DynamicMessage> {
    /// Protobuf, of messages without a type of their own, made of [`message`](Self::message). Of a strategy by record the subject is named
    /// for the schema's first message.
    pub fn dynamic(registry: &Registry, schema: Schema) -> Self {
        Self::new(registry, schema, SchemaType::Protobuf, |compiled, _, value, bytes| {
            let indexes = compiled.protobuf()?.indexes(value.descriptor().full_name())?;
            wire::put_message_indexes(bytes, &indexes);
            value.encode(bytes).map_err(|error| Error::with_message(ErrorKind::InvalidArgument, error.to_string()))
        })
    }
}

impl Serializer<DynamicMessage> {
    /// The type of a message by its full name, to make messages of: [`DynamicMessage::new`], or out of JSON with
    /// [`DynamicMessage::deserialize`].
    ///
    /// # Errors
    /// `Config` if the schema has no such message; those of [`Registry::schema`] for what it uses of others.
    pub async fn message(&self, name: &str) -> Result<MessageDescriptor> {
        let protobuf = self.own().await?.protobuf()?;
        protobuf.message(&protobuf.indexes(name)?)
    }
}

impl<T> Serializer<T> {
    async fn own(&self) -> Result<&Arc<Compiled>> {
        self.own.get_or_try_init(|| self.registry.compile(&self.schema, self.registry.end())).await
    }

    fn new(registry: &Registry, schema: Schema, wanted: SchemaType, encode: Encode<T>) -> Self {
        let defaults = registry.config().defaults;
        Self {
            registry: registry.clone(),
            schema,
            wanted,
            side: Side::Value,
            strategy: None,
            auto_register: defaults.auto_register,
            use_latest: defaults.use_latest,
            message: None,
            encode,
            own: OnceCell::new(),
            ids: Mutex::default(),
        }
    }

    /// For keys. Default: for values.
    pub fn key(mut self) -> Self {
        self.side = Side::Key;
        self
    }

    /// `key.subject.name.strategy` or `value.subject.name.strategy`. Default: that of the registry's settings.
    pub fn subject_name_strategy(mut self, strategy: SubjectNameStrategy) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// `auto.register.schemas`. Default: that of the registry's settings.
    pub fn auto_register_schemas(mut self, yes: bool) -> Self {
        self.auto_register = yes;
        self
    }

    /// `use.latest.version`. Default: that of the registry's settings.
    pub fn use_latest_version(mut self, yes: bool) -> Self {
        self.use_latest = yes;
        self
    }

    /// The bytes for a record of this topic. The registry is asked for the first of a subject, and for the latest version when that is
    /// no longer [taken for the latest](super::RegistryConfig::latest_ttl). A drop loses nothing but the answer.
    ///
    /// # Errors
    /// `InvalidArgument` if the value is not of the schema; those of [`Registry::register`] and [`Registry::schema`].
    pub async fn serialize(&self, topic: &str, value: &T) -> Result<Vec<u8>> {
        self.bytes(topic, value).await.map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            error.message(format!("the {} for {topic}: {why}", self.side.name()))
        })
    }

    async fn bytes(&self, topic: &str, value: &T) -> Result<Vec<u8>> {
        if self.schema.kind != self.wanted {
            let why = format!("the serializer is for {}, and its schema is {}", self.wanted, self.schema.kind);
            return Err(Error::with_message(ErrorKind::Config, why));
        }
        let own = self.own().await?;
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        let (id, compiled) = match known {
            Some(id) => (id, own.clone()),
            None => self.asked(topic, own).await?,
        };
        let mut bytes = wire::prefix(id);
        (self.encode)(&compiled, self.message.as_deref(), value, &mut bytes)?;
        Ok(bytes)
    }

    /// The id for a topic, and the schema that it is of.
    async fn asked(&self, topic: &str, own: &Arc<Compiled>) -> Result<(u32, Arc<Compiled>)> {
        let end = self.registry.end();
        let strategy = self.strategy.unwrap_or_else(|| self.registry.config().defaults.strategy(self.side));
        let name = self.message.clone().or_else(|| own.name());
        let subject = strategy.subject(topic, self.side, name.as_deref())?;
        if self.use_latest {
            let latest = self.registry.version(&subject, Version::Latest).await?;
            return Ok((latest.id, self.registry.compiled(SchemaId::Id(latest.id)).await?));
        }
        let id = match self.auto_register {
            true => self.registry.register_by(&subject, &self.schema, end).await?,
            false => self.registry.id_of(&subject, &self.schema, end).await?,
        };
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < MOST_TOPICS {
            ids.insert(topic.to_owned(), id);
        }
        Ok((id, own.clone()))
    }
}
