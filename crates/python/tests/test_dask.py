"""Compression by a cluster: the same store, whatever happens to workers, and nothing done twice."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import lithify
import lithify.dask
import numpy as np
import pytest
import xarray as xr
from conftest import smooth
from lithify.dask import _places, _tasks
from lithify.dask.__main__ import main

distributed = pytest.importorskip("distributed")

CUT = {"chunks": {"time": 4, "y": 16, "x": 48}, "effort": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes that are started anew when they are killed."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """Shards, packing, a mask, times, text; the last chunks are cut by the array's end."""
    x = smooth((38, 32, 90))
    masked = x.copy()
    masked[:, 5:20, 10:40] = np.nan
    out = xr.Dataset(
        {
            "t": (("time", "y", "x"), x, {"units": "K"}),
            "masked": (("time", "y", "x"), masked),
            "packed": (("time", "y", "x"), x.astype("f8")),
            "whole": (("time", "y", "x"), (x * 10).astype("i4")),
            "label": (("time",), np.array([f"step {i}" for i in range(38)], dtype=object)),
        },
        coords={"time": np.datetime64("2001-01-01") + np.arange(38) * np.timedelta64(6, "h"), "y": np.arange(32.0)},
        attrs={"title": "a test"},
    )
    out["packed"].encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 50.0, "_FillValue": np.int16(-32768)}
    out["masked"].encoding = {"_FillValue": np.float32(1e20)}
    return out.chunk({"time": 7, "x": 50})


BOUND = {"t": "abs=0.05", "masked": "range=1e-3", "packed": "abs=0.1", "whole": "lossless"}


def same(a: Path, b: Path) -> None:
    """Every file is the same."""
    files = [{p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()} for top in (a, b)]
    assert files[0].keys() == files[1].keys()
    assert [f for f in files[0] if files[0][f] != files[1][f]] == []
    assert len(files[0]) > 5


