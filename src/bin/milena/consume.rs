//! `milena consume`: records on stdout, one line each.

use crate::args::{Failure, Global, Result, Role, stop_on_signal};
use crate::perf_consume::{consumer_of, partitions_of};
use base64::{Engine, engine::general_purpose::STANDARD};
use milena::consumer::{Consumer, ConsumerRecord, OffsetReset, TimestampType};
use milena::ids::TopicPartition;
use std::collections::HashMap;
use std::io::{BufWriter, ErrorKind, Write};
use std::str::FromStr;
use std::time::Duration;

/// Prints the records of a topic
///
/// With the property group.id it reads as a member of that group and commits what it has printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic
    #[arg(short, long, default_value = "user-behavior-events")]
    topic: String,
    /// Prints kcat's envelope instead of the bare value: topic, partition, offset, timestamp, headers, key, payload
    #[arg(long)]
    json: bool,
    /// Where to start in each partition: start, end, an offset, or -N for the last N; by default the start with -e, and
    /// else what auto.offset.reset says (the end)
    #[arg(short, long, value_name = "start|end|N", allow_hyphen_values = true)]
    offset: Option<Start>,
    /// Ends at the end offsets as they were at the start
    #[arg(short, long)]
    exit: bool,
    /// Ends after so many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// As -o start
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Beginning,
    End,
    At(i64),
    Last(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "start" | "beginning" | "earliest" => Self::Beginning,
            "end" | "latest" => Self::End,
            _ => match text.parse::<i64>() {
                Ok(offset @ 0..) => Self::At(offset),
                Ok(back) => Self::Last(back.saturating_neg()),
                Err(_) => return Err("is start, end, an offset, or -N for the last N".to_owned()),
            },
        })
    }
}

/// Runs the command.
pub async fn run(args: Args, global: &Global) -> Result<()> {
    let settings = global.settings(Role::Consumer)?;
    let has = |key: &str| settings.iter().any(|setting| setting.key == key && !setting.value.is_empty());
    let (client, mut config) = consumer_of(global)?;
    let start = match (args.offset, args.from_beginning) {
        (None, true) => Some(Start::Beginning),
        (None, false) if args.exit && !has("auto.offset.reset") => Some(Start::Beginning),
        (offset, _) => offset,
    };
    if start == Some(Start::Beginning) {
        config = config.auto_offset_reset(OffsetReset::Earliest);
    }
    let mut consumer = client.consumer(config)?;
    let partitions = partitions_of(&client, &args.topic).await?;
    let ends = if args.exit { Some(consumer.end_offsets(&partitions).await?) } else { None };
    if has("group.id") {
        if start.is_some_and(|start| start != Start::Beginning) {
            return Err(Failure::config("a group starts at its committed offsets: -o can't be combined with group.id"));
        }
        consumer.subscribe([args.topic.as_str()]).await?;
    } else {
        consumer.assign(partitions.clone()).await?;
        seek(&consumer, &partitions, start).await?;
    }
    let printed = print(&mut consumer, &args, ends.as_ref()).await;
    consumer.close(Duration::from_secs(10)).await?;
    client.close().await;
    printed
}

async fn seek(consumer: &Consumer, partitions: &[TopicPartition], start: Option<Start>) -> Result<()> {
    match start {
        None => {}
        Some(Start::Beginning) => consumer.seek_to_beginning(partitions)?,
        Some(Start::End) => consumer.seek_to_end(partitions)?,
        Some(Start::At(offset)) => partitions.iter().try_for_each(|partition| consumer.seek(partition, offset))?,
        Some(Start::Last(count)) => {
            let (starts, ends) =
                (consumer.beginning_offsets(partitions).await?, consumer.end_offsets(partitions).await?);
            for (partition, end) in ends {
                let start = starts.get(&partition).copied().unwrap_or(0);
                consumer.seek(&partition, end.saturating_sub(count).max(start))?;
            }
        }
    }
    Ok(())
}

