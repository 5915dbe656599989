"""What a laboratory sets, and what a person enters beside the cells."""

from __future__ import annotations

import csv
import math
import uuid
from io import StringIO
from pathlib import Path

import pytest
from scipy.stats import poisson
from statsmodels.stats.proportion import proportion_confint

from command import refusal
from leukoscope.errors import LeukoscopeError
from leukoscope.files import read_json, write_json
from leukoscope.review.laboratory import Laboratory, read_laboratory
from leukoscope.review.outcome import rumke
from leukoscope.review.smear import verify

SETTINGS = """
name = "City <b>Laboratory</b>"
target = 100
types = ["band neutrophil", "smudge cell"]
white_cells = [4.0, 10.0]
platelets = [150, 400]
[keys]
neutrophil = "j"
[ranges.neutrophil]
percent = [60, 75]
per_litre = [2.0, 7.5]
[ranges.lymphocyte]
per_litre = [0.1, 0.2]
"""


@pytest.fixture
def at(sit):
    """A workbench with settings, as text, or None."""
    def opened(folder: Path, settings: str | None):
        path = None
        if settings is not None:
            path = folder.parent / "laboratory.toml"
            path.write_text(settings, encoding="utf-8")
        return sit([folder], path)

    return opened


def rows_of(said: dict) -> dict[str, dict]:
    return {row["name"]: row for row in said["standing"]["types"]}


# ------------------------------------------------------------------------------------------------------- settings

@pytest.mark.parametrize(("text", "message"), [
    ("target = 150", "target: must be 100, 200 or 400"),
    ("targets = 100", "targets: is no setting"),
    ("[ranges.neutrophil]\npercent = [75, 40]", "ranges.neutrophil.percent: the first number must be below the second"),
    ("white_cells = [10, 4]", "white_cells: the first number must be below the second"),
    ("platelets = [400, 150]", "platelets: the first number must be below the second"),
    ("[ranges.neutrophil]\npercent = [1, nan]", "ranges.neutrophil.percent"),
    ('types = ["a", "A"]', "types: each type must be named once"),
    (f"types = {[f't{n}' for n in range(16)]}", "types: at most 15 are possible"),
    ('types = ["a\\nb"]', "types: 'a b' is no name of printable characters"),
    ('[keys]\nneutrophil = "x"', "keys: 'x' is the key of a command"),
    ('[keys]\nneutrophil = "j"\nmonocyte = "j"', "keys: two types have the same key"),
    ('[keys]\nneutrophil = "J"', "keys.neutrophil: must be one small letter or one digit"),
    ("target = ", "cannot be read (Invalid value"), ("[" * 3000, "cannot be read"), (b"\xff", "cannot be read")])
