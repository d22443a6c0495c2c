//! The same windows as a Flink job: SQL that reads `T` and writes `T.windows`, in the aggregator's formats.
//!
//! A value in, a text out. One statement writes rows and watermarks: both carry their window's time, one task sorts them
//! by it, rows first, and so a watermark never stands before a row that it speaks for. Two statements, or two sinks, would
//! have no order between them.
//!
//! Flink judges by the smallest watermark over all partitions; so when it closes a window, the window is closed for every
//! partition, and the watermark is told of each. The SQL's head says what else is not the same.

use crate::pipeline::{
    config::{Filter, Key, Topics, WindowSpec},
    event::EventType,
    rows, timestamp,
    window::JobSpec,
};
use std::{collections::BTreeSet, fmt::Write, time::Duration};

/// RFC 3339 with a zone and up to nine digits, as [`timestamp::parse`] takes it; the calendar is looked at apart.
const INSTANT: &str =
    r"^\d{4}-\d{2}-\d{2}[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{0,9})?([Zz]|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)\z";
/// Date and time of day, as if they were UTC's.
const LOCAL: &str = r"TRY_CAST(CONCAT(SUBSTRING(`timestamp`, 1, 10), ' ', REGEXP_EXTRACT(`timestamp`, '\d{2}:\d{2}:\d{2}[.\d]*')) AS TIMESTAMP(6))";
/// Hours and minutes east of UTC, with their sign; NULL behind `Z`.
const EAST: [&str; 2] = [
    r"TRY_CAST(REGEXP_EXTRACT(`timestamp`, '([+-]\d{2})(:?\d{2})?\z', 1) AS INT)",
    r"TRY_CAST(REGEXP_REPLACE(REGEXP_EXTRACT(`timestamp`, '[+-]\d{2}:?\d{2}\z'), '\d{2}:?(?=\d)', '') AS INT)",
];
/// Behind all windows, which are numbered in configured order.
const MARKS_PLACE: usize = crate::pipeline::window::MAX_WINDOWS;

/// An aggregator's job, to be written as Flink SQL.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FlinkJob<'a> {
    /// Where it reads and writes.
    pub topics: &'a Topics,
    /// The windows; `job` is the aggregator's group, the rows of Flink carry [`name`](Self::name).
    pub spec: &'a JobSpec,
    /// `bootstrap.servers`.
    pub bootstrap: &'a str,
    /// How many partitions the input has: Flink tells the watermark of each.
    pub partitions: u32,
    /// Event time goes on without a partition that had nothing new for this long.
    pub idle: Option<Duration>,
    /// Ends at the end offsets as of the start.
    pub until_end: bool,
}

impl<'a> FlinkJob<'a> {
    /// This job over an input of six partitions on localhost, without an end.
    pub fn new(topics: &'a Topics, spec: &'a JobSpec) -> Self {
        Self { topics, spec, bootstrap: "localhost:9092", partitions: 6, idle: None, until_end: false }
    }

    /// `<group>.flink`: another job than the aggregator's, with windows of its own.
    pub fn name(&self) -> String {
        format!("{}.flink", self.spec.job)
    }

    /// The statements, each with a semicolon at the end of its last line.
    ///
    /// `from` is the aggregator's `--from-timestamp`; `stop_at` is where an aggregator stopped and Flink goes on: windows
    /// that end after it.
    ///
    /// # Errors
    /// A sentence that says what Flink SQL can't express: a hopping window whose size isn't a multiple of its advance, an
    /// aggregate in Rust, `max.jump.ms`, deduplication, a part of a millisecond.
    pub fn sql(&self) -> Result<String, String> {
        if let Some(WindowSpec { name, .. }) = self.spec.windows.iter().find(|window| window.custom.is_some()) {
            return Err(format!("window {name:?} has an aggregate in Rust, which Flink can't run"));
        }
        if self.spec.dedup {
            return Err("dedup looks for event ids in all open windows at once, which Flink SQL can't".to_owned());
        }
        if self.spec.max_jump.is_some() {
            return Err(
                "max.jump.ms is judged by a partition's records in their order, which Flink SQL can't".to_owned()
            );
        }
        let uneven = self.spec.windows.iter().find(|window| window.size % window.advance != 0);
        if let Some(WindowSpec { name, .. }) = uneven {
            return Err(format!(
                "window {name:?}: Flink's hopping windows have a size that is a multiple of the advance"
            ));
        }
        let statements = [
            self.head(),
            self.settings(),
            self.input()?,
            self.output(),
            self.events()?,
            self.closed()?,
            self.marks()?,
            self.insert(),
        ];
        Ok(statements.join("\n"))
    }

