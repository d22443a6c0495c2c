"""Requests at chosen versions, byte by byte: kafka-python's message classes over a socket of our own.

    ask(FetchRequest, 12, at=leader(name), max_wait_ms=100, topics=[{"topic": name, "partitions": [...]}])

A field that is a struct is given as a dict. An answer is kafka-python's: fields are attributes.
"""

import socket
import time

import kafka.errors
from kafka.protocol.admin import *  # noqa: F403 the checks take the classes from here
from kafka.protocol.consumer import *  # noqa: F403
from kafka.protocol.metadata import *  # noqa: F403
from kafka.protocol.metadata import FindCoordinatorRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.producer import *  # noqa: F403
from kafka.protocol.producer import ProduceRequest
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from foreign import harness
from foreign.harness import equal, until


# Codes that kafka-python names otherwise than Kafka, or not at all.
NAMES = {
    0: "NONE", 6: "NOT_LEADER_OR_FOLLOWER", 10: "MESSAGE_TOO_LARGE", 17: "INVALID_TOPIC_EXCEPTION", 39: "INVALID_REPLICA_ASSIGNMENT",
}


def error(code):
    """Kafka's name of an error code."""
    return NAMES.get(code) or kafka.errors.for_code(code).message


def is_error(code, name, what=""):
    equal(error(code), name, what)


def _fill(fields, version, values):
    built = {}
    for name, value in values.items():
        field = fields.get(name)
        assert field is not None, f"no field {name}, there are {list(fields)}"
        if field.is_struct_array() and value is not None:
            value = [
                field.data_class(version=version, **_fill(field.data_class.fields, version, one)) if isinstance(one, dict) else one
                for one in value
            ]
        built[name] = value
    return built


def request(message, version, **values):
    return message[version](**_fill(message.fields, version, values))


class Connection:
    """One connection to one broker. Closing is the end of a `with`."""

    def __init__(self, at=None):
        host, port = at or first()
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = KafkaProtocol(client_id="foreign")
        self.received = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, message, version, **values):
        self.protocol.send_request(request(message, version, **values))
        self.socket.sendall(self.protocol.send_bytes())

    def receive(self, seconds=30):
        """The next answer; EOFError when the broker has closed the connection."""
        self.socket.settimeout(seconds)
        while not self.received:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self.received += [answer for _, answer in self.protocol.receive_bytes(data)]
        return self.received.pop(0)

    def ask(self, message, version, **values):
        self.send(message, version, **values)
        return self.receive()

    def is_closed_by_broker(self):
        """Waits for the end of the connection; anything else that comes is not that."""
        self.socket.settimeout(20)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def ask(message, version, at=None, **values):
    with Connection(at) as connection:
        return connection.ask(message, version, **values)


def first():
    host, port = harness.BOOTSTRAP.split(",")[0].rsplit(":", 1)
    return host, int(port)


def metadata(*topics, at=None, auto_create=False, version=12):
    return ask(
        MetadataRequest, version, at=at, topics=[{"name": name} for name in topics], allow_auto_topic_creation=auto_create
    )


def brokers():
    """`{node id: (host, port)}`"""
    return {broker.node_id: (broker.host, broker.port) for broker in metadata().brokers}


def controller():
    answer = metadata()
    return next((broker.host, broker.port) for broker in answer.brokers if broker.node_id == answer.controller_id)


def is_known_everywhere(name, partitions):
    """A real cluster takes a moment until each broker has heard of a topic and leads what it is to."""
    for at in brokers().values():
        one = metadata(name, at=at).topics[0]
        if one.error_code or len(one.partitions) < partitions or any(p.error_code or p.leader_id < 0 for p in one.partitions):
            return False
    return True


def topic_id(name):
    return metadata(name).topics[0].topic_id


def partition_of(name, partition=0):
    """Metadata's view of a partition."""
    return next(one for one in metadata(name).topics[0].partitions if one.partition_index == partition)


def leader(name, partition=0):
    return brokers()[partition_of(name, partition).leader_id]


def coordinator(key, kind=0):
    """The address of a group's (0) or transactional id's (1) coordinator."""

    def found():
        answer = ask(FindCoordinatorRequest, 4, key_type=kind, coordinator_keys=[key]).coordinators[0]
        return None if error(answer.error_code) == "COORDINATOR_NOT_AVAILABLE" else answer

    answer = until(found, 30, f"{key} has a coordinator")
    is_error(answer.error_code, "NONE", "FindCoordinator")
    return answer.host, answer.port


def now():
    return int(time.time() * 1000)


def batch(values, *, key=b"k", timestamp=None, codec=0, producer=(-1, -1), sequence=-1, transactional=False):
    """A record batch of these values (or of `(key, value, timestamp)`) as bytes."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, *producer, sequence, 1 << 24)
    for at, value in enumerate(values):
        one_key, value, time_ = value if isinstance(value, tuple) else (key, value, timestamp)
        builder.append(at, now() if time_ is None else time_, one_key, value, [])
    return bytes(builder.build())


def produce(name, records, *, partition=0, version=12, acks=-1, transactional_id=None, at=None):
    """One partition's part of the answer."""
    address = at or leader(name, partition)
    of = {"topic_id": topic_id(name)} if version >= 13 else {"name": name}
    answer = ask(
        ProduceRequest, version, at=address, acks=acks, timeout_ms=10_000, transactional_id=transactional_id,
        topic_data=[{**of, "partition_data": [{"index": partition, "records": records}]}],
    )
    return answer.responses[0].partition_responses[0]


def write(name, values, **how):
    """Writes a batch and returns its base offset."""
    batch_how = {one: how.pop(one) for one in ["key", "timestamp", "codec", "producer", "sequence", "transactional"] if one in how}
    answer = eventually(lambda: produce(name, batch(values, **batch_how), **how))
    is_error(answer.error_code, "NONE", "Produce")
    return answer.base_offset


def batches(records):
    """The batches in a Fetch answer's bytes."""
    memory, found = MemoryRecords(bytes(records or b"")), []
    while memory.has_next():
        found.append(memory.next_batch())
    return found


def mend_crc(records):
    """Writes the checksum of a batch (a bytearray) anew, after something of it was changed."""
    records[17:21] = calc_crc32c(bytes(records[21:])).to_bytes(4, "big")


def eventually(what, seconds=30):
    """Asks again while a real cluster is not ready yet: `what()` is an answer or its part, with an error code."""
    passing = {
        "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "CONCURRENT_TRANSACTIONS", "NOT_LEADER_OR_FOLLOWER",
    }

    def settled():
        answer = what()
        return None if error(answer.error_code) in passing else answer

    return until(settled, seconds, "the cluster is ready")
