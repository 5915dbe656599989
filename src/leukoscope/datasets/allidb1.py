"""ALL-IDB1: 108 photographs of smears, 59 of healthy people and 49 with blasts, whose centroids `.xyc` files list.

Knows the names `ImNNN_0.jpg` (healthy) and `ImNNN_1.jpg` (leukemic), in any folder and any case, and the `.xyc` files.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import Dataset, Index, check_choice, check_root
from .collector import BadBox, Findings, Image, numbers
from .paths import cell_ids, files_below, read_lines, whole_number

COUNT = 108
EXPECTED = {"healthy": 59, "leukemic": 49}
LABELS = {"0": "healthy", "1": "leukemic"}
SIDE = 257
"""Side in px of the box around a centroid, as of the crops of ALL-IDB2, which were cut from these fields."""

NAME = re.compile(r"im(\d{3})_([01])", re.IGNORECASE)
LAYOUT = "the fields ImNNN_0.jpg and ImNNN_1.jpg, and beside them or in a folder xyc the files ImNNN_1.xyc"
VIEWS = {
    "fields": "one row a field: healthy or leukemic",
    "centroids": "one row a probable lymphoblast, by a box around its centroid (all of them leukemic)",
}
OPTIONS = {"side": f"side in px of the box around a centroid (view centroids; {SIDE} if not given)"}


def index(root: Path, view: str = "fields", **options: str) -> Index:
    """Index ALL_IDB1, or a folder above it. Raises DatasetError where it holds no field."""
    check_choice(view, VIEWS, options, OPTIONS)
    check_root(Path(root), "allidb1", LAYOUT)
    side = whole_number(options.get("side", SIDE), "side", 8, 4096)
    found = Findings(Path(root).absolute(), "allidb1")
    fields = numbered_images(found, COUNT, other="2")
    found.notes.append("who the subjects are is not published: fields of one person may stand on both sides of a split")
    if view == "fields":
        for image, label in fields:
            found.add(image, label, group=image.name, field=image.name)
        return found.index(LAYOUT, EXPECTED)
    _add_centroids(found, fields, side)
    return found.index(LAYOUT)


def numbered_images(found: Findings, count: int, *, other: str) -> list[tuple[Image, str]]:
    """The images ImNNN_0|1 below the root with their labels, by number; what is missing, twice or damaged is noted.

    `other` is the number of the sister set: the two share their names, so its folder is left out.
    """
    sister = re.compile(rf"idb[ _-]?{other}", re.IGNORECASE)
    paths = [p for p in files_below(found.root) if not sister.search(p.relative_to(found.root).as_posix())]
    ids = cell_ids(paths, found.root)
    named: dict[int, list[tuple[Path, str]]] = {}
    strangers = []
    for path in paths:
        match = NAME.fullmatch(path.stem)
        if match and 1 <= int(match[1]) <= count:
            named.setdefault(int(match[1]), []).append((path, LABELS[match[2]]))
        else:
            strangers.append(str(path))
    found.note_some(f"images are left out, their names are not Im001_0 to Im{count:03d}_1", strangers)
    images = []
    for number in range(1, count + 1):
        candidates = named.get(number, [])
        if not candidates:
            found.missing.append(f"Im{number:03d} (neither Im{number:03d}_0 nor Im{number:03d}_1)")
            continue
        (path, label), *further = candidates
        if any(second != label for _, second in further):
            found.damaged += [(str(p), f"Im{number:03d} is there as healthy and as leukemic") for p, _ in candidates]
            continue
        found.damaged += [(str(p), f"a second file of Im{number:03d}, {path.name} is used") for p, _ in further]
        image = found.open(path, ids[path])
        if image is not None and other == "2" and image.size == (SIDE, SIDE):
            found.damaged.append((str(path), f"{SIDE} x {SIDE} px: a crop of ALL-IDB2 (allidb2), not a field"))
        elif image is not None:
            images.append((image, label))
    return images


def _add_centroids(found: Findings, fields: list[tuple[Image, str]], side: int) -> None:
    files = {path.stem.lower(): path for path in reversed(files_below(found.root, {".xyc"}))}
    unused = []
    for image, label in fields:
        path = files.get(image.path.stem.lower())
        if path is None:
            if label == "leukemic":
                found.missing.append(f"{image.path.stem}.xyc (the centroids of {image.name})")
            continue
        points = _read_centroids(found, path, image)
        if label == "healthy":
            unused += [where for _, where in points]
            continue
        if not points:
            found.damaged.append((str(path), "holds no centroid, but the field is leukemic"))
        for number, ((x, y), where) in enumerate(points, 1):
            half = side / 2
            if not (0 <= x < image.size[0] and 0 <= y < image.size[1]):
                found.damaged.append((where, f"the centroid ({x:g}, {y:g}) lies outside the image of "
                                             f"{image.size[0]} x {image.size[1]} px"))
            else:
                found.add_box(image, number, label, (x - half, y - half, x + half, y + half), where)
    found.note_some("centroids are listed for healthy fields and not used", unused)


def _read_centroids(found: Findings, path: Path, image: Image) -> list[tuple[tuple[float, float], str]]:
    """((x, y), file:line) of each centroid. NaN is kept: it is outside every image."""
    try:
        lines = read_lines(path)
    except ValueError as error:
        found.damaged.append((str(path), str(error)))
        return []
    points = []
    for number, line in enumerate(lines, 1):
        values = [value for value in re.split(r"[\s,;]+", line) if value]
        where = f"{path}:{number}"
        try:
            if values and len(values) != 2:
                raise BadBox(f"expected x and y, got {len(values)} values")
            if values:
                x, y = numbers(values)
                points.append(((x, y), where))
        except BadBox as error:
            found.damaged.append((where, str(error)))
    return points


DATASET = Dataset(
    name="allidb1",
    title="ALL-IDB1: fields of healthy people and of patients with acute lymphoblastic leukemia (Milan)",
    licence="for research, on request; not to be passed on",
    citation="R. Donida Labati, V. Piuri, F. Scotti, ALL-IDB: the acute lymphoblastic leukemia image database for "
             "image processing, IEEE ICIP 2011, 2045-2048, doi 10.1109/ICIP.2011.6115881",
    homepage="https://homes.di.unimi.it/scotti/all/",
    obtain="given on request by the Università degli Studi di Milano: follow the page https://homes.di.unimi.it/scotti/"
           "all/ (a request from an institution's address), then unpack ALL_IDB1 with its folders im and xyc",
    subject_rule="none: images are not given per patient, so no split can keep patients apart; each field is one group",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
