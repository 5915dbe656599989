"""What summary.json says of a smear, or of smears of several subjects. JSON is made of it and read back here alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import LeukoscopeError
from ..filenames import SUMMARY
from ..files import JsonObject, read_json
from ..text import plural
from .count import Differential
from .findings import Blasts


@dataclass(frozen=True)
class Plan:
    """What must be the same for a stopped run to continue. fields, bundle: digests; options: of the command line."""

    leukoscope: str
    fields: str
    bundle: str | None
    options: JsonObject


@dataclass(frozen=True)
class BundleSummary:
    """The model that typed the cells. micrometres: um per pixel of the cells it was trained on, or None; crop, size: px
    that it takes, and to which it resamples them. knows_blasts: whether it has a class of blasts. unsure: what that
    word means and where it was measured, in words; "" where the bundle does not say."""

    path: str
    packaged: bool
    name: str
    title: str
    classes: tuple[str, ...]
    knows_blasts: bool
    micrometres: float | None
    crop: int
    size: int
    unsure: str = ""


@dataclass(frozen=True)
class FieldSummary:
    """One field. name: that of its files; image: the photograph (with its page); width, height in px.

    scale_from: "given", "file" (as it states itself), "red cells", "other fields" or "none". red_cells: how many were
    measured. cells: found in it, of these whole (neither cut nor damaged) and flagged.
    """

    name: str
    image: str
    width: int
    height: int
    micrometres_per_pixel: float | None
    scale_from: str
    red_cells: int
    is_smear: bool
    cells: int
    whole: int
    flagged: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """An image that is left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class ZoneCount:
    """A part of a slide, such as "upper left": squares that were looked at, their area, the leukocytes that are counted
    there, and how many of each type."""

    name: str
    squares: int
    mm2: float
    leukocytes: int
    types: Mapping[str, int]

    @property
    def per_mm2(self) -> float:
        return self.leukocytes / self.mm2 if self.mm2 else 0.0


@dataclass(frozen=True)
class SlideSummary:
    """What was looked at on a slide. reader, vendor, objective: of the file. target: leukocytes after which the count
    ended, None for all of the monolayer. squares: kind -> how many; looked: those of the monolayer that were looked at;
    side: um. monolayer_mm2: all of it. zones: parts of what was looked at. uneven: what differs between them, in words,
    or ""."""

    reader: str
    vendor: str
    objective: float | None
    target: int | None
    squares: Mapping[str, int]
    looked: int
    side: float
    monolayer_mm2: float
    zones: tuple[ZoneCount, ...]
    uneven: str


