//! Groups and their members, of both kinds: those whose members agree (classic) and those that the coordinator balances
//! (KIP-848). Which one a group is, its coordinator knows best: it is asked about all as the new kind, and again about those of
//! which it says that they are not.

use super::places::AtCoordinators;
use super::{AclOperation, Admin, Outcomes, outcome, text};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::{NodeId, TopicPartition};
use crate::wire::StrBytes;
use crate::wire::group_protocol::{PROTOCOL_TYPE, Subscription, decode_assignment, str_bytes};
use crate::wire::messages::consumer_group_describe_response as consumer;
use crate::wire::messages::describe_groups_response as classic;
use crate::wire::messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// In Kafka's words: `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`; of a group that the coordinator
    /// balances also `Assigning`, `Reconciling`.
    pub state: String,
    /// `classic`, or `consumer` (KIP-848).
    pub group_type: String,
    /// `consumer`, or what else the members are.
    pub protocol_type: String,
    /// The assignor that the group has settled on; empty without members.
    pub assignor: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// How often the group has changed; `None` of a classic group.
    pub group_epoch: Option<i32>,
    /// The group epoch that the target assignment is for; `None` of a classic group.
    pub assignment_epoch: Option<i32>,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// What we may do with it, if [`Admin::with_authorized_operations`] has asked.
    pub authorized_operations: Option<BTreeSet<AclOperation>>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// `client.rack`; only a coordinator that balances knows it.
    pub rack: Option<String>,
    /// The topics that it has subscribed to by name; empty while a classic group rebalances.
    pub subscription: Vec<String>,
    /// The pattern that its coordinator matches for it.
    pub subscribed_pattern: Option<String>,
    /// What it reads; empty while a classic group rebalances.
    pub assignment: Vec<TopicPartition>,
    /// What it is to read in the end; empty in a classic group.
    pub target_assignment: Vec<TopicPartition>,
    /// The epoch of the assignment that it has; `None` in a classic group.
    pub member_epoch: Option<i32>,
}

impl Admin {
    /// These groups and their members, of either kind. ConsumerGroupDescribe (KIP-848), and DescribeGroups for those that are
    /// no such group or whose coordinator has not got it; each one request per coordinator.
    ///
    /// # Errors
    /// Per group: `GroupIdNotFound`, `Denied` (Describe on the group; of the new kind also on its topics), or no coordinator in
    /// time.
    pub async fn describe_groups(
        &self,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Outcomes<GroupDescription>> {
        self.describe(ids.into_iter().map(|id| (id.as_ref().to_owned(), ())).collect(), self.deadline()).await
    }

    pub(super) async fn describe(
        &self,
        ids: BTreeMap<String, ()>,
        deadline: Instant,
    ) -> Result<Outcomes<GroupDescription>> {
        let authorized = self.authorized_operations;
        let ask = self.ask(AtCoordinators::OfGroups, ids).until(deadline);
        let mut asked = ask
            .send_for_each(
                |ids, _| {
                    let ids = ids.iter().map(|(id, ())| GroupId(str_bytes(id)));
                    let request = ConsumerGroupDescribeRequest::default().with_group_ids(ids.collect());
                    request.with_include_authorized_operations(authorized)
                },
                |answer, way| {
                    let groups = answer.groups.into_iter().map(|mut group| {
                        let told = outcome(group.error_code, group.error_message.take(), None);
                        (text(&group.group_id), told.map(|()| of_consumer_group(way.node, group)))
                    });
                    Ok(groups.collect())
                },
            )
            .await?;
        let is_other = |error: &Error| {
            error.kind() == ErrorKind::UnsupportedVersion
                || matches!(error.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
        };
        let others = asked.outcomes.iter().filter(|(_, outcome)| outcome.as_ref().is_err_and(is_other));
        let others: BTreeMap<String, ()> = others.map(|(id, _)| (id.clone(), ())).collect();
        let ask = self.ask(AtCoordinators::OfGroups, others).until(deadline);
        let classic = ask
            .send_for_each(
                |ids, way| {
                    let ids = ids.iter().map(|(id, ())| GroupId(str_bytes(id)));
                    let request = DescribeGroupsRequest::default().with_groups(ids.collect());
                    request.with_include_authorized_operations(authorized && way.version >= 3)
                },
                |answer, way| {
                    let groups = answer.groups.into_iter().map(|mut group| {
                        let told = outcome(group.error_code, group.error_message.take(), None);
                        (text(&group.group_id), told.and_then(|()| of_classic_group(way.node, group)))
                    });
                    Ok(groups.collect())
                },
            )
            .await?;
        asked.answered |= classic.answered;
        asked.outcomes.extend(classic.outcomes);
        asked.into_outcomes()
    }
}

fn coordinator(node: Option<NodeId>) -> NodeId {
    node.unwrap_or(NodeId(-1)) // a coordinator is always asked by its id
}

fn operations(bits: i32) -> Option<BTreeSet<AclOperation>> {
    AclOperation::from_bits(bits)
}

/// Before v6 a group that is not there is `Dead`.
fn of_classic_group(node: Option<NodeId>, group: classic::DescribedGroup) -> Result<GroupDescription> {
    if group.group_state.as_str() == "Dead" {
        return Err(Error::broker(ErrorCode::GroupIdNotFound));
    }
    let is_consumer = group.protocol_type.as_str() == PROTOCOL_TYPE;
    let members = group.members.into_iter().map(|member| MemberDescription {
        member_id: text(&member.member_id),
        instance_id: member.group_instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        host: text(&member.client_host),
        subscription: match Subscription::decode(member.member_metadata) {
            Ok(subscription) if is_consumer => subscription.topics.iter().map(ToString::to_string).collect(),
            _ => vec![], // another kind of group, in words of its own
        },
        assignment: match decode_assignment(member.member_assignment) {
            Ok(assignment) if is_consumer => assignment,
            _ => vec![],
        },
        ..MemberDescription::default()
    });
    Ok(GroupDescription {
        group_id: text(&group.group_id),
        state: text(&group.group_state),
        group_type: "classic".to_owned(),
        protocol_type: text(&group.protocol_type),
        assignor: text(&group.protocol_data),
        coordinator: coordinator(node),
        group_epoch: None,
        assignment_epoch: None,
        members: members.collect(),
        authorized_operations: operations(group.authorized_operations),
    })
}

fn of_consumer_group(node: Option<NodeId>, group: consumer::DescribedGroup) -> GroupDescription {
    let said = |text: &Option<StrBytes>| text.as_ref().filter(|text| !text.is_empty()).map(|text| text.to_string());
    let members = group.members.into_iter().map(|member| MemberDescription {
        member_id: text(&member.member_id),
        instance_id: said(&member.instance_id),
        client_id: text(&member.client_id),
        host: text(&member.client_host),
        rack: said(&member.rack_id),
        subscription: member.subscribed_topic_names.iter().map(|topic| text(topic)).collect(),
        subscribed_pattern: said(&member.subscribed_topic_regex),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target_assignment),
        member_epoch: Some(member.member_epoch),
    });
    GroupDescription {
        group_id: text(&group.group_id),
        state: text(&group.group_state),
        group_type: "consumer".to_owned(),
        protocol_type: PROTOCOL_TYPE.to_owned(),
        assignor: text(&group.assignor_name),
        coordinator: coordinator(node),
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: members.collect(),
        authorized_operations: operations(group.authorized_operations),
    }
}

fn assignment(assignment: consumer::Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.into_iter().flat_map(|topic| {
        let name: Arc<str> = topic.topic_name.as_str().into();
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    topics.collect()
}
