"""A process that opens one thing after another, and says of each what happened, how long it took and what it needed.

Reads lines of JSON, [kind, path], and answers each with [outcome, message, seconds, MB]. seconds: of processors, which
do not depend on what else the machine does. outcome: "opened", "refused" (one line of Leukoscope), or "fault": any
other error, or a refusal that is no line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from leukoscope.bundle.bundle import open_bundle
from leukoscope.errors import LeukoscopeError
from leukoscope.images.read import read_image
from leukoscope.manifest import read_manifest
from leukoscope.predict.model import load
from leukoscope.predict.stream import predict_stream
from leukoscope.recipes import load_recipe
from leukoscope.runs.run import Run

MOST_SPACE = 6 * 2**30
"""Bytes of address space, so that a fault harms nobody beside it."""


def open_run(path: Path) -> None:
    run = Run(path)
    for _ in (run.recipe, run.manifest, run.metrics, run.predictions, run.classes):
        pass


def predict(path: Path) -> None:
    """Every file of a folder by the built-in model, into predictions.parquet beside it."""
    out = path.with_name("predictions.parquet")
    out.unlink(missing_ok=True)
    predict_stream(load().bundle, [path], out, on_warning=lambda _: None)


KINDS: dict[str, Callable[[Path], object]] = {
    "bundles": open_bundle, "images": read_image, "tables": read_manifest, "recipes": load_recipe, "runs": open_run,
    "folders": predict,
}


def attempt(kind: str, path: Path) -> tuple[str, str]:
    try:
        KINDS[kind](path)
    except LeukoscopeError as error:
        said = str(error)
        if "\n" in said or not said.strip():
            return "fault", f"the refusal is not one line: {said!r}"
        return "refused", said.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except BaseException:
        return "fault", traceback.format_exc()
    return "opened", ""


def spent() -> float:
    """Seconds of processors that this process and those that it started and that ended have used."""
    return sum(os.times()[:4])


def peak() -> float:
    """MB that this process has needed since `forget_peak`, and a process of it at most."""
    with open("/proc/self/status", encoding="ascii") as status:
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_SPACE, MOST_SPACE))
    for line in sys.stdin:
        kind, path = json.loads(line)
        forget_peak()
        start = spent()
        outcome, said = attempt(kind, Path(os.fsdecode(bytes.fromhex(path))))
        answers.write(json.dumps([outcome, said, spent() - start, peak()]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
