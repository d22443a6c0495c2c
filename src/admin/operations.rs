//! [`AclOperation`]: what can be done to a resource, in ACLs and in what a description says that we may do.

use crate::admin::words::words;
use std::collections::BTreeSet;

words! {
    /// What can be done to a resource.
    AclOperation {
        /// Everything.
        All = 2, "All";
        /// Reads records, joins a group.
        Read = 3, "Read";
        /// Writes records.
        Write = 4, "Write";
        /// Creates.
        Create = 5, "Create";
        /// Deletes.
        Delete = 6, "Delete";
        /// Alters.
        Alter = 7, "Alter";
        /// Describes.
        Describe = 8, "Describe";
        /// What brokers do among themselves.
        ClusterAction = 9, "ClusterAction";
        /// Describes configs.
        DescribeConfigs = 10, "DescribeConfigs";
        /// Alters configs.
        AlterConfigs = 11, "AlterConfigs";
        /// Writes with idempotence, on the cluster.
        IdempotentWrite = 12, "IdempotentWrite";
        /// Creates delegation tokens of a user.
        CreateTokens = 13, "CreateTokens";
        /// Describes delegation tokens of a user.
        DescribeTokens = 14, "DescribeTokens";
        /// Takes part in a two-phase commit.
        TwoPhaseCommit = 15, "TwoPhaseCommit";
    }
}

impl AclOperation {
    /// From the bits by which an answer says what we may do; `None` if it doesn't say.
    pub(super) fn from_bits(bits: i32) -> Option<BTreeSet<Self>> {
        let may = |operation: &&Self| bits & (1 << operation.to_wire()) != 0;
        (bits != i32::MIN).then(|| Self::ALL.iter().filter(may).copied().collect())
    }
}
