//! One socket, one task, many callers. The task writes what it is handed, vectored and uncopied, in the order that it
//! was handed over, and gives each answer to whom it belongs. A caller who goes away takes nothing with it: the answer
//! is read and dropped.

use super::frames::{FrameReader, broken};
use super::renewal::{Identity, Renewal, Renewing};
use super::security::{Security, authenticate};
use super::traffic::Traffic;
use crate::connect::{BoxStream, Connect};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::connection::InFlightRequests;
use crate::machine::negotiation::{Negotiation, Step};
use crate::net::tasks::Tasks;
use crate::wire::api_versions::{BrokerVersions, api_name, is_question};
use crate::wire::messages::{ApiVersionsRequest, ProduceRequest};
use crate::wire::{Request, frame::MAX_FRAME, request};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, timeout_at};

/// What the first answer, to ApiVersions, is shorter than. Whatever begins with a greater length is no Kafka.
const FIRST_FRAME: usize = 1 << 20;

/// Slices given to one vectored write.
const SLICES: usize = 32;

/// Whether a request is answered at all: a Produce with acks=0 is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A response comes.
    Expected,
    /// None comes; the wait ends, with nothing, once the request was handed to the socket.
    None,
}

/// What a connection is made with.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// `client.id`.
    pub client_id: Arc<str>,
    /// `socket.connection.setup.timeout.ms`: connect, TLS, ApiVersions and SASL together (KIP-601).
    pub setup_timeout: Duration,
    /// TLS and SASL.
    pub security: Security,
}

/// A handle to an open connection; the last one closes it.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
}

#[derive(Debug)]
struct Shared {
    client_id: Arc<str>,
    node: Option<NodeId>,
    address: Arc<str>,
    protocol: &'static str,
    versions: BrokerVersions,
    correlation_id: AtomicI32,
    /// When to say again who we are, if ever. Looked at with each request, if the broker is to know who we are at all.
    renewal: Mutex<Option<Renewal>>,
    /// Why the connection is of no use any more.
    poison: OnceLock<Error>,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    correlation_id: i32,
    api_key: i16,
    pieces: Vec<Bytes>,
    answer: Answer,
    deadline: Instant,
    waiter: oneshot::Sender<Result<Bytes>>,
}

