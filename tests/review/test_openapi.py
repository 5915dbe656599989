"""The OpenAPI document of the workbench says what its JSON takes and answers: asked by schemathesis, which makes up
messages, and held against what the pages call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from leukoscope.review import openapi, serve
from leukoscope.review.door import CSRF

STATIC = Path(serve.__file__).parent / "static"


@pytest.fixture
def asked(bench):
    """The server as schemathesis sees it, with the session of one who sits there; of one database: the JSON is the
    same."""
    if bench.db.url is not None:
        pytest.skip("asked once, on SQLite")
    bench.send("decisions", cells=[bench.smear["cells"]["cut"].index(False)], did="confirm")
    smear = bench.path.rsplit("/")[-1]
    made = bench.client.get(openapi.PATH).json()
    for path in made["paths"].values():  # made-up smears would all be unknown
        for operation in path.values():
            del operation["security"]  # who may come in is asked in test_server.py and test_people.py
            for parameter in operation["parameters"]:
                if parameter["name"] == "smear":
                    parameter["schema"]["enum"] = [smear]
    schema = schemathesis.openapi.from_dict(made)
    schema.app = bench.client.app
    return schema, bench


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_schemathesis_finds_nothing(asked, mode):
    schema, bench = asked
    headers = {CSRF: bench.client.headers[CSRF], "host": "127.0.0.1:8765"}
    operations = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body and not list(operation.iter_parameters()):
            continue  # nothing to send wrongly
        operations += 1

        @settings(max_examples=6, deadline=None, derandomize=True, database=None,
                  suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large])
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case) -> None:
            case.call_and_validate(base_url="http://127.0.0.1:8765", headers=headers,
                                   cookies=dict(bench.client.cookies))

        ask()
    assert operations >= 15


def test_the_pages_call_nothing_else(bench):
    made = bench.client.get(openapi.PATH).json()
    known = [re.sub(r"{\w+}", "[^/]+", path) for path in made["paths"]]
    files = [*STATIC.glob("*.js"), *(STATIC.parent / "templates").glob("*.html")]
    text = "".join(file.read_text() for file in files)
    called = {re.sub(r"\$\{[^}]+\}|{{[^}]+}}", "x", path) for path in re.findall(r"[`\"'](/api/v1/[^`\"'?]*)", text)}
    called |= {f"/api/v1/smears/x/{post}" for post in re.findall(r"saver\.send\(\"(\w+)\"", text)}
    assert len(called) > 8
    assert [path for path in sorted(called) if not any(re.fullmatch(one, path) for one in known)] == []
    for path in made["paths"].values():
        for operation in path.values():
            assert operation["summary"]


def test_a_method_that_is_not_offered_is_refused(bench):
    answer = bench.client.delete("/api/v1/smears")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
