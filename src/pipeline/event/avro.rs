//! Events in Avro: by the schema that each record names, whoever wrote it.
//!
//! Fields are found by their names, in any order, and others are passed over, as in JSON. What may be what:
//!
//! | field | Avro |
//! | --- | --- |
//! | `event_id`, `product_id` | `string` (also with the logical type `uuid`) |
//! | `user_id` | `long`, `int` or `string` |
//! | `event_type` | an enum or a `string` |
//! | `timestamp` | `long` with `timestamp-millis`, `-micros` or `-nanos`; a `string` of RFC 3339 |
//! | `price` | `decimal`, `long`, `int`, `double`, `float` |
//!
//! each of them in a union with null, too. Money stays decimal: of a `double` the shortest decimal text that stands for it is taken, which
//! is what its writer would have put into JSON.

use super::{Event, EventType, Reason, Rejected, missing, timestamp_of};
use crate::consumer::{ConsumerRecord, Records};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::timestamp;
use crate::schema::apache_avro::{Decimal, Schema as AvroSchema, schema::SchemaKind, types::Value};
use crate::schema::{AvroReader, Registry, RegistryError, Schema, SchemaId, Serializer};
use num_bigint::BigInt;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What `clickstream` writes, registered under `T-value`.
const WRITTEN: &str = r#"{"type":"record","name":"ClickEvent","namespace":"milena.clickstream","fields":[
{"name":"event_id","type":"string"},
{"name":"user_id","type":"long"},
{"name":"event_type","type":{"type":"enum","name":"EventType","symbols":["view","add_to_cart","purchase"]}},
{"name":"product_id","type":"string"},
{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
{"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}],"default":null}]}"#;

/// No more schemas are kept than this, besides those of the records in hand.
const KEPT: usize = 1_000;

/// The registry, and what is known of it.
#[derive(Debug)]
pub(super) struct Avro {
    registry: Registry,
    known: Mutex<Schemas>,
    writer: Serializer<Value>,
}

/// By id: a schema, or why there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Schemas(Arc<HashMap<SchemaId, Result<Reader, String>>>);

/// A schema that may be an event's.
#[derive(Debug, Clone)]
struct Reader {
    avro: AvroReader,
    /// Behind the point of a decimal `price`.
    scale: usize,
}

impl Avro {
    pub(super) fn new(registry: &Registry) -> Self {
        let writer = Serializer::avro_values(registry, Schema::avro(WRITTEN));
        Self { registry: registry.clone(), known: Mutex::default(), writer }
    }

    /// Those that these records need.
    pub(super) async fn schemas(&self, records: &Records) -> Result<Schemas> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut new = HashMap::new();
        for record in records {
            let Some((id, _)) = named(&record) else { continue };
            // What the registry did not know it may know by now; it is the one to say how often it is asked.
            if !new.contains_key(&id) && !matches!(known.0.get(&id), Some(Ok(_))) {
                new.insert(id, self.asked(id).await?);
            }
        }
        if new.is_empty() {
            return Ok(known);
        }
        let kept = known.0.iter().filter(|(_, schema)| known.0.len() < KEPT && schema.is_ok());
        new.extend(kept.map(|(id, schema)| (*id, schema.clone())));
        let known = Schemas(Arc::new(new));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
        Ok(known)
    }

    /// A schema, or why records that name it can't be read.
    async fn asked(&self, id: SchemaId) -> Result<Result<Reader, String>> {
        let is_unknown = |error: &Error| RegistryError::of(error).is_some_and(RegistryError::is_not_found);
        match self.registry.schema(id).await {
            Err(error) if is_unknown(&error) => return Ok(Err(error.to_string())),
            asked => asked?,
        };
        match self.registry.avro_reader(id).await {
            Ok(avro) => Ok(Ok(Reader { scale: scale_of(&avro), avro })),
            Err(error) if is_unknown(&error) || error.kind() == ErrorKind::Malformed => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The bytes of an event; `None` for one that the schema has no place for: a `user_id` that is no number.
    pub(super) async fn encode(&self, topic: &str, event: &Event<'_>) -> Result<Option<Vec<u8>>> {
        match value(event) {
            Some(value) => self.writer.serialize(topic, &value).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Schemas {
    /// The event in a record; `None` if it is not in Confluent's wire format.
    pub(super) fn event(&self, record: &ConsumerRecord<'_>) -> Option<Result<Event<'static>, Rejected>> {
        let (id, data) = named(record)?;
        let bad = |why: String| Rejected::new(Reason::BadAvro, why);
        Some(match self.0.get(&id) {
            Some(Ok(reader)) => match reader.avro.value(data) {
                Ok(value) => event(value, reader.scale),
                Err(error) => Err(bad(format!("schema {id}: {error}"))),
            },
            Some(Err(why)) => Err(bad(why.clone())),
            None => Err(bad(format!("schema {id} is not at hand"))),
        })
    }
}

/// The schema's id and the data; `None` for JSON, and for what is not in Confluent's wire format.
fn named<'a>(record: &ConsumerRecord<'a>) -> Option<(SchemaId, &'a [u8])> {
    let is_json = record.value()?.trim_ascii_start().first() == Some(&b'{');
    if is_json && record.headers().next().is_none() {
        return None;
    }
    SchemaId::of_value(record).ok().flatten()
}

/// The scale of the record's decimal `price`.
fn scale_of(avro: &AvroReader) -> usize {
    fn resolved<'a>(avro: &'a AvroReader, schema: &'a AvroSchema) -> &'a AvroSchema {
        if let AvroSchema::Ref { name } = schema { avro.named(name).unwrap_or(schema) } else { schema }
    }
    let resolved = |schema| resolved(avro, schema);
    let AvroSchema::Record(record) = resolved(avro.schema()) else { return 0 };
    let Some(price) = record.fields.iter().find(|field| field.name == "price") else { return 0 };
    let of = |schema| if let AvroSchema::Decimal(decimal) = resolved(schema) { Some(decimal.scale) } else { None };
    match resolved(&price.schema) {
        AvroSchema::Union(of_union) => of_union.variants().iter().find_map(of),
        schema => of(schema),
    }
    .unwrap_or(0)
}

/// The event that a value is.
fn event(value: Value, scale: usize) -> Result<Event<'static>, Rejected> {
    let Value::Record(fields) = plain(value) else {
        return Err(Rejected::new(Reason::NotAnObject, "the value is Avro, but not a record"));
    };
    let (mut event_id, mut user_id, mut event_type) = (None, None, None);
    let (mut product_id, mut instant, mut price) = (None, None, None);
    for (name, value) in fields {
        let field = match name.as_str() {
            "event_id" => &mut event_id,
            "user_id" => &mut user_id,
            "event_type" => &mut event_type,
            "product_id" => &mut product_id,
            "timestamp" => &mut instant,
            "price" => &mut price,
            _ => continue,
        };
        *field = Some(plain(value)).filter(|value| *value != Value::Null);
    }
    let event_type = text("event_type", event_type)?;
    let event_type = EventType::named(&event_type)?;
    Ok(Event {
        event_id: text("event_id", event_id)?,
        user_id: match user_id {
            Some(Value::Int(number)) => number.to_string().into(),
            Some(Value::Long(number)) => number.to_string().into(),
            user_id => text("user_id", user_id)?,
        },
        event_type,
        product_id: text("product_id", product_id)?,
        timestamp: micros(present("timestamp", instant)?)?,
        price_cents: match price {
            Some(price) if event_type == EventType::Purchase => Some(price_cents(price, scale)?),
            _ => None,
        },
    })
}

/// Out of its union.
fn plain(value: Value) -> Value {
    if let Value::Union(_, value) = value { plain(*value) } else { value }
}

fn present(name: &str, field: Option<Value>) -> Result<Value, Rejected> {
    field.ok_or_else(|| missing(name))
}

fn text(name: &str, field: Option<Value>) -> Result<Cow<'static, str>, Rejected> {
    match present(name, field)? {
        Value::String(text) | Value::Enum(_, text) => Ok(text.into()),
        Value::Uuid(uuid) => Ok(uuid.to_string().into()),
        other => Err(Rejected::new(Reason::BadField, format!("{name} is {}, not a string", kind(&other)))),
    }
}

fn micros(value: Value) -> Result<i64, Rejected> {
    let micros = match &value {
        Value::String(text) => return timestamp_of(text),
        Value::TimestampMillis(millis) => millis.checked_mul(timestamp::MILLI),
        Value::TimestampMicros(micros) => Some(*micros),
        Value::TimestampNanos(nanos) => Some(nanos.div_euclid(1_000)),
        other => {
            let why = format!("timestamp is {}, not a string or a long that is a timestamp", kind(other));
            return Err(Rejected::new(Reason::BadTimestamp, why));
        }
    };
    let in_calendar = micros.filter(|micros| timestamp::CALENDAR.contains(micros));
    in_calendar.ok_or_else(|| Rejected::new(Reason::BadTimestamp, format!("{value:?} is in no year of four digits")))
}

/// Exact, and never rounded.
fn price_cents(price: Value, scale: usize) -> Result<i64, Rejected> {
    let cents = match &price {
        Value::Decimal(decimal) => decimal_cents(decimal, scale),
        Value::Int(whole) => i64::from(*whole).checked_mul(100),
        Value::Long(whole) => whole.checked_mul(100),
        Value::Float(number) => return super::cents(&number.to_string()),
        Value::Double(number) => return super::cents(&number.to_string()),
        other => {
            return Err(Rejected::new(Reason::BadPrice, format!("price is {}, not a number", kind(other))));
        }
    };
    cents.ok_or_else(|| Rejected::new(Reason::BadPrice, "price has more than two decimals, or is too large"))
}

/// A value's type, for people.
fn kind(value: &Value) -> String {
    format!("{:?}", SchemaKind::from(value)).to_lowercase()
}

/// Places behind the second may be there, as the schema says for all records alike; they have to be zeros.
fn decimal_cents(decimal: &Decimal, scale: usize) -> Option<i64> {
    let unscaled = i128::try_from(BigInt::from(decimal.clone())).ok()?;
    let power = |places: usize| 10_i128.checked_pow(u32::try_from(places).ok()?);
    let cents = match scale.checked_sub(2) {
        None => unscaled.checked_mul(power(2 - scale)?)?,
        Some(_) if unscaled == 0 => 0,
        Some(more) => {
            let power = power(more)?;
            if unscaled % power == 0 { unscaled / power } else { return None }
        }
    };
    i64::try_from(cents).ok()
}

/// As an event of ours stands in a record.
fn value(event: &Event<'_>) -> Option<Value> {
    let symbol = EventType::ALL.iter().position(|kind| *kind == event.event_type)?;
    let price = match event.price_cents {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(cents) => Value::Union(1, Box::new(Value::Decimal(Decimal::from(cents.to_be_bytes())))),
    };
    let fields = [
        ("event_id", Value::String(event.event_id.to_string())),
        ("user_id", Value::Long(event.user_id.parse().ok()?)),
        ("event_type", Value::Enum(u32::try_from(symbol).ok()?, event.event_type.name().to_owned())),
        ("product_id", Value::String(event.product_id.to_string())),
        ("timestamp", Value::TimestampMicros(event.timestamp)),
        ("price", price),
    ];
    Some(Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event;

    fn price(value: Value, scale: usize) -> Result<i64, Reason> {
        price_cents(value, scale).map_err(|rejected| rejected.reason)
    }

    #[test]
    fn money_is_exact_or_refused() {
        let decimal = |unscaled: i128, scale| price(Value::Decimal(Decimal::from(unscaled.to_be_bytes())), scale);
        assert_eq!(decimal(-1_999, 2), Ok(-1_999));
        assert_eq!((decimal(19, 0), decimal(195, 1), decimal(1_999_000, 5)), (Ok(1_900), Ok(1_950), Ok(1_999)));
        for (unscaled, scale) in [(1_999_001, 5), (i128::MAX, 2), (i128::MAX, 0), (1, 60)] {
            assert_eq!(decimal(unscaled, scale), Err(Reason::BadPrice), "{unscaled} / 10^{scale}");
        }
        assert_eq!(decimal(0, 60), Ok(0));
        assert_eq!(price(Value::Long(7), 0), Ok(700));
        assert_eq!(price(Value::Float(19.99), 0), Ok(1_999));
        assert_eq!(price(Value::Double(1e15), 0), Ok(100_000_000_000_000_000));
        for value in [
            Value::Long(i64::MAX),
            Value::Double(0.1 + 0.2),
            Value::Double(f64::INFINITY),
            Value::String("1.00".to_owned()),
        ] {
            assert_eq!(price(value.clone(), 0), Err(Reason::BadPrice), "{value:?}");
        }
    }

    #[test]
    fn an_instant_has_a_unit_and_a_zone() {
        let at = |value| micros(value).map_err(|rejected| rejected.reason);
        assert_eq!(at(Value::TimestampMillis(-1)), Ok(-1_000));
        assert_eq!(at(Value::TimestampMicros(7)), Ok(7));
        assert_eq!((at(Value::TimestampNanos(1_999)), at(Value::TimestampNanos(-1))), (Ok(1), Ok(-1)), "cut");
        assert_eq!(at(Value::String("1970-01-01T01:00:00+01:00".to_owned())), Ok(0));
        for value in [
            Value::Long(7),
            Value::LocalTimestampMicros(7),
            Value::TimestampMillis(i64::MAX),
            Value::TimestampMicros(i64::MAX),
            Value::String("1970-01-01T01:00:00".to_owned()),
        ] {
            assert_eq!(at(value.clone()), Err(Reason::BadTimestamp), "{value:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_event() {
        for price in ["19.99", "null", "-0.01", "92233720368547758.07"] {
            let json = format!(
                r#"{{"event_id":"e1","user_id":1234,"event_type":"purchase","product_id":"p","timestamp":"2024-01-15T14:30:00.123456Z","price":{price}}}"#
            );
            let expected = event::parse(Some(json.as_bytes())).unwrap();
            assert_eq!(super::event(value(&expected).unwrap(), 2), Ok(expected));
        }
        let named = r#"{"event_id":"e1","user_id":"u7","event_type":"view","product_id":"p","timestamp":"2024-01-15T14:30:00Z"}"#;
        assert!(value(&event::parse(Some(named.as_bytes())).unwrap()).is_none(), "user_id is a long there");
    }
}