    fn head(&self) -> String {
        let Topics { input, windows, late, dlq, .. } = self.topics;
        let names: Vec<_> = self.spec.windows.iter().map(|window| window.name.as_str()).collect();
        // A comment ends with its line, whatever a name is made of.
        let names = names.join(", ").replace(char::is_control, " ");
        format!(
            "\
-- The windows {names}
-- of {input} by Apache Flink 2, in the aggregator's formats to the letter: merge, sink and the dashboard go on with them.
-- Printed by `milena aggregate --flink-sql`; deploy/flink/README.md of milena says how it is run, and how to cut over.
-- It needs flink-sql-connector-kafka, and the topic {windows} with one partition.
--
-- What SQL does otherwise than the aggregator:
-- * An event is late if the smallest watermark over all partitions has passed its window, not its own partition's. With
--   disorder within the bound nothing is late for either. What is late is dropped and counted in Flink's metric
--   numLateRecordsDropped; nothing is written to
--   {late}.
-- * Records that are no events are left out; nothing is written to {dlq}.
--   Flink's JSON reader takes some that the aggregator does not: a number as event_id, a price in quotes, a field that
--   comes twice, text behind the object. Prices with an exponent or with more than 16 digits before the point are left out.
-- * A partition without records holds up all windows. --idle-timeout is Flink's: it goes on without a partition that it has
--   read nothing of for so long, also where there is something to read and Flink is behind; those events are then late.
-- * The partitions are written down below: print this anew when the topic gets more.
"
        )
    }

    fn settings(&self) -> String {
        format!(
            "\
SET 'pipeline.name' = {};
SET 'execution.runtime-mode' = 'streaming';
SET 'table.local-time-zone' = 'UTC';
-- Readers see the rows of a checkpoint when it is complete.
SET 'execution.checkpointing.interval' = '5 s';
",
            text(&self.name())
        )
    }

    /// The source. An event that is none has no time, so that it moves no watermark and is in no window.
    fn input(&self) -> Result<String, String> {
        let [hours, minutes] = EAST;
        let utc = format!("TIMESTAMPADD(MINUTE, -COALESCE({hours} * 60 + COALESCE({minutes}, 0), 0), {LOCAL})");
        // Flink closes at end - 1 ms, milena at end.
        let bound = interval(millis(self.spec.bound, "the bound")? + 1);
        let future = interval(millis(self.spec.max_future, "max.future.ms")?);
        let mut options = vec![
            ("topic", self.topics.input.clone()),
            ("properties.bootstrap.servers", self.bootstrap.to_owned()),
            ("properties.group.id", self.name()),
            ("properties.isolation.level", "read_committed".to_owned()),
            ("scan.startup.mode", "earliest-offset".to_owned()),
            ("scan.watermark.emit.strategy", "on-event".to_owned()),
        ];
        if self.until_end {
            options.push(("scan.bounded.mode", "latest-offset".to_owned()));
        }
        if let Some(idle) = self.idle {
            options.push(("scan.watermark.idle-timeout", format!("{} ms", idle.as_millis())));
        }
        options.push(("value.format", "json".to_owned()));
        options.push(("value.json.ignore-parse-errors", "true".to_owned()));
        Ok(format!(
            "\
-- event_time is NULL for what is no event: a field is missing, the timestamp is not RFC 3339 with a zone, the price has
-- more than two decimals, or the event is further ahead of its record than max.future.ms.
CREATE TEMPORARY TABLE input (
  event_id STRING,
  user_id STRING,
  event_type STRING,
  product_id STRING,
  `timestamp` STRING,
  price STRING,
  `partition` INT METADATA VIRTUAL,
  record_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN
      event_id IS NOT NULL AND user_id IS NOT NULL AND product_id IS NOT NULL
      AND event_type IN ('view', 'add_to_cart', 'purchase')
      AND (event_type <> 'purchase' OR price IS NULL OR REGEXP(price, '^-?\\d{{1,16}}(\\.\\d{{1,2}})?\\z'))
      AND REGEXP(`timestamp`, '{INSTANT}')
      AND DAYOFMONTH({LOCAL}) = CAST(SUBSTRING(`timestamp`, 9, 2) AS INT)
      AND {utc}
        <= CAST(record_time AS TIMESTAMP(3)) + {future}
    THEN CAST({utc} AS TIMESTAMP(3)) END,
  WATERMARK FOR event_time AS event_time - {bound}
) WITH (
{}
);
",
            with(&options)
        ))
    }

