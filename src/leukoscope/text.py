"""Names and numbers in a sentence: how a count, a share, an interval or a duration is printed, everywhere.

Knows nothing of pages or terminals: text only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

NO_ESTIMATE = "—"
TO_FILL = "to be filled by the authors"
"""What stands in a checklist or a model card where no run can know it."""
TYPE_NAMES = {
    "ig": "immature granulocyte (IG)", "nrbc": "nucleated red cell (NRBC)", "plt": "platelet", "rbc": "red cell",
    "wbc": "leukocyte",
}
"""What class labels that are abbreviations mean."""
FIGURE_NAMES = {
    "ppv": "PPV", "npv": "NPV", "f1": "F1", "fpr": "false positive rate", "fnr": "false negative rate", "auc": "AUC",
    "label_auc": "AUC of labels", "kappa": "Cohen's κ", "mcc": "Matthews correlation", "brier": "Brier score",
}
"""Keys of metrics.json that are no words themselves."""
TERMINAL = str.maketrans({"\u202f": " ", "−": "-", "–": "-", "—": "-"})
"""Signs of print, in ASCII for a terminal."""
INVISIBLE = ("\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
             "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff")
"""Characters that show nothing and take no room, or only room, as in the brackets of a regular expression."""
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class HasInterval(Protocol):
    """A figure with its interval, such as `stats.Estimate`; None where it is not defined, and `method` says why."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def method(self) -> str: ...


def is_text(name: str) -> bool:
    """Whether a name is Unicode: a file's name may have bytes, and JSON may have parts of characters, that are not."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def escaped(name: str) -> str:
    """A name as a table can hold it: bytes and parts of characters that are no text are written out, as \\udcff."""
    return name.encode("utf-8", "backslashreplace").decode()


def visible(text: str) -> str:
    """A text for a terminal, which would obey control characters: these, and the marks that turn the direction of
    writing, are written out, as \\x1b."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def plain(name: object, limit: int = 0, *, head: float = 0.7) -> str:
    """A name as one line of printable text; cut in its middle when longer than `limit` characters (0: never).

    head: the share of the characters that comes from its beginning.
    """
    text = "".join(c if c.isprintable() else " " for c in str(name))
    text = " ".join(text.split()) or NO_ESTIMATE
    if limit and len(text) > limit:
        first = int((limit - 1) * head)
        text = f"{text[:first].rstrip()}…{text[len(text) - (limit - 1 - first):].lstrip()}"
    return text


def short_names(names: list[str] | tuple[str, ...], limit: int) -> list[str]:
    """`plain` for each, and still different from each other: by more of their ends, else by a number."""
    for head in (0.7, 0.4):
        cut = [plain(name, limit, head=head) for name in names]
        if len(set(cut)) == len(cut):
            return cut
    return [text if cut.count(text) == 1 else f"{plain(text, max(limit - 3, 4))} {cut[:i + 1].count(text)}"
            for i, text in enumerate(cut)]


def count(value: float | None) -> str:
    """1234567 -> "1,234,567"; None -> a dash."""
    return NO_ESTIMATE if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1, unit: bool = True) -> str:
    """0.97142 -> "97.1 %"; None -> a dash.

    100 is said of nothing less (0.9997 -> "99.97", 0.999996 -> "99.99") and 0 of nothing more (0.00001 -> "<0.01").
    """
    if value is None:
        return NO_ESTIMATE
    return _rounded(100 * value, 100, digits) + ("\u202f%" if unit else "")


def number(value: float | None, digits: int = 3) -> str:
    """0.98765 -> "0.988"; None -> a dash; a true minus sign; 1 is said of nothing less, 0 of nothing more."""
    if value is None:
        return NO_ESTIMATE
    return f"{value:.{digits}f}".replace("-", "−") if value < 0 else _rounded(value, 1, digits)


