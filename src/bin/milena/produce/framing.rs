//! Where records begin and end in the input, and what they are: lines, lines with keys, envelopes, or a pattern.

use super::batch::{Batch, Entry};
use super::pattern::Pattern;
use crate::records::envelope;

/// A frame that is longer can't be meant: no broker takes such a record.
pub const LONGEST: usize = 256 << 20;

/// How the input is cut.
#[derive(Debug, Clone)]
pub enum Framing {
    /// Each piece up to a delimiter is a value, or what is before `key` in it is the key.
    Lines {
        delimiter: Vec<u8>,
        key: Option<Vec<u8>>,
    },
    /// Each line is an envelope. What it says of topic and partition is taken over on request.
    Envelopes {
        topics: bool,
        partitions: bool,
    },
    Pattern(Pattern),
}

/// Cuts an input that comes in pieces.
#[derive(Debug)]
pub struct Cutter {
    framing: Framing,
    /// What has no end yet.
    rest: Vec<u8>,
    /// Where in it there is no delimiter.
    searched: usize,
    number: u64,
}

impl Cutter {
    /// Numbers go on behind `number`.
    pub fn new(framing: Framing, number: u64) -> Self {
        Self { framing, rest: Vec::new(), searched: 0, number }
    }

    /// How many lines or records there have been.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What `piece` completes, and what is wrong behind that. The input's end completes everything.
    pub fn cut(&mut self, piece: &[u8], is_end: bool) -> (Batch, Result<(), String>) {
        self.rest.extend_from_slice(piece);
        let mut batch = Batch::default();
        let (used, done) = match &self.framing {
            Framing::Pattern(pattern) => pattern.cut(&self.rest, is_end, &mut self.number, &mut batch),
            Framing::Lines { .. } | Framing::Envelopes { .. } => self.cut_lines(is_end, &mut batch),
        };
        batch.size = used;
        // Lines lie where they were read; what else there is was copied.
        if matches!(self.framing, Framing::Lines { .. }) {
            let rest = self.rest.split_off(used);
            batch.bytes = std::mem::replace(&mut self.rest, rest);
        } else {
            self.rest.drain(..used);
        }
        self.searched = self.searched.saturating_sub(used);
        let done = match done {
            Ok(()) if self.rest.len() > LONGEST => {
                Err(format!("{}: it has no end within {} MiB", self.place(self.number + 1), LONGEST >> 20))
            }
            done => done,
        };
        (batch, done)
    }

    /// How a record is called.
    pub fn place(&self, number: u64) -> String {
        self.framing.place(number)
    }

    fn cut_lines(&mut self, is_end: bool, batch: &mut Batch) -> (usize, Result<(), String>) {
        let delimiter = match &self.framing {
            Framing::Lines { delimiter, .. } => delimiter.as_slice(),
            _ => b"\n",
        };
        let mut start = 0;
        while start < self.rest.len() {
            let from = self.searched.max(start);
            let (end, next) = match find(&self.rest[from..], delimiter) {
                Some(at) => (from + at, from + at + delimiter.len()),
                None if is_end => (self.rest.len(), self.rest.len()),
                None => {
                    // A part of a delimiter may be there already.
                    self.searched = (self.rest.len() + 1).saturating_sub(delimiter.len()).max(start);
                    return (start, Ok(()));
                }
            };
            self.number += 1;
            let entry = Entry { number: self.number, ..Entry::default() };
            let entry = match &self.framing {
                Framing::Envelopes { .. } if self.rest[start..end].trim_ascii().is_empty() => None,
                Framing::Envelopes { topics, partitions } => {
                    let first = batch.headers.len();
                    match envelope::read(&self.rest[start..end], &mut batch.bytes, &mut batch.headers) {
                        Ok(envelope) => Some(Entry {
                            topic: envelope.topic.filter(|_| *topics),
                            partition: envelope.partition.filter(|_| *partitions),
                            timestamp: envelope.timestamp,
                            key: envelope.key,
                            value: envelope.value,
                            headers: first..batch.headers.len(),
                            ..entry
                        }),
                        Err(why) => return (start, Err(format!("{}: {why}", self.place(self.number)))),
                    }
                }
                Framing::Lines { key: Some(separator), .. } => match find(&self.rest[start..end], separator) {
                    Some(at) => {
                        let (key, value) = (start..start + at, start + at + separator.len()..end);
                        Some(Entry { key: Some(key), value: Some(value), ..entry })
                    }
                    None => Some(Entry { value: Some(start..end), ..entry }),
                },
                _ => Some(Entry { value: Some(start..end), ..entry }),
            };
            batch.entries.extend(entry);
            start = next;
        }
        (start, Ok(()))
    }
}

