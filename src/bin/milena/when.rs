//! A point in time on the command line, as rpk, kcat and Kafka's tools write it.

use crate::args::duration;
use milena::pipeline::{context::wall_micros, timestamp};

/// Milliseconds since 1970, from `2024-01-15T14:30:00Z` (or any zone; without one UTC is meant), `2024-01-15`, `-30m` (so long
/// before now), or a Unix time of 10 digits (seconds), 13 (milliseconds), 16 or 19.
pub fn when(text: &str) -> Result<i64, String> {
    at(text, wall_micros() / 1_000)
}

fn at(text: &str, now_ms: i64) -> Result<i64, String> {
    let wrong = || {
        format!(
            "{text:?} is no time: 2024-01-15T14:30:00Z, 2024-01-15, -30m (before now), or a Unix time of 10 digits \
             (seconds) or 13 (milliseconds)"
        )
    };
    if let Some(ago) = text.strip_prefix('-') {
        let ago = duration(ago).map_err(|_| wrong())?;
        return Ok(now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)).max(0));
    }
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        let number: i64 = text.parse().map_err(|_| wrong())?;
        return match text.len() {
            9 | 10 => Ok(number * 1_000),
            13 => Ok(number),
            16 => Ok(number / 1_000),
            19 => Ok(number / 1_000_000),
            _ => Err(wrong()),
        };
    }
    let with_zone = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    let micros = with_zone.iter().find_map(|text| timestamp::parse(text)).ok_or_else(wrong)?;
    Ok(micros.div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_many_ways() {
        let monday = 1_705_276_800_000; // 2024-01-15T00:00:00Z
        for text in [
            "2024-01-15T00:00:00Z",
            "2024-01-15T01:00:00+01:00",
            "2024-01-15T00:00:00",
            "2024-01-15",
            "1705276800",
            "1705276800000",
            "1705276800000000000",
        ] {
            assert_eq!(at(text, 0), Ok(monday), "{text}");
        }
        assert_eq!(at("-1h", monday), Ok(monday - 3_600_000));
        for wrong in ["", "soon", "17", "-", "-x", "2024-13-01", "99999999999999999999"] {
            assert!(at(wrong, monday).unwrap_err().contains("2024-01-15"), "{wrong}");
        }
    }
}
