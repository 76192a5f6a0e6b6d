"""Rates at equal error, from measured points, without extrapolation."""

import numpy as np

FIELDS = [
    "coder", "mode", "knob", "bytes", "header_bytes", "bits_per_sample", "bits_without_headers", "mse", "psnr_db", "ms_ssim",
    "encode_s", "decode_s",
]  # fmt: skip
ENOUGH = 8


def curve(rows, key="bits_per_sample", quality="psnr_db"):
    """Quality and log rate, both rising: points that another one beats in both are left out."""
    points = sorted((r[key], r[quality]) for r in rows if r[key] > 0)
    rising = [p for i, p in enumerate(points) if all(p[1] > q[1] for q in points[:i])]
    return np.array([p[1] for p in rising]), np.log([p[0] for p in rising])


def rate_at(rows, wanted, key="bits_per_sample", quality="psnr_db"):
    reached, log_rate = curve(rows, key, quality)
    if not len(reached) or not reached[0] <= wanted <= reached[-1]:
        return np.nan
    return float(np.exp(np.interp(wanted, reached, log_rate)))


def psnr_at(rows, bits):
    reached, log_rate = curve(rows)
    if not len(reached) or not log_rate[0] <= np.log(bits) <= log_rate[-1]:
        return np.nan
    return float(np.interp(np.log(bits), log_rate, reached))


def modes(rows, coder):
    """Rows of a coder by mode, in their order."""
    out = {}
    for r in rows:
        if r["coder"] == coder:
            out.setdefault(r["mode"], []).append(r)
    return out


def best(rows, coder, wanted, key="bits_per_sample", quality="psnr_db"):
    """The smallest rate of all its modes at that quality, or a better one if that takes less, and the mode."""
    rates = {mode: rate_at(points, wanted, key, quality) for mode, points in modes(rows, coder).items()}
    if not np.isfinite(list(rates.values())).any():
        return np.nan, ""
    for mode, points in modes(rows, coder).items():
        reached, log_rate = curve(points, key, quality)
        if len(reached) and reached[0] > wanted:
            rates[mode] = float(np.exp(log_rate[0]))
    return min((r, m) for m, r in rates.items() if np.isfinite(r))
