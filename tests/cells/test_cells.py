"""The packed cache and the batches: what they hold, what they depend on, and that nothing half-made is ever read."""

from __future__ import annotations

import copy
import os
import pickle
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from leukoscope.cells import channel_statistics, pack_cells
from leukoscope.errors import ImageError, LeukoscopeError, ManifestError
from leukoscope.images.decode import usable_cores
from leukoscope.images.read import cut_cell, read_image
from leukoscope.images.resample import crop_centre, resize
from leukoscope.manifest import make_manifest
from leukoscope.recipes import Preprocess

helper = runpy.run_path(str(Path(__file__).parents[1] / "damaged.py"))
SMALL = Preprocess(size=16, crop=30)


def write_images(folder: Path, count: int = 6, side: int = 40) -> pl.DataFrame:
    """A manifest of `count` PNG cells of random pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number in range(count):
        path = folder / f"cell{number}.png"
        Image.fromarray(rng.integers(0, 256, (side, side + 5, 3), dtype=np.uint8)).save(path)
        rows.append({"cell_id": f"c{number}", "image": str(path), "label": "ab"[number % 2]})
    return make_manifest(rows)


def expected(manifest: pl.DataFrame, preprocess: Preprocess = SMALL) -> np.ndarray:
    return np.stack([resize(crop_centre(cut_cell(read_image(row["image"]), row), preprocess.crop), preprocess.size)
                     for row in manifest.rows(named=True)])


def files_in(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "cells").iterdir() if path.suffix != ".lock")


@pytest.fixture
def manifest(tmp_path: Path) -> pl.DataFrame:
    return write_images(tmp_path / "images")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_cells_are_as_decoded_one_by_one_in_the_order_of_the_manifest(manifest, cache):
    shuffled = manifest.reverse()
    for workers in (1, 3):
        packed = pack_cells(shuffled, SMALL, cache=cache / str(workers), workers=workers)
        np.testing.assert_array_equal(packed.pixels, expected(shuffled))
        assert packed.cell_ids == tuple(shuffled["cell_id"])
        assert packed.damaged == ()
        assert not packed.pixels.flags.writeable


def test_boxes_of_one_field_are_cut_each(tmp_path: Path, cache):
    write_images(tmp_path / "images", 2)
    rows = [{"cell_id": f"c{n}", "image": str(tmp_path / "images" / f"cell{n % 2}.png"), "x": 3 * n - 5, "y": n,
             "width": 20, "height": 25} for n in range(7)]
    fields = make_manifest(rows)
    np.testing.assert_array_equal(pack_cells(fields, SMALL, cache=cache).pixels, expected(fields))


def test_the_second_time_nothing_is_decoded(manifest, cache):
    first = pack_cells(manifest, SMALL, cache=cache)
    written = first.path.stat()
    calls: list[tuple[int, int]] = []
    again = pack_cells(manifest, SMALL, cache=cache, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == []
    assert (again.path.stat().st_mtime_ns, again.path.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    np.testing.assert_array_equal(again.pixels, first.pixels)


def test_progress_counts_every_cell(manifest, cache):
    calls: list[tuple[int, int]] = []
    pack_cells(manifest, SMALL, cache=cache, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 6) for n in range(1, 7)]


def test_the_key_changes_with_whatever_changes_the_pixels(manifest, cache):
    def key(manifest: pl.DataFrame, preprocess: Preprocess = SMALL) -> str:
        return pack_cells(manifest, preprocess, cache=cache, skip_damaged=True).key

    image = Path(manifest["image"][2])
    keys = [key(manifest), key(manifest.reverse()), key(manifest.head(5)), key(manifest, Preprocess(size=17, crop=30)),
            key(manifest, Preprocess(size=16, crop=29)),
            key(manifest.with_columns(x=pl.lit(0), y=pl.lit(0), width=pl.lit(9), height=pl.lit(9))),
            key(manifest.with_columns(pl.col("cell_id") + "x"))]
    assert key(manifest, Preprocess(size=16, crop=30, normalise="none")) == keys[0]
    assert key(manifest.with_columns(label=pl.lit("z"))) == keys[0]
    before = image.stat()
    Image.fromarray(255 - read_image(image)).save(image)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a tool does that keeps the time of writing
    changed = pack_cells(manifest, SMALL, cache=cache)
    keys.append(changed.key)
    np.testing.assert_array_equal(changed.pixels, expected(manifest))
    image.unlink()
    keys.append(key(manifest))
    assert len(set(keys)) == len(keys)


def test_damaged_cells_stop_or_are_listed_by_name(tmp_path: Path, cache):
    whole = write_images(tmp_path / "images", 4)
    (tmp_path / "cut.png").write_bytes(Path(whole["image"][0]).read_bytes()[:500])
    rows = whole.rows(named=True)
    rows.insert(0, {"cell_id": "gone", "image": str(tmp_path / "gone.png")})
    rows.insert(3, {"cell_id": "cut", "image": str(tmp_path / "cut.png")})
    rows.append({"cell_id": "outside", "image": whole["image"][1], "x": 400, "y": 0, "width": 9, "height": 9})
    manifest = make_manifest(rows)
    with pytest.raises(ImageError, match=r"gone.png: no such file .*'gone'; 3 of 7 cells are damaged.*--skip-damaged"):
        pack_cells(manifest, SMALL, cache=cache)
    packed = pack_cells(manifest, SMALL, cache=cache, skip_damaged=True)
    assert packed.cell_ids == tuple(whole["cell_id"])
    np.testing.assert_array_equal(packed.pixels, expected(whole))
    assert [(d.cell_id, Path(d.image).name) for d in packed.damaged] == [
        ("gone", "gone.png"), ("cut", "cut.png"), ("outside", "cell1.png")]
    for damaged, says in zip(packed.damaged, ("no such file", "truncated", "outside the image"), strict=True):
        assert says in damaged.reason
    with pytest.raises(ImageError, match="3 of 7 cells"):  # from the cache, too
        pack_cells(manifest, SMALL, cache=cache)


def test_no_cell_left_is_an_error_even_when_damaged_ones_may_be_skipped(tmp_path: Path, cache):
    gone = make_manifest([{"cell_id": "a", "image": str(tmp_path / "a.png")}])
    for _ in range(2):
        with pytest.raises(ImageError, match=r"1 of 1 cells are damaged.*no cell is left"):
            pack_cells(gone, SMALL, cache=cache, skip_damaged=True)
    with pytest.raises(ManifestError, match="no cells"):
        pack_cells(gone.head(0), SMALL, cache=cache)


def test_every_kind_of_damaged_file_is_skipped_and_every_odd_one_is_not(tmp_path: Path, cache):
    damaged, odd = helper["write_damaged"](tmp_path / "damaged"), helper["write_odd"](tmp_path / "odd")
    rows = [{"cell_id": name, "image": str(case.path)} for name, case in {**damaged, **odd}.items()]
    packed = pack_cells(make_manifest(rows), Preprocess(size=24), cache=cache, skip_damaged=True)
    assert packed.cell_ids == tuple(odd)
    assert [d.cell_id for d in packed.damaged] == list(damaged)


@pytest.mark.parametrize("damage", [
    lambda content: content[:-1], lambda content: content[:len(content) // 2], lambda content: content[:10],
    lambda content: b"", lambda content: content + b"x", lambda content: b"\0" * len(content),
    lambda content: content[:-9] + b"\0" * 9,
], ids=["last byte", "half", "header", "empty", "longer", "zeros", "index"])
def test_a_damaged_cache_file_is_built_again(manifest, cache, damage):
    path = pack_cells(manifest, SMALL, cache=cache).path
    path.write_bytes(damage(path.read_bytes()))
    packed = pack_cells(manifest, SMALL, cache=cache)
    np.testing.assert_array_equal(packed.pixels, expected(manifest))


BUILD = """
import sys, time
from pathlib import Path
from leukoscope.cells.pack import pack_cells
from leukoscope.manifest import read_manifest
from leukoscope.recipes.sections import Preprocess
def slow(done, total):
    print("building", done, flush=True)
    time.sleep(float(sys.argv[3]))
