"""The model fitted to the laboratory from the page: `leukoscope adapt --review` in a process of its own, with the cells
that people have confirmed in all smears that lie open, and what it has brought."""

from __future__ import annotations

import json
import os
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import LeukoscopeError
from ..files import JsonObject
from ..stats.estimate import Estimate
from ..text import join, plain
from .actions import Refused
from .child import Child
from .desk import Desk
from .export import confirmed_cells
from .smear import Review

MODELS = "models"
"""The folder for fitted models, in the first folder that the server was given."""
LEAST, TYPES = 5, 2
"""Confirmed cells of a type, and such types, that are enough."""
PACKAGED = "packaged"
"""The built-in model, by the word that `adapt` takes."""
_NAME = re.compile(r"model-(\d+)\.zip")


@dataclass(frozen=True)
class Confirmed:
    """What people have confirmed so far in the smears that one model has typed. bundle: its file, or PACKAGED; counts:
    type -> cells; folders: of the smears; others: smears with confirmed cells that other models have typed; lacking:
    why this model cannot be fitted yet, or ""."""

    bundle: str
    counts: Mapping[str, int]
    folders: tuple[str, ...]
    others: int
    lacking: str

    @property
    def model(self) -> str:
        """The model in a sentence."""
        return "the built-in model" if self.bundle == PACKAGED else plain(self.bundle)


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

    def to_dict(self) -> JsonObject:
        return asdict(self)


class Fitting:
    """Fits one model at a time. out: the folder in which they are kept."""

    def __init__(self, desk: Desk, out: Path) -> None:
        self.out, self._desk = out / MODELS, desk
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._child: Child | None = None
        self.failed = ""

    @property
    def running(self) -> bool:
        """Whether a model is being fitted."""
        return self._child is not None

    def close(self) -> None:
        """End a fit that is under way."""
        with self._lock:
            self._stopped.set()
            child = self._child
        if child is not None:
            child.end()

    def confirmed(self) -> list[Confirmed]:
        """The confirmed cells of all smears, by the model that has typed them; that with most cells first."""
        counts: dict[str, Counter[str]] = {}
        folders: dict[str, list[str]] = {}
        for seat in list(self._desk.seats.values()):
            own = {} if seat.review.reading else _confirmed_of(seat.review)
            if own:
                bundle = seat.review.result.summary.bundle
                path = PACKAGED if bundle is None or bundle.packaged else bundle.path
                counts.setdefault(path, Counter()).update(own)
                folders.setdefault(path, []).append(str(seat.review.result.folder))
        if not counts:
            return [Confirmed(PACKAGED, {}, (), 0, _lacking(PACKAGED, {}))]
        all_of_them = sum(map(len, folders.values()))
        return [Confirmed(path, dict(sorted(own.items())), tuple(folders[path]), all_of_them - len(folders[path]),
                          _lacking(path, own))
                for path, own in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))]

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

    def start(self, bundle: str = "") -> None:
        """Fit a model in the background. bundle: the one that is fitted, where several have typed smears. Raises
        Refused while another is being fitted, where cells are lacking, and where it must be said which model."""
        choices = self.confirmed()
        found = next((one for one in choices if one.bundle == bundle), None) if bundle else choices[0]
        if found is None or (not bundle and len(choices) > 1):
            names = join(one.model for one in choices)
            raise Refused(f"the smears were typed by {names}" if not bundle else "no smear was typed by that model",
                          "choose the one to fit")
        if found.lacking:
            raise Refused(found.lacking)
        with self._lock:
            if self.running:
                raise Refused("a model is being fitted already", "wait until it has ended")
            if self._stopped.is_set():
                raise Refused("the server is being stopped", "start it again")
            try:
                self.out.mkdir(exist_ok=True)
                words = self.command(found, str(self._free()))
            except OSError as error:
                raise Refused(f"{self.out}: {error.strerror}", "models are kept in the folder that was given"
                              ) from error
            try:
                environment = {name: value for name, value in os.environ.items() if name != "LEUKOSCOPE_DB"}
                if self._desk.engine is not None:  # not among the words: everybody sees those, and it holds a password
                    environment["LEUKOSCOPE_DB"] = self._desk.engine.url.render_as_string(hide_password=False)
                self.failed = ""
                self._child = Child([*words, "--json"], environment)
            except OSError as error:
                raise Refused(f"the fit cannot be started ({error.strerror})", "free memory, or try again later"
                              ) from error
        threading.Thread(target=self._wait, args=(self._child,), name="fitting", daemon=True).start()

    def _wait(self, child: Child) -> None:
        try:
            child.wait()
        except LeukoscopeError as error:
            if not self._stopped.is_set():
                self.failed = str(error)
        self._child = None

    def _free(self) -> Path:
        taken = [int(match[1]) for path in self.out.iterdir() if (match := _NAME.fullmatch(path.name))]
        return self.out / f"model-{max(taken, default=0) + 1}.zip"


def _lacking(bundle: str, counts: Mapping[str, int]) -> str:
    """Why a model cannot be fitted to so many cells, or ""."""
    if bundle != PACKAGED and not Path(bundle).exists():
        return f"The file of this model is no longer there: {plain(bundle)}. Put it back to fit the model."
    if sum(number >= LEAST for number in counts.values()) >= TYPES:
        return ""
    return f"Confirm at least {LEAST} cells of at least {TYPES} types. About 20 of each, of several smears, are good."


def _confirmed_of(review: Review) -> Mapping[str, int]:
    """Type -> confirmed cells of a smear, of the types that its model knows."""
    state = review.state()
    seq, counts = review.confirmed
    if seq != state.seq:
        try:
            labels = confirmed_cells(review, state)["label"].to_list()
        except LeukoscopeError:  # none
            labels = []
        known = review.result.classes
        counts = Counter(label for label in labels if not known or label in known)
        review.confirmed = state.seq, counts
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
