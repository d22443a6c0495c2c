#!/usr/bin/env bash
# The two programs of the guide's chapter on rdkafka, each on a `milena broker` of its own: what they print must be the same, and what
# they leave there, as `milena` reads it: both topics with keys, headers, partitions and offsets, committed and not, and the group's
# offsets. Needs a C compiler, make and zlib's headers, for librdkafka. JOBS (default 1): how many compilers at once.
#
#   protocol-tests/migration.sh [MILENA]     the binary that is the broker and the judge; built if it isn't given
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-1} target=$PWD/target
milena=${1:-}
[ -n "$milena" ] || { cargo build --locked -q --features cli --bin milena && milena=$target/debug/milena; }
cp Cargo.lock protocol-tests/migration/after/ # the same versions as ours; cargo leaves out what it doesn't need
for program in before after; do
  locked=--locked
  [ $program = before ] || locked=
  cargo build $locked -q -j "$jobs" --manifest-path "protocol-tests/migration/$program/Cargo.toml" --target-dir "$target/migration"
done

out=$(mktemp -d) broker=
trap 'kill $broker 2>/dev/null || true; wait; rm -rf "$out"' EXIT
for program in before after; do
  mkfifo "$out/ready"
  "$milena" broker --listen 127.0.0.1:0 --topic orders:3 --topic bills:1 >"$out/ready" &
  broker=$!
  read -r line <"$out/ready"
  rm "$out/ready"
  bootstrap=${line#BOOTSTRAP=}
  timeout 60 "$target/migration/debug/$program" "$bootstrap" >"$out/$program" || { echo "$program failed" >&2; exit 1; }
  {
    for topic in orders bills; do
      for isolation in read_committed read_uncommitted; do
        echo "== $topic, $isolation"
        # Timestamps differ, and which partition comes first.
        "$milena" consume -b "$bootstrap" -X isolation.level=$isolation -t $topic -e --json | sed 's/"ts":[0-9]*/"ts":0/' | sort
      done
    done
    echo "== the group"
    "$milena" groups describe billing -b "$bootstrap"
  } >>"$out/$program"
  kill "$broker" && wait "$broker" || true
  broker=
done
diff -u "$out/before" "$out/after" || { echo "the two programs do not do the same" >&2; exit 1; }
lines=$(wc -l <"$out/after")
grep -q 'a mistake' "$out/after" && grep -q '== the group' "$out/after" && [ "$lines" -gt 60 ] || { cat "$out/after"; exit 1; }
echo "before and after do the same: $lines lines are equal"