impl Connection {
    /// Connects, asks for the broker's versions, starts the task, which ends when `tasks` are closing, and says who we are.
    ///
    /// # Errors
    /// `Connection`, `Timeout`, `Malformed`, `Tls` or `Denied`, naming the address. Dropping the future gives the attempt up.
    pub async fn open(
        connect: &dyn Connect,
        (host, port): (&str, u16),
        node: Option<NodeId>,
        config: &ConnectionConfig,
        (tasks, traffic, seed): (&Tasks, &Arc<Traffic>, u64),
    ) -> Result<Self> {
        let address: Arc<str> = format!("{host}:{port}").into();
        let protocol = config.security.protocol();
        // Many a connection is not made because the listener speaks another protocol.
        let place = |error: Error| {
            let error = error.address(format!("{address} ({protocol})")).certainty(Certainty::NotSent);
            node.into_iter().fold(error, Error::node)
        };
        let deadline = Instant::now() + config.setup_timeout;
        let late = |_| {
            let message = format!("not connected within {} ms", config.setup_timeout.as_millis());
            place(Error::with_message(ErrorKind::Timeout, message))
        };
        let set_up = timeout_at(deadline, Self::set_up(connect, host, port, config)).await;
        let (stream, frames, versions) = set_up.map_err(late)?.map_err(place)?;
        let shared = Arc::new(Shared {
            client_id: config.client_id.clone(),
            node,
            address: address.clone(),
            protocol,
            versions,
            correlation_id: AtomicI32::new(1),
            renewal: Mutex::default(),
            poison: OnceLock::new(),
        });
        let mut random = fastrand::Rng::with_seed(seed);
        let identity = config.security.sasl.clone().map(|mechanism| Identity {
            mechanism,
            host: host.into(),
            port,
            clock: config.security.clock,
            timeout: config.setup_timeout,
            random: random.fork(),
        });
        let (outgoing, incoming) = mpsc::unbounded_channel();
        let connection = Self { shared: shared.clone(), outgoing };
        let task = Task {
            stream,
            frames,
            incoming,
            output: VecDeque::new(),
            taken: 0,
            written: 0,
            unanswered: VecDeque::new(),
            in_flight: InFlightRequests::default(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            answered: false,
            identity: identity.clone(),
            renewing: None,
            held: None,
            shared: shared.clone(),
            traffic: traffic.clone(),
        };
        traffic.opened.add(1);
        tasks.spawn(task.run(tasks.clone()));
        if let Some(identity) = &identity {
            let peer = identity.peer();
            let authenticating = authenticate(&connection, &*identity.mechanism, &peer, deadline);
            let authenticated = timeout_at(deadline, authenticating).await;
            let authenticated = authenticated.map_err(late)?.map_err(place)?;
            *shared.renewal() = Renewal::new(&authenticated, random.f64());
        }
        Ok(connection)
    }

    async fn set_up(
        connect: &dyn Connect,
        host: &str,
        port: u16,
        config: &ConnectionConfig,
    ) -> Result<(BoxStream, FrameReader, BrokerVersions)> {
        let mut negotiation = Negotiation::default();
        loop {
            let connected = connect.connect(host, port).await;
            let stream = connected.map_err(|error| broken(&error).certainty(Certainty::NotSent).caused_by(error))?;
            let secured = config.security.secure(stream, host).await;
            let mut stream = secured.map_err(|error| error.certainty(Certainty::NotSent))?;
            let mut frames = FrameReader::new(FIRST_FRAME);
            match negotiate(&mut negotiation, &mut stream, &mut frames, config).await {
                Ok(versions) => {
                    frames.set_limit(MAX_FRAME);
                    return Ok((stream, frames, versions));
                }
                Err(error) if error.kind() == ErrorKind::Connection && negotiation.handle_disconnected() => {}
                Err(error) => return Err(error.certainty(Certainty::NotSent)),
            }
        }
    }

    /// What the broker behind it speaks.
    pub fn versions(&self) -> &BrokerVersions {
        &self.shared.versions
    }

    /// Whose it is; `None` for a bootstrap address, whose node is not known yet.
    pub fn node(&self) -> Option<NodeId> {
        self.shared.node
    }

    /// Where it goes: `host:port`.
    pub fn address(&self) -> &Arc<str> {
        &self.shared.address
    }

    /// `client.id`.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// Whether it is of no use any more.
    pub fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// An id for a request whose frame the caller encodes.
    pub fn next_correlation_id(&self) -> i32 {
        self.shared.correlation_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a whole frame (length and header included) over, as pieces that are written one after the other. Frames go
    /// out in the order of the calls. The answer is a frame without its length.
    ///
    /// Dropping the answer's future drops the answer and nothing else.
    pub fn send(
        &self,
        api_key: i16,
        correlation_id: i32,
        pieces: Vec<Bytes>,
        answer: Answer,
        timeout: Duration,
    ) -> Response {
        let (waiter, response) = oneshot::channel();
        let deadline = Instant::now() + timeout;
        let request = Outgoing { correlation_id, api_key, pieces, answer, deadline, waiter };
        let refused = self.outgoing.send(request).is_err().then(|| {
            let error = self.shared.poison.get().cloned().unwrap_or_else(|| Error::new(ErrorKind::Connection));
            self.shared.place(error).api(api_name(api_key)).certainty(Certainty::NotSent)
        });
        Response { refused, response }
    }

    /// Asks in `version` and waits for the answer.
    ///
    /// # Errors
    /// They say what was asked, of whom, and whether it may have been done. Dropping the future drops the answer and
    /// nothing else: the request may have been sent.
    pub async fn call<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<R::Response> {
        let correlation_id = self.next_correlation_id();
        let frame = request::encode_request(request, version, correlation_id, self.client_id())
            .map_err(|error| self.shared.place(error).certainty(Certainty::NotSent))?;
        let answer = self.send(R::KEY, correlation_id, vec![frame], Answer::Expected, timeout).await?;
        request::decode_response::<R>(version, answer)
            .map_err(|error| self.shared.place(error))
            .map_err(|error| if is_question(R::KEY) { error } else { error.certainty(Certainty::PossiblySent) })
    }

    /// Adds what was asked of whom to an error that an answer brought.
    pub fn place(&self, error: Error) -> Error {
        self.shared.place(error)
    }
}

impl Shared {
    /// A panic elsewhere leaves it whole.
    fn renewal(&self) -> MutexGuard<'_, Option<Renewal>> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, error: Error) -> Error {
        let error = error.address(self.address.clone());
        self.node.into_iter().fold(error, Error::node)
    }
}

/// Waits for an answer.
#[derive(Debug)]
pub struct Response {
    refused: Option<Error>,
    response: oneshot::Receiver<Result<Bytes>>,
}

impl Future for Response {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        // The task always answers before it goes, unless the runtime is shut down under it.
        Pin::new(&mut self.response).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Connection).certainty(Certainty::PossiblySent)))
        })
    }
}

