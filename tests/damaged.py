"""Writes every kind of damaged and of odd image file, for the tests of whatever reads images.

Damaged ones must be refused, by name; odd ones are whole and must give the picture that they were made of.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image


class Damaged(NamedTuple):
    """A path, and words that the error has to say of it."""

    path: Path
    says: str


class Odd(NamedTuple):
    """A file that is whole, what it shows (uint8 RGB), and by how many grey levels it may differ."""

    path: Path
    shows: np.ndarray
    tolerance: int


def picture(width: int = 48, height: int = 40) -> np.ndarray:
    """uint8 (height, width, 3): smooth, different in every corner and channel, so that turns and swaps show."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 200 // (width + height)],
                    axis=-1).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file of Pillow's format `kind`."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_damaged(folder: Path) -> dict[str, Damaged]:
    """One file or path of each kind of damage, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = picture()
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg, png, bmp = encoded(noisy, "JPEG", quality=90), encoded(noisy, "PNG"), encoded(noisy, "BMP")
    tiff, packed_tiff = encoded(noisy, "TIFF"), encoded(noisy, "TIFF", compression="tiff_lzw")
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels), Image.fromarray(pixels // 2)]
    several = {"save_all": True, "append_images": frames[1:]}
    files: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "is empty (0 bytes)"),
        "text.jpg": (b"cell_id,image\n1,a.jpg\n", "is not an image"),
        "one_byte.png": (b"\x89", "is not an image"),
        "only_magic.jpg": (jpeg[:3], "cannot be decoded"),
        "no_pixels.jpg": (jpeg[:30], "cannot be decoded"),
        "truncated.jpg": (jpeg[:len(jpeg) // 2], "cannot be decoded"),
        "truncated_end.jpg": (jpeg[:-2], "cannot be decoded"),
        "truncated.png": (png[:len(png) // 2], "cannot be decoded"),
        "truncated_end.png": (png[:-12], "truncated"),
        "truncated.bmp": (bmp[:len(bmp) // 2], "cannot be decoded"),
        "truncated.tif": (tiff[:len(tiff) // 2], "cannot be decoded"),
        "truncated_packed.tif": (packed_tiff[:len(packed_tiff) // 2], "cannot be decoded"),
        "truncated.gif": (encoded(noisy, "GIF")[:600], "cannot be decoded"),
        "truncated.webp": (encoded(noisy, "WEBP")[:600], "cannot be decoded"),
        "overwritten.jpg": (overwritten(jpeg), "cannot be decoded"),
        "flipped_bit.png": (flipped(png), "wrong checksum"),
        "float.tif": (encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "float32 values"),
        "animated.gif": (encoded(frames[0], "GIF", **several), "contains 3 frames"),
        "animated.png": (encoded(frames[0], "PNG", **several), "contains 3 frames"),
        "animated.webp": (encoded(frames[0], "WEBP", **several), "contains 3 frames"),
        "pages.tif": (encoded(frames[0], "TIFF", **several), "contains 3 frames"),
        "bomb.png": (bomb_png(60_000, 50_000), "60000 x 50000"),
        "bomb.bmp": (bomb_bmp(60_000, 50_000), "60000 x 50000"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    cases = {name: Damaged(folder / name, says) for name, (_, says) in files.items()}
    (folder / "folder.jpg").mkdir(exist_ok=True)
    cases["folder.jpg"] = Damaged(folder / "folder.jpg", "is a folder")
    cases["missing.jpg"] = Damaged(folder / "missing.jpg", "no such file")
    cases["below_a_file"] = Damaged(folder / "text.jpg" / "cell.jpg", "cannot be opened")
    cases["null_byte"] = Damaged(folder / "cell\0.jpg", "cannot be opened")
    if hasattr(os, "mkfifo"):
        pipe = folder / "pipe.jpg"
        if not pipe.exists():
            os.mkfifo(pipe)
        cases["pipe.jpg"] = Damaged(pipe, "is not a regular file")
    return cases


def write_odd(folder: Path) -> dict[str, Odd]:
    """One file of each unusual kind that is whole, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    cases: dict[str, Odd] = {}

    def add(name: str, content: bytes, shows: np.ndarray, tolerance: int = 0) -> None:
        (folder / name).write_bytes(content)
        cases[name] = Odd(folder / name, shows, tolerance)

    pixels = picture()
    grey = np.repeat(pixels[..., :1], 3, axis=-1)
    image = Image.fromarray(pixels)
    add("plain.png", encoded(pixels, "PNG"), pixels)
    add("plain.bmp", encoded(pixels, "BMP"), pixels)
    add("plain.jpg", encoded(pixels, "JPEG", quality=100, subsampling=0), pixels, 3)
    add("progressive.jpg", encoded(pixels, "JPEG", quality=100, subsampling=0, progressive=True), pixels, 3)
    add("lossless.webp", encoded(pixels, "WEBP", lossless=True), pixels)
    add("png_named.jpg", encoded(pixels, "PNG"), pixels)
    add("jpeg_named.tif", encoded(pixels, "JPEG", quality=100, subsampling=0), pixels, 3)
    add("no_suffix", encoded(pixels, "BMP"), pixels)
    add("grey.jpg", encoded(pixels[..., 0], "JPEG", quality=100), grey, 2)
    add("grey.png", encoded(pixels[..., 0], "PNG"), grey)
    add("two_colours.png", encoded(Image.fromarray(pixels[..., 0] > 99), "PNG"),
        np.where(grey > 99, 255, 0).astype(np.uint8))
    few = image.quantize(16)
    add("palette.png", encoded(few, "PNG"), np.asarray(few.convert("RGB")))
    add("palette.gif", encoded(few, "GIF"), np.asarray(few.convert("RGB")))
    add("cmyk.jpg", encoded(image.convert("CMYK"), "JPEG", quality=100, subsampling=0), pixels, 4)
    add("cmyk.tif", encoded(image.convert("CMYK"), "TIFF"), pixels, 1)
    for kind in ("lzw", "adobe_deflate", "jpeg", "packbits"):
        jpeg = kind == "jpeg"
        add(f"{kind}.tif", encoded(pixels, "TIFF", compression=f"tiff_{kind}", **({"quality": 100} if jpeg else {})),
            pixels, 12 if jpeg else 0)
    _add_transparent(add, pixels)
    _add_deep(add, pixels, grey)
    _add_turned(add, pixels)
    return cases


