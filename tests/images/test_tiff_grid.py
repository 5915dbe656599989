"""Every layout of a TIFF gives the pixels that it was written of, or is refused in words that name the cause."""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from leukoscope.errors import ImageError
from leukoscope.images.read import image_size, read_image

HEIGHT, WIDTH = 53, 71
"""Neither is a multiple of the tiles, nor of eight."""
LOSSLESS = (None, "lzw", "zlib", "zstd", "packbits", "lzma", "jpeg2000", "jpegxl", "png", "webp")
EXACT = {"jpeg2000": {"level": 0, "reversible": True}, "jpegxl": {"lossless": True}, "webp": {"lossless": True}}


def scene(channels: int = 3) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, channels), different in every channel and corner; the last of 2 or 4 is alpha."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), (x + y) * 255 // (WIDTH + HEIGHT - 2), 255 - x]
    return np.stack([planes[3 if channels % 2 == 0 and i == channels - 1 else i] for i in range(channels)],
                    axis=-1).astype(np.uint8)


def shown(pixels: np.ndarray, alpha: str = "") -> np.ndarray:
    """What such samples show: grey repeated, on white where alpha says so."""
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    rgb = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
    if not alpha:
        return rgb
    opaque = pixels[..., -1:] / 255
    light = rgb + 255 * (1 - opaque) if alpha == "assocalpha" else rgb * opaque + 255 * (1 - opaque)
    return np.rint(light).clip(0, 255).astype(np.uint8)


def written(path: Path, pixels: np.ndarray, bits: int, *, alpha: str = "", planar: bool = False, white: bool = False,
            compression: str | None = None, **options: object) -> Path:
    """A TIFF of 8-bit samples, in the upper bits of 8 or 16."""
    samples = pixels if bits == 8 else pixels.astype(np.uint16) * 257
    samples = samples.max(initial=255 if bits == 8 else 65535) - samples if white else samples
    channels = samples.shape[2]
    if planar:
        samples = np.moveaxis(samples, 2, 0)
    kind = "miniswhite" if white else "rgb" if channels >= 3 else "minisblack"
    options |= {"planarconfig": "separate" if planar else "contig"} if channels > 1 else {}
    if compression in EXACT:
        options["compressionargs"] = EXACT[compression]
    tifffile.imwrite(path, samples if channels > 1 else samples[..., 0], photometric=kind, compression=compression,
                     extrasamples=[alpha] if alpha else None, metadata=None, **options)  # type: ignore
    return path


def grid() -> list[tuple[object, ...]]:
    """Bits, channels, planar, compression, byte order, tiles, predictor, BigTIFF."""
    kinds = itertools.product((8, 16), (1, 2, 3, 4), (False, True), LOSSLESS, "<>", (False, True), (False, True))
    return [(bits, channels, planar, compression, order, tiled, predictor, (bits + channels + tiled) % 2 == 0)
            for bits, channels, planar, compression, order, tiled, predictor in kinds
            if not (planar and channels == 1) and not (predictor and compression not in ("lzw", "zlib", "zstd", "lzma"))
            and not (compression == "webp" and (bits == 16 or channels < 3 or planar))
            and not (compression == "jpegxl" and not planar and channels == 2)
            and not (compression in ("jpegxl", "png", "jpeg2000") and bits == 16 and order == ">")]


def test_every_layout_of_the_grid_gives_its_pixels(tmp_path: Path):
    done = 0
    for bits, channels, planar, compression, order, tiled, predictor, big in grid():
        pixels = scene(channels)  # type: ignore
        for alpha in (("unassalpha", "assocalpha", "unspecified") if channels in (2, 4) else ("",)):
            options = {"tile": (32, 16)} if tiled else {"rowsperstrip": 10}
            case = f"{bits} {channels} {alpha} planar={planar} {compression} {order} {options} {predictor} {big}"
            path = written(tmp_path / "grid.tif", pixels, bits, alpha=alpha, planar=planar, compression=compression,  # type: ignore
                           byteorder=order, predictor=predictor, bigtiff=big, **options)  # type: ignore
            expected = shown(pixels, "" if alpha == "unspecified" else alpha)
            read = read_image(path)
            assert read.shape == (HEIGHT, WIDTH, 3), case
            assert np.abs(read.astype(int) - expected).max() <= (1 if alpha else 0), case
            assert image_size(path) == (WIDTH, HEIGHT), case
            done += 1
    assert done > 800


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits(bits: int, tiled: bool, order: str, tmp_path: Path):
    pixels = scene(3)
    options = {"tile": (32, 16)} if tiled else {"rowsperstrip": 10}
    samples = pixels.astype(np.uint16) << (bits - 8)
    path = tmp_path / "packed.tif"
    write_packed(path, samples, bits, order, **options)  # type: ignore
    np.testing.assert_array_equal(read_image(path), pixels)


