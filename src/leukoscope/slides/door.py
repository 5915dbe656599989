"""The one door for slides: which files are slides, and what opens each of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import ImageError, require
from ..filenames import SCANNERS, UNREAD_SLIDES
from ..images.headers import format_of, is_dicom, jpeg_header
from ..images.read import MAX_PIXELS
from ..images.tiff_tags import HEIGHT, WIDTH, open_tiff
from ..smear.source import LARGEST
from .slide import Slide

_ONLY_OPENSLIDE = (".ndpi", ".mrxs", ".vms", ".vmu", ".svslide", ".bif", ".scn")
_TIFF = (".svs", ".ndpi", ".scn", ".bif")
_TEXTS = ("", ".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".pdf")  # that lie beside DICOM files


def is_slide(path: Path | str) -> bool:
    """Whether a file or folder is a slide and not a photograph: by its ending and first bytes, because it is DICOM or
    holds the DICOM files of one slide, or because a TIFF, PNG or JPEG is too large for a field. False for a file that
    cannot be read."""
    path = Path(path)
    if path.is_dir():
        return _holds_dicom(path) and len(dicom_slides(path)) < 2
    try:
        if path.suffix.lower() in SCANNERS and path.is_file():
            if path.suffix.lower() == ".dcm":
                return is_dicom(path)
            return path.suffix.lower() not in _TIFF or format_of(_start(path)) == "TIFF"
        if is_dicom(path):
            return True
        width, height = _size(path)
    except Exception:  # of many classes; reading says what is wrong
        return False
    return max(width, height) > LARGEST or width * height > MAX_PIXELS


def open_slide(path: Path | str) -> Slide:
    """Open a slide of any kind that is read; a smaller TIFF, PNG or JPEG too. Raises ImageError for another file or a
    damaged one, and ModuleNotFoundError where the extra `slides` is needed and missing."""
    path = Path(path)
    if not path.exists():
        raise ImageError(path, "no such file", "correct the path")
    if path.suffix.lower() in UNREAD_SLIDES:
        raise ImageError(path, f"slides of the kind {path.suffix.lower()} are not read",
                         "export it as OME-TIFF or SVS")
    if path.is_dir() or path.suffix.lower() == ".dcm" or is_dicom(path):
        if path.is_dir() and not _holds_dicom(path):
            raise ImageError(path, "is a folder without DICOM files", "name a slide")
        require("wsidicom")
        from .dicom import DicomSlide  # late: an extra

        return DicomSlide(path)
    if find_spec("openslide") is not None:
        from .scanner import ScannerSlide, format_of

        if format_of(path):
            return ScannerSlide(path)
    return _by_content(path)


def _by_content(path: Path) -> Slide:
    start = _start(path)
    if path.suffix.lower() in _ONLY_OPENSLIDE:
        require("openslide")
        raise ImageError(path, "is not a slide that OpenSlide can read", "export or copy it again, with all its files")
    kind = format_of(start)
    if kind == "TIFF":
        from .tiff import TiffSlide  # late: photographs of fields need none of it

        return TiffSlide(path)
    if kind in ("PNG", "JPEG"):
        require("pyvips")
        from .streamed import StreamedSlide  # late: an extra

        return StreamedSlide(path)
    raise ImageError(path, f"is not a slide (it starts with {start[:8]!r})", "expected TIFF, DICOM, PNG, JPEG or a "
                     f"scanner's file ({', '.join(SCANNERS)})")


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(132)
    except OSError as error:
        raise ImageError(path, f"cannot be opened ({error.strerror})", "grant read permission") from error


def dicom_slides(folder: Path) -> list[list[Path]]:
    """The slides whose DICOM files lie in a folder: the files of each, a level first. Empty where the extra `slides` is
    missing, or there are none."""
    if find_spec("wsidicom") is None:
        return []
    files = [path for path in sorted(folder.iterdir())
             if path.suffix.lower() not in (*_ONLY_OPENSLIDE, ".svs") and path.is_file() and is_dicom(path)]
    if not files:
        return []
    from .dicom import slides_among  # late: an extra

    return slides_among(files)


def _holds_dicom(folder: Path) -> bool:
    """Whether a folder holds DICOM files, and beside them at most hidden files and texts, such as a licence."""
    found = False
    for path in folder.iterdir():
        if path.is_file() and is_dicom(path):
            found = True
        elif not (path.name.startswith(".") or (path.is_file() and path.suffix.lower() in _TEXTS)):
            return False
    return found


def _size(path: Path) -> tuple[int, int]:
    """(width, height) of the largest image of a TIFF, PNG or JPEG; (0, 0) for other files."""
    with open(path, "rb") as file:
        start = file.read(24)
        kind = format_of(start)
        if kind == "TIFF":
            tiff = open_tiff(file)
            sizes = [(tiff.number(page, WIDTH, 0), tiff.number(page, HEIGHT, 0)) for page in tiff.directories]
            return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
        if kind == "PNG":
            return int.from_bytes(start[16:20]), int.from_bytes(start[20:24])
        if kind == "JPEG":
            header = jpeg_header(file)
            return header.width, header.height
    return 0, 0
