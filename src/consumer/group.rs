//! A consumer in a group: subscribe, commit, and what rebalances do to the assignment.
//!
//! ```text
//!  Consumer ── commands ──> [forward] ──> drive(ConsumerCoordinator) ──> GroupCaller ──> brokers
//!     ^                         ^ cluster changes        │
//!     └──────── events ─────────┼────────────────────────┘       one task, which leaves the group when the
//!                               │                                consumer and its commands are gone
//! ```
//! Events change the assignment when [`Consumer::next`] hands them out, on the application's task: it never reads a
//! record of a partition before it was told of it, nor after.

mod commits;
mod task;

use super::metrics::Counts;
use super::rebalance::Revoking;
use super::{Consumer, ConsumerConfig, Event, GroupProtocol, Shared, TopicPattern};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ConsumerGroupMetadata, GenerationId, OffsetAndMetadata, TopicPartition};
use crate::machine::fetcher::REMIND;
use crate::machine::group::assignor::{Assignor, RoundRobinAssignor};
use crate::machine::group::membership::{SubscribedTopics, Tenure};
use crate::machine::group::range::RangeAssignor;
use crate::machine::group::sticky::{CooperativeStickyAssignor, StickyAssignor};
use crate::machine::group::{ConsumerCoordinator, GroupConfig, GroupEvent, Reply, RevocationId};
use crate::machine::metadata::Interest;
use crate::machine::offset_commit::Commit;
use crate::machine::subscription::Start;
use crate::net::drive::Command;
use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use task::{GroupCaller, run};
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

type Commands = UnboundedSender<Command<ConsumerCoordinator>>;

/// The consumer's end of its group.
#[derive(Debug)]
pub(super) struct Group {
    commands: Commands,
    events: mpsc::Receiver<(u64, GroupEvent)>,
    /// Told of [`Progress::refused`].
    refused: Arc<Notify>,
    /// One that `ready` has taken out already.
    stash: Option<GroupEvent>,
    task: JoinHandle<()>,
    metadata: ConsumerGroupMetadata,
    /// Events of older rounds are about a subscription that was given up.
    round: u64,
    subscribed: bool,
    /// In the topics subscribed to by name.
    interest: Interest,
    /// Partitions were assigned by hand.
    manual: bool,
    /// Why the group can't go on, until another `subscribe`.
    failed: Option<Error>,
    progress: Arc<Mutex<Progress>>,
    auto_commit: Option<AutoCommit>,
    last_polled: Option<Instant>,
    /// Assignments taken.
    rebalances: u64,
    max_poll_interval: Duration,
}

/// What late answers and guards must agree with before they change the assignment.
#[derive(Debug, Default)]
struct Progress {
    /// What the application was told is its own.
    held: HashMap<TopicPartition, Held>,
    assignments: u64,
    /// The revocation that the application has not acknowledged.
    revoking: Option<RevocationId>,
    /// For the application.
    failures: Vec<Error>,
    /// What auto-commits have tried in vain.
    not_committed: Vec<(TopicPartition, OffsetAndMetadata)>,
    /// Why a broker has refused us since the application was last told so. The membership goes on: the next one may not.
    refused: Option<Error>,
    /// When the coordinator last took a heartbeat.
    last_heartbeat: Option<Instant>,
    /// In what the members of the group that this one leads have subscribed to.
    interest: Interest,
}

/// One partition of the application's.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Which assignment gave it to us.
    assignment: u64,
    /// The group's, which ends before the application is told so; `None` by hand.
    tenure: Option<Tenure>,
}

#[derive(Debug)]
struct AutoCommit {
    interval: Duration,
    next: Instant,
    /// What was committed last, or is being, so that an idle consumer does not commit the same again and again.
    last: HashMap<TopicPartition, OffsetAndMetadata>,
}

