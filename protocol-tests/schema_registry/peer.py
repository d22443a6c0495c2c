"""The half of confluent-kafka's serializers in protocol-tests/schema_registry.sh.

    peer.py write|read BOOTSTRAP REGISTRY [KIND...]: `python-*` is written, `rust-*` is read and compared."""

import datetime, sys
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf import timestamp_pb2  # noqa: F401, for the pool

HERE = Path(__file__).parent
COUNT = 100


def text(name):
    return (HERE / name).read_text()


def message_class():
    """order.proto and user.proto, put down by hand: no compiler of ours has a part in it."""
    kinds = descriptor_pb2.FieldDescriptorProto
    LONG, INT, STRING, MESSAGE = kinds.TYPE_INT64, kinds.TYPE_INT32, kinds.TYPE_STRING, kinds.TYPE_MESSAGE

    def fill(message, name, *fields):
        message.name = name
        for number, (name, kind, *rest) in enumerate(fields, 1):
            label = kinds.LABEL_REPEATED if "repeated" in rest else kinds.LABEL_OPTIONAL
            of = next((word for word in rest if word.startswith(".")), None)
            message.field.add(name=name, number=number, type=kind, label=label, type_name=of, json_name=name)

    user = descriptor_pb2.FileDescriptorProto(name="user.proto", package="shop", syntax="proto3")
    fill(user.message_type.add(), "User", ("name", STRING))
    imports = ["google/protobuf/timestamp.proto", "user.proto"]
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3", dependency=imports)
    fill(file.message_type.add(), "Other", ("a", INT))
    shop = file.message_type.add(name="Shop")
    fill(shop.nested_type.add(), "Line", ("item", STRING), ("count", INT))
    lines = ("lines", MESSAGE, ".shop.Shop.Line", "repeated")
    at = ("at", MESSAGE, ".google.protobuf.Timestamp")
    fill(shop.nested_type.add(), "Order", ("id", LONG), ("by", MESSAGE, ".shop.User"), ("note", STRING), lines, at)
    pool = descriptor_pool.Default()
    pool.Add(user)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Shop.Order"))


def order(number):
    note = None if number % 2 == 0 else f"note {number} ß"
    lines = [{"item": "a", "count": 1}, {"item": "b", "count": number}]
    kind = "GIFT" if number % 3 == 0 else "SALE"
    return {"id": number << 33, "by": {"name": f"user {number}"}, "note": note, "lines": lines, "price": 0.5 * number, "kind": kind}


def message(number, Order):
    given = order(number)
    found = Order(id=given["id"], note=given["note"] or "")
    found.by.name = given["by"]["name"]
    for line in given["lines"]:
        found.lines.add(**line)
    found.at.FromDatetime(datetime.datetime(2026, 11, 26) + datetime.timedelta(seconds=number))
    return found


def write(bootstrap, registry, Order, _):
    plain = lambda value, _: value
    registry.register_schema("python-users", Schema(text("user.avsc"), "AVRO"))
    users = [SchemaReference("shop.User", "python-users", 1)]
    serializers = {
        "avro": AvroSerializer(registry, Schema(text("order.avsc"), "AVRO", users), plain),
        "json": JSONSerializer(text("order.json"), registry, plain),
        "protobuf": ProtobufSerializer(Order, registry, {"use.deprecated.format": False}),
    }
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(COUNT):
        for kind, serializer in serializers.items():
            topic = f"python-{kind}"
            value = message(number, Order) if kind == "protobuf" else order(number)
            producer.produce(topic, serializer(value, SerializationContext(topic, MessageField.VALUE)))
    assert producer.flush(30) == 0
    print(f"{COUNT} records each of {', '.join(serializers)} are written by confluent-kafka")


def read(bootstrap, registry, Order, kinds):
    deserializers = {
        "avro": AvroDeserializer(registry),
        "json": JSONDeserializer(text("order.json"), schema_registry_client=registry),
        "protobuf": ProtobufDeserializer(Order, {"use.deprecated.format": False}, registry),
    }
    for kind in kinds or deserializers:
        topic, deserializer = f"rust-{kind}", deserializers[kind]
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"python-{kind}", "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        for number in range(COUNT):
            record = consumer.poll(30)
            assert record is not None and record.error() is None, (topic, number, record and record.error())
            value = deserializer(record.value(), SerializationContext(topic, MessageField.VALUE))
            expected = message(number, Order) if kind == "protobuf" else order(number)
            assert value == expected, (topic, number, value, expected)
        consumer.close()
        print(f"{topic}: {COUNT} records are what they should be to confluent-kafka")


if __name__ == "__main__":
    what, bootstrap, url, *kinds = sys.argv[1:]
    {"write": write, "read": read}[what](bootstrap, SchemaRegistryClient({"url": url}), message_class(), kinds)
