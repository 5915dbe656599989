"""Boxes on photographs that EXIF turns: on the pixels that they were drawn on, or refused; in every layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cases import case
from command import leukoscope
from leukoscope.datasets import get_dataset
from leukoscope.datasets.turned import orientation_of, shown_edges
from leukoscope.errors import DatasetError
from leukoscope.images.read import read_cell, read_image
from leukoscope.manifest import read_manifest

BOX = (30, 10, 12, 7)
"""On the pixels as stored: x, y, width, height; a red rectangle."""


def write_photograph(path: Path, orientation: int, size: tuple[int, int] = (80, 60)) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    x, y, width, height = BOX
    pixels[y:y + height, x:x + width] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)


def write_layout(layout: str, root: Path, size: tuple[int, int], name: str = "f.jpg", *, sized: bool = True) -> None:
    """The box in a layout, as a tool writes it that shows the pixels as stored."""
    x, y, width, height = BOX
    if layout == "coco":
        image = {"id": 1, "file_name": name} | ({"width": size[0], "height": size[1]} if sized else {})
        (root / "a.json").write_text(json.dumps({
            "images": [image], "categories": [{"id": 1, "name": "wbc"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX}]}))
    elif layout == "voc":
        sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if sized else ""
        (root / "f.xml").write_text(
            f"<annotation><filename>{name}</filename>{sides}<object><name>wbc</name><bndbox><xmin>{x + 1}</xmin>"
            f"<ymin>{y + 1}</ymin><xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox></object></annotation>")
    elif layout == "yolo":
        (root / "classes.txt").write_text("wbc\n")
        (root / "f.txt").write_text(f"0 {(x + width / 2) / size[0]:.6f} {(y + height / 2) / size[1]:.6f} "
                                    f"{width / size[0]:.6f} {height / size[1]:.6f}\n")
    else:
        (root / "t.csv").write_text(f"image,x,y,width,height\n{name},{x},{y},{width},{height}\n")


def shows_the_rectangle(manifest) -> bool:
    pixels = read_cell(manifest.row(0, named=True)).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 100)
    return bool(red.all()) and red.size == BOX[2] * BOX[3]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_box_holds_what_it_was_drawn_around(tmp_path, orientation, suffix):
    path = tmp_path / f"f{suffix}"
    pixels = np.zeros((60, 80, 3), np.uint8)
    x, y, width, height = BOX
    pixels[y:y + height, x:x + width] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(pixels).save(path, exif=exif, **options)
    assert orientation_of(path) == orientation
    shown = (60, 80) if orientation >= 5 else (80, 60)
    left, top, right, bottom = map(round, shown_edges((x, y, x + width, y + height), orientation, shown))
    cell = read_cell({"image": str(path), "x": left, "y": top, "width": right - left, "height": bottom - top})
    assert (cell[..., 0] > 150).all()
    assert cell[..., 0].size == width * height


@pytest.mark.parametrize("options", [{"bigtiff": True, "byteorder": ">"}, {"compression": "jpeg2000"},
                                     {"compression": "zstd", "tile": (16, 32)}, {"thumbnail": True}], ids=str)
def test_the_orientation_is_that_which_reading_undoes_however_the_tiff_is_stored(tmp_path, options):
    pixels, options = np.zeros((60, 80, 3), np.uint8), dict(options)
    thumbnail, big = options.pop("thumbnail", False), {name: options.pop(name) for name in ("bigtiff", "byteorder")
                                                      if name in options}
    with tifffile.TiffWriter(tmp_path / "f.tif", **big) as writer:
        if thumbnail:
            writer.write(pixels[::4, ::4], photometric="rgb", metadata=None, subfiletype=1)
        writer.write(pixels, photometric="rgb", metadata=None, extratags=[(274, "H", 1, 6, True)], **options)
    assert read_image(tmp_path / "f.tif").shape == (80, 60, 3)
    assert orientation_of(tmp_path / "f.tif") == 6


@pytest.mark.parametrize("layout", ["coco", "voc"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_size_in_the_annotation_says_where_the_box_was_drawn(tmp_path, layout, orientation):
    write_photograph(tmp_path / "f.jpg", orientation)
    write_layout(layout, tmp_path, (80, 60))
    found = get_dataset(layout).index(tmp_path)
    assert shows_the_rectangle(found.manifest)
    assert any("1 photographs are turned by EXIF, and their boxes with them" in note for note in found.notes)
    write_layout(layout, tmp_path, (60, 80))  # drawn on the photograph as it is shown: nothing to turn
    found = get_dataset(layout).index(tmp_path)
    assert found.manifest.select("x", "y", "width", "height").row(0) == BOX
    assert not any("turned" in note for note in found.notes)


@pytest.mark.parametrize(("size", "orientation", "sized"), [
    ((80, 60), 2, True), ((80, 60), 3, True), ((80, 60), 4, True), ((60, 60), 6, True), ((80, 60), 6, False)])
@pytest.mark.parametrize("layout", ["coco", "voc", "yolo", "table"])
def test_where_nothing_says_it_the_box_is_damaged_until_an_option_does(tmp_path, layout, size, orientation, sized):
    write_photograph(tmp_path / "f.jpg", orientation, size)
    write_photograph(tmp_path / "g.jpg", 1, size)
    write_layout(layout, tmp_path, size, sized=sized)
    index = get_dataset(layout).index
    with pytest.raises(DatasetError, match=rf"1 damaged.*EXIF turns the photograph \(orientation {orientation}\).*"
                                           "turned=stored"):
        index(tmp_path)
    assert shows_the_rectangle(index(tmp_path, turned="stored").manifest)
    if layout == "yolo":  # shares of the sides: of those that the drawer saw
        write_layout(layout, tmp_path, size[::-1] if orientation >= 5 else size)
    assert index(tmp_path, turned="shown").manifest.select("x", "y", "width", "height").row(0) == BOX
    with pytest.raises(DatasetError, match="option turned: expected stored or shown"):
        index(tmp_path, turned="yes")


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo", "table"])
def test_a_photograph_that_is_upright_needs_no_option(tmp_path, layout):
    write_photograph(tmp_path / "f.jpg", 1)
    write_layout(layout, tmp_path, (80, 60))
    assert shows_the_rectangle(get_dataset(layout).index(tmp_path).manifest)
    write_photograph(tmp_path / "f.jpg", 6)
    if layout != "table":
        assert get_dataset(layout).index(tmp_path, "fields").manifest.height == 1


def test_the_case_as_it_was_found(tmp_path):
    root = case("lab/14-exif-boxes", tmp_path)
    assert leukoscope("data", "index", "coco", root, "-o", root / "c.parquet").code == 0
    row = read_manifest(root / "c.parquet").row(0, named=True)
    assert {name: row[name] for name in ("x", "y", "width", "height")} == {
        "x": 340, "y": 226, "width": 146, "height": 131}
