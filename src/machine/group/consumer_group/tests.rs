//! A member of a consumer group alone, with a `now` that the test moves and a coordinator that the test plays. Each line
//! of protocol-rules 9 has its test.

use crate::error::{Error, ErrorCode, ErrorKind};
use crate::ids::NodeId;
use crate::ids::TopicId;
use crate::machine::group::membership::SubscribedTopics;
use crate::machine::group::tests::{NODE, POLL, Play, T, Told, cluster, config, names, offset_of, offsets_answer};
use crate::machine::group::{GroupCall, GroupConfig, GroupProtocol, GroupRequest, GroupResponse, Reply, To};
use crate::machine::metadata::Cluster;
use crate::machine::{Machine, RequestId};
use crate::wire::group_protocol::str_bytes;
use crate::wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use crate::wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the coordinator of these tests says.
const INTERVAL: Duration = Duration::from_secs(5);

fn member() -> GroupConfig {
    GroupConfig { protocol: GroupProtocol::Consumer, ..config(vec![]) }
}

fn static_member() -> GroupConfig {
    GroupConfig { instance_id: Some("one".into()), ..member() }
}

fn target(topics: &[(TopicId, &[i32])]) -> Option<Assignment> {
    let topic = |(id, numbers): &(TopicId, &[i32])| {
        TopicPartitions::default().with_topic_id((*id).into()).with_partitions(numbers.to_vec())
    };
    Some(Assignment::default().with_topic_partitions(topics.iter().map(topic).collect()))
}

fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<(TopicId, Vec<i32>)>> {
    let topics = request.topic_partitions.as_ref()?;
    Some(topics.iter().map(|topic| (topic.topic_id.into(), topic.partitions.clone())).collect())
}

fn topic_names(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<&str>> {
    Some(request.subscribed_topic_names.as_ref()?.iter().map(|name| name.as_str()).collect())
}

impl Play {
    /// Subscribed to topic "t" of six partitions, and about to join.
    fn joining(config: GroupConfig) -> Self {
        let mut play = Self::new(config);
        play.machine.metadata(play.now, &cluster(6));
        play.machine.subscribe(play.now, names(&["t"]));
        play.found(NODE);
        play
    }

    /// A stable member of epoch 1 that owns these partitions of "t".
    fn in_group(config: GroupConfig, partitions: &[i32]) -> Self {
        let mut play = Self::joining(config);
        let (id, _) = play.heartbeat();
        play.accept(id, 1, target(&[(T, partitions)]));
        assert_eq!(play.event(), "generation 1");
        assert_eq!(play.event(), format!("assigned {partitions:?}"));
        let (id, _) = play.heartbeat();
        play.accept(id, 1, None);
        play.quiet();
        play
    }

    fn heartbeat(&mut self) -> (RequestId, ConsumerGroupHeartbeatRequest) {
        match self.next() {
            Some((id, GroupCall { to: To::Group(_), request: GroupRequest::ConsumerGroupHeartbeat(beat), .. })) => {
                (id, beat)
            }
            call => panic!("not a heartbeat: {call:?}"),
        }
    }

    fn accept(&mut self, id: RequestId, epoch: i32, assignment: Option<Assignment>) {
        let answer = ConsumerGroupHeartbeatResponse::default()
            .with_member_epoch(epoch)
            .with_heartbeat_interval_ms(INTERVAL.as_millis() as i32)
            .with_assignment(assignment);
        self.answer(id, GroupResponse::ConsumerGroupHeartbeat(answer));
    }

    fn refuse(&mut self, id: RequestId, code: ErrorCode) {
        let answer = ConsumerGroupHeartbeatResponse::default().with_error_code(code.to_wire());
        let answer = answer.with_error_message(Some(str_bytes("says the broker")));
        self.answer(id, GroupResponse::ConsumerGroupHeartbeat(answer));
    }

    /// The next regular heartbeat brings this.
    fn moved(&mut self, epoch: i32, assignment: Option<Assignment>) {
        self.wait(INTERVAL);
        let (id, _) = self.heartbeat();
        self.accept(id, epoch, assignment);
    }

    fn failure(&mut self) -> Error {
        loop {
            match self.machine.poll_event() {
                Some((_, crate::machine::group::GroupEvent::Failed(error))) => return error,
                Some(_) => {}
                None => panic!("not failed"),
            }
        }
    }

    fn names_asked(&mut self) -> (RequestId, Vec<TopicId>) {
        match self.next() {
            Some((id, GroupCall { to: To::Metadata, request: GroupRequest::TopicNames(ids), .. })) => (id, ids),
            call => panic!("not asked for names: {call:?}"),
        }
    }
}

#[test]
fn the_first_heartbeat_says_everything_under_an_id_of_our_own() {
    let config = GroupConfig { rack: Some("a".into()), remote_assignor: Some("range".into()), ..member() };
    let mut play = Play::joining(config);
    let (_, join) = play.heartbeat();
    let id = uuid::Uuid::parse_str(join.member_id.as_str()).unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
    assert_eq!((join.group_id.as_str(), join.member_epoch, join.instance_id.clone()), ("g", 0, None));
    assert_eq!(join.rebalance_timeout_ms, POLL.as_millis() as i32, "max.poll.interval.ms");
    assert_eq!((topic_names(&join), owned(&join)), (Some(vec!["t"]), Some(vec![])), "a joining member owns nothing");
    assert_eq!(join.subscribed_topic_regex, None, "which version 0 lacks");
    assert_eq!((join.rack_id.as_deref(), join.server_assignor.as_deref()), (Some("a"), Some("range")));
}

#[test]
fn later_heartbeats_say_only_what_has_changed() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.wait(INTERVAL);
    let (id, beat) = play.heartbeat();
    let everything_else = (
        topic_names(&beat),
        owned(&beat),
        beat.rebalance_timeout_ms,
        beat.rack_id.clone(),
        beat.server_assignor.clone(),
    );
    assert_eq!(everything_else, (None, None, -1, None, None));
    assert_eq!(beat.member_epoch, 1);
    play.machine.subscribe(play.now, names(&["t", "u"]));
    play.accept(id, 1, None);
    let (_, beat) = play.heartbeat();
    assert_eq!((topic_names(&beat), owned(&beat)), (Some(vec!["t", "u"]), None), "at once, not at the next interval");
}

