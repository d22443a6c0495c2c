//! OAUTHBEARER on a listener where Kafka's own `OAuthBearerValidatorCallbackHandler` looks at the tokens, which a small identity
//! provider signs that lives in the test. Run by `protocol-tests/oauthbearer.sh`: `OAUTH_BOOTSTRAP` is the listener, `OAUTH_KEYS`
//! the folder of the keys, of which the broker knows `key.pem`.

mod idp;

use crate::sample::read_numbers;
use crate::{PATIENCE, connect, topic};
use idp::{Idp, Issue};
use milena::client::{Client, ClientConfig};
use milena::consumer::{ConsumerConfig, OffsetReset};
use milena::error::{ErrorCode, ErrorKind, Result};
use milena::ids::TopicPartition;
use milena::producer::{ProducerConfig, ProducerRecord};
use milena::properties::Properties;
use std::env;
use std::time::{Duration, Instant};

const SECRET: &str = "hu+sh";

fn bootstrap() -> String {
    env::var("OAUTH_BOOTSTRAP").expect("OAUTH_BOOTSTRAP=host:port is a listener with OAUTHBEARER")
}

fn by(properties: &str) -> ClientConfig {
    let text = format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n{properties}");
    let config = Properties::parse(&text).and_then(|properties| properties.client());
    config.expect("the properties are sound").bootstrap_servers([bootstrap()])
}

fn librdkafkas(idp: &Idp) -> ClientConfig {
    by(&format!(
        "sasl.oauthbearer.method=oidc\nsasl.oauthbearer.token.endpoint.url={}\nsasl.oauthbearer.client.id=milena\n\
         sasl.oauthbearer.client.secret={SECRET}\nsasl.oauthbearer.scope=kafka\nsasl.oauthbearer.extensions=traceId=7",
        idp.url()
    ))
}

fn javas(idp: &Idp, secret: &str) -> ClientConfig {
    let package = "org.apache.kafka.common.security.oauthbearer";
    by(&format!(
        "sasl.login.callback.handler.class={package}.OAuthBearerLoginCallbackHandler\n\
         sasl.oauthbearer.token.endpoint.url={}\nsasl.jaas.config={package}.OAuthBearerLoginModule required \
         clientId=\"milena\" clientSecret=\"{secret}\" scope=\"kafka\" extension_traceId=\"7\";",
        idp.url()
    ))
}

async fn write_and_read(client: &Client, topic: &str, numbers: std::ops::Range<i64>) {
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    for number in numbers.clone() {
        let value = number.to_string();
        let sent = producer.send(ProducerRecord::new(topic).value(&value)).await.expect("there is room");
        sent.await.expect("the broker takes it");
    }
    producer.close(PATIENCE).await.expect("the producer closes");
    let read = ConsumerConfig::default().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = client.consumer(read).expect("a consumer");
    consumer.assign([TopicPartition::new(topic, 0)]).await.expect("it is assigned");
    assert_eq!(read_numbers(&mut consumer, numbers.end as usize).await, (0..numbers.end).collect::<Vec<_>>());
    consumer.close(PATIENCE).await.expect("the consumer closes");
}

async fn refused(config: ClientConfig) -> milena::error::Error {
    let begun = Instant::now();
    let error = Client::connect(config).await.expect_err("it is refused");
    assert!(begun.elapsed() < Duration::from_secs(20), "{error} after {:?}", begun.elapsed());
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    error
}

#[tokio::test]
#[ignore = "needs protocol-tests/oauthbearer.sh"]
async fn tokens_of_a_token_endpoint_by_librdkafkas_properties_and_by_javas() {
    let idp = Idp::start(SECRET).await;
    let plain = connect().await;
    let topic = topic(&plain, "oauth", 1, 1).await;
    let client = Client::connect(librdkafkas(&idp)).await.expect("the token is good");
    write_and_read(&client, &topic, 0..100).await;
    client.close().await;
    assert_eq!(idp.asked(), 1, "one token for all connections");
    let client = Client::connect(javas(&idp, SECRET)).await.expect("the token is good");
    write_and_read(&client, &topic, 100..200).await;
    client.close().await;
    plain.close().await;
}

