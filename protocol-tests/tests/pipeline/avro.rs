//! Events in Avro: the same numbers as in JSON, other people's schemas, and a registry that is away.

use crate::sink_run::Memory;
use milena::broker::{StoredRecord, TestCluster};
use milena::pipeline::{
    aggregate,
    clickstream::{self, generator::Knobs},
    config::{built_in_windows, select_windows},
    context::Context,
    event::EventFormat,
    merge,
    receipt::Receipt,
    sink::{self, SinkConfig, What},
    stop::Stop,
    timestamp, verify,
    window::JobSpec,
};
use milena::producer::ProducerRecord;
use milena::schema::{Registry, Schema, SubjectNameStrategy, TestRegistry};
use std::time::Duration;
use tokio::time::Instant;

const T: &str = "clicks";

/// A cluster, and a registry that is asked by `events` of the context.
async fn both() -> (TestCluster, TestRegistry, Context) {
    let cluster = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO).start().await.unwrap();
    let registry = TestRegistry::in_memory().unwrap();
    let mut context = Context::new(cluster.client().await.unwrap());
    context.events = EventFormat::avro(&asking(&registry));
    (cluster, registry, context)
}

fn asking(registry: &TestRegistry) -> Registry {
    Registry::new(registry.config().timeout(Duration::from_secs(5))).unwrap()
}

fn spec() -> JobSpec {
    JobSpec::new("job", select_windows(&built_in_windows(), "gmv_1m,views_1m").unwrap(), 5_000_000)
}

async fn write(context: &Context, count: u64) -> u64 {
    let mut options = clickstream::Options::new(T);
    let mut knobs = Knobs::default();
    (knobs.start, knobs.rate) = (timestamp::parse("2024-01-15T14:30:00Z").unwrap(), 10.0);
    (knobs.disorder, knobs.late, knobs.dup, knobs.poison) = (4_000_000, 0.05, 0.05, 0.05);
    (options.knobs, options.count, options.partitions) = (knobs, Some(count), 2);
    clickstream::run(context, options).await.unwrap().produced.unwrap()
}

async fn aggregated(context: &Context) -> Receipt {
    let mut options = aggregate::Options::new(T, spec());
    options.until_end = true;
    aggregate::run(context, options).await.unwrap()
}

/// Everything over `T` to its end; what the aggregator and the sink say of it, and the rows on `T.final`.
async fn work(cluster: &TestCluster, context: &Context) -> (String, String, Vec<Vec<u8>>) {
    let aggregate = aggregated(context).await;
    let mut options = merge::Options::new(T, spec().windows);
    options.until_end = true;
    merge::run(context, options).await.unwrap();
    let config = SinkConfig::new(T, What::Purchases).until_end(true);
    let sink = sink::run(context, Memory::default(), config).await.unwrap();
    let report = verify::run(context, &verify::Options::new(T, spec().windows)).await.unwrap();
    assert!(report.is_equal() && report.records == aggregate.read.unwrap(), "{report:#?}");
    let rows = cluster.records("clicks.final").unwrap().into_iter().map(|record| record.value.unwrap().to_vec());
    (aggregate.to_json(), sink.to_json(), rows.collect())
}

#[tokio::test(start_paused = true)]
async fn events_in_avro_come_to_what_they_come_to_in_json() {
    let (json, _, mut context) = both().await;
    context.events = EventFormat::json();
    write(&context, 4_000).await;
    let expected = work(&json, &context).await;
    assert!(expected.0.contains("\"late\":") && expected.2.len() > 20, "{expected:?}");

    let (cluster, registry, context) = both().await;
    assert_eq!(write(&context, 4_000).await, 4_000);
    let records = cluster.records(T).unwrap();
    let avro = records.iter().filter(|record| record.value.as_ref().is_some_and(|value| value[0] == 0)).count();
    assert!((3_600..4_000).contains(&avro), "{avro} in Avro, poison as it is");
    let size = |records: &[StoredRecord]| -> usize {
        records.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len()).sum()
    };
    assert!(size(&records) * 2 < size(&json.records(T).unwrap()), "less than half as large");
    assert_eq!(work(&cluster, &context).await, expected);
    assert_eq!(asking(&registry).subjects().await.unwrap(), ["clicks-value"]);
    let asked = registry.requests().iter().filter(|request| request.contains("/schemas/ids/")).count();
    assert_eq!(asked, 1, "a schema is asked for once");
}