def write_packed(path: Path, samples: np.ndarray, bits: int, order: str, *, rowsperstrip: int = 0,
                 tile: tuple[int, int] | None = None) -> None:
    """An uncompressed RGB TIFF of packed samples, by hand: rows begin with a byte."""
    height, width, _ = samples.shape
    rows, columns = tile or (rowsperstrip, width)
    pieces = []
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            part = samples[top:top + rows, left:left + columns]
            if tile:
                part = np.pad(part, ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)))
            pieces.append(packed_rows(part.reshape(len(part), -1), bits))
    tags = [(256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * 3), (259, 3, [1]), (262, 3, [2]), (277, 3, [3])]
    at, offsets = 8, []
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    lengths = [len(piece) for piece in pieces]
    if tile:
        tags += [(322, 3, [columns]), (323, 3, [rows]), (324, 4, offsets), (325, 4, lengths)]
    else:
        tags += [(273, 4, offsets), (278, 3, [rows]), (279, 4, lengths)]
    path.write_bytes(header(order, at) + b"".join(pieces) + directory(order, at, sorted(tags)))


def packed_rows(rows: np.ndarray, bits: int) -> bytes:
    """Samples as a stream of bits, the highest first, each row from a byte on."""
    stream = ((rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(len(rows), -1).astype(np.uint8)
    return np.packbits(stream, axis=1).tobytes()


def header(order: str, first: int) -> bytes:
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, first)


def directory(order: str, at: int, entries: list[tuple[int, int, list[int]]], following: int = 0) -> bytes:
    """A directory at an offset, with its values behind it. entries: tag, type (3 short, 4 long), values."""
    head, behind = struct.pack(f"{order}H", len(entries)), b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", after + len(behind))
            behind += packed
        else:
            place = packed.ljust(4, b"\0")
        head += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
    return head + struct.pack(f"{order}I", following) + behind


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_few_bits_in_sixteen_are_the_picture_and_not_black(bits: int, tmp_path: Path):
    for channels, planar, tag in itertools.product((1, 3), (False, True), (False, True)):
        pixels = scene(channels)
        samples = pixels.astype(np.uint16) << (bits - 8)
        samples = np.moveaxis(samples, 2, 0) if planar and channels == 3 else samples
        extra = [(281, "H", 1, (1 << bits) - 1, False)] if tag else []
        tifffile.imwrite(tmp_path / "few.tif", samples.squeeze(), photometric="rgb" if channels == 3 else "minisblack",
                         planarconfig=("separate" if planar else "contig") if channels == 3 else None, metadata=None,
                         extratags=extra)
        np.testing.assert_array_equal(read_image(tmp_path / "few.tif"), shown(pixels))


def test_white_is_zero(tmp_path: Path):
    pixels = scene(1)
    for bits, compression, order, tiled in itertools.product((8, 16), (None, "lzw", "zstd"), "<>", (False, True)):
        path = written(tmp_path / "white.tif", pixels, bits, white=True, compression=compression, byteorder=order,
                       **({"tile": (16, 32)} if tiled else {}))  # type: ignore
        np.testing.assert_array_equal(read_image(path), shown(pixels))


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_white_is_zero_of_few_bits_in_sixteen(bits: int, tmp_path: Path):
    samples = (255 - scene(1)).astype(np.uint16) << (bits - 8)
    tifffile.imwrite(tmp_path / "white.tif", samples[..., 0], photometric="miniswhite", metadata=None)
    assert np.abs(read_image(tmp_path / "white.tif").astype(int) - shown(scene(1))).max() <= 1


def test_an_alpha_of_zero_everywhere_hides_nothing(tmp_path: Path):
    pixels = scene(4)
    pixels[..., 3] = 0
    for bits, planar, alpha in itertools.product((8, 16), (False, True), ("unassalpha", "assocalpha")):
        path = written(tmp_path / "clear.tif", pixels, bits, planar=planar, alpha=alpha)
        np.testing.assert_array_equal(read_image(path), pixels[..., :3])


@pytest.mark.parametrize(("samples", "options", "words"), [
    (np.zeros((9, 9, 3), np.float32), {"photometric": "rgb"}, "float32 values (32-bit values)"),
    (np.zeros((9, 9, 3), np.float16), {"photometric": "rgb"}, "float16 values"),
    (np.zeros((9, 9), np.float64), {}, "float64 values"),
    (np.zeros((9, 9), np.uint32), {}, "uint32 values (32-bit values)"),
    (np.zeros((9, 9), np.int16), {}, "int16 values"),
    (np.zeros((9, 9), np.complex64), {}, "complex float"),
    (np.zeros((9, 9, 3), np.uint8), {"photometric": "cielab"}, "CIELab colours"),
    (np.zeros((9, 9), np.uint8), {"photometric": "cfa"}, "raw sensor data"),
    (np.zeros((9, 9, 3), np.uint8), {"photometric": "minisblack", "planarconfig": "contig"}, "2 further channels"),
    (np.zeros((9, 9), np.uint8), {"compression": "lerc"}, "LERC"),
])
def test_what_is_not_read_is_refused_by_its_name(samples, options, words, tmp_path: Path):
    tifffile.imwrite(tmp_path / "odd.tif", samples, metadata=None, **options)
    for read in (read_image, image_size):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "odd.tif")
        assert words in str(caught.value)