#[test]
fn an_assignment_is_acknowledged_at_once_with_what_is_owned() {
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.accept(id, 1, target(&[(T, &[0, 1])]));
    assert_eq!((play.event(), play.event()), ("generation 1".into(), "assigned [0, 1]".into()));
    let (id, ack) = play.heartbeat();
    assert_eq!((ack.member_epoch, owned(&ack)), (1, Some(vec![(T, vec![0, 1])])));
    play.accept(id, 1, None);
    play.quiet();
    play.wait(INTERVAL - Duration::from_millis(1));
    play.quiet();
    play.wait(Duration::from_millis(1));
    play.heartbeat();
}

#[test]
fn a_member_that_gets_nothing_is_told_so() {
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.accept(id, 1, target(&[]));
    assert_eq!((play.event(), play.event()), ("generation 1".into(), "assigned []".into()));
}

#[test]
fn what_goes_is_revoked_first_and_the_application_may_commit_it_while_heartbeats_go_on() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.moved(2, target(&[(T, &[1, 2])]));
    assert_eq!(play.event(), "generation 2");
    let (revocation, revoked) = play.revoking();
    assert_eq!((revoked, play.event()), (vec![0], "none".into()), "2 comes only then");
    for _ in 0..3 {
        play.wait(INTERVAL);
        let (id, beat) = play.heartbeat();
        assert_eq!(owned(&beat), None, "nothing has changed yet");
        play.accept(id, 2, None);
    }
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (commit, request) = play.commit_sent();
    assert_eq!(request.generation_id_or_member_epoch, 2);
    play.machine.revoked(play.now, revocation);
    play.quiet(); // the acknowledgement does not overtake the commit
    play.commit_answer(commit, 0, None);
    assert_eq!((told.all(), play.event()), (vec![None], "assigned [2]".into()));
    let (_, ack) = play.heartbeat();
    assert_eq!(owned(&ack), Some(vec![(T, vec![1, 2])]));
    play.commit(0, 6, told.reply());
    assert_eq!(told.all()[1], Some(ErrorKind::Broker(ErrorCode::RebalanceInProgress)), "no longer ours");
}

