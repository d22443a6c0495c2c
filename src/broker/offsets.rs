// OffsetCommit: v2-9. OffsetFetch: v1-9. OffsetDelete: v0.
//! What groups have committed, with its metadata and leader epoch.
//!
//! - OffsetCommit v2-4 can say how long the offset is kept (see `offset_expiry`), v6 adds the leader epoch, v7 the static
//!   member's name, v9 knows members of consumer groups (KIP-848) and `STALE_MEMBER_EPOCH`. Metadata has a limit of 4,096
//!   bytes.
//! - OffsetFetch v2 takes null for all topics and answers errors at the top, v7 can ask to be told of offsets in open
//!   transactions (`UNSTABLE_OFFSET_COMMIT`), v8 takes many groups, v9 names the member of a consumer group that asks.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::coordinator::GROUP;
use super::groups::{Commit, Committed, Group, Identity, Phase};
use super::state::State;
use crate::error::ErrorCode;
use crate::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `offset.metadata.max.bytes`.
pub(super) const MAX_METADATA: usize = 4096;

impl Api for OffsetCommitRequest {
    async fn serve(self, on: Context) -> OffsetCommitResponse {
        let mut state = on.state();
        if let Err(code) = on.may(&state, Operation::Read, Resource::Group(&self.group_id)) {
            return self.refuse(code);
        }
        let identity = Identity {
            member_id: &self.member_id,
            instance_id: self.group_instance_id.as_deref(),
            generation: self.generation_id_or_member_epoch,
        };
        let outcome = on.coordinates(&state, GROUP, &self.group_id).and_then(|()| {
            if identity.generation >= 0 && !state.groups.contains_key(&**self.group_id) {
                let known = on.version >= 9;
                return Err(if known { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration });
            }
            let partitions = self
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|wanted| (&**topic.name, wanted.partition_index)));
            let partitions = state.with_ids(partitions);
            let commit = Commit { version: Some(on.version), partitions: &partitions };
            let group = state.groups.entry((**self.group_id).into()).or_default();
            group.may_commit(on.now(), identity, commit)
        });
        let own = u64::try_from(self.retention_time_ms).ok().filter(|_| on.version < 5);
        let expires = own.map(|millis| on.now() + Duration::from_millis(millis));
        on.shared.deadlines.notify_one();
        committed(&self, |topic, wanted| {
            on.may(&state, Operation::Read, Resource::Topic(topic))?;
            outcome?;
            let mut committed = checked(&state, &on, topic, wanted)?;
            committed.expires = expires;
            let group = state.groups.get_mut(&**self.group_id).ok_or(ErrorCode::UnknownMemberId)?;
            group.offsets.insert((topic.into(), wanted.0), committed);
            Ok(())
        })
    }

    fn refuse(&self, code: ErrorCode) -> OffsetCommitResponse {
        committed(self, |_, _| Err(code))
    }
}

/// An offset that may be committed for this partition.
pub(super) fn checked(
    state: &State,
    on: &Context,
    topic: &str,
    (partition, offset, leader_epoch, metadata): (i32, i64, i32, &str),
) -> Result<Committed, ErrorCode> {
    if metadata.len() > MAX_METADATA {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    if !state.has_partition(topic, partition) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(Committed { offset, leader_epoch, metadata: metadata.to_owned(), at: on.now(), expires: None })
}

fn committed(
    request: &OffsetCommitRequest,
    mut commit: impl FnMut(&str, (i32, i64, i32, &str)) -> Result<(), ErrorCode>,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let metadata = wanted.committed_metadata.as_deref().unwrap_or_default();
            let wanted = (wanted.partition_index, wanted.committed_offset, wanted.committed_leader_epoch, metadata);
            OffsetCommitResponsePartition::default()
                .with_partition_index(wanted.0)
                .with_error_code(commit(&topic.name, wanted).err().map_or(0, ErrorCode::to_wire))
        });
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// One partition's answer, before it gets the shape of its version.
struct Fetched {
    partition: i32,
    committed: Option<Committed>,
    code: i16,
}

/// What a group has committed for the topics asked for, or for all.
fn fetched(
    group: Option<&Group>,
    wanted: Option<Vec<(&str, &[i32])>>,
    require_stable: bool,
    may: impl Fn(&str) -> Result<(), ErrorCode>,
) -> Vec<(String, Vec<Fetched>)> {
    let one = |topic: &str, partition: i32| {
        if let Err(code) = may(topic) {
            return Fetched { partition, committed: None, code: code.to_wire() };
        }
        let key = (Arc::from(topic), partition);
        let unstable = require_stable
            && group.is_some_and(|group| group.transactional.values().any(|open| open.contains_key(&key)));
        Fetched {
            partition,
            committed: group.and_then(|group| group.offsets.get(&key)).filter(|_| !unstable).cloned(),
            code: if unstable { ErrorCode::UnstableOffsetCommit.to_wire() } else { 0 },
        }
    };
    if let Some(wanted) = wanted {
        let topics = wanted.into_iter();
        return topics
            .map(|(topic, partitions)| {
                (topic.to_owned(), partitions.iter().map(|partition| one(topic, *partition)).collect())
            })
            .collect();
    }
    let mut all: BTreeMap<String, Vec<Fetched>> = BTreeMap::new();
    let keys = group.into_iter().flat_map(|group| group.offsets.keys());
    for (topic, partition) in keys.filter(|(topic, _)| may(topic).is_ok()) {
        all.entry(topic.to_string()).or_default().push(one(topic, *partition));
    }
    all.into_iter().collect()
}

