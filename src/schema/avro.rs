//! Avro, by `apache-avro`: schemas with what they use of others, data by the writer's schema and resolved to the reader's.

mod decode;
mod inline;
mod json;
mod resolve;

use crate::error::{Error, ErrorKind, Result, shown};
use apache_avro::schema::{Name, Names, ResolvedSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use resolve::{Source, Written};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// No more than this of another crate's words goes into an error: they hold whole schemas and values.
const WORDS: usize = 500;

/// A schema that is ready for use.
#[derive(Debug)]
pub(super) struct Avro {
    schema: Schema,
    /// The named types in it.
    names: Names,
}

impl Avro {
    /// Out of its text, and the texts of what it uses, by name.
    ///
    /// # Errors
    /// `Malformed` with what is wrong with it.
    pub(super) fn new(text: &str, references: &[(String, Arc<str>)]) -> Result<Self> {
        let schema = match references {
            [] => Schema::parse_str(text),
            _ => Schema::parse_str(&inline::inlined(text, references)?),
        };
        let schema = schema.map_err(|error| wrong("no Avro schema", &error))?;
        let resolved = ResolvedSchema::new(&schema).map_err(|error| wrong("no Avro schema", &error))?;
        let names = resolved.get_names().iter().map(|(name, schema)| (name.clone(), (*schema).clone())).collect();
        Ok(Self { schema, names })
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn named(&self, name: &Name) -> Option<&Schema> {
        self.names.get(name)
    }

    /// The full name, of a record, an enum or a fixed.
    pub(super) fn name(&self) -> Option<String> {
        self.schema.name().map(Name::to_string)
    }

    /// What serde makes of it.
    ///
    /// # Errors
    /// `InvalidArgument` for what Avro has no type for.
    pub(super) fn encode_serde<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let value = apache_avro::to_value(value).map_err(|error| refused(&error))?;
        self.encoded(value, Source::Serde)
    }

    /// The bytes of a value, brought to the schema: numbers are widened, missing fields have their defaults. Fields and symbols that the
    /// schema has not are refused, and so is a value that is not of the branch that it names.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not of the schema.
    pub(super) fn encode(&self, value: Value) -> Result<Vec<u8>> {
        self.encoded(value, Source::Value)
    }

    fn encoded(&self, value: Value, source: Source<'_>) -> Result<Vec<u8>> {
        let value = resolve::resolved(value, source, &self.schema, &self.names).map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            error.message(format!("the value is not of the schema: {why}"))
        })?;
        if let (Schema::Bytes, Value::Bytes(bytes)) = (&self.schema, &value) {
            return Ok(bytes.clone());
        }
        let writer = GenericDatumWriter::builder(&self.schema).build().map_err(|error| refused(&error))?;
        writer.write_value_to_vec(value).map_err(|error| refused(&error))
    }

    /// The value of these bytes, as the reader's schema has it, if there is one.
    ///
    /// # Errors
    /// `Malformed` if they are not of this schema, or can't be resolved to the reader's.
    pub(super) fn decode(&self, bytes: &[u8], reader: Option<&Self>) -> Result<Value> {
        // A schema that is nothing but bytes: Java's serializer writes them as they are (Python's with their length before them).
        let value = match &self.schema {
            Schema::Bytes => Value::Bytes(bytes.to_vec()),
            schema => decode::decoded(bytes, schema, &self.names)?,
        };
        let Some(reader) = reader.filter(|reader| reader.schema != self.schema) else { return Ok(value) };
        let source = Source::Data(Written { schema: &self.schema, names: &self.names, union: None });
        resolve::resolved(value, source, &reader.schema, &reader.names).map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            error
                .of_kind(ErrorKind::Malformed)
                .message(format!("the writer's schema can't be resolved to the reader's: {why}"))
        })
    }

    /// The same, as serde has it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and if the type does not fit the schema.
    pub(super) fn decode_serde<T: DeserializeOwned>(&self, bytes: &[u8], reader: Option<&Self>) -> Result<T> {
        let value = self.decode(bytes, reader)?;
        from_value(&value).map_err(|error| wrong("the schema does not fit the type", &error))
    }

    /// The same, as the text of JSON without types.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(super) fn decode_json(&self, bytes: &[u8]) -> Result<String> {
        let value = self.decode(bytes, None)?;
        let shown = json::Shown { value: &value, schema: &self.schema, names: &self.names };
        serde_json::to_string(&shown).map_err(|error| Error::with_message(ErrorKind::Malformed, error.to_string()))
    }
}

/// With the path to the field.
fn of_field(error: Error, field: &str) -> Error {
    let why = error.text().unwrap_or_default().to_owned();
    error.message(match why.strip_prefix("field ") {
        Some(inner) => format!("field {field}.{inner}"),
        None => format!("field {field}: {why}"),
    })
}

fn wrong(what: &str, error: &apache_avro::Error) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("{what}: {}", shown(&error.to_string(), WORDS)))
}

fn refused(error: &apache_avro::Error) -> Error {
    let why = format!("the value is not of the schema: {}", shown(&error.to_string(), WORDS));
    Error::with_message(ErrorKind::InvalidArgument, why)
}

#[cfg(test)]
mod tests {
    use super::Avro;

    #[test]
    fn a_schema_of_bytes_alone_is_the_bytes_themselves() {
        let avro = Avro::new(r#""bytes""#, &[]).unwrap();
        let bytes = avro.encode(apache_avro::types::Value::Bytes(vec![0, 200, 7])).unwrap();
        assert_eq!(bytes, [0, 200, 7]);
        assert_eq!(avro.decode_json(&bytes).unwrap(), "\"\\u0000È\\u0007\"");
        let text = Avro::new(r#""string""#, &[]).unwrap();
        assert_eq!(avro.decode_serde::<String>(b"hi", Some(&text)).unwrap(), "hi");
    }
}