    fn output(&self) -> String {
        let options = [
            ("topic", self.topics.windows.clone()),
            ("properties.bootstrap.servers", self.bootstrap.to_owned()),
            ("properties.transaction.timeout.ms", "600000".to_owned()),
            ("key.format", "raw".to_owned()),
            ("key.fields", "k".to_owned()),
            ("value.format", "raw".to_owned()),
            ("value.fields-include", "EXCEPT_KEY".to_owned()),
            ("sink.parallelism", "1".to_owned()),
            ("sink.delivery-guarantee", "exactly-once".to_owned()),
            ("sink.transactional-id-prefix", self.name()),
        ];
        format!("CREATE TEMPORARY TABLE windows (k STRING, v STRING) WITH (\n{}\n);\n", with(&options))
    }

    /// The valid events that any window needs.
    fn events(&self) -> Result<String, String> {
        let mut sql = "\
CREATE TEMPORARY VIEW events AS
SELECT `partition`, event_type, user_id, product_id, event_time,
  CASE WHEN event_type = 'purchase' THEN CAST(price AS DECIMAL(18, 2)) END AS price
FROM input
WHERE event_time IS NOT NULL"
            .to_owned();
        let first = self.spec.windows.iter().filter_map(|w| Some(self.spec.stop_at? - w.size + w.advance)).min();
        if let Some(first) = first.max(self.spec.from) {
            let _ = write!(sql, " AND event_time >= {}", instant(first)?);
        }
        Ok(sql + ";\n")
    }

    fn closed(&self) -> Result<String, String> {
        let windows: Result<Vec<_>, String> =
            self.spec.windows.iter().enumerate().map(|(place, window)| self.window(place, window)).collect();
        Ok(format!("CREATE TEMPORARY VIEW closed AS\n{};\n", windows?.join("\nUNION ALL\n")))
    }

    /// A row per window, key and input partition.
    fn window(&self, place: usize, window: &WindowSpec) -> Result<String, String> {
        let (key, by) = match window.key {
            Key::None => ("CAST(NULL AS STRING)", ""),
            Key::Product => ("product_id", ", product_id"),
            Key::User => ("user_id", ", user_id"),
        };
        let filter = match window.filter {
            Filter::All => String::new(),
            Filter::PricedPurchase => "\nWHERE event_type = 'purchase' AND price IS NOT NULL".to_owned(),
            Filter::Types(types) => {
                let all = [EventType::View, EventType::AddToCart, EventType::Purchase];
                let wanted = all.into_iter().zip(types).filter(|(_, wanted)| *wanted);
                let names: Vec<_> = wanted.map(|(kind, _)| text(kind.name())).collect();
                if names.is_empty() {
                    "\nWHERE FALSE".to_owned()
                } else {
                    format!("\nWHERE event_type IN ({})", names.join(", "))
                }
            }
        };
        let sum = if window.sum { "COALESCE(CAST(SUM(price) * 100 AS BIGINT), 0)" } else { "CAST(0 AS BIGINT)" };
        Ok(format!(
            "\
SELECT window_time AS closed_at, {place} AS place, {} AS `window`, window_start, window_end,
  {key} AS `key`, `partition`, COUNT(*) AS `count`, {sum} AS sum_cents
FROM {}{filter}
GROUP BY window_start, window_end, window_time, `partition`{by}{}",
            text(&window.name),
            table_function(window.size, window.advance)?,
            self.having()?,
        ))
    }

    /// The ends of all windows in which there was any event. The list of partitions is a column: unnested as a constant it
    /// would be a join, which has no event time.
    fn marks(&self) -> Result<String, String> {
        let sizes: BTreeSet<_> = self.spec.windows.iter().map(|window| (window.size, window.advance)).collect();
        let having = self.having()?;
        let partitions: Vec<_> = (0..self.partitions).map(|partition| partition.to_string()).collect();
        let partitions = partitions.join(", ");
        let mark = |(size, advance)| {
            Ok(format!(
                "SELECT window_time AS closed_at, window_end, ARRAY[{partitions}] AS input_partitions\nFROM {}\nGROUP BY window_start, window_end, window_time{having}",
                table_function(size, advance)?
            ))
        };
        let marks: Result<Vec<_>, String> = sizes.into_iter().map(mark).collect();
        Ok(format!("CREATE TEMPORARY VIEW marks AS\n{};\n", marks?.join("\nUNION ALL\n")))
    }

