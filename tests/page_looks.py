"""Looks at pages in headless Chromium: each in frames as wide as a desktop, a phone and a sheet of paper, measured by
a script. Needs Debian's chromium; whoever calls it skips without."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DESKTOP, PHONE, PAPER = 1400, 390, 680
"""Widths in CSS px; paper: A4 without its margins, under the rules for print."""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
          "--disable-background-networking", "--disable-component-update", "--disable-sync",
          "--allow-file-access-from-files", "--window-size=1600,1200", "--virtual-time-budget=15000", "--dump-dom")
_SCRIPT = """
const PAPER_HEIGHT = 990;  // of a sheet without its margins
const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className && e.className.baseVal === undefined
  && e.className ? "." + String(e.className).trim().split(/\\s+/).join(".") : "");
const where = e => (e.closest("section") || {}).id + ": " + name(e) + " " + (e.textContent || "").trim().slice(0, 40);
function measure(frame, width) {
  const page = frame.contentDocument, wrong = [];
  if (frame.dataset.paper) for (const style of page.querySelectorAll("style"))
    style.textContent = style.textContent.replaceAll("@media print", "@media all");
  for (const closed of page.querySelectorAll("details")) closed.open = true;
  if (page.documentElement.scrollWidth > width + 1) wrong.push("the page scrolls sideways: " +
    page.documentElement.scrollWidth + " of " + width);
  for (const e of page.body.querySelectorAll("*")) {
    if (e.closest("svg") && e.tagName !== "svg") continue;
    const box = e.closest(".scroll"), style = frame.contentWindow.getComputedStyle(e), own = e.getBoundingClientRect();
    if (!own.width) continue;
    if (!box && own.right > width + 1) wrong.push("cut at the right: " + where(e));
    if (!box && style.overflowX === "visible" && own.left + e.scrollWidth > width + 1 && !e.children.length)
      wrong.push("text beyond the page: " + where(e));
    if (e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX)) {
      if (e.tabIndex < 0) wrong.push("scrolls and takes no focus: " + where(e));
      if (!e.querySelector("table, svg, img") && e.tagName !== "PRE") wrong.push("scrolls, no table: " + where(e));
      if (frame.dataset.paper || (width > 1000 && !e.querySelector("table"))) wrong.push("cut: " + where(e));
    }
    if (box && frame.dataset.paper && own.right > width + 1) wrong.push("cut on paper: " + where(e));
    if (frame.dataset.paper && e.tagName === "FIGURE") {
      if (own.height > PAPER_HEIGHT) wrong.push("higher than a sheet: " + where(e));
      if (style.breakInside !== "avoid") wrong.push("may break inside: " + where(e));
    }
    if (e.tagName === "IMG" && !e.naturalWidth) wrong.push("no picture: " + where(e));
    if (e.tagName === "svg") for (const text of e.querySelectorAll("text")) {
      const drawn = text.getBoundingClientRect();
      if (drawn.right > own.right + 3 || drawn.left < own.left - 3 || drawn.bottom > own.bottom + 3
          || drawn.top < own.top - 3) wrong.push("text outside its figure: " + text.textContent.slice(0, 40));
    }
  }
  return [...new Set(wrong)].slice(0, 12);
}
addEventListener("load", () => setTimeout(() => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe"))
    found[frame.title] = measure(frame, frame.width * 1);
  document.getElementById("out").textContent = JSON.stringify(found);
}, 300));
"""


def chromium() -> str:
    """The path of Debian's chromium; "" where there is none."""
    return shutil.which("chromium") or ""


def look_at(pages: Mapping[str, Path]) -> dict[str, list[str]]:
    """Name of a page and how it was looked at -> what is wrong with it."""
    frames = "".join(
        f'<iframe title="{html.escape(f"{name}, {kind}")}" width="{width}" height="900" '
        f'{"data-paper=1 " if kind == "paper" else ""}src="{html.escape(path.resolve().as_uri())}"></iframe>'
        for name, path in pages.items()
        for kind, width in (("desktop", DESKTOP), ("phone", PHONE), ("paper", PAPER)))
    with tempfile.TemporaryDirectory() as folder:
        harness = Path(folder) / "all.html"
        harness.write_text(f'<meta charset="utf-8"><style>iframe {{ border: 0; }}</style><pre id="out"></pre>{frames}'
                           f"<script>{_SCRIPT}</script>", encoding="utf-8")
        done = subprocess.run([chromium(), *_FLAGS, f"--user-data-dir={folder}/profile", harness.as_uri()],
                              capture_output=True, text=True, timeout=240, check=False,
                              env=os.environ | {"HOME": folder})
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, f"chromium gave no answer: {done.stderr[-2000:]}"
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert len(answer) == 3 * len(pages)
    return {name: wrong for name, wrong in answer.items() if wrong}
