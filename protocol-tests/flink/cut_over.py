"""From the aggregator to Flink: `aggregate --stop-at R`, then the SQL that --flink-sql prints, over the same topics.

usage: cut_over.py MILENA BOOTSTRAP CONNECTOR.jar

Events out of order within the bound, poison among them, one partition empty. The aggregator has the windows that end up to
R, Flink those after it; hopping windows lie across R. The union must be the whole: T.windows byte for byte what one
aggregator writes that was not cut, no (window, start, key, partition) twice, and each watermark behind all rows that it
speaks for. merge and sink go on: T.final and the sink's table equal DuckDB's windows over the whole input.
"""

import collections
import json
import os
import re
import sys
import tempfile
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "deploy", "flink")]
from pipeline_check import BOOTSTRAP, batch, finals, milena, write_events  # noqa: E402
from run import run  # noqa: E402

CONNECTOR = os.path.abspath(sys.argv[3])
# The keys are forty users: with fourteen partitions one stays empty.
COUNT, PARTITIONS = 30_000, 14
R, R_MS = "2023-11-06T00:00:00Z", 1_699_228_800_000
WINDOWS = "gmv_1m,views_1m,users_30m,carts_5m"
TOML = """
[[window]]
name = "carts_5m"
size = "5m"
advance = "1m"
filter = ["add_to_cart", "purchase"]
key = "product_id"
aggregate = "sum_price"
top = 2
"""
CARTS = {"carts_5m": (300_000, 60_000, "product_id", "event_type in ('add_to_cart', 'purchase')", "coalesce(sum(case when event_type = 'purchase' then price end), 0)")}
EVENT = '{"event_id":"e%d","user_id":1001,"event_type":"purchase","product_id":"Laptop_X1","timestamp":"%sZ","price":19.99}'
# What stands in EVENT, and what makes no event of it: neither the aggregator nor Flink may count it, or take its time.
POISON = [
    ('"price":19.99}', '"price":19.99'),
    ("19.99", "19.999"),
    ("19.99", "19.990"),
    ("19.99", '"abc"'),
    ("19.99", "{}"),
    ("purchase", "refund"),
    (r"2023-11-\d\d", "2023-11-31"),
    ("2023-11", "2023-13"),
    ("2023-11", "2099-11"),
    ("Z", ""),
    ("Z", "+24:00"),
    ("Z", ".0123456789Z"),
    (r"T\d\d", "T24"),
    ('"timestamp"', '"time"'),
    ("1001", "null"),
    ('"event_id"', '"id"'),
    ("Laptop_X1", "\udcff"),
]
WHOLE = ["hello", "null", "{}", '["event_id"]']
# What is an event all the same.
FINE = [("Laptop_X1", "Laptop\\u005fX1"), ("19.99", "19.9"), ("Z", "z"), ("Z", "-00"), ("Z", "+0000"), ("19.99", "-0.5"), ("Laptop_X1", "L\u00e4p \\\"t|o'p")]


def write_input(path, plain):
    """The events with something odd here and there, its time theirs. To `plain` goes what must count."""
    write_events(plain, COUNT, 3_900_000, 9)
    with open(plain) as file:
        lines = file.read().splitlines()
    odd = [*POISON, *WHOLE, *FINE]
    dead = fine = last = 0
    with open(path, "w", errors="surrogateescape") as out, open(plain, "a") as counted:
        for number, line in enumerate(lines):
            out.write(line + "\n")
            # Its whole second is at most one further back, which the bound has room for.
            at = re.search(r'"timestamp": "([^"]*T\d\d:\d\d:\d\d)[.\d]*Z"', line)
            if number - last < 40 or not at:
                continue
            last = number
            change = odd[(dead + fine) % len(odd)]
            if isinstance(change, str):
                out.write(change + "\n")
            else:
                event = EVENT % (number, at[1])
                changed = re.sub(change[0], lambda _: change[1], event, count=1)
                out.write(changed + "\n")
                if change in FINE:
                    # DuckDB knows fewer ways to write UTC.
                    counted.write((event if change[0] == "Z" else changed) + "\n")
            dead, fine = (dead, fine + 1) if change in FINE else (dead + 1, fine)
    return dead, fine


def windows(topic):
    """Key and value of what stands on T.windows, in order."""
    lines = milena("consume", "-t", f"{topic}.windows", "--json", "--from-beginning", "-e").stdout.splitlines()
    return [(record["key"], record["payload"]) for record in map(json.loads, lines)]


def rows_of(topic, records):
    """Rows by record key, each once; what a watermark says must stand before it."""
    rows, watermarks = {}, collections.defaultdict(dict)
    for key, value in records:
        row = json.loads(value)
        if "watermark_ms" in row:
            assert key == f"watermark|{row['job']}|{row['partition']}", key
            watermarks[row["job"]][row["partition"]] = row["watermark_ms"]
            continue
        by_flink = row["job"] == f"{topic}.aggregate.flink"
        assert by_flink or row["job"] == f"{topic}.aggregate", row
        assert by_flink == (row["end_ms"] > R_MS), f"on the wrong side of the cut: {row}"
        assert row["end_ms"] > watermarks[row["job"]].get(row["partition"], 0), f"behind its watermark: {row}"
        assert key not in rows, f"twice: {key}"
        rows[key] = value
    return rows, watermarks


