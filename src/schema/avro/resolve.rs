//! A value brought to a schema: Avro's schema resolution, and what serde's types need to be of a schema at all.
//!
//! Containers are resolved here and what they hold by `apache-avro`, which goes through a value once for each union that it stands in: of a
//! chain of records that doubles with each link.

use super::decode::DEEPEST;
use crate::error::{Error, ErrorKind, Result};
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Names, RecordField, RecordSchema, UnionSchema};
use apache_avro::types::Value;
use std::cell::Cell;
use std::collections::HashMap;

/// No value has more fields that are missing.
const MOST_DEFAULTS: u32 = 100_000;

/// The value as the schema has it: numbers widened, fields by their names or aliases, those that are missing with their defaults, those
/// that are too many left out, serde's `u64` a long.
///
/// # Errors
/// `InvalidArgument` with what does not fit.
pub(super) fn resolved(value: Value, schema: &Schema, names: &Names) -> Result<Value> {
    Resolving { names, defaults: Cell::new(MOST_DEFAULTS) }.value(value, schema, 0)
}

struct Resolving<'a> {
    names: &'a Names,
    /// How many more fields may be missing.
    defaults: Cell<u32>,
}

impl Resolving<'_> {
    fn value(&self, value: Value, schema: &Schema, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(refused(format!("nested deeper than {DEEPEST}")));
        }
        let depth = depth + 1;
        match (value, schema) {
            (value, Schema::Ref { name }) => {
                let schema = self.names.get(name).ok_or_else(|| refused(format!("there is no type {name}")))?;
                self.value(value, schema, depth)
            }
            (Value::Union(at, value), Schema::Union(of)) => self.union(*value, of, Some(at), depth),
            (value, Schema::Union(of)) => self.union(value, of, None, depth),
            (Value::Union(_, value), schema) => self.value(*value, schema, depth),
            (Value::Record(fields), Schema::Record(of)) => self.record(fields.into_iter().collect(), of, depth),
            (Value::Map(fields), Schema::Record(of)) => self.record(fields, of, depth),
            (Value::Map(values), Schema::Map(of)) => {
                let values = values.into_iter().map(|(name, value)| Ok((name, self.value(value, &of.types, depth)?)));
                Ok(Value::Map(values.collect::<Result<_>>()?))
            }
            (Value::Record(fields), Schema::Map(of)) => {
                let values = fields.into_iter().map(|(name, value)| Ok((name, self.value(value, &of.types, depth)?)));
                Ok(Value::Map(values.collect::<Result<_>>()?))
            }
            (Value::Array(items), Schema::Array(of)) => {
                let items = items.into_iter().map(|item| self.value(item, &of.items, depth));
                Ok(Value::Array(items.collect::<Result<_>>()?))
            }
            (value, schema) => leaf(value, schema),
        }
    }

    fn record(&self, mut given: HashMap<String, Value>, of: &RecordSchema, depth: usize) -> Result<Value> {
        let fields = of.fields.iter().map(|field| {
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let value = match names.find_map(|name| given.remove(name)) {
                Some(value) => self.value(value, &field.schema, depth),
                None => self.default(field, depth),
            };
            match value {
                Ok(value) => Ok((field.name.clone(), value)),
                Err(error) => Err(super::of_field(error, &field.name)),
            }
        });
        Ok(Value::Record(fields.collect::<Result<_>>()?))
    }

    fn default(&self, field: &RecordField, depth: usize) -> Result<Value> {
        // Of a type whose default holds itself there would be no end.
        let left =
            self.defaults.get().checked_sub(1).ok_or_else(|| refused("too many fields are missing".to_owned()))?;
        self.defaults.set(left);
        let json = field.default.clone().ok_or_else(|| refused("it is missing, and has no default".to_owned()))?;
        let is_bytes = matches!(field.schema, Schema::Bytes | Schema::Fixed(_) | Schema::Decimal(_));
        let value = match json.as_str().filter(|_| is_bytes) {
            Some(text) => Value::Bytes(text.chars().map(|letter| letter as u32 as u8).collect()), // a letter for each byte
            None => Value::try_from(json).map_err(|error| refused(error.to_string()))?,
        };
        self.value(value, &field.schema, depth)
    }

    /// The branch that it had if it fits, and else the one that fits best.
    fn union(&self, value: Value, of: &UnionSchema, had: Option<u32>, depth: usize) -> Result<Value> {
        let variants = of.variants();
        let misfit = |schema: &Schema| self.misfit(&value, schema, DEEPEST);
        let had =
            had.and_then(|at| usize::try_from(at).ok()).filter(|at| variants.get(*at).and_then(misfit) == Some(0));
        let best = || {
            let fits = variants.iter().enumerate().filter_map(|(at, schema)| Some((misfit(schema)?, at)));
            fits.min().map(|(_, at)| at)
        };
        let at = had.or_else(best).ok_or_else(|| refused("it is of none of the union's types".to_owned()))?;
        let (Some(schema), Ok(index)) = (variants.get(at), u32::try_from(at)) else {
            return Err(refused("it is of none of the union's types".to_owned()));
        };
        Ok(Value::Union(index, Box::new(self.value(value, schema, depth)?)))
    }

    /// How badly a value fits a schema: not at all is `None`, 0 is as it should be. Nothing that it holds is looked at but the names.
    fn misfit(&self, value: &Value, schema: &Schema, left: usize) -> Option<u8> {
        let ints = |items: &[Value]| items.iter().all(|item| matches!(item, Value::Int(_)));
        Some(match (value, schema) {
            (_, Schema::Ref { name }) => return self.misfit(value, self.names.get(name)?, left.checked_sub(1)?),
            (Value::Union(_, value), _) => return self.misfit(value, schema, left.checked_sub(1)?),
            (Value::Null, Schema::Null)
            | (Value::Boolean(_), Schema::Boolean)
            | (Value::Float(_), Schema::Float)
            | (Value::Double(_), Schema::Double)
            | (Value::String(_), Schema::String)
            | (Value::Bytes(_), Schema::Bytes)
            | (Value::Decimal(_), Schema::Decimal(_))
            | (Value::BigDecimal(_), Schema::BigDecimal)
            | (Value::Uuid(_), Schema::Uuid(_))
            | (Value::Duration(_), Schema::Duration(_))
            | (Value::Array(_), Schema::Array(_))
            | (Value::Map(_), Schema::Map(_)) => 0,
            (value, schema) if is_int(value) && is_int_schema(schema) => 0,
            (value, schema) if is_long(value) && is_long_schema(schema) => 0,
            (Value::Fixed(size, _), Schema::Fixed(of)) if *size == of.size => 0,
            (Value::Enum(_, symbol), Schema::Enum(of)) if of.symbols.contains(symbol) => 0,
            (value, schema) if is_int(value) && is_long_schema(schema) => 1,
            (Value::Float(_), Schema::Double) | (Value::Uuid(_), Schema::String) => 1,
            (Value::Fixed(8, _), schema) if is_long_schema(schema) => 1,
            (Value::String(symbol), Schema::Enum(of)) if of.symbols.contains(symbol) => 1,
            (Value::String(_), Schema::Uuid(_)) => 1,
            (Value::Bytes(_), Schema::Decimal(_) | Schema::BigDecimal) => 1,
            (Value::Bytes(bytes), Schema::Fixed(of)) if bytes.len() == of.size => 1,
            (Value::Fixed(..), Schema::Duration(_) | Schema::Uuid(_)) => 1,
            (Value::Fixed(..), Schema::Decimal(of)) if matches!(of.inner, InnerDecimalSchema::Fixed(_)) => 1,
            (Value::Record(fields), Schema::Record(of)) => match () {
                () if !has(of, |name| fields.iter().any(|(known, _)| known == name)) => return None,
                () if fields.len() == of.fields.len() => 0,
                () => 1,
            },
            (Value::Map(fields), Schema::Record(of)) if has(of, |name| fields.contains_key(name)) => {
                if fields.len() == of.fields.len() { 1 } else { 2 }
            }
            (Value::Record(_), Schema::Map(_)) => 2,
            (value, Schema::Float) if is_int(value) || is_long(value) => 2,
            (value, Schema::Double) if is_int(value) || is_long(value) => 3,
            (Value::Fixed(8, _), Schema::Int | Schema::Float | Schema::Double) => 3,
            (Value::Enum(..), Schema::Enum(of)) if of.default.is_some() => 3,
            (Value::Array(items), Schema::Bytes | Schema::Fixed(_)) if ints(items) => 3,
            (value, Schema::Int) if is_long(value) => 4,
            (Value::Double(_), Schema::Float)
            | (Value::String(_), Schema::Bytes)
            | (Value::Bytes(_) | Value::Enum(..), Schema::String) => 4,
            _ => return None,
        })
    }
}

