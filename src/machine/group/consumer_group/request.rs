//! What a heartbeat says: everything when we join, or when the coordinator may not know it; else what has changed.

use super::{ConsumerMembership, State};
use crate::ids::TopicId;
use crate::machine::group::membership::SubscribedTopics;
use crate::machine::group::millis;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use crate::wire::messages::{ConsumerGroupHeartbeatRequest, GroupId, TopicName};
use std::collections::BTreeMap;

/// The epoch of one who wants in.
const JOIN: i32 = 0;
/// The epoch of one who leaves.
const LEAVE: i32 = -1;
/// The epoch of a static member that will be back.
const LEAVE_STATIC: i32 = -2;

/// What the last heartbeat said, or those before it.
#[derive(Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) topics: SubscribedTopics,
    owned: BTreeMap<TopicId, Vec<i32>>,
}

impl ConsumerMembership {
    /// The next heartbeat. It is taken for sent; if it acknowledges an assignment, that is through.
    pub(super) fn heartbeat_request(&mut self) -> ConsumerGroupHeartbeatRequest {
        let joins = matches!(self.state, State::Joining);
        let topics = self.topics.clone().unwrap_or_else(|| SubscribedTopics::names(vec![]));
        let now = Sent { topics, owned: self.owned_by_id() };
        let mut request = self.request(if joins { JOIN } else { self.epoch.0 });
        let before = self.sent.as_ref().filter(|_| !joins);
        let names_changed = before.is_none_or(|before| before.topics != now.topics);
        if before.is_none() {
            request.rebalance_timeout_ms = millis(self.config.max_poll_interval);
            request.rack_id = self.config.rack.as_deref().map(str_bytes);
            request.server_assignor = self.config.remote_assignor.as_deref().map(str_bytes);
        }
        // A member on its way out has no subscription to speak of.
        if names_changed && self.topics.is_some() {
            let (names, regex) = match &now.topics {
                SubscribedTopics::Names(names) => (&names[..], None),
                SubscribedTopics::Regex(regex) => (&[][..], Some(&**regex)),
            };
            request.subscribed_topic_names = Some(names.iter().map(|name| TopicName(str_bytes(name))).collect());
            // Brokers below v1 take none at all; an empty one takes back the one of before.
            let had_regex = before.is_some_and(|before| matches!(before.topics, SubscribedTopics::Regex(_)));
            request.subscribed_topic_regex = regex.or(had_regex.then_some("")).map(str_bytes);
        }
        if before.is_none_or(|before| before.owned != now.owned) {
            let topic = |(id, numbers): (&TopicId, &Vec<i32>)| {
                let topic = TopicPartitions::default().with_topic_id((*id).into());
                topic.with_partitions(numbers.clone())
            };
            request.topic_partitions = Some(now.owned.iter().map(topic).collect());
        }
        self.sent = Some(now);
        self.entered = true;
        if matches!(self.state, State::Acknowledging) {
            self.state = State::Reconciling(None);
        }
        request
    }

    /// The last one.
    pub(super) fn leave_request(&self) -> ConsumerGroupHeartbeatRequest {
        self.request(if self.config.instance_id.is_some() { LEAVE_STATIC } else { LEAVE })
    }

    fn request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(str_bytes(&self.config.group_id)))
            .with_member_id(str_bytes(&self.member_id))
            .with_member_epoch(epoch)
            .with_instance_id(self.config.instance_id.as_deref().map(str_bytes))
    }

    fn owned_by_id(&self) -> BTreeMap<TopicId, Vec<i32>> {
        let mut owned: BTreeMap<_, Vec<i32>> = BTreeMap::new();
        for partition in self.owned.partitions() {
            if let Some(id) = self.owned_ids.get(&partition.topic) {
                owned.entry(*id).or_default().push(partition.partition);
            }
        }
        owned
    }
}