packed = pack_cells(read_manifest(sys.argv[1]), Preprocess(size=16, crop=30), cache=Path(sys.argv[2]), on_progress=slow)
print("sum", int(packed.pixels.sum()), flush=True)
"""


def build(manifest: pl.DataFrame, cache: Path, *, pause: float) -> subprocess.Popen[str]:
    cache.mkdir(parents=True, exist_ok=True)
    table = cache.parent / "cells.parquet"
    if not table.exists():
        manifest.write_parquet(table)
    return subprocess.Popen([sys.executable, "-c", BUILD, str(table), str(cache), str(pause)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_of_two_processes_one_builds_and_both_read_the_same(manifest, cache):
    both = [build(manifest, cache, pause=0.05) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    total = int(expected(manifest).astype(np.int64).sum())
    assert all(f"sum {total}\n" in out for out, _ in outputs)
    assert sum(out.count("building") for out, _ in outputs) == 6
    assert len(files_in(cache)) == 1


def test_a_killed_build_leaves_nothing_that_is_read(manifest, cache):
    process = build(manifest, cache, pause=30)
    assert process.stdout is not None
    assert process.stdout.readline() == "building 1\n"
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [name for name in files_in(cache) if not name.startswith(".")] == []
    packed = pack_cells(manifest, SMALL, cache=cache)
    np.testing.assert_array_equal(packed.pixels, expected(manifest))
    assert files_in(cache) == [packed.path.name]  # what the killed build left is gone


def test_a_build_that_is_interrupted_leaves_nothing(manifest, cache):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        pack_cells(manifest, SMALL, cache=cache, on_progress=stop)
    assert files_in(cache) == []
    assert threading.active_count() == before


def test_a_cache_that_cannot_be_written_is_named(manifest, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LeukoscopeError, match=r"file.*cannot be written.*LEUKOSCOPE_CACHE"):
        pack_cells(manifest, SMALL, cache=tmp_path / "file")


def test_a_full_disk_is_named_and_leaves_nothing(manifest, cache):
    """A limit on the size of files stands in for the end of the disk: writing fails half-way all the same."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n{BUILD}"
    table = cache.parent / "cells.parquet"
    manifest.write_parquet(table)
    done = subprocess.run([sys.executable, "-B", "-c", code, str(table), str(cache), "0"], capture_output=True,
                          text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "LeukoscopeError" in last
    assert "cannot be written to this folder (File too large); free some space" in last
    assert files_in(cache) == []


def test_the_cache_folder_comes_from_the_environment(manifest, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "elsewhere"))
    assert pack_cells(manifest, SMALL).path.is_relative_to(tmp_path / "elsewhere")


