"""xarray: stores of lithify and of xarray itself, lazily, with everything that a dataset carries."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from pathlib import Path

import lithify
import numpy as np
import pytest
import xarray as xr
from conftest import smooth


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """Times, packing, a mask, text, flags, scalars, two kinds of coordinates."""
    n, lat, lon = 10, 30, 40
    t = smooth((n, lat, lon))
    masked = t.astype("f4").copy()
    masked[:, 10:20, 5:15] = np.nan
    out = xr.Dataset(
        {
            "t": (("time", "lat", "lon"), t, {"units": "K", "long_name": "temperature"}),
            "sst": (("time", "lat", "lon"), masked, {"units": "degC"}),
            "packed": (("time", "lat", "lon"), t.astype("f8"), {"units": "m"}),
            "flags": (("lat", "lon"), (t[0] > 50).astype("i1"), {"flag_values": np.array([0, 1], "i1")}),
            "label": (("time",), np.array([f"step {i}" for i in range(n)], dtype=object)),
            "scalar": ((), 4.5),
        },
        coords={
            "time": np.datetime64("2001-01-01") + np.arange(n) * np.timedelta64(6, "h"),
            "lat": ("lat", np.linspace(-89, 89, lat), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(0, 359, lon), {"units": "degrees_east"}),
            "area": (("lat", "lon"), np.ones((lat, lon)), {"units": "m2"}),
        },
        attrs={"title": "a test", "version": 3, "list": ["a", "b"], "numbers": np.array([1.5, 2.5])},
    )
    out["packed"].encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 50.0, "_FillValue": np.int16(-32768)}
    out["sst"].encoding = {"_FillValue": np.float32(1e20)}
    out.encoding["unlimited_dims"] = {"time"}
    return out


BOUND = {"t": "abs=0.05", "sst": "range=1e-3", "packed": "abs=0.1"}


def alike(a: xr.Dataset, b: xr.Dataset) -> None:
    """The same but for the values of the three lossy variables, which keep their bounds."""
    assert set(a.variables) == set(b.variables)
    assert {k: np.asarray(v).tolist() for k, v in a.attrs.items()} == {k: np.asarray(v).tolist() for k, v in b.attrs.items()}
    for name in a.variables:
        assert a[name].dims == b[name].dims and a[name].attrs.keys() == b[name].attrs.keys(), name
        if name in BOUND:
            x, y = a[name].values.astype("f8"), b[name].values.astype("f8")
            assert np.array_equal(np.isnan(x), np.isnan(y)), name
            most = {"t": 0.05, "sst": 1e-3 * (np.nanmax(x) - np.nanmin(x)), "packed": 0.1 + 0.005}[name]
            assert np.nanmax(abs(x - y)) <= most * (1 + 1e-6), name
            assert (x != y).any(), f"{name} is lossy"
        else:
            xr.testing.assert_identical(a[name].variable.load(), b[name].variable.load())


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_a_dataset_becomes_a_store_with_certificates(ds: xr.Dataset, tmp_path: Path, name: str) -> None:
    report = lithify.to_zarr(ds, tmp_path / name, BOUND)
    assert {v["name"] for v in report["variables"]} == set(ds.variables)
    lithify.verify(tmp_path / name)
    with xr.open_dataset(tmp_path / name, engine="lithify") as back:
        alike(ds, back)
        assert back.encoding["unlimited_dims"] == {"time"}
        assert back["packed"].encoding["scale_factor"] == 0.01 and "serializer" not in back["t"].encoding
    with pytest.raises(ValueError, match="exists"):
        lithify.to_zarr(ds, tmp_path / name, BOUND)
    lithify.to_zarr(ds, tmp_path / name, None, force=True)
    with xr.open_dataset(tmp_path / name, engine="lithify") as back:
        assert np.array_equal(back["t"], ds["t"])


def test_xarrays_own_engine_reads_our_stores(ds: xr.Dataset, tmp_path: Path) -> None:
    for name in ["a.zarr", "a.zarr.zip"]:
        lithify.to_zarr(ds, tmp_path / name, BOUND)
        where = tmp_path / name
        import zarr

        store = zarr.storage.ZipStore(where, mode="r") if name.endswith("zip") else where
        with xr.open_zarr(store, consolidated=False, chunks=None) as back:
            ours = xr.open_dataset(where, engine="lithify")
            for v in ds.variables:
                assert np.array_equal(back[v].values, ours[v].values) or back[v].dtype.kind == "f"
                if back[v].dtype.kind == "f":
                    assert np.array_equal(back[v].values, ours[v].values, equal_nan=True), v


def test_we_read_what_xarray_wrote(ds: xr.Dataset, tmp_path: Path) -> None:
    ds.to_zarr(tmp_path / "x.zarr", encoding=lithify.encoding(ds, BOUND, effort=2), zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None, consolidated=False) as a:
        alike(ds, a)
        with xr.open_dataset(tmp_path / "x.zarr", engine="lithify") as b:
            for v in BOUND:
                assert np.array_equal(a[v].values, b[v].values, equal_nan=True)


@pytest.mark.parametrize("where", ["fsspec", "obstore"])
def test_stores_in_memory(ds: xr.Dataset, where: str) -> None:
    import zarr

    if where == "fsspec":
        store = zarr.storage.FsspecStore.from_url(f"memory://{np.random.default_rng().integers(1 << 60)}.zarr")
    else:
        import obstore

        store = zarr.storage.ObjectStore(obstore.store.MemoryStore())
    ds.to_zarr(store, encoding=lithify.encoding(ds, BOUND, effort=2), zarr_format=3, consolidated=False)
    with xr.open_dataset(store, engine="lithify") as back:
        alike(ds, back)


def test_the_command_line_writes_the_same_store(ds: xr.Dataset, tmp_path: Path) -> None:
    ds.to_netcdf(tmp_path / "in.nc", engine="netcdf4")
    raw = xr.open_dataset(tmp_path / "in.nc", engine="netcdf4", decode_cf=False)
    rules = {k: v for k, v in BOUND.items()}
    lithify.compress_file(tmp_path / "in.nc", tmp_path / "cli.zarr", rules)
    lithify.to_zarr(raw, tmp_path / "py.zarr", rules)
    ours, theirs = lithify.open_store(tmp_path / "py.zarr"), lithify.open_store(tmp_path / "cli.zarr")
    for name in BOUND:
        assert ours[name].certificate == theirs[name].certificate and ours[name].chunk == theirs[name].chunk
        files = sorted(p.relative_to(tmp_path / "py.zarr") for p in (tmp_path / "py.zarr" / name / "c").rglob("*") if p.is_file())
        assert files
        for f in files:
            assert (tmp_path / "py.zarr" / f).read_bytes() == (tmp_path / "cli.zarr" / f).read_bytes()


def test_reading_is_lazy_and_reads_little(tmp_path: Path) -> None:
    x = smooth((64, 48, 64))
    ds = xr.Dataset({"t": (("time", "y", "x"), x)})
    lithify.to_zarr(ds, tmp_path / "a.zarr", "abs=0.01", chunks={"time": 64, "y": 16, "x": 16}, effort=2)
    store = lithify.open_store(tmp_path / "a.zarr")
    opened = store.bytes_read
    series = store["t"][:, 20, 33]
    assert abs(series - x[:, 20, 33]).max() <= 0.01
    assert opened < 10_000 and store.bytes_read - opened < store["t"].stored_bytes / 12 * 1.2
    with xr.open_dataset(tmp_path / "a.zarr", engine="lithify", chunks={}) as lazy:
        assert lazy["t"].chunks == ((64,), (16, 16, 16), (16, 16, 16, 16))
        assert abs(lazy["t"].mean().compute() - x.mean()) < 0.01
        again = pickle.loads(pickle.dumps(lazy))
        assert np.array_equal(again["t"][3].values, lazy["t"][3].values)
        assert np.array_equal(lazy["t"][::-3, 5:1:-1, [3, 60]], store["t"][...][::-3, 5:1:-1, [3, 60]])


def test_dask_chunks_become_zarr_chunks(tmp_path: Path) -> None:
    x = smooth((40, 32, 32))
    ds = xr.Dataset({"t": (("time", "y", "x"), x)}).chunk({"time": 8})
    enc = lithify.encoding(ds, "abs=0.01", effort=2)
    assert enc["t"]["chunks"] == (8, 32, 32)
    ds.to_zarr(tmp_path / "a.zarr", encoding=enc, zarr_format=3, consolidated=False)
    assert abs(xr.open_zarr(tmp_path / "a.zarr", consolidated=False)["t"].values - x).max() <= 0.01
    report = lithify.to_zarr(ds, tmp_path / "b.zarr", "abs=0.01", effort=2)
    assert report["variables"][0]["achieved"]["max_abs"] <= 0.01


def test_append_dim_and_region_keep_the_bound(tmp_path: Path) -> None:
    x = smooth((20, 16, 24))
    ds = xr.Dataset({"t": (("time", "y", "x"), x)}, coords={"time": np.arange(20), "y": np.arange(16.0)})
    enc = lithify.encoding(ds, "abs=0.01", effort=2, chunks={"time": 8})
    store = tmp_path / "a.zarr"
    ds.isel(time=slice(0, 5)).to_zarr(store, encoding=enc, zarr_format=3, consolidated=False)
    first = xr.open_zarr(store, consolidated=False)["t"].values
    for part in [slice(5, 6), slice(6, 13), slice(13, 20)]:
        ds.isel(time=part).to_zarr(store, append_dim="time", consolidated=False)
    back = xr.open_zarr(store, consolidated=False).load()
    assert abs(back["t"].values - x).max() <= 0.01 and np.array_equal(back["time"], ds["time"])
    assert np.array_equal(back["t"].values[:5], first), "what was there is what it was"
    # A region: the rest of its chunks stays bit for bit.
    new = ds.isel(time=slice(3, 5)) * 0 + 7
    new.drop_vars("y").to_zarr(store, region={"time": slice(3, 5)}, consolidated=False)
    after = xr.open_zarr(store, consolidated=False)["t"].values
    assert abs(after[3:5] - 7).max() <= 0.01 and np.array_equal(np.delete(after, [3, 4], 0), np.delete(back["t"].values, [3, 4], 0))


def test_appending_goes_on_where_the_store_ends(ds: xr.Dataset, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    bound = {"t": "abs=0.05", "sst": "range=1e-3", "packed": "abs=0.1"}
    lithify.to_zarr(ds.isel(time=slice(0, 4)), store, bound, chunks={"time": 6}, effort=2)
    old = xr.open_dataset(store, engine="lithify").load()
    report = lithify.append(ds.isel(time=slice(4, 10)), store)
    assert (report["start"], report["stop"]) == (4, 10)
    lithify.verify(store)
    with xr.open_dataset(store, engine="lithify") as back:
        alike(ds, back)
        for name in ds.variables:
            first = back[name].isel(time=slice(0, 4)) if "time" in back[name].dims else back[name]
            assert first.identical(old[name]) or first.dtype.kind == "f" and np.array_equal(first, old[name], equal_nan=True), name
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    for wrong, says in [
        (ds.isel(time=slice(4, 10)), "time"),
        (ds.isel(time=slice(4, 10)).drop_vars("t"), "t"),
        (ds.isel(lat=slice(0, 3)).assign_coords(time=ds["time"] + np.timedelta64(9, "D")), "lat"),
    ]:
        with pytest.raises(ValueError, match=says):
            lithify.append(wrong, store)
    assert before == {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_bounds_of_the_whole_variable(ds: xr.Dataset, tmp_path: Path) -> None:
    enc = lithify.encoding(ds, {"t": "l2=1e-3"})
    assert "l2_block" in enc["t"]["serializer"]["configuration"]["resolved"]
    with pytest.raises(ValueError, match="lithify.to_zarr"):
        lithify.encoding(ds, "psnr=60")
    with pytest.raises(ValueError, match="no variable"):
        lithify.encoding(ds, {"nope": "abs=1"})
    report = lithify.to_zarr(ds[["t"]], tmp_path / "a.zarr", "psnr=60")
    t = next(v for v in report["variables"] if v["name"] == "t")
    assert t["achieved"]["psnr"] >= 60


def test_errors_of_the_data_come_out_as_they_are(tmp_path: Path) -> None:
    import dask.array as da

    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("the disk is gone")

    bad = xr.Dataset({"t": ("x", da.zeros(8192, chunks=4096, dtype="f4").map_blocks(fail, dtype="f4", meta=np.zeros(0, "f4")))})
    with pytest.raises(RuntimeError, match="the disk is gone"):
        lithify.to_zarr(bad, tmp_path / "a.zarr", "abs=0.1")
    assert list(tmp_path.iterdir()) == []


def test_other_files_open_too(data: Path) -> None:
    with xr.open_dataset(data / "waves-reduced.grib2", engine="lithify") as grib:
        assert any(v.size > 1e5 for v in grib.data_vars.values())
    with xr.open_dataset(data / "cesm-T.nc", engine="lithify") as ours, xr.open_dataset(data / "cesm-T.nc", engine="netcdf4") as theirs:
        xr.testing.assert_identical(ours.load(), theirs.load())


def test_files_go_there_and_back(data: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    lithify.compress_file(data / "pop-SSH.nc", tmp_path / "a.zarr", "range=1e-3", progress=lambda *a: calls.append(a))
    assert calls and sum(c[1] for c in calls) > 1e6
    assert lithify.verify(tmp_path / "a.zarr", data / "pop-SSH.nc")["ok"]
    info = lithify.info(tmp_path / "a.zarr")
    assert info["format"] == "Zarr v3" and info["variables"]["SSH"]["certificate"]["bound"] == "range=0.001"
    out = lithify.decompress_file(tmp_path / "a.zarr", tmp_path / "back.nc")
    with xr.open_dataset(out, decode_times=False) as a, xr.open_dataset(data / "pop-SSH.nc", decode_times=False) as b:
        assert a["SSH"].attrs == b["SSH"].attrs and a["SSH"].dtype == b["SSH"].dtype
    # Damage is found, and said.
    victim = max((tmp_path / "a.zarr" / "SSH" / "c").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    bad = bytearray(victim.read_bytes())
    bad[len(bad) // 2] ^= 1
    victim.write_bytes(bad)
    with pytest.raises(lithify.BoundError, match="SSH"):
        lithify.verify(tmp_path / "a.zarr")
    assert not lithify.verify(tmp_path / "a.zarr", check=False)["ok"]


def test_ctrl_c_ends_a_job_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lithify.compress_file(data / "pop-SSH.nc", tmp_path / "a.zarr", "range=1e-3", progress=stop)
    assert list(tmp_path.iterdir()) == []
