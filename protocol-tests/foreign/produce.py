"""Produce, request by request: what is taken, what is refused, and with which error."""

import struct
import uuid

from foreign.harness import check, equal, name_of, topic
from foreign.wire import (
    Connection, InitProducerIdRequest, ProduceRequest, ask, batch, batches, brokers, error, eventually, is_error, leader, mend_crc, now, partition_of,
    produce, write,
)
from foreign.fetch import fetch, read

VERSIONS = range(3, 14)


def producer():
    """A producer id of no transaction, and its epoch."""
    answer = eventually(lambda: ask(InitProducerIdRequest, 4, transactional_id=None, transaction_timeout_ms=1000))
    is_error(answer.error_code, "NONE", "InitProducerId")
    return answer.producer_id, answer.producer_epoch


@check
def produce_in_every_version_appends():
    name = topic("versions")
    for at, version in enumerate(VERSIONS):
        answer = produce(name, batch([f"v{version}".encode()]), version=version)
        equal((error(answer.error_code), answer.base_offset), ("NONE", at), f"v{version}")
        if version >= 5:
            equal(answer.log_start_offset, 0, f"v{version}: log start")
        equal(answer.log_append_time_ms, -1, f"v{version}: CreateTime has no append time")
    equal([value for _, value in read(name)], [f"v{version}".encode() for version in VERSIONS])


@check
def acks_are_0_1_or_all():
    name = topic("acks")
    for acks in [1, -1]:
        is_error(produce(name, batch([b"x"]), acks=acks).error_code, "NONE", f"acks={acks}")
    for acks in [2, -2]:
        answer = produce(name, batch([b"x"]), acks=acks)
        equal((error(answer.error_code), answer.base_offset), ("INVALID_REQUIRED_ACKS", -1), f"acks={acks}")
    equal(len(read(name, 2)), 2)


@check
def acks_0_is_not_answered_but_written():
    name = topic("acks0")
    with Connection(leader(name)) as connection:
        of = [{"name": name, "partition_data": [{"index": 0, "records": batch([b"silent"])}]}]
        connection.send(ProduceRequest, 9, acks=0, timeout_ms=1000, transactional_id=None, topic_data=of)
        # The next answer on this connection is the next request's.
        of = [{"name": name, "partition_data": [{"index": 0, "records": batch([b"loud"])}]}]
        answer = connection.ask(ProduceRequest, 9, acks=1, timeout_ms=1000, transactional_id=None, topic_data=of)
        equal(answer.responses[0].partition_responses[0].base_offset, 1)
    equal([value for _, value in read(name, 2)], [b"silent", b"loud"])


@check
def acks_0_that_fails_closes_the_connection():
    name = topic("acks0-fails")
    with Connection(leader(name)) as connection:
        of = [{"name": name, "partition_data": [{"index": 7, "records": batch([b"x"])}]}]
        connection.send(ProduceRequest, 9, acks=0, timeout_ms=1000, transactional_id=None, topic_data=of)
        assert connection.is_closed_by_broker()


