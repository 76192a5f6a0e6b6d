"""Rates at equal error, from measured points, without extrapolation."""

import numpy as np

FIELDS = [
    "coder", "mode", "knob", "bytes", "header_bytes", "bits_per_sample", "bits_without_headers", "mse", "psnr_db", "ms_ssim",
    "encode_s", "decode_s",
]  # fmt: skip
ENOUGH = 8


def curve(rows, key="bits_per_sample"):
    """PSNR and log rate, both rising: points that another one beats in both are left out."""
    points = sorted((r[key], r["psnr_db"]) for r in rows if r[key] > 0)
    rising = [p for i, p in enumerate(points) if all(p[1] > q[1] for q in points[:i])]
    return np.array([p[1] for p in rising]), np.log([p[0] for p in rising])


def rate_at(rows, psnr, key="bits_per_sample"):
    quality, log_rate = curve(rows, key)
    if not len(quality) or not quality[0] <= psnr <= quality[-1]:
        return np.nan
    return float(np.exp(np.interp(psnr, quality, log_rate)))


def psnr_at(rows, bits):
    quality, log_rate = curve(rows)
    if not len(quality) or not log_rate[0] <= np.log(bits) <= log_rate[-1]:
        return np.nan
    return float(np.interp(np.log(bits), log_rate, quality))


def modes(rows, coder):
    """Rows of a coder by mode, in their order."""
    out = {}
    for r in rows:
        if r["coder"] == coder:
            out.setdefault(r["mode"], []).append(r)
    return out


def best(rows, coder, psnr, key="bits_per_sample"):
    """The smallest rate of all its modes at that PSNR, and the mode."""
    rates = {mode: rate_at(points, psnr, key) for mode, points in modes(rows, coder).items()}
    rates = {m: r for m, r in rates.items() if np.isfinite(r)}
    return min(((r, m) for m, r in rates.items()), default=(np.nan, ""))
