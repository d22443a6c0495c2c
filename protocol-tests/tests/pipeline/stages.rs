//! Clickstream, aggregator and merge over the test broker, in memory and on virtual time.

use milena::broker::TestCluster;
use milena::ids::TopicPartition;
use milena::pipeline::{
    aggregate, clickstream,
    config::{built_in_windows, select_windows},
    context::Context,
    error::PipelineError,
    merge,
    receipt::Receipt,
    rows::{INFINITY, WatermarkRow, WindowRow, WindowsRecord},
    stop::Stop,
    timestamp, verify,
    window::JobSpec,
};
use std::{collections::BTreeMap, time::Duration};

const WINDOWS: &str = "gmv_1m,views_1m,users_30m";
pub(crate) const T: &str = "clicks";

pub(crate) async fn cluster() -> TestCluster {
    TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO).start().await.unwrap()
}

pub(crate) async fn context(cluster: &TestCluster) -> Context {
    Context::new(cluster.client().await.unwrap())
}

pub(crate) fn spec(bound: i64) -> JobSpec {
    JobSpec::new("clicks.aggregate", select_windows(&built_in_windows(), WINDOWS).unwrap(), bound)
}

pub(crate) fn job(until_end: bool) -> aggregate::Options {
    let mut options = aggregate::Options::new(T, spec(5_000_000));
    options.until_end = until_end;
    options
}

/// Ten minutes of 2024 a thousand events, some late, doubled or broken.
pub(crate) async fn click(context: &Context, seed: u64, start: &str) -> Receipt {
    let mut options = clickstream::Options::new(T);
    options.count = Some(3_000);
    options.partitions = 3;
    options.knobs.seed = seed;
    options.knobs.rate = 10.0;
    options.knobs.start = timestamp::parse(start).unwrap();
    options.knobs.disorder = 4_000_000;
    (options.knobs.late, options.knobs.dup, options.knobs.poison) = (0.02, 0.02, 0.02);
    clickstream::run(context, options).await.unwrap()
}

pub(crate) async fn merge_to_the_end(context: &Context) -> Receipt {
    let mut options = merge::Options::new(T, built_in_windows());
    options.until_end = true;
    merge::run(context, options).await.unwrap()
}

/// Lets a stage run for a while of virtual time, and stops it in order.
pub(crate) async fn for_a_while(context: &Context, options: aggregate::Options) -> Receipt {
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let (receipt, ()) = tokio::join!(aggregate::run(&stopping, options), async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        stop.stop();
    });
    receipt.unwrap()
}

fn windows(cluster: &TestCluster) -> (Vec<WindowRow>, Vec<WatermarkRow>) {
    let (mut rows, mut marks) = (Vec::new(), Vec::new());
    for record in cluster.records("clicks.windows").unwrap() {
        match WindowsRecord::parse(record.value.as_deref().unwrap()).unwrap() {
            WindowsRecord::Row(row) => rows.push(row),
            WindowsRecord::Watermark(mark) => marks.push(mark),
        }
    }
    (rows, marks)
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_order_and_a_restart_lose_and_double_nothing() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    let first = for_a_while(&context, job(false)).await;
    assert_eq!(first.read, Some(3_000));
    let (rows, marks) = windows(&cluster);
    assert!(!rows.is_empty() && marks.iter().all(|mark| mark.watermark_ms < INFINITY), "a stop is not the end");

    click(&context, 2, "2024-01-15T14:35:00Z").await;
    let second = aggregate::run(&context, job(true)).await.unwrap();
    assert_eq!(second.read, Some(3_000), "what was read again is not counted again");
    assert!(first.balanced && second.balanced && first.late > Some(0) && second.dead_lettered > Some(0));
    let (rows, marks) = windows(&cluster);
    let mut once = BTreeMap::new();
    for row in &rows {
        *once.entry(row.record_key()).or_insert(0) += 1;
    }
    assert_eq!(once.values().filter(|n| **n > 1).count(), 0, "each (window, key, partition) once");
    let ended = marks.iter().filter(|mark| mark.watermark_ms == INFINITY).count();
    assert_eq!(ended, 3, "every partition");

    let merged = merge_to_the_end(&context).await;
    assert!(merged.balanced && merged.windows_closed > Some(0));
    let report = verify::run(&context, &verify::Options::new(T, spec(0).windows)).await.unwrap();
    let found: Vec<_> = report.windows.values().flat_map(|window| &window.differences).collect();
    assert!(report.is_equal(), "{found:#?}");
    assert_eq!(report.records, 6_000);
    assert!(report.windows.values().all(|window| window.open == 0 && window.rows > 0));
    let set_aside = cluster.records("clicks.late").unwrap().len() + cluster.records("clicks.dlq").unwrap().len();
    let told = [&first, &second].map(|receipt| receipt.late.unwrap() + receipt.dead_lettered.unwrap());
    assert_eq!(set_aside as u64, told.iter().sum::<u64>());
}

