//! Places in logs, and where logs begin.

use super::ask::{Asked, Doing};
use super::partitions::{by_partition, by_topic};
use super::places::AtLeaders;
use super::{Admin, IsolationLevel, OffsetAndTimestamp, OffsetSpec, Outcomes, each_once, outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::TopicPartition;
use crate::wire::list_offsets::{Lookup, list_offsets_request, listed_offsets};
use crate::wire::messages::DeleteRecordsRequest;
use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

impl Admin {
    /// Where these places are in their logs; `None` if there is no such record. With `ReadCommitted`, the end is the last
    /// stable offset. ListOffsets, one request per leader.
    ///
    /// # Errors
    /// Per partition: `UnknownTopicOrPartition`, `Denied` (Describe on the topic), `UnsupportedVersion` for a place that its
    /// leader doesn't know yet, no leader in time, or why it can't be reached. For all: `InvalidArgument` for a negative time, or
    /// what no broker has answered.
    pub async fn list_offsets(
        &self,
        places: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation: IsolationLevel,
    ) -> Result<Outcomes<Option<OffsetAndTimestamp>, TopicPartition>> {
        let places = each_once(places)?;
        let is_negative = |spec: &OffsetSpec| matches!(spec, OffsetSpec::Timestamp(time) if *time < 0);
        if let Some((partition, _)) = places.iter().find(|(_, spec)| is_negative(spec)) {
            let error = Error::with_message(ErrorKind::InvalidArgument, "a time to look up is not negative");
            return Err(error.partition(partition.clone()));
        }
        self.places(places, isolation, self.deadline()).await?.into_outcomes()
    }

    /// Where these partitions end: the offset of the next record to be written. A partition that does not exist, or has
    /// no leader until the time is up, is not in the answer.
    ///
    /// # Errors
    /// `Denied`, no broker answers in time, or a partition's leader can't be reached: `Connection` or `Timeout`, with its address.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<HashMap<TopicPartition, i64>> {
        let ends = self.ends(partitions, self.deadline()).await?.into_iter();
        ends.filter_map(|(partition, end)| Some((partition, end.transpose()?)))
            .map(|(at, end)| Ok((at, end?)))
            .collect()
    }

    /// Deletes the records before an offset of each partition; -1 deletes all that are below the high watermark. Gives where
    /// the logs begin now. There is no way back. DeleteRecords (KIP-107), one request per leader.
    ///
    /// # Errors
    /// Per partition: `OffsetOutOfRange` for an offset behind the end, `PolicyViolation` for a topic that is only compacted,
    /// `UnknownTopicOrPartition`, `Denied` (Delete on the topic), or no leader in time.
    pub async fn delete_records(
        &self,
        before: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<Outcomes<i64, TopicPartition>> {
        let before: BTreeMap<_, i64> = each_once(before)?;
        // The high watermark is wherever it is by then: a second time more would go.
        let doing = if before.values().any(|offset| *offset < 0) { Doing::Change } else { Doing::Repeatable };
        let ask = self.ask(AtLeaders, before).doing(doing);
        ask.send(
            |partitions, way| {
                let one = |number, offset: &i64| {
                    DeleteRecordsPartition::default().with_partition_index(number).with_offset(*offset)
                };
                let topics = by_topic(partitions.iter().copied(), one).map(|(topic, partitions)| {
                    DeleteRecordsTopic::default().with_name(topic).with_partitions(partitions)
                });
                DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(way.timeout_ms)
            },
            |answer, _| {
                let topics = answer.topics.into_iter().map(|topic| (topic.name, topic.partitions));
                let one = |at: &TopicPartition, one: crate::wire::messages::delete_records_response::DeleteRecordsPartitionResult| {
                    let told = outcome(one.error_code, None, None).map_err(|error| error.partition(at.clone()));
                    told.map(|()| one.low_watermark)
                };
                Ok(by_partition(topics, one, |one| one.partition_index))
            },
        )
        .await
    }

    /// Where partitions end; `None` of one that is gone, or has no leader until the deadline. An error without a code is of a leader
    /// that did not say.
    pub(super) async fn ends(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, Result<Option<i64>>>> {
        let places = partitions.into_iter().map(|partition| (partition, OffsetSpec::Latest)).collect();
        let asked = self.places(places, IsolationLevel::ReadUncommitted, deadline).await?;
        let reached = asked.answered || asked.outcomes.values().flatten().next().is_some();
        let ends = asked.outcomes.into_iter().map(|(partition, place)| match place {
            Ok(place) => Ok((partition, Ok(place.map(|place| place.offset)))),
            Err(error) if error.code().is_none() && !reached => Err(error),
            Err(error) if error.code().is_some() && error.is_retriable() => Ok((partition, Ok(None))),
            Err(error) => Ok((partition.clone(), Err(error.partition(partition)))),
        });
        ends.collect()
    }

    /// Asks leaders for places.
    pub(super) async fn places(
        &self,
        places: BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
        deadline: Instant,
    ) -> Result<Asked<TopicPartition, Option<OffsetAndTimestamp>>> {
        let lookup = |name: &TopicPartition, spec| Lookup { name: name.clone(), leader_epoch: None, spec };
        let ask = self.ask(AtLeaders, places).least(|spec| spec.first_version()).until(deadline);
        ask.send_for_each(
            |places, way| {
                let lookups: Vec<_> = places.iter().map(|(partition, spec)| lookup(partition, **spec)).collect();
                list_offsets_request(way.version, isolation, &lookups)
            },
            |answer, way| {
                // What was asked of a partition doesn't matter for reading the answer.
                let lookups: Vec<_> = way.keys.iter().map(|name| lookup(name, OffsetSpec::Latest)).collect();
                let told = listed_offsets(&answer, &lookups).into_iter().zip(way.keys);
                Ok(told.map(|(told, at)| (at.clone(), told.map_err(|error| error.partition(at.clone())))).collect())
            },
        )
        .await
    }
}
