"""What the test broker may take: start-up, CPU per record in and out, an idle consumer, latency, memory.

    broker_limits.py MILENA-BINARY

The client is librdkafka (confluent-kafka); CPU is the broker process's alone, in nanoseconds by /proc/PID/schedstat of its
threads. Absolute times mean something on a machine with nothing else to do.
"""

import os
import signal
import socket
import statistics
import subprocess
import sys
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

BINARY = sys.argv[1]
RECORD = 100
COUNT = 2_000_000
FAILED = []


def limit(what, got, most, unit):
    within = got <= most
    print(f"{'ok  ' if within else 'OVER'} {what}: {got:.6g} {unit}, limit {most:g}", flush=True)
    if not within:
        FAILED.append(what)


class Broker:
    def __init__(self):
        start = time.monotonic()
        self.process = subprocess.Popen([BINARY, "broker", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.bootstrap = self.process.stdout.readline().removeprefix("BOOTSTRAP=").strip()
        host, port = self.bootstrap.rsplit(":", 1)
        socket.create_connection((host, int(port))).close()
        self.ready = (time.monotonic() - start) * 1e3

    def cpu(self):
        """Nanoseconds on a core since the start, of all threads."""
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))

    def resident(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024

    def topic(self, name, partitions):
        new = NewTopic(name, partitions, 1, config={"retention.ms": "-1"})
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([new])[name].result(10)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def start_up():
    times = []
    for _ in range(7):
        broker = Broker()
        times.append(broker.ready)
        broker.stop()
    limit("ready after the start", statistics.median(times), 50, "ms")


def write(broker, topic, count, size):
    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.bootstrap, "linger.ms": 50, "batch.size": 1_000_000, "batch.num.messages": 1_000_000,
        "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1_000_000, "acks": "all",
    })
    value = os.urandom(size)
    for _ in range(count):
        while True:
            try:
                producer.produce(topic, value)
                break
            except BufferError:
                producer.poll(0.01)
    if producer.flush(60):
        raise AssertionError("not everything was acknowledged")


def consumer(broker, topic, **more):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False, **more})
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(4)])
    return consumer


def throughput(broker):
    broker.topic("records", 4)
    write(broker, "records", 10_000, RECORD)  # warm
    before = broker.cpu()
    write(broker, "records", COUNT, RECORD)
    limit("broker's CPU per record of 100 B written in batches of 1 MB", (broker.cpu() - before) / COUNT, 150, "ns")
    reader = consumer(broker, "records", **{"fetch.message.max.bytes": 1_000_000})
    before, seen = broker.cpu(), 0
    while seen < COUNT + 10_000:
        found = reader.consume(100_000, 5)
        if not found:
            raise AssertionError(f"only {seen} records came")
        seen += len(found)
    limit("broker's CPU per record of 100 B read", (broker.cpu() - before) / seen, 100, "ns")
    reader.close()


def idle(broker):
    broker.topic("idle", 4)
    reader = consumer(broker, "idle")
    reader.consume(1, 2)
    before, start = broker.cpu(), time.monotonic()
    reader.consume(1, 10)
    used = (broker.cpu() - before) / 1e9 / (time.monotonic() - start)
    limit("broker's CPU for an idle consumer (two long polls a second)", used * 100, 0.1, "% of a core")
    reader.close()


def latency(broker):
    broker.topic("latency", 4)
    reader = consumer(broker, "latency")
    reader.consume(1, 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
    times = []
    for i in range(1_000):
        start = time.monotonic()
        producer.produce("latency", b"x", partition=0)
        while not reader.consume(1, 1):
            pass
        if i >= 100:
            times.append((time.monotonic() - start) * 1e3)
        producer.poll(0)
    limit("from produce to consume, p50", statistics.median(times), 1, "ms")
    reader.close()


def memory():
    broker = Broker()
    broker.topic("memory", 4)
    write(broker, "memory", 1_000, 1_000)  # warm
    before = broker.resident()
    write(broker, "memory", 400_000, 1_000)
    stored = 0
    reader = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g"})
    for partition in range(4):
        low, high = reader.get_watermark_offsets(confluent_kafka.TopicPartition("memory", partition))
        stored += (high - low) * 1_000
    reader.close()
    limit("resident memory of the bytes stored", (broker.resident() - before) / stored, 1.2, "times")
    broker.stop()


start_up()
broker = Broker()
try:
    throughput(broker)
    idle(broker)
    latency(broker)
finally:
    broker.stop()
memory()
sys.exit(f"over: {', '.join(FAILED)}" if FAILED else 0)
