"""xarray: text with gaps, what is left out, URLs, and what is refused in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lithify
import lithify.dask
import numpy as np
import pytest
import xarray as xr
from conftest import smooth


def objects(*values: object) -> xr.Dataset:
    x = np.empty(len(values), object)
    x[:] = values
    return xr.Dataset({"s": ("x", x)})


@pytest.mark.parametrize("values", [("a", None, "c"), ("a", np.nan), ("", "b"), (1, 2, 3), (1.5, None), (None, None), (True, False)])
def test_objects_become_what_xarray_makes_of_them(values: tuple[object, ...], tmp_path: Path) -> None:
    ds = objects(*values)
    lithify.to_zarr(ds, tmp_path / "ours.zarr")
    ds.to_zarr(tmp_path / "theirs.zarr", zarr_format=2, consolidated=False)
    ours = xr.open_dataset(tmp_path / "ours.zarr", engine="lithify")["s"].values
    theirs = xr.open_zarr(tmp_path / "theirs.zarr", consolidated=False)["s"].values
    assert [str(x) for x in ours] == [str(x) for x in theirs]


@pytest.mark.parametrize("values", [(1, "a"), (1, 2.5), ("a", 1.5, None)])
def test_mixed_objects_are_refused_as_by_xarray(values: tuple[object, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="variable 's'; object array contains mixed"):
        lithify.to_zarr(objects(*values), tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    import netCDF4

    with netCDF4.Dataset(tmp_path / "a.nc", "w") as f:
        f.createDimension("x", 3)
        pair = f.createCompoundType(np.dtype([("a", "f4"), ("b", "i4")]), "pair")
        f.createVariable("bad", pair, ("x",))
        f.createVariable("good", "f4", ("x",))[:] = 1
    with pytest.warns(UserWarning, match="variable bad is left out") as said:
        ds = xr.open_dataset(tmp_path / "a.nc", engine="lithify")
    assert list(ds.variables) == ["good"] and [w.filename for w in said] == [__file__]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of a folder."""
    server = Path(__file__).parents[3] / "scripts" / "remote_server.py"
    process = subprocess.Popen([sys.executable, server, "files", tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_urls(web: str, tmp_path: Path) -> None:
    ds = xr.Dataset({"t": (("y", "x"), smooth((70, 80)))})
    for name in ("a.zarr", "a.zarr.zip"):
        lithify.to_zarr(ds, tmp_path / name, "abs=0.01")
    ds.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    for name in ("a.zarr", "a.zarr.zip", "a.nc"):
        with xr.open_dataset(f"{web}/{name}", engine="lithify") as back:
            assert abs(back["t"].values - ds["t"].values).max() <= 0.01, name
            assert np.array_equal(back["t"][3, 5:9], back["t"].values[3, 5:9])
    with pytest.raises(OSError, match="none.zarr"):
        xr.open_dataset(f"{web}/none.zarr", engine="lithify")


def test_urls_of_fsspec() -> None:
    ds = xr.Dataset({"t": (("y", "x"), smooth((70, 80)))})
    ds.to_zarr("memory://urls.zarr", encoding=lithify.encoding(ds, "abs=0.01"), zarr_format=3, consolidated=False)
    with xr.open_dataset("memory://urls.zarr", engine="lithify") as back:
        assert abs(back["t"].values - ds["t"].values).max() <= 0.01


ARRAY = xr.DataArray(np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda out: lithify.to_zarr(ARRAY, out), TypeError, "to_dataset"),
        (lambda out: lithify.to_zarr(xr.DataTree(), out), TypeError, "DataTree .*to_dataset"),
        (lambda out: lithify.to_zarr(np.zeros(3), out), TypeError, "Dataset is needed, not ndarray"),
        (lambda out: lithify.append(ARRAY, out), TypeError, "to_dataset"),
        (lambda out: lithify.encoding(ARRAY), TypeError, "to_dataset"),
        (lambda out: lithify.dask.compress(ARRAY, out), TypeError, "to_dataset"),
        (lambda out: lithify.dask.compress(xr.DataTree(), out), TypeError, "DataTree"),
        (lambda out: xr.open_datatree(out, engine="lithify"), NotImplementedError, "group="),
        (lambda out: lithify.to_zarr(ARRAY.to_dataset(name="t"), out, effort=300), ValueError, "effort is 1"),
        (lambda out: lithify.dask.compress(ARRAY.to_dataset(name="t"), out, effort=-1), ValueError, "effort is 1"),
    ],
)
def test_refusals_say_what_to_do(call: Callable[[Path], Any], error: type[Exception], says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        call(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []
