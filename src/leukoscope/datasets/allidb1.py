"""ALL-IDB1: 108 photographs of smears, 59 of healthy people and 49 with blasts, whose centroids `.xyc` files list.

Knows the names `ImNNN_0.jpg` (healthy) and `ImNNN_1.jpg` (leukemic), in any folder, in upper or lower case, and the
`.xyc` files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .base import Dataset, Index, check_choice
from .collector import BadBox, Box, Collector, Image, numbers
from .paths import files_below, read_lines, whole_number

COUNT = 108
EXPECTED = {"healthy": 59, "leukemic": 49}
LABELS = {"0": "healthy", "1": "leukemic"}
SIDE = 257
"""Side in px of the box around a centroid: that of the crops of ALL-IDB2, which were cut from these fields."""

NAME = re.compile(r"im(\d{3})_([01])", re.IGNORECASE)
LAYOUT = "the fields ImNNN_0.jpg and ImNNN_1.jpg, and beside them or in a folder xyc the files ImNNN_1.xyc"
VIEWS = {
    "fields": "one row for each field: healthy or leukemic",
    "centroids": "one row for each probable lymphoblast, by a box around its centroid (all of them leukemic)",
}
OPTIONS = {"side": f"side in px of the box around a centroid (view centroids; default: {SIDE})"}


def index(root: Path, view: str = "fields", **options: str) -> Index:
    """Index ALL_IDB1, or a folder above it. Raises DatasetError where there is no field."""
    check_choice(view, VIEWS, options, OPTIONS)
    collector = Collector.walk(root, "allidb1", LAYOUT)
    side = whole_number(options.get("side", SIDE), "side", 8, 4096)
    fields = numbered_images(collector, COUNT, other="2")
    collector.notes.append("the set has no subject ids: fields of one person may be in training and in test")
    if view == "centroids":
        _add_centroids(collector, fields, side)
        return collector.index(LAYOUT)
    for image, label in fields:
        collector.add(image, label, group=image.name, field=image.name)
    return collector.index(LAYOUT, EXPECTED)


def numbered_images(collector: Collector, count: int, *, other: str) -> list[tuple[Image, str]]:
    """The images ImNNN_0|1 below the root with their labels, by number; missing, double and damaged ones are noted.

    `other` is the number of the other set, which has the same names: its folder is left out.
    """
    folder_of_other = re.compile(rf"idb[ _-]?{other}", re.IGNORECASE)
    named: dict[int, list[tuple[Path, str]]] = {}
    strangers = []
    for path in collector.paths:
        match = NAME.fullmatch(path.stem)
        if folder_of_other.search(path.relative_to(collector.root).as_posix()):
            continue
        if match and 1 <= int(match[1]) <= count:
            named.setdefault(int(match[1]), []).append((path, LABELS[match[2]]))
        else:
            strangers.append(str(path))
    collector.note_some(f"images are left out because their names are not Im001_0 to Im{count:03d}_1", strangers)
    images = []
    for number in range(1, count + 1):
        name = f"Im{number:03d}"
        if number not in named:
            collector.missing.append(f"{name} (neither {name}_0 nor {name}_1)")
            continue
        (path, label), *further = named[number]
        if any(second != label for _, second in further):
            collector.damaged += [(str(p), f"{name} exists as healthy and as leukemic") for p, _ in named[number]]
            continue
        collector.damaged += [(str(p), f"a second file of {name}; {path.name} is used") for p, _ in further]
        image = collector.open(path)
        if image is not None and other == "2" and image.size == (SIDE, SIDE):
            collector.damaged.append((str(path), f"{SIDE} x {SIDE} px: a crop of ALL-IDB2 (allidb2), not a field"))
        elif image is not None:
            images.append((image, label))
    return images


def _add_centroids(collector: Collector, fields: list[tuple[Image, str]], side: int) -> None:
    files = {path.stem.lower(): path for path in reversed(files_below(collector.root, {".xyc"}))}
    unused = []
    for image, label in fields:
        path = files.get(image.path.stem.lower())
        if path is None:
            if label == "leukemic":
                collector.missing.append(f"{image.path.stem}.xyc (the centroids of {image.name})")
            continue
        points = list(_read_centroids(collector, path))
        if label == "healthy":
            unused += [where for *_, where in points]
        elif not points:
            collector.damaged.append((str(path), "contains no centroid, but the field is leukemic"))
        else:
            for number, (x, y, where) in enumerate(points, 1):
                if 0 <= x < image.size[0] and 0 <= y < image.size[1]:
                    edges = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
                    collector.add_box(image, Box(number, label, edges, where))
                else:
                    collector.damaged.append((where, f"the centroid ({x:g}, {y:g}) lies outside the image of "
                                                     f"{image.size[0]} x {image.size[1]} px"))
    collector.note_some("centroids of healthy fields are not used", unused)


def _read_centroids(collector: Collector, path: Path) -> Iterator[tuple[float, float, str]]:
    """x, y and file:line of each centroid. NaN is not refused here: it lies outside every image."""
    try:
        lines = read_lines(path)
    except ValueError as error:
        collector.damaged.append((str(path), str(error)))
        return
    for number, line in enumerate(lines, 1):
        values = [value for value in re.split(r"[\s,;]+", line) if value]
        where = f"{path}:{number}"
        try:
            if values and len(values) != 2:
                raise BadBox(f"expected x and y, got {len(values)} values")
            if values:
                x, y = numbers(values)
                yield x, y, where
        except BadBox as error:
            collector.damaged.append((where, str(error)))


DATASET = Dataset(
    name="allidb1",
    title="ALL-IDB1: fields of healthy people and of patients with acute lymphoblastic leukemia (Milan)",
    licence="for research, on request; must not be passed on",
    citation="R. Donida Labati, V. Piuri, F. Scotti, ALL-IDB: the acute lymphoblastic leukemia image database for "
             "image processing, IEEE ICIP 2011, 2045-2048, doi 10.1109/ICIP.2011.6115881",
    homepage="https://homes.di.unimi.it/scotti/all/",
    obtain="given on request by the Università degli Studi di Milano: follow the page https://homes.di.unimi.it/scotti/"
           "all/ (a request from an institution's address), then unpack ALL_IDB1 with its folders im and xyc",
    subject_rule="none: images are not given per patient, so no split can keep a patient in one part; each field is "
                 "one group",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
