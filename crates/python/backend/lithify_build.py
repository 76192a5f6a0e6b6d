"""The build backend: maturin's, with the HDF5 filter built into the package first, since a wheel of maturin has one library only."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

PLUGINS = Path(__file__).parents[1] / "python/lithify/plugins"


def filter_into_package() -> None:
    """Builds the filter and copies it to where `lithify.hdf5` looks for it."""
    # With the readers and writers beside it, what both depend on is compiled once: alone, the filter asks for fewer features of it.
    packages = ["--package", "lithify-hdf5-filter", "--package", "lithify-io"]
    command = ["cargo", "build", "--release", *packages, "--message-format=json-render-diagnostics"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    made = [json.loads(line) for line in lines if line.startswith("{")]
    files = [Path(f) for m in made if m.get("target", {}).get("name") == "lithify_hdf5" for f in m.get("filenames", [])]
    libraries = [f for f in files if f.suffix in (".so", ".dylib", ".dll")]
    PLUGINS.mkdir(exist_ok=True)
    for library in libraries:
        shutil.copy2(library, PLUGINS / library.name)
    if not libraries:
        raise RuntimeError("cargo built no library of the HDF5 filter")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    filter_into_package()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    filter_into_package()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
