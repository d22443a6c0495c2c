//! `milena produce`: lines of stdin become records.

use crate::args::{Failure, Global, Result, Role, stop_on_signal};
use base64::{Engine, engine::general_purpose::STANDARD};
use milena::client::Client;
use milena::producer::{Delivery, ProducerRecord, TopicProducer};
use milena::record::Header;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::BufRead;
use std::time::Duration;
use tokio::sync::mpsc;

/// Writes each line of stdin as a record
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic; the broker may create it
    #[arg(short, long, default_value = "user-behavior-events")]
    topic: String,
    /// Lines are the envelopes of `consume --json`: key, payload, headers and ts are taken over
    #[arg(long)]
    json: bool,
}

/// How many deliveries are waited for at most before the next line is read.
const WINDOW: usize = 100_000;

pub async fn run(args: Args, global: &Global) -> Result<()> {
    let properties = global.properties(Role::Producer)?;
    let client = Client::connect(properties.client()?).await?;
    let producer = client.producer(properties.producer()?)?;
    let sent = send(&producer.topic(args.topic.as_str()), args.json).await;
    let closed = producer.close(Duration::from_secs(60)).await;
    client.close().await;
    sent?;
    closed.map_err(Failure::from)
}

/// Until the end of stdin or a signal; then what was sent is waited for.
async fn send(topic: &TopicProducer, json: bool) -> Result<()> {
    let (stop, mut lines) = (stop_on_signal(None), lines());
    let mut window: VecDeque<Delivery> = VecDeque::new();
    let mut at = 0u64;
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = stop.stopped() => None,
        };
        let Some(line) = line else { break };
        let line = line?;
        at += 1;
        if window.len() == WINDOW
            && let Some(oldest) = window.pop_front()
        {
            oldest.await?;
        }
        let delivery = if json {
            let envelope = Envelope::parse(&line).map_err(|why| Failure::config(format!("line {at}: {why}")))?;
            topic.send(envelope.record(topic)).await?
        } else {
            topic.send(topic.record().value(&line)).await?
        };
        window.push_back(delivery);
    }
    for delivery in window {
        delivery.await?;
    }
    Ok(())
}

/// Lines without their end, read by a thread of their own: stdin can't be waited for.
fn lines() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (lines, receiver) = mpsc::channel(1024);
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What `consume --json` writes of a record, as far as it can be written again.
#[derive(Debug, PartialEq)]
struct Envelope {
    timestamp: Option<i64>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

impl Envelope {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("not an envelope: {error}"))?;
        let object = value.as_object().ok_or("not an envelope: no JSON object")?;
        let field = |name: &str| match (object.get(name), object.get(&format!("{name}_base64"))) {
            (_, Some(Value::String(text))) => decode(text).map(Some),
            (None | Some(Value::Null), None) => Ok(None),
            (Some(Value::String(text)), None) => Ok(Some(text.clone().into_bytes())),
            _ => Err(format!("{name} must be a string or null")),
        };
        let timestamp = match object.get("ts") {
            None | Some(Value::Null) => None,
            Some(ts) => Some(ts.as_i64().ok_or("ts must be milliseconds since 1970")?),
        };
        let mut headers = Vec::new();
        let list = object.get("headers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for pair in list.chunks(2) {
            let [name, value] = pair else { return Err("headers must be names and values in turn".to_owned()) };
            headers.push((bytes(name)?.ok_or("a header's name can't be null")?, bytes(value)?));
        }
        Ok(Self { timestamp, headers, key: field("key")?, payload: field("payload")? })
    }

    fn record<'a>(&'a self, topic: &'a TopicProducer) -> ProducerRecord<'a> {
        let mut record = topic.record();
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(payload) = &self.payload {
            record = record.value(payload);
        }
        for (name, value) in &self.headers {
            record = record.raw_header(Header { name, value: value.as_deref() });
        }
        // Before 1970 is "unknown": the clock's time is better.
        match self.timestamp {
            Some(timestamp @ 0..) => record.timestamp(timestamp),
            _ => record,
        }
    }
}

/// A header's name or value: text, null, or `{"base64": …}`.
fn bytes(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(object) => match object.get("base64") {
            Some(Value::String(text)) => decode(text).map(Some),
            _ => Err("a header must be text, null or {\"base64\": …}".to_owned()),
        },
        _ => Err("a header must be text, null or {\"base64\": …}".to_owned()),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_keeps_key_payload_headers_and_time_and_null_apart_from_empty() {
        let line = br#"{"topic":"t","partition":1,"offset":7,"tstype":"create","ts":1700000000123,
            "headers":["a","1","b",null,"a",{"base64":"/wA="}],"key":null,"payload_base64":"/wA="}"#;
        let envelope = Envelope::parse(line).unwrap();
        assert_eq!(envelope.timestamp, Some(1_700_000_000_123));
        let headers = [(&b"a"[..], Some(&b"1"[..])), (b"b", None), (b"a", Some(&[0xff, 0]))]
            .map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec)));
        assert_eq!(envelope.headers, headers);
        assert_eq!((envelope.key, envelope.payload), (None, Some(vec![0xff, 0])));
        let empty = Envelope::parse(br#"{"key":"","payload":""}"#).unwrap();
        assert_eq!((empty.key, empty.payload), (Some(vec![]), Some(vec![])));
        assert!(Envelope::parse(b"[1]").is_err() && Envelope::parse(br#"{"key":1}"#).is_err());
    }
}
