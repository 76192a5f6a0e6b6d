#!/bin/sh
# Decodes the golden payloads with a build for another machine, 64-bit ARM, in emulation: with its widest vectors, then with the
# narrowest. Installs what it needs: Debian's cross linker and emulator, the target's standard library.
set -eu
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
command -v qemu-aarch64 >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null
}
rustup --quiet target add "$target"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
for vectors in widest baseline; do
    LITHIFY_SIMD=$vectors cargo test --quiet --release --target "$target" -p lithify-codec --test golden every_golden_payload
done
