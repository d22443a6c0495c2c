#!/usr/bin/env bash
# The real-broker suite (tests/real_broker) against an Apache Kafka started for it: `real_broker.sh VERSION [NODES]`.
#
# Needs a JDK, Maven and Python 3. On one node the tests of a leader that moves are left out, below 3.7 the one of an answer
# that names the new one (KIP-951); a release that the test broker passes for is compared with it, 4.3 with an authorizer
# too. KFM_DIR (default .kafka) is where the jars and the broker's data go, KFM_PORT (default 29092) its port; whatever ran
# there before must be stopped.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:?"usage: real_broker.sh VERSION [NODES]"} nodes=${2:-1}
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}

PEER_PYTHON=$(./venv)
./kafka resolve "$version" >/dev/null
trap './kafka wipe' EXIT
./kafka wipe
./kafka start "$version" "$nodes"

bootstrap=127.0.0.1:$KFM_PORT arguments=(--skip chaos:: --skip limits::)
if [ "$nodes" = 3 ]; then
  bootstrap+=",127.0.0.1:$((KFM_PORT + 10)),127.0.0.1:$((KFM_PORT + 20))"
  arguments+=(--skip emulation::what_we_emulate_of_producers)
else
  arguments+=(--skip leader::)
fi
if [ "$(printf '%s\n' 3.7 "$version" | sort -V | head -1)" != 3.7 ]; then
  arguments+=(--skip leader::a_leader_that_an_answer_names)
fi
if [ "$(printf '%s\n' 2.5 "$version" | sort -V | head -1)" != 2.5 ]; then # no KIP-447, no KIP-360: see cluster/emulation.rs
  arguments+=(--skip transactions::a_members_offsets_go --skip transactions::an_end_that_is_lost)
fi
if [ "${version%%.*}" -lt 4 ]; then arguments+=(--skip consumer_groups::); fi
case $version in
  2.4.* | 2.8.* | 3.9.* | 4.3.*) ;;
  *) arguments+=(--skip emulation::) ;;
esac
suite() {
  KAFKA_BOOTSTRAP=$bootstrap KAFKA_VERSION=$version KAFKA_JARS=$KFM_DIR/jars-$version/lib PEER_PYTHON=$PEER_PYTHON \
    cargo test -p protocol-tests --test real_broker -- --ignored --test-threads 2 "$@"
}
suite "${arguments[@]}" --skip security::

if [[ $version == 4.3.* && $nodes = 1 ]]; then # once more, with an authorizer, for what is compared with the test broker
  ./kafka wipe
  KFM_AUTHZ=1 KFM_PROPS="super.users=User:admin allow.everyone.if.no.acl.found=true" ./kafka start "$version"
  suite security::
fi
