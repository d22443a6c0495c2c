//! What a coordinator's refusal means, in words for a person.

use crate::error::{Error, ErrorCode};
use crate::ids::NodeId;

/// The error of a refusal that no retry cures. `message`: what the broker said about it.
pub(super) fn refused(api: &'static str, node: Option<NodeId>, code: ErrorCode, message: Option<String>) -> Error {
    let error = node.into_iter().fold(Error::broker(code).api(api), Error::node);
    explained(match message.filter(|message| !message.is_empty()) {
        Some(message) => error.message(message),
        None => error,
    })
}

/// The error with a hint, if there is one.
pub(super) fn explained(error: Error) -> Error {
    let hint = match error.code() {
        Some(ErrorCode::InconsistentGroupProtocol) => {
            "the members that are in the group have none of this member's assignors, or another group.protocol that can't \
             be mixed with this one's"
        }
        Some(ErrorCode::InvalidSessionTimeout) => "session.timeout.ms is outside of what the broker allows",
        Some(ErrorCode::GroupMaxSizeReached) => "the group has as many members as the broker allows",
        Some(ErrorCode::FencedInstanceId) => "another member with the same group.instance.id has taken over",
        Some(ErrorCode::UnreleasedInstanceId) => {
            "a member with this group.instance.id is in the group: it must leave, or its session end, before another joins"
        }
        Some(ErrorCode::UnsupportedAssignor) => {
            "the broker has no such group.remote.assignor; its group.consumer.assignors names those it has"
        }
        Some(ErrorCode::InvalidRegularExpression) => {
            "the expression is not one of RE2's, which the broker matches with"
        }
        Some(ErrorCode::GroupIdNotFound) => {
            "the group has been deleted, or become one of another protocol, under its members; subscribe to join anew"
        }
        Some(ErrorCode::InvalidRequest) => "the broker does not take what this member says of itself",
        _ => return error,
    };
    error.hint(hint)
}
