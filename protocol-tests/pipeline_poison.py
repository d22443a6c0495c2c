"""Poison (Done-when 4 of issue 7): each bad record is on T.dlq once for the aggregator and once for the sink, byte by byte as it
was, with its coordinates and reason; nothing else is disturbed and nobody restarts. Then the queue is sent back, by replays that
are killed at random.

usage: pipeline_poison.py MILENA BOOTSTRAP [POSTGRES_URL]
"""

import calendar
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from decimal import Decimal

from pipeline_outside import NAMES, WINDOWS, Running, await_that, batch, committed, milena, partial_rows, produce, read, receipt, same, set_aside, topic

START = 1_705_276_800_000
PRODUCTS = ["Laptop_X1", "Phone_Y2", "Headphone_Z3"]
rng = random.Random(20261126)


def event(at, **fields):
    kind = fields.pop("kind", None) or rng.choice(["view", "view", "add_to_cart", "purchase"])
    found = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "user_id": rng.randrange(1000, 1020),
        "event_type": kind,
        "product_id": rng.choice(PRODUCTS),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1000)) + f".{at % 1000:03}Z",
        "price": Decimal(rng.randrange(1000, 200_001)) / 100 if kind == "purchase" else None,
    }
    return {**found, **fields}


def text(found):
    """JSON with the price as a bare decimal number."""
    parts = [f"{json.dumps(name)}: {value if isinstance(value, Decimal) else json.dumps(value)}" for name, value in found.items()]
    return "{" + ", ".join(parts) + "}"


def without(field, at):
    return text({name: value for name, value in event(at).items() if name != field})


# What each kind of poison is, and why it must be refused. A price is looked at on purchases only.
POISON = [
    ("not JSON", "not_json", lambda at: b"hello"),
    ("empty", "not_json", lambda at: b""),
    ("truncated", "not_json", lambda at: text(event(at)).encode()[:-20]),
    ("two objects", "not_json", lambda at: (text(event(at)) + text(event(at))).encode()),
    ("NaN", "not_json", lambda at: text(event(at, kind="purchase", price=Decimal("NaN"))).encode()),
    ("tombstone", "tombstone", lambda at: None),
    ("bad UTF-8", "bad_utf8", lambda at: text(event(at, product_id="??")).encode().replace(b"??", b"\xff\xfe")),
    ("missing timestamp", "missing_field", lambda at: without("timestamp", at).encode()),
    ("missing event_id", "missing_field", lambda at: without("event_id", at).encode()),
    ("null user", "missing_field", lambda at: text(event(at, user_id=None)).encode()),
    ("price as text", "bad_price", lambda at: text(event(at, kind="purchase", price="abc")).encode()),
    ("three decimals", "bad_price", lambda at: text(event(at, kind="purchase", price=Decimal("1.999"))).encode()),
    ("too much money", "bad_price", lambda at: text(event(at, kind="purchase", price=Decimal("92233720368547758.08"))).encode()),
    ("an array", "not_an_object", lambda at: f"[{text(event(at))}]".encode()),
    ("a number", "not_an_object", lambda at: b"17"),
    ("2099", "future_timestamp", lambda at: text(event(at, timestamp="2099-01-01T00:00:00Z")).encode()),
    ("no zone", "bad_timestamp", lambda at: text(event(at, timestamp="2024-01-15T14:30:00")).encode()),
    ("refund", "bad_event_type", lambda at: text(event(at, event_type="refund")).encode()),
    ("product 7", "bad_field", lambda at: text(event(at, product_id=7)).encode()),
]
# And what looks like poison, but is an event.
SOUND = [
    lambda at: text(event(at, kind="view")).replace('"event_type"', '"event\\u005ftype"').replace("_X1", "\\u005fX1").encode(),
    lambda at: text(event(at, event_type="add_to_cart")).replace("add_to_cart", "add\\u005fto\\u005fcart").encode(),
    lambda at: text(event(at, kind="view", price="abc")).encode(),
    lambda at: text(event(at, kind="purchase", price=None)).encode(),
    lambda at: text(event(at, kind="purchase", user_id="1007", extra=[{"a": None}])).encode(),
]
HEADERS = [[], [("trace", b"1"), ("trace", None)], [("bytes", b"\xff\x00"), ("", b"")], [("__connect.errors.topic", b"elsewhere"), ("__connect.errors.stage", b"X")]]


