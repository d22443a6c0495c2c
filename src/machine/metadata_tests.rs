use super::*;
use crate::wire::messages::BrokerId;
use crate::wire::messages::metadata_response::MetadataResponseBroker;

#[allow(clippy::disallowed_methods, reason = "a test's start of time")]
fn machine() -> (Metadata, Instant) {
    let config = MetadataConfig {
        max_age: Duration::from_secs(300),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        seed: 1,
    };
    (Metadata::new(config), Instant::now())
}

fn answer(topics: Vec<MetadataResponseTopic>) -> Result<MetadataResponse> {
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_static_str("b1"))
        .with_port(9092);
    Ok(MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics))
}

fn topic(name: &'static str, id: u8, epochs: &[i32]) -> MetadataResponseTopic {
    let partition = |(i, epoch): (usize, &i32)| {
        MetadataResponsePartition::default()
            .with_partition_index(i as i32)
            .with_leader_id(BrokerId(*epoch))
            .with_leader_epoch(*epoch)
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(name))))
        .with_topic_id(uuid::Uuid::from_bytes([id; 16]))
        .with_partitions(epochs.iter().enumerate().map(partition).collect())
}

fn unknown(name: &'static str) -> MetadataResponseTopic {
    topic(name, 0, &[]).with_error_code(ErrorCode::UnknownTopicOrPartition.to_wire())
}

fn want<const N: usize>(metadata: &mut Metadata, topics: [Arc<str>; N], auto_create: bool) -> Interest {
    let interest = Interest::default();
    metadata.want(topics, &interest, auto_create);
    interest
}

fn respond(metadata: &mut Metadata, now: Instant, topics: Vec<MetadataResponseTopic>) {
    let (id, _) = metadata.poll_request().expect("a request is due");
    metadata.handle_response(now, id, answer(topics));
}

#[test]
fn a_burst_of_errors_of_one_generation_is_one_refresh() {
    let (mut metadata, now) = machine();
    let _wanted = want(&mut metadata, ["clicks".into()], false);
    respond(&mut metadata, now, vec![]);
    respond(&mut metadata, now, vec![topic("clicks", 1, &[0])]);
    let seen = metadata.poll_event().unwrap().generation;
    for _ in 0..100 {
        metadata.invalidate(now, seen);
    }
    respond(&mut metadata, now, vec![topic("clicks", 1, &[1])]);
    assert!(metadata.poll_request().is_none());
    metadata.invalidate(now, seen);
    assert!(metadata.poll_request().is_none(), "there has been an answer since");
}

#[test]
fn a_topic_wanted_while_an_answer_is_under_way_is_asked_for_right_after_it() {
    let (mut metadata, now) = machine();
    let (first, _) = metadata.poll_request().unwrap();
    let _wanted = want(&mut metadata, ["clicks".into()], true);
    assert!(metadata.poll_request().is_none());
    metadata.handle_response(now, first, answer(vec![]));
    let (_, request) = metadata.poll_request().unwrap();
    assert!(request.allow_auto_topic_creation && request.topics.unwrap().len() == 1);
}

#[test]
fn only_topics_that_may_be_created_are_asked_for_with_the_flag() {
    let (mut metadata, now) = machine();
    let _wanted = want(&mut metadata, ["mine".into()], true);
    let _wanted = want(&mut metadata, ["theirs".into()], false);
    respond(&mut metadata, now, vec![]);
    let mut flags = vec![];
    while let Some((_, request)) = metadata.poll_request() {
        let names: Vec<String> =
            request.topics.iter().flatten().filter_map(|t| Some(t.name.as_ref()?.to_string())).collect();
        flags.push((request.allow_auto_topic_creation, names));
    }
    flags.sort();
    assert_eq!(flags, [(false, vec!["theirs".to_owned()]), (true, vec!["mine".to_owned()])]);
}

#[test]
fn a_leader_epoch_never_goes_back_unless_the_topic_was_made_anew() {
    let (mut metadata, now) = machine();
    let _wanted = want(&mut metadata, ["clicks".into()], false);
    respond(&mut metadata, now, vec![]);
    respond(&mut metadata, now, vec![topic("clicks", 1, &[7])]);
    let generation = metadata.cluster().generation;
    metadata.invalidate(now, generation);
    respond(&mut metadata, now, vec![topic("clicks", 1, &[5])]);
    assert_eq!(metadata.cluster().leader("clicks", 0), Some(NodeId(7)));
    let later = now + Duration::from_secs(300);
    metadata.handle_timeout(later);
    respond(&mut metadata, later, vec![topic("clicks", 2, &[0])]);
    assert_eq!(metadata.cluster().leader("clicks", 0), Some(NodeId(0)));
}

