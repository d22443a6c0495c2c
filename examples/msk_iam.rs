//! AWS MSK with IAM, as a provider of tokens: each is a presigned URL for `kafka-cluster:Connect`, in base64 (what the libraries
//! aws-msk-iam-sasl-signer make). `cargo run --example msk_iam --features test-broker`.
//!
//! Without `MSK_BOOTSTRAP` it runs by itself: the embedded broker plays MSK, with the keys of AWS's documentation, and checks the
//! signature. With it, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`, it lists the
//! topics of that cluster over TLS. Keys that expire (roles, instance profiles) come from AWS's own crates: `token` may wait for
//! them.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use milena::broker::{BearerToken, InvalidBearerToken, TestCluster};
use milena::client::{Client, ClientConfig};
use milena::error::{Error, ErrorKind};
use milena::sasl::{Fetching, OAuthBearer, SaslPeer, Token, TokenProvider};
use milena::secret::Secret;
use sha2::{Digest, Sha256};
use std::env;
use std::time::Duration;

/// No longer than AWS takes it.
const LIFETIME: u64 = 900;

/// Signs a token for each connection: that is a matter of microseconds, and nothing has to be kept.
#[derive(Debug, Clone)]
struct MskIam {
    region: String,
    access_key: String,
    secret_key: Secret,
    session_token: Option<Secret>,
}

impl TokenProvider for MskIam {
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a> {
        Box::pin(async move {
            let url = self.presigned_url(peer.unix_millis / 1000) + "&User-Agent=milena-example";
            Ok(Token::new(URL_SAFE_NO_PAD.encode(url)).valid_for(Duration::from_secs(LIFETIME)))
        })
    }
}

impl MskIam {
    /// The environment's keys, or those of AWS's documentation.
    fn from_environment() -> Self {
        let read = |name: &str, or: &str| env::var(name).unwrap_or_else(|_| or.to_owned());
        Self {
            region: read("AWS_REGION", "eu-central-1"),
            access_key: read("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            secret_key: read("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").into(),
            session_token: env::var("AWS_SESSION_TOKEN").ok().map(Secret::from),
        }
    }

    /// Signature Version 4, in the query: <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>.
    fn presigned_url(&self, unix_seconds: i64) -> String {
        let host = format!("kafka.{}.amazonaws.com", self.region);
        let time = timestamp(unix_seconds);
        let scope = format!("{}/{}/kafka-cluster/aws4_request", &time[..8], self.region);
        let mut query = vec![
            ("Action", "kafka-cluster:Connect".to_owned()),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{scope}", self.access_key)),
            ("X-Amz-Date", time.clone()),
            ("X-Amz-Expires", LIFETIME.to_string()),
        ];
        query.extend(self.session_token.as_ref().map(|token| ("X-Amz-Security-Token", token.expose().to_owned())));
        query.push(("X-Amz-SignedHeaders", "host".to_owned()));
        // In the order of the names, which the list above has.
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let query = query.join("&");

        let request = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{}", hex(&Sha256::digest("")));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let secret = format!("AWS4{}", self.secret_key.expose());
        let key = scope.split('/').fold(secret.into_bytes(), |key, part| hmac(&key, part));
        format!("https://{host}/?{query}&X-Amz-Signature={}", hex(&hmac(&key, &to_sign)))
    }

    /// What MSK does with a token: the same signature has to come out.
    fn validate(&self, token: &str, unix_millis: i64) -> Result<BearerToken, InvalidBearerToken> {
        let invalid = || InvalidBearerToken::new("invalid_token");
        let url = URL_SAFE_NO_PAD.decode(token).ok().and_then(|url| String::from_utf8(url).ok()).ok_or_else(invalid)?;
        let now = unix_millis / 1000;
        let signed_at = (now - LIFETIME as i64..=now).rev().find(|time| {
            let expected = self.presigned_url(*time);
            url.strip_prefix(&expected).is_some_and(|rest| rest.is_empty() || rest.starts_with("&User-Agent="))
        });
        let expires_at_ms = (signed_at.ok_or_else(invalid)? + LIFETIME as i64) * 1000;
        Ok(BearerToken { principal: self.access_key.clone(), expires_at_ms })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    check_against_aws_own_signer();
    let iam = MskIam::from_environment();
    if let Ok(bootstrap) = env::var("MSK_BOOTSTRAP") {
        return list_topics(msk(&bootstrap)?.sasl(OAuthBearer::new(iam))).await;
    }
    let msk = iam.clone();
    let cluster = TestCluster::builder()
        .sasl(&["OAUTHBEARER"])
        .oauthbearer(move |token, unix_millis| msk.validate(token, unix_millis))
        .topic("clicks", 6)
        .in_memory()
        .start()
        .await?;
    list_topics(cluster.client_config().sasl(OAuthBearer::new(iam.clone()))).await?;

    let thief = MskIam { secret_key: "guessed".into(), ..iam };
    match Client::connect(cluster.client_config().sasl(OAuthBearer::new(thief))).await {
        Err(error) if error.kind() == ErrorKind::Denied => println!("with another key: {error}"),
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::with_message(ErrorKind::State, "a guessed key was taken")),
    }
    cluster.stop().await;
    Ok(())
}

async fn list_topics(config: ClientConfig) -> Result<(), Error> {
    let client = Client::connect(config).await?;
    for topic in client.admin().list_topics().await? {
        println!("{topic:?}");
    }
    client.close().await;
    Ok(())
}

#[cfg(feature = "tls")]
fn msk(bootstrap: &str) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::new(bootstrap.split(',')).tls(milena::tls::TlsConfig::default()))
}

#[cfg(not(feature = "tls"))]
fn msk(_: &str) -> Result<ClientConfig, Error> {
    Err(Error::with_message(ErrorKind::Config, "MSK takes tokens over TLS only: --features tls"))
}

/// What botocore's `SigV4QueryAuth` signs with these keys at that time, without a session token and with one.
fn check_against_aws_own_signer() {
    let mut iam = MskIam {
        region: "eu-central-1".to_owned(),
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: None,
    };
    for (session_token, expected) in [
        (None, "674a7efeeb19a92e44b849bf3ea778a9c78e68ad0bac99e834ab2ea6139ac226"),
        (Some("IQoJb3Jp//Z2luX2VjE+=="), "80e274071742032ae993778f45debb09e0916cd9932b12bdcc7cae2f0c1c4d31"),
    ] {
        iam.session_token = session_token.map(Secret::from);
        let url = iam.presigned_url(1_700_000_000);
        assert!(url.contains("&X-Amz-Date=20231114T221320Z&") && url.ends_with(expected), "{url}");
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As AWS escapes: everything but letters, digits and `-_.~`.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// `20231114T221320Z`.
fn timestamp(unix_seconds: i64) -> String {
    let (day, second) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    // Years from March on, so that the leap day is the last: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + 400 * era + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}
