//! The aggregator and merge, killed, fenced and left without answers, over the test broker and on virtual time. The numbers
//! must be those of a batch over the input, and no row may be there twice.

use crate::stages::{T, click, cluster, context, for_a_while, job, merge_to_the_end, spec};
use milena::broker::ApiKey;
use milena::error::ErrorCode;
use milena::ids::TopicPartition;
use milena::pipeline::{
    aggregate, config::built_in_windows, context::Context, merge, rows::FinalRow, timestamp, verify,
};
use milena::producer::ProducerConfig;
use protocol_tests::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// What readers of what is committed find on a topic: keys, and how often each is there.
async fn committed_keys(context: &Context, topic: &str) -> BTreeMap<String, usize> {
    let mut reader = context.reader().unwrap();
    let end = context.client.admin().end_offsets([TopicPartition::new(topic, 0)]).await.unwrap();
    let name = TopicPartition::new(topic, 0);
    reader.assign([name.clone()]).await.unwrap();
    let mut found = BTreeMap::new();
    while reader.position(&name).is_none_or(|position| position < end[&name]) {
        for record in &reader.poll(Duration::from_secs(1)).await.unwrap() {
            let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
            if !key.starts_with("watermark|") {
                *found.entry(key).or_insert(0) += 1;
            }
        }
    }
    found
}

/// Every (window, key, partition) and every final row once, everything equal to the batch, and all records counted.
async fn judge(context: &Context, records: u64) {
    for topic in ["clicks.windows", "clicks.final"] {
        let twice: Vec<_> = committed_keys(context, topic).await.into_iter().filter(|(_, n)| *n > 1).collect();
        assert!(twice.is_empty(), "{topic}: twice {twice:?}");
    }
    let report = verify::run(context, &verify::Options::new(T, spec(0).windows)).await.unwrap();
    let found: Vec<_> = report.windows.values().flat_map(|window| &window.differences).collect();
    assert!(report.is_equal(), "{found:#?}");
    assert!(report.windows.values().all(|window| window.open == 0 && window.rows > 0));
    let counts = aggregate::totals(&context.client.admin(), &spec(0), T).await.unwrap();
    let fates = counts.kept + counts.late + counts.skipped.values().sum::<u64>() + counts.dead.values().sum::<u64>();
    assert_eq!((counts.read, fates), (records, records), "{counts:?}");
}

/// Dropped in the middle: as a kill, but that the broker hears of it at once.
async fn for_some_time<T>(random: &mut Random, most: u64, run: impl Future<Output = T>) {
    let _ = timeout(Duration::from_millis(1 + random.below(most)), run).await;
}

async fn to_the_end(context: &Context, records: u64) {
    timeout(Duration::from_secs(600), aggregate::run(context, job(true))).await.expect("an end").unwrap();
    merge_to_the_end(context).await;
    judge(context, records).await;
}

