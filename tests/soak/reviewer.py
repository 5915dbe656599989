"""Reviews a counted smear as a person would, through `leukoscope review`: the same decisions in the same order, each
with a key of its own. Started again after a kill, it sends all of them once more, as a page does that had no answer.

`python reviewer.py COUNTED -o OUT`: OUT gets a copy of the counted smear, the decisions that the server knows
(`decisions.json`, without times), and whether the record holds (`verify.txt`)."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

LEUKOSCOPE = (sys.executable, "-c", "from leukoscope.cli.main import main; main()")
ROUNDS = 12


def decisions(cells: int) -> list[tuple[str, dict[str, Any]]]:
    """What the person does, as (what, message)."""
    done: list[tuple[str, dict[str, Any]]] = []
    for turn in range(ROUNDS):
        cell = turn % cells
        done.append(("decisions", {"cells": [cell], "did": "type", "type": ("monocyte", "eosinophil")[turn % 2]}))
        done.append(("comments", {"text": f"comment {turn}", "cell": cell}))
        done.append(("undo", {}) if turn % 3 == 0 else ("decisions", {"cells": [cell], "did": "reject"}))
        done.append(("redo", {}) if turn % 3 == 0 else ("decisions", {"cells": [cell], "did": "restore"}))
    return done


class Page:
    """A browser at the address that the command prints."""

    def __init__(self, address: str) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser, self._base = urllib.request.build_opener(cookies), address.split("/?")[0]
        found = re.search(r'name="csrf" content="([^"]+)"', self._browser.open(address).read().decode())
        assert found
        self._browser.addheaders.append(("x-leukoscope", found[1]))
        self._path = f"/api/v1/smears/{self._ask('/api/v1/smears')[0]['key']}"

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self._browser.open(self._base + path, data, timeout=60).read())

    def smear(self) -> dict[str, Any]:
        return self._ask(self._path)

    def send(self, what: str, body: dict[str, Any]) -> None:
        """Change something; raises HTTPError where it is refused."""
        self._ask(f"{self._path}/{what}", body)

    def history(self) -> list[dict[str, Any]]:
        return self._ask(f"{self._path}/history")


def main() -> None:
    counted, out = Path(sys.argv[1]), Path(sys.argv[3])
    if not out.exists():
        copy = out.with_name(f".{out.name}.copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(counted, copy).rename(out)
    server = subprocess.Popen([*LEUKOSCOPE, "review", str(out), "--no-browser", "--name", "Ann", "--json"],
                              stdout=subprocess.PIPE, text=True)
    assert server.stdout
    address = next(line for line in server.stdout if "http://" in line).split('"')[-2]
    try:
        page = Page(address)
        for number, (what, body) in enumerate(decisions(len(page.smear()["cells"]))):
            page.send(what, {"key": f"decision-{number:04d}", "since": page.smear()["seq"], **body})
        known = [[event[name] for name in ("seq", "key", "who", "kind", "body")] for event in page.history()]
    finally:
        server.terminate()
        server.wait()
    (out / "decisions.json").write_text(json.dumps(known, sort_keys=True))
    proved = subprocess.run([*LEUKOSCOPE, "review", "verify", str(out)], capture_output=True, text=True, check=True)
    (out / "verify.txt").write_text(proved.stdout.split("; ")[1].split(", last")[0])


if __name__ == "__main__":
    main()
