"""Lithify as a filter of HDF5: h5py, netCDF4, h5netcdf and xarray read and write compressed variables.

Importing this module makes the plugin known to every HDF5 of the process, loaded already or later:

    import lithify.hdf5
    import h5py

    with h5py.File("t.h5", "w") as f:
        f.create_dataset("t", data=t, chunks=(30, 192, 288), **lithify.hdf5.filter("abs=0.05"))

    dataset.to_netcdf("t.nc", engine="h5netcdf", encoding={"T": lithify.hdf5.filter("abs=0.05")})

    v = netCDF4.Dataset("t.nc", "w").createVariable("T", "f4", ("time", "lat", "lon"))   # the dimensions being there
    lithify.hdf5.define(v, "abs=0.05")

A filter sees one chunk at a time, so bounds are ``abs``, ``rel``, ``l2-block``, ``bits`` and ``lossless``; those that need the whole
variable (``range``, ``l2``, ``psnr``, ``ratio``, ``bytes``, ``bits=auto``) are for ``lithify compress in.nc out.nc``.
"""

from __future__ import annotations

import ctypes
import numbers
import os
import pathlib
import struct
import sys
from collections.abc import Iterable

__all__ = ["ID", "define", "filter", "find", "parameters", "plugins"]

#: The filter's number, from the range 256 to 511 that HDF5 leaves to everybody.
ID = 332

_WORDS = {"bits": 4}
_NUMBERS = {"abs": 1, "rel": 2, "l2-block": 3}
_EFFORT, _SCALE, _OFFSET, _MISSING, _TRANSFORM = 5, 6, 7, 8, 10
_TRANSFORMS = {"auto": 0, "identity": 1, "hgfdr": 2, "hgfdr-blocked": 3, "tensor": 4, "predict": 5, "wavelet": 6}


def _number(key: int, value: float) -> tuple[int, int, int]:
    """A key with a double in two words, the low one first."""
    return (key, *struct.unpack("<II", struct.pack("<d", value)))


def parameters(
    bound: str = "lossless",
    *,
    effort: int = 5,
    scale: float = 1.0,
    offset: float = 0.0,
    missing: float | Iterable[float] = (),
    codec: str = "auto",
) -> tuple[int, ...]:
    """The filter's parameters (HDF5's ``cd_values``).

    bound: ``abs=0.05``, ``rel=1e-3``, ``l2-block=1e-3``, several joined by commas; ``bits=7``; ``lossless``.
    effort: 1 (fast) to 9 (small).
    scale, offset: CF packing; errors are those of ``scale * stored + offset``.
    missing: values that mark missing samples, beside the fill value, NaN and infinities: they come back bit for bit.
    codec: ``auto``, or a transform by its name.
    """
    out: list[int] = []
    lossless = False
    for part in bound.split(","):
        name, _, value = (s.strip() for s in part.partition("="))
        try:
            if name == "lossless" and not value:
                lossless = True
            elif name in _WORDS:
                if not 0 <= int(value) <= 52:
                    raise ValueError(value)
                out += [_WORDS[name], int(value)]
            elif name in _NUMBERS:
                if not 0 <= float(value) < float("inf"):
                    raise ValueError(value)
                out += _number(_NUMBERS[name], float(value))
            else:
                raise ValueError(name)
        except ValueError:
            raise ValueError(
                "a filter sees one chunk at a time: its bound is abs=, rel= or l2-block= with a number, bits= with the mantissa "
                f"bits to keep, or lossless; `lithify compress` takes the others: {part!r}"
            ) from None
    if effort not in range(1, 10):
        raise ValueError(f"effort must be 1 to 9: {effort!r}")
    if codec not in _TRANSFORMS:
        raise ValueError(f"codec must be one of {', '.join(_TRANSFORMS)}: {codec!r}")
    # No bound is every bit.
    out = [0, _EFFORT, int(effort)] if lossless else [*out, _EFFORT, int(effort)]
    if (scale, offset) != (1.0, 0.0):
        out += [*_number(_SCALE, float(scale)), *_number(_OFFSET, float(offset))]
    for value in [missing] if isinstance(missing, numbers.Real) else missing:
        out += _number(_MISSING, float(value))
    if _TRANSFORMS[codec]:
        out += [_TRANSFORM, _TRANSFORMS[codec]]
    return tuple(out)


