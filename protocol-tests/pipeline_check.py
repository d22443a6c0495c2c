"""The pipeline against an independent computation: DuckDB over the same NDJSON.

usage: pipeline_check.py MILENA BOOTSTRAP [POSTGRES_URL]

For ordered events and for events out of order within the bound, with event times years ago: clickstream --file,
aggregate (stopped by SIGTERM in the middle and started again), merge, verify; T.final must equal DuckDB's windows row for
row, lists of greatest counts included. The sink's rows must equal DuckDB's purchases, and a second run must add nothing.
"""

import collections
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import duckdb

MILENA, BOOTSTRAP = sys.argv[1:3]
POSTGRES = sys.argv[3] if len(sys.argv) > 3 else None
WINDOWS = "gmv_1m,views_1m,users_30m"
PRODUCTS = ["Laptop_X1", "Phone_Y2", "Headphone_Z3", "Monitor_A4", "Keyboard_B5"]


def milena(*args, expect=0):
    done = subprocess.run([MILENA, *args], env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": BOOTSTRAP}, capture_output=True, text=True, timeout=180)
    if done.returncode != expect:
        sys.exit(f"milena {' '.join(args)}: exit {done.returncode}, not {expect}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done


def write_events(path, count, disorder, seed):
    """Everything that readers must accept: any order of fields, extra ones, ids as text, zones, 0 to 9 digits."""
    rng = random.Random(seed)
    now = datetime.datetime(2023, 11, 5, 23, 58, tzinfo=datetime.timezone.utc)
    with open(path, "w") as out:
        for _ in range(count):
            now += datetime.timedelta(microseconds=rng.randrange(40_000))
            at = now - datetime.timedelta(microseconds=rng.randrange(disorder + 1))
            kind = rng.choices(["view", "add_to_cart", "purchase"], [6, 2, 2])[0]
            style = rng.randrange(4)
            if style == 0:
                text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            elif style == 1:
                text = at.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{rng.randrange(1000):03}Z"  # nanoseconds, to be cut
            elif style == 2:
                zone = datetime.timezone(datetime.timedelta(minutes=rng.choice([120, -210])))
                text = at.astimezone(zone).isoformat(timespec="microseconds")
            else:
                # Whole seconds: up to one further back, which the bound of 5 s has room for.
                text = at.replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
            user = rng.randrange(1000, 1040)
            price = rng.randrange(1000, 200_001)
            priced = kind == "purchase" and rng.random() > 0.3
            fields = [
                ("event_id", str(uuid.UUID(int=rng.getrandbits(128), version=4))),
                ("user_id", str(user) if rng.random() < 0.3 else user),
                ("event_type", kind),
                ("product_id", rng.choice(PRODUCTS)),
                ("timestamp", text),
                ("extra", {"nested": [1, 2]}),
            ]
            rng.shuffle(fields)
            line = json.dumps(dict(fields))
            value = f"{price // 100}.{price % 100:02}" if priced or (kind == "view" and rng.random() < 0.1) else "null"
            out.write(f'{line[:-1]}, "price": {value}}}\n')


def batch(path, more={}, more_tops=()):
    """(window, start_ms, key) -> (count, cents), the lists of greatest counts, and the purchases, by DuckDB alone."""
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    columns = "{event_id: 'VARCHAR', user_id: 'VARCHAR', event_type: 'VARCHAR', product_id: 'VARCHAR', timestamp: 'VARCHAR', price: 'VARCHAR'}"
    db.execute(
        # epoch_ms would round, over the end of a window.
        f"""create table events as
        select event_id, user_id, event_type, product_id, price::decimal(18, 2) as price,
               epoch_us(cast(regexp_replace("timestamp", '(\\.\\d{{6}})\\d+', '\\1') as timestamptz)) // 1000 as ms
        from read_json('{path}', format = 'newline_delimited', columns = {columns})"""
    )
    queries = {
        "gmv_1m": (60_000, 60_000, "null", "event_type = 'purchase' and price is not null", "sum(price)"),
        "views_1m": (60_000, 60_000, "product_id", "event_type = 'view'", "0"),
        "users_30m": (1_800_000, 1_800_000, "user_id", "true", "0"),
        **more,
    }
    rows, tops = {}, {}
    for window, (size, advance, key, where, total) in queries.items():
        query = f"""select (ms // {advance} - hop) * {advance}, {key}, count(*), cast({total} * 100 as bigint)
            from events, range(0, {size // advance}) hops(hop) where {where} group by 1, 2"""
        for start, name, count, cents in db.execute(query).fetchall():
            rows[window, start, name] = (count, cents)
    for window, n, order in [("views_1m", 3, str), ("users_30m", 10, int), *more_tops]:
        lists = collections.defaultdict(list)
        for (name, start, key), (count, _) in rows.items():
            if name == window:
                lists[start].append((-count, order(key), key))
        for start, entries in lists.items():
            tops[window, start] = [(key, -count) for count, _, key in sorted(entries)[:n]]
    purchases = dict(db.execute("select event_id, price::varchar from events where event_type = 'purchase' and price is not null").fetchall())
    return rows, tops, purchases


def finals(topic, *jobs):
    """What stands on T.final, each once; it must come from these jobs, or else from the topic's aggregator."""
    rows, tops = {}, {}
    for line in milena("consume", "-t", f"{topic}.final", "--json", "--from-beginning", "-e").stdout.splitlines():
        record = json.loads(line)
        row = json.loads(record["payload"])
        if "top" in row:
            assert record["key"] == f"{row['window']}|{row['start_ms']}|#top", record
            place, value, into = (row["window"], row["start_ms"]), [(entry["key"], entry["count"]) for entry in row["top"]], tops
        else:
            assert record["key"] == f"{row['window']}|{row['start_ms']}|{row['key'] or ''}", record
            assert row["job"] in (jobs or [f"{topic}.aggregate"]), row
            place, value, into = (row["window"], row["start_ms"], row["key"]), (row["count"], row["sum_cents"]), rows
        assert place not in into, f"twice: {record}"
        into[place] = value
    return rows, tops


def stop_in_the_middle(topic):
    """An aggregator that is told to stop while it works: what it committed must fit what the next one goes on with."""
    command = [MILENA, "aggregate", "-t", topic, "--windows", WINDOWS, "-X", "max.poll.records=200", "-X", "max.partition.fetch.bytes=20000"]
    victim = subprocess.Popen(command, env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": BOOTSTRAP}, stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    victim.send_signal(signal.SIGTERM)
    out, _ = victim.communicate(timeout=30)
    assert victim.returncode == 0, (victim.returncode, out)
    return json.loads(out.splitlines()[-1])


def check(name, count, disorder, seed, directory):
    topic = f"pipeline-{name}-{uuid.uuid4().hex[:8]}"
    path = f"{directory}/{name}.ndjson"
    write_events(path, count, disorder, seed)
    expected, expected_tops, purchases = batch(path)

    lines = open(path).readlines()
    half = f"{directory}/half.ndjson"
    for part in (lines[: count * 3 // 5], lines[count * 3 // 5 :]):
        with open(half, "w") as out:
            out.writelines(part)
        sent = json.loads(milena("clickstream", "-t", topic, "--file", half).stdout.splitlines()[-1])
        assert sent["produced"] == len(part), sent
        if part[0] is lines[0]:
            first = stop_in_the_middle(topic)
    second = json.loads(milena("aggregate", "-t", topic, "--windows", WINDOWS, "--until-end").stdout.splitlines()[-1])
    assert first["read"] + second["read"] == count, (first, second)
    assert first["late"] + second["late"] == 0 and first["dead_lettered"] + second["dead_lettered"] == 0, (first, second)
    merged = json.loads(milena("merge", "-t", topic, "--until-end").stdout.splitlines()[-1])
    assert merged["balanced"], merged
    rows, tops = finals(topic)
    assert rows == expected, f"{name}: {len(rows)} rows, DuckDB has {len(expected)}: {list(set(rows.items()) ^ set(expected.items()))[:6]}"
    assert tops == expected_tops, f"{name}: lists of greatest counts differ"
    milena("verify", "-t", topic, "--windows", WINDOWS)

    # Once more: nothing new to read, nothing written.
    again = json.loads(milena("aggregate", "-t", topic, "--windows", WINDOWS, "--until-end").stdout.splitlines()[-1])
    merged = json.loads(milena("merge", "-t", topic, "--until-end").stdout.splitlines()[-1])
    assert again["read"] == 0 and merged["windows_closed"] == 0, (again, merged)
    assert finals(topic) == (rows, tops)

    sink(topic, purchases, f"embedded:{directory}/{name}.redb")
    if POSTGRES:
        sink(topic, purchases, POSTGRES)

    # More records after the end: refused with a sentence.
    milena("clickstream", "-t", topic, "--count", "10", "--seed", str(seed))
    refused = milena("aggregate", "-t", topic, "--windows", WINDOWS, expect=1)
    assert "this group was ended" in refused.stderr, refused.stderr
    print(f"{name}: {count} events, {len(rows)} rows and {len(tops)} lists equal DuckDB's; stopped after {first['read']} and went on")


def sink(topic, purchases, target):
    fill = lambda: json.loads(milena("sink", "-t", topic, "--to", target, "--until-end").stdout.splitlines()[-1])
    first, second = fill(), fill()
    assert first["balanced"] and second["read"] == 0, (first, second)
    assert first["kept"] == len(purchases), (first, len(purchases))
    kind, path = target.split(":", 1)
    if kind == "embedded":
        lines = [json.loads(line) for line in milena("query", path).stdout.splitlines()]
        rows = {row["row"]["event_id"]: row["row"]["price"] for row in lines if row["table"] == "purchase_orders" and "row" in row}
        receipt = json.loads(milena("verify", "-t", topic, "--windows", WINDOWS, "--to", target).stdout.splitlines()[-1])
        assert receipt["balanced"] and receipt["db_rows"] == len(purchases), receipt
    else:
        # Other topics' purchases are in the same table.
        query = "select event_id || ' ' || price from purchase_orders"
        out = subprocess.run(["psql", target, "-XAtqc", query], capture_output=True, text=True, check=True, timeout=60).stdout
        rows = dict(line.split(" ") for line in out.splitlines())
        rows = {event_id: price for event_id, price in rows.items() if event_id in purchases}
    assert rows == purchases, f"{topic}: {list(set(rows.items()) ^ set(purchases.items()))[:6]}"
    print(f"{topic}: ids and prices of {len(rows)} purchases in {kind} equal DuckDB's; a second run read and added nothing")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        check("ordered", 30_000, 0, 7, scratch)
        check("disordered", 30_000, 3_900_000, 8, scratch)
