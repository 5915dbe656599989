"""Slides of every kind that is read: the same pixels by region and level, what files state, and damaged files."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.uid import UID

from command import leukoscope, refusal
from leukoscope.commands.slide_inputs import slides_of
from leukoscope.errors import ImageError
from leukoscope.images.colour import adobe_rgb, to_srgb
from leukoscope.images.read import read_image
from leukoscope.phantom.slide import PhantomSlide
from leukoscope.phantom.slide_files import write_slide
from leukoscope.slides import door, is_slide, open_slide
from leukoscope.slides.tiff import TiffSlide

WINDOWS = ((0, 0, 300, 200), (1000, 700, 517, 301), (3840 - 130, 2400 - 70, 130, 70))
"""left, top, width, height: a corner, across tiles, and the last pixels."""


@pytest.mark.parametrize(("name", "reader", "objective"), [
    ("slide.tif", "tifffile", None), ("slide.svs", "OpenSlide", 40.0), ("slide.scn", "OpenSlide", 40.0),
    ("slide.ome.tif", "tifffile", None), ("slide.dcm", "wsidicom", 40.0)])
def test_formats_show_the_phantom(phantom: PhantomSlide, tmp_path: Path, name: str, reader: str,
                                  objective: float | None):
    path = write_slide(phantom, tmp_path / name)
    with open_slide(path) as slide:
        facts = slide.facts
        assert facts.reader.startswith(reader)
        assert (facts.pixel.micrometres, facts.objective) == (0.25, objective)
        assert [(level.width, level.height) for level in facts.levels] == [(3840, 2400), (960, 600), (240, 150)]
        for window in WINDOWS:  # JPEG of quality 90
            assert np.abs(slide.read(*window).astype(int) - phantom.read(1, *window)).mean() < 3
        coarse = slide.read(100, 50, 400, 300, level=1).astype(int)
        assert np.abs(coarse - phantom.read(4, 100, 50, 400, 300)).mean() < 5
        assert [slide.level_for(by) for by in (1, 3.9, 4, 15, 16, 99)] == [0, 0, 1, 1, 2, 2]
        assert slide.overview(480).shape == (300, 480, 3)


def test_openslide_and_tifffile_agree(svs: Path, monkeypatch: pytest.MonkeyPatch):
    with open_slide(svs) as by_openslide:
        monkeypatch.setattr(door, "find_spec", lambda name: None)
        with open_slide(svs) as by_tifffile:
            assert isinstance(by_tifffile, TiffSlide)
            assert by_tifffile.facts.vendor == "Aperio"
            assert (by_tifffile.facts.objective, by_tifffile.facts.pixel.micrometres) == (40.0, 0.25)
            assert {*by_tifffile.facts.pictures} == {*by_openslide.facts.pictures} == {"label", "macro", "thumbnail"}
            for window in WINDOWS:
                first, second = by_openslide.read(*window), by_tifffile.read(*window)
                assert np.abs(first.astype(int) - second).max() <= 1
            assert (by_tifffile.picture("label") == by_openslide.picture("label")).mean() > 0.99


def test_the_scanned_part_of_the_glass_is_the_slide(small: PhantomSlide, tmp_path: Path):
    """As in QuPath, which lays the outlines over it. The rest of the glass is not in the file."""
    path = write_slide(small, tmp_path / "slide.scn")
    with openslide.OpenSlide(path) as whole:
        assert whole.dimensions == (5 * small.width // 2, 2 * small.height)
    with open_slide(path) as slide:
        assert (slide.width, slide.height) == (small.width, small.height)
        assert not (slide.overview(600) == 255).all(axis=2).any()


LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (256, 256), "compression": "zlib"}, "strips": {"rowsperstrip": 16, "compression": "lzw"},
    "one strip": {}, "big": {"tile": (128, 128), "bigtiff": True}, "jpeg2000": {"tile": (256, 256),
                                                                                 "compression": "jpeg2000"},
    "planes": {"tile": (256, 256), "planarconfig": "separate", "compression": "zlib"},
    "motorola": {"tile": (256, 256), "byteorder": ">", "compression": "zstd"}, "deep": {"tile": (256, 256)}}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_tiff_are_read_exactly(phantom: PhantomSlide, tmp_path: Path, name: str):
    pixels, options = phantom.read(1, 0, 0, 1500, 1000), dict(LAYOUTS[name])
    stored = pixels.astype(np.uint16) * 257 if name == "deep" else pixels
    if options.get("planarconfig"):
        stored = np.moveaxis(stored, -1, 0)
    made = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    with tifffile.TiffWriter(tmp_path / "slide.tif", **made) as file:
        file.write(stored, photometric="rgb", metadata=None, **options)
    with open_slide(tmp_path / "slide.tif") as slide:
        for left, top, width, height in ((0, 0, 300, 200), (700, 500, 517, 301), (1370, 930, 130, 70)):
            assert np.array_equal(slide.read(left, top, width, height),
                                  pixels[top:top + height, left:left + width])


def test_ycbcr_is_read_as_the_colours_that_it_means(phantom: PhantomSlide, tmp_path: Path):
    """Whatever compresses it: JPEG decodes to RGB itself, others keep what is stored."""
    pixels = phantom.read(1, 0, 0, 700, 500)
    tifffile.imwrite(tmp_path / "slide.tif", np.asarray(Image.fromarray(pixels).convert("YCbCr")), tile=(256, 256),
                     photometric="ycbcr", compression="zlib", metadata=None)
    with open_slide(tmp_path / "slide.tif") as slide:
        assert np.abs(slide.read(0, 0, 700, 500).astype(int) - pixels).max() <= 3  # Pillow rounds down


def test_colour_profiles_are_applied_by_every_reader(phantom: PhantomSlide, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch):
    """Scanners embed their own; the cells would have other colours than in photographs of the same smear."""
    pixels, profile = phantom.read(1, 1000, 700, 512, 512), adobe_rgb()
    expected = to_srgb(pixels, profile)
    assert np.abs(expected.astype(int) - pixels)[..., 0].mean() > 6  # of red
    head = "Aperio Image Library v12.0.15\r\n512x512 [0,0 512x512] (256x256)|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(tmp_path / "slide.svs", pixels, tile=(256, 256), photometric="rgb", compression="jpeg",
                     compressionargs={"level": 98}, metadata=None, description=head, iccprofile=profile)
    folder = write_slide(phantom, tmp_path / "slide.dcm")
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.OpticalPathSequence[0].ICCProfile = profile + bytes(len(profile) % 2)
        data.save_as(file)
    for path, by, window in ((tmp_path / "slide.svs", "OpenSlide", (0, 0, 512, 512)), (folder, "wsidicom",
                             (1000, 700, 512, 512)), (tmp_path / "slide.svs", "tifffile", (0, 0, 512, 512))):
        if by == "tifffile":
            monkeypatch.setattr(door, "find_spec", lambda name: None)
        with open_slide(path) as slide:
            assert slide.facts.reader.startswith(by)
            assert np.abs(slide.read(*window).astype(int) - expected)[..., 0].mean() < 3
            assert any("Adobe RGB" in remark for remark in slide.facts.remarks)


@pytest.mark.parametrize("end", ["png", "jpg"])
def test_large_photographs_are_streamed(phantom: PhantomSlide, tmp_path: Path, end: str):
    path, expected = tmp_path / f"scan.{end}", phantom.read(1, 1000, 500, 1800, 1300)
    Image.fromarray(expected).save(path, quality=90, compress_level=1)
    expected = read_image(path)
    with open_slide(path) as slide:
        assert slide.facts.reader.startswith("libvips")
        assert len(slide.facts.levels) > 1
        for left, top, width, height in ((0, 0, 300, 200), (700, 600, 517, 301), (1670, 1230, 130, 70)):
            given = slide.read(left, top, width, height).astype(int)
            assert np.abs(given - expected[top:top + height, left:left + width]).max() <= (0 if end == "png" else 2)


def test_a_truncated_photograph_is_refused(phantom: PhantomSlide, tmp_path: Path):
    Image.fromarray(phantom.read(1, 0, 0, 900, 700)).save(tmp_path / "scan.png", compress_level=1)
    content = (tmp_path / "scan.png").read_bytes()
    (tmp_path / "scan.png").write_bytes(content[:len(content) // 2])
    line = refusal("slide", "info", tmp_path / "scan.png")
    assert "scan.png: cannot be decoded" in line
    assert "--skip-damaged" not in line  # no option here


def test_missing_tiles_are_white_and_said(phantom: PhantomSlide, tmp_path: Path):
    tiles = list(phantom.tiles(1, 256))
    lacking = [None if number in (16, 17, 40) else tile for number, tile in enumerate(tiles)]
    tifffile.imwrite(tmp_path / "slide.tif", (tile for tile in lacking), shape=(2400, 3840, 3), dtype=np.uint8,
                     tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
    with open_slide(tmp_path / "slide.tif") as slide:
        assert (slide.facts.missing, slide.facts.tiles) == (3, 150)
        assert (slide.read(256, 256, 512, 256) == 255).all()
        assert not (slide.read(768, 256, 100, 100) == 255).all()
    assert "3 of 150 tiles are missing" in leukoscope("slide", "info", tmp_path / "slide.tif").out


def test_missing_tiles_of_a_scanner_are_said(svs: Path, tmp_path: Path):
    content = bytearray(svs.read_bytes())
    with tifffile.TiffFile(svs) as file:
        lengths: Any = file.pages[0].aspage().tags["TileByteCounts"]
    size = {3: 2, 4: 4, 16: 8}[lengths.dtype]
    content[lengths.valueoffset + 16 * size:lengths.valueoffset + 19 * size] = bytes(3 * size)
    (tmp_path / "slide.svs").write_bytes(content)
    with open_slide(tmp_path / "slide.svs") as slide:
        assert slide.facts.reader.startswith("OpenSlide")
        assert (slide.facts.missing, slide.facts.tiles) == (3, 150)
    with open_slide(svs) as slide:
        assert (slide.facts.missing, slide.facts.tiles) == (0, 150)


@pytest.mark.parametrize("name", ["slide.svs", "slide.scn", "slide.tif", "slide.ome.tif"])
def test_truncated_slides_are_refused_in_one_line(phantom: PhantomSlide, tmp_path: Path, name: str):
    path = write_slide(phantom, tmp_path / name, label=False)
    content = path.read_bytes()
    for length in (len(content) * 2 // 3, len(content) - 100):  # the last: within the coarsest level
        path.write_bytes(content[:length])
        assert str(path) in refusal("slide", "info", path)


def test_a_damaged_tile_is_named(phantom: PhantomSlide, tmp_path: Path):
    tifffile.imwrite(tmp_path / "slide.tif", phantom.read(1, 1000, 500, 1536, 1024), tile=(256, 256),
                     photometric="rgb", compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "slide.tif") as file:
        place = file.pages[0].dataoffsets[11]  # type: ignore[union-attr]
    content = bytearray((tmp_path / "slide.tif").read_bytes())
    content[place:place + 400] = bytes(400)
    (tmp_path / "slide.tif").write_bytes(content)
    with open_slide(tmp_path / "slide.tif") as slide:
        slide.read(0, 0, 256, 256)
        with pytest.raises(ImageError, match=r"slide\.tif: cannot be decoded"):
            slide.read(5 * 256, 256, 256, 256)


def test_a_slide_that_vanishes_is_named(svs: Path, tmp_path: Path):
    path = Path(shutil.copy(svs, tmp_path / "slide.svs"))
    with open_slide(path) as slide:
        path.unlink()
        with pytest.raises(ImageError, match="no such file"):
            slide.read(0, 0, 10, 10)


def test_windows_beyond_the_slide_are_refused(svs: Path):
    with open_slide(svs) as slide:
        for window in ((-1, 0, 10, 10), (3839, 0, 2, 10), (0, 0, 0, 5)):
            with pytest.raises(ImageError, match="a window of"):
                slide.read(*window)


def test_a_damaged_level_of_dicom_is_named(phantom: PhantomSlide, tmp_path: Path):
    """The coarser levels alone would be taken for the slide."""
    folder = write_slide(phantom, tmp_path / "slide.dcm")
    finest = folder / "level_0.dcm"
    content = finest.read_bytes()
    data = pydicom.dcmread(finest)
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")  # a video
    data.save_as(finest)
    assert "slide.dcm: its file level_0.dcm is damaged, or compressed" in refusal("slide", "info", folder)
    finest.write_bytes(content[:600])
    assert "level_0.dcm" in refusal("slide", "info", folder)
    finest.write_bytes(content[:len(content) * 2 // 3])
    assert "truncated" in refusal("slide", "info", folder)


def test_dicom_without_a_scale_is_refused(phantom: PhantomSlide, tmp_path: Path):
    folder = write_slide(phantom, tmp_path / "slide.dcm")
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        del data.ImagedVolumeWidth, data.ImagedVolumeHeight
        data.save_as(file)
    assert "do not say how large a pixel is, as DICOM requires" in refusal("slide", "info", folder)


def test_dicom_slides_are_told_apart_by_their_series(small: PhantomSlide, tmp_path: Path):
    """Two in one folder, as a PACS exports them, without endings; another one beside its licence."""
    flat, alone = tmp_path / "in" / "flat", write_slide(small, tmp_path / "in" / "alone.dcm")
    (alone / "LICENSE").write_text("free")
    flat.mkdir()
    for number in range(2):
        for file in write_slide(small, tmp_path / f"{number}.dcm").iterdir():
            file.rename(flat / f"{number}.{file.stem}")
    assert (is_slide(alone), is_slide(flat)) == (True, False)
    found = slides_of([str(tmp_path / "in")], tmp_path / "out").slides
    assert [one.path.relative_to(tmp_path).as_posix() for one in found] == [
        "in/alone.dcm", "in/flat/0.level_0", "in/flat/1.level_0"]
    for one in found:
        with open_slide(one.path) as slide:
            assert (slide.width, len(slide.facts.levels)) == (small.width, 3)
    assert "flat: holds 2 slides; name a file of one, such as 0.level_0" in refusal("slide", "info", flat)


def test_what_is_a_slide(svs: Path, tmp_path: Path):
    Image.fromarray(np.zeros((50, 40, 3), np.uint8)).save(tmp_path / "field.png")
    tifffile.imwrite(tmp_path / "field.tif", np.zeros((50, 40, 3), np.uint8))
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((20, 20_100, 3), np.uint8), compression="zlib")
    Image.fromarray(np.zeros((10, 20_100), np.uint8)).save(tmp_path / "scan.png")
    (tmp_path / "text.png").write_text("no image")
    expected = {"field.png": False, "field.tif": False, "scan.tif": True, "scan.png": True, "text.png": False}
    assert {name: is_slide(tmp_path / name) for name in expected} == expected
    assert is_slide(svs)
    assert not is_slide(tmp_path)


def test_info_keeps_the_label_back(svs: Path, tmp_path: Path):
    answer = leukoscope("slide", "info", svs, "--json", "--thumbnail", tmp_path / "small.png")
    facts = json.loads(answer.out)
    assert (facts["width"], facts["height"], facts["micrometres_per_pixel"]) == (3840, 2400, 0.25)
    assert (facts["vendor"], facts["objective"], facts["remarks"]) == ("aperio", 40.0, [])
    assert read_image(tmp_path / "small.png").shape == (640, 1024, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]
    assert "a patient's name" in leukoscope("slide", "info", svs, "--label", tmp_path / "label.png").out
    assert read_image(tmp_path / "label.png").shape == (120, 160, 3)
    assert "already exists" in refusal("slide", "info", svs, "--label", tmp_path / "label.png")


@pytest.mark.parametrize(("name", "content", "said"), [
    ("a.svs", b"", "is not a slide"), ("b.svs", b"II*\0\x04\0", "is not a readable TIFF"),
    ("a.czi", b"ZISRAWFILE", "are not read"),
    ("a.ndpi", b"II*\0" + bytes(40), "a.ndpi"),
    ("a.dcm", b"", "a.dcm: is not a DICOM file"),
    ("a.tif", b"II*\0\x08\0\0\0", "a.tif"), ("a.jpg", b"\xff\xd8\xff\xe0abc", "a.jpg")])
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str):
    (tmp_path / name).write_bytes(content)
    assert said in refusal("slide", "info", tmp_path / name)


def test_without_the_extra_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("leukoscope.errors.find_spec", lambda name: None)
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    (tmp_path / "a.mrxs").write_bytes(b"x")
    assert "pip install 'leukoscope[slides]'" in refusal("slide", "info", tmp_path / "a.mrxs")
    assert "leukoscope.cli.main" in sys.modules


def test_the_truth_of_a_phantom_slide_is_where_its_pixels_are(phantom: PhantomSlide):
    """Nuclei are the only things that absorb red light: in the truth's boxes they do, elsewhere only platelets."""
    assert len(phantom.cells) > 20
    boxes = [phantom.read(1, cell.x, cell.y, cell.width, cell.height) for cell in phantom.cells
             if cell.zone == "monolayer"]
    assert all((box[..., 0] < 110).mean() > 0.15 for box in boxes)
    assert {cell.zone for cell in phantom.cells} >= {"thick", "monolayer"}
