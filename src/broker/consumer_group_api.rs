// ConsumerGroupHeartbeat: v0-1. ConsumerGroupDescribe: v0-1.
//! Consumer groups (KIP-848) over the wire; what they decide is in `consumer_groups`.
//!
//! - ConsumerGroupHeartbeat v1 takes a regular expression, and the member's id must be its own (KIP-1082): v0 gives one to
//!   who has none.
//! - A group is of one protocol. An empty one becomes what the next member is of; Apache also lets members of both into one
//!   group, to change it over while it runs.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::consumer_groups::{Beat, Beaten, ConsumerGroup};
use super::consumer_members::{ConsumerMember, LEAVES, LEAVES_FOR_A_WHILE};
use super::coordinator::GROUP;
use super::group_api::{millis, owned};
use super::groups::Phase;
use super::server_assignors::{Assignor, Partitions};
use super::state::{Refusal, State, plain};
use crate::error::ErrorCode;
use crate::ids::TopicId;
use crate::wire::StrBytes;
use crate::wire::messages::consumer_group_describe_response as describe;
use crate::wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use crate::wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, GroupId, TopicName,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

impl Api for ConsumerGroupHeartbeatRequest {
    async fn serve(self, on: Context) -> ConsumerGroupHeartbeatResponse {
        let mut state = on.state();
        let outcome = checked(&self, &on).and_then(|beat| heard(&mut state, &on, &self.group_id, beat));
        let interval = state.consumer_heartbeat_interval(&self.group_id).as_millis();
        drop(state);
        on.shared.deadlines.notify_one();
        match outcome {
            Ok(beaten) => {
                let response = ConsumerGroupHeartbeatResponse::default()
                    .with_member_id(Some(beaten.member_id.into()))
                    .with_member_epoch(beaten.epoch)
                    .with_assignment(beaten.assignment.as_ref().map(assignment));
                let leaves = beaten.epoch < 0;
                response.with_heartbeat_interval_ms(if leaves {
                    0
                } else {
                    i32::try_from(interval).unwrap_or(i32::MAX)
                })
            }
            Err((code, why)) => self.refuse(code).with_error_message(Some(why.into())),
        }
    }

    fn refuse(&self, code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse::default().with_error_code(code.to_wire())
    }
}

/// What the request says, if it can be said.
fn checked(request: &ConsumerGroupHeartbeatRequest, on: &Context) -> Result<Beat, Refusal> {
    let invalid = |why: &str| Err((ErrorCode::InvalidRequest, why.to_owned()));
    let empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if request.member_id.is_empty() && (on.version >= 1 || request.member_epoch != 0) {
        return invalid("MemberId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        LEAVES_FOR_A_WHILE if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        LEAVES_FOR_A_WHILE | LEAVES | 0.. => {}
        _ => return invalid("MemberEpoch is invalid."),
    }
    if let Some(name) = request.server_assignor.as_ref().filter(|name| Assignor::named(name).is_none()) {
        let why = format!("ServerAssignor {name} is not supported. Supported assignors: uniform, range.");
        return Err((ErrorCode::UnsupportedAssignor, why));
    }
    let topics = |names: &Vec<TopicName>| names.iter().map(|name| Arc::from(&***name)).collect();
    let partitions = request.topic_partitions.as_ref().map(|topics| {
        let each = topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| (topic.topic_id, *one)));
        each.map(|(id, partition)| (TopicId(id.into_bytes()), partition)).collect()
    });
    Ok(Beat {
        member_id: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance_id: owned(request.instance_id.as_ref()),
        rack: owned(request.rack_id.as_ref()),
        rebalance_timeout: Some(millis(request.rebalance_timeout_ms)).filter(|_| request.rebalance_timeout_ms != -1),
        topics: request.subscribed_topic_names.as_ref().map(topics),
        regex: owned(request.subscribed_topic_regex.as_ref()),
        assignor: owned(request.server_assignor.as_ref()),
        owned: partitions,
        client_id: Arc::clone(&on.client_id),
        client_host: Arc::clone(&on.caller.host),
    })
}

/// Has the group hear it.
fn heard(state: &mut State, on: &Context, id: &GroupId, mut beat: Beat) -> Result<Beaten, Refusal> {
    on.may(state, Operation::Read, Resource::Group(id)).map_err(plain)?;
    let mut named = beat.topics.iter().flatten();
    named.try_for_each(|topic| on.may(state, Operation::Describe, Resource::Topic(topic))).map_err(plain)?;
    on.coordinates(state, GROUP, id).map_err(plain)?;
    let (topics, settings) = (state.described_topics(), state.consumer_group_settings(id));
    let may_describe = |name: &&Arc<str>| on.may(state, Operation::Describe, Resource::Topic(name)).is_ok();
    let describable = topics.keys().filter(may_describe).cloned().collect();
    let known = state.groups.get_mut(&***id);
    let not = |why: String| (ErrorCode::GroupIdNotFound, why);
    if known.as_ref().is_some_and(|group| group.consumer.is_none() && group.phase != Phase::Empty) {
        return Err(not(format!("Group {} is not a consumer group.", &**id)));
    }
    if beat.member_id.is_empty() {
        state.members_named += 1;
        beat.member_id = format!("00000000-0000-4000-8000-{:012x}", state.members_named);
    }
    let known = state.groups.get_mut(&***id).and_then(|group| group.consumer.as_mut());
    match (known, beat.epoch) {
        (Some(group), LEAVES | LEAVES_FOR_A_WHILE) => group.leave(&topics, &beat),
        (Some(group), _) => group.heartbeat(on.now(), settings, &topics, &describable, beat),
        (None, 0) => {
            let mut group = ConsumerGroup::new((***id).into());
            let beaten = group.heartbeat(on.now(), settings, &topics, &describable, beat)?;
            state.groups.entry((***id).into()).or_default().begin_anew(Some(group));
            Ok(beaten)
        }
        (None, LEAVES | LEAVES_FOR_A_WHILE) => Err(not(format!("Group {} not found.", &**id))),
        (None, _) => Err(not(format!("Consumer group {} not found.", &**id))),
    }
}

