"""What the pipeline's outputs must be, from the input topic alone, and what they are: no code of milena's.

The batch answer is computed in the order of each partition's log by the rule of the design: a watermark of the greatest
event time minus the bound, lateness per window before any filter, rows per (window, start, key, input partition). Topics
are read by librdkafka, committed records only; PostgreSQL by psycopg.
"""

import collections
import datetime
import decimal
import json

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

INFINITY = 2**63 - 1
MICROS = 1_000_000
NEVER = -(2**63)


def is_priced_purchase(event):
    return event["event_type"] == "purchase" and event["price"] is not None


# name: (seconds, which events, key of an event or None, whether cents are summed, length of the list of greatest counts)
WINDOWS = {
    "gmv_1m": (60, is_priced_purchase, None, True, 0),
    "views_1m": (60, lambda event: event["event_type"] == "view", "product_id", False, 3),
    "users_30m": (1800, lambda event: True, "user_id", False, 10),
    "gmv_10s": (10, is_priced_purchase, None, True, 0),
}


class Wrong(Exception):
    """The outputs are not what they must be."""


def check(holds, sentence):
    if not holds:
        raise Wrong(sentence)


def records(bootstrap, topic, isolation="read_committed"):
    """All records of the topic, and per partition where it ended. Ends at the last stable offset if committed ones are asked for."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "judge",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 8 << 20,
        }
    )
    found, ends = [], {}
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        silent = 0
        while len(ends) < len(partitions):
            batch = consumer.consume(5000, timeout=0.2)
            silent = 0 if batch else silent + 1
            check(silent < 100, f"{topic}: no answer for 20 s; partitions read to their ends: {sorted(ends)}")
            for message in batch:
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ends[message.partition()] = message.offset()
                else:
                    raise Wrong(f"{topic}: {message.error()}")
    finally:
        consumer.close()
    return found, ends


def end_offsets(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "judge", "isolation.level": "read_uncommitted"})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in partitions}
    finally:
        consumer.close()


def settled(bootstrap, topic):
    """What a committed reader sees, after checking that no transaction has been left open."""
    found, ends = records(bootstrap, topic)
    high = end_offsets(bootstrap, topic)
    check(ends == high, f"{topic}: committed readers get to {ends} of {high}: a transaction was left open")
    return found


def parse(value):
    """The event, or None for what belongs on the dead letter queue (of the kinds that the trials write)."""
    if value is None:
        return None
    try:
        event = json.loads(value, parse_float=decimal.Decimal)
        at = datetime.datetime.fromisoformat(event["timestamp"])
        since = at - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        event["at"] = (since.days * 86_400 + since.seconds) * MICROS + since.microseconds
        event["cents"] = None if event["price"] is None else int(decimal.Decimal(event["price"]) * 100)
        return event
    except (ValueError, KeyError, TypeError, decimal.InvalidOperation):
        return None


class Batch:
    """The whole answer, computed from the input topic."""

    def __init__(self, bootstrap, topic, windows, bound_seconds):
        self.windows, self.job = windows, f"{topic}.aggregate"
        self.rows = {}  # (window, start_ms, key, partition): [count, cents]
        self.late, self.dead = {}, {}  # (partition, offset): the record; late with the windows' names
        self.purchases = {}  # event id: (price, offset), the first in whatever order
        self.records, self.ends = 0, {}
        found, self.ends = records(bootstrap, topic)
        newest = collections.defaultdict(lambda: NEVER)
        for record in found:
            self.records += 1
            self.take(record, newest, bound_seconds * MICROS)

    def take(self, record, newest, bound):
        partition, place = record.partition(), (record.partition(), record.offset())
        event = parse(record.value())
        if event is None or event["at"] > record.timestamp()[1] * 1000 + 600 * MICROS:
            self.dead[place] = record
            return
        watermark = newest[partition] - bound
        late = []
        for name in self.windows:
            seconds, wants, key, sums, _ = WINDOWS[name]
            size = seconds * MICROS
            start = event["at"] // size * size
            if start + size <= watermark:
                late.append(name)
            elif wants(event):
                cell = self.rows.setdefault((name, start // 1000, key and str(event[key]), partition), [0, 0])
                cell[0] += 1
                cell[1] += event["cents"] if sums else 0
        if late:
            self.late[place] = (record, ",".join(late))
        if is_priced_purchase(event):
            self.purchases.setdefault(event["event_id"], (event["cents"], record.offset()))
        newest[partition] = max(newest[partition], event["at"])

    def finals(self):
        """(window, start_ms, key): (count, cents), and (window, start_ms): the list of greatest counts."""
        rows, tops = collections.defaultdict(lambda: (0, 0)), collections.defaultdict(list)
        for (window, start, key, _), (count, cents) in self.rows.items():
            before = rows[window, start, key]
            rows[window, start, key] = (before[0] + count, before[1] + cents)
        for (window, start, key), (count, _) in rows.items():
            if WINDOWS[window][4]:
                order = int(key) if key.isdigit() else key
                tops[window, start].append((-count, order, key))
        tops = {(w, s): [(key, -count) for count, _, key in sorted(found)[: WINDOWS[w][4]]] for (w, s), found in tops.items()}
        return dict(rows), tops

    def judge_windows(self, bootstrap, topic):
        """T.windows: each row once and right, behind no watermark that covers it; watermarks never go back and end at infinity."""
        seen, marks, doubled, after = {}, collections.defaultdict(lambda: NEVER), [], []
        found = settled(bootstrap, f"{topic}.windows")
        for record in found:
            row, key = json.loads(record.value()), record.key().decode()
            check(row["job"] == self.job, f"{record.offset()}: {row}")
            partition = row["partition"]
            if "watermark_ms" in row:
                check(key == f"watermark|{self.job}|{partition}", f"{record.offset()}: {key}: {row}")
                check(
                    row["watermark_ms"] >= marks[partition],
                    f"offset {record.offset()}: the watermark of partition {partition} goes back from {marks[partition]} to {row['watermark_ms']}",
                )
                marks[partition] = row["watermark_ms"]
                continue
            place = (row["window"], row["start_ms"], row["key"], partition)
            check(key == f"{row['window']}|{row['start_ms']}|{row['key'] or ''}|{partition}", f"{record.offset()}: {key}: {row}")
            check(row["end_ms"] == row["start_ms"] + WINDOWS[row["window"]][0] * 1000, f"{record.offset()}: {row}")
            if row["end_ms"] <= marks[partition]:
                after.append(place)
            if place in seen:
                doubled.append(place)
            seen[place] = [row["count"], row["sum_cents"]]
        check(not doubled, f"{topic}.windows: {len(doubled)} rows came twice, such as {doubled[:3]}")
        check(not after, f"{topic}.windows: {len(after)} rows stand behind a watermark that had closed them, such as {after[:3]}")
        same("windows", seen, self.rows)
        check(all(marks[p] == INFINITY for p in self.ends), f"{topic}.windows: the last watermarks are {dict(marks)}")
        return len(seen)

    def judge_finals(self, bootstrap, topic):
        """T.final: each (window, start, key) once and right, the lists of greatest counts too."""
        rows, tops = {}, {}
        for record in settled(bootstrap, f"{topic}.final"):
            row, key = json.loads(record.value()), record.key().decode()
            if "top" in row:
                check(key == f"{row['window']}|{row['start_ms']}|#top", f"{record.offset()}: {key}: {row}")
                place, value, into = (row["window"], row["start_ms"]), [(e["key"], e["count"]) for e in row["top"]], tops
            else:
                check(key == f"{row['window']}|{row['start_ms']}|{row['key'] or ''}", f"{record.offset()}: {key}: {row}")
                place, value, into = (row["window"], row["start_ms"], row["key"]), (row["count"], row["sum_cents"]), rows
            check(place not in into, f"{topic}.final: twice at offset {record.offset()}: {place}")
            check(not row.get("incomplete"), f"{topic}.final: marked incomplete: {row}")
            into[place] = value
        expected, expected_tops = self.finals()
        same("final", rows, expected)
        same("final's lists", tops, expected_tops)
        return len(rows)

    def judge_aside(self, bootstrap, topic):
        """T.late and T.dlq: exactly the records that the rule names, once each, bytes and coordinates kept."""
        expected = {place: (record, "late", windows) for place, (record, windows) in self.late.items()}
        aside(bootstrap, f"{topic}.late", topic, expected, stages={"late"})
        expected = {place: (record, "aggregate", None) for place, record in self.dead.items()}
        aside(bootstrap, f"{topic}.dlq", topic, expected, stages={"aggregate"})
        return len(self.late), len(self.dead)

    def judge_postgres(self, url, bootstrap, topic):
        """Each purchase once, to the cent; positions at the logs' ends; the window rows are T.final's."""
        import psycopg

        with psycopg.connect(url) as db:
            found = db.execute("select event_id, (price * 100)::bigint, kafka_offset from purchase_orders").fetchall()
            check(len({event_id for event_id, _, _ in found}) == len(found), "purchase_orders: an event id came twice")
            same("purchase_orders", {event_id: (cents, offset) for event_id, cents, offset in found}, self.purchases)
            query = "select part, next_offset from kafka_sink_offsets where grp = %s and topic = %s"
            same("kafka_sink_offsets of purchases", dict(db.execute(query, (f"{topic}.sink", topic)).fetchall()), self.ends)
            positions = dict(db.execute(query, (f"{topic}.sink.windows", f"{topic}.final")).fetchall())
            table = {(w, s, k): (n, c) for w, s, k, n, c in db.execute("select * from window_results").fetchall()}
        self.judge_window_results(table, positions, bootstrap, topic)
        return len(self.purchases)

    def judge_embedded(self, purchases, windows, bootstrap, topic):
        """The same of two embedded sinks' files, as the lines of `milena query` show them."""
        found, positions = rows_of(purchases)
        table = {row["event_id"]: (int(decimal.Decimal(row["price"]) * 100), row["kafka_offset"]) for row in found["purchase_orders"]}
        check(len(table) == len(found["purchase_orders"]), "purchase_orders: an event id came twice")
        same("purchase_orders", table, self.purchases)
        same("kafka_sink_offsets of purchases", positions, self.ends)
        found, positions = rows_of(windows)
        table = {(r["window_name"], r["start_ms"], r["key"]): (r["count"], r["sum_cents"]) for r in found["window_results"]}
        self.judge_window_results(table, positions, bootstrap, topic)
        return len(self.purchases)

    def judge_window_results(self, table, positions, bootstrap, topic):
        same("kafka_sink_offsets of windows", positions, end_offsets(bootstrap, f"{topic}.final"))
        same("window_results", table, {(w, s, k or ""): value for (w, s, k), value in self.finals()[0].items()})


