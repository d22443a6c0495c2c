//! `--key` and `--header`: which records are printed. The others count as read.

use crate::records::escapes::unescape;
use milena::record::Header;

/// Empty: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these keys.
    keys: Vec<Vec<u8>>,
    /// All of these headers, with this value or any.
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Filter {
    /// `headers` are NAME or NAME=VALUE; escapes stand for bytes that are no text.
    pub fn new(keys: &[String], headers: &[String]) -> Result<Self, String> {
        let header = |text: &String| match text.split_once('=') {
            Some(("", _)) => Err(format!("--header {text}: there is no name before =")),
            Some((name, value)) => Ok((unescape(name)?, Some(unescape(value)?))),
            None => Ok((unescape(text)?, None)),
        };
        Ok(Self {
            keys: keys.iter().map(|key| unescape(key)).collect::<Result<_, _>>()?,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a record with this key and these headers is wanted.
    pub fn takes<'a>(&self, key: Option<&[u8]>, headers: impl Iterator<Item = Header<'a>> + Clone) -> bool {
        let has = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
            headers.clone().any(|header| header.name == *name && (value.is_none() || header.value == value.as_deref()))
        };
        (self.keys.is_empty() || key.is_some_and(|key| self.keys.iter().any(|wanted| wanted == key)))
            && self.headers.iter().all(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_keys_and_all_of_the_headers() {
        let (a, b) = (Header { name: b"a", value: Some(b"1") }, Header { name: b"b", value: None });
        let takes = |keys: &[&str], wanted: &[&str], key: Option<&[u8]>| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Filter::new(&owned(keys), &owned(wanted)).unwrap().takes(key, [a, b].into_iter())
        };
        assert!(takes(&[], &[], None) && takes(&["k", "x"], &[], Some(b"k")) && takes(&[r"\xff"], &[], Some(b"\xff")));
        assert!(!takes(&["k"], &[], None) && !takes(&["k"], &[], Some(b"kk")));
        assert!(takes(&[""], &[], Some(b"")) && !takes(&[""], &[], None));
        assert!(takes(&[], &["a"], None) && takes(&[], &["b"], None) && takes(&[], &["a=1", "b"], None));
        assert!(!takes(&[], &["a=2"], None) && !takes(&[], &["c"], None) && !takes(&[], &["b="], None));
        assert!(Filter::new(&[], &["=x".to_owned()]).is_err());
    }
}
