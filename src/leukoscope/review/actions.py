"""What a person may do to a smear, each as the kind and body of one event. Stores nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import LeukoscopeError
from ..files import JsonObject
from ..smear.geojson import Feature
from ..tables import Row
from ..text import plain, plural
from .state import ABSENT, CONFIRMED, MACHINE, REJECTED, Cell, State, title_of

Did = Literal["type", "confirm", "reject", "restore"]
MOST_TYPES = 15
"""Types that a person may add to a smear."""
LONGEST_TYPE, LONGEST_TEXT = 60, 4000
"""Characters of a type's name, and of a comment."""
NAMED = 5
"""Cells that a refusal names."""


class Refused(LeukoscopeError):
    """What was asked for cannot be done as things stand."""


class Stale(Refused):
    """Somebody else has changed the same cells meanwhile."""


@dataclass(frozen=True)
class Draft:
    """An event that is not stored yet."""

    kind: str
    body: JsonObject


@dataclass(frozen=True)
class Sketch:
    """A cell that is drawn and not stored yet, without its number. field: its name; row, feature, how: as in
    `state.Drawn`."""

    field: str
    row: Row
    feature: Feature
    how: str


Sketching = Callable[[], Sequence[Sketch]]


def check_drawable(state: State, parents: Sequence[str]) -> None:
    """Raise Refused where nothing can be drawn, before any work is done for it."""
    _check_open(state)
    _check_present(state, parents)


def draw(state: State, did: Literal["add", "split", "join"], parents: Sequence[str], sketches: Sequence[Sketch], *,
         base: int, who: str) -> Draft:
    """Add a cell, or put others in the place of cells that are split or joined; these are absent afterwards. base,
    who: as for `decide`."""
    check_drawable(state, parents)
    _check_unchanged(state, parents, base, who)
    new, changes = [], [[cell, list(state.cells[cell]), [state.cells[cell][0], ABSENT]] for cell in parents]
    number = max((int(name.rpartition("/")[2]) for name in state.cells if name.rpartition("/")[0] == sketches[0].field),
                 default=0)
    for sketch in sketches:
        number += 1
        name = f"{sketch.field}/{number}"
        feature = {**sketch.feature, "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
                   "properties": {**sketch.feature["properties"], "name": str(number)}}
        new.append({"name": name, "row": {**sketch.row, "number": number}, "feature": feature, "how": sketch.how})
        changes.append([name, [sketch.row["predicted"], ABSENT], [sketch.row["predicted"], MACHINE]])
    return Draft("drawn", {"did": did, "cells": changes, "new": new})


def decide(state: State, cells: Sequence[str], did: Did, name: str = "", *, base: int, who: str,
           types: Iterable[str]) -> Draft:
    """Give cells a type, confirm that which they have, reject them as no cells, or restore rejected ones.

    base: the last event that the person had seen. Raises Refused for a type that is not among `types` or a cell without
    one, Stale where another person changed one of the cells after `base`.
    """
    _check_open(state)
    if did == "type" and name not in set(types):
        raise Refused(f"'{plain(name, 40)}' is not a type of this smear", "add it first")
    _check_present(state, cells)
    _check_unchanged(state, cells, base, who)
    changes = [(cell, state.cells[cell], _after(state.cells[cell], did, name)) for cell in dict.fromkeys(cells)]
    changes = [(cell, was, now) for cell, was, now in changes if was != now]
    without = next((cell for cell, _, now in changes if now[0] is None and now[1] == CONFIRMED), "")
    if without:
        raise Refused(f"cell {without} has no type", "choose one")
    if not changes:
        raise Refused("nothing to change: these cells stand so already")
    return Draft("decided", {"did": did, "cells": [[cell, list(was), list(now)] for cell, was, now in changes]})


def _after(cell: Cell, did: Did, name: str) -> Cell:
    if did == "reject":
        return cell[0], REJECTED
    if did == "restore":
        return (cell[0], CONFIRMED if cell[0] else MACHINE) if cell[1] == REJECTED else cell
    return (name if did == "type" else cell[0]), CONFIRMED


def undo(state: State, who: str) -> Draft:
    """Take back the last decision of a person. Raises Refused where there is none, Stale where somebody else has
    decided otherwise since."""
    return _turned(state, who, state.done, "undone", "undo")


def redo(state: State, who: str) -> Draft:
    """Do again what a person last took back."""
    return _turned(state, who, state.undone, "redone", "redo")


def _turned(state: State, who: str, stacks: Mapping[str, list[int]], kind: str, word: str) -> Draft:
    _check_open(state)
    if not stacks.get(who):
        raise Refused(f"nothing to {word}")
    of = state.events[stacks[who][-1] - 1]
    back = kind == "undone"
    changes = [(cell, now, was) if back else (cell, was, now) for cell, was, now in of.body["cells"]]
    other = next((cell for cell, before, _ in changes if state.cells[cell] != tuple(before)), "")
    if other:
        raise Stale(f"cell {other} was changed by {plain(state.changed[other][1], 40)} since",
                    f"what you want to {word} no longer fits; decide on the cell anew")
    values = [[name, now, was] if back else [name, was, now] for name, was, now in of.body.get("values", ())]
    odd = next((name for name, before, _ in values if state.values.get(name) != before), "")
    if odd:
        raise Stale(f"{title_of(odd)}: was changed by {plain(state.entered[odd][1], 40)} since",
                    f"what you want to {word} no longer fits; enter it anew")
    body = {"of": of.seq, "did": of.body["did"], "cells": [list(change) for change in changes]}
    return Draft(kind, {**body, "values": values} if values else body)


