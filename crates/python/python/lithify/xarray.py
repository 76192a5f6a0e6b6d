"""xarray: datasets to stores and back.

``xr.open_dataset(path, engine="lithify")`` reads whatever lithify reads, lazily: stores (directory, ``.zarr.zip``), NetCDF, GRIB, GeoTIFF, .npy, also at
``s3://``, ``gs://``, ``az://``, ``https://``. Zarr stores that are objects (fsspec, obstore) and other URLs go to xarray's own Zarr engine, which decodes
with `lithify.zarr`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint, CachingFileManager, ZarrBackendEntrypoint
from xarray.backends.common import AbstractDataStore, ensure_dtype_not_object
from xarray.backends.store import StoreBackendEntrypoint
from xarray.core import indexing
from xarray.core.utils import close_on_error

from . import _native
from ._arrays import native
from ._bounds import Bounds, checked_effort, chunk_rules, rules
from ._files import Progress, Store, StoredVariable, open_store


def to_zarr(
    ds: xr.Dataset,
    store: str | os.PathLike[str],
    bound: Bounds = None,
    *,
    codec: str = "auto",
    effort: int = 5,
    chunks: Mapping[str, int] | None = None,
    force: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset to a new store, the same as ``lithify compress`` makes of the same content: certificate, lineage and all.

    The data are read block by block, twice where a bound needs to know the whole variable; dask-backed variables are computed
    block by block in this process (`lithify.dask.compress` has the cluster do it).

    Parameters
    ----------
    ds
        Coordinates, bounds and flags are kept exactly; encodings (packing, units of time) are used as xarray would.
    store
        A path that ends in ``.zarr`` or ``.zarr.zip``. It appears whole or not at all.
    bound
        See `lithify`.
    chunks
        Chunk lengths by dimension, over the automatic ones.
    force
        Replace a store that exists.

    Returns
    -------
    What ``lithify compress --json`` prints.
    """
    effort, cut = checked_effort(effort), chunk_rules(chunks)
    tree, read = as_tree(ds)
    report: dict[str, Any] = json.loads(
        _native.compress(tree, read, store, rules(bound), codec, effort, cut, [], force, threads, progress)
    )
    return report


