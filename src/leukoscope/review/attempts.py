"""How often somebody may try a password: a few times at once, then ever more slowly. Kept in memory, by the address of
the computer and by the name."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict

PAIR, ADDRESS, NAME = 5, 20, 50
"""Failures that are free: of one name from one computer, of one computer, of one name from anywhere."""
LONGEST = 900.0
"""Seconds of the longest wait."""
FORGOTTEN = 3600.0
"""Seconds after which failures no longer count."""
_MOST = 20_000


class Attempts:
    """Failures of late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()

    def begin(self, address: str, name: str) -> int:
        """Seconds that this one must still wait, 0 if they may try now. A try counts as a failure until `succeeded`, so
        that many at once are no way around."""
        now, keys = time.monotonic(), self._keys(address, name)
        with self._lock:
            wait = max(self._until(key, free) - now for key, free in keys.items())
            if wait > 0:
                return math.ceil(wait)
            for key in keys:
                count, at = self._failures.get(key, (0, now))
                self._failures[key] = (count + 1 if now - at < FORGOTTEN else 1), now
                self._failures.move_to_end(key)
            while len(self._failures) > _MOST:
                self._failures.popitem(last=False)
        return 0

    def succeeded(self, address: str, name: str) -> None:
        """The password was right: this name begins anew, and the computer is given back its try."""
        with self._lock:
            for key in self._keys(address, name):
                count, at = self._failures.pop(key, (0, 0.0))
                if count > 1 and key[0] == "address":
                    self._failures[key] = count - 1, at

    def _until(self, key: tuple[str, ...], free: int) -> float:
        count, at = self._failures.get(key, (0, 0.0))
        return at + min(2.0 ** min(count - free, 30), LONGEST) if count >= free else 0.0

    @staticmethod
    def _keys(address: str, name: str) -> dict[tuple[str, ...], int]:
        name = name.casefold()
        return {("pair", address, name): PAIR, ("address", address): ADDRESS, ("name", name): NAME}
