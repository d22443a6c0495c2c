"""Transactions, request by request: producer ids and epochs, what is refused in which state, fencing, time-outs, isolation."""

import time

from foreign.commits import committed, offset
from foreign.fetch import fetch, read
from foreign.groups import stable
from foreign.harness import check, equal, name_of, topic, until
from foreign.list_offsets import LATEST, list_offsets
from foreign.wire import (
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest, ask, batch, batches,
    coordinator, error, eventually, is_error, produce,
)


class Producer:
    """A transactional producer, one request at a time. `v2` is the protocol of KIP-890: no AddPartitions, epochs that grow."""

    def __init__(self, transactional_id=None, timeout_ms=60_000, v2=False):
        self.transactional_id = transactional_id or name_of("tx")
        self.v2, self.sequences = v2, {}
        answer = self.init(timeout_ms)
        is_error(answer.error_code, "NONE", "InitProducerId")
        self.id, self.epoch = answer.producer_id, answer.producer_epoch

    def at(self):
        return coordinator(self.transactional_id, 1)

    def init(self, timeout_ms=60_000, producer=(-1, -1)):
        return eventually(lambda: ask(
            InitProducerIdRequest, 5, at=self.at(), transactional_id=self.transactional_id, transaction_timeout_ms=timeout_ms,
            producer_id=producer[0], producer_epoch=producer[1],
        ))

    def add(self, *names, version=3):
        """Adds partition 0 of each topic, and returns what came of each."""
        topics = [{"name": name, "partitions": [0]} for name in names]
        answer = eventually_parts(lambda: ask(
            AddPartitionsToTxnRequest, version, at=self.at(), v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.id, v3_and_below_producer_epoch=self.epoch, v3_and_below_topics=topics,
        ).results_by_topic_v3_and_below)
        return {one.name: error(one.results_by_partition[0].partition_error_code) for one in answer}

    def send(self, name, *values, version=None):
        """Writes a batch, in version 1 without adding the partition; returns what came of it."""
        sequence = self.sequences.get(name, 0)
        records = batch(values, producer=(self.id, self.epoch), sequence=sequence, transactional=True)
        answer = eventually(lambda: produce(name, records, transactional_id=self.transactional_id, version=version or (12 if self.v2 else 11)))
        if answer.error_code == 0:
            self.sequences[name] = sequence + len(values)
        return error(answer.error_code)

    def write(self, name, *values):
        if not self.v2:
            equal(self.add(name), {name: "NONE"})
        equal(self.send(name, *values), "NONE")

    def end(self, commit=True):
        """Ends the transaction and returns what came of it; in v2 the next one has a new epoch."""
        answer = eventually(lambda: ask(
            EndTxnRequest, 5 if self.v2 else 4, at=self.at(), transactional_id=self.transactional_id, producer_id=self.id,
            producer_epoch=self.epoch, committed=commit,
        ))
        if self.v2 and answer.error_code == 0:
            self.id, self.epoch, self.sequences = answer.producer_id, answer.producer_epoch, {}
        return error(answer.error_code)

    def add_offsets(self, group):
        return error(eventually(lambda: ask(
            AddOffsetsToTxnRequest, 3, at=self.at(), transactional_id=self.transactional_id, producer_id=self.id, producer_epoch=self.epoch,
            group_id=group,
        )).error_code)

    def commit_offset(self, group, name, at, member="", generation=-1):
        part = {"partition_index": 0, "committed_offset": at, "committed_leader_epoch": -1, "committed_metadata": ""}
        return error(eventually(lambda: ask(
            TxnOffsetCommitRequest, 5 if self.v2 else 3, at=coordinator(group), transactional_id=self.transactional_id, group_id=group,
            producer_id=self.id, producer_epoch=self.epoch, generation_id=generation, member_id=member, group_instance_id=None,
            topics=[{"name": name, "partitions": [part]}],
        ).topics[0].partitions[0]).error_code)


def eventually_parts(what):
    """While an earlier transaction is still being ended, AddPartitionsToTxn says so of each partition."""

    def settled():
        topics = what()
        codes = {error(part.partition_error_code) for one in topics for part in one.results_by_partition}
        return None if codes == {"CONCURRENT_TRANSACTIONS"} else topics

    return until(settled, 30, "the earlier transaction has ended")


def settled(name, end):
    """Waits until no transaction holds the topic's partition up."""
    until(lambda: list_offsets(name, LATEST, isolation=1).offset == end, 20, f"{name} is stable up to {end}")


def read_committed(name):
    """The values that a reader of committed records hands out, by the list of aborted transactions."""
    answer = fetch(name, isolation_level=1)
    aborted, gone, values = sorted(answer.aborted_transactions or [], key=lambda one: one.first_offset), set(), []
    for one in batches(answer.records):
        while aborted and aborted[0].first_offset <= one.base_offset:
            gone.add(aborted.pop(0).producer_id)
        if one.is_control_batch:
            gone.discard(one.producer_id)
        elif not (one.is_transactional and one.producer_id in gone):
            values += [record.value for record in one]
    return values


