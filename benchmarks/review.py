"""The workbench on a smear of 10,000 cells: the first cells, one decision, 500 at once, and the memory of the server.

    python benchmarks/review.py

The server runs in a process of its own, with the real command; times are those of its answers, as a browser waits.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
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


def timed(send, *arguments, **options) -> tuple[float, httpx.Response]:
    """Seconds, and the answer, which must be a success."""
    start = time.perf_counter()
    answer = send(*arguments, **options)
    seconds = time.perf_counter() - start
    assert answer.status_code == 200, answer.text
    return seconds, answer


def measure(folder: Path) -> None:
    """Print a line for each figure."""
    command = "import sys; sys.argv[0] = 'leukoscope'; from leukoscope.cli.main import main; main()"
    start = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-c", command, "review", str(folder), "--no-browser", "--json"],
                              stdout=subprocess.PIPE, text=True)
    assert server.stdout
    text = "".join(iter(server.stdout.readline, "}\n"))
    address = json.loads(text + "}")["address"]
    print(f"start to address: {time.perf_counter() - start:.2f} s")
    with httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=60) as client:
        page = client.get(address).text
        client.headers["x-leukoscope"] = page.partition('name="csrf" content="')[2].partition('"')[0]
        path = f"/api/v1/smears/{client.get('/api/v1/smears').json()[0]['key']}"
        seconds, answer = timed(client.get, path)
        order = answer.json()["cells"]["rank"]
        first = [timed(client.get, f"{path}/cells/{order.index(place)}.jpg")[0] for place in range(40)]
        print(f"{len(order):,} cells: list {seconds:.2f} s, first picture {first[0]:.2f} s, 40 pictures one after the "
              f"other {sum(first):.2f} s")

        def decide(cells: list[int], did: str, since: int) -> tuple[float, httpx.Response]:
            return timed(client.post, f"{path}/decisions", json={
                "key": str(uuid.uuid4()), "since": since, "cells": cells, "did": did})

        seq, times = 0, []
        for cell in range(40):
            took, answer = decide([cell], "reject", seq)
            seq, times = answer.json()["seq"], [*times, took]
        print(f"one decision: median {1000 * statistics.median(times):.0f} ms, most {1000 * max(times):.0f} ms")
        took, answer = decide(list(range(1000, 1500)), "confirm", seq)
        print(f"500 at once: {1000 * took:.0f} ms")
        print(f"memory of the server, at most: {memory(server.pid):.0f} MB")
    server.kill()
    server.wait()


def main() -> None:
    """Make the smear, and measure."""
    with tempfile.TemporaryDirectory() as made:
        measure(large_smear(Path(made)))


if __name__ == "__main__":
    main()
