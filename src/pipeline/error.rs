//! Why a pipeline command stops: four kinds, one exit code each.

use crate::error::{Error, ErrorKind};
use std::fmt;

/// What the pipeline's commands end with.
pub type Result<T, E = PipelineError> = std::result::Result<T, E>;

/// Why a command stops.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PipelineError {
    /// What it was told can't be, or contradicts what it finds. A sentence that says what to do. Exit code 1.
    Config(String),
    /// The brokers failed or refused. Exit code 2.
    Kafka(Error),
    /// What stands on a topic, or doesn't, makes going on impossible: offsets out of range. Exit code 2.
    Log(String),
    /// The database failed or refused. Exit code 3.
    Database(String),
    /// Numbers that should be equal are not. Exit code 4.
    Mismatch(String),
}

impl PipelineError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 1,
            Self::Kafka(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::InvalidArgument) => 1,
            Self::Kafka(_) | Self::Log(_) => 2,
            Self::Database(_) => 3,
            Self::Mismatch(_) => 4,
        }
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) | Self::Log(text) | Self::Database(text) | Self::Mismatch(text) => f.write_str(text),
            Self::Kafka(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PipelineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Kafka(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for PipelineError {
    fn from(error: Error) -> Self {
        Self::Kafka(error)
    }
}
