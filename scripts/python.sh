#!/bin/sh
# Builds and installs the Python package into .venv, then runs its tests, the pages of docs/ and the examples.
# Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
[ -x .venv/bin/pip ] || python3 -m venv .venv
.venv/bin/pip install -q '.[test]'
.venv/bin/python -m pytest -q "$@"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for example in examples/*.py; do
    echo "== $example"
    PROJECT="$PWD" OUT="$out" sh -c 'cd "$OUT" && "$PROJECT/.venv/bin/python" "$PROJECT/$1"' sh "$example"
done
