//! Brokers that the test broker can pass for: which APIs they have in which versions (`table`), and in what else they
//! differ from Apache Kafka 4.3, as far as a client of Produce v3 and Fetch v4 can see it.
//!
//! | | 2.4, 2.8 | 3.9 | 4.3 | Redpanda | Event Hubs |
//! | --- | --- | --- | --- | --- | --- |
//! | ApiVersions too new | error 35, lists itself only | likewise | likewise | error 35, lists everything | reset |
//! | features (`transaction.version`) | no | no | yes | no | no |
//! | a topic on first sight | `LEADER_NOT_AVAILABLE` | `UNKNOWN_TOPIC_OR_PARTITION` | likewise | is there | is there |
//! | a producer that the partition does not know | 2.4: only from sequence 0 on | from any | from any | from any | from any |
//! | a transaction's partition that was not added | is written to | refused | refused | refused | |
//! | aborted transactions | by their ends | likewise | likewise | newest first | by their ends |
//! | replicas that are away | told | told | told | in sync and leading as before | told |
//!
//! What follows from the versions alone is not repeated here: no topic ids below Metadata v10, names instead of ids below
//! Fetch v13, no new leader in an answer below Produce v10 (KIP-951), no leader epochs below Metadata v7, no groups of
//! KIP-848 without their APIs.

mod table;

use super::api::ApiKey;
use crate::error::{Error, ErrorCode, ErrorKind};
use std::fmt;
use std::str::FromStr;
use table::{NONE, VERSIONS};

/// A broker that a [`TestCluster`](super::TestCluster) passes for: its versions and its habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Emulation {
    /// `2.4`: Apache Kafka 2.4 (seen: 2.4.1) on ZooKeeper. It has no DescribeCluster, no topic ids, and commits offsets in
    /// transactions without the member's name (KIP-447 came with 2.5).
    Kafka24,
    /// `2.8`: Apache Kafka 2.8 (seen: 2.8.2) on ZooKeeper. Topics have ids, which no request takes yet.
    Kafka28,
    /// `3.9`: Apache Kafka 3.9 (seen: 3.9.2) on KRaft, with the classic groups only, which is its default.
    Kafka39,
    /// `4.3`: Apache Kafka 4.3 (seen: 4.3.1). The default.
    #[default]
    Kafka43,
    /// `redpanda`: Redpanda 24.3, by its sources. It has no DescribeCluster and no topic ids.
    Redpanda,
    /// `event-hubs`: Azure Event Hubs as of 2024, by what users have logged of it: old versions of Fetch and Metadata beside
    /// new ones of the group's APIs, no transactions.
    EventHubs,
}

/// What becomes of an ApiVersions that is newer than the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooNew {
    /// Error 35 in the layout of v0, which lists ApiVersions alone (KIP-511).
    ListsItself,
    /// Error 35 in the layout of v0, which lists every API.
    ListsAll,
    /// The connection is closed.
    Reset,
}

impl Emulation {
    /// All that there are, Apache's oldest first.
    pub const ALL: &[Self] =
        &[Self::Kafka24, Self::Kafka28, Self::Kafka39, Self::Kafka43, Self::Redpanda, Self::EventHubs];

