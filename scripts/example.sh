#!/bin/sh
# The main job on real data: a CESM temperature file, compressed, verified and written back.
# Usage: scripts/example.sh [DIRECTORY FOR THE OUTPUT], default target/example
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
cargo build --release -p lithify-cli
lithify="${CARGO_TARGET_DIR:-target}/release/lithify"
out=${1:-target/example}
mkdir -p "$out"
set -x
"$lithify" compress data/cesm-T.nc "$out/T.zarr" -b l2=1e-3 --picture "$out/T.png" -f
"$lithify" verify "$out/T.zarr" --against data/cesm-T.nc
"$lithify" decompress "$out/T.zarr" "$out/T.nc" -f
"$lithify" compare data/cesm-T.nc "$out/T.nc"
"$lithify" extract "$out/T.zarr" T "$out/polar.nc" --sel 'lev=0:2,lat=60..90' -f
