//! What `clickstream` writes, and in which order.

use milena::broker::TestCluster;
use milena::pipeline::{
    clickstream::{
        self, Options,
        generator::{Generator, Knobs},
    },
    context::Context,
    timestamp,
};
use std::time::Duration;

const T: &str = "clicks";

/// Key, value and timestamp of each record of the only partition.
type Written = Vec<(Option<Vec<u8>>, Option<Vec<u8>>, i64)>;

async fn write(mut options: Options) -> (Written, u64) {
    let cluster = TestCluster::builder().in_memory().start().await.unwrap();
    let context = Context::new(cluster.client().await.unwrap());
    options.partitions = 1;
    let receipt = clickstream::run(&context, options).await.unwrap();
    let bytes = |bytes: Option<bytes::Bytes>| bytes.map(|bytes| bytes.to_vec());
    let records = cluster.records(T).unwrap().into_iter();
    (records.map(|r| (bytes(r.key), bytes(r.value), r.timestamp)).collect(), receipt.produced.unwrap())
}

fn knobs() -> Knobs {
    let mut knobs = Knobs::default();
    (knobs.start, knobs.users, knobs.zipf) = (timestamp::parse("2024-01-15T14:30:00Z").unwrap(), 300, 1.1);
    (knobs.disorder, knobs.late, knobs.dup, knobs.poison) = (4_000_000, 0.05, 0.05, 0.05);
    knobs
}

fn generated(count: usize) -> Written {
    let mut generator = Generator::new(knobs());
    let next = |_| {
        let event = generator.draw();
        (Some(event.key.to_vec()), event.value.map(<[u8]>::to_vec), event.timestamp_ms)
    };
    (0..count).map(next).collect()
}

#[tokio::test(start_paused = true)]
async fn every_event_of_all_knobs_together_is_written_in_order_paced_or_not() {
    for paced in [false, true] {
        let mut options = Options::new(T);
        (options.knobs, options.count, options.paced) = (knobs(), Some(3_000), paced);
        let (written, produced) = write(options).await;
        assert!(written == generated(3_000) && produced == 3_000, "paced: {paced}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paced_stream_ends_with_its_time() {
    let mut options = Options::new(T);
    (options.knobs, options.paced, options.run_for) = (knobs(), true, Some(Duration::from_secs(2)));
    let (written, _) = write(options).await;
    assert!((1_900..2_100).contains(&written.len()), "{} events of 1,000 a second", written.len());
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_a_file_keep_their_order_with_a_user_or_without() {
    let lines: Vec<_> = generated(2_000).into_iter().filter_map(|(_, value, _)| value).collect();
    let path = std::env::temp_dir().join(format!("milena-clickstream-{}.ndjson", std::process::id()));
    std::fs::write(&path, [lines.join(&b'\n'), b"\n\r\n".to_vec()].concat()).unwrap();
    let mut options = Options::new(T);
    options.file = Some(path.clone());
    let (written, produced) = write(options.clone()).await;
    assert_eq!(produced, lines.len() as u64);
    assert!(written.iter().map(|(_, value, _)| value.as_ref()).eq(lines.iter().map(Some)), "as they are, in order");
    assert!(written.iter().any(|(key, ..)| key.is_none()), "a line that is no JSON has no user");
    options.count = Some(700);
    let (written, produced) = write(options).await;
    assert!(produced == 700 && written.len() == 700);
    std::fs::remove_file(path).unwrap();
}
