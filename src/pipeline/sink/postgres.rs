//! The PostgreSQL sink: positions and rows in one transaction, a batch as arrays in one statement, bad rows found by
//! bisection inside savepoints.
//!
//! ```text
//! BEGIN                                          -+
//!   UPDATE kafka_sink_offsets …   the fence, one   | sent at once; by halves again
//!                     a partition, in order        | where a row is refused
//!   SAVEPOINT half; INSERT … unnest …             -+
//! (a row that is there already: again with ON CONFLICT, and so for some batches)
//! (refused rows go to T.dlq, flushed)
//! COMMIT
//! ```
//!
//! TLS: `sslmode.rs`; the password: `password.rs`. Every session sets `idle_in_transaction_session_timeout` and
//! `lock_timeout`, so that a stopped process can't hold a partition's row for ever.

use crate::pipeline::event;
use crate::pipeline::sink::bisect::Bisection;
use crate::pipeline::sink::columns::Columns;
use crate::pipeline::sink::password::Environment;
use crate::pipeline::sink::schema::Insert;
use crate::pipeline::sink::sqlstate::{advice, class_of};
use crate::pipeline::sink::sslmode::Tls;
use crate::pipeline::sink::words::taken_out;
use crate::pipeline::sink::{Batch, Claim, Class, Move, Refused, Scope, Staged, Store, StoreError, schema};
use crate::tls;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::{try_join, try_join_all, try_join3};
use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Config, NoTls, Statement, error::SqlState, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

/// After a lost answer of a stopped or partitioned process the server lets go of its transaction within this time.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '10s'";

/// Before the first try of a batch's rows, after one that was kept, after one that was refused.
const SAVEPOINT: &str = "SAVEPOINT half";
const NEXT_SAVEPOINT: &str = "RELEASE SAVEPOINT half; SAVEPOINT half";
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT half";

/// A database that keeps a sink's rows and positions.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    scope: Scope,
    /// The statement for the table as the catalog had it.
    insert: Option<Arc<Insert>>,
    /// The connection with an open transaction.
    open: Option<Session>,
    /// So many batches are still written with `ON CONFLICT`, since a row of one was there already.
    careful: u32,
}

/// After a row that was there already, so many batches without one before the next is tried as all new: what a failure
/// has written remains in the table as dead rows until it is vacuumed.
const CAREFUL: u32 = 16;

