"""Changes a bundle's folder as somebody would who knows the format: with digests that are right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def change(folder: Path, **told: Any) -> None:
    """Change the description, its digest included: as who made it on purpose would."""
    description = json.loads((folder / "bundle.json").read_text()) | told
    plain = {key: value for key, value in description.items() if key != "digest"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(plain | {"digest": digest}))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Put another file in, and its digest into the description: as who made it on purpose would."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "bundle.json").read_text())["files"]
    change(folder, files=files | {name: hashlib.sha256(content).hexdigest()})
