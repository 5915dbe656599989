"""Every screen, in light and dark, on a desktop, a tablet and a phone: contrast as WCAG 2.2 AA asks for it, a name for
every control, and a way to each by keyboard with a focus that is seen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from browser import PATIENCE, SAVED, served
from leukoscope.review import accounts as accounts_module
from leukoscope.review import actions
from leukoscope.review.accounts import Accounts
from leukoscope.review.database import open_engine

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
DESKTOP, TABLET, PHONE = (1280, 800), (820, 1180), (390, 844)
PASSWORD = "a pass phrase"
LOOKS = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")
NAMED = {"button", "link", "textbox", "searchbox", "combobox", "listbox", "option", "menuitem", "menu", "dialog",
         "DisclosureTriangle", "spinbutton", "image", "checkbox", "toolbar", "region"}
"""Roles that say nothing without a name."""
FOCUS = """() => {
    const e = document.activeElement;
    if (!e || e === document.body) return null;
    const style = getComputedStyle(e), after = getComputedStyle(e, "::after");
    const tile = e.querySelector(".tile.active .picture");
    const ring = (s) => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
    const seen = ring(style) || parseFloat(after.borderTopWidth) >= 2 || (tile && ring(getComputedStyle(tile)));
    e.dataset.visited = "yes";
    return seen ? "" : `${e.tagName} ${e.id} ${e.textContent.trim().slice(0, 30)}`;
}"""
MISSED = """() => {
    const modal = [...document.querySelectorAll("dialog[open]")].pop(), root = modal ?? document;
    const all = [...root.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
    const missed = all.filter((e) => e.tabIndex >= 0 && !e.disabled && e.type !== "hidden" && !e.dataset.visited
        && e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length
        && !(e.closest("details:not([open])") && e.tagName !== "SUMMARY"));
    for (const e of all) delete e.dataset.visited;
    return missed.map((e) => `${e.tagName} ${e.id} ${e.textContent.trim().slice(0, 30)}`);
}"""


def nameless(page: Any) -> list[str]:
    """Controls that a screen reader cannot name, by the browser's own accessibility tree."""
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    client.detach()
    return [f"without a name: {node['role']['value']}" for node in nodes
            if not node.get("ignored") and node.get("role", {}).get("value") in NAMED
            and not node.get("name", {}).get("value", "").strip()]


def by_keyboard(page: Any) -> list[str]:
    """What Tab does not lead to, and where its focus is not seen."""
    faults, still = [], 0
    for _ in range(150):
        page.keyboard.press("Tab")
        unseen = page.evaluate(FOCUS)
        if unseen is None:  # past the last one
            still += 1
            if still > 1:
                break
        elif unseen:
            faults.append(f"focus is not seen: {unseen}")
    return list(dict.fromkeys(faults)) + [f"no way by Tab: {one}" for one in page.evaluate(MISSED)]


class Looker:
    """Looks at a screen in every way, and keeps what is wrong."""

    def __init__(self, page: Any) -> None:
        self.page, self.faults, self.screens = page, [], 0

    def look(self, screen: str, *, keyboard: bool = True) -> None:
        self.screens += 1
        self.page.wait_for_load_state("load")  # with its styles
        for size, scheme in ((DESKTOP, "light"), (DESKTOP, "dark"), (TABLET, "light"), (PHONE, "dark")):
            self.page.set_viewport_size({"width": size[0], "height": size[1]})
            self.page.emulate_media(color_scheme=scheme)
            self.page.wait_for_timeout(30)
            found = self.page.evaluate(LOOKS)
            if scheme == "light":
                found += nameless(self.page)
                found += by_keyboard(self.page) if keyboard else []
            self.faults += [f"{screen}, {size[0]} px, {scheme}: {one}" for one in found]
        self.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})

    def dialog(self, screen: str, opens: Callable[[], object]) -> None:
        opens()
        self.page.locator("dialog[open]").wait_for()
        self.look(screen)
        self.page.keyboard.press("Escape")
        self.page.locator("dialog[open]").wait_for(state="detached")


@contextmanager
def looking(chromium: Any, address: str) -> Iterator[Looker]:
    context = chromium.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    yield Looker(page)
    context.close()


