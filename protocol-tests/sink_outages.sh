#!/usr/bin/env bash
# sink_outages.sh MILENA [BOOTSTRAP]: the sink against a real PostgreSQL that crashes under it, killed itself in between.
# Afterwards the tables must be what a separate computation makes of the input: every valid priced purchase once, to the
# cent, positions at the end of the log, each bad record on the dead letter topic. Without BOOTSTRAP it starts
# `milena broker`. Needs kcat, psql and Python 3; PostgreSQL is installed by postgres.sh if missing.
set -euo pipefail
milena=$(readlink -f "$1"); bootstrap=${2:-}
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d /tmp/sink-outages.XXXXXX); chmod 755 "$work"
export PG_DIR=$work/pg
topic=sink-outages-$$ pids=()
cleanup() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; "$here/postgres.sh" wipe || true; rm -rf "$work"; }
trap cleanup EXIT
fail() { echo "sink_outages: $*" >&2; tail -n 5 "$work"/sink*.log >&2 || true; exit 1; }

if [ -z "$bootstrap" ]; then
  "$milena" broker --listen 127.0.0.1:0 > "$work/broker" & pids+=($!)
  for _ in $(seq 100); do grep -q BOOTSTRAP= "$work/broker" && break; sleep 0.1; done
  bootstrap=$(sed -n 's/^BOOTSTRAP=//p' "$work/broker"); bootstrap=${bootstrap%%,*}
fi
url=$("$here/postgres.sh" start)

python3 - "$work" <<'PY'
import json, random, sys, uuid
from decimal import Decimal
work, r = sys.argv[1], random.Random(11)
expected, bad = {}, 0
with open(f"{work}/input", "w") as out:
    for i in range(40_000):
        kind = r.choices(["purchase", "view", "add_to_cart"], [4, 5, 1])[0]
        price = Decimal(r.randint(1000, 200_000)) / 100 if kind == "purchase" and r.random() > 0.3 else None
        event = {"event_id": str(uuid.UUID(int=r.getrandbits(128), version=4)), "user_id": r.randint(1000, 9999), "event_type": kind,
                 "product_id": r.choice(["Laptop_X1", "Phone_Y2"]), "timestamp": f"2024-01-15T14:{i // 700:02}:{i % 60:02}.{i:06}Z"}
        if i % 4000 == 7: event["product_id"], kind, price = "longer than twenty characters", "purchase", Decimal(1)
        event["event_type"] = kind
        line = json.dumps(event)[:-1] + f', "price": {"null" if price is None else price}}}'
        if i % 4000 == 9: line = line[:40]
        if i % 4000 in (7, 9): bad += 1
        elif price is not None: expected[event["event_id"]] = price
        out.write(f"{event['user_id']}|{line}\n")
        if i % 3000 == 11: out.write(f"{event['user_id']}|{line}\n")   # at least once, upstream
        if i % 3000 == 11 and i % 4000 in (7, 9): bad += 1
with open(f"{work}/expected", "w") as out: out.write(f"{len(expected)}|{sum(expected.values())}\n")
with open(f"{work}/bad", "w") as out: out.write(f"{bad}\n")
PY

"$milena" topics -b "$bootstrap" create "$topic" --partitions 6 -c retention.ms=-1 >/dev/null
sink=("$milena" sink -b "$bootstrap" -t "$topic" --to "$url" --batch 200)
rows() { psql -tA "$url" -c "select count(*) from purchase_orders" 2>/dev/null || echo 0; }
more_than() { for _ in $(seq 300); do [ "$(rows)" -gt "$1" ] && return; sleep 0.1; done; fail "no more than $(rows) rows, waited for $1"; }

# The input comes slowly enough that every outage hits a sink at work.
(n=0; while read -r line; do echo "$line"; [ $((++n % 250)) != 0 ] || sleep 0.05; done < "$work/input") |
  kcat -b "$bootstrap" -P -t "$topic" -K '|' -X linger.ms=20 -X acks=all & feeder=$!
"${sink[@]}" > "$work/sink1.out" 2> "$work/sink1.log" & victim=$!; pids+=("$victim")
more_than 500
"$here/postgres.sh" restart immediate >/dev/null;                  more_than 2000
"$here/postgres.sh" stop immediate; sleep 4; "$here/postgres.sh" start >/dev/null
kill -0 "$victim" || fail "the sink did not survive the database's crash";  more_than 4000
kill -9 "$victim"
"${sink[@]}" > "$work/sink2.out" 2> "$work/sink2.log" & second=$!; pids+=("$second")
more_than $(($(rows) + 500))
wait "$feeder"
kill -TERM "$second"; wait "$second" || fail "SIGTERM is an orderly end, and it gave $?"
grep -q '"balanced":true' "$work/sink2.out" || fail "no balanced receipt: $(cat "$work/sink2.out")"
"${sink[@]}" --until-end > "$work/sink3.out" 2> "$work/sink3.log" || fail "--until-end gave $?"

found=$(psql -tA "$url" -c "select count(*), sum(price) from purchase_orders")
[ "$found" = "$(cat "$work/expected")" ] || fail "the table has $found, the input $(cat "$work/expected")"
again=$("${sink[@]}" --until-end 2>/dev/null)
[[ $again == *'"read":0,'* ]] || fail "a second run read something: $again"
positions=$(psql -tA "$url" -c "select sum(next_offset) from kafka_sink_offsets")
[ "$positions" = "$(wc -l < "$work/input")" ] || fail "positions at $positions of $(wc -l < "$work/input")"
dead=$(kcat -b "$bootstrap" -C -t "$topic.dlq" -e -q -f '%h\n' | grep -o 'errors.partition=[0-9]*\|errors.offset=[0-9]*' | paste - - | sort -u | wc -l)
[ "$dead" = "$(cat "$work/bad")" ] || fail "$dead bad records on the dead letter topic, $(cat "$work/bad") in the input"
"$milena" topics -b "$bootstrap" delete "$topic" >/dev/null; "$milena" topics -b "$bootstrap" delete "$topic.dlq" >/dev/null
echo "sink_outages: $found as it must be, after two crashes of the database and kill -9; $dead dead letters"
