//! The dead letter queue read back and sent once more, over the test broker and on virtual time.

use crate::sink_run::Memory;
use milena::broker::{StoredRecord, TestCluster};
use milena::pipeline::{
    context::Context,
    dlq::{self, Filter, Replayed},
    scan::Progress,
    sink::What,
    window::JobSpec,
};
use milena::producer::ProducerRecord;
use std::task::Poll;
use std::time::Duration;

const T: &str = "clicks";
const DLQ: &str = "clicks.dlq";

async fn cluster() -> (TestCluster, Context) {
    let cluster = TestCluster::builder().in_memory().topic(T, 3).topic(DLQ, 3).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    (cluster, context)
}

/// A record of the queue as the stages write it: the original had one header.
struct Dead {
    stage: &'static str,
    reason: &'static str,
    topic: &'static str,
    /// Of the original.
    place: (i32, i64),
    value: Option<String>,
}

impl Dead {
    fn new(stage: &'static str, reason: &'static str, place: (i32, i64)) -> Self {
        Self { stage, reason, topic: T, place, value: Some(format!("{place:?}")) }
    }

    fn purchase(place: (i32, i64), id: &str, product: &str) -> Self {
        let value = format!(
            r#"{{"event_id":"{id}","user_id":1,"event_type":"purchase","product_id":"{product}","timestamp":"2024-01-15T14:30:00Z","price":19.99}}"#
        );
        Self { value: Some(value), ..Self::new("sink", "row_refused", place) }
    }
}

async fn write(context: &Context, dead: &[Dead]) {
    let producer = context.producer().unwrap();
    for Dead { stage, reason, topic, place: (partition, offset), value } in dead {
        let (partition_text, offset) = (partition.to_string(), offset.to_string());
        let mut record = ProducerRecord::new(DLQ).key("1234").timestamp(1_705_329_000_000).partition(*partition);
        if let Some(value) = value {
            record = record.value(value);
        }
        // The original had been set aside by somebody before: that is its own.
        let record = record
            .header("trace", "x")
            .header("__connect.errors.topic", "elsewhere")
            .header("__connect.errors.topic", *topic)
            .header("__connect.errors.partition", &partition_text)
            .header("__connect.errors.offset", &offset)
            .header("__connect.errors.stage", *stage)
            .header("__connect.errors.exception.class.name", *reason)
            .header("__connect.errors.exception.message", "why not");
        drop(producer.send(record).await.unwrap());
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
}

async fn back(context: &Context, filter: &Filter) -> Replayed {
    dlq::back_to_input(context, DLQ, filter, false, &Progress::default()).await.unwrap().0
}

fn only(reason: &str) -> Filter {
    Filter::parse(None, &[reason.to_owned()]).unwrap()
}

fn values(cluster: &TestCluster) -> Vec<String> {
    let text = |record: StoredRecord| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    let mut values: Vec<_> = cluster.records(T).unwrap().into_iter().map(text).collect();
    values.sort();
    values
}

#[tokio::test(start_paused = true)]
async fn the_aggregators_letters_go_back_as_they_were_once_whoever_told_of_them() {
    let (cluster, context) = cluster().await;
    let tombstone = Dead { value: None, ..Dead::new("aggregate", "tombstone", (2, 9)) };
    let again = || Dead::new("aggregate", "bad_price", (0, 1));
    write(&context, &[again(), again(), tombstone, Dead::new("merge", "bad_field", (0, 5))]).await;
    let (dry, _) = dlq::back_to_input(&context, DLQ, &Filter::default(), true, &Progress::default()).await.unwrap();
    assert_eq!((dry.sent, cluster.records(T).unwrap().len()), (2, 0), "a dry run sends nothing");
    let first = back(&context, &Filter::default()).await;
    assert_eq!((first.read, first.sent, first.repeated), (4, 2, 1));
    assert_eq!(first.skipped, [("merge", 1)].into());
    assert!(first.receipt().balanced);
    let mut records = cluster.records(T).unwrap();
    records.sort_by_key(|record| record.partition);
    let places: Vec<_> = records.iter().map(|record| record.partition).collect();
    assert_eq!(places, [0, 2], "to the partitions that they came from");
    for record in &records {
        assert_eq!((record.key.as_deref(), record.timestamp), (Some(&b"1234"[..]), 1_705_329_000_000));
        let names: Vec<_> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["trace", "__connect.errors.topic"], "what the original had, and only that");
    }
    assert_eq!((records[0].value.as_deref(), &records[1].value), (Some(&b"(0, 1)"[..]), &None));

    let second = back(&context, &Filter::default()).await;
    assert_eq!(second, Replayed::default(), "a second replay finds nothing");
    write(&context, &[again(), Dead::new("aggregate", "bad_price", (1, 3))]).await;
    let third = back(&context, &Filter::default()).await;
    assert_eq!((third.sent, third.repeated), (1, 1), "told of after its replay: not sent once more");
}