#[tokio::test(start_paused = true)]
async fn an_ended_group_refuses_new_records_and_does_nothing_without() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    aggregate::run(&context, job(true)).await.unwrap();
    let before = windows(&cluster).0.len();
    let again = aggregate::run(&context, job(true)).await.unwrap();
    assert_eq!((again.read, windows(&cluster).0.len()), (Some(0), before));
    click(&context, 2, "2024-01-15T14:35:00Z").await;
    let refused = aggregate::run(&context, job(false)).await.unwrap_err();
    assert!(matches!(&refused, PipelineError::Config(text) if text.contains("this group was ended")), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn offsets_of_another_spec_or_of_nobody_are_refused() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    for_a_while(&context, job(false)).await;
    let mut other = aggregate::Options::new(T, spec(6_000_000));
    other.until_end = true;
    let refused = aggregate::run(&context, other).await.unwrap_err();
    assert_eq!(refused.exit_code(), 1);
    assert!(refused.to_string().contains("other windows, bound or guards"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_members_changes_no_sum() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    let (one, two) = tokio::join!(for_a_while(&context, job(false)), for_a_while(&context, job(false)));
    let read = one.read.unwrap() + two.read.unwrap();
    assert_eq!(read, 3_000, "each record by one of them, once");
    aggregate::run(&context, job(true)).await.unwrap();
    merge_to_the_end(&context).await;
    let report = verify::run(&context, &verify::Options::new(T, spec(0).windows)).await.unwrap();
    assert!(report.is_equal(), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn members_without_a_partition_end_with_the_others() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 5, "2024-01-15T14:30:00Z").await;
    let five = async {
        let run = || aggregate::run(&context, job(true));
        tokio::try_join!(run(), run(), run(), run(), run())
    };
    let receipts = tokio::time::timeout(Duration::from_secs(60), five).await.expect("all five end").unwrap();
    let (a, b, c, d, e) = receipts;
    let read: u64 = [a, b, c, d, e].iter().filter_map(|receipt| receipt.read).sum();
    assert!(read >= 3_000, "{read}");
    let (_, marks) = windows(&cluster);
    assert_eq!(marks.iter().filter(|mark| mark.watermark_ms == INFINITY).count(), 3, "every partition, once");
}

/// Killed on its way to the end while the topic goes on: the next start ends what is left.
#[tokio::test(start_paused = true)]
async fn a_run_to_the_end_that_was_killed_is_taken_up_though_the_topic_has_grown() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    let admin = context.client.admin();
    let ended = |metadata: &str| metadata.contains("\"wm\":9223372036854775807");
    for_a_while(&context, job(false)).await;
    let before = admin.list_group_offsets("clicks.aggregate").await.unwrap();
    aggregate::run(&context, job(true)).await.unwrap();
    // As if it had been killed before the commit of partition 1.
    let name = TopicPartition::new(T, 1);
    let killed = [(name.clone(), before[&name].committed.clone())];
    admin.set_group_offsets("clicks.aggregate", killed).await.unwrap();
    click(&context, 2, "2024-01-15T14:35:00Z").await;
    aggregate::run(&context, job(true)).await.unwrap();
    let offsets = admin.list_group_offsets("clicks.aggregate").await.unwrap();
    assert!(offsets.values().all(|found| ended(&found.committed.metadata)));
    let refused = aggregate::run(&context, job(true)).await.unwrap_err();
    assert!(refused.to_string().contains("this group was ended"), "{refused}");
}

/// `--from-timestamp` is for the first start; the next ones go on from there without it.
#[tokio::test(start_paused = true)]
async fn a_group_that_began_in_the_middle_stays_so_without_being_told_again() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 1, "2024-01-15T14:30:00Z").await;
    let from = timestamp::parse("2024-01-15T14:31:30Z").unwrap();
    let mut first = job(false);
    first.spec.from = Some(from);
    for_a_while(&context, first).await;
    aggregate::run(&context, job(true)).await.unwrap();
    let (rows, _) = windows(&cluster);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.start_ms >= from / 1_000), "{:?}", rows.first());
}
