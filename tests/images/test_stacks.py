"""One field of a smear is one field, however a TIFF stores it: with reduced copies, in planes of focus, by channels."""

from __future__ import annotations

import cProfile
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
import tifffile

from leukoscope.errors import ImageError
from leukoscope.images import stacks, tiff_pieces, tiff_tags
from leukoscope.images.read import image_size, read_image
from leukoscope.images.stacks import fields_of_tiff
from leukoscope.predict.sources import Source, look_through
from smear_fields import phantom

RGB = {"photometric": "rgb", "metadata": None}


@cache
def scene(number: int = 0) -> np.ndarray:
    """A field of a smear; each number another one."""
    return np.ascontiguousarray(phantom(number).pixels[:320, :400])


def reduced(pixels: np.ndarray, by: int) -> np.ndarray:
    size = pixels.shape[1] // by, pixels.shape[0] // by
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def write(path: Path, *pages: tuple[np.ndarray, Mapping[str, object]]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for pixels, options in pages:
            tiff.write(pixels, **({"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "metadata": None}  # type: ignore
                                  | dict(options)))
    return path


def only_source(path: Path) -> np.ndarray:
    """The pixels of the one field that prediction finds in a file."""
    (source,) = look_through([path]).sources
    return source.read()


def left_out(path: Path) -> list[str]:
    return [one.reason for one in look_through([path]).left_out]


def looked_through(path: Path) -> tuple[list[Source], int]:
    """The fields of a file, and how many functions finding them calls: what it costs, however busy the machine is."""
    profile = cProfile.Profile()
    listed = profile.runcall(look_through, [path])
    return listed.sources, sum(entry.callcount for entry in profile.getstats())


@dataclass
class Reads:
    """Reads of TIFF files: how many, and how many bytes. More than any test allows end at once: code that reads the
    same again and again would take minutes."""

    count: int = 0
    length: int = 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    done, read = Reads(), tiff_tags.read_at

    def counted(file: BinaryIO, at: int, length: int) -> bytes:
        done.count, done.length = done.count + 1, done.length + length
        if done.count > 200_000 or done.length > 400_000_000:
            raise AssertionError(f"{done.count:,} reads of {done.length:,} bytes")
        return read(file, at, length)

    for module in (tiff_tags, tiff_pieces):
        monkeypatch.setattr(module, "read_at", counted)
    return done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "field.tif"


def test_reduced_pages_labels_and_macros_that_say_so_are_left_out_by_name(path: Path):
    field = scene()
    write(path, (field, {}), (reduced(field, 2), {"subfiletype": 1}), (reduced(field, 4), {"subfiletype": 1}),
          (scene(1)[:100, :90], {"description": "label"}), (scene(2)[:80, :200], {"subfiletype": 9}))
    np.testing.assert_array_equal(only_source(path), field)
    assert left_out(path) == ["pages 1, 2 (counted from 0): a reduced copy", "page 3 (counted from 0): the label",
                              "page 4 (counted from 0): the macro picture of the slide"]
    np.testing.assert_array_equal(read_image(path), field)  # as an index and a training read it
    assert image_size(path) == (400, 320)


def test_a_page_that_is_called_label_or_thumbnail_is_none(path: Path):
    named = [(scene(number), {"extratags": [(285, 2, 0, name, True)]}) for number, name in enumerate(
        ("Scan 1", "Label", "Thumbnail image"))]
    np.testing.assert_array_equal(only_source(write(path, *named)), scene())
    assert left_out(path) == ["page 1 (counted from 0): the label", "page 2 (counted from 0): the thumbnail"]


def test_a_thumbnail_that_comes_first_is_not_the_field(path: Path):
    write(path, (reduced(scene(), 4), {"subfiletype": 1}), (scene(), {}))
    np.testing.assert_array_equal(only_source(path), scene())


def test_the_full_image_behind_a_thumbnail_is_the_field(path: Path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(reduced(scene(), 4), subfiletype=1, subifds=1, **RGB)
        tiff.write(scene(), **RGB)
    np.testing.assert_array_equal(only_source(path), scene())
    np.testing.assert_array_equal(read_image(path), scene())


def test_reduced_copies_below_a_page_are_no_fields(path: Path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scene(), subifds=2, tile=(64, 64), **RGB)
        tiff.write(reduced(scene(), 2), subfiletype=1, tile=(64, 64), **RGB)
        tiff.write(reduced(scene(), 4), subfiletype=1, tile=(64, 64), **RGB)
    np.testing.assert_array_equal(only_source(path), scene())


def test_reduced_copies_that_do_not_say_so_are_known_by_what_they_show(path: Path):
    write(path, (scene(), {}), (reduced(scene(), 2), {}), (reduced(scene(), 4), {}))
    np.testing.assert_array_equal(only_source(path), scene())
    assert left_out(path) == ["pages 1, 2 (counted from 0): a reduced copy of page 0"]
    write(path, (scene(), {}), (reduced(scene(1), 2), {}))  # a smaller field of another place is a field
    assert len(look_through([path]).sources) == 2


@pytest.mark.parametrize("head", ["Aperio Image Library v12\r\n400x320|MPP = 0.25", "<scn xmlns='x'>", "Philips DP"])
def test_a_scan_of_a_slide_is_its_largest_page(head: str, path: Path):
    write(path, (reduced(scene(), 2), {"description": head}), (scene(), {}), (scene(1)[:60, :60], {}))
    np.testing.assert_array_equal(only_source(path), scene())
    assert len(left_out(path)) == 1


def test_of_planes_of_focus_the_sharpest_is_taken_and_said(path: Path):
    planes = [blurred(scene(), 3), blurred(scene(), 1), scene(), blurred(scene(), 2)]
    for options in ({"imagej": True, "metadata": {"axes": "ZYXS"}}, {"ome": True, "metadata": {"axes": "ZYXS"}},
                    {"metadata": {"axes": "ZYXS"}}, {"metadata": None}):
        tifffile.imwrite(path, np.stack(planes), photometric="rgb", **options)  # type: ignore
        (source,) = look_through([path]).sources
        np.testing.assert_array_equal(source.read(), scene())
        assert source.note == ("4 pages show one field in planes of focus: the sharpest, page 2 (counted from 0), is "
                               "used"), options
        for read in (read_image, image_size):  # an index refuses what a training could not choose from
            with pytest.raises(ImageError, match="contains 4 frames or pages"):
                read(path)


def test_planes_that_show_different_places_are_fields_whatever_they_are_called(path: Path):
    """ImageJ's "Images to Stack" calls them slices."""
    tifffile.imwrite(path, np.stack([scene(0), scene(1), scene(2)]), imagej=True, metadata={"axes": "ZYXS"})
    sources = look_through([path]).sources
    assert len(sources) == 3
    assert "each shows another scene" in sources[0].note
    for number, source in enumerate(sources):
        np.testing.assert_array_equal(source.read(), scene(number))


@pytest.mark.parametrize("axes", ["T", "Q", None])
def test_time_points_and_positions_are_fields(axes: str | None, path: Path):
    kinds = ({"imagej": True}, {"ome": True}, {}) if axes == "T" else ({},)
    for options in kinds:
        metadata = None if axes is None else {"axes": f"{axes}YXS"}
        tifffile.imwrite(path, np.stack([scene(0), scene(1)]), photometric="rgb", metadata=metadata, **options)  # type: ignore
        sources = look_through([path]).sources
        assert len(sources) == 2
        for number, source in enumerate(sources):
            np.testing.assert_array_equal(source.read(), scene(number))
            assert not source.note


def test_planes_of_focus_of_several_time_points_are_a_field_each(path: Path):
    planes = np.stack([np.stack([blurred(scene(t), 3), scene(t)]) for t in range(2)])
    for options in ({"imagej": True}, {"ome": True}, {}):
        tifffile.imwrite(path, planes, photometric="rgb", metadata={"axes": "TZYXS"}, **options)  # type: ignore
        sources = look_through([path]).sources
        assert [source.page for source in sources] == [1, 3]
        for number, source in enumerate(sources):
            np.testing.assert_array_equal(source.read(), scene(number))


def test_channels_that_are_pages_are_joined_into_colour(path: Path):
    channels = np.moveaxis(scene(), -1, 0)
    for options in ({"imagej": True, "metadata": {"axes": "CYX"}}, {"ome": True, "metadata": {"axes": "CYX"}},
                    {"metadata": {"axes": "CYX"}}):
        tifffile.imwrite(path, channels, photometric="minisblack", **options)  # type: ignore
        (source,) = look_through([path]).sources
        np.testing.assert_array_equal(source.read(), scene())
        assert source.note == "pages 0, 1, 2 are joined as red, green and blue"
        np.testing.assert_array_equal(read_image(path), scene())
        assert image_size(path) == (400, 320)


def test_channels_are_joined_by_their_names(path: Path):
    names = {"axes": "CYX", "Channel": {"Name": ["Blue", "Green", "Red"]}}
    tifffile.imwrite(path, np.moveaxis(scene()[..., ::-1], -1, 0), photometric="minisblack", ome=True, metadata=names)
    np.testing.assert_array_equal(only_source(path), scene())
    names["Channel"]["Name"] = ["DAPI", "FITC", "TRITC"]
    tifffile.imwrite(path, np.moveaxis(scene(), -1, 0), photometric="minisblack", ome=True, metadata=names)
    with pytest.raises(ImageError, match=r"3 channels \(DAPI, FITC, TRITC\) are pages of their own"):
        only_source(path)


def test_other_numbers_of_channels_are_refused_in_words(path: Path):
    for count in (2, 4):
        channels = np.stack([scene()[..., i % 3] for i in range(count)])
        tifffile.imwrite(path, channels, photometric="minisblack", imagej=True, metadata={"axes": "CYX"})
        for read in (only_source, read_image, image_size):
            with pytest.raises(ImageError, match=f"its {count} channels are pages of their own"):
                read(path)


def test_grey_pages_of_one_scene_may_be_colours_and_are_refused(path: Path):
    for metadata in (None, {"axes": "ZYX"}):
        tifffile.imwrite(path, np.moveaxis(scene(), -1, 0), photometric="minisblack", metadata=metadata)
        with pytest.raises(ImageError, match="planes of focus, or red, green and blue"):
            only_source(path)


def test_the_main_image_of_ome_is_the_field_and_label_and_macro_are_not(path: Path):
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(scene(), photometric="rgb", metadata={"axes": "YXS", "Name": "field 1"})
        tiff.write(scene(1)[:90, :120], photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})
        tiff.write(scene(2)[:90, :200], photometric="rgb", metadata={"axes": "YXS", "Name": "Macro"})
        tiff.write(scene(3), photometric="rgb", metadata={"axes": "YXS", "Name": "field 2"})
    assert len(look_through([path]).sources) == 2
    assert left_out(path) == ["page 1 (counted from 0): the label", "page 2 (counted from 0): the macro"]


def test_single_cells_in_a_stack_are_cells(path: Path):
    """Cells of one size in the middle look alike, but are not one scene."""
    cells = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        cell = np.full((120, 120, 3), (240, 225, 205), np.uint8)
        centre = (int(60 + random.integers(-6, 6)), int(60 + random.integers(-6, 6)))
        axes = (int(random.integers(20, 32)), int(random.integers(14, 30)))
        cv2.ellipse(cell, centre, axes, float(random.integers(180)), 0, 360, (110, 60, 150), -1)
        for _ in range(5):
            x, y = random.integers(0, 120, 2)
            cv2.circle(cell, (int(x), int(y)), 18, (225, 150, 160), -1)
        cells.append(cell)
    tifffile.imwrite(path, np.stack(cells), **RGB)
    assert len(look_through([path]).sources) == 6


def test_missing_planes_of_a_field_are_refused(path: Path):
    tifffile.imwrite(path, scene(), photometric="rgb", metadata=None, description="ImageJ=1.53\nimages=3\nslices=3\n")
    for read in (only_source, read_image):
        with pytest.raises(ImageError, match="2 of its 3 planes are missing"):
            read(path)


def mask(pixels: np.ndarray) -> np.ndarray:
    """255 where a nucleus is, else 0."""
    grey = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    return np.where(grey < np.median(grey) - 70, 255, 0).astype(np.uint8)


def labels(pixels: np.ndarray) -> np.ndarray:
    """The number of its cell in each pixel, int32."""
    return cv2.connectedComponents(mask(pixels))[1]


OF_FIRST = "page 1 (counted from 0): a mask or label image of page 0"
NUMBERS = "page 1 (counted from 0): {} values, which are no grey levels"


@pytest.mark.parametrize(("page", "options", "reason"), [
    (mask, {}, OF_FIRST),
    (lambda field: mask(field) // 255, {}, OF_FIRST),
    (lambda field: mask(field).astype(np.uint16) * 257, {}, OF_FIRST),
    (lambda field: 255 - mask(field), {"photometric": "miniswhite"}, OF_FIRST),
    (lambda field: np.repeat(mask(field)[..., None], 3, axis=-1), {}, OF_FIRST),
    (lambda field: np.repeat(mask(field)[..., None], 3, axis=-1), {"compression": "jpeg"}, OF_FIRST),
    (lambda field: reduced(mask(field), 2), {}, OF_FIRST),
    (lambda field: np.zeros(field.shape[:2], np.uint8), {}, OF_FIRST),  # of no cell
    (lambda field: labels(field).astype(np.uint8), {}, OF_FIRST),
    (lambda field: labels(field).astype(np.uint16) * 300, {}, OF_FIRST),
    (lambda field: labels(field).astype(np.uint8), {"photometric": "palette", "colormap": np.arange(
        768, dtype=np.uint16).reshape(3, 256) * 77}, OF_FIRST),
    (lambda field: mask(field) > 0, {}, "page 1 (counted from 0): a mask of one bit"),
    (lambda field: mask(field) > 0, {"subfiletype": 4}, "page 1 (counted from 0): a transparency mask"),
    (lambda field: mask(field) > 0, {"photometric": 4}, "page 1 (counted from 0): a transparency mask"),
    (labels, {}, NUMBERS.format("int32")),
    (lambda field: labels(field).astype(np.uint32), {}, NUMBERS.format("uint32")),
    (lambda field: field[..., 0].astype(np.float32), {}, NUMBERS.format("float32")),
])
def test_a_mask_or_label_image_beside_a_field_is_none(page, options, reason: str, path: Path):
    write(path, (scene(), {}), (page(scene()), options))
    np.testing.assert_array_equal(only_source(path), scene())
    assert left_out(path) == [reason]


def test_masks_of_several_fields_are_left_out_wherever_they_lie(path: Path):
    write(path, (mask(scene()), {}), (scene(), {}), (scene(1), {}), (mask(scene(1)), {}))
    assert [source.page for source in look_through([path]).sources] == [1, 2]
    assert left_out(path) == ["page 0 (counted from 0): a mask or label image of page 1",
                              "page 3 (counted from 0): a mask or label image of page 2"]
    grey = [scene(number)[..., 1] for number in (0, 1)]
    write(path, (grey[0], {}), (mask(scene()), {}), (grey[1], {}))  # of a grey camera
    assert [source.page for source in look_through([path]).sources] == [0, 2]


def test_a_mask_among_slices_or_images_of_a_description_is_left_out(path: Path):
    pages = np.stack([scene(), np.repeat(mask(scene())[..., None], 3, axis=-1)])
    for options in ({"imagej": True, "metadata": {"axes": "ZYXS"}}, {"ome": True, "metadata": {"axes": "TYXS"}}):
        tifffile.imwrite(path, pages, photometric="rgb", **options)  # type: ignore
        np.testing.assert_array_equal(only_source(path), scene())
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(scene(), photometric="rgb", metadata={"axes": "YXS", "Name": "field"})
        tiff.write(labels(scene()).astype(np.uint32), photometric="minisblack",
                   metadata={"axes": "YX", "Name": "cells"})
    np.testing.assert_array_equal(only_source(path), scene())
    assert left_out(path) == [NUMBERS.format("uint32")]


def test_masks_are_left_out_of_more_pages_than_are_all_looked_at(path: Path):
    write(path, *((page, {}) for place in places(40) for page in (place, mask(place))))
    assert [source.page for source in look_through([path]).sources] == list(range(0, 80, 2))


def test_pages_of_little_content_that_are_fields_stay_fields(path: Path):
    """A place without cells, white where it is overexposed; a field of a black and white camera; masks alone."""
    white = np.full_like(scene(), 255)
    white[100:130, 100:140] = (150, 90, 160)
    sparse = np.full_like(scene()[..., 1], 255)  # a clipped place with one cell, of a grey camera
    sparse[230:300, 20:90] = 10
    for pages in ((scene(), white), (scene(), scene(1)[..., 1]), (mask(scene()), mask(scene(1))),
                  (scene()[..., 1], sparse)):
        write(path, *((page, {}) for page in pages))
        assert len(look_through([path]).sources) == 2
        assert not left_out(path)


def test_what_is_larger_than_the_photograph_beside_it_is_no_map_of_it(path: Path):
    """Else a thumbnail, or a strip of another place, would be counted in place of the field."""
    grey = scene()[..., 1]
    for small in (reduced(scene(1), 3), scene(1)[:60, :150].copy()):
        for field in (grey.astype(np.float32), grey.astype(np.uint32), mask(scene())):
            write(path, (small, {}), (field, {}))
            assert not any("no grey levels" in line or "a mask" in line for line in left_out(path))


def test_pages_and_masks_of_many_sizes_are_matched(path: Path):
    """Each mask is of the nearest page that it fits, whether that lies before or behind it."""
    write(path, (scene(), {}), (mask(scene(1))[:90], {}), (scene(1)[:90].copy(), {}), (mask(scene()), {}))
    assert left_out(path) == ["page 1 (counted from 0): a mask or label image of page 2",
                              "page 3 (counted from 0): a mask or label image of page 0"]


def test_a_mask_beside_a_field_that_cannot_be_decoded_is_left_out_all_the_same(path: Path):
    write(path, (scene(), {"compression": "zlib"}), (np.repeat(mask(scene())[..., None], 3, axis=-1), {}))
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start:start + 64] = bytes(64)
    path.write_bytes(content)
    assert left_out(path) == [OF_FIRST]


def test_a_file_of_masks_alone_is_refused_as_before(path: Path):
    write(path, (mask(scene()) > 0, {"photometric": 4}))
    with pytest.raises(ImageError, match="it shows a mask"):
        only_source(path)


@pytest.mark.parametrize("kind", ["frames", "slices", "channels", "images"])
def test_a_header_that_states_a_million_pages_costs_nothing(kind: str, path: Path):
    stated = "images=1000000\n" + ("" if kind == "images" else f"{kind}=1000000\n")
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), metadata=None, description=f"ImageJ=1.53\n{stated}")
    sources, steps = looked_through(path)
    assert len(sources) <= 23
    assert steps < 20_000
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), metadata=None, description='{"shape": [1000000, 8, 8]}')
    last = look_through([path]).sources[-1]
    with pytest.raises(ImageError, match="pages 21 to 999,999 are missing"):
        last.read()