impl Framing {
    /// How a record of this framing is called.
    pub fn place(&self, number: u64) -> String {
        let what = match self {
            Self::Lines { delimiter, .. } if delimiter != b"\n" => "record",
            Self::Pattern(_) => "record",
            _ => "line",
        };
        format!("{what} {number}")
    }
}

/// Where `needle`, which is not empty, begins.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cut = Vec<(u64, Option<String>, Option<String>)>;

    /// Number, key and value of what is cut, the input coming in pieces of this size.
    fn cut(framing: &Framing, input: &[u8], size: usize) -> (Cut, Result<(), String>) {
        let (mut cutter, mut all) = (Cutter::new(framing.clone(), 0), Vec::new());
        let pieces = input.chunks(size).map(|piece| (piece, false)).chain([(&b""[..], true)]);
        let mut sizes = 0;
        for (piece, is_end) in pieces {
            let (batch, done) = cutter.cut(piece, is_end);
            let text = |span: &Option<std::ops::Range<usize>>| {
                span.as_ref().map(|span| String::from_utf8_lossy(&batch.bytes[span.clone()]).into_owned())
            };
            all.extend(batch.entries.iter().map(|entry| (entry.number, text(&entry.key), text(&entry.value))));
            sizes += batch.size;
            if done.is_err() {
                return (all, done);
            }
        }
        assert_eq!(sizes, input.len(), "every byte is of some batch");
        (all, Ok(()))
    }

    fn lines(delimiter: &[u8], key: Option<&[u8]>) -> Framing {
        Framing::Lines { delimiter: delimiter.to_vec(), key: key.map(<[u8]>::to_vec) }
    }

    fn owned(parts: &[(u64, Option<&str>, Option<&str>)]) -> Cut {
        parts.iter().map(|(n, k, v)| (*n, k.map(str::to_owned), v.map(str::to_owned))).collect()
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        for size in 1..9 {
            let plain = cut(&lines(b"\n", None), b"a\n\nbc\r\nlast", size).0;
            let want = [(1, None, Some("a")), (2, None, Some("")), (3, None, Some("bc\r")), (4, None, Some("last"))];
            assert_eq!(plain, owned(&want), "{size}");
            let long = cut(&lines(b"--\n", Some(b"::")), b"k::v--\nx-\n--\n::--\na::b::c", size).0;
            let want = [
                (1, Some("k"), Some("v")),
                (2, None, Some("x-\n")),
                (3, Some(""), Some("")),
                (4, Some("a"), Some("b::c")),
            ];
            assert_eq!(long, owned(&want), "{size}");
            let repeated = cut(&lines(b"aab", None), b"aaab1aab", size).0;
            assert_eq!(repeated, owned(&[(1, None, Some("a")), (2, None, Some("1"))]), "{size}");
        }
        assert_eq!(cut(&lines(b"\n", None), b"", 1).0, []);
        assert_eq!(cut(&lines(b"\0", None), b"a\0b\0", 2).0.len(), 2);
    }

    #[test]
    fn envelopes_are_lines_and_a_bad_one_is_told_with_its_number() {
        let framing = Framing::Envelopes { topics: false, partitions: false };
        let input = b"{\"key\":\"k\",\"payload\":\"v\"}\n \n{\"payload\":null}\nnonsense\n{}\n";
        for size in [1, 7, 1000] {
            let (all, done) = cut(&framing, input, size);
            assert_eq!(all, owned(&[(1, Some("k"), Some("v")), (3, None, None)]), "{size}");
            assert!(done.unwrap_err().starts_with("line 4: not an envelope"));
        }
    }
}