@check
def produce_to_what_does_not_exist_names_it_unknown():
    name = topic("unknown")
    at = leader(name)
    is_error(produce(name, batch([b"x"]), partition=9, at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "partition")
    is_error(produce(name_of("none"), batch([b"x"]), at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "topic")
    is_error(produce("a/b", batch([b"x"]), at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "a name that no topic can have")
    is_error(produce(name, batch([b"x"]), partition=9, version=13, at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "by id")


@check
def produce_to_an_id_that_does_not_exist_is_unknown_topic_id():
    with Connection() as connection:
        of = [{"topic_id": uuid.uuid4(), "partition_data": [{"index": 0, "records": batch([b"x"])}]}]
        answer = connection.ask(ProduceRequest, 13, acks=1, timeout_ms=1000, transactional_id=None, topic_data=of)
        is_error(answer.responses[0].partition_responses[0].error_code, "UNKNOWN_TOPIC_ID")


@check
def produce_to_a_broker_that_does_not_lead_is_told_who_does():
    name = topic("elsewhere", replicas=1)
    leads = partition_of(name)
    others = {node: at for node, at in brokers().items() if node != leads.leader_id}
    if not others:
        return
    at = next(iter(others.values()))
    is_error(produce(name, batch([b"x"]), at=at, version=9).error_code, "NOT_LEADER_OR_FOLLOWER")
    with Connection(at) as connection:
        of = [{"name": name, "partition_data": [{"index": 0, "records": batch([b"x"])}]}]
        answer = connection.ask(ProduceRequest, 10, acks=1, timeout_ms=1000, transactional_id=None, topic_data=of)
        one = answer.responses[0].partition_responses[0]
        is_error(one.error_code, "NOT_LEADER_OR_FOLLOWER")
        equal((one.current_leader.leader_id, one.current_leader.leader_epoch), (leads.leader_id, leads.leader_epoch))
        equal([(e.node_id, (e.host, e.port)) for e in answer.node_endpoints], [(leads.leader_id, brokers()[leads.leader_id])])


@check
def a_batch_with_a_wrong_crc_is_corrupt():
    name = topic("crc")
    records = bytearray(batch([b"value"]))
    records[-2] ^= 1
    is_error(produce(name, bytes(records)).error_code, "CORRUPT_MESSAGE")
    equal(read(name), [])


@check
def a_batch_that_is_cut_off_is_refused():
    name = topic("cut")
    whole = batch([b"value" * 10])
    answer = produce(name, whole[:-5])
    assert answer.error_code != 0 and answer.base_offset == -1, answer
    equal(read(name), [])


@check
def a_produce_holds_one_batch_a_partition():
    name = topic("two")
    answer = produce(name, batch([b"1"]) + batch([b"2"]))
    is_error(answer.error_code, "INVALID_RECORD")
    equal(read(name), [])


@check
def an_old_message_format_is_refused():
    name = topic("magic")
    records = bytearray(batch([b"value"]))
    records[16] = 1  # the magic
    assert produce(name, bytes(records)).error_code != 0
    equal(read(name), [])


@check
def zstd_needs_produce_v7():
    name = topic("zstd")
    records = bytearray(batch([b"value" * 100], codec=4))
    is_error(produce(name, bytes(records), version=6).error_code, "UNSUPPORTED_COMPRESSION_TYPE")
    is_error(produce(name, bytes(records), version=7).error_code, "NONE")


@check
def offsets_within_a_batch_have_to_be_consecutive():
    name = topic("deltas")
    records = bytearray(batch([b"1", b"2"]))
    records[23:27] = struct.pack(">i", 5)  # the last offset delta
    mend_crc(records)
    is_error(produce(name, bytes(records)).error_code, "INVALID_RECORD")


@check
def what_is_larger_than_max_message_bytes_is_too_large():
    name = topic("large", config={"max.message.bytes": "1000"})
    is_error(produce(name, batch([b"x" * 900])).error_code, "NONE")
    answer = produce(name, batch([b"x" * 1000]))
    is_error(answer.error_code, "MESSAGE_TOO_LARGE")
    equal((answer.base_offset, answer.error_message), (-1, None))
    # What counts is the batch as it was sent, compressed.
    is_error(produce(name, batch([b"x" * 5000], codec=1)).error_code, "NONE", "compressed")
    equal(len(read(name)), 2)


@check
def a_compacted_topic_wants_a_key_and_names_the_records_without():
    name = topic("compacted", config={"cleanup.policy": "compact"})
    is_error(produce(name, batch([b"x"])).error_code, "NONE", "with a key")
    answer = produce(name, batch([(b"k", b"1", None), (None, b"2", None), (None, b"3", None)]))
    is_error(answer.error_code, "INVALID_RECORD")
    equal([one.batch_index for one in answer.record_errors], [1, 2])
    assert answer.error_message and all(one.batch_index_error_message for one in answer.record_errors), answer
    equal(len(read(name)), 1)


@check
def a_timestamp_far_in_the_future_is_invalid():
    name = topic("future")
    day = 24 * 3600 * 1000
    is_error(produce(name, batch([b"x"], timestamp=now() + 60_000)).error_code, "NONE", "a minute ahead")
    answer = produce(name, batch([(b"k", b"now", None), (b"k", b"later", now() + 2 * day)]))
    is_error(answer.error_code, "INVALID_TIMESTAMP")
    equal([one.batch_index for one in answer.record_errors], [1])
    assert answer.error_message and answer.record_errors[0].batch_index_error_message, answer


@check
def how_old_a_timestamp_may_be_is_the_topics_word():
    name = topic("past", config={"message.timestamp.before.max.ms": "1000"})
    is_error(produce(name, batch([b"x"], timestamp=now() - 60_000)).error_code, "INVALID_TIMESTAMP")
    is_error(produce(name, batch([b"x"])).error_code, "NONE")


@check
def log_append_time_is_the_brokers():
    name = topic("append-time", config={"message.timestamp.type": "LogAppendTime"})
    before = now()
    answer = produce(name, batch([b"a", b"b"], timestamp=1000))
    is_error(answer.error_code, "NONE")
    assert before - 1000 <= answer.log_append_time_ms <= now() + 1000, answer
    one = batches(fetch(name).records)[0]
    assert one.validate_crc(), "the CRC is of the batch as it is now"
    equal((one.timestamp_type, one.max_timestamp), (1, answer.log_append_time_ms))
    equal({record.timestamp for record in one}, {answer.log_append_time_ms})


@check
def headers_null_keys_and_empty_values_come_back_as_they_were():
    name = topic("odd")
    values = [(None, b"no key", None), (b"", b"", None), (b"k", None, None)]
    write(name, values)
    equal(read(name), [(key, value) for key, value, _ in values])


@check
def a_sequence_that_comes_again_is_not_written_again():
    name, of = topic("duplicate"), producer()
    for sequence in range(3):
        equal(write(name, [b"x"], producer=of, sequence=sequence), sequence)
    for sequence in range(3):
        answer = produce(name, batch([b"x"], producer=of, sequence=sequence))
        equal((error(answer.error_code), answer.base_offset), ("NONE", sequence), "the offset that it had")
    equal(len(read(name)), 3)


@check
def only_the_last_five_batches_are_known_as_duplicates():
    name, of = topic("five"), producer()
    for sequence in range(6):
        write(name, [b"x"], producer=of, sequence=sequence)
    is_error(produce(name, batch([b"x"], producer=of, sequence=1)).error_code, "NONE", "the fifth last")
    answer = produce(name, batch([b"x"], producer=of, sequence=0))
    is_error(answer.error_code, "OUT_OF_ORDER_SEQUENCE_NUMBER", "the sixth last")
    equal(len(read(name)), 6)


@check
def a_gap_in_the_sequence_is_out_of_order():
    name, of = topic("gap"), producer()
    write(name, [b"a", b"b"], producer=of, sequence=0)
    is_error(produce(name, batch([b"x"], producer=of, sequence=3)).error_code, "OUT_OF_ORDER_SEQUENCE_NUMBER")
    is_error(produce(name, batch([b"x"], producer=of, sequence=1)).error_code, "OUT_OF_ORDER_SEQUENCE_NUMBER", "overlap")
    write(name, [b"c"], producer=of, sequence=2)


@check
def a_producer_that_is_new_to_a_partition_begins_anywhere():
    name, (producer_id, _) = topic("anywhere"), producer()
    write(name, [b"a"], producer=(producer_id, 3), sequence=17)
    write(name, [b"a"], producer=(producer_id, 3), sequence=18)
    is_error(produce(name, batch([b"x"], producer=(producer_id, 4), sequence=19)).error_code, "OUT_OF_ORDER_SEQUENCE_NUMBER", "a new epoch")
    write(name, [b"a"], producer=(producer_id, 4), sequence=0)
    answer = produce(name, batch([b"x"], producer=(producer_id, 3), sequence=19))
    is_error(answer.error_code, "INVALID_PRODUCER_EPOCH", "the old epoch")


@check
def sequences_wrap_around():
    name, of = topic("wrap"), producer()
    write(name, [b"a", b"b"], producer=of, sequence=2**31 - 2)
    equal(write(name, [b"c"], producer=of, sequence=0), 2)
    name = topic("wrap-within")
    write(name, [b"a", b"b", b"c"], producer=of, sequence=2**31 - 2)
    equal(write(name, [b"c"], producer=of, sequence=1), 3)


@check
def min_insync_replicas_counts_no_more_than_there_are():
    name = topic("min-isr", replicas=1, config={"min.insync.replicas": "2"})
    answer = produce(name, batch([b"x"]))
    is_error(answer.error_code, "NONE")


@check
def requests_of_one_connection_are_answered_in_order():
    name = topic("pipelined")
    with Connection(leader(name)) as connection:
        for number in range(20):
            of = [{"name": name, "partition_data": [{"index": 0, "records": batch([str(number).encode()])}]}]
            connection.send(ProduceRequest, 9, acks=-1, timeout_ms=1000, transactional_id=None, topic_data=of)
        offsets = [connection.receive().responses[0].partition_responses[0].base_offset for _ in range(20)]
    equal(offsets, list(range(20)))
    equal([value for _, value in read(name)], [str(number).encode() for number in range(20)])


@check
def several_partitions_of_a_produce_fail_each_for_itself():
    name = topic("several", 2, replicas=1)
    with Connection(leader(name)) as connection:
        parts = [{"index": 0, "records": batch([b"x"])}, {"index": 5, "records": batch([b"x"])}]
        of = [{"name": name, "partition_data": parts}]
        answer = connection.ask(ProduceRequest, 9, acks=-1, timeout_ms=1000, transactional_id=None, topic_data=of)
        got = {one.index: error(one.error_code) for one in answer.responses[0].partition_responses}
        equal(got, {0: "NONE", 5: "UNKNOWN_TOPIC_OR_PARTITION"})
