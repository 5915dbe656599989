"""HTML pages that stand alone: templates, figures as inline SVG, pixels as data URIs, numbers as people read them.

Knows nothing of runs or audits: `run.py` and `audit.py` decide what a page says.
"""

from __future__ import annotations

from functools import cache

import jinja2
from markupsafe import Markup

from ..figures.svg import FONTS
from ..text import count, duration, join, number, percent, plain, plural


def render(template: str, **context: object) -> str:
    """The template of `report/templates`, filled in; every value is escaped unless it is Markup."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leukoscope.report", "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(count=count, percent=percent, number=number, duration=duration, plain=plain,
                               plural=plural, listed=join, capfirst=lambda text: text[:1].upper() + text[1:])
    environment.globals["fonts"] = Markup(FONTS)
    return environment
