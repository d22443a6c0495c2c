//! `milena offsets`.

use crate::harness::{cluster, milena};

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_listed_at_the_ends_and_at_a_time() {
    let cluster = cluster().await;
    let ran = milena(&cluster, "offsets list orders").ok();
    assert_eq!(ran.rows()[0], ["TOPIC", "PARTITION", "AT", "OFFSET", "TIMESTAMP", "LEADER-EPOCH"]);
    assert_eq!(
        (&ran.rows()[1][..4], &ran.rows()[2][..4]),
        (&["orders", "0", "start", "0"][..], &["orders", "0", "end", "10"][..])
    );
    let ran = milena(&cluster, "offsets list orders --at @-1h --at @2999-01-01 --at max-timestamp --json").ok();
    let offsets: Vec<_> =
        ran.json().into_iter().map(|line| (line["offset"].clone(), line["timestamp"].is_i64())).collect();
    assert_eq!((&offsets[0], &offsets[1]), (&(0.into(), true), &(serde_json::Value::Null, false)));
    assert!(offsets[2].1, "the greatest timestamp is told");
    assert_eq!(milena(&cluster, "offsets list -r .* --at end -p 0 --read-committed").ok().rows().len(), 3);
    milena(&cluster, "offsets list orders -p 7").exits(2);
    milena(&cluster, "offsets list orders --at middle").exits(1);
    milena(&cluster, "offsets list").exits(1);
}
