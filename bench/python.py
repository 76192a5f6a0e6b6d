"""What Python costs: the overhead of a call, many small chunks, throughput of a read.

Usage: python bench/python.py [--json]; needs the package with its extras for xarray. Times are the least of several runs.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import lithify
import numpy as np
import zarr
from lithify import _native
from lithify.zarr import Lithify


def least(run, n=5):
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def field(*shape):
    waves = sum(np.sin(np.arange(n) * 6 / n + d).reshape([-1 if i == d else 1 for i in range(len(shape))]) for d, n in enumerate(shape))
    noise = np.random.default_rng(0).standard_normal(shape)
    return (50 + 20 * waves + 0.05 * noise).astype("f4")


def call_overhead():
    """Wall time of a call on 4 MiB over what the native half spends inside it."""
    x = field(16, 256, 256)
    out = {}
    for effort in (1, 5):
        configuration = _native.configure("abs=0.01", "auto", effort, 1.0, 0.0, [])
        parts = []
        for _ in range(5):
            begin = time.perf_counter()
            _, report = _native.encode(x, configuration)
            parts.append((time.perf_counter() - begin) / report["seconds"] - 1)
        out[f"effort {effort}"] = min(parts)
    return out


def small_chunks():
    """Seconds for 4096 chunks of 8 x 8: a loop in Python, zarr-python, zarr-python with batches, one call, a store of our own."""
    x = field(512, 512)
    configuration = _native.configure("abs=0.01", "predict", 1, 1.0, 0.0, [])
    blocks = [np.ascontiguousarray(x[i : i + 8, j : j + 8]) for i in range(0, 512, 8) for j in range(0, 512, 8)]
    payloads = [p for p, _ in _native.encode_many(blocks, configuration)]
    out = {}

    def loop():
        whole = np.empty_like(x)
        for k, p in enumerate(payloads):
            i, j = divmod(k, 64)
            whole[i * 8 : i * 8 + 8, j * 8 : j * 8 + 8] = lithify.decompress(p)

    out["loop of lithify.decompress"] = least(loop)
    out["one call of decode_many"] = least(lambda: _native.decode_many(payloads))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        z = zarr.create_array(path, name="x", shape=x.shape, chunks=(8, 8), shards=(512, 512), dtype="f4", serializer=Lithify(bound="abs=0.01", codec="predict", effort=1), compressors=None)
        z[:] = x
        zarr.open_group(path, mode="a")
        out["zarr-python, chunk by chunk"] = least(lambda: [z[i : i + 8, j : j + 8] for i in range(0, 512, 8) for j in range(0, 512, 8)], 1)
        out["zarr-python, one read"] = least(lambda: zarr.open_array(path, path="x")[:], 2)
        with zarr.config.set({"codec_pipeline.batch_size": 4096}):
            out["zarr-python, one read, batches"] = least(lambda: zarr.open_array(path, path="x")[:], 2)
        out["lithify.open_store"] = least(lambda: lithify.open_store(path)["x"][:])
    return out


if __name__ == "__main__":
    result = {"call overhead at 4 MiB": call_overhead(), "small chunks, seconds": small_chunks()}
    if "--json" in sys.argv:
        print(json.dumps(result))
    else:
        for name, rows in result.items():
            print(name)
            for row, value in rows.items():
                print(f"  {row:34} {value:.4g}")
