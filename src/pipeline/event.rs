//! One click: what its JSON must hold, and why a record is none.
//!
//! Money is decimal text turned into integer cents; it is never a float. The same function serves aggregator, sink and
//! verification, so that they can't disagree about what an event is.

#[cfg(feature = "schema-registry")]
mod avro;
mod format;
mod scan;

pub use format::{EventFormat, EventReader, Need, Reading};

use crate::error::shown;
use crate::pipeline::timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// No sentence about a record is longer: it quotes what stands there.
const WORDS: usize = 300;

/// What the visitor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the event format has exactly these three")]
pub enum EventType {
    /// Looked at a product.
    View,
    /// Put it into the cart.
    AddToCart,
    /// Bought it.
    Purchase,
}

impl EventType {
    const ALL: [Self; 3] = [Self::View, Self::AddToCart, Self::Purchase];

    /// The name in the event format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::AddToCart => "add_to_cart",
            Self::Purchase => "purchase",
        }
    }

    /// From the name in the event format.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn named(name: &str) -> Result<Self, Rejected> {
        let unknown = || Rejected::new(Reason::BadEventType, format!("event_type {name:?} is not known"));
        Self::from_name(name).ok_or_else(unknown)
    }
}

/// One valid event, borrowed from its record where JSON allows it (an escape such as `\u005f` makes a copy).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Unique by the producer's promise.
    pub event_id: Cow<'a, str>,
    /// A number or a string in JSON, text here.
    pub user_id: Cow<'a, str>,
    /// What the visitor did.
    pub event_type: EventType,
    /// Which product.
    pub product_id: Cow<'a, str>,
    /// Event time in microseconds since 1970.
    pub timestamp: i64,
    /// The price in cents; only purchases have one, whatever else a view carries is not looked at.
    pub price_cents: Option<i64>,
}

impl Event<'_> {
    /// A purchase with a price: what money is counted from, and what the sink stores.
    pub fn is_priced_purchase(&self) -> bool {
        self.event_type == EventType::Purchase && self.price_cents.is_some()
    }
}

/// Why a record goes to the dead letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which kind, as `reason` in receipts and metrics.
    pub reason: Reason,
    /// A sentence with the detail.
    pub message: String,
}

/// The kinds of rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A null value.
    Tombstone,
    /// The value is not UTF-8.
    BadUtf8,
    /// The value is not JSON, or is cut off.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// A field is missing or null.
    MissingField,
    /// A field has another type than it must have.
    BadField,
    /// Neither view nor add_to_cart nor purchase.
    BadEventType,
    /// Not RFC 3339 with a zone.
    BadTimestamp,
    /// Not a JSON number with at most two decimals, or more cents than 64 bits hold.
    BadPrice,
    /// Not of the Avro schema that it names, or there is no such schema.
    BadAvro,
    /// Further ahead of its record's timestamp than `max.future.ms`.
    FutureTimestamp,
    /// Further ahead of its partition's newest event than `max.jump.ms`.
    TimestampJump,
    /// The database refused this row.
    RowRefused,
    /// A partial row of a window that is final already.
    LateRow,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Tombstone,
        Self::BadUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::MissingField,
        Self::BadField,
        Self::BadEventType,
        Self::BadTimestamp,
        Self::BadPrice,
        Self::BadAvro,
        Self::FutureTimestamp,
        Self::TimestampJump,
        Self::RowRefused,
        Self::LateRow,
    ];

    /// The reason's name in receipts, headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::BadUtf8 => "bad_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::BadField => "bad_field",
            Self::BadEventType => "bad_event_type",
            Self::BadTimestamp => "bad_timestamp",
            Self::BadPrice => "bad_price",
            Self::BadAvro => "bad_avro",
            Self::FutureTimestamp => "future_timestamp",
            Self::TimestampJump => "timestamp_jump",
            Self::RowRefused => "row_refused",
            Self::LateRow => "late_row",
        }
    }
}

impl Rejected {
    /// A rejection with its sentence, which stands in a header of the dead letter: of a longer one the beginning.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        Self { reason, message: shown(message.as_ref(), WORDS) }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.message)
    }
}

/// The fields as they stand in the text. Everything else in the object is skipped.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    product_id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
}

/// The event in a record's value: any order of fields, extra fields, `user_id` as number or string.
///
/// # Errors
/// Why the record belongs into the dead letter queue.
pub fn parse(value: Option<&[u8]>) -> Result<Event<'_>, Rejected> {
    let value = value.ok_or_else(|| Rejected::new(Reason::Tombstone, "the record has no value"))?;
    let text = std::str::from_utf8(value).map_err(|error| Rejected::new(Reason::BadUtf8, error.to_string()))?;
    scan::event(text).map_or_else(|| full(text), Ok)
}

