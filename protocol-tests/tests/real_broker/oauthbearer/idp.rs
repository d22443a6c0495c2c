//! A small identity provider: client credentials in, JWTs out, signed by `openssl` with RS256.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, header, service::service_fn};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::{JoinHandle, JoinSet};

/// What the next tokens are like.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) issuer: &'static str,
    pub(super) audience: &'static str,
    /// A file in `OAUTH_KEYS`. They all say that they are signed by the one that the broker knows.
    pub(super) key: &'static str,
    /// Seconds from now.
    pub(super) issued: i64,
    /// Seconds.
    pub(super) lifetime: i64,
}

impl Default for Issue {
    fn default() -> Self {
        Self { issuer: "https://idp.test", audience: "kafka", key: "key.pem", issued: 0, lifetime: 600 }
    }
}

pub(super) struct Idp {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

struct Shared {
    keys: PathBuf,
    authorization: String,
    issue: Mutex<Issue>,
    asked: AtomicU32,
}

impl Idp {
    /// Knows the client `milena` with this secret.
    pub(super) async fn start(secret: &str) -> Self {
        let keys = env::var("OAUTH_KEYS").expect("OAUTH_KEYS is the folder of the keys").into();
        let authorization = format!("Basic {}", STANDARD.encode(format!("milena:{secret}")));
        let shared = Shared { keys, authorization, issue: Mutex::default(), asked: AtomicU32::new(0) };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { shared, address, serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// From now on.
    pub(super) fn issue(&self, issue: Issue) {
        *self.shared.issue.lock().unwrap() = issue;
    }

    /// How many tokens there were.
    pub(super) fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Nobody is at the address any more.
    pub(super) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    pub(super) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port");
        self.serving = tokio::spawn(serve(listener, self.shared.clone()));
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new(); // which end with it
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let authorized =
            request.headers().get(header::AUTHORIZATION).is_some_and(|value| *value == *self.authorization);
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "grant_type=client_credentials&scope=kafka");
        let (status, body) = match authorized {
            true => (200, self.token().await),
            false => (401, r#"{"error":"invalid_client","error_description":"no such client"}"#.to_owned()),
        };
        Response::builder().status(status).body(body.into_bytes().into()).expect("an answer")
    }

    async fn token(&self) -> String {
        let Issue { issuer, audience, key, issued, lifetime } = self.issue.lock().unwrap().clone();
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs() as i64;
        let (iat, exp) = (now + issued, now + issued + lifetime);
        let claims = format!(
            r#"{{"iss":"{issuer}","aud":"{audience}","sub":"milena","scope":"kafka","jti":"{number}","iat":{iat},"exp":{exp}}}"#
        );
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"key"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.sign(key, &signed).await;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}"#)
    }

    async fn sign(&self, key: &str, what: &str) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.keys.join(key))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is there");
        let mut stdin = openssl.stdin.take().expect("it is piped");
        stdin.write_all(what.as_bytes()).await.expect("it reads");
        drop(stdin);
        let done = openssl.wait_with_output().await.expect("it ends");
        assert!(done.status.success(), "{key}: {}", done.status);
        done.stdout
    }
}
