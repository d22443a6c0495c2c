//! Commits and committed offsets: their order, their owners, and what a rebalance does to them.

use super::*;

impl ConsumerCoordinator {
    /// Of an application that knows of everything that is assigned by now: all of these or nothing.
    pub(in crate::machine::group) fn commit_known(
        &mut self,
        now: Instant,
        offsets: HashMap<TopicPartition, OffsetAndMetadata>,
        deadline: Instant,
        reply: Option<Reply<()>>,
    ) {
        let meant = offsets.into_iter().map(|(partition, offset)| {
            let tenure = self.membership.tenure(&partition);
            (partition, (offset, tenure))
        });
        let commit = Commit::new(meant.collect::<HashMap<_, _>>(), deadline).whole();
        self.commit(now, reply.into_iter().fold(commit, Commit::awaited));
    }
}

#[test]
fn the_application_can_commit_while_it_gives_up_and_not_after() {
    let mut play = Play::eager().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (revocation, _) = play.revoking();
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, commit) = play.commit_sent();
    assert_eq!((commit.generation_id_or_member_epoch, commit.member_id.as_str()), (1, "m"));
    play.machine.revoked(play.now, revocation);
    play.quiet(); // JoinGroup has a connection of its own and must not overtake the commit
    play.commit_answer(id, 0, None);
    play.commit(0, 6, told.reply());
    play.join();
    play.quiet();
    assert_eq!(told.all(), [None, Some(ErrorKind::Broker(ErrorCode::RebalanceInProgress))]);
}

/// librdkafka 4059: taken as "lost", so that cooperative consumers dropped their assignments for four years.
#[test]
fn a_commit_refused_during_a_rebalance_is_neither_lost_nor_forgotten() {
    let mut play = Play::cooperative().stable(&[0]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (join, _) = play.join();
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::IllegalGeneration));
    assert_eq!(play.event(), "none");
    play.joined(join, 2, "m");
    play.synced(&[0]);
    play.wait(Duration::from_millis(200));
    let (id, commit) = play.commit_sent();
    assert_eq!(commit.generation_id_or_member_epoch, 2);
    play.commit_answer(id, 0, None);
    assert_eq!(told.all(), [None]);
}

#[test]
fn a_commit_waits_between_join_and_sync_and_does_not_touch_what_moved_meanwhile() {
    let mut play = Play::cooperative().stable(&[0, 1]);
    play.beat_answered(Some(ErrorCode::RebalanceInProgress));
    let (join, _) = play.join();
    play.joined(join, 2, "m");
    let (sync, _) = play.sync();
    let told = Told::default();
    play.commit(1, 5, told.reply());
    play.quiet();
    play.sync_answer(sync, "t", &[0]);
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 1, None);
    assert_eq!(told.all(), [None], "while it is being revoked it is still ours");
}

#[test]
fn a_commit_told_of_a_rebalance_joins_it() {
    let mut play = Play::cooperative().stable(&[0]);
    play.commit(0, 5, None);
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::RebalanceInProgress));
    assert_eq!(play.join().1.member_id.as_str(), "m");
}

/// franz-go 1.21.3: the member went on as a zombie.
#[test]
fn a_commit_by_an_unknown_member_joins_the_group_anew() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::UnknownMemberId));
    assert_eq!(told.all(), [Some(ErrorKind::Broker(ErrorCode::UnknownMemberId))]);
    assert_eq!(play.event(), "lost [0]");
    assert_eq!(play.join().1.member_id.as_str(), "");
}

#[test]
fn commits_keep_their_order_over_retries_and_never_go_backwards() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (first, _) = play.commit_sent();
    play.commit(0, 6, None);
    play.commit(0, 7, None);
    play.commit(0, 8, told.reply());
    play.quiet();
    play.commit_answer(first, 0, Some(ErrorCode::CoordinatorLoadInProgress));
    play.wait(Duration::from_millis(200));
    let mut sent = vec![];
    for _ in 0..3 {
        let (id, commit) = play.commit_sent();
        sent.push(offset_of(&commit));
        play.commit_answer(id, 0, None);
    }
    assert_eq!(sent, [5, 7, 8], "6 and 7 are one, since nobody waits for them");
    assert_eq!(told.all(), [None, None]);
    play.quiet();
}

