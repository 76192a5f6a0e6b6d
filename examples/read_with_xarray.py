"""Reading a store with nothing but xarray: lazily, a part at a time, in parallel.

Usage: python examples/read_with_xarray.py [STORE.zarr], by default one that is made here
"""

import sys
from pathlib import Path

import xarray as xr

if len(sys.argv) > 1:
    store = sys.argv[1]
else:
    import lithify

    store = Path("target/examples/ssh.zarr")
    store.parent.mkdir(parents=True, exist_ok=True)
    lithify.compress_file(Path(__file__).parents[1] / "data/pop-SSH.nc", store, "range=1e-3", chunks={"nlat": 96}, force=True)

# From here on the script does not know of lithify; zarr-python finds the codec when it meets it.
ds = xr.open_zarr(store, consolidated=False, decode_times=False)
name = max(ds.data_vars, key=lambda v: ds[v].size)
da = ds[name]
print(da.dims, da.shape, da.dtype, da.attrs.get("units"))
point = da.isel({d: n // 3 for d, n in zip(da.dims[1:], da.shape[1:])})
print("a series:", point.compute().values[:4])
print("a mean, chunk by chunk:", float(da.mean().compute()))
