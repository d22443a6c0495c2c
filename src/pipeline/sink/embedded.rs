//! The embedded sink: one redb file with the tables and the positions, no server. Rows and positions go in one write
//! transaction, durable when `commit` answers; kill -9 at any instant loses nothing, the file repairs itself.
//!
//! One process at a time may have the file open.

use crate::pipeline::sink::{
    Batch, Claim, Class, Move, Purchase, Rows, Scope, Staged, Store, StoreError, What, WindowResult,
};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// (group, topic, partition) to (next offset, owner).
pub(super) const OFFSETS: TableDefinition<'static, (&str, &str, i32), (i64, i64)> =
    TableDefinition::new("kafka_sink_offsets");
/// Event id to (Kafka offset, user, product, cents, microseconds).
pub(super) const PURCHASES: TableDefinition<'static, &str, (i64, &str, &str, i64, i64)> =
    TableDefinition::new("purchase_orders");
/// (window, start, key) to (count, cents).
pub(super) const WINDOWS: TableDefinition<'static, (&str, i64, &str), (i64, i64)> =
    TableDefinition::new("window_results");

/// A redb file that keeps a sink's rows and positions.
pub struct EmbeddedStore {
    path: PathBuf,
    scope: Arc<Scope>,
    /// `None` after an error of the disk: redb wants the file opened anew then.
    database: Option<Arc<Database>>,
    open: Option<WriteTransaction>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the file, or makes it with its tables.
    ///
    /// # Errors
    /// A sentence: the path can't be written, another process has it open, or it is no such file.
    pub fn open(path: &Path, scope: Scope) -> Result<Self, StoreError> {
        let database = open(path)?;
        Ok(Self { path: path.to_owned(), scope: Arc::new(scope), database: Some(Arc::new(database)), open: None })
    }

    /// Every purchase in the file: its id and its cents.
    ///
    /// # Errors
    /// The disk's.
    pub async fn purchases(&mut self) -> Result<HashMap<String, Option<i64>>, StoreError> {
        let read = |database: &Database| -> Result<HashMap<String, Option<i64>>, redb::Error> {
            let table = database.begin_read()?.open_table(PURCHASES)?;
            let mut found = HashMap::new();
            for entry in table.iter()? {
                let (id, row) = entry?;
                found.insert(id.value().to_owned(), Some(row.value().3));
            }
            Ok(found)
        };
        self.blocking(move |database, _| Ok(read(database)?)).await
    }

    /// Runs what reads and writes the disk where it blocks nobody.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Database, &Scope) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, scope, path) = (self.database.take(), self.scope.clone(), self.path.clone());
        let work = move || {
            let database = match database {
                Some(database) => database,
                None => Arc::new(open(&path)?),
            };
            let done = work(&database, &scope)?;
            Ok((database, done))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok((database, done))) => {
                self.database = Some(database);
                Ok(done)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => Err(StoreError::configuration(format!("the embedded sink's work ended early: {error}"))),
        }
    }
}

impl Store for EmbeddedStore {
    async fn claim(&mut self, starts: &[(i32, i64)]) -> Result<Vec<Claim>, StoreError> {
        self.open = None;
        let starts = starts.to_vec();
        self.blocking(move |database, scope| Ok(claim(database, scope, &starts)?)).await
    }

    async fn stage(&mut self, batch: &Arc<Batch>) -> Result<Staged, StoreError> {
        self.open = None;
        let batch = batch.clone();
        let (transaction, staged) = self.blocking(move |database, scope| stage(database, scope, &batch)).await?;
        self.open = Some(transaction);
        Ok(staged)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(transaction) = self.open.take() else { return Ok(()) };
        self.blocking(move |_, _| Ok(transaction.commit().map_err(redb::Error::from)?)).await
    }

    async fn abandon(&mut self) {
        self.open = None;
    }

