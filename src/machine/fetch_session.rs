//! What a broker remembers of our Fetches (KIP-227), so that a Fetch says only what has changed since the last one, and
//! an answer only what is news.
//!
//! ```text
//!                   an id granted                     answered
//! Full (epoch 0) ------------------> Incremental (n) ----------> Incremental (n + 1, after the last number 1)
//!   ^    | no id granted                  |
//!   +----+                                | refused, closed by the broker, connection lost, the topics' naming changed,
//!   +-------------------------------------+ the end of one of its partitions is not known to us
//!   |
//!   +---- refused twice in a row ----> Sessionless (epoch -1) until the connection is lost
//! ```
//!
//! One per consumer and node, and never a new one while the old one works: a broker has room for 1,000, and who wastes them
//! drives others' out (sarama 1644, platformatic 315). A full Fetch names the session that it replaces, which the broker
//! drops then. Partitions that are no longer wanted are said to be forgotten, or the broker serves them for ever
//! (platformatic 321).

use super::fetcher::PlannedPartition;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, TopicId, TopicPartition};
use crate::wire::fetch::{FetchResponse, Forgotten};
use std::collections::BTreeMap;

/// Asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// Ends a session, or does without.
const FINAL_EPOCH: i32 = -1;

/// How a Fetch names its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The session that it continues, replaces or ends; 0: none.
    pub id: i32,
    /// Which of its requests this is.
    pub epoch: i32,
    /// Whether topics go by id (from version 13 on). If not, the version must be lower.
    pub topic_ids: bool,
    /// What the broker is to leave out from now on.
    pub forgotten: Vec<Forgotten>,
}

impl SessionRequest {
    /// Whether it says everything, and its answer does.
    pub fn is_full(&self) -> bool {
        self.epoch <= INITIAL_EPOCH
    }
}

/// What the broker knows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cached {
    topic_id: TopicId,
    offset: i64,
    max_bytes: i32,
    leader_epoch: Option<LeaderEpoch>,
}

impl Cached {
    fn of(planned: &PlannedPartition) -> Self {
        let PlannedPartition { topic_id, offset, max_bytes, leader_epoch, .. } = *planned;
        Self { topic_id, offset, max_bytes, leader_epoch }
    }
}

/// Our side of a session with one broker. One Fetch is under way at a time.
#[derive(Debug, Default)]
pub struct FetchSession {
    /// 0: none.
    id: i32,
    /// Of the next request.
    epoch: i32,
    /// Whether the session's topics go by id.
    topic_ids: bool,
    /// The partitions in the session, each with the number of the Fetch that wanted it last.
    cached: BTreeMap<TopicPartition, (Cached, u64)>,
    /// Refusals since the last answer that continued a session.
    refusals: u32,
}

impl FetchSession {
    /// How to ask for `partitions` in Fetch number `fetch`: marks those that the broker has to be told of.
    pub fn request(&mut self, fetch: u64, partitions: &mut [PlannedPartition]) -> SessionRequest {
        let topic_ids = partitions.iter().all(|partition| !partition.topic_id.is_zero());
        if self.epoch > INITIAL_EPOCH && topic_ids != self.topic_ids {
            self.epoch = INITIAL_EPOCH; // a session has its topics by id or by name, not both
        }
        let is_lost =
            |partition: &PlannedPartition| partition.is_end_unknown && self.cached.contains_key(&partition.name);
        if self.epoch > INITIAL_EPOCH && partitions.iter().any(is_lost) {
            self.epoch = INITIAL_EPOCH; // the broker thinks that we know, and would say no more until it changes
        }
        self.topic_ids = topic_ids;
        let mut request = SessionRequest { id: self.id, epoch: self.epoch, topic_ids, forgotten: Vec::new() };
        if request.is_full() {
            partitions.iter_mut().for_each(|partition| partition.is_news = true);
            return request;
        }
        for partition in &mut *partitions {
            let wanted = Cached::of(partition);
            let Some((known, last)) = self.cached.get_mut(&partition.name) else {
                self.cached.insert(partition.name.clone(), (wanted, fetch));
                partition.is_news = true;
                continue;
            };
            if known.topic_id != wanted.topic_id {
                // Made anew under its old name: by id it is another one.
                request.forgotten.push(Forgotten { name: partition.name.clone(), topic_id: known.topic_id });
            }
            partition.is_news = *known != wanted;
            (*known, *last) = (wanted, fetch);
        }
        if self.cached.len() > partitions.len() {
            self.cached.retain(|name, (known, last)| {
                if *last != fetch {
                    request.forgotten.push(Forgotten { name: name.clone(), topic_id: known.topic_id });
                }
                *last == fetch
            });
        }
        request
    }