    /// What [`FromStr`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka24 => "2.4",
            Self::Kafka28 => "2.8",
            Self::Kafka39 => "3.9",
            Self::Kafka43 => "4.3",
            Self::Redpanda => "redpanda",
            Self::EventHubs => "event-hubs",
        }
    }

    /// The lowest and the highest version in which a cluster that passes for this broker serves an API: what that broker
    /// advertises, as far as the test broker has it. `None` if one of them has not got it.
    pub fn versions(self, api: ApiKey) -> Option<(i16, i16)> {
        let (ours, theirs) = (api.versions(), self.advertised(api)?);
        let (min, max) = (ours.0.max(theirs.0), ours.1.min(theirs.1));
        (min <= max).then_some((min, max))
    }

    /// The same as ApiVersions lists it.
    pub(super) fn listed(self, api: ApiKey) -> Option<(i16, i16)> {
        let (min, max) = self.versions(api)?;
        match api {
            // librdkafka compresses only if the broker lists Produce v0 (KAFKA-18659), and so all of them list it. Apache 4.x
            // closes the connection on who takes it at its word; so do we, whoever we pass for.
            ApiKey::Produce => Some((0, max)),
            _ => Some((min, max)),
        }
    }

    /// What the broker itself advertises.
    fn advertised(self, api: ApiKey) -> Option<(i16, i16)> {
        let (_, row) = VERSIONS.iter().find(|(key, _)| *key == api.to_wire())?;
        Some(row[self as usize]).filter(|versions| *versions != NONE)
    }

    pub(super) fn answers_too_new(self) -> TooNew {
        match self {
            Self::Redpanda => TooNew::ListsAll,
            Self::EventHubs => TooNew::Reset,
            _ => TooNew::ListsItself,
        }
    }

    /// Whether ApiVersions tells of finalized features, and so of `transaction.version` (KIP-890).
    pub(super) fn has_features(self) -> bool {
        self == Self::Kafka43
    }

    /// What a Metadata request is told about the topic that it has just created; `None`: where its leaders are.
    pub(super) fn says_of_new_topic(self) -> Option<ErrorCode> {
        match self {
            Self::Kafka24 | Self::Kafka28 => Some(ErrorCode::LeaderNotAvailable),
            Self::Kafka39 | Self::Kafka43 => Some(ErrorCode::UnknownTopicOrPartition),
            Self::Redpanda | Self::EventHubs => None,
        }
    }

    /// Whether a producer that a partition has no batch of has to begin at 0, or is `UNKNOWN_PRODUCER_ID`: so until Kafka 2.5
    /// (KIP-360).
    pub(super) fn refuses_unknown_producers(self) -> bool {
        self == Self::Kafka24
    }

    /// Whether the coordinator is asked about a transactional batch, as since Kafka 3.6 (KIP-890). Before, a batch for a
    /// partition that was not added to the transaction is taken, and no marker ever ends it.
    pub(super) fn verifies_transactions(self) -> bool {
        !matches!(self, Self::Kafka24 | Self::Kafka28)
    }

    /// Whether a Fetch lists the aborted transactions from the newest on: Redpanda puts those in memory before those on disk
    /// (franz-go 1.21.4).
    pub(super) fn lists_newest_aborted_first(self) -> bool {
        self == Self::Redpanda
    }

    /// Whether Metadata tells who is away. Redpanda lists every replica as in sync, and the last leader where there is none.
    pub(super) fn tells_who_is_away(self) -> bool {
        self != Self::Redpanda
    }
}

impl fmt::Display for Emulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Emulation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|emulation| emulation.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|emulation| emulation.name()).collect();
            let why = format!("no broker `{name}` to pass for, only {}", names.join(", "));
            Error::with_message(ErrorKind::Config, why)
        })
    }
}

impl TryFrom<&str> for Emulation {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self, Error> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_serves_all_that_the_test_broker_has() {
        for api in ApiKey::ALL {
            assert_eq!(Emulation::Kafka43.versions(*api), Some(api.versions()), "{api:?} is not Kafka 4.3.1's");
        }
    }

    #[test]
    fn names_are_what_is_parsed_and_columns_are_in_their_order() {
        for (column, emulation) in Emulation::ALL.iter().enumerate() {
            assert_eq!((*emulation as usize, emulation.name().parse::<Emulation>().unwrap()), (column, *emulation));
        }
        let unknown = "0.8".parse::<Emulation>().unwrap_err();
        assert!(unknown.to_string().contains("2.4, 2.8, 3.9, 4.3, redpanda, event-hubs"), "{unknown}");
    }

    #[test]
    fn what_a_broker_has_not_got_is_not_served() {
        let absent = |emulation: Emulation| {
            let without = ApiKey::ALL.iter().filter(move |api| emulation.versions(**api).is_none());
            without.copied().collect::<Vec<_>>()
        };
        let kip_848 = [ApiKey::ConsumerGroupHeartbeat, ApiKey::ConsumerGroupDescribe];
        for emulation in Emulation::ALL.iter().filter(|emulation| **emulation != Emulation::Kafka43) {
            assert!(kip_848.iter().all(|api| absent(*emulation).contains(api)), "{emulation}");
        }
        assert!(absent(Emulation::Kafka24).contains(&ApiKey::DescribeCluster));
        assert!(absent(Emulation::EventHubs).contains(&ApiKey::EndTxn));
        assert_eq!(Emulation::Kafka28.versions(ApiKey::Fetch), Some((4, 12)));
    }
}