    async fn is_written(&mut self, batch: &Arc<Batch>) -> Result<bool, StoreError> {
        let batch = batch.clone();
        let read = move |database: &Database, scope: &Scope| -> Result<bool, redb::Error> {
            let table = database.begin_read()?.open_table(OFFSETS)?;
            for step in &batch.moves {
                let found = table.get((scope.group.as_str(), scope.topic.as_str(), step.partition))?;
                if found.map(|found| found.value()) != Some((step.new, step.owner)) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.blocking(move |database, scope| Ok(read(database, scope)?)).await
    }

    async fn positions(&mut self) -> Result<Vec<(i32, i64)>, StoreError> {
        self.blocking(|database, scope| Ok(positions(database, scope)?)).await
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        self.blocking(|database, scope| {
            let count = || -> Result<u64, redb::Error> {
                let reader = database.begin_read()?;
                Ok(match scope.what {
                    What::Purchases => reader.open_table(PURCHASES)?.len()?,
                    What::Windows => reader.open_table(WINDOWS)?.len()?,
                })
            };
            Ok(count()?)
        })
        .await
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let make = || -> Result<Database, redb::Error> {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(OFFSETS)?;
        transaction.open_table(PURCHASES)?;
        transaction.open_table(WINDOWS)?;
        transaction.commit()?;
        Ok(database)
    };
    make().map_err(|error| match StoreError::from(error) {
        StoreError::Database { class, message } => {
            StoreError::Database { class, message: format!("{}: {message}", path.display()) }
        }
        fenced => fenced,
    })
}

fn claim(database: &Database, scope: &Scope, starts: &[(i32, i64)]) -> Result<Vec<Claim>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut claims = Vec::with_capacity(starts.len());
    {
        let mut table = transaction.open_table(OFFSETS)?;
        for &(partition, start) in starts {
            let key = (scope.group.as_str(), scope.topic.as_str(), partition);
            let found = table.get(key)?.map(|found| found.value());
            let (next_offset, owner) = found.map_or((start, 1), |(next, owner)| (next, owner + 1));
            table.insert(key, (next_offset, owner))?;
            claims.push(Claim { partition, next_offset, owner });
        }
    }
    transaction.commit()?;
    Ok(claims)
}

fn stage(database: &Database, scope: &Scope, batch: &Batch) -> Result<(WriteTransaction, Staged), StoreError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let fenced = move_positions(&transaction, scope, &batch.moves)?;
    if !fenced.is_empty() {
        return Err(StoreError::Fenced(fenced));
    }
    let staged = match &batch.rows {
        Rows::Purchases(rows) => write_purchases(&transaction, rows)?,
        Rows::Windows(rows) => write_windows(&transaction, rows)?,
    };
    Ok((transaction, staged))
}

/// The partitions that are not where their owner left them.
fn move_positions(transaction: &WriteTransaction, scope: &Scope, moves: &[Move]) -> Result<Vec<i32>, redb::Error> {
    let mut table = transaction.open_table(OFFSETS)?;
    let mut fenced = Vec::new();
    for step in moves {
        let key = (scope.group.as_str(), scope.topic.as_str(), step.partition);
        if table.get(key)?.map(|found| found.value()) == Some((step.old, step.owner)) {
            table.insert(key, (step.new, step.owner))?;
        } else {
            fenced.push(step.partition);
        }
    }
    Ok(fenced)
}

fn write_purchases(transaction: &WriteTransaction, rows: &[Purchase]) -> Result<Staged, redb::Error> {
    let mut table = transaction.open_table(PURCHASES)?;
    let mut staged = Staged::default();
    for row in rows {
        if table.get(row.event_id.as_str())?.is_some() {
            staged.present += 1;
            continue;
        }
        let value =
            (row.kafka_offset, row.user_id.as_str(), row.product_id.as_str(), row.price_cents, row.purchase_time);
        table.insert(row.event_id.as_str(), value)?;
        staged.written += 1;
    }
    Ok(staged)
}

fn write_windows(transaction: &WriteTransaction, rows: &[WindowResult]) -> Result<Staged, redb::Error> {
    let mut table = transaction.open_table(WINDOWS)?;
    for row in rows {
        table.insert((row.window.as_str(), row.start_ms, row.key.as_str()), (row.count, row.sum_cents))?;
    }
    Ok(Staged { written: rows.len() as u64, ..Staged::default() })
}

fn positions(database: &Database, scope: &Scope) -> Result<Vec<(i32, i64)>, redb::Error> {
    let table = database.begin_read()?.open_table(OFFSETS)?;
    let (group, topic) = (scope.group.as_str(), scope.topic.as_str());
    let mut found = Vec::new();
    for entry in table.range((group, topic, 0)..=(group, topic, i32::MAX))? {
        let (key, value) = entry?;
        found.push((key.value().2, value.value().0));
    }
    Ok(found)
}

impl From<redb::Error> for StoreError {
    /// A full disk is waited for; a file that is broken, or of another kind, is not.
    fn from(error: redb::Error) -> Self {
        let class = match error {
            redb::Error::Io(_) | redb::Error::PreviousIo => Class::Transient,
            _ => Class::Configuration,
        };
        Self::Database { class, message: explain(&error) }
    }
}

fn explain(error: &redb::Error) -> String {
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            "another process has this file open: an embedded sink serves one process at a time".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(what: What) -> Scope {
        Scope { group: "g".to_owned(), topic: "t".to_owned(), what }
    }

    /// A directory of this test's own, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("milena-sink-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn open(&self, what: What) -> EmbeddedStore {
            EmbeddedStore::open(&self.0.join("sink.redb"), scope(what)).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn batch(moves: &[(i32, i64, i64, i64)], ids: &[&str]) -> Arc<Batch> {
        let purchase = |id: &&str| Purchase {
            kafka_offset: 1,
            event_id: (*id).to_owned(),
            user_id: "1000".to_owned(),
            product_id: "Laptop_X1".to_owned(),
            price_cents: 1_999,
            purchase_time: 5,
        };
        let step = |&(partition, old, new, owner): &(i32, i64, i64, i64)| Move { partition, old, new, owner };
        let moves = moves.iter().map(step).collect();
        Arc::new(Batch { moves, rows: Rows::Purchases(ids.iter().map(purchase).collect()) })
    }

    #[tokio::test]
    async fn rows_and_positions_are_written_together_or_not_at_all() {
        let directory = Directory::new("together");
        let mut store = directory.open(What::Purchases);
        let claims = store.claim(&[(0, 3), (1, 0)]).await.unwrap();
        assert_eq!((claims[0].next_offset, claims[0].owner), (3, 1), "from the log's start, not from zero");
        let work = batch(&[(0, 3, 10, 1), (1, 0, 2, 1)], &["a", "b"]);
        store.stage(&work).await.unwrap();
        store.abandon().await;
        assert_eq!((store.count().await.unwrap(), store.is_written(&work).await.unwrap()), (0, false));
        let staged = store.stage(&work).await.unwrap();
        assert_eq!((staged.written, staged.present), (2, 0));
        store.commit().await.unwrap();
        assert!(store.is_written(&work).await.unwrap());
        drop(store);

        let mut again = directory.open(What::Purchases);
        assert_eq!(again.positions().await.unwrap(), [(0, 10), (1, 2)]);
        let claims = again.claim(&[(0, 3)]).await.unwrap();
        assert_eq!((claims[0].next_offset, claims[0].owner), (10, 2), "a restart goes on where the rows end");
        let staged = again.stage(&batch(&[(0, 10, 12, 2)], &["b", "c", "c"])).await.unwrap();
        assert_eq!((staged.written, staged.present), (1, 2), "an id is stored once");
        again.commit().await.unwrap();
        assert_eq!(again.count().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_zombie_is_fenced_and_its_rows_stay_out() {
        let directory = Directory::new("fence");
        let mut store = directory.open(What::Purchases);
        store.claim(&[(0, 0), (1, 0)]).await.unwrap();
        store.claim(&[(1, 0)]).await.unwrap();
        let zombie = batch(&[(0, 0, 5, 1), (1, 0, 5, 1)], &["z"]);
        assert_eq!(store.stage(&zombie).await, Err(StoreError::Fenced(vec![1])));
        store.commit().await.unwrap();
        assert_eq!((store.count().await.unwrap(), store.positions().await.unwrap()), (0, vec![(0, 0), (1, 0)]));
    }

    #[tokio::test]
    async fn a_later_window_row_replaces_the_former() {
        let directory = Directory::new("windows");
        let mut store = directory.open(What::Windows);
        store.claim(&[(0, 0)]).await.unwrap();
        let row =
            |count| WindowResult { window: "gmv_1m".to_owned(), start_ms: 0, key: String::new(), count, sum_cents: 10 };
        let moves = vec![Move { partition: 0, old: 0, new: 3, owner: 1 }];
        store.stage(&Arc::new(Batch { moves, rows: Rows::Windows(vec![row(1), row(2)]) })).await.unwrap();
        store.commit().await.unwrap();
        assert_eq!(store.count().await.unwrap(), 1);
    }

    #[test]
    fn two_processes_cant_share_the_file_and_it_says_so() {
        let directory = Directory::new("shared");
        let _first = directory.open(What::Purchases);
        let error = EmbeddedStore::open(&directory.0.join("sink.redb"), scope(What::Purchases)).unwrap_err();
        assert!(error.to_string().contains("one process at a time"), "{error}");
        let error = EmbeddedStore::open(&directory.0.join("no/such/directory"), scope(What::Purchases)).unwrap_err();
        assert!(error.to_string().contains("no/such/directory"), "{error}");
    }
}