    /// The answer to it. `false`: it is about the session alone and says nothing of the partitions; ask again.
    pub fn answered(
        &mut self,
        fetch: u64,
        request: &SessionRequest,
        partitions: &[PlannedPartition],
        response: &FetchResponse,
    ) -> bool {
        if let Some(code) = response.error {
            self.refused();
            if code == ErrorCode::FetchSessionIdNotFound {
                self.id = 0; // nothing there to replace
            }
            return !matches!(
                code,
                ErrorCode::FetchSessionIdNotFound
                    | ErrorCode::InvalidFetchSessionEpoch
                    | ErrorCode::FetchSessionTopicIdError
            );
        }
        if request.epoch == FINAL_EPOCH {
            self.id = 0;
            return true;
        }
        if response.session_id == 0 {
            (self.id, self.epoch) = (0, INITIAL_EPOCH); // none given, or closed by the broker
            return true;
        }
        if request.is_full() {
            (self.id, self.epoch) = (response.session_id, 1);
            self.cached =
                partitions.iter().map(|partition| (partition.name.clone(), (Cached::of(partition), fetch))).collect();
        } else if response.session_id != self.id {
            self.refused();
        } else {
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
            self.refusals = 0;
        }
        true
    }

    /// The broker's idea of the session is not ours: the next Fetch says everything.
    pub fn refused(&mut self) {
        self.refusals += 1;
        self.epoch = if self.refusals < 2 { INITIAL_EPOCH } else { FINAL_EPOCH };
    }

    /// There was no answer: the next Fetch says everything.
    pub fn lost(&mut self) {
        (self.epoch, self.refusals) = (INITIAL_EPOCH, 0);
    }

    /// The id of the session to end, if there is one; there is none any more then.
    pub fn close(&mut self) -> Option<i32> {
        let id = std::mem::take(self).id;
        (id != 0).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32, offset: i64) -> PlannedPartition {
        PlannedPartition {
            name: TopicPartition::new("t", number),
            topic_id: TopicId([1; 16]),
            leader_epoch: Some(LeaderEpoch(3)),
            offset,
            max_bytes: 1000,
            is_news: false,
            is_end_unknown: false,
            generation: 0,
        }
    }

    /// The broker's answers are made of an id and an error; `ask` gives id, epoch, what is said, and what is forgotten.
    #[derive(Default)]
    struct Rig {
        session: FetchSession,
        fetch: u64,
        asked: Option<(SessionRequest, Vec<PlannedPartition>)>,
    }

    impl Rig {
        fn ask(&mut self, mut partitions: Vec<PlannedPartition>) -> (i32, i32, Vec<i32>, Vec<i32>) {
            self.fetch += 1;
            let request = self.session.request(self.fetch, &mut partitions);
            let said =
                partitions.iter().filter(|partition| partition.is_news).map(|partition| partition.name.partition);
            let said = (request.id, request.epoch, said.collect());
            let forgotten = request.forgotten.iter().map(|forgotten| forgotten.name.partition).collect();
            self.asked = Some((request, partitions));
            (said.0, said.1, said.2, forgotten)
        }

