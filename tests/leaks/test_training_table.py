"""The training table of a bundle: hashes that are the same for copies and different for other cells."""

from __future__ import annotations

import cv2
import numpy as np
import polars as pl
import pytest

from leukoscope.errors import LeakError
from leukoscope.images.read import read_image
from leukoscope.images.resample import crop_centre, resize
from leukoscope.leaks.duplicates import Fingerprint, fingerprint, fingerprint_pixels, prints_table
from leukoscope.leaks.training_overlap import refuse_overlap, table_overlap, without_overlap
from leukoscope.leaks.training_table import (
    BITS_APART,
    all_turns,
    cell_hash,
    nearest,
    read_training_table,
    training_table,
    training_table_bytes,
)
from leukoscope.manifest import make_manifest


def textured(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size, 3): random spots of several sizes, different in each cell."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        layers = np.sum([cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), s) * s
                         for s in (1.5, 3, 6)], axis=0)
        grey = layers / layers.std() * 35 + 140
        cells.append(np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    return np.stack(cells)


def thumbnails(cells: np.ndarray) -> np.ndarray:
    return np.stack([fingerprint(cell).thumbnail for cell in cells])


def hashes(cells: np.ndarray) -> np.ndarray:
    return np.stack([np.frombuffer(cell_hash(one) or b"", np.uint8) for one in thumbnails(cells)])


def turned(cells: np.ndarray, angle: float) -> np.ndarray:
    size = cells.shape[1]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), angle, 1)
    return np.stack([cv2.warpAffine(cell, matrix, (size, size), borderMode=cv2.BORDER_REFLECT) for cell in cells])


def test_a_hash_is_that_of_its_right_angles_and_mirror_images():
    cells = textured(12)
    known = hashes(cells)
    for changed in (cells.swapaxes(1, 2)[:, ::-1], cells[:, ::-1, ::-1], cells[:, ::-1], cells.swapaxes(1, 2)):
        rows, apart = nearest(thumbnails(np.ascontiguousarray(changed)), known)
        assert rows.tolist() == list(range(12))
        assert apart.max() <= 2  # rounding of places that lie between pixels
    assert all_turns(thumbnails(cells)[0]).shape == (11 * 128, 16)


def test_changes_of_quality_and_colour_move_few_bits_and_other_cells_are_far():
    cells = textured(60)
    known = hashes(cells)
    changes = {
        "darker": np.clip(cells * 0.7, 0, 255), "harder": np.clip((cells.astype(float) - 140) * 1.3 + 140, 0, 255),
        "noisy": np.clip(cells + np.random.default_rng(1).normal(0, 6, cells.shape), 0, 255),
        "turned by 33": turned(cells, 33), "turned by 90": turned(cells, 90), "blurred": np.stack([
            cv2.GaussianBlur(cell, (0, 0), 0.8) for cell in cells])}
    for name, changed in changes.items():
        rows, apart = nearest(thumbnails(changed.astype(np.uint8)), known)
        assert (rows == np.arange(60)).mean() >= 0.98, name
        assert (apart <= BITS_APART).mean() >= 0.9, name
    _, apart = nearest(thumbnails(textured(60, seed=9)), known)
    assert apart.min() > 2 * BITS_APART


def test_nearest_is_the_least_over_all_turns():
    known, asked = hashes(textured(9)), thumbnails(textured(5, seed=3))
    rows, apart = nearest(asked, known)
    for thumbnail, row, bits in zip(asked, rows, apart, strict=True):
        each = np.unpackbits(np.bitwise_xor(all_turns(thumbnail)[:, None], known[None]), axis=2).sum(2).min(0)
        assert (row, bits) == (each.argmin(), each.min())
    assert nearest(asked, np.empty((0, 16), np.uint8))[0].tolist() == [-1] * 5
    flat = np.full((1, 64, 64), 90, np.uint8)
    assert cell_hash(flat[0]) is None
    assert nearest(flat, known)[1].tolist() == [128]


def test_real_cells_are_told_apart_and_their_copies_are_found(data_folder):
    files = sorted((data_folder / "pbc").rglob("*.jpg"))[::9]
    cells = np.stack([resize(crop_centre(read_image(file), 220), 64) for file in files])
    known = hashes(cells)
    asked = np.arange(0, len(files), 4)
    _, apart = nearest(thumbnails(cells[asked]), known[np.setdiff1d(np.arange(len(files)), asked)])
    assert (apart <= BITS_APART).sum() == 0
    some = cells[asked[:100]]
    for changed in (np.ascontiguousarray(some[:, ::-1]), (some * 0.8).astype(np.uint8), turned(some, 180)):
        _, apart = nearest(thumbnails(changed), known)
        assert (apart <= BITS_APART).mean() >= 0.97


def table_of(cells: np.ndarray, **columns: list[str | None]) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = [f"cell {i}" for i in range(len(cells))]
    rows = [{"cell_id": name, "image": f"{name}.png"} | {key: values[i] for key, values in columns.items()}
            for i, name in enumerate(ids)]
    return make_manifest(rows), fingerprint_pixels(ids, cells)


