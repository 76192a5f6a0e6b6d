#!/bin/sh
# Makes sure that cmake 3.26 or newer is there: the bundled NetCDF library is built with it.
# A missing or older one is installed into .venv/ of this directory. Source this file: . scripts/setup.sh
if ! cmake --version 2>/dev/null | awk 'NR==1 { split($3, v, "."); exit !(v[1] == 3 && v[2] >= 26) }'; then
    [ -x .venv/bin/cmake ] || { python3 -m venv .venv && .venv/bin/pip install -q 'cmake>=3.26,<4'; } || {
        echo "cmake 3.26 is needed (and python3 with venv and pip to get it)" >&2
        exit 1
    }
    PATH="$PWD/.venv/bin:$PATH"
    export PATH
fi
