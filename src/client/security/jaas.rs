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
        let mut rest = text;
        let module = word(&mut rest).ok_or_else(|| wrong(KEY, "it begins with the class of a LoginModule"))?;
        let flag = word(&mut rest).map(str::to_ascii_lowercase);
        if !matches!(flag.as_deref(), Some("required" | "requisite" | "sufficient" | "optional")) {
            return Err(wrong(KEY, "`required` stands behind the class of the LoginModule"));
        }
        let mut options = Vec::new();
        loop {
            rest = behind_blanks(rest);
            if let Some(end) = rest.strip_prefix(';') {
                if !behind_blanks(end).is_empty() {
                    return Err(wrong(KEY, "something stands behind the `;`: there is one LoginModule, not more"));
                }
                return Ok(Self { module: module.to_owned(), options });
            }
            if rest.is_empty() {
                return Err(wrong(KEY, "no `;` at the end"));
            }
            let name = word(&mut rest).ok_or_else(|| wrong(KEY, "options are name=\"value\""))?;
            rest = behind_blanks(rest);
            let shown = shown(name);
            rest = rest.strip_prefix('=').ok_or_else(|| wrong(KEY, format!("no value for {shown}")))?;
            let value = value(&mut rest).ok_or_else(|| wrong(KEY, format!("the value of {shown} has no end")))?;
            options.push((name.to_owned(), value));
        }
    }

    /// The value of an option; of one that is given twice, the last counts.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.expose())
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

/// Without blanks and comments, `// …` to the end of the line and `/* … */`, at the front.
fn behind_blanks(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        let behind = match (rest.strip_prefix("//"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n'),
            (_, Some(comment)) => comment.split_once("*/"),
            _ => return rest,
        };
        rest = behind.map_or("", |(_, behind)| behind.trim_start());
    }
}

/// A run of letters up to a blank, `=` or `;`.
fn word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = behind_blanks(rest);
    let end = text.find(|c: char| c.is_whitespace() || "=;\"".contains(c)).unwrap_or(text.len());
    let (word, more) = text.split_at(end);
    *rest = more;
    (!word.is_empty()).then_some(word)
}

/// In quotes, with Java's escapes, or a bare word.
fn value(rest: &mut &str) -> Option<Secret> {
    let text = behind_blanks(rest);
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
        let Some(escaped) = (letter == '\\').then(|| text.get(at + 1..)).flatten() else {
            value.push(letter);
            continue;
        };
        let Some((letter, length)) = unescaped(escaped) else { break };
        value.push(letter);
        letters.by_ref().take(length).for_each(drop);
    }
    drop(Secret::from(value));
    None
}

/// What an escape stands for, and how many letters it takes: those of a `StreamTokenizer`, up to three octal digits among them.
fn unescaped(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let most = if first <= '3' { 3 } else { 2 };
    let digits = text.chars().take(most).take_while(|c| c.is_digit(8)).count();
    if digits > 0 {
        let code = u8::from_str_radix(text.get(..digits)?, 8).ok()?;
        return Some((code.into(), digits));
    }
    let letter = match first {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        other => other,
    };
    Some((letter, 1))
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
    fn escapes_and_comments_are_those_of_java_and_of_an_option_given_twice_the_last_counts() {
        let text = "// ours\nPlainLoginModule /* of\nKafka */ required // not optional\n\
                    password=\"old\" password = /**/ \"\\t\\101\\7\\378\\477\\q\\\"//\" username=a/b;// end";
        let jaas = Jaas::parse(text).unwrap();
        assert_eq!(jaas.option("password"), Some("\tA\x07\u{1f}8'7q\"//"));
        assert_eq!(jaas.option("username"), Some("a/b"));
        assert!(Jaas::parse("Module required a=\"b\\").unwrap_err().to_string().contains("no end"));
        assert!(Jaas::parse("Module required /* a=b;").unwrap_err().to_string().contains("no `;`"));
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
