#!/bin/sh
# Runs every fuzz target for a number of seconds each. Usage: scripts/fuzz.sh [SECONDS], default 60
set -eu
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
cd fuzz
# Coverage instrumentation is a compiler-internal flag on the stable toolchain.
export RUSTC_BOOTSTRAP=1
for target in decode roundtrip; do
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" -- -max_total_time="${1:-60}" -rss_limit_mb=2048 -max_len=4096 -verbosity=0
done