def counted(folder: Path, shape: tuple[int, ...] = (32, 64, 32), fail: int | None = None) -> xr.Dataset:
    """Data that note in a folder each time that a block is computed; block `fail` raises while there is a file `broken`."""

    def block(block_info: Any = None) -> np.ndarray:
        at = block_info[None]["chunk-location"][0]
        (folder / f"{at}.{os.urandom(8).hex()}").touch()
        if at == fail and (folder / "broken").exists():
            raise OSError("the disk is gone")
        return smooth((2, *shape[1:])) + np.float32(at)

    x = da.map_blocks(block, dtype="f4", chunks=((2,) * (shape[0] // 2), *((n,) for n in shape[1:])), name=f"counted-{folder.name}")
    return xr.Dataset({"t": (("time", "y", "x"), x)})


def computed(folder: Path) -> int:
    """How many blocks were computed so far."""
    return sum("." in p.name for p in folder.iterdir())


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def test_a_cluster_makes_the_same_store(client: Any, ds: xr.Dataset, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = lithify.dask.compress(ds, tmp_path / "b.zarr", BOUND, client=client, progress=lambda *a: told.append(a), **CUT)
    reference = lithify.to_zarr(ds, tmp_path / "a.zarr", BOUND, **CUT)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert lithify.verify(tmp_path / "b.zarr")["ok"]
    assert lithify.open_store(tmp_path / "b.zarr")["t"].shard is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]
    times = ("seconds", "mb_per_s")
    alike = [[{k: x for k, x in v.items() if k not in times} for v in r["variables"]] for r in (report, reference)]
    assert alike[0] == alike[1] and report["output"] == str(tmp_path / "b.zarr")
    assert sum(t[1] for t in told) == sum(v["raw_bytes"] for v in report["variables"] if v["codec"] != "standard")


@pytest.mark.parametrize("bound", ["bits=auto", "rel=1e-3,abs=0.5", None])
def test_threads_make_the_same_store(ds: xr.Dataset, tmp_path: Path, bound: str | None) -> None:
    lithify.to_zarr(ds, tmp_path / "a.zarr", bound, **CUT)
    lithify.dask.compress(ds, tmp_path / "b.zarr", bound, **CUT)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_a_file_is_read_by_the_workers(client: Any, data: Path, tmp_path: Path) -> None:
    options = {"chunks": {"lev": 2, "lat": 96}, "effort": 1}
    lithify.compress_file(data / "cesm-T.nc", tmp_path / "a.zarr", {"T": "abs=0.1"}, **options)
    lithify.dask.compress(data / "cesm-T.nc", tmp_path / "b.zarr", {"T": "abs=0.1"}, client=client, **options)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert lithify.verify(tmp_path / "b.zarr", data / "cesm-T.nc")["ok"]


def test_the_engine_reads_on_the_workers(client: Any, data: Path, tmp_path: Path) -> None:
    with xr.open_dataset(data / "cesm-T.nc", engine="lithify", chunks={}) as ds:
        lithify.dask.compress(ds, tmp_path / "a.zarr", {"T": "abs=0.1"}, effort=1, client=client)
        assert abs(lithify.open_store(tmp_path / "a.zarr")["T"][...] - ds["T"].values).max() <= 0.1


def test_what_was_lossy_before_is_said_and_written_down(ds: xr.Dataset, tmp_path: Path) -> None:
    lithify.to_zarr(ds[["t"]], tmp_path / "first.zarr", "abs=0.1", **CUT)
    for name, run in [("a.zarr", lithify.compress_file), ("b.zarr", lithify.dask.compress)]:
        with pytest.warns(RuntimeWarning, match="lossy already"):
            run(tmp_path / "first.zarr", tmp_path / name, "abs=0.2", **CUT)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert len(lithify.open_store(tmp_path / "b.zarr")["t"].certificate["lineage"]) == 2


def test_shards_can_be_chosen(ds: xr.Dataset, tmp_path: Path) -> None:
    lithify.dask.compress(ds, tmp_path / "a.zarr", BOUND, shards={"time": 16, "y": 32, "x": 96}, **CUT)
    assert lithify.open_store(tmp_path / "a.zarr")["t"].shard == [16, 32, 96]
    assert lithify.verify(tmp_path / "a.zarr")["ok"]
    for bad, why in [({"time": 6}, "multiple"), ({"depth": 4}, "depth")]:
        with pytest.raises(ValueError, match=why):
            lithify.dask.compress(ds, tmp_path / "b.zarr", BOUND, shards=bad, **CUT)


def test_norms_hold_over_the_whole(client: Any, ds: xr.Dataset, tmp_path: Path) -> None:
    report = lithify.dask.compress(ds, tmp_path / "a.zarr", {"t": "l2=1e-3", "masked": "psnr=60"}, client=client, **CUT)
    achieved = {v["name"]: v["achieved"] for v in report["variables"]}
    assert achieved["t"]["l2"] <= 1e-3 and achieved["masked"]["psnr"] >= 60
    back = lithify.open_store(tmp_path / "a.zarr")["t"][...].astype("f8")
    assert np.linalg.norm(back - ds["t"].values) <= 1e-3 * np.linalg.norm(ds["t"].values.astype("f8"))
    assert lithify.verify(tmp_path / "a.zarr")["ok"]


def test_a_norm_that_samples_got_wrong_is_encoded_again(tmp_path: Path) -> None:
    x = smooth((32, 64, 64)) - 50
    for probe in (2, 6, 10, 14):
        # Half of what is looked at first is constant, and without error at any step.
        x[2 * probe : 2 * probe + 2, :, :32] = 1
    ds = xr.Dataset({"t": (("time", "y", "x"), x)}).chunk({"time": 2})
    report = lithify.dask.compress(ds, tmp_path / "a.zarr", "l2=1e-3", chunks={"time": 2}, effort=1)
    t = report["variables"][0]
    assert t["n_encodes"] > 1 and t["achieved"]["l2"] <= 1e-3
    back = lithify.open_store(tmp_path / "a.zarr")["t"][...].astype("f8")
    assert np.linalg.norm(back - x) <= 1e-3 * np.linalg.norm(x.astype("f8"))
    assert lithify.verify(tmp_path / "a.zarr")["ok"]


def test_a_killed_worker_loses_nothing(client: Any, tmp_path: Path) -> None:
    flag = tmp_path / "killed"

    def block(block_info: Any = None) -> np.ndarray:
        at = block_info[None]["chunk-location"][0]
        if at == 9 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return smooth((2, 64, 32)) + np.float32(at)

    x = da.map_blocks(block, dtype="f4", chunks=((2,) * 16, (64,), (32,)), name="killing")
    ds = xr.Dataset({"t": (("time", "y", "x"), x)})
    lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", chunks={"time": 2}, effort=1, client=client, retries=0)
    assert flag.exists() and lithify.verify(tmp_path / "a.zarr")["ok"]
    want = np.concatenate([smooth((2, 64, 32)) + np.float32(i) for i in range(16)])
    assert abs(lithify.open_store(tmp_path / "a.zarr")["t"][...] - want).max() <= 0.01


def test_a_restart_does_only_what_is_left(notes: Path, tmp_path: Path) -> None:
    ds = counted(notes, fail=11)
    (notes / "broken").touch()
    arguments: dict[str, Any] = {"chunks": {"time": 2, "y": 32}, "effort": 1}
    with dask.config.set(scheduler="sync"):
        with pytest.raises(OSError, match="the disk is gone"):
            lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", **arguments)
        assert not (tmp_path / "a.zarr").exists()
        records = [p for p in (tmp_path / "a.zarr.progress").rglob("c.*.json")]
        assert 0 < len(records) < 8
        with pytest.raises(OSError, match="the disk is gone"):
            lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", **arguments)
        records = [p for p in (tmp_path / "a.zarr.progress").rglob("c.*.json")]
        (notes / "broken").unlink()
        before = computed(notes)
        lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", **arguments)
        shard = lithify.open_store(tmp_path / "a.zarr")["t"].shard
        assert shard == [8, 64, 32]
        # A shard is made of four blocks.
        assert computed(notes) - before == 16 - 4 * len(records)
        lithify.to_zarr(ds, tmp_path / "b.zarr", "abs=0.01", **arguments)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert not (tmp_path / "a.zarr.progress").exists()


@pytest.mark.parametrize("change", ["bound", "packing"])
def test_another_job_starts_over(notes: Path, tmp_path: Path, change: str) -> None:
    ds = counted(notes, fail=3)
    (notes / "broken").touch()
    with dask.config.set(scheduler="sync"), pytest.raises(OSError):
        lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", chunks={"time": 2}, effort=1)
    assert list((tmp_path / "a.zarr.progress").rglob("c.*.json"))
    (notes / "broken").unlink()
    if change == "packing":
        ds["t"].encoding = {"scale_factor": 0.001, "dtype": "i4", "_FillValue": -1}
    before = computed(notes)
    lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.02" if change == "bound" else "abs=0.01", chunks={"time": 2}, effort=1)
    assert computed(notes) - before >= 16
    want = np.concatenate([smooth((2, 64, 32)) + np.float32(i) for i in range(16)])
    with xr.open_dataset(tmp_path / "a.zarr", engine="lithify") as back:
        assert abs(back["t"].values - want).max() <= 0.0201
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "notes"]


def test_values_come_from_one_evaluation(tmp_path: Path) -> None:
    def random() -> np.ndarray:
        return np.random.default_rng().standard_normal((2, 64, 64)).astype("f4")

    x = da.map_blocks(random, dtype="f4", chunks=((2,) * 16, (64,), (64,)), name="random")
    ds = xr.Dataset({"t": (("time", "y", "x"), x)})
    lithify.dask.compress(ds, tmp_path / "a.zarr", None, chunks={"time": 1}, effort=1)
    # Of what kept every bit, the checksum of what went in must be that of what comes out.
    assert lithify.verify(tmp_path / "a.zarr")["ok"]
    assert len(np.unique(lithify.open_store(tmp_path / "a.zarr")["t"][...])) > 60_000


def test_damage_is_found_and_mended(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds, put = counted(notes), _places.Folder.put

    def damaging(self: _places.Folder, key: str, value: bytes) -> None:
        if key.endswith("t/c/2/0/0") and not (tmp_path / "damaged").exists():
            (tmp_path / "damaged").touch()
            value = value[:60] + bytes([value[60] ^ 1]) + value[61:]
        put(self, key, value)

    monkeypatch.setattr(_places.Folder, "put", damaging)
    arguments: dict[str, Any] = {"chunks": {"time": 2, "y": 32}, "effort": 1}
    with pytest.raises(lithify.CorruptError, match=r"t at \(2, 0, 0\)"):
        lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", **arguments)
    before = computed(notes)
    lithify.dask.compress(ds, tmp_path / "a.zarr", "abs=0.01", **arguments)
    assert computed(notes) - before == 4
    assert lithify.verify(tmp_path / "a.zarr")["ok"]


def test_workers_that_see_another_disk_are_found_out(ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = _places.Folder.put
    monkeypatch.setattr(_places.Folder, "put", lambda self, key, value: None if "/c/" in key else put(self, key, value))
    with pytest.raises(FileNotFoundError, match="where all see it"):
        lithify.dask.compress(ds[["t"]], tmp_path / "a.zarr", "abs=0.1", **CUT)
    monkeypatch.undo()
    place = _places.Folder(os.fspath(tmp_path / "b.zarr"), "0" * 16, False)
    os.rename(tmp_path / "b.zarr.progress", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="workers must see"):
        place.put("store/t/c/0", b"x")
    assert not (tmp_path / "b.zarr.progress").exists()


def test_only_stores_are_replaced_and_only_when_asked(ds: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "a.zarr"
    lithify.dask.compress(ds[["t"]], out, "abs=0.1", **CUT)
    with pytest.raises(ValueError, match="exists"):
        lithify.dask.compress(ds[["t"]], out, "abs=0.2", **CUT)
    lithify.dask.compress(ds[["t"]], out, "abs=0.2", force=True, **CUT)
    assert lithify.open_store(out)["t"].certificate["bound"] == "abs=0.2"
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(ValueError, match="neither a file nor a Zarr store"):
        lithify.dask.compress(ds[["t"]], tmp_path / "b.zarr", force=True, **CUT)
    (tmp_path / "c.zarr.progress").mkdir()
    (tmp_path / "c.zarr.progress" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="thesis.tex"):
        lithify.dask.compress(ds[["t"]], tmp_path / "c.zarr", **CUT)
    assert (tmp_path / "c.zarr.progress" / "thesis.tex").exists()
    # Cut off between two renames, the old store is found again.
    os.makedirs(tmp_path / "d.zarr.progress")
    os.rename(out, tmp_path / "d.zarr.progress" / "replaced")
    with pytest.raises(ValueError, match="exists"):
        lithify.dask.compress(ds[["t"]], tmp_path / "d.zarr", **CUT)
    assert lithify.verify(tmp_path / "d.zarr")["ok"]


def test_what_cannot_be_done_is_refused_with_the_reason(client: Any, ds: xr.Dataset, tmp_path: Path) -> None:
    import zarr

    for where, bound, why in [
        (tmp_path / "a.zarr", "ratio=10", "lithify.to_zarr"),
        (tmp_path / "a.zarr", "bytes=1MB", "lithify.to_zarr"),
        (tmp_path / "a.zarr.zip", "abs=0.1", "zip"),
        (tmp_path / "a.nc", "abs=0.1", "ends in .zarr"),
        (zarr.storage.MemoryStore(), "abs=0.1", "memory"),
        (tmp_path / "a.zarr", {"time": "abs=1"}, "a coordinate"),
        (tmp_path / "a.zarr", "abs=x", "abs"),
    ]:
        with pytest.raises(ValueError, match=why):
            lithify.dask.compress(ds, where, bound, client=client, **CUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["fsspec", "obstore"])
def test_stores_of_objects(ds: xr.Dataset, tmp_path: Path, where: str, notes: Path) -> None:
    import zarr

    if where == "fsspec":
        store: Any = f"memory://{np.random.default_rng().integers(1 << 60)}.zarr"
        reading = zarr.storage.FsspecStore.from_url(store)
    else:
        import obstore

        reading = store = zarr.storage.ObjectStore(obstore.store.MemoryStore())
    broken = counted(notes, fail=3)
    (notes / "broken").touch()
    with dask.config.set(scheduler="sync"), pytest.raises(OSError, match="the disk is gone"):
        lithify.dask.compress(broken, store, "abs=0.01", chunks={"time": 2, "y": 32}, effort=1)
    (notes / "broken").unlink()
    records = [key for key in _places.Objects.keys(_Reading(reading), "") if "/records/" in key]
    before = computed(notes)
    lithify.dask.compress(broken, store, "abs=0.01", chunks={"time": 2, "y": 32}, effort=1)
    assert records and computed(notes) - before == 16 - 4 * len(records)
    with pytest.raises(ValueError, match="exists"):
        lithify.dask.compress(ds, store, BOUND, **CUT)
    lithify.dask.compress(ds, store, BOUND, force=True, **CUT)
    lithify.to_zarr(ds, tmp_path / "a.zarr", BOUND, **CUT)
    with xr.open_dataset(store, engine="lithify") as a, xr.open_dataset(tmp_path / "a.zarr", engine="lithify") as b:
        xr.testing.assert_equal(a.load(), b.load())
    keys = _places.Objects.keys(_Reading(reading), "")
    assert sorted(keys) == sorted(str(p.relative_to(tmp_path / "a.zarr")) for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())


class _Reading:
    def __init__(self, store: Any) -> None:
        self.store = store


def test_workers_write_to_stores_of_objects(client: Any, ds: xr.Dataset, tmp_path: Path) -> None:
    import obstore
    import zarr

    store = zarr.storage.ObjectStore(obstore.store.LocalStore(tmp_path / "a.zarr", mkdir=True))
    lithify.dask.compress(ds, store, BOUND, client=client, **CUT)
    lithify.to_zarr(ds, tmp_path / "b.zarr", BOUND, **CUT)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_odd_variables(tmp_path: Path) -> None:
    ds = xr.Dataset(
        {
            "scalar": ((), np.float32(4.5)),
            "empty": (("none", "x"), np.zeros((0, 5), "f4")),
            "flat": (("n",), np.arange(5000, dtype="f8")),
            "lazy": (("n",), da.arange(5000, chunks=1000, dtype="f4")),
        }
    )
    for bound in [{"scalar": "abs=1", "empty": "abs=1", "flat": "abs=0.1", "lazy": "l2=1e-3"}, None]:
        lithify.to_zarr(ds, tmp_path / "a.zarr", bound, force=True)
        lithify.dask.compress(ds, tmp_path / "b.zarr", bound, force=True)
        assert lithify.verify(tmp_path / "b.zarr")["ok"]
        if bound is None:
            same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_tasks_are_small_and_have_names(ds: xr.Dataset, tmp_path: Path) -> None:
    keys: list[Any] = []

    class Keys(dask.callbacks.Callback):
        def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
            keys.append(key)

    with Keys():
        lithify.dask.compress(ds[["t"]], tmp_path / "a.zarr", "range=1e-3", **CUT)
    names = {dask.base.key_split(k) for k in keys}
    assert {"lithify-measure-t", "lithify-encode-t", "lithify-verify-t"} <= names
    place = _places.Folder(os.fspath(tmp_path / "b.zarr"), "0" * 16, False)
    layout = {"chunk": [4, 16, 48], "shard": None, "configuration": "{}"}
    work = _tasks.Work("t", {"type": "float32", "shape": [38, 32, 90]}, layout, _tasks.check, place, "x")
    assert len(pickle.dumps(work)) < 2000


def test_the_command(client: Any, ds: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ds.to_netcdf(tmp_path / "in.nc", engine="netcdf4")
    files = [str(tmp_path / "in.nc"), str(tmp_path / "out.zarr")]
    scheduler = ["--scheduler", client.scheduler.address]
    asked = ["--bound=t:abs=0.05", "-b", "masked:range=1e-3", "--chunks=time=4,y=16,x=48", "--effort=1", "--vars=t,masked"]
    assert main([*scheduler, *asked, "--json", *files]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ratio"] > 2 and report["output"] == files[1] and {v["name"] for v in report["variables"]} == {"t", "masked", "time", "y"}
    rules = ["t:abs=0.05", "masked:range=1e-3"]
    lithify.compress_file(files[0], tmp_path / "a.zarr", rules, variables=["t", "masked"], **CUT)
    same(tmp_path / "a.zarr", tmp_path / "out.zarr")
    assert main(files) == 2 and "exists" in capsys.readouterr().err
    assert main(["--force", "-b", "abs=0.1", *files]) == 0 and "ratio" in capsys.readouterr().out
    assert main(["-b", "nope:abs=0.1", "-f", *files]) == 2 and "nope" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.nc"), files[1], "-f"]) == 1
    (tmp_path / "bad.nc").write_bytes(b"CDF\x01" + b"\xff" * 40)
    assert main([str(tmp_path / "bad.nc"), files[1], "-f"]) == 4
    capsys.readouterr()
    run = subprocess.run([sys.executable, "-m", "lithify.dask", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "--scheduler" in run.stdout


def test_a_bar_is_drawn_when_asked(ds: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lithify.dask.compress(ds[["t"]], tmp_path / "a.zarr", "abs=0.1", progress=True, **CUT)
    assert "100%" in capsys.readouterr().err
