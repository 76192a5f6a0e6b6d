"""The Zarr v3 array-to-bytes codec ``lithify`` for zarr-python 3.

zarr-python finds it by itself (an entry point). Give it as the serializer of a new array, without further compressors:

>>> import numpy as np, zarr
>>> from lithify.zarr import Lithify
>>> z = zarr.create_array({}, shape=(100, 100), chunks=(50, 50), dtype="f4", serializer=Lithify(bound="abs=0.01"), compressors=None)
>>> z[:] = np.linspace(0, 1, 10000).reshape(100, 100)
>>> bool(abs(z[:] - np.linspace(0, 1, 10000).reshape(100, 100)).max() <= 0.01)
True

Every chunk keeps the bound by itself. Chunks at the array's edge cost what lies inside the array; a part of a chunk is decoded as a
part where the codec allows.

Writing into a chunk that exists keeps what is there bit for bit, since a second lossy pass over it would break the bound without
a word: samples that continue a chunk along one dimension are joined to it; any other change stores the chunk without loss. Beside other
codecs zarr does not say what changes; see `lithify._changes` for how it is found out.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodecPartialEncodeMixin
from zarr.storage import StorePath

from . import _changes, _native
from ._arrays import native, pattern
from ._bounds import checked_effort

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter, ByteSetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "lithify"

_decoded = _changes.Memory()


@dataclass(frozen=True)
class Lithify(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodecPartialEncodeMixin):
    """Configuration of the codec.

    Parameters
    ----------
    bound
        ``abs=``, ``rel=``, ``l2-block=``, ``bits=k``, ``lossless``, joined by commas. Others need the whole variable: `lithify.encoding` and
        `lithify.to_zarr` look at it and fill in `resolved`.
    codec, effort
        As in ``lithify compress --codec --effort``.
    scale, offset
        CF packing of integers, so that bounds are in physical units.
    missing
        Bit patterns of values that mark missing samples, as hexadecimal strings. A fill value of the array other than 0 counts as one.
    resolved
        What the bound came to for the whole variable.
    """

    text: str
    is_fixed_size = False

    def __init__(
        self,
        *,
        bound: str = "lossless",
        codec: str = "auto",
        effort: int = 5,
        scale: float = 1.0,
        offset: float = 0.0,
        missing: Iterable[str] = (),
        resolved: dict[str, Any] | None = None,
    ) -> None:
        patterns, effort = [int(m, 16) for m in missing], checked_effort(effort)
        if resolved is None:
            text = _native.configure(bound, codec, effort, float(scale), float(offset), patterns)
        else:
            configuration: dict[str, Any] = {"codec": codec, "bound": bound, "resolved": resolved}
            if (scale, offset) != (1.0, 0.0):
                configuration |= {"scale": scale, "offset": offset}
            if patterns:
                configuration["missing"] = [f"{p:#x}" for p in patterns]
            text = json.dumps(configuration | {"effort": effort})
        # What no chunk could be encoded with is refused here.
        _native.field_stats(np.zeros(1), text)
        object.__setattr__(self, "text", text)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        configuration = data.get("configuration") or {}
        known = {"bound", "codec", "effort", "scale", "offset", "missing", "resolved"}
        if unknown := set(configuration) - known:
            raise ValueError(f"codec lithify takes {', '.join(sorted(known))}, not {', '.join(sorted(unknown))}")
        return cls(**configuration)

    def to_dict(self) -> dict[str, Any]:
        return {"name": NAME, "configuration": json.loads(self.text)}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        dtype = array_spec.dtype.to_native_dtype()
        if dtype.kind not in "iuf" or dtype.itemsize not in (1, 2, 4, 8) or dtype == np.float16:
            raise ValueError(f"codec lithify takes integers and floats of 1 to 8 bytes without float16, not {dtype}")
        fill = array_spec.fill_value
        if fill is None or not np.isfinite(fill) or fill == 0:
            return self
        configuration = json.loads(self.text)
        missing = configuration.get("missing", [])
        bits = f"{pattern(fill, dtype):#x}"
        if bits in missing:
            return self
        return type(self)(**configuration | {"missing": [*missing, bits]})

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("the size of a compressed chunk is not known beforehand")

    # Whole chunks.

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        payload = _bytes(chunk_bytes)
        _shape(payload, chunk_spec)
        array = _whole(_native.decode(payload), chunk_spec)
        if self._is_lossy:
            _decoded.remember(bytes(payload), array, self.text, _fill(chunk_spec))
        return _buffer(chunk_spec, array)

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        array, fill = native(chunk_array.as_numpy_array()), _fill(chunk_spec)
        if self._is_lossy:
            pad = functools.partial(_whole, spec=chunk_spec)
            payload = _decoded.encode(array, self.text, fill, pad, lambda a: _without_padding(a, fill))
        else:
            payload = _native.encode(_without_padding(array, fill), self.text)[0]
        return chunk_spec.prototype.buffer.from_bytes(payload)

    @property
    def _is_lossy(self) -> bool:
        return not json.loads(self.text)["resolved"].get("lossless", False)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    # Parts of chunks.

    async def decode_partial(
        self, batch_info: Iterable[tuple[ByteGetter, Any, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        batch = list(batch_info)
        fetched = await asyncio.gather(*(getter.get(prototype=spec.prototype) for getter, _, spec in batch))
        jobs = [(data, selection, spec) for data, (_, selection, spec) in zip(fetched, batch, strict=True)]
        return await asyncio.to_thread(_decode_parts, jobs)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        return next(iter(await self.decode_partial([(byte_getter, selection, chunk_spec)])))

    async def _encode_partial_single(
        self, byte_setter: ByteSetter, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        box = _box(selection, chunk_spec.shape)
        whole = box is not None and all(
            s == 0 and e == n for (s, e), n in zip(box, chunk_spec.shape, strict=True)
        )
        old = None if whole else await byte_setter.get(prototype=chunk_spec.prototype)
        if old is not None and box is not None and not any(s for s, _ in box):
            have = _shape(_bytes(old), chunk_spec)
            if any(e < h for (_, e), h in zip(box, have, strict=True)) and await _is_all(byte_setter, box, chunk_spec):
                # The array was larger once. What lay beyond its edge must not come back when it grows again.
                old = None
        payload = await asyncio.to_thread(self._merge, old, chunk_array, selection, box, chunk_spec)
        if payload is None:
            await byte_setter.delete()
        else:
            await byte_setter.set(chunk_spec.prototype.buffer.from_bytes(payload))

    def _merge(
        self,
        old: Buffer | None,
        value: NDBuffer,
        selection: Any,
        box: list[tuple[int, int]] | None,
        spec: ArraySpec,
    ) -> bytes | None:
        """The payload of a chunk of which `selection` gets a new value; None for nothing but fill."""
        new = value.as_numpy_array()
        have: Sequence[int] = [] if old is None else _shape(_bytes(old), spec)
        dtype = spec.dtype.to_native_dtype()

        def part() -> np.ndarray[Any, Any]:
            """The new samples, where they are a box."""
            array = np.empty([e - s for s, e in box or ()], dtype=dtype)
            array[...] = new if new.ndim in (0, array.ndim) else new.reshape(array.shape)
            return array

        def whole() -> np.ndarray[Any, Any]:
            """All that there is after the change; what was never written is the fill value, exactly."""
            extents = spec.shape if box is None else [max(e, h) for (_, e), h in zip(box, have or [0] * len(box), strict=True)]
            array = np.full(extents, _fill(spec), dtype=dtype)
            if old is not None:
                array[tuple(slice(h) for h in have)] = _native.decode(_bytes(old))
            array[selection] = new
            return array

        if box is not None and all(s == 0 for s, _ in box) and all(e >= h for (_, e), h in zip(box, have, strict=False)):
            # All that there is, is written anew; what lies beyond is outside of the array, or fill.
            array, text = part(), self.text
        elif old is not None and box is not None and (payload := _changes.continued(_bytes(old), box, part, self.text)):
            return payload
        else:
            array, text = whole(), _changes.LOSSLESS
        if not spec.config.write_empty_chunks and _buffer(spec, array).all_equal(_fill(spec)):
            return None
        return _native.encode(native(array), text)[0]


def _bytes(buffer: Buffer | None) -> Any:
    return b"" if buffer is None else buffer.as_numpy_array()


def _shape(payload: Any, spec: ArraySpec) -> Sequence[int]:
    """The shape of what is in a payload, which may be a chunk of the array."""
    header = _native.header(payload)
    dtype, shape = spec.dtype.to_native_dtype().newbyteorder("="), header["shape"]
    if header["dtype"] != dtype.name or len(shape) != len(spec.shape) or any(h > n for h, n in zip(shape, spec.shape, strict=True)):
        what = f"{header['dtype']} {list(shape)} in an array of {dtype.name} in chunks of {list(spec.shape)}"
        raise _native.CorruptError(f"a chunk holds {what}: it was written for another array")
    return tuple(shape)


def _buffer(spec: ArraySpec, array: np.ndarray[Any, Any]) -> NDBuffer:
    return spec.prototype.nd_buffer.from_numpy_array(array)


def _fill(spec: ArraySpec) -> Any:
    return spec.dtype.default_scalar() if spec.fill_value is None else spec.fill_value


def _whole(array: np.ndarray[Any, Any], spec: ArraySpec) -> np.ndarray[Any, Any]:
    """The chunk in its full shape: what a payload lacks is fill."""
    if array.shape == tuple(spec.shape):
        return array
    out = np.full(spec.shape, _fill(spec), dtype=array.dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    return out


def _without_padding(array: np.ndarray[Any, Any], fill: Any) -> np.ndarray[Any, Any]:
    """The array without what is only fill at the ends of its dimensions; at least one sample stays."""
    same = np.isnan(array) if array.dtype.kind == "f" and np.isnan(fill) else array == fill
    if array.dtype.kind == "f" and fill == 0:
        same &= np.signbit(array) == np.signbit(fill)
    if not array.size or not same.any():
        return array
    ends = []
    for d in range(array.ndim):
        used = np.flatnonzero(~same.all(axis=tuple(i for i in range(array.ndim) if i != d)))
        ends.append(slice(used[-1] + 1 if used.size else 1))
    trimmed = array[tuple(ends)]
    if np.isnan(fill) and not _usual_nan(array, trimmed.shape, fill):
        return array
    return native(trimmed)


def _usual_nan(array: np.ndarray[Any, Any], kept: tuple[int, ...], fill: Any) -> bool:
    """Whether everything outside of the first `kept` samples has the very bits of `fill`."""
    bits = array.view(f"u{array.itemsize}") == np.asarray(fill, array.dtype).view(f"u{array.itemsize}")
    bits[tuple(slice(n) for n in kept)] = True
    return bool(bits.all())


def _box(selection: Any, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """First and last-plus-one index in each dimension, if the selection is a box."""
    selection = selection if isinstance(selection, tuple) else (selection,)
    if len(selection) > len(shape) or any(s is Ellipsis for s in selection):
        return None
    out = []
    for s, n in zip(selection + (slice(None),) * (len(shape) - len(selection)), shape, strict=True):
        if isinstance(s, slice):
            start, stop, step = s.indices(n)
            if step != 1:
                return None
            out.append((start, max(start, stop)))
        elif isinstance(s, int | np.integer):
            out.append((int(s), int(s) + 1))
        else:
            return None
    return out


async def _is_all(byte_setter: ByteSetter, box: list[tuple[int, int]], spec: ArraySpec) -> bool:
    """Whether a box, from the chunk's beginning on, is all of the chunk that lies inside the array.

    zarr does not say; the array's metadata do, and the chunk's key. In a shard neither is at hand, and zarr itself keeps what is there.
    """
    if not isinstance(byte_setter, StorePath):
        return False
    key = re.search(rf"(?:^|/)(?:c[/.])?(\d+(?:[/.]\d+){{{len(box) - 1}}})$", byte_setter.path)
    if key is None:
        return False
    root = StorePath(byte_setter.store, byte_setter.path[: key.start()])
    if (data := await (root / "zarr.json").get(prototype=spec.prototype)) is None:
        return False
    shape = json.loads(data.to_bytes()).get("shape", ())
    at = [int(i) for i in re.split("[/.]", key[1])]
    return len(shape) == len(box) and all(
        e >= min(size - i * n, n) for (_, e), size, i, n in zip(box, shape, at, spec.shape, strict=True)
    )


def _decode_parts(jobs: list[tuple[Buffer | None, Any, ArraySpec]]) -> list[NDBuffer | None]:
    """Parts of chunks; those that are wanted whole are decoded by all cores."""
    out: list[NDBuffer | None] = [None] * len(jobs)
    whole = []
    for i, (data, selection, spec) in enumerate(jobs):
        if data is None:
            continue
        payload = _bytes(data)
        have = _shape(payload, spec)
        box = _box(selection, spec.shape)
        if box is None or all(s == 0 and e == n for (s, e), n in zip(box, spec.shape, strict=True)):
            whole.append(i)
            continue
        high = [min(e, h) for (_, e), h in zip(box, have, strict=True)]
        count = [max(h - s, 0) for (s, _), h in zip(box, high, strict=True)]
        wanted = [e - s for s, e in box]
        if all(count):
            part = _native.decode(payload, [s for s, _ in box], count)
        if not all(count) or count != wanted:
            padded = np.full(wanted, _fill(spec), dtype=spec.dtype.to_native_dtype())
            if all(count):
                padded[tuple(slice(c) for c in count)] = part
            part = padded
        scalars = tuple(0 if isinstance(s, int | np.integer) else slice(None) for s in selection)
        out[i] = _buffer(spec, np.asarray(part[scalars]))
    for i, array in zip(whole, _native.decode_many([_bytes(jobs[i][0]) for i in whole]), strict=True):
        _, selection, spec = jobs[i]
        out[i] = _buffer(spec, np.asarray(_whole(array, spec)[selection]))
    return out
