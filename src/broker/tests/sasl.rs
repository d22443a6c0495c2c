//! Authentication, token by token.

use super::*;
use crate::error::ErrorCode;
use crate::wire::messages::{
    ApiVersionsRequest, MetadataRequest, MetadataResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::time::Duration;

type Answered = Result<(Vec<u8>, i64), (ErrorCode, String)>;

impl Peer {
    /// The code, and the mechanisms that are enabled.
    async fn handshake(&mut self, mechanism: &str) -> (Option<ErrorCode>, Vec<String>) {
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism.to_owned().into());
        let answer = self.call(1, &request).await;
        let mechanisms = answer.mechanisms.iter().map(|name| name.to_string()).collect();
        (ErrorCode::from_wire(answer.error_code), mechanisms)
    }

    async fn authenticate(&mut self, token: impl AsRef<[u8]>) -> Answered {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(token.as_ref()));
        let answer = self.call(2, &request).await;
        told(answer)
    }

    /// Both.
    async fn plain(&mut self, user: &str, password: &str) -> Answered {
        assert_eq!(self.handshake("PLAIN").await.0, None);
        self.authenticate(format!("\0{user}\0{password}")).await
    }

    /// By a SCRAM of its own.
    async fn scram(&mut self, mechanism: &str, user: &str, password: &str) -> Answered {
        assert_eq!(self.handshake(mechanism).await.0, None);
        let bare = format!("n={user},r=fyko");
        let (first, 0) = self.authenticate(format!("n,,{bare}")).await? else { panic!("no session yet") };
        let first = String::from_utf8(first).unwrap();
        let part = |key| first.split(',').find_map(|part: &str| part.strip_prefix(key)).unwrap();
        assert!(part("r=").starts_with("fyko") && part("r=").len() > 20, "{first}");
        let (salt, rounds) = (STANDARD.decode(part("s=")).unwrap(), part("i=").parse().unwrap());
        let without_proof = format!("c=biws,r={}", part("r="));
        let message = format!("{bare},{first},{without_proof}");
        let (proof, signature) = match mechanism {
            "SCRAM-SHA-256" => {
                let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
                let hmac = |key: &[u8], text: &str| {
                    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
                };
                proof(&salted, hmac, |bytes| Sha256::digest(bytes).to_vec(), &message)
            }
            _ => {
                let salted = pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), &salt, rounds);
                let hmac = |key: &[u8], text: &str| {
                    Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
                };
                proof(&salted, hmac, |bytes| Sha512::digest(bytes).to_vec(), &message)
            }
        };
        let (last, lifetime) = self.authenticate(format!("{without_proof},p={}", STANDARD.encode(proof))).await?;
        assert_eq!(last, format!("v={}", STANDARD.encode(signature)).into_bytes());
        Ok((Vec::new(), lifetime))
    }

    async fn metadata(&mut self) -> Option<MetadataResponse> {
        self.send(12, &MetadataRequest::default()).await;
        self.receive::<MetadataRequest>(12).await
    }

    async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }
}

/// The client's proof and the server's signature.
fn proof(
    salted: &[u8],
    hmac: impl Fn(&[u8], &str) -> Vec<u8>,
    hash: impl Fn(&[u8]) -> Vec<u8>,
    message: &str,
) -> (Vec<u8>, Vec<u8>) {
    let client_key = hmac(salted, "Client Key");
    let signature = hmac(&hash(&client_key), message);
    let proof = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
    (proof, hmac(&hmac(salted, "Server Key"), message))
}

fn told(answer: SaslAuthenticateResponse) -> Answered {
    match ErrorCode::from_wire(answer.error_code) {
        None => Ok((answer.auth_bytes.to_vec(), answer.session_lifetime_ms)),
        Some(code) => Err((code, answer.error_message.unwrap_or_default().to_string())),
    }
}

fn failed(why: &str) -> Answered {
    Err((ErrorCode::SaslAuthenticationFailed, why.to_owned()))
}

fn cluster(mechanisms: &[&str]) -> Builder {
    TestCluster::builder().sasl(mechanisms).user("alice", "secret").user("bob", "b0b").topic("t", 1).in_memory()
}

fn jws(claims: &str) -> String {
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
}

fn bearer(token: &str) -> String {
    format!("n,,\x01auth=Bearer {token}\x01\x01")
}

