//! Fetches in a session (KIP-227), against a model of the broker's side: only the news is said, only the news comes.

use super::*;

/// A broker with one session.
struct Broker {
    rig: Rig,
    /// Partition: the offset wanted, and the high watermark last told.
    session: Vec<(i32, i64, i64)>,
    epoch: i32,
    forgotten: Vec<i32>,
}

impl Broker {
    fn new(config: FetcherConfig, logs: Vec<Log>) -> Self {
        Self { rig: Rig::new(config, logs), session: vec![], epoch: 0, forgotten: vec![] }
    }

    /// As the broker understands the Fetch, with nothing but what is said.
    fn serve(&mut self, plan: &FetchPlan) -> (FetchResponse, usize) {
        if plan.session.is_full() {
            (self.session, self.epoch) = (vec![], 0);
        }
        assert_eq!(plan.session.epoch, self.epoch, "each is the one after the last");
        self.forgotten = plan.session.forgotten.iter().map(|forgotten| forgotten.name.partition).collect();
        self.session.retain(|(partition, ..)| !self.forgotten.contains(partition));
        for said in plan.partitions.iter().filter(|planned| planned.is_news) {
            let partition = said.name.partition;
            match self.session.iter_mut().find(|(known, ..)| *known == partition) {
                Some((_, offset, _)) => *offset = said.offset,
                None => self.session.push((partition, said.offset, -1)),
            }
        }
        self.epoch += 1;
        let mut partitions = Vec::new();
        for (partition, offset, told) in &mut self.session {
            let mut answer = self.rig.logs[partition].read(*offset, 1 << 20, true);
            answer.partition = *partition;
            if plan.session.is_full() || !answer.records.is_empty() || *told != answer.high_watermark {
                *told = answer.high_watermark;
                partitions.push(answer);
            }
        }
        let length = partitions.iter().map(|partition| partition.records.len()).sum::<usize>() + 100;
        (FetchResponse { session_id: 42, partitions, ..FetchResponse::default() }, length)
    }

    fn answer(&mut self, plan: &FetchPlan, answer: (FetchResponse, usize)) -> Answered {
        self.rig.fetcher.answer(self.rig.now, plan, Ok(answer))
    }

    /// One Fetch: how many partitions were said, and how many answered.
    fn fetch(&mut self) -> (usize, usize) {
        let plan = self.rig.plan();
        let answer = self.serve(&plan);
        let counts = (plan.partitions.iter().filter(|planned| planned.is_news).count(), answer.0.partitions.len());
        self.answer(&plan, answer);
        counts
    }
}

fn logs(count: usize) -> Vec<Log> {
    let mut log = Log::default();
    log.records(3);
    vec![log; count]
}

#[test]
fn a_fetch_says_what_has_moved_and_an_idle_one_nothing() {
    let mut broker = Broker::new(config(), logs(50));
    assert_eq!(broker.fetch(), (50, 50));
    assert_eq!(broker.rig.poll(1000).len(), 150);
    assert_eq!(broker.fetch(), (50, 0), "every position has moved");
    assert_eq!(broker.fetch(), (0, 0));
    broker.rig.logs.get_mut(&7).unwrap().records(2);
    assert_eq!(broker.fetch(), (0, 1));
    assert_eq!(broker.rig.poll(1000), [(7, 3), (7, 4)]);
    assert_eq!(broker.fetch(), (1, 0));
}

#[test]
fn what_an_answer_leaves_out_is_as_it_was() {
    let mut broker = Broker::new(FetcherConfig { partition_end: true, ..config() }, logs(1));
    broker.fetch();
    assert_eq!(broker.rig.poll(500).len(), 3);
    assert!(matches!(broker.rig.fetcher.poll(broker.rig.now, 500), Polled::PartitionEnd(_, 3)));
    broker.rig.fetcher.seek(&tp(0), Position { offset: 3, leader_epoch: None }).unwrap();
    assert_eq!(broker.fetch(), (1, 0), "the watermark is the one that it has told already");
    assert!(
        matches!(broker.rig.fetcher.poll(broker.rig.now, 500), Polled::PartitionEnd(_, 3)),
        "the end of a new position"
    );
    let since = broker.rig.now;
    broker.rig.now += Duration::from_secs(3);
    broker.fetch();
    assert_eq!(broker.rig.fetcher.subscription().get(&tp(0)).unwrap().caught_up(), Some((since, broker.rig.now)));
    assert_eq!(broker.rig.fetcher.lag(&tp(0)), Some(0));
}