def test_a_chain_of_empty_directories_is_one_damaged_file(path: Path, reads: Reads):
    count = 16_000
    chain = b"".join(struct.pack("<HI", 0, 8 + 6 * (i + 1) if i + 1 < count else 0) for i in range(count))
    path.write_bytes(b"II*\0\x08\0\0\0" + chain)
    with pytest.raises(ImageError, match="a directory holds no image"):
        only_source(path)
    assert reads.count < 50


def test_directories_without_pixels_are_no_images(path: Path):
    count, size = 16_000, 30
    chain = b"".join(struct.pack("<HHHIIHHIII", 2, 256, 4, 1, 8, 257, 4, 1, 8, 8 + size * (i + 1))
                     for i in range(count))
    path.write_bytes(b"II*\0\x08\0\0\0" + chain)
    with pytest.raises(ImageError, match="a directory holds no image"):
        only_source(path)


def test_reading_page_by_page_takes_no_longer_for_each_page_and_is_never_of_an_older_file(path: Path, reads: Reads):
    pages = np.random.default_rng(0).integers(0, 255, (800, 16, 16), np.uint8)
    for seconds, content in enumerate((pages, 255 - pages)):
        tifffile.imwrite(path, content, photometric="minisblack", metadata=None)
        os.utime(path, (10**9 + seconds, 10**9 + seconds))  # as if it had lain there
        reads.count = 0
        for number in range(len(content)):
            assert read_image(path, page=number)[0, 0, 0] == content[number, 0, 0]
        assert reads.count < 40 * len(content)  # some 1,600 for each where each page looks at all directories
    before = os.stat(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))  # as if it had lain there
    assert read_image(path, page=7)[0, 0, 0] == 255 - pages[7, 0, 0]
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)
    assert read_image(path, page=7)[0, 0, 0] == pages[7, 0, 0]


