"""Arrays in memory: `compress`, `decompress`, `compare`."""

from __future__ import annotations

import threading
import time

import lithify
import numpy as np
import pytest
from conftest import DTYPES, gappy, smooth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPES = [(), (1,), (0,), (3, 0, 2), (17,), (13, 11), (1, 64), (5, 7, 9), (2, 3, 4, 5)]


def within(x: np.ndarray, y: np.ndarray, bound: str, field: np.ndarray | None = None) -> bool:
    """The promise, said again by numpy in exact or wider arithmetic."""
    name, _, value = bound.partition("=")
    field = x if field is None else field
    valid = np.isfinite(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
    a, b = x[valid].astype(np.longdouble), y[valid].astype(np.longdouble)
    if name == "lossless":
        return x.tobytes() == y.tobytes()
    e = np.longdouble(float(value))
    if not a.size:
        return True
    if name == "abs":
        return bool((abs(a - b) <= e).all())
    if name == "rel":
        return bool((abs(a - b) <= e * abs(a)).all())
    if name == "range":
        f = field[np.isfinite(field)].astype(np.longdouble)
        return bool((abs(a - b) <= e * (f.max() - f.min())).all())
    if name in ("l2", "l2-block"):
        return bool(np.sqrt(((a - b) ** 2).sum()) <= e * np.sqrt((a**2).sum()))
    raise AssertionError(bound)


@pytest.mark.parametrize("bound", ["lossless", "abs=0.5", "rel=0.01", "range=1e-3", "l2=1e-3", "l2-block=1e-3"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_keeps_its_bound(dtype: str, bound: str) -> None:
    for shape in SHAPES:
        x = smooth(shape, dtype)
        y = lithify.decompress(lithify.compress(x, bound))
        assert y.shape == x.shape and y.dtype == x.dtype
        assert within(x, y, bound), (shape, bound)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hnp.arrays(
        st.sampled_from([np.dtype(d) for d in DTYPES]), hnp.array_shapes(max_dims=4, max_side=9)
    ),
    st.sampled_from(["lossless", "abs=0.1", "rel=0.001", "abs=1e-3,rel=0.1"]),
    st.integers(1, 9),
)
def test_any_bits_keep_their_bound(x: np.ndarray, bound: str, effort: int) -> None:
    y = lithify.decompress(lithify.compress(x, bound, effort=effort))
    for one in bound.split(","):
        assert within(x, y, one)


def test_what_is_missing_comes_back_bit_for_bit() -> None:
    x = gappy((40, 50))
    y = lithify.decompress(lithify.compress(x, "abs=0.1", fill_value=1e20))
    gone = ~np.isfinite(x) | (x == np.float32(1e20))
    assert x[gone].tobytes() == y[gone].tobytes()
    assert within(np.where(gone, np.float32(0), x), np.where(gone, np.float32(0), y), "abs=0.1")


def test_masks() -> None:
    x = smooth((30, 40))
    mask = np.zeros(x.shape, bool)
    mask[5:20, 5:30] = True
    y = lithify.decompress(lithify.compress(x, "abs=0.1", mask=mask))
    assert np.isnan(y[mask]).all() and within(x[~mask], y[~mask], "abs=0.1")
    z = lithify.decompress(lithify.compress(np.ma.array(x, mask=mask), "abs=0.1", fill_value=-999))
    assert (z[mask] == -999).all() and within(x[~mask], z[~mask], "abs=0.1")
    with pytest.raises(ValueError, match="fill_value"):
        lithify.compress(x.astype("i2"), mask=mask)


@pytest.mark.parametrize("order", ["F", "swapped", "strided", "list"])
def test_any_layout_is_taken(order: str) -> None:
    x = smooth((20, 30))
    given = {"F": np.asfortranarray(x), "swapped": x.astype(">f4"), "strided": np.repeat(x, 2, axis=1)[:, ::2]}
    y = lithify.decompress(lithify.compress(given.get(order, x.tolist()), "abs=0.01"))
    assert within(x.astype(y.dtype), y, "abs=0.02")


def test_regions() -> None:
    x = smooth((20, 30, 8))
    payload = lithify.compress(x, "abs=0.01")
    whole = lithify.decompress(payload)
    assert (lithify.decompress(payload, np.s_[3:9, :, -2:]) == whole[3:9, :, -2:]).all()
    with pytest.raises(ValueError, match="dimensions"):
        lithify.decompress(payload, np.s_[3:9])


def test_packed_integers_are_bounded_in_physical_units() -> None:
    x = (smooth((40, 50)) * 100).astype("i2")
    y = lithify.decompress(lithify.compress(x, "abs=0.5", scale=0.01, offset=-20))
    assert abs(x * 0.01 - y * 0.01).max() <= 0.5 and (x != y).any()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: lithify.compress(np.zeros(3, "f2")), TypeError, "float16"),
        (lambda: lithify.compress(np.zeros(3, "c8")), TypeError, "complex64"),
        (lambda: lithify.compress(np.array(["a"])), TypeError, "cannot be compressed"),
        (lambda: lithify.compress(np.zeros((1,) * 9)), ValueError, "8 dimensions"),
        (lambda: lithify.compress(np.zeros(3), "abs=-1"), ValueError, "bound"),
        (lambda: lithify.compress(np.zeros(3), "nonsense"), ValueError, "bound"),
        (lambda: lithify.compress(np.zeros(3), "abs=1", codec="nonsense"), ValueError, "nonsense"),
        (lambda: lithify.compress(np.zeros(3), "abs=1", effort=10), ValueError, "effort"),
        (lambda: lithify.compress(np.zeros(3, "i1"), "abs=1", fill_value=0.5), ValueError, "no single int8"),
        (lambda: lithify.compress(np.zeros((3, 4)), "abs=1", mask=np.zeros(4, bool)), ValueError, "the mask has shape"),
        (lambda: lithify.compress(np.zeros(3), "abs=1", mask=True), ValueError, "the mask has shape"),
        (lambda: lithify.compress(np.zeros(3), effort=300), ValueError, "effort is 1"),
        (lambda: lithify.compress_file("in.nc", "out.zarr", effort=-1), ValueError, "effort is 1"),
        (lambda: lithify.decompress(b""), EOFError, "cut short"),
        (lambda: lithify.decompress(b"nonsense, long enough to be something"), lithify.CorruptError, "damaged"),
        (lambda: lithify.decompress(lithify.compress(np.arange(9.0))[:-1]), (lithify.CorruptError, EOFError), "damaged|cut short"),
        (lambda: lithify.open_store("/no/such/file"), FileNotFoundError, "/no/such/file"),
        (lambda: lithify.open_store(__file__), NotImplementedError, "not one of"),
    ],
)
def test_errors_have_pythons_types(call, error, says) -> None:
    with pytest.raises(error, match=says):
        call()


