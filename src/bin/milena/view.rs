//! The demo's view: redrawn in place on a terminal, else a line a second and one for each final window.

use crate::{output, screen};
use indicatif::{HumanCount, ProgressBar};
use milena::pipeline::{
    board::{Board, Numbers, PartitionLine},
    context::wall_micros,
    metrics::{Gauges, Metrics, Role},
    rows::FinalRow,
    stop::Stop,
    timestamp,
};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// How many windows it shows.
const WINDOWS: usize = 8;

/// Shows the board and the metrics until `over`. With `json`, stdout is for the receipt and this goes to stderr.
pub async fn watch(board: Arc<Board>, metrics: Metrics, json: bool, over: Stop) {
    let say = |line: String| match json {
        true => eprintln!("{line}"),
        false => drop(output::tell(line)), // what can't be written is told with the receipt
    };
    say("embedded broker, 6 partitions; events up to 3 s out of order, some late, doubled or broken; bound 5 s"
        .to_owned());
    if !screen::SCREEN.is_hidden() && (json || std::io::stdout().is_terminal()) {
        return draw(&board, &metrics, &over).await;
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    let (mut read, mut seen) = (0, 0);
    loop {
        let last = tokio::select! {
            _ = tick.tick() => false,
            () = over.stopped() => true,
        };
        let numbers = board.numbers();
        let fresh = usize::try_from(numbers.finals_seen - seen).unwrap_or(usize::MAX).min(numbers.finals.len());
        for row in &numbers.finals[numbers.finals.len() - fresh..] {
            say(final_line(row));
        }
        if last {
            return;
        }
        let behind = behind(metrics.partitions(Role::Aggregate, wall_micros()).values());
        say(status_line(&numbers, behind, numbers.counts.read - read));
        (read, seen) = (numbers.counts.read, numbers.finals_seen);
    }
}

async fn draw(board: &Board, metrics: &Metrics, over: &Stop) {
    let mut tick = tokio::time::interval(FRAME);
    let parts = [screen::part("{msg:.bold}"), screen::part("{msg}"), screen::part("{msg:.cyan}")];
    let start = Instant::now();
    let mut rate = Rate { at: start, read: 0, per_second: 0.0 };
    loop {
        let last = tokio::select! {
            _ = tick.tick() => false,
            () = over.stopped() => true,
        };
        let numbers = board.numbers();
        rate.saw(numbers.counts.read, Instant::now());
        let head = head(&numbers, start.elapsed().as_secs(), rate.per_second, screen::logged());
        parts[0].set_message(head);
        let now = wall_micros();
        parts[1].set_message(partitions(&numbers, &metrics.partitions(Role::Aggregate, now), now));
        parts[2].set_message(windows(&numbers));
        // Bars draw on a tick, and by themselves at most 20 times a second.
        parts.iter().for_each(ProgressBar::tick);
        if last {
            parts.iter().for_each(ProgressBar::abandon);
            return;
        }
    }
}

/// Records per second over the last second or more.
struct Rate {
    at: Instant,
    read: u64,
    per_second: f64,
}

impl Rate {
    fn saw(&mut self, read: u64, now: Instant) {
        let passed = now.duration_since(self.at).as_secs_f64();
        if passed >= 1.0 {
            self.per_second = (read - self.read) as f64 / passed;
            (self.at, self.read) = (now, read);
        }
    }
}

fn head(numbers: &Numbers, seconds: u64, rate: f64, (warnings, errors): (u64, u64)) -> String {
    let counts = &numbers.counts;
    format!(
        "milena demo  {}  {seconds} s\n{rate:.0} records/s  read {}  late {}  dead letters {}  warnings {warnings}  errors {errors}\n\
         final windows {}  sink rows {}",
        numbers.phase,
        HumanCount(counts.read),
        HumanCount(counts.late),
        HumanCount(counts.dead.values().sum()),
        numbers.windows_final,
        HumanCount(numbers.sink_rows),
    )
}

/// A table of the input partitions: offsets, lag in records and seconds, and the watermark and its distance from the clock.
fn partitions(numbers: &Numbers, gauges: &BTreeMap<i32, Gauges>, now: i64) -> String {
    let mut table =
        format!("\n{:>9} {:>12} {:>12} {:>8} {:>9}  {}", "partition", "position", "end", "lag", "behind", "watermark");
    for (partition, line) in &numbers.partitions {
        let count = |n: Option<i64>| n.map_or("-".to_owned(), |n| HumanCount(n.unsigned_abs()).to_string());
        let ago = known_time(line.watermark).map(|mark| format!(" ({} ago)", seconds((now - mark) as f64 / 1e6)));
        table += &format!(
            "\n{partition:>9} {:>12} {:>12} {:>8} {:>9}  {}{}",
            count(Some(line.position)),
            count(line.lag.map(|lag| line.position + lag)),
            count(line.lag),
            gauges.get(partition).and_then(|gauges| gauges.lag_seconds).map_or("-".to_owned(), seconds),
            watermark(line),
            ago.filter(|_| line.position >= line.live_from).unwrap_or_default(),
        );
    }
    table
}

/// The greatest lag in seconds.
fn behind<'a>(gauges: impl Iterator<Item = &'a Gauges>) -> Option<f64> {
    gauges.filter_map(|gauges| gauges.lag_seconds).reduce(f64::max)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn watermark(line: &PartitionLine) -> String {
    match known_time(line.watermark) {
        _ if line.position < line.live_from => "reads again".to_owned(),
        Some(mark) => clock(mark),
        None if line.watermark == i64::MAX => "end".to_owned(),
        None => "-".to_owned(),
    }
}

/// The newest windows that sum, final ones first, and the newest list of greatest counts.
fn windows(numbers: &Numbers) -> String {
    let mut table = format!("\n{:<8} {:<8} {:>16} {:>10}", "window", "from", "GMV", "purchases");
    let finals = numbers.finals.iter().map(|row| (&row.window, row.start_ms, row.sum_cents, row.count, "final"));
    let open = numbers.open.iter().map(|row| (&row.window, row.start_ms, row.sum_cents, row.count, "open"));
    let rows: Vec<_> = finals.chain(open).collect();
    for (window, start, cents, count, state) in &rows[rows.len().saturating_sub(WINDOWS)..] {
        let line = format!("{window:<8} {} {:>16} {count:>10}  {state}", clock(start * 1_000), money(*cents));
        table += &format!("\n{line}");
    }
    for top in numbers.tops.values() {
        let places: Vec<_> = top.top.iter().take(3).map(|entry| format!("{} {}", entry.key, entry.count)).collect();
        table += &format!("\nfinal {} {} top: {}", top.window, clock(top.start_ms * 1_000), places.join(", "));
    }
    table
}

fn final_line(row: &FinalRow) -> String {
    let (start, money) = (clock(row.start_ms * 1_000), money(row.sum_cents));
    format!("  final {} {start} GMV {money} of {} purchases", row.window, row.count)
}

fn status_line(numbers: &Numbers, behind: Option<f64>, rate: u64) -> String {
    let lag: i64 = numbers.partitions.values().filter_map(|line| line.lag).sum();
    let mark = numbers.partitions.values().map(|line| line.watermark).min().and_then(known_time);
    let counts = &numbers.counts;
    let cents: i64 = counts.gmv.get("gmv_10s").map_or(0, |cents| cents.stream);
    let products = numbers.tops.values().find(|top| top.window.starts_with("views"));
    let top = products.map_or(String::new(), |top| {
        let places: Vec<_> = top.top.iter().map(|entry| format!("{} {}", entry.key, entry.count)).collect();
        format!("  top {}", places.join(", "))
    });
    format!(
        "{rate}/s  read {}  lag {lag} ({})  watermark {}  late {}  dlq {}  final windows {}  GMV {}  sink rows {}{top}",
        counts.read,
        behind.map_or("-".to_owned(), seconds),
        mark.map_or("-".to_owned(), clock),
        counts.late,
        counts.dead.values().sum::<u64>(),
        numbers.windows_final,
        money(cents),
        numbers.sink_rows,
    )
}

/// A watermark that is a time: neither none nor the end.
fn known_time(mark: i64) -> Option<i64> {
    (mark > 0 && mark < i64::MAX).then_some(mark)
}

fn clock(micros: i64) -> String {
    timestamp::format(micros)[11..19].to_owned()
}

fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena::pipeline::metrics::Look;

    const MORNING: i64 = 1_705_312_200_000_000; // 2024-01-15T09:50:00Z

    fn line(watermark: i64, live_from: i64) -> PartitionLine {
        let mut line = PartitionLine::default();
        (line.position, line.live_from, line.lag, line.watermark) = (1_234, live_from, Some(6), watermark);
        line
    }

    #[test]
    fn a_partition_shows_offsets_lag_and_event_time() {
        let mut numbers = Numbers::default();
        numbers.partitions.extend([(0, line(MORNING, 0)), (1, line(i64::MIN, 0)), (2, line(i64::MAX, 2_000))]);
        let metrics = Metrics::new();
        let part = metrics.stage(Role::Aggregate, "g").partition("clicks", 0);
        let last_ms = Some(MORNING / 1_000);
        part.look(Look { lag: Some(6), last_ms, ..Look::default() });
        let now = MORNING + 5_250_000;
        let table = partitions(&numbers, &metrics.partitions(Role::Aggregate, now), now);
        let rows: Vec<Vec<_>> = table.lines().skip(2).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["0", "1,234", "1,240", "6", "5.2", "s", "09:50:00", "(5.2", "s", "ago)"]);
        assert_eq!(rows[1][4..], ["-", "-"]);
        assert_eq!(rows[2][4..], ["-", "reads", "again"]);
        assert_eq!(watermark(&line(i64::MAX, 0)), "end");
        assert!(table.lines().all(|row| row.len() < 80));
    }

    #[test]
    fn windows_show_money_and_whether_they_are_final() {
        let (job, window) = ("j".to_owned(), "gmv_10s".to_owned());
        let start_ms = MORNING / 1_000;
        let row = FinalRow {
            job,
            window,
            start_ms,
            end_ms: start_ms + 10_000,
            key: None,
            count: 3,
            sum_cents: 123_405,
            incomplete: false,
        };
        assert_eq!(final_line(&row), "  final gmv_10s 09:50:00 GMV 1234.05 of 3 purchases");
        let mut numbers = Numbers::default();
        numbers.finals = vec![row; 20];
        let table = windows(&numbers);
        assert_eq!(table.lines().count(), 2 + WINDOWS);
        assert!(table.ends_with("1234.05          3  final"), "{table}");
    }

    #[test]
    fn money_has_two_places() {
        assert_eq!([money(0), money(7), money(-105)], ["0.00", "0.07", "-1.05"]);
    }

    #[test]
    fn a_rate_is_of_at_least_a_second() {
        let start = Instant::now();
        let mut rate = Rate { at: start, read: 0, per_second: 0.0 };
        rate.saw(100, start + Duration::from_millis(500));
        assert_eq!(rate.per_second, 0.0);
        rate.saw(300, start + Duration::from_millis(1_500));
        assert_eq!(rate.per_second, 200.0);
    }
}
