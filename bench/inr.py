"""What a network of coordinates keeps of a field at a given ratio, beside `wavelet` and SZ3.

Usage: python bench/inr.py FILE VARIABLE [--ratio 300] [--lithify PROGRAM]; needs numpy, h5py, hdf5plugin. Writes a Markdown table to stdout.
Bytes are those of the variable's chunks; SZ3 gets the largest absolute bound that reaches the ratio. Errors are of decoded values, by
`lithify compare`; the extremes are how far the 0.1 and 99.9 % quantiles moved.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

CODECS = ["inr", "wavelet", "auto"]


def ours(program, file, variable, ratio, codec, folder):
    """Stored bytes, and where what was decoded lies."""
    store, back = folder / "x.zarr", folder / "x.npy"
    bound = f"{variable}:ratio={ratio}"
    command = [program, "compress", file, store, "-f", "-q", "--json", "--vars", variable, "-b", bound, "--codec", codec]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    stored = next(v for v in json.loads(done.stdout)["variables"] if v["name"] == variable)
    subprocess.run([program, "extract", store, variable, back, "-f", "-q"], stdout=subprocess.DEVNULL, check=True)
    return stored["stored_bytes"], back


def sz3(x, ratio, folder):
    """The same of SZ3, by bisection over the logarithm of its bound."""
    def stored(bound):
        with h5py.File(folder / "x.h5", "w") as f:
            f.create_dataset("x", data=x, chunks=x.shape, **hdf5plugin.SZ3(absolute=bound))
        # Opened again: what was just written would come back from a cache, as it was.
        with h5py.File(folder / "x.h5") as f:
            return f["x"].id.get_storage_size(), f["x"][...]

    low, high = -6.0, 0.0
    for _ in range(24):
        middle = (low + high) / 2
        fits = stored(float(10**middle * np.ptp(x)))[0] * ratio <= x.nbytes
        low, high = (low, middle) if fits else (middle, high)
    size, y = stored(float(10**high * np.ptp(x)))
    np.save(folder / "x.npy", y)
    return size, folder / "x.npy"


def compared(program, original, decoded):
    done = subprocess.run([program, "compare", original, decoded, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["variables"][0]["comparison"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("variable")
    parser.add_argument("--ratio", type=float, default=300)
    parser.add_argument("--lithify", default="target/release/lithify")
    args = parser.parse_args()
    with h5py.File(args.file) as f, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        x = f[args.variable][...]
        # Files of one name are compared as one variable.
        original, decoded = (folder / side / "x.npy" for side in ("original", "decoded"))
        for side in (original, decoded):
            side.parent.mkdir()
        np.save(original, x)
        print("| codec | bytes | ratio | relative l2 error | largest error | 0.1 % moved | 99.9 % moved | KS distance |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        runs = [(codec, lambda codec=codec: ours(args.lithify, args.file, args.variable, args.ratio, codec, folder)) for codec in CODECS]
        for name, run in [*runs, ("SZ3", lambda: sz3(x, args.ratio, folder))]:
            size, back = run()
            np.save(decoded, np.load(back).reshape(x.shape))
            c = compared(args.lithify, original, decoded)
            moved = [c["decoded"]["quantiles"][i] - c["original"]["quantiles"][i] for i in (0, -1)]
            print(
                f"| {name} | {size} | {x.nbytes / size:.1f} | {c['l2']:.3e} | {c['max_abs']:.4g} | {moved[0]:+.3g} | {moved[1]:+.3g} "
                f"| {c['ks_distance']:.2e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
