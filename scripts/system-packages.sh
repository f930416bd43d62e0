#!/bin/sh
# Installs Debian's prometheus, chromium and, for the tests, prometheus-alertmanager, nodejs, npm,
# busybox-static and a C compiler where they are missing and this is root. None is needed to observe anything:
# the demo and the tests look at results with them.
set -eu

missing=""
command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
if [ "${1:-}" = tests ]; then
    command -v prometheus-alertmanager >/dev/null 2>&1 || missing="$missing prometheus-alertmanager"
    command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
    command -v busybox >/dev/null 2>&1 || missing="$missing busybox-static"
    command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "skipped:$missing (missing; not root on Debian). What needs them will say so." >&2
    exit 0
fi
echo "installing$missing with apt-get ..."
log=$(mktemp)
# RUNLEVEL=1 keeps the package from starting a Prometheus service on its own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
# shellcheck disable=SC2086 (a list of packages)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get could not install$missing: mend that, or install them yourself" >&2
    exit 1
fi
rm -f "$log"
