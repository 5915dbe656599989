"""Runs every benchmark beside this file, each in a process of its own, one after the other: python benchmarks/run.py

Names given as arguments choose some: python benchmarks/run.py loading delong
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    found = {file.stem: file for file in sorted(HERE.glob("*.py")) if "def main()" in file.read_text(encoding="utf-8")}
    found.pop("run")
    unknown = [name for name in sys.argv[1:] if name not in found]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(found)}")
    failed = []
    for name in sys.argv[1:] or found:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(found[name])], check=False).returncode:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
