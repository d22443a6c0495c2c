//! `milena broker --fault`: the test broker's faults as text.

use milena::broker::{ApiKey, Fault, TestCluster};
use milena::error::ErrorCode;
use milena::ids::NodeId;
use std::str::FromStr;
use std::time::Duration;

/// `API:WHAT[:TIMES][,KEY=VALUE…]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpec {
    api: ApiKey,
    what: What,
    times: Option<usize>,
    node: Option<NodeId>,
    topic: Option<String>,
    probability: Option<f64>,
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Error(ErrorCode),
    ApplyThenError(ErrorCode),
    Disconnect,
    ApplyThenDisconnect,
    Silence,
    ApplyThenSilence,
    Corrupt,
    Delay(Duration),
    DelayAnswer(Duration),
    Throttle(Duration),
}

impl FaultSpec {
    /// Breaks the cluster so. What is random follows from the seed given, or else from `seed`.
    pub fn inject(&self, cluster: &TestCluster, seed: u64) {
        let seed = self.seed.unwrap_or(seed);
        let mut fault = cluster.fault(self.api);
        if let Some(node) = self.node {
            fault = fault.on_node(node);
        }
        if let Some(topic) = &self.topic {
            fault = fault.for_topic(topic);
        }
        if let Some(times) = self.times {
            fault = fault.times(times);
        }
        if let Some(probability) = self.probability {
            fault = fault.probability(probability, seed);
        }
        self.what.befall(fault, seed);
    }

    /// Whether another seed, as nobody has given one, makes another run.
    pub fn is_random(&self) -> bool {
        self.seed.is_none() && (self.probability.is_some() || self.what == What::Corrupt)
    }
}

impl What {
    fn befall(self, fault: Fault<'_>, seed: u64) {
        match self {
            Self::Error(code) => fault.error(code),
            Self::ApplyThenError(code) => fault.apply_then_error(code),
            Self::Disconnect => fault.disconnect(),
            Self::ApplyThenDisconnect => fault.apply_then_disconnect(),
            Self::Silence => fault.silence(),
            Self::ApplyThenSilence => fault.apply_then_silence(),
            Self::Corrupt => fault.corrupt(seed),
            Self::Delay(delay) => drop(fault.delay(delay)),
            Self::DelayAnswer(delay) => drop(fault.delay_answer(delay)),
            Self::Throttle(throttle) => drop(fault.throttle(throttle)),
        }
    }
}

impl FromStr for FaultSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = text.split(',');
        let mut parts = options.next().unwrap_or_default().split(':');
        let (api, what) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if what.is_empty() {
            return Err(format!("`{text}` is not API:WHAT[:TIMES], such as produce:not_leader:2"));
        }
        let mut spec = Self {
            api: api_named(api)?,
            what: what.parse()?,
            times: None,
            node: None,
            topic: None,
            probability: None,
            seed: None,
        };
        if let Some(times) = parts.next() {
            let number = times.parse().ok().filter(|times| *times > 0);
            spec.times = Some(number.ok_or_else(|| format!("{times:?} is not how often, from 1"))?);
        }
        if let Some(more) = parts.next() {
            return Err(format!("{more:?} stands behind API:WHAT:TIMES"));
        }
        for option in options {
            let (key, value) = option.split_once('=').ok_or_else(|| format!("{option:?} is not KEY=VALUE"))?;
            let number = || format!("{key}={value}: not a number that can be");
            match key {
                "node" => spec.node = Some(NodeId(value.parse().map_err(|_| number())?)),
                "topic" => spec.topic = Some(value.to_owned()),
                "probability" => spec.probability = Some(crate::args::share(value)?),
                "seed" => spec.seed = Some(value.parse().map_err(|_| number())?),
                _ => return Err(format!("{key:?} is none of node, topic, probability, seed")),
            }
        }
        Ok(spec)
    }
}

