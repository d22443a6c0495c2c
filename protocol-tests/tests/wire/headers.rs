//! Whole frames: the header's version follows the message's, with Kafka's one exception.

use milena::wire::guard::{Direction, Reason, check, check_frame};
use protocol_tests::random::Random;
use protocol_tests::schema::{body, header, name, seed, versions};

/// A client reads the answer to ApiVersions before it knows the broker's versions.
#[test]
fn the_answer_to_api_versions_has_the_old_header_in_every_version() {
    let old = [0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
    assert_eq!(check_frame(18, 0, Direction::Response, &old), Ok(()));
    let flexible = [0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0];
    assert_eq!(check_frame(18, 3, Direction::Response, &flexible), Ok(()));
}

#[test]
fn every_message_passes_behind_its_header() {
    for (message, version) in versions().filter(|(message, _)| message.key >= 0) {
        let (body, _) = body(message, version, &mut Random::new(seed(message, version)), false);
        let frame = [header(message, version), body].concat();
        let verdict = check_frame(message.key, version.into(), message.direction, &frame);
        assert_eq!(verdict, Ok(()), "{}", name(message, version));
    }
}

#[test]
fn what_the_table_does_not_know_is_refused() {
    for (key, version) in [(999, 0), (3, -1), (3, 300), (3, 99)] {
        assert_eq!(check(key, version, Direction::Request, &[]).map_err(|why| why.reason), Err(Reason::Unknown));
    }
}