#[tokio::test(start_paused = true)]
async fn kills_at_random_instants_change_no_number_and_double_no_row() {
    for seed in 0..6 {
        let mut random = Random::scenario(seed);
        let cluster = cluster().await;
        let context = context(&cluster).await;
        click(&context, seed, "2024-01-15T14:30:00Z").await;
        for round in 0..8 {
            for_some_time(&mut random, 700, aggregate::run(&context, job(false))).await;
            for_some_time(&mut random, 700, merge::run(&context, merge::Options::new(T, built_in_windows()))).await;
            if round == 4 {
                click(&context, seed + 100, "2024-01-15T14:35:00Z").await;
            }
        }
        to_the_end(&context, 6_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_or_stay_without_an_answer_change_no_number() {
    for seed in 0..6 {
        let mut random = Random::scenario(seed);
        let cluster = cluster().await;
        let context = context(&cluster).await;
        click(&context, seed, "2024-01-15T14:30:00Z").await;
        for api in
            [ApiKey::EndTxn, ApiKey::TxnOffsetCommit, ApiKey::Produce, ApiKey::InitProducerId, ApiKey::OffsetFetch]
        {
            cluster.fault(api).probability(0.05, random.below(1 << 40)).apply_then_silence();
            cluster.fault(api).probability(0.05, random.below(1 << 40)).apply_then_disconnect();
            cluster.fault(api).probability(0.05, random.below(1 << 40)).disconnect();
        }
        for _ in 0..3 {
            for_some_time(&mut random, 20_000, aggregate::run(&context, job(false))).await;
        }
        cluster.clear_faults();
        to_the_end(&context, 3_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_counted_once() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 7, "2024-01-15T14:30:00Z").await;
    cluster.fault(ApiKey::EndTxn).times(3).apply_then_disconnect();
    let receipt = aggregate::run(&context, job(true)).await.unwrap();
    assert_eq!(receipt.read, Some(3_000), "{receipt:?}");
    merge_to_the_end(&context).await;
    judge(&context, 3_000).await;
}

/// Another owner fences the aggregator's producers while the group still says that the partitions are its own: it begins
/// anew when the group has confirmed that, and not before.
#[tokio::test(start_paused = true)]
async fn who_is_fenced_waits_for_the_groups_word_and_begins_anew() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 3, "2024-01-15T14:30:00Z").await;
    let run = aggregate::run(&context, job(false));
    let intrude = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for partition in 0..3 {
            let id = format!("clicks.aggregate.clicks.{partition}");
            let other = context.client.transactional_producer(id, ProducerConfig::default()).await.unwrap();
            other.close(Duration::from_secs(1)).await.unwrap();
        }
        click(&context, 4, "2024-01-15T14:35:00Z").await;
        let before = committed_keys(&context, "clicks.windows").await.len();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(committed_keys(&context, "clicks.windows").await.len(), before, "fenced: nothing more is committed");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(committed_keys(&context, "clicks.windows").await.len() > before, "the group has confirmed it");
    };
    tokio::select! {
        done = run => panic!("{done:?}"),
        () = intrude => {}
    }
    to_the_end(&context, 6_000).await;
}

/// Retention was shorter than an outage.
#[tokio::test(start_paused = true)]
async fn records_that_are_gone_end_the_aggregator_or_mark_the_windows_that_miss_them() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 3, "2024-01-15T14:30:00Z").await;
    for_a_while(&context, job(false)).await;
    let retention = |ms: &str| [("retention.ms", Some(ms.to_owned()))];
    let admin = context.client.admin();
    admin.alter_configs(T, retention("1000")).await.unwrap();
    cluster.apply_retention();
    admin.alter_configs(T, retention("-1")).await.unwrap();
    click(&context, 4, "2024-01-15T14:36:00Z").await;

    let refused = aggregate::run(&context, job(true)).await.unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("--accept-gap"), "{refused}");
    let mut options = job(true);
    options.accept_gap = true;
    aggregate::run(&context, options).await.unwrap();
    merge_to_the_end(&context).await;
    let rows = cluster.committed_records("clicks.final").unwrap();
    let rows = rows.iter().filter_map(|row| serde_json::from_slice::<FinalRow>(row.value.as_deref()?).ok());
    let (cut, whole): (Vec<_>, Vec<_>) = rows.filter(|row| row.window == "gmv_1m").partition(|row| row.incomplete);
    assert!(!cut.is_empty() && !whole.is_empty(), "{cut:?} {whole:?}");
    let last_cut = cut.iter().map(|row| row.start_ms).max().unwrap();
    assert!(last_cut <= timestamp::parse("2024-01-15T14:36:05Z").unwrap() / 1_000, "no later than the bound allows");
    // What was final before the outage is whole, and so is what began after the gap.
    assert!(whole.iter().any(|row| row.start_ms < cut.iter().map(|row| row.start_ms).min().unwrap()));
    assert!(whole.iter().any(|row| row.start_ms > last_cut));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_pass_ends_the_aggregator_and_says_what() {
    let cluster = cluster().await;
    let context = context(&cluster).await;
    click(&context, 3, "2024-01-15T14:30:00Z").await;
    cluster.fault(ApiKey::Produce).for_topic("clicks.windows").error(ErrorCode::TopicAuthorizationFailed);
    let refused = timeout(Duration::from_secs(60), aggregate::run(&context, job(true))).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("clicks.windows"), "{refused}");
    cluster.clear_faults();
    to_the_end(&context, 3_000).await;
}
