//! [`Producer`]: writes records to topics.
//!
//! ```text
//! send --(your task: hash, copy into the partition's open batch)--> RecordAccumulator
//!                                                                     | full, or lingered
//! Delivery <--outcome of the batch-- Sender, one task per producer <--+
//!                                      |  ^ one request per node: a batch of each partition
//!                                      v  |
//!                                    connections
//! ```
//! Two waits, two `await`s: `send` waits for room in `buffer.memory`, a [`Delivery`] for the acknowledgement.

mod config;
mod coordinator;
mod deliveries;
mod delivery;
mod driver;
mod metrics;
mod record;
mod transaction;

pub use crate::machine::partitioner::{Partitioner, Partitioning, RecordToPlace};
pub use crate::machine::sender::Purge;
pub use config::{Acks, ProducerConfig};
pub use deliveries::Deliveries;
pub use delivery::{Delivery, RecordMetadata};
pub use metrics::ProducerMetrics;
pub use record::ProducerRecord;
pub use transaction::{Transaction, TransactionalProducer};

use crate::client::Client;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::machine::accumulator::{NewRecord, Order, RecordAccumulator, Target, Tickets, ToAppend, TopicQueues};
use crate::machine::batch::{Callback, Ticket};
use crate::machine::metadata::{Interest, TopicMetadata};
use crate::machine::partitioner::Sticky;
use crate::machine::sender::{Sender, SenderCounts};
use driver::{Command, Driver};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

impl Client {
    /// A producer on this client's connections. It runs one task.
    ///
    /// # Errors
    /// `Config` for settings that contradict each other.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        if config.transactional_id().is_some() {
            let message = "transactional.id is set: such a producer is made by Client::transactional_producer";
            return Err(Error::with_message(ErrorKind::Config, message));
        }
        self.start_producer(&config, None)
    }

    fn start_producer(&self, config: &ProducerConfig, transactional_id: Option<Arc<str>>) -> Result<Producer> {
        let request_timeout = self.config().request_timeout;
        let backoff = (self.config().retry_backoff, self.config().retry_backoff_max);
        let (settings, clock) = (config.accumulator(request_timeout)?, Arc::new(self.clock()));
        let accumulator = RecordAccumulator::with_offload(settings, clock, self.offload());
        let sender = Sender::new(config.sender(backoff, transactional_id, self.seed())?, accumulator.clone());
        let counts = sender.counts().clone();
        let (commands, inbox) = mpsc::unbounded_channel();
        let failure = Arc::new(OnceLock::new());
        let codec = config.compression_type();
        let driver = Driver::new(self.clone(), sender, (request_timeout, codec), inbox, failure.clone());
        let (running, ended) = watch::channel(());
        self.spawn({
            let accumulator = accumulator.clone();
            async move {
                driver.run(accumulator).await;
                drop(running);
            }
        });
        let max_block = config.max_block_time();
        let interest = Interest::default();
        let shared =
            Shared { client: self.clone(), accumulator, commands, max_block, ended, interest, failure, counts };
        Ok(Producer::new(Arc::new(shared)))
    }
}

/// The records that `send_many` sorts by partition at a time: so few that they stay in the nearest cache.
const CHUNK: usize = 256;

/// A handle to one producer. Cheap to clone: clones share batches, memory and order, and each has a sticky partition of
/// its own for records without a key, so give each task its clone.
///
/// Dropping the last handle does not wait: records that are not under way yet fail as `NotSent`, with one warning that
/// counts them, and the task ends within a second. [`close`](Self::close) waits for them instead.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    topics: Mutex<KnownTopics>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    accumulator: Arc<RecordAccumulator>,
    commands: mpsc::UnboundedSender<Command>,
    max_block: Duration,
    ended: watch::Receiver<()>,
    /// In the topics that were written to.
    interest: Interest,
    /// Why nothing will be sent any more, if it is not that the application closed the producer.
    failure: Arc<OnceLock<Error>>,
    counts: Arc<SenderCounts>,
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The topics that one handle has written to. Nearly always it is the one of the last record.
#[derive(Debug, Default)]
struct KnownTopics {
    last: Option<Arc<KnownTopic>>,
    all: HashMap<Arc<str>, Arc<KnownTopic>>,
}