def test_a_wrong_setting_is_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "laboratory.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LeukoscopeError) as error:
        read_laboratory(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_names_the_file_and_an_unknown_type(folder, tmp_path):
    missing = refusal("review", folder, "--no-browser", "--laboratory", tmp_path / "none.toml")
    assert "none.toml: no such file" in missing
    (tmp_path / "odd.toml").write_text('[ranges.neutrophill]\npercent = [1, 2]\n')
    said = refusal("review", folder, "--no-browser", "--laboratory", tmp_path / "odd.toml")
    assert "ranges: no smear has a type 'neutrophill'" in said


def test_keys_are_the_laboratorys_and_then_the_next_free_ones(folder, at):
    keys = Laboratory(keys={"b": "1", "c": "k"}).keys_of(["a", "b", "c", "d"])
    assert keys == {"a": "2", "b": "1", "c": "k", "d": "3"}
    with at(folder, SETTINGS) as bench:
        types = {one["name"]: one["key"] for one in bench.smear["types"]}
        assert types["neutrophil"] == "j"
        assert types["band neutrophil"] == "9"
        assert len(set(types.values())) == len(types)


def test_ranges_flag_what_lies_outside_and_absolute_numbers_need_the_leukocyte_count(folder, at):
    with at(folder, SETTINGS) as bench:
        rows = rows_of(bench.smear)
        assert (rows["neutrophil"]["flag"], rows["neutrophil"]["percent_range"]) == ("L", [60.0, 75.0])
        assert rows["lymphocyte"]["flag"] == rows["monocyte"]["flag"] == ""
        assert all(row["per_litre"] is None for row in rows.values())
        said = bench.send("values", name="white_cells", value=12.5)
        rows = rows_of(said)
        for row in rows.values():
            if row["share"]:
                for end in ("value", "low", "high"):
                    assert row["per_litre"][end] == pytest.approx(12.5 * row["share"][end])
        assert (rows["lymphocyte"]["litre_flag"], said["standing"]["white_flag"]) == ("H", "H")
        page = bench.client.get(f"/smears/{bench.path.rsplit('/')[-1]}/report").text
        assert "60–75 %" in page
        assert "City &lt;b&gt;Laboratory" in page
        row = next(csv.DictReader(StringIO(bench.client.get(f"{bench.path}/export/smear.csv").content.decode())))
        assert (row["white_cells_10_9_per_litre"], row["flag_neutrophil"]) == ("12.5", "L")
        assert float(row["per_litre_neutrophil"]) == pytest.approx(rows["neutrophil"]["per_litre"]["value"])


def test_types_of_the_laboratory_can_be_given_and_stay_when_the_settings_have_gone(folder, at):
    with at(folder, SETTINGS) as bench:
        cell = bench.smear["cells"]["cut"].index(False)
        said = bench.send("decisions", cells=[cell], did="type", type="band neutrophil")
        assert rows_of(said)["band neutrophil"]["cells"] == 1
        total = said["standing"]["total"]
        for number in range(13):
            bench.send("types", text=f"type {number}")
        assert "already has 15 added types" in bench.send("types", 409, text="one more")["error"]
    with at(folder, None) as bench:
        rows = rows_of(bench.smear)
        assert rows["band neutrophil"]["cells"] == 1
        assert "smudge cell" not in rows
        assert bench.smear["standing"]["total"] == total
        names = [one["name"] for one in bench.smear["types"]]
        assert names[bench.smear["cells"]["now"][cell]] == "band neutrophil"


def test_rumkes_limits_are_those_of_his_table_and_of_the_exact_interval(folder, at):
    # Rümke 1985, whole percent, rounded outwards.
    for percent, target, low, high in ((0, 100, 0, 4), (1, 100, 0, 6), (10, 100, 4, 18), (50, 100, 39, 61),
                                       (50, 200, 42, 58), (0, 200, 0, 2)):
        found = rumke(float(percent), target)
        assert (math.floor(100 * found[0]), math.ceil(100 * found[1])) == (low, high)
    for cells in range(0, 401, 37):
        assert rumke(cells / 4, 400) == pytest.approx(proportion_confint(cells, 400, method="beta"), nan_ok=True)
    with at(folder, SETTINGS) as bench:
        assert bench.smear["standing"]["target"] == 100
        row = rows_of(bench.send("values", name="target", value=400))["neutrophil"]
        assert row["rumke"] == pytest.approx(rumke(100 * row["share"]["value"], 400))
        assert bench.smear["standing"]["target"] == 400
        assert "100, 200, 400" in bench.send("values", 409, name="target", value=150)["error"]


# -------------------------------------------------------------------------------------------------------- entries

def test_findings_are_events_that_are_undone_signed_and_exported(bench):
    bench.send("values", name="finding:schistocytes", value=2)
    bench.send("values", name="finding:schistocytes", value=3)
    bench.send("values", name="finding:target cells", value=0)
    assert bench.smear["standing"]["findings"] == [["schistocytes", 3], ["target cells", 0]]
    bench.send("undo")
    assert bench.send("undo")["standing"]["findings"] == [["schistocytes", 2]]
    bench.send("redo")
    bench.send("values", name="finding:schistocytes", value=None)
    assert bench.smear["standing"]["findings"] == []
    bench.send("undo")
    assert bench.smear["standing"]["findings"] == [["schistocytes", 3]]
    page = bench.client.get(f"/smears/{bench.path.rsplit('/')[-1]}/history").text
    assert "schistocytes: many (3+), was moderate (2+)" in page
    assert "schistocytes: many (3+)" in bench.client.get(f"/smears/{bench.path.rsplit('/')[-1]}/report").text
    row = next(csv.DictReader(StringIO(bench.client.get(f"{bench.path}/export/smear.csv").content.decode())))
    assert row["finding_schistocytes"] == "3"
    assert verify(bench.folder, bench.db.shared()).broken == ""
    bench.answer_all()
    bench.send("signature", text="")
    assert "is locked" in bench.send("values", 409, name="finding:schistocytes", value=1)["error"]


@pytest.mark.parametrize(("name", "value", "message"), [
    ("finding:unicorns", 1, "no finding 'unicorns'"), ("finding:schistocytes", 4, "a grade is 0, 1, 2 or 3"),
    ("finding:schistocytes", 1.5, "a grade is"), ("platelets:nowhere", 1, "no field 'nowhere'"),
    ("white_cells", 0, "above 0"), ("white_cells", 2000, "at most 1000"), ("colour", 1, "nothing is entered as")])
def test_a_value_that_cannot_be_is_refused_in_words(bench, name, value, message):
    assert message in bench.send("values", 409, name=name, value=value)["error"]
    assert not bench.smear["standing"]["values"]


def test_what_somebody_else_has_entered_meanwhile_is_not_overwritten(bench, sit_at):
    bench.send("values", name="white_cells", value=7)
    other = sit_at(bench)
    other.post("/api/v1/me", json={"name": "Bob"})
    message = {"key": str(uuid.uuid4()), "since": 0, "name": "white_cells", "value": 8}
    answer = other.post(f"{bench.path}/values", json=message)
    assert answer.status_code == 409
    assert "leukocytes, 10⁹/l: was changed by Ann meanwhile" in answer.json()["error"]
    assert other.post(f"{bench.path}/values", json=message | {"since": bench.smear["seq"]}).status_code == 200
    assert "was changed by Bob since" in bench.send("undo", 409)["error"]


def test_platelets_are_estimated_from_the_area_of_the_fields_where_the_scale_is_known(bench):
    field = bench.smear["fields"][0]
    said = bench.send("values", name=f"platelets:{field['name']}", value=12)["standing"]["platelets"]
    mm2 = field["width"] * field["height"] * field["scale"] ** 2 / 1e6
    assert said["mm2"] == pytest.approx(mm2)
    per_view = math.pi * 0.11**2 / mm2
    assert said["per_litre"]["value"] == pytest.approx(15 * 12 * per_view)
    low, high = (said["per_litre"][end] / (15 * per_view) for end in ("low", "high"))
    assert poisson.sf(11, low) == pytest.approx(0.025, abs=1e-6)
    assert poisson.cdf(12, high) == pytest.approx(0.025, abs=1e-6)
    row = next(csv.DictReader(StringIO(bench.client.get(f"{bench.path}/export/smear.csv").content.decode())))
    assert (row["platelets_counted"], float(row["platelets_estimated_10_9_per_litre"])) == (
        "12", pytest.approx(said["per_litre"]["value"]))


def test_without_a_scale_there_is_no_estimate_of_platelets(folder, sit):
    summary = read_json(folder / "summary.json")
    summary["fields"][0]["micrometres_per_pixel"] = None
    write_json(folder / "summary.json", summary)
    with sit([folder]) as bench:
        said = bench.send("values", name=f"platelets:{bench.smear['fields'][0]['name']}", value=12)
        assert said["standing"]["platelets"]["per_litre"]["value"] is None
        assert "no estimate" in bench.client.get(f"/smears/{bench.path.rsplit('/')[-1]}/report").text
