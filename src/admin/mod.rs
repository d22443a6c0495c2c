//! [`Admin`]: topics, their configs, and groups.
//!
//! Each call has one deadline, `default.api.timeout.ms`, which its retries spend. Where a call is about several things,
//! each has its own outcome: one topic that exists already does not hide that the others were made. Dropping a call's
//! future loses its answer; what was sent may still be done.

mod groups;
mod topics;
mod types;

pub use types::{
    ConfigEntry, ConfigSource, GroupDescription, GroupListing, GroupOffset, MemberDescription, NewTopic,
    PartitionDescription, TopicDescription, TopicListing,
};

use crate::client::Client;
use crate::error::{Certainty, Error, ErrorCode, Result};
use crate::ids::NodeId;
use crate::net::brokers::Purpose;
use crate::wire::{Request, StrBytes};
use std::collections::BTreeMap;
use std::time::Instant;

/// Outcomes by name: of a topic or a group.
pub type Outcomes<T> = BTreeMap<String, Result<T>>;

/// Looks after topics and groups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Client {
    /// An admin over this client's connections.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone() }
    }
}

impl Admin {
    /// Asks the controller, wherever it has moved to, until the deadline. `request` makes the one for a version;
    /// `refused` is the code by which an answer says that it was given to the wrong broker.
    async fn call_controller<R: Request>(
        &self,
        request: impl Fn(i16) -> R,
        refused: impl Fn(&R::Response) -> Option<ErrorCode>,
    ) -> Result<R::Response> {
        let deadline = self.client.api_deadline();
        let mut backoff = self.client.backoff();
        loop {
            let mut cluster = self.client.cluster();
            if cluster.controller.is_none() {
                cluster = self.client.refreshed(cluster.generation, deadline).await?;
            }
            let error = match self.call_this_controller(cluster.controller, &request, deadline).await {
                Ok(answer) => match refused(&answer) {
                    Some(code) => Error::broker(code),
                    None => return Ok(answer),
                },
                // What may have been done is not asked for twice: "it exists already" would be our own doing.
                Err(error) if error.is_retriable() && error.delivery_certainty() == Some(Certainty::NotSent) => error,
                Err(error) => return Err(error),
            };
            self.client.wait_to_retry(&mut backoff, deadline, error).await?;
            self.client.refreshed(cluster.generation, deadline).await?;
        }
    }

    async fn call_this_controller<R: Request>(
        &self,
        controller: Option<NodeId>,
        request: impl Fn(i16) -> R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let nobody = || Error::broker(ErrorCode::NotController).certainty(Certainty::NotSent);
        let node = controller.ok_or_else(nobody)?;
        let connection = self.client.connection(node, Purpose::General, deadline).await?;
        let version = connection.versions().pick::<R>().map_err(|error| connection.place(error))?;
        connection.call(&request(version), version, self.client.call_timeout(deadline)).await
    }

    fn timeout_ms(&self, deadline: Instant) -> i32 {
        i32::try_from(self.client.call_timeout(deadline).as_millis()).unwrap_or(i32::MAX)
    }
}

/// An item's outcome, with the broker's own words.
fn outcome(code: i16, message: Option<StrBytes>, topic: Option<&str>) -> Result<()> {
    ErrorCode::check(code).map_err(|code| {
        let mut error = Error::broker(code);
        if let Some(topic) = topic {
            error = error.topic(topic);
        }
        match message.filter(|message| !message.is_empty()) {
            Some(message) => error.message(message.to_string()),
            None => error,
        }
    })
}
