"""Configs of topics and brokers: described, altered bit by bit, refused."""

from foreign.harness import check, equal, name_of, topic, until
from foreign.wire import (
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ask, brokers, error, is_error,
)

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
DYNAMIC_TOPIC, DEFAULT = 1, 5


def describe(name, *keys, kind=TOPIC, version=4, at=None, **flags):
    of = {"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}
    return ask(DescribeConfigsRequest, version, at=at, resources=[of], **flags).results[0]


def configs(name, *keys, **how):
    return {one.name: one for one in describe(name, *keys, **how).configs}


def alter(name, *changes, kind=TOPIC, validate_only=False):
    changes = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in changes]
    of = {"resource_type": kind, "resource_name": name, "configs": changes}
    return error(ask(IncrementalAlterConfigsRequest, 1, resources=[of], validate_only=validate_only).responses[0].error_code)


def value(name, key):
    return configs(name, key)[key].value


@check
def a_topics_configs_say_where_they_come_from():
    name = topic("sources", config={"retention.ms": "12345"})
    for version in range(1, 5):
        got = configs(name, version=version)
        set_, unset = got["retention.ms"], got["max.compaction.lag.ms"]
        equal((set_.value, set_.config_source), ("12345", DYNAMIC_TOPIC), f"v{version}")
        equal((unset.value, unset.config_source), (str(2**63 - 1), DEFAULT), f"v{version}")
        equal((set_.read_only, set_.is_sensitive), (False, False), f"v{version}")
    equal(set(configs(name, "retention.ms", "cleanup.policy")), {"retention.ms", "cleanup.policy"}, "only what was asked for")
    equal(set(configs(name, "no.such.config")), set())


@check
def a_topic_has_the_configs_that_kafka_has():
    name = topic("all-configs")
    want = {
        "cleanup.policy", "compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
        "delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms", "follower.replication.throttled.replicas",
        "index.interval.bytes", "leader.replication.throttled.replicas", "local.retention.bytes", "local.retention.ms",
        "max.compaction.lag.ms", "max.message.bytes", "message.timestamp.after.max.ms", "message.timestamp.before.max.ms",
        "message.timestamp.type", "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate",
        "remote.log.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable", "retention.bytes", "retention.ms",
        "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms", "unclean.leader.election.enable",
    }
    equal(want - set(configs(name)), set(), "missing")


@check
def configs_have_types_and_synonyms_when_asked():
    name = topic("types")
    types = {"retention.ms": 5, "cleanup.policy": 7, "preallocate": 1, "max.message.bytes": 3, "min.cleanable.dirty.ratio": 6, "compression.type": 2}
    got = configs(name, *types)
    equal({key: one.config_type for key, one in got.items()}, types)
    equal({one.documentation for one in got.values()}, {None})
    got = configs(name, "retention.ms", include_synonyms=True)["retention.ms"]
    equal((got.synonyms[0].name, got.synonyms[0].value, got.synonyms[0].source), ("retention.ms", "-1", DYNAMIC_TOPIC))


@check
def configs_are_set_deleted_appended_to_and_subtracted_from():
    name = topic("altered")
    equal(alter(name, ("segment.ms", SET, "7000"), ("segment.bytes", SET, "2000000")), "NONE")
    until(lambda: value(name, "segment.ms") == "7000", 10, "set")
    equal(value(name, "segment.bytes"), "2000000")
    equal(alter(name, ("segment.ms", DELETE, None)), "NONE")
    until(lambda: value(name, "segment.ms") == "604800000", 10, "the default again")
    equal(alter(name, ("cleanup.policy", APPEND, "compact")), "NONE")
    until(lambda: value(name, "cleanup.policy") == "delete,compact", 10, "appended")
    equal(alter(name, ("cleanup.policy", SUBTRACT, "delete")), "NONE")
    until(lambda: value(name, "cleanup.policy") == "compact", 10, "subtracted")
    equal(value(name, "segment.bytes"), "2000000", "what is not named stays")


