//! Reading what the group has committed. Always with `require_stable`: an offset that an open transaction is about to
//! move is waited for, since starting from the one before would read its records twice.

use super::RequestId;
use super::backoff::Backoff;
use super::coordinator::Coordinator;
use super::group::membership::Membership;
use super::group::{GroupCall, GroupConfig, GroupRequest, GroupResponse, Out, Reply, To, mismatched};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{GenerationId, LeaderEpoch, NodeId, OffsetAndMetadata, TopicPartition};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::wire::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// By partition; one without a commit is not in it.
pub type Committed = HashMap<TopicPartition, Result<OffsetAndMetadata>>;

struct Fetch {
    partitions: Vec<TopicPartition>,
    deadline: Instant,
    reply: Reply<Committed>,
    asked: Option<(RequestId, NodeId)>,
    /// The coordinator was told who asks.
    as_member: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// Why it is asked again, for when the time is up.
    last_error: Option<Error>,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// The reads under way. They don't wait for each other.
#[derive(Debug)]
pub struct OffsetFetch {
    config: Arc<GroupConfig>,
    fetches: Vec<Fetch>,
    backoff: Backoff,
}

impl OffsetFetch {
    /// Nothing to read yet.
    pub fn new(config: Arc<GroupConfig>, backoff: Backoff) -> Self {
        Self { config, fetches: vec![], backoff }
    }

    /// Whether everything is answered.
    pub fn is_empty(&self) -> bool {
        self.fetches.is_empty()
    }

    /// Reads these, by `deadline`.
    pub fn push(&mut self, partitions: Vec<TopicPartition>, deadline: Instant, reply: Reply<Committed>) {
        let backoff = self.backoff.clone();
        self.fetches.push(Fetch {
            partitions,
            deadline,
            reply,
            asked: None,
            as_member: false,
            not_before: None,
            backoff,
            last_error: None,
        });
    }

    /// Whether this is the answer to one of the requests under way.
    pub fn is_asked(&self, id: RequestId) -> bool {
        self.fetches.iter().any(|fetch| fetch.asked.is_some_and(|asked| asked.0 == id))
    }

    /// Gives up what is out of time.
    pub fn expire(&mut self, now: Instant) {
        for index in (0..self.fetches.len()).rev() {
            if self.fetches[index].deadline <= now {
                let fetch = self.fetches.remove(index);
                let timeout = Error::new(ErrorKind::Timeout).api("OffsetFetch");
                (fetch.reply)(Err(match fetch.last_error {
                    Some(cause) => timeout.message("no stable offsets in time").caused_by(cause),
                    None => timeout,
                }));
            }
        }
    }

    /// Everything that waits fails with this.
    pub fn fail_all(&mut self, error: &Error) {
        self.fetches.drain(..).for_each(|fetch| (fetch.reply)(Err(error.clone())));
    }

    /// Sends what is due.
    pub fn send(&mut self, now: Instant, node: Option<NodeId>, membership: &dyn Membership, out: &mut Out) {
        let Some(node) = node else { return };
        for fetch in &mut self.fetches {
            if fetch.asked.is_some_and(|(_, asked)| asked != node) {
                fetch.asked = None;
            }
            if fetch.asked.is_some() || fetch.not_before.is_some_and(|at| now < at) {
                continue;
            }
            fetch.not_before = None;
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for partition in &fetch.partitions {
                topics.entry(&partition.topic).or_default().push(partition.partition);
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                OffsetFetchRequestTopics::default()
                    .with_name(TopicName(str_bytes(topic)))
                    .with_partition_indexes(partitions)
            });
            let (epoch, member_id) = membership.reads_as().unzip();
            fetch.as_member = member_id.is_some();
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(str_bytes(&self.config.group_id)))
                .with_member_id(member_id.as_deref().map(str_bytes))
                .with_member_epoch(epoch.unwrap_or(GenerationId::NONE).0)
                .with_topics(Some(topics.collect()));
            let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
            let request = GroupRequest::OffsetFetch(request);
            let id = out.ask(GroupCall { to: To::Group(node), timeout: self.config.request_timeout, request });
            fetch.asked = Some((id, node));
        }
    }

    /// The answer, or why there is none.
    pub fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<GroupResponse>,
        coordinator: &mut Coordinator,
        membership: &mut dyn Membership,
    ) {
        let is_asked = |fetch: &Fetch| fetch.asked.is_some_and(|asked| asked.0 == id);
        let Some(index) = self.fetches.iter().position(is_asked) else { return };
        let fetch = &mut self.fetches[index];
        let node = fetch.asked.take().map(|asked| asked.1);
        let outcome = match answer {
            Ok(GroupResponse::OffsetFetch(answer)) => committed(&fetch.partitions, answer),
            Ok(_) => Err(mismatched()),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.is_retriable() => {
                if error.code().is_none_or(ErrorCode::moves_coordinator)
                    && let Some(node) = node
                {
                    coordinator.lost(now, node);
                }
                fetch.not_before = Some(now + fetch.backoff.next_wait());
                fetch.last_error = Some(error);
            }
            // What we are in the group changes: whoever still wants to know asks as that.
            Err(error) if is_behind(&error) && fetch.as_member => {
                membership.catch_up(now, "a read was answered that the group has a newer epoch");
                fetch.not_before = Some(now + fetch.backoff.next_wait());
                fetch.last_error = Some(error);
            }
            outcome => {
                coordinator.works();
                (self.fetches.swap_remove(index).reply)(outcome.map_err(|error| error.api("OffsetFetch")));
            }
        }
    }

    /// When to look again.
    pub fn poll_timeout(&self, has_node: bool) -> Option<Instant> {
        let retry = |fetch: &Fetch| fetch.not_before.filter(|_| has_node && fetch.asked.is_none());
        self.fetches.iter().flat_map(|fetch| retry(fetch).into_iter().chain([fetch.deadline])).min()
    }
}

/// Whether the coordinator knows another epoch of this member, or not even the member (KIP-848).
fn is_behind(error: &Error) -> bool {
    matches!(error.code(), Some(ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId))
}

/// What the answer says of the partitions asked for, each of which must be in it. What may be better the next time is an error
/// of the whole.
fn committed(asked: &[TopicPartition], answer: OffsetFetchResponse) -> Result<Committed> {
    let malformed = |what: &'static str| Error::with_message(ErrorKind::Malformed, what);
    let group = answer.groups.into_iter().next().ok_or_else(|| malformed("no group in the answer"))?;
    ErrorCode::check(group.error_code).map_err(Error::broker)?;
    let mut answered = HashMap::new();
    for topic in group.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        for partition in topic.partitions {
            answered.insert(TopicPartition::new(name.clone(), partition.partition_index), partition);
        }
    }
    let mut committed = HashMap::new();
    for partition in asked {
        let Some(answer) = answered.remove(partition) else {
            return Err(malformed("a partition is missing in the answer").partition(partition.clone()));
        };
        if let Some(code) = ErrorCode::from_wire(answer.error_code) {
            let error = Error::broker(code).api("OffsetFetch").partition(partition.clone());
            if error.is_retriable() || is_behind(&error) {
                return Err(error);
            }
            committed.insert(partition.clone(), Err(error));
        } else if answer.committed_offset >= 0 {
            let metadata = answer.metadata.map_or(String::new(), |metadata| metadata.to_string());
            let leader_epoch = LeaderEpoch::from_wire(answer.committed_leader_epoch);
            let offset = OffsetAndMetadata { offset: answer.committed_offset, leader_epoch, metadata };
            committed.insert(partition.clone(), Ok(offset));
        }
    }
    Ok(committed)
}
