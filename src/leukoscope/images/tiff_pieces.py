"""The strips and tiles of a page of a TIFF: where they lie in the file, and the last few, decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from . import tiff_tags as tags
from .tiff_codecs import Samples, decode_piece
from .tiff_layout import MOST_PIECES, NONE, layout_of
from .tiff_tags import Directory, Tiff, read_at

CACHE = 128_000_000
"""Bytes of decoded strips and tiles that are held."""
BAND = 4_000_000
"""Pixels that are worked on at once."""


class Pieces:
    """The pieces of a page. layout: how it is read, which for one long strip is not how it is stored."""

    def __init__(self, tiff: Tiff, page: Directory) -> None:
        self._tiff, self.layout = tiff, layout_of(tiff, page)
        tiled = self.layout.tiled
        self._offsets = tiff.numbers(page, tags.TILE_OFFSETS if tiled and tags.TILE_OFFSETS in page.entries else
                                     tags.STRIP_OFFSETS, most=MOST_PIECES)
        self._lengths = tiff.numbers(page, tags.TILE_LENGTHS if tiled and tags.TILE_LENGTHS in page.entries else
                                     tags.STRIP_LENGTHS, most=MOST_PIECES)
        if not self._lengths and self.layout.compression == NONE and self.layout.count == 1:
            self._lengths = (self.layout.piece_height * self.layout.row_bytes(self.layout.piece_width),)
        self._check()
        self._split()
        self._tables = tiff.content(page, tags.JPEG_TABLES)
        self._decoded: OrderedDict[int, Samples] = OrderedDict()
        self._held = 0

    def __getitem__(self, index: int) -> Samples:
        """A decoded piece, samples as stored: (rows, columns, samples that lie together)."""
        if index in self._decoded:
            self._decoded.move_to_end(index)
            return self._decoded[index]
        it = self.layout
        content = read_at(self._tiff.file, int(self._offsets[index]), int(self._lengths[index]))
        rows = it.piece_height if it.tiled else min(it.piece_height, it.height - self.corner(index)[1])
        piece = decode_piece(it, content, rows, self._tables)
        self._decoded[index] = piece
        self._held += piece.nbytes
        while len(self._decoded) > it.planes and self._held > CACHE:
            self._held -= self._decoded.popitem(last=False)[1].nbytes
        return piece

    @property
    def per_plane(self) -> int:
        """Pieces of one plane."""
        return self.layout.count // self.layout.planes

    def corner(self, index: int) -> tuple[int, int]:
        """Where a piece begins: (left, top) in px."""
        row, column = divmod(index % self.per_plane, self.layout.across)
        return column * self.layout.piece_width, row * self.layout.piece_height

    def touched(self, left: int, top: int, width: int, height: int, planes: int) -> Iterator[int]:
        """Numbers of the pieces that a window touches, in each of the first planes."""
        it = self.layout
        for plane in range(planes):
            for row in range(top // it.piece_height, (top + height - 1) // it.piece_height + 1):
                for column in range(left // it.piece_width, (left + width - 1) // it.piece_width + 1):
                    yield plane * self.per_plane + row * it.across + column

    def _check(self) -> None:
        count, offsets, lengths = self.layout.count, self._offsets, self._lengths
        what = "a strip or tile of pixels"
        if len(offsets) < count or len(lengths) < count:
            raise ValueError(f"the file is damaged: {what} has no place in the directory")
        if any(length <= 0 or offset + length > self._tiff.size
               for offset, length in zip(offsets[:count], lengths[:count], strict=True)):
            raise ValueError(f"the file is truncated: {what} lies beyond its end")

    def _split(self) -> None:
        """Read one long strip without compression as many, so that a window of it needs little memory."""
        it = self.layout
        rows = max(BAND // 4 // it.width, 1)
        if it.compression != NONE or it.tiled or it.count > it.planes or it.piece_height <= rows or (
                it.subsampling != (1, 1)):
            return
        per_row, strips = it.row_bytes(it.width), ceil(it.height / rows)
        if any(length < it.height * per_row for length in self._lengths[:it.count]):
            raise ValueError("the file is truncated: a strip of pixels is too short")
        tops = range(0, it.height, rows)
        self._offsets = tuple(start + top * per_row for start in self._offsets[:it.count] for top in tops)
        self._lengths = tuple(min(rows, it.height - top) * per_row for _ in range(it.count) for top in tops)
        self.layout = replace(it, piece_height=rows, count=strips * it.planes)