#[test]
fn a_newer_target_waits_until_the_one_in_hand_is_through() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.moved(2, target(&[(T, &[1, 2])]));
    play.event();
    let (revocation, _) = play.revoking();
    play.moved(3, target(&[(T, &[2, 3])]));
    assert_eq!((play.event(), play.event()), ("generation 3".into(), "none".into()));
    play.machine.revoked(play.now, revocation);
    assert_eq!(play.event(), "assigned [2]");
    let (id, ack) = play.heartbeat();
    assert_eq!(owned(&ack), Some(vec![(T, vec![1, 2])]));
    play.accept(id, 3, None);
    let (revocation, revoked) = play.revoking();
    assert_eq!(revoked, [1]);
    play.machine.revoked(play.now, revocation);
    assert_eq!(play.event(), "assigned [3]");
    assert_eq!(owned(&play.heartbeat().1), Some(vec![(T, vec![2, 3])]));
}

/// After an error we say what we own, without what was promised: the coordinator takes it for free.
#[test]
fn what_is_taken_back_before_it_was_given_is_not_assigned() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.moved(2, target(&[(T, &[1, 2, 3])]));
    play.event();
    let (revocation, revoked) = play.revoking();
    assert_eq!(revoked, [0]);
    play.moved(3, target(&[(T, &[1, 3])]));
    assert_eq!(play.event(), "generation 3");
    play.machine.revoked(play.now, revocation);
    assert_eq!(play.event(), "assigned [3]");
    assert_eq!(owned(&play.heartbeat().1), Some(vec![(T, vec![1, 3])]));
}

#[test]
fn an_application_that_never_finishes_is_overruled_by_the_deadline() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.moved(2, target(&[(T, &[2])]));
    play.event();
    let (late, _) = play.revoking();
    play.now += POLL - INTERVAL * 2;
    play.machine.polled(play.now); // polling, but not acknowledging
    let (id, _) = play.heartbeat();
    play.accept(id, 2, None);
    play.wait(INTERVAL);
    assert_eq!((play.event(), play.event()), ("lost [0, 1]".into(), "assigned [2]".into()));
    play.machine.revoked(play.now, late);
    assert_eq!(owned(&play.heartbeat().1), Some(vec![(T, vec![2])]));
}

/// franz-go 1.21.6: a topic that a regular expression matched was assigned before the client's metadata had it, and
/// never consumed.
#[test]
fn topics_that_are_assigned_before_they_have_a_name_are_waited_for_and_not_dropped() {
    let (u, v) = (TopicId([8; 16]), TopicId([9; 16]));
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.accept(id, 1, target(&[(T, &[0]), (u, &[1]), (v, &[2])]));
    assert_eq!((play.event(), play.event()), ("generation 1".into(), "assigned [0]".into()), "what has a name is read");
    let (asked, ids) = play.names_asked();
    assert_eq!(ids, [u, v]);
    let (ack, beat) = play.heartbeat();
    assert_eq!(owned(&beat), Some(vec![(T, vec![0])]));
    play.accept(ack, 1, None);
    play.answer(asked, GroupResponse::TopicNames(vec![(u, "u".into())]));
    assert_eq!(play.event(), "assigned [1]");
    let (ack, beat) = play.heartbeat();
    assert_eq!(owned(&beat), Some(vec![(T, vec![0]), (u, vec![1])]));
    play.accept(ack, 1, None);
    play.wait(Duration::from_millis(200));
    let (asked, ids) = play.names_asked();
    assert_eq!(ids, [v]);
    play.lose(asked);
    let mut known = Cluster::clone(&cluster(6));
    known.topics.insert(
        "v".into(),
        Arc::new(crate::machine::metadata::TopicMetadata {
            name: "v".into(),
            id: v,
            internal: false,
            partitions: vec![],
        }),
    );
    play.machine.metadata(play.now, &Arc::new(known));
    assert_eq!(play.event(), "assigned [2]");
    assert_eq!(owned(&play.heartbeat().1).unwrap().len(), 3);
    play.quiet();
}

