use super::*;
use crate::pipeline::config::{built_in_windows, select_windows};
use std::collections::BTreeSet;

const T0: i64 = 1_705_329_000_000_000;
const S: i64 = 1_000_000;

fn spec(windows: &str, bound: i64) -> JobSpec {
    JobSpec::new("j", select_windows(&built_in_windows(), windows).unwrap(), bound)
}

fn click(kind: &str, user: i64, at: i64, price: &str) -> Vec<u8> {
    format!(
        r#"{{"event_id":"e","user_id":{user},"event_type":"{kind}","product_id":"P{}","timestamp":"{}","price":{price}}}"#,
        user % 3,
        timestamp::format(at)
    )
    .into_bytes()
}

fn feed(state: &mut PartitionWindows, offset: i64, at: i64) -> u64 {
    match state.record(offset, at / 1000, Some(&click("purchase", 1000, at, "10.00"))) {
        Judged::Event { late, .. } => late,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_window_closes_when_the_watermark_reaches_its_end_and_leaves_after_the_commit() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m", 5 * S)), 3);
    feed(&mut state, 0, T0);
    feed(&mut state, 1, T0 + 65 * S - 1);
    assert!(!state.has_closed());
    feed(&mut state, 2, T0 + 65 * S);
    assert!(state.has_closed());
    let emission = state.emission(3);
    assert_eq!(emission.rows.len(), 1);
    let row = &emission.rows[0];
    assert_eq!(
        (row.start_ms, row.end_ms, row.count, row.sum_cents, row.partition),
        (T0 / 1000, T0 / 1000 + 60_000, 1, 1000, 3)
    );
    assert_eq!(emission.watermark.watermark_ms, T0 / 1000 + 60_000);
    assert_eq!((emission.metadata.replay_from, emission.position), (1, 3));
    assert_eq!(state.emission(3), emission, "until the commit it is asked for again");
    state.committed(&emission);
    assert!(!state.has_closed() && state.emission(3).rows.is_empty());
}

#[test]
fn an_event_is_late_for_the_minute_and_fine_for_the_half_hour() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m,users_30m", 0)), 0);
    feed(&mut state, 0, T0 + 120 * S);
    assert_eq!(feed(&mut state, 1, T0), 0b01);
    state.end();
    let rows = state.emission(2).rows;
    assert_eq!(
        rows.iter().map(|row| (row.window.as_str(), row.count)).collect::<Vec<_>>(),
        [("gmv_1m", 1), ("users_30m", 2)]
    );
    assert_eq!(state.emission(2).watermark.watermark_ms, INFINITY);
}

#[test]
fn an_event_right_at_the_watermark_is_judged_before_it_moves_it() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m", 0)), 0);
    assert_eq!(feed(&mut state, 0, T0 + 59 * S), 0);
    assert_eq!(feed(&mut state, 1, T0 + 60 * S), 0);
    assert_eq!(feed(&mut state, 2, T0 + 60 * S - 1), 1, "the window's end equals the watermark");
}

#[test]
fn lateness_is_judged_before_any_filter() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m", 0)), 0);
    feed(&mut state, 0, T0 + 120 * S);
    let view = click("view", 1000, T0, "null");
    assert!(matches!(state.record(1, T0 / 1000, Some(&view)), Judged::Event { late: 1, .. }));
}

#[test]
fn a_date_in_2099_is_dead_by_its_records_timestamp_and_does_not_move_the_watermark() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m", 0)), 0);
    feed(&mut state, 0, T0);
    let far = click("view", 1, timestamp::parse("2099-01-01T00:00:00Z").unwrap(), "null");
    let Judged::Dead(rejected) = state.record(1, T0 / 1000, Some(&far)) else { panic!() };
    assert_eq!(rejected.reason, Reason::FutureTimestamp);
    assert_eq!(state.watermark(), T0);
}

#[test]
fn stop_at_holds_the_watermark_on_the_edge() {
    let edge = T0 + 60 * S;
    let mut state = PartitionWindows::new(Arc::new(JobSpec { stop_at: Some(edge), ..spec("gmv_1m", 0) }), 0);
    feed(&mut state, 0, T0);
    assert!(!state.is_stopped());
    feed(&mut state, 1, T0 + 180 * S);
    assert!(state.is_stopped());
    let emission = state.emission(2);
    assert_eq!((emission.rows.len(), emission.metadata.wm), (1, Some(edge)));
    assert_eq!(emission.metadata.replay_from, 1, "the window after the edge belongs to the next run");
}

#[test]
fn a_start_in_the_middle_skips_what_is_older_and_the_window_that_it_cuts() {
    let from = T0 + 30 * S;
    let mut state = PartitionWindows::new(Arc::new(JobSpec { from: Some(from), ..spec("gmv_1m,users_30m", 0) }), 0);
    assert_eq!(state.record(0, T0 / 1000, Some(&click("view", 1, T0, "null"))), Judged::BeforeFrom);
    feed(&mut state, 1, T0 + 40 * S);
    feed(&mut state, 2, T0 + 60 * S);
    state.end();
    assert_eq!(state.emission(3).rows.iter().map(|row| row.window.as_str()).collect::<Vec<_>>(), ["gmv_1m"]);
}

