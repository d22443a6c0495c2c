//! `-f` of `produce`: a pattern of rpk's that the input matches again and again, each time for one record.
//!
//! ```text
//! %t topic  %k key  %v %s value        up to the text behind it in the pattern, or of the size before it
//! %T %K %V %S  their sizes             read from the input, or as a number of bytes: %K{4}
//! %p partition  %d timestamp           numbers
//! %%  %{  %}    themselves
//!
//! texts     {hex} {base64}
//! numbers   {hex4} {hex8} … {hex64}  {big8} … {big64}  {little8} … {little64}  {byte}  {N}: so many digits
//! ```

use super::batch::{Batch, Entry};
use super::framing::find;
use crate::records::{envelope::Span, escapes::unescape, fixed::Fixed, format::modifier_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    elements: Vec<Element>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    Literal(Vec<u8>),
    Text(Text, Encoding, End),
    Size(Text, Kind),
    Partition(Kind),
    Timestamp(Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Topic,
    Key,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Raw,
    Hex,
    Base64,
}

/// What says where a text ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The next literal.
    Before(Vec<u8>),
    /// It has so many bytes.
    Size(usize),
    /// As many as the input said.
    Sized,
    /// The input's end.
    Input,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Decimal,
    Digits(usize),
    Fixed(Fixed),
}

/// What has been read of one record so far: `None`, that more input is needed.
type Read<T> = Result<Option<T>, String>;