def _add_transparent(add, pixels: np.ndarray) -> None:
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :20] = 0
    alpha[:, 20:30] = 51
    over_white = np.rint(pixels * (alpha / 255)[..., None] + 255 * (1 - alpha / 255)[..., None]).astype(np.uint8)
    clear = np.dstack([pixels, alpha])
    add("alpha.png", encoded(clear, "PNG"), over_white, 1)
    add("alpha.webp", encoded(clear, "WEBP", lossless=True, exact=True), over_white, 1)
    grey_white = np.rint(pixels[..., 0] * (alpha / 255) + 255 * (1 - alpha / 255)).astype(np.uint8)
    add("grey_alpha.png", encoded(clear[..., [0, 3]], "PNG"), np.repeat(grey_white[..., None], 3, axis=-1), 1)


def _add_deep(add, pixels: np.ndarray, grey: np.ndarray) -> None:
    """16 bits a channel, and TIFF of kinds that Pillow does not read."""
    deep = pixels.astype(np.uint16) * 257

    def tiff(samples: np.ndarray, **options) -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, samples, **options)
        return out.getvalue()

    add("grey16.png", cv2.imencode(".png", deep[..., 0])[1].tobytes(), grey)
    add("rgb16.png", cv2.imencode(".png", deep[..., ::-1])[1].tobytes(), pixels)
    add("grey16.tif", tiff(deep[..., 0], photometric="minisblack"), grey)
    add("grey16_big_endian.tif", tiff(deep[..., 0], photometric="minisblack", byteorder=">"), grey)
    add("inverted.tif", tiff(255 - pixels[..., 0], photometric="miniswhite"), grey)
    add("inverted16.tif", tiff(65535 - deep[..., 0], photometric="miniswhite"), grey)
    add("rgb16.tif", tiff(deep, photometric="rgb"), pixels)
    add("rgb16_deflate.tif", tiff(deep, photometric="rgb", compression="zlib", predictor=True), pixels)
    add("planes.tif", tiff(np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate"), pixels)
    add("planes16.tif", tiff(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib"),
        pixels)
    add("tiles.tif", tiff(pixels, photometric="rgb", tile=(16, 16), compression="zlib"), pixels)
    add("zstd.tif", tiff(pixels, photometric="rgb", compression="zstd"), pixels)
    add("big.tif", tiff(pixels, photometric="rgb", bigtiff=True), pixels)


def _add_turned(add, pixels: np.ndarray) -> None:
    """The picture stored in all eight EXIF orientations, each with the orientation that sets it upright again."""
    stored = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, 1), 7: np.rot90(pixels.swapaxes(0, 1), 2), 8: np.rot90(pixels, -1),
    }
    for orientation, view in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = np.ascontiguousarray(view)
        add(f"turned{orientation}.jpg", encoded(turned, "JPEG", quality=100, subsampling=0, exif=exif), pixels, 3)
        add(f"turned{orientation}.png", encoded(turned, "PNG", exif=exif), pixels)
        add(f"turned{orientation}.tif", encoded(turned, "TIFF", exif=exif), pixels)


def overwritten(content: bytes, seed: int = 1) -> bytes:
    """The bytes with 20 in the middle replaced by others, as a bad sector or a broken transfer does."""
    changed = bytearray(content)
    middle = len(changed) // 2
    changed[middle:middle + 20] = np.random.default_rng(seed).integers(0, 256, 20, dtype=np.uint8).tobytes()
    return bytes(changed)


def flipped(content: bytes) -> bytes:
    """The bytes with one bit in the middle flipped."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def bomb_png(width: int, height: int) -> bytes:
    """A small PNG whose header announces width x height pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
            + chunk(b"IEND", b""))


def bomb_bmp(width: int, height: int) -> bytes:
    """A small BMP whose header announces width x height pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + header + bytes(100)
