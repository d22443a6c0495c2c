//! Points in time as people write them behind `-o @`: Unix times, dates, RFC 3339, and distances from another point.

use milena::pipeline::timestamp;

const DAY: i64 = 86_400_000;

/// A point in time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub millis: i64,
    /// It was written as a distance and not as a time of its own.
    pub relative: bool,
}

/// Reads one; a distance (`-1h`, `1m3s`) counts from `base`, in milliseconds since 1970.
pub fn parse(text: &str, base: i64) -> Result<At, String> {
    let absolute = |millis| Ok(At { millis, relative: false });
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let number: i64 = text.parse().map_err(|_| format!("{text} is no Unix time"))?;
        return match text.len() {
            10 => absolute(number * 1_000),
            13 => absolute(number),
            16 => absolute(number / 1_000),
            19 => absolute(number / 1_000_000),
            digits => Err(format!(
                "{text}: a Unix time has 10 digits (seconds), 13 (milliseconds), 16 (microseconds) or 19 (nanoseconds), not {digits}"
            )),
        };
    }
    let is_date = text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
    let instant = if is_date { timestamp::parse(&format!("{text}T00:00:00Z")) } else { timestamp::parse(text) };
    if let Some(micros) = instant {
        // Up, so that a record of the millisecond before does not belong to it.
        return absolute(micros.div_euclid(1_000) + i64::from(micros.rem_euclid(1_000) > 0));
    }
    let distance = distance(text).ok_or_else(|| {
        format!(
            "{text:?} is no time: write a Unix time, a date such as 2024-02-14 (UTC), a time with its zone such as \
             2024-02-14T12:00:00Z, or a distance such as -1h or 1m30s"
        )
    })?;
    Ok(At { millis: base.saturating_add(distance), relative: true })
}

/// `-1h`, `1.5h`, `1m3ms`: milliseconds. Units are those of Go, and d for a day of 24 hours.
fn distance(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut millis = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        millis += number
            * match &rest[..letters] {
                "ns" => 1e-6,
                "us" | "µs" | "μs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3_600e3,
                "d" => DAY as f64,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    Some((sign * millis).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn times_of_their_own() {
        for (text, millis) in [
            ("1622505600", 1_622_505_600_000),
            ("1622505600123", 1_622_505_600_123),
            ("1622505600123999", 1_622_505_600_123),
            ("1622505600123999999", 1_622_505_600_123),
            ("2022-02-14", 1_644_796_800_000),
            ("2022-02-14T01:02:03Z", 1_644_800_523_000),
            ("2022-02-14T01:02:03.5Z", 1_644_800_523_500),
            ("2022-02-14T01:02:03.0001Z", 1_644_800_523_001),
            ("2022-02-14T03:02:03+02:00", 1_644_800_523_000),
        ] {
            assert_eq!(parse(text, NOW), Ok(At { millis, relative: false }), "{text}");
        }
    }

    #[test]
    fn distances_from_a_base() {
        for (text, millis) in [
            ("-1h", -3_600_000),
            ("1h", 3_600_000),
            ("1m3ms", 60_003),
            ("1.5h", 5_400_000),
            ("-48h", -172_800_000),
            ("2d", 172_800_000),
            ("1500us", 2),
            ("0s", 0),
        ] {
            assert_eq!(parse(text, NOW), Ok(At { millis: NOW + millis, relative: true }), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_would_be_one() {
        for text in ["", "-", "5", "12345678901", "1x", "h", "2022-13-01", "2022-02-14T01:02:03", "1hr", "yesterday"] {
            let why = parse(text, NOW).unwrap_err();
            assert!(why.contains("digits") || why.contains("write a Unix time"), "{text}: {why}");
        }
    }
}
