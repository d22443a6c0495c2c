"""How long after the watermark has passed a window's end a reader of what is committed has its row: from the acknowledgement of
the event that moved the watermark past it to the row in a read_committed consumer, both seen by this process.

latency.py MILENA BOOTSTRAP [SECONDS] [EVENTS A SECOND]
Windows of half a second close in six partitions while 2,000 events a second come in. p99 must be below 500 ms.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

binary, bootstrap = sys.argv[1:3]
seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 60
rate = int(sys.argv[4]) if len(sys.argv) > 4 else 2_000
topic = f"latency-{os.getpid()}"
PARTITIONS, SIZE, BOUND = 6, 500_000, 100_000
WINDOW = '[[window]]\nname = "gmv_500ms"\nsize = "500ms"\nfilter = "priced_purchase"\naggregate = "sum_price"\n'

acked = {}  # (partition, end of window): when the event that closes it was acknowledged
seen = {}  # the same: when its row was here
next_end = {}
stop = threading.Event()
failures = []


def on_delivery(at, error, message):
    if error:
        failures.append(str(error))
        return
    now, partition = time.monotonic(), message.partition()
    end = next_end.setdefault(partition, at // SIZE * SIZE + SIZE)
    while end + BOUND <= at:
        acked[partition, end] = now
        end += SIZE
    next_end[partition] = end


def produce(producer):
    start, sent = time.monotonic(), 0
    while not stop.is_set():
        while sent < (time.monotonic() - start) * rate:
            at = time.time_ns() // 1000
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1_000_000)) + f".{at % 1_000_000:06d}Z"
            event = {"event_id": f"e{sent}", "user_id": 1000 + sent * 7919 % 9000, "event_type": "purchase",
                     "product_id": "Laptop_X1", "timestamp": text, "price": 19.99}
            producer.produce(topic, json.dumps(event), str(event["user_id"]),
                             on_delivery=lambda error, message, at=at: on_delivery(at, error, message))
            sent += 1
        time.sleep(0.001)


def deliver(producer):
    while not stop.is_set():
        producer.poll(0.1)


def read(consumer):
    while not stop.is_set():
        record = consumer.poll(0.1)
        if record is None:
            continue
        if record.error():
            failures.append(str(record.error()))
            continue
        now, row = time.monotonic(), json.loads(record.value())
        if "end_ms" in row:
            seen[row["partition"], row["end_ms"] * 1000] = now


admin = AdminClient({"bootstrap.servers": bootstrap})
for name, partitions in [(topic, PARTITIONS), (f"{topic}.windows", 1)]:
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
    config.write(WINDOW)
    config.flush()
    aggregator = subprocess.Popen([
        binary, "aggregate", "-b", bootstrap, "-t", topic, "--config", config.name, "--windows", "gmv_500ms",
        "--bound", f"{BOUND // 1000}ms",
    ])
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}.reader", "auto.offset.reset": "earliest",
                         "isolation.level": "read_committed", "enable.auto.commit": False})
    consumer.subscribe([f"{topic}.windows"])
    threads = [threading.Thread(target=work, args=(handle,))
               for work, handle in [(produce, producer), (deliver, producer), (read, consumer)]]
    for thread in threads:
        thread.start()
    time.sleep(5)  # until the group and the reader stand
    warm = time.monotonic()
    time.sleep(seconds)
    over = time.monotonic()
    time.sleep(2)  # what was closed within the time arrives
    stop.set()
    for thread in threads:
        thread.join()
    aggregator.terminate()
    aggregator.wait(20)
    consumer.close()

judged = [key for key, at in acked.items() if warm <= at < over]
missing = [key for key in judged if key not in seen]
millis = sorted(1000 * (seen[key] - acked[key]) for key in judged if key in seen)
if failures or missing or len(millis) < seconds:
    sys.exit(f"{len(failures)} failures {failures[:3]}, {len(missing)} rows missing, {len(millis)} rows seen")
p50, p99 = millis[len(millis) // 2], millis[len(millis) * 99 // 100]
print(f"{len(millis)} rows at {rate} events/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {millis[-1]:.1f} ms")
sys.exit(0 if p99 < 500 else "p99 is not below 500 ms")
