"""Tasks for workers in other processes, which import this file."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

from leukoscope.errors import ImageError


def double(value: int) -> int:
    return 2 * value


def die_once(marker: Path, value: int) -> int:
    """Kills its worker the first time."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise ImageError("slide.svs", "is damaged", "export it again")


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/out/cells.csv")


def surprise() -> None:
    raise ZeroDivisionError("division by zero")