#[derive(Debug)]
struct KnownTopic {
    queues: Arc<TopicQueues>,
    sticky: Sticky,
}

impl Producer {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, topics: Mutex::default() }
    }

    /// Appends a record to its partition's batch, once there is room in `buffer.memory`: first come, first served.
    ///
    /// Dropping the future before it is ready means that the record was not taken. After that it is sent, whatever happens
    /// to the [`Delivery`].
    ///
    /// # Errors
    /// `RecordTooLarge`; `BufferFull` or the reason why there is no metadata, after `max.block.ms`; `InvalidArgument` for a
    /// partition that the topic hasn't got; `Closed`. In all of them the record is `NotSent`.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        let appended = self.look_up(record.topic);
        let appended = appended.and_then(|topic| self.shared.append_now(&topic.queues, &topic.sticky, &record));
        match appended {
            Some(appended) => appended.map(Delivery::new),
            None => self.send_later(record).await,
        }
    }

    /// Boxed, so that the future of a `send` that doesn't wait is small and quickly made.
    #[cold]
    fn send_later<'a>(&'a self, record: ProducerRecord<'a>) -> Boxed<'a, Result<Delivery>> {
        Box::pin(async move {
            let (topic, began) = self.known(record.topic).await?;
            self.shared.append(&topic.queues, &topic.sticky, &record, began, &mut None).await.map(Delivery::new)
        })
    }

    /// As [`send`](Self::send), and `callback` is called once with the outcome, on the producer's task: it must not block.
    /// On an error here it is not called.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static,
    ) -> Result<()> {
        let (topic, began) = self.known(record.topic).await?;
        let mut callback = Some(delivery::callback(callback));
        self.shared.append(&topic.queues, &topic.sticky, &record, began, &mut callback).await.map(drop)
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// `BufferFull` if `send` would have to wait: for memory, or for the topic's metadata, which then is asked for.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        let Some(topic) = self.look_up(record.topic) else {
            self.shared.client.want_topics_for(&self.shared.interest, [record.topic.into()], true);
            let error = Error::with_message(ErrorKind::BufferFull, "the topic's metadata is not there yet");
            return Err(error.topic(record.topic).certainty(Certainty::NotSent));
        };
        self.shared.try_append(&topic.queues, &topic.sticky, &record)
    }

    /// As [`send`](Self::send) for many records of `topic`, at less than half the price: a lock per batch instead of one
    /// per record. Records that have their partition by their key or by name keep their order there, and so do those that
    /// have none, but not among each other. It waits for room as `send` does, each time for `max.block.ms` at most.
    ///
    /// Every record has its outcome in the answer. One that can't be sent (too large, no such partition, another topic's)
    /// is refused and the others go on; when there is no room in time, or the producer is closed, it and all that are not
    /// taken by then are refused: of a partition's records those, and only those, from some record on.
    ///
    /// Dropping the future in the middle leaves the records of each partition taken up to some record and the rest of them
    /// not, and does not say which; what was taken is sent. Records are taken from the iterator 256 at a time; nothing of
    /// them is taken before all of the 256 before them are.
    #[allow(
        clippy::manual_async_fn,
        reason = "of an async fn a spawned task isn't known to be Send where a closure makes the records"
    )]
    pub fn send_many<'a, I>(&self, topic: &str, records: I) -> impl Future<Output = Deliveries> + Send
    where
        I: IntoIterator<Item = ProducerRecord<'a>, IntoIter: Send> + Send,
    {
        async move {
            match self.known(topic).await {
                Ok((topic, _)) => self.shared.append_many(&topic.queues, &topic.sticky, records).await,
                Err(error) => refuse_all(topic.into(), records.into_iter().count(), &error),
            }
        }
    }

    /// A handle that writes to one topic and saves the look-up, with a sticky partition of its own.
    pub fn topic(&self, name: impl Into<Arc<str>>) -> TopicProducer {
        TopicProducer::new(self.shared.clone(), name.into())
    }

    /// Sends what was appended until now without lingering, and waits until all of it has an outcome, failures included.
    /// Gives how many records have none yet when `timeout` is up.
    ///
    /// Dropping the future stops nothing.
    ///
    /// # Errors
    /// None at the moment: a failure of a record is its delivery's.
    pub async fn flush(&self, timeout: Duration) -> Result<usize> {
        Ok(self.shared.flush(timeout).await)
    }

    /// Drops records that were taken: they fail, of kind `Purged`, as `NotSent` if they certainly were not written, else as
    /// `PossiblySent`. Gives how many they were. What is under way can't be called back: it may be written, and holds its
    /// part of `buffer.memory` until its answer. The producer takes new records as before; with idempotence they are
    /// written in a new epoch if a number was dropped (KIP-360), behind what is under way to their partition.
    ///
    /// Records that are sent before it is done may be among them. Dropping the future after its first poll loses the count
    /// only: it is still done.
    pub async fn purge(&self, what: Purge) -> usize {
        self.shared.purge(what).await
    }

    /// Takes no more records, waits until those taken have an outcome, and ends the task. Other handles of this producer are
    /// closed with it. Whatever is left at the timeout fails, with one warning that counts it.
    ///
    /// Dropping the future leaves the producer open or closed to new records, and what was taken is sent.
    ///
    /// # Errors
    /// `Timeout` if records were left.
    pub async fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.accumulator.close();
        let left = self.shared.flush(timeout).await;
        self.shared.accumulator.abandon();
        let _ = self.shared.ended.clone().changed().await; // ends when its task does
        match left {
            0 => Ok(()),
            left => {
                Err(Error::with_message(ErrorKind::Timeout, format!("{left} records were not acknowledged in time")))
            }
        }
    }

    /// Bytes of `buffer.memory` that nothing holds at the moment.
    pub fn free_memory(&self) -> usize {
        self.shared.accumulator.free_memory()
    }

    /// The topic's partitions, waited for if need be, and since when.
    async fn known(&self, name: &str) -> Result<(Arc<KnownTopic>, Option<Instant>)> {
        if let Some(topic) = self.look_up(name) {
            return Ok((topic, None));
        }
        let (queues, began) = self.shared.resolve(name).await?;
        Ok((self.remember(queues), Some(began)))
    }

    fn look_up(&self, name: &str) -> Option<Arc<KnownTopic>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &topics.last
            && **last.queues.name() == *name
        {
            return Some(last.clone());
        }
        let known = topics.all.get(name).cloned();
        if let Some(known) = known {
            topics.last = Some(known.clone());
            return Some(known);
        }
        drop(topics);
        // Another handle may know it, or the client.
        let queues = self.shared.accumulator.topic(name).or_else(|| {
            let topic = self.shared.client.cluster().topics.get(name)?.clone();
            self.shared.client.want_topics_for(&self.shared.interest, [topic.name.clone()], true);
            Some(self.shared.add_topic(&topic))
        })?;
        Some(self.remember(queues))
    }

    fn remember(&self, queues: Arc<TopicQueues>) -> Arc<KnownTopic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let sticky = || Arc::new(KnownTopic { queues: queues.clone(), sticky: Sticky::new(self.shared.client.seed()) });
        let topic = topics.all.entry(queues.name().clone()).or_insert_with(sticky).clone();
        topics.last = Some(topic.clone());
        topic
    }
}