@pytest.mark.skipif(not shutil.which("tiffcp"), reason="libtiff's tools are not installed")
def test_what_libtiffs_own_tools_write(tmp_path: Path):
    pixels = scene(3)
    source = written(tmp_path / "source.tif", pixels, 8)
    done = 0
    for codec, planar, layout, order, big in itertools.product(
            ("none", "lzw", "lzw:2", "zip", "zip:2", "packbits", "lzma", "zstd"), ("contig", "separate"),
            (("-s", "-r", "7"), ("-t", "-w", "32", "-l", "16")), ("-L", "-B"), ((), ("-8",))):
        done += check_copy(source, tmp_path / "copy.tif", pixels, "-c", codec, "-p", planar, *layout, order, *big)
    assert done >= 96
    for codec in ("jpeg:100", "jpeg:r:100"):
        for layout in (("-s", "-r", "16"), ("-t", "-w", "32", "-l", "16")):
            subprocess.run(["tiffcp", "-c", codec, *layout, str(source), str(tmp_path / "copy.tif")], check=True)
            assert np.abs(read_image(tmp_path / "copy.tif").astype(int) - by_libtiff(tmp_path / "copy.tif")).max() <= 3


def check_copy(source: Path, path: Path, pixels: np.ndarray, *options: str) -> bool:
    """Whether tiffcp knows the options; its copy must show the same."""
    done = subprocess.run(["tiffcp", *options, str(source), str(path)], capture_output=True, check=False)
    if done.returncode:
        return False
    np.testing.assert_array_equal(read_image(path), pixels, err_msg=str(options))
    return True


