//! One socket, one task, many callers. The task writes what it is handed, vectored and uncopied, in the order that it
//! was handed over, and gives each answer to whom it belongs. A caller who goes away takes nothing with it: the answer
//! is read and dropped.

use super::frames::{FrameReader, broken};
use crate::connect::{BoxStream, Connect};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::connection::InFlightRequests;
use crate::machine::negotiation::{Negotiation, Step};
use crate::net::tasks::Tasks;
use crate::wire::api_versions::{BrokerVersions, api_name};
use crate::wire::messages::{ApiVersionsRequest, ProduceRequest};
use crate::wire::{Request, frame::MAX_FRAME, request};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, timeout_at};

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
    /// `socket.connection.setup.timeout.ms`: connect and ApiVersions together (KIP-601).
    pub setup_timeout: Duration,
}

/// What crossed connections: shared by all of a client's.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes written to sockets.
    pub sent: AtomicU64,
    /// Bytes read from sockets.
    pub received: AtomicU64,
    /// Produce requests handed to sockets.
    pub produce_requests: AtomicU64,
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
    versions: BrokerVersions,
    correlation_id: AtomicI32,
    /// Why the connection is of no use any more.
    poison: OnceLock<Error>,
}

#[derive(Debug)]
struct Outgoing {
    correlation_id: i32,
    api_key: i16,
    pieces: Vec<Bytes>,
    answer: Answer,
    deadline: Instant,
    waiter: oneshot::Sender<Result<Bytes>>,
}

