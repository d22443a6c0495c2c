"""Fetch, request by request: limits, waits, sessions, epochs, what read_committed sees."""

import threading
import time
import uuid

from foreign.harness import check, equal, topic, until
from foreign.wire import (
    Connection, FetchRequest, ask, batch, batches, error, is_error, leader, partition_of, produce, topic_id, write,
)

VERSIONS = range(4, 18)
PLENTY = 1 << 20


def fetch_request(name, version=12, offset=0, partition=0, partition_max_bytes=PLENTY, by_id=None, topics=None, **rest):
    """What to ask: one partition from an offset, with whatever else is given."""
    part_fields = {one: rest.pop(one) for one in ["current_leader_epoch", "last_fetched_epoch"] if one in rest}
    part = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": partition_max_bytes, **part_fields}
    if topics is None:
        of = {"topic_id": by_id or topic_id(name)} if version >= 13 else {"topic": name}
        topics = [{**of, "partitions": [part]}]
    return {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": PLENTY, "topics": topics, **rest}


def fetch(name, version=12, partition=0, at=None, **how):
    """The answer about one partition."""
    answer = ask(FetchRequest, version, at=at or leader(name, partition), **fetch_request(name, version, partition=partition, **how))
    is_error(answer.error_code, "NONE", "Fetch")
    return answer.responses[0].partitions[0]


def read(name, count=None, offset=0, partition=0):
    """All `(key, value)` from an offset on, those of aborted transactions too; waits until there are `count`."""

    def found():
        records = []
        for one in batches(fetch(name, offset=offset, partition=partition).records):
            if not one.is_control_batch:
                records += [(record.key, record.value) for record in one if record.offset >= offset]
        return records

    if count is not None:
        until(lambda: len(found()) >= count, 10, f"{count} records")
    return found()


@check
def fetch_in_every_version_reads_the_same():
    name = topic("fetch-versions")
    write(name, [b"a", b"b"])
    write(name, [b"c"], codec=1)
    want = fetch(name).records
    for version in VERSIONS:
        one = fetch(name, version)
        equal((one.records, one.high_watermark, one.last_stable_offset), (want, 3, 3), f"v{version}")


@check
def a_fetch_beyond_the_end_is_out_of_range_and_one_at_the_end_is_empty():
    name = topic("range")
    write(name, [b"a", b"b"])
    at_end = fetch(name, offset=2)
    equal((error(at_end.error_code), at_end.records or b"", at_end.high_watermark), ("NONE", b"", 2))
    for offset in [3, -1]:
        one = fetch(name, offset=offset)
        equal((error(one.error_code), one.high_watermark, one.last_stable_offset, one.log_start_offset), ("OFFSET_OUT_OF_RANGE", -1, -1, -1))


@check
def a_fetch_from_within_a_batch_brings_the_whole_batch():
    name = topic("within")
    write(name, [b"a", b"b", b"c"])
    got = batches(fetch(name, offset=2).records)
    equal([(one.base_offset, len(list(one))) for one in got], [(0, 3)])


@check
def the_first_batch_comes_however_large_it_is():
    name = topic("first")
    for _ in range(3):
        write(name, [b"x" * 1000])
    equal(len(batches(fetch(name, partition_max_bytes=1).records)), 1, "over the partition's limit")
    equal(len(batches(fetch(name, max_bytes=1).records)), 1, "over the request's limit")
    size = len(batch([b"x" * 1000]))
    equal(len(batches(fetch(name, partition_max_bytes=2 * size).records)), 2, "as many as fit")


@check
def max_bytes_of_a_request_is_for_all_partitions_together():
    name = topic("together", 2, replicas=1)
    if leader(name, 0) != leader(name, 1):
        return
    for partition in [0, 1]:
        write(name, [b"x" * 1000], partition=partition)
    parts = [{"partition": p, "fetch_offset": 0, "partition_max_bytes": PLENTY} for p in [0, 1]]
    answer = ask(FetchRequest, 12, at=leader(name), max_wait_ms=0, min_bytes=0, max_bytes=100, topics=[{"topic": name, "partitions": parts}])
    equal([len(batches(one.records)) for one in answer.responses[0].partitions], [1, 0])


@check
def a_fetch_waits_for_as_long_as_it_says():
    name = topic("wait")
    start = time.time()
    fetch(name, max_wait_ms=700, min_bytes=1)
    waited = time.time() - start
    assert 0.6 < waited < 3, f"waited {waited:.2f} s"


@check
def a_waiting_fetch_is_answered_when_something_is_written():
    name = topic("awake")
    found = []
    thread = threading.Thread(target=lambda: found.append((fetch(name, max_wait_ms=20_000, min_bytes=1), time.time())))
    thread.start()
    time.sleep(0.5)
    assert not found
    written = time.time()
    write(name, [b"x"])
    thread.join(20)
    assert found and len(batches(found[0][0].records)) == 1
    assert found[0][1] - written < 5, "at once"


@check
def a_fetch_waits_for_min_bytes():
    name = topic("min-bytes")
    write(name, [b"x"])
    start = time.time()
    equal(len(batches(fetch(name, max_wait_ms=600, min_bytes=10_000).records)), 1)
    assert 0.5 < time.time() - start < 3, "one small batch is not enough"
    write(name, [b"x" * 10_000])
    start = time.time()
    equal(len(batches(fetch(name, max_wait_ms=20_000, min_bytes=10_000).records)), 2)
    assert time.time() - start < 10


@check
def a_fetch_of_what_is_unknown_says_so():
    name = topic("fetch-unknown")
    at = leader(name)
    is_error(fetch(name, partition=9, at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "partition")
    is_error(fetch("no-such-topic-at-all", at=at).error_code, "UNKNOWN_TOPIC_OR_PARTITION", "topic")
    is_error(fetch(name, 13, by_id=uuid.uuid4()).error_code, "UNKNOWN_TOPIC_ID", "id")


@check
def a_fetch_under_a_wrong_leader_epoch_is_told_which_way():
    name = topic("fetch-epoch")
    write(name, [b"x"])
    epoch = partition_of(name).leader_epoch
    is_error(fetch(name, current_leader_epoch=epoch).error_code, "NONE")
    is_error(fetch(name, current_leader_epoch=epoch + 1).error_code, "UNKNOWN_LEADER_EPOCH")
    if epoch > 0:
        is_error(fetch(name, current_leader_epoch=epoch - 1).error_code, "FENCED_LEADER_EPOCH")


@check
def a_fetch_whose_last_epoch_ends_earlier_is_told_where_it_diverges():
    name = topic("diverges")
    write(name, [b"a", b"b"])
    epoch = partition_of(name).leader_epoch
    one = fetch(name, offset=2, last_fetched_epoch=epoch, current_leader_epoch=epoch)
    equal((error(one.error_code), one.records or b""), ("NONE", b""))
    one = fetch(name, offset=5, last_fetched_epoch=epoch, current_leader_epoch=epoch)
    equal((error(one.error_code), one.diverging_epoch.epoch, one.diverging_epoch.end_offset), ("NONE", epoch, 2))


@check
def a_fetch_session_tells_only_what_has_changed():
    name = topic("session", 2, replicas=1)
    with Connection(leader(name)) as connection:
        parts = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": PLENTY}]
        full = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[{"topic": name, "partitions": parts}], session_epoch=0))
        is_error(full.error_code, "NONE")
        assert full.session_id > 0, full
        equal(len(full.responses), 1, "a full answer names every partition")
        session = {"session_id": full.session_id}
        more = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], session_epoch=1, **session))
        equal((error(more.error_code), more.session_id, len(more.responses)), ("NONE", full.session_id, 0))
        write(name, [b"x"])
        more = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], session_epoch=2, max_wait_ms=5000, min_bytes=1, **session))
        equal([len(batches(one.records)) for one in more.responses[0].partitions], [1])
        forget = [{"topic": name, "partitions": [0]}]
        more = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], forgotten_topics_data=forget, session_epoch=3, **session))
        equal(len(more.responses), 0)


