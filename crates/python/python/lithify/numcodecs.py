"""The codec for numcodecs: compressor ``lithify`` of Zarr v2 arrays, or by itself.

>>> import numpy as np
>>> from lithify.numcodecs import Lithify
>>> codec = Lithify(bound="abs=0.01")
>>> x = np.linspace(0, 1, 10000, dtype="f4").reshape(100, 100)
>>> y = codec.decode(codec.encode(x))
>>> bool(abs(np.asarray(y) - x).max() <= 0.01)
True
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy
from numcodecs.registry import register_codec

from . import _changes, _native
from ._arrays import native, pattern
from ._bounds import checked_effort


#: Before the payload of an array whose bytes lie otherwise than in C order and little-endian: 5 bytes, the last one says how. Zarr v2 takes
#: the bytes that come back as its array has them, and does not tell a codec how that is.
LAYOUT = b"LTHL"
BIG_ENDIAN, FORTRAN = 1, 2

_decoded = _changes.Memory()


class Lithify(Codec):  # type: ignore[misc]
    """Error-bounded compression of arrays with a shape; each chunk keeps the bound by itself.

    Parameters
    ----------
    bound
        ``abs=``, ``rel=``, ``l2-block=``, ``bits=k``, ``lossless``, joined by commas; in units of ``scale * stored + offset``.
    codec, effort
        As in ``lithify compress --codec --effort``.
    scale, offset
        CF packing of integers.
    fill_value
        A finite value that marks missing samples; NaN and infinities always do.
    """

    codec_id = "lithify"

    def __init__(
        self,
        bound: str = "lossless",
        codec: str = "auto",
        effort: int = 5,
        scale: float = 1.0,
        offset: float = 0.0,
        fill_value: float | None = None,
    ) -> None:
        self.bound = bound
        self.codec = codec
        self.effort = effort
        self.scale = scale
        self.offset = offset
        self.fill_value = fill_value
        # What no chunk could be encoded with is refused here.
        _native.field_stats(np.zeros(1), self._configuration([]))

    def _configuration(self, missing: list[int]) -> str:
        return _native.configure(
            self.bound, self.codec, checked_effort(self.effort), float(self.scale), float(self.offset), missing
        )

    def _text(self, dtype: np.dtype[Any]) -> str:
        return self._configuration([] if self.fill_value is None else [pattern(self.fill_value, dtype)])

    def encode(self, buf: Any) -> bytes:
        a = np.asanyarray(buf)
        big = a.itemsize > 1 and (a.dtype.byteorder == ">" or (a.dtype.isnative and sys.byteorder == "big"))
        fortran = a.flags.f_contiguous and not a.flags.c_contiguous
        # Transposed, samples that are neighbours in memory stay neighbours.
        a = native(a.T if fortran else a)
        text = self._text(a.dtype)
        payload = _native.encode(a, text)[0] if self.bound == "lossless" else _decoded.encode(a, text, self.fill_value or 0)
        layout = BIG_ENDIAN * big | FORTRAN * fortran
        return LAYOUT + bytes([layout]) + payload if layout else payload

    def decode(self, buf: Any, out: Any = None) -> Any:
        data = ensure_contiguous_ndarray(buf).view("u1")
        layout = 0
        if data[: len(LAYOUT)].tobytes() == LAYOUT:
            layout, data = int(data[len(LAYOUT) :][:1].sum()), data[len(LAYOUT) + 1 :]
            if not 0 < layout <= BIG_ENDIAN | FORTRAN:
                raise _native.CorruptError(f"the chunk's layout is {layout}, which no lithify wrote: the data are damaged")
        array = _native.decode(data)
        if self.bound != "lossless":
            # What has another type than its fill value was not written with it, and will not be.
            with suppress(ValueError, OverflowError):
                _decoded.remember(data.tobytes(), array, self._text(array.dtype), self.fill_value or 0)
        array = array.astype(array.dtype.newbyteorder(">" if layout & BIG_ENDIAN else "<"), copy=False)
        array = array.T if layout & FORTRAN else array
        if out is None:
            return array
        if isinstance(out, np.ndarray) and out.shape == array.shape and out.dtype.newbyteorder("=") == array.dtype.newbyteorder("="):
            # An array like the one that was encoded gets values, whatever its byte order and memory order.
            out[...] = array
            return out
        return ndarray_copy(array if array.flags.forc else np.ascontiguousarray(array), out)

    def get_config(self) -> dict[str, Any]:
        config = {
            "id": self.codec_id,
            "bound": self.bound,
            "codec": self.codec,
            "effort": self.effort,
            "scale": self.scale,
            "offset": self.offset,
        }
        return config if self.fill_value is None else config | {"fill_value": self.fill_value}


register_codec(Lithify)
