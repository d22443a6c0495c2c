//! `-o`: where to begin and where to end in each partition, in rpk's words and in kcat's.
//!
//! ```text
//!  start end stored        beginning, oldest, earliest; newest, latest     47  47:  +2  -3
//!  :end  3:end  :47  3:47  -100:-10                                        s@MILLIS  e@MILLIS    (kcat)
//!  @T  @T:  @:T  @T1:T2  @T:end                                            T: see `times`
//! ```
//! An end is not read itself. Of several `-o` one may name the start and one the end.

use super::times;

/// What to read of each partition; what is not said is for the caller to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    pub start: Option<Start>,
    pub end: Option<End>,
}

/// The first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
    /// Where the group has committed.
    Stored,
    Offset(i64),
    /// So many behind the log's beginning.
    AfterBeginning(i64),
    /// So many before the log's end.
    BeforeEnd(i64),
    /// The first record of this time or a later one, in milliseconds since 1970.
    Time(i64),
}

/// The first record that is not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end as it is now.
    Now,
    /// This offset, or the end as it is now if that is less.
    Offset(i64),
    /// So many before the end as it is now.
    BeforeNow(i64),
    /// The first record of this time or a later one, or the end as it is now if there is none.
    Time(i64),
    /// The first record of this time or a later one, which is waited for (kcat's `e@`).
    Reaches(i64),
}

impl Range {
    /// Reads what all `-o` together say. `now` is in milliseconds since 1970: distances count from it.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>, now: i64) -> Result<Self, String> {
        let mut whole = Self::default();
        for text in texts {
            let part = Self::one(text, now).map_err(|why| format!("-o {text}: {why}"))?;
            if part.start.is_some() && whole.start.is_some() {
                return Err(format!("-o {text}: there is a start already"));
            }
            if part.end.is_some() && whole.end.is_some() {
                return Err(format!("-o {text}: there is an end already"));
            }
            whole = Self { start: part.start.or(whole.start), end: part.end.or(whole.end) };
        }
        match whole {
            Self { start: Some(Start::Offset(start)), end: Some(End::Offset(end)) } if end <= start => {
                Err(format!("the end, {end}, is not behind the start, {start}"))
            }
            Self { start: Some(Start::Time(start)), end: Some(End::Time(end) | End::Reaches(end)) } if end <= start => {
                Err("the second time is not behind the first".to_owned())
            }
            Self { start: Some(Start::End), end: Some(_) } => {
                Err("nothing is behind the end: name another start".to_owned())
            }
            whole => Ok(whole),
        }
    }

    fn one(text: &str, now: i64) -> Result<Self, String> {
        let millis = |text: &str| match text.parse() {
            Ok(millis @ 0..) => Ok(millis),
            _ => Err(format!("{text:?} is not a time in milliseconds since 1970")),
        };
        if let Some(text) = text.strip_prefix("s@") {
            return Ok(Self { start: Some(Start::Time(millis(text)?)), end: None });
        }
        if let Some(text) = text.strip_prefix("e@") {
            return Ok(Self { start: None, end: Some(End::Reaches(millis(text)?)) });
        }
        if let Some(text) = text.strip_prefix('@') {
            return Self::of_times(text, now);
        }
        if let Some((start, end)) = text.split_once(':').or_else(|| dashed(text)) {
            if start.is_empty() && end.is_empty() {
                return Err("there is nothing on either side of the colon".to_owned());
            }
            let start = if start.is_empty() { Some(Start::Beginning) } else { Some(Start::parse(start)?) };
            let end = if end.is_empty() { None } else { Some(End::parse(end)?) };
            return Ok(Self { start, end });
        }
        Ok(Self { start: Some(Start::parse(text)?), end: None })
    }

    /// `T`, `T:`, `:T`, `T1:T2`, where times have colons of their own: the one between them is where both sides are times.
    fn of_times(text: &str, now: i64) -> Result<Self, String> {
        let end_of = |text: &str, base| match text {
            "end" => Ok(End::Now),
            text => Ok::<_, String>(End::Time(not_before_1970(times::parse(text, base)?.millis))),
        };
        if let Some(end) = text.strip_prefix(':') {
            return Ok(Self { start: Some(Start::Beginning), end: Some(end_of(end, now)?) });
        }
        let start_of = |at: times::At| Some(Start::Time(not_before_1970(at.millis)));
        let whole = times::parse(text.strip_suffix(':').unwrap_or(text), now);
        if let Ok(at) = whole {
            return Ok(Self { start: start_of(at), end: None });
        }
        let mut why = None;
        for (colon, _) in text.match_indices(':') {
            let Ok(at) = times::parse(&text[..colon], now) else { continue };
            match end_of(&text[colon + 1..], if at.relative { now } else { at.millis }) {
                Ok(end) => return Ok(Self { start: start_of(at), end: Some(end) }),
                Err(error) => why = Some(error), // of the longest first half, which is the likeliest
            }
        }
        match (why, whole) {
            (Some(why), _) | (None, Err(why)) => Err(why),
            (None, Ok(_)) => Err(format!("{text:?} is no time")),
        }
    }
}

/// rpk's other way to write a range of offsets.
fn dashed(text: &str) -> Option<(&str, &str)> {
    text.split_once('-').filter(|(start, _)| !start.is_empty() && start.bytes().all(|byte| byte.is_ascii_digit()))
}

