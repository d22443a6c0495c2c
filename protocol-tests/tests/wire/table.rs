//! The guard's table is what Kafka's message JSON says, to the byte; and every API that we speak is in it.

use kafka_protocol::messages::ApiKey as Crate;
use milena::broker::ApiKey;
use milena::wire::guard::{Direction, table};
use protocol_tests::apis::codec;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The versions of one direction that the guard knows.
fn guarded(key: i16, direction: Direction) -> Option<(i16, i16)> {
    let row = table::MESSAGES.iter().find(|row| (row.key, row.direction) == (key, direction))?;
    Some((row.low.into(), row.high.into()))
}

#[test]
fn every_api_served_is_guarded_and_read_in_both_directions_at_every_version() {
    for api in ApiKey::ALL {
        let (low, high) = api.versions();
        for direction in [Direction::Request, Direction::Response] {
            let (least, most) = guarded(api.to_wire(), direction).expect("the table has every API served");
            assert!(least <= low && high <= most, "{api:?} {direction:?}: v{low}-{high} of v{least}-{most}");
            for version in low..=high {
                let codec = codec(api.to_wire(), direction, version as u8);
                assert!(
                    codec.is_some_and(|codec| codec.frame.is_some()),
                    "{api:?} {direction:?} v{version} is not read"
                );
            }
        }
    }
}

/// Whatever the client asks, now or in times to come: the guard has no hole where the schema crate has a decoder.
#[test]
fn every_version_that_the_schema_crate_can_read_is_guarded() {
    for api in Crate::iter() {
        let (key, versions) = (api as i16, api.valid_versions());
        for direction in [Direction::Request, Direction::Response] {
            let codecs =
                (versions.min..=versions.max).filter(|version| codec(key, direction, *version as u8).is_some());
            for version in codecs {
                let known = guarded(key, direction).is_some_and(|(low, high)| low <= version && version <= high);
                assert!(known, "{api:?} {direction:?} v{version} is read without a guard");
            }
        }
    }
}

#[test]
#[ignore = "needs the jar of kafka-clients, in KAFKA_CLIENTS_JAR, and a JDK: .ci/run guard_table"]
fn the_table_is_what_kafkas_message_json_says() {
    let jar = std::env::var("KAFKA_CLIENTS_JAR").expect("KAFKA_CLIENTS_JAR names it");
    let version = Path::new(&jar).file_stem().and_then(|name| name.to_str()?.strip_prefix("kafka-clients-"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    let _ = fs::remove_dir_all(&folder); // of a run before, if there was one
    fs::create_dir_all(&folder).expect("a place for what is in the jar");
    let unpacked = Command::new("jar").args(["xf", &jar, "common/message"]).current_dir(&folder).status();
    assert!(unpacked.expect("a JDK").success());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let generate = |mode: &[&str]| {
        let mut generate = Command::new(env!("CARGO_BIN_EXE_generate_guard"));
        let generate = generate.arg(folder.join("common/message")).arg(version.expect("kafka-clients-VERSION.jar"));
        String::from_utf8(generate.args(mode).output().expect("the generator").stdout).expect("text")
    };
    let table = folder.join("table.rs");
    fs::write(&table, generate(&[])).expect("room for the table");
    let format = Command::new("rustfmt").args(["--edition", "2024", "--config-path"]).arg(&root).arg(&table).status();
    assert!(format.expect("rustfmt").success());
    let read = |path: &Path| fs::read_to_string(path).expect("a file of this repository");
    let (ours, sizes) = (root.join("src/wire/guard/table.rs"), root.join("protocol-tests/tests/wire/sizes.in"));
    assert!(read(&table) == read(&ours), "{} is not what generate_guard makes of {jar}", ours.display());
    assert!(generate(&["sizes"]) == read(&sizes), "{} is not what generate_guard makes of {jar}", sizes.display());
}
