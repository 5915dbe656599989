"""HTML pages that stand alone: templates, figures as inline SVG, numbers as people read them.

Knows nothing of runs or audits: the other modules decide what a page says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from .. import templates
from ..figures.svg import FONTS, inline_svg, svg_text
from ..files import write_text
from ..text import duration, figure_name, interval, join, number, p_of, points
from . import numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_page(path: Path, template: str, figures: Mapping[str, Figure], **context: object) -> Path:
    """Write a page, and its figures, which the template knows by their names, as SVG files beside it."""
    files = {name: svg_text(figure) for name, figure in figures.items()}
    drawn = {name: inline_svg(files[name], figure) for name, figure in figures.items()}
    page = render(template, figures=drawn, **context)
    for name, text in files.items():
        write_text(path.parent / "figures" / f"{name}.svg", text)
    write_text(path, page)
    return path


def render(template: str, **context: object) -> str:
    """The template of `report/templates`, filled in; every value is escaped unless it is Markup."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> jinja2.Environment:
    environment = templates.environment(
        "leukoscope.report", number=number, duration=duration, listed=join,
        interval=partial(interval, confidence=None, page=True),
        area=partial(interval, form=number, unit="", confidence=None, page=True),
        figure_name=figure_name, p_of=p_of, points=points, capfirst=lambda text: text[:1].upper() + text[1:])
    environment.globals.update(
        fonts=Markup(FONTS), Notes=numbers.Notes, shown=numbers.shown, value_of=numbers.value_of,
        interval_of=numbers.interval_of, how=numbers.how, change=numbers.change)
    return environment
