//! What each test of this suite is about, and what a cluster has to have for it: the rows of `docs/compatibility.md`, which
//! `protocol-tests/matrix` writes. What a broker has not got is found by asking it, not by its release.

use crate::emulation::{Broker, ranges, tested_release};
use crate::is_before;
use milena::broker::ApiKey::{self, ConsumerGroupHeartbeat, DescribeAcls, InitProducerId, Produce, TxnOffsetCommit};
use milena::broker::Emulation;
use milena::wire::messages::{DescribeAclsRequest, MetadataRequest};
use serde_json::json;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::Command;

/// What a test needs of a cluster.
#[derive(Debug, Clone, Copy)]
enum Need {
    /// This API, and this version of it.
    Api(ApiKey, i16),
    /// A fault of releases before this one is mended.
    Mended(&'static str, [u32; 3]),
    /// Exactly so many nodes.
    Nodes(usize),
    /// A release that the test broker passes for, or this one: `KAFKA_VERSION` says which it is.
    Emulated(Option<Emulation>),
    /// An authorizer. `protocol-tests/matrix` starts a cluster with one for these tests alone.
    Authorizer,
    /// Another script's tests, or another test's child: no part of the matrix.
    Elsewhere,
}

/// Why a test is for PLAINTEXT only.
const FRAMES: Option<&str> = Some("it looks into the frames on the wire");
const SASL_OF_ITS_OWN: Option<&str> = Some("it says itself who it is");
const PEERS_OF_ITS_OWN: Option<&str> = Some("it speaks to the brokers by sockets of its own");

/// A module of the suite, or one test of it, which then counts to this row alone.
struct Row {
    tests: &'static str,
    /// A row of the page.
    feature: &'static str,
    needs: &'static [Need],
    /// It is run over every security protocol; the others over those for which the matrix takes the whole suite.
    is_core: bool,
    only_plaintext: Option<&'static str>,
    /// It looks at the clock: nothing else runs beside it.
    is_alone: bool,
}

const fn row(tests: &'static str, feature: &'static str) -> Row {
    Row { tests, feature, needs: &[], is_core: false, only_plaintext: None, is_alone: false }
}

impl Row {
    const fn core(self) -> Self {
        Self { is_core: true, ..self }
    }