/// An API in any case, with `_` or `-` or without.
fn api_named(text: &str) -> Result<ApiKey, String> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let found = ApiKey::ALL.iter().copied().find(|api| plain(&format!("{api:?}")) == plain(text));
    found.ok_or_else(|| format!("{text:?} is no API that the test broker serves, such as produce, fetch or metadata"))
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((what, value)) = text.split_once('=') {
            let value = crate::args::duration(value)?;
            return match what {
                "delay" => Ok(Self::Delay(value)),
                "delay_answer" => Ok(Self::DelayAnswer(value)),
                "throttle" => Ok(Self::Throttle(value)),
                _ => Err(format!("{what:?} is none of delay, delay_answer, throttle")),
            };
        }
        match text {
            "disconnect" => Ok(Self::Disconnect),
            "apply_then_disconnect" => Ok(Self::ApplyThenDisconnect),
            "silence" => Ok(Self::Silence),
            "apply_then_silence" => Ok(Self::ApplyThenSilence),
            "corrupt" => Ok(Self::Corrupt),
            _ => match text.strip_prefix("apply_then_") {
                Some(code) => error_named(code).map(Self::ApplyThenError),
                None => error_named(text).map(Self::Error),
            },
        }
    }
}

/// An error by Kafka's name in any case, or by a beginning of it that no other has.
fn error_named(text: &str) -> Result<ErrorCode, String> {
    let wanted = text.to_ascii_uppercase();
    let known: Vec<_> = (i16::MIN..=i16::MAX).filter_map(ErrorCode::from_wire).collect();
    if let Some(exact) = known.iter().find(|code| code.name() == wanted) {
        return Ok(*exact);
    }
    let begin: Vec<_> = known.iter().filter(|code| code.name().starts_with(&wanted)).collect();
    match begin[..] {
        [one] => Ok(*one),
        [] => Err(format!("{text:?} is no error of Kafka's, nor disconnect, silence, corrupt or delay=…")),
        _ => {
            let names: Vec<_> = begin.iter().map(|code| code.name().to_ascii_lowercase()).collect();
            Err(format!("{text:?} may be {}", names.join(" or ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> FaultSpec {
        text.parse().unwrap()
    }

    #[test]
    fn a_fault_is_an_api_what_befalls_it_and_how_often() {
        let spec = parsed("produce:not_leader:2");
        let code = ErrorCode::NotLeaderOrFollower;
        assert_eq!((spec.api, spec.what, spec.times), (ApiKey::Produce, What::Error(code), Some(2)));
        let spec = parsed("find-coordinator:delay=1s,node=2,topic=t,probability=0.5,seed=7");
        assert_eq!((spec.api, spec.what), (ApiKey::FindCoordinator, What::Delay(Duration::from_secs(1))));
        assert_eq!((spec.node, spec.topic.as_deref()), (Some(NodeId(2)), Some("t")));
        assert_eq!((spec.times, spec.probability, spec.seed), (None, Some(0.5), Some(7)));
        let code = ErrorCode::NotEnoughReplicasAfterAppend;
        assert_eq!(parsed("Produce:apply_then_not_enough_replicas_after").what, What::ApplyThenError(code));
        assert_eq!(parsed("fetch:not_enough_replicas").what, What::Error(ErrorCode::NotEnoughReplicas), "a whole name");
        assert_eq!(parsed("fetch:apply_then_silence").what, What::ApplyThenSilence);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text: &str| text.parse::<FaultSpec>().unwrap_err();
        assert!(why("produce").contains("produce:not_leader:2"));
        assert!(why("prodcue:silence").contains("\"prodcue\" is no API"));
        assert!(why("produce:not_").contains("not_coordinator or "), "{}", why("produce:not_"));
        assert!(why("produce:nonsense").contains("no error of Kafka's"));
        assert!(why("produce:silence:0").contains("how often"));
        assert!(why("produce:silence:1:2").contains("behind"));
        assert!(why("produce:silence,nod=1").contains("none of node, topic"));
        assert!(why("produce:silence,node").contains("KEY=VALUE"));
        assert!(why("produce:delay=soon").contains("soon"));
    }
}
