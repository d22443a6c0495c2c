//! Listeners, sockets and in-memory pipes. One task per connection reads a request, has it served, and writes the
//! answer before it reads the next: the order that Apache Kafka keeps too.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the broker's sockets and tasks are here")]

use super::api::{self, Answer, ApiKey, Handling};
use super::control::{self, Verdict};
use super::fetch_sessions::FetchSessions;
use super::sasl::session::{Admission, Session};
use super::state::Node;
use super::{Caller, Context, Shared, Tasks, api_versions, sasl};
use crate::connect::{BoxStream, Connect, Connecting};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::wire::frame::{frame_length, take_frame};
use crate::wire::request::peek_request;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How much an in-memory connection holds in each direction before the writer waits.
const PIPE: usize = 256 << 10;

/// `socket.request.max.bytes`.
const MAX_REQUEST: usize = 100 << 20;

/// Where a broker can be reached.
#[derive(Debug, Clone)]
pub(super) enum Endpoint {
    Tcp { host: Arc<str>, port: u16 },
    InMemory { host: Arc<str>, port: u16 },
}

impl Endpoint {
    /// The `nth` broker (from 0) of a cluster that listens on `address`.
    pub(super) fn tcp(address: &str, nth: u16) -> Result<Self> {
        let bad = || Error::with_message(ErrorKind::Config, format!("`{address}` is not host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let port = if port == 0 { 0 } else { port.checked_add(nth).ok_or_else(bad)? };
        Ok(Self::Tcp { host: host.trim_matches(['[', ']']).into(), port })
    }

    pub(super) fn in_memory(node: NodeId) -> Self {
        Self::InMemory { host: format!("broker-{node}").into(), port: 9092 }
    }

    pub(super) fn host_and_port(&self) -> (&Arc<str>, u16) {
        match self {
            Self::Tcp { host, port } | Self::InMemory { host, port } => (host, *port),
        }
    }
}

/// Starts a task of the cluster, which is counted while it runs.
pub(super) fn spawn(shared: &Arc<Shared>, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let token = Tasks::enter(shared);
    shared.runtime.spawn(async move {
        let _token = token;
        work.await;
    })
}

/// Opens a broker's endpoint and lists the broker as alive; gives what it advertises.
pub(super) async fn open_node(
    shared: &Arc<Shared>,
    id: NodeId,
    endpoint: Endpoint,
    rack: Option<Arc<str>>,
) -> Result<(Arc<str>, u16)> {
    let (endpoint, listener) = match endpoint {
        Endpoint::Tcp { host, port } => {
            let refused = |error: io::Error| {
                Error::with_message(ErrorKind::Connection, "can't listen")
                    .address(format!("{host}:{port}"))
                    .caused_by(error)
            };
            let listener = TcpListener::bind((&*host, port)).await.map_err(refused)?;
            let port = listener.local_addr().map_err(refused)?.port();
            (Endpoint::Tcp { host: host.clone(), port }, Some(listener))
        }
        in_memory @ Endpoint::InMemory { .. } => (in_memory, None),
    };
    let (host, port) = endpoint.host_and_port();
    let advertised = (host.clone(), port);
    let mut state = shared.state();
    if state.closed {
        return Err(Error::new(ErrorKind::Closed));
    }
    let listening = listener.map(|listener| spawn(shared, accept(Arc::clone(shared), id, listener)));
    // Ids of an earlier run must not be found again.
    let seed = state.next_connection();
    let sessions = FetchSessions::new(state.settings.fetch_session_slots, seed);
    state.nodes.insert(id, Node::running(endpoint, rack, listening, sessions));
    Ok(advertised)
}

async fn accept(shared: Arc<Shared>, node: NodeId, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole; Nagle's algorithm could only hold them back.
                let _ = stream.set_nodelay(true);
                serve(&shared, node, Box::new(stream), format!("/{}", peer.ip()), None);
            }
            // Out of file descriptors, most likely: others may close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves a connection by a task of its own; `false` if the node does not accept any. A principal who is known is asked nothing.
fn serve(shared: &Arc<Shared>, node: NodeId, stream: BoxStream, host: String, known: Option<Arc<str>>) -> bool {
    let mut state = shared.state();
    if !state.nodes.get(&node).is_some_and(|node| node.alive) {
        return false;
    }
    let id = state.next_connection();
    let task = spawn(shared, {
        let shared = Arc::clone(shared);
        async move {
            if let Err(error) = attend(&shared, node, stream, &host, known).await {
                tracing::debug!(%node, %error, "a connection to the test broker ends");
            }
            if let Some(node) = shared.state().nodes.get_mut(&node) {
                node.connections.remove(&id);
            }
        }
    });
    // Under the lock since before the task began, so that it can't have ended already.
    if let Some(node) = state.nodes.get_mut(&node) {
        node.connections.insert(id, task.abort_handle());
    }
    true
}

async fn attend(
    shared: &Arc<Shared>,
    node: NodeId,
    stream: BoxStream,
    host: &str,
    known: Option<Arc<str>>,
) -> Result<()> {
    let (mut stream, session) = match known {
        Some(principal) => (stream, Session::open(principal)),
        None => {
            shared.can_be_reached(node).await;
            shared.security.secure(stream).await.map_err(broken)?
        }
    };
    let outcome = converse(shared, node, &mut stream, Caller::new(host, session)).await;
    let _ = stream.shutdown().await; // TLS says goodbye
    outcome
}

async fn converse(shared: &Arc<Shared>, node: NodeId, stream: &mut BoxStream, caller: Caller) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        let limit = caller.session().frame_limit(MAX_REQUEST);
        let frame = loop {
            if let Some(frame) = take_frame(&mut buffer, limit)? {
                break frame;
            }
            // A length from outside sizes no allocation: the buffer grows with what has arrived.
            let missing = frame_length(&buffer, limit)?.map_or(0, |length| (length + 4).saturating_sub(buffer.len()));
            buffer.reserve(missing.clamp(16 << 10, buffer.len().max(64 << 10)));
            if stream.read_buf(&mut buffer).await.map_err(broken)? == 0 {
                return Ok(());
            }
        };
        shared.passes(node, &frame).await;
        let (answer, throttle) = answer(shared, node, frame.clone(), &caller).await?;
        shared.passes(node, &frame).await;
        match answer {
            // A peer that has gone may have sent more before, which is served as over TCP: the read says when it ends.
            Answer::Frame(frame) => drop(send(stream, &frame).await),
            Answer::Last(frame) => {
                let _ = send(stream, &frame).await;
                return Ok(());
            }
            Answer::None => {}
            Answer::Close => return Ok(()),
        }
        if !throttle.is_zero() {
            tokio::time::sleep(throttle).await; // muted (KIP-219)
        }
    }
}

