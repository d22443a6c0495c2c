#!/usr/bin/env python3
"""librdkafka (confluent-kafka) as the other side of a test: JSON lines in and out, bytes in base64, like java/Peer.java.

  peer.py produce BOOTSTRAP TOPIC CODEC   records on stdin; prints partition and offset of each
  peer.py consume BOOTSTRAP TOPIC COUNT   prints COUNT records from the beginning of the topic
  peer.py member  BOOTSTRAP TOPIC GROUP ASSIGNOR
                                          joins the group until stdin ends: prints what it is assigned and reads,
                                          commits, leaves; ASSIGNOR is range, roundrobin, cooperative-sticky, default, or
                                          consumer for the protocol of that name
"""

import base64
import json
import os
import select
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def data(text):
    return None if text is None else base64.b64decode(text)


def text(data):
    return None if data is None else base64.b64encode(data).decode()


def say(**fields):
    print(json.dumps(fields), flush=True)


def say_record(message):
    say(
        partition=message.partition(),
        offset=message.offset(),
        timestamp=message.timestamp()[1],
        key=text(message.key()),
        value=text(message.value()),
        headers=[[name, text(value)] for name, value in message.headers() or []],
    )


def config(bootstrap, **properties):
    """How to get there: what the file KAFKA_PROPERTIES says of security, if there is one. And `properties`."""
    found = {"bootstrap.servers": bootstrap}
    if path := os.environ.get("KAFKA_PROPERTIES"):
        with open(path) as lines:
            found |= dict(line.strip().split("=", 1) for line in lines if line.strip())
    return found | {name.replace("_", "."): value for name, value in properties.items()}


def produce(bootstrap, topic, codec):
    # Several records in a batch.
    producer = Producer(config(bootstrap, compression_type=codec, linger_ms=100))
    lines = [json.loads(line) for line in sys.stdin]
    reports = [None] * len(lines)

    def report(at):
        def delivered(error, message):
            if error is not None:
                sys.exit(f"delivery failed: {error}")
            reports[at] = message

        return delivered

    for at, record in enumerate(lines):
        producer.produce(
            topic,
            partition=record["partition"],
            key=data(record["key"]),
            value=data(record["value"]),
            timestamp=record["timestamp"],
            headers=[(name, data(value)) for name, value in record["headers"]],
            on_delivery=report(at),
        )
    left = producer.flush(30)
    if left:
        sys.exit(f"{left} records not delivered in 30 s")
    for message in reports:
        say(partition=message.partition(), offset=message.offset())


def consume(bootstrap, topic, count):
    consumer = Consumer(config(bootstrap, group_id="unused", enable_auto_commit=False))
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    deadline, seen = time.monotonic() + 30, 0
    while seen < int(count):
        if time.monotonic() > deadline:
            sys.exit(f"only {seen} records in 30 s")
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            sys.exit(str(message.error()))
        say_record(message)
        seen += 1
    consumer.close()


def member(bootstrap, topic, group, assignor):
    if assignor == "consumer":
        protocol = {"group_protocol": assignor}  # the coordinator assigns
    else:
        protocol = {
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 500,
            "partition_assignment_strategy": "range,roundrobin" if assignor == "default" else assignor,
        }
    consumer = Consumer(config(bootstrap, group_id=group, auto_offset_reset="earliest", **protocol))
    held = set()

    def assigned(_, partitions):
        held.update(each.partition for each in partitions)
        say(assigned=sorted(held))

    def revoked(_, partitions):
        held.difference_update(each.partition for each in partitions)
        say(assigned=sorted(held))

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked)
    while not select.select([sys.stdin], [], [], 0)[0]:  # the test says a word to end it
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            say_record(message)
    consumer.close()


{"produce": produce, "consume": consume, "member": member}[sys.argv[1]](*sys.argv[2:])