    fn having(&self) -> Result<String, String> {
        let mut conditions = Vec::new();
        if let Some(from) = self.spec.from {
            conditions.push(format!("window_start >= {}", instant(from)?));
        }
        if let Some(stop) = self.spec.stop_at {
            conditions.push(format!("window_end > {}", instant(stop)?));
        }
        Ok(if conditions.is_empty() { String::new() } else { format!("\nHAVING {}", conditions.join(" AND ")) })
    }

    fn insert(&self) -> String {
        let millis = |column: &str| {
            format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000 + EXTRACT(MILLISECOND FROM {column}) AS STRING)")
        };
        let (start, end) = (millis("window_start"), millis("window_end"));
        let job = String::from_utf8_lossy(&rows::to_json(&self.name())).into_owned();
        let row = text(&format!("{{\"job\":{job},\"window\":"));
        let mark = text(&format!("{{\"job\":{job},\"partition\":"));
        let mark_key = text(&format!("watermark|{}|", self.name()));
        format!(
            "\
-- One task writes in the order of closing, rows before the watermarks that speak for them.
INSERT INTO windows
SELECT k, v FROM (
  SELECT closed_at, place,
    CONCAT(`window`, '|', {start}, '|', COALESCE(`key`, ''), '|', CAST(`partition` AS STRING)) AS k,
    CONCAT({row}, JSON_STRING(`window`), ',\"start_ms\":', {start}, ',\"end_ms\":', {end},
      ',\"key\":', COALESCE(JSON_STRING(`key`), 'null'), ',\"partition\":', CAST(`partition` AS STRING),
      ',\"count\":', CAST(`count` AS STRING), ',\"sum_cents\":', CAST(sum_cents AS STRING), '}}') AS v
  FROM closed
  UNION ALL
  SELECT closed_at, {MARKS_PLACE} AS place,
    CONCAT({mark_key}, CAST(p AS STRING)) AS k,
    CONCAT({mark}, CAST(p AS STRING), ',\"watermark_ms\":', {end}, '}}') AS v
  FROM marks CROSS JOIN UNNEST(marks.input_partitions) AS each_of_them (p)
)
ORDER BY closed_at, place, k;
"
        )
    }
}

/// SQL text in quotes.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn with(options: &[(&str, String)]) -> String {
    let mut lines = vec!["  'connector' = 'kafka'".to_owned()];
    lines.extend(options.iter().map(|(key, value)| format!("  '{key}' = {}", text(value))));
    lines.join(",\n")
}

fn table_function(size: i64, advance: i64) -> Result<String, String> {
    let length = interval(millis(size, "a window's size")?);
    let events = "TABLE events, DESCRIPTOR(event_time)";
    if size == advance {
        return Ok(format!("TABLE(TUMBLE({events}, {length}))"));
    }
    let hop = interval(millis(advance, "a window's advance")?);
    Ok(format!("TABLE(HOP({events}, {hop}, {length}))"))
}

/// Flink's event time has milliseconds.
fn millis(micros: i64, what: &str) -> Result<i64, String> {
    if micros % timestamp::MILLI == 0 {
        Ok(micros / timestamp::MILLI)
    } else {
        Err(format!("{what} has a part of a millisecond, and event time in Flink SQL has none"))
    }
}

fn instant(micros: i64) -> Result<String, String> {
    millis(micros, "--from-timestamp")?;
    let text = timestamp::format(micros).replace('T', " ");
    Ok(format!("TIMESTAMP '{}'", text.trim_end_matches("000Z")))
}