async fn send(stream: &mut BoxStream, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await // TLS may hold some of it back
}

/// Serves one request frame (without its length). With the answer, how long the connection is then left alone.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    node: NodeId,
    frame: Bytes,
    caller: &Caller,
) -> Result<(Answer, Duration)> {
    let context = |version, client_id: &str| Context {
        shared: Arc::clone(shared),
        node,
        version,
        client_id: client_id.into(),
        principal: caller.session().principal(),
        caller: caller.clone(),
        request_bytes: frame.len() + 4,
    };
    if caller.session().awaits_bare_token() {
        let answer = sasl::bare_token(&context(0, ""), &frame);
        if matches!(answer, Answer::Close) {
            tokio::time::sleep(shared.security.sasl.failure_delay).await;
        }
        return Ok((answer, Duration::ZERO));
    }
    let (key, version, correlation_id) = peek_request(&frame)?;
    // Apache closes the connection on an API or version that it does not have; only ApiVersions is answered.
    let served = ApiKey::from_wire(key).and_then(|api| Some((api, shared.emulation.versions(api)?)));
    let Some((api, (min, max))) = served else {
        return Err(Error::with_message(ErrorKind::UnsupportedVersion, format!("API {key} v{version} is not served")));
    };
    let admission = caller.session().admit(api, shared.clock.now(), &mut shared.security.counts());
    match admission {
        Admission::Close => return Ok((Answer::Close, Duration::ZERO)),
        Admission::Fail => {
            tokio::time::sleep(shared.security.sasl.failure_delay).await;
            return Ok((Answer::Close, Duration::ZERO));
        }
        Admission::Serve | Admission::Refuse(_) => {}
    }
    if version < min || version > max {
        let answer = match api {
            ApiKey::ApiVersions => api_versions::too_new(shared.emulation, correlation_id)?,
            _ => Answer::Close,
        };
        return Ok((answer, Duration::ZERO));
    }
    let request_bytes = frame.len() + 4;
    if let Admission::Refuse(code) = admission {
        let how = Handling { apply: false, refusal: Some(code), script: None, throttle: Duration::ZERO };
        let (answer, _) = api::dispatch(api, context(version, &client_id(&frame)), frame.clone(), how).await?;
        tokio::time::sleep(shared.security.sasl.failure_delay).await;
        return Ok((answer.last(), Duration::ZERO));
    }
    let judged = shared.state().judge(api, node, &frame);
    if let Some(delay) = judged.delay {
        tokio::time::sleep(delay).await;
    }
    let (refusal, script) = match &judged.then {
        Verdict::Refuse(code) => (Some(*code), None),
        Verdict::Script(script) => (None, Some(script.clone())),
        _ => (None, None),
    };
    let (mut answer, mut throttle) = (Answer::None, judged.throttle);
    if judged.apply || refusal.is_some() {
        let how = Handling { apply: judged.apply, refusal, script, throttle: judged.throttle };
        (answer, throttle) = api::dispatch(api, context(version, &client_id(&frame)), frame.clone(), how).await?;
        let ends = caller.session().ends();
        match ends {
            Some(true) => {
                tokio::time::sleep(shared.security.sasl.failure_delay).await;
                answer = answer.last();
            }
            Some(false) => answer = Answer::Close,
            None => {}
        }
    }
    if let Some(delay) = judged.delay_answer {
        tokio::time::sleep(delay).await;
    }
    let response_bytes = if let Answer::Frame(frame) | Answer::Last(frame) = &answer { frame.len() } else { 0 };
    shared.state().control.count((api, version), request_bytes, response_bytes);
    match judged.then {
        Verdict::Answer | Verdict::Refuse(_) | Verdict::Script(_) => Ok((answer, throttle)),
        Verdict::Corrupt(seed) => Ok((answer.map(|frame| control::corrupted(&frame, seed)), throttle)),
        Verdict::Disconnect => Ok((Answer::Close, Duration::ZERO)),
        Verdict::Silence => std::future::pending().await,
    }
}