def test_more_pages_than_anyone_has_are_not_read(path: Path):
    """Directories of a chain that all show the same strip."""
    entries = [(256, 8), (257, 8), (258, 8), (262, 1), (273, 8), (278, 8), (279, 64)]
    size, count = 2 + 12 * len(entries) + 4, 11_000
    chain = b"".join(struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value)
                                                                for tag, value in entries)
                     + struct.pack("<I", 72 + size * (i + 1) if i + 1 < count else 0) for i in range(count))
    path.write_bytes(b"II*\0" + struct.pack("<I", 72) + bytes(64) + chain)
    with pytest.raises(ImageError, match="more than 10,000 pages"):
        read_image(path)
    assert fields_of_tiff(path).total == 10_001


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.tif")
    (source,) = look_through([tmp_path]).sources
    with pytest.raises(ImageError, match="is not a regular file"):
        source.read()


def test_a_stack_of_metamorph_is_refused(path: Path):
    tifffile.imwrite(path, scene(), photometric="rgb", metadata=None, extratags=[(33629, "I", 12, (0,) * 12, True)])
    with pytest.raises(ImageError, match="a MetaMorph stack"):
        only_source(path)


def test_a_description_that_a_program_has_copied_from_another_image_says_nothing(path: Path):
    """ImageMagick makes a colour image grey, or smaller, and keeps what tifffile wrote about it."""
    for stale in ((320, 400, 3), (9, 320, 400, 3), (640, 400), (3, 400, 320)):
        tifffile.imwrite(path, scene()[..., 0], photometric="minisblack", metadata=None,
                         description=f'{{"shape": {list(stale)}}}')
        np.testing.assert_array_equal(only_source(path)[..., 0], scene()[..., 0])