def aggregate(topic, config, *more):
    return json.loads(milena("--config", config, "aggregate", "-t", topic, "--windows", WINDOWS, *more).stdout.splitlines()[-1])


def cut_over(directory):
    topic = f"cut-{uuid.uuid4().hex[:8]}"
    path, plain, config = f"{directory}/events.ndjson", f"{directory}/plain.ndjson", f"{directory}/windows.toml"
    with open(config, "w") as out:
        out.write(TOML)
    dead, fine = write_input(path, plain)
    milena("topics", "create", topic, "--partitions", str(PARTITIONS), "--replication", "1", "-c", "retention.ms=-1")
    milena("clickstream", "-t", topic, "--file", path)

    before = aggregate(topic, config, "--stop-at", R, "--until-end")
    assert before["late"] == 0, before
    sql = milena("--config", config, "aggregate", "-t", topic, "--windows", WINDOWS, "--stop-at", R, "--until-end", f"--flink-sql={PARTITIONS}").stdout
    run(sql, CONNECTOR, [("parallelism.default", "2")])
    rows, watermarks = rows_of(topic, windows(topic))
    assert len({json.loads(value)["partition"] for value in rows.values()}) == PARTITIONS - 1, "no partition is empty"
    assert watermarks[f"{topic}.aggregate"] == dict.fromkeys(range(PARTITIONS), R_MS), watermarks
    assert set(watermarks[f"{topic}.aggregate.flink"]) == set(range(PARTITIONS)), watermarks

    # Both jobs' rows in one run of merge.
    config_of = ("--config", config)
    merged = json.loads(milena(*config_of, "merge", "-t", topic, "--until-end").stdout.splitlines()[-1])
    assert merged["balanced"] and merged["late"] == 0 and merged["dead_lettered"] == 0, merged
    milena(*config_of, "verify", "-t", topic, "--windows", WINDOWS)
    found, tops = finals(topic, f"{topic}.aggregate", f"{topic}.aggregate.flink")
    expected, expected_tops, _ = batch(plain, CARTS, [("carts_5m", 2, str)])
    assert found == expected, f"{len(found)} rows, DuckDB has {len(expected)}: {list(set(found.items()) ^ set(expected.items()))[:6]}"
    assert tops == expected_tops, "lists of greatest counts differ from DuckDB's"
    sink(topic, found, f"embedded:{directory}/sink.redb")

    # One aggregator that is not cut: the same rows to the byte, but for the job.
    whole = f"whole-{uuid.uuid4().hex[:8]}"
    milena("topics", "create", whole, "--partitions", str(PARTITIONS), "--replication", "1", "-c", "retention.ms=-1")
    milena("clickstream", "-t", whole, "--file", path)
    uncut = aggregate(whole, config, "--until-end")
    assert uncut["dead_lettered"] == dead and uncut["late"] == 0, (uncut, dead)
    expected = {key: value for key, value in windows(whole) if not key.startswith("watermark|")}
    neutral = lambda rows: {key: re.sub(r'^\{"job":"[^"]*"', "", value) for key, value in rows.items()}
    assert neutral(rows) == neutral(expected), sorted(neutral(rows).items() ^ neutral(expected).items())[:6]
    milena(*config_of, "merge", "-t", whole, "--until-end")
    assert finals(whole) == (found, tops)

    by_job = collections.Counter(json.loads(value)["job"] for value in rows.values())
    print(f"cut at {R}: {by_job[f'{topic}.aggregate']} rows of the aggregator ({before['read']} records), {by_job[f'{topic}.aggregate.flink']} of Flink")
    print(f"{COUNT} events, {fine} odd ones and {dead} that are none: {len(rows)} partial rows, {len(found)} final ones and {len(tops)} lists are those of DuckDB, and of one aggregator")


def sink(topic, found, target):
    fill = lambda: json.loads(milena("sink", "-t", topic, "--what", "windows", "--to", target, "--until-end").stdout.splitlines()[-1])
    first, second = fill(), fill()
    assert first["balanced"] and second["read"] == 0, (first, second)
    lines = [json.loads(line) for line in milena("query", target.split(":", 1)[1]).stdout.splitlines()]
    table = [line["row"] for line in lines if line["table"] == "window_results" and "row" in line]
    stored = {(row["window_name"], row["start_ms"], row["key"] or None): (row["count"], row["sum_cents"]) for row in table}
    assert len(stored) == len(table) and stored == found, f"{len(table)} rows in the sink, {len(found)} on T.final"
    print(f"the sink holds the {len(stored)} rows")


with tempfile.TemporaryDirectory() as scratch:
    cut_over(scratch)
