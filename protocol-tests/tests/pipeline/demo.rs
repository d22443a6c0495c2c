//! The demo with its buttons pressed: whatever is killed or taken away, the receipt balances, and the metrics say the same.

use milena::pipeline::{
    board::{Board, Numbers},
    dashboard::Controls,
    demo::{self, Options},
    metrics::Metrics,
    receipt::Receipt,
    stop::Stop,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// The sum of a metric's samples that have all of these labels.
fn sum(text: &str, name: &str, labels: &[&str]) -> u64 {
    let of =
        |line: &&str| line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label));
    text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn metrics_agree(receipt: &Receipt, metrics: &Metrics, numbers: &Numbers) {
    let text = metrics.render(numbers, 0);
    let is = |name, labels: &[&str], expected: Option<u64>| {
        assert_eq!(Some(sum(&text, name, labels)), expected, "{name}{labels:?} in\n{text}");
    };
    is("pipeline_records_total", &[r#"stage="clickstream""#], receipt.produced);
    is("pipeline_records_total", &[r#"stage="aggregate""#], receipt.read);
    is("pipeline_records_total", &[r#"stage="sink""#], receipt.read);
    is("pipeline_dlq_records_total", &[r#"stage="aggregate""#], receipt.dead_lettered);
    let no_price = receipt.skipped.as_ref().and_then(|skipped| skipped.get("no_price")).copied();
    is("pipeline_skipped_total", &[r#"stage="aggregate""#, r#"reason="no_price""#], Some(no_price.unwrap_or(0)));
    is("pipeline_final_windows_total", &[], receipt.windows_closed);
    is("pipeline_sink_rows_total", &[r#"result="written""#], receipt.db_rows);
    assert!(sum(&text, "pipeline_late_records_total", &[r#"window="gmv_10s""#]) <= receipt.late.unwrap());
    assert!(!text.contains("group_lag{"), "nobody owns a partition any more:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_aggregator_and_a_database_that_is_away_change_no_number() {
    let (board, controls, metrics) = (Arc::new(Board::default()), Controls::default(), Metrics::new());
    let mut options = Options::default();
    (options.board, options.controls, options.metrics) = (board.clone(), controls.clone(), metrics.clone());
    options.rate = 500.0;
    let stop = Stop::new();
    let demo = tokio::spawn({
        let stop = stop.clone();
        async move { demo::run(&stop, options, None).await }
    });
    // Each life of the aggregator commits before it ends.
    let mut committed = 0;
    for kill in 1..=3 {
        let more = async {
            while board.numbers().counts.read <= committed {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), more).await.expect("an aggregator is at work");
        committed = board.numbers().counts.read;
        assert!(controls.database_away(kill == 2));
        assert!(controls.kill());
        let dead = async {
            while controls.kills() < kill {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(10), dead).await.expect("it is killed");
    }
    controls.database_away(true);
    stop.stop();
    let receipt = timeout(Duration::from_secs(60), demo).await.expect("the demo ends").unwrap().unwrap();
    assert!(receipt.balanced, "{}", receipt.to_json());
    assert!(receipt.read.unwrap() > committed && receipt.db_rows.unwrap() > 0, "{}", receipt.to_json());
    assert!(!controls.kill() && !controls.database_away(true), "the demo is over");
    assert!(!controls.is_database_away());
    let text = metrics.render(&board.numbers(), 0);
    assert_eq!(sum(&text, "pipeline_stage_starts_total", &[r#"stage="aggregate""#]), 3 + 2, "{text}");
    metrics_agree(&receipt, &metrics, &board.numbers());
}
