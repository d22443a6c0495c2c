// JoinGroup: v0-9. SyncGroup: v0-5. Heartbeat: v0-4. LeaveGroup: v0-5. DescribeGroups: v0-6. ListGroups: v0-5.
// DeleteGroups: v0-2.
//! Groups over the wire; what they decide is in `groups`.
//!
//! - JoinGroup v1 adds the rebalance timeout, v4 gives the member its id first, v5 knows static members, v7 names the
//!   protocol type, v8 says why (KIP-800, and LeaveGroup v5), v9 tells a static leader that came back to skip the assignment.
//! - SyncGroup v5 says which protocol the member means. LeaveGroup v3 takes many members, and static ones by name.
//! - DescribeGroups v6 says `GROUP_ID_NOT_FOUND` where older ones say `Dead`. ListGroups v4 filters by state, v5 by type.

use super::Context;
use super::api::Api;
use super::authorizer::{Operation, Resource};
use super::coordinator::GROUP;
use super::groups::{Group, Identity, Join, Joined, Phase};
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::group_protocol::PROTOCOL_TYPE;
use crate::wire::messages::delete_groups_response::DeletableGroupResult;
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::leave_group_response::MemberResponse;
use crate::wire::messages::list_groups_response::ListedGroup;
use crate::wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn owned(text: Option<&StrBytes>) -> Option<String> {
    text.map(|text| text.to_string())
}

impl Api for JoinGroupRequest {
    async fn serve(self, on: Context) -> JoinGroupResponse {
        let (reply, joined) = oneshot::channel();
        {
            let mut state = on.state();
            if self.group_id.is_empty() {
                return self.refuse(ErrorCode::InvalidGroupId);
            }
            if let Err(code) = on.coordinates_group(&state, Operation::Read, &self.group_id) {
                return self.refuse(code);
            }
            if !self.member_id.is_empty() && !state.groups.contains_key(&**self.group_id) {
                return self.refuse(ErrorCode::UnknownMemberId);
            }
            let settings = state.group_settings();
            let group = state.groups.entry((**self.group_id).into()).or_default();
            group.join(on.now(), settings, self.join(&on), reply);
        }
        on.shared.deadlines.notify_one();
        let joined = joined.await.unwrap_or_else(|_| Joined::refused(&self.member_id, ErrorCode::UnknownMemberId));
        answer(joined, on.version)
    }

    fn refuse(&self, code: ErrorCode) -> JoinGroupResponse {
        answer(Joined::refused(&self.member_id, code), 0)
    }
}

trait AsJoin {
    fn join(&self, on: &Context) -> Join;
}

impl AsJoin for JoinGroupRequest {
    fn join(&self, on: &Context) -> Join {
        let rebalance_timeout = if on.version >= 1 { self.rebalance_timeout_ms } else { self.session_timeout_ms };
        Join {
            member_id: self.member_id.to_string(),
            instance_id: owned(self.group_instance_id.as_ref()),
            client_id: on.client_id.clone(),
            client_host: on.caller.host.clone(),
            session_timeout: millis(self.session_timeout_ms),
            rebalance_timeout: millis(rebalance_timeout),
            protocol_type: self.protocol_type.to_string(),
            protocols: self.protocols.iter().map(|own| (own.name.to_string(), copied(&own.metadata))).collect(),
            takes_id_first: on.version >= 4,
            skips_assignment: on.version >= 9,
            reason: owned(self.reason.as_ref()),
        }
    }
}

/// Out of the request's frame, which is not to live as long as the group.
fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn answer(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance_id, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(id.into()).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(instance_id.map(StrBytes::from)) } else { member }
    });
    // Null only from v7 on.
    let protocol = joined.protocol.map(StrBytes::from).or_else(|| (version < 7).then(StrBytes::default));
    let response = JoinGroupResponse::default()
        .with_error_code(joined.code.map_or(0, ErrorCode::to_wire))
        .with_generation_id(joined.generation)
        .with_protocol_name(protocol)
        .with_leader(joined.leader.into())
        .with_member_id(joined.member_id.into())
        .with_members(members.collect());
    let response =
        if version >= 7 { response.with_protocol_type(joined.protocol_type.map(StrBytes::from)) } else { response };
    if version >= 9 { response.with_skip_assignment(joined.skip_assignment) } else { response }
}

