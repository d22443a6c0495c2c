#!/usr/bin/env bash
# OAUTHBEARER against Apache Kafka and its own validator of tokens: `oauthbearer.sh [VERSION]` (4.3.1).
#
# Needs a JDK, Maven, openssl and Python 3. KFM_DIR (default .kafka) is where the jars and the broker's data go, KFM_PORT (default
# 29092) its port; whatever ran there before must be stopped.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:-4.3.1}
export KFM_DIR=${KFM_DIR:-$PWD/../.kafka} KFM_PORT=${KFM_PORT:-29092}
KFM_DIR=$(mkdir -p "$KFM_DIR" && cd "$KFM_DIR" && pwd) # Java wants it whole

keys=$KFM_DIR/oauth oauth=org.apache.kafka.common.security.oauthbearer
mkdir -p "$keys"
for key in key other; do
  openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$keys/$key.pem"
done
python3 - "$keys" <<'P'
import base64, json, pathlib, subprocess, sys
keys = pathlib.Path(sys.argv[1])
modulus = subprocess.check_output(["openssl", "rsa", "-in", keys / "key.pem", "-noout", "-modulus"], text=True)
n = base64.urlsafe_b64encode(bytes.fromhex(modulus.strip().removeprefix("Modulus="))).decode().rstrip("=")
key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "key", "n": n, "e": "AQAB"}
(keys / "jwks.json").write_text(json.dumps({"keys": [key]}))
P

properties="sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
properties+=" sasl.oauthbearer.jwks.endpoint.url=file://$keys/jwks.json"
properties+=" sasl.oauthbearer.expected.audience=kafka sasl.oauthbearer.expected.issuer=https://idp.test"
for listener in sasl_plaintext sasl_ssl; do
  mechanism=listener.name.$listener.oauthbearer
  # Blanks would end a property here; Java reads the escape.
  properties+=" $mechanism.sasl.jaas.config=$oauth.OAuthBearerLoginModule\\u0020required;"
  properties+=" $mechanism.sasl.server.callback.handler.class=$oauth.OAuthBearerValidatorCallbackHandler"
done

./kafka resolve "$version" >/dev/null
trap './kafka wipe' EXIT
./kafka wipe
# Since 4.0 a broker reads keys only from where it is told that it may.
JAVA_TOOL_OPTIONS="-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://$keys/jwks.json" KFM_PROPS=$properties \
  ./kafka start "$version"
KAFKA_BOOTSTRAP=127.0.0.1:$KFM_PORT OAUTH_BOOTSTRAP=127.0.0.1:$((KFM_PORT + 2)) OAUTH_KEYS=$keys \
  cargo test -p protocol-tests --test real_broker -- --ignored oauthbearer::
