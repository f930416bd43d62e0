#!/bin/sh
# Makes .venv with Sidelight (editable) and one of its extras, pinned by constraints.txt.
# Usage: scripts/virtualenv.sh EXTRA
set -eu

extra=$1
python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
    done
fi
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Sidelight needs Python 3.11 or newer: install it, or set PYTHON=/path/to/python" >&2
    exit 1
fi
if [ ! -x .venv/bin/pip ]; then
    if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
            echo "installing python3-venv with apt-get ..."
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        else
            echo "$python has no venv module: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    "$python" -m venv --clear .venv
fi
echo "installing sidelight[$extra] into .venv ..."
log=$(mktemp)
if ! .venv/bin/pip install --disable-pip-version-check -c constraints.txt -e ".[$extra]" >"$log" 2>&1; then
    grep -v 'is ignored: it is neither' "$log" | tail -n 20 >&2
    echo "pip could not install sidelight[$extra] (above are its last lines)" >&2
    exit 1
fi
rm -f "$log"
