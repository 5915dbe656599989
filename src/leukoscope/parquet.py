"""Looks through the headers of the pages of a Parquet file before Polars does, which ends the process where one states
fewer than no values, or more than memory holds. What else is damaged, Polars says itself. Formats:
github.com/apache/parquet-format, Thrift's compact protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

LARGEST_PAGE = 1 << 30
"""Bytes of a page, unpacked."""
_MOST_FOOTER, _DEEPEST, _MOST_PARTS = 64 << 20, 16, 6_000_000
_HEADER, _MOST_HEADER = 1 << 12, 1 << 24  # bytes of the header of a page: usually at most, and at most
_DICTIONARY = 2
_ABOUT = {0: 5, _DICTIONARY: 7, 3: 8}
"""Kind of a page: data, dictionary or data of the second version; and the field of its header that describes it."""

Struct = dict[int, Any]
"""Fields of a structure of Thrift, by number."""


class DamagedParquet(ValueError):
    """A Parquet file that states what cannot be."""


@dataclass
class _Compact:
    """Reads Thrift's compact protocol from bytes. parts: how many values have been read."""

    content: bytes
    place: int = 0
    parts: int = 0
    readers: dict[int, Callable[[int], Any]] = field(init=False)

    def __post_init__(self) -> None:
        whole = {kind: lambda _: self._signed() for kind in (4, 5, 6)}
        self.readers = {1: lambda _: True, 2: lambda _: False, 3: lambda _: self._bytes(1)[0], **whole,
                        7: lambda _: self._bytes(8), 8: lambda _: self._bytes(self.varint()), 9: self._list,
                        10: self._list, 12: self.struct}

    def struct(self, depth: int = 0) -> Struct:
        fields: Struct = {}
        number = 0
        while head := self._bytes(1)[0]:
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15, depth + 1)
        return fields

    def varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._bytes(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise DamagedParquet("a number in it does not end")

    def _value(self, kind: int, depth: int) -> Any:
        self.parts += 1
        if kind not in self.readers or depth > _DEEPEST or self.parts > _MOST_PARTS:
            raise DamagedParquet("its description is damaged")
        return self.readers[kind](depth)

    def _list(self, depth: int) -> list[Any]:
        head = self._bytes(1)[0]
        count, kind = head >> 4, head & 15
        count = self.varint() if count == 15 else count
        if kind in (1, 2):  # in a list, a truth value is a byte
            return list(self._bytes(count))
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        part = self.content[self.place:self.place + count]
        if len(part) < count:
            raise DamagedParquet("its description ends too early")
        self.place += count
        return part


def check_pages(file: BinaryIO) -> None:
    """Raise DamagedParquet where a page of a Parquet file states bytes or values that it cannot have."""
    try:
        for group in _footer(file)[4]:
            for column in group[1]:
                _check_column(file, column[3])
    except DamagedParquet:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, struct.error) as error:
        raise DamagedParquet("its description is damaged") from error


def _footer(file: BinaryIO) -> Struct:
    end = file.seek(0, 2)
    file.seek(max(end - 8, 0))
    size, sign = struct.unpack("<I4s", file.read(8))
    if sign != b"PAR1" or not 0 < size <= min(end - 8, _MOST_FOOTER):
        raise DamagedParquet("it is no Parquet file, or its end is missing")
    file.seek(end - 8 - size)
    return _Compact(file.read(size)).struct()


def _check_column(file: BinaryIO, chunk: Struct) -> None:
    place, left = min(chunk[9], chunk.get(11) or chunk[9]), chunk[5]
    while left > 0:
        page, size = _page_header(file, place)
        kind, unpacked, packed = page[1], page[2], page[3]
        if packed < 0 or not 0 <= unpacked <= LARGEST_PAGE:
            raise DamagedParquet(f"a page of it states {unpacked:,} bytes")
        place += size + packed
        about = page[_ABOUT[kind]] if kind in _ABOUT else {1: 0}
        most = unpacked * 8 if kind == _DICTIONARY else left
        if not 0 <= about[1] <= most:
            raise DamagedParquet(f"a page of it states {about[1]:,} values, of {most:,}")
        if kind != _DICTIONARY:
            left -= about[1]


def _page_header(file: BinaryIO, place: int) -> tuple[Struct, int]:
    """The header of the page at a place, and its bytes."""
    for most in (_HEADER, _MOST_HEADER):
        file.seek(place)
        header = _Compact(content := file.read(most))
        try:
            return header.struct(), header.place
        except DamagedParquet:
            if most == _MOST_HEADER or len(content) < most:
                raise
    raise AssertionError
