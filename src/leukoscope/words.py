"""Names in a sentence. Knows nothing of what they name."""

from __future__ import annotations

from collections.abc import Iterable


def join(names: Iterable[object], last: str = "and") -> str:
    """["a", "b", "c"] -> "a, b and c"; nothing of nothing."""
    texts = [str(name) for name in names]
    return f"{', '.join(texts[:-1])} {last} {texts[-1]}" if len(texts) > 1 else "".join(texts)