def test_damage_is_an_error_not_a_crash() -> None:
    payload = lithify.compress(gappy((20, 20)), "abs=0.1", fill_value=1e20)
    rng = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(payload)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        with pytest.raises((ValueError, EOFError, NotImplementedError, MemoryError)):
            lithify.decompress(bad)


def test_comparison_says_what_numpy_says() -> None:
    x = smooth((50, 60))
    y = lithify.decompress(lithify.compress(x, "abs=0.1"))
    c = lithify.compare(x, y)
    assert c["max_abs"] == pytest.approx(abs(x.astype("f8") - y).max()) and c["n_missing_changed"] == 0
    assert c["rmse"] == pytest.approx(np.sqrt(((x.astype("f8") - y) ** 2).mean()))
    with pytest.raises(ValueError, match="alike"):
        lithify.compare(x, y.astype("f8"))


def test_other_threads_run_meanwhile() -> None:
    x = smooth((400, 500))
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    t = threading.Thread(target=tick)
    t.start()
    begin = time.monotonic()
    payload = lithify.compress(x, "abs=1e-3", effort=9)
    lithify.decompress(payload)
    end = time.monotonic()
    stop.set()
    t.join()
    inside = sum(begin < s < end for s in ticks)
    assert inside >= 3, "the interpreter was held all the time"


def test_arrays_at_odd_addresses_are_taken() -> None:
    x = smooth((30, 40))
    odd = np.frombuffer(b"\0" + x.tobytes(), "u1")[1:].view("f4").reshape(x.shape)
    assert not odd.flags.aligned
    assert lithify.compress(odd, "abs=0.01") == lithify.compress(x, "abs=0.01")
