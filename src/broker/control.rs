//! Faults on command, and the log of what was asked.
//!
//! ```
//! # use milena::{broker::{ApiKey, TestCluster}, error::ErrorCode, ids::NodeId};
//! # use std::time::Duration;
//! # fn show(cluster: &TestCluster) {
//! cluster.fault(ApiKey::Produce).once().error(ErrorCode::NotLeaderOrFollower);
//! cluster.fault(ApiKey::Fetch).on_node(NodeId(2)).times(3).delay(Duration::from_secs(1)).disconnect();
//! # }
//! ```

use super::{ApiKey, Shared, TestCluster};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an API was asked for, and the bytes of its frames, lengths included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequestCount {
    /// Requests that have been answered, or needed no answer.
    pub count: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
}

/// What happens to a request instead of being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve,
    Refuse(ErrorCode),
    Disconnect,
    ApplyThenDisconnect,
    Silence,
}

/// A verdict, and how long to wait before it is carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub delay: Option<Duration>,
    pub then: Verdict,
}

#[derive(Debug, Clone)]
struct Rule {
    api: ApiKey,
    node: Option<NodeId>,
    left: Option<usize>,
    delay: Option<Duration>,
    then: Verdict,
}

/// The rules, in the order in which they were given, and the counts.
#[derive(Debug, Default)]
pub(super) struct Control {
    rules: Vec<Rule>,
    counts: BTreeMap<ApiKey, RequestCount>,
}

impl Control {
    /// The first rule that fits, used up by one.
    pub(super) fn judge(&mut self, api: ApiKey, node: NodeId) -> Judged {
        let fits = |rule: &Rule| rule.api == api && rule.node.is_none_or(|wanted| wanted == node);
        let Some(i) = self.rules.iter().position(fits) else { return Judged { delay: None, then: Verdict::Serve } };
        let rule = &mut self.rules[i];
        let judged = Judged { delay: rule.delay, then: rule.then };
        if let Some(left) = &mut rule.left {
            *left -= 1;
            if *left == 0 {
                self.rules.remove(i);
            }
        }
        judged
    }

    pub(super) fn count(&mut self, api: ApiKey, bytes_in: usize, bytes_out: usize) {
        let counts = self.counts.entry(api).or_default();
        counts.count += 1;
        counts.bytes_in += bytes_in as u64;
        counts.bytes_out += bytes_out as u64;
    }
}

/// A fault being described; it holds from the end of the statement on. Several for one API are used up in their order.
#[derive(Debug)]
pub struct Fault<'a> {
    shared: &'a Shared,
    rule: Rule,
}

impl Fault<'_> {
    /// Only on this broker. Default: on all.
    pub fn on_node(mut self, node: NodeId) -> Self {
        self.rule.node = Some(node);
        self
    }

    /// For the next request. Default: for all, until [`TestCluster::clear_faults`].
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// For the next `n` requests.
    pub fn times(mut self, n: usize) -> Self {
        self.rule.left = Some(n);
        self
    }

    /// Waits this long before it does what else is said, or serves the request. The connection's later requests wait too.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.rule.delay = Some(delay);
        self
    }

    /// Answers with this code, about everything that was asked for, and does nothing.
    pub fn error(self, code: ErrorCode) {
        self.then(Verdict::Refuse(code));
    }

    /// Closes the connection and does nothing.
    pub fn disconnect(self) {
        self.then(Verdict::Disconnect);
    }

    /// Does what is asked, and closes the connection instead of answering: the client can't know.
    pub fn apply_then_disconnect(self) {
        self.then(Verdict::ApplyThenDisconnect);
    }

    /// Never answers, nor anything after it on this connection.
    pub fn silence(self) {
        self.then(Verdict::Silence);
    }

    fn then(mut self, verdict: Verdict) {
        self.rule.then = verdict;
    }
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        if self.rule.left != Some(0) {
            self.shared.state().control.rules.push(self.rule.clone());
        }
    }
}

impl TestCluster {
    /// Breaks an API in a way that the returned value is told.
    pub fn fault(&self, api: ApiKey) -> Fault<'_> {
        let rule = Rule { api, node: None, left: None, delay: None, then: Verdict::Serve };
        Fault { shared: &self.shared, rule }
    }

    /// Takes back every fault that is not used up.
    pub fn clear_faults(&self) {
        self.shared.state().control.rules.clear();
    }

    /// What was asked of an API since the start, or since [`Self::reset_requests`].
    pub fn requests(&self, api: ApiKey) -> RequestCount {
        self.shared.state().control.counts.get(&api).copied().unwrap_or_default()
    }

    /// Starts the counts anew.
    pub fn reset_requests(&self) {
        self.shared.state().control.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_used_up_in_their_order_and_only_where_they_hold() {
        let rule = |left, then| Rule { api: ApiKey::Fetch, node: Some(NodeId(1)), left, delay: None, then };
        let rules = vec![rule(Some(2), Verdict::Silence), rule(None, Verdict::Disconnect)];
        let mut control = Control { rules, ..Control::default() };
        let mut verdict = |api, node| control.judge(api, NodeId(node)).then;
        assert_eq!(verdict(ApiKey::Produce, 1), Verdict::Serve);
        assert_eq!(verdict(ApiKey::Fetch, 2), Verdict::Serve);
        assert_eq!(
            [1, 1, 1, 1].map(|node| verdict(ApiKey::Fetch, node)),
            [Verdict::Silence, Verdict::Silence, Verdict::Disconnect, Verdict::Disconnect]
        );
    }
}
