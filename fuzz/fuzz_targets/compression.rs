//! Each codec against a second implementation of it: what either writes the other reads, and bytes are the same to both, or
//! no such thing to both. Where the two may differ is listed below. The first byte chooses codec and level.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena::record::compression::{Compression, Compressor, Decompressor};
use milena_fuzz::{heap, second};

#[global_allocator]
static HEAP: heap::Limited = heap::Limited;

const LIMIT: usize = 1 << 18;
/// The tables of all codecs at their highest levels, and what the second implementations keep.
const TABLES: usize = 256 << 20;

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    heap::within(TABLES + 16 * data.len() + 8 * LIMIT, || look(*choice, data));
});

fn look(choice: u8, data: &[u8]) {
    let codec = Compression::ALL[usize::from(choice) % 5];
    let level = (choice / 5 != 0).then_some(i32::from(choice / 5) % 9 + 1);
    let theirs: second::Decompress = match codec {
        Compression::Gzip => second::gzip,
        Compression::Lz4 => second::lz4,
        Compression::Snappy => second::snappy,
        Compression::Zstd => second::zstd,
        _ => |input, limit| (input.len() <= limit).then(|| input.to_vec()),
    };
    let mut decompressor = Decompressor::default();
    let ours = decompressor.decompress(codec, data, LIMIT).map(<[u8]>::to_vec);
    let second = theirs(data, LIMIT);
    match (&ours, &second) {
        (Ok(ours), Some(second)) => assert_eq!(ours, second, "{codec:?}"),
        (Err(why), Some(second)) => assert!(may_refuse(codec, data), "{codec:?}: {why}, and it is {second:?}"),
        (Ok(ours), None) => assert!(may_accept(codec, data), "{codec:?}: {ours:?}, and it is no such thing"),
        (Err(_), None) => {}
    }
    // What we write.
    let mut compressed = Vec::new();
    Compressor::default().compress(codec, level, data, &mut compressed).expect("a good level");
    assert_eq!(decompressor.decompress(codec, &compressed, data.len()).expect("its own"), data);
    if let Some(limit) = data.len().checked_sub(1) {
        assert!(decompressor.decompress(codec, &compressed, limit).is_err());
    }
    assert_eq!(theirs(&compressed, data.len()).as_deref(), Some(data), "{codec:?} can't be read by others");
    // What others write.
    if let Some(compressed) = second::compress(codec.name(), choice, data) {
        assert_eq!(decompressor.decompress(codec, &compressed, data.len()).expect("another's"), data, "{codec:?}");
    }
}

/// What the other takes and we don't.
fn may_refuse(codec: Compression, data: &[u8]) -> bool {
    match codec {
        // libdeflate does not look at the checksum of a member's header (FHCRC); zlib does.
        Compression::Gzip => data.get(3).is_some_and(|flags| flags & 2 != 0) || members(data) > 1,
        // Dictionaries, which Kafka has no way to agree on, and frames that are to be skipped: no client writes either.
        Compression::Lz4 => {
            // A match with the offset 0, which the format calls corrupt and liblz4 reads as zeros: two zero bytes are in it.
            let may_have_offset_zero = data.windows(2).any(|two| two == [0, 0]);
            let skipped = data.windows(4).any(|four| four[0] & 0xf0 == 0x50 && four[1..] == [0x2a, 0x4d, 0x18]);
            may_have_offset_zero || skipped || data.windows(5).any(|head| head[..4] == LZ4_MAGIC && head[4] & 3 != 0)
        }
        _ => false,
    }
}

/// What we take and the other doesn't.
fn may_accept(codec: Compression, data: &[u8]) -> bool {
    match codec {
        // No bytes are no frames: what is missing shows in the count of records.
        Compression::Zstd | Compression::Snappy if data.is_empty() => true,
        // liblz4 wants the last five bytes of a block to be literals, which is a rule for who writes.
        Compression::Lz4 => data.len() > 11,
        _ => false,
    }
}

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// How many gzip members there may be.
fn members(data: &[u8]) -> usize {
    data.windows(3).filter(|head| *head == [0x1f, 0x8b, 8]).count()
}
