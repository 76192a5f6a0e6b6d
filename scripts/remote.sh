#!/bin/bash
# Stores over a network, against real servers on this machine: S3 (moto) and a plain web server; and standard input and output.
# Runs every command of docs/object-stores.md.
# Usage: scripts/remote.sh [GB], with a number also measures what a time series costs in a store of so many uncompressed GB.
# LITHIFY names a binary to use; without, it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
if [ -z "${LITHIFY:-}" ]; then
    cargo build --release -p lithify-cli
    LITHIFY="${CARGO_TARGET_DIR:-$PWD/target}/release/lithify"
fi
python=$PWD/.venv/bin/python
if ! "$python" -c 'import boto3, moto.server, numpy' 2>/dev/null; then
    python3 -m venv .venv
    .venv/bin/pip install -q 'moto[server]' boto3 numpy
fi
repo=$PWD
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
cp data/cesm-T.nc "$work/T.nc"
cd "$work"
lithify() { "$LITHIFY" "$@"; }

# Starts a server; sets `url`.
serve() {
    local out
    out=$(mktemp -p "$work")
    "$python" "$repo/scripts/remote_server.py" "$@" >"$out" 2>"$out.err" &
    pids+=($!)
    for _ in $(seq 100); do
        url=$(head -1 "$out")
        [ -n "$url" ] && return
        sleep 0.1
    done
    cat "$out.err" >&2
    return 1
}
control() { "$python" -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' "$1/__control/$2"; }
say() { echo; echo "== $*"; }
# Fails with this exit code, and says this.
fails() {
    local code=$1 says=$2 got=0
    shift 2
    "$@" >said 2>&1 || got=$?
    cat said
    [ "$got" -eq "$code" ] || { echo "exit code $got, not $code: $*"; exit 1; }
    grep -q -- "$says" said || { echo "does not say '$says': $*"; exit 1; }
}
# A field of a JSON object on stdin.
field() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
nothing_left() { [ -z "$(ls -A "$TMPDIR")" ] || { ls -R "$TMPDIR"; exit 1; }; }
objects() {
    "$python" - "$s3" "$1" <<'END'
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lithify", Prefix=sys.argv[2]):
    for o in page.get("Contents", []):
        print(o["Key"])
END
}

serve s3
s3=$url
serve front "$s3"
front=$url
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=us-east-1 AWS_ENDPOINT_URL=$front

say "a store in S3"
lithify compress T.nc s3://lithify/T.zarr -b range=1e-4 --chunks lev=1
lithify info s3://lithify/T.zarr
lithify verify s3://lithify/T.zarr --against T.nc
lithify decompress s3://lithify/T.zarr back.nc
lithify compare T.nc back.nc
lithify extract s3://lithify/T.zarr T point.npy --sel 'lat=~50,lon=~10'
[ "$(objects T.zarr | grep -c zarr.json)" -gt 1 ]

say "what a part costs: bytes that arrive over the bytes of its chunks"
control "$front" stats >/dev/null
lithify extract s3://lithify/T.zarr T part.npy --sel lat=100,lon=20 --json | tee part.json
control "$front" stats | tee stats.json
"$python" - <<'END'
import json
part, wire = json.load(open("part.json")), json.load(open("stats.json"))
# Everything but the bodies of the values: the listings of S3.
print("values:", part["bytes_read"] / part["bytes_touched"], "all answers:", wire["bytes"] / part["bytes_touched"])
assert part["bytes_read"] < 1.2 * part["bytes_touched"]
END

say "one object: a zip, a file; from store to store"
lithify compress T.nc s3://lithify/T.zarr.zip -b range=1e-4
lithify compress s3://lithify/T.zarr.zip s3://lithify/again.zarr
lithify decompress s3://lithify/again.zarr s3://lithify/again.nc
lithify compare back.nc s3://lithify/again.nc >/dev/null
lithify info s3://lithify/again.nc
lithify compress T.nc s3://lithify/T.zarr.zip -b range=1e-3 -f >/dev/null

say "what is there is not lost"
fails 2 "delete it first" lithify compress T.nc s3://lithify/T.zarr
fails 2 "cannot replace a tree" lithify compress T.nc s3://lithify/T.zarr -f
fails 2 "give -f" lithify compress T.nc s3://lithify/T.zarr.zip
fails 2 "same" lithify compress s3://lithify/T.zarr s3://lithify/T.zarr
fails 1 "no such bucket" lithify info s3://nobody/T.zarr
fails 1 "nothing at this URL" lithify info s3://lithify/none.zarr
fails 1 "nothing at this URL" lithify info s3://lithify/none.nc
fails 2 "URLs can begin" lithify info ftp://lithify/none.nc
AWS_ENDPOINT_URL=localhost:9000 fails 2 "must be a URL" lithify info s3://lithify/none.nc
AWS_ENDPOINT_URL= fails 2 "must be a URL" lithify info s3://lithify/none.nc

say "a server that is busy now and then"
control "$front" "fail?every=3"
lithify compress T.nc s3://lithify/busy.zarr -b range=1e-3 --chunks lev=1 -q >/dev/null
lithify verify s3://lithify/busy.zarr --against T.nc >/dev/null
control "$front" "fail?every=0"
lithify verify s3://lithify/busy.zarr --against T.nc

say "interrupted: what was written goes"
"$LITHIFY" compress T.nc s3://lithify/stopped.zarr -b range=1e-4 --chunks lev=1,lat=48 --effort 9 -q &
job=$!
for _ in $(seq 100); do [ -n "$(objects stopped.zarr)" ] && break; sleep 0.1; done
kill -INT $job
code=0; wait $job || code=$?
[ $code -eq 1 ] && [ -z "$(objects stopped.zarr)" ]

say "a server that dies in the middle"
serve front "$s3"
control "$url" "die?after=6"
began=$SECONDS
AWS_ENDPOINT_URL=$url fails 1 "cannot be reached" lithify compress T.nc s3://lithify/dead.zarr -b range=1e-4 --chunks lev=1
echo "after $((SECONDS - began)) s; left: $(objects dead.zarr | wc -l) objects"
! objects dead.zarr | grep -q '^dead.zarr/zarr.json$'
fails 1 "nothing at this URL" lithify info s3://lithify/dead.zarr
fails 2 "interrupted job" lithify compress T.nc s3://lithify/dead.zarr
[ $((SECONDS - began)) -lt 100 ]

say "a plain web server"
mkdir www www/secret
lithify compress T.nc www/T.zarr -b range=1e-4 --chunks lev=1 >/dev/null
lithify compress T.nc www/T.zarr.zip -b range=1e-4 --chunks lev=1 >/dev/null
lithify decompress www/T.zarr www/plain.zarr
cp T.nc www/T.nc
cp T.nc www/secret/T.nc
serve files www
web=$url
lithify info "$web/T.zarr"
lithify verify "$web/T.zarr" --against "$web/T.nc"
lithify info "$web/plain.zarr" >/dev/null
lithify info "$web/secret/T.nc?sig=open" | tee said
! grep -q sig=open said
fails 1 "403" lithify info "$web/secret/T.nc?sig=wrong"
! grep -q sig=wrong said
fails 2 "only read" lithify compress T.nc "$web/new.zarr"
fails 1 "nothing at this URL" lithify info "$web/none.zarr"
for name in T.zarr T.zarr.zip; do
    control "$web" stats >/dev/null
    lithify extract "$web/$name" T part.npy --sel lat=100,lon=20 --json -f >part.json
    control "$web" stats >stats.json
    "$python" - "$name" <<'END'
import json, sys
part, wire = json.load(open("part.json")), json.load(open("stats.json"))
print(f'{sys.argv[1]}: {wire["requests"]} requests, {wire["bytes"]} bytes for {part["bytes_touched"]} of chunks,',
      f'{wire["bytes"] / part["bytes_touched"]:.3f} times as many')
assert wire["bytes"] < 1.2 * part["bytes_touched"], wire
END
done

say "standard input and output"
lithify extract www/T.zarr T T.npy
lithify compress - piped.zarr <T.npy >/dev/null
lithify decompress piped.zarr - | cmp - T.npy
lithify extract s3://lithify/T.zarr T - --sel lev=0 | "$python" -c 'import io, numpy, sys; print(numpy.load(io.BytesIO(sys.stdin.buffer.read())).shape)'
lithify compress T.npy - -b abs=0.01 2>said | lithify decompress - out.npy
grep -q ratio said
lithify compress - - <T.npy 2>/dev/null | lithify info -
fails 4 "standard input" lithify compress - bad.zarr <<<"not a file"
set +o pipefail
lithify decompress piped.zarr - | head -c 10 >/dev/null
code=${PIPESTATUS[0]}
lithify info T.nc | true
set -o pipefail
echo "a pipe that is closed: exit code $code"
[ "$code" -eq 1 ]
if command -v script >/dev/null; then
    fails 0 "not written to a terminal" script -qc "$LITHIFY decompress piped.zarr -" /dev/null
fi
nothing_left

if [ $# -gt 0 ]; then
    say "a time series in a store of $1 GB"
    "$python" - "$1" <<'END'
import numpy as np, sys
n = max(64, int(float(sys.argv[1]) * 2**30 / 4 / 2**20) // 64 * 64)
x = np.lib.format.open_memmap("large.npy", "w+", np.float32, (n, 1024, 1024))
noise = np.random.default_rng(1).normal(size=(64, 1024, 1024)).astype(np.float32)
for t in range(0, n, 64):
    x[t:t + 64] = np.roll(noise, t, axis=2)
END
    lithify compress large.npy www/large.zarr -b abs=0.01 --effort 1 --chunks dim_0=64,dim_1=64,dim_2=64
    rm large.npy
    find www/large.zarr -type f | wc -l
    control "$web" stats >/dev/null
    lithify extract "$web/large.zarr" large part.npy --sel dim_1=500,dim_2=700 --json -f | tee part.json
    control "$web" stats | tee stats.json
    "$python" - <<'END'
import json
part, wire = json.load(open("part.json")), json.load(open("stats.json"))
ratio = wire["bytes"] / part["bytes_touched"]
print(f"{ratio:.4f} times the chunks and their shards' indices, with all metadata")
assert ratio < 1.2
END
fi
echo
echo "all as it should be"
