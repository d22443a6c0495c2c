//! What Java's and librdkafka's files have and this client has not: passed over where nothing is lost by it, refused where it
//! would mean another thing without.

use crate::error::{Error, ErrorKind, Result};

/// Sizes of buffers that there are not, clocks of polling that there is not, classes of Java's own.
pub(super) const WITHOUT_EFFECT: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.include.jmx.reporter",
    "auto.register.schemas",
    "batch.num.messages",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.report.only.error",
    "enable.metrics.push",
    "enable.random.seed",
    "enabled_events",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "http.connect.timeout.ms",
    "http.read.timeout.ms",
    "interceptor.classes",
    "internal.leave.group.on.close",
    "internal.termination.signal",
    "internal.throw.on.fetch.stable.offset.unsupported",
    "key.deserializer",
    "key.serializer",
    "key.subject.name.strategy",
    "latest.cache.ttl.sec",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "message.copy.max.bytes",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "normalize.schemas",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.messages",
    "queued.min.messages",
    "queuing.strategy",
    "rebalance.timeout.ms",
    "receive.buffer.bytes",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "retries.max.wait.ms",
    "retries.wait.ms",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.jwt.validator.class",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "security.providers",
    "send.buffer.bytes",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.max.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "specific.avro.reader",
    "ssl.ca.certificate.stores",
    "ssl.client.auth",
    "ssl.curves.list",
    "ssl.keymanager.algorithm",
    "ssl.provider",
    "ssl.providers",
    "ssl.secure.random.implementation",
    "ssl.sigalgs.list",
    "ssl.trustmanager.algorithm",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.sparse",
    "use.latest.version",
    "value.deserializer",
    "value.serializer",
    "value.subject.name.strategy",
];

/// Whole families of them. Which grant a token endpoint is asked for says `sasl.oauthbearer.grant.type`, which is read.
const PREFIXES: &[&str] = &[
    "basic.auth.",
    "bearer.auth.",
    "confluent.",
    "default.list.",
    "sasl.kerberos.",
    "sasl.oauthbearer.assertion.",
    "sasl.oauthbearer.expected.",
    "sasl.oauthbearer.jwks.",
    "schema.registry.",
];

const JAVA_ONLY: &str = "a class that only Java can load";

/// What has to be as it is here, beside nothing at all: of a class its last name counts. And why it can't be otherwise.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("bootstrap.controllers", &[], "controllers are not asked here: bootstrap.servers names brokers"),
    ("enable.gapless.guarantee", &["false"], "a record that is lost does not end the producer here"),
    ("group.protocol.type", &["consumer"], "a group of consumers is the only kind here"),
    ("offset.store.method", &["broker"], "offsets are kept by brokers, and nowhere else"),
    (
        "partitioner.class",
        &["DefaultPartitioner"],
        "a class that only Java can load: `partitioner` has those that are built in",
    ),
    ("plugin.library.paths", &[], "libraries are not loaded here"),
    ("sasl.client.callback.handler.class", &["SaslClientCallbackHandler"], JAVA_ONLY),
    ("sasl.login.class", &["DefaultLogin"], JAVA_ONLY),
    (
        "sasl.oauthbearer.jwt.retriever.class",
        &["DefaultJwtRetriever", "ClientCredentialsJwtRetriever"],
        "a class that only Java can load: give a TokenProvider to ClientConfig::sasl",
    ),
    ("sasl.oauthbearer.metadata.authentication.type", &["none"], "give a TokenProvider to ClientConfig::sasl"),
    (
        "ssl.engine.factory.class",
        &["DefaultSslEngineFactory"],
        "a class that only Java can load: certificates are named by ssl.*",
    ),
    ("ssl.engine.id", &[], "engines of OpenSSL are not used here: keys are PEM, in ssl.key.location"),
    ("ssl.engine.location", &[], "engines of OpenSSL are not used here: keys are PEM, in ssl.key.location"),
    ("topic.blacklist", &[], "no topics are hidden here"),
    ("transaction.two.phase.commit.enable", &["false"], "transactions have one phase here"),
];