def enter(state: State, name: str, value: float | None, *, base: int, who: str) -> Draft:
    """Enter a value beside the cells, None to take it back. base, who: as for `decide`."""
    _check_open(state)
    seq, by = state.entered.get(name, (0, ""))
    if seq > base and by != who:
        raise Stale(f"{title_of(name)}: was changed by {plain(by, 40)} meanwhile", "look at it again")
    was = state.values.get(name)
    if was == value:
        raise Refused("nothing to change: this is entered already")
    return Draft("entered", {"did": "enter", "cells": [], "values": [[name, was, value]]})


def comment(state: State, text: str, cell: str | None) -> Draft:
    """Write on a cell, or on the smear (cell None)."""
    _check_open(state)
    return Draft("commented", {"cell": cell, "text": _checked_text(text, "a comment")})


def add_type(state: State, name: str, types: Sequence[str], most: int = MOST_TYPES) -> Draft:
    """Add a type that the machine does not know. types: that exist; most: that may be added."""
    _check_open(state)
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_TYPE or not name.isprintable():
        raise Refused(f"the name of a type has 1 to {LONGEST_TYPE} printable characters", "choose another name")
    if name.casefold() in {one.casefold() for one in types}:
        raise Refused(f"'{name}' exists already", "choose it from the list")
    if len(state.types) >= most:
        raise Refused(f"this smear already has {MOST_TYPES} added types, which is the limit",
                      "use one of these")
    return Draft("type_added", {"name": name})


def give(state: State, name: str, who: str) -> Draft:
    """Give the smear to a second person, who reads it blind. Raises Refused for one who has decided on it already."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Refused("the name of a person has 1 to 100 printable characters", "write it again")
    known = {event.who for event in state.mine if event.kind not in ("imported", "given")} | {who}
    if name in known:
        raise Refused(f"{plain(name, 60)} has seen this smear already", "give it to somebody who has not")
    if name in {one.to for one in state.readings}:
        raise Refused(f"{plain(name, 60)} has been given this smear already", "give it to somebody else")
    return Draft("given", {"cells": [], "to": name, "gives": len(state.readings) + 1})


def sign(state: State, text: str, unsure: Sequence[str], flagged: Sequence[str], counts: Mapping[str, int]) -> Draft:
    """Sign a smear. unsure, flagged: cells that nobody has answered; counts: type -> cells, as signed. Raises Refused
    while there are any, and says which."""
    if state.locked:
        raise Refused("this smear is signed already", "amend it to sign again")
    open_cells = [f"{plural(len(cells), 'cell')} {'is' if len(cells) == 1 else 'are'} {what} and not answered: "
                  f"{', '.join(cells[:NAMED])}{' ...' if len(cells) > NAMED else ''}"
                  for what, cells in (("flagged", flagged), ("unsure", unsure)) if cells]
    if open_cells:
        raise Refused("; ".join(open_cells), "confirm, change or reject each of them")
    return Draft("signed", {"comment": _checked_text(text, "a comment", least=0), "counts": dict(counts)})


def countersign(state: State, text: str, who: str, base: int) -> Draft:
    """Sign a signed smear as a second person. base: the last event that they had seen. Raises Refused for the person
    who signed it, Stale where it was signed after `base`."""
    if state.reading:
        raise Refused("a blind reading has one signature", "sign the review as the second person")
    if not state.locked:
        raise Refused("this smear is not signed", "sign it first")
    if state.second is not None:
        raise Refused(f"this smear has a second signature already, by {plain(state.second.who, 60)}",
                      "amend it to sign again")
    if who.casefold() == state.signatures[-1].who.casefold():
        raise Refused("you have signed this smear yourself", "ask another person for the second signature")
    if state.signatures[-1].seq > base:
        raise Stale("this smear was signed meanwhile", "look at it again")
    return Draft("countersigned", {"comment": _checked_text(text, "a comment", least=0),
                                   "hash": state.signatures[-1].hash})


def amend(state: State, reason: str) -> Draft:
    """Open a signed smear again. What was signed stays in the history."""
    if not state.locked:
        raise Refused("this smear is not signed", "change it directly")
    return Draft("amended", {"reason": _checked_text(reason, "the reason"), "hash": state.signatures[-1].hash})


def _check_open(state: State) -> None:
    if state.locked:
        last = state.signatures[-1]
        raise Refused(f"this smear was signed by {plain(last.who, 60)} and is locked", "amend it, with a reason")


def _check_present(state: State, cells: Sequence[str]) -> None:
    gone = next((cell for cell in cells if state.cells[cell][1] == ABSENT), "")
    if gone:
        raise Stale(f"cell {gone} is not there any more: it was split or joined, or its drawing was undone",
                    "choose another cell")


def _check_unchanged(state: State, cells: Sequence[str], base: int, who: str) -> None:
    for cell in cells:
        seq, by = state.changed.get(cell, (0, ""))
        if seq > base and by != who:
            raise Stale(f"cell {cell} was changed by {plain(by, 40)} meanwhile", "look at it again")


def _checked_text(text: str, what: str, least: int = 1) -> str:
    text = "".join(sign for sign in text.strip() if sign.isprintable() or sign == "\n")
    if not least <= len(text) <= LONGEST_TEXT:
        raise Refused(f"{what} has {least} to {LONGEST_TEXT} characters, this one {len(text)}", "write it again")
    return text
