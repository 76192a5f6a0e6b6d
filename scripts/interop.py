"""Checks that netCDF4, xarray and zarr-python read what lithify wrote: interop.py ORIGINAL.nc DIRECTORY."""

import sys

import netCDF4
import numpy as np
import xarray as xr
import zarr

original, out = sys.argv[1], sys.argv[2]

# netCDF4 and xarray: the same dimensions, variables and attributes; T within the promise, everything else equal.
with netCDF4.Dataset(original) as a, netCDF4.Dataset(f"{out}/T.nc") as b:
    assert [(d.name, len(d), d.isunlimited()) for d in a.dimensions.values()] == [
        (d.name, len(d), d.isunlimited()) for d in b.dimensions.values()
    ]
    assert a.__dict__.keys() == b.__dict__.keys()
    for name in a.variables:
        va, vb = a[name], b[name]
        assert va.dtype == vb.dtype and va.dimensions == vb.dimensions, name
        for key in va.ncattrs():
            x, y = va.getncattr(key), vb.getncattr(key)
            assert type(x) is type(y) and np.array_equal(x, y, equal_nan=not isinstance(x, str)), (name, key)

with xr.open_dataset(original, decode_times=False) as a, xr.open_dataset(f"{out}/T.nc", decode_times=False) as b:
    assert a.attrs == b.attrs
    xr.testing.assert_identical(a.drop_vars("T"), b.drop_vars("T"))
    x, y = a["T"].values.astype("f8"), b["T"].values.astype("f8")
    l2 = np.linalg.norm(x - y) / np.linalg.norm(x)
    assert 0 < l2 <= 1e-3, l2

# zarr-python: every array in standard codecs opens and is equal.
with netCDF4.Dataset(original) as a:
    a.set_auto_mask(False)
    group = zarr.open_group(f"{out}/T.zarr", mode="r")
    n = 0
    for name in a.variables:
        if name == "T":
            continue
        values, want = group[name][...], a[name][...]
        if want.dtype.kind == "S":
            values = values.astype("S1") if values.dtype.kind in "SU" else values.view("S1")
        assert np.array_equal(values, want), name
        n += 1
print(f"netCDF4, xarray and zarr-python agree: l2 {l2:.3e}, {n} arrays in standard codecs")