async fn negotiate(
    negotiation: &mut Negotiation,
    stream: &mut BoxStream,
    frames: &mut FrameReader,
    config: &ConnectionConfig,
) -> Result<BrokerVersions> {
    loop {
        let version = negotiation.version();
        let frame =
            request::encode_request::<ApiVersionsRequest>(&negotiation.request(), version, 0, &config.client_id)?;
        stream.write_all(&frame).await.map_err(|error| broken(&error))?;
        let answer = poll_fn(|cx| frames.poll_frame(cx, stream)).await;
        let answer = answer.map_err(|error| not_kafka(frames.buffered()).unwrap_or(error))?;
        let answer = answer.ok_or_else(|| {
            Error::with_message(
                ErrorKind::Connection,
                "the peer closed the connection instead of answering ApiVersions",
            )
            .hint(if config.security.protocol().ends_with("SSL") {
                "the broker may be starting or stopping, or want to see a certificate of ours; its log says more"
            } else {
                "a TLS listener spoken to in plaintext does this: see security.protocol and the port"
            })
        })?;
        match negotiation.handle_response(answer)? {
            Step::Ask(_) => {}
            Step::Done(versions) => return Ok(versions),
        }
    }
}

/// What a peer that answers otherwise than Kafka may be, by the first bytes that it sends.
fn not_kafka(first: &[u8]) -> Option<Error> {
    match first {
        // An alert, or a handshake, of any version.
        [0x15 | 0x16, 0x03, ..] => Some(
            Error::with_message(ErrorKind::Tls, "a TLS listener spoken to in plaintext")
                .hint("set security.protocol to SSL or SASL_SSL, or take the plaintext port"),
        ),
        [b'H', b'T', b'T', b'P', ..] => Some(
            Error::with_message(ErrorKind::Malformed, "an HTTP server, and no Kafka broker")
                .hint("see the port in bootstrap.servers"),
        ),
        _ => None,
    }
}

/// A request that is done when it is written.
struct Unanswered {
    /// Of all bytes the last one of it.
    end: u64,
    api_key: i16,
    deadline: Instant,
    waiter: oneshot::Sender<Result<Bytes>>,
}

/// The task of one connection. One hand-written `poll` instead of `select!`: what is not ready has registered the
/// waker, and an idle arm costs nothing.
struct Task {
    stream: BoxStream,
    frames: FrameReader,
    incoming: mpsc::UnboundedReceiver<Outgoing>,
    output: VecDeque<Bytes>,
    /// The bytes that ever came into `output`, and those that the stream has taken of them.
    taken: u64,
    written: u64,
    /// Those who wait for no answer but for the end of the write.
    unanswered: VecDeque<Unanswered>,
    in_flight: InFlightRequests<oneshot::Sender<Result<Bytes>>>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Whether the peer has answered anything that was asked through here.
    answered: bool,
    /// Who we are, if the broker is to know.
    identity: Option<Identity>,
    renewing: Option<Renewing>,
    /// The request that came when the broker took none any more.
    held: Option<Outgoing>,
    shared: Arc<Shared>,
    traffic: Arc<Traffic>,
}

