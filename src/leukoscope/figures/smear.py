"""Pictures of fields with outlines, colours of types, and the differential as dots with intervals.

The differential is drawn without matplotlib, which takes a third of the time of a whole count to load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from math import floor, log10

from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from ..smear.count import TypeCount
from ..smear.formats import UNTYPED, NamedField
from ..smear.source import FieldSource, reduced
from ..tables import Row
from ..text import percent, plural, short_names, type_name
from .svg import FONTS, INK, LINE, SOFT

LARGEST = 6000
"""px: the longest side of an annotated picture."""
NAME_LIMIT = 26
"""Characters of a type's name in a figure."""
_TITLE = "Differential, with 95 % intervals"
_WIDTH, _STEP = 187.2, 19.44  # points: of the axis, and of a row
_TICK = "#9aa0ac"


def marked(row: Row) -> str:
    """A cell's number, with an exclamation mark if it is flagged. row: of `cells_table`."""
    return f"{row['number']}{'!' if row['flag'] else ''}"


def annotated(field: FieldSource, named: NamedField, rows: Sequence[Row],
              colours: Mapping[str, str]) -> Image.Image:
    """The field with the outline of every cell in the colour of its type, with a white rim, and its number (see
    `marked`). Outlines of cells that the border cuts are thin. At most LARGEST px wide or high. rows: of `cells_table`.
    """
    picture = Image.fromarray(reduced(field, LARGEST))
    zoom = picture.width / field.width
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 500))
    font = ImageFont.load_default(max(12, round(max(picture.size) / 45)))
    for cell, polygons, row in zip(named.found.cells, named.outlines, rows, strict=True):
        width = max(line // 2, 1) if cell.cut else line
        for rings in polygons:
            ring = [(float(x) * zoom, float(y) * zoom) for x, y in rings[0]]
            ring.append(ring[0])
            draw.line(ring, fill="white", width=width + 2, joint="curve")
            draw.line(ring, fill=colours[row["predicted"] or UNTYPED], width=width, joint="curve")
        draw.text(((cell.centre[0] + 0.5) * zoom, (cell.centre[1] + 0.5) * zoom), marked(row), fill="black",
                  font=font, anchor="mm", stroke_width=2, stroke_fill="white")
    return picture


def differential_figure(types: Sequence[TypeCount], colours: Mapping[str, str]) -> Markup:
    """A row for each type of leukocyte, as inline SVG: its share with the interval in its colour, and how many cells
    that is. types: with a share that is defined."""
    shares = [kind.share for kind in types if kind.share is not None]
    labels = short_names([type_name(kind.name) for kind in types], NAME_LIMIT)
    texts = [f"{plural(kind.cells, 'cell')}, {percent(share.value)}" for kind, share in zip(types, shares, strict=True)]
    left, top, height = _text_width(labels) + 20.16, 28.8, _STEP * len(labels)
    most = min(1.0, 1.05 * max(share.high or 0.0 for share in shares))
    clipped, free = _axis(left, top + height, height, most)
    for row, (kind, share, label, text) in enumerate(zip(types, shares, labels, texts, strict=True)):
        low, value, high = (_WIDTH * (end or 0.0) / most for end in (share.low, share.value, share.high))
        y, colour = _STEP * (row + 0.5), colours[kind.name]
        clipped.append(_tag("path", d=f"M{low:.2f} {y:.2f}H{high:.2f}", stroke=colour, stroke_opacity="0.5",
                            stroke_width="3", stroke_linecap="round"))
        free += [_tag("circle", cx=left + value, cy=top + y, r="2.75", fill=colour, stroke=colour),
                 _tag("text", label, x=left - 9, y=top + y + 3.23, text_anchor="end"),
                 _tag("text", text, x=left + _WIDTH + 10, y=top + y + 2.21)]
    free.append(_tag("text", _TITLE, x=0.0, y=top - 9, font_size="10.5", font_weight="bold"))
    clipping = _tag("svg", Markup("").join(clipped), x=left, y=top, width=_WIDTH, height=height)
    full, tall = left + _WIDTH + _text_width(texts) + 21.6, height + 68.4
    return _tag("svg", clipping + Markup("").join(free), role="img", aria_label=_TITLE,
                viewBox=f"0 0 {full:.2f} {tall:.2f}", style=f"width:{full / 0.75:.0f}px;min-width:{full / 1.07:.0f}px",
                xmlns="http://www.w3.org/2000/svg", font_family=FONTS, font_size="8.5", fill=INK)


def _axis(left: float, bottom: float, height: float, most: float) -> tuple[list[Markup], list[Markup]]:
    """(lines of the grid, below the rows; ticks and words beneath) of an axis from 0 to `most`, a share."""
    # At most five steps, each 1, 2, 2.5 or 5 times a power of ten.
    power = 10.0 ** floor(log10(most / 5))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times > most / 5 - 1e-12)
    grid, axis = [], [_tag("path", d=f"M{left:.2f} {bottom:.2f}h{_WIDTH}", stroke=_TICK, stroke_width="0.8")]
    for n in range(floor(most / step + 1e-9) + 1):
        x = _WIDTH * n * step / most
        grid.append(_tag("path", d=f"M{x:.2f} 0V{height:.2f}", stroke=LINE, stroke_width="0.7"))
        axis += [_tag("path", d=f"M{left + x:.2f} {bottom:.2f}v3.5", stroke=_TICK, stroke_width="0.8"),
                 _tag("text", f"{round(100 * n * step, 6):g} %", x=left + x, y=bottom + 13.46, fill=SOFT,
                      text_anchor="middle")]
    axis.append(_tag("text", "share of the leukocytes that are counted", x=left + _WIDTH / 2, y=bottom + 26.34,
                     font_size="9", text_anchor="middle"))
    return grid, axis


def _tag(name: str, inside: str = "", **attributes: str | float) -> Markup:
    """An SVG element."""
    pairs = (Markup('{}="{}"').format(key.replace("_", "-"), value if isinstance(value, str) else f"{value:.2f}")
             for key, value in attributes.items())
    return Markup("<{0} {1}>{2}</{0}>").format(name, Markup(" ").join(pairs), inside)


def _text_width(texts: Sequence[str]) -> float:
    """Width in points of the widest text at 8.5 points, in the font that comes with matplotlib."""
    file = distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf")
    font = ImageFont.truetype(str(file), 850)
    return max(font.getlength(text) for text in texts) / 100
