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

from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy
from numcodecs.registry import register_codec

from . import _native
from ._arrays import native, pattern


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
        self._configuration([])

    def _configuration(self, missing: list[int]) -> str:
        return _native.configure(
            self.bound, self.codec, self.effort, float(self.scale), float(self.offset), missing
        )

    def encode(self, buf: Any) -> bytes:
        a = native(buf)
        missing = [] if self.fill_value is None else [pattern(self.fill_value, a.dtype)]
        return _native.encode(a, self._configuration(missing))[0]

    def decode(self, buf: Any, out: Any = None) -> Any:
        array = _native.decode(ensure_contiguous_ndarray(buf).view("u1"))
        return array if out is None else ndarray_copy(np.ascontiguousarray(array), out)

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
