//! What verbs print on stdout: tables for people, JSON lines with `--json`. Nothing else writes there.
//!
//! With `--json` every listing is one JSON object a line, an object for each item of the list. A field's name is the
//! column's in snake case (`LOG-END-OFFSET` is `log_end_offset`), numbers are numbers, what is not known is null, and an
//! item that was to be changed has `status`, `"OK"` or the error's name, with `error` in words beside it.

use crate::args::{Failure, Result};
use crate::dlq_text::cell;
use milena::error::Error;
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Write};
use unicode_width::UnicodeWidthStr;

/// How a verb prints.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Output {
    /// One JSON object a line instead of a table, its fields in snake case
    #[arg(long, global = true)]
    pub json: bool,
}

impl Output {
    /// Prints a listing.
    pub fn table(self, table: &Table) -> Result<()> {
        if self.json {
            return self.objects(table.objects());
        }
        text(&table.text(is_coloured()))
    }

    /// Prints JSON lines, whatever was asked for.
    pub fn objects(self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        text(&objects.into_iter().map(|object| format!("{object}\n")).collect::<String>())
    }
}

/// Writes to stdout. That nobody reads any more (`| head`) ends the command, and quietly: see [`Failure`].
pub fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// One line of it.
pub fn line(line: impl AsRef<str>) -> Result<()> {
    text(&format!("{}\n", line.as_ref()))
}

/// One line that the command does not hang on: it goes on, and ends as it would, if nobody reads any more.
pub fn tell(text: impl AsRef<str>) -> Result<()> {
    line(text).or_else(|failure| if failure.is_broken_pipe() { Ok(()) } else { Err(failure) })
}

/// `println!` for a receipt or a few lines, as [`tell`] says them.
#[macro_export]
macro_rules! say {
    ($($format:tt)*) => { $crate::output::tell(format!($($format)*))? };
}

/// Whether a person looks at stdout and has nothing against colours (<https://no-color.org>).
fn is_coloured() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Columns with their names, and rows.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

/// A row of a [`Table`]: anything that JSON has, an `Option` among it.
#[macro_export]
macro_rules! row {
    ($($cell:expr),* $(,)?) => { [$(serde_json::Value::from($cell)),*] };
}

impl Table {
    /// An empty one.
    pub fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, as [`row!`](crate::row) makes it.
    pub fn push<const N: usize>(&mut self, row: [Value; N]) {
        self.rows.push(row.to_vec());
    }

    /// Adds what goes into a column more, the same in every row.
    pub fn with_first(mut self, name: &'static str, value: &str) -> Self {
        self.head.insert(0, name);
        self.rows.iter_mut().for_each(|row| row.insert(0, value.into()));
        self
    }

    /// Adds the rows of another one with the same columns.
    pub fn append(&mut self, mut other: Self) {
        self.head = other.head;
        self.rows.append(&mut other.rows);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each row as a JSON object.
    pub fn objects(&self) -> Vec<Value> {
        let name = |head: &str| head.to_lowercase().replace('-', "_");
        let object = |row: &Vec<Value>| {
            let fields = self.head.iter().zip(row).map(|(head, value)| (name(head), value.clone()));
            Value::Object(fields.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// Columns as wide as their widest cell.
    pub fn text(&self, coloured: bool) -> String {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let mut widths: Vec<_> = self.head.iter().map(|cell| cell.width()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let line = |cells: Vec<&str>| {
            let padded =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = line(self.head.clone());
        let mut text = if coloured { format!("\x1b[1m{head}\x1b[0m\n") } else { format!("{head}\n") };
        for row in &rows {
            text.push_str(&line(row.iter().map(String::as_str).collect()));
            text.push('\n');
        }
        text
    }
}

/// A value as a cell of a table: nothing is a dash, a list has commas, and no text is a command to the terminal.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => cell(text),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// What became of each of several things that were to be changed.
#[derive(Debug)]
pub struct Report {
    table: Table,
    errors: Vec<Option<Failure>>,
}

impl Report {
    /// An empty one: the columns that name a thing, to which `STATUS` is added.
    pub fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self { table: Table::new(head), errors: Vec::new() }
    }

    /// Adds one thing and its outcome.
    pub fn push<const N: usize>(&mut self, row: [Value; N], outcome: Result<()>) {
        self.table.push(row);
        self.errors.push(outcome.err());
    }

    /// Prints all of them, and fails if one failed, in the words of every failure.
    pub fn print(mut self, output: Output) -> Result<()> {
        self.table.head.push("STATUS");
        for (row, error) in self.table.rows.iter_mut().zip(&self.errors) {
            row.push(error.as_ref().map_or("OK", |error| error.name()).into());
        }
        if output.json {
            let mut objects = self.table.objects();
            for (object, error) in objects.iter_mut().zip(&self.errors) {
                if let (Value::Object(fields), Some(error)) = (object, error) {
                    fields.insert("error".to_owned(), error.to_string().into());
                }
            }
            output.objects(objects)?;
        } else {
            output.table(&self.table)?;
        }
        Failure::all(self.errors.into_iter().flatten())
    }
}

/// An error's name for a column: Kafka's, if a broker answered it.
pub fn name_of(error: &Error) -> String {
    match error.code() {
        Some(code) => code.name().to_owned(),
        None if error.is_timeout() => "TIMEOUT".to_owned(),
        None => format!("{:?}", error.kind()).to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena::error::ErrorCode;

    #[test]
    fn a_table_is_columns_for_people_and_objects_for_programs() {
        let mut table = Table::new(["TOPIC", "LOG-END-OFFSET", "REPLICAS"]);
        table.push(row!["clicks", 12, vec![1, 2]]);
        table.push(row!["a\x1b[2J", None::<i64>, Vec::<i32>::new()]);
        let text =
            "TOPIC       LOG-END-OFFSET  REPLICAS\nclicks      12              1,2\na\\u{1b}[2J  -               -\n";
        assert_eq!(table.text(false), text);
        assert!(table.text(true).starts_with("\x1b[1mTOPIC"));
        let objects = table.objects();
        assert_eq!(objects[0].to_string(), r#"{"log_end_offset":12,"replicas":[1,2],"topic":"clicks"}"#);
        assert_eq!(objects[1]["log_end_offset"], Value::Null);
    }

    /// On a terminal a letter has two cells, or none: not one for each `char`.
    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let mut table = Table::new(["TOPIC", "N"]);
        table.push(row!["\u{6ce8}\u{6587}\u{5c65}\u{6b74}", 1]);
        table.push(row!["re\u{301}sume\u{301}", 2]);
        let text = "TOPIC     N\n\u{6ce8}\u{6587}\u{5c65}\u{6b74}  1\nre\u{301}sume\u{301}    2\n";
        assert_eq!(table.text(false), text);
    }

    #[test]
    fn a_report_fails_as_its_items_do() {
        let mut report = Report::new(["TOPIC"]);
        report.push(row!["a"], Ok(()));
        report.push(row!["b"], Err(Error::broker(ErrorCode::TopicAlreadyExists).topic("b").into()));
        report.push(row!["c"], Err(Failure::config("no such thing")));
        let failure = report.print(Output::default()).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "what a broker refused is worse than a wrong command line");
        assert_eq!(failure.to_string().lines().count(), 2);
    }
}
