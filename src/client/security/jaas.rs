//! `sasl.jaas.config`, as Java has it: `LoginModule required name="value" … ;`. Nothing of its values is in an error.

use super::wrong;
use crate::error::Result;
use crate::secret::Secret;

/// One login module with its options.
#[derive(Debug)]
pub(super) struct Jaas {
    module: String,
    options: Vec<(String, Secret)>,
}

const KEY: &str = "sasl.jaas.config";

impl Jaas {
    /// # Errors
    /// `Config`, saying what is missing.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut rest = text.trim_start();
        let module = word(&mut rest).ok_or_else(|| wrong(KEY, "it begins with the class of a LoginModule"))?;
        let flag = word(&mut rest).map(str::to_ascii_lowercase);
        if !matches!(flag.as_deref(), Some("required" | "requisite" | "sufficient" | "optional")) {
            return Err(wrong(KEY, "`required` stands behind the class of the LoginModule"));
        }
        let mut options = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(end) = rest.strip_prefix(';') {
                if !end.trim().is_empty() {
                    return Err(wrong(KEY, "something stands behind the `;`: there is one LoginModule, not more"));
                }
                return Ok(Self { module: module.to_owned(), options });
            }
            if rest.is_empty() {
                return Err(wrong(KEY, "no `;` at the end"));
            }
            let name = word(&mut rest).ok_or_else(|| wrong(KEY, "options are name=\"value\""))?;
            rest = rest.trim_start();
            let shown = shown(name);
            rest = rest.strip_prefix('=').ok_or_else(|| wrong(KEY, format!("no value for {shown}")))?;
            let value = value(&mut rest).ok_or_else(|| wrong(KEY, format!("the value of {shown} has no end")))?;
            options.push((name.to_owned(), value));
        }
    }

    /// The value of an option.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose())
    }

    /// All options.
    pub(super) fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// Whether it is for the mechanism that is wanted. Relocated classes (`kafkashaded.…`) are as good.
    pub(super) fn check_module(&self, wanted: &str) -> Result<()> {
        if self.module.rsplit('.').next() == Some(wanted) {
            return Ok(());
        }
        let shown: String =
            self.module.chars().filter(|c| c.is_alphanumeric() || ".$_".contains(*c)).take(80).collect();
        Err(wrong(KEY, format!("{shown} is not what sasl.mechanism wants: {wanted}")))
    }
}

/// By its name if it is one that there is: of a password with blanks that has no quotes, the rest looks like another option.
fn shown(name: &str) -> String {
    let known = ["username", "password", "tokenauth", "clientId", "clientSecret", "scope"].contains(&name);
    if known || name.starts_with("unsecuredLogin") || name.starts_with("extension_") {
        format!("the option `{name}`")
    } else {
        "an option (a value with blanks in it stands in quotes)".to_owned()
    }
}

/// A run of letters up to a blank, `=` or `;`.
fn word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start();
    let end = text.find(|c: char| c.is_whitespace() || "=;\"".contains(c)).unwrap_or(text.len());
    let (word, more) = text.split_at(end);
    *rest = more;
    (!word.is_empty()).then_some(word)
}

/// In quotes, where a backslash takes the next letter as it is, or a bare word.
fn value(rest: &mut &str) -> Option<Secret> {
    let text = rest.trim_start();
    let Some(quote) = text.chars().next().filter(|c| "\"'".contains(*c)) else {
        let end = text.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(text.len());
        let (word, more) = text.split_at(end);
        *rest = more;
        return (!word.is_empty()).then(|| word.into());
    };
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            *rest = &text[at + 1..];
            return Some(value.into());
        }
        value.push(if letter == '\\' { letters.next()?.1 } else { letter });
    }
    drop(Secret::from(value));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_java_takes_is_taken() {
        let text = r#"  org.apache.kafka.common.security.scram.ScramLoginModule   required
            username="al\"ice"  password = 'p;w=\\' tokenauth=true ;
        "#;
        let jaas = Jaas::parse(text).unwrap();
        let options = ["username", "password", "tokenauth", "nothing"].map(|name| jaas.option(name));
        assert_eq!(options, [Some("al\"ice"), Some("p;w=\\"), Some("true"), None]);
        assert!(jaas.check_module("ScramLoginModule").is_ok());
        let error = jaas.check_module("PlainLoginModule").unwrap_err().to_string();
        assert!(error.contains("ScramLoginModule is not what"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_without_a_word_of_what_it_holds() {
        for (text, why) in [
            ("", "begins with"),
            ("Module", "`required`"),
            ("Module username=\"hush\";", "`required`"),
            ("Module required username=\"hush\"", "no `;`"),
            ("Module required password=\"hush;", "`password` has no end"),
            ("Module required password;", "no value for the option `password`"),
            ("Module required password=my hush;", "no value for an option (a value with blanks"),
            ("Module required password=\"a\"hush;", "no value for an option"),
            ("Module required =\"hush\";", "options are"),
            ("Module required a=\"hush\"; Module required;", "behind the `;`"),
        ] {
            let error = Jaas::parse(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.starts_with(KEY) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