@dataclass(frozen=True)
class SmearSummary:
    """One smear: its count and its fields. unreliable: why types are not to be relied on, in words, or ""; the shares
    of the differential are then not defined, and all cells are unsure. finding: what a person must look at first, in
    words, or "". area_mm2: of all fields, None where a scale is missing. meaning: of the count, in words. flags: kind
    -> cells, the most frequent first. unreadable: fields; left_out: what else lay in the input and is in no count.
    files: that were written beside the summary. slide: what was looked at, where the smear is a slide; it is the only
    field then.
    """

    leukoscope: str
    subject: str | None
    bundle: BundleSummary | None
    area_mm2: float | None
    unreliable: str = field(default="", kw_only=True)
    finding: str
    blasts: Blasts | None
    differential: Differential
    meaning: str
    flags: Mapping[str, int]
    fields: tuple[FieldSummary, ...]
    unreadable: tuple[Unreadable, ...]
    left_out: tuple[Unreadable, ...]
    remarks: tuple[str, ...]
    files: tuple[str, ...]
    plan: Plan
    slide: SlideSummary | None = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What is said of the whole count, the gravest first."""
        return tuple(filter(None, (self.unreliable, self.finding, *self.remarks)))

    def to_dict(self) -> JsonObject:
        """As summary.json holds it; what a reader must know first comes first."""
        return {"unreliable": self.unreliable, "finding": self.finding} | asdict(self)

    @classmethod
    def read(cls, folder: Path) -> SmearSummary:
        """The summary of a folder, all of whose files are there. Raises LeukoscopeError."""
        from pydantic import TypeAdapter, ValidationError  # late: a first run reads no summary

        try:
            summary = TypeAdapter(cls).validate_python(read_json(folder / SUMMARY))
        except ValidationError as error:
            raise LeukoscopeError(f"{folder / SUMMARY}: not a summary that this version can read",
                                  "use --overwrite instead of --resume") from error
        _check_files(folder, summary.files)
        return summary


@dataclass(frozen=True)
class SubjectsSummary:
    """Smears of several subjects. smears: folder -> its smear. unreadable: subject -> why it is left out. left_out:
    what lay in the input and belongs to no subject. folders are below the summary's own, and files beside it."""

    leukoscope: str
    smears: Mapping[str, SmearSummary]
    unreadable: Mapping[str, str]
    left_out: tuple[Unreadable, ...]
    files: tuple[str, ...]
    plan: Plan

    @property
    def bundle(self) -> BundleSummary | None:
        return next(iter(self.smears.values())).bundle

    @property
    def unreliable(self) -> str:
        """In how many smears types are not to be relied on, in words; "" for none."""
        doubtful = sum(1 for smear in self.smears.values() if smear.unreliable)
        return (f"Types are not reliable for this laboratory in {doubtful} of {plural(len(self.smears), 'smear')}, "
                "which have no differential: confirm the cells (leukoscope review), or fit the model to this "
                "laboratory (leukoscope adapt).") if doubtful else ""

    @property
    def remarks(self) -> list[str]:
        """The remarks that all smears share."""
        first, *others = self.smears.values()
        return [text for text in first.remarks if all(text in other.remarks for other in others)]

    def rows(self) -> list[JsonObject]:
        """A row for each subject, as subjects.csv has it."""
        return [_subject_row(folder, smear) for folder, smear in self.smears.items()]

    def to_dict(self) -> JsonObject:
        """As summary.json holds it."""
        return {"leukoscope": self.leukoscope, "unreliable": self.unreliable,
                "bundle": asdict(self.bundle) if self.bundle else None, "remarks": self.remarks,
                "subjects": self.rows(),
                "classes": self.bundle.classes if self.bundle else (),
                "unreadable": [{"subject": name, "reason": reason} for name, reason in self.unreadable.items()],
                "left_out": [asdict(one) for one in self.left_out],
                "meaning": {folder: smear.meaning for folder, smear in self.smears.items()},
                "files": self.files, "folders": list(self.smears), "plan": asdict(self.plan)}

    @classmethod
    def read(cls, folder: Path) -> SubjectsSummary:
        """The summary of a folder, and those of its subjects. Raises LeukoscopeError where a file is missing."""
        found = read_json(folder / SUMMARY)
        _check_files(folder, found["files"])
        return cls(found["leukoscope"], {name: SmearSummary.read(folder / name) for name in found["folders"]},
                   {one["subject"]: one["reason"] for one in found["unreadable"]},
                   tuple(Unreadable(**one) for one in found["left_out"]), tuple(found["files"]),
                   Plan(**found["plan"]))


def _check_files(folder: Path, names: Iterable[str]) -> None:
    """Raise LeukoscopeError unless all these files are in a folder."""
    missing = next((name for name in names if not (folder / name).is_file()), "")
    if missing:
        raise LeukoscopeError(f"{folder}: {missing} is missing", "use --overwrite instead of --resume")


def _subject_row(folder: str, smear: SmearSummary) -> JsonObject:
    """A subject in one row: counts; for each type its cells, share and interval (0 to 1; None without leukocytes)."""
    count, flags = smear.differential, smear.flags
    row: JsonObject = {
        "subject": smear.subject, "folder": folder, "fields": len(smear.fields), "unreadable": len(smear.unreadable),
        "left_out": len(smear.left_out),
        "found": count.found, "cut": count.cut, "damaged": count.damaged, "leukocytes": count.total,
        "platelets": count.platelets, "nucleated_red_cells": count.nucleated,
        "nucleated_per_100_leukocytes": count.per_hundred.value if count.per_hundred else None,
        "types_reliable": not smear.unreliable, "unsure": count.unsure, "unlike_training": count.unknown,
        "flagged": sum(flags.values()),
        **{f"flagged_{kind.replace(' ', '_').replace('-', '_')}": flags.get(kind, 0)
           for kind in ("blast", "blast-like", "immature", "nucleated red cell")}}
    for kind in count.types:
        row[f"cells_{kind.name}"] = kind.cells
        if kind.share is not None:
            row |= {f"share_{kind.name}": kind.share.value, f"share_{kind.name}_low": kind.share.low,
                    f"share_{kind.name}_high": kind.share.high}
    return row