@check
def a_fetch_session_that_is_out_of_step_is_refused():
    name = topic("session-errors")
    with Connection(leader(name)) as connection:
        full = connection.ask(FetchRequest, 12, **fetch_request(name, session_epoch=0))
        assert full.session_id > 0, full
        wrong = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], session_id=full.session_id, session_epoch=5))
        is_error(wrong.error_code, "INVALID_FETCH_SESSION_EPOCH")
        wrong = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], session_id=full.session_id ^ 0x5555, session_epoch=1))
        is_error(wrong.error_code, "FETCH_SESSION_ID_NOT_FOUND")
        ended = connection.ask(FetchRequest, 12, **fetch_request(name, session_id=full.session_id, session_epoch=-1))
        equal((error(ended.error_code), ended.session_id), ("NONE", 0), "the end of a session is a full fetch")
        wrong = connection.ask(FetchRequest, 12, **fetch_request(name, topics=[], session_id=full.session_id, session_epoch=1))
        is_error(wrong.error_code, "FETCH_SESSION_ID_NOT_FOUND", "after its end")


@check
def a_fetch_session_names_ids_from_v13_on_and_does_not_mix():
    name = topic("session-ids")
    with Connection(leader(name)) as connection:
        full = connection.ask(FetchRequest, 12, **fetch_request(name, session_epoch=0))
        mixed = connection.ask(FetchRequest, 13, **fetch_request(name, 13, topics=[], session_id=full.session_id, session_epoch=1))
        is_error(mixed.error_code, "FETCH_SESSION_TOPIC_ID_ERROR")
