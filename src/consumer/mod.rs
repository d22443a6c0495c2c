//! The consumer: reads partitions, ahead of the application and within a byte budget.
//!
//! ```text
//!  supervise (1 task): follows leaders, finds positions            application
//!      | starts                                                        | poll, next
//!      v                                                               v
//!  fetch_from (1 task per broker) --- answers ---> Fetcher (buffers) ---> Records
//!      ^                                             | room again
//!      +---------------- wakes ----------------------+
//! ```
//! The tasks and the application share one [`Fetcher`], a value that decides and never waits. Records are decoded on the
//! application's side, as they are read: see [`Records`].

mod config;
mod fetch;
mod group;
mod metrics;
mod offsets;
mod rebalance;
mod records;
mod stream;
mod validate;

pub use crate::ids::ConsumerGroupMetadata;
pub use crate::machine::group::assignor::{Assignment, Assignor, GroupMember, Joining, RebalanceProtocol};
pub use crate::machine::group::group_topics::{GroupTopics, Racks};
pub use crate::machine::group::topic_pattern::TopicPattern;
pub use crate::record::decode::ControlRecord;
pub use crate::wire::list_offsets::{OffsetAndTimestamp, OffsetSpec};
pub use config::{ConsumerConfig, GroupProtocol, IsolationLevel, OffsetReset};
pub use metrics::{ConsumerMetrics, PartitionMetrics};
pub use rebalance::Revoking;
pub use records::{ConsumerRecord, Iter, OwnedRecord, RecordBatch, Records, TimestampType};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{NodeId, OffsetAndMetadata, TopicPartition};
use crate::machine::Clock;
use crate::machine::fetcher::{Fetcher, FetcherConfig, Polled};
use crate::machine::metadata::Interest;
use crate::machine::subscription::{Position, Start};
use crate::net::clock::sleep_until;
use group::Group;
use metrics::Counts;
use records::Common;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// What [`Consumer::next`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// There are records.
    Records(Records),
    /// The end of a partition is reached (`enable.partition.eof`); told once, until there is more.
    PartitionEnd(PartitionEnd),
    /// These partitions are ours now.
    Assigned(Vec<TopicPartition>),
    /// These partitions are to go to another member: finish with them, and say so.
    Revoking(Revoking),
    /// These partitions are another member's already: what was not committed will be read again there.
    Lost(Vec<TopicPartition>),
}

/// The position of this partition has reached its end: the high watermark, or for read-committed the last stable offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEnd {
    /// Which.
    pub topic_partition: TopicPartition,
    /// Where that is.
    pub offset: i64,
}

impl Client {
    /// A consumer. It reads nothing before [`Consumer::assign`] or [`Consumer::subscribe`].
    ///
    /// # Errors
    /// `Config` for settings that can't be or that contradict each other.
    pub fn consumer(&self, config: ConsumerConfig) -> Result<Consumer> {
        config.check()?;
        let auto_create = Arc::new(AtomicBool::new(config.allow_auto_create_topics));
        let counts = Arc::<Counts>::default();
        let group = Group::new(self, &config, auto_create.clone(), counts.clone())?;
        let shared = Arc::new(Shared::new(self.clone(), config, auto_create, counts));
        let supervisor = self.spawn(fetch::supervise(shared.clone()));
        Ok(Consumer { shared, group, supervisor: Some(supervisor), last_poll: None })
    }
}

/// Reads partitions. Not cheap to clone, and not to be shared: what is handed out, and in which order, is one
/// application's. Dropping it ends its tasks and closes its connections; it never blocks. It leaves its group then, if that
/// takes no more than a second, without a commit: [`close`](Consumer::close) commits.
#[derive(Debug)]
pub struct Consumer {
    pub(crate) shared: Arc<Shared>,
    group: Option<Group>,
    supervisor: Option<JoinHandle<()>>,
    last_poll: Option<Instant>,
}

