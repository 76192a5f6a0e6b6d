"""What workers do. Tasks are pure: done twice, on whatever machine, they write the same bytes under the same key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from .. import _native
from .._arrays import native
from ._inputs import Index, grid
from ._places import Place


class Work:
    """A variable to be encoded, as every task of it needs to know it."""

    def __init__(
        self, path: str, meta: dict[str, Any], layout: dict[str, Any], load: Callable[[Any], NDArray[Any]], place: Place, batch: str
    ) -> None:
        self.path = path
        self.dtype: str = meta["type"]
        self.shape: Index = tuple(meta["shape"])
        self.chunk: Index = tuple(layout["chunk"])
        self.shard: Index | None = None if layout["shard"] is None else tuple(layout["shard"])
        self.configuration: str = layout["configuration"]
        self.load = load
        self.place = place
        #: Where records of this configuration go.
        self.records = f"{place.notes}records/{path}/{batch}/"

    @property
    def cut(self) -> Index:
        """What one task encodes: a shard, or a chunk where there are none."""
        return self.shard or self.chunk

    def extent(self, at: Index) -> Index:
        """Shape of a shard, which may be cut by the end of the array."""
        return tuple(min(c, n - i * c) for i, c, n in zip(at, self.cut, self.shape, strict=True))

    def key(self, at: Index) -> str:
        return self.place.data + "/".join([self.path, "c", *map(str, at)])

    def record(self, at: Index) -> str:
        return self.records + ".".join(["c", *map(str, at)]) + ".json"

    def whole(self, block: Any, at: Index) -> NDArray[Any]:
        """The samples of a shard: evaluated once, whatever is derived from them."""
        x = self.load(block)
        if x.shape != self.extent(at) or x.dtype.name != self.dtype:
            got = f"{x.dtype} {list(x.shape)}, where {self.dtype} {list(self.extent(at))} was announced"
            raise ValueError(f"{self.path}: the block at {at} is {got}")
        return x

    def slots(self, at: Index) -> list[tuple[slice, ...] | None]:
        """Where the chunks of a shard lie in it, in C order; None for those outside of the array."""
        extent = self.extent(at)
        out: list[tuple[slice, ...] | None] = []
        for inner in grid(self.cut, self.chunk):
            start = [i * c for i, c in zip(inner, self.chunk, strict=True)]
            inside = all(s < n for s, n in zip(start, extent, strict=True))
            parts = (slice(s, min(s + c, n)) for s, c, n in zip(start, self.chunk, extent, strict=True))
            out.append(tuple(parts) if inside else None)
        return out


def measure(block: Any, work: Work, at: Index) -> list[dict[str, Any]]:
    """Statistics of each chunk of a shard."""
    x = work.whole(block, at)
    return [_native.field_stats(native(x[s]), work.configuration) for s in work.slots(at) if s is not None]


def count_bits(block: Any, work: Work, at: Index) -> list[int]:
    """Pairs of bits of a shard that comes with the samples before it."""
    return _native.bit_pairs(work.load(block), [int(i > 0) for i in at], work.configuration)


def encode(block: Any, work: Work, at: Index) -> dict[str, Any]:
    """Encodes a shard, writes it and its record, and returns the record."""
    started = time.perf_counter()
    x = work.whole(block, at)
    # One after the other: Dask runs as many tasks as there are cores for them.
    coded = [None if s is None else _native.encode(native(x[s]), work.configuration) for s in work.slots(at)]
    data = coded[0][0] if work.shard is None and coded[0] else _native.shard([c and c[0] for c in coded])
    work.place.put(work.key(at), data)
    record = {
        "chunks": [c[1] for c in coded if c is not None],
        "bytes": len(data),
        "raw_bytes": x.nbytes,
        "seconds": time.perf_counter() - started,
    }
    work.place.put(work.record(at), json.dumps(record).encode())
    return record


def check(work: Work, at: Index, record: dict[str, Any]) -> str | None:
    """What is wrong with a shard as it is stored, if anything is."""
    data = work.place.get(work.key(at))
    if data is None:
        return "it is not there"
    slots = work.slots(at)
    try:
        payloads = [data] if work.shard is None else _native.unshard(data, len(slots))
        present = [p for p, s in zip(payloads, slots, strict=True) if s is not None]
        for payload, said in zip(present, record["chunks"], strict=True):
            if payload is None:
                return "a chunk is missing"
            if _native.header(payload)["decoded_crc32c"] != said["decoded_crc32c"]:
                return "a chunk has other values than were written"
            _native.decode(payload)
    except (ValueError, EOFError, NotImplementedError) as error:
        return str(error)
    return None
