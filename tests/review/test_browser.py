"""Whole reviews in a real browser: by mouse, by keyboard alone, by two people, and how many actions they take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import polars as pl
import pytest

from browser import PATIENCE, SAVED, Hand, Served, field_to_window, served
from leukoscope.files import read_json, write_json
from leukoscope.review import actions
from leukoscope.review.smear import verify

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
WRONG, CELLS, MOST_ACTIONS = 10, 200, 12


def sit(chromium: Any, server: Served, faults: list[str]) -> Hand:
    """A person who has opened the smear from the worklist, in a browser of their own."""
    page = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True).new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    hand = Hand(page)
    page.goto(server.address)
    hand.click("#work tbody a")
    hand.saved()
    return hand


def stands(server: Served):
    """The review of the server's only smear."""
    return server.desk.seats[server.smear].review


def test_a_whole_review_by_mouse(folder: Path, chromium: Any, tmp_path: Path):
    cells = pl.read_parquet(folder / "cells.parquet")
    lost = cells.filter(~pl.col("cut")).row(4, named=True)  # a cell that the machine has missed
    own = (pl.col("field") == lost["field"]) & (pl.col("number") == lost["number"])
    cells.filter(~own).write_parquet(folder / "cells.parquet")
    faults: list[str] = []
    with served([folder]) as server:
        hand = sit(chromium, server, faults)
        page, review = hand.page, stands(server)
        hand.drag("#canvas .tile", '#differential tr[data-group="0"]')  # the first cell is called a basophil
        hand.saved()
        changed = review.state().events[-1].body["cells"][0]
        assert changed[2] == [review.types(review.state())[0], "confirmed"]
        hand.click("#undo")
        hand.saved()
        assert review.state().cells[changed[0]] == tuple(changed[1])

        hand.click('[data-view="field"]')
        page.locator(".shape").first.wait_for()
        page.select_option("#field-list", str([one.name for one in review.result.summary.fields].index(lost["field"])))
        page.locator(".shape").first.wait_for()
        hand.click('[data-aim="add"]')
        page.wait_for_timeout(300)
        hand.at(*field_to_window(page, lost["centre_x"], lost["centre_y"]))
        hand.heard("Added: outlined by the finder")
        assert review.cells.row(len(review.cells) - 1)["cell_area_px"] == lost["cell_area_px"]
        hand.click('.tools [data-view="gallery"]')

        hand.click('[data-filter="open"]')
        while page.locator("#progress.done").count() == 0:
            hand.click('[data-do="confirm"]')
            hand.saved()
        hand.click("#sign")
        hand.click("#sign-dialog .primary")
        page.locator("#state", has_text="signed").wait_for()
        hand.click("summary.button")
        with page.expect_download() as download:
            hand.click('a[href$="smear.xlsx"]')
        download.value.save_as(tmp_path / "smear.xlsx")
        sheet = openpyxl.load_workbook(tmp_path / "smear.xlsx")["smear"]
        row = dict(zip((cell.value for cell in sheet[1]), (cell.value for cell in sheet[2]), strict=True))
        assert (row["state"], row["signed_by"], row["unsure_open"]) == ("signed", "Ann", 0)

        hand.click("#sign")  # now: amend
        page.fill("#amend-dialog textarea", "one cell was overlooked")
        hand.click("#amend-dialog .primary")
        page.locator("#state", has_text="being amended").wait_for()
        page.goto(page.url + "/history")
        assert "one cell was overlooked" in page.content()
        page.context.close()
    assert not faults
    assert verify(folder).broken == ""


