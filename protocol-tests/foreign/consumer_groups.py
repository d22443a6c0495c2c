"""Groups of KIP-848, heartbeat by heartbeat. kafka-python does not have these messages, so they are written by hand here."""

import socket
import struct
import uuid

from foreign.commits import commit, offset
from foreign.groups import describe
from foreign.harness import check, equal, name_of, topic, until
from foreign.wire import Connection, DeleteGroupsRequest, ListGroupsRequest, ask, brokers, coordinator, error, is_error, topic_id

HEARTBEAT, DESCRIBE = 68, 69


def text(value):
    """A compact nullable string."""
    return b"\0" if value is None else varint(len(value) + 1) + value.encode()


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def array(items):
    return b"\0" if items is None else varint(len(items) + 1) + b"".join(items)


class Reader:
    """Takes an answer apart from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, format_):
        (value,) = struct.unpack_from(format_, self.data, self.at)
        self.at += struct.calcsize(format_)
        return value

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.take(">B")
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    def text(self):
        size = self.varint() - 1
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def array(self, one):
        return [one() for _ in range(self.varint() - 1)]

    def partitions(self):
        """An assignment's topics: `{topic id: partitions}`."""

        def one():
            self.at += 16
            id_ = uuid.UUID(bytes=self.data[self.at - 16 : self.at])
            found = self.array(lambda: self.take(">i"))
            self.varint()
            return id_, found

        return dict(self.array(one))


def raw(key, version, body, at):
    """Sends a flexible request and returns the body of the answer."""
    with Connection(at) as connection:
        frame = struct.pack(">hhih", key, version, 1, 7) + b"foreign" + b"\0" + body
        connection.socket.sendall(struct.pack(">i", len(frame)) + frame)
        connection.socket.settimeout(30)
        head = connection.socket.recv(4, socket.MSG_WAITALL)
        return Reader(connection.socket.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL)[5:])


class Consumer:
    """A member of a group of KIP-848: each heartbeat says what it is told to."""

    def __init__(self, group=None, topics=None, member_id=None, instance=None):
        self.group, self.topics, self.instance = group or name_of("consumers"), topics, instance
        self.id, self.epoch, self.owned = member_id or str(uuid.uuid4()), 0, {}
        self.at = coordinator(self.group)

    def beat(self, epoch=None, full=False, regex=None, assignor=None, rebalance_ms=None, owned=None, topics=None, member_id=None):
        """One heartbeat; returns the error's name. What it is assigned is owned at once."""
        epoch = self.epoch if epoch is None else epoch
        full = full or epoch == 0
        owned = ({} if epoch == 0 else self.owned if full else None) if owned is None else owned
        parts = None if owned is None else [id_.bytes + array([struct.pack(">i", p) for p in ps]) + b"\0" for id_, ps in owned.items()]
        topics = self.topics if full and topics is None else topics
        body = text(self.group) + text(self.id if member_id is None else member_id) + struct.pack(">i", epoch) + text(self.instance) + text(None)
        body += struct.pack(">i", (30_000 if full else -1) if rebalance_ms is None else rebalance_ms)
        body += array(None if topics is None else [text(name) for name in topics]) + text(regex) + text(assignor) + array(parts) + b"\0"
        answer = raw(HEARTBEAT, 1, body, self.at)
        answer.take(">i")
        code, self.message = error_of(answer.take(">h")), answer.text()
        id_, epoch, self.interval = answer.text(), answer.take(">i"), answer.take(">i")
        if code == "NONE":
            self.epoch = epoch
            if answer.take(">b") >= 0:
                self.owned = {topic_: ps for topic_, ps in answer.partitions().items() if ps}
        return code

    def count(self):
        return sum(len(ps) for ps in self.owned.values())

    def join(self):
        def joined():
            code = self.beat(epoch=0)
            return None if code in ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR") else code

        equal(until(joined, 30, "the coordinator is there"), "NONE", "the first heartbeat")
        return self

    def settle(self, count):
        """Beats until it owns so many partitions and the coordinator has heard of it."""
        until(lambda: self.beat(full=True) == "NONE" and self.count() == count, 20, f"{count} partitions")
        equal(self.beat(full=True), "NONE", "it is told what was given up")
        return self


def error_of(code):
    """These are younger than kafka-python's list."""
    return {110: "FENCED_MEMBER_EPOCH", 111: "UNRELEASED_INSTANCE_ID", 112: "UNSUPPORTED_ASSIGNOR", 113: "STALE_MEMBER_EPOCH",
            128: "INVALID_REGULAR_EXPRESSION"}.get(code) or error(code)


@check
def the_coordinator_assigns_what_a_member_subscribes_to():
    name = topic("assigned", 3)
    one = Consumer(topics=[name]).join().settle(3)
    equal({id_: sorted(ps) for id_, ps in one.owned.items()}, {topic_id(name): [0, 1, 2]})
    assert one.epoch >= 1 and 0 < one.interval <= 5000, (one.epoch, one.interval)
    other = topic("assigned-too", 2)
    equal(one.beat(topics=[name, other]), "NONE")
    one.topics = [name, other]
    one.settle(5)


