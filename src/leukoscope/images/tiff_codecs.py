"""One strip or tile of a TIFF, as it lies in the file, to its samples. Knows nothing of the rest of the page.

A piece is decoded completely or not at all: what a codec or the length of its output shows to be damaged is a
ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from math import ceil
from typing import Any, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .headers import check_jpeg, check_scans, jpeg_header, plain_png
from .stated_size import jpeg2000_size, jpegxl_size, png_size, webp_size
from .tiff_layout import (
    CCITT,
    CMYK,
    DEFLATE,
    IMAGE_CODECS,
    JPEG,
    JPEG2000,
    JPEG_XL,
    LZMA,
    LZW,
    NONE,
    PACKBITS,
    PNG,
    RGB,
    WEBP,
    YCBCR,
    ZSTD,
    Layout,
)

Samples = NDArray[np.integer]
"""As stored: uint8 or uint16."""


def _png(content: bytes) -> Samples:
    return imagecodecs.png_decode(plain_png(BytesIO(content)))


_TO_BYTES: dict[int, Callable[..., Any]] = {
    LZW: imagecodecs.lzw_decode, **dict.fromkeys(DEFLATE, imagecodecs.zlib_decode),
    PACKBITS: imagecodecs.packbits_decode, LZMA: imagecodecs.lzma_decode,
    **dict.fromkeys(ZSTD, imagecodecs.zstd_decode)}
"""Compression -> decoder to bytes, which takes the length of the output."""
_TO_ARRAY: dict[int, tuple[Callable[[bytes], tuple[int, int]], Callable[..., Any]]] = {
    **dict.fromkeys(JPEG2000, (jpeg2000_size, imagecodecs.jpeg2k_decode)),
    **dict.fromkeys(WEBP, (webp_size, imagecodecs.webp_decode)),
    **dict.fromkeys(JPEG_XL, (jpegxl_size, imagecodecs.jpegxl_decode)), PNG: (png_size, _png)}
"""Compression -> the size that the header states, (width, height) in px, and decoder to an array."""


def decode_piece(it: Layout, content: bytes, rows: int, tables: bytes) -> Samples:
    """A strip or tile, samples as stored: (rows, columns, samples that lie together). rows: that it must have; tables:
    of JPEG, shared by all pieces of the page, or b""."""
    if it.backwards and it.compression not in (JPEG, *IMAGE_CODECS):
        content = cast(bytes, imagecodecs.bitorder_decode(content))
    if it.compression == JPEG:
        return _checked(it, _jpeg(it, content, tables), rows)
    if it.compression in _TO_ARRAY:
        stated_size, decode = _TO_ARRAY[it.compression]
        _check_size(it, *stated_size(content))
        return _checked(it, np.asarray(decode(content)), rows)
    if it.compression in CCITT:
        return _ccitt(it, content, rows)
    return _samples(it, content, rows)


def _check_size(it: Layout, width: int, height: int) -> None:
    """ValueError where the image inside a strip or tile states more pixels than this has: a decoder would allocate
    them."""
    if width * height > it.piece_width * it.piece_height:
        raise ValueError(f"an image of {width:,} x {height:,} px in a strip or tile of {it.piece_width} x "
                         f"{it.piece_height} px")


def _samples(it: Layout, content: bytes, rows: int) -> Samples:
    """A piece of plain samples, after a codec of bytes."""
    down, per_row = it.subsampling[1], it.row_bytes(it.piece_width)
    expected, most = (ceil(count / down) * per_row for count in (rows, it.piece_height))
    if it.compression != NONE:
        content = _TO_BYTES[it.compression](content, out=most)
    if len(content) < expected:
        raise ValueError(f"a strip or tile has {len(content):,} of {expected:,} bytes")
    values = np.frombuffer(content, np.uint8, expected).reshape(-1, per_row)
    if it.subsampling != (1, 1):
        return _without_subsampling(it, values, rows)
    if it.bits == 16:
        samples = values.view(f"{it.order}u2").astype(np.uint16, copy=False)
    elif it.bits == 8:
        samples = values
    elif it.bits < 8:
        shifts = np.arange(8 - it.bits, -1, -it.bits, dtype=np.uint8)
        samples = (values[..., None] >> shifts & ((1 << it.bits) - 1)).reshape(len(values), -1)
    else:
        samples = np.asarray(imagecodecs.packints_decode(
            values.tobytes(), f"{it.order}u2", it.bits, runlen=it.piece_width * it.together), np.uint16)
    samples = samples.reshape(rows, -1)[:, :it.piece_width * it.together].reshape(rows, it.piece_width, it.together)
    return _summed(it, samples)


def _summed(it: Layout, samples: Samples) -> Samples:
    """Differences to the pixel on the left (predictor 2) as values."""
    if it.predictor == 1:
        return samples
    if it.predictor != 2 or it.bits not in (8, 16):
        raise ValueError(f"predictor {it.predictor} with {it.bits}-bit values is not read")
    return np.cumsum(samples, axis=1, dtype=samples.dtype)


def _without_subsampling(it: Layout, values: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
    """YCbCr where several Y share a pair of Cb and Cr (TIFF 6.0, section 21)."""
    across, down = it.subsampling
    if it.predictor != 1:
        raise ValueError("a predictor with subsampled chroma is not read")
    blocks = values.reshape(len(values), -1, across * down + 2)
    light = blocks[..., :-2].reshape(len(values), -1, down, across).swapaxes(1, 2).reshape(len(values) * down, -1)
    chroma = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([light, chroma])[:rows, :it.piece_width]


def _jpeg(it: Layout, content: bytes, tables: bytes) -> Samples:
    stream = tables[:-2] + content[2:] if len(tables) > 4 else content
    header = jpeg_header(BytesIO(stream))
    if header.width > it.piece_width or header.height > it.piece_height:
        raise ValueError(f"a JPEG of {header.width} x {header.height} px in a strip or tile of {it.piece_width} x "
                         f"{it.piece_height} px")
    check_scans(stream)
    if header.bits == 8:
        check_jpeg(stream, header.channels)
    space = {RGB: "RGB", YCBCR: "YCBCR"}.get(it.photometric) if it.together > 1 else None  # CMYK may be YCCK inside
    out = "RGB" if space else "CMYK" if it.photometric == CMYK and it.together > 1 else None
    return np.asarray(imagecodecs.jpeg_decode(content, tables=tables or None, bitspersample=it.bits,
                                              colorspace=space, outcolorspace=out))


def _ccitt(it: Layout, content: bytes, rows: int) -> NDArray[np.uint8]:
    if it.compression == 3:
        packed = imagecodecs.ccittfax3_decode(content, rows, it.piece_width, t4options=it.fax)
    else:
        decode = imagecodecs.ccittfax4_decode if it.compression == 4 else imagecodecs.ccittrle_decode
        packed = decode(content, rows, it.piece_width)
    values = np.frombuffer(packed, np.uint8)
    if values.size != rows * it.piece_width:  # eight pixels a byte
        values = np.unpackbits(values.reshape(rows, -1), axis=1)[:, :it.piece_width]
    return values.reshape(rows, it.piece_width, 1)


def _checked(it: Layout, piece: Samples, rows: int) -> Samples:
    """A piece that an image codec has decoded, if it has the rows, columns and samples that it should have."""
    piece = np.atleast_3d(piece)
    last = it.height % it.piece_height
    if it.compression in WEBP and piece.shape[2] == 3 and it.together == 4:  # WebP leaves out a full alpha
        piece = np.dstack([piece, np.full(piece.shape[:2], 255, np.uint8)])
    right_size = piece.shape[1] in (it.piece_width, it.width % it.piece_width) and (
        piece.shape[0] in (rows, it.piece_height, last))
    if not right_size or piece.shape[2] != it.together or piece.dtype not in (np.uint8, np.uint16) or (
            piece.shape[0] < min(rows, it.height) and piece.shape[0] != last):
        raise ValueError(f"a strip or tile has {piece.shape[1]} x {piece.shape[0]} px of {piece.shape[2]} "
                         f"{piece.dtype} samples, expected {it.piece_width} x {rows} px of {it.together}")
    return piece