impl Group {
    /// The group of this configuration, if it has one. Nothing is asked of a broker yet.
    pub(super) fn new(
        client: &Client,
        config: &ConsumerConfig,
        auto_create: Arc<AtomicBool>,
        counts: Arc<Counts>,
    ) -> Result<Option<Self>> {
        let Some(group_id) = config.group_id.as_deref().map(Arc::<str>::from) else { return Ok(None) };
        let now = client.now();
        let instance_id: Option<Arc<str>> = config.group_instance_id.as_deref().map(Arc::from);
        let machine = GroupConfig {
            group_id: group_id.clone(),
            instance_id: instance_id.clone(),
            session_timeout: config.session_timeout,
            heartbeat_interval: config.heartbeat_interval,
            // Polls are reported at this grain, so one must not be missed for it.
            max_poll_interval: config.max_poll_interval + grain(config.max_poll_interval),
            request_timeout: client.config().request_timeout,
            backoff: client.retry_backoff(),
            assignors: assignors(config)?,
            rack: Some(&*config.client_rack).filter(|rack| !rack.is_empty()).map(Arc::from),
            protocol: config.group_protocol,
            remote_assignor: config.group_remote_assignor.as_deref().map(Arc::from),
            seed: client.seed(),
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::channel(16);
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let refused = Arc::new(Notify::new());
        let caller = GroupCaller {
            client: client.clone(),
            id: client.next_id(),
            auto_create,
            progress: progress.clone(),
            counts,
            refused: refused.clone(),
        };
        let task = client.spawn(run(ConsumerCoordinator::new(now, machine), caller, inbox, tell));
        let interval = config.auto_commit_interval;
        let auto_commit = AutoCommit { interval, next: now + interval, last: HashMap::new() };
        Ok(Some(Self {
            commands,
            events,
            refused,
            stash: None,
            task,
            metadata: ConsumerGroupMetadata {
                group_id,
                instance_id,
                generation: GenerationId::NONE,
                member_id: "".into(),
            },
            round: 0,
            subscribed: false,
            interest: Interest::default(),
            manual: false,
            failed: None,
            progress,
            auto_commit: config.enable_auto_commit.then_some(auto_commit),
            last_polled: None,
            rebalances: 0,
            max_poll_interval: config.max_poll_interval,
        }))
    }

    fn command(&self, command: impl FnOnce(&mut ConsumerCoordinator, Instant) + Send + 'static) {
        let _ = self.commands.send(Box::new(command)); // the task is gone: so is the client
    }

    /// Asks for something that is answered.
    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut ConsumerCoordinator, Instant, Reply<T>) + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.command(move |machine, now| {
            let reply: Reply<T> = Box::new(move |outcome| drop(reply.send(outcome)));
            command(machine, now, reply);
        });
        answer.await.unwrap_or_else(|_| Err(Error::with_message(ErrorKind::Closed, "the client is closed")))
    }

    /// The application is in `next`: everything handed out before counts as processed, and it is not silent. Commits what is due,
    /// and says that it is polling, not more often than needed.
    pub(super) fn on_poll(&mut self, now: Instant, shared: &Shared) {
        if self.auto_commit.as_ref().is_some_and(|auto| now >= auto.next) {
            self.commit_processed(now, shared, None);
        }
        if self.subscribed && self.last_polled.is_none_or(|at| now >= at + grain(self.max_poll_interval)) {
            self.last_polled = Some(now);
            self.command(ConsumerCoordinator::polled);
        }
    }

    /// When a poll that waits must tell [`on_poll`](Self::on_poll) again.
    pub(super) fn next_poll(&self, now: Instant) -> Instant {
        let again = now + self.max_poll_interval / 3;
        self.auto_commit.as_ref().map_or(again, |auto| auto.next.min(again))
    }

    /// These offsets, for what the application holds as far as it knows.
    fn commit_of(&self, offsets: HashMap<TopicPartition, OffsetAndMetadata>, deadline: Instant) -> Commit {
        commit_of(&self.progress().held, offsets, deadline)
    }

    /// Commits what counts as processed, if that is new, as auto-commit does.
    fn commit_processed(&mut self, now: Instant, shared: &Shared, only: Option<&[TopicPartition]>) {
        let in_vain = std::mem::take(&mut self.progress().not_committed);
        let Some(auto) = &mut self.auto_commit else { return };
        auto.next = now + auto.interval;
        for (partition, offset) in in_vain {
            if auto.last.get(&partition) == Some(&offset) {
                auto.last.remove(&partition);
            }
        }
        let mut positions = shared.processed();
        match only {
            // The last chance: also what was sent before, and perhaps failed.
            Some(only) => positions.retain(|partition, _| only.contains(partition)),
            None => positions.retain(|partition, position| auto.last.get(partition) != Some(position)),
        }
        if positions.is_empty() {
            return;
        }
        auto.last.extend(positions.iter().map(|(partition, position)| (partition.clone(), position.clone())));
        let commit = self.commit_of(positions.clone(), shared.client.api_deadline());
        let progress = self.progress.clone();
        let commit = commit.told(Box::new(move |outcome| {
            if outcome.is_err() {
                lock(&progress).not_committed.extend(positions);
            }
        }));
        self.command(move |machine, now| machine.commit(now, commit));
    }

    /// The next thing to tell the application, applied.
    pub(super) fn take(&mut self, shared: &Arc<Shared>) -> Result<Option<Event>> {
        let failure = {
            let mut progress = self.progress();
            progress.failures.pop().or_else(|| progress.refused.take())
        };
        if let Some(error) = failure {
            return Err(error);
        }
        loop {
            let event = match self.stash.take() {
                Some(event) => event,
                None => match self.events.try_recv() {
                    Ok((round, _)) if round < self.round => continue,
                    Ok((_, event)) => event,
                    Err(_) => return self.failed.clone().map_or(Ok(None), Err),
                },
            };
            if let Some(event) = self.apply(event, shared)? {
                return Ok(Some(event));
            }
        }
    }

    /// Waits until there is something to [`take`](Self::take). Losing the future loses nothing.
    pub(super) async fn ready(&mut self) {
        while self.stash.is_none() {
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = self.refused.notified() => return,
            };
            match event {
                Some((round, event)) if round >= self.round => self.stash = Some(event),
                Some(_) => {}
                None => pending().await,
            }
        }
    }

    /// Not every event is the application's business.
    fn apply(&mut self, event: GroupEvent, shared: &Arc<Shared>) -> Result<Option<Event>> {
        Ok(Some(match event {
            GroupEvent::Generation { generation, member_id } => {
                (self.metadata.generation, self.metadata.member_id) = (generation, member_id);
                return Ok(None);
            }
            GroupEvent::Assigned { partitions, tenure, generation, member_id } => {
                (self.metadata.generation, self.metadata.member_id) = (generation, member_id);
                self.rebalances += 1;
                self.start(partitions.clone(), Some(tenure), shared);
                Event::Assigned(partitions)
            }
            GroupEvent::Revoking { id, partitions, generation, member_id } => {
                (self.metadata.generation, self.metadata.member_id) = (generation, member_id);
                // Those that are paused already, or gone, are no trouble.
                shared.change(|fetcher, _| partitions.iter().for_each(|name| drop(fetcher.pause(name))));
                self.commit_processed(shared.client.now(), shared, Some(&partitions));
                self.progress().revoking = Some(id);
                Event::Revoking(self.guard(id, partitions, shared))
            }
            GroupEvent::Lost(partitions) => {
                self.forget(&partitions);
                self.progress().revoking = None;
                shared.set_assignment(partitions.clone(), vec![]);
                Event::Lost(partitions)
            }
            GroupEvent::Failed(error) => {
                self.subscribed = false;
                self.outside();
                self.failed = Some(error.clone());
                return Err(error);
            }
        }))
    }

    /// Begins to read what was assigned, by the group or by hand, from where the group has committed.
    pub(super) fn start(&mut self, partitions: Vec<TopicPartition>, tenure: Option<Tenure>, shared: &Arc<Shared>) {
        if partitions.is_empty() {
            return;
        }
        if let Some(auto) = &mut self.auto_commit {
            auto.last.retain(|partition, _| !partitions.contains(partition)); // others may have committed since
        }
        let assignment = {
            let mut progress = self.progress();
            progress.assignments += 1;
            let held = Held { assignment: progress.assignments, tenure };
            progress.held.extend(partitions.iter().map(|partition| (partition.clone(), held)));
            held.assignment
        };
        shared.set_assignment(vec![], partitions.iter().map(|name| (name.clone(), Start::Later)).collect());
        let starting = start_from_committed(shared.clone(), self.weak(), self.progress.clone(), assignment, partitions);
        shared.client.spawn(starting);
    }

    fn guard(&self, id: RevocationId, partitions: Vec<TopicPartition>, shared: &Arc<Shared>) -> Revoking {
        // What was handed out was committed when the revocation was told; marks come while it is worked off.
        let commits_marks = self.auto_commit.is_some() && !shared.config.enable_auto_offset_store;
        let (progress, shared, commands) = (self.progress.clone(), Arc::downgrade(shared), self.weak());
        let revoked = partitions.clone();
        Revoking::new(partitions, move || {
            let mut held = HashMap::new();
            {
                let mut progress = lock(&progress);
                if progress.revoking != Some(id) {
                    return; // overruled, and perhaps assigned anew since
                }
                progress.revoking = None;
                held.extend(revoked.iter().filter_map(|partition| progress.held.remove_entry(partition)));
            }
            let mut last = None;
            if let Some(shared) = shared.upgrade() {
                if commits_marks {
                    let mut marks = shared.processed();
                    marks.retain(|partition, _| revoked.contains(partition));
                    if !marks.is_empty() {
                        last = Some(commit_of(&held, marks, shared.client.api_deadline()));
                    }
                }
                shared.set_assignment(revoked, vec![]);
            }
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Box::new(move |machine, now| {
                    if let Some(commit) = last {
                        machine.commit(now, commit);
                    }
                    machine.revoked(now, id);
                }));
            }
        })
    }

    /// Partitions were assigned by hand: these are all, and these have gone.
    ///
    /// # Errors
    /// `State` while there is a subscription.
    pub(super) fn assign(&mut self, is_any: bool, removed: &[TopicPartition]) -> Result<()> {
        if self.subscribed {
            let message = "the group assigns partitions while there is a subscription; unsubscribe first";
            return Err(Error::with_message(ErrorKind::State, message));
        }
        self.manual = is_any;
        self.forget(removed);
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        let mut progress = self.progress();
        partitions.iter().for_each(|partition| {
            progress.held.remove(partition);
        });
        drop(progress);
        if let Some(auto) = &mut self.auto_commit {
            auto.last.retain(|partition, _| !partitions.contains(partition));
        }
    }

    /// How many assignments were taken, and when the coordinator last took a heartbeat.
    pub(super) fn vital_signs(&self) -> (u64, Option<Instant>) {
        (self.rebalances, self.progress().last_heartbeat)
    }

    fn outside(&mut self) {
        (self.metadata.generation, self.metadata.member_id) = (GenerationId::NONE, "".into());
        self.last_polled = None;
    }

    fn weak(&self) -> WeakUnboundedSender<Command<ConsumerCoordinator>> {
        self.commands.downgrade()
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        lock(&self.progress)
    }
}

