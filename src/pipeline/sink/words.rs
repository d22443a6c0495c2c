//! libpq's words in a URL that tokio-postgres does not know: taken out of it, the others stay.

use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// Values by name, decoded. Of a word that is given twice the last counts.
pub(super) type Words = BTreeMap<&'static str, String>;

/// The URL without these words, and what they say.
///
/// # Errors
/// A value of one of them that is no percent-encoded UTF-8.
pub(super) fn taken_out(url: &str, names: &[&'static str]) -> Result<(String, Words), String> {
    let mut words = Words::new();
    // A password may hold a question mark.
    let host = url.find('@').unwrap_or(0);
    let Some(question) = url[host..].find('?').map(|at| host + at) else { return Ok((url.to_owned(), words)) };
    let mut kept = Vec::new();
    for pair in url[question + 1..].split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match names.iter().find(|own| **own == name) {
            Some(name) => {
                let value = decoded(value).ok_or_else(|| format!("{name} is no percent-encoded UTF-8"))?;
                words.insert(*name, value);
            }
            None => kept.push(pair),
        }
    }
    let mut rest = url[..question].to_owned();
    if !kept.is_empty() {
        rest.push('?');
        rest.push_str(&kept.join("&"));
    }
    Ok((rest, words))
}

/// As libpq does it: a percent sign that is none of an encoded byte is a mistake.
fn decoded(text: &str) -> Option<String> {
    let is_byte = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_byte) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_words_are_taken_out_of_the_url_and_the_others_stay() {
        let url = "postgres://u:p?w@h/d?a=1&options=-c%20x%3D1&b=%2Fa%20b.pem&application_name=n&b=%C3%A9";
        let (rest, words) = taken_out(url, &["a", "b", "c"]).unwrap();
        assert_eq!(rest, "postgres://u:p?w@h/d?options=-c%20x%3D1&application_name=n");
        assert_eq!(words, Words::from([("a", "1".to_owned()), ("b", "é".to_owned())]));
        assert_eq!(taken_out("postgres://h/d?a=1", &["a"]).unwrap().0, "postgres://h/d");
        assert_eq!(taken_out("postgres://h/d", &["a"]).unwrap(), ("postgres://h/d".to_owned(), Words::new()));
    }

    #[test]
    fn a_stray_percent_sign_is_a_mistake() {
        for value in ["%", "%4", "%zz", "%+f", "a%4g", "%ff"] {
            let error = taken_out(&format!("postgres://h/d?a={value}"), &["a"]).unwrap_err();
            assert!(error.contains("a is no percent-encoded"), "{value}: {error}");
        }
    }
}
