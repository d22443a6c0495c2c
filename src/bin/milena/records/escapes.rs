//! Delimiters, formats and keys on the command line are text; these escapes stand for the bytes that are hard to type.

/// `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` as the bytes that they mean. Behind a backslash punctuation is itself.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut chars = after.chars();
        match chars.next() {
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('r') => bytes.push(b'\r'),
            Some('0') if !chars.as_str().starts_with(|c: char| c.is_ascii_digit()) => bytes.push(0),
            Some('x') => {
                let digits = chars.by_ref().take(2).map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>();
                match digits.as_deref() {
                    Some(&[high, low]) => bytes.push((high * 16 + low) as u8),
                    _ => return Err(format!("{text:?}: behind \\x stand two hexadecimal digits")),
                }
            }
            Some(c) if !c.is_alphanumeric() => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Some(c) => return Err(format!("{text:?}: \\{c} is none of \\n \\t \\r \\0 \\\\ \\xNN")),
            None => return Err(format!("{text:?} ends within an escape: a backslash is written \\\\")),
        }
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("plain \u{e9}", "plain \u{e9}".as_bytes()),
            (r"\t\n\r\0\\", b"\t\n\r\0\\"),
            (r"\x54!\x45\x53T", b"T!EST"),
            (r"a\xffb", b"a\xffb"),
            (r"\'\%", b"'%"),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text}");
        }
        for text in [r"\", r"a\q", r"\x", r"\x5", r"\xgg", r"\012", r"\7"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
