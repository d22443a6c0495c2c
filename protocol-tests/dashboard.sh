#!/usr/bin/env bash
# The dashboard in a real browser: `milena demo`, its page in headless Chromium, its buttons pressed, and the numbers on the
# page held against /metrics and the topics. Debian's chromium and prometheus (for promtool); websocket-client (PyPI) in a
# venv under ${MILENA_VENV:-target/venv}. Screenshots are left in target/dashboard.
#
#   dashboard.sh [PORT]
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${MILENA_VENV:-target/venv}
binary=${MILENA_BIN:-${CARGO_TARGET_DIR:-target}/debug/milena}

for package in chromium:chromium promtool:prometheus; do
  command -v "${package%%:*}" >/dev/null && continue
  apt-get install -y -qq --no-install-recommends "${package##*:}" >/dev/null || { echo "${package##*:} is missing: apt-get install it" >&2; exit 1; }
done
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import websocket' 2>/dev/null || "$venv/bin/pip" install --quiet websocket-client==1.9.2
[ -n "${MILENA_BIN:-}" ] || cargo build --quiet --features cli --bin milena

promtool check rules grafana/alerts.yml
mkdir -p target/dashboard
PYTHONDONTWRITEBYTECODE=1 timeout 600 "$venv/bin/python" protocol-tests/dashboard/trial.py "$binary" "${1:-21080}" target/dashboard
