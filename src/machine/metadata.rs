//! What the cluster looks like: an immutable snapshot per generation, and the machine that decides when to ask again.
//!
//! - An error invalidates the generation that it was seen under, so that a burst of errors is one refresh; only one
//!   refresh is under way at a time.
//! - A topic's error does not wipe what is known of it; a topic that is gone is kept for a propagation window.
//! - A topic that is missing is asked for the more seldom the longer it is, until somebody wants it anew.
//! - Leader epochs never go back, except when the topic was made anew: its id has changed, or on brokers without ids it was gone
//!   in between.

mod interest;

use super::{Machine, RequestId, backoff::Backoff};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{LeaderEpoch, NodeId, TopicId};
use crate::wire::StrBytes;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::wire::messages::{MetadataRequest, MetadataResponse, TopicName};
pub use interest::Interest;
use interest::Wanted;
use std::collections::{BTreeMap, HashMap};
use std::{sync::Arc, time::Duration, time::Instant};

/// How long a topic that we know is believed in although a broker has never heard of it: brokers learn of changes one
/// after the other.
const PROPAGATION: Duration = Duration::from_secs(30);

/// How long a cluster that refuses us is left alone, unless somebody asks.
const REFUSED: Duration = Duration::from_secs(30);

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `broker.rack`, if set.
    pub rack: Option<String>,
}

/// The cluster as one Metadata answer after another has shown it.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// Grows with each answer; names this picture when it turns out to be wrong.
    pub generation: u64,
    /// The cluster's id, from Metadata v2.
    pub cluster_id: Option<String>,
    /// Who takes changes of topics.
    pub controller: Option<NodeId>,
    /// The brokers that are alive.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The topics that someone has asked for and that exist.
    pub topics: HashMap<Arc<str>, Arc<TopicMetadata>>,
    /// The names of all topics as of the last listing, and whether each is internal; none before
    /// [`Metadata::list_all`] and its answer.
    pub listed: Option<Arc<BTreeMap<Arc<str>, bool>>>,
    /// Why the last answer had nothing of a topic that was asked for.
    pub errors: HashMap<Arc<str>, ErrorCode>,
    /// How often the cluster has refused us, and the last time why: a wrong password, a certificate that is no good.
    pub refusals: (u64, Option<Error>),
    /// Why the last question has had no answer, if it had none.
    pub failure: Option<Error>,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Zero on brokers that have no ids.
    pub id: TopicId,
    /// One of Kafka's own (`__consumer_offsets`).
    pub internal: bool,
    /// By number: `partitions[3]` is partition 3.
    pub partitions: Vec<PartitionMetadata>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionMetadata {
    /// Who takes writes; `None` while there is none.
    pub leader: Option<NodeId>,
    /// How often that has changed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those that are down.
    pub offline: Vec<NodeId>,
}

impl Cluster {
    /// A partition, if it is known.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The leader of a partition, if it has one.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.partition(topic, partition)?.leader
    }

    /// The topic's name by its id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicMetadata>> {
        self.topics.values().find(|topic| topic.id == id && !id.is_zero())
    }
}

/// When to ask.
#[derive(Debug, Clone)]
pub struct MetadataConfig {
    /// `metadata.max.age.ms`: asked anew at the latest after this.
    pub max_age: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// For the jitter.
    pub seed: u64,
}

/// The question for all topics. It is asked by age alone: what it is for, patterns, wants to know what is new, and of what is
/// read of a matched topic the other questions tell.
#[derive(Debug)]
enum Listing {
    /// With the next question, or the next try.
    Due,
    Asked(RequestId),
    /// Not before this.
    Fresh(Instant),
}

/// Keeps the picture of the cluster fresh.
///
/// ```text
///            refresh, age, a new topic                  answer
/// Fresh ------------------------------> Asking --------------------------> Fresh
///                                         | error, or a topic is missing
///                                         +---------> Waiting (backoff) ---> Asking
/// ```
#[derive(Debug)]
pub struct Metadata {
    config: MetadataConfig,
    cluster: Arc<Cluster>,
    wanted: BTreeMap<Arc<str>, Wanted>,
    asked: Vec<RequestId>,
    listing: Option<Listing>,
    /// Something was asked for after the requests under way were made.
    again: bool,
    next_refresh: Option<Instant>,
    backoff: Backoff,
    next_id: u64,
    requests: Vec<(RequestId, MetadataRequest)>,
    changed: bool,
    closed: bool,
}

