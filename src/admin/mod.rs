//! [`Admin`]: what operators do with a cluster. Topics and records, configs, groups and offsets, ACLs, users, quotas, brokers,
//! transactions, replicas.
//!
//! - A call has one deadline, `default.api.timeout.ms` or what [`with_timeout`](Admin::with_timeout) says, which its retries spend.
//! - What is about several things gives each an outcome of its own ([`Outcomes`]): one topic that exists already does not hide
//!   that the others were made. The call itself fails only if no item has an answer of its own: no broker is there, or all of
//!   them are too old (`UnsupportedVersion`, with the API and the versions), or the answer is one no to all of it.
//! - Things that belong to one broker (a coordinator, a leader, the controller) are asked about in one request; when they have
//!   moved, or are not ready, they are looked for again.
//! - A change that may have been done is not asked for again; its error is
//!   [`PossiblySent`](crate::error::Certainty::PossiblySent).
//! - Dropping a call's future loses its answer; what was sent may still be done.
//!
//! ```no_run
//! use milena::admin::{ResetScope, ResetTo};
//!
//! # async fn example(client: milena::client::Client) -> milena::error::Result<()> {
//! let admin = client.admin();
//! let scope = || ResetScope::Topics(vec!["clicks".into()]);
//! for (partition, planned) in admin.dry_run().reset_group_offsets("dashboards", scope(), ResetTo::Earliest).await? {
//!     println!("{partition} would go to {}", planned?.to);
//! }
//! admin.reset_group_offsets("dashboards", scope(), ResetTo::Earliest).await?;
//! # Ok(())
//! # }
//! ```

mod acls;
mod ask;
mod cluster;
mod configs;
mod elections;
mod group_descriptions;
mod group_offsets;
mod groups;
mod log_dirs;
mod new_topics;
mod offsets;
mod operations;
mod partitions;
mod places;
mod producers;
mod quorum;
mod quotas;
mod reassignments;
mod reset;
mod rounds;
mod topics;
mod transactions;
mod users;
mod words;

pub use acls::{AclBinding, AclFilter, AclPattern, AclPermission, AclResourceType};
pub use cluster::{BrokerDescription, ClusterDescription, FeatureUpdate, Features};
pub use configs::{ConfigChange, ConfigEntry, ConfigQuery, ConfigResource, ConfigSource, ConfigSynonym, ConfigType};
pub use elections::Election;
pub use group_descriptions::{GroupDescription, MemberDescription};
pub use group_offsets::GroupOffset;
pub use groups::{GroupFilter, GroupListing, MemberToRemove};
pub use log_dirs::{LogDir, LogDirReplica};
pub use new_topics::{CreatedTopic, NewPartitions, NewTopic};
pub use operations::AclOperation;
pub use producers::ProducerState;
pub use quorum::{QuorumDescription, QuorumEndpoint, QuorumReplica};
pub use quotas::{QuotaEntity, QuotaFilter};
pub use reassignments::Reassignment;
pub use reset::{OffsetMove, ResetScope, ResetTo};
pub use topics::{PartitionDescription, TopicDescription, TopicListing};
pub use transactions::{HangingTransaction, TransactionDescription, TransactionFilter, TransactionListing};
pub use users::{ScramCredential, ScramMechanism, UserChange};

pub use crate::wire::fetch::IsolationLevel;
pub use crate::wire::list_offsets::{OffsetAndTimestamp, OffsetSpec};

use crate::client::Client;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::wire::StrBytes;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Outcomes by what they are of: names of topics, groups or users, partitions, brokers.
pub type Outcomes<T, K = String> = BTreeMap<K, Result<T>>;

/// Looks after a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
    timeout: Option<Duration>,
    dry_run: bool,
    authorized_operations: bool,
}

impl Client {
    /// An admin over this client's connections.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone(), timeout: None, dry_run: false, authorized_operations: false }
    }
}

impl Admin {
    /// An admin whose calls may take this long each, instead of `default.api.timeout.ms`. One request takes no longer than
    /// `request.timeout.ms` all the same.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    /// An admin that changes nothing: brokers only check what is asked (Kafka's `validate_only`). That is so for topics to
    /// create or to grow, configs, quotas and features; [`reset_group_offsets`](Self::reset_group_offsets) says what it would
    /// commit. Every other change is refused as `InvalidArgument` before anything is sent. Questions are answered as ever.
    pub fn dry_run(&self) -> Self {
        Self { dry_run: true, ..self.clone() }
    }

    /// An admin whose descriptions of topics, groups and the cluster say what we may do there (KIP-430, brokers from 2.3).
    pub fn with_authorized_operations(&self) -> Self {
        Self { authorized_operations: true, ..self.clone() }
    }

    /// When a call that begins now must have ended.
    fn deadline(&self) -> Instant {
        self.timeout.map_or_else(|| self.client.api_deadline(), |timeout| self.client.deadline(timeout))
    }

    fn timeout_ms(&self, deadline: Instant) -> i32 {
        i32::try_from(self.client.call_timeout(deadline).as_millis()).unwrap_or(i32::MAX)
    }
}

/// An item's outcome, with the broker's own words.
fn outcome(code: i16, message: Option<StrBytes>, topic: Option<&str>) -> Result<()> {
    ErrorCode::check(code).map_err(|code| {
        let error = topic.into_iter().fold(Error::broker(code), Error::topic);
        let said = message.filter(|message| !message.is_empty());
        said.into_iter().fold(error, |error, message| error.message(message.to_string()))
    })
}

/// Items that come with something, each of them once.
///
/// # Errors
/// `InvalidArgument` if one comes twice: which of the two is meant?
fn each_once<K: Ord + Debug, V>(items: impl IntoIterator<Item = (K, V)>) -> Result<BTreeMap<K, V>> {
    let mut each = BTreeMap::new();
    for (key, value) in items {
        if each.contains_key(&key) {
            return Err(Error::with_message(ErrorKind::InvalidArgument, format!("{key:?} is named twice")));
        }
        each.insert(key, value);
    }
    Ok(each)
}

/// What a broker says as text.
fn text(text: &StrBytes) -> String {
    text.to_string()
}
