//! What an embedded sink's file holds, as JSON lines: for each table its count, then its rows.
//!
//! ```text
//! {"table":"purchase_orders","count":1}
//! {"table":"purchase_orders","row":{"event_id":"…","kafka_offset":7,"price":"19.99","price_cents":1999,"product_id":"Laptop_X1","purchase_time":"2024-01-15T14:30:00.000000Z","user_id":"1234"}}
//! ```

use crate::pipeline::sink::embedded::{OFFSETS, PURCHASES, WINDOWS};
use crate::pipeline::{sink::decimal, timestamp};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};
use serde_json::{Value, json};
use std::{io, path::Path};

/// Writes tables, counts and rows of the file. No sink may have it open.
///
/// # Errors
/// The file is not there, is open elsewhere or broken, or `out` can't be written.
pub fn dump(path: &Path, out: &mut impl io::Write) -> io::Result<()> {
    if !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{}: there is no such file", path.display())));
    }
    // Not read-only: a file whose sink was killed is repaired first.
    let database = Database::open(path).map_err(|error| {
        let hint = match error {
            redb::DatabaseError::DatabaseAlreadyOpen => "; stop the sink that has it open",
            _ => "",
        };
        io::Error::other(format!("{}: {error}{hint}", path.display()))
    })?;
    let reader = database.begin_read().map_err(other)?;
    dump_purchases(&reader, out)?;
    dump_windows(&reader, out)?;
    dump_offsets(&reader, out)
}

fn dump_purchases(reader: &ReadTransaction, out: &mut impl io::Write) -> io::Result<()> {
    let Some(table) = there(reader.open_table(PURCHASES))? else { return Ok(()) };
    line(out, "purchase_orders", "count", &json!(table.len().map_err(other)?))?;
    for entry in table.iter().map_err(other)? {
        let (key, value) = entry.map_err(other)?;
        let (kafka_offset, user_id, product_id, cents, time) = value.value();
        let row = json!({
            "kafka_offset": kafka_offset, "event_id": key.value(), "user_id": user_id, "product_id": product_id,
            "price": decimal(cents), "price_cents": cents, "purchase_time": timestamp::format(time),
        });
        line(out, "purchase_orders", "row", &row)?;
    }
    Ok(())
}

fn dump_windows(reader: &ReadTransaction, out: &mut impl io::Write) -> io::Result<()> {
    let Some(table) = there(reader.open_table(WINDOWS))? else { return Ok(()) };
    line(out, "window_results", "count", &json!(table.len().map_err(other)?))?;
    for entry in table.iter().map_err(other)? {
        let (key, value) = entry.map_err(other)?;
        let ((window, start_ms, key), (count, sum_cents)) = (key.value(), value.value());
        let row =
            json!({"window_name": window, "start_ms": start_ms, "key": key, "count": count, "sum_cents": sum_cents});
        line(out, "window_results", "row", &row)?;
    }
    Ok(())
}

fn dump_offsets(reader: &ReadTransaction, out: &mut impl io::Write) -> io::Result<()> {
    let Some(table) = there(reader.open_table(OFFSETS))? else { return Ok(()) };
    line(out, "kafka_sink_offsets", "count", &json!(table.len().map_err(other)?))?;
    for entry in table.iter().map_err(other)? {
        let (key, value) = entry.map_err(other)?;
        let ((group, topic, part), (next_offset, owner)) = (key.value(), value.value());
        let row = json!({"grp": group, "topic": topic, "part": part, "next_offset": next_offset, "owner": owner});
        line(out, "kafka_sink_offsets", "row", &row)?;
    }
    Ok(())
}

fn there<T>(table: Result<T, TableError>) -> io::Result<Option<T>> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(other(error)),
    }
}

fn line(out: &mut impl io::Write, table: &str, what: &str, value: &Value) -> io::Result<()> {
    writeln!(out, r#"{{"table":"{table}","{what}":{value}}}"#)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::sink::embedded::EmbeddedStore;
    use crate::pipeline::sink::{Batch, Move, Purchase, Rows, Scope, Store, What};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_closed_file_is_told_table_by_table() {
        let path = std::env::temp_dir().join(format!("milena-query-{}.redb", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let scope = Scope { group: "g".to_owned(), topic: "t".to_owned(), what: What::Purchases };
        let mut store = EmbeddedStore::open(&path, scope).unwrap();
        store.claim(&[(3, 0)]).await.unwrap();
        let row = Purchase {
            kafka_offset: 7,
            event_id: "a\"b".to_owned(),
            user_id: "1000".to_owned(),
            product_id: "Laptop_X1".to_owned(),
            price_cents: 1_999,
            purchase_time: 0,
        };
        let moves = vec![Move { partition: 3, old: 0, new: 8, owner: 1 }];
        store.stage(&Arc::new(Batch { moves, rows: Rows::Purchases(vec![row]) })).await.unwrap();
        store.commit().await.unwrap();
        let error = dump(&path, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("stop the sink"), "{error}");
        drop(store);

        let mut out = Vec::new();
        dump(&path, &mut out).unwrap();
        std::fs::remove_file(&path).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 5, "{out}");
        assert_eq!((&lines[0]["table"], &lines[0]["count"]), (&json!("purchase_orders"), &json!(1)));
        assert_eq!((&lines[1]["row"]["event_id"], &lines[1]["row"]["price"]), (&json!("a\"b"), &json!("19.99")));
        assert_eq!(lines[4]["row"]["next_offset"], json!(8));
        assert_eq!(dump(&path, &mut Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
