#!/bin/sh
# Makes the environment of an image small: without pip, the files of unused.txt and symbols.
# slim.sh ENVIRONMENT
set -eu
unused=$(grep '^[^#]' "$(dirname "$0")/unused.txt")
"$1/bin/python" -m pip uninstall --quiet --yes pip setuptools
cd "$1"/lib/python3.*/site-packages
# shellcheck disable=SC2086  # the patterns are to be expanded
rm -rf $unused
# These wheels come with their symbols, which only a debugger reads.
find . -regex '\./\(PIL\|httptools\|pyarrow\|uvloop\|yaml\)/.*\.so.*' -exec strip --strip-unneeded {} +
