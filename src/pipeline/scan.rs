//! Reading topics from somewhere to their end as of now, outside of any group, with the way that is left told.

use crate::{
    consumer::{Consumer, ConsumerRecord, Event, Records},
    ids::TopicPartition,
    pipeline::{
        context::Context,
        error::{PipelineError, Result},
        event::{EventFormat, EventReader},
        topics,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long a look for records may take.
const LOOK: Duration = Duration::from_millis(200);

/// Position and end by partition.
pub type Goals = BTreeMap<i32, (i64, i64)>;

/// How far a scan is, for those who watch.
#[derive(Debug, Default)]
pub struct Progress(Mutex<(String, Goals)>);

impl Progress {
    /// Which topic is being read, and how far.
    pub fn now(&self) -> (String, Goals) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, topic: &str, scan: &Scan) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 != topic {
            *now = (topic.to_owned(), Goals::new());
        }
        for (name, end) in &scan.ends {
            let position = scan.consumer.position(name).map_or(*end, |position| position.min(*end));
            now.1.insert(name.partition, (position, *end));
        }
    }
}

/// One topic, up to the last stable offsets as of [`open`](Self::open).
#[derive(Debug)]
pub struct Scan {
    topic: String,
    consumer: Consumer,
    ends: BTreeMap<TopicPartition, i64>,
    /// Those whose end isn't reached.
    left: HashMap<TopicPartition, i64>,
}

impl Scan {
    /// Begins where `from` says for (partition, log start), at the log's start at the earliest. `None` if there is no such
    /// topic.
    ///
    /// # Errors
    /// The brokers'.
    pub async fn open(context: &Context, topic: &str, from: impl Fn(i32, i64) -> i64) -> Result<Option<Self>> {
        let Some(found) = topics::describe(&context.client.admin(), topic).await? else { return Ok(None) };
        let names: Vec<_> = found.partitions.iter().map(|p| TopicPartition::new(topic, p.partition)).collect();
        let mut consumer = context.reader()?;
        let begins = consumer.beginning_offsets(&names).await?;
        let ends: BTreeMap<_, _> = consumer.end_offsets(&names).await?.into_iter().collect();
        let start = |name: &TopicPartition| {
            let begin = begins.get(name).copied().unwrap_or(0);
            from(name.partition, begin).max(begin)
        };
        let left: HashMap<_, _> =
            ends.iter().filter(|(name, end)| start(name) < **end).map(|(name, end)| (name.clone(), *end)).collect();
        consumer.assign(left.keys().cloned().collect::<Vec<_>>()).await?;
        for name in left.keys() {
            consumer.seek(name, start(name))?;
        }
        Ok(Some(Self { topic: topic.to_owned(), consumer, ends, left }))
    }

    /// Ends earlier than the log does, at this offset of the partition.
    pub fn until(&mut self, until: impl Fn(i32) -> i64) {
        for (name, end) in &mut self.ends {
            *end = until(name.partition).min(*end);
        }
        let Self { left, ends, consumer, .. } = self;
        left.retain(|name, end| {
            *end = ends[name];
            consumer.position(name).is_some_and(|position| position < *end)
        });
    }

    /// The next records, those behind the end included: [`is_wanted`](Self::is_wanted) says. `None` at the end, or once
    /// it was asked to stop: [`is_through`](Self::is_through) says. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The brokers'.
    pub async fn next(&mut self, context: &Context, progress: &Progress) -> Result<Option<Records>> {
        loop {
            // By position, not by record: the log may end with markers.
            let consumer = &self.consumer;
            self.left.retain(|name, end| consumer.position(name).is_none_or(|position| position < *end));
            progress.set(&self.topic, self);
            if self.left.is_empty() || context.stop.is_stopped() {
                return Ok(None);
            }
            if let Some(Event::Records(records)) = self.consumer.next(LOOK).await? {
                return Ok(Some(records));
            }
        }
    }

    /// Whether the record stands before the end.
    pub fn is_wanted(&self, record: &ConsumerRecord<'_>) -> bool {
        self.ends.get(record.topic_partition()).is_some_and(|end| record.offset() < *end)
    }

    /// Whether everything up to the end was handed out.
    pub fn is_through(&self) -> bool {
        self.left.is_empty()
    }

    /// Where the partition is, at its end at most.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let name = TopicPartition::new(self.topic.as_str(), partition);
        let end = self.ends.get(&name).copied()?;
        Some(self.consumer.position(&name).map_or(end, |position| position.min(end)))
    }

    /// Ends the consumer.
    ///
    /// # Errors
    /// The consumer's.
    pub async fn close(self) -> Result<()> {
        Ok(self.consumer.close(Context::FAREWELL).await?)
    }
}

/// Hands every record of a topic to `each`, from its beginning to its end as of now. False if the topic isn't there.
///
/// # Errors
/// The brokers', or a sentence if it was asked to stop before the end.
pub async fn all(
    context: &Context,
    topic: &str,
    progress: &Progress,
    mut each: impl FnMut(&ConsumerRecord<'_>),
) -> Result<bool> {
    through(context, topic, progress, &EventFormat::json(), |record, _| each(record)).await
}

/// The same, with what reads the event in a record.
///
/// # Errors
/// As [`all`], and the registry's.
pub async fn events(
    context: &Context,
    topic: &str,
    progress: &Progress,
    each: impl FnMut(&ConsumerRecord<'_>, &EventReader),
) -> Result<bool> {
    through(context, topic, progress, &context.events, each).await
}

async fn through(
    context: &Context,
    topic: &str,
    progress: &Progress,
    format: &EventFormat,
    mut each: impl FnMut(&ConsumerRecord<'_>, &EventReader),
) -> Result<bool> {
    let Some(mut scan) = Scan::open(context, topic, |_, begin| begin).await? else { return Ok(false) };
    while let Some(records) = scan.next(context, progress).await? {
        let reader = tokio::select! {
            reader = format.reader(&records) => reader?,
            () = context.stop.stopped() => return Err(stopped()),
        };
        for record in &records {
            if scan.is_wanted(&record) {
                each(&record, &reader);
            }
        }
    }
    let is_through = scan.is_through();
    scan.close().await?;
    if is_through { Ok(true) } else { Err(stopped()) }
}

/// Half a look proves nothing.
pub(super) fn stopped() -> PipelineError {
    PipelineError::Mismatch("stopped before the end: nothing is proven".to_owned())
}
