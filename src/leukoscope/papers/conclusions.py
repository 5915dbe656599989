"""What a reproduction can and cannot conclude, and how many subjects would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..commands.power import in_words, plan_for
from ..stats.estimate import Estimate
from ..stats.rates import difference
from ..text import TERMINAL, interval, percent, plural, points
from .tables import Table


@dataclass(frozen=True)
class ProtocolResult:
    """What one protocol had on its test part: accuracy, and how many `unit`s (subjects, groups or cells) the tested
    cells are of."""

    accuracy: Estimate
    count: int
    unit: str


@dataclass(frozen=True)
class Conclusions:
    """sentences: what can be concluded; tables: for each open question, the subjects that would settle it."""

    sentences: list[str]
    tables: list[Table]

    def lines(self) -> list[str]:
        """For a terminal."""
        return [*(sentence.translate(TERMINAL) for sentence in self.sentences), "",
                *(line for table in self.tables for line in (*table.lines(), table.note.translate(TERMINAL), ""))]


def conclusions(clean: ProtocolResult | None, paper: ProtocolResult | None, published: float | None) -> Conclusions:
    """published: the paper's accuracy, None where the cells are not of its data set."""
    sentences: list[str] = []
    open_questions: list[tuple[str, Estimate]] = []
    if clean is not None and published is not None:
        sentences.append(_against_published(clean, published))
        if paper is not None and paper.accuracy.high is not None and paper.accuracy.high < published:
            sentences.append(f"The paper's own protocol does not reach it on these cells either: "
                             f"{interval(paper.accuracy, page=True)}. So how the cells were split need not be all of "
                             "the difference.")
        own = clean.accuracy
        if own.value is not None and own.low is not None and own.high is not None:
            open_questions.append(("clean minus published", Estimate(
                own.value - published, own.low - published, own.high - published, own.method)))
    if clean is not None and paper is not None:
        inflation = difference(paper.accuracy, clean.accuracy)
        sentences.append(_inflation(inflation, clean))
        open_questions.append(("the paper's protocol minus clean", inflation))
    if clean is not None and clean.unit == "cell" and sentences:
        sentences.append("Subjects are not known, so it cannot be said how many would settle it.")
    return Conclusions(sentences, settled_by(open_questions, clean.count) if clean and clean.unit != "cell" else [])


def settled_by(differences: Sequence[tuple[str, Estimate]], subjects: int) -> list[Table]:
    """What `leukoscope power` says of differences (name, share with its interval) of so many subjects."""
    tables = []
    for name, own in differences:
        if own.low is not None and own.high is not None and own.high > own.low and subjects > 1:
            head, rows, tail = in_words(plan_for(name, own, subjects))
            tables.append(Table(f"How many subjects would settle it: {name}", rows[0], rows[1:],
                                f"{head.removeprefix(f'{name}: ')}; {tail} (leukoscope power)."))
    return tables


def _against_published(clean: ProtocolResult, published: float) -> str:
    own = clean.accuracy
    got = f"{interval(own, page=True)} with {plural(clean.count, clean.unit)} kept apart"
    printed = percent(published, 2)
    if own.high is None or own.low is None:
        return f"Does the paper's {printed} survive? The clean protocol gives {got}, which decides nothing."
    if own.high < published:
        return f"Does the paper's {printed} survive? No: the clean protocol gives {got}."
    if own.low <= published:
        return (f"Does the paper's {printed} survive? These cells cannot say: the clean protocol gives {got}, and the "
                "interval includes it.")
    return f"Does the paper's {printed} survive? Yes: the clean protocol gives {got}."


def _inflation(inflation: Estimate, clean: ProtocolResult) -> str:
    shown = interval(inflation, points, " points", page=True)
    if inflation.low is None or inflation.high is None:
        return f"Paper's protocol minus clean: {shown}; without an interval nothing can be concluded."
    if inflation.low > 0:
        return f"The paper's protocol gives higher figures: {shown}."
    if inflation.high < 0:
        return f"The paper's protocol gives lower figures: {shown}."
    return (f"Whether the paper's protocol gives higher figures cannot be said with {plural(clean.count, clean.unit)}: "
            f"{shown}.")
