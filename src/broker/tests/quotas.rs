//! Client quotas over the wire (KIP-546), and what they do to connections.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use crate::wire::messages::describe_client_quotas_request::ComponentData;
use crate::wire::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};
use std::time::Duration;

/// A change of these quotas for this entity; no value takes one away.
fn entry(entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> EntryData {
    let text = |text: &str| crate::wire::StrBytes::from(text.to_owned());
    let entity = entity
        .iter()
        .map(|(kind, name)| EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text)));
    let op = |(key, value): &(&str, Option<f64>)| {
        OpData::default().with_key(text(key)).with_value(value.unwrap_or(0.0)).with_remove(value.is_none())
    };
    EntryData::default().with_entity(entity.collect()).with_ops(ops.iter().map(op).collect())
}

fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
    ComponentData::default()
        .with_entity_type(kind.to_owned().into())
        .with_match_type(match_type)
        .with_match(name.map(|name| name.to_owned().into()))
}

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

impl Peer {
    /// The code of each entity, in the entities' order.
    async fn alter_quotas(&mut self, entries: Vec<EntryData>) -> Vec<Option<ErrorCode>> {
        let request = AlterClientQuotasRequest::default().with_entries(entries);
        self.call(1, &request).await.entries.iter().map(|entry| ErrorCode::from_wire(entry.error_code)).collect()
    }

    /// Entities and values as text, or the code.
    async fn describe_quotas(
        &mut self,
        components: Vec<ComponentData>,
        strict: bool,
    ) -> Result<Vec<String>, ErrorCode> {
        let request = DescribeClientQuotasRequest::default().with_components(components).with_strict(strict);
        let answer = self.call(1, &request).await;
        ErrorCode::check(answer.error_code)?;
        let entries = answer.entries.expect("there is no error").into_iter().map(|entry| {
            let entity = entry
                .entity
                .iter()
                .map(|one| format!("{}={}", &*one.entity_type, one.entity_name.as_deref().unwrap_or("<default>")));
            let values = entry.values.iter().map(|value| format!("{}={}", &*value.key, value.value));
            entity.chain(values).collect::<Vec<_>>().join(" ")
        });
        Ok(entries.collect())
    }
}

#[tokio::test(start_paused = true)]
async fn quotas_are_set_taken_away_and_found_by_filters() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let entries = vec![
        entry(&[("user", Some("alice"))], &[("producer_byte_rate", Some(1e6)), ("request_percentage", Some(12.5))]),
        entry(&[("user", Some("alice")), ("client-id", Some("app"))], &[("consumer_byte_rate", Some(5.0))]),
        entry(&[("user", None)], &[("controller_mutation_rate", Some(0.5))]),
        entry(&[("client-id", None)], &[("consumer_byte_rate", Some(7.0))]),
        entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(3.0))]),
    ];
    assert_eq!(peer.alter_quotas(entries).await, [None; 5]);
    let alice = "user=alice producer_byte_rate=1000000 request_percentage=12.5";
    let app = "client-id=app user=alice consumer_byte_rate=5";
    let anybody = "user=<default> controller_mutation_rate=0.5";
    assert_eq!(peer.describe_quotas(vec![], false).await.unwrap().len(), 5);
    let by_user = |kind, name| vec![component("user", kind, name)];
    assert_eq!(peer.describe_quotas(by_user(EXACT, Some("alice")), false).await.unwrap(), [app, alice]);
    assert_eq!(peer.describe_quotas(by_user(EXACT, Some("alice")), true).await.unwrap(), [alice]);
    assert_eq!(peer.describe_quotas(by_user(DEFAULT, None), false).await.unwrap(), [anybody]);
    assert_eq!(peer.describe_quotas(by_user(SPECIFIED, None), true).await.unwrap(), [anybody, alice]);
    assert_eq!(peer.describe_quotas(vec![component("ip", SPECIFIED, None)], true).await.unwrap().len(), 1);

    let less = entry(&[("user", Some("alice"))], &[("request_percentage", None), ("consumer_byte_rate", None)]);
    let none = entry(&[("user", None)], &[("controller_mutation_rate", None)]);
    let only = AlterClientQuotasRequest::default().with_validate_only(true).with_entries(vec![less.clone()]);
    peer.call(0, &only).await;
    assert_eq!(peer.describe_quotas(by_user(EXACT, Some("alice")), true).await.unwrap(), [alice]);
    assert_eq!(peer.alter_quotas(vec![less, none]).await, [None; 2]);
    let left = ["user=alice producer_byte_rate=1000000"];
    assert_eq!(peer.describe_quotas(by_user(SPECIFIED, None), true).await.unwrap(), left);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_a_quota_is_refused_and_changes_nothing() {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let alice = [("user", Some("alice"))];
    let rate = [("producer_byte_rate", Some(1.0))];
    let wrong = [
        entry(&[], &rate),
        entry(&[("team", Some("a"))], &rate),
        entry(&[("user", Some(""))], &rate),
        entry(&[("ip", Some("10.0.0.1")), ("user", Some("a"))], &[]),
        entry(&[("ip", Some("no address"))], &[]),
        entry(&[("ip", None)], &rate),
        entry(&alice, &[("connection_creation_rate", Some(1.0))]),
        entry(&alice, &[("some_rate", Some(1.0))]),
        entry(&alice, &[("producer_byte_rate", Some(0.0))]),
        entry(&alice, &[("producer_byte_rate", Some(f64::NAN))]),
        entry(&alice, &[("producer_byte_rate", Some(1.5))]),
        entry(&[("ip", None)], &[("connection_creation_rate", Some(3e9))]),
        entry(&alice, &[("producer_byte_rate", Some(1.0)), ("request_percentage", Some(-1.0))]),
        entry(&alice, &[("producer_byte_rate", Some(1.0)), ("producer_byte_rate", None)]),
    ];
    for wrong in wrong {
        let what = format!("{wrong:?}");
        assert_eq!(peer.alter_quotas(vec![wrong]).await, [Some(ErrorCode::InvalidRequest)], "{what}");
    }
    assert_eq!(peer.describe_quotas(vec![], false).await.unwrap(), [""; 0]);
    let twice = vec![entry(&alice, &rate), entry(&alice, &[("consumer_byte_rate", Some(1.0))])];
    assert_eq!(peer.alter_quotas(twice).await, [Some(ErrorCode::InvalidRequest)]);

    use ErrorCode::{InvalidRequest, UnsupportedVersion};
    let wrong = [
        (vec![component("", EXACT, Some("a"))], InvalidRequest),
        (vec![component("team", EXACT, Some("a"))], UnsupportedVersion),
        (vec![component("user", EXACT, None)], InvalidRequest),
        (vec![component("user", DEFAULT, Some("a"))], InvalidRequest),
        (vec![component("user", SPECIFIED, Some("a"))], InvalidRequest),
        (vec![component("user", 3, None)], InvalidRequest),
        (vec![component("user", DEFAULT, None), component("user", SPECIFIED, None)], InvalidRequest),
        (vec![component("user", DEFAULT, None), component("ip", DEFAULT, None)], InvalidRequest),
    ];
    for (components, code) in wrong {
        let what = format!("{components:?}");
        assert_eq!(peer.describe_quotas(components, false).await, Err(code), "{what}");
    }
}

