"""Late events (Done-when 3 of issue 7): exactly those that the rule calls late are on T.late, byte by byte, with their coordinates
and the windows that had closed, in configured order; kept + late + everything else = all; and the same with the aggregator killed
(kill -9) over and over while the same records come in at 2,000/s.

usage: pipeline_late.py MILENA BOOTSTRAP [KILLS]
"""

import json
import random
import sys
import threading
import time
import uuid

from pipeline_outside import NAMES, WINDOWS, Running, batch, committed, milena, partial_rows, produce, read, receipt, same, set_aside, topic

KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 8
BOUND, COUNT, PARTITIONS = 5_000, 40_000, 4
START = 1_705_276_800_000 + 7_000
rng = random.Random(7)


def records():
    """Mostly within the bound; some a few seconds too late, some minutes, some beyond half an hour; and poison, which must
    not move the watermark."""
    for at in range(COUNT):
        now = START + at * 80
        choice = rng.random()
        if choice < 0.9:
            ms = now - rng.randrange(BOUND - 200)
        elif choice < 0.97:
            ms = now - rng.randrange(120_000)
        elif choice < 0.995:
            ms = now - rng.randrange(2_400_000)
        else:
            ms = now + 40_000_000_000  # more than a year ahead: to the dead letter queue
        kind = rng.choice(["view", "view", "add_to_cart", "purchase"])
        user = rng.randrange(1000, 1030)
        price = f"{rng.randrange(10, 2000)}.{rng.randrange(100):02}" if kind == "purchase" and rng.random() < 0.7 else "null"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"
        value = f'{{"event_id":"{uuid.UUID(int=rng.getrandbits(128), version=4)}","user_id":{user},"event_type":"{kind}","product_id":"P{rng.randrange(4)}","timestamp":"{stamp}","price":{price},"ms":{ms}}}'
        headers = [("trace", b"%d" % at)] if at % 5 == 0 else []
        # One partition runs ahead of the others, and the last is nearly idle: lateness is each partition's own.
        partition = rng.choices(range(PARTITIONS), [40, 30, 29, 1])[0]
        yield partition, b"%d" % user, value.encode(), headers, now


def is_event(record):
    found = json.loads(record.value)
    if found["ms"] > record.timestamp + 600_000:
        return None
    price = found["price"]
    cents = None if price is None or found["event_type"] != "purchase" else round(price * 100)
    return {"ms": found["ms"], "kind": found["event_type"], "product": found["product_id"], "user": str(found["user_id"]), "cents": cents}


def check(name, what):
    """T.late and T.windows of a topic against the rule, over the topic itself."""
    originals = {record[:2]: record for record in read(name)}
    assert len(originals) == COUNT
    rows, late = batch(originals.values(), WINDOWS, is_event, bound=BOUND)
    expected = {("late", name, *place): [(originals[place], "late", windows)] for place, windows in late.items()}
    same(dict(set_aside(f"{name}.late")), expected, f"{what}: {name}.late")
    same(partial_rows(f"{name}.windows", f"{name}.aggregate"), rows, f"{what}: {name}.windows")
    dead = {("aggregate", name, *place): [(record, "future_timestamp", None)] for place, record in originals.items() if is_event(record) is None}
    same(dict(set_aside(f"{name}.dlq")), dead, f"{what}: {name}.dlq")
    receipt("merge", "-t", name, "--until-end")
    receipt("verify", "-t", name, "--windows", NAMES)
    kinds = {}
    for windows in late.values():
        kinds[windows] = kinds.get(windows, 0) + 1
    no_price = sum(1 for place, record in originals.items() if place not in late and (event := is_event(record)) and event["kind"] == "purchase" and event["cents"] is None)
    return {"late": len(late), "dead_lettered": len(dead), "skipped": {"no_price": no_price} if no_price else {}}, kinds


everything = list(records())
calm = topic("late", PARTITIONS)
produce(calm, everything)
found = receipt("aggregate", "-t", calm, "--windows", NAMES, "--until-end")
told, kinds = check(calm, "calm")
assert {name: found[name] for name in told} == told and found["read"] == COUNT, (found, told)
assert found["kept"] + found["late"] + found["dead_lettered"] + sum(found["skipped"].values()) == COUNT, found
assert set(kinds) == {"gmv_1m,views_1m", "gmv_1m,views_1m,users_30m"}, kinds
print(f"late: {told['late']} of {COUNT} events are late by the rule, {kinds}: all on {calm}.late as they were, kept {found['kept']}")

rough, begun = topic("late", PARTITIONS), time.monotonic()
writer = threading.Thread(target=produce, args=(rough, everything), kwargs={"rate": 2_000})
writer.start()
work = lambda: Running("aggregate", "-t", rough, "--windows", NAMES, "--instance", "victim")
before, kills = 0, 0
while kills < KILLS:
    victim = work()
    while True:  # each victim has committed at least once
        victim.lives()
        reached = committed(f"{rough}.aggregate", rough)
        if reached > before or reached == COUNT:
            break
        time.sleep(0.05)
    before = reached
    time.sleep(rng.random() * 0.8)
    victim.kill()
    kills += 1
writer.join()
last = receipt("aggregate", "-t", rough, "--windows", NAMES, "--instance", "victim", "--until-end")
assert check(rough, f"after {kills} kills") == (told, kinds)
print(f"late: the same {told['late']} after {kills} kills in {time.monotonic() - begun:.0f} s; the last process read {last['read']} of {COUNT}")
