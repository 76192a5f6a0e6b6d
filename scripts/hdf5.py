"""Judges what scripts/hdf5.sh had other programs read and write, in their directory: hdf5.py run SCRIPT.py | hdf5.py check."""

import os
import runpy
import shutil
import subprocess
import sys

import lithify.hdf5


def text_of(file, name):
    """The numbers of a variable as ncdump prints them."""
    out = subprocess.run(["ncdump", "-p", "9,17", "-v", name, file], capture_output=True, text=True, check=True).stdout
    body = out.rsplit(f" {name} =", 1)[1].split(";", 1)[0]
    return body.replace(",", " ").split()


def in_steps(holds, off):
    """Chunks that are written in several steps, as models and archives do: what is there already must keep the bound."""
    import h5py
    import netCDF4
    import numpy as np

    rng = np.random.default_rng(3)
    t, y, x = np.ogrid[:50, :60, :70]
    field = (280 + 9 * np.sin(x / 11 + t / 5) * np.cos(y / 17) + 0.3 * rng.random((50, 60, 70))).astype("f4")

    def create(file):
        f = netCDF4.Dataset(file, "w")
        for name, n in zip(("time", "lat", "lon"), (None, 60, 70), strict=True):
            f.createDimension(name, n)
        lithify.hdf5.define(f.createVariable("T", "f4", ("time", "lat", "lon"), chunksizes=(10, 60, 70)), "abs=0.1")
        return f

    def written(file):
        with netCDF4.Dataset(file) as f:
            values = np.ma.filled(f["T"][:], np.nan)
        with h5py.File(file) as f:
            return values, f["T"].id.get_storage_size()

    def kept(what, file, most):
        values, size = written(file)
        holds(f"{what}: {off(values, field)} in {size} bytes", 0 < off(values, field) <= 0.1 and size <= most)

    with create("once.nc") as f:
        f["T"][:] = field
    _, size = written("once.nc")
    create("sessions.nc").close()
    for i in range(50):
        with netCDF4.Dataset("sessions.nc", "a") as f:
            f["T"][i] = field[i]
    kept("a session for each step", "sessions.nc", 2 * size)
    with create("cache.nc") as f:
        f["T"].set_var_chunk_cache(1000, 11, 0.75)
        for i in range(50):
            f["T"][i] = field[i]
    kept("a cache smaller than a chunk", "cache.nc", 2 * size)

    rows = field.reshape(-1, 70)[:70]
    with h5py.File("rows.h5", "w") as f:
        f.create_dataset("x", shape=(0, 70), maxshape=(None, 70), chunks=(7, 70), dtype="f4", **lithify.hdf5.filter("abs=0.1"))
    for i in range(0, 70, 5):
        with h5py.File("rows.h5", "r+") as f:
            f["x"].resize(i + 5, axis=0)
            f["x"][i : i + 5] = rows[i : i + 5]
    with h5py.File("rows.h5") as f:
        holds("rows appended", 0 < off(f["x"][:], rows) <= 0.1)
    samples = field[:10].copy()
    with h5py.File("sample.h5", "w") as f:
        f.create_dataset("x", data=samples, chunks=samples.shape, **lithify.hdf5.filter("abs=0.1"))
    for i in range(8):
        samples[i, 3 * i, 5] = 300 + i
        with h5py.File("sample.h5", "r+") as f:
            f["x"][i, 3 * i, 5] = samples[i, 3 * i, 5]
    with h5py.File("sample.h5") as f:
        holds("samples rewritten", 0 < off(f["x"][:], samples) <= 0.1)