impl Task {
    async fn run(mut self, tasks: Tasks) {
        let cause = tokio::select! {
            biased;
            cause = poll_fn(|cx| self.poll(cx)) => cause,
            () = tasks.closing() => None,
        };
        let cause = self.shared.place(cause.unwrap_or_else(|| Error::new(ErrorKind::Closed)));
        // A refusal is told when a connection is made. This one was good, and so may be the next.
        let cause = if cause.kind() == ErrorKind::Tls { cause.of_kind(ErrorKind::Connection) } else { cause };
        tracing::debug!(address = %self.shared.address, %cause, "connection closed");
        let _ = self.shared.poison.set(cause.clone());
        // First the door, so that nobody is let in who would not be answered.
        self.incoming.close();
        self.traffic.closed.add(1);
        for (waiter, error) in self.in_flight.handle_closed(&cause) {
            self.traffic.in_flight.sub(1);
            let _ = waiter.send(Err(error));
        }
        for Unanswered { waiter, .. } in self.unanswered.drain(..) {
            let _ = waiter.send(Err(cause.clone().certainty(Certainty::PossiblySent)));
        }
        let unsent = |request: Outgoing| {
            let error = cause.clone().api(api_name(request.api_key)).certainty(Certainty::NotSent);
            let _ = request.waiter.send(Err(error));
        };
        self.held.take().into_iter().for_each(unsent);
        while let Some(request) = self.incoming.recv().await {
            unsent(request);
        }
    }

