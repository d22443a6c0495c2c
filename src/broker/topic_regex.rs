//! Regular expressions over topic names, as a coordinator takes them: RE2's syntax, the whole name has to match. In
//! linear time, whatever the expression.

use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::syntax;

/// Bytes that a compiled expression may take.
const MAX_SIZE: usize = 1 << 20;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct TopicRegex(PikeVM);

impl TopicRegex {
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn new(regex: &str) -> Result<Self, String> {
        let whole = format!("^(?:{regex})$");
        // Names are ASCII, and so are RE2's classes.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        // By itself first: `a)(b` is made whole by the group around it.
        syntax::parse_with(regex, &syntax).map_err(|error| refused(regex, &error))?;
        let limit = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_SIZE));
        let compiled = PikeVM::builder().syntax(syntax).thompson(limit).build(&whole);
        let compiled = compiled.map_err(|error| refused(regex, &error))?;
        Ok(Self(compiled))
    }

    pub(super) fn is_match(&self, name: &str) -> bool {
        self.0.is_match(&mut self.0.create_cache(), name)
    }
}

fn refused(regex: &str, why: &dyn std::fmt::Display) -> String {
    format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_has_to_match() {
        let matches = |regex: &str, name: &str| TopicRegex::new(regex).unwrap().is_match(name);
        assert!(matches("topic.*", "topic-1") && matches("a|b", "b") && matches(r"\w+\.\d{2}", "x_1.07"));
        assert!(!matches("^topic", "topic-1") && !matches("a|b", "ab") && !matches("opic", "topic"));
    }

    #[test]
    fn what_is_no_expression_is_refused_and_a_large_one_too() {
        for regex in ["(", "a)(b", "[z-a]", "*", "(?:a{1000}){1000}"] {
            assert!(TopicRegex::new(regex).is_err(), "{regex}");
        }
    }
}
