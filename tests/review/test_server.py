"""The server: who may come in, what the pages and the JSON say, and what is refused."""

from __future__ import annotations

import html
import re
import shutil
import socket
import uuid
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from leukoscope.commands.smear import smear_fields
from leukoscope.commands.smear_subjects import smear_subjects
from leukoscope.files import read_json, write_json
from leukoscope.review import presence
from leukoscope.review.door import CSRF, Keys
from leukoscope.review.serve import _listen, application
from leukoscope.review.smear import verify

ADDRESS = "http://127.0.0.1:8765"


def stranger(bench, address: str = ADDRESS) -> TestClient:
    """A browser that has not come with the token."""
    return TestClient(application(bench.desk, bench.keys), base_url=address)


def message(**body) -> dict:
    return {"key": str(uuid.uuid4()), "since": 0, **body}


# ------------------------------------------------------------------------------------------------ who may come in

def test_without_the_token_there_is_nothing_to_see(bench):
    client = stranger(bench)
    for path in ("/", bench.path, f"{bench.path}/cells/0.jpg", f"{bench.path}/export/cells.csv", "/smears/x/report"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "open the address that leukoscope review printed" in answer.text
    assert client.get("/", params={"token": "guessed"}).status_code == 403
    assert client.get("/", params={"token": bench.keys.token}).status_code == 200
    assert client.get("/").status_code == 200


def test_the_token_leaves_the_address_and_leads_nowhere_else(bench):
    client = stranger(bench)
    answer = client.get(f"{ADDRESS}//evil.example/x", params={"token": bench.keys.token, "a": "1"},
                        follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/evil.example/x?a=1"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]


def test_the_cookie_of_another_start_opens_nothing(bench):
    client = stranger(bench)
    client.get("/", params={"token": bench.keys.token})
    other = TestClient(application(bench.desk, Keys(8765, "Ann")), base_url=ADDRESS, cookies=dict(client.cookies))
    assert other.get("/").status_code == 403


def test_another_host_name_is_refused(bench):
    client = stranger(bench, "http://evil.example:8765")
    assert client.get("/", params={"token": bench.keys.token}).status_code == 400


@pytest.mark.parametrize("headers", [{CSRF: ""}, {CSRF: "guessed"}, {"origin": "http://evil.example"},
                                     {"origin": "null"}, {"origin": "http://127.0.0.1:9999"}])
def test_a_change_that_comes_from_another_page_is_refused(bench, headers):
    before = bench.smear["seq"]
    answer = bench.client.post(f"{bench.path}/decisions", json=message(cells=[0], did="confirm"), headers=headers)
    assert answer.status_code == 403
    assert bench.smear["seq"] == before


def test_every_answer_forbids_scripts_of_others_and_being_framed(bench):
    for path in ("/", f"/smears/{bench.path.rsplit('/')[-1]}", bench.path, "/static/app.css", "/nowhere"):
        policy = bench.client.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_no_page_has_a_script_or_style_within_it(bench):
    key = bench.path.rsplit("/")[-1]
    for path in ("/", f"/smears/{key}", f"/smears/{key}/history", f"/smears/{key}/report"):
        page = bench.client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:", page)
        for address in re.findall(r'(?:src|href)="([^"#]+)"', page):
            assert address.startswith("/")
            assert bench.client.get(html.unescape(address)).status_code in (200, 422)  # 422: nothing confirmed yet


@pytest.mark.parametrize("path", [
    "/static/../serve.py", "/static/%2e%2e/serve.py", "/static/..%2f..%2f..%2fpyproject.toml", "/static//etc/passwd",
    "/api/v1/smears/..%2f..", "/smears/%2e%2e", "/api/v1/smears/KEY/export/..%2fsummary.json",
    "/api/v1/smears/KEY/export/summary.json", "/api/v1/smears/KEY/fields/../../../etc/passwd",
    "/api/v1/smears/KEY/cells/99999.jpg", "/api/v1/smears/KEY/cells/-1.jpg", "/api/v1/smears/KEY/fields/99.jpg",
    "/api/v1/smears/0123456789"])
def test_nothing_outside_the_result_can_be_read(bench, path):
    answer = bench.client.get(path.replace("KEY", bench.path.rsplit("/")[-1]))
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


# ------------------------------------------------------------------------------------------------ the JSON

def test_the_smear_is_as_it_was_counted(bench):
    smear, cells = bench.smear, bench.smear["cells"]
    result = next(iter(bench.desk.seats.values())).review.result
    assert smear["state"] == "new"
    assert len(cells["number"]) == result.cells.height
    assert [smear["types"][place]["name"] for place in cells["machine"]] == result.cells["predicted"].to_list()
    assert sorted(cells["rank"]) == list(range(result.cells.height))
    first = cells["rank"].index(0)
    assert cells["flag"][first] is not None
    standing, machine = smear["standing"], result.summary.differential
    assert standing["total"] == machine.total
    assert {kind["name"]: kind["cells"] for kind in standing["types"]} == {kind.name: kind.cells
                                                                         for kind in machine.types}
    assert len({kind["key"] for kind in smear["types"]}) == len(smear["types"])


def test_a_relabelled_cell_moves_the_differential_and_an_undo_moves_it_back(bench):
    smear = bench.smear
    cell = next(place for place, kind in enumerate(smear["cells"]["machine"])
                if smear["types"][kind]["name"] == "neutrophil" and not smear["cells"]["cut"][place])
    count = {kind["name"]: kind["cells"] for kind in smear["standing"]["types"]}
    said = bench.send("decisions", cells=[cell], did="type", type="basophil")
    now = {kind["name"]: kind["cells"] for kind in said["standing"]["types"]}
    assert now == count | {"neutrophil": count["neutrophil"] - 1, "basophil": count["basophil"] + 1}
    assert said["changes"] == [[cell, smear["types"].index(next(t for t in smear["types"] if t["name"] == "basophil")),
                                1]]
    assert (said["undo"], said["redo"], said["state"]) == (True, False, "in review")
    said = bench.send("undo")
    assert {kind["name"]: kind["cells"] for kind in said["standing"]["types"]} == count
    assert (said["undo"], said["redo"]) == (False, True)
    assert bench.send("redo")["standing"]["changed"] == 1
    one = bench.client.get(f"{bench.path}/cells/{cell}").json()
    assert [past["what"] for past in one["history"]] == [
        "neutrophil → basophil", "undone: basophil → neutrophil", "done again: neutrophil → basophil"]


def test_shares_are_wilson_intervals_of_the_cells_that_count(bench):
    from statsmodels.stats.proportion import proportion_confint

    bench.send("decisions", cells=list(range(4)), did="reject")
    standing = bench.smear["standing"]
    assert standing["rejected"] == 4
    for kind in standing["types"]:
        if kind["share"]:
            low, high = proportion_confint(kind["cells"], standing["total"], method="wilson")
            assert kind["share"]["low"] == pytest.approx(low, abs=1e-9)
            assert kind["share"]["high"] == pytest.approx(high, abs=1e-9)


def test_a_damaged_cell_counts_once_a_person_has_confirmed_it_and_a_cut_one_never(folder, sit):
    cells = pl.read_parquet(folder / "cells.parquet").with_columns(
        damaged=~pl.col("cut") & (pl.col("predicted") == "lymphocyte"))
    cells.write_parquet(folder / "cells.parquet")
    with sit([folder]) as bench:
        damaged = cells["damaged"].arg_true().to_list()
        before = bench.smear["standing"]["total"]
        assert bench.send("decisions", cells=damaged[:2], did="confirm")["standing"]["total"] == before + 2
        cut = cells["cut"].arg_true().to_list()
        assert bench.send("decisions", cells=cut, did="confirm")["standing"]["total"] == before + 2


def test_the_news_are_what_happened_since(bench):
    seq = bench.send("decisions", cells=[0, 1], did="reject")["seq"]
    bench.send("decisions", cells=[2], did="reject")
    said = bench.client.get(f"{bench.path}/news", params={"since": seq}).json()
    assert [change[0] for change in said["changes"]] == [2]
    assert bench.client.get(f"{bench.path}/news", params={"since": "x"}).status_code == 400


@pytest.mark.parametrize(("what", "body", "says"), [
    ("decisions", {"cells": [], "did": "confirm"}, "cells"),
    ("decisions", {"cells": ["a"], "did": "confirm"}, "cells.0"),
    ("decisions", {"cells": [0], "did": "guess"}, "did"), ("decisions", {"cells": [0]}, "did"),
    ("decisions", {"cells": [True], "did": "confirm"}, "cells.0"),
    ("comments", {"text": 5}, "text"), ("comments", {"text": "x", "more": 1}, "more"),
    ("undo", {"key": "short"}, "key"), ("undo", {"key": "../../etc/passwd"}, "key"), ("undo", {"since": -1}, "since")])
def test_a_message_that_is_not_as_it_should_be_is_named(bench, what, body, says):
    said = bench.client.post(f"{bench.path}/{what}", json=message() | body)
    assert said.status_code == 400
    assert said.json()["error"].startswith(says)
    assert bench.smear["seq"] == 0


def test_what_is_no_json_and_what_is_too_long_is_refused(bench):
    assert bench.client.post(f"{bench.path}/undo", content=b"{").status_code == 400
    assert bench.client.post(f"{bench.path}/undo", content=b" " * 3_000_000).status_code == 400


@pytest.mark.parametrize(("what", "body", "says"), [
    ("decisions", {"cells": [10**6], "did": "confirm"}, "no cell 1000000"),
    ("decisions", {"cells": [0], "did": "type", "type": "unicorn"}, "'unicorn' is not a type"),
    ("decisions", {"cells": [0], "did": "restore"}, "nothing to change"),
    ("undo", {}, "nothing to undo"), ("redo", {}, "nothing to redo"), ("amendments", {"text": "x"}, "is not signed"),
    ("comments", {"text": "  "}, "1 to 4000"), ("types", {"text": "neutrophil"}, "exists already"),
    ("signature", {"text": ""}, "flagged and not answered")])
def test_what_cannot_be_done_as_things_stand_is_refused(bench, what, body, says):
    assert says in bench.send(what, 409, **body)["error"]
    assert bench.smear["seq"] == 0


def test_an_added_type_is_counted(bench):
    said = bench.send("types", text="plasma cell")
    assert said["types"][-1] | {"colour": ""} == {"name": "plasma cell", "label": "plasma cell", "colour": "",
                                                  "kind": "leukocyte", "key": "0"}
    cell = bench.smear["cells"]["cut"].index(False)
    said = bench.send("decisions", cells=[cell], did="type", type="plasma cell")
    assert said["standing"]["types"][-1]["cells"] == 1


def test_pictures_are_of_one_size_and_show_the_cell(bench):
    result = next(iter(bench.desk.seats.values())).review.result
    for place in range(6):
        row = result.cells.row(place, named=True)
        photograph = Image.open(BytesIO(Path(row["image"]).read_bytes()))
        tile = Image.open(BytesIO(bench.client.get(f"{bench.path}/cells/{place}.jpg").content))
        assert tile.size == (160, 160)
        if not row["cut"]:
            side = round(24 / row["micrometres_per_pixel"])
            left, top = (round(row[f"centre_{axis}"] - (side - 1) / 2) for axis in "xy")
            cut = photograph.crop((left, top, left + side, top + side)).resize((160, 160))
            middle = (60, 60, 100, 100)
            apart = [abs(a - b) for a, b in zip(tile.convert("L").crop(middle).tobytes(),
                                                cut.convert("L").crop(middle).tobytes(), strict=True)]
            assert sum(apart) / len(apart) < 12
    assert Image.open(BytesIO(bench.client.get(f"{bench.path}/cells/0/around.jpg").content)).size == (560, 560)
    field = Image.open(BytesIO(bench.client.get(f"{bench.path}/fields/0.jpg").content))
    assert field.size == (1200, 900)
    outlines = bench.client.get(f"{bench.path}/fields/0/outlines").json()
    assert sorted(map(int, outlines)) == sorted(
        result.cells.filter(result.cells["field"] == result.summary.fields[0].name)["number"])


def test_a_field_that_has_gone_is_named_and_its_cells_are_shown(bench, counted, tmp_path, sit):
    fields = shutil.copytree(counted.parent / "fields", tmp_path / "moved")
    photographs = sorted(path for path in fields.rglob("*.png") if path.parent.name == "images")
    smear_fields(photographs, tmp_path / "again", subject="S1")
    photographs[1].unlink()
    with sit([tmp_path / "again"]) as other:
        smear = other.smear
        assert [field["missing"] for field in smear["fields"]] == [False, True]
        assert len(smear["cells"]["number"]) == len(bench.smear["cells"]["number"])
        page = other.client.get(f"/smears/{smear['key']}").text
        assert "1 photograph missing:" in page
        assert smear["fields"][1]["name"] in page
        lost = smear["cells"]["field"].index(1)
        for picture in (f"cells/{lost}.jpg", f"cells/{lost}/around.jpg", "fields/1.jpg"):
            assert other.client.get(f"{other.path}/{picture}").headers["content-type"] == "image/jpeg"
        assert other.client.get("/api/v1/smears").json()[0]["missing"] == 1
        photographs[0].write_bytes(b"no picture")
        assert other.client.get(f"{other.path}/fields/0.jpg").status_code == 200


# ------------------------------------------------------------------------------------------------ the pages

def test_what_the_count_says_of_itself_is_on_the_page_and_in_the_report(folder, sit):
    summary = read_json(folder / "summary.json")
    first = summary["fields"][0] | {"remarks": ["out of focus <b>"]}
    write_json(folder / "summary.json", summary | {
        "unreliable": "Types are not to be relied on: <i>other stain</i>.", "finding": "2 cells look like blasts.",
        "unreadable": [{"image": "torn.jpg", "reason": "the file ends too early"}], "remarks": ["half are unsure"],
        "left_out": [{"image": "notes.txt", "reason": "is no image"}], "fields": [first, *summary["fields"][1:]]})
    with sit([folder]) as bench:
        key = bench.path.rsplit("/")[-1]
        page, report = (bench.client.get(f"/smears/{key}{path}").text for path in ("", "/report"))
        for text in ("other stain&lt;/i&gt;.", "torn.jpg: the file ends too early"):
            assert text in page
            assert text in report
        for text in ("2 cells look like blasts.", "2 remarks on this count", "half are unsure",
                     "in no count: notes.txt: is no image"):
            assert text in page
        assert bench.smear["fields"][0]["remarks"] == ["out of focus <b>"]
        assert bench.client.get(f"{bench.path}/export/smear.csv").text.count("torn.jpg") == 1
        # Once a person has confirmed every cell there are shares, and types are relied on.
        bench.send("decisions", cells=list(range(len(bench.smear["cells"]["cut"]))), did="confirm")
        for path in ("", "/report"):
            assert "other stain" not in bench.client.get(f"/smears/{key}{path}").text


def test_the_page_rounds_as_the_report_does(bench):
    state = bench.smear
    counted = [cell for cell, cut in enumerate(state["cells"]["cut"]) if not cut][:8]
    rest = [cell for cell in range(len(state["cells"]["cut"])) if cell not in counted]
    bench.send("decisions", cells=counted, did="type", type="neutrophil")
    bench.send("decisions", cells=counted[:1], did="type", type="monocyte")
    bench.send("values", name="white_cells", value=5)
    types = bench.send("decisions", cells=rest, did="reject")["standing"]["types"]
    texts = {one["name"]: one["text"] for one in types}
    assert texts["monocyte"] == {"value": "12.5", "ci": "2.2–47.1", "rumke": "8.3–17.9", "litre": "0.62"}  # 0.625
    report = bench.client.get(f"/smears/{state['key']}/report").text
    for name in ("neutrophil", "monocyte"):
        row = report.partition(f'<th scope="row">{name}</th>')[2].partition("</tr>")[0]
        assert f"<td>{texts[name]['value']}\u202f%</td><td>{texts[name]['ci']}</td>" in row
        assert f"<td>{texts[name]['litre']}</td>" in row


def test_nobody_signs_on_a_damaged_record(bench, sit):
    bench.answer_all()
    bench.db.unprotect(bench.folder)
    bench.db.sql(bench.folder, "UPDATE events SET who = 'Bob' WHERE seq = 2")
    with sit([bench.folder]) as later:
        for one in (bench, later):  # also the server that was running meanwhile
            assert "is damaged: event 2 was changed" in one.send("signature", 409, text="")["error"]
            for path in ("", "/history", "/report"):
                assert "event 2 was changed" in one.client.get(f"/smears/{one.smear['key']}{path}").text


def test_a_whole_review_from_new_to_amended(bench):
    key = bench.path.rsplit("/")[-1]
    bench.send("comments", text="thick smear <b>here</b>")
    bench.answer_all()
    bench.send("signature", text="seen & signed")
    history = bench.client.get(f"/smears/{key}/history").text
    assert "thick smear &lt;b&gt;here&lt;/b&gt;" in history
    assert "every event follows from the one before it" in history
    report = bench.client.get(f"/smears/{key}/report").text
    assert "signed by <strong>Ann</strong>" in report
    assert "seen &amp; signed" in report
    assert bench.smear["signed"]["who"] == "Ann"
    assert "signed by Ann" in bench.send("decisions", 409, cells=[0], did="reject")["error"]
    bench.send("amendments", text="second look")
    bench.send("signature", text="")
    assert "amended and signed" in bench.client.get(f"/smears/{key}/report").text
    assert bench.client.get("/api/v1/smears").json()[0]["state"] == "amended"


def test_a_second_person_signs_a_signed_smear_once(bench, sit_at):
    bob = sit_at(bench)
    bob.post("/api/v1/me", json={"name": "Bob"})

    def of_bob(what: str, **body):
        seen = bob.get(bench.path).json()["seq"]
        return bob.post(f"{bench.path}/{what}", json={"key": str(uuid.uuid4()), "since": seen, **body})

    assert "is not signed" in of_bob("countersignature", text="").json()["error"]
    bench.answer_all()
    assert bench.send("signature", text="")["may_countersign"] is False
    assert "ask another person" in bench.send("countersignature", 409, text="")["error"]
    assert bob.get(bench.path).json()["may_countersign"] is True
    assert "was signed meanwhile" in of_bob("countersignature", since=0, text="not seen").json()["error"]
    said = of_bob("countersignature", text="agreed <b>").json()
    assert (said["signed"]["who"], said["second"]["who"], said["may_countersign"]) == ("Ann", "Bob", False)
    assert "a second signature already, by Bob" in of_bob("countersignature", text="").json()["error"]
    key = bench.path.rsplit("/")[-1]
    report = bench.client.get(f"/smears/{key}/report").text
    assert "Second signature: <strong>Bob</strong>" in report
    assert "agreed &lt;b&gt;" in report
    assert "Signed as the second person" in bench.client.get(f"/smears/{key}/history").text
    bench.send("amendments", text="second look")
    assert bench.send("signature", text="")["second"] is None
    assert verify(bench.folder, bench.db.shared()).broken == ""


def test_markup_is_text_everywhere(bench):
    evil = "<img src=x onerror=alert(1)>"
    key = bench.path.rsplit("/")[-1]
    assert bench.client.post("/api/v1/me", json={"name": evil}).json() == {"me": evil}
    bench.send("comments", text=evil)
    bench.send("comments", text=evil, cell=0)
    bench.send("types", text=evil)
    bench.send("decisions", cells=[bench.smear["cells"]["cut"].index(False)], did="type", type=evil)
    for path in ("/", f"/smears/{key}", f"/smears/{key}/history", f"/smears/{key}/report"):
        page = bench.client.get(path).text
        assert evil not in page
    assert html.escape(evil) in bench.client.get(f"/smears/{key}/history").text


def test_decisions_are_stored_under_the_name_of_who_sits_there(bench, folder):
    bench.client.post("/api/v1/me", json={"name": " Dr.  Bo\nNe "})
    bench.send("decisions", cells=[0], did="reject")
    history = bench.client.get(f"{bench.path}/history").json()
    assert [event["who"] for event in history] == ["Dr. Bo Ne", "Dr. Bo Ne"]
    assert bench.client.post("/api/v1/me", json={"name": ""}).status_code == 400


def test_a_second_browser_is_seen(bench, sit_at):
    other = sit_at(bench)
    other.post("/api/v1/me", json={"name": "Bob"})
    other.get(bench.path)
    assert bench.smear["here"] == ["Bob"]
    assert bench.client.get("/api/v1/smears").json()[0]["here"] == ["Ann", "Bob"]


def test_two_servers_on_one_postgresql_know_who_has_a_smear_open(bench, sit, monkeypatch):
    if bench.db.url is None:
        pytest.skip("files of SQLite are of one computer")
    monkeypatch.setattr(presence, "FRESH", 0.0)
    with sit([bench.folder]) as other:
        other.client.post("/api/v1/me", json={"name": "Bob"})
        assert other.smear["here"] == []
        assert bench.smear["here"] == ["Bob"]
        assert bench.client.get("/api/v1/smears").json()[0]["here"] == ["Ann", "Bob"]
        assert other.smear["here"] == ["Ann"]
    bench.db.sql(bench.folder, "UPDATE presence SET at = at - 50 WHERE name = 'Bob'")
    assert bench.smear["here"] == []


def test_a_full_disk_is_told_to_the_person(bench):
    bench.send("decisions", cells=[0], did="reject")
    bench.db.fill_disk(bench.folder, next(iter(bench.desk.seats.values())).review._engine)
    answers = [bench.client.post(f"{bench.path}/comments", json=message(text="x" * 4000)) for _ in range(30)]
    assert answers[-1].status_code == 507
    assert "free disk space" in answers[-1].json()["error"]
    stored = sum(answer.status_code == 200 for answer in answers)
    assert bench.smear["seq"] == 2 + stored


def test_smears_that_are_not_typed_are_typed_by_a_person(counted, tmp_path, sit):
    photographs = sorted((counted.parent / "fields").rglob("images/*.png"))
    smear_fields(photographs[:1], tmp_path / "untyped", types=False)
    with sit([tmp_path / "untyped"]) as bench:
        smear = bench.smear
        assert smear["typed"] is False
        assert set(smear["cells"]["now"]) == {None}
        assert "has no type" in bench.send("decisions", 409, cells=[0], did="confirm")["error"]
        whole = smear["cells"]["cut"].index(False)
        said = bench.send("decisions", cells=[whole], did="type", type="blast")
        assert said["standing"]["total"] == 1
        bench.send("decisions", cells=[0], did="reject")
        for path in ("", "/history", "/report"):
            assert bench.client.get(f"/smears/{smear['key']}{path}").status_code == 200
        assert bench.client.get(f"{bench.path}/cells/{whole}").json()["type"] == "blast"


def test_many_subjects_have_one_worklist(counted, tmp_path, sit):
    for name in ("P1", "P2"):
        (tmp_path / "in" / name).mkdir(parents=True)
    photographs = sorted((counted.parent / "fields").rglob("images/*.png"))
    for name, photograph in zip(("P1", "P2"), photographs, strict=True):
        shutil.copy(photograph, tmp_path / "in" / name)
    smear_subjects([tmp_path / "in"], tmp_path / "out")
    with sit([tmp_path / "out"]) as bench:
        assert [row["name"] for row in bench.client.get("/api/v1/smears").json()] == ["P1", "P2"]
        page = bench.client.get("/").text
        assert page.count("<tr data-state=") == 2
        assert bench.client.get("/api/v1/export/smears.csv").text.count("\n") == 3
        bench.send("decisions", cells=[0], did="reject")
    assert (tmp_path / "out" / "P1" / "review.sqlite").is_file() is (bench.db.url is None)
    assert not (tmp_path / "out" / "P2" / "review.sqlite").exists()


def test_answers_are_sent_at_once():
    """Without the protocol of the socket, asyncio leaves Nagle's algorithm on, and each answer waits 40 ms."""
    with _listen("127.0.0.1", None) as listening:
        assert listening.proto == socket.IPPROTO_TCP