def check():
    import h5py
    import netCDF4
    import numpy as np
    import xarray as xr

    def values(file, name="T"):
        with netCDF4.Dataset(file) as f:
            f.set_auto_maskandscale(False)
            return np.asarray(f[name][:])

    def ours(file, name="T"):
        with h5py.File(file) as f:
            plist = f[name].id.get_create_plist()
            return [plist.get_filter(i)[0] for i in range(plist.get_nfilters())] == [lithify.hdf5.ID]

    def off(a, b):
        return np.abs(a.astype("f8") - b.astype("f8")).max()

    done = []

    def holds(what, good):
        assert good, what
        done.append(what)

    original, ssh = values("cesm-T.nc"), values("pop-SSH.nc", "SSH")
    decoded = values("T.nc")
    missing = ssh == values("SSH.nc", "SSH")[0, 0, 0] if ssh[0, 0, 0] > 1e30 else ssh > 1e30
    holds("written by lithify, read by netCDF4", ours("T.nc") and 0 < off(original, decoded) <= 0.05)
    holds("plain copy", not ours("plain.nc") and off(values("plain.nc"), decoded) == 0)
    back = values("SSH.nc", "SSH")
    span = float(np.ptp(ssh[~missing]))
    holds("missing values", np.array_equal(ssh[missing], back[missing]) and 0 < off(ssh[~missing], back[~missing]) <= 1e-3 * span)

    with h5py.File("T.nc") as f:
        holds("h5py", np.array_equal(f["T"][:], decoded))
    holds("ncdump", np.array_equal(np.array(text_of("T.nc", "T"), "f4"), decoded.ravel()))
    with xr.open_dataset("T.nc", decode_times=False) as a, xr.open_dataset("cesm-T.nc", decode_times=False) as b:
        xr.testing.assert_identical(a.drop_vars("T"), b.drop_vars("T"))
        attrs = dict(a["T"].attrs)
        holds("certificate", "abs=0.05" in attrs.pop("lithify"))
        holds("everything else", attrs == b["T"].attrs and a.attrs == b.attrs and a["T"].dims == b["T"].dims)
    with netCDF4.Dataset("T.nc") as a, netCDF4.Dataset("cesm-T.nc") as b:
        sizes = [[(d.name, len(d), d.isunlimited()) for d in f.dimensions.values()] for f in (a, b)]
        holds("dimensions", sizes[0] == sizes[1])

    def exists(file):
        """Whether a tool that may be missing wrote it."""
        return os.path.exists(file)

    if exists("copied.nc"):
        holds("nccopy reads, and copies exactly", ours("copied.nc") and off(values("copied.nc"), decoded) == 0)
        holds("nccopy writes", ours("nccopy.nc") and 0 < off(values("nccopy.nc"), original) <= 0.05)
        subprocess.run(["nccopy", "nccopy.nc", "again.nc"], check=True)
        holds("chunks that stay are copied exactly", ours("again.nc") and off(values("again.nc"), values("nccopy.nc")) == 0)
        y = values("nccopy-SSH.nc", "SSH")
        good = np.abs(ssh[~missing] - y[~missing]) <= 1e-3 * np.abs(ssh[~missing])
        holds("nccopy writes with missing values", ours("nccopy-SSH.nc", "SSH") and good.all() and np.array_equal(ssh[missing], y[missing]))
        size = [os.path.getsize(f) for f in ("cesm-T.nc", "nccopy.nc")]
        holds("nccopy's file is small", size[1] * 10 < size[0])
    if exists("level.nc"):
        holds("CDO", off(values("level.nc")[0, 0], decoded[0, 29]) == 0)
        mean = values("mean.nc", "SSH")[0]
        valid = ~missing.any(axis=0)
        want = back.astype("f8").mean(axis=0)
        holds("CDO over time", off(mean[valid], want[valid]) <= 1e-4 * span)
    if exists("level-nco.nc"):
        holds("NCO", off(values("level-nco.nc")[0, 0], decoded[0, 29]) == 0)
        valid = ~missing.any(axis=0)
        holds("NCO over time", off(values("mean-nco.nc", "SSH")[0][valid], back.astype("f8").mean(axis=0)[valid]) <= 1e-4 * span)
    if exists("gzip.nc"):
        holds("h5repack reads", not ours("gzip.nc") and off(values("gzip.nc"), decoded) == 0)
        holds("h5repack writes", ours("h5repack.nc") and 0 < off(values("h5repack.nc"), original) <= 0.05)
    if exists("h5dump.txt"):
        with open("h5dump.txt", encoding="utf-8") as f:
            text = f.read()
        numbers = [float(x) for line in text.splitlines() if line.strip().startswith("(0,29,") for x in line.split(":")[1].split(",") if x.strip()]
        holds("h5dump", "lithify" in text and np.allclose(numbers, decoded[0, 29, :2, :4].ravel(), rtol=1e-5))

    with h5py.File("h5py.h5") as f:
        x = np.sin(np.arange(1_000_000, dtype="f4") / 300).reshape(100, 100, 100)
        holds("h5py writes", ours("h5py.h5", "field") and 0 < off(f["field"][:], x) <= 1e-3)
        holds("edges cost little", f["field"].id.get_storage_size() * 10 < x.nbytes)
        packed = off(f["packed"][:], (x * 1000).astype("i2"))
        holds("h5py writes packed integers", 1 <= packed <= 5)
    y = values("netcdf4.nc")
    holds("netCDF4 writes", ours("netcdf4.nc") and 0 < off(y, original) and (np.abs(y - decoded) <= 1e-3 * np.abs(decoded)).all())
    holds("xarray writes", ours("xarray.nc") and 0 < off(values("xarray.nc"), original) <= 0.05)

    in_steps(holds, off)

    # Whatever the plugin cannot do is an error with a reason, and no crash.
    for dtype, options in [
        ("f2", lithify.hdf5.filter("abs=1")),
        ("S3", lithify.hdf5.filter("rel=0.1")),
        ("f4", {"compression_opts": (77,)}),
        ("i4", {"compression_opts": (4, 3)}),
    ]:
        try:
            with h5py.File("bad.h5", "w") as f:
                f.create_dataset("x", shape=(10, 10), dtype=dtype, chunks=(5, 5), **{"compression": lithify.hdf5.ID, **options})
        except ValueError as e:
            holds(f"{dtype} {options} is refused", "lithify" in str(e))
        else:
            raise AssertionError(f"{dtype} {options} was taken")
    for bound in ["range=0.1", "abs=-1", "abs=nan", "bits=99", "nonsense"]:
        try:
            lithify.hdf5.filter(bound)
        except ValueError as e:
            holds(f"{bound} is refused", "lithify compress" in str(e))
        else:
            raise AssertionError(f"{bound} was taken")
    # What is no number of ours keeps every bit.
    noise = np.random.default_rng(1).integers(0, 256, 9600, dtype="u1")
    fields = {str(t): (noise % 2 if t == "?" else noise).view(t) for t in ["<f2", "S3", "?", [("a", ">i4"), ("b", "S2")], ">u8", "c16"]}
    many = noise[:512].reshape([2] * 9)
    with h5py.File("types.h5", "w") as f:
        for name, x in fields.items():
            f.create_dataset(name, data=x, chunks=(47,), **lithify.hdf5.filter())
        f.create_dataset("nine", data=many, chunks=many.shape, **lithify.hdf5.filter("abs=20"))
    # Opened again, or HDF5 would answer from its cache.
    with h5py.File("types.h5") as f:
        for name, x in fields.items():
            holds(f"{name} comes back", f[name].id.get_chunk_info(0).filter_mask == 0 and f[name][:].tobytes() == x.tobytes())
        holds("nine dimensions", 0 < off(f["nine"][:], many) <= 20)
    # `lithify verify`: files without a certificate are held against what their filter was asked for; a certificate is not believed
    # when the values or its own words were changed behind its back.
    def verify(store, *against):
        return subprocess.run(["lithify", "verify", store, *against], capture_output=True, check=False).returncode

    holds("lithify verifies what others wrote", all(verify(f, "--against", "cesm-T.nc") == 0 for f in ["nccopy.nc", "xarray.nc"] if exists(f)))
    subprocess.run(["lithify", "compress", "-q", "cesm-T.nc", "coarse.nc", "-b", "abs=1"], check=True, capture_output=True)
    holds("lithify finds other values", verify("xarray.nc", "--against", "coarse.nc") == 3)
    holds("lithify verifies what it wrote", verify("T.nc") == 0 and verify("T.nc", "--against", "cesm-T.nc") == 0)
    for change in [
        lambda t: t.__setitem__((0, 3, 100, 100), 7),
        lambda t: t.attrs.modify("lithify", np.bytes_(bytes(t.attrs["lithify"]).replace(b"crc32c:", b"crc32c:0"))),
        lambda t: t.attrs.modify("lithify", np.bytes_("nonsense")),
    ]:
        shutil.copy("T.nc", "changed.nc")
        with h5py.File("changed.nc", "r+") as f:
            change(f["T"])
        holds("a change is found", verify("changed.nc") == 3)
    # Damage: a bit of a payload.
    with open("T.nc", "rb") as f:
        data = bytearray(f.read())
    data[data.index(b"LTH\x01") + 1000] ^= 16
    with open("damaged.nc", "wb") as f:
        f.write(data)
    for read in (lambda: values("damaged.nc"), lambda: h5py.File("damaged.nc")["T"][:]):
        try:
            read()
        except (OSError, RuntimeError):
            holds("damage is found", True)
        else:
            raise AssertionError("damage was not found")
    print(f"{len(done)} checks")


if sys.argv[1] == "run":
    runpy.run_path(sys.argv[2])
else:
    check()