#[tokio::test]
#[ignore = "needs protocol-tests/oauthbearer.sh"]
async fn a_token_that_the_broker_does_not_like_is_an_error_with_its_reasons() {
    let idp = Idp::start(SECRET).await;
    for (what, issue) in [
        ("for somebody else", Issue { audience: "postgres", ..Issue::default() }),
        ("of another issuer", Issue { issuer: "https://elsewhere.test", ..Issue::default() }),
        ("of another key", Issue { key: "other.pem", ..Issue::default() }),
        // The broker allows for 30 s between clocks.
        ("long expired", Issue { issued: -3600, ..Issue::default() }),
    ] {
        idp.issue(issue);
        let error = refused(librdkafkas(&idp)).await;
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Denied, Some(ErrorCode::SaslAuthenticationFailed)),
            "{what}"
        );
        let text = error.to_string();
        let expected = r#"the broker refused the token: {"status":"invalid_token"}"#;
        assert!(text.contains(expected) && text.contains("sasl.oauthbearer.expected"), "{what}: {text}");
    }
    idp.issue(Issue::default());
    Client::connect(librdkafkas(&idp)).await.expect("the token is good").close().await;
}

#[tokio::test]
#[ignore = "needs protocol-tests/oauthbearer.sh"]
async fn a_token_endpoint_that_says_no_or_is_away_has_its_own_errors() {
    let mut idp = Idp::start(SECRET).await;
    let error = refused(javas(&idp, "guess")).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    let expected =
        format!("token endpoint {}: 401 Unauthorized: invalid_client: no such client; the client's id", idp.url());
    assert!(error.to_string().contains(&expected), "{error}");

    idp.stop().await;
    // Which may pass, so it is tried for as long as a call may take.
    let error = refused(librdkafkas(&idp).default_api_timeout(Duration::from_secs(10))).await;
    assert!(error.to_string().contains(&format!("token endpoint {}: can't connect", idp.url())), "{error}");
    idp.start_again().await;
    Client::connect(librdkafkas(&idp)).await.expect("it is back").close().await;
}

/// A token lives for 5 s, and so do sessions; meanwhile the endpoint is away for 3 s.
#[tokio::test]
#[ignore = "needs protocol-tests/oauthbearer.sh"]
async fn while_tokens_run_out_and_the_endpoint_is_away_for_a_moment_nothing_is_lost() -> Result<()> {
    const RECORDS: usize = 1_500;
    let mut idp = Idp::start(SECRET).await;
    idp.issue(Issue { lifetime: 5, ..Issue::default() });
    let plain = connect().await;
    let topic = topic(&plain, "oauth-renewal", 1, 1).await;
    let client = Client::connect(librdkafkas(&idp)).await?;
    let producer = client.producer(ProducerConfig::default())?;
    let mut deliveries = Vec::new();
    let begun = Instant::now();
    let mut away = None;
    for number in 0..RECORDS {
        let value = number.to_string();
        deliveries.push(producer.send(ProducerRecord::new(&topic).value(&value)).await?);
        tokio::time::sleep(Duration::from_millis(10)).await;
        match (away, begun.elapsed().as_secs()) {
            (None, 6..) => {
                idp.stop().await;
                away = Some(true);
            }
            (Some(true), 9..) => {
                idp.start_again().await;
                away = Some(false);
            }
            _ => {}
        }
    }
    assert_eq!(away, Some(false));
    let mut last = -1;
    for delivery in deliveries {
        let offset = delivery.await?.offset().expect("it has one");
        assert!(offset > last, "{offset} after {last}");
        last = offset;
    }
    assert_eq!(last, RECORDS as i64 - 1, "each once");
    assert!(idp.asked() >= 3, "{} tokens in {:?}", idp.asked(), begun.elapsed());
    producer.close(PATIENCE).await?;
    client.close().await;
    plain.close().await;
    Ok(())
}