impl Consumer {
    /// Reads these partitions from now on, and no others. Those that are assigned already keep their positions and what
    /// has been fetched of them; new ones start where the group has committed, or else (or without a `group.id`) where
    /// `auto.offset.reset` says, unless you [`seek`](Self::seek).
    ///
    /// Dropping the future before it is done may leave the old assignment.
    ///
    /// # Errors
    /// `Closed` if the client is, `State` while there is a subscription. Partitions that don't exist (yet) are no error:
    /// reading begins when they do.
    pub async fn assign(&mut self, partitions: impl IntoIterator<Item = impl Into<TopicPartition>>) -> Result<()> {
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().map(Into::into).collect();
        let assigned: BTreeSet<_> = self.assignment().into_iter().collect();
        let removed: Vec<_> = assigned.difference(&wanted).cloned().collect();
        let added: Vec<_> = wanted.difference(&assigned).cloned().collect();
        self.shared.check_open()?;
        self.shared.auto_create.store(self.shared.config.allow_auto_create_topics, Ordering::Relaxed);
        let Some(group) = &mut self.group else {
            self.shared.set_assignment(removed, added.into_iter().map(|name| (name, Start::Reset)).collect());
            return Ok(());
        };
        group.assign(!wanted.is_empty(), &removed)?;
        self.shared.set_assignment(removed, vec![]);
        group.start(added, None, &self.shared);
        Ok(())
    }

