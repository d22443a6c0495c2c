"""Committed offsets: who may commit what, how they are read back, pending ones of transactions, and their deletion."""

from foreign.groups import Member, describe, stable
from foreign.harness import check, equal, name_of, topic, until
from foreign.wire import (
    FindCoordinatorRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, ask, brokers, coordinator, error, eventually,
    is_error,
)


def commit(group, name, offset, metadata="", version=9, generation=-1, member="", instance=None, partition=0, at=None, epoch=-1):
    """Commits one offset, and returns Kafka's name of what came of it."""
    part = {"partition_index": partition, "committed_offset": offset, "committed_metadata": metadata}
    if version >= 6:
        part["committed_leader_epoch"] = epoch
    rest = {"group_instance_id": instance} if version >= 7 else {}
    if 2 <= version <= 4:
        rest["retention_time_ms"] = -1
    answer = eventually(lambda: ask(
        OffsetCommitRequest, version, at=at or coordinator(group), group_id=group, generation_id_or_member_epoch=generation, member_id=member,
        topics=[{"name": name, "partitions": [part]}], **rest,
    ).topics[0].partitions[0])
    return error(answer.error_code)


def committed(group, name=None, version=9, stable=False, partitions=(0,)):
    """The group's part of an OffsetFetch answer: of these partitions, or of all that it has."""
    topics = None if name is None else [{"name": name, "partition_indexes": list(partitions)}]
    return eventually(lambda: ask(
        OffsetFetchRequest, version, at=coordinator(group), groups=[{"group_id": group, "topics": topics}], require_stable=stable
    ).groups[0])


def offset(group, name, **how):
    return committed(group, name, **how).topics[0].partitions[0].committed_offset


@check
def offsets_commit_and_come_back_in_every_version():
    name = topic("commit-versions")
    for version in range(2, 10):
        group = name_of(f"commit-v{version}")
        equal(commit(group, name, 40 + version, "words", version), "NONE", f"v{version}")
        one = committed(group, name).topics[0].partitions[0]
        equal((one.committed_offset, one.metadata, one.error_code), (40 + version, "words", 0), f"v{version}")
    group = name_of("fetch-versions")
    commit(group, name, 7, "seven", epoch=3)
    for version in range(1, 8):
        answer = ask(OffsetFetchRequest, version, at=coordinator(group), group_id=group, topics=[{"name": name, "partition_indexes": [0, 1]}])
        got = {one.partition_index: (one.committed_offset, one.metadata) for one in answer.topics[0].partitions}
        equal(got, {0: (7, "seven"), 1: (-1, "")}, f"v{version}")
        if version >= 5:
            equal(answer.topics[0].partitions[0].committed_leader_epoch, 3, f"v{version}")


@check
def all_that_a_group_has_committed_can_be_asked_for():
    first, second, group = topic("all-a", 2), topic("all-b"), name_of("all")
    for name, partition in [(first, 0), (first, 1), (second, 0)]:
        equal(commit(group, name, 10 + partition, partition=partition), "NONE")
    got = {(one.name, part.partition_index): part.committed_offset for one in committed(group).topics for part in one.partitions}
    equal(got, {(first, 0): 10, (first, 1): 11, (second, 0): 10})
    equal(committed(name_of("nobody")).topics, [], "of a group that never was")


@check
def a_commit_of_what_does_not_exist_is_refused():
    name, group = topic("commit-unknown"), name_of("unknown")
    equal(commit(group, name, 1, partition=9), "UNKNOWN_TOPIC_OR_PARTITION")
    equal(commit(group, name_of("none"), 1), "UNKNOWN_TOPIC_OR_PARTITION")
    equal(offset(group, name, partitions=(9,)), -1)


@check
def metadata_of_a_commit_has_a_limit():
    name, group = topic("metadata"), name_of("metadata")
    equal(commit(group, name, 1, "x" * 4096), "NONE")
    equal(commit(group, name, 2, "x" * 4097), "OFFSET_METADATA_TOO_LARGE")
    equal(offset(group, name), 1)


@check
def only_a_member_of_this_generation_commits_for_a_group_at_work():
    name, member = topic("members-commit"), stable()
    of = {"member": member.id, "generation": member.generation}
    equal(commit(member.group, name, 5, **of), "NONE")
    equal(commit(member.group, name, 6, member="somebody", generation=member.generation), "UNKNOWN_MEMBER_ID")
    equal(commit(member.group, name, 6, member=member.id, generation=9), "ILLEGAL_GENERATION")
    equal(commit(member.group, name, 6), "UNKNOWN_MEMBER_ID", "from outside of the group")
    equal(offset(member.group, name), 5)
    member.leave()
    equal(commit(member.group, name, 8), "NONE", "from outside, once it is empty")
    equal(offset(member.group, name), 8)
    never = {"member": "somebody", "generation": 3}
    equal(commit(name_of("never"), name, 1, **never), "GROUP_ID_NOT_FOUND", "a group that never was")
    equal(commit(name_of("never"), name, 1, version=8, **never), "ILLEGAL_GENERATION", "the same before v9")