/// On Kafka before 2.8, and others: its leaders were those of the old topic for ever.
#[test]
fn without_ids_a_topic_that_was_gone_may_have_been_made_anew() {
    let (mut metadata, mut now) = machine();
    let _wanted = want(&mut metadata, ["clicks".into()], false);
    respond(&mut metadata, now, vec![]);
    respond(&mut metadata, now, vec![topic("clicks", 0, &[3])]);
    let mut ask = |answer| {
        now += Duration::from_secs(5);
        let generation = metadata.cluster().generation;
        metadata.invalidate(now, generation);
        metadata.handle_timeout(now);
        respond(&mut metadata, now, vec![answer]);
        metadata.cluster().leader("clicks", 0)
    };
    assert_eq!(ask(topic("clicks", 0, &[1])), Some(NodeId(3)), "a broker that is behind");
    assert_eq!(ask(unknown("clicks")), Some(NodeId(3)), "perhaps not every broker knows it");
    assert_eq!(ask(topic("clicks", 0, &[0])), Some(NodeId(0)));
    assert_eq!(ask(topic("clicks", 0, &[1])), Some(NodeId(1)), "and the epochs of this one hold");
    assert_eq!(ask(topic("clicks", 0, &[0])), Some(NodeId(1)));
}

#[test]
fn a_topic_that_one_broker_has_never_heard_of_is_kept_for_the_propagation_window() {
    let (mut metadata, mut now) = machine();
    let _wanted = want(&mut metadata, ["clicks".into()], false);
    respond(&mut metadata, now, vec![]);
    respond(&mut metadata, now, vec![topic("clicks", 1, &[0])]);
    let start = now;
    metadata.invalidate(now, metadata.cluster().generation);
    loop {
        respond(&mut metadata, now, vec![unknown("clicks")]);
        assert_eq!(metadata.cluster().topics.contains_key("clicks"), now - start < PROPAGATION);
        if now - start >= PROPAGATION {
            break;
        }
        now = metadata.poll_timeout().unwrap();
        metadata.handle_timeout(now);
    }
}

#[test]
fn a_topic_that_never_comes_is_asked_for_less_and_less() {
    let (mut metadata, mut now) = machine();
    let _wanted = want(&mut metadata, ["nowhere".into()], false);
    respond(&mut metadata, now, vec![]);
    let (mut asked, start) = (vec![], now);
    while now < start + Duration::from_secs(86_400) {
        respond(&mut metadata, now, vec![unknown("nowhere")]);
        asked.push(now - start);
        now = metadata.poll_timeout().unwrap();
        metadata.handle_timeout(now);
    }
    for (before, after) in asked.iter().zip(&asked[1..]) {
        let (missing, wait) = (*before, *after - *before);
        let most = (missing / 10).max(Duration::from_secs(1)).min(Duration::from_secs(300));
        assert!(wait <= most + most / 4, "{wait:?} after {missing:?}: it is noticed soon");
    }
    let in_a_minute = asked.iter().filter(|at| at.as_secs() < 60).count();
    assert!(
        (25..50).contains(&in_a_minute) && asked.len() < 400,
        "{in_a_minute} in a minute, {} in a day",
        asked.len()
    );
    respond(&mut metadata, now, vec![unknown("nowhere")]);
    let _wanted = want(&mut metadata, ["nowhere".into()], false);
    respond(&mut metadata, now, vec![unknown("nowhere")]);
    assert!(metadata.poll_timeout().unwrap() < now + Duration::from_secs(2), "who wants it anew may know more");
}

#[test]
fn a_topic_is_asked_for_as_long_as_anybody_wants_it_and_created_only_for_who_may() {
    let (mut metadata, mut now) = machine();
    let asked = |metadata: &mut Metadata, now: &mut Instant| {
        *now = metadata.poll_timeout().unwrap();
        metadata.handle_timeout(*now);
        let (id, request) = metadata.poll_request().unwrap();
        metadata.handle_response(*now, id, answer(vec![unknown("nowhere")]));
        (request.topics.unwrap().len(), request.allow_auto_topic_creation)
    };
    let (creates, waits) = (Interest::default(), Interest::default());
    metadata.want(["nowhere".into()], &creates, true);
    metadata.want(["nowhere".into()], &waits, false);
    respond(&mut metadata, now, vec![]);
    let (id, _) = metadata.poll_request().unwrap();
    metadata.handle_response(now, id, answer(vec![unknown("nowhere")]));
    assert_eq!(asked(&mut metadata, &mut now), (1, true));
    drop(creates);
    assert_eq!(asked(&mut metadata, &mut now), (1, false));
    drop(waits);
    assert_eq!(asked(&mut metadata, &mut now), (0, false));
    assert!(metadata.poll_timeout().unwrap() > now + Duration::from_secs(200));
}

