//! The one task of a producer: gives the [`Sender`] machine its clock, its connections and its answers.
//!
//! Commands of the handles come over a channel, and the outcome of each goes back over one of its own.
//!
//! One hand-written `poll` instead of `select!`: what is not ready has registered the waker, and an idle arm costs
//! nothing. Answers of a node are handed to the machine in the order of its requests, whatever order they end in.

use super::coordinator;
use crate::client::Client;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::accumulator::RecordAccumulator;
use crate::machine::metadata::Cluster;
use crate::machine::sender::{Purge, Sender, SenderEvent, SenderRequest, SenderResponse, TransactionCommand};
use crate::machine::transaction::{Operation, TransactionResponse, TransactionVersion};
use crate::machine::{Clock, Machine, RequestId};
use crate::net::brokers::Purpose;
use crate::net::clock::NetClock;
use crate::net::connection::{Answer, Connection, Response};
use crate::record::compression::Compression;
use crate::wire::messages::{InitProducerIdResponse, ProduceRequest, ProduceResponse};
use crate::wire::produce::{BatchToSend, FIRST_OF_TRANSACTION_2, FIRST_WITH_ZSTD, ProduceHead, encode_produce};
use crate::wire::{Request, request::decode_response};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What takes more than one step and has no order.
enum Called {
    Connected(NodeId, RequestId, Result<Connection>),
    ProducerId(RequestId, Result<InitProducerIdResponse>),
    Transaction(RequestId, Result<TransactionResponse>),
}

/// A Produce request whose answer is awaited.
struct Awaited {
    id: RequestId,
    version: i16,
    response: Response,
}

#[derive(Default)]
struct Link {
    connection: Option<Connection>,
    awaited: VecDeque<Awaited>,
}

/// What a handle asks of the task, and who waits for the outcome.
pub(super) enum Command {
    Transaction {
        what: Box<dyn FnOnce(Operation) -> TransactionCommand + Send>,
        reply: Option<oneshot::Sender<Result<()>>>,
    },
    Purge {
        what: Purge,
        reply: oneshot::Sender<usize>,
    },
}

pub(super) struct Driver {
    client: Client,
    /// Whose connections to coordinators these are.
    id: u64,
    clock: NetClock,
    sender: Sender,
    request_timeout: Duration,
    compression: Compression,
    links: BTreeMap<NodeId, Link>,
    calls: FuturesUnordered<Boxed<Called>>,
    cluster: Boxed<Option<watch::Receiver<Arc<Cluster>>>>,
    commands: mpsc::UnboundedReceiver<Command>,
    replies: HashMap<u64, oneshot::Sender<Result<()>>>,
    next_operation: u64,
    /// Why nothing will be sent any more, for the handles.
    failure: Arc<OnceLock<Error>>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Driver {
    pub(super) fn new(
        client: Client,
        sender: Sender,
        (request_timeout, compression): (Duration, Compression),
        commands: mpsc::UnboundedReceiver<Command>,
        failure: Arc<OnceLock<Error>>,
    ) -> Self {
        let mut cluster = client.watch_cluster();
        cluster.mark_changed(); // what is known already is news to the sender
        Self {
            id: client.next_id(),
            clock: client.clock(),
            timer: Box::pin(tokio::time::sleep_until(client.now().into())),
            client,
            sender,
            request_timeout,
            compression,
            links: BTreeMap::new(),
            calls: FuturesUnordered::new(),
            cluster: changed(cluster),
            commands,
            replies: HashMap::new(),
            next_operation: 0,
            failure,
            armed: None,
        }
    }

    /// Runs until the accumulator is abandoned and what was under way has its outcome.
    pub(super) async fn run(mut self, accumulator: Arc<RecordAccumulator>) {
        poll_fn(|cx| self.poll(cx)).await;
        // Nobody may append to what nobody drains.
        accumulator.close();
        self.client.release(self.id);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.clock.now();
            let mut again = self.poll_cluster(now, cx) | self.poll_answers(now, cx) | self.poll_calls(now, cx);
            again |= self.poll_commands(now, cx);
            if self.sender.handle_ready(now, cx.waker()) {
                self.sender.handle_abandoned(now);
            }
            if self.sender.poll_timeout().is_some_and(|at| at <= now) {
                self.sender.handle_timeout(now);
                again = true;
            }
            while let Some((id, request)) = self.sender.poll_request() {
                self.start(now, id, request);
                again = true;
            }
            while let Some(event) = self.sender.poll_event() {
                match event {
                    SenderEvent::StaleMetadata(generation) => self.client.refresh(generation),
                    SenderEvent::Done(Operation(operation), outcome) => {
                        if let Some(reply) = self.replies.remove(&operation) {
                            let _ = reply.send(outcome); // nobody waits any more
                        }
                    }
                    SenderEvent::Failed(error) => {
                        let _ = self.failure.set(error); // the first stands
                    }
                }
            }
            if self.sender.is_closed() {
                return Poll::Ready(());
            }
            again |= self.poll_timer(cx);
            if !again {
                return Poll::Pending;
            }
        }
    }

