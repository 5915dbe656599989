"""Kills the commands at random moments, goes on with each, and holds every result against that of undisturbed runs.

`make soak` kills 200 times; `python tests/soak/soak.py --kills 6` once for each command. The inputs are phantoms.
Of files that differ between two undisturbed runs (those that state a time), only that they exist is asked. Ends with
code 1, and leaves the folder, where a result differs or a command refuses to go on."""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import leukoscope
from leukoscope.manifest import write_manifest
from leukoscope.phantom import write_cells, write_smears

OLDER = Path(__file__).parents[1] / "data" / "older"
LEUKOSCOPE = (sys.executable, "-c", "from leukoscope.cli.main import main; main()")
RECIPE = """
name = "soak"
[preprocess]
size = 32
[network]
name = "lenet5"
[training]
epochs = 3
batch_size = 8
[split]
kind = "kfold"
folds = 2
validation = 0.25
"""


@dataclass(frozen=True)
class Job:
    """A command. words: its arguments without `out`; must: files that must not differ; resume: the option that goes on
    after a kill, () for a command that makes all or nothing; again: whether such a command is repeated although `out`
    exists. seconds: of an undisturbed run; whole: content of the files of an undisturbed run, None where two such runs
    differ."""

    words: tuple[str, ...]
    out: Path
    must: tuple[str, ...]
    resume: tuple[str, ...] = ("--resume",)
    again: bool = True
    program: tuple[str, ...] = LEUKOSCOPE
    seconds: float = 0.0
    whole: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.program != LEUKOSCOPE:
            return "review"
        return " ".join(self.words[:2] if self.words[0] == "data" else self.words[:1])

    def command(self, *more: str) -> list[str]:
        return [*self.program, *self.words, "-o", str(self.out), *more]


def content(out: Path) -> dict[str, bytes]:
    """Every file that is no hidden one, by its name inside `out`; the name of a log of TensorBoard states its time, and
    a training that goes on begins another."""
    if out.is_file():
        return {out.name: out.read_bytes()}
    files = (path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file())
    return {re.sub(r"tfevents\..*", "tfevents", str(file)): (out / file).read_bytes() for file in files
            if not any(part.startswith(".") for part in file.parts)}