#[test]
fn an_unanswered_request_is_asked_again_and_the_picture_kept() {
    let (mut metadata, now) = machine();
    respond(&mut metadata, now, vec![]);
    metadata.handle_timeout(metadata.poll_timeout().unwrap());
    let (id, _) = metadata.poll_request().unwrap();
    metadata.handle_response(now, id, Err(Error::new(crate::error::ErrorKind::Connection)));
    assert_eq!(metadata.cluster().nodes.len(), 1);
    assert!(metadata.poll_timeout().unwrap() < now + Duration::from_secs(1));
}

/// Answers everything else, and gives the question for all topics.
fn next_listing(metadata: &mut Metadata, now: Instant) -> Option<RequestId> {
    let mut listing = None;
    while let Some((id, request)) = metadata.poll_request() {
        match request.topics {
            None => listing = Some(id),
            Some(_) => metadata.handle_response(now, id, answer(vec![])),
        }
    }
    listing
}

#[test]
fn all_topics_are_listed_by_age_and_a_listing_that_says_nothing_changes_nothing() {
    let (mut metadata, mut now) = machine();
    assert_eq!(next_listing(&mut metadata, now), None, "nobody has asked for it");
    metadata.list_all();
    let names = |metadata: &Metadata| metadata.cluster().listed.as_ref().map(|listed| listed.keys().cloned().collect());
    let id = next_listing(&mut metadata, now).expect("a listing is due at once");
    assert_eq!(names(&metadata), None::<Vec<Arc<str>>>);
    metadata.handle_response(now, id, answer(vec![topic("a", 1, &[0]), topic("b", 2, &[0]), unknown("c")]));
    assert_eq!(names(&metadata), Some(vec!["a".into(), "b".into()]));
    assert!(metadata.cluster().topics.is_empty(), "a name is all that is kept");
    metadata.list_all();
    metadata.invalidate(now, metadata.cluster().generation);
    assert_eq!(next_listing(&mut metadata, now), None, "it is not asked again with every question");
    now += Duration::from_secs(300);
    metadata.handle_timeout(now);
    let nothing = Ok(MetadataResponse::default().with_topics(vec![topic("z", 3, &[0])])); // of a broker that just begins
    for said in [Err(Error::new(crate::error::ErrorKind::Connection)), nothing] {
        let id = next_listing(&mut metadata, now).expect("a listing is due");
        metadata.handle_response(now, id, said);
        assert_eq!(names(&metadata), Some(vec!["a".into(), "b".into()]));
        now = metadata.poll_timeout().expect("soon");
        metadata.handle_timeout(now);
    }
    let id = next_listing(&mut metadata, now).expect("a listing is due");
    metadata.handle_response(now, id, answer(vec![topic("b", 2, &[0])]));
    assert_eq!(names(&metadata), Some(vec!["b".into()]));
}

#[test]
fn a_topic_that_is_gone_for_good_is_listed_no_longer() {
    let (mut metadata, mut now) = machine();
    let _wanted = want(&mut metadata, ["a".into()], false);
    metadata.list_all();
    let is_listed =
        |metadata: &Metadata| metadata.cluster().listed.as_ref().is_some_and(|listed| listed.contains_key("a"));
    while let Some((id, _)) = metadata.poll_request() {
        metadata.handle_response(now, id, answer(vec![topic("a", 1, &[0])]));
    }
    assert!(is_listed(&metadata));
    let mut seconds = 0;
    metadata.invalidate(now, metadata.cluster().generation);
    while is_listed(&metadata) {
        while let Some((id, _)) = metadata.poll_request() {
            metadata.handle_response(now, id, answer(vec![unknown("a")]));
        }
        (now, seconds) = (now + Duration::from_secs(1), seconds + 1);
        metadata.handle_timeout(now);
        assert!(seconds < 60);
    }
    assert!(seconds >= 30, "brokers learn of changes one after the other: {seconds} s");
}

#[test]
fn a_refusal_is_told_and_then_nobody_is_asked_for_half_a_minute_but_on_demand() {
    let (mut metadata, now) = machine();
    let (id, _) = metadata.poll_request().unwrap();
    let refusal = Error::denied(ErrorCode::SaslAuthenticationFailed, "wrong password");
    metadata.handle_response(now, id, Err(refusal));
    let cluster = metadata.poll_event().unwrap();
    assert_eq!((cluster.generation, cluster.refusals.0), (0, 1));
    assert!(cluster.refusals.1.as_ref().unwrap().to_string().contains("wrong password"));
    assert!(metadata.poll_timeout().unwrap() >= now + Duration::from_secs(30));
    let _wanted = want(&mut metadata, ["clicks".into()], false);
    assert!(metadata.poll_request().is_some(), "somebody asks");
}