    const fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    const fn only_plaintext(self, why: Option<&'static str>) -> Self {
        Self { only_plaintext: why, ..self }
    }
}

const MOVED: &str = "a leader that moves is followed, nothing lost or doubled";
const GROUP: &str = "classic groups: joining, leaving, failing over, static members";
const MIXED: &str = "classic groups shared with the Java client and librdkafka";
const COORDINATED: &str = "groups that the coordinator balances (KIP-848)";
const NOT_ALLOWED: &str = "the admin: ACLs, and what it is told who may not";
const TRANSACTIONS: &str = "transactions: commit, abort, fencing, timeout, death at any step";
const KIP_848: &[Need] = &[Need::Api(ConsumerGroupHeartbeat, 1)];
const THREE_NODES: &[Need] = &[Need::Nodes(3)];
const ELSEWHERE: &[Need] = &[Need::Elsewhere];
const EMULATED: &[Need] = &[Need::Emulated(None)];

/// In the order of the page.
const ROWS: &[Row] = &[
    row("codecs::none", "records, uncompressed, both ways with the Java client and librdkafka").core(),
    row("codecs::gzip", "gzip, both ways").core(),
    row("codecs::snappy", "snappy, both ways").core(),
    row("codecs::lz4", "lz4, both ways").core(),
    row("codecs::zstd", "zstd, both ways").core(),
    row("too_large::", "batches that are too large are split"),
    row("too_large::a_transaction_is_split_too", "a transactional producer goes on after a refused record (KIP-360)")
        .needs(&[Need::Api(InitProducerId, 3)]),
    row("rejected::", "records that are refused are named (KIP-467)"),
    row("refused_retry::", "a retry that is refused says what is certain").only_plaintext(FRAMES),
    row("purge::", "what is purged is told as it is in the log"),
    row("leader::a_leader_move_", MOVED).needs(THREE_NODES).core(),
    row("leader::a_leader_that_an_answer_names_", "an answer names the new leader (KIP-951)")
        .needs(&[Need::Nodes(3), Need::Api(Produce, 10)])
        .only_plaintext(FRAMES),
    row("leader::a_position_is_validated_", "positions are validated by new leaders (KIP-320)")
        .needs(&[Need::Nodes(3), Need::Mended("fetch sessions forget leader epochs (KAFKA-9338)", [2, 5, 0])])
        .only_plaintext(FRAMES),
    row("leader::records_are_read_from_the_replica_", "reading from the replica nearby (KIP-392)").needs(THREE_NODES),
    row("fetching::", "fetch sessions (KIP-227)"),
    row("offsets::", "offsets by time, and both ends of a log").core(),
    row("commits::", "commits that the next client goes on from"),
    row("metrics::", "lag and heartbeats as the broker has them"),
    row("groups::", GROUP),
    row("groups::two_members_balance_", GROUP).core(),
    row("failover::", GROUP),
    row("large_group::", "fifty members over five hundred partitions, and one more").alone(),
    row("groups::ours_and_", MIXED),
    row("mixed_groups::", MIXED),
    row("patterns::", "topics by a pattern"),
    row("consumer_groups::", COORDINATED).needs(KIP_848),
    row("consumer_groups::two_members_balance_", COORDINATED).needs(KIP_848).core(),
    row("consumer_groups::one_more_member_of_fifty_", COORDINATED).needs(KIP_848).alone(),
    row("consumer_groups::topics_that_the_coordinator_matches_", "topics by a pattern that the broker matches")
        .needs(KIP_848),
    row("transactions::", TRANSACTIONS),
    row("transactions::what_is_committed_is_seen_", TRANSACTIONS).core(),
    row("transactions::whenever_the_process_dies_", TRANSACTIONS).only_plaintext(FRAMES),
    row("transactions::the_process_that_dies", TRANSACTIONS).needs(ELSEWHERE),
    row("transactions::a_members_offsets_go_", "a member's offsets in a transaction, checked (KIP-447)")
        .needs(&[Need::Api(TxnOffsetCommit, 3)]),
    row("transactions::an_end_that_is_lost_", "a producer goes on after an end that was not answered (KIP-360)")
        .needs(&[Need::Api(InitProducerId, 3)])
        .only_plaintext(FRAMES),
    row("admin::", "the admin's round: topics, partitions, configs, groups, offsets").core(),
    row("admin_topics::", "the admin: topics with assignments and by id, records deleted, configs of every kind"),
    row("admin_groups::", "the admin: groups of both kinds, many at once, resets, members removed"),
    row("admin_cluster::", "the admin: brokers, features, quorum, disks, elections, reassignments, transactions"),
    row("admin_access::", "the admin: users, quotas"),
    row("admin_access::acls_", NOT_ALLOWED).needs(&[Need::Authorizer]).only_plaintext(SASL_OF_ITS_OWN),
    row("admin_access::who_may_not_", NOT_ALLOWED).needs(&[Need::Authorizer]).only_plaintext(SASL_OF_ITS_OWN).alone(),
    row("emulation::", "the test broker passes for this release").needs(EMULATED).only_plaintext(PEERS_OF_ITS_OWN),
    row("emulation::what_we_emulate_of_producers_", "the test broker passes for this release")
        .needs(&[Need::Emulated(None), Need::Nodes(1)])
        .only_plaintext(PEERS_OF_ITS_OWN),
    row("security::", "the test broker's ACLs, quotas, users and configs are this release's")
        .needs(&[Need::Emulated(Some(Emulation::Kafka43)), Need::Nodes(1), Need::Authorizer])
        .only_plaintext(PEERS_OF_ITS_OWN),
    row("chaos::", "chaos.sh").needs(ELSEWHERE),
    row("limits::", "limits.sh").needs(ELSEWHERE),
    row("oauthbearer::", "oauthbearer.sh").needs(ELSEWHERE),
    row("plan::", "matrix").needs(ELSEWHERE),
];

/// The row of a test: of those that fit, the one that says most.
fn row_of(test: &str) -> Option<&'static Row> {
    ROWS.iter().filter(|row| test.starts_with(row.tests)).max_by_key(|row| row.tests.len())
}

