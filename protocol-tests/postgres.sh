#!/usr/bin/env bash
# postgres.sh: a private PostgreSQL on 127.0.0.1 for the sink's tests, made and thrown away; Debian's package is
# installed if it is missing. Nothing of a PostgreSQL that runs already is touched.
#
#   postgres.sh start                 # prints the URL on stdout when it accepts connections
#   postgres.sh stop [immediate]      # immediate: as a crash; the data stays
#   postgres.sh restart [immediate]
#   postgres.sh wipe                  # stop and remove
#   postgres.sh with COMMAND ARGS...  # start, run the command with POSTGRES_URL and POSTGRES_TLS set, wipe; its exit code
#
# It has TLS as well as plain connections: $PG_DIR/tls holds ca.pem, which signed the server's certificate for localhost and
# not for 127.0.0.1; other.pem, which signed nothing; client.pem and client.key of the user certified, who needs them.
# The user secured needs the password its:own, by SCRAM; everybody else is let in.
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
url() { echo "postgres://postgres@127.0.0.1:$(cat "$dir/port")/postgres?sslmode=disable"; }
ctl() { as_server "$(bin)/pg_ctl" -D "$dir/data" "$@" >/dev/null; }

certificates() {
  local tls=$dir/tls; as_server mkdir -p "$tls"
  openssl() { as_server "$(command -v openssl)" "$@" 2>>"$dir.initdb.log"; }
  authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -keyout "$tls/$1.key" -out "$tls/$1.pem"; }
  signed() { # file, common name, extension
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -addext "$3" -keyout "$tls/$1.key" -out "$tls/$1.csr"
    openssl x509 -req -in "$tls/$1.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -days 30 -copy_extensions copy -out "$tls/$1.pem"
  }
  authority ca && authority other && signed server localhost subjectAltName=DNS:localhost && signed client certified subjectAltName=DNS:certified
  as_server chmod 600 "$tls"/*.key
  as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
ssl = on
ssl_cert_file = '$tls/server.pem'
ssl_key_file = '$tls/server.key'
ssl_ca_file = '$tls/ca.pem'
CONF
  as_server sed -i '1i hostssl all certified all cert\nhost all secured all scram-sha-256' "$dir/data/pg_hba.conf"
  printf '%s\n' "CREATE ROLE certified LOGIN" "CREATE ROLE secured LOGIN PASSWORD 'its:own'" | as_server "$(bin)/postgres" --single -D "$dir/data" postgres >/dev/null 2>>"$dir.initdb.log"
}

start() {
  local bin; bin=$(bin)
  if [ ! -f "$dir/data/PG_VERSION" ]; then
    mkdir -p "$dir"; [ "$(id -u)" != 0 ] || chown postgres "$dir"
    as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$dir.initdb.log" 2>&1 ||
      { cat "$dir.initdb.log" >&2; die "initdb failed"; }
    certificates || { cat "$dir.initdb.log" >&2; die "no certificates"; }
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
    POSTGRES_URL=$("$self" start); export POSTGRES_URL POSTGRES_TLS=$PG_DIR/tls
    status=0; "$@" || status=$?
    exit $status ;;
  *) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
