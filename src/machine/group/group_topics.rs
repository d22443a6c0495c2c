//! The topics of a group as its leader's metadata has them: how many partitions, and the racks of their replicas.

use crate::ids::TopicPartition;
use crate::machine::metadata::Cluster;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The racks of one partition's replicas.
pub type Racks = BTreeSet<Arc<str>>;

/// What there is to assign. A topic that is not in it does not exist (yet).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupTopics {
    topics: BTreeMap<Arc<str>, Vec<Racks>>,
}

impl GroupTopics {
    /// Those of `names` that the cluster has.
    pub(crate) fn of<'a>(cluster: &Cluster, names: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let mut topics = Self::default();
        for name in names {
            let Some(topic) = cluster.topics.get(name) else { continue };
            let racks = topic.partitions.iter().map(|partition| {
                partition
                    .replicas
                    .iter()
                    .filter_map(|node| Some(cluster.nodes.get(node)?.rack.as_deref()?.into()))
                    .collect()
            });
            topics.insert(name.clone(), racks.collect());
        }
        topics
    }

    /// Adds a topic with so many partitions, of which no rack is known.
    pub fn add(&mut self, topic: impl Into<Arc<str>>, partitions: usize) {
        self.insert(topic, vec![Racks::new(); partitions]);
    }

    /// Adds a topic, or replaces it: for each of its partitions the racks of the replicas.
    pub fn insert(&mut self, topic: impl Into<Arc<str>>, partitions: Vec<Racks>) {
        if !partitions.is_empty() {
            self.topics.insert(topic.into(), partitions);
        }
    }

    /// Each topic with the racks of its partitions, by number.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &[Racks])> {
        self.topics.iter().map(|(topic, partitions)| (topic, &partitions[..]))
    }

    /// How many partitions a topic has.
    pub fn partition_count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, Vec::len)
    }

    /// Every partition there is, by topic, then number.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            (0..).zip(partitions).map(|(number, _)| TopicPartition::new(topic.clone(), number))
        })
    }

    /// The racks that have a replica of this partition; none if that is not known.
    pub fn racks(&self, partition: &TopicPartition) -> Option<&Racks> {
        self.topics.get(&partition.topic)?.get(usize::try_from(partition.partition).ok()?)
    }

    /// Whether these are other topics, or other numbers of partitions, or some partition now has a replica in a rack where
    /// it had none. That one is missing says nothing: its broker may only be down.
    pub(crate) fn differ_from(&self, before: &Self) -> bool {
        self.topics.len() != before.topics.len()
            || self.topics.iter().any(|(topic, partitions)| {
                let Some(before) = before.topics.get(topic) else { return true };
                let moved = |(now, before): (&Racks, &Racks)| !now.is_subset(before);
                partitions.len() != before.len() || partitions.iter().zip(before).any(moved)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(racks: &[&[&str]]) -> GroupTopics {
        let mut topics = GroupTopics::default();
        topics.insert("t", racks.iter().map(|racks| racks.iter().map(|rack| Arc::from(*rack)).collect()).collect());
        topics
    }

    #[test]
    fn a_broker_that_is_down_changes_nothing_and_a_replica_in_another_rack_does() {
        let before = topics(&[&["a", "b"], &["b"]]);
        assert!(!before.differ_from(&before));
        assert!(!topics(&[&["a"], &[]]).differ_from(&before));
        assert!(topics(&[&["a", "b"], &["c"]]).differ_from(&before));
        assert!(topics(&[&["a", "b"]]).differ_from(&before) && topics(&[]).differ_from(&before));
        assert!(before.differ_from(&topics(&[])));
    }
}
