//! Regular expressions over topic names, for client and test broker alike: RE2's syntax, as coordinators take it (KIP-848);
//! the whole name has to match. In linear time, whatever the expression.

use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::syntax;

/// Bytes that a compiled expression may take.
const MAX_SIZE: usize = 1 << 20;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct TopicRegex(PikeVM);

impl TopicRegex {
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn new(regex: &str) -> Result<Self, String> {
        let whole = format!("^(?:{regex})$");
        // Names are ASCII, and so are RE2's classes.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        // By itself first: `a)(b` is made whole by the group around it.
        syntax::parse_with(regex, &syntax).map_err(|error| error.to_string())?;
        let limit = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_SIZE));
        let compiled = PikeVM::builder().syntax(syntax).thompson(limit).build(&whole);
        let compiled = compiled.map_err(|error| error.to_string())?;
        Ok(Self(compiled))
    }

    pub(crate) fn is_match(&self, name: &str) -> bool {
        self.0.is_match(&mut self.0.create_cache(), name)
    }
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