#[test]
fn an_idle_partition_follows_the_wall_clock() {
    let mut state = PartitionWindows::new(Arc::new(spec("gmv_1m", 5 * S)), 0);
    state.idle(T0, 5 * S);
    assert_eq!(state.watermark(), T0 - 10 * S);
    feed(&mut state, 0, T0 - 30 * S);
    assert_eq!(state.watermark(), T0 - 10 * S, "it never goes back");
}

#[test]
fn another_specs_metadata_is_refused() {
    let state = PartitionWindows::new(Arc::new(spec("gmv_1m", 5 * S)), 0);
    let metadata = state.emission(0).metadata;
    let other = Arc::new(spec("gmv_1m", 6 * S));
    assert_eq!(PartitionWindows::restore(other, 0, 0, &metadata).unwrap_err(), BadMetadata::OtherSpec);
    let text = serde_json::to_string(&metadata).unwrap();
    assert_eq!(Metadata::parse(&text), Ok(metadata));
    assert_eq!(Metadata::parse("").unwrap_err(), BadMetadata::Foreign);
    assert!(text.len() < 200, "{text}");
}

/// (window, start, key) -> (count, sum)
type Sums = BTreeMap<(String, i64, Option<String>), (i64, i64)>;

struct Log {
    values: Vec<(i64, Vec<u8>)>,
}

impl Log {
    fn random(random: &mut fastrand::Rng, disorder: i64, late: f64) -> Self {
        let mut at = T0;
        let values = (0..random.usize(1..400)).map(|_| {
            at += random.i64(0..4 * S);
            let behind = if random.f64() < late { random.i64(0..400 * S) } else { random.i64(0..=disorder) };
            let event_time = at - behind;
            let kind = ["view", "purchase", "add_to_cart"][random.usize(..3)];
            let price = if kind == "purchase" && random.u8(..10) > 2 { "12.34" } else { "null" };
            let poison = random.u8(..50) == 0;
            let value = if poison { b"{".to_vec() } else { click(kind, 1000 + random.i64(..20), event_time, price) };
            // Few enough ids that some come twice in a window.
            let value = String::from_utf8(value).unwrap().replacen("\"e\"", &format!("\"e{}\"", random.u8(..40)), 1);
            (event_time / 1000, value.into_bytes())
        });
        Self { values: values.collect() }
    }

    /// The batch answer over the events that are not late, by the definition and nothing of the code under test.
    fn batch(&self, spec: &JobSpec) -> (Sums, u64) {
        let (mut sums, mut late_events, mut watermark) = (Sums::new(), 0, i64::MIN);
        let mut ids = BTreeSet::new();
        for (_, value) in &self.values {
            let Ok(event) = event::parse(Some(value)) else { continue };
            let mut late = false;
            let ends = spec.windows.iter().map(|w| event.timestamp.div_euclid(w.advance) * w.advance + w.size);
            let end = ends.max().unwrap();
            let duplicate = spec.dedup && end > watermark && !ids.insert((end, event.event_id.to_string()));
            for window in &spec.windows {
                let mut start = event.timestamp.div_euclid(window.advance) * window.advance;
                while start + window.size > event.timestamp {
                    if start + window.size <= watermark {
                        late = true;
                    } else if !duplicate && window.wants(&event) {
                        let key = window.key_of(&event).map(str::to_owned);
                        let cell = sums.entry((window.name.clone(), start / 1000, key)).or_default();
                        cell.0 += 1;
                        cell.1 += if window.sum { event.price_cents.unwrap_or(0) } else { 0 };
                    }
                    start -= window.advance;
                }
            }
            late_events += u64::from(late);
            watermark = watermark.max(event.timestamp - spec.bound);
        }
        (sums, late_events)
    }
}

/// What a transaction wrote: rows and late events become visible together with the offset.
#[derive(Default)]
struct Kafka {
    rows: Vec<WindowRow>,
    late: u64,
    offset: Option<(i64, Metadata)>,
}

/// Reads the log to its end, with crashes at random instants, and returns what was committed.
fn run_with_crashes(random: &mut fastrand::Rng, spec: &Arc<JobSpec>, log: &Log) -> Kafka {
    let mut kafka = Kafka::default();
    let end = log.values.len() as i64;
    loop {
        let (mut state, mut position) = match &kafka.offset {
            None => (PartitionWindows::new(spec.clone(), 0), 0),
            Some((offset, metadata)) => {
                (PartitionWindows::restore(spec.clone(), 0, *offset, metadata).unwrap(), metadata.replay_from)
            }
        };
        let mut late = 0;
        let crash_after = random.i64(1..200);
        let mut lived = 0;
        loop {
            if position == end {
                state.reached(end);
                state.end();
            }
            let ended = position == end;
            if ended || (state.has_closed() && random.bool()) || (!state.is_replaying() && random.u8(..20) == 0) {
                let emission = state.emission(position);
                kafka.rows.extend(emission.rows.iter().cloned());
                kafka.late += std::mem::take(&mut late);
                kafka.offset = Some((emission.position, emission.metadata.clone()));
                state.committed(&emission);
            }
            if ended {
                return kafka;
            }
            if lived == crash_after {
                break;
            }
            // Counted live only: a life shorter than its replay would never get on.
            lived += i64::from(!state.is_replaying());
            let (record_ms, value) = &log.values[position as usize];
            if let Judged::Event { late: windows, .. } = state.record(position, *record_ms, Some(value)) {
                late += u64::from(windows != 0);
            }
            position += 1;
            state.reached(position);
        }
    }
}

