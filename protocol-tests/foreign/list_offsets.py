"""ListOffsets, OffsetForLeaderEpoch and DeleteRecords: where a log begins, ends, and what was when."""

from foreign.harness import check, equal, topic
from foreign.wire import (
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ask, error, is_error, leader, partition_of, write,
)
from foreign.fetch import fetch

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
BASE = 1_500_000_000_000


def list_offsets(name, timestamp, version=8, isolation=0, partition=0, at=None, epoch=-1):
    part = {"partition_index": partition, "timestamp": timestamp, "current_leader_epoch": epoch}
    answer = ask(
        ListOffsetsRequest, version, at=at or leader(name, partition), replica_id=-1, isolation_level=isolation,
        topics=[{"name": name, "partitions": [part]}],
    )
    return answer.topics[0].partitions[0]


def delete_records(name, offset, partition=0, at=None):
    answer = ask(
        DeleteRecordsRequest, 2, at=at or leader(name, partition), timeout_ms=10_000,
        topics=[{"name": name, "partitions": [{"partition_index": partition, "offset": offset}]}],
    )
    return answer.topics[0].partitions[0]


def offset_for_epoch(name, epoch, current=-1, partition=0, at=None):
    part = {"partition": partition, "current_leader_epoch": current, "leader_epoch": epoch}
    answer = ask(
        OffsetForLeaderEpochRequest, 4, at=at or leader(name), replica_id=-1, topics=[{"topic": name, "partitions": [part]}]
    )
    return answer.topics[0].partitions[0]


@check
def list_offsets_in_every_version_knows_both_ends():
    name = topic("ends")
    write(name, [b"a", b"b", b"c"])
    delete_records(name, 1)
    for version in range(1, 10):
        for timestamp, want in [(EARLIEST, 1), (LATEST, 3)]:
            one = list_offsets(name, timestamp, version)
            equal((error(one.error_code), one.offset, one.timestamp), ("NONE", want, -1), f"v{version}")
            if version >= 4:
                equal(one.leader_epoch, partition_of(name).leader_epoch, f"v{version}")


@check
def the_greatest_timestamp_has_an_offset():
    name = topic("max-timestamp")
    one = list_offsets(name, MAX_TIMESTAMP)
    equal((error(one.error_code), one.offset, one.timestamp), ("NONE", -1, -1), "of an empty log")
    write(name, [(b"k", b"a", BASE + 10), (b"k", b"b", BASE + 30), (b"k", b"c", BASE + 20)])
    write(name, [(b"k", b"d", BASE + 5)])
    one = list_offsets(name, MAX_TIMESTAMP)
    equal((error(one.error_code), one.offset, one.timestamp), ("NONE", 1, BASE + 30))


@check
def without_tiered_storage_the_local_log_is_all_there_is():
    name = topic("tiers")
    write(name, [b"a", b"b"])
    one = list_offsets(name, EARLIEST_LOCAL)
    equal((error(one.error_code), one.offset), ("NONE", 0))
    one = list_offsets(name, LATEST_TIERED, 9)
    equal((error(one.error_code), one.offset), ("NONE", -1))


@check
def a_special_timestamp_needs_the_version_that_has_it():
    name = topic("specials")
    write(name, [b"a"])
    for timestamp, version in [(MAX_TIMESTAMP, 6), (EARLIEST_LOCAL, 7), (LATEST_TIERED, 8)]:
        is_error(list_offsets(name, timestamp, version).error_code, "UNSUPPORTED_VERSION", f"{timestamp} in v{version}")
    is_error(list_offsets(name, -77).error_code, "UNSUPPORTED_VERSION", "one that nobody knows")


@check
def a_time_is_looked_up_to_the_first_record_from_then_on():
    name = topic("by-time")
    for at in [10, 30, 20]:
        write(name, [(b"k", b"v", BASE + at)])
    for at, want in {0: (0, 10), 10: (0, 10), 11: (1, 30), 30: (1, 30)}.items():
        one = list_offsets(name, BASE + at)
        equal((one.offset, one.timestamp), (want[0], BASE + want[1]), f"at {at}")
    one = list_offsets(name, BASE + 31)
    equal((error(one.error_code), one.offset, one.timestamp), ("NONE", -1, -1), "after the last")


@check
def list_offsets_under_a_wrong_epoch_or_of_no_partition_is_refused():
    name = topic("list-errors")
    epoch = partition_of(name).leader_epoch
    is_error(list_offsets(name, LATEST, epoch=epoch).error_code, "NONE")
    is_error(list_offsets(name, LATEST, epoch=epoch + 1).error_code, "UNKNOWN_LEADER_EPOCH")
    is_error(list_offsets(name, LATEST, partition=9, at=leader(name)).error_code, "UNKNOWN_TOPIC_OR_PARTITION")
    part = {"partition_index": 0, "timestamp": LATEST, "current_leader_epoch": -1}
    answer = ask(
        ListOffsetsRequest, 8, at=leader(name), replica_id=-1, isolation_level=0, topics=[{"name": name, "partitions": [part, part]}]
    )
    equal({error(one.error_code) for one in answer.topics[0].partitions}, {"INVALID_REQUEST"}, "a partition twice")


@check
def an_epoch_ends_where_the_next_begins_or_the_log_does():
    name = topic("epoch-end")
    write(name, [b"a", b"b"])
    epoch = partition_of(name).leader_epoch
    one = offset_for_epoch(name, epoch)
    equal((error(one.error_code), one.leader_epoch, one.end_offset), ("NONE", epoch, 2))
    one = offset_for_epoch(name, epoch + 5)
    equal((error(one.error_code), one.leader_epoch, one.end_offset), ("NONE", -1, -1), "an epoch to come")
    is_error(offset_for_epoch(name, epoch, current=epoch + 1).error_code, "UNKNOWN_LEADER_EPOCH")
    is_error(offset_for_epoch(name, 0, partition=9).error_code, "UNKNOWN_TOPIC_OR_PARTITION")


@check
def deleted_records_move_the_beginning_of_the_log():
    name = topic("delete")
    write(name, [b"a", b"b", b"c"])
    one = delete_records(name, 2)
    equal((error(one.error_code), one.low_watermark), ("NONE", 2))
    equal(list_offsets(name, EARLIEST).offset, 2)
    is_error(fetch(name, offset=1).error_code, "OFFSET_OUT_OF_RANGE")
    equal(fetch(name, offset=2).log_start_offset, 2)
    one = delete_records(name, 1)
    equal((error(one.error_code), one.low_watermark), ("NONE", 2), "what is gone already")
    one = delete_records(name, -1)
    equal((error(one.error_code), one.low_watermark), ("NONE", 3), "all there is")
    one = delete_records(name, 4)
    equal((error(one.error_code), one.low_watermark), ("OFFSET_OUT_OF_RANGE", -1), "more than there is")
    equal(write(name, [b"d"]), 3, "offsets go on")


@check
def records_of_a_compacted_topic_can_not_be_deleted():
    name = topic("delete-compacted", config={"cleanup.policy": "compact"})
    write(name, [b"a"])
    is_error(delete_records(name, 1).error_code, "POLICY_VIOLATION")
    is_error(delete_records(name, 1, partition=9, at=leader(name)).error_code, "UNKNOWN_TOPIC_OR_PARTITION")
