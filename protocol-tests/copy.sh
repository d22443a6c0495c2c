#!/usr/bin/env bash
# `consume --json | produce --json` as a copy of a million records, compared by librdkafka; and kcat and Kafka's console tools on
# what we write, and we on what they write. On the test broker, or with KAFKA_BOOTSTRAP set on that cluster.
#
#   copy.sh MILENA [RECORDS]
#
# Needs kcat, a JDK and Maven (KFM_DIR is `kafka`'s), and Python (VENV is `venv`'s).
set -euo pipefail
milena=$(readlink -f "${1:?"usage: copy.sh MILENA [RECORDS]"}") records=${2:-1000000}
cd "$(dirname "$0")"
. ./embedded_broker
python=$(./venv)
jars=$(KFM_DIR=${KFM_DIR:-$PWD/../.kafka} ./kafka resolve 4.3.1)
work=$(mktemp -d)
trap 'stop_embedded_broker; rm -rf "$work"' EXIT
[ -n "${KAFKA_BOOTSTRAP:-}" ] || embedded_broker "$milena" --brokers 3
export KAFKA_BOOTSTRAP KAFKA_BOOTSTRAP_SERVERS=$KAFKA_BOOTSTRAP
run=copy-$$-$RANDOM
fail() { echo "copy.sh: $*" >&2; exit 1; }
same() { cmp "$2" "$3" || fail "$1"; echo "ok: $1"; }
# The class's name moved in Kafka 4.0; these are of 4.3.1, whatever the brokers are.
printf 'rootLogger.level=off\n' >"$work/log4j2.properties"
tool() { java -Xmx256m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$work/log4j2.properties" -cp "$jars" "org.apache.kafka.tools.$1" --bootstrap-server "$KAFKA_BOOTSTRAP" "${@:2}"; }
seconds() { python3 -c 'import sys; print(f"{float(sys.argv[2]) - float(sys.argv[1]):.1f}")' "$1" "$(date +%s.%N)"; }

topics="$run-from:4 $run-to:4 $run-text:1 $run-kcat:1 $run-again:1 $run-kcat-writes:1 $run-we-write:1 $run-console:1 $run-console-writes:1"
"$python" copied.py create $topics

# --- a copy ---
"$python" copied.py write "$run-from" "$records"
# Times that librdkafka can't write: none, and the epoch itself. Brokers keep both.
for ts in -1 0; do printf '{"ts":%s,"key":"time","payload":"%s","partition":3}\n' $ts $ts; done | "$milena" produce -t "$run-from" --json --keep-partition -q
start=$(date +%s.%N)
"$milena" consume -t "$run-from" -e --json | "$milena" produce -t "$run-to" --json --keep-partition -z lz4 2>"$work/count"
echo "copied in $(seconds "$start") s: $(cat "$work/count")"
grep -qx "milena: $((records + 2)) records written to $run-to" "$work/count" || fail "$(cat "$work/count")"
"$python" copied.py compare "$run-from" "$run-to" $((records + 2))

# --- kcat reads what we write ---
"$python" copied.py lines 2000 >"$work/lines"
"$milena" produce -t "$run-text" -K: -Z -H h=1 -H empty= -H none -z snappy -q <"$work/lines"
format='%t|%p|%o|%k|%K|%s|%S|%T|%h|%%\n'
kcat -b "$KAFKA_BOOTSTRAP" -C -t "$run-text" -o beginning -e -q -f "$format" >"$work/kcat"
"$milena" consume -t "$run-text" -o beginning -e -q -f "$format" >"$work/ours"
same "kcat -f reads what we write, and prints it as we do" "$work/kcat" "$work/ours"
for options in "-D ; -K ," "-Z" "-f %R%s" "-o 7 -c 5" "-o -3" "-u -D \\x01\\x02"; do
  kcat -b "$KAFKA_BOOTSTRAP" -C -t "$run-text" -o beginning -e -q $options >"$work/kcat"
  [[ $options == *-o* ]] && ours=() || ours=(-o beginning)
  "$milena" consume -t "$run-text" "${ours[@]}" -e -q $options >"$work/ours"
  if [ "$options" = -Z ]; then # kcat's NULL is for empty ones too
    sed -i 's/^$/NULL/' "$work/ours"
  fi
  same "kcat $options" "$work/kcat" "$work/ours"
done
kcat -b "$KAFKA_BOOTSTRAP" -C -t "$run-text" -o beginning -e -q -J >"$work/kcat.json"
"$milena" consume "$run-text" -e --json >"$work/ours.json"
"$python" copied.py envelopes "$work/kcat.json" "$work/ours.json"
# Its envelopes are as good as ours.
"$milena" produce -t "$run-again" --json -q <"$work/kcat.json"
"$python" copied.py compare "$run-text" "$run-again" 2000

# --- kcat writes ---
for options in "" "-K:" "-K: -Z" "-k fixed -H a=1 -H none" "-D ab" "-l $work/lines"; do
  kcat -b "$KAFKA_BOOTSTRAP" -P -t "$run-kcat-writes" -p 0 $options <"$work/lines"
  "$milena" produce -t "$run-we-write" -q $options <"$work/lines"
done
"$python" copied.py compare "$run-kcat-writes" "$run-we-write" - without-times
kcat -b "$KAFKA_BOOTSTRAP" -P -t "$run-kcat" -z gzip "$work/lines" "$work/count"
"$milena" consume "$run-kcat" -e -D '' >"$work/ours"
cat "$work/lines" "$work/count" >"$work/files"
same "files that kcat sends" "$work/files" "$work/ours"
kcat -b "$KAFKA_BOOTSTRAP" -P -t "$run-kcat" -X transactional.id="$run" <"$work/lines" 2>/dev/null
# A commit is answered before its markers are written.
for _ in $(seq 50); do
  committed=$("$milena" consume "$run-kcat" -o 2:end --read-committed | wc -l)
  [ "$committed" -lt 2000 ] || break
  sleep 0.1
done
[ "$committed" = 2000 ] || fail "of kcat's transaction there are $committed records"

# --- Kafka's console tools ---
"$milena" produce -t "$run-console" -K: -H h=1 -H g=2 -z zstd --transactional-id "$run-ours" --transaction-size 500 -q <"$work/lines"
show=(--formatter-property print.key=true --formatter-property key.separator=: --formatter-property print.headers=true)
tool consumer.ConsoleConsumer --topic "$run-console" --from-beginning --max-messages 2000 --timeout-ms 30000 --isolation-level read_committed "${show[@]}" 2>/dev/null >"$work/console"
sed 's/^/h:1,g:2:/' "$work/lines" >"$work/expected"
same "the console consumer reads our transactions" "$work/expected" "$work/console"
tool ConsoleProducer --topic "$run-console-writes" --reader-property parse.key=true --reader-property key.separator=: --compression-codec gzip <"$work/lines" >/dev/null 2>&1
"$milena" consume "$run-console-writes" -e -K: >"$work/ours"
same "we read what the console producer writes" "$work/lines" "$work/ours"
echo "copy.sh: all of it"