impl Api for OffsetFetchRequest {
    async fn serve(self, on: Context) -> OffsetFetchResponse {
        let state = on.state();
        let may = |topic: &str| on.may(&state, Operation::Describe, Resource::Topic(topic));
        if on.version >= 8 {
            let groups = self.groups.iter().map(|asked| {
                let group = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
                if let Err(code) = on.coordinates_group(&state, Operation::Describe, &asked.group_id) {
                    return group.with_error_code(code.to_wire());
                }
                let known = state.groups.get(&**asked.group_id);
                if let (Some(consumer), Some(id)) = (known.and_then(|known| known.consumer.as_ref()), &asked.member_id)
                    && let Err(code) = consumer.check_member(id, asked.member_epoch)
                {
                    return group.with_error_code(code.to_wire());
                }
                let wanted = asked
                    .topics
                    .as_ref()
                    .map(|topics| topics.iter().map(|topic| (&**topic.name, &topic.partition_indexes[..])).collect());
                let topics = fetched(known, wanted, self.require_stable, may);
                group.with_topics(topics.into_iter().map(in_group).collect())
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        if let Err(code) = on.coordinates_group(&state, Operation::Describe, &self.group_id) {
            return refused_before_v8(&self, code, on.version);
        }
        let wanted = self
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|topic| (&**topic.name, &topic.partition_indexes[..])).collect());
        let topics = fetched(state.groups.get(&**self.group_id), wanted, self.require_stable, may);
        let topics = topics.into_iter().map(|topic| alone(topic, on.version));
        OffsetFetchResponse::default().with_topics(topics.collect())
    }

    fn refuse(&self, code: ErrorCode) -> OffsetFetchResponse {
        if self.groups.is_empty() {
            return refused_before_v8(self, code, 2);
        }
        let groups = self.groups.iter().map(|asked| {
            OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone()).with_error_code(code.to_wire())
        });
        OffsetFetchResponse::default().with_groups(groups.collect())
    }
}

/// v1 has no error but those of its partitions.
fn refused_before_v8(request: &OffsetFetchRequest, code: ErrorCode, version: i16) -> OffsetFetchResponse {
    if version >= 2 {
        return OffsetFetchResponse::default().with_error_code(code.to_wire());
    }
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        let partitions =
            partitions.map(|partition| Fetched { partition: *partition, committed: None, code: code.to_wire() });
        alone((topic.name.to_string(), partitions.collect()), version)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn in_group((topic, partitions): (String, Vec<Fetched>)) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|fetched| {
        let answer = OffsetFetchResponsePartitions::default()
            .with_partition_index(fetched.partition)
            .with_error_code(fetched.code)
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some("".into()));
        match fetched.committed {
            Some(committed) => answer
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(committed.metadata.into())),
            None => answer,
        }
    });
    OffsetFetchResponseTopics::default().with_name(TopicName(topic.into())).with_partitions(partitions.collect())
}

fn alone((topic, partitions): (String, Vec<Fetched>), version: i16) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(|fetched| {
        let answer = OffsetFetchResponsePartition::default()
            .with_partition_index(fetched.partition)
            .with_error_code(fetched.code)
            .with_committed_offset(-1)
            .with_metadata(Some("".into()));
        match fetched.committed {
            Some(committed) => answer
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(if version >= 5 { committed.leader_epoch } else { -1 })
                .with_metadata(Some(committed.metadata.into())),
            None => answer,
        }
    });
    OffsetFetchResponseTopic::default().with_name(TopicName(topic.into())).with_partitions(partitions.collect())
}

impl Api for OffsetDeleteRequest {
    async fn serve(self, on: Context) -> OffsetDeleteResponse {
        let mut state = on.state();
        if let Err(code) = on.coordinates_group(&state, Operation::Delete, &self.group_id) {
            return self.refuse(code);
        }
        let readable: Vec<_> =
            self.topics.iter().map(|topic| on.may(&state, Operation::Read, Resource::Topic(&topic.name))).collect();
        let state = &mut *state; // the groups and the topics of it
        let Some(group) = state.groups.get_mut(&**self.group_id) else {
            return self.refuse(ErrorCode::GroupIdNotFound);
        };
        // What members of other kinds than consumers want is not known.
        let consumers = group.consumer.is_some() || group.is_of_consumers();
        if !consumers && group.phase != Phase::Empty {
            return self.refuse(ErrorCode::NonEmptyGroup);
        }
        let topics = self.topics.iter().zip(readable).map(|(topic, readable)| {
            let code = readable.err().or_else(|| match state.topics.contains_key(&**topic.name) {
                false => Some(ErrorCode::UnknownTopicOrPartition),
                true => group.subscribes_to(&topic.name).then_some(ErrorCode::GroupSubscribedToTopic),
            });
            let partitions = topic.partitions.iter().map(|wanted| {
                if code.is_none() {
                    let key = (Arc::from(&**topic.name), wanted.partition_index);
                    group.offsets.remove(&key);
                    group.transactional.values_mut().for_each(|open| drop(open.remove(&key)));
                }
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code.map_or(0, ErrorCode::to_wire))
            });
            OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }

    fn refuse(&self, code: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse::default().with_error_code(code.to_wire())
    }
}
