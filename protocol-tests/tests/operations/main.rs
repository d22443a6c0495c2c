//! What the fuzzer plays (`protocol_tests::operations`), over seeds: `SEED=17 cargo test -p protocol-tests --test operations`
//! plays one again, `SEEDS=10000` more than usual.

use protocol_tests::operations::{accumulator, bytes_of_seed, connection, membership, oauth, security};
use protocol_tests::random::seeds;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn each_seed(default: u64, play: fn(&[u8])) {
    for seed in seeds(default) {
        let length = [60, 200, 600][(seed % 3) as usize];
        let played = catch_unwind(AssertUnwindSafe(|| play(&bytes_of_seed(seed, length))));
        assert!(played.is_ok(), "failed with SEED={seed}");
    }
}

#[test]
fn every_record_has_one_true_outcome_in_order_whatever_is_done() {
    each_seed(600, accumulator::play);
}

#[test]
fn a_member_keeps_its_promises_whatever_a_coordinator_answers() {
    each_seed(600, membership::play);
}

#[test]
fn oauth_takes_whatever_is_said_to_it() {
    each_seed(600, oauth::play);
}

#[test]
fn settings_and_brokers_may_say_what_they_like() {
    each_seed(600, security::play);
}

/// Every input that the fuzzer is given to begin with, as it is played there.
#[test]
fn the_seeds_of_the_fuzzer_are_played() {
    each_file("accumulator_ops", accumulator::play);
    each_file("membership_ops", membership::play);
    each_file("oauth", oauth::play);
    each_file("security", security::play);
    each_file("broker_request", |stream| {
        connection::play(stream);
    });
}

fn each_file(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let seeds: Vec<_> = fs::read_dir(folder).expect("its seeds").map(|seed| seed.expect("a seed").path()).collect();
    assert!(seeds.len() > 20, "{target} has only {} seeds", seeds.len());
    for seed in seeds {
        let bytes = fs::read(&seed).expect("a seed");
        let played = catch_unwind(AssertUnwindSafe(|| play(&bytes)));
        assert!(played.is_ok(), "failed with {}", seed.display());
    }
}