@pytest.mark.parametrize("text", [
    "<?xml?><OME><Image><Pixels", '<!DOCTYPE x [<!ENTITY a "b">]><OME/>',
    "<OME><Image><Pixels SizeZ='x'/></Image></OME>",
    "<OME><Image><Pixels SizeZ='99999999' SizeC='1' SizeT='9' DimensionOrder='XYZCT'/></Image></OME>", "<OME/>",
    '{"shape": [1e999]}', '{"shape": "a"}', "ImageJ=\nimages=9999999999999\nslices=-1"])
def test_descriptions_that_are_damaged_say_nothing(text: str, path: Path):
    write(path, (scene(), {"description": text}))
    np.testing.assert_array_equal(only_source(path), scene())


def test_copies_of_every_field_are_left_out_and_not_of_the_largest_alone(path: Path):
    for pages in ((scene(), reduced(scene(), 4), scene(1), reduced(scene(1), 4)),
                  (scene(), scene(1), reduced(scene(), 2), reduced(scene(1), 2), reduced(scene(1), 4))):
        write(path, *((page, {}) for page in pages))
        sources = look_through([path]).sources
        assert len(sources) == 2
        for number, source in enumerate(sources):
            np.testing.assert_array_equal(source.read(), scene(number))


def places(count: int) -> list[np.ndarray]:
    """Places of smears, of 120 x 120 px, no two of which overlap."""
    size = 120
    fields = (phantom(number).pixels for number in range(count // 12 + 1))
    return [field[top:top + size, left:left + size] for field in fields
            for top in range(0, field.shape[0] - size + 1, size)
            for left in range(0, field.shape[1] - size + 1, size)][:count]


def test_of_more_planes_of_focus_than_are_compared_the_sharpest_is_taken_too(path: Path):
    planes = [blurred(scene(), 0.5 + 0.1 * abs(number - 31)) for number in range(80)]
    tifffile.imwrite(path, np.stack(planes), **RGB)
    (source,) = look_through([path]).sources
    assert "80 pages show one field in planes of focus: the sharpest, page 31 " in source.note


@pytest.mark.parametrize("by_plane", [False, True])
def test_many_pages_that_show_each_place_in_planes_of_focus_are_a_field_each(by_plane: bool, path: Path):
    planes = np.array([[blurred(place, sigma) for sigma in (1.0, 0.2, 0.6)] for place in places(30)])
    tifffile.imwrite(path, (planes.swapaxes(0, 1) if by_plane else planes).reshape(-1, *planes.shape[2:]), **RGB)
    assert [source.page for source in look_through([path]).sources] == (
        list(range(30, 60)) if by_plane else list(range(1, 90, 3)))


def test_pairs_of_planes_are_known_wherever_they_begin(path: Path):
    """With 128 pages every other one begins a pair; those that are compared are spread evenly over them."""
    first, last, *others = places(65)
    planes = [blurred(place, sigma) for place in others for sigma in (0.2, 1.0)]
    tifffile.imwrite(path, np.stack([first, *planes, last]), **RGB)
    assert len(look_through([path]).sources) == 65


def test_many_photographs_of_different_places_are_fields_and_few_of_them_are_compared(
        path: Path, monkeypatch: pytest.MonkeyPatch):
    different = places(66)
    pages = [turned for place in different for turned in (place, place[::-1], place[:, ::-1], place.transpose(1, 0, 2))]
    decoded = []
    detail = stacks._detail
    monkeypatch.setattr(stacks, "_detail", lambda *a, **k: (decoded.append(a[2]), detail(*a, **k))[1])
    tifffile.imwrite(path, np.stack(pages), **RGB)
    assert len(look_through([path]).sources) == len(pages)
    assert len(decoded) < 4 * stacks.MOST


def test_copies_of_many_fields_are_left_out(path: Path):
    write(path, *((page, {}) for place in places(40) for page in (place, reduced(place, 3))))
    assert [source.page for source in look_through([path]).sources] == list(range(0, 80, 2))


def test_planes_of_a_field_are_one_field_with_other_pages_between_them(path: Path):
    write(path, (scene(), {}), (scene(1), {}), (blurred(scene(), 2), {}), (blurred(scene(1), 2), {}))
    sources = look_through([path]).sources
    assert [source.page for source in sources] == [0, 1]
    assert all("2 pages show one field in planes of focus" in source.note for source in sources)


def damaged_page(path: Path, number: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[number]
        start, length = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start:start + length] = b"\x07" * length
    path.write_bytes(content)


def test_a_damaged_plane_is_named_and_parts_no_stack(path: Path):
    write(path, *((blurred(scene(), sigma), {"compression": "zlib"}) for sigma in (3, 1.5, 1, 0.8, 0.5)))
    damaged_page(path, 2)
    first, damaged = look_through([path]).sources
    np.testing.assert_array_equal(first.read(), blurred(scene(), 0.5))
    assert "4 pages show one field" in first.note
    with pytest.raises(ImageError, match="cannot be decoded"):
        damaged.read()


def test_a_smaller_page_beside_one_that_cannot_be_decoded_is_no_field_and_no_copy(path: Path):
    write(path, (scene(), {"compression": "zlib"}), (reduced(scene(1), 2), {}))
    damaged_page(path, 0)
    for source, words in zip(look_through([path]).sources, ("cannot be decoded", "may be a reduced copy of page 0"),
                             strict=True):
        with pytest.raises(ImageError, match=words):
            source.read()


def test_large_pages_are_compared_in_bands(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacks, "BAND", 4_000)
    pages = [cv2.resize(scene(number), (803, 641)) for number in (0, 1)]
    write(path, *((page, {}) for page in pages), (reduced(pages[1], 5), {}), (reduced(pages[0], 3), {}))
    assert left_out(path) == ["page 2 (counted from 0): a reduced copy of page 1",
                              "page 3 (counted from 0): a reduced copy of page 0"]


def test_the_larger_image_below_a_page_is_the_field_whatever_the_page_says(path: Path):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(reduced(scene(), 4), subifds=1, **RGB)
        tiff.write(scene(), **RGB)
    np.testing.assert_array_equal(only_source(path), scene())
    np.testing.assert_array_equal(read_image(path), scene())
    assert left_out(path) == ["page 0 (counted from 0): a reduced copy"]


def test_damaged_copies_below_a_page_do_not_matter(path: Path):
    write(path, (scene(), {"extratags": [(330, "I", 2, (1 << 30, 1 << 30), True)]}))
    np.testing.assert_array_equal(only_source(path), scene())


def chain(entries: list[tuple[int, int, int]], body: bytes, count: int) -> bytes:
    """A TIFF of `count` directories of 8 x 8 px, each with entries (tag, type, values) that lie in `body`."""
    tags = sorted([*((tag, 4, 1, value) for tag, value in ((256, 8), (257, 8), (258, 8), (262, 1), (273, 8), (278, 8),
                                                           (279, 64))),
                   *((tag, kind, values, 72) for tag, kind, values in entries)])
    size, start = 2 + 12 * len(tags) + 4, 72 + len(body)
    links = [start + size * (i + 1) if i + 1 < count else 0 for i in range(count)]
    head = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *entry) for entry in tags)
    return b"II*\0" + struct.pack("<I", start) + bytes(64) + body + b"".join(
        head + struct.pack("<I", link) for link in links)


