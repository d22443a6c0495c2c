//! What a transactional producer asks its coordinators, in the versions that go with the transaction's.

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::NodeId;
use crate::machine::transaction::{TransactionCall, TransactionRequest, TransactionResponse, TransactionVersion};
use crate::net::brokers::Purpose;
use crate::net::connection::Connection;
use crate::wire::Request;
use crate::wire::api_versions::BrokerVersions;
use crate::wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use crate::wire::produce::FIRST_OF_TRANSACTION_2;
use std::ops::RangeInclusive;
use std::time::Instant;

/// AddPartitionsToTxn is the brokers' own from v4 on.
const ADD_PARTITIONS: RangeInclusive<i16> = 0..=3;
/// EndTxn v5 and TxnOffsetCommit v5 belong to `transaction.version` 2.
const FIRST_END_OF_2: i16 = 5;
/// InitProducerId takes who we are (KIP-360).
const FIRST_WITH_EPOCH: i16 = 3;
/// TxnOffsetCommit takes who consumed (KIP-447).
const FIRST_WITH_MEMBER: i16 = 3;
/// Below, AddOffsetsToTxn does not know TRANSACTION_ABORTABLE: a broker without it has no `transaction.version` 2.
const FIRST_ABORTABLE: i16 = 4;

/// Asks once. A new connection that fails spends of the call's time; the machine asks again.
pub(super) async fn call(
    client: &Client,
    producer: u64,
    call: TransactionCall,
    deadline: Instant,
) -> Result<TransactionResponse> {
    let answer = match (call.to, call.request) {
        (None, TransactionRequest::FindCoordinator(key)) => {
            return client.find_coordinator(&key, deadline).await.map(TransactionResponse::FindCoordinator);
        }
        (Some(node), request) => {
            at(client, (node, Purpose::Transaction(producer)), call.version, request, deadline).await
        }
        (None, _) => return Err(Error::with_message(ErrorKind::State, "a request that goes to a coordinator")),
    };
    if let Err(error) = &answer
        && error.kind() == ErrorKind::Connection
    {
        client.refresh(client.cluster().generation); // it may listen elsewhere by now
    }
    answer
}

async fn at(
    client: &Client,
    (node, purpose): (NodeId, Purpose),
    version: TransactionVersion,
    request: TransactionRequest,
    deadline: Instant,
) -> Result<TransactionResponse> {
    let connection = client.connection(node, purpose, deadline).await?;
    let call = Call { client, connection: &connection, deadline };
    let ending = match version {
        TransactionVersion::One => 0..=FIRST_END_OF_2 - 1,
        TransactionVersion::Two => FIRST_END_OF_2..=i16::MAX,
    };
    Ok(match request {
        TransactionRequest::InitProducerId(request) => {
            let least = if request.producer_id.0 >= 0 { FIRST_WITH_EPOCH } else { 0 };
            let answer = call.send::<InitProducerIdRequest>(least..=i16::MAX, request).await?;
            TransactionResponse::InitProducerId(answer, supported(connection.versions()))
        }
        TransactionRequest::AddPartitionsToTxn(request) => TransactionResponse::AddPartitionsToTxn(
            call.send::<AddPartitionsToTxnRequest>(ADD_PARTITIONS, request).await?,
        ),
        TransactionRequest::AddOffsetsToTxn(request) => {
            TransactionResponse::AddOffsetsToTxn(call.send::<AddOffsetsToTxnRequest>(0..=i16::MAX, request).await?)
        }
        TransactionRequest::TxnOffsetCommit(request) => {
            let least = if request.generation_id >= 0 { FIRST_WITH_MEMBER } else { 0 };
            let versions = least.max(*ending.start())..=*ending.end();
            TransactionResponse::TxnOffsetCommit(call.send::<TxnOffsetCommitRequest>(versions, request).await?)
        }
        TransactionRequest::EndTxn(request) => {
            let answer = call.send::<EndTxnRequest>(ending, request).await?;
            TransactionResponse::EndTxn(answer, supported(connection.versions()))
        }
        TransactionRequest::FindCoordinator(_) => {
            return Err(Error::with_message(ErrorKind::State, "a request that goes to any broker"));
        }
    })
}

struct Call<'a> {
    client: &'a Client,
    connection: &'a Connection,
    deadline: Instant,
}

impl Call<'_> {
    async fn send<R: Request>(&self, versions: RangeInclusive<i16>, request: R) -> Result<R::Response> {
        let version = self.connection.versions().pick_in::<R>(versions);
        let version = version.map_err(|error| self.connection.place(error))?;
        self.connection.call(&request, version, self.client.call_timeout(self.deadline)).await
    }
}

/// Version 2 takes the finalized feature and every API that it changed, or the transaction could not be led to its end.
fn supported(versions: &BrokerVersions) -> TransactionVersion {
    let has = |api, least| versions.max(api).is_some_and(|most| most >= least);
    let all = versions.feature("transaction.version") >= 2
        && has(ApiKey::Produce, FIRST_OF_TRANSACTION_2)
        && has(ApiKey::EndTxn, FIRST_END_OF_2)
        && has(ApiKey::TxnOffsetCommit, FIRST_END_OF_2)
        && has(ApiKey::AddOffsetsToTxn, FIRST_ABORTABLE);
    if all { TransactionVersion::Two } else { TransactionVersion::One }
}
