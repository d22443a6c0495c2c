// Written by generate_guard from the message JSON of Kafka 4.4.0. Do not edit.
// Columns: see `Message`, `Struct` and `Field` in guard.rs.

use super::{Direction::*, Kind::*, Message, NEVER, Struct, f, m, s};

/// How deep structs nest.
pub const DEPTH: u8 = 6;

// Data without an API key of its own: the key to give `check`.
pub const CONSUMER_PROTOCOL_SUBSCRIPTION: i16 = -2;
pub const CONSUMER_PROTOCOL_ASSIGNMENT: i16 = -1;

/// Sorted by key, then request before response.
#[rustfmt::skip]
pub static MESSAGES: [Message; 184] = [
    m(-2, Request, 0, 3, NEVER, 0), // ConsumerProtocolSubscription
    m(-1, Request, 0, 3, NEVER, 2), // ConsumerProtocolAssignment
    m(0, Request, 3, 13, 9, 4), // ProduceRequest
    m(0, Response, 3, 13, 9, 7), // ProduceResponse
    m(1, Request, 4, 18, 12, 13), // FetchRequest
    m(1, Response, 4, 18, 12, 18), // FetchResponse
    m(2, Request, 1, 11, 6, 26), // ListOffsetsRequest
    m(2, Response, 1, 11, 6, 29), // ListOffsetsResponse
    m(3, Request, 0, 13, 9, 32), // MetadataRequest
    m(3, Response, 0, 13, 9, 34), // MetadataResponse
    m(8, Request, 2, 10, 8, 38), // OffsetCommitRequest
    m(8, Response, 2, 10, 8, 41), // OffsetCommitResponse
    m(9, Request, 1, 10, 6, 44), // OffsetFetchRequest
    m(9, Response, 1, 10, 6, 48), // OffsetFetchResponse
    m(10, Request, 0, 6, 3, 54), // FindCoordinatorRequest
    m(10, Response, 0, 6, 3, 55), // FindCoordinatorResponse
    m(11, Request, 0, 9, 6, 57), // JoinGroupRequest
    m(11, Response, 0, 9, 6, 59), // JoinGroupResponse
    m(12, Request, 0, 4, 4, 61), // HeartbeatRequest
    m(12, Response, 0, 4, 4, 62), // HeartbeatResponse
    m(13, Request, 0, 5, 4, 63), // LeaveGroupRequest
    m(13, Response, 0, 5, 4, 65), // LeaveGroupResponse
    m(14, Request, 0, 5, 4, 67), // SyncGroupRequest
    m(14, Response, 0, 5, 4, 69), // SyncGroupResponse
    m(15, Request, 0, 6, 5, 70), // DescribeGroupsRequest
    m(15, Response, 0, 6, 5, 71), // DescribeGroupsResponse
    m(16, Request, 0, 5, 3, 74), // ListGroupsRequest
    m(16, Response, 0, 5, 3, 75), // ListGroupsResponse
    m(17, Request, 0, 1, NEVER, 77), // SaslHandshakeRequest
    m(17, Response, 0, 1, NEVER, 78), // SaslHandshakeResponse
    m(18, Request, 0, 5, 3, 79), // ApiVersionsRequest
    m(18, Response, 0, 5, 3, 80), // ApiVersionsResponse
    m(19, Request, 2, 7, 5, 84), // CreateTopicsRequest
    m(19, Response, 2, 7, 5, 88), // CreateTopicsResponse
    m(20, Request, 1, 6, 4, 91), // DeleteTopicsRequest
    m(20, Response, 1, 6, 4, 93), // DeleteTopicsResponse
    m(21, Request, 0, 2, 2, 95), // DeleteRecordsRequest
    m(21, Response, 0, 2, 2, 98), // DeleteRecordsResponse
    m(22, Request, 0, 6, 2, 101), // InitProducerIdRequest
    m(22, Response, 0, 6, 2, 102), // InitProducerIdResponse
    m(23, Request, 2, 4, 4, 103), // OffsetForLeaderEpochRequest
    m(23, Response, 2, 4, 4, 106), // OffsetForLeaderEpochResponse
    m(24, Request, 0, 5, 3, 109), // AddPartitionsToTxnRequest
    m(24, Response, 0, 5, 3, 112), // AddPartitionsToTxnResponse
    m(25, Request, 0, 4, 3, 116), // AddOffsetsToTxnRequest
    m(25, Response, 0, 4, 3, 117), // AddOffsetsToTxnResponse
    m(26, Request, 0, 5, 3, 118), // EndTxnRequest
    m(26, Response, 0, 5, 3, 119), // EndTxnResponse
    m(27, Request, 1, 2, 1, 120), // WriteTxnMarkersRequest
    m(27, Response, 1, 2, 1, 123), // WriteTxnMarkersResponse
    m(28, Request, 0, 6, 3, 127), // TxnOffsetCommitRequest
    m(28, Response, 0, 6, 3, 130), // TxnOffsetCommitResponse
    m(29, Request, 1, 3, 2, 133), // DescribeAclsRequest
    m(29, Response, 1, 3, 2, 134), // DescribeAclsResponse
    m(30, Request, 1, 3, 2, 137), // CreateAclsRequest
    m(30, Response, 1, 3, 2, 139), // CreateAclsResponse
    m(31, Request, 1, 3, 2, 141), // DeleteAclsRequest
    m(31, Response, 1, 3, 2, 143), // DeleteAclsResponse
    m(32, Request, 1, 4, 4, 146), // DescribeConfigsRequest
    m(32, Response, 1, 4, 4, 148), // DescribeConfigsResponse
    m(33, Request, 0, 2, 2, 152), // AlterConfigsRequest
    m(33, Response, 0, 2, 2, 155), // AlterConfigsResponse
    m(34, Request, 1, 2, 2, 157), // AlterReplicaLogDirsRequest
    m(34, Response, 1, 2, 2, 160), // AlterReplicaLogDirsResponse
    m(35, Request, 1, 5, 2, 163), // DescribeLogDirsRequest
    m(35, Response, 1, 5, 2, 165), // DescribeLogDirsResponse
    m(36, Request, 0, 2, 2, 169), // SaslAuthenticateRequest
    m(36, Response, 0, 2, 2, 170), // SaslAuthenticateResponse
    m(37, Request, 0, 3, 2, 171), // CreatePartitionsRequest
    m(37, Response, 0, 3, 2, 174), // CreatePartitionsResponse
    m(38, Request, 1, 3, 2, 176), // CreateDelegationTokenRequest
    m(38, Response, 1, 3, 2, 178), // CreateDelegationTokenResponse
    m(39, Request, 1, 2, 2, 179), // RenewDelegationTokenRequest
    m(39, Response, 1, 2, 2, 180), // RenewDelegationTokenResponse
    m(40, Request, 1, 2, 2, 181), // ExpireDelegationTokenRequest
    m(40, Response, 1, 2, 2, 182), // ExpireDelegationTokenResponse
    m(41, Request, 1, 3, 2, 183), // DescribeDelegationTokenRequest
    m(41, Response, 1, 3, 2, 185), // DescribeDelegationTokenResponse
    m(42, Request, 0, 3, 2, 188), // DeleteGroupsRequest
    m(42, Response, 0, 3, 2, 189), // DeleteGroupsResponse
    m(43, Request, 0, 2, 2, 191), // ElectLeadersRequest
    m(43, Response, 0, 2, 2, 193), // ElectLeadersResponse
    m(44, Request, 0, 1, 1, 196), // IncrementalAlterConfigsRequest
    m(44, Response, 0, 1, 1, 199), // IncrementalAlterConfigsResponse
    m(45, Request, 0, 1, 0, 201), // AlterPartitionReassignmentsRequest
    m(45, Response, 0, 1, 0, 204), // AlterPartitionReassignmentsResponse
    m(46, Request, 0, 0, 0, 207), // ListPartitionReassignmentsRequest
    m(46, Response, 0, 0, 0, 209), // ListPartitionReassignmentsResponse
    m(47, Request, 0, 0, NEVER, 212), // OffsetDeleteRequest
    m(47, Response, 0, 0, NEVER, 215), // OffsetDeleteResponse
    m(48, Request, 0, 1, 1, 218), // DescribeClientQuotasRequest
    m(48, Response, 0, 1, 1, 220), // DescribeClientQuotasResponse
    m(49, Request, 0, 1, 1, 224), // AlterClientQuotasRequest
    m(49, Response, 0, 1, 1, 228), // AlterClientQuotasResponse
    m(50, Request, 0, 0, 0, 231), // DescribeUserScramCredentialsRequest
    m(50, Response, 0, 0, 0, 233), // DescribeUserScramCredentialsResponse
    m(51, Request, 0, 0, 0, 236), // AlterUserScramCredentialsRequest
    m(51, Response, 0, 0, 0, 239), // AlterUserScramCredentialsResponse
    m(52, Request, 0, 2, 0, 241), // VoteRequest
    m(52, Response, 0, 2, 0, 244), // VoteResponse
    m(53, Request, 0, 1, 1, 248), // BeginQuorumEpochRequest
    m(53, Response, 0, 1, 1, 252), // BeginQuorumEpochResponse
    m(54, Request, 0, 1, 1, 256), // EndQuorumEpochRequest
    m(54, Response, 0, 1, 1, 261), // EndQuorumEpochResponse
    m(55, Request, 0, 2, 0, 265), // DescribeQuorumRequest
    m(55, Response, 0, 2, 0, 268), // DescribeQuorumResponse
    m(56, Request, 2, 3, 0, 274), // AlterPartitionRequest
    m(56, Response, 2, 3, 0, 278), // AlterPartitionResponse
    m(57, Request, 0, 2, 0, 281), // UpdateFeaturesRequest
    m(57, Response, 0, 2, 0, 283), // UpdateFeaturesResponse
    m(58, Request, 0, 0, 0, 285), // EnvelopeRequest
    m(58, Response, 0, 0, 0, 286), // EnvelopeResponse
    m(59, Request, 0, 1, 0, 287), // FetchSnapshotRequest
    m(59, Response, 0, 1, 0, 291), // FetchSnapshotResponse
    m(60, Request, 0, 2, 0, 297), // DescribeClusterRequest
    m(60, Response, 0, 2, 0, 298), // DescribeClusterResponse
    m(61, Request, 0, 0, 0, 300), // DescribeProducersRequest
    m(61, Response, 0, 0, 0, 302), // DescribeProducersResponse
    m(62, Request, 0, 4, 0, 306), // BrokerRegistrationRequest
    m(62, Response, 0, 4, 0, 309), // BrokerRegistrationResponse
    m(63, Request, 0, 2, 0, 310), // BrokerHeartbeatRequest
    m(63, Response, 0, 2, 0, 311), // BrokerHeartbeatResponse
    m(64, Request, 0, 0, 0, 312), // UnregisterBrokerRequest
    m(64, Response, 0, 0, 0, 313), // UnregisterBrokerResponse
    m(65, Request, 0, 0, 0, 314), // DescribeTransactionsRequest
    m(65, Response, 0, 0, 0, 315), // DescribeTransactionsResponse
    m(66, Request, 0, 2, 0, 318), // ListTransactionsRequest
    m(66, Response, 0, 2, 0, 319), // ListTransactionsResponse
    m(67, Request, 0, 0, 0, 321), // AllocateProducerIdsRequest
    m(67, Response, 0, 0, 0, 322), // AllocateProducerIdsResponse
    m(68, Request, 0, 1, 0, 323), // ConsumerGroupHeartbeatRequest
    m(68, Response, 0, 1, 0, 325), // ConsumerGroupHeartbeatResponse
    m(69, Request, 0, 1, 0, 328), // ConsumerGroupDescribeRequest
    m(69, Response, 0, 1, 0, 329), // ConsumerGroupDescribeResponse
    m(70, Request, 0, 0, 0, 334), // ControllerRegistrationRequest
    m(70, Response, 0, 0, 0, 337), // ControllerRegistrationResponse
    m(71, Request, 0, 0, 0, 338), // GetTelemetrySubscriptionsRequest
    m(71, Response, 0, 0, 0, 339), // GetTelemetrySubscriptionsResponse
    m(72, Request, 0, 0, 0, 340), // PushTelemetryRequest
    m(72, Response, 0, 0, 0, 341), // PushTelemetryResponse
    m(73, Request, 0, 0, 0, 342), // AssignReplicasToDirsRequest
    m(73, Response, 0, 0, 0, 346), // AssignReplicasToDirsResponse
    m(74, Request, 0, 1, 0, 350), // ListConfigResourcesRequest
    m(74, Response, 0, 1, 0, 351), // ListConfigResourcesResponse
    m(75, Request, 0, 0, 0, 353), // DescribeTopicPartitionsRequest
    m(75, Response, 0, 0, 0, 356), // DescribeTopicPartitionsResponse
    m(76, Request, 1, 1, 0, 360), // ShareGroupHeartbeatRequest
    m(76, Response, 1, 1, 0, 361), // ShareGroupHeartbeatResponse
    m(77, Request, 1, 1, 0, 364), // ShareGroupDescribeRequest
    m(77, Response, 1, 1, 0, 365), // ShareGroupDescribeResponse
    m(78, Request, 1, 2, 0, 370), // ShareFetchRequest
    m(78, Response, 1, 2, 0, 375), // ShareFetchResponse
    m(79, Request, 1, 2, 0, 381), // ShareAcknowledgeRequest
    m(79, Response, 1, 2, 0, 385), // ShareAcknowledgeResponse
    m(80, Request, 0, 1, 0, 390), // AddRaftVoterRequest
    m(80, Response, 0, 1, 0, 392), // AddRaftVoterResponse
    m(81, Request, 0, 0, 0, 393), // RemoveRaftVoterRequest
    m(81, Response, 0, 0, 0, 394), // RemoveRaftVoterResponse
    m(82, Request, 0, 0, 0, 395), // UpdateRaftVoterRequest
    m(82, Response, 0, 0, 0, 398), // UpdateRaftVoterResponse
    m(83, Request, 0, 0, 0, 400), // InitializeShareGroupStateRequest
    m(83, Response, 0, 0, 0, 403), // InitializeShareGroupStateResponse
    m(84, Request, 0, 0, 0, 406), // ReadShareGroupStateRequest
    m(84, Response, 0, 0, 0, 409), // ReadShareGroupStateResponse
    m(85, Request, 0, 1, 0, 413), // WriteShareGroupStateRequest
    m(85, Response, 0, 1, 0, 417), // WriteShareGroupStateResponse
    m(86, Request, 0, 0, 0, 420), // DeleteShareGroupStateRequest
    m(86, Response, 0, 0, 0, 423), // DeleteShareGroupStateResponse
    m(87, Request, 0, 1, 0, 426), // ReadShareGroupStateSummaryRequest
    m(87, Response, 0, 1, 0, 429), // ReadShareGroupStateSummaryResponse
    m(88, Request, 0, 1, 0, 432), // StreamsGroupHeartbeatRequest
    m(88, Response, 0, 1, 0, 441), // StreamsGroupHeartbeatResponse
    m(89, Request, 0, 1, 0, 447), // StreamsGroupDescribeRequest
    m(89, Response, 0, 1, 0, 448), // StreamsGroupDescribeResponse
    m(90, Request, 0, 1, 0, 463), // DescribeShareGroupOffsetsRequest
    m(90, Response, 0, 1, 0, 466), // DescribeShareGroupOffsetsResponse
    m(91, Request, 0, 0, 0, 470), // AlterShareGroupOffsetsRequest
    m(91, Response, 0, 0, 0, 473), // AlterShareGroupOffsetsResponse
    m(92, Request, 0, 0, 0, 476), // DeleteShareGroupOffsetsRequest
    m(92, Response, 0, 0, 0, 478), // DeleteShareGroupOffsetsResponse
    m(93, Request, 0, 0, 0, 480), // StreamsGroupTopologyDescriptionUpdateRequest
    m(93, Response, 0, 0, 0, 485), // StreamsGroupTopologyDescriptionUpdateResponse
    m(94, Request, 0, 0, 0, 486), // UnregisterControllerRequest
    m(94, Response, 0, 0, 0, 487), // UnregisterControllerResponse
];

