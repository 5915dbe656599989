"""Colours of other profiles than sRGB are converted, by LittleCMS, and telephones' HEIC is read."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, ImageCms

from leukoscope.errors import ImageError
from leukoscope.images.colour import profile_remark, to_srgb
from leukoscope.images.pillow import picture_pixels
from leukoscope.images.read import colour_profile, image_size, read_image
from leukoscope.smear.source import open_field

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def display_p3(gamma: float = 2.2) -> bytes:
    """A matrix profile with the primaries of Display P3 (chromatically adapted to D50)."""
    columns = {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2919, 0.6922, 0.0419), b"bXYZ": (0.1572, 0.0666, 0.7841)}
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 11) + b"Display P3\0" + bytes(78) + bytes(3)
    tags = {b"desc": text, b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
            **{name: b"XYZ " + bytes(4) + fixed(*values) for name, values in columns.items()},
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        whole = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(whole))
        body += whole
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head + bytes(128 - len(head)) + table + body


def picture() -> np.ndarray:
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([255 - x * 4, 120 + y, 150 + x], axis=-1).astype(np.uint8)


def expected() -> np.ndarray:
    """By LittleCMS on the whole picture."""
    profile = ImageCms.ImageCmsProfile(BytesIO(display_p3()))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(picture()), profile, ImageCms.createProfile("sRGB")))


def test_a_wide_profile_is_converted_in_every_format(tmp_path: Path):
    image, p3 = Image.fromarray(picture()), display_p3()
    assert np.abs(expected().astype(int) - picture()).max() > 15
    image.save(tmp_path / "a.png", icc_profile=p3)
    image.save(tmp_path / "a.webp", icc_profile=p3, lossless=True)
    image.save(tmp_path / "a.jpg", icc_profile=p3, quality=100, subsampling=0)
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", iccprofile=p3)
    for name, tolerance in (("a.png", 0), ("a.webp", 0), ("a.tif", 0), ("a.jpg", 10)):
        read = read_image(tmp_path / name)
        assert np.abs(read.astype(int) - expected()).max() <= tolerance, name
        assert profile_remark(colour_profile(tmp_path / name)) == (
            "colours were converted to sRGB from the profile Display P3")
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(picture_pixels(opened), expected())


def test_srgb_and_none_change_nothing(tmp_path: Path):
    for profile in (SRGB, b""):
        Image.fromarray(picture()).save(tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())
        assert profile_remark(profile) == ""


@pytest.mark.parametrize("profile", [b"rubbish", display_p3()[:100], display_p3()[:250]])
def test_a_damaged_profile_is_said_and_changes_nothing(profile: bytes):
    np.testing.assert_array_equal(to_srgb(picture(), profile), picture())
    assert "its colour profile is ignored: it cannot be read" in profile_remark(profile)


def test_heic_is_read_upright(tmp_path: Path):
    smooth, path = picture(), tmp_path / "IMG_1.HEIC"
    for orientation in (1, 6, 3):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pillow_heif.from_pillow(Image.fromarray(smooth)).save(path, quality=95, exif=exif.tobytes())
        shown = np.rot90(smooth, {1: 0, 6: 3, 3: 2}[orientation])
        read = read_image(path)
        assert read.shape == shown.shape
        assert image_size(path) == shown.shape[1::-1]
        assert np.abs(read.astype(int) - shown).mean() < 4


def test_damaged_heic_is_named(tmp_path: Path):
    path = tmp_path / "IMG_1.HEIC"
    pillow_heif.from_pillow(Image.fromarray(picture())).save(path, quality=95)
    content = path.read_bytes()
    for changed in (content[:len(content) // 2], content[:24], b"\0\0\0\x18ftypheic"):
        path.write_bytes(changed)
        with pytest.raises(ImageError, match=r"IMG_1\.HEIC: cannot be decoded"):
            read_image(path)


def test_several_photographs_in_a_heic_are_refused(tmp_path: Path):
    path = tmp_path / "burst.heic"
    heif = pillow_heif.from_pillow(Image.fromarray(picture()))
    heif.add_from_pillow(Image.fromarray(255 - picture()))
    heif.save(path, quality=90)
    with pytest.raises(ImageError, match="contains 2 frames or pages"):
        read_image(path)


def exif_block(space: int, index: str) -> bytes:
    """An EXIF block that states a colour space (1: sRGB, 65535: another) and an interoperability index; no orientation.
    """
    main = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 26, 0)
    shot = struct.pack("<HHHIHxxHHIII", 2, 0xA001, 3, 1, space, 0xA005, 4, 1, 56, 0)
    return b"Exif\0\0" + b"II*\0\x08\0\0\0" + main + shot + struct.pack("<HHHI4sI", 1, 1, 2, 4, index.encode(), 0)


def adobe_to_srgb(pixels: np.ndarray) -> np.ndarray:
    """By the two specifications: linear light, Adobe's primaries to those of sRGB (both under D65), sRGB's curve."""
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    to_linear = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    light = ((pixels / 255) ** (563 / 256)) @ (to_linear @ to_xyz).T
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("space", "index"), [(65535, "R03"), (2, "R98")])
def test_adobe_rgb_that_only_exif_states_is_converted_in_every_format(tmp_path: Path, space: int, index: str):
    image, exif = Image.fromarray(picture()), exif_block(space, index)
    image.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    image.save(tmp_path / "a.png", exif=exif)
    image.save(tmp_path / "a.webp", exif=exif, lossless=True)
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic", quality=100, chroma=444, exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", metadata=None)
    append_exif(tmp_path / "a.tif", space, index)
    assert np.abs(adobe_to_srgb(picture()) - picture()).max() > 15
    for name, tolerance in (("a.png", 2), ("a.webp", 2), ("a.tif", 2), ("a.jpg", 20), ("a.heic", 60)):
        wrong = np.abs(read_image(tmp_path / name) - adobe_to_srgb(picture()))
        assert wrong.mean() < 2, name
        assert wrong.max() <= tolerance, name
        assert profile_remark(colour_profile(tmp_path / name)) == (
            "colours were converted to sRGB from the profile Adobe RGB (1998), which EXIF states")
    with Image.open(tmp_path / "a.png") as opened:
        assert np.abs(picture_pixels(opened) - adobe_to_srgb(picture())).max() <= 2
    assert np.abs(open_field(tmp_path / "a.tif").read(0, 0, 60, 40) - adobe_to_srgb(picture())).max() <= 2


def append_exif(path: Path, space: int, index: str) -> None:
    """Point the software tag of a TIFF, which Tifffile writes, to EXIF at the end of the file."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages[0].tags["Software"].offset  # type: ignore[union-attr]
    at = len(content)
    struct.pack_into("<HHII", content, entry, 34665, 4, 1, at)
    shot = struct.pack("<HHHIHxxHHIII", 2, 0xA001, 3, 1, space, 0xA005, 4, 1, at + 30, 0)
    path.write_bytes(content + shot + struct.pack("<HHHI4sI", 1, 1, 2, 4, index.encode(), 0))


@pytest.mark.parametrize("exif", [b"", exif_block(1, "R98"), exif_block(65535, "R98"), exif_block(65535, "R03")[:40],
                                  b"Exif\0\0" + 60 * b"\xff"])
def test_other_exif_and_damaged_exif_change_nothing(tmp_path: Path, exif: bytes):
    Image.fromarray(picture()).save(tmp_path / "a.webp", exif=exif, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), picture())


def test_an_embedded_profile_counts_more_than_exif(tmp_path: Path):
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif_block(65535, "R03"), icc_profile=SRGB)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())
