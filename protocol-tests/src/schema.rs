//! Random and extreme messages of every API, written by the guard's own table: what the guard reads, the other way
//! round. [`Mark`]s say where a message announces how much follows, so that a test can lie there.

use crate::random::Random;
use milena::wire::guard::{Direction, Field, Kind, Message, NEVER, table};

/// Every message of the table in every version.
pub fn versions() -> impl Iterator<Item = (&'static Message, u8)> {
    table::MESSAGES.iter().flat_map(|message| (message.low..=message.high).map(move |version| (message, version)))
}

/// Fits the failure messages of the tests: `Fetch`'s number, direction and version.
pub fn name(message: &Message, version: u8) -> String {
    format!("{} {:?} v{version}", message.key, message.direction)
}

/// A seed of its own for each message and version.
pub fn seed(message: &Message, version: u8) -> u64 {
    (message.key as u64) << 16 ^ u64::from(version) << 4 ^ message.direction as u64
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The null flag of a struct.
    One,
    /// A string's length.
    Two,
    /// The count of an array, the length of bytes.
    Four,
    /// Any of them in a flexible version.
    Var,
}

/// Where a count, length, tag count, tagged size or null flag stands.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Its first byte.
    pub at: usize,
    /// How it is written.
    pub width: Width,
    /// What it says.
    pub what: &'static str,
}

impl Mark {
    /// `frame` with another number here.
    pub fn replace(&self, frame: &[u8], with: &[u8]) -> Vec<u8> {
        let old = match self.width {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Var => frame[self.at..].iter().position(|byte| *byte < 0x80).expect("a varint ends") + 1,
        };
        [&frame[..self.at], with, &frame[self.at + old..]].concat()
    }
}

/// A random body of `message` in `version`, and where its numbers are. `unknown_tags` adds tagged fields that nobody
/// knows, with the next free tags: a decoder that knew one more tag than the table would show itself.
pub fn body(message: &Message, version: u8, random: &mut Random, unknown_tags: bool) -> (Vec<u8>, Vec<Mark>) {
    let flexible = version >= message.flexible;
    let mut writer = Writer { out: vec![], marks: vec![], version, flexible, random, unknown_tags };
    writer.strukt(message.root, false);
    (writer.out, writer.marks)
}

/// The header that goes before a body: correlation id 9, client id "me".
pub fn header(message: &Message, version: u8) -> Vec<u8> {
    let mut header = match message.direction {
        Direction::Request => {
            let mut header = message.key.to_be_bytes().to_vec();
            header.extend([0, version, 0, 0, 0, 9, 0, 2, b'm', b'e']);
            header
        }
        Direction::Response => vec![0, 0, 0, 9],
    };
    // The response to ApiVersions keeps the old header: a client reads it before it knows the broker.
    if version >= message.flexible && (message.key, message.direction) != (18, Direction::Response) {
        header.push(0);
    }
    header
}

/// An unsigned varint.
pub fn varint(mut n: u32) -> Vec<u8> {
    let mut out = vec![];
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

struct Writer<'r> {
    out: Vec<u8>,
    marks: Vec<Mark>,
    version: u8,
    flexible: bool,
    random: &'r mut Random,
    unknown_tags: bool,
}

impl Writer<'_> {
    fn mark(&mut self, width: Width, what: &'static str) {
        self.marks.push(Mark { at: self.out.len(), width, what });
    }

    fn number(&mut self, n: i64, short: bool, what: &'static str) {
        if self.flexible {
            self.var((n + 1) as u32, what);
        } else if short {
            self.mark(Width::Two, what);
            self.out.extend((n as i16).to_be_bytes());
        } else {
            self.mark(Width::Four, what);
            self.out.extend((n as i32).to_be_bytes());
        }
    }

    fn var(&mut self, n: u32, what: &'static str) {
        self.mark(Width::Var, what);
        self.out.extend(varint(n));
    }

    fn blob(&mut self, short: bool, nullable: bool, tagged: bool) {
        if nullable && !tagged && self.random.one_in(3) {
            return self.number(-1, short, "length");
        }
        let length = self.random.below(6) as i64 + i64::from(tagged);
        self.number(length, short, "length");
        for _ in 0..length {
            let letter = b'a' + self.random.below(26) as u8;
            self.out.push(letter);
        }
    }

    /// Zeros and ones: a bool must come back as it was. A tagged value is never its default, which is not written.
    fn fixed(&mut self, size: u8, tagged: bool) {
        for _ in 0..size {
            let byte = if tagged { 1 } else { self.random.below(2) as u8 };
            self.out.push(byte);
        }
    }

    fn field(&mut self, field: &Field, tagged: bool) {
        let nullable = self.version >= field.null;
        match field.kind {
            Kind::Fixed(size) => self.fixed(size, tagged),
            Kind::Str => self.blob(true, nullable, tagged),
            Kind::Bytes => self.blob(false, nullable, tagged),
            Kind::Struct(id) => {
                if nullable {
                    self.mark(Width::One, "null flag");
                    let null = !tagged && self.random.one_in(3);
                    self.out.push(if null { 0xff } else { 1 });
                    if null {
                        return;
                    }
                }
                self.strukt(id, tagged);
            }
            Kind::Fixeds(_) | Kind::Strs | Kind::Structs(_) => {
                if nullable && !tagged && self.random.one_in(3) {
                    return self.number(-1, false, "count");
                }
                let count = self.random.below(3) as i64 + i64::from(tagged);
                self.number(count, false, "count");
                for _ in 0..count {
                    match field.kind {
                        Kind::Fixeds(size) => self.fixed(size, tagged),
                        Kind::Structs(id) => self.strukt(id, tagged),
                        _ => self.blob(true, false, tagged),
                    }
                }
            }
        }
    }

    fn strukt(&mut self, id: u16, tagged: bool) {
        let fields = table::STRUCTS[usize::from(id)].fields;
        let version = self.version;
        let present = |field: &&Field| field.from <= version && version <= field.to;
        for field in fields.iter().filter(|field| field.tag == NEVER && present(field)) {
            self.field(field, tagged);
        }
        if self.flexible {
            let mut known: Vec<_> = fields.iter().filter(|field| field.tag != NEVER && present(field)).collect();
            known.sort_by_key(|field| field.tag);
            self.tags(known, fields);
        }
    }

    fn tags(&mut self, mut known: Vec<&Field>, fields: &[Field]) {
        known.retain(|_| self.random.one_in(2));
        let unknown = if self.unknown_tags && self.random.one_in(4) { self.random.below(3) as u32 + 1 } else { 0 };
        self.var(known.len() as u32 + unknown, "tag count");
        for field in known {
            self.out.extend(varint(field.tag.into()));
            // The size stands before the value: write the value apart first.
            let (outer, marks) = (std::mem::take(&mut self.out), std::mem::take(&mut self.marks));
            self.field(field, true);
            let value = std::mem::replace(&mut self.out, outer);
            let inner = std::mem::replace(&mut self.marks, marks);
            self.var(value.len() as u32, "tagged size");
            let base = self.out.len();
            self.marks.extend(inner.into_iter().map(|mark| Mark { at: mark.at + base, ..mark }));
            self.out.extend(value);
        }
        let tags = fields.iter().filter(|field| field.tag != NEVER).map(|field| u32::from(field.tag));
        let free = tags.max().map_or(0, |tag| tag + 1);
        for tag in free..free + unknown {
            self.out.extend(varint(tag));
            let size = self.random.below(4) as u32;
            self.var(size, "tagged size");
            self.out.extend((0..size).map(|_| 7));
        }
    }
}
