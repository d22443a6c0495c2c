//! What `verify` must find, and what it must not take for a difference: the stages' topics written by hand or by them.

use milena::broker::TestCluster;
use milena::pipeline::{
    aggregate,
    config::{WindowSpec, built_in_windows, select_windows},
    context::Context,
    merge,
    stop::Stop,
    verify::{self, Options, Report},
    window::JobSpec,
};
use milena::producer::ProducerRecord;
use std::fmt::Write;
use std::time::Duration;

const T: &str = "clicks";

async fn cluster() -> (TestCluster, Context) {
    let builder = TestCluster::builder().in_memory().initial_rebalance_delay(Duration::ZERO);
    let cluster = builder.topic_with(T, 2, [("retention.ms", "-1")]).start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    (cluster, context)
}

fn windows(names: &str) -> Vec<WindowSpec> {
    select_windows(&built_in_windows(), names).unwrap()
}

/// (partition, id, second of the day, what)
type Click = (i32, usize, i64, &'static str);

async fn click(context: &Context, clicks: &[Click]) {
    let producer = context.producer().unwrap();
    for (partition, id, second, what) in clicks {
        let mut value = String::new();
        let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
        let price = if *what == "purchase" { "1.00" } else { "null" };
        write!(
            value,
            r#"{{"event_id":"e{id}","user_id":{id},"event_type":"{what}","product_id":"p","timestamp":"2024-01-15T{h:02}:{m:02}:{s:02}Z","price":{price}}}"#
        )
        .unwrap();
        let at = 1_705_276_800_000 + second * 1_000;
        drop(producer.send(ProducerRecord::new(T).value(&value).partition(*partition).timestamp(at)).await.unwrap());
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
}

async fn work(context: &Context, spec: JobSpec) {
    let mut options = aggregate::Options::new(T, spec.clone());
    options.until_end = true;
    let receipt = aggregate::run(context, options).await.unwrap();
    assert!(receipt.balanced, "{receipt:?}");
    let mut options = merge::Options::new(T, spec.windows);
    options.until_end = true;
    merge::run(context, options).await.unwrap();
}

/// Lets a job and merge run for a while of virtual time, and stops them in order.
async fn run_for(context: &Context, spec: JobSpec, time: Duration) {
    let stop = Stop::new();
    let stopping = Context { stop: stop.clone(), ..context.clone() };
    let merging = merge::Options::new(T, spec.windows.clone());
    let (job, merged, ()) = tokio::join!(
        aggregate::run(&stopping, aggregate::Options::new(T, spec)),
        merge::run(&stopping, merging),
        async {
            tokio::time::sleep(time).await;
            stop.stop();
        }
    );
    job.unwrap();
    merged.unwrap();
}

async fn verified(context: &Context, options: Options) -> Report {
    verify::run(context, &options).await.unwrap()
}

/// Clicks of a quarter of an hour: some late, some twice in the same window, some twice in another.
fn disordered(seed: u64) -> Vec<Click> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut clicks: Vec<Click> = Vec::new();
    for id in 0..900 {
        let partition = random.i32(0..2);
        let now = 50_000 + id as i64;
        let at = if random.u8(..10) == 0 { now - random.i64(0..400) } else { now - random.i64(0..4) };
        let what = *random.choice(&["view", "purchase", "add_to_cart"]).unwrap();
        clicks.push((partition, id, at, what));
        if random.u8(..10) == 0 {
            let (partition, id, at, what) = *random.choice(&clicks).unwrap();
            clicks.push((partition, id, at + random.i64(0..2) * random.i64(0..90), what));
        }
    }
    clicks
}

#[tokio::test(start_paused = true)]
async fn hopping_windows_deduplication_and_both_are_found_equal() {
    for seed in 0..6 {
        let (_cluster, context) = cluster().await;
        click(&context, &disordered(seed)).await;
        let mut windows = windows("gmv_1m,views_1m,users_30m");
        if seed % 3 != 0 {
            windows[1].advance = 20_000_000;
        }
        let mut spec = JobSpec::new("clicks.aggregate", windows.clone(), 5_000_000);
        spec.dedup = seed % 2 == 1;
        let mut options = Options::new(T, windows);
        options.dedup = spec.dedup;
        work(&context, spec.clone()).await;
        let report = verified(&context, options).await;
        assert!(report.is_equal(), "seed {seed}: {report:#?}");
        let gmv = &report.windows["gmv_1m"];
        assert!(gmv.counts[2] > 0 && (gmv.counts[3] > 0) == spec.dedup, "late and duplicate purchases: {gmv:?}");
        assert_eq!(gmv.cents[0], gmv.cents[1] + gmv.cents[2] + gmv.cents[3]);
        if spec.dedup {
            let report = verified(&context, Options::new(T, spec.windows)).await;
            assert!(!report.is_equal(), "without the rule they are missing");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn windows_before_the_first_timestamp_are_nobodys() {
    let (_cluster, context) = cluster().await;
    click(&context, &disordered(9)).await;
    let mut spec = JobSpec::new("clicks.aggregate", windows("gmv_1m,views_1m"), 5_000_000);
    spec.from = Some((1_705_276_800 + 50_330) * 1_000_000);
    let mut options = Options::new(T, spec.windows.clone());
    options.from = spec.from;
    work(&context, spec.clone()).await;
    let report = verified(&context, options).await;
    assert!(report.is_equal(), "{report:#?}");
    assert!(!verified(&context, Options::new(T, spec.windows)).await.is_equal());
}

#[tokio::test(start_paused = true)]
async fn two_groups_over_one_input_may_both_find_an_event_late() {
    let (_cluster, context) = cluster().await;
    click(
        &context,
        &[(0, 1, 50_000, "purchase"), (0, 2, 56_000, "view"), (0, 3, 50_001, "purchase"), (1, 4, 56_000, "view")],
    )
    .await;
    for (group, names) in [("a", "gmv_1m"), ("b", "users_30m")] {
        let mut options = aggregate::Options::new(T, JobSpec::new(group, windows(names), 5_000_000));
        options.until_end = true;
        assert_eq!(aggregate::run(&context, options).await.unwrap().late, Some(1));
    }
    let mut options = merge::Options::new(T, built_in_windows());
    options.until_end = true;
    merge::run(&context, options).await.unwrap();
    let report = verified(&context, Options::new(T, windows("gmv_1m,users_30m"))).await;
    assert!(report.is_equal(), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_stands_twice_or_nowhere_is_a_difference() {
    let (cluster, context) = cluster().await;
    click(&context, &disordered(3)).await;
    work(&context, JobSpec::new("clicks.aggregate", windows("gmv_1m"), 5_000_000)).await;
    let options = || Options::new(T, windows("gmv_1m"));
    assert!(verified(&context, options()).await.is_equal());
    let producer = context.producer().unwrap();
    for (topic, says) in [
        ("clicks.windows", "stands on clicks.windows twice"),
        ("clicks.final", "stands on clicks.final twice"),
        ("clicks.late", "late before"),
    ] {
        let is_one = |value: &&[u8]| topic == "clicks.late" || value.windows(11).any(|text| text == b"\"sum_cents\"");
        let records = cluster.records(topic).unwrap();
        let one = records.iter().find(|record| record.value.as_deref().as_ref().is_some_and(is_one)).unwrap();
        let mut again = ProducerRecord::new(topic).value(one.value.as_ref().unwrap());
        for (name, value) in &one.headers {
            again = again.header(name, value.as_ref().unwrap());
        }
        drop(producer.send(again).await.unwrap());
        producer.flush(Duration::from_secs(5)).await.unwrap();
        let report = verified(&context, options()).await;
        let found = &report.windows["gmv_1m"];
        assert!(found.differences.iter().any(|text| text.contains(says)), "{topic}: {found:?}");
    }
    click(&context, &[(0, 5_000, 50_010, "purchase")]).await;
    let found = verified(&context, options()).await.windows.remove("gmv_1m").unwrap();
    assert!(found.differences.iter().any(|text| text.contains("batch")), "an event that nobody has counted: {found:?}");
    producer.close(Duration::from_secs(5)).await.unwrap();
}

/// All windows were judged by the greatest watermark of any job: the rows of one that lags were missing.
#[tokio::test(start_paused = true)]
async fn a_window_is_judged_by_the_watermarks_of_the_job_that_writes_it() {
    let (_cluster, context) = cluster().await;
    let day = |second: i64| [(0, second as usize, second, "purchase"), (1, second as usize, second, "view")];
    click(&context, &[day(50_000), day(52_300)].concat()).await;
    run_for(&context, JobSpec::new("b", windows("users_30m"), 5_000_000), Duration::from_secs(4)).await;
    click(&context, &[day(54_100), day(56_000)].concat()).await;
    work(&context, JobSpec::new("a", windows("gmv_1m"), 5_000_000)).await;
    let report = verified(&context, Options::new(T, windows("gmv_1m,users_30m"))).await;
    assert!(report.is_equal(), "{report:#?}");
    let of = |name: &str| (report.windows[name].windows, report.windows[name].open);
    assert_eq!((of("gmv_1m"), of("users_30m")), ((4, 0), (1, 1)), "what group b has not read is not counted either");
}

/// An event that comes after its window has closed, and that the aggregator has not read yet, is nowhere.
#[tokio::test(start_paused = true)]
async fn a_late_event_that_nobody_has_told_yet_is_no_difference() {
    let (_cluster, context) = cluster().await;
    click(&context, &[(0, 1, 50_000, "purchase"), (0, 2, 50_100, "view"), (1, 3, 50_100, "view")]).await;
    let spec = || JobSpec::new("clicks.aggregate", windows("gmv_1m"), 5_000_000);
    let options = || Options::new(T, windows("gmv_1m"));
    run_for(&context, spec(), Duration::from_secs(4)).await;
    click(&context, &[(0, 4, 50_001, "purchase")]).await;
    let found = verified(&context, options()).await.windows.remove("gmv_1m").unwrap();
    assert_eq!((found.different, found.windows, found.counts), (0, 1, [1, 1, 0, 0]), "{found:?}");
    run_for(&context, spec(), Duration::from_secs(4)).await;
    let found = verified(&context, options()).await.windows.remove("gmv_1m").unwrap();
    assert_eq!((found.different, found.windows, found.counts), (0, 1, [2, 1, 1, 0]), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn beside_a_running_pipeline_nothing_is_found_different() {
    let (_cluster, context) = cluster().await;
    let all = windows("gmv_1m,views_1m,users_30m");
    let spec = JobSpec::new("clicks.aggregate", all.clone(), 5_000_000);
    let clicks = disordered(7);
    let (mut compared, mut late) = (0, 0);
    tokio::join!(run_for(&context, spec, Duration::from_secs(60)), async {
        for part in clicks.chunks(10) {
            click(&context, part).await;
            let report = verified(&context, Options::new(T, all.clone())).await;
            assert!(report.is_equal(), "{report:#?}");
            compared += report.windows["gmv_1m"].windows;
            late = report.windows["gmv_1m"].counts[2];
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert!(compared > 100 && late > 0, "{compared} windows, {late} late at the end");
}
