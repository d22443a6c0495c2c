"""What copy.sh needs of librdkafka: topics, a million records of every kind, and whether two topics hold the same.

    copied.py create NAME:PARTITIONS… | write TOPIC COUNT | lines COUNT | compare A B COUNT|- [without-times] | envelopes KCAT OURS
"""

import hashlib
import json
import os
import random
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"]}


def create(*topics):
    topics = [topic.rsplit(":", 1) for topic in topics]
    # Their records have old dates.
    new = [NewTopic(name, int(partitions), config={"retention.ms": "-1"}) for name, partitions in topics]
    admin = AdminClient(BOOTSTRAP)
    for future in admin.create_topics(new).values():
        future.result()


def some_bytes(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return None
    if kind == 1:
        return b""
    if kind == 2:
        return rng.randbytes(rng.randrange(1, 60))
    if kind == 3:
        return f'"\\\n\t\0\x1f {chr(rng.randrange(32, 0xD7FF))}{chr(rng.randrange(0x10000, 0x10FFFF))} {rng.random()}'.encode()
    return b"plain %d" % rng.randrange(1 << 40)


def write(topic, count):
    rng, began = random.Random(9), time.time()
    producer = Producer({**BOOTSTRAP, "compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.messages": 500_000})
    # A thousand different ones: it is Python that is slow.
    kinds = [(some_bytes(rng), some_bytes(rng), [(rng.choice(["same", "other", "\u00e9"]), some_bytes(rng)) for _ in range(rng.randrange(4))]) for _ in range(1000)]
    for at in range(int(count)):
        key, value, headers = kinds[at * 7919 % 1000]
        of = {"key": key, "value": value, "partition": at % 4, "timestamp": 1_600_000_000_000 + at}
        while True:
            try:
                producer.produce(topic, **of, **({"headers": headers} if headers else {}))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    print(f"librdkafka wrote {count} records in {time.time() - began:.1f} s", flush=True)


def lines(count):
    """A key and a value with a colon between them, either of which may be empty."""
    rng = random.Random(3)
    for at in range(int(count)):
        key = "" if rng.random() < 0.1 else f"k{at % 50}"
        value = "" if rng.random() < 0.1 else f"v\u00e4lue, {at}; ab"
        print(f"{key}:{value}")


def digests(topic, with_times):
    """Of each partition how many records it holds and one digest of them all, in their order."""
    consumer = Consumer({**BOOTSTRAP, "group.id": "copied", "enable.auto.commit": False, "auto.offset.reset": "error"})
    partitions = sorted(consumer.list_topics(topic).topics[topic].partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found = {p: (hashlib.sha256(), 0) for p in partitions}
    left = sum(ends.values())
    while left:
        messages = consumer.consume(10_000, 30)
        assert messages, f"{topic}: {left} records did not come"
        for message in messages:
            assert message.error() is None, message.error()
            digest, count = found[message.partition()]
            of = (message.key(), message.value(), message.headers(), message.timestamp() if with_times else None)
            digest.update(repr(of).encode())
            found[message.partition()] = (digest, count + 1)
            left -= 1
    consumer.close()
    return {p: (digest.hexdigest(), count) for p, (digest, count) in found.items()}


def compare(a, b, count, times=None):
    a, b = digests(a, times is None), digests(b, times is None)
    total = sum(count for _, count in a.values())
    assert count == "-" or total == int(count), f"{total} records, not {count}"
    assert a == b, f"not the same: {a} and {b}"
    print(f"ok: librdkafka finds the same {total} records in both", flush=True)


def envelopes(kcat, ours):
    """kcat's has the broker too, and no headers where there are none."""
    kcat, ours = ([json.loads(line) for line in open(path)] for path in (kcat, ours))
    assert len(kcat) == len(ours), (len(kcat), len(ours))
    for theirs, our in zip(kcat, ours):
        del theirs["broker"]
        theirs.setdefault("headers", [])
        assert theirs == our and [*theirs] == [*our] or set(theirs) == set(our) and theirs == our, (theirs, our)
    print(f"ok: kcat -J and we have the same {len(ours)} envelopes", flush=True)


{f.__name__: f for f in (create, write, lines, compare, envelopes)}[sys.argv[1]](*sys.argv[2:])