#[test]
fn a_commit_that_the_coordinator_never_answers_ends_at_its_deadline() {
    let mut play = Play::cooperative().stable(&[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    play.commit_sent();
    play.next();
    play.wait(Duration::from_secs(60));
    assert_eq!(told.all(), [Some(ErrorKind::Timeout)]);
    assert_eq!(
        told.0.lock().unwrap()[0].as_ref().unwrap_err().delivery_certainty(),
        Some(crate::error::Certainty::PossiblySent)
    );
}

#[test]
fn without_a_subscription_commits_go_out_as_nobodys() {
    let mut play = Play::cooperative();
    play.commit(3, 5, None);
    play.found(NODE);
    let (id, commit) = play.commit_sent();
    assert_eq!((commit.generation_id_or_member_epoch, commit.member_id.as_str()), (-1, ""));
    play.commit_answer(id, 3, Some(ErrorCode::NotCoordinator));
    play.wait(Duration::from_millis(200));
    play.found(NodeId(2));
    play.commit_sent();
}

#[test]
fn offsets_are_read_stable_and_each_partition_has_an_answer() {
    let mut play = Play::cooperative();
    let told = Arc::new(Mutex::new(vec![]));
    let fetch = |play: &mut Play| {
        let told = told.clone();
        let partitions = vec![("t", 0).into(), ("t", 1).into()];
        let deadline = play.now + Duration::from_secs(60);
        play.machine.fetch_offsets(play.now, partitions, deadline, Box::new(move |got| told.lock().unwrap().push(got)));
    };
    fetch(&mut play);
    play.found(NODE);
    let (id, call) = play.next().unwrap();
    assert!(matches!(&call.request, GroupRequest::OffsetFetch(fetch) if fetch.require_stable));
    play.answer(id, offsets_answer(None, &[(0, 7, 0), (1, -1, ErrorCode::UnstableOffsetCommit.to_wire())]));
    play.quiet();
    play.wait(Duration::from_millis(200));
    let (id, _) = play.next().unwrap();
    play.answer(id, offsets_answer(None, &[(0, 7, 0), (1, -1, 0)]));
    let got = told.lock().unwrap().pop().unwrap().unwrap();
    assert_eq!(got.len(), 1, "1 has no commit");
    assert_eq!(got[&("t", 0).into()].as_ref().unwrap(), &OffsetAndMetadata::new(7));

    fetch(&mut play);
    let (id, _) = play.next().unwrap();
    play.answer(id, offsets_answer(None, &[(0, 7, 0), (1, -1, ErrorCode::TopicAuthorizationFailed.to_wire())]));
    let got = told.lock().unwrap().pop().unwrap().unwrap();
    let refused = got[&("t", 1).into()].as_ref().unwrap_err();
    assert_eq!((refused.kind(), got[&("t", 0).into()].is_ok()), (ErrorKind::Denied, true), "the others are read");

    fetch(&mut play);
    let (id, _) = play.next().unwrap();
    play.answer(id, offsets_answer(None, &[(0, 7, 0)]));
    let error = told.lock().unwrap().pop().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.topic_partition()), (ErrorKind::Malformed, Some(&("t", 1).into())));
}

/// KAFKA-13310: a revocation waited for it, and each later commit gave it a new deadline.
#[test]
fn a_commit_of_a_deleted_topic_that_nobody_waits_for_is_not_tried_again() {
    let mut play = Play::cooperative().stable(&[0]);
    play.commit(0, 5, None);
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::UnknownTopicOrPartition));
    play.wait(Duration::from_secs(1));
    assert!(play.next().is_none_or(|(_, call)| !matches!(call.request, GroupRequest::OffsetCommit(_))));
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::UnknownTopicOrPartition));
    play.wait(Duration::from_secs(1));
    play.commit_sent();
    assert!(told.all().is_empty(), "who waits for it tries again");
}
