"""Tables as spreadsheets and statistics packages write them: every way gives the same cells, labels and subjects, or a
line that says what is wrong. What is lost, such as the column of subjects, is said."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest

from cases import case, write_noise
from command import leukoscope, refusal
from leukoscope.datasets import get_dataset
from leukoscope.errors import DatasetError, ManifestError
from leukoscope.manifest import read_manifest

index = get_dataset("table").index
NAMES = [f"{number:03d}.jpg" for number in range(1, 7)]
ROWS = [(name, "éosinophile" if i < 3 else "neutrophile", f"{i // 2 + 1:03d}") for i, name in enumerate(NAMES)]
CELLS = [("éosinophile", "001"), ("éosinophile", "001"), ("éosinophile", "002"), ("neutrophile", "002"),
         ("neutrophile", "003"), ("neutrophile", "003")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_noise(tmp_path / "img", NAMES)
    return tmp_path


def written(header: tuple[str, ...] = ("image", "label", "subject"), *, separator: str = ",", quote: bool = False,
            end: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end,
                        quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
    writer.writerows([header, *ROWS])
    return out.getvalue()


def cells_of(folder: Path, content: bytes, **options: str) -> list[tuple[str, str]]:
    (folder / "t.csv").write_bytes(content)
    return index(folder / "t.csv", images="img", **options).manifest.select("label", "subject").rows()


@pytest.mark.parametrize(("content", "options"), [
    (written().encode(), {}),
    (written(separator=";").encode(), {}),
    (written(separator="\t").encode(), {}),
    (written(separator="|").encode(), {}),
    (written(separator=";", quote=True, end="\r\n").encode("utf-8-sig"), {}),
    (f"sep=;\r\n{written(separator=';', end=chr(13) + chr(10))}".encode(), {}),
    (f"sep=\t\r\n{written(separator=chr(9))}".encode("utf-16"), {}),
    (written(separator="\t", end="\r\n").encode("utf-16"), {}),
    (b"\xfe\xff" + written(separator="\t").encode("utf-16-be"), {}),
    (written().encode("utf-16-le"), {}),
    (written().encode("utf-32"), {}),
    (written(end="\r").encode(), {}),
    (written(end="\r", separator=";").encode(), {}),
    (written((" image", " label ", "\u00a0subject\u200b")).encode(), {}),
    (written().replace(",", ", ").encode(), {}),
    (written(("Image", "LABEL", "Subject")).encode(), {}),
    (written().encode("cp1252"), {"encoding": "cp1252"}),
    (b"\n\n" + written().encode() + b",,\n,,\n\n", {}),
    (written(("image", "label", "patient")).encode(), {"subject_column": "patient"}),
    (written(("Bild", "Typ", "Patient"), separator=";").encode(),
     {"image_column": "Bild", "label_column": "Typ", "subject_column": "Patient"}),
])
def test_every_dialect_gives_the_same_cells(folder, content, options):
    assert cells_of(folder, content, **options) == CELLS


@pytest.mark.parametrize(("content", "says"), [
    (written().encode("cp1252"), r"not text in UTF-8 \(byte 0xE9 in line 2\); save it as CSV UTF-8.*encoding=cp1252"),
    (b"PK\x03\x04" + bytes(100), "an Excel workbook, not a CSV file"),
    (b"PAR1" + bytes(100), "Parquet, not a CSV file"),
    (written().encode("utf-16") + b"\x00", "not text in utf-16"),
    (b"image,label,label\n001.jpg,a,b\n", "two columns are called 'label'"),
    (b"image,label\n001.jpg,a\n002.jpg,a,b\n", "row 2 has 3 columns, the first line 2"),
    (b"image,label\n001.jpg," + b"a" * 200_000, "not a readable table"),
    (b"\r\n\r\n", "the file is empty"),
    (b"image\xff\xfe", "not text in UTF-8"),
])
def test_what_is_no_such_table_is_named(folder, content, says):
    with pytest.raises(DatasetError, match=says):
        cells_of(folder, content)


def test_an_unknown_encoding_and_a_workbook_are_refused(folder):
    with pytest.raises(DatasetError, match="no encoding 'klingon'"):
        cells_of(folder, written().encode(), encoding="klingon")
    (folder / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(DatasetError, match="save it as CSV UTF-8"):
        index(folder / "t.xlsx")


@pytest.mark.parametrize(("texts", "x"), [(("3,0", "4,5"), [3, 5]), (("3", "4,5"), [3, 5]), (("3.0", "4.5"), [3, 5])])
def test_decimal_commas_where_the_comma_parts_no_columns(folder, texts, x):
    rows = "".join(f"{name};{text};1;5;5\n" for name, text in zip(NAMES[:2], texts, strict=True))
    (folder / "t.csv").write_text(f"image;x;y;width;height\n{rows}")
    assert index(folder / "t.csv", images="img").manifest["x"].to_list() == x


def test_a_comma_that_may_part_thousands_is_damaged_and_not_guessed(folder):
    (folder / "t.csv").write_text("image;x;y;width;height\n001.jpg;1,024;1;5;5\n002.jpg;3;1;5;5\n")
    found = index(folder / "t.csv", images="img")
    assert found.manifest.height == 1
    assert "'1,024' is not a number" in found.damaged[0][1]


@pytest.mark.parametrize(("content", "says"), [
    (b"\x1f\x8b\x08\0\0\0", "a gzip archive, not a CSV file; unpack it"), (b"<html><table>", "a web page, not a CSV"),
    (b'[{"image": "a.jpg"}]', "JSON, not a CSV file"), (b"%PDF-1.4", "a PDF document, not a CSV file"),
    (b"# by LabSoft\nimage,label\n001.jpg,a\n", "remove what stands above the names of the columns")])
def test_files_of_other_kinds_are_called_what_they_are(folder, content, says):
    (folder / "t.csv").write_bytes(content)
    assert says in refusal("data", "index", "table", folder / "t.csv", "-o", folder / "c.parquet")


def test_a_name_that_no_file_can_have_is_one_missing_image(folder):
    (folder / "t.csv").write_text(f"image,label\n001.jpg,a\n{'n' * 300}/x.jpg,b\n002.jpg,a\n")
    found = index(folder / "t.csv", images="img")
    assert found.manifest.height == 2
    assert len(found.missing) == 1


@pytest.mark.parametrize("corners", ["xmin,ymin,xmax,ymax", "X1,Y1,X2,Y2", "left,top,right,bottom"])
def test_boxes_under_other_names_are_not_left_out_without_a_word(folder, corners):
    (folder / "t.csv").write_text(f"image,{corners}\n001.jpg,1,1,5,5\n")
    notes = index(folder / "t.csv", images="img").notes
    assert any("boxes are read from x, y, width, height alone" in note for note in notes)


class TestSubjects:
    @pytest.mark.parametrize(("column", "says"), [
        ("patient_id", "subject_column=patient_id"), ("Patient", "subject_column=Patient"),
        ("PatientID", "subject_column=PatientID"), ("donor", "subject_column=donor"),
        ("Case No", "'subject_column=Case No'"), ("Pat.-Nr.", "subject_column=Pat.-Nr."),
        ("Patientennummer", "subject_column=Patientennummer"), ("paciente", "subject_column=paciente"),
        ("Patient #", "'subject_column=Patient #'"), ("subj", "subject_column=subj"),
        ("colour", "subject_column=NAME")])
    def test_a_column_that_is_not_used_is_named_with_the_option_that_uses_it(self, folder, column, says):
        (folder / "t.csv").write_text(written(("image", "label", column)), encoding="utf-8")
        notes = index(folder / "t.csv", images="img").notes
        assert f"columns not used: '{column}'" in notes
        assert any(note.startswith("no subject is known: cells of one person may come into training and into the test")
                   and note.endswith(says) for note in notes)

    def test_known_subjects_need_no_word(self, folder):
        (folder / "t.csv").write_text(written(), encoding="utf-8")
        assert not index(folder / "t.csv", images="img").notes

    def test_subjects_known_for_some_cells(self, folder):
        (folder / "t.csv").write_text("image,subject\n001.jpg,a\n002.jpg,\n003.jpg,a\n")
        notes = index(folder / "t.csv", images="img").notes
        assert any("no subject is known for 1 of 3 cells" in note for note in notes)

    def test_every_layout_says_it(self, folder):
        write_noise(folder / "cells", ["a/1.png", "b/1.png"])
        for options, expected in (({}, 1), ({"pattern": r"(?P<subject>\d)\.png"}, 0)):
            notes = get_dataset("folder").index(folder / "cells", **options).notes
            assert sum("no subject is known" in note for note in notes) == expected


    def test_names_that_differ_invisibly_may_be_one_person(self, folder):
        subjects = ("P1", "p1", "P2", "P2\u200b", "P3", "P4")
        rows = "".join(f"{name},{subject}\n" for name, subject in zip(NAMES, subjects, strict=True))
        (folder / "t.csv").write_text(f"image,subject\n{rows}", encoding="utf-8")
        said = [note for note in index(folder / "t.csv", images="img").notes if "different people" in note]
        assert len(said) == 1
        assert '"P1" (1 cell) and "p1" (1 cell)' in said[0]
        assert '"P3"' not in said[0]


class TestMissing:
    def test_names_that_often_stand_for_no_value_are_asked_about(self, folder):
        subjects = ("-", "-", "Unknown", "?", "P3", "P4")
        rows = "".join(f"{name},{subject}\n" for name, subject in zip(NAMES, subjects, strict=True))
        (folder / "t.csv").write_text(f"image,subject\n{rows}")
        notes = index(folder / "t.csv", images="img").notes
        assert ('"-" (2), "?" (1) and "Unknown" (1) are taken for a subject; if no subject is known there, use '
                "--option 'missing=NA,-,?,Unknown' or leave it empty") in notes
        told = index(folder / "t.csv", images="img", missing="NA,-,?,Unknown")
        assert told.manifest["subject"].to_list() == [None] * 4 + ["P3", "P4"]

    @pytest.mark.parametrize("marker", ["NA", "NaN", "nan", "n/a", "N/A", "NULL", "None", "#N/A", "<NA>", "", " NA "])
    def test_a_marker_is_no_class_and_no_person(self, folder, marker):
        rows = "".join(f"{name},{marker if i < 2 else 'ab'[i % 2]},{marker if i % 2 else i}\n"
                       for i, name in enumerate(NAMES))
        (folder / "t.csv").write_text(f"image,label,subject\n{rows}")
        found = index(folder / "t.csv", images="img")
        assert found.manifest["label"].to_list() == [None, None, "a", "b", "a", "b"]
        assert found.manifest["subject"].to_list() == ["0", None, "2", None, "4", None]
        said = [note for note in found.notes if "where it says" in note]
        assert [note.partition(" in ")[0] for note in said] == (["no label", "no subject"] if marker else [])
        assert all(f"'{marker.strip()}' (" in note for note in said)

    def test_an_option_names_other_markers_or_none(self, folder):
        (folder / "t.csv").write_text("image,label\n001.jpg,NA\n002.jpg,-\n003.jpg,a\n")
        for missing, labels in (("", ["NA", "-", "a"]), ("-", ["NA", None, "a"]), ("-,NA", [None, None, "a"])):
            assert index(folder / "t.csv", images="img", missing=missing).manifest["label"].to_list() == labels

    def test_nan_and_true_mean_the_same_in_parquet_and_csv(self, folder):
        frame = pl.DataFrame({"image": NAMES, "label": [i % 2 == 0 for i in range(6)],
                              "subject": [float(i) if i % 2 else float("nan") for i in range(6)]})
        frame.write_parquet(folder / "t.parquet")
        frame.write_csv(folder / "t.csv")
        frame.with_columns(pl.col("label").cast(pl.String).str.to_uppercase()).write_csv(folder / "r.csv")
        for name in ("t.parquet", "t.csv", "r.csv"):
            manifest = index(folder / name, images="img").manifest
            assert manifest["label"].to_list() == ["true", "false"] * 3
            assert manifest["subject"].to_list() == [None, "1", None, "3", None, "5"]

    def test_true_and_false_are_no_people(self, folder):
        (folder / "t.csv").write_text("image,subject\n001.jpg,True\n002.jpg,False\n")
        found = index(folder / "t.csv", images="img")
        assert found.manifest["subject"].to_list() == [None, None]
        assert any("only true and false, which name no subject" in note for note in found.notes)
        assert any("no subject is known" in note for note in found.notes)


class TestImages:
    @pytest.mark.parametrize("name", ["001.jpg", "img/001.jpg", "img\\001.jpg", ".\\img\\001.jpg", "001",
                                      "C:\\Users\\me\\img\\001.jpg", "/home/other/img/001.jpg", "001.JPG"])
    def test_a_name_is_found_as_in_the_other_layouts(self, folder, name):
        (folder / "t.csv").write_text(f"image,label\n{name},a\n")
        found = index(folder / "t.csv")
        assert found.manifest["image"].to_list() == [str(folder / "img" / "001.jpg")]
        elsewhere = any("found by their names" in note for note in found.notes)
        assert elsewhere == (not name.replace("\\", "/").removeprefix("./").startswith("img/"))

    def test_a_name_that_two_images_have_is_damaged(self, folder):
        write_noise(folder / "more", ["001.jpg"])
        (folder / "t.csv").write_text("image,label\n001.jpg,a\n002.jpg,b\n")
        found = index(folder / "t.csv")
        assert found.manifest.height == 1
        assert "'001.jpg' may be img/001.jpg and more/001.jpg" in found.damaged[0][1]

    def test_another_image_of_that_name_does_not_take_the_place_of_a_missing_one(self, folder):
        write_noise(folder / "train", ["009.jpg"])
        (folder / "t.csv").write_text("image,label\nimg/009.jpg,a\nimg/001.jpg,a\n")
        found = index(folder / "t.csv")
        assert found.manifest.height == 1
        assert found.missing == (f"{folder}/img/009.jpg (row 1)",)


class TestManifest:
    @pytest.mark.parametrize("content", [
        b"cell_id;image;label;subject\r\n1;a.png;x;007\r\n",
        "cell_id\timage\tlabel\tsubject\n1\ta.png\tx\t007\n".encode("utf-16"),
        b"sep=;\ncell_id;image;label;subject\n1;a.png;x;007\n",
        b"cell_id,image,label, subject\n1,a.png,x, 007\n",
        b"Cell_ID,Image,Label,Subject\n1,a.png,x,007\n",
        b"cell_id,image,label,subject\r1,a.png,x,007\r"])
    def test_a_manifest_is_read_in_every_dialect(self, tmp_path, content):
        (tmp_path / "m.csv").write_bytes(content)
        manifest = read_manifest(tmp_path / "m.csv")
        assert manifest.select("cell_id", "label", "subject").rows() == [("1", "x", "007")]

    def test_missing_values_are_null(self, tmp_path):
        (tmp_path / "m.csv").write_text("cell_id,image,label,subject\nNA,a.png,NA,n/a\n2,b.png,x,NaN\n")
        manifest = read_manifest(tmp_path / "m.csv")
        assert manifest.select("cell_id", "label", "subject").rows() == [("NA", None, None), ("2", "x", None)]
        box = {name: [float("nan"), 3.0] for name in ("x", "y", "width", "height")}
        pl.DataFrame({"cell_id": [1, 2], "image": ["a", "b"], "subject": [float("nan"), 2.0], **box}).write_parquet(
            tmp_path / "m.parquet")
        manifest = read_manifest(tmp_path / "m.parquet")
        assert manifest.select("cell_id", "subject", "x").rows() == [("1", None, None), ("2", "2", 3)]

    def test_subjects_that_are_true_and_false_are_refused(self, tmp_path):
        (tmp_path / "m.csv").write_text("cell_id,image,subject\n1,a.png,TRUE\n2,b.png,False\n")
        with pytest.raises(ManifestError, match="holds only true and false, which name no subject"):
            read_manifest(tmp_path / "m.csv")

    def test_latin1_is_refused_with_the_cure(self, tmp_path):
        (tmp_path / "m.csv").write_bytes("cell_id,image,label\n1,a.png,é\n".encode("cp1252"))
        with pytest.raises(ManifestError, match=r"byte 0xE9 in line 2\); save it as CSV UTF-8"):
            read_manifest(tmp_path / "m.csv")

    def test_further_columns_keep_their_types(self, tmp_path):
        (tmp_path / "m.csv").write_text(
            "cell_id,image,copy,share,note,good\n1,a.png,0,0.5,x,true\n2,b.png,1,,1,false\n")
        manifest = read_manifest(tmp_path / "m.csv")
        assert [manifest.schema[name] for name in ("copy", "share", "note", "good")] == [
            pl.Int64, pl.Float64, pl.String, pl.Boolean]


class TestCases:
    """The cases as they were found."""

    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        write_noise(tmp_path, [f"img/{number:03d}.jpg" for number in range(1, 13)])
        return tmp_path / "img"

    @pytest.mark.parametrize("name", ["semi", "bomsemi", "sepexcel", "utf16", "cr", "spacehead"])
    def test_dialects(self, tmp_path, images, name):
        root = case("research/07-csv-dialects", tmp_path)
        answer = leukoscope("data", "index", "table", root, "--option", f"file={name}.csv", "--option",
                            f"images={images}", "-o", root / "x.csv")
        assert answer.code == 0, answer
        manifest = read_manifest(root / "x.csv")
        assert manifest["label"].to_list() == ["1"] * 6 + ["0"] * 6
        assert manifest["subject"].to_list() == [f"{i // 2 + 1:03d}" for i in range(12)]

    def test_latin1(self, tmp_path, images):
        root = case("research/07-csv-dialects", tmp_path)
        command = ["data", "index", "table", root, "--option", "file=latin1.csv", "--option", f"images={images}", "-o",
                   root / "x.csv"]
        assert "save it as CSV UTF-8" in refusal(*command)
        assert leukoscope(*command, "--option", "encoding=latin-1").code == 0
        assert set(read_manifest(root / "x.csv")["label"]) == {"éosinophile", "neutrophile"}

    @pytest.mark.parametrize(("name", "known"), [("ssub", True), ("up2", True), ("pid", False)])
    def test_subject_columns(self, tmp_path, images, name, known):
        root = case("research/02-subject-column-lost", tmp_path)
        answer = leukoscope("data", "index", "table", root, "--option", f"file={name}.csv", "--option",
                            f"images={images}", "-o", root / "x.parquet")
        assert answer.code == 0
        assert ("no subject is known" in answer.out) != known
        assert read_manifest(root / "x.parquet")["subject"].n_unique() == (6 if known else 1)

    def test_missing_markers(self, tmp_path, images):
        root = case("research/05-missing-markers", tmp_path)
        found = index(root / "na.csv", images=str(images))
        assert "NA" not in found.found
        assert found.manifest["subject"].null_count() == 12
        assert any("'NA' (3)" in note for note in found.notes)
