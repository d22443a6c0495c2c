//! A value brought to a schema: Avro's schema resolution, and what serde's types need to be of a schema at all.
//!
//! Containers are resolved here and what they hold by `apache-avro`, which goes through a value once for each union that it stands in: of a
//! chain of records that doubles with each link.

use super::decode::DEEPEST;
use crate::error::{Error, ErrorKind, Result};
use apache_avro::Schema;
use apache_avro::schema::{Alias, InnerDecimalSchema, Names, RecordField, RecordSchema, UnionSchema, UuidSchema};
use apache_avro::types::Value;
use serde_json::Value as Json;
use std::cell::Cell;
use std::collections::HashMap;

/// No value has more fields that are missing.
const MOST_DEFAULTS: u32 = 100_000;

/// A value's own schema, with the types that it names.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub schema: &'a Schema,
    pub names: &'a Names,
    /// Of a branch, the others too.
    pub union: Option<&'a UnionSchema>,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// It was read by this schema, and is brought to another one: what that has no place for is left out.
    Data(Written<'a>),
    /// It is to be written, and serde has made it: no branch of a union is meant. What the schema has no place for is refused.
    Serde,
    /// It is to be written as it is: a branch that it names is the one.
    Value,
    /// It is a default of the schema itself.
    Default,
}

impl<'a> Source<'a> {
    /// The same for what is in it.
    fn inner(self, inner: impl FnOnce(&'a Schema) -> Option<&'a Schema>) -> Self {
        match self {
            Self::Data(Written { schema, names, .. }) => match inner(schema) {
                Some(inner) => {
                    let union = if let Schema::Union(of) = schema { Some(of) } else { None };
                    Self::Data(Written { schema: named(inner, names), names, union })
                }
                None => self,
            },
            other => other,
        }
    }

    fn is_written(self) -> bool {
        matches!(self, Self::Serde | Self::Value)
    }
}

/// What a name stands for.
fn named<'a>(schema: &'a Schema, names: &'a Names) -> &'a Schema {
    match schema {
        Schema::Ref { name } => names.get(name).unwrap_or(schema),
        schema => schema,
    }
}

/// The value as the schema has it: numbers widened, fields by their names or aliases, those that are missing with their defaults,
/// serde's `u64` a long.
///
/// # Errors
/// `InvalidArgument` with what does not fit.
pub(super) fn resolved(value: Value, source: Source<'_>, schema: &Schema, names: &Names) -> Result<Value> {
    let source = source.inner(Some); // what it names
    Resolving { names, defaults: Cell::new(MOST_DEFAULTS) }.value(value, source, schema, 0)
}

struct Resolving<'a> {
    names: &'a Names,
    /// How many more fields may be missing.
    defaults: Cell<u32>,
}

