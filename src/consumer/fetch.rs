//! The tasks of a consumer: one that fetches per broker, and one that looks after them, follows the leaders, and finds
//! positions that are not known. What they decide is the [`Fetcher`](crate::machine::fetcher::Fetcher)'s.

use super::Shared;
use super::offsets::ask_leader;
use super::validate::validate;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::fetcher::{Answered, FetchPlan, ResetLookup, Step};
use crate::machine::metadata::Cluster;
use crate::machine::subscription::Position;
use crate::net::brokers::Purpose;
use crate::net::clock::sleep_until;
use crate::net::connection::Answer;
use crate::wire::fetch::{self, FIRST_WITH_TOPIC_IDS, FetchParameters, FetchPartition, FetchResponse};
use crate::wire::list_offsets::{Lookup, OffsetAndTimestamp};
use crate::wire::messages::FetchRequest;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// How long the end of a consumer waits for brokers that are to forget it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs until the consumer is closed or the client is.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut clusters = shared.client.watch_cluster();
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    let (mut lookups, mut validations) = (FuturesUnordered::new(), FuturesUnordered::new());
    set_cluster(&shared, clusters.borrow_and_update().clone());
    // While a partition is lacking in the metadata: when to ask for it again, which a broker may not know of yet.
    let (mut ask_at, mut backoff) = (None, shared.client.backoff());
    while !shared.is_closed() {
        let unix_millis = shared.unix_millis();
        let (start, resets, doubtful, next_lookup, lacking) = shared.change(|fetcher, now| {
            let (start, resets) = (fetcher.start_nodes(now), fetcher.resets(now, unix_millis));
            (start, resets, fetcher.validations(now), fetcher.next_lookup(), fetcher.lacks_partitions())
        });
        let now = shared.client.now();
        if !lacking {
            ask_at = None;
            backoff.reset();
        } else if ask_at.is_none_or(|at| now >= at) {
            shared.client.refresh(shared.client.cluster().generation);
            ask_at = Some(now + backoff.next_wait());
        }
        let wake_at = next_lookup.into_iter().chain(ask_at).min();
        tasks.retain(|task| !task.is_finished());
        for node in start {
            tasks.push(shared.client.spawn(fetch_from(shared.clone(), node, shared.wake_of(node))));
        }
        for (leader, resets) in by_leader(resets, |reset| reset.leader) {
            lookups.push(look_up(shared.clone(), leader, resets));
        }
        for (leader, doubtful) in by_leader(doubtful, |validation| validation.leader) {
            validations.push(validate(shared.clone(), leader, doubtful));
        }
        tokio::select! {
            changed = clusters.changed() => {
                if changed.is_err() {
                    shared.fail(Error::with_message(ErrorKind::Closed, "the client is closed"));
                    break;
                }
                set_cluster(&shared, clusters.borrow_and_update().clone());
            }
            Some((resets, answer)) = lookups.next() => apply(&shared, resets, answer),
            Some(()) = validations.next() => {}
            () = shared.supervise.notified() => {}
            () = sleep_until(wake_at.unwrap_or_else(|| shared.client.now())), if wake_at.is_some() => {}
        }
    }
    for task in &tasks {
        task.abort(); // drops the wait for an answer, which breaks nothing
    }
    for task in tasks {
        let _ = task.await;
    }
    end_sessions(&shared).await;
    shared.client.release(shared.id);
}

/// Gives the brokers' memory of our Fetches back, as far as they can be asked soon. Not over the connections of the
/// Fetches, where it would wait behind one that is parked.
async fn end_sessions(shared: &Arc<Shared>) {
    let deadline = shared.client.now() + FAREWELL;
    let sessions = shared.change(|fetcher, _| fetcher.close_sessions());
    let ended = join_all(sessions.into_iter().map(|(node, id)| end_session(shared, node, id, deadline)));
    let _ = timeout_at(deadline.into(), ended).await;
}

async fn end_session(shared: &Shared, node: NodeId, session_id: i32, deadline: Instant) -> Result<()> {
    let connection = shared.client.connection(node, Purpose::General, deadline).await?;
    let version = connection.versions().pick::<FetchRequest>()?;
    let correlation_id = connection.next_correlation_id();
    let isolation = shared.config.isolation_level;
    let parameters =
        FetchParameters { max_wait_ms: 0, min_bytes: 0, max_bytes: 0, isolation, session_id, session_epoch: -1 };
    let nothing = std::iter::empty();
    let frame = fetch::encode(version, correlation_id, connection.client_id(), parameters, "", nothing, &[]);
    let timeout = shared.client.call_timeout(deadline);
    connection.send(fetch::API_KEY, correlation_id, vec![frame], Answer::Expected, timeout).await.map(drop)
}

fn by_leader<T>(questions: Vec<T>, leader: impl Fn(&T) -> NodeId) -> BTreeMap<NodeId, Vec<T>> {
    let mut by_leader: BTreeMap<NodeId, Vec<T>> = BTreeMap::new();
    for question in questions {
        by_leader.entry(leader(&question)).or_default().push(question);
    }
    by_leader
}

