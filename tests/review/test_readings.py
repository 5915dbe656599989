"""Two observers: a smear is given to a second person blind, and what they agree on."""

from __future__ import annotations

import csv
import shutil
import uuid
from io import StringIO

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score
from starlette.testclient import TestClient

from leukoscope.review.readings import APART, Observed, agreement
from leukoscope.review.shapes import overlap
from leukoscope.review.smear import verify


def send(client: TestClient, path: str, what: str, status: int = 200, **body) -> dict:
    answer = client.post(f"{path}/{what}", json={"key": str(uuid.uuid4()), "since": 0, **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def sign(client: TestClient, path: str) -> None:
    """Answer all cells and sign."""
    said = client.get(path).json()
    cells = [*said["standing"]["unsure"], *said["standing"]["flagged"]]
    if cells:
        send(client, path, "decisions", cells=cells, did="confirm", since=said["seq"])
    send(client, path, "signature", text="")


@pytest.fixture
def bob(bench, sit_at) -> TestClient:
    client = sit_at(bench)
    client.post("/api/v1/me", json={"name": "Bob"})
    return client


def test_a_second_person_reads_blind_and_each_sees_only_their_own(bench, bob):
    first, blind = bench.path, f"{bench.path}-1"
    bench.send("decisions", cells=[0], did="type", type="basophil")
    bench.send("comments", text="a secret of Ann")
    bench.send("readings", text="Bob")
    assert bench.client.get(blind).status_code == 403
    assert "closed to you" in bob.get(first).json()["error"]
    seen = bob.get(blind).json()
    assert seen["cells"]["how"] == [0] * len(seen["cells"]["how"])
    assert seen["reading"]["to"] == "Bob"
    assert "secret" not in bob.get(blind).text + bob.get(f"{blind}/history").text
    assert "secret" not in bob.get(f"/smears/{blind.rsplit('/')[-1]}/history").text
    send(bob, blind, "decisions", cells=[0], did="type", type="blast")
    send(bob, blind, "decisions", cells=[1], did="reject")
    mine = bench.smear["cells"]
    kinds = [one["name"] for one in bench.smear["types"]]
    assert (kinds[mine["now"][0]], mine["how"][1]) == ("basophil", 0)
    assert "blast" not in bench.client.get(f"{first}/history").text
    assert send(bob, blind, "undo")["changes"]
    assert "nothing to undo" not in bench.send("undo")  # Ann's own stack is hers
    sign(bob, blind)
    assert bench.client.get(blind).json()["locked"]  # signed: now Ann may look
    assert bob.get(first).status_code == 200
    assert not bench.smear["locked"]
    found = verify(bench.folder, bench.db.shared())
    assert found.broken == ""


def test_whom_a_smear_cannot_be_given(bench, bob):
    assert "has seen this smear already" in bench.send("readings", 409, text="Ann")["error"]
    send(bob, bench.path, "decisions", cells=[0], did="confirm")
    assert "has seen this smear already" in bench.send("readings", 409, text=" Bob ")["error"]
    bench.send("readings", text="Carl")
    assert "has been given this smear already" in bench.send("readings", 409, text="Carl")["error"]
    assert "1 to 100 printable" in bench.send("readings", 409, text="\n")["error"]
    row = bench.client.get("/api/v1/smears").json()
    assert [one["reader"] for one in row] == ["", "Carl"]
    assert "blind reading by Carl" in bench.client.get("/").text


def test_a_reading_is_in_the_record_of_a_server_that_starts_later(bench, bob, sit):
    bench.send("readings", text="Bob")
    send(bob, f"{bench.path}-1", "split", cell=3)
    with sit([bench.folder]) as again:
        row = again.client.get("/api/v1/smears").json()
        assert [one["reader"] for one in row] == ["", "Bob"]
        again.client.post("/api/v1/me", json={"name": "Bob"})
        assert again.client.get(f"{again.path}-1").json()["added"]["first"] == len(again.desk.seats[
            again.path.rsplit("/")[-1]].review.result.cells)
    assert len(bench.smear["cells"]["how"]) == len(bench.desk.seats[bench.path.rsplit("/")[-1]].review.result.cells)


def test_the_page_compares_machine_review_and_reading_over_smears(folder, sit, sit_at, tmp_path):
    folders = [folder, *(shutil.copytree(folder, tmp_path / f"more{n}") for n in range(2))]
    for n, one in enumerate(folders):  # each another smear, by its words
        text = (one / "summary.json").read_text().replace('"meaning": "', f'"meaning": "{n} ')
        (one / "summary.json").write_text(text)
    with sit(folders) as bench:
        bob = sit_at(bench)
        bob.post("/api/v1/me", json={"name": "Bob"})
        keys = list(bench.desk.seats)
        for n, key in enumerate(keys):
            path = f"/api/v1/smears/{key}"
            send(bench.client, path, "readings", text="Bob")
            whole = [place for place, cut in enumerate(bench.client.get(path).json()["cells"]["cut"]) if not cut]
            send(bench.client, path, "decisions", cells=whole[:1 + n], did="type", type="blast")
            send(bob, f"{path}-1", "decisions", cells=whole[:2], did="type", type="blast")
            send(bob, f"{path}-1", "decisions", cells=whole[2:3], did="reject", since=10)
            sign(bench.client, path)
            sign(bob, f"{path}-1")
        found = {(one["first"], one["second"]): one for one in bench.client.get("/api/v1/agreement").json()}
        assert set(found) == {("machine", "review"), ("machine", "blind reading"), ("review", "blind reading")}
        rows = list(csv.DictReader(StringIO(bench.client.get("/api/v1/export/agreement.csv").text)))
        for (first, second), columns in {("machine", "review"): ("machine", "review: Ann"),
                                         ("review", "blind reading"): ("review: Ann", "blind reading: Bob")}.items():
            pairs = [(row[columns[0]], row[columns[1]]) for row in rows]
            pairs = [pair for pair in pairs if pair != (APART, APART)]
            one = found[first, second]
            assert (one["smears"], one["cells"]) == (3, len(pairs))
            assert sum(map(sum, one["table"])) == len(pairs)
            assert one["kappa"]["value"] == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
            assert one["agreed"]["value"] == pytest.approx(np.mean([a == b for a, b in pairs]))
            blasts = next(kind for kind in one["types"] if kind["name"] == "blast")["differences"]
            assert blasts["pairs"] == 3
            assert blasts["upper"]["value"] - blasts["lower"]["value"] == pytest.approx(
                2 * norm.ppf(0.975) * blasts["spread"])
        page = bench.client.get("/agreement").text
        assert "Cohen’s kappa" in page
        assert "Passing and Bablok" in page
        single = bench.client.get("/agreement", params={"smear": keys[0]}).text
        assert "Shares of the types are compared once two smears" in single
        assert bench.client.get("/api/v1/agreement", params={"smear": "nowhere"}).status_code == 404


def test_cells_that_both_drew_are_one_and_others_are_of_one_observer_alone(bench, bob):
    review = next(iter(bench.desk.seats.values())).review
    table = review.cells.table
    whole = [place for place, cut in enumerate(table["cut"].to_list()) if not cut]
    split = whole[0]
    bench.send("readings", text="Bob")
    blind = f"{bench.path}-1"
    first = bench.send("split", cell=split)["drawn"]  # two cells of one, for both, and by the same outlines
    second = send(bob, blind, "split", cell=split)["drawn"]
    bench.send("decisions", cells=first, did="type", type="eosinophil", since=90)
    send(bob, blind, "decisions", cells=second[:1], did="type", type="eosinophil", since=90)
    send(bob, blind, "decisions", cells=second[1:], did="type", type="blast", since=90)
    row = table.row(whole[1], named=True)
    bench.send("decisions", cells=[whole[1]], did="reject")
    point = free_place(table, row["field"])
    fields = [one.name for one in review.result.summary.fields]
    mine = bench.send("cells", field=fields.index(row["field"]), point=point)
    bench.send("decisions", cells=mine["drawn"], did="type", type="basophil", since=90)  # Bob did not see this one
    sign(bench.client, bench.path)
    sign(bob, blind)
    rows = list(csv.DictReader(StringIO(bench.client.get("/api/v1/export/agreement.csv").text)))
    said = [(one["machine"], one["review: Ann"], one["blind reading: Bob"]) for one in rows]
    drawn = [labels for one, labels in zip(rows, said, strict=True) if "/drawn-" in one["cell"]]
    of_split = [labels for labels in said if labels[1] == "eosinophil"]
    assert sorted(labels[2] for labels in of_split) == ["blast", "eosinophil"]
    assert (APART, "basophil", APART) in drawn
    assert len(drawn) <= 3  # a half that covers most of the machine's cell is that cell
    assert len(rows) == len(whole) + len(drawn)
    found = {(one["first"], one["second"]): one for one in bench.client.get("/api/v1/agreement").json()}
    both = [labels[1:] for labels in said if labels[1:] != (APART, APART)]
    assert found["review", "blind reading"]["cells"] == len(both)
    assert found["review", "blind reading"]["agreed"]["value"] == pytest.approx(np.mean([a == b for a, b in both]))


def free_place(table: pl.DataFrame, field: str) -> list[float]:
    """A point of a field that is far from every cell."""
    there = table.filter(pl.col("field") == field)
    boxes = there.select("x", "y", "width", "height").rows()
    points = ((float(x), float(y)) for y in range(120, 800, 20) for x in range(120, 1100, 20))
    return list(next((x, y) for x, y in points if all(
        not (left - 90 < x < left + width + 90 and top - 90 < y < top + height + 90)
        for left, top, width, height in boxes)))


def test_outlines_overlap_by_their_common_area_over_both():
    square = np.ones((10, 10), bool)
    assert overlap((square, 0, 0), (square, 0, 0)) == 1.0
    assert overlap((square, 0, 0), (square, 5, 0)) == pytest.approx(50 / 150)
    assert overlap((square, 0, 0), (square, 10, 3)) == 0.0


def test_what_is_not_signed_and_what_one_must_not_see_is_not_compared(bench, bob):
    bench.send("readings", text="Bob")
    assert bench.client.get("/api/v1/agreement").json() == []
    assert "Nothing can be compared yet" in bench.client.get("/agreement").text
    bench.answer_all()
    bench.send("signature", text="")
    assert [one["second"] for one in bench.client.get("/api/v1/agreement").json()] == ["review"]
    assert bob.get("/api/v1/agreement").json() == []  # Bob still reads it blind
    sign(bob, f"{bench.path}-1")
    assert len(bob.get("/api/v1/agreement").json()) == 3


def test_kappa_of_a_table_that_can_be_worked_out_by_hand():
    first = Observed("a", dict(zip("123456", "xxxyyy", strict=True)), {"x": 50.0, "y": 50.0})
    second = Observed("b", dict(zip("123456", "xxyyyy", strict=True)), {"x": 100 / 3, "y": 200 / 3})
    found = agreement("review", "blind reading", [(first, second)])
    assert found.table == ((2, 1), (0, 3))
    assert found.kappa.value == pytest.approx((5 / 6 - 1 / 2) / (1 - 1 / 2))
    assert found.types == ()
    over = agreement("review", "blind reading", [(first, second)] * 3)
    assert over.types[0].differences.bias.value == pytest.approx(100 / 3 - 50)