def by_libtiff(path: Path) -> np.ndarray:
    """The pixels as Pillow reads them, with libtiff."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.skipif(not shutil.which("tiffmedian"), reason="libtiff's tools are not installed")
def test_palettes_and_bits_of_libtiffs_tools(tmp_path: Path):
    pixels = scene(3)
    source = written(tmp_path / "source.tif", pixels, 8)
    made = tmp_path / "made.tif"
    subprocess.run(["tiffmedian", str(source), str(made)], check=True)
    np.testing.assert_array_equal(read_image(made), by_libtiff(made))
    grey = written(tmp_path / "grey.tif", scene(1), 8)
    subprocess.run(["tiffdither", str(grey), str(made)], check=True)
    np.testing.assert_array_equal(read_image(made), by_libtiff(made))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_chroma_of_several_pixels_is_spread_as_libtiff_does(subsampling: tuple[int, int], tmp_path: Path):
    """TIFF 6.0, section 21: the Y of a block, then its Cb and Cr."""
    across, down = subsampling
    random = np.random.default_rng(2)
    blocks = random.integers(60, 200, (-(-HEIGHT // down), -(-WIDTH // across), across * down + 2), dtype=np.uint8)
    content = zlib.compress(blocks.tobytes())
    tags = [(256, 3, [WIDTH]), (257, 3, [HEIGHT]), (258, 3, [8, 8, 8]), (259, 3, [8]), (262, 3, [6]), (273, 4, [8]),
            (277, 3, [3]), (278, 3, [HEIGHT]), (279, 4, [len(content)]), (530, 3, [across, down])]
    path = tmp_path / "chroma.tif"
    path.write_bytes(header("<", 8 + len(content)) + content + directory("<", 8 + len(content), tags))
    assert np.abs(read_image(path).astype(int) - by_libtiff(path)).max() <= 2


def test_a_volume_is_refused(tmp_path: Path):
    tags = [(256, 3, [4]), (257, 3, [4]), (258, 3, [8]), (262, 3, [1]), (273, 4, [8]), (279, 4, [64]), (32997, 4, [4])]
    (tmp_path / "volume.tif").write_bytes(header("<", 72) + bytes(64) + directory("<", 72, tags))
    with pytest.raises(ImageError, match="it is a volume"):
        read_image(tmp_path / "volume.tif")


def test_pieces_that_do_not_suit_the_image_are_refused_before_they_are_decoded(tmp_path: Path):
    for side in (1 << 15, 1 << 31):
        tags = [(256, 4, [64]), (257, 4, [64]), (258, 3, [8]), (262, 3, [1]), (322, 4, [side]), (323, 4, [side]),
                (324, 4, [8]), (325, 4, [100])]
        (tmp_path / "tile.tif").write_bytes(header("<", 108) + bytes(100) + directory("<", 108, tags))
        with pytest.raises(ImageError, match="do not suit an image of 64 x 64 px"):
            read_image(tmp_path / "tile.tif")


def test_a_picture_inside_a_strip_that_states_more_pixels_is_refused(tmp_path: Path):
    for codec in ("jpeg2000", "png", "webp", "jpeg"):
        pixels = np.zeros((400, 400, 3), np.uint8)
        tifffile.imwrite(tmp_path / "inner.tif", pixels, photometric="rgb", compression=codec, metadata=None,
                         rowsperstrip=400)
        content = bytearray((tmp_path / "inner.tif").read_bytes())
        with tifffile.TiffFile(tmp_path / "inner.tif") as tiff:
            page = tiff.pages.first
            places = {name: page.tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip")}
        for name, place in places.items():
            content[place:place + 4] = struct.pack("<I" if page.tags[name].dtype == 4 else "<HH",
                                                   *((40,) if page.tags[name].dtype == 4 else (40, 0)))
        (tmp_path / "inner.tif").write_bytes(content)
        with pytest.raises(ImageError, match=r"in a strip or tile of 40 x 40 px"):
            read_image(tmp_path / "inner.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "packbits", "lzma", "jpeg", "png", "webp"])
def test_damage_inside_a_tiff_is_mostly_named(compression: str | None, tmp_path: Path):
    """Codecs without a checksum decode some damage to as many pixels, which nobody can notice; none prints a line."""
    noise = np.random.default_rng(4).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "whole.tif", noise, photometric="rgb", compression=compression, metadata=None)
    content, path = (tmp_path / "whole.tif").read_bytes(), tmp_path / "damaged.tif"
    noticed = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        changed = bytearray(content)
        at = int(random.integers(len(changed) // 3, 2 * len(changed) // 3))
        changed[at:at + 20] = random.integers(0, 256, 20, dtype=np.uint8).tobytes()
        path.write_bytes(changed)
        try:
            read_image(path)
        except ImageError:
            noticed += 1
    least = {None: 0, "packbits": 0, "zstd": 0, "lzw": 20, "jpeg": 25, "webp": 0}.get(compression, 40)
    assert noticed >= least, noticed


@pytest.mark.parametrize("luma", [(299, 587, 114), (2126, 7152, 722)])
@pytest.mark.parametrize("levels", [None, (0, 255, 128, 255, 128, 255), (16, 235, 128, 240, 128, 240)])
def test_chroma_is_read_with_the_levels_and_shares_that_the_page_states(luma, levels, tmp_path: Path):
    """TIFF 6.0, section 21: by default full range and the shares of ITU-R BT.601; video has 16 to 235 or 240."""
    rgb, shares = scene(3).astype(float), np.array(luma) / sum(luma)
    light = rgb @ shares
    parts = [light, (rgb[..., 2] - light) / (2 - 2 * shares[2]), (rgb[..., 0] - light) / (2 - 2 * shares[0])]
    low, high = (levels or (0, 255, 128, 255, 128, 255))[::2], (levels or (0, 255, 128, 255, 128, 255))[1::2]
    stored = np.stack([part / code * (top - bottom) + bottom for part, code, bottom, top in zip(
        parts, (255, 127, 127), low, high, strict=True)], axis=-1)
    content = np.rint(stored).clip(0, 255).astype(np.uint8).tobytes()
    extra = [(529, 2, 3, tuple(value for share in luma for value in (share, sum(luma))))]
    extra += [(532, 2, 6, tuple(value for level in levels for value in (level, 1)))] if levels else []
    tifffile.imwrite(tmp_path / "chroma.tif", np.frombuffer(content, np.uint8).reshape(HEIGHT, WIDTH, 3),
                     photometric="ycbcr", subsampling=(1, 1), metadata=None,
                     extratags=[(tag, "2I", count, values, True) for tag, _, count, values in extra])
    assert np.abs(read_image(tmp_path / "chroma.tif").astype(int) - scene(3)).max() <= 3


def test_chroma_without_a_meaning_is_refused(tmp_path: Path):
    tifffile.imwrite(tmp_path / "chroma.tif", scene(3), photometric="ycbcr", subsampling=(1, 1), metadata=None,
                     extratags=[(532, "2I", 6, (7, 1) * 6, True)])
    with pytest.raises(ImageError, match="give no colours"):
        read_image(tmp_path / "chroma.tif")


@pytest.mark.parametrize("planar", [False, True])
def test_further_samples_are_not_shown_and_cost_no_memory(planar: bool, tmp_path: Path):
    pixels = np.dstack([scene(3), *[scene(1)] * 9])
    path = written(tmp_path / "many.tif", pixels, 8, planar=planar, compression="zlib")
    np.testing.assert_array_equal(read_image(path), scene(3))


def test_a_strip_that_unpacks_to_gigabytes_is_refused_before(tmp_path: Path):
    bits, at = struct.pack("<8H", *[16] * 8), 24
    entries = [(256, 4, 1, 9_000), (257, 4, 1, 9_000), (258, 3, 8, 8), (259, 3, 1, 8), (262, 3, 1, 2), (273, 4, 1, 8),
               (277, 3, 1, 8), (278, 4, 1, 9_000), (279, 4, 1, 16)]
    (tmp_path / "bomb.tif").write_bytes(header("<", at) + bits + struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in entries) + bytes(4))
    with pytest.raises(ImageError, match=r"strips of 9,000 x 9,000 px unpack to 1,296,000,000 bytes each"):
        read_image(tmp_path / "bomb.tif")


def test_a_predictor_that_the_compression_does_not_know_means_nothing(tmp_path: Path):
    """Programs that unpack a TIFF leave the tag standing; libtiff ignores it."""
    for compression in (None, "packbits"):
        tifffile.imwrite(tmp_path / "left.tif", scene(3), photometric="rgb", compression=compression, metadata=None,
                         extratags=[(317, "H", 1, 2, True)])
        np.testing.assert_array_equal(read_image(tmp_path / "left.tif"), scene(3))


def test_colours_without_their_bits_are_refused(tmp_path: Path):
    content = scene(3).tobytes()
    tags = [(256, 3, [WIDTH]), (257, 3, [HEIGHT]), (262, 3, [2]), (273, 4, [8]), (277, 3, [3]),
            (279, 4, [len(content)])]
    at = 8 + len(content)
    (tmp_path / "bits.tif").write_bytes(header("<", at) + content + directory("<", at, tags))
    with pytest.raises(ImageError, match="does not state the bits"):
        read_image(tmp_path / "bits.tif")


@pytest.mark.parametrize("inside", ["CMYK", "YCCK"])
def test_inks_in_a_jpeg_are_read_as_the_jpeg_stores_them(inside: str, tmp_path: Path):
    inks = np.full((HEIGHT, WIDTH, 4), (200, 40, 90, 20), np.uint8)
    content = bytes(imagecodecs.jpeg_encode(inks, 98, colorspace="CMYK", outcolorspace=inside))
    tags = [(256, 3, [WIDTH]), (257, 3, [HEIGHT]), (258, 3, [8] * 4), (259, 3, [7]), (262, 3, [5]), (273, 4, [8]),
            (277, 3, [4]), (278, 3, [HEIGHT]), (279, 4, [len(content)])]
    at = 8 + len(content) + len(content) % 2
    (tmp_path / "inks.tif").write_bytes(header("<", at) + content.ljust(at - 8, b"\0") + directory("<", at, tags))
    light = 255 - inks.astype(int)
    assert np.abs(read_image(tmp_path / "inks.tif") - light[..., :3] * light[..., 3:] / 255).max() <= 4