/// Whether it is one of those, and goes without.
///
/// # Errors
/// `Config`: it would mean another thing without.
pub(super) fn passes(key: &str, value: &str) -> Result<bool> {
    let value = value.trim();
    // Without, `${file:…}` would go out as the password itself.
    if key == "config.providers" || key.starts_with("config.providers.") {
        return match value {
            "" => Ok(true),
            _ => Err(refused("config.providers", "nothing replaces `${…}` in values here: write them as they are")),
        };
    }
    if let Some((key, as_here, why)) = ONLY.iter().find(|(known, ..)| *known == key) {
        let name = value.rsplit('.').next().unwrap_or_default();
        return match value.is_empty() || as_here.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            true => Ok(true),
            false => Err(refused(key, why)),
        };
    }
    Ok(WITHOUT_EFFECT.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}

fn refused(key: &str, why: &str) -> Error {
    Error::with_message(ErrorKind::Config, format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::{Properties, keys};

    #[test]
    fn what_has_an_effect_is_not_among_them() {
        let only = ONLY.iter().map(|(key, ..)| key);
        for key in WITHOUT_EFFECT.iter().chain(only) {
            assert!(!keys().any(|known| known == *key), "{key} has an effect");
        }
        for key in keys() {
            assert!(!PREFIXES.iter().any(|prefix| key.starts_with(prefix)), "{key} has an effect");
        }
        assert!(WITHOUT_EFFECT.is_sorted() && ONLY.is_sorted() && PREFIXES.is_sorted());
    }

    #[test]
    fn librdkafka_s_own_are_passed_over_or_have_their_meaning_here() {
        let text = "queue.buffering.max.messages=100000\nbatch.num.messages=10000\nreceive.message.max.bytes=1000\n\
                    queued.min.messages=1\nreconnect.backoff.jitter.ms=1\nmessage.copy.max.bytes=1\noffset.store.method=broker\n\
                    queue.buffering.backpressure.threshold=1\ncoordinator.query.interval.ms=1\nfetch.error.backoff.ms=1\n\
                    fetch.queue.backoff.ms=1\ngroup.protocol.type=consumer\nenable.gapless.guarantee=false";
        assert_eq!(Properties::parse(text).unwrap().iter().count(), 0);
        let properties = Properties::parse(
            "queued.max.messages.kbytes=65536\ntopic.metadata.refresh.interval.ms=-1\nauto.commit.enable=false",
        );
        let properties = properties.unwrap();
        assert_eq!(properties.consumer().unwrap().prefetch_bytes, 64 << 20);
        assert!(!format!("{:?}", properties.consumer().unwrap()).contains("enable_auto_commit: true"));
        assert!(properties.client().is_ok());
    }

    #[test]
    fn java_s_own_are_passed_over() {
        let text = "metadata.max.idle.ms=1\nsasl.oauthbearer.sub.claim.name=sub\nsasl.oauthbearer.clock.skew.seconds=30\n\
                    sasl.oauthbearer.expected.audience=a\nsasl.oauthbearer.jwks.endpoint.url=https://idp/keys\n\
                    schema.registry.url=http://sr\nbasic.auth.user.info=a:b\nsasl.login.class=\n\
                    partitioner.class=org.apache.kafka.clients.producer.internals.DefaultPartitioner\nconfig.providers=";
        // The registry's two, if there is somebody for them.
        let kept = if cfg!(feature = "schema-registry") { 2 } else { 0 };
        assert_eq!(Properties::parse(text).unwrap().iter().count(), kept);
    }

    #[test]
    fn what_would_mean_another_thing_is_refused_with_the_reason() {
        for (line, why) in [
            ("config.providers=file", "nothing replaces `${…}`"),
            (
                "config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider",
                "nothing replaces",
            ),
            ("partitioner.class=com.example.Mine", "only Java can load: `partitioner`"),
            ("partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner", "only Java can load"),
            ("ssl.engine.factory.class=com.example.Mine", "only Java can load"),
            ("sasl.login.class=com.example.Mine", "only Java can load"),
            ("sasl.client.callback.handler.class=com.example.Mine", "only Java can load"),
            ("offset.store.method=file", "kept by brokers"),
            ("topic.blacklist=^secret", "hidden"),
        ] {
            let error = Properties::parse(line).unwrap_err();
            let key = line.split(['=']).next().unwrap();
            let key = if key.starts_with("config.providers") { "config.providers" } else { key };
            let error = (error.kind(), error.to_string());
            assert!(error.0 == ErrorKind::Config && error.1.starts_with(key) && error.1.contains(why), "{error:?}");
        }
    }
}
