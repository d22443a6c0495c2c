//! `milena query`: an embedded sink's file as JSON lines.

use crate::args::{Failure, Global, Result};
use milena::pipeline::sink::query;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file of `--to embedded:PATH`; no sink may have it open
    path: PathBuf,
}

pub async fn run(args: Args, _: &Global) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match query::dump(&args.path, &mut out).and_then(|()| out.flush()) {
        // `milena query x | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::config(error.to_string())),
        done => done.map_err(|error| Failure::database(error.to_string())),
    }
}