impl Api for SyncGroupRequest {
    async fn serve(self, on: Context) -> SyncGroupResponse {
        let (reply, synced) = oneshot::channel();
        let protocol = {
            let mut state = on.state();
            if let Err(code) = on.coordinates_group(&state, Operation::Read, &self.group_id) {
                return self.refuse(code);
            }
            let Some(group) = state.groups.get_mut(&**self.group_id) else {
                return self.refuse(ErrorCode::UnknownMemberId);
            };
            let identity = Identity {
                member_id: &self.member_id,
                instance_id: self.group_instance_id.as_deref(),
                generation: self.generation_id,
            };
            let said = (self.protocol_type.as_deref(), self.protocol_name.as_deref());
            let assignments = self.assignments.iter().map(|one| (one.member_id.to_string(), copied(&one.assignment)));
            group.sync(on.now(), identity, said, assignments.collect(), reply);
            (group.protocol_type.clone(), group.protocol.clone())
        };
        on.shared.deadlines.notify_one();
        match synced.await.unwrap_or(Err(ErrorCode::UnknownMemberId)) {
            Ok(assignment) => {
                let response = SyncGroupResponse::default().with_assignment(assignment);
                if on.version < 5 {
                    return response;
                }
                response
                    .with_protocol_type(protocol.0.map(StrBytes::from))
                    .with_protocol_name(protocol.1.map(StrBytes::from))
            }
            Err(code) => self.refuse(code),
        }
    }

