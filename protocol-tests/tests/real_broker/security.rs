//! What the test broker answers about ACLs, SCRAM users, quotas, configs and features, a real broker answers too: one script
//! of requests for both, in which each notes the codes that it gets.
//!
//! The real one is to check ACLs and to be free where there are none:
//! ```sh
//! KFM_AUTHZ=1 KFM_PROPS="super.users=User:admin allow.everyone.if.no.acl.found=true" protocol-tests/kafka start 4.3.1
//! ```

use crate::{bootstrap, fresh};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{self as schema, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use milena::broker::TestCluster;
use milena::wire::frame::{MAX_FRAME, take_frame};
use milena::wire::request::{decode_response, encode_request};
use std::fmt::Debug;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;
const SECURITY_DISABLED: i16 = 54;

fn text(text: &str) -> StrBytes {
    StrBytes::from(text.to_owned())
}

/// One connection, and what was noted of its answers.
struct Script {
    address: String,
    stream: TcpStream,
    notes: Vec<String>,
}

impl Script {
    async fn connect(address: String) -> Self {
        let stream = TcpStream::connect(&address).await.expect("the broker listens");
        Self { address, stream, notes: Vec::new() }
    }

    /// The answer; the default where there is none, which is noted.
    async fn call<R: Request>(&mut self, version: i16, request: R) -> R::Response
    where
        R::Response: Default,
    {
        let frame = encode_request(&request, version, 1, "script").expect("a request that this version can say");
        self.stream.write_all(&frame).await.expect("the broker reads");
        let mut buffer = BytesMut::new();
        let answered = async {
            loop {
                if let Some(frame) = take_frame(&mut buffer, MAX_FRAME).expect("a frame") {
                    break Some(decode_response::<R>(version, frame).expect("an answer in the version asked for"));
                }
                if self.stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    break None;
                }
            }
        };
        if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(20), answered).await {
            return answer;
        }
        self.note("no answer to API", R::KEY);
        self.stream = TcpStream::connect(&self.address).await.expect("the broker listens");
        R::Response::default()
    }

    fn note(&mut self, what: &str, answer: impl Debug) {
        self.notes.push(format!("{what}: {answer:?}"));
    }
}

/// Asks, and notes `$path` of the answer.
macro_rules! ask {
    ($script:ident, $what:expr, $version:expr, $request:expr, |$answer:ident| $path:expr) => {{
        let $answer = $script.call($version, $request).await;
        $script.note($what, $path);
    }};
}

mod refusals;

fn acl(resource_type: i8, name: &str, principal: &str, operation: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_resource_pattern_type(LITERAL)
        .with_principal(text(principal))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(ALLOW)
}

