//! [`Compiled`]: a schema that is ready for use, of whichever language.

use super::avro::Avro;
use super::protobuf::Protobuf;
use super::types::{Schema, SchemaType};
use crate::error::{Error, ErrorKind, Result};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

#[derive(Debug)]
pub(super) enum Compiled {
    Avro(Arc<Avro>),
    /// Its `title`.
    Json(Option<String>),
    Protobuf(Protobuf),
}

impl Compiled {
    /// With the texts of what it uses, by name.
    pub(super) fn new(schema: &Schema, references: &[(String, Arc<str>)]) -> Result<Self> {
        Ok(match schema.kind {
            SchemaType::Avro => Self::Avro(Arc::new(Avro::new(&schema.text, references)?)),
            SchemaType::Json => {
                let schema: Value = serde_json::from_str(&schema.text)
                    .map_err(|error| Error::with_message(ErrorKind::Malformed, format!("no JSON Schema: {error}")))?;
                Self::Json(schema.get("title").and_then(Value::as_str).map(str::to_owned))
            }
            SchemaType::Protobuf => Self::Protobuf(Protobuf::new(&schema.text, references)?),
        })
    }

    /// The language that it is written in.
    pub(super) fn kind(&self) -> SchemaType {
        match self {
            Self::Avro(_) => SchemaType::Avro,
            Self::Json(_) => SchemaType::Json,
            Self::Protobuf(_) => SchemaType::Protobuf,
        }
    }

    /// The type's full name, for subjects; of Protobuf, that of the first message.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Avro(avro) => avro.name(),
            Self::Json(title) => title.clone(),
            Self::Protobuf(protobuf) => protobuf.message(&[0]).ok().map(|message| message.full_name().to_owned()),
        }
    }

    pub(super) fn avro(&self) -> Result<&Arc<Avro>> {
        if let Self::Avro(avro) = self { Ok(avro) } else { Err(self.other(SchemaType::Avro)) }
    }

    pub(super) fn protobuf(&self) -> Result<&Protobuf> {
        if let Self::Protobuf(protobuf) = self { Ok(protobuf) } else { Err(self.other(SchemaType::Protobuf)) }
    }

    /// That it is of another language.
    pub(super) fn other(&self, wanted: SchemaType) -> Error {
        Error::with_message(ErrorKind::Malformed, format!("the schema is {}, and not {wanted}", self.kind()))
    }

    /// What is behind the id, as JSON on one line.
    pub(super) fn to_json(&self, data: &[u8], indexes: Option<&[usize]>) -> Result<String> {
        match self {
            Self::Avro(avro) => avro.decode_json(data),
            // As it is: in its order, with its numbers. A string has no line break of its own.
            Self::Json(_) => json::<&RawValue>(data).map(|json| json.get().replace(['\n', '\r'], "")),
            Self::Protobuf(protobuf) => protobuf.decode_json(data, indexes),
        }
    }
}

/// What is behind the id of a JSON record.
pub(super) fn json<'a, T: serde::Deserialize<'a>>(data: &'a [u8]) -> Result<T> {
    serde_json::from_slice(data)
        .map_err(|error| Error::with_message(ErrorKind::Malformed, format!("no JSON of it: {error}")))
}
