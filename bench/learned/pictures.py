"""Held-out rasters as arrays [band, row, column]."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def read(path):
    if path.suffix == ".npy":
        x = np.load(path)
    elif path.suffix in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as f:
            series = f.series[0]
            x = series.asarray()
            x = np.moveaxis(x, -1, 0) if series.axes.endswith("S") and x.ndim == 3 else x
    else:
        x = np.asarray(Image.open(path))
        x = np.moveaxis(x, -1, 0) if x.ndim == 3 else x
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3:
        raise SystemExit(f"{path}: [band, row, column] is wanted, not {x.shape}")
    return np.ascontiguousarray(x)


def load(paths, limit=0, crop=0):
    """Arrays of one type and number of bands. `limit` takes that many, evenly spread; `crop` their middles."""
    paths = sorted(Path(p) for p in paths)
    if limit and len(paths) > limit:
        paths = [paths[i * len(paths) // limit] for i in range(limit)]
    out = []
    for path in paths:
        x = read(path)
        if crop:
            at = [max(0, (n - crop) // 2) for n in x.shape[1:]]
            x = np.ascontiguousarray(x[:, at[0] : at[0] + crop, at[1] : at[1] + crop])
        if not np.isfinite(x).all():
            raise SystemExit(f"{path}: samples are missing, which the others cannot code")
        out.append(x)
    if len({(len(x), x.dtype) for x in out}) != 1:
        raise SystemExit("the rasters of a set must have the same bands and type")
    return [p.name for p in paths], out


def as_stored(x, like):
    """Decoded numbers in the type of the file: what a reader would do with them."""
    if like.dtype.kind not in "iu":
        return x.astype(like.dtype)
    info = np.iinfo(like.dtype)
    return np.clip(np.rint(x), info.min, info.max).astype(like.dtype)
