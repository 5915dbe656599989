"""A real server and a real browser for the tests of the pages: headless Chromium, of Debian, through Playwright."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from leukoscope.review.accounts import Accounts
from leukoscope.review.desk import Desk
from leukoscope.review.door import Keys
from leukoscope.review.serve import application

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
                None)
PATIENCE = 120_000
"""ms for which something is waited for, on a busy machine."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]


SAVED = re.compile("^Saved$")
"""What the page says once every decision is on the disk; "Not saved" is something else."""


@dataclass(frozen=True)
class Served:
    """A server at work. address: with its token."""

    desk: Desk
    address: str

    @property
    def smear(self) -> str:
        return next(iter(self.desk.seats))


@contextmanager
def served(folders: list[Path], name: str = "Ann", accounts: Accounts | None = None) -> Iterator[Served]:
    """Serve folders on a free port of this computer, to whoever has the token or, with accounts, logs in."""
    desk = Desk(folders)
    config = uvicorn.Config(lambda *_: None, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    opened = config.bind_socket()
    port = opened.getsockname()[1]
    keys = Keys(port, name, accounts)
    config.app = application(desk, keys)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(desk, f"http://127.0.0.1:{port}/?token={keys.token}")
    finally:
        server.should_exit = True
        thread.join(10)
        opened.close()
        desk.close()


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield opened
        finally:
            opened.close()


class Hand:
    """A person at a page: does things, and counts clicks and keys."""

    def __init__(self, page: Any) -> None:
        self.page, self.actions = page, 0
        page.set_default_timeout(PATIENCE)

    def click(self, selector: str, **options: Any) -> None:
        self.actions += 1
        self.page.click(selector, **options)

    def key(self, key: str) -> None:
        self.actions += 1
        self.page.keyboard.press(key)

    def at(self, x: float, y: float, **options: Any) -> None:
        """Click at a point of the window."""
        self.actions += 1
        self.page.mouse.click(x, y, **options)

    def drag(self, source: str, target: str) -> None:
        """Drag the middle of one thing to the middle of another: one action."""
        self.actions += 1
        (x, y), (to_x, to_y) = self.middle(source), self.middle(target)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move((x + to_x) / 2, (y + to_y) / 2, steps=4)
        self.page.mouse.move(to_x, to_y, steps=4)
        self.page.mouse.up()

    def middle(self, selector: str) -> tuple[float, float]:
        box = self.page.locator(selector).first.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def saved(self) -> None:
        """Wait until every decision is on the disk."""
        self.page.locator("#saving", has_text=SAVED).wait_for()

    def heard(self, text: str) -> None:
        """Wait until the page says something to a screen reader."""
        self.page.locator("#heard", has_text=text).wait_for(state="attached")


def field_to_window(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the shown field, px, lies in the window."""
    return tuple(page.evaluate("""([x, y]) => {
        const at = new DOMPoint(x + 0.5, y + 0.5).matrixTransform(document.querySelector('#viewer svg').getScreenCTM());
        return [at.x, at.y];}""", [x, y]))
