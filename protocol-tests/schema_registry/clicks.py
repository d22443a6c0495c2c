"""The pipeline's events in Avro, by confluent-kafka's serializers: part of protocol-tests/schema_registry.sh.

    clicks.py MILENA BOOTSTRAP REGISTRY

What `milena clickstream` writes is read and summed; and what other schemas of the same six fields hold, their ids before the data or in
a header, is summed by `milena aggregate`."""

import collections, datetime, decimal, json, subprocess, sys, uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

MILENA, BOOTSTRAP, REGISTRY = sys.argv[1:]
MINUTE = datetime.timedelta(minutes=1)
START = datetime.datetime(2024, 1, 15, 14, 30, tzinfo=datetime.timezone.utc)

# The prices are a decimal of four places, a double, and a long of whole units.
TEXTS = """{"type":"record","name":"Texts","fields":[{"name":"price","type":["null","double"],"default":null},
    {"name":"timestamp","type":"string"},{"name":"product_id","type":["string","null"]},{"name":"session","type":{"type":"array","items":"int"}},
    {"name":"event_type","type":"string"},{"name":"user_id","type":"string"},{"name":"event_id","type":"string"}]}"""
TYPES = """{"type":"record","name":"Types","fields":[{"name":"event_id","type":{"type":"string","logicalType":"uuid"}},{"name":"user_id","type":"int"},
    {"name":"event_type","type":{"type":"enum","name":"What","symbols":["purchase","add_to_cart","view"]}},{"name":"product_id","type":"string"},
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}]}]}"""
WHOLE = TYPES.replace('{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}', '"long"').replace("Types", "Whole")


def milena(*arguments):
    """The receipt of a command."""
    command = [MILENA, *arguments, "-b", BOOTSTRAP, "--value-format", "avro", "-X", f"schema.registry.url={REGISTRY}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 0, (command, done)
    return json.loads(done.stdout)


def records(topic, count):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": f"python-{topic}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    for _ in range(count):
        record = consumer.poll(30)
        assert record and not record.error(), record
        yield record
    consumer.close()


def windows(topic, name):
    """Counts and cents by start, as `milena aggregate` has written them."""
    found = collections.defaultdict(lambda: [0, 0])
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "python-windows", "auto.offset.reset": "earliest", "enable.partition.eof": True})
    consumer.subscribe([f"{topic}.windows"])
    while True:
        record = consumer.poll(30)
        assert record, "the end does not come"
        if record.error():
            break
        row = json.loads(record.value())
        if row.get("window") == name:
            found[row["start_ms"]][0] += row["count"]
            found[row["start_ms"]][1] += row["sum_cents"]
    consumer.close()
    return dict(found)


def add(sums, at, price):
    cents = price * 100
    assert cents == int(cents), price
    start = int((at - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / MINUTE) * 60_000
    count, sum = sums.get(start, (0, 0))
    sums[start] = [count + 1, sum + int(cents)]


def ours(registry):
    written = milena("clickstream", "-t", "ours", "--count", "3000", "--start", "2024-01-15T14:30:00Z", "--disorder", "5m")
    assert written["produced"] == 3000, written
    deserialize = AvroDeserializer(registry)
    expected = {}
    for record in records("ours", 3000):
        event = deserialize(record.value(), SerializationContext("ours", MessageField.VALUE))
        assert str(event["user_id"]).encode() == record.key() and uuid.UUID(event["event_id"]), event
        assert int(event["timestamp"].timestamp() * 1000) == record.timestamp()[1], event
        if event["event_type"] == "purchase":
            add(expected, event["timestamp"], event["price"])
    receipt = milena("aggregate", "-t", "ours", "--until-end", "--bound", "1h")
    assert receipt["read"] == receipt["kept"] == 3000, receipt
    assert windows("ours", "gmv_1m") == expected, expected
    return len(expected)


def theirs(registry):
    plain = lambda value, _: value
    own = {"auto.register.schemas": True, "subject.name.strategy": lambda context, name: name}
    in_header = {**own, "schema.id.serializer": header_schema_id_serializer}
    serializers = [AvroSerializer(registry, TEXTS, plain, own), AvroSerializer(registry, TYPES, plain, in_header), AvroSerializer(registry, WHOLE, plain, own)]
    producer, expected = Producer({"bootstrap.servers": BOOTSTRAP}), {}
    for number in range(900):
        kind = number % 3
        at = START + datetime.timedelta(milliseconds=number * 301)
        price = [decimal.Decimal(number) / 100, decimal.Decimal(number) / 10, decimal.Decimal(number)][kind]
        what = ["purchase", "view"][number % 5 == 4]
        event = {"event_id": str(uuid.UUID(int=number)), "event_type": what, "product_id": "p", "session": [number]}
        event |= {"user_id": f"u{number}", "timestamp": at.isoformat()} if kind == 0 else {"user_id": number, "timestamp": at}
        event["price"] = None if what == "view" else [float, lambda p: p.quantize(decimal.Decimal("0.0001")), int][kind](price)
        headers = []
        value = serializers[kind](event, SerializationContext("theirs", MessageField.VALUE, headers))
        headers = headers.items() if isinstance(headers, dict) else headers
        assert bool(headers) == (kind == 1), headers
        producer.produce("theirs", value, headers=list(headers), timestamp=int(at.timestamp() * 1000))
        if what == "purchase":
            add(expected, at, price)
    assert producer.flush(30) == 0
    receipt = milena("aggregate", "-t", "theirs", "--until-end")
    assert receipt["read"] == receipt["kept"] == 900, receipt
    assert windows("theirs", "gmv_1m") == expected, (windows("theirs", "gmv_1m"), expected)
    return len(expected)


registry = SchemaRegistryClient({"url": REGISTRY})
print(f"{ours(registry)} windows over what clickstream wrote, {theirs(registry)} over what confluent-kafka wrote by three schemas: equal to the cent")
