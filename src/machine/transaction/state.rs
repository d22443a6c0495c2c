//! The states of a transactional producer, in Kafka's names, and Kafka's table of which may follow which.

/// Where a transactional producer stands.
///
/// ```text
/// Uninitialized --init--> Initializing --producer id--> Ready --begin--> InTransaction --commit--> CommittingTransaction
///                              ^                          ^                |     |                   |    |      |
///                              |                          |           fails|     |abort              |    |fails |
///                              |                          |                v     |                   |    |      |
///                              |                          |      AbortableError <+-------------------+----+      |
///                              |                          |                |     |                   |           |
///                              |                          |           abort|     |                   |           |
///                              |                          |                v     v                   |           |
///                              |                          +------ AbortingTransaction                |           |
///                              |                          |                |                         |           |
///                              |                          +----------------|----- EndTxn answered ---+           |
///                              +--- epoch to be bumped, or the outcome of EndTxn is not known -------+-----------+
///
/// any state --fenced, not allowed, not supported--> FatalError
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No producer id was asked for yet.
    Uninitialized,
    /// A producer id, or the next epoch, is asked for.
    Initializing,
    /// The next transaction may begin.
    Ready,
    /// Records and offsets are taken.
    InTransaction,
    /// What was taken is sent, then EndTxn.
    CommittingTransaction,
    /// What was not sent is dropped, then EndTxn.
    AbortingTransaction,
    /// Something failed: nothing is left but to abort.
    AbortableError,
    /// Nothing is left but to close the producer.
    FatalError,
}

impl State {
    /// Every one, for tests.
    pub const ALL: [Self; 8] = [
        Self::Uninitialized,
        Self::Initializing,
        Self::Ready,
        Self::InTransaction,
        Self::CommittingTransaction,
        Self::AbortingTransaction,
        Self::AbortableError,
        Self::FatalError,
    ];

    /// Whether `next` may follow: the table of the Java client's `TransactionManager`, without two-phase commit.
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Uninitialized => matches!(self, Self::Ready | Self::AbortableError),
            Self::Initializing => {
                matches!(self, Self::Uninitialized | Self::CommittingTransaction | Self::AbortingTransaction)
            }
            Self::Ready => {
                matches!(self, Self::Initializing | Self::CommittingTransaction | Self::AbortingTransaction)
            }
            Self::InTransaction => self == Self::Ready,
            Self::CommittingTransaction => self == Self::InTransaction,
            Self::AbortingTransaction => matches!(self, Self::InTransaction | Self::AbortableError),
            Self::AbortableError => matches!(
                self,
                Self::InTransaction | Self::CommittingTransaction | Self::AbortableError | Self::Initializing
            ),
            Self::FatalError => true,
        }
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uninitialized => "UNINITIALIZED",
            Self::Initializing => "INITIALIZING",
            Self::Ready => "READY",
            Self::InTransaction => "IN_TRANSACTION",
            Self::CommittingTransaction => "COMMITTING_TRANSACTION",
            Self::AbortingTransaction => "ABORTING_TRANSACTION",
            Self::AbortableError => "ABORTABLE_ERROR",
            Self::FatalError => "FATAL_ERROR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    /// One line per state, with those that may follow: Kafka's `TransactionManager.State.isTransitionValid`, read off by row.
    #[test]
    fn the_transitions_are_kafkas() {
        let table = [
            ("UNINITIALIZED", "INITIALIZING FATAL_ERROR"),
            ("INITIALIZING", "READY ABORTABLE_ERROR FATAL_ERROR"),
            ("READY", "UNINITIALIZED IN_TRANSACTION FATAL_ERROR"),
            ("IN_TRANSACTION", "COMMITTING_TRANSACTION ABORTING_TRANSACTION ABORTABLE_ERROR FATAL_ERROR"),
            ("COMMITTING_TRANSACTION", "INITIALIZING READY ABORTABLE_ERROR FATAL_ERROR"),
            ("ABORTING_TRANSACTION", "INITIALIZING READY FATAL_ERROR"),
            ("ABORTABLE_ERROR", "UNINITIALIZED ABORTING_TRANSACTION ABORTABLE_ERROR FATAL_ERROR"),
            ("FATAL_ERROR", "FATAL_ERROR"),
        ];
        for (from, (name, next)) in State::ALL.into_iter().zip(table) {
            assert_eq!(from.name(), name);
            let may: Vec<&str> = State::ALL.into_iter().filter(|to| from.may_become(*to)).map(State::name).collect();
            assert_eq!(may.join(" "), next, "from {name}");
        }
    }
}
