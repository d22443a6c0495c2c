//! The dead letter queue read back: what is in it and why, and sending it once more.
//!
//! ```text
//!           +-- aggregate --> T, at its old partition, and how far that is: one Kafka transaction
//!  T.dlq ---+-- sink ------> rows and how far that is: one database transaction
//!           +-- merge -----> stays: a partial row is no event
//! ```
//! Nothing is ever taken out of the queue; what was sent is remembered, and a second replay finds nothing to do.

mod back;
mod done;
mod letter;
mod list;
mod rows;

pub use back::back_to_input;
pub use done::Done;
pub use letter::{Filter, Letter};
pub use list::{Entry, Group, Listing, Range, find, list};
pub use rows::{Refusal, scope, through_the_sink, what_of};

use crate::pipeline::{
    error::{PipelineError, Result},
    receipt::Receipt,
    topics,
};
use std::collections::BTreeMap;

/// The group, and the `transactional.id`, under which a queue's replay keeps how far it is.
pub fn group(dlq: &str) -> String {
    format!("{dlq}.replay")
}

/// The input topic that a dead letter queue belongs to.
///
/// # Errors
/// A sentence: it has no such name.
pub fn input_of(dlq: &str) -> Result<&str> {
    dlq.strip_suffix(".dlq").filter(|input| !input.is_empty()).ok_or_else(|| {
        PipelineError::Config(format!(
            "{dlq} is no dead letter queue: that of a topic T is called T.dlq; did you mean {dlq}.dlq?"
        ))
    })
}

/// What a replay, or a part of one, came to. Each letter of the part counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Letters that it had not done yet.
    pub read: u64,
    /// Sent to the input, or new rows; those that would be, in a dry run.
    pub sent: u64,
    /// The same record's letter once more, or a row that is there already.
    pub repeated: u64,
    /// Still no row: they stay, and the next replay takes them up again.
    pub refused: u64,
    /// Left alone, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl Replayed {
    fn skip(&mut self, why: &'static str) {
        self.read += 1;
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Nothing was done about any of them, for this reason.
    pub fn left_alone(&mut self, why: &'static str) {
        *self = Self { read: self.read, skipped: [(why, self.read)].into(), ..Self::default() };
    }

    /// Adds another part's.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.sent += other.sent;
        self.repeated += other.repeated;
        self.refused += other.refused;
        for (why, n) in &other.skipped {
            *self.skipped.entry(why).or_default() += n;
        }
    }

    /// As a receipt.
    pub fn receipt(&self) -> Receipt {
        let mut receipt = Receipt::new("dlq replay");
        (receipt.read, receipt.kept) = (Some(self.read), Some(self.sent));
        (receipt.duplicate, receipt.dead_lettered) = (Some(self.repeated), Some(self.refused));
        receipt.skipped = Some(self.skipped.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect());
        receipt.close()
    }
}

fn missing(dlq: &str) -> PipelineError {
    topics::missing(dlq)
}