impl Pattern {
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut elements = Vec::new();
        let mut fixed = [None; 3];
        let mut literal = String::new();
        let mut rest = text;
        let flush = |literal: &mut String, elements: &mut Vec<Element>| -> Result<(), String> {
            if !literal.is_empty() {
                elements.push(Element::Literal(unescape(literal)?));
                literal.clear();
            }
            Ok(())
        };
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            let mut chars = after.chars();
            let token = chars.next().ok_or("a pattern ends with %: write %% for the sign itself")?;
            rest = chars.as_str();
            if matches!(token, '%' | '{' | '}') {
                literal.push(token);
                continue;
            }
            flush(&mut literal, &mut elements)?;
            let modifier;
            (modifier, rest) = modifier_of(rest)?;
            let text = match token {
                't' | 'T' => Text::Topic,
                'k' | 'K' => Text::Key,
                _ => Text::Value,
            };
            match (token, modifier) {
                ('t' | 'k' | 'v' | 's', modifier) => {
                    elements.push(Element::Text(text, Encoding::new(token, modifier)?, End::Input));
                }
                ('T' | 'K' | 'V' | 'S', Some(digits)) if digits.parse::<usize>().is_ok() => {
                    fixed[text as usize] = digits.parse().ok();
                }
                ('T' | 'K' | 'V' | 'S', modifier) => elements.push(Element::Size(text, Kind::new(token, modifier)?)),
                ('p', modifier) => elements.push(Element::Partition(Kind::new(token, modifier)?)),
                ('d', modifier) => elements.push(Element::Timestamp(Kind::new(token, modifier)?)),
                ('h' | 'H', _) => {
                    return Err("headers can't be read by a pattern: -H adds them, --json reads them".to_owned());
                }
                _ => {
                    return Err(format!(
                        "%{token} can't be read: there are %t %k %v, %T %K %V for their sizes, %p %d, and %% for the sign"
                    ));
                }
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut elements)?;
        Self::with_ends(elements, fixed)
    }

    /// Says of each text where it ends.
    fn with_ends(mut elements: Vec<Element>, fixed: [Option<usize>; 3]) -> Result<Self, String> {
        let mut sized = [false; 3];
        for at in 0..elements.len() {
            let (before, after) = elements.split_at_mut(at + 1);
            match (before.last_mut(), after.first()) {
                (Some(Element::Size(text, _)), _) => sized[*text as usize] = true,
                (Some(Element::Text(text, _, end)), next) => {
                    *end = match (fixed[*text as usize], sized[*text as usize], next) {
                        (Some(size), _, _) => End::Size(size),
                        (None, true, _) => End::Sized,
                        (None, false, Some(Element::Literal(literal))) => End::Before(literal.clone()),
                        (None, false, None) => End::Input,
                        (None, false, Some(_)) => {
                            return Err(
                                "two fields stand side by side: a text or a size must say where the first ends"
                                    .to_owned(),
                            );
                        }
                    };
                }
                _ => {}
            }
        }
        let texts = [Text::Topic, Text::Key, Text::Value];
        let pattern = Self { elements };
        if let Some(text) = texts.into_iter().find(|text| sized[*text as usize] && !pattern.reads(*text)) {
            return Err(format!("there is a size of the {text:?}, and nothing that reads it").to_lowercase());
        }
        if pattern.elements.iter().all(|element| matches!(element, Element::Literal(_))) {
            return Err("a pattern reads something, such as %v".to_owned());
        }
        Ok(pattern)
    }

    fn reads(&self, wanted: Text) -> bool {
        self.elements.iter().any(|element| matches!(element, Element::Text(text, ..) if *text == wanted))
    }

    /// Whether each record says which topic it is for.
    pub fn names_topics(&self) -> bool {
        self.reads(Text::Topic)
    }

    /// Cuts whole records off the input's front: how many bytes they were, and what is wrong behind them.
    pub fn cut(&self, input: &[u8], is_end: bool, number: &mut u64, batch: &mut Batch) -> (usize, Result<(), String>) {
        let mut used = 0;
        while used < input.len() {
            let start = batch.bytes.len();
            match self.one(&input[used..], is_end, &mut batch.bytes) {
                Ok(Some((entry, length))) if length > 0 => {
                    *number += 1;
                    batch.entries.push(Entry { number: *number, ..entry });
                    used += length;
                }
                Ok(_) => {
                    batch.bytes.truncate(start);
                    return (used, Ok(()));
                }
                Err(why) => return (used, Err(format!("record {}: {why}", *number + 1))),
            }
        }
        (used, Ok(()))
    }

    fn one(&self, input: &[u8], is_end: bool, bytes: &mut Vec<u8>) -> Read<(Entry, usize)> {
        let (mut entry, mut at, mut sizes) = (Entry::default(), 0, [0; 3]);
        for (place, element) in self.elements.iter().enumerate() {
            let is_last = place + 1 == self.elements.len();
            let rest = &input[at..];
            let number = |kind: &Kind| kind.read(rest, is_end);
            match element {
                Element::Literal(literal) if rest.starts_with(literal) => at += literal.len(),
                Element::Literal(_) if is_end && is_last && rest.is_empty() => {} // as a last line without its end
                Element::Literal(literal) if literal.starts_with(rest) && !is_end => return Ok(None),
                Element::Literal(literal) => {
                    let found = String::from_utf8_lossy(&rest[..rest.len().min(literal.len() + 10)]).into_owned();
                    return Err(format!("{:?} should come, and not {found:?}", String::from_utf8_lossy(literal)));
                }
                Element::Size(text, kind) => {
                    let Some((size, length)) = number(kind)? else { return Ok(None) };
                    sizes[*text as usize] = usize::try_from(size).map_err(|_| format!("{size} is no size"))?;
                    at += length;
                }
                Element::Partition(kind) => {
                    let Some((partition, length)) = number(kind)? else { return Ok(None) };
                    entry.partition = Some(partition.try_into().map_err(|_| format!("{partition} is no partition"))?);
                    at += length;
                }
                Element::Timestamp(kind) => {
                    let Some((timestamp, length)) = number(kind)? else { return Ok(None) };
                    entry.timestamp = Some(timestamp);
                    at += length;
                }
                Element::Text(text, encoding, end) => {
                    let is_before_last = place + 2 == self.elements.len();
                    let Some(found) = end.find(rest, sizes[*text as usize], is_end, is_before_last)? else {
                        return Ok(None);
                    };
                    let span = Some(encoding.decode(&rest[..found], bytes)?);
                    match text {
                        Text::Topic => entry.topic = span,
                        Text::Key => entry.key = span,
                        Text::Value => entry.value = span,
                    }
                    at += found;
                }
            }
        }
        Ok(Some((entry, at)))
    }
}

