"""Messages to other systems and outlines, each read by a library that is not ours."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import uuid
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import hl7
import numpy as np
import pytest
import shapely
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.observation import Observation

from leukoscope.review import loinc
from leukoscope.review.entries import FINDINGS

SETTINGS = """
name = "City | <b>Lab</b> ^ & ~ \\\\"
white_cells = [4.0, 10.0]
platelets = [150, 400]
[ranges.neutrophil]
percent = [60, 75]
"""


@pytest.fixture
def done(folder: Path, sit):
    """A smear with findings, a rejected and a drawn cell, and a comment full of separators, signed by Ann."""
    settings = folder.parent / "laboratory.toml"
    settings.write_text(SETTINGS)
    with sit([folder], settings) as bench:
        whole = [place for place, cut in enumerate(bench.smear["cells"]["cut"]) if not cut]
        bench.send("values", name="white_cells", value=12.5)
        bench.send("values", name="finding:schistocytes", value=2)
        bench.send("values", name="finding:parasites", value=0)
        bench.send("values", name=f"platelets:{bench.smear['fields'][0]['name']}", value=2)
        bench.send("decisions", cells=whole[:1], did="reject")
        bench.send("split", cell=whole[1])
        bench.send("types", text="odd | type")
        bench.send("decisions", cells=whole[2:3], did="type", type="odd | type")
        bench.answer_all()
        bench.send("signature", text="seen | by ^ me\nsecond <line>")
        yield bench


def fetch(bench, name: str) -> bytes:
    answer = bench.client.get(f"{bench.path}/export/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content


def rows_of(bench) -> dict[str, dict]:
    return {row["name"]: row for row in bench.smear["standing"]["types"]}


# ----------------------------------------------------------------------------------------------------------- FHIR

def resources(content: bytes) -> tuple[Any, list[Any]]:
    """The report and its observations, validated."""
    bundle: Any = Bundle.model_validate_json(content)
    found = {entry.fullUrl: entry.resource for entry in bundle.entry}
    assert len(found) == len(bundle.entry)
    reports: list[Any] = [one for one in found.values() if isinstance(one, DiagnosticReport)]
    assert len(reports) == 1
    assert reports[0].subject.reference in found
    observations = [found[one.reference] for one in reports[0].result]
    assert {id(one) for one in observations} == {id(one) for one in found.values() if isinstance(one, Observation)}
    return reports[0], observations


def test_the_fhir_report_is_valid_and_has_what_the_published_profiles_require(done):
    report, observations = resources(fetch(done, "report.fhir.json"))
    assert report.status == "final"
    assert [one.code for one in report.category[0].coding] == ["LAB", "HM"]
    assert (report.code.coding[0].system, report.code.coding[0].code) == ("http://loinc.org", "24318-8")
    assert report.effectiveDateTime
    assert report.issued
    assert report.resultsInterpreter[0].display == "Ann"
    assert report.conclusion == "seen | by ^ me\nsecond <line>"
    assert "not a medical device" in report.text.div
    for one in observations:  # US Core's laboratory result: category, code, subject, and a value or why there is none
        assert one.status == "final"
        assert one.category[0].coding[0].code == "laboratory"
        assert one.code.text
        assert one.subject.reference == report.subject.reference
        assert one.valueQuantity or one.valueCodeableConcept or one.dataAbsentReason


def test_the_fhir_values_are_those_of_the_page(done):
    _, observations = resources(fetch(done, "report.fhir.json"))
    coded = {one.code.coding[0].code: one for one in observations if one.code.coding}
    rows = rows_of(done)
    for name in ("neutrophil", "lymphocyte", "blast", "immature granulocyte"):
        code = loinc.share_code(name)
        assert code
        shown = coded[code.code].valueQuantity
        assert float(shown.value) == pytest.approx(100 * rows[name]["share"]["value"], abs=1e-4)
        assert (shown.system, shown.code) == ("http://unitsofmeasure.org", "%")
        number = loinc.number_code(name)
        assert number
        absolute = float(coded[number.code].valueQuantity.value)
        assert absolute == pytest.approx(rows[name]["per_litre"]["value"], abs=1e-4)
    neutrophils = coded["26511-6"]
    assert float(neutrophils.referenceRange[0].low.value) == 60
    assert neutrophils.interpretation[0].coding[0].code == "L"
    assert coded["26464-8"].interpretation[0].coding[0].code == "H"
    assert float(coded["18309-5"].valueQuantity.value) == pytest.approx(rows["erythroblast"]["per_hundred"]["value"],
                                                                        abs=1e-4)
    assert coded["800-3"].valueCodeableConcept.text == "moderate (2+)"
    assert "49497-1" in coded
    uncoded = {one.code.text for one in observations if not one.code.coding}
    assert uncoded == {"odd | type, share", "odd | type, number", "parasites"}


def test_the_status_says_whether_it_is_signed_and_the_identifiers_stay(bench):
    report, _ = resources(fetch(bench, "report.fhir.json"))
    assert report.status == "preliminary"
    bench.answer_all()
    bench.send("signature", text="")
    first = fetch(bench, "report.fhir.json")
    assert first == fetch(bench, "report.fhir.json")
    bench.send("amendments", text="a cell was wrong")
    assert resources(fetch(bench, "report.fhir.json"))[0].status == "preliminary"
    bench.send("signature", text="")
    report, _ = resources(fetch(bench, "report.fhir.json"))
    assert report.status == "amended"
    assert report.id != resources(first)[0].id
    assert uuid.UUID(report.id)


# ------------------------------------------------------------------------------------------------------------ HL7

def test_the_hl7_message_is_read_field_by_field(done):
    message: Any = hl7.parse(fetch(done, "report.hl7").decode())
    header = message.segment("MSH")
    assert str(header[9]) == "ORU^R01^ORU_R01"
    assert (str(header[11]), str(header[12]), str(header[18])) == ("P", "2.5", "UNICODE UTF-8")
    assert 1 <= len(str(header[10])) <= 20
    assert message.unescape(str(header[4])) == "City | <b>Lab</b> ^ & ~ \\"
    assert str(message.segment("PID")[3]) == "S1"
    order = message.segment("OBR")
    assert str(order[4]) == "24318-8^Manual Differential panel - Blood^LN"
    assert (str(order[24]), str(order[25])) == ("HM", "F")
    assert str(order[32]) == "^Ann"
    rows, found = rows_of(done), {str(one[3][0][0]): one for one in message.segments("OBX")}
    assert [str(one[1]) for one in message.segments("OBX")] == [str(n + 1) for n in range(len(found))]
    code = loinc.share_code("neutrophil")
    assert code
    neutrophils = found[code.code]
    assert (str(neutrophils[2]), str(neutrophils[6][0][0]), str(neutrophils[7]), str(neutrophils[8])) == (
        "NM", "%", "60-75", "L")
    assert float(str(neutrophils[5])) == pytest.approx(100 * rows["neutrophil"]["share"]["value"], abs=1e-4)
    assert (str(found["800-3"][2]), str(found["800-3"][5])) == ("ST", "moderate (2+)")
    assert all(str(one[11]) in "FX" for one in found.values())
    odd = next(one for one in message.segments("OBX") if "odd" in str(one[3]))
    assert message.unescape(str(odd[3][0][1])) == "odd | type, share"
    notes = [message.unescape(str(one[3])) for one in message.segments("NTE")]
    assert any("seen | by ^ me" in note and "second <line>" in note for note in notes)
    assert any("95 % CI" in note for note in notes)


def test_the_second_signature_is_in_every_message(done, sit_at):
    bob = sit_at(done)
    bob.post("/api/v1/me", json={"name": "Bob | B"})
    seen = bob.get(done.path).json()["seq"]
    answer = bob.post(f"{done.path}/countersignature", json={"key": str(uuid.uuid4()), "since": seen, "text": "agreed"})
    assert answer.status_code == 200, answer.text
    report, _ = resources(fetch(done, "report.fhir.json"))
    assert [one.display for one in report.resultsInterpreter] == ["Ann", "Bob | B"]
    assert report.conclusion == "seen | by ^ me\nsecond <line>\nagreed"
    message: Any = hl7.parse(fetch(done, "report.hl7").decode())
    assert [message.unescape(str(message.segment("OBR")[place])) for place in (32, 33)] == ["^Ann", "^Bob | B"]
    row = next(iter(csv.DictReader(io.StringIO(fetch(done, "smear.csv").decode()))))
    assert (row["signed_by"], row["second_signed_by"], row["second_signature_comment"]) == ("Ann", "Bob | B", "agreed")


def test_every_code_is_given_once_and_findings_are_known_by_their_names():
    codes = [code.code for group in FINDINGS.values() for name in group if (code := loinc.finding_code(name))]
    kinds = [code.code for name in loinc._TYPES for code in (loinc.share_code(name), loinc.number_code(name)) if code]
    assert len(codes) == len(set(codes)) == len(loinc._PRESENCE)
    assert len(kinds) == len(set(kinds)) == 2 * len(loinc._TYPES)
    assert loinc.share_code("IG") == loinc.share_code("immature_granulocyte")
    for code in (*codes, *kinds):  # the last digit checks the others (Luhn)
        body, check = code.split("-")
        digits = [int(one) for one in reversed(body)]
        total = sum(2 * n - 9 * (n > 4) if place % 2 == 0 else n for place, n in enumerate(digits))
        assert (10 - total % 10) % 10 == int(check), code


# ----------------------------------------------------------------------------------------------- outlines and COCO

@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_coco_opens_and_its_masks_are_the_cells(done, tmp_path):
    coco_tools = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "cells.json"
    path.write_bytes(fetch(done, "cells.coco.json"))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_tools.COCO(str(path))
    smear = done.smear["cells"]
    there = [place for place, how in enumerate(smear["how"]) if how in (0, 1)]
    review = next(iter(done.desk.seats.values())).review
    assert {one["attributes"]["cell"] for one in coco.anns.values()} == {review.cells.names[place] for place in there}
    kinds = {one["id"]: one["name"] for one in coco.cats.values()}
    for one in coco.anns.values():
        kind = review.state().cells[one["attributes"]["cell"]][0]
        assert kinds[one["category_id"]] == kind
        mask = coco.annToMask(one)
        x, y, width, height = one["bbox"]
        assert mask.sum() == pytest.approx(one["area"], rel=0.08)
        assert mask[y:y + height, x:x + width].sum() >= 0.98 * mask.sum()
    assert any(kinds[one["category_id"]] == "odd | type" for one in coco.anns.values())


def test_outlines_are_valid_polygons_of_the_areas_that_they_state(done):
    with zipfile.ZipFile(BytesIO(fetch(done, "outlines.zip"))) as file:
        features = [one for name in file.namelist() for one in json.loads(file.read(name))["features"]]
    assert features
    for one in features:
        shape = shapely.from_geojson(json.dumps(one["geometry"]))
        assert shape.is_valid or shapely.make_valid(shape).area == pytest.approx(shape.area, rel=1e-3)
        assert shape.area == pytest.approx(one["properties"]["measurements"]["Cell area px^2"], rel=0.03)
    assert np.isin([one["properties"]["decided"] for one in features], ("machine", "confirmed")).all()
