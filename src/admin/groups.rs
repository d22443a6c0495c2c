//! Groups: which there are, and their end.

use super::ask::Doing;
use super::partitions::names;
use super::places::{AtCoordinatorOf, AtCoordinators, AtEachBroker};
use super::{Admin, Outcomes, outcome, text};
use crate::error::Result;
use crate::wire::group_protocol::str_bytes;
use crate::wire::group_requests::fit_leave_group;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::{DeleteGroupsRequest, GroupId, LeaveGroupRequest, ListGroupsRequest};
use std::collections::BTreeMap;

/// Which groups to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    states: Vec<String>,
    types: Vec<String>,
}

impl GroupFilter {
    /// Only those in one of these states, in Kafka's words and capitals (`Stable`, `Empty`, `PreparingRebalance`, …). KIP-518, brokers
    /// from 2.6.
    pub fn states(mut self, states: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.states.extend(states.into_iter().map(Into::into));
        self
    }

    /// Only those of one of these types: `classic`, `consumer`, … KIP-848, brokers from 3.8.
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        self
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// `consumer`, `connect`, or empty for a group that only commits.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty from brokers before 2.6.
    pub state: String,
    /// `classic` or `consumer` (KIP-848); empty from brokers before 3.8.
    pub group_type: String,
}

/// A member that is to leave its group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberToRemove {
    /// By the id that the coordinator gave it.
    Id(String),
    /// A static member, by its `group.instance.id` (KIP-345, brokers from 2.4).
    Instance(String),
}

impl Admin {
    /// The groups of all brokers, by id. Those that we may not describe are not among them. ListGroups.
    ///
    /// # Errors
    /// A broker that does not answer in time: the list would not be whole.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        self.list_groups_by(GroupFilter::default()).await
    }

    /// The groups of all brokers that the filter lets through, by id.
    ///
    /// # Errors
    /// As [`list_groups`](Self::list_groups); `UnsupportedVersion` if a broker is too old for the filter.
    pub async fn list_groups_by(&self, filter: GroupFilter) -> Result<Vec<GroupListing>> {
        let deadline = self.deadline();
        let least = match (filter.types.is_empty(), filter.states.is_empty()) {
            (false, _) => 5,
            (true, false) => 4,
            (true, true) => 0,
        };
        let request = ListGroupsRequest::default()
            .with_states_filter(names(&filter.states))
            .with_types_filter(names(&filter.types));
        let ask = self.ask(AtEachBroker, self.brokers(deadline).await?).versions(least..=i16::MAX).until(deadline);
        let answers = ask
            .send(
                |_, _| request.clone(),
                |answer, way| {
                    outcome(answer.error_code, None, None)?;
                    Ok(way.node.map(|node| (node, Ok(answer.groups))).into_iter().collect())
                },
            )
            .await?;
        // By id: while a coordinator moves, two brokers may have the same group.
        let mut groups = BTreeMap::new();
        for (node, answer) in answers {
            groups.extend(answer.map_err(|error| error.node(node))?.into_iter().map(|group| {
                let listing = GroupListing {
                    group_id: text(&group.group_id),
                    protocol_type: text(&group.protocol_type),
                    state: text(&group.group_state),
                    group_type: text(&group.group_type),
                };
                (listing.group_id.clone(), listing)
            }));
        }
        Ok(groups.into_values().collect())
    }

    /// Deletes groups and their offsets. DeleteGroups, one request per coordinator.
    ///
    /// # Errors
    /// Per group: `NonEmptyGroup`, `GroupIdNotFound`, `Denied` (Delete on the group), or no coordinator in time.
    pub async fn delete_groups(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Outcomes<()>> {
        let ids = ids.into_iter().map(|id| (id.as_ref().to_owned(), ())).collect();
        let ask = self.ask(AtCoordinators::OfGroups, ids).doing(Doing::Change);
        ask.send(
            |ids, _| {
                let ids = ids.iter().map(|(id, _)| GroupId(str_bytes(id)));
                DeleteGroupsRequest::default().with_groups_names(ids.collect())
            },
            |answer, _| {
                let results = answer.results.into_iter();
                Ok(results.map(|group| (text(&group.group_id), outcome(group.error_code, None, None))).collect())
            },
        )
        .await
    }

    /// Has members leave their group, as if they had done so themselves; the others balance anew. Members that are alive join
    /// again. `reason` goes to the coordinator's log (KIP-800, brokers from 3.2). LeaveGroup; of a group that its coordinator
    /// balances (KIP-848), Kafka lets only members of the classic protocol be removed.
    ///
    /// # Errors
    /// Per member: `UnknownMemberId` (also where there is no such group), `FencedInstanceId`, `UnsupportedVersion` for a static
    /// member before 2.4. For all: `Denied` (Read on the group), or no coordinator in time.
    pub async fn remove_members(
        &self,
        group: &str,
        members: impl IntoIterator<Item = MemberToRemove>,
        reason: &str,
    ) -> Result<Outcomes<(), MemberToRemove>> {
        let members: BTreeMap<_, _> = members.into_iter().map(|member| (member, ())).collect();
        let is_static = |member: &MemberToRemove| matches!(member, MemberToRemove::Instance(_));
        let least = if members.keys().any(is_static) { 3 } else { 0 };
        let ask = self.ask(AtCoordinatorOf(group), members).doing(Doing::Change);
        let ask = ask.versions(least..=i16::MAX).most(|version| if version < 3 { 1 } else { usize::MAX });
        ask.send(
            |members, way| {
                let members = members.iter().map(|(member, ())| {
                    let identity = MemberIdentity::default();
                    let identity = match member {
                        MemberToRemove::Id(id) => identity.with_member_id(str_bytes(id)),
                        MemberToRemove::Instance(id) => identity.with_group_instance_id(Some(str_bytes(id))),
                    };
                    identity.with_reason(Some(str_bytes(reason)).filter(|_| way.version >= 5 && !reason.is_empty()))
                });
                let request = LeaveGroupRequest::default().with_group_id(GroupId(str_bytes(group)));
                fit_leave_group(request.with_members(members.collect()), way.version)
            },
            |answer, way| {
                if way.version < 3 {
                    let outcome = outcome(answer.error_code, None, None);
                    return Ok(way.keys.iter().cloned().map(|member| (member, outcome.clone())).collect());
                }
                outcome(answer.error_code, None, None)?;
                let members = answer.members.into_iter().map(|member| {
                    let who = match &member.group_instance_id {
                        Some(id) => MemberToRemove::Instance(text(id)),
                        None => MemberToRemove::Id(text(&member.member_id)),
                    };
                    (who, outcome(member.error_code, None, None))
                });
                Ok(members.collect())
            },
        )
        .await
    }
}
