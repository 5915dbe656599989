"""The workbench: a smear of 10,000 cells at the server and in a browser, eight people at once, and a killed server.

    python benchmarks/review.py                        # all parts, one after the other
    python benchmarks/review.py server browser         # first cells, scrolling, decisions, memory
    .ci/with-postgres python benchmarks/review.py together killed

Servers run in processes of their own, with the real command; times are those of their answers, as a browser waits. The
parts `together` and `killed` are those of tests/soak/review.py; `browser` needs playwright and Debian's chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl

from leukoscope.commands.smear import smear_fields
from leukoscope.files import read_json, write_json
from leukoscope.phantom import write_smears

CELLS = 10_000


def large_smear(folder: Path) -> Path:
    """A counted phantom field, repeated until there are CELLS cells. The photographs are links to one."""
    truth = write_smears(folder / "fields", subjects=1, fields_per_subject=1, size=(1600, 1200), types={
        "neutrophil": 24, "lymphocyte": 12, "monocyte": 4, "ig": 2, "erythroblast": 2})
    photograph, out = Path(truth["image"][0]), folder / "count"
    smear_fields([photograph], out)
    table, summary = pl.read_parquet(out / "cells.parquet"), read_json(out / "summary.json")
    one = summary["fields"][0]
    fields, tables = [], []
    for number in range(-(-CELLS // table.height)):
        name, image = f"field_{number:04d}", photograph.with_name(f"link_{number:04d}.png")
        os.link(photograph, image)
        for end in (".png", ".geojson"):
            os.link(out / f"{one['name']}{end}", out / f"{name}{end}")
        fields.append(one | {"name": name, "image": str(image)})
        tables.append(table.with_columns(field=pl.lit(name), image=pl.lit(str(image))))
    pl.concat(tables).write_parquet(out / "cells.parquet")
    write_json(out / "summary.json", summary | {"fields": fields})
    return out


def memory(process: int) -> float:
    """MB that a process has held at most."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024  # type: ignore[index]


