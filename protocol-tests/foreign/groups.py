"""Classic groups, request by request: joining, syncing, heartbeats, leaving, static members, and what is refused."""

import threading
import time

from foreign.harness import check, equal, name_of, until
from foreign.wire import (
    Connection, DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    SyncGroupRequest, ask, brokers, coordinator, error, eventually, is_error,
)


class Member:
    """A member of a classic group, one request at a time; each on a connection of its own, for a join may park."""

    def __init__(self, group, member_id="", instance=None, protocols=(("range", b"meta"),), session_ms=30_000, rebalance_ms=30_000):
        self.group, self.id, self.instance, self.generation = group, member_id, instance, -1
        self.protocols, self.session_ms, self.rebalance_ms = protocols, session_ms, rebalance_ms
        self.at = coordinator(group)
        self.joined = None

    def join_once(self, version=9, protocol_type="consumer"):
        names = [{"name": name, "metadata": metadata} for name, metadata in self.protocols]
        rest = {"rebalance_timeout_ms": self.rebalance_ms} if version >= 1 else {}
        if version >= 5:
            rest["group_instance_id"] = self.instance
        self.joined = eventually(lambda: ask(
            JoinGroupRequest, version, at=self.at, group_id=self.group, session_timeout_ms=self.session_ms, member_id=self.id,
            protocol_type=protocol_type, protocols=names, **rest,
        ))
        return self.joined

    def join(self, version=9):
        """Joins; a member without an id is given one first."""
        answer = self.join_once(version)
        if error(answer.error_code) == "MEMBER_ID_REQUIRED":
            self.id = answer.member_id
            answer = self.join_once(version)
        is_error(answer.error_code, "NONE", "JoinGroup")
        self.id, self.generation = answer.member_id, answer.generation_id
        return self

    def join_beside(self):
        """Joins on a thread of its own; `finish` waits for it."""
        self.thread = threading.Thread(target=self.join)
        self.thread.start()
        return self

    def finish(self):
        self.thread.join(30)
        assert not self.thread.is_alive(), "the join is still parked"
        return self

    def leads(self):
        return self.joined.leader == self.id

    def sync(self, assignments=None, version=5, generation=None):
        given = [{"member_id": member, "assignment": what} for member, what in (assignments or {}).items()]
        rest = {"protocol_type": "consumer", "protocol_name": self.protocols[0][0]} if version >= 5 else {}
        return ask(
            SyncGroupRequest, version, at=self.at, group_id=self.group, generation_id=self.generation if generation is None else generation,
            member_id=self.id, group_instance_id=self.instance, assignments=given, **rest,
        )

    def heartbeat(self, generation=None, member_id=None):
        return error(ask(
            HeartbeatRequest, 4, at=self.at, group_id=self.group, generation_id=self.generation if generation is None else generation,
            member_id=self.id if member_id is None else member_id, group_instance_id=self.instance,
        ).error_code)

    def leave(self):
        answer = ask(LeaveGroupRequest, 5, at=self.at, group_id=self.group, members=[{"member_id": self.id, "group_instance_id": self.instance}])
        is_error(answer.error_code, "NONE", "LeaveGroup")
        return error(answer.members[0].error_code)


def describe(group, version=6):
    return eventually(lambda: ask(DescribeGroupsRequest, version, at=coordinator(group), groups=[group]).groups[0])


def stable(group=None, **how):
    """A group with one member that has its assignment."""
    member = Member(group or name_of("group"), **how).join()
    is_error(member.sync({member.id: b"all"}).error_code, "NONE", "SyncGroup")
    return member


@check
def a_member_without_an_id_is_given_one_to_come_back_with():
    member = Member(name_of("id-required"))
    answer = member.join_once(9)
    equal((error(answer.error_code), answer.generation_id), ("MEMBER_ID_REQUIRED", -1))
    assert answer.member_id.startswith("foreign-"), f"client id and a uuid, not {answer.member_id}"
    old = Member(name_of("id-not-required"))
    is_error(old.join_once(3).error_code, "NONE", "before v4")


@check
def a_group_in_every_version_of_joining():
    for version in range(2, 10):
        member = Member(name_of(f"join-v{version}")).join(version)
        equal(member.generation, 1, f"v{version}")
        assert member.leads()
        equal([(one.member_id, one.metadata) for one in member.joined.members], [(member.id, b"meta")], f"v{version}")
        answer = member.sync({member.id: b"mine"}, version=min(version, 5) if version < 9 else 5)
        equal((error(answer.error_code), answer.assignment), ("NONE", b"mine"), f"v{version}")
        equal(member.heartbeat(), "NONE")
        equal(member.leave(), "NONE")


