//! The PostgreSQL sink: positions and rows in one transaction, a batch as arrays in one statement, bad rows found by
//! bisection inside savepoints.
//!
//! ```text
//! BEGIN
//!   UPDATE kafka_sink_offsets …            one a partition, in order: the fence
//!   SAVEPOINT half; INSERT … unnest …; RELEASE     again by halves where a row is refused
//! (refused rows go to T.dlq, flushed)
//! COMMIT
//! ```
//!
//! Connections are not encrypted yet: `sslmode=require` in the URL is refused. Every session sets
//! `idle_in_transaction_session_timeout` and `lock_timeout`, so that a stopped process can't hold a partition's row for
//! ever.

use crate::pipeline::sink::batch::last_of_each_key;
use crate::pipeline::sink::bisect::Bisection;
use crate::pipeline::sink::sqlstate::{advice, class_of};
use crate::pipeline::sink::{
    Batch, Claim, Class, Move, Refused, Rows, Scope, Staged, Store, StoreError, decimal, schema,
};
use crate::pipeline::{event, timestamp};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::try_join_all;
use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Config, NoTls, config::SslMode, types::ToSql};

/// After a lost answer of a stopped or partitioned process the server lets go of its transaction within this time.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '10s'";

/// A database that keeps a sink's rows and positions.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    scope: Scope,
    /// The statement for the table as the catalog had it.
    insert: Option<Arc<str>>,
    /// The connection with an open transaction.
    open: Option<Session>,
}

impl PostgresStore {
    /// A store at this URL; connects when it is first used, and makes missing tables then.
    ///
    /// # Errors
    /// A URL that can't be, or that asks for TLS.
    pub fn new(url: &str, scope: Scope) -> Result<Self, StoreError> {
        let mut config =
            Config::from_str(url).map_err(|error| StoreError::configuration(format!("--to: {}", chain(&error))))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(StoreError::configuration("--to: sslmode=require: the sink has no TLS to PostgreSQL yet"));
        }
        if config.get_application_name().is_none() {
            config.application_name("milena sink");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let prepare = Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .post_create(prepare)
            .build()
            .map_err(|error| StoreError::configuration(error.to_string()))?;
        Ok(Self { pool, scope, insert: None, open: None })
    }

    /// Every purchase in the table: its id and its cents, `None` where the price is no amount of cents.
    ///
    /// # Errors
    /// The database's.
    pub async fn purchases(&mut self) -> Result<HashMap<String, Option<i64>>, StoreError> {
        let (session, _) = self.ready().await?;
        let rows = session.query("SELECT event_id::text, price::text FROM purchase_orders", &[]).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let (id, price): (String, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
            found.insert(id, price.and_then(event::exact_cents));
        }
        session.give_back();
        Ok(found)
    }

