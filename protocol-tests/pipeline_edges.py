"""Done-when 6 of issue 7, against another program's answer: a partition without records, partitions added in mid run, a run
between two instants, and a second run from the start by another group.

usage: pipeline_edges.py MILENA BOOTSTRAP
"""

import json
import random
import threading
import time
import uuid

from pipeline_outside import NAMES, WINDOWS, Running, add_partitions, await_that, batch, exists, milena, partial_rows, produce, read, receipt, same, topic

rng = random.Random(6)


def aggregate_and_merge(name, *options):
    """Both at work; merge wants the topic that the aggregator makes."""
    aggregate = Running("aggregate", "-t", name, "--windows", NAMES, *options)
    await_that(f"{name}.windows is there", lambda: exists(f"{name}.windows"))
    return [aggregate, Running("merge", "-t", name, "-X", "metadata.max.age.ms=1000")]


def event(ms, partition=-1, user=None):
    user = user or rng.randrange(1000, 1100)
    kind = rng.choice(["view", "view", "add_to_cart", "purchase"])
    price = f"{rng.randrange(10, 2000)}.{rng.randrange(100):02}" if kind == "purchase" else "null"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"
    value = f'{{"event_id":"{uuid.UUID(int=rng.getrandbits(128), version=4)}","user_id":{user},"event_type":"{kind}","product_id":"P{rng.randrange(4)}","timestamp":"{stamp}","price":{price},"ms":{ms}}}'
    return partition, b"%d" % user, value.encode(), [], ms


def is_event(record):
    found = json.loads(record.value)
    cents = None if found["price"] is None else round(found["price"] * 100)
    return {"ms": found["ms"], "kind": found["event_type"], "product": found["product_id"], "user": str(found["user_id"]), "cents": cents}


def finals(name):
    found = [json.loads(record.value) for record in read(f"{name}.final")]
    places = [(row["window"], row["start_ms"], row.get("key")) for row in found if "top" not in row]
    assert len(places) == len(set(places)), "a final row twice"
    return {place: row for place, row in zip(places, [row for row in found if "top" not in row])}


def an_idle_partition():
    """Two of three partitions have records: without the timeout nothing is final, with it all that has closed is."""
    now = int(time.time() * 1000)
    events = [event(now - 200_000 + at * 250, at % 2) for at in range(600)]  # up to 50 s ago
    expected = {start for start in range((now - 200_000) // 60_000 * 60_000, now - 70_000, 60_000)}
    for timeout, is_final in [("off", False), ("2s", True)]:
        name = topic("idle", 3)
        produce(name, events)
        running = aggregate_and_merge(name, "--idle-timeout", timeout)
        closed = lambda: {start for window, start, _ in finals(name) if window == "gmv_1m"}
        if is_final:
            await_that("windows are final without the third partition", lambda: closed() >= expected)
        else:
            time.sleep(6)
            assert not closed(), closed()
        for process in running:
            process.stop()
        if is_final:
            milena("verify", "-t", name, "--windows", NAMES)
    print(f"idle: with --idle-timeout {len(expected)} minutes are final in spite of a partition without a record, without it none")


def partitions_are_added():
    """6 become 12 while clickstream, aggregator and merge work; keys move to other partitions."""
    name, start = topic("grow", 6), 1_705_276_800_000
    running = aggregate_and_merge(name, "-X", "metadata.max.age.ms=1000")
    events = [event(start + at * 100) for at in range(16_000)]
    writer = threading.Thread(target=lambda: [produce(name, events[at : at + 500], rate=2_000) for at in range(0, len(events), 500)])
    writer.start()
    time.sleep(3)
    add_partitions(name, 12)
    writer.join()
    await_that("new partitions are read", lambda: {json.loads(record.value)["partition"] for record in read(f"{name}.windows")} == set(range(12)))
    for process in running:
        process.stop()
    receipt("aggregate", "-t", name, "--windows", NAMES, "--until-end")
    receipt("merge", "-t", name, "--until-end")
    records = read(name)
    assert len(records) == len(events) and {record.partition for record in records} == set(range(12))
    rows, late = batch(records, WINDOWS, is_event, bound=5_000)
    same(partial_rows(f"{name}.windows", f"{name}.aggregate"), rows, f"{name}.windows")
    assert len(read(f"{name}.late")) == len(late)
    totals = {}
    for (window, begin, key, _), (count, cents) in rows.items():
        total = totals.setdefault((window, begin, key), [0, 0])
        total[0], total[1] = total[0] + count, total[1] + cents
    same({place: [row["count"], row["sum_cents"]] for place, row in finals(name).items()}, totals, f"{name}.final")
    receipt("verify", "-t", name, "--windows", NAMES)
    print(f"grow: 6 partitions became 12 in mid run; {len(rows)} partial and {len(totals)} final rows equal, {len(late)} late")


def between_two_instants_and_once_more():
    start = 1_705_276_800_000
    events = [event(start + at * 100 - rng.randrange(9_000 if at % 20 == 0 else 4_000), at % 3) for at in range(20_000)]
    name = topic("again", 3)
    produce(name, events)
    records = read(name)
    for group in ["first", "second"]:
        receipt("aggregate", "-t", name, "--windows", NAMES, "--group", group, "--until-end")
    rows, late = batch(records, WINDOWS, is_event, bound=5_000)
    same(partial_rows(f"{name}.windows", "first"), rows, "the first run")
    # Byte by byte, in each input partition's order, but for the job's name.
    def raw(job):
        found = {partition: [] for partition in range(3)}
        for record in read(f"{name}.windows"):
            row = json.loads(record.value)
            if row["job"] == job and "watermark_ms" not in row:
                found[row["partition"]].append((record.key, record.value.replace(f'"job":"{job}"'.encode(), b'"job":""')))
        return found
    assert raw("first") == raw("second")
    twice = read(f"{name}.late")
    assert len(twice) == 2 * len(late)

    # From one instant to another, both on an edge; the half hour of users_30m bounds what is asked for.
    begin, stop = "2024-01-15T00:02:00Z", "2024-01-15T00:20:00Z"
    from_ms, stop_ms = start + 120_000, start + 1_200_000
    bounded, names = topic("between", 3), "gmv_1m,views_1m"
    produce(bounded, events)
    found = receipt("aggregate", "-t", bounded, "--windows", names, "--from-timestamp", begin, "--stop-at", stop)
    rows, _ = batch(read(bounded), WINDOWS[:2], is_event, bound=5_000, start=from_ms)
    rows = {place: row for place, row in rows.items() if place[1] + 60_000 <= stop_ms}
    same(partial_rows(f"{bounded}.windows", f"{bounded}.aggregate"), rows, "between two instants")
    before = sum(1 for record in read(bounded) if is_event(record)["ms"] < from_ms)
    assert 0 < found["skipped"]["before_from"] <= before, (found, before)
    receipt("merge", "-t", bounded, "--until-end")
    receipt("verify", "-t", bounded, "--windows", names, "--from-timestamp", begin)
    refused = milena("aggregate", "-t", bounded, "--windows", names, "--from-timestamp", "2024-01-15T00:05:00Z", "--until-end", expect=1)
    assert "--from-timestamp is for a new group" in refused.stderr, refused.stderr
    print(f"again: {len(events)} events by two groups give the same bytes; between two instants {len(rows)} rows are the rule's")


an_idle_partition()
partitions_are_added()
between_two_instants_and_once_more()
