//! What was meant by a name that nothing has.

use crate::args::Failure;
use milena::admin::Admin;
use milena::error::{Error, ErrorCode};

/// The name that is nearest, if it is near enough for a slip of the hand: one letter of a short word, or a third of a longer one.
pub fn nearest(given: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let distance = |name: &String| strsim::damerau_levenshtein(name, given);
    let best = names.into_iter().filter(|name| name != given).min_by_key(distance)?;
    let near = match given.chars().count() {
        0..=5 => 1,
        letters => letters / 3,
    };
    (distance(&best) <= near).then_some(best)
}

/// The failure of a call that was about this topic: of one that does not exist, with the name that may have been meant.
pub async fn topic(admin: &Admin, name: &str, error: Error) -> Failure {
    if error.code() != Some(ErrorCode::UnknownTopicOrPartition) {
        return error.into();
    }
    // Whoever may not list topics gets no hint.
    let topics = admin.list_topics().await.unwrap_or_default();
    if topics.iter().any(|topic| topic.name == name) {
        return error.into(); // the topic is there: it was about a partition, or has just come
    }
    missing("topic", "topics", name, topics.into_iter().map(|topic| topic.name)).named("UNKNOWN_TOPIC_OR_PARTITION")
}

/// The failure for a group that does not exist.
pub async fn no_group(admin: &Admin, id: &str) -> Failure {
    let groups = admin.list_groups().await.unwrap_or_default();
    missing("group", "groups", id, groups.into_iter().map(|group| group.group_id)).named("GROUP_ID_NOT_FOUND")
}

/// Nothing of this kind has the name.
pub fn missing(kind: &str, verb: &str, name: &str, names: impl IntoIterator<Item = String>) -> Failure {
    Failure::broker(match nearest(name, names) {
        Some(near) => format!("{kind} {name} does not exist; is it {near}?"),
        None => format!("{kind} {name} does not exist; `milena {verb} list` shows what there is"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_near_and_another_word_is_not() {
        let names = || ["clicks", "orders", "user-behavior-events"].map(str::to_owned);
        assert_eq!(nearest("clikcs", names()).as_deref(), Some("clicks"));
        assert_eq!(nearest("user-behaviour-event", names()).as_deref(), Some("user-behavior-events"));
        assert_eq!((nearest("payments", names()), nearest("x", [])), (None, None));
        let short = || ["copy", "a1"].map(str::to_owned);
        assert_eq!((nearest("nope", short()), nearest("b2", short())), (None, None));
        assert_eq!(nearest("cpoy", short()).as_deref(), Some("copy"), "two letters that changed places are one slip");
    }
}
