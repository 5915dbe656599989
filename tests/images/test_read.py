"""Every kind of image file: complete files give their pixels, damaged files an error that names them."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from leukoscope.errors import ImageError
from leukoscope.images import read as images
from leukoscope.images.headers import plain_png
from leukoscope.images.resample import crop_centre, resize

helper = runpy.run_path(str(Path(__file__).parents[1] / "damaged.py"))
picture, encoded, overwritten = helper["picture"], helper["encoded"], helper["overwritten"]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return helper["write_damaged"](tmp_path_factory.mktemp("damaged"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return helper["write_odd"](tmp_path_factory.mktemp("odd"))


def test_every_damaged_file_is_an_error_of_one_line_that_names_it(damaged):
    for name, case in damaged.items():
        with pytest.raises(ImageError) as caught:
            images.read_image(case.path)
        message = str(caught.value)
        assert case.says in message, name
        assert str(case.path) in message, name
        assert "\n" not in message, name
        assert caught.value.hint, name


@pytest.mark.parametrize(("content", "name"), [
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"), (b"\xff\x0a" + bytes(20), "JPEG XL"), (b"8BPS\0\1", "a Photoshop file"),
    (b"\0\0\0\x20ftypavif", "AVIF"), (b"ZISRAWFILE", "a Zeiss CZI"), (b"\0\0\0\x20ftypisom", "a film")])
def test_other_formats_are_refused_by_their_names(content: bytes, name: str, tmp_path: Path):
    (tmp_path / "cell.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=f"is {name}, which is not read; save it as JPEG"):
        images.read_image(tmp_path / "cell.jpg")


def test_every_odd_file_gives_the_picture_it_was_made_of(odd):
    for name, case in odd.items():
        pixels = images.read_image(case.path)
        assert pixels.dtype == np.uint8, name
        assert pixels.shape == case.shows.shape, name
        assert np.abs(pixels.astype(int) - case.shows).max() <= case.tolerance, name
        assert pixels.flags.writeable, name
        assert pixels.flags.c_contiguous, name


def test_the_size_is_told_as_the_image_is_read(odd):
    for name, case in odd.items():
        assert images.image_size(case.path) == case.shows.shape[1::-1], name


def test_the_size_needs_only_the_header(damaged):
    assert images.image_size(damaged["truncated.jpg"].path) == (64, 64)
    assert images.image_size(damaged["bomb.png"].path) == (60_000, 50_000)


@pytest.mark.parametrize("name", ["animated.gif", "animated.png", "animated.webp", "pages.tif"])
def test_a_page_can_be_chosen(damaged, name):
    path, pixels = damaged[name].path, picture()
    tolerance = 20 if name.endswith(("gif", "webp")) else 0
    for page, shown in enumerate([pixels, 255 - pixels, pixels // 2]):
        read = images.read_image(path, page=page)
        assert np.abs(read.astype(int) - shown).mean() <= tolerance
    with pytest.raises(ImageError, match="has no page 3"):
        images.read_image(path, page=3)


def test_the_limit_is_named_and_checked_before_decoding(tmp_path: Path, odd):
    path = odd["plain.png"].path
    assert images.read_image(path, max_pixels=48 * 40).shape == (40, 48, 3)
    with pytest.raises(ImageError, match=r"48 x 40 px are 1,920 pixels, over the limit of 1,919"):
        images.read_image(path, max_pixels=48 * 40 - 1)
    # Decoding would fail on the broken body, so the header was checked first.
    broken = tmp_path / "broken.png"
    broken.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match="over the limit"):
        images.read_image(broken, max_pixels=100)


def test_the_limit_is_ours_alone(odd, monkeypatch):
    """Pillow has its own limit, which only warns at first and cannot be raised for a single file."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("plain.png", "plain.jpg", "plain.bmp", "lzw.tif"):
        assert images.read_image(odd[name].path).shape == (40, 48, 3), name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path):
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(picture(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match="cannot be opened"):
        images.read_image(path)


def test_unreadable_exif_leaves_the_picture_upright(tmp_path: Path):
    pixels, path = picture(), tmp_path / "exif"
    for exif in (b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"rubbish",
                 b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0"):
        path.write_bytes(encoded(pixels, "PNG", exif=exif))
        np.testing.assert_array_equal(images.read_image(path), pixels)
        path.write_bytes(encoded(pixels, "JPEG", quality=100, subsampling=0, exif=exif))
        assert np.abs(images.read_image(path).astype(int) - pixels).max() <= 3


def test_orientation_agrees_with_pillow(odd):
    for name, case in odd.items():
        if name.startswith("turned"):
            with Image.open(case.path) as image:
                upright = np.asarray(ImageOps.exif_transpose(image))
            np.testing.assert_array_equal(images.read_image(case.path), upright, err_msg=name)


def test_jpeg_decodes_to_the_same_values_as_pillow(data_folder: Path):
    for path in sorted((data_folder / "pbc").rglob("*.jpg"))[::700]:
        with Image.open(path) as image:
            np.testing.assert_array_equal(images.read_image(path), np.asarray(image))


def test_a_jpeg_of_hundreds_of_scans_is_refused_and_scans_behind_it_are_none(tmp_path: Path):
    """Each scan goes over all pixels, so that some kilobytes would take minutes."""
    content = encoded(picture(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    scan, end = content[last:-2], content[-2:]
    (tmp_path / "many.jpg").write_bytes(content[:last] + 200 * scan + end)
    with pytest.raises(ImageError, match="more than 100 scans"):
        images.read_image(tmp_path / "many.jpg")
    (tmp_path / "film.jpg").write_bytes(content + 200 * scan)  # as telephones put a film behind a photograph
    np.testing.assert_array_equal(images.read_image(tmp_path / "film.jpg"), images.read_image(_written(
        tmp_path / "plain.jpg", content)))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_corrupt_data_inside_a_jpeg_is_mostly_noticed(tmp_path: Path):
    """Some overwritten bytes decode to as many pixels as before, which no decoder can notice. Pillow notices 10 %."""
    noise = np.random.default_rng(5).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    content, path, noticed = encoded(smooth, "JPEG", quality=95), tmp_path / "cell.jpg", 0
    for seed in range(100):
        path.write_bytes(overwritten(content, seed))
        try:
            images.read_image(path)
        except ImageError:
            noticed += 1
    assert noticed >= 50


def test_every_single_overwritten_byte_of_a_png_is_noticed(tmp_path: Path):
    content, path = encoded(picture(12, 10), "PNG"), tmp_path / "cell.png"
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(ImageError):
            images.read_image(path)


@pytest.fixture(scope="module")
def bases():
    pixels = picture(20, 16)
    kinds = {"JPEG": {}, "PNG": {}, "BMP": {}, "GIF": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {}}
    return {kind: encoded(pixels, kind, **options) for kind, options in kinds.items()}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rubbish_is_an_image_or_an_image_error(bases, tmp_path: Path, data):
    content = bytearray(bases[data.draw(st.sampled_from(sorted(bases)))])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "rubbish"
    path.write_bytes(content[:data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(ImageError):
        pixels = images.read_image(path, max_pixels=1_000_000)
        assert pixels.ndim == 3
        assert pixels.dtype == np.uint8


def test_nothing_is_printed_about_damaged_files(damaged):
    """Some decoders print; with a thousand damaged cells, the important line would be lost."""
    paths = [str(case.path) for case in damaged.values() if "\0" not in str(case.path)]
    code = ("import sys\nfrom leukoscope.errors import ImageError\nfrom leukoscope.images.read import read_image\n"
            "for path in sys.argv[1:]:\n    try:\n        read_image(path)\n    except ImageError:\n        pass\n")
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_torch_is_not_imported():
    code = "import sys, leukoscope.images; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_mask_is_what_is_at_least_half_white(tmp_path: Path):
    levels = np.array([[0, 100, 127, 128, 200, 255]], np.uint8)
    Image.fromarray(levels).save(tmp_path / "mask.png")
    assert images.read_mask(tmp_path / "mask.png").tolist() == [[False, False, False, True, True, True]]


def box(path: Path, x: int, y: int, width: int, height: int) -> dict[str, object]:
    return {"cell_id": "c1", "image": str(path), "x": x, "y": y, "width": width, "height": height}


def test_a_box_is_cut_and_clipped(odd):
    path, pixels = odd["plain.png"].path, odd["plain.png"].shows
    without = {"cell_id": "c1", "image": str(path), "x": None, "y": None, "width": None, "height": None}
    np.testing.assert_array_equal(images.read_cell(without), pixels)
    np.testing.assert_array_equal(images.read_cell({"image": str(path)}), pixels)
    np.testing.assert_array_equal(images.read_cell(box(path, 3, 5, 10, 7)), pixels[5:12, 3:13])
    np.testing.assert_array_equal(images.read_cell(box(path, -4, -2, 10, 7)), pixels[:5, :6])
    np.testing.assert_array_equal(images.read_cell(box(path, 40, 35, 100, 100)), pixels[35:, 40:])
    assert images.read_cell(box(path, 47, 0, 1, 40)).shape == (40, 1, 3)


@pytest.mark.parametrize("place", [(48, 0, 5, 5), (0, 40, 5, 5), (-5, 0, 5, 5), (0, -9, 5, 5), (500, 500, 9, 9)])
def test_a_box_outside_the_image_is_an_error(odd, place):
    with pytest.raises(ImageError, match=r"cell 'c1' .* outside the image of 48 x 40 px"):
        images.read_cell(box(odd["plain.png"].path, *place))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 40))
def test_the_crop_is_centred(height: int, width: int, side: int):
    pixels = picture(31, 31)[:height, :width]
    kept = crop_centre(pixels, side)
    rows, columns = (min(side, height), min(side, width)) if side else (height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    np.testing.assert_array_equal(kept, pixels[top:top + rows, left:left + columns])


def test_shrinking_averages_areas():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 36, 3), dtype=np.uint8)
    means = pixels.reshape(12, 4, 12, 3, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 12) - means).max() <= 0.51
    # Along an axis that shrinks, the mean stays the same, also when the other axis grows.
    tall = np.repeat(np.array([0, 200], np.uint8), 40)[:, None, None].repeat(3, 1).repeat(3, 2)
    assert resize(tall, 8)[:, :, 0].tolist() == [[0] * 8] * 4 + [[200] * 8] * 4


@given(st.integers(1, 40), st.integers(1, 40), st.integers(8, 40))
def test_resizing_keeps_what_is_uniform_and_every_range(height: int, width: int, size: int):
    flat = np.full((height, width, 3), (10, 120, 250), np.uint8)
    assert (resize(flat, size) == (10, 120, 250)).all()
    pixels = picture(41, 41)[:height, :width]
    small = resize(pixels, size)
    assert small.shape == (size, size, 3)
    assert (small.min((0, 1)) >= pixels.min((0, 1))).all()
    assert (small.max((0, 1)) <= pixels.max((0, 1))).all()


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    at, chunks = 8, []
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        chunks.append((kind, content[at + 8:at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(
        ">I", zlib.crc32(kind + body)) for kind, body in chunks)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_png_whose_pixels_end_too_early_is_damaged_though_every_checksum_is_right(tmp_path, mode):
    """Pillow shows what is missing as black."""
    y, x = np.mgrid[:40, :30]
    picture = Image.fromarray(((x * y * 97) % 251 + 4).astype(np.uint8))
    picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257) if mode == "I;16" else (
        picture.convert("RGB").convert(mode))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    chunks = chunks_of(buffer.getvalue())
    rows = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    others = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    for share, whole in ((1.0, True), (0.5, False), (0.97, False)):
        data = zlib.compress(rows[:int(share * len(rows))])
        (tmp_path / "a.png").write_bytes(png_of([*others, (b"IDAT", data), (b"IEND", b"")]))
        if whole:
            assert images.read_image(tmp_path / "a.png").shape == (40, 30, 3)
        else:
            ends = "its pixels have|image file is truncated"
            with pytest.raises(ImageError, match=rf"cannot be decoded \(({ends})"):
                images.read_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 17)])
