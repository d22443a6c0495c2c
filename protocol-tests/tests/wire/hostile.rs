//! A peer that lies. Eight bytes from outside make kafka-protocol 0.18 reserve 64 GiB and abort the process
//! (`Vec::with_capacity` of a count from the wire); so do their siblings in every array of every API. Here every
//! count, length, tag count, tagged size and null flag of every message and version says what its bytes don't bear out.

use bytes::Bytes;
use milena::error::ErrorKind;
use milena::wire::guard::check;
use protocol_tests::apis::codec;
use protocol_tests::random::{Random, rounds};
use protocol_tests::schema::{Mark, Width, body, header, name, seed, varint, versions};

#[test]
fn the_guard_refuses_every_number_that_its_bytes_do_not_bear_out() {
    let mut refused = 0;
    for (message, version) in versions() {
        let mut random = Random::new(seed(message, version));
        for round in 0..rounds(40) {
            let (frame, marks) = body(message, version, &mut random, round % 2 == 1);
            for mark in &marks {
                for with in lies(mark, frame.len()) {
                    let hostile = mark.replace(&frame, &with);
                    let verdict = check(message.key, version.into(), message.direction, &hostile);
                    let what = mark.what;
                    assert!(verdict.is_err(), "{}: {with:x?} as {what} in {hostile:x?}", name(message, version));
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 500_000, "only {refused} lies were told");
}

/// The same through the doors that the client and the test broker use, so that no API has a way around the guard.
#[test]
fn every_api_we_decode_gives_a_clean_error() {
    let mut tried = 0;
    for (message, version) in versions() {
        let Some(decode) = codec(message.key, message.direction, version).and_then(|codec| codec.frame) else {
            continue;
        };
        let mut random = Random::new(!seed(message, version));
        for round in 0..rounds(30) {
            let header = header(message, version);
            let (body, marks) = body(message, version, &mut random, round % 2 == 1);
            let whole = Bytes::from([&header[..], &body].concat());
            decode(version.into(), whole).unwrap_or_else(|why| panic!("{}: {why}", name(message, version)));
            for mark in &marks {
                for with in lies(mark, body.len()) {
                    let hostile = Bytes::from([&header[..], &mark.replace(&body, &with)].concat());
                    let error = decode(version.into(), hostile).expect_err(mark.what);
                    assert_eq!(error.kind(), ErrorKind::Malformed, "{}: {error}", name(message, version));
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 300_000, "only {tried} lies were told");
}

/// What can't be true here: the largest, negative ones that do not mean null, one more than there are bytes left, and
/// varints that are too long.
fn lies(mark: &Mark, len: usize) -> Vec<Vec<u8>> {
    let left = len - mark.at;
    match mark.width {
        Width::One => vec![vec![0], vec![2], vec![0x7f], vec![0x80]],
        Width::Two => [i16::MAX, -2, i16::MIN, left as i16 - 1].map(|n| n.to_be_bytes().to_vec()).into(),
        Width::Four => [i32::MAX, -2, i32::MIN, left as i32 - 3].map(|n| n.to_be_bytes().to_vec()).into(),
        Width::Var => vec![
            varint(u32::MAX),
            varint(0x8000_0000),
            varint(0x7fff_ffff),
            varint(left as u32 + 1),
            vec![0xff; 5],
            vec![0x80, 0x80, 0x80, 0x80, 0x10],
            vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        ],
    }
}
