//! Where groups stand, and moving them.

use super::ask::Doing;
use super::partitions::{by_partition, by_topic};
use super::places::{AtCoordinatorOf, AtCoordinators};
use super::{Admin, Outcomes, each_once, outcome, text};
use crate::error::{Error, Result};
use crate::ids::{LeaderEpoch, OffsetAndMetadata, TopicPartition};
use crate::wire::group_protocol::str_bytes;
use crate::wire::group_requests::{fit_offset_fetch, lift_offset_fetch};
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
use crate::wire::messages::{GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Where a group stands in one partition.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupOffset {
    /// What it has committed: the next record to read.
    pub committed: OffsetAndMetadata,
    /// The end of the partition; `None` if the partition is gone, has no leader, or has one that can't be reached.
    pub end_offset: Option<i64>,
    /// Why its leader has not told the end: it can't be reached, or does not answer.
    pub end_error: Option<Error>,
}

impl GroupOffset {
    /// How many records are left to read, at most: markers of transactions and compacted records count too. Never negative:
    /// nothing is left where the commit is beyond the end, which `committed` and `end_offset` show, and which says that the topic
    /// was made anew or has lost records (Kafka's own tools subtract, and print -491).
    pub fn lag(&self) -> Option<i64> {
        self.end_offset.map(|end| (end - self.committed.offset).max(0))
    }
}

impl Admin {
    /// What these groups have committed, all of it. A group that does not exist has committed nothing. Offsets that an open
    /// transaction is about to move are waited for (KIP-447). OffsetFetch, one request per coordinator from Kafka 3.0 on
    /// (KIP-709), and one per group before.
    ///
    /// # Errors
    /// Per group: `Denied` (Describe on the group), `UnstableOffsetCommit` if a transaction stays open, or no coordinator in
    /// time. Partitions of topics that we may not describe are left out by the broker.
    pub async fn committed_offsets(
        &self,
        groups: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<BTreeMap<TopicPartition, OffsetAndMetadata>>> {
        let groups = groups.into_iter().map(|group| (group.as_ref().to_owned(), ())).collect();
        self.committed(groups, self.deadline()).await
    }

    /// Where a group stands: everything that it has committed, with the ends of the partitions. Offsets that an open
    /// transaction is about to move are waited for.
    ///
    /// # Errors
    /// No coordinator in time, `UnstableOffsetCommit` if the transaction stays open, `Denied`.
    pub async fn list_group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
        self.list_offsets_of_groups([group]).await?.remove(group).unwrap_or_else(|| Ok(BTreeMap::new()))
    }

    /// Where these groups stand: what they have committed, with the ends of the partitions.
    ///
    /// # Errors
    /// As [`committed_offsets`](Self::committed_offsets).
    pub async fn list_offsets_of_groups(
        &self,
        groups: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<BTreeMap<TopicPartition, GroupOffset>>> {
        let groups = groups.into_iter().map(|group| (group.as_ref().to_owned(), ())).collect();
        let deadline = self.deadline();
        let groups = self.committed(groups, deadline).await?;
        let partitions: BTreeSet<_> =
            groups.values().flatten().flat_map(|committed| committed.keys()).cloned().collect();
        let ends = self.ends(partitions, deadline).await?;
        let with_end = |(partition, committed): (TopicPartition, OffsetAndMetadata)| {
            let (end_offset, end_error) = match ends.get(&partition).cloned().transpose() {
                Ok(end) => (end.flatten(), None),
                Err(error) if error.code().is_none() => (None, Some(error)),
                Err(error) => return Err(error),
            };
            Ok((partition, GroupOffset { committed, end_offset, end_error }))
        };
        let groups = groups.into_iter().map(|(group, committed)| {
            (group, committed.and_then(|committed| committed.into_iter().map(with_end).collect()))
        });
        Ok(groups.collect())
    }

    /// Moves a group: commits these offsets for it. The group must have no members, which would not notice. OffsetCommit.
    ///
    /// # Errors
    /// Per partition: `UnknownMemberId` if the group has members, `UnknownTopicOrPartition`, `OffsetMetadataTooLarge`,
    /// `Denied` (Read on the topic). For all: `Denied` (Read on the group), or no coordinator in time.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<Outcomes<(), TopicPartition>> {
        self.commit(group, each_once(offsets)?, self.deadline()).await
    }

    /// As [`alter_group_offsets`](Self::alter_group_offsets), for those who want all or an error; there may be some all the same.
    ///
    /// # Errors
    /// The first one.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        self.alter_group_offsets(group, offsets).await?.into_values().collect()
    }

    /// Has a group forget what it has committed in these partitions. What it has not committed is forgotten already.
    /// OffsetDelete (KIP-496, brokers from 2.4).
    ///
    /// # Errors
    /// Per partition: `GroupSubscribedToTopic` if a member reads the topic, `UnknownTopicOrPartition`, `Denied` (Read on the
    /// topic). For all: `GroupIdNotFound`, `NonEmptyGroup` if its members are no consumers, `Denied` (Delete on the group).
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Outcomes<(), TopicPartition>> {
        let partitions = partitions.into_iter().map(|partition| (partition, ())).collect();
        let ask = self.ask(AtCoordinatorOf(group), partitions).doing(Doing::Repeatable);
        ask.send(
            |partitions, _| {
                let one = |number, ()| OffsetDeleteRequestPartition::default().with_partition_index(number);
                let topics = by_topic(partitions.iter().map(|(partition, ())| (*partition, ())), one);
                let topics = topics.map(|(topic, partitions)| {
                    OffsetDeleteRequestTopic::default().with_name(topic).with_partitions(partitions)
                });
                let request = OffsetDeleteRequest::default().with_group_id(GroupId(str_bytes(group)));
                request.with_topics(topics.collect())
            },
            |answer, _| {
                outcome(answer.error_code, None, None)?;
                let topics = answer.topics.into_iter().map(|topic| (topic.name, topic.partitions));
                Ok(by_partition(topics, |at, one| told(one.error_code, at), |one| one.partition_index))
            },
        )
        .await
    }

    pub(super) async fn committed(
        &self,
        groups: BTreeMap<String, ()>,
        deadline: Instant,
    ) -> Result<Outcomes<BTreeMap<TopicPartition, OffsetAndMetadata>>> {
        let ask = self.ask(AtCoordinators::OfGroups, groups).until(deadline);
        let ask = ask.most(|version| if version < 8 { 1 } else { usize::MAX });
        ask.send(
            |groups, way| {
                let groups = groups.iter().map(|(group, ())| {
                    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(str_bytes(group)));
                    group.with_member_epoch(-1).with_topics(None) // all
                });
                let request = OffsetFetchRequest::default().with_groups(groups.collect()).with_require_stable(true);
                fit_offset_fetch(request, way.version)
            },
            |answer, way| {
                let groups = lift_offset_fetch(answer, way.version).groups.into_iter().map(|group| {
                    let id = match way.keys {
                        [only] => only.clone(), // before v8 the answer doesn't say
                        _ => text(&group.group_id),
                    };
                    (id, offsets_of(group))
                });
                Ok(groups.collect())
            },
        )
        .await
    }

    pub(super) async fn commit(
        &self,
        group: &str,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        deadline: Instant,
    ) -> Result<Outcomes<(), TopicPartition>> {
        let ask = self.ask(AtCoordinatorOf(group), offsets).doing(Doing::Repeatable).until(deadline);
        ask.send(
            |offsets, way| {
                let one = |number, offset: &OffsetAndMetadata| {
                    let leader_epoch = offset.leader_epoch.filter(|_| way.version >= 6);
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(number)
                        .with_committed_offset(offset.offset)
                        .with_committed_leader_epoch(LeaderEpoch::to_wire(leader_epoch))
                        .with_committed_metadata(Some(str_bytes(&offset.metadata)))
                };
                let topics = by_topic(offsets.iter().copied(), one).map(|(topic, partitions)| {
                    OffsetCommitRequestTopic::default().with_name(topic).with_partitions(partitions)
                });
                OffsetCommitRequest::default()
                    .with_group_id(GroupId(str_bytes(group)))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(topics.collect())
            },
            |answer, _| {
                let topics = answer.topics.into_iter().map(|topic| (topic.name, topic.partitions));
                Ok(by_partition(topics, |at, one| told(one.error_code, at), |one| one.partition_index))
            },
        )
        .await
    }
}

fn told(code: i16, at: &TopicPartition) -> Result<()> {
    outcome(code, None, None).map_err(|error| error.partition(at.clone()))
}

fn offsets_of(group: OffsetFetchResponseGroup) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    outcome(group.error_code, None, None)?;
    let mut committed = BTreeMap::new();
    for topic in group.topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in topic.partitions {
            let at = TopicPartition::new(name.clone(), partition.partition_index);
            told(partition.error_code, &at)?;
            if partition.committed_offset >= 0 {
                let offset = OffsetAndMetadata {
                    offset: partition.committed_offset,
                    leader_epoch: LeaderEpoch::from_wire(partition.committed_leader_epoch),
                    metadata: partition.metadata.as_ref().map_or(String::new(), text),
                };
                committed.insert(at, offset);
            }
        }
    }
    Ok(committed)
}