def append(
    data: xr.Dataset | str | os.PathLike[str],
    store: str | os.PathLike[str],
    dim: str = "time",
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Append a dataset or a file to a store along a dimension, as ``lithify append`` does.

    The store is the old one or the grown one at any moment, whatever happens to this process; what is in it stays as it is, bit for
    bit, and every promise holds for old and new together. A dataset is encoded as the store is: packing, fill values, units of time.

    Parameters
    ----------
    data
        Holds every variable of the store that has `dim`. Other coordinates must be equal; that of `dim` must go on in one direction.
    store
        A local store that lithify wrote.

    Raises
    ------
    ValueError
        If the data do not go on where the store ends; the message says what differs.
    BlockingIOError
        If somebody else is appending.
    """
    if not isinstance(data, str | os.PathLike):
        check_dataset(data)
        existing = open_store(store)
        tree, read = as_tree(_encoded_like(data, existing))
        for v in tree["variables"]:
            units = existing[v["name"]].attrs.get("units") if v["name"] in existing else None
            # xarray writes "since 2001-01-01" where it was told "since 2001-01-01 00:00:00".
            if isinstance(units, str) and units.removesuffix(MIDNIGHT) == v["attrs"].get("units"):
                v["attrs"]["units"] = units
        text = _native.append(tree, read, store, dim, threads, progress)
    else:
        text = _native.append_file(data, store, dim, threads, progress)
    report: dict[str, Any] = json.loads(text)
    return report


MIDNIGHT = " 00:00:00"


def _encoded_like(ds: xr.Dataset, store: Store) -> xr.Dataset:
    """The dataset with the encodings of the store's variables."""
    ds = ds.copy()
    for name, stored in store.items():
        if name not in ds.variables:
            continue
        v = ds.variables[name]
        encoding = {k: x for k, x in stored.attrs.items() if k in CF}
        if stored.type not in ("char", "string"):
            encoding["dtype"] = stored.dtype
        if (v.dtype.kind in "mM" or v.dtype == object) and "units" in stored.attrs:
            encoding |= {k: stored.attrs[k] for k in ("units", "calendar") if k in stored.attrs}
        if v.dtype.kind == "f" and "_FillValue" not in encoding:
            # Without a word xarray would add one.
            encoding["_FillValue"] = None
        ds.variables[name].encoding = encoding
    return ds


def encoding(
    ds: xr.Dataset,
    bound: Bounds = None,
    *,
    codec: str = "auto",
    effort: int = 5,
    chunks: Mapping[str, int] | None = None,
    threads: int = 0,
) -> dict[str, dict[str, Any]]:
    """The ``encoding=`` for ``ds.to_zarr(store, encoding=..., zarr_format=3)`` that stores data variables with lithify.

    Coordinates and the like are not in it: they stay with xarray's default. Bounds that need to know the whole variable (``range``,
    ``bits=auto``) read it; ``l2`` becomes ``l2-block``, which holds for each chunk and so for the whole; ``psnr``, ``ratio`` and ``bytes`` can
    only be kept by who measures the whole: use `to_zarr` of this module.

    Variables in dask chunks get these as their Zarr chunks. No certificate is written: `to_zarr` of this module does that.
    """
    asked, effort = [_per_chunk(rule) for rule in rules(bound)], checked_effort(effort)
    tree, read = as_tree(ds)
    plan = _native.plan(tree, read, asked, codec, effort, chunk_rules(chunks), [], threads)
    out = {}
    for name, layout in plan.items():
        chunk, shard = tuple(layout["chunk"]), layout["shard"] and tuple(layout["shard"])
        cut = ds[name].chunks
        if cut is not None and not chunks:
            chunk, shard = tuple(c[0] for c in cut), None
        # A name and a configuration, not an object of ours: an encoding is copied, compared and written by others.
        serializer = {"name": "lithify", "configuration": json.loads(layout["configuration"])}
        codecs = {"chunks": chunk, "shards": shard, "filters": (), "compressors": (), "serializer": serializer}
        # xarray takes an encoding instead of the variable's own, not on top of it: packing would be lost, and with it what the bound means.
        out[name] = {k: v for k, v in ds[name].encoding.items() if k in CF} | codecs
    return out


#: Encodings that say what stored values mean.
CF = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")


def _per_chunk(rule: str) -> str:
    """A rule that single chunks can keep."""
    head, _, promise = rule.rpartition(":")
    kept = []
    for part in promise.split(","):
        name, _, value = part.strip().partition("=")
        if name in ("psnr", "ratio", "bytes"):
            raise ValueError(f"{part.strip()} is a matter of the whole variable; use lithify.to_zarr(ds, store, bound=...)")
        kept.append(f"l2-block={value}" if name == "l2" else part.strip())
    return f"{head}:{','.join(kept)}" if head else ",".join(kept)


def as_tree(ds: xr.Dataset) -> tuple[dict[str, Any], Any]:
    """A dataset as the native half sees files: a tree of names, and a function that reads blocks of encoded values."""
    tree, encoders = tree_of(ds)
    return tree, lambda path, start, count: encoders[path].read(start, count)


def check_dataset(ds: Any) -> None:
    """A dataset, or an error that says how to come by one."""
    if isinstance(ds, xr.DataArray):
        raise TypeError("a DataArray is stored as a variable of a dataset: give array.to_dataset(name=...)")
    if isinstance(ds, xr.DataTree):
        raise TypeError("a DataTree is stored group by group: give node.to_dataset() for each, and a store for each")
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"an xarray.Dataset is needed, not {type(ds).__name__}")


