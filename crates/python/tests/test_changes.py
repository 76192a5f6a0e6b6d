"""Chunks that are changed again and again: the bound holds, whatever stands beside the codec."""

from __future__ import annotations

from collections.abc import Callable

import lithify
import numpy as np
import pytest
import zarr
from conftest import gappy, smooth
from lithify import _changes, numcodecs
from lithify.numcodecs import Lithify as V2
from lithify.zarr import Lithify
from zarr.codecs import Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

E = 0.1


def make(shape: tuple[int, ...], chunks: tuple[int, ...], **options: object) -> zarr.Array:
    options = {"zarr_format": 3, "serializer": Lithify(bound=f"abs={E}", effort=2), "dtype": "f4"} | options
    return zarr.create_array({}, shape=shape, chunks=chunks, **options)


def v2(shape: tuple[int, ...], chunks: tuple[int, ...], **options: object) -> zarr.Array:
    codec = V2(bound=f"abs={E}", effort=2)
    return zarr.create_array({}, shape=shape, chunks=chunks, **{"dtype": "f4", "zarr_format": 2, "compressors": codec} | options)


def ways(shape: tuple[int, ...], chunks: tuple[int, ...]) -> dict[str, Callable[[], zarr.Array]]:
    """Arrays that zarr changes in different ways."""
    axes = tuple(range(len(shape)))[::-1]
    return {
        "alone": lambda: make(shape, chunks, compressors=None),
        "zstd, by default": lambda: make(shape, chunks),
        "gzip": lambda: make(shape, chunks, compressors=[GzipCodec()]),
        "transpose": lambda: make(shape, chunks, filters=[TransposeCodec(order=axes)], compressors=None),
        "transpose and checksum": lambda: make(shape, chunks, filters=[TransposeCodec(order=axes)], compressors=[Crc32cCodec()]),
        "sharded": lambda: make(shape, chunks, shards=tuple(2 * c for c in chunks), compressors=None),
        "sharded, zstd": lambda: make(shape, chunks, shards=tuple(2 * c for c in chunks), compressors=[ZstdCodec()]),
        "fill value": lambda: make(shape, chunks, fill_value=-999.0),
        "NaN": lambda: make(shape, chunks, fill_value=np.nan),
        "v2": lambda: v2(shape, chunks),
        "v2, big-endian, order F": lambda: v2(shape, chunks, dtype=">f4", order="F"),
    }


@pytest.mark.parametrize("way", ways((1,), (1,)))
@pytest.mark.parametrize(
    "key",
    [lambda i: np.s_[i % 24], lambda i: np.s_[:, i % 30], lambda i: np.s_[i % 24, 3 : 9 + i % 20], lambda i: np.s_[i % 3 :: 3, ::2]],
    ids=["rows", "columns", "boxes", "steps"],
)
def test_the_bound_holds_after_50_writes(way: str, key: Callable[[int], object]) -> None:
    x = smooth((24, 30))
    z = ways(x.shape, (12, 15))[way]()
    z[:] = x
    rng = np.random.default_rng(1)
    for i in range(50):
        before = z[:]
        x[key(i)] += rng.standard_normal(x[key(i)].shape).astype("f4")
        z[key(i)] = x[key(i)]
        after = z[:]
        written = np.zeros(x.shape, bool)
        written[key(i)] = True
        assert np.array_equal(before[~written], after[~written]), "what is not written stays bit for bit"
    assert abs(z[:].astype("f8") - x).max() <= E


@pytest.mark.parametrize("way", ways((1,), (1,)))
def test_arrays_of_one_dimension(way: str) -> None:
    x = smooth((300,))
    z = ways((300,), (100,))[way]()
    z[:] = x
    for i in range(50):
        for at in (slice(2, 100), slice(100, 197), slice(200 + i, 230 + i)):
            x[at] += np.float32(np.sin(i))
            z[at] = x[at]
    assert abs(z[:].astype("f8") - x).max() <= E