#[tokio::test(start_paused = true)]
async fn who_has_not_said_who_it_is_may_ask_for_nothing_else() {
    let cluster = cluster(&["PLAIN"]).start().await.unwrap();
    let versions = ApiVersionsRequest::default();
    // Anything else: the connection ends, at once and without an answer.
    let before = cluster.clock().now();
    assert_eq!(Peer::connect(&cluster, 1).await.metadata().await, None);
    assert_eq!(before.elapsed(), Duration::ZERO);
    // ApiVersions once.
    let mut peer = Peer::connect(&cluster, 1).await;
    assert!(!peer.call(2, &versions).await.api_keys.is_empty());
    peer.send(2, &versions).await;
    assert!(peer.is_closed().await);
    // But again after one that is too new.
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 0, 0xff, 0xff]).await.unwrap();
    assert_eq!(peer.receive::<ApiVersionsRequest>(0).await.unwrap().error_code, 35);
    assert_eq!(peer.call(2, &versions).await.error_code, 0);
    // In the middle of the tokens the request is answered.
    assert_eq!(peer.handshake("PLAIN").await, (None, vec!["PLAIN".to_owned()]));
    let answered = peer.call(2, &versions).await;
    assert_eq!(ErrorCode::from_wire(answered.error_code), Some(ErrorCode::IllegalSaslState));
    assert!(peer.is_closed().await);
    // A token before the handshake.
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.send(2, &SaslAuthenticateRequest::default()).await;
    assert!(peer.is_closed().await);
    // A frame of more than half a megabyte.
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.stream.write_all(&[0, 8, 0, 1]).await.unwrap();
    assert!(peer.is_closed().await);
    let count = cluster.authentications();
    assert_eq!((count.succeeded, count.failed), (0, 1));
    assert!(!cluster.topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_that_is_not_enabled_is_refused_with_those_that_are() {
    let cluster = cluster(&["SCRAM-SHA-512", "PLAIN"]).start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    let before = cluster.clock().now();
    let enabled = vec!["SCRAM-SHA-512".to_owned(), "PLAIN".to_owned()];
    assert_eq!(peer.handshake("GSSAPI").await, (Some(ErrorCode::UnsupportedSaslMechanism), enabled));
    assert_eq!(before.elapsed(), Duration::from_millis(100));
    assert!(peer.is_closed().await);
    let unknown = TestCluster::builder().sasl(&["PLIAN"]).start().await.unwrap_err();
    assert!(unknown.to_string().contains("PLIAN"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn authentication_is_out_of_place_where_none_is_asked_for_and_afterwards() {
    let open = TestCluster::builder().in_memory().start().await.unwrap();
    let secured = cluster(&["PLAIN"]).start().await.unwrap();
    let mut authenticated = Peer::connect(&secured, 1).await;
    assert_eq!(authenticated.plain("alice", "secret").await, Ok((vec![], 0)));
    for mut peer in [Peer::connect(&open, 1).await, Peer::connect_as(&secured, "User:root").await, authenticated] {
        assert_eq!(peer.handshake("PLAIN").await, (Some(ErrorCode::IllegalSaslState), vec![]));
        let why = "SaslAuthenticate request received after successful authentication".to_owned();
        assert_eq!(peer.authenticate("\0a\0b").await, Err((ErrorCode::IllegalSaslState, why)));
        assert!(peer.metadata().await.is_some(), "the connection stays");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_is_refused_in_apaches_words() {
    let cluster = cluster(&["PLAIN"]).failed_authentication_delay(Duration::from_secs(3)).start().await.unwrap();
    let cases = [
        ("alice\0alice\0secret", Ok((vec![], 0))),
        ("\0alice\0wrong", failed("Authentication failed: Invalid username or password")),
        ("\0carol\0secret", failed("Authentication failed: Invalid username or password")),
        ("\0\0secret", failed("Authentication failed: username not specified")),
        ("\0alice\0", failed("Authentication failed: password not specified")),
        ("alice\0secret", failed("Invalid SASL/PLAIN response: expected 3 tokens, got 2")),
        ("\0alice\0secret\0", failed("Invalid SASL/PLAIN response: expected 3 tokens, got 4")),
        (
            "bob\0alice\0secret",
            failed("Authentication failed: Client requested an authorization id that is different from username"),
        ),
    ];
    for (token, expected) in cases {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.handshake("PLAIN").await;
        let before = cluster.clock().now();
        let answered = peer.authenticate(token).await;
        assert_eq!(answered, expected, "{token:?}");
        if answered.is_err() {
            assert_eq!(before.elapsed(), Duration::from_secs(3));
            assert!(peer.is_closed().await);
        }
    }
    assert_eq!(cluster.authentications().failed, 7);
}

#[tokio::test(start_paused = true)]
async fn scram_proves_both_sides_and_takes_credentials_that_are_altered() {
    let cluster = cluster(&["SCRAM-SHA-256", "SCRAM-SHA-512"]).start().await.unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let invalid = format!(
            "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        );
        for (user, password, expected) in [
            ("alice", "secret", Ok((vec![], 0))),
            ("alice", "Secret", failed(&invalid)),
            ("carol", "secret", failed(&invalid)),
            ("a=lice", "secret", failed(&invalid)),
            ("alice,tokenauth=true", "secret", failed(&invalid)),
        ] {
            let answered = Peer::connect(&cluster, 1).await.scram(mechanism, user, password).await;
            assert_eq!(answered, expected, "{mechanism} {user} {password}");
        }
    }
    use crate::wire::messages::AlterUserScramCredentialsRequest;
    use crate::wire::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(b"new", b"salt", 5000);
    let upsertion = ScramCredentialUpsertion::default()
        .with_name("carol,".into())
        .with_mechanism(1)
        .with_iterations(5000)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::copy_from_slice(&salted));
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion]);
    Peer::connect_as(&cluster, "User:root").await.call(0, &request).await;
    let answered = Peer::connect(&cluster, 1).await.scram("SCRAM-SHA-256", "carol=2C", "new").await;
    assert_eq!(answered, Ok((vec![], 0)));
}

#[tokio::test(start_paused = true)]
async fn acls_hold_for_who_has_proved_to_be_somebody() {
    let cluster = cluster(&["PLAIN"]).authorizer(&["User:alice"]).start().await.unwrap();
    for (user, password, code) in [("alice", "secret", 0), ("bob", "b0b", 29)] {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.plain(user, password).await.unwrap();
        let produced = peer.produce("t", 0, batch(&[(1, "a")])).await;
        assert_eq!(produced.error_code, code, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_come_bare_after_a_handshake_of_version_0() {
    let cluster = cluster(&["PLAIN"]).start().await.unwrap();
    for (password, taken) in [("secret", true), ("wrong", false)] {
        let mut peer = Peer::connect(&cluster, 1).await;
        let request = SaslHandshakeRequest::default().with_mechanism("PLAIN".into());
        assert_eq!(peer.call(0, &request).await.error_code, 0);
        let token = format!("\0alice\0{password}");
        peer.stream.write_all(&(token.len() as u32).to_be_bytes()).await.unwrap();
        peer.stream.write_all(token.as_bytes()).await.unwrap();
        assert_eq!(peer.frame().await, taken.then(Bytes::new), "an empty token, or the end");
        assert_eq!(peer.metadata_if(taken).await, taken);
    }
}

impl Peer {
    async fn metadata_if(&mut self, open: bool) -> bool {
        open && self.metadata().await.is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn a_bearer_token_speaks_for_its_principal_for_as_long_as_it_lasts() {
    let cluster = cluster(&["OAUTHBEARER"]).unix_millis(1_000_000).start().await.unwrap();
    let alice = jws(r#"{"sub":"alice","exp":1060}"#);
    let cases = [
        (bearer(&alice), Ok((vec![], 60_000))),
        (format!("n,a=alice,\x01extension=x y\x01auth=bearer  {alice}\x01\x01"), Ok((vec![], 60_000))),
        (
            format!("n,a=bob,\x01auth=Bearer {alice}\x01\x01"),
            failed(
                "Authentication failed: Client requested an authorization id (bob) that is different from the token's \
                 principal name (alice)",
            ),
        ),
    ];
    for (token, expected) in cases {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.handshake("OAUTHBEARER").await;
        assert_eq!(peer.authenticate(&token).await, expected, "{token}");
    }
    let invalid = failed(
        "Authentication failed during authentication due to invalid credentials with SASL mechanism OAUTHBEARER",
    );
    for token in [
        "",
        "\x01",
        "n,,",
        "n,,\x01\x01",
        "n,,\x01auth=Basic x\x01\x01",
        "n,,\x01auth=Bearer \x01\x01",
        "n,,\x01auth=Bearer a\x01",
    ] {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.handshake("OAUTHBEARER").await;
        assert_eq!(peer.authenticate(token).await, invalid, "{token:?}");
    }
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.handshake("OAUTHBEARER").await;
    let challenge = r#"{"status":"invalid_token"}"#;
    assert_eq!(peer.authenticate(bearer("no.such.")).await, Ok((challenge.into(), 0)));
    assert_eq!(peer.authenticate("\x01").await, failed(challenge));
    assert!(peer.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_validator_of_the_tests_own_takes_or_refuses_tokens() {
    let validator = |token: &str, now: i64| match token {
        "good" => Ok(BearerToken { principal: "svc".into(), expires_at_ms: now + 5 }),
        _ => Err(InvalidBearerToken { scope: Some("a \"b\"".into()), ..InvalidBearerToken::new("insufficient_scope") }),
    };
    let cluster = cluster(&["OAUTHBEARER"]).oauthbearer(validator).start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.handshake("OAUTHBEARER").await;
    let challenge = r#"{"status":"insufficient_scope", "scope":"a \"b\""}"#;
    assert_eq!(peer.authenticate(bearer("bad")).await, Ok((challenge.into(), 0)));
    assert_eq!(
        peer.authenticate(bearer("good")).await,
        Ok((vec![], 5)),
        "another token instead of the acknowledgement"
    );
}

const LIFETIME: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_session_ends_unless_it_begins_anew() {
    let cluster = cluster(&["PLAIN"]).connections_max_reauth(LIFETIME).start().await.unwrap();
    let (mut renewed, mut left) = (Peer::connect(&cluster, 1).await, Peer::connect(&cluster, 1).await);
    for peer in [&mut renewed, &mut left] {
        assert_eq!(peer.plain("alice", "secret").await, Ok((vec![], 10_000)));
    }
    cluster.clock().advance(LIFETIME).await;
    assert!(left.metadata().await.is_some(), "to the last millisecond");
    cluster.clock().advance(Duration::from_millis(1)).await;
    assert_eq!(left.metadata().await, None, "a request too late");
    assert_eq!(renewed.plain("alice", "secret").await, Ok((vec![], 10_000)), "but a handshake may be late");
    for _ in 0..3 {
        cluster.clock().advance(LIFETIME).await;
        assert!(renewed.metadata().await.is_some());
        assert_eq!(renewed.plain("alice", "secret").await, Ok((vec![], 10_000)));
    }
    let count = cluster.authentications();
    assert_eq!((count.succeeded, count.reauthenticated, count.expired, count.failed), (2, 4, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_anew_once_a_second_at_most() {
    let cluster = cluster(&["PLAIN"]).connections_max_reauth(LIFETIME).start().await.unwrap();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.plain("alice", "secret").await.unwrap();
    peer.plain("alice", "secret").await.unwrap(); // the first time it may be at once
    cluster.clock().advance(Duration::from_millis(999)).await;
    assert_eq!(peer.handshake("PLAIN").await.0, Some(ErrorCode::IllegalSaslState));
    assert!(peer.metadata().await.is_some(), "as it was");
    cluster.clock().advance(Duration::from_millis(1)).await;
    peer.plain("alice", "secret").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_anew_as_the_same_and_by_the_same_mechanism_and_with_nothing_in_between() {
    let builder = cluster(&["PLAIN", "SCRAM-SHA-256"]).connections_max_reauth(LIFETIME);
    let cluster = builder.start().await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..5 {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.plain("alice", "secret").await.unwrap();
        peers.push(peer);
    }
    let [other_user, other_mechanism, unknown, wrong, between] = &mut peers[..] else { panic!() };
    let why = "Cannot change principals during re-authentication from User.alice: User.bob";
    assert_eq!(other_user.plain("bob", "b0b").await, failed(why));
    assert_eq!(other_mechanism.handshake("SCRAM-SHA-256").await.0, None);
    other_mechanism.send(2, &SaslAuthenticateRequest::default()).await;
    let unknown_to_it = SaslHandshakeRequest::default().with_mechanism("GSSAPI".into());
    unknown.send(1, &unknown_to_it).await;
    assert_eq!(wrong.plain("alice", "wrong").await, failed("Authentication failed: Invalid username or password"));
    assert_eq!(between.handshake("PLAIN").await.0, None);
    let answered = between.metadata().await.unwrap();
    assert_eq!(answered.topics.len(), 0);
    for peer in &mut peers {
        assert!(peer.is_closed().await);
    }
    let count = cluster.authentications();
    assert_eq!((count.succeeded, count.reauthentications_failed, count.failed), (5, 5, 0));
}

/// The shorter of both counts.
#[tokio::test(start_paused = true)]
async fn a_session_lasts_no_longer_than_its_token() {
    let builder = cluster(&["OAUTHBEARER"]).unix_millis(1_000_000).connections_max_reauth(LIFETIME);
    let cluster = builder.start().await.unwrap();
    for (expires, lifetime) in [(1005, 5_000), (1060, 10_000)] {
        let mut peer = Peer::connect(&cluster, 1).await;
        peer.handshake("OAUTHBEARER").await;
        let token = jws(&format!(r#"{{"sub":"alice","exp":{expires}}}"#));
        assert_eq!(peer.authenticate(bearer(&token)).await, Ok((vec![], lifetime)));
    }
}

/// Faults strike SASL as anything else: a test may play a broker that lies.
#[tokio::test(start_paused = true)]
async fn faults_strike_in_the_middle_of_authentication() {
    let cluster = cluster(&["SCRAM-SHA-256"]).start().await.unwrap();
    cluster.fault(ApiKey::SaslAuthenticate).once().disconnect();
    let mut peer = Peer::connect(&cluster, 1).await;
    peer.handshake("SCRAM-SHA-256").await;
    peer.send(2, &SaslAuthenticateRequest::default()).await;
    assert!(peer.is_closed().await);
    cluster.fault(ApiKey::SaslHandshake).once().delay(Duration::from_secs(5)).error(ErrorCode::UnknownServerError);
    let mut peer = Peer::connect(&cluster, 1).await;
    assert_eq!(peer.handshake("SCRAM-SHA-256").await.0, Some(ErrorCode::UnknownServerError));
    assert_eq!(peer.scram("SCRAM-SHA-256", "alice", "secret").await, Ok((vec![], 0)), "nothing has happened");
    assert_eq!(cluster.requests(ApiKey::SaslAuthenticate).count, 3);
}

/// Bytes of any kind are refused, or are a token: nothing else.
#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "the seed of a failure has to be seen")]
async fn no_token_makes_the_broker_panic() {
    let seed =
        std::env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MILENA_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sound = [
        ("PLAIN", "\0alice\0secret".to_owned()),
        ("SCRAM-SHA-256", "n,a=alice,n=alice,r=fyko,x=y".to_owned()),
        ("SCRAM-SHA-512", "c=biws,r=fyko,p=eHg=".to_owned()),
        ("OAUTHBEARER", format!("n,a=alice,\x01x=y\x01{}", &bearer(&jws(r#"{"sub":"alice","exp":9e9}"#))[4..])),
    ];
    let cluster = cluster(&sound.each_ref().map(|(mechanism, _)| *mechanism)).start().await.unwrap();
    for (mechanism, token) in &sound {
        for _ in 0..300 {
            let mut token = token.clone().into_bytes();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..token.len());
                match random.u8(0..5) {
                    0 => token[at] = random.u8(..),
                    1 => token.insert(at, *random.choice(b",=\0\x01.an").unwrap()),
                    2 if token.len() > 1 => drop(token.remove(at)),
                    3 => token.truncate(at + 1),
                    _ => token.extend_from_within(at..),
                }
            }
            // On the test's own task, or a panic would go unseen.
            let caller = Caller::new("/127.0.0.1", Session::unauthenticated());
            let handshake = SaslHandshakeRequest::default().with_mechanism((*mechanism).to_owned().into());
            let tokens = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
            let frames = [encode_request(&handshake, 1, 1, "x"), encode_request(&tokens, 2, 2, "x")];
            for frame in frames.into_iter().chain([encode_request(&tokens, 2, 3, "x")]) {
                let _ = connection::answer(&cluster.shared, NodeId(1), frame.unwrap().slice(4..), &caller).await;
            }
        }
    }
}