def test_the_table_of_5000_cells_is_small_and_comes_back():
    rng = np.random.default_rng(0)
    thumbs = cv2.GaussianBlur(rng.integers(0, 256, (64, 64 * 5000), dtype=np.uint8), (0, 0), 2)
    prints = prints_table([f"c{i}" for i in range(5000)], [
        Fingerprint(rng.bytes(32).hex(), np.ascontiguousarray(thumbs[:, 64 * i:64 * i + 64])) for i in range(5000)])
    cells = make_manifest([{"cell_id": f"c{i}", "image": "x", "source": "somewhere", "subject": f"patient {i // 40}",
                            "group": f"group {i // 80}"} for i in range(5000)])
    table = training_table(cells, prints)
    content = training_table_bytes(table)
    assert len(content) < 150_000
    assert read_training_table(content).equals(table)
    assert table.height == 5000
    assert b"c4999" not in content  # no cell is named


def test_a_damaged_table_is_named():
    with pytest.raises(ValueError, match=r"(?i)parquet|magic|eof|size"):
        read_training_table(b"PAR1 nothing")
    table = training_table(*table_of(textured(3)))
    with pytest.raises(ValueError, match="its columns are source, subject"):
        read_training_table(training_table_bytes(table.drop("hash")))
    with pytest.raises(ValueError, match="a value of 'hash' does not have 16 bytes"):
        read_training_table(training_table_bytes(table.with_columns(hash=pl.col("pixels"))))
    with pytest.raises(ValueError, match="it names no cell"):
        read_training_table(training_table_bytes(table.head(0)))


def test_what_was_seen_is_found_as_it_is_turned_and_by_its_subject():
    cells = textured(30)
    trained, prints = table_of(cells, subject=[f"s{i // 3}" for i in range(30)], source=["here"] * 30)
    table = training_table(trained, prints)
    fresh = textured(4, seed=7)
    others, new = table_of(fresh, subject=["t1", "t1", "t2", "t2"], source=["here"] * 4)
    clean = table_overlap("bundle", table, others, new, "clean")
    assert clean.leaks == ()
    refuse_overlap(clean)
    assert clean.checked == ("subjects that bundle was trained on", "cells that bundle was trained on")
    assert clean.not_checked == ("groups that bundle was trained on (not known on both sides)",)
    for changed, kind in ((cells[5], "identical"), (np.ascontiguousarray(cells[5, :, ::-1]), "augmented")):
        sneaked = np.concatenate([fresh, changed[None]])
        mixed, prints = table_of(sneaked, subject=["t1", "t1", "t2", "t2", "t3"], source=["here"] * 5)
        found = table_overlap("bundle", table, mixed, prints, "clean")
        assert [(leak.kind, leak.count, leak.examples) for leak in found.leaks] == [(kind, 1, ("'cell 4'",))]
        with pytest.raises(LeakError, match=r"those that bundle was trained on: 1 \('cell 4'"):
            refuse_overlap(found)
        refuse_overlap(table_overlap("bundle", table, mixed, prints, "paper"))
    same, new = table_of(fresh, subject=["s4", "t1", "t2", "s4"], source=["here"] * 4)
    found = table_overlap("bundle", table, same, new, "clean")
    assert [(leak.kind, leak.count, leak.examples) for leak in found.leaks] == [("subject", 1, ("'s4'",))]
    elsewhere = same.with_columns(source=pl.lit("elsewhere"))
    assert table_overlap("bundle", table, elsewhere, new, "clean").leaks == ()


def test_mixed_leaks_are_named_once_with_the_one_option_that_leaves_them_out():
    """Cells with the same ids and pixels, turned copies, and others of the same people, all at once."""
    cells = textured(12)
    trained, prints = table_of(cells, subject=[f"s{i // 3}" for i in range(12)], source=["here"] * 12)
    table = training_table(trained, prints)
    sneaked = np.concatenate([cells[:3], np.ascontiguousarray(np.rot90(cells[3:5], axes=(1, 2))), textured(5, seed=7)])
    mixed, prints = table_of(sneaked, subject=[*["new"] * 5, "s3", "s2", "t1", "t2", "t3"], source=["here"] * 10)
    verdict = table_overlap("bundle", table, mixed, prints, "clean")
    with pytest.raises(LeakError) as refused:
        without_overlap(verdict, mixed["cell_id"], False)
    said = str(refused.value)
    assert "subjects of these cells that bundle was trained on: 2 ('s2', 's3')" in said
    assert "pairs of identical images between these cells and those that bundle was trained on: 3 (" in said
    assert "pairs of turned or mirrored copies between these cells and those that bundle was trained on: 2 (" in said
    assert said.count("leave 7 of the 10 cells out with --leave-out-trained") == 1
    kept, after = without_overlap(verdict, mixed["cell_id"], True)
    assert mixed["cell_id"].filter(pl.Series(kept)).to_list() == ["cell 7", "cell 8", "cell 9"]
    assert after.leaks == ()


def test_a_run_without_fingerprints_leaves_people_alone():
    trained, _ = table_of(textured(3), subject=["a", "b", "b"], source=["x"] * 3)
    table = training_table(trained, None)
    assert table.height == 2
    here, prints = table_of(textured(2, seed=4), subject=["b", "c"], source=["x"] * 2)
    found = table_overlap("bundle", table, here, prints, "clean")
    assert [leak.kind for leak in found.leaks] == ["subject"]
    assert "cells that bundle was trained on (it has no fingerprints)" in found.not_checked
