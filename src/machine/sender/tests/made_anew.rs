//! A topic that was deleted and made anew: with fewer partitions, or on brokers that have no ids to tell the two apart.

use super::*;

impl Rig {
    /// New metadata of a topic with this id and these leaders; all in this leader epoch.
    fn topic_is(&mut self, id: u8, leaders: &[i32], epoch: i32) {
        let partition = |leader: &i32| PartitionMetadata {
            leader: Some(NodeId(*leader)),
            leader_epoch: Some(LeaderEpoch(epoch)),
            ..PartitionMetadata::default()
        };
        let partitions = leaders.iter().map(partition).collect();
        let topic = TopicMetadata { name: "clicks".into(), id: TopicId([id; 16]), internal: false, partitions };
        self.cluster_is([("clicks".into(), Arc::new(topic))].into());
    }

    fn cluster_is(&mut self, topics: HashMap<Arc<str>, Arc<TopicMetadata>>) {
        let mut cluster = Cluster::clone(&self.sender.cluster);
        (cluster.generation, cluster.topics) = (cluster.generation + 1, topics);
        self.sender.handle_cluster(self.clock.now(), Arc::new(cluster));
    }

    fn append_with(&self, key: Option<&[u8]>, choice: &crate::machine::partitioner::Sticky) -> i32 {
        let record = crate::machine::accumulator::NewRecord { key, ..value(b"v") };
        let target = Target::Partitioner(choice);
        let ticket = self.accumulator.try_append(&self.topic, target, &record, None, &mut None);
        ticket.unwrap().unwrap().partition()
    }
}

const GONE: (ErrorKind, Certainty) = (ErrorKind::Broker(ErrorCode::UnknownTopicOrPartition), Certainty::NotSent);

/// Keys were hashed over the old count for ever, and what went to the partitions that are no more waited until it expired.
#[test]
fn a_topic_made_anew_with_fewer_partitions_takes_what_comes_and_what_can_not_go_fails_at_once() {
    let mut rig = Rig::with(&[1; 6], sender_config(), AccumulatorConfig { buffer_memory: 1 << 20, ..config() });
    rig.topic_is(1, &[1; 6], 0);
    let choice = crate::machine::partitioner::Sticky::new(7);
    while rig.append_with(None, &choice) < 2 {
        rig.append_bytes(choice.get().unwrap().0, 900); // the next one goes elsewhere
    }
    let under_way = rig.append(4);
    let first = rig.flush();
    let (stays, goes) = (rig.append(1), rig.append(5));
    rig.topic_is(2, &[1; 2], 0);
    assert_eq!(certainty(&goes), GONE);
    assert!(stays.result().is_none());
    assert!(rig.append_with(None, &choice) < 2);
    for key in 0..100u8 {
        assert!(rig.append_with(Some(&[key]), &choice) < 2);
    }
    let named = rig.accumulator.try_append(&rig.topic, Target::Partition(5), &value(b"v"), None, &mut None);
    assert_eq!(named.unwrap_err().kind(), ErrorKind::InvalidArgument);
    first.iter().for_each(|request| rig.answer(request, Some(ErrorCode::UnknownTopicOrPartition)));
    rig.topic_is(2, &[1; 2], 0);
    assert_eq!(certainty(&under_way).0, GONE.0);
    // And the same topic has never fewer than before, whatever a broker says that is behind.
    rig.topic_is(2, &[1; 8], 0);
    rig.topic_is(2, &[1; 2], 0);
    assert_eq!(rig.topic.partition_count(), 8);
}

/// Its leaders have epochs that the old one's were above: nothing of them was believed.
#[test]
fn without_ids_a_topic_whose_epochs_begin_anew_is_followed() {
    for is_seen_gone in [false, true] {
        for old in [2, 1] {
            let mut rig = Rig::new(&[1]);
            rig.topic_is(0, &[old], 3);
            rig.prove(0, old);
            if is_seen_gone {
                rig.cluster_is(HashMap::new());
            }
            rig.topic_is(0, &[1], 0);
            rig.append(0);
            rig.append(0);
            let nodes: Vec<i32> = rig.flush().iter().map(|request| request.node).collect();
            assert_eq!(nodes, [1], "and has nothing of ours, so one batch at a time goes there");
        }
    }
}

/// With ids the same is a broker that is behind.
#[test]
fn with_ids_an_older_epoch_of_the_same_topic_is_not_believed() {
    let mut rig = Rig::new(&[1]);
    rig.topic_is(1, &[2], 3);
    rig.topic_is(1, &[1], 0);
    rig.append(0);
    assert_eq!(rig.flush()[0].node, 2);
    rig.topic_is(2, &[1], 0);
    rig.append(0);
    assert!(rig.flush().is_empty(), "one is under way to the old leader");
}
