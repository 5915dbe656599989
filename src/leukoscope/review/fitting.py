"""The model fitted to the laboratory from the page: `leukoscope adapt --review` in a process of its own, with the cells
that people have confirmed in all smears that lie open, and what it has brought."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import LeukoscopeError
from ..stats.estimate import Estimate
from ..text import plain
from .actions import Refused
from .desk import Desk
from .export import confirmed_cells
from .smear import Review
from .watch import LEUKOSCOPE

MODELS = "models"
"""The folder for fitted models, in the first folder that the server was given."""
LEAST, TYPES = 5, 2
"""Confirmed cells of a type, and such types, that are enough."""
_NAME = re.compile(r"model-(\d+)\.zip")


@dataclass(frozen=True)
class Confirmed:
    """What people have confirmed so far. counts: type -> cells; folders: of the smears; bundle: that typed them;
    lacking: why no model can be fitted yet, or ""."""

    counts: Mapping[str, int]
    folders: tuple[str, ...]
    bundle: str
    lacking: str


@dataclass(frozen=True)
class Fitted:
    """A fitted model. place: its file; page: the name of its page; counts: type -> confirmed cells; before, after:
    accuracies, 0 to 1, in cells that the fit did not see; difference: after minus before."""

    name: str
    place: str
    page: str
    counts: Mapping[str, int]
    before: Estimate
    after: Estimate
    difference: Estimate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Fitting:
    """Fits one model at a time. out: the folder in which they are kept."""

    def __init__(self, desk: Desk, out: Path) -> None:
        self.out, self._desk = out / MODELS, desk
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self.failed = ""

    @property
    def running(self) -> bool:
        """Whether a model is being fitted."""
        return self._process is not None

    def close(self) -> None:
        """End a fit that is under way."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def confirmed(self) -> Confirmed:
        """The confirmed cells of all smears."""
        counts, folders, bundles = Counter[str](), [], set()
        for seat in list(self._desk.seats.values()):
            own = {} if seat.review.reading else _confirmed_of(seat.review)
            if own:
                bundle = seat.review.result.summary.bundle
                bundles.add("packaged" if bundle is None or bundle.packaged else bundle.path)
                counts.update(own)
                folders.append(str(seat.review.result.folder))
        enough = sum(number >= LEAST for number in counts.values())
        lacking = "" if enough >= TYPES else (
            f"Confirm at least {LEAST} cells of at least {TYPES} types. About 20 of each, of several smears, are good.")
        if len(bundles) > 1:
            lacking = "The smears were typed by several models. Fit each alone: leukoscope adapt BUNDLE --review DIR."
        return Confirmed(dict(sorted(counts.items())), tuple(folders), min(bundles, default="packaged"), lacking)

    def fitted(self) -> list[Fitted]:
        """All fitted models, the newest first. Files that are none are left out."""
        found = [(int(match[1]), one) for path in self.out.glob("model-*.zip")
                 if (match := _NAME.fullmatch(path.name)) and (one := _read(path)) is not None]
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]

    def page(self, name: str) -> Path | None:
        """The page of a fitted model."""
        return next((self.out / one.page for one in self.fitted() if one.name == name
                     and (self.out / one.page).is_file()), None)

    def command(self, found: Confirmed, out: str) -> list[str]:
        """What does the same by hand."""
        reviews = [word for folder in found.folders for word in ("--review", folder)]
        laboratory = next((seat.review.laboratory.name for seat in self._desk.seats.values()), "")
        return ["adapt", found.bundle, *reviews, *(["--name", laboratory] if laboratory else []), "-o", out]

    def start(self) -> None:
        """Fit a model in the background. Raises Refused while another is being fitted, and where cells are lacking."""
        found = self.confirmed()
        if found.lacking:
            raise Refused(found.lacking)
        with self._lock:
            if self.running:
                raise Refused("a model is being fitted already", "wait until it has ended")
            try:
                self.out.mkdir(exist_ok=True)
                words = self.command(found, str(self._free()))
                environment = {name: value for name, value in os.environ.items() if name != "LEUKOSCOPE_DB"}
                if self._desk.engine is not None:  # not among the words: everybody sees those, and it holds a password
                    environment["LEUKOSCOPE_DB"] = self._desk.engine.url.render_as_string(hide_password=False)
                self.failed = ""
                self._process = subprocess.Popen(
                    [*LEUKOSCOPE, *words, "--json"], env=environment, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, text=True, errors="replace")
            except OSError as error:
                raise Refused(f"{self.out}: {error.strerror}", "models are kept in the folder that was given"
                              ) from error
        threading.Thread(target=self._wait, args=(self._process,), name="fitting", daemon=True).start()

    def _wait(self, process: subprocess.Popen[str]) -> None:
        _, said = process.communicate()
        if process.returncode and not self._stopped.is_set():
            line = (said.strip().splitlines() or ["stopped without a word"])[-1]
            self.failed = plain(line.removeprefix("leukoscope: "), 500)
        self._process = None

    def _free(self) -> Path:
        taken = [int(match[1]) for path in self.out.iterdir() if (match := _NAME.fullmatch(path.name))]
        return self.out / f"model-{max(taken, default=0) + 1}.zip"


def _confirmed_of(review: Review) -> Mapping[str, int]:
    """Type -> confirmed cells of a smear, of the types that its model knows."""
    state = review.state()
    seq, counts = review.answers.get("confirmed", (-1, {}))
    if seq != state.seq:
        try:
            labels = confirmed_cells(review, state)["label"].to_list()
        except LeukoscopeError:  # none
            labels = []
        known = review.result.classes
        counts = Counter(label for label in labels if not known or label in known)
        review.answers["confirmed"] = (state.seq, counts)
    return counts


def _read(path: Path) -> Fitted | None:
    """What a bundle says of the cells that it was fitted to; None for another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            said = json.loads(archive.read("bundle.json"))["adapted"]
        before, after, difference = (Estimate.from_dict(said[name]) for name in ("before", "after", "difference"))
        return Fitted(path.stem, str(path), f"{path.stem}.html", dict(said["counts"]), before, after, difference)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
