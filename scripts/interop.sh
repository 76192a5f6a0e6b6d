#!/bin/sh
# Other people's readers on what scripts/example.sh wrote (netCDF4, xarray, zarr-python), and their rasters and ours (rasterio, tifffile).
# Usage: scripts/interop.sh [DIRECTORY OF THE EXAMPLE'S OUTPUT], default target/example
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/example}
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import imagecodecs, netCDF4, PIL, rasterio, tifffile, xarray, zarr' 2>/dev/null; then
    python3 -m venv .venv
    .venv/bin/pip install -q netCDF4 xarray zarr numpy rasterio tifffile imagecodecs pillow
fi
.venv/bin/python scripts/interop.py data/cesm-T.nc "$out"
rasters=$(mktemp -d)
trap 'rm -rf "$rasters"' EXIT
.venv/bin/python scripts/rasters.py "${CARGO_TARGET_DIR:-target}/release/lithify" "$rasters"