#[tokio::test(start_paused = true)]
async fn a_filter_leaves_the_others_for_the_next_replay() {
    let (cluster, context) = cluster().await;
    let dead = |reason, offset| Dead::new("aggregate", reason, (0, offset));
    write(&context, &[dead("bad_price", 1), dead("not_json", 2), dead("bad_price", 3)]).await;
    let priced = back(&context, &only("bad_price")).await;
    assert_eq!((priced.sent, &priced.skipped), (2, &[("not_selected", 1)].into()));
    assert_eq!(back(&context, &only("bad_price")).await.sent, 0);
    assert_eq!(back(&context, &Filter::parse(Some("sink"), &[]).unwrap()).await, Replayed::default());
    write(&context, &[dead("bad_price", 4)]).await;
    let rest = back(&context, &Filter::default()).await;
    assert_eq!((rest.read, rest.sent), (2, 2));
    assert_eq!(values(&cluster), ["(0, 1)", "(0, 2)", "(0, 3)", "(0, 4)"], "each once");
    assert_eq!(back(&context, &Filter::default()).await, Replayed::default());
}

/// One letter that the topic can't take was the end of every replay.
#[tokio::test(start_paused = true)]
async fn a_letter_that_the_topic_refuses_stays_and_the_others_go() {
    let builder = TestCluster::builder().in_memory().topic(DLQ, 1);
    let cluster = builder.topic_with(T, 1, [("max.message.bytes", "2000")]).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    // Not compressible.
    let mut random = fastrand::Rng::with_seed(1);
    let large = (0..5_000).map(|_| random.alphanumeric()).collect::<String>();
    let dead = |offset| Dead::new("aggregate", "bad_price", (0, offset));
    write(&context, &[dead(1), Dead { value: Some(large.clone()), ..dead(2) }, dead(3)]).await;
    let replay =
        async || dlq::back_to_input(&context, DLQ, &Filter::default(), false, &Progress::default()).await.unwrap();
    let (first, refused) = replay().await;
    assert_eq!((first.read, first.sent, first.refused), (3, 2, 1), "{refused:?}");
    assert!(first.receipt().balanced && refused[0].original == "clicks[0]@2", "{refused:?}");
    assert_eq!(committed(&context).await, ["(0, 1)", "(0, 3)"]);
    let (second, _) = replay().await;
    assert_eq!((second.read, second.sent, second.refused), (1, 0, 1), "it is taken up again, and only it");
    write(&context, &[dead(4)]).await;
    let (third, _) = replay().await;
    assert_eq!((third.read, third.sent, third.refused), (2, 1, 1));
    assert_eq!(committed(&context).await, ["(0, 1)", "(0, 3)", "(0, 4)"]);
}

/// A replay that is dropped at any instant, as kill -9 drops it, and started again until it gets through: readers of what
/// is committed see each record once.
#[tokio::test(start_paused = true)]
async fn a_replay_that_is_killed_at_any_instant_loses_and_doubles_nothing() {
    let mut interrupted = 0;
    for seed in 0..40 {
        let (_cluster, context) = cluster().await;
        let dead: Vec<_> = (0..30).map(|at| Dead::new("aggregate", "bad_price", (at % 3, i64::from(at)))).collect();
        write(&context, &dead).await;
        let all = Filter::default();
        let mut random = fastrand::Rng::with_seed(seed);
        loop {
            let mut killed = context.clone();
            killed.consumer = killed.consumer.max_poll_records(3); // a transaction for each three
            if polled(back(&killed, &all), random.usize(1..60)).await.is_some() {
                break;
            }
            interrupted += 1;
        }
        let mut seen = committed(&context).await;
        seen.sort();
        let mut expected: Vec<_> = dead.iter().map(|dead| dead.value.clone().unwrap()).collect();
        expected.sort();
        assert_eq!(seen, expected, "seed {seed}");
    }
    assert!(interrupted > 20, "{interrupted}");
}

/// The future's outcome, or `None` if it is dropped after so many polls.
async fn polled<T>(future: impl Future<Output = T>, mut polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}

