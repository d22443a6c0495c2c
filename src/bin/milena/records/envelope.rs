//! kcat's JSON envelope, one line a record, in both directions: what is read back is what was written.
//!
//! Bytes that are not UTF-8 are under `key_base64` and `payload_base64`, and as `{"base64":…}` among the headers; null and
//! empty stay apart, and names of headers may repeat. A broker's marker has `"control":"commit"` or `"abort"`, and can't be
//! written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use milena::consumer::{ConsumerRecord, ControlRecord, TimestampType};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::io::Write;
use std::ops::Range;

/// Appends a record's envelope, without an end of line.
pub fn write(record: &ConsumerRecord<'_>, out: &mut Vec<u8>) {
    write_decoded(record, None, None, out);
}

/// The same with a key and a value that are JSON already, where there are any.
pub fn write_decoded(record: &ConsumerRecord<'_>, key: Option<&str>, value: Option<&str>, out: &mut Vec<u8>) {
    let kind = match record.timestamp_type() {
        _ if record.timestamp() < 0 => "unknown",
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "logappend",
    };
    out.extend_from_slice(br#"{"topic":"#);
    write_text(record.topic(), out);
    let (partition, offset, timestamp) = (record.partition(), record.offset(), record.timestamp());
    // A vector takes everything.
    let _ = write!(out, r#","partition":{partition},"offset":{offset},"tstype":"{kind}","ts":{timestamp},"headers":["#);
    for (at, header) in record.headers().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_header(Some(header.name), out);
        out.push(b',');
        write_header(header.value, out);
    }
    out.push(b']');
    for (name, json, bytes) in [("key", key, record.key()), ("payload", value, record.value())] {
        match json {
            Some(json) => out.extend_from_slice(format!(",\"{name}\":{json}").as_bytes()),
            None => write_field(name, bytes, out),
        }
    }
    if let Some(control) = record.control() {
        let says = match control {
            ControlRecord::Commit => "commit",
            ControlRecord::Abort => "abort",
            _ => "unknown",
        };
        out.extend_from_slice(b",\"control\":");
        write_text(says, out);
    }
    out.push(b'}');
}

/// A record's envelope by itself.
pub fn line(record: &ConsumerRecord<'_>) -> String {
    let mut out = Vec::new();
    write(record, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_field(name: &str, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    match bytes.map(std::str::from_utf8) {
        None => out.extend_from_slice(b"\":null"),
        Some(Ok(text)) => {
            out.extend_from_slice(b"\":");
            write_text(text, out);
        }
        Some(Err(_)) => {
            out.extend_from_slice(b"_base64\":");
            write_base64(bytes.unwrap_or_default(), out);
        }
    }
}

fn write_header(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes.map(std::str::from_utf8) {
        None => out.extend_from_slice(b"null"),
        Some(Ok(text)) => write_text(text, out),
        Some(Err(_)) => {
            out.extend_from_slice(br#"{"base64":"#);
            write_base64(bytes.unwrap_or_default(), out);
            out.push(b'}');
        }
    }
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text); // text is always JSON, and a vector takes everything
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default(); // there is room for all of it
    out.truncate(start + written);
    out.push(b'"');
}

/// Where some bytes lie in the memory that they were read into.
pub type Span = Range<usize>;

/// What an envelope says; what it leaves out is as null, but for the payload, which has to be there: an object of another
/// tool's, with other names, would be a tombstone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub topic: Option<Span>,
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
    pub key: Option<Span>,
    pub value: Option<Span>,
}

/// Reads one envelope: its bytes are appended to `bytes`, its headers to `headers`.
///
/// # Errors
/// Says what is wrong with it.
pub fn read(line: &[u8], bytes: &mut Vec<u8>, headers: &mut Vec<(Span, Option<Span>)>) -> Result<Envelope, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let envelope = Reader { bytes, headers }.deserialize(&mut json);
    let envelope = envelope.and_then(|envelope| json.end().map(|()| envelope));
    envelope.map_err(|error| {
        // An envelope is one line, whose number in the input is told besides.
        let (column, why) = (error.column(), error.to_string());
        let why = why.strip_suffix(&format!(" at line {} column {column}", error.line())).unwrap_or(&why);
        match error.classify() {
            serde_json::error::Category::Data => why.to_owned(),
            _ => format!("not an envelope, as consume --json writes them: {why} at column {column}"),
        }
    })
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Topic,
    Partition,
    Ts,
    Headers,
    Key,
    KeyBase64,
    Payload,
    PayloadBase64,
    Control,
    Value,
    #[serde(other)]
    Other,
}

struct Reader<'a> {
    bytes: &'a mut Vec<u8>,
    headers: &'a mut Vec<(Span, Option<Span>)>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Envelope;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope: a JSON object with key, payload, headers and ts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let Self { bytes, headers } = self;
        let mut envelope = Envelope::default();
        let (mut key, mut value) = (None, None); // of base64, which counts before text
        let (mut has_payload, mut is_rpks) = (false, false);
        while let Some(field) = map.next_key()? {
            has_payload |= matches!(field, Field::Payload | Field::PayloadBase64);
            let mut bytes_of = |map: &mut A, what| map.next_value_seed(Bytes { what, bytes: &mut *bytes });
            match field {
                Field::Topic => envelope.topic = bytes_of(&mut map, What::Text("topic"))?,
                Field::Key => envelope.key = bytes_of(&mut map, What::Text("key"))?,
                Field::Payload => envelope.value = bytes_of(&mut map, What::Text("payload"))?,
                Field::KeyBase64 => key = bytes_of(&mut map, What::Base64("key_base64"))?,
                Field::PayloadBase64 => value = bytes_of(&mut map, What::Base64("payload_base64"))?,
                Field::Headers => map.next_value_seed(Headers { bytes: &mut *bytes, headers: &mut *headers })?,
                Field::Partition => {
                    envelope.partition = map.next_value().map_err(named("partition must be a number"))?;
                }
                Field::Ts => {
                    envelope.timestamp = map.next_value().map_err(named("ts must be milliseconds since 1970"))?;
                }
                Field::Control => {
                    return Err(A::Error::custom("a control record is for a broker to write: consume without them"));
                }
                Field::Value => {
                    is_rpks = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if !has_payload {
            return Err(A::Error::custom(if is_rpks { RPKS } else { NO_PAYLOAD }));
        }
        envelope.key = key.or(envelope.key);
        envelope.value = value.or(envelope.value);
        Ok(envelope)
    }
}

const NO_PAYLOAD: &str = "it has no payload, nor payload_base64: null is written \"payload\":null";
const RPKS: &str =
    "it has no payload: `value` is rpk's name for it, jq -c '{key, payload: .value, ts: .timestamp}' renames it";

fn named<E: Error>(what: &'static str) -> impl Fn(E) -> E {
    move |error| E::custom(format!("{what}: {error}"))
}

/// What is read as bytes, or null, and what it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Text(&'static str),
    Base64(&'static str),
    /// A header's name or value: text, or `{"base64": …}`.
    Header,
}

struct Bytes<'a> {
    what: What,
    bytes: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Bytes<'_> {
    type Value = Option<Span>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bytes<'_> {
    type Value = Option<Span>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Text(name @ ("key" | "payload")) => {
                write!(f, "text or null as {name}, and not the JSON that `consume --decode` makes of it")
            }
            What::Text(name) => write!(f, "text or null as {name}"),
            What::Base64(name) => write!(f, "base64 or null as {name}"),
            What::Header => f.write_str("text, null or {\"base64\": …} as a header"),
        }
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let start = self.bytes.len();
        match self.what {
            What::Base64(name) => STANDARD
                .decode_vec(text, self.bytes)
                .map_err(|error| E::custom(format!("{name} is no base64: {error}")))?,
            What::Text(_) | What::Header => self.bytes.extend_from_slice(text.as_bytes()),
        }
        Ok(Some(start..self.bytes.len()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        if self.what != What::Header {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        let wrong = || A::Error::custom("a header must be text, null or {\"base64\": …}");
        if map.next_key::<&str>()? != Some("base64") {
            return Err(wrong());
        }
        let bytes = map.next_value_seed(Bytes { what: What::Base64("a header"), bytes: self.bytes })?;
        if map.next_key::<&str>()?.is_some() { Err(wrong()) } else { Ok(bytes) }
    }
}

/// Names and values in turn, or null for none.
struct Headers<'a> {
    bytes: &'a mut Vec<u8>,
    headers: &'a mut Vec<(Span, Option<Span>)>,
}

impl<'de> DeserializeSeed<'de> for Headers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Headers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names and values in turn as headers")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(name) = list.next_element_seed(Bytes { what: What::Header, bytes: &mut *self.bytes })? {
            let name = name.ok_or_else(|| A::Error::custom("a header's name can't be null"))?;
            let value = list.next_element_seed(Bytes { what: What::Header, bytes: &mut *self.bytes })?;
            let value = value.ok_or_else(|| A::Error::custom("headers must be names and values in turn"))?;
            self.headers.push((name, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (Envelope, Vec<(&'a [u8], Option<&'a [u8]>)>);

    fn parse<'a>(line: &str, bytes: &'a mut Vec<u8>) -> Result<Parts<'a>, String> {
        let mut headers = Vec::new();
        let envelope = read(line.as_bytes(), bytes, &mut headers)?;
        let bytes: &'a [u8] = bytes;
        let of = |span: &Span| &bytes[span.clone()];
        Ok((envelope, headers.iter().map(|(name, value)| (of(name), value.as_ref().map(of))).collect()))
    }

    #[test]
    fn bytes_that_are_not_text_are_base64_and_null_is_not_empty() {
        let mut line = Vec::new();
        write_field("key", None, &mut line);
        write_field("key", Some(b""), &mut line);
        write_field("payload", Some(b"a\"\n\x01\xc3\xa4"), &mut line);
        write_field("payload", Some(&[0xff, 0]), &mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, r#","key":null,"key":"","payload":"a\"\n\u0001ä","payload_base64":"/wA=""#);
        for (bytes, written) in [
            (Some(&[0xff, 0][..]), r#"{"base64":"/wA="}"#),
            (Some(&[0xff]), r#"{"base64":"/w=="}"#),
            (None, "null"),
            (Some(b""), "\"\""),
        ] {
            let mut line = Vec::new();
            write_header(bytes, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), written);
        }
    }

    #[test]
    fn an_envelope_is_read_back_whatever_its_order() {
        let line = r#" {"broker":7,"topic":"t","partition":1,"offset":7,"tstype":"create","ts":-1,"payload":"a\u00e4\n\ud83d\ude00",
            "headers":["a","1","b",null,"a",{"base64":"/wA="},{"base64":"/w=="},""],"key_base64":"/wA=","more":{"x":[1]}} "#;
        let mut bytes = vec![b'x'];
        let (envelope, headers) = parse(line, &mut bytes).unwrap();
        let want: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", Some(b"1")), (b"b", None), (b"a", Some(&[0xff, 0])), (&[0xff], Some(b""))];
        assert_eq!(headers, want);
        assert_eq!((envelope.timestamp, envelope.partition), (Some(-1), Some(1)));
        let of = |span: Option<Span>| bytes[span.unwrap()].to_vec();
        assert_eq!((of(envelope.topic), of(envelope.key)), (b"t".to_vec(), vec![0xff, 0]));
        assert_eq!(of(envelope.value), "a\u{e4}\n\u{1f600}".as_bytes());
    }

    #[test]
    fn null_empty_and_missing() {
        let mut bytes = Vec::new();
        let (empty, _) = parse(r#"{"key":"","payload":""}"#, &mut bytes).unwrap();
        assert_eq!((empty.key, empty.value), (Some(0..0), Some(0..0)));
        for line in [
            r#"{"payload":null}"#,
            r#"{"key":null,"payload":null,"ts":null,"headers":null,"topic":null,"partition":null}"#,
        ] {
            assert_eq!(parse(line, &mut Vec::new()).unwrap(), (Envelope::default(), vec![]), "{line}");
        }
    }

    #[test]
    fn what_is_no_envelope_says_why() {
        for (line, why) in [
            ("hello", "not an envelope"),
            ("", "not an envelope"),
            (r#"{"payload":"a"} x"#, "not an envelope"),
            ("[1]", "expected an envelope"),
            (r#"{"key":1}"#, "expected text or null as key"),
            (r#"{"key":{"base64":"/w=="}}"#, "expected text or null as key, and not the JSON that `consume --decode`"),
            (r#"{"payload":{"a":1}}"#, "expected text or null as payload, and not the JSON that `consume --decode`"),
            (r#"{"topic":[]}"#, "expected text or null as topic"),
            ("{}", "no payload, nor payload_base64"),
            (r#"{"key":"k","value":"v"}"#, "`value` is rpk's name"),
            (r#"{"key_base64":"%"}"#, "key_base64 is no base64"),
            (r#"{"ts":"now"}"#, "ts must be milliseconds"),
            (r#"{"ts":1.5}"#, "ts must be milliseconds"),
            (r#"{"partition":99999999999}"#, "partition must be a number"),
            (r#"{"key":"a","control":"commit"}"#, "for a broker to write"),
            (r#"{"headers":["a"]}"#, "names and values in turn"),
            (r#"{"headers":[null,"a"]}"#, "name can't be null"),
            (r#"{"headers":{"a":"b"}}"#, "expected a list"),
            (r#"{"headers":["a",{"x":"/w=="}]}"#, "a header must be"),
        ] {
            let error = parse(line, &mut Vec::new()).unwrap_err();
            assert!(error.contains(why) && !error.contains("at line"), "{line}: {error}");
        }
    }
}