        fn answer(&mut self, session_id: i32, error: Option<ErrorCode>) -> bool {
            let (request, partitions) = self.asked.take().unwrap();
            let response = FetchResponse { session_id, error, ..FetchResponse::default() };
            self.session.answered(self.fetch, &request, &partitions, &response)
        }

        /// With session 42 at epoch 1, partitions 0 to 2 in it.
        fn open() -> Self {
            let mut rig = Self::default();
            assert_eq!(rig.ask((0..3).map(|number| partition(number, 0)).collect()), (0, 0, vec![0, 1, 2], vec![]));
            assert!(rig.answer(42, None));
            rig
        }

        fn ask_same(&mut self) -> (i32, i32, Vec<i32>, Vec<i32>) {
            self.ask((0..3).map(|number| partition(number, 0)).collect())
        }
    }

    #[test]
    fn the_first_fetch_says_everything_and_later_ones_what_has_changed() {
        let mut rig = Rig::open();
        assert_eq!(rig.ask_same(), (42, 1, vec![], vec![]));
        assert!(rig.answer(42, None));
        assert_eq!(rig.ask(vec![partition(0, 0), partition(1, 7), partition(2, 0)]), (42, 2, vec![1], vec![]));
        assert!(rig.answer(42, None));
        let epoch = PlannedPartition { leader_epoch: Some(LeaderEpoch(4)), ..partition(0, 0) };
        let larger = PlannedPartition { max_bytes: 2000, ..partition(2, 0) };
        assert_eq!(rig.ask(vec![larger, partition(1, 7), epoch]), (42, 3, vec![2, 0], vec![]));
    }

    /// platformatic 321: partitions that had left were served for ever, and commits went backwards.
    #[test]
    fn partitions_that_leave_are_forgotten_once_and_told_of_again_when_they_come_back() {
        let mut rig = Rig::open();
        assert_eq!(rig.ask(vec![partition(1, 0)]), (42, 1, vec![], vec![0, 2]));
        assert!(rig.answer(42, None));
        assert_eq!(rig.ask(vec![partition(1, 0)]), (42, 2, vec![], vec![]));
        assert!(rig.answer(42, None));
        assert_eq!(rig.ask_same(), (42, 3, vec![0, 2], vec![]));
    }

    #[test]
    fn a_topic_made_anew_is_forgotten_by_its_old_id_and_told_of_by_its_new_one() {
        let mut rig = Rig::open();
        let anew = (0..3).map(|number| PlannedPartition { topic_id: TopicId([2; 16]), ..partition(number, 0) });
        assert_eq!(rig.ask(anew.collect()), (42, 1, vec![0, 1, 2], vec![0, 1, 2]));
        let (request, _) = rig.asked.unwrap();
        assert!(request.forgotten.iter().all(|forgotten| forgotten.topic_id == TopicId([1; 16])));
    }

    #[test]
    fn epochs_count_up_and_after_the_last_one_comes_1() {
        let mut rig = Rig::open();
        rig.session.epoch = i32::MAX;
        assert_eq!(rig.ask_same().1, i32::MAX);
        assert!(rig.answer(42, None));
        assert_eq!(rig.ask_same().1, 1, "0 and -1 mean something else");
    }

