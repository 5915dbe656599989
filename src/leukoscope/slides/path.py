"""The order in which squares are looked at: the battlement of a technician, across the smear and back.

Bands of three squares run across the smear's length: three up, two along, three down, two along. The band with most of
the monolayer comes first, then its neighbours in turn; what the battlements leave out comes last. So the count is of
the edges of the smear and of its middle alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BAND, STEP = 3, 2

Place = tuple[int, int]
"""(row, column) of a square."""


def battlement(places: Iterable[Place], *, along_rows: bool) -> list[Place]:
    """The places, each once. along_rows: whether the smear's length runs along the rows, left to right."""
    wanted = set(places)
    if not wanted:
        return []
    # Along: across the smear's length; deep: with it.
    turned = {((column, row) if not along_rows else (row, column)) for row, column in wanted}
    bands: dict[int, set[Place]] = {}
    for along, deep in turned:
        bands.setdefault(deep // BAND, set()).add((along, deep))
    order = []
    for band in _from_fullest({number: len(own) for number, own in bands.items()}):
        first, last = min(along for along, _ in bands[band]), max(along for along, _ in bands[band])
        order += [place for place in _merlons(first, last, band * BAND) if place in bands[band]]
    done = set(order)
    order += sorted(turned - done)
    return [place if along_rows else (place[1], place[0]) for place in order]


def _from_fullest(counts: dict[int, int]) -> list[int]:
    """The bands: the fullest, then those nearest to it."""
    fullest = max(counts, key=lambda band: (counts[band], -band))
    return sorted(counts, key=lambda band: (abs(band - fullest), band))


def _merlons(first: int, last: int, deep: int) -> Iterator[Place]:
    """The battlement of one band: up at every second place, and along between."""
    up = True
    for along in range(first, last + 1):
        if (along - first) % STEP == 0:
            steps = range(deep, deep + BAND) if up else range(deep + BAND - 1, deep - 1, -1)
            yield from ((along, place) for place in steps)
            up = not up
        else:
            yield along, deep if up else deep + BAND - 1
