//! Prints the sample records as batches that milena writes, a line each: sample, codec, hex. For `capture/read_ours.sh`.
#![allow(clippy::print_stdout, reason = "it is a tool that prints")]

use milena::{
    ids::ProducerIdAndEpoch,
    record::{
        compression::{Compression, Compressor},
        encode::RecordEncoder,
    },
};
use protocol_tests::samples;

fn main() {
    let mut compressor = Compressor::default();
    for (name, samples) in [("odd", samples::odd()), ("many", samples::many())] {
        for codec in Compression::ALL {
            let mut encoder = RecordEncoder::new(Vec::new(), 1 << 20);
            for sample in &samples {
                sample.append_to(&mut encoder).expect("room for all of them");
            }
            let (body, _) = encoder.seal(codec, None, &mut compressor).expect("every feature is on");
            let batch = body.to_batch(ProducerIdAndEpoch::NONE, -1, false);
            let hex: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{name} {codec} {hex}");
        }
    }
}
