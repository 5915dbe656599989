"""Duplicates: every kind of copy that is covered is found, and cells that are only similar are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from scipy.spatial import KDTree

from leukoscope.auditing.measure import measure_cells
from leukoscope.images.decode import Damaged, map_cells
from leukoscope.images.read import read_image
from leukoscope.leaks import registration as duplicates_near
from leukoscope.leaks.duplicates import duplicate_pairs, fingerprint, fingerprint_pixels
from leukoscope.manifest import make_manifest

Change = Callable[[np.ndarray], np.ndarray]


def warped(*, angle: float = 0, zoom: float = 1, shift: float = 0, shear: float = 0, mirror: bool = False) -> Change:
    """As in augmentation: about the centre, black beyond the image. Angle in degrees, shift as a share of the side."""

    def change(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        pixels = np.ascontiguousarray(pixels[:, ::-1]) if mirror else pixels
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom)
        lean = np.tan(np.radians(shear))
        matrix = matrix @ np.array([[1, lean, -lean * (height - 1) / 2], [0, 1, 0], [0, 0, 1]])
        matrix[:, 2] += shift * width
        return cv2.warpAffine(pixels, matrix, (width, height))

    return change


def jpeg(quality: int) -> Change:
    def change(pixels: np.ndarray) -> np.ndarray:
        decoded = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded

    return change


def noisy(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels + np.random.default_rng(0).normal(0, 10, pixels.shape), 0, 255).astype(np.uint8)


NEAR: dict[str, Change] = {
    "JPEG at quality 40": jpeg(40),
    "half the size": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter by 15 %": lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8),
    "gamma 1.3": lambda p: (255 * (p / 255) ** 1.3).astype(np.uint8),
    "noise of 10 levels": noisy,
    "other colours": lambda p: np.ascontiguousarray(p[:, :, ::-1]),
    "turned by 3 degrees": warped(angle=3),
    "shift of 2 % both ways": warped(shift=0.02),
    "zoom of 5 %": warped(zoom=1.05),
    "shear of 5 degrees": warped(shear=4),
}
AUGMENTED: dict[str, Change] = {
    "quarter turn": lambda p: np.ascontiguousarray(np.rot90(p)),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "upside down": lambda p: np.ascontiguousarray(p[::-1]),
    "turned by 33 degrees and mirrored": warped(angle=33, mirror=True),
    "turned by 200 degrees": warped(angle=200),
    "all at once": lambda p: jpeg(70)(warped(angle=40, mirror=True, shift=0.02, zoom=1.04, shear=3)(p)),
}


@pytest.fixture(scope="module")
def cells(data_folder: Path) -> list[np.ndarray]:
    """160 PBC cells of all classes, decoded."""
    files = sorted((data_folder / "pbc/PBC_dataset_normal_DIB").glob("*/*.jpg"))[7::44][:160]
    return [read_image(f) for f in files]


@pytest.mark.parametrize("name", [*NEAR, *AUGMENTED])
def test_a_changed_copy_is_found_and_told_by_its_kind(cells: list[np.ndarray], name: str) -> None:
    change, kind = (NEAR[name], "near") if name in NEAR else (AUGMENTED[name], "augmented")
    originals = cells[:24]
    pairs = found_among(originals, [change(p) for p in originals])
    right = {(f"copy{i:03d}", f"own{i:03d}") for i in range(24)}
    found = set(zip(pairs["first"], pairs["second"], strict=True))
    assert found <= right, "a pair that is none"
    assert len(found) >= 23, f"only {len(found)} of 24"
    kinds = pairs["kind"].to_list()
    assert kinds.count(kind) >= len(found) - 1


@pytest.mark.parametrize(("angle", "mirror"), [(0, True), (75, False), (-120, True)])
def test_the_turn_of_a_copy_is_measured(cells: list[np.ndarray], angle: float, mirror: bool) -> None:
    originals = [warped()(p[:360, :360]) for p in cells[:10]]
    pairs = found_among(originals, [warped(angle=angle, mirror=mirror)(p) for p in originals])
    assert pairs.height == 10
    assert set(pairs["mirrored"]) == {mirror}
    # first = copy -> second = original; OpenCV turns counter-clockwise, image rows run down.
    turn = (180 - angle) if mirror else angle
    off = (pairs["angle"].to_numpy() - turn + 180) % 360 - 180
    assert np.abs(off).max() < 1.0


def found_among(originals: list[np.ndarray], copies: list[np.ndarray]) -> pl.DataFrame:
    prints = [fingerprint(p) for p in [*originals, *copies]]
    names = [f"own{i:03d}" for i in range(len(originals))] + [f"copy{i:03d}" for i in range(len(copies))]
    return duplicate_pairs(pl.DataFrame({
        "cell_id": names, "sha256": [p.sha256 for p in prints], "thumbnail": [p.thumbnail.tobytes() for p in prints]}))


def test_cells_that_only_look_alike_are_no_pairs(cells: list[np.ndarray]) -> None:
    assert found_among(cells, []).is_empty()


def test_identical_pixels_are_one_pair_of_each_two_whatever_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 256, (40, 40, 3), np.uint8)
    for name in ("a.png", "b.bmp", "c.tif"):
        cv2.imwrite(str(tmp_path / name), first)
    cv2.imwrite(str(tmp_path / "d.png"), rng.integers(0, 256, (40, 40, 3), np.uint8))
    names = ["a.png", "b.bmp", "c.tif", "d.png"]
    prints = measure_cells(make_manifest([{"cell_id": n, "image": str(tmp_path / n)} for n in names])).prints
    pairs = duplicate_pairs(prints)
    assert pairs.rows() == [(a, b, "identical", 0.0, None, None)
                            for a, b in (("a.png", "b.bmp"), ("a.png", "c.tif"), ("b.bmp", "c.tif"))]


def test_pixels_of_another_shape_are_not_identical() -> None:
    flat = np.zeros((4, 9, 3), np.uint8)
    assert fingerprint(flat).sha256 != fingerprint(flat.reshape(6, 6, 3)).sha256


def test_packed_pixels_leave_the_same_fingerprints_as_single_cells() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 70, 70, 3), np.uint8)
    seen: list[tuple[int, int]] = []
    table = fingerprint_pixels([f"c{i}" for i in range(5)], pixels, lambda done, total: seen.append((done, total)))
    assert table["sha256"].to_list() == [fingerprint(p).sha256 for p in pixels]
    assert table["thumbnail"].to_list() == [fingerprint(p).thumbnail.tobytes() for p in pixels]
    assert seen == [(i, 5) for i in range(1, 6)]


def test_cells_without_structure_are_left_to_their_hash() -> None:
    flat = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 0, 90, 91, 255)])
    pairs = duplicate_pairs(fingerprint_pixels(list("abcde"), flat))
    assert pairs.select("first", "second", "kind").rows() == [("a", "b", "identical")]


def test_damaged_and_cut_out_cells(tmp_path: Path) -> None:
    field = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "field.png"), field)
    (tmp_path / "broken.png").write_bytes(b"")
    box = {"image": str(tmp_path / "field.png"), "width": 20, "height": 20}
    manifest = make_manifest([
        {"cell_id": "left", "x": 0, "y": 0, **box}, {"cell_id": "gone", "image": str(tmp_path / "broken.png")},
        {"cell_id": "far", "x": 500, "y": 0, **box}, {"cell_id": "right", "x": 40, "y": 40, **box}])
    prints = measure_cells(manifest).prints
    assert prints["cell_id"].to_list() == ["left", "gone", "far", "right"]
    assert prints["sha256"].is_null().to_list() == [False, True, True, False]
    assert "0 bytes" in prints["damaged"][1]
    assert "outside" in prints["damaged"][2]
    assert prints["sha256"][3] == fingerprint(field[40:, 40:, ::-1]).sha256
    assert duplicate_pairs(prints).is_empty()


def test_a_field_is_decoded_once_for_all_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leukoscope.images import decode

    cv2.imwrite(str(tmp_path / "f.png"), np.zeros((30, 30, 3), np.uint8))
    read: list[str] = []
    monkeypatch.setattr(decode, "read_image", lambda path: read.append(path) or read_image(path))
    manifest = make_manifest([{"cell_id": str(i), "image": str(tmp_path / "f.png"), "x": i, "y": 0, "width": 9,
                               "height": 9} for i in range(12)])
    found = dict(map_cells(manifest, lambda pixels: pixels.shape))
    assert found == dict.fromkeys(range(12), (9, 9, 3))
    assert len(read) == 1


def test_nothing_and_one_cell_have_no_pairs() -> None:
    none = fingerprint_pixels([], np.empty((0, 8, 8, 3), np.uint8))
    one = fingerprint_pixels(["a"], np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8))
    assert duplicate_pairs(none).is_empty()
    assert duplicate_pairs(one).is_empty()


def test_many_identical_cells_are_listed_with_the_first() -> None:
    prints = pl.DataFrame({"cell_id": [f"{i:03d}" for i in range(50)], "sha256": ["same"] * 50})
    pairs = duplicate_pairs(prints)
    assert pairs.height == 49
    assert set(pairs["first"]) == {"000"}


def test_the_search_finds_what_a_tree_finds() -> None:
    rng = np.random.default_rng(3)
    base, other = (rng.normal(0, 0.12, (400, 20)).astype(np.float32) for _ in range(2))
    first, second, distance = duplicates_near._within(base, other, 0.6, 400)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    np.testing.assert_allclose(distance, ((base[first] - other[second]) ** 2).sum(1), atol=1e-5)
    tree = KDTree(base).query_ball_tree(KDTree(other), 0.6)
    assert found == {(i, j) for i, row in enumerate(tree) for j in row if i != j}
    assert len(found) > 100
    first, second, _ = duplicates_near._within(base, other, 0.6, 3)
    gaps = np.linalg.norm(base[:, None] - other[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    expected = {(i, int(j)) for i in range(400) for j in np.argsort(gaps[i])[:3] if gaps[i, j] < 0.6}
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected


def batched(names: list[str]) -> list[tuple[str, str]]:
    return list(zip(names[::2], names[1::2], strict=True))


def test_pairs_of_the_pbc_subset(data_folder: Path) -> None:
    """Four pairs of identical files, and cells photographed twice, turned by about 30 degrees."""
    folder = data_folder / "pbc/PBC_dataset_normal_DIB"
    twice = ["monocyte/MO_422563", "monocyte/MO_832660", "lymphocyte/LY_800058", "lymphocyte/LY_373896",
             "eosinophil/EO_677075", "eosinophil/EO_663412", "basophil/BA_49100", "basophil/BA_949913"]
    by_hash: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*/*.jpg")):
        by_hash.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), []).append(file)
    same = [files for files in by_hash.values() if len(files) > 1]
    assert len(same) == 4
    files = [*(f for group in same for f in group), *(folder / f"{name}.jpg" for name in twice),
             *sorted((folder / "monocyte").glob("*.jpg"))[:60]]
    manifest = make_manifest([{"cell_id": f.stem, "image": str(f)} for f in dict.fromkeys(files)])
    pairs = duplicate_pairs(measure_cells(manifest).prints)
    identical = pairs.filter(pl.col("kind") == "identical")
    assert set(identical.select("first", "second").rows()) == {tuple(sorted(f.stem for f in group)) for group in same}
    turned = pairs.filter(pl.col("kind") == "augmented")
    names = [Path(name).stem for name in twice]
    assert set(turned.select("first", "second").rows()) == {tuple(sorted(p)) for p in batched(names)}
    assert turned["angle"].abs().is_between(29, 49).all()
    assert not turned["mirrored"].any()


def test_the_identical_training_files_of_cnmc(data_folder: Path) -> None:
    table = pl.read_csv(data_folder / "cnmc/official_files.csv.gz", schema_overrides={"subject": pl.String})
    training = table.filter(pl.col("fold").is_not_null()).rename({"path": "cell_id"})
    pairs = duplicate_pairs(training.select("cell_id", "sha256"))
    assert (pairs.height, set(pairs["kind"])) == (104, {"identical"})
    facts = training.select("cell_id", pl.col("subject").str.to_uppercase(), "fold")
    both = pairs.join(facts, left_on="first", right_on="cell_id").join(
        facts, left_on="second", right_on="cell_id", suffix="_second")
    assert (both["subject"] != both["subject_second"]).sum() == 99
    assert (both["fold"] != both["fold_second"]).sum() == 94


def test_damaged_says_where_and_why() -> None:
    assert Damaged("a", "a.png", "is empty").reason == "is empty"