    fn refuse(&self, code: ErrorCode) -> SyncGroupResponse {
        SyncGroupResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for HeartbeatRequest {
    async fn serve(self, on: Context) -> HeartbeatResponse {
        let mut state = on.state();
        let identity = Identity {
            member_id: &self.member_id,
            instance_id: self.group_instance_id.as_deref(),
            generation: self.generation_id,
        };
        let outcome = on.coordinates_group(&state, Operation::Read, &self.group_id).and_then(|()| {
            let group = state.groups.get_mut(&**self.group_id).ok_or(ErrorCode::UnknownMemberId)?;
            group.heartbeat(on.now(), identity)
        });
        HeartbeatResponse::default().with_error_code(outcome.err().map_or(0, ErrorCode::to_wire))
    }

    fn refuse(&self, code: ErrorCode) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for LeaveGroupRequest {
    async fn serve(self, on: Context) -> LeaveGroupResponse {
        let mut state = on.state();
        if let Err(code) = on.coordinates_group(&state, Operation::Read, &self.group_id) {
            return self.refuse(code);
        }
        let mut leave = |member_id: &str, instance_id: Option<&str>, reason: Option<&StrBytes>| {
            let group = state.groups.get_mut(&**self.group_id).ok_or(ErrorCode::UnknownMemberId)?;
            group.note(owned(reason));
            group.leave(on.now(), member_id, instance_id)
        };
        // Who waits for a rebalance may have to wait no longer; the timekeeper waits for the lock.
        on.shared.deadlines.notify_one();
        if on.version < 3 {
            let code = leave(&self.member_id, None, None).err().map_or(0, ErrorCode::to_wire);
            return LeaveGroupResponse::default().with_error_code(code);
        }
        let members = self.members.iter().map(|member| {
            let outcome = leave(&member.member_id, member.group_instance_id.as_deref(), member.reason.as_ref());
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(outcome.err().map_or(0, ErrorCode::to_wire))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    fn refuse(&self, code: ErrorCode) -> LeaveGroupResponse {
        LeaveGroupResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for DescribeGroupsRequest {
    async fn serve(self, on: Context) -> DescribeGroupsResponse {
        let state = on.state();
        let groups = self.groups.iter().map(|id| {
            let coordinates = on.coordinates_group(&state, Operation::Describe, id);
            let described = match (coordinates, state.groups.get(&***id)) {
                (Err(code), _) => return failed(id, code),
                (Ok(()), Some(group)) if group.consumer.is_none() => described(id, group, on.version),
                (Ok(()), other) if on.version >= 6 => {
                    let what = if other.is_some() { "is not a classic group" } else { "not found" };
                    let why = format!("Group {} {what}.", &**id);
                    failed(id, ErrorCode::GroupIdNotFound)
                        .with_group_state(StrBytes::from_static_str("Dead"))
                        .with_error_message(Some(why.into()))
                }
                (Ok(()), _) => failed(id, ErrorCode::UnknownServerError)
                    .with_error_code(0)
                    .with_group_state(StrBytes::from_static_str("Dead")),
            };
            if !self.include_authorized_operations || on.version < 3 {
                return described;
            }
            described.with_authorized_operations(on.operations(&state, Resource::Group(id)))
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DescribeGroupsResponse {
        let groups = self.groups.iter().map(|id| failed(id, code));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

fn failed(id: &GroupId, code: ErrorCode) -> DescribedGroup {
    DescribedGroup::default().with_group_id(id.clone()).with_error_code(code.to_wire())
}

fn described(id: &GroupId, group: &Group, version: i16) -> DescribedGroup {
    let protocol = group.protocol.clone().unwrap_or_default();
    let settled = group.phase == Phase::Stable;
    let members = group.members.iter().map(|member| {
        let described = DescribedGroupMember::default()
            .with_member_id(member.id.clone().into())
            .with_client_id(member.client_id.to_string().into())
            .with_client_host(member.client_host.to_string().into());
        let described = match &member.instance_id {
            Some(instance_id) if version >= 4 => described.with_group_instance_id(Some(instance_id.clone().into())),
            _ => described,
        };
        if !settled {
            return described; // what they will read is not agreed on
        }
        described.with_member_metadata(member.metadata(&protocol)).with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_group_state(StrBytes::from_static_str(group.phase.name()))
        .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
        .with_protocol_data(if settled { protocol.clone().into() } else { StrBytes::default() })
        .with_members(members.collect())
}

impl Api for ListGroupsRequest {
    async fn serve(self, on: Context) -> ListGroupsResponse {
        let state = on.state();
        let allows = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let all = on.may(&state, Operation::Describe, Resource::Cluster).is_ok();
        let may = |id: &str| all || on.may(&state, Operation::Describe, Resource::Group(id)).is_ok();
        let own = |id: &str| on.coordinates(&state, GROUP, id).is_ok() && may(id);
        let kind = |group: &Group| if group.consumer.is_some() { "consumer" } else { "classic" };
        let listed = state.groups.iter().filter(|(id, group)| {
            own(id) && allows(&self.states_filter, group.summary().0) && allows(&self.types_filter, kind(group))
        });
        let groups = listed.map(|(id, group)| {
            let protocol_type = match group.consumer {
                Some(_) => PROTOCOL_TYPE.to_owned(),
                None => group.protocol_type.clone().unwrap_or_default(),
            };
            let listed = ListedGroup::default()
                .with_group_id(GroupId(id.to_string().into()))
                .with_protocol_type(protocol_type.into());
            let listed = if on.version >= 4 { listed.with_group_state(group.summary().0.into()) } else { listed };
            if on.version >= 5 { listed.with_group_type(kind(group).into()) } else { listed }
        });
        ListGroupsResponse::default().with_groups(groups.collect())
    }

    fn refuse(&self, code: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for DeleteGroupsRequest {
    async fn serve(self, on: Context) -> DeleteGroupsResponse {
        let mut state = on.state();
        let results = self.groups_names.iter().map(|id| {
            let outcome = on.coordinates_group(&state, Operation::Delete, id).and_then(|()| {
                match state.groups.get(&***id).map(Group::is_empty) {
                    None => Err(ErrorCode::GroupIdNotFound),
                    Some(false) => Err(ErrorCode::NonEmptyGroup),
                    Some(true) => Ok(()),
                }
            });
            if outcome.is_ok() {
                state.groups.remove(&***id);
            }
            DeletableGroupResult::default()
                .with_group_id(id.clone())
                .with_error_code(outcome.err().map_or(0, ErrorCode::to_wire))
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    }

    fn refuse(&self, code: ErrorCode) -> DeleteGroupsResponse {
        let results = self
            .groups_names
            .iter()
            .map(|id| DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code.to_wire()));
        DeleteGroupsResponse::default().with_results(results.collect())
    }
}
