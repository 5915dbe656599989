"""The size that the header of a strip or tile states, before it is decoded."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile

from leukoscope.errors import ImageError
from leukoscope.images import tiff_codecs
from leukoscope.images.read import read_image
from leukoscope.images.stated_size import jpeg2000_size, jpegxl_size, png_size, webp_size
from leukoscope.images.tiff_layout import JPEG_XL

SIZES = [(1, 1), (64, 64), (256, 256), (40, 24), (120, 100), (48, 36), (90, 60), (160, 90), (50, 40), (200, 100),
         (17, 33), (700, 9), (9, 700), (8, 264), (264, 8), (600, 513)]
HUGE = 1 << 30


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_size_is_that_of_the_decoded_image(size):
    pixels = noise(*size)
    for container in (False, True):
        stream = imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, usecontainer=container)
        assert imagecodecs.jpegxl_decode(stream).shape[1::-1] == size
        assert jpegxl_size(bytes(stream)) == size
    assert jpeg2000_size(bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True))) == size
    assert png_size(bytes(imagecodecs.png_encode(pixels))) == size
    assert webp_size(bytes(imagecodecs.webp_encode(pixels, lossless=True))) == size


CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


@pytest.mark.parametrize("content", [b"", b"\xff\x0a", b"\xff\xd8\xff\xe0", CONTAINER, CONTAINER + 40 * b"\0",
                                     CONTAINER + 40 * b"\1"])
def test_what_has_no_header_is_refused(content):
    for size_of in (jpegxl_size, jpeg2000_size):
        with pytest.raises(ValueError, match="has no header"):
            size_of(content)


def test_a_tile_that_states_more_pixels_than_it_has_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise(64, 48), photometric="rgb", compression="jpegxl",
                     compressionargs={"lossless": True})
    content = (tmp_path / "a.tif").read_bytes()
    assert np.array_equal(read_image(tmp_path / "a.tif"), noise(64, 48))
    at = content.index(b"\xff\x0a") + 2
    bits = 0 | 3 << 1 | (HUGE - 1) << 3 | 1 << 33  # not in eighths, height in 30 bits, as wide as high
    (tmp_path / "b.tif").write_bytes(content[:at] + bits.to_bytes(5, "little") + content[at + 5:])
    for compression in JPEG_XL:
        monkeypatch.setitem(tiff_codecs._TO_ARRAY, compression, (jpegxl_size, pytest.fail))
    with pytest.raises(ImageError, match=f"an image of {HUGE:,} x {HUGE:,} px in a strip or tile of 64 x 48 px"):
        read_image(tmp_path / "b.tif")