impl End {
    /// How long a text is that begins here.
    fn find(&self, input: &[u8], said: usize, is_end: bool, is_before_last: bool) -> Read<usize> {
        let size = match self {
            Self::Before(literal) => match find(input, literal) {
                Some(at) => return Ok(Some(at)),
                None if is_end && is_before_last => input.len(),
                None if is_end => {
                    return Err(format!("the input ends before {:?} has come", String::from_utf8_lossy(literal)));
                }
                None => return Ok(None),
            },
            Self::Input if is_end => input.len(),
            Self::Input => return Ok(None),
            Self::Size(size) => *size,
            Self::Sized => said,
        };
        match input.len() >= size {
            true => Ok(Some(size)),
            false if is_end => Err(format!("the input ends within a text of {size} bytes")),
            false => Ok(None),
        }
    }
}

impl Encoding {
    fn new(token: char, modifier: Option<&str>) -> Result<Self, String> {
        match modifier {
            None => Ok(Self::Raw),
            Some("hex") => Ok(Self::Hex),
            Some("base64") => Ok(Self::Base64),
            Some(other) => Err(format!("%{token}{{{other}}}: what is read can be {{hex}} or {{base64}}")),
        }
    }

    /// Appends what the text means.
    fn decode(self, text: &[u8], bytes: &mut Vec<u8>) -> Result<Span, String> {
        let start = bytes.len();
        match self {
            Self::Raw => bytes.extend_from_slice(text),
            Self::Base64 => STANDARD.decode_vec(text, bytes).map_err(|error| format!("no base64: {error}"))?,
            Self::Hex => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
                for pair in text.chunks(2) {
                    let byte = match pair {
                        [high, low] => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
                        _ => None,
                    };
                    bytes.push(byte.ok_or_else(|| format!("{:?} is not hexadecimal", String::from_utf8_lossy(text)))?);
                }
            }
        }
        Ok(start..bytes.len())
    }
}

impl Kind {
    fn new(token: char, modifier: Option<&str>) -> Result<Self, String> {
        let Some(modifier) = modifier else { return Ok(Self::Decimal) };
        if let Some(fixed) = Fixed::named(modifier) {
            return Ok(Self::Fixed(fixed));
        }
        Ok(match modifier {
            "ascii" | "number" => Self::Decimal,
            digits => match digits.parse() {
                Ok(digits @ 1..=18) => Self::Digits(digits),
                _ => {
                    return Err(format!(
                        "%{token}{{{modifier}}}: a number can be {{hex4}} to {{hex64}}, {{big8}} to {{big64}}, {{little8}} to \
                         {{little64}}, {{byte}}, or a number of digits"
                    ));
                }
            },
        })
    }