def filter(bound: str = "lossless", **options) -> dict[str, object]:  # noqa: A001 - HDF5's own word
    """Keywords for ``h5py``'s ``create_dataset``, and encoding for ``h5netcdf`` and xarray with ``engine="h5netcdf"``.

    Takes what :func:`parameters` takes.
    """
    return {"compression": ID, "compression_opts": parameters(bound, **options)}


def define(variable, bound: str = "lossless", **options) -> None:
    """Gives the filter to a variable of netCDF4 that was just created, before anything is written to it.

    netCDF4's own ``compression=`` knows no filters but those that it names; the library below it does. Takes what
    :func:`parameters` takes.
    """
    values = parameters(bound, **options)
    library = _libnetcdf()
    words = (ctypes.c_uint * len(values))(*values)
    status = library.nc_def_var_filter(
        ctypes.c_int(variable._grpid),
        ctypes.c_int(variable._varid),
        ctypes.c_uint(ID),
        ctypes.c_size_t(len(values)),
        words,
    )
    if status:
        library.nc_strerror.restype = ctypes.c_char_p
        reason = library.nc_strerror(status).decode()
        raise OSError(f"{variable.name}: libnetcdf refuses the filter: {reason}; the plugin is looked for in {plugins()}")


def plugins() -> str:
    """The folder of the plugin: the package's own, or else what ``HDF5_PLUGIN_PATH`` says."""
    own = pathlib.Path(__file__).with_name("plugins")
    return str(own) if own.is_dir() else os.environ.get("HDF5_PLUGIN_PATH", "")


def find() -> list[str]:
    """Makes the plugin known; the HDF5 libraries that were loaded already and have been told. Importing the module calls it."""
    folders = [f for f in plugins().split(os.pathsep) if f]
    # Setting the variable hides the folder that most HDF5 libraries are built to look in.
    known = [f for f in os.environ.get("HDF5_PLUGIN_PATH", "/usr/local/hdf5/lib/plugin").split(os.pathsep) if f]
    if folders and not set(folders) <= set(known):
        os.environ["HDF5_PLUGIN_PATH"] = os.pathsep.join([*folders, *(f for f in known if f not in folders)])
    told = []
    for path in _loaded("libhdf5"):
        try:
            library = ctypes.CDLL(path)
            prepend, count, get = library.H5PLprepend, library.H5PLsize, library.H5PLget
        except (OSError, AttributeError):  # the high-level library, or an HDF5 older than 1.10.1
            continue
        n, buffer, have = ctypes.c_uint(), ctypes.create_string_buffer(4096), set()
        count(ctypes.byref(n))
        get.restype = ctypes.c_ssize_t
        for i in range(n.value):
            if get(ctypes.c_uint(i), buffer, ctypes.c_size_t(len(buffer))) > 0:
                have.add(os.fsdecode(buffer.value))
        for folder in reversed(folders):
            if folder not in have:
                prepend(os.fsencode(folder))
        told.append(path)
    if not told and folders and "h5py" in sys.modules:
        # Where the loaded libraries cannot be listed.
        h5pl = sys.modules["h5py"].h5pl
        have = {h5pl.get(i) for i in range(h5pl.size())}
        for folder in reversed(folders):
            if os.fsencode(folder) not in have:
                h5pl.prepend(os.fsencode(folder))
    return told


def _loaded(name: str) -> list[str]:
    """Libraries of this process whose file names begin with ``name``; none where the system does not list them."""
    try:
        maps = pathlib.Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in maps.splitlines() if len(line.split(maxsplit=5)) > 5}
    return sorted(p for p in paths if os.path.basename(p).startswith(name))


def _libnetcdf() -> ctypes.CDLL:
    """The libnetcdf that netCDF4 uses."""
    paths = _loaded("libnetcdf")
    try:
        # Where libraries cannot be listed, the module's own symbols lead to those that it uses.
        library = ctypes.CDLL(paths[0] if paths else sys.modules["netCDF4"]._netCDF4.__file__)
        library.nc_def_var_filter  # noqa: B018 - looked up
    except (KeyError, OSError, AttributeError) as e:
        raise OSError("the libnetcdf that netCDF4 uses cannot be found; import netCDF4 first") from e
    return library


find()
