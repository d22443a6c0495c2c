"""Usage: record_samples | read_ours.py BOOTSTRAP: produces what milena wrote as it is, and reads it by librdkafka and
kafka-python. The topics record-ours-… stay, for Samples.java."""
import sys
import confluent_kafka as ck
import kafka
from confluent_kafka.admin import AdminClient, NewTopic
import samples
from fetch import Broker

bootstrap = sys.argv[1]
broker = Broker(bootstrap)
admin = AdminClient({"bootstrap.servers": bootstrap})
for line in sys.stdin:
    name, codec, batch = line.split()
    topic = f"record-ours-{name}-{codec}"
    [f.result(20) for f in admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "-1"})]).values()]
    assert broker.produce(topic, bytes.fromhex(batch)) == 0
    expected = [(samples.T + 10 * i, key, value, headers) for i, (key, value, headers) in enumerate(getattr(samples, name)())]

    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=10_000)
    consumer.assign([kafka.TopicPartition(topic, 0)])
    found = []
    for r in consumer:
        found.append((r.timestamp, r.key, r.value, list(r.headers)))
        if len(found) == len(expected):
            break
    consumer.close()
    assert found == expected, f"kafka-python: {topic}"

    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "record-ours", "check.crcs": True})
    consumer.assign([ck.TopicPartition(topic, 0, 0)])
    found = []
    while len(found) < len(expected):
        for m in consumer.consume(1000, 10):
            assert not m.error(), m.error()
            found.append((m.timestamp()[1], m.key(), m.value(), m.headers() or []))
    consumer.close()
    assert found == expected, f"librdkafka: {topic}"
    print(f"{topic}: {len(found)} records, the same in librdkafka and kafka-python")