impl Clone for Producer {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

/// A handle that writes to one topic: [`Producer::topic`]. Cheap to clone; each clone has a sticky partition of its own for
/// records without a key.
#[derive(Debug)]
pub struct TopicProducer {
    shared: Arc<Shared>,
    name: Arc<str>,
    queues: OnceLock<Arc<TopicQueues>>,
    sticky: Sticky,
}

impl TopicProducer {
    fn new(shared: Arc<Shared>, name: Arc<str>) -> Self {
        let sticky = Sticky::new(shared.client.seed());
        let queues = shared.accumulator.topic(&name).map(OnceLock::from).unwrap_or_default();
        Self { shared, name, queues, sticky }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An empty record for this topic.
    pub fn record(&self) -> ProducerRecord<'_> {
        ProducerRecord::new(&self.name)
    }

    /// As [`Producer::send`].
    ///
    /// # Errors
    /// Those of [`Producer::send`], and `InvalidArgument` for a record of another topic.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        check(&self.name, &record)?;
        let appended = self.queues.get().and_then(|queues| self.shared.append_now(queues, &self.sticky, &record));
        match appended {
            Some(appended) => appended.map(Delivery::new),
            None => self.send_later(record).await,
        }
    }

    #[cold]
    fn send_later<'a>(&'a self, record: ProducerRecord<'a>) -> Boxed<'a, Result<Delivery>> {
        Box::pin(async move {
            let (queues, began) = match self.queues.get() {
                Some(queues) => (queues, None),
                None => self.resolve().await?,
            };
            self.shared.append(queues, &self.sticky, &record, began, &mut None).await.map(Delivery::new)
        })
    }