fn set_cluster(shared: &Shared, cluster: Arc<Cluster>) {
    shared.change(|fetcher, now| fetcher.set_cluster(now, cluster));
    shared.data.notify_one(); // there may be something to tell: a topic that is not ours to read
}

type LookedUp = Result<Vec<Result<Option<OffsetAndTimestamp>>>>;

async fn look_up(shared: Arc<Shared>, leader: NodeId, resets: Vec<ResetLookup>) -> (Vec<ResetLookup>, LookedUp) {
    let lookup =
        |reset: &ResetLookup| Lookup { name: reset.name.clone(), leader_epoch: reset.leader_epoch, spec: reset.spec };
    let lookups: Vec<_> = resets.iter().map(lookup).collect();
    let deadline = shared.client.api_deadline();
    let isolation = shared.config.isolation_level;
    let answer = ask_leader(&shared.client, leader, isolation, &lookups, deadline).await;
    (resets, answer)
}

fn apply(shared: &Arc<Shared>, resets: Vec<ResetLookup>, answers: LookedUp) {
    let answers = answers.unwrap_or_else(|error| resets.iter().map(|_| Err(error.clone())).collect());
    for (reset, answer) in resets.iter().zip(answers) {
        let answer = answer.map(|at| at.map(|at| Position { offset: at.offset, leader_epoch: at.leader_epoch }));
        let answered = shared.change(|fetcher, now| fetcher.reset_answer(now, reset, answer));
        shared.follow(answered, shared.client.cluster().generation);
    }
}

/// Fetches from `node` for as long as it leads something.
async fn fetch_from(shared: Arc<Shared>, node: NodeId, wake: Arc<Notify>) {
    let mut backoff = shared.client.backoff();
    loop {
        match shared.change(|fetcher, now| fetcher.step(now, node)) {
            Step::Gone => {
                shared.supervise.notify_one(); // it may lead something again by now
                return;
            }
            Step::Wait(until) => wait(&wake, until).await,
            Step::Fetch(plan) => {
                let asked = shared.client.now();
                let answer = fetch(&shared, &plan).await;
                let failure = answer.as_ref().err().cloned();
                let throttle = answer.as_ref().map_or(0, |(response, _)| response.throttle_ms);
                if let Ok((_, length)) = &answer {
                    shared.counts.on_fetched(*length, shared.client.now() - asked);
                }
                let answered = shared.change(|fetcher, now| fetcher.answer(now, &plan, answer));
                shared.follow(answered, plan.cluster);
                match failure {
                    None => backoff.reset(),
                    Some(error) => {
                        tracing::debug!(%error, %node, "no answer to a Fetch");
                        shared.client.sleep(backoff.next_wait()).await;
                    }
                }
                if let Ok(throttle @ 1..) = u64::try_from(throttle) {
                    shared.counts.throttle_time.record_duration(Duration::from_millis(throttle));
                    shared.client.sleep(Duration::from_millis(throttle)).await;
                }
            }
        }
    }
}

async fn wait(wake: &Notify, until: Option<Instant>) {
    match until {
        None => wake.notified().await,
        Some(until) => {
            tokio::select! {
                () = wake.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

async fn fetch(shared: &Shared, plan: &FetchPlan) -> Result<(FetchResponse, usize)> {
    let client = &shared.client;
    let deadline = client.api_deadline();
    let connection = client.connection(plan.node, Purpose::Fetch(shared.id), deadline).await?;
    let mut version = connection.versions().pick::<FetchRequest>().map_err(|error| connection.place(error))?;
    if version >= FIRST_WITH_TOPIC_IDS && !plan.session.topic_ids {
        version = FIRST_WITH_TOPIC_IDS - 1; // a broker in between that knows no ids
    }
    let correlation_id = connection.next_correlation_id();
    let partitions = plan.partitions.iter().filter(|partition| partition.is_news).map(|partition| FetchPartition {
        topic: &partition.name.topic,
        topic_id: partition.topic_id,
        partition: partition.name.partition,
        leader_epoch: partition.leader_epoch,
        offset: partition.offset,
        max_bytes: partition.max_bytes,
    });
    let rack = &shared.config.client_rack;
    let forgotten = &plan.session.forgotten;
    let client_id = connection.client_id();
    let frame = fetch::encode(version, correlation_id, client_id, plan.parameters, rack, partitions, forgotten);
    let timeout = client.call_timeout(deadline) + shared.config.fetch_max_wait;
    let answer = connection.send(fetch::API_KEY, correlation_id, vec![frame], Answer::Expected, timeout).await?;
    let response = fetch::decode(version, &answer).map_err(|error| connection.place(error))?;
    for (node, host, port) in &response.endpoints {
        client.learn(*node, host.clone(), *port);
    }
    Ok((response, answer.len()))
}

impl Shared {
    /// Does what an answer asks for.
    pub(super) fn follow(&self, answered: Answered, cluster: u64) {
        if answered.data {
            self.data.notify_one();
        }
        if answered.refresh {
            self.client.refresh(cluster);
        }
        if answered.supervise {
            self.supervise.notify_one();
        }
    }
}
