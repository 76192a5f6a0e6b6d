"""Fields that tests share: small, of every kind that breaks codecs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[3] / "data"
DTYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]


@pytest.fixture(scope="session")
def data() -> Path:
    """The bundled files."""
    return DATA


def smooth(shape: tuple[int, ...], dtype: str = "f4") -> np.ndarray:
    """Waves with a little noise, within the range of the dtype."""
    rng = np.random.default_rng(sum(shape) + len(dtype))
    x = sum(np.sin(np.arange(n) * 6 / max(n, 1) + d).reshape([-1 if i == d else 1 for i in range(len(shape))]) for d, n in enumerate(shape))
    x = 50 + 20 * np.broadcast_to(x, shape) / max(len(shape), 1) + 0.01 * rng.standard_normal(shape)
    return x.astype(dtype)


def gappy(shape: tuple[int, ...], dtype: str = "f4") -> np.ndarray:
    """The same with NaN, infinities, a fill value, -0.0 and a subnormal."""
    x = smooth(shape, dtype).copy()
    flat = x.reshape(-1)
    for value, step in [(np.nan, 7), (np.inf, 31), (-np.inf, 37), (1e20, 11), (-0.0, 13), (np.finfo(dtype).tiny / 4, 41)]:
        flat[step::step * 2] = value
    return x