    /// As [`Producer::try_send`].
    ///
    /// # Errors
    /// Those of [`Producer::try_send`], and `InvalidArgument` for a record of another topic.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        check(&self.name, &record)?;
        let Some(queues) = self.queues.get() else {
            return Producer::new(self.shared.clone()).try_send(record).inspect(|_| {
                let _ = self.shared.accumulator.topic(&self.name).map(|queues| self.queues.set(queues));
            });
        };
        self.shared.try_append(queues, &self.sticky, &record)
    }

    /// As [`Producer::send_many`], for this topic.
    #[allow(clippy::manual_async_fn, reason = "as there")]
    pub fn send_many<'a, I>(&self, records: I) -> impl Future<Output = Deliveries> + Send
    where
        I: IntoIterator<Item = ProducerRecord<'a>, IntoIter: Send> + Send,
    {
        async move {
            let queues = match self.queues.get() {
                Some(queues) => Ok(queues),
                None => self.resolve().await.map(|(queues, _)| queues),
            };
            match queues {
                Ok(queues) => self.shared.append_many(queues, &self.sticky, records).await,
                Err(error) => refuse_all(self.name.clone(), records.into_iter().count(), &error),
            }
        }
    }

    async fn resolve(&self) -> Result<(&Arc<TopicQueues>, Option<Instant>)> {
        let (queues, began) = self.shared.resolve(&self.name).await?;
        Ok((self.queues.get_or_init(|| queues), Some(began)))
    }
}

impl Clone for TopicProducer {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone(), self.name.clone())
    }
}

impl Shared {
    /// The topic's partitions, once they are known, and when the wait began. The first record of a topic asks for its
    /// metadata at once.
    async fn resolve(&self, name: &str) -> Result<(Arc<TopicQueues>, Instant)> {
        let began = self.client.now();
        if let Some(queues) = self.accumulator.topic(name) {
            return Ok((queues, began));
        }
        let topic = self.client.topic(name, true, began + self.max_block).await;
        let (topic, _waiting) = topic.map_err(|error| error.certainty(Certainty::NotSent))?;
        self.client.want_topics_for(&self.interest, [topic.name.clone()], true);
        Ok((self.add_topic(&topic), began))
    }

    /// The sender tells a topic's leaders when they change; who adds the topic, what they are by then.
    fn add_topic(&self, topic: &TopicMetadata) -> Arc<TopicQueues> {
        let queues = self.accumulator.add_topic(&topic.name, topic.id, topic.partitions.len());
        loop {
            let cluster = self.client.cluster();
            if let Some(topic) = cluster.topics.get(&topic.name) {
                self.accumulator.add_topic(&topic.name, topic.id, topic.partitions.len());
                self.accumulator.set_leaders(&queues, topic.partitions.iter().map(|partition| partition.leader));
            }
            if self.client.cluster().generation == cluster.generation {
                return queues; // else the sender may have been first with what is newer
            }
        }
    }

    /// Appends without waiting; `None` if it has to.
    #[inline]
    fn append_now(
        &self,
        queues: &Arc<TopicQueues>,
        sticky: &Sticky,
        record: &ProducerRecord<'_>,
    ) -> Option<Result<Ticket>> {
        if self.accumulator.is_yield_due() {
            return None;
        }
        let new = new_record(record, None);
        match self.accumulator.try_append(queues, target(record, sticky), &new, None, &mut None) {
            Ok(Some(ticket)) => Some(Ok(ticket)),
            Err(error) if error.kind() != ErrorKind::InvalidArgument => Some(Err(self.why(error))),
            Ok(None) | Err(_) => None,
        }
    }