def records(count):
    """Ordered by event time; every kind of poison several times, under every kind of key and headers."""
    out, poison = [], []
    for at in range(count):
        ms, partition = START + at * 150, at % 3
        out.append((partition, b"%d" % rng.randrange(1000, 1020), text(event(ms)).encode(), [], ms))
        if at % 9 == 4:
            out.append((partition, b"1000", SOUND[at // 9 % len(SOUND)](ms), HEADERS[1], ms))
        if at % 10 == 5:
            kind, reason, make = POISON[at // 10 % len(POISON)]
            key = [b"1001", None, b"", b"\xff\xfe"][at // 10 % 4]
            value = make(ms)
            out.append((partition, key, value, HEADERS[at // 10 % len(HEADERS)], ms))
            poison.append((value, kind, reason))
    return out, poison


def is_event(record):
    """By another program than milena's: Python's json, and what section 5 says."""
    if record.value in BAD:
        return None
    found = json.loads(record.value, parse_float=Decimal)
    price = found["price"] if found["event_type"] == "purchase" else None
    seconds, fraction = found["timestamp"].removesuffix("Z").split(".")
    ms = calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) * 1000 + int(fraction)
    cents = None if price is None else int(price * 100)
    return {"ms": ms, "kind": found["event_type"], "product": found["product_id"], "user": str(found["user_id"]), "cents": cents, "id": found["event_id"]}


def check_queue(name):
    """T.dlq against T: which originals are there, and whether they are as they were."""
    originals = {record[:2]: record for record in read(name)}
    queue = set_aside(f"{name}.dlq")
    expected = {}
    for place, record in originals.items():
        if record.value in BAD:
            for stage in ["aggregate", "sink"]:
                expected[stage, name, *place] = (record, BAD[record.value])
    assert all(len(letters) == 1 for letters in queue.values()), [place for place, letters in queue.items() if len(letters) > 1][:5]
    same({place: letters[0][:2] for place, letters in queue.items()}, expected, f"{name}.dlq")
    return originals, expected


BAD = {}
with tempfile.TemporaryDirectory() as scratch:
    everything, poison = records(2400)
    for value, kind, reason in poison:
        BAD[value] = reason
    assert {reason for *_, reason in poison} >= {reason for _, reason, _ in POISON}
    name, store = topic("poison", 3), f"embedded:{scratch}/poison.redb"
    aggregate = Running("aggregate", "-t", name, "--windows", NAMES)
    sink = Running("sink", "-t", name, "--to", store)
    for part in range(0, len(everything), 300):
        produce(name, everything[part : part + 300])
        time.sleep(0.2)
        aggregate.lives(), sink.lives()
    await_that("the aggregator reads all", lambda: committed(f"{name}.aggregate", name) == len(everything))
    await_that("the sink reads all", lambda: committed(f"{name}.sink", name) == len(everything))
    first, stored = aggregate.stop(), sink.stop()
    originals, expected = check_queue(name)
    assert len(originals) == len(everything) and len(expected) == 2 * len(poison)
    assert first["read"] == stored["read"] == len(everything) and first["dead_lettered"] == stored["dead_lettered"] == len(poison), (first, stored)
    assert first["late"] == 0 and not read(f"{name}.late"), first
    ended = receipt("aggregate", "-t", name, "--windows", NAMES, "--until-end")
    assert ended["read"] == 0, ended
    rows, late = batch(originals.values(), WINDOWS, is_event, bound=5_000)
    assert not late
    same(partial_rows(f"{name}.windows", f"{name}.aggregate"), rows, f"{name}.windows")
    receipt("merge", "-t", name, "--until-end")
    receipt("verify", "-t", name, "--windows", NAMES, "--to", store)
    purchases = {event["id"] for event in map(is_event, originals.values()) if event and event["kind"] == "purchase" and event["cents"] is not None}
    table = [json.loads(line) for line in milena("query", store.split(":")[1]).stdout.splitlines()]
    assert {row["row"]["event_id"] for row in table if row["table"] == "purchase_orders" and "row" in row} == purchases
    print(f"poison: {len(poison)} of {len(everything)} records, {len(POISON)} kinds: each on {name}.dlq once for each stage, byte by byte; {len(rows)} rows and {len(purchases)} purchases undisturbed")

    # The queue: listed, shown, sent back.
    listed = json.loads(milena("dlq", "list", "-t", f"{name}.dlq", "--json").stdout)
    counts = {(group["stage"], group["reason"]): group["records"] for group in listed["groups"]}
    told = {}
    for (stage, *_), (_, reason) in expected.items():
        told[stage, reason] = told.get((stage, reason), 0) + 1
    assert counts == told and listed["foreign"] == 0, (counts, told)
    _, _, partition, offset = next(place for place in expected if place[0] == "aggregate")
    shown = [json.loads(line) for line in milena("dlq", "show", "-t", f"{name}.dlq", "--json", f"{name}[{partition}]@{offset}").stdout.splitlines()]
    assert len(shown) == 2, shown
    assert "is no dead letter queue" in milena("dlq", "replay", "-t", name, expect=1).stderr
    kills, done = 0, None
    while done is None:
        replay = Running("dlq", "replay", "-t", f"{name}.dlq", "--to", store, "-X", "max.poll.records=1")
        try:
            out, _ = replay.process.communicate(timeout=rng.uniform(0.1, 0.6) if kills < 12 else 120)
            assert replay.process.returncode == 0, replay.told()
            done = json.loads(out.splitlines()[-1])
        except subprocess.TimeoutExpired:
            replay.kill()
            kills += 1
    sent = [record for record in read(name) if record[:2] not in originals]
    plain = lambda record: (record.partition, record.key, record.value, record.headers, record.timestamp)
    back = sorted(map(plain, sent), key=repr)
    should = sorted((plain(record) for place, (record, _) in expected.items() if place[0] == "aggregate"), key=repr)
    assert back == should, f"sent back {len(back)}, of {len(should)}"
    again = receipt("dlq", "replay", "-t", f"{name}.dlq", "--to", store)
    assert again["kept"] == 0 and again["dead_lettered"] == len(poison), again  # what the sink refused for good stays
    assert len(read(name)) == len(originals) + len(should)
    print(f"dlq: {len(should)} records sent back over {kills} kills, each once, to its partition, byte by byte; the sink's {again['dead_lettered']} stay; a second replay sends nothing")


def a_narrow_column(server):
    """Rows that PostgreSQL refuses: dead letters of the sink alone, which go in when the column is wider; as far as it is."""
    database = f"poison_{uuid.uuid4().hex[:8]}"
    url = urllib.parse.urlsplit(server)._replace(path=f"/{database}").geturl()
    psql = lambda sql, url=url: subprocess.run(["psql", url, "-XAtqc", sql], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    psql(f"create database {database}", server)
    name = topic("narrow", 3)
    products = {5: "P" * 25, 17: "P" * 25, 40: "P" * 60}
    produce(name, [(at % 3, b"k", text(event(START + at, kind="purchase", product_id=products.get(at, "P"))).encode(), [], START + at) for at in range(60)])
    sink = ["sink", "-t", name, "--to", url, "--until-end"]
    found = receipt(*sink)
    assert found["kept"] == 57 and found["dead_lettered"] == 3, found
    letters = set_aside(f"{name}.dlq")
    assert {reason for ((_, reason, _),) in letters.values()} == {"row_refused"} and len(letters) == 3, letters
    replay = lambda: receipt("dlq", "replay", "-t", f"{name}.dlq", "--to", url)
    for width, kept, refused, rows in [(20, 0, 3, 57), (30, 2, 1, 59), (30, 0, 1, 59), (80, 1, 0, 60)]:
        psql(f"alter table purchase_orders alter column product_id type varchar({width})")
        found = replay()
        assert (found["kept"], found["dead_lettered"]) == (kept, refused), (width, found)
        assert psql("select count(*), count(distinct event_id) from purchase_orders") == [f"{rows}|{rows}"]
    assert replay()["read"] == 0
    offsets = set(psql("select kafka_offset from purchase_orders where length(product_id) > 20"))
    assert offsets == {str(at // 3) for at in products}, offsets
    assert receipt(*sink)["read"] == 0
    milena("verify", "-t", name, "--windows", NAMES, "--to", url)
    psql(f"drop database {database} with (force)", server)
    print("dlq: rows that PostgreSQL refused went in with their own offsets as far as the column was widened, each once")


if len(sys.argv) > 3:
    a_narrow_column(sys.argv[3])
