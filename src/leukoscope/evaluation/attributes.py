"""Which attributes of cells go with the errors: accuracy for each value, and a test within classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ..files import write_json
from ..manifest import ATTRIBUTE, attributes_of
from ..runs.results import Results
from ..runs.stored import Result
from ..stats.estimate import Estimate
from ..stats.paired import holm
from ..stats.strata import within_strata
from ..text import interval, p_of, percent, plural
from .table import Cells, read_cells

ATTRIBUTES = "attributes.json"
FEW, MANY = 10, 20
"""Values with fewer cells are taken together, and attributes with more values are not tested."""
SIGNIFICANT = 0.05
RARER = "rarer values"


@dataclass(frozen=True)
class Value:
    """Cells with one value. accuracy: their share of correct answers; expected: the same share if each cell were
    classified as well as the cells of its class are on the average."""

    value: str
    cells: int
    accuracy: Estimate
    expected: float

    @property
    def difference(self) -> float:
        """Accuracy minus what its classes lead one to expect, in [-1, 1]."""
        return (self.accuracy.value or 0.0) - self.expected


@dataclass(frozen=True)
class Attribute:
    """One attribute: of how many cells it is known, its values, and the test within classes. holm: the p value
    corrected for all attributes that were tested."""

    name: str
    known: int
    values: tuple[Value, ...]
    p_value: float | None
    holm: float | None
    test: str

    @property
    def weakest(self) -> Value | None:
        """The value furthest below what its classes lead one to expect."""
        return min(self.values, key=lambda value: value.difference, default=None)


@dataclass(frozen=True)
class Attributes(Result):
    """Every attribute of the evaluated cells, those that go with the errors first. unit: what is independent."""

    cells: int
    wrong: int
    unit: str
    attributes: tuple[Attribute, ...]

    def sentences(self) -> list[str]:
        """In words: which attributes go with the errors, and how."""
        tested = [attribute for attribute in self.attributes if attribute.holm is not None]
        found = [attribute for attribute in tested if (attribute.holm or 0.0) < SIGNIFICANT]
        lines = []
        for attribute in found:
            value = attribute.weakest
            if value is not None:
                lines.append(f"{attribute.name}: cells with “{value.value}” are classified correctly in "
                             f"{interval(value.accuracy, page=True)}, and {percent(value.expected)} would be expected "
                             f"of their classes ({p_of(attribute.holm)}).")
        if tested and not found:
            lines.append(f"None of {len(tested)} attributes goes with the errors beyond the class of a cell.")
        return lines


def write_attributes(results: Results) -> Attributes | None:
    """Which attributes of the tested cells of a run go with its errors; written into its folder too."""
    table = results.predictions if results.manifest is None else results.manifest
    attributes = errors_by_attribute(results.predictions, results.metrics.classes, table)
    if attributes is None:
        (results.folder / ATTRIBUTES).unlink(missing_ok=True)
    else:
        write_json(results.folder / ATTRIBUTES, attributes.to_dict())
    return attributes


def errors_by_attribute(predictions: pl.DataFrame, classes: Sequence[str], table: pl.DataFrame) -> Attributes | None:
    """Accuracy by attribute. predictions: as for `evaluate`; table: cell_id and columns `attribute_...`, such as a
    manifest. None where no tested cell has an attribute. Raises LeukoscopeError as `read_cells`."""
    names = attributes_of(table)
    if not names:
        return None
    cells = read_cells(predictions, classes)
    order = predictions.select(pl.col("cell_id").cast(pl.String)).sort("cell_id")
    facts = order.join(table.select("cell_id", *names).unique("cell_id"), on="cell_id", how="left",
                       maintain_order="left")
    found = [_attribute(name, facts[name], cells) for name in names if facts[name].is_not_null().any()]
    if not found:
        return None
    tested = [k for k, attribute in enumerate(found) if attribute.p_value is not None]
    corrected = dict(zip(tested, holm(np.array([found[k].p_value for k in tested], dtype=float)).tolist(), strict=True))
    all_ = [replace(attribute, holm=corrected.get(k)) for k, attribute in enumerate(found)]
    all_.sort(key=lambda attribute: (attribute.p_value is None, attribute.p_value or 0.0))
    return Attributes(len(cells.labels), int((~cells.correct).sum()), cells.unit, tuple(all_))


def _attribute(column: str, given: pl.Series, cells: Cells) -> Attribute:
    name = column.removeprefix(ATTRIBUTE).replace("_", " ")
    counts = given.drop_nulls().value_counts(sort=True, name="cells")
    rare = counts.filter(pl.col("cells") < FEW)[column].to_list()
    texts = given.replace(dict.fromkeys(rare, RARER)) if len(rare) > 1 else given
    known = texts.is_not_null().to_numpy()
    values = sorted(texts.drop_nulls().unique(), key=lambda text: (text == RARER, -int((texts == text).sum()), text))
    if not 1 < len(values) <= MANY:
        return Attribute(name, int(known.sum()), (), None, None, f"not tested: {plural(counts.height, 'value')}")
    places = {text: k for k, text in enumerate(values)}
    own = np.array([places.get(text, -1) for text in texts])
    rates = np.array([cells.correct[known & (cells.labels == k)].mean() if (known & (cells.labels == k)).any() else 0.0
                      for k in range(len(cells.classes))])
    rows = tuple(Value(text, int((own == k).sum()), cells.rate(cells.correct, own == k),
                       float(rates[cells.labels[own == k]].mean())) for k, text in enumerate(values))
    association = within_strata(cells.correct[known], own[known], cells.labels[known],
                                None if cells.independent else cells.clusters[known])
    return Attribute(name, int(known.sum()), rows, association.p_value, None, association.test)

