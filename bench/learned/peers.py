"""JPEG 2000 and JPEG XL on rasters of any number of bands, by their own libraries.

Samples go in as 16-bit numbers by one affine map for the whole set, so one setting is one mean squared error everywhere.
"""

import time
from dataclasses import dataclass, replace

import imagecodecs
import jxl
import numpy as np

TOP = 65535
# What libjxl takes.
DISTANCES = np.geomspace(0.05, 25, 9)
# With more pictures than this JPEG XL, the slowest, gets one KLT for all.
MANY = 16
# What samples are taken for: linear light, and the brightest one in cd/m2.
LIGHT = {"sRGB": (False, 255), "sRGB 30": (False, 30), "linear 30": (True, 30)}


@dataclass
class Bands:
    """Bands as they are."""

    low: float
    scale: float

    def forward(self, x, _):
        return np.rint((x.astype("f8") - self.low) * self.scale).astype("u2")

    def inverse(self, u, _):
        return u / self.scale + self.low

    def side_bytes(self):
        return 8


@dataclass
class Klt:
    """Principal components. What a decoder needs of them is counted: the matrix as 16-bit numbers, an offset of each component."""

    matrices: list
    offsets: list
    scale: float

    def of(self, i):
        i = i if len(self.matrices) > 1 else 0
        return self.matrices[i], self.offsets[i][:, None, None]

    def forward(self, x, i):
        m, offset = self.of(i)
        y = np.tensordot(m, x.astype("f8"), 1) - offset
        return np.clip(np.rint(y * self.scale + TOP / 2), 0, TOP).astype("u2")

    def inverse(self, u, i):
        m, offset = self.of(i)
        return np.tensordot(np.linalg.inv(m), (u - TOP / 2) / self.scale + offset, 1)

    def side_bytes(self):
        return 4 + sum(2 * m.size for m in self.matrices) + sum(4 * o.size for o in self.offsets)


def bands(pictures):
    low, high = min(float(x.min()) for x in pictures), max(float(x.max()) for x in pictures)
    return Bands(low, TOP / max(high - low, 1e-30))


def klt(groups):
    """One matrix for each group of pictures."""
    matrices, offsets, widest = [], [], 1e-30
    for group in groups:
        flat = np.concatenate([x.reshape(len(x), -1) for x in group], 1).astype("f8")
        vectors = np.linalg.eigh(np.atleast_2d(np.cov(flat)))[1][:, ::-1].T
        matrix = np.rint(vectors * 32767) / 32767
        y = matrix @ flat
        low, high = y.min(1), y.max(1)
        matrices.append(matrix)
        offsets.append((low + high) / 2)
        widest = max(widest, (high - low).max())
    return Klt(matrices, offsets, TOP / widest)


def transforms(pictures, sets_only=False):
    out = {"bands": bands(pictures)}
    if len(pictures[0]) > 1:
        out["KLT of the set"] = klt([pictures])
        if not sets_only and len(pictures) > 1:
            out["KLT of each picture"] = klt([[x] for x in pictures])
    return out


@dataclass
class Jpeg2000:
    """OpenJPEG: irreversible 9/7, all planes as components of one codestream, bits to whatever plane they help most (PCRD)."""

    transform: object
    colour: bool = False

    def knobs(self, errors, _):
        """Its quality is PSNR of the 16-bit numbers."""
        return [10 * np.log10(TOP**2 / (mse * self.transform.scale**2)) for mse in errors]

    def encode(self, u, knob):
        level = float(np.clip(knob, 1.01, 999))
        return imagecodecs.jpeg2k_encode(
            u, level=level, planar=True, mct=self.colour, codecformat="j2k", reversible=False, numthreads=1
        )

    def decode(self, data, shape):
        return imagecodecs.jpeg2k_decode(data, planar=True, numthreads=1).reshape(shape)


@dataclass
class JpegXl:
    """libjxl: planes one below the other in one image of grays, or one image of three colours."""

    transform: object
    effort: int
    light: tuple
    colour: bool = False

    def knobs(self, errors, pictures):
        """Distances that give about these errors, as a quicker effort makes of some pictures."""
        quick = replace(self, effort=min(self.effort, 5))
        some = range(0, len(pictures), max(1, len(pictures) // 6))
        found = np.zeros(len(DISTANCES))
        for i in some:
            u = self.transform.forward(pictures[i], i)
            for k, distance in enumerate(DISTANCES):
                y = self.transform.inverse(quick.decode(quick.encode(u, distance), u.shape).astype("f8"), i)
                found[k] += np.square(y - pictures[i]).mean() / len(some)
        found = np.maximum.accumulate(np.maximum(found, 1e-30))
        return sorted(set(np.exp(np.interp(np.log(errors), np.log(found), np.log(DISTANCES)))))

    def encode(self, u, knob):
        # Its blocks are multiples of 8; none shall hold rows of two planes.
        padded = np.pad(u, ((0, 0), (0, -u.shape[1] % 8), (0, 0)), mode="edge")
        image = np.moveaxis(u, 0, -1) if self.colour else padded.reshape(-1, u.shape[2])
        return jxl.encode(image, knob, self.effort, *self.light)

    def decode(self, data, shape):
        image = jxl.decode(data)
        return np.moveaxis(image, -1, 0) if self.colour else image.reshape(shape[0], -1, shape[2])[:, : shape[1]]


def modes(pictures, effort):
    """(coder, mode, codec): all that are tried, of which the smallest counts at each error."""
    rgb = len(pictures[0]) == 3
    for name, transform in transforms(pictures).items():
        yield "JPEG 2000", name, Jpeg2000(transform)
    if rgb:
        yield "JPEG 2000", "its colour transform", Jpeg2000(bands(pictures), colour=True)
    for name, transform in transforms(pictures, sets_only=len(pictures) > MANY).items():
        for light, how in LIGHT.items():
            yield "JPEG XL", f"{name}, {light}", JpegXl(transform, effort, how)
    if rgb:
        for light, how in LIGHT.items():
            yield "JPEG XL", f"its colour transform, {light}", JpegXl(bands(pictures), effort, how, colour=True)


def code(codec, pictures, knob):
    """What comes back, bytes and bytes of headers of each picture, seconds of one thread. What is for all is shared out evenly."""
    decoded, n_bytes, headers, seconds, constant = [], [], [], np.zeros(2), {}
    for i, x in enumerate(pictures):
        u = codec.transform.forward(x, i)
        begin = time.process_time()
        data = codec.encode(u, knob)
        middle = time.process_time()
        back = codec.decode(data, u.shape)
        seconds += [middle - begin, time.process_time() - middle]
        if u.shape not in constant:
            constant[u.shape] = len(codec.encode(np.full_like(u, TOP // 2), knob))
        n_bytes.append(len(data) + codec.transform.side_bytes() / len(pictures))
        headers.append(constant[u.shape])
        decoded.append(codec.transform.inverse(back.astype("f8"), i))
    return decoded, n_bytes, headers, *seconds
