"""Accounts: who may come in, under which name, and who may sign."""

from __future__ import annotations

import html
import json
import re
import shutil
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from command import leukoscope, refusal
from leukoscope.errors import LeukoscopeError
from leukoscope.review import accounts as accounts_module
from leukoscope.review import attempts as attempts_module
from leukoscope.review.accounts import Accounts, NotAdministrator, open_accounts
from leukoscope.review.attempts import Attempts
from leukoscope.review.database import open_engine
from leukoscope.review.desk import Desk
from leukoscope.review.door import CSRF, Keys
from leukoscope.review.serve import application, check_certificate
from review_databases import Database
from soak.review import server

ADDRESS = "https://lab.example:8765"
PASSWORD = "a pass phrase"


@pytest.fixture(autouse=True)
def _quick_hashes(request: pytest.FixtureRequest, monkeypatch) -> None:
    """The same hash with less work, but where the work is what is tested."""
    if "argon2id" not in request.node.name:
        monkeypatch.setattr(accounts_module, "_hasher", lambda: PasswordHasher(1, 64, 1))


@pytest.fixture
def accounts(db: Database, tmp_path: Path) -> Iterator[Accounts]:
    """Ann signs, Tom corrects."""
    engine = db.shared() or open_engine(tmp_path / "accounts.sqlite")
    made = Accounts(engine)
    made.add("Ann Weber", "haematologist", PASSWORD)
    made.add("Tom", "technician", PASSWORD)
    yield made
    engine.dispose()


@pytest.fixture
def lab(folder: Path, db: Database, accounts: Accounts) -> Iterator[Callable[..., TestClient]]:
    """Browsers at a server with accounts; the address can be another one."""
    desk, keys = Desk([folder], db.shared()), Keys(8765, "", accounts)

    def browser(address: str = ADDRESS, client: str = "192.0.2.7") -> TestClient:
        return TestClient(application(desk, keys), base_url=address, client=(client, 5000))

    yield browser
    desk.close()


