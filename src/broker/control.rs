//! Faults on command, and the log of what was asked.
//!
//! ```
//! # use milena::{broker::{ApiKey, TestCluster}, error::ErrorCode, ids::NodeId};
//! # use std::time::Duration;
//! # fn show(cluster: &TestCluster) {
//! cluster.fault(ApiKey::Produce).once().error(ErrorCode::NotLeaderOrFollower);
//! cluster.fault(ApiKey::Fetch).on_node(NodeId(2)).times(3).delay(Duration::from_secs(1)).disconnect();
//! cluster.fault(ApiKey::Metadata).probability(0.1, 42).corrupt(7);
//! # }
//! ```

use super::{ApiKey, Shared, TestCluster};
use crate::error::ErrorCode;
use crate::ids::NodeId;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
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

/// A request that a [script](Fault::respond) answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScriptedRequest {
    /// Who is asked.
    pub node: NodeId,
    /// For what.
    pub api: ApiKey,
    /// In which version.
    pub version: i16,
    /// By whom: the `client.id`.
    pub client_id: String,
    /// What stands behind the header.
    pub body: Bytes,
}

type Answering = dyn Fn(&ScriptedRequest) -> Option<Vec<u8>> + Send + Sync;

/// What a test answers in the cluster's place.
#[derive(Clone)]
pub(super) struct Script(Arc<Answering>);

impl Script {
    pub(super) fn answer(&self, request: &ScriptedRequest) -> Option<Vec<u8>> {
        (self.0)(request)
    }
}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Answer,
    Refuse(ErrorCode),
    Disconnect,
    Silence,
    /// The answer, damaged by numbers that follow from the seed.
    Corrupt(u64),
    Script(Script),
}

/// A whole frame with some of its bytes changed: not its length, or the peer would only wait for more.
pub(super) fn corrupted(frame: &Bytes, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut damaged = BytesMut::from(&frame[..]);
    if let Some(body) = damaged.get_mut(4..).filter(|body| !body.is_empty()) {
        for _ in 0..random.usize(1..=8) {
            let at = random.usize(..body.len());
            body[at] ^= random.u8(1..);
        }
    }
    damaged.freeze()
}

/// What becomes of a request, in the order of the fields.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub delay: Option<Duration>,
    /// Whether it is done.
    pub apply: bool,
    pub delay_answer: Option<Duration>,
    pub then: Verdict,
    pub throttle: Duration,
}

impl Judged {
    const SERVED: Self =
        Self { delay: None, apply: true, delay_answer: None, then: Verdict::Answer, throttle: Duration::ZERO };
}

#[derive(Debug, Clone)]
struct Rule {
    api: ApiKey,
    node: Option<NodeId>,
    topic: Option<String>,
    left: Option<usize>,
    /// How probable it is, of 1, and what decides.
    chance: Option<(f64, fastrand::Rng)>,
    judged: Judged,
}

/// The rules, in the order in which they were given, and the counts.
#[derive(Debug, Default)]
pub(super) struct Control {
    rules: Vec<Rule>,
    /// By API and version.
    counts: BTreeMap<(ApiKey, i16), RequestCount>,
}

impl Control {
    /// The first rule that fits, used up by one. `names` says whether the request names a topic.
    pub(super) fn judge(&mut self, api: ApiKey, node: NodeId, names: impl Fn(&str) -> bool) -> Judged {
        let fits = |rule: &mut Rule| {
            let right = rule.api == api && rule.node.is_none_or(|wanted| wanted == node);
            let right = right && rule.topic.as_deref().is_none_or(&names);
            right && rule.chance.as_mut().is_none_or(|(chance, random)| random.f64() < *chance)
        };
        let Some(i) = self.rules.iter_mut().position(fits) else { return Judged::SERVED };
        let rule = &mut self.rules[i];
        let judged = rule.judged.clone();
        if let Verdict::Corrupt(seed) = &mut rule.judged.then {
            *seed = fastrand::Rng::with_seed(*seed).u64(..); // each answer is damaged in its own way
        }
        if let Some(left) = &mut rule.left {
            *left -= 1;
            if *left == 0 {
                self.rules.remove(i);
            }
        }
        judged
    }

    pub(super) fn count(&mut self, asked: (ApiKey, i16), bytes_in: usize, bytes_out: usize) {
        let counts = self.counts.entry(asked).or_default();
        counts.count += 1;
        counts.bytes_in += bytes_in as u64;
        counts.bytes_out += bytes_out as u64;
    }