/// Everything that JSON allows, and why a text is no event.
#[cold]
fn full(text: &str) -> Result<Event<'_>, Rejected> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        // serde would take an array for the fields in order.
        return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Rejected::new(Reason::NotAnObject, "the value is JSON, but not an object"),
            Err(error) => Rejected::new(Reason::NotJson, error.to_string()),
        });
    }
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| Rejected::new(Reason::NotJson, error.to_string()))?;
    let event_type = string("event_type", fields.event_type)?;
    let event_type = EventType::named(&event_type)?;
    let instant = string("timestamp", fields.timestamp)?;
    Ok(Event {
        event_id: string("event_id", fields.event_id)?,
        user_id: user_id(fields.user_id)?,
        event_type,
        product_id: string("product_id", fields.product_id)?,
        timestamp: timestamp_of(&instant)?,
        price_cents: match fields.price {
            Some(price) if event_type == EventType::Purchase => Some(cents(price.get())?),
            _ => None,
        },
    })
}

/// The instant in a line's `timestamp` and the text of its `user_id`, of anything that has them: `clickstream --file`
/// takes key and record timestamp from there and validates nothing.
pub fn peek(line: &[u8]) -> (Option<i64>, Option<String>) {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(borrow)]
        user_id: Option<&'a RawValue>,
        #[serde(borrow)]
        timestamp: Option<&'a RawValue>,
    }
    let starts_as_object = line.trim_ascii_start().first() == Some(&b'{');
    let Some(peek) = std::str::from_utf8(line).ok().filter(|_| starts_as_object) else { return (None, None) };
    let Ok(peek) = serde_json::from_str::<Peek<'_>>(peek) else { return (None, None) };
    let instant = string("timestamp", peek.timestamp).ok().and_then(|text| timestamp::parse(&text));
    let user = peek.user_id.and_then(|user| match unquote(user.get()) {
        Some(text) => Some(text.into_owned()),
        None if user.get().starts_with(['{', '[']) => None,
        None => Some(user.get().to_owned()),
    });
    (instant, user)
}

fn present<'a>(name: &str, field: Option<&'a RawValue>) -> Result<&'a str, Rejected> {
    field.map(RawValue::get).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Rejected {
    Rejected::new(Reason::MissingField, format!("{name} is missing or null"))
}

fn timestamp_of(text: &str) -> Result<i64, Rejected> {
    let wrong = || Rejected::new(Reason::BadTimestamp, format!("{text:?} is not RFC 3339 with a zone"));
    timestamp::parse(text).ok_or_else(wrong)
}

fn string<'a>(name: &str, field: Option<&'a RawValue>) -> Result<Cow<'a, str>, Rejected> {
    let raw = present(name, field)?;
    unquote(raw).ok_or_else(|| Rejected::new(Reason::BadField, format!("{name} is {raw:.40}, not a string")))
}

fn user_id(field: Option<&RawValue>) -> Result<Cow<'_, str>, Rejected> {
    let raw = present("user_id", field)?;
    if let Some(text) = unquote(raw) {
        return Ok(text);
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Borrowed(raw));
    }
    Err(Rejected::new(Reason::BadField, format!("user_id is {raw:.40}, neither an integer nor a string")))
}

/// The content of a JSON string; `None` if the value is no string, or its escapes make no text.
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A JSON number as integer cents: checked, never rounded, more than two decimals are refused.
fn cents(raw: &str) -> Result<i64, Rejected> {
    exact_cents(raw).ok_or_else(|| {
        Rejected::new(Reason::BadPrice, format!("price {raw:.40} is no number of at most two decimals that fits"))
    })
}

