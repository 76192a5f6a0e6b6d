#!/bin/sh
# The HDF5 filter in other people's programs: builds the plugin, writes a file with the command line, reads it and writes others with
# ncdump, nccopy, h5dump, h5repack, CDO, NCO, netCDF4, h5py, h5netcdf and xarray, and checks every value. Runs what docs/netcdf-tools.md says.
# Usage: scripts/hdf5.sh [DIRECTORY], default target/hdf5
# Debian's packages: netcdf-bin hdf5-tools cdo nco. LITHIFY_OPTIONAL="cdo nco" lets these be missing; PYTHON names an interpreter
# with lithify, netCDF4, h5py, h5netcdf and xarray, else they are installed into .venv/.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
root=$PWD
out=${1:-target/hdf5}
profile=${PROFILE:-release}
flag=$([ "$profile" = release ] && echo --release || true)
cargo build $flag -p lithify-hdf5-filter -p lithify-cli
built=${CARGO_TARGET_DIR:-$root/target}/$([ "$profile" = release ] && echo release || echo debug)

if [ -z "${PYTHON:-}" ]; then
    PYTHON=$root/.venv/bin/python
    if ! "$PYTHON" -c 'import lithify, netCDF4, h5py, h5netcdf, xarray' 2>/dev/null; then
        [ -x .venv/bin/pip ] || python3 -m venv .venv
        .venv/bin/pip install -q '.[test]'
    fi
fi
rm -rf "$out"
mkdir -p "$out/plugin"
cp "$built/liblithify_hdf5".* "$out/plugin/"
rm -f "$out/plugin/"*.d "$out/plugin/"*.rlib
cd "$out"
PATH=$built:$PATH
export PATH

# Whether a program is there; a missing one is a failure unless LITHIFY_OPTIONAL names it.
have() {
    command -v "$1" >/dev/null && return 0
    case " ${LITHIFY_OPTIONAL:-} " in
    *" $1 "*) echo "SKIPPED: $1 IS MISSING" >&2 && return 1 ;;
    esac
    echo "$1 is missing; install netcdf-bin, hdf5-tools, cdo and nco, or name it in LITHIFY_OPTIONAL" >&2
    exit 1
}

# The block of commands that follows that line in the guide.
block() {
    awk -v name="<!-- $1 -->" '$0 == name { on = 1; next } on && (/^    / || /^$/) { print substr($0, 5); next } on { exit }' \
        "$root/docs/netcdf-tools.md" >"$1.$2"
    grep -q . "$1.$2" || { echo "docs/netcdf-tools.md has no block $1" >&2 && exit 1; }
    echo "== $1" >&2
}

cp "$root/data/cesm-T.nc" "$root/data/pop-SSH.nc" .
block write sh
sh -eu write.sh
HDF5_PLUGIN_PATH=$PWD/plugin
export HDF5_PLUGIN_PATH

for tool in ncdump nccopy h5dump h5repack cdo ncks; do
    have "$tool" || continue
    block "$tool" sh
    sh -eu "$tool.sh" >"$tool.txt"
done
for module in h5py netcdf4 xarray; do
    block "$module" py
    "$PYTHON" "$root/scripts/hdf5.py" run "$module.py"
done
"$PYTHON" "$root/scripts/hdf5.py" check
echo "all of it agrees"