/// Every test of this binary that wants a broker.
fn tests() -> Vec<String> {
    let binary = env::current_exe().expect("this binary has a path");
    let listed = Command::new(binary).args(["--list", "--ignored"]).output().expect("it can be started");
    let listed = String::from_utf8(listed.stdout).expect("names are text");
    listed.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect()
}

/// What was asked of the cluster.
struct Found {
    apis: BTreeMap<i16, (i16, i16)>,
    nodes: usize,
    has_authorizer: bool,
}

impl Found {
    async fn of(broker: &Broker) -> Self {
        const SECURITY_DISABLED: i16 = 54;
        let apis = ranges(&broker.listing(0).await);
        let metadata = broker.ask(1, &MetadataRequest::default().with_topics(Some(vec![]))).await;
        let anything = DescribeAclsRequest::default().with_resource_type_filter(1).with_pattern_type_filter(1);
        let has_authorizer = match apis.get(&DescribeAcls.to_wire()) {
            Some(_) => {
                let acls = broker.ask(1, &anything.with_operation(1).with_permission_type(1)).await;
                acls.expect("DescribeAcls is answered").error_code != SECURITY_DISABLED
            }
            None => false,
        };
        Self { apis, nodes: metadata.expect("Metadata is answered").brokers.len(), has_authorizer }
    }

    /// What is lacking for this, if anything is.
    fn lacks(&self, need: Need) -> Option<String> {
        match need {
            Need::Api(api, version) => {
                let has = self.apis.get(&api.to_wire()).is_some_and(|(min, max)| (min..=max).contains(&&version));
                (!has).then(|| format!("no {api:?} v{version}"))
            }
            Need::Mended(fault, release) => is_before(release).then(|| fault.to_owned()),
            Need::Nodes(nodes) => (self.nodes != nodes).then(|| match nodes {
                1 => "for one node".to_owned(),
                nodes => format!("for {nodes} nodes"),
            }),
            Need::Emulated(wanted) => {
                let is = tested_release();
                let lacks = is.is_none() || wanted.is_some_and(|wanted| is != Some(wanted));
                lacks.then(|| wanted.map_or("not emulated".to_owned(), |wanted| format!("for Kafka {wanted}")))
            }
            Need::Authorizer => (!self.has_authorizer).then(|| "no authorizer".to_owned()),
            Need::Elsewhere => unreachable!("it has been left out"),
        }
    }
}

/// Writes what `protocol-tests/matrix` asks for to the file `KAFKA_PLAN`: a line of JSON per test, with its feature and what
/// this cluster lacks for it. The broker is asked over PLAINTEXT.
#[tokio::test]
#[ignore = "needs a Kafka: KAFKA_BOOTSTRAP=host:port KAFKA_PLAN=file"]
async fn what_this_cluster_is_asked() {
    let Ok(path) = env::var("KAFKA_PLAN") else { panic!("KAFKA_PLAN is the file to write") };
    let found = Found::of(&Broker::of_bootstrap()).await;
    let mut lines = Vec::new();
    for test in tests() {
        let row = row_of(&test).expect("every test has a row");
        if row.needs.iter().any(|need| matches!(need, Need::Elsewhere)) {
            continue;
        }
        let place = ROWS.iter().position(|other| other.feature == row.feature);
        let lacks: Vec<String> = row.needs.iter().filter_map(|need| found.lacks(*need)).collect();
        let line = json!({
            "test": test, "feature": row.feature, "place": place, "core": row.is_core, "alone": row.is_alone,
            "only_plaintext": row.only_plaintext, "lacks": lacks.first(),
        });
        lines.push((place, line.to_string()));
    }
    lines.sort();
    let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
}

#[test]
fn every_test_has_one_row_and_every_row_a_test() {
    let tests = tests();
    let rows: Vec<_> = tests.iter().map(|test| row_of(test).unwrap_or_else(|| panic!("no row for {test}"))).collect();
    for row in ROWS {
        assert!(rows.iter().any(|found| found.tests == row.tests), "no test for the row {:?}", row.tests);
    }
}