/// What a read_committed reader sees on `T`.
async fn committed(context: &Context) -> Vec<String> {
    let mut seen = Vec::new();
    milena::pipeline::scan::all(context, T, &Progress::default(), |record| {
        seen.push(String::from_utf8(record.value().unwrap().to_vec()).unwrap());
    })
    .await
    .unwrap();
    seen
}

async fn through(context: &Context, store: &Memory) -> (Replayed, Vec<String>) {
    let (mut store, filter, progress) = (store.clone(), Filter::default(), Progress::default());
    let max_future = JobSpec::MAX_FUTURE;
    let through =
        dlq::through_the_sink(context, DLQ, What::Purchases, Some(&mut store), &filter, max_future, &progress).await;
    let (replayed, refused) = through.unwrap();
    (replayed, refused.into_iter().map(|refusal| refusal.original).collect())
}

#[tokio::test(start_paused = true)]
async fn what_is_still_refused_stays_and_is_taken_up_again_when_the_table_is_mended() {
    let (_cluster, context) = cluster().await;
    let bad = Dead { value: Some("not json".to_owned()), ..Dead::new("sink", "not_json", (2, 4)) };
    let window = Dead { topic: "clicks.final", ..Dead::purchase((0, 1), "w", "slim") };
    let slim = || Dead::purchase((1, 7), "a", "slim");
    let last = Dead::purchase((1, 9), "c", "slim");
    write(
        &context,
        &[slim(), Dead::purchase((1, 8), "b", "wide"), slim(), last, bad, window, Dead::new("aggregate", "x", (0, 0))],
    )
    .await;
    let store = Memory::default();
    store.refuse(Some("wide"));
    let (first, refused) = through(&context, &store).await;
    assert_eq!((first.read, first.sent, first.repeated, first.refused), (5, 2, 1, 2));
    assert_eq!((store.rows(), refused), (2, vec!["clicks[2]@4".to_owned(), "clicks[1]@8".to_owned()]));
    let (second, refused) = through(&context, &store).await;
    assert_eq!((second.sent, second.repeated, refused.len(), store.rows()), (0, 2, 2, 2), "{second:?}");
    store.refuse(None);
    let (third, refused) = through(&context, &store).await;
    assert_eq!((third.sent, refused, store.rows()), (1, vec!["clicks[2]@4".to_owned()], 3));
    let (fourth, _) = through(&context, &store).await;
    assert_eq!((fourth.read, fourth.refused), (1, 1), "only what is no event is left");
    assert!([first, second, third, fourth].iter().all(|replayed| replayed.receipt().balanced));
}

#[tokio::test(start_paused = true)]
async fn a_list_counts_by_stage_and_reason_and_names_the_newest() {
    let (_cluster, context) = cluster().await;
    let producer = context.producer().unwrap();
    drop(producer.send(ProducerRecord::new(DLQ).value("by hand")).await.unwrap());
    producer.close(Duration::from_secs(5)).await.unwrap();
    let refused = || Dead::purchase((1, 7), "a", "p");
    write(
        &context,
        &[
            Dead::new("aggregate", "bad_price", (0, 3)),
            refused(),
            refused(),
            Dead::new("aggregate", "bad_price", (0, 9)),
        ],
    )
    .await;
    let found = dlq::list(&context, DLQ, &Filter::default(), 2, &Progress::default()).await.unwrap();
    assert_eq!((found.records, found.foreign, found.newest.len()), (4, 1, 2));
    let groups: Vec<_> = found
        .groups
        .iter()
        .map(|group| (group.stage.as_str(), group.reason.as_str(), group.records, group.distinct))
        .collect();
    assert_eq!(groups, [("aggregate", "bad_price", 2, 2), ("sink", "row_refused", 2, 1)]);
    let range = &found.groups[0].coordinates[0];
    assert_eq!((range.topic.as_str(), range.partition, range.first, range.last), (T, 0, 3, 9));
    let found = dlq::list(&context, DLQ, &only("row_refused"), 9, &Progress::default()).await.unwrap();
    assert_eq!((found.records, found.newest.len()), (2, 2));
    assert_eq!(found.newest[0].original, "clicks[1]@7");

    for wrong in [T, ".dlq"] {
        let refused =
            dlq::back_to_input(&context, wrong, &Filter::default(), false, &Progress::default()).await.unwrap_err();
        assert!(refused.exit_code() == 1 && refused.to_string().contains("no dead letter queue"), "{refused}");
    }
    let missing = dlq::list(&context, "other.dlq", &Filter::default(), 1, &Progress::default()).await.unwrap_err();
    assert!(missing.to_string().contains("there is no topic other.dlq"), "{missing}");
}
