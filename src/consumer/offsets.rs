//! ListOffsets: where logs begin and end, and where a time is in them. Asked of the leaders, together; a leader that
//! has moved is looked for again, within one deadline for it all.

use super::Consumer;
use crate::client::Client;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{NodeId, TopicPartition};
use crate::net::brokers::Purpose;
use crate::wire::fetch::IsolationLevel;
use crate::wire::list_offsets::{
    Lookup, OffsetAndTimestamp, OffsetSpec, list_offsets_request, list_offsets_version, listed_offsets,
};
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

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
    let _wanted = client.want_topics(wanted.iter().map(|(name, _)| name.topic.clone()), false);
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

/// Asks one leader, once; the answers are in the order of the questions. `None`: there is no such record.
pub(super) async fn ask_leader(
    client: &Client,
    leader: NodeId,
    isolation: IsolationLevel,
    lookups: &[Lookup],
    deadline: Instant,
) -> Result<Vec<Result<Option<OffsetAndTimestamp>>>> {
    let connection = client.connection(leader, Purpose::General, deadline).await?;
    let version = list_offsets_version(connection.versions(), lookups).map_err(|error| connection.place(error))?;
    let request = list_offsets_request(version, isolation, lookups);
    let response = connection.call(&request, version, client.call_timeout(deadline)).await?;
    let place = |error: Error| connection.place(error.api("ListOffsets"));
    Ok(listed_offsets(&response, lookups).into_iter().map(|answer| answer.map_err(place)).collect())
}
