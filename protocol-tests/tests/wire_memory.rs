//! The guard's promise on memory, measured on the heap: a frame that passes decodes within `memory_limit` of its
//! length, whether it is damaged, noise, or as dear as the schema allows. A binary of its own, because it counts with
//! the global allocator, and the tests take turns.

use bytes::Bytes;
use milena::wire::guard::{Kind, Message, NEVER, Reason, check, memory_limit, table};
use peak_alloc::PeakAlloc;
use protocol_tests::apis::{Again, Decoded, codec};
use protocol_tests::random::{Random, rounds};
use protocol_tests::schema::{body, name, seed, varint, versions};
use std::sync::{Mutex, MutexGuard};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn damaged_messages_decode_within_the_limit_or_are_refused() {
    let _turn = turn();
    let mut decoded = 0;
    for (message, version) in versions() {
        let mut random = Random::new(seed(message, version));
        for round in 0..rounds(20) {
            let (frame, _) = body(message, version, &mut random, round % 2 == 1);
            for _ in 0..if frame.is_empty() { 0 } else { 30 } {
                let mut hostile = frame.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(hostile.len() as u64) as usize;
                    hostile[at] = [0, 1, 2, 3, 0x7f, 0x80, 0xff, hostile[at] ^ 1][random.below(8) as usize];
                }
                decoded += u64::from(decodes_within_the_limit(message, version, hostile));
            }
        }
    }
    assert!(decoded > 50_000, "only {decoded} damaged frames got as far as the decoder");
}

#[test]
fn noise_decodes_within_the_limit_or_is_refused() {
    let _turn = turn();
    let mut random = Random::new(99);
    for (message, version) in versions() {
        for round in 0..rounds(200) {
            let values = if round % 2 == 0 { 256 } else { 4 };
            let noise = (0..random.below(200)).map(|_| random.below(values) as u8).collect();
            decodes_within_the_limit(message, version, noise);
        }
    }
}

/// Each array filled with its smallest elements, with and without an unknown tagged field in each: up to 51 and 120
/// bytes of memory for each byte. Without `ROUNDS` only the versions at either end of the two encodings, and small frames.
#[test]
fn the_dearest_messages_decode_within_the_limit_or_are_refused() {
    let _turn = turn();
    for (message, version) in versions() {
        let flexible = version >= message.flexible;
        let ends = [message.low, message.flexible.saturating_sub(1), message.flexible, message.high];
        let all = rounds(0) > 0;
        if !all && !ends.contains(&version) {
            continue;
        }
        for path in arrays(message.root, version) {
            for (tag, target) in [(false, 100_000), (true, 100_000), (false, 400_000)] {
                if tag && !flexible || target > 100_000 && !all {
                    continue;
                }
                let mut frame = vec![];
                Dear { version, flexible, target, tag }.write(&mut frame, message.root, &path);
                let name = format!("{} path {path:?} tag {tag}", name(message, version));
                match check(message.key, version.into(), message.direction, &frame) {
                    Ok(()) => assert!(decodes_within_the_limit(message, version, frame) || unknown(message, version)),
                    Err(why) => {
                        assert_eq!(why.reason, Reason::Memory, "{name}");
                        assert!(tag || target > 119_000, "{name}: a frame of known fields that small has to pass");
                    }
                }
            }
        }
    }
}

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn unknown(message: &Message, version: u8) -> bool {
    codec(message.key, message.direction, version).is_none()
}

/// Whether the decoder saw it, and read it to the end.
fn decodes_within_the_limit(message: &Message, version: u8, frame: Vec<u8>) -> bool {
    let Some(codec) = codec(message.key, message.direction, version) else { return false };
    if check(message.key, version.into(), message.direction, &frame).is_err() {
        return false;
    }
    let frame = Bytes::from(frame);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let done = (codec.decode)(&frame, version.into(), Again::No);
    let used = HEAP.peak_usage() - before;
    assert!(used <= memory_limit(frame.len()), "{}: {used} bytes for {}", name(message, version), frame.len());
    match done {
        Decoded::Done(left, _) => {
            assert_eq!(left, 0, "{}: {frame:x?}", name(message, version));
            true
        }
        Decoded::Failed(why) if why.contains("utf-8") => false, // the one thing that the guard leaves to the decoder
        Decoded::Failed(why) => panic!("{}: passed the guard, but: {why}", name(message, version)),
    }
}

/// Paths (field numbers) to every array of strings or structs in a version.
fn arrays(id: u16, version: u8) -> Vec<Vec<usize>> {
    let mut paths = vec![];
    for (at, field) in table::STRUCTS[usize::from(id)].fields.iter().enumerate() {
        if field.from > version || version > field.to || field.tag != NEVER {
            continue;
        }
        if let Kind::Strs | Kind::Structs(_) = field.kind {
            paths.push(vec![at]);
        }
        if let Kind::Struct(inner) | Kind::Structs(inner) = field.kind {
            paths.extend(arrays(inner, version).into_iter().map(|rest| [vec![at], rest].concat()));
        }
    }
    paths
}

/// Writes a message that is empty but for one array, which is filled to `target` bytes with its smallest elements.
struct Dear {
    version: u8,
    flexible: bool,
    target: usize,
    tag: bool,
}

impl Dear {
    fn write(&self, out: &mut Vec<u8>, id: u16, path: &[usize]) {
        for (at, field) in table::STRUCTS[usize::from(id)].fields.iter().enumerate() {
            if field.from > self.version || self.version > field.to || field.tag != NEVER {
                continue;
            }
            let rest = path.split_first().filter(|(first, _)| **first == at).map(|(_, rest)| rest);
            match (field.kind, rest) {
                (Kind::Fixed(size), _) => out.extend((0..size).map(|_| 0)),
                (Kind::Str, _) => self.number(out, 0, true),
                (Kind::Struct(_), None) if self.version >= field.null => out.push(0xff),
                (Kind::Struct(inner), rest) => {
                    if self.version >= field.null {
                        out.push(1);
                    }
                    self.write(out, inner, rest.unwrap_or_default());
                }
                (Kind::Strs, Some(_)) => {
                    let empty: &[u8] = if self.flexible { &[1] } else { &[0, 0] };
                    self.fill(out, empty);
                }
                (Kind::Structs(inner), Some([])) => {
                    let mut one = vec![];
                    self.write(&mut one, inner, &[]);
                    if self.tag {
                        one.pop();
                        one.extend([1, 100, 0]);
                    }
                    self.fill(out, &one);
                }
                (Kind::Structs(inner), Some(rest)) => {
                    self.number(out, 1, false);
                    self.write(out, inner, rest);
                }
                _ => self.number(out, 0, false),
            }
        }
        if self.flexible {
            out.push(0);
        }
    }

    fn fill(&self, out: &mut Vec<u8>, element: &[u8]) {
        let count = (self.target / element.len()).max(1);
        self.number(out, count as i64, false);
        out.extend(element.repeat(count));
    }

    fn number(&self, out: &mut Vec<u8>, n: i64, short: bool) {
        match (self.flexible, short) {
            (true, _) => out.extend(varint((n + 1) as u32)),
            (false, true) => out.extend((n as i16).to_be_bytes()),
            (false, false) => out.extend((n as i32).to_be_bytes()),
        }
    }
}