def hidden(page: str) -> dict[str, str]:
    """What a form sends beside what a person writes."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in fields}


def log_in(browser: TestClient, name: str, password: str = PASSWORD, path: str = "/login"):
    """Send the log-in page; the answer, and what the pages send with changes is set."""
    page = browser.get(path).text
    answer = browser.post("/login", data={"name": name, "password": password} | hidden(page))
    found = re.search(r'<meta name="csrf" content="([^"]+)"', answer.text)
    if found:
        browser.headers[CSRF] = found[1]
    return answer


def change(browser: TestClient, what: str, **body):
    key = browser.get("/api/v1/smears").json()[0]["key"]
    return browser.post(f"/api/v1/smears/{key}/{what}", json={"key": str(uuid.uuid4()), "since": 0, **body})


# ---------------------------------------------------------------------------------------------------- coming in

def test_nobody_sees_anything_without_logging_in(lab):
    browser = lab()
    for path in ("/", "/smears/x", "/smears/x/report", "/?token=x"):
        answer = browser.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")
    for path in ("/api/v1/smears", "/api/v1/export/smears.csv", "/api/v1/smears/x/cells/0.jpg"):
        assert browser.get(path).status_code == 401
    assert browser.post("/api/v1/me", json={"name": "Ann Weber"}).status_code == 401
    assert browser.get("/static/app.css").status_code == 200


def test_a_person_logs_in_and_comes_where_they_wanted_to(lab):
    browser = lab()
    answer = log_in(browser, " ann  WEBER ", path="/smears/x/history?a=1&b=%26")
    assert str(answer.url) == f"{ADDRESS}/smears/x/history?a=1&b=%26"
    cookie = next(one for one in browser.cookies.jar if one.name == "leukoscope_8765")
    assert cookie.secure
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert "Ann Weber" in browser.get("/").text
    assert str(browser.get("/login").url) == f"{ADDRESS}/"


@pytest.mark.parametrize("wanted", ["//evil.example/x", "https://evil.example", "/\\evil.example", "\\\\evil.example"])
def test_logging_in_leads_to_no_other_server(lab, wanted):
    browser = lab()
    page = browser.get("/login", params={"next": wanted}).text
    answer = browser.post("/login", data={"name": "Tom", "password": PASSWORD} | hidden(page), follow_redirects=False)
    assert answer.status_code == 303
    assert re.match(r"/[^/\\]", answer.headers["location"])


@pytest.mark.parametrize(("name", "password"), [("Ann Weber", "wrong one"), ("Nobody", PASSWORD), ("", PASSWORD),
                                                ("Ann Weber", ""), ("Ann Weber' OR '1'='1", PASSWORD)])
def test_a_wrong_name_or_password_is_refused_in_the_same_words(lab, name, password):
    browser = lab()
    answer = log_in(browser, name, password)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text
    assert browser.get("/api/v1/smears").status_code == 401


def test_a_log_in_from_another_page_is_refused(lab):
    browser = lab()
    form = {"name": "Ann Weber", "password": PASSWORD, "csrf": "guessed"}
    assert browser.post("/login", data=form).status_code == 403
    page = browser.get("/login").text
    form["csrf"] = re.findall(r'name="csrf" value="([^"]*)"', page)[0]
    assert browser.post("/login", data=form, headers={"origin": "https://evil.example"}).status_code == 403
    assert lab().post("/login", data=form).status_code == 403
    assert browser.post("/login", data=form, follow_redirects=False).status_code == 303
    assert browser.post("/login", content=b"x" * 20_000).status_code == 403
    assert browser.post("/login", content=b"&".join(b"a=1" for _ in range(50))).status_code == 403


def test_a_password_is_never_taken_over_an_open_connection(lab):
    browser = lab("http://lab.example:8765")
    page = browser.get("/login")
    assert page.status_code == 403
    assert "not encrypted" in page.text
    assert 'type="password"' not in page.text
    assert browser.post("/login", data={"name": "Ann Weber", "password": PASSWORD}).status_code == 403
    assert browser.cookies.get("leukoscope_8765") is None
    assert lab("http://127.0.0.1:8765", client="192.0.2.7").get("/login").status_code == 403
    assert log_in(lab("http://127.0.0.1:8765", client="127.0.0.1"), "Tom").status_code == 200


def test_guessing_becomes_slow(lab, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(attempts_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    browser = lab()
    assert [log_in(browser, "Ann Weber", "guess").status_code for _ in range(5)] == [403] * 5
    answer = log_in(browser, "Ann Weber")
    assert answer.status_code == 429
    assert "Too many attempts. Try again in 1 s." in answer.text
    assert answer.headers["retry-after"] == "1"
    clock.now += 1
    assert log_in(browser, "ANN WEBER", "guess").status_code == 403
    assert log_in(browser, "Ann Weber").headers["retry-after"] == "2"
    assert log_in(lab(client="192.0.2.8"), "Ann Weber").status_code == 200


def test_attempts_wait_ever_longer_and_are_forgotten(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(attempts_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    attempts, waits = Attempts(), []
    for _ in range(20):
        while wait := attempts.begin("a", "ann"):
            waits.append(wait)
            clock.now += wait
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert max(waits) == 900
    clock.now += 4000
    assert [attempts.begin("a", "ann") for _ in range(5)] == [0] * 5
    assert attempts.begin("a", "ann") == 1
    others = [attempts.begin("b", f"name {number}") for number in range(25)]
    assert others[:20] == [0] * 20
    assert all(others[20:])
    for address in range(60):
        attempts.begin(f"address {address}", "eve")
    assert attempts.begin("yet another", "eve") > 0
    attempts.succeeded("a", "ann")
    assert attempts.begin("a", "ann") == 0


# ---------------------------------------------------------------------------------------------------- names, roles

def test_decisions_are_stored_under_the_name_of_the_account(lab):
    browser = lab()
    log_in(browser, "tom")
    assert browser.post("/api/v1/me", json={"name": "Ann Weber"}).status_code == 403
    answer = change(browser, "decisions", cells=[0], did="reject")
    assert answer.status_code == 200
    key = browser.get("/api/v1/smears").json()[0]["key"]
    assert {one["who"] for one in browser.get(f"/api/v1/smears/{key}/history").json()} == {"Tom"}
    assert change(browser, "decisions", cells=[1], did="reject", who="Ann Weber").status_code == 400


def test_haematologists_sign_and_others_do_not(lab):
    tom, ann = lab(), lab()
    log_in(tom, "Tom")
    log_in(ann, "Ann Weber")
    standing = ann.get(f"/api/v1/smears/{ann.get('/api/v1/smears').json()[0]['key']}").json()
    assert standing["may_sign"] is True
    cells = [*standing["standing"]["unsure"], *standing["standing"]["flagged"]]
    said = change(tom, "decisions", cells=cells, did="confirm").json()
    assert said["may_sign"] is False
    refused = change(tom, "signature", text="")
    assert refused.status_code == 403
    assert "the role technician may not sign" in refused.json()["error"]
    assert change(ann, "signature", text="seen").json()["signed"]["who"] == "Ann Weber"
    assert change(tom, "countersignature", text="").status_code == 403
    assert change(tom, "amendments", text="again").status_code == 403
    assert change(ann, "amendments", text="second look").status_code == 200


def test_a_disabled_account_a_new_password_and_a_log_out_end_sessions_at_once(lab, accounts, monkeypatch):
    monkeypatch.setattr("leukoscope.review.accounts.FRESH", 0.0)
    ann, tom, again = lab(), lab(), lab()
    log_in(ann, "Ann Weber")
    log_in(tom, "Tom")
    log_in(again, "Tom")
    stolen = dict(again.cookies)
    assert again.post("/logout").status_code == 204
    assert again.get("/api/v1/smears").status_code == 401
    copied = lab()
    copied.cookies.update(stolen)
    assert copied.get("/api/v1/smears").status_code == 401
    assert tom.get("/api/v1/smears").status_code == 200
    accounts.set_password("Tom", "another pass phrase")
    assert tom.get("/api/v1/smears").status_code == 401
    assert log_in(tom, "Tom").status_code == 403
    assert log_in(tom, "Tom", "another pass phrase").status_code == 200
    accounts.disable("Ann Weber")
    assert ann.get("/api/v1/smears").status_code == 401
    assert log_in(ann, "Ann Weber").status_code == 403


def test_a_page_goes_on_after_a_new_log_in_under_the_same_name_alone(lab):
    browser = lab()
    log_in(browser, "Tom")
    page = dict(browser.headers)
    browser.cookies.clear()
    assert browser.post("/logout").status_code == 401
    log_in(browser, "Tom")
    browser.headers.update(page)
    assert change(browser, "decisions", cells=[0], did="reject").status_code == 200
    browser.post("/logout")
    log_in(browser, "Ann Weber")
    browser.headers.update(page)
    answer = change(browser, "decisions", cells=[1], did="reject")
    assert answer.status_code == 403
    assert "opened under this name" in answer.json()["error"]


def test_the_log_in_page_has_no_script_or_style_within_it(lab):
    answer = lab().get("/login", params={"next": '"><script>alert(1)</script>'})
    assert not re.search(r"<script|<style|\bstyle=|\bon\w+=", answer.text)
    assert "unsafe" not in answer.headers["content-security-policy"]


# ---------------------------------------------------------------------------------------------------- accounts

def test_passwords_are_kept_as_argon2id(accounts, db, tmp_path):
    engine = open_engine(db.url or tmp_path / "accounts.sqlite")
    with engine.connect() as connection:
        stored = list(connection.exec_driver_sql("SELECT password FROM accounts").scalars())
    engine.dispose()
    assert len(stored) == 2
    assert all(one.startswith("$argon2id$v=19$m=65536,t=3,p=4$") for one in stored)
    assert stored[0] != stored[1]


@pytest.mark.parametrize(("name", "password", "says"), [
    ("", PASSWORD, "1 to 100 printable"), ("x" * 101, PASSWORD, "1 to 100"), ("a\x07b", PASSWORD, "printable"),
    ("Bo", "short", "has 5 characters"), ("Bo", "x" * 501, "has 501 characters"),
    ("Bo Bo Bo Bo", "bo bo bo bo", "the password is the name"), ("ANN  weber", PASSWORD, "belongs to an account"),
    ("Ｔom", PASSWORD, "belongs to an account")])
def test_accounts_that_cannot_be_added(accounts, name, password, says):
    with pytest.raises(LeukoscopeError, match=says):
        accounts.add(name, "technician", password)


def test_a_name_is_never_given_twice(accounts):
    accounts.disable("Tom")
    with pytest.raises(LeukoscopeError, match="belongs to an account, disabled since 2"):
        accounts.add("tom", "haematologist", PASSWORD)
    for act, says in ((lambda: accounts.disable("Tom"), "Tom: the account is disabled"),
                      (lambda: accounts.set_password("Tom", PASSWORD), "Tom: the account is disabled"),
                      (lambda: accounts.enable("Ann Weber"), "the account is not disabled"),
                      (lambda: accounts.set_password("Eve", PASSWORD), "no such account")):
        with pytest.raises(LeukoscopeError, match=says):
            act()
    assert accounts.enable("tom").disabled is None
    assert accounts.check("Tom", PASSWORD)


def test_accounts_by_the_command(db, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_ACCOUNTS", str(tmp_path / "own" / "accounts.sqlite"))
    user = ("review", "user")
    assert "no accounts yet" in leukoscope(*user, "list", *db.options).out
    for name, role in (("Ann Weber", "haematologist"), ("Tom", "technician")):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=lambda: f"{PASSWORD}\n"))
        said = leukoscope(*user, "add", name, "--role", role, "--password-stdin", *db.options)
        assert said.out == f"{name}: {role}, added\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=lambda: "another pass phrase\n", isatty=lambda: False))
    assert "has a new password" in leukoscope(*user, "password", "tom", "--password-stdin", *db.options).out
    assert "use --password-stdin" in refusal(*user, "password", "Tom", *db.options)
    assert leukoscope(*user, "role", "Tom", "administrator", *db.options).out == "Tom: administrator now\n"
    for last in (("disable", "Tom"), ("role", "Tom", "technician")):
        assert "Tom: is the last administrator" in refusal(*user, *last, *db.options)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=lambda: f"{PASSWORD}\n"))
    leukoscope(*user, "add", "Ada", "--role", "administrator", "--password-stdin", *db.options)
    for order in ("disable", "enable", "disable"):
        assert f"Tom: {order}d" in leukoscope(*user, order, "Tom", *db.options).out
    listed = json.loads(leukoscope(*user, "list", "--json", *db.options).out)
    assert [(one["name"], one["role"], one["disabled"] is None) for one in listed] == [
        ("Ada", "administrator", True), ("Ann Weber", "haematologist", True), ("Tom", "administrator", False)]
    if db.url is None:
        assert (tmp_path / "own" / "accounts.sqlite").stat().st_mode & 0o077 == 0
    accounts = open_accounts(db.shared())
    assert accounts.check("Ann Weber", PASSWORD)
    assert not accounts.check("Tom", "another pass phrase")
    accounts.close()


def of_accounts(browser: TestClient, what: str = "", **body):
    return browser.post(f"/api/v1/accounts{what}", json=body)


def test_an_administrator_looks_after_the_accounts_in_the_browser(lab, accounts):
    accounts.add("Ada", "administrator", PASSWORD)
    ada, eve = lab(), lab()
    log_in(ada, "Ada")
    assert of_accounts(ada, name="Eve <b>", role="technician", password=PASSWORD).json()["name"] == "Eve <b>"
    page = ada.get("/accounts").text
    assert "Eve &lt;b&gt;" in page
    assert "<b>" not in page
    assert "belongs to an account" in of_accounts(ada, name="eve  <B>", role="technician", password=PASSWORD).json()[
        "error"]
    assert "characters" in of_accounts(ada, name="Kim", role="technician", password="short").json()["error"]
    log_in(eve, "Eve <b>")
    assert of_accounts(ada, "/role", name="Eve <b>", role="haematologist").json()["role"] == "haematologist"
    assert eve.get("/api/v1/smears").status_code == 401  # a new role ends sessions
    assert log_in(eve, "Eve <b>").status_code == 200
    assert of_accounts(ada, "/password", name="Eve <b>", password="another pass phrase").status_code == 200
    assert log_in(lab(), "Eve <b>").status_code == 403
    assert log_in(lab(), "Eve <b>", "another pass phrase").status_code == 200
    assert of_accounts(ada, "/disabled", name="Eve <b>", disabled=True).json()["disabled"]
    assert log_in(lab(), "Eve <b>", "another pass phrase").status_code == 403
    assert of_accounts(ada, "/disabled", name="Eve <b>", disabled=False).json()["disabled"] is None
    assert log_in(lab(), "Eve <b>", "another pass phrase").status_code == 200
    assert [one["name"] for one in ada.get("/api/v1/accounts").json()] == ["Ada", "Ann Weber", "Eve <b>", "Tom"]


def test_an_administrator_always_remains_and_nobody_else_sees_the_accounts(lab, accounts):
    accounts.add("Ada", "administrator", PASSWORD)
    ada, ann = lab(), lab()
    log_in(ada, "Ada")
    for what, body in (("/role", {"role": "technician"}), ("/disabled", {"disabled": True})):
        assert "your own account" in of_accounts(ada, what, name=" ada", **body).json()["error"]
    log_in(ann, "Ann Weber")
    assert ann.get("/accounts").status_code == ann.get("/api/v1/accounts").status_code == 403
    for what, body in (("", {"role": "administrator", "password": PASSWORD}), ("/role", {"role": "technician"}),
                       ("/password", {"password": PASSWORD}), ("/disabled", {"disabled": True})):
        refused = of_accounts(ann, what, name="Tom", **body)
        assert (refused.status_code, "ask an administrator" in refused.json()["error"]) == (403, True)
    assert 'href="/accounts"' in ada.get("/").text
    assert 'href="/accounts"' not in ann.get("/").text
    assert accounts.check("Tom", PASSWORD)


@pytest.mark.parametrize(("what", "body"), [("/disabled", {"disabled": True}), ("/role", {"role": "technician"})])
def test_of_two_administrators_who_remove_each_other_at_once_one_remains(lab, accounts, monkeypatch, what, body):
    names = ["Ada", "Bea"]
    for name in names:
        accounts.add(name, "administrator", PASSWORD)
    browsers = [lab(), lab()]
    for browser, name in zip(browsers, names, strict=True):
        log_in(browser, name)
    both, writing = threading.Barrier(2), accounts_module.writing

    def together(*arguments):
        both.wait(60)  # each was let in as an administrator before the other one writes
        return writing(*arguments)

    monkeypatch.setattr(accounts_module, "writing", together)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda browser, other: of_accounts(browser, what, name=other, **body), browsers,
                                reversed(names)))
    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert "may no longer look after accounts" in max(answers, key=lambda one: one.status_code).json()["error"]
    assert sum(one.role == "administrator" and one.disabled is None for one in accounts.every()) == 1


def test_the_last_administrator_stays_and_one_who_was_removed_changes_nothing(accounts):
    accounts.add("Ada", "administrator", PASSWORD)
    for remove in (lambda: accounts.disable("Ada"), lambda: accounts.set_role("Ada", "technician")):
        with pytest.raises(LeukoscopeError, match="Ada: is the last administrator; give another account"):
            remove()
    assert accounts.set_password("Ada", "another pass phrase").disabled is None
    accounts.add("Bea", "administrator", PASSWORD, by="Ada")
    accounts.disable("Ada", by="Bea")
    for act in (lambda: accounts.add("Eve", "administrator", PASSWORD, by="Ada"),
                lambda: accounts.enable("Ada", by="Ada"), lambda: accounts.set_password("Bea", PASSWORD, by="Ada"),
                lambda: accounts.set_role("Tom", "administrator", by="Tom")):
        with pytest.raises(NotAdministrator):
            act()
    assert [one.name for one in accounts.every()] == ["Ada", "Ann Weber", "Bea", "Tom"]


def test_everybody_changes_their_own_password(lab, accounts):
    tom, elsewhere = lab(), lab()
    log_in(tom, "Tom")
    log_in(elsewhere, "Tom")

    def own(password: str, new: str):
        return tom.post("/api/v1/me/password", json={"password": password, "new": new})

    assert "present password is wrong" in own("a guess of mine", "my own pass phrase").json()["error"]
    assert own(PASSWORD, "short").status_code == 422
    assert own(PASSWORD, "my own pass phrase").status_code == 200
    assert elsewhere.get("/api/v1/smears").status_code == 401
    assert tom.get("/api/v1/smears").status_code == 200  # goes on, with a page that is loaded again
    assert accounts.check("Tom", "my own pass phrase")
    found = re.search(r'<meta name="csrf" content="([^"]+)"', tom.get("/").text)
    assert found
    tom.headers[CSRF] = found[1]
    said = [own("a guess of mine", "my next pass phrase").json()["error"] for _ in range(7)]
    assert "too many wrong passwords" in said[-1]


def test_a_password_is_never_sent_over_an_open_connection_by_the_pages(lab, accounts):
    accounts.add("Ada", "administrator", PASSWORD)
    browser = lab()
    log_in(browser, "Ada")
    cookies, headers = dict(browser.cookies), {CSRF: browser.headers[CSRF], "host": "lab.example:8765"}
    open_line = lab("http://lab.example:8765")
    open_line.cookies.update(cookies)
    for path, body in (("/me/password", {"password": PASSWORD, "new": "another pass phrase"}),
                       ("/accounts", {"name": "Kim", "role": "technician", "password": PASSWORD}),
                       ("/accounts/password", {"name": "Tom", "password": "another pass phrase"})):
        answer = open_line.post(f"/api/v1{path}", json=body, headers=headers)
        assert (answer.status_code, "not encrypted" in answer.json()["error"]) == (403, True)


# ---------------------------------------------------------------------------------------------------- the server

@pytest.fixture
def _own_accounts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LEUKOSCOPE_ACCOUNTS", str(tmp_path / "accounts.sqlite"))


@pytest.mark.usefixtures("_own_accounts")
def test_others_are_let_in_by_accounts_alone(folder: Path):
    for options in (("--host", "0.0.0.0"), ("--host", "192.0.2.1"), ("--log-in",)):
        line = refusal("review", folder, "--no-browser", *options)
        assert "there is no account yet" in line
        assert "leukoscope review user add NAME" in line


@pytest.mark.usefixtures("_own_accounts")
def test_what_cannot_be_listened_on_or_encrypted_with_is_named(folder: Path, tmp_path: Path):
    accounts = open_accounts(None)
    accounts.add("Ann", "haematologist", PASSWORD)
    accounts.close()
    assert "--host 192.0.2.1: not an address of this computer" in refusal("review", folder, "--host", "192.0.2.1")
    assert "--host no.such.invalid: not an address" in refusal("review", folder, "--host", "no.such.invalid")
    assert "no such file" in refusal("review", folder, "--cert", tmp_path / "none.pem")
    assert "--key: has no --cert" in refusal("review", folder, "--key", tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    assert "not a certificate with its key" in refusal("review", folder, "--cert", tmp_path / "text.pem")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody else vouches for, and beside it its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=leukoscope", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    return tmp_path / "cert.pem"


@pytest.mark.usefixtures("_own_accounts")
def test_the_command_serves_https_to_those_who_log_in(folder: Path, certificate: Path):
    accounts = open_accounts(None)
    accounts.add("Ann", "haematologist", PASSWORD)
    accounts.close()
    options = ["--log-in", "--cert", str(certificate), "--key", str(certificate.with_name("key.pem"))]
    trust = ssl.create_default_context(cafile=certificate)
    with server(folder, options) as (_, address), httpx.Client(base_url=address, verify=trust, timeout=120,
                                                               follow_redirects=True) as client:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/", address)
        assert client.get("/api/v1/smears").status_code == 401
        answer = client.post("/login", data={"name": "Ann", "password": PASSWORD} | hidden(client.get("/").text))
        assert "Worklist" in answer.text
        assert [cookie.secure for cookie in client.cookies.jar] == [True]
        assert client.get("/api/v1/smears").json()[0]["name"] == "S1"
    with pytest.raises(LeukoscopeError, match="not a certificate with its key"):
        check_certificate(certificate, certificate)


@pytest.mark.usefixtures("_own_accounts")
def test_without_tls_the_command_warns_and_believes_its_proxy_alone(folder: Path):
    accounts = open_accounts(None)
    accounts.add("Ann", "haematologist", PASSWORD)
    accounts.close()
    with server(folder, ["--host", "127.0.0.2"]) as (process, address):
        with httpx.Client(base_url=address, timeout=120) as client:
            assert 'type="password"' not in client.get("/login").text
            through = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9", "host": "lab.example"}
            assert 'type="password"' in client.get("/login", headers=through).text
        process.kill()
        _, said = process.communicate()
    assert said.startswith("warning: this server does not encrypt: a proxy with TLS must be in front of it")


def test_a_technician_signs_a_blind_reading_and_nobody_without_an_account_gets_one(lab):
    ann, tom = lab(), lab()
    log_in(ann, "Ann Weber")
    log_in(tom, "Tom")
    assert "no account is called 'Eve'" in change(ann, "readings", text="Eve").json()["error"]
    assert change(ann, "readings", text="Tom").status_code == 200
    key = ann.get("/api/v1/smears").json()[1]["key"]
    assert ann.get(f"/api/v1/smears/{key}").status_code == 403
    said = tom.get(f"/api/v1/smears/{key}").json()
    assert said["may_sign"]
    cells = [*said["standing"]["unsure"], *said["standing"]["flagged"]]
    for what, body in (("decisions", {"cells": cells, "did": "confirm"}), ("signature", {"text": ""})):
        answer = tom.post(f"/api/v1/smears/{key}/{what}", json={"key": str(uuid.uuid4()), "since": 0, **body})
        assert answer.status_code == 200, answer.text
    assert ann.get(f"/api/v1/smears/{key}").status_code == 200
    assert change(tom, "signature", text="").status_code == 403  # the review itself is signed by a haematologist
