//! Groups: who is in them, and where they stand.

use super::topics::name;
use super::{Admin, GroupDescription, GroupListing, GroupOffset, MemberDescription, Outcomes, outcome};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{CoordinatorKey, LeaderEpoch, NodeId, OffsetAndMetadata, TopicPartition};
use crate::net::brokers::Purpose;
use crate::wire::group_protocol::{PROTOCOL_TYPE, decode_assignment, str_bytes};
use crate::wire::group_requests::{fit_offset_fetch, lift_offset_fetch};
use crate::wire::messages::describe_groups_response::DescribedGroup;
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::{
    BrokerId, DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, ListGroupsResponse,
    ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

const LATEST: i64 = -1;

impl Admin {
    /// The groups of all brokers, by id.
    ///
    /// # Errors
    /// A broker that does not answer in time: the list would not be whole.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let deadline = self.client.api_deadline();
        let cluster = self.client.refreshed(self.client.cluster().generation, deadline).await?;
        let mut groups = BTreeSet::new();
        for node in cluster.nodes.keys() {
            let answer = self.groups_of(*node, deadline).await;
            let answer = answer.map_err(|error| error.api("ListGroups").node(*node))?;
            groups.extend(answer.groups.into_iter().map(|group| GroupListing {
                group_id: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                group_type: group.group_type.to_string(),
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// These groups and their members. A group that does not exist is `Dead`, or `GroupIdNotFound` from brokers that
    /// say so.
    ///
    /// # Errors
    /// Per group: `GroupIdNotFound`, `Denied`, or no coordinator in time.
    pub async fn describe_groups(
        &self,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<GroupDescription>> {
        let mut outcomes = Outcomes::new();
        for id in ids {
            let id = id.as_ref();
            let request = &DescribeGroupsRequest::default().with_groups(vec![GroupId(str_bytes(id))]);
            let described = self
                .at_coordinator(id, |node, deadline| {
                    Box::pin(async move {
                        let answer = self.client.call_node(node, Purpose::General, request, deadline).await?;
                        let missing = || Error::with_message(ErrorKind::Malformed, "no group in the answer");
                        let mut group = answer.groups.into_iter().next().ok_or_else(missing)?;
                        outcome(group.error_code, group.error_message.take(), None)?;
                        Ok(description(node, group))
                    })
                })
                .await;
            outcomes.insert(id.to_owned(), described.map_err(|error| error.api("DescribeGroups")));
        }
        Ok(outcomes)
    }

    /// Where a group stands: everything that it has committed, with the ends of the partitions. Offsets that an open
    /// transaction is about to move are waited for.
    ///
    /// # Errors
    /// No coordinator in time, `UnstableOffsetCommit` if the transaction stays open, `Denied`.
    pub async fn list_group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
        let committed = self.committed(group).await?;
        let ends = self.end_offsets(committed.keys().cloned().collect::<Vec<_>>()).await?;
        let offsets = committed.into_iter().map(|(partition, committed)| {
            let end_offset = ends.get(&partition).copied();
            (partition, GroupOffset { committed, end_offset })
        });
        Ok(offsets.collect())
    }

    /// Where these partitions end: the offset of the next record to be written. A partition that does not exist, or has
    /// no leader until the time is up, is not in the answer.
    ///
    /// # Errors
    /// `Denied`, or no broker answers in time.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<HashMap<TopicPartition, i64>> {
        let deadline = self.client.api_deadline();
        let mut left: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let mut found = HashMap::new();
        let mut backoff = self.client.backoff();
        while !left.is_empty() {
            let topics: BTreeSet<_> = left.iter().map(|partition| partition.topic.clone()).collect();
            let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
            let described = self.describe_topics(topics).await?;
            left.retain(|partition| {
                let Some(Ok(topic)) = described.get(&*partition.topic) else { return false };
                let Some(described) = topic.partitions.iter().find(|other| other.partition == partition.partition)
                else {
                    return false;
                };
                if let Some(leader) = described.leader {
                    by_leader.entry(leader).or_default().push(partition.clone());
                }
                true
            });
            for (leader, partitions) in by_leader {
                match self.ends_at(leader, &partitions, deadline).await {
                    Ok(ends) => {
                        ends.keys().for_each(|partition| {
                            left.remove(partition);
                        });
                        found.extend(ends);
                    }
                    Err(error) if error.is_retriable() => tracing::debug!(%error, "end offsets not known yet"),
                    Err(error) => return Err(error),
                }
            }
            let wait = backoff.next_wait();
            if left.is_empty() || self.client.now() + wait >= deadline {
                break;
            }
            self.client.sleep(wait).await;
        }
        Ok(found)
    }

    /// Moves a group: commits these offsets for it. The group must have no members, which would not notice.
    ///
    /// # Errors
    /// `UnknownMemberId` if the group has members; no coordinator in time.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        let mut topics: BTreeMap<Arc<str>, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, offset) in offsets {
            topics.entry(partition.topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(partition.partition)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(LeaderEpoch::to_wire(offset.leader_epoch))
                    .with_committed_metadata(Some(str_bytes(&offset.metadata))),
            );
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(name(&topic)).with_partitions(partitions)
        });
        let request = &OffsetCommitRequest::default()
            .with_group_id(GroupId(str_bytes(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics.collect());
        self.at_coordinator(group, |node, deadline| {
            Box::pin(async move {
                let answer = self.client.call_node(node, Purpose::General, request, deadline).await?;
                for topic in answer.topics {
                    for partition in topic.partitions {
                        let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                        outcome(partition.error_code, None, None).map_err(|error| error.partition(at))?;
                    }
                }
                Ok(())
            })
        })
        .await
        .map_err(|error| error.api("OffsetCommit"))
    }

    /// Deletes groups and their offsets.
    ///
    /// # Errors
    /// Per group: `NonEmptyGroup`, `GroupIdNotFound`, `Denied`, or no coordinator in time.
    pub async fn delete_groups(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Outcomes<()>> {
        let mut outcomes = Outcomes::new();
        for id in ids {
            let id = id.as_ref();
            let request = &DeleteGroupsRequest::default().with_groups_names(vec![GroupId(str_bytes(id))]);
            let deleted = self
                .at_coordinator(id, |node, deadline| {
                    Box::pin(async move {
                        let answer = self.client.call_node(node, Purpose::General, request, deadline).await?;
                        answer.results.iter().try_for_each(|result| outcome(result.error_code, None, None))
                    })
                })
                .await;
            outcomes.insert(id.to_owned(), deleted.map_err(|error| error.api("DeleteGroups")));
        }
        Ok(outcomes)
    }

    async fn groups_of(&self, node: NodeId, deadline: Instant) -> Result<ListGroupsResponse> {
        let mut backoff = self.client.backoff();
        loop {
            let answer = self.client.call_node(node, Purpose::General, &ListGroupsRequest::default(), deadline).await;
            match answer.and_then(|answer| outcome(answer.error_code, None, None).map(|()| answer)) {
                Err(error) if error.is_retriable() => self.client.wait_to_retry(&mut backoff, deadline, error).await?,
                done => return done,
            }
        }
    }

    async fn committed(&self, group: &str) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(str_bytes(group)))
            .with_member_epoch(-1)
            .with_topics(None); // all
        let request = &OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
        self.at_coordinator(group, |node, deadline| {
            Box::pin(async move {
                let connection = self.client.connection(node, Purpose::General, deadline).await?;
                let version = connection.versions().pick::<OffsetFetchRequest>()?;
                let request = fit_offset_fetch(request.clone(), version);
                let answer = connection.call(&request, version, self.client.call_timeout(deadline)).await?;
                let mut committed = BTreeMap::new();
                for group in lift_offset_fetch(answer, version).groups {
                    outcome(group.error_code, None, None)?;
                    for topic in group.topics {
                        let name: Arc<str> = Arc::from(topic.name.as_str());
                        for partition in topic.partitions {
                            let at = TopicPartition::new(name.clone(), partition.partition_index);
                            outcome(partition.error_code, None, None).map_err(|error| error.partition(at.clone()))?;
                            if partition.committed_offset >= 0 {
                                let offset = OffsetAndMetadata {
                                    offset: partition.committed_offset,
                                    leader_epoch: LeaderEpoch::from_wire(partition.committed_leader_epoch),
                                    metadata: partition.metadata.map_or(String::new(), |metadata| metadata.to_string()),
                                };
                                committed.insert(at, offset);
                            }
                        }
                    }
                }
                Ok(committed)
            })
        })
        .await
        .map_err(|error| error.api("OffsetFetch"))
    }

    async fn ends_at(
        &self,
        leader: NodeId,
        partitions: &[TopicPartition],
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, i64>> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in partitions {
            topics
                .entry(&partition.topic)
                .or_default()
                .push(ListOffsetsPartition::default().with_partition_index(partition.partition).with_timestamp(LATEST));
        }
        let topics = topics
            .into_iter()
            .map(|(topic, partitions)| ListOffsetsTopic::default().with_name(name(topic)).with_partitions(partitions));
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect());
        let answer = self.client.call_node(leader, Purpose::General, &request, deadline).await?;
        let mut ends = HashMap::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                match ErrorCode::from_wire(partition.error_code) {
                    None => drop(ends.insert(at, partition.offset)),
                    Some(code) if code.is_retriable() => {} // asked again, at the leader of then
                    Some(code) => return Err(Error::broker(code).api("ListOffsets").partition(at)),
                }
            }
        }
        Ok(ends)
    }

    /// Asks the group's coordinator, looked up again as often as the answer is that it has moved or is not ready.
    async fn at_coordinator<'a, T>(
        &'a self,
        group: &'a str,
        ask: impl Fn(NodeId, Instant) -> BoxFuture<'a, Result<T>> + Sync,
    ) -> Result<T> {
        let deadline = self.client.api_deadline();
        let mut backoff = self.client.backoff();
        loop {
            let asked = match self.client.find_coordinator(&CoordinatorKey::Group(group.into()), deadline).await {
                Ok(node) => ask(node, deadline).await,
                Err(error) => Err(error),
            };
            match asked {
                Err(error) if error.is_retriable() => self.client.wait_to_retry(&mut backoff, deadline, error).await?,
                done => return done,
            }
        }
    }
}

fn description(coordinator: NodeId, group: DescribedGroup) -> GroupDescription {
    let is_consumer = group.protocol_type.as_str() == PROTOCOL_TYPE;
    let members = group.members.into_iter().map(|member| MemberDescription {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: match decode_assignment(member.member_assignment) {
            Ok(assignment) if is_consumer => assignment,
            _ => vec![], // another kind of group, in words of its own
        },
    });
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        assignor: group.protocol_data.to_string(),
        coordinator,
        members: members.collect(),
    }
}
