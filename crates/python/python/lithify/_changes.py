"""Changes of chunks that exist: what is kept stays bit for bit, since a second lossy pass over it would break the bound without a word.

Who changes a part of a chunk through `lithify.zarr` alone says which. Beside other codecs, and in Zarr v2, zarr decodes the chunk, lays
the new values over it and has the whole encoded, as if all of it were new. So chunks that a lossy codec decoded whole are remembered in
this process:

1. `Memory.remember` keeps the payload and a few numbers to know its samples by, for the last 4096 chunks and 256 MB.
2. `Memory.encode` looks whether the array is made of one of them: whether samples from its beginning or end on along some dimension are the
   same, or more than 5 % of all. Zeros, fill values, NaN and infinities do not count, nor does a beginning that is all one value:
   these are alike in data that have nothing to do with each other.
3. If so, what continues a chunk along one dimension is joined to it (`continued`); after any other change it is stored without loss.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._arrays import native

Array = NDArray[Any]
Box = Sequence[tuple[int, int]]

LOSSLESS = _native.configure("lossless", "auto", 5, 1.0, 0.0, [])
MAX_CHUNKS = 4096
MAX_BYTES = 256 << 20
#: More samples than this share of all are not alike by chance.
SHARE = 0.05
N_PROBES = 256


def continued(old: Any, box: Box, part: Callable[[], Array], text: str) -> bytes | None:
    """The payload of the chunk `old` after samples in `box`, which `part` gives, were added; None unless they continue it."""
    axis = _continues(box, _native.header(old)["shape"])
    if axis is None:
        return None
    more = _native.encode(native(part()), text)[0]
    try:
        return _native.join(axis, [old, more])
    except _native.CorruptError:
        raise
    except ValueError:
        # It was joined along another dimension before.
        return None


def _continues(box: Box, have: Sequence[int]) -> int | None:
    """The dimension along which a box continues a chunk of which `have` samples exist, if it does."""
    longer = [d for d, (s, e) in enumerate(box) if (s, e) != (0, have[d])]
    return longer[0] if len(longer) == 1 and box[longer[0]][0] == have[longer[0]] else None


@dataclass(frozen=True)
class Print:
    """What an array is known by: hashes of its outermost slices along each dimension, and samples of it; 0 for what does not count."""

    edges: NDArray[np.uint64]
    probes: Array

    @classmethod
    def of(cls, array: Array, fill: Any) -> Print:
        counts = _counts(array, fill)
        bits = _bits(array)
        edges = np.zeros((array.ndim, 2), "u8")
        for d in range(array.ndim):
            used = np.flatnonzero(counts.any(axis=_others(array, d)))
            for end, i in enumerate(used[[0, -1]] if used.size else ()):
                kept = bits.take(i, axis=d)[counts.take(i, axis=d)].astype("u8")
                kept *= np.uint64(0x9E3779B97F4A7C15)
                kept ^= kept >> np.uint64(29)
                edges[d, end] = (kept * np.uint64(0xBF58476D1CE4E5B9)).sum(dtype="u8")
        at = _positions(array.size)
        return cls(edges.ravel(), np.where(counts.ravel()[at], bits.ravel()[at], 0))

    def resembles(self, others: Sequence[Print]) -> NDArray[np.bool_]:
        """At which a closer look is worth while."""
        edges = np.stack([o.edges for o in others])
        probes = np.stack([o.probes for o in others])
        n_alike = np.count_nonzero((probes == self.probes) & (self.probes != 0), axis=1)
        alike: NDArray[np.bool_] = ((edges == self.edges) & (self.edges != 0)).any(axis=1)
        alike |= n_alike > np.count_nonzero(self.probes) * SHARE / 4
        return alike


def as_it_is(array: Array) -> Array:
    return array


class Memory:
    """The chunks that a codec decoded last; several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[Any, bytes], Print] = OrderedDict()
        self._n_bytes = 0

    def remember(self, payload: bytes, array: Array, text: str, fill: Any) -> None:
        """A chunk that was decoded: its payload, its samples in the chunk's full shape."""
        of = Print.of(array, fill)
        key = ((text, array.shape, array.dtype.str), payload)
        with self._lock:
            self._n_bytes += len(payload) if key not in self._chunks else 0
            self._chunks[key] = of
            self._chunks.move_to_end(key)
            while len(self._chunks) > MAX_CHUNKS or (self._n_bytes > MAX_BYTES and len(self._chunks) > 1):
                (_, oldest), _ = self._chunks.popitem(last=False)
                self._n_bytes -= len(oldest)

    def encode(
        self,
        array: Array,
        text: str,
        fill: Any,
        pad: Callable[[Array], Array] = as_it_is,
        trim: Callable[[Array], Array] = as_it_is,
    ) -> bytes:
        """The payload of a whole chunk, which may be a change of one that was decoded before.

        `pad` gives a decoded array the shape of the chunk, `trim` takes away what need not be stored.
        """
        trimmed = trim(array)
        if (found := self._find(array, text, fill, pad)) is None:
            return _native.encode(trimmed, text)[0]
        old, same = found
        if same.all():
            return old
        have = _native.header(old)["shape"]
        differs = [np.flatnonzero(~same.all(axis=_others(same, d))) for d in range(same.ndim)]
        # A continuation is as wide as what it continues, even if it has fill at its sides.
        box = [(0, h) if d[-1] < h else (int(d[0]), int(d[-1]) + 1) for d, h in zip(differs, have, strict=True)]
        part = array[tuple(slice(*b) for b in box)]
        return continued(old, box, lambda: part, text) or _native.encode(trimmed, LOSSLESS)[0]

    def _find(
        self, array: Array, text: str, fill: Any, pad: Callable[[Array], Array]
    ) -> tuple[bytes, NDArray[np.bool_]] | None:
        """A remembered chunk of which parts are in the array, and where."""
        kind = (text, array.shape, array.dtype.str)
        with self._lock:
            known = [(payload, of) for (k, payload), of in reversed(self._chunks.items()) if k == kind]
        if not known:
            return None
        for i in np.flatnonzero(Print.of(array, fill).resembles([of for _, of in known])):
            same = _bits(array) == _bits(pad(_native.decode(known[i][0])))
            if _keeps(array, same, _counts(array, fill)):
                return known[i][0], same
        return None


def _keeps(array: Array, same: NDArray[np.bool_], counts: NDArray[np.bool_]) -> bool:
    """Whether what is the same is so many, or lies so, that it is no chance."""
    if np.count_nonzero(same & counts) > SHARE * np.count_nonzero(counts):
        return True
    for d in range(array.ndim):
        differs = np.flatnonzero(~same.all(axis=_others(array, d)))
        for edge in (slice(differs[0]), slice(differs[-1] + 1, None)) if differs.size else ():
            at = tuple(edge if i == d else slice(None) for i in range(array.ndim))
            values = array[at][counts[at]]
            if values.size and (values != values[0]).any():
                return True
    return False


def _counts(array: Array, fill: Any) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = (array != 0) & (array != fill)
    return out & np.isfinite(array) if array.dtype.kind == "f" else out


def _bits(array: Array) -> Array:
    return array.view(f"u{array.itemsize}")


def _others(array: Array, d: int) -> tuple[int, ...]:
    return tuple(i for i in range(array.ndim) if i != d)


@functools.lru_cache(maxsize=64)
def _positions(size: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(size, size=N_PROBES) if size else np.empty(0, "i8")