def test_every_screen_of_a_review_can_be_read_and_reached(folder: Path, chromium: Any):
    with served([folder]) as server, looking(chromium, server.address) as looker:
        page, seat = looker.page, server.desk.seats[server.smear]
        review, smear = seat.review, f"{server.address.partition('?')[0]}smears/{server.smear}"
        review.act(str(uuid.uuid4()), "Ann", lambda state: actions.comment(state, "thick smear", None))
        looker.look("worklist")
        page.click("details.menu summary")
        looker.look("worklist, export")
        page.goto(smear)
        page.locator("#saving", has_text=SAVED).wait_for()
        looker.look("gallery")
        page.click("details.menu summary")
        looker.look("gallery, more", keyboard=False)
        page.keyboard.press("Escape")
        page.click('[data-filter="open"]')
        page.locator("#cell .chances").wait_for()
        looker.look("a cell that is to be answered")
        for tab in ("count", "cell", "cells"):
            page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            page.click(f'[data-tab="{tab}"]')
            looker.look(f"tab {tab}", keyboard=False)
        page.click('[data-do="menu"]')
        looker.look("menu of types", keyboard=False)
        page.keyboard.press("Escape")
        for screen, opens in (("sign", lambda: page.click("#sign")), ("keys", lambda: page.keyboard.press("?")),
                              ("comment", lambda: page.keyboard.press("c")),
                              ("findings", lambda: page.click("#findings")),
                              ("name", lambda: _by_menu(page, "#me")), ("give", lambda: _by_menu(page, "#give"))):
            looker.dialog(screen, opens)
        page.click('[data-view="field"]')
        page.locator(".shape").first.wait_for()
        page.click('[data-aim="add"]')
        looker.look("field")
        for name in (*review.standing().unsure, *review.standing().flagged):
            review.decide(str(uuid.uuid4()), "Ann", [review.cells.places[name]], "confirm", "", review.state().seq)
        review.sign(str(uuid.uuid4()), "Bob", "seen")
        page.reload()
        page.locator("#countersign:not([hidden])").wait_for()
        looker.look("signed")
        looker.dialog("second signature", lambda: page.click("#countersign"))
        looker.dialog("amend", lambda: page.click("#sign"))
        base = server.address.partition("?")[0]
        of_smear = (f"smears/{server.smear}/{one}" for one in ("history", "report"))
        for path in (*of_smear, "agreement", "model", "nothing"):
            page.goto(base + path)
            looker.look(path.rpartition("/")[2])
        page.goto(f"{base}smears/{server.smear}/report")
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
        assert not looker.faults, "\n".join(looker.faults)
        assert looker.screens >= 24


def _by_menu(page: Any, button: str) -> None:
    page.click("details.menu summary")
    page.click(button)


def test_every_screen_of_the_accounts_can_be_read_and_reached(folder: Path, chromium: Any, tmp_path: Path,
                                                              monkeypatch):
    monkeypatch.setattr(accounts_module, "_hasher", lambda: PasswordHasher(1, 64, 1))
    engine = open_engine(tmp_path / "accounts.sqlite")
    accounts = Accounts(engine)
    for name, role in (("Ada", "administrator"), ("Tom", "technician"), ("Eve", "haematologist")):
        accounts.add(name, role, PASSWORD)  # type: ignore[arg-type]
    accounts.disable("Eve")
    with served([folder], accounts=accounts) as server, looking(chromium, server.address) as looker:
        page = looker.page
        page.fill('[name="name"]', "Ada")
        page.fill('[name="password"]', "a wrong one")
        page.click("button.primary")
        looker.look("log-in, wrong")
        page.fill('[name="password"]', PASSWORD)
        page.click("button.primary")
        page.click('a[href="/accounts"]')
        looker.look("accounts")
        row = '[data-account="Tom"] [data-change="{}"]'
        for screen, button in (("add", "#add"), ("role", row.format("role")), ("reset", row.format("password")),
                               ("account", "#me")):
            looker.dialog(screen, lambda button=button: page.click(button))
        _use_the_accounts(page, accounts)
        looker.dialog("own password", lambda: (page.click("#me"), page.click("#own-password")))
        assert not looker.faults, "\n".join(looker.faults)
    engine.dispose()


def _reloaded(page: Any, what: str) -> None:
    """Wait until the page that was loaded anew shows `what`, and until its buttons do something."""
    page.locator(what).wait_for()
    page.wait_for_load_state("load")


def _use_the_accounts(page: Any, accounts: Accounts) -> None:
    """An administrator adds Kim, makes her a haematologist, disables Tom, and changes her own password."""
    page.click("#add")
    page.fill('[name="person"]', "Kim")
    page.fill('#add-dialog [name="new"]', PASSWORD)
    page.fill('#add-dialog [name="again"]', "another pass phrase")
    page.click("#add-dialog .primary")
    page.locator("#add-dialog .error", has_text="differ").wait_for()
    page.fill('#add-dialog [name="again"]', PASSWORD)
    page.click("#add-dialog .primary")
    _reloaded(page, '[data-account="Kim"]')
    page.click('[data-account="Kim"] [data-change="role"]')
    page.select_option('#role-dialog [name="role"]', "haematologist")
    page.click("#role-dialog .primary")
    _reloaded(page, '[data-account="Kim"][data-role="haematologist"]')
    page.click('[data-account="Tom"] [data-change="disable"]')
    _reloaded(page, '[data-account="Tom"] [data-change="enable"]')
    page.click("#me")
    page.click("#own-password")
    page.fill('#own-password-dialog [name="password"]', PASSWORD)
    for field in ("new", "again"):
        page.fill(f'#own-password-dialog [name="{field}"]', "a new pass phrase")
    with page.expect_navigation():
        page.click("#own-password-dialog .primary")
    kim = accounts.check("Kim", PASSWORD)
    assert kim is not None
    assert kim.role == "haematologist"
    assert accounts.check("Tom", PASSWORD) is None
    assert accounts.check("Ada", "a new pass phrase")