/// The largest unit that is exact; a number of more than two digits must say how many it has.
fn interval(millis: i64) -> String {
    let units = [("DAY", 86_400_000), ("HOUR", 3_600_000), ("MINUTE", 60_000), ("SECOND", 1_000)];
    match units.into_iter().find(|(_, length)| millis % length == 0) {
        Some((unit, length)) => {
            let number = (millis / length).to_string();
            let digits = if number.len() > 2 { format!("({})", number.len()) } else { String::new() };
            format!("INTERVAL '{number}' {unit}{digits}")
        }
        None => {
            let seconds = (millis / 1_000).to_string();
            format!("INTERVAL '{seconds}.{:03}' SECOND({}, 3)", millis % 1_000, seconds.len().max(2))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::config::{built_in_windows, select_windows};

    const MINUTE: i64 = 60_000_000;

    fn spec(windows: Vec<WindowSpec>) -> JobSpec {
        JobSpec::new("clicks.aggregate", windows, 5_000_000)
    }

    fn sql(spec: &JobSpec) -> Result<String, String> {
        FlinkJob::new(&Topics::of("clicks"), spec).sql()
    }

    #[test]
    fn the_example_is_what_is_printed() {
        let windows = select_windows(&built_in_windows(), "gmv_1m,views_1m,users_30m").unwrap();
        let topics = Topics::of(Topics::DEFAULT_INPUT);
        let spec = JobSpec::new("user-behavior-events.aggregate", windows, 5_000_000);
        let printed = FlinkJob::new(&topics, &spec).sql().unwrap();
        assert!(
            printed == include_str!("../../deploy/flink/windows.sql"),
            "print it anew: milena aggregate --flink-sql --windows gmv_1m,views_1m,users_30m > deploy/flink/windows.sql"
        );
    }

    #[test]
    fn hopping_windows_filters_and_names_with_quotes() {
        let mut window = WindowSpec::tumbling("it's", 5 * MINUTE);
        (window.advance, window.filter, window.key, window.sum) =
            (MINUTE, Filter::Types([true, false, true]), Key::User, true);
        let nothing = WindowSpec { filter: Filter::Types([false; 3]), ..WindowSpec::tumbling("nothing", 1_500_000) };
        let printed = sql(&spec(vec![window, nothing])).unwrap();
        for expected in [
            "0 AS place, 'it''s' AS `window`, window_start, window_end,\n  user_id AS `key`, `partition`, COUNT(*) AS `count`, COALESCE(CAST(SUM(price) * 100 AS BIGINT), 0) AS sum_cents\n\
             FROM TABLE(HOP(TABLE events, DESCRIPTOR(event_time), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))\n\
             WHERE event_type IN ('view', 'purchase')\nGROUP BY window_start, window_end, window_time, `partition`, user_id\n",
            "FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '1.500' SECOND(2, 3)))\nWHERE FALSE\nGROUP BY",
            "'watermark|clicks.aggregate.flink|'",
            "'sink.transactional-id-prefix' = 'clicks.aggregate.flink'",
        ] {
            assert!(printed.contains(expected), "{expected}\n{printed}");
        }
    }

    #[test]
    fn a_cut_leaves_to_flink_the_windows_that_end_after_it() {
        let hopping = WindowSpec { advance: MINUTE, ..WindowSpec::tumbling("hopping", 5 * MINUTE) };
        let mut spec = spec(vec![WindowSpec::tumbling("tumbling", MINUTE), hopping]);
        spec.stop_at = Some(20 * MINUTE);
        let printed = sql(&spec).unwrap();
        // The hopping window that ends a minute after the cut began four minutes before it.
        assert!(
            printed.contains("event_time IS NOT NULL AND event_time >= TIMESTAMP '1970-01-01 00:16:00.000';"),
            "{printed}"
        );
        assert_eq!(printed.matches("HAVING window_end > TIMESTAMP '1970-01-01 00:20:00.000'").count(), 4, "{printed}");
        spec.from = Some(18 * MINUTE + 1_000);
        let printed = sql(&spec).unwrap();
        assert!(printed.contains("AND event_time >= TIMESTAMP '1970-01-01 00:18:00.001';"), "{printed}");
        assert!(
            printed.contains("HAVING window_start >= TIMESTAMP '1970-01-01 00:18:00.001' AND window_end >"),
            "{printed}"
        );
    }

    #[test]
    fn what_sql_has_no_words_for_is_refused() {
        let minute = || spec(vec![WindowSpec::tumbling("minute", MINUTE)]);
        let refused = |spec: &JobSpec| sql(spec).unwrap_err();
        assert!(refused(&JobSpec { max_jump: Some(60 * MINUTE), ..minute() }).contains("max.jump.ms"));
        assert!(refused(&JobSpec { dedup: true, ..minute() }).contains("dedup"));
        assert!(
            refused(&JobSpec { from: Some(1), ..minute() }).contains("--from-timestamp has a part of a millisecond")
        );
        let uneven = WindowSpec { advance: 40_000_000, ..WindowSpec::tumbling("uneven", MINUTE) };
        assert!(refused(&spec(vec![uneven])).contains("multiple of the advance"));
    }

    #[test]
    fn intervals_are_exact() {
        assert_eq!(interval(5_001), "INTERVAL '5.001' SECOND(2, 3)");
        assert_eq!(interval(1_800_000), "INTERVAL '30' MINUTE");
        assert_eq!(interval(86_400_000 * 365), "INTERVAL '365' DAY(3)");
        assert_eq!(interval(90_061_001), "INTERVAL '90061.001' SECOND(5, 3)");
        assert_eq!(interval(0), "INTERVAL '0' DAY");
    }
}
