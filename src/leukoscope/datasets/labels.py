"""Labels that differ in nothing that a reader sees: case, blanks, the Unicode form of an accent. They part a class.

Says which belong together, and with what setting a training merges them.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import polars as pl

from ..tables import MISSING
from ..text import INVISIBLE, join, plural

SHOWN = 10
"""Labels of cells that were left out that a line names."""
DOUBTFUL = frozenset({
    "-", "--", "---", "\u2013", "\u2014", "?", "??", ".", "unknown", "unk", "unbekannt", "not known", "not available",
    "missing", "undefined", "no data", "none given", "tbd", "tba", "nil", "n/d", "n.d.", "nd", "k.a.", "k. a.",
    "keine angabe", "n.v.", "s/d", "-1", "-9", "-99", "-999", "inf", "-inf", "(blank)", "blank", "empty",
    "not applicable", "not recorded", "not stated", "#value!", "#ref!", "#name?", "#div/0!", "#null!", "#num!",
    *(marker.casefold() for marker in MISSING if marker)})
"""Names, in lower case, that often stand for no value."""
_LOOK_ALIKE = str.maketrans("АВЕКМНОРСТУХІЈЅаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXIJSaeopcyxijsABEZHIKMNOPTYXo")
"""Cyrillic and Greek letters that look like Latin ones."""
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def alike(label: str) -> str:
    """What a reader sees of a label: equal for labels that differ invisibly or in case only."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", label)).translate(_LOOK_ALIKE)
    text = "".join(" " if character.isspace() else character for character in text
                   if unicodedata.category(character) != "Cf")
    return " ".join(text.casefold().split())


def same_labels(counts: Mapping[str, int], key: Callable[[str], str] = alike) -> list[list[str]]:
    """Groups of labels that look alike, in order; in each, the one to keep first: that with the most cells, of equals
    one that is plain text. counts: label -> cells; key: what is equal for labels that look alike."""
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(key(label), []).append(label)
    return [sorted(group, key=lambda label: (-counts[label], _hidden(label), label))
            for _, group in sorted(groups.items()) if len(group) > 1]


def label_counts(labels: pl.Series) -> dict[str, int]:
    """Label -> cells, without cells that have none."""
    return dict(labels.drop_nulls().value_counts().sort(labels.name).iter_rows())


def merge_setting(groups: list[list[str]], merged: Mapping[str, str] | None = None) -> str:
    """The setting of a training that merges groups of `same_labels`, beside the merges that its recipe has."""
    pairs = dict(merged or {}) | {label: group[0] for group in groups for label in group[1:]}
    table = ", ".join(f"{quoted(old)} = {quoted(new)}" for old, new in pairs.items())
    return f"--set {shlex.quote(f'data.merge={{{table}}}')}"


def label_warning(counts: Mapping[str, int], merged: Mapping[str, str] | None = None) -> str:
    """One line about labels that look alike, with what merges them; "" where there are none."""
    groups = same_labels(counts)
    if not groups:
        return ""
    named = "; ".join(join(f"{quoted(label)} ({plural(counts[label], 'cell')})" for label in group)
                      for group in groups)
    return (f"labels that differ only in case, blanks or Unicode form are taken for different classes: {named}; if "
            f"they are one class, train with {merge_setting(groups, merged)}")


def unknown_alike(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """A line for labels that are no class of a model and look like one, if there are any."""
    seen = {alike(name): name for name in classes}
    pairs = [(label, seen[alike(label)]) for label in sorted(labels) if label not in classes and alike(label) in seen]
    named = ", ".join(f"{quoted(label)} to {quoted(name)}" for label, name in pairs)
    return [f"labels that differ from a class of the model only in case, blanks or Unicode form: rename {named} in the "
            "table of cells"] if pairs else []


def label_notes(labels: pl.Series) -> list[str]:
    """`label_warning` of a column, as notes of an index."""
    warning = label_warning(label_counts(labels))
    return [warning] if warning else []


def subject_alike_note(subjects: pl.Series, again: str = "index again") -> list[str]:
    """One line about subjects that look alike: they may be one person, whose cells a split then parts. Leading zeros,
    which a spreadsheet drops, do not tell them apart. again: what to do once they are written alike."""
    counts = label_counts(subjects)
    groups = same_labels(counts, lambda name: _LEADING_ZEROS.sub("", alike(name)))
    if not groups:
        return []
    named = "; ".join(join(f"{quoted(name)} ({plural(counts[name], 'cell')})" for name in group)
                      for group in groups[:SHOWN])
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    return [f"subjects that differ only in case, blanks, leading zeros or Unicode form are taken for different people: "
            f"{named}{more}; if they are one person, write them alike and {again}"]


def unknown_note(column: pl.Series, name: str) -> list[str]:
    """One line about names that often stand for no value, and were taken for names."""
    counts = {value: cells for value, cells in label_counts(column).items()
              if value not in MISSING and value.casefold() in DOUBTFUL}
    if not counts:
        return []
    values = join(f"{quoted(value)} ({cells:,})" for value, cells in sorted(counts.items()))
    return [f"{values} {'are' if len(counts) > 1 else 'is'} taken for a {name}; if no {name} is known there, use "
            f"--option {shlex.quote('missing=NA,' + ','.join(sorted(counts)))} or leave it empty"]


def _hidden(label: str) -> bool:
    """Whether a label holds anything that a reader does not see."""
    return unicodedata.normalize("NFC", label) != label or label != " ".join(label.split()) or (
        not label.isprintable() or _INVISIBLE.search(label) is not None)


def quoted(label: str) -> str:
    """A label in quotation marks, as TOML reads it; what a reader would not see, or take for something else, is written
    as its number."""
    text = json.dumps(label, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "".join(f"\\u{ord(character):04x}" if _deceives(character) and ord(character) < 0x10000 else
                   f"\\U{ord(character):08x}" if _deceives(character) else character for character in text)


def _deceives(character: str) -> bool:
    return not character.isascii() and (not character.isprintable() or unicodedata.combining(character) > 0
                                        or ord(character) in _LOOK_ALIKE or _INVISIBLE.match(character) is not None)
