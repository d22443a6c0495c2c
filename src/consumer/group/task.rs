//! The group's task: drives the machine, and gives it the brokers and the client's metadata.

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::group::{ConsumerCoordinator, GroupCall, GroupEvent, GroupRequest, GroupResponse, To};
use crate::net::brokers::Purpose;
use crate::net::connection::Connection;
use crate::net::drive::{Call, Command, drive};
use crate::wire::Request;
use crate::wire::group_requests::{fit_leave_group, fit_offset_fetch, lift_offset_fetch};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, mpsc};

/// The group's one task.
pub(super) async fn run(
    machine: ConsumerCoordinator,
    caller: GroupCaller,
    mut inbox: UnboundedReceiver<Command<ConsumerCoordinator>>,
    events: mpsc::Sender<(u64, GroupEvent)>,
) {
    let (client, id) = (caller.client.clone(), caller.id);
    let (forward, commands) = mpsc::channel::<Command<ConsumerCoordinator>>(64);
    let mut cluster = client.watch_cluster();
    let forwarding = async move {
        loop {
            let command: Command<ConsumerCoordinator> = tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => command,
                    None => break,
                },
                changed = cluster.changed() => {
                    let snapshot = cluster.borrow_and_update().clone();
                    if changed.is_err() {
                        break; // the client is closed
                    }
                    Box::new(move |machine, now| {
                        let count = |topic: &str| snapshot.topics.get(topic).map_or(0, |topic| topic.partitions.len());
                        machine.metadata(now, |topic| i32::try_from(count(topic)).unwrap_or(i32::MAX));
                    })
                }
            };
            if forward.send(command).await.is_err() {
                break;
            }
        }
        drop(forward); // the machine is abandoned now, and says farewell
        pending::<()>().await;
    };
    let clock = client.clock();
    tokio::select! {
        () = drive(machine, caller, commands, events, Arc::new(Notify::new()), clock) => {}
        () = forwarding => {}
    }
    client.release(id);
}

/// Sends the machine's requests, in the version that the broker has.
pub(super) struct GroupCaller {
    pub(super) client: Client,
    /// Whose connections these are: heartbeats on one, what a broker may park on another.
    pub(super) id: u64,
    pub(super) auto_create: bool,
}

impl Call<ConsumerCoordinator> for GroupCaller {
    fn call(&self, call: GroupCall) -> impl Future<Output = Result<GroupResponse>> + Send {
        let (client, id, auto_create) = (self.client.clone(), self.id, self.auto_create);
        async move {
            let deadline = client.now() + call.timeout;
            let answer = match call.to {
                To::Any => find_coordinator(&client, call.request, deadline).await,
                To::Metadata => partition_counts(&client, call.request, auto_create, deadline).await,
                To::Group(node) => at(&client, node, Purpose::Group(id), call.request, deadline).await,
                To::Join(node) => at(&client, node, Purpose::Join(id), call.request, deadline).await,
            };
            if let Err(error) = &answer
                && error.kind() == ErrorKind::Connection
            {
                // It may listen elsewhere by now.
                client.refresh(client.cluster().generation);
            }
            answer
        }
    }
}

async fn find_coordinator(client: &Client, request: GroupRequest, deadline: Instant) -> Result<GroupResponse> {
    let GroupRequest::FindCoordinator(key) = request else { return Err(misdirected()) };
    client.find_coordinator(&key, deadline).await.map(GroupResponse::FindCoordinator)
}

async fn partition_counts(
    client: &Client,
    request: GroupRequest,
    auto_create: bool,
    deadline: Instant,
) -> Result<GroupResponse> {
    let GroupRequest::Topics(topics) = request else { return Err(misdirected()) };
    client.want_topics(topics.iter().cloned(), auto_create);
    let cluster = client.refreshed(client.cluster().generation, deadline).await?;
    let count = |topic: Arc<str>| {
        let partitions = cluster.topics.get(&topic)?.partitions.len();
        Some((topic, i32::try_from(partitions).unwrap_or(i32::MAX)))
    };
    Ok(GroupResponse::Topics(topics.into_iter().filter_map(count).collect()))
}

async fn at(
    client: &Client,
    node: NodeId,
    purpose: Purpose,
    request: GroupRequest,
    deadline: Instant,
) -> Result<GroupResponse> {
    // Setting a connection up spends of the request's time.
    let connection = client.connection(node, purpose, deadline).await?;
    let call = Sending { client, connection: &connection, deadline };
    Ok(match request {
        GroupRequest::JoinGroup(request) => GroupResponse::JoinGroup(call.send(|_| request.clone()).await?.0),
        GroupRequest::SyncGroup(request) => GroupResponse::SyncGroup(call.send(|_| request.clone()).await?.0),
        GroupRequest::Heartbeat(request) => GroupResponse::Heartbeat(call.send(|_| request.clone()).await?.0),
        GroupRequest::LeaveGroup(request) => {
            GroupResponse::LeaveGroup(call.send(|version| fit_leave_group(request.clone(), version)).await?.0)
        }
        GroupRequest::OffsetCommit(request) => GroupResponse::OffsetCommit(call.send(|_| request.clone()).await?.0),
        GroupRequest::OffsetFetch(request) => {
            let (answer, version) = call.send(|version| fit_offset_fetch(request.clone(), version)).await?;
            GroupResponse::OffsetFetch(lift_offset_fetch(answer, version))
        }
        GroupRequest::FindCoordinator(_) | GroupRequest::Topics(_) => return Err(misdirected()),
    })
}

struct Sending<'a> {
    client: &'a Client,
    connection: &'a Connection,
    deadline: Instant,
}

impl Sending<'_> {
    async fn send<R: Request>(&self, request: impl Fn(i16) -> R) -> Result<(R::Response, i16)> {
        let version = self.connection.versions().pick::<R>().map_err(|error| self.connection.place(error))?;
        let timeout = self.deadline.saturating_duration_since(self.client.now());
        Ok((self.connection.call(&request(version), version, timeout).await?, version))
    }
}

fn misdirected() -> Error {
    Error::with_message(ErrorKind::State, "a request that goes elsewhere")
}
