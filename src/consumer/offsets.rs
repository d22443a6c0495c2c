//! ListOffsets: where logs begin and end, and where a time is in them. Asked of the leaders, together; a leader that
//! has moved is looked for again, within one deadline for it all.

use super::Consumer;
use crate::client::Client;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{LeaderEpoch, NodeId, TopicPartition};
use crate::machine::subscription::OffsetSpec;
use crate::net::brokers::Purpose;
use crate::wire::StrBytes;
use crate::wire::api_versions::BrokerVersions;
use crate::wire::fetch::IsolationLevel;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName};
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Where a time is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The offset of the first record with that time or a later one.
    pub offset: i64,
    /// That record's timestamp, in milliseconds since 1970; -1 where only a place was asked for.
    pub timestamp: i64,
    /// The epoch of the leader that stored it, if the broker says.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Consumer {
    /// The offset of the oldest record of each partition. They need not be assigned.
    ///
    /// # Errors
    /// What went wrong with the partition that can't be answered, at the latest after `default.api.timeout.ms`. Dropping
    /// the future changes nothing.
    pub async fn beginning_offsets(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, i64>> {
        self.places(partitions, OffsetSpec::Earliest).await
    }

    /// The end of each partition: the high watermark, or for read-committed the last stable offset.
    ///
    /// # Errors
    /// As [`beginning_offsets`](Self::beginning_offsets).
    pub async fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, i64>> {
        self.places(partitions, OffsetSpec::Latest).await
    }

    /// For each partition the first record whose timestamp (milliseconds since 1970) is at least the one given; `None`
    /// if there is none. Timestamps need not be in order in a log: records behind that one may be older.
    ///
    /// # Errors
    /// `InvalidArgument` for a negative time; else as [`beginning_offsets`](Self::beginning_offsets).
    pub async fn offsets_for_times(
        &self,
        times: HashMap<TopicPartition, i64>,
    ) -> Result<HashMap<TopicPartition, Option<OffsetAndTimestamp>>> {
        self.list_offsets(times.into_iter().map(|(name, time)| (name, OffsetSpec::Timestamp(time))).collect()).await
    }

    /// Where these places are in their logs; `None` if there is no such record. For read-committed the end is the last
    /// stable offset.
    ///
    /// # Errors
    /// `InvalidArgument` for a negative time, `UnsupportedVersion` for a place that a broker doesn't know yet; else as
    /// [`beginning_offsets`](Self::beginning_offsets).
    pub async fn list_offsets(
        &self,
        places: HashMap<TopicPartition, OffsetSpec>,
    ) -> Result<HashMap<TopicPartition, Option<OffsetAndTimestamp>>> {
        let is_negative = |spec: &OffsetSpec| matches!(spec, OffsetSpec::Timestamp(time) if *time < 0);
        if let Some((name, _)) = places.iter().find(|(_, spec)| is_negative(spec)) {
            let error = Error::with_message(ErrorKind::InvalidArgument, "a time to look up is not negative");
            return Err(error.partition(name.clone()));
        }
        let client = &self.shared.client;
        look_up(client, self.shared.config.isolation_level, places.into_iter().collect(), client.api_deadline()).await
    }

    async fn places(&self, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<HashMap<TopicPartition, i64>> {
        let found = self.list_offsets(partitions.iter().map(|name| (name.clone(), spec)).collect()).await?;
        let place = |(name, at): (TopicPartition, Option<OffsetAndTimestamp>)| match at {
            Some(at) => Ok((name, at.offset)),
            None => Err(Error::with_message(ErrorKind::Malformed, "no offset where there is always one")
                .api("ListOffsets")
                .partition(name)),
        };
        found.into_iter().map(place).collect()
    }
}

/// Looks all of these up, whoever leads them and however often that changes, until the deadline.
pub(crate) async fn look_up(
    client: &Client,
    isolation: IsolationLevel,
    mut wanted: Vec<(TopicPartition, OffsetSpec)>,
    deadline: Instant,
) -> Result<HashMap<TopicPartition, Option<OffsetAndTimestamp>>> {
    let mut found = HashMap::with_capacity(wanted.len());
    let mut backoff = client.backoff();
    let mut failure: Option<Error> = None;
    client.want_topics(wanted.iter().map(|(name, _)| name.topic.clone()), false);
    loop {
        let cluster = client.cluster();
        let mut by_leader: BTreeMap<NodeId, Vec<Lookup>> = BTreeMap::new();
        let mut left = Vec::new();
        for (name, spec) in wanted {
            if let Some(code) = cluster.errors.get(&name.topic).filter(|code| !code.is_retriable()) {
                return Err(Error::broker(*code).api("Metadata").topic(name.topic.clone()));
            }
            let partition = cluster.partition(&name.topic, name.partition);
            match partition.and_then(|partition| Some((partition.leader?, partition.leader_epoch))) {
                Some((leader, leader_epoch)) => {
                    by_leader.entry(leader).or_default().push(Lookup { name, leader_epoch, spec });
                }
                None => left.push((name, spec)),
            }
        }
        let ask = |(leader, lookups): (NodeId, Vec<Lookup>)| async move {
            let answer = ask_leader(client, leader, isolation, &lookups, deadline).await;
            (lookups, answer)
        };
        for (lookups, answers) in join_all(by_leader.into_iter().map(ask)).await {
            let answers = match answers {
                Ok(answers) => answers,
                Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
            };
            for (lookup, answer) in lookups.into_iter().zip(answers) {
                match answer {
                    Ok(at) => drop(found.insert(lookup.name, at)),
                    Err(error) if error.is_retriable() || error.code().is_some_and(stale) => {
                        failure = Some(error.partition(lookup.name.clone()));
                        left.push((lookup.name, lookup.spec));
                    }
                    Err(error) => return Err(error.partition(lookup.name)),
                }
            }
        }
        let Some((unanswered, _)) = left.first() else { return Ok(found) };
        let unanswered = unanswered.clone();
        wanted = left;
        let wait = if backoff.tries() == 0 { std::time::Duration::ZERO } else { backoff.next_wait() };
        let late = client.now() + wait >= deadline;
        if !late {
            client.sleep(wait).await;
        }
        if late || client.refreshed(cluster.generation, deadline).await.is_err() {
            let missing = || Error::with_message(ErrorKind::Timeout, "it has no leader").partition(unanswered);
            return Err(failure.unwrap_or_else(missing));
        }
        if backoff.tries() == 0 {
            let _ = backoff.next_wait(); // the first refresh is for free
        }
    }
}

/// Whether asking another broker helps, although the code itself is no promise of that.
fn stale(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::BrokerNotAvailable | ErrorCode::UnknownTopicId)
}