    async fn append(
        &self,
        queues: &Arc<TopicQueues>,
        sticky: &Sticky,
        record: &ProducerRecord<'_>,
        began: Option<Instant>,
        callback: &mut Option<Callback>,
    ) -> Result<Ticket> {
        if self.accumulator.take_turn() {
            // Before the append and not after it: dropped here, the record is in no batch.
            tokio::task::yield_now().await;
        }
        let new = new_record(record, began);
        match self.accumulator.try_append(queues, target(record, sticky), &new, None, callback) {
            Ok(Some(ticket)) => Ok(ticket),
            Ok(None) => self.append_when_there_is_room(queues, sticky, record, began, callback).await,
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                self.append_to_new_partition(queues, sticky, record, began, callback, error).await
            }
            Err(error) => Err(self.why(error)),
        }
    }

    async fn append_many<'a>(
        &self,
        queues: &Arc<TopicQueues>,
        sticky: &Sticky,
        records: impl IntoIterator<Item = ProducerRecord<'a>>,
    ) -> Deliveries {
        let mut records = records.into_iter();
        let (mut chunk, mut order, mut tickets) = (Vec::new(), Order::default(), Tickets::default());
        chunk.reserve(records.size_hint().0.min(CHUNK));
        loop {
            chunk.clear();
            chunk.extend(records.by_ref().take(CHUNK));
            if chunk.is_empty() {
                return Deliveries::new(tickets);
            }
            if self.accumulator.take_turn() {
                tokio::task::yield_now().await;
            }
            order.begin(chunk.len());
            while let Some(place) = self.accumulator.append_many(queues, sticky, &chunk, &mut order, &mut tickets) {
                // What can't be appended with the others goes the way of `send`, which waits and says why not.
                let record = &chunk[place];
                let appended = match check(queues.name(), record) {
                    Ok(()) => self.append(queues, sticky, record, None, &mut None).await,
                    Err(error) => Err(error),
                };
                match appended {
                    Ok(ticket) => tickets.add(place, ticket),
                    Err(error) if matches!(error.kind(), ErrorKind::BufferFull | ErrorKind::Closed) => {
                        let refused = refused(queues.name().clone(), &error);
                        order.rest().for_each(|place| tickets.refuse(place, refused.clone()));
                        tickets.end_chunk();
                        records.by_ref().enumerate().for_each(|(place, _)| tickets.refuse(place, refused.clone()));
                        return Deliveries::new(tickets);
                    }
                    Err(error) => tickets.refuse(place, refused(queues.name().clone(), &error)),
                }
                order.skip();
            }
        }
    }

    /// Boxed, so that the future of a `send` that doesn't wait is small.
    #[cold]
    fn append_when_there_is_room<'a>(
        &'a self,
        queues: &'a Arc<TopicQueues>,
        sticky: &'a Sticky,
        record: &'a ProducerRecord<'_>,
        began: Option<Instant>,
        callback: &'a mut Option<Callback>,
    ) -> Boxed<'a, Result<Ticket>> {
        Box::pin(async move {
            let began = began.unwrap_or_else(|| self.client.now());
            let new = new_record(record, Some(began));
            let need = self.accumulator.needs(&new)?;
            let deadline = began + self.max_block;
            let paid = match timeout_at(deadline.into(), self.accumulator.reserve(need)).await {
                Ok(paid) => paid.map_err(|error| self.why(error))?,
                Err(_) => return Err(full("buffer.memory is full, and was for max.block.ms")),
            };
            // From here to the return nothing awaits.
            let ticket = self.accumulator.try_append(queues, target(record, sticky), &new, Some(paid), callback)?;
            ticket.ok_or_else(|| full("buffer.memory is full"))
        })
    }

    /// A partition that we have not heard of may be a new one: looks once.
    #[cold]
    fn append_to_new_partition<'a>(
        &'a self,
        queues: &'a Arc<TopicQueues>,
        sticky: &'a Sticky,
        record: &'a ProducerRecord<'_>,
        began: Option<Instant>,
        callback: &'a mut Option<Callback>,
        error: Error,
    ) -> Boxed<'a, Result<Ticket>> {
        Box::pin(async move {
            let began = began.unwrap_or_else(|| self.client.now());
            let generation = self.client.cluster().generation;
            let cluster = self.client.refreshed(generation, began + self.max_block).await?;
            let has_it = |topic: &&Arc<TopicMetadata>| {
                let count = topic.partitions.len() as i64;
                record.partition.is_some_and(|partition| (0..count).contains(&i64::from(partition)))
            };
            let Some(topic) = cluster.topics.get(queues.name()).filter(has_it) else { return Err(error) };
            self.add_topic(topic);
            self.append_when_there_is_room(queues, sticky, record, Some(began), callback).await
        })
    }

    fn try_append(&self, queues: &Arc<TopicQueues>, sticky: &Sticky, record: &ProducerRecord<'_>) -> Result<Delivery> {
        let new = new_record(record, None);
        match self.accumulator.try_append(queues, target(record, sticky), &new, None, &mut None) {
            Ok(Some(ticket)) => Ok(Delivery::new(ticket)),
            Ok(None) => Err(full("buffer.memory is full")),
            Err(error) => Err(self.why(error)),
        }
    }

    /// Why the producer is closed, if it is because it failed.
    #[cold]
    fn why(&self, error: Error) -> Error {
        match self.failure.get() {
            Some(failure) if error.is_closed() => failure.clone().certainty(Certainty::NotSent),
            _ => error,
        }
    }

    async fn purge(&self, what: Purge) -> usize {
        let (reply, purged) = oneshot::channel();
        match self.commands.send(Command::Purge { what, reply }) {
            Ok(()) => purged.await.unwrap_or(0), // a task that has ended has left nothing to drop
            Err(_) => 0,
        }
    }

    /// How many records are left.
    async fn flush(&self, timeout: Duration) -> usize {
        let until = self.accumulator.flush();
        let deadline = self.client.deadline(timeout);
        let mut ended = self.ended.clone();
        let flushed = async {
            tokio::select! {
                () = self.accumulator.flushed(until) => {}
                _ = ended.changed() => {} // nobody is there any more to send anything
            }
        };
        let _ = timeout_at(deadline.into(), flushed).await;
        self.accumulator.unfinished_records(until)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.accumulator.abandon();
    }
}

