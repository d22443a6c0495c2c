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
//! each of them in a union with null, too, and texts as enums. Money stays decimal: of a `double` the shortest decimal text that stands
//! for it is taken, which is what its writer would have put into JSON.
#![allow(clippy::disallowed_methods, reason = "patience with a registry")]

use super::format::{EventReader, Need, Reading};
use super::{Event, EventType, Reason, Rejected, missing, timestamp_of};
use crate::consumer::{ConsumerRecord, Records};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::timestamp;
use crate::schema::apache_avro::{Decimal, Schema as AvroSchema, schema::SchemaKind, types::Value};
use crate::schema::{AvroReader, Registry, RegistryError, Schema, SchemaId, Serializer};
use num_bigint::BigInt;
use std::borrow::Cow;
use std::collections::{HashMap, hash_map::Entry};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What `clickstream` writes, registered under `T-value`.
const WRITTEN: &str = r#"{"type":"record","name":"ClickEvent","namespace":"milena.clickstream","fields":[
{"name":"event_id","type":"string"},
{"name":"user_id","type":"long"},
{"name":"event_type","type":{"type":"enum","name":"EventType","symbols":["view","add_to_cart","purchase"]}},
{"name":"product_id","type":"string"},
{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},
{"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":19,"scale":2}],"default":null}]}"#;

/// No more schemas are kept than this, besides those of the records in hand.
const KEPT: usize = 1_000;
/// Before a schema is unknown: the nodes of a registry learn of it one after the other.
const GRACE: Duration = Duration::from_secs(10);
/// For so long it is unknown then, without being asked for again.
const UNKNOWN: Duration = Duration::from_secs(60);
/// Between two questions for the same.
const AGAIN: Duration = Duration::from_secs(1);

/// The registry, and what is known of it.
#[derive(Debug)]
pub(super) struct Avro {
    registry: Registry,
    known: Mutex<Schemas>,
    writer: Serializer<Value>,
}

/// By id, what is known of schemas.
#[derive(Debug, Clone, Default)]
pub(super) struct Schemas(Arc<HashMap<SchemaId, Known>>);

#[derive(Debug, Clone)]
enum Known {
    Reader(AvroReader),
    /// Whatever is registered, nothing can be read by it.
    Unreadable(Arc<str>),
    /// The registry does not have it, as of then.
    Unknown(Arc<str>, Instant),
}

impl Known {
    fn is_fresh(&self) -> bool {
        !matches!(self, Self::Unknown(_, at) if at.elapsed() >= UNKNOWN)
    }
}

impl Avro {
    pub(super) fn new(registry: &Registry) -> Self {
        let writer = Serializer::avro_values(registry, Schema::avro(WRITTEN));
        Self { registry: registry.clone(), known: Mutex::default(), writer }
    }

    fn known(&self) -> Schemas {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reading(
        this: &Arc<Self>,
        records: &Records,
        need: impl Fn(i64, &dyn Fn() -> String) -> Need,
    ) -> Reading<EventReader> {
        let known = this.known();
        let (mut wanted, mut is_missing) = (HashMap::new(), false);
        for record in records {
            let Some((id, _)) = named(&record) else { continue };
            let must = match need(record.offset(), &|| id.to_string()) {
                Need::None => continue,
                need => need == Need::Found,
            };
            *wanted.entry(id).or_insert(false) |= must;
            is_missing |= match known.0.get(&id) {
                Some(Known::Unknown(..)) if must => true,
                found => !found.is_some_and(Known::is_fresh),
            };
        }
        if !is_missing {
            return Reading::Now(EventReader { avro: Some(known) });
        }
        let this = this.clone();
        Reading::Later(Box::pin(async move {
            let began = Instant::now();
            let (mut told, mut found) = (false, HashMap::new());
            for (id, must) in wanted {
                let known = loop {
                    let before = known.0.get(&id);
                    let why = match this.asked(id).await {
                        Ok(Known::Unknown(why, _)) if must || (before.is_none() && began.elapsed() < GRACE) => why,
                        Ok(known) => break known,
                        Err(error) if error.is_retriable() => error.to_string().into(),
                        Err(error) => return Err(error),
                    };
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(schema = %id, why = &*why, "records wait for their schema");
                    }
                    sleep(AGAIN).await;
                };
                found.insert(id, known);
            }
            if told {
                tracing::info!("records wait for their schema no more");
            }
            Ok(EventReader { avro: Some(this.learned(found)) })
        }))
    }