impl Connection {
    /// Connects, asks for the broker's versions, and starts the task, which ends when `tasks` are closing.
    ///
    /// # Errors
    /// `Connection`, `Timeout` or `Malformed`, naming the address. Dropping the future gives the attempt up.
    pub async fn open(
        connect: &dyn Connect,
        (host, port): (&str, u16),
        node: Option<NodeId>,
        config: &ConnectionConfig,
        tasks: &Tasks,
        traffic: &Arc<Traffic>,
    ) -> Result<Self> {
        let address: Arc<str> = format!("{host}:{port}").into();
        let setup = Self::set_up(connect, host, port, config);
        let place = |error: Error| node.into_iter().fold(error.address(address.clone()), Error::node);
        let (stream, frames, versions) = match timeout_at(Instant::now() + config.setup_timeout, setup).await {
            Ok(done) => done.map_err(place)?,
            Err(_) => {
                let message = format!("not connected within {} ms", config.setup_timeout.as_millis());
                return Err(place(Error::with_message(ErrorKind::Timeout, message).certainty(Certainty::NotSent)));
            }
        };
        let shared = Arc::new(Shared {
            client_id: config.client_id.clone(),
            node,
            address: address.clone(),
            versions,
            correlation_id: AtomicI32::new(1),
            poison: OnceLock::new(),
        });
        let (outgoing, incoming) = mpsc::unbounded_channel();
        let task = Task {
            stream,
            frames,
            incoming,
            output: VecDeque::new(),
            unanswered: Vec::new(),
            in_flight: InFlightRequests::default(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            shared: shared.clone(),
            traffic: traffic.clone(),
        };
        tasks.spawn(task.run(tasks.clone()));
        Ok(Self { shared, outgoing })
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
            let mut stream =
                connected.map_err(|error| broken(&error).certainty(Certainty::NotSent).caused_by(error))?;
            let mut frames = FrameReader::new(MAX_FRAME);
            match negotiate(&mut negotiation, &mut stream, &mut frames, &config.client_id).await {
                Ok(versions) => return Ok((stream, frames, versions)),
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
            .map_err(|error| self.shared.place(error).certainty(Certainty::PossiblySent))
    }

    /// Adds what was asked of whom to an error that an answer brought.
    pub fn place(&self, error: Error) -> Error {
        self.shared.place(error)
    }
}

impl Shared {
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
    client_id: &str,
) -> Result<BrokerVersions> {
    loop {
        let version = negotiation.version();
        let frame = request::encode_request::<ApiVersionsRequest>(&negotiation.request(), version, 0, client_id)?;
        stream.write_all(&frame).await.map_err(|error| broken(&error))?;
        let answer = poll_fn(|cx| frames.poll_frame(cx, stream)).await?;
        let answer = answer.ok_or_else(|| {
            Error::with_message(
                ErrorKind::Connection,
                "the peer closed the connection instead of answering ApiVersions",
            )
            .hint("a TLS listener spoken to in plaintext does this")
        })?;
        match negotiation.handle_response(answer)? {
            Step::Ask(_) => {}
            Step::Done(versions) => return Ok(versions),
        }
    }
}

/// The task of one connection. One hand-written `poll` instead of `select!`: what is not ready has registered the
/// waker, and an idle arm costs nothing.
struct Task {
    stream: BoxStream,
    frames: FrameReader,
    incoming: mpsc::UnboundedReceiver<Outgoing>,
    output: VecDeque<Bytes>,
    /// Those who wait for no answer but for the end of the write.
    unanswered: Vec<oneshot::Sender<Result<Bytes>>>,
    in_flight: InFlightRequests<oneshot::Sender<Result<Bytes>>>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
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
        tracing::debug!(address = %self.shared.address, %cause, "connection closed");
        let _ = self.shared.poison.set(cause.clone());
        // First the door, so that nobody is let in who would not be answered.
        self.incoming.close();
        for (waiter, error) in self.in_flight.handle_closed(&cause) {
            let _ = waiter.send(Err(error));
        }
        for waiter in self.unanswered.drain(..) {
            let _ = waiter.send(Err(cause.clone().certainty(Certainty::PossiblySent)));
        }
        while let Some(request) = self.incoming.recv().await {
            let error = cause.clone().api(api_name(request.api_key)).certainty(Certainty::NotSent);
            let _ = request.waiter.send(Err(error));
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
            let mut gone = false;
            loop {
                match self.incoming.poll_recv(cx) {
                    Poll::Ready(Some(request)) => self.take(request),
                    Poll::Ready(None) => {
                        gone = true;
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            match self.poll_write(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                Poll::Ready(Ok(())) => {
                    for waiter in self.unanswered.drain(..) {
                        let _ = waiter.send(Ok(Bytes::new()));
                    }
                    // Every handle is gone, and whoever still waits for an answer as well.
                    if gone && self.in_flight.waiters().all(|waiter| waiter.poll_closed(cx).is_ready()) {
                        return Poll::Ready(None);
                    }
                }
                Poll::Pending => {}
            }
            let Some(deadline) = self.in_flight.poll_timeout().map(Instant::from_std) else { return Poll::Pending };
            // The timer is moved only to an earlier time, or when it has fired: deadlines mostly grow.
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.timer.as_mut().reset(deadline);
                self.armed = Some(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if let Some(error) = self.in_flight.handle_timeout(Instant::now().into_std()) {
                return Poll::Ready(Some(error));
            }
        }
    }

    fn take(&mut self, request: Outgoing) {
        if request.api_key == ProduceRequest::KEY {
            self.traffic.produce_requests.fetch_add(1, Ordering::Relaxed);
        }
        self.output.extend(request.pieces);
        match request.answer {
            Answer::None => self.unanswered.push(request.waiter),
            Answer::Expected => {
                let deadline = request.deadline.into_std();
                self.in_flight.handle_sent(request.correlation_id, request.api_key, deadline, request.waiter);
            }
        }
    }

    /// Always polled, also with nothing in flight, so that the end of a connection is seen at once.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let before = self.frames.received();
        let frame = self.frames.poll_frame(cx, &mut self.stream);
        self.traffic.received.fetch_add(self.frames.received() - before, Ordering::Relaxed);
        let Some(frame) = ready!(frame)? else {
            return Poll::Ready(Err(Error::with_message(ErrorKind::Connection, "the peer closed the connection")));
        };
        let waiter = self.in_flight.handle_frame(&frame)?;
        let _ = waiter.send(Ok(frame)); // whoever asked may have gone
        Poll::Ready(Ok(()))
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
            self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
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
