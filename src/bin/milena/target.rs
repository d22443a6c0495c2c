//! `--to`: where rows go, and may have a password in it.

use crate::args::{Failure, Result};
use milena::pipeline::sink::Target;
use milena::secret::Secret;

/// As it was given. It is parsed later than other arguments, since clap shows those that it refuses.
#[derive(Debug, Clone)]
pub struct To(Secret);

impl From<String> for To {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl To {
    /// What keeps a target off the command line.
    pub const VARIABLE: &str = "MILENA_SINK_TO";

    pub fn target(&self) -> Result<Target> {
        let wrong = |why| Failure::config(format!("--to (or {}) {why}", Self::VARIABLE));
        self.0.expose().parse().map_err(wrong)
    }

    /// The same where it need not be given: an empty variable is none.
    pub fn optional(given: Option<&Self>) -> Result<Option<Target>> {
        given.filter(|to| !to.0.is_empty()).map(Self::target).transpose()
    }
}
