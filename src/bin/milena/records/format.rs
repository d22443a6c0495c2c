//! `-f` of `consume` and `-o` of `produce`: kcat's tokens and rpk's, with rpk's modifiers in braces.
//!
//! ```text
//! %t topic  %p partition  %o offset  %e leader epoch  %k key  %s %v value  %T %d timestamp  %i how many so far
//! %K %S %V  length of key or value, -1 for null      %R  the value's length, four bytes, big-endian
//! %h        headers as name=value,name=value         %H  how many   %h{ %k=%v }  each header by a format of its own
//! %%  %{  %}  themselves
//!
//! texts     {hex} {base64} {base64raw} {json}
//! numbers   {hex4} {hex8} … {hex64}  {big8} … {big64}  {little8} … {little64}  {byte}  {bool}
//! times     {rfc3339}, and as numbers
//! ```
//! `%T` is kcat's: rpk's `%T`, the topic's length, is not there.

use super::escapes::unescape;
use super::fixed::Fixed;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use milena::pipeline::timestamp;
use milena::record::Header;
use std::io::Write;

/// A format, read once and applied to each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Text(Text, TextStyle),
    Number(Number, NumberStyle),
    Time(NumberStyle),
    Rfc3339,
    /// kcat's list.
    HeaderList,
    Headers(Format),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Topic,
    Key,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextStyle {
    Raw,
    Hex,
    Base64,
    Base64Raw,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Partition,
    Offset,
    LeaderEpoch,
    KeyLength,
    ValueLength,
    HeaderCount,
    Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberStyle {
    Decimal,
    Fixed(Fixed),
    Bool,
}

/// What a format can name of a record.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a, H> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: H,
    /// How many there have been, this one included.
    pub counter: u64,
    /// What stands for a null key or value.
    pub null: &'a [u8],
}

impl Format {
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = split_at_token(rest) {
            literal(&mut parts, before)?;
            let mut chars = after.chars();
            let token = chars.next().ok_or("a format ends with %: write %% for the sign itself")?;
            rest = chars.as_str();
            if matches!(token, '%' | '{' | '}') {
                parts.push(Part::Literal(vec![token as u8]));
                continue;
            }
            let modifier;
            (modifier, rest) = modifier_of(rest)?;
            parts.push(Part::new(token, modifier)?);
        }
        literal(&mut parts, rest)?;
        Ok(Self { parts })
    }

    /// Values with `delimiter` behind each; before them, if wanted, their offset and their key, with what separates them.
    pub fn lines(offset: Option<Vec<u8>>, key: Option<Vec<u8>>, delimiter: Vec<u8>) -> Self {
        let mut parts = Vec::new();
        if let Some(separator) = offset {
            parts.extend([Part::Number(Number::Offset, NumberStyle::Decimal), Part::Literal(separator)]);
        }
        if let Some(separator) = key {
            parts.extend([Part::Text(Text::Key, TextStyle::Raw), Part::Literal(separator)]);
        }
        parts.extend([Part::Text(Text::Value, TextStyle::Raw), Part::Literal(delimiter)]);
        Self { parts }
    }

    /// Whether it names more than where and when a record was written.
    pub fn shows_contents(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Literal(_) | Part::Time(_) | Part::Rfc3339 | Part::Text(Text::Topic, _) => false,
            Part::Number(number, _) => !matches!(number, Number::Partition | Number::Offset | Number::Counter),
            Part::Text(..) | Part::HeaderList | Part::Headers(_) => true,
        })
    }

    /// Appends one record.
    pub fn write<'a, H: Iterator<Item = Header<'a>> + Clone>(&self, fields: &Fields<'_, H>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Text(Text::Topic, style) => style.write(fields.topic.as_bytes(), out),
                Part::Text(Text::Key, style) => style.write_or(fields.key, fields.null, out),
                Part::Text(Text::Value, style) => style.write_or(fields.value, fields.null, out),
                Part::Number(number, style) => style.write(number.of(fields), out),
                Part::Time(style) => style.write(fields.timestamp, out),
                Part::Rfc3339 if fields.timestamp < 0 => out.push(b'-'),
                Part::Rfc3339 => write_rfc3339(fields.timestamp, out),
                Part::HeaderList => {
                    for (at, header) in fields.headers.clone().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(header.name);
                        out.push(b'=');
                        out.extend_from_slice(header.value.unwrap_or(b"NULL"));
                    }
                }
                Part::Headers(format) => {
                    for header in fields.headers.clone() {
                        let none = std::iter::empty::<Header<'_>>();
                        let fields =
                            Fields { key: Some(header.name), value: header.value, headers: none, ..rest_of(fields) };
                        format.write(&fields, out);
                    }
                }
            }
        }
    }
}

