//! The terminal on stderr: what is redrawn in place there, and the log lines that scroll by above it.

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_subscriber::fmt::MakeWriter;

/// Hidden, and without effect, where stderr is no terminal.
pub static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

static WARNINGS: AtomicU64 = AtomicU64::new(0);
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// Warnings and errors logged so far.
pub fn logged() -> (u64, u64) {
    (WARNINGS.load(Ordering::Relaxed), ERRORS.load(Ordering::Relaxed))
}

/// A part of the screen; its text may have many lines. `{rate}` is records per second, without decimals.
pub fn part(style: &str) -> ProgressBar {
    let bar = SCREEN.add(ProgressBar::no_length());
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style.with_key("rate", rate));
    bar
}

/// Where log lines go: stderr, with what is redrawn there out of the way meanwhile.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if SCREEN.is_hidden() { io::stderr().write(line) } else { SCREEN.suspend(|| io::stderr().write(line)) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }

    fn make_writer_for(&self, metadata: &tracing::Metadata<'_>) -> Self {
        match *metadata.level() {
            tracing::Level::ERROR => ERRORS.fetch_add(1, Ordering::Relaxed),
            tracing::Level::WARN => WARNINGS.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        Self
    }
}
