"""A model that runs: each step goes from memory to the store, which grows and is whole at any moment.

Usage: python examples/in_situ.py [STORE.zarr] [STEPS]
"""

import sys
from pathlib import Path

import lithify
import numpy as np
import xarray as xr

store = Path(sys.argv[1] if len(sys.argv) > 1 else "target/examples/run.zarr")
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 6
store.parent.mkdir(parents=True, exist_ok=True)

lat, lon = np.linspace(-89, 89, 90), np.arange(0, 360, 2.0)


def step(i: int) -> xr.Dataset:
    """A warm spot that moves east."""
    x, y = np.meshgrid(np.deg2rad(lon), np.deg2rad(lat))
    t = 288 - 40 * np.sin(y) ** 2 + 10 * np.cos(x - i / 5) * np.cos(y) + 0.05 * np.random.default_rng(i).standard_normal(x.shape)
    time = np.datetime64("2000-01-01T00", "ns") + np.timedelta64(6 * i, "h")
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), t[None].astype("f4"), {"units": "K"})},
        coords={"time": [time], "lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
    )


first = step(0)
first["time"].encoding = {"units": "hours since 2000-01-01", "calendar": "standard", "dtype": "f8"}
first.encoding["unlimited_dims"] = {"time"}
# Sixteen steps share a chunk; it fills bit by bit, and what is in it is never coded again.
lithify.to_zarr(first, store, {"t": "abs=0.05"}, chunks={"time": 16}, effort=3, force=True)
for i in range(1, steps):
    report = lithify.append(step(i), store, dim="time")
    print(f"step {i}: largest error {max(v['achieved']['max_abs'] or 0 for v in report['variables']):.3f}")

lithify.verify(store)
with xr.open_dataset(store, engine="lithify") as ds:
    print(ds["t"].sizes, str(ds["time"].values[-1]))
    for i in range(steps):
        assert abs(ds["t"][i] - step(i)["t"][0]).max() <= 0.05
