//! A stream of frames: each is taken whole or refused, never past the limit, and together they are the stream again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use milena::wire::{frame::take_frame, request::peek_request};

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut stream = BytesMut::from(data);
    let mut taken = 0;
    while let Ok(Some(frame)) = take_frame(&mut stream, LIMIT) {
        assert!(frame.len() <= LIMIT);
        assert_eq!(frame, data[taken + 4..taken + 4 + frame.len()]);
        taken += 4 + frame.len();
        let _ = peek_request(&frame);
    }
    assert_eq!(stream.len(), data.len() - taken);
});