    /// The number that begins here, and how many bytes it takes.
    fn read(self, input: &[u8], is_end: bool) -> Read<(i64, usize)> {
        let length = match self {
            Self::Decimal => {
                let is_part = |(at, byte): (usize, &u8)| byte.is_ascii_digit() || at == 0 && *byte == b'-';
                match input.iter().enumerate().position(|part| !is_part(part)) {
                    Some(length) => length,
                    None if is_end => input.len(),
                    None => return Ok(None),
                }
            }
            Self::Digits(length) | Self::Fixed(Fixed::Hex(length) | Fixed::Big(length) | Fixed::Little(length)) => {
                length
            }
        };
        let Some(bytes) = input.get(..length) else {
            return if is_end { Err("the input ends within a number".to_owned()) } else { Ok(None) };
        };
        let text = || String::from_utf8_lossy(bytes);
        let number = match self {
            Self::Decimal | Self::Digits(_) => text().parse().ok(),
            Self::Fixed(Fixed::Hex(_)) => u64::from_str_radix(&text(), 16).ok().map(|number| number as i64),
            Self::Fixed(Fixed::Big(_)) => {
                Some(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as i64)
            }
            Self::Fixed(Fixed::Little(_)) => {
                Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as i64)
            }
        };
        match number {
            Some(number) => Ok(Some((number, length))),
            None => {
                let found = String::from_utf8_lossy(&input[..input.len().min(length.max(10))]).into_owned();
                Err(format!("a number should come, and not {found:?}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, as `topic|key|value|partition|timestamp`, whatever the sizes of the pieces.
    fn read(pattern: &str, input: &[u8]) -> Result<Vec<String>, String> {
        let pattern = Pattern::new(pattern)?;
        let whole = read_in_pieces(&pattern, input, input.len().max(1));
        // How much of the input an error shows depends on how much has come.
        let comparable = |read: &Result<Vec<String>, String>| match read {
            Ok(all) => all.clone(),
            Err(why) => vec![why.split(", and not").next().unwrap_or_default().to_owned()],
        };
        for size in 1..5 {
            let read = read_in_pieces(&pattern, input, size);
            assert_eq!(comparable(&read), comparable(&whole), "in pieces of {size}");
        }
        whole
    }

    fn read_in_pieces(pattern: &Pattern, input: &[u8], size: usize) -> Result<Vec<String>, String> {
        let (mut rest, mut all, mut number) = (Vec::new(), Vec::new(), 0);
        for (piece, is_end) in input.chunks(size).map(|piece| (piece, false)).chain([(&b""[..], true)]) {
            rest.extend_from_slice(piece);
            let mut batch = Batch::default();
            let (used, done) = pattern.cut(&rest, is_end, &mut number, &mut batch);
            rest.drain(..used);
            for entry in &batch.entries {
                let text = |span: &Option<Span>| match span {
                    Some(span) => String::from_utf8_lossy(&batch.bytes[span.clone()]).into_owned(),
                    None => "-".to_owned(),
                };
                let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
                let (partition, timestamp) = (number(entry.partition.map(i64::from)), number(entry.timestamp));
                all.push(format!(
                    "{}|{}|{}|{partition}|{timestamp}",
                    text(&entry.topic),
                    text(&entry.key),
                    text(&entry.value)
                ));
            }
            done?;
        }
        assert!(rest.is_empty(), "{rest:?} is left");
        assert_eq!(number, all.len() as u64);
        Ok(all)
    }

    #[test]
    fn a_pattern_matches_again_and_again() {
        for (pattern, input, want) in [
            (r"%v\n", "a\n\nb", &["-|-|a|-|-", "-|-||-|-", "-|-|b|-|-"][..]),
            (r"%k %v\n", "k1 v1\nk2 v 2\n", &["-|k1|v1|-|-", "-|k2|v 2|-|-"]),
            (r"%t,%p,%d:%k=%v;", "t,3,-1:k=v;u,0,17:=;", &["t|k|v|3|-1", "u|||0|17"]),
            ("%T{4}%K{4}%V{4}%t%k%v", "ttttkkkkvvvvTTTTKKKKVVVV", &["tttt|kkkk|vvvv|-|-", "TTTT|KKKK|VVVV|-|-"]),
            ("%K %k%V{big16}%v", "3 a b\0\x02cd0 \0\0", &["-|a b|cd|-|-", "-|||-|-"]),
            ("%K{hex8}%k%V{3}%v", "02kkabc", &["-|kk|abc|-|-"]),
            (r"%k{hex} %v{base64}\n", "6b6B dg==\n", &["-|kk|v|-|-"]),
            (r"%p{2}%%%{%v\n", "07%{x\n", &["-|-|x|7|-"]),
            ("%v", "all of\nit", &["-|-|all of\nit|-|-"]),
            (r"%v\n", "", &[]),
        ] {
            assert_eq!(read(pattern, input.as_bytes()).unwrap(), want, "{pattern}");
        }
    }

    #[test]
    fn what_does_not_match_says_where() {
        for (pattern, input, why) in [
            (r"%k %v\n", "k v\nkv\n", "record 2: the input ends before \" \""),
            ("<%v>", "<a><b>c", "record 3: \"<\" should come"),
            ("%K %k", "x y", "record 1: a number should come"),
            ("%K %k", "5 abc", "record 1: the input ends within a text of 5 bytes"),
            ("%V{big32}%v", "\0\0", "record 1: the input ends within a number"),
            (r"%k{hex}\n", "abc\n", "not hexadecimal"),
            (r"%k{base64}\n", "%\n", "no base64"),
            (r"%p %v\n", "99999999999 x\n", "is no partition"),
        ] {
            let error = read(pattern, input.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_what_would_be() {
        for (pattern, why) in [
            ("%k%v", "side by side"),
            ("", "reads something"),
            ("abc", "reads something"),
            ("%", "ends with %"),
            ("%q", "%q can't be read"),
            ("%h{%k=%v}", "headers can't be read"),
            ("%k{json}", "{hex} or {base64}"),
            ("%K{x}%k", "a number of digits"),
            ("%K{big32}%v", "nothing that reads it"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
