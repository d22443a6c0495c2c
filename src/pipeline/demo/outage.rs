//! A database that can be taken away: what the demo's switch does to a store.

use crate::pipeline::{
    dashboard::Controls,
    sink::{Batch, Claim, Staged, Store, StoreError},
};
use std::sync::Arc;

/// A store behind the switch. While the database is away, all calls answer as one that refuses connections does; what was
/// staged is rolled back.
#[derive(Debug)]
pub(super) struct Switched<S> {
    store: S,
    controls: Controls,
}

impl<S: Store> Switched<S> {
    pub(super) fn new(store: S, controls: Controls) -> Self {
        Self { store, controls }
    }

    /// The store, unless it is away.
    fn reach(&mut self) -> Result<&mut S, StoreError> {
        if self.controls.is_database_away() {
            return Err(StoreError::transient("connection refused: the demo has taken the database away"));
        }
        Ok(&mut self.store)
    }
}

impl<S: Store> Store for Switched<S> {
    async fn claim(&mut self, starts: &[(i32, i64)]) -> Result<Vec<Claim>, StoreError> {
        self.reach()?.claim(starts).await
    }

    async fn stage(&mut self, batch: &Arc<Batch>) -> Result<Staged, StoreError> {
        self.reach()?.stage(batch).await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.reach()?.commit().await
    }

    async fn abandon(&mut self) {
        self.store.abandon().await;
    }

    async fn is_written(&mut self, batch: &Arc<Batch>) -> Result<bool, StoreError> {
        self.reach()?.is_written(batch).await
    }

    async fn positions(&mut self) -> Result<Vec<(i32, i64)>, StoreError> {
        self.reach()?.positions().await
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.reach()?.count().await
    }
}
