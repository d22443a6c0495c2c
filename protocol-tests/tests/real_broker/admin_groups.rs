//! The admin over a real cluster: groups of both kinds, many at once, reset after a look at it, members removed.

use crate::admin_topics::{code, eventually};
use crate::sample::{read_numbers, write_numbers};
use crate::{PATIENCE, connect, fresh, since};
use milena::admin::{GroupFilter, MemberToRemove, ResetScope, ResetTo};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, GroupProtocol, OffsetReset};
use milena::error::ErrorCode;
use milena::ids::{OffsetAndMetadata, TopicPartition};

async fn member(client: &Client, group: &str, topic: &str, protocol: GroupProtocol) -> Consumer {
    let config = ConsumerConfig::group(group).auto_offset_reset(OffsetReset::Earliest).group_protocol(protocol);
    let config = config.group_instance_id(format!("{group}-1"));
    let mut consumer = client.consumer(config).expect("the configuration is sound");
    consumer.subscribe([topic]).await.expect("subscribed");
    assert_eq!(read_numbers(&mut consumer, 20).await.len(), 20);
    consumer.commit().await.expect("committed");
    consumer
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn both_kinds_are_described_and_guarded_while_they_have_members() {
    let client = connect().await;
    let admin = client.admin();
    let topic = crate::topic(&client, "admin-groups", 1, 1).await;
    let at = TopicPartition::new(&*topic, 0);
    write_numbers(&client, &topic, 0..20).await;
    let (classic, new, missing) = (fresh("classic"), fresh("new"), fresh("missing"));
    let has_new = !crate::is_before([4, 0, 0]);
    let one = member(&client, &classic, &topic, GroupProtocol::Classic).await;
    let two = if has_new { Some(member(&client, &new, &topic, GroupProtocol::Consumer).await) } else { None };

    let ids = [classic.clone(), missing.clone()].into_iter().chain(has_new.then(|| new.clone()));
    let told = admin.with_authorized_operations().describe_groups(ids).await.expect("the coordinators answer");
    assert_eq!(code(&told[&missing]), ErrorCode::GroupIdNotFound);
    let described = told[&classic].as_ref().expect("it is there");
    assert_eq!((&*described.group_type, &*described.state, described.members.len()), ("classic", "Stable", 1));
    assert_eq!(described.members[0].subscription, std::slice::from_ref(&topic));
    assert!(!described.authorized_operations.as_ref().expect("asked for").is_empty());
    if has_new {
        let described = told[&new].as_ref().expect("it is there");
        assert_eq!((&*described.group_type, described.members.len()), ("consumer", 1));
        assert_eq!(described.members[0].assignment, std::slice::from_ref(&at));
        assert_eq!(described.members[0].member_epoch, described.group_epoch);
    }
    let states = GroupFilter::default().states(["Stable"]);
    let listed = since([2, 6, 0], admin.list_groups_by(states).await).unwrap_or_default();
    assert!(crate::is_before([2, 6, 0]) || listed.iter().any(|group| group.group_id == classic));
    if let Some(listed) = since([3, 8, 0], admin.list_groups_by(GroupFilter::default().types(["consumer"])).await) {
        assert!(listed.iter().all(|group| group.group_id != classic));
        assert!(!has_new || listed.iter().any(|group| group.group_id == new));
    }

    for group in [Some(&classic), has_new.then_some(&new)].into_iter().flatten() {
        let error = admin.reset_group_offsets(group, ResetScope::Committed, ResetTo::Earliest).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::NonEmptyGroup), "{group}");
        let told = admin.alter_group_offsets(group, [(at.clone(), OffsetAndMetadata::new(1))]).await.expect("answered");
        assert_eq!(code(&told[&at]), ErrorCode::UnknownMemberId, "{group}");
        let told = admin.delete_group_offsets(group, [at.clone()]).await.expect("answered");
        assert_eq!(code(&told[&at]), ErrorCode::GroupSubscribedToTopic, "{group}");
        assert_eq!(code(&admin.delete_groups([group]).await.expect("answered")[group]), ErrorCode::NonEmptyGroup);
    }
    let (known, unknown) = (MemberToRemove::Instance(format!("{classic}-1")), MemberToRemove::Id("who".into()));
    let told = admin.remove_members(&classic, [known.clone(), unknown.clone()], "a test").await.expect("answered");
    told[&known].as_ref().expect("removed");
    assert_eq!(code(&told[&unknown]), ErrorCode::UnknownMemberId);
    drop(one);
    if let Some(two) = two {
        two.close(PATIENCE).await.expect("left");
    }
    eventually("the group is empty", async || {
        let told = admin.describe_groups([&classic]).await.expect("answered").remove(&classic)?.ok()?;
        told.members.is_empty().then_some(())
    })
    .await;
    let told = admin.delete_group_offsets(&classic, [at.clone()]).await.expect("answered");
    told[&at].as_ref().expect("forgotten");
    assert!(admin.list_group_offsets(&classic).await.expect("answered").is_empty());
    client.close().await;
}

