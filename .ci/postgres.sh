# Sourced by .ci/run.
# shellcheck shell=bash disable=SC2154
postgres_started=
postgres_as=()

# Set TEST_POSTGRES_URL to a server that answers: the caller's, the machine's own, or a throwaway one started here.
find_postgres() {
    if [ -n "${TEST_POSTGRES_URL:-}" ]; then
        return 0
    fi
    TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:5432/postgres
    if postgres_answers 2; then
        return 0
    fi
    local programs
    programs=$(postgres_programs)
    if [ -z "$programs" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y postgresql >/dev/null
        programs=$(postgres_programs)
    fi
    if [ -z "$programs" ]; then
        return 1
    fi
    # A server that could be installed and does not start is a fault to look at, not a reason to skip.
    start_postgres "$programs" || exit 1
}

postgres_answers() {
    "$python" - "$TEST_POSTGRES_URL" "$1" <<'PYTHON' 2>/dev/null
import sys

import psycopg

psycopg.connect(sys.argv[1], connect_timeout=int(sys.argv[2])).close()
PYTHON
}

postgres_programs() {
    local found
    found=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1)
    [ -z "$found" ] || dirname "$found"
}

# PostgreSQL refuses to run as root; root runs it as the user that its package made.
start_postgres() {
    local programs=$1 port
    postgres_data=$scratch/postgres
    mkdir "$postgres_data"
    if [ "$(id -u)" = 0 ]; then
        postgres_as=(runuser -u postgres --)
        chmod 755 "$scratch"
        chown postgres "$postgres_data"
    fi
    postgres_control=$programs/pg_ctl
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "${postgres_as[@]}" "$programs/initdb" -D "$postgres_data" -U postgres -A trust -E UTF8 >/dev/null || return 1
    # Nothing here has to survive a power cut.
    "${postgres_as[@]}" "$postgres_control" start --silent --wait -D "$postgres_data" -l "$postgres_data/log" \
        -o "-p $port -k $postgres_data -c listen_addresses=127.0.0.1 -c fsync=off" || return 1
    postgres_started=yes
    TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:$port/postgres
}

stop_postgres() {
    if [ -n "$postgres_started" ]; then
        "${postgres_as[@]}" "$postgres_control" stop --silent --mode=immediate -D "$postgres_data"
    fi
}