@check
def configs_that_can_not_be_are_refused():
    name = topic("refused")
    equal(alter(name, ("retention.ms", SET, "soon")), "INVALID_CONFIG")
    equal(alter(name, ("no.such.config", SET, "1")), "INVALID_CONFIG")
    equal(alter(name, ("max.message.bytes", SET, "-1")), "INVALID_CONFIG")
    equal(alter(name, ("retention.ms", APPEND, "1")), "INVALID_CONFIG", "not a list")
    equal(alter(name, ("retention.ms", SET, "1"), ("retention.ms", SET, "2")), "INVALID_REQUEST", "twice")
    equal(alter(name, ("retention.ms", SET, None)), "INVALID_REQUEST", "set to nothing")
    equal(alter(name_of("none"), ("retention.ms", SET, "1")), "UNKNOWN_TOPIC_OR_PARTITION")
    equal(alter(name, ("segment.ms", SET, "9000"), validate_only=True), "NONE")
    equal((value(name, "segment.ms"), value(name, "retention.ms")), ("604800000", "-1"), "nothing has changed")


@check
def the_older_request_sets_what_it_names_and_nothing_else():
    name = topic("older", config={"segment.ms": "7000"})

    def alter_all(*changes, name=name, validate_only=False):
        of = {"resource_type": TOPIC, "resource_name": name, "configs": [{"name": key, "value": value} for key, value in changes]}
        return error(ask(AlterConfigsRequest, 2, resources=[of], validate_only=validate_only).responses[0].error_code)

    equal(alter_all(("retention.ms", None)), "INVALID_REQUEST")
    equal(alter_all(("retention.ms", "1"), ("retention.ms", "2")), "INVALID_REQUEST")
    equal(alter_all(("retention.ms", "-9")), "INVALID_CONFIG")
    equal(alter_all(("retention.ms", "5"), name="a/b"), "INVALID_TOPIC_EXCEPTION")
    equal(alter_all(("retention.ms", "5"), name=name_of("none")), "UNKNOWN_TOPIC_OR_PARTITION")
    equal(alter_all(("retention.ms", "5"), validate_only=True), "NONE")
    equal((value(name, "retention.ms"), value(name, "segment.ms")), ("-1", "7000"))
    equal(alter_all(("retention.ms", "86400000")), "NONE")
    until(lambda: value(name, "retention.ms") == "86400000", 10, "it is set")
    equal(value(name, "segment.ms"), "604800000", "the default again")


@check
def topics_and_brokers_are_what_has_configs():
    name = topic("listed")
    listed = lambda version, **of: [(one.resource_type, one.resource_name) for one in ask(ListConfigResourcesRequest, version, **of).config_resources]
    equal(listed(0), [], "client metrics")
    assert (TOPIC, name) in listed(1, resource_types=[TOPIC])
    equal(sorted(listed(1, resource_types=[BROKER])), [(BROKER, str(node)) for node in sorted(brokers())])
    assert {(TOPIC, name), *((BROKER, str(node)) for node in brokers())} <= set(listed(1, resource_types=[]))
    is_error(ask(ListConfigResourcesRequest, 1, resource_types=[7]).error_code, "UNSUPPORTED_VERSION")


@check
def an_altered_config_takes_effect():
    from foreign.wire import batch, produce

    name = topic("effect")
    is_error(produce(name, batch([b"x" * 2000])).error_code, "NONE")
    equal(alter(name, ("max.message.bytes", SET, "1000")), "NONE")
    until(lambda: error(produce(name, batch([b"x" * 2000])).error_code) == "MESSAGE_TOO_LARGE", 10, "the limit holds")


@check
def configs_of_what_does_not_exist_are_an_error():
    is_error(describe(name_of("none")).error_code, "UNKNOWN_TOPIC_OR_PARTITION")
    is_error(describe("a/b").error_code, "INVALID_TOPIC_EXCEPTION")
    is_error(describe("999", kind=BROKER).error_code, "INVALID_REQUEST", "no such broker")
    is_error(describe("one", kind=BROKER).error_code, "INVALID_REQUEST", "not a number")


@check
def a_broker_describes_its_own_configs():
    for node, at in brokers().items():
        one = describe(str(node), kind=BROKER, at=at)
        is_error(one.error_code, "NONE")
        got = {config.name: config.value for config in one.configs}
        assert {"num.partitions", "auto.create.topics.enable", "min.insync.replicas", "message.max.bytes"} <= set(got), sorted(got)
        equal(got.get("node.id") or got.get("broker.id"), str(node))