    fn counted(&self, api: ApiKey) -> impl Iterator<Item = (i16, &RequestCount)> {
        self.counts.range((api, i16::MIN)..=(api, i16::MAX)).map(|((_, version), counts)| (*version, counts))
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

    /// Only for requests that name this topic (Produce, Fetch, Metadata, ListOffsets); it befalls the whole request.
    pub fn for_topic(mut self, topic: impl Into<String>) -> Self {
        self.rule.topic = Some(topic.into());
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

    /// Not for every request, but with this probability (0 to 1), by numbers that follow from `seed`. Default: 1.
    pub fn probability(mut self, chance: f64, seed: u64) -> Self {
        self.rule.chance = Some((chance, fastrand::Rng::with_seed(seed)));
        self
    }

    /// Waits this long before it does what else is said, or serves the request. The connection's later requests wait too.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.rule.judged.delay = Some(delay);
        self
    }

    /// Serves the request, and answers so much later. The connection's later requests wait too.
    pub fn delay_answer(mut self, delay: Duration) -> Self {
        self.rule.judged.delay_answer = Some(delay);
        self
    }

    /// Answers with this `throttle_time_ms`, where the API's answer has one in the version asked for, and reads nothing more
    /// from the connection for so long (KIP-219).
    pub fn throttle(mut self, throttle: Duration) -> Self {
        self.rule.judged.throttle = throttle;
        self
    }

    /// Answers with this code, about everything that was asked for, and does nothing.
    pub fn error(self, code: ErrorCode) {
        self.then(false, Verdict::Refuse(code));
    }

    /// Does what is asked, and answers with this code: `NOT_ENOUGH_REPLICAS_AFTER_APPEND` and its like.
    pub fn apply_then_error(self, code: ErrorCode) {
        self.then(true, Verdict::Refuse(code));
    }

    /// Closes the connection and does nothing.
    pub fn disconnect(self) {
        self.then(false, Verdict::Disconnect);
    }

    /// Does what is asked, and closes the connection instead of answering: the client can't know.
    pub fn apply_then_disconnect(self) {
        self.then(true, Verdict::Disconnect);
    }

    /// Never answers, nor anything after it on this connection.
    pub fn silence(self) {
        self.then(false, Verdict::Silence);
    }

    /// Does what is asked, and then is [silent](Self::silence).
    pub fn apply_then_silence(self) {
        self.then(true, Verdict::Silence);
    }

    /// Does what is asked, and changes one to eight bytes of the answer, by numbers that follow from `seed`: the client has
    /// to refuse it, or to see nothing wrong, but no more.
    pub fn corrupt(self, seed: u64) {
        self.then(true, Verdict::Corrupt(seed));
    }

    /// Answers with what `script` gives: the response's body in the request's version, as the schema has it (the crate
    /// kafka-protocol writes such); its header is put before it. For `None` the request is served as ever.
    pub fn respond(self, script: impl Fn(&ScriptedRequest) -> Option<Vec<u8>> + Send + Sync + 'static) {
        self.then(true, Verdict::Script(Script(Arc::new(script))));
    }

    fn then(mut self, apply: bool, verdict: Verdict) {
        self.rule.judged.apply = apply;
        self.rule.judged.then = verdict;
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
        let rule = Rule { api, node: None, topic: None, left: None, chance: None, judged: Judged::SERVED };
        Fault { shared: &self.shared, rule }
    }

    /// Takes back every fault that is not used up.
    pub fn clear_faults(&self) {
        self.shared.state().control.rules.clear();
    }

    /// What was asked of an API since the start, or since [`Self::reset_requests`].
    pub fn requests(&self, api: ApiKey) -> RequestCount {
        let state = self.shared.state();
        let sum = |sum: RequestCount, (_, counts): (i16, &RequestCount)| RequestCount {
            count: sum.count + counts.count,
            bytes_in: sum.bytes_in + counts.bytes_in,
            bytes_out: sum.bytes_out + counts.bytes_out,
        };
        state.control.counted(api).fold(RequestCount::default(), sum)
    }

    /// The versions in which an API was asked for since then, the lowest first: what clients have settled on. Requests in a
    /// version that the broker has not got are not among them.
    pub fn versions_seen(&self, api: ApiKey) -> Vec<i16> {
        self.shared.state().control.counted(api).map(|(version, _)| version).collect()
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
        let judged = |then| Judged { apply: false, then, ..Judged::SERVED };
        let (api, node) = (ApiKey::Fetch, Some(NodeId(1)));
        let rule = |left, then| Rule { api, node, topic: None, left, chance: None, judged: judged(then) };
        let rules = vec![rule(Some(2), Verdict::Silence), rule(None, Verdict::Disconnect)];
        let mut control = Control { rules, ..Control::default() };
        let mut verdict = |api, node| control.judge(api, NodeId(node), |_| true).then;
        assert_eq!(verdict(ApiKey::Produce, 1), Verdict::Answer);
        assert_eq!(verdict(ApiKey::Fetch, 2), Verdict::Answer);
        assert_eq!(
            [1, 1, 1, 1].map(|node| verdict(ApiKey::Fetch, node)),
            [Verdict::Silence, Verdict::Silence, Verdict::Disconnect, Verdict::Disconnect]
        );
    }

    #[test]
    fn a_probable_fault_strikes_as_often_as_it_says_and_the_same_for_a_seed() {
        let struck = |seed| {
            let chance = Some((0.25, fastrand::Rng::with_seed(seed)));
            let judged = Judged { apply: false, then: Verdict::Silence, ..Judged::SERVED };
            let rule = Rule { api: ApiKey::Produce, node: None, topic: None, left: None, chance, judged };
            let mut control = Control { rules: vec![rule], ..Control::default() };
            let mut strikes = |_| control.judge(ApiKey::Produce, NodeId(1), |_| true).then == Verdict::Silence;
            (0..1000).map(&mut strikes).collect::<Vec<_>>()
        };
        assert_eq!(struck(1), struck(1));
        assert!((150..350).contains(&struck(1).iter().filter(|struck| **struck).count()));
    }
}
