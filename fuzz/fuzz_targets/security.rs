//! Properties, JAAS, PEM, and what a broker says in SASL: what holds is in `protocol_tests::operations::security`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| protocol_tests::operations::security::play(bytes));
