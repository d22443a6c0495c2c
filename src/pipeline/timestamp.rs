//! RFC 3339 timestamps as microseconds since 1970, UTC. Digits past the sixth are cut, never rounded: an event of
//! 59.9999999 belongs to the minute that its second says.

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a millisecond.
pub const MILLI: i64 = 1_000;
/// The instants of the years 0 to 9999, UTC.
pub const CALENDAR: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// The microseconds since 1970 that `2024-01-15T14:30:00.123456Z` or `2024-01-15 16:30:00+02:00` means; `None` for
/// anything else: no zone, more than nine digits of fraction, a date that isn't in the calendar.
pub fn parse(text: &str) -> Option<i64> {
    let (head, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', n0, n1, b':', s0, s1] = head
    else {
        return None;
    };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[n0, n1])?, number(&[s0, s1])?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let (micros, zone) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        zone => (0, zone),
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(seconds * SECOND + micros)
}

/// Appends the timestamp with six digits of fraction and `Z`: `2024-01-15T14:30:00.123456Z`.
pub fn write(micros: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(year, &mut text[..4]);
    digits(month, &mut text[5..7]);
    digits(day, &mut text[8..10]);
    digits(of_day / 3_600, &mut text[11..13]);
    digits(of_day / 60 % 60, &mut text[14..16]);
    digits(of_day % 60, &mut text[17..19]);
    digits(fraction, &mut text[20..26]);
    out.extend_from_slice(&text);
}

/// The timestamp as text, for people and files.
pub fn format(micros: i64) -> String {
    let mut out = Vec::with_capacity(27);
    write(micros, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Fills `places` with the last digits of `value`, which is not negative.
#[inline]
fn digits(mut value: i64, places: &mut [u8]) {
    for place in places.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[inline]
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some(value * 10 + digit)
    })
}

/// The microseconds of 0 to 9 digits, and what follows them.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let len = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len > 9 {
        return None;
    }
    let (digits, zone) = bytes.split_at(len);
    let micros = (0..6).fold(0, |value, i| value * 10 + digits.get(i).map_or(0, |byte| i64::from(byte - b'0')));
    Some((micros, zone))
}

/// Seconds east of UTC of `Z`, `+02:00`, `+0200` or `+02`.
fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = match *zone {
        [_, h0, h1] => (number(&[h0, h1])?, 0),
        [_, h0, h1, m0, m1] | [_, h0, h1, b':', m0, m1] => (number(&[h0, h1])?, number(&[m0, m1])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 in the proleptic Gregorian calendar; years are counted from March, so that the leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};

    #[test]
    fn agrees_with_the_time_crate_on_random_instants_and_offsets() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let micros = random.i64(-62_000_000_000_000_000..250_000_000_000_000_000);
            let text = format(micros);
            assert_eq!(parse(&text), Some(micros), "{text}");
            let there = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            assert_eq!(there.unix_timestamp_nanos(), i128::from(micros) * 1000, "{text}");
            let offset = ::time::UtcOffset::from_whole_seconds(random.i32(-840..840) * 60).unwrap();
            let shifted = there.to_offset(offset);
            if (1..9999).contains(&shifted.year()) {
                assert_eq!(parse(&shifted.format(&Rfc3339).unwrap()), Some(micros));
            }
        }
    }

    #[test]
    fn takes_and_refuses_what_the_time_crate_does() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut taken = 0;
        for _ in 0..20_000 {
            let (year, month, day) = (random.i32(1..10_000), random.u8(0..14), random.u8(0..33));
            let (hour, minute, second) = (random.u8(0..25), random.u8(0..61), random.u8(0..60));
            let digits = random.usize(0..10);
            let fraction: String =
                (0..=digits).map(|i| if i == 0 { '.' } else { char::from(b'0' + random.u8(0..10)) }).collect();
            let fraction = if digits == 0 { "" } else { &fraction };
            let sign = ["+", "-"][random.usize(0..2)];
            let zone = format!("{sign}{:02}:{:02}", random.u8(0..25), random.u8(0..61));
            let zone = if random.bool() { "Z" } else { &zone };
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            let there = OffsetDateTime::parse(&text, &Rfc3339).ok();
            let micros = there.map(|there| there.unix_timestamp_nanos().div_euclid(1_000) as i64);
            assert_eq!(parse(&text), micros, "{text}");
            taken += u32::from(micros.is_some());
        }
        assert!(taken > 10_000, "{taken}");
    }

    #[test]
    fn digits_past_the_sixth_are_cut_not_rounded() {
        let base = parse("2024-01-15T14:30:59Z").unwrap();
        assert_eq!(parse("2024-01-15T14:30:59.999999999Z"), Some(base + 999_999));
        assert_eq!(parse("2024-01-15T14:30:59.9Z"), Some(base + 900_000));
        assert_eq!(parse("2024-01-15T16:30:59.000001+02:00"), Some(base + 1));
        assert_eq!(parse("2024-01-15T16:30:59+0200"), Some(base));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024-01-15",
            "2024-01-15T14:30:00",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T14:30:00.1234567890Z",
            "2024-01-15T14:30:00Z ",
            "2024-01-15T14:30:00+2",
            "2024-01-15T14:30:00+02:0é",
            "２024-01-15T14:30:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
