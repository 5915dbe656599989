"""The page that leads to the smears of several subjects, and its lines for a terminal. Computes no share itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from . import pages
from .figures_smear import colours_of
from .smear.count import is_leukocyte
from .smear.flag import ORDER, counted

Summary = Mapping[str, Any]


def index_page(summary: Summary, smears: Sequence[Summary]) -> str:
    """The page's text. smears: the summaries of the subjects, in the order of summary["subjects"]."""
    rows = [{**row, "link": f"{quote(row['folder'])}/smear.html", "kinds": kinds_of(row),
             "shares": [_share(row, name) for name in _leukocytes(summary)], "meaning": smear["meaning"],
             "bar": _bar(row, _leukocytes(summary)), "remarks": sum(len(one["remarks"]) for one in smear["fields"])}
            for row, smear in zip(summary["subjects"], smears, strict=True)]
    return pages.render("smear_index.html", summary=summary, rows=rows, types=_leukocytes(summary),
                        colours=colours_of(summary["classes"]), fields=sum(row["fields"] for row in rows),
                        counted=sum(row["leukocytes"] for row in rows))


def index_lines(summary: Summary) -> list[str]:
    """A line a subject, and what could not be read."""
    rows = [["subject", "fields", "leukocytes", *_leukocytes(summary), "to be looked at first"]]
    rows += [[pages.plain(row["subject"]), str(row["fields"]), f"{row['leukocytes']:,}",
              *(_share(row, name)[0] for name in _leukocytes(summary)), kinds_of(row) or "none"]
             for row in summary["subjects"]]
    return [*pages.aligned(rows), *summary["remarks"],
            *(f"{one['subject']}: left out, {one['reason']}" for one in summary["unreadable"])]


def kinds_of(row: Mapping[str, Any]) -> str:
    """How many cells of a subject are flagged, kind by kind, or ""."""
    return counted({kind: row[f"flagged_{kind.replace(' ', '_').replace('-', '_')}"] for kind in ORDER})


def _leukocytes(summary: Summary) -> list[str]:
    return [name for name in summary["classes"] if is_leukocyte(name)]


def _share(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """(share, interval) in words."""
    value, low, high = (row[f"share_{name}{end}"] for end in ("", "_low", "_high"))
    span = "" if low is None else f"{pages.percent(low, unit=False)} to {pages.percent(high)}"
    return pages.percent(value), span


def _bar(row: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, float]]:
    """(type, percent) of those that were seen."""
    return [(name, 100 * row[f"share_{name}"]) for name in names if row[f"share_{name}"]]