def tree_of(ds: xr.Dataset) -> tuple[dict[str, Any], dict[str, _Encoder]]:
    """A dataset as a tree of names, and its variables."""
    check_dataset(ds)
    variables, attrs = xr.conventions.encode_dataset_coordinates(ds)
    encoders = {str(name): _Encoder(str(name), v) for name, v in variables.items()}
    unlimited = set(ds.encoding.get("unlimited_dims", ()))
    tree = {
        "name": "",
        "dims": [(str(d), n, d in unlimited) for d, n in ds.sizes.items()],
        "attrs": _attrs_in(attrs),
        "variables": [e.meta() for e in encoders.values()],
        "groups": [],
        "classic": False,
    }
    return tree, encoders


class _Encoder:
    """One variable, encoded block by block where that is possible."""

    def __init__(self, name: str, v: xr.Variable) -> None:
        self.name = name
        self.v = v
        if v.dtype.kind in "iuf" or v.dtype == bool:
            # Numbers are encoded alike wherever they stand; a first one says how.
            self.like = self._encoded(v.isel({d: slice(0, 1) for d in v.dims}))
        else:
            # Units of time are chosen by the whole variable; so is the type of objects: text, or numbers with gaps.
            v = ensure_dtype_not_object(self._encoded(v).load(), name)
            self.v = self.like = self._encoded(v) if v.dtype == bool else v

    def _encoded(self, v: xr.Variable) -> xr.Variable:
        return xr.conventions.encode_cf_variable(v, name=self.name)

    def meta(self) -> dict[str, Any]:
        dtype = self.like.dtype
        if dtype.kind in "OUST":
            kind = "string"
        elif dtype.kind in "iuf" and dtype.itemsize <= 8 and dtype != np.float16:
            kind = dtype.newbyteorder("=").name
        else:
            raise TypeError(f"variable {self.name!r} of dtype {dtype} cannot be stored; convert it first")
        chunks = self.v.encoding.get("chunksizes") or (self.v.chunks and [c[0] for c in self.v.chunks])
        return {
            "name": self.name,
            "dims": [str(d) for d in self.v.dims],
            "shape": list(self.v.shape),
            "type": kind,
            "attrs": _attrs_in(self.like.attrs),
            "chunks": list(chunks) if chunks and len(chunks) == self.v.ndim else None,
        }

    def read(self, start: tuple[int, ...], count: tuple[int, ...]) -> Any:
        key = tuple(slice(s, s + n) for s, n in zip(start, count, strict=True))
        part = self.v[key]
        values = np.asarray((part if self.v is self.like else self._encoded(part)).values)
        if values.dtype.kind in "OUST":
            return [x.decode() if isinstance(x, bytes) else x if isinstance(x, str) else "" for x in values.ravel()]
        return native(values)