#[test]
fn a_topic_that_was_made_anew_under_the_same_name_is_given_up_and_assigned_again() {
    let new = TopicId([8; 16]);
    let mut play = Play::in_group(member(), &[0]);
    play.moved(2, target(&[(new, &[0])]));
    play.event();
    let (asked, _) = play.names_asked();
    let (revocation, revoked) = play.revoking();
    assert_eq!(revoked, [0]);
    play.answer(asked, GroupResponse::TopicNames(vec![(new, "t".into())]));
    play.machine.revoked(play.now, revocation);
    let (id, ack) = play.heartbeat();
    assert_eq!((play.event(), owned(&ack)), ("assigned []".into(), Some(vec![])));
    play.accept(id, 2, None);
    assert_eq!((play.event(), owned(&play.heartbeat().1)), ("assigned [0]".into(), Some(vec![(new, vec![0])])));
}

/// The answer put the next heartbeat off by an interval, and with it what the coordinator waits for.
#[test]
fn what_is_assigned_while_a_heartbeat_is_under_way_is_said_as_soon_as_it_is_answered() {
    let u = TopicId([8; 16]);
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.accept(id, 1, target(&[(u, &[1])]));
    assert_eq!((play.event(), play.event()), ("generation 1".into(), "assigned []".into()));
    let (asked, _) = play.names_asked();
    let (id, _) = play.heartbeat();
    play.answer(asked, GroupResponse::TopicNames(vec![(u, "u".into())]));
    assert_eq!(play.event(), "assigned [1]");
    play.accept(id, 1, None);
    assert_eq!(owned(&play.heartbeat().1), Some(vec![(u, vec![1])]));
}

/// Found by the fuzzer: a target with the ids of a topic that was made anew, old and new, gave one partition twice.
#[test]
fn two_topics_under_one_name_are_not_assigned_as_one() {
    let (old, new) = (TopicId([8; 16]), TopicId([9; 16]));
    let names = || GroupResponse::TopicNames(vec![(old, "u".into()), (new, "u".into())]);
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.accept(id, 1, target(&[(old, &[0, 1]), (new, &[0])]));
    assert_eq!((play.event(), play.event()), ("generation 1".into(), "assigned []".into()));
    let (asked, _) = play.names_asked();
    let (id, _) = play.heartbeat();
    play.answer(asked, names());
    play.accept(id, 1, None);
    let (id, beat) = play.heartbeat();
    assert_eq!((play.event(), owned(&beat)), ("assigned [0, 1]".into(), Some(vec![(old, vec![0, 1])])));
    play.accept(id, 1, None);
    play.wait(Duration::from_millis(200));
    let (asked, ids) = play.names_asked();
    assert_eq!(ids, [new]);
    play.answer(asked, names());
    play.quiet();
}

#[test]
fn a_fenced_or_unknown_member_loses_all_and_joins_again_as_itself() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let mut play = Play::joining(member());
        let (id, first) = play.heartbeat();
        play.accept(id, 4, target(&[(T, &[0, 1])]));
        let (id, _) = play.heartbeat();
        play.accept(id, 4, None);
        assert_eq!((play.event(), play.event()), ("generation 4".into(), "assigned [0, 1]".into()));
        play.wait(INTERVAL);
        let (id, beat) = play.heartbeat();
        assert_eq!(beat.member_epoch, 4);
        play.refuse(id, code);
        assert_eq!(play.event(), "lost [0, 1]", "lost is not revoked: nothing can be committed");
        let (id, join) = play.heartbeat();
        assert_eq!(
            (join.member_epoch, join.member_id.clone(), topic_names(&join)),
            (0, first.member_id.clone(), Some(vec!["t"]))
        );
        assert_eq!(owned(&join), Some(vec![]));
        play.refuse(id, code);
        play.quiet(); // not again and again without a wait
        play.wait(Duration::from_millis(200));
        let (id, _) = play.heartbeat();
        play.accept(id, 9, target(&[(T, &[1])]));
        assert_eq!((play.event(), play.event()), ("generation 9".into(), "assigned [1]".into()));
    }
}