#[rustfmt::skip]
pub static STRUCTS: [Struct; 488] = [
    /* 0 ConsumerProtocolSubscription */ s(120, &[f(Strs, 0), f(Bytes, 0).null(0), f(Structs(1), 1), f(Fixed(4), 2), f(Str, 3).null(3)]),
    /* 1 ConsumerProtocolSubscription.TopicPartition */ s(56, &[f(Str, 1), f(Fixeds(4), 1)]),
    /* 2 ConsumerProtocolAssignment */ s(56, &[f(Structs(3), 0), f(Bytes, 0).null(0)]),
    /* 3 ConsumerProtocolAssignment.TopicPartition */ s(56, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 4 ProduceRequest */ s(88, &[f(Str, 3).null(3), f(Fixed(2), 0), f(Fixed(4), 0), f(Structs(5), 0)]),
    /* 5 ProduceRequest.TopicProduceData */ s(96, &[f(Str, 0).to(12), f(Fixed(16), 13), f(Structs(6), 0)]),
    /* 6 ProduceRequest.PartitionProduceData */ s(64, &[f(Fixed(4), 0), f(Bytes, 0).null(0)]),
    /* 7 ProduceResponse */ s(80, &[f(Structs(8), 0), f(Fixed(4), 1), f(Structs(12), 10).tag(0)]),
    /* 8 ProduceResponse.TopicProduceResponse */ s(96, &[f(Str, 0).to(12), f(Fixed(16), 13), f(Structs(9), 0)]),
    /* 9 ProduceResponse.PartitionProduceResponse */ s(144, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(8), 2), f(Fixed(8), 5), f(Structs(10), 8), f(Str, 8).null(8), f(Struct(11), 10).tag(0)]),
    /* 10 ProduceResponse.BatchIndexAndErrorMessage */ s(64, &[f(Fixed(4), 8), f(Str, 8).null(8)]),
    /* 11 ProduceResponse.LeaderIdAndEpoch */ s(32, &[f(Fixed(4), 10), f(Fixed(4), 10)]),
    /* 12 ProduceResponse.NodeEndpoint */ s(96, &[f(Fixed(4), 10), f(Str, 10), f(Fixed(4), 10), f(Str, 10).null(10)]),
    /* 13 FetchRequest */ s(208, &[f(Str, 12).null(12).tag(0), f(Fixed(4), 0).to(14), f(Struct(14), 15).tag(1), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 3), f(Fixed(1), 4), f(Fixed(4), 7), f(Fixed(4), 7), f(Structs(15), 0), f(Structs(17), 7), f(Str, 11)]),
    /* 14 FetchRequest.ReplicaState */ s(40, &[f(Fixed(4), 15), f(Fixed(8), 15)]),
    /* 15 FetchRequest.FetchTopic */ s(96, &[f(Str, 0).to(12), f(Fixed(16), 13), f(Structs(16), 0)]),
    /* 16 FetchRequest.FetchPartition */ s(80, &[f(Fixed(4), 0), f(Fixed(4), 9), f(Fixed(8), 0), f(Fixed(4), 12), f(Fixed(8), 5), f(Fixed(4), 0), f(Fixed(16), 17).tag(0), f(Fixed(8), 18).tag(1)]),
    /* 17 FetchRequest.ForgottenTopic */ s(96, &[f(Str, 7).to(12), f(Fixed(16), 13), f(Fixeds(4), 7)]),
    /* 18 FetchResponse */ s(88, &[f(Fixed(4), 1), f(Fixed(2), 7), f(Fixed(4), 7), f(Structs(19), 0), f(Structs(25), 16).tag(0)]),
    /* 19 FetchResponse.FetchableTopicResponse */ s(96, &[f(Str, 0).to(12), f(Fixed(16), 13), f(Structs(20), 0)]),
    /* 20 FetchResponse.PartitionData */ s(232, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(8), 4), f(Fixed(8), 5), f(Struct(21), 12).tag(0), f(Struct(22), 12).tag(1), f(Struct(23), 12).tag(2), f(Structs(24), 4).null(4), f(Fixed(4), 11), f(Bytes, 0).null(0)]),
    /* 21 FetchResponse.EpochEndOffset */ s(40, &[f(Fixed(4), 12), f(Fixed(8), 12)]),
    /* 22 FetchResponse.LeaderIdAndEpoch */ s(32, &[f(Fixed(4), 12), f(Fixed(4), 12)]),
    /* 23 FetchResponse.SnapshotId */ s(40, &[f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 24 FetchResponse.AbortedTransaction */ s(40, &[f(Fixed(8), 4), f(Fixed(8), 4)]),
    /* 25 FetchResponse.NodeEndpoint */ s(96, &[f(Fixed(4), 16), f(Str, 16), f(Fixed(4), 16), f(Str, 16).null(16)]),
    /* 26 ListOffsetsRequest */ s(64, &[f(Fixed(4), 0), f(Fixed(1), 2), f(Structs(27), 0), f(Fixed(4), 10)]),
    /* 27 ListOffsetsRequest.ListOffsetsTopic */ s(80, &[f(Str, 0), f(Structs(28), 0)]),
    /* 28 ListOffsetsRequest.ListOffsetsPartition */ s(40, &[f(Fixed(4), 0), f(Fixed(4), 4), f(Fixed(8), 0)]),
    /* 29 ListOffsetsResponse */ s(56, &[f(Fixed(4), 2), f(Structs(30), 0)]),
    /* 30 ListOffsetsResponse.ListOffsetsTopicResponse */ s(80, &[f(Str, 0), f(Structs(31), 0)]),
    /* 31 ListOffsetsResponse.ListOffsetsPartitionResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 1), f(Fixed(8), 1), f(Fixed(4), 4)]),
    /* 32 MetadataRequest */ s(56, &[f(Structs(33), 0).null(1), f(Fixed(1), 4), f(Fixed(1), 8).to(10), f(Fixed(1), 8)]),
    /* 33 MetadataRequest.MetadataRequestTopic */ s(72, &[f(Fixed(16), 10), f(Str, 0).null(10)]),
    /* 34 MetadataResponse */ s(120, &[f(Fixed(4), 3), f(Structs(35), 0), f(Str, 2).null(2), f(Fixed(4), 1), f(Structs(36), 0), f(Fixed(4), 8).to(10), f(Fixed(2), 13)]),
    /* 35 MetadataResponse.MetadataResponseBroker */ s(96, &[f(Fixed(4), 0), f(Str, 0), f(Fixed(4), 0), f(Str, 1).null(1)]),
    /* 36 MetadataResponse.MetadataResponseTopic */ s(104, &[f(Fixed(2), 0), f(Str, 0).null(12), f(Fixed(16), 10), f(Fixed(1), 1), f(Structs(37), 0), f(Fixed(4), 8)]),
    /* 37 MetadataResponse.MetadataResponsePartition */ s(112, &[f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 7), f(Fixeds(4), 0), f(Fixeds(4), 0), f(Fixeds(4), 5)]),
    /* 38 OffsetCommitRequest */ s(160, &[f(Str, 0), f(Fixed(4), 1), f(Str, 1), f(Str, 7).null(7), f(Fixed(8), 2).to(4), f(Structs(39), 0)]),
    /* 39 OffsetCommitRequest.OffsetCommitRequestTopic */ s(96, &[f(Str, 0).to(9), f(Fixed(16), 10), f(Structs(40), 0)]),
    /* 40 OffsetCommitRequest.OffsetCommitRequestPartition */ s(72, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 6), f(Str, 0).null(0)]),
    /* 41 OffsetCommitResponse */ s(56, &[f(Fixed(4), 3), f(Structs(42), 0)]),
    /* 42 OffsetCommitResponse.OffsetCommitResponseTopic */ s(96, &[f(Str, 0).to(9), f(Fixed(16), 10), f(Structs(43), 0)]),
    /* 43 OffsetCommitResponse.OffsetCommitResponsePartition */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 44 OffsetFetchRequest */ s(112, &[f(Str, 0).to(7), f(Structs(45), 0).to(7).null(2), f(Structs(46), 8), f(Fixed(1), 7)]),
    /* 45 OffsetFetchRequest.OffsetFetchRequestTopic */ s(80, &[f(Str, 0).to(7), f(Fixeds(4), 0).to(7)]),
    /* 46 OffsetFetchRequest.OffsetFetchRequestGroup */ s(120, &[f(Str, 8), f(Str, 9).null(9), f(Fixed(4), 9), f(Structs(47), 8).null(8)]),
    /* 47 OffsetFetchRequest.OffsetFetchRequestTopics */ s(96, &[f(Str, 8).to(9), f(Fixed(16), 10), f(Fixeds(4), 8)]),
    /* 48 OffsetFetchResponse */ s(80, &[f(Fixed(4), 3), f(Structs(49), 0).to(7), f(Fixed(2), 2).to(7), f(Structs(51), 8)]),
    /* 49 OffsetFetchResponse.OffsetFetchResponseTopic */ s(80, &[f(Str, 0).to(7), f(Structs(50), 0).to(7)]),
    /* 50 OffsetFetchResponse.OffsetFetchResponsePartition */ s(80, &[f(Fixed(4), 0).to(7), f(Fixed(8), 0).to(7), f(Fixed(4), 5).to(7), f(Str, 0).to(7).null(0), f(Fixed(2), 0).to(7)]),
    /* 51 OffsetFetchResponse.OffsetFetchResponseGroup */ s(88, &[f(Str, 8), f(Structs(52), 8), f(Fixed(2), 8)]),
    /* 52 OffsetFetchResponse.OffsetFetchResponseTopics */ s(96, &[f(Str, 8).to(9), f(Fixed(16), 10), f(Structs(53), 8)]),
    /* 53 OffsetFetchResponse.OffsetFetchResponsePartitions */ s(80, &[f(Fixed(4), 8), f(Fixed(8), 8), f(Fixed(4), 8), f(Str, 8).null(8), f(Fixed(2), 8)]),
    /* 54 FindCoordinatorRequest */ s(88, &[f(Str, 0).to(3), f(Fixed(1), 1), f(Strs, 4)]),
    /* 55 FindCoordinatorResponse */ s(128, &[f(Fixed(4), 1), f(Fixed(2), 0).to(3), f(Str, 1).to(3).null(1), f(Fixed(4), 0).to(3), f(Str, 0).to(3), f(Fixed(4), 0).to(3), f(Structs(56), 4)]),
    /* 56 FindCoordinatorResponse.Coordinator */ s(136, &[f(Str, 4), f(Fixed(4), 4), f(Str, 4), f(Fixed(4), 4), f(Fixed(2), 4), f(Str, 4).null(4)]),
    /* 57 JoinGroupRequest */ s(216, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 1), f(Str, 0), f(Str, 5).null(5), f(Str, 0), f(Structs(58), 0), f(Str, 8).null(8)]),
    /* 58 JoinGroupRequest.JoinGroupRequestProtocol */ s(88, &[f(Str, 0), f(Bytes, 0)]),
    /* 59 JoinGroupResponse */ s(192, &[f(Fixed(4), 2), f(Fixed(2), 0), f(Fixed(4), 0), f(Str, 7).null(7), f(Str, 0).null(7), f(Str, 0), f(Fixed(1), 9), f(Str, 0), f(Structs(60), 0)]),
    /* 60 JoinGroupResponse.JoinGroupResponseMember */ s(120, &[f(Str, 0), f(Str, 5).null(5), f(Bytes, 0)]),
    /* 61 HeartbeatRequest */ s(128, &[f(Str, 0), f(Fixed(4), 0), f(Str, 0), f(Str, 3).null(3)]),
    /* 62 HeartbeatResponse */ s(32, &[f(Fixed(4), 1), f(Fixed(2), 0)]),
    /* 63 LeaveGroupRequest */ s(112, &[f(Str, 0), f(Str, 0).to(2), f(Structs(64), 3)]),
    /* 64 LeaveGroupRequest.MemberIdentity */ s(120, &[f(Str, 3), f(Str, 3).null(3), f(Str, 5).null(5)]),
    /* 65 LeaveGroupResponse */ s(56, &[f(Fixed(4), 1), f(Fixed(2), 0), f(Structs(66), 3)]),
    /* 66 LeaveGroupResponse.MemberResponse */ s(96, &[f(Str, 3), f(Str, 3).null(3), f(Fixed(2), 3)]),
    /* 67 SyncGroupRequest */ s(216, &[f(Str, 0), f(Fixed(4), 0), f(Str, 0), f(Str, 3).null(3), f(Str, 5).null(5), f(Str, 5).null(5), f(Structs(68), 0)]),
    /* 68 SyncGroupRequest.SyncGroupRequestAssignment */ s(88, &[f(Str, 0), f(Bytes, 0)]),
    /* 69 SyncGroupResponse */ s(128, &[f(Fixed(4), 1), f(Fixed(2), 0), f(Str, 5).null(5), f(Str, 5).null(5), f(Bytes, 0)]),
    /* 70 DescribeGroupsRequest */ s(56, &[f(Strs, 0), f(Fixed(1), 3)]),
    /* 71 DescribeGroupsResponse */ s(56, &[f(Fixed(4), 1), f(Structs(72), 0)]),
    /* 72 DescribeGroupsResponse.DescribedGroup */ s(216, &[f(Fixed(2), 0), f(Str, 6).null(6), f(Str, 0), f(Str, 0), f(Str, 0), f(Str, 0), f(Structs(73), 0), f(Fixed(4), 3)]),
    /* 73 DescribeGroupsResponse.DescribedGroupMember */ s(216, &[f(Str, 0), f(Str, 4).null(4), f(Str, 0), f(Str, 0), f(Bytes, 0), f(Bytes, 0)]),
    /* 74 ListGroupsRequest */ s(72, &[f(Strs, 4), f(Strs, 5)]),
    /* 75 ListGroupsResponse */ s(56, &[f(Fixed(4), 1), f(Fixed(2), 0), f(Structs(76), 0)]),
    /* 76 ListGroupsResponse.ListedGroup */ s(152, &[f(Str, 0), f(Str, 0), f(Str, 4), f(Str, 5)]),
    /* 77 SaslHandshakeRequest */ s(32, &[f(Str, 0)]),
    /* 78 SaslHandshakeResponse */ s(32, &[f(Fixed(2), 0), f(Strs, 0)]),
    /* 79 ApiVersionsRequest */ s(128, &[f(Str, 3), f(Str, 3), f(Str, 5).null(5), f(Fixed(4), 5)]),
    /* 80 ApiVersionsResponse */ s(112, &[f(Fixed(2), 0), f(Structs(81), 0), f(Fixed(4), 1), f(Structs(82), 3).tag(0), f(Fixed(8), 3).tag(1), f(Structs(83), 3).tag(2), f(Fixed(1), 3).tag(3)]),
    /* 81 ApiVersionsResponse.ApiVersion */ s(32, &[f(Fixed(2), 0), f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 82 ApiVersionsResponse.SupportedFeatureKey */ s(64, &[f(Str, 3), f(Fixed(2), 3), f(Fixed(2), 3)]),
    /* 83 ApiVersionsResponse.FinalizedFeatureKey */ s(64, &[f(Str, 3), f(Fixed(2), 3), f(Fixed(2), 3)]),
    /* 84 CreateTopicsRequest */ s(56, &[f(Structs(85), 0), f(Fixed(4), 0), f(Fixed(1), 1)]),
    /* 85 CreateTopicsRequest.CreatableTopic */ s(112, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(86), 0), f(Structs(87), 0)]),
    /* 86 CreateTopicsRequest.CreatableReplicaAssignment */ s(56, &[f(Fixed(4), 0), f(Fixeds(4), 0)]),
    /* 87 CreateTopicsRequest.CreatableTopicConfig */ s(88, &[f(Str, 0), f(Str, 0).null(0)]),
    /* 88 CreateTopicsResponse */ s(56, &[f(Fixed(4), 2), f(Structs(89), 0)]),
    /* 89 CreateTopicsResponse.CreatableTopicResult */ s(144, &[f(Str, 0), f(Fixed(16), 7), f(Fixed(2), 0), f(Str, 1).null(0), f(Fixed(2), 5).tag(0), f(Fixed(4), 5), f(Fixed(2), 5), f(Structs(90), 5).null(5)]),
    /* 90 CreateTopicsResponse.CreatableTopicConfigs */ s(96, &[f(Str, 5), f(Str, 5).null(5), f(Fixed(1), 5), f(Fixed(1), 5), f(Fixed(1), 5)]),
    /* 91 DeleteTopicsRequest */ s(80, &[f(Structs(92), 6), f(Strs, 0).to(5), f(Fixed(4), 0)]),
    /* 92 DeleteTopicsRequest.DeleteTopicState */ s(72, &[f(Str, 6).null(6), f(Fixed(16), 6)]),
    /* 93 DeleteTopicsResponse */ s(56, &[f(Fixed(4), 1), f(Structs(94), 0)]),
    /* 94 DeleteTopicsResponse.DeletableTopicResult */ s(112, &[f(Str, 0).null(6), f(Fixed(16), 6), f(Fixed(2), 0), f(Str, 5).null(5)]),
    /* 95 DeleteRecordsRequest */ s(56, &[f(Structs(96), 0), f(Fixed(4), 0)]),
    /* 96 DeleteRecordsRequest.DeleteRecordsTopic */ s(80, &[f(Str, 0), f(Structs(97), 0)]),
    /* 97 DeleteRecordsRequest.DeleteRecordsPartition */ s(40, &[f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 98 DeleteRecordsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(99), 0)]),
    /* 99 DeleteRecordsResponse.DeleteRecordsTopicResult */ s(80, &[f(Str, 0), f(Structs(100), 0)]),
    /* 100 DeleteRecordsResponse.DeleteRecordsPartitionResult */ s(40, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(2), 0)]),
    /* 101 InitProducerIdRequest */ s(72, &[f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(8), 3), f(Fixed(2), 3), f(Fixed(1), 6), f(Fixed(1), 6)]),
    /* 102 InitProducerIdResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(2), 0), f(Fixed(8), 6), f(Fixed(2), 6)]),
    /* 103 OffsetForLeaderEpochRequest */ s(56, &[f(Fixed(4), 3), f(Structs(104), 0)]),
    /* 104 OffsetForLeaderEpochRequest.OffsetForLeaderTopic */ s(80, &[f(Str, 0), f(Structs(105), 0)]),
    /* 105 OffsetForLeaderEpochRequest.OffsetForLeaderPartition */ s(40, &[f(Fixed(4), 0), f(Fixed(4), 2), f(Fixed(4), 0)]),
    /* 106 OffsetForLeaderEpochResponse */ s(56, &[f(Fixed(4), 2), f(Structs(107), 0)]),
    /* 107 OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult */ s(80, &[f(Str, 0), f(Structs(108), 0)]),
    /* 108 OffsetForLeaderEpochResponse.EpochEndOffset */ s(48, &[f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 1), f(Fixed(8), 0)]),
    /* 109 AddPartitionsToTxnRequest */ s(120, &[f(Structs(110), 4), f(Str, 0).to(3), f(Fixed(8), 0).to(3), f(Fixed(2), 0).to(3), f(Structs(111), 0).to(3)]),
    /* 110 AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction */ s(96, &[f(Str, 4), f(Fixed(8), 4), f(Fixed(2), 4), f(Fixed(1), 4), f(Structs(111), 4)]),
    /* 111 AddPartitionsToTxnRequest.AddPartitionsToTxnTopic */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 112 AddPartitionsToTxnResponse */ s(80, &[f(Fixed(4), 0), f(Fixed(2), 4), f(Structs(113), 4), f(Structs(114), 0).to(3)]),
    /* 113 AddPartitionsToTxnResponse.AddPartitionsToTxnResult */ s(80, &[f(Str, 4), f(Structs(114), 4)]),
    /* 114 AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult */ s(80, &[f(Str, 0), f(Structs(115), 0)]),
    /* 115 AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 116 AddOffsetsToTxnRequest */ s(104, &[f(Str, 0), f(Fixed(8), 0), f(Fixed(2), 0), f(Str, 0)]),
    /* 117 AddOffsetsToTxnResponse */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 118 EndTxnRequest */ s(72, &[f(Str, 0), f(Fixed(8), 0), f(Fixed(2), 0), f(Fixed(1), 0)]),
    /* 119 EndTxnResponse */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 5), f(Fixed(2), 5)]),
    /* 120 WriteTxnMarkersRequest */ s(48, &[f(Structs(121), 0)]),
    /* 121 WriteTxnMarkersRequest.WritableTxnMarker */ s(64, &[f(Fixed(8), 0), f(Fixed(2), 0), f(Fixed(1), 0), f(Structs(122), 0), f(Fixed(4), 0), f(Fixed(1), 2)]),
    /* 122 WriteTxnMarkersRequest.WritableTxnMarkerTopic */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 123 WriteTxnMarkersResponse */ s(48, &[f(Structs(124), 0)]),
    /* 124 WriteTxnMarkersResponse.WritableTxnMarkerResult */ s(56, &[f(Fixed(8), 0), f(Structs(125), 0)]),
    /* 125 WriteTxnMarkersResponse.WritableTxnMarkerTopicResult */ s(80, &[f(Str, 0), f(Structs(126), 0)]),
    /* 126 WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 127 TxnOffsetCommitRequest */ s(192, &[f(Str, 0), f(Str, 0), f(Fixed(8), 0), f(Fixed(2), 0), f(Fixed(4), 3), f(Str, 3), f(Str, 3).null(3), f(Structs(128), 0)]),
    /* 128 TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic */ s(96, &[f(Str, 0).to(5), f(Fixed(16), 6), f(Structs(129), 0)]),
    /* 129 TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition */ s(72, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 2), f(Str, 0).null(0)]),
    /* 130 TxnOffsetCommitResponse */ s(56, &[f(Fixed(4), 0), f(Structs(131), 0)]),
    /* 131 TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic */ s(96, &[f(Str, 0).to(5), f(Fixed(16), 6), f(Structs(132), 0)]),
    /* 132 TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 133 DescribeAclsRequest */ s(128, &[f(Fixed(1), 0), f(Str, 0).null(0), f(Fixed(1), 1), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 134 DescribeAclsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(135), 0)]),
    /* 135 DescribeAclsResponse.DescribeAclsResource */ s(88, &[f(Fixed(1), 0), f(Str, 0), f(Fixed(1), 1), f(Structs(136), 0)]),
    /* 136 DescribeAclsResponse.AclDescription */ s(96, &[f(Str, 0), f(Str, 0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 137 CreateAclsRequest */ s(48, &[f(Structs(138), 0)]),
    /* 138 CreateAclsRequest.AclCreation */ s(128, &[f(Fixed(1), 0), f(Str, 0), f(Fixed(1), 1), f(Str, 0), f(Str, 0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 139 CreateAclsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(140), 0)]),
    /* 140 CreateAclsResponse.AclCreationResult */ s(64, &[f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 141 DeleteAclsRequest */ s(48, &[f(Structs(142), 0)]),
    /* 142 DeleteAclsRequest.DeleteAclsFilter */ s(128, &[f(Fixed(1), 0), f(Str, 0).null(0), f(Fixed(1), 1), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 143 DeleteAclsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(144), 0)]),
    /* 144 DeleteAclsResponse.DeleteAclsFilterResult */ s(88, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(145), 0)]),
    /* 145 DeleteAclsResponse.DeleteAclsMatchingAcl */ s(160, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(1), 0), f(Str, 0), f(Fixed(1), 1), f(Str, 0), f(Str, 0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 146 DescribeConfigsRequest */ s(56, &[f(Structs(147), 0), f(Fixed(1), 1), f(Fixed(1), 3)]),
    /* 147 DescribeConfigsRequest.DescribeConfigsResource */ s(88, &[f(Fixed(1), 0), f(Str, 0), f(Strs, 0).null(0)]),
    /* 148 DescribeConfigsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(149), 0)]),
    /* 149 DescribeConfigsResponse.DescribeConfigsResult */ s(120, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(1), 0), f(Str, 0), f(Structs(150), 0)]),
    /* 150 DescribeConfigsResponse.DescribeConfigsResourceResult */ s(152, &[f(Str, 0), f(Str, 0).null(0), f(Fixed(1), 0), f(Fixed(1), 1), f(Fixed(1), 0), f(Structs(151), 1), f(Fixed(1), 3), f(Str, 3).null(0)]),
    /* 151 DescribeConfigsResponse.DescribeConfigsSynonym */ s(96, &[f(Str, 1), f(Str, 1).null(0), f(Fixed(1), 1)]),
    /* 152 AlterConfigsRequest */ s(56, &[f(Structs(153), 0), f(Fixed(1), 0)]),
    /* 153 AlterConfigsRequest.AlterConfigsResource */ s(88, &[f(Fixed(1), 0), f(Str, 0), f(Structs(154), 0)]),
    /* 154 AlterConfigsRequest.AlterableConfig */ s(88, &[f(Str, 0), f(Str, 0).null(0)]),
    /* 155 AlterConfigsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(156), 0)]),
    /* 156 AlterConfigsResponse.AlterConfigsResourceResponse */ s(96, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(1), 0), f(Str, 0)]),
    /* 157 AlterReplicaLogDirsRequest */ s(48, &[f(Structs(158), 0)]),
    /* 158 AlterReplicaLogDirsRequest.AlterReplicaLogDir */ s(80, &[f(Str, 0), f(Structs(159), 0)]),
    /* 159 AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 160 AlterReplicaLogDirsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(161), 0)]),
    /* 161 AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult */ s(80, &[f(Str, 0), f(Structs(162), 0)]),
    /* 162 AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 163 DescribeLogDirsRequest */ s(48, &[f(Structs(164), 0).null(0)]),
    /* 164 DescribeLogDirsRequest.DescribableLogDirTopic */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 165 DescribeLogDirsResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 3), f(Structs(166), 0)]),
    /* 166 DescribeLogDirsResponse.DescribeLogDirsResult */ s(104, &[f(Fixed(2), 0), f(Str, 0), f(Structs(167), 0), f(Fixed(8), 4), f(Fixed(8), 4), f(Fixed(1), 5)]),
    /* 167 DescribeLogDirsResponse.DescribeLogDirsTopic */ s(80, &[f(Str, 0), f(Structs(168), 0)]),
    /* 168 DescribeLogDirsResponse.DescribeLogDirsPartition */ s(48, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(1), 0)]),
    /* 169 SaslAuthenticateRequest */ s(56, &[f(Bytes, 0)]),
    /* 170 SaslAuthenticateResponse */ s(104, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Bytes, 0), f(Fixed(8), 1)]),
    /* 171 CreatePartitionsRequest */ s(56, &[f(Structs(172), 0), f(Fixed(4), 0), f(Fixed(1), 0)]),
    /* 172 CreatePartitionsRequest.CreatePartitionsTopic */ s(88, &[f(Str, 0), f(Fixed(4), 0), f(Structs(173), 0).null(0)]),
    /* 173 CreatePartitionsRequest.CreatePartitionsAssignment */ s(48, &[f(Fixeds(4), 0)]),
    /* 174 CreatePartitionsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(175), 0)]),
    /* 175 CreatePartitionsResponse.CreatePartitionsTopicResult */ s(96, &[f(Str, 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 176 CreateDelegationTokenRequest */ s(120, &[f(Str, 3).null(3), f(Str, 3).null(3), f(Structs(177), 0), f(Fixed(8), 0)]),
    /* 177 CreateDelegationTokenRequest.CreatableRenewers */ s(88, &[f(Str, 0), f(Str, 0)]),
    /* 178 CreateDelegationTokenResponse */ s(248, &[f(Fixed(2), 0), f(Str, 0), f(Str, 0), f(Str, 3), f(Str, 3), f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(8), 0), f(Str, 0), f(Bytes, 0), f(Fixed(4), 0)]),
    /* 179 RenewDelegationTokenRequest */ s(64, &[f(Bytes, 0), f(Fixed(8), 0)]),
    /* 180 RenewDelegationTokenResponse */ s(40, &[f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 181 ExpireDelegationTokenRequest */ s(64, &[f(Bytes, 0), f(Fixed(8), 0)]),
    /* 182 ExpireDelegationTokenResponse */ s(40, &[f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 183 DescribeDelegationTokenRequest */ s(48, &[f(Structs(184), 0).null(0)]),
    /* 184 DescribeDelegationTokenRequest.DescribeDelegationTokenOwner */ s(88, &[f(Str, 0), f(Str, 0)]),
    /* 185 DescribeDelegationTokenResponse */ s(56, &[f(Fixed(2), 0), f(Structs(186), 0), f(Fixed(4), 0)]),
    /* 186 DescribeDelegationTokenResponse.DescribedDelegationToken */ s(264, &[f(Str, 0), f(Str, 0), f(Str, 3), f(Str, 3), f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(8), 0), f(Str, 0), f(Bytes, 0), f(Structs(187), 0)]),
    /* 187 DescribeDelegationTokenResponse.DescribedDelegationTokenRenewer */ s(88, &[f(Str, 0), f(Str, 0)]),
    /* 188 DeleteGroupsRequest */ s(48, &[f(Strs, 0)]),
    /* 189 DeleteGroupsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(190), 0)]),
    /* 190 DeleteGroupsResponse.DeletableGroupResult */ s(96, &[f(Str, 0), f(Fixed(2), 0), f(Str, 3).null(3)]),
    /* 191 ElectLeadersRequest */ s(56, &[f(Fixed(1), 1), f(Structs(192), 0).null(0), f(Fixed(4), 0)]),
    /* 192 ElectLeadersRequest.TopicPartitions */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 193 ElectLeadersResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 1), f(Structs(194), 0)]),
    /* 194 ElectLeadersResponse.ReplicaElectionResult */ s(80, &[f(Str, 0), f(Structs(195), 0)]),
    /* 195 ElectLeadersResponse.PartitionResult */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 196 IncrementalAlterConfigsRequest */ s(56, &[f(Structs(197), 0), f(Fixed(1), 0)]),
    /* 197 IncrementalAlterConfigsRequest.AlterConfigsResource */ s(88, &[f(Fixed(1), 0), f(Str, 0), f(Structs(198), 0)]),
    /* 198 IncrementalAlterConfigsRequest.AlterableConfig */ s(96, &[f(Str, 0), f(Fixed(1), 0), f(Str, 0).null(0)]),
    /* 199 IncrementalAlterConfigsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(200), 0)]),
    /* 200 IncrementalAlterConfigsResponse.AlterConfigsResourceResponse */ s(96, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(1), 0), f(Str, 0)]),
    /* 201 AlterPartitionReassignmentsRequest */ s(56, &[f(Fixed(4), 0), f(Fixed(1), 1), f(Structs(202), 0)]),
    /* 202 AlterPartitionReassignmentsRequest.ReassignableTopic */ s(80, &[f(Str, 0), f(Structs(203), 0)]),
    /* 203 AlterPartitionReassignmentsRequest.ReassignablePartition */ s(56, &[f(Fixed(4), 0), f(Fixeds(4), 0).null(0)]),
    /* 204 AlterPartitionReassignmentsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(1), 1), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(205), 0)]),
    /* 205 AlterPartitionReassignmentsResponse.ReassignableTopicResponse */ s(80, &[f(Str, 0), f(Structs(206), 0)]),
    /* 206 AlterPartitionReassignmentsResponse.ReassignablePartitionResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 207 ListPartitionReassignmentsRequest */ s(56, &[f(Fixed(4), 0), f(Structs(208), 0).null(0)]),
    /* 208 ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 209 ListPartitionReassignmentsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(210), 0)]),
    /* 210 ListPartitionReassignmentsResponse.OngoingTopicReassignment */ s(80, &[f(Str, 0), f(Structs(211), 0)]),
    /* 211 ListPartitionReassignmentsResponse.OngoingPartitionReassignment */ s(104, &[f(Fixed(4), 0), f(Fixeds(4), 0), f(Fixeds(4), 0), f(Fixeds(4), 0)]),
    /* 212 OffsetDeleteRequest */ s(56, &[f(Str, 0), f(Structs(213), 0)]),
    /* 213 OffsetDeleteRequest.OffsetDeleteRequestTopic */ s(56, &[f(Str, 0), f(Structs(214), 0)]),
    /* 214 OffsetDeleteRequest.OffsetDeleteRequestPartition */ s(8, &[f(Fixed(4), 0)]),
    /* 215 OffsetDeleteResponse */ s(32, &[f(Fixed(2), 0), f(Fixed(4), 0), f(Structs(216), 0)]),
    /* 216 OffsetDeleteResponse.OffsetDeleteResponseTopic */ s(56, &[f(Str, 0), f(Structs(217), 0)]),
    /* 217 OffsetDeleteResponse.OffsetDeleteResponsePartition */ s(8, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 218 DescribeClientQuotasRequest */ s(56, &[f(Structs(219), 0), f(Fixed(1), 0)]),
    /* 219 DescribeClientQuotasRequest.ComponentData */ s(96, &[f(Str, 0), f(Fixed(1), 0), f(Str, 0).null(0)]),
    /* 220 DescribeClientQuotasResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(221), 0).null(0)]),
    /* 221 DescribeClientQuotasResponse.EntryData */ s(72, &[f(Structs(222), 0), f(Structs(223), 0)]),
    /* 222 DescribeClientQuotasResponse.EntityData */ s(88, &[f(Str, 0), f(Str, 0).null(0)]),
    /* 223 DescribeClientQuotasResponse.ValueData */ s(64, &[f(Str, 0), f(Fixed(8), 0)]),
    /* 224 AlterClientQuotasRequest */ s(56, &[f(Structs(225), 0), f(Fixed(1), 0)]),
    /* 225 AlterClientQuotasRequest.EntryData */ s(72, &[f(Structs(226), 0), f(Structs(227), 0)]),
    /* 226 AlterClientQuotasRequest.EntityData */ s(88, &[f(Str, 0), f(Str, 0).null(0)]),
    /* 227 AlterClientQuotasRequest.OpData */ s(72, &[f(Str, 0), f(Fixed(8), 0), f(Fixed(1), 0)]),
    /* 228 AlterClientQuotasResponse */ s(56, &[f(Fixed(4), 0), f(Structs(229), 0)]),
    /* 229 AlterClientQuotasResponse.EntryData */ s(88, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(230), 0)]),
    /* 230 AlterClientQuotasResponse.EntityData */ s(88, &[f(Str, 0), f(Str, 0).null(0)]),
    /* 231 DescribeUserScramCredentialsRequest */ s(48, &[f(Structs(232), 0).null(0)]),
    /* 232 DescribeUserScramCredentialsRequest.UserName */ s(56, &[f(Str, 0)]),
    /* 233 DescribeUserScramCredentialsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(234), 0)]),
    /* 234 DescribeUserScramCredentialsResponse.DescribeUserScramCredentialsResult */ s(120, &[f(Str, 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(235), 0)]),
    /* 235 DescribeUserScramCredentialsResponse.CredentialInfo */ s(32, &[f(Fixed(1), 0), f(Fixed(4), 0)]),
    /* 236 AlterUserScramCredentialsRequest */ s(72, &[f(Structs(237), 0), f(Structs(238), 0)]),
    /* 237 AlterUserScramCredentialsRequest.ScramCredentialDeletion */ s(64, &[f(Str, 0), f(Fixed(1), 0)]),
    /* 238 AlterUserScramCredentialsRequest.ScramCredentialUpsertion */ s(128, &[f(Str, 0), f(Fixed(1), 0), f(Fixed(4), 0), f(Bytes, 0), f(Bytes, 0)]),
    /* 239 AlterUserScramCredentialsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(240), 0)]),
    /* 240 AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult */ s(96, &[f(Str, 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 241 VoteRequest */ s(88, &[f(Str, 0).null(0), f(Fixed(4), 1), f(Structs(242), 0)]),
    /* 242 VoteRequest.TopicData */ s(80, &[f(Str, 0), f(Structs(243), 0)]),
    /* 243 VoteRequest.PartitionData */ s(88, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(16), 1), f(Fixed(16), 1), f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(1), 2)]),
    /* 244 VoteResponse */ s(80, &[f(Fixed(2), 0), f(Structs(245), 0), f(Structs(247), 1).tag(0)]),
    /* 245 VoteResponse.TopicData */ s(80, &[f(Str, 0), f(Structs(246), 0)]),
    /* 246 VoteResponse.PartitionData */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(1), 0)]),
    /* 247 VoteResponse.NodeEndpoint */ s(64, &[f(Fixed(4), 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 248 BeginQuorumEpochRequest */ s(112, &[f(Str, 0).null(0), f(Fixed(4), 1), f(Structs(249), 0), f(Structs(251), 1)]),
    /* 249 BeginQuorumEpochRequest.TopicData */ s(80, &[f(Str, 0), f(Structs(250), 0)]),
    /* 250 BeginQuorumEpochRequest.PartitionData */ s(56, &[f(Fixed(4), 0), f(Fixed(16), 1), f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 251 BeginQuorumEpochRequest.LeaderEndpoint */ s(96, &[f(Str, 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 252 BeginQuorumEpochResponse */ s(80, &[f(Fixed(2), 0), f(Structs(253), 0), f(Structs(255), 1).tag(0)]),
    /* 253 BeginQuorumEpochResponse.TopicData */ s(80, &[f(Str, 0), f(Structs(254), 0)]),
    /* 254 BeginQuorumEpochResponse.PartitionData */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 255 BeginQuorumEpochResponse.NodeEndpoint */ s(64, &[f(Fixed(4), 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 256 EndQuorumEpochRequest */ s(104, &[f(Str, 0).null(0), f(Structs(257), 0), f(Structs(260), 1)]),
    /* 257 EndQuorumEpochRequest.TopicData */ s(80, &[f(Str, 0), f(Structs(258), 0)]),
    /* 258 EndQuorumEpochRequest.PartitionData */ s(88, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixeds(4), 0).to(0), f(Structs(259), 1)]),
    /* 259 EndQuorumEpochRequest.ReplicaInfo */ s(48, &[f(Fixed(4), 1), f(Fixed(16), 1)]),
    /* 260 EndQuorumEpochRequest.LeaderEndpoint */ s(96, &[f(Str, 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 261 EndQuorumEpochResponse */ s(80, &[f(Fixed(2), 0), f(Structs(262), 0), f(Structs(264), 1).tag(0)]),
    /* 262 EndQuorumEpochResponse.TopicData */ s(80, &[f(Str, 0), f(Structs(263), 0)]),
    /* 263 EndQuorumEpochResponse.PartitionData */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 264 EndQuorumEpochResponse.NodeEndpoint */ s(64, &[f(Fixed(4), 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 265 DescribeQuorumRequest */ s(48, &[f(Structs(266), 0)]),
    /* 266 DescribeQuorumRequest.TopicData */ s(80, &[f(Str, 0), f(Structs(267), 0)]),
    /* 267 DescribeQuorumRequest.PartitionData */ s(32, &[f(Fixed(4), 0)]),
    /* 268 DescribeQuorumResponse */ s(112, &[f(Fixed(2), 0), f(Str, 2).null(2), f(Structs(269), 0), f(Structs(272), 2)]),
    /* 269 DescribeQuorumResponse.TopicData */ s(80, &[f(Str, 0), f(Structs(270), 0)]),
    /* 270 DescribeQuorumResponse.PartitionData */ s(128, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 2).null(2), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(8), 0), f(Structs(271), 0), f(Structs(271), 0)]),
    /* 271 DescribeQuorumResponse.ReplicaState */ s(72, &[f(Fixed(4), 0), f(Fixed(16), 2), f(Fixed(8), 0), f(Fixed(8), 1), f(Fixed(8), 1)]),
    /* 272 DescribeQuorumResponse.Node */ s(56, &[f(Fixed(4), 2), f(Structs(273), 2)]),
    /* 273 DescribeQuorumResponse.Listener */ s(96, &[f(Str, 2), f(Str, 2), f(Fixed(2), 2)]),
    /* 274 AlterPartitionRequest */ s(64, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Structs(275), 0)]),
    /* 275 AlterPartitionRequest.TopicData */ s(64, &[f(Fixed(16), 2), f(Structs(276), 0)]),
    /* 276 AlterPartitionRequest.PartitionData */ s(88, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Fixeds(4), 0).to(2), f(Structs(277), 3), f(Fixed(1), 1), f(Fixed(4), 0)]),
    /* 277 AlterPartitionRequest.BrokerState */ s(40, &[f(Fixed(4), 3), f(Fixed(8), 3)]),
    /* 278 AlterPartitionResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(279), 0)]),
    /* 279 AlterPartitionResponse.TopicData */ s(64, &[f(Fixed(16), 2), f(Structs(280), 0)]),
    /* 280 AlterPartitionResponse.PartitionData */ s(72, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixeds(4), 0), f(Fixed(1), 1), f(Fixed(4), 0)]),
    /* 281 UpdateFeaturesRequest */ s(56, &[f(Fixed(4), 0), f(Structs(282), 0), f(Fixed(1), 1)]),
    /* 282 UpdateFeaturesRequest.FeatureUpdateKey */ s(64, &[f(Str, 0), f(Fixed(2), 0), f(Fixed(1), 0).to(0), f(Fixed(1), 1)]),
    /* 283 UpdateFeaturesResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(284), 0).to(1)]),
    /* 284 UpdateFeaturesResponse.UpdatableFeatureResult */ s(96, &[f(Str, 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 285 EnvelopeRequest */ s(120, &[f(Bytes, 0), f(Bytes, 0).null(0), f(Bytes, 0)]),
    /* 286 EnvelopeResponse */ s(64, &[f(Bytes, 0).null(0), f(Fixed(2), 0)]),
    /* 287 FetchSnapshotRequest */ s(88, &[f(Str, 0).null(0).tag(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Structs(288), 0)]),
    /* 288 FetchSnapshotRequest.TopicSnapshot */ s(80, &[f(Str, 0), f(Structs(289), 0)]),
    /* 289 FetchSnapshotRequest.PartitionSnapshot */ s(96, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Struct(290), 0), f(Fixed(8), 0), f(Fixed(16), 1).tag(0)]),
    /* 290 FetchSnapshotRequest.SnapshotId */ s(40, &[f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 291 FetchSnapshotResponse */ s(80, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(292), 0), f(Structs(296), 1).tag(0)]),
    /* 292 FetchSnapshotResponse.TopicSnapshot */ s(80, &[f(Str, 0), f(Structs(293), 0)]),
    /* 293 FetchSnapshotResponse.PartitionSnapshot */ s(152, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Struct(294), 0), f(Struct(295), 0).tag(0), f(Fixed(8), 0), f(Fixed(8), 0), f(Bytes, 0)]),
    /* 294 FetchSnapshotResponse.SnapshotId */ s(40, &[f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 295 FetchSnapshotResponse.LeaderIdAndEpoch */ s(32, &[f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 296 FetchSnapshotResponse.NodeEndpoint */ s(64, &[f(Fixed(4), 1), f(Str, 1), f(Fixed(2), 1)]),
    /* 297 DescribeClusterRequest */ s(32, &[f(Fixed(1), 0), f(Fixed(1), 1), f(Fixed(1), 2)]),
    /* 298 DescribeClusterResponse */ s(128, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(1), 1), f(Str, 0), f(Fixed(4), 0), f(Structs(299), 0), f(Fixed(4), 0)]),
    /* 299 DescribeClusterResponse.DescribeClusterBroker */ s(104, &[f(Fixed(4), 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0), f(Fixed(1), 2)]),
    /* 300 DescribeProducersRequest */ s(48, &[f(Structs(301), 0)]),
    /* 301 DescribeProducersRequest.TopicRequest */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 302 DescribeProducersResponse */ s(56, &[f(Fixed(4), 0), f(Structs(303), 0)]),
    /* 303 DescribeProducersResponse.TopicResponse */ s(80, &[f(Str, 0), f(Structs(304), 0)]),
    /* 304 DescribeProducersResponse.PartitionResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(305), 0)]),
    /* 305 DescribeProducersResponse.ProducerState */ s(64, &[f(Fixed(8), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 306 BrokerRegistrationRequest */ s(192, &[f(Fixed(4), 0), f(Str, 0), f(Fixed(16), 0), f(Structs(307), 0), f(Structs(308), 0), f(Str, 0).null(0), f(Fixed(1), 1), f(Fixeds(16), 2), f(Fixed(8), 3)]),
    /* 307 BrokerRegistrationRequest.Listener */ s(96, &[f(Str, 0), f(Str, 0), f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 308 BrokerRegistrationRequest.Feature */ s(64, &[f(Str, 0), f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 309 BrokerRegistrationResponse */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 0)]),
    /* 310 BrokerHeartbeatRequest */ s(96, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(1), 0), f(Fixed(1), 0), f(Fixeds(16), 1).tag(0), f(Fixeds(16), 2).null(2).tag(1)]),
    /* 311 BrokerHeartbeatResponse */ s(40, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(1), 0), f(Fixed(1), 0), f(Fixed(1), 0)]),
    /* 312 UnregisterBrokerRequest */ s(32, &[f(Fixed(4), 0)]),
    /* 313 UnregisterBrokerResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 314 DescribeTransactionsRequest */ s(48, &[f(Strs, 0)]),
    /* 315 DescribeTransactionsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(316), 0)]),
    /* 316 DescribeTransactionsResponse.TransactionState */ s(136, &[f(Fixed(2), 0), f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(2), 0), f(Structs(317), 0)]),
    /* 317 DescribeTransactionsResponse.TopicData */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 318 ListTransactionsRequest */ s(112, &[f(Strs, 0), f(Fixeds(8), 0), f(Fixed(8), 1), f(Str, 2).null(2)]),
    /* 319 ListTransactionsResponse */ s(80, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Strs, 0), f(Structs(320), 0)]),
    /* 320 ListTransactionsResponse.TransactionState */ s(96, &[f(Str, 0), f(Fixed(8), 0), f(Str, 0)]),
    /* 321 AllocateProducerIdsRequest */ s(40, &[f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 322 AllocateProducerIdsResponse */ s(48, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(8), 0), f(Fixed(4), 0)]),
    /* 323 ConsumerGroupHeartbeatRequest */ s(272, &[f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Strs, 0).null(0), f(Str, 1).null(1), f(Str, 0).null(0), f(Structs(324), 0).null(0)]),
    /* 324 ConsumerGroupHeartbeatRequest.TopicPartitions */ s(64, &[f(Fixed(16), 0), f(Fixeds(4), 0)]),
    /* 325 ConsumerGroupHeartbeatResponse */ s(160, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Struct(326), 0).null(0)]),
    /* 326 ConsumerGroupHeartbeatResponse.Assignment */ s(48, &[f(Structs(327), 0)]),
    /* 327 ConsumerGroupHeartbeatResponse.TopicPartitions */ s(64, &[f(Fixed(16), 0), f(Fixeds(4), 0)]),
    /* 328 ConsumerGroupDescribeRequest */ s(56, &[f(Strs, 0), f(Fixed(1), 0)]),
    /* 329 ConsumerGroupDescribeResponse */ s(56, &[f(Fixed(4), 0), f(Structs(330), 0)]),
    /* 330 ConsumerGroupDescribeResponse.DescribedGroup */ s(192, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Str, 0), f(Structs(331), 0), f(Fixed(4), 0)]),
    /* 331 ConsumerGroupDescribeResponse.Member */ s(344, &[f(Str, 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Str, 0), f(Str, 0), f(Strs, 0), f(Str, 0).null(0), f(Struct(332), 0), f(Struct(332), 0), f(Fixed(1), 1)]),
    /* 332 ConsumerGroupDescribeResponse.Assignment */ s(48, &[f(Structs(333), 0)]),
    /* 333 ConsumerGroupDescribeResponse.TopicPartitions */ s(96, &[f(Fixed(16), 0), f(Str, 0), f(Fixeds(4), 0)]),
    /* 334 ControllerRegistrationRequest */ s(96, &[f(Fixed(4), 0), f(Fixed(16), 0), f(Fixed(1), 0), f(Structs(335), 0), f(Structs(336), 0)]),
    /* 335 ControllerRegistrationRequest.Listener */ s(96, &[f(Str, 0), f(Str, 0), f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 336 ControllerRegistrationRequest.Feature */ s(64, &[f(Str, 0), f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 337 ControllerRegistrationResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 338 GetTelemetrySubscriptionsRequest */ s(40, &[f(Fixed(16), 0)]),
    /* 339 GetTelemetrySubscriptionsResponse */ s(112, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Fixed(16), 0), f(Fixed(4), 0), f(Fixeds(1), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(1), 0), f(Strs, 0)]),
    /* 340 PushTelemetryRequest */ s(80, &[f(Fixed(16), 0), f(Fixed(4), 0), f(Fixed(1), 0), f(Fixed(1), 0), f(Bytes, 0)]),
    /* 341 PushTelemetryResponse */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 342 AssignReplicasToDirsRequest */ s(64, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Structs(343), 0)]),
    /* 343 AssignReplicasToDirsRequest.DirectoryData */ s(64, &[f(Fixed(16), 0), f(Structs(344), 0)]),
    /* 344 AssignReplicasToDirsRequest.TopicData */ s(64, &[f(Fixed(16), 0), f(Structs(345), 0)]),
    /* 345 AssignReplicasToDirsRequest.PartitionData */ s(32, &[f(Fixed(4), 0)]),
    /* 346 AssignReplicasToDirsResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(347), 0)]),
    /* 347 AssignReplicasToDirsResponse.DirectoryData */ s(64, &[f(Fixed(16), 0), f(Structs(348), 0)]),
    /* 348 AssignReplicasToDirsResponse.TopicData */ s(64, &[f(Fixed(16), 0), f(Structs(349), 0)]),
    /* 349 AssignReplicasToDirsResponse.PartitionData */ s(32, &[f(Fixed(4), 0), f(Fixed(2), 0)]),
    /* 350 ListConfigResourcesRequest */ s(48, &[f(Fixeds(1), 1)]),
    /* 351 ListConfigResourcesResponse */ s(56, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(352), 0)]),
    /* 352 ListConfigResourcesResponse.ConfigResource */ s(64, &[f(Str, 0), f(Fixed(1), 1)]),
    /* 353 DescribeTopicPartitionsRequest */ s(128, &[f(Structs(354), 0), f(Fixed(4), 0), f(Struct(355), 0).null(0)]),
    /* 354 DescribeTopicPartitionsRequest.TopicRequest */ s(56, &[f(Str, 0)]),
    /* 355 DescribeTopicPartitionsRequest.Cursor */ s(64, &[f(Str, 0), f(Fixed(4), 0)]),
    /* 356 DescribeTopicPartitionsResponse */ s(128, &[f(Fixed(4), 0), f(Structs(357), 0), f(Struct(359), 0).null(0)]),
    /* 357 DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic */ s(104, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(16), 0), f(Fixed(1), 0), f(Structs(358), 0), f(Fixed(4), 0)]),
    /* 358 DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition */ s(160, &[f(Fixed(2), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixeds(4), 0), f(Fixeds(4), 0), f(Fixeds(4), 0).null(0), f(Fixeds(4), 0).null(0), f(Fixeds(4), 0)]),
    /* 359 DescribeTopicPartitionsResponse.Cursor */ s(64, &[f(Str, 0), f(Fixed(4), 0)]),
    /* 360 ShareGroupHeartbeatRequest */ s(152, &[f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0), f(Strs, 0).null(0)]),
    /* 361 ShareGroupHeartbeatResponse */ s(160, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Struct(362), 0).null(0)]),
    /* 362 ShareGroupHeartbeatResponse.Assignment */ s(48, &[f(Structs(363), 0)]),
    /* 363 ShareGroupHeartbeatResponse.TopicPartitions */ s(64, &[f(Fixed(16), 0), f(Fixeds(4), 0)]),
    /* 364 ShareGroupDescribeRequest */ s(56, &[f(Strs, 0), f(Fixed(1), 0)]),
    /* 365 ShareGroupDescribeResponse */ s(56, &[f(Fixed(4), 0), f(Structs(366), 0)]),
    /* 366 ShareGroupDescribeResponse.DescribedGroup */ s(192, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Str, 0), f(Structs(367), 0), f(Fixed(4), 0)]),
    /* 367 ShareGroupDescribeResponse.Member */ s(232, &[f(Str, 0), f(Str, 0).null(0), f(Fixed(4), 0), f(Str, 0), f(Str, 0), f(Strs, 0), f(Struct(368), 0)]),
    /* 368 ShareGroupDescribeResponse.Assignment */ s(48, &[f(Structs(369), 0)]),
    /* 369 ShareGroupDescribeResponse.TopicPartitions */ s(96, &[f(Fixed(16), 0), f(Str, 0), f(Fixeds(4), 0)]),
    /* 370 ShareFetchRequest */ s(168, &[f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 1), f(Fixed(4), 1), f(Fixed(1), 2), f(Fixed(1), 2), f(Structs(371), 0), f(Structs(374), 0)]),
    /* 371 ShareFetchRequest.FetchTopic */ s(64, &[f(Fixed(16), 0), f(Structs(372), 0)]),
    /* 372 ShareFetchRequest.FetchPartition */ s(56, &[f(Fixed(4), 0), f(Structs(373), 0)]),
    /* 373 ShareFetchRequest.AcknowledgementBatch */ s(64, &[f(Fixed(8), 0), f(Fixed(8), 0), f(Fixeds(1), 0)]),
    /* 374 ShareFetchRequest.ForgottenTopic */ s(64, &[f(Fixed(16), 0), f(Fixeds(4), 0)]),
    /* 375 ShareFetchResponse */ s(120, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(4), 1), f(Structs(376), 0), f(Structs(380), 0)]),
    /* 376 ShareFetchResponse.ShareFetchableTopicResponse */ s(64, &[f(Fixed(16), 0), f(Structs(377), 0)]),
    /* 377 ShareFetchResponse.PartitionData */ s(184, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(2), 0), f(Str, 0).null(0), f(Struct(378), 0), f(Bytes, 0), f(Structs(379), 0)]),
    /* 378 ShareFetchResponse.LeaderIdAndEpoch */ s(32, &[f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 379 ShareFetchResponse.AcquiredRecords */ s(48, &[f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(2), 0)]),
    /* 380 ShareFetchResponse.NodeEndpoint */ s(96, &[f(Fixed(4), 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0)]),
    /* 381 ShareAcknowledgeRequest */ s(120, &[f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(1), 2), f(Structs(382), 0)]),
    /* 382 ShareAcknowledgeRequest.AcknowledgeTopic */ s(64, &[f(Fixed(16), 0), f(Structs(383), 0)]),
    /* 383 ShareAcknowledgeRequest.AcknowledgePartition */ s(56, &[f(Fixed(4), 0), f(Structs(384), 0)]),
    /* 384 ShareAcknowledgeRequest.AcknowledgementBatch */ s(64, &[f(Fixed(8), 0), f(Fixed(8), 0), f(Fixeds(1), 0)]),
    /* 385 ShareAcknowledgeResponse */ s(120, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(4), 2), f(Structs(386), 0), f(Structs(389), 0)]),
    /* 386 ShareAcknowledgeResponse.ShareAcknowledgeTopicResponse */ s(64, &[f(Fixed(16), 0), f(Structs(387), 0)]),
    /* 387 ShareAcknowledgeResponse.PartitionData */ s(96, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Struct(388), 0)]),
    /* 388 ShareAcknowledgeResponse.LeaderIdAndEpoch */ s(32, &[f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 389 ShareAcknowledgeResponse.NodeEndpoint */ s(96, &[f(Fixed(4), 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0)]),
    /* 390 AddRaftVoterRequest */ s(112, &[f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(16), 0), f(Structs(391), 0), f(Fixed(1), 1)]),
    /* 391 AddRaftVoterRequest.Listener */ s(96, &[f(Str, 0), f(Str, 0), f(Fixed(2), 0)]),
    /* 392 AddRaftVoterResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 393 RemoveRaftVoterRequest */ s(80, &[f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(16), 0)]),
    /* 394 RemoveRaftVoterResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 395 UpdateRaftVoterRequest */ s(136, &[f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(16), 0), f(Structs(396), 0), f(Struct(397), 0)]),
    /* 396 UpdateRaftVoterRequest.Listener */ s(96, &[f(Str, 0), f(Str, 0), f(Fixed(2), 0)]),
    /* 397 UpdateRaftVoterRequest.KRaftVersionFeature */ s(32, &[f(Fixed(2), 0), f(Fixed(2), 0)]),
    /* 398 UpdateRaftVoterResponse */ s(104, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Struct(399), 0).tag(0)]),
    /* 399 UpdateRaftVoterResponse.CurrentLeader */ s(72, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Str, 0), f(Fixed(4), 0)]),
    /* 400 InitializeShareGroupStateRequest */ s(80, &[f(Str, 0), f(Structs(401), 0)]),
    /* 401 InitializeShareGroupStateRequest.InitializeStateData */ s(64, &[f(Fixed(16), 0), f(Structs(402), 0)]),
    /* 402 InitializeShareGroupStateRequest.PartitionData */ s(40, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 403 InitializeShareGroupStateResponse */ s(48, &[f(Structs(404), 0)]),
    /* 404 InitializeShareGroupStateResponse.InitializeStateResult */ s(64, &[f(Fixed(16), 0), f(Structs(405), 0)]),
    /* 405 InitializeShareGroupStateResponse.PartitionResult */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 406 ReadShareGroupStateRequest */ s(80, &[f(Str, 0), f(Structs(407), 0)]),
    /* 407 ReadShareGroupStateRequest.ReadStateData */ s(64, &[f(Fixed(16), 0), f(Structs(408), 0)]),
    /* 408 ReadShareGroupStateRequest.PartitionData */ s(32, &[f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 409 ReadShareGroupStateResponse */ s(48, &[f(Structs(410), 0)]),
    /* 410 ReadShareGroupStateResponse.ReadStateResult */ s(64, &[f(Fixed(16), 0), f(Structs(411), 0)]),
    /* 411 ReadShareGroupStateResponse.PartitionResult */ s(104, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(8), 0), f(Structs(412), 0)]),
    /* 412 ReadShareGroupStateResponse.StateBatch */ s(48, &[f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(1), 0), f(Fixed(2), 0)]),
    /* 413 WriteShareGroupStateRequest */ s(80, &[f(Str, 0), f(Structs(414), 0)]),
    /* 414 WriteShareGroupStateRequest.WriteStateData */ s(64, &[f(Fixed(16), 0), f(Structs(415), 0)]),
    /* 415 WriteShareGroupStateRequest.PartitionData */ s(72, &[f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 1), f(Structs(416), 0)]),
    /* 416 WriteShareGroupStateRequest.StateBatch */ s(48, &[f(Fixed(8), 0), f(Fixed(8), 0), f(Fixed(1), 0), f(Fixed(2), 0)]),
    /* 417 WriteShareGroupStateResponse */ s(48, &[f(Structs(418), 0)]),
    /* 418 WriteShareGroupStateResponse.WriteStateResult */ s(64, &[f(Fixed(16), 0), f(Structs(419), 0)]),
    /* 419 WriteShareGroupStateResponse.PartitionResult */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 420 DeleteShareGroupStateRequest */ s(80, &[f(Str, 0), f(Structs(421), 0)]),
    /* 421 DeleteShareGroupStateRequest.DeleteStateData */ s(64, &[f(Fixed(16), 0), f(Structs(422), 0)]),
    /* 422 DeleteShareGroupStateRequest.PartitionData */ s(32, &[f(Fixed(4), 0)]),
    /* 423 DeleteShareGroupStateResponse */ s(48, &[f(Structs(424), 0)]),
    /* 424 DeleteShareGroupStateResponse.DeleteStateResult */ s(64, &[f(Fixed(16), 0), f(Structs(425), 0)]),
    /* 425 DeleteShareGroupStateResponse.PartitionResult */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 426 ReadShareGroupStateSummaryRequest */ s(80, &[f(Str, 0), f(Structs(427), 0)]),
    /* 427 ReadShareGroupStateSummaryRequest.ReadStateSummaryData */ s(64, &[f(Fixed(16), 0), f(Structs(428), 0)]),
    /* 428 ReadShareGroupStateSummaryRequest.PartitionData */ s(32, &[f(Fixed(4), 0), f(Fixed(4), 0)]),
    /* 429 ReadShareGroupStateSummaryResponse */ s(48, &[f(Structs(430), 0)]),
    /* 430 ReadShareGroupStateSummaryResponse.ReadStateSummaryResult */ s(64, &[f(Fixed(16), 0), f(Structs(431), 0)]),
    /* 431 ReadShareGroupStateSummaryResponse.PartitionResult */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 1)]),
    /* 432 StreamsGroupHeartbeatRequest */ s(480, &[f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Fixed(4), 0), f(Struct(433), 0).null(0), f(Structs(438), 0).null(0), f(Structs(438), 0).null(0), f(Structs(438), 0).null(0), f(Str, 0).null(0), f(Struct(439), 0).null(0), f(Structs(436), 0).null(0), f(Structs(440), 0).null(0), f(Structs(440), 0).null(0), f(Fixed(1), 0)]),
    /* 433 StreamsGroupHeartbeatRequest.Topology */ s(56, &[f(Fixed(4), 0), f(Structs(434), 0)]),
    /* 434 StreamsGroupHeartbeatRequest.Subtopology */ s(200, &[f(Str, 0), f(Strs, 0), f(Strs, 0), f(Structs(435), 0), f(Strs, 0), f(Structs(435), 0), f(Structs(437), 0)]),
    /* 435 StreamsGroupHeartbeatRequest.TopicInfo */ s(88, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(436), 0)]),
    /* 436 StreamsGroupHeartbeatRequest.KeyValue */ s(88, &[f(Str, 0), f(Str, 0)]),
    /* 437 StreamsGroupHeartbeatRequest.CopartitionGroup */ s(96, &[f(Fixeds(2), 0), f(Fixeds(2), 0), f(Fixeds(2), 0)]),
    /* 438 StreamsGroupHeartbeatRequest.TaskIds */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 439 StreamsGroupHeartbeatRequest.Endpoint */ s(64, &[f(Str, 0), f(Fixed(2), 0)]),
    /* 440 StreamsGroupHeartbeatRequest.TaskOffset */ s(72, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 441 StreamsGroupHeartbeatResponse */ s(248, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Fixed(4), 0).to(0), f(Fixed(4), 0), f(Fixed(8), 1), f(Structs(442), 0).null(0), f(Structs(443), 0).null(0), f(Structs(443), 0).null(0), f(Structs(443), 0).null(0), f(Fixed(1), 1), f(Fixed(4), 0), f(Structs(444), 0).null(0)]),
    /* 442 StreamsGroupHeartbeatResponse.Status */ s(64, &[f(Fixed(1), 0), f(Str, 0)]),
    /* 443 StreamsGroupHeartbeatResponse.TaskIds */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 444 StreamsGroupHeartbeatResponse.EndpointToPartitions */ s(136, &[f(Struct(445), 0), f(Structs(446), 0), f(Structs(446), 0)]),
    /* 445 StreamsGroupHeartbeatResponse.Endpoint */ s(64, &[f(Str, 0), f(Fixed(2), 0)]),
    /* 446 StreamsGroupHeartbeatResponse.TopicPartition */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 447 StreamsGroupDescribeRequest */ s(56, &[f(Strs, 0), f(Fixed(1), 0), f(Fixed(1), 1)]),
    /* 448 StreamsGroupDescribeResponse */ s(56, &[f(Fixed(4), 0), f(Structs(449), 0)]),
    /* 449 StreamsGroupDescribeResponse.DescribedGroup */ s(336, &[f(Fixed(2), 0), f(Str, 0).null(0), f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Fixed(4), 0), f(Struct(450), 0).null(0), f(Structs(454), 0), f(Fixed(4), 0), f(Struct(459), 1).null(1), f(Fixed(1), 1), f(Str, 1).null(1)]),
    /* 450 StreamsGroupDescribeResponse.Topology */ s(56, &[f(Fixed(4), 0), f(Structs(451), 0).null(0)]),
    /* 451 StreamsGroupDescribeResponse.Subtopology */ s(152, &[f(Str, 0), f(Strs, 0), f(Strs, 0), f(Structs(452), 0), f(Structs(452), 0)]),
    /* 452 StreamsGroupDescribeResponse.TopicInfo */ s(88, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(2), 0), f(Structs(453), 0)]),
    /* 453 StreamsGroupDescribeResponse.KeyValue */ s(88, &[f(Str, 0), f(Str, 0)]),
    /* 454 StreamsGroupDescribeResponse.Member */ s(568, &[f(Str, 0), f(Fixed(4), 0), f(Str, 0).null(0), f(Str, 0).null(0), f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Str, 0), f(Struct(455), 0).null(0), f(Structs(453), 0), f(Structs(456), 0), f(Structs(456), 0), f(Struct(457), 0), f(Struct(457), 0), f(Fixed(1), 0)]),
    /* 455 StreamsGroupDescribeResponse.Endpoint */ s(64, &[f(Str, 0), f(Fixed(2), 0)]),
    /* 456 StreamsGroupDescribeResponse.TaskOffset */ s(72, &[f(Str, 0), f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 457 StreamsGroupDescribeResponse.Assignment */ s(96, &[f(Structs(458), 0), f(Structs(458), 0), f(Structs(458), 0)]),
    /* 458 StreamsGroupDescribeResponse.TaskIds */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 459 StreamsGroupDescribeResponse.TopologyDescription */ s(72, &[f(Structs(460), 1), f(Structs(462), 1)]),
    /* 460 StreamsGroupDescribeResponse.TopologyDescriptionSubtopology */ s(80, &[f(Str, 1), f(Structs(461), 1)]),
    /* 461 StreamsGroupDescribeResponse.TopologyDescriptionNode */ s(168, &[f(Str, 1), f(Fixed(1), 1), f(Strs, 1), f(Str, 1).null(1), f(Strs, 1), f(Strs, 1)]),
    /* 462 StreamsGroupDescribeResponse.TopologyDescriptionGlobalStore */ s(360, &[f(Struct(461), 1), f(Struct(461), 1)]),
    /* 463 DescribeShareGroupOffsetsRequest */ s(48, &[f(Structs(464), 0)]),
    /* 464 DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup */ s(80, &[f(Str, 0), f(Structs(465), 0).null(0)]),
    /* 465 DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestTopic */ s(80, &[f(Str, 0), f(Fixeds(4), 0)]),
    /* 466 DescribeShareGroupOffsetsResponse */ s(56, &[f(Fixed(4), 0), f(Structs(467), 0)]),
    /* 467 DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseGroup */ s(120, &[f(Str, 0), f(Structs(468), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 468 DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseTopic */ s(96, &[f(Str, 0), f(Fixed(16), 0), f(Structs(469), 0)]),
    /* 469 DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition */ s(88, &[f(Fixed(4), 0), f(Fixed(8), 0), f(Fixed(4), 0), f(Fixed(8), 1), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 470 AlterShareGroupOffsetsRequest */ s(80, &[f(Str, 0), f(Structs(471), 0)]),
    /* 471 AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic */ s(80, &[f(Str, 0), f(Structs(472), 0)]),
    /* 472 AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition */ s(40, &[f(Fixed(4), 0), f(Fixed(8), 0)]),
    /* 473 AlterShareGroupOffsetsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(474), 0)]),
    /* 474 AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponseTopic */ s(96, &[f(Str, 0), f(Fixed(16), 0), f(Structs(475), 0)]),
    /* 475 AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponsePartition */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 476 DeleteShareGroupOffsetsRequest */ s(80, &[f(Str, 0), f(Structs(477), 0)]),
    /* 477 DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic */ s(56, &[f(Str, 0)]),
    /* 478 DeleteShareGroupOffsetsResponse */ s(88, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0), f(Structs(479), 0)]),
    /* 479 DeleteShareGroupOffsetsResponse.DeleteShareGroupOffsetsResponseTopic */ s(112, &[f(Str, 0), f(Fixed(16), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 480 StreamsGroupTopologyDescriptionUpdateRequest */ s(168, &[f(Str, 0), f(Str, 0), f(Fixed(4), 0), f(Struct(481), 0)]),
    /* 481 StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescription */ s(72, &[f(Structs(482), 0), f(Structs(484), 0)]),
    /* 482 StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionSubtopology */ s(80, &[f(Str, 0), f(Structs(483), 0)]),
    /* 483 StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionNode */ s(168, &[f(Str, 0), f(Fixed(1), 0), f(Strs, 0), f(Str, 0).null(0), f(Strs, 0), f(Strs, 0)]),
    /* 484 StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionGlobalStore */ s(360, &[f(Struct(483), 0), f(Struct(483), 0)]),
    /* 485 StreamsGroupTopologyDescriptionUpdateResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
    /* 486 UnregisterControllerRequest */ s(32, &[f(Fixed(4), 0)]),
    /* 487 UnregisterControllerResponse */ s(64, &[f(Fixed(4), 0), f(Fixed(2), 0), f(Str, 0).null(0)]),
];