impl Metadata {
    /// Knows nothing and asks for the brokers at once.
    pub fn new(config: MetadataConfig) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, config.seed);
        let mut metadata = Self {
            config,
            cluster: Arc::default(),
            wanted: BTreeMap::new(),
            asked: Vec::new(),
            listing: None,
            again: false,
            next_refresh: None,
            backoff,
            next_id: 0,
            requests: Vec::new(),
            changed: false,
            closed: false,
        };
        metadata.ask();
        metadata
    }

    /// Keeps `topics` fresh from now on, as long as somebody holds `interest`. Those not known yet are asked for at once.
    pub fn want(&mut self, topics: impl IntoIterator<Item = Arc<str>>, interest: &Interest, auto_create: bool) {
        let mut missing = false;
        for topic in topics {
            let is_missing = !self.cluster.topics.contains_key(&topic);
            let wanted = self.wanted.entry(topic).or_default();
            wanted.add(interest, auto_create);
            if is_missing {
                wanted.unknown_since = None; // perhaps it has just been made, and not every broker knows
            }
            missing |= is_missing;
        }
        if missing {
            self.refresh_now();
        }
    }

    /// Finds out what all topics are called, now and every `metadata.max.age.ms`, see [`Cluster::listed`].
    pub fn list_all(&mut self) {
        if self.listing.is_none() {
            self.listing = Some(Listing::Due);
            self.refresh_now();
        }
    }

    /// What was seen under `generation` was wrong. If there has been an answer since, that may be right.
    pub fn invalidate(&mut self, now: Instant, generation: u64) {
        if generation < self.cluster.generation {
            return;
        }
        if self.backoff.tries() == 0 {
            self.backoff.next_wait(); // the first try is at once, those after it wait
            self.refresh_now();
        } else if self.asked.is_empty() {
            let at = now + self.config.retry_backoff;
            self.next_refresh = Some(self.next_refresh.map_or(at, |next| next.min(at)));
        }
    }

    /// The current picture.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn listing_at(&self) -> Option<Instant> {
        match self.listing {
            Some(Listing::Fresh(until)) => Some(until),
            _ => None,
        }
    }

    fn refresh_now(&mut self) {
        if self.asked.is_empty() {
            self.ask();
        } else {
            self.again = true;
        }
    }

    /// Topics that may be created and those that may not go in requests of their own: the flag is the request's.
    fn ask(&mut self) {
        self.again = false;
        self.next_refresh = None;
        self.wanted.retain(|_, wanted| wanted.is_wanted());
        let missing = |name: &Arc<str>| !self.cluster.topics.contains_key(name);
        let (create, keep): (Vec<_>, Vec<_>) =
            self.wanted.iter().partition(|(name, wanted)| missing(name) && wanted.auto_create());
        let names = |topics: Vec<(&Arc<str>, &Wanted)>| topics.into_iter().map(|(name, _)| name.clone()).collect();
        let (create, keep): (Vec<_>, Vec<_>) = (names(create), names(keep));
        if !keep.is_empty() || create.is_empty() {
            self.push(keep, false);
        }
        if !create.is_empty() {
            self.push(create, true);
        }
        if matches!(self.listing, Some(Listing::Due)) {
            let id = self.send(MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false));
            self.listing = Some(Listing::Asked(id));
        }
    }

    fn push(&mut self, topics: Vec<Arc<str>>, create: bool) {
        let named = |name: Arc<str>| {
            let name = TopicName(StrBytes::from_string(name.as_ref().to_owned()));
            MetadataRequestTopic::default().with_name(Some(name))
        };
        let request = MetadataRequest::default()
            .with_topics(Some(topics.into_iter().map(named).collect()))
            .with_allow_auto_topic_creation(create);
        self.send(request);
    }

    fn send(&mut self, request: MetadataRequest) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.asked.push(id);
        self.requests.push((id, request));
        id
    }

    /// How long to wait at least before asking again; `None` if there is nothing to ask again.
    fn on_listing(&mut self, now: Instant, response: &Result<MetadataResponse>) -> Option<Duration> {
        // A broker that knows no brokers yet knows no topics either.
        let Some(response) = response.as_ref().ok().filter(|response| !response.brokers.is_empty()) else {
            self.listing = Some(Listing::Due);
            return Some(Duration::ZERO);
        };
        self.listing = Some(Listing::Fresh(now + self.config.max_age));
        let is_there = |topic: &&MetadataResponseTopic| {
            matches!(ErrorCode::from_wire(topic.error_code), None | Some(ErrorCode::LeaderNotAvailable))
        };
        let named = |topic: &MetadataResponseTopic| Some((Arc::from(topic.name.as_ref()?.as_str()), topic.is_internal));
        let mut cluster = Cluster { failure: None, ..Cluster::clone(&self.cluster) };
        cluster.generation += 1;
        cluster.listed = Some(Arc::new(response.topics.iter().filter(is_there).filter_map(named).collect()));
        self.cluster = Arc::new(cluster);
        self.changed = true;
        None
    }

    fn on_refused(&mut self, error: Error) {
        let cluster = Arc::make_mut(&mut self.cluster);
        cluster.refusals = (cluster.refusals.0 + 1, Some(error));
        self.changed = true;
    }

    /// As for a listing.
    fn on_answer(&mut self, now: Instant, response: MetadataResponse) -> Option<Duration> {
        let mut cluster = Cluster { failure: None, ..Cluster::clone(&self.cluster) };
        cluster.generation += 1;
        cluster.cluster_id = response.cluster_id.map(|id| id.to_string()).or(cluster.cluster_id);
        cluster.controller = (response.controller_id.0 >= 0).then_some(NodeId(response.controller_id.0));
        // An answer without brokers says nothing: a broker that has just started may not know its cluster yet.
        if !response.brokers.is_empty() {
            cluster.nodes = response.brokers.into_iter().filter_map(node).collect();
        }
        let mut again = None;
        for topic in response.topics {
            again = merge(&mut cluster, &mut self.wanted, now, topic).into_iter().chain(again).min();
        }
        cluster.topics.retain(|name, _| self.wanted.contains_key(name));
        cluster.errors.retain(|name, _| self.wanted.contains_key(name));
        self.cluster = Arc::new(cluster);
        self.changed = true;
        again.map(|again| again.min(self.config.max_age))
    }
}

