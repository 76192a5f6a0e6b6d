#!/bin/sh
# Are learned streams the same everywhere? scripts/exact.sh MODEL ARRAY.npy [PROGRAM...]
#
# Each program (else the debug and the release build that are there) encodes the array with the widest and the narrowest vectors, by
# one thread and by two, with latents alone and with a residual, and decodes what the first one wrote. Programs for 64-bit ARM run in
# emulation, as in other-machine.sh, whose linker builds them:
#   cargo build --release --target aarch64-unknown-linux-gnu -p lithify-cli
# Prints checksums of streams and of values. Exit code 1: some differ.
set -eu
[ $# -ge 2 ] || { sed -n 's/^# //p' "$0"; exit 2; }
model=$1 array=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 0 ]; then
    for build in debug release; do
        program=$root/target/$build/lithify
        [ ! -x "$program" ] || set -- "$@" "$program"
    done
fi
[ $# -gt 0 ] || { echo "no program is built" >&2; exit 2; }
name=$(basename "$array" .npy)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Byte 18 of an ELF file is the machine; 183 is 64-bit ARM.
run() {
    if [ "$(od -An -tu1 -j18 -N1 "$1" | tr -d ' ')" = 183 ] && [ "$(uname -m)" != aarch64 ]; then
        qemu-aarch64 -L /usr/aarch64-linux-gnu "$@"
    else
        "$@"
    fi
}
digest() { sha256sum | cut -c1-16; }

differ=0
for bound in psnr=20 range=1e-3; do
    first=
    printf '\n%s\n%-16s %-16s  vectors   threads  program\n' "$bound" stream values
    for program; do
        for vectors in widest baseline; do
            for threads in 1 2; do
                export LITHIFY_SIMD=$vectors
                run "$program" compress "$array" "$work/new.zarr" -f -q -b "$name:$bound" --codec "learned:$model" --effort 2 -T "$threads" >/dev/null
                stream=$(find "$work/new.zarr/$name/c" -type f | sort | xargs cat | digest)
                [ -n "$first" ] || cp -r "$work/new.zarr" "$work/$bound.zarr"
                run "$program" decompress "$work/$bound.zarr" "$work/back.npy" -f -q --model "$model" -T "$threads" >/dev/null
                values=$(digest <"$work/back.npy")
                : "${first:=$stream $values}"
                mark=
                [ "$stream $values" = "$first" ] || mark=DIFFERS differ=1
                printf '%s %s  %-8s  %-7s  %s %s\n' "$stream" "$values" "$vectors" "$threads" "$program" "$mark"
            done
        done
    done
done
exit $differ
