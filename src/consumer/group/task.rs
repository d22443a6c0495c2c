//! The group's task: drives the machine, and gives it the brokers and the client's metadata.

use super::{Progress, lock};
use crate::client::Client;
use crate::consumer::metrics::Counts;
use crate::error::{Certainty, Error, ErrorCode, ErrorKind, Result};
use crate::ids::{NodeId, TopicId};
use crate::machine::group::group_topics::GroupTopics;
use crate::machine::group::{ConsumerCoordinator, GroupCall, GroupEvent, GroupRequest, GroupResponse, To};
use crate::net::brokers::Purpose;
use crate::net::connection::Connection;
use crate::net::drive::{Call, Command, drive};
use crate::wire::Request;
use crate::wire::group_requests::{fit_leave_group, fit_offset_fetch, lift_offset_fetch};
use crate::wire::messages::MetadataRequest;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::MetadataResponseTopic;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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
                    Box::new(move |machine, now| machine.metadata(now, &snapshot))
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
    /// See [`Shared`](crate::consumer::Shared).
    pub(super) auto_create: Arc<AtomicBool>,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) counts: Arc<Counts>,
    /// Told of [`Progress::refused`].
    pub(super) refused: Arc<Notify>,
}

impl Call<ConsumerCoordinator> for GroupCaller {
    fn call(&self, call: GroupCall) -> impl Future<Output = Result<GroupResponse>> + Send {
        let (client, id) = (self.client.clone(), self.id);
        let (auto_create, progress) = (self.auto_create.load(Ordering::Relaxed), self.progress.clone());
        let (refused, counts) = (self.refused.clone(), self.counts.clone());
        async move {
            let (asked, is_commit) = (client.now(), matches!(call.request, GroupRequest::OffsetCommit(_)));
            let deadline = asked + call.timeout;
            let answer = match call.to {
                To::Any => find_coordinator(&client, call.request, deadline).await,
                To::Metadata => match call.request {
                    GroupRequest::Topics(topics) => {
                        lock(&progress).interest = client.want_topics(topics.iter().cloned(), auto_create);
                        partition_counts(&client, topics, deadline).await
                    }
                    GroupRequest::TopicNames(ids) => topic_names(&client, ids, deadline).await,
                    _ => Err(misdirected()),
                },
                To::Group(node) => at(&client, node, Purpose::Group(id), call.request, deadline).await,
                To::Join(node) => at(&client, node, Purpose::Join(id), call.request, deadline).await,
            };
            if is_commit {
                counts.on_commit(&answer, client.now() - asked);
            }
            let code = match &answer {
                Ok(GroupResponse::Heartbeat(answer)) => Some(answer.error_code),
                Ok(GroupResponse::ConsumerGroupHeartbeat(answer)) => Some(answer.error_code),
                _ => None,
            };
            if code == Some(0) {
                lock(&progress).last_heartbeat = Some(client.now());
            }
            if let Err(error) = &answer
                && error.kind() == ErrorKind::Connection
            {
                // It may listen elsewhere by now.
                client.refresh(client.cluster().generation);
            }
            match answer {
                Err(error) if is_refusal(&error) => {
                    lock(&progress).refused = Some(error.clone());
                    refused.notify_one();
                    Err(error.of_kind(ErrorKind::Connection))
                }
                Err(error) => Err(error),
                Ok(answer) => {
                    let kept_from = kept_from(&answer);
                    if kept_from.is_some() {
                        refused.notify_one();
                    }
                    lock(&progress).refused = kept_from;
                    Ok(answer)
                }
            }
        }
    }
}

/// Whether no connection could be had, for a reason that another attempt does not cure by itself: a password, a certificate, no
/// token. That is not an answer of the coordinator's, so it ends no membership; the application is told, and may go on.
fn is_refusal(error: &Error) -> bool {
    let kinds = [ErrorKind::Denied, ErrorKind::Tls, ErrorKind::Config, ErrorKind::Malformed, ErrorKind::State];
    kinds.contains(&error.kind()) && error.delivery_certainty() == Some(Certainty::NotSent)
}