#[test]
fn a_commit_by_an_unknown_member_joins_the_group_anew() {
    let mut play = Play::in_group(member(), &[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, _) = play.commit_sent();
    play.commit_answer(id, 0, Some(ErrorCode::UnknownMemberId));
    assert_eq!(told.all(), [Some(ErrorKind::Broker(ErrorCode::UnknownMemberId))]);
    assert_eq!(play.event(), "lost [0]");
    assert_eq!(play.heartbeat().1.member_epoch, 0);
}

#[test]
fn what_no_retry_cures_reaches_the_application_with_a_sentence() {
    for (code, says) in [
        (ErrorCode::UnreleasedInstanceId, "its session end"),
        (ErrorCode::FencedInstanceId, "taken over"),
        (ErrorCode::UnsupportedAssignor, "group.consumer.assignors"),
        (ErrorCode::GroupMaxSizeReached, "as many members"),
        (ErrorCode::InvalidRequest, "does not take"),
        (ErrorCode::InvalidRegularExpression, "RE2"),
        (ErrorCode::GroupIdNotFound, "has been deleted"),
        (ErrorCode::InconsistentGroupProtocol, "group.protocol"),
        (ErrorCode::UnsupportedVersion, "group.protocol=classic"),
    ] {
        let mut play = Play::in_group(static_member(), &[0]);
        play.wait(INTERVAL);
        let (id, _) = play.heartbeat();
        play.refuse(id, code);
        assert_eq!(play.event(), "lost [0]");
        let error = play.failure();
        assert_eq!(error.code(), Some(code));
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("says the broker"), "{text}");
        let told = Told::default();
        play.commit(0, 5, told.reply());
        assert_eq!(told.all().len(), 1, "nobody's commit, refused here");
        play.wait(POLL * 2);
        play.quiet();
        play.machine.subscribe(play.now, names(&["t"]));
        assert_eq!(play.heartbeat().1.member_epoch, 0, "another subscription begins anew");
    }
}

/// As Java has it: what it may read it goes on reading.
#[test]
fn a_topic_that_may_not_be_read_any_more_ends_no_membership() {
    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    for _ in 0..3 {
        let (id, _) = play.heartbeat();
        play.refuse(id, ErrorCode::TopicAuthorizationFailed);
        assert_eq!(play.event(), "none");
        play.quiet();
        play.wait(Duration::from_secs(2));
    }
    let (id, _) = play.heartbeat();
    play.accept(id, 1, None);
    assert_eq!(play.event(), "none");
}

#[test]
fn a_broker_without_consumer_groups_is_told_of_in_words() {
    let mut play = Play::joining(member());
    let (id, _) = play.heartbeat();
    play.machine.handle_response(play.now, id, Err(Error::new(ErrorKind::UnsupportedVersion)));
    let error = play.failure();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(error.to_string().contains("group.protocol=classic"), "{error}");
    play.wait(POLL);
    play.quiet();
}

#[test]
fn a_commit_under_a_stale_epoch_is_sent_again_under_the_new_one() {
    let mut play = Play::in_group(member(), &[0]);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    let (id, commit) = play.commit_sent();
    assert_eq!(commit.generation_id_or_member_epoch, 1);
    play.commit_answer(id, 0, Some(ErrorCode::StaleMemberEpoch));
    let (beat, _) = play.heartbeat(); // at once: only that brings the new epoch
    play.accept(beat, 2, None);
    assert_eq!(play.event(), "generation 2");
    play.wait(Duration::from_millis(200));
    let (id, commit) = play.commit_sent();
    assert_eq!((commit.generation_id_or_member_epoch, offset_of(&commit)), (2, 5));
    play.commit_answer(id, 0, None);
    assert_eq!((told.all(), play.event()), (vec![None], "none".into()));
}

