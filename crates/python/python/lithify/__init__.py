"""Earth data turned to stone: arrays made far smaller, with a promise about the error that is checked value by value.

>>> import numpy as np, lithify
>>> t = (280 + 10 * np.sin(np.arange(10000) / 300)).astype("float32").reshape(100, 100)
>>> payload = lithify.compress(t, bound="abs=0.01")
>>> back = lithify.decompress(payload)
>>> bool(abs(back - t).max() <= 0.01), t.nbytes // len(payload) > 10
(True, True)

Arrays in memory: `compress`, `decompress`, `compare`. Files: `compress_file`, `decompress_file`, `verify`, `info`, `open_store`.
xarray: `to_zarr`, `append`, `encoding`, `xr.open_dataset(path, engine="lithify")`. Zarr, numcodecs, HDF5, Dask: `lithify.zarr`,
`lithify.numcodecs`, `lithify.hdf5`, `lithify.dask`.

A bound is what the command line takes: ``"abs=0.05"``, ``"rel=1e-3"``, ``"range=1e-4"``, ``"l2=1e-3"``, ``"psnr=60"``, ``"bits=auto"``,
``"lossless"``, several joined by commas. Without one every bit is kept.
"""

from __future__ import annotations

from ._arrays import compare, compress, decompress
from ._files import Store, StoredVariable, compress_file, decompress_file, info, open_store, verify
from ._native import BoundError, CorruptError, __version__

__all__ = [
    "BoundError",
    "CorruptError",
    "Store",
    "StoredVariable",
    "__version__",
    "append",
    "compare",
    "compress",
    "compress_file",
    "decompress",
    "decompress_file",
    "encoding",
    "info",
    "open_store",
    "to_zarr",
    "verify",
]


def __getattr__(name: str) -> object:
    # xarray takes a second to import; only who needs it pays.
    if name in ("append", "encoding", "to_zarr"):
        from . import xarray

        return getattr(xarray, name)
    raise AttributeError(f"module 'lithify' has no attribute {name!r}")
