//! The tables of the PostgreSQL sink: how they are made if missing, and the statements that fit them as they stand.
//!
//! The table may be older than the sink, with an `id` of another type or a `user_id` of text. Values travel as what they
//! are where the column is of just that type, else as text, and are cast to the column's type *without* its length: a
//! cast to `varchar(20)` would cut, the assignment to the column refuses.

use crate::pipeline::sink::What;

/// Positions, beside the rows that they belong to.
pub const OFFSETS_DDL: &str = "CREATE TABLE IF NOT EXISTS kafka_sink_offsets(grp text, topic text, part int, \
     next_offset bigint NOT NULL, owner bigint NOT NULL, PRIMARY KEY(grp,topic,part))";

/// The position of a partition that was never claimed is the log's start.
pub const CLAIM: &str = "INSERT INTO kafka_sink_offsets(grp, topic, part, next_offset, owner) \
     VALUES ($1, $2, $3, $4, 1) ON CONFLICT (grp,topic,part) \
     DO UPDATE SET owner = kafka_sink_offsets.owner + 1 RETURNING next_offset, owner";

/// The fence: no row is updated if another owner has claimed the partition.
pub const MOVE: &str = "UPDATE kafka_sink_offsets SET next_offset=$1 \
     WHERE grp=$2 AND topic=$3 AND part=$4 AND next_offset=$5 AND owner=$6";

/// Where all partitions are.
pub const POSITIONS: &str =
    "SELECT part, next_offset, owner FROM kafka_sink_offsets WHERE grp=$1 AND topic=$2 ORDER BY part";

/// The columns of a table that is there, with their types without length or precision.
pub const COLUMNS: &str = "SELECT attname::text, format_type(atttypid, -1) FROM pg_attribute \
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";

/// The DDL of the table, for a database that has none.
pub const fn ddl(what: What) -> &'static str {
    match what {
        What::Purchases => {
            "CREATE TABLE IF NOT EXISTS purchase_orders(id SERIAL PRIMARY KEY, kafka_offset BIGINT NOT NULL, \
             event_id VARCHAR(50) UNIQUE NOT NULL, user_id INT NOT NULL, product_id VARCHAR(20) NOT NULL, \
             price DECIMAL(10,2) NOT NULL, purchase_time TIMESTAMPTZ NOT NULL, \
             created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP); \
             CREATE INDEX IF NOT EXISTS purchase_orders_purchase_time ON purchase_orders(purchase_time)"
        }
        What::Windows => {
            "CREATE TABLE IF NOT EXISTS window_results(window_name text, start_ms bigint, key text, \
             count bigint NOT NULL, sum_cents bigint NOT NULL, PRIMARY KEY(window_name, start_ms, key))"
        }
    }
}

/// The columns that the sink fills, in the order of the statement's parameters.
pub const fn columns(what: What) -> &'static [&'static str] {
    match what {
        What::Purchases => &["kafka_offset", "event_id", "user_id", "product_id", "price", "purchase_time"],
        What::Windows => &["window_name", "start_ms", "key", "count", "sum_cents"],
    }
}

/// The insert of a batch: its SQL, and how the values of each column travel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Insert {
    /// The statement; each parameter is an array.
    pub sql: String,
    /// The same for rows that are all new: a fifth cheaper, and an error if one is there already.
    pub plain: Option<String>,
    /// One of each parameter.
    pub arrays: Vec<Array>,
}

/// The type of an array of values on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "what the pipeline's tables hold")]
pub enum Array {
    /// `text[]`: the database parses each value, and says so if it can't.
    Text,
    /// `bigint[]`.
    Bigint,
    /// `timestamptz[]`.
    Timestamptz,
}

impl Array {
    /// Only what can't fail and can't lose its form travels as itself: a `user_id` need not be a number, and a price is
    /// exact as text.
    fn of(column: &str, kind: &str) -> Self {
        match (column, kind) {
            ("kafka_offset" | "start_ms" | "count" | "sum_cents", "bigint") => Self::Bigint,
            ("purchase_time", "timestamp with time zone") => Self::Timestamptz,
            _ => Self::Text,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text[]",
            Self::Bigint => "bigint[]",
            Self::Timestamptz => "timestamptz[]",
        }
    }
}

/// The insert of a batch into the table as the catalog has it.
///
/// # Errors
/// A sentence that names the columns the table lacks.
pub fn insert(what: What, catalog: &[(String, String)]) -> Result<Insert, String> {
    let (mut names, mut casts, mut arrays, mut parameters) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut missing = Vec::new();
    for (index, column) in columns(what).iter().enumerate() {
        let Some((_, kind)) = catalog.iter().find(|(name, _)| name == column) else {
            missing.push(*column);
            continue;
        };
        let array = Array::of(column, kind);
        names.push(format!("c{index}"));
        casts.push(format!("c{index}::{kind}"));
        parameters.push(format!("${}::{}", index + 1, array.name()));
        arrays.push(array);
    }
    let table = what.table();
    if !missing.is_empty() {
        return Err(format!(
            "the table {table} has no column {}; add it, or drop the table and let the sink make it",
            missing.join(", ")
        ));
    }
    let conflict = match what {
        What::Purchases => "(event_id) DO NOTHING",
        What::Windows => {
            "(window_name, start_ms, key) DO UPDATE SET count = excluded.count, sum_cents = excluded.sum_cents"
        }
    };
    let plain = format!(
        "INSERT INTO {table}({}) SELECT {} FROM unnest({}) AS batch({})",
        columns(what).join(", "),
        casts.join(", "),
        parameters.join(", "),
        names.join(", "),
    );
    let sql = format!("{plain} ON CONFLICT {conflict}");
    Ok(Insert { sql, plain: (what == What::Purchases).then_some(plain), arrays })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(user_id: &str) -> Vec<(String, String)> {
        [
            ("id", "integer"),
            ("kafka_offset", "bigint"),
            ("event_id", "character varying"),
            ("user_id", user_id),
            ("product_id", "character varying"),
            ("price", "numeric"),
            ("purchase_time", "timestamp with time zone"),
        ]
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .to_vec()
    }

    #[test]
    fn casts_follow_the_columns() {
        let Insert { sql, arrays, .. } = insert(What::Purchases, &catalog("integer")).unwrap();
        assert_eq!(
            sql,
            "INSERT INTO purchase_orders(kafka_offset, event_id, user_id, product_id, price, purchase_time) \
             SELECT c0::bigint, c1::character varying, c2::integer, c3::character varying, c4::numeric, \
             c5::timestamp with time zone FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
             $6::timestamptz[]) AS batch(c0, c1, c2, c3, c4, c5) ON CONFLICT (event_id) DO NOTHING"
        );
        use Array::{Bigint, Text, Timestamptz};
        assert_eq!(arrays, [Bigint, Text, Text, Text, Text, Timestamptz]);
        assert!(insert(What::Purchases, &catalog("text")).unwrap().sql.contains("c2::text"));
    }

    #[test]
    fn a_table_without_a_column_is_named() {
        let mut catalog = catalog("integer");
        catalog.retain(|(name, _)| name != "price" && name != "kafka_offset");
        let error = insert(What::Purchases, &catalog).unwrap_err();
        assert!(error.contains("purchase_orders has no column kafka_offset, price"), "{error}");
    }
}