    /// Waits for records, `timeout` at most; empty if there were none. Sugar over [`next`](Self::next), for those who
    /// don't care for other events: calling it again says that what it returned before is processed. So a pending
    /// revocation is acknowledged, after the auto-commit of what the previous poll returned; ends of partitions and
    /// changes of the assignment are passed over.
    ///
    /// Each call hands out what has arrived, whole batches until they hold `max.poll.records` records, and moves the
    /// positions behind it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What an application should know: `NoOffset` or `LogTruncation` where `auto.offset.reset=none` leaves no position,
    /// `Denied`, a record that can't be read ([`Records`]), `Closed`. All but the last concern one partition ([`Error::topic_partition`])
    /// and pass if their cause does: go on polling, others are read meanwhile. What lasts is told once a second.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Records> {
        let deadline = self.shared.client.deadline(timeout);
        loop {
            let left = deadline.saturating_duration_since(self.shared.client.now());
            match self.next(left).await? {
                Some(Event::Records(records)) => return Ok(records),
                Some(_) => {}
                None => return Ok(Records::new(Vec::new(), self.shared.common.clone())),
            }
        }
    }

    /// Waits for whatever is next, `timeout` at most; `None` if there was nothing. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let deadline = self.shared.client.deadline(timeout);
        tokio::task::coop::consume_budget().await; // a loop of polls that all find something must let others run
        if let Some(group) = &mut self.group {
            group.on_poll(self.shared.client.now(), &self.shared);
        }
        loop {
            self.last_poll = Some(self.shared.client.now());
            // The group first: no record of a partition is handed out that is lost, or not yet told of.
            if let Some(group) = &mut self.group
                && let Some(event) = group.take(&self.shared)?
            {
                return Ok(Some(event));
            }
            let most = self.shared.config.max_poll_records;
            let reminder = match self.shared.change(|fetcher, now| fetcher.poll(now, most)) {
                Polled::Records(fetched) => {
                    let records = Records::new(fetched, self.shared.common.clone());
                    self.shared.counts.on_records(records.len(), records.size_in_bytes());
                    return Ok(Some(Event::Records(records)));
                }
                Polled::PartitionEnd(topic_partition, offset) => {
                    return Ok(Some(Event::PartitionEnd(PartitionEnd { topic_partition, offset })));
                }
                Polled::Failed(error) => return Err(error),
                Polled::Nothing(reminder) => reminder,
            };
            self.shared.check_open()?;
            let now = self.shared.client.now();
            if now >= deadline {
                return Ok(None);
            }
            let until = reminder.map_or(deadline, |at| at.min(deadline));
            match &mut self.group {
                None => tokio::select! {
                    () = self.shared.data.notified() => {}
                    () = sleep_until(until) => {}
                },
                Some(group) => {
                    group.on_poll(now, &self.shared); // who waits in here is not silent
                    let until = until.min(group.next_poll(now));
                    tokio::select! {
                        () = self.shared.data.notified() => {}
                        () = group.ready() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Goes on at this offset. What was fetched from elsewhere, or is under way, is dropped: the next poll brings
    /// nothing of it. A seek waits behind a Fetch that is parked at the broker, `fetch.max.wait.ms` at most.
    ///
    /// # Errors
    /// `State` if the partition is not assigned, `InvalidArgument` for a negative offset.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.shared.change(|fetcher, _| fetcher.seek(partition, Position { offset, leader_epoch: None }))
    }

    /// Goes on at the oldest record, wherever that is by then. There is no position until a broker has said.
    ///
    /// # Errors
    /// `State` if a partition is not assigned.
    pub fn seek_to_beginning(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_to(partitions, OffsetReset::Earliest)
    }

    /// Goes on at the end, wherever that is by then. There is no position until a broker has said.
    ///
    /// # Errors
    /// `State` if a partition is not assigned.
    pub fn seek_to_end(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_to(partitions, OffsetReset::Latest)
    }

    fn seek_to(&self, partitions: &[TopicPartition], to: OffsetReset) -> Result<()> {
        let result = self.shared.change(|fetcher, _| partitions.iter().try_for_each(|name| fetcher.seek_to(name, to)));
        self.shared.supervise.notify_one();
        result
    }

    /// Nothing is handed out of these partitions until [`resume`](Self::resume). What has arrived of them is kept, in
    /// half of `prefetch.bytes` at most; what is beyond is fetched again then.
    ///
    /// # Errors
    /// `State` if a partition is not assigned.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<()> {
        self.shared.change(|fetcher, _| partitions.iter().try_for_each(|name| fetcher.pause(name)))
    }

    /// Goes on where [`pause`](Self::pause) was; nothing happens to partitions that aren't paused.
    ///
    /// # Errors
    /// `State` if a partition is not assigned.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<()> {
        let result = self.shared.change(|fetcher, _| partitions.iter().try_for_each(|name| fetcher.resume(name)));
        self.shared.data.notify_one();
        result
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.shared.change(|fetcher, _| {
            let subscription = fetcher.subscription();
            subscription.assignment().filter(|name| subscription.is_paused(name)).cloned().collect()
        })
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.change(|fetcher, _| fetcher.subscription().assignment().cloned().collect())
    }

    /// The next offset to be handed out; `None` while it is not known, or if the partition is not assigned.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.change(|fetcher, _| Some(fetcher.subscription().get(partition)?.position()?.offset))
    }

    /// The next offset to be handed out of each partition that has one, as a commit would store it.
    pub fn positions(&self) -> HashMap<TopicPartition, OffsetAndMetadata> {
        self.shared.change(|fetcher, _| fetcher.subscription().positions().collect())
    }

    /// How many records of a partition were not handed out, as of the last answer: up to the high watermark, or to the
    /// last stable offset for read-committed. `None` before the first answer.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.change(|fetcher, _| fetcher.lag(partition))
    }

    /// The end of what is replicated of a partition, as of the last answer. `None` before the first.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.change(|fetcher, _| fetcher.subscription().get(partition)?.high_watermark())
    }

    /// Since when the broker's answers say that the position is the log's end, and when the last of them came; `None` if
    /// the last one brought something, failed, or is of before a seek or pause. While a broker can't be reached the second
    /// instant stands still, at the latest until the request times out. On the clock of [`tokio::time::Instant`].
    pub fn caught_up(&self, partition: &TopicPartition) -> Option<(Instant, Instant)> {
        self.shared.change(|fetcher, _| fetcher.subscription().get(partition)?.caught_up())
    }

    /// Bytes fetched ahead and kept for the next polls; at most `prefetch.bytes` and one batch.
    pub fn prefetched_bytes(&self) -> usize {
        self.shared.change(|fetcher, _| fetcher.memory().0)
    }

    /// Commits what was handed out (or [marked](Self::mark_processed)), if auto-commit is on, leaves the group, ends the tasks and closes the connections,
    /// within `timeout`.
    ///
    /// # Errors
    /// Why the last commit failed; `Timeout` if the group was not left in time (its coordinator will notice by
    /// `session.timeout.ms`) or the tasks have not ended by then; they will. Dropping the future does what dropping the consumer
    /// does.
    pub async fn close(mut self, timeout: Duration) -> Result<()> {
        let deadline = self.shared.client.deadline(timeout);
        let left = self.leave_group(deadline).await;
        self.shared.close();
        if let Some(supervisor) = self.supervisor.take()
            && timeout_at(deadline.into(), supervisor).await.is_err()
        {
            return Err(Error::with_message(ErrorKind::Timeout, "the consumer's tasks have not ended in time"));
        }
        left
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What the handle and the tasks of a consumer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ConsumerConfig,
    /// Tells its connections from others'.
    pub(crate) id: u64,
    common: Arc<Common>,
    /// Asking for a topic may create it: `allow.auto.create.topics`, but for topics that a pattern has matched.
    auto_create: Arc<AtomicBool>,
    state: Mutex<State>,
    /// In the topics that are assigned.
    interest: Mutex<Interest>,
    /// Rung when the application has something to look at.
    data: Notify,
    /// Rung when the supervisor has.
    supervise: Notify,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct State {
    fetcher: Fetcher,
    /// One for each fetch task.
    wakes: BTreeMap<NodeId, Arc<Notify>>,
    closed: Option<Error>,
}

impl Shared {
    fn new(client: Client, config: ConsumerConfig, auto_create: Arc<AtomicBool>, counts: Arc<Counts>) -> Self {
        let (retry_backoff, retry_backoff_max) = client.retry_backoff();
        let fetcher = Fetcher::new(FetcherConfig {
            budget: config.prefetch_bytes,
            max_bytes: config.fetch_max_bytes,
            max_partition_bytes: config.max_partition_fetch_bytes,
            min_bytes: i32::try_from(config.fetch_min_bytes).unwrap_or(i32::MAX),
            max_wait: config.fetch_max_wait,
            isolation: config.isolation_level,
            control_records: config.control_records,
            reset: config.auto_offset_reset,
            partition_end: config.partition_eof,
            retry_backoff,
            retry_backoff_max,
        });
        Self {
            id: client.next_id(),
            client,
            common: Arc::new(Common::new(config.max_decompressed_bytes)),
            config,
            auto_create,
            state: Mutex::new(State { fetcher, wakes: BTreeMap::new(), closed: None }),
            interest: Mutex::default(),
            data: Notify::new(),
            supervise: Notify::new(),
            counts,
        }
    }

    /// Takes partitions away and adds others, which start there. Those that are neither stay as they are.
    pub(crate) fn set_assignment(&self, removed: Vec<TopicPartition>, added: Vec<(TopicPartition, Start)>) {
        self.change(|fetcher, now| {
            fetcher.change_assignment(now, removed, added);
            let topics: BTreeSet<_> = fetcher.subscription().assignment().map(|name| name.topic.clone()).collect();
            let auto_create = self.auto_create.load(Ordering::Relaxed);
            let interest = self.client.want_topics(topics, auto_create);
            *self.interest.lock().unwrap_or_else(PoisonError::into_inner) = interest;
        });
        self.supervise.notify_one();
        self.data.notify_one();
    }

    /// What a commit without offsets commits: what was handed out or, without `enable.auto.offset.store`, what was marked.
    fn processed(&self) -> HashMap<TopicPartition, OffsetAndMetadata> {
        self.change(|fetcher, _| match self.config.enable_auto_offset_store {
            true => fetcher.subscription().positions().collect(),
            false => fetcher.subscription().processed().collect(),
        })
    }

    /// Says where a partition starts that was assigned with [`Start::Later`]; a seek that came first counts.
    pub(crate) fn start(&self, partition: &TopicPartition, start: Start) {
        self.change(|fetcher, now| fetcher.start(now, partition, start));
        self.supervise.notify_one();
        self.data.notify_one();
    }

    /// The one way to the fetcher: applies what records turned out to be unreadable first, and wakes the fetch tasks
    /// that have something to do afterwards.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Fetcher, Instant) -> T) -> T {
        let now = self.client.now();
        let mut state = self.state();
        for unreadable in self.common.take_unreadable() {
            let records::Unreadable { name, generation, offset, error } = unreadable;
            state.fetcher.unreadable(now, &name, generation, offset, error);
        }
        let result = change(&mut state.fetcher, now);
        while let Some(node) = state.fetcher.poll_wake() {
            if let Some(wake) = state.wakes.get(&node) {
                wake.notify_one();
            }
        }
        result
    }

    fn wake_of(&self, node: NodeId) -> Arc<Notify> {
        self.state().wakes.entry(node).or_default().clone()
    }

    fn unix_millis(&self) -> i64 {
        self.client.clock().unix_millis()
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        self.state().closed.clone().map_or(Ok(()), Err)
    }

    fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    /// From now on there is only this to say.
    pub(crate) fn fail(&self, error: Error) {
        self.state().closed.get_or_insert(error);
        self.supervise.notify_one();
        self.data.notify_one();
    }

    fn close(&self) {
        self.fail(Error::new(ErrorKind::Closed));
    }

    /// A panic elsewhere leaves no half-done change that matters more than going on, so poison is not passed on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
