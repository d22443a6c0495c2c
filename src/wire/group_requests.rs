//! What a consumer asks its coordinator, in one form whatever the version: that of the newest. The older forms of two
//! requests are made from it, and their answers brought back to it, here; the schema crate refuses to write a field
//! that a version lacks.

use super::messages::offset_fetch_request::OffsetFetchRequestTopic;
use super::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use super::messages::{LeaveGroupRequest, OffsetFetchRequest, OffsetFetchResponse};

/// LeaveGroup below v3 takes one member.
pub fn fit_leave_group(mut request: LeaveGroupRequest, version: i16) -> LeaveGroupRequest {
    if version < 3
        && let Some(member) = request.members.pop()
    {
        request.members.clear();
        request.member_id = member.member_id;
    }
    request
}

/// OffsetFetch below v9 knows no members, below v8 it takes one group, below v7 no `require_stable` (such brokers have no
/// transactional offsets that they would hold back).
pub fn fit_offset_fetch(mut request: OffsetFetchRequest, version: i16) -> OffsetFetchRequest {
    if version < 9 {
        request.groups.iter_mut().for_each(|group| (group.member_id, group.member_epoch) = (None, -1));
    }
    if version < 8
        && let Some(group) = request.groups.pop()
    {
        request.groups.clear();
        request.group_id = group.group_id;
        request.topics = group.topics.map(|topics| {
            let old = |topic: super::messages::offset_fetch_request::OffsetFetchRequestTopics| {
                OffsetFetchRequestTopic::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
            };
            topics.into_iter().map(old).collect()
        });
        request.require_stable &= version >= 7;
    }
    request
}

/// OffsetFetch below v8 answers for one group.
pub fn lift_offset_fetch(mut response: OffsetFetchResponse, version: i16) -> OffsetFetchResponse {
    if version < 8 {
        let topics = std::mem::take(&mut response.topics).into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(partition.partition_index)
                    .with_committed_offset(partition.committed_offset)
                    .with_committed_leader_epoch(partition.committed_leader_epoch)
                    .with_metadata(partition.metadata)
                    .with_error_code(partition.error_code)
            });
            OffsetFetchResponseTopics::default().with_name(topic.name).with_partitions(partitions.collect())
        });
        let group = OffsetFetchResponseGroup::default().with_error_code(response.error_code);
        response.groups = vec![group.with_topics(topics.collect())];
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::group_protocol::str_bytes;
    use crate::wire::messages::leave_group_request::MemberIdentity;
    use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    use crate::wire::messages::{GroupId, TopicName};
    use crate::wire::request::encode_request;

    fn offset_fetch() -> OffsetFetchRequest {
        let topic =
            OffsetFetchRequestTopics::default().with_name(TopicName(str_bytes("t"))).with_partition_indexes(vec![0, 1]);
        let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(str_bytes("g")));
        OffsetFetchRequest::default()
            .with_groups(vec![
                group.with_member_id(Some(str_bytes("m"))).with_member_epoch(3).with_topics(Some(vec![topic])),
            ])
            .with_require_stable(true)
    }

    #[test]
    fn every_version_can_be_written() {
        let member = MemberIdentity::default().with_member_id(str_bytes("m")).with_reason(Some(str_bytes("why")));
        for version in 0..=5 {
            let request = LeaveGroupRequest::default().with_members(vec![member.clone()]);
            encode_request(&fit_leave_group(request, version), version, 1, "me").unwrap();
        }
        for version in 1..=9 {
            encode_request(&fit_offset_fetch(offset_fetch(), version), version, 1, "me").unwrap();
        }
    }
}
