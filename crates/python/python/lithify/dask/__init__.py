"""Compression by a Dask cluster: the store that ``lithify compress`` makes, made by many machines.

``lithify.dask.compress(ds, "out.zarr", bound="abs=0.01")`` takes a dask-backed dataset, or the path of a file that every worker can open.
``python -m lithify.dask`` (and ``lithify compress --dask tcp://host:8786``) does the same for a file from the command line.
"""

from __future__ import annotations

from ._compress import compress

__all__ = ["compress"]