/// Whether every field of the record is there, or has a default.
fn has(of: &RecordSchema, is_there: impl Fn(&str) -> bool) -> bool {
    let named = |field: &RecordField| is_there(&field.name) || field.aliases.iter().any(|alias| is_there(alias));
    of.fields.iter().all(|field| field.default.is_some() || named(field))
}

fn is_int(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Date(_) | Value::TimeMillis(_))
}

fn is_int_schema(schema: &Schema) -> bool {
    matches!(schema, Schema::Int | Schema::Date | Schema::TimeMillis)
}

fn is_long(value: &Value) -> bool {
    use Value::{LocalTimestampMicros, LocalTimestampMillis, LocalTimestampNanos, Long, TimeMicros};
    use Value::{TimestampMicros, TimestampMillis, TimestampNanos};
    matches!(
        value,
        Long(_)
            | TimeMicros(_)
            | TimestampMillis(_)
            | TimestampMicros(_)
            | TimestampNanos(_)
            | LocalTimestampMillis(_)
            | LocalTimestampMicros(_)
            | LocalTimestampNanos(_)
    )
}

fn is_long_schema(schema: &Schema) -> bool {
    use Schema::{LocalTimestampMicros, LocalTimestampMillis, LocalTimestampNanos, Long, TimeMicros};
    use Schema::{TimestampMicros, TimestampMillis, TimestampNanos};
    matches!(
        schema,
        Long | TimeMicros
            | TimestampMillis
            | TimestampMicros
            | TimestampNanos
            | LocalTimestampMillis
            | LocalTimestampMicros
            | LocalTimestampNanos
    )
}

