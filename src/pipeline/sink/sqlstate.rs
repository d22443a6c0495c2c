//! What to do about an error of PostgreSQL, by its SQLSTATE.
//!
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use crate::pipeline::sink::Class;

/// The class of an error with this code.
///
/// A code that nobody thought of stops the sink: going on for ever, or taking the row's word for it, would hide it.
pub fn class_of(code: &str) -> Class {
    match (code.get(..2).unwrap_or(code), code) {
        // Data exceptions and integrity constraints, and what a trigger raises: about the row at hand.
        ("22" | "23", _) | (_, "P0001") => Class::Row,
        // Connection, resources, rollbacks (serialization, deadlock), I/O of the server.
        ("08" | "53" | "40" | "58", _) => Class::Transient,
        // Shutdown, crash, starting up, idle session closed, statement cancelled.
        (_, "57P01" | "57P02" | "57P03" | "57P05" | "57014") => Class::Transient,
        // Lock timeout; the server ended an idle transaction; a standby after a failover; a statement the pooler forgot.
        (_, "55P03" | "25P03" | "25006" | "26000") => Class::Transient,
        _ => Class::Configuration,
    }
}

/// What a person can do about it, for the codes that stop a sink.
pub fn advice(code: &str) -> &'static str {
    match (code.get(..2).unwrap_or(code), code) {
        ("28", _) => "check the user in --to, the password (there, PGPASSWORD, the password file), and pg_hba.conf",
        ("3D", _) => "create the database, or name another in --to",
        (_, "42501") => {
            "grant the sink's user INSERT, SELECT and UPDATE on its tables, and CREATE on the schema if they are to be made"
        }
        (_, "42P10") => "the sink needs the unique constraints of its tables: event_id of purchase_orders",
        (_, "42P01" | "42703") => {
            "a table or column is missing: compare with the DDL in the documentation, or drop the table and let the sink make it"
        }
        ("42", _) => "the table's columns don't take these values: compare with the DDL in the documentation",
        _ => "look into the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_isolated_outages_are_waited_for_and_the_rest_stops() {
        for row in ["22001", "22003", "22P02", "22021", "23502", "23514", "P0001"] {
            assert_eq!(class_of(row), Class::Row, "{row}");
        }
        for transient in ["08006", "57P01", "57P02", "57P03", "53300", "53100", "55P03", "40001", "40P01", "25P03"] {
            assert_eq!(class_of(transient), Class::Transient, "{transient}");
        }
        for stop in ["28P01", "42P01", "42501", "3D000", "0A000", "XX000", "", "é"] {
            assert_eq!(class_of(stop), Class::Configuration, "{stop}");
        }
    }
}
