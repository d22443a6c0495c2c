//! The clickstream producer: a deterministic generator of events, and the shell that writes them to `T`.
#![allow(clippy::disallowed_methods, reason = "a shell paces itself by the clock")]

pub mod generator;
mod sending;

use crate::pipeline::{
    config::Topics,
    context::{Context, wall_micros},
    error::{PipelineError, Result},
    event,
    metrics::Role,
    receipt::Receipt,
    timestamp, topics,
};
use generator::{Generator, Knobs};
use sending::{CHUNK, Sending};
use std::{borrow::Cow, io::BufRead, path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};

/// Events older than this make a topic that deletes nothing.
const OLD: i64 = 86_400 * timestamp::SECOND;
/// Brokers refuse records further ahead than this, and the rest of their batch.
const TOO_FAR_AHEAD: i64 = 3_600 * timestamp::SECOND;

/// What `milena clickstream` was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it writes.
    pub topics: Topics,
    /// What the events look like; ignored with `file`.
    pub knobs: Knobs,
    /// Waits for each event's time; else it writes as fast as it can.
    pub paced: bool,
    /// Ends after this many records.
    pub count: Option<u64>,
    /// Ends after this long.
    pub run_for: Option<Duration>,
    /// Of a topic that it creates.
    pub partitions: i32,
    /// Lines to send as they are, instead of generated events; `-` is stdin. Where events are Avro, those that are events become Avro.
    pub file: Option<PathBuf>,
}

impl Options {
    /// Generated events as fast as possible, six partitions.
    pub fn new(input: &str) -> Self {
        Self {
            topics: Topics::of(input),
            knobs: Knobs::default(),
            paced: false,
            count: None,
            run_for: None,
            partitions: 6,
            file: None,
        }
    }
}

/// Writes events until count, time, the file's end, or the wish to stop; what was taken is flushed. `produced` in the
/// receipt counts what the brokers acknowledged.
///
/// # Errors
/// A record that was not written: the first one's error.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let producer = context.producer()?;
    let mut sending =
        Sending::new(producer.topic(options.topics.input.as_str()), context.metrics.stage(Role::Clickstream, ""));
    let done = match &options.file {
        Some(path) => file(context, &options, &mut sending, path.clone()).await,
        None => generate(context, &options, &mut sending).await,
    };
    let closed = producer.close(Context::FAREWELL).await;
    done?;
    let written = sending.written().await?;
    closed?;
    let mut receipt = Receipt::new("clickstream");
    receipt.produced = Some(written);
    Ok(receipt.close())
}

async fn generate(context: &Context, options: &Options, sending: &mut Sending) -> Result<()> {
    let admin = context.client.admin();
    let old = options.knobs.start < wall_micros() - OLD;
    topics::ensure_input(&admin, &options.topics, options.partitions, old).await?;
    let mut generator = Generator::new(options.knobs.clone());
    let began = Instant::now();
    let mut drawn = 0;
    while options.count.is_none_or(|count| drawn < count) {
        let next = generator.draw();
        let mut wait = Duration::ZERO;
        if options.paced {
            let at = Duration::from_micros(u64::try_from(next.due - options.knobs.start).unwrap_or(0));
            let elapsed = began.elapsed();
            if let Some(limit) = options.run_for.filter(|limit| at >= *limit) {
                sending.send().await;
                rest(context, limit.saturating_sub(elapsed)).await;
                return Ok(());
            }
            wait = at.saturating_sub(elapsed);
        }
        let value = as_format(context, options, next.value).await?;
        let is_full = sending.push(Some(next.key), value.as_deref(), next.timestamp_ms);
        drawn += 1;
        // A millisecond's worth of events goes out together.
        let waits = wait > Duration::from_millis(1);
        if !is_full && !waits {
            continue;
        }
        sending.send().await;
        let is_over = options.run_for.is_some_and(|limit| began.elapsed() >= limit);
        if context.stop.is_stopped() || is_over || sending.has_failed() {
            return Ok(());
        }
        if waits {
            rest(context, wait).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    sending.send().await;
    Ok(())
}

/// What goes into the record.
async fn as_format<'a>(context: &Context, options: &Options, json: Option<&'a [u8]>) -> Result<Option<Cow<'a, [u8]>>> {
    match json {
        Some(json) if !context.events.is_json() => Ok(Some(context.events.encode(&options.topics.input, json).await?)),
        json => Ok(json.map(Cow::Borrowed)),
    }
}

async fn rest(context: &Context, wait: Duration) {
    tokio::select! {
        () = sleep(wait) => {}
        () = context.stop.stopped() => {}
    }
}

/// Sends lines as they are: key = their `user_id`, timestamp = their `timestamp`, where they have them.
async fn file(context: &Context, options: &Options, sending: &mut Sending, path: PathBuf) -> Result<()> {
    let (lines, mut read) = tokio::sync::mpsc::channel::<std::io::Result<Vec<Vec<u8>>>>(16);
    // Reading blocks, stdin for ever: not on the runtime's threads.
    tokio::task::spawn_blocking(move || {
        let sent = if path.as_os_str() == "-" {
            read_lines(std::io::stdin().lock(), &lines)
        } else {
            std::fs::File::open(&path).and_then(|file| read_lines(std::io::BufReader::new(file), &lines))
        };
        if let Err(error) = sent {
            let _ = lines.blocking_send(Err(error));
        }
    });
    let mut created = false;
    let mut sent: u64 = 0;
    loop {
        let chunk = tokio::select! {
            chunk = read.recv() => chunk,
            () = context.stop.stopped() => None,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        let chunk = chunk.map_err(|error| {
            PipelineError::Config(format!("{}: {error}", options.file.clone().unwrap_or_default().display()))
        })?;
        let peeked: Vec<_> = chunk.iter().map(|line| event::peek(line)).collect();
        if !created {
            let oldest = peeked.iter().filter_map(|(instant, _)| *instant).min();
            let old = oldest.is_some_and(|oldest| oldest < wall_micros() - OLD);
            topics::ensure_input(&context.client.admin(), &options.topics, options.partitions, old).await?;
            created = true;
        }
        let left = options.count.map_or(usize::MAX, |count| usize::try_from(count - sent).unwrap_or(usize::MAX));
        let now = wall_micros();
        for (line, (instant, user)) in chunk.iter().zip(&peeked).take(left) {
            let at = instant.filter(|at| (0..=now.saturating_add(TOO_FAR_AHEAD)).contains(at)).unwrap_or(now);
            if sending.is_of_others(user.is_some()) {
                sending.send().await;
            }
            let value = as_format(context, options, Some(line)).await?;
            sending.push(user.as_deref().map(str::as_bytes), value.as_deref(), at.div_euclid(timestamp::MILLI));
            sent += 1;
        }
        sending.send().await;
        if sending.has_failed() || options.count.is_some_and(|count| sent >= count) {
            return Ok(());
        }
    }
}

fn read_lines(
    mut input: impl BufRead,
    chunks: &tokio::sync::mpsc::Sender<std::io::Result<Vec<Vec<u8>>>>,
) -> std::io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let mut line = Vec::new();
        let ended = input.read_until(b'\n', &mut line)? == 0;
        if !ended {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            // An empty line is no record: a file's last newline would make one.
            if !line.is_empty() {
                chunk.push(line);
            }
        }
        // A slow writer's lines (tail -f | …) must not wait for a chunk to fill; a channel with room means that the other
        // side is waiting.
        let full = chunk.len() >= CHUNK || ended || chunks.capacity() == chunks.max_capacity();
        if full && !chunk.is_empty() && chunks.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}
