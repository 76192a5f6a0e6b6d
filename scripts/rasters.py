"""Other people's GeoTIFFs, and ours in other people's hands: rasterio (GDAL), tifffile, Pillow.

rasters.py LITHIFY DIRECTORY             every type x compression x layout x predictor through the program and back
rasters.py --fixtures DIRECTORY          writes the small files that the tests read
"""

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors
import tifffile
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
UTM = Affine(10.0, 0.0, 600000.0, 0.0, -10.0, 5100000.0)


def values(dtype, shape=(3, 40, 50)):
    """v[b, y, x] = (1000 b + 37 y + 11 x) mod 251, in the type; halves are added to floats. The tests know this formula."""
    b, y, x = np.indices(shape)
    v = (1000 * b + 37 * y + 11 * x) % 251
    if np.dtype(dtype).kind == "f":
        return (v / 2).astype(dtype)
    return v.astype("u1").astype(dtype) if dtype != "i1" else v.astype("u1").view("i1")


def combinations():
    """Name and how to write it, for tifffile: all that GDAL could write, too, but in both byte orders."""
    for dtype, order, tiled, planar in itertools.product(TYPES, "<>", [False, True], [False, True]):
        big = tiled == (order == ">")
        for compression in [None, "deflate", "lzw", "packbits", "zstd"]:
            for predictor in [False] if compression in (None, "packbits") else [False, 3 if dtype[0] == "f" else 2]:
                name = f"{dtype}-{'le' if order == '<' else 'be'}{'-big' if big else ''}{'-tiles' if tiled else ''}"
                yield f"{name}{'-planar' if planar else ''}-{compression}-{predictor or 0}", dict(
                    dtype=dtype, order=order, big=big, tiled=tiled, planar=planar, compression=compression, predictor=predictor)


def write(path, dtype, order="<", big=False, tiled=False, planar=False, compression=None, predictor=False, shape=(3, 40, 50)):
    v = values(dtype, shape).astype(np.dtype(dtype).newbyteorder(order))
    data = v if planar else np.moveaxis(v, 0, -1)
    layout = dict(tile=(32, 16)) if tiled else dict(rowsperstrip=7)
    tifffile.imwrite(path, data, byteorder=order, bigtiff=big, photometric="minisblack", metadata=None, software=False,
                     planarconfig="separate" if planar else "contig", compression=compression, predictor=predictor, **layout)


def geo(path, v, **options):
    profile = dict(driver="GTiff", width=v.shape[2], height=v.shape[1], count=len(v), dtype=v.dtype, **options)
    return rasterio.open(path, "w", **profile)


def described(path, small=False):
    """Everything that a file can say, by GDAL."""
    v = values("f4", (2, 20, 24) if small else (2, 300, 310))
    v[0, 3, 4] = np.nan
    tiles = dict(tiled=True, blockxsize=16, blockysize=16)
    with geo(path, v, crs="EPSG:32633", transform=UTM, nodata=np.nan, compress="deflate", predictor=3, **tiles) as f:
        f.write(v)
        f.descriptions = ("red <edge>", "near & infrared")
        f.scales, f.offsets, f.units = (0.5, 0.25), (1.0, 0.0), ("K", "m")
        f.update_tags(acquired="2020-01-02", TIFFTAG_SOFTWARE="none")
        f.update_tags(1, wavelength="700")
        f.update_tags(ns="OTHER", key="value")


def placed(folder):
    """Places other than north-up corners."""
    v = values("u1", (1, 20, 24))
    with geo(folder / "rotated.tif", v, crs="EPSG:32633", transform=UTM @ Affine.rotation(30)) as f:
        f.write(v)
    with geo(folder / "point.tif", v, crs="EPSG:4326", transform=Affine(0.1, 0, 7.3, 0, -0.1, 47.9)) as f:
        f.write(v)
        f.update_tags(AREA_OR_POINT="Point")
    gcps = [GroundControlPoint(r, c, 7 + c / 10 + r / 99, 47 - r / 10) for r, c in [(0, 0), (0, 24), (20, 0), (20, 24)]]
    with geo(folder / "gcps.tif", v, gcps=gcps, crs="EPSG:4326") as f:
        f.write(v)


