"""The numcodecs codec: bytes come back as Zarr v2 has them, in every byte order and memory order."""

from __future__ import annotations

import lithify
import numpy as np
import pytest
import zarr
from conftest import smooth
from lithify.numcodecs import LAYOUT, Lithify


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", ">i2", "u1"])
def test_zarr_v2_in_every_order(dtype: str, order: str) -> None:
    x = smooth((40, 50), dtype)
    bound = "abs=0.01" if x.dtype.kind == "f" else "lossless"
    z = zarr.create_array(
        {}, shape=x.shape, dtype=dtype, order=order, chunks=(16, 20), zarr_format=2, compressors=Lithify(bound=bound, effort=2)
    )
    z[:] = x
    y = z[:]
    assert y.dtype == x.dtype and abs(y.astype("f8") - x.astype("f8")).max() <= (0.01 if x.dtype.kind == "f" else 0)
    assert abs(z[3:20, 7].astype("f8") - x[3:20, 7].astype("f8")).max() <= 0.01


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_by_itself_arrays_come_back_as_they_were(dtype: str, order: str) -> None:
    x = np.asarray(smooth((9, 7, 5)).astype(dtype), order=order)
    codec = Lithify()
    payload = codec.encode(x)
    assert payload.startswith(LAYOUT) == ((dtype, order) != ("<f4", "C")), "usual payloads have nothing before them"
    y = codec.decode(payload)
    assert y.dtype == x.dtype and np.array_equal(y, x) and y.tobytes("A") == x.tobytes("A")
    for kind in ["<f4", ">f4"]:
        for memory in "CF":
            out = np.empty(x.shape, kind, order=memory)
            assert codec.decode(payload, out=out) is out and np.array_equal(out, x), (kind, memory)
    raw = bytearray(x.nbytes)
    codec.decode(payload, out=raw)
    assert bytes(raw) == x.tobytes("A")


def test_a_damaged_layout_is_said() -> None:
    payload = bytearray(Lithify().encode(smooth((8, 8)).astype(">f4")))
    payload[len(LAYOUT)] = 9
    with pytest.raises(lithify.CorruptError, match="layout"):
        Lithify().decode(payload)
    with pytest.raises(lithify.CorruptError, match="layout"):
        Lithify().decode(payload[: len(LAYOUT)])
