"""Arrays in memory."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._bounds import checked_effort


def native(array: ArrayLike) -> NDArray[Any]:
    """The array in C order and this machine's byte order, aligned; a copy only where it has to be."""
    a = np.asarray(array)
    if not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    # Arrays that came over a network may lie at odd addresses.
    return a if a.flags.c_contiguous and a.flags.aligned else np.array(a, order="C")


def pattern(value: Any, dtype: np.dtype[Any]) -> int:
    """Bits of a value as the dtype holds it, as an unsigned number."""
    one = np.asarray(value, dtype=dtype)
    if one.ndim or (dtype.kind != "f" and one != value):
        raise ValueError(f"the fill value {value!r} is no single {dtype}")
    return int.from_bytes(one.astype(one.dtype.newbyteorder("<")).tobytes(), "little")


def compress(
    array: ArrayLike,
    bound: str = "lossless",
    *,
    fill_value: Any = None,
    mask: ArrayLike | None = None,
    codec: str = "auto",
    effort: int = 5,
    scale: float = 1.0,
    offset: float = 0.0,
) -> bytes:
    """Compress an array to one self-describing payload.

    Parameters
    ----------
    array
        Up to 8 dimensions, any integer or float dtype of 1 to 8 bytes but float16; a masked array brings its mask.
    bound
        What must hold for every valid value x and what becomes of it, x': ``abs=e``: \\|x - x'\\| <= e; ``rel=e``: <= e \\|x\\|;
        ``range=e``: <= e (max - min); ``l2=e``: relative Frobenius norm; ``psnr=d`` in dB; ``bits=k``; ``lossless``; joined by commas.
        `e` is in the units of ``scale * array + offset``.
    fill_value
        A value that marks missing samples. NaN and infinities always do; they come back bit for bit.
    mask
        True where a sample is missing, of the array's shape. These come back as `fill_value` (NaN for floats if there is none).
    codec, effort
        As in ``lithify compress --codec --effort``; effort is 1 (fast) to 9 (small).
    scale, offset
        CF packing of integers.

    Raises
    ------
    TypeError
        For a dtype that cannot be compressed.
    ValueError
        For a bound, codec or fill value that makes no sense.
    """
    a = array if isinstance(array, np.ndarray) else np.asarray(array)
    if isinstance(a, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(a) if mask is None else mask
        a = a.data
    if mask is not None:
        if fill_value is None:
            if a.dtype.kind != "f":
                raise ValueError("integers need a fill_value to put where mask is True")
            fill_value = np.nan
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != a.shape:
            raise ValueError(f"the mask has shape {mask.shape}, the array {a.shape}: give one of the array's shape (np.broadcast_to makes it)")
        a = np.where(mask, np.asarray(fill_value, a.dtype), a)
    a = native(a)
    missing = [] if fill_value is None else [pattern(fill_value, a.dtype)]
    return _native.pack(a, bound, codec, checked_effort(effort), float(scale), float(offset), missing)[0]


def decompress(payload: Any, region: slice | tuple[slice, ...] | None = None) -> NDArray[Any]:
    """The array in a payload, or a region of it.

    Parameters
    ----------
    payload
        Bytes that `compress` made, or a chunk of a Zarr array of codec ``lithify``.
    region
        A slice for each dimension, without steps.

    Raises
    ------
    CorruptError, EOFError
        The payload is damaged, or cut short.
    NotImplementedError
        A newer lithify wrote it.
    """
    if region is None:
        return _native.decode(payload)
    shape = _native.header(payload)["shape"]
    region = region if isinstance(region, tuple) else (region,)
    if len(region) != len(shape):
        raise ValueError(f"the array has {len(shape)} dimensions, the region {len(region)}")
    start, count = [], []
    for s, n in zip(region, shape, strict=True):
        first, stop, step = s.indices(n)
        if step != 1:
            raise ValueError("a region has no steps; slice the result instead")
        start.append(first)
        count.append(max(stop - first, 0))
    return _native.decode(payload, start, count)


def compare(
    original: ArrayLike, decoded: ArrayLike, *, fill_value: Any = None, scale: float = 1.0, offset: float = 0.0
) -> dict[str, Any]:
    """Errors of a reconstruction: ``max_abs, max_rel, rmse, l2, psnr, bias, pearson, ssim, ...`` in physical units.

    Both arrays have one shape and one dtype. NaN, infinities and `fill_value` are missing and do not count, but
    ``n_missing_changed`` says how many of them moved.
    """
    a, b = native(original), native(decoded)
    missing = [] if fill_value is None else [pattern(fill_value, a.dtype)]
    result: dict[str, Any] = json.loads(_native.compare(a, b, scale, offset, missing))
    return result