@check
def a_commit_between_join_and_sync_comes_too_early():
    name, member = topic("early"), stable()
    member.join()
    equal(commit(member.group, name, 5, member=member.id, generation=member.generation), "REBALANCE_IN_PROGRESS")
    equal(offset(member.group, name), -1)


@check
def a_static_member_that_was_replaced_can_not_commit():
    name, group = topic("static-commit"), name_of("static")
    old = Member(group, instance="one").join()
    old.sync({old.id: b""})
    new = Member(group, instance="one").join()
    equal(commit(group, name, 1, member=old.id, generation=old.generation, instance="one"), "FENCED_INSTANCE_ID")
    equal(commit(group, name, 1, member=new.id, generation=new.generation, instance="one"), "NONE")


@check
def a_groups_offsets_are_deleted_unless_they_are_in_use():
    from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription

    used, unused = topic("used"), topic("unused")
    subscription = ConsumerProtocolSubscription(version=1, topics=[used], user_data=None, owned_partitions=[])
    member = stable(protocols=(("range", bytes(subscription.encode())),))
    for name in [used, unused]:
        equal(commit(member.group, name, 3, member=member.id, generation=member.generation), "NONE")

    def delete(group, *names):
        parts = [{"partition_index": 0}]
        answer = ask(OffsetDeleteRequest, 0, at=coordinator(group), group_id=group, topics=[{"name": name, "partitions": parts} for name in names])
        return error(answer.error_code), {one.name: error(one.partitions[0].error_code) for one in answer.topics}

    equal(delete(member.group, used, unused), ("NONE", {used: "GROUP_SUBSCRIBED_TO_TOPIC", unused: "NONE"}))
    equal((offset(member.group, used), offset(member.group, unused)), (3, -1))
    member.leave()
    equal(delete(member.group, used)[1], {used: "NONE"})
    missing = name_of("missing")
    until(lambda: delete(missing, used)[0] == "GROUP_ID_NOT_FOUND", 10, "a group that is not there")


@check
def offsets_of_a_deleted_topic_are_gone():
    from foreign.topics import delete_topic

    name, group = topic("gone"), name_of("gone")
    equal(commit(group, name, 3), "NONE")
    delete_topic(name)
    until(lambda: offset(group, name) == -1, 20, "the offset is gone")


@check
def several_groups_are_asked_for_at_once():
    name = topic("several-groups")
    groups = [name_of(f"several-{one}") for one in range(4)]
    for at, group in enumerate(groups):
        equal(commit(group, name, at), "NONE")
    mine = coordinator(groups[0])
    there = [group for group in groups if coordinator(group) == mine]
    topics = [{"name": name, "partition_indexes": [0]}]
    answer = ask(OffsetFetchRequest, 8, at=mine, groups=[{"group_id": group, "topics": topics} for group in groups], require_stable=False)
    got = {one.group_id: (error(one.error_code), [part.committed_offset for of in one.topics for part in of.partitions]) for one in answer.groups}
    for at, group in enumerate(groups):
        equal(got[group], ("NONE", [at]) if group in there else ("NOT_COORDINATOR", []))


@check
def coordinators_are_found_one_by_one_and_together():
    keys = [name_of(f"key-{one}") for one in range(3)]
    until(lambda: all(coordinator(key) for key in keys), 30, "there are coordinators")
    known = {(node, *at) for node, at in brokers().items()}
    together = ask(FindCoordinatorRequest, 4, key_type=0, coordinator_keys=keys).coordinators
    equal([one.key for one in together], keys)
    for one in together:
        assert (one.node_id, one.host, one.port) in known, one
        for version in range(0, 4):
            rest = {"key_type": 0} if version >= 1 else {}
            single = ask(FindCoordinatorRequest, version, key=one.key, **rest)
            equal((error(single.error_code), single.node_id), ("NONE", one.node_id), f"v{version}")
    is_error(ask(FindCoordinatorRequest, 3, key="x", key_type=7).error_code, "INVALID_REQUEST", "a type that is none")
    is_error(ask(FindCoordinatorRequest, 4, coordinator_keys=["x"], key_type=7).coordinators[0].error_code, "INVALID_REQUEST")
