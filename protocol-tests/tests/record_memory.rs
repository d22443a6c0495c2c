//! What the record codec allocates: nothing per record, nothing per batch once its buffers are there, and no more than the
//! limit for a decompression bomb. Its own binary, as the allocator counts for the whole process.

use milena::{
    ids::ProducerIdAndEpoch,
    record::{
        DEFAULT_DECOMPRESSED_LIMIT, Header,
        batch::RawBatch,
        compression::{Compression, Compressor, Decompressor},
        decode::{SharedBatch, open},
        encode::RecordEncoder,
    },
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::{alloc::System, hint::black_box, sync::Mutex};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What `work` gives and allocates, in the best of five runs: the test harness has threads of its own, and what they
/// allocate meanwhile is counted too. What `work` itself allocates, it allocates every time.
fn counted<R>(mut work: impl FnMut() -> R) -> (R, Stats) {
    counted_after(|| (), |()| work())
}

/// The same, with what each run needs made before the count.
fn counted_after<S, R>(mut setup: impl FnMut() -> S, mut work: impl FnMut(S) -> R) -> (R, Stats) {
    let run = |_| {
        let start = setup();
        let region = Region::new(ALLOCATOR);
        let result = work(start);
        (result, region.change())
    };
    (0..5).map(run).min_by_key(|(_, stats)| (stats.allocations, stats.bytes_allocated)).expect("five runs")
}

const RECORDS: u32 = 10_000;

fn fill(encoder: &mut RecordEncoder) {
    let headers = [Header { name: b"trace", value: Some(b"0123456789abcdef") }];
    for i in 0..RECORDS {
        let value = [b'v'; 100];
        let headers = if i % 10 == 0 { &headers[..] } else { &[] };
        encoder.append(1_700_000_000_000 + i64::from(i), Some(&i.to_be_bytes()), Some(&value), headers).expect("room");
    }
}

fn batch(codec: Compression) -> bytes::Bytes {
    let mut encoder = RecordEncoder::new(Vec::new(), 4 << 20);
    fill(&mut encoder);
    let (body, _) = encoder.seal(codec, None, &mut Compressor::default()).expect("compresses");
    body.to_batch(ProducerIdAndEpoch::NONE, -1, false)
}

fn read(batch: &[u8], scratch: &mut Decompressor) -> (u32, usize) {
    let (mut records, mut bytes) = (0, 0);
    for record in open(batch, scratch, DEFAULT_DECOMPRESSED_LIMIT).expect("opens") {
        let record = record.expect("a good record");
        records += 1;
        bytes += record.value.map_or(0, <[u8]>::len) + record.headers.map(|h| h.name.len()).sum::<usize>();
    }
    (records, bytes)
}

#[test]
fn decoding_a_batch_allocates_nothing_once_the_buffers_are_there() {
    let _alone = ALONE.lock();
    for codec in Compression::ALL {
        let (batch, mut scratch) = (batch(codec), Decompressor::default());
        assert_eq!(read(&batch, &mut scratch).0, RECORDS);
        let (_, stats) = counted(|| black_box(read(&batch, &mut scratch)));
        let most = if codec == Compression::Gzip { 1 } else { 0 }; // zlib-rs makes its state anew for each stream
        assert!(stats.allocations <= most && stats.reallocations == 0, "{codec}: {stats:?}");
    }
}

#[test]
fn appending_allocates_nothing_and_sealing_only_what_is_kept() {
    let _alone = ALONE.lock();
    for codec in Compression::ALL {
        let mut compressor = Compressor::default();
        let mut encoder = RecordEncoder::new(Vec::new(), 4 << 20);
        fill(&mut encoder);
        let capacity = encoder.capacity();
        encoder.seal(codec, None, &mut compressor).expect("compresses");
        let empty = || RecordEncoder::new(Vec::with_capacity(capacity), 4 << 20);
        let full = || {
            let mut encoder = empty();
            fill(&mut encoder);
            encoder
        };
        let (_, stats) = counted_after(empty, |mut encoder| {
            fill(&mut encoder);
            encoder
        });
        assert_eq!((stats.allocations, stats.reallocations), (0, 0), "{codec}: append");
        let seal = |encoder: RecordEncoder| encoder.seal(codec, None, &mut compressor).expect("compresses");
        let ((body, buffer), stats) = counted_after(full, seal);
        assert!(stats.allocations <= 3, "{codec}: {} allocations to seal", stats.allocations);
        let kept = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        assert!(kept <= body.bytes().len() + 128, "{codec}: {kept} bytes for {}", body.bytes().len());
        assert_eq!(buffer.is_none(), codec == Compression::None);
        let (_, stats) = counted(|| black_box(body.head(ProducerIdAndEpoch { id: 1, epoch: 2 }, 3, false)));
        assert_eq!(stats.allocations, 0, "{codec}: head");
    }
}

#[test]
fn a_batch_opened_to_be_shared_keeps_no_more_than_its_records() {
    let _alone = ALONE.lock();
    let size = batch(Compression::None).len();
    for codec in Compression::ALL {
        let (batch, mut scratch) = (RawBatch::parse(&batch(codec)).expect("a batch"), Decompressor::default());
        let open = |scratch: &mut Decompressor| SharedBatch::open(&batch, scratch, DEFAULT_DECOMPRESSED_LIMIT);
        open(&mut scratch).expect("opens");
        let (shared, stats) = counted(|| open(&mut scratch).expect("opens"));
        let most = if codec == Compression::None { 0 } else { size };
        let kept = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        assert!(kept <= most && stats.allocations <= 3, "{codec}: {stats:?}");
        let (_, stats) = counted(|| {
            for record in shared.records() {
                black_box(shared.share(record.expect("good").value.expect("a value")));
            }
        });
        assert!(stats.allocations <= 1, "{codec}: {} allocations to share {RECORDS} values", stats.allocations);
    }
}

#[test]
fn a_bomb_takes_little_more_memory_than_the_limit() {
    let _alone = ALONE.lock();
    const LIMIT: usize = 1 << 20;
    let zeros = vec![0; 16 << 20];
    for codec in Compression::ALL {
        let mut bomb = Vec::new();
        Compressor::default().compress(codec, None, &zeros, &mut bomb).expect("compresses");
        let (result, stats) = counted(|| Decompressor::default().decompress(codec, &bomb, LIMIT).map(<[u8]>::len));
        assert!(result.is_err(), "{codec}");
        let most = 10 * LIMIT; // in all that time, not at once: buffers grow, and zstd has a window besides
        let taken = stats.bytes_allocated as isize + stats.bytes_reallocated.max(0);
        assert!(taken < most as isize || codec == Compression::None, "{codec}: {taken} bytes");
    }
}