async fn print(consumer: &mut Consumer, args: &Args, ends: Option<&HashMap<TopicPartition, i64>>) -> Result<()> {
    let stop = stop_on_signal(None);
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !ends.is_some_and(|ends| is_through(consumer, ends)) {
        let records = tokio::select! {
            records = consumer.poll(Duration::from_millis(200)) => records?,
            () = stop.stopped() => break,
        };
        for record in &records {
            let end = ends.and_then(|ends| ends.get(record.topic_partition()));
            if left == 0 || end.is_some_and(|end| record.offset() >= *end) {
                continue;
            }
            left -= 1;
            if !write(&mut out, &record, args.json)? {
                return Ok(());
            }
        }
        if !records.is_empty() && !unbroken(out.flush())? {
            return Ok(());
        }
    }
    unbroken(out.flush()).map(drop)
}

/// Whether all that is assigned has been read up to its end.
fn is_through(consumer: &Consumer, ends: &HashMap<TopicPartition, i64>) -> bool {
    let through = |partition: &TopicPartition| {
        let end = ends.get(partition).copied().unwrap_or(0);
        consumer.position(partition).is_some_and(|position| position >= end)
    };
    let assigned = consumer.assignment();
    !assigned.is_empty() && assigned.iter().all(through)
}

/// False if nobody reads any more, as behind `| head`.
fn unbroken(result: std::io::Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn write(out: &mut impl Write, record: &ConsumerRecord<'_>, json: bool) -> Result<bool> {
    let written = if json {
        let mut line = envelope(record);
        line.push('\n');
        out.write_all(line.as_bytes())
    } else {
        out.write_all(record.value().unwrap_or_default()).and_then(|()| out.write_all(b"\n"))
    };
    unbroken(written)
}

/// kcat's envelope, in its order. Bytes that are not UTF-8 are under `…_base64`; null and empty stay apart.
pub fn envelope(record: &ConsumerRecord<'_>) -> String {
    let kind = match record.timestamp_type() {
        _ if record.timestamp() < 0 => "unknown",
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "logappend",
    };
    let mut line = format!(
        r#"{{"topic":{},"partition":{},"offset":{},"tstype":"{kind}","ts":{},"headers":["#,
        quoted(record.topic()),
        record.partition(),
        record.offset(),
        record.timestamp()
    );
    for (at, header) in record.headers().enumerate() {
        if at > 0 {
            line.push(',');
        }
        line.push_str(&text_or_base64(Some(header.name)));
        line.push(',');
        line.push_str(&text_or_base64(header.value));
    }
    line.push(']');
    field(&mut line, "key", record.key());
    field(&mut line, "payload", record.value());
    line.push('}');
    line
}

fn field(line: &mut String, name: &str, bytes: Option<&[u8]>) {
    let (suffix, value) = match bytes.map(std::str::from_utf8) {
        None => ("", "null".to_owned()),
        Some(Ok(text)) => ("", quoted(text)),
        Some(Err(_)) => ("_base64", quoted(&STANDARD.encode(bytes.unwrap_or_default()))),
    };
    line.push_str(&format!(r#","{name}{suffix}":{value}"#));
}

fn text_or_base64(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "null".to_owned(),
        Some(Ok(text)) => quoted(text),
        Some(Err(_)) => format!(r#"{{"base64":{}}}"#, quoted(&STANDARD.encode(bytes.unwrap_or_default()))),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_base64_and_null_is_not_empty() {
        let mut line = String::new();
        field(&mut line, "key", None);
        field(&mut line, "key", Some(b""));
        field(&mut line, "payload", Some(b"a\"\n\xc3\xa4"));
        field(&mut line, "payload", Some(&[0xff, 0]));
        assert_eq!(line, r#","key":null,"key":"","payload":"a\"\nä","payload_base64":"/wA=""#);
        assert_eq!(text_or_base64(Some(&[0xff, 0])), r#"{"base64":"/wA="}"#);
        assert_eq!((text_or_base64(None), text_or_base64(Some(b""))), ("null".into(), "\"\"".into()));
    }

    #[test]
    fn offsets_count_from_the_start_or_back_from_the_end() {
        let starts = ["start", "end", "7", "-3"].map(|text| text.parse::<Start>().unwrap());
        assert_eq!(starts, [Start::Beginning, Start::End, Start::At(7), Start::Last(3)]);
        assert!("middle".parse::<Start>().is_err());
    }
}