def rows_of(lines):
    found = collections.defaultdict(list)
    for line in map(json.loads, lines):
        if "row" in line:
            found[line["table"]].append(line["row"])
    return found, {row["part"]: row["next_offset"] for row in found["kafka_sink_offsets"]}


def aside(bootstrap, name, topic, expected, stages):
    prefix, seen = "__connect.errors.", {}
    for record in settled(bootstrap, name):
        headers = {key: value.decode() for key, value in record.headers() or []}
        if headers[f"{prefix}stage"] not in stages:
            continue
        place = (int(headers[f"{prefix}partition"]), int(headers[f"{prefix}offset"]))
        check(headers[f"{prefix}topic"] == topic, f"{name}: {headers}")
        check(place not in seen, f"{name}: {place} came twice, again at {record.partition()}@{record.offset()}")
        seen[place] = True
        check(place in expected, f"{name}: {place} does not belong there: {record.value()} {headers}")
        original, _, windows = expected[place]
        for what in ("key", "value"):
            check(getattr(original, what)() == getattr(record, what)(), f"{name}: {place}: another {what}")
        check(original.timestamp()[1] == record.timestamp()[1], f"{name}: {place}: another timestamp")
        if windows is not None:
            check(headers["milena.late.windows"] == windows, f"{name}: {place}: {headers}, late for {windows}")
    check(len(seen) == len(expected), f"{name}: {len(expected) - len(seen)} of {len(expected)} records are missing")


def same(what, found, expected):
    if found == expected:
        return
    missing = [place for place in expected if place not in found]
    extra = [place for place in found if place not in expected]
    other = [(place, found[place], expected[place]) for place in found if place in expected and found[place] != expected[place]]
    raise Wrong(
        f"{what}: {len(missing)} missing {sorted(missing, key=str)[:3]}, {len(extra)} too many {sorted(extra, key=str)[:3]}, "
        f"{len(other)} different {sorted(other, key=str)[:3]}"
    )
