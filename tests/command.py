"""The real command line in this process: the entry point, its arguments, what it prints and its exit code."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from leukoscope.cli.main import main


@dataclass(frozen=True)
class Answer:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def leukoscope(*arguments: object) -> Answer:
    """Run `leukoscope ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with (mock.patch.object(sys, "argv", ["leukoscope", *map(str, arguments)]),
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def refusal(*arguments: object) -> str:
    """The one line with which `leukoscope ARGUMENTS` refuses; fails unless it is one line, with exit code 2."""
    answer = leukoscope(*arguments)
    assert answer.code == 2, answer
    assert answer.out == ""
    lines = [line for line in answer.err.splitlines() if line]
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("leukoscope: ")
    assert "Traceback" not in answer.err
    return lines[0]
