"""The driver: decides, hands out tasks, gathers small records, writes what is left.

1. The plan is that of the command line. Bounds that need to know the whole variable get one pass over it on the workers; a norm's
   quantizer step is searched on samples that come here, at most one chunk in all.
2. Each task encodes one shard, writes it and a record of it. Shards whose record is there are not done again.
3. Where a norm was missed over the whole, the variable is encoded again with a finer step.
4. Each shard is read back on the workers and compared with its record.
5. Certificates, metadata and plain arrays are added, the root's metadata last.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
from dask.base import tokenize
from dask.delayed import delayed

from .. import _native
from .._bounds import Bounds, checked_effort, chunk_rules, rules
from ._inputs import DatasetInput, FileInput, Input, grid
from ._places import Place, begin
from ._progress import Bar
from ._run import client_of, run
from ._tasks import Work, check, count_bits, encode, measure

if TYPE_CHECKING:
    import distributed
    import xarray as xr
    from zarr.abc.store import Store


def compress(
    ds: xr.Dataset | str | os.PathLike[str],
    store: str | os.PathLike[str] | Store,
    bound: Bounds = None,
    *,
    codec: str = "auto",
    effort: int = 5,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    variables: list[str] | None = None,
    client: distributed.Client | str | None = None,
    retries: int = 3,
    force: bool = False,
    verify: bool = True,
    progress: bool | Callable[[str, int, int], None] = False,
) -> dict[str, Any]:
    """Compress a dataset on a Dask cluster, to the store that ``lithify compress`` makes of the same content.

    Called again after a failure with the same arguments, it goes on where it was cut off: finished shards are not done again.

    Parameters
    ----------
    ds
        A dask-backed dataset, or the path of a file that every worker can open (NetCDF, GRIB, Zarr, .npy).
    store
        A path ending in ``.zarr`` that every worker can write to, a URL (``s3://bucket/out.zarr``, by fsspec), or a store of zarr-python
        (``FsspecStore``, ``ObjectStore``). It appears whole or not at all; until then, ``<path>.progress`` holds what is done.
    bound
        See `lithify`. ``ratio=`` and ``bytes=`` are refused.
    chunks, shards
        Lengths by dimension, over the automatic ones. A task encodes one shard (or one chunk, where there are no shards) and needs about
        the memory of the shard and eight times that of a chunk.
    variables
        Only these, with their coordinates.
    client
        Dask's client, or the address of a scheduler; by default whatever Dask uses, threads of this process if nothing else.
    retries
        How often a task that raised is tried again on a cluster. Tasks of workers that died are always done again.
    force
        Replace a store that exists. One of objects is deleted before anything else.
    verify
        Read every shard back, and compare it with what its task said.
    progress
        True for a bar on stderr, or a function as for `lithify.compress_file`.

    Returns
    -------
    What ``lithify compress --json`` prints of variables; ``seconds`` is the time that workers spent.

    Raises
    ------
    ValueError
        For arguments that make no sense together.
    BoundError, CorruptError
        If a bound cannot be kept, or if a shard is not what was written.
    """
    with client_of(client) as client:
        job = _Job(ds, rules(bound), codec, checked_effort(effort), chunks, shards, variables, client, retries)
        for path, outline in job.outlines.items():
            if outline["budget"]:
                fix = "give abs= or range= instead (lithify.to_zarr finds what a ratio comes to), or use lithify.to_zarr"
                raise ValueError(f"{path}:{outline['bound']} is searched on the whole variable by one process: {fix}")
        place = begin(store, job.key, force, client is not None)
        if not isinstance(progress, bool):
            return job.run(place, verify, progress)
        with Bar(job.raw_bytes() if progress else None) as bar:
            return job.run(place, verify, bar)


class _Job:
    """What was asked, and of what."""

    def __init__(
        self,
        ds: Any,
        bounds: list[str],
        codec: str,
        effort: int,
        chunks: Mapping[str, int] | None,
        shards: Mapping[str, int] | None,
        variables: list[str] | None,
        client: Any,
        retries: int,
    ) -> None:
        is_path = isinstance(ds, str | os.PathLike)
        self.input: Input = FileInput(os.fspath(ds)) if is_path else DatasetInput(ds)
        self.options = (bounds, codec, effort, chunk_rules(chunks), variables or [])
        self.client = client
        self.retries = retries
        self.meta = dict(_metas(self.input.tree))
        self.shards = self._shards(shards or {})
        self.outlines = _native.outline(self.input.tree, *self.options)
        for path, outline in self.outlines.items():
            outline["shard"] = self._shard(path, outline)
        self.key = tokenize(self.input.token, self.options, sorted(self.shards.items()), _native.__version__)[:16]

    def _shards(self, asked: Mapping[str, int]) -> dict[str, int]:
        known = {d for meta in self.meta.values() for d in meta["dims"]}
        if unknown := set(asked) - known:
            raise ValueError(f"shards names {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        return dict(chunk_rules(asked))

    def _shard(self, path: str, layout: dict[str, Any]) -> list[int] | None:
        """The automatic shard, but for the lengths asked for."""
        dims, shard = self.meta[path]["dims"], layout["shard"]
        if not any(d in self.shards for d in dims):
            return list(shard) if shard else None
        out = []
        for d, c, s, n in zip(dims, layout["chunk"], shard or layout["chunk"], self.meta[path]["shape"], strict=True):
            length = min(self.shards.get(d, s), -(-n // c) * c)
            if length % c:
                raise ValueError(f"{path}: shards of {length} along {d} are no multiple of its chunks of {c}; give chunks too")
            out.append(length)
        return out

    def raw_bytes(self) -> int:
        """Uncompressed bytes of what tasks encode."""
        return sum(_size(self.meta[path]) for path in self.outlines)

    def run(self, place: Place, verify: bool, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
        """Everything, from whatever an earlier run has left."""
        plan = self._plan(place)
        results: dict[str, list[dict[str, Any]]] = {}
        works: dict[str, Work] = {}
        while missing := [path for path in plan if path not in results]:
            works |= {path: self._work(path, plan[path], place) for path in missing}
            for path, records in self._encode([works[p] for p in missing], place, progress).items():
                again = self._judge(path, plan[path], records)
                if again is None:
                    results[path] = records
                else:
                    plan[path] |= {"configuration": again, "attempt": plan[path]["attempt"] + 1}
            place.put(f"{place.notes}plan.json", json.dumps(plan).encode())
        self._check_there(place, works, results)
        if verify:
            self._verify(place, works, results)
        return self._finish(place, plan, results)

    # Before.

    def _plan(self, place: Place) -> dict[str, dict[str, Any]]:
        """Chunks, shards and configurations: those that an earlier run decided, so that its shards fit in."""
        noted = place.get(f"{place.notes}plan.json")
        if noted is not None:
            plan: dict[str, dict[str, Any]] = json.loads(noted)
            return plan
        known = self._known(place)
        with self._reading():
            plan = _native.plan(self.input.tree, self.input.read, *self.options, 1, known)
        for path, layout in plan.items():
            layout |= {"shard": self.outlines[path]["shard"], "attempt": 1}
        place.put(f"{place.notes}plan.json", json.dumps(plan).encode())
        return plan

    def _known(self, place: Place) -> dict[str, tuple[dict[str, Any] | None, int | None]]:
        """What bounds need to know of whole variables, measured by the workers."""
        tasks, of = [], []
        for path, outline in self.outlines.items():
            if outline["needs_field"] or outline["needs_bits"]:
                call, verb = (count_bits, "count") if outline["needs_bits"] else (measure, "measure")
                made = list(self._calls(call, f"lithify-{verb}", self._work(path, outline, place), outline["needs_bits"]))
                tasks += made
                of += [path] * len(made)
        known: dict[str, tuple[dict[str, Any] | None, int | None]] = {}
        sums: dict[str, list[Any]] = {}
        for path, part in zip(of, run(tasks, self.client, self.retries), strict=True):
            sums.setdefault(path, []).append(part)
        for path, parts in sums.items():
            outline, meta = self.outlines[path], self.meta[path]
            if outline["needs_bits"]:
                counts = [sum(column) for column in zip(*parts, strict=True)]
                known[path] = None, _native.mantissa_bits(counts, len(meta["shape"]), meta["type"])
            else:
                known[path] = _merged([field for part in parts for field in part]), None
        return known

    def _work(self, path: str, layout: dict[str, Any], place: Place) -> Work:
        work = Work(path, self.meta[path], layout, _no_load, place, tokenize(layout["configuration"])[:16])
        return work

    def _calls(
        self, call: Callable[..., Any], name: str, work: Work, border: bool = False, skip: frozenset[Any] = frozenset()
    ) -> Iterator[Any]:
        """A delayed call for each shard, but for those to skip."""
        if 0 in work.shape:
            return
        work.load, blocks = self.input.blocks(work.path, work.cut, border)
        make = delayed(call, traverse=False, pure=False)
        token = tokenize(name, work.configuration, self.key, os.urandom(8))
        for at, block in zip(grid(work.shape, work.cut), blocks, strict=True):
            if at not in skip:
                yield make(block, work, at, dask_key_name=("-".join([name, work.path, token]), *at))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """What the driver reads is computed by the cluster, too."""
        if self.client is None:
            yield
        else:
            with dask.config.set(scheduler=self.client):
                yield

    # Shards.

    def _encode(
        self, works: list[Work], place: Place, progress: Callable[[str, int, int], None]
    ) -> dict[str, list[dict[str, Any]]]:
        """Records of all shards of these variables, in order; those that are noted already are not done again."""
        done: dict[str, dict[Any, dict[str, Any]]] = {}
        tasks, of = [], []
        for work in works:
            done[work.path] = noted = self._noted(place, work)
            for record in noted.values():
                progress(work.path, record["raw_bytes"], record["bytes"])
            made = list(self._calls(encode, "lithify-encode", work, skip=frozenset(noted)))
            tasks += made
            of += [(work.path, at) for at in grid(work.shape, work.cut) if at not in noted] if made else []

        def told(i: int, record: dict[str, Any]) -> None:
            progress(of[i][0], record["raw_bytes"], record["bytes"])

        for (path, at), record in zip(of, run(tasks, self.client, self.retries, told), strict=True):
            done[path][at] = record
        return {work.path: [done[work.path][at] for at in grid(work.shape, work.cut)] for work in works}

    def _noted(self, place: Place, work: Work) -> dict[Any, dict[str, Any]]:
        """Records of shards that are there as they were written."""
        keys = {work.record(at): at for at in grid(work.shape, work.cut)}
        there = [key for key in place.keys(work.records) if key in keys]
        found = {keys[key]: json.loads(value) for key, value in zip(there, place.get_many(there), strict=True) if value}
        sizes = place.sizes([work.key(at) for at in found])
        return {at: record for (at, record), size in zip(found.items(), sizes, strict=True) if size == record["bytes"]}

    def _judge(self, path: str, layout: dict[str, Any], records: list[dict[str, Any]]) -> str | None:
        outline, chunks = self.outlines[path], [c for r in records for c in r["chunks"]]
        try:
            again = _native.judge(outline["bound"], layout["configuration"], outline["dtype"], chunks, layout["attempt"])
        except _native.BoundError as error:
            raise _native.BoundError(f"{path}: {error}") from None
        if again is not None and json.loads(again)["resolved"].get("lossless"):
            codec = json.loads(layout["configuration"])["codec"]
            warnings.warn(f"{path}: {codec} does not reach {outline['bound']}; kept lossless", RuntimeWarning, stacklevel=4)
        return again

    # After.

    def _check_there(self, place: Place, works: dict[str, Work], results: dict[str, list[dict[str, Any]]]) -> None:
        """Workers may have another disk under the same path."""
        for path, records in results.items():
            work = works[path]
            at = list(grid(work.shape, work.cut))
            for i, size in enumerate(place.sizes([work.key(a) for a in at])):
                if size != records[i]["bytes"]:
                    what = f"the shard of {path} at {at[i]}, written by a worker, is not there for this process"
                    raise FileNotFoundError(f"{what}: the store must be where all see it")

    def _verify(self, place: Place, works: dict[str, Work], results: dict[str, list[dict[str, Any]]]) -> None:
        make = delayed(check, traverse=False, pure=False)
        tasks, of = [], []
        for path, records in results.items():
            work = works[path]
            work.load = _no_load
            token = tokenize(path, os.urandom(8))
            for at, record in zip(grid(work.shape, work.cut), records, strict=True):
                tasks.append(make(work, at, record, dask_key_name=(f"lithify-verify-{path}-{token}", *at)))
                of.append((work, at))
        bad = []
        for (work, at), problem in zip(of, run(tasks, self.client, self.retries), strict=True):
            if problem is not None:
                place.delete(work.record(at))
                bad.append(f"{work.path} at {at}: {problem}")
        if bad:
            fix = "these shards are done again when the same call is repeated"
            raise _native.CorruptError(f"what was written cannot be read back ({'; '.join(bad[:5])}); {fix}")

    def _finish(self, place: Place, plan: dict[str, dict[str, Any]], results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        encoded = {
            path: {
                "chunk": plan[path]["chunk"],
                "shard": plan[path]["shard"],
                "configuration": plan[path]["configuration"],
                "chunks": [chunk for record in records for chunk in record["chunks"]],
                "stored_bytes": sum(record["bytes"] for record in records),
                "n_encodes": plan[path]["attempt"],
                "seconds": sum(record["seconds"] for record in records),
            }
            for path, records in results.items()
        }
        skeleton = place.skeleton_at()
        with self._reading():
            text = _native.skeleton(self.input.tree, self.input.read, skeleton, *self.options, encoded, self.input.previous)
        report: dict[str, Any] = json.loads(text)
        return report | {"output": place.finish(skeleton)}


def _no_load(block: Any) -> Any:
    raise RuntimeError("this task reads no data")


def _metas(group: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for v in group["variables"]:
        yield prefix + v["name"], {k: v[k] for k in ("type", "shape", "dims")}
    for g in group["groups"]:
        yield from _metas(g, f"{prefix}{g['name']}/")


def _size(meta: dict[str, Any]) -> int:
    return int(math.prod(meta["shape"]) * np.dtype(meta["type"]).itemsize)


def _merged(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of the whole, by the same sums in the same order as everywhere."""
    out = {"n": 0, "n_valid": 0, "min": float("inf"), "max": float("-inf"), "sum_sq": 0.0}
    for f in fields:
        out = {
            "n": out["n"] + f["n"],
            "n_valid": out["n_valid"] + f["n_valid"],
            "min": min(out["min"], f["min"]),
            "max": max(out["max"], f["max"]),
            "sum_sq": out["sum_sq"] + f["sum_sq"],
        }
    return out
