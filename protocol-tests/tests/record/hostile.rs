//! Bytes that nobody should write: they give an error (or, where a broker may do it, nothing), never a panic, and never more
//! memory than the limit. All have the right checksum, else they would get no further than that.

use crate::{decode, vectors::vector};
use bytes::Bytes;
use milena::record::{
    batch::{HEADER_LEN, batches},
    compression::{Compression, Compressor},
    varint::{MAX_VARINT_LEN, put_varint, zigzag},
};

/// As small as the largest good batch here allows, so that a bomb is noticed early.
const LIMIT: usize = 1 << 20;

/// A batch of `count` records with this body and the right checksum.
fn batch(codec: Compression, count: i32, body: &[u8]) -> Bytes {
    let mut out = vec![0; HEADER_LEN];
    out[16] = 2;
    out[22] = codec.id() as u8;
    out[23..27].copy_from_slice(&count.saturating_sub(1).max(0).to_be_bytes());
    out[57..61].copy_from_slice(&count.to_be_bytes());
    out.extend_from_slice(body);
    seal(out)
}

/// Puts length and checksum right.
fn seal(mut batch: Vec<u8>) -> Bytes {
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::default().compress(codec, None, input, &mut out).expect("compresses");
    out
}

fn number(out: &mut Vec<u8>, value: i64) {
    let (mut buf, mut n) = ([0; MAX_VARINT_LEN], 0);
    put_varint(&mut buf, &mut n, zigzag(value));
    out.extend_from_slice(&buf[..n]);
}

const NUMBERS: [&str; 7] = [
    "record length",
    "key length",
    "value length",
    "header count",
    "name length",
    "header value length",
    "second name length",
];

/// Two records, the first with one of its numbers replaced: by a fixed one or by one more than the bytes that are left.
fn records(wrong: usize, lie: Option<i64>) -> Vec<u8> {
    fn tail(wrong: usize, lie: Option<i64>) -> Vec<u8> {
        let mut record = vec![0, 0, 0]; // attributes, timestamp and offset deltas
        let fields: [(&[u8], i64); 6] = [(b"key", 3), (b"value", 5), (b"", 2), (b"n1", 2), (b"v", 1), (b"n2", 2)];
        for (index, (bytes, good)) in (1..).zip(fields) {
            let rest: i64 = fields[index..].iter().map(|(bytes, _)| bytes.len() as i64 + 1).sum::<i64>() + 1;
            let lied = lie.unwrap_or(bytes.len() as i64 + rest + 1);
            number(&mut record, if index == wrong { lied } else { good });
            record.extend_from_slice(bytes);
        }
        number(&mut record, -1); // a null header value
        record
    }
    let record = tail(wrong, lie);
    let second = [14, 0, 0, 2, 1, 2, b'x', 0];
    let mut out = Vec::new();
    let lied = lie.unwrap_or((record.len() + second.len()) as i64 + 1);
    number(&mut out, if wrong == 0 { lied } else { record.len() as i64 });
    out.extend_from_slice(&record);
    out.extend_from_slice(&second);
    out
}

