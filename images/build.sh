#!/bin/sh
# What the Dockerfiles run, and tests/images runs without a container:
#   images/build.sh collector FOLDER        an environment with the command `sidelight` in FOLDER/bin
#   images/build.sh instrumentation FOLDER  the root of an image: the injected folder in FOLDER/path
# Run in a copy of the repository. Needs python3 with pip, and an index of packages.
# SIDELIGHT_EXTRAS: what the collector is installed with.
set -eu

part=$1
folder=$2
extras=${SIDELIGHT_EXTRAS:-collector,dashboards,injector,kv-events,snappy}
pip() {
    python3 -m pip --disable-pip-version-check "$@"
}

case $part in
collector)
    python3 -m venv --without-pip "$folder"
    # Byte-code is written now: the container's root is read-only.
    pip --python "$folder/bin/python" install --quiet --no-cache-dir --compile \
        --constraint constraints.txt ".[$extras]"
    ;;
instrumentation)
    # Not compiled, whatever the other part is: one copy fits every Python.
    SIDELIGHT_COMPILE=0 pip install --quiet --no-cache-dir --no-compile --no-deps \
        --target "$folder/build" .
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$folder/build" \
        python3 -m sidelight.instrumentation.injected.tree "$folder/path"
    rm -r "$folder/build"
    install -m 0755 images/instrumentation/copy.sh "$folder/copy.sh"
    ;;
*)
    echo "usage: images/build.sh collector|instrumentation FOLDER" >&2
    exit 2
    ;;
esac
