//! A stream of request frames to the test broker: what holds is in `protocol_tests::operations::connection`. The mutator bends
//! one frame at a time and keeps the lengths right, or all behind the first change would be one frame.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use milena_fuzz::heap;
use protocol_tests::operations::connection::{frames, memory_limit, play};

#[global_allocator]
static HEAP: heap::Limited = heap::Limited;

fuzz_target!(|stream: &[u8]| {
    heap::within(memory_limit(stream.len()), || play(stream));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let frames: Vec<Vec<u8>> = frames(&data[..size]).into_iter().map(<[u8]>::to_vec).collect();
    if frames.is_empty() || seed % 16 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut frames = frames;
    let (at, other) = ((seed / 16) as usize % frames.len(), (seed / 4_096) as usize % frames.len());
    match seed % 8 {
        1 => frames.swap(at, other),
        2 => frames.insert(at, frames[other].clone()),
        3 => drop(frames.remove(at)),
        _ => {
            let frame = &mut frames[at];
            let length = frame.len();
            // Key and version mostly stay: another version of the same is another frame.
            let kept = if seed % 64 < 56 { length.min(4) } else { 0 };
            let room = length + 64;
            frame.resize(room, 0);
            let length = kept + fuzzer_mutate(&mut frame[kept..], length - kept, room - kept);
            frame.truncate(length);
        }
    }
    let mut out = Vec::new();
    for frame in &frames {
        out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        out.extend_from_slice(frame);
    }
    let length = out.len().min(max_size);
    data[..length].copy_from_slice(&out[..length]);
    length
});