#[test]
fn the_record_that_the_lies_are_told_about_is_a_good_one() {
    let found = decode(&batch(Compression::None, 2, &records(usize::MAX, None)), LIMIT).expect("nothing wrong");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].1.headers, [(b"n1".to_vec(), Some(b"v".to_vec())), (b"n2".to_vec(), None)]);
    assert_eq!(found[1].1.value.as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_lie_about_any_length_or_count_in_a_record_is_an_error() {
    let lies = [Some(0x7fff_ffff), Some(i64::MAX), Some(-2), Some(i64::MIN), None];
    for (wrong, name) in NUMBERS.iter().enumerate() {
        for lie in lies {
            let body = records(wrong, lie);
            for codec in Compression::ALL {
                let result = decode(&batch(codec, 2, &compressed(codec, &body)), LIMIT);
                assert!(result.is_err(), "{name} {lie:?} in {codec}: {result:?}");
            }
        }
    }
}

#[test]
fn a_lie_about_the_number_of_records_is_an_error() {
    let body = records(usize::MAX, None);
    for count in [0, 1, 3, i32::MAX, -1, -2, i32::MIN] {
        assert!(decode(&batch(Compression::None, count, &body), LIMIT).is_err(), "{count} instead of 2");
    }
}

#[test]
fn a_lie_about_the_length_of_a_batch_is_an_error_or_a_batch_that_is_not_all_there() {
    let good = batch(Compression::None, 2, &records(usize::MAX, None));
    for length in [-1, -2, i32::MIN, 0, 48] {
        let mut bad = good.to_vec();
        bad[8..12].copy_from_slice(&i32::to_be_bytes(length));
        assert!(decode(&bad.into(), LIMIT).is_err(), "{length}");
    }
    for length in [i32::MAX, good.len() as i32 - 12 + 1] {
        let mut bad = good.to_vec();
        bad[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(decode(&bad.into(), LIMIT).expect("truncated").len(), 0, "{length}");
    }
    let mut bad = good.to_vec();
    bad[8..12].copy_from_slice(&(good.len() as i32 - 12 - 1).to_be_bytes());
    assert!(decode(&bad.into(), LIMIT).is_err(), "one byte less: the checksum is that of another batch");
}

#[test]
fn one_changed_bit_anywhere_under_the_checksum_is_found_before_anything_is_decompressed() {
    for codec in Compression::ALL {
        let good = vector(&format!("record-java-odd-{codec}"));
        for at in 17..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << (at % 8);
            let error = decode(&bad.into(), LIMIT).expect_err("changed").to_string();
            let impossible = (23..27).contains(&at) || (57..61).contains(&at); // deltas and counts below zero
            assert!(error.contains("CRC") || impossible, "{codec}, byte {at}: {error}");
        }
    }
}

#[test]
fn a_body_cut_off_at_any_byte_is_an_error_although_the_checksum_is_right() {
    for client in ["java", "librdkafka", "kafka-python"] {
        for codec in Compression::ALL {
            let good = vector(&format!("record-{client}-odd-{codec}"));
            for cut in HEADER_LEN..good.len() {
                let result = decode(&seal(good[..cut].to_vec()), LIMIT);
                assert!(result.is_err(), "{client} {codec} cut at {cut} of {}", good.len());
            }
        }
    }
}

#[test]
fn random_damage_under_a_right_checksum_never_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % below
    };
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(300);
    for codec in Compression::ALL {
        for name in [format!("record-java-odd-{codec}"), format!("record-librdkafka-odd-{codec}")] {
            let good = vector(&name);
            for _ in 0..rounds {
                let mut bad = good.to_vec();
                for _ in 0..=random(4) {
                    let at = HEADER_LEN + random(bad.len() - HEADER_LEN);
                    match random(3) {
                        0 => bad[at] = random(256) as u8,
                        1 => bad[at] ^= 1 << random(8),
                        _ => bad[at..].rotate_left(random(good.len() - at + 1) % (good.len() - at)),
                    }
                }
                let _ = decode(&seal(bad), LIMIT); // an error, or other records
            }
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for codec in Compression::ALL {
        let body = compressed(codec, &zeros);
        if codec != Compression::None {
            assert!(body.len() < 4 << 20, "{codec} makes {} bytes of 64 MiB", body.len());
            let error = decode(&batch(codec, 1, &body), LIMIT).expect_err("a bomb");
            assert!(error.to_string().contains("limit"), "{codec}: {error}");
        } else {
            assert!(decode(&batch(codec, 1, &body), LIMIT).is_err(), "not records");
        }
    }
}

#[test]
fn an_unknown_codec_is_an_error() {
    for id in 5..8 {
        let mut bad = batch(Compression::None, 1, &[]).to_vec();
        bad[22] = id;
        assert!(decode(&seal(bad), LIMIT).is_err());
    }
}

#[test]
fn a_control_record_of_a_kind_that_we_do_not_know_is_told_apart_and_not_an_error() {
    use milena::record::{
        compression::Decompressor,
        decode::{ControlRecord, open},
    };
    let marker = |key: &[u8]| {
        let mut record = vec![0, 0, 0];
        number(&mut record, key.len() as i64);
        record.extend_from_slice(key);
        record.extend_from_slice(&[0, 0]);
        let mut body = Vec::new();
        number(&mut body, record.len() as i64);
        body.extend_from_slice(&record);
        let mut bytes = batch(Compression::None, 1, &body).to_vec();
        bytes[22] = 0x20;
        seal(bytes)
    };
    let control = |bytes: Bytes| open(&bytes, &mut Decompressor::default(), LIMIT).expect("opens").control();
    assert_eq!(control(marker(&[0, 0, 0, 2])).expect("known"), Some(ControlRecord::Unknown(2)));
    assert_eq!(control(marker(&[0, 1, 0, 1, 9, 9])).expect("of a later version"), Some(ControlRecord::Commit));
    assert!(control(marker(&[0, 0, 0])).is_err(), "too short");
    assert_eq!(control(batch_without_records()).expect("empty"), None);
}

fn batch_without_records() -> Bytes {
    let mut bytes = batch(Compression::None, 0, &[]).to_vec();
    bytes[22] = 0x20;
    seal(bytes)
}

#[test]
fn nothing_but_whole_good_batches_comes_out_of_noise() {
    let mut noise = 1u32;
    let bytes: Vec<u8> = (0..10_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let bytes = Bytes::from(bytes);
    for at in 0..bytes.len() {
        assert!(
            batches(&bytes.slice(at..)).all(|batch| batch.is_err() || batch.is_ok_and(|b| b.verify_crc().is_err()))
        );
    }
}
