//! What hands that know kcat or Kafka's scripts type first, answered with what it is called here.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// An option of theirs that is none here, and what to type.
const HABITS: [(&str, &str); 13] = [
    ("-L", "kcat's -L is `milena cluster info` and `milena topics describe -r '.*'`"),
    ("-C", "kcat's -C is `milena consume`, with the same options"),
    ("-P", "kcat's -P is `milena produce`, with the same options"),
    ("-G", "kcat's -G is `milena consume -g GROUP TOPIC`"),
    ("-Q", "kcat's -Q is `milena offsets list TOPIC`, with `--at @MILLISECONDS` for a time"),
    ("-M", "kcat's -M is `milena broker`"),
    ("--list", "verbs are written without dashes: `list`, as in `milena topics list`"),
    ("--describe", "verbs are written without dashes: `describe`, as in `milena topics describe orders`"),
    ("--create", "verbs are written without dashes: `create`, as in `milena topics create orders`"),
    ("--delete", "verbs are written without dashes: `delete`, as in `milena topics delete orders`"),
    ("--reset-offsets", "Kafka's --reset-offsets is `milena groups seek GROUP --to start`"),
    ("--topic", "topics are named without an option here, as in `milena topics describe orders`"),
    ("--group", "groups are named without an option here, as in `milena groups describe billing`"),
];

/// The same error, with what may have been meant, if it is about an option that other programs have.
pub fn explained(mut error: Error) -> Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return error };
    let habit = HABITS.iter().find(|(option, _)| error.kind() == ErrorKind::UnknownArgument && option == given);
    if let Some((_, tip)) = habit {
        error.remove(ContextKind::SuggestedArg); // which is near by letters alone
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*tip).into()]));
    }
    error
}
