"""A command of leukoscope in a process of its own, which ends with the server, whatever ends that: the child holds one
end of a pipe as its standard input, and ends when nobody holds the other."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from ..errors import LeukoscopeError
from ..text import plain

GRACE = 5.0
"""Seconds that an interrupted command has to remove what it has begun."""
_COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'leukoscope'; "
            "from leukoscope.review.child import end_with_parent; end_with_parent(); "
            "from leukoscope.cli.main import main; main()")


class Child:
    """A command that runs. words: after `leukoscope`. Raises OSError where no process can be started."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen([*_COMMAND, *words], env=environment, stdin=subprocess.PIPE,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                         errors="replace")

    def wait(self) -> None:
        """Wait until it has ended. Raises LeukoscopeError with its last line if it failed."""
        assert self._process.stderr is not None
        assert self._process.stdin is not None
        with self._process.stderr as stderr:
            said = stderr.read()
        failed = self._process.wait()
        self._process.stdin.close()
        if failed:
            line = (said.strip().splitlines() or ["stopped without a word"])[-1]
            raise LeukoscopeError(plain(line.removeprefix("leukoscope: "), 500))

    def end(self) -> None:
        """Interrupt it; kill it if it does not end soon."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(GRACE + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def end_with_parent() -> None:
    """Interrupt this process, a child, as soon as its parent has gone or wants it to end, also where the shell that
    started the server had interrupts ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def follow() -> None:
        while os.read(0, 1024):
            pass
        _thread.interrupt_main()  # as Ctrl+C does: what was begun is removed
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()