fn filter(resource_type: i8, pattern: i8, name: Option<&str>) -> DeleteAclsFilter {
    DeleteAclsFilter::default()
        .with_resource_type_filter(resource_type)
        .with_resource_name_filter(name.map(text))
        .with_pattern_type_filter(pattern)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

fn creating(acls: Vec<AclCreation>) -> schema::CreateAclsRequest {
    schema::CreateAclsRequest::default().with_creations(acls)
}

async fn describing(script: &mut Script, what: &str, filter: DeleteAclsFilter) {
    let request = schema::DescribeAclsRequest::default()
        .with_resource_type_filter(filter.resource_type_filter)
        .with_resource_name_filter(filter.resource_name_filter)
        .with_pattern_type_filter(filter.pattern_type_filter)
        .with_principal_filter(filter.principal_filter)
        .with_host_filter(filter.host_filter)
        .with_operation(filter.operation)
        .with_permission_type(filter.permission_type);
    let answer = script.call(3, request).await;
    let mut resources: Vec<_> =
        answer.resources.iter().map(|found| (found.resource_type, found.pattern_type, found.acls.len())).collect();
    resources.sort_unstable();
    script.note(what, (answer.error_code, resources));
}

/// Creates, lists and deletes ACLs, sound ones and others.
async fn acls(script: &mut Script, mark: &str) {
    let sound = || acl(2, &format!("{mark}-clicks"), "User:alice", 3);
    let wrong = vec![
        acl(4, "some-cluster", "User:alice", 3),
        acl(2, "", "User:alice", 3),
        acl(1, mark, "User:alice", 3),
        acl(99, mark, "User:alice", 3),
        sound().with_resource_pattern_type(2),
        sound().with_resource_pattern_type(1),
        sound().with_operation(1),
        sound().with_operation(99),
        sound().with_permission_type(1),
        sound().with_permission_type(9),
        sound().with_principal(text("alice")),
        sound().with_principal(text("")),
        sound().with_principal(text("Group:alice")).with_resource_name(text(&format!("{mark}-odd"))),
        sound().with_host(text("")).with_resource_name(text(&format!("{mark}-odd"))),
        sound(),
        sound(),
        sound().with_operation(4),
        sound().with_resource_name(text(&format!("{mark}-cli"))).with_resource_pattern_type(PREFIXED),
        acl(3, &format!("{mark}-clicks"), "User:alice", 3),
    ];
    for acl in wrong {
        let what = format!("create {acl:?}").replace(mark, "");
        ask!(script, &what, 3, creating(vec![acl]), |a| a
            .results
            .iter()
            .map(|result| result.error_code)
            .collect::<Vec<_>>());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let clicks = format!("{mark}-clicks");
    for (what, filter) in [
        ("literal", filter(2, LITERAL, Some(&clicks))),
        ("prefixed", filter(2, PREFIXED, Some(&clicks))),
        ("any", filter(1, 1, Some(&clicks))),
        ("match", filter(2, 2, Some(&clicks))),
        ("of nobody", filter(2, 2, Some(&clicks)).with_principal_filter(Some(text("User:nobody")))),
        ("of a host", filter(2, 2, Some(&clicks)).with_host_filter(Some(text("10.0.0.1")))),
        ("operation", filter(2, 2, Some(&clicks)).with_operation(4)),
        ("permission", filter(2, 2, Some(&clicks)).with_permission_type(DENY)),
        ("unknown type", filter(99, 2, Some(&clicks))),
        ("unknown pattern", filter(2, 99, Some(&clicks))),
        ("unknown operation", filter(2, 2, Some(&clicks)).with_operation(99)),
    ] {
        describing(script, what, filter).await;
    }
    let filters = vec![
        filter(2, 2, Some(&clicks)),
        filter(2, LITERAL, Some(&clicks)),
        filter(2, 99, None),
        filter(99, 1, None),
        filter(2, 2, Some(&clicks)).with_operation(99),
        filter(2, LITERAL, Some(&format!("{mark}-odd"))),
    ];
    ask!(script, "delete", 3, schema::DeleteAclsRequest::default().with_filters(filters), |a| a
        .filter_results
        .iter()
        .map(|r| (r.error_code, r.matching_acls.len()))
        .collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(1)).await;
    describing(script, "what is left", filter(1, 1, Some(&clicks))).await;
}

/// SCRAM credentials that can be and that can't.
async fn scram(script: &mut Script, mark: &str) {
    use schema::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
    use schema::describe_user_scram_credentials_request::UserName;
    let upsert = |user: &str, mechanism, iterations| {
        let user = if user.is_empty() { String::new() } else { format!("{mark}-{user}") };
        ScramCredentialUpsertion::default()
            .with_name(text(&user))
            .with_mechanism(mechanism)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(Bytes::from_static(b"a salted password of some length"))
    };
    let delete = |user: &str, mechanism| {
        let user = if user.is_empty() { String::new() } else { format!("{mark}-{user}") };
        ScramCredentialDeletion::default().with_name(text(&user)).with_mechanism(mechanism)
    };
    let requests = [
        (vec![], vec![upsert("", 1, 4096), upsert("few", 1, 4095), upsert("many", 2, 16385), upsert("none", 3, 4096)]),
        (vec![], vec![upsert("sound", 1, 4096), upsert("other", 2, 16384), upsert("zero", 0, 4096)]),
        (vec![], vec![upsert("twice", 1, 4096), upsert("twice", 2, 4096)]),
        (vec![], vec![upsert("bad first", 1, 1), upsert("bad first", 1, 4096)]),
        (vec![delete("gone", 1), delete("", 1), delete("sound", 2), delete("none", 9)], vec![upsert("gone", 1, 4096)]),
        (vec![delete("sound", 1)], vec![upsert("sound", 1, 8192)]),
        (vec![delete("other", 2), delete("other", 2)], vec![]),
        (vec![], vec![upsert("sound", 2, 5000)]),
    ];
    for (i, (deletions, upsertions)) in requests.into_iter().enumerate() {
        let request = schema::AlterUserScramCredentialsRequest::default();
        let request = request.with_deletions(deletions).with_upsertions(upsertions);
        let answer = script.call(0, request).await;
        let mut codes: Vec<_> =
            answer.results.iter().map(|result| (result.user.replace(mark, ""), result.error_code)).collect();
        codes.sort();
        script.note(&format!("scram {i}"), codes);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let users = ["sound", "other", "other", "nobody", "twice"];
    let users = users.map(|user| UserName::default().with_name(text(&format!("{mark}-{user}")))).to_vec();
    let answer = script.call(0, schema::DescribeUserScramCredentialsRequest::default().with_users(Some(users))).await;
    let infos = |result: &schema::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult| {
        let mut infos: Vec<_> = result.credential_infos.iter().map(|info| (info.mechanism, info.iterations)).collect();
        infos.sort_unstable();
        (result.user.replace(mark, ""), result.error_code, infos)
    };
    let mut described: Vec<_> = answer.results.iter().map(infos).collect();
    described.sort();
    script.note("described users", (answer.error_code, described));
}

/// Quotas that can be and that can't, and how they are found.
async fn quotas(script: &mut Script, mark: &str) {
    use schema::alter_client_quotas_request::{EntityData, EntryData, OpData};
    use schema::describe_client_quotas_request::ComponentData;
    let named = |name: Option<&str>| name.map(|name| text(&name.replace('~', mark)));
    let entry = |entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]| {
        let entity = entity
            .iter()
            .map(|(kind, name)| EntityData::default().with_entity_type(text(kind)).with_entity_name(named(*name)));
        let op = |(key, value): &(&str, Option<f64>)| {
            OpData::default().with_key(text(key)).with_value(value.unwrap_or(0.0)).with_remove(value.is_none())
        };
        EntryData::default().with_entity(entity.collect()).with_ops(ops.iter().map(op).collect())
    };
    let alice = [("user", Some("~a"))];
    let rate = [("producer_byte_rate", Some(1e6))];
    let requests = vec![
        vec![entry(&alice, &[("producer_byte_rate", Some(1e6)), ("request_percentage", Some(12.5))])],
        vec![entry(&[("user", Some("~a")), ("client-id", Some("c"))], &[("consumer_byte_rate", Some(5.0))])],
        vec![entry(&[("user", Some("~a")), ("client-id", None)], &[("controller_mutation_rate", Some(0.5))])],
        vec![entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(3.0))])],
        vec![entry(&[], &rate)],
        vec![entry(&[("team", Some("a"))], &rate)],
        vec![entry(&[("user", Some(""))], &rate)],
        vec![entry(&[("ip", Some("10.0.0.1")), ("user", Some("a"))], &[])],
        vec![entry(&[("ip", Some("no address"))], &[])],
        vec![entry(&[("ip", None)], &rate)],
        vec![entry(&alice, &[("connection_creation_rate", Some(1.0))])],
        vec![entry(&alice, &[("some_rate", Some(1.0))])],
        vec![entry(&alice, &[("some_rate", None)])],
        vec![entry(&alice, &[("producer_byte_rate", Some(0.0))])],
        vec![entry(&alice, &[("producer_byte_rate", Some(1.5))])],
        vec![entry(&alice, &[("producer_byte_rate", Some(1e30))])],
        vec![entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(3e9))])],
        vec![entry(&alice, &[("consumer_byte_rate", Some(1.0)), ("request_percentage", Some(-1.0))])],
        vec![entry(&alice, &[("consumer_byte_rate", Some(2.0)), ("consumer_byte_rate", None)])],
        vec![entry(&alice, &[("consumer_byte_rate", Some(3.0))]), entry(&alice, &[("consumer_byte_rate", Some(4.0))])],
        vec![entry(&[("user", Some("x")), ("user", Some("~b"))], &[("consumer_byte_rate", Some(6.0))])],
    ];
    for (i, entries) in requests.into_iter().enumerate() {
        let answer = script.call(1, schema::AlterClientQuotasRequest::default().with_entries(entries)).await;
        let codes: Vec<_> = answer.entries.iter().map(|entry| (entry.entity.len(), entry.error_code)).collect();
        script.note(&format!("quotas {i}"), codes);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let component = |kind: &str, match_type, name: Option<&str>| {
        ComponentData::default().with_entity_type(text(kind)).with_match_type(match_type).with_match(named(name))
    };
    let filters = [
        (vec![component("user", 0, Some("~a"))], false),
        (vec![component("user", 0, Some("~a"))], true),
        (vec![component("user", 0, Some("~b"))], true),
        (vec![component("user", 0, Some("~a")), component("client-id", 1, None)], true),
        (vec![component("user", 0, Some("~a")), component("client-id", 2, None)], true),
        (vec![component("ip", 2, None)], true),
        (vec![component("", 0, Some("a"))], true),
        (vec![component("team", 0, Some("a"))], true),
        (vec![component("user", 0, None)], true),
        (vec![component("user", 1, Some("a"))], true),
        (vec![component("user", 2, Some("a"))], true),
        (vec![component("user", 1, None), component("user", 2, None)], true),
        (vec![component("user", 1, None), component("ip", 1, None)], true),
        (vec![component("client-id", 1, None), component("ip", 2, None)], true),
    ];
    for (i, (components, strict)) in filters.into_iter().enumerate() {
        let request = schema::DescribeClientQuotasRequest::default().with_components(components).with_strict(strict);
        let answer = script.call(1, request).await;
        let entries = answer.entries.map(|entries| {
            let entries = entries.into_iter().map(|entry| {
                let entity = entry.entity.iter().map(|one| format!("{}={:?}", &*one.entity_type, one.entity_name));
                let values = entry.values.iter().map(|value| format!("{}={}", &*value.key, value.value));
                let mut parts: Vec<_> = entity.chain(values).map(|part| part.replace(mark, "")).collect();
                parts.sort();
                parts
            });
            let mut entries: Vec<_> = entries.collect();
            entries.sort();
            entries
        });
        script.note(&format!("described quotas {i}"), (answer.error_code, entries));
    }
    let back = entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", None)]);
    script.call(1, schema::AlterClientQuotasRequest::default().with_entries(vec![back])).await;
}

