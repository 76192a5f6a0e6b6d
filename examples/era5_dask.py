"""A dataset in the manner of ERA5 on a Dask cluster: workers encode, nothing passes through this process.

Usage: python examples/era5_dask.py [SCHEDULER ADDRESS] [STORE.zarr]; without an address a cluster of two processes is started here
"""

import sys
from pathlib import Path

import dask.array as da
import lithify
import lithify.dask
import numpy as np
import xarray as xr
from dask.distributed import Client, LocalCluster

LEVELS = [1000, 850, 700, 500, 300, 200]


def block(block_info=None):
    """One block of temperature, made where it is compressed."""
    (t0, t1), (l0, l1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    t = np.arange(t0, t1)[:, None, None, None]
    p = np.array(LEVELS)[l0:l1][None, :, None, None]
    y = np.deg2rad(np.linspace(90, -90, 91)[y0:y1])[None, None, :, None]
    x = np.deg2rad(np.arange(0, 360, 2.0)[x0:x1])[None, None, None, :]
    noise = np.random.default_rng(t0).standard_normal((t1 - t0, l1 - l0, y1 - y0, x1 - x0))
    return (210 + 80 * (p / 1000) ** 0.5 * np.cos(y) + 5 * np.sin(3 * x + t / 8) * np.cos(y) ** 2 + 0.1 * noise).astype("f4")


def main() -> None:
    store = Path(sys.argv[2] if len(sys.argv) > 2 else "target/examples/era5.zarr")
    store.parent.mkdir(parents=True, exist_ok=True)
    cluster = sys.argv[1] if len(sys.argv) > 1 else LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    t = da.map_blocks(block, chunks=((8,) * 6, (len(LEVELS),), (91,), (180,)), dtype="f4")
    ds = xr.Dataset(
        {"t": (("time", "level", "latitude", "longitude"), t, {"units": "K", "standard_name": "air_temperature"})},
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(48) * np.timedelta64(1, "h"),
            "level": ("level", LEVELS, {"units": "hPa"}),
            "latitude": ("latitude", np.linspace(90, -90, 91), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(0, 360, 2.0), {"units": "degrees_east"}),
        },
    )
    with Client(cluster) as client:
        report = lithify.dask.compress(ds, store, bound={"t": "abs=0.05"}, effort=3, client=client, force=True)
    done = next(v for v in report["variables"] if v["name"] == "t")
    print(f"largest error {done['achieved']['max_abs']:.3f} K, ratio {done['ratio']:.1f}")
    with xr.open_zarr(store, consolidated=False) as back:
        print(back["t"].sel(level=500).mean("time").compute().values.round(1)[45, :3])


if __name__ == "__main__":
    main()
