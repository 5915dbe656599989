"""Cells that a person draws: one that was missed, two of one, one of several. Outlined, measured and typed as `smear`
does it, with the smear's own bundle. Stores nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from ..errors import LeukoscopeError
from ..predict.found import type_found
from ..predict.model import Model, load
from ..smear.field import FoundCell, Scale
from ..smear.formats import NamedField, cells_table, geojson
from ..smear.point import Looked, cell_at, cell_of, join_cells, look_at, split_cell
from ..smear.summary import FieldSummary
from .actions import Refused, Sketch
from .cells import Cells
from .explaining import explanation
from .export import type_colours
from .pictures import Pictures
from .shapes import Pixels, common, pixels_of
from .smear import Review
from .state import ABSENT, REJECTED, State

LOOKED = 3
"""Fields whose first look stays in memory."""
SAME = 0.5
"""Share of the smaller of two cells from which on they are one."""
_models = threading.Lock()


class Drawing:
    """Draws cells of one smear, for several threads, one at a time."""

    def __init__(self, review: Review, pictures: Pictures) -> None:
        self._review, self._pictures = review, pictures
        self._fields = {field.name: field for field in review.result.summary.fields}
        self._looked: OrderedDict[str, Looked] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, name: str, x: float, y: float) -> list[Sketch]:
        """The cell at a point of a field, px. Raises Refused where a cell is drawn there already, LeukoscopeError."""
        state, cells = self._review.state(), self._review.cells
        with self._lock, _refusing():
            looked = self._look(name)
            cell, how = cell_at(looked, x, y)
            for other in self._in(name, cells, state):
                if _is_same((cell.cell, cell.x, cell.y), self.mask(cells, state, other)):
                    if state.cells[cells.names[other]][1] == REJECTED:
                        raise Refused(f"cell {cells.names[other]} is rejected", "restore it")
                    raise Refused(f"there is a cell there already, {cells.names[other]}", "split it if it is two")
            return self._sketched(name, [cell], how, looked, state)

    def split(self, place: int, middles: Sequence[tuple[float, float]]) -> list[Sketch]:
        """Two cells of one. middles: of both, px of the field, or none."""
        state, cells = self._review.state(), self._review.cells
        name = cells.row(place)["field"]
        with self._lock, _refusing():
            looked = self._look(name)
            parts = split_cell(looked, *self.mask(cells, state, place), middles)
            return self._sketched(name, parts, f"split of cell {cells.names[place]}", looked, state)

    def join(self, places: Sequence[int]) -> list[Sketch]:
        """One cell of several of one field."""
        state, cells = self._review.state(), self._review.cells
        fields = {cells.row(place)["field"] for place in places}
        if len(fields) != 1 or len(set(places)) < 2:
            raise Refused("several cells of one field are joined", "select two cells that touch")
        name = fields.pop()
        with self._lock, _refusing():
            looked = self._look(name)
            cell = join_cells(looked, [self.mask(cells, state, place) for place in places])
            how = f"joined of {', '.join(cells.names[place] for place in places)}"
            return self._sketched(name, [cell], how, looked, state)

    def explain(self, place: int) -> bytes:
        """Where the model looks at a cell, for the type that it gave: a JPEG. Raises Refused without the bundle that
        typed the smear."""
        state, cells = self._review.state(), self._review.cells
        row, model = cells.row(place), _model_of(self._review)
        if model is None or row["predicted"] is None:
            raise Refused("the bundle that typed this smear is not there", "put it back where it was")
        with self._lock, _refusing():
            looked = self._look(row["field"])
            cell = cell_of(looked, *self.mask(cells, state, place))
            return explanation(model, looked.found([cell], _scale_of(self._fields[row["field"]])), looked.source,
                               row["predicted"])

    def mask(self, cells: Cells, state: State, place: int) -> Pixels:
        """The pixels of a cell within its box."""
        return pixels_of(self._review.result, cells, state, place)

    def _in(self, name: str, cells: Cells, state: State) -> list[int]:
        """The cells of a field that are there."""
        return [place for place, field in enumerate(cells.table["field"].to_list())
                if field == name and state.cells[cells.names[place]][1] != ABSENT]

    def _look(self, name: str) -> Looked:
        if name in self._looked:
            self._looked.move_to_end(name)
            return self._looked[name]
        if self._review.result.photograph(self._fields[name]) is None:
            raise Refused(f"the photograph of field {name} is missing: nothing can be drawn in it",
                          "put it back where it was when the smear was counted")
        looked = look_at(self._pictures.source(name), self._fields[name].micrometres_per_pixel)
        self._looked[name] = looked
        while len(self._looked) > LOOKED:
            self._looked.popitem(last=False)
        return looked

    def _sketched(self, name: str, drawn: Sequence[FoundCell], how: str, looked: Looked, state: State) -> list[Sketch]:
        field, summary = self._fields[name], self._review.result.summary
        found = looked.found(drawn, _scale_of(field))
        model = _model_of(self._review)
        answers = type_found(model, found, looked.source)[0] if model is not None else None
        named = NamedField(name, field.image, found)
        rows = cells_table([named], answers, summary.subject or "").rows(named=True)
        features = geojson(named, rows, type_colours(self._review, state))["features"]
        if model is None and summary.bundle is not None:
            how += "; the bundle that typed this smear is not there: give the type yourself"
        return [Sketch(name, row, feature, how) for row, feature in zip(rows, features, strict=True)]


@contextmanager
def _refusing() -> Iterator[None]:
    """What cannot be drawn is refused, as things stand."""
    try:
        yield
    except Refused:
        raise
    except LeukoscopeError as error:
        raise Refused(error.what, error.hint) from error


def _scale_of(field: FieldSummary) -> Scale:
    return Scale(field.micrometres_per_pixel, field.scale_from, "", field.red_cells, None)


def _model_of(review: Review) -> Model | None:
    """The bundle that typed a smear; None without one, and where another one lies in its place now."""
    bundle = review.result.summary.bundle
    if bundle is None:
        return None
    try:
        with _models:
            model = _loaded(None if bundle.packaged else bundle.path)
    except LeukoscopeError:
        return None
    return model if model.description.digest == review.result.summary.plan.bundle else None


@lru_cache(maxsize=1)
def _loaded(path: str | None) -> Model:
    return load(path)


def _is_same(cell: Pixels, other: Pixels) -> bool:
    """Whether two outlines are of one cell: by their common area over that of the smaller one."""
    return common(cell, other) > SAME * max(min(int(cell[0].sum()), int(other[0].sum())), 1)
