//! Dead letters as text for a person: nothing of what they hold reaches the terminal as a command to it.

use milena::pipeline::dlq::{Letter, Range};
use milena::pipeline::timestamp;
use std::fmt::Write;

/// Ranges of a group's originals that a table has room for.
const RANGES: usize = 3;
/// Bytes of a value that is no text.
const DUMPED: usize = 512;

/// `clicks[0]@3..17, clicks[1]@9`
pub fn ranges(all: &[Range]) -> String {
    let one = |range: &Range| {
        let Range { topic, partition, first, last, .. } = range;
        let topic = cell(topic);
        if first == last {
            format!("{topic}[{partition}]@{first}")
        } else {
            format!("{topic}[{partition}]@{first}..{last}")
        }
    };
    let mut texts: Vec<_> = all.iter().take(RANGES).map(one).collect();
    if all.len() > RANGES {
        texts.push(format!("and {} partitions more", all.len() - RANGES));
    }
    texts.join(", ")
}

/// Everything about a letter, in lines.
pub fn letter(letter: &Letter<'_>) -> String {
    let record = letter.record();
    let time = match record.timestamp() {
        none if none < 0 => "none".to_owned(),
        ms => format!("{} ({ms})", timestamp::format(ms.saturating_mul(1_000))),
    };
    let mut text = format!("{}@{}\n", record.topic_partition(), record.offset());
    for (name, value) in [
        ("original", cell(&letter.place())),
        ("stage", letter.stage.name().to_owned()),
        ("reason", cell(letter.reason)),
        ("why", cell(&letter.message)),
        ("timestamp", time),
        ("key", bytes(record.key())),
    ] {
        let _ = writeln!(text, "  {name:<10}{value}");
    }
    for header in letter.headers() {
        let _ = writeln!(
            text,
            "  {:<10}{}: {}",
            "header",
            cell(&String::from_utf8_lossy(header.name)),
            bytes(header.value)
        );
    }
    let _ = write!(text, "  {:<10}{}", "value", bytes(record.value()));
    text
}

/// Text as it is, other bytes as a dump.
fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(b"") => "empty".to_owned(),
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => printable(bytes),
        Some(bytes) => dump(bytes),
    }
}

fn dump(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes that are not text", bytes.len());
    for (at, line) in bytes.chunks(16).take(DUMPED / 16).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        let plain: String = line.iter().map(plain).collect();
        let _ = write!(text, "\n    {:06x}  {:<47}  {plain}", at * 16, hex.join(" "));
    }
    if bytes.len() > DUMPED {
        let _ = write!(text, "\n    and {} more; --json has all of them in base64", bytes.len() - DUMPED);
    }
    text
}

/// Control characters are escaped, but for tabs and line ends.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() && c != '\t' && c != '\n' { text.extend(c.escape_unicode()) } else { text.push(c) }
    }
    text
}

/// One cell of a table: line ends and tabs are escaped too, and what turns the direction of writing.
pub fn cell(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) { cell.extend(c.escape_unicode()) } else { cell.push(c) }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_nothing_to_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\tc"), "a\\u{1b}[2Jb\tc");
        assert_eq!((bytes(None), bytes(Some(b""))), ("null".to_owned(), "empty".to_owned()));
        assert_eq!(cell("a\x1b[2Jb\tc\nd\u{202e}e\u{e9}"), "a\\u{1b}[2Jb\\u{9}c\\u{a}d\\u{202e}e\u{e9}");
        let dumped = bytes(Some(b"{\"a\":\xff\x1b}"));
        assert!(dumped.contains("7b 22 61 22 3a ff 1b 7d") && dumped.ends_with("{\"a\":..}"), "{dumped}");
    }
}
