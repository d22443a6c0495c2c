//! A schema with what it uses of others written into it, each where it comes first.

use crate::error::{Error, ErrorKind, Result, shown};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const PRIMITIVES: &[&str] = &["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// No schema stands deeper in others: the parser goes no deeper either.
const DEEPEST: usize = 100;
/// Types without a name are written in wherever they are used; not more bytes of them than this.
const MOST_WRITTEN: usize = 16 << 20;

/// The text with all that it uses. Of the references only the texts count: Avro's names are in them.
///
/// # Errors
/// `Malformed` for what is no JSON, or has no end.
pub(super) fn inlined(text: &str, references: &[(String, Arc<str>)]) -> Result<String> {
    let mut known = HashMap::new();
    for (name, text) in references {
        let schema = parsed(text, name)?;
        define(&schema, "", &mut known);
        // What has no name of its own goes by that of the reference.
        known.entry(name.clone()).or_insert((schema, String::new()));
    }
    let schema = parsed(text, "the schema")?;
    let mut inlining = Inlining { known, done: HashSet::new(), depth: 0, written: 0 };
    Ok(inlining.schema(schema, "")?.to_string())
}

fn parsed(text: &str, what: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| malformed(format!("{}: {error}", shown(what, 200))))
}

fn malformed(why: String) -> Error {
    Error::with_message(ErrorKind::Malformed, format!("no Avro schema: {why}"))
}

/// The named types in a schema, each with the namespace that it stands in.
fn define(schema: &Value, namespace: &str, known: &mut HashMap<String, (Value, String)>) {
    match schema {
        Value::Array(variants) => variants.iter().for_each(|variant| define(variant, namespace, known)),
        Value::Object(object) => {
            let mut inner = namespace.to_owned();
            if let Some(name) = full_name(object, namespace) {
                inner = namespace_of(&name).to_owned();
                known.entry(name).or_insert_with(|| (schema.clone(), namespace.to_owned()));
            }
            let fields = object.get("fields").and_then(Value::as_array).into_iter().flatten();
            let types = fields.filter_map(|field| field.get("type"));
            let others = ["items", "values", "type"].into_iter().filter_map(|key| object.get(key));
            types.chain(others).for_each(|schema| define(schema, &inner, known));
        }
        _ => {}
    }
}

struct Inlining {
    known: HashMap<String, (Value, String)>,
    done: HashSet<String>,
    depth: usize,
    /// How many bytes have come of others.
    written: usize,
}

impl Inlining {
    fn schema(&mut self, schema: Value, namespace: &str) -> Result<Value> {
        if self.depth == DEEPEST {
            return Err(malformed(format!("nested deeper than {DEEPEST}, or a type without a name that holds itself")));
        }
        self.depth += 1;
        let schema = match schema {
            Value::String(name) if PRIMITIVES.contains(&name.as_str()) => Value::String(name),
            Value::String(name) => self.named(name, namespace)?,
            Value::Array(variants) => {
                let variants = variants.into_iter().map(|variant| self.schema(variant, namespace));
                Value::Array(variants.collect::<Result<_>>()?)
            }
            Value::Object(object) => self.object(object, namespace)?,
            other => other,
        };
        self.depth -= 1;
        Ok(schema)
    }

    fn named(&mut self, name: String, namespace: &str) -> Result<Value> {
        let full = qualified(&name, namespace);
        let full = if self.known.contains_key(&full) || self.done.contains(&full) { full } else { name };
        if self.done.contains(&full) {
            return Ok(Value::String(full));
        }
        match self.known.get(&full).cloned() {
            Some((schema, namespace)) => {
                self.written += schema.to_string().len();
                if self.written > MOST_WRITTEN {
                    return Err(malformed(format!(
                        "with what it uses of others it has more than {MOST_WRITTEN} bytes"
                    )));
                }
                self.schema(schema, &namespace)
            }
            None => Ok(Value::String(full)), // of the schema itself, or of nobody: the parser says so
        }
    }

