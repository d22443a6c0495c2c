//! The admin of groups, of both kinds: listed, described, moved, reset, deleted; members removed.

use super::{client, code, fill, guarded, is_denied};
use milena::admin::{
    GroupFilter, IsolationLevel, MemberToRemove, OffsetMove, OffsetSpec, Outcomes, ResetScope, ResetTo,
};
use milena::broker::{ApiKey, Emulation, Link, TestCluster};
use milena::client::Client;
use milena::consumer::{Consumer, ConsumerConfig, GroupProtocol, OffsetReset};
use milena::error::{ErrorCode, ErrorKind};
use milena::ids::{NodeId, OffsetAndMetadata, TopicPartition};
use milena::testing::next_records;
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn cluster(emulation: &str) -> TestCluster {
    let builder = TestCluster::builder().brokers(3).topic("t", 2).emulate(emulation);
    builder.in_memory().start().await.unwrap()
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A member of the group that reads all of `t`, with an instance id, after it has read what is there.
async fn member(client: &Client, group: &str, protocol: GroupProtocol, records: usize) -> Consumer {
    let config = ConsumerConfig::group(group).group_instance_id(format!("{group}-1")).group_protocol(protocol);
    let mut consumer = client.consumer(config.auto_offset_reset(OffsetReset::Earliest)).unwrap();
    consumer.subscribe(["t"]).await.unwrap();
    next_records(&mut consumer, records).await.unwrap();
    consumer
}

#[tokio::test(start_paused = true)]
async fn groups_of_both_kinds_are_listed_and_described() {
    let cluster = cluster("4.3").await;
    fill(&cluster, "t", 2, 4).await;
    let client = client(&cluster);
    let admin = client.admin();
    let classic = member(&client, "classic", GroupProtocol::Classic, 8).await;
    let new = member(&client, "new", GroupProtocol::Consumer, 8).await;
    admin.set_group_offsets("idle", [(at(0), OffsetAndMetadata::new(1))]).await.unwrap();

    let listed = |filter: GroupFilter| {
        let admin = admin.clone();
        async move {
            let listed = admin.list_groups_by(filter).await.unwrap().into_iter();
            listed.map(|group| (group.group_id, group.state, group.group_type)).collect::<Vec<_>>()
        }
    };
    let row = |id: &str, state: &str, kind: &str| (id.to_owned(), state.to_owned(), kind.to_owned());
    let (one, two) = (row("classic", "Stable", "classic"), row("new", "Stable", "consumer"));
    let idle = row("idle", "Empty", "classic");
    assert_eq!(listed(GroupFilter::default()).await, [one.clone(), idle.clone(), two.clone()]);
    assert_eq!(listed(GroupFilter::default().states(["Empty"])).await, std::slice::from_ref(&idle));
    assert_eq!(listed(GroupFilter::default().types(["consumer"])).await, std::slice::from_ref(&two));
    assert_eq!(listed(GroupFilter::default().states(["Stable"]).types(["classic"])).await, [one]);

    cluster.reset_requests();
    let mut described = admin.describe_groups(["classic", "new", "idle", "missing"]).await.unwrap();
    assert_eq!(code(&described["missing"]), ErrorCode::GroupIdNotFound);
    assert!(cluster.requests(ApiKey::DescribeGroups).count <= 3, "one for each coordinator");
    let classic_group = described.remove("classic").unwrap().unwrap();
    assert_eq!((&*classic_group.group_type, &*classic_group.state), ("classic", "Stable"));
    assert_eq!(Some(classic_group.coordinator), cluster.coordinator("classic"));
    let [one] = &classic_group.members[..] else { panic!("{classic_group:?}") };
    assert_eq!((one.instance_id.as_deref(), &*one.subscription[0]), (Some("classic-1"), "t"));
    assert_eq!((one.assignment.len(), one.member_epoch, classic_group.group_epoch), (2, None, None));
    let new_group = described.remove("new").unwrap().unwrap();
    assert_eq!((&*new_group.group_type, &*new_group.protocol_type), ("consumer", "consumer"));
    assert_eq!(new_group.group_epoch, new_group.assignment_epoch);
    let [one] = &new_group.members[..] else { panic!("{new_group:?}") };
    assert_eq!((one.assignment.len(), one.target_assignment.len()), (2, 2));
    assert_eq!((one.member_epoch, one.instance_id.as_deref()), (new_group.group_epoch, Some("new-1")));
    assert!(described["idle"].as_ref().unwrap().members.is_empty());
    assert!(described["idle"].as_ref().unwrap().authorized_operations.is_none());
    let asked = admin.with_authorized_operations().describe_groups(["new", "classic"]).await.unwrap();
    assert!(asked.values().all(|group| !group.as_ref().unwrap().authorized_operations.as_ref().unwrap().is_empty()));
    new.commit().await.unwrap();
    for consumer in [classic, new] {
        consumer.close(SECOND).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_can_not_be_reached_is_named_and_its_partition_is_not_gone() {
    for is_connected in [false, true] {
        let builder = TestCluster::builder().brokers(3).default_replication(1).topic("t", 2);
        let cluster = builder.in_memory().start().await.unwrap();
        fill(&cluster, "t", 2, 4).await;
        let [lost, other] = [0, 1].map(|partition| cluster.leader("t", partition).unwrap());
        assert_ne!(lost, other);
        let groups = (0..20).map(|number| format!("g{number}"));
        // Who finds a coordinator may be the silent one, too: then another is asked.
        let admin = || {
            let config = cluster.client_config().request_timeout(3 * SECOND).connection_setup_timeout(3 * SECOND);
            Client::new(config.seed(7)).unwrap().admin().with_timeout(20 * SECOND)
        };
        let first = admin();
        let mut group = String::new();
        for name in groups {
            first.set_group_offsets(&name, (0..2).map(|of| (at(of), OffsetAndMetadata::new(1)))).await.unwrap();
            if cluster.coordinator(&name) == Some(other) {
                group = name;
            }
        }
        // With a connection the question is not answered, and without one none is made.
        let admin = if is_connected { first } else { admin() };
        cluster.cut(Link::Clients(lost));
        let offsets = admin.list_group_offsets(&group).await.unwrap();
        assert_eq!((offsets[&at(1)].end_offset, offsets[&at(1)].lag()), (Some(4), Some(3)));
        assert!(offsets[&at(1)].end_error.is_none());
        assert_eq!((offsets[&at(0)].end_offset, offsets[&at(0)].lag()), (None, None));
        let told = offsets[&at(0)].end_error.clone().expect("why");
        let places = [0, 1].map(|partition| (at(partition), OffsetSpec::Latest));
        let mut listed = admin.list_offsets(places, IsolationLevel::ReadUncommitted).await.unwrap();
        assert!(listed[&at(1)].is_ok());
        let ended = admin.end_offsets([at(0), at(1)]).await.unwrap_err();
        for error in [told, listed.remove(&at(0)).unwrap().unwrap_err(), ended] {
            let text = error.to_string();
            assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Timeout, None), "{text}");
            assert!(text.contains(&format!("ListOffsets to node {lost} at ")), "{text}");
            assert!(text.contains("no answer in time") || text.contains("not connected within"), "{text}");
        }
        // A partition that nobody leads is another matter.
        cluster.heal();
        cluster.kill(lost);
        let offsets = admin.list_group_offsets(&group).await.unwrap();
        assert!(offsets[&at(0)].end_offset.is_none() && offsets[&at(0)].end_error.is_none(), "{offsets:?}");
        assert_eq!(offsets[&at(1)].end_offset, Some(4));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_is_too_old_for_is_said_with_its_versions() {
    let old = cluster("2.4").await;
    let admin = client(&old).admin();
    let error = admin.list_groups_by(GroupFilter::default().states(["Empty"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    let said = error.to_string();
    assert!(said.contains("ListGroups") && said.contains("v3") && said.contains("v4"), "{said}");
    let newer = cluster("2.8").await;
    let admin = client(&newer).admin();
    let error = admin.list_groups_by(GroupFilter::default().types(["consumer"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    // Without KIP-848 there are only classic groups, and one that is not there is nobody's guess.
    admin.set_group_offsets("g", [(at(0), OffsetAndMetadata::new(1))]).await.unwrap();
    let described = admin.describe_groups(["g", "missing"]).await.unwrap();
    assert_eq!(described["g"].as_ref().unwrap().group_type, "classic");
    assert_eq!(code(&described["missing"]), ErrorCode::GroupIdNotFound);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_many_groups_take_one_request_per_coordinator() {
    for (emulation, at_most) in [("4.3", 3), ("2.8", 20)] {
        let cluster = cluster(emulation).await;
        let admin = client(&cluster).admin();
        let groups: Vec<_> = (0..20).map(|number| format!("g{number:02}")).collect();
        for (number, group) in (0..).zip(&groups) {
            admin.set_group_offsets(group, [(at(0), OffsetAndMetadata::new(number))]).await.unwrap();
        }
        cluster.reset_requests();
        let offsets = admin.committed_offsets(&groups).await.unwrap();
        assert_eq!(cluster.requests(ApiKey::OffsetFetch).count, at_most, "{emulation}");
        for (number, group) in (0..).zip(&groups) {
            assert_eq!(offsets[group].as_ref().unwrap()[&at(0)].offset, number, "{emulation}");
        }
        cluster.reset_requests();
        let deleted = admin.delete_groups(&groups).await.unwrap();
        assert!(deleted.len() == 20 && deleted.values().all(Result::is_ok));
        assert_eq!(cluster.requests(ApiKey::DeleteGroups).count, 3, "{emulation}");
        assert!(admin.committed_offsets(["none"]).await.unwrap()["none"].as_ref().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_or_loads_is_asked_again_about_what_is_left() {
    let cluster = cluster("4.3").await;
    let admin = client(&cluster).admin();
    for group in ["a", "b", "c", "d"] {
        admin.set_group_offsets(group, [(at(0), OffsetAndMetadata::new(3))]).await.unwrap();
    }
    cluster.fault(ApiKey::OffsetFetch).times(2).error(ErrorCode::NotCoordinator);
    cluster.fault(ApiKey::FindCoordinator).once().error(ErrorCode::CoordinatorNotAvailable);
    cluster.fault(ApiKey::OffsetFetch).once().disconnect();
    let offsets = admin.list_offsets_of_groups(["a", "b", "c", "d"]).await.unwrap();
    assert!(offsets.values().all(|group| group.as_ref().unwrap()[&at(0)].committed.offset == 3));
    cluster.clear_faults();
    cluster.fault(ApiKey::DeleteGroups).times(3).error(ErrorCode::CoordinatorLoadInProgress);
    let deleted = admin.delete_groups(["a", "missing"]).await.unwrap();
    assert!(deleted["a"].is_ok());
    assert_eq!(code(&deleted["missing"]), ErrorCode::GroupIdNotFound);
    cluster.clear_faults();
    // Not done again: it may have been done.
    cluster.fault(ApiKey::DeleteGroups).once().apply_then_disconnect();
    let error = admin.delete_groups(["b"]).await.unwrap_err();
    assert_eq!(error.delivery_certainty(), Some(milena::error::Certainty::PossiblySent));
    assert_eq!(code(&admin.delete_groups(["b"]).await.unwrap()["b"]), ErrorCode::GroupIdNotFound);
    // For as long as it is told to, and no longer.
    cluster.fault(ApiKey::OffsetFetch).error(ErrorCode::CoordinatorLoadInProgress);
    let begin = tokio::time::Instant::now();
    let error = admin.with_timeout(3 * SECOND).committed_offsets(["c"]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::CoordinatorLoadInProgress));
    assert!((SECOND..=3 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_looked_at_first_and_then_made() {
    let cluster = cluster("4.3").await;
    let admin = client(&cluster).admin();
    let begin = cluster.clock().unix_millis();
    for _ in 0..10 {
        fill(&cluster, "t", 2, 1).await;
        cluster.clock().advance(SECOND).await;
    }
    let ends = admin.end_offsets([at(0), at(1)]).await.unwrap();
    let end = ends[&at(0)];
    assert_eq!(ends.values().sum::<i64>(), 20);
    admin.set_group_offsets("g", [(at(0), OffsetAndMetadata::new(1))]).await.unwrap();
    let plan = async |to| {
        let dry = admin.dry_run().reset_group_offsets("g", ResetScope::Committed, to).await.unwrap();
        assert_eq!(dry.len(), 1, "only where it has committed");
        *dry[&at(0)].as_ref().unwrap()
    };
    let place = |planned: OffsetMove| (planned.from, planned.to, planned.clamped);
    assert_eq!(place(plan(ResetTo::Earliest).await), (Some(1), 0, false));
    assert_eq!(place(plan(ResetTo::Latest).await), (Some(1), end, false));
    assert_eq!(place(plan(ResetTo::Shift(-5)).await), (Some(1), 0, true));
    assert_eq!(place(plan(ResetTo::Offset(99)).await), (Some(1), end, true));
    assert_eq!(place(plan(ResetTo::Timestamp(begin)).await), (Some(1), 0, false));
    assert_eq!(place(plan(ResetTo::Timestamp(begin + 3_600_000)).await), (Some(1), end, false));
    assert_eq!(cluster.committed("g", &at(0)).unwrap().offset, 1, "a dry run commits nothing");
    assert!(admin.dry_run().delete_groups(["g"]).await.is_err_and(|error| error.kind() == ErrorKind::InvalidArgument));
    assert!(cluster.committed("g", &at(0)).is_some());

    let moved = admin.reset_group_offsets("g", ResetScope::Topics(vec!["t".into()]), ResetTo::Latest).await.unwrap();
    assert_eq!(moved.keys().cloned().collect::<BTreeSet<_>>(), BTreeSet::from([at(0), at(1)]));
    assert_eq!(cluster.committed("g", &at(1)).unwrap().offset, ends[&at(1)]);
    let scope = ResetScope::Partitions(vec![at(0), at(9)]);
    let moved = admin.reset_group_offsets("g", scope, ResetTo::Earliest).await.unwrap();
    assert_eq!(moved[&at(0)].as_ref().unwrap().to, 0);
    assert_eq!(code(&moved[&at(9)]), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(cluster.committed("g", &at(0)).unwrap().offset, 0);
    let missing = ResetScope::Topics(vec!["missing".into()]);
    let error = admin.reset_group_offsets("g", missing, ResetTo::Earliest).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test(start_paused = true)]
async fn a_group_with_members_is_not_moved_nor_deleted_until_they_are_gone() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let cluster = cluster("4.3").await;
        fill(&cluster, "t", 2, 2).await;
        let client = client(&cluster);
        let admin = client.admin();
        let consumer = member(&client, "g", protocol, 4).await;
        consumer.commit().await.unwrap();
        for admin in [&admin, &admin.dry_run()] {
            let error = admin.reset_group_offsets("g", ResetScope::Committed, ResetTo::Earliest).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::NonEmptyGroup), "{protocol:?}");
        }
        let altered = admin.alter_group_offsets("g", [(at(0), OffsetAndMetadata::new(0))]).await.unwrap();
        assert_eq!(code(&altered[&at(0)]), ErrorCode::UnknownMemberId, "{protocol:?}");
        assert_eq!(code(&admin.delete_groups(["g"]).await.unwrap()["g"]), ErrorCode::NonEmptyGroup);
        let deleted = admin.delete_group_offsets("g", [at(0)]).await.unwrap();
        assert_eq!(code(&deleted[&at(0)]), ErrorCode::GroupSubscribedToTopic, "{protocol:?}");
        consumer.close(SECOND).await.unwrap();
        if protocol == GroupProtocol::Classic {
            let who = [MemberToRemove::Instance("g-1".into())];
            admin.remove_members("g", who, "gone").await.unwrap().into_values().for_each(Result::unwrap);
        } else {
            cluster.clock().advance(120 * SECOND).await; // a static member of the new kind leaves for a while only
            tokio::time::sleep(SECOND).await;
        }
        let deleted = admin.delete_group_offsets("g", [at(0)]).await.unwrap();
        assert!(deleted[&at(0)].is_ok(), "{protocol:?} {deleted:?}");
        assert_eq!(cluster.committed("g", &at(0)), None);
        assert!(cluster.committed("g", &at(1)).is_some());
        admin.delete_groups(["g"]).await.unwrap().remove("g").unwrap().unwrap();
        let error = admin.delete_group_offsets("g", [at(0)]).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
    }
}

#[tokio::test(start_paused = true)]
async fn members_are_removed_by_id_or_by_instance_and_each_is_told() {
    let cluster = cluster("4.3").await;
    let client = client(&cluster);
    let admin = client.admin();
    fill(&cluster, "t", 2, 1).await;
    let _consumer = member(&client, "g", GroupProtocol::Classic, 2).await;
    let unknown = || MemberToRemove::Id("who?".into());
    let (known, other) = (MemberToRemove::Instance("g-1".into()), MemberToRemove::Instance("g-2".into()));
    let removed = admin.remove_members("g", [known.clone(), other.clone(), unknown()], "tidying up").await.unwrap();
    assert!(removed[&known].is_ok());
    assert_eq!(code(&removed[&other]), ErrorCode::UnknownMemberId);
    assert_eq!(code(&removed[&unknown()]), ErrorCode::UnknownMemberId);
    assert!(cluster.group_reasons("g").iter().any(|reason| reason == "tidying up"));
    let removed = admin.remove_members("missing", [unknown()], "").await.unwrap();
    assert_eq!(code(&removed[&unknown()]), ErrorCode::UnknownMemberId);
}

fn all_denied<T: std::fmt::Debug>(outcomes: milena::error::Result<Outcomes<T>>) {
    outcomes.unwrap().into_values().for_each(is_denied);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_so_group_by_group() {
    let (cluster, root, nobody) = guarded(TestCluster::builder().brokers(3).topic("t", 2)).await;
    root.set_group_offsets("g", [(at(0), OffsetAndMetadata::new(0))]).await.unwrap();
    assert!(nobody.list_groups().await.unwrap().is_empty(), "what may not be seen is not listed");
    all_denied(nobody.describe_groups(["g", "h"]).await);
    all_denied(nobody.committed_offsets(["g"]).await);
    all_denied(nobody.delete_groups(["g"]).await);
    is_denied(nobody.list_group_offsets("g").await);
    is_denied(nobody.set_group_offsets("g", [(at(0), OffsetAndMetadata::new(1))]).await);
    is_denied(nobody.reset_group_offsets("g", ResetScope::Committed, ResetTo::Earliest).await);
    is_denied(nobody.delete_group_offsets("g", [at(0)]).await);
    is_denied(nobody.remove_members("g", [MemberToRemove::Id("x".into())], "").await);
    assert_eq!(cluster.committed("g", &at(0)).unwrap().offset, 0);
}

#[tokio::test(start_paused = true)]
async fn every_release_does_the_round_of_groups() {
    for emulation in Emulation::ALL.iter().copied() {
        let cluster = cluster(emulation.name()).await;
        let admin = client(&cluster).admin();
        let offsets = [(at(0), OffsetAndMetadata::new(0)), (at(1), OffsetAndMetadata::new(0))];
        admin.alter_group_offsets("g", offsets).await.unwrap().into_values().for_each(Result::unwrap);
        assert_eq!(admin.list_group_offsets("g").await.unwrap().len(), 2, "{emulation}");
        let moved = admin.reset_group_offsets("g", ResetScope::Committed, ResetTo::Latest).await.unwrap();
        assert!(moved.values().all(Result::is_ok), "{emulation}");
        let members = [MemberToRemove::Id("x".into()), MemberToRemove::Id("y".into())];
        let removed = admin.remove_members("g", members, "why").await.unwrap();
        assert!(removed.values().all(|one| code(one) == ErrorCode::UnknownMemberId), "{emulation}");
        match admin.delete_group_offsets("g", [at(0)]).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{emulation}: {error}"),
            Ok(deleted) => assert!(deleted[&at(0)].is_ok(), "{emulation}"),
        }
        let deleted = admin.delete_groups(["g", "h"]).await.unwrap();
        assert!(deleted["g"].is_ok(), "{emulation}");
        assert_eq!(code(&deleted["h"]), ErrorCode::GroupIdNotFound, "{emulation}");
        assert!(cluster.coordinator("g").is_some_and(|node| node != NodeId(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_breaks_is_no_change_that_may_have_been_made() {
    let cluster = cluster("4.3").await;
    let admin = client(&cluster).admin();
    admin.set_group_offsets("a", [(at(0), OffsetAndMetadata::new(3))]).await.unwrap();
    cluster.fault(ApiKey::FindCoordinator).once().apply_then_disconnect();
    assert!(admin.delete_groups(["a"]).await.unwrap()["a"].is_ok());
}