def clear(out: Path) -> None:
    """Remove a result and what a killed run of it left beside it."""
    for path in out.parent.glob(f"*{out.stem}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in out.parent.glob(f".*{out.stem}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def undisturbed(job: Job) -> Job:
    """The job with the content of its result, after two runs without kills."""
    results, seconds = [], 0.0
    for _ in range(2):
        clear(job.out)
        start = time.monotonic()
        done = run(job.command())
        seconds = time.monotonic() - start
        if done.returncode:
            raise SystemExit(f"{job.name}: fails without being killed: {done.stderr}")
        results.append(content(job.out))
    first, second = results
    whole = {name: data if second.get(name) == data else None for name, data in first.items()}
    lost = [name for name in job.must if whole.get(name) is None]
    if lost or first.keys() != second.keys():
        raise SystemExit(f"{job.name}: two undisturbed runs differ: {lost or first.keys() ^ second.keys()}")
    return replace(job, seconds=seconds, whole=whole)


def killed(job: Job, after: float) -> bool:
    """Run the job, and kill it and its processes after so many seconds; whether it was still running."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def differences(job: Job) -> list[str]:
    """What differs from an undisturbed run, after the job was killed and has gone on."""
    if job.again or not job.out.exists():
        done = run(job.command(*job.resume))
        if done.returncode:
            return [f"it does not go on: {done.stderr.strip() or done.returncode}"]
    result = content(job.out)
    other = sorted(job.whole.keys() ^ result.keys())
    changed = [name for name, data in job.whole.items() if data is not None and result.get(name, data) != data]
    return [f"{name}: only in one" for name in other] + [f"{name}: differs" for name in changed]


def smear_job(folder: Path) -> Job:
    smears = write_smears(folder / "fields", subjects=2, fields_per_subject=2, size=(320, 240),
                          types={"neutrophil": 2, "lymphocyte": 1})
    return Job(("smear", str(Path(smears["image"][0]).parent)), folder / "out" / "smear", ("cells.csv",))


def review_job(folder: Path) -> Job:
    counted = replace(smear_job(folder / "reviewed"), out=folder / "counted")
    if run(counted.command()).returncode:
        raise SystemExit("smear: fails without being killed")
    return Job((str(counted.out),), folder / "out" / "review", ("decisions.json", "verify.txt"), resume=(),
               program=(sys.executable, str(Path(__file__).with_name("reviewer.py"))))


def predict_job(folder: Path) -> Job:
    return Job(("predict", "packaged", str(classes(folder))), folder / "out" / "predicted.parquet",
               ("predicted.parquet",))


def index_job(folder: Path) -> Job:
    return Job(("data", "index", "folder", str(classes(folder))), folder / "out" / "index.parquet",
               ("index.parquet",), resume=(), again=False)


def export_job(folder: Path) -> Job:
    trained = folder / "trained"
    shutil.unpack_archive(OLDER / "run.zip", trained)
    sys.path.insert(0, str(OLDER.parents[1]))
    from tiny import make_cells  # of the tests; late, since it imports torch

    make_cells(trained / "cells", counts={"a": 16, "b": 16}, strength=0.5)
    return Job(("export", str(trained)), folder / "out" / "bundle", ("bundle.json", "model.onnx"), resume=(),
               again=False)


def train_job(folder: Path) -> Job:
    classes(folder)
    (folder / "recipe.toml").write_text(RECIPE)
    return Job(("train", str(folder / "recipe.toml"), "--data", str(folder / "cells.parquet")), folder / "out" / "run",
               ("predictions.parquet", "folds/0/weights.safetensors"))


def classes(folder: Path) -> Path:
    """Phantom cells in a folder for each type, beside their manifest."""
    place = folder / "classes"
    if not place.exists():
        cells = write_cells(folder / "cells", 16, labels=("lymphocyte", "neutrophil"), subjects=8)
        write_manifest(cells, folder / "cells.parquet")
        for row in cells.iter_rows(named=True):
            (place / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(row["image"], place / row["label"])
    return place


JOBS = {"smear": smear_job, "predict": predict_job, "index": index_job, "export": export_job, "train": train_job,
        "review": review_job}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="*", choices=JOBS, default=list(JOBS))
    chosen = options.parse_args()
    os.environ["PYTHONPATH"] = str(Path(leukoscope.__file__).parents[1])
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["LEUKOSCOPE_CACHE"] = str(folder / "cache")
    (folder / "out").mkdir()
    every = [undisturbed(JOBS[name](folder)) for name in chosen.only]
    print("undisturbed: " + ", ".join(f"{job.name} {job.seconds:.1f} s" for job in every), flush=True)
    draw = random.Random(chosen.seed)
    for number in range(chosen.kills):
        job = every[number % len(every)]
        moment = draw.uniform(0.1, 0.9) * job.seconds
        clear(job.out)
        while not killed(job, moment):  # the machine was less busy than before
            clear(job.out)
            moment *= 0.7
        wrong = differences(job)
        if wrong:
            for name, data in job.whole.items():
                if data is not None:
                    (folder / "undisturbed" / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / "undisturbed" / name).write_bytes(data)
            raise SystemExit(f"{job.name}, killed after {moment:.2f} of {job.seconds:.2f} s: {'; '.join(wrong)}\n"
                             f"kept in {folder}")
        if (number + 1) % 10 == 0:
            print(f"{number + 1} kills", flush=True)
    shutil.rmtree(folder)
    print(f"{chosen.kills} kills of {', '.join(job.name for job in every)}: every result equal to an undisturbed run")


if __name__ == "__main__":
    main()