def test_another_process_maps_the_file_instead_of_getting_its_pixels(manifest, cache):
    packed = pack_cells(manifest, Preprocess(size=512), cache=cache)
    sent = pickle.dumps(packed)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).pixels, packed.pixels)
    assert copy.copy(packed).cell_ids == packed.cell_ids
    packed.path.unlink()
    with pytest.raises(LeukoscopeError, match="missing or damaged"):
        pickle.loads(sent)


def test_channel_statistics_are_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (700, 8, 8, 3), dtype=np.uint8)
    pixels[..., 2] = 51
    rows = np.random.default_rng(1).permutation(700)[:600]
    mean, std = channel_statistics(pixels, rows)
    np.testing.assert_allclose(mean, (pixels[rows] / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], (pixels[rows] / 255).std(axis=(0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1.0
    with pytest.raises(ValueError, match="at least one"):
        channel_statistics(pixels, rows[:0])


def test_real_cells_are_packed_as_decoded(data_folder: Path, cache):
    paths = sorted((data_folder / "pbc").rglob("*.jpg"))[::500]
    manifest = make_manifest([{"cell_id": path.stem, "image": str(path)} for path in paths])
    preprocess = Preprocess(size=70, crop=300)
    np.testing.assert_array_equal(pack_cells(manifest, preprocess, cache=cache).pixels, expected(manifest, preprocess))
    assert usable_cores() >= 1
