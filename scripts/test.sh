#!/bin/sh
# All tests. Further arguments go to the test runner.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --cargo-quiet "$@"
else
    cargo test --quiet "$@"
fi
cargo test --quiet --doc