    fn poll_commands(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            any = true;
            match command {
                Command::Transaction { what, reply } => {
                    let operation = self.next_operation;
                    self.next_operation += 1;
                    self.replies.extend(reply.map(|reply| (operation, reply)));
                    self.sender.command(now, what(Operation(operation)));
                }
                Command::Purge { what, reply } => {
                    let _ = reply.send(self.sender.purge(now, what)); // nobody may wait any more
                }
            }
        }
        any
    }

    fn poll_cluster(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(receiver) = self.cluster.as_mut().poll(cx) else { return false };
        match receiver {
            Some(mut receiver) => {
                let cluster = receiver.borrow_and_update().clone();
                self.sender.handle_cluster(now, cluster);
                self.cluster = changed(receiver);
                true
            }
            None => {
                self.cluster = Box::pin(std::future::pending()); // the client is closed
                self.sender.handle_abandoned(now);
                false
            }
        }
    }

    fn poll_answers(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for link in self.links.values_mut() {
            while let Some(front) = link.awaited.front_mut() {
                let Poll::Ready(answer) = Pin::new(&mut front.response).poll(cx) else { break };
                let (id, version) = (front.id, front.version);
                link.awaited.pop_front();
                let answer = answer.and_then(|frame| match frame.is_empty() {
                    true => Ok(ProduceResponse::default()), // acks=0
                    false => decode_response::<ProduceRequest>(version, frame)
                        .map_err(|error| error.certainty(Certainty::PossiblySent)),
                });
                self.sender.handle_response(now, id, answer.map(SenderResponse::Produced));
                any = true;
            }
        }
        any
    }

    fn poll_calls(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(called)) = self.calls.poll_next_unpin(cx) {
            any = true;
            match called {
                Called::Connected(node, id, Ok(connection)) => {
                    self.links.entry(node).or_default().connection = Some(connection);
                    self.sender.handle_response(now, id, Ok(SenderResponse::Connected));
                }
                Called::Connected(_, id, Err(error)) => self.sender.handle_response(now, id, Err(error)),
                Called::ProducerId(id, answer) => {
                    self.sender.handle_response(now, id, answer.map(SenderResponse::ProducerId));
                }
                Called::Transaction(id, answer) => {
                    self.sender.handle_response(now, id, answer.map(SenderResponse::Transaction));
                }
            }
        }
        any
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        // Moved only to an earlier time, or when it has fired: later batches have later deadlines.
        if let Some(at) = self.sender.poll_timeout()
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.timer.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        let fired = self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready();
        if fired {
            self.armed = None;
        }
        fired
    }

    fn start(&mut self, now: Instant, id: RequestId, request: SenderRequest) {
        let (client, producer, deadline) = (self.client.clone(), self.id, now + self.request_timeout);
        match request {
            SenderRequest::Connect(node) => self.calls.push(Box::pin(async move {
                Called::Connected(node, id, client.connection(node, Purpose::Produce, deadline).await)
            })),
            SenderRequest::InitProducerId(request) => self
                .calls
                .push(Box::pin(async move { Called::ProducerId(id, client.call_any(&request, deadline).await) })),
            SenderRequest::Transaction(call) => self.calls.push(Box::pin(async move {
                Called::Transaction(id, coordinator::call(&client, producer, call, deadline).await)
            })),
            SenderRequest::Produce(node) => {
                let sent = self.produce(id, node);
                match sent {
                    Ok(awaited) => self.links.entry(node).or_default().awaited.push_back(awaited),
                    Err(error) => {
                        self.sender.handle_response(now, id, Err(error.api("Produce").certainty(Certainty::NotSent)));
                    }
                }
            }
        }
    }

    fn produce(&self, id: RequestId, node: NodeId) -> Result<Awaited> {
        let connection = self.links.get(&node).and_then(|link| link.connection.as_ref());
        let connection = connection.ok_or_else(|| Error::new(ErrorKind::Connection))?;
        let transaction = self.sender.transaction();
        let (least, most) = match transaction {
            Some((_, TransactionVersion::One)) => (0, FIRST_OF_TRANSACTION_2 - 1),
            Some((_, TransactionVersion::Two)) => (FIRST_OF_TRANSACTION_2, i16::MAX),
            None => (0, i16::MAX),
        };
        let least = if self.compression == Compression::Zstd { least.max(FIRST_WITH_ZSTD) } else { least };
        let version = connection.versions().pick_in::<ProduceRequest>(least..=most);
        let version = version.map_err(|error| connection.place(error))?;
        let correlation_id = connection.next_correlation_id();
        let acks = self.sender.acks();
        let head = ProduceHead {
            version,
            correlation_id,
            client_id: connection.client_id(),
            transactional_id: transaction.map(|(id, _)| &**id),
            acks,
            timeout_ms: i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX),
        };
        let batches = self.sender.batches(id).filter_map(|batch| {
            let head = &batch.numbered.as_ref()?.head[..];
            let (topic, partition) = (&**batch.topic.name(), batch.partition as i32);
            Some(BatchToSend { topic, partition, head, body: batch.body().bytes() })
        });
        let pieces = encode_produce(head, batches)?;
        let answer = if acks == 0 { Answer::None } else { Answer::Expected };
        let response = connection.send(ProduceRequest::KEY, correlation_id, pieces, answer, self.request_timeout);
        Ok(Awaited { id, version, response })
    }
}

fn changed(mut cluster: watch::Receiver<Arc<Cluster>>) -> Boxed<Option<watch::Receiver<Arc<Cluster>>>> {
    Box::pin(async move { cluster.changed().await.is_ok().then_some(cluster) })
}