@check
def the_same_transactional_id_keeps_its_producer_id_and_bumps_its_epoch():
    first = Producer()
    equal(first.epoch, 0)
    second = Producer(first.transactional_id)
    equal((second.id, second.epoch), (first.id, 1))
    other = Producer()
    assert other.id != first.id


@check
def a_producer_without_a_transactional_id_gets_a_new_id_each_time():
    ids = set()
    for version in range(0, 6):
        answer = eventually(lambda: ask(InitProducerIdRequest, version, transactional_id=None, transaction_timeout_ms=1000))
        equal((error(answer.error_code), answer.producer_epoch), ("NONE", 0), f"v{version}")
        ids.add(answer.producer_id)
    equal(len(ids), 6)


@check
def init_producer_id_refuses_what_can_not_be():
    producer = Producer()
    is_error(producer.init(timeout_ms=0).error_code, "INVALID_TRANSACTION_TIMEOUT")
    is_error(producer.init(timeout_ms=2**31 - 1).error_code, "INVALID_TRANSACTION_TIMEOUT")
    answer = ask(InitProducerIdRequest, 5, at=producer.at(), transactional_id="", transaction_timeout_ms=1000, producer_id=-1, producer_epoch=-1)
    is_error(answer.error_code, "INVALID_REQUEST", "an empty id")
    answer = producer.init(producer=(producer.id, -1))
    is_error(answer.error_code, "INVALID_REQUEST", "an id without an epoch")
    answer = producer.init(producer=(producer.id + 12345, 0))
    is_error(answer.error_code, "PRODUCER_FENCED", "another's id")
    answer = producer.init(producer=(producer.id, producer.epoch))
    equal((error(answer.error_code), answer.producer_id, answer.producer_epoch), ("NONE", producer.id, producer.epoch + 1), "its own")
    answer = producer.init(producer=(producer.id, producer.epoch + 7))
    is_error(answer.error_code, "PRODUCER_FENCED", "an epoch that is not its own")


@check
def what_is_committed_is_read_and_what_is_aborted_is_not():
    for v2 in [False, True]:
        name, producer = topic("isolation"), Producer(v2=v2)
        producer.write(name, b"first")
        equal(read_committed(name), [], "open")
        equal([value for _, value in read(name, 1)], [b"first"], "read_uncommitted sees it")
        equal(producer.end(commit=True), "NONE")
        settled(name, 2)
        producer.write(name, b"second")
        equal(producer.end(commit=False), "NONE")
        settled(name, 4)
        producer.write(name, b"third")
        equal(producer.end(commit=True), "NONE")
        settled(name, 6)
        equal(read_committed(name), [b"first", b"third"], f"v2={v2}")
        aborted = fetch(name, isolation_level=1).aborted_transactions
        equal([one.first_offset for one in aborted], [2])
        kinds = [one.is_control_batch for one in batches(fetch(name).records)]
        equal(kinds, [False, True] * 3, "each end has a marker")


@check
def an_open_transaction_holds_the_last_stable_offset():
    name, producer = topic("lso"), Producer()
    produce(name, batch([b"before"]))
    producer.write(name, b"open")
    produce(name, batch([b"behind"]))
    until(lambda: fetch(name).high_watermark == 3, 10, "all is replicated")
    one = fetch(name, isolation_level=1)
    equal((one.high_watermark, one.last_stable_offset), (3, 1))
    equal(len(batches(one.records)), 1)
    equal(fetch(name, isolation_level=0).last_stable_offset, 1)
    equal((list_offsets(name, LATEST, isolation=1).offset, list_offsets(name, LATEST).offset), (1, 3))
    producer.end(commit=True)
    settled(name, 4)
    equal(read_committed(name), [b"before", b"open", b"behind"])


@check
def in_version_1_a_partition_has_to_be_added_first():
    name, producer = topic("added"), Producer()
    equal(producer.send(name, b"x"), "TRANSACTION_ABORTABLE")
    equal(producer.send(name, b"x", version=10), "INVALID_TXN_STATE", "to a client that does not know the other yet")
    producer.write(name, b"x")
    producer.end()


@check
def in_version_2_a_produce_adds_its_partition():
    name, producer = topic("implicit"), Producer(v2=True)
    epoch = producer.epoch
    equal(producer.send(name, b"x"), "NONE")
    equal(producer.end(), "NONE")
    equal(producer.epoch, epoch + 1, "each transaction has an epoch")
    settled(name, 2)


@check
def partitions_are_added_all_or_none():
    name, missing, producer = topic("all-or-none"), name_of("missing"), Producer()
    equal(producer.add(name, missing), {name: "OPERATION_NOT_ATTEMPTED", missing: "UNKNOWN_TOPIC_OR_PARTITION"})
    equal(producer.send(name, b"x"), "TRANSACTION_ABORTABLE")