#[test]
fn crashes_at_random_instants_change_no_sum_and_double_no_row() {
    let seed = std::env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in seed..seed + 300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut spec = spec("gmv_1m,views_1m,users_30m", random.i64(0..30 * S));
        if random.bool() {
            spec.windows[1].advance = 20 * S;
        }
        spec.dedup = random.bool();
        let spec = Arc::new(spec);
        let log = Log::random(&mut random, spec.bound, 0.05);
        let (expected, late) = log.batch(&spec);
        let kafka = run_with_crashes(&mut random, &spec, &log);
        let mut unique = BTreeSet::new();
        let mut sums = Sums::new();
        for row in &kafka.rows {
            assert!(unique.insert(row.record_key()), "seed {seed}: {} twice", row.record_key());
            sums.insert((row.window.clone(), row.start_ms, row.key.clone()), (row.count, row.sum_cents));
        }
        assert_eq!(sums, expected, "seed {seed}");
        assert_eq!(kafka.late, late, "seed {seed}");
    }
}

#[test]
fn an_event_id_counts_once_while_its_window_is_open_and_again_afterwards() {
    let mut spec = spec("gmv_1m,views_1m", 0);
    spec.dedup = true;
    let mut state = PartitionWindows::new(Arc::new(spec), 0);
    let judge = |state: &mut PartitionWindows, offset, at: i64| match state.record(
        offset,
        at / 1000,
        Some(&click("purchase", 1000, at, "10.00")),
    ) {
        Judged::Event { duplicate, late, .. } => (duplicate, late),
        other => panic!("{other:?}"),
    };
    assert_eq!(judge(&mut state, 0, T0), (false, 0));
    assert_eq!(judge(&mut state, 1, T0 + S), (true, 0));
    assert_eq!(judge(&mut state, 2, T0 + 60 * S), (false, 0), "another window's events are not compared");
    assert_eq!(judge(&mut state, 3, T0), (false, 0b11), "late comes before duplicate");
    let rows = state.emission(4).rows;
    assert_eq!((rows.len(), rows[0].count, rows[0].sum_cents), (1, 1, 1000));
}

#[test]
fn a_gap_marks_the_windows_that_may_miss_something_and_no_later_one() {
    let spec = Arc::new(spec("gmv_1m", 5 * S));
    let mut first = PartitionWindows::new(spec.clone(), 0);
    feed(&mut first, 0, T0);
    let committed = first.emission(1).metadata;
    let mut second = PartitionWindows::restore(spec.clone(), 0, 1, &committed).unwrap();
    second.accept_gap();
    feed(&mut second, 50, T0 + 70 * S); // what is gone was at most 75 s after T0
    feed(&mut second, 51, T0 + 121 * S);
    let metadata = second.emission(52).metadata;
    let mut third = PartitionWindows::restore(spec, 0, 52, &metadata).unwrap();
    for (offset, at) in [(50, 70), (51, 121)] {
        third.record(offset, (T0 + at * S) / 1000, Some(&click("purchase", 1000, T0 + at * S, "10.00")));
    }
    third.end();
    let marks: Vec<_> =
        third.emission(52).rows.iter().map(|row| ((row.start_ms * 1000 - T0) / S, row.incomplete)).collect();
    assert_eq!(marks, [(60, true), (120, false)]);
    assert!(serde_json::to_string(&third.emission(52).rows[1]).unwrap().ends_with("\"sum_cents\":1000}"));
}

/// Nothing but dead records behind the gap, a commit, and a restart.
#[test]
fn a_gap_that_no_event_has_bounded_yet_is_bounded_by_the_first_one_after_a_restart() {
    let spec = Arc::new(spec("gmv_1m", 5 * S));
    let mut first = PartitionWindows::new(spec.clone(), 0);
    feed(&mut first, 0, T0);
    let mut second = PartitionWindows::restore(spec.clone(), 0, 50, &first.emission(1).metadata).unwrap();
    second.accept_gap();
    let mut third = PartitionWindows::restore(spec, 0, 51, &second.emission(51).metadata).unwrap();
    feed(&mut third, 51, T0 + 70 * S);
    feed(&mut third, 52, T0 + 300 * S);
    third.end();
    let marks: Vec<_> = third.emission(53).rows.iter().map(|row| row.incomplete).collect();
    assert_eq!(marks, [true, false]);
}
