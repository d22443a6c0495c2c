//! `enable.auto.offset.store=false`: what the application marks as processed is committed, and nothing else.

use crate::groups::{SECOND, TOPIC, client, cluster, config, held, member, poll_all, produce};
use milena::broker::TestCluster;
use milena::consumer::{Consumer, ConsumerConfig, Event, OwnedRecord};
use milena::error::ErrorKind;
use milena::ids::{LeaderEpoch, OffsetAndMetadata, TopicPartition};
use milena::properties::Properties;

fn marking() -> ConsumerConfig {
    config().enable_auto_commit(true).enable_auto_offset_store(false)
}

fn committed(cluster: &TestCluster, partition: i32) -> Option<i64> {
    cluster.committed("g", &(TOPIC, partition).into()).map(|offset| offset.offset)
}

async fn read(consumer: &mut Consumer, count: usize) -> Vec<OwnedRecord> {
    let mut read = vec![];
    while read.len() < count {
        let records = consumer.poll(SECOND).await.unwrap();
        read.extend((&records).into_iter().map(|record| record.to_owned()));
    }
    read
}

#[tokio::test(start_paused = true)]
async fn what_was_marked_is_committed_and_never_what_was_only_handed_out() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let mut one = member(&cluster, marking()).await;
    let records = read(&mut one, 10).await;
    poll_all(&mut [&mut one], 12 * SECOND).await;
    one.commit().await.unwrap();
    assert_eq!(committed(&cluster, 0), None, "nothing is marked");
    one.mark_processed([records[3].behind()]).unwrap();
    poll_all(&mut [&mut one], 6 * SECOND).await;
    assert_eq!(committed(&cluster, 0), Some(4), "auto-commit");
    one.mark_processed([records[6].behind()]).unwrap();
    one.commit().await.unwrap();
    assert_eq!(committed(&cluster, 0), Some(7));
    one.mark_processed([records[4].behind()]).unwrap();
    one.close(SECOND).await.unwrap();
    assert_eq!(committed(&cluster, 0), Some(5), "on close the last mark, though it goes back");
    let mut two = member(&cluster, marking()).await;
    assert_eq!(poll_all(&mut [&mut two], 3 * SECOND).await, [5, 6, 7, 8, 9]);
    two.unsubscribe().await.unwrap();
    assert_eq!(committed(&cluster, 0), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_mark_made_while_a_partition_is_given_up_is_committed_and_goes_with_it() {
    let cluster = cluster(2).await;
    produce(&cluster, 2, 0..20).await;
    let mut one = member(&cluster, marking()).await;
    read(&mut one, 20).await;
    let mut two = member(&cluster, marking()).await;
    let mut revoked: Option<TopicPartition> = None;
    while revoked.is_none() {
        if let Some(Event::Revoking(revoking)) = one.next(SECOND).await.unwrap() {
            let partition = revoking.partitions()[0].clone();
            assert_eq!(committed(&cluster, partition.partition), None);
            one.mark_processed([(partition.clone(), OffsetAndMetadata::new(6))]).unwrap();
            revoking.done();
            revoked = Some(partition);
        }
        two.poll(SECOND / 10).await.unwrap();
    }
    let revoked = revoked.unwrap();
    let late = one.mark_processed([(revoked.clone(), OffsetAndMetadata::new(8))]);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::State, "it is another's by now");
    let taken_over = poll_all(&mut [&mut one, &mut two], 8 * SECOND).await;
    assert_eq!((held(&one).len(), held(&two).len()), (1, 1));
    assert_eq!(committed(&cluster, revoked.partition), Some(6));
    assert_eq!(taken_over.len(), 4, "the new reader begins at the mark");
    two.close(SECOND).await.unwrap();
    poll_all(&mut [&mut one], 10 * SECOND).await;
    assert_eq!(held(&one).len(), 2);
    one.commit().await.unwrap();
    assert_eq!(committed(&cluster, revoked.partition), Some(6), "a partition comes back without a mark");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_cannot_be_is_refused_and_holds_up_no_other() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..3).await;
    let mut one = member(&cluster, marking()).await;
    read(&mut one, 3).await;
    let at = |offset| ((TOPIC, 0).into(), OffsetAndMetadata::new(offset));
    assert_eq!(one.mark_processed([at(-1)]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let stray = (("elsewhere", 0).into(), OffsetAndMetadata::new(1));
    assert_eq!(one.mark_processed([stray, at(2)]).unwrap_err().kind(), ErrorKind::State);
    one.commit().await.unwrap();
    assert_eq!(committed(&cluster, 0), Some(2));
}

#[tokio::test(start_paused = true)]
async fn one_record_is_committed_with_the_epoch_that_it_was_read_under() {
    let cluster = cluster(1).await;
    produce(&cluster, 1, 0..10).await;
    let properties =
        Properties::parse("group.id=g\nauto.offset.reset=earliest\nenable.auto.offset.store=false").unwrap();
    let mut one = client(&cluster).consumer(properties.consumer().unwrap()).unwrap();
    one.subscribe([TOPIC]).await.unwrap();
    let records = loop {
        let records = one.poll(SECOND).await.unwrap();
        if !records.is_empty() {
            break records;
        }
    };
    let record = (&records).into_iter().next().unwrap();
    assert_eq!((record.behind(), record.to_owned().behind()), (record.behind(), record.behind()));
    one.commit_offsets([record.behind()]).await.unwrap();
    let stored = cluster.committed("g", &(TOPIC, 0).into()).unwrap();
    assert_eq!((stored.offset, stored.leader_epoch), (1, Some(LeaderEpoch(0))));
}
