//! Both directions of every codec: bytes are decompressed, to an error or to no more than the limit; and compressed, to come
//! back as they were. The first byte chooses codec and level.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena::record::compression::{Compression, Compressor, Decompressor};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let codec = Compression::ALL[usize::from(*choice) % 5];
    let level = (choice / 5 != 0).then_some(i32::from(choice / 5) % 9 + 1);
    let mut decompressor = Decompressor::default();
    if let Ok(out) = decompressor.decompress(codec, data, LIMIT) {
        assert!(out.len() <= LIMIT);
    }
    let mut compressed = Vec::new();
    Compressor::default().compress(codec, level, data, &mut compressed).expect("a good level");
    assert_eq!(decompressor.decompress(codec, &compressed, data.len()).expect("its own"), data);
    if let Some(limit) = data.len().checked_sub(1) {
        assert!(decompressor.decompress(codec, &compressed, limit).is_err());
    }
});
