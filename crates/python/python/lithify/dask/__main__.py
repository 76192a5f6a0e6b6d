"""``python -m lithify.dask --scheduler tcp://host:8786 in.nc out.zarr -b abs=0.01``: a file, compressed by a cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from typing import Any

from .. import BoundError, CorruptError
from . import compress


def main(arguments: list[str] | None = None) -> int:
    """Exit codes are those of ``lithify``: 1 runtime failure, 2 usage, 3 a bound or a verification failed, 4 corrupt or unsupported input."""
    a = _parser().parse_args(arguments)
    try:
        chunks, shards = _lengths(a.chunks, "--chunks"), _lengths(a.shards, "--shards")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            report = compress(
                a.input,
                a.output,
                a.bound,
                codec=a.codec,
                effort=a.effort,
                chunks=chunks,
                shards=shards,
                variables=[name for names in a.vars for name in names.split(",") if name],
                client=a.scheduler,
                force=a.force,
                progress=not a.quiet and sys.stderr.isatty(),
            )
    except Exception as error:  # whatever it is, it is said in one line
        print(f"lithify: {error or type(error).__name__}", file=sys.stderr)
        return _code(error)
    except KeyboardInterrupt:
        print("lithify: interrupted; the same command goes on where it was", file=sys.stderr)
        return 1
    for w in caught:
        if issubclass(w.category, RuntimeWarning):
            print(f"lithify: {w.message}", file=sys.stderr)
    total = _total(report)
    print(json.dumps(report | total) if a.json else _table(report, total))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lithify.dask", description="Compress a file on a Dask cluster.")
    parser.add_argument("input", help="NetCDF, GRIB, Zarr or .npy, at a path that every worker can open")
    parser.add_argument("output", help="a .zarr directory at a path that every worker can write to, or a URL")
    parser.add_argument("--scheduler", help="address of the Dask scheduler; without it, threads of this process do the work")
    parser.add_argument("-b", "--bound", action="append", default=[], metavar="[VAR:]BOUND", help="as for lithify compress")
    parser.add_argument("--codec", default="auto")
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--chunks", default="", metavar="DIM=N,...", help="chunk lengths, over the automatic ones")
    parser.add_argument("--shards", default="", metavar="DIM=N,...", help="shard lengths, over the automatic ones")
    parser.add_argument("--vars", action="append", default=[], metavar="NAME,...", help="only these variables, with their coordinates")
    parser.add_argument("-f", "--force", action="store_true", help="replace an output that exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def _lengths(text: str, option: str) -> dict[str, int]:
    out = {}
    for part in filter(None, text.split(",")):
        dim, _, n = part.partition("=")
        if not n.strip().isdigit():
            raise ValueError(f"{option} takes lengths such as time=64,lat=180, not {part!r}")
        out[dim.strip()] = int(n)
    return out


def _code(error: Exception) -> int:
    if isinstance(error, BoundError):
        return 3
    if isinstance(error, CorruptError | NotImplementedError | EOFError):
        return 4
    return 2 if isinstance(error, ValueError | TypeError) else 1


def _total(report: dict[str, Any]) -> dict[str, Any]:
    raw = sum(v["raw_bytes"] for v in report["variables"])
    files = (os.path.join(at, name) for at, _, names in os.walk(report["output"]) for name in names)
    # In a store of objects, metadata are not counted.
    stored = sum(map(os.path.getsize, files)) or sum(v["stored_bytes"] for v in report["variables"])
    return {"raw_bytes": raw, "stored_bytes": stored, "ratio": raw / max(stored, 1)}


def _table(report: dict[str, Any], total: dict[str, Any]) -> str:
    rows = [["variable", "dtype", "codec", "bound", "max abs", "ratio", "bits/value"]]
    for v in report["variables"]:
        worst = v["achieved"]["max_abs"]
        numbers = ["-" if worst is None else f"{worst:.4g}", f"{v['ratio']:.4g}", f"{v['bits_per_value']:.4g}"]
        rows.append([v["name"], v["dtype"] or "text", v["codec"], v["bound"], *numbers])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(f"{total['raw_bytes']} bytes -> {total['stored_bytes']} bytes, ratio {total['ratio']:.4g}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
