//! Which path answers what.
#![allow(clippy::disallowed_methods, reason = "a shell's clock")]

use crate::{
    client::Client,
    pipeline::{
        context::wall_micros,
        dashboard,
        http::{Pages, health, origin},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// How long what the brokers said is good for; probes may come more often.
const FRESH: Duration = Duration::from_secs(2);
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(3);

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

type Answer = Response<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Routes {
    pages: Pages,
    /// When the brokers were last asked, and what came of it.
    asked: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Routes {
    pub(super) fn new(pages: Pages) -> Self {
        Self { pages, asked: Mutex::new(None) }
    }

    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        match *request.method() {
            // Of a HEAD, the body is left out by hyper.
            Method::GET | Method::HEAD => self.get(path).await,
            Method::POST if path.starts_with("/demo/") => {
                if !origin::is_same(request.headers()) {
                    return said(StatusCode::FORBIDDEN, "only the dashboard's own page may do that\n");
                }
                self.post(path)
            }
            _ => {
                let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let Pages { metrics, board, .. } = &self.pages;
        match path {
            "/" => answer(StatusCode::OK, HTML, dashboard::PAGE),
            "/page.css" => answer(StatusCode::OK, "text/css; charset=utf-8", dashboard::STYLE),
            "/page.js" => answer(StatusCode::OK, "text/javascript; charset=utf-8", dashboard::SCRIPT),
            "/numbers.json" => {
                let numbers = dashboard::numbers(
                    metrics,
                    &board.numbers(),
                    self.pages.controls.as_ref(),
                    wall_micros(),
                    Instant::now(),
                );
                answer(StatusCode::OK, "application/json", numbers)
            }
            "/metrics" => {
                let text = metrics.render(&board.numbers(), wall_micros());
                answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/healthz" => status(&health::sick(&metrics.health(Instant::now()))),
            "/readyz" => {
                let brokers = self.brokers().await;
                status(&health::waits(&metrics.health(Instant::now()), &self.pages.expected, brokers))
            }
            _ => said(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz and /readyz\n"),
        }
    }

    fn post(&self, path: &str) -> Answer {
        let Some(controls) = &self.pages.controls else {
            return said(StatusCode::NOT_FOUND, "there are buttons in `milena demo` only\n");
        };
        let done = match path {
            "/demo/kill" => controls.kill(),
            "/demo/database/away" => controls.database_away(true),
            "/demo/database/back" => controls.database_away(false),
            _ => return said(StatusCode::NOT_FOUND, "there is no such button\n"),
        };
        match done {
            true => answer(StatusCode::NO_CONTENT, TEXT, ""),
            false => said(StatusCode::CONFLICT, "the demo is ending\n"),
        }
    }

    /// Whether a broker answers: asked at most every [`FRESH`], by one at a time.
    async fn brokers(&self) -> Result<(), String> {
        let mut asked = self.asked.lock().await;
        if let Some((at, outcome)) = &*asked
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = ask(&self.pages.client).await;
        *asked = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

async fn ask(client: &Client) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, client.admin().list_topics()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("not within {} s", PATIENCE.as_secs())),
    }
}

fn status(missing: &[String]) -> Answer {
    match missing {
        [] => said(StatusCode::OK, "ok\n"),
        missing => said(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n"),
    }
}

fn said(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    );
    answer
}
