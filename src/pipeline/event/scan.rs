//! One pass over an event as `clickstream` and most programs write it: a flat object of plain strings, numbers and nulls, in
//! any order.
//!
//! It answers for valid events only. To an escape, a nested value, a field twice, or anything wrong it says nothing, and the
//! full parser looks: so there is one place that knows why a record is none. What it does answer has to be the full parser's
//! answer, which a test holds.

use super::{Event, EventType, exact_cents};
use crate::pipeline::timestamp;

/// The event in this text, if it is one of the usual kind.
pub(super) fn event(text: &str) -> Option<Event<'_>> {
    let mut scan = Scan { text, at: 0 };
    let (mut event_id, mut user_id, mut event_type) = (None, None, None);
    let (mut product_id, mut instant, mut price) = (None, None, None);
    scan.expect(b'{')?;
    loop {
        scan.expect(b'"')?;
        let name = scan.string()?;
        scan.expect(b':')?;
        let value = scan.value()?;
        let field = match name {
            "event_id" => &mut event_id,
            "user_id" => &mut user_id,
            "event_type" => &mut event_type,
            "product_id" => &mut product_id,
            "timestamp" => &mut instant,
            "price" => &mut price,
            _ => &mut None,
        };
        if field.replace(value).is_some() {
            return None;
        }
        match scan.token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    if scan.token().is_some() {
        return None;
    }
    let event_type = EventType::from_name(event_type?.string()?)?;
    Some(Event {
        event_id: event_id?.string()?.into(),
        user_id: user_id?.string_or_integer()?.into(),
        event_type,
        product_id: product_id?.string()?.into(),
        timestamp: timestamp::parse(instant?.string()?)?,
        price_cents: match price {
            Some(Value::Number(price)) if event_type == EventType::Purchase => Some(exact_cents(price)?),
            Some(Value::String(_)) if event_type == EventType::Purchase => return None,
            _ => None,
        },
    })
}

#[derive(Clone, Copy)]
enum Value<'a> {
    /// What is between the quotes.
    String(&'a str),
    /// As it stands.
    Number(&'a str),
    Null,
}

impl<'a> Value<'a> {
    fn string(self) -> Option<&'a str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    fn string_or_integer(self) -> Option<&'a str> {
        match self {
            Self::String(text) => Some(text),
            Self::Number(text) if !text.contains('.') => Some(text),
            _ => None,
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is no white space.
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.token()? == byte).then_some(())
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.token()? {
            b'"' => self.string().map(Value::String),
            b'n' => {
                self.text.as_bytes().get(self.at..)?.starts_with(b"ull").then_some(())?;
                self.at += 3;
                Some(Value::Null)
            }
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            _ => None,
        }
    }

    /// Behind the opening quote: up to the closing one, which is passed.
    fn string(&mut self) -> Option<&'a str> {
        let len = plain(self.text.as_bytes().get(self.at..)?)?;
        let text = self.text.get(self.at..self.at + len)?;
        self.at += len + 1;
        Some(text)
    }

    /// Behind the first byte: a number without an exponent.
    fn number(&mut self) -> Option<&'a str> {
        let begin = self.at - 1;
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let whole = begin + usize::from(bytes.get(begin) == Some(&b'-'));
        let mut end = digits(whole);
        let has_leading_zero = bytes.get(whole) == Some(&b'0') && end > whole + 1;
        if end == whole || has_leading_zero {
            return None;
        }
        if bytes.get(end) == Some(&b'.') {
            let fraction = end + 1;
            end = digits(fraction);
            if end == fraction {
                return None;
            }
        }
        self.at = end;
        self.text.get(begin..end)
    }
}

/// How many bytes there are before the closing quote, if nothing before it needs a closer look: a backslash, a control
/// character. Eight at a time.
fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    // The lowest flag that is set is a true one; a borrow can only set more above it.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & (ONES << 7);
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let special = equal(word, b'"') | equal(word, b'\\') | below(word, b' ');
        if special != 0 {
            len += special.trailing_zeros() as usize / 8;
            return (bytes.get(len) == Some(&b'"')).then_some(len);
        }
        len += 8;
    }
    let at = rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')?;
    (rest.get(at) == Some(&b'"')).then_some(len + at)
}

