//! A batch as the statement takes it: one array for each column, slices of which are parameters.

use crate::pipeline::sink::batch::last_of_each_key;
use crate::pipeline::sink::schema::Array;
use crate::pipeline::sink::{Rows, WindowResult, decimal};
use crate::pipeline::timestamp;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::types::ToSql;

/// The arrays of a batch.
pub(super) struct Columns<'b> {
    columns: Vec<Column<'b>>,
    /// The index in the batch of each row here: of window rows with one key only the last is written.
    rows: Vec<usize>,
}

enum Column<'b> {
    Borrowed(Vec<&'b str>),
    Text(Vec<String>),
    Bigint(Vec<i64>),
    Timestamptz(Vec<SystemTime>),
}

impl<'b> Columns<'b> {
    /// The batch's rows in arrays of these types.
    pub(super) fn of(rows: &'b Rows, arrays: &[Array]) -> Self {
        let array = |index: usize| arrays.get(index).copied().unwrap_or(Array::Text);
        match rows {
            Rows::Purchases(rows) => Self {
                columns: vec![
                    numbers(rows.iter().map(|row| row.kafka_offset), array(0)),
                    Column::Borrowed(rows.iter().map(|row| row.event_id.as_str()).collect()),
                    Column::Borrowed(rows.iter().map(|row| row.user_id.as_str()).collect()),
                    Column::Borrowed(rows.iter().map(|row| row.product_id.as_str()).collect()),
                    Column::Text(rows.iter().map(|row| decimal(row.price_cents)).collect()),
                    times(rows.iter().map(|row| row.purchase_time), array(5)),
                ],
                rows: (0..rows.len()).collect(),
            },
            Rows::Windows(all) => {
                let last = last_of_each_key(all);
                let rows: Vec<&WindowResult> = last.iter().map(|index| &all[*index]).collect();
                let columns = vec![
                    Column::Borrowed(rows.iter().map(|row| row.window.as_str()).collect()),
                    numbers(rows.iter().map(|row| row.start_ms), array(1)),
                    Column::Borrowed(rows.iter().map(|row| row.key.as_str()).collect()),
                    numbers(rows.iter().map(|row| row.count), array(3)),
                    numbers(rows.iter().map(|row| row.sum_cents), array(4)),
                ];
                Self { columns, rows: last }
            }
        }
    }

    /// How many rows are to be written.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The index in the batch of a row here.
    pub(super) fn row(&self, index: usize) -> usize {
        self.rows[index]
    }

    /// The parameters for these rows.
    pub(super) fn slice(&self, range: &Range<usize>) -> Vec<Box<dyn ToSql + Sync + Send + '_>> {
        self.columns.iter().map(|column| column.slice(range.clone())).collect()
    }
}

impl Column<'_> {
    fn slice(&self, range: Range<usize>) -> Box<dyn ToSql + Sync + Send + '_> {
        match self {
            Column::Borrowed(values) => Box::new(&values[range]),
            Column::Text(values) => Box::new(&values[range]),
            Column::Bigint(values) => Box::new(&values[range]),
            Column::Timestamptz(values) => Box::new(&values[range]),
        }
    }
}

fn numbers(values: impl Iterator<Item = i64>, array: Array) -> Column<'static> {
    match array {
        Array::Bigint => Column::Bigint(values.collect()),
        Array::Text | Array::Timestamptz => Column::Text(values.map(|value| value.to_string()).collect()),
    }
}

/// Of microseconds since 1970.
fn times(values: impl Iterator<Item = i64>, array: Array) -> Column<'static> {
    match array {
        Array::Timestamptz => Column::Timestamptz(values.map(instant).collect()),
        Array::Text | Array::Bigint => Column::Text(values.map(timestamp::format).collect()),
    }
}

fn instant(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}