@check
def a_second_member_gets_what_the_first_gives_up():
    name = topic("handed", 4)
    first = Consumer(topics=[name]).join().settle(4)
    second = Consumer(first.group, [name]).join()
    equal(second.count(), 0, "nothing is free yet")
    first.settle(2)
    second.settle(2)
    assert not set(first.owned[topic_id(name)]) & set(second.owned[topic_id(name)])
    equal(first.beat(epoch=-1), "NONE")
    second.settle(4)
    equal(first.beat(epoch=first.epoch if first.epoch > 0 else 1, full=True), "UNKNOWN_MEMBER_ID", "it has left")


@check
def a_heartbeat_that_can_not_be_is_an_invalid_request():
    name = topic("invalid")
    one = Consumer(topics=[name])
    equal(one.beat(epoch=0, rebalance_ms=-1), "INVALID_REQUEST", "no rebalance timeout")
    equal(one.beat(epoch=0, owned={topic_id(name): [0]}), "INVALID_REQUEST", "owns something as it joins")
    equal(one.beat(epoch=0, member_id=""), "INVALID_REQUEST", "no member id")
    equal(one.beat(epoch=-2), "INVALID_REQUEST", "a static member's epoch without an instance")
    one.topics = None
    equal(one.beat(epoch=0), "INVALID_REQUEST", "no subscription")
    one.topics = [name]
    equal(one.beat(epoch=0, assignor="no-such"), "UNSUPPORTED_ASSIGNOR")
    equal(one.beat(epoch=0, regex="("), "INVALID_REGULAR_EXPRESSION")
    one.group = ""
    equal(one.beat(epoch=0), "INVALID_REQUEST", "no group")


@check
def epochs_fence_and_strangers_are_unknown():
    name = topic("epochs", 2)
    one = Consumer(topics=[name]).join().settle(2)
    equal(one.beat(epoch=one.epoch + 5, full=True), "FENCED_MEMBER_EPOCH")
    one.settle(2)
    equal(one.beat(member_id=str(uuid.uuid4()), epoch=3), "UNKNOWN_MEMBER_ID")
    equal(Consumer(topics=[name]).beat(epoch=3), "GROUP_ID_NOT_FOUND", "a group that never was")
    equal(one.beat(epoch=0, full=True, owned={}), "NONE", "who begins anew is taken back")


@check
def a_regular_expression_subscribes():
    prefix = name_of("pattern")
    from foreign.topics import create
    from foreign.wire import is_known_everywhere

    for at in range(2):
        create((f"{prefix}-{at}", {"num_partitions": 2}))
        until(lambda: is_known_everywhere(f"{prefix}-{at}", 2), 20, "it is known")
    one = Consumer(topics=[])
    until(lambda: one.beat(epoch=0, regex=f"{prefix}-.*") == "NONE", 20, "it joins")
    until(lambda: one.beat() == "NONE" and one.count() == 4, 20, "both topics")


@check
def a_static_consumer_leaves_for_a_while_and_returns():
    name = topic("static-848", 2)
    one = Consumer(topics=[name], instance="one").join().settle(2)
    taken = Consumer(one.group, [name], instance="one")
    equal(taken.beat(epoch=0), "UNRELEASED_INSTANCE_ID")
    equal(one.beat(epoch=-2), "NONE", "it leaves for a while")
    taken.join()
    taken.settle(2)


@check
def commits_of_a_consumer_group_name_the_members_epoch():
    name = topic("commit-848", 1)
    one = Consumer(topics=[name]).join().settle(1)
    equal(commit(one.group, name, 5, member=one.id, generation=one.epoch), "NONE")
    equal(commit(one.group, name, 6, member=one.id, generation=one.epoch + 1), "STALE_MEMBER_EPOCH")
    equal(commit(one.group, name, 6, member="somebody", generation=one.epoch), "UNKNOWN_MEMBER_ID")
    equal(offset(one.group, name), 5)


@check
def the_two_kinds_of_groups_do_not_mix():
    name = topic("mix", 1)
    one = Consumer(topics=[name]).join().settle(1)
    is_error(describe(one.group, 6).error_code, "GROUP_ID_NOT_FOUND", "for the classic describe")
    listed = [g for at in brokers().values() for g in ask(ListGroupsRequest, 5, at=at, types_filter=["consumer"]).groups if g.group_id == one.group]
    equal([(g.group_type, g.protocol_type, g.group_state) for g in listed], [("consumer", "consumer", "Stable")])
    is_error(ask(DeleteGroupsRequest, 2, at=one.at, groups_names=[one.group]).results[0].error_code, "NON_EMPTY_GROUP")


@check
def a_consumer_group_is_described_with_its_assignments():
    name = topic("described-848", 2)
    one = Consumer(topics=[name]).join().settle(2)
    answer = raw(DESCRIBE, 1, array([text(one.group)]) + b"\0" + b"\0", one.at)
    answer.take(">i")
    equal(answer.varint() - 1, 1, "groups")
    got = (error(answer.take(">h")), answer.text(), answer.text(), answer.text())
    equal(got, ("NONE", None, one.group, "Stable"))
    epoch, assigned = answer.take(">i"), answer.take(">i")
    equal((epoch, assigned, answer.text()), (one.epoch, one.epoch, "uniform"))
    equal(answer.varint() - 1, 1, "members")
    equal((answer.text(), answer.text(), answer.text(), answer.take(">i")), (one.id, None, None, one.epoch))
    equal((answer.text(), answer.text()), ("foreign", "/127.0.0.1"))
    equal(answer.array(answer.text), [name])
