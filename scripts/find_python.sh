# Sourced by scripts/serve and scripts/test: sets $python to a Python that can run Wolfgate, or stops with one line.
# shellcheck shell=sh

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# The caller's own choice comes first; then the environment made by an earlier start, which needs no search.
python=
if [ -n "${PYTHON:-}" ]; then
    if ! is_new_enough "$PYTHON"; then
        echo "wolfgate: PYTHON=$PYTHON does not run as Python 3.11 or newer; name another one, or unset PYTHON" >&2
        exit 1
    fi
    python=$PYTHON
else
    # shellcheck disable=SC2154  # $repo is set by the script that reads this file
    for candidate in "$repo/.venv/bin/python" python3 python3.11 python3.12 python3.13 python3.14 python; do
        if is_new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "wolfgate: Python 3.11 or newer is needed and none was found; install one (e.g. apt install python3.11 python3.11-venv), or name it with PYTHON=/path/to/python" >&2
        exit 1
    fi
fi
