"""A CESM history file: smaller, checked, and back.

Usage: python examples/cesm.py [FILE.nc] [OUTPUT DIRECTORY]
"""

import sys
from pathlib import Path

import lithify
import xarray as xr

source = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "data/cesm-T.nc")
out = Path(sys.argv[2] if len(sys.argv) > 2 else "target/examples")
out.mkdir(parents=True, exist_ok=True)

# Every data variable to a ten-thousandth of its range; temperature to 0.05 K.
report = lithify.compress_file(source, out / "cesm.zarr", {"T": "abs=0.05", "*": "range=1e-4"}, force=True)
for v in report["variables"]:
    if v["codec"] != "standard":
        print(f"{v['name']:8} {v['bound']:14} largest error {v['achieved']['max_abs']:.3g}, ratio {v['ratio']:.1f}")

# Every value against the original. Raises lithify.BoundError if one is off.
lithify.verify(out / "cesm.zarr", source)

# Plain xarray reads it ..
with xr.open_zarr(out / "cesm.zarr", consolidated=False) as ds:
    print(ds["T"].isel(time=0, lev=-1).mean().compute().item(), ds["T"].attrs["units"])

# .. and so does every netCDF tool, after this.
print(lithify.decompress_file(out / "cesm.zarr", out / "back.nc", force=True))
