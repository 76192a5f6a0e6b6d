"""The Zarr codec, by the pattern of zarr-python's own codec tests: dtypes, shapes, fill values, sharding, async, partial reads and writes."""

from __future__ import annotations

import asyncio
import json

import lithify
import numcodecs
import numpy as np
import pytest
import zarr
from conftest import DTYPES, gappy, smooth
from lithify.zarr import Lithify
from zarr.core.sync import sync


def create(x: np.ndarray, chunks: tuple[int, ...], store: object = None, **options: object) -> zarr.Array:
    bound = options.pop("bound", "abs=0.01" if x.dtype.kind == "f" else "lossless")
    serializer = Lithify(bound=bound, effort=2)
    return zarr.create_array(
        {} if store is None else store,
        shape=x.shape,
        chunks=chunks,
        dtype=x.dtype,
        serializer=serializer,
        compressors=None,
        filters=None,
        **options,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shards", [None, (16, 16)])
def test_every_dtype_round_trips(dtype: str, shards: tuple[int, ...] | None) -> None:
    x = smooth((37, 23), dtype)
    z = create(x, (8, 8), shards=shards)
    z[:] = x
    y = zarr.open_array(z.store, mode="r")[:]
    assert y.dtype == x.dtype and abs(x.astype("f8") - y.astype("f8")).max() <= (0.01 if x.dtype.kind == "f" else 0)


@pytest.mark.parametrize("shape,chunks", [((), ()), ((1,), (1,)), ((7,), (3,)), ((5, 1, 6), (2, 1, 4)), ((0, 4), (1, 2))])
def test_odd_shapes(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    x = smooth(shape)
    z = create(x, chunks)
    z[...] = x
    assert z[...].shape == shape and (not x.size or np.abs(z[...] - x).max() <= 0.01)


@pytest.mark.parametrize("fill", [0, np.nan, -999.0, np.inf])
def test_fill_values_and_missing_chunks(fill: float) -> None:
    x = np.full((20, 20), fill, "f4")
    x[:8, :8] = smooth((8, 8))
    z = create(x, (8, 8), fill_value=fill)
    z[:] = x
    keys = [k for k in z.store._store_dict if k.startswith("c/")]
    assert keys == ["c/0/0"], "chunks of nothing but fill are not stored"
    y = z[:]
    assert np.array_equal(y[8:], x[8:], equal_nan=True) and abs(y[:8, :8] - x[:8, :8]).max() <= 0.01


def test_edges_cost_nothing() -> None:
    x = smooth((40, 50))
    big, exact = create(x, (64, 64)), create(x, (40, 50))
    big[:] = x
    exact[:] = x
    assert len(big.store._store_dict["c/0/0"]) == len(exact.store._store_dict["c/0/0"])
    assert np.array_equal(big[:], exact[:])


@pytest.mark.parametrize("shards", [None, (32, 32)])
def test_parts_are_read(shards: tuple[int, ...] | None) -> None:
    x = gappy((60, 70))
    z = create(x, (16, 16), shards=shards, fill_value=np.nan)
    z[:] = x
    whole = z[:]
    for key in [np.s_[3, 5], np.s_[5:9, 60:], np.s_[::7, ::-1][:1] + np.s_[2:60:5,], np.s_[-1], np.s_[..., 17]]:
        assert np.array_equal(z[key], whole[key], equal_nan=True), key
    assert np.array_equal(z.oindex[[1, 50], [3, 4, 69]], whole[np.ix_([1, 50], [3, 4, 69])], equal_nan=True)
    assert np.array_equal(z.vindex[[1, 50], [3, 69]], whole[[1, 50], [3, 69]], equal_nan=True)
    mask = np.isfinite(whole) & (whole > 55)
    assert np.array_equal(z[mask], whole[mask])


@pytest.mark.parametrize("shards", [None, (32, 32)])
def test_what_was_written_stays_bit_for_bit_when_parts_change(shards: tuple[int, ...] | None) -> None:
    x = smooth((32, 32))
    z = create(x, (16, 16), shards=shards)
    z[:] = x
    before = z[:]
    for key, value in [(np.s_[3:5, 3:5], 1.0), (np.s_[20], 2.0), (np.s_[:, 31], 3.0)]:
        z[key] = value
        after = z[:]
        assert (after[key] == value).all()
        kept = np.ones(x.shape, bool)
        kept[key] = False
        assert np.array_equal(before[kept], after[kept])
        before = after


def test_appending_row_by_row_does_not_wear_out_what_is_there() -> None:
    x = smooth((20, 64))
    z = create(x[:0].reshape(0, 64), (16, 64))
    seen = np.empty((0, 64), "f4")
    for row in x:
        z.append(row[None])
        y = z[:]
        assert np.array_equal(y[:-1], seen), "old rows stay as they were"
        assert abs(y[-1] - row).max() <= 0.01
        seen = y


@pytest.mark.parametrize("name", ["", "5", "group/c/7"])
@pytest.mark.parametrize("keys", [{"name": "default", "separator": "/"}, {"name": "v2", "separator": "."}, {"name": "v2", "separator": "/"}])
def test_what_lay_beyond_a_smaller_edge_does_not_come_back(name: str, keys: dict[str, str]) -> None:
    x = smooth((20, 30))
    z = create(x, (16, 16), name=name, chunk_key_encoding=keys, fill_value=-1)
    z[:] = x
    z.resize((10, 20))
    z[:] = x[:10, :20]
    kept = z[:]
    z.resize((20, 30))
    y = z[:]
    assert np.array_equal(y[:10, :20], kept) and (y[10:] == -1).all() and (y[:, 20:] == -1).all()
    # A part from the beginning on, in an array that is larger, is not all.
    z[:] = x
    before = z[:]
    z[:10, :12] = 3
    assert np.array_equal(z[10:], before[10:]) and np.array_equal(z[:, 12:], before[:, 12:]) and (z[:10, :12] == 3).all()


def test_async_and_concurrent_writes() -> None:
    async def run() -> np.ndarray:
        z = await zarr.api.asynchronous.create_array(
            store=zarr.storage.MemoryStore(), shape=(64, 64), chunks=(16, 16), dtype="f4",
            serializer=Lithify(bound="abs=0.01"), compressors=None,
        )
        x = smooth((64, 64))
        await asyncio.gather(*(z.setitem(np.s_[i : i + 16], x[i : i + 16]) for i in range(0, 64, 16)))
        return abs(await z.getitem(...) - x)

    assert sync(run()).max() <= 0.01


def test_metadata_is_plain_and_comes_back() -> None:
    z = create(smooth((8, 8)), (8, 8), bound="abs=0.01", fill_value=-999.0)
    meta = json.loads(z.store._store_dict["zarr.json"].to_bytes())
    codec = meta["codecs"][0]
    assert codec["name"] == "lithify" and codec["configuration"]["bound"] == "abs=0.01"
    assert codec["configuration"]["missing"] == ["0xc479c000"], "the fill value marks missing samples"
    assert Lithify.from_dict(codec).to_dict() == codec


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bound": "range=1e-3"}, "whole variable"),
        ({"bound": "abs=x"}, "bound"),
        ({"codec": "no"}, "no"),
        ({"effort": 0}, "effort is 1"),
        ({"effort": -1}, "effort is 1"),
        ({"effort": 300}, "effort is 1"),
        ({"effort": 10, "resolved": {"abs": 0.1}}, "effort is 1"),
        ({"scale": 0.0}, "scale"),
        ({"scale": np.nan}, "scale"),
        ({"resolved": {"abs": -1}}, "negative"),
        ({"resolved": {"nonsense": 1}}, "resolved takes"),
        ({"resolved": 5}, "resolved takes"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Lithify(**options)


def test_types_that_cannot_be_compressed_are_refused_when_the_array_is_made() -> None:
    for dtype in ["f2", "c8", "bool"]:
        with pytest.raises(ValueError, match="codec lithify takes"):
            create(np.zeros(4, dtype), (4,))


def test_damage_is_said() -> None:
    z = create(smooth((8, 8)), (8, 8))
    z[:] = smooth((8, 8))
    key = "c/0/0"
    data = bytearray(z.store._store_dict[key].to_bytes())
    data[len(data) // 2] ^= 8
    z.store._store_dict[key] = zarr.core.buffer.cpu.Buffer.from_bytes(bytes(data))
    with pytest.raises(lithify.CorruptError):
        z[:]


def test_other_codecs_around_it_work(tmp_path) -> None:
    x = smooth((40, 30))
    z = zarr.create_array(
        tmp_path / "a.zarr", shape=x.shape, chunks=(16, 16), dtype="f4", serializer=Lithify(bound="abs=0.01"),
        filters=[zarr.codecs.TransposeCodec(order=(1, 0))], compressors=[zarr.codecs.Crc32cCodec()],
    )
    z[:] = x
    assert abs(z[:] - x).max() <= 0.01


def test_a_fill_value_of_minus_zero_keeps_signs() -> None:
    x = np.where(np.arange(64).reshape(8, 8) < 20, -0.0, 0.0).astype("f4")
    x[0, 0] = 5
    for fill in (0.0, -0.0):
        filters = [zarr.codecs.TransposeCodec(order=(1, 0))]
        z = zarr.create_array({}, shape=x.shape, chunks=(8, 8), dtype="f4", fill_value=fill, filters=filters, serializer=Lithify(), compressors=None)
        z[:] = x
        assert z[:].tobytes() == x.tobytes()


def test_numcodecs_in_zarr_v2(tmp_path) -> None:
    from lithify.numcodecs import Lithify as V2

    x = smooth((40, 30))
    z = zarr.create_array(
        tmp_path / "v2.zarr", shape=x.shape, chunks=(16, 16), dtype="f4", zarr_format=2, compressors=V2(bound="abs=0.01")
    )
    z[:] = x
    y = zarr.open_array(tmp_path / "v2.zarr", mode="r")[:]
    assert abs(y - x).max() <= 0.01
    codec = V2(bound="abs=0.01", fill_value=-999.0)
    assert numcodecs.get_codec(codec.get_config()) == codec
    out = np.empty_like(x)
    V2().decode(V2().encode(x), out=out)
    assert np.array_equal(out, x)