fn by_topic(partitions: &Partitions) -> BTreeMap<TopicId, Vec<i32>> {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|(topic, partition)| topics.entry(*topic).or_default().push(*partition));
    topics
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        TopicPartitions::default().with_topic_id(Uuid::from_bytes(topic.0)).with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

impl Api for ConsumerGroupDescribeRequest {
    async fn serve(self, on: Context) -> ConsumerGroupDescribeResponse {
        let state = on.state();
        let groups = self.group_ids.iter().map(|id| {
            let group = state.groups.get(&***id);
            let coordinates = on.coordinates_group(&state, Operation::Describe, id);
            let described = match (coordinates, group.and_then(|group| group.consumer.as_ref())) {
                (Err(code), _) => return failed(id, code),
                (Ok(()), Some(group)) => described(&state, id, group, on.version),
                (Ok(()), None) => {
                    let what = if group.is_some() { "is not a consumer group" } else { "not found" };
                    let why = format!("Group {} {what}.", &**id);
                    return failed(id, ErrorCode::GroupIdNotFound).with_error_message(Some(why.into()));
                }
            };
            let described = without_secrets(&on, &state, described);
            match self.include_authorized_operations {
                true => described.with_authorized_operations(on.operations(&state, Resource::Group(id))),
                false => described,
            }
        });
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ConsumerGroupDescribeResponse {
        let groups = self.group_ids.iter().map(|id| failed(id, code));
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }
}

/// A group is not described to whom its topics may not be named.
fn without_secrets(on: &Context, state: &State, group: describe::DescribedGroup) -> describe::DescribedGroup {
    let subscribed = group.members.iter().flat_map(|member| &member.subscribed_topic_names);
    let assigned = group.members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
    let assigned = assigned.flat_map(|assignment| assignment.topic_partitions.iter().map(|topic| &topic.topic_name));
    let outcome =
        subscribed.chain(assigned).try_for_each(|topic| on.may(state, Operation::Describe, Resource::Topic(topic)));
    match outcome {
        Ok(()) => group,
        Err(code) => group
            .with_error_code(code.to_wire())
            .with_error_message(Some(
                "The group has described topic(s) that the client is not authorized to describe.".into(),
            ))
            .with_members(Vec::new()),
    }
}

fn failed(id: &GroupId, code: ErrorCode) -> describe::DescribedGroup {
    describe::DescribedGroup::default().with_group_id(id.clone()).with_error_code(code.to_wire())
}

fn described(state: &State, id: &GroupId, group: &ConsumerGroup, version: i16) -> describe::DescribedGroup {
    let members = group.members.values().map(|member| {
        let target = group.target.get(&member.id).map(|target| named(state, target)).unwrap_or_default();
        described_member(state, member, version).with_target_assignment(target)
    });
    describe::DescribedGroup::default()
        .with_group_id(id.clone())
        .with_group_state(group.state().into())
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(group.assignor().name().into())
        .with_members(members.collect())
}

/// A member of the new protocol, as v1 tells it.
const CONSUMER: i8 = 1;

fn described_member(state: &State, member: &ConsumerMember, version: i16) -> describe::Member {
    let text = |text: &Option<String>| text.clone().map(StrBytes::from);
    describe::Member::default()
        .with_member_id(member.id.clone().into())
        .with_instance_id(text(&member.instance_id))
        .with_rack_id(text(&member.rack))
        .with_member_epoch(member.epoch)
        .with_client_id(member.client_id.to_string().into())
        .with_client_host(member.client_host.to_string().into())
        .with_subscribed_topic_names(member.topics.iter().map(|name| TopicName(name.to_string().into())).collect())
        .with_subscribed_topic_regex(Some(member.regex.clone().unwrap_or_default().into()))
        .with_assignment(named(state, &member.assigned))
        .with_member_type(if version >= 1 { CONSUMER } else { -1 })
}

/// Deleted topics have no name any more.
fn named(state: &State, partitions: &Partitions) -> describe::Assignment {
    let topics = by_topic(partitions).into_iter().filter_map(|(topic, partitions)| {
        let name = TopicName(state.topic_name(topic)?.to_string().into());
        let topic = describe::TopicPartitions::default().with_topic_id(Uuid::from_bytes(topic.0)).with_topic_name(name);
        Some(topic.with_partitions(partitions))
    });
    describe::Assignment::default().with_topic_partitions(topics.collect())
}
