"""docs/bench/learned: README.md and pictures from what was measured."""

import csv
import json
import statistics

import curves
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RATES = [0.1, 0.25, 0.5, 0.75, 1.0]
TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 4]
HEAD = """# Learned codecs beside others

Written by `python bench/learned`, not edited by hand; how to run it: [bench/learned](../../../bench/learned/README.md). Each set's points are in its CSV.

Rates are bits of a sample, bands x rows x columns of them, from stored bytes: of ours the chunks, of JPEG 2000 and JPEG XL the bare
codestreams and what a decoder needs of a KLT. A model is counted nowhere. Errors are measured on what each decoder gave back, rounded to
the type of the file. PSNR is of all bands together, with one peak. Each raster is coded by itself, at one mean squared error for all (JPEG
XL: one distance); "best for each" takes for each raster the mode and setting that are best at one price of squared error. The smallest of a
coder's modes counts. Between points log rate is straight over PSNR; nothing is extrapolated: `-` is outside a curve.
"""
ABLATION = {
    "axis": "axis", "row": "row", "lambda": "lambda", "parameters": "parameters", "bits_per_sample": "bits", "psnr_db": "PSNR, dB",
    "ms_ssim": "MS-SSIM", "encode_msamples_s": "encode, Msamples/s", "decode_msamples_s": "decode, Msamples/s", "real_over_estimated": "real / estimated",
    "rounded_over_noise": "rounded / noise", "note": "",
}  # fmt: skip


def number(v, digits=3):
    return "-" if v is None or not np.isfinite(v) else f"{v:.{digits}g}" if v < 10**digits else f"{v:.0f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows]) + "\n"


def read(path):
    with path.open() as f:
        return [{k: v if k in ("coder", "mode", "knob") else float(v) for k, v in r.items()} for r in csv.DictReader(f)]


def coders(rows):
    return list(dict.fromkeys(r["coder"] for r in rows))


def ratios(rows, points, key):
    """At each (name, bits, PSNR) of ours: bytes of each other coder over ours, and its mode."""
    others = [c for c in coders(rows) if not c.startswith("learned")]
    out = []
    for name, bits, psnr in points:
        cells = [name, number(bits), "-" if not np.isfinite(psnr) else f"{psnr:.2f}"]
        for coder in others:
            rate, mode = curves.best(rows, coder, psnr, key) if np.isfinite(psnr) else (np.nan, "")
            cells.append(number(rate / bits) + (f" ({mode})" if mode else ""))
        out.append(cells)
    return table(["", "bits", "PSNR, dB", *others], out)


def speeds(rows, samples):
    out = []
    for coder in coders(rows):
        for mode, points in curves.modes(rows, coder).items():
            if not np.isfinite(points[0]["encode_s"]):
                continue
            rate = [number(samples / 1e6 / statistics.median(max(p[k], 1e-9) for p in points)) for k in ("encode_s", "decode_s")]
            header = max(p["header_bytes"] for p in points)
            out.append([f"{coder}, {mode}".rstrip(", "), len(points), *rate, number(header, 6) if header else "-"])
    return table(["coder", "points", "encode, Msamples/s", "decode, Msamples/s", "header bytes, all rasters"], out)


def picture(name, rows, path):
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    for coder in coders(rows):
        points = [r for r in rows if r["coder"] == coder]
        for axis, key in zip(axes, ("psnr_db", "ms_ssim"), strict=True):
            wanted = np.unique([r[key] for r in points])
            rates = [curves.best(rows, coder, w, quality=key)[0] for w in wanted]
            values = -10 * np.log10(np.maximum(1 - wanted, 1e-9)) if key == "ms_ssim" else wanted
            axis.plot(rates, values, label=coder, marker=".", linewidth=2 if coder == "learned" else 1)
    for axis, label in zip(axes, ("PSNR, dB", "MS-SSIM, dB: -10 log10(1 - x)"), strict=True):
        axis.set(xscale="log", xlabel="bits per sample", ylabel=label)
        axis.set_xticks(TICKS, [f"{t:g}" for t in TICKS])
        axis.xaxis.set_minor_formatter("")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=8)
    figure.suptitle(name)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def section(out, name):
    rows, said = read(out / f"{name}.csv"), json.loads((out / f"{name}.json").read_text())
    picture(f"{said['model']}: {said['pictures']} rasters", rows, out / f"{name}.png")
    shape = " x ".join(map(str, said["shape"])) if said["shape"] else "various"
    ours = [r for r in rows if r["coder"] == "learned"]
    fixed = [r for r in rows if r["coder"] == "learned, fixed rates"]
    at_bits = [(number(b), b, curves.psnr_at(ours or fixed, b)) for b in RATES]
    at_rates = [(f"rate {r['knob']}", r["bits_per_sample"], r["psnr_db"]) for r in fixed]
    few = [
        f"{c}, {m}".rstrip(", ") for c in coders(rows) if c != "learned, fixed rates"
        for m, p in curves.modes(rows, c).items() if len(curves.curve(p)[0]) < curves.ENOUGH
    ]  # fmt: skip
    text = [
        f"## {name}\n",
        f"Model \"{said['model']}\" (SHA-256 {said['sha256'][:16]}..., {said['model_bytes']} bytes, {said['parameters']} numbers, "
        f"rates: {said['rates']}) on {said['pictures']} rasters, {shape}, {said['dtype']}: {', '.join(said['files'])}. "
        f"Peak {said['peak']:g}. Effort {said['effort']} of Lithify, {said['jxl_effort']} of libjxl. {said['lithify']}, "
        f"commit {said['commit']}, {said['openjpeg']}, {said['libjxl']}. {said['cpu']}. [All points]({name}.csv).\n",
        f"![rate and error]({name}.png)\n",
        "Bytes of others over those of the learned codec at its PSNR; above 1 it is smaller. `psnr=` chose its rates.\n",
        ratios(rows, at_bits, "bits_per_sample"),
        "The same at the model's own rates, each the same for all rasters.\n",
        ratios(rows, at_rates, "bits_per_sample"),
        "The same without the others' headers, which are what a constant raster takes; ours stay counted.\n",
        ratios(rows, at_bits + at_rates, "bits_without_headers"),
        "One thread, user and system time, medians over the points.\n",
        speeds(rows, said["samples"]),
    ]
    if few:
        text.append(f"Fewer than {curves.ENOUGH} points that count: {'; '.join(few)}.\n")
    return "\n".join(text)


def ablation(path):
    with path.open() as f:
        rows = list(csv.DictReader(f))
    said = json.loads(path.with_suffix(".json").read_text())
    body = [[r[k] for k in ABLATION] for r in rows]
    return (
        f"## {path.stem}\n\nEach axis in turn, the others as in \"{said['base']}\"; {said['steps']} steps, seed {said['seed']}. Bits, PSNR (peak "
        f"{said['peak']:g}), MS-SSIM and times of one thread are of {said['pictures']} rasters, by real bytes. real / estimated: real bits of the "
        "run's held-out tiles over the estimate with rounded values. rounded / noise: that estimate over the one in training, with noise, on "
        f"other tiles, both as means over the rates. [All columns]({path.name}).\n\n" + table(list(ABLATION.values()), body)
    )


def write(out):
    sets = sorted(p.stem for p in out.glob("*.csv") if not p.stem.endswith("-ablation"))
    parts = [HEAD] + [section(out, name) for name in sets] + [ablation(p) for p in sorted(out.glob("*-ablation.csv"))]
    (out / "README.md").write_text("\n".join(parts))
