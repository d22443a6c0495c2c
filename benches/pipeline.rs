//! What an event costs the pipeline beside the client, by one thread: `cargo bench --bench pipeline --features pipeline`.
//!
//! CPU time in nanoseconds an event, the best of several rounds. `draw` makes one; `parse` reads it back, as `clickstream`
//! writes it and as another program might (other order, spaces, one field more); `record` is all that the aggregator does
//! with it: parse, guard, lateness, windows, and the emission whenever one has closed.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures time and prints it")]

use milena::pipeline::{
    clickstream::generator::{Generator, Knobs},
    config::{WindowSpec, built_in_windows, select_windows},
    event, timestamp,
    window::{JobSpec, Judged, PartitionWindows},
};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, sync::Arc, time::Duration};

const EVENTS: usize = 200_000;
const ROUNDS: usize = 7;

/// A record's timestamp and value.
type Record = (i64, Option<Vec<u8>>);

fn main() {
    let plain = knobs();
    let mut wild = knobs();
    (wild.zipf, wild.disorder, wild.late, wild.dup, wild.poison) = (1.0, 4_000_000, 0.01, 0.01, 0.01);
    println!("{:<28} {:>8}", "", "ns/event");
    say("draw", draw(&plain));
    say("draw, all knobs", draw(&wild));
    let ours = records(&plain);
    let foreign: Vec<Record> = ours.iter().map(|(at, value)| (*at, value.as_deref().map(foreign))).collect();
    say("parse, ours", parse(&ours));
    say("parse, other order", parse(&foreign));
    say("timestamp", timestamps());
    let wild = records(&wild);
    for names in ["gmv_1m", "gmv_1m,views_1m", "users_30m", "gmv_1m,views_1m,users_30m"] {
        let windows = select_windows(&built_in_windows(), names).expect("built-in names");
        say(&format!("record {names}"), record(&windows, &ours));
        say("    all knobs", record(&windows, &wild));
    }
}

fn say(what: &str, nanos: f64) {
    println!("{what:<28} {nanos:>8.1}");
}

/// 2,000 events a second of one partition: some hundred seconds of event time.
fn knobs() -> Knobs {
    let mut knobs = Knobs::default();
    (knobs.start, knobs.rate) = (1_705_329_000_000_000, 2_000.0);
    knobs
}

fn records(knobs: &Knobs) -> Vec<Record> {
    let mut generator = Generator::new(knobs.clone());
    let next = |_| {
        let event = generator.draw();
        (event.timestamp_ms, event.value.map(<[u8]>::to_vec))
    };
    (0..EVENTS).map(next).collect()
}

/// The same event as somebody else would write it.
fn foreign(value: &[u8]) -> Vec<u8> {
    let event = event::parse(Some(value)).expect("an event");
    let at = timestamp::format(event.timestamp);
    let price = event.price_cents.map_or("null".to_owned(), |cents| format!("{}.{:02}", cents / 100, cents % 100));
    let (id, user, kind, product) = (event.event_id, event.user_id, event.event_type.name(), event.product_id);
    format!(
        r#"{{"timestamp": "{at}", "event_type": "{kind}", "event_id": "{id}", "session": "s-{user}", "user_id": "{user}", "product_id": "{product}", "price": {price}}}"#
    )
    .into_bytes()
}

fn draw(knobs: &Knobs) -> f64 {
    best(|| {
        let mut generator = Generator::new(knobs.clone());
        for _ in 0..EVENTS {
            black_box(generator.draw());
        }
    })
}

fn parse(records: &[Record]) -> f64 {
    best(|| {
        for (_, value) in records {
            black_box(event::parse(value.as_deref()).expect("an event"));
        }
    })
}

fn timestamps() -> f64 {
    best(|| {
        for _ in 0..EVENTS {
            black_box(timestamp::parse(black_box("2024-01-15T14:30:00.123456Z")));
        }
    })
}

fn record(windows: &[WindowSpec], records: &[Record]) -> f64 {
    let spec = Arc::new(JobSpec::new("bench", windows.to_vec(), 5_000_000));
    best(|| {
        let mut state = PartitionWindows::new(spec.clone(), 0);
        let mut late = 0;
        for (offset, (at, value)) in (0..).zip(records) {
            late += u32::from(matches!(state.record(offset, *at, value.as_deref()), Judged::Event { late: 1.., .. }));
            if state.has_closed() {
                let emission = state.emission(offset + 1);
                state.committed(&emission);
                black_box(emission);
            }
        }
        black_box(late);
    })
}

/// Nanoseconds an event, in the best of the rounds.
fn best(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let start = cpu();
        work();
        (cpu() - start).as_nanos() as f64 / EVENTS as f64
    };
    (0..ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Of this thread, user and system: the others on the machine don't count.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
