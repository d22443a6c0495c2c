"""Topics: created, refused, grown, deleted, and described by Metadata in its versions."""

import uuid

from foreign.harness import check, equal, name_of, topic, until
from foreign.wire import (
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, MetadataRequest, ask, brokers, controller, error,
    is_error, is_known_everywhere, metadata, topic_id,
)

NO_ID = uuid.UUID(int=0)


def create(*topics, version=7, validate_only=False):
    """Creates `(name, fields)`; returns the parts of the answer."""
    full = [{"num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": [], "name": name, **fields} for name, fields in topics]
    return list(ask(CreateTopicsRequest, version, at=controller(), topics=full, timeout_ms=20_000, validate_only=validate_only).topics)


def created(**fields):
    """What comes of creating one topic, as the error's name."""
    name = fields.pop("name") if "name" in fields else name_of("refused")
    (one,) = create((name, fields))
    return error(one.error_code)


def delete_topic(name, version=6):
    of = {"topics": [{"name": name, "topic_id": NO_ID}]} if version >= 6 else {"topic_names": [name]}
    return error(ask(DeleteTopicsRequest, version, at=controller(), timeout_ms=20_000, **of).responses[0].error_code)


def grow(name, count, assignments=None, validate_only=False):
    of = {"name": name, "count": count, "assignments": assignments}
    answer = ask(CreatePartitionsRequest, 3, at=controller(), topics=[of], timeout_ms=20_000, validate_only=validate_only)
    return error(answer.results[0].error_code)


def partitions(name):
    return len(metadata(name, at=controller()).topics[0].partitions)


@check
def topics_are_created_in_every_version():
    for version in range(2, 8):
        name = name_of(f"created-v{version}")
        (one,) = create((name, {"num_partitions": 2}), version=version)
        equal((one.name, error(one.error_code)), (name, "NONE"), f"v{version}")
        if version >= 5:
            equal((one.num_partitions, one.replication_factor), (2, 1), f"v{version}")
            configs = {config.name: config for config in one.configs}
            equal(configs["cleanup.policy"].value, "delete", f"v{version}")
        until(lambda: is_known_everywhere(name, 2), 20, f"{name} is known")
        if version >= 7:
            equal(one.topic_id, topic_id(name))


@check
def a_topic_that_can_not_be_is_refused_for_a_reason():
    there = topic("there")
    equal(created(name=there), "TOPIC_ALREADY_EXISTS")
    for name in ["", ".", "..", "a/b", "sp ace", "x" * 250]:
        equal(created(name=name), "INVALID_TOPIC_EXCEPTION", name)
    equal(created(name="x" * 237 + name_of("")[-12:]), "NONE", "the longest name")
    equal(created(num_partitions=0), "INVALID_PARTITIONS")
    equal(created(num_partitions=-2), "INVALID_PARTITIONS")
    equal(created(replication_factor=0), "INVALID_REPLICATION_FACTOR")
    equal(created(replication_factor=len(brokers()) + 1), "INVALID_REPLICATION_FACTOR")
    equal(created(configs=[{"name": "no.such.config", "value": "1"}]), "INVALID_CONFIG")
    equal(created(configs=[{"name": "retention.ms", "value": "soon"}]), "INVALID_CONFIG")
    equal(created(configs=[{"name": "cleanup.policy", "value": "burn"}]), "INVALID_CONFIG")


@check
def a_name_that_would_collide_is_refused():
    name = name_of("col.lide")
    equal(created(name=name), "NONE")
    equal(created(name=name.replace("col.lide", "col_lide")), "INVALID_TOPIC_EXCEPTION")


@check
def replicas_can_be_assigned_by_hand():
    nodes = sorted(brokers())
    by_hand = lambda *parts: [{"partition_index": at, "broker_ids": list(ids)} for at, ids in parts]
    manual = {"num_partitions": -1, "replication_factor": -1}
    name = name_of("by-hand")
    equal(created(name=name, assignments=by_hand((0, nodes[-1:]), (1, nodes[:1])), **manual), "NONE")
    until(lambda: is_known_everywhere(name, 2), 20, f"{name} is known")
    equal({one.partition_index: one.replica_nodes for one in metadata(name).topics[0].partitions}, {0: nodes[-1:], 1: nodes[:1]})
    equal(created(assignments=by_hand((0, [999])), **manual), "INVALID_REPLICA_ASSIGNMENT", "no such broker")
    equal(created(assignments=by_hand((0, nodes[:1] * 2)), **manual), "INVALID_REPLICA_ASSIGNMENT", "a broker twice")
    equal(created(assignments=by_hand((1, nodes[:1])), **manual), "INVALID_REPLICA_ASSIGNMENT", "not from 0 on")
    equal(created(assignments=by_hand((0, nodes[:1])), num_partitions=1, replication_factor=-1), "INVALID_REQUEST", "and a number")
    equal(created(assignments=by_hand((0, nodes[:1])), num_partitions=-1, replication_factor=1), "INVALID_REQUEST", "and a factor")


@check
def one_topic_twice_in_a_request_is_an_invalid_request():
    name, good = name_of("twice"), name_of("once")
    got = {(one.name, error(one.error_code)) for one in create((name, {}), (name, {}), (good, {}))}
    equal(got, {(name, "INVALID_REQUEST"), (good, "NONE")})


