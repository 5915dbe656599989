"""Resuming: a run that is killed, at whatever moment and however often, ends with the numbers it would have had.

The processes are real and so is the kill: each is forked from a server that has imported the package.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl
import pytest
import torch

from leukoscope.cells import pack_cells
from leukoscope.errors import RunError
from leukoscope.recipes import Recipe
from leukoscope.runs.network import read_weights
from leukoscope.runs.run import Run
from leukoscope.train import checkpoint as train_checkpoint
from leukoscope.train.epochs import Event
from tiny import history, make_cells, tiny_recipe, train_on_cpu

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["leukoscope.train.train", "torch.utils.tensorboard.writer", "tiny"])

RECIPE = tiny_recipe(
    augment={"rotation": 180, "flip_horizontal": True}, network={"name": "wbcsnet2", "options": {"width": 0.05}},
    training={"epochs": 4, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 8, "schedule": "plateau",
              "plateau": 1},
    split={"kind": "kfold", "folds": 2, "validation": 0.25})

Moment = tuple[str, int | None, int | None]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> pl.DataFrame:
    return make_cells(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def whole(cells, tmp_path_factory) -> Run:
    """The run that nobody interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert in_process(RECIPE, cells, out, None) == 0
    return Run(out)


def _train(recipe: Recipe, cells: pl.DataFrame, out: Path, kill_at: Moment | None, seconds: float, cache: str) -> None:
    os.environ["LEUKOSCOPE_CACHE"] = cache
    torch.set_num_threads(1)
    train_checkpoint.SECONDS_BETWEEN = seconds

    def on_event(event: Event) -> None:
        if (event.phase, event.fold, event.epoch) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train_on_cpu(recipe, cells, out, resume=True, on_event=on_event)


def in_process(recipe: Recipe, cells: pl.DataFrame, out: Path, kill_at: Moment | None, *, seconds: float = 0.0,
               kill_after: float | None = None) -> int | None:
    """Train in a process of its own and return its exit code: -9 where it was killed, at a moment or after a time."""
    process = CONTEXT.Process(target=_train, args=(recipe, cells, out, kill_at, seconds,
                                                   os.environ["LEUKOSCOPE_CACHE"]))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def check_same(run: Run, whole: Run) -> None:
    """Every number of both runs is the same, to the last bit; only clocks may differ."""
    assert run.predictions.equals(whole.predictions)
    assert run.validation is not None
    assert whole.validation is not None
    assert run.validation.equals(whole.validation)
    assert run.metrics == whole.metrics
    for fold in whole.folds:
        assert history(run, fold).drop("seconds").equals(history(whole, fold).drop("seconds"))
        assert {k: v for k, v in run.fold(fold).items() if k != "seconds"} \
            == {k: v for k, v in whole.fold(fold).items() if k != "seconds"}
        ours, theirs = (read_weights(r.fold_folder(fold) / "weights.safetensors") for r in (run, whole))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    leftovers = [path.name for path in run.folder.rglob("*") if ".partial" in path.name or path.suffix == ".ckpt"
                 or path.name.startswith("best-")]
    assert leftovers == []


MOMENTS: list[Moment] = [
    ("fingerprint", None, None),  # before the folder is there
    ("batch", 0, 1),              # before the first checkpoint
    ("epoch", 0, 2),              # just after one
    ("batch", 0, 3),              # in the middle of an epoch
    ("epoch", 0, 4),              # trained, not yet predicted
    ("fold", 0, None),            # between two folds
    ("batch", 1, 2),
    ("evaluate", None, None),     # all but the metrics
]


@pytest.mark.parametrize("seconds", [0.0, 1000.0], ids=["checkpoint each epoch", "checkpoint at the end"])
def test_a_run_killed_at_every_stage_ends_with_the_same_numbers(seconds, whole, cells, tmp_path):
    out = tmp_path / "run"
    for moment in MOMENTS:
        assert in_process(RECIPE, cells, out, moment, seconds=seconds) == -signal.SIGKILL
        assert not (out / "metrics.json").exists()
    assert in_process(RECIPE, cells, out, None, seconds=seconds) == 0
    check_same(Run(out), whole)


def test_a_run_killed_at_random_times_ends_with_the_same_numbers(whole, cells, tmp_path):
    out, patience = tmp_path / "run", 0.3
    for _ in range(60):
        if in_process(RECIPE, cells, out, None, kill_after=patience) == 0:
            break
        patience *= 1.15
    check_same(Run(out), whole)


def test_finished_folds_are_not_done_again(whole, cells, tmp_path):
    out = tmp_path / "run"
    assert in_process(RECIPE, cells, out, ("fold", 0, None)) == -signal.SIGKILL
    done = out / "folds" / "0" / "weights.safetensors"
    before = (done.stat().st_ino, done.stat().st_mtime_ns)
    events: list[Event] = []
    train_on_cpu(RECIPE, cells, out, resume=True, on_event=events.append)
    assert (done.stat().st_ino, done.stat().st_mtime_ns) == before
    assert {event.fold for event in events if event.phase == "epoch"} == {1}