#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port"]
async fn many_groups_are_moved_looked_at_and_deleted() {
    let client = connect().await;
    let admin = client.admin();
    let topic = crate::topic(&client, "admin-offsets", 2, 1).await;
    write_numbers(&client, &topic, 0..40).await;
    let at = |partition| TopicPartition::new(&*topic, partition);
    let groups: Vec<_> = (0..10).map(|_| fresh("many")).collect();
    for (number, group) in (0..).zip(&groups) {
        let told = admin.alter_group_offsets(group, [(at(0), OffsetAndMetadata::new(number))]).await.expect("answered");
        told[&at(0)].as_ref().expect("committed");
    }
    let told = admin.list_offsets_of_groups(&groups).await.expect("answered");
    for (number, group) in (0..).zip(&groups) {
        let offset = &told[group].as_ref().expect("it is there")[&at(0)];
        assert_eq!((offset.committed.offset, offset.end_offset.is_some()), (number, true));
    }
    let group = &groups[3];
    let topics = || ResetScope::Topics(vec![topic.clone()]);
    let dry = admin.dry_run().reset_group_offsets(group, topics(), ResetTo::Latest).await.expect("answered");
    let planned = dry[&at(0)].as_ref().expect("it can be");
    assert_eq!((planned.from, planned.to), (Some(3), planned.log_end));
    assert_eq!(admin.list_group_offsets(group).await.expect("answered")[&at(0)].committed.offset, 3);
    let moved = admin.reset_group_offsets(group, topics(), ResetTo::Latest).await.expect("answered");
    assert!(moved.len() == 2 && moved.values().all(Result::is_ok), "{moved:?}");
    assert_eq!(admin.list_group_offsets(group).await.expect("answered")[&at(0)].lag(), Some(0));
    let moved = admin.reset_group_offsets(group, ResetScope::Committed, ResetTo::Timestamp(0)).await.expect("answered");
    assert!(moved.values().all(|moved| moved.as_ref().is_ok_and(|moved| moved.to == 0)), "{moved:?}");
    let moved = admin.reset_group_offsets(group, ResetScope::Committed, ResetTo::Shift(1_000_000)).await;
    assert!(moved.expect("answered").values().all(|moved| moved.as_ref().is_ok_and(|moved| moved.clamped)));
    let missing = ResetScope::Partitions(vec![at(99)]);
    let told = admin.reset_group_offsets(group, missing, ResetTo::Earliest).await.expect("answered");
    assert_eq!(code(&told[&at(99)]), ErrorCode::UnknownTopicOrPartition);
    let none = fresh("none");
    let error = admin.delete_group_offsets(&none, [at(0)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
    let told = admin.delete_groups(groups.iter().chain([&none])).await.expect("answered");
    assert_eq!(code(&told[&none]), ErrorCode::GroupIdNotFound);
    assert!(groups.iter().all(|group| told[group].is_ok()), "{told:?}");
    client.close().await;
}