/// The client id in a request's header, which stands at the same place in every version.
pub(super) fn client_id(frame: &[u8]) -> String {
    let length = frame.get(8..10).map_or(-1, |bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
    let bytes = usize::try_from(length).ok().and_then(|length| frame.get(10..10 + length));
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Connection).caused_by(error)
}

/// Connects to the brokers of a cluster in memory, by their names.
#[derive(Debug)]
pub(super) struct InMemory {
    shared: Weak<Shared>,
    /// As whom, if nothing is asked.
    principal: Option<Arc<str>>,
}

impl InMemory {
    /// Where its connections come from.
    const HOST: &str = "/127.0.0.1";

    pub(super) fn new(shared: &Arc<Shared>, principal: Option<Arc<str>>) -> Self {
        Self { shared: Arc::downgrade(shared), principal }
    }

    async fn open(shared: Weak<Shared>, principal: Option<Arc<str>>, host: String, port: u16) -> io::Result<BoxStream> {
        let refused = |why: &str| io::Error::new(io::ErrorKind::ConnectionRefused, format!("{host}:{port}: {why}"));
        let shared = shared.upgrade().ok_or_else(|| refused("the test cluster is gone"))?;
        let node = {
            let state = shared.state();
            let found = state.nodes.iter().find(|(_, node)| {
                let (its_host, its_port) = node.endpoint.host_and_port();
                **its_host == *host && its_port == port && matches!(node.endpoint, Endpoint::InMemory { .. })
            });
            *found.ok_or_else(|| refused("no broker of the test cluster has this name"))?.0
        };
        shared.can_connect(node).await;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        if serve(&shared, node, Box::new(ours), Self::HOST.to_owned(), principal) {
            Ok(Box::new(theirs))
        } else {
            Err(refused("this broker is down"))
        }
    }
}

impl Connect for InMemory {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        Box::pin(Self::open(Weak::clone(&self.shared), self.principal.clone(), host.to_owned(), port))
    }
}
