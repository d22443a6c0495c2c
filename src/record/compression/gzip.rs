//! gzip by flate2 over zlib-rs. A body may be several members one after the other, which count as one.

use super::{grow_past, over_limit};
use crate::{
    error::{Error, Result},
    record::malformed,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

const WINDOW_BITS: u8 = 15;
/// Kafka's own default is that of zlib.
const DEFAULT_LEVEL: i32 = 6;

/// Reused from batch to batch, as long as the level stays; allocates when it is first used.
#[derive(Debug, Default)]
pub(super) struct Encoder(Option<(i32, Compress)>);

impl Encoder {
    /// Appends `input` to `out` as one member.
    pub(super) fn compress(&mut self, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let level = level.filter(|level| *level != -1).unwrap_or(DEFAULT_LEVEL);
        self.0.take_if(|(made_for, _)| *made_for != level);
        let make = || (level, Compress::new_gzip(Compression::new(level as u32), WINDOW_BITS));
        let (_, encoder) = self.0.get_or_insert_with(make);
        encoder.reset();
        let mut rest = input;
        loop {
            out.reserve((rest.len() / 2).max(4 << 10));
            let before = encoder.total_in();
            let status = encoder.compress_vec(rest, out, FlushCompress::Finish);
            let consumed = (encoder.total_in() - before) as usize;
            rest = rest.get(consumed..).unwrap_or_default();
            if status.map_err(|error| malformed("gzip failed").caused_by(error))? == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

/// Reused from batch to batch; allocates when it is first used.
#[derive(Debug, Default)]
pub(super) struct Decoder(Option<Decompress>);

impl Decoder {
    /// Decompresses all members into the front of `out`, and gives the length.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
        let decoder = self.0.get_or_insert_with(|| Decompress::new_gzip(WINDOW_BITS));
        decoder.reset(true);
        let (mut rest, mut len) = (input, 0);
        loop {
            grow_past(out, len, limit)?;
            let room = out.get_mut(len..).unwrap_or_default();
            let (read, written) = (decoder.total_in(), decoder.total_out());
            let had_room = !room.is_empty();
            let status = decoder.decompress(rest, room, FlushDecompress::None).map_err(corrupt)?;
            let (read, written) = ((decoder.total_in() - read) as usize, (decoder.total_out() - written) as usize);
            (rest, len) = (rest.get(read..).unwrap_or_default(), len + written);
            match status {
                Status::StreamEnd if rest.is_empty() => return if len > limit { Err(over_limit()) } else { Ok(len) },
                Status::StreamEnd => decoder.reset(true),
                Status::Ok | Status::BufError if had_room && read == 0 && written == 0 => {
                    return Err(malformed("a gzip stream is truncated"));
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cold]
fn corrupt(error: flate2::DecompressError) -> Error {
    malformed("a gzip stream is corrupt").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_one_after_the_other_are_one_stream_and_levels_may_change() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let input: Vec<u8> = (0..300_000u32).map(|i| (i / 5 % 17) as u8).collect();
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        for level in [None, Some(9), Some(1), Some(-1)] {
            encoder.compress(level, &input, &mut frame).unwrap();
        }
        assert_eq!(decoder.decompress(&frame, &mut out, 4 * input.len()).unwrap(), 4 * input.len());
        assert!(out.chunks(input.len()).take(4).all(|part| part == input));
        assert!(decoder.decompress(&frame, &mut out, 4 * input.len() - 1).is_err());
        assert!(decoder.decompress(&frame[..frame.len() - 1], &mut out, 4 * input.len()).is_err());
        assert!(out.len() <= 4 * input.len() + 1, "never a byte more than the limit and one");
    }
}