def _attrs_in(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as the native half takes them: strings, lists of strings, arrays of numbers."""
    out: dict[str, Any] = {}
    for k, v in attrs.items():
        if isinstance(v, bytes):
            v = v.decode()
        if isinstance(v, str):
            out[str(k)] = v
        elif isinstance(v, dict) or v is None:
            out[str(k)] = json.dumps(v)
        elif isinstance(v, Iterable) and not isinstance(v, np.ndarray) and all(isinstance(x, str) for x in v):
            out[str(k)] = list(v)
        else:
            a = np.atleast_1d(np.asarray(v))
            a = a.astype("u1") if a.dtype == bool else a
            if a.dtype.kind in "US":
                out[str(k)] = [str(x) for x in a.ravel()]
            elif a.dtype.kind in "iuf" and a.ndim == 1 and a.dtype != np.float16:
                out[str(k)] = native(a)
            else:
                raise TypeError(f"attribute {k!r} of dtype {a.dtype} and shape {a.shape} cannot be stored; convert it first")
    return out


class LithifyBackend(BackendEntrypoint):
    """The engine ``lithify``."""

    description = "Open what lithify reads: Zarr stores of codec lithify, NetCDF, GRIB, GeoTIFF, .npy"
    url = ""
    open_dataset_parameters = (
        "filename_or_obj",
        "mask_and_scale",
        "decode_times",
        "concat_characters",
        "decode_coords",
        "drop_variables",
        "use_cftime",
        "decode_timedelta",
        "group",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: Any = None,
        use_cftime: Any = None,
        decode_timedelta: Any = None,
        group: str | None = None,
    ) -> xr.Dataset:
        decode = {
            "mask_and_scale": mask_and_scale,
            "decode_times": decode_times,
            "concat_characters": concat_characters,
            "decode_coords": decode_coords,
            "drop_variables": drop_variables,
            "use_cftime": use_cftime,
            "decode_timedelta": decode_timedelta,
        }
        if not is_path(filename_or_obj):
            engine = ZarrBackendEntrypoint()
            return engine.open_dataset(filename_or_obj, group=group, consolidated=False, **decode)
        store = LithifyDataStore(os.fspath(filename_or_obj), group)
        with close_on_error(store):
            for warning in store.store.warnings:
                warnings.warn(warning, stacklevel=3)
            return StoreBackendEntrypoint().open_dataset(store, **decode)

    def open_datatree(self, filename_or_obj: Any, **kwargs: Any) -> xr.DataTree:
        raise NotImplementedError('engine "lithify" opens one group at a time: give xr.open_dataset(path, engine="lithify", group="...")')

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        return is_path(filename_or_obj) and os.fspath(filename_or_obj).rstrip("/").endswith(".zarr.zip")


#: URLs that the native half knows; others are fsspec's.
SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "http", "https")


def is_path(where: Any) -> bool:
    """Whether the native half can open it."""
    if not isinstance(where, str | os.PathLike):
        return False
    scheme, colon, _ = os.fspath(where).partition("://")
    return not colon or scheme in SCHEMES


def _open(path: str, mode: str) -> Store:
    # With a mode that is given: the manager does not know one that was left out again in another process.
    return open_store(path)


class LithifyDataStore(AbstractDataStore):
    """An open file as xarray's backends see it."""

    def __init__(self, path: str, group: str | None) -> None:
        self._manager = CachingFileManager(_open, path if "://" in path else os.path.abspath(path), mode="r", lock=False)
        self._prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
        self._group = self._find(self.store.tree, self._prefix)

    @property
    def store(self) -> Store:
        return self._manager.acquire()

    def _find(self, tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        for name in prefix.split("/")[:-1]:
            below = {g["name"]: g for g in tree["groups"]}
            if name not in below:
                raise KeyError(f"there is no group {name!r}; there are {', '.join(below) or 'none'}")
            tree = below[name]
        return tree

    def get_dimensions(self) -> dict[str, int]:
        return {name: n for name, n, _ in self._group["dims"]}

    def get_encoding(self) -> dict[str, Any]:
        return {"unlimited_dims": {name for name, _, unlimited in self._group["dims"] if unlimited}}

    def get_attrs(self) -> dict[str, Any]:
        from ._files import attributes

        return attributes(self._group["attrs"])

    def get_variables(self) -> dict[str, xr.Variable]:
        out = {}
        for v in self._group["variables"]:
            stored = self.store[self._prefix + v["name"]]
            data = indexing.LazilyIndexedArray(LithifyArray(self._manager, stored))
            # Only what says how to read in parts: how it was compressed must not leak into the next file.
            chunk = stored.chunk or stored.chunks
            encoding = {"preferred_chunks": dict(zip(stored.dims, chunk, strict=True))} if chunk else {}
            attrs = {k: x for k, x in stored.attrs.items() if k != "lithify"}
            out[v["name"]] = xr.Variable(stored.dims, data, attrs, encoding)
        return out

    def close(self, **kwargs: Any) -> None:
        self._manager.close(**kwargs)


class LithifyArray(BackendArray):
    """A variable that is read when it is indexed; another process opens the file anew."""

    def __init__(self, manager: CachingFileManager[Store], stored: StoredVariable) -> None:
        self.manager = manager
        self.path = stored.path
        self.shape = stored.shape
        self.dtype = stored.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        store: Store = self.manager.acquire()
        return store[self.path][key]
