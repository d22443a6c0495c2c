"""Checks of foreign_clients.sh: each client writes and reads, with every codec, headers, timestamps, groups of two that
balance and fail over, offsets by time, commit and resume; and reads what the others wrote.

    foreign_clients.py BOOTSTRAP [NAME-OF-A-CHECK ...]
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
import uuid

import aiokafka
import confluent_kafka
import kafka
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from confluent_kafka.admin import OffsetSpec

BOOTSTRAP = sys.argv[1]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RUN = uuid.uuid4().hex[:8]
BASE = 1_500_000_000_000  # timestamps years ago
PER_CODEC = 50
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def equal(got, want, what=""):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def topic(name, partitions=3, config=None):
    name = f"foreign-{name}-{RUN}"
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    # A real cluster deletes records with old dates otherwise, and these are from 2017.
    new = NewTopic(name, partitions, -1, config={"retention.ms": "-1", **(config or {})})
    admin.create_topics([new])[name].result(10)
    deadline = time.time() + 10
    while name not in admin.list_topics(timeout=10).topics:  # a real cluster takes a moment
        assert time.time() < deadline, f"{name} does not appear"
        time.sleep(0.05)
    return name


def until(condition, seconds, what):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


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
            {"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20}
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
            bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec, linger_ms=20
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
                bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec,
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
        {"bootstrap.servers": BOOTSTRAP, "group.id": f"read-{RUN}", "check.crcs": True, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition(name, 0, confluent_kafka.OFFSET_BEGINNING)])
    found = []
    deadline = time.time() + 30
    while len(found) < count and time.time() < deadline:
        message = consumer.poll(1)
        if message is not None:
            assert not message.error(), message.error()
            headers = tuple(message.headers() or ())
            found.append((message.key(), message.value(), headers, message.timestamp()[1]))
    consumer.close()
    return found


def read_kafka_python(name, count):
    consumer = kafka.KafkaConsumer(bootstrap_servers=BOOTSTRAP, check_crcs=True, group_id=None)
    partition = kafka.TopicPartition(name, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found = []
    deadline = time.time() + 30
    while len(found) < count and time.time() < deadline:
        for messages in consumer.poll(1000).values():
            found += [(m.key, m.value, tuple(tuple(h) for h in m.headers), m.timestamp) for m in messages]
    consumer.close()
    return found


def read_aiokafka(name, count):
    async def read():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, check_crcs=True)
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


WRITERS = {"confluent": write_confluent, "kafka-python": write_kafka_python, "aiokafka": write_aiokafka}
READERS = {"confluent": read_confluent, "kafka-python": read_kafka_python, "aiokafka": read_aiokafka}


@check
def every_client_reads_what_every_client_wrote_in_every_codec():
    for writer, write in WRITERS.items():
        name = topic(writer)
        write(name)
        want = list(expected(writer).values())
        for reader, read in READERS.items():
            got = read(name, len(want))
            equal(len(got), len(want), f"{reader} reads {writer}")
            for one, (key, value, headers, timestamp) in zip(got, want):
                equal(one, (key, value, headers, timestamp), f"{reader} reads {writer}")


def kcat(*arguments, stdin=None, seconds=30):
    command = ["kcat", "-b", BOOTSTRAP, *arguments]
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
        ["kcat", "-b", BOOTSTRAP, "-G", f"kcat-{RUN}", "-X", "auto.offset.reset=earliest", "-c", str(len(out)), "-q", name],
        capture_output=True, timeout=30, text=True,
    )
    equal((grouped.returncode, len(grouped.stdout.splitlines())), (0, len(out)), "kcat as a group")


@check
def offsets_for_times_is_the_first_record_from_then_on():
    name = topic("times", 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": "lz4", "linger.ms": 50})
    times = [10, 30, 20, 15, 40]  # they need not grow
    for time_ in times:
        producer.produce(name, value=b"x", timestamp=BASE + time_)
    equal(producer.flush(20), 0)
    want = {0: 0, 10: 0, 11: 1, 30: 1, 31: 4, 41: None}

    consumer = confluent_kafka.Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": f"t-{RUN}"})
    for time_, offset in want.items():
        found = consumer.offsets_for_times([confluent_kafka.TopicPartition(name, 0, BASE + time_)], timeout=10)[0].offset
        equal(found, confluent_kafka.OFFSET_END if offset is None else offset, f"confluent at {time_}")
    equal(consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, 0), timeout=10), (0, 5))
    consumer.close()

    consumer = kafka.KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    partition = kafka.TopicPartition(name, 0)
    for time_, offset in want.items():
        found = consumer.offsets_for_times({partition: BASE + time_})[partition]
        equal(found and found.offset, offset, f"kafka-python at {time_}")
    consumer.close()

    async def with_aiokafka():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP)
        await consumer.start()
        partition = aiokafka.TopicPartition(name, 0)
        for time_, offset in want.items():
            found = (await consumer.offsets_for_times({partition: BASE + time_}))[partition]
            equal(found and found.offset, offset, f"aiokafka at {time_}")
        await consumer.stop()

    asyncio.run(with_aiokafka())


@check
def what_is_committed_is_where_the_next_member_goes_on():
    name = topic("resume", 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP})
    for i in range(100):
        producer.produce(name, value=str(i))
    equal(producer.flush(20), 0)
    settings = {"bootstrap.servers": BOOTSTRAP, "group.id": f"resume-{RUN}", "enable.auto.commit": False,
                "auto.offset.reset": "earliest"}
    consumer = confluent_kafka.Consumer(settings)
    consumer.subscribe([name])
    for i in range(40):
        message = poll_one(consumer)
        equal(message.value(), str(i).encode())
    partition = confluent_kafka.TopicPartition(name, 0, 40, metadata="half way")
    consumer.commit(offsets=[partition], asynchronous=False)
    committed = consumer.committed([partition], timeout=10)[0]
    equal((committed.offset, committed.metadata), (40, "half way"))
    consumer.close()

    consumer = kafka.KafkaConsumer(name, bootstrap_servers=BOOTSTRAP, group_id=f"resume-{RUN}", enable_auto_commit=False,
                                   auto_offset_reset="earliest", consumer_timeout_ms=20000)
    for i in range(40, 70):
        equal(next(consumer).value, str(i).encode(), "kafka-python goes on")
    python_partition = kafka.TopicPartition(name, 0)
    equal(consumer.committed(python_partition), 40)
    consumer.commit({python_partition: kafka.OffsetAndMetadata(70, "", -1)})
    consumer.close()

    async def with_aiokafka():
        consumer = aiokafka.AIOKafkaConsumer(name, bootstrap_servers=BOOTSTRAP, group_id=f"resume-{RUN}",
                                             enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        for i in range(70, 100):
            message = await asyncio.wait_for(consumer.getone(), 20)
            equal(message.value, str(i).encode(), "aiokafka goes on")
        await consumer.commit()
        equal(await consumer.committed(aiokafka.TopicPartition(name, 0)), 100)
        await consumer.stop()

    asyncio.run(with_aiokafka())


def poll_one(consumer, seconds=20):
    deadline = time.time() + seconds
    while time.time() < deadline:
        message = consumer.poll(0.5)
        if message is not None:
            assert not message.error(), message.error()
            return message
    raise AssertionError("nothing to read")


class Reader(threading.Thread):
    """A member of a group that keeps reading until it is told to leave, or to fall silent."""

    def __init__(self, client, name, group, strategy):
        super().__init__(daemon=True)
        self.client, self.topic, self.group, self.strategy = client, name, group, strategy
        self.assigned, self.values, self.error = set(), [], None
        self.stop = threading.Event()
        self.start()

    def run(self):
        try:
            {"confluent": self.confluent, "kafka-python": self.kafka_python, "aiokafka": self.aiokafka}[self.client]()
        except Exception as error:  # told by whoever waits for this thread
            self.error = error

    def confluent(self):
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": BOOTSTRAP, "group.id": self.group, "auto.offset.reset": "earliest",
             "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": self.strategy}
        )
        consumer.subscribe([self.topic])
        while not self.stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                self.values.append(message.value())
            self.assigned = {partition.partition for partition in consumer.assignment()}
        consumer.close()

    def kafka_python(self):
        consumer = kafka.KafkaConsumer(
            self.topic, bootstrap_servers=BOOTSTRAP, group_id=self.group, auto_offset_reset="earliest",
            session_timeout_ms=6000, heartbeat_interval_ms=500,
        )
        while not self.stop.is_set():
            for messages in consumer.poll(100).values():
                self.values += [message.value for message in messages]
            self.assigned = {partition.partition for partition in consumer.assignment()}
        consumer.close()

    def aiokafka(self):
        async def read():
            consumer = aiokafka.AIOKafkaConsumer(
                self.topic, bootstrap_servers=BOOTSTRAP, group_id=self.group, auto_offset_reset="earliest",
                session_timeout_ms=6000, heartbeat_interval_ms=500,
            )
            await consumer.start()
            while not self.stop.is_set():
                for messages in (await consumer.getmany(timeout_ms=100)).values():
                    self.values += [message.value for message in messages]
                self.assigned = {partition.partition for partition in consumer.assignment()}
            await consumer.stop()

        asyncio.run(read())

    def leave(self):
        self.stop.set()
        self.join(20)
        assert not self.is_alive(), f"{self.client} does not close"
        assert self.error is None, self.error


def produce_numbers(name, partitions, numbers):
    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP})
    for number in numbers:
        producer.produce(name, value=str(number), partition=number % partitions)
    equal(producer.flush(20), 0)


def groups_of_two(client, strategy="range"):
    name = topic(f"group-{client}-{strategy}", 4)
    group = f"group-{client}-{strategy}-{RUN}"
    first = Reader(client, name, group, strategy)
    until(lambda: first.error or first.assigned == {0, 1, 2, 3}, 20, f"{client}: one member has all")
    second = Reader(client, name, group, strategy)
    half = lambda: len(first.assigned) == 2 and len(second.assigned) == 2 and not first.assigned & second.assigned
    until(lambda: first.error or second.error or half(), 30, f"{client}: two members share")
    produce_numbers(name, 4, range(100))
    until(lambda: len(first.values) + len(second.values) >= 100, 20, f"{client}: both read")
    assert first.values and second.values, f"{client}: one of them read nothing"
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    described = admin.describe_consumer_groups([group])[group].result(10)
    equal((described.state.name, len(described.members)), ("STABLE", 2), client)
    first.leave()
    until(lambda: second.error or second.assigned == {0, 1, 2, 3}, 30, f"{client}: the other takes over")
    produce_numbers(name, 4, range(100, 200))
    until(lambda: len(set(first.values + second.values)) >= 200, 20, f"{client}: and reads everything")
    second.leave()
    equal(sorted(int(value) for value in set(first.values + second.values)), list(range(200)))


@check
def confluent_groups_of_two_balance_and_take_over():
    groups_of_two("confluent")
    groups_of_two("confluent", "cooperative-sticky")


@check
def kafka_python_groups_of_two_balance_and_take_over():
    groups_of_two("kafka-python")


@check
def aiokafka_groups_of_two_balance_and_take_over():
    groups_of_two("aiokafka")


def read_committed(name, count):
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": f"rc-{uuid.uuid4()}", "isolation.level": "read_committed",
         "auto.offset.reset": "earliest", "enable.partition.eof": True}
    )
    consumer.assign([confluent_kafka.TopicPartition(name, 0, confluent_kafka.OFFSET_BEGINNING)])
    values, deadline = [], time.time() + 20
    while time.time() < deadline:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            values.append(message.value().decode())
        elif message is not None and len(values) >= count:
            break  # the end of the partition
    consumer.close()
    return values


@check
def transactions_are_read_when_committed_and_never_when_aborted():
    name, source, group = topic("tx", 1), topic("tx-source", 1), f"tx-{RUN}"
    produce_numbers(source, 1, range(10))

    producer = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": f"confluent-{RUN}"})
    producer.init_transactions(20)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "enable.auto.commit": False,
                                         "auto.offset.reset": "earliest"})
    consumer.subscribe([source])
    for end in ["abort", "commit"]:
        producer.begin_transaction()
        for i in range(3):
            producer.produce(name, value=f"confluent-{end}-{i}")
        message = poll_one(consumer)
        position = consumer.position([confluent_kafka.TopicPartition(source, 0)])
        producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 20)
        producer.commit_transaction(20) if end == "commit" else producer.abort_transaction(20)
        committed = consumer.committed([confluent_kafka.TopicPartition(source, 0)], timeout=10)[0].offset
        equal(committed, message.offset() + 1 if end == "commit" else confluent_kafka.OFFSET_INVALID)
    # The second producer of the same id fences the first one, whose open transaction is aborted.
    producer.begin_transaction()
    producer.produce(name, value="confluent-zombie")
    producer.flush(10)
    heir = confluent_kafka.Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": f"confluent-{RUN}"})
    heir.init_transactions(20)
    try:
        producer.commit_transaction(20)
        raise AssertionError("a fenced producer has committed")
    except confluent_kafka.KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    consumer.close()

    async def with_aiokafka():
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=f"aiokafka-{RUN}")
        await producer.start()
        async with producer.transaction():
            for i in range(3):
                await producer.send_and_wait(name, f"aiokafka-commit-{i}".encode())
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"aiokafka-abort")
        await producer.abort_transaction()
        await producer.stop()

    asyncio.run(with_aiokafka())

    producer = kafka.KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=f"kafka-python-{RUN}")
    producer.init_transactions()
    for end in ["commit", "abort"]:
        producer.begin_transaction()
        for i in range(3):
            producer.send(name, f"kafka-python-{end}-{i}".encode())
        producer.flush(20)
        producer.commit_transaction() if end == "commit" else producer.abort_transaction()
    producer.close()

    want = [f"{client}-commit-{i}" for client in ["confluent", "aiokafka", "kafka-python"] for i in range(3)]
    equal(read_committed(name, len(want)), want)


@check
def a_killed_member_is_missed_after_its_session():
    name, group = topic("killed", 2), f"killed-{RUN}"
    program = (
        "import sys, confluent_kafka\n"
        "c = confluent_kafka.Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[3],"
        " 'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500, 'auto.offset.reset': 'earliest'})\n"
        "c.subscribe([sys.argv[2]])\n"
        "while True:\n"
        "    c.poll(0.1)\n"
        "    print(len(c.assignment()), flush=True)\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", program, BOOTSTRAP, name, group], stdout=subprocess.PIPE, text=True)
    try:
        survivor = Reader("confluent", name, group, "range")
        until(lambda: survivor.error or (victim.stdout.readline().strip() == "1" and len(survivor.assigned) == 1), 30, "they share")
    finally:
        victim.kill()
        victim.wait()
    start = time.time()
    until(lambda: survivor.error or survivor.assigned == {0, 1}, 20, "the survivor has all")
    waited = time.time() - start
    assert 3 < waited < 12, f"took over after {waited:.1f} s, the session is 6 s"
    survivor.leave()


@check
def admin_clients_see_topics_configs_groups_and_offsets():
    name = topic("admin", 3, {"retention.ms": "12345"})
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    configs = list(admin.describe_configs([ConfigResource("topic", name)]).values())[0].result(10)
    equal((configs["retention.ms"].value, configs["cleanup.policy"].value), ("12345", "delete"))
    duplicate = admin.create_topics([NewTopic(name, 1, -1)])[name].exception(10)
    equal(duplicate.args[0].name(), "TOPIC_ALREADY_EXISTS")
    odd = f"foreign-odd-{RUN}"
    refused = admin.create_topics([NewTopic(odd, 1, -1, config={"no.such": "1"})])[odd].exception(10)
    equal(refused.args[0].name(), "INVALID_CONFIG")
    produce_numbers(name, 3, range(30))
    partition = confluent_kafka.TopicPartition(name, 0)
    offset = lambda spec: admin.list_offsets({partition: spec})[partition].result(10).offset
    equal((offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())), (0, 10))
    admin.delete_records([confluent_kafka.TopicPartition(name, 0, 4)])[partition].result(10)
    equal(offset(OffsetSpec.earliest()), 4)
    equal(len(admin.describe_cluster().result(10).nodes) >= 1, True)
    group = f"admin-{RUN}"
    consumer = confluent_kafka.Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(name, 0, 7)], asynchronous=False)
    consumer.close()
    listed = {listing.group_id for listing in admin.list_consumer_groups().result(10).valid}
    assert group in listed, listed
    offsets = admin.list_consumer_group_offsets([confluent_kafka.ConsumerGroupTopicPartitions(group)])[group].result(10)
    equal([(one.topic, one.partition, one.offset) for one in offsets.topic_partitions], [(name, 0, 7)])
    admin.delete_consumer_groups([group])[group].result(10)
    admin.delete_topics([name])[name].result(10)
    until(lambda: name not in admin.list_topics(timeout=10).topics, 10, "the topic is gone")

    python_admin = kafka.KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    from kafka.admin import NewPartitions, NewTopic as PythonNewTopic
    python_name = f"foreign-python-{RUN}"
    python_admin.create_topics([PythonNewTopic(python_name, 1, 1)])
    python_admin.create_partitions({python_name: NewPartitions(4)})
    described = python_admin.describe_topics([python_name])[0]
    equal(len(described["partitions"]), 4)
    python_admin.delete_topics([python_name])
    python_admin.close()


def main():
    wanted = sys.argv[2:]
    unknown = [name for name in wanted if name not in [one.__name__ for one in CHECKS]]
    assert not unknown, f"no such check: {unknown}"
    for one in CHECKS:
        if wanted and one.__name__ not in wanted:
            continue
        start = time.time()
        one()
        print(f"ok {one.__name__} ({time.time() - start:.1f} s)", flush=True)
    print(f"foreign clients: all of {len(wanted) or len(CHECKS)} checks passed", flush=True)


main()