def _rounded(value: float, whole: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if not 0 < value < whole or text not in (f"{whole:.{digits}f}", f"{0:.{digits}f}"):
        return text
    step = 10.0 ** -(digits + 1)
    if value < whole / 2:
        return f"{value:.{digits + 1}f}" if value >= step else f"<{step:.{digits + 1}f}"
    return f"{math.floor(value / step + 1e-9) * step:.{digits + 1}f}"


def share(value: float | None) -> str:
    """`percent` without its unit: 0.97142 -> "97.1"."""
    return percent(value, unit=False)


def span(low: float | None, high: float | None, form: Callable[[float], str] = share, *, page: bool = False) -> str:
    """The ends of an interval, where a heading says "95 % CI": "94.1-96.1", or "-3.5 to -0.9" where an end has a sign.

    form: writes an end without its unit; page: with the dash and minus of print, else in ASCII for a terminal. "" where
    there is no interval.
    """
    if low is None or high is None:
        return ""
    ends = form(low), form(high)
    signed = any(end[:1] in ("+", "-", "−") for end in ends)
    text = (" to " if signed else "–").join(ends)
    return text if page else text.translate(TERMINAL)


def interval(estimate: HasInterval, form: Callable[[float], str] = share, unit: str = "\u202f%", *,
             confidence: float | None = 0.95, page: bool = False) -> str:
    """A figure with its interval in a sentence or a line: "95.2 % (95 % CI 94.1-96.1)".

    form, page: as for `span`; unit: what follows the value, such as " points". confidence: None in a table whose
    heading says it: "95.2 (94.1-96.1)". Without an interval the value alone; without a value "not defined (<why>)", in
    a table a dash.
    """
    if estimate.value is None:
        text = NO_ESTIMATE if confidence is None else f"not defined ({estimate.method})"
    else:
        text, ends = form(estimate.value) + unit, span(estimate.low, estimate.high, form, page=True)
        label = "" if confidence is None else f"{percent(confidence, 0)} CI "
        text += f" ({label}{ends})" if ends else ""
    return text if page else text.translate(TERMINAL)


def type_name(label: str, limit: int = 0) -> str:
    """The name of a class for people: "ig" -> "immature granulocyte (IG)"; labels without an entry stay. limit: where
    the name has more characters than this (0: never), the label, cut to them."""
    name = TYPE_NAMES.get(label.lower(), label)
    return name if not limit or len(name) <= limit else plain(label, limit)


def figure_name(key: str) -> str:
    """A key of metrics.json for people: "macro_ppv" -> "macro PPV"."""
    head, _, rest = key.partition("_")
    if head in ("macro", "weighted", "micro"):
        return f"{head} {figure_name(rest)}"
    if head == "top":
        return f"top-{rest.replace('_', ' ')}"
    return FIGURE_NAMES.get(key, key.replace("_", " "))


def duration(seconds: float | None) -> str:
    """Seconds as "8 s", "4 min 10 s" or "2 h 5 min"."""
    if seconds is None:
        return NO_ESTIMATE
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(value: int, singular: str, several: str = "") -> str:
    """`plural(1, "cell")` -> "1 cell"; `plural(2, "class", "classes")` -> "2 classes"."""
    return f"{count(value)} {singular if value == 1 else several or singular + 's'}"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """A table for a terminal: each line's texts, the columns as wide as their widest text."""
    widths = [max(len(text) for text in column) for column in zip(*lines, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def points(value: float | None) -> str:
    """A difference of shares in percentage points: 0.021 -> "+2.1", 0.0004 -> "0.0"."""
    text = NO_ESTIMATE if value is None else f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def signed(value: float | None) -> str:
    """A difference of areas or other numbers: 0.0213 -> "+0.021"."""
    return NO_ESTIMATE if value is None else f"{value:+.3f}".replace("-", "−")


def p_of(value: float | None) -> str:
    """0.0123 -> "p = 0.012"; below 0.001 only that."""
    return "" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def join(names: Iterable[object], last: str = "and") -> str:
    """["a", "b", "c"] -> "a, b and c"; nothing of nothing."""
    texts = [str(name) for name in names]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}" if len(texts) > 1 else "".join(texts)


def grouped(named: Iterable[tuple[str, str]], most: int = 3) -> list[str]:
    """Names with the same reason in one line: "a.xml, b.xml, c.xml and 9 more: is a .xml file, not an image"."""
    reasons: dict[str, list[str]] = {}
    for name, reason in named:
        reasons.setdefault(reason, []).append(name)
    return [f"{', '.join(names[:most])}{f' and {count(len(names) - most)} more' if len(names) > most else ''}: {reason}"
            for reason, names in reasons.items()]
