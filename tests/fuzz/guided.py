"""Fuzzing guided by the lines that are reached, of what Python itself parses: bundle.json, ZIP files of bundles,
reference cells, recipes. `make fuzz` runs it where atheris has a wheel, for a sixth of its
minutes: guided.py MINUTES."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

try:
    import atheris  # pyright: ignore[reportMissingImports]
except ImportError:
    print("atheris has no wheel for this Python: nothing is guided by coverage")
    sys.exit()

with atheris.instrument_imports(include=["leukoscope.bundle", "leukoscope.recipes", "zipfile", "tomllib"]):  # type: ignore
    from leukoscope.bundle.bundle import read_description
    from leukoscope.bundle.parts import read_parts
    from leukoscope.bundle.verify import Fault, read_golden
    from leukoscope.errors import LeukoscopeError
    from leukoscope.recipes import load_recipe

OLDER = Path(__file__).parents[1] / "data" / "older" / "bundle.zip"
PLACE = Path(tempfile.mkdtemp(prefix="fuzz-"))


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as one of bytes."""
    def of_bytes(content: bytes) -> object:
        (PLACE / name).write_bytes(content)
        return read(PLACE / name)
    return of_bytes


TARGETS: tuple[Callable[[bytes], object], ...] = (
    lambda content: read_description(PLACE, content), lambda content: read_golden(content, 16),
    from_file("bundle.zip", read_parts), from_file("recipe.toml", load_recipe))


def attempt(content: bytes) -> None:
    """The first byte chooses what the others are read as; any error but a refusal ends the fuzzing."""
    try:
        TARGETS[content[0] % len(TARGETS) if content else 0](content[1:])
    except (LeukoscopeError, Fault) as error:
        if "\n" in str(error):
            raise AssertionError(f"the refusal is not one line: {error}") from error


def main() -> None:
    corpus = PLACE / "corpus"
    corpus.mkdir()
    with zipfile.ZipFile(OLDER) as archive:
        seeds = [archive.read("bundle.json"), archive.read("golden.npz"), OLDER.read_bytes(),
                 archive.read("recipe.toml")]
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(bytes([number]) + seed)
    kept = Path("build/fuzz")
    kept.mkdir(parents=True, exist_ok=True)
    seconds = max(1, round(60 * float(sys.argv[1]) / 6))
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=100000",
                   f"-artifact_prefix={kept}/", str(corpus)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
