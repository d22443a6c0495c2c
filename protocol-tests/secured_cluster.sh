#!/usr/bin/env bash
# The command line on a SASL_SSL cluster by one property file, as people have it for Java and for librdkafka: the same two
# files are given to Apache's own tool, to kcat, and to `milena -F`. What is written goes on into PostgreSQL over TLS.
#
#   secured_cluster.sh MILENA [VERSION]     # VERSION: Apache Kafka's, default 4.3.1
#
# Needs a JDK, Maven, kcat and PostgreSQL. KFM_DIR and KFM_PORT are `kafka`'s; whatever ran there must be stopped. The
# password is asked for anew each second (connections.max.reauth.ms), so that KIP-368 is at work all the time.
set -euo pipefail
milena=$(readlink -f "${1:?"usage: secured_cluster.sh MILENA [VERSION]"}") version=${2:-4.3.1}
cd "$(dirname "$0")"
if [ -z "${POSTGRES_TLS:-}" ]; then exec ./postgres.sh with "./${0##*/}" "$milena" "$version"; fi
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
export KFM_PROPS="connections.max.reauth.ms=2000"
work=$(mktemp -d)
trap './kafka wipe; rm -rf "$work"' EXIT
./kafka wipe
./kafka start "$version"
fail() { echo "secured_cluster.sh: $*" >&2; exit 1; }

secured=localhost:$((KFM_PORT + 3))
cat > "$work/java.properties" <<P
# as for Apache's tools
bootstrap.servers=$secured
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$KFM_DIR/tls/ca.pem
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
  username="alice" password="alice-secret";
client.dns.lookup=use_all_dns_ips
P
# PLAIN, for Debian's librdkafka sends the nonce of SCRAM twice (its #4895), which Kafka 4 refuses.
cat > "$work/librdkafka.properties" <<P
# as for kcat and everything else on librdkafka
bootstrap.servers=$secured
security.protocol=sasl_ssl
ssl.ca.location=$KFM_DIR/tls/ca.pem
sasl.mechanisms=PLAIN
sasl.username=alice
sasl.password=alice-secret
socket.keepalive.enable=true
P

./kafka tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$secured" --command-config "$work/java.properties" \
  --create --topic seen-by-java --partitions 1 >/dev/null || fail "Apache's tool does not take java.properties"
kcat -F "$work/librdkafka.properties" -L >/dev/null || fail "kcat does not take librdkafka.properties"

for kind in java librdkafka; do
  "$milena" -F "$work/$kind.properties" topics list | grep -q seen-by-java || fail "topics list by $kind.properties"
  "$milena" -F "$work/$kind.properties" config show | grep -q 'alice-secret' && fail "config show gives a secret away"
  seq 5000 | sed "s/^/$kind /" | "$milena" -F "$work/$kind.properties" produce -t seen-by-java || fail "produce by $kind.properties"
done
read_back=$("$milena" -F "$work/java.properties" consume -t seen-by-java -e | wc -l)
[ "$read_back" = 10000 ] || fail "$read_back records of 10000 were read back"
foreign=$(kcat -F "$work/librdkafka.properties" -C -t seen-by-java -o beginning -e -q | grep -c ' ')
[ "$foreign" = 10000 ] || fail "kcat reads $foreign records of 10000"

RUST_LOG=milena=debug "$milena" -F "$work/librdkafka.properties" clickstream --topic clicks --count 20000 --rate 2500 \
  >/dev/null 2>"$work/log" || fail "clickstream"
grep -q 'the peer closed' "$work/log" && fail "a connection did not outlive its authentication: $(grep 'the peer closed' "$work/log")"
[ "$(grep -c 'authenticated again' "$work/log")" -ge 3 ] || fail "nobody authenticated again"
url="postgres://postgres@localhost:$(cat "$PG_DIR/port")/postgres?sslmode=verify-full&sslrootcert=$POSTGRES_TLS/ca.pem"
"$milena" -F "$work/java.properties" sink --topic clicks --to "$url" --until-end >/dev/null || fail "sink"
rows=$(psql "$url" -Atc 'select count(*) from purchase_orders') || fail "psql"
[ "$rows" -gt 1000 ] || fail "$rows rows in PostgreSQL"
echo "by one property file of either kind on Apache Kafka $version, SASL_SSL: 10,000 records there and back, 20,000 events, $rows rows in PostgreSQL over TLS"
