"""Groups of members that read and balance, each by a client of its own, of both protocols."""

import asyncio
import subprocess
import sys
import threading
import time

import aiokafka
import confluent_kafka
import kafka

from foreign import harness, peers
from foreign.harness import RUN, admin_client, check, equal, topic, until

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
        if self.strategy == "consumer":  # KIP-848: the coordinator assigns, and says how often to come
            protocol = {"group.protocol": "consumer"}
        else:
            protocol = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": self.strategy}
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": harness.BOOTSTRAP, "group.id": self.group, "auto.offset.reset": "earliest", **protocol}
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
            self.topic, bootstrap_servers=harness.BOOTSTRAP, group_id=self.group, auto_offset_reset="earliest",
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
                self.topic, bootstrap_servers=harness.BOOTSTRAP, group_id=self.group, auto_offset_reset="earliest",
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
    producer = confluent_kafka.Producer({"bootstrap.servers": harness.BOOTSTRAP})
    for number in numbers:
        producer.produce(name, value=str(number), partition=number % partitions)
    equal(producer.flush(20), 0)


def groups_of_two(client, strategy="range"):
    name = topic(f"group-{client}-{strategy}", 4)
    group = f"group-{client}-{strategy}-{RUN}"
    member = peers.Member if client in peers.PEERS else Reader
    first = member(client, name, group, strategy)
    until(lambda: first.error or first.assigned == {0, 1, 2, 3}, 20, f"{client}: one member has all")
    second = member(client, name, group, strategy)
    half = lambda: len(first.assigned) == 2 and len(second.assigned) == 2 and not first.assigned & second.assigned
    until(lambda: first.error or second.error or half(), 30, f"{client}: two members share")
    produce_numbers(name, 4, range(100))
    until(lambda: len(first.values) + len(second.values) >= 100, 20, f"{client}: both read")
    assert first.values and second.values, f"{client}: one of them read nothing"
    admin = admin_client()
    described = admin.describe_consumer_groups([group])[group].result(10)
    kind = "CONSUMER" if strategy == "consumer" else "CLASSIC"
    equal((described.state.name, described.type.name, len(described.members)), ("STABLE", kind, 2), client)
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
def confluent_groups_of_two_by_the_consumer_protocol_balance_and_take_over():
    groups_of_two("confluent", "consumer")


@check
def kafka_python_groups_of_two_balance_and_take_over():
    groups_of_two("kafka-python")


@check
def aiokafka_groups_of_two_balance_and_take_over():
    groups_of_two("aiokafka")


@check
def kafkajs_groups_of_two_balance_and_take_over():
    groups_of_two("kafkajs", "roundrobin")


@check
def franz_go_groups_of_two_balance_and_take_over():
    groups_of_two("franz-go", "cooperative-sticky")


@check
def franz_go_groups_of_two_by_the_consumer_protocol_balance_and_take_over():
    groups_of_two("franz-go", "consumer")


@check
def java_groups_of_two_balance_and_take_over():
    groups_of_two("java", "range")
    groups_of_two("java", "cooperative-sticky")


@check
def java_groups_of_two_by_the_consumer_protocol_balance_and_take_over():
    groups_of_two("java", "consumer")


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
    victim = subprocess.Popen([sys.executable, "-c", program, harness.BOOTSTRAP, name, group], stdout=subprocess.PIPE, text=True)
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