#[cfg(test)]
mod tests {
    use super::{super::full, *};
    use crate::pipeline::clickstream::generator::{Generator, Knobs};

    const SHAPES: [&str; 4] = [
        r#"{"event_id":"e1","user_id":1234,"event_type":"purchase","product_id":"Laptop_X1","timestamp":"2024-01-15T14:30:00.123456Z","price":19.99}"#,
        r#"{"event_id":"e2","user_id":7,"event_type":"view","product_id":"é\u005f","timestamp":"2024-01-15T14:30:00Z","price":null}"#,
        r#" { "price": -0.5, "x": [1, {"y": true}], "timestamp":"2024-01-15 15:30:00.5+01:00", "product_id":"", "z": 1e3,
            "event_type":"add_to_cart", "user_id":"-12", "event_id":"0123456789abcdef 😀" } "#,
        r#"{"event_type":"purchase","timestamp":"2024-01-15T14:30:00+0100","user_id":-0,"event_id":"","product_id":"p","session":"s"}"#,
    ];

    /// Gives what was said, and whether it was said quickly.
    fn agree(text: &str) -> bool {
        let (quick, full) = (event(text), full(text));
        assert!(quick.is_none() || quick == full.clone().ok(), "{text}\n{quick:?}\n{full:?}");
        quick.is_some()
    }

    #[test]
    fn what_it_says_of_a_spoiled_event_is_what_the_full_parser_says() {
        const BITS: [&str; 28] = [
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\u{1}",
            "0",
            "9",
            "-",
            "+",
            ".",
            "e",
            "null",
            "true",
            "é",
            "\\u0041",
            "\"price\":1,",
            "\"event_id\":\"\",",
            "19.999",
            "92233720368547758.07",
            "00",
            "Z",
            "T",
        ];
        let mut random = fastrand::Rng::with_seed(3);
        let mut quick = 0;
        for i in 0..60_000 {
            let mut text: Vec<char> = SHAPES[i % SHAPES.len()].chars().collect();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..=text.len());
                let end = (at + random.usize(0..3)).min(text.len());
                match random.u8(0..8) {
                    0 => text.truncate(at),
                    1 => drop(text.drain(at..end)),
                    _ => drop(text.splice(at..end, BITS[random.usize(..BITS.len())].chars())),
                }
            }
            let text: String = text.into_iter().collect();
            quick += u32::from(agree(&text));
        }
        assert!(quick > 5_000, "{quick}");
    }

    #[test]
    fn clickstreams_events_and_plain_ones_of_others_are_read_in_one_pass() {
        let mut knobs = Knobs::default();
        (knobs.start, knobs.disorder, knobs.late, knobs.dup) = (1_705_329_000_000_000, 4_000_000, 0.1, 0.1);
        let mut clean = Generator::new(knobs.clone());
        for _ in 0..2_000 {
            let event = clean.draw();
            assert!(agree(std::str::from_utf8(event.value.unwrap_or_default()).unwrap_or_default()));
        }
        knobs.poison = 0.5;
        let mut spoiled = Generator::new(knobs);
        for _ in 0..2_000 {
            let _ = spoiled.draw().value.map(|value| std::str::from_utf8(value).map(agree));
        }
        assert_eq!(SHAPES.map(agree), [true, false, false, true]);
        assert!(agree(
            &SHAPES[0]
                .replace(':', " :\t")
                .replace(',', " ,\r\n")
                .replace("30 :\t00", "30:00")
                .replace("14 :\t", "14:")
        ));
    }

    #[test]
    fn every_place_of_a_quote_a_backslash_and_a_control_character_is_found() {
        for len in 0..40 {
            for (special, found) in [(b'"', Some(len)), (b'\\', None), (0x1f, None), (0, None)] {
                for filler in [b' ', b'!', b'#', b'a', 0x7f, 0x80, 0xff, b'[', b']'] {
                    let mut bytes = vec![filler; len];
                    bytes.push(special);
                    bytes.extend_from_slice(b"\x00\"\\\"aaaaaaaaaa");
                    assert_eq!(plain(&bytes), found, "{len} {special} {filler}");
                }
            }
            assert_eq!(plain(&vec![b'a'; len]), None);
        }
    }
}