/// Takes one topic of an answer in; how long to wait at least before asking again, if there is anything left to ask. One that
/// nobody has heard of for long is asked for seldom: it is noticed when it has been missing for a tenth longer.
fn merge(
    cluster: &mut Cluster,
    wanted: &mut BTreeMap<Arc<str>, Wanted>,
    now: Instant,
    topic: MetadataResponseTopic,
) -> Option<Duration> {
    let name = topic.name.as_ref()?;
    let (name, wanted) = wanted.iter_mut().find(|(wanted, _)| ***wanted == *name.as_str())?;
    let name = name.clone();
    match ErrorCode::from_wire(topic.error_code) {
        None | Some(ErrorCode::LeaderNotAvailable) if !topic.partitions.is_empty() => {
            let was_gone = wanted.unknown_since.take().is_some();
            cluster.errors.remove(&name);
            // Without ids nothing else tells that it was made anew, and counts its epochs from zero.
            let known = cluster.topics.get(&name).filter(|known| !(was_gone && known.id.is_zero())).cloned();
            let merged = merge_topic(&name, known.as_deref(), &topic);
            let has_leaders = merged.partitions.iter().all(|partition| partition.leader.is_some());
            cluster.topics.insert(name, Arc::new(merged));
            (!has_leaders).then_some(Duration::ZERO)
        }
        error => {
            let error = error.unwrap_or(ErrorCode::LeaderNotAvailable);
            let mut again = Duration::ZERO;
            if matches!(error, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) {
                let since = *wanted.unknown_since.get_or_insert(now);
                again = now.saturating_duration_since(since) / 10;
                if now.saturating_duration_since(since) >= PROPAGATION {
                    cluster.topics.remove(&name);
                    // It was listed while it was there.
                    if let Some(listed) = cluster.listed.as_mut().filter(|listed| listed.contains_key(&name)) {
                        Arc::make_mut(listed).remove(&name);
                    }
                }
            } else if !error.is_retriable() {
                cluster.topics.remove(&name);
            }
            cluster.errors.insert(name, error);
            error.is_retriable().then_some(again)
        }
    }
}

