"""Short trainings of one configuration with one axis changed at a time."""

import copy
import csv
import glob
import json
import subprocess
import sys
import tempfile
import tomllib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import ours
import pictures
import quality

AXES = {
    "transform": ["conv-gdn", "residual-attention", "spectral-spatial", "wavelet-hybrid", "spectral-mlp"],
    "quantizer": ["uniform", "vector", "binary"],
    "entropy": ["factorized", "laplacian", "scale-hyperprior", "mean-scale-hyperprior", "checkerboard", "channel-wise", "mixture"],
    "objective": ["mse", "ms-ssim", "quality-map", "distill", "masked", "task"],
}
COLUMNS = [
    "axis", "row", "lambda", "parameters", "model_bytes", "bits_per_sample", "psnr_db", "ms_ssim", "encode_msamples_s", "decode_msamples_s",
    "tiles_bits_per_sample", "tiles_psnr_db", "estimated_bits_per_sample", "estimated_psnr_db", "real_over_estimated", "noise_bits_per_sample",
    "rounded_bits_per_sample", "rounded_over_noise", "note",
]  # fmt: skip


def toml(config):
    """Strings of JSON are strings of TOML."""
    plain = {k: v for k, v in config.items() if not isinstance(v, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in plain.items()]
    for table, values in config.items():
        if isinstance(values, dict):
            lines += [f"\n[{table}]"] + [f"{k} = {json.dumps(v)}" for k, v in values.items()]
    return "\n".join(lines) + "\n"


def missing(row, base, data):
    """Why a row cannot be tried."""
    if row == "quality-map" and not base["objective"].get("quality"):
        return "the base names no objective.quality"
    if row == "task" and len({Path(p).parent for p in glob.glob(data, recursive=True)}) < 2:
        return "its labels are folders, and the data are in one"
    return ""


def variants(base, axes, data):
    """(axis, row, configuration, note). The base is the first."""
    yield "base", "", base, ""
    for axis in axes:
        for row in AXES[axis]:
            if base.get(axis, {}).get("kind", AXES[axis][0]) == row:
                continue
            if why := missing(row, base, data):
                print(f"{axis} {row} is left out: {why}", file=sys.stderr)
                continue
            config, notes = copy.deepcopy(base), []
            config.setdefault(axis, {})["kind"] = row
            if row in ("vector", "binary"):
                # What they go with: one table for each channel, one rate.
                lambdas = base["objective"]["lambda"]
                config.setdefault("entropy", {})["kind"] = "factorized"
                config["objective"]["lambda"] = [lambdas[len(lambdas) // 2]]
                notes = ["entropy factorized", "one lambda"]
            yield axis, row, config, ", ".join(notes)


def train(args, config, folder, stem):
    """Lines of JSON; those of an earlier run of the same configuration are kept."""
    path, model, log = (folder / f"{stem}.{e}" for e in ("toml", "safetensors", "jsonl"))
    config.setdefault("train", {}).update(steps=args.steps, seed=args.seed)
    text = f"# {args.data}\n{toml(config)}"
    if not (model.exists() and log.exists() and path.exists() and path.read_text() == text):
        path.write_text(text)
        command = [args.train, path, "--data", args.data, "--out", model, "--json"]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode != 0:
            return None, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
        log.write_text(done.stdout)
    return model, [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def measured(args, axis, row, note, model, lines, images, work):
    """A row for each rate."""
    end, evaluations = lines[-1], lines[:-1]
    # Weights that are kept are those of the best evaluation.
    best = min(evaluations, key=lambda e: np.mean([p["loss"] for p in e["held_out"]]))
    noise = best["train"][1] if best["train"] else np.nan
    rounded = float(np.mean([p["bits_per_sample"] for p in best["held_out"]]))
    card, samples, top = ours.Model(model), sum(x.size for x in images), quality.peak(images)
    program = ours.Lithify(args.lithify, images, work)
    names = [(name, gains) for name, gains in card.rates(0)] or [("0", None)]
    for (_, gains), point, coded in zip(names, end["points"], end["coded"], strict=True):
        alone = model if gains is None else card.with_gains(gains, Path(work) / "one-rate.safetensors")
        program.idle.clear()
        decoded, n_bytes, _, *took = program.code("learned", None, args.effort, alone)
        similar = np.mean([quality.ms_ssim(x, y, top) for x, y in zip(images, decoded, strict=True)])
        values = [
            axis, row, point["lambda"], card.parameters(), card.bytes, sum(n_bytes) * 8 / samples, quality.psnr(quality.mse(images, decoded), top),
            float(similar), *(samples / 1e6 / max(s, 1e-9) for s in took), coded["bits_per_sample"], coded["psnr_db"],
            point["bits_per_sample"], point["psnr_db"], coded["bits_per_sample"] / point["bits_per_sample"], noise, rounded, rounded / noise, note,
        ]  # fmt: skip
        yield dict(zip(COLUMNS, (f"{v:.5g}" if isinstance(v, float) else v for v in values), strict=True))


def ablation(args):
    base = tomllib.loads(args.config.read_text())
    _, images = pictures.load(args.pictures, args.limit, args.crop)
    rows, teacher = [], None
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() if not args.keep else nullcontext(args.keep) as folder:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for axis, row, config, note in variants(base, args.axes, args.data):
            if row == "distill":
                config["objective"]["teacher"], note = str(teacher), "teacher: the base"
            model, lines = train(args, config, folder, f"{axis}-{row}")
            if model is None:
                print(f"{axis} {row}: {lines}", file=sys.stderr)
                rows.append(dict.fromkeys(COLUMNS, "") | {"axis": axis, "row": row, "note": f"failed: {lines}"})
                continue
            teacher = teacher or model.resolve()
            for r in measured(args, axis, row, note, model, lines, images, work):
                rows.append(r)
                print(", ".join(f"{k} {v}" for k, v in r.items()), file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{args.name}-ablation.csv"
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    said = {"base": base["name"], "config": base, "steps": args.steps, "seed": args.seed, "pictures": len(images), "peak": quality.peak(images)}
    path.with_suffix(".json").write_text(json.dumps(said, indent=1) + "\n")
    if args.json:
        print(json.dumps({"about": said, "rows": rows}))
