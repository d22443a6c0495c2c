//! The provider against an identity provider in memory, under virtual time.
#![allow(clippy::disallowed_methods, reason = "the peer has a task, and the test looks at the clock")]

use super::ClientCredentials;
use crate::connect::{BoxStream, Connect, Connecting, Stream};
use crate::error::{ErrorKind, Result};
use crate::sasl::{SaslPeer, Token, TokenProvider};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NOW: i64 = 1_700_000_000_000;

#[derive(Debug, Clone)]
enum Reply {
    /// A token `t1`, `t2`, … that lives so many seconds.
    Token(u64),
    /// A status with a body.
    No(u16, &'static str),
    /// 429 with this `Retry-After`.
    Later(&'static str),
    /// A connection that can't be made.
    Down,
    /// A connection on which nothing is said.
    Silence,
    /// What is no HTTP.
    Noise(&'static [u8]),
    Redirect,
    Endless,
}

/// The identity provider. The last of its replies is given for ever.
#[derive(Debug, Default)]
struct Idp {
    replies: Mutex<VecDeque<Reply>>,
    tokens: Mutex<u32>,
    /// What was asked: path, headers in one text, body; and when.
    asked: Mutex<Vec<(String, Instant)>>,
}

impl Idp {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn reply_with(&self, reply: Reply) {
        *self.replies.lock().unwrap() = [reply].into();
    }

    fn reply(&self) -> Reply {
        let mut replies = self.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front().unwrap() } else { replies[0].clone() }
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push((what, Instant::now()));
    }

    fn answer(&self, reply: Reply) -> Response<Full<Bytes>> {
        let answer = Response::builder();
        let (answer, body) = match reply {
            Reply::Token(lifetime) => {
                let mut tokens = self.tokens.lock().unwrap();
                *tokens += 1;
                let body = format!(r#"{{"access_token":"t{tokens}","token_type":"Bearer","expires_in":{lifetime}}}"#);
                (answer, body)
            }
            Reply::No(status, body) => (answer.status(status), body.to_owned()),
            Reply::Later(wait) => (answer.status(429).header("retry-after", wait), String::new()),
            Reply::Redirect => (answer.status(302).header("location", "http://elsewhere/"), String::new()),
            Reply::Endless => (answer, "x".repeat(2 << 20)),
            other => unreachable!("{other:?} is said before"),
        };
        answer.body(body.into_bytes().into()).unwrap()
    }

    async fn serve(self: Arc<Self>, reply: Reply, stream: impl Stream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let (idp, reply) = (self.clone(), reply.clone());
            async move {
                let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                idp.note(format!("{head} {}", String::from_utf8_lossy(&body)));
                Ok::<_, Infallible>(idp.answer(reply))
            }
        });
        // A client that has given up is no concern of the server's.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

#[derive(Debug)]
struct Wire(Arc<Idp>);

impl Connect for Wire {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        assert_eq!((host, port), ("idp", 80));
        let idp = self.0.clone();
        Box::pin(async move {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            match idp.reply() {
                Reply::Down => {
                    idp.note("connect".to_owned());
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Reply::Silence => {
                    idp.note("silence".to_owned());
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(3600)).await;
                        drop(theirs);
                    });
                }
                Reply::Noise(bytes) => {
                    tokio::spawn(async move {
                        use tokio::io::{AsyncReadExt, AsyncWriteExt};
                        let _ = theirs.read(&mut [0; 1 << 12]).await;
                        let _ = theirs.write_all(bytes).await;
                    });
                }
                reply => drop(tokio::spawn(idp.serve(reply, theirs))),
            }
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

fn tokens(idp: &Arc<Idp>) -> ClientCredentials {
    let tokens = ClientCredentials::new("http://idp/token?tenant=7", "orders", "s3cret!").unwrap();
    tokens.connect(Wire(idp.clone())).seed(1)
}

async fn get(tokens: &ClientCredentials) -> Result<Token> {
    get_at(tokens, NOW).await
}

async fn get_at(tokens: &ClientCredentials, unix_millis: i64) -> Result<Token> {
    tokens.token(&SaslPeer::new("b", 9092, unix_millis)).await
}

fn text(token: Result<Token>) -> String {
    token.unwrap().value().expose().to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_token_serves_all_connections_and_is_replaced_ahead_of_its_end() {
    let idp = Idp::new([Reply::Token(3600)]);
    let tokens = tokens(&idp).scope("kafka").extension("trace", "7");
    let all = futures_util::future::join_all((0..20).map(|_| get(&tokens))).await;
    assert!(all.into_iter().all(|token| text(token) == "t1"));
    assert_eq!(idp.asked(), 1, "single flight");
    let asked = idp.asked.lock().unwrap()[0].0.clone();
    assert!(asked.starts_with("POST /token?tenant=7 "), "{asked}");
    for part in [
        r#""host": "idp""#,
        "x-www-form-urlencoded",
        "Basic b3JkZXJzOnMzY3JldCE=",
        "grant_type=client_credentials&scope=kafka",
    ] {
        assert!(asked.contains(part), "{asked}");
    }
    let begun = Instant::now();
    while text(get(&tokens).await) == "t1" {
        sleep(Duration::from_secs(10)).await;
    }
    let share = begun.elapsed().as_secs_f64() / 3600.0;
    assert!((0.8..=0.853).contains(&share), "{share}");
    let token = get(&tokens).await.unwrap();
    assert_eq!((token.lifetime(), idp.asked()), (Some(Duration::from_secs(3600)), 2));
    assert_eq!(token, Token::new("t2").valid_for(Duration::from_secs(3600)).extension("trace", "7"));
}

#[tokio::test(start_paused = true)]
async fn every_setting_can_be_a_wait_without_end() {
    let settings: [fn(ClientCredentials) -> ClientCredentials; 5] = [
        |tokens| tokens.connect_timeout(Duration::MAX),
        |tokens| tokens.read_timeout(Duration::MAX),
        |tokens| tokens.retry_backoff(Duration::MAX),
        |tokens| tokens.retry_backoff_max(Duration::MAX),
        |tokens| tokens.refresh_buffers(Duration::MAX, Duration::MAX),
    ];
    for change in settings {
        let idp = Idp::new([Reply::Token(3600)]);
        assert_eq!(text(get(&change(tokens(&idp))).await), "t1");
        // An endpoint that says no is left alone for as long as that.
        let idp = Idp::new([Reply::No(401, "{}")]);
        get(&change(tokens(&idp))).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_asks_for_the_next_token_the_others_use_the_old_one() {
    let idp = Idp::new([Reply::Token(100), Reply::Silence, Reply::Token(100)]);
    let tokens = tokens(&idp);
    get(&tokens).await.unwrap();
    sleep(Duration::from_secs(90)).await;
    let begun = Instant::now();
    let (one, other) = futures_util::future::join(get(&tokens), async {
        let token = get(&tokens).await;
        (token, begun.elapsed())
    })
    .await;
    assert_eq!((text(other.0), other.1), ("t1".to_owned(), Duration::ZERO));
    assert_eq!(
        (text(one), begun.elapsed()),
        ("t1".to_owned(), Duration::from_secs(2)),
        "an endpoint that is silent holds nobody up"
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(text(get(&tokens).await), "t2");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_is_asked_again_and_what_is_good_is_used_meanwhile() {
    let idp = Idp::new([Reply::Down, Reply::No(503, ""), Reply::Noise(b""), Reply::Token(100)]);
    let tokens = tokens(&idp);
    assert_eq!(text(get(&tokens).await), "t1");
    sleep(Duration::from_secs(90)).await;
    idp.reply_with(Reply::Down);
    let before = idp.asked();
    for _ in 0..10 {
        assert_eq!(text(get(&tokens).await), "t1");
    }
    assert_eq!(idp.asked(), before + 1, "not for each connection");
    sleep(Duration::from_secs(10)).await; // past its end
    let begun = Instant::now();
    let error = get(&tokens).await.unwrap_err();
    assert!(error.is_retriable() && begun.elapsed() <= Duration::from_secs(8), "{error}");
    let asked = idp.asked() - before;
    assert!((5..12).contains(&asked), "{asked} attempts");
    let expected = "token endpoint http://idp/token: can't connect: connection refused";
    assert!(error.to_string().starts_with(expected), "{error}");
    idp.reply_with(Reply::Token(100));
    sleep(Duration::from_secs(8)).await;
    assert_eq!(text(get(&tokens).await), "t2", "and it is back");
}

#[tokio::test(start_paused = true)]
async fn a_busy_endpoint_is_left_alone_for_as_long_as_it_says() {
    let idp = Idp::new([Reply::Later("3"), Reply::Token(100)]);
    let first = tokens(&idp);
    let begun = Instant::now();
    let all = futures_util::future::join_all((0..5).map(|_| get(&first))).await;
    assert!(all.into_iter().all(|token| text(token) == "t1"));
    assert_eq!((begun.elapsed(), idp.asked()), (Duration::from_secs(3), 2));

    // Longer than anybody waits, and by a date: all hear of it at once, and nobody asks before.
    let idp = Idp::new([Reply::Later("Tue, 14 Nov 2023 22:14:20 GMT"), Reply::Token(100)]);
    let tokens = tokens(&idp);
    let begun = Instant::now();
    for _ in 0..3 {
        let error = get(&tokens).await.unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains("429 Too Many Requests"), "{error}");
    }
    assert_eq!((begun.elapsed(), idp.asked()), (Duration::ZERO, 1));
    sleep(Duration::from_secs(55)).await;
    assert_eq!(text(get(&tokens).await), "t1");
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_says_no_is_not_pestered_and_says_why() {
    let idp = Idp::new([
        Reply::No(401, r#"{"error":"invalid_client","error_description":"orders has not the secret s3cret!"}"#),
        Reply::Token(100),
    ]);
    let tokens = tokens(&idp);
    let begun = Instant::now();
    let all = futures_util::future::join_all((0..5).map(|_| get(&tokens))).await;
    for token in all {
        let error = token.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Denied, false));
        let expected = "token endpoint http://idp/token: 401 Unauthorized: invalid_client: orders has not the secret …; the client's id";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!format!("{error:?} {tokens:?}").contains("s3cret"));
    }
    assert_eq!((begun.elapsed(), idp.asked()), (Duration::ZERO, 1));
    sleep(Duration::from_secs(9)).await;
    assert_eq!(text(get(&tokens).await), "t1", "somebody may have put it right");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_endpoint_is_an_error_of_its_own() {
    for (reply, kind, why) in [
        (Reply::Noise(b"SSH-2.0-OpenSSH_9.9\r\n"), ErrorKind::Malformed, "does not speak HTTP/1.1"),
        (Reply::Redirect, ErrorKind::Config, "302 Found; redirects are not followed"),
        (Reply::No(404, "<html>"), ErrorKind::Config, "404 Not Found; is this the token endpoint's address?"),
        (Reply::No(200, "<html>"), ErrorKind::Malformed, "no JSON with an access_token"),
        (Reply::Endless, ErrorKind::Malformed, "longer than 1 MiB"),
    ] {
        let idp = Idp::new([reply]);
        let error = get(&tokens(&idp)).await.unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(why), "{error}");
    }
    let idp = Idp::new([Reply::Silence]);
    let begun = Instant::now();
    let error = get(&tokens(&idp)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("no answer in time"), "{error}");
    assert!(begun.elapsed() <= Duration::from_secs(8) && idp.asked() == 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_has_given_tokens_is_asked_again_whatever_it_says_now() {
    for reply in [Reply::No(404, "<html>"), Reply::No(200, "<html>"), Reply::Redirect, Reply::Noise(b"maintenance\r\n")]
    {
        let idp = Idp::new([Reply::Token(100), reply]);
        let tokens = tokens(&idp);
        get(&tokens).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        let error = get(&tokens).await.unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains("asked again"), "{error}");
        idp.reply_with(Reply::Token(100));
        sleep(Duration::from_secs(8)).await;
        assert_eq!(text(get(&tokens).await), "t2");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_make_no_token_bad_for_good_and_no_bad_one_good() {
    let idp = Idp::new([Reply::Token(1000)]);
    let tokens = tokens(&idp);
    let hour = 3_600_000;
    assert_eq!(text(get(&tokens).await), "t1");
    // The wall clock is set back: the monotonic one still counts.
    assert_eq!(text(get_at(&tokens, NOW - hour).await), "t1");
    sleep(Duration::from_secs(900)).await;
    assert_eq!(text(get_at(&tokens, NOW - hour).await), "t2");
    // It is set forward, or the machine has slept: asked once more, and that is that.
    assert_eq!(text(get_at(&tokens, NOW + hour).await), "t3");
    assert_eq!(text(get_at(&tokens, NOW + hour).await), "t3");
    assert_eq!(idp.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_a_broker_refuses_is_not_shown_again_and_the_endpoint_not_asked_with_each_attempt() {
    let idp = Idp::new([Reply::Token(1000)]);
    let tokens = tokens(&idp);
    let first = get(&tokens).await.unwrap();
    for _ in 0..100 {
        tokens.refused(&get(&tokens).await.unwrap());
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!((text(get(&tokens).await), idp.asked()), ("t1".to_owned(), 1), "a new one would hardly be better");
    sleep(Duration::from_secs(35)).await;
    tokens.refused(&first);
    assert_eq!(text(get(&tokens).await), "t2");
    tokens.refused(&first); // by another broker, later
    assert_eq!(text(get(&tokens).await), "t2");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_asking_to_the_next() {
    let idp = Idp::new([Reply::Silence, Reply::Token(1000)]);
    let tokens = tokens(&idp);
    let impatient = tokio::time::timeout(Duration::from_secs(1), get(&tokens));
    let (gone, token) = futures_util::future::join(impatient, get(&tokens)).await;
    assert!(gone.is_err());
    assert_eq!((text(token), idp.asked()), ("t1".to_owned(), 2));
}

#[test]
fn what_is_wrong_is_named_by_its_property() {
    for (url, id, secret, expected) in [
        ("idp", "a", "b", "sasl.oauthbearer.token.endpoint.url: not an address"),
        ("https://idp", "", "b", "sasl.oauthbearer.client.id: empty"),
        ("https://idp", "a", "", "sasl.oauthbearer.client.secret: empty"),
    ] {
        let error = ClientCredentials::new(url, id, secret).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().starts_with(expected), "{error}");
    }
}

/// Over TLS, with a certificate of a test cluster's CA.
#[cfg(feature = "test-broker")]
#[derive(Debug, Clone)]
struct TlsWire(Arc<Idp>, Arc<rustls::ServerConfig>);

#[cfg(feature = "test-broker")]
impl Connect for TlsWire {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        assert_eq!((host, port), ("idp", 443));
        let Self(idp, config) = self.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                // A client that does not trust us goes.
                if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(theirs).await {
                    idp.clone().serve(idp.reply(), stream).await;
                }
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

#[cfg(feature = "test-broker")]
#[tokio::test]
async fn over_tls_the_endpoint_has_to_be_who_it_says() {
    use rustls::pki_types::pem::PemObject;
    let cluster = crate::broker::TestCluster::builder().tls(Default::default()).in_memory().start().await.unwrap();
    let idp = Idp::new([Reply::Token(100)]);
    let endpoint = |name: &str| {
        let (chain, key) = cluster.server_certificate(&[name]);
        let chain = rustls::pki_types::CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider().unwrap());
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let wire = TlsWire(idp.clone(), Arc::new(config.with_single_cert(chain, key).unwrap()));
        ClientCredentials::new("https://idp/token", "orders", "s3cret!").unwrap().connect(wire)
    };
    assert_eq!(text(get(&endpoint("idp").ca_pem(cluster.ca_pem())).await), "t1");
    let stranger = endpoint("idp").tls(crate::tls::TlsConfig::default().bundled_roots());
    let wrong_name = endpoint("elsewhere").ca_pem(cluster.ca_pem());
    for (tokens, why) in [
        (stranger, "its certificate is of a CA that is not trusted; https.ca.location"),
        (wrong_name, "its certificate is not for `idp`, but for elsewhere; "),
    ] {
        let error = get(&tokens).await.unwrap_err();
        let expected = format!("token endpoint https://idp/token: {why}");
        assert!(error.kind() == ErrorKind::Tls && error.to_string().starts_with(&expected), "{error}");
    }
    assert_eq!(idp.asked(), 1, "nobody else has heard the secret");
    let missing = endpoint("idp").ca_file("no/such.pem");
    let error = get(&missing).await.unwrap_err();
    assert!(error.to_string().contains("https.ca.location: no/such.pem"), "{error}");
    cluster.stop().await;
}