fn merge_topic(name: &Arc<str>, known: Option<&TopicMetadata>, topic: &MetadataResponseTopic) -> TopicMetadata {
    let id = TopicId(*topic.topic_id.as_bytes());
    let known = known.filter(|known| known.id == id);
    let mut partitions = vec![PartitionMetadata::default(); topic.partitions.len()];
    for answered in &topic.partitions {
        let Ok(number) = usize::try_from(answered.partition_index) else { continue };
        let Some(partition) = partitions.get_mut(number) else { continue };
        *partition = convert(answered);
        let old = known.and_then(|known| known.partitions.get(number));
        if let Some(old) = old
            && let (Some(old_epoch), Some(new_epoch)) = (old.leader_epoch, partition.leader_epoch)
            && new_epoch < old_epoch
        {
            partition.clone_from(old); // a broker that is behind
        }
    }
    TopicMetadata { name: name.clone(), id, internal: topic.is_internal, partitions }
}

fn convert(partition: &MetadataResponsePartition) -> PartitionMetadata {
    let nodes = |ids: &[crate::wire::messages::BrokerId]| ids.iter().map(|id| NodeId(id.0)).collect();
    PartitionMetadata {
        leader: (partition.leader_id.0 >= 0).then_some(NodeId(partition.leader_id.0)),
        leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
        replicas: nodes(&partition.replica_nodes),
        isr: nodes(&partition.isr_nodes),
        offline: nodes(&partition.offline_replicas),
    }
}

fn node(broker: crate::wire::messages::metadata_response::MetadataResponseBroker) -> Option<(NodeId, Node)> {
    let port = u16::try_from(broker.port).ok()?;
    let node = Node { host: broker.host.to_string(), port, rack: broker.rack.map(|rack| rack.to_string()) };
    Some((NodeId(broker.node_id.0), node))
}

impl Machine for Metadata {
    type Request = MetadataRequest;
    type Response = MetadataResponse;
    type Event = Arc<Cluster>;

    fn handle_response(&mut self, now: Instant, id: RequestId, response: Result<MetadataResponse, Error>) {
        let Some(at) = self.asked.iter().position(|asked| *asked == id) else { return };
        self.asked.swap_remove(at);
        if let Err(error) = &response {
            Arc::make_mut(&mut self.cluster).failure = Some(error.clone());
            self.changed = true;
        }
        let refused = response.as_ref().err().filter(|error| error.is_fatal()).cloned();
        let refused = refused.map(|error| self.on_refused(error)).is_some();
        let again = match self.listing {
            Some(Listing::Asked(listing)) if listing == id => self.on_listing(now, &response),
            _ => response.map_or(Some(Duration::ZERO), |response| self.on_answer(now, response)),
        };
        let again = again.map(|least| if refused { least.max(REFUSED) } else { least });
        if self.asked.is_empty() && self.again {
            self.ask();
        } else if let Some(least) = again {
            let at = now + self.backoff.next_wait().max(least);
            self.next_refresh = Some(self.next_refresh.map_or(at, |next| next.min(at)));
        } else if self.asked.is_empty() && self.next_refresh.is_none() {
            self.backoff.reset();
            self.next_refresh = Some(now + self.config.max_age);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.listing_at().is_some_and(|at| at <= now) {
            self.listing = Some(Listing::Due);
            self.refresh_now();
        }
        if self.asked.is_empty() && self.next_refresh.is_some_and(|at| at <= now) {
            self.ask();
        }
    }

    fn handle_abandoned(&mut self, _now: Instant) {
        self.closed = true;
    }

    fn poll_request(&mut self) -> Option<(RequestId, MetadataRequest)> {
        self.requests.pop()
    }

    fn poll_event(&mut self) -> Option<Arc<Cluster>> {
        std::mem::take(&mut self.changed).then(|| self.cluster.clone())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next_refresh.filter(|_| self.asked.is_empty()).into_iter().chain(self.listing_at()).min()
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