/// What a heartbeat was answered that ends no membership, and that the application should know.
fn kept_from(answer: &GroupResponse) -> Option<Error> {
    let (api, code) = match answer {
        GroupResponse::Heartbeat(answer) => ("Heartbeat", answer.error_code),
        GroupResponse::ConsumerGroupHeartbeat(answer) => ("ConsumerGroupHeartbeat", answer.error_code),
        _ => return None,
    };
    let code = ErrorCode::from_wire(code)?;
    let is_told = match answer {
        GroupResponse::Heartbeat(_) => code == ErrorCode::GroupAuthorizationFailed,
        _ => code == ErrorCode::TopicAuthorizationFailed,
    };
    is_told.then(|| Error::broker(code).api(api))
}

async fn find_coordinator(client: &Client, request: GroupRequest, deadline: Instant) -> Result<GroupResponse> {
    let GroupRequest::FindCoordinator(key) = request else { return Err(misdirected()) };
    client.find_coordinator(&key, deadline).await.map(GroupResponse::FindCoordinator)
}

async fn partition_counts(client: &Client, topics: Vec<Arc<str>>, deadline: Instant) -> Result<GroupResponse> {
    let cluster = client.refreshed(client.cluster().generation, deadline).await?;
    Ok(GroupResponse::Topics(GroupTopics::of(&cluster, &topics)))
}

/// Topics that nobody here has asked for by name, so that the client's own metadata may not have them.
async fn topic_names(client: &Client, ids: Vec<TopicId>, deadline: Instant) -> Result<GroupResponse> {
    let by_id = |id: TopicId| MetadataRequestTopic::default().with_name(None).with_topic_id(id.into());
    let request = MetadataRequest::default()
        .with_topics(Some(ids.into_iter().map(by_id).collect()))
        .with_allow_auto_topic_creation(false);
    let answer = client.call_any(&request, deadline).await?;
    let named = |topic: MetadataResponseTopic| {
        let name = topic.name.filter(|_| topic.error_code == 0)?;
        Some((TopicId::from(topic.topic_id), Arc::from(name.as_str())))
    };
    Ok(GroupResponse::TopicNames(answer.topics.into_iter().filter_map(named).collect()))
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
        GroupRequest::ConsumerGroupHeartbeat(request) => {
            let since = i16::from(request.subscribed_topic_regex.is_some());
            GroupResponse::ConsumerGroupHeartbeat(call.send_since(since, |_| request.clone()).await?.0)
        }
        GroupRequest::OffsetCommit(request) => GroupResponse::OffsetCommit(call.send(|_| request.clone()).await?.0),
        GroupRequest::OffsetFetch(request) => {
            let (answer, version) = call.send(|version| fit_offset_fetch(request.clone(), version)).await?;
            GroupResponse::OffsetFetch(lift_offset_fetch(answer, version))
        }
        GroupRequest::FindCoordinator(_) | GroupRequest::Topics(_) | GroupRequest::TopicNames(_) => {
            return Err(misdirected());
        }
    })
}

struct Sending<'a> {
    client: &'a Client,
    connection: &'a Connection,
    deadline: Instant,
}

impl Sending<'_> {
    async fn send<R: Request>(&self, request: impl Fn(i16) -> R) -> Result<(R::Response, i16)> {
        self.send_since(0, request).await
    }

    /// For what older versions lack.
    async fn send_since<R: Request>(&self, since: i16, request: impl Fn(i16) -> R) -> Result<(R::Response, i16)> {
        let versions = self.connection.versions();
        let version = versions.pick_in::<R>(since..=i16::MAX).map_err(|error| self.connection.place(error))?;
        let timeout = self.deadline.saturating_duration_since(self.client.now());
        Ok((self.connection.call(&request(version), version, timeout).await?, version))
    }
}

fn misdirected() -> Error {
    Error::with_message(ErrorKind::State, "a request that goes elsewhere")
}
