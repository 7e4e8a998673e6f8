#!/bin/sh
# Compiles the hashed locks from the .in files. dev comes first; the others are held to its versions, so that
# a package has one version in all of them. Versions stay as they are unless an .in asks for another one;
# extra arguments go to uv: requirements/compile.sh --upgrade-package pillow
set -eu
cd "$(dirname "$0")"
lock() {
    name=$1
    shift
    uv pip compile "$name.in" --output-file "$name.txt" --overrides overrides.txt \
        --universal --python-version 3.11 --generate-hashes \
        --no-config --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet "$@"
}
lock dev "$@"
for name in run train app monitor; do
    lock "$name" --constraints dev.txt "$@"
done
lock serve --constraints dev.txt --overrides overrides-serve.txt "$@"