@check
def validate_only_makes_nothing():
    name = name_of("dry")
    (one,) = create((name, {}), validate_only=True)
    is_error(one.error_code, "NONE")
    is_error(metadata(name, at=controller()).topics[0].error_code, "UNKNOWN_TOPIC_OR_PARTITION")
    (one,) = create((name, {"num_partitions": 0}), validate_only=True)
    is_error(one.error_code, "INVALID_PARTITIONS")


@check
def topics_are_deleted_by_name_and_by_id():
    for version in range(1, 7):
        name = topic(f"deleted-v{version}")
        equal(delete_topic(name, version), "NONE", f"v{version}")
    name = topic("by-id")
    id_ = topic_id(name)
    delete = lambda *of: [(one.name, error(one.error_code)) for one in ask(DeleteTopicsRequest, 6, at=controller(), topics=list(of), timeout_ms=20_000).responses]
    equal(delete({"name": None, "topic_id": id_}), [(name, "NONE")])
    until(lambda: delete({"name": None, "topic_id": id_}) == [(None, "UNKNOWN_TOPIC_ID")], 10, "it is gone")
    equal(delete({"name": name, "topic_id": NO_ID}), [(name, "UNKNOWN_TOPIC_OR_PARTITION")])


@check
def a_topic_made_anew_has_another_id_and_begins_at_0():
    from foreign.wire import write

    name = topic("anew")
    before = topic_id(name)
    equal(write(name, [b"a", b"b"]), 0)
    equal(delete_topic(name), "NONE")
    until(lambda: created(name=name) == "NONE", 10, "it can be made again")
    until(lambda: is_known_everywhere(name, 1) and topic_id(name) != before, 20, "another id")
    equal(write(name, [b"c"]), 0)


@check
def a_topic_grows_and_does_not_shrink():
    name, nodes = topic("grows", 2, replicas=1), sorted(brokers())
    equal(grow(name, 4, validate_only=True), "NONE")
    equal(partitions(name), 2, "only validated")
    equal(grow(name, 4), "NONE")
    until(lambda: partitions(name) == 4, 10, "it has grown")
    for count in [4, 3, 0]:
        equal(grow(name, count), "INVALID_PARTITIONS", f"{count}")
    equal(grow(name_of("none"), 3), "UNKNOWN_TOPIC_OR_PARTITION")
    equal(grow(name, 5, [{"broker_ids": [999]}]), "INVALID_REPLICA_ASSIGNMENT")
    equal(grow(name, 6, [{"broker_ids": nodes[:1]}]), "INVALID_REPLICA_ASSIGNMENT", "one assignment for two")
    equal(grow(name, 5, [{"broker_ids": nodes[-1:]}]), "NONE")
    until(lambda: is_known_everywhere(name, 5), 10, "it has grown")
    equal(next(one.replica_nodes for one in metadata(name).topics[0].partitions if one.partition_index == 4), nodes[-1:])


@check
def metadata_in_every_version_names_brokers_and_partitions():
    name = topic("metadata", 2)
    for version in range(0, 14):
        answer = metadata(name, version=version) if version >= 4 else ask(MetadataRequest, version, topics=[{"name": name}])
        equal({one.node_id for one in answer.brokers}, set(brokers()), f"v{version}")
        (one,) = answer.topics
        equal((error(one.error_code), one.name, len(one.partitions)), ("NONE", name, 2), f"v{version}")
        for partition in one.partitions:
            assert partition.leader_id in partition.isr_nodes and set(partition.isr_nodes) <= set(partition.replica_nodes), partition
        if version >= 2:
            assert answer.cluster_id, f"v{version}"


@check
def metadata_of_all_topics_of_none_and_by_id():
    name = topic("asked")
    all_ = lambda version, topics: [one.name for one in ask(MetadataRequest, version, topics=topics, allow_auto_topic_creation=False).topics]
    assert name in all_(12, None)
    equal(all_(12, []), [])
    assert name in [one.name for one in ask(MetadataRequest, 0, topics=[]).topics], "in v0 none is all"
    by_id = lambda id_: ask(MetadataRequest, 12, topics=[{"topic_id": id_, "name": None}], allow_auto_topic_creation=False).topics[0]
    one = by_id(topic_id(name))
    equal((error(one.error_code), one.name), ("NONE", name))
    one = by_id(uuid.uuid4())
    equal((error(one.error_code), one.name), ("UNKNOWN_TOPIC_ID", None))


@check
def metadata_makes_a_topic_only_when_it_is_allowed_to():
    name = name_of("auto")
    is_error(metadata(name).topics[0].error_code, "UNKNOWN_TOPIC_OR_PARTITION")
    is_error(metadata(name).topics[0].error_code, "UNKNOWN_TOPIC_OR_PARTITION", "still")
    metadata(name, auto_create=True)
    until(lambda: is_known_everywhere(name, 1), 20, "it was made")
    is_error(metadata("a/b", auto_create=True).topics[0].error_code, "INVALID_TOPIC_EXCEPTION")


@check
def a_cluster_describes_itself():
    answer = ask(DescribeClusterRequest, 1, include_cluster_authorized_operations=False, endpoint_type=1)
    is_error(answer.error_code, "NONE")
    equal({one.broker_id: (one.host, one.port) for one in answer.brokers}, brokers())
    assert answer.controller_id in brokers() and answer.cluster_id == metadata().cluster_id, answer