/// Decimal text as cents; `None` if it is none, or has more than two decimals.
pub(super) fn exact_cents(raw: &str) -> Option<i64> {
    let (negative, text) = raw.strip_prefix('-').map_or((false, raw), |text| (true, text));
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let decimals = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let mut value: i64 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(if negative { -digit } else { digit })?;
    }
    let shift = u32::try_from(2_i32.checked_sub(decimals)?).ok()?;
    if value == 0 { Some(0) } else { value.checked_mul(10_i64.checked_pow(shift)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURCHASE: &str = r#"{"event_id":"e1","user_id":1234,"event_type":"purchase","product_id":"Laptop_X1","timestamp":"2024-01-15T14:30:00.123456Z","price":19.99}"#;

    fn reason(value: &str) -> Reason {
        parse(Some(value.as_bytes())).unwrap_err().reason
    }

    fn with_price(price: &str) -> String {
        PURCHASE.replace("19.99", price)
    }

    #[test]
    fn our_own_format_borrows_everything() {
        let event = parse(Some(PURCHASE.as_bytes())).unwrap();
        assert_eq!((&*event.event_id, &*event.user_id, &*event.product_id), ("e1", "1234", "Laptop_X1"));
        assert!(matches!(event.product_id, Cow::Borrowed(_)));
        assert_eq!(event.price_cents, Some(1999));
        assert_eq!(event.timestamp, 1_705_329_000_123_456);
    }

    #[test]
    fn any_order_extra_fields_escapes_and_a_user_id_in_quotes_are_welcome() {
        let value = r#" { "extra": {"a":[1,2]}, "price": null, "timestamp":"2024-01-15T15:30:00+01:00", "product_id":"Laptop\u005fX1",
            "event_type":"add\u005fto_cart", "user_id":"1234", "event\u005fid":"e1" } "#;
        let event = parse(Some(value.as_bytes())).unwrap();
        assert_eq!(
            (event.event_type, &*event.product_id, &*event.user_id),
            (EventType::AddToCart, "Laptop_X1", "1234")
        );
        assert_eq!(event.timestamp, 1_705_329_000_000_000);
    }

    #[test]
    fn the_original_producers_purchase_without_a_price_and_price_on_a_view_are_events() {
        let no_price = with_price("null");
        assert_eq!(parse(Some(no_price.as_bytes())).unwrap().price_cents, None);
        let view = with_price("\"abc\"").replace("purchase", "view");
        assert_eq!(parse(Some(view.as_bytes())).unwrap().price_cents, None);
    }

    #[test]
    fn each_poison_has_its_reason() {
        assert_eq!(parse(None).unwrap_err().reason, Reason::Tombstone);
        assert_eq!(parse(Some(b"{\"event_id\":\"\xff\"}")).unwrap_err().reason, Reason::BadUtf8);
        assert_eq!(reason(""), Reason::NotJson);
        assert_eq!(reason("hello"), Reason::NotJson);
        assert_eq!(reason(&PURCHASE[..40]), Reason::NotJson);
        assert_eq!(reason(&format!("{PURCHASE}}}")), Reason::NotJson);
        assert_eq!(reason(&format!("[{PURCHASE}]")), Reason::NotAnObject);
        assert_eq!(reason(r#"["e1",1,"view","p","2024-01-15T14:30:00Z",null]"#), Reason::NotAnObject);
        assert_eq!(reason("null"), Reason::NotAnObject);
        assert_eq!(reason("{}"), Reason::MissingField);
        assert_eq!(reason(&PURCHASE.replace("\"e1\"", "null")), Reason::MissingField);
        assert_eq!(reason(&PURCHASE.replace("1234,", "12.5,")), Reason::BadField);
        assert_eq!(reason(&PURCHASE.replace("\"e1\"", "7")), Reason::BadField);
        assert_eq!(reason(&PURCHASE.replace("purchase", "refund")), Reason::BadEventType);
        assert_eq!(reason(&PURCHASE.replace("2024-01", "2024-31")), Reason::BadTimestamp);
        for price in ["\"abc\"", "\"19.99\"", "19.990", "19.999", "1e-3", "92233720368547758.08", "1e400", "true", "{}"]
        {
            assert_eq!(reason(&with_price(price)), Reason::BadPrice, "{price}");
        }
        assert_eq!(reason(&with_price("NaN")), Reason::NotJson);
    }

    #[test]
    fn every_amount_of_cents_comes_back_exactly() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..10_000 {
            let amount = random.i64(..) >> random.u32(0..63);
            let sign = if amount < 0 { "-" } else { "" };
            let (whole, rest) = (amount.unsigned_abs() / 100, amount.unsigned_abs() % 100);
            assert_eq!(exact_cents(&format!("{sign}{whole}.{rest:02}")), Some(amount));
            assert_eq!(exact_cents(&format!("{sign}{whole}{rest:02}e-2")), Some(amount));
        }
        assert_eq!(exact_cents("1.5e1"), Some(1500));
        assert_eq!(exact_cents("7"), Some(700));
        assert_eq!(exact_cents("0e99"), Some(0));
    }
}