    /// Those that these records need, without patience.
    pub(super) async fn reader(&self, records: &Records) -> Result<EventReader> {
        let (known, mut found) = (self.known(), HashMap::new());
        for record in records {
            let Some((id, _)) = named(&record) else { continue };
            if let Entry::Vacant(new) = found.entry(id) {
                new.insert(match known.0.get(&id).filter(|known| known.is_fresh()) {
                    Some(known) => known.clone(),
                    None => self.asked(id).await?,
                });
            }
        }
        let is_known = found.keys().all(|id| known.0.get(id).is_some_and(Known::is_fresh));
        Ok(EventReader { avro: Some(if is_known { known } else { self.learned(found) }) })
    }

    /// These, and of those that were known before as many as there is room for.
    fn learned(&self, mut found: HashMap<SchemaId, Known>) -> Schemas {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, schema) in known.0.iter().filter(|(_, schema)| schema.is_fresh()) {
            if found.len() >= KEPT {
                break;
            }
            found.entry(*id).or_insert_with(|| schema.clone());
        }
        *known = Schemas(Arc::new(found));
        known.clone()
    }

    /// What the registry has by this id.
    ///
    /// # Errors
    /// What is not about this schema: it is away, or lets nobody in.
    async fn asked(&self, id: SchemaId) -> Result<Known> {
        // Java's registry has an int there, which other numbers don't even get as far as.
        if matches!(id, SchemaId::Id(id) if i32::try_from(id).is_err()) {
            return Ok(Known::Unreadable(format!("no registry has a schema {id}").into()));
        }
        let said = |error: &Error| RegistryError::of(error).is_some() && error.kind() == ErrorKind::InvalidArgument;
        match self.registry.schema(id).await {
            Err(error) if said(&error) => return Ok(Known::Unknown(error.to_string().into(), Instant::now())),
            asked => asked?,
        };
        match self.registry.avro_reader(id).await {
            Ok(avro) => Ok(Known::Reader(avro)),
            Err(error) if said(&error) => Ok(Known::Unknown(error.to_string().into(), Instant::now())),
            Err(error) if matches!(error.kind(), ErrorKind::Malformed | ErrorKind::InvalidArgument) => {
                Ok(Known::Unreadable(error.to_string().into()))
            }
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
        let bad = |why: &str| Err(Rejected::new(Reason::BadAvro, why));
        Some(match self.0.get(&id) {
            Some(Known::Reader(avro)) => match avro.value(data) {
                Ok(value) => event(value, avro),
                Err(error) => bad(&format!("schema {id}: {error}")),
            },
            Some(Known::Unreadable(why) | Known::Unknown(why, _)) => bad(why),
            None => bad(&format!("schema {id} was not known when the record was read first")),
        })
    }

    /// The schema that a record needs, if the registry does not have it.
    pub(super) fn unknown(&self, record: &ConsumerRecord<'_>) -> Option<SchemaId> {
        let (id, _) = named(record)?;
        matches!(self.0.get(&id), Some(Known::Unknown(..))).then_some(id)
    }
}

/// The schema's id and the data; `None` for JSON, and for what is not in Confluent's wire format.
pub(super) fn named<'a>(record: &ConsumerRecord<'a>) -> Option<(SchemaId, &'a [u8])> {
    let is_json = record.value()?.trim_ascii_start().first() == Some(&b'{');
    if is_json && record.headers().next().is_none() {
        return None;
    }
    SchemaId::of_value(record).ok().flatten()
}

/// A value and its schema, out of unions and behind names.
fn plain<'a>(value: Value, schema: &'a AvroSchema, avro: &'a AvroReader) -> (Value, &'a AvroSchema) {
    match (value, schema) {
        (value, AvroSchema::Ref { name }) => match avro.named(name) {
            Some(schema) => plain(value, schema, avro),
            None => (value, schema),
        },
        (Value::Union(index, value), AvroSchema::Union(of)) => {
            let branch = usize::try_from(index).ok().and_then(|index| of.variants().get(index));
            plain(*value, branch.unwrap_or(&AvroSchema::Null), avro)
        }
        both => both,
    }
}

