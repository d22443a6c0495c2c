//! What the PostgreSQL store promises, against a real server: `protocol-tests/postgres.sh with cargo test …`.
//! Each test has a schema of its own.
#![allow(clippy::disallowed_methods, reason = "tokio-postgres hands its connection over as a task to spawn")]

use milena::pipeline::sink::postgres::PostgresStore;
use milena::pipeline::sink::{
    Batch, Claim, Class, Move, Purchase, Rows, Scope, Staged, Store, StoreError, What, WindowResult,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

struct Database {
    url: String,
    sql: Client,
}

impl Database {
    /// A schema that is empty now.
    async fn new(schema: &str) -> Self {
        let url = std::env::var("POSTGRES_URL").expect("POSTGRES_URL names a server: protocol-tests/postgres.sh start");
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}application_name={schema}-sink&options=-c%20search_path%3D{schema}");
        let (sql, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        sql.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")).await.unwrap();
        Self { url, sql }
    }

    fn store(&self, what: What) -> PostgresStore {
        let scope = Scope { group: "g".to_owned(), topic: "t".to_owned(), what };
        PostgresStore::new(&self.url, scope).unwrap()
    }

    async fn one(&self, query: &str) -> String {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }
}

fn purchase(id: &str, user: &str, cents: i64) -> Purchase {
    Purchase {
        kafka_offset: 7,
        event_id: id.to_owned(),
        user_id: user.to_owned(),
        product_id: "Laptop_X1".to_owned(),
        price_cents: cents,
        purchase_time: 1_705_329_000_123_456,
    }
}

fn batch(moves: &[(i32, i64, i64, i64)], rows: Vec<Purchase>) -> Arc<Batch> {
    let step = |&(partition, old, new, owner): &(i32, i64, i64, i64)| Move { partition, old, new, owner };
    Arc::new(Batch { moves: moves.iter().map(step).collect(), rows: Rows::Purchases(rows) })
}

async fn write(store: &mut PostgresStore, batch: &Arc<Batch>) -> Staged {
    let staged = store.stage(batch).await.unwrap();
    store.commit().await.unwrap();
    staged
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn missing_tables_are_made_and_values_arrive_exactly() {
    let database = Database::new("sink_exact").await;
    let mut store = database.store(What::Purchases);
    let claims = store.claim(&[(0, 3), (4, 0)]).await.unwrap();
    assert_eq!(claims[0], Claim { partition: 0, next_offset: 3, owner: 1 });
    let rows = vec![purchase("a", "1000", 1_999), purchase("b", "1001", 5), purchase("a", "1002", 1)];
    let staged = write(&mut store, &batch(&[(0, 3, 8, 1), (4, 0, 1, 1)], rows)).await;
    assert_eq!((staged.written, staged.present), (2, 1), "an id is stored once");
    let row = "SELECT concat_ws('|', kafka_offset, event_id, user_id, product_id, price, \
               purchase_time AT TIME ZONE 'UTC', created_at IS NOT NULL) FROM purchase_orders WHERE event_id='a'";
    assert_eq!(database.one(row).await, "7|a|1000|Laptop_X1|19.99|2024-01-15 14:30:00.123456|t");
    assert_eq!(database.one("SELECT sum(price)::text FROM purchase_orders").await, "20.04");
    let index = "SELECT count(*)::text FROM pg_indexes WHERE indexdef LIKE '%purchase_orders%(purchase_time)' \
                 AND schemaname='sink_exact'";
    assert_eq!(database.one(index).await, "1");
    assert_eq!(store.positions().await.unwrap(), [(0, 8), (4, 1)]);
    assert_eq!(store.count().await.unwrap(), 2);

    let mut restarted = database.store(What::Purchases);
    let claims = restarted.claim(&[(0, 3)]).await.unwrap();
    assert_eq!(claims[0], Claim { partition: 0, next_offset: 8, owner: 2 }, "it goes on where the rows end");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn bad_rows_are_named_and_take_no_other_with_them() {
    let database = Database::new("sink_bisect").await;
    let mut store = database.store(What::Purchases);
    store.claim(&[(0, 0)]).await.unwrap();
    let mut rows: Vec<_> = (0..1_000).map(|n| purchase(&format!("id-{n}"), "1000", n)).collect();
    rows[3].user_id = "not a number".to_owned();
    rows[500].event_id = "x".repeat(51);
    rows[501].price_cents = 10_000_000_000;
    rows[998].product_id = "nul \0 byte".to_owned();
    rows[999].product_id = "longer than twenty characters".to_owned();
    let staged = write(&mut store, &batch(&[(0, 0, 1_000, 1)], rows)).await;
    let refused: Vec<_> = staged.refused.iter().map(|refused| refused.row).collect();
    assert_eq!((refused, staged.written), (vec![3, 500, 501, 998, 999], 995));
    assert!(staged.refused[0].message.contains("22P02"), "{:?}", staged.refused[0]);
    assert!(staged.refused[1].message.contains("22001"), "too long is refused, never cut: {:?}", staged.refused[1]);
    assert_eq!(store.count().await.unwrap(), 995);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn a_row_that_is_there_already_takes_no_other_with_it_wherever_it_comes() {
    let database = Database::new("sink_twice").await;
    let mut store = database.store(What::Purchases);
    store.claim(&[(0, 0)]).await.unwrap();
    let (mut next, mut all) = (0, std::collections::BTreeSet::new());
    for round in 0..40_i64 {
        let mut ids: Vec<_> = (0..20).map(|n| format!("id-{round}-{n}")).collect();
        // Now and then one of an earlier batch, one that is twice in this one, and one that the table refuses.
        if round % 19 == 7 {
            ids[11] = format!("id-{}-3", round - 1);
        }
        if round % 23 == 9 {
            ids[12] = ids[4].clone();
        }
        let mut rows: Vec<_> = ids.iter().map(|id| purchase(id, "1000", round)).collect();
        if round % 7 == 2 {
            rows[5].user_id = "nobody".to_owned();
            ids.remove(5);
        }
        let before = all.len();
        all.extend(ids.iter().cloned());
        let staged = write(&mut store, &batch(&[(0, next, next + 20, 1)], rows)).await;
        next += 20;
        let new = all.len() - before;
        assert_eq!((staged.written, staged.present), (new as u64, (ids.len() - new) as u64), "round {round}");
        assert_eq!(staged.refused.len(), 20 - ids.len(), "round {round}");
    }
    assert_eq!(store.count().await.unwrap(), all.len() as u64);
    assert_eq!(store.purchases().await.unwrap()["id-6-3"], Some(6), "the first one stays");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn a_zombie_writes_nothing() {
    let database = Database::new("sink_fence").await;
    let (mut zombie, mut owner) = (database.store(What::Purchases), database.store(What::Purchases));
    zombie.claim(&[(0, 0), (1, 0)]).await.unwrap();
    owner.claim(&[(1, 0)]).await.unwrap();
    write(&mut owner, &batch(&[(1, 0, 2, 2)], vec![purchase("a", "1", 1)])).await;
    let stale = batch(&[(0, 0, 5, 1), (1, 0, 5, 1)], vec![purchase("z", "1", 1)]);
    assert_eq!(zombie.stage(&stale).await, Err(StoreError::Fenced(vec![1])));
    zombie.commit().await.unwrap();
    zombie.abandon().await;
    assert_eq!(owner.positions().await.unwrap(), [(0, 0), (1, 2)]);
    assert_eq!(owner.count().await.unwrap(), 1);
    write(&mut zombie, &batch(&[(0, 0, 5, 1)], vec![purchase("z", "1", 1)])).await;
    assert_eq!(owner.count().await.unwrap(), 2, "what is still its own goes on");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn casts_follow_a_table_that_is_there() {
    let database = Database::new("sink_columns").await;
    let ddl = "CREATE TABLE purchase_orders(kafka_offset numeric, event_id uuid PRIMARY KEY, user_id text, \
               product_id char(12), price double precision, purchase_time timestamp, extra text DEFAULT 'x')";
    database.sql.batch_execute(ddl).await.unwrap();
    let mut store = database.store(What::Purchases);
    store.claim(&[(0, 0)]).await.unwrap();
    let id = "8c6f0a0e-3c3f-4f0e-9b0a-111111111111";
    let rows = vec![purchase(id, "u-1", 1_999), purchase("no uuid", "u", 1)];
    let staged = write(&mut store, &batch(&[(0, 0, 2, 1)], rows)).await;
    assert_eq!((staged.written, staged.refused.len()), (1, 1), "{staged:?}");
    let row = "SELECT concat_ws('|', event_id, user_id, product_id, price, purchase_time) FROM purchase_orders";
    assert_eq!(database.one(row).await, format!("{id}|u-1|Laptop_X1   |19.99|2024-01-15 14:30:00.123456"));

    database.sql.batch_execute("DROP TABLE purchase_orders; CREATE TABLE purchase_orders(id int)").await.unwrap();
    let error = database.store(What::Purchases).claim(&[(0, 0)]).await.unwrap_err();
    assert!(error.to_string().contains("no column kafka_offset, event_id"), "{error}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn a_cut_connection_is_transient_and_nothing_is_half_written() {
    let database = Database::new("sink_cut").await;
    let mut store = database.store(What::Purchases);
    store.claim(&[(0, 0)]).await.unwrap();
    let work = batch(&[(0, 0, 1, 1)], vec![purchase("a", "1", 1)]);
    store.stage(&work).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity \
               WHERE application_name = 'sink_cut-sink' AND state = 'idle in transaction'";
    assert_ne!(database.one(cut).await, "0");
    let error = store.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::Database { class: Class::Transient, .. }), "{error}");
    assert!(!store.is_written(&work).await.unwrap());
    assert_eq!(write(&mut store, &work).await.written, 1);
    assert!(store.is_written(&work).await.unwrap());
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn a_stopped_process_lets_go_of_its_partition() {
    let database = Database::new("sink_stopped").await;
    let (mut stopped, mut next) = (database.store(What::Purchases), database.store(What::Purchases));
    stopped.claim(&[(0, 0)]).await.unwrap();
    stopped.stage(&batch(&[(0, 0, 1, 1)], vec![])).await.unwrap();
    let settings = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'sink_stopped-sink' \
                    AND state = 'idle in transaction'";
    assert_ne!(database.one(settings).await, "0");
    // It waits for the row's lock no longer than lock_timeout, and that is a reason to try again.
    let waited = tokio::time::timeout(Duration::from_secs(20), next.claim(&[(0, 0)])).await.expect("it gives up");
    assert!(matches!(waited, Err(StoreError::Database { class: Class::Transient, .. })), "{waited:?}");
    drop(stopped);
    assert_eq!(next.claim(&[(0, 0)]).await.unwrap()[0], Claim { partition: 0, next_offset: 0, owner: 2 });
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn window_rows_are_folded_by_key_and_replace_the_former() {
    let database = Database::new("sink_windows").await;
    let mut store = database.store(What::Windows);
    store.claim(&[(0, 0)]).await.unwrap();
    let row = |key: &str, count, sum_cents| WindowResult {
        window: "views_1m".to_owned(),
        start_ms: 60_000,
        key: key.to_owned(),
        count,
        sum_cents,
    };
    let rows = |rows| {
        let moves = vec![Move { partition: 0, old: 0, new: 3, owner: 1 }];
        Arc::new(Batch { moves, rows: Rows::Windows(rows) })
    };
    let staged = write(&mut store, &rows(vec![row("a", 1, 5), row("", 2, 6), row("a", 3, 7)])).await;
    assert_eq!((staged.written, staged.present), (3, 0));
    let all = "SELECT string_agg(concat_ws('|', window_name, start_ms, key, count, sum_cents), ' ' ORDER BY key) \
               FROM window_results";
    assert_eq!(database.one(all).await, "views_1m|60000||2|6 views_1m|60000|a|3|7");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: POSTGRES_URL=…"]
async fn what_only_a_person_can_mend_stops_with_a_sentence() {
    let database = Database::new("sink_person").await;
    let scope = || Scope { group: "g".to_owned(), topic: "t".to_owned(), what: What::Purchases };
    let wrong = database.url.replace("/postgres?", "/no_such_database?");
    let error = PostgresStore::new(&wrong, scope()).unwrap().claim(&[(0, 0)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Database { class: Class::Configuration, .. }), "{error}");
    assert!(error.to_string().contains("create the database"), "{error}");
    let refused = "postgres://postgres@127.0.0.1:1/postgres";
    let error = PostgresStore::new(refused, scope()).unwrap().claim(&[(0, 0)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Database { class: Class::Transient, .. }), "{error}");
    let unknown = PostgresStore::new("postgres://h/d?sslmode=sometimes", scope()).unwrap_err();
    assert!(unknown.to_string().contains("--to: sslmode is disable, prefer"), "{unknown}");
}
