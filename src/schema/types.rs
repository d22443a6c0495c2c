//! Schemas, and what a registry says of them.

use crate::error::{Error, ErrorKind, Result, shown};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// What language a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SchemaType {
    /// `AVRO`, which a registry does not name.
    #[default]
    Avro,
    /// `JSON`: JSON Schema.
    Json,
    /// `PROTOBUF`: a `.proto` file.
    Protobuf,
}

impl SchemaType {
    /// As the registry names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// Out of the registry's name.
    ///
    /// # Errors
    /// `Malformed` for a type that is not built in.
    pub(super) fn named(name: &str) -> Result<Self> {
        [Self::Avro, Self::Json, Self::Protobuf].into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let why = format!("a schema of the type {}: AVRO, JSON and PROTOBUF are what is built in", shown(name, 40));
            Error::with_message(ErrorKind::Malformed, why)
        })
    }
}

impl fmt::Display for SchemaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a schema uses of another subject's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct Reference {
    /// What the schema calls it: Avro's full name of a type, the `import` of a `.proto`, the `$ref` of a JSON Schema.
    pub name: String,
    /// Where it is registered.
    pub subject: String,
    /// Under which version.
    pub version: i32,
}

/// A schema: its text, and what that uses of others. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema {
    pub(super) kind: SchemaType,
    pub(super) text: Arc<str>,
    pub(super) references: Arc<[Reference]>,
}

impl Schema {
    /// A schema of this type. Nothing is looked at yet.
    pub fn new(kind: SchemaType, text: impl Into<Arc<str>>) -> Self {
        Self { kind, text: text.into(), references: Arc::new([]) }
    }

    /// An Avro schema.
    pub fn avro(text: impl Into<Arc<str>>) -> Self {
        Self::new(SchemaType::Avro, text)
    }

    /// A JSON Schema.
    pub fn json(text: impl Into<Arc<str>>) -> Self {
        Self::new(SchemaType::Json, text)
    }

    /// A `.proto` file.
    pub fn protobuf(text: impl Into<Arc<str>>) -> Self {
        Self::new(SchemaType::Protobuf, text)
    }

    /// Adds what it uses of another subject: see [`Reference`].
    pub fn reference(mut self, name: impl Into<String>, subject: impl Into<String>, version: i32) -> Self {
        let one = Reference { name: name.into(), subject: subject.into(), version };
        self.references = self.references.iter().cloned().chain([one]).collect();
        self
    }

    /// The language that it is written in.
    pub fn schema_type(&self) -> SchemaType {
        self.kind
    }

    /// The text, as it is registered.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it uses of others.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// As it is sent. Registries that are older than other types know no `schemaType`: Avro goes without.
    pub(super) fn to_json(&self) -> Value {
        let mut body = json!({ "schema": &*self.text });
        if self.kind != SchemaType::Avro {
            body["schemaType"] = self.kind.name().into();
        }
        if !self.references.is_empty() {
            let one = |r: &Reference| json!({"name": r.name, "subject": r.subject, "version": r.version});
            body["references"] = self.references.iter().map(one).collect();
        }
        body
    }
}

/// A schema under its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// Where it is registered: `clicks-value`.
    pub subject: String,
    /// The how manieth of the subject it is; versions begin at 1.
    pub version: i32,
    /// What records carry. The same schema has one id under all subjects.
    pub id: u32,
    /// The schema.
    pub schema: Schema,
}

/// What a compatibility check has come to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Compatibility {
    /// Whether the schema may be registered.
    pub is_compatible: bool,
    /// Why not, in the registry's words, if it has any.
    #[serde(default)]
    pub messages: Vec<String>,
}

/// Which of a subject's schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest there is.
    Latest,
    /// This one, from 1 on.
    Number(i32),
}

/// -1 is the latest, as for registries.
impl From<i32> for Version {
    fn from(number: i32) -> Self {
        if number == -1 { Self::Latest } else { Self::Number(number) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => number.fmt(f),
        }
    }
}
