"""What is compressed: a dask-backed dataset, or a file that every worker opens by itself. Both come as blocks that tasks load."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _native
from .._arrays import native

Index = tuple[int, ...]


class Input(Protocol):
    """Names and attributes (see `_native`), blocks for tasks, and reading for the driver."""

    tree: dict[str, Any]
    #: The same for the same data, as far as can be known without reading them.
    token: Any
    #: Certificates of an earlier compression, JSON by variable.
    previous: dict[str, str]

    def read(self, path: str, start: Index, count: Index) -> Any: ...

    def blocks(self, path: str, cut: Index, border: bool) -> tuple[Callable[[Any], NDArray[Any]], Iterator[Any]]:
        """All blocks of this shape in C order, each with the samples one before it if it needs a border, as arguments of tasks; and the
        function that makes an array of one there."""


class FileInput:
    """A file. Tasks read their block of it: nothing goes through the driver."""

    def __init__(self, path: str) -> None:
        self.path = path if "://" in path else os.path.abspath(path)
        source = _open(self.path)
        self.tree = source.tree()
        self.read = source.read
        self.variables = dict(_walk(self.tree, ""))
        self.previous = {name: text for name in self.variables if (text := source.certificate(name)) is not None}
        meta = os.stat(self.path) if os.path.exists(self.path) else None
        self.token = (self.path, meta and (meta.st_mtime_ns, meta.st_size), str(self.tree))

    def blocks(self, path: str, cut: Index, border: bool) -> tuple[Callable[[Any], NDArray[Any]], Iterator[Any]]:
        shape = self.variables[path]["shape"]

        def regions() -> Iterator[tuple[str, str, Index, Index]]:
            for at in grid(shape, cut):
                low = tuple(max(i * c - border, 0) for i, c in zip(at, cut, strict=True))
                high = tuple(min((i + 1) * c, n) for i, c, n in zip(at, cut, shape, strict=True))
                yield self.path, path, low, tuple(h - s for s, h in zip(low, high, strict=True))

        return _read, regions()


def _walk(group: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for v in group["variables"]:
        yield prefix + v["name"], v
    for g in group["groups"]:
        yield from _walk(g, f"{prefix}{g['name']}/")


def _read(region: tuple[str, str, Index, Index]) -> NDArray[Any]:
    path, name, start, count = region
    array: NDArray[Any] = _open(path).read(name, start, count)
    return array


def _open(path: str) -> _native.Source:
    """An open file; opened once in a process, unless it changed."""
    try:
        version = os.stat(path).st_mtime_ns
    except OSError:
        version = 0
    return _opened(path, version)


@functools.lru_cache(maxsize=16)
def _opened(path: str, version: int) -> _native.Source:
    return _native.Source(path)


class DatasetInput:
    """An xarray dataset. Its variables are cut with dask; each block is encoded as xarray would, where it is compressed."""

    def __init__(self, ds: Any) -> None:
        from dask.base import tokenize

        from ..xarray import tree_of

        self.tree, self._encoders = tree_of(ds)
        self.previous: dict[str, str] = {}
        # A dataset's token says nothing of encodings; what they come to is in the tree.
        self.token = tokenize(ds, self.tree)

    def read(self, path: str, start: Index, count: Index) -> Any:
        return self._encoders[path].read(start, count)

    def blocks(self, path: str, cut: Index, border: bool) -> tuple[Callable[[Any], NDArray[Any]], Iterator[Any]]:
        encoder = self._encoders[path]
        v = encoder.v
        chunked = v if v.chunks is not None else v.chunk(dict(zip(v.dims, cut, strict=True)))
        # Tasks that can be done anew anywhere; the other way (p2p) starts all over when a worker is lost.
        data = chunked.data.rechunk(cut, method="tasks")
        if border:
            from dask.array.overlap import overlap

            data = overlap(data, depth={d: (1, 0) for d in range(data.ndim)}, boundary="none")
        load = _Encode(path, v, is_encoded=encoder.v is encoder.like)
        return load, iter(data.to_delayed().ravel())


class _Encode:
    """Blocks of a variable to what is stored of them: packing, fill values."""

    def __init__(self, name: str, v: Any, is_encoded: bool) -> None:
        self.name = name
        self.dims, self.attrs, self.encoding = v.dims, v.attrs, v.encoding
        self.is_encoded = is_encoded

    def __call__(self, block: Any) -> NDArray[Any]:
        if self.is_encoded:
            return native(block)
        import xarray as xr

        v = xr.Variable(self.dims, block, self.attrs, self.encoding)
        return native(np.asarray(xr.conventions.encode_cf_variable(v, name=self.name).values))


def grid(shape: Any, cut: Index) -> Iterator[Index]:
    """Indices of the blocks of an array, in C order."""
    return np.ndindex(*(-(-n // c) for n, c in zip(shape, cut, strict=True)))
