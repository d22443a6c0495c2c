"""What applications do with confluent-kafka, kafka-python and aiokafka: offsets by time, commit and resume, transactions, admin."""

import asyncio
import time
import uuid

import aiokafka
import confluent_kafka
import kafka
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec
from kafka.admin import NewPartitions, NewTopic as PythonNewTopic

from foreign import harness, peers
from foreign.clients import BASE
from foreign.harness import RUN, admin_client, check, equal, name_of, topic, until
from foreign.members import poll_one, produce_numbers

@check
def offsets_for_times_is_the_first_record_from_then_on():
    name = topic("times", 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": harness.BOOTSTRAP, "compression.type": "lz4", "linger.ms": 50})
    times = [10, 30, 20, 15, 40]  # they need not grow
    for time_ in times:
        producer.produce(name, value=b"x", timestamp=BASE + time_)
    equal(producer.flush(20), 0)
    want = {0: 0, 10: 0, 11: 1, 30: 1, 31: 4, 41: None}

    consumer = confluent_kafka.Consumer({"bootstrap.servers": harness.BOOTSTRAP, "group.id": f"t-{RUN}"})
    for time_, offset in want.items():
        found = consumer.offsets_for_times([confluent_kafka.TopicPartition(name, 0, BASE + time_)], timeout=10)[0].offset
        equal(found, confluent_kafka.OFFSET_END if offset is None else offset, f"confluent at {time_}")
    equal(consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, 0), timeout=10), (0, 5))
    consumer.close()

    consumer = kafka.KafkaConsumer(bootstrap_servers=harness.BOOTSTRAP)
    partition = kafka.TopicPartition(name, 0)
    for time_, offset in want.items():
        found = consumer.offsets_for_times({partition: BASE + time_})[partition]
        equal(found and found.offset, offset, f"kafka-python at {time_}")
    consumer.close()

    async def with_aiokafka():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=harness.BOOTSTRAP)
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
    producer = confluent_kafka.Producer({"bootstrap.servers": harness.BOOTSTRAP})
    for i in range(100):
        producer.produce(name, value=str(i))
    equal(producer.flush(20), 0)
    settings = {"bootstrap.servers": harness.BOOTSTRAP, "group.id": f"resume-{RUN}", "enable.auto.commit": False,
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

    consumer = kafka.KafkaConsumer(name, bootstrap_servers=harness.BOOTSTRAP, group_id=f"resume-{RUN}", enable_auto_commit=False,
                                   auto_offset_reset="earliest", consumer_timeout_ms=20000)
    for i in range(40, 70):
        equal(next(consumer).value, str(i).encode(), "kafka-python goes on")
    python_partition = kafka.TopicPartition(name, 0)
    equal(consumer.committed(python_partition), 40)
    consumer.commit({python_partition: kafka.OffsetAndMetadata(70, "", -1)})
    consumer.close()

    async def with_aiokafka():
        consumer = aiokafka.AIOKafkaConsumer(name, bootstrap_servers=harness.BOOTSTRAP, group_id=f"resume-{RUN}",
                                             enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        for i in range(70, 100):
            message = await asyncio.wait_for(consumer.getone(), 20)
            equal(message.value, str(i).encode(), "aiokafka goes on")
        await consumer.commit()
        equal(await consumer.committed(aiokafka.TopicPartition(name, 0)), 100)
        await consumer.stop()

    asyncio.run(with_aiokafka())


def read_committed(name, count):
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": harness.BOOTSTRAP, "group.id": f"rc-{uuid.uuid4()}", "isolation.level": "read_committed",
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

    producer = confluent_kafka.Producer({"bootstrap.servers": harness.BOOTSTRAP, "transactional.id": f"confluent-{RUN}"})
    producer.init_transactions(20)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": harness.BOOTSTRAP, "group.id": group, "enable.auto.commit": False,
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
    heir = confluent_kafka.Producer({"bootstrap.servers": harness.BOOTSTRAP, "transactional.id": f"confluent-{RUN}"})
    heir.init_transactions(20)
    try:
        producer.commit_transaction(20)
        raise AssertionError("a fenced producer has committed")
    except confluent_kafka.KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    consumer.close()

    async def with_aiokafka():
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=harness.BOOTSTRAP, transactional_id=f"aiokafka-{RUN}")
        await producer.start()
        async with producer.transaction():
            for i in range(3):
                await producer.send_and_wait(name, f"aiokafka-commit-{i}".encode())
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"aiokafka-abort")
        await producer.abort_transaction()
        await producer.stop()

    asyncio.run(with_aiokafka())

    producer = kafka.KafkaProducer(bootstrap_servers=harness.BOOTSTRAP, transactional_id=f"kafka-python-{RUN}")
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


def transactions_of(peer):
    """A peer aborts one transaction and commits another, with offsets of a topic that it reads."""
    name, source, group = topic(f"tx-{peer}"), topic(f"tx-source-{peer}"), name_of("tx")
    produce_numbers(source, 1, range(10))
    (committed,) = peers.run(peer, "transact", name, source, group)
    equal(read_committed(name, 3), ["commit-0", "commit-1", "commit-2"])
    consumer = confluent_kafka.Consumer({"bootstrap.servers": harness.BOOTSTRAP, "group.id": group})
    equal(consumer.committed([confluent_kafka.TopicPartition(source, 0)], timeout=20)[0].offset, committed["committed"])
    consumer.close()


@check
def kafkajs_transactions_are_read_when_committed_and_never_when_aborted():
    transactions_of("kafkajs")


@check
def franz_go_transactions_are_read_when_committed_and_never_when_aborted():
    transactions_of("franz-go")


@check
def java_transactions_are_read_when_committed_and_never_when_aborted():
    transactions_of("java")


@check
def kafkajs_administers():
    peers.run("kafkajs", "admin", name_of("admin"))


@check
def franz_go_administers():
    peers.run("franz-go", "admin", name_of("admin"))


@check
def java_administers():
    peers.run("java", "admin", name_of("admin"))


@check
def admin_clients_see_topics_configs_groups_and_offsets():
    name = topic("admin", 3, {"retention.ms": "12345"})
    admin = admin_client()
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
    consumer = confluent_kafka.Consumer({"bootstrap.servers": harness.BOOTSTRAP, "group.id": group})
    consumer.commit(offsets=[confluent_kafka.TopicPartition(name, 0, 7)], asynchronous=False)
    consumer.close()
    listed = {listing.group_id for listing in admin.list_consumer_groups().result(10).valid}
    assert group in listed, listed
    offsets = admin.list_consumer_group_offsets([confluent_kafka.ConsumerGroupTopicPartitions(group)])[group].result(10)
    equal([(one.topic, one.partition, one.offset) for one in offsets.topic_partitions], [(name, 0, 7)])
    admin.delete_consumer_groups([group])[group].result(10)
    admin.delete_topics([name])[name].result(10)
    until(lambda: name not in admin.list_topics(timeout=10).topics, 10, "the topic is gone")

    python_admin = kafka.KafkaAdminClient(bootstrap_servers=harness.BOOTSTRAP)
    python_name = f"foreign-python-{RUN}"
    python_admin.create_topics([PythonNewTopic(python_name, 1, 1)])
    python_admin.create_partitions({python_name: NewPartitions(4)})
    until(lambda: len(python_admin.describe_topics([python_name])[0]["partitions"]) == 4, 10, "it has grown")
    python_admin.delete_topics([python_name])
    python_admin.close()
