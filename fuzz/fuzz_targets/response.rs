//! An answer of any API at any version, as the client reads it, a request as a broker does, and what members of a group say to
//! each other. The first byte is the API's number (100 and up: what is read by hand), the second its version, with the upper bit
//! set for an answer; the rest is the frame. What is read is written again, and is such a message too.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena::wire::fetch;
use milena::wire::group_protocol::{Subscription, decode_assignment, decode_sticky, encode_assignment, encode_sticky};
use milena::wire::guard::{Direction, check, memory_limit};
use milena_fuzz::heap;
use protocol_tests::apis::{Again, Decoded, codec};

#[global_allocator]
static HEAP: heap::Limited = heap::Limited;

fuzz_target!(|data: &[u8]| {
    let [api, version, frame @ ..] = data else { return };
    let direction = if version & 0x80 == 0 { Direction::Request } else { Direction::Response };
    let version = version & 0x7f;
    let frame = Bytes::copy_from_slice(frame);
    let limit = memory_limit(frame.len());
    let hand_written: [&dyn Fn(); 4] = [
        &|| drop(fetch::decode(4 + i16::from(version) % 14, &frame)),
        &|| {
            let Ok(read) = Subscription::decode(frame.clone()) else { return };
            let again = Subscription::decode(read.encode().expect("it was read")).expect("our own");
            assert_eq!((again.topics.len(), again.owned.len()), (read.topics.len(), read.owned.len()));
        },
        &|| {
            let Ok(read) = decode_assignment(frame.clone()) else { return };
            let again = decode_assignment(encode_assignment(&read).expect("it was read")).expect("our own");
            assert_eq!(again.len(), read.len());
        },
        &|| {
            let Ok((read, generation)) = decode_sticky(frame.clone()) else { return };
            // A name of bytes that are no text becomes longer, and may be too long to be said.
            if let Ok(said) = encode_sticky(&read, generation) {
                let again = decode_sticky(said).expect("our own");
                assert_eq!((again.0.len(), again.1), (read.len(), generation));
            }
        },
    ];
    if let Some(read) = hand_written.get(usize::from(*api).wrapping_sub(100)) {
        return heap::within(limit, read);
    }
    // 255 and 254 are -1 and -2, messages without an API.
    let Some(codec) = codec(i16::from(api.cast_signed()), direction, version) else { return };
    let version = i16::from(version);
    match codec.frame {
        // The client's and the broker's way, header included.
        Some(decode) => heap::within(limit, || drop(decode(version, frame.clone()))),
        None => {
            if check(codec.key, version, codec.direction, &frame).is_err() {
                return;
            }
            let mut again = None;
            heap::within(limit + 2 * frame.len(), || again = Some((codec.decode)(&frame, version, Again::Encode)));
            if let Some(Decoded::Done(left, again)) = again {
                assert_eq!(left, 0, "{} {:?} v{version}", codec.key, codec.direction);
                assert_eq!(check(codec.key, version, codec.direction, &again), Ok(()), "written again");
            }
        }
    }
});