impl Consumer {
    /// Joins the group for these topics, instead of those before; none at all is [`unsubscribe`](Self::unsubscribe).
    /// The assignment follows as [`Event::Assigned`] from [`next`](Self::next), or silently in [`poll`](Self::poll); a
    /// topic need not exist yet: it is looked for every second at first, and the longer it is missing the more seldom, so that
    /// it is noticed when it has been missing for a tenth longer (or by `metadata.max.age.ms`).
    ///
    /// `max.poll.interval.ms` runs whenever the application is not inside `poll` or `next`: a member that does not come
    /// back in time leaves the group, is told [`Event::Lost`] at its next poll, and joins anew.
    ///
    /// # Errors
    /// `Config` without a `group.id`, `InvalidArgument` for a name that can't be, `State` after `assign`. What the
    /// group refuses, polls tell.
    pub async fn subscribe(&mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Result<()> {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().map(|topic| Arc::from(topic.into())).collect();
        self.shared.check_open()?;
        if topics.is_empty() {
            return self.unsubscribe().await;
        }
        if let Some(wrong) = topics.iter().find(|topic| topic.is_empty() || topic.len() > 249) {
            let error = Error::with_message(ErrorKind::InvalidArgument, "a topic's name has 1 to 249 characters");
            return Err(error.topic(wrong.clone()));
        }
        let (names, auto_create) = (topics.iter().cloned().collect(), self.shared.config.allow_auto_create_topics);
        self.join(auto_create, move |machine, now| machine.subscribe(now, SubscribedTopics::names(names)))?;
        let interest = self.shared.client.want_topics(topics, auto_create);
        self.group.iter_mut().for_each(|group| group.interest = interest.clone());
        Ok(())
    }

    /// As [`subscribe`](Self::subscribe), for every topic, now and later, that the [`TopicPattern`] means. Nothing is created
    /// for it. Who matches:
    ///
    /// - In a classic group, and for a pattern with an [`exclude`](TopicPattern::exclude) list, this client does, as Java for
    ///   `subscribe(Pattern)`. It asks for the names of all topics every `metadata.max.age.ms`, so that is how late a new topic
    ///   may be noticed; one that is deleted, half a minute after. The group is joined when they are first known, and
    ///   rebalances whenever they have changed; each member matches for itself. Kafka's own topics are left out,
    ///   unless [`exclude.internal.topics`](ConsumerConfig::exclude_internal_topics) is off.
    /// - Otherwise, with [`GroupProtocol::Consumer`], the coordinator does, by what it thinks internal. That takes
    ///   ConsumerGroupHeartbeat v1 (Apache Kafka from 4.0); an expression that it can't read although we can, polls tell
    ///   (`InvalidRegularExpression`).
    ///
    /// # Errors
    /// As `subscribe`.
    pub async fn subscribe_pattern(&mut self, pattern: TopicPattern) -> Result<()> {
        self.shared.check_open()?;
        let config = &self.shared.config;
        match pattern.for_broker().filter(|_| config.group_protocol == GroupProtocol::Consumer) {
            Some(regex) => self.join(false, move |machine, now| machine.subscribe(now, SubscribedTopics::Regex(regex))),
            None => {
                let pattern = pattern.with_internal(!config.exclude_internal_topics);
                let cluster = self.shared.client.watch_cluster();
                self.join(false, move |machine, now| {
                    let known = cluster.borrow().clone();
                    machine.subscribe_pattern(now, pattern, &known);
                })?;
                self.shared.client.list_all_topics();
                Ok(())
            }
        }
    }

    fn join(
        &mut self,
        auto_create: bool,
        subscribe: impl FnOnce(&mut ConsumerCoordinator, Instant) + Send + 'static,
    ) -> Result<()> {
        let group = self.group.as_mut().ok_or_else(no_group)?;
        if group.manual {
            return Err(Error::with_message(ErrorKind::State, "partitions are assigned by hand; unsubscribe first"));
        }
        self.shared.auto_create.store(auto_create, Ordering::Relaxed);
        group.subscribed = true;
        group.interest = Interest::default();
        (group.last_polled, group.failed) = (None, None);
        group.command(subscribe);
        Ok(())
    }

    /// Leaves the group, after the auto-commit of what was handed out, and drops whatever is assigned, by the group or
    /// by hand. The consumer can subscribe or assign anew. Dropping the future leaves only the auto-commit under way: the
    /// consumer stays subscribed.
    ///
    /// # Errors
    /// `Closed` if the consumer or the client is.
    pub async fn unsubscribe(&mut self) -> Result<()> {
        self.shared.check_open()?;
        let positions = self.shared.processed();
        let deadline = self.shared.client.api_deadline();
        if let Some(group) = &mut self.group {
            if group.auto_commit.is_some() && !positions.is_empty() {
                let commit = group.commit_of(positions, deadline);
                let commit = move |machine: &mut ConsumerCoordinator, now, reply| {
                    machine.commit(now, commit.awaited(reply));
                };
                if let Err(error) = group.ask(commit).await {
                    tracing::warn!(%error, "offsets not committed");
                }
            }
            // From here on nothing waits, so that a dropped future has unsubscribed or has not.
            (group.subscribed, group.manual, group.failed, group.stash) = (false, false, None, None);
            group.interest = Interest::default();
            group.outside();
            group.round += 1;
            group.command(ConsumerCoordinator::unsubscribe);
            group.auto_commit.iter_mut().for_each(|auto| auto.last.clear());
            let mut progress = group.progress();
            progress.held.clear();
            progress.revoking = None;
            progress.interest = Interest::default();
        }
        self.shared.set_assignment(self.assignment(), vec![]);
        Ok(())
    }

    /// Who this consumer is in its group, as of the last assignment that it was told of. Without a group, the metadata
    /// of nobody.
    pub fn group_metadata(&self) -> ConsumerGroupMetadata {
        match &self.group {
            Some(group) => group.metadata.clone(),
            None => ConsumerGroupMetadata::standalone(""),
        }
    }

    fn group(&self) -> Result<&Group> {
        self.group.as_ref().ok_or_else(no_group)
    }

    /// Auto-commit, then LeaveGroup, by `deadline`; what is not done then is left to the session timeout.
    pub(super) async fn leave_group(&mut self, deadline: Instant) -> Result<()> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        group.events.close(); // nobody is told any more, so the task need not wait to tell
        let positions = self.shared.processed();
        let committed = match group.auto_commit {
            Some(_) if !positions.is_empty() => {
                let (reply, answer) = oneshot::channel();
                let commit = group.commit_of(positions, deadline);
                group.command(move |machine, now| {
                    let reply: Reply<()> = Box::new(move |outcome| drop(reply.send(outcome)));
                    machine.commit(now, commit.awaited(reply));
                    machine.close(now, deadline);
                });
                Some(answer)
            }
            _ => {
                group.command(move |machine, now| machine.close(now, deadline));
                None
            }
        };
        let ended = timeout_at(deadline.into(), &mut group.task).await.is_ok();
        match committed {
            Some(mut answer) => match answer.try_recv() {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::with_message(ErrorKind::Timeout, "the last commit was not answered in time")),
            },
            None if ended => Ok(()),
            None => Err(Error::with_message(ErrorKind::Timeout, "the group was not left in time")),
        }
    }
}

