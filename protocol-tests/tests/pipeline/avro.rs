//! Events in Avro: the same numbers as in JSON, other people's schemas, and a registry that is away.

use crate::sink_run::Memory;
use milena::broker::TestCluster;
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
    let size = |records: &[milena::broker::StoredRecord]| -> usize {
        records.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len()).sum()
    };
    assert!(size(&records) * 2 < size(&json.records(T).unwrap()), "less than half as large");
    assert_eq!(work(&cluster, &context).await, expected);
    assert_eq!(asking(&registry).subjects().await.unwrap(), ["clicks-value"]);
    let asked = registry.requests().iter().filter(|request| request.contains("/schemas/ids/")).count();
    assert_eq!(asked, 1, "a schema is asked for once");
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
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(u8::try_from(text.len() * 2).unwrap());
        bytes.extend(text.as_bytes());
    };
    let framed = |id: u32| [&[0], &id.to_be_bytes()[..]].concat();
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
    let json = br#"{"event_id":"e2","user_id":1,"event_type":"purchase","product_id":"p","timestamp":"2024-01-15T14:30:02Z","price":5}"#;
    let values = [
        other(19.99, Some("p1")),
        third(100_000),
        json.to_vec(), // from before the topic went over to Avro
        other(19.999, Some("p1")),
        other(f64::NAN, Some("p1")),
        other(1.0, None),
        third(100_001),
        third(7)[..20].to_vec(),
        [framed(4_711), vec![2]].concat(),
        vec![0, 0],
        vec![9, 9],
    ];
    let producer = context.producer().unwrap();
    for value in &values {
        let record = ProducerRecord::new(T).value(value).partition(0).timestamp(1_705_329_003_000);
        producer.send(record).await.unwrap().await.unwrap();
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
    let receipt = aggregated(&context).await;
    assert_eq!((receipt.read, receipt.kept, receipt.dead_lettered), (Some(11), Some(3), Some(8)));
    let rows = cluster.records("clicks.windows").unwrap();
    let gmv = rows
        .iter()
        .filter_map(|row| std::str::from_utf8(row.value.as_deref()?).ok())
        .find(|row| row.contains("gmv_1m"));
    assert!(gmv.unwrap().contains("\"count\":3,\"sum_cents\":3499"), "19.99 + 10.0000 + 5: {gmv:?}");
    let mut reasons = Vec::new();
    for record in cluster.records("clicks.dlq").unwrap() {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(known, _)| known == name).unwrap();
            String::from_utf8(found.1.as_ref().unwrap().to_vec()).unwrap()
        };
        let place: usize = header("__connect.errors.offset").parse().unwrap();
        assert_eq!(record.value.as_deref(), Some(&*values[place]), "as it was");
        reasons.push((header("__connect.errors.exception.class.name"), header("__connect.errors.exception.message")));
    }
    let expected = [
        ("bad_price", "no number of at most two decimals"),
        ("bad_price", "NaN"),
        ("missing_field", "product_id"),
        ("bad_price", "more than two decimals"),
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
