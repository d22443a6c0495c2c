//! What each broker advertises: a row per API, a column per [`Emulation`](super::Emulation) in their order.
//!
//! - Apache Kafka 2.4.1, 2.8.2, 3.9.2 and 4.3.1: what one broker of each has answered, every API of it, whether the test
//!   broker serves it or not, so that an API added later finds its row. The `real_broker` suite asks again. Left out: the
//!   groups of KIP-848 of 3.9, which are a preview there and off by default.
//! - Redpanda 24.3.1: what the sources of its handlers say (`src/v/kafka/server/handlers`).
//! - Event Hubs: what users' logs show: APIs 0-13 of 2024 (klife 13), JoinGroup, SaslAuthenticate and ApiVersions of 2026
//!   (franz-go 1312), the administration of 2018 and 2022 (azure-event-hubs-for-kafka 69 and 209). Nobody has shown its
//!   SyncGroup and InitProducerId: these are by what goes with the others.

/// It has not got this API.
pub(super) const NONE: (i16, i16) = (0, -1);

/// Key of the API, lowest and highest version of each broker.
#[rustfmt::skip]
pub(super) const VERSIONS: &[(i16, [(i16, i16); 6])] = &[
    //   2.4 2.8 3.9 4.3 Redpanda EventHubs
    (0, [(0, 8), (0, 9), (0, 11), (0, 13), (0, 7), (0, 7)]), // Produce
    (1, [(0, 11), (0, 12), (0, 17), (4, 18), (4, 11), (4, 6)]), // Fetch
    (2, [(0, 5), (0, 6), (0, 9), (1, 11), (0, 4), (0, 8)]), // ListOffsets
    (3, [(0, 9), (0, 11), (0, 12), (0, 13), (0, 8), (0, 5)]), // Metadata
    (4, [(0, 4), (0, 5), NONE, NONE, NONE, NONE]), // LeaderAndIsr
    (5, [(0, 2), (0, 3), NONE, NONE, NONE, NONE]), // StopReplica
    (6, [(0, 6), (0, 7), NONE, NONE, NONE, NONE]), // UpdateMetadata
    (7, [(0, 3), (0, 3), NONE, NONE, NONE, NONE]), // ControlledShutdown
    (8, [(0, 8), (0, 8), (0, 9), (2, 10), (1, 8), (0, 8)]), // OffsetCommit
    (9, [(0, 6), (0, 7), (0, 9), (1, 10), (1, 7), (0, 8)]), // OffsetFetch
    (10, [(0, 3), (0, 3), (0, 6), (0, 6), (0, 3), (0, 4)]), // FindCoordinator
    (11, [(0, 6), (0, 7), (0, 9), (0, 9), (0, 6), (0, 9)]), // JoinGroup
    (12, [(0, 4), (0, 4), (0, 4), (0, 4), (0, 4), (0, 4)]), // Heartbeat
    (13, [(0, 4), (0, 4), (0, 5), (0, 5), (0, 4), (0, 5)]), // LeaveGroup
    (14, [(0, 4), (0, 5), (0, 5), (0, 5), (0, 4), (0, 5)]), // SyncGroup
    (15, [(0, 5), (0, 5), (0, 5), (0, 6), (0, 5), (0, 1)]), // DescribeGroups
    (16, [(0, 3), (0, 4), (0, 5), (0, 5), (0, 4), (0, 1)]), // ListGroups
    (17, [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)]), // SaslHandshake
    (18, [(0, 3), (0, 3), (0, 4), (0, 4), (0, 3), (0, 3)]), // ApiVersions
    (19, [(0, 5), (0, 7), (0, 7), (2, 7), (0, 6), (0, 2)]), // CreateTopics
    (20, [(0, 4), (0, 6), (0, 6), (1, 6), (0, 5), (0, 2)]), // DeleteTopics
    (21, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2), NONE]), // DeleteRecords
    (22, [(0, 2), (0, 4), (0, 5), (0, 5), (0, 3), (0, 1)]), // InitProducerId
    (23, [(0, 3), (0, 4), (0, 4), (2, 4), (0, 4), NONE]), // OffsetForLeaderEpoch
    (24, [(0, 1), (0, 3), (0, 5), (0, 5), (0, 3), NONE]), // AddPartitionsToTxn
    (25, [(0, 1), (0, 3), (0, 4), (0, 4), (0, 1), NONE]), // AddOffsetsToTxn
    (26, [(0, 1), (0, 3), (0, 4), (0, 5), (0, 3), NONE]), // EndTxn
    (27, [(0, 0), (0, 1), (0, 1), (1, 2), NONE, NONE]), // WriteTxnMarkers
    (28, [(0, 2), (0, 3), (0, 4), (0, 5), (0, 3), NONE]), // TxnOffsetCommit
    (29, [(0, 1), (0, 2), (0, 3), (1, 3), (0, 2), NONE]), // DescribeAcls
    (30, [(0, 1), (0, 2), (0, 3), (1, 3), (0, 2), NONE]), // CreateAcls
    (31, [(0, 1), (0, 2), (0, 3), (1, 3), (0, 2), NONE]), // DeleteAcls
    (32, [(0, 2), (0, 4), (0, 4), (1, 4), (0, 4), (0, 2)]), // DescribeConfigs
    (33, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2), NONE]), // AlterConfigs
    (34, [(0, 1), (0, 2), (0, 2), (1, 2), NONE, NONE]), // AlterReplicaLogDirs
    (35, [(0, 1), (0, 2), (0, 4), (1, 5), (0, 2), NONE]), // DescribeLogDirs
    (36, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2), (0, 2)]), // SaslAuthenticate
    (37, [(0, 1), (0, 3), (0, 3), (0, 3), (0, 3), (0, 1)]), // CreatePartitions
    (38, [(0, 2), (0, 2), (0, 3), (1, 3), NONE, NONE]), // CreateDelegationToken
    (39, [(0, 1), (0, 2), (0, 2), (1, 2), NONE, NONE]), // RenewDelegationToken
    (40, [(0, 1), (0, 2), (0, 2), (1, 2), NONE, NONE]), // ExpireDelegationToken
    (41, [(0, 1), (0, 2), (0, 3), (1, 3), NONE, NONE]), // DescribeDelegationToken
    (42, [(0, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0, 0)]), // DeleteGroups
    (43, [(0, 2), (0, 2), (0, 2), (0, 2), NONE, NONE]), // ElectLeaders
    (44, [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), NONE]), // IncrementalAlterConfigs
    (45, [(0, 0), (0, 0), (0, 0), (0, 1), (0, 0), NONE]), // AlterPartitionReassignments
    (46, [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), NONE]), // ListPartitionReassignments
    (47, [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), NONE]), // OffsetDelete
    (48, [NONE, (0, 1), (0, 1), (0, 1), (0, 1), NONE]), // DescribeClientQuotas
    (49, [NONE, (0, 1), (0, 1), (0, 1), (0, 1), NONE]), // AlterClientQuotas
    (50, [NONE, (0, 0), (0, 0), (0, 0), NONE, NONE]), // DescribeUserScramCredentials
    (51, [NONE, (0, 0), (0, 0), (0, 0), NONE, NONE]), // AlterUserScramCredentials
    (55, [NONE, NONE, (0, 2), (0, 2), NONE, NONE]), // DescribeQuorum
    (56, [NONE, (0, 0), NONE, NONE, NONE, NONE]), // AlterPartition
    (57, [NONE, (0, 0), (0, 1), (0, 2), NONE, NONE]), // UpdateFeatures
    (60, [NONE, (0, 0), (0, 1), (0, 2), NONE, NONE]), // DescribeCluster
    (61, [NONE, (0, 0), (0, 0), (0, 0), (0, 0), NONE]), // DescribeProducers
    (64, [NONE, NONE, (0, 0), (0, 0), NONE, NONE]), // UnregisterBroker
    (65, [NONE, NONE, (0, 0), (0, 0), (0, 0), NONE]), // DescribeTransactions
    (66, [NONE, NONE, (0, 1), (0, 2), (0, 0), NONE]), // ListTransactions
    (68, [NONE, NONE, NONE, (0, 1), NONE, NONE]), // ConsumerGroupHeartbeat
    (69, [NONE, NONE, NONE, (0, 1), NONE, NONE]), // ConsumerGroupDescribe
    (74, [NONE, NONE, (0, 0), (0, 1), NONE, NONE]), // ListConfigResources
    (75, [NONE, NONE, (0, 0), (0, 0), NONE, NONE]), // DescribeTopicPartitions
    (76, [NONE, NONE, NONE, (1, 1), NONE, NONE]), // ShareGroupHeartbeat
    (77, [NONE, NONE, NONE, (1, 1), NONE, NONE]), // ShareGroupDescribe
    (78, [NONE, NONE, NONE, (1, 2), NONE, NONE]), // ShareFetch
    (79, [NONE, NONE, NONE, (1, 2), NONE, NONE]), // ShareAcknowledge
    (80, [NONE, NONE, (0, 0), (0, 1), NONE, NONE]), // AddRaftVoter
    (81, [NONE, NONE, (0, 0), (0, 0), NONE, NONE]), // RemoveRaftVoter
    (83, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // InitializeShareGroupState
    (84, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // ReadShareGroupState
    (85, [NONE, NONE, NONE, (0, 1), NONE, NONE]), // WriteShareGroupState
    (86, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // DeleteShareGroupState
    (87, [NONE, NONE, NONE, (0, 1), NONE, NONE]), // ReadShareGroupStateSummary
    (88, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // StreamsGroupHeartbeat
    (89, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // StreamsGroupDescribe
    (90, [NONE, NONE, NONE, (0, 1), NONE, NONE]), // DescribeShareGroupOffsets
    (91, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // AlterShareGroupOffsets
    (92, [NONE, NONE, NONE, (0, 0), NONE, NONE]), // DeleteShareGroupOffsets
];
