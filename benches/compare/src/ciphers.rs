//! What the ciphers of TLS 1.3 cost, without a client: graviola beside the OpenSSL that librdkafka has, in place, records
//! of 16 KB. One thread, its CPU.

use crate::peers::openssl as version;
use crate::table::{self, Spread};
use graviola::aead::{AesGcm, ChaCha20Poly1305};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use std::rc::Rc;
use std::time::Duration;

const RECORD: usize = 16 << 10;
const RECORDS: usize = 20_000;
const ROUNDS: usize = 7;
const NONCE: [u8; 12] = [7; 12];
const HEADER: [u8; 5] = [23, 3, 3, 64, 17];

/// A cipher that seals one record in place, or opens what it has sealed.
type Work = Box<dyn FnMut(&mut [u8], &mut [u8; 16])>;

/// Prints nanoseconds for a kilobyte.
pub fn run() {
    println!("{}; medians of {ROUNDS} interleaved rounds of {RECORDS} records", version());
    table::head(
        "CPU in ns a KB of 1,024 bytes",
        &["", "graviola seals", "OpenSSL seals", "graviola opens", "OpenSSL opens"],
    );
    for (name, mut work) in [
        (
            "AES-128-GCM",
            [gcm(16, true), other(Cipher::aes_128_gcm(), true), gcm(16, false), other(Cipher::aes_128_gcm(), false)],
        ),
        (
            "AES-256-GCM",
            [gcm(32, true), other(Cipher::aes_256_gcm(), true), gcm(32, false), other(Cipher::aes_256_gcm(), false)],
        ),
        ("CHACHA20-POLY1305", {
            let cipher = Cipher::chacha20_poly1305;
            [chacha(true), other(cipher(), true), chacha(false), other(cipher(), false)]
        }),
    ] {
        let mut rounds = vec![Vec::new(); work.len()];
        for _ in 0..ROUNDS {
            for (work, rounds) in work.iter_mut().zip(&mut rounds) {
                rounds.push(measured(work));
            }
        }
        let cells = rounds.into_iter().map(|rounds| Spread::of(rounds).expect("there are rounds").text(0));
        table::row([name.to_owned()].into_iter().chain(cells));
    }
}

fn measured(work: &mut Work) -> f64 {
    let (mut record, mut tag) = (vec![1; RECORD], [0; 16]);
    let before = cpu();
    for _ in 0..RECORDS {
        work(&mut record, &mut tag);
    }
    (cpu() - before).as_nanos() as f64 / (RECORDS * RECORD / 1024) as f64
}

fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to nothing but this.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn gcm(key: usize, seal: bool) -> Work {
    let cipher = Rc::new(AesGcm::new(&vec![9; key]));
    let other = cipher.clone();
    work(
        seal,
        move |record, tag| cipher.encrypt(&NONCE, &HEADER, record, tag),
        move |record, tag| other.decrypt(&NONCE, &HEADER, record, tag).is_ok(),
    )
}

fn chacha(seal: bool) -> Work {
    let cipher = Rc::new(ChaCha20Poly1305::new([9; 32]));
    let other = cipher.clone();
    work(
        seal,
        move |record, tag| cipher.encrypt(&NONCE, &HEADER, record, tag),
        move |record, tag| other.decrypt(&NONCE, &HEADER, record, tag).is_ok(),
    )
}

/// Opening what is no message of ours costs the same, but that the buffer is cleared: hence a tag that fits, made anew by
/// sealing the message back, is not timed. A stream cipher makes zeros of a fixed message each time, so one tag fits all.
fn work(
    seal: bool,
    encrypt: impl Fn(&mut [u8], &mut [u8; 16]) + 'static,
    decrypt: impl Fn(&mut [u8], &[u8; 16]) -> bool + 'static,
) -> Work {
    if seal {
        return Box::new(move |record, tag| encrypt(record, tag));
    }
    let (mut sealed, mut fits) = (vec![1; RECORD], [0; 16]);
    encrypt(&mut sealed, &mut fits);
    Box::new(move |record, _| {
        record.copy_from_slice(&sealed);
        assert!(decrypt(record, &fits), "it is what was sealed");
    })
}

fn other(cipher: &'static openssl::cipher::CipherRef, seal: bool) -> Work {
    let key = vec![9; cipher.key_length()];
    let mut context = CipherCtx::new().expect("a context");
    let seal_in = |context: &mut CipherCtx, record: &mut [u8], tag: &mut [u8; 16]| {
        context.encrypt_init(None, None, Some(&NONCE)).expect("a nonce");
        context.cipher_update(&HEADER, None).expect("a header");
        let length = record.len();
        context.cipher_update_inplace(record, length).expect("sealed");
        context.cipher_final(&mut []).expect("no block is left over");
        context.tag(tag).expect("a tag");
    };
    context.encrypt_init(Some(cipher), Some(&key), None).expect("a key");
    if seal {
        return Box::new(move |record, tag| seal_in(&mut context, record, tag));
    }
    let (mut sealed, mut fits) = (vec![1; RECORD], [0; 16]);
    seal_in(&mut context, &mut sealed, &mut fits);
    context.decrypt_init(Some(cipher), Some(&key), None).expect("a key");
    Box::new(move |record, _| {
        record.copy_from_slice(&sealed);
        context.decrypt_init(None, None, Some(&NONCE)).expect("a nonce");
        context.cipher_update(&HEADER, None).expect("a header");
        context.set_tag(&fits).expect("a tag");
        let length = record.len();
        context.cipher_update_inplace(record, length).expect("opened");
        context.cipher_final(&mut []).expect("it is what was sealed");
    })
}