def computed(process: int) -> float:
    """Seconds of processor time that a process has used, in steps of 10 ms."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(send, *arguments, **options) -> tuple[float, httpx.Response]:
    """Seconds, and the answer, which must be a success."""
    start = time.perf_counter()
    answer = send(*arguments, **options)
    seconds = time.perf_counter() - start
    assert answer.status_code == 200, answer.text
    return seconds, answer


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, str]]:
    """The real command on a folder: its process, and the address that it prints."""
    command = "import sys; sys.argv[0] = 'leukoscope'; from leukoscope.cli.main import main; main()"
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", command, "review", str(folder), "--no-browser", "--json"],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        text = "".join(iter(process.stdout.readline, "}\n"))
        print(f"start to address: {time.perf_counter() - start:.2f} s ({computed(process.pid):.2f} s)")
        yield process.pid, json.loads(text + "}")["address"]
        print(f"memory of the server, at most: {memory(process.pid):.0f} MB")
    finally:
        process.kill()
        process.wait()


def measure_server(pid: int, address: str) -> None:
    """Print a line for each figure; in brackets what the server computed of it, which does not depend on what else the
    machine does."""
    with httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=600) as client:
        page = client.get(address).text
        client.headers["x-leukoscope"] = page.partition('name="csrf" content="')[2].partition('"')[0]
        path = f"/api/v1/smears/{client.get('/api/v1/smears').json()[0]['key']}"
        before = computed(pid)
        seconds, answer = timed(client.get, path)
        listed = computed(pid) - before
        order = answer.json()["cells"]["rank"]
        first = [timed(client.get, f"{path}/cells/{order.index(place)}.jpg")[0] for place in range(40)]
        print(f"{len(order):,} cells: list {seconds:.2f} s ({listed:.2f} s), first picture {first[0]:.2f} s, 40 "
              f"pictures one after the other {sum(first):.2f} s")

        def decide(cells: list[int], did: str, since: int) -> tuple[float, httpx.Response]:
            return timed(client.post, f"{path}/decisions", json={
                "key": str(uuid.uuid4()), "since": since, "cells": cells, "did": did})

        seq, times, before = 0, [], computed(pid)
        for cell in range(40):
            took, answer = decide([cell], "reject", seq)
            seq, times = answer.json()["seq"], [*times, took]
        print(f"one decision: median {1000 * statistics.median(times):.0f} ms, most {1000 * max(times):.0f} ms (mean "
              f"{1000 * (computed(pid) - before) / len(times):.0f} ms)")
        before = computed(pid)
        took, answer = decide(list(range(1000, 1500)), "confirm", seq)
        print(f"500 at once: {1000 * took:.0f} ms ({1000 * (computed(pid) - before):.0f} ms)")


SCROLL = """async () => {
    const box = document.querySelector('#gallery'), frame = () => new Promise(requestAnimationFrame), all = [];
    for (let step = 0; step < 40; step++) {
        const start = performance.now();
        box.scrollTop += box.clientHeight;
        await frame();
        await frame();
        const edge = box.getBoundingClientRect();
        const there = [...box.querySelectorAll('.tile, .group')].map((one) => one.getBoundingClientRect())
            .filter((one) => one.bottom > edge.top && one.top < edge.bottom).sort((a, b) => a.top - b.top);
        let reached = edge.top, gap = 0;
        for (const one of there) { gap = Math.max(gap, one.top - reached); reached = Math.max(reached, one.bottom); }
        const shown = [...box.querySelectorAll('.tile img')].filter((one) => {
            const at = one.getBoundingClientRect();
            return at.bottom > edge.top && at.top < edge.bottom;
        });
        while (shown.some((one) => !one.complete)) await frame();
        all.push([Math.max(gap, edge.bottom - reached), performance.now() - start]);
    }
    return all;
}"""
FIRST = """() => { const tick = () => {
    const one = document.querySelector('.tile img');
    if (one && one.complete && one.naturalWidth) window.first = performance.now(); else requestAnimationFrame(tick);
}; tick(); }"""
HAS_FIRST = """() => new Promise((done) => {
    const tick = () => { if (window.first) done(window.first); else requestAnimationFrame(tick); };
    tick();
})"""


def measure_browser(address: str) -> None:
    """First cells, scrolling and 500 at once, as a person sees them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(600_000)
        page.goto(address)
        page.add_init_script(f"({FIRST})()")
        page.click("#work tbody a")
        page.wait_for_url("**/smears/*")
        print(f"browser: first cell after {page.evaluate(HAS_FIRST) / 1000:.2f} s")
        page.locator("#saving", has_text="Saved").wait_for()
        steps = page.evaluate(SCROLL)
        print(f"browser: {len(steps)} windows scrolled, largest empty stripe {max(gap for gap, _ in steps):.0f} px, "
              f"pictures there after {statistics.median(ms for _, ms in steps):.0f} ms (most "
              f"{max(ms for _, ms in steps):.0f} ms)")
        page.evaluate("document.querySelector('#gallery').scrollTop = 0")
        page.click(".tile >> nth=0")
        page.evaluate("document.querySelector('#gallery').scrollTop = 6000")
        page.wait_for_timeout(300)
        page.click(".tile:visible >> nth=-1", modifiers=["Shift"])
        chosen = page.inner_text("#selected")
        start = time.perf_counter()
        page.keyboard.press("Enter")
        page.locator("#saving", has_text="Saving").wait_for()
        page.locator("#saving", has_text="Saved").wait_for()
        print(f"browser: {chosen}, confirmed and saved after {time.perf_counter() - start:.2f} s")
        chromium.close()


def soak(part: str, given: list[str]) -> None:
    """A part of the soak test."""
    script = Path(__file__).parents[1] / "tests" / "soak" / "review.py"
    subprocess.run([sys.executable, str(script), "--only", part, *given], check=True,
                   env={**os.environ, "PYTHONPATH": os.pathsep.join((str(script.parents[1]), *sys.path))})


PARTS = ("server", "browser", "together", "killed")


def main() -> None:
    """Make the smear, and measure."""
    wanted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without one")
    wanted.add_argument("--seconds", default="60", help="of together")
    wanted.add_argument("--kills", default="100", help="of killed")
    given = wanted.parse_args()
    parts = given.parts or PARTS
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        sys.exit(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if "server" in parts or "browser" in parts:
        with tempfile.TemporaryDirectory() as made:
            folder = large_smear(Path(made))
            if "server" in parts:
                with server(folder) as (pid, address):
                    measure_server(pid, address)
            if "browser" in parts:
                with server(folder) as (_, address):
                    measure_browser(address)
    for part in ("together", "killed"):
        if part in parts:
            soak(part, ["--seconds", given.seconds, "--kills", given.kills])


if __name__ == "__main__":
    main()