/// What holds nothing: by `apache-avro`, but for a `u64`, which it takes for eight bytes where a number should be.
fn leaf(value: Value, schema: &Schema) -> Result<Value> {
    let is_number = is_int_schema(schema) || is_long_schema(schema) || matches!(schema, Schema::Float | Schema::Double);
    let value = match value {
        Value::Fixed(8, bytes) if is_number => {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| refused("it is not of the schema's type".to_owned()))?;
            let number = u64::from_le_bytes(bytes);
            Value::Long(i64::try_from(number).map_err(|_| refused(format!("a long has no room for {number}")))?)
        }
        value => value,
    };
    let value = match (value, schema) {
        // By itself it wants a precision that needs all of the bytes.
        (Value::Decimal(decimal), Schema::Decimal(_)) => return Ok(Value::Decimal(decimal)),
        (Value::Bytes(bytes) | Value::Fixed(_, bytes), Schema::Decimal(_)) => return Ok(Value::Decimal(bytes.into())),
        (Value::Long(number), Schema::Int | Schema::Date | Schema::TimeMillis) => {
            Value::Int(i32::try_from(number).map_err(|_| refused(format!("an int has no room for {number}")))?)
        }
        (value, _) => value,
    };
    value.resolve(schema).map_err(|error| refused(crate::error::shown(&error.to_string(), super::WORDS)))
}

fn refused(why: String) -> Error {
    Error::with_message(ErrorKind::InvalidArgument, why)
}

#[cfg(test)]
mod tests {
    use crate::schema::avro::Avro;
    use serde_json::json;