@check
def what_a_group_can_not_know_is_refused():
    member = stable()
    equal(member.heartbeat(member_id="somebody"), "UNKNOWN_MEMBER_ID")
    equal(member.heartbeat(generation=7), "ILLEGAL_GENERATION")
    is_error(member.sync(generation=7).error_code, "ILLEGAL_GENERATION")
    stranger = Member(member.group, "somebody")
    is_error(stranger.join_once().error_code, "UNKNOWN_MEMBER_ID")
    stranger.generation = 1
    is_error(stranger.sync().error_code, "UNKNOWN_MEMBER_ID")
    equal(stranger.leave(), "UNKNOWN_MEMBER_ID")
    nobody = Member(name_of("no-group"), "somebody")
    equal(nobody.heartbeat(generation=1), "UNKNOWN_MEMBER_ID", "a group that is not there")
    equal(nobody.leave(), "UNKNOWN_MEMBER_ID", "a group that is not there")


@check
def a_group_needs_a_name_and_a_session_within_bounds():
    member = Member(name_of("bounds"))
    member.group = ""
    is_error(member.join_once().error_code, "INVALID_GROUP_ID")
    for session in [0, 10_000_000]:
        is_error(Member(name_of("bounds"), session_ms=session).join_once().error_code, "INVALID_SESSION_TIMEOUT", f"{session} ms")


@check
def members_have_to_have_a_protocol_in_common():
    member = stable()
    other = Member(member.group, protocols=(("other", b""),))
    is_error(other.join_once().error_code, "INCONSISTENT_GROUP_PROTOCOL")
    is_error(Member(member.group).join_once(protocol_type="connect").error_code, "INCONSISTENT_GROUP_PROTOCOL", "another type")
    is_error(Member(name_of("none"), protocols=()).join_once().error_code, "INCONSISTENT_GROUP_PROTOCOL", "no protocol at all")
    equal(member.heartbeat(), "NONE", "nothing has happened to it")


@check
def the_protocol_that_most_prefer_is_taken():
    group = name_of("votes")
    first = stable(group, protocols=(("range", b"r"), ("sticky", b"s")))
    second = Member(group, protocols=(("sticky", b"S"), ("range", b"R"))).join_beside()
    until(lambda: first.heartbeat() == "REBALANCE_IN_PROGRESS", 10, "the first hears of it")
    first.join()
    second.finish()
    assert first.joined.protocol_name == second.joined.protocol_name, (first.joined, second.joined)
    leader = first if first.leads() else second
    want = {"range": {b"r", b"R"}, "sticky": {b"s", b"S"}}[first.joined.protocol_name]
    equal({one.metadata for one in leader.joined.members}, want)


@check
def a_second_member_makes_the_first_join_again_and_the_leader_assigns():
    first = stable()
    second = Member(first.group).join_beside()
    until(lambda: first.heartbeat() == "REBALANCE_IN_PROGRESS", 10, "the first hears of it")
    is_error(first.sync().error_code, "REBALANCE_IN_PROGRESS")
    first.join()
    second.finish()
    equal((first.generation, second.generation), (2, 2))
    assert first.leads() and not second.leads(), "the leader stays"
    equal((len(first.joined.members), len(second.joined.members)), (2, 0), "only the leader hears of all")
    got = []
    waits = threading.Thread(target=lambda: got.append(second.sync()))
    waits.start()
    time.sleep(0.3)
    assert not got, "a follower waits for the leader"
    equal(first.sync({first.id: b"one", second.id: b"two"}).assignment, b"one")
    waits.join(10)
    equal((error(got[0].error_code), got[0].assignment, got[0].protocol_name), ("NONE", b"two", "range"))
    equal((first.heartbeat(), second.heartbeat()), ("NONE", "NONE"))
    equal(second.leave(), "NONE")
    until(lambda: first.heartbeat() == "REBALANCE_IN_PROGRESS", 10, "the first hears that it is alone")


@check
def a_sync_has_to_name_the_groups_protocol():
    member = Member(name_of("sync-protocol")).join()
    member.protocols = (("other", b""),)
    is_error(member.sync({member.id: b""}).error_code, "INCONSISTENT_GROUP_PROTOCOL")


@check
def a_silent_member_is_missed():
    member = stable(session_ms=6000)
    start = time.time()
    until(lambda: not describe(member.group).members, 15, "the member is gone")
    waited = time.time() - start
    assert 4 < waited < 10, f"after {waited:.1f} s"
    equal(member.heartbeat(), "UNKNOWN_MEMBER_ID")
    equal(describe(member.group).group_state, "Empty")


@check
def a_member_that_does_not_join_again_is_left_behind():
    first = stable(rebalance_ms=2000)
    second = Member(first.group, rebalance_ms=2000).join_beside()
    second.finish()
    equal((second.generation, len(second.joined.members)), (2, 1), "without the first")
    equal(first.heartbeat(), "UNKNOWN_MEMBER_ID")


