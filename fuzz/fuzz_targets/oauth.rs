//! What a token endpoint, a token and a broker say to OAUTHBEARER: what holds is in `protocol_tests::operations::oauth`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| protocol_tests::operations::oauth::play(bytes));
