"""A checkpoint that cannot be read is refused by name, whatever is wrong with it; and one that holds other objects than
numbers, without advice to load them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from leukoscope.errors import RunError
from leukoscope.train.checkpoint import LAST, load_checkpoint


class Evil:
    def __reduce__(self):
        return os.mkdir, ("never",)


@pytest.mark.parametrize("content", [b"", b"\0", b"PK\x03\x04", b"x" * 1000, pickle.dumps({"progress": 1})])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes):
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(RunError, match=r"last.ckpt: not a readable checkpoint \(.+\); delete it") as error:
        load_checkpoint(tmp_path)
    assert ("the file is empty" in str(error.value)) == (not content)


@pytest.mark.parametrize("write", [
    lambda path: torch.save({"progress": Evil()}, path),
    lambda path: torch.save({"progress": Evil()}, path, _use_new_zipfile_serialization=False),
    lambda path: path.write_bytes(pickle.dumps(Evil())),
    lambda path: torch.save(torch.nn.Linear(2, 2), path)])
def test_objects_are_refused_without_advice_to_load_them(tmp_path: Path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / LAST)
    with pytest.raises(RunError, match="not a readable checkpoint") as error:
        load_checkpoint(tmp_path)
    text = str(error.value)
    assert not any(word in text for word in ("weights_only", "trust", "still be loaded", "safe_globals", "False"))
    assert not (tmp_path / "never").exists()


def test_what_is_no_state_is_refused(tmp_path: Path):
    torch.save({"network": {}}, tmp_path / LAST)
    with pytest.raises(RunError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)


def test_no_message_of_another_library_is_cut_without_looking_whether_it_is_empty():
    package = Path(__file__).parents[2] / "src" / "leukoscope"
    users = {file.relative_to(package).as_posix() for file in package.rglob("*.py")
             if "splitlines()[0]" in file.read_text(encoding="utf-8")}
    assert users <= {"bundle/bundle.py"}  # it looks first
