//! Operations on a member of a group, and any answers: what holds is in `protocol_tests::operations::membership`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| protocol_tests::operations::membership::play(bytes));
