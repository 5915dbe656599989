"""The audit finds known problems, reports none where there are none, and names what it could not check."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from scipy.stats import f_oneway

from leukoscope.auditing.audit import audit
from leukoscope.auditing.findings import RARE
from leukoscope.auditing.measure import BASIC, BORDER, COLUMNS, measure
from leukoscope.auditing.shortcut import find_shortcuts
from leukoscope.auditing.tables import outliers_of, share_explained
from leukoscope.errors import ManifestError
from leukoscope.manifest import make_manifest
from leukoscope.report.audit import write_audit


def figure(pixels: np.ndarray, name: str) -> float:
    return float(measure(pixels)[COLUMNS.index(name)])


def plain(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def textured(seed: int, size: int = 40, tint: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """Smooth random structure, no two alike."""
    noise = np.random.default_rng(seed).normal(0, 60, (size, size, 1))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)[..., None] * 4
    return np.clip(150 + smooth + np.array(tint), 0, 255).astype(np.uint8)


def save(folder: Path, name: str, pixels: np.ndarray) -> str:
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return str(path)


@pytest.fixture
def mixed(tmp_path: Path) -> pl.DataFrame:
    """24 cells of two classes and four subjects; one broken, one missing, one duplicate with another label."""
    rows = [{"cell_id": f"c{i:02d}", "image": save(tmp_path, f"c{i:02d}", textured(i)), "label": "ab"[i % 2],
             "subject": f"s{i % 4}"} for i in range(24)]
    (tmp_path / "broken.png").write_bytes(Path(str(rows[0]["image"])).read_bytes()[:200])
    rows += [{"cell_id": "broken", "image": str(tmp_path / "broken.png"), "label": "a", "subject": None},
             {"cell_id": "gone", "image": str(tmp_path / "gone.png"), "label": "a", "subject": "s0"},
             {"cell_id": "twin", "image": save(tmp_path, "twin", textured(0)), "label": "b", "subject": "s9"},
             {"cell_id": "bare", "image": save(tmp_path, "bare", textured(99)), "label": None, "subject": "s0"}]
    return make_manifest([row | {"source": "one"} for row in rows])


def test_size_brightness_and_stain_of_plain_colours() -> None:
    assert [figure(plain((255, 255, 255)), n) for n in ("width", "height", "brightness")] == pytest.approx([60, 40, 1])
    assert np.isnan(figure(plain((255, 255, 255)), "density"))
    green_taken, red_taken, blue_taken = (128, 10, 128), (10, 128, 128), (128, 128, 10)
    density = -(2 * np.log10(128 / 255) + np.log10(10 / 255)) / 3
    for colour, hue in ((red_taken, 0), (green_taken, 120), (blue_taken, 240)):
        assert figure(plain(colour), "density") == pytest.approx(density)
        assert figure(plain(colour), "hue") % 360 == pytest.approx(hue, abs=1e-6)
    assert figure(plain((200, 100, 50)), "brightness") == pytest.approx((0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255)


def test_the_ground_of_a_cut_out_cell_counts_neither_as_stain_nor_as_darkness() -> None:
    cut_out = plain((0, 0, 0))
    cut_out[10:30, 20:40] = (120, 60, 140)
    for name in ("brightness", "density", "hue"):
        assert figure(cut_out, name) == pytest.approx(figure(plain((120, 60, 140)), name), rel=1e-6)


def test_sharpness_falls_with_blur_and_the_border_does_not_see_the_centre() -> None:
    sharp = textured(1, 120)
    blurred = [figure(cv2.GaussianBlur(sharp, (0, 0), s), "sharpness") for s in (1, 2, 4)]
    assert figure(sharp, "sharpness") > blurred[0] > blurred[1] > blurred[2]
    changed = sharp.copy()
    changed[20:100, 20:100] = 0
    border = [COLUMNS.index(name) for name in BORDER]
    np.testing.assert_allclose(measure(sharp)[border], measure(changed)[border])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_the_smallest_cells_can_be_measured(shape: tuple[int, int]) -> None:
    values = measure(np.full((*shape, 3), 90, np.uint8))
    assert values.shape == (len(COLUMNS),)
    assert np.isfinite(values).all()


def test_what_is_wrong_is_named(mixed: pl.DataFrame) -> None:
    seen: list[tuple[int, int]] = []
    found = audit(mixed, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 28) for i in range(1, 29)]
    assert {d.cell_id: d.reason for d in found.damaged} == {"broken": found.damaged[0].reason, "gone": "no such file"}
    assert "cannot be decoded" in found.damaged[0].reason
    assert found.pairs.select("first", "second", "kind", "other_label", "other_subject").rows() == [
        ("c00", "twin", "identical", True, True)]
    assert found.pair_counts == {"all": 1, "identical": 1, "near": 0, "augmented": 0, "across labels": 1,
                                 "across subjects": 1, "across sources": 0}
    assert found.balance.select("label", "cells", "subjects").rows() == [("a", 14, 2), ("b", 13, 3), ("", 1, 1)]
    assert found.balance["share"].to_list() == pytest.approx([14 / 28, 13 / 28, 1 / 28])
    assert dict(found.subjects.filter(label="a").select("subject", "len").iter_rows()) == {"s0": 7, "s2": 6}
    lines = found.verdict
    assert lines[0].startswith("problem: 2 of 28 cells cannot be decoded (first: ")
    assert lines[1] == ("problem: 1 pair of images of the same cell have different labels ('c00' a, 'twin' b)")
    assert "warning: 1 of 28 cells have no label" in lines
    assert any(line.startswith("warning: no subject is known for 1 of 28 cells") for line in lines)
    assert any(f"fewer than {RARE} of a, b" in line for line in lines)
    assert [line.split(":")[0] for line in lines] == sorted(
        (line.split(":")[0] for line in lines), key=["problem", "warning", "note", "fine"].index)
    assert not any("\n" in line for line in lines)


def test_a_border_that_knows_the_label_is_a_shortcut_and_noise_is_none(tmp_path: Path) -> None:
    rows = []
    for i in range(90):
        label = "abc"[i % 3]
        pixels = textured(i)
        if i < 45:
            pixels[:4] = {"a": (220, 40, 40), "b": (40, 220, 40), "c": (40, 40, 220)}[label]
        rows.append({"cell_id": f"c{i:02d}", "image": save(tmp_path, str(i), pixels), "label": label,
                     "group": f"g{i // 3}"})
    found = {name: audit(make_manifest(part)) for name, part in (("border", rows[:45]), ("noise", rows[45:]))}
    for name, one in found.items():
        border = next(s for s in one.shortcuts if s.features == "border")
        assert border.majority == pytest.approx(1 / 3)
        assert border.accuracy.total == 45
        assert border.accuracy.low is not None
        warned = [f for f in one.findings if f.kind == "shortcut" and f.level == "warning"]
        if name == "border":
            assert border.accuracy.value == 1
            assert border.accuracy.low > 0.75
            assert any("border" in f.text for f in warned)
        else:
            assert border.accuracy.low < 1 / 3
            assert not warned


def test_sources_that_look_different_are_reported(tmp_path: Path) -> None:
    tints = ((0, 0, 0), (60, 60, 60))
    rows = [{"cell_id": f"c{i:02d}", "image": save(tmp_path, str(i), textured(i, tint=tints[i % 2])),
             "label": "ab"[i // 2 % 2], "source": ["dark", "bright"][i % 2], "subject": f"s{i // 2}"}
            for i in range(40)]
    found = audit(make_manifest(rows))
    assert found.explained["brightness"] > 0.8
    assert [(row["of"], row["cells"]) for row in found.sources.to_dicts()] == [("bright", 20), ("dark", 20)]
    assert any("is between sources" in line and line.startswith("warning") for line in found.verdict)
    assert any(line.startswith("warning: the source can be guessed from the border") for line in found.verdict)
    assert not any(line.startswith("warning: the label can be guessed") for line in found.verdict)


def test_the_share_explained_agrees_with_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(mean, 1, size) for mean, size in ((0, 30), (0.7, 12), (1.5, 21))]
    located = pl.DataFrame({"source": [f"s{i}" for i, g in enumerate(groups) for _ in g]} | {
        name: np.concatenate(groups) for name in ("brightness", "density", "hue", "sharpness")})
    f = float(f_oneway(*groups).statistic)
    between, within = len(groups) - 1, located.height - len(groups)
    epsilon = between * (f - 1) / (between * f + within)
    assert share_explained(located, "source")["hue"] == pytest.approx(epsilon)


def test_outliers_are_named_with_what_is_odd_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"cell_id": [f"c{i:03d}" for i in range(200)], "source": ["x"] * 200, "width": [100.0] * 200,
                          "height": [100.0] * 200, "sharpness": rng.normal(1, 0.1, 200),
                          "brightness": rng.normal(0.7, 0.03, 200)})
    assert outliers_of(table).is_empty()
    at = pl.col("cell_id")
    table = table.with_columns(
        width=pl.when(at == "c003").then(300.0).otherwise("width"),
        sharpness=pl.when(at == "c007").then(-1.0).otherwise("sharpness"),
        brightness=pl.when(at == "c009").then(0.1).otherwise("brightness"))
    found = outliers_of(table)
    assert sorted(found.select("cell_id", "what").rows()) == [
        ("c003", "aspect"), ("c003", "side"), ("c007", "sharpness"), ("c009", "brightness")]
    side = found.filter(what="side").row(0, named=True)
    assert side["value"] == pytest.approx(np.sqrt(300 * 100))
    assert side["low"] < 100 < side["high"] < side["value"]
    # A second source with another brightness has its own median.
    both = pl.concat([table, table.with_columns(at + "-2", source=pl.lit("y"), brightness=pl.col("brightness") - 0.5)])
    assert outliers_of(both).height == 2 * found.height


def test_the_official_files_of_cnmc_without_their_images(data_folder: Path, tmp_path: Path) -> None:
    listed = pl.read_csv(data_folder / "cnmc/official_files.csv.gz", schema_overrides={"subject": pl.String})
    manifest = listed.rename({"path": "cell_id"}).with_columns(image="cell_id")
    training = audit(manifest.filter(pl.col("fold").is_not_null()))
    assert training.pair_counts == {"all": 104, "identical": 104, "near": 0, "augmented": 0, "across labels": 0,
                                    "across subjects": 99, "across folds": 94}
    assert ("warning: 104 pairs of images show the same cell (104 identical); 99 across subjects, 94 across folds"
            in training.verdict)
    assert "note: 73 subjects" in "".join(training.verdict)
    assert len(training.not_done) == 1
    assert "near duplicates" in training.not_done[0]
    assert training.damaged == ()
    page = write_audit(training, tmp_path).read_text(encoding="utf-8")
    assert "Not checked" in page
    assert "UID_20_" in page
    assert "data:image/jpeg" not in page


def test_the_cells_of_bccd_hold_cells_photographed_twice(data_folder: Path) -> None:
    files = sorted((data_folder / "bccd5").glob("*/*.jpg"))
    found = audit(make_manifest([{"cell_id": f.stem.removeprefix("BloodImage_"), "image": str(f),
                                  "label": f.parent.name} for f in files]))
    assert found.balance.select("label", "cells").rows() == [
        ("Neutrophil", 207), ("Eosinophil", 88), ("Lymphocyte", 33), ("Monocyte", 20), ("Basophil", 3)]
    assert any(line.endswith("fewer than 20 of Basophil") for line in found.verdict)
    seen = set(found.pairs.select("first", "second").rows())
    assert {("00204_1", "00277_1"), ("00386_1", "00391_1"), ("00229_1", "00258_1"), ("00205_1", "00276_1")} <= seen
    assert 9 <= len(seen) <= 14
    assert found.pair_counts["across labels"] == 0
    assert "fine: all 351 cells can be decoded" in found.verdict


class Page(HTMLParser):
    """Links and sources of a page, and elements that are not closed."""

    VOID = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_trusts_no_name(mixed: pl.DataFrame, tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>"
    manifest = mixed.with_columns(
        pl.col("label").replace("b", hostile), pl.col("cell_id").replace("twin", "<b>twin</b>"),
        pl.when(pl.col("subject") == "s1").then(pl.lit("${x}{{ 7*7 }}")).otherwise("subject").alias("subject"))
    found = audit(manifest)
    html = write_audit(found, tmp_path / "new" / "folder").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert all(source.startswith(("#", "data:image/")) for source in page.sources)
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) >= 2
    assert "&lt;b&gt;twin&lt;/b&gt;" in html
    assert "49" not in re.findall(r"\$\{x\}\{\{ (\d+)", html)
    written = json.loads((tmp_path / "new/folder/audit.json").read_text(encoding="utf-8"))
    assert written["pair_counts"]["identical"] == 1
    assert written["verdict"] == list(found.verdict)
    assert written["damaged_count"] == 2


def test_a_set_with_nothing_wrong_says_so(tmp_path: Path) -> None:
    rows = [{"cell_id": f"c{i}", "image": save(tmp_path, f"c{i}", textured(i)), "label": "ab"[i % 2],
             "subject": f"s{i // 4}"} for i in range(48)]
    found = audit(make_manifest(rows))
    assert {f.level for f in found.findings} <= {"fine", "note"}
    assert "fine: no two images show the same cell" in found.verdict
    assert found.not_done == ()


def test_one_class_no_label_no_image_and_no_cell(tmp_path: Path) -> None:
    image = save(tmp_path, "one", textured(0))
    one = audit(make_manifest([{"cell_id": "a", "image": image, "label": "x"}]))
    assert any(line == "problem: there is one class only" for line in one.verdict)
    assert any("shortcut" in line for line in one.not_done)
    bare = audit(make_manifest([{"cell_id": "a", "image": image}]))
    assert "problem: no cell has a label" in bare.verdict
    gone = audit(make_manifest([{"cell_id": "a", "image": str(tmp_path / "none.png"), "label": "x"}]))
    assert gone.verdict[0].startswith("problem: 1 of 1 cells cannot be decoded")
    for number, found in enumerate((one, bare, gone)):
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["cells"] == 1
        assert Page(write_audit(found, tmp_path / str(number)).read_text(encoding="utf-8")).open == []
    with pytest.raises(ManifestError, match="no cells to audit"):
        audit(make_manifest([{"cell_id": "a", "image": "b"}])[:0])


def test_the_same_seed_gives_the_same_audit(mixed: pl.DataFrame) -> None:
    assert audit(mixed, seed=3).to_dict() == audit(mixed, seed=3).to_dict()


def test_the_shortcut_check_says_why_it_was_not_done() -> None:
    manifest = make_manifest([{"cell_id": f"c{i}", "image": "i", "label": "ab"[i // 6], "subject": "ab"[i // 6]}
                              for i in range(12)])
    measures = pl.DataFrame({"cell_id": manifest["cell_id"]} | {name: np.zeros(12) for name in COLUMNS})
    pairs = pl.DataFrame(schema={"first": pl.String, "second": pl.String})
    found, reason = find_shortcuts(manifest, measures, pairs, "label", 0)
    assert found == []
    assert "has 6 cells in 1 units" in reason
    assert len(BASIC) == 6
