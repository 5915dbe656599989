"""Every command that README, CONTRIBUTING, the Makefile and the documents name exists, with every option they give it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from leukoscope.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *sorted((ROOT / "docs").glob("*.md"))]


def commands_in(text: str) -> list[list[str]]:
    """The words behind `leukoscope`, of lines of code and of code within a sentence, which may go over two lines."""
    text = text.replace("\\\n", " ")  # a line that goes on
    inline = re.findall(r"`leukoscope\s+([^`]+)`", text)
    lines = re.findall(r"^\s*(?:\$\(VENV\)/bin/)?leukoscope (.+)", text, re.MULTILINE)
    return [shlex.split(re.sub(r"[\[\]]", "", " ".join(words.split())), comments=True) for words in (*inline, *lines)]


def called(words: list[str]) -> tuple[Any, list[str]]:
    """The command, and the words behind its name; a group where the words name no command of it."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        name = next((name for name in (" ".join(words[:2]), words[0]) if name in command.commands), None)
        if name is None:
            break
        command, words = command.commands[name], words[len(name.split()):]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path):
    wrong = []
    for words in commands_in(page.read_text(encoding="utf-8")):
        command, rest = called(words)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        if (hasattr(command, "commands") and rest and rest[0][0].isalpha()) or given - options - {"--help"}:
            wrong.append(" ".join(words))
    assert wrong == []
    assert page.name != "README.md" or len(commands_in(page.read_text(encoding="utf-8"))) > 20
