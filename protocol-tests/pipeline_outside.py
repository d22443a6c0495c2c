"""What the pipeline's outside judges share: the binary under test, and librdkafka to write topics and to read them back."""

import atexit
import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

MILENA, BOOTSTRAP = sys.argv[1:3]
ENV = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": BOOTSTRAP}

Record = collections.namedtuple("Record", "partition offset key value headers timestamp")


def milena(*args, expect=0, timeout=180):
    done = subprocess.run([MILENA, *args], env=ENV, capture_output=True, text=True, timeout=timeout)
    if done.returncode != expect:
        sys.exit(f"milena {' '.join(args)}: exit {done.returncode}, not {expect}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def receipt(*args, **more):
    found = json.loads(milena(*args, **more).stdout.splitlines()[-1])
    assert found["balanced"], found
    return found


class Running:
    """A command in the background; its stderr is kept."""

    def __init__(self, *args):
        self.args, self.log = args, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([MILENA, *args], env=ENV, stdout=subprocess.PIPE, stderr=self.log, text=True)
        atexit.register(self.process.kill)

    def lives(self):
        assert self.process.poll() is None, f"milena {' '.join(self.args)} ended: {self.process.returncode} {self.told()}"

    def told(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        """In order; its receipt."""
        self.lives()
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.args, self.process.returncode, self.told())
        return json.loads(out.splitlines()[-1])


ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(name, partitions, **configs):
    """A new topic that deletes nothing: its records are dated years ago."""
    name = f"{name}-{uuid.uuid4().hex[:8]}"
    new = NewTopic(name, partitions, replication_factor=1, config={"retention.ms": "-1", **configs})
    ADMIN.create_topics([new])[name].result(30)
    return name


def exists(name):
    return name in ADMIN.list_topics(timeout=30).topics


def add_partitions(name, total):
    ADMIN.create_partitions([NewPartitions(name, total)])[name].result(30)


def produce(name, records, rate=None):
    """Records as (partition, key, value, headers, timestamp); partition -1 leaves it to the key."""
    failed = []
    done = lambda error, message: failed.append(error) if error else None
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all", "linger.ms": 5, "enable.idempotence": True})
    begun = time.monotonic()
    for at, (partition, key, value, headers, timestamp) in enumerate(records):
        producer.produce(name, partition=partition, key=key, value=value, headers=headers, timestamp=timestamp, on_delivery=done)
        if at % 500 == 0:
            producer.poll(0)
        if rate and at % 50 == 0:
            time.sleep(max(0, begun + at / rate - time.monotonic()))
    assert producer.flush(60) == 0 and not failed, failed[:3]


def read(name):
    """All that a read_committed reader sees, by partition in the order of offsets."""
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": f"judge-{uuid.uuid4().hex}", "isolation.level": "read_committed",
                         "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    known = consumer.list_topics(name, timeout=30).topics[name]
    if known.error or not known.partitions:
        return []
    consumer.assign([TopicPartition(name, partition, 0) for partition in known.partitions])
    records, left, deadline = [], set(known.partitions), time.monotonic() + 120
    while left:
        assert time.monotonic() < deadline, f"{name}: partitions {left} do not end"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            left.discard(message.partition())
            continue
        left.add(message.partition())
        records.append(Record(message.partition(), message.offset(), message.key(), message.value(), message.headers() or [], message.timestamp()[1]))
    consumer.close()
    return sorted(records, key=lambda record: record[:2])


def committed(group, name):
    """How far a group is over all partitions of a topic."""
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "enable.auto.commit": False})
    partitions = consumer.list_topics(name, timeout=30).topics[name].partitions
    found = consumer.committed([TopicPartition(name, partition) for partition in partitions], timeout=30)
    consumer.close()
    return sum(max(partition.offset, 0) for partition in found)


def await_that(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


ADDED = ["topic", "partition", "offset", "stage", "exception.class.name", "exception.message"]


def set_aside(name):
    """Records of T.late or T.dlq: (stage, partition, offset of the original) -> [(record as the original was, reason, late windows)]."""
    found = collections.defaultdict(list)
    for record in read(name):
        names = [header for header, _ in record.headers]
        at = len(names) - 1 - names[::-1].index("__connect.errors.topic")
        added = dict(record.headers[at:])
        windows = added.pop("milena.late.windows", None)
        assert list(added) == [f"__connect.errors.{name}" for name in ADDED], record
        text = {key.removeprefix("__connect.errors."): value.decode() for key, value in added.items()}
        assert text["exception.message"], record
        place = (text["stage"], text["topic"], int(text["partition"]), int(text["offset"]))
        original = record._replace(partition=place[2], offset=place[3], headers=record.headers[:at])
        found[place].append((original, text["exception.class.name"], windows and windows.decode()))
    return found


def batch(records, windows, is_event, bound=None, start=None):
    """The rule, in plain words: partition by partition, in the order of offsets. `is_event` gives the event of a record, or None.
    Rows (window, start, key, partition) -> [count, cents], and for late events {(partition, offset): "window,window"}."""
    rows, late, newest = collections.defaultdict(lambda: [0, 0]), {}, {}
    for record in records:
        event = is_event(record)
        if event is None or (start is not None and event["ms"] < start):
            continue
        watermark = newest[record.partition] - bound if record.partition in newest and bound is not None else None
        named = []
        for name, size, key, wants in windows:
            begin = event["ms"] // size * size
            if watermark is not None and begin + size <= watermark:
                named.append(name)
            elif wants(event) and (start is None or begin >= start):
                row = rows[name, begin, key(event), record.partition]
                row[0] += 1
                row[1] += event["cents"] if name.startswith("gmv") else 0
        if named:
            late[record.partition, record.offset] = ",".join(named)
        newest[record.partition] = max(newest.get(record.partition, event["ms"]), event["ms"])
    return dict(rows), late


WINDOWS = [
    ("gmv_1m", 60_000, lambda event: None, lambda event: event["kind"] == "purchase" and event["cents"] is not None),
    ("views_1m", 60_000, lambda event: event["product"], lambda event: event["kind"] == "view"),
    ("users_30m", 1_800_000, lambda event: event["user"], lambda event: True),
]
NAMES = ",".join(name for name, *_ in WINDOWS)


def partial_rows(name, job):
    """T.windows: the rows of a job as they are, each (window, start, key, partition) once."""
    rows = {}
    for record in read(name):
        row = json.loads(record.value)
        if row["job"] != job or "watermark_ms" in row:
            continue
        place = (row["window"], row["start_ms"], row["key"], row["partition"])
        assert record.key.decode() == "|".join([row["window"], str(row["start_ms"]), row["key"] or "", str(row["partition"])]), record
        assert place not in rows, f"{place} twice"
        rows[place] = [row["count"], row["sum_cents"]]
    return rows


def same(found, expected, what):
    differ = [(place, found.get(place), expected.get(place)) for place in {*found, *expected} if found.get(place) != expected.get(place)]
    assert not differ, f"{what}: {len(differ)} of {len(expected)} differ (found, expected): {differ[:5]}"