/// How long the broker takes for what is said, in virtual time.
macro_rules! took {
    ($what:expr) => {{
        let start = tokio::time::Instant::now();
        let answer = $what;
        (answer, start.elapsed())
    }};
}

#[tokio::test(start_paused = true)]
async fn a_producer_over_its_rate_is_told_to_wait_and_not_read_from_meanwhile() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let mut other = Peer::connect_as(&cluster, "User:bob").await;
    let anonymous = [("user", Some("ANONYMOUS"))];
    peer.alter_quotas(vec![entry(&anonymous, &[("producer_byte_rate", Some(100.0))])]).await;
    let large = "x".repeat(2_000);
    let request = produce("t", 0, batch(&[(1, &*large)]));
    let bytes = encode_request(&request, 9, 1, "peer").expect("a request").len() as u64;
    let answer = peer.call(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "it is written all the same");
    let throttled = Duration::from_millis(answer.throttle_time_ms as u64);
    assert_eq!(throttled, Duration::from_millis(bytes * 10 - 10_000), "until it was 100 bytes a second");
    let (_, waited) = took!(peer.describe_quotas(vec![], false).await);
    assert_eq!(waited, throttled);
    // A quota is one user's.
    assert_eq!(other.call(9, &request).await.throttle_time_ms, 0);
    // Two connections of one user share it.
    let mut again = Peer::connect(&cluster, 1).await;
    assert_ne!(again.call(9, &request).await.throttle_time_ms, 0);
    // Who wants no answer is not read from either.
    let (_, waited) = took!({
        let mut silent = Peer::connect(&cluster, 1).await;
        silent.send(9, &request.clone().with_acks(0)).await;
        silent.sent += 1;
        silent.describe_quotas(vec![], false).await
    });
    assert!(waited > throttled, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_produce_that_is_done_and_refused_is_told_to_wait_all_the_same() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.alter_quotas(vec![entry(&[("client-id", None)], &[("producer_byte_rate", Some(100.0))])]).await;
    cluster.fault(ApiKey::Produce).apply_then_error(ErrorCode::NotEnoughReplicasAfterAppend);
    let answer = peer.call(9, &produce("t", 0, batch(&[(1, &*"x".repeat(2_000))]))).await;
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::NotEnoughReplicasAfterAppend.to_wire());
    let (_, waited) = took!(peer.describe_quotas(vec![], false).await);
    assert_eq!(waited, Duration::from_millis(answer.throttle_time_ms as u64));
    assert!(waited > Duration::from_secs(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_over_its_rate_gets_nothing_first_and_then_what_it_may_have() {
    let cluster = TestCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    for _ in 0..4 {
        peer.produce("t", 0, batch(&[(1, &*"x".repeat(900))])).await;
    }
    peer.alter_quotas(vec![entry(&[("client-id", Some("peer"))], &[("consumer_byte_rate", Some(200.0))])]).await;
    let (mut offset, mut throttled) = (0, Duration::ZERO);
    let start = tokio::time::Instant::now();
    let mut session = (0, 0);
    while offset < 4 {
        let wanted = fetch("t", 0, offset, 0).with_session_id(session.0).with_session_epoch(session.1);
        let answer = peer.call(12, &wanted).await;
        assert_eq!(answer.error_code, 0);
        session = if answer.session_id == 0 { (0, 0) } else { (answer.session_id, session.1 + 1) };
        throttled += Duration::from_millis(answer.throttle_time_ms as u64);
        let data = answer.responses.first().map(|topic| &topic.partitions[0]);
        let records = data.and_then(|data| data.records.clone()).unwrap_or_default();
        assert!(answer.throttle_time_ms == 0 || records.is_empty());
        assert!(records.len() <= 2_000, "no more than ten seconds' worth: {}", records.len());
        offset += crate::record::batch::batches(&records).count() as i64;
    }
    assert!(throttled > Duration::from_secs(5), "{throttled:?}");
    assert_eq!(start.elapsed(), throttled);
}
