"""`leukoscope agreement`: counts of smears and answers of observers, from the tables that people keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from command import leukoscope, refusal
from leukoscope.evaluation.agreement import Limit, compare_counts
from leukoscope.evaluation.count_tables import Counts, read_counts
from leukoscope.evaluation.observers import compare_observers, read_typed
from page_reader import Page

TYPES = ("neutrophil", "lymphocyte", "monocyte", "blast", "erythroblast")
COUNTS = np.array([[60, 30, 8, 2, 0], [40, 50, 9, 1, 1], [10, 20, 5, 65, 3], [70, 25, 5, 0, 0], [55, 38, 7, 0, 0],
                   [30, 60, 10, 0, 0]])
MACHINE = np.array([[118, 62, 18, 2, 0], [85, 96, 18, 1, 3], [21, 38, 12, 129, 5], [139, 52, 9, 0, 0],
                    [112, 75, 10, 3, 0], [50, 125, 25, 0, 0]])
NAMES = tuple(f"{k:03d}" for k in range(1, 7))


def wide(path: Path, cells: np.ndarray, *, smear: str = "smear", prefix: str = "", types=TYPES) -> Path:
    pl.DataFrame({smear: NAMES[:len(cells)], **{f"{prefix}{name}": cells[:, k] for k, name in enumerate(types)}}
                 ).write_csv(path)
    return path


@pytest.fixture
def tables(tmp_path):
    return wide(tmp_path / "machine.csv", MACHINE, prefix="cells_"), wide(tmp_path / "by_hand.csv", COUNTS)


def test_smears_keep_their_zeros_and_their_counts(tables):
    counts = read_counts(tables[0], machine=True)
    assert counts.smears == NAMES
    assert counts.types == TYPES
    assert (counts.cells == MACHINE).all()


def test_counts_are_read_from_any_layout(tmp_path):
    long = pl.DataFrame([{"Sample": name, "Type": kind, "Cells": int(COUNTS[i, k])} for i, name in enumerate(NAMES)
                         for k, kind in enumerate(TYPES)])
    long.write_parquet(tmp_path / "long.parquet")
    cells = long.select(pl.all().repeat_by("Cells").explode()).drop_nulls().with_row_index("number")
    cells.select("number", pl.col("Sample").alias("subject"), pl.col("Type").alias("predicted"),
                 cut=pl.lit(False)).write_csv(tmp_path / "cells.csv")
    for file in ("long.parquet", "cells.csv"):
        counts = read_counts(tmp_path / file, machine=False)
        order = [counts.types.index(name) for name in TYPES]
        assert (counts.cells[:, order] == COUNTS).all(), file


def test_the_workbenchs_export_has_both_counts(tmp_path):
    both = pl.read_csv(wide(tmp_path / "a.csv", COUNTS, prefix="cells_", smear="subject"), infer_schema=False).join(
        pl.read_csv(wide(tmp_path / "b.csv", MACHINE, prefix="machine_", smear="subject"), infer_schema=False),
        on="subject")
    both.with_columns(share_blast=pl.lit(0.5), leukocytes=pl.lit(3)).write_csv(tmp_path / "export.csv")
    assert (read_counts(tmp_path / "export.csv", machine=True).cells == MACHINE).all()
    assert (read_counts(tmp_path / "export.csv", machine=False).cells == COUNTS).all()


def test_counts_of_the_command_smear_are_taken_from_its_folder(tmp_path):
    (tmp_path / "smears").mkdir()
    wide(tmp_path / "smears" / "x.csv", MACHINE, smear="subject", prefix="cells_")
    pl.read_csv(tmp_path / "smears" / "x.csv", schema_overrides={"subject": pl.String}).write_parquet(
        tmp_path / "smears" / "subjects.parquet")
    assert (read_counts(tmp_path / "smears", machine=True).cells == MACHINE).all()


def test_shares_differences_and_abnormal_smears(tables):
    result = compare_counts(read_counts(tables[0], machine=True), read_counts(tables[1], machine=False))
    assert [kind.name for kind in result.types] == list(TYPES[:4])
    assert result.apart == ("erythroblast",)
    monocyte = result.types[2]
    machine, reference = MACHINE[:, 2] / MACHINE[:, :4].sum(1), COUNTS[:, 2] / COUNTS[:, :4].sum(1)
    assert monocyte.bias.value == pytest.approx((machine - reference).mean(), abs=1e-12)
    inside = [low <= m <= high for m, (low, high) in zip(machine, (proportion_confint(200 * p, 200, method="beta")
                                                                  for p in reference), strict=True)]
    assert monocyte.within_rumke[1].smears.count == sum(inside)
    chance = [confint_proportions_2indep(m, n, r, k, method="newcomb") for m, n, r, k in zip(
        MACHINE[:, 2], MACHINE[:, :4].sum(1), COUNTS[:, 2], COUNTS[:, :4].sum(1), strict=True)]
    assert monocyte.chance.count == sum(low <= 0 <= high for low, high in chance)
    # Blasts from 1 %: smears 1, 2 and 3 by hand; 1, 3 and 5 by machine. Erythroblasts: 1 and 3 of 100 in 2 and 3.
    assert result.abnormal is not None
    assert result.abnormal.table == ((2, 1), (0, 3))
    for rate, right, total in ((result.abnormal.sensitivity, 3, 3), (result.abnormal.specificity, 2, 3),
                               (result.abnormal.ppv, 3, 4), (result.abnormal.npv, 2, 2)):
        assert rate.value == pytest.approx(right / total, abs=1e-12)
        assert (rate.low, rate.high) == pytest.approx(proportion_confint(right, total, method="wilson"), abs=1e-9)
    kappa: Any = cohens_kappa(np.array(result.abnormal.table))
    assert result.abnormal.kappa.value == pytest.approx(kappa.kappa, abs=1e-9)
    assert result.abnormal.false_alarms == ("005",)


def test_limits_of_the_laboratory(tables):
    counts = read_counts(tables[0], machine=True), read_counts(tables[1], machine=False)
    result = compare_counts(*counts, limits=[Limit("Neutrophil", 0.4, 0.65), Limit("blast", None, 0.2)])
    assert result.abnormal is not None
    assert result.abnormal.rules == ("Neutrophil below 40 % or 65 % or more", "blast 20 % or more")
    assert result.abnormal.table == ((3, 0), (0, 3))


def test_another_number_of_cells_is_said(tables):
    result = compare_counts(read_counts(tables[0], machine=True), read_counts(tables[1], machine=False))
    said = " ".join(result.remarks)
    assert "different numbers of cells in 6 of 6 smears: machine 200, reference 100" in said
    same = compare_counts(read_counts(tables[1], machine=True), read_counts(tables[1], machine=False))
    assert "different numbers" not in " ".join(same.remarks)
    assert all(kind.chance.value == 1 for kind in same.types)


def test_the_command_writes_page_tables_and_lines(tables, tmp_path):
    out = tmp_path / "out"
    answer = leukoscope("agreement", *tables, "-o", out)
    assert answer.code == 0, answer.err
    assert "6 smears counted by both" in answer.out
    assert "sensitivity 100.0 %" in answer.out
    page = Page(out / "agreement.html")
    assert "Rümke" in page.text
    assert page.text.count("shares") >= 4
    table = pl.read_csv(out / "agreement.csv")
    assert table["type"].to_list() == list(TYPES[:4])
    assert {"bias_low", "passing_bablok_slope", "deming_slope_high", "within_rumke_400"} <= set(table.columns)
    assert "already exists" in refusal("agreement", *tables, "-o", out)
    before = page.raw
    assert leukoscope("report", out).code == 0
    assert len((out / "agreement.html").read_text()) == pytest.approx(len(before), rel=0.01)
    given = json.loads(leukoscope("agreement", *tables, "-o", out, "--overwrite", "--json").out)
    assert given["types"][0]["name"] == "neutrophil"


@pytest.mark.parametrize(("change", "says"), [
    (lambda f: f.with_columns(neutrophil=pl.lit(54.5)), "54.5 is not a number of cells; write how many"),
    (lambda f: f.with_columns(neutrophil=pl.lit(None)), "no column of counts"),
    (lambda f: f.with_columns(blast=pl.when(pl.col("smear") == "003").then(None).otherwise(pl.col("blast"))),
     "smear '003', column 'blast': empty; write 0"),
    (lambda f: f.with_columns(blast=pl.when(pl.col("smear") == "003").then(pl.lit("many")).otherwise(
        pl.col("blast").cast(pl.String))), "row 3, column 'blast': 'many' is not a number"),
    (lambda f: pl.concat([f, f.head(1)]), "smear '001' has 2 rows"),
    (lambda f: f.with_columns(Blast=pl.lit(0)), "'blast' and 'Blast' differ only in case"),
    (lambda f: f.rename({"smear": "case"}), "no column that names the smear"),
    (lambda f: f.with_columns(total=pl.lit(99)), "total is 99, its types add up to 100"),
    (lambda f: f.with_columns(smear=pl.lit("x") + pl.col("smear")), "no smear in common"),
    (lambda f: f.rename({"neutrophil": "band"}), "'neutrophil' is in this count only; say what it is"),
    (lambda f: f.head(0), "the table has no rows"),
    (lambda f: f.with_columns(pl.col(name) * 0 for name in TYPES), "no smear has leukocytes in both counts"),
])
def test_bad_tables_are_refused_in_one_line(tables, tmp_path, change, says):
    frame = pl.read_csv(tables[1], schema_overrides={"smear": pl.String})
    if says == "no column of counts":
        frame = frame.select("smear", "neutrophil")
    change(frame).write_csv(tables[1])
    assert says in refusal("agreement", *tables, "-o", tmp_path / "out")


def test_types_may_be_merged_and_left_out(tables, tmp_path):
    frame = pl.read_csv(tables[1], schema_overrides={"smear": pl.String})
    frame.with_columns(band=pl.col("neutrophil") // 2, neutrophil=pl.col("neutrophil") - pl.col("neutrophil") // 2,
                       smudge=pl.lit(4), remark=pl.lit("ok")).write_csv(tables[1])
    answer = leukoscope("agreement", *tables, "-o", tmp_path / "out", "--merge", "band=neutrophil", "--leave-out",
                        "smudge", "--json")
    assert json.loads(answer.out)["types"][0]["reference"] == (COUNTS[:, 0] / COUNTS[:, :4].sum(1)).tolist()
    for options, says in ((["--merge", "band"], "expected OLD=NEW"), (["--abnormal", "blast"], "not a limit"),
                          (["--abnormal", "blast=5-2"], "not a limit"), (["--abnormal", "blast=x"], "not a limit")):
        assert says in refusal("agreement", *tables, "-o", tmp_path / "x", *options)
    assert "'plasma' is not a type" in refusal(
        "agreement", *tables, "-o", tmp_path / "x", "--merge", "band=neutrophil", "--leave-out", "smudge", "--abnormal",
        "plasma=1")


def observers(folder: Path, seed: int = 0, smears: bool = True) -> tuple[Path, Path]:
    random = np.random.default_rng(seed)
    first = random.integers(0, 3, 120)
    second = np.where(random.random(120) < 0.8, first, random.integers(0, 3, 120))
    names = np.array(["blast", "lymphocyte", "monocyte"])
    cells = [f"{k:04d}" for k in range(120)]
    pl.DataFrame({"cell_id": cells, "predicted": names[first], "label": names[second],
                  **({"subject": [f"{k // 10:02d}" for k in range(120)]} if smears else {})}).write_csv(
                      folder / "first.csv")
    pl.DataFrame({"cell": [*cells[5:], "x1"], "label": [name.upper() for name in names[second][5:]] + ["blast"]}
                 ).write_csv(folder / "second.csv")
    return folder / "first.csv", folder / "second.csv"


@pytest.mark.parametrize("smears", [True, False])
def test_two_observers(tmp_path, smears):
    files = observers(tmp_path, smears=smears)
    one, two = read_typed(files[0], machine=True), read_typed(files[1], machine=False)
    assert one is not None
    assert two is not None
    result = compare_observers(one, two, order=("lymphocyte", "monocyte", "blast"), rounds=300)
    given = pl.read_csv(files[0], schema_overrides={"cell_id": pl.String})[5:]
    rank = {"lymphocyte": 0, "monocyte": 1, "blast": 2}
    places = [[rank[name] for name in given[column]] for column in ("predicted", "label")]
    assert result.cells == 115
    for got, weights in ((result.kappa, None), (result.linear, "linear"), (result.quadratic, "quadratic")):
        assert got is not None
        assert got.value == pytest.approx(cohen_kappa_score(*places, weights=weights), abs=1e-9)
        assert got.low is not None
        assert got.high is not None
        assert got.low < (got.value or 0) < got.high
    blast = result.per_class["blast"]
    assert blast.kappa.value == pytest.approx(cohen_kappa_score(*[np.array(place) == 2 for place in places]), abs=1e-9)
    assert result.kappa.method == ("bootstrap by smear" if smears else "fleiss, cohen and everitt")
    said = " ".join(result.remarks)
    assert "5 cells of" in said
    assert "1 cell of" in said


def test_observers_from_the_command_line(tmp_path):
    files = observers(tmp_path)
    answer = leukoscope("agreement", *files, "-o", tmp_path / "out", "--order", "lymphocyte,monocyte,blast")
    assert answer.code == 0, answer.err
    assert "Cohen's kappa" in answer.out
    assert "quadratic weights" in Page(tmp_path / "out" / "agreement.html").text
    assert "blast is not in it" in refusal("agreement", *files, "-o", tmp_path / "x", "--order", "lymphocyte,monocyte")
    pl.DataFrame({"cell": ["a"], "label": ["blast"]}).write_csv(files[1])
    assert "no cell in common" in refusal("agreement", *files, "-o", tmp_path / "x")


def test_counts_without_leukocytes_in_a_smear_are_named():
    first = Counts("a", ("1", "2"), ("neutrophil",), np.array([[0], [5]]))
    result = compare_counts(first, Counts("b", ("1", "2"), ("neutrophil",), np.array([[3], [5]])))
    assert "1 smear without leukocytes in one of the counts left out: 1." in result.remarks
    assert result.types[0].passing_bablok.slope.value is None
    assert result.abnormal is None
