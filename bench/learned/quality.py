"""Errors of decoded rasters."""

import numpy as np
from scipy.ndimage import correlate1d

# As crates/learned/src/objective.rs: weights of the scales, finest first, and a window.
SCALES = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
SIDE, DEVIATION = 11, 1.5


def peak(pictures):
    """255 for bytes, else the range of all samples."""
    if pictures[0].dtype == np.uint8:
        return 255.0
    return float(max(x.max() for x in pictures)) - float(min(x.min() for x in pictures))


def squared(x, y):
    return float(np.square(x.astype("f8") - y.astype("f8")).sum())


def mse(pictures, decoded):
    return sum(map(squared, pictures, decoded)) / sum(x.size for x in pictures)


def psnr(error, top):
    return 10 * np.log10(top * top / max(error, 1e-30))


def blur(x):
    side = min(SIDE, *x.shape[1:])
    g = np.exp(-(((np.arange(side) - (side - 1) / 2) / DEVIATION) ** 2) / 2)
    g, half = (g / g.sum()).astype("f4"), side // 2
    for axis in (1, 2):
        x = correlate1d(x, g, axis, mode="constant")
    return x[:, half : half + x.shape[1] - side + 1, half : half + x.shape[2] - side + 1]


def ms_ssim(x, y, top):
    """Mean over bands; as many scales as there is room for."""
    a, b = x.astype("f4") / top, y.astype("f4") / top
    # Variances as differences of squares lose few digits of numbers around zero.
    centre = a.mean(axis=(1, 2), keepdims=True)
    room = max(1, sum(min(x.shape[1:]) >> s >= SIDE for s in range(len(SCALES))))
    total, product = sum(SCALES[:room]), 1.0
    for scale, weight in enumerate(SCALES[:room]):
        ma, mb = blur(a - centre), blur(b - centre)
        va, vb = blur((a - centre) ** 2) - ma**2, blur((b - centre) ** 2) - mb**2
        cov = blur((a - centre) * (b - centre)) - ma * mb
        part = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        if scale + 1 == room:
            ma, mb = ma + centre, mb + centre
            part = part * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        product *= max(float(part.mean(dtype="f8")), 1e-4) ** (weight / total)
        if scale + 1 < room:
            a, b = (t[:, : t.shape[1] // 2 * 2, : t.shape[2] // 2 * 2] for t in (a, b))
            a, b = (t.reshape(len(t), t.shape[1] // 2, 2, t.shape[2] // 2, 2).mean(axis=(2, 4)) for t in (a, b))
    return product