#[test]
fn partitions_paused_or_taken_away_are_forgotten_and_told_of_again() {
    let mut broker = Broker::new(config(), logs(3));
    broker.fetch();
    broker.rig.poll(500);
    broker.rig.fetcher.pause(&tp(1)).unwrap();
    broker.rig.fetcher.change_assignment(broker.rig.now, [tp(2)], []);
    assert_eq!(broker.fetch(), (1, 0));
    assert_eq!(broker.forgotten, [1, 2]);
    broker.rig.fetcher.resume(&tp(1)).unwrap();
    assert_eq!(broker.fetch(), (1, 1), "as new: its watermark comes again");
    assert!(broker.forgotten.is_empty());
}

#[test]
fn a_session_the_broker_has_lost_costs_one_fetch_and_is_nobodys_error() {
    let mut broker = Broker::new(config(), logs(2));
    broker.fetch();
    broker.rig.poll(500);
    for code in
        [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch, ErrorCode::FetchSessionTopicIdError]
    {
        let plan = broker.rig.plan();
        let refused = FetchResponse { error: Some(code), ..FetchResponse::default() };
        assert!(!broker.answer(&plan, (refused, 30)).data, "{code}");
        assert_eq!(broker.fetch(), (2, 2), "{code}: at once, and in full");
        broker.fetch();
        assert!(matches!(broker.rig.fetcher.poll(broker.rig.now, 500), Polled::Nothing(None)), "{code}");
    }
}

#[test]
fn after_a_lost_connection_everything_is_said_again_and_nothing_read_twice() {
    let mut broker = Broker::new(config(), logs(2));
    broker.fetch();
    let plan = broker.rig.plan();
    broker.rig.fetcher.answer(broker.rig.now, &plan, Err(Error::new(ErrorKind::Connection)));
    assert_eq!(broker.fetch(), (2, 2));
    assert_eq!(broker.rig.poll(500).len(), 6);
    assert!(broker.rig.poll(500).is_empty());
}

/// platformatic 321: what a broker served unasked was taken in.
#[test]
fn partitions_of_an_answer_that_were_not_asked_for_or_come_twice_are_dropped_and_all_is_said_again() {
    let mut broker = Broker::new(config(), logs(3));
    broker.rig.fetcher.change_assignment(broker.rig.now, [tp(2)], []);
    let plan = broker.rig.plan();
    let (mut response, length) = broker.serve(&plan);
    response.partitions.push(FetchedPartition { partition: 2, ..response.partitions[0].clone() });
    response.partitions.push(response.partitions[0].clone());
    broker.answer(&plan, (response, length));
    assert_eq!(broker.rig.poll(500).len(), 6, "0 and 1, once each");
    assert!(matches!(broker.rig.fetcher.poll(broker.rig.now, 500), Polled::Nothing(None)));
    assert!(broker.rig.plan().session.is_full());
}

#[test]
fn what_is_under_way_when_its_topic_is_made_anew_does_not_count() {
    let mut broker = Broker::new(config(), logs(1));
    let plan = broker.rig.plan();
    let mut anew = Cluster::clone(&cluster(2, &[(NODE, 0)]));
    let topic = TopicMetadata { id: TopicId([9; 16]), ..TopicMetadata::clone(&anew.topics["t"]) };
    anew.topics.insert("t".into(), Arc::new(topic));
    broker.rig.fetcher.set_cluster(broker.rig.now, Arc::new(anew));
    let answer = broker.serve(&plan);
    assert!(!broker.answer(&plan, answer).data);
    let plan = broker.rig.plan();
    assert!(plan.session.is_full() && plan.session.topic_ids, "from names to ids is a new session");
}

#[test]
fn sessions_are_given_back_once() {
    let mut broker = Broker::new(config(), logs(1));
    assert!(broker.rig.fetcher.close_sessions().is_empty());
    broker.fetch();
    assert_eq!(broker.rig.fetcher.close_sessions(), [(NODE, 42)]);
    assert!(broker.rig.fetcher.close_sessions().is_empty());
}