/// OffsetFetch v9 is checked as a commit is.
#[test]
fn offsets_are_read_as_the_member_and_again_when_it_has_moved_on() {
    let mut play = Play::in_group(member(), &[0]);
    let told: Arc<Mutex<Vec<_>>> = Arc::default();
    let reply: Reply<crate::machine::offset_fetch::Committed> = Box::new({
        let told = told.clone();
        move |got| told.lock().unwrap().push(got)
    });
    play.machine.fetch_offsets(play.now, vec![("t", 0).into()], play.now + POLL, reply);
    let asked = |play: &mut Play| match play.next() {
        Some((id, GroupCall { request: GroupRequest::OffsetFetch(fetch), .. })) => {
            (id, fetch.groups[0].member_id.is_some(), fetch.groups[0].member_epoch)
        }
        call => panic!("not OffsetFetch: {call:?}"),
    };
    let (id, has_member, epoch) = asked(&mut play);
    assert_eq!((has_member, epoch), (true, 1));
    play.answer(id, offsets_answer(Some(ErrorCode::StaleMemberEpoch), &[]));
    let (beat, _) = play.heartbeat();
    play.accept(beat, 2, None);
    play.wait(Duration::from_millis(200));
    let (id, _, epoch) = asked(&mut play);
    assert_eq!(epoch, 2);
    play.answer(id, offsets_answer(None, &[(0, 7, 0)]));
    let read = told.lock().unwrap().pop().unwrap().unwrap();
    assert_eq!(read[&("t", 0).into()].as_ref().unwrap().offset, 7);
}

/// KAFKA-19222: a duplicate of a heartbeat that has moved the epoch gets its member fenced.
#[test]
fn heartbeats_go_one_at_a_time_and_after_one_without_an_answer_the_next_says_everything() {
    let mut play = Play::in_group(member(), &[0, 1]);
    play.wait(INTERVAL);
    let (id, _) = play.heartbeat();
    play.wait(INTERVAL * 3);
    play.quiet();
    play.lose(id);
    play.wait(Duration::from_millis(200));
    play.found(NodeId(2));
    let (id, beat) = play.heartbeat();
    assert_eq!((beat.member_epoch, topic_names(&beat)), (1, Some(vec!["t"])));
    assert_eq!(owned(&beat), Some(vec![(T, vec![0, 1])]), "by which the coordinator knows that only an answer is lost");
    assert_eq!(beat.rebalance_timeout_ms, POLL.as_millis() as i32);
    play.accept(id, 2, target(&[(T, &[0, 1])]));
    assert_eq!((play.event(), play.event()), ("generation 2".into(), "none".into()));
    play.wait(INTERVAL);
    assert_eq!(owned(&play.heartbeat().1), None);
}

#[test]
fn a_coordinator_that_loads_is_given_time_and_one_that_has_moved_is_looked_up() {
    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    let (id, _) = play.heartbeat();
    play.refuse(id, ErrorCode::CoordinatorLoadInProgress);
    play.quiet();
    play.wait(Duration::from_millis(150));
    let (id, _) = play.heartbeat();
    play.refuse(id, ErrorCode::NotCoordinator);
    play.wait(Duration::from_millis(200));
    play.found(NodeId(2));
    let (_, call) = play.next().unwrap();
    assert_eq!(call.to, To::Group(NodeId(2)));
    assert_eq!(play.event(), "none");
}

#[test]
fn while_no_coordinator_can_be_reached_nothing_is_lost_and_commits_wait() {
    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    let (id, _) = play.heartbeat();
    play.lose(id);
    let told = Told::default();
    play.commit(0, 5, told.reply());
    for _ in 0..50 {
        play.wait(Duration::from_secs(1));
        play.machine.polled(play.now);
        if let Some((id, _)) = play.next() {
            play.lose(id);
        }
        assert_eq!(play.event(), "none");
    }
    assert_eq!(told.all(), []);
    play.wait(Duration::from_secs(10));
    assert_eq!(told.all(), [Some(ErrorKind::Timeout)]);
    assert_eq!(play.event(), "none");
}

#[test]
fn a_regular_expression_is_the_coordinators_to_match_and_can_be_taken_back() {
    let mut play = Play::new(member());
    play.machine.subscribe(play.now, SubscribedTopics::Regex("t.*".into()));
    play.found(NODE);
    let (id, join) = play.heartbeat();
    assert_eq!((topic_names(&join), join.subscribed_topic_regex.as_deref()), (Some(vec![]), Some("t.*")));
    play.accept(id, 1, target(&[]));
    let (id, beat) = play.heartbeat();
    assert_eq!((topic_names(&beat), beat.subscribed_topic_regex.clone()), (None, None));
    play.accept(id, 1, None);
    play.machine.subscribe(play.now, names(&["t"]));
    let (_, beat) = play.heartbeat();
    assert_eq!((topic_names(&beat), beat.subscribed_topic_regex.as_deref()), (Some(vec!["t"]), Some("")));
}