@check
def the_end_of_no_transaction_is_refused():
    producer = Producer()
    equal(producer.end(), "INVALID_TXN_STATE")
    name = topic("ends")
    producer.write(name, b"x")
    equal(producer.end(commit=True), "NONE")
    equal(producer.end(commit=True), "NONE", "the same again is a retry")
    equal(producer.end(commit=False), "INVALID_TXN_STATE", "the opposite is not")


@check
def an_older_epoch_is_fenced_everywhere():
    name, group, old = topic("fenced"), name_of("fenced"), Producer()
    old.write(name, b"zombie")
    new = Producer(old.transactional_id)
    assert new.epoch > old.epoch
    equal(old.end(), "PRODUCER_FENCED")
    equal(old.add(name), {name: "PRODUCER_FENCED"})
    equal(old.add_offsets(group), "PRODUCER_FENCED")
    settled(name, 2)
    equal(old.send(name, b"again"), "INVALID_PRODUCER_EPOCH")
    equal(read_committed(name), [], "its open transaction was aborted")
    is_error(old.init(producer=(old.id, old.epoch)).error_code, "PRODUCER_FENCED")
    new.write(name, b"heir")
    equal(new.end(), "NONE")
    settled(name, 4)
    equal(read_committed(name), [b"heir"])


@check
def a_producer_id_that_is_not_its_own_is_a_wrong_mapping():
    producer = Producer()
    producer.id += 12345
    equal(producer.end(), "INVALID_PRODUCER_ID_MAPPING")
    name = topic("mapping")
    equal(producer.add(name), {name: "INVALID_PRODUCER_ID_MAPPING"})
    equal(producer.add_offsets(name_of("mapping")), "INVALID_PRODUCER_ID_MAPPING")
    producer.transactional_id = name_of("never")
    equal(producer.end(), "INVALID_PRODUCER_ID_MAPPING", "an id that nobody has")


@check
def a_transaction_that_takes_too_long_is_aborted():
    name, producer = topic("timeout"), Producer(timeout_ms=1500)
    start = time.time()
    producer.write(name, b"slow")
    until(lambda: list_offsets(name, LATEST, isolation=1).offset == 2, 30, "it is aborted")
    assert time.time() - start > 1, "not before its time"
    equal(read_committed(name), [])
    assert producer.end() in ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"), "its producer is fenced"


@check
def offsets_of_a_transaction_count_once_it_is_committed():
    for v2 in [False, True]:
        name, group, producer = topic("offsets"), name_of("offsets"), Producer(v2=v2)
        for commit, at, want in [(True, 5, 5), (False, 9, 5)]:
            if not v2:
                equal(producer.add_offsets(group), "NONE")
            equal(producer.commit_offset(group, name, at), "NONE")
            if commit:
                equal(offset(group, name), -1, "not yet")
            one = committed(group, name, stable=True).topics[0].partitions[0]
            is_error(one.error_code, "UNSTABLE_OFFSET_COMMIT")
            equal(producer.end(commit), "NONE")
            until(lambda: committed(group, name, stable=True).topics[0].partitions[0].error_code == 0, 10, "it is stable")
            equal(offset(group, name, stable=True), want, f"v2={v2}")


@check
def offsets_of_a_transaction_are_taken_only_from_a_member():
    name, member, producer = topic("txn-member"), stable(), Producer()
    equal(producer.add_offsets(member.group), "NONE")
    equal(producer.commit_offset(member.group, name, 1, "somebody", member.generation), "UNKNOWN_MEMBER_ID")
    equal(producer.commit_offset(member.group, name, 1, member.id, 9), "ILLEGAL_GENERATION")
    equal(producer.commit_offset(member.group, name, 1, member.id, member.generation), "NONE")
    equal(producer.commit_offset(member.group, name_of("none"), 1, member.id, member.generation), "UNKNOWN_TOPIC_OR_PARTITION")
    producer.end()


@check
def several_transactions_are_checked_in_one_request_between_brokers_only():
    """AddPartitionsToTxn v4+ is for brokers: on a cluster without authorization anybody may ask."""
    name, producer = topic("batched"), Producer()
    topics = [{"name": name, "partitions": [0]}]
    of = {"transactional_id": producer.transactional_id, "producer_id": producer.id, "producer_epoch": producer.epoch, "topics": topics}
    answer = ask(AddPartitionsToTxnRequest, 4, at=producer.at(), transactions=[{**of, "verify_only": True}])
    got = answer.results_by_transaction[0].topic_results[0].results_by_partition[0]
    is_error(got.partition_error_code, "TRANSACTION_ABORTABLE", "nothing is open")
    answer = ask(AddPartitionsToTxnRequest, 4, at=producer.at(), transactions=[{**of, "verify_only": False}])
    is_error(answer.results_by_transaction[0].topic_results[0].results_by_partition[0].partition_error_code, "NONE")
    producer.end()