    #[test]
    fn what_serde_has_is_brought_to_the_schema() {
        #[derive(serde::Serialize)]
        struct Wide {
            n: u64,
            small: i64,
            ratio: f32,
            kind: &'static str,
            raw: Vec<u8>,
            maybe: Option<u64>,
            either: Option<&'static str>,
        }
        let schema = r#"{"type":"record","name":"W","fields":[
            {"name":"n","type":"long"},{"name":"small","type":"int"},{"name":"ratio","type":"double"},
            {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]}},{"name":"raw","type":"bytes"},
            {"name":"maybe","type":["null","long"]},{"name":"either","type":["string","null"]},
            {"name":"note","type":["null","string"],"default":null},
            {"name":"mark","type":"bytes","default":"\u00ff\u0001"},
            {"name":"tags","type":{"type":"map","values":"int"},"default":{"a":1}}]}"#;
        let avro = Avro::new(schema, &[]).unwrap();
        let wide = Wide { n: 7, small: 8, ratio: 0.5, kind: "B", raw: vec![1, 255], maybe: Some(9), either: None };
        let bytes = avro.encode_serde(&wide).unwrap();
        let expected = r#"{"n":7,"small":8,"ratio":0.5,"kind":"B","raw":"\u0001ÿ","maybe":9,"either":null,"note":null,"mark":"ÿ\u0001","tags":{"a":1}}"#;
        assert_eq!(avro.decode_json(&bytes).unwrap(), expected);
        for (wide, expected) in [
            (Wide { n: u64::MAX, ..wide }, "field n: a long has no room for 18446744073709551615"),
            (Wide { n: 1, small: 1 << 40, raw: vec![], ..wide }, "field small: an int has no room for 1099511627776"),
            (Wide { n: 1, small: 1, kind: "C", raw: vec![], ..wide }, "field kind: "),
        ] {
            let error = avro.encode_serde(&wide).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the value is not of the schema: {expected}")), "{error}");
        }
    }

    #[test]
    fn the_branch_of_a_union_is_the_one_that_fits_best() {
        let schema = r#"["null","int","double","string",
            {"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},
            {"type":"record","name":"B","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]}]"#;
        let avro = Avro::new(schema, &[]).unwrap();
        for (json, branch) in [
            (json!(null), 0),
            (json!(1), 1),
            (json!(0.5), 2),
            (json!("a"), 3),
            (json!({"x": 1}), 4),
            (json!({"x": 1, "y": 2}), 5),
        ] {
            let bytes = avro.encode_serde(&json).unwrap();
            assert_eq!((bytes[0] / 2, avro.decode_json(&bytes).unwrap()), (branch, json.to_string()));
        }
        let error = avro.encode_serde(&json!([1])).unwrap_err().to_string();
        assert_eq!(error, "the value is not of the schema: it is of none of the union's types");
    }

    #[test]
    fn the_readers_schema_decides() {
        let writer = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"int"},{"name":"gone","type":"string"},{"name":"inner","type":["null",{"type":"record","name":"I","fields":[
            {"name":"k","type":{"type":"enum","name":"E","symbols":["X","Y"]}}]}]}]}"#;
        let reader = r#"{"type":"record","name":"R","fields":[
            {"name":"b","aliases":["a"],"type":"long"},{"name":"new","type":"string","default":"d"},{"name":"inner","type":{"type":"record","name":"I","fields":[
            {"name":"k","type":{"type":"enum","name":"E","symbols":["Z","Y"],"default":"Z"}}]}}]}"#;
        let (writer, reader) = (Avro::new(writer, &[]).unwrap(), Avro::new(reader, &[]).unwrap());
        for (kind, expected) in [("X", "Z"), ("Y", "Y")] {
            let value = json!({"a": 1, "gone": "g", "inner": {"k": kind}});
            let bytes = writer.encode_serde(&value).unwrap();
            let read: serde_json::Value = writer.decode_serde(&bytes, Some(&reader)).unwrap();
            assert_eq!(read, json!({"b": 1, "new": "d", "inner": {"k": expected}}));
        }
        let bytes = writer.encode_serde(&json!({"a": 1, "gone": "g", "inner": null})).unwrap();
        let error = writer.decode(&bytes, Some(&reader)).unwrap_err().to_string();
        assert!(error.starts_with("the writer's schema can't be resolved to the reader's: field inner: "), "{error}");
    }
}
