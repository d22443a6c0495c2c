//! What is registered, and by which rules.

use crate::schema::formats::Compiled;
use crate::schema::types::{Reference, Schema, SchemaType};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// A no, in Confluent's words: status, code, message.
pub(super) struct No(pub u16, pub i64, pub String);

#[derive(Debug, Default)]
pub(super) struct Content {
    /// By id, from 1 on.
    schemas: Vec<Schema>,
    subjects: BTreeMap<String, Subject>,
    /// The compatibility level of all that have none of their own.
    pub level: Option<String>,
}

/// What a schema is called in all registries: made of its content, as Confluent's is since 8.0.
pub(super) fn guid_of(schema: &Schema) -> Uuid {
    let digest = Sha256::digest(schema.to_json().to_string());
    Uuid::from_bytes(digest.first_chunk().copied().unwrap_or_default())
}

#[derive(Debug, Default)]
struct Subject {
    versions: BTreeMap<i32, Held>,
    /// The highest that there has ever been.
    last: i32,
    level: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    id: u32,
    deleted: bool,
}

/// A schema under its subject.
pub(super) struct Found {
    pub subject: String,
    pub version: i32,
    pub id: u32,
    pub schema: Schema,
}

impl Content {
    pub(super) fn subjects(&self, deleted: bool) -> Vec<String> {
        let shown = |subject: &Subject| subject.versions.values().any(|held| deleted || !held.deleted);
        self.subjects.iter().filter(|(_, subject)| shown(subject)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn schema(&self, id: u32) -> Result<Schema, No> {
        let at = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let schema = at.and_then(|at| self.schemas.get(at)).cloned();
        schema.ok_or_else(|| No(404, 40403, "Schema not found".to_owned()))
    }

    pub(super) fn schema_by_guid(&self, guid: &str) -> Result<Schema, No> {
        let wanted = Uuid::parse_str(guid).ok();
        let schema = self.schemas.iter().find(|schema| Some(guid_of(schema)) == wanted).cloned();
        schema.ok_or_else(|| No(404, 40403, "Schema not found".to_owned()))
    }

    /// Where the schema of this id is.
    pub(super) fn places(&self, id: u32) -> Vec<(String, i32)> {
        let of = |(name, subject): (&String, &Subject)| {
            let held = subject.versions.iter().filter(|(_, held)| held.id == id && !held.deleted);
            held.map(|(version, _)| (name.clone(), *version)).collect::<Vec<_>>()
        };
        self.subjects.iter().flat_map(of).collect()
    }

    pub(super) fn versions(&self, subject: &str, deleted: bool) -> Result<Vec<i32>, No> {
        let versions = self.subjects.get(subject).map(|subject| &subject.versions);
        let versions = versions.into_iter().flatten().filter(|(_, held)| deleted || !held.deleted);
        let versions: Vec<i32> = versions.map(|(version, _)| *version).collect();
        if versions.is_empty() { Err(unknown(subject)) } else { Ok(versions) }
    }

    /// By a number, `latest` or `-1`.
    pub(super) fn version(&self, subject: &str, version: &str, deleted: bool) -> Result<Found, No> {
        let versions = self.versions(subject, deleted)?;
        let wanted = match version {
            "latest" | "-1" => versions.last().copied(),
            _ => match version.parse::<i32>() {
                Ok(number @ 1..) => versions.contains(&number).then_some(number),
                _ => {
                    let why = format!(
                        "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and \
                         the string \"latest\""
                    );
                    return Err(No(422, 42202, why));
                }
            },
        };
        let wanted = wanted.ok_or_else(|| No(404, 40402, format!("Version {version} not found.")))?;
        let held = self.subjects.get(subject).and_then(|subject| subject.versions.get(&wanted));
        let held = held.ok_or_else(|| unknown(subject))?;
        Ok(Found { subject: subject.to_owned(), version: wanted, id: held.id, schema: self.schema(held.id)? })
    }

    /// Registered, or found again.
    pub(super) fn register(&mut self, subject: &str, schema: Schema, normalize: bool) -> Result<u32, No> {
        self.compiled(&schema)?;
        if let Ok(found) = self.lookup(subject, &schema, normalize, false) {
            return Ok(found.id);
        }
        let why = self.incompatible(subject, None, &schema)?;
        if !why.is_empty() {
            let why = why.join("; ");
            let message = format!(
                "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{why}]"
            );
            return Err(No(409, 409, message));
        }
        let known = self.schemas.iter().position(|known| self.is_same(known, &schema, false));
        let at = known.unwrap_or_else(|| {
            self.schemas.push(schema);
            self.schemas.len() - 1
        });
        let id = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let subject = self.subjects.entry(subject.to_owned()).or_default();
        subject.last += 1;
        subject.versions.insert(subject.last, Held { id, deleted: false });
        Ok(id)
    }

    pub(super) fn lookup(&self, subject: &str, schema: &Schema, normalize: bool, deleted: bool) -> Result<Found, No> {
        let versions = self.versions(subject, deleted)?;
        for version in versions.into_iter().rev() {
            let found = self.version(subject, &version.to_string(), deleted)?;
            if self.is_same(&found.schema, schema, normalize) {
                return Ok(found);
            }
        }
        Err(No(404, 40403, "Schema not found".to_owned()))
    }

    /// Why it could not be registered.
    pub(super) fn incompatible(
        &self,
        subject: &str,
        version: Option<&str>,
        schema: &Schema,
    ) -> Result<Vec<String>, No> {
        self.compiled(schema)?;
        let level = self.level(Some(subject));
        let newest = match version {
            Some(version) => Some(self.version(subject, version, false)?),
            None => self.version(subject, "latest", false).ok(),
        };
        let Some(older) = newest.filter(|_| level != "NONE") else { return Ok(Vec::new()) };
        if older.schema.kind != schema.kind {
            return Ok(vec![format!("{} after {}", schema.kind, older.schema.kind)]);
        }
        Ok(match schema.kind {
            SchemaType::Avro => avro_differences(&older.schema.text, &schema.text),
            _ => Vec::new(),
        })
    }

    pub(super) fn level(&self, subject: Option<&str>) -> String {
        let own = subject.and_then(|subject| self.subjects.get(subject)).and_then(|subject| subject.level.clone());
        own.or_else(|| self.level.clone()).unwrap_or_else(|| "BACKWARD".to_owned())
    }

    pub(super) fn set_level(&mut self, subject: Option<&str>, level: String) {
        match subject {
            Some(subject) => self.subjects.entry(subject.to_owned()).or_default().level = Some(level),
            None => self.level = Some(level),
        }
    }

    /// Softly, or for good what is deleted already.
    pub(super) fn delete(&mut self, subject: &str, version: Option<&str>, permanent: bool) -> Result<Vec<i32>, No> {
        let numbers = match version {
            Some(version) => vec![self.version(subject, version, permanent)?.version],
            None => self.versions(subject, permanent)?,
        };
        let held = self.subjects.get_mut(subject).ok_or_else(|| unknown(subject))?;
        for number in &numbers {
            match held.versions.get_mut(number) {
                Some(version) if permanent && version.deleted => drop(held.versions.remove(number)),
                Some(_) if permanent => {
                    let why = format!("Subject '{subject}' was not deleted first before being permanently deleted");
                    return Err(No(404, 40405, why));
                }
                Some(version) => version.deleted = true,
                None => {}
            }
        }
        Ok(numbers)
    }

    /// The schema with all that it uses.
    pub(super) fn compiled(&self, schema: &Schema) -> Result<Compiled, No> {
        let mut wanted: Vec<Reference> = schema.references.to_vec();
        let (mut seen, mut found) = (HashSet::new(), Vec::<(String, Arc<str>)>::new());
        while let Some(next) = wanted.pop() {
            if seen.insert(next.clone()) {
                let used = self.version(&next.subject, &next.version.to_string(), true).map_err(|No(.., why)| {
                    let why = format!("Invalid schema: the reference {} to {}: {why}", next.name, next.subject);
                    No(422, 42201, why)
                })?;
                wanted.extend(used.schema.references.iter().cloned());
                found.push((next.name, used.schema.text));
            }
        }
        Compiled::new(schema, &found)
            .map_err(|error| No(422, 42201, format!("Invalid schema {}: {error}", schema.text)))
    }

    /// The same but for white space (Avro, JSON) and, of Protobuf, the same descriptor.
    fn is_same(&self, one: &Schema, other: &Schema, normalize: bool) -> bool {
        if one.kind != other.kind || (!normalize && one.references != other.references) {
            return false;
        }
        let json = |schema: &Schema| serde_json::from_str::<Value>(&schema.text).ok();
        let file = |schema: &Schema| match self.compiled(schema) {
            Ok(Compiled::Protobuf(protobuf)) => Some(protobuf.serialized()),
            _ => None,
        };
        one.text == other.text
            || match one.kind {
                SchemaType::Protobuf => file(one).is_some_and(|one| file(other) == Some(one)),
                _ => json(one).is_some_and(|one| json(other) == Some(one)),
            }
    }
}

/// What keeps the newer of two Avro schemas from reading the older one's data, as far as this registry looks.
fn avro_differences(older: &str, newer: &str) -> Vec<String> {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (older, newer) = (parsed(older), parsed(newer));
    let kind = |schema: &Value| schema.get("type").unwrap_or(schema).clone();
    if kind(&older) != kind(&newer) {
        return vec![format!("TYPE_MISMATCH: {} after {}", kind(&newer), kind(&older))];
    }
    let fields = |schema: &Value| schema.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
    let of_name = |fields: &[Value], name: &Value| fields.iter().find(|field| field.get("name") == Some(name)).cloned();
    let old = fields(&older);
    let mut why = Vec::new();
    for field in fields(&newer) {
        let name = field.get("name").cloned().unwrap_or_default();
        match of_name(&old, &name) {
            None if field.get("default").is_none() => {
                why.push(format!("READER_FIELD_MISSING_DEFAULT_VALUE: the field {name} has no default"));
            }
            Some(before) if before.get("type") != field.get("type") && !is_wider(&before, &field) => {
                why.push(format!("TYPE_MISMATCH: the field {name} has another type"));
            }
            _ => {}
        }
    }
    why
}

/// Whether the newer field's type is a union with the older one's, or a wider number.
fn is_wider(before: &Value, field: &Value) -> bool {
    let (Some(before), Some(after)) = (before.get("type"), field.get("type")) else { return false };
    let wider = ["int", "long", "float", "double"];
    let place = |schema: &Value| wider.iter().position(|name| schema.as_str() == Some(name));
    let in_union = |one: &Value| after.as_array().is_some_and(|union| union.contains(one));
    in_union(before)
        || before.as_array().is_some_and(|union| union.iter().all(in_union))
        || place(before).zip(place(after)).is_some_and(|(before, after)| before <= after)
}

fn unknown(subject: &str) -> No {
    No(404, 40401, format!("Subject '{subject}' not found."))
}
