"""The package itself: stubs fit the module, examples in docstrings run, importing is cheap."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import lithify
import lithify.numcodecs
import lithify.zarr
import numpy as np
import pytest


def test_stubs_fit_the_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "lithify._native"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("module", [lithify, lithify.zarr, lithify.numcodecs])
def test_examples_in_docstrings_run(module: object) -> None:
    failed, tried = doctest.testmod(module)
    assert tried and not failed


def test_importing_does_not_bring_in_everything() -> None:
    code = "import lithify, sys; print([m for m in ('xarray', 'zarr', 'dask') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_configurations_fit_the_published_schema() -> None:
    schema = json.loads((Path(__file__).parents[3] / "docs/zarr/schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    good = [
        lithify.zarr.Lithify(**options).to_dict()
        for options in [{}, {"bound": "abs=0.1,rel=1e-3"}, {"bound": "bits=7", "effort": 9}, {"bound": "abs=1", "scale": 0.1, "missing": ["0x8000"]}]
    ]
    for codec in good:
        check.validate(codec)
    for bad in [{"name": "other"}, {"name": "lithify", "configuration": {"speed": 1}}, {"name": "lithify", "configuration": {"effort": 10}}]:
        assert not check.is_valid(bad)


def test_batches_are_no_slower_than_they_should_be() -> None:
    x = np.arange(64.0, dtype="f4").reshape(8, 8)
    payloads = [lithify.compress(x + i) for i in range(100)]
    from lithify import _native

    for i, y in enumerate(_native.decode_many(payloads)):
        assert np.array_equal(y, x + i)
