//! Writes random messages of every API and version for `java/Agree.java`, which has Kafka's own classes read them and
//! write them back: the judge of the guard's table that shares nothing with the schema crate.
//!
//! Usage: `write_frames [messages of each version] > frames`. Each: key, direction, version, length, body.

use protocol_tests::{random::Random, schema};
use std::io::{self, BufWriter, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let each = std::env::args().nth(1).map_or(Ok(100), |n| n.parse())?;
    let mut out = BufWriter::new(io::stdout().lock());
    for (message, version) in schema::versions().filter(|(message, _)| message.key >= 0) {
        let mut random = Random::new(schema::seed(message, version));
        for round in 0..each {
            let (body, _) = schema::body(message, version, &mut random, round % 2 == 1);
            out.write_all(&message.key.to_be_bytes())?;
            out.write_all(&[message.direction as u8, version])?;
            out.write_all(&i32::try_from(body.len())?.to_be_bytes())?;
            out.write_all(&body)?;
        }
    }
    Ok(out.flush()?)
}