#[test]
fn close_commits_then_leaves_and_a_static_member_says_that_it_will_be_back() {
    for (config, epoch) in [(member(), -1), (static_member(), -2)] {
        let mut play = Play::in_group(config, &[0]);
        let told = Told::default();
        play.commit(0, 5, told.reply());
        play.machine.close(play.now, play.now + INTERVAL * 2);
        let (commit, _) = play.commit_sent();
        play.quiet();
        play.commit_answer(commit, 0, None);
        let (id, leave) = play.heartbeat();
        assert_eq!((leave.member_epoch, owned(&leave), topic_names(&leave)), (epoch, None, None));
        assert_eq!(leave.instance_id.is_some(), epoch == -2);
        assert!(!play.machine.is_closed());
        play.refuse(id, ErrorCode::GroupIdNotFound);
        assert!(play.machine.is_closed(), "whatever is answered");
    }
}

#[test]
fn close_does_not_wait_for_a_heartbeat_nor_for_a_coordinator_that_is_down() {
    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    let (late, _) = play.heartbeat();
    play.machine.close(play.now, play.now + INTERVAL);
    let (leave, _) = play.heartbeat();
    play.refuse(late, ErrorCode::UnknownMemberId);
    assert!(!play.machine.is_closed(), "a late answer is not the answer to the leaving");
    play.accept(leave, -1, None);
    assert!(play.machine.is_closed());

    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    let (id, _) = play.heartbeat();
    play.lose(id);
    play.machine.close(play.now, play.now + INTERVAL);
    play.wait(INTERVAL);
    assert!(play.machine.is_closed());

    let mut play = Play::new(member());
    play.machine.subscribe(play.now, names(&["t"]));
    play.machine.handle_abandoned(play.now);
    assert!(play.machine.is_closed(), "never in the group: nothing to leave");
}

#[test]
fn unsubscribing_leaves_and_the_next_subscription_joins_when_that_is_answered() {
    let mut play = Play::in_group(member(), &[0]);
    play.machine.unsubscribe(play.now);
    let (leave, beat) = play.heartbeat();
    assert_eq!(beat.member_epoch, -1);
    play.machine.subscribe(play.now, names(&["u"]));
    play.quiet();
    play.accept(leave, -1, None);
    let (id, join) = play.heartbeat();
    assert_eq!(
        (join.member_epoch, join.member_id.clone(), topic_names(&join)),
        (0, beat.member_id.clone(), Some(vec!["u"]))
    );
    assert_eq!(play.event(), "none");
    play.accept(id, 3, target(&[]));
    assert_eq!((play.event(), play.event()), ("generation 3".into(), "assigned []".into()));
}

#[test]
fn a_silent_application_is_out_of_the_group_until_it_polls_again() {
    let mut play = Play::in_group(member(), &[0]);
    while play.machine.poll_timeout().is_some_and(|at| at < play.now + POLL) && play.event() == "none" {
        play.wait(INTERVAL);
        if let Some((id, GroupCall { request: GroupRequest::ConsumerGroupHeartbeat(beat), .. })) = play.next() {
            if beat.member_epoch == -1 {
                play.accept(id, -1, None);
                break;
            }
            play.accept(id, 1, None);
        }
    }
    assert_eq!(play.event(), "lost [0]");
    play.wait(POLL);
    play.quiet();
    play.machine.polled(play.now);
    assert_eq!(play.heartbeat().1.member_epoch, 0);
}

#[test]
fn answers_to_heartbeats_of_before_concern_nothing() {
    let mut play = Play::in_group(member(), &[0]);
    play.wait(INTERVAL);
    let (late, _) = play.heartbeat();
    play.commit(0, 5, None);
    let (commit, _) = play.commit_sent();
    play.commit_answer(commit, 0, Some(ErrorCode::UnknownMemberId));
    assert_eq!(play.event(), "lost [0]");
    play.quiet(); // one at a time
    play.accept(late, 7, target(&[(T, &[1])]));
    assert_eq!(play.event(), "none", "that was another life");
    assert_eq!(play.heartbeat().1.member_epoch, 0);
}
