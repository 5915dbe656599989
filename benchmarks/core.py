"""What the core takes: megabytes of its libraries on the disk, and seconds until help and a refusal are printed.

Libraries are counted as `make demo` installs them, without bytecode: leukoscope, all that it requires without an extra,
and pip. Processor seconds are printed beside those of the clock: on a busy machine they say more.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

import leukoscope
from smear import report, run

MEGABYTES, HELP, REFUSAL = 900, 0.3, 0.5
"""At most: MB of the libraries, seconds of --help, and of the refusal of a path that does not exist."""


def required(name: str, extras: tuple[str, ...] = (), seen: set[tuple[str, tuple[str, ...]]] | None = None) -> set[str]:
    """The names of what an installation of a library brings, itself included."""
    seen = set() if seen is None else seen
    key = name.lower().replace("_", "-"), extras
    if key not in seen:
        seen.add(key)
        for text in distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
                required(needed.name, tuple(sorted(needed.extras)), seen)
    return {library for library, _ in seen}


def megabytes(library: Distribution) -> float:
    """MB on the disk, without bytecode."""
    files = [Path(str(library.locate_file(file))) for file in library.files or () if "__pycache__" not in file.parts]
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / 1e6


def main() -> None:
    """Print the size and the times."""
    own = sum(file.stat().st_blocks * 512 for file in Path(leukoscope.__file__).parent.rglob("*")
              if file.is_file() and file.suffix != ".pyc") / 1e6
    sizes = {name: megabytes(distribution(name)) for name in required("leukoscope") | required("pip")}
    total = own + sum(size for name, size in sizes.items() if name != "leukoscope")
    largest = ", ".join(f"{name} {sizes[name]:.0f}" for name in sorted(sizes, key=lambda name: -sizes[name])[:8])
    verdict = "ok" if total < MEGABYTES else "above"
    print(f"core: {len(sizes)} libraries, {total:.0f} MB (under {MEGABYTES} MB: {verdict}); the largest: {largest}",
          flush=True)
    report("leukoscope --help", [run("--help") for _ in range(4)][1:], HELP, None)
    refusals = [run("smear", "missing.png", "-o", "x") for _ in range(4)]
    report("leukoscope smear, a path that does not exist", refusals[1:], REFUSAL, None)


if __name__ == "__main__":
    main()