@pytest.mark.parametrize(("tag", "kind", "size"), [(270, 2, 1), (285, 2, 1), (33629, 4, 4), (254, 4, 4), (330, 4, 4)])
def test_a_long_value_that_many_directories_share_costs_nothing(tag: int, kind: int, size: int, path: Path,
                                                                reads: Reads):
    length = 32 if tag == 330 else 8_000_000 // size
    body = b"Aperio ".ljust(length, b"x") if kind == 2 else bytes(length * size)
    path.write_bytes(chain([(tag, kind, length)], body, 2_000))
    assert look_through([path]).sources
    assert reads.length < 20 * path.stat().st_size  # 16 GB where each directory reads all of it


def test_directories_that_overlap_cost_nothing(path: Path, reads: Reads):
    """A directory of 60,000 tags begins at each of 3,000 places, every 12 bytes: 750 kB, and 180,000,000 tags."""
    entries, count, at = 60_000, 3_000, 100
    slots = bytearray(struct.pack("<HHIHH", 60_000, 3, 1, 0, 0) * (entries + count + 2))
    for place, (tag, value) in enumerate([(256, 8), (257, 8), (262, 1), (273, 8), (279, 64)], start=20_000):
        struct.pack_into("<HHIHH", slots, 12 * place, tag, 3, 1, value, 0)
    for number in range(count):
        struct.pack_into("<H", slots, 12 * number + 10, entries)  # where a short value leaves two bytes
        link = at + 12 * (number + 1) + 10 if number + 1 < count else 0
        struct.pack_into("<I", slots, 12 * (number + 1 + entries), link)
    path.write_bytes(b"II*\0" + struct.pack("<I", at + 10) + bytes(at - 8) + slots)
    with pytest.raises(ImageError, match="a directory has 60,000 tags"):
        read_image(path)
    assert reads.length < path.stat().st_size


@pytest.mark.parametrize(("images", "planes"), [(1, 100_000), (20_000, 1)])
def test_a_description_that_names_planes_again_and_again_costs_nothing(images: int, planes: int, path: Path):
    pixels = ('<Pixels SizeZ="9000" SizeC="1" SizeT="1" DimensionOrder="XYZCT">'
              + '<TiffData FirstZ="1" PlaneCount="8999"/>' * planes + "</Pixels>")
    write(path, (scene(), {"description": "<OME>" + f"<Image>{pixels}</Image>" * images + "</OME>"}))
    sources, steps = looked_through(path)
    assert sources
    assert steps < 5_000_000


def test_real_cells_in_a_stack_are_cells(path: Path, data_folder: Path):
    """Round cells in the middle of a black image look alike; a false pair is a lost cell."""
    images = [read_image(file) for file in sorted((data_folder / "cnmc").rglob("*.bmp"))]
    images = [image for image in images if image.shape == images[0].shape]
    assert len(images) > 20
    tifffile.imwrite(path, np.stack(images), **RGB)
    assert len(look_through([path]).sources) == len(images)
