"""HTML templates of a package: every value is escaped unless it is markup, and an unknown name is an error."""

from __future__ import annotations

from collections.abc import Callable

import jinja2

from .text import count, percent, plain, plural, type_name


def environment(package: str, **filters: Callable[..., object]) -> jinja2.Environment:
    """The templates in the folder `templates` of a package, with the filters that all pages use and further ones."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    made.filters.update(
        count=count, percent=percent, plain=plain, plural=plural,
        type_name=lambda label, limit=0: plain(type_name(label, limit)), **filters)
    return made
