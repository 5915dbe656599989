"""One page of a TIFF to uint8 RGB: any layout of strips, tiles, planes, bits and byte order, whole or a window of it.

A page is decoded completely or not at all: what a codec or the length of its output shows to be damaged is a
ValueError, and so is every layout that is not read, with the cause in words.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from math import ceil
from typing import Any, cast

import imagecodecs
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import WebPImagePlugin

from . import tiff_tags as tags
from .headers import check_jpeg, jpeg_header
from .tiff_tags import Directory, Tiff, read_at

CACHE = 128_000_000
"""Bytes of decoded strips and tiles that a window reader holds."""
MOST_PIECES = 4_000_000
"""Strips or tiles of a page."""
LARGEST_PIECE = 100_000_000
"""Pixels of a strip or tile."""
_BAND = 4_000_000  # px

_NONE, _LZW, _OLD_JPEG, _JPEG, _DEFLATE, _PACKBITS, _JPEG2000 = 1, 5, 6, 7, (8, 32946), 32773, (33003, 33005, 34712)
_LZMA, _ZSTD, _WEBP, _JPEG_XL, _PNG, _LERC = 34925, (34926, 50000), (34927, 50001), (50002, 52546), 34933, 34887
_CCITT = (2, 3, 4, 32771)
_BYTE_CODECS: dict[int, Callable[..., Any]] = {
    _LZW: imagecodecs.lzw_decode, **dict.fromkeys(_DEFLATE, imagecodecs.zlib_decode),
    _PACKBITS: imagecodecs.packbits_decode, _LZMA: imagecodecs.lzma_decode,
    **dict.fromkeys(_ZSTD, imagecodecs.zstd_decode)}
"""Compression -> decoder to bytes, which takes the length of the output."""
_IMAGE_CODECS: dict[int, Callable[..., Any]] = {
    **dict.fromkeys(_JPEG2000, imagecodecs.jpeg2k_decode), **dict.fromkeys(_WEBP, imagecodecs.webp_decode),
    **dict.fromkeys(_JPEG_XL, imagecodecs.jpegxl_decode), _PNG: imagecodecs.png_decode}
"""Compression -> decoder to an array."""
_WHITE, _BLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE: 1, _BLACK: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
"""Photometric interpretation -> samples of a pixel without alpha."""
_NAMES = {4: "a mask", 8: "CIELab colours", 9: "ICCLab colours", 10: "ITULab colours", 32803: "raw sensor data",
          32844: "LogL light", 32845: "LogLuv light", 34892: "raw sensor data"}
_FORMATS = {2: "int", 3: "float", 5: "complex int", 6: "complex float"}


@dataclass(frozen=True)
class Layout:
    """How a page stores its pixels. width, height, and those of a piece (a strip or tile), in px. across: pieces in a
    row; count: all of them. bits: of a sample as stored. planes: 1 where all samples of a pixel lie together, else as
    many as samples. colours: samples without alpha. alpha: 0 none, 1 premultiplied, 2 not. subsampling: of chroma.
    turn: EXIF orientation.
    """

    width: int
    height: int
    piece_width: int
    piece_height: int
    across: int
    count: int
    tiled: bool
    bits: int
    samples: int
    planes: int
    compression: int
    photometric: int
    predictor: int
    colours: int
    alpha: int
    subsampling: tuple[int, int]
    turn: int

    @property
    def together(self) -> int:
        """Samples of a pixel that lie in one piece."""
        return self.samples if self.planes == 1 else 1


def layout_of(tiff: Tiff, page: Directory) -> Layout:
    """The layout of a page. ValueError for one that is not read."""
    def number(tag: int, default: int) -> int:
        return tiff.number(page, tag, default)

    width, height, samples = number(tags.WIDTH, 0), number(tags.HEIGHT, 0), number(tags.SAMPLES, 1)
    photometric = number(tags.PHOTOMETRIC, _BLACK)
    bits, compression = _bits(tiff, page, samples), number(tags.COMPRESSION, _NONE)
    if not width or not height:
        raise ValueError(f"the directory says {width} x {height} px")
    if photometric not in _COLOURS:
        raise ValueError(f"it shows {_NAMES.get(photometric, f'colours of an unknown kind ({photometric})')}, expected "
                         "grey, RGB, CMYK, YCbCr or a palette")
    if number(tags.DEPTH, 1) != 1:
        raise ValueError("it is a volume, not an image")
    if photometric == _CMYK and number(tags.INKS, 1) != 1:
        raise ValueError("its inks are not cyan, magenta, yellow and black")
    known = (_NONE, _JPEG, *_BYTE_CODECS, *_IMAGE_CODECS, *_CCITT)
    if compression not in known:
        name = {_OLD_JPEG: "old-style JPEG, 6", _LERC: "LERC, 34887"}.get(compression, compression)
        raise ValueError(f"its compression ({name}) is not one that can be read")
    alpha = _alpha(tiff, page, samples, _COLOURS[photometric])
    chroma = cast(tuple[int, int], tuple(map(int, tiff.numbers(page, tags.SUBSAMPLING, (2, 2)))))
    subsampling = chroma if photometric == _YCBCR and compression not in (_JPEG, *_IMAGE_CODECS) else (1, 1)
    if len(subsampling) != 2 or not set(subsampling) <= {1, 2, 4}:
        raise ValueError(f"its chroma is subsampled by {subsampling}")
    tiled, planes = tags.TILE_WIDTH in page.entries, samples if number(tags.PLANAR, 1) == 2 and samples > 1 else 1
    if (planes > 1 and subsampling != (1, 1)) or (bits != 8 and photometric == _YCBCR):
        raise ValueError(f"YCbCr of {bits} bits with subsampling {subsampling} in {planes} planes is not read")
    piece = ((number(tags.TILE_WIDTH, 0), number(tags.TILE_HEIGHT, 0)) if tiled else
             (width, min(max(number(tags.ROWS_PER_STRIP, height), 1), height)))
    size = piece[0] * piece[1]
    too_large = size > LARGEST_PIECE and (tiled or compression != _NONE)
    if min(piece) <= 0 or too_large or size > max(4 * width * height, 1_000_000):
        raise ValueError(f"its {'tiles' if tiled else 'strips'} of {piece[0]:,} x {piece[1]:,} px do not suit an image "
                         f"of {width:,} x {height:,} px")
    across = ceil(width / piece[0])
    count = across * ceil(height / piece[1]) * planes
    if count > MOST_PIECES:
        raise ValueError(f"it has {count:,} strips or tiles")
    turn = number(tags.ORIENTATION, 1)
    return Layout(width, height, *piece, across, count, tiled, bits, samples, planes, compression, photometric,
                  number(tags.PREDICTOR, 1), _COLOURS[photometric], alpha, subsampling, turn if 1 <= turn <= 8 else 1)


def _bits(tiff: Tiff, page: Directory, samples: int) -> int:
    """Bits of a sample. ValueError unless they are whole numbers of 1 to 16 bits, all alike."""
    bits, kinds = ({int(value) for value in tiff.numbers(page, tag, (1,), most=64)}
                   for tag in (tags.BITS, tags.SAMPLE_FORMAT))
    if not 1 <= samples <= 64:
        raise ValueError(f"a pixel has {samples} samples")
    if len(bits) != 1 or len(kinds) != 1:
        raise ValueError("its channels have different numbers of bits")
    width, kind = bits.pop(), kinds.pop()
    if kind in _FORMATS or width > 16:
        name = f"{_FORMATS.get(kind, 'uint')}{width}"
        raise ValueError(f"{name} values ({width}-bit values), expected whole numbers of 8 to 16 bits per channel")
    if width not in (1, 2, 4, 8, 10, 12, 14, 16):
        raise ValueError(f"{width}-bit values, expected 8 to 16 bits per channel")
    return width


def _alpha(tiff: Tiff, page: Directory, samples: int, colours: int) -> int:
    """Kind of alpha of the sample after the colours: 0 none, 1 premultiplied, 2 not."""
    extra = [int(value) for value in tiff.numbers(page, tags.EXTRA_SAMPLES, most=64)]
    if samples < colours:
        raise ValueError(f"a pixel has {samples} samples, and its colours need {colours}")
    if samples == colours:
        return 0
    if colours == 1 and samples != 2:
        raise ValueError(f"it is grey with {samples - 1} further channels: which colours they are is not stated")
    return extra[0] if extra and extra[0] in (1, 2) else 0


class PageReader:
    """Windows of a page as uint8 RGB, upright only where its orientation is 1. Holds a few decoded pieces."""

    def __init__(self, tiff: Tiff, page: Directory) -> None:
        self.tiff, self.page, self.layout = tiff, page, layout_of(tiff, page)
        tiled = self.layout.tiled
        self._offsets = tiff.numbers(page, tags.TILE_OFFSETS if tiled and tags.TILE_OFFSETS in page.entries else
                                     tags.STRIP_OFFSETS, most=MOST_PIECES)
        self._lengths = tiff.numbers(page, tags.TILE_LENGTHS if tiled and tags.TILE_LENGTHS in page.entries else
                                     tags.STRIP_LENGTHS, most=MOST_PIECES)
        if not self._lengths and self.layout.compression == _NONE and self.layout.count == 1:
            self._lengths = (self.layout.piece_height * self._row_bytes(self.layout.piece_width),)
        self._check_pieces()
        self._split()
        self._tables = tiff.content(page, tags.JPEG_TABLES)
        self._palette = self._read_palette() if self.layout.photometric == _PALETTE else None
        self._pieces: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._held, self._least = 0, self.layout.planes
        self._depth = self._used_bits()

    def read(self, left: int, top: int, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """A window that lies within the page."""
        it = self.layout
        window = np.empty((height, width, it.samples), np.uint16 if it.bits > 8 else np.uint8)
        for index in self._pieces_of(left, top, width, height):
            plane, place = divmod(index, it.count // it.planes)
            row, column = place // it.across * it.piece_height, place % it.across * it.piece_width
            piece = self._piece(index)
            y0, x0 = max(row, top), max(column, left)
            y1, x1 = min(row + piece.shape[0], top + height), min(column + piece.shape[1], left + width)
            part = piece[y0 - row:y1 - row, x0 - column:x1 - column]
            channels = slice(None) if it.planes == 1 else slice(plane, plane + 1)
            window[y0 - top:y1 - top, x0 - left:x1 - left, channels] = part
        return self._to_rgb(window)

    def _check_pieces(self) -> None:
        count, offsets, lengths = self.layout.count, self._offsets, self._lengths
        what = "a strip or tile of pixels"
        if len(offsets) < count or len(lengths) < count:
            raise ValueError(f"the file is damaged: {what} has no place in the directory")
        if any(length <= 0 or offset + length > self.tiff.size
               for offset, length in zip(offsets[:count], lengths[:count], strict=True)):
            raise ValueError(f"the file is truncated: {what} lies beyond its end")

    def _split(self) -> None:
        """Read one long strip without compression as many, so that a window of it needs little memory."""
        it = self.layout
        rows = max(_BAND // 4 // it.width, 1)
        if it.compression != _NONE or it.tiled or it.count > it.planes or it.piece_height <= rows or (
                it.subsampling != (1, 1)):
            return
        per_row, strips = self._row_bytes(it.width), ceil(it.height / rows)
        if any(length < it.height * per_row for length in self._lengths[:it.count]):
            raise ValueError("the file is truncated: a strip of pixels is too short")
        tops = range(0, it.height, rows)
        self._offsets = tuple(start + top * per_row for start in self._offsets[:it.count] for top in tops)
        self._lengths = tuple(min(rows, it.height - top) * per_row for _ in range(it.count) for top in tops)
        self.layout = replace(it, piece_height=rows, count=strips * it.planes)

    def _pieces_of(self, left: int, top: int, width: int, height: int) -> Iterator[int]:
        """Numbers of the pieces that a window touches."""
        it = self.layout
        per_plane = it.count // it.planes
        for plane in range(it.planes):
            for row in range(top // it.piece_height, (top + height - 1) // it.piece_height + 1):
                for column in range(left // it.piece_width, (left + width - 1) // it.piece_width + 1):
                    yield plane * per_plane + row * it.across + column

    def _piece(self, index: int) -> NDArray[Any]:
        """A decoded piece, samples as stored: (rows, columns, samples that lie together)."""
        if index in self._pieces:
            self._pieces.move_to_end(index)
            return self._pieces[index]
        piece = self._decoded(index)
        self._pieces[index] = piece
        self._held += piece.nbytes
        while len(self._pieces) > self._least and self._held > CACHE:
            self._held -= self._pieces.popitem(last=False)[1].nbytes
        return piece

    def _decoded(self, index: int) -> NDArray[Any]:
        it = self.layout
        content = read_at(self.tiff.file, int(self._offsets[index]), int(self._lengths[index]))
        row = index % (it.count // it.planes) // it.across * it.piece_height
        rows = it.piece_height if it.tiled else min(it.piece_height, it.height - row)
        if self.tiff.number(self.page, tags.FILL_ORDER, 1) == 2 and it.compression not in (_JPEG, *_IMAGE_CODECS):
            content = cast(bytes, imagecodecs.bitorder_decode(content))
        if it.compression == _JPEG:
            return self._checked(self._jpeg(content), rows)
        if it.compression in _IMAGE_CODECS:
            _check_size(it, content)
            return self._checked(np.asarray(_IMAGE_CODECS[it.compression](content)), rows)
        if it.compression in _CCITT:
            return self._ccitt(content, rows)
        return self._samples(content, rows)

    def _row_bytes(self, width: int) -> int:
        it = self.layout
        across, down = it.subsampling
        if (across, down) != (1, 1):  # of `down` rows at once, as they lie together
            return ceil(width / across) * (across * down + 2)
        return ceil(width * it.together * it.bits / 8)

    def _samples(self, content: bytes, rows: int) -> NDArray[Any]:
        """A piece of plain samples, after a codec of bytes."""
        it = self.layout
        down, per_row = it.subsampling[1], self._row_bytes(it.piece_width)
        expected, most = (ceil(count / down) * per_row for count in (rows, it.piece_height))
        if it.compression != _NONE:
            content = _BYTE_CODECS[it.compression](content, out=most)
        if len(content) < expected:
            raise ValueError(f"a strip or tile has {len(content):,} of {expected:,} bytes")
        values = np.frombuffer(content, np.uint8, expected).reshape(-1, per_row)
        if it.subsampling != (1, 1):
            return self._without_subsampling(values, rows)
        if it.bits == 16:
            samples = values.view(f"{self.tiff.order}u2").astype(np.uint16)
        elif it.bits == 8:
            samples = values
        elif it.bits < 8:
            shifts = np.arange(8 - it.bits, -1, -it.bits, dtype=np.uint8)
            samples = (values[..., None] >> shifts & ((1 << it.bits) - 1)).reshape(len(values), -1)
        else:
            samples = np.asarray(imagecodecs.packints_decode(
                values.tobytes(), f"{self.tiff.order}u2", it.bits, runlen=it.piece_width * it.together), np.uint16)
        samples = samples.reshape(rows, -1)[:, :it.piece_width * it.together].reshape(rows, it.piece_width, it.together)
        return self._summed(samples)

    def _summed(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Differences to the pixel on the left (predictor 2) as values."""
        it = self.layout
        if it.predictor == 1:
            return samples
        if it.predictor != 2 or it.bits not in (8, 16):
            raise ValueError(f"predictor {it.predictor} with {it.bits}-bit values is not read")
        return np.cumsum(samples, axis=1, dtype=samples.dtype)

    def _without_subsampling(self, values: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
        """YCbCr where several Y share a pair of Cb and Cr (TIFF 6.0, section 21)."""
        it, (across, down) = self.layout, self.layout.subsampling
        if it.predictor != 1:
            raise ValueError("a predictor with subsampled chroma is not read")
        blocks = values.reshape(len(values), -1, across * down + 2)
        light = blocks[..., :-2].reshape(len(values), -1, down, across).swapaxes(1, 2).reshape(len(values) * down, -1)
        chroma = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
        return np.dstack([light, chroma])[:rows, :it.piece_width]

    def _jpeg(self, content: bytes) -> NDArray[Any]:
        it = self.layout
        stream = self._tables[:-2] + content[2:] if len(self._tables) > 4 else content
        header = jpeg_header(BytesIO(stream))
        if (header.width, header.height) not in {(it.piece_width, it.piece_height)} and (
                header.width > it.piece_width or header.height > it.piece_height):
            raise ValueError(f"a JPEG of {header.width} x {header.height} px in a strip or tile of {it.piece_width} x "
                             f"{it.piece_height} px")
        if header.bits == 8:
            check_jpeg(stream, header.channels)
        space = {_RGB: "RGB", _YCBCR: "YCBCR", _CMYK: "CMYK"}.get(it.photometric) if it.together > 1 else None
        out = "RGB" if space in ("RGB", "YCBCR") else space
        return np.asarray(imagecodecs.jpeg_decode(content, tables=self._tables or None, bitspersample=it.bits,
                                                  colorspace=space, outcolorspace=out))

    def _ccitt(self, content: bytes, rows: int) -> NDArray[np.uint8]:
        it = self.layout
        options = self.tiff.number(self.page, 292, 0)
        if it.compression == 3:
            packed = imagecodecs.ccittfax3_decode(content, rows, it.piece_width, t4options=options)
        else:
            decode = imagecodecs.ccittfax4_decode if it.compression == 4 else imagecodecs.ccittrle_decode
            packed = decode(content, rows, it.piece_width)
        values = np.frombuffer(packed, np.uint8)
        if values.size != rows * it.piece_width:  # eight pixels a byte
            values = np.unpackbits(values.reshape(rows, -1), axis=1)[:, :it.piece_width]
        return values.reshape(rows, it.piece_width, 1)

    def _checked(self, piece: NDArray[Any], rows: int) -> NDArray[Any]:
        """A piece that an image codec has decoded, if it has the rows, columns and samples that it should have."""
        it = self.layout
        piece = np.atleast_3d(piece)
        last = self.layout.height % it.piece_height
        if it.compression in _WEBP and piece.shape[2] == 3 and it.together == 4:  # WebP leaves out a full alpha
            piece = np.dstack([piece, np.full(piece.shape[:2], 255, np.uint8)])
        right_size = piece.shape[1] in (it.piece_width, it.width % it.piece_width) and (
            piece.shape[0] in (rows, it.piece_height, last))
        if not right_size or piece.shape[2] != it.together or piece.dtype not in (np.uint8, np.uint16) or (
                piece.shape[0] < min(rows, it.height) and piece.shape[0] != last):
            raise ValueError(f"a strip or tile has {piece.shape[1]} x {piece.shape[0]} px of {piece.shape[2]} "
                             f"{piece.dtype} samples, expected {it.piece_width} x {rows} px of {it.together}")
        return piece

    def _used_bits(self) -> int:
        """Bits that 16-bit values use: cameras of 10 to 14 bits often store them in the lower bits, and say so in a tag
        or not at all."""
        it = self.layout
        if it.bits != 16:
            return it.bits
        stated = tuple(map(int, self.tiff.numbers(self.page, tags.LARGEST_VALUE, most=64)))
        if not stated or not 255 <= max(stated) < 65535:
            if it.photometric not in (_BLACK, _RGB):
                return 16
            stated = tuple(int(self._piece(index)[..., :it.colours].max()) for index in range(it.count)
                           if index // (it.count // it.planes) < it.colours)
        return used_bits(max(stated))

    def _read_palette(self) -> UInt8[np.ndarray, "colours 3"]:
        it = self.layout
        values = np.array(self.tiff.numbers(self.page, tags.COLOUR_MAP, most=3 << 16), np.uint32)
        if it.bits > 8 or len(values) != 3 << it.bits:
            raise ValueError(f"its palette has {len(values)} values for {it.bits}-bit pixels")
        return (values if values.max() < 256 else values >> 8).astype(np.uint8).reshape(3, -1).T

    def _to_rgb(self, samples: NDArray[Any]) -> UInt8[np.ndarray, "height width 3"]:
        """Samples as stored, (height, width, samples), to colours, on white where alpha says so."""
        it = self.layout
        if self._palette is not None:
            return self._palette[samples[..., 0]]
        if it.bits < 8:
            levels = (samples * np.uint16(255) // ((1 << it.bits) - 1)).astype(np.uint8)
        else:
            levels = samples if it.bits == 8 else (samples >> (self._depth - 8)).clip(0, 255).astype(np.uint8)
        colours = levels[..., :it.colours]
        if it.photometric == _WHITE:
            colours = 255 - colours
        elif it.photometric == _CMYK:
            light = 255 - colours.astype(np.uint16)
            colours = ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)
        elif it.photometric == _YCBCR and it.compression not in (_JPEG, *_IMAGE_CODECS):
            colours = _from_ycbcr(colours)
        rgb = np.broadcast_to(colours, (*colours.shape[:2], 3)) if colours.shape[2] == 1 else colours
        if it.alpha and self._has_alpha():
            opaque = levels[..., it.colours:it.colours + 1].astype(np.uint16)
            rgb = (np.minimum(rgb + (255 - opaque), 255) if it.alpha == 1 else
                   (rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(rgb)

    def _has_alpha(self) -> bool:
        """Whether alpha is more than zero somewhere: writers that leave it empty do not mean a transparent image."""
        if not hasattr(self, "_any_alpha"):
            it = self.layout
            plane = (it.count // it.planes) * it.colours if it.planes > 1 else 0
            indices = range(plane, plane + it.count // it.planes)
            channel = 0 if it.planes > 1 else it.colours
            self._any_alpha = any(self._piece(index)[..., channel].any() for index in indices)
        return self._any_alpha


def used_bits(largest: int) -> int:
    """Bits of 16 that a camera uses, by the largest value of an image: no photograph on a bright background is darker
    than a quarter of the range everywhere. 16 where all are 0."""
    return next((bits for bits in (8, 10, 12, 14) if 0 < largest < 1 << bits), 16)


def read_page(tiff: Tiff, page: Directory) -> UInt8[np.ndarray, "height width 3"]:
    """A page as a whole, as stored, in bands: memory is the result, what is cached and one band."""
    reader = PageReader(tiff, page)
    width, height, rows = reader.layout.width, reader.layout.height, reader.layout.piece_height
    if width * height <= _BAND:
        return reader.read(0, 0, width, height)
    band = max(_BAND // width // rows * rows, min(rows, max(_BAND // width, 1)))
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, band):
        pixels[top:top + band] = reader.read(0, top, width, min(band, height - top))
    return pixels


def _check_size(it: Layout, content: bytes) -> None:
    """ValueError where the image inside a strip or tile states more pixels than this has: a decoder would allocate
    them."""
    size = _stated_size(it.compression, content)
    if size is not None and size[0] * size[1] > it.piece_width * it.piece_height:
        raise ValueError(f"an image of {size[0]:,} x {size[1]:,} px in a strip or tile of {it.piece_width} x "
                         f"{it.piece_height} px")


def _stated_size(compression: int, content: bytes) -> tuple[int, int] | None:
    """(width, height) in px by the header of an image inside a strip or tile; None where the header is not read."""
    if compression in _JPEG2000 and (at := content.find(b"\xff\x4f\xff\x51")) >= 0:
        right, down, left, top = struct.unpack_from(">4I", content, at + 8)
        return right - left, down - top
    if compression == _PNG and len(content) > 24:
        return cast(tuple[int, int], struct.unpack_from(">2I", content, 16))
    if compression in _WEBP:
        return WebPImagePlugin.WebPImageFile(BytesIO(content)).size
    return None


def _from_ycbcr(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Full-range YCbCr of ITU-R BT.601 to RGB, as TIFF means it unless it says otherwise."""
    light, blue, red = (colours[..., i].astype(np.float32) for i in range(3))
    blue, red = blue - 128, red - 128
    rgb = np.stack([light + 1.402 * red, light - 0.344136 * blue - 0.714136 * red, light + 1.772 * blue], axis=-1)
    return np.rint(rgb).clip(0, 255).astype(np.uint8)
