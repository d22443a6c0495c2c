//! The input: stdin or files, read by a thread of its own, for they can't be waited for.

use super::batch::{Batch, Entry};
use super::framing::{Cutter, Framing, LONGEST};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;
/// Batches that wait for the producer.
const WAITING: usize = 4;

/// Where records come from.
#[derive(Debug)]
pub enum Input {
    Stdin,
    /// What is in them is cut like stdin.
    Cut(Vec<PathBuf>),
    /// Each is one value.
    Whole(Vec<PathBuf>),
}

impl Input {
    /// How many bytes there are, if that can be known. Every file must be there before anything is sent.
    pub fn size(&self) -> Result<Option<u64>, String> {
        match self {
            // A pipe has no size, and other systems no such file.
            Self::Stdin => Ok(fs::metadata("/dev/stdin").ok().filter(fs::Metadata::is_file).map(|file| file.len())),
            Self::Cut(paths) | Self::Whole(paths) => {
                let size = |path: &PathBuf| match fs::metadata(path) {
                    Ok(file) if file.is_dir() => Err(format!("{} is a directory", path.display())),
                    Ok(file) => Ok(file.len()),
                    Err(error) => Err(format!("{}: {error}; arguments are files, -t names the topic", path.display())),
                };
                paths.iter().map(size).sum::<Result<u64, _>>().map(Some)
            }
        }
    }

    /// As it goes behind "waited for".
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdin => "input on stdin",
            Self::Cut(_) | Self::Whole(_) => "input from files",
        }
    }

    /// Begins to read. What is wrong with the input comes last.
    pub fn read(self, framing: Framing) -> mpsc::Receiver<Result<Batch, String>> {
        let (batches, receiver) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            let done = self.read_all(&framing, &batches);
            if let Err(Some(why)) = done {
                let _ = batches.blocking_send(Err(why)); // or nobody wants to know
            }
        });
        receiver
    }

    fn read_all(self, framing: &Framing, batches: &mpsc::Sender<Result<Batch, String>>) -> Result<(), Option<String>> {
        let send = |batch: Batch| batches.blocking_send(Ok(batch)).map_err(|_| None);
        match self {
            Self::Stdin => cut(std::io::stdin().lock(), framing, (None, 0), send).map(drop),
            Self::Cut(paths) => {
                let mut number = 0;
                for path in paths {
                    let file = File::open(&path).map_err(|error| Some(format!("{}: {error}", path.display())))?;
                    number = cut(file, framing, (Some(name(&path)), number), send)?;
                }
                Ok(())
            }
            Self::Whole(paths) => {
                for (at, path) in paths.iter().enumerate() {
                    let failed = |error: std::io::Error| Some(format!("{}: {error}", path.display()));
                    let size = fs::metadata(path).map_err(failed)?.len();
                    if size > LONGEST as u64 {
                        return Err(Some(format!(
                            "{}: {size} bytes are more than {} MiB",
                            path.display(),
                            LONGEST >> 20
                        )));
                    }
                    let bytes = fs::read(path).map_err(failed)?;
                    let entry = Entry { number: at as u64 + 1, value: Some(0..bytes.len()), ..Entry::default() };
                    let size = bytes.len();
                    send(Batch { bytes, entries: vec![entry], headers: Vec::new(), size, file: Some(name(path)) })?;
                }
                Ok(())
            }
        }
    }
}

fn name(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// Reads one file, of which `number` lines have come before; returns how many have come behind it.
fn cut(
    mut input: impl Read,
    framing: &Framing,
    (file, number): (Option<Arc<str>>, u64),
    send: impl Fn(Batch) -> Result<(), Option<String>>,
) -> Result<u64, Option<String>> {
    let place = || file.as_ref().map(|file| format!("{file}, ")).unwrap_or_default();
    let mut cutter = Cutter::new(framing.clone(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let length = match input.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Some(format!("{}can't be read: {error}", place()))),
        };
        let (mut batch, done) = cutter.cut(&piece[..length], length == 0);
        if !batch.entries.is_empty() {
            batch.entries.iter_mut().for_each(|entry| entry.number += number);
            batch.file.clone_from(&file);
            send(batch)?;
        }
        done.map_err(|why| Some(format!("{}{why}", place())))?;
        if length == 0 {
            return Ok(number + cutter.number());
        }
    }
}