    /// Runs until the connection is of no use any more: `None` when every handle is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        loop {
            loop {
                match self.poll_answer(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                    Poll::Pending => break,
                }
            }
            let gone = match self.poll_incoming(cx) {
                Ok(gone) => gone,
                Err(error) => return Poll::Ready(Some(error)),
            };
            match self.poll_write(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                Poll::Ready(Ok(())) => {
                    self.answer_written();
                    // Every handle is gone, and whoever still waits for an answer as well.
                    if gone && self.in_flight.waiters().all(|waiter| waiter.poll_closed(cx).is_ready()) {
                        return Poll::Ready(None);
                    }
                }
                // Others write behind them, perhaps without an end. What only has to be flushed is waited for.
                Poll::Pending if !self.output.is_empty() => self.answer_written(),
                Poll::Pending => {}
            }
            let answer = self.in_flight.poll_timeout().map(Instant::from_std);
            let write = self.unanswered.front().map(|unanswered| unanswered.deadline);
            let Some(deadline) = answer.into_iter().chain(write).min() else { return Poll::Pending };
            // The timer is moved only to an earlier time, or when it has fired: deadlines mostly grow.
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.timer.as_mut().reset(deadline);
                self.armed = Some(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            let now = Instant::now();
            if let Some(error) = self.in_flight.handle_timeout(now.into_std()) {
                return Poll::Ready(Some(error));
            }
            if let Some(late) = self.unanswered.front().filter(|unanswered| unanswered.deadline <= now) {
                let error = Error::with_message(ErrorKind::Timeout, "not taken by the peer in time");
                return Poll::Ready(Some(error.api(api_name(late.api_key))));
            }
        }
    }

    /// Those whose requests the stream has taken wait for nothing more.
    fn answer_written(&mut self) {
        while let Some(written) = self.unanswered.pop_front_if(|unanswered| unanswered.end <= self.written) {
            let _ = written.waiter.send(Ok(Bytes::new()));
        }
    }

    /// Takes what there is to send; `true` when nobody can send any more.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        loop {
            if self.renewing.is_some() && self.poll_renewing(cx)?.is_pending() {
                return Ok(false);
            }
            match self.incoming.poll_recv(cx) {
                Poll::Ready(Some(request)) => self.take_or_hold(request),
                Poll::Ready(None) => return Ok(true),
                Poll::Pending => return Ok(false),
            }
        }
    }

    /// Ready when other requests may be sent: it is done, or the mechanism still waits for what it needs while the broker's
    /// patience lasts.
    fn poll_renewing(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>> {
        let Some(mut renewing) = self.renewing.take() else { return Ok(Poll::Ready(())) };
        let expires = self.shared.renewal().map(|renewal| renewal.expires);
        let lasts = |now| expires.is_some_and(|expires| now < expires);
        match renewing.poll(cx, |request| self.take(request)) {
            Poll::Ready(Ok(authentication)) => {
                let random = self.identity.as_mut().map_or(0.0, |identity| identity.random.f64());
                *self.shared.renewal() = Renewal::new(&authentication, random);
                tracing::debug!(address = %self.shared.address, "authenticated again");
            }
            // Nothing was said to the broker: no token just now, perhaps.
            Poll::Ready(Err(error)) if !renewing.has_begun() && lasts(Instant::now()) => {
                tracing::warn!(address = %self.shared.address, %error, "will try again while the session lasts");
                let mut renewal = self.shared.renewal();
                *renewal = renewal.map(Renewal::postponed);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                let may_send = !renewing.has_begun() && lasts(Instant::now());
                self.renewing = Some(renewing);
                if !may_send {
                    return Ok(Poll::Pending);
                }
            }
        }
        if let Some(held) = self.held.take() {
            self.take_in_time(held);
        }
        Ok(Poll::Ready(()))
    }

    /// With the first request after 85 to 95 % of its time a connection says again who it is, and the request waits for that.
    fn take_or_hold(&mut self, request: Outgoing) {
        let Some(identity) = &self.identity else { return self.take(request) };
        let due = self.shared.renewal().map(|renewal| renewal.due);
        let Some(due) = due else { return self.take(request) };
        if Instant::now() < due || self.renewing.is_some() {
            return self.take_in_time(request);
        }
        let (outgoing, requests) = mpsc::unbounded_channel();
        let connection = Connection { shared: self.shared.clone(), outgoing };
        // A broker answers in order, and may have parked what is under way.
        let behind = self.in_flight.latest_deadline().map(Instant::from_std);
        self.renewing = Some(Renewing::new(identity, connection, requests, behind));
        self.held = Some(request);
    }

    /// What has waited for a renewal may have no time left; sent all the same, it would end the connection.
    fn take_in_time(&mut self, request: Outgoing) {
        if Instant::now() < request.deadline {
            return self.take(request);
        }
        let error = self.shared.place(Error::new(ErrorKind::Timeout)).api(api_name(request.api_key));
        let _ = request.waiter.send(Err(error.certainty(Certainty::NotSent)));
    }

    fn take(&mut self, request: Outgoing) {
        if request.api_key == ProduceRequest::KEY {
            self.traffic.produce_requests.add(1);
        }
        self.traffic.requests.add(1);
        self.taken += request.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.output.extend(request.pieces);
        match request.answer {
            Answer::None => {
                let Outgoing { api_key, deadline, waiter, .. } = request;
                self.unanswered.push_back(Unanswered { end: self.taken, api_key, deadline, waiter });
            }
            Answer::Expected => {
                let (now, deadline) = (Instant::now().into_std(), request.deadline.into_std());
                self.traffic.in_flight.add(1);
                self.in_flight.handle_sent(now, request.correlation_id, request.api_key, deadline, request.waiter);
            }
        }
    }

    /// Always polled, also with nothing in flight, so that the end of a connection is seen at once.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let before = self.frames.received();
        let frame = self.frames.poll_frame(cx, &mut self.stream);
        self.traffic.received.add(self.frames.received() - before);
        let Some(frame) = ready!(frame)? else {
            return Poll::Ready(Err(self.closed_by_peer()));
        };
        let (waiter, sent) = self.in_flight.handle_frame(&frame)?;
        self.traffic.in_flight.sub(1);
        self.traffic.request_latency.record_duration(Instant::now().into_std().saturating_duration_since(sent));
        self.answered = true;
        let _ = waiter.send(Ok(frame)); // whoever asked may have gone
        Poll::Ready(Ok(()))
    }

    fn closed_by_peer(&self) -> Error {
        let error = Error::with_message(ErrorKind::Connection, "the peer closed the connection");
        if self.answered || self.in_flight.is_empty() || self.identity.is_some() {
            return error;
        }
        error.hint(match self.shared.protocol {
            "SSL" => {
                "a SASL listener does this to who does not say who it is: security.protocol is SSL, and may have to be SASL_SSL"
            }
            _ => {
                "a SASL listener does this to who does not say who it is: security.protocol is PLAINTEXT, and may have to be \
                 SASL_PLAINTEXT"
            }
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.output.len().min(SLICES);
            for (slice, bytes) in slices.iter_mut().zip(&self.output) {
                *slice = IoSlice::new(bytes);
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]));
            let mut written = written.map_err(|error| broken(&error))?;
            if written == 0 {
                return Poll::Ready(Err(Error::with_message(ErrorKind::Connection, "the peer closed the connection")));
            }
            self.traffic.sent.add(written as u64);
            self.written += written as u64;
            while let Some(bytes) = self.output.front_mut() {
                if written < bytes.len() {
                    bytes.advance(written);
                    break;
                }
                written -= bytes.len();
                self.output.pop_front();
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|error| broken(&error))
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