    /// A connection whose tables are there, and the statement that fits them.
    async fn ready(&mut self) -> Result<(Session, Arc<str>), StoreError> {
        let session = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            error => StoreError::transient(format!("no connection to the database: {error}")),
        })?;
        let session = Session(Some(session));
        let insert = match &self.insert {
            Some(insert) => insert.clone(),
            None => {
                let insert = self.look_at_tables(&session).await?;
                self.insert.insert(insert).clone()
            }
        };
        Ok((session, insert))
    }

    async fn look_at_tables(&self, connection: &Session) -> Result<Arc<str>, StoreError> {
        let what = self.scope.what;
        make_missing(connection, "kafka_sink_offsets", schema::OFFSETS_DDL).await?;
        make_missing(connection, what.table(), schema::ddl(what)).await?;
        let catalog: Vec<(String, String)> = connection
            .query(schema::COLUMNS, &[&what.table()])
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, tokio_postgres::Error>>()?;
        schema::insert(what, &catalog).map(Arc::from).map_err(StoreError::configuration)
    }

    async fn write(&self, connection: &Session, insert: &str, batch: &Batch) -> Result<Staged, StoreError> {
        connection.batch_execute("BEGIN").await?;
        let fenced = self.move_positions(connection, &batch.moves).await?;
        if !fenced.is_empty() {
            return Err(StoreError::Fenced(fenced));
        }
        let columns = Columns::of(&batch.rows);
        let mut bisection = Bisection::new(columns.len());
        let mut written = 0;
        while let Some(range) = bisection.next_range() {
            match try_insert(connection, insert, &columns.slice(range)).await? {
                Ok(rows) => {
                    written += rows;
                    bisection.kept();
                }
                Err(message) => bisection.failed(message),
            }
        }
        let refused: Vec<_> = bisection
            .into_refused()
            .into_iter()
            .map(|(row, message)| Refused { row: columns.rows[row], message })
            .collect();
        let present = (columns.len() - refused.len()) as u64 - written;
        // Rows that a later one of their key replaced are written: their key's row is there.
        let folded = (batch.rows.len() - columns.len()) as u64;
        Ok(Staged { written: written + folded, present, refused })
    }

    /// The partitions that are not where their owner left them. The statements are sent at once, in order.
    async fn move_positions(&self, connection: &Session, moves: &[Move]) -> Result<Vec<i32>, StoreError> {
        let statement = connection.prepare_cached(schema::MOVE).await?;
        let Scope { group, topic, .. } = &self.scope;
        let updated = try_join_all(moves.iter().map(|step| {
            let statement = statement.clone();
            async move {
                let Move { partition, old, new, owner } = step;
                connection.execute(&statement, &[new, group, topic, partition, old, owner]).await
            }
        }))
        .await?;
        let fenced = moves.iter().zip(updated).filter(|(_, updated)| *updated == 0);
        Ok(fenced.map(|(step, _)| step.partition).collect())
    }

    /// (partition, next offset, owner) of all partitions that were ever claimed.
    async fn look_at_positions(&mut self) -> Result<Vec<(i32, i64, i64)>, StoreError> {
        let (session, _) = self.ready().await?;
        let Scope { group, topic, .. } = &self.scope;
        let rows = session.query(schema::POSITIONS, &[group, topic]).await?;
        let found: Result<Vec<_>, tokio_postgres::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect();
        session.give_back();
        Ok(found?)
    }
}

impl Store for PostgresStore {
    async fn claim(&mut self, starts: &[(i32, i64)]) -> Result<Vec<Claim>, StoreError> {
        self.abandon().await;
        let (mut session, _) = self.ready().await?;
        let transaction = session.connection_mut()?.transaction().await?;
        let statement = transaction.prepare_cached(schema::CLAIM).await?;
        let Scope { group, topic, .. } = &self.scope;
        let mut claims = Vec::with_capacity(starts.len());
        for (partition, start) in starts {
            let row = transaction.query_one(&statement, &[group, topic, partition, start]).await?;
            claims.push(Claim { partition: *partition, next_offset: row.try_get(0)?, owner: row.try_get(1)? });
        }
        transaction.commit().await?;
        session.give_back();
        Ok(claims)
    }

    async fn stage(&mut self, batch: &Arc<Batch>) -> Result<Staged, StoreError> {
        self.abandon().await;
        let (session, insert) = self.ready().await?;
        let staged = self.write(&session, &insert, batch).await?;
        self.open = Some(session);
        Ok(staged)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(session) = self.open.take() else { return Ok(()) };
        session.batch_execute("COMMIT").await?;
        session.give_back();
        Ok(())
    }

    async fn abandon(&mut self) {
        self.open = None;
    }

    async fn is_written(&mut self, batch: &Arc<Batch>) -> Result<bool, StoreError> {
        let found = self.look_at_positions().await?;
        let is_there = |step: &Move| found.contains(&(step.partition, step.new, step.owner));
        Ok(batch.moves.iter().all(is_there))
    }

    async fn positions(&mut self) -> Result<Vec<(i32, i64)>, StoreError> {
        Ok(self.look_at_positions().await?.into_iter().map(|(partition, next, _)| (partition, next)).collect())
    }

    async fn count(&mut self) -> Result<u64, StoreError> {
        let (session, _) = self.ready().await?;
        let count = format!("SELECT count(*) FROM {}", self.scope.what.table());
        let count: i64 = session.query_one(&count, &[]).await?.try_get(0)?;
        session.give_back();
        Ok(count.unsigned_abs())
    }
}

/// A connection that goes back to the pool only if nothing was left half done on it. Dropped otherwise it is closed,
/// and the server rolls back, also where a ROLLBACK could not be sent.
#[derive(Debug)]
struct Session(Option<Object>);

