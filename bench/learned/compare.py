"""One model beside its peers on held-out rasters."""

import csv
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import curves
import imagecodecs
import numpy as np
import ours
import peers
import pictures
import quality

# Errors beyond those of the model's coarsest and finest rate, so that peers' curves reach over ours.
MARGIN = 1.3
ALLOCATED = "best for each"


def say(row):
    print(f"{row['coder']:22} {row['mode']:32} {row['bits_per_sample']:8.4f} bits  {row['psnr_db']:6.2f} dB  {row['ms_ssim']:.4f}", file=sys.stderr)


class Bench:
    def __init__(self, images, top):
        self.images, self.top, self.rows, self.each = images, top, [], {}
        self.samples = sum(x.size for x in images)

    def add(self, coder, mode, knob, result):
        decoded, n_bytes, headers, encode_s, decode_s = result
        decoded = [pictures.as_stored(y, x) for x, y in zip(self.images, decoded, strict=True)]
        errors = [quality.squared(x, y) for x, y in zip(self.images, decoded, strict=True)]
        similar = [quality.ms_ssim(x, y, self.top) for x, y in zip(self.images, decoded, strict=True)]
        each = np.array([n_bytes, headers, errors, similar])
        self.each.setdefault(coder, []).append(each)
        return self.row(coder, mode, knob, each, encode_s, decode_s)

    def row(self, coder, mode, knob, each, encode_s, decode_s):
        n_bytes, headers, error = each[:3].sum(1)
        values = [
            coder, mode, knob, n_bytes, headers, n_bytes * 8 / self.samples, (n_bytes - headers) * 8 / self.samples, error / self.samples,
            quality.psnr(error / self.samples, self.top), each[3].mean(), encode_s, decode_s,
        ]  # fmt: skip
        row = {k: v if isinstance(v, str) else float(v) for k, v in zip(curves.FIELDS, values, strict=True)}
        self.rows.append(row)
        say(row)
        return row

    def allocate(self, coder, points):
        """Each picture by the mode and setting that is best for it, at one price of squared error for all."""
        tried = np.array(self.each[coder])
        bits, errors = tried[:, 0] * 8, tried[:, 2]
        # At a fine rate half the error of a sample costs half a bit; at coarse ones, where few samples take bits, far less.
        fine = 1 / (2 * np.log(2) * errors.sum(1).min() / self.samples)
        coarse = 1 / (2 * np.log(2) * errors.sum(1).max() / self.samples)
        seen = set()
        for price in np.geomspace(coarse / 100, fine, 4 * points):
            best = np.argmin(bits + price * errors, axis=0)
            if best.tobytes() not in seen:
                seen.add(best.tobytes())
                self.row(coder, ALLOCATED, f"{price:.6g}", tried[best, :, np.arange(len(self.images))].T, np.nan, np.nan)


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def about(args, model, names, images, top):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    version = subprocess.run([args.lithify, "--version"], capture_output=True, text=True).stdout.strip()
    shapes = sorted({x.shape for x in images})
    return {
        "model": model.card["name"], "sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(), "model_bytes": model.bytes,
        "parameters": model.parameters(), "rates": 1 if model.gains() is None else len(model.gains()),
        "pictures": len(images), "shape": list(shapes[0]) if len(shapes) == 1 else None, "dtype": str(images[0].dtype),
        "samples": sum(x.size for x in images), "peak": top, "files": names if len(names) <= 8 else [names[0], "...", names[-1]],
        "effort": args.effort, "jxl_effort": args.jxl_effort, "points": args.points, "lithify": version, "commit": commit,
        "cpu": cpu(), "openjpeg": imagecodecs.jpeg2k_version(), "libjxl": imagecodecs.jpegxl_version(),
    }  # fmt: skip


def compare(args):
    names, images = pictures.load(args.pictures, args.limit, args.crop)
    top = args.peak or quality.peak(images)
    bench, model = Bench(images, top), ours.Model(args.model)
    with tempfile.TemporaryDirectory() as work:
        program = ours.Lithify(args.lithify, images, work)
        alone = Path(work) / "one-rate.safetensors"
        fixed = []
        for name, gains in model.rates(args.between):
            program.idle.clear()
            result = program.code("learned", None, args.effort, model.with_gains(gains, alone))
            fixed.append(bench.add("learned, fixed rates", "", name, result))
        if not fixed:
            fixed.append(bench.add("learned, fixed rates", "", "0", program.code("learned", None, args.effort, model.path)))
        coarse, fine = max(r["mse"] for r in fixed), min(r["mse"] for r in fixed)
        if len(fixed) > 1:
            for mse in np.geomspace(coarse, fine, args.points):
                bench.add("learned", "", f"{mse:.6g}", program.code("learned", mse, args.effort, model.path))
        errors = np.geomspace(coarse * MARGIN, fine / MARGIN, args.points)
        for codec in args.codecs:
            for mse in errors:
                bench.add(f"Lithify {codec}", "", f"{mse:.6g}", program.code(codec, mse, args.effort))
    for coder, mode, codec in peers.modes(images, args.jxl_effort):
        for knob in codec.knobs(errors, images):
            bench.add(coder, mode, f"{knob:.6g}", peers.code(codec, images, knob))
    if len(images) > 1:
        for coder in ("JPEG 2000", "JPEG XL"):
            bench.allocate(coder, args.points)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / f"{args.name}.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, curves.FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in r.items()} for r in bench.rows)
    said = about(args, model, names, images, top)
    (args.out / f"{args.name}.json").write_text(json.dumps(said, indent=1) + "\n")
    if args.json:
        print(json.dumps({"about": said, "rows": bench.rows}))