@check
def a_static_member_that_returns_gets_its_place_and_fences_its_past():
    group = name_of("static")
    old = Member(group, instance="one").join()
    is_error(old.sync({old.id: b"mine"}).error_code, "NONE")
    new = Member(group, instance="one").join()
    assert new.id != old.id
    equal(new.generation, old.generation, "no rebalance")
    answer = new.sync({})
    equal((error(answer.error_code), answer.assignment), ("NONE", b"mine"))
    equal(old.heartbeat(), "FENCED_INSTANCE_ID")
    is_error(old.sync().error_code, "FENCED_INSTANCE_ID")
    is_error(Member(group, old.id, instance="one").join_once().error_code, "FENCED_INSTANCE_ID")
    equal(old.leave(), "FENCED_INSTANCE_ID")
    equal(new.heartbeat(), "NONE")
    nobody = Member(group, new.id, instance="two")
    nobody.generation = new.generation
    equal(nobody.heartbeat(), "UNKNOWN_MEMBER_ID", "an instance that is not there")


@check
def a_static_member_can_be_removed_by_its_instance():
    member = stable(instance="removed")
    answer = ask(LeaveGroupRequest, 5, at=member.at, group_id=member.group, members=[
        {"member_id": "", "group_instance_id": "removed"}, {"member_id": "", "group_instance_id": "never was"},
        {"member_id": "nobody", "group_instance_id": None},
    ])
    is_error(answer.error_code, "NONE")
    equal([error(one.error_code) for one in answer.members], ["NONE", "UNKNOWN_MEMBER_ID", "UNKNOWN_MEMBER_ID"])
    equal(describe(member.group).group_state, "Empty")


@check
def a_group_is_described_in_each_of_its_states():
    group = name_of("described")
    for version, want in [(5, ("NONE", "Dead")), (6, ("GROUP_ID_NOT_FOUND", "Dead"))]:
        one = describe(group, version)
        equal((error(one.error_code), one.group_state, one.members), (*want, []), f"v{version}, nobody ever")
    member = Member(group).join()
    equal(describe(group).group_state, "CompletingRebalance")
    member.sync({member.id: b"assigned"})
    one = describe(group)
    equal((one.group_state, one.protocol_type, one.protocol_data), ("Stable", "consumer", "range"))
    (only,) = one.members
    equal((only.member_id, only.client_id, only.member_metadata, only.member_assignment), (member.id, "foreign", b"meta", b"assigned"))
    assert only.client_host.startswith("/127.0.0.1"), only.client_host
    second = Member(group).join_beside()
    until(lambda: describe(group).group_state == "PreparingRebalance", 10, "a rebalance")
    member.leave()
    second.finish().leave()
    one = describe(group)
    equal((one.group_state, one.protocol_type, one.protocol_data), ("Empty", "consumer", ""))


@check
def groups_are_listed_by_state_and_type():
    member = stable()

    def listed(version, **filters):
        groups = {}
        for at in brokers().values():
            answer = ask(ListGroupsRequest, version, at=at, **filters)
            is_error(answer.error_code, "NONE")
            groups.update({one.group_id: one for one in answer.groups})
        return groups.get(member.group)

    equal(listed(3).protocol_type, "consumer")
    equal(listed(4).group_state, "Stable")
    one = listed(5)
    equal((one.group_state, one.group_type), ("Stable", "classic"))
    assert listed(4, states_filter=["Stable"]) and not listed(4, states_filter=["Empty"])
    assert listed(5, states_filter=["stable"]), "whatever the case"
    assert listed(5, types_filter=["classic"]) and not listed(5, types_filter=["consumer"])


@check
def only_a_group_without_members_can_be_deleted():
    member = stable()
    missing = name_of("missing")
    delete = lambda group: error(ask(DeleteGroupsRequest, 2, at=coordinator(group), groups_names=[group]).results[0].error_code)
    equal(delete(member.group), "NON_EMPTY_GROUP")
    until(lambda: delete(missing) == "GROUP_ID_NOT_FOUND", 10, "a group that is not there")
    member.leave()
    equal(delete(member.group), "NONE")
    equal(describe(member.group).group_state, "Dead")


@check
def only_its_coordinator_answers_for_a_group():
    member = stable()
    others = [at for at in brokers().values() if at != member.at]
    if not others:
        return
    member.at = others[0]
    equal(member.heartbeat(), "NOT_COORDINATOR")
    is_error(member.sync().error_code, "NOT_COORDINATOR")
    with Connection(others[0]) as connection:
        answer = connection.ask(DescribeGroupsRequest, 5, groups=[member.group]).groups[0]
        is_error(answer.error_code, "NOT_COORDINATOR")
