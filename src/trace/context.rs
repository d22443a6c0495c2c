//! The W3C trace context (<https://www.w3.org/TR/trace-context/>), level 1, as two record headers.

use crate::consumer::ConsumerRecord;
use std::fmt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `00-` trace id `-` span id `-` flags.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// Which trace something belongs to, and which span is its parent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    parent: String,
    state: Option<String>,
}

impl TraceContext {
    /// By the values of the two headers; `None` if `traceparent` is not one: what is wrong with a context is none. One of a
    /// later version is taken as far as version 00 goes. An empty `tracestate` is none.
    pub fn new(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        let is_hex = |from: usize, length: usize| {
            bytes
                .get(from..from + length)
                .is_some_and(|part| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        };
        let is_zero = |from: usize, length: usize| {
            bytes.get(from..from + length).is_some_and(|part| part.iter().all(|byte| *byte == b'0'))
        };
        let is_whole = is_hex(0, 2) && is_hex(3, 32) && is_hex(36, 16) && is_hex(53, 2);
        let is_apart = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        let version = bytes.get(..2)?;
        let may_end = match (bytes.len(), bytes.get(LENGTH)) {
            (LENGTH, _) => true,
            (_, Some(b'-')) => version != b"00",
            _ => false,
        };
        if !(is_whole && is_apart && may_end) || version == b"ff" || is_zero(3, 32) || is_zero(36, 16) {
            return None;
        }
        let state = tracestate.map(str::trim).filter(|state| !state.is_empty()).map(str::to_owned);
        Some(Self { parent: traceparent.get(..LENGTH)?.to_owned(), state })
    }

    /// What a record carries; of headers that repeat the last counts, as in the Java client.
    pub fn of(record: &ConsumerRecord<'_>) -> Option<Self> {
        let last = |name: &str| {
            let values = record.headers().filter(|header| header.name == name.as_bytes());
            values.last().and_then(|header| std::str::from_utf8(header.value?).ok())
        };
        Self::new(last(TRACEPARENT)?, last(TRACESTATE))
    }

    /// Names and values of the headers that carry it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let state = self.state.as_deref().map(|state| (TRACESTATE, state));
        [(TRACEPARENT, &*self.parent)].into_iter().chain(state)
    }

    /// The trace, as 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.parent[3..35]
    }

    /// The span that is the parent, as 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        &self.parent[36..52]
    }

    /// Whether whoever began it records it.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.parent[53..55], 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

/// As `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written() {
        let context = TraceContext::new(PARENT, Some(" vendor=1 ")).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((context.span_id(), context.is_sampled()), ("00f067aa0ba902b7", true));
        assert_eq!(context.headers().collect::<Vec<_>>(), [("traceparent", PARENT), ("tracestate", "vendor=1")]);
        assert_eq!(TraceContext::new(PARENT, Some("")).unwrap().headers().count(), 1);
        assert!(!TraceContext::new(&PARENT.replace("-01", "-00"), None).unwrap().is_sampled());
    }

    #[test]
    fn what_is_wrong_is_none_and_a_later_version_is_taken_as_far_as_it_is_known() {
        let later = format!("cc{}-what-comes", &PARENT[2..]);
        assert_eq!(TraceContext::new(&later, None).unwrap().to_string(), format!("cc{}", &PARENT[2..]));
        let wrong = [
            String::new(),
            "00".into(),
            PARENT[..54].into(),
            format!("{PARENT}-x"),
            format!("{PARENT}x"),
            format!("ff{}", &PARENT[2..]),
            PARENT.to_uppercase(),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace('-', "_"),
            "00-4bf92f3577b34da6a3ce929d0e0e473ä-00f067aa0ba902b7-01".into(),
            format!("cc{}x", &PARENT[2..]),
        ];
        for parent in wrong {
            assert_eq!(TraceContext::new(&parent, None), None, "{parent}");
        }
    }
}