impl Session {
    fn give_back(mut self) {
        self.0 = None;
    }

    fn connection_mut(&mut self) -> Result<&mut Object, StoreError> {
        self.0.as_mut().ok_or_else(|| StoreError::transient("the connection is gone"))
    }
}

impl std::ops::Deref for Session {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.0.as_ref().expect("a session has its connection until it is given back")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

/// Makes a table if it is missing. Looked up first: even `IF NOT EXISTS` needs the right to create.
async fn make_missing(connection: &Session, table: &str, ddl: &str) -> Result<(), StoreError> {
    let is_there = async || -> Result<bool, StoreError> {
        Ok(connection.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.try_get(0)?)
    };
    if is_there().await? {
        return Ok(());
    }
    match connection.batch_execute(ddl).await {
        Ok(()) => Ok(()),
        // Two sinks that start together: the other one has made it.
        Err(_) if is_there().await? => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes rows inside a savepoint; a row's fault is the inner error, and the transaction is as before.
async fn try_insert(
    connection: &Session,
    insert: &str,
    columns: &[&[String]],
) -> Result<Result<u64, String>, StoreError> {
    connection.batch_execute("SAVEPOINT half").await?;
    let statement = connection.prepare_cached(insert).await?;
    let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    match connection.execute(&statement, &params).await {
        Ok(rows) => {
            connection.batch_execute("RELEASE SAVEPOINT half").await?;
            Ok(Ok(rows))
        }
        Err(error) if StoreError::class(&error) == Class::Row => {
            connection.batch_execute("ROLLBACK TO SAVEPOINT half; RELEASE SAVEPOINT half").await?;
            Ok(Err(describe(&error)))
        }
        Err(error) => Err(error.into()),
    }
}

/// A batch as the statement takes it: one array of text for each column.
struct Columns {
    columns: Vec<Vec<String>>,
    /// The index in the batch of each row here: of window rows with one key only the last is written.
    rows: Vec<usize>,
}

impl Columns {
    fn of(rows: &Rows) -> Self {
        match rows {
            Rows::Purchases(rows) => Self {
                columns: vec![
                    rows.iter().map(|row| row.kafka_offset.to_string()).collect(),
                    rows.iter().map(|row| row.event_id.clone()).collect(),
                    rows.iter().map(|row| row.user_id.clone()).collect(),
                    rows.iter().map(|row| row.product_id.clone()).collect(),
                    rows.iter().map(|row| decimal(row.price_cents)).collect(),
                    rows.iter().map(|row| timestamp::format(row.purchase_time)).collect(),
                ],
                rows: (0..rows.len()).collect(),
            },
            Rows::Windows(all) => {
                let last = last_of_each_key(all);
                let rows = || last.iter().map(|index| &all[*index]);
                Self {
                    columns: vec![
                        rows().map(|row| row.window.clone()).collect(),
                        rows().map(|row| row.start_ms.to_string()).collect(),
                        rows().map(|row| row.key.clone()).collect(),
                        rows().map(|row| row.count.to_string()).collect(),
                        rows().map(|row| row.sum_cents.to_string()).collect(),
                    ],
                    rows: last,
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn slice(&self, range: Range<usize>) -> Vec<&[String]> {
        self.columns.iter().map(|column| &column[range.clone()]).collect()
    }
}

impl StoreError {
    fn class(error: &tokio_postgres::Error) -> Class {
        match error.code() {
            Some(code) => class_of(code.code()),
            // Without a code it is the connection: refused, broken, timed out. What is left are mistakes of ours.
            None if error.is_closed() || io_error(error) => Class::Transient,
            None => Class::Configuration,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let class = Self::class(&error);
        let mut message = format!("the database: {}", describe(&error));
        if let (Class::Configuration, Some(code)) = (class, error.code()) {
            message.push_str("; ");
            message.push_str(advice(code.code()));
        }
        Self::Database { class, message }
    }
}

fn io_error(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The server's words with SQLSTATE and detail, or the chain of causes.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else { return chain(error) };
    let mut text = format!("{} (SQLSTATE {})", server.message(), server.code().code());
    if let Some(detail) = server.detail() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