fn not_before_1970(millis: i64) -> i64 {
    millis.max(0)
}

fn number(text: &str) -> Option<i64> {
    Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok())
}

impl Start {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "a start is start, end, stored, an offset, +N behind the beginning, -N before the end, or @ and a time"
                .to_owned()
        };
        Ok(match text {
            "start" | "beginning" | "oldest" | "earliest" => Self::Beginning,
            "end" | "newest" | "latest" => Self::End,
            "stored" => Self::Stored,
            _ => match (text.strip_prefix('+'), text.strip_prefix('-')) {
                (Some(text), _) => Self::AfterBeginning(number(text).ok_or_else(wrong)?),
                (_, Some(text)) => Self::BeforeEnd(number(text).ok_or_else(wrong)?),
                _ => Self::Offset(number(text).ok_or_else(wrong)?),
            },
        })
    }
}

impl End {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "an end is end, an offset, or -N before the end".to_owned();
        match text.strip_prefix('-') {
            _ if text == "end" => Ok(Self::Now),
            Some(text) => number(text).map(Self::BeforeNow).ok_or_else(wrong),
            None => number(text).map(Self::Offset).ok_or_else(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z
    const NOW: i64 = 1_700_000_000_000;
    const DAY: i64 = 86_400_000;
    const VALENTINE: i64 = 1_644_796_800_000;

    fn parse(text: &str) -> Result<Range, String> {
        Range::parse(text.split(' '), NOW)
    }

    #[test]
    fn each_way_to_say_where() {
        use End::{BeforeNow, Now, Reaches};
        use Start::{AfterBeginning, BeforeEnd, Beginning, Stored};
        let (from, to, at) = (Start::Offset, End::Offset, Start::Time);
        for (text, start, end) in [
            ("start", Some(Beginning), None),
            ("oldest", Some(Beginning), None),
            ("beginning", Some(Beginning), None),
            ("end", Some(Start::End), None),
            ("newest", Some(Start::End), None),
            ("stored", Some(Stored), None),
            (":end", Some(Beginning), Some(Now)),
            ("start:end", Some(Beginning), Some(Now)),
            ("+2", Some(AfterBeginning(2)), None),
            ("-3", Some(BeforeEnd(3)), None),
            ("-3:end", Some(BeforeEnd(3)), Some(Now)),
            ("-100:-10", Some(BeforeEnd(100)), Some(BeforeNow(10))),
            ("47", Some(from(47)), None),
            ("47:", Some(from(47)), None),
            (":47", Some(Beginning), Some(to(47))),
            ("3:47", Some(from(3)), Some(to(47))),
            ("3-47", Some(from(3)), Some(to(47))),
            ("3:end", Some(from(3)), Some(Now)),
            ("3-end", Some(from(3)), Some(Now)),
            ("s@1644796800000", Some(at(VALENTINE)), None),
            ("e@1644796800000", None, Some(Reaches(VALENTINE))),
            ("s@5 e@6", Some(at(5)), Some(Reaches(6))),
            ("47 e@6", Some(from(47)), Some(Reaches(6))),
            ("@1644796800", Some(at(VALENTINE)), None),
            ("@1644796800000:", Some(at(VALENTINE)), None),
            ("@2022-02-14:1h", Some(at(VALENTINE)), Some(End::Time(VALENTINE + 3_600_000))),
            ("@2022-02-14:2022-02-15", Some(at(VALENTINE)), Some(End::Time(VALENTINE + DAY))),
            ("@2022-02-14T00:00:00Z:2022-02-15T00:00:00Z", Some(at(VALENTINE)), Some(End::Time(VALENTINE + DAY))),
            ("@2022-02-14T02:00:00+02:00:1d", Some(at(VALENTINE)), Some(End::Time(VALENTINE + DAY))),
            ("@2022-02-14T00:00:00Z", Some(at(VALENTINE)), None),
            ("@2022-02-14T00:00:00Z:", Some(at(VALENTINE)), None),
            ("@2022-02-14T00:00:00Z:end", Some(at(VALENTINE)), Some(Now)),
            ("@-48h:-24h", Some(at(NOW - 2 * DAY)), Some(End::Time(NOW - DAY))),
            ("@-1m:end", Some(at(NOW - 60_000)), Some(Now)),
            ("@-1h", Some(at(NOW - 3_600_000)), None),
            ("@:-1h", Some(Beginning), Some(End::Time(NOW - 3_600_000))),
            ("@:2022-02-14", Some(Beginning), Some(End::Time(VALENTINE))),
        ] {
            assert_eq!(parse(text), Ok(Range { start, end }), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_says_why() {
        for (text, why) in [
            ("middle", "a start is start, end"),
            ("", "a start is start, end"),
            ("+", "a start is"),
            ("-x", "a start is"),
            (":", "nothing on either side"),
            ("5:x", "an end is end"),
            ("5:5", "not behind the start"),
            ("5-3", "not behind the start"),
            ("end:9", "nothing is behind the end"),
            ("@end", "is no time"),
            ("@", "is no time"),
            ("@2022-02-14:x", "\"x\" is no time"),
            ("@-1h:-2h", "the second time"),
            ("s@-5", "milliseconds since 1970"),
            ("e@x", "milliseconds since 1970"),
            ("3 4", "a start already"),
            (":3 e@5", "an end already"),
            ("99999999999999999999", "a start is"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
