"""A few of the kills of `make soak`, of the commands that start fast. tests/train/test_resume.py kills a training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_results_after_kills_are_those_of_undisturbed_runs() -> None:
    words = [Path(__file__).with_name("soak.py"), "--kills", "6", "--only", "smear", "predict", "index"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 kills of smear, predict, data index: every result equal to an undisturbed run" in done.stdout