    fn object(&mut self, mut object: Map<String, Value>, namespace: &str) -> Result<Value> {
        let mut inner = namespace.to_owned();
        if let Some(name) = full_name(&object, namespace) {
            if !self.done.insert(name.clone()) {
                return Ok(Value::String(name));
            }
            inner = namespace_of(&name).to_owned();
            // In full, since it may stand in another namespace now.
            object.insert("name".to_owned(), name.rsplit('.').next().unwrap_or_default().into());
            object.insert("namespace".to_owned(), inner.as_str().into());
        }
        if let Some(Value::Array(fields)) = object.get_mut("fields") {
            for field in fields {
                if let Some(schema) = field.get_mut("type") {
                    *schema = self.schema(schema.take(), &inner)?;
                }
            }
        }
        for key in ["items", "values", "type"] {
            let named = key == "type" && object.contains_key("name");
            if let Some(schema) = object.get_mut(key).filter(|schema| !(named && schema.is_string())) {
                *schema = match schema.take() {
                    Value::String(kind) if key == "type" && ["array", "map"].contains(&kind.as_str()) => kind.into(),
                    schema => self.schema(schema, &inner)?,
                };
            }
        }
        Ok(Value::Object(object))
    }
}

/// Of a record, an enum or a fixed.
fn full_name(object: &Map<String, Value>, namespace: &str) -> Option<String> {
    let kind = object.get("type")?.as_str()?;
    if !["record", "error", "enum", "fixed"].contains(&kind) {
        return None;
    }
    let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Some(qualified(object.get("name")?.as_str()?, own))
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn namespace_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use crate::schema::avro::Avro;

    #[test]
    fn what_is_used_of_others_is_written_in_once() {
        let user = r#"{"type":"record","namespace":"a","name":"User","fields":[
            {"name":"name","type":"string"},
            {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["X","Y"]}},
            {"name":"home","type":["null","b.Place"]}]}"#;
        let place = r#"{"type":"record","name":"b.Place","fields":[{"name":"at","type":"Point"}]}"#;
        let point = r#"{"type":"record","name":"b.Point","fields":[{"name":"x","type":"int"}]}"#;
        let order = r#"{"type":"record","namespace":"a","name":"Order","fields":[
            {"name":"kind","type":"a.Kind"},
            {"name":"by","type":"User"},
            {"name":"for","type":{"type":"array","items":"User"}},
            {"name":"to","type":{"type":"map","values":"b.Place"}},
            {"name":"next","type":["null","Order"]}]}"#;
        let references = [("a.User", user), ("b.Place", place), ("b.Point", point)];
        let references = references.map(|(name, text)| (name.to_owned(), text.into()));
        let avro = Avro::new(order, &references).unwrap();
        let json = serde_json::json!({
            "kind": "Y",
            "by": {"name": "n", "kind": "X", "home": {"at": {"x": 1}}},
            "for": [], "to": {"p": {"at": {"x": 7}}}, "next": null
        });
        let bytes = avro.encode_serde(&json).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&avro.decode_json(&bytes).unwrap()).unwrap();
        assert_eq!(shown, json);
        assert_eq!(avro.name().as_deref(), Some("a.Order"));
        let error = Avro::new(order, &references[..1]).unwrap_err().to_string();
        assert!(error.starts_with("no Avro schema: ") && error.contains("b.Place"), "{error}");
    }
    #[test]
    fn what_has_no_name_can_not_go_on_for_ever() {
        let error = |references: &[(String, std::sync::Arc<str>)]| {
            Avro::new(r#"{"type":"array","items":"X0"}"#, references).unwrap_err().to_string()
        };
        let itself = [("X0".to_owned(), r#"{"type":"array","items":"X0"}"#.into())];
        assert!(error(&itself).contains("a type without a name that holds itself"), "{}", error(&itself));
        // Each is there twice in the one before.
        let twice = |at: usize| format!(r#"[{{"type":"array","items":"X{at}"}},{{"type":"map","values":"X{at}"}}]"#);
        let twice: Vec<_> = (0..25).map(|at| (format!("X{at}"), twice(at + 1).into())).collect();
        assert!(error(&twice).contains("more than 16777216 bytes"), "{}", error(&twice));
        // A chain of them, and a chain of records.
        let chain = |at: usize| format!(r#"{{"type":"array","items":"X{}"}}"#, at + 1);
        let chain: Vec<_> = (0..1000).map(|at| (format!("X{at}"), chain(at).into())).collect();
        assert!(error(&chain).contains("nested deeper than 100"), "{}", error(&chain));
    }
}
