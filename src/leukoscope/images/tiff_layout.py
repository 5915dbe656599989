"""How a page of a TIFF stores its pixels, from its directory. Reads no pixels.

A layout that is not read is a ValueError, with the cause in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import cast

from . import tiff_tags as tags
from .tiff_tags import Directory, Tiff

MOST_PIECES = 4_000_000
"""Strips or tiles of a page."""
MOST_SMALL, SMALL = 200_000, 4_096
"""Strips or tiles of a page, where they have fewer pixels than SMALL: each takes time, however small it is."""
LARGEST_PIECE, LARGEST_BYTES = 100_000_000, 400_000_000
"""Pixels of a strip or tile, and its bytes where it is unpacked as a whole."""

NONE, LZW, _OLD_JPEG, JPEG, DEFLATE, PACKBITS, JPEG2000 = 1, 5, 6, 7, (8, 32946), 32773, (33003, 33005, 34712)
LZMA, ZSTD, WEBP, JPEG_XL, PNG, _LERC = 34925, (34926, 50000), (34927, 50001), (50002, 52546), 34933, 34887
CCITT = (2, 3, 4, 32771)
# What tiff_codecs.py decodes.
BYTE_CODECS = (LZW, *DEFLATE, PACKBITS, LZMA, *ZSTD)
"""Compressions of the bytes of samples."""
_PREDICTED = (LZW, *DEFLATE, LZMA, *ZSTD)
"""Compressions that mean the tag of a predictor; with others, programs leave it standing."""
IMAGE_CODECS = (*JPEG2000, *WEBP, *JPEG_XL, PNG)
"""Compressions that hold an image of a format of their own."""
WHITE, BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {WHITE: 1, BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
"""Photometric interpretation -> samples of a pixel without alpha."""
_NAMES = {4: "a mask", 8: "CIELab colours", 9: "ICCLab colours", 10: "ITULab colours", 32803: "raw sensor data",
          32844: "LogL light", 32845: "LogLuv light", 34892: "raw sensor data"}
_FORMATS = {2: "int", 3: "float", 5: "complex int", 6: "complex float"}


@dataclass(frozen=True)
class Layout:
    """How a page stores its pixels. width, height, and those of a piece (a strip or tile), in px. across: pieces in a
    row; count: all of them. bits: of a sample as stored. planes: 1 where all samples of a pixel lie together, else as
    many as samples. colours: samples without alpha. alpha: 0 none, 1 premultiplied, 2 not. subsampling: of chroma.
    turn: EXIF orientation. order: of bytes, "<" or ">"; backwards: whether the bits of each byte are; fax: options of
    CCITT group 3.
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
    order: str
    backwards: bool
    fax: int

    @property
    def together(self) -> int:
        """Samples of a pixel that lie in one piece."""
        return self.samples if self.planes == 1 else 1

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` px without compression; of as many rows as share their chroma."""
        across, down = self.subsampling
        if (across, down) != (1, 1):
            return ceil(width / across) * (across * down + 2)
        return ceil(width * self.together * self.bits / 8)


def layout_of(tiff: Tiff, page: Directory) -> Layout:
    """The layout of a page. ValueError for one that is not read."""
    def number(tag: int, default: int) -> int:
        return tiff.number(page, tag, default)

    width, height, samples = number(tags.WIDTH, 0), number(tags.HEIGHT, 0), number(tags.SAMPLES, 1)
    photometric = number(tags.PHOTOMETRIC, BLACK)
    bits, compression = _bits(tiff, page, samples), number(tags.COMPRESSION, NONE)
    if not width or not height:
        raise ValueError(f"the directory says {width} x {height} px")
    if photometric not in _COLOURS:
        raise ValueError(f"it shows {_NAMES.get(photometric, f'colours of an unknown kind ({photometric})')}, expected "
                         "grey, RGB, CMYK, YCbCr or a palette")
    if number(tags.DEPTH, 1) != 1:
        raise ValueError("it is a volume, not an image")
    if photometric == CMYK and number(tags.INKS, 1) != 1:
        raise ValueError("its inks are not cyan, magenta, yellow and black")
    known = (NONE, JPEG, *BYTE_CODECS, *IMAGE_CODECS, *CCITT)
    if compression not in known:
        name = {_OLD_JPEG: "old-style JPEG, 6", _LERC: "LERC, 34887"}.get(compression, compression)
        raise ValueError(f"its compression ({name}) is not one that can be read")
    alpha = _alpha(tiff, page, samples, _COLOURS[photometric])
    chroma = cast(tuple[int, int], tuple(map(int, tiff.numbers(page, tags.SUBSAMPLING, (2, 2)))))
    subsampling = chroma if photometric == YCBCR and compression not in (JPEG, *IMAGE_CODECS) else (1, 1)
    if len(subsampling) != 2 or not set(subsampling) <= {1, 2, 4}:
        raise ValueError(f"its chroma is subsampled by {subsampling}")
    tiled, planes = tags.TILE_WIDTH in page.entries, samples if number(tags.PLANAR, 1) == 2 and samples > 1 else 1
    if (planes > 1 and subsampling != (1, 1)) or (bits != 8 and photometric == YCBCR):
        raise ValueError(f"YCbCr of {bits} bits with subsampling {subsampling} in {planes} planes is not read")
    piece = _piece(number, width, height, tiled, compression, ceil(bits / 8) * (samples if planes == 1 else 1))
    across = ceil(width / piece[0])
    count = across * ceil(height / piece[1]) * planes
    if count > MOST_PIECES or (count > MOST_SMALL and piece[0] * piece[1] < SMALL):
        raise ValueError(f"it has {count:,} strips or tiles of {piece[0]:,} x {piece[1]:,} px")
    turn, predictor = number(tags.ORIENTATION, 1), number(tags.PREDICTOR, 1) if compression in _PREDICTED else 1
    return Layout(width, height, *piece, across, count, tiled, bits, samples, planes, compression, photometric,
                  predictor, _COLOURS[photometric], alpha, subsampling, turn if 1 <= turn <= 8 else 1, tiff.order,
                  number(tags.FILL_ORDER, 1) == 2, number(tags.FAX, 0))


def _piece(number: Callable[[int, int], int], width: int, height: int, tiled: bool, compression: int, pixel: int,
           ) -> tuple[int, int]:
    """(width, height) in px of a strip or tile. pixel: bytes. ValueError where it does not suit the image, or is too
    large to be unpacked."""
    across, down = ((number(tags.TILE_WIDTH, 0), number(tags.TILE_HEIGHT, 0)) if tiled else
                    (width, min(max(number(tags.ROWS_PER_STRIP, height), 1), height)))
    size, whole = across * down, tiled or compression != NONE
    what = f"its {'tiles' if tiled else 'strips'} of {across:,} x {down:,} px"
    if min(across, down) <= 0 or (whole and size > LARGEST_PIECE) or size > max(4 * width * height, 1_000_000):
        raise ValueError(f"{what} do not suit an image of {width:,} x {height:,} px")
    if whole and size * pixel > LARGEST_BYTES:
        raise ValueError(f"{what} unpack to {size * pixel:,} bytes each: save it in smaller tiles")
    return across, down


def _bits(tiff: Tiff, page: Directory, samples: int) -> int:
    """Bits of a sample. ValueError unless they are whole numbers of 1 to 16 bits, all alike."""
    bits, kinds = ({int(value) for value in tiff.numbers(page, tag, (1,), most=64)}
                   for tag in (tags.BITS, tags.SAMPLE_FORMAT))
    if not 1 <= samples <= 64:
        raise ValueError(f"a pixel has {samples} samples")
    if tags.BITS not in page.entries and samples > 1:
        raise ValueError("it does not state the bits of its samples")
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
