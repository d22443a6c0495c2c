//! Operations on the accumulator and its sender: what holds is in `protocol_tests::operations::accumulator`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| protocol_tests::operations::accumulator::play(bytes));
