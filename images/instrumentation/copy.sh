#!/bin/sh
# copy.sh FOLDER: copies the injected folder to FOLDER/path, whole or not at all.
# Exits 0 whatever happens: a pod whose init container fails does not start, and vLLM runs without
# Sidelight as well. Needs cp, mv and rm.
umask 022
target=${1:-/sidelight}
source=${0%/*}/path
# Beside it, so that one rename makes all of it appear at once.
partial=$target/.partial
former=$target/.former

not_copied() {
    rm -rf "$partial"
    [ ! -e "$former" ] || [ -e "$target/path" ] || mv "$former" "$target/path"
    echo "Sidelight: not copied ($1 failed). vLLM is not affected; there is no telemetry of this" \
        "pod. Give the volume at $target more space, or the container's user the right to write." >&2
    exit 0
}

rm -rf "$partial" "$former"
cp -R "$source" "$partial" || not_copied "the copy"
# There is one if the pod's init containers run again.
if [ -e "$target/path" ]; then
    mv "$target/path" "$former" || not_copied "the removal of the former copy"
fi
mv "$partial" "$target/path" || not_copied "the rename"
rm -rf "$former"
echo "Sidelight: copied to $target/path."
