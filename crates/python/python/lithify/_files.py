"""Files and stores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._bounds import Bounds, checked_effort, chunk_rules, rules

Path = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]
"""Called after each chunk: variable, uncompressed bytes, compressed bytes since the last call."""


def compress_file(
    input: Path,
    output: Path,
    bound: Bounds = None,
    *,
    codec: str = "auto",
    effort: int = 5,
    chunks: Mapping[str, int] | None = None,
    variables: list[str] | None = None,
    force: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compress a NetCDF, GRIB, Zarr, GeoTIFF or .npy file to a ``.zarr`` directory or a ``.zarr.zip`` file, as ``lithify compress`` does.

    Returns what ``--json`` prints: for each variable its bound, the errors achieved, bytes, ratio. `threads` of 0 is one per core; the
    output does not depend on it.
    """
    cut, only = chunk_rules(chunks), variables or []
    effort = checked_effort(effort)
    text = _native.compress_file(input, output, rules(bound), codec, effort, cut, only, force, threads, progress)
    report: dict[str, Any] = json.loads(text)
    return report


def decompress_file(
    input: Path,
    output: Path,
    *,
    lineage: bool = False,
    force: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> str:
    """Write a store back as ``.nc``, ``.tif``, ``.npy`` or plain ``.zarr``; the output's path."""
    return os.fspath(_native.decompress_file(input, output, force, lineage, threads, progress))


def verify(
    store: Path, against: Path | None = None, *, check: bool = True, threads: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Check a store: checksums and lineage, and every value if the original is given.

    Raises
    ------
    BoundError
        If anything is wrong, unless `check` is False; then the report says so: ``{"ok": False, "variables": [{"problems": [..]}]}``.
    """
    report: dict[str, Any] = json.loads(_native.verify_store(store, against, threads, progress))
    if check and not report["ok"]:
        bad = "; ".join(f"{v['name']}: {', '.join(v['problems'])}" for v in report["variables"] if v["problems"])
        raise _native.BoundError(f"{os.fspath(store)}: {bad}")
    return report


def info(source: Path | bytes | bytearray | memoryview) -> dict[str, Any]:
    """What a file, a store or a payload holds, and what is promised.

    A payload gives ``dtype, shape, codec, decoded_crc32c``; a file gives ``format`` and, for each variable, ``dtype, dims, shape, attrs``
    and, where lithify wrote it, ``certificate``, ``chunk``, ``shard``, ``stored_bytes``.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return dict(_native.header(source))
    store = open_store(source)
    variables = {}
    for name, v in store.items():
        variables[name] = {
            "dtype": v.type,
            "dims": list(v.dims),
            "shape": list(v.shape),
            "attrs": v.attrs,
            "certificate": v.certificate,
            "chunk": v.chunk,
            "shard": v.shard,
            "stored_bytes": v.stored_bytes,
        }
    return {"format": store.format, "attrs": store.attrs, "variables": variables}


def open_store(path: Path) -> Store:
    """Open a store, or any file that lithify reads (NetCDF-3/4, GRIB1/2, Zarr v2/v3, GeoTIFF, JPEG, PNG, .npy). Data are read when they are asked for."""
    return Store(path)


class Store(Mapping[str, "StoredVariable"]):
    """An open file: variables by path (``group/sub/name``)."""

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        self.native = _native.Source(path)
        self.tree = self.native.tree()
        self.attrs = attributes(self.tree["attrs"])
        self._variables: dict[str, StoredVariable] = {}
        self._walk(self.tree, "")

    def _walk(self, group: dict[str, Any], prefix: str) -> None:
        for v in group["variables"]:
            self._variables[prefix + v["name"]] = StoredVariable(self, prefix + v["name"], v)
        for g in group["groups"]:
            self._walk(g, f"{prefix}{g['name']}/")

    def close(self) -> None:
        """Nothing stays open between reads; here for those who close what they open."""

    @property
    def format(self) -> str:
        """``Zarr v3``, ``NetCDF-4``, ``GRIB2``, ..."""
        return self.native.format

    @property
    def warnings(self) -> list[str]:
        """What the file holds that cannot be had."""
        return self.native.warnings

    @property
    def bytes_read(self) -> int | None:
        """Bytes fetched from a Zarr store since it was opened, metadata included."""
        return self.native.bytes_read

    def __getitem__(self, name: str) -> StoredVariable:
        if name not in self._variables:
            raise KeyError(f"{name!r}; there are {', '.join(self._variables)}")
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        lines = [f"  {name} {v.type}{list(v.dims)}{list(v.shape)}" for name, v in self.items()]
        return "\n".join([f"<lithify.Store {self.path} ({self.format})>", *lines])


class StoredVariable:
    """A variable of an open file. Indexing reads: ``v[0, 10:20]``; values are as stored, CF packing is not undone."""

    def __init__(self, store: Store, path: str, meta: dict[str, Any]) -> None:
        self._store = store
        self.path = path
        self.dims: tuple[str, ...] = tuple(meta["dims"])
        self.shape: tuple[int, ...] = tuple(meta["shape"])
        self.type: str = meta["type"]
        self.attrs = attributes(meta["attrs"])
        #: How the file chunks it, if it does.
        self.chunks: tuple[int, ...] | None = None if meta["chunks"] is None else tuple(meta["chunks"])
        text = store.native.certificate(path)
        #: What was promised and achieved, where lithify wrote it.
        self.certificate: dict[str, Any] | None = None if text is None else json.loads(text)
        layout = store.native.layout(path)
        #: Shapes of what one payload and one shard hold, and the Zarr codec's configuration; None for other codecs.
        self.chunk: list[int] | None = layout[0] if layout else None
        self.shard: list[int] | None = layout[1] if layout else None
        self.configuration: dict[str, Any] | None = json.loads(layout[2]) if layout else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """``S1`` for NC_CHAR, ``object`` for strings."""
        return np.dtype({"char": "S1", "string": "O"}.get(self.type, self.type))

    @property
    def stored_bytes(self) -> int | None:
        """Bytes of its chunks in a Zarr store."""
        return self._store.native.bytes_stored(self.path)

    def read(self, start: list[int], count: list[int]) -> NDArray[Any]:
        """The block ``[start, start + count)``, in C order."""
        block: Any = self._store.native.read(self.path, start, count)
        if self.type == "char":
            return np.frombuffer(block, dtype="S1").reshape(count)
        if self.type == "string":
            out = np.empty(len(block), dtype=object)
            out[:] = block
            return out.reshape(count)
        numbers: NDArray[Any] = block
        return numbers

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = key[:at] + (slice(None),) * (len(self.shape) - len(key) + 1) + key[at + 1 :]
        if len(key) > len(self.shape):
            raise IndexError(f"{self.path} has {len(self.shape)} dimensions")
        key = key + (slice(None),) * (len(self.shape) - len(key))
        start: list[int] = []
        count: list[int] = []
        after: list[Any] = []
        for k, n in zip(key, self.shape, strict=True):
            if isinstance(k, slice):
                r = range(n)[k]
                low = min(r[0], r[-1]) if r else 0
                start.append(low)
                count.append(abs(r[-1] - r[0]) + 1 if r else 0)
                after.append(slice(None, None, r.step))
            elif hasattr(k, "__index__"):
                i = k.__index__()
                if not -n <= i < n:
                    raise IndexError(f"index {i} lies outside a dimension of length {n} of {self.path}")
                start.append(i % n)
                count.append(1)
                after.append(0)
            else:
                raise IndexError("indices are integers, slices and one ellipsis; load first for others")
        part: NDArray[Any] = self.read(start, count)[tuple(after)]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    def __repr__(self) -> str:
        bound = f", {self.certificate['bound']}" if self.certificate else ""
        return f"<lithify.StoredVariable {self.path} {self.type}{list(self.dims)}{list(self.shape)}{bound}>"


def attributes(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as netCDF4 gives them: numbers of length 1 are scalars."""
    return {k: v[0] if isinstance(v, np.ndarray) and v.size == 1 else v for k, v in attrs.items()}