/// Records of one partition, as they stand here.
async fn send(context: &Context, partition: i32, values: &[Vec<u8>]) {
    let producer = context.producer().unwrap();
    for value in values {
        let record = ProducerRecord::new(T).value(value).partition(partition).timestamp(1_705_329_003_000);
        drop(producer.send(record).await.unwrap());
    }
    producer.close(Duration::from_secs(50)).await.unwrap();
}

/// Count and cents of each row of `gmv_1m`.
fn gmv(cluster: &TestCluster) -> Vec<(u64, i64)> {
    let rows = cluster.records("clicks.windows").unwrap();
    let rows = rows.iter().filter_map(|row| serde_json::from_slice::<serde_json::Value>(row.value.as_deref()?).ok());
    let rows = rows.filter(|row| row["window"] == "gmv_1m");
    rows.map(|row| (row["count"].as_u64().unwrap(), row["sum_cents"].as_i64().unwrap())).collect()
}

fn header(record: &StoredRecord, name: &str) -> String {
    let found = record.headers.iter().find(|(known, _)| known == name).unwrap();
    String::from_utf8(found.1.as_ref().unwrap().to_vec()).unwrap()
}

/// Reason and sentence of each dead letter.
fn reasons(cluster: &TestCluster) -> Vec<(String, String)> {
    let of = |name: &str, record: &StoredRecord| header(record, &format!("__connect.errors.exception.{name}"));
    let letters = cluster.records("clicks.dlq").unwrap();
    letters.iter().map(|letter| (of("class.name", letter), of("message", letter))).collect()
}

fn json(id: &str) -> Vec<u8> {
    format!(
        r#"{{"event_id":"{id}","user_id":1,"event_type":"purchase","product_id":"p","timestamp":"2024-01-15T14:30:02Z","price":5}}"#
    )
    .into_bytes()
}

fn framed(id: u32) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..]].concat()
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let mut length = text.len() << 1;
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(text.as_bytes());
}

const CENTS: &str = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;

/// A schema of texts, with this type of `price`.
fn schema(name: &str, price: &str) -> String {
    format!(
        r#"{{"type":"record","name":"{name}","fields":[
            {{"name":"event_id","type":"string"}},{{"name":"user_id","type":"string"}},{{"name":"event_type","type":"string"}},
            {{"name":"product_id","type":"string"}},{{"name":"timestamp","type":"string"}},{{"name":"price","type":{price}}}]}}"#
    )
}

/// An event by such a schema; `price` is the field's bytes.
fn data(event_id: &str, event_type: &str, price: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in [event_id, "u", event_type, "p", "2024-01-15T14:30:01Z"] {
        text(&mut bytes, field);
    }
    [bytes, price.to_vec()].concat()
}

/// What another writer's schema makes of its events, with a `price` that is not the same everywhere.
const OTHERS: [&str; 2] = [
    r#"{"type":"record","name":"Other","fields":[
        {"name":"price","type":["null","double"],"default":null},
        {"name":"more","type":{"type":"map","values":"long"}},
        {"name":"timestamp","type":"string"},
        {"name":"product_id","type":["null","string"]},
        {"name":"event_type","type":"string"},
        {"name":"user_id","type":"string"},
        {"name":"event_id","type":"string"}]}"#,
    r#"{"type":"record","name":"Third","fields":[
        {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
        {"name":"user_id","type":"int"},
        {"name":"event_type","type":{"type":"enum","name":"What","symbols":["purchase","view"]}},
        {"name":"product_id","type":"string"},
        {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"price","type":{"type":"fixed","name":"Money","size":8,"logicalType":"decimal","precision":18,"scale":4}}]}"#,
];

