"""The pipeline against Apache Flink: the same topic, the same bound, Flink's own windows in SQL written by hand.

usage: judge.py MILENA BOOTSTRAP CONNECTOR.jar

For ordered events and for events out of order within the bound: clickstream --file, aggregate and merge --until-end; then
T.final must equal Flink's TUMBLE over T row for row, and its lists Flink's ROW_NUMBER over them. Flink shares nothing with
milena here but the topic: it parses JSON, time and money, draws watermarks and closes windows by itself.
"""

import json
import os
import sys
import tempfile
import uuid

from pyflink.table import EnvironmentSettings, TableEnvironment

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from pipeline_check import BOOTSTRAP, WINDOWS, finals, milena, write_events  # noqa: E402

CONNECTOR = os.path.abspath(sys.argv[3])

# Minutes east of UTC, with their sign; NULL behind Z.
EAST = r"""CAST(REGEXP_EXTRACT(`timestamp`, '([+-]\d\d):\d\d$', 1) AS INT) * 60
    + CAST(CONCAT(REGEXP_EXTRACT(`timestamp`, '([+-])\d\d:\d\d$', 1), REGEXP_EXTRACT(`timestamp`, '[+-]\d\d:(\d\d)$', 1)) AS INT)"""
EVENTS = r"""
CREATE TEMPORARY TABLE clicks (
  user_id STRING, event_type STRING, product_id STRING, `timestamp` STRING, price DECIMAL(18, 2),
  ts AS TIMESTAMPADD(MINUTE, -COALESCE(%(east)s, 0),
    CAST(REPLACE(REGEXP_EXTRACT(`timestamp`, '^\d+-\d\d-\d\dT[\d:.]+'), 'T', ' ') AS TIMESTAMP(3))),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '%(topic)s', 'properties.bootstrap.servers' = '%(bootstrap)s',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json'
)
"""
MILLIS = "EXTRACT(EPOCH FROM window_start) * 1000"
ROWS = {
    "gmv_1m": ("INTERVAL '1' MINUTE", "CAST(NULL AS STRING)", "", "event_type = 'purchase' AND price IS NOT NULL", "CAST(SUM(price) * 100 AS BIGINT)"),
    "views_1m": ("INTERVAL '1' MINUTE", "product_id", ", product_id", "event_type = 'view'", "CAST(0 AS BIGINT)"),
    "users_30m": ("INTERVAL '30' MINUTE", "user_id", ", user_id", "TRUE", "CAST(0 AS BIGINT)"),
}
TOPS = {"views_1m": (3, "name"), "users_30m": (10, "CAST(name AS BIGINT)")}


def flink(topic):
    """(window, start_ms, key) -> (count, cents), and (window, start_ms) -> [(key, count)], by Flink alone."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in [("pipeline.jars", f"file://{CONNECTOR}"), ("parallelism.default", "2"), ("table.local-time-zone", "UTC")]:
        tables.get_config().set(key, value)
    tables.execute_sql(EVENTS % {"east": EAST, "topic": topic, "bootstrap": BOOTSTRAP})
    selects = []
    for window, (size, key, by, where, cents) in ROWS.items():
        tables.execute_sql(
            f"""CREATE TEMPORARY VIEW {window} AS
            SELECT window_start, window_end, {key} AS name, COUNT(*) AS n, {cents} AS cents
            FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), {size})) WHERE {where}
            GROUP BY window_start, window_end{by}"""
        )
        selects.append(f"SELECT '{window}', {MILLIS}, name, n, cents, CAST(0 AS BIGINT) FROM {window}")
    for window, (length, order) in TOPS.items():
        selects.append(
            f"""SELECT '{window}', {MILLIS}, name, n, CAST(0 AS BIGINT), place FROM (
              SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, {order} ASC) AS place FROM {window}
            ) WHERE place <= {length}"""
        )
    rows, places = {}, {}
    with tables.execute_sql(" UNION ALL ".join(selects)).collect() as results:
        for window, start, name, count, cents, place in results:
            at, value, into = ((window, start, name), (count, cents), rows) if place == 0 else ((window, start, place), (name, count), places)
            assert at not in into, f"twice from Flink: {at}"
            into[at] = value
    tops = {}
    for (window, start, _), entry in sorted(places.items()):
        tops.setdefault((window, start), []).append(entry)
    return rows, tops


def judge(name, count, disorder, seed, directory):
    topic = f"flink-{name}-{uuid.uuid4().hex[:8]}"
    path = f"{directory}/{name}.ndjson"
    write_events(path, count, disorder, seed)
    milena("topics", "create", topic, "--partitions", "6", "--replication", "1", "-c", "retention.ms=-1")
    milena("clickstream", "-t", topic, "--file", path)
    ended = json.loads(milena("aggregate", "-t", topic, "--windows", WINDOWS, "--until-end").stdout.splitlines()[-1])
    assert ended["read"] == count and ended["late"] == 0 and ended["dead_lettered"] == 0, ended
    milena("merge", "-t", topic, "--until-end")
    rows, tops = finals(topic)
    expected, expected_tops = flink(topic)
    assert rows == expected, f"{name}: {len(rows)} rows, Flink has {len(expected)}: {list(set(rows.items()) ^ set(expected.items()))[:6]}"
    assert tops == expected_tops, f"{name}: lists of greatest counts differ: {tops} {expected_tops}"
    assert {window for window, _, _ in rows} == set(ROWS) and all(len(tops[at]) == TOPS[at[0]][0] for at in tops)
    print(f"{name}: {count} events, {len(rows)} rows and {len(tops)} lists equal Flink's", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        judge("ordered", 30_000, 0, 7, scratch)
        judge("disordered", 30_000, 3_900_000, 8, scratch)