def other(folder):
    """What tifffile does not write: few bits, palettes, holes, JPEG."""
    v = values("u1", (1, 20, 24))
    with geo(folder / "bits1.tif", v % 2, nbits=1) as f:
        f.write(v % 2)
    with geo(folder / "bits12.tif", v.astype("u2"), nbits=12) as f:
        f.write(v.astype("u2"))
    with geo(folder / "palette.tif", v, photometric="palette", nodata=255) as f:
        f.write(v)
        f.write_colormap(1, {i: (i, 255 - i, i // 2, 255) for i in range(256)})
    with geo(folder / "holes.tif", v, tiled=True, blockxsize=16, blockysize=16, sparse_ok=True, nodata=7) as f:
        f.write(v[:, :16, :16], window=((0, 16), (0, 16)))
    rgb = np.stack([np.add.outer(np.arange(64), np.arange(80)) * k % 256 // 2 for k in (1, 1, 2)]).astype("u1")
    for name, options in [("jpeg-ycbcr", dict(photometric="ycbcr")), ("jpeg-rgb", {})]:
        with geo(folder / f"{name}.tif", rgb, compress="jpeg", jpeg_quality=90, tiled=True, blockxsize=32, blockysize=32, **options) as f:
            f.write(rgb)
    Image.fromarray(np.moveaxis(rgb, 0, -1)).save(folder / "chip.jpg", quality=95, subsampling=0)
    Image.fromarray(v[0].astype("u2") * 257).save(folder / "gray16.png")


FIXTURES = ["u1-be-big-tiles-planar-lzw-2", "i2-le-big-zstd-2", "u2-be-packbits-0", "u8-be-big-tiles-deflate-2", "f2-le-tiles-deflate-3",
            "f4-be-lzw-3", "f8-le-big-planar-deflate-3", "i1-le-tiles-None-0"]


def fixtures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    known = dict(combinations())
    for name in FIXTURES:
        write(folder / f"{name}.tif", shape=(2, 20, 24), **known[name])
    described(folder / "described.tif", small=True)
    placed(folder)
    other(folder)


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stderr}"


def read(path):
    with rasterio.open(path) as f:
        said = {k: getattr(f, k) for k in ("crs", "transform", "descriptions", "scales", "offsets", "units", "colorinterp", "dtypes")}
        said["gcps"] = [(g.row, g.col, g.x, g.y) for g in f.gcps[0]]
        said["colormap"] = f.colormap(1) if f.colorinterp[0].name == "palette" else None
        # How large it is to be printed is not kept.
        file = {k: v for k, v in f.tags().items() if "RESOLUTION" not in k}
        tags = [file, *(f.tags(b) for b in f.indexes), f.tags(ns="OTHER")]
        return f.read(), str(f.nodatavals), said, tags


def same(a, b):
    for x, y in zip(read(a), read(b), strict=True):
        equal = x.tobytes() == y.tobytes() if isinstance(x, np.ndarray) else x == y
        assert equal, f"{a}: {x} != {y}"


def check(lithify, folder):
    back, store = folder / "back", folder / "store.zarr"
    back.mkdir(parents=True, exist_ok=True)
    n = 0
    for name, how in combinations():
        path = folder / f"{name}.tif"
        write(path, **how)
        run(lithify, "extract", path, name, folder / "part.npy", "-f")
        want = values(how["dtype"])
        have = np.load(folder / "part.npy")
        assert have.dtype == (np.dtype("f4") if how["dtype"] == "f2" else want.dtype) and (have == want).all(), name
        path.unlink()
        n += 1
    described(folder / "described.tif")
    placed(folder)
    other(folder)
    for dtype in TYPES:
        write(folder / f"{dtype}.tif", dtype, shape=(2, 300, 310))
    pixels = ["chip.jpg", "gray16.png"]
    for path in sorted(folder.glob("*.tif")):
        run(lithify, "compress", path, store, "-f")
        run(lithify, "verify", store, "--against", path)
        run(lithify, "decompress", store, back / path.name, "-f")
        if path.stem.startswith("jpeg"):
            # Decoders round in their own ways, and spread coarser colours over pixels in their own ways.
            a, b = read(path)[0].astype("i4"), read(back / path.name)[0].astype("i4")
            assert abs(a - b).max() <= (1 if path.stem == "jpeg-rgb" else 24), (path, abs(a - b).max())
        elif path.stem not in ("f2", "bits1", "bits12"):
            same(path, back / path.name)
        else:
            assert (read(path)[0] == read(back / path.name)[0]).all(), path
        n += 1
    for name in pixels:
        run(lithify, "extract", folder / name, Path(name).stem, folder / "part.npy", "-f")
        want = np.asarray(Image.open(folder / name))
        want = np.moveaxis(want, -1, 0) if want.ndim == 3 else want[None]
        difference = abs(np.load(folder / "part.npy").astype("i4") - want.astype("i4")).max()
        assert difference <= (2 if name.endswith("jpg") else 0), (name, difference)
        n += 1
    print(f"rasterio, tifffile and Pillow agree: {n} rasters")


if __name__ == "__main__":
    if sys.argv[1] == "--fixtures":
        fixtures(Path(sys.argv[2]))
    else:
        check(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
