//! The clickstream producer: a deterministic generator of events, and the shell that writes them to `T`.
#![allow(clippy::disallowed_methods, reason = "a shell paces itself by the clock")]

pub mod generator;

use crate::{
    error::{Error, Result as KafkaResult},
    pipeline::{
        config::Topics,
        context::{Context, wall_micros},
        error::{PipelineError, Result},
        event,
        receipt::Receipt,
        timestamp, topics,
    },
    producer::{Producer, ProducerRecord, RecordMetadata},
};
use generator::{Generator, Knobs};
use std::{
    io::BufRead,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Records between two looks at the clock.
const STRIDE: u64 = 64;
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
    /// Lines to send as they are, instead of generated events; `-` is stdin.
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

/// What became of the records, counted on the producer's task.
#[derive(Debug, Clone, Default)]
struct Outcomes {
    written: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    first: Arc<Mutex<Option<Error>>>,
}

impl Outcomes {
    fn callback(&self) -> impl FnOnce(KafkaResult<RecordMetadata>) + Send + 'static {
        let outcomes = self.clone();
        move |outcome| match outcome {
            Ok(_) => {
                outcomes.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                outcomes.failed.fetch_add(1, Ordering::Relaxed);
                outcomes.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }

    fn failure(&self) -> Option<Error> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes events until count, time, the file's end, or the wish to stop; what was taken is flushed. `produced` in the
/// receipt counts what the brokers acknowledged.
///
/// # Errors
/// A record that was not written: the first one's error.
pub async fn run(context: &Context, options: Options) -> Result<Receipt> {
    let producer = context.producer()?;
    let outcomes = Outcomes::default();
    let done = match &options.file {
        Some(path) => file(context, &options, &producer, &outcomes, path.clone()).await,
        None => generate(context, &options, &producer, &outcomes).await,
    };
    let closed = producer.close(Context::FAREWELL).await;
    done?;
    if let Some(error) = outcomes.failure() {
        tracing::error!(failed = outcomes.failed.load(Ordering::Relaxed), "records were not written");
        return Err(error.into());
    }
    closed?;
    let mut receipt = Receipt::new("clickstream");
    receipt.produced = Some(outcomes.written.load(Ordering::Relaxed));
    Ok(receipt.close())
}

async fn generate(context: &Context, options: &Options, producer: &Producer, outcomes: &Outcomes) -> Result<()> {
    let admin = context.client.admin();
    let old = options.knobs.start < wall_micros() - OLD;
    topics::ensure_input(&admin, &options.topics, options.partitions, old).await?;
    let topic = options.topics.input.as_str();
    let mut generator = Generator::new(options.knobs.clone());
    let began = Instant::now();
    let mut sent = 0;
    while options.count.is_none_or(|count| sent < count) {
        let due = {
            let next = generator.draw();
            let mut record = ProducerRecord::new(topic).key(next.key).timestamp(next.timestamp_ms);
            if let Some(value) = next.value {
                record = record.value(value);
            }
            let due = next.due;
            producer.send_with(record, outcomes.callback()).await?;
            due
        };
        sent += 1;
        if sent % STRIDE != 0 && !options.paced {
            continue;
        }
        if context.stop.is_stopped()
            || options.run_for.is_some_and(|limit| began.elapsed() >= limit)
            || outcomes.failed.load(Ordering::Relaxed) > 0
        {
            break;
        }
        if options.paced {
            pace(context, options, began, due).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Waits until the event's time has come; a millisecond's worth of events goes out together.
async fn pace(context: &Context, options: &Options, began: Instant, due: i64) {
    let ahead = u64::try_from(due - options.knobs.start).unwrap_or(0);
    let at = Duration::from_micros(ahead);
    let at = options.run_for.map_or(at, |limit| at.min(limit));
    let wait = at.saturating_sub(began.elapsed());
    if wait > Duration::from_millis(1) {
        tokio::select! {
            () = sleep(wait) => {}
            () = context.stop.stopped() => {}
        }
    }
}

/// Sends lines as they are: key = their `user_id`, timestamp = their `timestamp`, where they have them.
async fn file(
    context: &Context,
    options: &Options,
    producer: &Producer,
    outcomes: &Outcomes,
    path: PathBuf,
) -> Result<()> {
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
    let topic = options.topics.input.as_str();
    let mut created = false;
    let mut sent = 0;
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
        for (line, (instant, user)) in chunk.iter().zip(&peeked) {
            if options.count.is_some_and(|count| sent >= count) {
                return Ok(());
            }
            let now = wall_micros();
            let at = instant.filter(|at| (0..=now.saturating_add(TOO_FAR_AHEAD)).contains(at)).unwrap_or(now);
            let mut record = ProducerRecord::new(topic).value(line).timestamp(at.div_euclid(timestamp::MILLI));
            if let Some(user) = user {
                record = record.key(user);
            }
            producer.send_with(record, outcomes.callback()).await?;
            sent += 1;
        }
        if outcomes.failed.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
    }
}

fn read_lines(
    mut input: impl BufRead,
    chunks: &tokio::sync::mpsc::Sender<std::io::Result<Vec<Vec<u8>>>>,
) -> std::io::Result<()> {
    const CHUNK: usize = 256;
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