def test_a_black_png_is_whole(tmp_path, mode, size):
    Image.new("RGB", size).convert("L").convert(mode).save(tmp_path / "a.png")
    assert images.read_image(tmp_path / "a.png").shape == (*size[::-1], 3)


@pytest.mark.parametrize("deep", [False, True])
def test_what_follows_the_pixels_of_a_png_is_not_unpacked(tmp_path, deep, monkeypatch):
    """64 MB of nothing behind eight black rows."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16 if deep else np.uint8)).save(buffer, "PNG")
    rows, packer = zlib.decompress(dict(chunks_of(buffer.getvalue()))[b"IDAT"]), zlib.compressobj()
    data = b"".join([packer.compress(rows), *(packer.compress(bytes(1 << 24)) for _ in range(4)), packer.flush()])
    (tmp_path / "a.png").write_bytes(png_of([chunks_of(buffer.getvalue())[0], (b"IDAT", data), (b"IEND", b"")]))
    unpacked: list[int] = []

    class Counted:
        def __init__(self) -> None:
            self.real = zlib_decompressobj()

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

        def decompress(self, packed: bytes, most: int) -> bytes:
            unpacked.append(len(packed))
            return self.real.decompress(packed, most)

    zlib_decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    if deep:
        with pytest.raises(ImageError, match="its pixels have more than"):
            images.read_image(tmp_path / "a.png")
    else:
        assert not images.read_image(tmp_path / "a.png").any()
    assert unpacked
    assert sum(unpacked) <= 1 << 16


def test_a_png_keeps_its_palette_where_libpng_reads_it():
    y, x = np.mgrid[:40, :30]
    coloured = Image.fromarray(np.dstack([y * 6, x * 8, (x * y) % 256]).astype(np.uint8)).quantize(60)
    buffer = io.BytesIO()
    coloured.save(buffer, "PNG", pnginfo=None)
    np.testing.assert_array_equal(imagecodecs.png_decode(plain_png(buffer))[..., :3], coloured.convert("RGB"))


def test_a_tiff_of_very_many_small_tiles_is_refused_by_its_header(tmp_path):
    """389,376 tiles that all are one: a file of 3 MB that took 12 s."""
    side, tile = 9_984, 16
    count, body = (side // tile) ** 2, zlib.compress(bytes(tile * tile * 3))
    body += bytes(len(body) % 2)
    places = 8 + len(body)
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3),
            (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, count, places), (325, 4, count, places + 4 * count)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", places + 8 * count) + body + struct.pack(
        "<I", 8) * count + struct.pack("<I", len(body)) * count + directory)
    with pytest.raises(ImageError, match="it has 389,376 strips or tiles of 16 x 16 px"):
        images.read_image(tmp_path / "a.tif")


def test_no_line_of_a_library_reaches_the_terminal(tmp_path):
    """libpng warns of other parts of a PNG of 16 bits, Pillow of EXIF that is damaged."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(buffer, "PNG")
    first, *rest = chunks_of(buffer.getvalue())
    for number, part in enumerate((
            (b"eXIf", b"nothing"), (b"iCCP", b"x\0\0" + zlib.compress(b"nothing")), (b"gAMA", bytes(4)),
            (b"cHRM", b"\xff" * 32), (b"PLTE", b"\0\0"))):
        (tmp_path / f"{number}.png").write_bytes(png_of([first, part, *rest]))
    (tmp_path / "needs.png").write_bytes(png_of([first, (b"ABCD", b"x"), *rest]))
    data = b"".join(body for kind, body in rest if kind == b"IDAT")
    (tmp_path / "more.png").write_bytes(png_of([first, (b"IDAT", zlib.compress(zlib.decompress(data) * 2)), rest[-1]]))
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0"
    Image.new("RGB", (20, 20), "white").save(tmp_path / "exif.png", exif=exif)
    code = ("import sys\nfrom leukoscope.images.read import colour_profile, read_image\n"
            "for path in sys.argv[1:]:\n    try: print(read_image(path).shape, colour_profile(path)[:1])\n"
            "    except Exception as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))], capture_output=True,
                          text=True, check=False)
    assert done.stderr == ""
    *whole, exif_line, more, needs = done.stdout.splitlines()
    assert all(line.startswith("(30, 40, 3)") for line in whole)
    assert exif_line.startswith("(20, 20, 3)")
    assert "more.png: cannot be decoded (its pixels have" in more
    assert "it needs a part of an unknown kind, b'ABCD'" in needs
