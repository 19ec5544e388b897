#!/usr/bin/env bash
# Installs the one server that the integration tests start and pip does not have: Virtuoso, on
# Debian and its relatives. Where that is not possible, it says so, and the tests of Virtuoso are
# skipped; with CI set they fail.
set -euo pipefail

if command -v virtuoso-t >/dev/null && command -v isql-vt >/dev/null; then
    exit 0
fi

give_up() {
    echo "Virtuoso is not installed ($1). Its tests need virtuoso-t and isql-vt on the PATH." >&2
    exit 0
}

command -v apt-get >/dev/null || give_up "there is no apt-get here"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || give_up "that needs root, or sudo without a password"
    as_root=(sudo -n)
fi

# The lists of packages may be old, or not be there at all, as in a fresh container.
"${as_root[@]}" apt-get update -qq || echo "apt-get update failed; trying with what is known" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet=2 --no-install-recommends virtuoso-opensource-7-bin ||
    give_up "apt-get could not install virtuoso-opensource-7-bin"
