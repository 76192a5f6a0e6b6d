"""libjxl by its C interface, from the copy inside imagecodecs, whose own functions leave out what PSNR needs.

Structures: jxl/codestream_header.h, jxl/color_encoding.h, jxl/types.h of libjxl 0.11.
"""

import ctypes as c
from pathlib import Path

import imagecodecs
import numpy as np

EFFORT, EPF, MODULAR = 0, 9, 11
UINT16, LINEAR = 3, 8


class BasicInfo(c.Structure):
    _fields_ = [
        ("have_container", c.c_int), ("xsize", c.c_uint32), ("ysize", c.c_uint32), ("bits_per_sample", c.c_uint32),
        ("exponent_bits", c.c_uint32), ("intensity_target", c.c_float), ("min_nits", c.c_float), ("relative", c.c_int),
        ("linear_below", c.c_float), ("uses_original_profile", c.c_int), ("have_preview", c.c_int), ("have_animation", c.c_int),
        ("orientation", c.c_int), ("num_color_channels", c.c_uint32), ("num_extra_channels", c.c_uint32), ("rest", c.c_uint8 * 256),
    ]  # fmt: skip


class ColorEncoding(c.Structure):
    _fields_ = [
        ("space", c.c_int), ("white_point", c.c_int), ("white_point_xy", c.c_double * 2), ("primaries", c.c_int),
        ("primaries_xy", c.c_double * 6), ("transfer", c.c_int), ("gamma", c.c_double), ("intent", c.c_int),
    ]  # fmt: skip


class PixelFormat(c.Structure):
    _fields_ = [("num_channels", c.c_uint32), ("type", c.c_int), ("endianness", c.c_int), ("align", c.c_size_t)]


def library():
    imagecodecs.jpegxl_version()  # loads what libjxl itself needs
    lib = c.CDLL(str(next((Path(imagecodecs.__file__).parent.parent / "imagecodecs.libs").glob("libjxl-*"))))
    lib.JxlEncoderCreate.restype = lib.JxlEncoderFrameSettingsCreate.restype = c.c_void_p
    return lib


LIB = library()


def must(status):
    if status != 0:
        raise RuntimeError("libjxl refused")


def encode(x, distance, effort, linear, nits):
    """uint16 [row, column] or [row, column, 3] to a bare codestream, lossy, by one thread.

    The transforms of varying size on XYB. What lowers PSNR is off where it can be: the edge-preserving filter. What the samples are
    taken for, linear light or not and how bright, decides how XYB spreads errors over dark and bright.
    """
    encoder = c.c_void_p(LIB.JxlEncoderCreate(None))
    LIB.JxlEncoderUseContainer(encoder, 0)
    info = BasicInfo()
    LIB.JxlEncoderInitBasicInfo(c.byref(info))
    colours = x.shape[2] if x.ndim == 3 else 1
    info.ysize, info.xsize, info.bits_per_sample, info.num_color_channels = *x.shape[:2], 16, colours
    info.uses_original_profile, info.intensity_target = 0, nits
    must(LIB.JxlEncoderSetBasicInfo(encoder, c.byref(info)))
    colour = ColorEncoding()
    LIB.JxlColorEncodingSetToSRGB(c.byref(colour), int(colours == 1))
    if linear:
        colour.transfer = LINEAR
    must(LIB.JxlEncoderSetColorEncoding(encoder, c.byref(colour)))
    settings = c.c_void_p(LIB.JxlEncoderFrameSettingsCreate(encoder, None))
    for option, value in [(EFFORT, effort), (MODULAR, 0), (EPF, 0)]:
        must(LIB.JxlEncoderFrameSettingsSetOption(settings, option, c.c_int64(value)))
    must(LIB.JxlEncoderSetFrameDistance(settings, c.c_float(distance)))
    x = np.ascontiguousarray(x)
    layout = PixelFormat(colours, UINT16, 0, 0)
    must(LIB.JxlEncoderAddImageFrame(settings, c.byref(layout), x.ctypes.data_as(c.c_void_p), c.c_size_t(x.nbytes)))
    LIB.JxlEncoderCloseInput(encoder)
    room = 2 * x.nbytes + 10000
    out = c.create_string_buffer(room)
    at, left = c.cast(out, c.c_void_p), c.c_size_t(room)
    must(LIB.JxlEncoderProcessOutput(encoder, c.byref(at), c.byref(left)))
    LIB.JxlEncoderDestroy(encoder)
    return out.raw[: room - left.value]


def decode(data):
    return imagecodecs.jpegxl_decode(data, numthreads=1)
