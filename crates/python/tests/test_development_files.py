"""Whole files through xarray: bounds, attributes, encodings. More files than the bundled ones: LITHIFY_DATA=DIR pytest ..."""

from __future__ import annotations

import os
from pathlib import Path

import lithify
import numpy as np
import pytest
import xarray as xr
from conftest import DATA

FILES = sorted(DATA.glob("*.nc")) + sorted(Path(os.environ["LITHIFY_DATA"]).rglob("*.nc") if "LITHIFY_DATA" in os.environ else [])
OURS = {"lithify", "lithify_model"}
KEPT = ("units", "calendar", "scale_factor", "add_offset", "_FillValue", "missing_value", "dtype")


def bounded(path: Path) -> dict[str, str]:
    """A range bound for each variable that may be lossy."""
    with xr.open_dataset(path, decode_times=False) as ds:
        return {str(n): "range=1e-3" for n in lithify.encoding(ds, "range=1e-3", effort=1) if ds[n].dtype.kind == "f"}


def check(path: Path, back: xr.Dataset, lossy: dict[str, str]) -> None:
    with xr.open_dataset(path) as ds:
        assert set(ds.variables) == set(back.variables)
        assert ds.attrs.keys() == back.attrs.keys() - OURS
        for name, a in ds.variables.items():
            b = back.variables[name]
            assert a.dims == b.dims and a.shape == b.shape, name
            ours = {k: np.asarray(v).tolist() for k, v in b.attrs.items() if k not in OURS}
            assert {k: np.asarray(v).tolist() for k, v in a.attrs.items()} == ours, name
            for key in KEPT:
                if key not in a.encoding or (key == "dtype" and a.dtype.kind in "OSU"):
                    continue
                x, y = a.encoding[key], b.encoding.get(key)
                if key == "units":
                    # xarray itself shortens these.
                    x, y = str(x).removesuffix(" 00:00:00"), str(y).removesuffix(" 00:00:00")
                assert x == y or (x != x and y != y), (name, key)
            x, y = a.values, b.values
            if name in lossy:
                assert np.array_equal(np.isnan(x), np.isnan(y)), name
                with np.errstate(invalid="ignore"):
                    span = np.nanmax(x.astype("f8")) - np.nanmin(x.astype("f8")) if np.isfinite(x).any() else 0
                    most = np.nanmax(abs(x.astype("f8") - y.astype("f8"))) if np.isfinite(x).any() else 0
                # What xarray unpacks in float32 is off by its rounding.
                assert most <= 1e-3 * span + 2 * np.finfo(x.dtype).eps * np.nanmax(abs(x), initial=0), name
            elif x.dtype.kind == "f":
                assert np.array_equal(x, y, equal_nan=True), name
            else:
                assert (x == y).all() or ((x != x) == (y != y)).all(), name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_xarrays_to_zarr_with_our_encoding(path: Path, tmp_path: Path) -> None:
    lossy = bounded(path)
    with xr.open_dataset(path) as ds:
        for v in ds.variables.values():
            # What netCDF knows and Zarr does not.
            for key in set(v.encoding) - set(KEPT):
                del v.encoding[key]
        ds.to_zarr(tmp_path / "a.zarr", encoding=lithify.encoding(ds, lossy, effort=1), zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False) as back:
        check(path, back, lossy)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_our_to_zarr(path: Path, tmp_path: Path) -> None:
    lossy = bounded(path)
    with xr.open_dataset(path) as ds:
        lithify.to_zarr(ds, tmp_path / "a.zarr", lossy, effort=1)
    lithify.verify(tmp_path / "a.zarr")
    with xr.open_dataset(tmp_path / "a.zarr", engine="lithify") as back:
        check(path, back, lossy)
    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False) as back:
        check(path, back, lossy)