#[inline]
fn new_record<'a>(record: &'a ProducerRecord<'_>, began: Option<Instant>) -> NewRecord<'a> {
    NewRecord {
        key: record.key,
        value: record.value,
        headers: &record.headers,
        timestamp: record.timestamp,
        sent_at: began,
    }
}

#[inline]
fn target<'a>(record: &ProducerRecord<'_>, sticky: &'a Sticky) -> Target<'a> {
    match record.partition {
        Some(partition) => Target::Partition(u32::try_from(partition).unwrap_or(u32::MAX)),
        None => Target::Partitioner(sticky),
    }
}

impl ToAppend for ProducerRecord<'_> {
    #[inline]
    fn is_for(&self, topic: &str) -> bool {
        std::ptr::eq(self.topic, topic) || *self.topic == *topic
    }

    #[inline]
    fn partition(&self) -> Option<u32> {
        self.partition.map(|partition| u32::try_from(partition).unwrap_or(u32::MAX))
    }

    #[inline]
    fn record(&self) -> NewRecord<'_> {
        new_record(self, None)
    }
}

fn check(topic: &str, record: &ProducerRecord<'_>) -> Result<()> {
    if record.is_for(topic) {
        return Ok(());
    }
    let message = format!("a record of topic {} for the handle of {topic}", record.topic);
    Err(Error::with_message(ErrorKind::InvalidArgument, message).certainty(Certainty::NotSent))
}

fn refused(topic: Arc<str>, error: &Error) -> Ticket {
    Ticket::refused(topic, -1, error.clone().certainty(Certainty::NotSent))
}

fn refuse_all(topic: Arc<str>, records: usize, error: &Error) -> Deliveries {
    let (mut tickets, refused) = (Tickets::default(), refused(topic, error));
    (0..records).for_each(|place| tickets.refuse(place, refused.clone()));
    Deliveries::new(tickets)
}

#[cold]
fn full(message: &'static str) -> Error {
    Error::with_message(ErrorKind::BufferFull, message).certainty(Certainty::NotSent)
}
