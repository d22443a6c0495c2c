#!/usr/bin/env bash
# postgres.sh: a private PostgreSQL on 127.0.0.1 for the sink's tests, made and thrown away; Debian's package is
# installed if it is missing. Nothing of a PostgreSQL that runs already is touched.
#
#   postgres.sh start                 # prints the URL on stdout when it accepts connections
#   postgres.sh stop [immediate]      # immediate: as a crash; the data stays
#   postgres.sh restart [immediate]
#   postgres.sh wipe                  # stop and remove
#   postgres.sh with COMMAND ARGS...  # start, run the command with POSTGRES_URL set, wipe; the command's exit code
#
# Environment: PG_DIR (default /tmp/milena-postgres.<uid>) is the work directory, PG_PORT the port (default: a free one).
set -euo pipefail
dir=${PG_DIR:-/tmp/milena-postgres.$(id -u)}
self=$(readlink -f "$0")
die() { echo "postgres.sh: $*" >&2; exit 1; }

newest_bin() { find /usr/lib/postgresql -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -1 | xargs -r dirname; }

bin() {
  local found; found=$(newest_bin)
  if [ -z "$found" ]; then
    [ "$(id -u)" = 0 ] || die "PostgreSQL is not installed: apt-get install postgresql"
    # No cluster of Debian's own: this script makes its own.
    mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } >&2 || die "apt-get install postgresql failed"
    found=$(newest_bin)
  fi
  echo "$found"
}

# The server refuses to run as root.
as_server() {
  if [ "$(id -u)" = 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
url() { echo "postgres://postgres@127.0.0.1:$(cat "$dir/port")/postgres"; }
ctl() { as_server "$(bin)/pg_ctl" -D "$dir/data" "$@" >/dev/null; }

start() {
  local bin; bin=$(bin)
  if [ ! -f "$dir/data/PG_VERSION" ]; then
    mkdir -p "$dir"; [ "$(id -u)" != 0 ] || chown postgres "$dir"
    as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$dir.initdb.log" 2>&1 ||
      { cat "$dir.initdb.log" >&2; die "initdb failed"; }
    echo "${PG_PORT:-$(free_port)}" > "$dir/port"
  fi
  ctl -l "$dir/log" -w -o "-h 127.0.0.1 -p $(cat "$dir/port") -k $dir" start || { tail "$dir/log" >&2; die "the server did not start"; }
  url
}

case ${1:-} in
  start) start ;;
  stop) ctl -m "${2:-fast}" stop ;;
  restart) ctl -m "${2:-fast}" stop; start ;;
  wipe) [ ! -f "$dir/data/postmaster.pid" ] || ctl -m immediate stop; rm -rf "$dir" "$dir.initdb.log" ;;
  with)
    shift
    PG_DIR=$(mktemp -d /tmp/milena-postgres.XXXXXX); export PG_DIR
    chmod 755 "$PG_DIR"
    trap '"$self" wipe' EXIT
    POSTGRES_URL=$("$self" start); export POSTGRES_URL
    status=0; "$@" || status=$?
    exit $status ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