/// The fields without headers.
fn rest_of<'a, H, E: Default>(fields: &Fields<'a, H>) -> Fields<'a, E> {
    let Fields { topic, partition, offset, leader_epoch, timestamp, key, value, counter, null, .. } = *fields;
    Fields { topic, partition, offset, leader_epoch, timestamp, key, value, headers: E::default(), counter, null }
}

/// What is before the next `%`, and what is behind it; an escaped one is none.
fn split_at_token(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let at = text.find(|c| {
        let is_token = c == '%' && !escaped;
        escaped = c == '\\' && !escaped;
        is_token
    })?;
    Some((&text[..at], &text[at + 1..]))
}

fn literal(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        parts.push(Part::Literal(unescape(text)?));
    }
    Ok(())
}

/// What stands in braces right behind a token, and what is behind them. Tokens inside have braces of their own.
pub fn modifier_of(text: &str) -> Result<(Option<&str>, &str), String> {
    let Some(inner) = text.strip_prefix('{') else { return Ok((None, text)) };
    let (mut depth, mut after_percent) = (1, false);
    for (at, c) in inner.char_indices() {
        match c {
            '{' if !after_percent => depth += 1,
            '}' if !after_percent => depth -= 1,
            _ => {}
        }
        after_percent = c == '%' && !after_percent;
        if depth == 0 {
            return Ok((Some(&inner[..at]), &inner[at + 1..]));
        }
    }
    Err(format!("the brace of {{{inner} is not closed: write %{{ for the sign itself"))
}

impl Part {
    fn new(token: char, modifier: Option<&str>) -> Result<Self, String> {
        let text = |text| Ok(Self::Text(text, TextStyle::new(token, modifier)?));
        let number = |number| Ok(Self::Number(number, NumberStyle::new(token, modifier)?));
        match token {
            't' => text(Text::Topic),
            'k' => text(Text::Key),
            's' | 'v' => text(Text::Value),
            'p' => number(Number::Partition),
            'o' => number(Number::Offset),
            'e' => number(Number::LeaderEpoch),
            'K' => number(Number::KeyLength),
            'S' | 'V' => number(Number::ValueLength),
            'H' => number(Number::HeaderCount),
            'i' => number(Number::Counter),
            'R' if modifier.is_none() => Ok(Self::Number(Number::ValueLength, NumberStyle::Fixed(Fixed::Big(4)))),
            'T' | 'd' if modifier == Some("rfc3339") => Ok(Self::Rfc3339),
            'T' | 'd' => Ok(Self::Time(NumberStyle::new(token, modifier)?)),
            'h' => Ok(match modifier {
                None => Self::HeaderList,
                Some(format) => {
                    let format = Format::new(format)?;
                    if format.parts.iter().any(|part| matches!(part, Self::Headers(_) | Self::HeaderList)) {
                        return Err("within %h{…} there are no headers: %k is the name, %v the value".to_owned());
                    }
                    Self::Headers(format)
                }
            }),
            _ => Err(format!(
                "%{token} is no token: there are %t %p %o %e %k %K %s %v %S %V %R %T %d %h %H %i, and %% for the sign"
            )),
        }
    }
}

impl Number {
    fn of<'a, H: Iterator<Item = Header<'a>> + Clone>(self, fields: &Fields<'_, H>) -> i64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        match self {
            Self::Partition => fields.partition.into(),
            Self::Offset => fields.offset,
            Self::LeaderEpoch => fields.leader_epoch.into(),
            Self::KeyLength => length(fields.key),
            Self::ValueLength => length(fields.value),
            Self::HeaderCount => fields.headers.clone().count() as i64,
            Self::Counter => fields.counter as i64,
        }
    }
}

impl TextStyle {
    fn new(token: char, modifier: Option<&str>) -> Result<Self, String> {
        Ok(match modifier {
            None => Self::Raw,
            Some("hex") => Self::Hex,
            Some("base64") => Self::Base64,
            Some("base64raw") => Self::Base64Raw,
            Some("json") => Self::Json,
            Some(other) => {
                return Err(format!(
                    "%{token}{{{other}}}: a text can be {{hex}}, {{base64}}, {{base64raw}} or {{json}}"
                ));
            }
        })
    }

    fn write_or(self, bytes: Option<&[u8]>, null: &[u8], out: &mut Vec<u8>) {
        match bytes {
            Some(bytes) => self.write(bytes, out),
            None if self == Self::Json => out.extend_from_slice(b"null"),
            None => out.extend_from_slice(null),
        }
    }

    fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Raw => out.extend_from_slice(bytes),
            Self::Hex => bytes.iter().for_each(|byte| hex(u64::from(*byte), 2, out)),
            Self::Base64 => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
            Self::Base64Raw => out.extend_from_slice(STANDARD_NO_PAD.encode(bytes).as_bytes()),
            Self::Json => super::envelope::write_text(&String::from_utf8_lossy(bytes), out),
        }
    }
}