impl Resolving<'_> {
    fn value<'a>(&self, value: Value, source: Source<'a>, schema: &Schema, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(refused(format!("nested deeper than {DEEPEST}")));
        }
        let depth = depth + 1;
        let all = |values: &mut dyn Iterator<Item = (String, Value)>, source: Source<'_>, of: &Schema| {
            let values = values.map(|(name, value)| Ok((name, self.value(value, source, of, depth)?)));
            Ok(Value::Map(values.collect::<Result<_>>()?))
        };
        match (value, schema) {
            (value, Schema::Ref { name }) => {
                let schema = self.names.get(name).ok_or_else(|| refused(format!("there is no type {name}")))?;
                self.value(value, source, schema, depth)
            }
            (Value::Union(at, value), schema) if matches!(source, Source::Data(_)) => {
                let branch = |schema: &'a Schema| if let Schema::Union(of) = schema { variant(of, at) } else { None };
                self.value(*value, source.inner(branch), schema, depth)
            }
            (Value::Union(at, value), Schema::Union(of)) => self.union(*value, source, of, Some(at), depth),
            (value, Schema::Union(of)) => self.union(value, source, of, None, depth),
            (Value::Union(_, value), schema) => self.value(*value, source, schema, depth),
            (Value::Record(fields), Schema::Record(of)) => self.record(fields.into_iter().collect(), source, of, depth),
            (Value::Map(fields), Schema::Record(of)) => self.record(fields, source, of, depth),
            (Value::Map(values), Schema::Map(of)) => {
                let types = |schema: &'a Schema| if let Schema::Map(of) = schema { Some(&*of.types) } else { None };
                all(&mut values.into_iter(), source.inner(types), &of.types)
            }
            (Value::Record(fields), Schema::Map(of)) => all(&mut fields.into_iter(), source, &of.types),
            (Value::Array(items), Schema::Array(of)) => {
                let source =
                    source.inner(|schema| if let Schema::Array(of) = schema { Some(&*of.items) } else { None });
                let items = items.into_iter().map(|item| self.value(item, source, &of.items, depth));
                Ok(Value::Array(items.collect::<Result<_>>()?))
            }
            (value, schema) => leaf(value, source, schema),
        }
    }

    fn record(
        &self,
        mut given: HashMap<String, Value>,
        source: Source<'_>,
        of: &RecordSchema,
        depth: usize,
    ) -> Result<Value> {
        let mut field = |field: &RecordField| {
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let Some((name, value)) = names.find_map(|name| given.remove_entry(name)) else {
                return self.default(field, depth);
            };
            let source = source.inner(|schema| {
                let Schema::Record(of) = schema else { return None };
                of.fields.iter().find(|field| field.name == name).map(|field| &field.schema)
            });
            self.value(value, source, &field.schema, depth)
        };
        let fields = of.fields.iter().map(|known| match field(known) {
            Ok(value) => Ok((known.name.clone(), value)),
            Err(error) => Err(super::of_field(error, &known.name)),
        });
        let fields = fields.collect::<Result<_>>()?;
        match given.keys().min().filter(|_| source.is_written()) {
            Some(more) => Err(super::of_field(refused(format!("{} has no such field", of.name)), more)),
            None => Ok(Value::Record(fields)),
        }
    }

    fn default(&self, field: &RecordField, depth: usize) -> Result<Value> {
        // Of a type whose default holds itself there would be no end.
        let left =
            self.defaults.get().checked_sub(1).ok_or_else(|| refused("too many fields are missing".to_owned()))?;
        self.defaults.set(left);
        let json = field.default.clone().ok_or_else(|| refused("it is missing, and has no default".to_owned()))?;
        self.value(self.meant(json, &field.schema)?, Source::Default, &field.schema, depth)
    }

    /// A default's JSON as a value: text where the schema has bytes is a letter for each byte.
    fn meant(&self, json: Json, schema: &Schema) -> Result<Value> {
        Ok(match (json, named(schema, self.names)) {
            (json, Schema::Union(of)) => {
                let fits = |schema: &&Schema| match (&json, named(schema, self.names)) {
                    (Json::String(_), schema) => matches!(schema, Schema::String | Schema::Enum(_)) || is_bytes(schema),
                    (Json::Array(_), schema) => matches!(schema, Schema::Array(_)),
                    (Json::Object(_), schema) => matches!(schema, Schema::Map(_) | Schema::Record(_)),
                    _ => false,
                };
                return match of.variants().iter().find(fits) {
                    Some(schema) => self.meant(json, schema),
                    None => plain(json),
                };
            }
            (Json::String(text), schema) if is_bytes(schema) => {
                let bytes = text.chars().map(|letter| u8::try_from(u32::from(letter)));
                let bytes = bytes.collect::<Result<Vec<_>, _>>();
                let bytes =
                    bytes.map_err(|_| refused("the default's text has letters that are no bytes".to_owned()))?;
                match schema {
                    Schema::Bytes | Schema::Decimal(_) | Schema::BigDecimal => Value::Bytes(bytes),
                    _ => Value::Fixed(bytes.len(), bytes),
                }
            }
            (Json::Array(items), Schema::Array(of)) => {
                let items = items.into_iter().map(|item| self.meant(item, &of.items));
                Value::Array(items.collect::<Result<_>>()?)
            }
            (Json::Object(values), Schema::Map(of)) => {
                let values = values.into_iter().map(|(name, value)| Ok((name, self.meant(value, &of.types)?)));
                Value::Map(values.collect::<Result<_>>()?)
            }
            (Json::Object(values), Schema::Record(of)) => {
                let values = values.into_iter().map(|(name, value)| {
                    let field = of.fields.iter().find(|field| field.name == name);
                    let value =
                        field.map_or_else(|| plain(value.clone()), |field| self.meant(value.clone(), &field.schema));
                    Ok((name, value?))
                });
                Value::Map(values.collect::<Result<_>>()?)
            }
            (json, _) => plain(json)?,
        })
    }

    /// Of data, the branch by the name of its type, and if nobody knows that, or it has none, the one that fits best of those whose
    /// names the data's schema does not know. Of a value that names its branch, that. Else the one that fits best.
    fn union(
        &self,
        value: Value,
        source: Source<'_>,
        of: &UnionSchema,
        had: Option<u32>,
        depth: usize,
    ) -> Result<Value> {
        let none = || refused("it is of none of the union's types".to_owned());
        let variants = of.variants();
        let fit = |at: usize| self.misfit(&value, source, variants.get(at)?, DEEPEST);
        let best =
            |at: &mut dyn Iterator<Item = usize>| at.filter_map(|at| Some((fit(at)?, at))).min().map(|(_, at)| at);
        let had = had.and_then(|at| usize::try_from(at).ok());
        let at = match (source, had) {
            (Source::Value, Some(at)) if fit(at).is_none() => {
                return Err(refused(format!("it is not of the union's branch {at}, which it names")));
            }
            (Source::Value, Some(at)) => Some(at),
            (Source::Data(Written { schema, names, union }), _) if schema.name().is_some() => {
                let all = || variants.iter().map(|variant| named(variant, self.names)).enumerate();
                let same = all().filter_map(|(at, variant)| Some((same_name(schema, variant)?, at))).min();
                let others = || union.iter().flat_map(|of| of.variants()).map(|other| named(other, names));
                let nobodys = |variant: &Schema| !others().any(|other| same_name(other, variant).is_some());
                let mut left = all().filter(|(_, variant)| nobodys(variant)).map(|(at, _)| at);
                same.map(|(_, at)| at).or_else(|| best(&mut left))
            }
            _ => had.filter(|at| fit(*at) == Some(0)).or_else(|| best(&mut (0..variants.len()))),
        };
        let at = at.ok_or_else(none)?;
        let (Some(schema), Ok(index)) = (variants.get(at), u32::try_from(at)) else { return Err(none()) };
        Ok(Value::Union(index, Box::new(self.value(value, source, schema, depth)?)))
    }

    /// How badly a value fits a schema: not at all is `None`, 0 is as it should be. Nothing that it holds is looked at but the names.
    fn misfit(&self, value: &Value, source: Source<'_>, schema: &Schema, left: usize) -> Option<u8> {
        let exact = source.is_written();
        let is_serde = matches!(source, Source::Serde);
        let ints = |items: &[Value]| items.iter().all(|item| matches!(item, Value::Int(_)));
        Some(match (value, schema) {
            (_, Schema::Ref { name }) => {
                return self.misfit(value, source, self.names.get(name)?, left.checked_sub(1)?);
            }
            (Value::Union(_, value), _) => return self.misfit(value, source, schema, left.checked_sub(1)?),
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
            (Value::Fixed(8, _), schema) if is_serde && is_long_schema(schema) => 1,
            (Value::String(symbol), Schema::Enum(of)) if of.symbols.contains(symbol) => 1,
            (Value::String(_), Schema::Uuid(_)) => 1,
            (Value::Bytes(_), Schema::Decimal(_) | Schema::BigDecimal) | (Value::Decimal(_), Schema::Bytes) => 1,
            (Value::Bytes(bytes), Schema::Fixed(of)) if bytes.len() == of.size => 1,
            (Value::Fixed(..), Schema::Duration(_) | Schema::Uuid(_)) => 1,
            (Value::Fixed(..), Schema::Decimal(of)) if matches!(of.inner, InnerDecimalSchema::Fixed(_)) => 1,
            (Value::Record(fields), Schema::Record(of)) => match () {
                () if !has(of, |name| fields.iter().any(|(known, _)| known == name)) => return None,
                () if exact && !fields.iter().all(|(name, _)| knows(of, name)) => return None,
                () if fields.len() == of.fields.len() => 0,
                () => 1,
            },
            (Value::Map(fields), Schema::Record(of))
                if has(of, |name| fields.contains_key(name))
                    && (!exact || fields.keys().all(|name| knows(of, name))) =>
            {
                if fields.len() == of.fields.len() {
                    1
                } else {
                    2
                }
            }
            (Value::Record(_), Schema::Map(_)) => 2,
            (value, Schema::Float) if is_int(value) || is_long(value) => 2,
            (value, Schema::Double) if is_int(value) || is_long(value) => 3,
            (Value::Fixed(8, _), Schema::Int | Schema::Float | Schema::Double) if is_serde => 3,
            (Value::Enum(..), Schema::Enum(of)) if of.default.is_some() && !exact => 3,
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

/// Whether the reader's type goes by the name of the written one: in full (0), by an alias (1), without the namespace (2).
fn same_name(written: &Schema, reader: &Schema) -> Option<u8> {
    let (name, known) = (written.name()?, reader.name()?);
    if std::mem::discriminant(written) != std::mem::discriminant(reader) {
        return None;
    }
    let mut aliases = reader.aliases().into_iter().flatten();
    let is = |alias: &Alias| alias.fullname(reader.namespace()) == name.fullname(None) || alias.name() == name.name();
    match () {
        () if name == known => Some(0),
        () if aliases.any(is) => Some(1),
        () if name.name() == known.name() => Some(2),
        () => None,
    }
}

/// Whether it has such a field.
fn knows(of: &RecordSchema, name: &str) -> bool {
    of.fields.iter().any(|field| field.name == name || field.aliases.iter().any(|alias| alias == name))
}

/// What a default's text is the bytes of.
fn is_bytes(schema: &Schema) -> bool {
    use Schema::{BigDecimal, Bytes, Decimal, Duration, Fixed, Uuid};
    matches!(schema, Bytes | Fixed(_) | Decimal(_) | BigDecimal | Duration(_) | Uuid(UuidSchema::Fixed(_)))
}

fn plain(json: Json) -> Result<Value> {
    Value::try_from(json).map_err(|error| refused(crate::error::shown(&error.to_string(), super::WORDS)))
}

fn variant(of: &UnionSchema, at: u32) -> Option<&Schema> {
    of.variants().get(usize::try_from(at).ok()?)
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

/// What holds nothing: by `apache-avro`, but for a `u64`, which serde has as eight bytes where a number should be, and for logical types
/// that are read as what they are made of.
fn leaf(value: Value, source: Source<'_>, schema: &Schema) -> Result<Value> {
    let is_number = is_int_schema(schema) || is_long_schema(schema) || matches!(schema, Schema::Float | Schema::Double);
    let value = match value {
        Value::Fixed(8, bytes) if is_number && matches!(source, Source::Serde) => {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| refused("it is not of the schema's type".to_owned()))?;
            let number = u64::from_le_bytes(bytes);
            Value::Long(i64::try_from(number).map_err(|_| refused(format!("a long has no room for {number}")))?)
        }
        Value::Fixed(..) if is_number => return Err(refused("bytes where a number should be".to_owned())),
        value if matches!(schema, Schema::Int | Schema::Long | Schema::Float | Schema::Double) => number(value),
        value => value,
    };
    let value = match (value, schema) {
        (Value::Decimal(decimal), Schema::Decimal(of)) => match source {
            Source::Data(Written { schema: Schema::Decimal(written), .. }) if written.scale != of.scale => {
                let why = format!("a decimal of scale {} where the schema has {}", written.scale, of.scale);
                return Err(refused(why));
            }
            // By itself it wants a precision that needs all of the bytes.
            _ => return Ok(Value::Decimal(decimal)),
        },
        (Value::Bytes(bytes) | Value::Fixed(_, bytes), Schema::Decimal(_)) => return Ok(Value::Decimal(bytes.into())),
        (Value::Decimal(decimal), Schema::Bytes | Schema::Fixed(_)) => {
            let bytes = Vec::try_from(decimal).map_err(|error| refused(error.to_string()))?;
            if matches!(schema, Schema::Bytes) { Value::Bytes(bytes) } else { Value::Fixed(bytes.len(), bytes) }
        }
        (Value::Uuid(uuid), Schema::String) => Value::String(uuid.to_string()),
        (Value::Long(number), Schema::Int | Schema::Date | Schema::TimeMillis) => {
            Value::Int(i32::try_from(number).map_err(|_| refused(format!("an int has no room for {number}")))?)
        }
        (Value::Double(number), Schema::Float) if source.is_written() && !has_room(number) => {
            return Err(refused(format!("a float has no room for {number}")));
        }
        (Value::Enum(_, symbol) | Value::String(symbol), Schema::Enum(of))
            if source.is_written() && !of.symbols.contains(&symbol) =>
        {
            return Err(refused(format!("{} has no symbol {}", of.name, crate::error::shown(&symbol, super::WORDS))));
        }
        (value, _) => value,
    };
    value.resolve(schema).map_err(|error| refused(crate::error::shown(&error.to_string(), super::WORDS)))
}

/// What dates and times are made of.
fn number(value: Value) -> Value {
    match value {
        Value::Date(number) | Value::TimeMillis(number) => Value::Int(number),
        Value::TimeMicros(number)
        | Value::TimestampMillis(number)
        | Value::TimestampMicros(number)
        | Value::TimestampNanos(number)
        | Value::LocalTimestampMillis(number)
        | Value::LocalTimestampMicros(number)
        | Value::LocalTimestampNanos(number) => Value::Long(number),
        value => value,
    }
}

/// Whether a float says the same number: written out as one, it is read again as that double. So 0.1 is, which is another one in either.
fn has_room(number: f64) -> bool {
    number.is_nan() || (number as f32).to_string().parse() == Ok(number)
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
    fn read(writer: &str, json: &serde_json::Value, reader: &str) -> String {
        let (writer, reader) = (Avro::new(writer, &[]).unwrap(), Avro::new(reader, &[]).unwrap());
        let bytes = writer.encode_serde(json).unwrap();
        reread(&writer, &bytes, &reader)
    }

    /// What the reader would have written, by its own schema: with the branch's number.
    fn reread(writer: &Avro, bytes: &[u8], reader: &Avro) -> String {
        match writer.decode(bytes, Some(reader)) {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn event(name: &str, more: &str) -> String {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"id","type":"int"}},{{"name":"at","type":"long"}}{more}]}}"#
        )
    }

    #[test]
    fn the_branch_of_a_readers_union_is_the_one_of_the_same_name() {
        use apache_avro::types::Value;
        let fields = || vec![("id".to_owned(), Value::Int(1)), ("at".to_owned(), Value::Long(2))];
        let writer = Avro::new(&format!("[{},{}]", event("Created", ""), event("x.Deleted", "")), &[]).unwrap();
        let more = r#",{"name":"by","type":"string","default":"?"}"#;
        let aliased = event("Gone", "").replace("\"fields\"", r#""aliases":["x.Deleted"],"fields""#);
        for (reader, expected) in [
            (format!("[{},{}]", event("Created", more), event("x.Deleted", "")), [Some(0), Some(1)]),
            (
                format!("[{},{},{}]", event("Archived", ""), event("Created", ""), event("y.Deleted", "")),
                [Some(1), Some(2)],
            ),
            (format!("[{},{}]", event("Created", ""), aliased), [Some(0), Some(1)]),
            (format!("[{},{}]", event("Created", ""), event("Renamed", "")), [Some(0), Some(1)]),
            (format!("[\"null\",{}]", event("Created", "")), [Some(1), None]),
        ] {
            let known = Avro::new(&reader, &[]).unwrap();
            for (at, expected) in (0..).zip(expected) {
                let bytes = writer.encode(Value::Union(at, Box::new(Value::Record(fields())))).unwrap();
                assert_eq!(u32::from(bytes[0] / 2), at);
                let branch = match writer.decode(&bytes, Some(&known)) {
                    Ok(Value::Union(branch, _)) => Some(branch),
                    _ => None,
                };
                assert_eq!(branch, expected, "{at} by {reader}");
            }
        }
        let error = writer.encode(Value::Union(1, Box::new(Value::Int(1)))).unwrap_err().to_string();
        assert!(error.ends_with("it is not of the union's branch 1, which it names"), "{error}");
        // Enums in arrays, the same.
        let kinds = |one: &str, other: &str| {
            let kind = |name: &str| format!(r#"{{"type":"enum","name":"{name}","symbols":["A","B"]}}"#);
            format!(r#"{{"type":"array","items":[{},{}]}}"#, kind(one), kind(other))
        };
        let read = read(&kinds("K", "L"), &json!(["B"]), &kinds("L", "K"));
        assert_eq!(read, r#"Array([Union(1, Enum(1, "B"))])"#);
    }

    #[test]
    fn what_is_written_loses_nothing_on_the_way() {
        let schema = r#"{"type":"record","name":"W","fields":[{"name":"f","type":"float"},
            {"name":"k","type":{"type":"enum","name":"K","symbols":["A","B"],"default":"A"}}]}"#;
        let avro = Avro::new(schema, &[]).unwrap();
        assert!(avro.encode_serde(&json!({"f": 0.1, "k": "B"})).is_ok());
        for (json, expected) in [
            (json!({"f": 0.1, "k": "B", "more": 1}), "field more: W has no such field"),
            (json!({"f": 0.1, "k": "C"}), "field k: K has no symbol C"),
            (json!({"f": 0.123456789012, "k": "A"}), "field f: a float has no room for 0.123456789012"),
            (json!({"f": 1e300, "k": "A"}), "field f: a float has no room for 1"),
        ] {
            let error = avro.encode_serde(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn logical_types_are_read_as_what_they_are_made_of() {
        let logical = |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
        assert_eq!(read(&logical("long", "timestamp-millis"), &json!(7), r#""long""#), "Long(7)");
        assert_eq!(read(&logical("int", "date"), &json!(7), r#""long""#), "Long(7)");
        assert_eq!(read(&logical("int", "date"), &json!(7), r#"["null","int"]"#), "Union(1, Int(7))");
        let uuid = "00000000-0000-0000-0000-000000000007";
        let text = format!("String({uuid:?})");
        assert_eq!(read(&logical("string", "uuid"), &json!(uuid), r#""string""#), text);
        let decimal = |scale: u8| {
            Avro::new(&format!(r#"{{"type":"bytes","logicalType":"decimal","precision":9,"scale":{scale}}}"#), &[])
                .unwrap()
        };
        let bytes = [4, 4, 0xce]; // 12.30
        assert_eq!(reread(&decimal(2), &bytes, &Avro::new(r#""bytes""#, &[]).unwrap()), "Bytes([4, 206])");
        let error = reread(&decimal(2), &bytes, &decimal(3));
        assert!(error.ends_with("a decimal of scale 2 where the schema has 3"), "{error}");
        let eight = Avro::new(r#"{"type":"fixed","name":"F","size":8}"#, &[]).unwrap();
        let error = reread(&eight, &[1; 8], &Avro::new(r#""long""#, &[]).unwrap());
        assert!(error.ends_with("bytes where a number should be"), "{error}");
    }

    #[test]
    fn a_defaults_bytes_are_letters_wherever_they_stand() {
        let schema = r#"{"type":"record","name":"D","fields":[
            {"name":"u","type":["bytes","null"],"default":"\u00ff"},
            {"name":"a","type":{"type":"array","items":"bytes"},"default":["\u00fe"]},
            {"name":"r","type":{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"fixed","name":"X","size":1}},
                {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":0}}]},"default":{"x":"\u00fd","d":"\u0001\u0000"}}]}"#;
        let avro = Avro::new(schema, &[]).unwrap();
        let bytes = avro.encode_serde(&json!({})).unwrap();
        assert_eq!(avro.decode_json(&bytes).unwrap(), r#"{"u":"ÿ","a":["þ"],"r":{"x":"ý","d":"256"}}"#);
    }
}