/// The event that a value of this schema is.
fn event(value: Value, avro: &AvroReader) -> Result<Event<'static>, Rejected> {
    let (Value::Record(values), AvroSchema::Record(of)) = plain(value, avro.schema(), avro) else {
        return Err(Rejected::new(Reason::NotAnObject, "the value is Avro, but not a record"));
    };
    let (mut event_id, mut user_id, mut event_type) = (None, None, None);
    let (mut product_id, mut instant, mut price) = (None, None, None);
    for ((name, value), field) in values.into_iter().zip(&of.fields) {
        let slot = match name.as_str() {
            "event_id" => &mut event_id,
            "user_id" => &mut user_id,
            "event_type" => &mut event_type,
            "product_id" => &mut product_id,
            "timestamp" => &mut instant,
            "price" => &mut price,
            _ => continue,
        };
        *slot = Some(plain(value, &field.schema, avro)).filter(|(value, _)| *value != Value::Null);
    }
    let text_of = |name, field: Option<(Value, &AvroSchema)>| text(name, field.map(|(value, _)| value));
    let event_type = text_of("event_type", event_type)?;
    let event_type = EventType::named(&event_type)?;
    Ok(Event {
        event_id: text_of("event_id", event_id)?,
        user_id: match user_id {
            Some((Value::Int(number), _)) => number.to_string().into(),
            Some((Value::Long(number), _)) => number.to_string().into(),
            user_id => text_of("user_id", user_id)?,
        },
        event_type,
        product_id: text_of("product_id", product_id)?,
        timestamp: micros(present("timestamp", instant.map(|(value, _)| value))?)?,
        price_cents: match price {
            Some((price, schema)) if event_type == EventType::Purchase => Some(price_cents(&price, schema)?),
            _ => None,
        },
    })
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
fn price_cents(price: &Value, schema: &AvroSchema) -> Result<i64, Rejected> {
    let cents = match (price, schema) {
        (Value::Decimal(decimal), AvroSchema::Decimal(of)) => decimal_cents(decimal, of.scale),
        (Value::Int(whole), _) => i64::from(*whole).checked_mul(100),
        (Value::Long(whole), _) => whole.checked_mul(100),
        (Value::Float(number), _) => return super::cents(&number.to_string()),
        (Value::Double(number), _) => return super::cents(&number.to_string()),
        (other, _) => {
            return Err(Rejected::new(Reason::BadPrice, format!("price is {}, not a number", kind(other))));
        }
    };
    cents.ok_or_else(|| Rejected::new(Reason::BadPrice, "price is no number of at most two decimals that fits"))
}

/// A value's type, for people.
fn kind(value: &Value) -> String {
    format!("{:?}", SchemaKind::from(value)).to_lowercase()
}

/// Places behind the second may be there, as the schema says for all records alike; they have to be zeros.
fn decimal_cents(decimal: &Decimal, scale: usize) -> Option<i64> {
    if Vec::try_from(decimal).ok()?.is_empty() {
        return None; // no bytes are no number, and not 0
    }
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
        ("user_id", Value::Long(event.user_id.parse().ok().filter(|id: &i64| id.to_string() == event.user_id)?)),
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

    fn price(value: Value) -> Result<i64, Reason> {
        price_cents(&value, &AvroSchema::Null).map_err(|rejected| rejected.reason)
    }

    #[test]
    fn money_is_exact_or_refused() {
        let decimal = |unscaled: i128, scale| decimal_cents(&Decimal::from(unscaled.to_be_bytes()), scale);
        assert_eq!(decimal(-1_999, 2), Some(-1_999));
        assert_eq!((decimal(19, 0), decimal(195, 1), decimal(1_999_000, 5)), (Some(1_900), Some(1_950), Some(1_999)));
        for (unscaled, scale) in [(1_999_001, 5), (i128::MAX, 2), (i128::MAX, 0), (1, 60)] {
            assert_eq!(decimal(unscaled, scale), None, "{unscaled} / 10^{scale}");
        }
        assert_eq!(decimal(0, 60), Some(0));
        assert_eq!(decimal_cents(&Decimal::from(b""), 2), None, "no bytes");
        assert_eq!(price(Value::Long(7)), Ok(700));
        assert_eq!(price(Value::Float(19.99)), Ok(1_999));
        assert_eq!(price(Value::Double(1e15)), Ok(100_000_000_000_000_000));
        for value in [
            Value::Long(i64::MAX),
            Value::Double(0.1 + 0.2),
            Value::Double(f64::INFINITY),
            Value::String("1.00".to_owned()),
            Value::Decimal(Decimal::from(b"\x01")), // of a schema that does not say how many decimals it has
        ] {
            assert_eq!(price(value.clone()), Err(Reason::BadPrice), "{value:?}");
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
            let Some(Value::Record(fields)) = value(&expected) else { panic!("{json}") };
            let Some((_, Value::Union(_, price))) = fields.last() else { panic!("{fields:?}") };
            let expected = (expected.price_cents, Some(Value::TimestampMicros(expected.timestamp)));
            let written = match &**price {
                Value::Decimal(decimal) => decimal_cents(decimal, 2),
                _ => None,
            };
            assert_eq!((written, fields.get(4).map(|(_, instant)| instant.clone())), expected);
        }
        let named = r#"{"event_id":"e1","user_id":"u7","event_type":"view","product_id":"p","timestamp":"2024-01-15T14:30:00Z"}"#;
        for user in ["u7", "007", "+5"] {
            let named = named.replace("u7", user);
            assert!(value(&event::parse(Some(named.as_bytes())).unwrap()).is_none(), "user_id is a long there: {user}");
        }
    }
}