impl NumberStyle {
    fn new(token: char, modifier: Option<&str>) -> Result<Self, String> {
        let Some(modifier) = modifier else { return Ok(Self::Decimal) };
        if let Some(fixed) = Fixed::named(modifier) {
            return Ok(Self::Fixed(fixed));
        }
        Ok(match modifier {
            "ascii" | "number" => Self::Decimal,
            "bool" => Self::Bool,
            _ => {
                let time = if matches!(token, 'T' | 'd') { ", {rfc3339}" } else { "" };
                return Err(format!(
                    "%{token}{{{modifier}}}: a number can be {{hex4}} to {{hex64}}, {{big8}} to {{big64}}, {{little8}} to \
                     {{little64}}, {{byte}}, {{bool}}{time}"
                ));
            }
        })
    }

    /// Digits and bytes that there is no room for are cut, the greatest first.
    fn write(self, number: i64, out: &mut Vec<u8>) {
        match self {
            Self::Decimal => {
                let _ = write!(out, "{number}"); // a vector takes everything
            }
            Self::Fixed(Fixed::Hex(digits)) => hex(number as u64, digits, out),
            Self::Fixed(Fixed::Big(bytes)) => out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]),
            Self::Fixed(Fixed::Little(bytes)) => out.extend_from_slice(&number.to_le_bytes()[..bytes]),
            Self::Bool => out.extend_from_slice(if number == 0 { b"false" } else { b"true" }),
        }
    }
}

fn hex(number: u64, digits: usize, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]));
}

/// 9999-12-31T23:59:59.999Z.
const LAST_OF_9999: i64 = 253_402_300_799_999;

/// With the three digits that a record's timestamp has.
fn write_rfc3339(millis: i64, out: &mut Vec<u8>) {
    if millis > LAST_OF_9999 {
        return out.extend_from_slice(millis.to_string().as_bytes()); // no date of four digits: microseconds, perhaps
    }
    timestamp::write(millis.saturating_mul(1_000), out);
    out.truncate(out.len() - 4);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: &str, null: &'static str) -> Vec<u8> {
        let headers = [
            Header { name: b"a", value: Some(b"1") },
            Header { name: b"b", value: None },
            Header { name: b"a", value: Some(b"") },
        ];
        let fields = Fields {
            topic: "clicks",
            partition: 258,
            offset: 77,
            leader_epoch: 3,
            timestamp: 1_644_800_523_004,
            key: Some(b"\xff\x01"),
            value: None,
            headers: headers.into_iter(),
            counter: 9,
            null: null.as_bytes(),
        };
        let mut out = Vec::new();
        Format::new(format).unwrap().write(&fields, &mut out);
        out
    }

    #[test]
    fn tokens_of_kcat_and_rpk() {
        for (format, written) in [
            (r"%t[%p]@%o %e %K %S %V %T %d %i %%\n", "clicks[258]@77 3 2 -1 -1 1644800523004 1644800523004 9 %\n"),
            (r"%s|%v|\x41\t", "||A\t"),
            ("%h", "a=1,b=NULL,a="),
            ("%H %h{ %k=%v}", "3  a=1 b= a="),
            ("%h{%k{hex}:%V,}", "61:1,62:-1,61:0,"),
            ("%h{%{%k%}}", "{a}{b}{a}"),
            ("%k{hex} %k{base64} %k{base64raw} %t{json} %v{json} %v{hex}", "ff01 /wE= /wE \"clicks\" null "),
            ("%p{hex4} %p{hex8} %p{hex16} %p{hex32} %p{bool} %p{ascii}", "2 02 0102 00000102 true 258"),
            ("%T{rfc3339}", "2022-02-14T01:02:03.004Z"),
            (r"\%%t", "%clicks"),
            ("%{%t%}", "{clicks}"),
        ] {
            assert_eq!(String::from_utf8(text(format, "")).unwrap(), written, "{format}");
        }
        assert_eq!(text("%k", ""), b"\xff\x01");
        assert_eq!(text("%v %v{base64}", "NULL"), b"NULL NULL");
        assert_eq!(text("%p{byte}%p{big16}%p{little16}%R", ""), b"\x02\x01\x02\x02\x01\xff\xff\xff\xff");
        assert_eq!(text("%p{big64}%p{little32}", ""), b"\0\0\0\0\0\0\x01\x02\x02\x01\0\0");
    }

    #[test]
    fn what_is_no_format_says_what_would_be() {
        for (format, why) in [
            ("%q", "%q is no token"),
            ("100%", "ends with %"),
            ("%k{hex", "not closed"),
            ("%k{octal}", "a text can be"),
            ("%p{base64}", "a number can be"),
            ("%d{strftime[%F]}", "{rfc3339}"),
            ("%h{%h}", "no headers"),
            (r"%k\q", "is none of"),
        ] {
            let error = Format::new(format).unwrap_err();
            assert!(error.contains(why), "{format}: {error}");
        }
    }
}