def test_a_finished_run_is_given_back_as_it_is(whole, cells):
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}
    events: list[Event] = []
    again = train_on_cpu(RECIPE, cells, whole.folder, resume=True, on_event=events.append)
    assert again.metrics == whole.metrics
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()} == before
    assert {event.phase for event in events} <= {"pack"}


def test_checkpoints_are_read_without_unpickling_code(cells, tmp_path):
    out = tmp_path / "run"
    assert in_process(RECIPE, cells, out, ("batch", 0, 3)) == -signal.SIGKILL
    state = torch.load(out / "folds" / "0" / "last.ckpt", weights_only=True)
    assert state["progress"]["epoch"] == 2
    assert [row["epoch"] for row in state["progress"]["history"]] == [1, 2]
    assert history_rows(out) == 2


def history_rows(out: Path) -> int:
    return pl.read_csv(out / "folds" / "0" / "history.csv").height


def test_a_damaged_checkpoint_is_named(cells, tmp_path):
    out = tmp_path / "run"
    assert in_process(RECIPE, cells, out, ("batch", 0, 3)) == -signal.SIGKILL
    path = out / "folds" / "0" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"last\.ckpt: not a readable checkpoint .* delete it"):
        train_on_cpu(RECIPE, cells, out, resume=True)


def changed(cells: pl.DataFrame, **values: object) -> pl.DataFrame:
    first = pl.col("cell_id") == "a000"
    return cells.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name)
                              for name, value in values.items())


@pytest.mark.parametrize(("change", "said"), [
    (lambda cells: (RECIPE.model_copy(update={"seed": 7}), cells), "started with seed = 0, now it is 7"),
    (lambda cells: (tiny_recipe(), cells), r"started with augment\.flip_horizontal = True, now it is False"),
    (lambda cells: (RECIPE, cells[1:]), "started with 36 cells, this manifest gives 35"),
    (lambda cells: (RECIPE, changed(cells, label="b")), r"started with label = 'a' in row 1 \('a000'\), now it is 'b'"),
    (lambda cells: (RECIPE, changed(cells, image=cells["image"][5])), "the images have changed since the run was"),
])
def test_another_recipe_manifest_or_image_does_not_resume(change, said, whole, cells):
    recipe, table = change(cells)
    with pytest.raises(RunError, match=said):
        train_on_cpu(recipe, table, whole.folder, resume=True)


def test_images_may_have_moved(whole, cells, tmp_path):
    for path in cells["image"]:
        (tmp_path / Path(path).name).write_bytes(Path(path).read_bytes())
    moved = cells.with_columns(pl.col("image").map_elements(lambda p: str(tmp_path / Path(p).name), pl.String))
    assert train_on_cpu(RECIPE, moved, whole.folder, resume=True).metrics == whole.metrics


def test_training_says_nothing_by_itself(cells, tmp_path, capfd):
    assert in_process(RECIPE, cells, tmp_path / "run", None) == 0
    assert capfd.readouterr() == ("", "")


def _train_on_full_disk(cells: pl.DataFrame, out: Path, limit: int, cache: str, said: Connection) -> None:
    os.environ["LEUKOSCOPE_CACHE"] = cache
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    pack_cells(cells, RECIPE.preprocess)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    train_checkpoint.SECONDS_BETWEEN = 0.0
    try:
        train_on_cpu(RECIPE, cells, out)
    except RunError as error:
        said.send(str(error))


@pytest.mark.parametrize(("limit", "file"), [(2_000, r"fingerprints\.parquet"), (100_000, r"folds/0/last\.ckpt")])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(limit, file, whole, cells, tmp_path):
    """A limit to the length of files stands in for the disk: the system refuses the write in the same way."""
    out = tmp_path / "run"
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_train_on_full_disk,
                              args=(cells, out, limit, os.environ["LEUKOSCOPE_CACHE"], there))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert here.poll(), "no RunError was raised"
    assert re.search(rf"{file}: cannot be written \(File too large\); free some space .* --resume", here.recv())
    assert [path for path in out.rglob("*") if ".partial" in path.name] == []
    assert in_process(RECIPE, cells, out, None) == 0
    check_same(Run(out), whole)


def test_ctrl_c_stays_ctrl_c_and_the_run_goes_on(whole, cells, tmp_path):
    def press(event: Event) -> None:
        if (event.phase, event.epoch) == ("epoch", 2):
            signal.raise_signal(signal.SIGINT)

    # A process started in the background may have been told to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_on_cpu(RECIPE, cells, tmp_path / "run", on_event=press)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert in_process(RECIPE, cells, tmp_path / "run", None) == 0
    check_same(Run(tmp_path / "run"), whole)