    #[test]
    fn every_error_of_the_session_makes_the_next_fetch_a_full_one() {
        for (code, replaced) in [
            (ErrorCode::FetchSessionIdNotFound, 0),
            (ErrorCode::InvalidFetchSessionEpoch, 42),
            (ErrorCode::FetchSessionTopicIdError, 42),
        ] {
            let mut rig = Rig::open();
            rig.ask_same();
            assert!(!rig.answer(0, Some(code)), "{code} says nothing of the partitions");
            assert_eq!(rig.ask_same(), (replaced, 0, vec![0, 1, 2], vec![]), "{code}");
            assert!(rig.answer(43, None));
            assert_eq!(rig.ask_same(), (43, 1, vec![], vec![]), "and then it goes on");
        }
        for code in [ErrorCode::UnknownTopicId, ErrorCode::InconsistentTopicId, ErrorCode::UnknownServerError] {
            let mut rig = Rig::open();
            rig.ask_same();
            assert!(rig.answer(0, Some(code)), "{code} is the partitions' too");
            assert_eq!(rig.ask_same(), (42, 0, vec![0, 1, 2], vec![]), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_makes_the_next_fetch_a_full_one_that_replaces_the_session() {
        let mut rig = Rig::open();
        rig.ask(vec![partition(0, 5)]);
        rig.session.lost();
        assert_eq!(rig.ask_same(), (42, 0, vec![0, 1, 2], vec![]));
        assert!(rig.answer(43, None));
        assert_eq!(rig.ask_same(), (43, 1, vec![], vec![]));
    }

    /// sarama 1644: with a session per poll one client fills the broker's cache.
    #[test]
    fn a_broker_that_gives_or_keeps_no_session_is_asked_in_full_and_leaves_no_session_behind() {
        let mut rig = Rig::default();
        for _ in 0..3 {
            assert_eq!(rig.ask_same(), (0, 0, vec![0, 1, 2], vec![]));
            assert!(rig.answer(0, None));
        }
        let mut rig = Rig::open();
        rig.ask_same();
        assert!(rig.answer(0, None), "closed by the broker");
        assert_eq!(rig.ask_same(), (0, 0, vec![0, 1, 2], vec![]));
    }

    #[test]
    fn a_broker_that_refuses_twice_is_asked_without_a_session_until_the_connection_is_lost() {
        let mut rig = Rig::open();
        for _ in 0..2 {
            rig.ask_same();
            assert!(!rig.answer(0, Some(ErrorCode::InvalidFetchSessionEpoch)));
        }
        assert_eq!(rig.ask_same(), (42, -1, vec![0, 1, 2], vec![]), "which ends the session");
        assert!(rig.answer(0, None));
        assert_eq!(rig.ask_same(), (0, -1, vec![0, 1, 2], vec![]));
        rig.session.lost();
        assert_eq!(rig.ask_same().1, 0);
    }

    #[test]
    fn an_answer_of_another_session_is_not_ours() {
        let mut rig = Rig::open();
        rig.ask_same();
        assert!(rig.answer(77, None));
        assert_eq!(rig.ask_same(), (42, 0, vec![0, 1, 2], vec![]));
    }

    #[test]
    fn a_session_is_by_id_or_by_name_and_a_topic_without_an_id_begins_a_new_one() {
        let mut rig = Rig::open();
        let unnamed = PlannedPartition { topic_id: TopicId::ZERO, ..partition(0, 0) };
        assert_eq!(rig.ask(vec![unnamed.clone(), partition(1, 0)]), (42, 0, vec![0, 1], vec![]));
        assert!(!rig.asked.as_ref().unwrap().0.topic_ids, "by name, all of them");
        assert!(rig.answer(43, None));
        assert_eq!(rig.ask(vec![unnamed, partition(1, 0)]), (43, 1, vec![], vec![]));
    }

    /// It was taken away and has come back, or its first answer was of no use any more: its end would never be told.
    #[test]
    fn a_partition_whose_end_we_do_not_know_and_the_broker_thinks_we_do_makes_the_next_fetch_a_full_one() {
        let mut rig = Rig::open();
        let unknown = || PlannedPartition { is_end_unknown: true, ..partition(1, 0) };
        assert_eq!(rig.ask(vec![partition(0, 0), unknown()]), (42, 0, vec![0, 1], vec![]));
        assert!(rig.answer(43, None));
        let new = PlannedPartition { is_end_unknown: true, ..partition(5, 0) };
        assert_eq!(
            rig.ask(vec![partition(0, 0), partition(1, 0), new]),
            (43, 1, vec![5], vec![]),
            "it is told of a new one"
        );
    }

    #[test]
    fn a_session_is_closed_by_its_id_and_only_if_there_is_one() {
        let mut rig = Rig::open();
        assert_eq!((rig.session.close(), rig.session.close()), (Some(42), None));
    }
}
