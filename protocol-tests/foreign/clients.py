"""Every client writes and every client reads: confluent-kafka, kafka-python, aiokafka, kafkajs, franz-go and Java in every
codec, with headers and timestamps; and kcat, which writes, reads, lists and asks."""

import asyncio
import functools
import json
import subprocess
import time

import aiokafka
import confluent_kafka
import kafka

from foreign import harness, peers
from foreign.harness import RUN, check, equal, topic

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BASE = 1_500_000_000_000  # timestamps years ago
PER_CODEC = 50
# What every writer writes, and every reader has to find: per codec records with key, value, headers, timestamp; the
# last one of each codec has no key and an empty value, the one before it has no value.
def expected(writer):
    want = {}
    for c, codec in enumerate(CODECS):
        for i in range(PER_CODEC):
            key = None if i == PER_CODEC - 1 else f"{writer}-{codec}-{i}".encode()
            value = {PER_CODEC - 1: b"", PER_CODEC - 2: None}.get(i, f"value {i} ".encode() * 20)
            headers = (("n", str(i).encode()), ("n", b""))
            want[(codec, i)] = (key, value, headers, BASE + c * 1000 + i)
    return want


def write_confluent(name):
    for codec in CODECS:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": harness.BOOTSTRAP, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20}
        )
        failed = []
        for (wanted, _), (key, value, headers, timestamp) in expected("confluent").items():
            if wanted == codec:
                producer.produce(
                    name, key=key, value=value, headers=list(headers), timestamp=timestamp, partition=0,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )
        equal(producer.flush(20), 0, "left after flush")
        equal(failed, [])


def write_kafka_python(name):
    for codec in CODECS:
        producer = kafka.KafkaProducer(
            bootstrap_servers=harness.BOOTSTRAP, compression_type=None if codec == "none" else codec, linger_ms=20
        )
        sent = [
            producer.send(name, key=key, value=value, headers=list(headers), timestamp_ms=timestamp, partition=0)
            for (wanted, _), (key, value, headers, timestamp) in expected("kafka-python").items()
            if wanted == codec
        ]
        producer.flush(20)
        offsets = [future.get(20).offset for future in sent]
        equal(offsets, sorted(offsets), "offsets in order")
        producer.close()


def write_aiokafka(name):
    async def write():
        for codec in CODECS:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=harness.BOOTSTRAP, compression_type=None if codec == "none" else codec,
                enable_idempotence=True, linger_ms=20,
            )
            await producer.start()
            sent = [
                await producer.send(name, key=key, value=value, headers=list(headers), timestamp_ms=timestamp, partition=0)
                for (wanted, _), (key, value, headers, timestamp) in expected("aiokafka").items()
                if wanted == codec
            ]
            for future in sent:
                await future
            await producer.stop()

    asyncio.run(write())


def read_confluent(name, count):
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": harness.BOOTSTRAP, "group.id": f"read-{RUN}", "check.crcs": True, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition(name, 0, confluent_kafka.OFFSET_BEGINNING)])
    found = harness.gathered(lambda: harness.polled_by_confluent(consumer), count)
    consumer.close()
    return [(m.key(), m.value(), tuple(m.headers() or ()), m.timestamp()[1]) for m in found]


def read_kafka_python(name, count):
    consumer = kafka.KafkaConsumer(bootstrap_servers=harness.BOOTSTRAP, check_crcs=True, group_id=None)
    partition = kafka.TopicPartition(name, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found = harness.gathered(lambda: sum(consumer.poll(1000).values(), []), count)
    consumer.close()
    return [(m.key, m.value, tuple(tuple(h) for h in m.headers), m.timestamp) for m in found]


def read_aiokafka(name, count):
    async def read():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=harness.BOOTSTRAP, check_crcs=True)
        await consumer.start()
        partition = aiokafka.TopicPartition(name, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found = []
        deadline = time.time() + 30
        while len(found) < count and time.time() < deadline:
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found.extend((m.key, m.value, tuple(tuple(h) for h in m.headers), m.timestamp) for m in messages)
        await consumer.stop()
        return found

    return asyncio.run(read())


READERS = {"confluent": read_confluent, "kafka-python": read_kafka_python, "aiokafka": read_aiokafka}
for peer in peers.PEERS:
    READERS[peer] = functools.partial(peers.read, peer)


def written_by(writer, write):
    """A topic that this client has written in every codec is read by all."""
    name = topic(writer)
    write(name)
    want = list(expected(writer).values())
    for reader, read in READERS.items():
        got = read(name, len(want))
        equal(len(got), len(want), f"{reader} reads {writer}")
        for one, (key, value, headers, timestamp) in zip(got, want):
            equal(one, (key, value, headers, timestamp), f"{reader} reads {writer}")


def written_by_peer(peer):
    def write(name):
        for codec in CODECS:
            peers.write(peer, name, codec, [record for (wanted, _), record in expected(peer).items() if wanted == codec])

    written_by(peer, write)


@check
def every_client_reads_what_confluent_wrote_in_every_codec():
    written_by("confluent", write_confluent)


@check
def every_client_reads_what_kafka_python_wrote_in_every_codec():
    written_by("kafka-python", write_kafka_python)


@check
def every_client_reads_what_aiokafka_wrote_in_every_codec():
    written_by("aiokafka", write_aiokafka)


@check
def every_client_reads_what_kafkajs_wrote_in_every_codec():
    written_by_peer("kafkajs")


@check
def every_client_reads_what_franz_go_wrote_in_every_codec():
    written_by_peer("franz-go")


@check
def every_client_reads_what_java_wrote_in_every_codec():
    written_by_peer("java")


def kcat(*arguments, stdin=None, seconds=30):
    command = ["kcat", "-b", harness.BOOTSTRAP, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=seconds, text=True)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr}"
    return done.stdout


@check
def kcat_writes_reads_lists_and_queries_by_time():
    name = topic("kcat", 2)
    for codec in CODECS:
        lines = "".join(f"key{i}:{codec} {i}\n" for i in range(PER_CODEC))
        kcat("-P", "-t", name, "-p", "0", "-K", ":", "-z", codec, "-H", "a=1", "-H", "a=2", stdin=lines)
    out = kcat("-C", "-t", name, "-p", "0", "-o", "beginning", "-e", "-q", "-J").splitlines()
    equal(len(out), len(CODECS) * PER_CODEC, "records read by kcat")
    for at, line in enumerate(out):
        record = json.loads(line)
        equal((record["offset"], record["key"], record["headers"]), (at, f"key{at % PER_CODEC}", ["a", "1", "a", "2"]))
    listed = json.loads(kcat("-L", "-J", "-t", name))
    equal([partition["partition"] for partition in listed["topics"][0]["partitions"]], [0, 1])
    # From Debian's kcat on, -Q takes topic:partition:time.
    assert f"{name} [0] offset 0" in kcat("-Q", "-t", f"{name}:0:1000"), "offset by time"
    grouped = subprocess.run(
        ["kcat", "-b", harness.BOOTSTRAP, "-G", f"kcat-{RUN}", "-X", "auto.offset.reset=earliest", "-c", str(len(out)), "-q", name],
        capture_output=True, timeout=30, text=True,
    )
    equal((grouped.returncode, len(grouped.stdout.splitlines())), (0, len(out)), "kcat as a group")