#[tokio::test(start_paused = true)]
async fn other_writers_schemas_are_read_and_what_is_none_is_set_aside_with_its_reason() {
    let (cluster, registry, context) = both().await;
    let asking = asking(&registry);
    let mut ids = Vec::new();
    for schema in OTHERS {
        let name = SubjectNameStrategy::Topic.subject(T, milena::schema::Side::Value, None).unwrap();
        ids.push(asking.register(&format!("{name}-{}", ids.len()), &Schema::avro(schema)).await.unwrap());
    }
    let other = |price: f64, product: Option<&str>| {
        let mut bytes = framed(ids[0]);
        bytes.push(2);
        bytes.extend(price.to_le_bytes());
        bytes.push(0); // an empty map
        text(&mut bytes, "2024-01-15T15:30:00.5+01:00");
        match product {
            Some(product) => {
                bytes.push(2);
                text(&mut bytes, product);
            }
            None => bytes.push(0),
        }
        for field in ["purchase", "u-7", "e1"] {
            text(&mut bytes, field);
        }
        bytes
    };
    let third = |unscaled: i64| {
        let mut bytes = framed(ids[1]);
        text(&mut bytes, "00000000-0000-0000-0000-000000000007");
        bytes.extend([14, 0]); // user 7, a purchase
        text(&mut bytes, "p2");
        let mut millis = (1_705_329_001_000_u64) << 1;
        while millis >= 0x80 {
            bytes.push(millis as u8 | 0x80);
            millis >>= 7;
        }
        bytes.push(millis as u8);
        bytes.extend(unscaled.to_be_bytes());
        bytes
    };
    let values = [
        other(19.99, Some("p1")),
        third(100_000),
        json("e2"), // from before the topic went over to Avro
        other(19.999, Some("p1")),
        other(f64::NAN, Some("p1")),
        other(1.0, None),
        third(100_001),
        third(7)[..20].to_vec(),
        [framed(4_711), vec![2]].concat(),
        vec![0, 0],
        vec![9, 9],
    ];
    send(&context, 0, &values).await;
    let receipt = aggregated(&context).await;
    assert_eq!((receipt.read, receipt.kept, receipt.dead_lettered), (Some(11), Some(3), Some(8)));
    assert_eq!(gmv(&cluster), [(3, 3_499)], "19.99 + 10.0000 + 5");
    for letter in cluster.records("clicks.dlq").unwrap() {
        let place: usize = header(&letter, "__connect.errors.offset").parse().unwrap();
        assert_eq!(letter.value.as_deref(), Some(&*values[place]), "as it was");
    }
    let reasons = reasons(&cluster);
    let expected = [
        ("bad_price", "no number of at most two decimals"),
        ("bad_price", "NaN"),
        ("missing_field", "product_id"),
        ("bad_price", "no number of at most two decimals"),
        ("bad_avro", "schema 2: field event_id"),
        ("bad_avro", "40403"),
        ("not_json", ""),
        ("not_json", ""),
    ];
    assert_eq!(reasons.len(), expected.len());
    for ((reason, message), (wanted, part)) in reasons.iter().zip(expected) {
        assert!(reason == wanted && message.contains(part), "{reason}: {message}; {wanted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_waited_for_and_nothing_is_lost() {
    let (json, _, mut context) = both().await;
    context.events = EventFormat::json();
    write(&context, 1_000).await;
    let expected = work(&json, &context).await;

    let (cluster, registry, context) = both().await;
    write(&context, 1_000).await;
    let later = TestRegistry::in_memory().unwrap();
    let schema = asking(&registry).latest("clicks-value").await.unwrap();
    assert_eq!(asking(&later).register("clicks-value", &schema.schema).await.unwrap(), schema.id);
    // Another process, which knows no schema yet.
    let context = Context { events: EventFormat::avro(&asking(&registry)), ..context };
    registry.fail_next([503; 100_000]);
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let began = Instant::now();
    let (aggregate, sink, ()) = tokio::join!(
        aggregate::run(&stopping, aggregate::Options::new(T, spec())),
        sink::run(&stopping, Memory::default(), SinkConfig::new(T, What::Purchases)),
        async {
            tokio::time::sleep(Duration::from_secs(120)).await;
            stop.stop();
        }
    );
    assert!(began.elapsed() < Duration::from_secs(130), "it stops in order: {:?}", began.elapsed());
    assert_eq!((aggregate.unwrap().read, sink.unwrap().read), (Some(0), Some(0)));
    let asked = registry.requests().len();
    assert!(asked < 2_000, "{asked} questions in two minutes");

    let context = Context { events: EventFormat::avro(&asking(&later)), ..context };
    later.fail_next([503; 20]);
    assert_eq!(work(&cluster, &context).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_decimal_has_the_scale_of_the_branch_that_was_written() {
    let (cluster, registry, context) = both().await;
    let asking = asking(&registry);
    let two = format!(
        r#"[{{"type":"fixed","name":"Four","size":8,"logicalType":"decimal","precision":18,"scale":4}},{CENTS}]"#
    );
    let root = format!(r#"["null",{}]"#, schema("Root", CENTS));
    let root = asking.register("a", &Schema::avro(root)).await.unwrap();
    let two = asking.register("b", &Schema::avro(schema("Two", &two))).await.unwrap();
    let cents = 1_999_i16.to_be_bytes();
    let values = [
        [framed(root), vec![2], data("e1", "purchase", &[&[4][..], &cents].concat())].concat(),
        [framed(two), data("e2", "purchase", &[&[2, 4][..], &cents].concat())].concat(),
        [framed(two), data("e3", "purchase", &[&[0][..], &199_900_i64.to_be_bytes()].concat())].concat(),
    ];
    send(&context, 0, &values).await;
    aggregated(&context).await;
    assert_eq!((gmv(&cluster), reasons(&cluster)), (vec![(3, 3 * 1_999)], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_no_registry_can_have_and_what_ours_has_not_ends_nothing() {
    let (cluster, _registry, context) = both().await;
    let values = [
        json("e1"),
        [framed(u32::MAX), vec![1, 2, 3]].concat(),
        vec![1; 40], // as a guid would begin, which stands in headers only
        [framed(7), vec![1]].concat(),
        String::from_utf8(json("e2")).unwrap().replace("purchase", &"x".repeat(600_000)).into_bytes(),
        json("e3"),
    ];
    send(&context, 0, &values).await;
    let began = Instant::now();
    let receipt = aggregated(&context).await;
    assert!((10..15).contains(&began.elapsed().as_secs()), "a registry's nodes may be a little behind: {began:?}");
    assert_eq!((receipt.kept, receipt.dead_lettered), (Some(2), Some(4)));
    let found = reasons(&cluster);
    let names: Vec<&str> = found.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(names, ["bad_avro", "not_json", "bad_avro", "bad_event_type"]);
    assert!(found.iter().all(|(_, sentence)| sentence.len() < 500), "{found:?}");
    let config = SinkConfig::new(T, What::Purchases).until_end(true).most_dead_percent(100);
    let receipt = sink::run(&context, Memory::default(), config).await.unwrap();
    assert_eq!((receipt.kept, receipt.dead_lettered), (Some(2), Some(4)));
    let report = verify::run(&context, &verify::Options::new(T, spec().windows)).await.unwrap();
    assert_eq!((report.records, report.dead), (6, 4));
}

#[tokio::test(start_paused = true)]
async fn records_may_name_more_schemas_than_are_kept() {
    let (cluster, registry, context) = both().await;
    let id = asking(&registry).register("a", &Schema::avro(schema("A", CENTS))).await.unwrap();
    let event = |number: u32| [framed(id), data(&format!("e{number}"), "purchase", &[2, 100])].concat();
    // One in ten can be read, and each of the others names a schema of its own.
    let value = |number: u32| if number.is_multiple_of(10) { event(number) } else { framed(1_000 + number) };
    send(&context, 0, &(0..3_000).map(value).collect::<Vec<_>>()).await;
    let config = SinkConfig::new(T, What::Purchases).until_end(true).most_dead_percent(100);
    let receipt = sink::run(&context, Memory::default(), config).await.unwrap();
    assert_eq!((receipt.kept, receipt.dead_lettered), (Some(300), Some(2_700)));
    assert!(reasons(&cluster).iter().all(|(_, sentence)| sentence.contains("40403")));
}

/// A job that is stopped in order after so long.
async fn aggregate_for(context: &Context, seconds: u64) -> Receipt {
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let (receipt, ()) = tokio::join!(aggregate::run(&stopping, aggregate::Options::new(T, spec())), async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.stop();
    });
    receipt.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_record_was_it_stays_whatever_becomes_of_its_schema() {
    let (cluster, registry, context) = both().await;
    let known = asking(&registry).register("a", &Schema::avro(schema("A", CENTS))).await.unwrap();
    let event = |id, schema| [framed(schema), data(id, "purchase", &[2, 100])].concat();
    send(&context, 0, &[json("e1"), event("e2", known + 1), event("e3", known)]).await;
    let first = aggregate_for(&context, 30).await;
    assert_eq!((first.kept, first.dead_lettered), (Some(2), Some(1)));
    // The schema comes, and nothing changes: its record is a dead letter.
    assert_eq!(asking(&registry).register("b", &Schema::avro(schema("B", CENTS))).await.unwrap(), known + 1);
    // And one that is gone is waited for: its record has been counted.
    let empty = TestRegistry::in_memory().unwrap();
    let without = Context { events: EventFormat::avro(&asking(&empty)), ..context.clone() };
    assert_eq!(aggregate_for(&without, 120).await.read, Some(0));
    assert_eq!(gmv(&cluster), []);
    let with = Context { events: EventFormat::avro(&asking(&registry)), ..context };
    send(&with, 0, &[event("e4", known + 1)]).await;
    let third = aggregate_for(&with, 30).await;
    assert_eq!((third.kept, third.dead_lettered), (Some(1), Some(0)));
    // Both are read again, the dead letter and, by the same schema, the event.
    let last = aggregated(&with).await;
    assert_eq!((last.kept, last.dead_lettered), (Some(0), Some(0)));
    assert_eq!((gmv(&cluster), reasons(&cluster).len()), (vec![(3, 500 + 100 + 100)], 1));
}

#[tokio::test(start_paused = true)]
async fn so_many_unknown_schemas_are_another_registrys() {
    let (cluster, _registry, context) = both().await;
    send(&context, 0, &(100..140).map(framed).collect::<Vec<_>>()).await;
    let error = aggregate::run(&context, aggregate::Options::new(T, spec())).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("does not have 33 schemas") && said.contains("100, 101"), "{said}");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(reasons(&cluster), []);
}

#[tokio::test(start_paused = true)]
async fn a_sink_writes_what_it_can_read_while_another_partition_waits() {
    let (_cluster, registry, context) = both().await;
    let id = asking(&registry).register("a", &Schema::avro(schema("A", CENTS))).await.unwrap();
    let mut options = clickstream::Options::new(T);
    (options.count, options.partitions) = (Some(0), 2);
    clickstream::run(&context, options).await.unwrap();
    let avro = |number| [framed(id), data(&format!("a{number}"), "purchase", &[2, 100])].concat();
    send(&context, 0, &(0..2_000).map(avro).collect::<Vec<_>>()).await;
    send(&context, 1, &(0..2_000).map(|number| json(&format!("j{number}"))).collect::<Vec<_>>()).await;
    let config = SinkConfig::new(T, What::Purchases);
    let (stop, store, rows) = (Stop::new(), Memory::default(), config.rows());
    let seen = || rows.load(std::sync::atomic::Ordering::Relaxed);
    registry.fail_next([503; 60]); // a minute or so
    let stopping = Context { stop: stop.clone(), events: EventFormat::avro(&asking(&registry)), ..context };
    let (receipt, ()) = tokio::join!(sink::run(&stopping, store.clone(), config), async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(seen(), 2_000, "the other partition's");
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(seen(), 4_000);
        stop.stop();
    });
    assert_eq!((receipt.unwrap().kept, store.rows()), (Some(4_000), 4_000));
}
