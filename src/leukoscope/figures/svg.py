"""Figures and pixels as text for a page: inline SVG, data URIs, and the look that all figures share."""

from __future__ import annotations

import base64
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from markupsafe import Markup, escape
from PIL import Image

if TYPE_CHECKING:  # pages without a plot do not wait for matplotlib
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1b1e26", "#5d6472", "#e2e4ea"
"""The page's colours of text, of lesser text and of rules; figures use them too."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 9, "axes.titley": 1.0, "axes.labelsize": 9, "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa0ac", "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlecolor": INK, "text.color": INK, "xtick.color": "#9aa0ac", "ytick.color": "#9aa0ac",
    "xtick.labelcolor": SOFT, "ytick.labelcolor": SOFT, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
    "axes.grid": False, "grid.color": LINE, "grid.linewidth": 0.7, "legend.frameon": False, "legend.fontsize": 8.5,
    "axes.axisbelow": True, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round", "svg.fonttype": "none", "svg.hashsalt": "leukoscope",
    # A class may be called "$x$": names are text, never formulas.
    "text.parse_math": False, "axes.formatter.use_mathtext": False,
}
FONTS = '-apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
PIXELS_PER_INCH = 96
_serial = itertools.count(1)


@contextmanager
def figure_style() -> Iterator[None]:
    """The look of every figure; draw inside it. Glyphs that the measuring font lacks are left to the browser."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def svg(figure: Figure, *, label: str = "") -> Markup:
    """The figure as inline SVG: text stays text, ids are unique in the process, no reference leaves the page.

    It shrinks to its place, but not below 70 % of its size: text stays readable, and the place scrolls.
    label: what a screen reader says; the first title of the figure where empty.
    """
    return inline_svg(svg_text(figure), figure, label=label)


def inline_svg(text: str, figure: Figure, *, label: str = "") -> Markup:
    """`svg`, from the text that `svg_text(figure)` has given."""
    width, height = (value * PIXELS_PER_INCH for value in figure.get_size_inches())
    prefix = f"f{next(_serial)}-"
    body = _in_tags(text[text.index("<svg"):], lambda tag: re.sub(
        r"((?:href=\"|url\()#)", rf"\g<1>{prefix}", re.sub(r'\bid="', f'id="{prefix}', tag)))
    # The style element of a file would reach the whole page.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    titles = (axes.get_title(loc="left") or axes.get_title() for axes in figure.axes)
    label = label or next((title for title in titles if title), "figure")
    opening = (f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width * 0.75:g} {height * 0.75:g}" '
               f'style="width:{width:.0f}px;min-width:{width * 0.7:.0f}px" xmlns="http://www.w3.org/2000/svg" '
               'xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">')
    return Markup(opening + body[body.index(">") + 1:].strip())


def svg_text(figure: Figure) -> str:
    """The figure as an SVG file of its own: the same drawing always gives the same text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with figure_style():
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    tags = "".join(re.findall(r"<[^>]+>", text))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', tags))
    fonts = FONTS.replace('"', "'")
    text = _in_tags(text, lambda tag: re.sub(
        r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", tag).replace("'DejaVu Sans'", fonts))
    return re.sub(r"\n\s*", "\n", text)


def _in_tags(text: str, change: Callable[[str], str]) -> str:
    """`change` applied to the tags only: the text between them is a name that a user chose."""
    return re.sub(r"<[^>]+>", lambda match: change(match[0]), text)


def image_uri(pixels: np.ndarray, *, lossless: bool = False, side: int = 0) -> str:
    """uint8 (h, w, 3) or (h, w) as a data URI: JPEG, or PNG where every value counts.

    side: the longer side in px is reduced to this; 0 leaves it.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(f"expected uint8 (h, w, 3) or (h, w), got {pixels.dtype} {pixels.shape}")
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if lossless:
        image.save(buffer, format="PNG", optimize=True)
    else:
        # Pillow's buffer for optimized tables is too small for a picture that is all noise, and libjpeg then prints.
        shown = np.asarray(image)
        _, encoded = cv2.imencode(".jpg", shown[..., ::-1] if shown.ndim == 3 else shown, [
            cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_OPTIMIZE, 1,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
        buffer.write(encoded.tobytes())
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