def test_a_whole_review_by_keyboard_alone(folder: Path, chromium: Any):
    faults: list[str] = []
    with served([folder]) as server:
        page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        hand, review = Hand(page), stands(server)
        page.goto(server.address)

        def tab_to(selector: str) -> None:
            for _ in range(80):
                if page.evaluate(f"document.activeElement.matches({selector!r})"):
                    return
                hand.key("Tab")
            raise AssertionError(f"no way by Tab to {selector}")

        tab_to("#work tbody a")
        hand.key("Enter")
        hand.saved()
        hand.key("ArrowRight")
        hand.key("Shift+ArrowRight")
        hand.key("1")
        hand.saved()
        assert len(review.state().events[-1].body["cells"]) == 2
        hand.key("Control+z")
        hand.saved()
        assert review.state().events[-1].kind == "undone"
        hand.key("x")
        hand.saved()
        assert review.standing().rejected == 2
        hand.key("x")
        hand.saved()
        assert review.standing().rejected == 0
        hand.key("f")
        page.locator(".shape.chosen").first.wait_for()
        hand.key("v")
        hand.key("v")  # needs one cell: nothing is split while two are chosen
        hand.key("f")
        while page.locator("#progress.done").count() == 0:
            hand.key("n")
            hand.key("Enter")
            hand.saved()
        tab_to("#sign")
        hand.key("Enter")
        tab_to("#sign-dialog .primary")
        hand.key("Enter")
        page.locator("#state", has_text="signed").wait_for()
        page.context.close()
        assert review.state().locked
    assert not faults


def test_a_review_by_touch(folder: Path, chromium: Any):
    faults: list[str] = []
    with served([folder]) as server:
        page = chromium.new_context(viewport={"width": 820, "height": 1180}, has_touch=True).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_default_timeout(PATIENCE)
        page.goto(server.address)
        review = stands(server)
        page.tap("#work tbody a")
        page.locator("#saving", has_text=SAVED).wait_for()
        hold(page, "#canvas .tile >> nth=0")
        page.tap("#canvas .tile >> nth=1")
        page.locator("#selected", has_text="2 selected").wait_for()
        page.tap('[data-do="menu"]')
        page.tap("#menu button >> nth=0")
        page.locator("#heard", has_text="2 cells").wait_for(state="attached")
        page.locator("#saving", has_text=SAVED).wait_for()
        event = review.state().events[-1]
        assert [change[2] for change in event.body["cells"]] == [[review.types(review.state())[0], "confirmed"]] * 2
        page.tap("#undo")
        page.locator("#heard", has_text="Undone").wait_for(state="attached")
        page.tap('[data-view="field"]')
        page.select_option("#field-list", "0")
        page.locator(f"#viewer svg[aria-label*='{review.result.summary.fields[0].name}']").wait_for()
        page.locator(".shape").first.wait_for()
        inside = [cell for cell, field in enumerate(review.cells.table["field"])
                  if field == review.result.summary.fields[0].name and not review.cells.table["cut"][cell]]
        row = review.cells.row(inside[0])
        page.touchscreen.tap(*field_to_window(page, row["centre_x"], row["centre_y"]))
        page.locator("#selected", has_text="1 selected").wait_for()
        page.locator("#cell", has_text=review.cells.names[inside[0]]).wait_for()
        page.context.close()
    assert not faults


def hold(page: Any, selector: str) -> None:
    """Touch a thing for longer than a tap."""
    box = page.locator(selector).bounding_box()
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    client = page.context.new_cdp_session(page)
    client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.locator("#selected", has_text="1 selected").wait_for()
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    client.detach()


def test_two_people_at_once(folder: Path, chromium: Any):
    faults: list[str] = []
    with served([folder]) as server:
        ann, bob = (sit(chromium, server, faults) for _ in range(2))
        bob.click("summary.button")
        bob.click("#me")
        bob.page.fill("#name-dialog input", "Bob")
        bob.click("#name-dialog .primary")
        bob.page.locator("#me", has_text="You are Bob").wait_for(state="attached")
        for hand, key in ((ann, "1"), (bob, "2")):
            hand.click("#canvas .tile")
            hand.key(key)
        ann.saved()
        bob.page.locator("#toast", has_text="was changed by Ann meanwhile").wait_for()
        bob.saved()
        cell = stands(server).state().events[-1].body["cells"][0][0]
        assert stands(server).state().changed[cell][1] == "Ann"
        bob.page.locator("#here", has_text="Ann").wait_for(state="attached")
        for hand in (ann, bob):
            hand.page.context.close()
    assert not faults


