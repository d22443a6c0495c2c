#!/usr/bin/env bash
# tls.sh VERSION: tests/tls, against openssl and an Apache Kafka started for it, whose listeners have each version of TLS and
# each kind of key, want certificates, or advertise what can't be reached. Needs a JDK, Maven and openssl.
#
# KFM_DIR (default .kafka) is where the jars, certificates and the broker's data go, KFM_PORT (default 29092) the first port;
# what was started there before is wiped.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:?"usage: tls.sh VERSION"}; shift
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
KFM_DIR=$(mkdir -p "$KFM_DIR" && cd "$KFM_DIR" && pwd)
certificates=$KFM_DIR/certificates
./certificates "$certificates"
[ -e "$certificates/trust.p12" ] || keytool -importcert -noprompt -alias ca -file "$certificates/ca.pem" \
  -keystore "$certificates/trust.p12" -storetype PKCS12 -storepass changeit 2>/dev/null

listeners="" protocols="" more=""
listen() { # name, protocol, distance, distance of what is advertised
  listeners+=${listeners:+,}$1://127.0.0.1:$((KFM_PORT + $3))
  advertised+=${advertised:+,}$1://127.0.0.1:$((KFM_PORT + ${4:-$3}))
  protocols+=${protocols:+,}$1:$2
}
advertised=""
listen PLAINTEXT PLAINTEXT 0; listen SSL SSL 1; listen SASL_PLAINTEXT SASL_PLAINTEXT 2; listen SASL_SSL SASL_SSL 3
distance=20
for cell in 1.2-rsa 1.2-p256 1.2-p384 1.3-rsa 1.3-p256 1.3-p384 1.3-ed25519; do # as in tests/tls/java.rs
  name=TLS$((distance)) protocol=TLSv${cell%-*}
  listen $name SSL $distance
  its=listener.name.${name,,}.ssl
  more+=" $its.keystore.location=$certificates/server-${cell#*-}.p12 $its.truststore.location=$certificates/trust.p12"
  more+=" $its.enabled.protocols=$protocol $its.protocol=$protocol $its.client.auth=required"
  distance=$((distance + 1))
done
listen GONE PLAINTEXT 27 28

trap './kafka wipe' EXIT
./kafka wipe
KFM_PROPS="listeners=$listeners,CONTROLLER://127.0.0.1:$((KFM_PORT + 5)) advertised.listeners=$advertised
listener.security.protocol.map=$protocols,CONTROLLER:PLAINTEXT $more" ./kafka start "$version"

TLS_CERTIFICATES=$certificates KAFKA_CA=$KFM_DIR/tls/ca.pem KAFKA_LISTENERS=127.0.0.1:$KFM_PORT \
  cargo test --locked -p protocol-tests --test tls -- --ignored "$@"