@pytest.mark.parametrize("way", ways((1,), (1,)))
def test_appending_row_by_row(way: str) -> None:
    x = gappy((50, 15))
    z = ways((0, 15), (20, 15))[way]()
    for row in x:
        before = z[:]
        z.append(row[None])
        assert np.array_equal(z[:-1], before, equal_nan=True)
    valid = np.isfinite(x)
    assert np.array_equal(z[:][~valid], x[~valid], equal_nan=True)
    assert abs(z[:][valid] - x[valid]).max() <= E


def test_rows_beside_other_codecs_are_joined() -> None:
    x = smooth((100, 100))
    z, exact = make((0, 100), (100, 100)), make((100, 100), (100, 100), serializer=Lithify(effort=2))
    exact[:] = x
    for i in range(0, 100, 20):
        z.append(x[i : i + 20])
    assert len(z.store._store_dict["c/0/0"]) < len(exact.store._store_dict["c/0/0"]) / 2


@pytest.mark.parametrize("way", ways((1,), (1,)))
def test_a_chunk_grows_along_one_dimension_and_then_another(way: str) -> None:
    x = smooth((30, 30))
    z = ways((10, 10), (40, 40))[way]()
    z[:] = x[:10, :10]
    for i in (20, 30):
        before = z[:]
        z.append(x[i - 10 : i, : i - 10], axis=0)
        z.append(x[:i, i - 10 : i], axis=1)
        assert np.array_equal(z[: i - 10, : i - 10], before)
    assert abs(z[:] - x).max() <= E


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4"])
def test_new_data_are_not_taken_for_a_change(dtype: str) -> None:
    """Chunks that were read, then replaced: these are lossy, though zeros, land and single samples are alike."""
    rng = np.random.default_rng(2)

    def field() -> np.ndarray:
        y = (10000 + 250 * rng.standard_normal((64, 64)).cumsum(0)).astype(dtype)
        y[:, :9] = 0
        y[:2] = 7
        return y

    codec = V2(bound="abs=20", effort=2)
    for _ in range(20):
        codec.decode(codec.encode(field()))
    lossy = [(codec.decode(codec.encode(f)) != f).any() for f in (field() for _ in range(20))]
    assert all(lossy)


def test_unchanged_chunks_stay_what_they_are() -> None:
    codec = V2(bound="abs=0.1", effort=2)
    payload = codec.encode(smooth((40, 40)))
    assert codec.encode(codec.decode(payload)) == payload
    coarser = V2(bound="abs=1", effort=2)
    assert len(coarser.encode(codec.decode(payload))) < len(payload), "another bound is another matter"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_changes, "MAX_CHUNKS", 5)
    codec = V2(bound="abs=0.1", effort=2)
    for i in range(20):
        codec.decode(codec.encode(smooth((10, 10)) + i))
    assert len(numcodecs._decoded._chunks) <= 5
    monkeypatch.setattr(_changes, "MAX_BYTES", 1)
    codec.decode(codec.encode(smooth((11, 10))))
    assert len(numcodecs._decoded._chunks) == 1
    assert numcodecs._decoded._n_bytes == sum(len(payload) for _, payload in numcodecs._decoded._chunks)


@pytest.mark.parametrize("compressors", [None, [ZstdCodec()]])
def test_chunks_of_another_array_are_refused(compressors: object) -> None:
    x = smooth((16, 16))
    z, other = make(x.shape, (8, 8), compressors=compressors), make(x.shape, (8, 8), dtype="f8", compressors=compressors)
    z[:] = x
    other[:] = x
    z.store._store_dict["c/0/0"] = other.store._store_dict["c/0/0"]
    for read in (lambda: z[:], lambda: z[2:5, 3], lambda: z.__setitem__((0, 0), 1)):
        with pytest.raises(lithify.CorruptError, match="float64"):
            read()
