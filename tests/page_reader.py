"""Reads a page as strictly as a browser is lenient, and checks its numbers against metrics.json."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from leukoscope.report import numbers

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page read strictly: every element is closed in its turn; text, attributes and numbers are collected."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.raw = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.numbers: list[tuple[str, float, str]] = []
        self._number: tuple[str, float] | None = None
        self.feed(self.raw)
        self.close()
        assert self.open == []
        self.text = re.sub(r"[ \n]+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self._number = str(found["data-key"]), float(str(found["value"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self._number = None if tag == "data" else self._number

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)
        if self._number is not None:
            self.numbers.append((*self._number, data))


def estimate_at(metrics: dict[str, Any], key: str) -> dict[str, Any]:
    """The estimate that a page's `data-key` names."""
    head, _, rest = key.partition(".")
    if head == "per_class":
        name, _, last = rest.rpartition(".")
        return metrics["per_class"][name][last]
    if head == "per_fold":
        index, _, last = rest.partition(".")
        return metrics["per_fold"][int(index)][last]
    return metrics[head][rest]


def check_numbers(page: Page, metrics: dict[str, Any]) -> None:
    """Every number on the page is the value of the estimate that it names, written as such values are written."""
    assert page.numbers
    for key, value, text in page.numbers:
        estimate = estimate_at(metrics, key)
        assert value == estimate["value"]
        assert text in {numbers.form(key, value), numbers.form(key, value, unit=False)}
