"""The examples of docs/python.md and the cells of docs/example.ipynb run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leukoscope

DOCS = Path(__file__).parents[2] / "docs"


def test_the_examples_of_the_page_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"folder": tmp_path}
    for block in blocks:
        exec(block, names)
    assert len(blocks) >= 4
    assert names["count"].cells.height >= 1
    assert names["manifest"].height == 12
    assert "SmearCount(" in capsys.readouterr().out


def test_the_notebook_runs() -> None:
    notebook = json.loads((DOCS / "example.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    assert isinstance(names["count"].differential, pl.DataFrame)
    assert names["found"].cells


def test_the_public_names_are_there_and_typed() -> None:
    assert {"load", "count_smear", "index", "audit", "evaluate"} <= set(leukoscope.__all__)
    for name in leukoscope.__all__:
        assert getattr(leukoscope, name) is not None
    assert (Path(leukoscope.__file__).parent / "py.typed").is_file()
    assert callable(leukoscope.evaluate)
    assert callable(leukoscope.audit)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        leukoscope.nothing  # noqa: B018
