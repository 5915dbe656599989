"""The page of two counts of the same smears, or of two observers of the same cells, from agreement.json."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from .. import __version__
from ..evaluation.agreement import Agreement
from ..evaluation.observers import Observers
from ..figures.agreement import agreement_figures
from ..files import JsonObject
from ..runs.results import json_view
from ..stats.estimate import Estimate
from ..text import (
    NO_ESTIMATE,
    aligned,
    count,
    interval,
    join,
    number,
    percent,
    plain,
    plural,
    points,
    share,
    span,
    type_name,
)
from .html import write_page
from .numbers import Card, Notes, change, interval_of, value_of

RESULT, PAGE = "agreement.json", "agreement.html"
AGAIN = "compare the two again"


def write_agreement(table: JsonObject, folder: Path) -> Path:
    """Write `agreement.html`, and its figures as `figures/*.svg`. table: what agreement.json holds."""
    if "smears" in table:
        agreement = json_view(Agreement, table, folder / RESULT, AGAIN)
        return write_page(folder / PAGE, "agreement.html", agreement_figures(agreement), agreement=agreement,
                          names=_names(agreement.machine, agreement.reference), cards=_cards(agreement),
                          version=__version__, slope=_slope,
                          apart=[smear for smear in agreement.smears if smear.apart])
    observers = json_view(Observers, table, folder / RESULT, AGAIN)
    return write_page(folder / PAGE, "observers.html", {}, observers=observers, cards=_kappas(observers),
                      names=_names(observers.first, observers.second), version=__version__)


def _names(first: str, second: str) -> tuple[str, str]:
    """The files' names; with their folders where the names are the same."""
    names = Path(first).name, Path(second).name
    return names if names[0] != names[1] else (first, second)


def agreement_lines(table: JsonObject) -> list[str]:
    """What matters, for a terminal. table: what agreement.json holds."""
    if "smears" not in table:
        observers = json_view(Observers, table, Path(RESULT), AGAIN)
        return [f"same type: {interval(observers.same)} of {plural(observers.cells, 'cell')}; Cohen's kappa "
                f"{interval(observers.kappa, number, '')}", *observers.remarks]
    agreement = json_view(Agreement, table, Path(RESULT), AGAIN)
    rows = [["type", "reference", "bias, points (95 % CI)", "95 % of differences", "slope (Passing-Bablok)",
             "within Rümke's limits of 200 cells"]]
    for kind in agreement.types:
        mean = sum(kind.reference) / len(kind.reference)
        rows.append([plain(kind.name, 26), f"{share(mean)} %", interval(kind.bias, points, "", confidence=None),
                     span(kind.lower.value, kind.upper.value, points) or "-",
                     interval(kind.passing_bablok.slope, _two, "", confidence=None).replace(NO_ESTIMATE, "-"),
                     interval(kind.within_rumke[1].smears, confidence=None)])
    lines = [f"{plural(len(agreement.smears), 'smear')} counted by both", *aligned(rows)]
    abnormal = agreement.abnormal
    if abnormal:
        lines.append(f"abnormal smears ({join(abnormal.rules, 'or')}): sensitivity {interval(abnormal.sensitivity)}, "
                     f"specificity {interval(abnormal.specificity)}, kappa {interval(abnormal.kappa, number, '')}")
    return [*lines, *agreement.remarks]


def _two(value: float) -> str:
    return number(value, 2)


def _slope(estimate: Estimate, notes: Notes) -> Markup:
    """A slope over its interval, for a table."""
    return change(estimate, notes, lambda value: NO_ESTIMATE if value is None else number(value, 2))


def _cards(agreement: Agreement) -> list[Card]:
    smears = len(agreement.smears)
    cells = sum(smear.reference_cells for smear in agreement.smears)
    cards = [Card("Smears counted by both", str(smears), (f"{count(cells)} leukocytes in the reference",))]
    widest = max(agreement.types, key=lambda kind: abs(kind.bias.value or 0.0))
    ends = span(widest.bias.low, widest.bias.high, points, page=True)
    cards.append(Card(f"Largest bias: {plain(type_name(widest.name, 30))}", points(widest.bias.value),
                      ("points, machine minus reference", *([f"95\u202f% CI {ends}"] if ends else []))))
    abnormal = agreement.abnormal
    for name, key, own in ([] if abnormal is None else [
            ("Sensitivity for abnormal smears", "sensitivity", abnormal.sensitivity),
            ("Specificity", "specificity", abnormal.specificity)]):
        ends = interval_of(key, own)
        cards.append(Card(name, value_of(f"abnormal.{key}", own), (
            f"95\u202f% CI {ends}" if ends else own.method,
            *([f"{own.count} of {plural(own.total, 'smear')}"] if own.count is not None and own.total else []))))
    return cards


def _kappas(observers: Observers) -> list[Card]:
    cards = []
    for name, key, own in (("Same type", "same", observers.same), ("Cohen’s κ", "kappa", observers.kappa),
                           ("κ, linear weights", "linear.kappa", observers.linear),
                           ("κ, quadratic weights", "quadratic.kappa", observers.quadratic)):
        if own is not None:
            ends = interval_of(key, own)
            cards.append(Card(name, value_of(key, own), (
                f"{percent(observers.confidence, 0)} CI {ends}" if ends else own.method,
                f"{plural(observers.cells, 'cell')}")))
    return cards


