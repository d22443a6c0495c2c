//! Partitions as requests have them, by topic, and as answers give them back.

use crate::ids::{NodeId, TopicPartition};
use crate::wire::StrBytes;
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::{BrokerId, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By topic; `one` makes what the request says of a partition.
pub(super) fn by_topic<'a, V: 'a, P>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, V)>,
    mut one: impl FnMut(i32, V) -> P,
) -> impl Iterator<Item = (TopicName, Vec<P>)> {
    let mut topics: BTreeMap<&Arc<str>, Vec<P>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(&partition.topic).or_default().push(one(partition.partition, value));
    }
    let topics: Vec<_> = topics.into_iter().map(|(topic, partitions)| (name(topic), partitions)).collect();
    topics.into_iter()
}

/// One by one; `one` gives a partition's number and what the answer says of it.
pub(super) fn by_partition<P, T>(
    topics: impl IntoIterator<Item = (TopicName, Vec<P>)>,
    mut one: impl FnMut(&TopicPartition, P) -> T,
    number: impl Fn(&P) -> i32,
) -> Vec<(TopicPartition, T)> {
    let mut all = Vec::new();
    for (topic, partitions) in topics {
        let topic: Arc<str> = topic.as_str().into();
        all.extend(partitions.into_iter().map(|partition| {
            let at = TopicPartition::new(topic.clone(), number(&partition));
            let told = one(&at, partition);
            (at, told)
        }));
    }
    all
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(str_bytes(topic))
}

pub(super) fn names(texts: &[String]) -> Vec<StrBytes> {
    texts.iter().map(|text| str_bytes(text)).collect()
}

pub(super) fn nodes(nodes: &[BrokerId]) -> Vec<NodeId> {
    nodes.iter().map(|node| NodeId(node.0)).collect()
}

pub(super) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}