/// Configs of topics, brokers, groups and client metrics, by both APIs.
async fn configs(script: &mut Script, mark: &str) {
    use schema::{alter_configs_request as whole, incremental_alter_configs_request as single};
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const METRICS: i8 = 16;
    const GROUP: i8 = 32;
    let create = schema::create_topics_request::CreatableTopic::default()
        .with_name(TopicName(text(&format!("{mark}t"))))
        .with_num_partitions(1)
        .with_replication_factor(1);
    script.call(5, schema::CreateTopicsRequest::default().with_topics(vec![create])).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let name = |name: &str| text(&name.replace('~', mark));
    // Operations: 0 sets, 1 deletes, 2 appends, 3 subtracts.
    type Ops<'a> = &'a [(&'a str, i8, Option<&'a str>)];
    let steps: &[(i8, &str, Ops<'_>)] = &[
        (TOPIC, "~t", &[("retention.ms", 0, Some("1000"))]),
        (TOPIC, "~t", &[("cleanup.policy", 2, Some("compact"))]),
        (TOPIC, "~t", &[("retention.ms", 2, Some("1"))]),
        (TOPIC, "~t", &[("retention.ms", 0, None)]),
        (TOPIC, "~t", &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)]),
        (TOPIC, "~t", &[("retention.ms", 0, Some("x"))]),
        (TOPIC, "~t", &[("no.such", 0, Some("x"))]),
        (TOPIC, "~t", &[("no.such", 1, None)]),
        (TOPIC, "~t", &[("no.such", 2, Some("x"))]),
        (TOPIC, "~t", &[("retention.ms", 9, Some("x"))]),
        (TOPIC, "~none", &[("retention.ms", 0, Some("1"))]),
        (TOPIC, "", &[("retention.ms", 0, Some("1"))]),
        (TOPIC, "bad name", &[("retention.ms", 0, Some("1"))]),
        (0, "~t", &[]),
        (99, "~t", &[]),
        (BROKER, "1", &[("message.max.bytes", 0, Some("2000000"))]),
        (BROKER, "", &[("message.max.bytes", 0, Some("3000000"))]),
        (BROKER, "1", &[("message.max.bytes", 0, Some("x"))]),
        (BROKER, "", &[("message.max.bytes", 0, Some("x"))]),
        (BROKER, "1", &[("num.partitions", 0, Some("3"))]),
        (BROKER, "", &[("num.partitions", 0, Some("3"))]),
        (BROKER, "1", &[("no.such", 0, Some("x"))]),
        (BROKER, "", &[("no.such", 0, Some("x"))]),
        (BROKER, "2", &[("message.max.bytes", 0, Some("1"))]),
        (BROKER, "x", &[("message.max.bytes", 0, Some("1"))]),
        (BROKER, "1", &[("message.max.bytes", 1, None)]),
        (BROKER, "1", &[("no.such", 1, None)]),
        (BROKER, "", &[("no.such", 1, None)]),
        (BROKER, "1", &[("message.max.bytes", 0, Some("2000000"))]),
        (GROUP, "~g", &[("consumer.session.timeout.ms", 0, Some("50000"))]),
        (GROUP, "~g", &[("consumer.session.timeout.ms", 0, Some("1"))]),
        (GROUP, "~g", &[("consumer.session.timeout.ms", 0, Some("x"))]),
        (GROUP, "~g", &[("consumer.heartbeat.interval.ms", 0, Some("6000"))]),
        (GROUP, "~g", &[("no.such", 0, Some("x"))]),
        (GROUP, "", &[("consumer.session.timeout.ms", 0, Some("50000"))]),
        (METRICS, "~m", &[("interval.ms", 0, Some("1000")), ("metrics", 0, Some("a,b"))]),
        (METRICS, "~m", &[("metrics", 2, Some("c"))]),
        (METRICS, "~m", &[("match", 0, Some("client_software_name=java"))]),
        (METRICS, "~m", &[("match", 0, Some("no_such=java"))]),
        (METRICS, "~m", &[("match", 0, Some("junk"))]),
        (METRICS, "~m", &[("interval.ms", 0, Some("1"))]),
        (METRICS, "~m", &[("no.such", 0, Some("1"))]),
        (METRICS, "", &[("interval.ms", 0, Some("1000"))]),
    ];
    for (kind, resource, ops) in steps {
        let configs = ops.iter().map(|(key, operation, value)| {
            single::AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        });
        let one = single::AlterConfigsResource::default()
            .with_resource_type(*kind)
            .with_resource_name(name(resource))
            .with_configs(configs.collect());
        let request = schema::IncrementalAlterConfigsRequest::default().with_resources(vec![one]);
        let what = format!("{kind} {resource} {ops:?}");
        ask!(script, &what, 1, request, |a| a.responses.iter().map(|one| one.error_code).collect::<Vec<_>>());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    described_configs(script, mark).await;

    type Whole<'a> = (&'a [(i8, &'a str)], &'a [(&'a str, Option<&'a str>)]);
    let steps: &[Whole<'_>] = &[
        (&[(TOPIC, "~t")], &[("max.message.bytes", Some("5000"))]),
        (&[(TOPIC, "~t")], &[("max.message.bytes", None)]),
        (&[(TOPIC, "~t")], &[("no.such", Some("1"))]),
        (&[(TOPIC, "~none"), (TOPIC, "~t")], &[("max.message.bytes", Some("6000"))]),
        (&[(TOPIC, "~t")], &[("max.message.bytes", Some("8000")), ("max.message.bytes", Some("8001"))]),
        (&[(BROKER, "1")], &[("num.partitions", Some("2"))]),
        (&[(BROKER, "2")], &[("message.max.bytes", Some("2"))]),
        (&[(GROUP, "~g")], &[("consumer.heartbeat.interval.ms", Some("7000"))]),
        (&[(METRICS, "~m")], &[("interval.ms", Some("2000"))]),
        (&[(8, "1")], &[("kafka", Some("INFO"))]),
        (&[(0, "1")], &[("kafka", Some("INFO"))]),
    ];
    for (resources, configs) in steps {
        let resources = resources.iter().map(|(kind, resource)| {
            let configs = configs
                .iter()
                .map(|(key, value)| whole::AlterableConfig::default().with_name(text(key)).with_value(value.map(text)));
            whole::AlterConfigsResource::default()
                .with_resource_type(*kind)
                .with_resource_name(name(resource))
                .with_configs(configs.collect())
        });
        let request = schema::AlterConfigsRequest::default().with_resources(resources.collect());
        let what = format!("whole {request:?}").replace(mark, "");
        ask!(script, &what, 2, request, |a| a.responses.iter().map(|one| one.error_code).collect::<Vec<_>>());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    described_configs(script, mark).await;
    for (kind, resource) in [(BROKER, "1"), (BROKER, "")] {
        let none = whole::AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(resource));
        script.call(1, schema::AlterConfigsRequest::default().with_resources(vec![none])).await;
    }
}

async fn described_configs(script: &mut Script, mark: &str) {
    use schema::describe_configs_request::DescribeConfigsResource;
    let wanted: &[(i8, &str, Option<&[&str]>)] = &[
        (2, "~t", Some(&["retention.ms", "cleanup.policy", "max.message.bytes", "no.such"])),
        (2, "~none", None),
        (2, "bad name", None),
        (4, "1", Some(&["message.max.bytes", "num.partitions", "no.such"])),
        (4, "", Some(&["message.max.bytes"])),
        (4, "2", None),
        (4, "x", None),
        (32, "~g", None),
        (32, "", None),
        (16, "~m", None),
        (16, "~other", None),
        (16, "", None),
    ];
    for (kind, resource, keys) in wanted {
        let one = DescribeConfigsResource::default()
            .with_resource_type(*kind)
            .with_resource_name(text(&resource.replace('~', mark)))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
        let request = schema::DescribeConfigsRequest::default().with_resources(vec![one]).with_include_synonyms(true);
        let answer = script.call(4, request).await;
        let Some(result) = answer.results.first() else { continue };
        let mut configs: Vec<_> = result
            .configs
            .iter()
            .map(|config| {
                // What else a value could be is told here of the largest batch, and of what is no topic's or broker's.
                let tells = config.name.contains("max") || *kind >= 16;
                let synonyms = config.synonyms.iter().filter(|_| tells);
                let synonyms: Vec<_> = synonyms.map(|one| (one.name.to_string(), one.source)).collect();
                let value = config.value.as_ref().map(|value| value.to_string());
                let kind = (config.config_source, config.read_only, config.is_sensitive, config.config_type);
                (config.name.to_string(), value, kind, synonyms)
            })
            .collect();
        configs.sort();
        script.note(&format!("described {kind} {resource}"), result.error_code);
        for config in configs {
            script.note(&format!("described {kind} {resource}"), config);
        }
    }
}

/// Other levels of a feature.
async fn features(script: &mut Script) {
    use schema::update_features_request::FeatureUpdateKey;
    let update = |feature: &str, level, upgrade_type| {
        FeatureUpdateKey::default()
            .with_feature(text(feature))
            .with_max_version_level(level)
            .with_upgrade_type(upgrade_type)
    };
    let of_transactions = "transaction.version";
    let steps = [
        (vec![update(of_transactions, 1, 1)], false),
        (vec![update(of_transactions, 3, 1)], false),
        (vec![update(of_transactions, -1, 2)], false),
        (vec![update("no.such", 1, 1)], false),
        (vec![update(of_transactions, 1, 9)], false),
        (vec![update(of_transactions, 1, 0)], false),
        (vec![update(of_transactions, 1, 2)], true),
        (vec![update(of_transactions, 1, 2)], false),
        (vec![update(of_transactions, 1, 2)], false),
        (vec![update(of_transactions, 2, 2)], false),
        (vec![update(of_transactions, 0, 3), update("no.such", 1, 1)], false),
        (vec![update(of_transactions, 0, 3)], false),
        (vec![update(of_transactions, 2, 1)], false),
        (vec![], false),
    ];
    for (i, (updates, validate_only)) in steps.into_iter().enumerate() {
        for version in [1, 2] {
            let request = schema::UpdateFeaturesRequest::default()
                .with_timeout_ms(10_000)
                .with_feature_updates(updates.clone())
                .with_validate_only(validate_only);
            let answer = script.call(version, request).await;
            let results: Vec<_> = answer.results.iter().map(|one| (one.feature.to_string(), one.error_code)).collect();
            script.note(&format!("features {i} v{version}"), (answer.error_code, results));
            tokio::time::sleep(Duration::from_millis(500)).await;
            let request = schema::ApiVersionsRequest::default()
                .with_client_software_name(text("script"))
                .with_client_software_version(text("1"));
            let answer = script.call(4, request).await;
            let level =
                |feature: &&schema::api_versions_response::FinalizedFeatureKey| *feature.name == *of_transactions;
            let level = answer.finalized_features.iter().find(level).map(|feature| feature.max_version_level);
            let range = answer.supported_features.iter().find(|feature| *feature.name == *of_transactions);
            script.note("level", (level, range.map(|range| (range.min_version, range.max_version))));
        }
    }
}

#[tokio::test]
#[ignore = "needs a broker with an authorizer, see the head"]
async fn the_test_broker_gives_the_codes_of_a_real_one() {
    let builder = TestCluster::builder().allow_everyone_if_no_acl_found(true).auto_create_topics(true);
    let ours = builder.listen("127.0.0.1:0").start().await.expect("there is a free port");
    let anything = schema::DescribeAclsRequest::default().with_resource_type_filter(1).with_pattern_type_filter(1);
    let mut theirs = Script::connect(bootstrap()).await;
    let asked = theirs.call(3, anything.with_operation(1).with_permission_type(1)).await;
    assert_ne!(asked.error_code, SECURITY_DISABLED, "it was not started as the head says");
    let mut notes = Vec::new();
    for address in [ours.bootstrap(), bootstrap()] {
        let mut script = Script::connect(address).await;
        let mark = fresh("security");
        acls(&mut script, &mark).await;
        scram(&mut script, &mark).await;
        quotas(&mut script, &mark).await;
        configs(&mut script, &mark).await;
        features(&mut script).await;
        refusals::refusals(&mut script, &mark).await;
        notes.push(script.notes);
    }
    let differing: Vec<_> = notes[0].iter().zip(&notes[1]).filter(|(ours, theirs)| ours != theirs).collect();
    assert!(differing.is_empty(), "ours, and theirs: {differing:#?}");
}