def test_a_reload_during_saving_asks_and_two_tabs_and_the_back_button_show_what_is_stored(folder: Path, chromium: Any):
    faults: list[str] = []
    with served([folder]) as server:
        hand = sit(chromium, server, faults)
        page, review = hand.page, stands(server)
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        held: list[Any] = []
        page.route("**/decisions", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks its handlers
        hand.click("#canvas .tile")
        hand.key("1")
        page.locator("#saving", has_text="Saving").wait_for()
        while not held:
            page.wait_for_timeout(50)
        assert review.state().seq == 0
        page.evaluate("setTimeout(() => location.reload())")
        while not asked:
            page.wait_for_timeout(50)
        assert asked == ["beforeunload"]
        held[0].continue_()
        hand.saved()
        cell = review.state().events[-1].body["cells"][0]
        assert cell[2][1] == "confirmed"

        page.unroute("**/decisions")
        other = Hand(page.context.new_page())  # a second tab of the same person
        other.page.goto(page.url)
        other.saved()
        tile = f"#cell-{review.cells.places[cell[0]]}"
        other.click(tile)
        other.key("2")
        other.saved()
        hand.key("4")  # the first tab has not heard of it yet: the last word of the same person counts
        hand.saved()
        assert review.state().cells[cell[0]] == (review.types(review.state())[3], "confirmed")
        assert [event.who for event in review.state().events[1:]] == ["Ann"] * 3

        page.goto(f"{page.url}/history")
        page.locator("tbody tr").nth(3).wait_for()
        page.go_back()
        hand.saved()
        page.locator('[data-filter="changed"]', has_text="Changed 1").wait_for()
        page.context.close()
    assert not faults


def test_a_refusal_is_seen_in_the_dialog_that_is_open(folder: Path, chromium: Any):
    faults: list[str] = []
    with served([folder]) as server:
        hand = sit(chromium, server, faults)
        page, review = hand.page, stands(server)
        hand.click("#findings")
        page.route("**/news*", lambda route: route.abort())  # Ann has not heard of it
        review.act("bob-1", "Bob", lambda state: actions.enter(state, "white_cells", 7, base=state.seq, who="Bob"))
        page.fill("#entries input >> nth=0", "8")
        hand.key("Tab")
        page.locator("dialog[open] #toast", has_text="leukocytes, 10⁹/l: was changed by Bob meanwhile").wait_for()
        assert page.evaluate("(({x, y, width}) => document.elementFromPoint(x + width / 2, y + 5).id)(document"
                             ".querySelector('#toast').getBoundingClientRect())") == "toast"  # nothing covers it
        hand.key("Escape")
        page.unroute("**/news*")
        assert review.state().values == {"white_cells": 7}
        hand.click("details.menu summary")
        hand.click("#give")
        page.fill("#give-dialog input", "Ann")
        hand.click("#give-dialog .primary")
        page.locator("#give-dialog .error", has_text="has seen this smear already").wait_for()
        page.fill("#give-dialog input", "Cora")
        hand.click("#give-dialog .primary")
        page.locator("dialog[open]").wait_for(state="detached")
        page.locator("#toast", has_text="Given to Cora").wait_for()
        page.context.close()
    assert not faults


def test_a_field_shows_what_is_said_of_it_and_its_scale(folder: Path, chromium: Any):
    summary = read_json(folder / "summary.json")
    first = summary["fields"][0] | {"remarks": ["out of focus <b>"]}
    write_json(folder / "summary.json", summary | {"fields": [first, *summary["fields"][1:]]})
    faults: list[str] = []
    with served([folder]) as server:
        hand = sit(chromium, server, faults)
        page = hand.page
        hand.click('[data-view="field"]')
        page.locator(".shape").first.wait_for()
        page.locator("#field-remarks", has_text="out of focus <b>").wait_for()
        widths = []
        for key in ("0", "+"):
            hand.key(key)
            bar = page.locator(".scale-bar")
            micrometres = float(bar.inner_text().removesuffix(" µm"))
            length = micrometres / first["micrometres_per_pixel"]  # px
            (left, _), (right, _) = (field_to_window(page, x, 0) for x in (0, length))
            widths.append((bar.bounding_box() or {})["width"] / micrometres)
            assert widths[-1] * micrometres == pytest.approx(right - left, abs=0.6)
        assert widths[1] == pytest.approx(1.4 * widths[0], rel=0.02)
        hand.click("#field-next")
        page.locator("#field-remarks").wait_for(state="hidden")
        page.context.close()
    assert not faults


def two_hundred(counted: Path, out: Path, seed: int) -> dict[str, str]:
    """A smear of CELLS cells, of which WRONG have another type than the true one, and are unsure: name -> true type."""
    rng = np.random.default_rng(seed)
    table, summary = pl.read_parquet(counted / "cells.parquet"), read_json(counted / "summary.json")
    table = table.filter(~pl.col("cut") & ~pl.col("damaged") & pl.col("predicted").is_not_null()).with_columns(
        unsure=pl.lit(False), known=pl.lit(True), flag=pl.lit(None, pl.String), flag_reason=pl.lit(None, pl.String))
    out.mkdir()
    fields, tables = [], []
    for number in range(-(-CELLS // table.height)):
        for field in summary["fields"]:
            name = f"{field['name']}_{number}"
            for end in (".png", ".geojson"):
                os.link(counted / f"{field['name']}{end}", out / f"{name}{end}")
            fields.append(field | {"name": name})
        tables.append(table.with_columns(field=pl.col("field") + f"_{number}"))
    cells = pl.concat(tables).head(CELLS)
    wrong = sorted(int(place) for place in rng.choice(CELLS, WRONG, replace=False))
    kinds, classes = cells["predicted"].to_list(), summary["bundle"]["classes"]
    true = {f"{cells['field'][place]}/{cells['number'][place]}": kinds[place] for place in wrong}
    for place in wrong:
        kinds[place] = str(rng.choice([name for name in classes if name != kinds[place]]))
    cells.with_columns(pl.Series("predicted", kinds), pl.Series("unsure", [n in wrong for n in range(CELLS)])
                       ).write_parquet(out / "cells.parquet")
    files = [f"{field['name']}{end}" for field in fields for end in (".png", ".geojson")]
    write_json(out / "summary.json", summary | {"fields": fields, "files": [*files, "cells.parquet"]})
    return true


def test_ten_wrong_cells_of_two_hundred_take_at_most_twelve_actions(counted: Path, chromium: Any, tmp_path: Path):
    counts = []
    for seed in range(3):
        true = two_hundred(counted, tmp_path / f"count{seed}", seed)
        faults: list[str] = []
        with served([tmp_path / f"count{seed}"]) as server:
            hand, review = sit(chromium, server, faults), stands(server)
            keys = review.laboratory.keys_of(review.types(review.state()))
            hand.actions = 0
            hand.click('[data-filter="open"]')
            for _ in range(WRONG):  # the person sees the cell that is chosen, and presses the key of its type
                place = int(hand.page.get_attribute(".tile.active", "id").removeprefix("cell-"))
                hand.key(keys[true[review.cells.names[place]]])
            hand.saved()
            counts.append(hand.actions)
            state = review.state()
            assert {name: state.cells[name] for name in true} == {
                name: (kind, "confirmed") for name, kind in true.items()}
            assert sum(event.kind == "decided" for event in state.events) == WRONG
            hand.page.context.close()
        assert not faults
        shutil.rmtree(tmp_path / f"count{seed}")
    assert float(np.median(counts)) <= MOST_ACTIONS, counts