/// These offsets, with the tenures that the application knows of.
fn commit_of(
    held: &HashMap<TopicPartition, Held>,
    offsets: HashMap<TopicPartition, OffsetAndMetadata>,
    deadline: Instant,
) -> Commit {
    let meant = offsets.into_iter().map(|(partition, offset)| {
        let tenure = held.get(&partition).and_then(|held| held.tenure);
        (partition, (offset, tenure))
    });
    Commit::new(meant, deadline)
}

/// Looks up where the group stands and starts there, unless the partition has gone or changed hands meanwhile. One that is
/// refused is asked about again and again, and the application told so; the others are read.
async fn start_from_committed(
    shared: Arc<Shared>,
    commands: WeakUnboundedSender<Command<ConsumerCoordinator>>,
    progress: Arc<Mutex<Progress>>,
    assignment: u64,
    mut partitions: Vec<TopicPartition>,
) {
    let is_ours =
        |name: &TopicPartition| lock(&progress).held.get(name).is_some_and(|held| held.assignment == assignment);
    loop {
        partitions.retain(&is_ours);
        let asked = partitions.clone();
        let Some(commands) = commands.upgrade() else { return };
        if asked.is_empty() {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let (wanted, deadline) = (asked.clone(), shared.client.api_deadline());
        let _ = commands.send(Box::new(move |machine, now| {
            machine.fetch_offsets(now, wanted, deadline, Box::new(move |outcome| drop(reply.send(outcome))));
        }));
        drop(commands); // or the group would not be left while we wait
        let refused = match answer.await {
            Ok(Ok(mut committed)) => {
                let mut refused = None;
                partitions.retain(|name| match committed.remove(name).transpose() {
                    Ok(offset) if is_ours(name) => {
                        shared.start(name, offset.map_or(Start::Reset, Start::At));
                        false
                    }
                    Ok(_) => false,
                    Err(error) => {
                        refused.get_or_insert(error);
                        true
                    }
                });
                refused
            }
            Ok(Err(error)) if error.is_retriable() => {
                tracing::warn!(%error, "committed offsets not known yet");
                continue;
            }
            Ok(Err(error)) => Some(error),
            Err(_) => return, // closed
        };
        let Some(error) = refused else { return };
        {
            let mut progress = lock(&progress);
            let is_told =
                |told: &Error| (told.kind(), told.topic_partition()) == (error.kind(), error.topic_partition());
            if !progress.failures.iter().any(is_told) {
                progress.failures.push(error);
            }
        }
        shared.data.notify_one();
        shared.client.sleep(REMIND).await;
    }
}

/// By the names of `partition.assignment.strategy`: the application's own, Kafka's or the Java classes'.
fn assignors(config: &ConsumerConfig) -> Result<Vec<Arc<dyn Assignor>>> {
    let names = &config.partition_assignment_strategy;
    let assignor = |name: &String| -> Result<Arc<dyn Assignor>> {
        if let Some(own) = config.assignors.iter().rev().find(|assignor| assignor.name() == name) {
            return Ok(own.clone());
        }
        match name.rsplit('.').next().unwrap_or(name) {
            "range" | "RangeAssignor" => Ok(Arc::new(RangeAssignor)),
            "roundrobin" | "RoundRobinAssignor" => Ok(Arc::new(RoundRobinAssignor)),
            "sticky" | "StickyAssignor" => Ok(Arc::new(StickyAssignor)),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Arc::new(CooperativeStickyAssignor)),
            _ => Err(Error::with_message(
                ErrorKind::Config,
                format!(
                    "partition.assignment.strategy: \"{name}\" is not range, roundrobin, sticky or cooperative-sticky, \
                     nor an assignor of your own"
                ),
            )),
        }
    };
    if names.is_empty() {
        return Err(Error::with_message(ErrorKind::Config, "partition.assignment.strategy is empty"));
    }
    names.iter().map(assignor).collect()
}

/// How exactly polls are reported to the machine: a report costs more than a poll.
fn grain(max_poll_interval: Duration) -> Duration {
    (max_poll_interval / 10).min(Duration::from_secs(1))
}

/// A panic elsewhere leaves nothing half done in here.
fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_group() -> Error {
    Error::with_message(ErrorKind::Config, "this takes a group.id, and the consumer has none")
}
