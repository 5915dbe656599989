"""The size of a pixel is what a file of a microscope says, and nothing where a file says the resolution of a print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pillow_heif import register_heif_opener

from leukoscope.images.pixel_size import stated_pixel_size

PIXELS = np.zeros((40, 50, 3), np.uint8)


def tiff(path: Path, **options: object) -> Path:
    tifffile.imwrite(path, PIXELS, photometric="rgb", **{"metadata": None, **options})
    return path


@pytest.mark.parametrize(("unit", "size", "um"), [
    ("µm", 0.1, 0.1), ("nm", 98.0, 0.098), ("mm", 0.0001, 0.1), ("cm", 0.00001, 0.1), ("inch", 0.1 / 25_400, 0.1)])
def test_ome(unit: str, size: float, um: float, tmp_path: Path):
    named = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size,
             "PhysicalSizeYUnit": unit}
    stated = stated_pixel_size(tiff(tmp_path / "a.ome.tif", ome=True, metadata=named))
    assert stated.micrometres == pytest.approx(um)
    assert (stated.origin, stated.remark) == ("OME", "")


@pytest.mark.parametrize(("unit", "um"), [("micron", 0.1), ("um", 0.1), ("\\u00B5m", 0.1), ("nm", 0.0001), ("mm", 100)])
def test_imagej(unit: str, um: float, tmp_path: Path):
    stated = stated_pixel_size(tiff(tmp_path / "a.tif", imagej=True, resolution=(10, 10), metadata={"unit": unit}))
    if 0.02 < um < 2:
        assert stated.micrometres == pytest.approx(um)
        assert stated.origin == "ImageJ"
    else:  # said by a microscope's program, so it is said why it is not used
        assert stated.micrometres is None
        assert "which no microscope has: not used" in stated.remark


def test_imagej_without_a_unit_says_nothing(tmp_path: Path):
    assert stated_pixel_size(tiff(tmp_path / "a.tif", imagej=True, resolution=(10, 10))).micrometres is None


@pytest.mark.parametrize("said", ["MPP = 0.2520|Left = 1", "MPP = 0,252", "MPP = .252, AppMag = 40"])
def test_aperio(said: str, tmp_path: Path):
    path = tiff(tmp_path / "a.tif", description=f"Aperio Image Library\r\n50x40 |AppMag = 40|{said}")
    assert stated_pixel_size(path).micrometres == pytest.approx(0.252)


@pytest.mark.parametrize(("resolution", "unit", "um"), [
    (100_000, "CENTIMETER", 0.1), (254_000, "INCH", 0.1), (72, "INCH", None), (96, "INCH", None), (300, "INCH", None),
    (1200, "INCH", None), (4800, "INCH", None), (118, "CENTIMETER", None), (100_000, "NONE", None)])
def test_a_resolution_of_a_print_is_no_scale(resolution: int, unit: str, um: float | None, tmp_path: Path):
    stated = stated_pixel_size(tiff(tmp_path / "a.tif", resolution=(resolution, resolution), resolutionunit=unit))
    assert stated.micrometres == (None if um is None else pytest.approx(um))
    assert not stated.remark


def test_pixels_that_are_not_square_and_sizes_of_one_are_not_used_and_said(tmp_path: Path):
    stated = stated_pixel_size(tiff(tmp_path / "a.tif", resolution=(100_000, 50_000), resolutionunit="CENTIMETER"))
    assert stated.micrometres is None
    assert "0.1 um a pixel (TIFF resolution) in width and 0.2 in height: not used" in stated.remark
    stated = stated_pixel_size(tiff(tmp_path / "a.tif", resolution=(10_000, 10_000), resolutionunit="CENTIMETER"))
    assert stated.micrometres is None
    assert "which programs write where nothing was calibrated" in stated.remark


def test_png_and_jpeg(tmp_path: Path):
    picture = Image.fromarray(PIXELS)
    picture.save(tmp_path / "a.png", dpi=(254_000, 254_000))
    assert stated_pixel_size(tmp_path / "a.png").micrometres == pytest.approx(0.1, rel=1e-3)
    for dpi in (72, 96, 300):
        picture.save(tmp_path / "b.png", dpi=(dpi, dpi))
        picture.save(tmp_path / "b.jpg", dpi=(dpi, dpi))
        for name in ("b.png", "b.jpg"):
            assert stated_pixel_size(tmp_path / name).micrometres is None
            assert not stated_pixel_size(tmp_path / name).remark
    picture.save(tmp_path / "c.bmp")
    assert stated_pixel_size(tmp_path / "c.bmp").micrometres is None


def test_bmp(tmp_path: Path):
    for dpi, um in ((254_000, 0.1), (96, None)):
        Image.fromarray(PIXELS).save(tmp_path / "a.bmp", dpi=(dpi, dpi))
        stated = stated_pixel_size(tmp_path / "a.bmp")
        assert stated.micrometres == (None if um is None else pytest.approx(um, rel=1e-3))
        assert not stated.remark


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic"])
@pytest.mark.parametrize(("software", "used"), [
    ("ZEN 3.4 (blue edition)", True), ("Leica Application Suite", True), ("CellaVision", True), ("ToupView", True),
    ("Adobe Photoshop 24", False), ("", False)])
def test_exif_is_believed_where_microscope_software_wrote_it(software: str, used: bool, suffix: str, tmp_path: Path):
    register_heif_opener()
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = 254_000.0
    exif[0x0128] = 2
    if software:
        exif[0x0131] = software
    Image.fromarray(PIXELS).save(path, exif=exif)
    stated = stated_pixel_size(path)
    assert stated.micrometres == (pytest.approx(0.1) if used else None)
    assert used == (not stated.remark)
    exif[0x011A] = exif[0x011B] = 72.0
    Image.fromarray(PIXELS).save(path, exif=exif)
    assert stated_pixel_size(path).micrometres is None


def test_damaged_exif_says_nothing(tmp_path: Path):
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(range(256))):
        Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
        stated = stated_pixel_size(tmp_path / "a.jpg")
        assert stated.micrometres is None


def test_each_image_of_ome_has_its_own_size(tmp_path: Path):
    """An overview and a field through another objective in one file."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for size in (0.25, 0.1):
            writer.write(PIXELS, photometric="rgb", metadata={"axes": "YXS", "PhysicalSizeX": size,
                                                              "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size})
    assert [stated_pixel_size(tmp_path / "a.ome.tif", page=page).micrometres for page in (0, 1)] == [0.25, 0.1]


@pytest.mark.parametrize("below", [False, True])
def test_the_size_is_that_of_the_field_and_not_of_its_thumbnail(below: bool, tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for pixels, size, options in ((PIXELS[::4, ::4], 0.4, {"subfiletype": 1, "subifds": 1 if below else None}),
                                      (PIXELS, 0.1, {})):
            writer.write(pixels, photometric="rgb", metadata=None, resolution=(10_000 / size, 10_000 / size),
                         resolutionunit="CENTIMETER", **options)
    for page in (1, None):
        assert stated_pixel_size(tmp_path / "a.tif", page=page).micrometres == pytest.approx(0.1)
