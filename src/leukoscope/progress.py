"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Takes (done, total); total may grow."""


def behind(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """The progress of a part of the work, as progress of the whole: `before` was done earlier, of `total`."""
    return None if on_progress is None else lambda done, _: on_progress(before + done, total)
