//! The client and its serializers against the registry of this process, under virtual time.
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

use super::{
    Decoder, Deserializer, Registry, RegistryConfig, RegistryError, Schema, SchemaId, SchemaType, Serializer, Side,
    SubjectNameStrategy, TestRegistry, Version,
};
use crate::connect::{BoxStream, Connect, Connecting};
use crate::error::{Certainty, ErrorKind};
use crate::sasl::{Fetching, SaslPeer, Token, TokenProvider};
use apache_avro::types::Value as AvroValue;
use futures_util::future::join_all;
use prost_reflect::DynamicMessage;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CLICK: &str = r#"{"type":"record","namespace":"shop","name":"Click","fields":[
    {"name":"visitor","type":"string"},{"name":"at","type":"long"},{"name":"page","type":["null","string"],"default":null}]}"#;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Click {
    visitor: String,
    at: u64,
    page: Option<String>,
}

fn click(at: u64) -> Click {
    Click { visitor: "v7".to_owned(), at, page: Some("/".to_owned()) }
}

fn registry(test: &TestRegistry) -> Registry {
    Registry::new(test.config().seed(1)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn avro_goes_there_and_back_and_the_registry_is_asked_once() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let clicks = Serializer::<Click>::avro(&registry, Schema::avro(CLICK));
    let all = join_all((0..20).map(|at| async move { click(at) }).map(|click| async {
        let click = click.await;
        clicks.serialize("clicks", &click).await.unwrap()
    }));
    let all = all.await;
    assert_eq!(test.requests(), ["POST /subjects/clicks-value/versions"], "single flight");
    assert_eq!(all[3], [&[0, 0, 0, 0, 1][..], &[4], b"v7", &[6, 2, 2], b"/"].concat());

    let reader = Registry::new(test.config()).unwrap();
    let clicks = Deserializer::<Click>::avro(&reader);
    let read = join_all(all.iter().map(|bytes| clicks.deserialize(bytes))).await;
    for (at, click) in (0..).zip(read) {
        assert_eq!(click.unwrap(), self::click(at));
    }
    assert_eq!(test.requests().len(), 2);
    let decoder = Decoder::new(&reader);
    assert_eq!(decoder.decode(&all[3]).await.unwrap(), r#"{"visitor":"v7","at":3,"page":"/"}"#);
    let error = clicks.deserialize(b"{}").await.unwrap_err();
    assert!(error.to_string().starts_with("not written by a Schema Registry's serializer"), "{error}");
    let error = clicks.deserialize(&[0, 0, 0, 0, 1, 4]).await.unwrap_err();
    assert_eq!(error.to_string(), "schema 1: field visitor: 2 bytes are to come, and 0 are left");
    let error = clicks.deserialize(&[0, 0, 0, 0, 9, 4]).await.unwrap_err();
    assert!(RegistryError::of(&error).unwrap().is_not_found() && error.to_string().contains("40403"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_by_an_older_schema_is_read_by_the_readers() {
    const NEWER: &str = r#"{"type":"record","namespace":"shop","name":"Click","fields":[
        {"name":"when","aliases":["at"],"type":"double"},
        {"name":"source","type":"string","default":"web"}]}"#;
    #[derive(Debug, PartialEq, Deserialize)]
    struct Newer {
        when: f64,
        source: String,
    }
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let bytes = Serializer::<Click>::avro(&registry, Schema::avro(CLICK)).serialize("c", &click(5)).await.unwrap();
    let newer = Deserializer::<Newer>::avro(&registry).reader_schema(Schema::avro(NEWER));
    assert_eq!(newer.deserialize(&bytes).await.unwrap(), Newer { when: 5.0, source: "web".to_owned() });
    let values = Deserializer::<AvroValue>::avro_values(&registry).reader_schema(Schema::avro(NEWER));
    let AvroValue::Record(fields) = values.deserialize(&bytes).await.unwrap() else { panic!("no record") };
    assert_eq!(fields[1], ("source".to_owned(), AvroValue::String("web".to_owned())));
    let other = Deserializer::<Newer>::avro(&registry).reader_schema(Schema::avro(r#""int""#));
    let error = other.deserialize(&bytes).await.unwrap_err().to_string();
    assert!(error.contains("can't be resolved to the reader's"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn json_and_protobuf_go_there_and_back() {
    const PROTO: &str =
        "syntax = \"proto3\"; package shop; message A { message Click { string visitor = 1; uint64 at = 2; } }";
    #[derive(Clone, PartialEq, prost::Message)]
    struct Typed {
        #[prost(string, tag = "1")]
        visitor: String,
        #[prost(uint64, tag = "2")]
        at: u64,
    }
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let decoder = Decoder::new(&registry);

    let schema = Schema::json(r#"{"type":"object","title":"Click"}"#);
    let json = Serializer::<Click>::json(&registry, schema).subject_name_strategy(SubjectNameStrategy::TopicRecord);
    let bytes = json.serialize("j", &click(1)).await.unwrap();
    assert_eq!(decoder.decode(&bytes).await.unwrap(), r#"{"visitor":"v7","at":1,"page":"/"}"#);
    assert_eq!(Deserializer::<Click>::json(&registry).deserialize(&bytes).await.unwrap(), click(1));
    assert_eq!(registry.subjects().await.unwrap(), ["j-Click"]);
    let error = Deserializer::<Click>::avro(&registry).deserialize(&bytes).await.unwrap_err();
    assert_eq!(error.to_string(), "schema 1: the schema is JSON, and not AVRO");

    let typed = Typed { visitor: "v".to_owned(), at: 2 };
    let protobuf = Serializer::<Typed>::protobuf(&registry, Schema::protobuf(PROTO), "shop.A.Click").key();
    let bytes = protobuf.serialize("p", &typed).await.unwrap();
    assert_eq!(bytes[..8], [0, 0, 0, 0, 2, 4, 0, 0]);
    assert_eq!(Deserializer::<Typed>::protobuf(&registry).deserialize(&bytes).await.unwrap(), typed);
    assert_eq!(decoder.decode(&bytes).await.unwrap(), r#"{"visitor":"v","at":"2"}"#);
    let message = Deserializer::<DynamicMessage>::dynamic(&registry).deserialize(&bytes).await.unwrap();
    let dynamic = Serializer::<DynamicMessage>::dynamic(&registry, Schema::protobuf(PROTO)).key();
    assert_eq!(dynamic.serialize("p", &message).await.unwrap(), bytes);
    assert_eq!(dynamic.message("shop.A.Click").await.unwrap().fields().len(), 2);
    let error = dynamic.message("shop.Click").await.unwrap_err().to_string();
    assert_eq!(error, "there is no message shop.Click in the schema, but shop.A");
    let any = Deserializer::<serde_json::Value>::any(&registry).deserialize(&bytes).await.unwrap();
    assert_eq!(any["visitor"], "v");

    // What a newer serializer has in a header.
    let header = [&[0, 0, 0, 0, 2][..], &[4, 0, 0]].concat();
    let values = Deserializer::<serde_json::Value>::any(&registry);
    assert_eq!(values.deserialize_with_header(&header, &bytes[8..]).await.unwrap(), any);
}

/// What records say is from outside, whatever their schema.
#[tokio::test(start_paused = true)]
async fn no_bytes_can_do_more_than_fail() {
    const ALL: &str = r#"{"type":"record","name":"All","fields":[{"name":"u","type":["null","All","string"]},
        {"name":"a","type":{"type":"array","items":["null","long"]}},{"name":"m","type":{"type":"map","values":"bytes"}},
        {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},
        {"name":"t","type":{"type":"string","logicalType":"uuid"}},{"name":"x","type":{"type":"fixed","name":"X","size":3}}]}"#;
    const PROTO: &str = "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/timestamp.proto\";
        message M { M m = 1; map<string, M> n = 2; google.protobuf.Any any = 3; google.protobuf.Timestamp t = 4; repeated int64 l = 5; }";
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    for (subject, schema) in [("a", Schema::avro(ALL)), ("j", Schema::json("{}")), ("p", Schema::protobuf(PROTO))] {
        registry.register(subject, &schema).await.unwrap();
    }
    let decoder = Decoder::new(&registry);
    let all = [
        &[0, 0, 0, 0, 1, 0, 6, 0, 2, 14, 0, 0, 2, 2, b'k', 4, 1, 2, 0, 4, 1, 2, 72][..],
        b"00000000-0000-0000-0000-000000000007",
        b"xyz",
    ];
    let proto =
        [0, 0, 0, 0, 3, 0, 0x0a, 2, 0x0a, 0, 0x12, 7, 0x0a, 1, b'k', 0x12, 2, 0x0a, 0, 0x22, 2, 8, 1, 0x2a, 2, 1, 2];
    let whole = [all.concat(), b"\0\0\0\0\x02{\"a\":[1,{\"b\":null}]}".to_vec(), proto.to_vec()];
    for bytes in &whole {
        decoder.decode(bytes).await.unwrap();
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut good = 0;
    for _ in 0..20_000 {
        let mut bytes = whole[random.usize(..3)].clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(5..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => bytes.insert(at, random.u8(..)),
                _ => bytes.truncate(at.max(6)),
            }
        }
        good += u32::from(decoder.decode(&bytes).await.is_ok());
    }
    assert!((1000..19_000).contains(&good), "{good} are still something");
}

#[tokio::test(start_paused = true)]
async fn a_schema_comes_with_what_it_uses_of_others() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let user =
        Schema::avro(r#"{"type":"record","namespace":"shop","name":"User","fields":[{"name":"n","type":"string"}]}"#);
    registry.register("users", &user).await.unwrap();
    let order = r#"{"type":"record","namespace":"shop","name":"Order","fields":[{"name":"by","type":"shop.User"}]}"#;
    let schema = Schema::avro(order).reference("shop.User", "users", 1);
    #[derive(Serialize)]
    struct User {
        n: &'static str,
    }
    #[derive(Serialize)]
    struct Order {
        by: User,
    }
    let orders = Serializer::<Order>::avro(&registry, schema.clone());
    let bytes = orders.serialize("orders", &Order { by: User { n: "x" } }).await.unwrap();
    let other = self::registry(&test);
    assert_eq!(Decoder::new(&other).decode(&bytes).await.unwrap(), r#"{"by":{"n":"x"}}"#);
    let found = other.lookup("orders-value", &schema).await.unwrap();
    assert_eq!((found.version, found.schema.references()[0].subject.as_str()), (1, "users"));

    let proto = Schema::protobuf("syntax = \"proto3\"; import \"user.proto\"; message O { U by = 1; }");
    let user = Schema::protobuf("syntax = \"proto3\"; message U { string n = 1; }");
    registry.register("user-proto", &user).await.unwrap();
    let error = registry.register("o", &proto).await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().code, 42201, "{error}");
    let id = registry.register("o", &proto.reference("user.proto", "user-proto", 1)).await.unwrap();
    let bytes = [&[0][..], &id.to_be_bytes(), &[0], &[0x0a, 3, 0x0a, 1, b'x']].concat();
    assert_eq!(Decoder::new(&other).decode(&bytes).await.unwrap(), r#"{"by":{"n":"x"}}"#);
}

#[tokio::test(start_paused = true)]
async fn whether_schemas_are_registered_or_the_latest_is_used_is_a_setting() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let strict = Serializer::<Click>::avro(&registry, Schema::avro(CLICK)).auto_register_schemas(false);
    let error = strict.serialize("clicks", &click(1)).await.unwrap_err();
    assert!(error.to_string().starts_with("the value for clicks: schema registry: POST http://test-registry/subjects/clicks-value: 404: Subject 'clicks-value' not found. (error_code 40401)"), "{error}");
    registry.register("clicks-value", &Schema::avro(CLICK)).await.unwrap();
    assert_eq!(strict.serialize("clicks", &click(1)).await.unwrap()[..5], [0, 0, 0, 0, 1]);

    let wider = CLICK.replace("]}", r#",{"name":"source","type":"string","default":"web"}]}"#);
    let latest = Serializer::<Click>::avro(&registry, Schema::avro(CLICK)).use_latest_version(true);
    assert_eq!(latest.serialize("clicks", &click(1)).await.unwrap()[4], 1);
    self::registry(&test).register("clicks-value", &Schema::avro(wider)).await.unwrap();
    assert_eq!(latest.serialize("clicks", &click(1)).await.unwrap()[4], 1, "by what is kept");
    sleep(Duration::from_secs(61)).await;
    let bytes = latest.serialize("clicks", &click(1)).await.unwrap();
    let text = Decoder::new(&registry).decode(&bytes).await.unwrap();
    assert_eq!((bytes[4], text.as_str()), (2, r#"{"visitor":"v7","at":1,"page":"/","source":"web"}"#));

    let big = strict.serialize("clicks", &click(u64::MAX)).await.unwrap_err();
    assert_eq!(big.kind(), ErrorKind::InvalidArgument);
    assert!(big.to_string().contains("a long has no room for 18446744073709551615"), "{big}");
    let wrong = Serializer::<Click>::json(&registry, Schema::avro(CLICK)).serialize("c", &click(1)).await.unwrap_err();
    assert!(wrong.to_string().ends_with("the serializer is for JSON, and its schema is AVRO"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn subjects_have_versions_that_follow_rules() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let subject = "a/b c%";
    let first = registry.register(subject, &Schema::avro(CLICK)).await.unwrap();
    let same = CLICK.replace('\n', " ");
    assert_eq!(registry.register(subject, &Schema::avro(same)).await.unwrap(), first);
    let narrower = Schema::avro(
        CLICK.replace(r#""string"},{"name":"at""#, r#""string"},{"name":"must","type":"int"},{"name":"at""#),
    );
    let judged = registry.compatibility(subject, Version::Latest, &narrower).await.unwrap();
    assert!(!judged.is_compatible && judged.messages[0].contains("must"), "{judged:?}");
    let error = registry.register(subject, &narrower).await.unwrap_err();
    assert_eq!((RegistryError::of(&error).unwrap().status, error.kind()), (409, ErrorKind::InvalidArgument));
    assert!(
        error.to_string().contains("is incompatible with an earlier schema") && error.to_string().contains("BACKWARD")
    );
    assert!(registry.compatibility(subject, 1, &Schema::avro(CLICK)).await.unwrap().is_compatible);
    assert_eq!(registry.subjects().await.unwrap(), [subject]);
    assert_eq!(registry.versions(subject).await.unwrap(), [1]);
    assert_eq!(registry.version(subject, 1).await.unwrap().schema.schema_type(), SchemaType::Avro);
    let error = registry.version(subject, 7).await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().code, 40402);
    let error = registry.version(subject, 0).await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().code, 42202);
    let error = registry.delete_subject(subject, true).await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().code, 40405);
    assert_eq!(registry.delete_subject(subject, false).await.unwrap(), [1]);
    assert_eq!(registry.delete_subject(subject, true).await.unwrap(), [1]);
    assert!(registry.subjects().await.unwrap().is_empty());
    assert_eq!(registry.schema(SchemaId::Id(first)).await.unwrap().text(), CLICK);
    let error = registry.register("x", &Schema::avro("{")).await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().code, 42201);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_busy_is_asked_again_and_one_that_says_no_is_not() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    test.fail_next([503, 429, 500]);
    assert!(registry.subjects().await.unwrap().is_empty());
    assert_eq!(test.requests().len(), 4);

    test.require_basic_auth("orders", "hush");
    let error = registry.subjects().await.unwrap_err();
    assert_eq!((error.kind(), test.requests().len()), (ErrorKind::Denied, 5));
    assert!(error.to_string().contains("401: Unauthorized") && error.to_string().contains("basic.auth.user.info"));
    let named = Registry::new(test.config().basic_auth("orders", "hush")).unwrap();
    assert!(named.subjects().await.unwrap().is_empty() && !format!("{named:?}").contains("hush"));
    test.require_bearer_auth("t0ken");
    assert!(named.subjects().await.is_err());
    let named = Registry::new(test.config().bearer_auth("t0ken")).unwrap();
    assert!(named.subjects().await.unwrap().is_empty() && !format!("{named:?}").contains("t0ken"));

    let begun = Instant::now();
    test.fail_next([503; 100]);
    let error = named.subjects().await.unwrap_err();
    assert!(error.is_retriable() && begun.elapsed() <= Duration::from_secs(30), "{error}");
    assert!(
        begun.elapsed() > Duration::from_secs(20) && error.to_string().contains("503: as the test wants it"),
        "{error}"
    );
}

/// Reaches two registries by name; the first is down.
#[derive(Debug)]
struct Two(Arc<dyn Connect>, Arc<Mutex<Vec<String>>>);

impl Connect for Two {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        self.1.lock().unwrap().push(host.to_owned());
        match host {
            "up" => self.0.connect(host, port),
            "silent" => Box::pin(async {
                let (ours, theirs) = tokio::io::duplex(64);
                std::mem::forget(theirs);
                Ok(Box::new(ours) as BoxStream)
            }),
            _ => Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_asked_and_remembered() {
    let test = TestRegistry::in_memory().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let two = Two(test.config().http.connect.clone(), asked.clone());
    let config = RegistryConfig::new(["http://down:8081", "http://up/base/"]).unwrap().connect(two).seed(1);
    let registry = Registry::new(config).unwrap();
    let begun = Instant::now();
    let error = registry.subjects().await.unwrap_err();
    assert_eq!(RegistryError::of(&error).unwrap().status, 404, "{error}"); // it has no base
    assert!(test.requests()[0].starts_with("GET /base/subjects"), "{:?}", test.requests());
    let two = Two(test.config().http.connect.clone(), asked.clone());
    let config = RegistryConfig::new(["http://down:8081", "http://up"]).unwrap().connect(two).seed(1);
    let registry = Registry::new(config).unwrap();
    asked.lock().unwrap().clear();
    for _ in 0..3 {
        registry.subjects().await.unwrap();
    }
    assert_eq!((asked.lock().unwrap().join(" "), begun.elapsed()), ("down up up up".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_hear_of_the_same_failure_within_one_deadline() {
    for (address, least) in [("http://down", 20), ("http://silent", 20)] {
        let two = Two(TestRegistry::in_memory().unwrap().config().http.connect.clone(), Arc::default());
        let config = RegistryConfig::new([address]).unwrap().connect(two).seed(1);
        let registry = Registry::new(config).unwrap();
        let begun = Instant::now();
        let all = join_all((0..50).map(|_| registry.schema(SchemaId::Id(1)))).await;
        for error in all {
            let error = error.unwrap_err();
            assert!(error.is_retriable(), "{error}");
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(least) && took <= Duration::from_secs(30), "{took:?}");
    }
}

/// `t1`, `t2`, …
#[derive(Debug, Default)]
struct Numbered(Mutex<u32>);

impl TokenProvider for Numbered {
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a> {
        assert_eq!(&*peer.host, "test-registry");
        let mut number = self.0.lock().unwrap();
        *number += 1;
        let token = Token::new(format!("t{number}"));
        Box::pin(async move { Ok(token) })
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_end_are_asked_for_each_time() {
    let test = TestRegistry::in_memory().unwrap();
    test.require_bearer_auth("t1");
    let registry = Registry::new(test.config().bearer_tokens(Numbered::default())).unwrap();
    assert!(registry.subjects().await.unwrap().is_empty());
    let error = registry.subjects().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "t2: {error}");
    let strategy = SubjectNameStrategy::Record;
    let registry = Registry::new(test.config().bearer_auth("t1").subject_name_strategy(Side::Value, strategy)).unwrap();
    Serializer::<Click>::avro(&registry, Schema::avro(CLICK)).serialize("t", &click(1)).await.unwrap();
    assert_eq!(registry.subjects().await.unwrap(), ["shop.Click"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_refused_is_renewed_once_and_is_not_waited_for_without_end() {
    let test = TestRegistry::in_memory().unwrap();
    test.require_bearer_auth("t2");
    let registry = Registry::new(test.config().bearer_tokens(Numbered::default())).unwrap();
    assert!(registry.subjects().await.unwrap().is_empty());
    assert_eq!(test.requests().len(), 2);
    #[derive(Debug)]
    struct Never;
    impl TokenProvider for Never {
        fn token<'a>(&'a self, _: &'a SaslPeer) -> Fetching<'a> {
            Box::pin(std::future::pending())
        }
    }
    let begun = Instant::now();
    let registry = Registry::new(test.config().bearer_tokens(Never)).unwrap();
    let error = registry.subjects().await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, Duration::from_secs(30)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_subject_is_deleted_once_and_forgotten_in_any_case() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    registry.register("a", &Schema::avro(CLICK)).await.unwrap();
    registry.version("a", 1).await.unwrap();
    test.fail_next([500]);
    let error = registry.delete_subject("a", false).await.unwrap_err();
    assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent), "{error}");
    let asked = test.requests().len();
    assert_eq!((asked, registry.version("a", 1).await.unwrap().id), (3, 1));
    assert_eq!(test.requests().len(), asked + 1, "it was forgotten");
    test.fail_next([503]);
    assert_eq!(registry.delete_subject("a", false).await.unwrap(), [1]);
    for (address, connections) in [("http://silent", 1), ("http://down", 2)] {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let config =
            RegistryConfig::new([address]).unwrap().connect(Two(test.config().http.connect.clone(), asked.clone()));
        let error = Registry::new(config.seed(1)).unwrap().delete_subject("a", false).await.unwrap_err();
        let (asked, certainty) = (asked.lock().unwrap().len(), error.delivery_certainty());
        assert_eq!(asked.min(2), connections, "{error}");
        let sent = if connections == 1 { Certainty::PossiblySent } else { Certainty::NotSent };
        assert_eq!(certainty, Some(sent), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_that_nobody_knows_are_asked_seldom_and_throw_nothing_out() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = Registry::new(test.config().cache_capacity(3)).unwrap();
    registry.register("a", &Schema::avro(CLICK)).await.unwrap();
    registry.schema(SchemaId::Id(1)).await.unwrap();
    for id in [9, 8, 7, 6, 9, 8, 7] {
        let error = registry.schema(SchemaId::Id(id)).await.unwrap_err();
        assert!(RegistryError::of(&error).unwrap().is_not_found(), "{error}");
    }
    registry.schema(SchemaId::Id(1)).await.unwrap();
    assert_eq!(test.requests().len(), 2 + 4);
    sleep(Duration::from_secs(5)).await;
    assert!(registry.schema(SchemaId::Id(9)).await.is_err());
    assert_eq!(test.requests().len(), 2 + 5);
    assert!(registry.schema(SchemaId::Id(2)).await.is_err());
    registry.register("b", &Schema::avro("\"int\"")).await.unwrap();
    assert_eq!(registry.schema(SchemaId::Id(2)).await.unwrap().text(), "\"int\"");
}

#[tokio::test(start_paused = true)]
async fn what_a_schema_uses_may_have_been_deleted_since() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    registry.register("n", &Schema::avro(r#"{"type":"enum","name":"N","symbols":["A"]}"#)).await.unwrap();
    let schema = Schema::avro(r#"{"type":"array","items":"N"}"#).reference("N", "n", 1);
    let bytes = Serializer::<Vec<&str>>::avro(&registry, schema).serialize("t", &vec!["A"]).await.unwrap();
    registry.delete_subject("n", false).await.unwrap();
    let other = Registry::new(test.config()).unwrap();
    assert_eq!(Decoder::new(&other).decode(&bytes).await.unwrap(), r#"["A"]"#);
    let schema = Schema::avro(r#"{"type":"array","items":"N"}"#).reference("N", "n", -1);
    let error =
        Serializer::<Vec<&str>>::avro(&registry, schema).serialize("t", &vec!["A"]).await.unwrap_err().to_string();
    assert!(error.contains("it uses version -1 of n: a version is a number from 1 on"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_latest_is_also_minus_one_and_not_for_ever() {
    let test = TestRegistry::in_memory().unwrap();
    let registry = registry(&test);
    let other = Registry::new(test.config()).unwrap();
    for (id, text) in [(1, "\"int\""), (2, r#"{"type":"int"}"#)] {
        other.register("a", &Schema::avro(text)).await.unwrap();
        assert_eq!(registry.version("a", -1).await.unwrap().id, id);
        sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_goes_only_where_it_belongs_and_is_in_no_error() {
    for urls in [["http://u:p@a", "http://b"], ["http://a", "http://u:p@b"], ["http://u:p@a", "http://u:q@b"]] {
        let error = RegistryConfig::new(urls).unwrap_err().to_string();
        assert!(error.contains("all addresses have to have the same user and password"), "{error}");
    }
    let mixed = || RegistryConfig::new(["https://a", "http://b"]).unwrap();
    assert!(Registry::new(mixed()).is_ok());
    let error = Registry::new(mixed().bearer_auth("hush")).unwrap_err().to_string();
    assert!(error.contains("some addresses are https: and some http:"), "{error}");
    let test = TestRegistry::in_memory().unwrap();
    let named = Registry::new(test.config().bearer_auth("hush").timeout(Duration::MAX)).unwrap();
    let error = named.latest("hush").await.unwrap_err();
    let said = RegistryError::of(&error).unwrap();
    assert!(!format!("{error:?} {said}").contains("hush'"), "{error:?}");
    assert!(said.message.contains('…'), "{said}");
}
