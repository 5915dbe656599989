"""The sets from Munich, and the classes that several laboratories share."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from leukoscope.datasets import bccd, chula, cnmc, dataset_names, get_dataset, lmu, mll, pbc
from leukoscope.datasets.base import Index
from leukoscope.datasets.leukocytes import CLASS_OF, CLASSES
from leukoscope.errors import DatasetError
from leukoscope.images.read import read_cell

DATA = Path(__file__).parents[1] / "data"
made = {name: runpy.run_path(str(DATA / name / "make.py")) for name in ("lmu", "mll", "pbc", "bccd", "cnmc", "chula")}
MUNICH = pytest.mark.parametrize("reader", [lmu, mll], ids=["lmu", "mll"])


def make(reader: object, root: Path, **options: object) -> Path:
    return made[str(reader.DATASET.name)]["make"](root, **options)  # type: ignore[attr-defined]


def by_subtype(index: Index) -> dict[str, str | None]:
    return dict(index.manifest.select("subtype", "label").unique().iter_rows())


def test_the_published_counts_add_up_to_the_published_totals():
    assert sum(kind.count for kind in lmu.TYPES.values()) == 18_365
    assert sum(kind.count for kind in mll.TYPES.values()) == 171_374
    assert (len(lmu.TYPES), len(mll.TYPES)) == (15, 21)
    assert set(lmu.TYPES) == set(made["lmu"]["CODES"])
    assert set(mll.TYPES) == set(made["mll"]["CODES"])


@MUNICH
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_every_cell_has_the_name_of_its_code_from_any_folder_above(tmp_path: Path, reader, levels: int):
    root = make(reader, tmp_path / "unpacked")
    index = reader.index([root, *root.parents][levels])
    types = {kind.name: kind.count for kind in reader.TYPES.values()}
    assert index.found == dict.fromkeys(sorted(types), 2)
    assert index.expected == types
    assert index.missing == tuple(f"{name}: {count - 2:,} of {count:,} images" for name, count in types.items())
    assert index.damaged == ()
    cells = index.manifest
    assert cells["label"].to_list() == cells["subtype"].to_list()
    assert {code: reader.TYPES[code].name for code in cells["code"]} == dict(cells.select("code", "label").iter_rows())
    assert cells["source"].unique().to_list() == [reader.DATASET.name]
    assert cells["subject"].null_count() == cells["group"].null_count() == cells.height
    assert read_cell(cells.row(0, named=True)).shape[2] == 3


def test_images_in_further_folders_have_the_type_of_the_code_above(tmp_path: Path):
    cells = mll.index(make(mll, tmp_path, codes=["ART", "ABE"])).manifest
    assert cells["cell_id"].to_list() == ["ABE/ABE_00001", "ABE/ABE_00002", "ART/0001-1000/ART_00001",
                                          "ART/1001-2000/ART_01001"]
    assert cells["label"].to_list() == ["abnormal eosinophil"] * 2 + ["artefact"] * 2


@MUNICH
def test_strange_images_and_names_are_reported(tmp_path: Path, reader):
    root = make(reader, tmp_path)
    image = next(root.glob("BAS/*"))
    (root / "preview").mkdir()
    (root / "preview" / image.name).write_bytes(image.read_bytes())
    image.rename(image.with_name(f"LYT_9{image.suffix}"))
    (root / "BAS" / f"BAS_9{image.suffix}").write_bytes(b"")
    index = reader.index(root)
    assert [Path(path).stem for path, _ in index.damaged] == ["BAS_9"]
    assert any("in no folder of a code" in note and "preview" in note for note in index.notes)
    assert any("do not begin with the code" in note and "LYT_9" in note for note in index.notes)
    assert index.found["basophil"] == 2


@MUNICH
def test_other_folders_are_refused(tmp_path: Path, reader):
    with pytest.raises(DatasetError, match=r"does not contain folders called by the codes [A-Z]{3}, "):
        reader.index(tmp_path)
    with pytest.raises(DatasetError, match="no view 'eight'"):
        reader.index(make(reader, tmp_path), "eight")


LOOKALIKES: dict[str, Callable[[Path], Path]] = {
    "pbc": made["pbc"]["make"], "bccd": made["bccd"]["make_crops"], "cnmc": made["cnmc"]["make"],
    "chula": made["chula"]["make"], "lmu": made["lmu"]["make"], "mll": made["mll"]["make"],
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_the_shared_view_has_the_shared_classes_and_every_subtype_has_one_class(tmp_path: Path, name: str):
    dataset = get_dataset(name)
    index = dataset.index(LOOKALIKES[name](tmp_path), "leukocytes")
    assert set(index.found) <= {*CLASSES, ""}
    assert set(index.expected) <= {*CLASSES, ""}
    assert by_subtype(index) == {subtype: CLASS_OF.get(subtype) for subtype in set(dataset.leukocytes.values())
                                 if subtype in by_subtype(index)}
    assert index.manifest["subtype"].null_count() == 0
    assert index.manifest["source"].unique().to_list() == [name]


def test_the_view_exists_exactly_where_the_map_is_stated():
    sets = [get_dataset(name) for name in dataset_names()]
    assert [data.name for data in sets if data.leukocytes] == [data.name for data in sets if "leukocytes" in data.views]
    assert set(LOOKALIKES) == {data.name for data in sets if data.leukocytes}


def test_lymphoblasts_and_myeloblasts_are_blasts_and_other_types_have_no_label(tmp_path: Path):
    assert by_subtype(cnmc.index(make(cnmc, tmp_path / "c"), "leukocytes")) == {
        "lymphoblast": "blast", "lymphocyte": "lymphocyte"}
    munich = by_subtype(lmu.index(make(lmu, tmp_path / "l"), "leukocytes"))
    assert {name for name, label in munich.items() if label == "blast"} == {"monoblast", "myeloblast"}
    assert [name for name, label in munich.items() if label is None] == ["smudge cell"]
    marrow = by_subtype(mll.index(make(mll, tmp_path / "m"), "leukocytes"))
    assert marrow["blast"] == "blast"
    assert {name for name, label in marrow.items() if label is None} == {
        "artefact", "faggot cell", "hairy cell", "immature lymphocyte", "not identifiable", "other cell", "plasma cell",
        "smudge cell"}
    notes = mll.index(tmp_path / "m", "leukocytes").notes
    assert any("have no label: artefact, faggot cell" in note for note in notes)


def test_counts_of_the_whole_sets_in_the_shared_classes(tmp_path: Path):
    expected = {
        "pbc": {"immature granulocyte": 2895, "neutrophil": 3329, "platelet": 2348},
        "cnmc": {"blast": 7272, "lymphocyte": 3389},
        "lmu": {"blast": 3268 + 26, "lymphocyte": 3937 + 11, "immature granulocyte": 15 + 42 + 18 + 70, "": 15},
        "mll": {"blast": 11_973, "erythroblast": 27_395 + 2_740, "neutrophil": 9_968 + 29_424},
    }
    for name, counts in expected.items():
        index = get_dataset(name).index(LOOKALIKES[name](tmp_path / name), "leukocytes")
        assert {label: index.expected[label] for label in counts} == counts


def test_stages_of_pbc_are_subtypes(tmp_path: Path):
    cells = pbc.index(make(pbc, tmp_path), "leukocytes").manifest
    subtypes = dict(cells.select(pl.col("image").map_elements(lambda p: Path(p).stem.split("_")[0], pl.String),
                                 "subtype").iter_rows())
    assert {prefix: subtypes[prefix] for prefix in ("IG", "MY", "BNE", "NEUTROPHIL", "BA")} == {
        "IG": "immature granulocyte", "MY": "myelocyte", "BNE": "band neutrophil", "NEUTROPHIL": "neutrophil",
        "BA": "basophil"}
    assert "ig" not in cells["label"].to_list()


def test_the_real_cells_of_munich(data_folder: Path):
    assert lmu.index(data_folder / "lmu").found == {
        "eosinophil": 10, "lymphocyte": 10, "monocyte": 10, "myeloblast": 360, "segmented neutrophil": 210}
    assert lmu.index(data_folder / "lmu", "leukocytes").found == {
        "blast": 360, "eosinophil": 10, "lymphocyte": 10, "monocyte": 10, "neutrophil": 210}
    index = mll.index(data_folder / "mll", "leukocytes")
    assert index.found == {"": 100, "blast": 250, "eosinophil": 250, "immature granulocyte": 250, "lymphocyte": 250,
                           "monocyte": 250, "neutrophil": 250}
    assert index.damaged == ()
    assert index.manifest.filter(pl.col("label").is_null())["subtype"].unique().to_list() == ["not identifiable"]


def test_the_real_cells_of_six_laboratories_have_one_set_of_labels(data_folder: Path):
    folders = {pbc: "pbc", bccd: "bccd5", chula: "chula/cells", cnmc: "cnmc", lmu: "lmu", mll: "mll"}
    cells = pl.concat([reader.index(data_folder / folder, "leukocytes").manifest.select("source", "label", "subtype")
                       for reader, folder in folders.items()])
    assert set(cells["label"].drop_nulls()) == set(CLASSES)
    assert cells["source"].n_unique() == 6
    assert cells.group_by("subtype").agg(pl.col("label").n_unique())["label"].max() == 1
    blasts = dict(cells.filter(label="blast").group_by("source").len().iter_rows())
    assert blasts == {"cnmc": 29, "lmu": 360, "mll": 250}