/// What to ask about one partition.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) name: TopicPartition,
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) spec: OffsetSpec,
}

/// Asks one leader, once; the answers are in the order of the questions. `None`: there is no such record.
pub(super) async fn ask_leader(
    client: &Client,
    leader: NodeId,
    isolation: IsolationLevel,
    lookups: &[Lookup],
    deadline: Instant,
) -> Result<Vec<Result<Option<OffsetAndTimestamp>>>> {
    let connection = client.connection(leader, Purpose::General, deadline).await?;
    let version = version(connection.versions(), lookups).map_err(|error| connection.place(error))?;
    let request = request(version, isolation, lookups);
    let response = connection.call(&request, version, client.call_timeout(deadline)).await?;
    let place = |error: Error| connection.place(error.api("ListOffsets"));
    Ok(answers(&response, lookups).into_iter().map(|answer| answer.map_err(place)).collect())
}

/// One that knows all of them: an older one would take a place for a time.
fn version(versions: &BrokerVersions, lookups: &[Lookup]) -> Result<i16> {
    let least = lookups.iter().map(|lookup| lookup.spec.first_version()).max().unwrap_or(1);
    versions.pick_in::<ListOffsetsRequest>(least..=i16::MAX)
}

fn request(version: i16, isolation: IsolationLevel, lookups: &[Lookup]) -> ListOffsetsRequest {
    let mut by_topic: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for Lookup { name, leader_epoch, spec } in lookups {
        let mut partition = ListOffsetsPartition::default().with_partition_index(name.partition);
        partition.timestamp = spec.to_wire();
        partition.current_leader_epoch = if version >= 4 { LeaderEpoch::to_wire(*leader_epoch) } else { -1 };
        by_topic.entry(&name.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, Vec<ListOffsetsPartition>)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    };
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(if version >= 2 { isolation.to_wire() } else { 0 })
        .with_topics(by_topic.into_iter().map(topic).collect())
}

fn answers(response: &ListOffsetsResponse, lookups: &[Lookup]) -> Vec<Result<Option<OffsetAndTimestamp>>> {
    let partitions: HashMap<(&str, i32), _> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.name.0.as_str(), p.partition_index), p)))
        .collect();
    let answer = |lookup: &Lookup| {
        let Some(partition) = partitions.get(&(&*lookup.name.topic, lookup.name.partition)) else {
            return Err(Error::with_message(ErrorKind::Malformed, "the answer says nothing of the partition"));
        };
        if let Some(code) = ErrorCode::from_wire(partition.error_code) {
            return Err(Error::broker(code));
        }
        Ok((partition.offset >= 0).then_some(OffsetAndTimestamp {
            offset: partition.offset,
            timestamp: partition.timestamp,
            leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
        }))
    };
    lookups.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::ApiVersionsResponse;
    use crate::wire::messages::api_versions_response::ApiVersion;

    #[test]
    fn a_place_that_the_broker_does_not_know_yet_is_an_error_and_no_guess() {
        for (spec, timestamp, first) in [
            (OffsetSpec::Timestamp(5), 5, 1),
            (OffsetSpec::Latest, -1, 1),
            (OffsetSpec::Earliest, -2, 1),
            (OffsetSpec::MaxTimestamp, -3, 7),
            (OffsetSpec::EarliestLocal, -4, 8),
            (OffsetSpec::LatestTiered, -5, 9),
        ] {
            let lookup = Lookup { name: TopicPartition::new("t", 0), leader_epoch: None, spec };
            for max in 1..=9 {
                let api = ApiVersion::default().with_api_key(2).with_min_version(1).with_max_version(max);
                let versions = BrokerVersions::new(&ApiVersionsResponse::default().with_api_keys(vec![api]));
                match version(&versions, std::slice::from_ref(&lookup)) {
                    Ok(version) => assert_eq!((version, max >= first), (max, true), "{spec:?}"),
                    Err(error) => assert_eq!((error.kind(), max < first), (ErrorKind::UnsupportedVersion, true)),
                }
            }
            let request = request(first, IsolationLevel::ReadUncommitted, &[lookup]);
            assert_eq!(request.topics[0].partitions[0].timestamp, timestamp, "{spec:?}");
        }
    }
}
