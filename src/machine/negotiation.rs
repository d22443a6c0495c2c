//! ApiVersions, the first request on every connection, with every fallback that brokers need.
//!
//! - The answer UNSUPPORTED_VERSION comes with a v0 body that lists what the broker has (KIP-511); but the list may be
//!   empty, or the body a hybrid that is neither: then v0 is asked.
//! - Azure Event Hubs resets the connection on v4: v3 is tried on a new one, and never v0 silently, because a reset
//!   says nothing about versions.

use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::wire::api_versions::{BrokerVersions, api_versions_request, ours};
use crate::wire::messages::{ApiKey, ApiVersionsRequest};
use crate::wire::request;
use bytes::Bytes;

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send ApiVersions in this version on the same connection.
    Ask(i16),
    /// The broker's versions are known.
    Done(BrokerVersions),
}

/// Finds out what a broker speaks.
#[derive(Debug)]
pub struct Negotiation {
    version: i16,
    reconnected: bool,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self { version: ours::<ApiVersionsRequest>().1, reconnected: false }
    }
}

impl Negotiation {
    /// The version to ask in now.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The request in the current version.
    pub fn request(&self) -> ApiVersionsRequest {
        api_versions_request(self.version)
    }

    /// The answer: a response frame without its length.
    ///
    /// # Errors
    /// `Malformed`, or `UnsupportedVersion` if the broker has none that we have.
    pub fn handle_response(&mut self, frame: Bytes) -> Result<Step> {
        let code = frame.get(4..6).and_then(<[u8]>::first_chunk).map(|code| i16::from_be_bytes(*code));
        let code = code.ok_or_else(|| Error::new(ErrorKind::Malformed).api("ApiVersions"))?;
        match ErrorCode::from_wire(code) {
            None => {
                let response = request::decode_response::<ApiVersionsRequest>(self.version, frame)?;
                Ok(Step::Done(BrokerVersions::new(&response)))
            }
            Some(ErrorCode::UnsupportedVersion) if self.version > 0 => {
                let listed = request::decode_response::<ApiVersionsRequest>(0, frame).ok();
                let theirs = listed.and_then(|response| BrokerVersions::new(&response).max(ApiKey::ApiVersions));
                self.version = theirs.unwrap_or(0).clamp(0, self.version - 1);
                Ok(Step::Ask(self.version))
            }
            Some(code) => Err(Error::broker(code).api("ApiVersions")),
        }
    }

    /// The connection broke instead of an answer. `true`: connect again and ask in the (lower) current version.
    pub fn handle_disconnected(&mut self) -> bool {
        let again = !self.reconnected && self.version > 3;
        self.reconnected = true;
        if again {
            self.version = 3;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::{ApiVersionsResponse, api_versions_response::ApiVersion};
    use bytes::Buf;

    fn answer(code: i16, max: Option<i16>, version: i16) -> Bytes {
        let apis = max.map(|max| ApiVersion::default().with_api_key(18).with_max_version(max));
        let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(apis.into_iter().collect());
        let mut frame = request::encode_response::<ApiVersionsRequest>(&response, version, 1).unwrap();
        frame.advance(4);
        frame
    }

    #[test]
    fn an_old_broker_answers_error_35_in_v0_and_is_asked_in_its_own_highest() {
        let mut negotiation = Negotiation::default();
        assert!(matches!(negotiation.handle_response(answer(35, Some(2), 0)), Ok(Step::Ask(2))));
        assert!(matches!(negotiation.handle_response(answer(0, Some(2), 2)), Ok(Step::Done(_))));
    }

    #[test]
    fn error_35_with_an_empty_list_or_a_hybrid_body_falls_back_to_v0() {
        for body in [answer(35, None, 0), answer(35, Some(3), 3)] {
            let mut negotiation = Negotiation::default();
            assert!(matches!(negotiation.handle_response(body), Ok(Step::Ask(0))));
            assert!(negotiation.handle_response(answer(35, None, 0)).is_err(), "v0 refused: no loop");
        }
    }

    #[test]
    fn a_reset_falls_back_to_v3_once_and_never_to_v0() {
        let mut negotiation = Negotiation::default();
        assert!(negotiation.handle_disconnected());
        assert_eq!(negotiation.version(), 3);
        assert!(!negotiation.handle_disconnected());
    }

    #[test]
    fn a_broker_that_claims_more_than_we_asked_with_error_35_does_not_loop() {
        let mut negotiation = Negotiation::default();
        for _ in 0..10 {
            match negotiation.handle_response(answer(35, Some(99), 0)) {
                Ok(Step::Ask(_)) => {}
                other => return assert!(other.is_err()),
            }
        }
        panic!("still asking");
    }
}
