"""Checklists say what a run knows, and leave to the authors what it does not."""

from __future__ import annotations

import json

import pytest

from command import leukoscope, refusal
from leukoscope.report.checklist_items import CHECKLISTS
from leukoscope.report.checklists import as_markdown, filled, run_facts
from leukoscope.runs.results import read_results
from leukoscope.text import TO_FILL
from page_reader import Page
from run_folder import Plan, build_run

LEFT_OUT = {"damaged": [{"cell_id": "a", "image": "a.png", "reason": "truncated"}], "other_labels": {"platelet": 12},
            "unlabelled": 3, "over_per_class": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("run") / "run", Plan(cells=150, left_out=LEFT_OUT))


def test_facts_are_those_of_the_run(run):
    facts, metrics = run_facts(read_results(run)), json.loads((run / "metrics.json").read_text())
    accuracy = metrics["overall"]["accuracy"]
    assert f"accuracy {100 * accuracy['value']:.1f}" in facts["result"]
    assert f"{100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f}" in facts["result"]
    assert facts["left_out"] == "Left out: 1 damaged image, 12 cells of other types and 3 cells without a label."
    assert "150 test cells of 12 subjects (neutrophil" in facts["size"]
    assert facts["flow"].startswith("166 cells in the table. Left out: 1 damaged, 12 other types, 3 no label. "
                                    "150 cells used of 12 subjects. Parts: train ")
    assert "WBCsNet-2" in facts["network"]
    assert "No leak found" in facts["disjoint"]
    assert "2 folds" in facts["partition"]


def test_every_item_is_filled_or_left_to_the_authors(run):
    facts = run_facts(read_results(run))
    known = {item.fact for checklist in CHECKLISTS for item in checklist.items} - {""}
    assert known - facts.keys() == {"agreement"}  # no run knows two observers
    for checklist in CHECKLISTS:
        text = as_markdown(checklist, facts, "x")
        rows = [line for line in text.splitlines() if line.startswith("| ") and "what the run knows" not in line]
        assert len(rows) == len(checklist.items)
        assert sum(TO_FILL in row and f"*{TO_FILL}*" in row for row in rows) == len(rows) - filled(checklist, facts)
        assert filled(checklist, facts) >= len(rows) // 3


def test_numbers_are_those_of_the_published_lists():
    rows = {checklist.name: [item.number for item in checklist.items] for checklist in CHECKLISTS}
    split = {"STARD-AI": {15: "abcd", 16: "abc", 17: "ab", 26: "ab", 40: "ab"},
             "TRIPOD+AI": {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc",
                           23: "ab", 27: "abc"},
             "CLAIM": {}}
    for name, items, count in (("STARD-AI", 40, 48), ("TRIPOD+AI", 27, 52), ("CLAIM", 44, 44)):
        wanted = [f"{n}{part}" for n in range(1, items + 1) for part in split[name].get(n, [""])]
        assert rows[name] == wanted
        assert len(wanted) == count


def test_stard_ai_has_the_version_and_the_development_of_the_model(run):
    facts = run_facts(read_results(run))
    assert facts["algorithm"].startswith("WBCsNet-2")
    assert "the weights are fixed" in facts["algorithm"]
    assert facts["development"].startswith(facts["partition"])
    assert facts["development"].endswith(facts["flow"])


def test_the_command_writes_a_page_and_markdown(run, tmp_path):
    out = tmp_path / "out"
    answer = leukoscope("checklist", run, "-o", out)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in out.glob("*.md")) == ["claim.md", "stard-ai.md", "tripod-ai.md"]
    page = Page(out / "checklists.html")
    assert "Flow of cells" in page.text
    assert page.text.count(TO_FILL) > 30
    assert "already exists" in refusal("checklist", run, "-o", out)
    assert "metrics.json is missing" in refusal("checklist", tmp_path, "-o", tmp_path / "x")


def test_a_table_of_predictions_has_them_too(run, tmp_path):
    assert leukoscope("evaluate", run / "predictions.parquet", "-o", tmp_path / "of").code == 0
    facts = run_facts(read_results(tmp_path / "of"))
    assert facts["sources"] == "The table predictions.parquet."
    assert facts["flow"] == "150 cells in the table. 150 cells used of 12 subjects. Parts: test 150."
    assert "network" not in facts