impl PostgresStore {
    /// A store at this URL; connects when it is first used, and makes missing tables then. TLS as libpq's `sslmode`,
    /// `sslrootcert`, `sslcert` and `sslkey` say, whose files are read now. A password that is not in the URL is that of
    /// `PGPASSWORD`, or of a password file: `passfile` in the URL, `PGPASSFILE`, `~/.pgpass`.
    ///
    /// # Errors
    /// A URL that can't be, or files that are none; never with the password.
    pub fn new(url: &str, scope: Scope) -> Result<Self, StoreError> {
        let wrong = |why: String| StoreError::configuration(format!("--to: {why}"));
        // What is wrong may be a piece of a password, if that has a character in it that ends one.
        let has_stray = url.matches('@').count() > 1;
        let unread = |why: String| match has_stray {
            true => wrong("no URL; within a user and a password @ is %40, / is %2F and ? is %3F".to_owned()),
            false => wrong(why),
        };
        let names = [&Tls::WORDS[..], &["passfile"]].concat();
        let (url, words) = taken_out(url, &names).map_err(unread)?;
        let tls = Tls::new(&words).map_err(unread)?;
        let mut config = Config::from_str(&url).map_err(|error| unread(chain(&error)))?;
        config.ssl_mode(tls.negotiation());
        if config.get_hosts().is_empty() {
            // TLS wants a name to ask for.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        let passfile = words.get("passfile").map(String::as_str);
        Environment::of_this_process().complete(&mut config, passfile).map_err(wrong)?;
        if config.get_application_name().is_none() {
            config.application_name("milena sink");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match tls.client_config().map_err(wrong)? {
            Some(tls) => Manager::from_config(config, MakeRustlsConnect::new(tls), recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        let prepare = Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .post_create(prepare)
            .build()
            .map_err(|error| StoreError::configuration(error.to_string()))?;
        Ok(Self { pool, scope, insert: None, open: None, careful: 0 })
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
    async fn ready(&mut self) -> Result<(Session, Arc<Insert>), StoreError> {
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

    async fn look_at_tables(&self, connection: &Session) -> Result<Arc<Insert>, StoreError> {
        let what = self.scope.what;
        make_missing(connection, "kafka_sink_offsets", schema::OFFSETS_DDL).await?;
        make_missing(connection, what.table(), schema::ddl(what)).await?;
        let catalog: Vec<(String, String)> = connection
            .query(schema::COLUMNS, &[&what.table()])
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, tokio_postgres::Error>>()?;
        schema::insert(what, &catalog).map(Arc::new).map_err(StoreError::configuration)
    }

    async fn write(&mut self, connection: &Session, insert: &Insert, batch: &Batch) -> Result<Staged, StoreError> {
        let fence = connection.prepare_cached(schema::MOVE).await?;
        let statement = connection.prepare_cached(&insert.sql).await?;
        let plain = match &insert.plain {
            Some(plain) if self.careful == 0 => Some(connection.prepare_cached(plain).await?),
            _ => None,
        };
        let columns = Columns::of(&batch.rows, &insert.arrays);
        let mut bisection = Bisection::new(columns.len());
        let mut written = 0;
        let Some(mut range) = bisection.next_range() else {
            let (_, fenced) =
                try_join(run(connection, "BEGIN"), self.move_positions(connection, &fence, &batch.moves)).await?;
            return if fenced.is_empty() { Ok(Staged::default()) } else { Err(StoreError::Fenced(fenced)) };
        };
        // One flight: whether the fence held is seen before anything is committed.
        let (_, fenced, mut tried) = try_join3(
            run(connection, "BEGIN"),
            self.move_positions(connection, &fence, &batch.moves),
            try_insert(connection, SAVEPOINT, plain.as_ref().unwrap_or(&statement), &columns, &range),
        )
        .await?;
        if !fenced.is_empty() {
            return Err(StoreError::Fenced(fenced));
        }
        if plain.is_some() && matches!(tried, Err(Refusal { is_there: true, .. })) {
            self.careful = CAREFUL;
            tried = try_insert(connection, ROLLBACK, &statement, &columns, &range).await?;
        }
        loop {
            let before = match tried {
                Ok(rows) => {
                    written += rows;
                    bisection.kept();
                    NEXT_SAVEPOINT
                }
                Err(Refusal { message, .. }) => {
                    bisection.failed(message);
                    ROLLBACK
                }
            };
            match bisection.next_range() {
                Some(next) => range = next,
                None if before == ROLLBACK => break run(connection, before).await?,
                None => break,
            }
            tried = try_insert(connection, before, &statement, &columns, &range).await?;
        }
        let refused = bisection.into_refused().into_iter();
        let refused: Vec<_> = refused.map(|(row, message)| Refused { row: columns.row(row), message }).collect();
        let present = (columns.len() - refused.len()) as u64 - written;
        self.careful = if present > 0 { CAREFUL } else { self.careful.saturating_sub(1) };
        // Rows that a later one of their key replaced are written: their key's row is there.
        let folded = (batch.rows.len() - columns.len()) as u64;
        Ok(Staged { written: written + folded, present, refused })
    }

    /// The partitions that are not where their owner left them. The statements are sent at once, in order.
    async fn move_positions(
        &self,
        connection: &Session,
        statement: &Statement,
        moves: &[Move],
    ) -> Result<Vec<i32>, StoreError> {
        let Scope { group, topic, .. } = &self.scope;
        let updated = try_join_all(moves.iter().map(|step| async move {
            let Move { partition, old, new, owner } = step;
            connection.execute(statement, &[new, group, topic, partition, old, owner]).await
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

/// A row's fault.
struct Refusal {
    message: String,
    /// Its id is in the table.
    is_there: bool,
}

/// Writes rows inside a savepoint; a row's fault is the inner error, and the transaction is to be rolled back to it.
async fn try_insert(
    connection: &Session,
    before: &str,
    statement: &Statement,
    columns: &Columns<'_>,
    range: &Range<usize>,
) -> Result<Result<u64, Refusal>, StoreError> {
    let values = columns.slice(range);
    let params: Vec<_> = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
    let inserted = async {
        match connection.execute(statement, &params).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) if StoreError::class(&error) == Class::Row => {
                let is_there = error.code() == Some(&SqlState::UNIQUE_VIOLATION);
                Ok(Err(Refusal { message: describe(&error), is_there }))
            }
            Err(error) => Err(error.into()),
        }
    };
    // Sent in this order, and answered in this order.
    let ((), inserted) = try_join(run(connection, before), inserted).await?;
    Ok(inserted)
}

async fn run(connection: &Session, sql: &str) -> Result<(), StoreError> {
    Ok(connection.batch_execute(sql).await?)
}

impl StoreError {
    fn class(error: &tokio_postgres::Error) -> Class {
        match error.code() {
            Some(code) => class_of(code.code()),
            None if tls::failure::cause(error).and_then(tls::failure::advice).is_some() => Class::Configuration,
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
        let advice = match error.code() {
            Some(code) if class == Class::Configuration => Some(advice(code.code())),
            Some(_) => None,
            None if message.ends_with(NO_PASSWORD) => {
                Some("PGPASSWORD or a password file (~/.pgpass) has one, if the URL names a user")
            }
            None if message.ends_with(NO_TLS) => Some("set ssl=on there, or sslmode=prefer or disable in --to"),
            None => tls::failure::cause(&error).and_then(tls::failure::advice),
        };
        if let Some(advice) = advice {
            message.push_str("; ");
            message.push_str(advice);
        }
        Self::Database { class, message }
    }
}

/// tokio-postgres's words for a server that answers the request for TLS with no.
const NO_TLS: &str = "server does not support TLS";

/// And where the server asks for one and there is none.
const NO_PASSWORD: &str = "password missing";

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
